/* SPDX-License-Identifier: MIT */
/*
 * verdict.c -- tests: a domain in perfect order, and what one fact that is otherwise makes of it.
 *
 * Each row changes the good world by a function and names the finding and the worst severity that come
 * of it, for each of: no policy, an enforced one, a tested one, DANE that matches.
 */
#include "tools/probe/probe.h"

#include <criterion/criterion.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>

#define NOW 1800000000

static const char policy_text[] = "version: STSv1\nmode: %s\nmx: mx.example.org\nmax_age: 604800\n";

enum world { WORLD_BARE, WORLD_ENFORCE, WORLD_TESTING, WORLD_DANE, WORLDS };

static struct probe_host *good_host(struct probe_domain *domain)
{
	struct probe_host *host = calloc(1, sizeof(*host));

	cr_assert_not_null(host);
	domain->hosts = host;
	domain->hosts_n = 1;
	memcpy(host->name, "mx.example.org", 15);
	host->is_mx = true;
	host->addresses_n = 1;
	host->addresses[0].tried = true;
	host->trial.outcome = PROBE_TLS;
	host->trial.offered = true;
	host->trial.forward_secret = true;
	host->trial.aead = true;
	host->accepts[0] = host->accepts[1] = PROBE_ACCEPTS_NOT;
	host->accepts[2] = host->accepts[3] = PROBE_ACCEPTS;
	host->injection = PROBE_INJECT_REFUSED;
	host->chain.n = 1;
	host->chain.certificates = calloc(1, sizeof(*host->chain.certificates));
	cr_assert_not_null(host->chain.certificates);
	host->chain.certificates[0].not_before = NOW - 1000000;
	host->chain.certificates[0].not_after = NOW + 5000000;
	host->chain.certificates[0].key_strength = 128;
	host->chain.verify_error = X509_V_OK;
	host->chain.match = PROBE_NAME_MATCHES;
	return host;
}

static struct probe_domain *world_make(enum world world)
{
	static const char *const modes[] = {"none", "enforce", "testing"};
	struct probe_domain *domain = calloc(1, sizeof(*domain));
	struct probe_host *host;
	uint32_t line;

	cr_assert_not_null(domain);
	domain->is_domain = true;
	domain->dnssec = true;
	domain->mx.state = PROBE_DNS_FOUND;
	domain->tlsrpt.dns = PROBE_DNS_FOUND;
	host = good_host(domain);
	domain->sts.state = PROBE_STS_NONE;
	if (world == WORLD_ENFORCE || world == WORLD_TESTING) {
		domain->sts.body = malloc(sizeof(policy_text) + 16);
		cr_assert_not_null(domain->sts.body);
		domain->sts.body_n = (size_t)snprintf((char *)domain->sts.body,
			sizeof(policy_text) + 16, policy_text, modes[world]);
		cr_assert_eq(sts_policy_read(span_of(domain->sts.body, domain->sts.body_n),
				     &domain->sts.policy, &line),
			STS_POLICY_OK);
		domain->sts.state = PROBE_STS_POLICY;
	}
	host->dane.state = PROBE_DANE_ABSENT;
	if (world == WORLD_DANE) {
		host->dane.state = PROBE_DANE_AUTHENTICATE;
		host->dane.matched = true;
		host->dane.n = 1;
		host->dane.records[0].verdict = PROBE_TLSA_MATCH;
	}
	return domain;
}

static void world_free(struct probe_domain *domain)
{
	free(domain->hosts[0].chain.certificates);
	free(domain->hosts);
	free(domain->sts.body);
	free(domain);
}

static const struct probe_finding *find(const struct probe_domain *domain, const char *code)
{
	for (size_t i = 0; i < domain->findings.n; i++)
		if (strcmp(domain->findings.items[i].code, code) == 0)
			return &domain->findings.items[i];
	return NULL;
}

/* ---- what is otherwise ---- */

static void nothing(struct probe_domain *domain)
{
	(void)domain;
}

