/* SPDX-License-Identifier: MIT */
/*
 * answer.c -- from plaintext to a request, from a request to its answer, sealed piece by piece.
 *
 * A policy's text is borrowed from the table that the request met, which is held until the last octet
 * of it is sealed: a reload does not change an answer under way.
 *
 * The connection's name and the request's must be one (RFC 9110 7.4): a certificate that was checked for
 * one domain must not vouch for the policy of another. Where the client sent no name (SNI), Host alone
 * decides; an HTTP/1.0 client without Host means the connection's name.
 */
#include "web/web-private.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/counter.h"

#define TEXT_MAX 48 /* "431 Request Header Fields Too Large\n" */

_Static_assert(TEXT_MAX <= WEB_ANSWER_BYTES - HTTP_ANSWER_MAX, "a text fits behind its head");

/* ---- the answer ---- */

/* Head, and a text where `body` is empty and one is due. */
static void answer_begin(
	struct web_conn *conn, enum http_code code, enum http_verb verb, struct span body)
{
	char text[TEXT_MAX] = "";
	struct http_answer answer = {
		.code = code,
		.keep_alive = conn->keep_alive,
		.now_s = clock_real_us() / 1000000,
		.media_type = STS_POLICY_MEDIA_TYPE,
		.cache_control = "no-store",
		.content_n = body.n,
	};

	if (body.n == 0) {
		snprintf(text, sizeof(text), "%d %s\n", code, http_reason(code));
		answer.content_n = strlen(text);
	}
	buf_clear(&conn->answer);
	if (!http_answer_write(&answer, &conn->answer) ||
		(verb == HTTP_VERB_GET && !buf_puts(&conn->answer, text)))
		ASSERT(false);
	conn->body = verb == HTTP_VERB_GET ? body : (struct span){0};
	conn->last = code;
	web_count(code);
	if (code == HTTP_CODE_OK)
		conn->served++;
	else
		conn->refused++;
	web_stage_set(conn, WEB_STAGE_ANSWER);
}

/* ---- the request ---- */

