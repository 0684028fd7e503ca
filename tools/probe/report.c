/* SPDX-License-Identifier: MIT */
/*
 * report.c -- the facts for a person: a block for the domain, one for each host, findings, verdict.
 *
 * Text from outside is printable ASCII by now (probe.h). A line that would say nothing is left out.
 */
#include "tools/probe/probe.h"

#include <stdio.h>

#include <openssl/x509_vfy.h>

#define TLSA_OCTETS_SHOWN 12
#define NAMES_SHOWN       12

static void line_begin(const char *title)
{
	printf("  %-12s ", title);
}

static void line(const char *title, const char *text)
{
	line_begin(title);
	puts(text);
}

static void day_put(const char *before, time_t when)
{
	char text[32] = "?";
	struct tm tm;

	if (gmtime_r(&when, &tm) != NULL)
		(void)!strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &tm);
	printf("%s%s", before, text);
}

/* ---- the domain ---- */

static void policy_put(const struct probe_sts *sts)
{
	line_begin("MTA-STS");
	if (sts->state != PROBE_STS_POLICY) {
		printf("%s%s%s\n", probe_sts_state_text(sts->state),
			sts->why[0] != '\0' ? ": " : "", sts->why);
		return;
	}
	printf("%s, id %s, max_age %u s, fetched in %u ms\n", sts_mode_text(sts->policy.mode),
		sts->record.id, sts->policy.max_age_s, sts->fetch_ms);
	line_begin("");
	printf("mx:");
	for (uint32_t i = 0; i < sts->policy.mx_n; i++)
		printf(" %.*s", (int)sts->policy.mx[i].n, (const char *)sts->policy.mx[i].p);
	putchar('\n');
}

static void tlsrpt_put(const struct probe_tlsrpt *tlsrpt)
{
	char place[PROBE_TEXT_MAX];

	line_begin("TLSRPT");
	if (tlsrpt->error != STS_RECORD_OK) {
		puts(tlsrpt->dns == PROBE_DNS_BOGUS || tlsrpt->dns == PROBE_DNS_FAILED
				? probe_dns_state_text(tlsrpt->dns)
				: sts_record_error_text(tlsrpt->error));
		return;
	}
	for (uint32_t i = 0; i < tlsrpt->record.rua_n; i++) {
		probe_clean(place, sizeof(place), sts_rua_uri(&tlsrpt->record, i));
		printf("%s%s", i > 0 ? " " : "", place);
	}
	putchar('\n');
}

static void domain_put(const struct probe_domain *domain)
{
	printf("%s\n", domain->name);
	line("DNSSEC", domain->dnssec ? "checked" : domain->no_dnssec);
	line_begin("MX");
	if (domain->null_mx)
		printf("none is wanted (null MX)");
	else if (domain->implicit_mx)
		printf("none: the domain itself");
	else if (domain->mx.state != PROBE_DNS_FOUND)
		printf("%s", probe_dns_state_text(domain->mx.state));
	for (size_t i = 0; i < domain->hosts_n && !domain->implicit_mx; i++)
		printf("%s%u %s", i > 0 ? ", " : "", domain->hosts[i].preference,
			domain->hosts[i].name);
	printf("%s\n", domain->mx.secure ? " (proved by DNSSEC)" : "");
	if (domain->sts.state != PROBE_STS_UNASKED) {
		policy_put(&domain->sts);
		tlsrpt_put(&domain->tlsrpt);
	}
}

/* ---- a host ---- */

static void addresses_put(const struct probe_host *host)
{
	line_begin("address");
	if (host->addresses_n == 0)
		printf("none");
	for (size_t i = 0; i < host->addresses_n; i++)
		printf("%s%s%s", i > 0 ? ", " : "", host->addresses[i].text,
			i == host->address && host->addresses_n > 1 ? " (this one)" : "");
	putchar('\n');
}

