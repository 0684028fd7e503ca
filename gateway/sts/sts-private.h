/* SPDX-License-Identifier: MIT */
/* sts-private.h -- the small rules that the room's grammars share. */
#ifndef POSTERN_STS_STS_PRIVATE_H
#define POSTERN_STS_STS_PRIVATE_H

#include "sts/sts.h"

/* ---- text.c ---- */

static inline bool sts_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* ALPHA / DIGIT (RFC 5234 B.1) */
static inline bool sts_is_alnum(uint8_t c)
{
	return sts_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* WSP (RFC 5234 B.1) */
static inline bool sts_is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* The same text, to the letter. */
static inline bool sts_is(struct span span, const char *text)
{
	return span_equal(span, span_str(text));
}

bool sts_same_nocase(struct span a, struct span b);
/* Takes blanks off the front; off both ends. */
struct span sts_left_trim(struct span span);
struct span sts_trim(struct span span);
/* Takes what is before the octet, and the octet, off *rest. *found: it was there, else all went. */
struct span sts_take_to(struct span *rest, char c, bool *found);

/* sts-ext-name, sts-policy-ext-name, tlsrpt-ext-name: one rule */
MUST_USE bool sts_key_valid(struct span key);
/* sts-ext-value, tlsrpt-ext-value */
MUST_USE bool sts_txt_value_valid(struct span value);
/* sts-policy-ext-value, its blanks at both ends taken off */
MUST_USE bool sts_policy_value_valid(struct span value);
/* Domain (RFC 5321 4.1.2), ASCII, within the DNS's lengths */
MUST_USE bool sts_domain_valid(struct span domain);

/* ---- txt.c ---- */

/*
 * The one record among `records` that begins with the version: its joined strings go to `text`,
 * *fields is what is behind the version's semicolon. OK, NONE, SEVERAL or LONG.
 */
MUST_USE enum sts_record_error sts_txt_pick(const struct span *records, size_t n,
	const char *version, char text[STS_TXT_MAX], struct span *fields, bool *blank);

/* Takes a field and the delimiter behind it off *fields. False: not name=value. */
MUST_USE bool sts_txt_field_take(struct span *fields, struct span *name, struct span *value);

#endif
