/* SPDX-License-Identifier: MIT */
/*
 * published.c -- what a gateway means senders to see, against what they do see: further findings. Pure.
 *
 * verdict.c has judged what is seen by itself. Here are the differences that no outsider can know of: a
 * record or a policy that is yesterday's, another machine in the gateway's place, a next certificate
 * that no TLSA record is there for.
 *
 * Keys are compared as SHA-256 of the public key (3 1 1, 2 1 1), which is what the gateway tells. TLSA
 * records of other forms say nothing about the next certificate: where there are such, nothing is said.
 */
#include "tools/probe/probe.h"

#define SHA256_OCTETS 32

/* What is compared; host: the one that the gateway is, or NULL. */
struct bench {
	struct probe_findings *findings;
	const struct probe_domain *domain;
	const struct probe_published *published;
	const struct probe_host *host;
};

#define FIND(bench, severity, code, host, sender, ...)                                             \
	probe_finding_add((bench)->findings, severity, code, host, sender, __VA_ARGS__)

/* ---- record, policy, reports ---- */

static void compare_record(const struct bench *bench)
{
	const struct probe_sts *sts = &bench->domain->sts;

	if (sts->state == PROBE_STS_NONE)
		FIND(bench, PROBE_OBJECTION, "published-no-record", "",
			"no sender asks for the policy",
			"a policy is published, but the domain has no MTA-STS record");
	else if (sts->state > PROBE_STS_RECORD && strcmp(sts->record.id, bench->published->id) != 0)
		FIND(bench, PROBE_OBJECTION, "published-id", "",
			"senders that have a policy keep it until its max_age is over",
			"the MTA-STS record has the id %s, the published policy %s", sts->record.id,
			bench->published->id);
}

static void compare_policy(const struct bench *bench)
{
	const struct probe_sts *sts = &bench->domain->sts;

	if ((sts->state == PROBE_STS_POLICY || sts->state == PROBE_STS_BAD_POLICY) &&
		!span_equal(span_of(sts->body, sts->body_n), bench->published->policy))
		FIND(bench, PROBE_OBJECTION, "published-policy", "",
			"senders obey the one that they fetch",
			"another policy is fetched than this gateway publishes");
}

static void compare_reports(const struct bench *bench)
{
	const struct probe_tlsrpt *tlsrpt = &bench->domain->tlsrpt;
	const char *wanted = bench->published->tlsrpt;
	const char *uris[STS_RUA_MAX];
	char copies[STS_TXT_MAX + STS_RUA_MAX], text[STS_TXT_MAX + 1];
	struct buf copy, out;
	bool same;

	if (wanted == NULL || tlsrpt->dns == PROBE_DNS_UNASKED)
		return;
	if (tlsrpt->error != STS_RECORD_OK) {
		FIND(bench, PROBE_OBJECTION, "published-no-reports", "",
			"nobody reports when TLS fails",
			"reports are wanted, but no TLSRPT record says where");
		return;
	}
	buf_init(&copy, copies, sizeof(copies));
	buf_init(&out, text, sizeof(text));
	for (uint32_t i = 0; i < tlsrpt->record.rua_n; i++) {
		uris[i] = copies + buf_len(&copy);
		if (!buf_put(&copy, sts_rua_uri(&tlsrpt->record, i)) ||
			!buf_put(&copy, span_of("", 1)))
			return; /* cannot be: the record is no longer */
	}
	same = tlsrpt->record.rua_n > 0 && sts_tlsrpt_write(uris, tlsrpt->record.rua_n, &out) &&
	       span_equal(buf_span(&out), span_str(wanted));
	if (!same)
		FIND(bench, PROBE_NOTE, "published-reports", "",
			"they report to those in the record",
			"the TLSRPT record names other places than the configuration");
}

/* ---- keys ---- */

static bool key_is(const struct probe_key *key, enum sts_tlsa_usage usage, struct span sha256)
{
	return key->usage == usage && span_equal(span_of(key->sha256, sizeof(key->sha256)), sha256);
}

/* The gateway's own key of that usage, of the certificates in use or of the next ones. */
static bool key_find(const struct probe_published *published, enum sts_tlsa_usage usage, bool next,
	struct span sha256)
{
	for (size_t i = 0; i < published->keys_n; i++)
		if (published->keys[i].next == next && key_is(&published->keys[i], usage, sha256))
			return true;
	return false;
}

static void compare_certificate(const struct bench *bench)
{
	const struct probe_chain *chain = &bench->host->chain;
	bool known = false;
	struct span spki;

	for (size_t i = 0; i < bench->published->keys_n; i++)
		known |= bench->published->keys[i].usage == STS_DANE_EE;
	if (chain->n == 0 || !known)
		return;
	spki = chain->certificates[0].sts.spki_sha256;
	if (!key_find(bench->published, STS_DANE_EE, false, spki))
		FIND(bench, PROBE_OBJECTION, "published-key", bench->host->name,
			"senders judge what they reach, not this gateway",
			key_find(bench->published, STS_DANE_EE, true, spki)
				? "the certificate that is shown is the gateway's next one, not "
				  "the one in use here"
				: "the certificate that is shown is not this gateway's: something "
				  "else answers, or stands in between");
}

/* Is there a record for the next certificate, where DANE is what senders go by? */
static void compare_next(const struct bench *bench)
{
	const struct probe_dane *dane = &bench->host->dane;
	bool next = false;

	for (size_t i = 0; i < bench->published->keys_n; i++)
		next |= bench->published->keys[i].next;
	if (!next || dane->state != PROBE_DANE_AUTHENTICATE)
		return;
	for (size_t i = 0; i < dane->n; i++) {
		const struct sts_tlsa *tlsa = &dane->records[i].tlsa;

		if (dane->records[i].use != STS_TLSA_USABLE)
			continue;
		if (tlsa->selector != STS_SELECT_SPKI || tlsa->matching != STS_MATCH_SHA256)
			return;
		/* An issuer's key that both certificates have is told as the present one's. */
		if (key_find(bench->published, tlsa->usage, true, tlsa->data) ||
			(tlsa->usage == STS_DANE_TA &&
				key_find(bench->published, STS_DANE_TA, false, tlsa->data)))
			return;
	}
	FIND(bench, PROBE_OBJECTION, "published-next", bench->host->name,
		"once it is in use, senders that obey DANE wait, then bounce",
		"no TLSA record below %s is for the next certificate", dane->base);
}

void probe_compare(struct probe_domain *domain, const struct probe_published *published)
{
	struct bench bench = {&domain->findings, domain, published, NULL};

	if (published->id == NULL) {
		FIND(&bench, PROBE_NOTE, "published-none", "", "nothing by this gateway's doing",
			"this gateway publishes no policy for the domain");
	} else {
		compare_record(&bench);
		compare_policy(&bench);
		compare_reports(&bench);
	}
	for (size_t i = 0; i < domain->hosts_n; i++)
		if (strcasecmp(domain->hosts[i].name, published->hostname) == 0)
			bench.host = &domain->hosts[i];
	if (bench.host == NULL && domain->hosts_n > 0)
		FIND(&bench, PROBE_NOTE, "published-no-mx", "",
			"the domain's mail does not come to that name",
			"this gateway's hostname %s is none of the domain's MXes",
			published->hostname);
	if (bench.host == NULL)
		return;
	compare_certificate(&bench);
	compare_next(&bench);
}
