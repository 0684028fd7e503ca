/* SPDX-License-Identifier: MIT */
/*
 * hkdf.c -- the arithmetic of TLS 1.3's key schedule (RFC 8446 7.1): HMAC (RFC 2104) with OpenSSL's
 * SHA-256 or SHA-384, HKDF-Extract, and HKDF-Expand-Label of up to one digest.
 *
 * A handshake has some twenty of these, and OpenSSL 3.0 looks up two algorithms and makes four objects
 * for each: 18 % of a full handshake's instructions were that, and a tenth of them were hashing.
 * Here is nothing to look up or to make: the state of the hash is on the stack.
 *
 * Not its job: other digests, longer results, odd lengths. They are answered "not here", and whoever
 * asked has OpenSSL's own function do it, or say what is wrong (witness.c).
 *
 * Invariant: what was computed from a secret, the result aside, is wiped before a function returns.
 *
 * Rejected: EVP digests, whose objects would have to be kept for each thread; to keep the two hash
 * states that a key begins with: a secret in memory for longer, to save two blocks of four.
 *
 * The SHA256_ and SHA384_ functions are deprecated since OpenSSL 3.0, not withdrawn. Where they are
 * not offered, everything is "not here".
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "tls/tls-private.h"

#include <openssl/sha.h>

#define INNER_PAD 0x36 /* RFC 2104 2 */
#define OUTER_PAD 0x5c
#define BLOCK_MAX 128
#define LABEL_MAX 255
#define INFO_MAX  (2 + 1 + LABEL_MAX + 1 + TLS_SECRET_MAX + 1)

#if !defined(OPENSSL_NO_DEPRECATED_3_0) && OPENSSL_VERSION_MAJOR == 3

union state {
	SHA256_CTX sha256;
	SHA512_CTX sha384;
};

struct tls_hash {
	const char *names[2];
	size_t n; /* octets of a digest */
	size_t block_n;
	int (*begin)(union state *state);
	int (*add)(union state *state, const void *p, size_t n);
	int (*end)(union state *state, uint8_t *digest);
};

static int begin_256(union state *state)
{
	return SHA256_Init(&state->sha256);
}

static int add_256(union state *state, const void *p, size_t n)
{
	return SHA256_Update(&state->sha256, p, n);
}

static int end_256(union state *state, uint8_t *digest)
{
	return SHA256_Final(digest, &state->sha256);
}

static int begin_384(union state *state)
{
	return SHA384_Init(&state->sha384);
}

static int add_384(union state *state, const void *p, size_t n)
{
	return SHA384_Update(&state->sha384, p, n);
}

static int end_384(union state *state, uint8_t *digest)
{
	return SHA384_Final(digest, &state->sha384);
}

static const struct tls_hash hashes[] = {
	{{"SHA2-256", "SHA256"}, SHA256_DIGEST_LENGTH, SHA256_CBLOCK, begin_256, add_256, end_256},
	{{"SHA2-384", "SHA384"}, SHA384_DIGEST_LENGTH, SHA512_CBLOCK, begin_384, add_384, end_384},
};

const struct tls_hash *tls_hash_find(struct span name)
{
	for (size_t i = 0; i < COUNT_OF(hashes); i++)
		for (size_t k = 0; k < COUNT_OF(hashes[i].names); k++)
			if (span_equal(name, span_str(hashes[i].names[k])))
				return &hashes[i];
	return NULL;
}

/* One of the two passes: the digest of a block, which is the key and a pad, and the text. */
static bool pass(const struct tls_hash *hash, const uint8_t *block, struct span text, uint8_t *out)
{
	union state state;
	bool good = hash->begin(&state) == 1 && hash->add(&state, block, hash->block_n) == 1 &&
		    hash->add(&state, text.p, text.n) == 1 && hash->end(&state, out) == 1;

	wipe(&state, sizeof(state));
	return good;
}

bool tls_hmac(const struct tls_hash *hash, struct span key, struct span text, uint8_t *out)
{
	uint8_t block[BLOCK_MAX];
	uint8_t inner[TLS_SECRET_MAX];
	bool good;

	ASSERT(key.n <= hash->block_n);
	memset(block, INNER_PAD, sizeof(block));
	for (size_t i = 0; i < key.n; i++)
		block[i] ^= key.p[i];
	good = pass(hash, block, text, inner);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] ^= INNER_PAD ^ OUTER_PAD;
	good = good && pass(hash, block, span_of(inner, hash->n), out);
	wipe(block, sizeof(block));
	wipe(inner, sizeof(inner));
	return good;
}

static uint8_t *put(uint8_t *at, struct span octets)
{
	if (octets.n > 0)
		memcpy(at, octets.p, octets.n);
	return at + octets.n;
}

/* HKDF-Expand of the structure HkdfLabel: one round, as the result is no longer than a digest. */
static bool expand(
	const struct tls_hkdf *asked, struct span key, struct span data, uint8_t *out, size_t n)
{
	uint8_t digest[TLS_SECRET_MAX];
	uint8_t info[INFO_MAX] = {0, (uint8_t)n};
	uint8_t *at = info + 2;
	bool good;

	if (key.n != asked->hash->n || data.n > TLS_SECRET_MAX || n == 0 || n > asked->hash->n ||
		asked->prefix.n > LABEL_MAX || asked->label.n > LABEL_MAX - asked->prefix.n)
		return false;
	*at++ = (uint8_t)(asked->prefix.n + asked->label.n);
	at = put(put(at, asked->prefix), asked->label);
	*at++ = (uint8_t)data.n;
	at = put(at, data);
	*at++ = 1; /* the round's number */
	good = tls_hmac(asked->hash, key, span_of(info, (size_t)(at - info)), digest);
	if (good)
		memcpy(out, digest, n);
	wipe(digest, sizeof(digest));
	return good;
}

/* The salt is what the secret before derives under the label, for no messages; or there is none yet. */
static bool extract(const struct tls_hkdf *asked, uint8_t *out, size_t n)
{
	static const uint8_t zeros[TLS_SECRET_MAX];
	const struct tls_hash *hash = asked->hash;
	struct span key = asked->key.p != NULL ? asked->key : span_of(zeros, hash->n);
	uint8_t salt[TLS_SECRET_MAX] = {0};
	uint8_t nothing[TLS_SECRET_MAX];
	union state state;
	bool good = n == hash->n;

	if (good && asked->salt.p != NULL)
		good = hash->begin(&state) == 1 && hash->end(&state, nothing) == 1 &&
		       expand(asked, asked->salt, span_of(nothing, hash->n), salt, hash->n);
	good = good && tls_hmac(hash, span_of(salt, hash->n), key, out);
	wipe(salt, sizeof(salt));
	return good;
}

bool tls_hkdf(const struct tls_hkdf *asked, uint8_t *out, size_t n)
{
	return asked->extract ? extract(asked, out, n)
			      : expand(asked, asked->key, asked->data, out, n);
}

#else

const struct tls_hash *tls_hash_find(struct span name)
{
	(void)name;
	return NULL;
}

bool tls_hmac(const struct tls_hash *hash, struct span key, struct span text, uint8_t *out)
{
	(void)hash;
	(void)key;
	(void)text;
	(void)out;
	return false;
}

bool tls_hkdf(const struct tls_hkdf *asked, uint8_t *out, size_t n)
{
	(void)asked;
	(void)out;
	(void)n;
	return false;
}

#endif
