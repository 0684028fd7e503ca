/* SPDX-License-Identifier: MIT */
/* The client's side against our own server's side: handshakes, whom it trusts, data both ways, and
 * the keys that it plants. */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>
#include <linux/tls.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/counter.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#define FD  99 /* never touched */
#define BIG 200000

#define MUST(cond) cr_assert((cond), "%s:%d: %s", __FILE__, __LINE__, #cond)

/* ---- certificates with names in them ---- */

static void add_extension(X509 *x509, int nid, const char *text)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, text);

	MUST(extension != NULL && X509_add_ext(x509, extension, -1) == 1);
	X509_EXTENSION_free(extension);
}

/* NAME.crt and NAME.key, EC; issuer NULL: by itself; san NULL: a CA. */
static void issue(const char *name, const char *issuer, const char *san, int days)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	EVP_PKEY *signer = issuer != NULL ? rig_key_read(issuer) : key;
	X509 *above = issuer != NULL ? rig_certificate_read(issuer) : NULL;
	X509 *x509 = X509_new();
	X509_NAME *subject;
	char file_name[64];
	FILE *file;

	MUST(X509_set_version(x509, 2) && X509_set_pubkey(x509, key));
	MUST(ASN1_INTEGER_set(X509_get_serialNumber(x509), 7));
	MUST(X509_gmtime_adj(X509_getm_notBefore(x509), -86400L * 9) != NULL);
	MUST(X509_gmtime_adj(X509_getm_notAfter(x509), 86400L * days) != NULL);
	subject = X509_get_subject_name(x509);
	MUST(X509_NAME_add_entry_by_txt(
		subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0));
	MUST(X509_set_issuer_name(x509, above != NULL ? X509_get_subject_name(above) : subject));
	if (san != NULL)
		add_extension(x509, NID_subject_alt_name, san);
	else
		add_extension(x509, NID_basic_constraints, "critical,CA:TRUE");
	MUST(X509_sign(x509, signer, EVP_sha256()) > 0);
	snprintf(file_name, sizeof(file_name), "%s.crt", name);
	file = fopen(rig_path(file_name), "w");
	MUST(file != NULL && PEM_write_X509(file, x509) && fclose(file) == 0);
	snprintf(file_name, sizeof(file_name), "%s.key", name);
	file = fopen(rig_path(file_name), "w");
	MUST(file != NULL && PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
	MUST(fclose(file) == 0);
	if (above != NULL)
		EVP_PKEY_free(signer);
	EVP_PKEY_free(key);
	X509_free(above);
	X509_free(x509);
}

static struct tls_context *server_both_keys(void)
{
	struct rig_settings settings;

	rig_settings(&settings);
	rig_certificate("rsa", RIG_RSA, 30, 0, 0);
	rig_settings_add(&settings, "rsa", NULL);
	return rig_context(&settings);
}

static struct tls_client *client_of(const char *ca, bool verify)
{
	struct tls_client *client;
	struct err err = {0};

	cr_assert(tls_client_open(&client, ca != NULL ? rig_path(ca) : NULL, verify,
			  &rig_kernel_all, KTLS_MODE_ALWAYS, &err) == 0,
		"%s", err.text);
	return client;
}

/* ---- the two and the wire between them ---- */

static struct {
	struct tls_conn *client, *server;
	struct wire up, down;
	enum tls_step client_step, server_step;
	size_t chunk; /* octets the client gets at once; 0: what there is */
} pair;

static uint8_t out_bytes[2 * TLS_FLIGHT_MAX];

static void to_wire(struct wire *wire, const struct buf *out)
{
	MUST(wire->end + buf_len(out) <= RIG_BYTES_MAX);
	memcpy(wire->p + wire->end, buf_span(out).p, buf_len(out));
	wire->end += buf_len(out);
}

static struct span from_wire(struct wire *wire, size_t n)
{
	struct span bytes = span_of(wire->p + wire->start, min_size(n, wire->end - wire->start));

