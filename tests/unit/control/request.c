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
	{"sts", "sts", 0, CONTROL_COMMAND_STS, ""},
	{"blanks and CR around", " \tstop \r", 0, CONTROL_COMMAND_STOP, ""},
	{"JSON", "{\"command\":\"status\"}", 0, CONTROL_COMMAND_STATUS, ""},
	{"JSON with blanks", "  { \"command\" : \"reload\" }\r", 0, CONTROL_COMMAND_RELOAD, ""},
	{"JSON with escapes", "{\"command\":\"\\u0073top\"}", 0, CONTROL_COMMAND_STOP, ""},
	{"empty", "", 0, -1, "empty"},
	{"blanks only", " \t \r", 0, -1, "empty"},
	{"unknown word", "shutdown", 0, -1,
		"there are: status, metrics, reload, stop, queue, fence, sts"},
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
		struct control_request request;
		struct err err = {""};
		/* A copy of the exact size, so that the sanitiser sees a step beyond it. */
		char *line = malloc(n + 1);
		int result;

		memcpy(line, rows[i].line, n);
		line = realloc(line, n ? n : 1);
		result = control_request_parse(span_of(line, n), &request, &err);
		cr_expect_eq(result, rows[i].command < 0 ? -1 : 0, "%s", rows[i].name);
		if (rows[i].command >= 0)
			cr_expect_eq((int)request.command, rows[i].command, "%s", rows[i].name);
		cr_expect_not_null(
			strstr(err.text, rows[i].error), "%s: %s", rows[i].name, err.text);
		free(line);
	}
}

/* As deep as a request can be: refused by the parser, and not by the stack's end. */
Test(control_request, deep_nesting)
{
	char line[CONTROL_REQUEST_MAX];
	struct control_request request;
	struct err err;
	int head = snprintf(line, sizeof(line), "{\"command\":");

	memset(line + head, '[', sizeof(line) - (size_t)head);
	cr_assert_lt(control_request_parse(span_of(line, sizeof(line)), &request, &err), 0);
	cr_assert_str_eq(err.text, "the request is not JSON");
}

/* ---- queue ---- */

#define QUEUE "{\"command\":\"queue\","

static const struct {
	const char *line;
	const char *error; /* NULL: taken */
} queue_rows[] = {
	{"queue", NULL},
	{QUEUE "\"action\":\"list\"}", NULL},
	{QUEUE "\"action\":\"list\",\"limit\":1,\"after\":\"ABC\"}", NULL},
	{QUEUE "\"action\":\"count\",\"domain\":\"example.org\"}", NULL},
	{QUEUE "\"action\":\"show\",\"id\":\"1F\"}", NULL},
	{QUEUE "\"action\":\"delete\",\"id\":\"1F\"}", NULL},
	{QUEUE "\"action\":\"delete\",\"all\":true}", NULL},
	{QUEUE "\"action\":\"bounce\",\"older_seconds\":7200}", NULL},
	{QUEUE "\"action\":\"retry\",\"destination\":\"lmtp:x\"}", NULL},
	{QUEUE "\"action\":\"hold\",\"states\":[\"ready\",\"deferred\"]}", NULL},
	{QUEUE "\"action\":\"flush\",\"destination\":\"lmtp:x\"}", NULL},
	{QUEUE "\"action\":\"remove\"}", "\"action\" cannot be used"},
	{QUEUE "\"action\":7}", "\"action\" cannot be used"},
	{QUEUE "\"sendr\":\"x\"}", "does not know"},
	{QUEUE "\"sender\":\"\"}", "\"sender\" cannot be used"},
	{QUEUE "\"sender\":[\"x\"]}", "\"sender\" cannot be used"},
	{QUEUE "\"id\":\"0123456789012345678901234567890\"}", NULL},
	{QUEUE "\"id\":\"01234567890123456789012345678901\"}", "\"id\" cannot be used"},
	{QUEUE "\"older_seconds\":0}", "\"older_seconds\" cannot be used"},
	{QUEUE "\"older_seconds\":-1}", "\"older_seconds\" cannot be used"},
	{QUEUE "\"older_seconds\":9000000000000000000}", "\"older_seconds\" cannot be used"},
	{QUEUE "\"older_seconds\":1.5}", "\"older_seconds\" cannot be used"},
	{QUEUE "\"limit\":4294967296}", "\"limit\" cannot be used"},
	{QUEUE "\"states\":[]}", "\"states\" cannot be used"},
	{QUEUE "\"states\":[\"dead\"]}", "\"states\" cannot be used"},
	{QUEUE "\"states\":\"held\"}", "\"states\" cannot be used"},
	{QUEUE "\"all\":1}", "\"all\" cannot be used"},
	{QUEUE "\"action\":\"delete\"}", "delete needs \"id\", a filter or \"all\""},
	{QUEUE "\"action\":\"delete\",\"all\":false}", "delete needs"},
	{QUEUE "\"action\":\"delete\",\"limit\":5}", "delete needs"},
	{QUEUE "\"action\":\"hold\",\"all\":true,\"sender\":\"x\"}", "exclude one another"},
	{QUEUE "\"action\":\"hold\",\"id\":\"1\",\"sender\":\"x\"}", "exclude one another"},
	{QUEUE "\"action\":\"show\"}", "show needs"},
	{QUEUE "\"action\":\"show\",\"id\":\"1\",\"domain\":\"x\"}", "show needs"},
	{QUEUE "\"action\":\"flush\"}", "flush needs"},
	{QUEUE "\"action\":\"flush\",\"destination\":\"x\",\"all\":true}", "flush needs"},
	{"{\"command\":\"status\",\"action\":\"list\"}", "other than"},
};

