/* SPDX-License-Identifier: MIT */
/* watched.c -- what the watch over senders hears of a session: a message, and how its TLS went. */
#include "session/session-private.h"

#include "base/counter.h"
#include "base/event.h"
#include "base/network.h"

#define DOMAINS_MAX 8 /* different ones of a message that are told of */

/* Alerts by which a peer says that our certificate will not do (RFC 8446 6.2), as tls/ names them. */
static bool is_about_certificate(const char *alert)
{
	static const char *const alerts[] = {"bad_certificate", "unsupported_certificate",
		"certificate_revoked", "certificate_expired", "certificate_unknown", "unknown_ca",
		"bad_certificate_status_response"};

	for (size_t i = 0; i < COUNT_OF(alerts); i++) {
		if (strcmp(alert, alerts[i]) == 0)
			return true;
	}
	return false;
}

static enum watch_failure failure_of(const struct session *session)
{
	if (session->end == SESSION_END_TIMEOUT_HANDSHAKE)
		return WATCH_TIMEOUT;
	switch (tls_conn_failure(session->tls)) {
	case TLS_FAILURE_NONE:
		return WATCH_CLOSED; /* it went away, or the connection broke */
	case TLS_FAILURE_VERSION:
		return WATCH_VERSION;
	case TLS_FAILURE_CIPHER:
		return WATCH_CIPHER;
	case TLS_FAILURE_ALERT:
		return is_about_certificate(tls_conn_alert(session->tls)) ? WATCH_CERTIFICATE
									  : WATCH_ALERT;
	default:
		return WATCH_OTHER;
	}
}

void session_watch_end(const struct session *session)
{
	struct watch *watch = session->worker->facts.watch;
	const struct tls_info *info = session->tls != NULL ? tls_conn_info(session->tls) : NULL;

	if (watch == NULL || session->tls == NULL)
		return;
	if (session->tls_up) {
		watch_handshake_done(watch, info->sni);
		if (info->sni_stranger)
			watch_handshake_failed(watch, session->peer.address, info->sni, WATCH_SNI);
		return;
	}
	if (session->end != SESSION_END_TLS_FAILED && session->end != SESSION_END_TIMEOUT_HANDSHAKE)
		return;
	watch_handshake_failed(
		watch, session->peer.address, info != NULL ? info->sni : "", failure_of(session));
}

static void tell_recipients(struct watch *watch, const struct smtp_envelope *envelope, bool tls)
{
	struct span told[DOMAINS_MAX];
	size_t n = 0;

	for (const struct list *node = envelope->recipients.next;
		node != &envelope->recipients && n < DOMAINS_MAX; node = node->next) {
		struct span domain =
			container_of(node, struct smtp_recipient, node)->address.domain;
		size_t i = 0;

		while (i < n && !span_equal(told[i], domain))
			i++;
		if (i < n)
			continue;
		told[n++] = domain;
		watch_recipient(watch, domain, tls);
	}
}

void session_watch_message(const struct session *session)
{
	struct watch *watch = session->worker->facts.watch;
	const struct smtp_envelope *envelope = &session->smtp.envelope;
	struct event event;

	if (watch == NULL)
		return;
	tell_recipients(watch, envelope, session->tls_up);
	if (!watch_message(
		    watch, session->peer.address, envelope->reverse_path.domain, session->tls_up))
		return;
	event_open(&event, COUNTER_WATCH_DOWNGRADES, "tls_downgrade");
	event_str(&event, "peer", session->peer_address);
	event_span(&event, "sender", envelope->reverse_path.domain);
	event_close(&event);
}