	wire->start += bytes.n;
	return bytes;
}

static void client_shake(void)
{
	struct span in = from_wire(&pair.down, pair.chunk > 0 ? pair.chunk : RIG_BYTES_MAX);
	struct buf out;

	cr_assert(tls_conn_want(pair.client) > TLS_RECORD_MAX, "boundaries do not matter to it");
	buf_init(&out, out_bytes, sizeof(out_bytes));
	pair.client_step = tls_conn_handshake(pair.client, &in, &out);
	if (pair.client_step == TLS_STEP_MORE)
		cr_assert(in.n == 0);
	pair.down.start -= in.n;
	to_wire(&pair.up, &out);
}

static void server_shake(void)
{
	struct span in = from_wire(&pair.up, tls_conn_want(pair.server));
	struct buf out;

	buf_init(&out, out_bytes, sizeof(out_bytes));
	if (in.n > 0)
		pair.server_step = tls_conn_handshake(pair.server, &in, &out);
	to_wire(&pair.down, &out);
}

static void pair_open(struct tls_client *client, struct tls_context *server,
	const struct tls_kernel *kernel, const char *name)
{
	memset(&pair, 0, sizeof(pair));
	pair.client_step = pair.server_step = TLS_STEP_MORE;
	pair.client = tls_client_conn_open(client, kernel, KTLS_MODE_ALWAYS, name);
	pair.server = tls_conn_open(server, &rig_kernel_all, KTLS_MODE_ALWAYS);
	MUST(pair.client != NULL && pair.server != NULL);
}

static enum tls_step pair_shake(void)
{
	for (int turns = 0; turns < 20000; turns++) {
		if (pair.client_step == TLS_STEP_MORE)
			client_shake();
		if (pair.server_step == TLS_STEP_MORE)
			server_shake();
		if (pair.client_step != TLS_STEP_MORE &&
			(pair.server_step != TLS_STEP_MORE || pair.up.start == pair.up.end))
			break;
	}
	return pair.client_step;
}

static void pair_close(void)
{
	tls_conn_close(pair.client);
	tls_conn_close(pair.server);
}

static void only_suite(const struct rig_suite *suite)
{
	SSL *ssl = pair.client->ssl;

	MUST(SSL_set_min_proto_version(ssl, suite->version) &&
		SSL_set_max_proto_version(ssl, suite->version));
	if (suite->version == TLS1_3_VERSION)
		MUST(SSL_set_ciphersuites(ssl, suite->name));
	else
		MUST(SSL_set_cipher_list(ssl, suite->name));
}

/* Moves plaintext from one to the other in user space; all of it must arrive. */
static void move(
	struct tls_conn *from, struct tls_conn *to, struct wire *wire, const void *text, size_t n)
{
	static uint8_t got[BIG];
	static uint8_t spare[4096];
	struct span plain = span_of(text, n);
	size_t at = 0;
	struct buf out;

	MUST(n <= sizeof(got));
	while (plain.n > 0) {
		size_t before = plain.n;

		buf_init(&out, out_bytes, sizeof(out_bytes));
		MUST(tls_conn_write(from, &plain, &out) == TLS_IO_OK && plain.n < before);
		to_wire(wire, &out);
		buf_init(&out, spare, sizeof(spare));
		while (wire->start < wire->end) {
			struct span in = from_wire(wire, tls_conn_want(to));
			enum tls_io io;
			size_t part;

			do {
				io = tls_conn_read(to, &in, got + at, n + 1 - at, &part, &out);
				at += part;
			} while (io == TLS_IO_OK && at < n);
			MUST(io == TLS_IO_MORE || io == TLS_IO_OK);
			wire->start -= in.n;
		}
		wire->start = wire->end = 0;
	}
	cr_assert_eq(at, n);
	cr_assert(memcmp(got, text, n) == 0);
}