static bool same(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* What the request is for; *policy where it is a policy. */
static enum http_code resource_find(
	struct web_conn *conn, const struct http_request *request, const struct web_policy **policy)
{
	const char *sni = tls_conn_info(conn->tls)->sni;
	const char *host = request->host[0] != '\0' ? request->host : sni;
	size_t prefix_n = strlen(STS_POLICY_HOST_PREFIX);

	*policy = NULL;
	if (request->plain || (sni[0] != '\0' && !same(host, sni)))
		return HTTP_CODE_MISDIRECTED;
	if (span_equal(request->path, span_str(STS_POLICY_PATH)) &&
		strncmp(host, STS_POLICY_HOST_PREFIX, prefix_n) == 0)
		*policy = web_policies_find(conn->worker->policies, host + prefix_n);
	return *policy != NULL ? HTTP_CODE_OK : HTTP_CODE_NOT_FOUND;
}

/* Whether another request may come. */
static bool goes_on(struct web_conn *conn, const struct http_request *request)
{
	if (conn->requests >= WEB_REQUESTS_MAX) {
		count(COUNTER_WEB_LIMIT_REQUESTS);
		conn->end = WEB_END_REQUESTS;
		return false;
	}
	return request->keep_alive && !conn->worker->draining;
}

static void request_whole(struct web_conn *conn)
{
	struct span head = span_of(conn->head.p + conn->head.start, conn->scan.n);
	const struct web_policy *policy = NULL;
	struct http_request request;
	enum http_code code = http_request_read(head, &request);

	conn->requests++;
	if (code == HTTP_CODE_OK)
		code = resource_find(conn, &request, &policy);
	conn->keep_alive = goes_on(conn, &request);
	if (policy != NULL)
		conn->holding = web_policies_hold(conn->worker->policies);
	answer_begin(conn, code, request.verb, policy != NULL ? policy->text : (struct span){0});
	buf_drop(&conn->head, conn->scan.n);
}

/* Nothing that follows can be understood. */
static void request_refuse(struct web_conn *conn, enum http_code code)
{
	conn->requests++;
	conn->keep_alive = false;
	answer_begin(conn, code, HTTP_VERB_GET, (struct span){0});
}

/* More plaintext into `head`; a head that is too long was refused before there is no room. */
static enum web_step plain_take(struct web_conn *conn)
{
	struct span in = buf_span(&conn->in);
	enum tls_io io;
	size_t n;

	if (conn->head.start > 0) {
		memmove(conn->head.p, conn->head.p + conn->head.start, buf_len(&conn->head));
		conn->head.end -= conn->head.start;
		conn->head.start = 0;
	}
	io = tls_conn_read(conn->tls, &in, conn->head.p + conn->head.end, buf_room(&conn->head), &n,
		&conn->wire);
	buf_drop(&conn->in, buf_len(&conn->in) - in.n);
	switch (io) {
	case TLS_IO_OK:
		conn->head.end += (uint32_t)n;
		return WEB_STEP_AGAIN;
	case TLS_IO_MORE:
		buf_clear(&conn->in);
		if (buf_len(&conn->wire) > 0) /* a KeyUpdate is answered */
			return WEB_STEP_AGAIN;
		if (conn->eof || conn->io_error != 0) {
			web_kill(conn, conn->eof ? WEB_END_CLOSED : WEB_END_IO);
			return WEB_STEP_AGAIN;
		}
		web_receive(conn);
		return WEB_STEP_WAIT;
	case TLS_IO_EOF:
		web_finish(conn, WEB_END_CLOSED);
		return WEB_STEP_AGAIN;
	case TLS_IO_REFUSED:
	case TLS_IO_FAIL:
		web_finish(conn, WEB_END_TLS_RECORD);
		return WEB_STEP_AGAIN;
	}
	return WEB_STEP_WAIT;
}

enum web_step web_request_step(struct web_conn *conn)
{
	struct span fresh = buf_span(&conn->head);
	enum http_code code;
	enum http_step step;

	if (conn->late) {
		request_refuse(conn, HTTP_CODE_REQUEST_TIMEOUT);
		return WEB_STEP_AGAIN;
	}
	(void)span_take(&fresh, conn->scan.n);
	step = http_scan(&conn->scan, &fresh, &code);
	if (conn->request_ms == 0 && http_scan_begun(&conn->scan))
		conn->request_ms = web_now(conn);
	switch (step) {
	case HTTP_STEP_DONE:
		request_whole(conn);
		return WEB_STEP_AGAIN;
	case HTTP_STEP_BAD:
		request_refuse(conn, code);
		return WEB_STEP_AGAIN;
	case HTTP_STEP_MORE:
		return plain_take(conn);
	}
	return WEB_STEP_WAIT;
}

/* ---- sending it ---- */

static bool seal(struct web_conn *conn, struct span *plain)
{
	if (plain->n == 0)
		return true;
	return tls_conn_write(conn->tls, plain, &conn->wire) == TLS_IO_OK;
}

/* All of it is with the kernel. */
static void answered(struct web_conn *conn)
{
	web_policies_release(conn->holding);
	conn->holding = NULL;
	conn->scan = (struct http_scan){0};
	conn->request_ms = 0;
	if (conn->keep_alive && !conn->worker->draining)
		web_stage_set(conn, WEB_STAGE_REQUEST);
	else
		web_finish(conn, conn->late                   ? WEB_END_TIMEOUT_REQUEST
				 : conn->worker->draining     ? WEB_END_SHUTDOWN
				 : conn->last == HTTP_CODE_OK ? WEB_END_DONE
							      : WEB_END_REFUSED);
}

/* The wire is empty. */
enum web_step web_answer_step(struct web_conn *conn)
{
	struct span head = buf_span(&conn->answer);

	if (head.n == 0 && conn->body.n == 0) {
		answered(conn);
		return WEB_STEP_AGAIN;
	}
	if (!seal(conn, &head) || !seal(conn, &conn->body)) {
		web_kill(conn, WEB_END_TLS_RECORD);
		return WEB_STEP_AGAIN;
	}
	buf_drop(&conn->answer, buf_len(&conn->answer) - head.n);
	return WEB_STEP_AGAIN;
}
