/* SPDX-License-Identifier: MIT */
/*
 * reply.h -- SMTP replies (RFC 5321 4.2) out of a stream, however it is cut.
 *
 * Sans-IO: reply_feed takes octets off the front of *in until a line is whole. Of a line's text
 * only the first REPLY_TEXT_MAX octets are kept: enough for EHLO keywords and for a person.
 */
#ifndef POSTERN_BENCH_REPLY_H
#define POSTERN_BENCH_REPLY_H

#include "base/span.h"

#define REPLY_TEXT_MAX  80
#define REPLY_LINE_MAX  2048 /* octets; RFC 5321 allows 512 */
#define REPLY_LINES_MAX 512

enum reply_step {
	REPLY_MORE, /* all octets taken, the line is not whole */
	REPLY_LINE, /* a line of several: code and text are valid, more lines follow */
	REPLY_END,  /* the reply's last line */
	REPLY_BAD,  /* not SMTP: the connection is of no more use */
};

struct reply {
	uint16_t code;
	uint16_t line_n; /* octets of this line so far */
	uint16_t lines;  /* whole lines of this reply so far */
	uint8_t text_n;  /* octets kept of this line's text */
	bool whole;      /* the last call ended a line */
	bool last;       /* ... and with it the reply */
	uint16_t first;  /* code of the reply's first line */
	char separator;
	char text[REPLY_TEXT_MAX];
};

static inline void reply_init(struct reply *reply)
{
	*reply = (struct reply){0};
}

MUST_USE enum reply_step reply_feed(struct reply *reply, struct span *in);

/* Is this line's text the EHLO keyword (alone or followed by parameters)? */
MUST_USE bool reply_keyword(const struct reply *reply, const char *word);

#endif
