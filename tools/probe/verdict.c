/* SPDX-License-Identifier: MIT */
/*
 * verdict.c -- from facts to findings: what is wrong, and what a sender will do about it. Pure.
 *
 * Three kinds of senders are kept in mind: those that encrypt if they can and look at no certificate
 * (most), those that obey MTA-STS, those that obey DANE. What stops any of the latter two, or all, is a
 * refusal; what leaves mail readable or the server unproved is an objection; the rest is a note.
 * A certificate that no CA vouches for is nothing to a sender that found it by DANE (RFC 7672 3.1.1),
 * but stops one that obeys an enforced policy: so the same fact weighs differently by what the domain
 * publishes.
 *
 * What is unknown is never an objection: a note says that it is unknown.
 */
#include "tools/probe/probe.h"

#include <openssl/x509_vfy.h>

#define DAY_S          86400
#define EXPIRING_S     (14 * DAY_S)
#define MAX_AGE_SHORT  DAY_S /* RFC 8461 3.2 speaks of weeks */
#define KEY_BITS_MIN   112   /* RSA 2048 */
#define STOPPED        "senders that obey the policy or DANE do not deliver to this host"
#define STOPPED_STS    "senders that obey the MTA-STS policy do not deliver to this host"
#define STOPPED_DANE   "senders that obey DANE do not deliver to this host: they wait, then bounce"
#define UNPROVED       "senders deliver, but cannot know to whom"
#define REPORTED       "senders that obey the policy deliver, and report it"
#define CLIENTS_REFUSE "clients that check certificates hang up"

/* What is judged, and under which rules. */
struct bench {
	struct probe_findings *findings;
	const struct probe_domain *domain;
	const struct probe_host *host;
	const struct probe_settings *settings;
	time_t now;
	bool mail;
	bool enforce; /* the policy's mode */
	bool testing;
	bool others; /* another host can be reached */
};

#define FIND(bench, severity, code, sender, ...)                                                   \
	probe_finding_add((bench)->findings, severity, code,                                       \
		(bench)->host != NULL ? (bench)->host->name : "", sender, __VA_ARGS__)

static bool dane_asks_tls(const struct probe_host *host)
{
	return host->dane.state == PROBE_DANE_AUTHENTICATE ||
	       host->dane.state == PROBE_DANE_ENCRYPT;
}

/* ---- the domain ---- */

static void judge_mx(const struct bench *bench)
{
	const struct probe_domain *domain = bench->domain;
	const struct probe_answer *mx = &domain->mx;

	if (!domain->is_domain)
		return;
	if (mx->state == PROBE_DNS_NO_NAME)
		FIND(bench, PROBE_REFUSAL, "mx-no-name", "senders bounce the mail at once",
			"the domain does not exist");
	else if (mx->state == PROBE_DNS_BOGUS || mx->state == PROBE_DNS_FAILED)
		FIND(bench, PROBE_REFUSAL, "mx-failed", "senders wait, then bounce",
			"the MX records cannot be had (%s): %s", probe_dns_state_text(mx->state),
			mx->why);
	else if (domain->null_mx)
		FIND(bench, PROBE_REFUSAL, "mx-null", "senders bounce the mail at once",
			"the null MX says that the domain takes no mail (RFC 7505)");
	else if (domain->hosts_n == 0)
		FIND(bench, PROBE_REFUSAL, "mx-unreadable", "senders bounce the mail",
			"no MX record names a host");
	if (domain->implicit_mx)
		FIND(bench, PROBE_NOTE, "mx-implicit", "senders take the domain for its own MX",
			"the domain has no MX record");
	if (domain->mx_more_n > 0)
		FIND(bench, PROBE_NOTE, "mx-more", "nothing is known of these",
			"%zu MX records were not looked at: no host's name, or above the limit of %d",
			domain->mx_more_n, PROBE_HOSTS_MAX);
}

