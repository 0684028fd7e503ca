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
