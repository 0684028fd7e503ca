/* SPDX-License-Identifier: MIT */
/* mx.c -- tests: what is a pattern, and which hosts it allows. */
#include "sts/sts.h"

#include <criterion/criterion.h>

Test(mx, patterns)
{
	static const struct {
		const char *section;
		const char *pattern;
		bool valid;
	} rows[] = {
		{"8461 3.2", "mx.example.org", true},
		{"8461 3.2", "*.example.org", true},
		{"8461 3.2", "*.org", true},
		{"8461 3.2", "mx", true},
		{"8461 3.2", "*", false},
		{"8461 3.2", "*.", false},
		{"8461 3.2", "", false},
		{"8461 3.2", ".example.org", false}, /* a suffix in early drafts */
		{"8461 3.2", "*example.org", false},
		{"8461 3.2", "**.example.org", false},
		{"8461 3.2", "*.*.example.org", false},
		{"8461 3.2", "mx.*.example.org", false},
		{"8461 3.2", "mx*.example.org", false},
		{"8461 3.2", "mx.example.org.", false},
		{"8461 3.2", "mx.example.org, mx2.example.org", false},
		{"8461 3.2", "[192.0.2.1]", false},
		{"8461 3.2", "mx_1.example.org", false},
		{"8461 3.2", "m\xc3\xa4x.example.org", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(sts_mx_valid(span_str(rows[i].pattern)), rows[i].valid, "%s, RFC %s",
			rows[i].pattern, rows[i].section);
}

Test(mx, hosts)
{
	static const struct {
		const char *section;
		const char *pattern;
		const char *host;
		bool allowed;
	} rows[] = {
		{"8461 4.1", "mx.example.org", "mx.example.org", true},
		{"8461 4.1", "mx.example.org", "MX.Example.ORG", true},
		{"8461 4.1", "MX.Example.ORG", "mx.example.org", true},
		{"8461 4.1", "mx.example.org", "mx.example.org.", true},
		{"8461 4.1", "mx.example.org.", "mx.example.org", true},
		{"8461 4.1", "mx.example.org", "mx.example.org..", false},
		{"8461 4.1", "mx.example.org", "mx2.example.org", false},
		{"8461 4.1", "mx.example.org", "example.org", false},
		{"8461 4.1", "mx.example.org", "a.mx.example.org", false},
		{"8461 4.1", "mx.example.org", "mx.example.orga", false},
		{"8461 4.1", "mx.example.org", "mx-example.org", false},
		{"8461 4.1", "*.example.org", "mx.example.org", true},
		{"8461 4.1", "*.example.org", "MX.EXAMPLE.ORG.", true},
		{"8461 4.1", "*.example.org", "mx_1.example.org", true},
		{"8461 4.1", "*.example.org", "example.org", false},
		{"8461 4.1", "*.example.org", ".example.org", false},
		{"8461 4.1", "*.example.org", "a.mx.example.org", false},
		{"8461 4.1", "*.example.org", "mxexample.org", false},
		{"8461 4.1", "*.example.org", "mx.example.org.evil.example", false},
		{"8461 4.1", "*.example.org", "mx.example.or", false},
		{"8461 4.1", "*.example.org", "mx", false},
		{"8461 4.1", "*.example.org", "", false},
		{"8461 4.1", "*.example.org", ".", false},
		{"8461 4.1", "mx.example.org", "", false},
		{"8461 4.1", "*.", "mx.", false},
		{"8461 4.1", "", "", false},
		{"8461 4.1", ".", ".", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(sts_mx_match(span_str(rows[i].pattern), span_str(rows[i].host)),
			rows[i].allowed, "\"%s\" for \"%s\", RFC %s", rows[i].pattern, rows[i].host,
			rows[i].section);
}

Test(mx, a_nul_ends_nothing)
{
	cr_expect(!sts_mx_match(span_of("mx.a.example\0b", 14), span_of("mx.a.example\0c", 14)));
	cr_expect(!sts_mx_match(span_str("mx.a.example"), span_of("mx.a.example\0", 13)));
}
