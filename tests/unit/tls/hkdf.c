/* SPDX-License-Identifier: MIT */
/*
 * The key schedule (gateway/tls/hkdf.c, and its front in witness.c): published vectors, and the same
 * as OpenSSL's own function for requests drawn at random, those included that make no sense.
 */
#include "rig.h"
#include "tls/schedule.h"

#include <stdio.h>

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>

#define ROUNDS     20000
#define OCTETS_MAX 300
#define RESULT_MAX 600

static size_t unhex(const char *text, uint8_t *out)
{
	size_t n = 0;

	for (; text[2 * n] != '\0'; n++) {
		unsigned octet;

		cr_assert(sscanf(text + 2 * n, "%2x", &octet) == 1);
		out[n] = (uint8_t)octet;
	}
	return n;
}

/* ---- vectors ---- */

/* RFC 8448 section 3. */
Test(hkdf, rfc_8448)
{
	static const char early[] =
		"33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a";
	static const char shared[] =
		"8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d";
	static const char handshake[] =
		"1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac";
	static const char master[] =
		"18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919";
	static const char server[] =
		"b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38";
	static const struct {
		const char *key, *salt, *label, *result;
		bool extract;
	} vectors[] = {
		{NULL, NULL, "derived", early, true},
		{shared, early, "derived", handshake, true},
		{NULL, handshake, "derived", master, true},
		{server, NULL, "key", "3fce516009c21727d0f2e4e86ee403bc", false},
		{server, NULL, "iv", "5d313eb2671276ee13000b30", false},
		{server, NULL, "finished",
			"008d3b66f816ea559f96b537e885c31fc068bf492c652f01f288a1d8cdc19fc8", false},
	};

	for (size_t i = 0; i < COUNT_OF(vectors); i++) {
		struct tls_hkdf asked = {.hash = tls_hash_find(span_str("SHA2-256")),
			.extract = vectors[i].extract,
			.prefix = span_str("tls13 "),
			.label = span_str(vectors[i].label)};
		uint8_t key[64], salt[64], wanted[64], got[64];
		size_t n = unhex(vectors[i].result, wanted);

		if (vectors[i].key != NULL)
			asked.key = span_of(key, unhex(vectors[i].key, key));
		if (vectors[i].salt != NULL)
			asked.salt = span_of(salt, unhex(vectors[i].salt, salt));
		cr_assert(tls_hkdf(&asked, got, n));
		cr_expect_arr_eq(got, wanted, n, "vector %zu", i);
	}
}

/* RFC 4231, test cases 1 and 2. */
Test(hkdf, rfc_4231)
{
	static const struct {
		const char *hash, *key, *text, *result;
	} vectors[] = {
		{"SHA256", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
			"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{"SHA384", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
			"afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
			"faea9ea9076ede7f4af152e8b2fa9cb6"},
		{"SHA256", "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
			"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{"SHA384", "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
			"af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
			"8e2240ca5e69e2c78b3239ecfab21649"},
	};

	for (size_t i = 0; i < COUNT_OF(vectors); i++) {
		uint8_t key[64], text[64], wanted[64], got[64];
		size_t n = unhex(vectors[i].result, wanted);

		cr_assert(tls_hmac(tls_hash_find(span_str(vectors[i].hash)),
			span_of(key, unhex(vectors[i].key, key)),
			span_of(text, unhex(vectors[i].text, text)), got));
		cr_expect_arr_eq(got, wanted, n, "vector %zu", i);
	}
}

/* ---- beside OpenSSL's own ---- */

static uint32_t drawn = 1;

/* From 0 to n - 1; the same at every run. */
static uint32_t draw(uint32_t n)
{
	drawn = drawn * 1664525 + 1013904223;
	return (drawn >> 8) % n;
}

struct request {
	OSSL_PARAM params[9];
	size_t params_n;
	uint8_t octets[5][OCTETS_MAX];
	int mode;
	size_t n;
};

/* Mostly as handshakes have it: so many octets. Else more, fewer, none, or the parameter is left out. */
static void add_octets(struct request *request, size_t which, const char *name, size_t usual)
{
	size_t n = usual;

	if (draw(8) == 0)
		n = draw(OCTETS_MAX);
	if (draw(8) == 0)
		return;
	for (size_t i = 0; i < n; i++)
		request->octets[which][i] = (uint8_t)draw(256);
	request->params[request->params_n++] =
		OSSL_PARAM_construct_octet_string(name, request->octets[which], n);
}

