/* SPDX-License-Identifier: MIT */
/*
 * limiter.c -- the gateway's own table of sources, its totals and its counts.
 *
 * A chained hash table of fixed size, in stripes: each has a lock, a part of the heads and a part of
 * the entries, so that room is made under one lock. A lock is taken twice a connection, when an entry
 * is held and when it is released, never at a receive: whoever holds an entry works on its words
 * by atomic operations, and an entry that is held stays where it is.
 *
 * Which unused entry makes room: the one that was released longest ago; but those of sources that
 * behaved and those that have a penalty stand in lists of their own, so that a flood of strangers
 * pushes out neither. The first has at most half of a stripe, the second a quarter; beyond that, and
 * when its oldest has run out, it gives first.
 *
 * Entries never used are never touched: the table costs memory as it fills.
 *
 * Rejected: one order over all stripes (a lock for everybody at every connection); open
 * addressing (an entry that is held may not move); entries freed when nobody holds them (what a source
 * used up would be forgotten with its last connection).
 */
#include "fence/fence-private.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/counter.h"

#define STRIPES_MAX    64 /* a power of two */
#define STRIPE_ENTRIES 64 /* at least, unless there is only one stripe */
#define TALLIES        32 /* sets of counts; threads share them beyond that */
#define SAMPLES_MAX    64 /* that wait for the control thread */

enum order { ORDER_BEHAVED, ORDER_PENALTY, ORDER_OTHER, ORDERS };

/* Of unused entries, by time of release; index plus one, 0: none. */
struct line {
	uint32_t oldest, newest;
	uint32_t n;
};

struct stripe {
	_Alignas(64) pthread_mutex_t lock;
	uint32_t first, entries_n; /* its part of the entries */
	uint32_t used;             /* of them, from the first on; atomic for readers */
	struct line lines[ORDERS];
};

struct tally {
	_Alignas(64) struct fence_count by[FENCE_CLASSES][FENCE_REASONS];
};

struct fence_limiter {
	struct stripe stripes[STRIPES_MAX];
	struct tally tallies[TALLIES];
	_Alignas(64) struct fence_totals totals;
	_Alignas(64) uint32_t stripes_n;
	uint32_t heads_mask;
	uint32_t *heads; /* index plus one */
	struct fence_entry *entries;
	uint64_t key[2];
	pthread_mutex_t samples_lock;
	uint32_t samples_from, samples_n;
	uint64_t samples_dropped;
	struct fence_sample samples[SAMPLES_MAX];
};

/* ---- opening ---- */

static uint32_t power_of_two(uint32_t at_least)
{
	uint32_t n = 1;

	while (n < at_least)
		n *= 2;
	return n;
}

static void stripes_init(struct fence_limiter *limiter, uint32_t sources_max)
{
	uint32_t first = 0;

	limiter->stripes_n = 1;
	while (limiter->stripes_n < STRIPES_MAX &&
		sources_max / (limiter->stripes_n * 2) >= STRIPE_ENTRIES)
		limiter->stripes_n *= 2;
	for (uint32_t i = 0; i < limiter->stripes_n; i++) {
		struct stripe *stripe = &limiter->stripes[i];

		pthread_mutex_init(&stripe->lock, NULL);
		stripe->first = first;
		stripe->entries_n = sources_max / limiter->stripes_n +
				    (i < sources_max % limiter->stripes_n ? 1 : 0);
		first += stripe->entries_n;
	}
	ASSERT(first == sources_max);
}

int fence_limiter_open(struct fence_limiter **out, uint32_t sources_max, struct err *err)
{
	struct fence_limiter *limiter =
		aligned_alloc(_Alignof(struct fence_limiter), sizeof(*limiter));
	uint32_t heads;

	ASSERT(sources_max > 0 && sources_max <= 1u << 30);
	if (limiter == NULL)
		return err_set(err, "fence: out of memory");
	memset(limiter, 0, sizeof(*limiter));
	heads = power_of_two(sources_max > STRIPES_MAX ? sources_max : STRIPES_MAX);
	limiter->heads_mask = heads - 1;
	limiter->heads = calloc(heads, sizeof(*limiter->heads));
	limiter->entries = calloc(sources_max, sizeof(*limiter->entries));
	if (limiter->heads == NULL || limiter->entries == NULL) {
		err_set(err, "fence: no memory for %u sources: lower sources_max", sources_max);
		goto failed;
	}
	if (getrandom(limiter->key, sizeof(limiter->key), 0) != (ssize_t)sizeof(limiter->key)) {
		err_set(err, "fence: no random octets: %s", strerror(errno));
		goto failed;
	}
	stripes_init(limiter, sources_max);
	pthread_mutex_init(&limiter->samples_lock, NULL);
	*out = limiter;
	return 0;

failed:
	free(limiter->heads);
	free(limiter->entries);
	free(limiter);
	return -1;
}

