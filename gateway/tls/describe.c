/* SPDX-License-Identifier: MIT */
/*
 * describe.c -- what is told about a certificate: its key and its last day, and the digests that TLSA
 * records have of it and of what issued it.
 */
#include "tls/tls-private.h"

#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>

/* Seconds since 1970 of an ASN.1 time; 0 if it cannot be told. */
static int64_t seconds_of(const ASN1_TIME *time)
{
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	int days = 0;
	int seconds = 0;
	int64_t result = 0;

	if (epoch != NULL && ASN1_TIME_diff(&days, &seconds, epoch, time) == 1)
		result = (int64_t)days * 86400 + seconds;
	ASN1_TIME_free(epoch);
	return result;
}

static void describe_key(char *out, size_t n, const EVP_PKEY *key)
{
	char group[32] = "";

	if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC) {
		snprintf(out, n, "%s %d", EVP_PKEY_get0_type_name(key), EVP_PKEY_get_bits(key));
		return;
	}
	(void)EVP_PKEY_get_group_name(key, group, sizeof(group), NULL);
	snprintf(out, n, "ECDSA %s", strcmp(group, "prime256v1") == 0 ? "P-256" : group);
}

void tls_sha256(struct span bytes, uint8_t digest[32])
{
	SHA256(bytes.p, bytes.n, digest);
}

X509 *tls_blob_x509(const struct tls_blob *der)
{
	const unsigned char *p = der->p;

	return d2i_X509(NULL, &p, (long)der->n);
}

/* Where the public key stands in the certificate; {NULL, 0}: nowhere, which is not possible. */
static struct span spki_of(const struct tls_blob *der)
{
	X509 *x509 = tls_blob_x509(der);
	unsigned char *octets = NULL;
	const uint8_t *at = NULL;
	int n = x509 != NULL ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &octets) : -1;

	if (n > 0)
		at = memmem(der->p, der->n, octets, (size_t)n);
	OPENSSL_free(octets);
	X509_free(x509);
	return at != NULL ? span_of(at, (size_t)n) : (struct span){0};
}

size_t tls_material_chain(
	const struct tls_material *material, size_t i, struct tls_member out[TLS_CHAIN_MAX])
{
	const struct tls_certificate *certificate = &material->certificates[i];

	ASSERT(i < material->certificates_n);
	for (size_t k = 0; k < certificate->chain_n; k++) {
		const struct tls_blob *der = &certificate->chain[k];
		struct tls_member *member = &out[k];

		member->der = span_of(der->p, der->n);
		member->spki = spki_of(der);
		SHA256(der->p, der->n, member->der_sha256);
		SHA512(der->p, der->n, member->der_sha512);
		SHA256(member->spki.p, member->spki.n, member->spki_sha256);
		SHA512(member->spki.p, member->spki.n, member->spki_sha512);
	}
	return certificate->chain_n;
}

static void pins_fill(struct tls_pins *pins, const struct tls_blob *chain, size_t n)
{
	pins->known = n > 0;
	pins->issued = n > 1;
	if (pins->known)
		tls_sha256(spki_of(&chain[0]), pins->leaf);
	if (pins->issued)
		tls_sha256(spki_of(&chain[n - 1]), pins->issuer);
}

void tls_material_describe(
	const struct tls_material *material, size_t i, struct tls_certificate_facts *out)
{
	const struct tls_certificate *certificate = &material->certificates[i];
	X509 *leaf;

	ASSERT(i < material->certificates_n);
	*out = (struct tls_certificate_facts){0};
	pins_fill(&out->now, certificate->chain, certificate->chain_n);
	pins_fill(&out->next, certificate->next, certificate->next_n);
	leaf = tls_blob_x509(&certificate->chain[0]);
	if (leaf == NULL)
		return;
	out->not_after_s = seconds_of(X509_get0_notAfter(leaf));
	describe_key(out->key_type, sizeof(out->key_type), X509_get0_pubkey(leaf));
	X509_free(leaf);
}
