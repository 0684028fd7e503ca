/* SPDX-License-Identifier: MIT */
/*
 * trust_note.c -- what became of the TLS that a domain asks for: the log, counters, and the counts for
 * TLS reports (RFC 8460 4.3).
 *
 * Each session with an MX is noted once: when its handshake is done, or when it is known that there is
 * none. A session without a policy is noted, too ("no-policy-found"): its domain may want reports all
 * the same. Attempts that come to no session (a host that must not be used, a policy that cannot be
 * fetched) are noted as failures of their own. Lost connections and refused greetings say nothing of
 * TLS and are not noted.
 *
 * The log has a line for each failure, and says whether mail went all the same.
 */
#include "relay/trust-private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

#define STRING_MAX (TLSRPT_TEXT_MAX + 16)

const char *const relay_trust_words[RELAY_TRUST_WORDS] = {
	[RELAY_TRUST_WORD_NONE] = "none",
	[RELAY_TRUST_WORD_OPPORTUNISTIC] = "opportunistic",
	[RELAY_TRUST_WORD_STS_TESTING] = "sts-testing",
	[RELAY_TRUST_WORD_STS] = "sts",
	[RELAY_TRUST_WORD_DANE] = "dane",
	[RELAY_TRUST_WORD_VERIFIED] = "verified",
};

enum relay_trust_word relay_trust_word(const struct relay_client *client)
{
	const struct relay_trust *trust = client->target.trust;

	if (!client->tls_up)
		return RELAY_TRUST_WORD_NONE;
	if (trust == NULL)
		return client->target.route->tls == ROUTE_TLS_VERIFY
			       ? RELAY_TRUST_WORD_VERIFIED
			       : RELAY_TRUST_WORD_OPPORTUNISTIC;
	switch (trust->kind) {
	case RELAY_TRUST_DANE:
		return RELAY_TRUST_WORD_DANE;
	case RELAY_TRUST_STS:
		return RELAY_TRUST_WORD_STS;
	case RELAY_TRUST_PKIX:
		return RELAY_TRUST_WORD_VERIFIED;
	case RELAY_TRUST_STS_TESTING:
		if (!trust->unlisted && tls_conn_verdict(client->tls) == TLS_VERDICT_GOOD)
			return RELAY_TRUST_WORD_STS_TESTING;
		break;
	default:
		break;
	}
	return RELAY_TRUST_WORD_OPPORTUNISTIC;
}

void relay_trust_opened(const struct relay_client *client)
{
	static const enum counter counters[RELAY_TRUST_WORDS] = {
		[RELAY_TRUST_WORD_NONE] = COUNTER_RELAY_TRUST_NONE,
		[RELAY_TRUST_WORD_OPPORTUNISTIC] = COUNTER_RELAY_TRUST_OPPORTUNISTIC,
		[RELAY_TRUST_WORD_STS_TESTING] = COUNTER_RELAY_TRUST_STS_TESTING,
		[RELAY_TRUST_WORD_STS] = COUNTER_RELAY_TRUST_STS,
		[RELAY_TRUST_WORD_DANE] = COUNTER_RELAY_TRUST_DANE,
		[RELAY_TRUST_WORD_VERIFIED] = COUNTER_RELAY_TRUST_VERIFIED,
	};

	if (client->target.trust != NULL)
		count(counters[relay_trust_word(client)]);
}

/* ---- a policy's words ---- */

/* The lines of a policy (RFC 8460 4.4), or its patterns. */
struct words {
	struct span strings[TLSRPT_STRINGS_MAX];
	size_t strings_n;
	char text[RELAY_RECORDS_MAX][STRING_MAX]; /* of TLSA records */
};

static void policy_lines(struct words *words, struct span text)
{
	while (text.n > 0 && words->strings_n < TLSRPT_STRINGS_MAX) {
		const uint8_t *end = memchr(text.p, '\n', text.n);
		struct span line = span_take(&text, end != NULL ? (size_t)(end - text.p) : text.n);

		span_take(&text, 1);
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n > 0)
			words->strings[words->strings_n++] = line;
	}
}