static void judge_policy(const struct bench *bench)
{
	const struct probe_sts *sts = &bench->domain->sts;
	const struct sts_policy *policy = &sts->policy;
	const char *hosts[PROBE_HOSTS_MAX];
	bool idle[STS_MX_MAX];

	for (size_t i = 0; i < bench->domain->hosts_n; i++)
		hosts[i] = bench->domain->hosts[i].name;
	if (policy->mode != STS_MODE_ENFORCE)
		FIND(bench, PROBE_NOTE, "sts-mode",
			bench->testing ? "senders deliver whatever they find, and report it"
				       : "senders forget the policy that they have",
			"the MTA-STS policy is in mode %s", sts_mode_text(policy->mode));
	if (policy->mode != STS_MODE_NONE && policy->max_age_s < MAX_AGE_SHORT)
		FIND(bench, PROBE_NOTE, "sts-max-age",
			"senders forget it soon: whoever stops the next fetch is rid of it",
			"the MTA-STS policy holds for %u seconds only", policy->max_age_s);
	if (policy->repeated_n + policy->unknown_n > 0)
		FIND(bench, PROBE_NOTE, "sts-lines", "senders skip them",
			"%u lines of the MTA-STS policy repeat a key, %u have an unknown one",
			policy->repeated_n, policy->unknown_n);
	if (sts_policy_idle(policy, hosts, bench->domain->hosts_n, idle) == 0)
		return;
	for (uint32_t i = 0; i < policy->mx_n; i++)
		if (idle[i])
			FIND(bench, PROBE_NOTE, "sts-idle", "nothing, unless it should be an MX",
				"the MTA-STS policy allows %.*s, which is no MX",
				(int)policy->mx[i].n, (const char *)policy->mx[i].p);
}

static void judge_sts(const struct bench *bench)
{
	static const char none[] =
		"senders keep to the policy that they have; new ones know of none";
	const struct probe_sts *sts = &bench->domain->sts;

	switch (sts->state) {
	case PROBE_STS_NONE:
		FIND(bench, PROBE_NOTE, "sts-none", "senders know of no policy",
			"the domain has no MTA-STS record");
		break;
	case PROBE_STS_DNS:
		FIND(bench, PROBE_OBJECTION, "sts-dns", none,
			"the MTA-STS record cannot be had: %s", sts->why);
		break;
	case PROBE_STS_RECORD:
		FIND(bench, PROBE_OBJECTION, "sts-record", none,
			"the MTA-STS record is no good: %s", sts->why);
		break;
	case PROBE_STS_NO_FETCH:
		FIND(bench, PROBE_OBJECTION, "sts-fetch", none,
			"the MTA-STS policy cannot be fetched: %s", sts->why);
		break;
	case PROBE_STS_BAD_POLICY:
		FIND(bench, PROBE_OBJECTION, "sts-policy", none,
			"the MTA-STS policy is no good: line %u: %s", sts->line, sts->why);
		break;
	case PROBE_STS_POLICY:
		judge_policy(bench);
		break;
	case PROBE_STS_UNASKED:
	case PROBE_STS_STATES:
		break;
	}
	if (sts->state > PROBE_STS_RECORD && sts->record.blank)
		FIND(bench, PROBE_NOTE, "sts-blank", "some senders see no record",
			"a blank stands behind the version in the MTA-STS record");
}

static void judge_tlsrpt(const struct bench *bench)
{
	const struct probe_tlsrpt *tlsrpt = &bench->domain->tlsrpt;

	if (tlsrpt->dns == PROBE_DNS_UNASKED || tlsrpt->error == STS_RECORD_OK)
		return;
	if (tlsrpt->error == STS_RECORD_NONE)
		FIND(bench, PROBE_NOTE, "tlsrpt-none", "nobody reports when TLS fails",
			"there is no TLSRPT record%s",
			tlsrpt->dns == PROBE_DNS_BOGUS || tlsrpt->dns == PROBE_DNS_FAILED
				? ": it cannot be had"
				: "");
	else
		FIND(bench, PROBE_OBJECTION, "tlsrpt-record", "nobody reports when TLS fails",
			"the TLSRPT record is no good: %s", sts_record_error_text(tlsrpt->error));
}

/* Does anything make a sender insist on TLS with the right server? */
static void judge_protection(const struct bench *bench)
{
	const struct probe_domain *domain = bench->domain;
	size_t proved = 0;

	if (!domain->is_domain || domain->hosts_n == 0 || bench->enforce || bench->settings->no_sts)
		return;
	for (size_t i = 0; i < domain->hosts_n; i++)
		proved += domain->hosts[i].dane.state == PROBE_DANE_AUTHENTICATE;
	if (proved < domain->hosts_n)
		FIND(bench, PROBE_OBJECTION, "unprotected",
			"senders encrypt if they can: whoever stands in between can stop that",
			"neither an enforced MTA-STS policy nor DANE protects %s",
			proved > 0 ? "all MXes" : "the domain's mail");
}

/* ---- reaching the host ---- */

