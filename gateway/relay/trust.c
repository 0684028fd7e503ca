/* SPDX-License-Identifier: MIT */
/*
 * trust.c -- how an MX has to be known before mail goes to it: DANE, then MTA-STS, then nothing.
 *
 *	MX secure, addresses secure, TLSA secure:
 *		some record usable		DANE		RFC 7672 2.2, 3.1
 *		none usable			ENCRYPT		RFC 7672 2.2
 *	TLSA bogus or not answered		not this host	RFC 7672 2.1.2
 *	else, policy enforce, host listed	STS		RFC 8461 4.1, 4.2
 *	      policy enforce, not listed	not this host	RFC 8461 4.1
 *	      policy testing			STS_TESTING	RFC 8461 5
 *	      none				OPPORTUNISTIC	RFC 7435
 *
 * Where DANE applies to a host, MTA-STS has no say about it (RFC 8461 2). TLSA records are asked for
 * only where the addresses are secure: name servers that fail at them are then not asked (RFC 7672
 * 2.1.2). An alias is looked for at its end first, then at its own name; one whose end is insecure at
 * its own name only, if that much is secure (RFC 7672 2.2.2).
 *
 * A message with REQUIRETLS needs an authenticated host: DANE; or one that DNSSEC or the policy names,
 * and its certificate (RFC 8689 4.2.1). If nothing vouches for the name it is returned.
 *
 * A decision is a link's and lives as long, at most RELAY_TRUST_MS_MAX; the domain's policy is asked for
 * once a dial, at the first host that DANE says nothing of. Nothing is remembered here: DNS answers
 * are libunbound's to keep, policies stscache/'s.
 *
 * Non-goals: routes without tls = policy, address literals.
 */
#include "relay/trust-private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "relay/schedule-private.h"

/* ---- decisions ---- */

struct relay_trust *relay_trust_hold(struct relay_trust *trust)
{
	if (trust != NULL)
		trust->holders_n++;
	return trust;
}

void relay_trust_release(struct relay_trust *trust)
{
	if (trust == NULL || --trust->holders_n > 0)
		return;
	stscache_policy_release(trust->policy);
	free(trust);
}

enum route_tls relay_trust_tls(const struct relay_target *target)
{
	enum route_tls tls = target->route->tls;

	if (target->trust == NULL)
		return tls == ROUTE_TLS_POLICY ? ROUTE_TLS_MAY : tls;
	if (target->trust->requiretls)
		return ROUTE_TLS_REQUIRE;
	return target->trust->kind <= RELAY_TRUST_STS_TESTING ? ROUTE_TLS_MAY : ROUTE_TLS_REQUIRE;
}

const char *relay_trust_name(const struct relay_trust *trust, char text[RELAY_REPLY_MAX])
{
	const struct stscache_policy *policy = trust->policy;

	if (trust->requiretls)
		(void)snprintf(text, RELAY_REPLY_MAX, "REQUIRETLS");
	else if (policy != NULL)
		(void)snprintf(text, RELAY_REPLY_MAX, "the MTA-STS policy of %s (%s, id %s)",
			trust->domain, sts_mode_text(policy->policy.mode), policy->id);
	else if (trust->kind == RELAY_TRUST_DANE || trust->kind == RELAY_TRUST_ENCRYPT)
		(void)snprintf(text, RELAY_REPLY_MAX, "DANE for %s", trust->base);
	else
		(void)snprintf(text, RELAY_REPLY_MAX, "no policy");
	return text;
}

struct tls_conn *relay_trust_conn(const struct relay_client *client)
{
	static const enum tls_check checks[RELAY_TRUST_KINDS] = {
		[RELAY_TRUST_OPPORTUNISTIC] = TLS_CHECK_NONE,
		[RELAY_TRUST_STS_TESTING] = TLS_CHECK_TELL,
		[RELAY_TRUST_STS] = TLS_CHECK_PKIX,
		[RELAY_TRUST_ENCRYPT] = TLS_CHECK_NONE,
		[RELAY_TRUST_DANE] = TLS_CHECK_DANE,
		[RELAY_TRUST_PKIX] = TLS_CHECK_PKIX,
	};
	const struct relay_target *target = &client->target;
	const struct relay_trust *trust = target->trust;
	const struct tls_kernel *kernel = client->relay->facts.kernel;
	enum ktls_mode mode = client->relay->settings->ktls;
	struct tls_tlsa records[STS_TLSA_MAX];
	struct tls_client_peer peer;