static void make(struct request *request)
{
	static const struct {
		const char *name;
		size_t n;
	} digests[] = {{"SHA2-256", 32}, {"SHA2-384", 48}, {"SHA256", 32}, {"SHA384", 48},
		{"SHA2-512", 64}, {"sha256", 32}, {"SHA-1", 20}, {"nonsense", 32}};
	static const char *const modes[] = {"EXPAND_ONLY", "EXTRACT_ONLY", "nonsense"};
	size_t digest = draw(10) == 0 ? draw(COUNT_OF(digests)) : draw(2);

	request->params_n = 0;
	request->mode =
		draw(2) == 0 ? EVP_KDF_HKDF_MODE_EXTRACT_ONLY : EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	if (draw(30) == 0)
		request->mode = (int)draw(5) - 1;
	request->params[request->params_n++] =
		draw(30) == 0 ? OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE,
					(char *)(uintptr_t)modes[draw(COUNT_OF(modes))], 0)
			      : OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &request->mode);
	if (draw(30) != 0)
		request->params[request->params_n++] = OSSL_PARAM_construct_utf8_string(
			OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)digests[digest].name, 0);
	add_octets(request, 0, OSSL_KDF_PARAM_KEY, digests[digest].n);
	add_octets(request, 1, OSSL_KDF_PARAM_SALT, digests[digest].n);
	add_octets(request, 2, OSSL_KDF_PARAM_PREFIX, 6);
	add_octets(request, 3, OSSL_KDF_PARAM_LABEL, draw(20));
	add_octets(request, 4, OSSL_KDF_PARAM_DATA, digests[digest].n);
	request->params[request->params_n] = OSSL_PARAM_construct_end();
	request->n = digests[digest].n;
	if (draw(8) == 0)
		request->n = draw(RESULT_MAX) + 1;
}

/* At once, as libssl has it, or what is set before and the rest at the end. */
static int answer(EVP_KDF *kdf, const struct request *request, bool at_once, uint8_t *out)
{
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	int result;

	cr_assert(ctx != NULL);
	if (at_once)
		result = EVP_KDF_derive(ctx, out, request->n, request->params);
	else
		result = EVP_KDF_CTX_set_params(ctx, request->params) == 1 &&
			 EVP_KDF_derive(ctx, out, request->n, NULL) == 1;
	EVP_KDF_CTX_free(ctx);
	ERR_clear_error();
	return result;
}

static EVP_KDF *fetch(const char *properties, const char *provider)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", properties);

	cr_assert(kdf != NULL);
	cr_assert_str_eq(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(kdf)), provider);
	return kdf;
}

Test(hkdf, answers_as_openssl_does)
{
	static struct request request;
	static uint8_t wanted[RESULT_MAX + 1], got[RESULT_MAX + 1];
	EVP_KDF *theirs, *ours;
	size_t good = 0;

	cr_assert(tls_witness_computes());
	theirs = fetch("provider=default", "default");
	ours = fetch(TLS_SCHEDULE_PROPERTIES, TLS_SCHEDULE_PROVIDER);
	for (size_t i = 0; i < ROUNDS; i++) {
		bool at_once = draw(10) != 0;
		int result;

		make(&request);
		memset(wanted, 0xa5, sizeof(wanted));
		memset(got, 0xa5, sizeof(got));
		result = answer(theirs, &request, at_once, wanted);
		cr_assert_eq(answer(ours, &request, at_once, got), result, "request %zu", i);
		if (result == 1)
			cr_assert_arr_eq(got, wanted, sizeof(got), "request %zu", i);
		good += result == 1;
	}
	cr_assert(good > ROUNDS / 2 && good < ROUNDS - ROUNDS / 50, "%zu were good", good);
	EVP_KDF_free(theirs);
	EVP_KDF_free(ours);
}

/* What a handshake asks for is computed here, whatever OpenSSL's own would have said. */
Test(hkdf, computes_what_a_handshake_asks_for)
{
	static const uint8_t secret[TLS_SECRET_MAX] = {1}, digest[TLS_SECRET_MAX] = {2};
	static const char *const names[] = {"SHA2-256", "SHA2-384"};
	uint8_t out[TLS_SECRET_MAX];

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		size_t n = i == 0 ? 32 : 48;
		struct tls_hkdf asked = {.hash = tls_hash_find(span_str(names[i])),
			.key = span_of(secret, n),
			.prefix = span_str("tls13 "),
			.label = span_str("c ap traffic"),
			.data = span_of(digest, n)};

		cr_assert(asked.hash != NULL);
		cr_expect(tls_hkdf(&asked, out, n));
		cr_expect(!tls_hkdf(&asked, out, n + 1), "two rounds");
		asked.key.n--;
		cr_expect(!tls_hkdf(&asked, out, n), "a secret of another hash");
		asked.extract = true;
		cr_expect(tls_hkdf(&asked, out, n), "a shared secret of any length");
		asked.salt = span_of(secret, n - 1);
		cr_expect(!tls_hkdf(&asked, out, n), "a secret of another hash");
	}
	cr_expect(tls_hash_find(span_str("SHA2-512")) == NULL);
}