void fence_limiter_close(struct fence_limiter *limiter)
{
	if (limiter == NULL)
		return;
	for (uint32_t i = 0; i < limiter->stripes_n; i++)
		pthread_mutex_destroy(&limiter->stripes[i].lock);
	pthread_mutex_destroy(&limiter->samples_lock);
	free(limiter->heads);
	free(limiter->entries);
	free(limiter);
}

/* ---- finding: under the stripe's lock ---- */

static uint32_t head_of(const struct fence_limiter *limiter, const uint8_t source[NETWORK_BYTES])
{
	uint64_t word[2];

	memcpy(word, source, sizeof(word));
	word[0] = fence_mix(word[0] ^ limiter->key[0]);
	return (uint32_t)fence_mix(word[0] + (word[1] ^ limiter->key[1])) & limiter->heads_mask;
}

static struct stripe *stripe_of(struct fence_limiter *limiter, uint32_t head)
{
	return &limiter->stripes[head & (limiter->stripes_n - 1)];
}

static struct fence_entry *entry_at(struct fence_limiter *limiter, uint32_t place)
{
	return &limiter->entries[place - 1];
}

/* Where the chain points to the source's entry, or its end. */
static uint32_t *find(
	struct fence_limiter *limiter, uint32_t head, const uint8_t source[NETWORK_BYTES])
{
	uint32_t *at = &limiter->heads[head];

	while (*at != 0 && memcmp(entry_at(limiter, *at)->source, source, NETWORK_BYTES) != 0)
		at = &entry_at(limiter, *at)->next;
	return at;
}

/* ---- the order of what is unused ---- */

static void line_take(struct fence_limiter *limiter, struct stripe *stripe, uint32_t place)
{
	struct fence_entry *entry = entry_at(limiter, place);
	struct line *line = &stripe->lines[entry->order];

	if (entry->older != 0)
		entry_at(limiter, entry->older)->newer = entry->newer;
	else
		line->oldest = entry->newer;
	if (entry->newer != 0)
		entry_at(limiter, entry->newer)->older = entry->older;
	else
		line->newest = entry->older;
	entry->older = entry->newer = 0;
	line->n--;
}

static enum order order_of(const struct fence_entry *entry)
{
	if (__atomic_load_n(&entry->behaved_until_ns, __ATOMIC_RELAXED) != 0)
		return ORDER_BEHAVED;
	if (__atomic_load_n(&entry->penalty_until_ns, __ATOMIC_RELAXED) != 0)
		return ORDER_PENALTY;
	return ORDER_OTHER;
}

static void line_put(struct fence_limiter *limiter, struct stripe *stripe, uint32_t place)
{
	struct fence_entry *entry = entry_at(limiter, place);
	struct line *line;

	entry->order = order_of(entry);
	line = &stripe->lines[entry->order];
	entry->older = line->newest;
	entry->newer = 0;
	if (line->newest != 0)
		entry_at(limiter, line->newest)->newer = place;
	else
		line->oldest = place;
	line->newest = place;
	line->n++;
}

/* The next to go. 0: all are held. */
static uint32_t line_spare(
	struct fence_limiter *limiter, const struct stripe *stripe, uint64_t now_ns)
{
	static const uint32_t part[] = {[ORDER_BEHAVED] = 2, [ORDER_PENALTY] = 4};

	for (unsigned order = ORDER_BEHAVED; order < ORDER_OTHER; order++) {
		const struct line *line = &stripe->lines[order];
		const struct fence_entry *entry;

		if (line->n == 0)
			continue;
		entry = entry_at(limiter, line->oldest);
		if (line->n > stripe->entries_n / part[order] ||
			(entry->behaved_until_ns <= now_ns && entry->penalty_until_ns <= now_ns))
			return line->oldest;
	}
	for (unsigned order = ORDERS; order > 0; order--)
		if (stripe->lines[order - 1].oldest != 0)
			return stripe->lines[order - 1].oldest;
	return 0;
}

/* ---- room for a new one: under the stripe's lock ---- */

static void unchain(struct fence_limiter *limiter, uint32_t place)
{
	struct fence_entry *entry = entry_at(limiter, place);
	uint32_t *at = find(limiter, head_of(limiter, entry->source), entry->source);

	ASSERT(*at == place);
	*at = entry->next;
}

