/* SPDX-License-Identifier: MIT */
/*
 * client_trust.c -- what a connection does for each way in which an MX may have to be known: with hops
 * that offer TLS, that do not, whose certificate is right and wrong; REQUIRETLS. The server is OpenSSL's,
 * its certificate self-signed for mx.example.org.
 */
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "relay/trust-private.h"
#include "tests/unit/relay/dial.h"

#define EHLO_TLS                                                                                   \
	"accept", "> 220 mx", "< EHLO me.example.net", "> 250-mx", "> 250-PIPELINING",             \
		"> 250 STARTTLS"
#define EHLO_CLEAR "accept", "> 220 mx", "< EHLO me.example.net", "> 250-mx", "> 250 PIPELINING"
#define AGAIN      "< EHLO me.example.net", "> 250-mx", "> 250 PIPELINING"
#define AGAIN_RT   "< EHLO me.example.net", "> 250-mx", "> 250-PIPELINING", "> 250 REQUIRETLS"
#define UPGRADE    "< STARTTLS", "quiet", "> 220 go", "tls"
#define REFUSED    EHLO_TLS, "< STARTTLS", "> 220 go", "tls fails", "gone"
#define LETTER_RT                                                                                  \
	"< MAIL FROM:<a@b> REQUIRETLS", "< RCPT TO:<r0@b>", "< DATA", "> 250 ok", "> 250 ok",      \
		"> 354 go", "data", "> 250 ok"
#define LETTER                                                                                     \
	"< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "< DATA", "> 250 ok", "> 250 ok", "> 354 go",     \
		"data", "> 250 ok"
#define QUIT "< QUIT", "> 221 bye", "eof"

/* The record of the server's certificate, or another one. */
enum { NO_RECORD, RECORD, WRONG_RECORD };

#define MISMATCH "other.example.org"
#define NAMED    "mx.example.org"

static const struct {
	const char *title;
	enum relay_trust_kind kind;
	const char *base;
	int record;
	enum relay_result result;
	const char *trust; /* of the job, or a part of the outcome's text */
	const char *script[40];
} rows[] = {
	{"opportunistic, offered", RELAY_TRUST_OPPORTUNISTIC, MISMATCH, NO_RECORD,
		RELAY_RESULT_DONE, "opportunistic", {EHLO_TLS, UPGRADE, AGAIN, LETTER, QUIT}},
	{"opportunistic, not offered", RELAY_TRUST_OPPORTUNISTIC, NAMED, NO_RECORD,
		RELAY_RESULT_DONE, "none", {EHLO_CLEAR, LETTER, QUIT}},
	{"opportunistic, broken", RELAY_TRUST_OPPORTUNISTIC, NAMED, NO_RECORD, RELAY_RESULT_DONE,
		"none", {EHLO_TLS, "< STARTTLS", "> 220 go", "close", EHLO_TLS, LETTER, QUIT}},
	{"testing, right", RELAY_TRUST_STS_TESTING, NAMED, NO_RECORD, RELAY_RESULT_DONE,
		"sts-testing", {EHLO_TLS, UPGRADE, AGAIN, LETTER, QUIT}},
	{"testing, another name", RELAY_TRUST_STS_TESTING, MISMATCH, NO_RECORD, RELAY_RESULT_DONE,
		"opportunistic", {EHLO_TLS, UPGRADE, AGAIN, LETTER, QUIT}},
	{"testing, not offered", RELAY_TRUST_STS_TESTING, NAMED, NO_RECORD, RELAY_RESULT_DONE,
		"none", {EHLO_CLEAR, LETTER, QUIT}},
	{"enforce, right", RELAY_TRUST_STS, NAMED, NO_RECORD, RELAY_RESULT_DONE, "sts",
		{EHLO_TLS, UPGRADE, AGAIN, LETTER, QUIT}},
	{"enforce, another name", RELAY_TRUST_STS, MISMATCH, NO_RECORD, RELAY_RESULT_LATER,
		"the MTA-STS policy of example.org (enforce, id 7): TLS handshake failed",
		{REFUSED}},
	{"enforce, not offered", RELAY_TRUST_STS, NAMED, NO_RECORD, RELAY_RESULT_LATER,
		"id 7) requires TLS, and the next hop does not offer STARTTLS",
		{EHLO_CLEAR, "eof"}},
	{"enforce, refused", RELAY_TRUST_STS, NAMED, NO_RECORD, RELAY_RESULT_LATER,
		"refuses STARTTLS for now", {EHLO_TLS, "< STARTTLS", "> 454 no", "eof"}},
	{"enforce, injected", RELAY_TRUST_STS, NAMED, NO_RECORD, RELAY_RESULT_LATER, "injected",
		{EHLO_TLS, "< STARTTLS", ">> 220 go\r\n250 hi\r\n", "gone"}},
	{"DANE, right, another name", RELAY_TRUST_DANE, MISMATCH, RECORD, RELAY_RESULT_DONE, "dane",
		{EHLO_TLS, UPGRADE, AGAIN, LETTER, QUIT}},
	{"DANE, wrong", RELAY_TRUST_DANE, NAMED, WRONG_RECORD, RELAY_RESULT_LATER,
		"DANE for mx.example.org: TLS handshake failed", {REFUSED}},
	{"DANE, not offered", RELAY_TRUST_DANE, NAMED, RECORD, RELAY_RESULT_LATER,
		"DANE for mx.example.org requires TLS", {EHLO_CLEAR, "eof"}},
	{"encrypt, another name", RELAY_TRUST_ENCRYPT, MISMATCH, NO_RECORD, RELAY_RESULT_DONE,
		"opportunistic", {EHLO_TLS, UPGRADE, AGAIN, LETTER, QUIT}},
	{"encrypt, not offered", RELAY_TRUST_ENCRYPT, NAMED, NO_RECORD, RELAY_RESULT_LATER,
		"DANE for mx.example.org requires TLS", {EHLO_CLEAR, "eof"}},
};

