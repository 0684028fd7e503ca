/* SPDX-License-Identifier: MIT */
/* callout_cache.c -- see callout-private.h. */
#include "relay/callout-private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

_Static_assert(CALLOUT_CACHED_MAX <= UINT8_MAX, "n holds it");
_Static_assert(sizeof(struct callout_entry) == 128, "two cache lines an address");

int callout_cache_open(struct callout_cache *cache)
{
	*cache = (struct callout_cache){0};
	/* Pages of it are used as addresses come. */
	cache->entries = calloc(CALLOUT_SETS * CALLOUT_WAYS, sizeof(*cache->entries));
	if (cache->entries == NULL)
		return -ENOMEM;
	(void)!getrandom(&cache->seed, sizeof(cache->seed), GRND_NONBLOCK);
	return 0;
}

void callout_cache_close(struct callout_cache *cache)
{
	free(cache->entries);
	*cache = (struct callout_cache){0};
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* FNV-1a from a random start: who makes it collide fills one set, no more. */
static uint32_t hash_of(const struct callout_cache *cache, const struct callout_key *key)
{
	uint64_t value = 0xcbf29ce484222325ull ^ cache->seed ^ key->route;

	for (size_t i = 0; i < key->n; i++)
		value = (value ^ key->text[i]) * 0x100000001b3ull;
	return (uint32_t)(value ^ value >> 32);
}

bool callout_key_set(const struct callout_cache *cache, struct callout_key *key, uint16_t route,
	const struct smtp_address *address)
{
	size_t domain = address->text.n - address->domain.n;

	if (address->text.n == 0 || address->text.n > sizeof(key->text))
		return false;
	key->route = route;
	key->n = (uint16_t)address->text.n;
	for (size_t i = 0; i < address->text.n; i++) {
		uint8_t c = address->text.p[i];

		key->text[i] = i < domain ? c : lower(c);
	}
	key->hash = hash_of(cache, key);
	return true;
}

bool callout_key_same(const struct callout_key *a, const struct callout_key *b)
{
	return a->hash == b->hash && a->route == b->route && a->n == b->n &&
	       memcmp(a->text, b->text, a->n) == 0;
}

static struct callout_entry *set_of(
	const struct callout_cache *cache, const struct callout_key *key)
{
	return &cache->entries[(key->hash & (CALLOUT_SETS - 1)) * CALLOUT_WAYS];
}

static struct callout_entry *place_of(
	const struct callout_cache *cache, const struct callout_key *key)
{
	struct callout_entry *set = set_of(cache, key);

	for (int i = 0; i < CALLOUT_WAYS; i++) {
		struct callout_entry *entry = &set[i];

		if (entry->expires_ms != 0 && entry->hash == key->hash &&
			entry->route == key->route && entry->n == key->n &&
			memcmp(entry->text, key->text, key->n) == 0)
			return entry;
	}
	return NULL;
}

bool callout_cache_find(const struct callout_cache *cache, const struct callout_key *key,
	uint64_t now_ms, enum policy_callout_answer *answer)
{
	const struct callout_entry *entry = place_of(cache, key);

	if (entry == NULL || entry->expires_ms <= now_ms)
		return false;
	*answer = (enum policy_callout_answer)entry->answer;
	return true;
}

void callout_cache_put(struct callout_cache *cache, const struct callout_key *key,
	enum policy_callout_answer answer, uint64_t now_ms, uint64_t ttl_ms)
{
	struct callout_entry *set = set_of(cache, key), *entry = place_of(cache, key);

	if (key->n > CALLOUT_CACHED_MAX || ttl_ms == 0)
		return;
	if (entry == NULL) {
		entry = &set[0];
		for (int i = 1; i < CALLOUT_WAYS; i++)
			if (set[i].expires_ms < entry->expires_ms)
				entry = &set[i];
	}
	entry->expires_ms = now_ms + ttl_ms;
	entry->hash = key->hash;
	entry->route = key->route;
	entry->answer = (uint8_t)answer;
	entry->n = (uint8_t)key->n;
	memcpy(entry->text, key->text, key->n);
}

bool callout_rate_take(struct callout_rate *rate, uint32_t max, uint64_t now_ms)
{
	uint64_t second = now_ms / 1000;

	if (rate->second != second)
		*rate = (struct callout_rate){.second = second};
	if (rate->n >= max)
		return false;
	rate->n++;
	return true;
}
