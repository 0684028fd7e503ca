/* SPDX-License-Identifier: MIT */
/*
 * reply.c -- replies of next hops: what is kept of them, what is junk, and that it makes no
 * difference where the octets are split.
 */
#include "relay/relay-private.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const struct {
	const char *in;
	bool bad;
	uint16_t code;
	uint32_t lines;
	const char *enhanced, *text;
	size_t left; /* octets behind it */
} rows[] = {
	{"250 ok\r\n", false, 250, 1, "", "ok", 0},
	{"250\r\n", false, 250, 1, "", "", 0},
	{"250 \r\n", false, 250, 1, "", "", 0},
	{"354\n", false, 354, 1, "", "", 0},
	{"250 2.1.0 ok\n", false, 250, 1, "2.1.0", "ok", 0},
	{"550 5.1.1\r\n", false, 550, 1, "5.1.1", "", 0},
	{"550-5.1.1 no such\r\n550 5.1.1 user\r\n", false, 550, 2, "5.1.1", "no such user", 0},
	{"550-\r\n550-a\r\n550 b\r\n", false, 550, 3, "", "a b", 0},
	{"571 5.7.1 policy\r\n", false, 571, 1, "5.7.1", "policy", 0},
	{"450 4.222.333 x\r\n", false, 450, 1, "4.222.333", "x", 0},
	{"450 4.2222.3 x\r\n", false, 450, 1, "", "4.2222.3 x", 0},
	{"550 2.1.0 odd\r\n", false, 550, 1, "", "2.1.0 odd", 0},
	{"550 5.1 odd\r\n", false, 550, 1, "", "5.1 odd", 0},
	{"550 5.1.1odd\r\n", false, 550, 1, "", "5.1.1odd", 0},
	{"550 5.\r\n", false, 550, 1, "", "5.", 0},
	{"550 a\tb\x01\xc3\xa9\r\n", false, 550, 1, "", "a b???", 0},
	{"250 one\r\n250 two\r\n", false, 250, 1, "", "one", 9},
	{"250-one\r\n550 two\r\n", true, 0, 0, "", "", 0},
	{"150 ok\r\n", true, 0, 0, "", "", 0},
	{"650 ok\r\n", true, 0, 0, "", "", 0},
	{"25 ok\r\n", true, 0, 0, "", "", 0},
	{"2500 ok\r\n", true, 0, 0, "", "", 0},
	{"250_ok\r\n", true, 0, 0, "", "", 0},
	{"\r\n", true, 0, 0, "", "", 0},
	{"250 a\rb\r\n", true, 0, 0, "", "", 0},
	{"HTTP/1.1 400\r\n", true, 0, 0, "", "", 0},
};

/* Feeds `in` in pieces of at most `piece` octets; what is left of it. */
static enum relay_reply_step feed(
	struct relay_reply *reply, struct span in, size_t piece, size_t *left)
{
	enum relay_reply_step step = RELAY_REPLY_MORE;
	struct span line;

	relay_reply_reset(reply);
	while (in.n > 0 && (step == RELAY_REPLY_MORE || step == RELAY_REPLY_LINE)) {
		struct span some = span_take(&in, piece);

		do {
			step = relay_reply_feed(reply, &some, &line);
		} while (step == RELAY_REPLY_LINE && some.n > 0);
		in.n += some.n;
		in.p -= some.n;
	}
	*left = in.n;
	return step;
}

static void row_check(size_t i, size_t piece)
{
	struct relay_reply reply;
	size_t left;
	enum relay_reply_step step = feed(&reply, span_str(rows[i].in), piece, &left);

	if (rows[i].bad) {
		cr_expect(step == RELAY_REPLY_BAD && reply.malformed, "row %zu", i);
		return;
	}
	cr_expect(step == RELAY_REPLY_WHOLE, "row %zu: step %d", i, step);
	cr_expect(reply.code == rows[i].code, "row %zu: %u", i, reply.code);
	cr_expect(reply.lines == rows[i].lines, "row %zu: %u lines", i, reply.lines);
	cr_expect(strcmp(reply.enhanced, rows[i].enhanced) == 0, "row %zu", i);
	cr_expect(strcmp(reply.text_storage, rows[i].text) == 0, "row %zu: \"%s\"", i,
		reply.text_storage);
	cr_expect(left == rows[i].left, "row %zu: %zu left", i, left);
}

Test(reply, table_at_every_split)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		for (size_t piece = 1; piece <= strlen(rows[i].in); piece++)
			row_check(i, piece);
}

Test(reply, lines_one_by_one)
{
	struct span in = span_str("250-mx.example.org\r\n250-SIZE 1000\r\n250 DSN\r\n");
	static const char *const lines[] = {"mx.example.org", "SIZE 1000", "DSN"};
	struct relay_reply reply;
	struct span line;

	relay_reply_reset(&reply);
	for (size_t i = 0; i < 3; i++) {
		enum relay_reply_step step = relay_reply_feed(&reply, &in, &line);

		cr_expect(step == (i < 2 ? RELAY_REPLY_LINE : RELAY_REPLY_WHOLE));
		cr_expect(span_equal(line, span_str(lines[i])), "line %zu", i);
	}
	cr_expect(in.n == 0 && reply.code == 250);
}

Test(reply, empty_input_asks_for_more)
{
	struct span in = {0};
	struct relay_reply reply;
	struct span line;

	relay_reply_reset(&reply);
	cr_expect(relay_reply_feed(&reply, &in, &line) == RELAY_REPLY_MORE);
}

Test(reply, long_text_is_cut)
{
	char text[RELAY_REPLY_LINE_MAX + 64];
	struct relay_reply reply;
	size_t left;

	memset(text, 'x', sizeof(text));
	memcpy(text, "250 ", 4);
	memcpy(text + RELAY_REPLY_LINE_MAX - 2, "\r\n", 2);
	cr_expect(feed(&reply, span_of(text, RELAY_REPLY_LINE_MAX), SIZE_MAX, &left) ==
		  RELAY_REPLY_WHOLE);
	cr_expect(strlen(reply.text_storage) == RELAY_REPLY_MAX - 1);
	text[RELAY_REPLY_LINE_MAX - 2] = 'x';
	text[RELAY_REPLY_LINE_MAX - 1] = '\r';
	text[RELAY_REPLY_LINE_MAX] = '\n';
	cr_expect(feed(&reply, span_of(text, RELAY_REPLY_LINE_MAX + 1), 100, &left) ==
		  RELAY_REPLY_BAD);
}

Test(reply, lines_without_end_are_junk)
{
	struct relay_reply reply;
	struct span line;

	relay_reply_reset(&reply);
	for (uint32_t i = 1; i <= RELAY_REPLY_LINES_MAX; i++) {
		struct span in = span_str("250-more\r\n");
		enum relay_reply_step step = relay_reply_feed(&reply, &in, &line);

		cr_expect(step == (i < RELAY_REPLY_LINES_MAX ? RELAY_REPLY_LINE : RELAY_REPLY_BAD),
			"line %u", i);
	}
	cr_expect(strlen(reply.text_storage) < RELAY_REPLY_MAX);
}
