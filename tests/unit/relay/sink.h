/* SPDX-License-Identifier: MIT */
/*
 * sink.h -- a next hop that takes mail over many connections, on a thread of its own; for the tests
 * of the scheduler. What it says depends on the recipient's local part, and on what the test sets:
 *
 *	RCPT TO:<later...>	450 4.2.0 busy
 *	RCPT TO:<never...>	550 5.1.1 no such user
 *	anything else		250, and 250 for the message
 *
 * It speaks LMTP after LHLO, SMTP after EHLO; no extension but the pipelining that reading line by
 * line is.
 */
#ifndef POSTERN_TESTS_RELAY_SINK_H
#define POSTERN_TESTS_RELAY_SINK_H

#include <stdbool.h>
#include <stdint.h>

#define SINKS_MAX 2

struct sink_seen {
	unsigned connections; /* so far */
	unsigned open;        /* now */
	unsigned open_max;
	unsigned messages; /* taken */
	unsigned recipients;
	unsigned mails;   /* MAIL commands */
	unsigned quits;   /* QUIT commands */
	unsigned blocked; /* messages that wait for sink_go() */
};

/* Starts sink `i` on a port of 127.0.0.1, which stays the same when it stops and starts again. */
uint16_t sink_open(unsigned i);
/* Stops: connections are reset, new ones refused. */
void sink_stop(unsigned i);
void sink_start(unsigned i);
void sink_close(unsigned i); /* and forgets the port */
struct sink_seen sink_seen(unsigned i);

/* 421 to the next n MAIL commands, and closes. */
void sink_unavailable(unsigned i, unsigned n);
/* Closes after that many messages of a connection, at its next MAIL, without a word; 0: never. */
void sink_tired(unsigned i, unsigned messages);
/* Messages get no reply until sink_go(). */
void sink_block(unsigned i);
void sink_go(unsigned i);
/* Connections over so many are greeted with 421; 0: none are. */
void sink_places(unsigned i, unsigned n);
/* At a message's end one 250, however many recipients there are, then 421 and the end. */
void sink_leaves(unsigned i, bool leaves);
/* A keyword in the answer to EHLO and LHLO. */
void sink_offers(unsigned i, const char *keyword);
/* The greeting: 220, or what is given. */
void sink_greeting(unsigned i, const char *line);

#endif
