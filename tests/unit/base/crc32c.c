/* SPDX-License-Identifier: MIT */
/* crc32c.c -- known values, both ways of computing, pieces put together. */
#include <criterion/criterion.h>

#include "base/crc32c.h"

struct vector {
	const char *name;
	uint8_t bytes[48];
	size_t n;
	uint32_t crc;
};

/* RFC 3720 B.4, as numbers; and the check value of the polynomial. */
static struct vector vectors[] = {
	{"nothing", "", 0, 0},
	{"check value", "123456789", 9, 0xe3069283},
	{"one octet", "a", 1, 0xc1d04330},
	{"32 zeros", {0}, 32, 0x8a9136aa},
	{"32 times 0xff", {0}, 32, 0x62a8ab43},
	{"0 to 31", {0}, 32, 0x46dd794e},
	{"31 to 0", {0}, 32, 0x113fdb5c},
	{"an iSCSI read command",
		{0x01, 0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, [32] = 0x28,
			[40] = 0x02},
		48, 0xd9963a56},
};

static void vectors_fill(void)
{
	memset(vectors[4].bytes, 0xff, 32);
	for (uint8_t i = 0; i < 32; i++) {
		vectors[5].bytes[i] = i;
		vectors[6].bytes[i] = 31 - i;
	}
}

Test(crc32c, known_values)
{
	vectors_fill();
	for (size_t i = 0; i < COUNT_OF(vectors); i++) {
		struct vector *v = &vectors[i];
		struct span bytes = span_of(v->bytes, v->n);

		cr_assert_eq(crc32c(0, bytes), v->crc, "%s", v->name);
		cr_assert_eq(crc32c_table(0, bytes), v->crc, "%s, by tables", v->name);
		if (crc32c_hardware_present())
			cr_assert_eq(crc32c_hardware(0, bytes), v->crc, "%s, by the CPU", v->name);
	}
}

/* Every length and every alignment up to where the loops change. */
Test(crc32c, both_ways_agree)
{
	static uint8_t bytes[256];
	uint32_t x = 1;

	if (!crc32c_hardware_present())
		cr_skip_test("the CPU has no SSE 4.2");
	for (size_t i = 0; i < sizeof(bytes); i++) {
		x = x * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(x >> 24);
	}
	for (size_t at = 0; at < 16; at++)
		for (size_t n = 0; n <= sizeof(bytes) - at; n++) {
			struct span span = span_of(bytes + at, n);

			cr_assert_eq(crc32c_hardware(x, span), crc32c_table(x, span), "%zu + %zu",
				at, n);
		}
}

Test(crc32c, pieces_are_as_the_whole)
{
	const char text[] = "The quick brown fox jumps over the lazy dog.";
	struct span whole = span_of(text, sizeof(text) - 1);

	for (size_t cut = 0; cut <= whole.n; cut++) {
		struct span rest = whole;
		struct span head = span_take(&rest, cut);

		cr_assert_eq(crc32c(crc32c(0, head), rest), crc32c(0, whole), "cut at %zu", cut);
	}
}