static struct stscache_policy *policy;
static uint8_t digest[3 + 32] = {3, 1, 1};

static void record_make(bool right)
{
	FILE *file = fopen(peer_certificate_file(), "r");
	X509 *x509 = PEM_read_X509(file, NULL, NULL, NULL);
	uint8_t *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der);

	cr_assert(n > 0 && EVP_Digest(der, (size_t)n, digest + 3, NULL, EVP_sha256(), NULL) == 1);
	if (!right)
		digest[9] ^= 1;
	OPENSSL_free(der);
	X509_free(x509);
	fclose(file);
}

static struct relay_trust *trust_make(enum relay_trust_kind kind, const char *base, int record)
{
	struct relay_trust *trust = calloc(1, sizeof(*trust));

	cr_assert(trust != NULL);
	trust->holders_n = 1;
	trust->kind = kind;
	snprintf(trust->domain, sizeof(trust->domain), "example.org");
	snprintf(trust->host, sizeof(trust->host), "%s", base);
	snprintf(trust->base, sizeof(trust->base), "%s", base);
	if (kind == RELAY_TRUST_STS || kind == RELAY_TRUST_STS_TESTING) {
		policy = calloc(1, sizeof(*policy) + 64); /* never given back to the cache */
		policy->policy.mode = kind == RELAY_TRUST_STS ? STS_MODE_ENFORCE : STS_MODE_TESTING;
		snprintf(policy->id, sizeof(policy->id), "7");
		trust->policy = policy;
	}
	if (record == NO_RECORD)
		return trust;
	record_make(record == RECORD);
	trust->records[trust->records_n++] = span_of(digest, sizeof(digest));
	cr_assert(sts_tlsa_set_read(trust->records, 1, &trust->tlsa) == STS_TLSA_AUTHENTICATE);
	return trust;
}

static void prepare(const char *const *script, struct relay_trust *trust)
{
	struct err err = {0};

	closed_n = 0;
	dial_prepare(script, false, false);
	route.tls = ROUTE_TLS_POLICY;
	target.trust = trust;
	cr_assert(tls_client_open(&target.tls, peer_certificate_file(), true, NULL, KTLS_MODE_OFF,
			  &err) == 0,
		"%s", err.text);
}

