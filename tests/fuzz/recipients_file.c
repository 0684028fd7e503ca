/* SPDX-License-Identifier: MIT */
/*
 * recipients_file.c -- fuzz target: any octets as a recipients file.
 *
 * Shows: recipients_parse neither crashes nor leaks; a refusal names a line of the file; whatever
 * is accepted and plain enough to be cut by hand (no quotes, no comment) is found afterwards, in
 * capitals too; and nothing is found in a domain that no line names.
 */
#include <stdlib.h>

#include "policy/recipients-private.h"
#include "tests/fuzz/message.h"

#define PATH "recipients"

static void check_line(const struct recipients *recipients, struct span line)
{
	const uint8_t *at = memchr(line.p, '@', line.n);
	struct span local, domain;
	char upper[RECIPIENTS_ADDRESS_MAX];

	for (size_t i = 0; i < line.n; i++) {
		if (line.p[i] <= ' ' || line.p[i] == '#' || line.p[i] == '"')
			return;
	}
	ASSERT(at && line.n <= RECIPIENTS_ADDRESS_MAX);
	local = span_take(&line, (size_t)(at - line.p));
	domain = span_of(line.p + 1, line.n - 1);
	ASSERT(recipients_has(recipients, local.n ? local : span_str("anybody"), domain));
	memcpy(upper, domain.p, domain.n);
	for (size_t i = 0; i < domain.n; i++) {
		if (upper[i] >= 'a' && upper[i] <= 'z')
			upper[i] = (char)(upper[i] - 'a' + 'A');
	}
	ASSERT(recipients_has(
		recipients, local.n ? local : span_str("x"), span_of(upper, domain.n)));
}

static void check_lines(const struct recipients *recipients, struct span data)
{
	while (data.n > 0) {
		const uint8_t *end = memchr(data.p, '\n', data.n);
		struct span line = span_take(&data, end ? (size_t)(end - data.p) : data.n);

		if (line.n > 0)
			check_line(recipients, line);
		span_take(&data, 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct recipients *recipients = NULL;
	char *text = malloc(n + 1);
	struct err err = {""};

	memcpy(text, data, n);
	if (recipients_parse(&recipients, PATH, text, n, &err) != 0) {
		check_message(&err, PATH, span_of(data, n));
		return 0;
	}
	check_lines(recipients, span_of(data, n));
	/* the input itself as a peer's words */
	ASSERT(!recipients_has(recipients, span_of(data, n), span_str("")));
	ASSERT(!recipients_has(recipients, span_of(data, n), span_str("a..b")));
	recipients_close(recipients);
	return 0;
}
