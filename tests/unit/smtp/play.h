/* SPDX-License-Identifier: MIT */
/*
 * play.h -- plays one dialogue in every way it can be cut, and compares the logs (driver.h).
 *
 * Whole, octet by octet, in two pieces at every position, with the smallest output, and with
 * chunks moved past the room: all must come to the same.
 */
#ifndef POSTERN_TESTS_SMTP_PLAY_H
#define POSTERN_TESTS_SMTP_PLAY_H

#include "tests/unit/smtp/driver.h"

/* Settings that differ from driver_init()'s. */
enum play_setup {
	PLAY_USUAL,
	PLAY_NORMALIZE, /* bare_newline_normalize */
	PLAY_8BIT,      /* undeclared_8bit_accept */
	PLAY_ERRORS,    /* errors_max = 3 */
	PLAY_TLS,       /* under TLS */
	PLAY_NO_TLS,    /* STARTTLS not offered */
	PLAY_TRUSTED,   /* may say XCLIENT */
};

struct play {
	const char *name;
	enum play_setup setup;
	const char *input;
	size_t input_n; /* 0: up to the NUL */
	const char *log;
};

/* Fails the test (Criterion) with the name when a log differs. */
void play_all(const struct play *plays, size_t n);

/* A log of one way of playing; to be freed. */
char *play_once(enum play_setup setup, struct span input, size_t first, size_t piece,
	size_t out_cap, bool move);

#define HELLO   "EHLO c\r\n"
#define HELLO_L "250"
#define MAIL    "MAIL FROM:<a@b>\r\n"
#define MAIL_L  "MAIL(a@b) 250/2.1.0"
#define RCPT    "RCPT TO:<c@d>\r\n"
#define RCPT_L  "RCPT(c@d) 250/2.1.5"
#define OPEN    HELLO MAIL RCPT
#define OPEN_L  HELLO_L " " MAIL_L " " RCPT_L
#define QUIT    "QUIT\r\n"
#define QUIT_L  "221/2.0.0 CLOSE(quit)"

#endif
