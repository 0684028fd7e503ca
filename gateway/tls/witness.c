/* SPDX-License-Identifier: MIT */
/*
 * witness.c -- hears the TLS 1.3 secrets and keys as OpenSSL derives them, for the kernel to have.
 *
 * OpenSSL's key schedule asks its providers for the function TLS13-KDF (RFC 8446 7.1). Here is a
 * provider that has nothing else: it hands each request on to the function that was there before,
 * and the connection whose call this thread is in hears label and result. Nothing is computed here.
 * Only contexts that are made with TLS_WITNESS_PROPERTIES are heard: those whose connections the
 * kernel may take over.
 *
 * Two things belong to the process, not to a context: the provider, as OpenSSL has no way to
 * take one back, and, for each thread, the connection that hears; a KDF is not told for whom it works.
 *
 * Rejected: the key log callback, which has OpenSSL write five secrets in hex with a sprintf() an
 * octet (230,000 instructions a handshake; this costs about a tenth); SSL_OP_ENABLE_KTLS with a BIO
 * that takes BIO_CTRL_SET_KTLS: OpenSSL 3.0 offers no receive keys in TLS 1.3 there, and a key without
 * its secret cannot follow a KeyUpdate; computing the KDF here: some hundredths of a handshake saved,
 * and cryptography of our own. A libssl that no longer asks providers would leave the secrets unknown,
 * and connections in user space.
 */
#include "tls/tls-private.h"

#include <threads.h>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>

#define KDF_NAME "TLS13-KDF"

static EVP_KDF *genuine;
static OSSL_PROVIDER *provider;
static _Thread_local struct tls_conn *hearer;

void tls_witness_for(struct tls_conn *conn)
{
	hearer = conn;
}

/* ---- the function ---- */

static void hear(const OSSL_PARAM params[], const uint8_t *out, size_t n)
{
	const OSSL_PARAM *label = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_LABEL);
	const OSSL_PARAM *from = OSSL_PARAM_locate_const(params, OSSL_KDF_PARAM_KEY);

	if (label != NULL && from != NULL)
		tls_conn_derived(hearer, span_of(label->data, label->data_size),
			span_of(from->data, from->data_size), span_of(out, n));
}

static int kdf_derive(void *kdf, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
	if (EVP_KDF_derive(kdf, out, n, params) != 1)
		return 0;
	if (hearer != NULL && params != NULL)
		hear(params, out, n);
	return 1;
}

static void *kdf_new(void *owner)
{
	(void)owner;
	return EVP_KDF_CTX_new(genuine);
}

static void kdf_free(void *kdf)
{
	EVP_KDF_CTX_free(kdf);
}

static void kdf_reset(void *kdf)
{
	EVP_KDF_CTX_reset(kdf);
}

static int kdf_set(void *kdf, const OSSL_PARAM params[])
{
	return EVP_KDF_CTX_set_params(kdf, params);
}

static const OSSL_PARAM *kdf_settable(void *kdf, void *owner)
{
	(void)kdf;
	(void)owner;
	return EVP_KDF_settable_ctx_params(genuine);
}

/* ---- the provider ---- */

typedef void (*function)(void);

static const OSSL_DISPATCH kdf_functions[] = {
	{OSSL_FUNC_KDF_NEWCTX, (function)kdf_new},
	{OSSL_FUNC_KDF_FREECTX, (function)kdf_free},
	{OSSL_FUNC_KDF_RESET, (function)kdf_reset},
	{OSSL_FUNC_KDF_DERIVE, (function)kdf_derive},
	{OSSL_FUNC_KDF_SET_CTX_PARAMS, (function)kdf_set},
	{OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, (function)kdf_settable},
	{0, NULL},
};

static const OSSL_ALGORITHM algorithms[] = {
	{KDF_NAME, "provider=" TLS_WITNESS_PROVIDER, kdf_functions, NULL},
	{NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM *query(void *owner, int operation, int *no_cache)
{
	(void)owner;
	*no_cache = 0;
	return operation == OSSL_OP_KDF ? algorithms : NULL;
}

static const OSSL_DISPATCH provider_functions[] = {
	{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (function)query},
	{0, NULL},
};

static int provider_init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *offered,
	const OSSL_DISPATCH **functions, void **owner)
{
	(void)offered;
	*functions = provider_functions;
	*owner = (void *)(uintptr_t)core;
	return 1;
}

static void open_once(void)
{
	genuine = EVP_KDF_fetch(NULL, KDF_NAME, NULL); /* before there is another */
	if (genuine != NULL &&
		OSSL_PROVIDER_add_builtin(NULL, TLS_WITNESS_PROVIDER, provider_init) == 1)
		provider = OSSL_PROVIDER_try_load(NULL, TLS_WITNESS_PROVIDER, 1);
}

int tls_witness_open(void)
{
	static once_flag once = ONCE_FLAG_INIT;

	call_once(&once, open_once);
	return provider != NULL ? 0 : -1;
}
