/* SPDX-License-Identifier: MIT */
/* body.c -- the DATA decoder: cases by hand, and against the reference on random octets. */
#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "tests/unit/smtp/reference.h"

#define RANDOM_ROUNDS 60000
#define SHORT_MAX     200
#define LONG_ROUNDS   20000
#define LONG_LINES    20
#define LINE_MAX      140
#define INPUT_MAX     (LONG_LINES * (LINE_MAX + 8) + 5)

struct decoded {
	enum smtp_decode refusal;
	bool ended;
	size_t taken;
	uint8_t content[2 * INPUT_MAX + 2];
	size_t content_n;
	size_t runs;
};

static uint32_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % n;
}

/* Decodes in pieces; after a refusal the rest is discarded up to the end. */
static void decode_pieces(
	struct decoded *decoded, struct smtp_decoder *decoder, struct span input, size_t piece_max)
{
	size_t total = input.n;
	size_t left = total;

	*decoded = (struct decoded){.refusal = SMTP_DECODE_MORE};
	while (left > 0 && !decoded->ended) {
		struct span piece = span_take(&input, 1 + random_below((uint32_t)piece_max));
		enum smtp_decode told = SMTP_DECODE_RUN;

		left -= piece.n;
		while (told != SMTP_DECODE_MORE && !decoded->ended) {
			struct span run = {0};

			told = smtp_decode(decoder, &piece, &run);
			if (told == SMTP_DECODE_RUN) {
				cr_assert(!decoder->discard && run.n > 0);
				memcpy(decoded->content + decoded->content_n, run.p, run.n);
				decoded->content_n += run.n;
				decoded->runs++;
			} else if (told == SMTP_DECODE_END) {
				decoded->ended = true;
			} else if (told != SMTP_DECODE_MORE) {
				cr_assert(!decoder->discard);
				decoded->refusal = told;
				decoder->discard = true;
			}
		}
		cr_assert(piece.n == 0 || decoded->ended);
		left += piece.n;
	}
	decoded->taken = total - left;
}

Test(smtp_body, cases)
{
	static const struct {
		const char *input;
		bool normalize;
		const char *content;
		const char *rest; /* NULL: no end */
		enum smtp_decode refusal;
	} rows[] = {
		{".\r\n", false, "", "", 0},
		{".\r\nQUIT", false, "", "QUIT", 0},
		{"a\r\n.\r\n", false, "a\r\n", "", 0},
		{"..\r\n.\r\n", false, ".\r\n", "", 0},
		{".a\r\n.\r\n", false, "a\r\n", "", 0},
		{"...\r\n.\r\n", false, "..\r\n", "", 0},
		{"a.\r\n.\r\n", false, "a.\r\n", "", 0},
		{"a\r\n. \r\n.\r\n", false, "a\r\n \r\n", "", 0},
		{"\r\n.\r\n", false, "\r\n", "", 0},
		{"\tb\x0b\x0c\r\n.\r\n", false, "\tb\x0b\x0c\r\n", "", 0},
		{"a\r\n.", false, "a\r\n", NULL, 0},
		{"a\r\n.\r", false, "a\r\n", NULL, 0},
		/* The ways in which servers have been smuggled through. */
		{"a\n.\nb\r\n.\r\n", false, "a", "", SMTP_DECODE_NEWLINE},
		{"a\n.\r\nb\r\n.\r\n", false, "a", "", SMTP_DECODE_NEWLINE},
		{"a\r\n.\nb\r\n.\r\n", false, "a\r\n", "", SMTP_DECODE_NEWLINE},
		{"a\r\n.\rb\r\n.\r\n", false, "a\r\n", "", SMTP_DECODE_NEWLINE},
		{"a\r.\r\nb\r\n.\r\n", false, "a\r", "", SMTP_DECODE_NEWLINE},
		{"a\r.\rb\r\n.\r\n", false, "a\r", "", SMTP_DECODE_NEWLINE},
		{"a\r\r\n.\r\n", false, "a\r", "", SMTP_DECODE_NEWLINE},
		{"a\n.\nb\r\n.\r\n", true, "a\r\n.\r\nb\r\n", "", 0},
		{"a\n.\r\nb\r\n.\r\n", true, "a\r\n.\r\nb\r\n", "", 0},
		{"a\r\n.\nb\r\n.\r\n", true, "a\r\n\r\nb\r\n", "", 0},
		{"a\r\n.\rb\r\n.\r\n", true, "a\r\n\r\nb\r\n", "", 0},
		{"a\r.\r\nb\r\n.\r\n", true, "a\r\n.\r\nb\r\n", "", 0},
		{"a\r.\rb\r\n.\r\n", true, "a\r\n.\r\nb\r\n", "", 0},
		{"a\r\r\n.\r\n", true, "a\r\n\r\n", "", 0},
		{"a\n\r\n.\r\n", true, "a\r\n\r\n", "", 0},
		{"a\n..b\r\n.\r\n", true, "a\r\n..b\r\n", "", 0},
		{"8\xe9\r\n.\r\n", false, "8", "", SMTP_DECODE_8BIT},
		{"8\xe9\n.\r\n\r\n.\r\n", false, "8", "", SMTP_DECODE_8BIT},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		for (size_t piece = 1; piece < 12; piece++) {
			struct smtp_decoder decoder;
			struct decoded decoded;

			smtp_decoder_init(&decoder, !rows[i].normalize, true, true);
			decode_pieces(&decoded, &decoder, span_str(rows[i].input), piece);
			cr_assert_eq(decoded.refusal, rows[i].refusal, "row %zu: refusal %d", i,
				decoded.refusal);
			cr_assert_eq(decoded.ended, rows[i].rest != NULL, "row %zu: end", i);
			if (decoded.ended)
				cr_assert_str_eq(
					rows[i].input + decoded.taken, rows[i].rest, "row %zu", i);
			cr_assert(span_equal(span_of(decoded.content, decoded.content_n),
					  span_str(rows[i].content)),
				"row %zu: content '%.*s'", i, (int)decoded.content_n,
				decoded.content);
		}
	}
}

