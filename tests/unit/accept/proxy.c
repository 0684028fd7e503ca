/* SPDX-License-Identifier: MIT */
/* proxy.c -- PROXY headers: each form cut at every octet, and what is none. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "accept/accept-private.h"

#define BEHIND "EHLO client.example\r\n\n" /* nothing of it may be taken */

struct proxy_case {
	const char *name;
	struct span in;
	enum proxy_step step;
	const char *source; /* DONE */
	const char *destination;
	enum proxy_fault fault; /* BAD */
};

#define OCTETS(text)                                                                               \
	{                                                                                          \
		(const uint8_t *)(text), sizeof(text) - 1                                          \
	}
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4_BLOCK  "\300\0\2\7\300\0\2\31\x12\x67\0\31"
#define V6_SOURCE "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7"
#define V6_BLOCK  V6_SOURCE "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\0\0"
#define ZEROS_36  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define ZEROS_216 ZEROS_36 ZEROS_36 ZEROS_36 ZEROS_36 ZEROS_36 ZEROS_36
#define X48       "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X91       X48 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

#define DONE(name, text, source, destination)                                                      \
	{                                                                                          \
		name, OCTETS(text), PROXY_STEP_DONE, source, destination, 0                        \
	}
#define LOCAL(name, text)                                                                          \
	{                                                                                          \
		name, OCTETS(text), PROXY_STEP_LOCAL, NULL, NULL, 0                                \
	}
#define BAD(name, text)                                                                            \
	{                                                                                          \
		name, OCTETS(text), PROXY_STEP_BAD, NULL, NULL, PROXY_FAULT_SYNTAX                 \
	}
#define LONG(name, text)                                                                           \
	{                                                                                          \
		name, OCTETS(text), PROXY_STEP_BAD, NULL, NULL, PROXY_FAULT_LENGTH                 \
	}
#define CRC(name, text)                                                                            \
	{                                                                                          \
		name, OCTETS(text), PROXY_STEP_BAD, NULL, NULL, PROXY_FAULT_CHECKSUM               \
	}
#define LINE(fields) BAD(fields, "PROXY " fields "\r\n")

static const struct proxy_case good[] = {
	DONE("v1 TCP4", "PROXY TCP4 192.0.2.7 192.0.2.25 4711 25\r\n", "192.0.2.7 4711",
		"192.0.2.25 25"),
	DONE("v1 least", "PROXY TCP6 :: :: 0 0\r\n", ":: 0", ":: 0"),
	DONE("v1 TCP4 longest", "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
		"255.255.255.255 65535", "255.255.255.255 65535"),
	DONE("v1 TCP6 longest",
		"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		"FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF 65535 65535\r\n",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535"),
	DONE("v1 TCP6 with mapped IPv4", "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::19 1 2\r\n",
		"::ffff:192.0.2.7 1", "2001:db8::19 2"),
	LOCAL("v1 UNKNOWN", "PROXY UNKNOWN\r\n"),
	LOCAL("v1 UNKNOWN with more", "PROXY UNKNOWN ffff::1 what ever \0 99999\r\n"),
	LOCAL("v1 UNKNOWN longest", "PROXY UNKNOWN " X91 "\r\n"),
	DONE("v2 IPv4", SIGNATURE "\x21\x11\0\14" V4_BLOCK, "192.0.2.7 4711", "192.0.2.25 25"),
	DONE("v2 IPv6", SIGNATURE "\x21\x21\0\44" V6_BLOCK, "2001:db8::7 65535", "2001:db8::19 0"),
	DONE("v2 with TLVs", SIGNATURE "\x21\x11\0\26" V4_BLOCK "\4\0\1x\1\0\3abc",
		"192.0.2.7 4711", "192.0.2.25 25"),
	DONE("v2 with CRC32C", SIGNATURE "\x21\x11\0\34" V4_BLOCK "\4\0\1x\3\0\4CRCC\xe0\0\2ab",
		"192.0.2.7 4711", "192.0.2.25 25"),
	LOCAL("v2 LOCAL", SIGNATURE "\x20\0\0\0"),
	LOCAL("v2 LOCAL with addresses", SIGNATURE "\x20\x11\0\14" V4_BLOCK),
	LOCAL("v2 LOCAL with what is no block", SIGNATURE "\x20\xff\0\5\3\377\377ab"),
	LOCAL("v2 UNSPEC", SIGNATURE "\x21\0\0\0"),
	LOCAL("v2 UNSPEC with something", SIGNATURE "\x21\0\0\4\3\377\377a"),
	LOCAL("v2 datagrams", SIGNATURE "\x21\x12\0\14" V4_BLOCK),
	LOCAL("v2 datagrams over IPv6", SIGNATURE "\x21\x22\0\44" V6_BLOCK),
	LOCAL("v2 UNIX", SIGNATURE "\x21\x31\0\330" ZEROS_216),
	LOCAL("v2 UNIX datagrams with a TLV", SIGNATURE "\x21\x32\0\333" ZEROS_216 "\4\0\0"),
	LOCAL("v2 UNIX longest: 536 octets",
		SIGNATURE "\x21\x31\2\10" ZEROS_216 "\4\1\55" ZEROS_216 ZEROS_36 ZEROS_36
			  "\0\0\0\0\0\0\0\0\0\0\0\0\0"),
};

