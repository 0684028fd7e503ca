/* SPDX-License-Identifier: MIT */
/* rig_kernel.c -- the kernel's part: setsockopt(2) that takes notes, records sealed and opened with
 * what it was given; see rig.h. */
#include "rig.h"

#include <errno.h>
#include <linux/tls.h>

#include <criterion/criterion.h>

#define MUST(cond) cr_assert((cond), "%s:%d: %s", __FILE__, __LINE__, #cond)

struct rig_call rig_calls[RIG_CALLS_MAX];
size_t rig_calls_n;
static int calls_fail_at;
static int calls_error;

static int noting_setsockopt(int fd, int level, int name, const void *value, unsigned n)
{
	struct rig_call *call = &rig_calls[rig_calls_n];

	(void)fd;
	MUST(rig_calls_n < RIG_CALLS_MAX && n <= sizeof(call->value));
	call->level = level;
	call->name = name;
	call->n = n;
	memcpy(call->value, value, n);
	if ((int)rig_calls_n++ != calls_fail_at)
		return 0;
	errno = calls_error;
	return -1;
}

void rig_setsockopt(int fail_at, int error)
{
	rig_calls_n = 0;
	calls_fail_at = fail_at;
	calls_error = error;
	tls_setsockopt_for_test(noting_setsockopt);
}

const struct rig_call *rig_call_last(int level, int name)
{
	for (size_t i = rig_calls_n; i-- > 0;)
		if (rig_calls[i].level == level && rig_calls[i].name == name)
			return &rig_calls[i];
	return NULL;
}

static uint64_t get_u64(const uint8_t *p)
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | p[i];
	return value;
}

static void put_u64(uint8_t *p, uint64_t value)
{
	for (int i = 7; i >= 0; i--, value >>= 8)
		p[i] = (uint8_t)value;
}

#define LOAD_GCM(info)                                                                             \
	do {                                                                                       \
		MUST(call->n == sizeof(info));                                                     \
		memcpy(&(info), call->value, sizeof(info));                                        \
		memcpy(layer->key, (info).key, layer->key_n = sizeof((info).key));                 \
		memcpy(layer->salt, (info).salt, sizeof((info).salt));                             \
		memcpy(layer->iv, (info).iv, sizeof((info).iv));                                   \
		layer->sequence = get_u64((info).rec_seq);                                         \
	} while (0)

void krecord_load(struct krecord *layer, const struct rig_call *call)
{
	struct tls_crypto_info head;
	struct tls12_crypto_info_aes_gcm_128 gcm_128;
	struct tls12_crypto_info_aes_gcm_256 gcm_256;
	struct tls12_crypto_info_chacha20_poly1305 chacha;

	MUST(call != NULL && call->n > sizeof(head));
	memset(layer, 0, sizeof(*layer));
	memcpy(&head, call->value, sizeof(head));
	layer->version = head.version;
	layer->type = head.cipher_type;
	switch (head.cipher_type) {
	case TLS_CIPHER_AES_GCM_128:
		LOAD_GCM(gcm_128);
		break;
	case TLS_CIPHER_AES_GCM_256:
		LOAD_GCM(gcm_256);
		break;
	case TLS_CIPHER_CHACHA20_POLY1305:
		MUST(call->n == sizeof(chacha));
		memcpy(&chacha, call->value, sizeof(chacha));
		memcpy(layer->key, chacha.key, layer->key_n = sizeof(chacha.key));
		memcpy(layer->iv, chacha.iv, sizeof(chacha.iv));
		layer->sequence = get_u64(chacha.rec_seq);
		break;
	default:
		cr_assert(false, "unknown cipher type");
	}
}

static bool has_explicit_nonce(const struct krecord *layer)
{
	return layer->version == TLS_1_2_VERSION && layer->type != TLS_CIPHER_CHACHA20_POLY1305;
}

static void make_nonce(
	const struct krecord *layer, const uint8_t *explicit_nonce, uint8_t nonce[12])
{
	uint8_t sequence[8];

	if (layer->type == TLS_CIPHER_CHACHA20_POLY1305) {
		memcpy(nonce, layer->iv, 12);
	} else {
		memcpy(nonce, layer->salt, 4);
		memcpy(nonce + 4, explicit_nonce != NULL ? explicit_nonce : layer->iv, 8);
	}
	if (explicit_nonce != NULL)
		return;
	put_u64(sequence, layer->sequence);
	for (int i = 0; i < 8; i++)
		nonce[4 + i] ^= sequence[i];
}

