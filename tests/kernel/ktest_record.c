/* SPDX-License-Identifier: MIT */
/*
 * ktest_record: the TLS record layer in user space, out of OpenSSL's bare AEADs, and the key
 * schedule steps that a test needs. Written from RFC 5246/5288/7905 and RFC 8446, independently of
 * the gateway, so that both being wrong in the same way is unlikely.
 */
#include "ktest.h"

#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/core_names.h>
#include <string.h>

#define TAG_BYTES            16
#define EXPLICIT_NONCE_BYTES 8

const struct kt_cipher kt_ciphers[KT_CIPHERS] = {
	{"AES-128-GCM", TLS_CIPHER_AES_GCM_128, 16, "AES-128-GCM"},
	{"AES-256-GCM", TLS_CIPHER_AES_GCM_256, 32, "AES-256-GCM"},
	{"CHACHA20-POLY1305", TLS_CIPHER_CHACHA20_POLY1305, 32, "ChaCha20-Poly1305"},
};

static void put_u64(uint8_t *out, uint64_t value)
{
	for (int i = 7; i >= 0; i--, value >>= 8)
		out[i] = (uint8_t)value;
}

static bool has_explicit_nonce(uint16_t version, const struct kt_cipher *cipher)
{
	return version == TLS_1_2_VERSION && cipher->type != TLS_CIPHER_CHACHA20_POLY1305;
}

static void make_nonce(uint16_t version, const struct kt_cipher *cipher, const struct kt_keys *keys,
	const uint8_t *explicit_nonce, uint8_t nonce[12])
{
	uint8_t sequence[8];

	memcpy(nonce, keys->iv, 12);
	if (has_explicit_nonce(version, cipher)) {
		memcpy(nonce + 4, explicit_nonce, EXPLICIT_NONCE_BYTES);
		return;
	}
	put_u64(sequence, keys->sequence);
	for (int i = 0; i < 8; i++)
		nonce[4 + i] ^= sequence[i];
}

static size_t make_aad(uint16_t version, const struct kt_keys *keys, const uint8_t *header,
	size_t content_bytes, uint8_t aad[13])
{
	if (version == TLS_1_3_VERSION) {
		memcpy(aad, header, 5);
		return 5;
	}
	put_u64(aad, keys->sequence);
	memcpy(aad + 8, header, 3);
	aad[11] = (uint8_t)(content_bytes >> 8);
	aad[12] = (uint8_t)content_bytes;
	return 13;
}

size_t kt_seal(uint16_t version, const struct kt_cipher *cipher, struct kt_keys *keys, int type,
	const void *data, size_t length, size_t pad, uint8_t *out)
{
	bool explicit_nonce = has_explicit_nonce(version, cipher);
	size_t head = 5 + (explicit_nonce ? EXPLICIT_NONCE_BYTES : 0);
	size_t inner = length + (version == TLS_1_3_VERSION ? 1 + pad : 0);
	size_t body = head - 5 + inner + TAG_BYTES;
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	EVP_CIPHER *evp = EVP_CIPHER_fetch(NULL, cipher->evp, NULL);
	uint8_t aad[13];
	uint8_t nonce[12];
	size_t aad_bytes;
	int n;

	KT_MUST(context && evp && head + inner + TAG_BYTES <= KT_RECORD_BYTES_MAX);
	out[0] = version == TLS_1_3_VERSION ? KT_RECORD_DATA : (uint8_t)type;
	out[1] = 3;
	out[2] = 3;
	out[3] = (uint8_t)(body >> 8);
	out[4] = (uint8_t)body;
	put_u64(nonce, keys->sequence);
	if (explicit_nonce)
		memcpy(out + 5, nonce, EXPLICIT_NONCE_BYTES);
	make_nonce(version, cipher, keys, out + 5, nonce);
	aad_bytes = make_aad(version, keys, out, length, aad);
	memcpy(out + head, data, length);
	if (version == TLS_1_3_VERSION) {
		out[head + length] = (uint8_t)type;
		memset(out + head + length + 1, 0, pad);
	}
	KT_MUST(EVP_EncryptInit_ex2(context, evp, keys->key, nonce, NULL) == 1);
	KT_MUST(EVP_EncryptUpdate(context, NULL, &n, aad, (int)aad_bytes) == 1);
	KT_MUST(EVP_EncryptUpdate(context, out + head, &n, out + head, (int)inner) == 1);
	KT_MUST(EVP_EncryptFinal_ex(context, out + head + inner, &n) == 1);
	KT_MUST(EVP_CIPHER_CTX_ctrl(
			context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, out + head + inner) == 1);
	EVP_CIPHER_CTX_free(context);
	EVP_CIPHER_free(evp);
	keys->sequence++;
	return 5 + body;
}

