/* SPDX-License-Identifier: MIT */
/*
 * sign.h -- signatures for mail of our own (DKIM): keys and the crypto, nothing of what is signed.
 *
 * Two kinds of key: RSA (PKCS #1 v1.5 over SHA-256, RFC 6376 3.3.1) and Ed25519 (over the SHA-256
 * digest as its message, RFC 8463 3). A key may be used by several threads at once.
 */
#ifndef POSTERN_TLS_SIGN_H
#define POSTERN_TLS_SIGN_H

#include "base/span.h"

#define TLS_SIGN_RSA_BITS_MIN 1024 /* RFC 8301 3.2: verifiers refuse less ... */
#define TLS_SIGN_RSA_BITS_MAX 4096 /* ... and need not take more */
#define TLS_SIGN_DIGEST       32
#define TLS_SIGNATURE_MAX     (TLS_SIGN_RSA_BITS_MAX / 8)

enum tls_sign_kind { TLS_SIGN_RSA, TLS_SIGN_ED25519 };

struct tls_sign_key;

/*
 * Reads the key's file and checks that it can sign; for the process that may open it. *pem: allocated,
 * *n octets, the caller's to wipe and free. A file that others may read is worth an event, as with
 * certificates' keys. -1 and err naming the file.
 */
MUST_USE int tls_sign_key_load(const char *path, uint8_t **pem, size_t *n, struct err *err);

/* From PEM octets, which are not needed afterwards. -1 and err: no key, or one that is not fit. */
MUST_USE int tls_sign_key_open(struct tls_sign_key **out, struct span pem, struct err *err);
void tls_sign_key_close(struct tls_sign_key *key); /* wipes; NULL is fine */

enum tls_sign_kind tls_sign_key_kind(const struct tls_sign_key *key);

/* Signs a SHA-256 digest (tls_sha256()). 0, or -ENOMEM where OpenSSL fails. */
MUST_USE int tls_sign(const struct tls_sign_key *key, const uint8_t digest[TLS_SIGN_DIGEST],
	uint8_t signature[TLS_SIGNATURE_MAX], size_t *n);

#endif
