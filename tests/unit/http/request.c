/* SPDX-License-Identifier: MIT */
/*
 * request.c -- heads as clients send them, and as they should not: what is read, what refuses it and
 * with which status. Each row is given whole and octet by octet: the answer is the same.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "http/http.h"

#define OK   HTTP_CODE_OK
#define HOST "Host: h.example\r\n"
/* A refusal, and whether the connection may go on. */
#define ENDS    NULL, NULL, HTTP_VERB_GET, false
#define GOES_ON NULL, NULL, HTTP_VERB_GET, true

static const struct {
	const char *name;
	const char *head;
	enum http_code code;
	const char *path; /* OK: */
	const char *host;
	enum http_verb verb;
	bool keep_alive;
} rows[] = {
	{"a GET", "GET /a HTTP/1.1\r\n" HOST "\r\n", OK, "/a", "h.example", HTTP_VERB_GET, true},
	{"a HEAD", "HEAD /a HTTP/1.1\r\n" HOST "\r\n", OK, "/a", "h.example", HTTP_VERB_HEAD, true},
	{"bare LF", "GET /a HTTP/1.1\nHost: h.example\n\n", OK, "/a", "h.example", HTTP_VERB_GET,
		true},
	{"an empty line before", "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", OK, "/", "h.example",
		HTTP_VERB_GET, true},
	{"a query", "GET /a?b=c HTTP/1.1\r\n" HOST "\r\n", OK, "/a", "h.example", HTTP_VERB_GET,
		true},
	{"close", "GET / HTTP/1.1\r\nConnection: close\r\n" HOST "\r\n", OK, "/", "h.example",
		HTTP_VERB_GET, false},
	{"close among others", "GET / HTTP/1.1\r\nConnection: te, Close\r\n" HOST "\r\n", OK, "/",
		"h.example", HTTP_VERB_GET, false},
	{"1.0", "GET / HTTP/1.0\r\n\r\n", OK, "/", "", HTTP_VERB_GET, false},
	{"1.0 that goes on", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n" HOST "\r\n", OK, "/",
		"h.example", HTTP_VERB_GET, true},
	{"1.9", "GET / HTTP/1.9\r\n" HOST "\r\n", OK, "/", "h.example", HTTP_VERB_GET, true},
	{"host in capitals, dot and port", "GET / HTTP/1.1\r\nhOST: \t H.Example.:8443 \r\n\r\n",
		OK, "/", "h.example", HTTP_VERB_GET, true},
	{"host is an address", "GET / HTTP/1.1\r\nHost: [2001:DB8::1]:443\r\n\r\n", OK, "/",
		"[2001:db8::1]", HTTP_VERB_GET, true},
	{"absolute", "GET https://Other.example:1/p?q HTTP/1.1\r\n" HOST "\r\n", OK, "/p",
		"other.example", HTTP_VERB_GET, true},
	{"absolute without a path", "GET https://other.example HTTP/1.1\r\n" HOST "\r\n", OK, "/",
		"other.example", HTTP_VERB_GET, true},
	{"Content-Length 0", "GET / HTTP/1.1\r\nContent-Length: 0\r\n" HOST "\r\n", OK, "/",
		"h.example", HTTP_VERB_GET, true},
	{"an upgrade is not taken up",
		"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n" HOST "\r\n", OK, "/",
		"h.example", HTTP_VERB_GET, true},

	{"no host", "GET / HTTP/1.1\r\n\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"two hosts", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"two hosts, 1.0", "GET / HTTP/1.0\r\n" HOST HOST "\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"an empty host", "GET / HTTP/1.1\r\nHost: \r\n\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"a host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"a host with a slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"a host with a name before", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", HTTP_CODE_BAD_REQUEST,
		ENDS},
	{"a host with a long port", "GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n",
		HTTP_CODE_BAD_REQUEST, ENDS},
	{"absolute, no host", "GET https://a/ HTTP/1.1\r\n\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"absolute with a user", "GET https://u@a/ HTTP/1.1\r\n" HOST "\r\n", HTTP_CODE_BAD_REQUEST,
		ENDS},
	{"a fragment", "GET /a#b HTTP/1.1\r\n" HOST "\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"no target", "GET  HTTP/1.1\r\n" HOST "\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"a target that is none", "GET a HTTP/1.1\r\n" HOST "\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"asterisk", "GET * HTTP/1.1\r\n" HOST "\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"a folded line", "GET / HTTP/1.1\r\nHost:\r\n h.example\r\n\r\n", HTTP_CODE_BAD_REQUEST,
		ENDS},
	{"a space before a field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", HTTP_CODE_BAD_REQUEST,
		ENDS},
	{"a space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", HTTP_CODE_BAD_REQUEST,
		ENDS},
	{"no colon", "GET / HTTP/1.1\r\nHost\r\n\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"a bare CR", "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"a control character", "GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n", HTTP_CODE_BAD_REQUEST,
		ENDS},
	{"no version", "GET /\r\n\r\n", HTTP_CODE_VERSION_NOT_SUPPORTED, ENDS},
	{"2.0", "GET / HTTP/2.0\r\n" HOST "\r\n", HTTP_CODE_VERSION_NOT_SUPPORTED, ENDS},
	{"another protocol", "GET / SIP/1.1\r\n" HOST "\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\n", HTTP_CODE_NOT_IMPLEMENTED, ENDS},
	{"POST", "POST / HTTP/1.1\r\n" HOST "\r\n", HTTP_CODE_METHOD_NOT_ALLOWED, GOES_ON},
	{"POST with content", "POST / HTTP/1.1\r\nContent-Length: 3\r\n" HOST "\r\n",
		HTTP_CODE_METHOD_NOT_ALLOWED, ENDS},
	{"OPTIONS", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", HTTP_CODE_METHOD_NOT_ALLOWED, GOES_ON},
	{"CONNECT", "CONNECT a:25 HTTP/1.1\r\n" HOST "\r\n", HTTP_CODE_METHOD_NOT_ALLOWED, GOES_ON},
	{"a method nobody knows", "FROB / HTTP/1.1\r\n" HOST "\r\n", HTTP_CODE_NOT_IMPLEMENTED,
		ENDS},
	{"a method in small letters", "get / HTTP/1.1\r\n" HOST "\r\n", HTTP_CODE_NOT_IMPLEMENTED,
		ENDS},
	{"no method", "(x) / HTTP/1.1\r\n" HOST "\r\n", HTTP_CODE_BAD_REQUEST, ENDS},
	{"SMTP", "EHLO there\r\n\r\n", HTTP_CODE_NOT_IMPLEMENTED, ENDS},
	{"content", "GET / HTTP/1.1\r\nContent-Length: 1\r\n" HOST "\r\n",
		HTTP_CODE_CONTENT_TOO_LARGE, ENDS},
	{"chunked", "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" HOST "\r\n",
		HTTP_CODE_LENGTH_REQUIRED, ENDS},
	{"a coding nobody knows", "GET / HTTP/1.1\r\nTransfer-Encoding: x\r\n" HOST "\r\n",
		HTTP_CODE_NOT_IMPLEMENTED, ENDS},
	{"chunked and a length",
		"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n" HOST "\r\n",
		HTTP_CODE_BAD_REQUEST, ENDS},
	{"chunked, 1.0", "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" HOST "\r\n",
		HTTP_CODE_BAD_REQUEST, ENDS},
	{"two lengths", "GET / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0\r\n" HOST "\r\n",
		HTTP_CODE_BAD_REQUEST, ENDS},
	{"a length that is none", "GET / HTTP/1.1\r\nContent-Length: -1\r\n" HOST "\r\n",
		HTTP_CODE_BAD_REQUEST, ENDS},
};

/* Scans at most `step` octets at a time, then reads. The head is in memory of its own size. */
static enum http_code read_by(
	const char *text, size_t step, uint8_t *storage, struct http_request *request)
{
	struct span in = span_of(storage, strlen(text));
	struct http_scan scan = {0};
	enum http_code code;

	memcpy(storage, text, in.n);
	while (in.n > 0) {
		struct span piece = span_take(&in, step);

		switch (http_scan(&scan, &piece, &code)) {
		case HTTP_STEP_MORE:
			cr_assert(piece.n == 0);
			break;
		case HTTP_STEP_BAD:
			*request = (struct http_request){0};
			return code;
		case HTTP_STEP_DONE:
			cr_assert(in.n == 0 && piece.n == 0 && scan.n == strlen(text));
			return http_request_read(span_of(storage, scan.n), request);
		}
	}
	cr_assert(false, "no end: %s", text);
	return 0;
}

static void row_check(size_t i, size_t step)
{
	size_t n = strlen(rows[i].head);
	uint8_t *storage = malloc(n);
	struct http_request request;
	enum http_code code = read_by(rows[i].head, step, storage, &request);

	cr_expect_eq(code, rows[i].code, "%s: %d", rows[i].name, code);
	cr_expect_eq(request.keep_alive, rows[i].keep_alive, "%s", rows[i].name);
	if (code == OK && rows[i].code == OK) {
		cr_expect(span_equal(request.path, span_str(rows[i].path)), "%s: %.*s",
			rows[i].name, (int)request.path.n, (const char *)request.path.p);
		cr_expect_str_eq(request.host, rows[i].host, "%s", rows[i].name);
		cr_expect_eq(request.verb, rows[i].verb, "%s", rows[i].name);
	}
	free(storage);
}

Test(http_request, rows)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		row_check(i, 1);
		row_check(i, 7);
		row_check(i, SIZE_MAX);
	}
}