static void client_says(const char *text)
{
	move(pair.client, pair.server, &pair.up, text, strlen(text));
}

static void server_says(const char *text)
{
	move(pair.server, pair.client, &pair.down, text, strlen(text));
}

/* ---- the handshake and data ---- */

Test(client, every_suite_and_version_in_every_chunking)
{
	static const size_t chunks[] = {0, 1, 7};
	struct tls_context *server = server_both_keys();
	struct tls_client *client = client_of(NULL, false);

	for (size_t i = 0; i < rig_suites_n; i++) {
		for (size_t k = 0; k < COUNT_OF(chunks); k++) {
			const struct tls_info *info;

			pair_open(client, server, &rig_kernel_all, "MX.example.org.");
			only_suite(&rig_suites[i]);
			pair.chunk = chunks[k];
			cr_assert(pair_shake() == TLS_STEP_DONE, "%s: %s", rig_suites[i].name,
				tls_conn_failure_text(pair.client));
			cr_assert(pair.server_step == TLS_STEP_DONE);
			info = tls_conn_info(pair.client);
			cr_assert_str_eq(info->cipher, rig_suites[i].iana);
			cr_assert_str_eq(info->version,
				rig_suites[i].version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2");
			cr_assert_str_eq(info->group, "X25519");
			cr_assert_str_eq(info->sni, "mx.example.org");
			cr_assert_str_eq(info->client, "");
			cr_assert_str_eq(tls_conn_info(pair.server)->sni, "mx.example.org");
			server_says("220 hello\r\n"); /* behind a ticket in TLS 1.3 */
			client_says("EHLO x\r\n");
			server_says("250 hello x\r\n");
			pair_close();
		}
	}
	tls_client_release(client);
	tls_context_release(server);
}

Test(client, the_table_decides_without_more_ado)
{
	struct tls_context *server = server_both_keys();
	struct tls_client *client = client_of(NULL, false);

	pair_open(client, server, NULL, "192.0.2.1");
	cr_assert(pair_shake() == TLS_STEP_DONE);
	cr_assert_str_eq(tls_conn_info(pair.client)->cipher, "TLS_AES_128_GCM_SHA256");
	cr_assert_str_eq(tls_conn_info(pair.client)->sni, "");
	cr_assert_str_eq(tls_conn_info(pair.server)->sni, "", "no SNI for an address");
	cr_assert(tls_conn_ktls_wanted(pair.client) == 0);
	pair_close();
	tls_client_release(client);
	tls_context_release(server);
}

Test(client, big_writes_both_ways)
{
	static uint8_t big[BIG - 1];
	struct tls_context *server = server_both_keys();
	struct tls_client *client = client_of(NULL, false);

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 31 >> 3);
	for (size_t i = 0; i < rig_suites_n; i += 3) {
		pair_open(client, server, NULL, "mx.example.org");
		only_suite(&rig_suites[i]);
		cr_assert(pair_shake() == TLS_STEP_DONE);
		move(pair.client, pair.server, &pair.up, big, sizeof(big));
		move(pair.server, pair.client, &pair.down, big, sizeof(big));
		pair_close();
	}
	tls_client_release(client);
	tls_context_release(server);
}

