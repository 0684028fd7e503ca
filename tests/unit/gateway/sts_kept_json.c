/* SPDX-License-Identifier: MIT */
/*
 * sts_kept_json.c -- questions about what is remembered of TLS with others: what there is without it,
 * pieces, and that a piece fits an answer. The program's own files are in no test's link, so the source
 * is taken in whole.
 */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "gateway/sts_kept_json.c"
#include "stscache/stscache-private.h"
#include "tests/lib/unit.h"

#define DAY    20778u /* 2026-11-21 */
#define DAY_US 86400000000ull

static uint64_t now_us, now_ms;
static struct config config;
static struct published published;
static struct state state;
static const struct sts_facts asked = {&config, &published, &state};

static void start(void)
{
	now_us = DAY * DAY_US + DAY_US / 2;
	now_ms = 1000;
	clock_set_for_test(&now_ms, &now_us);
	config = (struct config){.smtp.hostname = "mx.example.org",
		.tlsrpt.from = "tls@example.org",
		.main.state_directory = "/"};
	state = (struct state){0};
}

static void end(void)
{
	tlsrpt_close(state.tlsrpt);
	stscache_close(state.stscache);
	clock_set_for_test(NULL, NULL);
}

TestSuite(sts_kept_json, .init = start, .fini = end);

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "(none)";
}

/* ---- report ---- */

static void reports_open(void)
{
	struct err err;

	cr_assert_eq(tlsrpt_open(&state.tlsrpt, &config.tlsrpt, config.smtp.hostname,
			     span_of(NULL, 0), -1, &err),
		0, "%s", err.text);
}

static void report_count(const char *domain, enum tlsrpt_result result, const char *reason)
{
	const struct tlsrpt_note note = {.domain = domain,
		.policy = TLSRPT_STS,
		.result = result,
		.sending_ip = "192.0.2.1",
		.receiving_mx = reason,
		.receiving_ip = reason,
		.reason = reason};

	tlsrpt_count(state.tlsrpt, &note);
}

static json_t *report(const char *domain, const char *after, uint32_t day, uint32_t limit)
{
	struct control_sts_request request = {
		.action = CONTROL_STS_REPORT, .day = day, .limit = limit};
	json_t *sts;

	snprintf(request.domain, sizeof(request.domain), "%s", domain);
	snprintf(request.after, sizeof(request.after), "%s", after);
	sts = sts_report_json(&asked, &request);
	cr_assert_not_null(sts);
	return sts;
}

Test(sts_kept_json, no_counts_without_a_route_by_policy)
{
	json_t *sts = report("", "", 0, 0);

	cr_expect(json_is_false(json_object_get(sts, "on")));
	cr_expect_eq(json_array_size(json_object_get(sts, "reports")), 0);
	cr_expect(json_is_null(json_object_get(sts, "next")));
	cr_expect_str_eq(text_of(sts, "day"), "2026-11-21");
	json_decref(sts);
}

Test(sts_kept_json, todays_report_and_yesterdays)
{
	json_t *sts;
	const json_t *one;

	reports_open();
	report_count("b.example", TLSRPT_SUCCESS, "");
	report_count("b.example", TLSRPT_CERTIFICATE_EXPIRED, "old");
	report_count("a.example", TLSRPT_SUCCESS, "");
	sts = report("b.example", "", 0, 0);
	cr_expect(json_is_true(json_object_get(sts, "on")));
	cr_expect_str_eq(text_of(sts, "from"), "tls@example.org");
	cr_expect(json_is_null(json_object_get(sts, "next")));
	cr_assert_eq(json_array_size(json_object_get(sts, "reports")), 1);
	one = json_array_get(json_object_get(sts, "reports"), 0);
	cr_expect_str_eq(text_of(one, "x-state"), "open");
	cr_expect_str_eq(json_string_value(domain_of(one)), "b.example");
	json_decref(sts);
	sts = report("", "", DAY - 1, 0);
	cr_expect_eq(json_array_size(json_object_get(sts, "reports")), 0);
	cr_expect_str_eq(text_of(sts, "day"), "2026-11-20");
	json_decref(sts);
	now_us += DAY_US;
	sts = report("", "", DAY, 0);
	cr_expect_eq(json_array_size(json_object_get(sts, "reports")), 2);
	cr_expect_str_eq(text_of(sts, "day"), "2026-11-21");
	json_decref(sts);
}

