/* SPDX-License-Identifier: MIT */
/*
 * ktls_handshake: from a real OpenSSL handshake to the kernel and back. The server's SSL is fed
 * exact records, so nothing of the application's data is ever read by it; keys come from the keylog
 * secrets (TLS 1.3) or the master secret (TLS 1.2); the record numbers to plant are those that the
 * notes state. A real OpenSSL client then talks to the kernel, and updates its keys where that
 * works. Proves kernel-notes/openssl-key-export.md and kernel-notes/ktls-record-numbers.md.
 */
#include "ktest.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECRET_BYTES 48

struct suite {
	uint16_t version;
	int cipher; /* index into kt_ciphers */
	unsigned tickets;
	const char *name;
};

static const struct suite suites[] = {
	{TLS_1_2_VERSION, 0, 1, "ECDHE-ECDSA-AES128-GCM-SHA256"},
	{TLS_1_2_VERSION, 1, 1, "ECDHE-ECDSA-AES256-GCM-SHA384"},
	{TLS_1_2_VERSION, 2, 1, "ECDHE-ECDSA-CHACHA20-POLY1305"},
	{TLS_1_3_VERSION, 0, 0, "TLS_AES_128_GCM_SHA256"},
	{TLS_1_3_VERSION, 0, 2, "TLS_AES_128_GCM_SHA256"},
	{TLS_1_3_VERSION, 1, 2, "TLS_AES_256_GCM_SHA384"},
	{TLS_1_3_VERSION, 2, 1, "TLS_CHACHA20_POLY1305_SHA256"},
};

/* What the server's side knows of one handshake. */
struct server {
	const struct suite *suite;
	SSL *ssl;
	int fd;
	uint8_t client_secret[SECRET_BYTES];
	uint8_t server_secret[SECRET_BYTES];
	uint64_t finished_nonce; /* TLS 1.2: the explicit nonce of our Finished */
};

struct client {
	const struct suite *suite;
	int fd;
	bool update;
	bool good;
};

static struct server server;

static void hex_secret(const char *line, const char *label, uint8_t out[SECRET_BYTES])
{
	const char *at;
	unsigned byte;

	if (strncmp(line, label, strlen(label)))
		return;
	at = strrchr(line, ' ') + 1;
	for (int i = 0; i < SECRET_BYTES && sscanf(at + 2 * i, "%2x", &byte) == 1; i++)
		out[i] = (uint8_t)byte;
}

static void on_keylog(const SSL *ssl, const char *line)
{
	(void)ssl;
	hex_secret(line, "CLIENT_TRAFFIC_SECRET_0 ", server.client_secret);
	hex_secret(line, "SERVER_TRAFFIC_SECRET_0 ", server.server_secret);
}

static SSL_CTX *server_context(void)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();

	KT_MUST(context && key && certificate);
	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
	X509_set_pubkey(certificate, key);
	KT_MUST(X509_sign(certificate, key, EVP_sha256()) > 0);
	KT_MUST(SSL_CTX_use_certificate(context, certificate) == 1);
	KT_MUST(SSL_CTX_use_PrivateKey(context, key) == 1);
	SSL_CTX_set_keylog_callback(context, on_keylog);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return context;
}

static void limit(SSL *ssl, const struct suite *suite)
{
	int version = suite->version == TLS_1_3_VERSION ? TLS1_3_VERSION : TLS1_2_VERSION;

	KT_MUST(SSL_set_min_proto_version(ssl, version) == 1);
	KT_MUST(SSL_set_max_proto_version(ssl, version) == 1);
	if (version == TLS1_3_VERSION)
		KT_MUST(SSL_set_ciphersuites(ssl, suite->name) == 1);
	else
		KT_MUST(SSL_set_cipher_list(ssl, suite->name) == 1);
}

static void *run_client(void *arg)
{
	struct client *client = arg;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(context);
	char got[16] = "";

	limit(ssl, client->suite);
	SSL_set_fd(ssl, client->fd);
	client->good = SSL_connect(ssl) == 1 && SSL_write(ssl, "ping", 4) == 4 &&
		       SSL_read(ssl, got, 4) == 4 && !memcmp(got, "pong", 4);
	if (client->good && client->update)
		client->good = SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1 &&
			       SSL_write(ssl, "more", 4) == 4 && SSL_read(ssl, got, 4) == 4 &&
			       !memcmp(got, "MORE", 4);
	if (client->good)
		client->good = SSL_shutdown(ssl) >= 0 && SSL_read(ssl, got, 4) <= 0 &&
			       SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN;
	SSL_free(ssl);
	SSL_CTX_free(context);
	return NULL;
}

