/* SPDX-License-Identifier: MIT */
/*
 * counts.c -- an exact table of the addresses that have sessions now.
 *
 * A chained hash table whose chains are locked in stripes; entries come from one array of
 * sessions_max, for there are never more addresses than sessions. A session takes its place in the
 * total before it looks for an entry and gives it back after it has freed one, so the free list
 * cannot run dry.
 *
 * An IPv6 peer counts as its /64: whoever has one address there has them all.
 *
 * Rejected: a table a worker (SO_REUSEPORT spreads one address over all of them, a limit of 3
 * would become 3 times the workers); counting by sketch (refuses the innocent).
 *
 * Lock order: stripe, then free list.
 */
#include "policy/counts-private.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "policy/hash-private.h"

#define COUNTS_STRIPES 64 /* a power of two */
#define COUNTS_KEY     16

struct entry {
	uint8_t key[COUNTS_KEY];
	uint32_t sessions;
	uint32_t next; /* of its chain or of the free list: index plus one, 0 at the end */
};

struct stripe {
	_Alignas(64) pthread_mutex_t lock;
};

struct counts {
	struct stripe stripes[COUNTS_STRIPES];
	_Alignas(64) atomic_uint total;
	uint32_t sessions_max;
	uint32_t per_address_max;
	struct hash_key key;
	struct entry *entries;
	uint32_t *heads;
	uint32_t heads_mask;
	pthread_mutex_t free_lock;
	uint32_t free; /* index plus one */
};

int counts_open(struct counts **out, uint32_t sessions_max, uint32_t per_address_max)
{
	struct counts *counts = aligned_alloc(_Alignof(struct counts), sizeof(*counts));
	uint32_t heads = COUNTS_STRIPES;
	int rc;

	ASSERT(sessions_max > 0 && sessions_max < 1u << 31);
	if (!counts)
		return -ENOMEM;
	memset(counts, 0, sizeof(*counts));
	while (heads < sessions_max)
		heads *= 2;
	counts->sessions_max = sessions_max;
	counts->per_address_max = per_address_max;
	counts->heads_mask = heads - 1;
	counts->entries = calloc(sessions_max, sizeof(*counts->entries));
	counts->heads = calloc(heads, sizeof(*counts->heads));
	rc = hash_key_init(&counts->key);
	if (!counts->entries || !counts->heads)
		rc = -ENOMEM;
	if (rc != 0) {
		free(counts->entries);
		free(counts->heads);
		free(counts);
		return rc;
	}
	for (uint32_t i = 0; i + 1 < sessions_max; i++)
		counts->entries[i].next = i + 2;
	counts->free = 1;
	pthread_mutex_init(&counts->free_lock, NULL);
	for (size_t i = 0; i < COUNTS_STRIPES; i++)
		pthread_mutex_init(&counts->stripes[i].lock, NULL);
	*out = counts;
	return 0;
}

void counts_close(struct counts *counts)
{
	for (size_t i = 0; i < COUNTS_STRIPES; i++)
		pthread_mutex_destroy(&counts->stripes[i].lock);
	pthread_mutex_destroy(&counts->free_lock);
	free(counts->entries);
	free(counts->heads);
	free(counts);
}

/* What a peer counts as: its IPv4 address, mapped, or its IPv6 /64. */
static void peer_key(const uint8_t peer[NETWORK_BYTES], uint8_t key[COUNTS_KEY])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	memcpy(key, peer, COUNTS_KEY);
	if (memcmp(key, mapped, sizeof(mapped)) != 0)
		memset(key + 8, 0, 8);
}

static uint32_t take_free(struct counts *counts)
{
	uint32_t place;

	pthread_mutex_lock(&counts->free_lock);
	place = counts->free;
	ASSERT(place != 0);
	counts->free = counts->entries[place - 1].next;
	pthread_mutex_unlock(&counts->free_lock);
	return place;
}

static void give_free(struct counts *counts, uint32_t place)
{
	pthread_mutex_lock(&counts->free_lock);
	counts->entries[place - 1].next = counts->free;
	counts->free = place;
	pthread_mutex_unlock(&counts->free_lock);
}

/* Where the chain points to the key's entry, or its end. The stripe is locked. */
static uint32_t *find(struct counts *counts, uint32_t head, const uint8_t key[COUNTS_KEY])
{
	uint32_t *at = &counts->heads[head];

	while (*at != 0 && memcmp(counts->entries[*at - 1].key, key, COUNTS_KEY) != 0)
		at = &counts->entries[*at - 1].next;
	return at;
}

static bool enter_address(struct counts *counts, uint32_t head, const uint8_t key[COUNTS_KEY])
{
	uint32_t *at = find(counts, head, key);
	struct entry *entry;

	if (*at == 0) {
		uint32_t place = take_free(counts);

		entry = &counts->entries[place - 1];
		memcpy(entry->key, key, COUNTS_KEY);
		entry->sessions = 0;
		entry->next = 0;
		*at = place;
	}
	entry = &counts->entries[*at - 1];
	if (entry->sessions >= counts->per_address_max)
		return false;
	entry->sessions++;
	return true;
}

static void leave_address(struct counts *counts, uint32_t head, const uint8_t key[COUNTS_KEY])
{
	uint32_t *at = find(counts, head, key);
	uint32_t place = *at;
	struct entry *entry;

	ASSERT(place != 0);
	entry = &counts->entries[place - 1];
	ASSERT(entry->sessions > 0);
	if (--entry->sessions > 0)
		return;
	*at = entry->next;
	give_free(counts, place);
}

/* Each turn of the loop that does not end it is one in which another thread got on. */
static bool enter_total(struct counts *counts)
{
	unsigned total = atomic_load(&counts->total);

	while (total < counts->sessions_max) {
		if (atomic_compare_exchange_weak(&counts->total, &total, total + 1))
			return true;
	}
	return false;
}

static uint32_t head_of(const struct counts *counts, const uint8_t key[COUNTS_KEY])
{
	return (uint32_t)hash_bytes(&counts->key, span_of(key, COUNTS_KEY)) & counts->heads_mask;
}

enum policy_door counts_enter(struct counts *counts, const uint8_t peer[NETWORK_BYTES])
{
	uint8_t key[COUNTS_KEY];
	struct stripe *stripe;
	uint32_t head;
	bool entered;

	if (!enter_total(counts))
		return POLICY_DOOR_FULL;
	if (peer == NULL)
		return POLICY_DOOR_OPEN;
	peer_key(peer, key);
	head = head_of(counts, key);
	stripe = &counts->stripes[head % COUNTS_STRIPES];
	pthread_mutex_lock(&stripe->lock);
	entered = enter_address(counts, head, key);
	pthread_mutex_unlock(&stripe->lock);
	if (entered)
		return POLICY_DOOR_OPEN;
	atomic_fetch_sub(&counts->total, 1);
	return POLICY_DOOR_ADDRESS_FULL;
}

void counts_leave(struct counts *counts, const uint8_t peer[NETWORK_BYTES])
{
	uint8_t key[COUNTS_KEY];
	struct stripe *stripe;
	uint32_t head;

	if (peer != NULL) {
		peer_key(peer, key);
		head = head_of(counts, key);
		stripe = &counts->stripes[head % COUNTS_STRIPES];
		pthread_mutex_lock(&stripe->lock);
		leave_address(counts, head, key);
		pthread_mutex_unlock(&stripe->lock);
	}
	atomic_fetch_sub(&counts->total, 1);
}
