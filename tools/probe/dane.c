/* SPDX-License-Identifier: MIT */
/*
 * dane.c -- TLSA records for a host: whether they count, and what each says of the chain.
 *
 * Job: RFC 7672 2.2 on where to look (addresses that DNSSEC proves; the name behind a CNAME first,
 * if the whole way is proved; else the name itself, if its CNAME is), and 3.1, 3.2 on what is
 * enough: usage 3 matches the server's certificate whatever its dates and names are, usage 2 a
 * certificate that the chain leads to, in time and for the right name.
 * Non-goals: reading records and comparing octets: sts/sts.h does it.
 */
#include "tools/probe/probe.h"

#include <stdio.h>

#define NAMES_MAX 3

const char *probe_dane_state_text(enum probe_dane_state state)
{
	static const char *const texts[PROBE_DANE_STATES] = {
		[PROBE_DANE_UNASKED] = "not asked",
		[PROBE_DANE_INSECURE] = "does not apply",
		[PROBE_DANE_ABSENT] = "no records",
		[PROBE_DANE_FAILED] = "failed",
		[PROBE_DANE_ENCRYPT] = "no usable record",
		[PROBE_DANE_AUTHENTICATE] = "records",
	};

	ASSERT(state < PROBE_DANE_STATES);
	return texts[state];
}

const char *probe_tlsa_verdict_text(enum probe_tlsa_verdict verdict)
{
	static const char *const texts[PROBE_TLSA_VERDICTS] = {
		[PROBE_TLSA_UNTRIED] = "not compared",
		[PROBE_TLSA_UNUSABLE] = "not usable",
		[PROBE_TLSA_WEAKER] = "not looked at: a stronger digest stands beside it",
		[PROBE_TLSA_OTHER] = "matches nothing in the chain",
		[PROBE_TLSA_BROKEN] = "names an anchor that does not hold",
		[PROBE_TLSA_MATCH] = "matches",
	};

	ASSERT(verdict < PROBE_TLSA_VERDICTS);
	return texts[verdict];
}

/* ---- where to look ---- */

static bool inapplicable(struct probe_dane *dane, const char *why)
{
	dane->state = PROBE_DANE_INSECURE;
	snprintf(dane->why, sizeof(dane->why), "%s", why);
	return false;
}

static bool failed(struct probe_dane *dane, const char *what, const char *why)
{
	dane->state = PROBE_DANE_FAILED;
	snprintf(dane->why, sizeof(dane->why), "%s: %.200s", what, why);
	return false;
}

/* The answer that led to the addresses: one with records, if there is one. */
static const struct probe_answer *leading(const struct probe_answer addresses[2])
{
	return addresses[0].state == PROBE_DNS_FOUND || addresses[1].state != PROBE_DNS_FOUND
		       ? &addresses[0]
		       : &addresses[1];
}

/* May TLSA records be looked for below this name, which is an alias that DNSSEC does not prove to
 * its end? */
static bool alias_proved(struct probe_dns *dns, const char *host)
{
	struct probe_answer answer;
	bool proved;

	probe_dns_ask(dns, host, PROBE_CNAME, &answer);
	proved = answer.state == PROBE_DNS_FOUND && answer.secure;
	probe_answer_free(&answer);
	return proved;
}

/* True: names[0..*n-1] are where to look, in order. */
static bool bases_find(struct probe_dns *dns, const char *host, bool mx_secure,
	const struct probe_answer addresses[2], struct probe_dane *dane, const char *bases[2],
	size_t *n)
{
	const struct probe_answer *lead = leading(addresses);
	const char *why;

	*n = 0;
	if (!probe_dns_validates(dns, &why)) {
		snprintf(dane->why, sizeof(dane->why), "DNSSEC was not checked: %s", why);
		return false; /* not asked */
	}
	for (size_t i = 0; i < 2; i++)
		if (addresses[i].state == PROBE_DNS_BOGUS || addresses[i].state == PROBE_DNS_FAILED)
			return failed(dane, "the host's addresses", addresses[i].why);
	if (!mx_secure)
		return inapplicable(dane, "DNSSEC does not prove the MX record");
	if (lead->secure && lead->alias)
		bases[(*n)++] = lead->canonical;
	if (!lead->secure && !(lead->alias && alias_proved(dns, host)))
		return inapplicable(dane, "DNSSEC does not prove the host's addresses");
	bases[(*n)++] = host;
	return true;
}