/* "3 1 1 0123..." (RFC 6698 2.2), long ones cut. */
static void tlsa_lines(struct words *words, const struct relay_trust *trust)
{
	for (uint32_t i = 0; i < trust->records_n && words->strings_n < TLSRPT_STRINGS_MAX; i++) {
		struct span record = trust->records[i];
		char *text = words->text[i];
		size_t n;

		if (record.n < 3)
			continue;
		n = (size_t)snprintf(
			text, STRING_MAX, "%u %u %u ", record.p[0], record.p[1], record.p[2]);
		span_take(&record, 3);
		for (; record.n > 0 && n + 2 < STRING_MAX; span_take(&record, 1), n += 2)
			(void)snprintf(text + n, STRING_MAX - n, "%02x", record.p[0]);
		words->strings[words->strings_n++] = span_of(text, n);
	}
}

static const char *address_text(const struct sockaddr_storage *address, char text[INET6_ADDRSTRLEN])
{
	const void *octets = &((const struct sockaddr_in *)address)->sin_addr;

	if (address->ss_family == AF_INET6)
		octets = &((const struct sockaddr_in6 *)address)->sin6_addr;
	if ((address->ss_family != AF_INET && address->ss_family != AF_INET6) ||
		inet_ntop(address->ss_family, octets, text, INET6_ADDRSTRLEN) == NULL)
		text[0] = '\0';
	return text;
}

/* ---- noting ---- */

struct noted {
	struct relay *relay;
	const char *domain, *host, *address, *sender;
	enum tlsrpt_policy kind;
	const struct stscache_policy *policy;
	const struct relay_trust *trust; /* NULL: no session */
	enum tlsrpt_result result;
	const char *reason;
	bool delivers; /* failed, and mail goes all the same */
};

static void report(const struct noted *noted)
{
	struct words words = {.strings_n = 0};
	struct tlsrpt_note note = {
		.domain = noted->domain,
		.policy = noted->kind,
		.policy_strings = words.strings,
		.result = noted->result,
		.sending_ip = noted->sender,
		.receiving_mx = noted->host,
		.receiving_ip = noted->address,
		.reason = noted->reason,
	};

	if (noted->relay->facts.tlsrpt == NULL)
		return;
	if (noted->policy != NULL) {
		policy_lines(&words, noted->policy->text);
		note.mx_patterns = noted->policy->policy.mx;
		note.mx_patterns_n = min_size(noted->policy->policy.mx_n, TLSRPT_MX_MAX);
	} else if (noted->trust != NULL) {
		tlsa_lines(&words, noted->trust);
	}
	note.policy_strings_n = words.strings_n;
	tlsrpt_count(noted->relay->facts.tlsrpt, &note);
}

static enum counter counter_of(enum tlsrpt_result result)
{
	switch (result) {
	case TLSRPT_STARTTLS_NOT_SUPPORTED:
		return COUNTER_RELAY_POLICY_STARTTLS;
	case TLSRPT_CERTIFICATE_HOST_MISMATCH:
	case TLSRPT_CERTIFICATE_EXPIRED:
	case TLSRPT_CERTIFICATE_NOT_TRUSTED:
		return COUNTER_RELAY_POLICY_CERTIFICATE;
	case TLSRPT_TLSA_INVALID:
		return COUNTER_RELAY_POLICY_TLSA;
	case TLSRPT_DNSSEC_INVALID:
		return COUNTER_RELAY_POLICY_DNSSEC;
	case TLSRPT_STS_POLICY_FETCH_ERROR:
	case TLSRPT_STS_POLICY_INVALID:
	case TLSRPT_STS_WEBPKI_INVALID:
		return COUNTER_RELAY_POLICY_FETCH;
	default:
		return COUNTER_RELAY_POLICY_OTHER;
	}
}

static void note_all(const struct noted *noted)
{
	static const char *const kinds[] = {
		[TLSRPT_NO_POLICY] = "none", [TLSRPT_STS] = "sts", [TLSRPT_TLSA] = "dane"};
	struct event event;

	report(noted);
	if (noted->result == TLSRPT_SUCCESS || noted->kind == TLSRPT_NO_POLICY)
		return;
	event_open(&event, counter_of(noted->result), "tls_policy_failed");
	event_str(&event, "domain", noted->domain);
	event_str(&event, "mx", noted->host);
	event_str(&event, "address", noted->address);
	event_str(&event, "policy", kinds[noted->kind]);
	if (noted->policy != NULL) {
		event_str(&event, "mode", sts_mode_text(noted->policy->policy.mode));
		event_str(&event, "id", noted->policy->id);
	}
	event_str(&event, "result", tlsrpt_result_text(noted->result));
	event_str(&event, "reason", noted->reason);
	event_str(&event, "mail", noted->delivers ? "goes" : "waits");
	event_close(&event);
}

