/* SPDX-License-Identifier: MIT */
/*
 * library.c -- an OpenSSL library with those of the default provider's algorithms that TLS uses, and few
 * names.
 *
 * For each key, and for each use of one, OpenSSL 3.0 looks through the names of all algorithms that a library
 * has met: twenty times a handshake through some 750, which leaves little else in the nearest cache. A
 * library begins with the names of all ciphers and digests that OpenSSL ever knew, then come those of what its
 * providers offer. Here is a provider that hands on a part of the default one: the algorithms and what
 * they compute are the same. For a certificate that is read, it has the decoders of public keys only.
 *
 * The old names are taken away while the library is made, and given back: there is no other way to have
 * none. That is done once, at the start.
 *
 * Not its job: contexts of clients, which verify what others signed with whatever they had.
 *
 * Rejected: to remember parsed certificates (OpenSSL has no hook before it parses); OpenSSL 3.2 and later,
 * which remember the decoders themselves (not in Debian 12); OpenSSL without old names altogether, which
 * then does not find the digest of a certificate's signature.
 */
#include "tls/library.h"

#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include "base/base.h"
#include "tls/schedule.h"
#include "tls/tls-private.h"

#define PROVIDER   "lean"
#define CHOSEN_MAX 16
#define NAMES_MAX  1024

static OSSL_PROVIDER *whole; /* the default provider, of OpenSSL's own library */
static OSSL_LIB_CTX *library;

/* ---- what is handed on ---- */

/* Of an operation; each list ends with an empty one. */
struct choice {
	int operation;
	const char *names[CHOSEN_MAX + 1];
	const char *property; /* a part of its definition; NULL: any */
	OSSL_ALGORITHM chosen[CHOSEN_MAX + 1];
};

static struct choice choices[] = {
	{OSSL_OP_DIGEST,
		{"MD5", "SHA1", "MD5-SHA1", "SHA2-224", "SHA2-256", "SHA2-384", "SHA2-512"}, NULL,
		{{0}}},
	{OSSL_OP_CIPHER,
		{"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305", "AES-128-CCM", "AES-256-CCM",
			"AES-128-CBC", "AES-256-CBC", "AES-128-CBC-HMAC-SHA1",
			"AES-256-CBC-HMAC-SHA1", "AES-128-CBC-HMAC-SHA256",
			"AES-256-CBC-HMAC-SHA256"},
		NULL, {{0}}},
	{OSSL_OP_MAC, {"HMAC"}, NULL, {{0}}},
	{OSSL_OP_KDF, {"HKDF", "TLS13-KDF", "TLS1-PRF"}, NULL, {{0}}},
	{OSSL_OP_RAND, {"CTR-DRBG", "SEED-SRC"}, NULL, {{0}}},
	{OSSL_OP_KEYMGMT,
		{"EC", "RSA", "RSA-PSS", "ED25519", "ED448", "DSA", "X25519", "X448", "DH", "HMAC"},
		NULL, {{0}}},
	{OSSL_OP_KEYEXCH, {"ECDH", "X25519", "X448", "DH"}, NULL, {{0}}},
	{OSSL_OP_SIGNATURE, {"ECDSA", "RSA", "ED25519", "ED448", "DSA", "HMAC"}, NULL, {{0}}},
	{OSSL_OP_DECODER, {"EC", "RSA", "RSA-PSS", "ED25519", "ED448", "DSA"},
		"input=der,structure=SubjectPublicKeyInfo", {{0}}},
};

static bool is_chosen(const struct choice *choice, const OSSL_ALGORITHM *algorithm)
{
	size_t n = strcspn(algorithm->algorithm_names, ":");

	if (choice->property != NULL &&
		strstr(algorithm->property_definition, choice->property) == NULL)
		return false;
	for (const char *const *name = choice->names; *name != NULL; name++)
		if (strlen(*name) == n && strncmp(algorithm->algorithm_names, *name, n) == 0)
			return true;
	return false;
}

/* False: some are not what is known here. */
static bool choose(struct choice *choice)
{
	int no_cache = 0;
	const OSSL_ALGORITHM *all =
		OSSL_PROVIDER_query_operation(whole, choice->operation, &no_cache);
	size_t wanted = 0;
	size_t n = 0;

	while (choice->names[wanted] != NULL)
		wanted++;
	for (; all != NULL && all->algorithm_names != NULL; all++)
		if (is_chosen(choice, all)) {
			if (n == wanted)
				return false;
			choice->chosen[n++] = *all;
		}
	return n == wanted;
}

/* ---- the provider ---- */

static const OSSL_ALGORITHM *query(void *context, int operation, int *no_cache)
{
	(void)context;
	*no_cache = 0;
	for (size_t i = 0; i < COUNT_OF(choices); i++)
		if (choices[i].operation == operation)
			return choices[i].chosen;
	return NULL;
}

