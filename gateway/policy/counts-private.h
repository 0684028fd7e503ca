/* SPDX-License-Identifier: MIT */
/*
 * counts-private.h -- how many sessions there are, in all and from each address, over all workers.
 */
#ifndef POSTERN_POLICY_COUNTS_PRIVATE_H
#define POSTERN_POLICY_COUNTS_PRIVATE_H

#include "policy/policy.h"

struct counts;

/* -errno on failure. */
MUST_USE int counts_open(struct counts **out, uint32_t sessions_max, uint32_t per_address_max);

/* Sessions that have not left by now must not leave any more. */
void counts_close(struct counts *counts);

/* As policy_enter and policy_leave. */
MUST_USE enum policy_door counts_enter(struct counts *counts, const uint8_t peer[NETWORK_BYTES]);
void counts_leave(struct counts *counts, const uint8_t peer[NETWORK_BYTES]);

#endif
