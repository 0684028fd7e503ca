/* SPDX-License-Identifier: MIT */
/* Unit tests of tlsrpt/report.c: the JSON of RFC 8460 4.4, the file's name, gzip. */
#include "harness.h"

#include <stdlib.h>
#include <zlib.h>

TestSuite(report, .init = harness_setup, .fini = harness_teardown);

/* The report that the RFC shows in its appendix B, told in our words. */
static const char wanted[] =
	"{\"organization-name\": \"Company-X\","
	"\"date-range\": {\"start-datetime\": \"2016-04-01T00:00:00Z\","
	"\"end-datetime\": \"2016-04-01T23:59:59Z\"},"
	"\"contact-info\": \"sts-reporting@company-x.example\","
	"\"policies\": [{\"policy\": {\"policy-type\": \"sts\","
	"\"policy-string\": [\"version: STSv1\", \"mode: testing\","
	"\"mx: *.mail.company-y.example\", \"max_age: 86400\"],"
	"\"policy-domain\": \"company-y.example\","
	"\"mx-host\": [\"*.mail.company-y.example\"]},"
	"\"summary\": {\"total-successful-session-count\": 5326,"
	"\"total-failure-session-count\": 303},"
	"\"failure-details\": [{\"result-type\": \"certificate-expired\","
	"\"sending-mta-ip\": \"2001:db8:abcd:12::1\","
	"\"receiving-mx-hostname\": \"mx1.mail.company-y.example\","
	"\"failed-session-count\": 100},"
	"{\"result-type\": \"starttls-not-supported\","
	"\"sending-mta-ip\": \"2001:db8:abcd:13::1\","
	"\"receiving-mx-hostname\": \"mx2.mail.company-y.example\","
	"\"receiving-ip\": \"203.0.113.56\", \"failed-session-count\": 200},"
	"{\"result-type\": \"validation-failure\", \"sending-mta-ip\": \"198.51.100.62\","
	"\"receiving-ip\": \"203.0.113.58\","
	"\"receiving-mx-hostname\": \"mx-backup.mail.company-y.example\","
	"\"failed-session-count\": 3,"
	"\"failure-reason-code\": \"X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED\"}]}]}";

static const struct {
	unsigned sessions;
	enum tlsrpt_result result;
	const char *sending_ip, *mx, *receiving_ip, *reason;
} sessions[] = {
	{5326, TLSRPT_SUCCESS, "", "", "", ""},
	{100, TLSRPT_CERTIFICATE_EXPIRED, "2001:db8:abcd:12::1", "mx1.mail.company-y.example", "",
		""},
	{200, TLSRPT_STARTTLS_NOT_SUPPORTED, "2001:db8:abcd:13::1", "mx2.mail.company-y.example",
		"203.0.113.56", ""},
	{3, TLSRPT_VALIDATION_FAILURE, "198.51.100.62", "mx-backup.mail.company-y.example",
		"203.0.113.58", "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"},
};

static void count_sessions(void)
{
	const struct span strings[] = {span_str("version: STSv1"), span_str("mode: testing"),
		span_str("mx: *.mail.company-y.example"), span_str("max_age: 86400")};
	const struct span patterns[] = {span_str("*.mail.company-y.example")};

	for (size_t i = 0; i < COUNT_OF(sessions); i++) {
		const struct tlsrpt_note note = {.domain = "company-y.example",
			.policy = TLSRPT_STS,
			.policy_strings = strings,
			.policy_strings_n = COUNT_OF(strings),
			.mx_patterns = patterns,
			.mx_patterns_n = COUNT_OF(patterns),
			.result = sessions[i].result,
			.sending_ip = sessions[i].sending_ip,
			.receiving_mx = sessions[i].mx,
			.receiving_ip = sessions[i].receiving_ip,
			.reason = sessions[i].reason};

		for (unsigned k = 0; k < sessions[i].sessions; k++)
			tlsrpt_count(tlsrpt, &note);
	}
}

