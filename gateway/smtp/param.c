/* SPDX-License-Identifier: MIT */
/*
 * param.c -- the parameters of MAIL and RCPT (RFC 5321 4.1.2 Mail-parameters), by table.
 *
 * Job: splits " KEY=VALUE" strictly, finds the row, refuses what comes twice (501) or is unknown
 * (555), hands values to the row. Parameters belong to EHLO: after HELO any is refused (555).
 * Not its job: what a value means (mail.c, rcpt.c).
 */
#include "smtp/smtp-private.h"

static bool is_keyword_octet(uint8_t c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (!first && c == '-');
}

/* esmtp-value = 1*(%d33-60 / %d62-126), and UTF-8 as RFC 6531 3.3 adds. */
static bool value_valid(struct span value)
{
	for (size_t i = 0; i < value.n; i++)
		if (value.p[i] <= ' ' || value.p[i] == '=' || value.p[i] == 0x7f)
			return false;
	return value.n > 0 && smtp_utf8_valid(value);
}

bool smtp_param_take(struct span *rest, struct smtp_param_text *param)
{
	struct span word;
	const uint8_t *space;
	size_t n = 0;

	*param = (struct smtp_param_text){0};
	if (rest->p[0] != ' ')
		return false;
	(void)span_take(rest, 1);
	space = rest->n == 0 ? NULL : memchr(rest->p, ' ', rest->n);
	word = span_take(rest, space == NULL ? rest->n : (size_t)(space - rest->p));
	while (n < word.n && is_keyword_octet(word.p[n], n == 0))
		n++;
	param->keyword = span_take(&word, n);
	if (n == 0 || word.n == 0)
		return n > 0;
	param->has_value = span_take(&word, 1).p[0] == '=';
	param->value = word;
	return param->has_value && value_valid(word);
}

static const struct smtp_param *param_find(
	const struct smtp_param *params, size_t params_n, struct span keyword)
{
	for (size_t i = 0; i < params_n; i++)
		if (span_is_nocase(keyword, params[i].keyword))
			return &params[i];
	return NULL;
}

enum smtp_reply smtp_params_read(struct smtp *smtp, struct span rest,
	const struct smtp_param *params, size_t params_n, void *target)
{
	uint32_t seen = 0;

	ASSERT(params_n <= SMTP_PARAMS_MAX);
	while (rest.n > 0) {
		const struct smtp_param *row;
		struct smtp_param_text param;
		enum smtp_reply refusal;

		if (!smtp_param_take(&rest, &param))
			return SMTP_REPLY_PARAM_SYNTAX;
		if (!smtp->esmtp)
			return SMTP_REPLY_PARAM_HELO;
		row = param_find(params, params_n, param.keyword);
		if (row == NULL)
			return SMTP_REPLY_PARAM_UNKNOWN;
		if ((seen & (1u << (row - params))) != 0)
			return SMTP_REPLY_PARAM_TWICE;
		seen |= 1u << (row - params);
		if (param.has_value != (row->form == SMTP_PARAM_VALUE))
			return SMTP_REPLY_PARAM_VALUE;
		refusal = row->take(smtp, target, param.value);
		if (refusal != SMTP_REPLY_NONE)
			return refusal;
	}
	return SMTP_REPLY_NONE;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F') /* lower case is no xtext */
		return c - 'A' + 10;
	return -1;
}

/* Printable after decoding too: what is decoded lands in the header of a DSN some day. */
bool smtp_xtext_valid(struct span text)
{
	while (text.n > 0) {
		uint8_t c = span_take(&text, 1).p[0];
		int high, low;

		if (c <= ' ' || c > '~' || c == '=')
			return false;
		if (c != '+')
			continue;
		if (text.n < 2)
			return false;
		high = hex_digit(text.p[0]);
		low = hex_digit(text.p[1]);
		if (high < 2 || low < 0 || high > 7 || (high == 7 && low == 15))
			return false;
		(void)span_take(&text, 2);
	}
	return true;
}

struct span smtp_xtext_decode(struct arena *arena, struct span text)
{
	uint8_t *copy = arena_alloc(arena, text.n);
	size_t n = 0;

	while (copy != NULL && text.n > 0) {
		uint8_t c = span_take(&text, 1).p[0];

		if (c == '+') {
			struct span digits = span_take(&text, 2);

			c = (uint8_t)(hex_digit(digits.p[0]) << 4 | hex_digit(digits.p[1]));
		}
		copy[n++] = c;
	}
	return span_of(copy, n);
}