static uint32_t make_room(struct fence_limiter *limiter, struct stripe *stripe, uint64_t now_ns)
{
	uint32_t used = stripe->used;
	uint32_t place;

	if (used < stripe->entries_n) {
		__atomic_store_n(&stripe->used, used + 1, __ATOMIC_RELAXED);
		return stripe->first + used + 1;
	}
	place = line_spare(limiter, stripe, now_ns);
	if (place == 0)
		return 0;
	line_take(limiter, stripe, place);
	unchain(limiter, place);
	count(COUNTER_FENCE_SOURCES_EVICTED);
	return place;
}

static uint32_t make(struct fence_limiter *limiter, uint32_t head,
	const uint8_t source[NETWORK_BYTES], uint64_t now_ns)
{
	uint32_t place = make_room(limiter, stripe_of(limiter, head), now_ns);
	struct fence_entry *entry;

	if (place == 0)
		return 0;
	entry = entry_at(limiter, place);
	*entry = (struct fence_entry){.next = limiter->heads[head]};
	memcpy(entry->source, source, NETWORK_BYTES);
	limiter->heads[head] = place;
	return place;
}

struct fence_entry *fence_limiter_hold(
	struct fence_limiter *limiter, const uint8_t source[NETWORK_BYTES], uint64_t now_ns)
{
	uint32_t head = head_of(limiter, source);
	struct stripe *stripe = stripe_of(limiter, head);
	struct fence_entry *entry = NULL;
	uint32_t place;

	pthread_mutex_lock(&stripe->lock);
	place = *find(limiter, head, source);
	if (place == 0)
		place = make(limiter, head, source, now_ns);
	else if (entry_at(limiter, place)->holders == 0)
		line_take(limiter, stripe, place);
	if (place != 0) {
		entry = entry_at(limiter, place);
		entry->holders++;
	}
	pthread_mutex_unlock(&stripe->lock);
	if (entry == NULL)
		count(COUNTER_FENCE_FULL_SOURCES);
	return entry;
}

void fence_limiter_release(struct fence_limiter *limiter, struct fence_entry *entry)
{
	struct stripe *stripe = stripe_of(limiter, head_of(limiter, entry->source));

	pthread_mutex_lock(&stripe->lock);
	ASSERT(entry->holders > 0);
	if (--entry->holders == 0)
		line_put(limiter, stripe, (uint32_t)(entry - limiter->entries) + 1);
	pthread_mutex_unlock(&stripe->lock);
}

/* ---- looking ---- */

#define COPY(member) to->member = __atomic_load_n(&from->member, __ATOMIC_RELAXED)

/* Under the stripe's lock; holders write meanwhile, each word on its own. */
static void copy(struct fence_entry *to, const struct fence_entry *from)
{
	*to = (struct fence_entry){.holders = from->holders};
	memcpy(to->source, from->source, NETWORK_BYTES);
	for (unsigned i = 0; i < FENCE_METERS; i++)
		COPY(state.tat[i]);
	for (unsigned i = 0; i < FENCE_GAUGES; i++)
		COPY(state.gauge[i]);
	COPY(state.seen_ns);
	COPY(state.passed);
	COPY(state.refused);
	COPY(state.paused);
	COPY(state.plain_bytes);
	COPY(state.upgraded_bytes);
	COPY(behaved_until_ns);
	COPY(penalty_until_ns);
	COPY(told_ns);
	COPY(strike_ns);
	COPY(strikes);
}

bool fence_limiter_find(
	struct fence_limiter *limiter, const uint8_t source[NETWORK_BYTES], struct fence_entry *out)
{
	uint32_t head = head_of(limiter, source);
	struct stripe *stripe = stripe_of(limiter, head);
	uint32_t place;

	pthread_mutex_lock(&stripe->lock);
	place = *find(limiter, head, source);
	if (place != 0)
		copy(out, entry_at(limiter, place));
	pthread_mutex_unlock(&stripe->lock);
	return place != 0;
}

bool fence_limiter_forgive(
	struct fence_limiter *limiter, const uint8_t source[NETWORK_BYTES], uint64_t now_ns)
{
	uint32_t head = head_of(limiter, source);
	struct stripe *stripe = stripe_of(limiter, head);
	bool was = false;
	uint32_t place;

