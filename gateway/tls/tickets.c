/* SPDX-License-Identifier: MIT */
/*
 * tickets.c -- seals and opens session tickets: AES-256-CBC and HMAC-SHA256 with the keys of the
 * ticket file (RFC 5077 4).
 *
 * That a ticket never resumes under another certificate or policy is not decided here: the session
 * inside carries the session id context that context.c binds to the certificates, and OpenSSL
 * compares it after the SNI has chosen the certificates. A ticket that does not fit is ignored and
 * a full handshake follows; so is one whose key is gone.
 */
#include "tls/tls-private.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>

enum { TICKET_ERROR = -1, TICKET_NONE = 0, TICKET_GOOD = 1, TICKET_RENEW = 2 };

static int start(const struct tls_context *context, const struct tls_ticket_key *key,
	const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(
			OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac, sizeof(key->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_CipherInit_ex2(cipher, context->ticket_cipher, key->aes, iv, encrypt, NULL) ==
		       1 &&
	       EVP_MAC_CTX_set_params(mac, params) == 1;
}

static const struct tls_ticket_key *find(
	const struct tls_ticket_keys *keys, const unsigned char *name)
{
	for (size_t i = 0; i < keys->n; i++)
		if (memcmp(keys->keys[i].name, name, TLS_TICKET_NAME_SIZE) == 0)
			return &keys->keys[i];
	return NULL;
}

int tls_ticket_callback(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
	EVP_MAC_CTX *mac, int encrypt)
{
	const struct tls_conn *conn = SSL_get_app_data(ssl);
	const struct tls_context *context = conn->context;
	const struct tls_ticket_key *key;

	if (encrypt) {
		key = &context->tickets.keys[0];
		if (conn->ticketless)
			return TICKET_NONE;
		if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(context->ticket_cipher)) != 1)
			return TICKET_ERROR;
		memcpy(name, key->name, TLS_TICKET_NAME_SIZE);
		return start(context, key, iv, cipher, mac, 1) ? TICKET_GOOD : TICKET_ERROR;
	}
	key = find(&context->tickets, name);
	if (key == NULL)
		return TICKET_NONE;
	if (!start(context, key, iv, cipher, mac, 0))
		return TICKET_ERROR;
	/* Under TLS 1.3 a client is not to use a ticket twice (RFC 8446 C.4): it gets the next one. */
	if (key != &context->tickets.keys[0] || SSL_version(ssl) == TLS1_3_VERSION)
		return TICKET_RENEW;
	return TICKET_GOOD;
}