	if (trust == NULL && target->route->tls == ROUTE_TLS_POLICY) { /* no policy counts */
		peer = (struct tls_client_peer){.check = TLS_CHECK_NONE, .name = target->host};
		return tls_client_conn_to(target->tls, kernel, mode, &peer);
	}
	if (trust == NULL)
		return tls_client_conn_open(target->tls, kernel, mode,
			target->route->tls_name != NULL ? target->route->tls_name : target->host);
	peer = (struct tls_client_peer){.check = checks[trust->kind], .name = trust->base};
	if (trust->kind == RELAY_TRUST_DANE) {
		for (uint32_t i = 0; i < trust->tlsa.n; i++)
			records[i] = (struct tls_tlsa){.usage = trust->tlsa.records[i].usage,
				.selector = trust->tlsa.records[i].selector,
				.matching = trust->tlsa.records[i].matching,
				.data = trust->tlsa.records[i].data};
		peer.other_name = trust->domain;
		peer.tlsa = records;
		peer.tlsa_n = trust->tlsa.n;
	}
	return tls_client_conn_to(target->tls, kernel, mode, &peer);
}

/* With room for so many octets of records. NULL, and an outcome: no memory. */
static struct relay_trust *trust_new(
	struct relay_trusting *trusting, enum relay_trust_kind kind, size_t octets_n)
{
	struct relay_trust *trust = calloc(1, sizeof(*trust) + octets_n);

	if (trust == NULL) {
		relay_outcome_make(&trusting->outcome, RELAY_RESULT_LATER, "4.3.0",
			"no memory for a connection");
		return NULL;
	}
	trust->holders_n = 1;
	trust->kind = kind;
	trust->requiretls = trusting->requiretls;
	(void)snprintf(trust->domain, sizeof(trust->domain), "%s", trusting->domain);
	(void)snprintf(trust->host, sizeof(trust->host), "%s", trusting->host);
	(void)snprintf(trust->base, sizeof(trust->base), "%s", trusting->host);
	trusting->trust = trust;
	return trust;
}

static void refuse(struct relay_trusting *trusting, const char *text)
{
	relay_outcome_make(&trusting->outcome, RELAY_RESULT_LATER, "4.7.5", text);
	count(COUNTER_RELAY_POLICY_REFUSED);
	if (!trusting->requiretls)
		return;
	relay_outcome_make(&trusting->outcome, RELAY_RESULT_NEVER, "5.7.30", text);
	trusting->outcome.code = 550;
	trusting->outcome.local = true;
}

/* ---- by the domain's policy ---- */

static const struct stscache_policy *policy_of(const struct relay_trusting *trusting)
{
	const struct stscache_question *question = &trusting->sts.question;

	return trusting->sts_known && question->outcome == STSCACHE_POLICY ? question->policy
									   : NULL;
}

static void by_nothing(struct relay_trusting *trusting)
{
	if (!trusting->requiretls) {
		(void)trust_new(trusting, RELAY_TRUST_OPPORTUNISTIC, 0);
		return;
	}
	if (trusting->mx_secure) {
		(void)trust_new(trusting, RELAY_TRUST_PKIX, 0);
		return;
	}
	refuse(trusting, "REQUIRETLS: neither DNSSEC nor an MTA-STS policy vouches for the MX");
	if (trusting->sts_known && trusting->sts.question.trouble != STSCACHE_FINE)
		relay_outcome_make(&trusting->outcome, RELAY_RESULT_LATER, "4.7.5",
			"REQUIRETLS: the domain's MTA-STS policy cannot be had");
}

