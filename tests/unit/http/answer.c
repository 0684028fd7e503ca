/* SPDX-License-Identifier: MIT */
/* answer.c -- the octets of an answer's head. */
#include <criterion/criterion.h>

#include "http/http.h"

static void expect(const struct http_answer *answer, const char *text)
{
	uint8_t storage[HTTP_ANSWER_MAX];
	struct buf out;

	buf_init(&out, storage, sizeof(storage));
	cr_assert(http_answer_write(answer, &out));
	cr_expect(span_equal(buf_span(&out), span_str(text)), "%.*s", (int)buf_len(&out), out.p);
}

Test(http_answer, a_file)
{
	expect(&(struct http_answer){HTTP_CODE_OK, true, 784111777, "text/plain", "no-store", 77},
		"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
		"Cache-Control: no-store\r\nContent-Type: text/plain\r\nContent-Length: 77\r\n"
		"X-Content-Type-Options: nosniff\r\nConnection: keep-alive\r\n\r\n");
}

Test(http_answer, a_wrong_method_is_told_the_right_ones)
{
	expect(&(struct http_answer){HTTP_CODE_METHOD_NOT_ALLOWED, false, 0, "text/plain", NULL, 0},
		"HTTP/1.1 405 Method Not Allowed\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
		"Allow: GET, HEAD\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n"
		"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n");
}

/* The longest of all: the limit holds with room to spare, and too little room is told. */
Test(http_answer, room)
{
	static const int codes[] = {
		200, 400, 404, 405, 408, 411, 413, 414, 421, 431, 501, 503, 505};
	static const char hundred[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	uint8_t storage[HTTP_ANSWER_MAX];

	for (size_t i = 0; i < COUNT_OF(codes); i++) {
		struct http_answer answer = {
			(enum http_code)codes[i], true, 4102444800, "", hundred, UINT64_MAX};
		struct buf out;

		buf_init(&out, storage, sizeof(storage));
		cr_expect(http_answer_write(&answer, &out), "%d", codes[i]);
		cr_expect_str_neq(http_reason(answer.code), "");
		for (size_t cap = buf_len(&out); cap-- > 0;) {
			struct buf less;

			buf_init(&less, storage, cap);
			cr_expect(!http_answer_write(&answer, &less), "%zu", cap);
		}
	}
	cr_expect_str_eq(http_reason((enum http_code)299), "");
}
