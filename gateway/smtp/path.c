/* SPDX-License-Identifier: MIT */
/*
 * path.c -- Path, Mailbox, Domain and address literal (RFC 5321 4.1.2, 4.1.3; RFC 6531 3.3).
 *
 * Job: strict syntax, read by small functions that each take one rule of the grammar off the front
 * of a span. Source routes are read and dropped (RFC 5321 4.1.1.3).
 * Not its job: whether non-ASCII was allowed (mail.c, rcpt.c), whether a domain exists.
 * Lengths are those of 4.5.3.1, in octets: local part 64, domain 255, path 256, label 63.
 * Rejected: underscores in domains and a space after the colon. Both are seen in the wild, from
 * senders that nobody misses.
 */
#include "smtp/smtp-private.h"

#include <arpa/inet.h>

#define LOCAL_MAX  64
#define DOMAIN_MAX 255
#define PATH_MAX   256
#define LABEL_MAX  63

static bool is_letter_or_digit(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Let-dig, with U-label octets (RFC 6531 3.3 sub-domain). */
static bool is_let_dig(uint8_t c)
{
	return is_letter_or_digit(c) || c >= 0x80;
}

static bool is_atext(uint8_t c)
{
	return is_let_dig(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool char_take(struct span *rest, char c)
{
	if (rest->n == 0 || rest->p[0] != (uint8_t)c)
		return false;
	(void)span_take(rest, 1);
	return true;
}

/* From `start` up to where `rest` begins now. */
static struct span span_upto(struct span start, struct span rest)
{
	return span_of(start.p, start.n - rest.n);
}

/* ---- UTF-8 ---- */

/* Octets of the sequence that begins with `c`, 0 if none does; *low..*high: its second octet. */
static size_t utf8_head(uint8_t c, uint8_t *low, uint8_t *high)
{
	*low = 0x80;
	*high = 0xbf;
	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c <= 0xdf)
		return 2;
	if (c >= 0xe0 && c <= 0xef) {
		*low = c == 0xe0 ? 0xa0 : 0x80;  /* shortest form */
		*high = c == 0xed ? 0x9f : 0xbf; /* no surrogates */
		return 3;
	}
	if (c >= 0xf0 && c <= 0xf4) {
		*low = c == 0xf0 ? 0x90 : 0x80;
		*high = c == 0xf4 ? 0x8f : 0xbf; /* U+10FFFF */
		return 4;
	}
	return 0;
}

bool smtp_utf8_valid(struct span text)
{
	while (text.n > 0) {
		uint8_t low, high;
		size_t n = utf8_head(text.p[0], &low, &high);

		if (n == 0 || n > text.n)
			return false;
		if (n > 1 && (text.p[1] < low || text.p[1] > high))
			return false;
		for (size_t i = 2; i < n; i++)
			if ((text.p[i] & 0xc0) != 0x80)
				return false;
		(void)span_take(&text, n);
	}
	return true;
}

/* ---- domains ---- */

/* sub-domain = Let-dig [Ldh-str] */
static bool label_take(struct span *rest)
{
	size_t n = 0;

	while (n < rest->n && (is_let_dig(rest->p[n]) || rest->p[n] == '-'))
		n++;
	if (n == 0 || n > LABEL_MAX || rest->p[0] == '-' || rest->p[n - 1] == '-')
		return false;
	(void)span_take(rest, n);
	return true;
}

/* Domain = sub-domain *("." sub-domain) */
static bool domain_take(struct span *rest)
{
	struct span start = *rest;

	do {
		if (!label_take(rest))
			return false;
	} while (char_take(rest, '.'));
	return span_upto(start, *rest).n <= DOMAIN_MAX;
}

bool smtp_domain_valid(struct span domain)
{
	return domain_take(&domain) && domain.n == 0;
}

/* Snum = 1*3DIGIT, 0 to 255 */
static bool snum_take(struct span *rest)
{
	unsigned value = 0;
	size_t n = 0;

	while (n < rest->n && n < 3 && rest->p[n] >= '0' && rest->p[n] <= '9')
		value = value * 10 + (rest->p[n++] - '0');
	(void)span_take(rest, n);
	return n > 0 && value <= 255;
}

static bool ipv4_valid(struct span text)
{
	for (int i = 0; i < 4; i++)
		if ((i > 0 && !char_take(&text, '.')) || !snum_take(&text))
			return false;
	return text.n == 0;
}

static bool ipv6_valid(struct span text)
{
	char copy[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (text.n == 0 || text.n >= sizeof(copy) || memchr(text.p, '\0', text.n) != NULL)
		return false;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	return inet_pton(AF_INET6, copy, &address) == 1;
}

/* General-address-literal = Standardized-tag ":" 1*dcontent; the tag is an Ldh-str. */
static bool general_valid(struct span tag, struct span content)
{
	for (size_t i = 0; i < tag.n; i++)
		if (!is_letter_or_digit(tag.p[i]) && tag.p[i] != '-')
			return false;
	if (tag.n == 0 || tag.p[tag.n - 1] == '-' || content.n == 0)
		return false;
	for (size_t i = 0; i < content.n; i++) {
		uint8_t c = content.p[i];

		if (c < 33 || c > 126 || (c >= '[' && c <= ']'))
			return false;
	}
	return true;
}

bool smtp_literal_valid(struct span literal)
{
	const uint8_t *colon;
	struct span tag;

	if (literal.n < 2 || literal.n > DOMAIN_MAX || literal.p[0] != '[' ||
		literal.p[literal.n - 1] != ']')
		return false;
	literal = span_of(literal.p + 1, literal.n - 2);
	colon = literal.n == 0 ? NULL : memchr(literal.p, ':', literal.n);
	if (colon == NULL)
		return ipv4_valid(literal);
	tag = span_take(&literal, (size_t)(colon - literal.p));
	(void)span_take(&literal, 1);
	if (span_is_nocase(tag, "IPv6"))
		return ipv6_valid(literal);
	return general_valid(tag, literal);
}

static bool literal_take(struct span *rest)
{
	const uint8_t *end = rest->n == 0 ? NULL : memchr(rest->p, ']', rest->n);

	if (end == NULL)
		return false;
	return smtp_literal_valid(span_take(rest, (size_t)(end - rest->p) + 1));
}

/* ---- local parts ---- */

/* Dot-string = Atom *("." Atom) */
static bool dot_string_take(struct span *rest)
{
	do {
		size_t n = 0;

		while (n < rest->n && is_atext(rest->p[n]))
			n++;
		if (n == 0)
			return false;
		(void)span_take(rest, n);
	} while (char_take(rest, '.'));
	return true;
}

/* Quoted-string = DQUOTE *QcontentSMTP DQUOTE */
static bool quoted_string_take(struct span *rest)
{
	if (!char_take(rest, '"'))
		return false;
	while (rest->n > 0 && rest->p[0] != '"') {
		bool pair = char_take(rest, '\\');

		if (rest->n == 0 || rest->p[0] < ' ' || rest->p[0] == 0x7f ||
			(pair && rest->p[0] >= 0x80))
			return false;
		(void)span_take(rest, 1);
	}
	return char_take(rest, '"');
}

/* ---- paths ---- */

/* A-d-l ":" = "@" Domain *("," "@" Domain) ":" */
static bool route_take(struct span *rest)
{
	do {
		if (!char_take(rest, '@') || !domain_take(rest))
			return false;
	} while (char_take(rest, ','));
	return char_take(rest, ':');
}

/* Mailbox = Local-part "@" ( Domain / address-literal ) */
static bool mailbox_take(struct span *rest, bool bare_postmaster, struct smtp_address *address)
{
	struct span start = *rest;
	bool quoted = rest->n > 0 && rest->p[0] == '"';

	if (quoted ? !quoted_string_take(rest) : !dot_string_take(rest))
		return false;
	address->local = span_upto(start, *rest);
	if (address->local.n > LOCAL_MAX)
		return false;
	if (char_take(rest, '@')) {
		struct span domain = *rest;
		bool literal = rest->n > 0 && rest->p[0] == '[';

		if (literal ? !literal_take(rest) : !domain_take(rest))
			return false;
		address->domain = span_upto(domain, *rest);
	} else if (!bare_postmaster || !span_is_nocase(address->local, "postmaster")) {
		return false;
	}
	address->text = span_upto(start, *rest);
	for (size_t i = 0; i < address->text.n; i++)
		address->utf8 |= address->text.p[i] >= 0x80;
	return smtp_utf8_valid(address->text);
}

bool smtp_path_take(struct span *rest, bool null_allowed, struct smtp_address *address)
{
	struct span start = *rest;

	*address = (struct smtp_address){0};
	if (!char_take(rest, '<'))
		return false;
	if (null_allowed && char_take(rest, '>'))
		return true;
	if (rest->n > 0 && rest->p[0] == '@' && !route_take(rest))
		return false;
	if (!mailbox_take(rest, !null_allowed, address) || !char_take(rest, '>'))
		return false;
	return span_upto(start, *rest).n <= PATH_MAX;
}

struct smtp_address smtp_address_copy(struct arena *arena, const struct smtp_address *address)
{
	struct smtp_address copy = {
		.text = arena_copy(arena, address->text), .utf8 = address->utf8};

	if (copy.text.p == NULL || address->text.n == 0)
		return copy;
	copy.local = span_of(copy.text.p, address->local.n);
	if (address->domain.n > 0)
		copy.domain = span_of(
			copy.text.p + (address->domain.p - address->text.p), address->domain.n);
	return copy;
}