Test(control_request, queue_rows)
{
	for (size_t i = 0; i < COUNT_OF(queue_rows); i++) {
		struct control_request request;
		struct err err = {""};
		int result = control_request_parse(span_str(queue_rows[i].line), &request, &err);

		cr_expect_eq(result, queue_rows[i].error == NULL ? 0 : -1, "%s: %s",
			queue_rows[i].line, err.text);
		if (queue_rows[i].error != NULL)
			cr_expect_not_null(strstr(err.text, queue_rows[i].error), "%s: %s",
				queue_rows[i].line, err.text);
		else
			cr_expect_eq(request.command, CONTROL_COMMAND_QUEUE);
	}
}

Test(control_request, every_queue_key)
{
	static const char line[] =
		QUEUE "\"action\":\"bounce\",\"after\":\"AF\",\"sender\":\"<>\","
		      "\"recipient\":\"a@b\",\"domain\":\"b\",\"destination\":\"mx:b\","
		      "\"states\":[\"held\",\"active\"],\"older_seconds\":60,"
		      "\"younger_seconds\":3600,\"limit\":7}";
	struct control_request request;
	struct err err;
	const struct control_queue_request *queue = &request.queue;

	cr_assert_eq(control_request_parse(span_str(line), &request, &err), 0, "%s", err.text);
	cr_expect_eq(queue->action, CONTROL_QUEUE_BOUNCE);
	cr_expect_str_eq(queue->id, "");
	cr_expect_str_eq(queue->after, "AF");
	cr_expect_str_eq(queue->sender, "<>");
	cr_expect_str_eq(queue->recipient, "a@b");
	cr_expect_str_eq(queue->domain, "b");
	cr_expect_str_eq(queue->destination, "mx:b");
	cr_expect_eq(queue->states, 1u << CONTROL_QUEUE_HELD | 1u << CONTROL_QUEUE_ACTIVE);
	cr_expect_eq(queue->older_s, 60);
	cr_expect_eq(queue->younger_s, 3600);
	cr_expect_eq(queue->limit, 7);
	cr_expect_not(queue->all);
}

/* ---- fence ---- */

#define FENCE "{\"command\":\"fence\","

