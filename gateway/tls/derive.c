/* SPDX-License-Identifier: MIT */
/*
 * derive.c -- keys of the record layer that OpenSSL does not derive for us: of the secret after a
 * KeyUpdate that the kernel is to follow (RFC 8446 7.1 to 7.3), and of a TLS 1.2 master secret (RFC
 * 5246 6.3).
 *
 * The first keys of TLS 1.3 are heard (witness.c). One path for all versions of OpenSSL from 3.0 on;
 * its own kTLS support does not offload TLS 1.3 receive before 3.2 and wants to own the socket. AEAD
 * suites have no MAC keys, so a TLS 1.2 key block is two keys and two IVs.
 */
#include "tls/tls-private.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>

#define LABEL_PREFIX "tls13 "
#define LABEL_MAX    16
#define BLOCK_MAX    (2 * TLS_KEY_MAX + 2 * TLS_IV_SIZE)

static int derive(EVP_KDF *kdf, const OSSL_PARAM *params, uint8_t *out, size_t n)
{
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	int good = ctx != NULL && EVP_KDF_derive(ctx, out, n, params) == 1;

	EVP_KDF_CTX_free(ctx);
	return good ? 0 : -1;
}

static OSSL_PARAM param_digest(const char *name, const struct tls_suite *suite)
{
	return OSSL_PARAM_construct_utf8_string(name, (char *)(uintptr_t)suite->digest, 0);
}

static OSSL_PARAM param_octets(const char *name, const void *p, size_t n)
{
	return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)p, n);
}

int tls_derive_label(EVP_KDF *hkdf, const struct tls_suite *suite, const uint8_t *secret,
	const char *label, uint8_t *out, size_t n)
{
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	size_t label_n = strlen(label);
	uint8_t info[2 + 1 + 6 + LABEL_MAX + 1] = {0};
	OSSL_PARAM params[5];

	ASSERT(label_n <= LABEL_MAX && n <= TLS_SECRET_MAX);
	info[1] = (uint8_t)n;
	info[2] = (uint8_t)(strlen(LABEL_PREFIX) + label_n);
	memcpy(info + 3, LABEL_PREFIX, strlen(LABEL_PREFIX));
	memcpy(info + 9, label, label_n);
	params[0] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	params[1] = param_digest(OSSL_KDF_PARAM_DIGEST, suite);
	params[2] = param_octets(OSSL_KDF_PARAM_KEY, secret, suite->secret_n);
	params[3] = param_octets(OSSL_KDF_PARAM_INFO, info, 9 + label_n + 1);
	params[4] = OSSL_PARAM_construct_end();
	return derive(hkdf, params, out, n);
}

int tls_derive_keys(
	EVP_KDF *hkdf, const struct tls_suite *suite, const uint8_t *secret, struct tls_keys *keys)
{
	memset(keys, 0, sizeof(*keys));
	if (tls_derive_label(hkdf, suite, secret, "key", keys->key, suite->key_n) != 0)
		return -1;
	return tls_derive_label(hkdf, suite, secret, "iv", keys->iv, TLS_IV_SIZE);
}

int tls_derive_next(EVP_KDF *hkdf, const struct tls_suite *suite, uint8_t *secret)
{
	uint8_t next[TLS_SECRET_MAX];
	int result = tls_derive_label(hkdf, suite, secret, "traffic upd", next, suite->secret_n);

	if (result == 0)
		memcpy(secret, next, suite->secret_n);
	wipe(next, sizeof(next));
	return result;
}

static void take_block(struct span *block, uint8_t *out, size_t n)
{
	struct span part = span_take(block, n);

	ASSERT(part.n == n);
	memcpy(out, part.p, n);
}

int tls_derive_block(EVP_KDF *prf, const struct tls_suite *suite, struct span master,
	const uint8_t client_random[32], const uint8_t server_random[32], struct tls_keys *client,
	struct tls_keys *server)
{
	/* Without an explicit nonce the whole IV is fixed (RFC 7905); with one, four octets. */
	size_t fixed_n = suite->nonce_n > 0 ? suite->salt_n : TLS_IV_SIZE;
	uint8_t block[BLOCK_MAX];
	struct span rest = span_of(block, 2 * ((size_t)suite->key_n + fixed_n));
	OSSL_PARAM params[6] = {
		param_digest(OSSL_KDF_PARAM_DIGEST, suite),
		param_octets(OSSL_KDF_PARAM_SECRET, master.p, master.n),
		param_octets(OSSL_KDF_PARAM_SEED, "key expansion", 13),
		param_octets(OSSL_KDF_PARAM_SEED, server_random, 32),
		param_octets(OSSL_KDF_PARAM_SEED, client_random, 32),
		OSSL_PARAM_construct_end(),
	};
	int result = derive(prf, params, block, rest.n);

	memset(client, 0, sizeof(*client));
	memset(server, 0, sizeof(*server));
	if (result == 0) {
		take_block(&rest, client->key, suite->key_n);
		take_block(&rest, server->key, suite->key_n);
		take_block(&rest, client->iv, fixed_n);
		take_block(&rest, server->iv, fixed_n);
	}
	wipe(block, sizeof(block));
	return result;
}
