/* SPDX-License-Identifier: MIT */
/*
 * text.c -- keys, values and domains: what RFC 8461 3.1 and 3.2, RFC 8460 3 and RFC 5321 4.1.2
 * build on.
 *
 * Rejected: strncasecmp() and isalpha(), which stop at a NUL or ask the locale. What comes in here
 * was written by strangers.
 */
#include "sts/sts-private.h"

#define KEY_MAX   32
#define LABEL_MAX 63

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

bool sts_same_nocase(struct span a, struct span b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

struct span sts_left_trim(struct span span)
{
	while (span.n > 0 && sts_is_blank(span.p[0]))
		(void)span_take(&span, 1);
	return span;
}

struct span sts_trim(struct span span)
{
	span = sts_left_trim(span);
	while (span.n > 0 && sts_is_blank(span.p[span.n - 1]))
		span.n--;
	return span;
}

struct span sts_take_to(struct span *rest, char c, bool *found)
{
	const uint8_t *at = rest->n > 0 ? memchr(rest->p, c, rest->n) : NULL;
	struct span head = span_take(rest, at != NULL ? (size_t)(at - rest->p) : rest->n);

	*found = at != NULL;
	if (at != NULL)
		(void)span_take(rest, 1);
	return head;
}

bool sts_key_valid(struct span key)
{
	if (key.n == 0 || key.n > KEY_MAX || !sts_is_alnum(key.p[0]))
		return false;
	for (size_t i = 1; i < key.n; i++) {
		uint8_t c = key.p[i];

		if (!sts_is_alnum(c) && c != '_' && c != '-' && c != '.')
			return false;
	}
	return true;
}

bool sts_txt_value_valid(struct span value)
{
	for (size_t i = 0; i < value.n; i++) {
		uint8_t c = value.p[i];

		if (c < 0x21 || c > 0x7e || c == ';' || c == '=')
			return false;
	}
	return value.n > 0;
}

/* Octets of the UTF8-2, UTF8-3 or UTF8-4 (RFC 3629 4) at the front of text, 0 for none. */
static size_t utf8_tuple(struct span text)
{
	uint8_t lead = text.p[0], low = 0x80, high = 0xbf;
	size_t n = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

	if (lead < 0xc2 || lead > 0xf4 || text.n < n)
		return 0;
	if (lead == 0xe0)
		low = 0xa0; /* shortest form */
	else if (lead == 0xed)
		high = 0x9f; /* no surrogates */
	else if (lead == 0xf0)
		low = 0x90; /* shortest form */
	else if (lead == 0xf4)
		high = 0x8f; /* U+10FFFF */
	if (text.p[1] < low || text.p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((text.p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool sts_policy_value_valid(struct span value)
{
	if (value.n == 0)
		return false;
	while (value.n > 0) {
		uint8_t c = value.p[0];
		size_t n = c < 0x80 ? 1 : utf8_tuple(value);

		if (n == 0 || c < 0x20 || c == 0x7f)
			return false;
		(void)span_take(&value, n);
	}
	return true;
}

/* sub-domain = Let-dig [Ldh-str] */
static bool label_valid(struct span label)
{
	if (label.n == 0 || label.n > LABEL_MAX)
		return false;
	for (size_t i = 0; i < label.n; i++)
		if (!sts_is_alnum(label.p[i]) && label.p[i] != '-')
			return false;
	return label.p[0] != '-' && label.p[label.n - 1] != '-';
}

bool sts_domain_valid(struct span domain)
{
	bool dot;

	if (domain.n > STS_NAME_MAX)
		return false;
	do {
		if (!label_valid(sts_take_to(&domain, '.', &dot)))
			return false;
	} while (dot);
	return true;
}