static const struct {
	const char *line;
	const char *error; /* NULL: taken */
} fence_rows[] = {
	{"fence", NULL},
	{FENCE "\"action\":\"status\"}", NULL},
	{FENCE "\"action\":\"top\"}", NULL},
	{FENCE "\"action\":\"top\",\"order\":\"bytes\",\"limit\":7}", NULL},
	{FENCE "\"action\":\"list\",\"from\":4000,\"limit\":1}", NULL},
	{FENCE "\"action\":\"samples\",\"limit\":10}", NULL},
	{FENCE "\"action\":\"explain\",\"address\":\"192.0.2.7\"}", NULL},
	{FENCE "\"action\":\"explain\",\"address\":\"2001:db8::1\"}", NULL},
	{FENCE "\"action\":\"allow\",\"network\":\"2001:db8::/32\"}", NULL},
	{FENCE "\"action\":\"block\",\"network\":\"192.0.2.7\",\"seconds\":1}", NULL},
	{FENCE "\"action\":\"unblock\",\"network\":\"192.0.2.0/24\"}", NULL},
	{FENCE "\"action\":\"open\"}", "\"action\" cannot be used"},
	{FENCE "\"action\":1}", "\"action\" cannot be used"},
	{FENCE "\"action\":\"Block\",\"network\":\"192.0.2.7\"}", "\"action\" cannot be used"},
	{FENCE "\"action\":\"top\",\"order\":\"name\"}", "\"order\" cannot be used"},
	{FENCE "\"action\":\"top\",\"limit\":0}", "\"limit\" cannot be used"},
	{FENCE "\"action\":\"top\",\"limit\":4294967296}", "\"limit\" cannot be used"},
	{FENCE "\"action\":\"list\",\"from\":-1}", "\"from\" cannot be used"},
	{FENCE "\"action\":\"block\",\"network\":\"192.0.2.7/24\"}", "\"network\" cannot be used"},
	{FENCE "\"action\":\"block\",\"network\":\"192.0.2.0/33\"}", "\"network\" cannot be used"},
	{FENCE "\"action\":\"block\",\"network\":\"192.0.2\"}", "\"network\" cannot be used"},
	{FENCE "\"action\":\"block\",\"network\":\"\"}", "\"network\" cannot be used"},
	{FENCE "\"action\":\"block\",\"network\":\"example.org\"}", "\"network\" cannot be used"},
	{FENCE "\"action\":\"block\",\"network\":[\"192.0.2.7\"]}", "\"network\" cannot be used"},
	{FENCE "\"action\":\"explain\",\"address\":\"192.0.2.0/24\"}",
		"\"address\" cannot be used"},
	{FENCE "\"action\":\"explain\",\"address\":\"192.0.2.7/32\"}",
		"\"address\" cannot be used"},
	{FENCE "\"action\":\"explain\",\"address\":\"fe80::1%lo\"}", "\"address\" cannot be used"},
	{FENCE "\"action\":\"block\",\"network\":\"192.0.2.7\",\"seconds\":0}",
		"\"seconds\" cannot be used"},
	{FENCE "\"action\":\"block\",\"network\":\"192.0.2.7\",\"seconds\":9000000000000}",
		"\"seconds\" cannot be used"},
	{FENCE "\"action\":\"block\"}", "block needs \"network\""},
	{FENCE "\"action\":\"unblock\",\"seconds\":3}", "unblock needs \"network\""},
	{FENCE "\"action\":\"explain\"}", "explain needs \"address\""},
	{FENCE "\"action\":\"block\",\"address\":\"192.0.2.7\"}", "block needs \"network\""},
	{FENCE "\"action\":\"status\",\"limit\":3}", "status does not take \"limit\""},
	{FENCE "\"action\":\"list\",\"order\":\"open\"}", "list does not take \"order\""},
	{FENCE "\"action\":\"unblock\",\"network\":\"192.0.2.7\",\"seconds\":3}",
		"unblock does not take \"seconds\""},
	{FENCE "\"network\":\"192.0.2.7\"}", "status does not take \"network\""},
	{FENCE "\"netwrok\":\"192.0.2.7\"}", "does not know"},
	{FENCE "\"action\":\"list\",\"sender\":\"x\"}", "does not know"},
	{QUEUE "\"action\":\"list\",\"network\":\"192.0.2.7\"}", "does not know"},
};

Test(control_request, fence_rows)
{
	for (size_t i = 0; i < COUNT_OF(fence_rows); i++) {
		struct control_request request;
		struct err err = {""};
		int result = control_request_parse(span_str(fence_rows[i].line), &request, &err);

		cr_expect_eq(result, fence_rows[i].error == NULL ? 0 : -1, "%s: %s",
			fence_rows[i].line, err.text);
		if (fence_rows[i].error != NULL)
			cr_expect_not_null(strstr(err.text, fence_rows[i].error), "%s: %s",
				fence_rows[i].line, err.text);
		else
			cr_expect_eq(request.command, CONTROL_COMMAND_FENCE);
	}
}

Test(control_request, every_fence_key)
{
	struct control_request request;
	const struct control_fence_request *fence = &request.fence;
	struct network network;
	struct err err;

	cr_assert(network_parse("192.0.2.0/24", &network));
	cr_assert_eq(control_request_parse(
			     span_str(FENCE "\"action\":\"allow\",\"network\":\"192.0.2.0/24\","
					    "\"seconds\":86400}"),
			     &request, &err),
		0);
	cr_expect_eq(fence->action, CONTROL_FENCE_ALLOW);
	cr_expect_arr_eq(fence->network.address, network.address, NETWORK_BYTES);
	cr_expect_eq(fence->network.bits, network.bits);
	cr_expect_eq(fence->seconds, 86400);
	cr_expect_eq(fence->limit, 0);
	cr_assert_eq(control_request_parse(
			     span_str(FENCE "\"action\":\"top\",\"order\":\"bytes\",\"limit\":9}"),
			     &request, &err),
		0);
	cr_expect_eq(fence->order, CONTROL_FENCE_BYTES);
	cr_expect_eq(fence->limit, 9);
	cr_expect_eq(fence->seconds, 0);
	cr_assert_eq(control_request_parse(
			     span_str(FENCE "\"action\":\"list\",\"from\":12}"), &request, &err),
		0);
	cr_expect_eq(fence->from, 12);
	cr_assert_eq(control_request_parse(
			     span_str(FENCE "\"action\":\"explain\",\"address\":\"2001:db8::7\"}"),
			     &request, &err),
		0);
	cr_expect_eq(fence->network.bits, 128);
	cr_expect_eq(fence->network.address[15], 7);
	cr_assert_eq(control_request_parse(
			     span_str(FENCE "\"action\":\"forget\",\"address\":\"192.0.2.9\"}"),
			     &request, &err),
		0);
	cr_expect_eq(fence->action, CONTROL_FENCE_FORGET);
	cr_expect_eq(fence->network.address[15], 9);
	for (int order = 0; order < CONTROL_FENCE_ORDERS; order++) {
		char text[128];

		snprintf(text, sizeof(text), FENCE "\"action\":\"top\",\"order\":\"%s\"}",
			control_fence_order_words[order]);
		cr_assert_eq(control_request_parse(span_str(text), &request, &err), 0, "%s", text);
		cr_expect_eq(fence->order, order);
	}
}

