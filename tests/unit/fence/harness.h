/* SPDX-License-Identifier: MIT */
/* harness.h -- a fence without the kernel, with a clock that stands still until it is moved. */
#ifndef POSTERN_TESTS_UNIT_FENCE_HARNESS_H
#define POSTERN_TESTS_UNIT_FENCE_HARNESS_H

#include <criterion/criterion.h>

#include "fence/fence-private.h"

#define SECOND_NS 1000000000ull

/* No limit of anything, strikes that never come to a penalty; 64 sources. */
struct fence_settings fence_settings_free(void);

/* The clock is at 1000 s. */
struct fence *fence_start(const struct fence_settings *settings);
void fence_end(struct fence *fence);

void clock_pass(uint64_t ms);

struct address {
	uint8_t octets[NETWORK_BYTES];
};
struct address address_of(const char *text);
/* 10.x.y.z */
struct address address_number(uint32_t n);
struct network network_of_text(const char *text);

/* fence_enter() as its own peer, in plaintext. */
enum fence_reason enter(struct fence *fence, struct fence_client *client, const char *text);
struct fence_entry entry_of(struct fence *fence, const char *text);
/* What the gateway counted. */
uint64_t counted(struct fence *fence, enum fence_class class, enum fence_reason reason);

#endif
