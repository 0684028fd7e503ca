/* SPDX-License-Identifier: MIT */
/* dnsname.c -- names of hosts in wire format, and what only looks like one. */
#include <criterion/criterion.h>

#include "base/dnsname.h"

Test(dnsname, reads)
{
	static const struct {
		const char *wire;
		size_t n;
		const char *name; /* NULL: refused */
	} rows[] = {
		{"\0", 1, ""},
		{"\2Mx\3ORG\0", 8, "mx.org"},
		{"\4_dmn\0", 6, "_dmn"},
		{"\2mx\3org", 7, NULL},
		{"\2mx\0\0", 5, NULL},
		{"\2m.\0", 4, NULL},
		{"\2m\x1b\0", 4, NULL},
		{"\xc0\x0c", 2, NULL},
		{"", 0, NULL},
	};
	uint8_t wire[300];
	char name[DNS_NAME_MAX + 1];
	size_t n = 0;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		bool good = dns_name_read(span_of(rows[i].wire, rows[i].n), name);

		cr_expect_eq(good, rows[i].name != NULL, "row %zu", i);
		if (good && rows[i].name != NULL)
			cr_expect_str_eq(name, rows[i].name);
	}
	while (n + 64 <= 256) { /* four labels of 63 are 255 octets of text: too long */
		wire[n] = 63;
		memset(wire + n + 1, 'a', 63);
		n += 64;
	}
	wire[n] = 0;
	cr_expect_not(dns_name_read(span_of(wire, n + 1), name));
	wire[192] = 61; /* 63 + 63 + 63 + 61 and three dots: 253 */
	wire[192 + 62] = 0;
	cr_expect(dns_name_read(span_of(wire, 192 + 63), name));
	cr_expect_eq(strlen(name), DNS_NAME_MAX);
}
