/* SPDX-License-Identifier: MIT */
/* Unit tests of fence/limiter.c: who stays in a full table, threads, counts, samples. */
#include "harness.h"

#include <pthread.h>

#include "base/counter.h"

#define NOW (1000 * SECOND_NS)

static struct fence_limiter *open_limiter(uint32_t sources_max)
{
	struct fence_limiter *limiter = NULL;
	struct err err;

	cr_assert_eq(fence_limiter_open(&limiter, sources_max, &err), 0, "%s", err.text);
	return limiter;
}

static struct fence_entry *hold(struct fence_limiter *limiter, uint32_t n)
{
	return fence_limiter_hold(limiter, address_number(n).octets, NOW);
}

/* Held and let go at once. */
static void touch(struct fence_limiter *limiter, uint32_t n)
{
	struct fence_entry *entry = hold(limiter, n);

	cr_assert_not_null(entry, "%u", n);
	fence_limiter_release(limiter, entry);
}

static bool there(struct fence_limiter *limiter, uint32_t n)
{
	struct fence_entry entry;

	return fence_limiter_find(limiter, address_number(n).octets, &entry);
}

Test(fence_limiter, an_entry_is_the_same_for_all_and_outlives_its_holders)
{
	struct fence_limiter *limiter = open_limiter(4);
	struct fence_entry *entry = hold(limiter, 1);
	struct fence_entry seen;

	cr_assert_not_null(entry);
	cr_expect_eq(hold(limiter, 1), entry);
	cr_expect_neq(hold(limiter, 2), entry);
	entry->state.passed = 7;
	fence_limiter_release(limiter, entry);
	fence_limiter_release(limiter, entry);
	cr_assert(fence_limiter_find(limiter, address_number(1).octets, &seen));
	cr_expect_eq(seen.state.passed, 7);
	cr_expect_arr_eq(seen.source, address_number(1).octets, NETWORK_BYTES);
	cr_expect_eq(hold(limiter, 1), entry);
	cr_expect_eq(fence_limiter_sources(limiter), 2);
	cr_expect_not(there(limiter, 3));
	fence_limiter_close(limiter);
}

Test(fence_limiter, the_longest_unused_makes_room)
{
	struct fence_limiter *limiter = open_limiter(4);
	int64_t evicted = counter_sum(COUNTER_FENCE_SOURCES_EVICTED);

	for (uint32_t n = 1; n <= 4; n++)
		touch(limiter, n);
	touch(limiter, 1); /* now 2 is the oldest */
	touch(limiter, 5);
	cr_expect(there(limiter, 1));
	cr_expect_not(there(limiter, 2));
	cr_expect(there(limiter, 3));
	cr_expect_eq(fence_limiter_sources(limiter), 4);
	cr_expect_eq(counter_sum(COUNTER_FENCE_SOURCES_EVICTED), evicted + 1);
	fence_limiter_close(limiter);
}

Test(fence_limiter, what_comes_back_begins_anew)
{
	struct fence_limiter *limiter = open_limiter(2);
	struct fence_entry *entry = hold(limiter, 1);

	entry->state.passed = 7;
	entry->strikes = 3;
	fence_limiter_release(limiter, entry);
	touch(limiter, 2);
	touch(limiter, 3);
	cr_assert_not(there(limiter, 1));
	entry = hold(limiter, 1);
	cr_expect_eq(entry->state.passed, 0);
	cr_expect_eq(entry->strikes, 0);
	fence_limiter_close(limiter);
}

Test(fence_limiter, what_is_held_stays)
{
	struct fence_limiter *limiter = open_limiter(3);
	struct fence_entry *entries[3];
	int64_t full = counter_sum(COUNTER_FENCE_FULL_SOURCES);

	for (uint32_t n = 0; n < 3; n++)
		entries[n] = hold(limiter, n + 1);
	cr_expect_null(hold(limiter, 4));
	cr_expect_eq(counter_sum(COUNTER_FENCE_FULL_SOURCES), full + 1);
	cr_expect_eq(
		hold(limiter, 2), entries[1], "a source that is there is found in a full table");
	fence_limiter_release(limiter, entries[1]);
	cr_expect_null(hold(limiter, 4), "it had two holders");
	fence_limiter_release(limiter, entries[1]);
	cr_expect_eq(hold(limiter, 4), entries[1]);
	cr_expect_not(there(limiter, 2));
	cr_expect(there(limiter, 1) && there(limiter, 3));
	fence_limiter_close(limiter);
}

