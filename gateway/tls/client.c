/* SPDX-License-Identifier: MIT */
/*
 * client.c -- the client's side: whom connections to a next hop trust, and opening one.
 *
 * A struct tls_client is a context with one SSL_CTX in it and the word whether to verify. The
 * connection is conn.c's; it holds the context, so a client may be released while they live. How far
 * a certificate is checked is each connection's own: the SSL_CTX's callback asks it.
 *
 * CA certificates are read here, all of them and at once: OpenSSL's own default store looks files
 * up during a handshake, which a worker is not allowed to (no openat under its system call filter).
 *
 * Without verification any certificate is taken, weak ones too: the alternative is plaintext (RFC
 * 7435). A ticket is never offered, and those that come are dropped.
 *
 * DANE is OpenSSL's: usage 3 looks at neither names nor dates (RFC 7672 3.1.1), usage 2 needs the
 * chain up to the anchor that matches, dates and a name, and takes an anchor that stands in full in
 * the record only. Our CAs do not count then.
 *
 * Rejected: taking a name that begins with a dot (OpenSSL would accept any host below it), or an
 * empty one (it would compare none). The subject's common name, where a policy asks for a name:
 * RFC 8461 4.2 knows dNSName only.
 */
#include "tls/tls-private.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define CA_FILE_MAX   (8u << 20)
#define CA_FILE_USUAL "/etc/ssl/certs/ca-certificates.crt"

struct tls_client {
	struct holders holders;
	bool verify;
	struct tls_context *context;
};

/* ---- trust ---- */

static int add_all(X509_STORE *store, BIO *pem, const char *path, struct err *err)
{
	unsigned n = 0;
	X509 *x509;

	while ((x509 = PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL)) != NULL) {
		int good = X509_STORE_add_cert(store, x509);

		X509_free(x509);
		if (good != 1)
			return err_set(err, "%s: %s", path, tls_openssl_why());
		n++;
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return err_set(err, "%s: a certificate is damaged: %s", path, tls_openssl_why());
	ERR_clear_error();
	return n > 0 ? 0 : err_set(err, "%s: no certificate in PEM form", path);
}

static int trust_file(SSL_CTX *ctx, const char *path, struct err *err)
{
	struct tls_blob text;
	struct stat st;
	int result;
	BIO *pem;

	if (tls_file_read(&text, path, &st, CA_FILE_MAX, err) != 0)
		return -1;
	pem = BIO_new_mem_buf(text.p, (int)text.n);
	if (pem == NULL)
		result = err_set(err, "%s: out of memory", path);
	else
		result = add_all(SSL_CTX_get_cert_store(ctx), pem, path, err);
	BIO_free(pem);
	tls_blob_free(&text);
	return result;
}

/* The file that the system's certificates are collected in; NULL: none. */
static const char *system_file(void)
{
	const char *const files[] = {
		getenv(X509_get_default_cert_file_env()),
		X509_get_default_cert_file(),
		CA_FILE_USUAL,
	};

	for (size_t i = 0; i < COUNT_OF(files); i++)
		if (files[i] != NULL && access(files[i], R_OK) == 0)
			return files[i];
	return NULL;
}

static int trust(SSL_CTX *ctx, const char *ca_file, bool verify, struct err *err)
{
	if (ca_file == NULL && !verify)
		return 0;
	if (ca_file == NULL)
		ca_file = system_file();
	if (ca_file == NULL)
		return err_set(err,
			"%s: not there: install the package ca-certificates or name a CA file",
			X509_get_default_cert_file());
	return trust_file(ctx, ca_file, err);
}

/* ---- the check ---- */

/* The chain as the connection's check has it. What does not matter is noted all the same. */
static int check_chain(X509_STORE_CTX *store, void *arg)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_conn *conn = SSL_get_app_data(ssl);
	int good = 1;

	(void)arg;
	if (conn->check != TLS_CHECK_NONE) {
		X509_VERIFY_PARAM_set_auth_level(
			X509_STORE_CTX_get0_param(store), conn->verify_level);
		good = X509_verify_cert(store);
		conn->verify_error = good > 0 ? X509_V_OK : X509_STORE_CTX_get_error(store);
		if (good <= 0 && conn->verify_error == X509_V_OK)
			conn->verify_error = X509_V_ERR_UNSPECIFIED;
	}
	if (conn->check == TLS_CHECK_PKIX || conn->check == TLS_CHECK_DANE)
		return good;
	X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}

