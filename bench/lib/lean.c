/* SPDX-License-Identifier: MIT */
/* lean.c -- see lean.h. */
#include "bench/lib/lean.h"

#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <string.h>

#include "base/base.h"

#define DECODERS_MAX 16

static OSSL_PROVIDER *whole; /* the default provider, of OpenSSL's own library */
static OSSL_ALGORITHM decoders[DECODERS_MAX + 1]; /* ends with an empty one */
static OSSL_LIB_CTX *library;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* A decoder of the public key in a certificate, of a type that servers have? */
static bool is_wanted(const OSSL_ALGORITHM *decoder)
{
	static const char *const types[] = {"EC", "RSA", "RSA-PSS", "ED25519", "ED448"};
	size_t n = strcspn(decoder->algorithm_names, ":");

	if (!strstr(decoder->property_definition, "input=der") ||
		!strstr(decoder->property_definition, "structure=SubjectPublicKeyInfo"))
		return false;
	for (size_t i = 0; i < COUNT_OF(types); i++)
		if (strlen(types[i]) == n && strncmp(decoder->algorithm_names, types[i], n) == 0)
			return true;
	return false;
}

static bool decoders_choose(void)
{
	int no_cache = 0;
	const OSSL_ALGORITHM *all =
		OSSL_PROVIDER_query_operation(whole, OSSL_OP_DECODER, &no_cache);
	size_t n = 0;

	for (; all && all->algorithm_names && n < DECODERS_MAX; all++)
		if (is_wanted(all))
			decoders[n++] = *all;
	return n > 0;
}

/* ---- the provider ---- */

static const OSSL_ALGORITHM *query(void *context, int operation, int *no_cache)
{
	(void)context;
	if (operation != OSSL_OP_DECODER)
		return OSSL_PROVIDER_query_operation(whole, operation, no_cache);
	*no_cache = 0;
	return decoders;
}

static int capabilities(void *context, const char *name, OSSL_CALLBACK *callback, void *arg)
{
	(void)context;
	return OSSL_PROVIDER_get_capabilities(whole, name, callback, arg);
}

static int provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
	const OSSL_DISPATCH **out, void **context)
{
	static const OSSL_DISPATCH calls[] = {
		{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
		{OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (void (*)(void))capabilities},
		{0},
	};

	(void)handle;
	(void)in;
	*out = calls;
	/* The algorithms are the default provider's and want its context. */
	*context = OSSL_PROVIDER_get0_provider_ctx(whole);
	return 1;
}

static void library_make(void)
{
	OSSL_LIB_CTX *made = OSSL_LIB_CTX_new();

	whole = OSSL_PROVIDER_load(NULL, "default");
	if (made && whole && decoders_choose() &&
		OSSL_PROVIDER_add_builtin(made, "lean", provider_init) == 1 &&
		OSSL_PROVIDER_load(made, "lean"))
		library = made;
	else
		OSSL_LIB_CTX_free(made);
	ERR_clear_error();
}

OSSL_LIB_CTX *lean_library(void)
{
	(void)pthread_once(&once, library_make);
	return library;
}