static enum tlsrpt_policy kind_of(const struct relay_trust *trust)
{
	if (trust->policy != NULL)
		return TLSRPT_STS;
	return trust->kind == RELAY_TRUST_DANE || trust->kind == RELAY_TRUST_ENCRYPT
		       ? TLSRPT_TLSA
		       : TLSRPT_NO_POLICY;
}

void relay_trust_note(struct relay_client *client, enum tlsrpt_result result, const char *reason)
{
	const struct relay_trust *trust = client->target.trust;
	char address[INET6_ADDRSTRLEN], sender[INET6_ADDRSTRLEN] = "";
	struct sockaddr_storage own = {0};
	socklen_t own_n = sizeof(own);
	struct noted noted;

	if (trust == NULL || client->noted) /* a second try, in plaintext, is the same session */
		return;
	client->noted = true;
	if (trust->unlisted) { /* comes before all else (RFC 8461 4.1) */
		result = TLSRPT_VALIDATION_FAILURE;
		reason = "the policy does not list the MX";
	}
	if (client->fd >= 0 && getsockname(client->fd, (struct sockaddr *)&own, &own_n) == 0)
		(void)address_text(&own, sender);
	noted = (struct noted){
		.relay = client->relay,
		.domain = trust->domain,
		.host = trust->host,
		.address = address_text(&client->target.address, address),
		.sender = sender,
		.kind = kind_of(trust),
		.policy = trust->policy,
		.trust = trust,
		.result = result,
		.reason = reason,
		.delivers = relay_trust_tls(&client->target) == ROUTE_TLS_MAY ||
			    trust->kind == RELAY_TRUST_ENCRYPT,
	};
	note_all(&noted);
}

void relay_trust_note_handshake(struct relay_client *client, bool done)
{
	static const enum tlsrpt_result results[] = {
		[TLS_VERDICT_NAME] = TLSRPT_CERTIFICATE_HOST_MISMATCH,
		[TLS_VERDICT_EXPIRED] = TLSRPT_CERTIFICATE_EXPIRED,
		[TLS_VERDICT_UNTRUSTED] = TLSRPT_CERTIFICATE_NOT_TRUSTED,
		[TLS_VERDICT_NO_MATCH] = TLSRPT_VALIDATION_FAILURE,
		[TLS_VERDICT_OTHER] = TLSRPT_VALIDATION_FAILURE,
	};
	const struct relay_trust *trust = client->target.trust;
	enum tls_verdict verdict;

	if (trust == NULL)
		return;
	verdict = client->tls != NULL ? tls_conn_verdict(client->tls) : TLS_VERDICT_NONE;
	if (verdict != TLS_VERDICT_NONE && verdict != TLS_VERDICT_GOOD)
		relay_trust_note(client, results[verdict], tls_conn_verdict_text(client->tls));
	else if (!done)
		relay_trust_note(client, TLSRPT_VALIDATION_FAILURE,
			client->tls != NULL ? tls_conn_failure_text(client->tls) : "");
	else if (trust->kind == RELAY_TRUST_ENCRYPT)
		relay_trust_note(client, TLSRPT_TLSA_INVALID, "no TLSA record is usable");
	else
		relay_trust_note(client, TLSRPT_SUCCESS, "");
}

void relay_trust_note_host(struct relay *relay, const char *domain, const char *host,
	enum tlsrpt_policy kind, const struct stscache_policy *policy, enum tlsrpt_result result,
	const char *reason)
{
	const struct noted noted = {
		.relay = relay,
		.domain = domain,
		.host = host,
		.address = "",
		.sender = "",
		.kind = kind,
		.policy = policy,
		.result = result,
		.reason = reason,
		.delivers = host[0] == '\0' && policy == NULL && kind == TLSRPT_STS,
	};

	note_all(&noted);
}