Test(smtp_body, nul)
{
	static const char input[] = "a\0b\r\n.\r\n";
	struct smtp_decoder decoder;
	struct decoded decoded;

	smtp_decoder_init(&decoder, true, false, true);
	decode_pieces(&decoded, &decoder, span_of(input, sizeof(input) - 1), 3);
	cr_assert_eq(decoded.refusal, SMTP_DECODE_NUL);
	cr_assert(decoded.ended);
}

/* Behind a DATA line that ended with a bare LF (normalize), ".CRLF" is no empty message. */
Test(smtp_body, dot_behind_a_bare_newline_command)
{
	struct smtp_decoder decoder;
	struct decoded decoded;

	smtp_decoder_init(&decoder, false, true, false);
	decode_pieces(&decoded, &decoder, span_str(".\r\nx\r\n.\r\n"), 4);
	cr_assert(decoded.ended);
	cr_assert_eq(decoded.taken, 9);
	cr_assert(span_equal(span_of(decoded.content, decoded.content_n), span_str(".\r\nx\r\n")));
}

/* Big spans pass whole: a message without leading dots is one run. */
Test(smtp_body, one_run)
{
	static char input[100000];
	struct smtp_decoder decoder;
	struct span in;
	struct span run;
	size_t n = 0;

	while (n + 80 < sizeof(input))
		n += (size_t)snprintf(input + n, sizeof(input) - n, "%s",
			"The quick\tbrown fox jumps over the lazy dog and does it again.\r\n");
	in = span_of(input, n);
	smtp_decoder_init(&decoder, true, true, true);
	cr_assert_eq(smtp_decode(&decoder, &in, &run), SMTP_DECODE_RUN);
	cr_assert_eq(run.n, n);
	cr_assert_eq(run.p, (const uint8_t *)input, "the run borrows from the input");
	cr_assert_eq(smtp_decode(&decoder, &in, &run), SMTP_DECODE_MORE);
}

/* Of what was not refused nobody looks at the octets again. */
static void content_check(const struct decoded *decoded, const struct smtp_decoder *decoder)
{
	bool has_8bit = false;
	uint8_t before = 0;

	for (size_t i = 0; i < decoded->content_n; i++) {
		uint8_t c = decoded->content[i];

		cr_assert((before == '\r') == (c == '\n'), "a newline alone at %zu", i);
		has_8bit = has_8bit || c >= 0x80;
		before = c;
	}
	cr_assert(before != '\r');
	cr_assert_eq(decoder->has_8bit, has_8bit);
}

/* With each kind of instructions, over the same cuts: all come to the same, run by run. */
static void decode_all_ways(
	struct decoded *decoded, const struct smtp_decoder *fresh, struct span input)
{
	uint32_t state = random_state;
	size_t piece_max = 1 + random_below((uint32_t)input.n);
	struct smtp_decoder decoder = *fresh;
	struct smtp_decoder other;
	struct decoded others;

	smtp_stretch_limit_for_test(SMTP_STRETCH_NONE);
	decode_pieces(decoded, &decoder, input, piece_max);
	for (unsigned by = SMTP_STRETCH_SSE2; by <= SMTP_STRETCH_AVX2; by++) {
		random_state = state;
		(void)random_below((uint32_t)input.n);
		other = *fresh;
		smtp_stretch_limit_for_test(by);
		decode_pieces(&others, &other, input, piece_max);
		cr_assert_eq(others.refusal, decoded->refusal);
		cr_assert_eq(others.ended, decoded->ended);
		cr_assert_eq(others.taken, decoded->taken);
		cr_assert_eq(others.runs, decoded->runs);
		cr_assert_eq(others.content_n, decoded->content_n);
		cr_assert_arr_eq(others.content, decoded->content, decoded->content_n);
		cr_assert_eq(other.place, decoder.place);
		cr_assert_eq(other.normalized, decoder.normalized);
		cr_assert_eq(other.has_8bit, decoder.has_8bit);
	}
	if (decoded->ended && decoded->refusal == SMTP_DECODE_MORE)
		content_check(decoded, &decoder);
}

