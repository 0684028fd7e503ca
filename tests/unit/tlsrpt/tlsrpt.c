/* SPDX-License-Identifier: MIT */
/* Unit tests of tlsrpt/tlsrpt.c and table.c: what is counted, limits, restarts, who is due when. */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/counter.h"

TestSuite(tlsrpt, .init = harness_setup, .fini = harness_teardown);

Test(tlsrpt, result_words)
{
	/* RFC 8460 4.3, and IANA's registry of its result types. */
	static const char *const words[TLSRPT_RESULTS] = {"success", "starttls-not-supported",
		"certificate-host-mismatch", "certificate-expired", "certificate-not-trusted",
		"validation-failure", "tlsa-invalid", "dnssec-invalid", "dane-required",
		"sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"};

	for (int i = 0; i < TLSRPT_RESULTS; i++)
		cr_expect_str_eq(tlsrpt_result_text((enum tlsrpt_result)i), words[i]);
}

static void check_counts(const char *when)
{
	json_t *report = report_of("b.example", DAY);

	for (int i = 0; i < 3; i++) {
		char path[64];

		(void)snprintf(path, sizeof(path), "policies.%d.summary", i);
		cr_expect_eq(number_at(at(report, path), "total-successful-session-count"), 2, "%s",
			when);
		cr_expect_eq(number_at(at(report, path), "total-failure-session-count"),
			TLSRPT_RESULTS - 1, "%s", when);
		for (int k = 1; k < TLSRPT_RESULTS; k++) {
			(void)snprintf(
				path, sizeof(path), "policies.%d.failure-details.%d", i, k - 1);
			cr_expect_str_eq(text_at(at(report, path), "result-type"),
				tlsrpt_result_text((enum tlsrpt_result)k), "%s", when);
			cr_expect_eq(
				number_at(at(report, path), "failed-session-count"), 1, "%s", when);
		}
	}
	json_decref(report);
}

Test(tlsrpt, every_result_of_every_policy_and_a_restart)
{
	for (int i = 0; i < 3; i++) {
		for (int k = 0; k < TLSRPT_RESULTS; k++)
			count_one(k % 2 == 0 ? "B.Example" : "b.example", (enum tlsrpt_policy)i,
				(enum tlsrpt_result)k);
		count_one("b.example", (enum tlsrpt_policy)i, TLSRPT_SUCCESS);
	}
	check_counts("before");
	harness_again();
	check_counts("after");
}

Test(tlsrpt, what_is_no_domain_is_not_counted)
{
	static const char *const names[] = {"", "*.b.example", "[192.0.2.1]", "b example", "b\r\nx",
		"b!c.example", "\xc3\xa9.example", "a/../b"};
	json_t *all;

	for (size_t i = 0; i < COUNT_OF(names); i++)
		count_one(names[i], TLSRPT_STS, TLSRPT_SUCCESS);
	all = tlsrpt_show(tlsrpt, &(struct tlsrpt_question){.limit = 100});
	cr_expect_eq(json_array_size(all), 0);
	json_decref(all);
}

Test(tlsrpt, nothing_without_one)
{
	tlsrpt_count(NULL, NULL);
	tlsrpt_save(NULL);
	tlsrpt_close(NULL);
}

static void count_policy(const char *string, enum tlsrpt_result result, const char *mx)
{
	const struct span strings[] = {span_str("version: STSv1"), span_str(string)};
	const struct span patterns[] = {span_str("*.b.example")};
	const struct tlsrpt_note note = {.domain = "b.example",
		.policy = TLSRPT_STS,
		.policy_strings = strings,
		.policy_strings_n = 2,
		.mx_patterns = patterns,
		.mx_patterns_n = 1,
		.result = result,
		.sending_ip = "192.0.2.1",
		.receiving_mx = mx,
		.receiving_ip = "198.51.100.1",
		.reason = "why"};

	tlsrpt_count(tlsrpt, &note);
}

