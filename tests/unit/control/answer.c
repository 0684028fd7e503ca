/* SPDX-License-Identifier: MIT */
/* answer.c -- status and texts as JSON: the keys scripts rely on, and bytes that are no UTF-8. */
#include <criterion/criterion.h>

#include <string.h>

#include "base/clock.h"
#include "base/counter.h"
#include "control/control-private.h"

Test(control_answer, text_of_any_bytes)
{
	static const struct {
		const char *text;
		const char *expected;
	} rows[] = {
		{"", ""},
		{"plain", "plain"},
		{"quote \" and \\ and \n", "quote \" and \\ and \n"},
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{"a\xff\x80z", "a\\xff\\x80z"},
		{"cut \xc3", "cut \\xc3"},
		{"surrogate \xed\xa0\x80", "surrogate \\xed\\xa0\\x80"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		json_t *value = control_json_text(rows[i].text);

		cr_expect_str_eq(json_string_value(value), rows[i].expected);
		json_decref(value);
	}
	cr_expect(json_is_null(control_json_text(NULL)));
}

/* The value at a path of keys with dots. */
static const json_t *at(const json_t *root, const char *path)
{
	char key[64];

	while (*path != '\0') {
		size_t n = strcspn(path, ".");

		memcpy(key, path, n);
		key[n] = '\0';
		path += n + (path[n] == '.');
		root = json_object_get(root, key);
	}
	return root;
}

Test(control_answer, nothing_known)
{
	static const char *const nulls[] = {"version", "hostname", "started_seconds",
		"uptime_seconds", "config", "kernel", "ring", "ktls.mode", "ktls.tx", "ktls.rx",
		"ktls.rekey", "reloaded_seconds", "reload_error", "counters.tls.share_of_sessions",
		"counters.ktls.tx_share_of_tls", "counters.ktls.rx_share_of_tls", "fence"};
	struct control_status status = {0};
	json_t *root = control_answer_status(&status, NULL);
	const json_t *facts = json_object_get(root, "status");

	cr_assert_not_null(root);
	cr_expect(json_is_true(json_object_get(root, "ok")));
	for (size_t i = 0; i < COUNT_OF(nulls); i++)
		cr_expect(json_is_null(at(facts, nulls[i])), "%s", nulls[i]);
	cr_expect_eq(json_array_size(at(facts, "listeners")), 0);
	cr_expect(json_is_array(at(facts, "certificates")));
	cr_expect_str_eq(json_string_value(at(facts, "state")), "serving");
	json_decref(root);
}

static void status_fill(struct control_status *status)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
	static const struct control_listener listeners[] = {
		{"smtp", "127.0.0.1", 25, "starttls"}, {"smtps", "::1", 465, "implicit"}};
	static const struct control_certificate certificates[] = {
		{"default", "ECDSA P-256", NULL, 0, 0},
		{"many", "RSA 2048", names, COUNT_OF(names), 1800000000}};

	*status = (struct control_status){.version = "1.2",
		.hostname = "mx.example.org",
		.ktls_mode = "auto",
		.ktls_rx = "no: Linux 6.1",
		.reload_error = "cert.pem: \"odd\"",
		.started_real_us = 1700000000900000,
		.pid = 4711,
		.workers = 8,
		.draining = true,
		.listeners = listeners,
		.listeners_n = 2,
		.certificates = certificates,
		.certificates_n = 2};
}

