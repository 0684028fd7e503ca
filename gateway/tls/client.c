/* SPDX-License-Identifier: MIT */
/*
 * client.c -- the client's side: whom connections to a next hop trust, and opening one.
 *
 * A struct tls_client is a context with one SSL_CTX in it and the word whether to verify. The
 * connection is conn.c's; it holds the context, so a client may be released while they live.
 *
 * CA certificates are read here, all of them and at once: OpenSSL's own default store looks files
 * up during a handshake, which a worker is not allowed to (no openat under its system call filter).
 *
 * Without verification any certificate is taken, weak ones too: the alternative is plaintext (RFC
 * 7435). A ticket is never offered, and those that come are dropped.
 *
 * Rejected: taking a name that begins with a dot (OpenSSL would accept any host below it), or an
 * empty one (it would compare none).
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

/* ---- open, hold, release ---- */

static int take_any(X509_STORE_CTX *store, void *arg)
{
	(void)arg;
	X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}

static int configure(SSL_CTX *ctx, bool verify)
{
	if (tls_context_protocol(ctx, TLS1_2_VERSION) != 0)
		return -1;
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_keylog_callback(ctx, tls_conn_keylog);
	if (!verify) {
		SSL_CTX_set_security_level(ctx, 0);
		SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
		SSL_CTX_set_cert_verify_callback(ctx, take_any, NULL);
		return 0;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	/* What stands in the CA file is trusted, an intermediate certificate too. */
	return X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN) == 1
		       ? 0
		       : -1;
}

static int open_context(struct tls_context **out, const char *ca_file, bool verify, struct err *err)
{
	struct tls_context *context = tls_context_new(err);
	int result = 0;
	SSL_CTX *ctx;

	if (context == NULL)
		return -1;
	ctx = SSL_CTX_new(TLS_client_method());
	context->sets = calloc(1, sizeof(context->sets[0]));
	if (ctx == NULL || context->sets == NULL) {
		SSL_CTX_free(ctx);
		tls_context_release(context);
		return err_set(err, "out of memory");
	}
	context->sets[context->sets_n++] = ctx;
	if (configure(ctx, verify) != 0)
		result = err_set(err, "OpenSSL refuses the TLS settings: %s", tls_openssl_why());
	else
		result = trust(ctx, ca_file, verify, err);
	if (result != 0)
		tls_context_release(context);
	else
		*out = context;
	return result;
}

int tls_client_open(struct tls_client **out, const char *ca_file, bool verify, struct err *err)
{
	struct tls_client *client = calloc(1, sizeof(*client));
	int result;

	*out = NULL;
	if (client == NULL)
		return err_set(err, "out of memory");
	holders_init(&client->holders);
	client->verify = verify;
	ERR_clear_error();
	result = open_context(&client->context, ca_file, verify, err);
	ERR_clear_error();
	if (result != 0)
		free(client);
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

static bool set_name(struct tls_conn *conn, const char *given, bool verify)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(conn->ssl);
	char name[TLS_NAME_MAX + 1];

	if (!copy_name(name, given))
		return !verify;
	if (is_numeric(name))
		return !verify || X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
	memcpy(conn->info.sni, name, sizeof(name));
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set_tlsext_host_name(conn->ssl, name) == 1 &&
	       (!verify || SSL_set1_host(conn->ssl, name) == 1);
}

struct tls_conn *tls_client_conn_open(struct tls_client *client, const struct tls_kernel *kernel,
	enum ktls_mode mode, const char *name)
{
	struct tls_conn *conn = tls_conn_new(client->context, kernel, mode, true);
	bool good;

	if (conn == NULL)
		return NULL;
	good = set_name(conn, name, client->verify);
	ERR_clear_error();
	if (good)
		return conn;
	tls_conn_close(conn);
	return NULL;
}
