/* SPDX-License-Identifier: MIT */
/* reference.c -- see reference.h. */
#include "tests/unit/smtp/reference.h"

static uint8_t at(struct span input, size_t i)
{
	return i < input.n ? input.p[i] : 'x';
}

static bool crlf_at(struct span input, size_t i)
{
	return at(input, i) == '\r' && at(input, i + 1) == '\n';
}

/* Is there a true CRLF just before i, or the very start? */
static bool line_starts_at(struct span input, size_t i, bool line_start)
{
	return i == 0 ? line_start : i >= 2 && crlf_at(input, i - 2);
}

static bool ends_at(struct span input, size_t i, bool line_start)
{
	return line_starts_at(input, i, line_start) && at(input, i) == '.' && crlf_at(input, i + 1);
}

static void put(struct reference *reference, const char *text, size_t n)
{
	memcpy(reference->content + reference->content_n, text, n);
	reference->content_n += n;
}

/* What is refused with the octet at i; a bare CR shows at the octet behind it. */
static enum smtp_decode refusal_at(
	struct span input, size_t i, bool refuse_newline, bool refuse_8bit)
{
	uint8_t c = at(input, i);

	if (refuse_newline && i > 0 && at(input, i - 1) == '\r' && c != '\n')
		return SMTP_DECODE_NEWLINE;
	if (refuse_newline && c == '\n' && (i == 0 || at(input, i - 1) != '\r'))
		return SMTP_DECODE_NEWLINE;
	if (c == '\0')
		return SMTP_DECODE_NUL;
	return refuse_8bit && c >= 0x80 ? SMTP_DECODE_8BIT : SMTP_DECODE_MORE;
}

void reference_decode(struct reference *reference, struct span input, bool refuse_newline,
	bool refuse_8bit, bool line_start)
{
	size_t end = 0;

	while (end < input.n && !ends_at(input, end, line_start))
		end++;
	reference->refusal = SMTP_DECODE_MORE;
	reference->content_n = 0;
	reference->ended = end < input.n;
	reference->taken = reference->ended ? end + 3 : input.n;
	for (size_t i = 0; i < end; i++) {
		uint8_t c = at(input, i);

		reference->refusal = refusal_at(input, i, refuse_newline, refuse_8bit);
		if (reference->refusal != SMTP_DECODE_MORE)
			return;
		if (c == '.' && line_starts_at(input, i, line_start))
			continue;
		if (c == '\r' && !crlf_at(input, i))
			put(reference, refuse_newline ? "\r" : "\r\n", refuse_newline ? 1 : 2);
		else if (c == '\n' && (i == 0 || at(input, i - 1) != '\r'))
			put(reference, "\r\n", 2);
		else
			put(reference, (const char *)&c, 1);
	}
}
