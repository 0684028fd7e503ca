/* SPDX-License-Identifier: MIT */
/*
 * material_pack.c -- material as one block of bytes, for the pipe from the parent to the worker
 * process.
 *
 * Layout, numbers in network order: "PTM2", number of certificates; for each: title, number of
 * names, names, number of chain members, members, the same of the chain to come, key; number of ticket keys; for each: name, aes,
 * mac, created. Byte strings are preceded by their length (32 bits). The block is read as if it
 * came from a stranger, because a bug on the way is one.
 */
#include "tls/tls-private.h"

#include <stdlib.h>

#define MAGIC      0x50544d32u /* "PTM2" */
#define STRING_MAX 65536u

struct writer {
	uint8_t *p; /* NULL: only counting */
	size_t n;
};

static void put(struct writer *writer, const void *p, size_t n)
{
	if (writer->p != NULL && n > 0)
		memcpy(writer->p + writer->n, p, n);
	writer->n += n;
}

static void put_u32(struct writer *writer, size_t value)
{
	uint8_t octets[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
		(uint8_t)value};

	put(writer, octets, sizeof(octets));
}

static void put_bytes(struct writer *writer, const void *p, size_t n)
{
	put_u32(writer, n);
	put(writer, p, n);
}

static void put_chain(struct writer *writer, const struct tls_blob *chain, size_t n)
{
	put_u32(writer, n);
	for (size_t i = 0; i < n; i++)
		put_bytes(writer, chain[i].p, chain[i].n);
}

static void put_certificate(struct writer *writer, const struct tls_certificate *certificate)
{
	put_bytes(writer, certificate->title, strlen(certificate->title));
	put_u32(writer, certificate->names_n);
	for (size_t i = 0; i < certificate->names_n; i++)
		put_bytes(writer, certificate->names[i], strlen(certificate->names[i]));
	put_chain(writer, certificate->chain, certificate->chain_n);
	put_chain(writer, certificate->next, certificate->next_n);
	put_bytes(writer, certificate->key.p, certificate->key.n);
}

static void put_material(struct writer *writer, const struct tls_material *material)
{
	put_u32(writer, MAGIC);
	put_u32(writer, material->certificates_n);
	for (size_t i = 0; i < material->certificates_n; i++)
		put_certificate(writer, &material->certificates[i]);
	put_u32(writer, material->tickets.n);
	for (size_t i = 0; i < material->tickets.n; i++) {
		const struct tls_ticket_key *key = &material->tickets.keys[i];

		put(writer, key->name, sizeof(key->name));
		put(writer, key->aes, sizeof(key->aes));
		put(writer, key->mac, sizeof(key->mac));
		put_u32(writer, key->created_s >> 32);
		put_u32(writer, key->created_s & 0xffffffffu);
	}
}

int tls_material_pack(const struct tls_material *material, uint8_t **block, size_t *n)
{
	struct writer writer = {0};

	put_material(&writer, material);
	*n = writer.n;
	*block = malloc(writer.n);
	if (*block == NULL)
		return -1;
	writer = (struct writer){.p = *block};
	put_material(&writer, material);
	ASSERT(writer.n == *n);
	return 0;
}

static bool take(struct span *in, void *out, size_t n)
{
	struct span bytes = span_take(in, n);

	if (bytes.n == n)
		memcpy(out, bytes.p, n);
	return bytes.n == n;
}

static bool take_u32(struct span *in, size_t *value, size_t max)
{
	uint8_t octets[4];

	if (!take(in, octets, sizeof(octets)))
		return false;
	*value = (size_t)octets[0] << 24 | (size_t)octets[1] << 16 | (size_t)octets[2] << 8 |
		 octets[3];
	return *value <= max;
}

static bool take_blob(struct span *in, struct tls_blob *blob)
{
	size_t n;

	if (!take_u32(in, &n, STRING_MAX) || n == 0 || n > in->n)
		return false;
	blob->p = malloc(n);
	blob->n = blob->p != NULL ? n : 0;
	return blob->p != NULL && take(in, blob->p, n);
}

static bool take_text(struct span *in, char **text)
{
	size_t n;

	if (!take_u32(in, &n, STRING_MAX) || n > in->n)
		return false;
	*text = malloc(n + 1);
	if (*text == NULL || !take(in, *text, n))
		return false;
	(*text)[n] = '\0';
	return strlen(*text) == n;
}

static bool take_chain(struct span *in, struct tls_blob *chain, size_t *n)
{
	size_t all;

	if (!take_u32(in, &all, TLS_CHAIN_MAX))
		return false;
	while (*n < all)
		if (!take_blob(in, &chain[(*n)++]))
			return false;
	return true;
}

static bool take_certificate(struct span *in, struct tls_certificate *certificate)
{
	size_t names_n;

	if (!take_text(in, &certificate->title) || !take_u32(in, &names_n, SETTINGS_NAMES_MAX))
		return false;
	certificate->names = calloc(names_n + 1, sizeof(certificate->names[0]));
	if (certificate->names == NULL)
		return false;
	while (certificate->names_n < names_n)
		if (!take_text(in, &certificate->names[certificate->names_n++]))
			return false;
	return take_chain(in, certificate->chain, &certificate->chain_n) &&
	       certificate->chain_n > 0 &&
	       take_chain(in, certificate->next, &certificate->next_n) &&
	       take_blob(in, &certificate->key);
}

static bool take_tickets(struct span *in, struct tls_ticket_keys *keys)
{
	size_t high, low;

	if (!take_u32(in, &keys->n, TLS_TICKET_KEYS_MAX))
		return false;
	for (size_t i = 0; i < keys->n; i++) {
		struct tls_ticket_key *key = &keys->keys[i];

		if (!take(in, key->name, sizeof(key->name)) ||
			!take(in, key->aes, sizeof(key->aes)) ||
			!take(in, key->mac, sizeof(key->mac)) || !take_u32(in, &high, UINT32_MAX) ||
			!take_u32(in, &low, UINT32_MAX))
			return false;
		key->created_s = (uint64_t)high << 32 | low;
	}
	return true;
}

static bool take_material(struct span *in, struct tls_material *material)
{
	size_t magic, n;

	if (!take_u32(in, &magic, UINT32_MAX) || magic != MAGIC ||
		!take_u32(in, &n, SETTINGS_CERTIFICATES_MAX) || n == 0)
		return false;
	material->certificates = calloc(n, sizeof(material->certificates[0]));
	if (material->certificates == NULL)
		return false;
	while (material->certificates_n < n)
		if (!take_certificate(in, &material->certificates[material->certificates_n++]))
			return false;
	return take_tickets(in, &material->tickets) && in->n == 0;
}

int tls_material_unpack(struct tls_material **out, struct span block, struct err *err)
{
	struct tls_material *material = calloc(1, sizeof(*material));

	*out = NULL;
	if (material == NULL || !take_material(&block, material)) {
		tls_material_free(material);
		return err_set(err, "the block of TLS material is damaged");
	}
	*out = material;
	return 0;
}
