/* SPDX-License-Identifier: MIT */
/*
 * How far a client's connection checks its server: any certificate, telling, chain and name, TLSA records
 * (RFC 7671, RFC 7672 3); and what it says of those that it does not like. The server is our own.
 */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define MUST(cond) cr_assert((cond), "%s:%d: %s", __FILE__, __LINE__, #cond)

/* ---- certificates ---- */

struct made {
	X509 *x509;
	EVP_PKEY *key;
};

static void add_extension(X509 *x509, int nid, const char *text)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, text);

	MUST(extension != NULL && X509_add_ext(x509, extension, -1) == 1);
	X509_EXTENSION_free(extension);
}

/* issuer NULL: by itself; san NULL: a CA. Valid from 9 days ago for so many days from now. */
static struct made make(const char *cn, const struct made *issuer, const char *san, int days)
{
	struct made made = {.x509 = X509_new(), .key = EVP_EC_gen("P-256")};
	const struct made *above = issuer != NULL ? issuer : &made;
	X509_NAME *subject = X509_get_subject_name(made.x509);
	static long serial = 1;

	MUST(X509_set_version(made.x509, 2) && X509_set_pubkey(made.x509, made.key));
	MUST(ASN1_INTEGER_set(X509_get_serialNumber(made.x509), serial++));
	MUST(X509_gmtime_adj(X509_getm_notBefore(made.x509), -86400L * 9) != NULL);
	MUST(X509_gmtime_adj(X509_getm_notAfter(made.x509), 86400L * days) != NULL);
	MUST(X509_NAME_add_entry_by_txt(
		subject, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0));
	MUST(X509_set_issuer_name(made.x509, X509_get_subject_name(above->x509)));
	if (san == NULL)
		add_extension(made.x509, NID_basic_constraints, "critical,CA:TRUE");
	else if (*san != '\0')
		add_extension(made.x509, NID_subject_alt_name, san);
	MUST(X509_sign(made.x509, above->key, EVP_sha256()) > 0);
	return made;
}

/* NAME.crt, the chain from the leaf on, and NAME.key. */
static void save(const char *name, const struct made *leaf, const struct made *above)
{
	char file_name[64];
	FILE *file;

	snprintf(file_name, sizeof(file_name), "%s.crt", name);
	file = fopen(rig_path(file_name), "w");
	MUST(file != NULL && PEM_write_X509(file, leaf->x509));
	if (above != NULL)
		MUST(PEM_write_X509(file, above->x509));
	fclose(file);
	snprintf(file_name, sizeof(file_name), "%s.key", name);
	file = fopen(rig_path(file_name), "w");
	MUST(file != NULL && PEM_write_PrivateKey(file, leaf->key, NULL, NULL, 0, NULL, NULL));
	fclose(file);
}

enum server {
	RIGHT,   /* CA -> mx.example.org, with the CA in its chain */
	ALONE,   /* the same leaf without the CA */
	OTHER,   /* CA -> elsewhere.example.org */
	DOMAIN,  /* CA -> example.org */
	OLD,     /* CA -> mx.example.org, expired */
	SELF,    /* by itself, expired, for another name */
	COMMON,  /* CA -> mx.example.org by its common name only */
	WILD,    /* CA -> *.example.org */
	STRANGE, /* another CA -> mx.example.org */
	SERVERS
};

static struct {
	struct made ca, strange_ca;
	struct made leaf[SERVERS];
	struct tls_context *context[SERVERS];
	struct tls_client *client;
} world;

static const struct {
	const char *name, *cn, *san;
	bool self, strange, alone;
	int days;
} servers[SERVERS] = {
	[RIGHT] = {"right", "mx", "DNS:mx.example.org", .days = 30},
	[ALONE] = {"alone", "mx", "DNS:mx.example.org", .alone = true, .days = 30},
	[OTHER] = {"other", "mx.example.org", "DNS:elsewhere.example.org", .days = 30},
	[DOMAIN] = {"domain", "mx", "DNS:example.org", .days = 30},
	[OLD] = {"old", "mx", "DNS:mx.example.org", .days = -2},
	[SELF] = {"self", "self", "DNS:elsewhere.example.org", .self = true, .days = -2},
	[COMMON] = {"common", "mx.example.org", "", .days = 30},
	[WILD] = {"wild", "mx", "DNS:*.example.org", .days = 30},
	[STRANGE] = {"strange", "mx", "DNS:mx.example.org", .strange = true, .days = 30},
};