static void by_policy(struct relay_trusting *trusting)
{
	const struct stscache_policy *policy = policy_of(trusting);
	bool enforce, listed;
	struct relay_trust *trust;
	char text[RELAY_REPLY_MAX];

	if (policy == NULL) {
		by_nothing(trusting);
		return;
	}
	enforce = policy->policy.mode == STS_MODE_ENFORCE;
	listed = sts_policy_has_mx(&policy->policy, span_str(trusting->host));
	if (!listed && enforce) {
		(void)snprintf(text, sizeof(text),
			"%.200s is not an MX that the MTA-STS policy of %.200s (enforce, id %s) "
			"allows",
			trusting->host, trusting->domain, policy->id);
		refuse(trusting, text);
		relay_trust_note_host(trusting->relay, trusting->domain, trusting->host, TLSRPT_STS,
			policy, TLSRPT_VALIDATION_FAILURE, "the policy does not list the MX");
		return;
	}
	if (!listed && trusting->requiretls) {
		by_nothing(trusting);
		return;
	}
	trust = trust_new(trusting,
		enforce || trusting->requiretls ? RELAY_TRUST_STS : RELAY_TRUST_STS_TESTING, 0);
	if (trust == NULL)
		return;
	trust->unlisted = !listed;
	trust->policy = stscache_policy_hold(trusting->sts.question.policy);
}

/* No policy, or no new one, for a reason that its owner should hear of (RFC 8460 4.3.2.2). */
static void trouble_note(const struct relay_trusting *trusting)
{
	static const enum tlsrpt_result results[] = {
		[STSCACHE_FETCH_ERROR] = TLSRPT_STS_POLICY_FETCH_ERROR,
		[STSCACHE_WEBPKI] = TLSRPT_STS_WEBPKI_INVALID,
		[STSCACHE_INVALID] = TLSRPT_STS_POLICY_INVALID,
	};
	const struct stscache_question *question = &trusting->sts.question;

	if (question->trouble != STSCACHE_FINE)
		relay_trust_note_host(trusting->relay, trusting->domain, "", TLSRPT_STS,
			policy_of(trusting), results[question->trouble], question->why);
}

static void sts_done(struct relay_sts *sts)
{
	struct relay_trusting *trusting = container_of(sts, struct relay_trusting, sts);

	trusting->sts_asking = false;
	trusting->sts_known = true;
	trouble_note(trusting);
	by_policy(trusting);
	trusting->done(trusting);
}

/* DANE does not apply. True: decided. */
static bool without_dane(struct relay_trusting *trusting)
{
	struct relay *relay = trusting->relay;

	if (!trusting->sts_known && relay->settings->sts && relay->policies != NULL &&
		strlen(trusting->domain) <= STS_NAME_MAX) {
		trusting->sts_asking = true;
		trusting->sts.done = sts_done;
		relay_sts_ask(relay, &trusting->sts, trusting->domain, false);
		return false;
	}
	by_policy(trusting);
	return true;
}

/* ---- DANE ---- */

/* False: memory is short, or nothing comes of the records. */
static bool by_records(struct relay_trusting *trusting)
{
	const struct relay_lookup *lookup = &trusting->lookup;
	struct relay_trust *trust;
	size_t n = 0;

	for (uint32_t i = 0; i < lookup->records_n; i++)
		n += lookup->records[i].n;
	trust = trust_new(trusting, RELAY_TRUST_DANE, n);
	if (trust == NULL)
		return false;
	n = 0;
	for (uint32_t i = 0; i < lookup->records_n; i++) {
		struct span from = lookup->records[i];

		if (from.n > 0)
			memcpy(trust->octets + n, from.p, from.n);
		trust->records[i] = span_of(trust->octets + n, from.n);
		n += from.n;
	}
	trust->records_n = lookup->records_n;
	if (sts_tlsa_set_read(trust->records, trust->records_n, &trust->tlsa) !=
		STS_TLSA_AUTHENTICATE)
		trust->kind = RELAY_TRUST_ENCRYPT;
	(void)snprintf(trust->base, sizeof(trust->base), "%s", trusting->base);
	return true;
}

static void tlsa_ask(struct relay_trusting *trusting, const char *base);