/* Strangers, however many, push out neither good conduct nor penalties. */
Test(fence_limiter, a_flood_of_strangers_pushes_out_strangers)
{
	struct fence_limiter *limiter = open_limiter(16);

	for (uint32_t n = 1; n <= 4; n++) {
		struct fence_entry *entry = hold(limiter, n);

		if (n <= 2)
			entry->behaved_until_ns = NOW + SECOND_NS;
		else
			entry->penalty_until_ns = NOW + SECOND_NS;
		fence_limiter_release(limiter, entry);
	}
	for (uint32_t n = 100; n < 300; n++)
		touch(limiter, n);
	for (uint32_t n = 1; n <= 4; n++)
		cr_expect(there(limiter, n), "%u", n);
	fence_limiter_close(limiter);
}

/* ... but they have no more than their part, and what has run out goes first. */
Test(fence_limiter, those_that_behaved_leave_room_for_strangers)
{
	struct fence_limiter *limiter = open_limiter(16);
	struct fence_entry *entry;

	for (uint32_t n = 1; n <= 16; n++) {
		entry = hold(limiter, n);
		entry->behaved_until_ns = NOW + SECOND_NS;
		fence_limiter_release(limiter, entry);
	}
	for (uint32_t n = 100; n < 108; n++)
		touch(limiter, n);
	for (uint32_t n = 1; n <= 16; n++)
		cr_expect_eq(there(limiter, n), n > 8, "%u", n);
	for (uint32_t n = 100; n < 108; n++)
		cr_expect(there(limiter, n), "%u", n);
	entry = fence_limiter_hold(limiter, address_number(200).octets, NOW + 2 * SECOND_NS);
	cr_assert_not_null(entry);
	cr_expect_not(there(limiter, 9), "its time is over");
	cr_expect(there(limiter, 100));
	fence_limiter_close(limiter);
}

Test(fence_limiter, when_only_kept_ones_are_unused_they_go)
{
	struct fence_limiter *limiter = open_limiter(8);
	struct fence_entry *entry = hold(limiter, 1);

	entry->behaved_until_ns = NOW + SECOND_NS;
	fence_limiter_release(limiter, entry);
	for (uint32_t n = 2; n <= 8; n++)
		cr_assert_not_null(hold(limiter, n));
	cr_expect_not_null(hold(limiter, 9));
	cr_expect_not(there(limiter, 1));
	fence_limiter_close(limiter);
}

Test(fence_limiter, forgiving)
{
	struct fence_limiter *limiter = open_limiter(4);
	struct fence_entry *entry = hold(limiter, 1);

	cr_expect_not(fence_limiter_forgive(limiter, address_number(2).octets, NOW));
	cr_expect_not(fence_limiter_forgive(limiter, address_number(1).octets, NOW));
	entry->penalty_until_ns = NOW + 1;
	entry->strikes = 2;
	cr_expect(fence_limiter_forgive(limiter, address_number(1).octets, NOW));
	cr_expect_eq(entry->penalty_until_ns, 0);
	cr_expect_eq(entry->strikes, 0);
	entry->penalty_until_ns = NOW;
	cr_expect_not(fence_limiter_forgive(limiter, address_number(1).octets, NOW), "it was over");
	fence_limiter_close(limiter);
}

static void visit(void *ctx, const struct fence_entry *entry)
{
	uint64_t *sum = ctx;

	sum[0]++;
	sum[1] += entry->state.passed;
}

/* Several stripes: every entry is found again, once. */
Test(fence_limiter, many_sources_in_many_stripes)
{
	enum { SOURCES = 5000 };
	struct fence_limiter *limiter = open_limiter(2 * SOURCES);
	uint64_t sum[2] = {0};
	uint32_t from = 0;

	for (uint32_t n = 0; n < SOURCES; n++) {
		struct fence_entry *entry = hold(limiter, n);

		cr_assert_not_null(entry);
		entry->state.passed = n;
		fence_limiter_release(limiter, entry);
	}
	for (uint32_t n = 0; n < SOURCES; n++)
		cr_assert(there(limiter, n), "%u", n);
	fence_limiter_some(limiter, &from, UINT64_MAX, visit, sum);
	cr_expect_eq(sum[0], SOURCES);
	cr_expect_eq(sum[1], (uint64_t)SOURCES * (SOURCES - 1) / 2);
	cr_expect_eq(fence_limiter_sources(limiter), SOURCES);
	fence_limiter_close(limiter);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 20000 };

