/* SPDX-License-Identifier: MIT */
/*
 * dsn-private.h -- a report's text (dsn_text.c) and the copy of the original in it (dsn_copy.c), both
 * sans-IO, for dsn.c, which brings octets in and takes them away.
 */
#ifndef POSTERN_RELAY_DSN_PRIVATE_H
#define POSTERN_RELAY_DSN_PRIVATE_H

#include "relay/relay-private.h"

#define RELAY_DSN_PIECE_MAX 6144 /* octets that relay_dsn_text_write() may want room for */
#define RELAY_DSN_LINE_MAX  998  /* RFC 5322 2.1.1, without CRLF */

/* What a report says. All is borrowed. */
struct relay_dsn_report {
	enum relay_dsn_kind kind;
	const char *hostname;
	const char *id;          /* of the report, for Message-ID: */
	const char *original_id; /* queue ids, as text */
	uint64_t boundary;       /* random */
	uint64_t now_s;
	uint64_t arrived_s;
	uint64_t expires_s; /* DELAYED: given up then */
	const struct smtp_envelope *envelope;
	const struct relay_dsn_recipient *recipients;
	uint32_t recipients_n;
	bool full;          /* the whole message comes with it, not only its header */
	bool has_8bit;      /* octets >= 0x80 may be in what comes with it */
	bool international; /* RFC 6533: addresses or headers are UTF-8 */
};

/* Does the report need RFC 6533? The envelope's smtputf8 alone does not: the way back may lack it. */
bool relay_dsn_international(const struct relay_dsn_report *report);

enum relay_dsn_piece {
	RELAY_DSN_HEADER,
	RELAY_DSN_HUMAN,
	RELAY_DSN_HUMAN_RECIPIENT,
	RELAY_DSN_STATUS,
	RELAY_DSN_STATUS_RECIPIENT,
	RELAY_DSN_ORIGINAL, /* the head of the third part; its octets follow from elsewhere */
	RELAY_DSN_CLOSE,    /* the end, after them */
	RELAY_DSN_END
};

/* Where the writing stands; zero at first. */
struct relay_dsn_text {
	enum relay_dsn_piece piece;
	uint32_t recipient;
};

/* Appends the next piece (RELAY_DSN_PIECE_MAX free) and steps on. */
void relay_dsn_text_write(
	struct relay_dsn_text *text, const struct relay_dsn_report *report, struct buf *out);

/* ---- the copy of the original ---- */

struct relay_dsn_copy {
	bool header_only;
	bool eight_bit; /* octets >= 0x80 stay; else they become "?" */
	bool in_body;
	bool cr;    /* a CR came, what follows is not known */
	bool ended; /* nothing more is wanted: the header is over */
	uint32_t line_n;
};

/*
 * Takes octets off *in as long as `out` has room for what they become: lines end with CRLF, are at
 * most RELAY_DSN_LINE_MAX long, and hold no NUL, whatever a BDAT chunk brought.
 */
void relay_dsn_copy_feed(struct relay_dsn_copy *copy, struct span *in, struct buf *out);
/* Ends a line that is open (4 octets of room). */
void relay_dsn_copy_end(struct relay_dsn_copy *copy, struct buf *out);

#endif