Test(report, the_rfcs_example)
{
	json_t *report, *expected = json_loads(wanted, 0, NULL);
	char id[64];

	cr_assert_not_null(expected);
	settings.organization = "Company-X";
	settings.contact = "sts-reporting@company-x.example";
	now_us = 1459468800ull * 1000000 + 5;
	count_sessions();
	report = report_of("company-y.example", now_us / DAY_US);
	(void)snprintf(id, sizeof(id), "%s", text_at(report, "report-id"));
	cr_expect_eq(strlen(id), strlen("16892.0123456789abcdef@a.example"));
	(void)json_object_del(report, "report-id");
	cr_expect(json_equal(report, expected), "%s", json_dumps(report, JSON_INDENT(1)));
	json_decref(report);
	harness_again();
	report = report_of("company-y.example", now_us / DAY_US);
	cr_expect_str_eq(text_at(report, "report-id"), id, "the same report has the same id");
	json_decref(report);
	json_decref(expected);
}

Test(report, tlsa_and_none)
{
	const struct span record = span_str("3 1 1 00ff");
	struct tlsrpt_note note = {.domain = "b.example",
		.policy = TLSRPT_TLSA,
		.policy_strings = &record,
		.policy_strings_n = 1,
		.result = TLSRPT_SUCCESS};
	json_t *report;

	tlsrpt_count(tlsrpt, &note);
	note = (struct tlsrpt_note){.domain = "b.example"};
	tlsrpt_count(tlsrpt, &note);
	report = report_of("b.example", DAY);
	cr_expect_str_eq(text_at(report, "policies.0.policy.policy-type"), "tlsa");
	cr_expect_str_eq(text_at(report, "policies.0.policy.policy-string.0"), "3 1 1 00ff");
	cr_expect_null(at(report, "policies.0.policy.mx-host"));
	cr_expect_null(at(report, "policies.0.failure-details"));
	cr_expect_str_eq(text_at(report, "policies.1.policy.policy-type"), "no-policy-found");
	cr_expect_null(at(report, "policies.1.policy.policy-string"));
	cr_expect_eq(number_at(report, "policies.1.summary.total-failure-session-count"), 0);
	json_decref(report);
}

/* Hosts, policies and reasons are a peer's words. */
Test(report, strings_are_cut_and_cleaned)
{
	char long_text[1000];
	const struct span string = span_of("a\tb\r\n\0\x80\"c\\", 10);
	const struct tlsrpt_note note = {.domain = "b.example",
		.policy = TLSRPT_STS,
		.policy_strings = &string,
		.policy_strings_n = 1,
		.result = TLSRPT_TLSA_INVALID,
		.sending_ip = "",
		.receiving_mx = "mx\n\x1b[0m\xc3\xa9",
		.receiving_ip = "",
		.reason = long_text};
	json_t *report;

	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	tlsrpt_count(tlsrpt, &note);
	harness_again();
	report = report_of("b.example", DAY);
	cr_expect_str_eq(text_at(report, "policies.0.policy.policy-string.0"), "a?b????\"c\\");
	cr_expect_str_eq(
		text_at(report, "policies.0.failure-details.0.receiving-mx-hostname"), "mx??[0m??");
	cr_expect_eq(strlen(text_at(report, "policies.0.failure-details.0.failure-reason-code")),
		TLSRPT_TEXT_MAX);
	cr_expect_null(at(report, "policies.0.failure-details.0.sending-mta-ip"));
	json_decref(report);
}

/* More lines and patterns than are shown. */
Test(report, policies_are_cut)
{
	struct span many[200];
	const struct tlsrpt_note note = {.domain = "b.example",
		.policy = TLSRPT_STS,
		.policy_strings = many,
		.policy_strings_n = COUNT_OF(many),
		.mx_patterns = many,
		.mx_patterns_n = COUNT_OF(many)};
	json_t *report;

	for (size_t i = 0; i < COUNT_OF(many); i++)
		many[i] = span_str(i % 2 == 0 ? "" : "x");
	tlsrpt_count(tlsrpt, &note);
	report = report_of("b.example", DAY);
	cr_expect_eq(
		json_array_size(at(report, "policies.0.policy.policy-string")), TLSRPT_STRINGS_MAX);
	cr_expect_eq(json_array_size(at(report, "policies.0.policy.mx-host")), TLSRPT_MX_MAX);
	json_decref(report);
}

