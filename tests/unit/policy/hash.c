/* SPDX-License-Identifier: MIT */
/* Unit tests of policy/hash.c: SipHash-2-4's published vectors. */
#include <criterion/criterion.h>

#include "policy/hash-private.h"

/* Key 00 01 .. 0f, message 00 01 .. of n octets (SipHash paper, appendix A, and its test vectors).
 */
static const struct {
	size_t n;
	uint64_t hash;
} vectors[] = {
	{0, 0x726fdb47dd0e0e31ull},
	{1, 0x74f839c593dc67fdull},
	{7, 0xab0200f58b01d137ull},
	{8, 0x93f5f5799a932462ull},
	{15, 0xa129ca6149be45e5ull},
	{63, 0x958a324ceb064572ull},
};

Test(hash, published_vectors)
{
	const struct hash_key key = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
	uint8_t message[64];

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)i;
	for (size_t i = 0; i < COUNT_OF(vectors); i++)
		cr_expect_eq(hash_bytes(&key, span_of(message, vectors[i].n)), vectors[i].hash,
			"%zu octets", vectors[i].n);
}

Test(hash, keys_differ)
{
	struct hash_key a = {0}, b = {0};

	cr_assert_eq(hash_key_init(&a), 0);
	cr_assert_eq(hash_key_init(&b), 0);
	cr_expect(a.k0 != b.k0 && a.k1 != b.k1);
	cr_expect_neq(hash_bytes(&a, span_str("x")), hash_bytes(&b, span_str("x")));
}
