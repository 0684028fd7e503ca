/* SPDX-License-Identifier: MIT */
/*
 * mac.c -- HMAC with SHA-256 or SHA-384 for OpenSSL to call: of Finished, of tickets, and of a resumed
 * session's binder. OpenSSL 3.0's own makes four objects and looks the hash up for each.
 *
 * The provider of witness.c offers it, to contexts that ask for that provider. Whatever else is asked of
 * an HMAC (another hash, a key longer than a block, a parameter not known here) is done by the
 * one that was there before, from then on for the object's life.
 *
 * Invariant: keys are in the object only, and are wiped with it.
 */
#include "tls/tls-private.h"

#include <stdlib.h>

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/provider.h>

struct mac {
	const struct tls_hash *hash; /* NULL: not set yet */
	bool keyed;
	struct tls_hmac hmac;
	EVP_MAC_CTX *genuine; /* NULL: computed here */
};

static EVP_MAC *genuine;

/* Hands over to the genuine one. Not in the middle: what a key was is not known any more. */
static bool hand_over(struct mac *mac)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
			(char *)(uintptr_t)(mac->hash != NULL ? tls_hash_name(mac->hash) : ""), 0),
		OSSL_PARAM_construct_end(),
	};

	if (mac->genuine != NULL)
		return true;
	if (mac->keyed)
		return false;
	mac->genuine = EVP_MAC_CTX_new(genuine);
	return mac->genuine != NULL &&
	       (mac->hash == NULL || EVP_MAC_CTX_set_params(mac->genuine, params) == 1);
}

static bool set_key(struct mac *mac, struct span key)
{
	mac->keyed = tls_hmac_key(&mac->hmac, mac->hash, key);
	return mac->keyed;
}

/* False: not for us. The properties say where a hash is to be looked up. */
static bool read_params(const OSSL_PARAM *param, const struct tls_hash **hash, struct span *key)
{
	for (; param->key != NULL; param++) {
		struct span value = span_of(param->data, param->data_size);

		if (strcmp(param->key, OSSL_MAC_PARAM_PROPERTIES) == 0)
			continue;
		if (value.p == NULL)
			return false;
		if (strcmp(param->key, OSSL_MAC_PARAM_DIGEST) == 0 &&
			param->data_type == OSSL_PARAM_UTF8_STRING)
			*hash = tls_hash_find(value);
		else if (strcmp(param->key, OSSL_MAC_PARAM_KEY) == 0 &&
			 param->data_type == OSSL_PARAM_OCTET_STRING)
			*key = value;
		else
			return false;
	}
	return *hash != NULL && (key->p == NULL || key->n <= tls_hash_block_n(*hash));
}

static int mac_set(void *p, const OSSL_PARAM params[])
{
	struct mac *mac = p;
	const struct tls_hash *hash = mac->hash;
	struct span key = {0};

	if (params == NULL || params[0].key == NULL)
		return 1;
	if (mac->genuine == NULL && read_params(params, &hash, &key)) {
		if (hash != mac->hash)
			mac->keyed = false;
		mac->hash = hash;
		return key.p == NULL || set_key(mac, key);
	}
	if (OSSL_PARAM_locate_const(params, OSSL_MAC_PARAM_KEY) != NULL)
		mac->keyed = false; /* a new key begins a new life */
	return hand_over(mac) && EVP_MAC_CTX_set_params(mac->genuine, params) == 1;
}

static int mac_init(void *p, const unsigned char *key, size_t n, const OSSL_PARAM params[])
{
	struct mac *mac = p;

	if (!mac_set(mac, params))
		return 0;
	if (mac->genuine == NULL && mac->hash != NULL) {
		if (key == NULL)
			return mac->keyed && tls_hmac_begin(&mac->hmac);
		if (n <= tls_hash_block_n(mac->hash))
			return set_key(mac, span_of(key, n));
		mac->keyed = false;
	}
	return hand_over(mac) && EVP_MAC_init(mac->genuine, key, n, NULL) == 1;
}

