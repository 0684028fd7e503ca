/* SPDX-License-Identifier: MIT */
/* text.c -- tests: octets made printable, findings kept and dropped, names in wire format. */
#include "tools/probe/probe.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(text, clean)
{
	uint8_t all[256];
	char out[300], small[8];

	for (unsigned i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	probe_clean(out, sizeof(out), span_of(all, sizeof(all)));
	cr_assert_eq(strlen(out), 256);
	for (unsigned i = 0; i < 256; i++)
		cr_expect_eq(out[i], i >= 0x20 && i < 0x7f ? (char)i : '?');
	probe_clean(small, sizeof(small), span_str("1234567"));
	cr_expect_str_eq(small, "1234567");
	probe_clean(small, sizeof(small), span_str("12345678"));
	cr_expect_str_eq(small, "1234...");
	probe_clean(small, sizeof(small), span_str(""));
	cr_expect_str_eq(small, "");
}

Test(text, findings)
{
	struct probe_findings *findings = calloc(1, sizeof(*findings));

	cr_assert_not_null(findings);
	cr_expect_eq(findings->worst, PROBE_NOTE);
	for (int i = 0; i < PROBE_FINDINGS_MAX; i++)
		probe_finding_add(findings, PROBE_NOTE, "x", "", "none", "%d", i);
	cr_expect_eq(findings->n, PROBE_FINDINGS_MAX);
	probe_finding_add(findings, PROBE_REFUSAL, "y", "h\n", "all", "\x1b");
	cr_expect_eq(findings->n, PROBE_FINDINGS_MAX);
	cr_expect_eq(findings->dropped_n, 1);
	cr_expect_eq(findings->worst, PROBE_REFUSAL, "a dropped finding still counts");
	findings->n = 0;
	probe_finding_add(findings, PROBE_OBJECTION, "y", "h\n", "all", "\x1b[%s", "m");
	cr_expect_str_eq(findings->items[0].host, "h?");
	cr_expect_str_eq(findings->items[0].what, "?[m");
	free(findings);
}

Test(text, names)
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
	char name[PROBE_NAME_MAX];
	size_t n = 0;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		bool good = probe_name_read(span_of(rows[i].wire, rows[i].n), name);

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
	cr_expect_not(probe_name_read(span_of(wire, n + 1), name));
	wire[192] = 61; /* 63 + 63 + 63 + 61 and three dots: 253 */
	wire[192 + 62] = 0;
	cr_expect(probe_name_read(span_of(wire, 192 + 63), name));
	cr_expect_eq(strlen(name), STS_NAME_MAX);
}
