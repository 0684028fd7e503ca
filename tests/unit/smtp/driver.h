/* SPDX-License-Identifier: MIT */
/*
 * driver.h -- plays the coordinator for smtp/ and writes down what happened, in one line.
 *
 * The log is made of tokens: replies as CODE/ENHANCED ("250/2.1.0", of several lines the last),
 * events as MAIL(a@b) RCPT(c@d) BEGIN(data) CHUNK(5) SPOIL(554) END(content) (END-TLS-OPTIONAL,
 * where the header says so) ABORT STARTTLS
 * CLOSE(quit), XCLIENT(ADDR=192.0.2.1,PORT=?) with all that is known, "?" if unavailable. BODY spans are collected and printed at END, escaped as in C, so that the log does
 * not depend on how a message was cut up. What the room promises about the order of events is
 * checked on the way, by ASSERT.
 *
 * Answers follow from the address: MAIL of refused@ 550, later@ 451, closed@ 421 and close;
 * RCPT to unknown@ 550, busy@ 450, closed@ 421 and close; BEGIN of full@ 452; END of broken@ 451,
 * spam@ 554; XCLIENT of the name "closed" 421 and close. With `answers` set they follow from its octets instead.
 *
 * Used by the unit tests and, included as source, by the fuzz targets.
 */
#ifndef POSTERN_TESTS_SMTP_DRIVER_H
#define POSTERN_TESTS_SMTP_DRIVER_H

#include <stdio.h>

#include "smtp/smtp.h"

#define DRIVER_OUT_BYTES (4 * SMTP_REPLY_MAX)

struct driver {
	struct smtp_settings settings;
	struct smtp_pools pools;
	struct smtp smtp;
	uint8_t out_bytes[DRIVER_OUT_BYTES];
	size_t out_cap;                      /* lower it to meet FULL */
	bool move;                           /* take octets past smtp_step() where it is allowed */
	bool upgrade;                        /* shake hands after STARTTLS */
	const struct smtp_verdict *starttls; /* the answer to it; NULL: accepted */
	struct span answers;                 /* one octet a question */
	bool trusted;                        /* may say XCLIENT */
	size_t asked;
	bool over;     /* CLOSE, or STARTTLS without upgrade */
	bool injected; /* what smtp_pipelined() said */
	bool in_message;
	bool data;     /* the message comes by DATA */
	bool has_8bit; /* what the last BODY of it said */
	FILE *log;
	char *text;
	size_t text_n;
	FILE *content;
	char *body;
	size_t body_n;
	char replies[65536]; /* all reply octets, cut */
	size_t replies_n;
};

/* Sets the usual settings; they may be changed before driver_open(). */
void driver_init(struct driver *driver);
void driver_open(struct driver *driver, enum smtp_tls_offer tls);
/* Steps until all input is taken or the session is over. */
void driver_feed(struct driver *driver, struct span in);
void driver_feed_str(struct driver *driver, const char *text);
/* The log so far. */
const char *driver_log(struct driver *driver);
void driver_close(struct driver *driver);

#endif
