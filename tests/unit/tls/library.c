/* SPDX-License-Identifier: MIT */
/*
 * The library that server contexts are of (gateway/tls/library.c): OpenSSL's own is as it was, what TLS
 * needs is there, and handshakes go through with every type of key on either side.
 */
#include "tls/library.h"
#include "rig.h"

#include <stdlib.h>

#include <criterion/criterion.h>
#include <openssl/objects.h>

static struct rig rig;

/* ---- OpenSSL's own ---- */

struct sum {
	unsigned n;
	uint64_t hash; /* of names, kinds and what they stand for, in any order */
};

static void add(const OBJ_NAME *name, void *p)
{
	struct sum *sum = p;
	uint64_t hash = (uint64_t)name->type << 1 | (name->alias != 0);

	for (const char *c = name->name; *c != '\0'; c++)
		hash = hash * 1099511628211u + (uint8_t)*c;
	sum->n++;
	sum->hash += hash * (uint64_t)(uintptr_t)name->data;
}

static struct sum names_now(void)
{
	struct sum sum = {0};

	OBJ_NAME_do_all(OBJ_NAME_TYPE_CIPHER_METH, add, &sum);
	OBJ_NAME_do_all(OBJ_NAME_TYPE_MD_METH, add, &sum);
	return sum;
}

Test(library, leaves_openssls_names_as_they_were)
{
	struct sum before;
	struct sum after;

	cr_assert(OPENSSL_init_crypto(
			  OPENSSL_INIT_ADD_ALL_CIPHERS | OPENSSL_INIT_ADD_ALL_DIGESTS, NULL) == 1);
	before = names_now();
	cr_assert(tls_library() != NULL);
	after = names_now();
	cr_expect(before.n > 100 && after.n == before.n);
	cr_expect_eq(after.hash, before.hash);
	cr_expect(EVP_get_digestbyname("sha512") == EVP_sha512());
	cr_expect(EVP_get_cipherbyname("AES256") == EVP_aes_256_cbc());
}

/* ---- what is in it ---- */

Test(library, has_what_tls_needs)
{
	static const struct {
		const char *name;
		int nid;
	} digests[] = {{"SHA1", NID_sha1}, {"SHA256", NID_sha256}, {"SHA384", NID_sha384},
		{"SHA512", NID_sha512}},
	  ciphers[] = {{"AES-128-GCM", NID_aes_128_gcm}, {"AES-256-GCM", NID_aes_256_gcm},
		  {"ChaCha20-Poly1305", NID_chacha20_poly1305}, {"AES-256-CBC", NID_aes_256_cbc}};

	cr_assert(tls_library() != NULL);
	for (size_t i = 0; i < COUNT_OF(digests); i++) {
		EVP_MD *digest = EVP_MD_fetch(tls_library(), digests[i].name, NULL);

		cr_assert(digest != NULL, "%s", digests[i].name);
		cr_expect_eq(EVP_MD_get_type(digest), digests[i].nid, "%s", digests[i].name);
		EVP_MD_free(digest);
	}
	for (size_t i = 0; i < COUNT_OF(ciphers); i++) {
		EVP_CIPHER *cipher = EVP_CIPHER_fetch(tls_library(), ciphers[i].name, NULL);

		cr_assert(cipher != NULL, "%s", ciphers[i].name);
		cr_expect_eq(EVP_CIPHER_get_nid(cipher), ciphers[i].nid, "%s", ciphers[i].name);
		EVP_CIPHER_free(cipher);
	}
	cr_expect(EVP_CIPHER_fetch(tls_library(), "DES-EDE3-CBC", NULL) == NULL);
	cr_expect(EVP_MD_fetch(tls_library(), "BLAKE2B-512", NULL) == NULL);
}

static int configure(const char *configuration)
{
	rig_write("openssl.cnf", configuration, strlen(configuration));
	return setenv("OPENSSL_CONF", rig_path("openssl.cnf"), 1);
}

Test(library, is_not_used_with_other_providers)
{
	cr_assert(configure("openssl_conf = all\n[all]\nproviders = two\n[two]\ndefault = on\n"
			    "base = on\n[on]\nactivate = 1\n") == 0);
	cr_expect(tls_library() == NULL);
}

Test(library, is_not_used_with_other_random_numbers)
{
	cr_assert(configure("openssl_conf = all\n[all]\nrandom = own\n[own]\nrandom = HASH-DRBG\n"
			    "digest = SHA512\n") == 0);
	cr_expect(tls_library() == NULL);
}

/* ---- handshakes ---- */

static const struct {
	const char *name;
	enum rig_key type;
} keys[] = {{"p256", RIG_EC}, {"rsa", RIG_RSA}, {"ed25519", RIG_ED25519}, {"p384", RIG_P384},
	{"p521", RIG_P521}, {"rsa-pss", RIG_RSA_PSS}, {"ed448", RIG_ED448}};

static SSL_CTX *client_with(const char *name, uint16_t version)
{
	SSL_CTX *ctx = rig_client_ctx(version, NULL);
	X509 *certificate = rig_certificate_read(name);
	EVP_PKEY *key = rig_key_read(name);

	cr_assert(SSL_CTX_use_certificate(ctx, certificate) == 1);
	cr_assert(SSL_CTX_use_PrivateKey(ctx, key) == 1);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return ctx;
}

static void expect_done(struct tls_context *context, SSL_CTX *client, SSL_SESSION **session)
{
	SSL_SESSION *given = *session;

	rig_open(&rig, context, NULL, KTLS_MODE_OFF, client, NULL, given);
	cr_assert_eq(rig_handshake(&rig), TLS_STEP_DONE, "%s", tls_conn_failure_text(rig.conn));
	cr_expect_eq(SSL_session_reused(rig.client), given != NULL);
	cr_expect_str_neq(tls_conn_info(rig.conn)->client, "");
	*session = given == NULL ? rig_session(&rig) : NULL;
	rig_close(&rig);
	SSL_SESSION_free(given);
}

/* Server and client have certificates of the same type, and the client resumes. */
Test(library, every_type_of_key)
{
	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		struct rig_settings settings;
		struct tls_context *context;

		rig_certificate(keys[i].name, keys[i].type, 30, 0, 0);
		rig_settings(&settings);
		settings.tls.certificates_n = 0;
		settings.tls.client_certificate_request = true;
		rig_settings_add(&settings, keys[i].name, NULL);
		context = rig_context(&settings);
		for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
			/* Under TLS 1.2 a client's curve is to be a group of ours. */
			bool other = keys[i].type == RIG_P521 && version == TLS1_2_VERSION;
			const char *own = other ? keys[0].name : keys[i].name;
			SSL_SESSION *session = NULL;

			expect_done(context, client_with(own, version), &session);
			cr_assert(session != NULL, "%s", keys[i].name);
			expect_done(context, client_with(own, version), &session);
		}
		tls_context_release(context);
	}
	cr_expect(tls_library() != NULL);
}