static void *churn(void *arg)
{
	struct fence_limiter *limiter = arg;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct fence_entry *entry = hold(limiter, i * 7919 % 40);

		if (entry != NULL) {
			__atomic_fetch_add(&entry->state.gauge[FENCE_OPEN], 1, __ATOMIC_RELAXED);
			__atomic_fetch_sub(&entry->state.gauge[FENCE_OPEN], 1, __ATOMIC_RELAXED);
			fence_limiter_release(limiter, entry);
		}
		fence_limiter_count(limiter, FENCE_PLAIN, FENCE_PASS, 3);
	}
	return NULL;
}

static void visit_idle(void *ctx, const struct fence_entry *entry)
{
	(void)ctx;
	cr_expect_eq(entry->holders, 0);
	cr_expect_eq(entry->state.gauge[FENCE_OPEN], 0);
}

Test(fence_limiter, threads_leave_nothing_behind)
{
	struct fence_limiter *limiter = open_limiter(16);
	struct fence_count counts[FENCE_CLASSES][FENCE_REASONS];
	pthread_t threads[THREADS];
	uint32_t from = 0;

	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, churn, limiter), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	fence_limiter_some(limiter, &from, UINT64_MAX, visit_idle, NULL);
	cr_expect_eq(fence_limiter_sources(limiter), 16);
	for (uint32_t n = 100; n < 116; n++)
		cr_assert_not_null(hold(limiter, n), "%u", n);
	fence_limiter_counts(limiter, counts);
	cr_expect_eq(counts[FENCE_PLAIN][FENCE_PASS].packets, THREADS * ROUNDS);
	cr_expect_eq(counts[FENCE_PLAIN][FENCE_PASS].bytes, 3 * THREADS * ROUNDS);
	cr_expect_eq(counts[FENCE_NEW][FENCE_PASS].packets, 0);
	fence_limiter_close(limiter);
}

Test(fence_limiter, samples_are_a_queue_that_drops_what_is_too_much)
{
	struct fence_limiter *limiter = open_limiter(4);
	int64_t full = counter_sum(COUNTER_FENCE_FULL_SAMPLES);
	struct fence_sample out[100];

	for (unsigned i = 0; i < 70; i++) {
		struct fence_sample sample = {.at_ns = i};

		fence_limiter_sample(limiter, &sample);
	}
	cr_expect_eq(fence_limiter_samples(limiter, out, 10), 10);
	cr_expect_eq(out[9].at_ns, 9);
	cr_expect_eq(fence_limiter_samples(limiter, out, 100), 54);
	cr_expect_eq(out[0].at_ns, 10);
	cr_expect_eq(out[53].at_ns, 63);
	cr_expect_eq(fence_limiter_samples(limiter, out, 100), 0);
	cr_expect_eq(fence_limiter_samples_dropped(limiter), 6);
	cr_expect_eq(counter_sum(COUNTER_FENCE_FULL_SAMPLES), full + 6);
	fence_limiter_close(limiter);
}

/* ---- a walk through a part ---- */

static void visit_count(void *ctx, const struct fence_entry *entry)
{
	(void)entry;
	++*(uint64_t *)ctx;
}

Test(fence_limiter, a_walk_may_be_bounded)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_status status = {0};
	struct fence *fence;

	settings.sources_max = 2 * FENCE_SIZES_MAX;
	fence = fence_start(&settings);
	for (uint32_t i = 0; i < FENCE_SIZES_MAX + 10; i++) {
		struct fence_entry *entry = fence_limiter_hold(
			fence->limiter, address_number(i).octets, fence_now_ns());

		cr_assert_not_null(entry);
		entry->penalty_until_ns = fence_now_ns() + 1;
		fence_limiter_release(fence->limiter, entry);
		if (i == 9) {
			uint64_t n = 0;
			uint32_t from = 0;

			cr_expect_not(
				fence_limiter_some(fence->limiter, &from, 9, visit_count, &n));
			cr_expect(n == 9 && from > 0);
			cr_expect(fence_limiter_some(fence->limiter, &from, 9, visit_count, &n));
			cr_expect(n == 10 && from == 0, "the rest of them");
			cr_expect(fence_limiter_some(fence->limiter, &from, 10, visit_count, &n));
			cr_expect_eq(n, 20);
			fence_sizes(fence, &status);
			cr_expect(status.penalties == 10 && !status.penalties_partial);
		}
	}
	fence_sizes(fence, &status);
	cr_expect(status.penalties == FENCE_SIZES_MAX && status.penalties_partial, "%llu",
		(unsigned long long)status.penalties);
	fence_end(fence);
}