static void judge_addresses(const struct bench *bench)
{
	const struct probe_host *host = bench->host;

	for (size_t i = 0; i < host->addresses_n; i++) {
		const struct probe_address *address = &host->addresses[i];

		if (i != host->address && address->tried)
			FIND(bench, PROBE_NOTE, "address", "senders go on to the next address",
				"%s: %s: %s", address->text, probe_outcome_text(address->outcome),
				address->why);
	}
}

/* True: it talks to us. */
static bool judge_reach(const struct bench *bench)
{
	const struct probe_host *host = bench->host;
	enum probe_severity severity = bench->others ? PROBE_OBJECTION : PROBE_REFUSAL;
	const char *sender = bench->others ? "senders go on to another MX"
			     : bench->mail ? "senders wait, then bounce"
					   : "clients give up";

	judge_addresses(bench);
	if (host->addresses_n == 0) {
		FIND(bench, severity, "no-address", sender, "the host has no address: %s",
			host->answers[0].why[0] != '\0'
				? host->answers[0].why
				: probe_dns_state_text(host->answers[0].state));
		return false;
	}
	if (host->trial.outcome > PROBE_NO_WELCOME)
		return true;
	FIND(bench, severity, host->trial.outcome == PROBE_UNREACHED ? "not-reached" : "no-welcome",
		sender, "%s: %s: %s", host->addresses[host->address].text,
		probe_outcome_text(host->trial.outcome), host->trial.why);
	return false;
}

/* ---- upgrade and handshake ---- */

/* What becomes of a host without TLS, or whose certificate is no good. */
static enum probe_severity tls_severity(const struct bench *bench)
{
	return bench->enforce || dane_asks_tls(bench->host) ? PROBE_REFUSAL : PROBE_OBJECTION;
}

static const char *tls_sender(const struct bench *bench)
{
	if (!bench->mail)
		return "clients that insist on TLS hang up";
	return tls_severity(bench) == PROBE_REFUSAL
		       ? STOPPED
		       : "senders deliver in clear; those that insist on TLS do not";
}

static void judge_upgrade(const struct bench *bench)
{
	const struct probe_trial *trial = &bench->host->trial;
	bool reached_tls = trial->outcome > PROBE_NO_UPGRADE;

	if (bench->settings->implicit_tls)
		return;
	if (trial->disguised && !trial->offered)
		FIND(bench, tls_severity(bench), "starttls-disguised", tls_sender(bench),
			"a keyword of Xes stands where STARTTLS should: something on the way strips it");
	if (reached_tls && !trial->offered)
		FIND(bench, tls_severity(bench), "starttls-hidden", tls_sender(bench),
			"TLS is not offered, but taken: the offer was stripped, or is forgotten");
	else if (!reached_tls && trial->offered)
		FIND(bench, tls_severity(bench), "starttls-refused", tls_sender(bench),
			"TLS is offered, but refused: %s", trial->why);
	else if (!reached_tls)
		FIND(bench, tls_severity(bench), "starttls-missing", tls_sender(bench),
			"TLS is not offered (asked for all the same: %s)", trial->why);
	if (trial->early)
		FIND(bench, PROBE_OBJECTION, "starttls-early",
			"careful senders hang up; the others drop what came",
			"octets in clear come behind the go-ahead for TLS");
}

static void judge_versions(const struct bench *bench)
{
	const enum probe_accepts *accepts = bench->host->accepts;
	size_t unknown = 0;

	for (size_t i = 0; i < PROBE_VERSIONS; i++) {
		unknown += accepts[i] == PROBE_ACCEPTS_UNKNOWN;
		if (accepts[i] == PROBE_ACCEPTS && i < 2)
			FIND(bench, PROBE_NOTE, "tls-old", "those that can use a newer one",
				"TLS %s is accepted, which RFC 8996 forbids",
				probe_version_text(i));
	}
	if (unknown > 0)
		FIND(bench, PROBE_NOTE, "tls-unknown", "not known",
			"%zu versions of TLS could not be tried to the end", unknown);
	if (accepts[2] == PROBE_ACCEPTS_NOT && accepts[3] == PROBE_ACCEPTS_NOT)
		FIND(bench, PROBE_OBJECTION, "tls-none-new",
			bench->mail
				? "most senders cannot agree on a version: they deliver in clear, or not"
				: "most clients hang up",
			"neither TLS 1.2 nor TLS 1.3 is accepted");
	else if (accepts[3] == PROBE_ACCEPTS_NOT)
		FIND(bench, PROBE_NOTE, "tls-no-1.3", "they use TLS 1.2",
			"TLS 1.3 is not accepted");
}

