/* SPDX-License-Identifier: MIT */
/*
 * http_request.c -- any octets as what an HTTPS client says.
 *
 * Shows: the scan keeps within its limits and says the same however its input is cut; a head that it
 * found whole is read within its octets and to the same result twice; what is read is what the
 * header promises: a path that begins with a slash, a host of visible octets in lower case.
 */
#include <ctype.h>
#include <stdlib.h>

#include "http/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static enum http_step scan(
	struct span in, size_t step_max, struct http_scan *state, enum http_code *code)
{
	enum http_step step = HTTP_STEP_MORE;

	*state = (struct http_scan){0};
	*code = HTTP_CODE_OK;
	while (in.n > 0 && step == HTTP_STEP_MORE) {
		struct span piece = span_take(&in, step_max);

		step = http_scan(state, &piece, code);
		ASSERT(step != HTTP_STEP_MORE || piece.n == 0);
		ASSERT(state->n <= HTTP_HEAD_MAX + 1);
	}
	return step;
}

static void request_check(const struct http_request *request, struct span head)
{
	ASSERT(request->path.n > 0 && request->path.p[0] == '/');
	ASSERT(request->path.n == 1 ||
		(request->path.p >= head.p &&
			request->path.p + request->path.n <= head.p + head.n));
	ASSERT(request->host[0] != '\0' || request->minor == 0);
	for (const char *c = request->host; *c != '\0'; c++)
		ASSERT(*c > ' ' && *c < 0x7f && !isupper((unsigned char)*c) && *c != '/' &&
			*c != '@');
	ASSERT(request->verb == HTTP_VERB_GET || request->verb == HTTP_VERB_HEAD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct http_scan whole, cut;
	enum http_code code, cut_code, again_code;
	struct http_request request, again;
	enum http_step step = scan(span_of(data, n), SIZE_MAX, &whole, &code);
	uint8_t *copy;

	ASSERT(scan(span_of(data, n), 1, &cut, &cut_code) == step);
	ASSERT(whole.n == cut.n && code == cut_code);
	if (step == HTTP_STEP_BAD)
		ASSERT(http_reason(code)[0] != '\0' && code != HTTP_CODE_OK);
	if (step != HTTP_STEP_DONE)
		return 0;
	copy = malloc(whole.n);
	memcpy(copy, data, whole.n);
	code = http_request_read(span_of(copy, whole.n), &request);
	ASSERT(http_reason(code)[0] != '\0');
	if (code == HTTP_CODE_OK)
		request_check(&request, span_of(copy, whole.n));
	again_code = http_request_read(span_of(copy, whole.n), &again);
	ASSERT(again_code == code && again.verb == request.verb &&
		again.keep_alive == request.keep_alive && strcmp(again.host, request.host) == 0);
	free(copy);
	return 0;
}
