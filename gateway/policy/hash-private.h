/* SPDX-License-Identifier: MIT */
/* hash-private.h -- SipHash-2-4 (Aumasson, Bernstein 2012): a hash whose collisions peers cannot
 * choose, as they do not know the key. */
#ifndef POSTERN_POLICY_HASH_PRIVATE_H
#define POSTERN_POLICY_HASH_PRIVATE_H

#include "base/span.h"

struct hash_key {
	uint64_t k0;
	uint64_t k1;
};

/* A key nobody else knows. -errno when the kernel has no random octets for us. */
MUST_USE int hash_key_init(struct hash_key *key);

MUST_USE uint64_t hash_bytes(const struct hash_key *key, struct span bytes);

#endif