	pthread_mutex_lock(&stripe->lock);
	place = *find(limiter, head, source);
	if (place != 0) {
		struct fence_entry *entry = entry_at(limiter, place);

		was = __atomic_exchange_n(&entry->penalty_until_ns, 0, __ATOMIC_RELAXED) > now_ns;
		__atomic_store_n(&entry->strikes, 0, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&stripe->lock);
	return was;
}

/* *from is an entry's place in the table. */
bool fence_limiter_some(struct fence_limiter *limiter, uint32_t *from, uint64_t n_max,
	void (*visit)(void *ctx, const struct fence_entry *entry), void *ctx)
{
	for (uint32_t s = 0; s < limiter->stripes_n; s++) {
		struct stripe *stripe = &limiter->stripes[s];
		uint32_t used = __atomic_load_n(&stripe->used, __ATOMIC_RELAXED);
		uint32_t at = *from > stripe->first ? *from : stripe->first;

		for (; at < stripe->first + used; at++) {
			struct fence_entry seen;

			if (n_max-- == 0) {
				*from = at;
				return false;
			}
			pthread_mutex_lock(&stripe->lock);
			copy(&seen, &limiter->entries[at]);
			pthread_mutex_unlock(&stripe->lock);
			visit(ctx, &seen);
		}
	}
	*from = 0;
	return true;
}

uint64_t fence_limiter_sources(const struct fence_limiter *limiter)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < limiter->stripes_n; i++)
		n += __atomic_load_n(&limiter->stripes[i].used, __ATOMIC_RELAXED);
	return n;
}

struct fence_totals *fence_limiter_totals(struct fence_limiter *limiter)
{
	return &limiter->totals;
}

/* ---- counts ---- */

/* Threads are numbered as they come, over all limiters; those that share a set still count right. */
static struct tally *tally_mine(struct fence_limiter *limiter)
{
	static atomic_uint threads;
	static _Thread_local unsigned mine; /* plus one */

	if (mine == 0)
		mine = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % TALLIES + 1;
	return &limiter->tallies[mine - 1];
}

void fence_limiter_count(struct fence_limiter *limiter, enum fence_class class,
	enum fence_reason reason, uint64_t bytes)
{
	struct fence_count *count_of = &tally_mine(limiter)->by[class][reason];

	__atomic_fetch_add(&count_of->packets, 1, __ATOMIC_RELAXED);
	if (bytes > 0)
		__atomic_fetch_add(&count_of->bytes, bytes, __ATOMIC_RELAXED);
}

void fence_limiter_counts(
	const struct fence_limiter *limiter, struct fence_count out[FENCE_CLASSES][FENCE_REASONS])
{
	memset(out, 0, sizeof(struct fence_count[FENCE_CLASSES][FENCE_REASONS]));
	for (unsigned i = 0; i < TALLIES * FENCE_CLASSES * FENCE_REASONS; i++) {
		unsigned class = i / FENCE_REASONS % FENCE_CLASSES;
		unsigned reason = i % FENCE_REASONS;
		const struct fence_count *from =
			&limiter->tallies[i / FENCE_REASONS / FENCE_CLASSES].by[class][reason];

		out[class][reason].packets += __atomic_load_n(&from->packets, __ATOMIC_RELAXED);
		out[class][reason].bytes += __atomic_load_n(&from->bytes, __ATOMIC_RELAXED);
	}
}

/* ---- samples on their way to the control thread ---- */

void fence_limiter_sample(struct fence_limiter *limiter, const struct fence_sample *sample)
{
	bool full;

	pthread_mutex_lock(&limiter->samples_lock);
	full = limiter->samples_n == SAMPLES_MAX;
	if (full)
		limiter->samples_dropped++;
	else
		limiter->samples[(limiter->samples_from + limiter->samples_n++) % SAMPLES_MAX] =
			*sample;
	pthread_mutex_unlock(&limiter->samples_lock);
	if (full)
		count(COUNTER_FENCE_FULL_SAMPLES);
}

size_t fence_limiter_samples(struct fence_limiter *limiter, struct fence_sample *out, size_t n)
{
	size_t taken = 0;

	pthread_mutex_lock(&limiter->samples_lock);
	while (taken < n && limiter->samples_n > 0) {
		out[taken++] = limiter->samples[limiter->samples_from];
		limiter->samples_from = (limiter->samples_from + 1) % SAMPLES_MAX;
		limiter->samples_n--;
	}
	pthread_mutex_unlock(&limiter->samples_lock);
	return taken;
}

uint64_t fence_limiter_samples_dropped(struct fence_limiter *limiter)
{
	uint64_t dropped;

	pthread_mutex_lock(&limiter->samples_lock);
	dropped = limiter->samples_dropped;
	pthread_mutex_unlock(&limiter->samples_lock);
	return dropped;
}