static void world_open(void)
{
	struct err err = {0};

	world.ca = make("CA", NULL, NULL, 30);
	world.strange_ca = make("Strange CA", NULL, NULL, 30);
	save("ca", &world.ca, NULL);
	for (int i = 0; i < SERVERS; i++) {
		const struct made *above = servers[i].self      ? NULL
					   : servers[i].strange ? &world.strange_ca
								: &world.ca;

		world.leaf[i] = make(servers[i].cn, above, servers[i].san, servers[i].days);
		save(servers[i].name, &world.leaf[i], servers[i].alone ? NULL : above);
		world.context[i] = rig_server(servers[i].name, KTLS_MODE_OFF);
	}
	cr_assert(tls_client_open(
			  &world.client, rig_path("ca.crt"), true, NULL, KTLS_MODE_OFF, &err) == 0,
		"%s", err.text);
}

static void made_free(struct made *made)
{
	X509_free(made->x509);
	EVP_PKEY_free(made->key);
}

static void world_close(void)
{
	for (int i = 0; i < SERVERS; i++) {
		made_free(&world.leaf[i]);
		tls_context_release(world.context[i]);
	}
	made_free(&world.ca);
	made_free(&world.strange_ca);
	tls_client_release(world.client);
}

TestSuite(client_peer, .init = world_open, .fini = world_close);

/* ---- a handshake ---- */

static enum tls_step handshake(struct tls_conn *client, struct tls_conn *server)
{
	static uint8_t up_bytes[RIG_BYTES_MAX], down_bytes[RIG_BYTES_MAX];
	enum tls_step client_step = TLS_STEP_MORE, server_step = TLS_STEP_MORE;
	struct buf up, down;

	buf_init(&up, up_bytes, sizeof(up_bytes));
	buf_init(&down, down_bytes, sizeof(down_bytes));
	for (int turns = 0; turns < 2000 && client_step == TLS_STEP_MORE; turns++) {
		struct span in = buf_span(&down);
		size_t n = in.n;

		client_step = tls_conn_handshake(client, &in, &up);
		buf_drop(&down, n - in.n);
		while (server_step == TLS_STEP_MORE && buf_len(&up) > 0) {
			struct span take = span_of(
				buf_span(&up).p, min_size(buf_len(&up), tls_conn_want(server)));

			n = take.n;
			server_step = tls_conn_handshake(server, &take, &down);
			buf_drop(&up, n - take.n);
		}
	}
	return client_step;
}

/* ---- TLSA records ---- */

enum data { RIGHT_DATA, WRONG_DATA, SHORT_DATA };

struct tlsa {
	uint8_t usage, selector, matching;
	enum data data;
	bool given;
};

#define TLSA(usage, selector, matching)                                                            \
	{                                                                                          \
		usage, selector, matching, RIGHT_DATA, true                                        \
	}
#define TLSA_WRONG(usage, selector, matching)                                                      \
	{                                                                                          \
		usage, selector, matching, WRONG_DATA, true                                        \
	}

static uint8_t tlsa_bytes[4][4096];

static struct tls_tlsa tlsa_make(const struct tlsa *tlsa, enum server server, int at)
{
	const struct made *above = servers[server].strange ? &world.strange_ca : &world.ca;
	const X509 *x509 = tlsa->usage == 2 ? above->x509 : world.leaf[server].x509;
	uint8_t *der = NULL, *out = tlsa_bytes[at];
	unsigned n;
	int der_n = tlsa->selector == 0 ? i2d_X509(x509, &der)
					: i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der);

	MUST(der_n > 0 && der_n <= (int)sizeof(tlsa_bytes[0]));
	n = (unsigned)der_n;
	if (tlsa->matching == 0)
		memcpy(out, der, n);
	else
		MUST(EVP_Digest(der, n, out, &n, tlsa->matching == 1 ? EVP_sha256() : EVP_sha512(),
			     NULL) == 1);
	OPENSSL_free(der);
	if (tlsa->data == WRONG_DATA)
		out[n - 1] ^= 1;
	return (struct tls_tlsa){tlsa->usage, tlsa->selector, tlsa->matching,
		span_of(out, tlsa->data == SHORT_DATA ? 5 : n)};
}

/* ---- rows ---- */

