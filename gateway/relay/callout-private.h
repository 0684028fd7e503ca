/* SPDX-License-Identifier: MIT */
/*
 * callout-private.h -- what next hops said about recipients, remembered for a while.
 *
 * The cache is an array of sets: an address belongs to one set, and a set has CALLOUT_WAYS places.
 * So a look-up costs the same whatever addresses peers choose, there is nothing to sweep, and what
 * is over the size pushes out what would have gone first. Addresses are compared whole: a hash that
 * stood for them could be made to collide, and one address get another's answer.
 */
#ifndef POSTERN_RELAY_CALLOUT_PRIVATE_H
#define POSTERN_RELAY_CALLOUT_PRIVATE_H

#include "policy/policy.h"

#define CALLOUT_ADDRESS_MAX 320  /* octets; longer ones are not asked about */
#define CALLOUT_SETS        8192 /* a power of two */
#define CALLOUT_WAYS        8
#define CALLOUT_CACHED_MAX  112 /* octets; longer ones are not remembered */

/* Whom a question is about. */
struct callout_key {
	uint16_t route; /* index in the settings */
	uint16_t n;
	uint32_t hash;
	uint8_t text[CALLOUT_ADDRESS_MAX]; /* the domain in lower case; the local part as it came */
};

struct callout_entry {
	uint64_t expires_ms; /* 0: free */
	uint32_t hash;
	uint16_t route;
	uint8_t answer; /* enum policy_callout_answer */
	uint8_t n;
	uint8_t text[CALLOUT_CACHED_MAX];
};

struct callout_cache {
	struct callout_entry *entries; /* CALLOUT_SETS * CALLOUT_WAYS */
	uint64_t seed;
};

MUST_USE int callout_cache_open(struct callout_cache *cache); /* 0 or -ENOMEM */
void callout_cache_close(struct callout_cache *cache);

/* False: the address is too long. */
MUST_USE bool callout_key_set(const struct callout_cache *cache, struct callout_key *key,
	uint16_t route, const struct smtp_address *address);
bool callout_key_same(const struct callout_key *a, const struct callout_key *b);

MUST_USE bool callout_cache_find(const struct callout_cache *cache, const struct callout_key *key,
	uint64_t now_ms, enum policy_callout_answer *answer);
/* ttl_ms 0: is not remembered. */
void callout_cache_put(struct callout_cache *cache, const struct callout_key *key,
	enum policy_callout_answer answer, uint64_t now_ms, uint64_t ttl_ms);

/* So many a second, counted anew each second. */
struct callout_rate {
	uint64_t second;
	uint32_t n;
};

MUST_USE bool callout_rate_take(struct callout_rate *rate, uint32_t max, uint64_t now_ms);

#endif