/* What stands behind the server's Finished in the same read is kept for tls_conn_read(). */
Test(client, octets_behind_the_servers_finished_are_left)
{
	struct tls_context *server = server_both_keys();
	struct tls_client *client = client_of(NULL, false);
	struct span greeting = span_str("220 hello\r\n");
	uint8_t got[64];
	struct span in;
	struct buf out;
	size_t n;

	pair_open(client, server, NULL, "mx.example.org");
	only_suite(&rig_suites[3]); /* TLS 1.2: the server speaks last */
	while (pair.server_step == TLS_STEP_MORE) {
		client_shake();
		server_shake();
	}
	cr_assert(pair.client_step == TLS_STEP_MORE);
	buf_init(&out, out_bytes, sizeof(out_bytes));
	cr_assert(tls_conn_write(pair.server, &greeting, &out) == TLS_IO_OK);
	to_wire(&pair.down, &out);
	in = from_wire(&pair.down, RIG_BYTES_MAX);
	buf_init(&out, out_bytes, sizeof(out_bytes));
	cr_assert(tls_conn_handshake(pair.client, &in, &out) == TLS_STEP_DONE);
	cr_assert(in.n > 11);
	cr_assert(tls_conn_read(pair.client, &in, got, sizeof(got), &n, &out) == TLS_IO_OK);
	cr_assert(n == 11 && memcmp(got, "220 hello\r\n", 11) == 0);
	cr_assert(tls_conn_read(pair.client, &in, got, sizeof(got), &n, &out) == TLS_IO_MORE);
	pair_close();
	tls_client_release(client);
	tls_context_release(server);
}

Test(client, close_notify_both_ways)
{
	struct tls_context *server = server_both_keys();
	struct tls_client *client = client_of(NULL, false);
	uint8_t got[8];
	struct span in;
	struct buf out;
	size_t n;

	pair_open(client, server, NULL, "mx.example.org");
	cr_assert(pair_shake() == TLS_STEP_DONE);
	buf_init(&out, out_bytes, sizeof(out_bytes));
	tls_conn_shutdown(pair.client, &out);
	in = buf_span(&out);
	in.n = min_size(in.n, tls_conn_want(pair.server));
	cr_assert(tls_conn_read(pair.server, &in, got, 8, &n, &out) == TLS_IO_MORE);
	in = span_of(out_bytes + 5, buf_len(&out) - 5);
	cr_assert(tls_conn_read(pair.server, &in, got, 8, &n, &out) == TLS_IO_EOF);
	buf_clear(&out);
	tls_conn_shutdown(pair.server, &out);
	to_wire(&pair.down, &out);
	in = from_wire(&pair.down, RIG_BYTES_MAX);
	cr_assert(tls_conn_read(pair.client, &in, got, 8, &n, &out) == TLS_IO_EOF);
	pair_close();
	tls_client_release(client);
	tls_context_release(server);
}

/* ---- whom it trusts ---- */