Test(tlsrpt, a_changed_policy_is_another_one_up_to_the_limit)
{
	char text[32];
	json_t *report;
	size_t n;

	for (int i = 0; i < TLSRPT_POLICIES_MAX + 3; i++) {
		(void)snprintf(text, sizeof(text), "max_age: %d", i);
		count_policy(text, TLSRPT_SUCCESS, "");
		count_policy(text, TLSRPT_SUCCESS, "");
	}
	count_one("b.example", TLSRPT_TLSA, TLSRPT_SUCCESS); /* another type has its place */
	report = report_of("b.example", DAY);
	n = json_array_size(at(report, "policies"));
	cr_expect_eq(n, TLSRPT_POLICIES_MAX + 1);
	cr_expect_eq(number_at(report, "policies.0.summary.total-successful-session-count"), 2);
	cr_expect_eq(number_at(report, "policies.3.summary.total-successful-session-count"), 8);
	cr_expect_str_eq(text_at(report, "policies.4.policy.policy-type"), "tlsa");
	cr_expect_str_eq(text_at(report, "policies.1.policy.policy-string.1"), "max_age: 1");
	json_decref(report);
}

/* Beyond the limit there is a row a result type, so that the sum is right all the same. */
Test(tlsrpt, failures_are_bounded_and_add_up)
{
	char name[64];
	json_t *report, *again;
	const json_t *details;
	long long sum = 0;

	for (int i = 0; i < 500; i++) {
		(void)snprintf(name, sizeof(name), "mx%d.b.example", i);
		count_policy("mode: testing",
			i % 2 == 0 ? TLSRPT_CERTIFICATE_EXPIRED : TLSRPT_VALIDATION_FAILURE, name);
	}
	report = report_of("b.example", DAY);
	details = at(report, "policies.0.failure-details");
	cr_expect_eq(json_array_size(details), TLSRPT_FAILURES_MAX + 2);
	for (size_t i = 0; i < json_array_size(details); i++)
		sum += number_at(json_array_get(details, i), "failed-session-count");
	cr_expect_eq(sum, 500);
	cr_expect_eq(number_at(report, "policies.0.summary.total-failure-session-count"), 500);
	harness_again();
	again = report_of("b.example", DAY);
	cr_expect(json_equal(report, again));
	json_decref(again);
	json_decref(report);
}

Test(tlsrpt, domains_are_bounded)
{
	char name[32];
	json_t *all;

	for (int i = 0; i < TLSRPT_DOMAINS_MAX + 10; i++) {
		(void)snprintf(name, sizeof(name), "d%d.example", i);
		count_one(name, TLSRPT_NO_POLICY, TLSRPT_SUCCESS);
	}
	count_one("d0.example", TLSRPT_NO_POLICY, TLSRPT_SUCCESS);
	all = tlsrpt_show(tlsrpt, &(struct tlsrpt_question){.day = DAY, .limit = SIZE_MAX});
	cr_expect_eq(json_array_size(all), TLSRPT_DOMAINS_MAX);
	json_decref(all);
	all = tlsrpt_show(tlsrpt,
		&(struct tlsrpt_question){.day = DAY, .domain = "d0.example", .limit = SIZE_MAX});
	cr_expect_eq(number_at(all, "0.policies.0.summary.total-successful-session-count"), 2);
	json_decref(all);
	all = tlsrpt_show(tlsrpt, &(struct tlsrpt_question){.day = DAY, .limit = 3});
	cr_expect_eq(json_array_size(all), 3, "the limit of who asks");
	cr_expect_str_eq(text_at(all, "0.policies.0.policy.policy-domain"), "d0.example");
	cr_expect_str_eq(text_at(all, "1.policies.0.policy.policy-domain"), "d1.example");
	json_decref(all);
	all = tlsrpt_show(tlsrpt,
		&(struct tlsrpt_question){.day = DAY, .after = "d9998.example", .limit = 3});
	cr_expect_eq(json_array_size(all), 1, "the next piece is the last");
	cr_expect_str_eq(text_at(all, "0.policies.0.policy.policy-domain"), "d9999.example");
	json_decref(all);
}

