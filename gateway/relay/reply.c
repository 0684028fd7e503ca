/* SPDX-License-Identifier: MIT */
/*
 * reply.c -- reads a next hop's replies (RFC 5321 4.2, RFC 2034), octet by octet, without I/O.
 *
 * A reply is lines "CODE-text" and a last one "CODE text", all of one code. The text is kept joined
 * by spaces and without the enhanced code, cut at RELAY_REPLY_MAX; it goes into logs and reports, so
 * what is not printable ASCII is '?' there. A line and a reply are bounded: a next hop that never
 * ends one is garbage, as is one whose lines disagree.
 *
 * Liberal in two places: a line may end by a bare LF, and the second digit of a code may be any
 * (571 is in use).
 */
#include "relay/relay-private.h"

enum reply_state { STATE_CODE, STATE_SEPARATOR, STATE_TEXT, STATE_CR };

static void line_reset(struct relay_reply *reply)
{
	reply->state = STATE_CODE;
	reply->last = false;
	reply->line_code = 0;
	reply->line_n = 0;
	buf_init(&reply->line, reply->line_storage, sizeof(reply->line_storage) - 1);
}

void relay_reply_reset(struct relay_reply *reply)
{
	reply->code = 0;
	reply->malformed = false;
	reply->lines = 0;
	reply->enhanced[0] = '\0';
	reply->text_storage[0] = '\0';
	buf_init(&reply->text, reply->text_storage, sizeof(reply->text_storage) - 1);
	line_reset(reply);
}

static size_t digits_n(struct span text, size_t from)
{
	size_t n = 0;

	while (from + n < text.n && text.p[from + n] >= '0' && text.p[from + n] <= '9')
		n++;
	return n;
}

/* Octets of "class.subject.detail" at the start of text (RFC 3463 2); 0: there is none. */
static size_t enhanced_n(struct span text, uint16_t code)
{
	size_t subject = digits_n(text, 2);
	size_t detail = subject > 0 ? digits_n(text, 2 + subject + 1) : 0;
	size_t n = 2 + subject + 1 + detail;

	if (subject == 0 || subject > 3 || detail == 0 || detail > 3)
		return 0;
	if (text.p[0] != '0' + code / 100 || text.p[1] != '.' || text.p[2 + subject] != '.')
		return 0;
	return n == text.n || text.p[n] == ' ' ? n : 0;
}

/* Appends what fits. */
static void put_cut(struct buf *buf, struct span bytes)
{
	bytes.n = min_size(bytes.n, buf_room(buf));
	if (bytes.n > 0)
		memcpy(buf->p + buf->end, bytes.p, bytes.n);
	buf->end += (uint32_t)bytes.n;
}

static void text_join(struct relay_reply *reply, struct span text)
{
	if (reply->lines > 0 && buf_len(&reply->text) > 0 && text.n > 0)
		put_cut(&reply->text, span_str(" "));
	put_cut(&reply->text, text);
	reply->text_storage[reply->text.end] = '\0';
}

/* A line is whole: its code must be the reply's, its text joins the others'. */
static bool line_end(struct relay_reply *reply)
{
	struct span text = buf_span(&reply->line);
	size_t n = enhanced_n(text, reply->line_code);

	if (reply->lines > 0 && reply->line_code != reply->code)
		return false;
	reply->code = reply->line_code;
	if (n > 0 && reply->enhanced[0] == '\0' && reply->lines == 0) {
		memcpy(reply->enhanced, text.p, n);
		reply->enhanced[n] = '\0';
	}
	if (n > 0)
		span_take(&text, min_size(n + 1, text.n));
	text_join(reply, text);
	reply->lines++;
	return reply->last || reply->lines < RELAY_REPLY_LINES_MAX;
}

static bool code_feed(struct relay_reply *reply, uint8_t c)
{
	bool first = reply->line_n == 1;

	if (c < (first ? '2' : '0') || c > (first ? '5' : '9'))
		return false;
	reply->line_code = (uint16_t)(reply->line_code * 10 + (c - '0'));
	if (reply->line_n == 3)
		reply->state = STATE_SEPARATOR;
	return true;
}

static void text_feed(struct relay_reply *reply, uint8_t c)
{
	uint8_t kept = c >= ' ' && c < 0x7f ? c : c == '\t' ? ' ' : '?';

	reply->state = STATE_TEXT;
	put_cut(&reply->line, span_of(&kept, 1));
}

/* False: junk. An LF ends the line; the caller sees that by itself. */
static bool octet_feed(struct relay_reply *reply, uint8_t c)
{
	if (++reply->line_n > RELAY_REPLY_LINE_MAX)
		return false;
	switch ((enum reply_state)reply->state) {
	case STATE_CODE:
		return code_feed(reply, c);
	case STATE_SEPARATOR:
		reply->last = c != '-';
		if (c == ' ' || c == '-')
			reply->state = STATE_TEXT;
		else if (c == '\r')
			reply->state = STATE_CR;
		else
			return c == '\n';
		return true;
	case STATE_TEXT:
		if (c == '\r')
			reply->state = STATE_CR;
		else if (c != '\n')
			text_feed(reply, c);
		return true;
	case STATE_CR:
		return c == '\n';
	}
	return false;
}

enum relay_reply_step relay_reply_feed(
	struct relay_reply *reply, struct span *in, struct span *line)
{
	*line = (struct span){0};
	while (in->n > 0 && !reply->malformed) {
		uint8_t c = span_take(in, 1).p[0];

		if (reply->line_n == 0)
			line_reset(reply);
		if (!octet_feed(reply, c) || (c == '\n' && !line_end(reply))) {
			reply->malformed = true;
			break;
		}
		if (c != '\n')
			continue;
		*line = buf_span(&reply->line);
		reply->line_n = 0;
		return reply->last ? RELAY_REPLY_WHOLE : RELAY_REPLY_LINE;
	}
	return reply->malformed ? RELAY_REPLY_BAD : RELAY_REPLY_MORE;
}