/* All pieces; each names the last domain it has as the one to go on behind. */
static size_t pieces_walk(size_t *pieces)
{
	char after[256] = "", before[256] = "";
	size_t seen = 0;
	bool more;

	for (*pieces = 0, more = true; more; ++*pieces) {
		json_t *sts = report("", after, 0, 0);
		const json_t *reports = json_object_get(sts, "reports");
		char *text = json_dumps(sts, 0);

		cr_assert_lt(strlen(text), CONTROL_ANSWER_MAX - 100);
		free(text);
		more = json_is_string(json_object_get(sts, "next"));
		cr_assert(!more || json_array_size(reports) > 0, "a piece without an end");
		snprintf(after, sizeof(after), "%s", text_of(sts, "next"));
		for (size_t i = 0; i < json_array_size(reports); i++, seen++) {
			const char *name = json_string_value(domain_of(json_array_get(reports, i)));

			cr_assert_gt(strcmp(name, before), 0, "%s behind %s", name, before);
			snprintf(before, sizeof(before), "%s", name);
		}
		json_decref(sts);
	}
	return seen;
}

Test(sts_kept_json, reports_in_pieces)
{
	char name[32];
	size_t pieces;

	reports_open();
	for (unsigned i = 0; i < 2 * CONTROL_STS_REPORTS_MAX; i++) {
		snprintf(name, sizeof(name), "d%03u.example", i);
		report_count(name, TLSRPT_SUCCESS, "");
	}
	cr_expect_eq(pieces_walk(&pieces), 2 * CONTROL_STS_REPORTS_MAX);
	cr_expect_eq(pieces, 3, "the last one is empty: how many there are is not counted");
}

/* One policy with every failure that has a place, every octet to be escaped. */
static void count_long(const char *domain, unsigned policy)
{
	char reason[TLSRPT_TEXT_MAX + 1], line[TLSRPT_TEXT_MAX + 1];
	struct span strings[TLSRPT_STRINGS_MAX];
	const struct tlsrpt_note note = {.domain = domain,
		.policy = TLSRPT_STS,
		.policy_strings = strings,
		.policy_strings_n = TLSRPT_STRINGS_MAX,
		.result = TLSRPT_VALIDATION_FAILURE,
		.sending_ip = reason,
		.receiving_mx = reason,
		.receiving_ip = reason,
		.reason = reason};

	memset(reason, '"', sizeof(reason));
	memset(line, '"', sizeof(line));
	reason[TLSRPT_TEXT_MAX] = line[TLSRPT_TEXT_MAX] = '\0';
	for (unsigned k = 0; k < TLSRPT_STRINGS_MAX; k++)
		strings[k] = span_str(line);
	line[0] = (char)('0' + policy);
	for (unsigned k = 0; k < TLSRPT_FAILURES_MAX; k++) {
		reason[0] = (char)('0' + k);
		tlsrpt_count(state.tlsrpt, &note);
	}
}

/* The longest that may be. */
Test(sts_kept_json, long_reports_fit)
{
	char name[32];
	size_t pieces;

	reports_open();
	for (unsigned i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "d%03u.example", i);
		for (unsigned policy = 0; policy < TLSRPT_POLICIES_MAX; policy++)
			count_long(name, policy);
	}
	cr_expect_eq(pieces_walk(&pieces), 6);
	cr_expect_eq(pieces, 6, "so long that each needs one: %zu", pieces);
}

/* ---- policies ---- */

static void cache_open(void)
{
	const struct stscache_settings settings = {.state_dir = -1};
	struct err err;

	cr_assert_eq(stscache_open(&state.stscache, &settings, &err), 0, "%s", err.text);
}

/* As if it had been fetched now. */
static void keep(const char *domain, const char *text)
{
	struct stscache *cache = state.stscache;
	struct stscache_policy *policy;
	struct stscache_entry *entry;
	uint32_t line;

	cr_assert_eq(
		stscache_policy_new(&policy, domain, "a1", span_str(text), now_us / 1000000, &line),
		STS_POLICY_OK);
	pthread_mutex_lock(&cache->mutex);
	entry = stscache_make(cache, domain);
	stscache_keep(cache, entry, policy);
	stscache_settle(cache, entry);
	pthread_mutex_unlock(&cache->mutex);
}

#define TEXT                                                                                       \
	"version: STSv1\r\nmode: enforce\r\nmx: mx.a.example\r\nmx: *.a.example\r\nmax_age: 60\r\n"