static int mac_update(void *p, const unsigned char *text, size_t n)
{
	struct mac *mac = p;

	if (mac->genuine != NULL)
		return EVP_MAC_update(mac->genuine, text, n);
	return mac->keyed && tls_hmac_add(&mac->hmac, span_of(text, n));
}

static int mac_final(void *p, unsigned char *out, size_t *n, size_t room)
{
	struct mac *mac = p;

	if (mac->genuine != NULL)
		return EVP_MAC_final(mac->genuine, out, n, room);
	if (!mac->keyed || room < tls_hash_n(mac->hash) || !tls_hmac_end(&mac->hmac, out))
		return 0;
	*n = tls_hash_n(mac->hash);
	return 1;
}

static int mac_get(void *p, OSSL_PARAM params[])
{
	struct mac *mac = p;
	OSSL_PARAM *size = OSSL_PARAM_locate(params, OSSL_MAC_PARAM_SIZE);
	OSSL_PARAM *block = OSSL_PARAM_locate(params, OSSL_MAC_PARAM_BLOCK_SIZE);

	if (mac->genuine != NULL)
		return EVP_MAC_CTX_get_params(mac->genuine, params);
	if (mac->hash == NULL)
		return 0;
	return (size == NULL || OSSL_PARAM_set_size_t(size, tls_hash_n(mac->hash)) == 1) &&
	       (block == NULL || OSSL_PARAM_set_size_t(block, tls_hash_block_n(mac->hash)) == 1);
}

static const OSSL_PARAM *mac_gettable(void *p, void *owner)
{
	(void)p;
	(void)owner;
	return EVP_MAC_gettable_ctx_params(genuine);
}

static const OSSL_PARAM *mac_settable(void *p, void *owner)
{
	(void)p;
	(void)owner;
	return EVP_MAC_settable_ctx_params(genuine);
}

static void *mac_new(void *owner)
{
	(void)owner;
	return calloc(1, sizeof(struct mac));
}

static void mac_free(void *p)
{
	struct mac *mac = p;

	if (mac == NULL)
		return;
	EVP_MAC_CTX_free(mac->genuine);
	wipe(mac, sizeof(*mac));
	free(mac);
}

static void *mac_dup(void *p)
{
	const struct mac *mac = p;
	struct mac *copy = mac_new(NULL);

	if (copy == NULL)
		return NULL;
	*copy = *mac;
	if (mac->genuine == NULL)
		return copy;
	copy->genuine = EVP_MAC_CTX_dup(mac->genuine);
	if (copy->genuine != NULL)
		return copy;
	mac_free(copy);
	return NULL;
}

typedef void (*function)(void);

const OSSL_DISPATCH tls_mac_functions[] = {
	{OSSL_FUNC_MAC_NEWCTX, (function)mac_new},
	{OSSL_FUNC_MAC_DUPCTX, (function)mac_dup},
	{OSSL_FUNC_MAC_FREECTX, (function)mac_free},
	{OSSL_FUNC_MAC_INIT, (function)mac_init},
	{OSSL_FUNC_MAC_UPDATE, (function)mac_update},
	{OSSL_FUNC_MAC_FINAL, (function)mac_final},
	{OSSL_FUNC_MAC_GET_CTX_PARAMS, (function)mac_get},
	{OSSL_FUNC_MAC_GETTABLE_CTX_PARAMS, (function)mac_gettable},
	{OSSL_FUNC_MAC_SET_CTX_PARAMS, (function)mac_set},
	{OSSL_FUNC_MAC_SETTABLE_CTX_PARAMS, (function)mac_settable},
	{0, NULL},
};

bool tls_mac_open(void)
{
	genuine = EVP_MAC_fetch(NULL, "HMAC", NULL);
	return genuine != NULL &&
	       strcmp(OSSL_PROVIDER_get0_name(EVP_MAC_get0_provider(genuine)), "default") == 0;
}
