/* SPDX-License-Identifier: MIT */
/*
 * suite.c -- the cipher table: every suite that is offered, and what its keys look like.
 *
 * AEAD suites with ECDHE only, because only those fit the kernel's record layer and forward
 * secrecy is not worth discussing any more. AES-128 stands first: an MX is asked for throughput by
 * peers that nearly always have AES instructions. AES-CCM, which kTLS could take too, is left out:
 * no mail server asks for it.
 *
 * In TLS 1.2 ChaCha20-Poly1305 uses the XOR nonce of RFC 7905, so only AES-GCM has an explicit one.
 */
#include "tls/tls-private.h"

#include <linux/tls.h>

#define GCM_128                                                                                    \
	.kernel = TLS_CIPHER_AES_GCM_128, .key_n = 16, .salt_n = 4, .iv_n = 8, .nonce_n = 8,       \
	.secret_n = 32, .digest = "SHA256", .aead = TLS_AEAD_AES_128_GCM
#define GCM_256                                                                                    \
	.kernel = TLS_CIPHER_AES_GCM_256, .key_n = 32, .salt_n = 4, .iv_n = 8, .nonce_n = 8,       \
	.secret_n = 48, .digest = "SHA384", .aead = TLS_AEAD_AES_256_GCM
#define CHACHA                                                                                     \
	.kernel = TLS_CIPHER_CHACHA20_POLY1305, .key_n = 32, .salt_n = 0, .iv_n = 12,              \
	.nonce_n = 0, .secret_n = 32, .digest = "SHA256", .aead = TLS_AEAD_CHACHA20_POLY1305

static const struct tls_suite suites[] = {
	{.id = 0x1301, .tls13 = true, .name = "TLS_AES_128_GCM_SHA256", GCM_128},
	{.id = 0x1302, .tls13 = true, .name = "TLS_AES_256_GCM_SHA384", GCM_256},
	{.id = 0x1303, .tls13 = true, .name = "TLS_CHACHA20_POLY1305_SHA256", CHACHA},
	{.id = 0xc02b, .name = "ECDHE-ECDSA-AES128-GCM-SHA256", GCM_128},
	{.id = 0xc02f, .name = "ECDHE-RSA-AES128-GCM-SHA256", GCM_128},
	{.id = 0xc02c, .name = "ECDHE-ECDSA-AES256-GCM-SHA384", GCM_256},
	{.id = 0xc030, .name = "ECDHE-RSA-AES256-GCM-SHA384", GCM_256},
	{.id = 0xcca9, .name = "ECDHE-ECDSA-CHACHA20-POLY1305", CHACHA},
	{.id = 0xcca8, .name = "ECDHE-RSA-CHACHA20-POLY1305", CHACHA},
};

const struct tls_suite *tls_suite_find(uint16_t id)
{
	for (size_t i = 0; i < COUNT_OF(suites); i++)
		if (suites[i].id == id)
			return &suites[i];
	return NULL;
}

void tls_suite_list(bool tls13, char list[TLS_SUITE_LIST_MAX])
{
	struct buf text;

	buf_init(&text, list, TLS_SUITE_LIST_MAX);
	for (size_t i = 0; i < COUNT_OF(suites); i++) {
		if (suites[i].tls13 != tls13)
			continue;
		if (!buf_printf(&text, "%s%s", buf_len(&text) > 0 ? ":" : "", suites[i].name))
			ASSERT(!"the list of suites fits");
	}
}