static int make_aad(
	const struct krecord *layer, const uint8_t *header, size_t content_n, uint8_t aad[13])
{
	if (layer->version == TLS_1_3_VERSION) {
		memcpy(aad, header, 5);
		return 5;
	}
	put_u64(aad, layer->sequence);
	memcpy(aad + 8, header, 3);
	aad[11] = (uint8_t)(content_n >> 8);
	aad[12] = (uint8_t)content_n;
	return 13;
}

static const EVP_CIPHER *evp_of(const struct krecord *layer)
{
	if (layer->type == TLS_CIPHER_CHACHA20_POLY1305)
		return EVP_chacha20_poly1305();
	return layer->key_n == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
}

size_t krecord_seal(struct krecord *layer, uint8_t type, const void *plain, size_t n, uint8_t *out)
{
	bool explicit_nonce = has_explicit_nonce(layer);
	size_t head = explicit_nonce ? 13 : 5;
	size_t inner = n + (layer->version == TLS_1_3_VERSION ? 1 : 0);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t nonce[12], aad[13];
	int written;

	out[0] = layer->version == TLS_1_3_VERSION ? 23 : type;
	out[1] = out[2] = 3;
	out[3] = (uint8_t)((head - 5 + inner + 16) >> 8);
	out[4] = (uint8_t)(head - 5 + inner + 16);
	if (explicit_nonce) {
		memcpy(out + 5, layer->iv, 8);
		put_u64(layer->iv, get_u64(layer->iv) + 1);
	}
	make_nonce(layer, explicit_nonce ? out + 5 : NULL, nonce);
	memcpy(out + head, plain, n);
	out[head + n] = type; /* overwritten by the tag in TLS 1.2 */
	MUST(EVP_EncryptInit_ex2(ctx, evp_of(layer), layer->key, nonce, NULL) == 1);
	MUST(EVP_EncryptUpdate(ctx, NULL, &written, aad, make_aad(layer, out, n, aad)) == 1);
	MUST(EVP_EncryptUpdate(ctx, out + head, &written, out + head, (int)inner) == 1);
	MUST(EVP_EncryptFinal_ex(ctx, out + head + inner, &written) == 1);
	MUST(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, out + head + inner) == 1);
	EVP_CIPHER_CTX_free(ctx);
	layer->sequence++;
	return head + inner + 16;
}

long krecord_open(struct krecord *layer, struct span *in, uint8_t *type, uint8_t *plain)
{
	bool explicit_nonce = has_explicit_nonce(layer);
	size_t head = explicit_nonce ? 13 : 5;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t nonce[12], aad[13], tag[16];
	struct span record;
	size_t inner;
	int written, good;

	MUST(in->n >= head + 16);
	record = span_take(in, 5 + ((size_t)in->p[3] << 8 | in->p[4]));
	MUST(record.n >= head + 16);
	inner = record.n - head - 16;
	make_nonce(layer, explicit_nonce ? record.p + 5 : NULL, nonce);
	memcpy(tag, record.p + record.n - 16, 16);
	MUST(EVP_DecryptInit_ex2(ctx, evp_of(layer), layer->key, nonce, NULL) == 1);
	MUST(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, tag) == 1);
	MUST(EVP_DecryptUpdate(ctx, NULL, &written, aad, make_aad(layer, record.p, inner, aad)) ==
		1);
	MUST(EVP_DecryptUpdate(ctx, plain, &written, record.p + head, (int)inner) == 1);
	good = EVP_DecryptFinal_ex(ctx, plain + inner, &written);
	EVP_CIPHER_CTX_free(ctx);
	if (good != 1)
		return -1;
	layer->sequence++;
	*type = record.p[0];
	if (layer->version == TLS_1_3_VERSION) {
		while (inner > 0 && plain[inner - 1] == 0)
			inner--;
		MUST(inner > 0);
		*type = plain[--inner];
	}
	return (long)inner;
}