/* Whoever owns many domains and fills each to its limits: the day's memory is bounded, too. */
Test(tlsrpt, octets_are_bounded)
{
	struct span strings[TLSRPT_STRINGS_MAX];
	char name[32], long_text[TLSRPT_TEXT_MAX + 100];
	struct tlsrpt_note note = {.domain = name,
		.policy = TLSRPT_TLSA,
		.policy_strings = strings,
		.policy_strings_n = TLSRPT_STRINGS_MAX,
		.sending_ip = long_text,
		.receiving_mx = long_text,
		.receiving_ip = long_text,
		.reason = long_text};

	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	for (size_t i = 0; i < TLSRPT_STRINGS_MAX; i++)
		strings[i] = span_str(long_text);
	for (int i = 0; i < 4000; i++) {
		(void)snprintf(name, sizeof(name), "d%d.example", i);
		note.result = (enum tlsrpt_result)(1 + i % (TLSRPT_RESULTS - 1));
		tlsrpt_count(tlsrpt, &note);
	}
	cr_expect_leq(tlsrpt_day_find(tlsrpt, DAY)->bytes, TLSRPT_BYTES_MAX);
	cr_expect_geq(tlsrpt_day_find(tlsrpt, DAY)->bytes, TLSRPT_BYTES_MAX / 10 * 9);
	now_us += DAY_US;
	(void)snprintf(name, sizeof(name), "next.example");
	tlsrpt_count(tlsrpt, &note);
	cr_expect_eq(tlsrpt_day_find(tlsrpt, DAY + 1)->domains_n, 1, "a day's limit is its own");
	harness_again();
	cr_expect_not_null(
		tlsrpt_day_find(tlsrpt, DAY), "the file is read again, as large as it is");
}

/* ---- due ---- */

static bool due(char domain[STS_NAME_MAX + 1], uint64_t *day)
{
	return tlsrpt_due(tlsrpt, domain, day);
}

Test(tlsrpt, due_when_the_day_is_over)
{
	char domain[STS_NAME_MAX + 1];
	uint64_t day;

	count_one("b.example", TLSRPT_STS, TLSRPT_SUCCESS);
	cr_expect_not(due(domain, &day), "today");
	now_us = (DAY + 1) * DAY_US - 1;
	cr_expect_not(due(domain, &day), "the last moment of it");
	now_us += 4 * HOUR_US + 1;
	cr_assert(due(domain, &day));
	cr_expect_str_eq(domain, "b.example");
	cr_expect_eq(day, DAY);
	cr_expect(due(domain, &day), "until it is done");
	harness_again();
	cr_assert(due(domain, &day), "and after a restart");
	count_one("b.example", TLSRPT_STS, TLSRPT_SUCCESS); /* another day's */
	tlsrpt_done(tlsrpt, domain, day, true);
	cr_expect_not(due(domain, &day));
	harness_again();
	cr_expect_not(due(domain, &day), "once");
	now_us += DAY_US;
	cr_assert(due(domain, &day));
	cr_expect_eq(day, DAY + 1);
	tlsrpt_done(tlsrpt, domain, day, false);
	cr_expect_not(due(domain, &day), "nobody wanted it");
	tlsrpt_done(tlsrpt, "unknown.example", day, true);
	tlsrpt_done(tlsrpt, domain, 5, true);
}

Test(tlsrpt, what_became_of_a_day_is_shown)
{
	static const struct {
		const char *domain, *state;
	} rows[] = {{"b.example", "sent"}, {"c.example", "not-sent"}, {"d.example", "open"}};
	json_t *all;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		count_one(rows[i].domain, TLSRPT_STS, TLSRPT_SUCCESS);
	now_us += DAY_US;
	tlsrpt_done(tlsrpt, "b.example", DAY, true);
	tlsrpt_done(tlsrpt, "c.example", DAY, false);
	harness_again();
	all = tlsrpt_show(tlsrpt, &(struct tlsrpt_question){.day = DAY, .limit = 10});
	cr_assert_eq(json_array_size(all), 3);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_str_eq(text_at(json_array_get(all, i), "x-state"), rows[i].state);
	json_decref(all);
	all = tlsrpt_show(tlsrpt, &(struct tlsrpt_question){.limit = 10});
	cr_expect_eq(json_array_size(all), 0, "today is another day");
	json_decref(all);
}

/* A thousand domains: some each quarter of an hour, in whatever order, each once. */
Test(tlsrpt, a_days_reports_are_spread_over_four_hours)
{
	char domain[STS_NAME_MAX + 1], name[32];
	unsigned all = 0;
	uint64_t day;

	for (int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "d%d.example", i);
		count_one(name, TLSRPT_STS, TLSRPT_SUCCESS);
	}
	now_us = (DAY + 1) * DAY_US;
	for (int quarter = 0; quarter < 16; quarter++) {
		unsigned n = 0;

		now_us += HOUR_US / 4;
		for (; due(domain, &day); n++)
			tlsrpt_done(tlsrpt, domain, day, true);
		cr_expect_gt(n, 20, "quarter %d: %u", quarter, n);
		cr_expect_lt(n, 125, "quarter %d: %u", quarter, n);
		all += n;
	}
	cr_expect_eq(all, 1000);
}

