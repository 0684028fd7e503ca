/* SPDX-License-Identifier: MIT */
/* Record framing and the least size of a client's last flight. */
#include "rig.h"

#include <criterion/criterion.h>

static size_t put_record(uint8_t *out, uint8_t type, size_t n)
{
	memset(out, 0xaa, TLS_RECORD_HEADER + n);
	out[0] = type;
	out[1] = out[2] = 3;
	out[3] = (uint8_t)(n >> 8);
	out[4] = (uint8_t)n;
	return TLS_RECORD_HEADER + n;
}

Test(boundary, framing_is_the_same_however_it_is_cut)
{
	uint8_t bytes[4096];
	size_t n = 0;

	n += put_record(bytes + n, 22, 300);
	n += put_record(bytes + n, 20, 1);
	n += put_record(bytes + n, 23, 0);
	n += put_record(bytes + n, 23, 17);
	for (size_t cut = 1; cut <= n; cut++) {
		struct tls_framing framing = {0};
		struct tls_flight flight = {.exact = true};

		for (size_t at = 0; at < n; at += cut)
			tls_framing_feed(
				&framing, &flight, span_of(bytes + at, min_size(cut, n - at)));
		cr_assert(framing.header_n == 0 && framing.body_left == 0, "cut %zu", cut);
		cr_assert(flight.ccs_seen && flight.other_seen && flight.after_seen);
		cr_assert(framing.nonce[0] == 0xaa && framing.nonce[7] == 0xaa);
	}
}

Test(boundary, want_ends_at_the_record_in_progress)
{
	struct tls_framing framing = {0};
	struct tls_flight flight = {.exact = true};
	uint8_t record[64];
	size_t n = put_record(record, 23, 20);

	for (size_t at = 0; at < n; at++) {
		cr_assert_eq(tls_framing_want(&framing, &flight), at < 5 ? 5 - at : n - at);
		tls_framing_feed(&framing, &flight, span_of(record + at, 1));
	}
	cr_assert_eq(tls_framing_want(&framing, &flight), 5);
}

/* Octets of the shortest last flight there can be, by hand from the RFCs. */
static const struct {
	uint16_t suite;
	bool resumed;
	size_t least;
} least[] = {
	{0x1301, false, 5 + 4 + 32 + 1 + 16},
	{0x1302, true, 5 + 4 + 48 + 1 + 16},
	{0x1303, false, 5 + 4 + 32 + 1 + 16},
	{0xc02b, false, (5 + 4 + 1 + 32) + 6 + (5 + 8 + 16 + 16)},
	{0xc030, true, 6 + (5 + 8 + 16 + 16)},
	{0xcca8, false, (5 + 4 + 1 + 32) + 6 + (5 + 16 + 16)},
};

Test(boundary, the_last_flight_is_wanted_as_a_whole)
{
	for (size_t i = 0; i < COUNT_OF(least); i++) {
		struct tls_framing framing = {0};
		struct tls_flight flight = {.exact = true};

		tls_flight_expect(&flight, tls_suite_find(least[i].suite), least[i].resumed);
		cr_assert_eq(
			tls_framing_want(&framing, &flight), least[i].least, "%x", least[i].suite);
		flight.eager = true;
		cr_assert_eq(tls_framing_want(&framing, &flight), 5);
	}
}

/* TLS 1.2, full: whatever the sizes, the sum of the wants never passes the end of Finished. */
Test(boundary, wants_never_pass_the_end_of_a_flight)
{
	for (size_t key_exchange = 37; key_exchange < 140; key_exchange += 13) {
		for (size_t finished = 40; finished < 44; finished++) {
			struct tls_framing framing = {0};
			struct tls_flight flight = {.exact = true};
			uint8_t bytes[512];
			size_t n = 0;
			size_t reads = 0;

			n += put_record(bytes + n, 22, key_exchange);
			n += put_record(bytes + n, 20, 1);
			n += put_record(bytes + n, 22, finished);
			tls_flight_expect(&flight, tls_suite_find(0xc02b), false);
			for (size_t at = 0; at < n; reads++) {
				size_t want = tls_framing_want(&framing, &flight);

				cr_assert(want >= 1 && want <= n - at, "%zu of %zu left", want,
					n - at);
				tls_framing_feed(&framing, &flight, span_of(bytes + at, want));
				at += want;
			}
			cr_assert(framing.header_n == 0 && reads <= 3, "%zu reads", reads);
		}
	}
}

Test(boundary, change_cipher_spec_is_read_with_what_must_follow)
{
	struct tls_framing framing = {0};
	struct tls_flight flight = {.exact = true};
	uint8_t bytes[64];

	tls_flight_expect(&flight, tls_suite_find(0x1301), false);
	put_record(bytes, 20, 1);
	tls_framing_feed(&framing, &flight, span_of(bytes, 5));
	cr_assert_eq(tls_framing_want(&framing, &flight), 1 + 58);
	tls_framing_feed(&framing, &flight, span_of(bytes + 5, 1));
	cr_assert_eq(tls_framing_want(&framing, &flight), 58);
	put_record(bytes, 23, 10); /* another record: part of Finished may be in it */
	tls_framing_feed(&framing, &flight, span_of(bytes, 15));
	cr_assert_eq(tls_framing_want(&framing, &flight), 5);
}