Test(client, certificates_are_judged)
{
	enum { GOOD, BAD };
	static const struct {
		const char *server, *ca, *name;
		bool verify;
		int result;
		const char *text;
	} cases[] = {
		{"mx", "ca.crt", "mx.example.org", true, GOOD, ""},
		{"mx", "ca.crt", "MX.Example.Org.", true, GOOD, ""},
		{"mx", "ca.crt", "a.pool.example.org", true, GOOD, ""},
		{"mx", "mx.crt", "mx.example.org", true, GOOD, ""}, /* pinned itself */
		{"mx", "ca.crt", "192.0.2.1", true, GOOD, ""},
		{"mx", "ca.crt", "2001:db8::1", true, GOOD, ""},
		{"mx", "ca.crt", "mx2.example.org", true, BAD, "hostname mismatch"},
		{"mx", "ca.crt", "a.b.pool.example.org", true, BAD, "hostname mismatch"},
		{"mx", "ca.crt", "pool.example.org", true, BAD, "hostname mismatch"},
		{"mx", "ca.crt", "host1.part.example.org", true, BAD, "hostname mismatch"},
		{"mx", "ca.crt", "192.0.2.2", true, BAD, "IP address mismatch"},
		{"mx", "other.crt", "mx.example.org", true, BAD,
			"unable to get local issuer certificate"},
		{"old", "ca.crt", "mx.example.org", true, BAD, "certificate has expired"},
		{"self", "ca.crt", "mx.example.org", true, BAD, "self-signed certificate"},
		{"self", NULL, "elsewhere.example.org", false, GOOD, ""},
		{"old", NULL, "mx.example.org", false, GOOD, ""},
		{"old", "other.crt", "", false, GOOD, ""},
	};

	issue("ca", NULL, NULL, 30);
	issue("other", NULL, NULL, 30);
	issue("mx", "ca",
		"DNS:mx.example.org,DNS:*.pool.example.org,DNS:host*.part.example.org,"
		"IP:192.0.2.1,IP:2001:db8::1",
		30);
	issue("old", "ca", "DNS:mx.example.org", -1);
	issue("self", NULL, "DNS:mx.example.org", 30);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
			struct tls_context *server = rig_server(cases[i].server, KTLS_MODE_ALWAYS);
			struct tls_client *client = client_of(cases[i].ca, cases[i].verify);
			char text[128];

			pair_open(client, server, &rig_kernel_all, cases[i].name);
			MUST(SSL_set_max_proto_version(pair.client->ssl, version));
			cr_assert_eq(pair_shake(),
				cases[i].result == GOOD ? TLS_STEP_DONE : TLS_STEP_FAIL,
				"case %zu: %s", i, tls_conn_failure_text(pair.client));
			snprintf(text, sizeof(text), "%s%s",
				cases[i].result == BAD ? "certificate verify failed: " : "",
				cases[i].text);
			cr_assert_str_eq(tls_conn_failure_text(pair.client), text, "case %zu: %s",
				i, tls_conn_failure_text(pair.client));
			cr_assert_eq(tls_conn_failure(pair.client),
				cases[i].result == BAD ? TLS_FAILURE_CERTIFICATE
						       : TLS_FAILURE_NONE);
			/* The server hears of it by an alert. */
			if (cases[i].result == BAD && version == TLS1_2_VERSION) {
				cr_assert(pair.server_step == TLS_STEP_FAIL);
				cr_assert(tls_conn_failure(pair.server) == TLS_FAILURE_ALERT);
			}
			cr_assert(ERR_peek_error() == 0);
			pair_close();
			tls_client_release(client);
			tls_context_release(server);
		}
	}
}

Test(client, names_that_compare_nothing_are_refused)
{
	static char names[][300] = {"", ".", ".example.org", "long"};
	struct tls_client *strict;
	struct tls_client *lax = client_of(NULL, false);

	issue("ca", NULL, NULL, 30);
	strict = client_of("ca.crt", true);
	memset(names[3], 'a', 299);
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct tls_conn *conn;

		cr_assert(tls_client_conn_open(strict, NULL, KTLS_MODE_OFF, names[i]) == NULL,
			"case %zu", i);
		conn = tls_client_conn_open(lax, NULL, KTLS_MODE_OFF, names[i]);
		cr_assert(conn != NULL, "case %zu", i);
		tls_conn_close(conn);
	}
	tls_client_release(strict);
	tls_client_release(lax);
}