static const struct {
	const char *title;
	enum tls_check check;
	enum server server;
	struct tlsa tlsa[3];
	bool good; /* the handshake */
	enum tls_verdict verdict;
} rows[] = {
	{"any", TLS_CHECK_NONE, SELF, {}, true, TLS_VERDICT_NONE},
	{"tell, right", TLS_CHECK_TELL, RIGHT, {}, true, TLS_VERDICT_GOOD},
	{"tell, other name", TLS_CHECK_TELL, OTHER, {}, true, TLS_VERDICT_NAME},
	{"tell, expired", TLS_CHECK_TELL, OLD, {}, true, TLS_VERDICT_EXPIRED},
	{"tell, self-signed", TLS_CHECK_TELL, SELF, {}, true, TLS_VERDICT_UNTRUSTED},
	{"tell, a stranger's", TLS_CHECK_TELL, STRANGE, {}, true, TLS_VERDICT_UNTRUSTED},
	{"pkix, right", TLS_CHECK_PKIX, RIGHT, {}, true, TLS_VERDICT_GOOD},
	{"pkix, without the CA", TLS_CHECK_PKIX, ALONE, {}, true, TLS_VERDICT_GOOD},
	{"pkix, wildcard", TLS_CHECK_PKIX, WILD, {}, true, TLS_VERDICT_GOOD},
	{"pkix, other name", TLS_CHECK_PKIX, OTHER, {}, false, TLS_VERDICT_NAME},
	{"pkix, common name", TLS_CHECK_PKIX, COMMON, {}, false, TLS_VERDICT_NAME},
	{"pkix, the domain's name", TLS_CHECK_PKIX, DOMAIN, {}, false, TLS_VERDICT_NAME},
	{"pkix, expired", TLS_CHECK_PKIX, OLD, {}, false, TLS_VERDICT_EXPIRED},
	{"pkix, self-signed", TLS_CHECK_PKIX, SELF, {}, false, TLS_VERDICT_UNTRUSTED},
	{"pkix, a stranger's", TLS_CHECK_PKIX, STRANGE, {}, false, TLS_VERDICT_UNTRUSTED},
	/* RFC 7672 3.1.1: neither names nor dates nor issuers */
	{"3 1 1", TLS_CHECK_DANE, SELF, {TLSA(3, 1, 1)}, true, TLS_VERDICT_GOOD},
	{"3 1 0", TLS_CHECK_DANE, SELF, {TLSA(3, 1, 0)}, true, TLS_VERDICT_GOOD},
	{"3 1 2", TLS_CHECK_DANE, SELF, {TLSA(3, 1, 2)}, true, TLS_VERDICT_GOOD},
	{"3 0 0", TLS_CHECK_DANE, SELF, {TLSA(3, 0, 0)}, true, TLS_VERDICT_GOOD},
	{"3 0 1", TLS_CHECK_DANE, SELF, {TLSA(3, 0, 1)}, true, TLS_VERDICT_GOOD},
	{"3 0 2", TLS_CHECK_DANE, SELF, {TLSA(3, 0, 2)}, true, TLS_VERDICT_GOOD},
	{"3 1 1 wrong", TLS_CHECK_DANE, RIGHT, {TLSA_WRONG(3, 1, 1)}, false, TLS_VERDICT_NO_MATCH},
	{"wrong and right", TLS_CHECK_DANE, SELF, {TLSA_WRONG(3, 1, 1), TLSA(3, 0, 1)}, true,
		TLS_VERDICT_GOOD},
	/* RFC 7672 3.1.2, 3.2.2: chain, dates, name */
	{"2 1 1", TLS_CHECK_DANE, RIGHT, {TLSA(2, 1, 1)}, true, TLS_VERDICT_GOOD},
	{"2 0 1", TLS_CHECK_DANE, RIGHT, {TLSA(2, 0, 1)}, true, TLS_VERDICT_GOOD},
	{"2 0 2", TLS_CHECK_DANE, RIGHT, {TLSA(2, 0, 2)}, true, TLS_VERDICT_GOOD},
	{"2 0 0, a CA that nobody knows", TLS_CHECK_DANE, STRANGE, {TLSA(2, 0, 0)}, true,
		TLS_VERDICT_GOOD},
	{"2 0 0, not in the chain", TLS_CHECK_DANE, ALONE, {TLSA(2, 0, 0)}, true, TLS_VERDICT_GOOD},
	{"2 1 0, not in the chain", TLS_CHECK_DANE, ALONE, {TLSA(2, 1, 0)}, true, TLS_VERDICT_GOOD},
	{"2 1 1, not in the chain", TLS_CHECK_DANE, ALONE, {TLSA(2, 1, 1)}, false,
		TLS_VERDICT_NO_MATCH},
	{"2 1 1, the domain's name", TLS_CHECK_DANE, DOMAIN, {TLSA(2, 1, 1)}, true,
		TLS_VERDICT_GOOD},
	{"2 1 1, other name", TLS_CHECK_DANE, OTHER, {TLSA(2, 1, 1)}, false, TLS_VERDICT_NAME},
	{"2 1 1, expired", TLS_CHECK_DANE, OLD, {TLSA(2, 1, 1)}, false, TLS_VERDICT_EXPIRED},
	{"2 1 1 wrong: our CAs do not count", TLS_CHECK_DANE, RIGHT, {TLSA_WRONG(2, 1, 1)}, false,
		TLS_VERDICT_NO_MATCH},
	{"2 1 1 wrong, 3 1 1 right", TLS_CHECK_DANE, OLD, {TLSA_WRONG(2, 1, 1), TLSA(3, 1, 1)},
		true, TLS_VERDICT_GOOD},
};

