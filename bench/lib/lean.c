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
#include "tls/schedule.h"

#define CHOSEN_MAX 16

static OSSL_PROVIDER *whole; /* the default provider, of OpenSSL's own library */
/* What is handed on of the operations that OpenSSL looks through; each ends with an empty one. */
static OSSL_ALGORITHM decoders[CHOSEN_MAX + 1];
static OSSL_ALGORITHM keys[CHOSEN_MAX + 1];
static OSSL_ALGORITHM ciphers[CHOSEN_MAX + 1];
static OSSL_LIB_CTX *library;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool is_one_of(const OSSL_ALGORITHM *algorithm, const char *const *names)
{
	size_t n = strcspn(algorithm->algorithm_names, ":");

	for (; *names; names++)
		if (strlen(*names) == n && strncmp(algorithm->algorithm_names, *names, n) == 0)
			return true;
	return false;
}

/* A decoder of the public key in a certificate, of a type that servers have? */
static bool is_decoder(const OSSL_ALGORITHM *decoder)
{
	static const char *const types[] = {"EC", "RSA", "RSA-PSS", "ED25519", "ED448", NULL};

	return strstr(decoder->property_definition, "input=der") &&
	       strstr(decoder->property_definition, "structure=SubjectPublicKeyInfo") &&
	       is_one_of(decoder, types);
}

/* Of a server's key, of a key exchange, or (HMAC) of what TLS computes from one? */
static bool is_key(const OSSL_ALGORITHM *key)
{
	static const char *const types[] = {
		"EC", "RSA", "RSA-PSS", "ED25519", "ED448", "X25519", "X448", "DH", "HMAC", NULL};

	return is_one_of(key, types);
}

/* Of a TLS suite? */
static bool is_cipher(const OSSL_ALGORITHM *cipher)
{
	static const char *const modes[] = {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305",
		"AES-128-CCM", "AES-256-CCM", "AES-128-CBC", "AES-256-CBC", "AES-128-CBC-HMAC-SHA1",
		"AES-256-CBC-HMAC-SHA1", "AES-128-CBC-HMAC-SHA256", "AES-256-CBC-HMAC-SHA256",
		"ARIA-128-GCM", "ARIA-256-GCM", "CAMELLIA-128-CBC", "CAMELLIA-256-CBC", NULL};

	return is_one_of(cipher, modes);
}

static bool choose(
	OSSL_ALGORITHM *chosen, int operation, bool (*is_wanted)(const OSSL_ALGORITHM *algorithm))
{
	int no_cache = 0;
	const OSSL_ALGORITHM *all = OSSL_PROVIDER_query_operation(whole, operation, &no_cache);
	size_t n = 0;

	for (; all && all->algorithm_names && n < CHOSEN_MAX; all++)
		if (is_wanted(all))
			chosen[n++] = *all;
	return n > 0;
}

/* ---- the provider ---- */

static const OSSL_ALGORITHM *query(void *context, int operation, int *no_cache)
{
	(void)context;
	*no_cache = 0;
	switch (operation) {
	case OSSL_OP_DECODER:
		return decoders;
	case OSSL_OP_KEYMGMT:
		return keys;
	case OSSL_OP_CIPHER:
		return ciphers;
	default:
		return OSSL_PROVIDER_query_operation(whole, operation, no_cache);
	}
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
	if (made && whole && choose(decoders, OSSL_OP_DECODER, is_decoder) &&
		choose(ciphers, OSSL_OP_CIPHER, is_cipher) &&
		choose(keys, OSSL_OP_KEYMGMT, is_key) &&
		OSSL_PROVIDER_add_builtin(made, "lean", provider_init) == 1 &&
		OSSL_PROVIDER_load(made, "lean"))
		library = made;
	else
		OSSL_LIB_CTX_free(made);
	(void)!(library && tls_schedule_add(library)); /* OpenSSL's own does as well */
	ERR_clear_error();
}

OSSL_LIB_CTX *lean_library(void)
{
	(void)pthread_once(&once, library_make);
	return library;
}