static int capabilities(void *context, const char *name, OSSL_CALLBACK *callback, void *arg)
{
	(void)context;
	return OSSL_PROVIDER_get_capabilities(whole, name, callback, arg);
}

typedef void (*function)(void);

static int provider_init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *offered,
	const OSSL_DISPATCH **functions, void **context)
{
	static const OSSL_DISPATCH own[] = {
		{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (function)query},
		{OSSL_FUNC_PROVIDER_GET_CAPABILITIES, (function)capabilities},
		{0, NULL},
	};

	(void)core;
	(void)offered;
	*functions = own;
	/* The algorithms are the default provider's and want its context. */
	*context = OSSL_PROVIDER_get0_provider_ctx(whole);
	return 1;
}

/* ---- the old names ---- */

struct names {
	struct {
		const char *name;
		const char *data;
		int type;
	} all[NAMES_MAX];
	size_t n;
	bool full;
};

static void note(const OBJ_NAME *name, void *p)
{
	struct names *names = p;

	if (names->n == NAMES_MAX) {
		names->full = true;
		return;
	}
	names->all[names->n].name = name->name; /* OpenSSL's own texts: they stay */
	names->all[names->n].data = name->data;
	names->all[names->n++].type = name->type | (name->alias != 0 ? OBJ_NAME_ALIAS : 0);
}

static void names_take(struct names *names)
{
	names->n = 0;
	names->full = false;
	OBJ_NAME_do_all(OBJ_NAME_TYPE_CIPHER_METH, note, names);
	OBJ_NAME_do_all(OBJ_NAME_TYPE_MD_METH, note, names);
	if (names->full)
		names->n = 0;
	for (size_t i = 0; i < names->n; i++)
		(void)OBJ_NAME_remove(names->all[i].name, names->all[i].type);
}

static bool names_give_back(const struct names *names)
{
	bool good = true;

	for (size_t i = 0; i < names->n; i++)
		good = OBJ_NAME_add(names->all[i].name, names->all[i].type, names->all[i].data) ==
			       1 &&
		       good;
	return good;
}

/* A library takes the old names when it is first asked for anything. Nothing is found by this, and so
 * nothing is made while the names are away: an algorithm's number comes from them. */
static bool names_begin(OSSL_LIB_CTX *made)
{
	struct names *names = malloc(sizeof(*names));
	bool good = names != NULL;

	if (good) {
		names_take(names);
		EVP_KEM_free(EVP_KEM_fetch(made, "none", NULL));
		good = names_give_back(names);
	}
	free(names);
	return good;
}

/* ---- the library ---- */

static int is_known(OSSL_PROVIDER *provider, void *known)
{
	const char *name = OSSL_PROVIDER_get0_name(provider);

	if (strcmp(name, "default") != 0 && strcmp(name, TLS_SCHEDULE_PROVIDER) != 0)
		*(bool *)known = false;
	return 1;
}

/* The random numbers are those that OpenSSL has unless it is told otherwise. */
static bool is_usual_random(void)
{
	EVP_RAND_CTX *primary = RAND_get0_primary(NULL);
	char cipher[32] = "";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_DRBG_PARAM_CIPHER, cipher, sizeof(cipher)),
		OSSL_PARAM_construct_end(),
	};

	return primary != NULL && EVP_RAND_is_a(EVP_RAND_CTX_get0_rand(primary), "CTR-DRBG") == 1 &&
	       EVP_RAND_CTX_get_params(primary, params) == 1 && strcmp(cipher, "AES-256-CTR") == 0;
}

/* The user has OpenSSL configured with no other provider and no other random numbers. */
static bool is_as_delivered(void)
{
	bool known = true;

	return tls_witness_computes() && OSSL_PROVIDER_do_all(NULL, is_known, &known) == 1 &&
	       known && is_usual_random();
}

static bool fill(OSSL_LIB_CTX *made)
{
	whole = OSSL_PROVIDER_load(NULL, "default");
	if (whole == NULL)
		return false;
	for (size_t i = 0; i < COUNT_OF(choices); i++)
		if (!choose(&choices[i]))
			return false;
	return OSSL_PROVIDER_add_builtin(made, PROVIDER, provider_init) == 1 &&
	       OSSL_PROVIDER_load(made, PROVIDER) != NULL && names_begin(made) &&
	       tls_schedule_add(made);
}

static void library_make(void)
{
	OSSL_LIB_CTX *made = is_as_delivered() ? OSSL_LIB_CTX_new() : NULL;

	if (made != NULL && fill(made))
		library = made;
	else
		OSSL_LIB_CTX_free(made);
	ERR_clear_error();
}

OSSL_LIB_CTX *tls_library(void)
{
	static once_flag once = ONCE_FLAG_INIT;

	call_once(&once, library_make);
	return library;
}