static void row_play(size_t i)
{
	struct tls_tlsa records[3];
	struct tls_client_peer peer = {.check = rows[i].check,
		.name = "MX.example.org.",
		.other_name = "example.org",
		.tlsa = records};
	struct tls_conn *client, *server;
	enum tls_step step;

	while (peer.tlsa_n < 3 && rows[i].tlsa[peer.tlsa_n].given) {
		records[peer.tlsa_n] =
			tlsa_make(&rows[i].tlsa[peer.tlsa_n], rows[i].server, (int)peer.tlsa_n);
		peer.tlsa_n++;
	}
	client = tls_client_conn_to(world.client, NULL, KTLS_MODE_OFF, &peer);
	server = tls_conn_open(world.context[rows[i].server], NULL, KTLS_MODE_OFF);
	cr_assert(client != NULL && server != NULL, "%s", rows[i].title);
	cr_expect(tls_conn_verdict(client) == TLS_VERDICT_NONE);
	step = handshake(client, server);
	cr_expect(step == (rows[i].good ? TLS_STEP_DONE : TLS_STEP_FAIL), "%s: %d %s",
		rows[i].title, step, tls_conn_failure_text(client));
	cr_expect(tls_conn_verdict(client) == rows[i].verdict, "%s: %d %s", rows[i].title,
		tls_conn_verdict(client), tls_conn_verdict_text(client));
	cr_expect((*tls_conn_verdict_text(client) != '\0') == (rows[i].verdict > TLS_VERDICT_GOOD),
		"%s", rows[i].title);
	if (!rows[i].good)
		cr_expect(tls_conn_failure(client) == TLS_FAILURE_CERTIFICATE, "%s", rows[i].title);
	cr_expect_str_eq(server->info.sni, "mx.example.org", "%s", rows[i].title);
	tls_conn_close(client);
	tls_conn_close(server);
}

Test(client_peer, every_check_and_certificate)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		row_play(i);
}

Test(client_peer, nothing_to_compare_with)
{
	static const struct tlsa unusable[] = {
		{3, 1, 1, SHORT_DATA, true}, {3, 9, 1, RIGHT_DATA, true}};
	struct tls_tlsa record;
	struct tls_client_peer peer = {
		.check = TLS_CHECK_DANE, .name = "mx.example.org", .tlsa = &record};

	cr_expect(
		tls_client_conn_to(world.client, NULL, KTLS_MODE_OFF, &peer) == NULL, "no record");
	peer.tlsa_n = 1;
	for (size_t i = 0; i < COUNT_OF(unusable); i++) {
		record = tlsa_make(&unusable[i], RIGHT, 0);
		cr_expect(tls_client_conn_to(world.client, NULL, KTLS_MODE_OFF, &peer) == NULL,
			"unusable record %zu", i);
	}
	peer.name = "192.0.2.1";
	cr_expect(tls_client_conn_to(world.client, NULL, KTLS_MODE_OFF, &peer) == NULL,
		"DANE needs a name");
	peer = (struct tls_client_peer){.check = TLS_CHECK_PKIX, .name = ""};
	cr_expect(tls_client_conn_to(world.client, NULL, KTLS_MODE_OFF, &peer) == NULL, "no name");
}

/* What one connection asks for is not the next one's. */
Test(client_peer, checks_are_a_connections_own)
{
	static const enum tls_check checks[] = {
		TLS_CHECK_PKIX, TLS_CHECK_NONE, TLS_CHECK_PKIX, TLS_CHECK_TELL, TLS_CHECK_PKIX};

	for (size_t i = 0; i < COUNT_OF(checks); i++) {
		const struct tls_client_peer peer = {.check = checks[i], .name = "mx.example.org"};
		struct tls_conn *client =
			tls_client_conn_to(world.client, NULL, KTLS_MODE_OFF, &peer);
		struct tls_conn *server = tls_conn_open(world.context[OTHER], NULL, KTLS_MODE_OFF);

		MUST(client != NULL && server != NULL);
		cr_expect(handshake(client, server) ==
			  (checks[i] == TLS_CHECK_PKIX ? TLS_STEP_FAIL : TLS_STEP_DONE));
		tls_conn_close(client);
		tls_conn_close(server);
	}
}