static const struct proxy_case hostile[] = {
	BAD("SMTP", "EHLO client.example\r\n"),
	BAD("TLS", "\x16\x03\x01\x02\0\1\0\1\xfc"),
	BAD("empty line", "\r\n\r\nEHLO"),
	BAD("v1 in lower case", "proxy TCP4 192.0.2.7 192.0.2.25 1 2\r\n"),
	BAD("v1 bare LF", "PROXY TCP4 192.0.2.7 192.0.2.25 1 2\n"),
	BAD("v1 bare CR", "PROXY TCP4 192.0.2.7 192.0.2.25 1 2\rx\r\n"),
	BAD("v1 CR CR LF", "PROXY TCP4 192.0.2.7 192.0.2.25 1 2\r\r\n"),
	BAD("v1 UNKNOWN with a bare LF", "PROXY UNKNOWN x\ny\r\n"),
	BAD("v1 UNKNOWN with a bare CR", "PROXY UNKNOWN x\ry\r\n"),
	BAD("v1 nothing", "PROXY\r\n"),
	BAD("v1 cut short", "PROXY TCP4 \r\n"),
	BAD("v1 NUL in an address", "PROXY TCP4 192.0.2.7\0 192.0.2.25 1 2\r\n"),
	LONG("v1 of 108 octets", "PROXY UNKNOWN " X91 "x\r\n"),
	LONG("v1 without end", "PROXY TCP4 " X91 "xxxxx"),
	LINE(""),
	LINE("UNKNOWNX"),
	LINE("TCP"),
	LINE("TCP5 192.0.2.7 192.0.2.25 1 2"),
	LINE("UDP4 192.0.2.7 192.0.2.25 1 2"),
	LINE(" TCP4 192.0.2.7 192.0.2.25 1 2"),
	LINE("TCP4  192.0.2.7 192.0.2.25 1 2"),
	LINE("TCP4 192.0.2.7  192.0.2.25 1 2"),
	LINE("TCP4 192.0.2.7 192.0.2.25  1 2"),
	LINE("TCP4 192.0.2.7 192.0.2.25 1  2"),
	LINE("TCP4 192.0.2.7 192.0.2.25 1 2 "),
	LINE("TCP4 192.0.2.7 192.0.2.25 1 2 3"),
	LINE("TCP4\t192.0.2.7 192.0.2.25 1 2"),
	LINE("TCP4 192.0.2.7 192.0.2.25 1"),
	LINE("TCP4 192.0.2.7 192.0.2.25"),
	LINE("TCP4 192.0.2.7 2001:db8::19 1 2"),
	LINE("TCP4 2001:db8::7 2001:db8::19 1 2"),
	LINE("TCP6 192.0.2.7 192.0.2.25 1 2"),
	LINE("TCP4 192.0.2.07 192.0.2.25 1 2"),
	LINE("TCP4 192.0.2.256 192.0.2.25 1 2"),
	LINE("TCP4 192.0.2 192.0.2.25 1 2"),
	LINE("TCP4 192.0.2.7. 192.0.2.25 1 2"),
	LINE("TCP4 0xc0000207 192.0.2.25 1 2"),
	LINE("TCP4 client.example 192.0.2.25 1 2"),
	LINE("TCP6 2001:db8::7%lo 2001:db8::19 1 2"),
	LINE("TCP6 [2001:db8::7] 2001:db8::19 1 2"),
	LINE("TCP6 2001:db8:::7 2001:db8::19 1 2"),
	LINE("TCP6 1:2:3:4:5:6:7 2001:db8::19 1 2"),
	LINE("TCP6 1:2:3:4:5:6:7:8:9 2001:db8::19 1 2"),
	LINE("TCP6 12345::1 2001:db8::19 1 2"),
	LINE("TCP6 1111:2222:3333:4444:5555:6666:7777:8888:9999:a:b:c 2001:db8::19 1 2"),
	LINE("TCP4 192.0.2.7 192.0.2.25 01 2"),
	LINE("TCP4 192.0.2.7 192.0.2.25 1 00"),
	LINE("TCP4 192.0.2.7 192.0.2.25 65536 2"),
	LINE("TCP4 192.0.2.7 192.0.2.25 1 99999"),
	LINE("TCP4 192.0.2.7 192.0.2.25 1 4294967297"),
	LINE("TCP4 192.0.2.7 192.0.2.25 -1 2"),
	LINE("TCP4 192.0.2.7 192.0.2.25 +1 2"),
	LINE("TCP4 192.0.2.7 192.0.2.25 1 0x2"),
	BAD("v2 wrong signature", "\r\n\r\n\0\r\nQUIT\r\x21\x11\0\14" V4_BLOCK),
	BAD("v2 version 1", SIGNATURE "\x11\x11\0\14" V4_BLOCK),
	BAD("v2 version 3", SIGNATURE "\x31\x11\0\14" V4_BLOCK),
	BAD("v2 command 2", SIGNATURE "\x22\x11\0\14" V4_BLOCK),
	BAD("v2 family 4", SIGNATURE "\x21\x41\0\14" V4_BLOCK),
	BAD("v2 transport 3", SIGNATURE "\x21\x13\0\14" V4_BLOCK),
	BAD("v2 family without transport", SIGNATURE "\x21\x10\0\14" V4_BLOCK),
	BAD("v2 transport without family", SIGNATURE "\x21\x01\0\14" V4_BLOCK),
	BAD("v2 IPv4 too short", SIGNATURE "\x21\x11\0\13" V4_BLOCK),
	BAD("v2 IPv4 of no length", SIGNATURE "\x21\x11\0\0"),
	BAD("v2 IPv6 too short", SIGNATURE "\x21\x21\0\43" V6_BLOCK),
	BAD("v2 UNIX too short", SIGNATURE "\x21\x31\0\327" ZEROS_216),
	BAD("v2 TLV without its length", SIGNATURE "\x21\x11\0\16" V4_BLOCK "\4\0"),
	BAD("v2 TLV past the end", SIGNATURE "\x21\x11\0\20" V4_BLOCK "\4\0\2x"),
	BAD("v2 TLV far past the end", SIGNATURE "\x21\x11\0\20" V4_BLOCK "\4\377\377x"),
	BAD("v2 CRC32C of three octets", SIGNATURE "\x21\x11\0\22" V4_BLOCK "\3\0\3CRC"),
	BAD("v2 two CRC32C", SIGNATURE "\x21\x11\0\32" V4_BLOCK "\3\0\4CRCC\3\0\4CRCC"),
	CRC("v2 wrong CRC32C",
		SIGNATURE "\x21\x11\0\34" V4_BLOCK "\4\0\1x\3\0\4\0\0\0\0\xe0\0\2ab"),
	LONG("v2 of 537 octets", SIGNATURE "\x21\x11\2\11"),
	LONG("v2 of 65551 octets", SIGNATURE "\x20\0\377\377"),
};

