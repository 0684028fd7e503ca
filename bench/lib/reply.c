/* SPDX-License-Identifier: MIT */
/* reply.c -- see reply.h. */
#include "bench/lib/reply.h"

static void line_begin(struct reply *reply)
{
	if (reply->last)
		reply->lines = 0;
	reply->code = 0;
	reply->line_n = 0;
	reply->text_n = 0;
	reply->separator = ' ';
	reply->whole = false;
	reply->last = false;
}

/* The line feed has come: is what was gathered a reply line? */
static enum reply_step line_end(struct reply *reply)
{
	reply->whole = true;
	if (reply->text_n > 0 && reply->text[reply->text_n - 1] == '\r')
		reply->text_n--;
	if (reply->line_n < 3 || reply->code < 200 || reply->code > 599)
		return REPLY_BAD;
	if (reply->lines == 0)
		reply->first = reply->code;
	if (reply->code != reply->first || ++reply->lines > REPLY_LINES_MAX)
		return REPLY_BAD;
	reply->last = reply->separator != '-';
	return reply->last ? REPLY_END : REPLY_LINE;
}

static bool octet_take(struct reply *reply, uint8_t octet)
{
	unsigned at = reply->line_n++;

	if (at < 3) {
		if (octet < '0' || octet > '9')
			return false;
		reply->code = (uint16_t)(reply->code * 10 + (octet - '0'));
	} else if (at == 3) {
		reply->separator = (char)octet;
		return octet == ' ' || octet == '-' || octet == '\r';
	} else if (reply->text_n < REPLY_TEXT_MAX) {
		reply->text[reply->text_n++] = (char)octet;
	}
	return reply->line_n <= REPLY_LINE_MAX;
}

enum reply_step reply_feed(struct reply *reply, struct span *in)
{
	if (reply->whole)
		line_begin(reply);
	while (in->n > 0) {
		struct span octet = span_take(in, 1);

		if (*octet.p == '\n')
			return line_end(reply);
		if (!octet_take(reply, *octet.p))
			return REPLY_BAD;
	}
	return REPLY_MORE;
}

bool reply_keyword(const struct reply *reply, const char *word)
{
	size_t n = strlen(word);

	return reply->text_n >= n && strncasecmp(reply->text, word, n) == 0 &&
	       (reply->text_n == n || reply->text[n] == ' ');
}
