/* SPDX-License-Identifier: MIT */
/* Key derivation against published vectors. That TLS 1.2 keys fit is proved in ktls.c, against
 * OpenSSL's record layer. */
#include "rig.h"

#include <stdio.h>

#include <criterion/criterion.h>
#include <openssl/kdf.h>

static void unhex(const char *text, uint8_t *out)
{
	for (size_t i = 0; text[2 * i] != '\0'; i++) {
		unsigned octet;

		cr_assert(sscanf(text + 2 * i, "%2x", &octet) == 1);
		out[i] = (uint8_t)octet;
	}
}

/* RFC 8448 section 3: the application traffic secrets of the simple 1-RTT handshake. */
Test(derive, rfc_8448_application_keys)
{
	static const struct {
		const char *secret, *key, *iv;
	} vectors[] = {
		{"a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643",
			"9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984"},
		{"9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5",
			"17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9"},
	};
	EVP_KDF *hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);

	for (size_t i = 0; i < COUNT_OF(vectors); i++) {
		uint8_t secret[TLS_SECRET_MAX], key[TLS_KEY_MAX], iv[TLS_IV_SIZE];
		struct tls_keys keys;

		unhex(vectors[i].secret, secret);
		unhex(vectors[i].key, key);
		unhex(vectors[i].iv, iv);
		cr_assert(tls_derive_keys(hkdf, tls_suite_find(0x1301), secret, &keys) == 0);
		cr_assert_arr_eq(keys.key, key, 16);
		cr_assert_arr_eq(keys.iv, iv, 12);
	}
	EVP_KDF_free(hkdf);
}

Test(derive, suites_are_in_one_table)
{
	char list[TLS_SUITE_LIST_MAX];

	tls_suite_list(true, list);
	cr_assert_str_eq(list, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
			       "TLS_CHACHA20_POLY1305_SHA256");
	tls_suite_list(false, list);
	cr_assert(strncmp(list, "ECDHE-ECDSA-AES128-GCM-SHA256:", 30) == 0);
	cr_assert(tls_suite_find(0xc023) == NULL, "no CBC");
}
