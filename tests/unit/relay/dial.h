/* SPDX-License-Identifier: MIT */
/*
 * dial.h -- what the tests of client.c share: a ring, the lower half of a relay, one connection to
 * the peer of peer.h, and letters, jobs that write down what became of them.
 *
 * dial_turn() is one turn of the loop. Nothing here sleeps: what never comes ends in the test's time
 * limit.
 */
#ifndef POSTERN_TESTS_RELAY_DIAL_H
#define POSTERN_TESTS_RELAY_DIAL_H

#include <criterion/criterion.h>

#include "base/counter.h"
#include "relay/client-private.h"
#include "tests/unit/relay/peer.h"

#define DIAL_LIMIT_S          30
#define LETTER_RECIPIENTS_MAX 8
#define LETTER_TEXT           "Subject: x\r\n\r\nhi\r\n" /* 18 octets */

struct letter {
	struct relay_job job;
	struct relay_job_recipient recipients[LETTER_RECIPIENTS_MAX];
	struct relay_outcome outcomes[LETTER_RECIPIENTS_MAX];
	struct smtp_recipient smtp[LETTER_RECIPIENTS_MAX];
	char names[LETTER_RECIPIENTS_MAX][16]; /* r0@b to r7@b */
	struct smtp_envelope envelope;
	struct spool_body body;
	struct iovec iov;
	unsigned done_n;
};

extern struct ring *ring;
extern struct relay relay;
extern struct config config;
extern struct route_settings route;
extern struct next_hop_settings hop;
extern struct relay_target target;
extern struct relay_client *client; /* NULL once it is gone */
extern struct relay_outcome closed; /* what closed() said */
extern unsigned ready_n, closed_n;
extern struct letter *ready_letter; /* given at the next ready() */

/* The peer with its script and a connection to it. lmtp: by LMTP. */
void dial_open(const char *const *script, bool lmtp);
/* The same without the connection: to set things before dial(). */
void dial_prepare(const char *const *script, bool lmtp, bool unix_socket);
void dial(void);
/* Waits until the connection is gone; checks that nothing is left. */
void dial_close(void);
void dial_turn(void);
void dial_until_ready(void);
void dial_until_stage(enum client_stage stage);

/* A message with LETTER_TEXT from a@b to n recipients. */
void letter_init(struct letter *letter, uint32_t n);
void letter_text(struct letter *letter, struct span text);
void letter_file(struct letter *letter, int fd, uint64_t offset, uint64_t n);
void letter_wait(struct letter *letter);
/* "DONE 250 2.0.0|LATER 450": the outcomes, in order. */
const char *letter_outcomes(const struct letter *letter);

#endif
