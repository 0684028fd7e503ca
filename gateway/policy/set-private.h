/* SPDX-License-Identifier: MIT */
/*
 * set-private.h -- a set of short texts that is built once and then only asked.
 *
 * Open addressing over one text buffer of the caller's, in which each member ends with a NUL. A
 * slot holds a member's place and 32 bits of its hash, so that most misses touch one cache line
 * and no text.
 */
#ifndef POSTERN_POLICY_SET_PRIVATE_H
#define POSTERN_POLICY_SET_PRIVATE_H

#include "policy/hash-private.h"

#define SET_TEXT_MAX   ((1ull << 32) - 2) /* octets: a place fits 32 bits */
#define SET_LOAD_SHARE 2                  /* slots for each member, at least */

struct set_slot {
	uint32_t place; /* of the member in text, plus one; 0: free */
	uint32_t tag;
};

struct set {
	const char *text; /* borrowed */
	struct set_slot *slots;
	uint64_t mask;
	uint64_t members;
	uint64_t members_max;
	struct hash_key key;
};

/* An empty set with room for members_max members of `text`. -errno on failure. */
MUST_USE int set_open(struct set *set, const char *text, uint64_t members_max);
void set_close(struct set *set);

/* Adds the member that stands at `place` of the text, n octets and a NUL; twice is as once. */
void set_add(struct set *set, uint64_t place, size_t n);

/* The member must not hold a NUL. */
MUST_USE bool set_has(const struct set *set, struct span member);

#endif
