/* SPDX-License-Identifier: MIT */
/* scan.c -- each limit of a head: the last that passes and the first that does not; what is behind. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "http/http.h"

static char text[HTTP_HEAD_MAX + 64];
static size_t text_n;

static void add(const char *p, size_t n)
{
	cr_assert(text_n + n <= sizeof(text));
	memcpy(text + text_n, p, n);
	text_n += n;
}

static void adds(const char *p)
{
	add(p, strlen(p));
}

static void fill(char c, size_t n)
{
	cr_assert(text_n + n <= sizeof(text));
	memset(text + text_n, c, n);
	text_n += n;
}

/* HTTP_CODE_OK: the head is whole; 0: more is needed. */
static int scan(void)
{
	struct span in = span_of(text, text_n);
	struct http_scan state = {0};
	enum http_code code = 0;
	enum http_step step = http_scan(&state, &in, &code);

	text_n = 0;
	return step == HTTP_STEP_MORE ? 0 : step == HTTP_STEP_DONE ? HTTP_CODE_OK : (int)code;
}

static void line(size_t octets)
{
	adds("GET /");
	fill('a', octets - strlen("GET / HTTP/1.1\r\n"));
	adds(" HTTP/1.1\r\n");
}

Test(http_scan, the_request_line)
{
	line(HTTP_LINE_MAX);
	adds("\r\n");
	cr_expect_eq(scan(), HTTP_CODE_OK);
	line(HTTP_LINE_MAX + 1);
	cr_expect_eq(scan(), HTTP_CODE_URI_TOO_LONG);
	fill('A', HTTP_LINE_MAX);
	cr_expect_eq(scan(), 0);
	fill('A', HTTP_LINE_MAX + 1);
	cr_expect_eq(scan(), HTTP_CODE_NOT_IMPLEMENTED, "that is a method, then");
}

Test(http_scan, the_fields)
{
	line(100);
	adds("A: ");
	fill('b', HTTP_FIELD_MAX - 7);
	adds("\r\n\r\n");
	cr_expect_eq(scan(), HTTP_CODE_OK);
	line(100);
	adds("A: ");
	fill('b', HTTP_FIELD_MAX - 6);
	adds("\r\n\r\n");
	cr_expect_eq(scan(), HTTP_CODE_FIELDS_TOO_LARGE);
}

Test(http_scan, the_number_of_fields)
{
	for (size_t n = HTTP_LINES_MAX; n <= HTTP_LINES_MAX + 1; n++) {
		line(100);
		for (size_t i = 0; i < n; i++)
			adds("A: b\r\n");
		adds("\r\n");
		cr_expect_eq(
			scan(), n == HTTP_LINES_MAX ? HTTP_CODE_OK : HTTP_CODE_FIELDS_TOO_LARGE);
	}
}

Test(http_scan, empty_lines_before)
{
	for (size_t i = 0; i < HTTP_BLANK_MAX / 2; i++)
		adds("\r\n");
	cr_expect_eq(scan(), 0);
	for (size_t i = 0; i <= HTTP_BLANK_MAX / 2; i++)
		adds("\r\n");
	cr_expect_eq(scan(), HTTP_CODE_BAD_REQUEST);
}

/* What comes with the head's last octets is not taken: it may be the next request. */
Test(http_scan, what_follows_stays)
{
	static const char two[] = "GET / HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
	struct span in = span_str(two);
	struct http_scan state = {0};
	enum http_code code;

	cr_expect_eq(http_scan(&state, &in, &code), HTTP_STEP_DONE);
	cr_expect_eq(state.n, strlen(two) / 2 - 1 + 1);
	state = (struct http_scan){0};
	cr_expect_eq(http_scan(&state, &in, &code), HTTP_STEP_DONE);
	cr_expect_eq(in.n, 0);
}

Test(http_scan, begun)
{
	struct span in = span_str("\r\n");
	struct http_scan state = {0};
	enum http_code code;

	cr_expect(!http_scan_begun(&state));
	cr_expect_eq(http_scan(&state, &in, &code), HTTP_STEP_MORE);
	cr_expect(!http_scan_begun(&state));
	in = span_str("G");
	cr_expect_eq(http_scan(&state, &in, &code), HTTP_STEP_MORE);
	cr_expect(http_scan_begun(&state));
}

/* A ClientHello, or anything binary, is refused at its first such octet. */
Test(http_scan, garbage_is_refused_at_once)
{
	struct span in = span_of("\x16\x03\x01", 3);
	struct http_scan state = {0};
	enum http_code code = 0;

	cr_expect_eq(http_scan(&state, &in, &code), HTTP_STEP_BAD);
	cr_expect_eq(code, HTTP_CODE_BAD_REQUEST);
	cr_expect_eq(in.n, 2);
}
