/* SPDX-License-Identifier: MIT */
/*
 * dsn_copy.c -- the original message, or its header, as it may stand inside a report.
 *
 * What came by BDAT was never looked at, so it may hold bare CR and LF, NUL and lines of any length.
 * A report must not: it may have to leave by DATA. Both bare ones become CRLF, NUL becomes "?", long
 * lines are broken; in the header with a blank behind, so that it stays one.
 */
#include "relay/dsn-private.h"

#define OCTETS_PER_OCTET 6 /* at most: CRLF of a bare CR, a line broken, the octet itself */

static void put(struct buf *out, const char *text, size_t n)
{
	if (!buf_put(out, span_of(text, n)))
		ASSERT(!"room was looked at");
}

static void line_end(struct relay_dsn_copy *copy, struct buf *out)
{
	if (!copy->in_body && copy->line_n == 0) {
		copy->in_body = true;
		copy->ended = copy->header_only;
	}
	if (!copy->ended)
		put(out, "\r\n", 2);
	copy->line_n = 0;
}

static void octet(struct relay_dsn_copy *copy, uint8_t c, struct buf *out)
{
	char clean = (char)(c == '\0' || (c >= 0x80 && !copy->eight_bit) ? '?' : c);

	if (copy->line_n == RELAY_DSN_LINE_MAX) {
		put(out, "\r\n ", copy->in_body ? 2 : 3);
		copy->line_n = copy->in_body ? 0 : 1;
	}
	put(out, &clean, 1);
	copy->line_n++;
}

void relay_dsn_copy_feed(struct relay_dsn_copy *copy, struct span *in, struct buf *out)
{
	while (in->n > 0 && !copy->ended && buf_room(out) >= OCTETS_PER_OCTET) {
		uint8_t c = span_take(in, 1).p[0];
		bool after_cr = copy->cr;

		copy->cr = c == '\r';
		if (after_cr || c == '\n')
			line_end(copy, out);
		if (c != '\r' && c != '\n' && !copy->ended)
			octet(copy, c, out);
	}
}

void relay_dsn_copy_end(struct relay_dsn_copy *copy, struct buf *out)
{
	if (!copy->ended && (copy->line_n > 0 || copy->cr))
		line_end(copy, out);
	copy->cr = false;
	copy->ended = true;
}