static const char *text_of(const struct sockaddr_storage *address, char text[64])
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
	char host[INET6_ADDRSTRLEN];

	if (address->ss_family == AF_INET)
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
	else
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
	snprintf(text, 64, "%s %u", host,
		ntohs(address->ss_family == AF_INET ? v4->sin_port : v6->sin6_port));
	return text;
}

/* In memory of exactly its size, so that a sanitizer sees a look beyond. */
static enum proxy_step parse(struct span in, struct proxy_header *header)
{
	uint8_t *copy = malloc(in.n > 0 ? in.n : 1);
	enum proxy_step step;

	memcpy(copy, in.p, in.n);
	step = proxy_parse(span_of(copy, in.n), header);
	free(copy);
	return step;
}

static void good_check(const struct proxy_case *row)
{
	struct proxy_header header;
	char whole[PROXY_HEADER_MAX + 64];
	char text[64];
	size_t n = row->in.n;

	for (size_t cut = 0; cut < n; cut++) {
		enum proxy_step step = parse(span_of(row->in.p, cut), &header);

		cr_assert_eq(step, PROXY_STEP_MORE, "%s, cut at %zu", row->name, cut);
		cr_assert(cut + header.sure <= n, "%s, cut at %zu: %u more are not sure", row->name,
			cut, header.sure);
	}
	memcpy(whole, row->in.p, n);
	memcpy(whole + n, BEHIND, sizeof(BEHIND));
	for (size_t behind = 0; behind <= sizeof(BEHIND); behind++) {
		cr_assert_eq(
			parse(span_of(whole, n + behind), &header), row->step, "%s", row->name);
		cr_assert_eq(header.n, n, "%s", row->name);
		cr_assert_eq(header.version, row->in.p[0] == 'P' ? 1 : 2);
		if (row->step != PROXY_STEP_DONE)
			continue;
		cr_assert_str_eq(text_of(&header.source, text), row->source, "%s", row->name);
		cr_assert_str_eq(
			text_of(&header.destination, text), row->destination, "%s", row->name);
	}
}