Test(report, who_we_are)
{
	static const struct {
		const char *organization, *contact, *from, *name, *info, *submitter;
	} rows[] = {
		{"O", "c@a", "f@a.example", "O", "c@a", "a.example"},
		{NULL, NULL, "f@a.example", "mx.a.example", "f@a.example", "a.example"},
		{"O\xff", NULL, NULL, "mx.a.example", "postmaster", "mx.a.example"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		json_t *report;

		settings.organization = rows[i].organization;
		settings.contact = rows[i].contact;
		settings.from = rows[i].from;
		harness_again();
		count_one("b.example", TLSRPT_STS, TLSRPT_SUCCESS);
		report = report_of("b.example", DAY);
		cr_expect_str_eq(text_at(report, "organization-name"), rows[i].name, "row %zu", i);
		cr_expect_str_eq(text_at(report, "contact-info"), rows[i].info, "row %zu", i);
		cr_expect_str_eq(strchr(text_at(report, "report-id"), '@') + 1, rows[i].submitter,
			"row %zu", i);
		json_decref(report);
	}
}

Test(report, file_name_and_gzip)
{
	struct tlsrpt_report report;
	uint8_t back[65536];
	z_stream z = {0};

	count_sessions();
	cr_assert_eq(tlsrpt_make(tlsrpt, "company-y.example", DAY, &report), 0);
	cr_expect_str_eq(report.file_name,
		"a.example!company-y.example!1728000000!1728086399.json.gz"); /* 5.1 */
	cr_assert_eq(inflateInit2(&z, 15 + 16), Z_OK);
	z.next_in = (z_const Bytef *)report.gzip.p;
	z.avail_in = (uInt)report.gzip.n;
	z.next_out = back;
	z.avail_out = sizeof(back);
	cr_expect_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
	cr_expect_eq(z.avail_in, 0);
	cr_expect(span_equal(span_of(back, z.total_out), report.json));
	cr_expect_lt(report.gzip.n, report.json.n);
	(void)inflateEnd(&z);
	tlsrpt_report_free(&report);
}

Test(report, the_longest_names_fit)
{
	char label[64], domain[STS_NAME_MAX + 1], from[STS_NAME_MAX + 3];
	struct tlsrpt_report report;
	uint8_t *mail;
	size_t n;

	memset(label, 'a', 63);
	label[63] = '\0';
	(void)snprintf(domain, sizeof(domain), "%s.%s.%s.%.61s", label, label, label, label);
	cr_assert_eq(strlen(domain), STS_NAME_MAX);
	(void)snprintf(from, sizeof(from), "f@%s", domain);
	settings.from = from;
	harness_again();
	count_one(domain, TLSRPT_STS, TLSRPT_SUCCESS);
	cr_assert_eq(tlsrpt_make(tlsrpt, domain, DAY, &report), 0);
	cr_expect_str_eq(report.file_name + strlen(report.file_name) - 8, ".json.gz");
	cr_expect_str_eq(report.report_id + strlen(report.report_id) - STS_NAME_MAX, domain);
	cr_assert_eq(tlsrpt_mail(tlsrpt, &report, domain, from, &mail, &n), 0);
	free(mail);
	tlsrpt_report_free(&report);
}

Test(report, what_is_not_known)
{
	struct tlsrpt_report report;

	count_one("b.example", TLSRPT_STS, TLSRPT_SUCCESS);
	cr_expect_eq(tlsrpt_make(tlsrpt, "c.example", DAY, &report), -ENOENT);
	cr_expect_eq(tlsrpt_make(tlsrpt, "b.example", DAY - 1, &report), -ENOENT);
	cr_expect_eq(tlsrpt_make(tlsrpt, "b.example", 0, &report), -ENOENT);
	tlsrpt_report_free(&report); /* is empty */
}
