/* SPDX-License-Identifier: MIT */
/* sign.c -- see sign.h. */
#include "tls/sign.h"

#include <errno.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/event.h"
#include "tls/tls-private.h"

#define KEY_FILE_MAX 65536

struct tls_sign_key {
	EVP_PKEY *pkey;
	enum tls_sign_kind kind;
};

static int no_password(char *text, int size, int writing, void *asked)
{
	(void)text;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

static EVP_PKEY *key_read(struct span pem, struct err *err)
{
	bool asked = false;
	BIO *bio = BIO_new_mem_buf(pem.p, (int)min_size(pem.n, KEY_FILE_MAX));
	EVP_PKEY *pkey =
		bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, &asked) : NULL;

	if (pkey == NULL && asked)
		err_set(err, "the key is encrypted; store it without a passphrase");
	else if (pkey == NULL)
		err_set(err, "no private key in PEM form");
	BIO_free(bio);
	ERR_clear_error();
	return pkey;
}

static int key_judge(const EVP_PKEY *pkey, enum tls_sign_kind *kind, struct err *err)
{
	int bits = EVP_PKEY_get_bits(pkey);

	*kind = TLS_SIGN_ED25519;
	if (EVP_PKEY_is_a(pkey, "ED25519"))
		return 0;
	*kind = TLS_SIGN_RSA;
	if (!EVP_PKEY_is_a(pkey, "RSA"))
		return err_set(err, "the key is neither RSA nor Ed25519");
	if (bits < TLS_SIGN_RSA_BITS_MIN || bits > TLS_SIGN_RSA_BITS_MAX)
		return err_set(err, "the RSA key has %d bits: %d to %d will do", bits,
			TLS_SIGN_RSA_BITS_MIN, TLS_SIGN_RSA_BITS_MAX);
	return 0;
}

int tls_sign_key_open(struct tls_sign_key **out, struct span pem, struct err *err)
{
	struct tls_sign_key *key;
	EVP_PKEY *pkey = key_read(pem, err);
	enum tls_sign_kind kind;

	*out = NULL;
	if (pkey == NULL)
		return -1;
	if (key_judge(pkey, &kind, err) != 0) {
		EVP_PKEY_free(pkey);
		return -1;
	}
	key = calloc(1, sizeof(*key));
	if (key == NULL) {
		EVP_PKEY_free(pkey);
		return err_set(err, "out of memory");
	}
	*key = (struct tls_sign_key){.pkey = pkey, .kind = kind};
	*out = key;
	return 0;
}

void tls_sign_key_close(struct tls_sign_key *key)
{
	if (key == NULL)
		return;
	EVP_PKEY_free(key->pkey); /* clears the private numbers */
	free(key);
}

int tls_sign_key_load(const char *path, uint8_t **pem, size_t *n, struct err *err)
{
	struct tls_sign_key *key;
	struct tls_blob text;
	struct err why;
	struct stat st;

	if (tls_file_read(&text, path, &st, KEY_FILE_MAX, err) != 0)
		return -1;
	if (tls_sign_key_open(&key, span_of(text.p, text.n), &why) != 0) {
		tls_blob_free(&text);
		return err_set(err, "%s: %s", path, why.text);
	}
	tls_sign_key_close(key);
	if ((st.st_mode & 077) != 0)
		event_text(EVENT_NO_COUNT, "key_readable_by_others", "file", path);
	*pem = text.p;
	*n = text.n;
	return 0;
}

enum tls_sign_kind tls_sign_key_kind(const struct tls_sign_key *key)
{
	return key->kind;
}

static bool sign_rsa(EVP_PKEY *pkey, const uint8_t *digest, uint8_t *signature, size_t *n)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
	bool done = ctx != NULL && EVP_PKEY_sign_init(ctx) == 1 &&
		    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1 &&
		    EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
		    EVP_PKEY_sign(ctx, signature, n, digest, TLS_SIGN_DIGEST) == 1;

	EVP_PKEY_CTX_free(ctx);
	return done;
}

static bool sign_ed25519(EVP_PKEY *pkey, const uint8_t *digest, uint8_t *signature, size_t *n)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool done = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
		    EVP_DigestSign(ctx, signature, n, digest, TLS_SIGN_DIGEST) == 1;

	EVP_MD_CTX_free(ctx);
	return done;
}

int tls_sign(const struct tls_sign_key *key, const uint8_t digest[TLS_SIGN_DIGEST],
	uint8_t signature[TLS_SIGNATURE_MAX], size_t *n)
{
	bool done;

	*n = TLS_SIGNATURE_MAX;
	done = key->kind == TLS_SIGN_RSA ? sign_rsa(key->pkey, digest, signature, n)
					 : sign_ed25519(key->pkey, digest, signature, n);
	ERR_clear_error();
	return done ? 0 : -ENOMEM;
}