static void dns_failed(struct relay_trusting *trusting, const char *what)
{
	const struct relay_lookup *lookup = &trusting->lookup;
	const char *why = lookup->bogus ? lookup->why : "no answer";
	char text[RELAY_REPLY_MAX];

	(void)snprintf(text, sizeof(text), "DANE: the %s of %.200s cannot be had: %.200s", what,
		trusting->base, why);
	relay_outcome_make(&trusting->outcome, RELAY_RESULT_LATER, "4.7.5", text);
	count(COUNTER_RELAY_POLICY_REFUSED);
	relay_trust_note_host(trusting->relay, trusting->domain, trusting->host, TLSRPT_TLSA, NULL,
		TLSRPT_DNSSEC_INVALID, why);
}

/* True: decided. */
static bool tlsa_answered(struct relay_trusting *trusting, int res)
{
	if (res == -EAGAIN) {
		dns_failed(trusting, "TLSA records");
		return true;
	}
	if (res == 0 && trusting->lookup.secure) {
		if (!by_records(trusting))
			return true;
		if (!trusting->requiretls || trusting->trust->kind == RELAY_TRUST_DANE)
			return true;
		relay_trust_release(trusting->trust); /* nobody would be authenticated */
		trusting->trust = NULL;
		return without_dane(trusting);
	}
	if (!trusting->original) {
		trusting->original = true;
		tlsa_ask(trusting, trusting->host);
		return false;
	}
	return without_dane(trusting);
}

static void tlsa_done(struct relay_lookup *lookup, int res)
{
	struct relay_trusting *trusting = container_of(lookup, struct relay_trusting, lookup);

	trusting->looking = false;
	if (tlsa_answered(trusting, res))
		trusting->done(trusting);
}

static void tlsa_ask(struct relay_trusting *trusting, const char *base)
{
	char name[RELAY_HOST_MAX + 16];

	if (base != trusting->base)
		(void)snprintf(trusting->base, sizeof(trusting->base), "%s", base);
	(void)snprintf(name, sizeof(name), "_%u._tcp.%s", trusting->port, trusting->base);
	trusting->looking = true;
	trusting->lookup.done = tlsa_done;
	relay_resolve_tlsa(trusting->relay->resolver, &trusting->lookup, name);
}

/* The alias leads out of what is secure: is it itself? */
static void alias_done(struct relay_lookup *lookup, int res)
{
	struct relay_trusting *trusting = container_of(lookup, struct relay_trusting, lookup);
	bool decided = true;

	trusting->looking = false;
	if (res == -EAGAIN) {
		dns_failed(trusting, "CNAME record");
	} else if (res == 0 && lookup->secure) {
		trusting->original = true;
		tlsa_ask(trusting, trusting->base);
		decided = false;
	} else {
		decided = without_dane(trusting);
	}
	if (decided)
		trusting->done(trusting);
}

/* ---- asking ---- */

bool relay_trusting_host(
	struct relay_trusting *trusting, const char *host, const char *canonical, bool secure)
{
	bool alias = canonical[0] != '\0';
	struct relay *relay = trusting->relay;

	trusting->trust = NULL;
	(void)snprintf(trusting->host, sizeof(trusting->host), "%s", host);
	(void)snprintf(trusting->base, sizeof(trusting->base), "%s", host);
	if (!relay->settings->dane || !trusting->mx_secure || (!secure && !alias))
		return without_dane(trusting);
	if (secure) {
		trusting->original = !alias;
		tlsa_ask(trusting, alias ? canonical : trusting->base);
		return false;
	}
	trusting->looking = true;
	trusting->lookup.done = alias_done;
	relay_resolve_cname(relay->resolver, &trusting->lookup, trusting->host);
	return false;
}

bool relay_trusting_busy(const struct relay_trusting *trusting)
{
	return trusting->looking || trusting->sts_asking;
}

void relay_trusting_cancel(struct relay_trusting *trusting)
{
	if (trusting->looking)
		relay_resolve_cancel(trusting->relay->resolver, &trusting->lookup);
	if (trusting->sts_asking)
		relay_sts_cancel(&trusting->sts);
	trusting->looking = trusting->sts_asking = false;
}

void relay_trusting_close(struct relay_trusting *trusting)
{
	ASSERT(!relay_trusting_busy(trusting));
	if (trusting->sts_known)
		stscache_policy_release(trusting->sts.question.policy);
	trusting->sts_known = false;
	relay_trust_release(trusting->trust);
	trusting->trust = NULL;
}
