/* SPDX-License-Identifier: MIT */
/*
 * hkdf.c -- the arithmetic of TLS 1.3's key schedule (RFC 8446 7.1): HMAC (RFC 2104) with OpenSSL's
 * SHA-256 or SHA-384, HKDF-Extract, and HKDF-Expand-Label of up to one digest.
 *
 * A handshake has some twenty of these, and OpenSSL 3.0 looks up two algorithms and makes four objects
 * for each: half of what they cost was not hashing, 8 % of a full handshake's instructions. Here is
 * nothing to look up or to make: the state of the hash is on the stack, or in its owner (mac.c).
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
#define BLOCK_MAX TLS_HASH_BLOCK
#define LABEL_MAX 255
#define INFO_MAX  (2 + 1 + LABEL_MAX + 1 + TLS_SECRET_MAX + 1)

#if !defined(OPENSSL_NO_DEPRECATED_3_0) && OPENSSL_VERSION_MAJOR == 3
#define HASHES_OFFERED 1
#else
#define HASHES_OFFERED 0
#endif

union state {
#if HASHES_OFFERED
	SHA256_CTX sha256;
	SHA512_CTX sha384;
#else
	uint64_t none;
#endif
};

struct tls_hash {
	const char *names[2];
	size_t n; /* octets of a digest */
	size_t block_n;
	int (*begin)(union state *state);
	int (*add)(union state *state, const void *p, size_t n);
	int (*end)(union state *state, uint8_t *digest);
};

#if HASHES_OFFERED

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

#endif

/* Ends with an empty one. */
static const struct tls_hash hashes[] = {
#if HASHES_OFFERED
	{{"SHA2-256", "SHA256"}, SHA256_DIGEST_LENGTH, SHA256_CBLOCK, begin_256, add_256, end_256},
	{{"SHA2-384", "SHA384"}, SHA384_DIGEST_LENGTH, SHA512_CBLOCK, begin_384, add_384, end_384},
#endif
	{.n = 0},
};

const struct tls_hash *tls_hash_find(struct span name)
{
	for (const struct tls_hash *hash = hashes; hash->n > 0; hash++)
		for (size_t i = 0; i < COUNT_OF(hash->names); i++)
			if (span_equal(name, span_str(hash->names[i])))
				return hash;
	return NULL;
}

_Static_assert(sizeof(union state) <= TLS_HASH_STATE, "room for a state");
_Static_assert(_Alignof(union state) <= _Alignof(struct tls_hmac), "and where it may stand");

const char *tls_hash_name(const struct tls_hash *hash)
{
	return hash->names[0];
}

size_t tls_hash_n(const struct tls_hash *hash)
{
	return hash->n;
}

size_t tls_hash_block_n(const struct tls_hash *hash)
{
	return hash->block_n;
}

static union state *state_of(struct tls_hmac *hmac)
{
	return (union state *)(void *)hmac->state;
}

bool tls_hmac_begin(struct tls_hmac *hmac)
{
	return hmac->hash->begin(state_of(hmac)) == 1 &&
	       hmac->hash->add(state_of(hmac), hmac->block, hmac->hash->block_n) == 1;
}

bool tls_hmac_key(struct tls_hmac *hmac, const struct tls_hash *hash, struct span key)
{
	ASSERT(key.n <= hash->block_n);
	hmac->hash = hash;
	memset(hmac->block, INNER_PAD, sizeof(hmac->block));
	for (size_t i = 0; i < key.n; i++)
		hmac->block[i] ^= key.p[i];
	return tls_hmac_begin(hmac);
}

bool tls_hmac_add(struct tls_hmac *hmac, struct span text)
{
	return hmac->hash->add(state_of(hmac), text.p, text.n) == 1;
}

bool tls_hmac_end(struct tls_hmac *hmac, uint8_t *out)
{
	const struct tls_hash *hash = hmac->hash;
	union state *state = state_of(hmac);
	uint8_t block[BLOCK_MAX];
	uint8_t inner[TLS_SECRET_MAX];
	bool good;

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = hmac->block[i] ^ (INNER_PAD ^ OUTER_PAD);
	good = hash->end(state, inner) == 1 && hash->begin(state) == 1 &&
	       hash->add(state, block, hash->block_n) == 1 &&
	       hash->add(state, inner, hash->n) == 1 && hash->end(state, out) == 1;
	wipe(block, sizeof(block));
	wipe(inner, sizeof(inner));
	return good;
}

bool tls_hmac(const struct tls_hash *hash, struct span key, struct span text, uint8_t *out)
{
	struct tls_hmac hmac;
	bool good = tls_hmac_key(&hmac, hash, key) && tls_hmac_add(&hmac, text) &&
		    tls_hmac_end(&hmac, out);

	wipe(&hmac, sizeof(hmac));
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
