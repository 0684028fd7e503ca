/* SPDX-License-Identifier: MIT */
/* report.c -- the log line of a connection, see postern(8), and the counts by status. */
#include "web/web-private.h"

#include "base/clock.h"
#include "base/event.h"

static const char *const end_names[WEB_END_COUNT] = {
	[WEB_END_NONE] = "none",
	[WEB_END_CLOSED] = "closed",
	[WEB_END_DONE] = "done",
	[WEB_END_REQUESTS] = "requests_max",
	[WEB_END_REFUSED] = "refused",
	[WEB_END_IDLE] = "idle",
	[WEB_END_TIMEOUT_HANDSHAKE] = "timeout_handshake",
	[WEB_END_TIMEOUT_REQUEST] = "timeout_request",
	[WEB_END_TIMEOUT_ANSWER] = "timeout_answer",
	[WEB_END_TLS_FAILED] = "tls_failed",
	[WEB_END_TLS_RECORD] = "tls_record",
	[WEB_END_FENCE] = "fence",
	[WEB_END_FULL] = "full",
	[WEB_END_IO] = "io_error",
	[WEB_END_MEMORY] = "memory",
	[WEB_END_SHUTDOWN] = "shutdown",
};

static const struct {
	enum http_code code;
	enum counter counter;
} counters[] = {
	{HTTP_CODE_OK, COUNTER_WEB_OK},
	{HTTP_CODE_BAD_REQUEST, COUNTER_WEB_BAD_REQUEST},
	{HTTP_CODE_NOT_FOUND, COUNTER_WEB_NOT_FOUND},
	{HTTP_CODE_METHOD_NOT_ALLOWED, COUNTER_WEB_METHOD},
	{HTTP_CODE_REQUEST_TIMEOUT, COUNTER_WEB_TIMEOUT},
	{HTTP_CODE_MISDIRECTED, COUNTER_WEB_MISDIRECTED},
};

void web_count(enum http_code code)
{
	for (size_t i = 0; i < COUNT_OF(counters); i++) {
		if (counters[i].code == code) {
			count(counters[i].counter);
			return;
		}
	}
	count(COUNTER_WEB_OTHER);
}

void web_report(const struct web_conn *conn)
{
	const struct tls_info *tls = conn->tls_up ? tls_conn_info(conn->tls) : NULL;
	struct event event;

	event_open(&event, EVENT_NO_COUNT, "web");
	event_str(&event, "peer", conn->peer);
	event_str(&event, "listener", conn->listener->title);
	event_str(&event, "tls", tls ? tls->version : "none");
	event_str(&event, "cipher", tls ? tls->cipher : "-");
	event_str(&event, "sni", tls && tls->sni[0] != '\0' ? tls->sni : "-");
	if (conn->tls_failed && tls_conn_failure_text(conn->tls)[0] != '\0')
		event_str(&event, "tls_error", tls_conn_failure_text(conn->tls));
	event_u64(&event, "requests", conn->requests);
	event_u64(&event, "served", conn->served);
	event_u64(&event, "refused", conn->refused);
	if (conn->requests > 0)
		event_u64(&event, "last_status", (uint64_t)conn->last);
	event_u64(&event, "bytes_in", conn->bytes_in);
	event_u64(&event, "bytes_out", conn->bytes_out);
	event_u64(&event, "duration_ms", clock_ms() - conn->started_ms);
	event_str(&event, "end", end_names[conn->end]);
	event_close(&event);
}
