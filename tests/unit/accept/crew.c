/* SPDX-License-Identifier: MIT */
/*
 * crew.c -- how many workers take connections as they say how busy they are, and that each listening
 * socket always has one worker, or is about to.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "accept/accept-private.h"
#include "accept/accept.h"
#include "base/clock.h"
#include "base/counter.h"

#define WORKERS   5
#define LISTENERS 2
#define SOCKETS   (WORKERS * LISTENERS)
#define STEP_MS   CREW_LOOK_MS
#define BEGIN_MS  1000000

static struct crew *crew;
static uint64_t now_ms;

static void begin(void)
{
	crew = crew_open(WORKERS, LISTENERS, false);
	cr_assert_not_null(crew);
	now_ms = BEGIN_MS;
}

static void end(void)
{
	crew_close(crew);
	cr_expect_eq(counter_sum(COUNTER_ACCEPT_WORKERS), 0, "the gauge afterwards");
}

TestSuite(accept_crew, .init = begin, .fini = end, .timeout = 10);

/* All workers look at themselves: a letter each. f: full; a digit: so many tenths of a CPU; -: idle. */
static void look(const char *all)
{
	now_ms += STEP_MS;
	for (uint32_t i = 0; i < WORKERS; i++)
		if (all[i] != '-')
			crew_measured(crew, i, now_ms,
				all[i] == 'f' ? 1000 : (uint32_t)(all[i] - '0') * 100,
				all[i] == 'f');
}

static void look_for(const char *all, uint64_t ms)
{
	for (uint64_t i = 0; i <= ms; i += STEP_MS)
		look(all);
}

Test(accept_crew, begins_with_one)
{
	cr_expect_eq(crew_size(crew), 1);
	cr_expect_eq(counter_sum(COUNTER_ACCEPT_WORKERS), 1);
	look_for("9----", 10 * CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 1, "busy is not full");
}

Test(accept_crew, grows_while_half_is_full)
{
	static const struct {
		const char *all;
		uint32_t size;
	} steps[] = {
		{"f----", 2},
		{"-9---", 2}, /* what was said before it grew no longer counts */
		{"99---", 2},
		{"9f---", 4},
		{"f999-", 4},
		{"ff99-", 5},
		{"fffff", 5},
	};

	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		look(steps[i].all);
		cr_expect_eq(crew_size(crew), steps[i].size, "step %zu", i);
	}
	cr_expect_eq(counter_sum(COUNTER_ACCEPT_WORKERS), WORKERS);
}

Test(accept_crew, what_outsiders_say_does_not_make_it_larger)
{
	look_for("1ffff", 3 * CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 1);
}

Test(accept_crew, old_words_do_not_count)
{
	look("f----");
	look("9f---"); /* 4 */
	look("f----");
	look_for("-1---", CREW_RECENT_MS);
	cr_expect_eq(crew_size(crew), 4, "one of four was full, and not lately");
}

Test(accept_crew, shrinks_by_one_when_that_would_have_done)
{
	look("f----");
	look("ff---");
	cr_assert_eq(crew_size(crew), 4);
	look_for("9993-", 3 * CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 4, "three would be at 100 %%");
	look_for("7772-", CREW_SPARE_MS - STEP_MS);
	cr_expect_eq(crew_size(crew), 4, "not yet");
	look("7772-");
	cr_expect_eq(crew_size(crew), 3);
	look_for("8720-", CREW_SPARE_MS + STEP_MS);
	cr_expect_eq(crew_size(crew), 2);
	look_for("64---", 3 * CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 2, "one alone would be full");
	look_for("54---", CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 1);
	look_for("00---", 3 * CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 1);
}

Test(accept_crew, a_worker_that_has_left_and_is_busy_yet_counts)
{
	look("f----");
	look_for("1-9--", 3 * CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 2, "1.0 of a CPU");
	look_for("f-1--", 3 * CREW_SPARE_MS);
	cr_expect_gt(crew_size(crew), 2, "full is never spare");
}