static void unoffered(struct probe_domain *domain)
{
	domain->hosts[0].trial.offered = false;
	domain->hosts[0].trial.outcome = PROBE_NO_UPGRADE;
}

static void hidden(struct probe_domain *domain)
{
	domain->hosts[0].trial.offered = false;
}

static void unreached(struct probe_domain *domain)
{
	domain->hosts[0].trial.outcome = PROBE_UNREACHED;
}

static void handshake_failed(struct probe_domain *domain)
{
	domain->hosts[0].trial.outcome = PROBE_NO_TLS;
}

static void mute(struct probe_domain *domain)
{
	memcpy(domain->hosts[0].trial.why, "x", 2);
}

static void other_name(struct probe_domain *domain)
{
	domain->hosts[0].chain.match = PROBE_NAME_OTHER;
}

static void cn_only(struct probe_domain *domain)
{
	domain->hosts[0].chain.match = PROBE_NAME_IN_CN;
}

static void expired(struct probe_domain *domain)
{
	domain->hosts[0].chain.certificates[0].not_after = NOW - 1;
	domain->hosts[0].chain.verify_error = X509_V_ERR_CERT_HAS_EXPIRED;
}

static void expiring(struct probe_domain *domain)
{
	domain->hosts[0].chain.certificates[0].not_after = NOW + 86400;
}

static void unvouched(struct probe_domain *domain)
{
	domain->hosts[0].chain.verify_error = X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
}

static void small_key(struct probe_domain *domain)
{
	domain->hosts[0].chain.certificates[0].key_strength = 80;
}

static void old_only(struct probe_domain *domain)
{
	domain->hosts[0].accepts[0] = PROBE_ACCEPTS;
	domain->hosts[0].accepts[2] = domain->hosts[0].accepts[3] = PROBE_ACCEPTS_NOT;
}

static void versions_unknown(struct probe_domain *domain)
{
	memset(domain->hosts[0].accepts, 0, sizeof(domain->hosts[0].accepts));
}

static void leaks(struct probe_domain *domain)
{
	domain->hosts[0].injection = PROBE_INJECT_LEAKED;
}

static void leak_unknown(struct probe_domain *domain)
{
	domain->hosts[0].injection = PROBE_INJECT_UNKNOWN;
}

static void early(struct probe_domain *domain)
{
	domain->hosts[0].trial.early = true;
}

static void other_mx(struct probe_domain *domain)
{
	memcpy(domain->hosts[0].name, "ax.example.org", 15);
}

static void tlsa_failed(struct probe_domain *domain)
{
	domain->hosts[0].dane.state = PROBE_DANE_FAILED;
	domain->hosts[0].dane.matched = false;
}

static void tlsa_unmatched(struct probe_domain *domain)
{
	domain->hosts[0].dane.state = PROBE_DANE_AUTHENTICATE;
	domain->hosts[0].dane.matched = false;
}

static void mx_bogus(struct probe_domain *domain)
{
	domain->mx.state = PROBE_DNS_BOGUS;
	domain->hosts_n = 0;
}

static void no_reports(struct probe_domain *domain)
{
	domain->tlsrpt.error = STS_RECORD_NONE;
}

#define NONE -1
#define N    PROBE_NOTE
#define O    PROBE_OBJECTION
#define R    PROBE_REFUSAL

