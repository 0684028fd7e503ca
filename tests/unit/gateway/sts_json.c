/* SPDX-License-Identifier: MIT */
/*
 * sts_json.c -- questions about published policies: records, pages, TLSA records each once. The program's
 * own files are in no test's link, so the source is taken in whole.
 */
#include <criterion/criterion.h>

#include "gateway/sts_json.c"

static struct config config;
static struct published published;
static const struct sts_facts asked = {&config, &published, NULL};
static struct certificate_settings certificates[3] = {
	{.title = "default"}, {.title = "mx"}, {.title = "host"}};

static const char *const mx[] = {"mx.example.org"};
static const char *const reports[] = {"mailto:tls@example.org"};

static void policies_set(struct sts_settings *sts, size_t n)
{
	struct err err = {""};
	uint8_t *block;
	size_t block_n;

	for (size_t i = 0; i < n; i++) {
		sts[i].max_age_s = 60;
		sts[i].mode = STS_MODE_TESTING;
		if (sts[i].mx_n == 0) {
			sts[i].mx = mx;
			sts[i].mx_n = 1;
		}
	}
	cr_assert_eq(web_policies_pack(sts, n, &block, &block_n, &err), 0, "%s", err.text);
	cr_assert_eq(web_policies_open(&published.policies, span_of(block, block_n), &err), 0);
	free(block);
}

static void start(void)
{
	memset(&published, 0, sizeof(published));
	config = (struct config){.smtp.hostname = "mx.example.org",
		.tls.certificates = certificates,
		.tls.certificates_n = 3,
		.listeners_n = 3};
	config.listeners[0] =
		(struct listener_settings){.address = "192.0.2.25", .protocol = LISTENER_SMTP};
	config.listeners[1] =
		(struct listener_settings){.address = "192.0.2.25", .protocol = LISTENER_HTTPS};
	config.listeners[2] =
		(struct listener_settings){.address = "::", .protocol = LISTENER_HTTPS};
}

static void end(void)
{
	web_policies_release(published.policies);
}

TestSuite(sts_json, .init = start, .fini = end);

static json_t *ask(const char *domain, uint32_t from, uint32_t limit)
{
	struct control_sts_request request = {
		.action = CONTROL_STS_RECORDS, .from = from, .limit = limit};
	json_t *answer;

	snprintf(request.domain, sizeof(request.domain), "%s", domain);
	answer = sts_answer(&asked, &request);
	cr_assert(json_is_true(json_object_get(answer, "ok")));
	return answer;
}

static json_t *part(json_t *answer, const char *key)
{
	return json_object_get(json_object_get(answer, "sts"), key);
}

static const char *text_at(const json_t *records, size_t i, const char *key)
{
	const char *text = json_string_value(json_object_get(json_array_get(records, i), key));

	return text != NULL ? text : "(none)";
}

Test(sts_json, records_of_a_domain)
{
	struct sts_settings sts[] = {
		{.domain = "example.org", .id = "a1", .reports = reports, .reports_n = 1}};
	json_t *answer, *domain, *records;

	policies_set(sts, 1);
	answer = ask("example.org", 0, 0);
	cr_assert_eq(json_array_size(part(answer, "domains")), 1);
	domain = json_array_get(part(answer, "domains"), 0);
	cr_expect_str_eq(json_string_value(json_object_get(domain, "mode")), "testing");
	cr_expect_str_eq(json_string_value(json_object_get(domain, "id")), "a1");
	cr_expect_str_eq(json_string_value(json_object_get(domain, "policy")),
		"version: STSv1\r\nmode: testing\r\nmx: mx.example.org\r\nmax_age: 60\r\n");
	records = json_object_get(domain, "records");
	cr_assert_eq(json_array_size(records), 4);
	cr_expect_str_eq(
		text_at(records, 0, "zone"), "_mta-sts.example.org. IN TXT \"v=STSv1; id=a1;\"");
	cr_expect_str_eq(text_at(records, 0, "value"), "v=STSv1; id=a1;");
	cr_expect_str_eq(text_at(records, 0, "name"), "_mta-sts.example.org");
	cr_expect_str_eq(text_at(records, 1, "zone"),
		"_smtp._tls.example.org. IN TXT \"v=TLSRPTv1; rua=mailto:tls@example.org;\"");
	cr_expect_str_eq(text_at(records, 2, "zone"), "mta-sts.example.org. IN A 192.0.2.25");
	cr_expect_str_eq(text_at(records, 3, "type"), "AAAA");
	cr_expect_eq(text_at(records, 3, "zone")[0], ';', "its address is not known");
	cr_expect(json_is_null(json_object_get(json_array_get(records, 3), "value")));
	json_decref(answer);
	answer = ask("example.net", 0, 0);
	cr_expect_eq(json_array_size(part(answer, "domains")), 0);
	json_decref(answer);
}