static void finish(void)
{
	struct relay_trust *trust = target.trust;

	if (client != NULL && relay_client_state(client) == RELAY_CLIENT_READY)
		relay_client_quit(client);
	dial_close();
	tls_client_release(target.tls);
	target.trust = NULL;
	cr_expect(trust->holders_n == 1, "the connection's hold is gone");
	trust->policy = NULL;
	free(policy);
	policy = NULL;
	relay_trust_release(trust);
}

static void row_play(size_t i)
{
	struct letter letter;
	bool taken = rows[i].result == RELAY_RESULT_DONE;

	prepare(rows[i].script, trust_make(rows[i].kind, rows[i].base, rows[i].record));
	dial();
	letter_init(&letter, 1);
	relay_client_give(client, &letter.job);
	letter_wait(&letter);
	cr_expect(letter.outcomes[0].result == rows[i].result, "%s: %s", rows[i].title,
		letter.outcomes[0].text);
	if (taken)
		cr_expect_str_eq(letter.job.trust, rows[i].trust, "%s", rows[i].title);
	else
		cr_expect(strstr(letter.outcomes[0].text, rows[i].trust) != NULL &&
				  strcmp(letter.outcomes[0].enhanced, "4.7.5") == 0,
			"%s: %s %s", rows[i].title, letter.outcomes[0].enhanced,
			letter.outcomes[0].text);
	finish();
}

Test(client_trust, kinds_and_next_hops, .timeout = DIAL_LIMIT_S)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		row_play(i);
	cr_expect_eq(counter_sum(COUNTER_RELAY_TRUST_NONE), 3);
	cr_expect_eq(counter_sum(COUNTER_RELAY_TRUST_OPPORTUNISTIC), 3);
	cr_expect_eq(counter_sum(COUNTER_RELAY_TRUST_STS_TESTING), 1);
	cr_expect_eq(counter_sum(COUNTER_RELAY_TRUST_STS), 1);
	cr_expect_eq(counter_sum(COUNTER_RELAY_TRUST_DANE), 1);
	/* in testing not offered, other name; enforce four times, DANE and ENCRYPT once or twice */
	cr_expect_eq(counter_sum(COUNTER_RELAY_POLICY_STARTTLS), 5);
	cr_expect_eq(counter_sum(COUNTER_RELAY_POLICY_CERTIFICATE), 2);
	cr_expect_eq(counter_sum(COUNTER_RELAY_POLICY_TLSA), 1);
	cr_expect_eq(counter_sum(COUNTER_RELAY_POLICY_OTHER), 2, "injected, no record matches");
}

/* ---- REQUIRETLS (RFC 8689) ---- */

static const struct {
	const char *title;
	enum relay_trust_kind kind;
	const char *base;
	int record;
	enum relay_result result;
	const char *enhanced;
	const char *trust;
	const char *script[40];
} required[] = {
	{"by name", RELAY_TRUST_PKIX, NAMED, NO_RECORD, RELAY_RESULT_DONE, "", "verified",
		{EHLO_TLS, UPGRADE, AGAIN_RT, LETTER_RT, QUIT}},
	{"by DANE", RELAY_TRUST_DANE, MISMATCH, RECORD, RELAY_RESULT_DONE, "", "dane",
		{EHLO_TLS, UPGRADE, AGAIN_RT, LETTER_RT, QUIT}},
	{"by policy", RELAY_TRUST_STS, NAMED, NO_RECORD, RELAY_RESULT_DONE, "", "sts",
		{EHLO_TLS, UPGRADE, AGAIN_RT, LETTER_RT, QUIT}},
	{"no REQUIRETLS", RELAY_TRUST_DANE, MISMATCH, RECORD, RELAY_RESULT_NEVER, "5.7.30",
		"does not offer", {EHLO_TLS, UPGRADE, AGAIN, "gone"}},
	{"REQUIRETLS in clear only", RELAY_TRUST_DANE, MISMATCH, RECORD, RELAY_RESULT_NEVER,
		"5.7.30", "does not offer",
		{"accept", "> 220 mx", "< EHLO me.example.net", "> 250-mx", "> 250-REQUIRETLS",
			"> 250 STARTTLS", UPGRADE, AGAIN, "gone"}},
	{"no STARTTLS", RELAY_TRUST_PKIX, NAMED, NO_RECORD, RELAY_RESULT_NEVER, "5.7.30",
		"REQUIRETLS requires TLS", {EHLO_CLEAR, "eof"}},
	{"STARTTLS not now", RELAY_TRUST_PKIX, NAMED, NO_RECORD, RELAY_RESULT_LATER, "4.7.5",
		"for now", {EHLO_TLS, "< STARTTLS", "> 454 no", "eof"}},
	{"another name", RELAY_TRUST_PKIX, MISMATCH, NO_RECORD, RELAY_RESULT_NEVER, "5.7.30",
		"TLS handshake failed", {REFUSED}},
	{"another key", RELAY_TRUST_DANE, NAMED, WRONG_RECORD, RELAY_RESULT_NEVER, "5.7.30",
		"TLS handshake failed", {REFUSED}},
	{"lost in the handshake", RELAY_TRUST_PKIX, NAMED, NO_RECORD, RELAY_RESULT_LATER, "4.7.5",
		"closed", {EHLO_TLS, "< STARTTLS", "> 220 go", "skip", "close"}},
};

