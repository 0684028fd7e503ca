/* SPDX-License-Identifier: MIT */
/* line.c -- lines that are none: too long, with bare newlines, with NUL; and where they end. */
#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/counter.h"
#include "tests/unit/smtp/play.h"

Test(smtp_line, bare_newlines)
{
	static const struct play plays[] = {
		{"LF only: an answer each, nothing run", 0, "EHLO c\nQUIT\nNOOP\n", 0,
			"500/5.5.2 500/5.5.2 500/5.5.2"},
		{"a command hidden behind LF", 0, "NOOP x\nQUIT\r\nNOOP\r\n", 0,
			"500/5.5.2 250/2.0.0"},
		{"a command before LF", 0, "QUIT\nx\r\nNOOP\r\n", 0, "500/5.5.2 250/2.0.0"},
		{"bare CR", 0, "NOOP x\rQUIT\r\nNOOP\r\r\nNOOP\r\n", 0,
			"500/5.5.2 500/5.5.2 250/2.0.0"},
		{"CR at the end of what is skipped", 0, "x\ny\r\nNOOP\r\n", 0,
			"500/5.5.2 250/2.0.0"},
		{"LF CR LF", 0, "NOOP\n\r\nNOOP\r\n", 0, "500/5.5.2 250/2.0.0"},
		{"in MAIL", 0, HELLO "MAIL FROM:<a\nb@c>\r\n" MAIL, 0, "250 500/5.5.2 " MAIL_L},
		{"normalize: LF ends a line", PLAY_NORMALIZE, "EHLO c\nNOOP\r\nQUIT\n", 0,
			"250 250/2.0.0 " QUIT_L},
		{"normalize: bare CR does not", PLAY_NORMALIZE, "NOOP\rQUIT\nNOOP\n", 0,
			"500/5.5.2 250/2.0.0"},
		{"NUL", 0, "NO\0OP\r\nNOOP\r\n", 13, "500/5.5.2 250/2.0.0"},
		{"NUL behind QUIT", 0, "QUIT\0\r\nNOOP\r\n", 13, "500/5.5.2 250/2.0.0"},
	};

	play_all(plays, COUNT_OF(plays));
}

/* "NOOP xxx...CRLF" of n octets, with NOOP CRLF behind it. */
static struct span long_line(char *text, size_t n, const char *end)
{
	size_t end_n = strlen(end);

	memset(text, 'x', n);
	memcpy(text, "NOOP ", 5);
	memcpy(text + n - end_n, end, end_n);
	memcpy(text + n, "NOOP\r\n", 7);
	return span_of(text, n + 6);
}

static void long_check(enum play_setup setup, struct span input, const char *expected)
{
	for (size_t first = 0; first < input.n; first += first < 10 || first > 2020 ? 1 : 67) {
		char *log = play_once(setup, input, first, input.n, DRIVER_OUT_BYTES, false);

		cr_assert_str_eq(log, expected, "%zu octets cut at %zu: %s", input.n, first, log);
		free(log);
	}
}

Test(smtp_line, length)
{
	static const struct {
		size_t n;
		enum play_setup setup;
		const char *end;
		const char *log;
	} rows[] = {
		{SMTP_LINE_MAX - 1, 0, "\r\n", "250/2.0.0 250/2.0.0"},
		{SMTP_LINE_MAX, 0, "\r\n", "250/2.0.0 250/2.0.0"},
		{SMTP_LINE_MAX + 1, 0, "\r\n", "500/5.5.2 250/2.0.0"},
		{SMTP_LINE_MAX + 2, 0, "\r\n", "500/5.5.2 250/2.0.0"},
		{SMTP_LINE_MAX * 3, 0, "\r\n", "500/5.5.2 250/2.0.0"},
		{SMTP_LINE_MAX + 9, 0, "\nQUIT\r\n", "500/5.5.2 500/5.5.2 250/2.0.0"},
		{SMTP_LINE_MAX + 9, PLAY_NORMALIZE, "\nNOOP\r\n", "500/5.5.2 250/2.0.0 250/2.0.0"},
		{SMTP_LINE_MAX + 9, 0, "\rQUIT\r\n", "500/5.5.2 250/2.0.0"},
	};
	static char text[SMTP_LINE_MAX * 3 + 16];

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		long_check(rows[i].setup, long_line(text, rows[i].n, rows[i].end), rows[i].log);
}

Test(smtp_line, long_http)
{
	static char text[SMTP_LINE_MAX * 3];

	memset(text, 'x', sizeof(text));
	memcpy(text, "GET /", 5);
	long_check(PLAY_USUAL, span_of(text, sizeof(text)), "CLOSE(http)");
}

/* A line's beginning takes a buffer, an idle session none; without one there is a 421. */
Test(smtp_line, buffer)
{
	static struct driver driver;
	void *held[64];
	size_t n = 0;

	driver_init(&driver);
	driver_open(&driver, SMTP_TLS_NONE);
	driver_feed_str(&driver, "NOOP\r\n");
	cr_assert_eq(driver.pools.lines.live, 0);
	driver_feed_str(&driver, "NO");
	cr_assert_eq(driver.pools.lines.live, 1);
	driver_feed_str(&driver, "OP\r\n");
	cr_assert_eq(driver.pools.lines.live, 0);
	while (n < COUNT_OF(held) && (held[n] = pool_get(&driver.pools.lines)) != NULL)
		n++;
	cr_assert_lt(n, COUNT_OF(held));
	driver_feed_str(&driver, "NOOP\r\nNO");
	cr_assert_str_eq(
		driver_log(&driver), "250/2.0.0 250/2.0.0 250/2.0.0 421/4.3.0 CLOSE(memory)");
	while (n > 0)
		pool_put(&driver.pools.lines, held[--n]);
	driver_close(&driver);
}

Test(smtp_line, counters)
{
	static const struct {
		const char *input;
		enum counter counter;
		int64_t n;
	} rows[] = {
		{"x\ny\r\n", COUNTER_SMTP_BARE_NEWLINE, 1},
		{"x\ry\r\n", COUNTER_SMTP_BARE_NEWLINE, 1},
		{OPEN "DATA\r\na\nb\nc\r\n.\r\n", COUNTER_SMTP_BARE_NEWLINE, 1},
		{"X\r\nY\r\n", COUNTER_SMTP_ERRORS, 2},
		{"GET / HTTP/1.1\r\n", COUNTER_WRONG_PROTOCOL_HTTP, 1},
		{"\x16\x03\x01", COUNTER_WRONG_PROTOCOL_TLS, 1},
	};
	static char text[SMTP_LINE_MAX + 64];
	int64_t before;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		before = counter_sum(rows[i].counter);
		free(play_once(PLAY_USUAL, span_str(rows[i].input), 0, 3, DRIVER_OUT_BYTES, false));
		cr_assert_eq(counter_sum(rows[i].counter) - before, rows[i].n, "row %zu", i);
	}
	before = counter_sum(COUNTER_SMTP_LINE_TOO_LONG);
	free(play_once(PLAY_USUAL, long_line(text, SMTP_LINE_MAX + 8, "\r\n"), 0, 100,
		DRIVER_OUT_BYTES, false));
	cr_assert_eq(counter_sum(COUNTER_SMTP_LINE_TOO_LONG) - before, 1);
	before = counter_sum(COUNTER_SMTP_TOO_MANY_ERRORS);
	free(play_once(PLAY_ERRORS, span_str("X\r\nX\r\nX\r\n"), 0, 100, DRIVER_OUT_BYTES, false));
	cr_assert_eq(counter_sum(COUNTER_SMTP_TOO_MANY_ERRORS) - before, 1);
}
