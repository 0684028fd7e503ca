/* SPDX-License-Identifier: MIT */
/* describe.c -- what status tells about a certificate: its key and its last day. */
#include "tls/tls-private.h"

#include <openssl/asn1.h>
#include <openssl/evp.h>
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

void tls_material_describe(
	const struct tls_material *material, size_t i, struct tls_certificate_facts *out)
{
	const struct tls_certificate *certificate = &material->certificates[i];
	const unsigned char *der = certificate->chain[0].p;
	X509 *leaf;

	ASSERT(i < material->certificates_n);
	*out = (struct tls_certificate_facts){0};
	leaf = d2i_X509(NULL, &der, (long)certificate->chain[0].n);
	if (leaf == NULL)
		return;
	out->not_after_s = seconds_of(X509_get0_notAfter(leaf));
	describe_key(out->key_type, sizeof(out->key_type), X509_get0_pubkey(leaf));
	X509_free(leaf);
}
