/* SPDX-License-Identifier: MIT */
/*
 * name.c -- host names, mail domains and plain text, octet by octet.
 *
 * Non-goals: IDNA. An A-label and its U-label are two names here; whoever wants both writes both.
 * Conversion would bring a library into the one check that all configuration passes through, for a
 * case that a second line in the file settles.
 */
#include "config/name.h"

static bool letter_or_digit(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Octets of the UTF-8 sequence at the front of text, 0 if there is none that RFC 3629 allows. */
static size_t utf8_sequence(struct span text)
{
	uint8_t lead = text.p[0], second_min = 0x80, second_max = 0xbf;
	size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

	if (n == 1)
		return 1;
	if (lead < 0xc2 || lead > 0xf4 || text.n < n)
		return 0;
	if (lead == 0xc2)
		second_min = 0xa0; /* below: the C1 controls */
	else if (lead == 0xe0)
		second_min = 0xa0;
	else if (lead == 0xed)
		second_max = 0x9f; /* above: surrogates */
	else if (lead == 0xf0)
		second_min = 0x90;
	else if (lead == 0xf4)
		second_max = 0x8f;
	if (text.p[1] < second_min || text.p[1] > second_max)
		return 0;
	for (size_t i = 2; i < n; i++) {
		if ((text.p[i] & 0xc0) != 0x80)
			return 0;
	}
	return n;
}

bool name_text_valid(struct span text)
{
	while (text.n > 0) {
		size_t n = utf8_sequence(text);

		if (n == 0 || text.p[0] < NAME_CONTROL_END || text.p[0] == NAME_DELETE)
			return false;
		span_take(&text, n);
	}
	return true;
}

static bool label_valid(struct span label, bool utf8)
{
	if (label.n == 0 || label.n > NAME_LABEL_MAX)
		return false;
	if (label.p[0] == '-' || label.p[label.n - 1] == '-')
		return false;
	for (size_t i = 0; i < label.n; i++) {
		uint8_t c = label.p[i];

		if (!letter_or_digit(c) && c != '-' && !(utf8 && c >= 0x80))
			return false;
	}
	return true;
}

static bool all_digits(struct span label)
{
	for (size_t i = 0; i < label.n; i++) {
		if (label.p[i] < '0' || label.p[i] > '9')
			return false;
	}
	return true;
}

static bool labels_valid(struct span name, bool utf8)
{
	if (name.n == 0 || name.n > NAME_OCTETS_MAX)
		return false;
	for (;;) {
		const uint8_t *dot = memchr(name.p, '.', name.n);
		struct span label = span_take(&name, dot ? (size_t)(dot - name.p) : name.n);

		if (!label_valid(label, utf8))
			return false;
		if (!dot)
			return !all_digits(label);
		span_take(&name, 1);
		if (name.n == 0)
			return false;
	}
}

bool name_host_valid(struct span name)
{
	return labels_valid(name, false);
}

bool name_domain_valid(struct span name)
{
	return labels_valid(name, true) && name_text_valid(name);
}

void name_lower(char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (text[i] >= 'A' && text[i] <= 'Z')
			text[i] = (char)(text[i] - 'A' + 'a');
	}
}
