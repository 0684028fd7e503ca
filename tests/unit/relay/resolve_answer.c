/* SPDX-License-Identifier: MIT */
/* Unit tests of relay/resolve_answer.c: records as they come off the wire, good and bad. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "relay/resolve-private.h"

#define WIRE(text)                                                                                 \
	{                                                                                          \
		(const uint8_t *)(text), sizeof(text) - 1                                          \
	}

static const uint32_t in_order[RESOLVE_MX_SEEN_MAX]; /* zeros: equal ones stay as they came */

struct one_case {
	struct span record;
	const char *name; /* NULL: left out; "": null MX */
};

#define L63 "\77aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define N63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

Test(resolve_answer, one_record)
{
	static const struct one_case cases[] = {
		{WIRE("\0\12\2mx\7example\3ORG\0"), "mx.example.org"},
		{WIRE("\0\12\4a_-9\0"), "a_-9"},
		{WIRE("\0\0\0"), ""},
		{WIRE("\0\12\0"), ""},
		{WIRE("\0\12" L63 L63 L63 "\74"
		      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0"),
			N63 "." N63 "." N63 "."
			    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
		{WIRE("\0\12" L63 L63 L63 L63 "\0"), NULL},
		{WIRE(""), NULL},
		{WIRE("\0"), NULL},
		{WIRE("\0\12"), NULL},
		{WIRE("\0\12\2mx"), NULL},
		{WIRE("\0\12\3mx\0"), NULL},
		{WIRE("\0\12\2mx\0x"), NULL},
		{WIRE("\0\12\300\14"), NULL},
		{WIRE("\0\12\2m x\0"), NULL},
		{WIRE("\0\12\2m.\0"), NULL},
		{WIRE("\0\12\2m\n\0"), NULL},
		{WIRE("\0\12\2m\0\0"), NULL},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct relay_lookup lookup;
		/* exactly as long as it says: an over-read shows under ASan */
		uint8_t *octets = malloc(cases[i].record.n + 1);
		struct span record = span_of(octets + 1, cases[i].record.n);
		bool null_mx = cases[i].name && !*cases[i].name;

		memcpy(octets + 1, cases[i].record.p, record.n);
		cr_expect_eq(resolve_mx_read(&lookup, &record, 1, in_order),
			cases[i].name ? 0 : -ENOENT, "case %zu", i);
		cr_expect_eq(lookup.null_mx, null_mx, "case %zu", i);
		cr_expect_eq(lookup.hosts_n, cases[i].name && !null_mx, "case %zu", i);
		if (lookup.hosts_n > 0)
			cr_expect_str_eq(lookup.hosts[0].name, cases[i].name);
		free(octets);
	}
}

/* The best RELAY_MX_MAX of many, in order; what is looked at is bounded. */
Test(resolve_answer, many_records)
{
	static uint8_t wire[200][8];
	static struct span records[200];
	struct relay_lookup lookup;

	for (unsigned i = 0; i < 200; i++) {
		const uint8_t record[8] = {(uint8_t)((300 - i) >> 8), (uint8_t)(300 - i), 3, 'm',
			(uint8_t)('a' + i / 26), (uint8_t)('a' + i % 26), 0};

		memcpy(wire[i], record, 8);
		records[i] = span_of(wire[i], 7);
	}
	cr_assert_eq(resolve_mx_read(&lookup, records, 200, in_order), 0);
	cr_assert_eq(lookup.hosts_n, RELAY_MX_MAX);
	for (unsigned i = 0; i < RELAY_MX_MAX; i++)
		cr_expect_eq(lookup.hosts[i].preference, 300 - (RESOLVE_MX_SEEN_MAX - 1) + i);
}

Test(resolve_answer, equal_ones_go_by_the_random_numbers)
{
	static const struct span records[] = {
		WIRE("\0\1\1a\0"), WIRE("\0\1\1b\0"), WIRE("\0\1\1c\0"), WIRE("\0\0\1d\0")};
	static const uint32_t random[RESOLVE_MX_SEEN_MAX] = {7, 9, 3, 100};
	struct relay_lookup lookup;

	cr_assert_eq(resolve_mx_read(&lookup, records, COUNT_OF(records), random), 0);
	cr_expect_str_eq(lookup.hosts[0].name, "d");
	cr_expect_str_eq(lookup.hosts[1].name, "c");
	cr_expect_str_eq(lookup.hosts[2].name, "a");
	cr_expect_str_eq(lookup.hosts[3].name, "b");
}

Test(resolve_answer, numeric)
{
	static const struct {
		const char *text;
		int family; /* 0: not numeric */
	} cases[] = {
		{"192.0.2.1", AF_INET},
		{"::1", AF_INET6},
		{"[192.0.2.1]", AF_INET},
		{"[::1]", AF_INET6},
		{"[ipv6:2001:db8::1]", AF_INET6},
		{"[IPv6:ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]", AF_INET6},
		{"", 0},
		{"[", 0},
		{"[]", 0},
		{"[IPv6:]", 0},
		{"[IPv6:", 0},
		{"[192.0.2.1", 0},
		{"192.0.2.1]", 0},
		{"192.0.2", 0},
		{"192.0.2.256", 0},
		{"mx.example.org", 0},
		{"[" N63 "]", 0},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct sockaddr_storage address;

		cr_expect_eq(resolve_numeric(cases[i].text, &address), cases[i].family != 0, "%s",
			cases[i].text);
		if (cases[i].family)
			cr_expect_eq(address.ss_family, cases[i].family);
	}
}

Test(resolve_answer, local_names)
{
	static const char *const local[] = {"localhost", "LocalHost", "a.localhost", "localhost."};
	static const char *const other[] = {
		"", ".", "xlocalhost", "localhost.org", "localhos", "ocalhost", "a.localhostx"};

	for (size_t i = 0; i < COUNT_OF(local); i++)
		cr_expect(resolve_is_local(local[i]), "%s", local[i]);
	for (size_t i = 0; i < COUNT_OF(other); i++)
		cr_expect_not(resolve_is_local(other[i]), "%s", other[i]);
}

Test(resolve_answer, interleave_is_bounded)
{
	struct sockaddr_storage v6[RELAY_ADDRESSES_MAX], v4[RELAY_ADDRESSES_MAX];
	struct relay_lookup lookup;

	for (size_t i = 0; i < RELAY_ADDRESSES_MAX; i++) {
		v6[i].ss_family = AF_INET6;
		v4[i].ss_family = AF_INET;
	}
	resolve_interleave(&lookup, v6, RELAY_ADDRESSES_MAX, v4, RELAY_ADDRESSES_MAX);
	cr_assert_eq(lookup.addresses_n, RELAY_ADDRESSES_MAX);
	for (size_t i = 0; i < RELAY_ADDRESSES_MAX; i++)
		cr_expect_eq(lookup.addresses[i].ss_family, i % 2 ? AF_INET : AF_INET6);
	resolve_interleave(&lookup, v6, 0, v4, 3);
	cr_expect_eq(lookup.addresses_n, 3);
	resolve_interleave(&lookup, v6, 0, v4, 0);
	cr_expect_eq(lookup.addresses_n, 0);
}
