/* SPDX-License-Identifier: MIT */
/* reply.c -- replies whole, cut anywhere, of several lines, and what is none. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "bench/lib/reply.h"

/* One letter a step: L line, E end, B bad (and stop), in pieces of `cut` octets. */
static void steps_of(const char *text, size_t n, size_t cut, char *out, struct reply *reply)
{
	struct span all = span_of(text, n);

	reply_init(reply);
	while (all.n > 0) {
		struct span piece = span_take(&all, cut);

		while (piece.n > 0) {
			enum reply_step step = reply_feed(reply, &piece);

			if (step == REPLY_MORE) {
				cr_assert(piece.n == 0);
				continue;
			}
			*out++ = step == REPLY_LINE ? 'L' : step == REPLY_END ? 'E' : 'B';
			*out = '\0';
			if (step == REPLY_BAD)
				return;
		}
	}
	*out = '\0';
}

Test(reply, steps_do_not_depend_on_how_the_stream_is_cut)
{
	static const struct {
		const char *text;
		const char *steps;
	} cases[] = {
		{"220 mx ESMTP\r\n", "E"},
		{"250 2.0.0 Ok\r\n354 Go\r\n", "EE"},
		{"250-mx\r\n250-PIPELINING\r\n250 SIZE\r\n", "LLE"},
		{"250\r\n", "E"},
		{"250-\r\n250 \r\n", "LE"},
		{"250 Ok\n", "E"},
		{"250-a\r\n550 b\r\n", "LB"},
		{"25\r\n", "B"},
		{"\r\n", "B"},
		{"2x0 Ok\r\n", "B"},
		{"150 no\r\n", "B"},
		{"650 no\r\n", "B"},
		{"250_Ok\r\n", "B"},
		{"250 half", ""},
		{"\x01\xff*** no reply ***\r\n", "B"},
		{"\x16\x03\x01", "B"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		for (size_t cut = 1; cut <= strlen(cases[i].text); cut++) {
			char steps[64] = "";
			struct reply reply;

			steps_of(cases[i].text, strlen(cases[i].text), cut, steps, &reply);
			cr_assert(strcmp(steps, cases[i].steps) == 0, "case %zu, cut %zu: %s", i,
				cut, steps);
		}
	}
}

Test(reply, code_and_text_are_of_the_last_line)
{
	struct reply reply;
	char steps[8];
	const char *text = "550-5.1.1 no\r\n550 5.1.1 such user\r\n";

	steps_of(text, strlen(text), 3, steps, &reply);
	cr_expect(reply.code == 550);
	cr_expect(span_equal(span_of(reply.text, reply.text_n), span_str("5.1.1 such user")));
}

Test(reply, long_text_is_cut_and_longer_lines_are_bad)
{
	static char text[REPLY_LINE_MAX + 16];
	char steps[8] = "";
	struct reply reply;

	memset(text, 'x', sizeof(text));
	memcpy(text, "250 ", 4);
	memcpy(text + 1000, "\r\n", 2);
	steps_of(text, 1002, 7, steps, &reply);
	cr_expect(strcmp(steps, "E") == 0);
	cr_expect(reply.text_n == REPLY_TEXT_MAX);
	memset(text + 1000, 'x', 2);
	steps_of(text, sizeof(text), 100, steps, &reply);
	cr_expect(strcmp(steps, "B") == 0);
}

Test(reply, a_reply_without_end_is_bad)
{
	static char text[(REPLY_LINES_MAX + 4) * 6];
	static char steps[REPLY_LINES_MAX + 8];
	struct reply reply;

	for (size_t i = 0; i < sizeof(text); i += 6)
		memcpy(text + i, "250-\r\n", 6);
	steps_of(text, sizeof(text), 1000, steps, &reply);
	cr_expect(strlen(steps) == REPLY_LINES_MAX + 1);
	cr_expect(steps[REPLY_LINES_MAX] == 'B');
}

Test(reply, keywords_are_whole_words_in_any_case)
{
	static const struct {
		const char *line;
		bool is;
	} cases[] = {
		{"250 SIZE\r\n", true},
		{"250 size 1000\r\n", true},
		{"250 SIZES\r\n", false},
		{"250 SIZ\r\n", false},
		{"250 X SIZE\r\n", false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct reply reply;
		char steps[8];

		steps_of(cases[i].line, strlen(cases[i].line), 99, steps, &reply);
		cr_expect(reply_keyword(&reply, "SIZE") == cases[i].is, "case %zu", i);
	}
}
