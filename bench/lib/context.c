/* SPDX-License-Identifier: MIT */
/* context.c -- see context.h. */
#include "bench/lib/context.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "tls/library.h"
#include "tls/schedule.h"

#define CERTIFICATE_SECONDS (30 * 86400L)

static int openssl_failed(struct err *err, const char *what)
{
	unsigned long why = ERR_get_error();
	char text[256] = "no reason given";

	if (why)
		ERR_error_string_n(why, text, sizeof(text));
	ERR_clear_error();
	return err_set(err, "%s: %s", what, text);
}

static void common(SSL_CTX *context, bool many_idle)
{
	SSL_CTX_set_mode(
		context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (many_idle)
		SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(context, 1);
}

static int choose_suite(SSL_CTX *context, const char *cipher)
{
	if (strncmp(cipher, "TLS_", 4) == 0)
		return SSL_CTX_set_ciphersuites(context, cipher);
	return SSL_CTX_set_cipher_list(context, cipher);
}

static int choose_version(SSL_CTX *context, const char *version)
{
	int number = strcmp(version, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;

	return SSL_CTX_set_min_proto_version(context, number) &&
	       SSL_CTX_set_max_proto_version(context, number);
}

static int anyone(X509_STORE_CTX *store, void *arg)
{
	(void)store;
	(void)arg;
	return 1;
}

int context_client(SSL_CTX **out, const struct context_settings *settings, struct err *err)
{
	SSL_CTX *context =
		SSL_CTX_new_ex(tls_library(), TLS_SCHEDULE_PROPERTIES, TLS_client_method());

	*out = NULL;
	if (!context)
		return openssl_failed(err, "TLS");
	common(context, settings->many_idle);
	SSL_CTX_set_cert_verify_callback(context, anyone, NULL);
	SSL_CTX_set_session_cache_mode(
		context, settings->resume ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL
					  : SSL_SESS_CACHE_OFF);
	if (settings->version && !choose_version(context, settings->version))
		goto wrong;
	if (settings->cipher && !choose_suite(context, settings->cipher))
		goto wrong;
	if (settings->groups && !SSL_CTX_set1_groups_list(context, settings->groups))
		goto wrong;
	*out = context;
	return 0;
wrong:
	SSL_CTX_free(context);
	return openssl_failed(err, "TLS version, cipher or groups");
}

/* ---- the sink's own certificate ---- */

static bool certificate_fill(X509 *certificate, EVP_PKEY *key)
{
	X509_NAME *name = X509_get_subject_name(certificate);

	return X509_set_version(certificate, X509_VERSION_3) &&
	       ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) &&
	       X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) &&
	       X509_gmtime_adj(X509_getm_notAfter(certificate), CERTIFICATE_SECONDS) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
		       (const unsigned char *)"postern-sink", -1, -1, 0) &&
	       X509_set_issuer_name(certificate, name) && X509_set_pubkey(certificate, key) &&
	       X509_sign(certificate, key, EVP_sha256()) > 0;
}

static bool use_self_made(SSL_CTX *context)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	bool good = key && certificate && certificate_fill(certificate, key) &&
		    SSL_CTX_use_certificate(context, certificate) &&
		    SSL_CTX_use_PrivateKey(context, key);

	X509_free(certificate);
	EVP_PKEY_free(key);
	return good;
}

int context_server(SSL_CTX **out, const char *chain, const char *key, struct err *err)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	bool good;

	*out = NULL;
	if (!context)
		return openssl_failed(err, "TLS");
	common(context, true);
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	if (chain)
		good = SSL_CTX_use_certificate_chain_file(context, chain) == 1 &&
		       SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1;
	else
		good = use_self_made(context);
	if (!good) {
		SSL_CTX_free(context);
		return openssl_failed(err, chain ? chain : "self-made certificate");
	}
	*out = context;
	return 0;
}
