/* SPDX-License-Identifier: MIT */
/*
 * proxy.c -- reads PROXY headers, version 1 (a line) and 2 (binary). Sans-IO.
 *
 * Strict: a sender that is trusted with the client's address has no reason to be unclear. Exactly
 * one space between fields, addresses of the family that was said, ports without leading zeros,
 * CRLF and nothing else at the end; TLVs that fill the length to its last octet, and whose CRC32C,
 * where there is one, is right. What these TLVs say (SNI, TLS towards the balancer) is not used.
 *
 * LOCAL, UNKNOWN and families other than TCP over IPv4 and IPv6 name no client we could count: the
 * connection's own peer stands, as the protocol says.
 *
 * Invariant: once the first octets cannot be a header's the answer is BAD, so a client that speaks
 * SMTP where a header is due is cut off at once and not at the time limit.
 * Rejected: guessing whether a header is there; then everybody could send one.
 */
#include "accept/accept-private.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/crc32c.h"

#define PREFIX_BYTES 6  /* "PROXY " */
#define V1_LEAST     15 /* "PROXY UNKNOWN\r\n" */
#define V2_HEAD      16
#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

#define V2_LOCAL      0x20 /* version and command */
#define V2_PROXY      0x21
#define V2_UNIX_BYTES 216
#define V2_CRC_TYPE   0x03
#define V2_CRC_BYTES  4
#define V2_TLV_HEAD   3

static enum proxy_step bad(struct proxy_header *header, enum proxy_fault fault)
{
	header->fault = fault;
	return PROXY_STEP_BAD;
}

/* Are the octets that are there those of `text`? */
static bool begins(struct span in, const char *text, size_t n)
{
	return memcmp(in.p, text, min_size(in.n, n)) == 0;
}

/* ---- addresses ---- */

static void address_put(
	struct sockaddr_storage *out, int family, const uint8_t *address, uint16_t port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (family == AF_INET) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		memcpy(&v4->sin_addr, address, sizeof(v4->sin_addr));
	} else {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		memcpy(&v6->sin6_addr, address, sizeof(v6->sin6_addr));
	}
}

static uint16_t u16_at(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* ---- version 1 ---- */

static const char *const words[] = {"UNKNOWN", "TCP4 ", "TCP6 "};

/* Can this, or what it becomes, stand behind "PROXY "? */
static bool word_begins(struct span in)
{
	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (begins(in, words[i], strlen(words[i])))
			return true;
	return false;
}

/* inet_pton() takes neither leading zeros in IPv4 nor scopes in IPv6. */
static bool text_address(struct span text, int family, uint8_t address[16])
{
	char copy[INET6_ADDRSTRLEN];

	if (text.n >= sizeof(copy) || memchr(text.p, '\0', text.n) != NULL)
		return false;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	return inet_pton(family, copy, address) == 1;
}

static bool text_port(struct span text, uint16_t *port)
{
	uint32_t value = 0;

	if (text.n == 0 || text.n > 5 || (text.n > 1 && text.p[0] == '0'))
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		value = value * 10 + (uint32_t)(text.p[i] - '0');
	}
	*port = (uint16_t)value;
	return value <= UINT16_MAX;
}

/* The next field and the space behind it; a line's last field has none and is what is left. */
static struct span field_take(struct span *rest)
{
	const uint8_t *space = rest->n == 0 ? NULL : memchr(rest->p, ' ', rest->n);
	struct span field = span_take(rest, space == NULL ? rest->n : (size_t)(space - rest->p));

	if (space != NULL)
		(void)span_take(rest, 1);
	return field;
}

/* " SOURCE DESTINATION PORT PORT" */
static bool fields_read(struct span rest, int family, struct proxy_header *header)
{
	uint8_t source[16], destination[16];
	uint16_t source_port, destination_port;

	if (!text_address(field_take(&rest), family, source) ||
		!text_address(field_take(&rest), family, destination) ||
		!text_port(field_take(&rest), &source_port))
		return false;
	/* All that is left, so that a space and anything behind the last port is an error. */
	if (!text_port(rest, &destination_port))
		return false;
	address_put(&header->source, family, source, source_port);
	address_put(&header->destination, family, destination, destination_port);
	return true;
}

/* The line without its CRLF. */
static enum proxy_step line_read(struct span line, struct proxy_header *header)
{
	struct span word;

	if (memchr(line.p, '\r', line.n) != NULL)
		return bad(header, PROXY_FAULT_SYNTAX);
	(void)span_take(&line, PREFIX_BYTES);
	word = field_take(&line);
	/* What follows UNKNOWN is to be ignored. */
	if (span_equal(word, span_str("UNKNOWN")))
		return PROXY_STEP_LOCAL;
	if (span_equal(word, span_str("TCP4")) && fields_read(line, AF_INET, header))
		return PROXY_STEP_DONE;
	if (span_equal(word, span_str("TCP6")) && fields_read(line, AF_INET6, header))
		return PROXY_STEP_DONE;
	return bad(header, PROXY_FAULT_SYNTAX);
}

static enum proxy_step v1_parse(struct span in, struct proxy_header *header)
{
	struct span window = span_of(in.p, min_size(in.n, PROXY_V1_MAX));
	const uint8_t *lf = memchr(window.p, '\n', window.n);
	size_t n;

