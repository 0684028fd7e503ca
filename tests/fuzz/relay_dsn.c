/* SPDX-License-Identifier: MIT */
/*
 * relay_dsn.c -- a report about what a next hop said, with an original that nobody looked at. The
 * input: an octet of flags, the reply up to the first NUL, then the original. Whatever they are,
 * the report has CRLF line ends alone, no line over 998 octets, no NUL, its own parts and fields and
 * no other, and is the same however the original is cut into reads.
 */
#include "relay/dsn-private.h"

#include <stdlib.h>

#define OUT_MAX  (1u << 20)
#define IN_MAX   16384
#define BOUNDARY "--=_0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char written[2][OUT_MAX];

static size_t copy_original(
	const struct relay_dsn_report *report, struct span in, size_t piece, char *out, size_t cap)
{
	struct relay_dsn_copy copy = {.header_only = !report->full, .eight_bit = report->has_8bit};
	struct buf text;
	size_t n = 0;

	while (in.n > 0 && !copy.ended) {
		struct span part = span_of(in.p, min_size(piece, in.n));
		size_t before = part.n;

		buf_init(&text, out + n, min_size(cap - n, 64));
		relay_dsn_copy_feed(&copy, &part, &text);
		n += buf_len(&text);
		span_take(&in, before - part.n);
	}
	buf_init(&text, out + n, cap - n);
	relay_dsn_copy_end(&copy, &text);
	return n + buf_len(&text);
}

/* *third: octets up to the original's. */
static size_t compose(const struct relay_dsn_report *report, struct span original, size_t piece,
	char *out, size_t *third)
{
	struct relay_dsn_text text = {0};
	size_t n = 0;

	while (text.piece != RELAY_DSN_END) {
		bool original_next = text.piece == RELAY_DSN_ORIGINAL;
		struct buf part;

		buf_init(&part, out + n, RELAY_DSN_PIECE_MAX);
		relay_dsn_text_write(&text, report, &part);
		n += buf_len(&part);
		if (!original_next)
			continue;
		*third = n;
		n += copy_original(report, original, piece, out + n, OUT_MAX - n);
	}
	return n;
}

static unsigned lines_with(const char *text, size_t n, const char *start)
{
	unsigned found = 0;

	for (size_t at = 0; at < n; at++)
		if ((at == 0 || text[at - 1] == '\n') && n - at >= strlen(start) &&
			memcmp(text + at, start, strlen(start)) == 0)
			found++;
	return found;
}

static void check(const struct relay_dsn_report *report, const char *text, size_t n, size_t third)
{
	size_t line = 0;

	for (size_t at = 0; at < n; at++) {
		ASSERT(text[at] != '\0');
		ASSERT(report->has_8bit || (uint8_t)text[at] < 0x80);
		if (text[at] == '\r') {
			ASSERT(at + 1 < n && text[at + 1] == '\n' && line <= RELAY_DSN_LINE_MAX);
			line = 0;
			at++;
			continue;
		}
		ASSERT(text[at] != '\n');
		line++;
	}
	ASSERT(line == 0);
	ASSERT(lines_with(text, third, BOUNDARY) == 3);
	ASSERT(lines_with(text, third, "Final-Recipient:") == 1);
	ASSERT(lines_with(text, third, "Status:") == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_envelope envelope = {.reverse_path.text = span_str("a@example.org")};
	struct spool_recipient recipient = {.smtp.address = {.text = span_str("b@example.net"),
						    .domain = span_str("example.net")}};
	struct relay_outcome outcome = {.result = RELAY_RESULT_NEVER, .enhanced = "5.1.1"};
	struct relay_dsn_recipient about = {&recipient, &outcome, "smtp:mx.example.net:25"};
	struct relay_dsn_report report = {.hostname = "mx.example.org",
		.id = "1",
		.original_id = "2",
		.boundary = 0x0123456789abcdef,
		.envelope = &envelope,
		.recipients = &about,
		.recipients_n = 1};
	struct span in = span_of(data, min_size(size, IN_MAX));
	size_t reply_n;
	size_t third;
	size_t n;

	if (in.n == 0)
		return 0;
	report.full = data[0] & 1;
	report.has_8bit = data[0] & 2;
	report.kind = (enum relay_dsn_kind)(data[0] >> 2 & 3);
	outcome.code = data[0] & 16 ? 550 : 0;
	span_take(&in, 1);
	reply_n = strnlen((const char *)in.p, min_size(in.n, sizeof(outcome.text) - 1));
	memcpy(outcome.text, in.p, reply_n);
	span_take(&in, reply_n);
	n = compose(&report, in, 16384, written[0], &third);
	check(&report, written[0], n, third);
	ASSERT(compose(&report, in, 1, written[1], &third) == n);
	ASSERT(memcmp(written[0], written[1], n) == 0);
	return 0;
}
