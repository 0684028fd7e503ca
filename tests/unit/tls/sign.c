/* SPDX-License-Identifier: MIT */
/* Unit tests of tls/sign.c: which keys will do, and that signatures are those that others check. */
#include "tls/sign.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/unit.h"

static char *pem_of(EVP_PKEY *key, const char *password)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text;
	long n;

	cr_assert_not_null(key);
	cr_assert_eq(PEM_write_bio_PrivateKey(bio, key, password != NULL ? EVP_aes_128_cbc() : NULL,
			     NULL, 0, NULL, (void *)(uintptr_t)password),
		1);
	n = BIO_get_mem_data(bio, &data);
	text = strndup(data, (size_t)n);
	BIO_free(bio);
	EVP_PKEY_free(key);
	return text;
}

/* Of more than two primes, which are sooner found. */
static char *rsa(int bits, int primes)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, NULL);
	EVP_PKEY *key = NULL;

	cr_assert(EVP_PKEY_keygen_init(ctx) == 1 &&
		  EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, bits) == 1 &&
		  EVP_PKEY_CTX_set_rsa_keygen_primes(ctx, primes) == 1 &&
		  EVP_PKEY_keygen(ctx, &key) == 1);
	EVP_PKEY_CTX_free(ctx);
	return pem_of(key, NULL);
}

static char *ed25519(const char *password)
{
	return pem_of(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), password);
}

Test(sign, which_keys_will_do)
{
	const struct {
		char *pem;
		const char *error; /* NULL: it will */
		enum tls_sign_kind kind;
	} rows[] = {
		{rsa(1024, 2), NULL, TLS_SIGN_RSA},
		{rsa(2048, 3), NULL, TLS_SIGN_RSA},
		{ed25519(NULL), NULL, TLS_SIGN_ED25519},
		{rsa(1016, 2), "the RSA key has 1016 bits: 1024 to 4096 will do", 0},
		{rsa(4104, 4), "the RSA key has 4104 bits: 1024 to 4096 will do", 0},
		{ed25519("secret"), "the key is encrypted; store it without a passphrase", 0},
		{pem_of(EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"), NULL),
			"the key is neither RSA nor Ed25519", 0},
		{strdup(""), "no private key in PEM form", 0},
		{strdup("-----BEGIN PRIVATE KEY-----\n"), "no private key in PEM form", 0},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct tls_sign_key *key = NULL;
		struct err err = {""};
		int res = tls_sign_key_open(&key, span_str(rows[i].pem), &err);

		cr_expect_eq(res, rows[i].error == NULL ? 0 : -1, "row %zu: %s", i, err.text);
		if (res == 0)
			cr_expect_eq(tls_sign_key_kind(key), rows[i].kind, "row %zu", i);
		else
			cr_expect_str_eq(
				err.text, rows[i].error != NULL ? rows[i].error : "", "row %zu", i);
		tls_sign_key_close(key);
		free(rows[i].pem);
	}
}

/* RFC 8463 3: the digest is the message. */
Test(sign, ed25519_signs_the_digest_as_its_message)
{
	/* RFC 8463 A.2's key, whose public half is 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo= */
	static const char pem[] =
		"-----BEGIN PRIVATE KEY-----\n"
		"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
		"-----END PRIVATE KEY-----\n";
	static const uint8_t public[32] = {0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5,
		0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23,
		0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a};
	uint8_t digest[TLS_SIGN_DIGEST] = {1, 2, 3}, signature[TLS_SIGNATURE_MAX];
	EVP_PKEY *check = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public, 32);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	struct tls_sign_key *key;
	struct err err = {""};
	size_t n;

	cr_assert_eq(tls_sign_key_open(&key, span_str(pem), &err), 0, "%s", err.text);
	cr_assert_eq(tls_sign(key, digest, signature, &n), 0);
	cr_expect_eq(n, 64);
	cr_assert_eq(EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, check), 1);
	cr_expect_eq(EVP_DigestVerify(ctx, signature, n, digest, sizeof(digest)), 1);
	digest[0] ^= 1;
	cr_expect_neq(EVP_DigestVerify(ctx, signature, n, digest, sizeof(digest)), 1);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(check);
	tls_sign_key_close(key);
}

static char path[] = "/tmp/postern-sign-XXXXXX";

static void file_put(const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

Test(sign, files)
{
	char wanted[128];
	uint8_t *pem = NULL;
	struct err err;
	char *text = ed25519(NULL);
	size_t n = 0;

	close(mkstemp(path));
	file_put(text);
	cr_assert_eq(tls_sign_key_load(path, &pem, &n, &err), 0);
	cr_expect(span_equal(span_of(pem, n), span_str(text)));
	free(pem);
	file_put("no key\n");
	cr_expect_eq(tls_sign_key_load(path, &pem, &n, &err), -1);
	(void)snprintf(wanted, sizeof(wanted), "%s: no private key in PEM form", path);
	cr_expect_str_eq(err.text, wanted);
	unlink(path);
	cr_expect_eq(tls_sign_key_load(path, &pem, &n, &err), -1);
	(void)snprintf(wanted, sizeof(wanted), "%s: No such file or directory", path);
	cr_expect_str_eq(err.text, wanted);
	free(text);
}

Test(sign, nothing_to_close)
{
	tls_sign_key_close(NULL);
}
