/* SPDX-License-Identifier: MIT */
/* Unit tests of config/scan.c: what is blanked, what is refused, with which line. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "config/config-private.h"

struct blank_case {
	const char *text;
	const char *after;
	int lines;
};

Test(scan, blanks_comments_and_keeps_lines)
{
	static const struct blank_case cases[] = {
		{"", "", 1},
		{"\n", "\n", 1},
		{"a = 1", "a = 1", 1},
		{"a = 1\nb = 2\n", "a = 1\nb = 2\n", 2},
		{"a # b\nc", "a    \nc", 2},
		{"a // b\nc", "a     \nc", 2},
		{"a = 1#b", "a = 1  ", 1},
		{"/* x\n y */ a", "    \n      a", 2},
		{"/**/a", "    a", 1},
		{"/***/a", "     a", 1},
		{"a = /etc//b", "a = /etc//b", 1},
		{"a = \"x # y\" # z", "a = \"x # y\"    ", 1},
		{"a = 'x // y' // z", "a = 'x // y'     ", 1},
		{"a = \"/* \" b", "a = \"/* \" b", 1},
		{"a = \"\\\"# \" b", "a = \"\\\"# \" b", 1},
		{"a = 'it\\'s # ' b", "a = 'it\\'s # ' b", 1},
		{"# \"\na", "   \na", 2},
		{"# ${A} \x01\na", "        \na", 2},
		{"a\r\nb\r\n", "a \nb \n", 2},
		{"a = { \"b\", 'c' }", "a = { \"b\", 'c' }", 1},
		{"a += { b }", "a += { b }", 1},
		{"a = '${B}'", "a = '${B}'", 1},
		{"a = \"\\${B}\"", "a = \"\\${B}\"", 1},
		{"a = \"\\1\\77\\377\\x1\\xfF\\xg\"", "a = \"\\1\\77\\377\\x1\\xfF\\xg\"", 1},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char *text = strdup(cases[i].text);
		struct err err = {""};
		int lines = 0;
		int rc = config_scan("f", text, strlen(text), &lines, &err);

		cr_expect_eq(rc, 0, "%s: %s", cases[i].text, err.text);
		cr_expect_str_eq(text, cases[i].after);
		cr_expect_eq(lines, cases[i].lines, "%s: %d lines", cases[i].text, lines);
		free(text);
	}
}

struct refuse_case {
	const char *text;
	size_t n; /* 0: strlen */
	const char *message;
};

#define NOT_CLOSED   "this string is not closed on its line"
#define ENVIRONMENT  "${...} is not replaced here: write \\${ for these characters"
#define PLAIN_TEXT   "a string holds UTF-8 text only, without tabs or control characters"
#define ESCAPE_RANGE "an escape stands for an octet from 1 to 255"

Test(scan, refuses)
{
	static const struct refuse_case cases[] = {
		{"a = \"b", 0, "f:1: " NOT_CLOSED},
		{"a = \"b\nc = \"d\"", 0, "f:1: " NOT_CLOSED},
		{"\n\na = 'b\n'", 0, "f:3: " NOT_CLOSED},
		{"a = 'b\\", 0, "f:1: " NOT_CLOSED},
		{"a = 'b\\'", 0, "f:1: " NOT_CLOSED},
		{"a = \"b\\\nc\"", 0, "f:1: " NOT_CLOSED},
		{"a = \"b\\", 0, "f:1: " NOT_CLOSED},
		{"a = \"b\\\"", 0, "f:1: " NOT_CLOSED},
		{"a\n/* b\n\n", 0, "f:2: this comment is never closed: write */ at its end"},
		{"/*/", 0, "f:1: this comment is never closed: write */ at its end"},
		{"/*", 0, "f:1: this comment is never closed: write */ at its end"},
		{"a = \"${HOME}\"", 0, "f:1: " ENVIRONMENT},
		{"a = ${HOME}", 0, "f:1: \"$\" may not stand here: put text in quotes"},
		{"\na = \"\\0\"", 0, "f:2: " ESCAPE_RANGE},
		{"a = \"\\x00\"", 0, "f:1: " ESCAPE_RANGE},
		{"a = \"\\000\"", 0, "f:1: " ESCAPE_RANGE},
		{"a = \"\\777\"", 0, "f:1: " ESCAPE_RANGE},
		{"a = \"\\8\"", 0, "f:1: an octal escape has digits from 0 to 7 only"},
		{"a = \"\\19\"", 0, "f:1: an octal escape has digits from 0 to 7 only"},
		{"a = \"\\1234\"", 0, "f:1: an octal escape has at most three digits"},
		{"a = \"b\0c\"", 9, "f:1: " PLAIN_TEXT},
		{"a = \"b\tc\"", 0, "f:1: " PLAIN_TEXT},
		{"a = \"b\rc\"", 0, "f:1: " PLAIN_TEXT},
		{"a = '\xe4'", 0, "f:1: " PLAIN_TEXT},
		{"a = '\xc2\x85'", 0, "f:1: " PLAIN_TEXT},
		{"a\0b", 3, "f:1: octet 0x00 may not stand here: put text in quotes"},
		{"a\rb", 0, "f:1: octet 0x0d may not stand here: put text in quotes"},
		{"a = \xc3\xa4", 0, "f:1: octet 0xc3 may not stand here: put text in quotes"},
		{"\xef\xbb\xbf"
		 "a = 1",
			0, "f:1: octet 0xef may not stand here: put text in quotes"},
		{"a = 2*3", 0, "f:1: \"*\" may not stand here: put text in quotes"},
		{"a = +3", 0, "f:1: \"+\" may not stand here: put text in quotes"},
		{"a = 3;", 0, "f:1: \";\" may not stand here: put text in quotes"},
		{"include(x)", 0, "f:1: \"(\" may not stand here: put text in quotes"},
		{"smtp|errors_max = 1", 0, "f:1: \"|\" may not stand here: put text in quotes"},
		{"\"a\" = 1", 0, "f:1: a key is written without quotes"},
		{"'smtp|errors_max' # x\n\n = 1", 0, "f:3: a key is written without quotes"},
		{"}\n", 0, "f:1: this brace closes nothing"},
		{"a {\n}\n}\n", 0, "f:3: this brace closes nothing"},
		{"a { }\nsmtp {\n a = { b }\n\n", 0,
			"f:2: this brace is never closed: write } at its end"},
		{"{\n{\n", 0, "f:2: this brace is never closed: write } at its end"},
		{"{{{{{{{{{}}}}}}}}}", 0, "f:1: too many braces in each other"},
		{"\"a\" += 1", 0, "f:1: a key is written without quotes"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		size_t n = cases[i].n ? cases[i].n : strlen(cases[i].text);
		char *text = malloc(n); /* no NUL behind: an over-read shows under ASan */
		struct err err = {""};
		int lines = 0;

		memcpy(text, cases[i].text, n);
		cr_expect_eq(config_scan("f", text, n, &lines, &err), -1, "%s", cases[i].text);
		cr_expect_str_eq(err.text, cases[i].message);
		free(text);
	}
}