static void judge_session(const struct bench *bench)
{
	const struct probe_trial *trial = &bench->host->trial;

	if (!trial->forward_secret)
		FIND(bench, PROBE_OBJECTION, "cipher-secrecy",
			"they go on: who records it and gets the key later reads it",
			"%s has no forward secrecy", trial->cipher);
	else if (!trial->aead)
		FIND(bench, PROBE_NOTE, "cipher-old", "they go on",
			"%s is a cipher suite of old (no AEAD)", trial->cipher);
	if (trial->why[0] != '\0')
		FIND(bench, tls_severity(bench), "tls-mute",
			bench->mail ? "senders wait, and come again: some of them without TLS"
				    : "clients give up",
			"under TLS the server does not talk to us: %s", trial->why);
	if (bench->host->injection == PROBE_INJECT_LEAKED)
		FIND(bench, PROBE_OBJECTION, "injection",
			"none can notice: an attacker's commands run in their sessions",
			"a command sent in clear behind the upgrade is answered under TLS");
	else if (bench->host->injection == PROBE_INJECT_IN_CLEAR)
		FIND(bench, PROBE_NOTE, "injection-clear", "none sends such",
			"a command sent in clear behind the upgrade is answered before the handshake");
	else if (bench->host->injection == PROBE_INJECT_UNKNOWN)
		FIND(bench, PROBE_NOTE, "injection-unknown", "not known",
			"whether octets in clear leak into the session could not be found out");
}

/* ---- certificate ---- */

static enum probe_severity certificate_severity(const struct bench *bench)
{
	if (bench->enforce)
		return PROBE_REFUSAL;
	if (bench->testing)
		return PROBE_OBJECTION;
	return bench->host->dane.matched ? PROBE_NOTE : PROBE_OBJECTION;
}

static const char *certificate_sender(const struct bench *bench)
{
	if (!bench->mail)
		return CLIENTS_REFUSE;
	if (bench->enforce)
		return STOPPED_STS;
	if (bench->testing)
		return REPORTED;
	return bench->host->dane.matched ? "senders that obey DANE do not mind" : UNPROVED;
}

static void day_text(char out[32], time_t when)
{
	struct tm tm;

	if (gmtime_r(&when, &tm) == NULL || strftime(out, 32, "%Y-%m-%d %H:%M UTC", &tm) == 0)
		memcpy(out, "?", 2);
}

static void judge_dates(const struct bench *bench, const struct probe_certificate *certificate)
{
	char day[32];

	if (bench->now > certificate->not_after) {
		day_text(day, certificate->not_after);
		FIND(bench, certificate_severity(bench), "certificate-expired",
			certificate_sender(bench), "the certificate expired on %s", day);
	} else if (bench->now < certificate->not_before) {
		day_text(day, certificate->not_before);
		FIND(bench, certificate_severity(bench), "certificate-early",
			certificate_sender(bench), "the certificate is not valid before %s", day);
	} else if (certificate->not_after - bench->now < EXPIRING_S) {
		day_text(day, certificate->not_after);
		FIND(bench, PROBE_NOTE, "certificate-expiring", "nothing before that day",
			"the certificate expires on %s", day);
	}
}

static void judge_certificate(const struct bench *bench)
{
	const struct probe_chain *chain = &bench->host->chain;
	const struct probe_certificate *own = chain->certificates;

	if (chain->n == 0) {
		FIND(bench, certificate_severity(bench), "certificate-none",
			certificate_sender(bench), "the server shows no certificate");
		return;
	}
	judge_dates(bench, own);
	if (chain->verify_error != X509_V_OK &&
		!(chain->verify_depth == 0 &&
			(chain->verify_error == X509_V_ERR_CERT_HAS_EXPIRED ||
				chain->verify_error == X509_V_ERR_CERT_NOT_YET_VALID)))
		FIND(bench, certificate_severity(bench), "certificate-chain",
			certificate_sender(bench),
			"the certificate is not vouched for by a CA: %s (certificate %zu)",
			chain->verify_text, chain->verify_depth);
	if (chain->match != PROBE_NAME_MATCHES)
		FIND(bench, certificate_severity(bench), "certificate-name",
			certificate_sender(bench),
			chain->match == PROBE_NAME_IN_CN
				? "%s stands in the certificate's subject only, not among its names"
				: "the certificate is not for %s",
			bench->host->name);
	if (own->key_strength > 0 && own->key_strength < KEY_BITS_MIN)
		FIND(bench, PROBE_OBJECTION, "certificate-key",
			"many end the handshake: then they deliver in clear, or not",
			"the key is small: %s", own->key);
	if (own->weak_digest)
		FIND(bench, PROBE_OBJECTION, "certificate-digest",
			"many end the handshake: then they deliver in clear, or not",
			"the certificate is signed over a broken digest: %s", own->signature);
}

