/* SPDX-License-Identifier: MIT */
/*
 * witness.c -- the TLS 1.3 key schedule's function, TLS13-KDF (RFC 8446 7.1): computed here, as that is
 * cheaper than OpenSSL 3.0's own, and heard, as the kernel is to have some of the results.
 *
 * OpenSSL asks its providers for this function. Here is a provider that has this and HMAC (mac.c). Contexts
 * made with TLS_SCHEDULE_PROPERTIES have it asked first. What a handshake asks for is read once and
 * computed by hkdf.c; anything else goes on to the function that was there before, which also says
 * what is wrong with a request that makes no sense. The connection whose call this thread is in hears
 * label and result.
 *
 * Nothing is computed here unless the function that was there before is of OpenSSL's default provider:
 * where another was configured (FIPS, an accelerator's), it is that one's job, and it is only heard.
 *
 * Two things belong to the process, not to a context: the provider, as OpenSSL has no way to
 * take one back, and, for each thread, the connection that hears; a KDF is not told for whom it works.
 *
 * Rejected: the key log callback, which has OpenSSL write five secrets in hex with a sprintf() an
 * octet (230,000 instructions a handshake); SSL_OP_ENABLE_KTLS with a BIO that takes
 * BIO_CTRL_SET_KTLS: OpenSSL 3.0 offers no receive keys in TLS 1.3 there, and a key without its secret
 * cannot follow a KeyUpdate. A libssl that no longer asks providers would leave the secrets unknown,
 * and connections in user space.
 */
#include "tls/schedule.h"
#include "tls/tls-private.h"

#include <stdlib.h>
#include <threads.h>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>

#define KDF_NAME "TLS13-KDF"

static EVP_KDF *genuine;
static bool computes; /* in the genuine one's place */
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

/* What is not computed here, the genuine one does. */
struct kdf {
	EVP_KDF_CTX *genuine; /* NULL: not needed yet */
};

static EVP_KDF_CTX *genuine_of(struct kdf *kdf)
{
	if (kdf->genuine == NULL)
		kdf->genuine = EVP_KDF_CTX_new(genuine);
	return kdf->genuine;
}

static bool read_mode(struct tls_hkdf *asked, const OSSL_PARAM *param)
{
	int mode;

	if (param->data_type != OSSL_PARAM_INTEGER || OSSL_PARAM_get_int(param, &mode) != 1)
		return false;
	asked->extract = mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY;
	return asked->extract || mode == EVP_KDF_HKDF_MODE_EXPAND_ONLY;
}

static bool read_digest(struct tls_hkdf *asked, const OSSL_PARAM *param)
{
	if (param->data_type != OSSL_PARAM_UTF8_STRING || param->data == NULL)
		return false;
	asked->hash = tls_hash_find(span_of(param->data, param->data_size));
	return asked->hash != NULL;
}

static bool read_octets(struct tls_hkdf *asked, const OSSL_PARAM *param)
{
	const struct {
		const char *key;
		struct span *octets;
	} places[] = {
		{OSSL_KDF_PARAM_KEY, &asked->key},
		{OSSL_KDF_PARAM_PREFIX, &asked->prefix},
		{OSSL_KDF_PARAM_LABEL, &asked->label},
		{OSSL_KDF_PARAM_DATA, &asked->data},
		{OSSL_KDF_PARAM_SALT, &asked->salt},
	};

	if (param->data_type != OSSL_PARAM_OCTET_STRING || param->data == NULL ||
		param->data_size == 0)
		return false;
	for (size_t i = 0; i < COUNT_OF(places); i++)
		if (strcmp(param->key, places[i].key) == 0) {
			*places[i].octets = span_of(param->data, param->data_size);
			return true;
		}
	return false;
}

/* False: something else than what a handshake asks for. */
static bool read_request(struct tls_hkdf *asked, const OSSL_PARAM *param)
{
	bool mode = false;

	for (; param->key != NULL; param++) {
		bool good;

		if (strcmp(param->key, OSSL_KDF_PARAM_MODE) == 0)
			good = mode = read_mode(asked, param);
		else if (strcmp(param->key, OSSL_KDF_PARAM_DIGEST) == 0)
			good = read_digest(asked, param);
		else
			good = read_octets(asked, param);
		if (!good)
			return false;
	}
	return mode && asked->hash != NULL;
}

/* Only for who asks all at once: what was set before is the genuine one's. */
static bool compute(const struct kdf *kdf, uint8_t *out, size_t n, const OSSL_PARAM params[])
{
	struct tls_hkdf asked = {0};

	return computes && kdf->genuine == NULL && params != NULL && read_request(&asked, params) &&
	       tls_hkdf(&asked, out, n);
}

static int kdf_derive(void *p, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
	struct kdf *kdf = p;

	if (!compute(kdf, out, n, params) &&
		(genuine_of(kdf) == NULL || EVP_KDF_derive(kdf->genuine, out, n, params) != 1))
		return 0;
	if (hearer != NULL && params != NULL)
		hear(params, out, n);
	return 1;
}

static void *kdf_new(void *owner)
{
	(void)owner;
	return calloc(1, sizeof(struct kdf));
}

static void kdf_free(void *p)
{
	struct kdf *kdf = p;

	if (kdf == NULL)
		return;
	EVP_KDF_CTX_free(kdf->genuine);
	free(kdf);
}

static void kdf_reset(void *p)
{
	struct kdf *kdf = p;

	EVP_KDF_CTX_free(kdf->genuine);
	kdf->genuine = NULL;
}

static int kdf_set(void *p, const OSSL_PARAM params[])
{
	struct kdf *kdf = p;

	return params == NULL ||
	       (genuine_of(kdf) != NULL && EVP_KDF_CTX_set_params(kdf->genuine, params) == 1);
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

#define PROPERTIES "provider=" TLS_SCHEDULE_PROVIDER

static const OSSL_ALGORITHM kdfs[] = {
	{KDF_NAME, PROPERTIES, kdf_functions, NULL},
	{NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM macs[] = {
	{"HMAC", PROPERTIES, tls_mac_functions, NULL},
	{NULL, NULL, NULL, NULL},
};

static const OSSL_ALGORITHM *query(void *owner, int operation, int *no_cache)
{
	(void)owner;
	*no_cache = 0;
	if (operation == OSSL_OP_KDF)
		return kdfs;
	return operation == OSSL_OP_MAC && computes ? macs : NULL;
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
	if (genuine == NULL)
		return;
	computes =
		strcmp(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(genuine)), "default") == 0 &&
		tls_hash_find(span_str("SHA2-256")) != NULL && tls_mac_open();
	if (OSSL_PROVIDER_add_builtin(NULL, TLS_SCHEDULE_PROVIDER, provider_init) == 1)
		provider = OSSL_PROVIDER_try_load(NULL, TLS_SCHEDULE_PROVIDER, 1);
}

int tls_witness_open(void)
{
	static once_flag once = ONCE_FLAG_INIT;

	call_once(&once, open_once);
	return provider != NULL ? 0 : -1;
}

bool tls_witness_computes(void)
{
	return tls_witness_open() == 0 && computes;
}

bool tls_schedule_add(OSSL_LIB_CTX *library)
{
	return tls_witness_computes() &&
	       OSSL_PROVIDER_add_builtin(library, TLS_SCHEDULE_PROVIDER, provider_init) == 1 &&
	       OSSL_PROVIDER_load(library, TLS_SCHEDULE_PROVIDER) != NULL;
}
