/* SPDX-License-Identifier: MIT */
/*
 * keep.c -- what is kept and what goes. Everything here runs under the cache's mutex.
 *
 * Life is measured twice (stscache.h): heaps are by monotonic time, so a clock that jumps back cannot
 * keep an entry from the top; one that jumps ahead is noticed when somebody looks at the policy.
 */
#include "stscache/stscache-private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define SWEEP_MAX 32 /* entries looked at in one go */

static uint64_t real_s(void)
{
	return clock_real_us() / 1000000;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static enum counter gauge_of(enum sts_mode mode)
{
	static const enum counter gauges[STS_MODES] = {
		[STS_MODE_NONE] = COUNTER_STS_POLICIES_NONE,
		[STS_MODE_TESTING] = COUNTER_STS_POLICIES_TESTING,
		[STS_MODE_ENFORCE] = COUNTER_STS_POLICIES_ENFORCE,
	};

	return gauges[mode];
}

static void account(struct stscache *cache, const struct stscache_policy *policy, int sign)
{
	uint64_t one = (uint64_t)(int64_t)sign; /* sums wrap as they should */

	cache->bytes += one * policy->bytes;
	cache->facts.entries += one;
	cache->facts.enforce += policy->policy.mode == STS_MODE_ENFORCE ? one : 0;
	cache->facts.testing += policy->policy.mode == STS_MODE_TESTING ? one : 0;
	count_add(gauge_of(policy->policy.mode), sign);
}

bool stscache_policy_live(const struct stscache_policy *policy)
{
	return policy != NULL && clock_ms() < policy->expires_ms &&
	       real_s() < policy->expires_real_s;
}

static void drop_failure(struct stscache_entry *entry)
{
	free(entry->failure);
	entry->failure = NULL;
}

static void drop_policy(struct stscache *cache, struct stscache_entry *entry)
{
	if (entry->policy == NULL)
		return;
	account(cache, entry->policy, -1);
	stscache_policy_release(entry->policy);
	entry->policy = NULL;
	stscache_heap_drop(&cache->table, STSCACHE_HEAP_DUE, entry);
}

static void evict(struct stscache *cache, struct stscache_entry *entry)
{
	drop_policy(cache, entry);
	drop_failure(entry);
	stscache_table_remove(&cache->table, entry);
	stscache_writer_note(cache);
	cache->facts.evicted++;
	count(COUNTER_STS_EVICTED);
}

/* Sets when the policy ends and when it should be refreshed, in monotonic time. */
static void set_times(struct stscache *cache, struct stscache_entry *entry)
{
	struct stscache_policy *policy = entry->policy;
	uint64_t age_s = policy->policy.max_age_s;
	uint64_t refresh_s = policy->fetched_real_s + min_u64(STSCACHE_REFRESH_S, age_s / 2);
	uint64_t now_s = real_s();
	uint64_t left_s = policy->expires_real_s > now_s ? policy->expires_real_s - now_s : 0;
	uint64_t due_s = refresh_s > now_s ? refresh_s - now_s : 0;

	policy->expires_ms = clock_ms() + min_u64(left_s, age_s) * 1000;
	if (policy->policy.mode != STS_MODE_NONE)
		stscache_heap_set(&cache->table, STSCACHE_HEAP_DUE, entry,
			clock_ms() + min_u64(due_s, STSCACHE_REFRESH_S) * 1000);
}

void stscache_keep(
	struct stscache *cache, struct stscache_entry *entry, struct stscache_policy *policy)
{
	drop_policy(cache, entry);
	entry->policy = policy;
	account(cache, policy, 1);
	set_times(cache, entry);
	stscache_writer_note(cache);
}

void stscache_fail(struct stscache *cache, struct stscache_entry *entry, const char *id,
	enum stscache_trouble trouble, const char *why)
{
	(void)cache;
	if (entry->failure == NULL)
		entry->failure = malloc(sizeof(*entry->failure));
	if (entry->failure == NULL)
		return;
	entry->failure->again_ms = clock_ms() + STSCACHE_AGAIN_MS;
	entry->failure->trouble = trouble;
	snprintf(entry->failure->id, sizeof(entry->failure->id), "%s", id);
	snprintf(entry->failure->why, sizeof(entry->failure->why), "%s", why);
}

/* Evicts until all are within the bounds. */
static void squeeze(struct stscache *cache, size_t entries_max)
{
	struct stscache_entry *first;

	while (cache->table.n > entries_max || cache->bytes > STSCACHE_BYTES_MAX) {
		first = stscache_heap_first(&cache->table, STSCACHE_HEAP_EXPIRY);
		if (first == NULL)
			return;
		evict(cache, first);
	}
}

struct stscache_entry *stscache_make(struct stscache *cache, const char *domain)
{
	squeeze(cache, cache->settings.entries_max - 1);
	if (cache->table.n >= cache->settings.entries_max)
		return NULL;
	return stscache_table_add(&cache->table, domain);
}

void stscache_settle(struct stscache *cache, struct stscache_entry *entry)
{
	if (entry->policy != NULL && !stscache_policy_live(entry->policy))
		drop_policy(cache, entry);
	if (entry->failure != NULL && entry->failure->again_ms <= clock_ms())
		drop_failure(entry);
	if (entry->flight != NULL)
		stscache_heap_drop(&cache->table, STSCACHE_HEAP_EXPIRY, entry);
	else if (entry->policy != NULL)
		stscache_heap_set(
			&cache->table, STSCACHE_HEAP_EXPIRY, entry, entry->policy->expires_ms);
	else if (entry->failure != NULL)
		stscache_heap_set(
			&cache->table, STSCACHE_HEAP_EXPIRY, entry, entry->failure->again_ms);
	else
		stscache_table_remove(&cache->table, entry);
	squeeze(cache, cache->settings.entries_max);
}

void stscache_sweep(struct stscache *cache)
{
	uint64_t now = clock_ms();

	for (unsigned i = 0; i < SWEEP_MAX; i++) {
		struct stscache_entry *first =
			stscache_heap_first(&cache->table, STSCACHE_HEAP_EXPIRY);

		if (first == NULL || first->key_ms[STSCACHE_HEAP_EXPIRY] > now)
			return;
		stscache_settle(cache, first);
	}
}

void stscache_empty(struct stscache *cache)
{
	while (cache->table.n > 0) {
		struct stscache_entry *last = cache->table.sorted[cache->table.n - 1];

		ASSERT(last->flight == NULL);
		drop_policy(cache, last);
		drop_failure(last);
		stscache_table_remove(&cache->table, last);
	}
}