static void upgrade_put(const struct probe_host *host, bool implicit)
{
	const struct probe_trial *trial = &host->trial;

	if (trial->greeting[0] != '\0')
		line("greeting", trial->greeting);
	if (trial->outcome <= PROBE_NO_WELCOME) {
		line_begin("outcome");
		printf("%s: %s\n", probe_outcome_text(trial->outcome), trial->why);
		return;
	}
	line_begin("upgrade");
	if (implicit)
		puts("none: TLS from the first octet");
	else
		printf("%s%s, %s\n", trial->offered ? "offered" : "NOT offered",
			trial->disguised ? " (stripped: Xes in its place)" : "",
			trial->outcome == PROBE_NO_UPGRADE ? "refused" : "taken");
	if (trial->outcome == PROBE_NO_UPGRADE || trial->outcome == PROBE_NO_TLS)
		line("why", trial->why);
}

static void versions_put(const struct probe_host *host)
{
	line_begin("versions");
	for (size_t i = 0; i < PROBE_VERSIONS; i++)
		printf("%s%s %s", i > 0 ? ", " : "", probe_version_text(i),
			probe_accepts_text(host->accepts[i]));
	putchar('\n');
}

static void resumption_put(const struct probe_host *host)
{
	line_begin("resumption");
	printf("1.2 %s, 1.3 %s\n", probe_resumption_text(host->resumption[2]),
		probe_resumption_text(host->resumption[3]));
}

static void session_put(const struct probe_host *host, bool brief)
{
	const struct probe_trial *trial = &host->trial;

	if (trial->outcome < PROBE_NO_TLS)
		return;
	if (!brief)
		versions_put(host);
	if (trial->outcome != PROBE_TLS)
		return;
	line_begin("session");
	printf("%s %s%s%s%s%s, %u ms\n", trial->version, trial->cipher,
		trial->group[0] != '\0' ? ", " : "", trial->group,
		trial->signature[0] != '\0' ? ", signed " : "", trial->signature,
		trial->handshake_ms);
	if (!brief)
		resumption_put(host);
	if (host->injection != PROBE_INJECT_UNTRIED)
		line("injection", probe_injection_text(host->injection));
	if (trial->extensions[0] != '\0')
		line("EHLO", trial->extensions);
}

static void names_put(const struct probe_certificate *certificate)
{
	line_begin("names");
	for (size_t i = 0; i < certificate->names_n && i < NAMES_SHOWN; i++)
		printf("%s%s", i > 0 ? " " : "", certificate->names[i]);
	if (certificate->names_n + certificate->names_more_n > NAMES_SHOWN)
		printf(" and %zu more",
			certificate->names_n + certificate->names_more_n - NAMES_SHOWN);
	putchar('\n');
}

static void chain_put(const struct probe_host *host)
{
	const struct probe_chain *chain = &host->chain;
	const struct probe_certificate *own = chain->certificates;

	if (chain->n == 0)
		return;
	line("certificate", own->subject);
	names_put(own);
	line("issuer", own->issuer);
	line_begin("valid");
	day_put("", own->not_before);
	day_put(" to ", own->not_after);
	putchar('\n');
	line_begin("key");
	printf("%s, signed with %s, serial %s\n", own->key, own->signature, own->serial);
	for (size_t i = 1; i < chain->n; i++) {
		line_begin(i == 1 ? "chain" : "");
		printf("%zu: %s\n", i, chain->certificates[i].subject);
	}
	line_begin("verified");
	if (chain->verify_error == X509_V_OK)
		printf("yes, up to %s\n", chain->anchor);
	else
		printf("NO: %s (certificate %zu)\n", chain->verify_text, chain->verify_depth);
	line_begin("name");
	printf(chain->match == PROBE_NAME_MATCHES  ? "%s matches\n"
		: chain->match == PROBE_NAME_IN_CN ? "%s is in the subject ONLY\n"
						   : "%s DOES NOT match\n",
		host->name);
}