#define STS "{\"command\":\"sts\","

static const struct {
	const char *line;
	const char *error; /* NULL: it is one */
} sts_rows[] = {
	{"{\"command\":\"sts\"}", NULL},
	{STS "\"action\":\"records\"}", NULL},
	{STS "\"action\":\"records\",\"domain\":\"Example.ORG\"}", NULL},
	{STS "\"action\":\"records\",\"from\":100,\"limit\":1}", NULL},
	{STS "\"action\":\"record\"}", "\"action\" cannot be used"},
	{STS "\"domain\":\"\"}", "\"domain\" cannot be used"},
	{STS "\"domain\":7}", "\"domain\" cannot be used"},
	{STS "\"domain\":\"a.example\",\"from\":1}", "\"domain\" excludes"},
	{STS "\"after\":\"a.example\"}", "records does not take \"after\""},
	{STS "\"day\":\"2026-11-21\"}", "records does not take \"day\""},
	{STS "\"action\":\"report\"}", NULL},
	{STS "\"action\":\"report\",\"domain\":\"a.example\",\"day\":\"2026-11-21\"}", NULL},
	{STS "\"action\":\"report\",\"after\":\"a.example\",\"limit\":7}", NULL},
	{STS "\"action\":\"report\",\"after\":\"a\",\"domain\":\"b\"}", "\"domain\" excludes"},
	{STS "\"action\":\"policies\",\"after\":\"a.example\",\"limit\":7}", NULL},
	{STS "\"action\":\"policies\",\"day\":\"2026-11-21\"}", "policies does not take \"day\""},
	{STS "\"action\":\"watch\",\"domain\":\"a.example\",\"days\":7,\"limit\":7}", NULL},
	{STS "\"action\":\"watch\",\"after\":\"a.example\"}", "watch does not take \"after\""},
	{STS "\"action\":\"watch\",\"days\":0}", "\"days\" cannot be used"},
	{STS "\"action\":\"report\",\"from\":1}", "report does not take \"from\""},
	{STS "\"action\":\"report\",\"day\":\"2026-02-30\"}", "\"day\" cannot be used"},
	{STS "\"action\":\"report\",\"day\":20778}", "\"day\" cannot be used"},
	{STS "\"network\":\"192.0.2.7\"}", "does not know"},
	{FENCE "\"domain\":\"a.example\"}", "does not know"},
};

Test(control_request, sts_rows)
{
	for (size_t i = 0; i < COUNT_OF(sts_rows); i++) {
		struct control_request request;
		struct err err = {""};
		int result = control_request_parse(span_str(sts_rows[i].line), &request, &err);

		cr_expect_eq(result, sts_rows[i].error == NULL ? 0 : -1, "%s: %s", sts_rows[i].line,
			err.text);
		if (sts_rows[i].error != NULL)
			cr_expect_not_null(strstr(err.text, sts_rows[i].error), "%s: %s",
				sts_rows[i].line, err.text);
	}
}

Test(control_request, sts_keys_arrive)
{
	static const char line[] =
		STS "\"action\":\"records\",\"domain\":\"Example.ORG\",\"limit\":3}";
	struct control_request request;
	struct err err;

	cr_assert_eq(control_request_parse(span_str(line), &request, &err), 0);
	cr_expect_eq(request.command, CONTROL_COMMAND_STS);
	cr_expect_eq(request.sts.action, CONTROL_STS_RECORDS);
	cr_expect_str_eq(request.sts.domain, "example.org", "names are compared in lower case");
	cr_expect_eq(request.sts.limit, 3);
	cr_expect_eq(request.sts.day, 0);
	cr_assert_eq(
		control_request_parse(span_str(STS "\"action\":\"report\",\"after\":\"a.example\","
						   "\"day\":\"2026-11-21\"}"),
			&request, &err),
		0);
	cr_expect_eq(request.sts.action, CONTROL_STS_REPORT);
	cr_expect_str_eq(request.sts.after, "a.example");
	cr_expect_eq(request.sts.day, 20778);
}