static const struct {
	const char *code;
	void (*change)(struct probe_domain *domain);
	int severity[WORLDS]; /* bare, enforce, testing, DANE; NONE: no such finding */
} rows[] = {
	{"unprotected", nothing, {O, NONE, O, NONE}},
	{"sts-none", nothing, {N, NONE, NONE, N}},
	{"sts-mode", nothing, {NONE, NONE, N, NONE}},
	{"starttls-missing", unoffered, {O, R, O, R}},
	{"starttls-hidden", hidden, {O, R, O, R}},
	{"not-reached", unreached, {R, R, R, R}},
	{"tls-failed", handshake_failed, {O, R, O, R}},
	{"tls-mute", mute, {O, R, O, R}},
	{"certificate-name", other_name, {O, R, O, N}},
	{"certificate-name", cn_only, {O, R, O, N}},
	{"certificate-expired", expired, {O, R, O, N}},
	{"certificate-expiring", expiring, {N, N, N, N}},
	{"certificate-chain", expired, {NONE, NONE, NONE, NONE}},
	{"certificate-chain", unvouched, {O, R, O, N}},
	{"certificate-key", small_key, {O, O, O, O}},
	{"tls-none-new", old_only, {O, O, O, O}},
	{"tls-old", old_only, {N, N, N, N}},
	{"tls-unknown", versions_unknown, {N, N, N, N}},
	{"tls-none-new", versions_unknown, {NONE, NONE, NONE, NONE}},
	{"injection", leaks, {O, O, O, O}},
	{"injection-unknown", leak_unknown, {N, N, N, N}},
	{"starttls-early", early, {O, O, O, O}},
	{"sts-mx", other_mx, {NONE, R, O, NONE}},
	{"sts-idle", other_mx, {NONE, N, N, NONE}},
	{"dane-failed", tlsa_failed, {R, R, R, R}},
	{"dane-mismatch", tlsa_unmatched, {R, R, R, R}},
	{"mx-failed", mx_bogus, {R, R, R, R}},
	{"tlsrpt-none", no_reports, {N, N, N, N}},
};

Test(verdict, rows)
{
	static const struct probe_settings settings = {0};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		for (size_t world = 0; world < WORLDS; world++) {
			struct probe_domain *domain = world_make((enum world)world);
			const struct probe_finding *finding;

			rows[i].change(domain);
			probe_judge(domain, &settings, NOW);
			finding = find(domain, rows[i].code);
			cr_expect_eq(finding != NULL ? (int)finding->severity : NONE,
				rows[i].severity[world], "%s (row %zu) in world %zu", rows[i].code,
				i, world);
			if (finding != NULL) {
				cr_expect(finding->what[0] != '\0' && finding->sender[0] != '\0');
				cr_expect(finding->severity <= domain->findings.worst);
			}
			world_free(domain);
		}
	}
}

/* What was not asked for is not unknown either. */
Test(verdict, a_brief_look_says_nothing_of_versions)
{
	static const struct probe_settings brief = {.brief = true}, full = {.brief = false};
	struct probe_domain *domain = world_make(WORLD_ENFORCE);
	struct probe_host *host = &domain->hosts[0];

	for (size_t i = 0; i < PROBE_VERSIONS; i++)
		host->accepts[i] = PROBE_ACCEPTS_UNKNOWN;
	host->injection = PROBE_INJECT_UNTRIED;
	probe_judge(domain, &brief, NOW);
	cr_expect_null(find(domain, "tls-unknown"));
	probe_judge(domain, &full, NOW);
	cr_expect_not_null(find(domain, "tls-unknown"));
	world_free(domain);
}

Test(verdict, a_good_world_has_nothing_above_a_note)
{
	static const struct probe_settings settings = {0};
	static const enum probe_severity worst[WORLDS] = {O, N, O, N};

	for (size_t world = 0; world < WORLDS; world++) {
		struct probe_domain *domain = world_make((enum world)world);

		probe_judge(domain, &settings, NOW);
		cr_expect_eq(domain->findings.worst, worst[world], "world %zu", world);
		world_free(domain);
	}
}

/* A host alone: no policy is asked of it. */
Test(verdict, host)
{
	static const struct probe_settings settings = {.kind = PROBE_HOST};
	struct probe_domain *domain = world_make(WORLD_BARE);

	domain->is_domain = false;
	domain->sts.state = PROBE_STS_UNASKED;
	domain->tlsrpt.dns = PROBE_DNS_UNASKED;
	probe_judge(domain, &settings, NOW);
	cr_expect_eq(domain->findings.n, 0);
	world_free(domain);
}
