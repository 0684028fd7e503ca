/* SPDX-License-Identifier: MIT */
/*
 * tls_record.c -- what a stranger sends before there are keys: records, their framing, the hello.
 *
 * The first octet says how the stream is cut and whether the kernel is to take over; the rest is
 * the stream. The same octets then serve as a stream of records for the framing alone, which is
 * held against a walk over the whole, and as control records of a kTLS socket.
 */
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "tls/tls-private.h"

#define STREAM_MAX 100000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void material_make(struct tls_material *material, struct tls_certificate *certificate)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();
	PKCS8_PRIV_KEY_INFO *info;

	ASSERT(key != NULL && x509 != NULL && X509_set_version(x509, 2));
	ASSERT(X509_gmtime_adj(X509_getm_notBefore(x509), 0) != NULL);
	ASSERT(X509_gmtime_adj(X509_getm_notAfter(x509), 86400) != NULL);
	ASSERT(X509_set_pubkey(x509, key) && X509_sign(x509, key, EVP_sha256()) > 0);
	info = EVP_PKEY2PKCS8(key);
	certificate->title = (char *)(uintptr_t) "fuzz";
	certificate->chain[0].n = (size_t)i2d_X509(x509, &certificate->chain[0].p);
	certificate->chain_n = 1;
	certificate->key.n = (size_t)i2d_PKCS8_PRIV_KEY_INFO(info, &certificate->key.p);
	material->certificates = certificate;
	material->certificates_n = 1;
	material->tickets.n = 1;
	PKCS8_PRIV_KEY_INFO_free(info);
	X509_free(x509);
	EVP_PKEY_free(key);
}

static const struct tls_kernel kernel = {.tx = true, .rx = true};

static struct tls_context *context_get(void)
{
	static const struct tls_settings settings = {.version_min = TLS1_2_VERSION};
	static struct tls_context *context;
	struct tls_certificate certificate = {0};
	struct tls_material material = {0};
	struct err err;

	if (context != NULL)
		return context;
	material_make(&material, &certificate);
	ASSERT(tls_context_open(&context, &settings, &kernel, &material, &err) == 0);
	OPENSSL_free(certificate.chain[0].p);
	OPENSSL_free(certificate.key.p);
	return context;
}

static void handshake_check(uint8_t how, struct span stream)
{
	static uint8_t storage[STREAM_MAX + 2 * TLS_FLIGHT_MAX];
	struct tls_conn *conn =
		tls_conn_open(context_get(), how & 1 ? &kernel : NULL, KTLS_MODE_ALWAYS);
	size_t chunk = how >> 1 == 0 ? SIZE_MAX : (size_t)(how >> 1);
	enum tls_step step = TLS_STEP_MORE;
	struct buf out;

	ASSERT(conn != NULL);
	buf_init(&out, storage, sizeof(storage));
	while (step == TLS_STEP_MORE && stream.n > 0) {
		size_t want = tls_conn_want(conn);
		struct span in = span_take(&stream, min_size(want, chunk));

		ASSERT(want >= 1);
		step = tls_conn_handshake(conn, &in, &out);
		ASSERT(step == TLS_STEP_FAIL || in.n == 0);
		ASSERT(ERR_peek_error() == 0);
	}
	ASSERT(step != TLS_STEP_DONE); /* nobody guesses Finished */
	ASSERT((step == TLS_STEP_FAIL) == (tls_conn_failure(conn) != TLS_FAILURE_NONE));
	ASSERT(strlen(tls_conn_info(conn)->sni) <= TLS_NAME_MAX);
	tls_conn_close(conn);
}

/* Octets up to the next end of a header or body after `at`, found by walking from the start. */
static size_t walk(struct span stream, size_t at)
{
	size_t record = 0;

	for (;;) {
		size_t body;

		if (at < record + TLS_RECORD_HEADER)
			return record + TLS_RECORD_HEADER - at;
		body = (size_t)stream.p[record + 3] << 8 | stream.p[record + 4];
		if (at < record + TLS_RECORD_HEADER + body)
			return record + TLS_RECORD_HEADER + body - at;
		record += TLS_RECORD_HEADER + body;
	}
}

static void framing_check(struct span stream)
{
	const struct tls_flight exact = {.exact = true};
	struct tls_framing framing = {0};
	size_t at = 0;

	for (int i = 0; i < 300 && at < stream.n; i++) {
		size_t want = tls_framing_want(&framing, &exact);
		size_t n = min_size(want, stream.n - at);

		ASSERT(want == walk(stream, at));
		n = i % 3 == 0 ? (n + 1) / 2 : n;
		tls_framing_feed(&framing, NULL, span_of(stream.p + at, n));
		at += n;
	}
}

static void control_check(uint8_t type, struct span body)
{
	struct tls_conn conn = {
		.context = context_get(),
		.suite = tls_suite_find(type & 0x80 ? 0x1301 : 0xc02b),
		.planted = TLS_KTLS_TX | TLS_KTLS_RX,
	};
	struct tls_control_record reply = {0};
	enum tls_control control = tls_conn_control(&conn, -1, type & 0x7f, body, &reply);

	ASSERT(reply.n <= sizeof(reply.bytes));
	ASSERT((control == TLS_CONTROL_REPLY) == (reply.n > 0));
	ASSERT(control == TLS_CONTROL_FAIL || body.n == 2 || body.n == 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > STREAM_MAX)
		return 0;
	handshake_check(data[0], span_of(data + 1, size - 1));
	framing_check(span_of(data + 1, size - 1));
	control_check(data[0], span_of(data + 1, size - 1));
	return 0;
}
