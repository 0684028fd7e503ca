/* SPDX-License-Identifier: MIT */
/*
 * smtp_session.c -- whole sessions: whatever comes, however cut, with answers of any kind.
 *
 * The first HEAD_BYTES of the input are settings, the cuts' seed and the answers; the rest is
 * what the client says. It is played whole and then cut up, with the smallest output and chunks
 * moved past the room: the logs must be the same. The driver asserts the order of events, the form
 * of replies and that all memory is given back.
 */
#include <stdlib.h>

#include "tests/unit/smtp/driver.c"

#define HEAD_BYTES      16
#define ANSWERS_BYTES   8
#define FLAG_NORMALIZE  1
#define FLAG_8BIT       2
#define FLAG_FEW_ERRORS 4
#define FLAG_SMALL      8
#define FLAG_ANSWERS    16
#define FLAG_TRUSTED    32
#define MANY_ERRORS     1000000
#define SMALL_BYTES     60
#define INPUT_BYTES_MAX (64 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *play(const uint8_t *head, struct span input, bool whole)
{
	static struct driver driver;
	uint32_t seed = (uint32_t)head[4] << 16 | (uint32_t)head[5] << 8 | head[6];
	char *log;

	driver_init(&driver);
	driver.settings.bare_newline_normalize = (head[0] & FLAG_NORMALIZE) != 0;
	driver.settings.undeclared_8bit_accept = (head[0] & FLAG_8BIT) != 0;
	driver.settings.errors_max = (head[0] & FLAG_FEW_ERRORS) != 0 ? 3 : MANY_ERRORS;
	driver.settings.message_bytes_max = (head[0] & FLAG_SMALL) != 0 ? SMALL_BYTES : UINT64_MAX;
	if ((head[0] & FLAG_ANSWERS) != 0)
		driver.answers = span_of(head + HEAD_BYTES - ANSWERS_BYTES, ANSWERS_BYTES);
	driver.trusted = (head[0] & FLAG_TRUSTED) != 0;
	driver.out_cap = whole ? DRIVER_OUT_BYTES : SMTP_REPLY_MAX;
	driver.move = !whole;
	driver_open(&driver, (enum smtp_tls_offer)(head[1] % 3));
	while (input.n > 0 && !driver.over) {
		size_t n = whole ? input.n : 1 + (seed >> 8) % (1u << head[7] % 8);
		struct span piece = span_take(&input, n);
		uint8_t *copy = malloc(piece.n);

		memcpy(copy, piece.p, piece.n);
		driver_feed(&driver, span_of(copy, piece.n));
		free(copy);
		seed = seed * 1664525 + 1013904223;
	}
	log = strdup(driver_log(&driver));
	driver_close(&driver);
	return log;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = span_of(data, size);
	struct span head = span_take(&input, HEAD_BYTES);
	char *whole;
	char *cut;

	if (head.n < HEAD_BYTES || input.n > INPUT_BYTES_MAX)
		return -1;
	whole = play(head.p, input, true);
	cut = play(head.p, input, false);
	if (strcmp(whole, cut) != 0) {
		fprintf(stderr, "whole: %s\ncut:   %s\n", whole, cut);
		abort();
	}
	free(whole);
	free(cut);
	return 0;
}
