/* SPDX-License-Identifier: MIT */
/*
 * smtp_data.c -- the DATA decoder against the reference (tests/unit/smtp/reference.h).
 *
 * The first octet is the settings and the size of pieces, the rest is what comes behind DATA. An
 * "x" is put behind it, as a last CR would be undecided. Each kind of instructions is compared.
 */
#include <stdlib.h>

#include "tests/unit/smtp/reference.c"

#define INPUT_BYTES_MAX (64 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct decoded {
	enum smtp_decode refusal;
	bool ended;
	size_t taken;
	uint8_t *content;
	size_t content_n;
};

static void piece_decode(struct decoded *decoded, struct smtp_decoder *decoder, struct span *piece)
{
	enum smtp_decode told = SMTP_DECODE_RUN;

	while (told != SMTP_DECODE_MORE && !decoded->ended) {
		struct span run = {0};

		told = smtp_decode(decoder, piece, &run);
		if (told == SMTP_DECODE_RUN) {
			ASSERT(!decoder->discard && run.n > 0);
			memcpy(decoded->content + decoded->content_n, run.p, run.n);
			decoded->content_n += run.n;
		} else if (told == SMTP_DECODE_END) {
			decoded->ended = true;
		} else if (told != SMTP_DECODE_MORE) {
			ASSERT(!decoder->discard);
			decoded->refusal = told;
			decoder->discard = true;
		}
	}
	ASSERT(decoded->ended || piece->n == 0);
}

static void compare(const struct decoded *decoded, const struct reference *reference)
{
	ASSERT(decoded->ended == reference->ended && decoded->taken == reference->taken);
	ASSERT(decoded->refusal == reference->refusal);
	/* Of CRLF.CR that is refused, the decoder keeps the CR back. */
	ASSERT(decoded->content_n == reference->content_n ||
		(decoded->refusal == SMTP_DECODE_NEWLINE &&
			decoded->content_n + 1 == reference->content_n));
	ASSERT(memcmp(decoded->content, reference->content, decoded->content_n) == 0);
}

/* Of what was not refused nobody looks at the octets again. */
static void content_check(const struct decoded *decoded, bool said_8bit)
{
	bool has_8bit = false;
	uint8_t before = 0;

	for (size_t i = 0; i < decoded->content_n; i++) {
		ASSERT((before == '\r') == (decoded->content[i] == '\n'));
		has_8bit = has_8bit || decoded->content[i] >= 0x80;
		before = decoded->content[i];
	}
	ASSERT(before != '\r' && has_8bit == said_8bit);
}

static void decode_and_compare(
	const struct reference *reference, struct span input, uint8_t settings, uint8_t *content)
{
	struct decoded decoded = {.refusal = SMTP_DECODE_MORE, .content = content};
	struct smtp_decoder decoder;

	smtp_decoder_init(&decoder, settings & 1, settings & 2, settings & 4);
	while (input.n > 0 && !decoded.ended) {
		/* some of a few octets, some of many strides */
		size_t cut = settings >> 3 < 16 ? 1 + (settings >> 3) : 61u * (settings >> 3);
		struct span piece = span_take(&input, cut);
		size_t n = piece.n;

		piece_decode(&decoded, &decoder, &piece);
		decoded.taken += n - piece.n;
	}
	compare(&decoded, reference);
	if (decoded.ended && decoded.refusal == SMTP_DECODE_MORE)
		content_check(&decoded, decoder.has_8bit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reference reference;
	uint8_t *content;
	uint8_t *copy;

	if (size < 1 || size > INPUT_BYTES_MAX)
		return -1;
	copy = malloc(size);
	memcpy(copy, data + 1, size - 1);
	copy[size - 1] = 'x';
	reference.content = malloc(2 * size + 2);
	content = malloc(2 * size + 2);
	reference_decode(&reference, span_of(copy, size), data[0] & 1, data[0] & 2, data[0] & 4);
	for (unsigned by = SMTP_STRETCH_NONE; by <= SMTP_STRETCH_AVX2; by++) {
		smtp_stretch_limit_for_test(by);
		decode_and_compare(&reference, span_of(copy, size), data[0], content);
	}
	free(copy);
	free(reference.content);
	free(content);
	return 0;
}
