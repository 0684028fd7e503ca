/* SPDX-License-Identifier: MIT */
/*
 * published.c -- tests: a domain that looks as its gateway means it to, and what one difference makes
 * of it.
 */
#include "tools/probe/probe.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const char policy_text[] =
	"version: STSv1\r\nmode: enforce\r\nmx: mx.example.org\r\nmax_age: 604800\r\n";

#define OURS   0x0a /* the first octet of keys: of the certificate in use */
#define NEXT   0x0b
#define ISSUER 0xca
#define OTHER  0xff

static struct probe_domain *domain;
static struct probe_published published;
static uint8_t keys[4][32];

static struct span key(uint8_t first)
{
	size_t i = first == OURS ? 0 : first == NEXT ? 1 : first == ISSUER ? 2 : 3;

	keys[i][0] = first;
	return span_of(keys[i], sizeof(keys[i]));
}

static void tlsa_set(size_t i, uint8_t usage, uint8_t matching, uint8_t first)
{
	struct probe_dane *dane = &domain->hosts[0].dane;

	dane->state = PROBE_DANE_AUTHENTICATE;
	dane->n = i + 1;
	dane->records[i].use = STS_TLSA_USABLE;
	dane->records[i].tlsa = (struct sts_tlsa){usage, STS_SELECT_SPKI, matching, key(first)};
}

static void start(void)
{
	static const uint8_t record[] = "\x27v=TLSRPTv1; rua=mailto:tls@example.org;";
	struct span data = span_of(record, sizeof(record) - 1);
	struct probe_host *host;

	domain = calloc(1, sizeof(*domain));
	cr_assert_not_null(domain);
	domain->is_domain = true;
	domain->hosts_n = 1;
	host = domain->hosts = calloc(1, sizeof(*host));
	cr_assert_not_null(host);
	memcpy(host->name, "mx.example.org", 15);
	host->chain.n = 1;
	host->chain.certificates = calloc(1, sizeof(*host->chain.certificates));
	cr_assert_not_null(host->chain.certificates);
	host->chain.certificates[0].sts.spki_sha256 = key(OURS);
	domain->sts.state = PROBE_STS_POLICY;
	memcpy(domain->sts.record.id, "a1", 3);
	domain->sts.body = (uint8_t *)policy_text;
	domain->sts.body_n = sizeof(policy_text) - 1;
	domain->tlsrpt.dns = PROBE_DNS_FOUND;
	domain->tlsrpt.error = sts_tlsrpt_read(&data, 1, &domain->tlsrpt.record);
	cr_assert_eq(domain->tlsrpt.error, STS_RECORD_OK);
	published = (struct probe_published){.hostname = "MX.example.org",
		.id = "a1",
		.policy = span_str(policy_text),
		.tlsrpt = "v=TLSRPTv1; rua=mailto:tls@example.org;",
		.keys_n = 2,
		.keys = {{STS_DANE_EE, false, {OURS}}, {STS_DANE_TA, false, {ISSUER}}}};
}

static void end(void)
{
	free(domain->hosts[0].chain.certificates);
	free(domain->hosts);
	free(domain);
}

TestSuite(probe_published, .init = start, .fini = end);

/* ---- what is otherwise ---- */

static void nothing(void)
{
}

static void no_record(void)
{
	domain->sts.state = PROBE_STS_NONE;
}

static void dns_fails(void)
{
	domain->sts.state = PROBE_STS_DNS;
	domain->sts.record.id[0] = '\0';
}

static void old_id(void)
{
	memcpy(domain->sts.record.id, "a0", 3);
}

static void old_id_no_policy(void)
{
	old_id();
	domain->sts.state = PROBE_STS_NO_FETCH;
	domain->sts.body_n = 0;
}

static void other_policy(void)
{
	domain->sts.body_n--;
}

static void bad_policy(void)
{
	domain->sts.state = PROBE_STS_BAD_POLICY;
	domain->sts.body_n = 3;
}

static void no_reports(void)
{
	domain->tlsrpt.error = STS_RECORD_NONE;
}

static void other_reports(void)
{
	published.tlsrpt = "v=TLSRPTv1; rua=mailto:tls@example.org,https://r.example/;";
}

