/* SPDX-License-Identifier: MIT */
/* path.c -- addresses, good and hostile; literals; UTF-8. */
#include <stdio.h>

#include <criterion/criterion.h>

#include "smtp/smtp-private.h"

#define X10 "xxxxxxxxxx"
#define X60 X10 X10 X10 X10 X10 X10
#define L63 X60 "xxx"
#define L64 X60 "xxxx"

Test(smtp_path, good)
{
	static const struct {
		const char *path;
		const char *local;
		const char *domain;
	} rows[] = {
		{"<a@b>", "a", "b"},
		{"<a.b.c@x.example.org>", "a.b.c", "x.example.org"},
		{"<!#$%&'*+-/=?^_`{|}~@b>", "!#$%&'*+-/=?^_`{|}~", "b"},
		{"<1@2.3>", "1", "2.3"},
		{"<a@b-c--d.e>", "a", "b-c--d.e"},
		{"<\"\"@b>", "\"\"", "b"},
		{"<\"a b\"@c>", "\"a b\"", "c"},
		{"<\"a\\\"b\\\\c\\ d\"@e>", "\"a\\\"b\\\\c\\ d\"", "e"},
		{"<\"a@b>c<,;:\"@d>", "\"a@b>c<,;:\"", "d"},
		{"<" L64 "@b>", L64, "b"},
		{"<a@" L63 "." L63 "." L63 ".b>", "a", L63 "." L63 "." L63 ".b"},
		{"<a@[192.0.2.1]>", "a", "[192.0.2.1]"},
		{"<a@[IPv6:2001:db8::1]>", "a", "[IPv6:2001:db8::1]"},
		{"<a@[ipv6:::ffff:192.0.2.1]>", "a", "[ipv6:::ffff:192.0.2.1]"},
		{"<a@[x-tag:any!thing@here]>", "a", "[x-tag:any!thing@here]"},
		{"<@x:a@b>", "a", "b"},
		{"<@x.y,@z:a@b>", "a", "b"},
		{"<postmaster>", "postmaster", ""},
		{"<POSTmaster>", "POSTmaster", ""},
		{"<\xc3\xa9t\xc3\xa9@ex\xc3\xa4mple.org>", "\xc3\xa9t\xc3\xa9",
			"ex\xc3\xa4mple.org"},
		{"<\"\xe6\x97\xa5\"@\xf0\x9f\x98\x80.x>", "\"\xe6\x97\xa5\"", "\xf0\x9f\x98\x80.x"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct span rest = span_str(rows[i].path);
		struct smtp_address address;

		cr_assert(smtp_path_take(&rest, false, &address), "%s", rows[i].path);
		cr_assert_eq(rest.n, 0, "%s", rows[i].path);
		cr_assert(span_equal(address.local, span_str(rows[i].local)), "%s", rows[i].path);
		cr_assert(span_equal(address.domain, span_str(rows[i].domain)), "%s", rows[i].path);
		cr_assert_eq(address.text.n,
			address.local.n + address.domain.n + (address.domain.n > 0 ? 1 : 0));
		cr_assert_eq(address.utf8, i >= COUNT_OF(rows) - 2);
	}
}

static const char *const bad_paths[] = {
	"",
	"<",
	">",
	"<>",
	"<a",
	"<a@",
	"<a@>",
	"<@b>",
	"<a>",
	"<a@b",
	"a@b",
	"<a@b@c>",
	"<.a@b>",
	"<a.@b>",
	"<a..b@c>",
	"<a b@c>",
	"< a@b>",
	"<a@b >",
	"<a@ b>",
	"<a@b c>",
	"<a@b.>",
	"<a@.b>",
	"<a@b..c>",
	"<a@-b>",
	"<a@b->",
	"<a@b-.c>",
	"<a@b_c>",
	"<a@b!>",
	"<a@" L64 ">",
	"<" L64 "x@b>",
	"<a@" L63 "." L63 "." L63 "." L63 ">",
	"<\"a@b>",
	"<\"a\"b@c>",
	"<a\"b\"@c>",
	"<\"a\\\"@b>",
	"<\"a\tb\"@c>",
	"<\"a\x7f\"@c>",
	"<\"\\\xc3\xa9\"@c>",
	"<a(comment)@b>",
	"<a@b(comment)>",
	"<a,b@c>",
	"<a;b@c>",
	"<a@b,c>",
	"<a\\b@c>",
	"<a[b@c>",
	"<a:b@c>",
	"<<a@b>>",
	"<a@[]>",
	"<a@[1.2.3]>",
	"<a@[1.2.3.4.5]>",
	"<a@[256.1.1.1]>",
	"<a@[1.2.3.4>",
	"<a@1.2.3.4]>",
	"<a@[1.2.3.4]x>",
	"<a@[1.2.3.x]>",
	"<a@[1.2.3.0004]>",
	"<a@[ 1.2.3.4]>",
	"<a@[IPv6:]>",
	"<a@[IPv6:x]>",
	"<a@[IPv6:1::2::3]>",
	"<a@[IPv6:1:2:3:4:5:6:7:8:9]>",

	"<a@[tag-:x]>",
	"<a@[:x]>",
	"<a@[tag:]>",
	"<a@[tag:a b]>",
	"<a@[tag:a[b]>",
	"<a@[t g:x]>",
	"<@x a@b>",
	"<@x:>",
	"<@x>",
	"<@:a@b>",
	"<@x,y:a@b>",
	"<@x,:a@b>",
	"<@x:postmaster",
	"<postmaster@>",
	"<postmasters>",
	"<\"postmaster\">",
	"<\xc3@b>",
	"<a@\xa9>",
	"<a\xc3\xa9\x80@b>",
	"<\xc0\xaf@b>",
	"<\xed\xa0\x80@b>",
	"<\xf5\x80\x80\x80@b>",
	"<\xe9@b>",
};

Test(smtp_path, bad)
{
	for (size_t i = 0; i < COUNT_OF(bad_paths); i++) {
		struct span rest = span_str(bad_paths[i]);
		struct smtp_address address;

		cr_assert_not(
			smtp_path_take(&rest, false, &address) && rest.n == 0, "%s", bad_paths[i]);
	}
}

/* Every octet by itself: in a local part, in a quoted one, in a domain. */
Test(smtp_path, every_octet)
{
	static const char atext[] = "!#$%&'*+-/=?^_`{|}~";

	for (int c = 0; c < 0x80; c++) {
		bool alnum =
			(c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		bool quoted = c >= ' ' && c <= '~' && c != '"'; /* "\\x" is a pair */
		const char *const forms[] = {
			"<x%cx@b>", "<\"x%cx\"@b>", "<a@x%cx>", "<\"\\%c\"@b>"};
		const bool expected[] = {
			alnum || c == '.' || (c != '\0' && strchr(atext, c) != NULL),
			quoted,
			alnum || c == '-' || c == '.',
			c >= ' ' && c <= '~',
		};

		for (size_t i = 0; i < COUNT_OF(forms); i++) {
			char text[32];
			int n = snprintf(text, sizeof(text), forms[i], c);
			struct span rest = span_of(text, (size_t)n);
			struct smtp_address address;
			bool good = smtp_path_take(&rest, false, &address) && rest.n == 0;

			cr_assert_eq(good, expected[i], "octet 0x%02x in form %zu", (unsigned)c, i);
		}
	}
}

/* 256 octets with the brackets (RFC 5321 4.5.3.1.3), source routes included. */
Test(smtp_path, length)
{
	static const char *const domains[] = {L63 "." L63 "." L63 ".", "@" L63 "." L63 "." L63 ":"};

	for (size_t extra = 0; extra < 64; extra++) {
		char text[512];
		int n = snprintf(text, sizeof(text), "<a@%s%.*s>", domains[0], (int)extra + 1, L64);
		struct span rest = span_of(text, (size_t)n);
		struct smtp_address address;

		cr_assert_eq(smtp_path_take(&rest, false, &address), n <= 256 && extra < 63,
			"%d octets", n);
		n = snprintf(text, sizeof(text), "<%sa@%.*s>", domains[1], (int)extra + 1, L64);
		rest = span_of(text, (size_t)n);
		cr_assert_eq(smtp_path_take(&rest, false, &address), n <= 256 && extra < 63,
			"%d octets with a route", n);
	}
}

Test(smtp_path, null)
{
	struct span rest = span_str("<> SIZE=1");
	struct smtp_address address;

	cr_assert(smtp_path_take(&rest, true, &address));
	cr_assert_eq(rest.n, 7);
	cr_assert_eq(address.text.n, 0);
	rest = span_str("<postmaster>");
	cr_assert_not(smtp_path_take(&rest, true, &address), "a reverse-path needs its domain");
}

Test(smtp_path, utf8)
{
	static const struct {
		const char *text;
		bool valid;
	} rows[] = {
		{"", true},
		{"a", true},
		{"\x7f", true},
		{"\xc2\x80", true},
		{"\xdf\xbf", true},
		{"\xe0\xa0\x80", true},
		{"\xed\x9f\xbf", true},
		{"\xee\x80\x80", true},
		{"\xef\xbf\xbf", true},
		{"\xf0\x90\x80\x80", true},
		{"\xf4\x8f\xbf\xbf", true},
		{"\x80", false},
		{"\xbf", false},
		{"\xc0\x80", false},
		{"\xc1\xbf", false},
		{"\xc2", false},
		{"\xc2x", false},
		{"\xe0\x9f\xbf", false},
		{"\xe0\xa0", false},
		{"\xed\xa0\x80", false},
		{"\xf0\x8f\xbf\xbf", false},
		{"\xf0\x90\x80", false},
		{"\xf4\x90\x80\x80", false},
		{"\xf5\x80\x80\x80", false},
		{"\xff", false},
		{"a\xe2\x82\xac b\xe2\x82", false},
		{"\xe2\x82\xac\xac", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_assert_eq(smtp_utf8_valid(span_str(rows[i].text)), rows[i].valid, "row %zu", i);
}

Test(smtp_path, copy)
{
	struct smtp_pools pools;
	struct arena arena;
	struct span rest = span_str("<@r:ab@[1.2.3.4]>");
	struct smtp_address address;
	struct smtp_address copy;

	smtp_pools_open(&pools, 1);
	arena_init(&arena, &pools.arenas, 1);
	cr_assert(smtp_path_take(&rest, false, &address));
	copy = smtp_address_copy(&arena, &address);
	cr_assert(span_equal(copy.text, span_str("ab@[1.2.3.4]")));
	cr_assert_eq(copy.local.p, copy.text.p);
	cr_assert_eq(copy.local.n, 2);
	cr_assert_eq(copy.domain.p, copy.text.p + 3);
	cr_assert_eq(copy.domain.n, 9);
	arena_reset(&arena);
	smtp_pools_close(&pools);
}
