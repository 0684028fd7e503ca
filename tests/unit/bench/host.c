/* SPDX-License-Identifier: MIT */
/* host.c -- addresses as texts, ranges, and numbers of command lines. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "bench/lib/host.h"
#include "bench/lib/number.h"

Test(host, texts)
{
	static const struct {
		const char *text;
		const char *back; /* NULL: refused */
	} cases[] = {
		{"127.0.0.1:25", "127.0.0.1:25"},
		{"localhost:65535", "127.0.0.1:65535"},
		{"[::1]:2525", "[::1]:2525"},
		{"::1:2525", NULL},
		{"127.0.0.1", NULL},
		{"127.0.0.1:", NULL},
		{"127.0.0.1:0", NULL},
		{"127.0.0.1:65536", NULL},
		{"127.0.0.1:+25", NULL},
		{"127.0.0.1:25x", NULL},
		{"127.1:25", NULL},
		{"mx.example.org:25", NULL},
		{":25", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char text[HOST_TEXT_MAX];
		struct host host;
		struct err err;
		bool good = host_parse(&host, cases[i].text, false, &err) == 0;

		cr_expect(good == (cases[i].back != NULL), "%s", cases[i].text);
		if (good)
			cr_expect(strcmp(host_text(&host, text), cases[i].back) == 0, "%s", text);
	}
}

Test(host, ranges)
{
	static const struct {
		const char *text;
		bool loopback;
		bool private;
	} cases[] = {
		{"127.0.0.1", true, false},
		{"127.255.255.254", true, false},
		{"128.0.0.1", false, false},
		{"126.255.255.255", false, false},
		{"::1", true, false},
		{"::2", false, false},
		{"::ffff:127.0.0.1", false, false},
		{"10.1.2.3", false, true},
		{"172.15.255.255", false, false},
		{"172.16.0.0", false, true},
		{"172.31.255.255", false, true},
		{"172.32.0.0", false, false},
		{"198.18.0.1", false, true},
		{"198.19.255.255", false, true},
		{"198.20.0.0", false, false},
		{"8.8.8.8", false, false},
		{"0.0.0.0", false, false},
		{"::", false, false},
		{"fd00::1", false, true},
		{"fe80::1", false, true},
		{"febf::1", false, true},
		{"fec0::1", false, false},
		{"2001:db8::1", false, true},
		{"2001:db9::1", false, false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct host host;
		struct err err;
		bool allowed;

		cr_assert(host_parse_address(&host, cases[i].text, &err) == 0);
		cr_expect(host_is_loopback(&host) == cases[i].loopback, "%s", cases[i].text);
		cr_expect(host_is_private(&host) == cases[i].private, "%s", cases[i].text);
		allowed = host_allowed(&host, false, &err) == 0;
		cr_expect(allowed || cases[i].loopback == false, "%s", cases[i].text);
		cr_expect(allowed == false || cases[i].loopback || cases[i].private, "%s",
			cases[i].text);
		cr_expect(host_allowed(&host, true, &err) == 0);
	}
}

Test(host, counting_on)
{
	char text[HOST_TEXT_MAX];
	struct host host;
	struct err err;

	cr_assert(host_parse(&host, "127.0.0.254:1", false, &err) == 0);
	host = host_plus(&host, 3);
	cr_expect(strcmp(host_text(&host, text), "127.0.1.1:1") == 0, "%s", text);
	cr_assert(host_parse(&host, "[fd00::ffff]:1", false, &err) == 0);
	host = host_plus(&host, 1);
	cr_expect(strcmp(host_text(&host, text), "[fd00::1:0]:1") == 0, "%s", text);
}

Test(number, whole_texts_within_limits)
{
	static const struct {
		const char *text;
		uint64_t value; /* 0: refused */
	} cases[] = {
		{"1", 1},
		{"64k", 65536},
		{"2M", 2 << 20},
		{"10", 10},
		{"0", 0},
		{"-1", 0},
		{"+1", 0},
		{" 1", 0},
		{"1 ", 0},
		{"1kk", 0},
		{"1K", 0},
		{"k", 0},
		{"", 0},
		{"4M", 0},
		{"18446744073709551616", 0},
		{"18014398509481985k", 0},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint64_t value = 0;
		bool good = number_u64(cases[i].text, 1, 2 << 20, &value);

		cr_expect(good == (cases[i].value > 0), "%s", cases[i].text);
		cr_expect(value == cases[i].value, "%s", cases[i].text);
	}
}

Test(number, fractions)
{
	double value = 0;

	cr_expect(number_double("0.5", 0, 1, &value) && value == 0.5);
	cr_expect(number_double(".25", 0, 1, &value) && value == 0.25);
	cr_expect(number_double("nan", 0, 1, &value) == false);
	cr_expect(number_double("1.5", 0, 1, &value) == false);
	cr_expect(number_double("-0", 0, 1, &value) == false);
	cr_expect(number_double("1s", 0, 1, &value) == false);
	cr_expect(number_double("", 0, 1, &value) == false);
}
