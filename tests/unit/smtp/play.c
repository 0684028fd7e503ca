/* SPDX-License-Identifier: MIT */
/* play.c -- see play.h. */
#include "tests/unit/smtp/play.h"

#include <stdlib.h>

#include <criterion/criterion.h>

static void setup_apply(struct driver *driver, enum play_setup setup)
{
	driver->settings.bare_newline_normalize = setup == PLAY_NORMALIZE;
	driver->settings.undeclared_8bit_accept = setup == PLAY_8BIT;
	driver->trusted = setup == PLAY_TRUSTED;
	if (setup == PLAY_ERRORS)
		driver->settings.errors_max = 3;
}

static enum smtp_tls_offer tls_offer(enum play_setup setup)
{
	if (setup == PLAY_TLS)
		return SMTP_TLS_ACTIVE;
	return setup == PLAY_NO_TLS ? SMTP_TLS_NONE : SMTP_TLS_OFFERED;
}

/* Pieces lie in memory of their own, so that a sanitizer sees a step beyond. */
static void feed_piece(struct driver *driver, struct span *input, size_t n)
{
	struct span piece = span_take(input, n);
	uint8_t *copy = malloc(piece.n > 0 ? piece.n : 1);

	memcpy(copy, piece.p, piece.n);
	driver_feed(driver, span_of(copy, piece.n));
	free(copy);
}

char *play_once(enum play_setup setup, struct span input, size_t first, size_t piece,
	size_t out_cap, bool move)
{
	static struct driver driver;
	char *log;

	driver_init(&driver);
	setup_apply(&driver, setup);
	driver.out_cap = out_cap;
	driver.move = move;
	driver_open(&driver, tls_offer(setup));
	if (first > 0)
		feed_piece(&driver, &input, first);
	while (input.n > 0 && !driver.over)
		feed_piece(&driver, &input, piece);
	log = strdup(driver_log(&driver));
	driver_close(&driver);
	return log;
}

static void play_check(const struct play *play, const char *how, size_t at, char *log)
{
	cr_assert_str_eq(log, play->log, "%s, %s %zu:\n  got      %s\n  expected %s", play->name,
		how, at, log, play->log);
	free(log);
}

void play_all(const struct play *plays, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct play *play = &plays[i];
		struct span input = play->input_n > 0 ? span_of(play->input, play->input_n)
						      : span_str(play->input);

		play_check(play, "whole", 0,
			play_once(play->setup, input, 0, input.n, DRIVER_OUT_BYTES, false));
		for (size_t piece = 1; piece < 8; piece++)
			play_check(play, "in pieces of", piece,
				play_once(play->setup, input, 0, piece, DRIVER_OUT_BYTES, false));
		for (size_t cut = 1; cut < input.n; cut++)
			play_check(play, "cut at", cut,
				play_once(
					play->setup, input, cut, input.n, DRIVER_OUT_BYTES, false));
		play_check(play, "least output", 0,
			play_once(play->setup, input, 0, input.n, SMTP_REPLY_MAX, false));
		play_check(play, "moved, whole", 0,
			play_once(play->setup, input, 0, input.n, DRIVER_OUT_BYTES, true));
		for (size_t piece = 1; piece < 8; piece++)
			play_check(play, "moved, pieces of", piece,
				play_once(play->setup, input, 0, piece, DRIVER_OUT_BYTES, true));
	}
}