Test(tlsrpt, two_days_late_is_too_late)
{
	char domain[STS_NAME_MAX + 1];
	uint64_t day;

	count_one("b.example", TLSRPT_STS, TLSRPT_SUCCESS);
	now_us = (DAY + 3) * DAY_US - 1;
	cr_expect(due(domain, &day), "yesterday but one");
	now_us += 1;
	cr_expect_not(due(domain, &day));
	count_one("b.example", TLSRPT_STS, TLSRPT_SUCCESS); /* takes its place */
	cr_expect_null(tlsrpt_day_find(tlsrpt, DAY));
	harness_again();
	now_us += DAY_US + 4 * HOUR_US;
	cr_assert(due(domain, &day));
	cr_expect_eq(day, DAY + 3);
}

Test(tlsrpt, a_clock_that_goes_back_harms_nothing)
{
	char domain[STS_NAME_MAX + 1];
	uint64_t day;

	count_one("b.example", TLSRPT_STS, TLSRPT_SUCCESS);
	now_us -= 300 * DAY_US;
	cr_expect_not(due(domain, &day));
	count_one("b.example", TLSRPT_STS, TLSRPT_SUCCESS);
	cr_expect_not_null(tlsrpt_day_find(tlsrpt, DAY - 300), "counting goes on");
	harness_again();
	now_us += DAY_US;
	cr_assert(due(domain, &day));
	tlsrpt_done(tlsrpt, domain, day, true);
	cr_expect_not(due(domain, &day), "all of the day were looked at");
	now_us -= DAY_US;
	for (char c = 'a'; c <= 'z'; c++)
		count_one((const char[]){c, '.', 'x', 0}, TLSRPT_STS, TLSRPT_SUCCESS);
	now_us += DAY_US;
	for (int i = 0; i < 26; i++) {
		cr_assert(due(domain, &day), "%d", i);
		cr_expect_eq(day, DAY - 300);
		tlsrpt_done(tlsrpt, domain, day, true);
	}
	cr_expect_not(due(domain, &day));
}

Test(tlsrpt, off_counts_and_sends_nothing)
{
	char domain[STS_NAME_MAX + 1];
	uint64_t day;
	json_t *all;

	settings = (struct tlsrpt_settings){0};
	harness_again();
	cr_expect_null(tlsrpt_from(tlsrpt));
	count_one("b.example", TLSRPT_STS, TLSRPT_SUCCESS);
	all = tlsrpt_show(tlsrpt, &(struct tlsrpt_question){.limit = 10});
	cr_expect_eq(json_array_size(all), 1);
	json_decref(all);
	now_us += DAY_US;
	cr_expect_not(due(domain, &day));
}

Test(tlsrpt, without_a_folder_nothing_is_kept)
{
	struct tlsrpt *other;
	struct err err;

	cr_assert_eq(tlsrpt_open(&other, &settings, "mx", span_of(NULL, 0), -1, &err), 0);
	tlsrpt_save(other);
	tlsrpt_close(other);
}

Test(tlsrpt, a_key_that_is_none)
{
	static const char junk[] = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
	struct tlsrpt *other;
	struct err err;

	cr_assert_eq(tlsrpt_open(&other, &settings, "mx", span_str(junk), -1, &err), -1);
	cr_expect_str_eq(err.text, "tlsrpt: dkim_key: no private key in PEM form");
}

/* ---- threads ---- */

static void *count_many(void *name)
{
	for (int i = 0; i < 2000; i++) {
		count_one(name, TLSRPT_STS, (enum tlsrpt_result)(i % TLSRPT_RESULTS));
		count_one("b.example", TLSRPT_STS, TLSRPT_SUCCESS);
	}
	return NULL;
}

Test(tlsrpt, any_thread_counts_while_another_saves)
{
	static char names[][16] = {"x.example", "y.example"};
	pthread_t threads[2];
	json_t *report;

	for (size_t i = 0; i < COUNT_OF(threads); i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, count_many, names[i]), 0);
	for (int i = 0; i < 10; i++)
		tlsrpt_save(tlsrpt);
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		pthread_join(threads[i], NULL);
	harness_again();
	report = report_of("b.example", DAY);
	cr_expect_eq(number_at(report, "policies.0.summary.total-successful-session-count"), 4000);
	json_decref(report);
}