static void required_play(size_t i)
{
	struct relay_trust *trust =
		trust_make(required[i].kind, required[i].base, required[i].record);
	struct letter letter;

	trust->requiretls = true;
	prepare(required[i].script, trust);
	dial();
	letter_init(&letter, 1);
	letter.envelope.requiretls = true;
	relay_client_give(client, &letter.job);
	letter_wait(&letter);
	cr_expect(letter.outcomes[0].result == required[i].result, "%s: %s", required[i].title,
		letter.outcomes[0].text);
	if (required[i].result == RELAY_RESULT_DONE) {
		cr_expect_str_eq(letter.job.trust, required[i].trust, "%s", required[i].title);
	} else {
		cr_expect(strstr(letter.outcomes[0].text, required[i].trust) != NULL, "%s: %s",
			required[i].title, letter.outcomes[0].text);
		cr_expect_str_eq(letter.outcomes[0].enhanced, required[i].enhanced);
		cr_expect_eq(letter.outcomes[0].code,
			required[i].result == RELAY_RESULT_NEVER ? 550 : 0);
	}
	finish();
}

Test(client_trust, requiretls, .timeout = DIAL_LIMIT_S)
{
	for (size_t i = 0; i < COUNT_OF(required); i++)
		required_play(i);
}

/* Where the operator wrote the next hop down, the parameter goes where it is offered under TLS. */
Test(client_trust, requiretls_inside, .timeout = DIAL_LIMIT_S)
{
	static const struct {
		enum route_tls tls;
		const char *script[40];
	} inside[] = {
		{ROUTE_TLS_MAY, {EHLO_TLS, UPGRADE, AGAIN_RT, LETTER_RT, QUIT}},
		{ROUTE_TLS_MAY, {EHLO_TLS, UPGRADE, AGAIN, LETTER, QUIT}},
		{ROUTE_TLS_MAY, {EHLO_CLEAR, LETTER, QUIT}},
		{ROUTE_TLS_NONE, {"accept", "> 220 mx", "< EHLO me.example.net", "> 250-mx",
					 "> 250-PIPELINING", "> 250 REQUIRETLS", LETTER, QUIT}},
	};
	struct err err = {0};
	struct letter letter;

	for (size_t i = 0; i < COUNT_OF(inside); i++) {
		closed_n = 0;
		dial_prepare(inside[i].script, false, false);
		route.tls = inside[i].tls;
		cr_assert(tls_client_open(&target.tls, peer_certificate_file(), false, NULL,
				  KTLS_MODE_OFF, &err) == 0);
		dial();
		letter_init(&letter, 1);
		letter.envelope.requiretls = true;
		relay_client_give(client, &letter.job);
		letter_wait(&letter);
		cr_expect(letter.outcomes[0].result == RELAY_RESULT_DONE, "%zu: %s", i,
			letter.outcomes[0].text);
		relay_client_quit(client);
		dial_close();
		tls_client_release(target.tls);
	}
}
