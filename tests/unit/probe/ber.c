/* SPDX-License-Identifier: MIT */
/* ber.c -- tests: LDAP's messages for an upgrade, byte for byte, and answers of every wrong length. */
#include "tools/probe/probe-private.h"

#include <criterion/criterion.h>

#define OCTETS(...) ((const uint8_t[]){__VA_ARGS__}), sizeof((const uint8_t[]){__VA_ARGS__})

/* An extended response with id 1, result 0 and two empty strings. */
static const uint8_t good[] = {
	0x30, 0x0c, 0x02, 0x01, 0x01, 0x78, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00};

Test(ber, starttls_request)
{
	static const uint8_t wanted[] = {0x30, 0x1d, 0x02, 0x01, 0x01, 0x77, 0x18, 0x80, 0x16, '1',
		'.', '3', '.', '6', '.', '1', '.', '4', '.', '1', '.', '1', '4', '6', '6', '.', '2',
		'0', '0', '3', '7'};
	uint8_t octets[BER_MESSAGE_MAX];
	struct buf out;

	buf_init(&out, octets, sizeof(octets));
	cr_assert(ber_starttls_put(&out, 1));
	cr_assert_arr_eq(octets, wanted, sizeof(wanted));
	cr_assert_eq(buf_len(&out), sizeof(wanted));
	cr_assert_eq(ber_end(buf_span(&out)), sizeof(wanted));
}

Test(ber, requests_are_whole_messages)
{
	uint8_t octets[BER_MESSAGE_MAX];
	struct ber_message message;
	struct buf out;

	buf_init(&out, octets, sizeof(octets));
	cr_assert(ber_search_put(&out, 3));
	cr_assert_eq(ber_end(buf_span(&out)), buf_len(&out));
	cr_assert(ber_message_read(buf_span(&out), &message));
	cr_assert_eq(message.id, 3);
	cr_assert_eq(message.operation, 0x63);
	buf_clear(&out);
	cr_assert(ber_unbind_put(&out, 5));
	cr_assert_eq(ber_end(buf_span(&out)), buf_len(&out));
}

Test(ber, no_room)
{
	uint8_t octets[8];
	struct buf out;

	buf_init(&out, octets, sizeof(octets));
	cr_assert_not(ber_starttls_put(&out, 1));
	buf_clear(&out);
	cr_assert_not(ber_search_put(&out, 1));
}

Test(ber, end)
{
	const struct {
		const char *what;
		const uint8_t *octets;
		size_t n, end;
	} rows[] = {
		{"nothing", good, 0, 0},
		{"a tag", OCTETS(0x30), 0},
		{"not a sequence", OCTETS(0x31), SIZE_MAX},
		{"a line of text", (const uint8_t *)"220 hello\r\n", 11, SIZE_MAX},
		{"empty", OCTETS(0x30, 0), 2},
		{"an octet short", good, sizeof(good) - 1, 0},
		{"whole", good, sizeof(good), sizeof(good)},
		{"one octet of length", OCTETS(0x30, 0x81, 1, 7), 4},
		{"length not there yet", OCTETS(0x30, 0x82, 1), 0},
		{"indefinite", OCTETS(0x30, 0x80, 0, 0), SIZE_MAX},
		{"five octets of length", OCTETS(0x30, 0x85, 0, 0, 0, 0, 1, 0), SIZE_MAX},
		{"four gigabytes", OCTETS(0x30, 0x84, 0xff, 0xff, 0xff, 0xff), SIZE_MAX},
		{"above the limit", OCTETS(0x30, 0x83, 0, 0x80, 0), SIZE_MAX},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(ber_end(span_of(rows[i].octets, rows[i].n)), rows[i].end, "%s",
			rows[i].what);
}

Test(ber, message)
{
	static const uint8_t refused[] = {
		0x30, 0x0f, 2, 1, 9, 0x78, 0x0a, 0x0a, 1, 52, 4, 0, 4, 3, 'n', 'o', '!'};
	struct ber_message message;

	cr_assert(ber_message_read(span_of(good, sizeof(good)), &message));
	cr_expect_eq(message.id, 1);
	cr_expect_eq(message.operation, 0x78);
	cr_expect_eq(message.result, 0);
	cr_expect_eq(message.said.n, 0);
	cr_assert(ber_message_read(span_of(refused, sizeof(refused)), &message));
	cr_expect_eq(message.result, 52);
	cr_expect(span_equal(message.said, span_str("no!")));
}

/* Every cut and every octet changed to each value: answers, and never reads beyond. */
Test(ber, broken_messages)
{
	struct ber_message message;

	for (size_t n = 0; n < sizeof(good); n++) {
		uint8_t *exact = malloc(n + 1);

		memcpy(exact, good, n);
		cr_expect_not(ber_message_read(span_of(exact, n), &message), "cut at %zu", n);
		free(exact);
	}
	for (size_t at = 0; at < sizeof(good); at++) {
		for (unsigned value = 0; value < 256; value++) {
			uint8_t *exact = malloc(sizeof(good));

			memcpy(exact, good, sizeof(good));
			exact[at] = (uint8_t)value;
			(void)!ber_message_read(span_of(exact, sizeof(good)), &message);
			(void)ber_end(span_of(exact, sizeof(good)));
			free(exact);
		}
	}
}
