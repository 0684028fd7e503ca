/* SPDX-License-Identifier: MIT */
/*
 * sts_watch_json.c -- what is advised about published policies, and that the longest answer fits. The
 * program's own files are in no test's link, so the source is taken in whole.
 */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "gateway/sts_watch_json.c"

#define DAY    20778u /* 2026-11-21 */
#define DAY_US 86400000000ull
#define MX     "mx.example.org"

static uint64_t now_us;
static struct config config;
static struct published published;
static struct state state;
static const struct sts_facts asked = {&config, &published, &state};
static const uint8_t peer[WATCH_ADDRESS] = {
	[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 7};

static const char *const mx[] = {MX, "*.example.net"};

static void publish(struct sts_settings *sts, size_t n)
{
	struct err err = {""};
	uint8_t *block;
	size_t block_n;

	for (size_t i = 0; i < n; i++) {
		sts[i].max_age_s = 60;
		sts[i].mx = mx;
		sts[i].mx_n = COUNT_OF(mx);
	}
	web_policies_release(published.policies);
	cr_assert_eq(web_policies_pack(sts, n, &block, &block_n, &err), 0, "%s", err.text);
	cr_assert_eq(web_policies_open(&published.policies, span_of(block, block_n), &err), 0);
	free(block);
}

static void start(void)
{
	struct sts_settings sts[] = {{.domain = "example.net", .mode = STS_MODE_ENFORCE},
		{.domain = "example.org", .mode = STS_MODE_TESTING},
		{.domain = "old.example", .mode = STS_MODE_NONE}};
	struct err err;

	now_us = DAY * DAY_US + DAY_US / 2;
	clock_set_for_test(NULL, &now_us);
	config = (struct config){
		.watch = {.on = true, .days = 10, .entries_max = 2000, .enforce_days = 3}};
	published = (struct published){0};
	state = (struct state){0};
	publish(sts, COUNT_OF(sts));
	cr_assert_eq(watch_open(&state.watch, &config.watch, -1, &err), 0, "%s", err.text);
}

static void end(void)
{
	watch_close(state.watch);
	web_policies_release(published.policies);
	clock_set_for_test(NULL, NULL);
}

TestSuite(sts_watch_json, .init = start, .fini = end);

static json_t *ask(const char *domain, uint32_t limit)
{
	struct control_sts_request request = {.action = CONTROL_STS_WATCH, .limit = limit};
	json_t *sts;

	snprintf(request.domain, sizeof(request.domain), "%s", domain);
	sts = sts_watch_json(&asked, &request);
	cr_assert_not_null(sts);
	return sts;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "(none)";
}

/* What is advised about a domain's policy now, and a part of the reason. */
static void advised(const char *domain, const char *advice, const char *why)
{
	json_t *sts = ask(domain, 0);
	const json_t *one = json_array_get(json_object_get(sts, "policies"), 0);

	cr_expect_eq(json_array_size(json_object_get(sts, "policies")), 1);
	cr_expect_str_eq(text_of(one, "domain"), domain);
	cr_expect_str_eq(text_of(one, "advice"), advice, "%s: %s", domain, text_of(one, "why"));
	cr_expect_not_null(strstr(text_of(one, "why"), why), "%s: %s", domain, text_of(one, "why"));
	json_decref(sts);
}

Test(sts_watch_json, off)
{
	json_t *sts;

	watch_close(state.watch);
	state.watch = NULL;
	sts = ask("", 0);
	cr_expect(json_is_false(json_object_get(sts, "on")));
	json_decref(sts);
}

Test(sts_watch_json, advice)
{
	advised("example.org", "wait", "0 of 3 days without a failed handshake are over");
	advised("example.net", "nothing", "of late");
	advised("old.example", "nothing", "no policy");
	now_us += 3 * DAY_US;
	advised("example.org", "wait", "2 of 3 days");
	now_us += DAY_US;
	advised("example.org", "enforce", "for 3 days: mode enforce can be set; you decide");
	watch_handshake_failed(state.watch, peer, "mx.elsewhere.example", WATCH_CERTIFICATE);
	watch_handshake_failed(state.watch, peer, "a.example.net", WATCH_TIMEOUT);
	advised("example.org", "enforce", "you decide");
	advised("example.net", "nothing", "of late");
	watch_handshake_failed(state.watch, peer, "a.example.net", WATCH_CERTIFICATE);
	watch_handshake_failed(state.watch, peer, MX, WATCH_VERSION);
	advised("example.net", "repair", "version 1, certificate 1 on 2026-11-25; senders");
	now_us += DAY_US;
	advised("example.org", "wait", "version 1, certificate 1 on 2026-11-25; 0 of 3 days");
	advised("example.net", "repair", "2026-11-25");
	now_us += 2 * DAY_US;
	advised("example.net", "repair", "2026-11-25");
	now_us += DAY_US;
	advised("example.org", "enforce", "for 3 days");
	advised("example.net", "nothing", "of late");
}

Test(sts_watch_json, a_watch_that_is_too_short)
{
	config.watch.enforce_days = 10;
	advised("example.org", "wait", "keeps 10 days, which is too short to see 10");
}

/* Of a domain of ours its MXes' handshakes come along, though they have other names. */
Test(sts_watch_json, a_domain_of_ours)
{
	json_t *sts;

	watch_handshake_done(state.watch, MX);
	watch_handshake_done(state.watch, "mx.elsewhere.example");
	watch_recipient(state.watch, span_str("example.org"), false);
	watch_recipient(state.watch, span_str("elsewhere.example"), false);
	sts = ask("example.org", 0);
	cr_assert_eq(json_array_size(json_object_get(sts, "hosts")), 1);
	cr_expect_str_eq(text_of(json_array_get(json_object_get(sts, "hosts"), 0), "host"), MX);
	cr_expect_eq(json_array_size(json_object_get(sts, "domains")), 1);
	json_decref(sts);
	sts = ask("", 0);
	cr_expect_eq(json_array_size(json_object_get(sts, "hosts")), 2);
	cr_expect_eq(json_array_size(json_object_get(sts, "policies")), 3);
	json_decref(sts);
}

/* As many of all as may be, with the longest names, all of whose octets need an escape. */
Test(sts_watch_json, the_longest_answer_fits)
{
	static struct sts_settings sts[CONTROL_STS_WATCH_MAX + 1];
	static char names[COUNT_OF(sts)][250];
	char name[WATCH_NAME_MAX + 1], *text;
	json_t *answer;

	watch_close(state.watch);
	config.watch.days = 400;
	cr_assert_eq(watch_open(&state.watch, &config.watch, -1, &(struct err){""}), 0);
	memset(name, '"', sizeof(name));
	name[WATCH_NAME_MAX] = '\0';
	for (unsigned i = 0; i < COUNT_OF(sts); i++) {
		memset(names[i], 'a', sizeof(names[i]) - 1);
		names[i][63] = names[i][127] = names[i][191] = '.';
		snprintf(names[i], 4, "%03u", i);
		names[i][3] = '-';
		sts[i].domain = names[i];
		sts[i].mode = STS_MODE_ENFORCE;
		name[0] = (char)('a' + i % 26);
		name[1] = (char)('a' + i / 26);
		watch_recipient(state.watch, span_str(name), false);
		for (int k = 0; k < WATCH_FAILURES; k++)
			watch_handshake_failed(state.watch, peer, name, (enum watch_failure)k);
		name[2] = 'c';
		(void)watch_message(state.watch, peer, span_str(name), false);
		name[2] = 't';
		(void)watch_message(state.watch, peer, span_str(name), true);
		(void)watch_message(state.watch, peer, span_str(name), false);
		name[2] = '"';
	}
	for (unsigned day = 1; day < 400; day++) {
		now_us += DAY_US;
		watch_handshake_failed(state.watch, peer, MX, WATCH_CERTIFICATE);
	}
	publish(sts, COUNT_OF(sts));
	answer = ask("", UINT32_MAX);
	text = json_dumps(answer, 0);
	cr_expect_lt(strlen(text), CONTROL_ANSWER_MAX - 1000, "%zu", strlen(text));
	cr_expect_gt(strlen(text), CONTROL_ANSWER_MAX / 2, "%zu: not the longest", strlen(text));
	cr_expect_eq(json_array_size(json_object_get(answer, "policies")), CONTROL_STS_WATCH_MAX);
	cr_expect_eq(json_integer_value(json_object_get(answer, "policies_total")), COUNT_OF(sts));
	free(text);
	json_decref(answer);
}