enum tls_verdict tls_conn_verdict(const struct tls_conn *conn)
{
	switch (conn->verify_error) {
	case -1:
		return TLS_VERDICT_NONE;
	case X509_V_OK:
		return TLS_VERDICT_GOOD;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return TLS_VERDICT_NAME;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return TLS_VERDICT_EXPIRED;
	case X509_V_ERR_DANE_NO_MATCH:
		return TLS_VERDICT_NO_MATCH;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
	case X509_V_ERR_CERT_CHAIN_TOO_LONG:
	case X509_V_ERR_CERT_UNTRUSTED:
	case X509_V_ERR_CERT_REJECTED:
	case X509_V_ERR_CERT_REVOKED:
	case X509_V_ERR_INVALID_CA:
	case X509_V_ERR_PERMITTED_VIOLATION:
	case X509_V_ERR_EXCLUDED_VIOLATION:
		/* Where only records count, no anchor is none that they name. */
		return conn->check == TLS_CHECK_DANE ? TLS_VERDICT_NO_MATCH : TLS_VERDICT_UNTRUSTED;
	default:
		return TLS_VERDICT_OTHER;
	}
}

const char *tls_conn_verdict_text(const struct tls_conn *conn)
{
	return conn->verify_error > X509_V_OK ? X509_verify_cert_error_string(conn->verify_error)
					      : "";
}

/* ---- open, hold, release ---- */

static int configure(SSL_CTX *ctx)
{
	if (tls_context_protocol(ctx, TLS1_2_VERSION) != 0)
		return -1;
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_cert_verify_callback(ctx, check_chain, NULL);
	/* What stands in the CA file is trusted, an intermediate certificate too. */
	return SSL_CTX_dane_enable(ctx) == 1 && X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx),
							X509_V_FLAG_PARTIAL_CHAIN) == 1
		       ? 0
		       : -1;
}

static int add_set(struct tls_context *context, struct err *err)
{
	context->sets = calloc(1, sizeof(context->sets[0]));
	if (context->sets == NULL)
		return err_set(err, "out of memory");
	context->sets[0] = tls_context_set_new(context, TLS_client_method(), err);
	if (context->sets[0] == NULL)
		return -1;
	context->sets_n = 1;
	return 0;
}

static int open_context(
	struct tls_context *context, const char *ca_file, bool verify, struct err *err)
{
	if (context == NULL || add_set(context, err) != 0)
		return -1;
	if (configure(context->sets[0]) != 0)
		return err_set(err, "OpenSSL refuses the TLS settings: %s", tls_openssl_why());
	return trust(context->sets[0], ca_file, verify, err);
}

int tls_client_open(struct tls_client **out, const char *ca_file, bool verify,
	const struct tls_kernel *kernel, enum ktls_mode mode, struct err *err)
{
	struct tls_client *client = calloc(1, sizeof(*client));
	int result;

	*out = NULL;
	if (client == NULL)
		return err_set(err, "out of memory");
	holders_init(&client->holders);
	client->verify = verify;
	ERR_clear_error();
	client->context = tls_context_new(kernel, mode, err);
	result = open_context(client->context, ca_file, verify, err);
	ERR_clear_error();
	if (result != 0)
		tls_client_release(client);
	else
		*out = client;
	return result;
}

struct tls_client *tls_client_hold(struct tls_client *client)
{
	holders_add(&client->holders);
	return client;
}

void tls_client_release(struct tls_client *client)
{
	if (client == NULL || !holders_drop(&client->holders))
		return;
	tls_context_release(client->context);
	free(client);
}

/* ---- a connection ---- */

