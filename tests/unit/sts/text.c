/* SPDX-License-Identifier: MIT */
/* text.c -- tests: keys, values, domains, octet by octet. */
#include "sts/sts-private.h"

#include <criterion/criterion.h>

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* S("a\0b"): the octets of a literal, NULs too. */
#define S(literal)                                                                                 \
	{                                                                                          \
		.p = (const uint8_t *)(literal), .n = sizeof(literal) - 1                          \
	}

Test(text, keys)
{
	static const struct {
		const char *section;
		struct span key;
		bool valid;
	} rows[] = {
		{"8461 3.1", S("id"), true},
		{"8461 3.1", S("1"), true},
		{"8461 3.2", S("max_age"), true},
		{"8461 3.2", S("a-b.c_d9"), true},
		{"8461 3.2", S("a2345678901234567890123456789012"), true},
		{"8461 3.2", S("a23456789012345678901234567890123"), false},
		{"8461 3.2", S(""), false},
		{"8461 3.2", S("_a"), false},
		{"8461 3.2", S("-a"), false},
		{"8461 3.2", S(".a"), false},
		{"8461 3.2", S("a b"), false},
		{"8461 3.2", S("a\0b"), false},
		{"8461 3.2", S("\xc3\xa4"), false},
		{"8461 3.2", S("a\xc3\xa4"), false},
		{"8461 3.2", S("a*"), false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(sts_key_valid(rows[i].key), rows[i].valid, "row %zu, RFC %s", i,
			rows[i].section);
}

Test(text, values_of_txt_records)
{
	for (unsigned c = 0; c < 256; c++) {
		uint8_t octet = (uint8_t)c;
		bool valid = c >= 0x21 && c <= 0x7e && c != ';' && c != '=';

		cr_expect_eq(sts_txt_value_valid(span_of(&octet, 1)), valid, "RFC 8461 3.1, %u", c);
	}
	cr_expect(!sts_txt_value_valid(span_str("")));
	cr_expect(!sts_txt_value_valid(span_str("a b")));
}

Test(text, values_of_policies)
{
	static const struct {
		const char *section;
		struct span value;
		bool valid;
	} rows[] = {
		{"8461 3.2", S("a"), true},
		{"8461 3.2", S("a b  c"), true},
		{"8461 3.2", S("a=b;c:d"), true},
		{"8461 3.2", S("\xc3\xa4"), true},
		{"8461 3.2", S("\xe2\x82\xac"), true},
		{"8461 3.2", S("\xf0\x9f\x92\x8c"), true},
		{"8461 3.2", S("\xf4\x8f\xbf\xbf"), true},
		{"8461 3.2", S(""), false},
		{"8461 3.2", S("a\tb"), false},
		{"8461 3.2", S("a\rb"), false},
		{"8461 3.2", S("a\0b"), false},
		{"8461 3.2", S("a\x7f"), false},
		{"3629 4", S("\xe4"), false},
		{"3629 4", S("\x80"), false},
		{"3629 4", S("\xc0\xaf"), false},
		{"3629 4", S("\xc3"), false},
		{"3629 4", S("\xc3\x28"), false},
		{"3629 4", S("\xe0\x80\xaf"), false},
		{"3629 4", S("\xe2\x82"), false},
		{"3629 4", S("\xe2\x82\x41"), false},
		{"3629 4", S("\xed\xa0\x80"), false},
		{"3629 4", S("\xf0\x80\x80\xaf"), false},
		{"3629 4", S("\xf4\x90\x80\x80"), false},
		{"3629 4", S("\xf5\x80\x80\x80"), false},
		{"3629 4", S("\xff"), false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(sts_policy_value_valid(rows[i].value), rows[i].valid,
			"row %zu, RFC %s", i, rows[i].section);
}

Test(text, domains)
{
	static const struct {
		const char *section;
		struct span domain;
		bool valid;
	} rows[] = {
		{"5321 4.1.2", S("example.org"), true},
		{"5321 4.1.2", S("a"), true},
		{"5321 4.1.2", S("1-a.2"), true},
		{"5321 4.1.2", S("xn--exmple-cua.org"), true},
		{"5321 4.1.2", S("EXAMPLE.org"), true},
		{"5321 4.1.2", S(""), false},
		{"5321 4.1.2", S("."), false},
		{"5321 4.1.2", S("a."), false},
		{"5321 4.1.2", S(".a"), false},
		{"5321 4.1.2", S("a..b"), false},
		{"5321 4.1.2", S("-a.b"), false},
		{"5321 4.1.2", S("a-.b"), false},
		{"5321 4.1.2", S("a_b.c"), false},
		{"5321 4.1.2", S("a b.c"), false},
		{"5321 4.1.2", S("a\0.c"), false},
		{"8461 3.2", S("ex\xc3\xa4mple.org"), false},
		{"1035 2.3.4", S(A63 ".a"), true},
		{"1035 2.3.4", S("a" A63 ".a"), false},
		{"1035 2.3.4",
			S(A63 "." A63 "." A63 ".aaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbb"
			      "aaaaaaaaaabbbbbbbbbbc"),
			true},
		{"1035 2.3.4",
			S(A63 "." A63 "." A63 ".aaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbb"
			      "aaaaaaaaaabbbbbbbbbbcc"),
			false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(sts_domain_valid(rows[i].domain), rows[i].valid, "row %zu, RFC %s", i,
			rows[i].section);
}