Test(http_request, an_absolute_target_names_the_host_and_the_scheme)
{
	static const struct {
		const char *head;
		bool absolute, plain;
	} targets[] = {
		{"GET / HTTP/1.1\r\n" HOST "\r\n", false, false},
		{"GET https://a/ HTTP/1.1\r\n" HOST "\r\n", true, false},
		{"GET HTTPS://a/ HTTP/1.1\r\n" HOST "\r\n", true, false},
		{"GET http://a/ HTTP/1.1\r\n" HOST "\r\n", true, true},
		{"GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n", true, true},
	};
	uint8_t storage[128];
	struct http_request request;

	for (size_t i = 0; i < COUNT_OF(targets); i++) {
		cr_expect_eq(read_by(targets[i].head, SIZE_MAX, storage, &request), OK, "%zu", i);
		cr_expect_eq(request.absolute, targets[i].absolute, "%zu", i);
		cr_expect_eq(request.plain, targets[i].plain, "%zu", i);
	}
}

Test(http_request, the_method_is_known_where_the_rest_is_wrong)
{
	uint8_t storage[128];
	struct http_request request;

	cr_expect_eq(read_by("HEAD / HTTP/1.1\r\n\r\n", SIZE_MAX, storage, &request),
		HTTP_CODE_BAD_REQUEST);
	cr_expect_eq(request.verb, HTTP_VERB_HEAD);
	cr_expect_eq(read_by("HEAD / HTTP/1.1\r\nx\r\n\r\n", SIZE_MAX, storage, &request),
		HTTP_CODE_BAD_REQUEST);
	cr_expect_eq(request.verb, HTTP_VERB_HEAD);
}

Test(http_request, the_longest_host_is_one_octet_under_too_long)
{
	char head[512] = "GET / HTTP/1.1\r\nHost: ";
	uint8_t storage[512];
	struct http_request request;
	size_t n = strlen(head);

	memset(head + n, 'a', HTTP_HOST_MAX);
	memcpy(head + n + HTTP_HOST_MAX, "\r\n\r\n", 5);
	cr_expect_eq(read_by(head, SIZE_MAX, storage, &request), OK);
	cr_expect_eq(strlen(request.host), HTTP_HOST_MAX);
	memcpy(head + n + HTTP_HOST_MAX, "a\r\n\r\n", 6);
	cr_expect_eq(read_by(head, SIZE_MAX, storage, &request), HTTP_CODE_BAD_REQUEST);
}
