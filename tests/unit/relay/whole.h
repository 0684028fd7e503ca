/* SPDX-License-Identifier: MIT */
/*
 * whole.h -- what the tests of the scheduler share: a whole relay with a real spool in a directory of
 * its own, routes to the sinks of sink.h, and letters.
 *
 *	a.example	route "a": lmtp, sink 0
 *	b.example	route "b": lmtp, sink 1
 *	ab.example	route "ab": lmtp, sink 0, then sink 1
 *	smtp.example	route "smtp": smtp, sink 0
 *	box.example	route "box": a Maildir
 *	[127.0.0.1], example.org, null.example.org, gone.example.org
 *			route "mx": mx, at sink 0's port
 *	others		none
 *
 * whole_turn() is one turn of the loop. Nothing here sleeps: what never comes ends in the test's
 * time limit. Times are short: retry_ms_min 50, retry_ms_max 200.
 */
#ifndef POSTERN_TESTS_RELAY_WHOLE_H
#define POSTERN_TESTS_RELAY_WHOLE_H

#include <criterion/criterion.h>

#include "base/counter.h"
#include "relay/query-private.h"
#include "tests/unit/relay/sink.h"

#define WHOLE_LIMIT_S 60

enum { WHOLE_A, WHOLE_B, WHOLE_AB, WHOLE_SMTP, WHOLE_BOX, WHOLE_MX, WHOLE_ROUTES };

extern struct relay *whole;
extern struct config whole_config;
extern struct route_settings whole_routes[WHOLE_ROUTES];
extern char whole_root[64];

/* whole_prepare() sets everything to its usual values; what a test wants otherwise it sets between
 * the two. Both sinks run. */
void whole_prepare(void);
void whole_open(void);
/* Drains; checks that nothing is left open, that gauges are 0. */
void whole_close(void);
/* Ends relay and spool and starts them from what is on disk. */
void whole_restart(void);
void whole_turn(void);
/* A reload that swaps the domains of two routes. */
void whole_route_move(unsigned from, unsigned to);
extern uint8_t whole_notify; /* of all recipients of whole_send() */
extern bool whole_requiretls;

/* Puts a message from `sender` ("" for <>) to recipients, separated by spaces, into the spool; its id
 * once it is durable. */
uint64_t whole_send(const char *sender, const char *recipients);
struct spool_entry *whole_entry(uint64_t id); /* NULL: gone */
uint32_t whole_queued(void);
void whole_until_empty(void);
void whole_until_sink(unsigned i, unsigned messages);
void whole_until_attempts(uint64_t id, uint32_t n); /* records */
void whole_until_state(uint64_t id, enum relay_entry_state state);
/* Turns of the loop for so long. */
void whole_for_ms(uint64_t ms);
/* "250 2.0.0 taken" of the newest record. */
const char *whole_last(uint64_t id);
/* "DELIVERED PENDING ...". */
const char *whole_fates(uint64_t id);
/* The only message that is from <>; NULL: none. */
struct spool_entry *whole_report(void);

#endif
