/* SPDX-License-Identifier: MIT */
/*
 * harness.h -- what the tests of ring/ share: a ring, and steps, ops that write down what came.
 *
 * A step's handler records and stops the loop; the step_wait functions run the loop until what they
 * wait for is there. Nothing here sleeps: a completion that never comes ends in the test's time
 * limit.
 */
#ifndef POSTERN_TESTS_RING_HARNESS_H
#define POSTERN_TESTS_RING_HARNESS_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counter.h"
#include "ring/ring.h"

#define TEST_LIMIT_S   20
#define STEP_HELD_MAX  64
#define MS_OF_NO_EVENT 100 /* how long a test watches that nothing happens */

struct step {
	struct op op;
	int res;
	uint32_t flags;
	unsigned calls;
	bool was_armed; /* as the handler saw it */
	struct ring_buffer *held[STEP_HELD_MAX];
	unsigned held_n;
};

extern struct ring *ring; /* of the running test */

void harness_open(uint32_t entries, uint32_t buffers);
void harness_close(void);

void step_init(struct step *step);
void step_done(struct op *op, int res, uint32_t flags);
/* Runs until the step has had `calls` completions. */
void step_wait_calls(struct step *step, unsigned calls);
/* Runs until its last completion; its result. */
int step_wait(struct step *step);
/* Cancels it, waits for both; the target's result. */
int step_cancel(struct step *step);
/* Runs the loop for so long. */
void run_for_ms(uint64_t ms);
void release_first(struct step *step);
bool holds(const struct ring_buffer *buffer, const char *text); /* that, and no more */

/* A connected pair of Unix stream sockets. */
void pair_open(int pair[2]);
void put(int fd, const char *text);
/* Two octets, "fd", with a control message that is not about TLS. */
void put_descriptor(int fd);

#endif
