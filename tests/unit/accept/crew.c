/* SPDX-License-Identifier: MIT */
/*
 * crew.c -- how many workers take connections as they say how busy they are, and that each listening
 * socket always has one worker, or is about to.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <time.h>

#include "accept/accept-private.h"
#include "accept/accept.h"
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
		{"f9---", 3},
		{"999--", 3},
		{"9f9--", 5}, /* one of the two with two sockets */
		{"fffff", 5},
	};

	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		look(steps[i].all);
		cr_expect_eq(crew_size(crew), steps[i].size, "step %zu: %u", i, crew_size(crew));
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
	look("f9---");
	cr_assert_eq(crew_size(crew), 3);
	crew_measured(crew, 4, now_ms, 1000, true);
	look_for("000--", CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 3, "full is never spare");
	look_for("000--", CREW_RECENT_MS);
	cr_expect_eq(crew_size(crew), 2, "but that was long ago");
}

Test(accept_crew, shrinks_to_what_would_have_done)
{
	look("f----");
	look("f9---");
	cr_assert_eq(crew_size(crew), 3);
	look_for("556--", 3 * CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 3, "of two, one would be above 0.9");
	look_for("554--", CREW_SPARE_MS - STEP_MS);
	cr_expect_eq(crew_size(crew), 3, "not yet");
	look_for("554--", 2 * STEP_MS);
	cr_expect_eq(crew_size(crew), 2);
	look_for("64---", 3 * CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 2, "one alone would be full");
	look_for("54---", CREW_SPARE_MS + STEP_MS);
	cr_expect_eq(crew_size(crew), 1);
	look_for("00---", 3 * CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 1);
}

Test(accept_crew, a_worker_that_has_left_and_is_busy_yet_counts)
{
	look("f----");
	look_for("1-9--", 3 * CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 2, "1.0 of a CPU");
}

Test(accept_crew, a_worker_that_says_nothing_is_not_idle)
{
	look("f----");
	look_for("-2---", 10 * CREW_SPARE_MS);
	cr_expect_eq(crew_size(crew), 2, "0 hangs, perhaps");
	look_for("02---", CREW_SPARE_MS + STEP_MS);
	cr_expect_eq(crew_size(crew), 1, "it was only idle");
}

Test(accept_crew, clocks_of_workers_differ)
{
	look("f----");
	crew_measured(crew, 1, now_ms + 1, 0, false);
	crew_measured(crew, 0, now_ms, 0, false);
	cr_expect_eq(crew_size(crew), 2, "no time has passed");
}

Test(accept_crew, it_does_not_go_up_and_down_all_the_time)
{
	uint64_t began = now_ms;
	uint32_t changes = 0;

	while (now_ms < began + 20 * CREW_SPARE_MS) {
		uint32_t size = crew_size(crew);

		look(size == 1 ? "f----" : "44---");
		changes += crew_size(crew) != size;
	}
	cr_expect_leq(changes, 10, "%u in 20 s", changes);
	cr_expect_geq(changes, 4, "%u: it tries", changes);
}

/* `load` CPUs of work, spread over the sockets; who has more than a CPU can do is full. */
static void work(struct crew *of, uint32_t workers, double load)
{
	now_ms += STEP_MS;
	for (uint32_t i = 0; i < workers; i++) {
		uint32_t sockets = 0;
		double share;

		for (uint32_t socket = 0; socket < workers; socket++)
			sockets += crew_wants(of, i, socket);
		share = load * sockets / workers;
		crew_measured(of, i, now_ms + i % 3, (uint32_t)(share < 1 ? share * 1000 : 1000),
			share >= 0.97);
	}
}

Test(accept_crew, wherever_it_comes_to_rest_nobody_is_full)
{
	for (uint32_t workers = 2; workers <= 16; workers++) {
		for (double load = 0.1; load < 0.95 * workers; load += 0.1) {
			struct crew *other = crew_open(workers, 1, false);
			uint32_t size, most;

			cr_assert_not_null(other);
			for (uint32_t i = 0; i < 100; i++)
				work(other, workers, load);
			size = crew_size(other);
			most = (workers + size - 1) / size;
			cr_expect(load * most / workers < 0.97 || size == workers,
				"%.1f CPUs of work, %u workers: a crew of %u", load, workers, size);
			for (uint32_t i = 0; i < 100; i++) {
				work(other, workers, load);
				cr_expect_eq(crew_size(other), size,
					"%.1f CPUs of work, %u workers", load, workers);
			}
			crew_close(other);
		}
	}
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
	look_for("00---", CREW_SPARE_MS + STEP_MS);
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

static uint64_t cpu_ms(void)
{
	struct timespec ts;

	cr_assert(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) == 0);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void burn(uint64_t ms)
{
	uint64_t began = cpu_ms();

	while (cpu_ms() < began + ms)
		;
}

/* The crew has grown, which wakes its first worker, who leaves. */
static void grown(struct ring *ring, const char *why)
{
	cr_expect_eq(crew_size(crew), 2, "%s", why);
	woken(ring);
	crew_leave(crew, 0);
	ring_close(ring);
}

/* The time is what the test says; the CPU time is the thread's own, whatever else the machine does. */
Test(accept_crew, a_look_measures_the_thread)
{
	struct ring *ring = member(0);
	uint64_t at_ms = ring_now_ms(ring);

	cr_expect_not(crew_due(crew, 0, at_ms + CREW_LOOK_MS - 1));
	cr_expect(crew_due(crew, 0, at_ms + CREW_LOOK_MS));
	burn(CREW_LOOK_MS);
	at_ms += 2 * CREW_LOOK_MS;
	crew_look(crew, 0, at_ms, false);
	cr_expect_eq(crew_size(crew), 1, "half of a CPU");
	cr_expect_not(crew_due(crew, 0, at_ms), "just looked");
	burn(CREW_LOOK_MS + 1);
	crew_look(crew, 0, at_ms + CREW_LOOK_MS, false);
	grown(ring, "a whole one");
}

Test(accept_crew, long_turns_are_full)
{
	struct ring *ring = member(0);
	uint64_t at_ms = ring_now_ms(ring);

	ring_wake(ring);
	woken(ring); /* a turn or two */
	burn(CREW_LOOK_MS);
	crew_look(crew, 0, at_ms + CREW_LOOK_MS * 3 / 2, false);
	grown(ring, "two thirds of a CPU in one turn");
}

Test(accept_crew, crowded_is_full)
{
	struct ring *ring = member(0);

	crew_look(crew, 0, ring_now_ms(ring) + CREW_LOOK_MS, true);
	grown(ring, "crowded");
}