Test(sts_json, a_host_elsewhere)
{
	struct sts_settings sts[] = {{.domain = "example.org"}};
	json_t *answer, *records;

	config.listeners_n = 1;
	policies_set(sts, 1);
	answer = ask("", 0, 0);
	records = json_object_get(json_array_get(part(answer, "domains"), 0), "records");
	cr_assert_eq(json_array_size(records), 2, "no reports, no record for them");
	cr_expect_eq(text_at(records, 1, "zone")[0], ';');
	json_decref(answer);
}

/* Current and next of the certificates that the MX shows, and each key once. */
Test(sts_json, tlsa)
{
	struct tls_certificate_facts *facts = published.certificates;
	json_t *answer, *records;

	policies_set(NULL, 0);
	published.mx[0] = published.mx[1] = true;
	facts[0].now = (struct tls_pins){true, true, {0x0a}, {0xca}};
	facts[0].next = (struct tls_pins){true, true, {0x0b}, {0xca}};
	facts[1].now = (struct tls_pins){true, false, {0x0a}, {0}};
	facts[2].now = (struct tls_pins){true, false, {0xff}, {0}};
	answer = ask("", 0, 0);
	records = json_object_get(part(answer, "host"), "records");
	cr_assert_eq(json_array_size(records), 3);
	cr_expect_str_eq(text_at(records, 0, "zone"),
		"_25._tcp.mx.example.org. IN TLSA 3 1 1 "
		"0a00000000000000000000000000000000000000000000000000000000000000");
	cr_expect_eq(strncmp(text_at(records, 1, "value"), "2 1 1 ca", 8), 0);
	cr_expect_eq(strncmp(text_at(records, 2, "value"), "3 1 1 0b", 8), 0);
	cr_expect_not_null(strstr(text_at(records, 2, "why"), "the next"));
	cr_expect(json_is_false(json_object_get(json_array_get(records, 1), "next")),
		"an issuer's key of both is in use");
	cr_expect(json_is_true(json_object_get(json_array_get(records, 2), "next")));
	json_decref(answer);
}

Test(sts_json, pages)
{
	static char names[CONTROL_STS_DOMAINS_MAX + 5][16];
	static struct sts_settings sts[CONTROL_STS_DOMAINS_MAX + 5];
	json_t *answer;

	for (unsigned i = 0; i < COUNT_OF(sts); i++) {
		snprintf(names[i], sizeof(names[i]), "d%03u.example", i);
		sts[i].domain = names[i];
	}
	policies_set(sts, COUNT_OF(sts));
	answer = ask("", 0, 0);
	cr_expect_eq(json_array_size(part(answer, "domains")), CONTROL_STS_DOMAINS_MAX);
	cr_expect_eq(json_integer_value(part(answer, "next")), CONTROL_STS_DOMAINS_MAX);
	cr_expect_eq(json_integer_value(part(answer, "domains_total")), COUNT_OF(sts));
	json_decref(answer);
	answer = ask("", CONTROL_STS_DOMAINS_MAX, 0);
	cr_expect_eq(json_array_size(part(answer, "domains")), 5);
	cr_expect(json_is_null(part(answer, "next")));
	json_decref(answer);
	answer = ask("", 2, 3);
	cr_expect_eq(json_array_size(part(answer, "domains")), 3);
	cr_expect_eq(json_integer_value(part(answer, "next")), 5);
	json_decref(answer);
	answer = ask("", 100000, 0);
	cr_expect_eq(json_array_size(part(answer, "domains")), 0);
	json_decref(answer);
}

/* The longest policies: an answer stays within the control socket's limit. */
Test(sts_json, long_policies)
{
	static char hosts[STS_MX_MAX][250], names[40][16];
	static const char *list[STS_MX_MAX];
	static struct sts_settings sts[40];
	size_t seen = 0;
	bool more;

	for (unsigned i = 0; i < STS_MX_MAX; i++) {
		memset(hosts[i], 'a', 63);
		memset(hosts[i] + 64, 'b', 63);
		memset(hosts[i] + 128, 'c', 63);
		memset(hosts[i] + 192, 'd', 40);
		hosts[i][63] = hosts[i][127] = hosts[i][191] = '.';
		list[i] = hosts[i];
	}
	for (unsigned i = 0; i < COUNT_OF(sts); i++) {
		snprintf(names[i], sizeof(names[i]), "d%02u.example", i);
		sts[i] = (struct sts_settings){.domain = names[i], .mx = list, .mx_n = STS_MX_MAX};
	}
	policies_set(sts, COUNT_OF(sts));
	do {
		json_t *answer = ask("", (uint32_t)seen, 0);
		char *text = json_dumps(answer, 0);

		cr_assert_lt(strlen(text), CONTROL_ANSWER_MAX);
		cr_assert_gt(json_array_size(part(answer, "domains")), 0);
		seen += json_array_size(part(answer, "domains"));
		more = json_is_integer(part(answer, "next"));
		free(text);
		json_decref(answer);
	} while (more && seen < COUNT_OF(sts));
	cr_expect_eq(seen, COUNT_OF(sts));
}