static void reports_unwanted(void)
{
	published.tlsrpt = NULL;
	domain->tlsrpt.error = STS_RECORD_NONE;
}

static void unpublished(void)
{
	published.id = published.tlsrpt = NULL;
	no_record();
	no_reports();
}

static void other_name(void)
{
	published.hostname = "mx2.example.org";
}

static void other_key(void)
{
	domain->hosts[0].chain.certificates[0].sts.spki_sha256 = key(OTHER);
}

static void no_certificate(void)
{
	domain->hosts[0].chain.n = 0;
}

static void keys_unknown(void)
{
	other_key();
	published.keys_n = 0;
}

static void next_key(void)
{
	published.keys[published.keys_n++] = (struct probe_key){STS_DANE_EE, true, {NEXT}};
}

static void next_is_shown(void)
{
	next_key();
	domain->hosts[0].chain.certificates[0].sts.spki_sha256 = key(NEXT);
}

static void next_has_no_record(void)
{
	next_key();
	tlsa_set(0, STS_DANE_EE, STS_MATCH_SHA256, OURS);
}

static void next_has_a_record(void)
{
	next_has_no_record();
	tlsa_set(1, STS_DANE_EE, STS_MATCH_SHA256, NEXT);
}

static void next_has_an_unusable_record(void)
{
	next_has_a_record();
	domain->hosts[0].dane.records[1].use = STS_TLSA_LENGTH;
}

static void both_have_an_issuer(void)
{
	next_key();
	tlsa_set(0, STS_DANE_TA, STS_MATCH_SHA256, ISSUER);
}

static void another_form(void)
{
	next_has_no_record();
	tlsa_set(1, STS_DANE_EE, STS_MATCH_SHA512, OTHER);
}

static const struct {
	const char *name;
	void (*change)(void);
	const char *code; /* of the only finding; NULL: there is none */
	enum probe_severity severity;
} rows[] = {
	{"nothing", nothing, NULL, PROBE_NOTE},
	{"no record", no_record, "published-no-record", PROBE_OBJECTION},
	{"the record cannot be had: verdict.c says that", dns_fails, NULL, PROBE_NOTE},
	{"old id", old_id, "published-id", PROBE_OBJECTION},
	{"old id, no policy", old_id_no_policy, "published-id", PROBE_OBJECTION},
	{"other policy", other_policy, "published-policy", PROBE_OBJECTION},
	{"bad policy", bad_policy, "published-policy", PROBE_OBJECTION},
	{"no reports", no_reports, "published-no-reports", PROBE_OBJECTION},
	{"other reports", other_reports, "published-reports", PROBE_NOTE},
	{"reports unwanted", reports_unwanted, NULL, PROBE_NOTE},
	{"unpublished", unpublished, "published-none", PROBE_NOTE},
	{"other name", other_name, "published-no-mx", PROBE_NOTE},
	{"other key", other_key, "published-key", PROBE_OBJECTION},
	{"no certificate", no_certificate, NULL, PROBE_NOTE},
	{"keys unknown", keys_unknown, NULL, PROBE_NOTE},
	{"next key, no DANE", next_key, NULL, PROBE_NOTE},
	{"next is shown", next_is_shown, "published-key", PROBE_OBJECTION},
	{"next has no record", next_has_no_record, "published-next", PROBE_OBJECTION},
	{"next has a record", next_has_a_record, NULL, PROBE_NOTE},
	{"next has an unusable record", next_has_an_unusable_record, "published-next",
		PROBE_OBJECTION},
	{"both have an issuer", both_have_an_issuer, NULL, PROBE_NOTE},
	{"another form of record", another_form, NULL, PROBE_NOTE},
};

Test(probe_published, rows)
{
	end();
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const struct probe_findings *findings;

		start();
		rows[i].change();
		probe_compare(domain, &published);
		findings = &domain->findings;
		cr_expect_eq(findings->n, rows[i].code != NULL, "%s: %zu findings, %s",
			rows[i].name, findings->n, findings->items[0].code);
		cr_expect_eq(findings->worst, rows[i].severity, "%s", rows[i].name);
		if (rows[i].code != NULL && findings->n > 0)
			cr_expect_str_eq(findings->items[0].code, rows[i].code, "%s", rows[i].name);
		end();
	}
	start();
}