Test(client, ca_files_that_cannot_be_used_are_named)
{
	static const struct {
		const char *file, *content, *text;
	} cases[] = {
		{"missing.pem", NULL, "missing.pem: No such file or directory"},
		{"empty.pem", "", "empty.pem: empty"},
		{"text.pem", "no certificate here\n", "text.pem: no certificate in PEM form"},
		{"bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
			"bad.pem: a certificate is damaged"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		for (int verify = 0; verify < 2; verify++) {
			struct tls_client *client;
			struct err err = {0};

			if (cases[i].content != NULL)
				rig_write(
					cases[i].file, cases[i].content, strlen(cases[i].content));
			cr_assert(tls_client_open(&client, rig_path(cases[i].file), verify, NULL,
					  KTLS_MODE_OFF, &err) == -1);
			cr_assert(client == NULL);
			cr_assert(strstr(err.text, cases[i].text) != NULL, "%s", err.text);
		}
	}
}

Test(client, the_systems_store_is_read_at_once)
{
	struct tls_client *client;
	struct tls_context *server;
	struct err err = {0};

	issue("ca", NULL, NULL, 30);
	issue("mx", "ca", "DNS:mx.example.org", 30);
	setenv("SSL_CERT_FILE", rig_path("ca.crt"), 1);
	client = client_of(NULL, true);
	remove(rig_path("ca.crt"));
	server = rig_server("mx", KTLS_MODE_ALWAYS);
	pair_open(client, server, NULL, "mx.example.org");
	cr_assert(pair_shake() == TLS_STEP_DONE, "%s", tls_conn_failure_text(pair.client));
	pair_close();
	tls_client_release(client);
	tls_context_release(server);
	rig_write("junk.pem", "x\n", 2);
	setenv("SSL_CERT_FILE", rig_path("junk.pem"), 1);
	cr_assert(tls_client_open(&client, NULL, true, NULL, KTLS_MODE_OFF, &err) == -1);
	cr_assert(strstr(err.text, "junk.pem") != NULL, "%s", err.text);
}

Test(client, a_peer_that_is_no_tls_server_fails)
{
	static const struct {
		const char *bytes;
		size_t n;
	} hostile[] = {
		{"220 mx.example.org ESMTP\r\n", 26},
		{"\x15\x03\x01\x00\x02\x02\x28", 7},
		{"\x16\x03\x01\x00\x04\x01\x00\x00\x00", 9},
		{"\x17\x03\x03\x00\x05hello", 10},
	};
	struct tls_client *client = client_of(NULL, false);

	for (size_t i = 0; i < COUNT_OF(hostile); i++) {
		struct tls_conn *conn =
			tls_client_conn_open(client, &rig_kernel_all, KTLS_MODE_ALWAYS, "mx");
		struct span in = {0};
		struct buf out;

		buf_init(&out, out_bytes, sizeof(out_bytes));
		cr_assert(tls_conn_handshake(conn, &in, &out) == TLS_STEP_MORE);
		cr_assert(buf_len(&out) > 100, "the hello");
		cr_assert(tls_conn_handshake(conn, &in, &out) == TLS_STEP_MORE);
		in = span_of(hostile[i].bytes, hostile[i].n);
		cr_assert(tls_conn_handshake(conn, &in, &out) == TLS_STEP_FAIL, "case %zu", i);
		cr_assert_neq(tls_conn_failure(conn), TLS_FAILURE_NONE);
		cr_assert_str_neq(tls_conn_failure_text(conn), "");
		cr_assert_eq(tls_conn_failure(conn) == TLS_FAILURE_ALERT, i == 1);
		tls_conn_close(conn);
	}
	tls_client_release(client);
}

/* ---- keys for the kernel ---- */

static struct krecord tx;
static uint8_t record[TLS_RECORD_MAX];

static void plant(void)
{
	rig_setsockopt(-1, 0);
	cr_assert(tls_conn_ktls_wanted(pair.client) == TLS_KTLS_TX);
	cr_assert(tls_conn_plant(pair.client, FD, TLS_KTLS_TX) == TLS_KTLS_TX);
	krecord_load(&tx, rig_call_last(SOL_TLS, TLS_TX));
	cr_assert(rig_call_last(SOL_TLS, TLS_RX) == NULL);
}

static void kernel_says(const char *text)
{
	size_t n = krecord_seal(&tx, 23, text, strlen(text), record);
	uint8_t spare[256], got[64];
	struct buf out;
	size_t part = 0;

	buf_init(&out, spare, sizeof(spare));
	for (size_t at = 0; at < n;) {
		struct span in = span_of(record + at, min_size(tls_conn_want(pair.server), n - at));

		at += in.n;
		cr_assert(tls_conn_read(pair.server, &in, got, sizeof(got), &part, &out) <=
			  TLS_IO_MORE);
	}
	cr_assert(part == strlen(text) && memcmp(got, text, part) == 0, "%s", text);
}

/* The same as the server, which plants RX, would tell its kernel. */
static void compare_with_server(void)
{
	struct rig_call ours = *rig_call_last(SOL_TLS, TLS_TX);
	const struct rig_call *theirs;

	rig_setsockopt(-1, 0);
	cr_assert(tls_conn_ktls_wanted(pair.server) & TLS_KTLS_RX);
	cr_assert(tls_conn_plant(pair.server, FD, TLS_KTLS_RX) == TLS_KTLS_RX);
	theirs = rig_call_last(SOL_TLS, TLS_RX);
	cr_assert_eq(ours.n, theirs->n);
	cr_assert_arr_eq(ours.value, theirs->value, ours.n);
}

Test(client, planted_keys_continue_the_connection)
{
	static const int traffic[] = {0, 1, 5};
	struct tls_context *server = server_both_keys();
	struct tls_client *client = client_of(NULL, false);

	for (size_t i = 0; i < rig_suites_n; i++) {
		for (size_t k = 0; k < COUNT_OF(traffic); k++) {
			bool tls13 = rig_suites[i].version == TLS1_3_VERSION;

			pair_open(client, server, &rig_kernel_all, "mx.example.org");
			only_suite(&rig_suites[i]);
			cr_assert(pair_shake() == TLS_STEP_DONE);
			for (int n = 0; n < traffic[k]; n++) {
				client_says("NOOP\r\n");
				server_says("250 2.0.0 Ok\r\n");
			}
			plant();
			cr_assert_eq(tx.sequence, (uint64_t)traffic[k] + !tls13);
			cr_assert_eq(pair.client->ssl != NULL, !tls13);
			cr_assert(tls_conn_ktls_wanted(pair.client) == 0);
			cr_assert(tls_conn_planted(pair.client) == TLS_KTLS_TX);
			for (int n = 0; n < 3; n++) {
				kernel_says("MAIL FROM:<a@example.org>");
				server_says("250 2.1.0 Ok\r\n");
			}
			pair_close();

			pair_open(client, server, &rig_kernel_all, "mx.example.org");
			only_suite(&rig_suites[i]);
			cr_assert(pair_shake() == TLS_STEP_DONE);
			for (int n = 0; n < traffic[k]; n++)
				client_says("NOOP\r\n");
			plant();
			compare_with_server();
			pair_close();
		}
	}
	tls_client_release(client);
	tls_context_release(server);
}

Test(client, planted_after_key_updates)
{
	struct tls_context *server = server_both_keys();
	struct tls_client *client = client_of(NULL, false);

	rig_openssl_records(server); /* it can be asked for KeyUpdates */

	for (size_t i = 0; i < 6; i++) {
		pair_open(client, server, &rig_kernel_all, "mx.example.org");
		only_suite(&rig_suites[i % 3]);
		cr_assert(pair_shake() == TLS_STEP_DONE);
		client_says("one");
		MUST(SSL_key_update(pair.server->ssl, SSL_KEY_UPDATE_REQUESTED));
		server_says("two");
		cr_assert(tls_conn_ktls_wanted(pair.client) == 0, "a KeyUpdate is owed");
		client_says("three");
		client_says("four");
		plant();
		cr_assert_eq(tx.sequence, 2);
		if (i < 3) {
			compare_with_server();
		} else {
			kernel_says("new keys");
			server_says("and the old SSL reads");
		}
		pair_close();
	}
	tls_client_release(client);
	tls_context_release(server);
}

/* The same rule as the server's: TX alone in the kernel cannot answer. */
Test(client, key_update_request_under_tx_ends_it)
{
	struct tls_context *server = server_both_keys();
	struct tls_client *client = client_of(NULL, false);
	struct span text = span_str("250 Ok");
	uint8_t spare[256], got[16];
	struct span in;
	struct buf out;
	size_t n;

	rig_openssl_records(server);
	pair_open(client, server, &rig_kernel_all, "mx.example.org");
	cr_assert(pair_shake() == TLS_STEP_DONE);
	plant();
	MUST(SSL_key_update(pair.server->ssl, SSL_KEY_UPDATE_NOT_REQUESTED));
	server_says("fine");
	MUST(SSL_key_update(pair.server->ssl, SSL_KEY_UPDATE_REQUESTED));
	buf_init(&out, out_bytes, sizeof(out_bytes));
	cr_assert(tls_conn_write(pair.server, &text, &out) == TLS_IO_OK);
	in = buf_span(&out);
	buf_init(&out, spare, sizeof(spare));
	cr_assert(tls_conn_read(pair.client, &in, got, sizeof(got), &n, &out) == TLS_IO_REFUSED);
	cr_assert(n == 0 && buf_len(&out) == 0);
	cr_assert(counter_sum(COUNTER_TLS_KEYUPDATE_REFUSED) == 1);
	pair_close();
	tls_client_release(client);
	tls_context_release(server);
}

Test(client, secrets_go_once_tx_is_planted)
{
	static const uint8_t zero[TLS_SECRET_MAX];
	struct tls_context *server = server_both_keys();
	struct tls_client *client = client_of(NULL, false);

	pair_open(client, server, &rig_kernel_all, "mx.example.org");
	cr_assert(pair_shake() == TLS_STEP_DONE);
	cr_assert(memcmp(pair.client->half[TLS_DIRECTION_TX].secret, zero, 32) != 0);
	plant();
	cr_assert(memcmp(pair.client->half[TLS_DIRECTION_TX].secret, zero, 32) == 0);
	cr_assert(memcmp(pair.client->half[TLS_DIRECTION_RX].secret, zero, 32) != 0,
		"a KeyUpdate may come");
	rig_openssl_records(pair.client->context);
	pair_close();

	pair_open(client, server, &rig_kernel_all, "mx.example.org");
	cr_assert(pair_shake() == TLS_STEP_DONE);
	cr_assert(
		memcmp(pair.client->half[TLS_DIRECTION_RX].secret, zero, 32) == 0, "never needed");
	plant();
	cr_assert(memcmp(pair.client->half[TLS_DIRECTION_TX].secret, zero, 32) == 0);
	pair_close();
	tls_client_release(client);
	tls_context_release(server);
}

Test(client, refusals_of_the_kernel)
{
	static const struct {
		int call, error, result;
	} cases[] = {{0, ENOENT, 0}, {0, ENOTCONN, -ENOTCONN}, {1, EINVAL, 0}, {1, EBUSY, 0}};
	struct tls_context *server = server_both_keys();

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct tls_client *client = client_of(NULL, false);

		pair_open(client, server, &rig_kernel_all, "mx.example.org");
		cr_assert(pair_shake() == TLS_STEP_DONE);
		rig_setsockopt(cases[i].call, cases[i].error);
		cr_assert_eq(tls_conn_plant(pair.client, FD, TLS_KTLS_TX), cases[i].result);
		cr_assert(tls_conn_ktls_wanted(pair.client) == 0);
		if (cases[i].result == 0) {
			client_says("user space goes on");
			server_says("both ways");
		}
		pair_close();
		pair_open(client, server, &rig_kernel_all, "mx.example.org");
		cr_assert(pair_shake() == TLS_STEP_DONE);
		cr_assert_eq(tls_conn_ktls_wanted(pair.client) == 0, cases[i].error == ENOENT);
		pair_close();
		tls_client_release(client);
	}
	tls_context_release(server);
}

/* A connection outlives its client's last holder. */
Test(client, holders_are_counted)
{
	struct tls_context *server = server_both_keys();
	struct tls_client *client = client_of(NULL, false);

	cr_assert(tls_client_hold(client) == client);
	tls_client_release(client);
	pair_open(client, server, &rig_kernel_all, "mx.example.org");
	tls_client_release(client);
	cr_assert(pair_shake() == TLS_STEP_DONE);
	client_says("still here");
	pair_close();
	tls_context_release(server);
}