static void compare(struct span input, bool refuse_newline, bool refuse_8bit, bool line_start)
{
	uint8_t content[2 * INPUT_MAX + 2];
	struct reference reference = {.content = content};
	struct smtp_decoder decoder;
	struct decoded decoded;

	reference_decode(&reference, input, refuse_newline, refuse_8bit, line_start);
	smtp_decoder_init(&decoder, refuse_newline, refuse_8bit, line_start);
	decode_all_ways(&decoded, &decoder, input);
	cr_assert_eq(decoded.ended, reference.ended);
	cr_assert_eq(decoded.taken, reference.taken);
	cr_assert_eq(decoded.refusal, reference.refusal);
	/* Of CRLF.CR that is refused, the decoder keeps the CR back. */
	cr_assert(decoded.content_n == reference.content_n ||
		  (decoded.refusal == SMTP_DECODE_NEWLINE &&
			  decoded.content_n + 1 == reference.content_n));
	cr_assert_arr_eq(decoded.content, content, decoded.content_n);
}

/* Mild input has whole CRLFs mostly and gets far; the other is anything at all. */
static struct span random_input(uint8_t *input)
{
	static const char alphabet[] = "\r\n.\r\n.\r\nab\t\x80"; /* and its NUL */
	size_t n = random_below(SHORT_MAX - 8);
	bool mild = random_below(2) == 0;

	for (size_t i = 0; i < n; i++) {
		if (mild && i > 0 && input[i - 1] == '\r')
			input[i] = '\n';
		else if (mild && random_below(4) == 0)
			input[i] = '\r';
		else if (mild)
			input[i] = (uint8_t) ".ab"[random_below(3)];
		else
			input[i] = (uint8_t)alphabet[random_below(sizeof(alphabet))];
	}
	if (random_below(8) == 0) {
		input[n] = 'x'; /* a CR at the end would be undecided */
		return span_of(input, n + 1);
	}
	memcpy(input + n, "\r\n.\r\n", 5);
	return span_of(input, n + 5);
}

Test(smtp_body, random_against_reference)
{
	random_state = 20240617;
	for (uint32_t round = 0; round < RANDOM_ROUNDS; round++) {
		uint8_t input[SHORT_MAX];
		struct span octets = random_input(input);

		compare(octets, random_below(2) == 0, random_below(2) == 0, random_below(8) > 0);
	}
}

/* Lines in order, but for a few places: what is special stands anywhere in a stride, and is met from
 * anywhere. */
static struct span random_lines(uint8_t *input)
{
	static const char *const specials[] = {"\r", "\n", "\r\r", "\n\n", "\n\r", "\xc3", "\r\n.",
		"\r\n..", "\r\n.\r", "\r\n.\n"};
	static const uint32_t lengths[] = {1, 2, 4, 77, LINE_MAX};
	uint32_t length = lengths[random_below(COUNT_OF(lengths))];
	uint32_t lines = 1 + random_below(LONG_LINES);
	uint32_t rarely = 1 + random_below(40);
	size_t n = 0;

	for (uint32_t i = 0; i < lines; i++) {
		uint32_t special = random_below(length);
		bool has_special = random_below(rarely) == 0;

		for (uint32_t k = random_below(length) + 1; k > 0; k--) {
			input[n++] = (uint8_t) "ab.c\td\x0c\x7f"[random_below(8)];
			if (has_special && k == special) {
				const char *text = specials[random_below(COUNT_OF(specials))];

				memcpy(input + n, text, strlen(text));
				n += strlen(text);
				if (random_below(8) == 0)
					input[n++] = '\0';
			}
		}
		input[n++] = '\r';
		input[n++] = '\n';
	}
	memcpy(input + n, ".\r\n", 3);
	return span_of(input, n + 3);
}

Test(smtp_body, random_lines_against_reference)
{
	random_state = 20261122;
	for (uint32_t round = 0; round < LONG_ROUNDS; round++) {
		uint8_t input[INPUT_MAX];
		struct span octets = random_lines(input);

		compare(octets, random_below(2) == 0, random_below(2) == 0, random_below(8) > 0);
	}
}

/* Each octet that is not ordinary, at each place of lines that are in order. */
Test(smtp_body, each_octet_at_each_place)
{
	enum { LINE = 19, LINES = 12 };

	random_state = 7;
	for (size_t at = 0; at < (size_t)LINE * LINES; at++) {
		for (unsigned octet = 0; octet < 256; octet++) {
			uint8_t input[LINE * LINES + 3];

			for (size_t i = 0; i < (size_t)LINE * LINES; i++)
				input[i] = (uint8_t) "0123456789abcdefg\r\n"[i % LINE];
			input[at] = (uint8_t)octet;
			memcpy(input + sizeof(input) - 3, ".\r\n", 3);
			for (unsigned refuse = 0; refuse < 4; refuse++)
				compare(span_of(input, sizeof(input)), refuse & 1, refuse & 2,
					true);
		}
	}
}