static void records_read(struct probe_dane *dane)
{
	struct sts_tlsa_set set;

	dane->n = dane->answer.n;
	for (size_t i = 0; i < dane->n; i++) {
		struct probe_tlsa *record = &dane->records[i];

		record->octets = dane->answer.data[i];
		record->use = sts_tlsa_read(record->octets, &record->tlsa);
		record->verdict =
			record->use == STS_TLSA_USABLE ? PROBE_TLSA_UNTRIED : PROBE_TLSA_UNUSABLE;
	}
	dane->state = sts_tlsa_set_read(dane->answer.data, dane->n, &set) == STS_TLSA_AUTHENTICATE
			      ? PROBE_DANE_AUTHENTICATE
			      : PROBE_DANE_ENCRYPT;
}

void probe_dane_look(struct probe_dns *dns, const char *host, uint16_t port, bool mx_secure,
	const struct probe_answer addresses[2], struct probe_dane *dane)
{
	const char *bases[2];
	size_t n;

	memset(dane, 0, sizeof(*dane));
	if (!bases_find(dns, host, mx_secure, addresses, dane, bases, &n))
		return;
	dane->state = PROBE_DANE_ABSENT;
	for (size_t i = 0; i < n && dane->state == PROBE_DANE_ABSENT; i++) {
		char name[PROBE_NAME_MAX + 32];

		snprintf(dane->base, sizeof(dane->base), "%s", bases[i]);
		snprintf(name, sizeof(name), "_%u._tcp.%s", port, bases[i]);
		probe_dns_ask(dns, name, PROBE_TLSA, &dane->answer);
		if (dane->answer.state == PROBE_DNS_BOGUS || dane->answer.state == PROBE_DNS_FAILED)
			failed(dane, name, dane->answer.why);
		else if (dane->answer.state == PROBE_DNS_FOUND && dane->answer.secure)
			records_read(dane);
		else
			probe_answer_free(&dane->answer);
	}
}

/* ---- what they say ---- */

/* Is the record one that counts, with this set? */
static bool counts(const struct sts_tlsa_set *set, const struct probe_tlsa *record)
{
	for (uint32_t i = 0; i < set->n; i++)
		if (set->records[i].data.p == record->tlsa.data.p)
			return true;
	return false;
}

static void record_match(struct probe_tlsa *record, const struct probe_chain *chain,
	const char *const *names, size_t names_n)
{
	struct sts_certificate certificates[PROBE_CHAIN_MAX];
	struct sts_tlsa_set set;
	bool is_full = record->tlsa.matching == STS_MATCH_FULL;

	for (size_t i = 0; i < chain->n; i++)
		certificates[i] = chain->certificates[i].sts;
	(void)!sts_tlsa_set_read(&record->octets, 1, &set);
	record->verdict = PROBE_TLSA_MATCH;
	if (sts_tlsa_match_chain(&set, certificates, chain->n, &record->depth) != NULL) {
		if (record->tlsa.usage == STS_DANE_TA)
			record->why = probe_chain_anchored(chain, record->depth, names, names_n);
	} else if (record->tlsa.usage == STS_DANE_TA && is_full) {
		record->depth = chain->n;
		record->why = probe_chain_anchored_by(chain, record->tlsa.data,
			record->tlsa.selector == STS_SELECT_SPKI, names, names_n);
	} else {
		record->verdict = PROBE_TLSA_OTHER;
	}
	if (record->why != NULL)
		record->verdict = PROBE_TLSA_BROKEN;
}

void probe_dane_match(struct probe_dane *dane, const struct probe_chain *chain, const char *host,
	const char *domain)
{
	const char *names[NAMES_MAX];
	struct sts_tlsa_set set;
	size_t names_n = 0;

	if (chain->n == 0 || dane->state != PROBE_DANE_AUTHENTICATE)
		return;
	names[names_n++] = dane->base;
	names[names_n++] = host;
	if (domain != NULL)
		names[names_n++] = domain;
	(void)!sts_tlsa_set_read(dane->answer.data, dane->n, &set);
	for (size_t i = 0; i < dane->n; i++) {
		struct probe_tlsa *record = &dane->records[i];

		record->why = NULL;
		if (record->use != STS_TLSA_USABLE)
			continue;
		if (!counts(&set, record)) {
			record->verdict = PROBE_TLSA_WEAKER;
			continue;
		}
		record_match(record, chain, names, names_n);
		dane->matched |= record->verdict == PROBE_TLSA_MATCH;
	}
}

void probe_dane_free(struct probe_dane *dane)
{
	probe_answer_free(&dane->answer);
	dane->n = 0;
}