/* Sends what OpenSSL wants to send and notes the explicit nonce of the last encrypted record. */
static void flush_out(BIO *out)
{
	uint8_t bytes[KT_RECORD_BYTES_MAX];
	int n;

	while ((n = BIO_read(out, bytes, sizeof bytes)) > 0) {
		for (int at = 0; at + 13 <= n; at += 5 + (bytes[at + 3] << 8 | bytes[at + 4])) {
			server.finished_nonce = 0;
			for (int i = 0; i < 8; i++)
				server.finished_nonce =
					server.finished_nonce << 8 | bytes[at + 5 + i];
		}
		kt_write_all(server.fd, bytes, (size_t)n);
	}
}

static bool handshake(void)
{
	uint8_t record[KT_RECORD_BYTES_MAX];
	BIO *in = BIO_new(BIO_s_mem());
	BIO *out = BIO_new(BIO_s_mem());

	SSL_set_bio(server.ssl, in, out);
	for (int round = 0; round < 16; round++) {
		int result = SSL_accept(server.ssl);

		flush_out(out);
		if (result == 1)
			return BIO_pending(in) == 0 && !SSL_has_pending(server.ssl);
		if (SSL_get_error(server.ssl, result) != SSL_ERROR_WANT_READ)
			return false;
		size_t length = kt_read_record(server.fd, record);

		KT_MUST(BIO_write(in, record, (int)length) == (int)length);
	}
	return false;
}

/* RFC 5246 6.3: client key, server key, client IV, server IV, out of the master secret. */
static void keys_tls12(struct kt_keys *rx, struct kt_keys *tx)
{
	const struct kt_cipher *cipher = &kt_ciphers[server.suite->cipher];
	size_t iv_bytes = cipher->type == TLS_CIPHER_CHACHA20_POLY1305 ? 12 : 4;
	uint8_t master[SSL_MAX_MASTER_KEY_LENGTH];
	uint8_t random[64];
	uint8_t block[128];
	const char *digest = cipher->type == TLS_CIPHER_AES_GCM_256 ? "SHA384" : "SHA256";
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
	EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
	char label[] = "key expansion";
	OSSL_PARAM params[5];
	size_t n;

	n = SSL_SESSION_get_master_key(SSL_get_session(server.ssl), master, sizeof master);
	SSL_get_server_random(server.ssl, random, 32);
	SSL_get_client_random(server.ssl, random + 32, 32);
	params[0] = OSSL_PARAM_construct_utf8_string(
		OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)digest, 0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, master, n);
	params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, label, sizeof label - 1);
	params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, random, sizeof random);
	params[4] = OSSL_PARAM_construct_end();
	KT_MUST(EVP_KDF_derive(context, block, 2 * (cipher->key_bytes + iv_bytes), params) == 1);
	memset(rx, 0, sizeof *rx);
	memset(tx, 0, sizeof *tx);
	memcpy(rx->key, block, cipher->key_bytes);
	memcpy(tx->key, block + cipher->key_bytes, cipher->key_bytes);
	memcpy(rx->iv, block + 2 * cipher->key_bytes, iv_bytes);
	memcpy(tx->iv, block + 2 * cipher->key_bytes + iv_bytes, iv_bytes);
	rx->sequence = 1;
	tx->sequence = 1;
	tx->nonce = server.finished_nonce + 1;
	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
}

static void keys_tls13(struct kt_keys *rx, struct kt_keys *tx)
{
	const struct kt_cipher *cipher = &kt_ciphers[server.suite->cipher];

	kt_keys_from_secret(cipher, server.client_secret, rx);
	kt_keys_from_secret(cipher, server.server_secret, tx);
	tx->sequence = server.suite->tickets;
}

static void next_secret(uint8_t secret[SECRET_BYTES])
{
	bool sha384 = kt_ciphers[server.suite->cipher].type == TLS_CIPHER_AES_GCM_256;
	uint8_t next[SECRET_BYTES];

	kt_expand_label(
		sha384 ? "SHA384" : "SHA256", secret, "traffic upd", next, sha384 ? 48 : 32);
	memcpy(secret, next, sizeof next);
}

