/* SPDX-License-Identifier: MIT */
/* Unit tests of config/name.c: which texts are host names, mail domains, plain text. */
#include <criterion/criterion.h>

#include "config/name.h"

#define L63 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"

struct name_case {
	const char *text;
	bool host;
	bool domain;
};

Test(name, host_and_domain)
{
	static const struct name_case cases[] = {
		{"example.org", true, true},
		{"a", true, true},
		{"EXAMPLE.Org", true, true},
		{"3com.example", true, true},
		{"1.2.3.example", true, true},
		{"a-b.example", true, true},
		{"xn--exmple-cua.org", true, true},
		{L63 ".org", true, true},
		{"ex\xc3\xa4mple.org", false, true},
		{"\xe4\xbe\x8b.\xe4\xbe\x8b", false, true},
		{"", false, false},
		{".", false, false},
		{"example.org.", false, false},
		{".example.org", false, false},
		{"example..org", false, false},
		{"-a.example", false, false},
		{"a-.example", false, false},
		{"a_b.example", false, false},
		{"a b.example", false, false},
		{"*.example.org", false, false},
		{"1.2.3.4", false, false},
		{"[1.2.3.4]", false, false},
		{"user@example.org", false, false},
		{L63 "x.org", false, false},
		{"ex\xc3.org", false, false},
		{"ex\xe4mple.org", false, false},
		{"a.org\n", false, false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct span name = span_str(cases[i].text);

		cr_expect_eq(name_host_valid(name), cases[i].host, "host %s", cases[i].text);
		cr_expect_eq(name_domain_valid(name), cases[i].domain, "domain %s", cases[i].text);
	}
}

/* RFC 1035: 253 octets are a name, 254 are not. */
Test(name, length_of_the_whole)
{
	char text[255];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 2 ? '.' : 'a';
	cr_expect(name_host_valid(span_of(text, 253)));
	text[253] = 'a';
	cr_expect_not(name_host_valid(span_of(text, 254)));
	text[252] = 'b';
	text[253] = '.';
	cr_expect_not(name_host_valid(span_of(text, 255)));
}

Test(name, nul_is_in_no_name)
{
	cr_expect_not(name_host_valid(span_of("a\0b.org", 7)));
	cr_expect_not(name_domain_valid(span_of("a\0b.org", 7)));
	cr_expect_not(name_text_valid(span_of("a\0b", 3)));
}

Test(name, utf8)
{
	static const char *const good[] = {"", "plain ~", "\xc2\xa0", "\xdf\xbf", "\xe0\xa0\x80",
		"\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x1f", "\x7f", "a\tb", "\x80", "\xbf", "\xc0\x80",
		"\xc1\xbf", "\xc2", "\xc2\x41", "\xc2\x80", "\xc2\x9f", "\xe0\x9f\xbf", "\xe2\x82",
		"\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf0\x9f\x92", "\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80", "\xff"};

	for (size_t i = 0; i < COUNT_OF(good); i++)
		cr_expect(name_text_valid(span_str(good[i])), "good %zu", i);
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		cr_expect_not(name_text_valid(span_str(bad[i])), "bad %zu", i);
}

Test(name, lower_folds_ascii_only)
{
	char text[] = "AZaz@[`{\xc3\x84";

	name_lower(text, sizeof(text) - 1);
	cr_expect_str_eq(text, "azaz@[`{\xc3\x84");
}