/* ---- policy and DANE against the host ---- */

static void judge_pattern(const struct bench *bench)
{
	const struct probe_sts *sts = &bench->domain->sts;

	if ((!bench->enforce && !bench->testing) ||
		sts_policy_has_mx(&sts->policy, span_str(bench->host->name)))
		return;
	FIND(bench, bench->enforce ? PROBE_REFUSAL : PROBE_OBJECTION, "sts-mx",
		bench->enforce ? STOPPED_STS : REPORTED,
		"the MTA-STS policy does not allow this host");
}

static void judge_dane(const struct bench *bench)
{
	const struct probe_dane *dane = &bench->host->dane;

	if (dane->state == PROBE_DANE_FAILED)
		FIND(bench, PROBE_REFUSAL, "dane-failed", STOPPED_DANE,
			"the TLSA records cannot be had: %s", dane->why);
	if (dane->state == PROBE_DANE_ENCRYPT)
		FIND(bench, PROBE_OBJECTION, "dane-unusable",
			"senders that obey DANE encrypt, but cannot know with whom",
			"no TLSA record below %s is usable", dane->base);
	if (dane->state != PROBE_DANE_AUTHENTICATE || bench->host->chain.n == 0)
		return;
	if (!dane->matched)
		FIND(bench, PROBE_REFUSAL, "dane-mismatch", STOPPED_DANE,
			"no TLSA record below %s matches the certificates", dane->base);
	for (size_t i = 0; i < dane->n; i++) {
		const struct probe_tlsa *record = &dane->records[i];
		bool told =
			record->verdict == PROBE_TLSA_MATCH || record->verdict == PROBE_TLSA_WEAKER;

		if (!told && dane->matched)
			FIND(bench, PROBE_NOTE, "dane-record",
				"nothing, while another record matches", "TLSA %u %u %u %s%s%s",
				record->tlsa.usage, record->tlsa.selector, record->tlsa.matching,
				probe_tlsa_verdict_text(record->verdict),
				record->why != NULL ? ": " : "",
				record->why != NULL ? record->why : "");
	}
}

static void judge_host(const struct bench *bench)
{
	const struct probe_trial *trial = &bench->host->trial;

	judge_pattern(bench);
	judge_dane(bench);
	if (!judge_reach(bench))
		return;
	judge_upgrade(bench);
	if (trial->outcome == PROBE_NO_TLS)
		FIND(bench, tls_severity(bench), "tls-failed", tls_sender(bench),
			"the handshake fails: %s", trial->why);
	if (trial->outcome >= PROBE_NO_TLS && !bench->settings->brief)
		judge_versions(bench);
	if (trial->outcome != PROBE_TLS)
		return;
	judge_session(bench);
	judge_certificate(bench);
}

static size_t reached_n(const struct probe_domain *domain)
{
	size_t n = 0;

	for (size_t i = 0; i < domain->hosts_n; i++)
		n += domain->hosts[i].trial.outcome > PROBE_NO_WELCOME;
	return n;
}

void probe_judge(struct probe_domain *domain, const struct probe_settings *settings, time_t now)
{
	bool policy = domain->is_domain && domain->sts.state == PROBE_STS_POLICY;
	struct bench bench = {
		.findings = &domain->findings,
		.domain = domain,
		.settings = settings,
		.now = now,
		.mail = settings->protocol == PROBE_SMTP,
		.enforce = policy && domain->sts.policy.mode == STS_MODE_ENFORCE,
		.testing = policy && domain->sts.policy.mode == STS_MODE_TESTING,
		.others = reached_n(domain) > 0,
	};

	judge_mx(&bench);
	judge_sts(&bench);
	judge_tlsrpt(&bench);
	judge_protection(&bench);
	if (!domain->dnssec && !settings->no_dane)
		FIND(&bench, PROBE_NOTE, "dnssec-unchecked", "not known: DANE was not looked at",
			"DNSSEC was not checked: %s", domain->no_dnssec);
	for (size_t i = 0; i < domain->hosts_n; i++) {
		bench.host = &domain->hosts[i];
		judge_host(&bench);
	}
}
