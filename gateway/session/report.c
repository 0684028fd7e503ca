/* SPDX-License-Identifier: MIT */
/* report.c -- the two log lines of a session, see postern(8): one at its end, one a message. */
#include "session/session-private.h"

#include <netinet/in.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/network.h"

#define REPORT_RCPTS_MAX 20 /* recipients named in a line; all are counted */

static const char *const end_names[SESSION_END_COUNT] = {
	[SESSION_END_NONE] = "none",
	[SESSION_END_QUIT] = "quit",
	[SESSION_END_EOF] = "eof",
	[SESSION_END_ERRORS] = "too_many_errors",
	[SESSION_END_HTTP] = "http",
	[SESSION_END_CLIENT_HELLO] = "client_hello",
	[SESSION_END_POLICY] = "policy",
	[SESSION_END_MESSAGES] = "messages_max",
	[SESSION_END_REFUSED] = "refused",
	[SESSION_END_FENCE] = "fence",
	[SESSION_END_EARLY_TALKER] = "early_talker",
	[SESSION_END_INJECTION] = "starttls_injection",
	[SESSION_END_TLS_FAILED] = "tls_failed",
	[SESSION_END_TLS_RECORD] = "tls_record",
	[SESSION_END_TLS_TRUNCATED] = "tls_truncated",
	[SESSION_END_KEYUPDATE] = "keyupdate_refused",
	[SESSION_END_TIMEOUT_COMMAND] = "timeout_command",
	[SESSION_END_TIMEOUT_DATA] = "timeout_data",
	[SESSION_END_TIMEOUT_SESSION] = "timeout_session",
	[SESSION_END_TIMEOUT_HANDSHAKE] = "timeout_handshake",
	[SESSION_END_TOO_SLOW] = "too_slow",
	[SESSION_END_IO] = "io_error",
	[SESSION_END_MEMORY] = "memory",
	[SESSION_END_SHUTDOWN] = "shutdown",
};

static void put_end(struct event *event, const char *key, const struct network_end *end)
{
	char address[NETWORK_TEXT_MAX];
	char text[NETWORK_TEXT_MAX + 16];

	(void)network_end_text(end, address);
	snprintf(text, sizeof(text), strchr(address, ':') != NULL ? "[%s]:%u" : "%s:%u", address,
		end->port);
	event_str(event, key, text);
}

/* Who connected, where that is not the peer: a balancer, or who said XCLIENT. */
static void put_peer(struct event *event, const struct session *session)
{
	put_end(event, "peer", &session->peer);
	if (session->way.behind)
		put_end(event, "via", &session->way.via);
	else if (!network_end_equal(&session->own, &session->peer))
		put_end(event, "via", &session->own);
}

static void put_id(struct event *event, const char *key, const struct session *session)
{
	uint8_t text[32];
	struct buf id;

	buf_init(&id, text, sizeof(text));
	if (buf_put_u64(&id, session->worker->facts.worker, 1) && buf_puts(&id, "-") &&
		buf_put_u64(&id, session->id, 1))
		event_span(event, key, buf_span(&id));
}

/* Why there was no TLS though it was begun. */
static void put_tls_failed(struct event *event, const struct session *session)
{
	const char *alert, *text;

	if (session->end == SESSION_END_TIMEOUT_HANDSHAKE) {
		event_str(event, "tls_failed", "timeout");
		return;
	}
	if (session->tls_failed == NULL)
		return;
	event_str(event, "tls_failed", session->tls_failed);
	alert = tls_conn_alert(session->tls);
	text = tls_conn_failure_text(session->tls);
	if (alert[0] != '\0')
		event_str(event, "tls_alert", alert);
	else if (text[0] != '\0')
		event_str(event, "tls_error", text);
}

static void put_tls(struct event *event, const struct session *session)
{
	static const char *const planted[] = {"none", "tx", "rx", "rx+tx"};
	const struct tls_info *tls = session->tls_up ? tls_conn_info(session->tls) : NULL;

	event_str(event, "tls", tls ? tls->version : "none");
	event_str(event, "cipher", tls ? tls->cipher : "-");
	event_str(event, "group", tls && tls->group ? tls->group : "-");
	event_str(event, "resumed", tls && tls->resumed ? "yes" : "no");
	event_str(event, "ktls", planted[session->planted & 3]);
	put_tls_failed(event, session);
	if (tls != NULL && tls->sni[0] != '\0')
		event_str(event, "sni", tls->sni);
	if (tls != NULL && tls->client[0] != '\0')
		event_str(event, "client", tls->client);
}

void session_report(const struct session *session)
{
	struct event event;

	event_open(&event, EVENT_NO_COUNT, "session");
	put_id(&event, "id", session);
	put_peer(&event, session);
	event_str(&event, "listener", session->listener->title);
	event_span(&event, "helo", session->smtp.helo.n > 0 ? session->smtp.helo : span_str("-"));
	put_tls(&event, session);
	event_u64(&event, "messages", session->smtp.messages);
	event_u64(&event, "recipients", session->smtp.recipients_seen);
	event_u64(&event, "bytes_in", session->bytes_in);
	event_u64(&event, "bytes_out", session->bytes_out);
	event_u64(&event, "errors", session->smtp.errors);
	event_u64(&event, "duration_ms", clock_ms() - session->started_ms);
	event_str(&event, "end", end_names[session->end]);
	event_close(&event);
}

/* "<a@b>,<c@d>" of the first recipients. */
static void put_rcpts(struct event *event, const struct smtp_envelope *envelope)
{
	char text[EVENT_LINE_MAX / 2];
	const struct list *node = envelope->recipients.next;
	struct buf buf;

	buf_init(&buf, text, sizeof(text));
	for (unsigned i = 0; node != &envelope->recipients && i < REPORT_RCPTS_MAX; i++) {
		const struct smtp_recipient *recipient =
			container_of(node, struct smtp_recipient, node);

		if (!buf_puts(&buf, i > 0 ? ",<" : "<") ||
			!buf_put(&buf, recipient->address.text) || !buf_puts(&buf, ">"))
			break;
		node = node->next;
	}
	event_span(event, "rcpts", buf_span(&buf));
	event_u64(event, "nrcpt", envelope->recipients_n);
}

static void put_from(struct event *event, const struct smtp_envelope *envelope)
{
	char text[512];
	struct buf buf;

	buf_init(&buf, text, sizeof(text));
	if (buf_puts(&buf, "<") && buf_put(&buf, envelope->reverse_path.text))
		(void)!buf_puts(&buf, ">");
	event_span(event, "from", buf_span(&buf));
}

static enum counter result_counter(const char *result)
{
	switch (result[0]) {
	case 'q': /* queued */
	case 'd': /* delivered: cut through */
		return COUNTER_MESSAGES_ACCEPTED;
	case 'r': /* refused */
		return COUNTER_MESSAGES_REFUSED;
	case 'f': /* failed */
		return COUNTER_MESSAGES_FAILED;
	default: /* aborted */
		return COUNTER_MESSAGES_ABORTED;
	}
}

void session_report_message(const struct session *session, const char *result, unsigned reply)
{
	const struct smtp_envelope *envelope = &session->smtp.envelope;
	struct event event;

	event_open(&event, result_counter(result), "message");
	put_id(&event, "session", session);
	event_str(&event, "queue_id", session->queue_id);
	put_from(&event, envelope);
	put_rcpts(&event, envelope);
	event_u64(&event, "size", session->smtp.body_bytes);
	event_str(&event, "result", result);
	if (reply != 0)
		event_u64(&event, "reply", reply);
	event_close(&event);
}