static bool is_numeric(const char *name)
{
	uint8_t address[16];

	return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* Lower case, without the dot that ends a name in DNS. False: not a name to compare with. */
static bool copy_name(char out[TLS_NAME_MAX + 1], const char *name)
{
	size_t n = strlen(name);

	if (n > 0 && name[n - 1] == '.')
		n--;
	if (n == 0 || n > TLS_NAME_MAX || name[0] == '.')
		return false;
	for (size_t i = 0; i < n; i++)
		out[i] = (char)tolower((unsigned char)name[i]);
	out[n] = '\0';
	return true;
}

/* SNI, and what the certificate must be for. */
static bool set_name(struct tls_conn *conn, const char *given, unsigned flags)
{
	bool none = conn->check == TLS_CHECK_NONE;
	X509_VERIFY_PARAM *param = SSL_get0_param(conn->ssl);
	char name[TLS_NAME_MAX + 1];

	if (!copy_name(name, given))
		return none;
	if (is_numeric(name))
		return none || X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
	if (!tls_text_set(&conn->info.sni, name))
		return false;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | flags);
	return SSL_set_tlsext_host_name(conn->ssl, name) == 1 &&
	       (none || SSL_set1_host(conn->ssl, name) == 1);
}

static void set_check(struct tls_conn *conn, enum tls_check check)
{
	bool must = check == TLS_CHECK_PKIX || check == TLS_CHECK_DANE;

	conn->check = check;
	conn->verify_level = SSL_get_security_level(conn->ssl);
	SSL_set_verify(conn->ssl, must ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	if (!must)
		SSL_set_security_level(conn->ssl, 0);
}

/* The records, once the name is set. False: none can be used, or memory is short. */
static bool set_records(struct tls_conn *conn, const struct tls_client_peer *peer)
{
	char other[TLS_NAME_MAX + 1];
	bool any = false;

	if (conn->info.sni[0] == '\0' || SSL_dane_enable(conn->ssl, conn->info.sni) != 1)
		return false;
	(void)SSL_dane_set_flags(conn->ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	if (peer->other_name != NULL && copy_name(other, peer->other_name) && !is_numeric(other) &&
		SSL_add1_host(conn->ssl, other) != 1)
		return false;
	for (size_t i = 0; i < peer->tlsa_n && i < TLS_TLSA_MAX; i++) {
		const struct tls_tlsa *tlsa = &peer->tlsa[i];
		int added = SSL_dane_tlsa_add(conn->ssl, tlsa->usage, tlsa->selector,
			tlsa->matching, tlsa->data.p, tlsa->data.n);

		if (added < 0)
			return false;
		any |= added > 0;
	}
	return any;
}

static struct tls_conn *open_conn(struct tls_client *client, const struct tls_kernel *kernel,
	enum ktls_mode mode, const struct tls_client_peer *peer, unsigned name_flags)
{
	struct tls_conn *conn = tls_conn_new(client->context, kernel, mode, true);
	bool good;

	if (conn == NULL)
		return NULL;
	set_check(conn, peer->check);
	good = set_name(conn, peer->name, name_flags) &&
	       (peer->check != TLS_CHECK_DANE || set_records(conn, peer));
	ERR_clear_error();
	if (good)
		return conn;
	tls_conn_close(conn);
	return NULL;
}

struct tls_conn *tls_client_conn_to(struct tls_client *client, const struct tls_kernel *kernel,
	enum ktls_mode mode, const struct tls_client_peer *peer)
{
	bool pkix = peer->check == TLS_CHECK_PKIX || peer->check == TLS_CHECK_TELL;

	return open_conn(
		client, kernel, mode, peer, pkix ? X509_CHECK_FLAG_NEVER_CHECK_SUBJECT : 0);
}

struct tls_conn *tls_client_conn_open(struct tls_client *client, const struct tls_kernel *kernel,
	enum ktls_mode mode, const char *name)
{
	const struct tls_client_peer peer = {
		.check = client->verify ? TLS_CHECK_PKIX : TLS_CHECK_NONE, .name = name};

	return open_conn(client, kernel, mode, &peer, 0);
}
