/* SPDX-License-Identifier: MIT */
/* request.c -- what counts as a request, and what a client is told when it is none. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

#include "control/control-private.h"

static const struct {
	const char *name;
	const char *line;
	size_t n;    /* 0: strlen */
	int command; /* -1: refused */
	const char *error;
} rows[] = {
	{"word", "status", 0, CONTROL_COMMAND_STATUS, ""},
	{"metrics", "metrics", 0, CONTROL_COMMAND_METRICS, ""},
	{"reload", "reload", 0, CONTROL_COMMAND_RELOAD, ""},
	{"blanks and CR around", " \tstop \r", 0, CONTROL_COMMAND_STOP, ""},
	{"JSON", "{\"command\":\"status\"}", 0, CONTROL_COMMAND_STATUS, ""},
	{"JSON with blanks", "  { \"command\" : \"reload\" }\r", 0, CONTROL_COMMAND_RELOAD, ""},
	{"JSON with escapes", "{\"command\":\"\\u0073top\"}", 0, CONTROL_COMMAND_STOP, ""},
	{"empty", "", 0, -1, "empty"},
	{"blanks only", " \t \r", 0, -1, "empty"},
	{"unknown word", "shutdown", 0, -1, "there are: status, metrics, reload, stop"},
	{"case matters", "STATUS", 0, -1, "unknown command"},
	{"a word's beginning", "stat", 0, -1, "unknown command"},
	{"two words", "stop stop", 0, -1, "unknown command"},
	{"NUL after the word", "stop\0", 5, -1, "unknown command"},
	{"NUL before the word", "\0stop", 5, -1, "unknown command"},
	{"JSON cut off", "{\"command\":\"stop\"", 0, -1, "not JSON"},
	{"JSON and more", "{\"command\":\"stop\"} stop", 0, -1, "not JSON"},
	{"JSON with a NUL inside", "{\"command\":\"st\0op\"}", 19, -1, "not JSON"},
	{"JSON with an escaped NUL", "{\"command\":\"stop\\u0000\"}", 0, -1, "not JSON"},
	{"JSON that is not UTF-8", "{\"command\":\"stop\xff\"}", 0, -1, "not JSON"},
	{"no command", "{}", 0, -1, "needs \"command\""},
	{"command is a number", "{\"command\":1}", 0, -1, "needs \"command\""},
	{"unknown key", "{\"command\":\"stop\",\"force\":true}", 0, -1, "other than"},
	{"twice the key", "{\"command\":\"stop\",\"command\":\"status\"}", 0, -1, "not JSON"},
	{"array", "[\"stop\"]", 0, -1, "unknown command"},
};

Test(control_request, rows)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		size_t n = rows[i].n ? rows[i].n : strlen(rows[i].line);
		enum control_command command = CONTROL_COMMAND_COUNT;
		struct err err = {""};
		/* A copy of the exact size, so that the sanitiser sees a step beyond it. */
		char *line = malloc(n + 1);
		int result;

		memcpy(line, rows[i].line, n);
		line = realloc(line, n ? n : 1);
		result = control_request_parse(span_of(line, n), &command, &err);
		cr_expect_eq(result, rows[i].command < 0 ? -1 : 0, "%s", rows[i].name);
		if (rows[i].command >= 0)
			cr_expect_eq((int)command, rows[i].command, "%s", rows[i].name);
		cr_expect_not_null(
			strstr(err.text, rows[i].error), "%s: %s", rows[i].name, err.text);
		free(line);
	}
}

/* As deep as a request can be: refused by the parser, and not by the stack's end. */
Test(control_request, deep_nesting)
{
	char line[CONTROL_REQUEST_MAX];
	enum control_command command;
	struct err err;
	int head = snprintf(line, sizeof(line), "{\"command\":");

	memset(line + head, '[', sizeof(line) - (size_t)head);
	cr_assert_lt(control_request_parse(span_of(line, sizeof(line)), &command, &err), 0);
	cr_assert_str_eq(err.text, "the request is not JSON");
}