Test(control_answer, facts)
{
	uint64_t ms = 0, us = 1700000061800000;
	struct control_status status;
	json_t *root;
	const json_t *facts, *second;

	clock_set_for_test(&ms, &us);
	status_fill(&status);
	root = control_answer_status(&status, NULL);
	facts = json_object_get(root, "status");
	cr_expect_str_eq(json_string_value(at(facts, "hostname")), "mx.example.org");
	cr_expect_str_eq(json_string_value(at(facts, "state")), "draining");
	cr_expect_str_eq(json_string_value(at(facts, "ktls.rx")), "no: Linux 6.1");
	cr_expect_str_eq(json_string_value(at(facts, "reload_error")), "cert.pem: \"odd\"");
	cr_expect_eq(json_integer_value(at(facts, "uptime_seconds")), 60);
	cr_expect_eq(json_integer_value(at(facts, "started_seconds")), 1700000000);
	cr_expect_eq(json_integer_value(at(facts, "pid")), 4711);
	second = json_array_get(at(facts, "listeners"), 1);
	cr_expect_str_eq(json_string_value(at(second, "address")), "::1");
	cr_expect_eq(json_integer_value(at(second, "port")), 465);
	second = json_array_get(at(facts, "certificates"), 1);
	cr_expect_eq(json_array_size(at(second, "names")), CONTROL_NAMES_MAX);
	cr_expect_eq(json_integer_value(at(second, "names_total")), 10);
	cr_expect_eq(json_integer_value(at(second, "not_after_seconds")), 1800000000);
	json_decref(root);
	clock_set_for_test(NULL, NULL);
}

/* A clock that was set back must not make an uptime of 584 thousand years. */
Test(control_answer, clock_before_start)
{
	uint64_t ms = 0, us = 1600000000000000;
	struct control_status status;
	json_t *root;

	clock_set_for_test(&ms, &us);
	status_fill(&status);
	root = control_answer_status(&status, NULL);
	cr_expect(json_is_null(at(root, "status.uptime_seconds")));
	json_decref(root);
	clock_set_for_test(NULL, NULL);
}

Test(control_answer, counters_and_shares)
{
	struct control_status status = {0};
	json_t *root;
	const json_t *counters;

	count_add(COUNTER_SESSIONS, 3);
	count_add(COUNTER_SESSIONS_REFUSED_TOTAL, 1);
	count_add(COUNTER_SESSIONS_REFUSED_ADDRESS, 2);
	count_add(COUNTER_SESSIONS_REFUSED_MEMORY, 4);
	count_add(COUNTER_TLS_HANDSHAKES, 2);
	count_add(COUNTER_TLS_FAILED_VERSION, 5);
	count_add(COUNTER_TLS_FAILED_OTHER, 6);
	count_add(COUNTER_KTLS_TX, 2);
	count_add(COUNTER_KTLS_RX, 1);
	count_add(COUNTER_MESSAGES_ACCEPTED, 7);
	root = control_answer_status(&status, NULL);
	counters = at(root, "status.counters");
	cr_expect_eq(json_integer_value(at(counters, "sessions.total")), 3);
	cr_expect_eq(json_integer_value(at(counters, "sessions.refused")), 7);
	cr_expect_eq(json_integer_value(at(counters, "tls.failed")), 11);
	cr_expect_eq(json_integer_value(at(counters, "messages.accepted")), 7);
	cr_expect_float_eq(json_real_value(at(counters, "tls.share_of_sessions")), 0.6666, 1e-9);
	cr_expect_float_eq(json_real_value(at(counters, "ktls.tx_share_of_tls")), 1, 1e-9);
	cr_expect_float_eq(json_real_value(at(counters, "ktls.rx_share_of_tls")), 0.5, 1e-9);
	json_decref(root);
}

/* Status has a line about the fence; what it counts is another command's. */
Test(control_answer, fence)
{
	struct control_status status = {0};
	json_t *fence = json_pack("{s:s, s:n, s:s, s:[]}", "running", "kernel", "why", "hooks",
		"cgroup_skb sockops", "counts");
	json_t *root = control_answer_status(&status, fence);

	cr_expect_eq(json_object_size(at(root, "status.fence")), 3);
	cr_expect_str_eq(json_string_value(at(root, "status.fence.running")), "kernel");
	cr_expect(json_is_null(at(root, "status.fence.why")));
	cr_expect_str_eq(json_string_value(at(root, "status.fence.hooks")), "cgroup_skb sockops");
	json_decref(root);
	json_decref(fence);
	fence = json_object();
	root = control_answer_status(&status, fence);
	cr_expect(json_is_null(at(root, "status.fence.running")));
	json_decref(root);
	json_decref(fence);
}
