/* SPDX-License-Identifier: MIT */
/*
 * HMAC as the provider offers it (gateway/tls/mac.c): the same as OpenSSL's own, however it is asked.
 * That handshakes, tickets and binders are made and understood with it is shown in conn.c and context.c,
 * against OpenSSL's client. Published vectors are in hkdf.c.
 */
#include "rig.h"
#include "tls/schedule.h"

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/provider.h>

#define ROUNDS   20000
#define KEY_MAX  300
#define TEXT_MAX 400

static uint32_t drawn = 1;

/* From 0 to n - 1; the same at every run. */
static uint32_t draw(uint32_t n)
{
	drawn = drawn * 1664525 + 1013904223;
	return (drawn >> 8) % n;
}

/* How one is asked: drawn once, done twice. */
struct request {
	const char *digest; /* NULL: not said */
	const char *second; /* said after the first; NULL: not */
	uint8_t key[KEY_MAX], text[TEXT_MAX];
	size_t key_n, text_n, cut;
	bool key_by_param; /* and no call of init, as libssl has it with tickets */
	bool properties;
	bool again;  /* a second time with the same key */
	bool copied; /* goes on in a copy, made in the middle */
	bool rather; /* another key before this one */
	size_t room;
};

static void make(struct request *request)
{
	static const char *const digests[] = {"SHA2-256", "SHA2-384", "SHA256", "SHA384",
		"SHA2-512", "sha256", "SHA1", "nonsense"};

	*request = (struct request){
		.digest = digests[draw(10) == 0 ? draw(COUNT_OF(digests)) : draw(4)],
		.key_n = draw(4) == 0 ? draw(KEY_MAX) : 32 + draw(2) * 16,
		.text_n = draw(TEXT_MAX),
		.key_by_param = draw(3) == 0,
		.properties = draw(3) == 0,
		.again = draw(3) == 0,
		.copied = draw(3) == 0,
		.rather = draw(5) == 0,
		.room = draw(20) == 0 ? draw(64) : 64,
	};
	if (draw(20) == 0)
		request->digest = NULL;
	if (draw(20) == 0)
		request->second = digests[draw(COUNT_OF(digests))];
	request->cut = draw((uint32_t)request->text_n + 1);
	for (size_t i = 0; i < request->key_n; i++)
		request->key[i] = (uint8_t)draw(256);
	for (size_t i = 0; i < request->text_n; i++)
		request->text[i] = (uint8_t)draw(256);
}

static bool say(EVP_MAC_CTX *ctx, const char *digest, const struct request *request)
{
	OSSL_PARAM params[4], *p = params;

	if (digest != NULL)
		*p++ = OSSL_PARAM_construct_utf8_string(
			OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)digest, 0);
	if (request->properties)
		*p++ = OSSL_PARAM_construct_utf8_string(
			OSSL_MAC_PARAM_PROPERTIES, (char *)(uintptr_t) "?provider=postern", 0);
	if (request->key_by_param)
		*p++ = OSSL_PARAM_construct_octet_string(
			OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)request->key, request->key_n);
	*p = OSSL_PARAM_construct_end();
	return EVP_MAC_CTX_set_params(ctx, params) == 1;
}

static bool begin(EVP_MAC_CTX *ctx, const struct request *request)
{
	if (!say(ctx, request->digest, request))
		return false;
	if (request->second != NULL && !say(ctx, request->second, request))
		return false;
	if (request->key_by_param)
		return true;
	if (request->rather && EVP_MAC_init(ctx, (const uint8_t *)"other", 5, NULL) != 1)
		return false;
	return EVP_MAC_init(ctx, request->key, request->key_n, NULL) == 1;
}

/* -1: it failed. */
static int answer(EVP_MAC *mac, const struct request *request, uint8_t *out)
{
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac), *copy = NULL;
	size_t n = 0;
	bool good;

	cr_assert(ctx != NULL);
	good = begin(ctx, request);
	if (good && request->again)
		good = EVP_MAC_update(ctx, request->key, request->cut % KEY_MAX) == 1 &&
		       EVP_MAC_final(ctx, out, &n, 64) == 1 &&
		       EVP_MAC_init(ctx, NULL, 0, NULL) == 1;
	good = good && EVP_MAC_update(ctx, request->text, request->cut) == 1;
	if (good && request->copied) {
		copy = EVP_MAC_CTX_dup(ctx);
		cr_assert(copy != NULL);
		EVP_MAC_CTX_free(ctx);
		ctx = copy;
	}
	good = good &&
	       EVP_MAC_update(ctx, request->text + request->cut, request->text_n - request->cut) ==
		       1 &&
	       EVP_MAC_CTX_get_mac_size(ctx) <= request->room &&
	       EVP_MAC_final(ctx, out, &n, request->room) == 1;
	EVP_MAC_CTX_free(ctx);
	ERR_clear_error();
	return good ? (int)n : -1;
}

static EVP_MAC *fetch(const char *properties, const char *provider)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", properties);

	cr_assert(mac != NULL);
	cr_assert_str_eq(OSSL_PROVIDER_get0_name(EVP_MAC_get0_provider(mac)), provider);
	return mac;
}

Test(mac, answers_as_openssl_does)
{
	static struct request request;
	EVP_MAC *theirs, *ours;
	size_t good = 0;

	cr_assert(tls_witness_computes());
	theirs = fetch("provider=default", "default");
	ours = fetch(TLS_SCHEDULE_PROPERTIES, TLS_SCHEDULE_PROVIDER);
	for (size_t i = 0; i < ROUNDS; i++) {
		uint8_t wanted[64] = {0}, got[64] = {0};
		int n;

		make(&request);
		n = answer(theirs, &request, wanted);
		cr_assert_eq(answer(ours, &request, got), n, "request %zu", i);
		if (n > 0)
			cr_assert_arr_eq(got, wanted, sizeof(got), "request %zu", i);
		good += n > 0;
	}
	cr_assert(good > ROUNDS / 2 && good < ROUNDS - ROUNDS / 50, "%zu were good", good);
	EVP_MAC_free(theirs);
	EVP_MAC_free(ours);
}

Test(mac, tells_its_sizes)
{
	static const struct {
		const char *digest;
		size_t n, block_n;
	} cases[] = {{"SHA2-256", 32, 64}, {"SHA2-384", 48, 128}};
	EVP_MAC *mac;

	cr_assert(tls_witness_computes());
	mac = fetch(TLS_SCHEDULE_PROPERTIES, TLS_SCHEDULE_PROVIDER);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct request plain = {.digest = cases[i].digest};
		EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);

		cr_assert_eq(EVP_MAC_CTX_get_mac_size(ctx), 0);
		cr_assert(say(ctx, plain.digest, &plain));
		cr_expect_eq(EVP_MAC_CTX_get_mac_size(ctx), cases[i].n);
		cr_expect_eq(EVP_MAC_CTX_get_block_size(ctx), cases[i].block_n);
		EVP_MAC_CTX_free(ctx);
	}
	EVP_MAC_free(mac);
}
