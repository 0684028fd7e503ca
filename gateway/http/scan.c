/* SPDX-License-Identifier: MIT */
/*
 * scan.c -- where a request's head ends, and whether it is of a size and an alphabet to be read.
 *
 * Lines end in CR LF or a bare LF (RFC 9112 2.2). A CR elsewhere and other control characters are
 * refused; octets above 127 are field content (RFC 9110 5.5) and the reader's to judge.
 */
#include "http/http.h"

static bool is_control(uint8_t c)
{
	return (c < ' ' && c != '\t') || c == 0x7f;
}

static enum http_step bad(enum http_code *code, enum http_code why)
{
	*code = why;
	return HTTP_STEP_BAD;
}

bool http_scan_begun(const struct http_scan *scan)
{
	return scan->n > scan->begin;
}

static bool in_first(const struct http_scan *scan)
{
	return scan->first_n == 0;
}

/* Octets of the line under way, the last one included, its end not. */
static uint32_t line_octets(const struct http_scan *scan)
{
	return scan->n - scan->line_at;
}

/* A line has ended with the LF just counted. */
static enum http_step line_ended(struct http_scan *scan, enum http_code *code)
{
	uint32_t n = line_octets(scan);
	bool empty = n == 1 || (n == 2 && scan->cr);

	scan->line_at = scan->n;
	if (in_first(scan) && empty) {
		scan->begin = scan->n;
		return scan->n > HTTP_BLANK_MAX ? bad(code, HTTP_CODE_BAD_REQUEST) : HTTP_STEP_MORE;
	}
	if (in_first(scan)) {
		scan->first_n = n;
		return HTTP_STEP_MORE;
	}
	if (empty)
		return HTTP_STEP_DONE;
	scan->lines++;
	return scan->lines > HTTP_LINES_MAX ? bad(code, HTTP_CODE_FIELDS_TOO_LARGE)
					    : HTTP_STEP_MORE;
}

/* The octet is counted already. */
static enum http_step octet(struct http_scan *scan, uint8_t c, enum http_code *code)
{
	if (in_first(scan) && scan->n - scan->begin > HTTP_LINE_MAX)
		return bad(code, scan->blank ? HTTP_CODE_URI_TOO_LONG : HTTP_CODE_NOT_IMPLEMENTED);
	if (!in_first(scan) && scan->n - scan->begin - scan->first_n > HTTP_FIELD_MAX)
		return bad(code, HTTP_CODE_FIELDS_TOO_LARGE);
	if (c == '\n')
		return line_ended(scan, code);
	if (scan->cr || (c != '\r' && is_control(c)))
		return bad(code, HTTP_CODE_BAD_REQUEST);
	/* A folded line, or a space before the first field (RFC 9112 2.2, 5.2). */
	if (!in_first(scan) && line_octets(scan) == 1 && (c == ' ' || c == '\t'))
		return bad(code, HTTP_CODE_BAD_REQUEST);
	if (in_first(scan) && c == ' ')
		scan->blank = true;
	return HTTP_STEP_MORE;
}

enum http_step http_scan(struct http_scan *scan, struct span *in, enum http_code *code)
{
	while (in->n > 0) {
		uint8_t c = span_take(in, 1).p[0];
		enum http_step step;

		scan->n++;
		step = octet(scan, c, code);
		scan->cr = c == '\r';
		if (step != HTTP_STEP_MORE)
			return step;
	}
	return HTTP_STEP_MORE;
}