Test(accept_crew, sockets_go_round_the_crew)
{
	for (uint32_t size = 1; size <= WORKERS; size++) {
		uint32_t of[WORKERS] = {0};

		while (crew_size(crew) < size)
			look("fffff");
		size = crew_size(crew);
		for (uint32_t socket = 0; socket < SOCKETS; socket++) {
			uint32_t takers = 0;

			for (uint32_t i = 0; i < WORKERS; i++) {
				takers += crew_wants(crew, i, socket);
				of[i] += crew_wants(crew, i, socket);
			}
			cr_expect_eq(takers, 1, "socket %u of a crew of %u", socket, size);
		}
		for (uint32_t i = 0; i < WORKERS; i++)
			cr_expect(i < size ? of[i] >= LISTENERS : of[i] == 0,
				"worker %u in a crew of %u", i, size);
	}
}

Test(accept_crew, a_socket_has_one_holder)
{
	cr_expect_not(crew_claim(crew, 1, 1), "not its own yet");
	cr_assert(crew_claim(crew, 0, 1));
	cr_expect_not(crew_claim(crew, 0, 1), "it has it");
	look("f----");
	cr_expect_not(crew_wants(crew, 0, 1));
	cr_expect(crew_wants(crew, 1, 1));
	cr_expect_not(crew_claim(crew, 1, 1), "the other has not let go");
	crew_release(crew, 0, 1);
	cr_expect_not(crew_claim(crew, 0, 1), "no longer its own");
	cr_expect(crew_claim(crew, 1, 1));
}

static unsigned wakes;

static void on_wake(void *ctx)
{
	wakes++;
	ring_stop(ctx);
}

static struct ring *member(uint32_t worker)
{
	const struct ring_settings settings = {
		.entries = 8, .buffers = 2, .iowq_bounded = 2, .iowq_unbounded = 2};
	struct ring *ring;
	struct err err = {0};

	cr_assert(ring_open(&ring, &settings, &err) == 0, "%s", err.text);
	ring_on_wake(ring, on_wake, ring);
	crew_join(crew, worker, ring);
	return ring;
}

/* Runs the ring until it is woken; never, and the test's time limit ends it. */
static void woken(struct ring *ring)
{
	unsigned before = wakes;

	ring_run(ring, NULL, NULL);
	cr_expect_eq(wakes, before + 1);
}

Test(accept_crew, whose_sockets_change_is_woken)
{
	struct ring *rings[2] = {member(0), member(1)};

	cr_assert(crew_claim(crew, 0, 1));
	look("f----");
	woken(rings[0]);
	woken(rings[1]);
	cr_expect_not(crew_claim(crew, 1, 1));
	crew_release(crew, 0, 1);
	woken(rings[1]);
	cr_expect(crew_claim(crew, 1, 1));
	look_for("00---", CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 1);
	woken(rings[0]);
	woken(rings[1]);
	crew_release(crew, 1, 1);
	woken(rings[0]);
	for (uint32_t i = 0; i < COUNT_OF(rings); i++) {
		crew_leave(crew, i);
		ring_close(rings[i]);
	}
}

Test(accept_crew, all_is_all)
{
	struct crew *fixed = crew_open(3, 1, true);

	cr_assert_not_null(fixed);
	cr_expect_eq(crew_size(fixed), 3);
	for (uint32_t i = 0; i < 3; i++) {
		cr_expect(crew_wants(fixed, i, i));
		cr_expect_not(crew_due(fixed, i, BEGIN_MS));
	}
	crew_close(fixed);
}

Test(accept_crew, a_look_measures_the_thread)
{
	struct ring *ring = member(0);
	volatile uint64_t sum = 0;
	uint64_t began;

	began = clock_ms();
	while (clock_ms() < began + CREW_LOOK_MS + 10)
		sum += clock_ms();
	cr_assert(crew_due(crew, 0, clock_ms()));
	crew_look(crew, 0, clock_ms(), false);
	cr_expect_eq(crew_size(crew), 2, "one turn of 200 ms is a long one");
	cr_expect_not(crew_due(crew, 0, clock_ms()), "just looked");
	woken(ring);
	crew_leave(crew, 0);
	ring_close(ring);
}

Test(accept_crew, crowded_is_full)
{
	struct ring *ring = member(0);

	cr_assert(crew_due(crew, 0, clock_ms() + CREW_LOOK_MS));
	crew_look(crew, 0, clock_ms() + CREW_LOOK_MS, true);
	cr_expect_eq(crew_size(crew), 2);
	woken(ring);
	crew_leave(crew, 0);
	ring_close(ring);
}