	header->version = 1;
	if (in.n > PREFIX_BYTES && !word_begins(span_of(in.p + PREFIX_BYTES, in.n - PREFIX_BYTES)))
		return bad(header, PROXY_FAULT_SYNTAX);
	if (lf == NULL) {
		if (window.n == PROXY_V1_MAX)
			return bad(header, PROXY_FAULT_LENGTH);
		header->sure = window.n < V1_LEAST ? V1_LEAST - (uint32_t)window.n : 0;
		return PROXY_STEP_MORE;
	}
	n = (size_t)(lf - window.p) + 1;
	if (n < 2 || window.p[n - 2] != '\r')
		return bad(header, PROXY_FAULT_SYNTAX);
	header->n = (uint32_t)n;
	return line_read(span_of(window.p, n - 2), header);
}

/* ---- version 2 ---- */

/* The whole header with zeros in place of its checksum, whose four octets stand at `at`. */
static bool checksum_right(struct span whole, const uint8_t *at)
{
	static const uint8_t zeros[V2_CRC_BYTES];
	uint32_t said = (uint32_t)u16_at(at) << 16 | u16_at(at + 2);
	size_t before = (size_t)(at - whole.p);
	uint32_t crc = crc32c(0, span_take(&whole, before));

	(void)span_take(&whole, V2_CRC_BYTES);
	crc = crc32c(crc, span_of(zeros, sizeof(zeros)));
	return crc32c(crc, whole) == said;
}

static enum proxy_fault tlvs_check(struct span whole, struct span tlvs)
{
	const uint8_t *checksum = NULL;

	while (tlvs.n > 0) {
		struct span head = span_take(&tlvs, V2_TLV_HEAD);
		struct span value;

		if (head.n < V2_TLV_HEAD || u16_at(head.p + 1) > tlvs.n)
			return PROXY_FAULT_SYNTAX;
		value = span_take(&tlvs, u16_at(head.p + 1));
		if (head.p[0] != V2_CRC_TYPE)
			continue;
		if (checksum != NULL || value.n != V2_CRC_BYTES)
			return PROXY_FAULT_SYNTAX;
		checksum = value.p;
	}
	if (checksum != NULL && !checksum_right(whole, checksum))
		return PROXY_FAULT_CHECKSUM;
	return PROXY_FAULT_NONE;
}

/* A row for each octet of family and transport that the protocol allows. */
struct family_row {
	uint8_t octet;
	int family;   /* AF_UNSPEC: names no client */
	size_t bytes; /* of its addresses */
	bool tlvs;    /* they are known to begin behind these */
};

static const struct family_row families[] = {
	{0x00, AF_UNSPEC, 0, false},
	{0x11, AF_INET, 12, true},
	{0x12, AF_UNSPEC, 12, true}, /* datagrams */
	{0x21, AF_INET6, 36, true},
	{0x22, AF_UNSPEC, 36, true},
	{0x31, AF_UNSPEC, V2_UNIX_BYTES, true},
	{0x32, AF_UNSPEC, V2_UNIX_BYTES, true},
};

static const struct family_row *family_find(uint8_t octet)
{
	for (size_t i = 0; i < COUNT_OF(families); i++)
		if (families[i].octet == octet)
			return &families[i];
	return NULL;
}

static enum proxy_step block_read(struct span whole, struct proxy_header *header)
{
	const struct family_row *row = family_find(whole.p[13]);
	struct span rest = span_of(whole.p + V2_HEAD, whole.n - V2_HEAD);
	size_t half = row->family == AF_INET ? 4 : 16;
	struct span addresses;
	enum proxy_fault fault;

	addresses = span_take(&rest, row->bytes);
	if (addresses.n < row->bytes)
		return bad(header, PROXY_FAULT_SYNTAX);
	fault = row->tlvs ? tlvs_check(whole, rest) : PROXY_FAULT_NONE;
	if (fault != PROXY_FAULT_NONE)
		return bad(header, fault);
	if (row->family == AF_UNSPEC)
		return PROXY_STEP_LOCAL;
	address_put(&header->source, row->family, addresses.p, u16_at(addresses.p + 2 * half));
	address_put(&header->destination, row->family, addresses.p + half,
		u16_at(addresses.p + 2 * half + 2));
	return PROXY_STEP_DONE;
}

static enum proxy_step v2_parse(struct span in, struct proxy_header *header)
{
	size_t n;

	header->version = 2;
	if (in.n > 12 && in.p[12] != V2_LOCAL && in.p[12] != V2_PROXY)
		return bad(header, PROXY_FAULT_SYNTAX);
	if (in.n > 13 && in.p[12] == V2_PROXY && family_find(in.p[13]) == NULL)
		return bad(header, PROXY_FAULT_SYNTAX);
	n = V2_HEAD + (in.n >= V2_HEAD ? u16_at(in.p + 14) : 0u);
	if (n > PROXY_HEADER_MAX)
		return bad(header, PROXY_FAULT_LENGTH);
	if (in.n < n) {
		header->sure = (uint32_t)(n - in.n);
		return PROXY_STEP_MORE;
	}
	header->n = (uint32_t)n;
	if (in.p[12] == V2_LOCAL) /* the rest is thrown away, the family too, whatever it says */
		return PROXY_STEP_LOCAL;
	return block_read(span_of(in.p, n), header);
}

enum proxy_step proxy_parse(struct span in, struct proxy_header *header)
{
	*header = (struct proxy_header){.sure = V1_LEAST};
	if (in.n == 0)
		return PROXY_STEP_MORE;
	header->sure = 0;
	if (begins(in, V2_SIGNATURE, sizeof(V2_SIGNATURE) - 1))
		return v2_parse(in, header);
	if (begins(in, "PROXY ", PREFIX_BYTES))
		return v1_parse(in, header);
	return bad(header, PROXY_FAULT_SYNTAX);
}