/* Writes the right checksum, worked out elsewhere, where the table has CRCC. */
static struct span checksum_fill(struct span in, uint8_t bytes[PROXY_HEADER_MAX])
{
	static const uint8_t right[] = {0x9b, 0x44, 0x3f, 0x9e};
	uint8_t *at;

	memcpy(bytes, in.p, in.n);
	at = memmem(bytes, in.n, "CRCC", 4);
	if (at != NULL)
		memcpy(at, right, sizeof(right));
	return span_of(bytes, in.n);
}

Test(accept_proxy, good)
{
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		uint8_t bytes[PROXY_HEADER_MAX];
		struct proxy_case row = good[i];

		row.in = checksum_fill(row.in, bytes);
		good_check(&row);
	}
}

/* Once it is bad it stays so, and it is never good before. */
Test(accept_proxy, hostile)
{
	for (size_t i = 0; i < COUNT_OF(hostile); i++) {
		const struct proxy_case *row = &hostile[i];
		enum proxy_step before = PROXY_STEP_MORE;
		struct proxy_header header;

		for (size_t cut = 0; cut <= row->in.n; cut++) {
			enum proxy_step step = parse(span_of(row->in.p, cut), &header);

			cr_assert(step == PROXY_STEP_BAD ||
					  (step == PROXY_STEP_MORE && before == PROXY_STEP_MORE),
				"%s, cut at %zu: step %d", row->name, cut, step);
			before = step;
		}
		cr_assert_eq(before, PROXY_STEP_BAD, "%s", row->name);
		cr_assert_eq(header.fault, row->fault, "%s: fault %d", row->name, header.fault);
	}
}

/* A client that speaks SMTP or TLS is known by its first octet, at the latest by the third. */
Test(accept_proxy, others_are_told_at_once)
{
	static const struct {
		struct span in;
		size_t at;
	} rows[] = {
		{OCTETS("EHLO"), 1},
		{OCTETS("\x16\x03\x01"), 1},
		{OCTETS("PRI * HTTP/2.0"), 3},
		{OCTETS("\r\nHELO"), 3},
		{OCTETS("PROXY UDP4"), 8},
		{OCTETS(SIGNATURE "\x10"), 13},
		{OCTETS(SIGNATURE "\x21\x33"), 14},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct proxy_header header;

		cr_assert_eq(parse(span_of(rows[i].in.p, rows[i].at - 1), &header), PROXY_STEP_MORE,
			"row %zu", i);
		cr_assert_eq(parse(span_of(rows[i].in.p, rows[i].at), &header), PROXY_STEP_BAD,
			"row %zu", i);
	}
}

#define AT_COMMAND 12
#define AT_LENGTH  14
#define AT_CRC     32

/* Any bit that changes in a header with a checksum is seen, where there still is one. */
Test(accept_proxy, checksum_covers_everything)
{
	uint8_t bytes[PROXY_HEADER_MAX];
	struct span in = {0};

	for (size_t i = 0; i < COUNT_OF(good); i++)
		if (strcmp(good[i].name, "v2 with CRC32C") == 0)
			in = checksum_fill(good[i].in, bytes);
	cr_assert(gt(sz, in.n, 0));
	for (size_t at = 0; at < in.n; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct proxy_header header;
			enum proxy_step step;

			/* Another length is another header; LOCAL, or there is no checksum. */
			if (at / 2 == AT_LENGTH / 2 || (at == AT_COMMAND && bit == 0) ||
				at == AT_CRC)
				continue;
			bytes[at] ^= (uint8_t)(1u << bit);
			step = parse(in, &header);
			bytes[at] ^= (uint8_t)(1u << bit);
			cr_assert_eq(
				step, PROXY_STEP_BAD, "octet %zu, bit %u: step %d", at, bit, step);
		}
	}
}