ssize_t kt_open(uint16_t version, const struct kt_cipher *cipher, struct kt_keys *keys,
	const uint8_t *in, size_t length, int *type, uint8_t *out)
{
	bool explicit_nonce = has_explicit_nonce(version, cipher);
	size_t head = 5 + (explicit_nonce ? EXPLICIT_NONCE_BYTES : 0);
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	EVP_CIPHER *evp = EVP_CIPHER_fetch(NULL, cipher->evp, NULL);
	uint8_t tag[TAG_BYTES];
	uint8_t aad[13];
	uint8_t nonce[12];
	size_t inner;
	int good;
	int n;

	KT_MUST(context && evp && length >= head + TAG_BYTES);
	inner = length - head - TAG_BYTES;
	make_nonce(version, cipher, keys, in + 5, nonce);
	memcpy(tag, in + head + inner, TAG_BYTES);
	KT_MUST(EVP_DecryptInit_ex2(context, evp, keys->key, nonce, NULL) == 1);
	KT_MUST(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1);
	KT_MUST(EVP_DecryptUpdate(
			context, NULL, &n, aad, (int)make_aad(version, keys, in, inner, aad)) == 1);
	KT_MUST(EVP_DecryptUpdate(context, out, &n, in + head, (int)inner) == 1);
	good = EVP_DecryptFinal_ex(context, out + inner, &n);
	EVP_CIPHER_CTX_free(context);
	EVP_CIPHER_free(evp);
	if (good != 1)
		return -1;
	keys->sequence++;
	*type = in[0];
	if (version == TLS_1_3_VERSION) {
		while (inner > 0 && out[inner - 1] == 0)
			inner--;
		KT_MUST(inner > 0);
		*type = out[--inner];
	}
	return (ssize_t)inner;
}

void kt_expand_label(const char *digest, const uint8_t *secret, const char *label, uint8_t *out,
	size_t out_bytes)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
	size_t secret_bytes = strcmp(digest, "SHA384") ? 32 : 48;
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	uint8_t info[64];
	size_t label_bytes = strlen(label);
	OSSL_PARAM params[5];

	info[0] = 0;
	info[1] = (uint8_t)out_bytes;
	info[2] = (uint8_t)(6 + label_bytes);
	memcpy(info + 3, "tls13 ", 6);
	memcpy(info + 9, label, label_bytes);
	info[9 + label_bytes] = 0;
	params[0] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	params[1] = OSSL_PARAM_construct_utf8_string(
		OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)digest, 0);
	params[2] = OSSL_PARAM_construct_octet_string(
		OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret, secret_bytes);
	params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, 10 + label_bytes);
	params[4] = OSSL_PARAM_construct_end();
	KT_MUST(EVP_KDF_derive(context, out, out_bytes, params) == 1);
	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
}

void kt_keys_from_secret(
	const struct kt_cipher *cipher, const uint8_t *secret, struct kt_keys *keys)
{
	const char *digest = cipher->type == TLS_CIPHER_AES_GCM_256 ? "SHA384" : "SHA256";

	memset(keys, 0, sizeof *keys);
	kt_expand_label(digest, secret, "key", keys->key, cipher->key_bytes);
	kt_expand_label(digest, secret, "iv", keys->iv, sizeof keys->iv);
}