/* The client asked for new keys: take its, answer under the old ones, then take ours. */
static bool answer_key_update(void)
{
	const struct kt_cipher *cipher = &kt_ciphers[server.suite->cipher];
	struct kt_keys keys;
	uint8_t got[64];
	int type;

	if (kt_recv_typed(server.fd, &type, got, sizeof got, 0) != 5 ||
		type != KT_RECORD_HANDSHAKE || memcmp(got, "\x18\0\0\1\1", 5))
		return false;
	next_secret(server.client_secret);
	kt_keys_from_secret(cipher, server.client_secret, &keys);
	if (kt_plant(server.fd, TLS_RX, TLS_1_3_VERSION, cipher, &keys) < 0)
		return false;
	if (kt_send_control(server.fd, KT_RECORD_HANDSHAKE, "\x18\0\0\1\0", 5) != 5)
		return false;
	next_secret(server.server_secret);
	kt_keys_from_secret(cipher, server.server_secret, &keys);
	if (kt_plant(server.fd, TLS_TX, TLS_1_3_VERSION, cipher, &keys) < 0)
		return false;
	return recv(server.fd, got, 4, MSG_WAITALL) == 4 && !memcmp(got, "more", 4) &&
	       send(server.fd, "MORE", 4, MSG_NOSIGNAL) == 4;
}

static void test_one(SSL_CTX *context, const struct suite *suite)
{
	const struct kt_cipher *cipher = &kt_ciphers[suite->cipher];
	const char *version = suite->version == TLS_1_3_VERSION ? "TLS 1.3" : "TLS 1.2";
	struct client client = {.suite = suite};
	struct kt_keys rx, tx;
	pthread_t thread;
	char got[16] = "";
	bool shaken;
	int type = 0;
	int fd[2];

	memset(&server, 0, sizeof server);
	kt_tcp_pair(fd);
	server.suite = suite;
	server.fd = fd[1];
	server.ssl = SSL_new(context);
	limit(server.ssl, suite);
	SSL_set_num_tickets(server.ssl, suite->tickets);
	client.fd = fd[0];
	client.update = suite->version == TLS_1_3_VERSION && kt_tls_stat("TlsRxRekeyOk") >= 0;
	KT_MUST(pthread_create(&thread, NULL, run_client, &client) == 0);
	shaken = handshake();
	kt_ok(shaken, "%s %s, %u tickets: handshake, nothing read past it", version, cipher->name,
		suite->tickets);
	if (suite->version == TLS_1_3_VERSION)
		keys_tls13(&rx, &tx);
	else
		keys_tls12(&rx, &tx);
	SSL_set_quiet_shutdown(server.ssl, 1);
	SSL_free(server.ssl);
	KT_MUST(kt_ulp(fd[1]) == 0 && kt_plant(fd[1], TLS_TX, suite->version, cipher, &tx) == 0 &&
		kt_plant(fd[1], TLS_RX, suite->version, cipher, &rx) == 0);
	kt_ok(recv(fd[1], got, 4, 0) == 4 && !memcmp(got, "ping", 4),
		"%s %s, %u tickets: the kernel opens the client's first record", version,
		cipher->name, suite->tickets);
	KT_MUST(send(fd[1], "pong", 4, MSG_NOSIGNAL) == 4);
	if (client.update)
		kt_ok(answer_key_update(), "%s %s: KeyUpdate by OpenSSL, answered", version,
			cipher->name);
	kt_ok(kt_recv_typed(fd[1], &type, got, sizeof got, 0) == 2 && type == KT_RECORD_ALERT &&
			!memcmp(got, "\1\0", 2),
		"%s %s: its close_notify arrives", version, cipher->name);
	KT_MUST(kt_send_control(fd[1], KT_RECORD_ALERT, "\1\0", 2) == 2);
	KT_MUST(pthread_join(thread, NULL) == 0);
	kt_ok(client.good, "%s %s, %u tickets: the client read our reply and our close_notify",
		version, cipher->name, suite->tickets);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	SSL_CTX *context;

	kt_need_ktls();
	context = server_context();
	for (size_t i = 0; i < sizeof suites / sizeof *suites; i++)
		test_one(context, &suites[i]);
	SSL_CTX_free(context);
	return kt_done();
}