#define NONE "version: STSv1\r\nmode: none\r\nmax_age: 600\r\n"

static json_t *policies(const char *domain, const char *after, uint32_t limit)
{
	struct control_sts_request request = {.action = CONTROL_STS_POLICIES, .limit = limit};
	json_t *sts;

	snprintf(request.domain, sizeof(request.domain), "%s", domain);
	snprintf(request.after, sizeof(request.after), "%s", after);
	sts = sts_policies_json(&asked, &request);
	cr_assert_not_null(sts);
	return sts;
}

Test(sts_kept_json, no_policies_without_a_cache)
{
	json_t *sts = policies("", "", 0);

	cr_expect(json_is_false(json_object_get(sts, "on")));
	cr_expect_eq(json_array_size(json_object_get(sts, "policies")), 0);
	json_decref(sts);
}

Test(sts_kept_json, policies_are_told_until_they_expire)
{
	json_t *sts;
	const json_t *one;

	cache_open();
	keep("b.example", NONE);
	keep("a.example", TEXT);
	now_us += 20 * 1000000;
	now_ms += 20 * 1000;
	sts = policies("", "", 0);
	cr_expect(json_is_true(json_object_get(sts, "on")));
	cr_expect_eq(json_integer_value(json_object_get(sts, "kept")), 2);
	cr_expect_eq(json_integer_value(json_object_get(sts, "enforce")), 1);
	cr_assert_eq(json_array_size(json_object_get(sts, "policies")), 2);
	one = json_array_get(json_object_get(sts, "policies"), 0);
	cr_expect_str_eq(text_of(one, "domain"), "a.example");
	cr_expect_str_eq(text_of(one, "mode"), "enforce");
	cr_expect_str_eq(text_of(one, "id"), "a1");
	cr_expect_eq(json_integer_value(json_object_get(one, "left_seconds")), 40);
	cr_expect_eq(json_integer_value(json_object_get(one, "max_age_seconds")), 60);
	cr_expect_eq(json_array_size(json_object_get(one, "mx")), 2);
	cr_expect_null(json_object_get(one, "policy"), "texts may be long");
	json_decref(sts);
	now_us += 50 * 1000000;
	now_ms += 50 * 1000;
	sts = policies("", "", 0);
	cr_expect_eq(json_array_size(json_object_get(sts, "policies")), 1);
	json_decref(sts);
}

Test(sts_kept_json, one_policy_with_its_text)
{
	json_t *sts;

	cache_open();
	keep("a.example", TEXT);
	sts = policies("a.example", "", 0);
	cr_assert_eq(json_array_size(json_object_get(sts, "policies")), 1);
	cr_expect_str_eq(
		text_of(json_array_get(json_object_get(sts, "policies"), 0), "policy"), TEXT);
	json_decref(sts);
	sts = policies("b.example", "", 0);
	cr_expect_eq(json_array_size(json_object_get(sts, "policies")), 0);
	json_decref(sts);
}

/* The longest, in pieces; none twice, none left out. */
Test(sts_kept_json, policies_in_pieces)
{
	static char text[STS_POLICY_BYTES_MAX];
	int n = snprintf(text, sizeof(text), "version: STSv1\nmode: testing\nmax_age: 600\n");
	char after[256] = "", name[32];
	size_t seen = 0, pieces = 0;
	bool more;

	for (int i = 0; i < STS_MX_MAX; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n,
			"mx: h%03d.%063d.%063d.%063d.%054d\n", i, 1, 2, 3, 4);
	cache_open();
	for (unsigned i = 0; i < CONTROL_STS_POLICIES_MAX + 20; i++) {
		snprintf(name, sizeof(name), "d%03u.example", i);
		keep(name, text);
	}
	do {
		json_t *sts = policies("", after, 0);
		char *dump = json_dumps(sts, 0);

		cr_assert_lt(strlen(dump), CONTROL_ANSWER_MAX - 100);
		free(dump);
		seen += json_array_size(json_object_get(sts, "policies"));
		more = json_is_string(json_object_get(sts, "next"));
		snprintf(after, sizeof(after), "%s", text_of(sts, "next"));
		json_decref(sts);
		pieces++;
	} while (more && pieces < 100);
	cr_expect_eq(seen, CONTROL_STS_POLICIES_MAX + 20);
	cr_expect_geq(pieces, 8);
}
