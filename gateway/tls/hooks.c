/* SPDX-License-Identifier: MIT */
/*
 * hooks.c -- what OpenSSL calls during a connection: the BIO below it, and callbacks.
 *
 * The BIO reads from the span of the call in progress and appends to its buf. The callbacks choose
 * the certificates by SNI, accept any client certificate, and note what the kernel will need to
 * know:
 *   derived  the TLS 1.3 application traffic secrets and their keys, when they come into force,
 *            after a KeyUpdate too (witness.c);
 *   message  each record's header, read or written, to count records under the keys in force
 *            (RFC 8446 5.3, RFC 5246 6.1), and each KeyUpdate, to count them.
 * These run in the order in which OpenSSL changes keys, which the order of octets in the BIO is
 * not: OpenSSL collects a flight before it writes it. So records are counted here, and the BIO's
 * own look at headers serves for boundaries and explicit nonces only.
 *
 * Output that OpenSSL makes after TX went to the kernel is dropped: it would be under stale keys.
 */
#include "tls/tls-private.h"

#include <ctype.h>

#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* ---- the BIO ---- */

static int bio_read(BIO *bio, char *data, int n)
{
	struct tls_conn *conn = BIO_get_data(bio);
	struct span bytes;

	BIO_clear_retry_flags(bio);
	if (n <= 0)
		return 0;
	if (conn->in == NULL || conn->in->n == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	bytes = span_take(conn->in, (size_t)n);
	memcpy(data, bytes.p, bytes.n);
	return (int)bytes.n;
}

static int bio_write(BIO *bio, const char *data, int n)
{
	struct tls_conn *conn = BIO_get_data(bio);
	struct span bytes = span_of(data, (size_t)(n > 0 ? n : 0));

	BIO_clear_retry_flags(bio);
	if ((conn->planted & TLS_KTLS_TX) != 0)
		return n;
	bytes.n = conn->out != NULL ? min_size(bytes.n, buf_room(conn->out)) : 0;
	if (bytes.n == 0 && n > 0) {
		BIO_set_retry_write(bio);
		return -1;
	}
	if (!conn->flight.exact && !conn->client) {
		conn->flight.exact = true;
		conn->flight.eager = conn->in != NULL && conn->in->n > 0;
	}
	if (!buf_put(conn->out, bytes))
		ASSERT(!"room was looked at");
	tls_framing_feed(&conn->half[TLS_DIRECTION_TX].framing, NULL, bytes);
	return (int)bytes.n;
}

static long bio_ctrl(BIO *bio, int command, long number, void *p)
{
	(void)bio;
	(void)number;
	(void)p;
	return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

/* No type index is drawn for it: there are only 128, and a reload makes a new context. */
BIO_METHOD *tls_conn_bio_new(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "postern");

	if (method != NULL && BIO_meth_set_read(method, bio_read) == 1 &&
		BIO_meth_set_write(method, bio_write) == 1 &&
		BIO_meth_set_ctrl(method, bio_ctrl) == 1 &&
		BIO_meth_set_create(method, bio_create) == 1)
		return method;
	BIO_meth_free(method);
	return NULL;
}

/* ---- callbacks ---- */

static void secret_begins(struct tls_half *half, struct span secret)
{
	half->records = 0;
	half->keys_heard = 0;
	half->secret_n = secret.n <= TLS_SECRET_MAX ? (uint8_t)secret.n : 0;
	memcpy(half->secret, secret.p, half->secret_n);
}

/* What is derived from the secret in force: its keys, or the one after a KeyUpdate. */
static void follow(struct tls_half *half, struct span label, struct span result)
{
	if (span_equal(label, span_str("traffic upd"))) {
		secret_begins(half, result);
	} else if (span_equal(label, span_str("key")) && result.n <= TLS_KEY_MAX) {
		memcpy(half->keys.key, result.p, result.n);
		half->keys_heard |= TLS_HEARD_KEY;
	} else if (span_equal(label, span_str("iv")) && result.n == TLS_IV_SIZE) {
		memcpy(half->keys.iv, result.p, result.n);
		half->keys_heard |= TLS_HEARD_IV;
	}
}

void tls_conn_derived(
	struct tls_conn *conn, struct span label, struct span from, struct span result)
{
	static const char client[] = "c ap traffic";
	static const char server[] = "s ap traffic";

	for (int direction = 0; direction < 2; direction++) {
		bool ours = direction == TLS_DIRECTION_TX;
		struct tls_half *half = &conn->half[direction];

		if (conn->done && (conn->may & tls_direction_bit(direction)) == 0)
			continue;
		if (span_equal(label, span_str(ours == conn->client ? client : server)))
			secret_begins(half, result);
		else if (half->secret_n > 0 &&
			 span_equal(from, span_of(half->secret, half->secret_n)))
			follow(half, label, result);
	}
}

void tls_conn_message(
	int written, int version, int type, const void *p, size_t n, SSL *ssl, void *arg)
{
	struct tls_conn *conn = arg;
	enum tls_direction direction = written ? TLS_DIRECTION_TX : TLS_DIRECTION_RX;
	const uint8_t *octets = p;

	(void)version;
	(void)ssl;
	if (type == SSL3_RT_HEADER && n >= 1) {
		if (octets[0] == SSL3_RT_CHANGE_CIPHER_SPEC)
			conn->half[direction].records = 0;
		else
			conn->half[direction].records++;
	}
	if (type == SSL3_RT_HANDSHAKE && n >= 1 && octets[0] == SSL3_MT_KEY_UPDATE && conn->done &&
		!written)
		conn->keyupdates++;
}

/* The host name of a server_name extension (RFC 6066 3); false when it is not well formed. */
static bool parse_sni(struct span ext, char name[TLS_NAME_MAX + 1])
{
	size_t n;

	if (ext.n < 6 || ((size_t)ext.p[0] << 8 | ext.p[1]) != ext.n - 2 || ext.p[2] != 0)
		return false;
	n = (size_t)ext.p[3] << 8 | ext.p[4];
	if (n == 0 || n > TLS_NAME_MAX || n != ext.n - 5)
		return false;
	for (size_t i = 0; i < n; i++) {
		name[i] = (char)tolower(ext.p[5 + i]);
		if (name[i] == '\0') {
			name[0] = '\0';
			return false;
		}
	}
	name[n] = '\0';
	return true;
}

/* Will the sender miss its name? Only the default certificate, which has no names in the settings,
 * needs a look. */
static bool is_stranger(const char *sni, SSL_CTX *set)
{
	return X509_check_host(SSL_CTX_get0_certificate(set), sni, 0, 0, NULL) != 1;
}

int tls_conn_client_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_conn *conn = SSL_get_app_data(ssl);
	SSL_CTX *set = NULL;
	char name[TLS_NAME_MAX + 1] = "";
	struct span ext;

	(void)arg;
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &ext.p, &ext.n) == 1 &&
		parse_sni(ext, name))
		set = tls_context_find(conn->context, name);
	conn->sni_known = set != NULL;
	if (set == NULL) {
		set = conn->context->sets[0];
		conn->info.sni_stranger = name[0] != '\0' && is_stranger(name, set);
	}
	if (!tls_text_set(&conn->info.sni, name) || SSL_set_SSL_CTX(ssl, set) == NULL) {
		*alert = SSL_AD_INTERNAL_ERROR;
		return SSL_CLIENT_HELLO_ERROR;
	}
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* The choice is made; this only decides whether the server acknowledges the extension. */
int tls_conn_servername(SSL *ssl, int *alert, void *arg)
{
	const struct tls_conn *conn = SSL_get_app_data(ssl);

	(void)alert;
	(void)arg;
	return conn->sni_known ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* Any client certificate will do: it is logged, never trusted. */
int tls_conn_client_certificate(X509_STORE_CTX *store, void *arg)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_conn *conn = SSL_get_app_data(ssl);
	const X509 *leaf = X509_STORE_CTX_get0_cert(store);

	(void)arg;
	X509_STORE_CTX_set_error(store, X509_V_OK);
	if (leaf == NULL || i2d_X509(leaf, NULL) > TLS_CLIENT_TICKET_LEAF_MAX) {
		conn->ticketless = true;
		SSL_set_num_tickets(ssl, 0);
	}
	return 1;
}