static void record_put(const struct probe_tlsa *record)
{
	const struct span data = record->tlsa.data;

	line_begin("");
	printf("%u %u %u ", record->tlsa.usage, record->tlsa.selector, record->tlsa.matching);
	for (size_t i = 0; i < data.n && i < TLSA_OCTETS_SHOWN; i++)
		printf("%02x", data.p[i]);
	printf("%s %s", data.n > TLSA_OCTETS_SHOWN ? "..." : "",
		probe_tlsa_verdict_text(record->verdict));
	if (record->verdict == PROBE_TLSA_UNUSABLE)
		printf(": %s", sts_tlsa_use_text(record->use));
	if (record->verdict == PROBE_TLSA_MATCH)
		printf(" certificate %zu", record->depth);
	printf("%s%s\n", record->why != NULL ? ": " : "", record->why != NULL ? record->why : "");
}

static void dane_put(const struct probe_host *host)
{
	const struct probe_dane *dane = &host->dane;

	if (dane->state == PROBE_DANE_UNASKED)
		return;
	line_begin("DANE");
	printf("%s%s%s", probe_dane_state_text(dane->state), dane->why[0] != '\0' ? ": " : "",
		dane->why);
	if (dane->n > 0)
		printf(" below %s%s", dane->base,
			dane->state != PROBE_DANE_AUTHENTICATE || host->chain.n == 0 ? ""
			: dane->matched ? ", authenticated"
					: ", NO match");
	putchar('\n');
	for (size_t i = 0; i < dane->n; i++)
		record_put(&dane->records[i]);
}

static void host_put(const struct probe_domain *domain, const struct probe_host *host,
	const struct probe_settings *settings)
{
	const struct probe_sts *sts = &domain->sts;
	uint16_t port = settings->port != 0
				? settings->port
				: probe_protocol_port(settings->protocol, settings->implicit_tls);

	printf("\n%s port %u, %s\n", host->name, port, probe_protocol_text(settings->protocol));
	addresses_put(host);
	if (host->addresses_n > 0) {
		upgrade_put(host, settings->implicit_tls);
		session_put(host, settings->brief);
		chain_put(host);
	}
	if (domain->is_domain && sts->state == PROBE_STS_POLICY &&
		sts->policy.mode != STS_MODE_NONE)
		line("policy", sts_policy_has_mx(&sts->policy, span_str(host->name))
				       ? "allows this host"
				       : "DOES NOT allow this host");
	dane_put(host);
}

/* ---- all ---- */

void probe_report_findings(const struct probe_findings *findings, enum probe_severity least)
{
	for (size_t i = 0; i < findings->n; i++) {
		const struct probe_finding *finding = &findings->items[i];

		if (finding->severity < least)
			continue;
		printf("%-9s  %s%s%s [%s]\n%-9s  -> %s\n", probe_severity_text(finding->severity),
			finding->host, finding->host[0] != '\0' ? ": " : "", finding->what,
			finding->code, "", finding->sender);
	}
	if (findings->dropped_n > 0)
		printf("%zu more findings were dropped\n", findings->dropped_n);
}

void probe_report_verdict(const struct probe_domain *domain)
{
	static const char *const texts[PROBE_SEVERITIES] = {
		[PROBE_NOTE] = "all that a sender wants",
		[PROBE_OBJECTION] = "works, less protected than it could be",
		[PROBE_REFUSAL] = "not for every sender that keeps to the rules",
	};

	printf("%s: %s\n", domain->name, texts[domain->findings.worst]);
}

void probe_report(const struct probe_domain *domain, const struct probe_settings *settings)
{
	if (domain->is_domain)
		domain_put(domain);
	for (size_t i = 0; i < domain->hosts_n; i++)
		host_put(domain, &domain->hosts[i], settings);
	putchar('\n');
	probe_report_findings(&domain->findings, PROBE_NOTE);
	probe_report_verdict(domain);
}
