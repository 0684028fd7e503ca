/* SPDX-License-Identifier: MIT */
/*
 * handshake.c -- STARTTLS or implicit TLS, up to keys in the kernel.
 *
 *	UPGRADE		the 220 is flushed and the multishot receive has had its last completion; any
 *			octet held by then was sent before the handshake: the session is closed and
 *			the octets are never looked at (RFC 3207 6)
 *	HANDSHAKE	exact receives; the flight goes out while the next receive waits
 *	PLANT		under ktls = always, what the kernel is to have (tls_conn_ktls_wanted) goes there
 *			once everything is flushed, and no receive is armed; else the record layer stays
 *			here, and nothing is waited for
 *
 * Under ktls = auto the kernel gets its keys when a long message comes (handover.c).
 */
#include "session/session-private.h"

#include "base/counter.h"

enum session_step session_upgrade_step(struct session *session)
{
	bool stopped = session_receive_stopped(session);

	if (session->held != NULL || session->in.n > 0) {
		event_text(COUNTER_STARTTLS_INJECTION, "starttls_injection", "peer",
			session->peer_address);
		session_input_drop(session);
		session_kill(session, SESSION_END_INJECTION);
		return SESSION_STEP_AGAIN;
	}
	if (session->eof || session->recv_error != 0) {
		session_kill(session, SESSION_END_EOF);
		return SESSION_STEP_AGAIN;
	}
	if (!stopped || !session_flushed(session))
		return SESSION_STEP_WAIT;
	session_stage_set(session, SESSION_STAGE_HANDSHAKE);
	return SESSION_STEP_AGAIN;
}

static bool handshake_open(struct session *session)
{
	struct session_worker *worker = session->worker;
	void *storage = pool_get(&worker->large);

	if (storage == NULL)
		return false;
	buf_init(&session->shake, storage, SESSION_LARGE_BYTES);
	session->tls =
		tls_conn_open(worker->tls, worker->facts.kernel, worker->facts.config->tls.ktls);
	return session->tls != NULL;
}

static void handshake_failed(struct session *session)
{
	static const struct {
		const char *word;
		enum counter counter;
	} rows[] = {
		[TLS_FAILURE_NONE] = {"other", COUNTER_TLS_FAILED_OTHER},
		[TLS_FAILURE_VERSION] = {"version", COUNTER_TLS_FAILED_VERSION},
		[TLS_FAILURE_CIPHER] = {"cipher", COUNTER_TLS_FAILED_CIPHER},
		[TLS_FAILURE_ALERT] = {"alert", COUNTER_TLS_FAILED_ALERT},
		[TLS_FAILURE_GARBAGE] = {"garbage", COUNTER_TLS_FAILED_GARBAGE},
		[TLS_FAILURE_CERTIFICATE] = {"other", COUNTER_TLS_FAILED_OTHER},
		[TLS_FAILURE_OTHER] = {"other", COUNTER_TLS_FAILED_OTHER},
	};
	enum tls_failure failure = tls_conn_failure(session->tls);

	count(rows[failure].counter);
	session->tls_failed = rows[failure].word;
	session->disagreed = failure == TLS_FAILURE_VERSION || failure == TLS_FAILURE_CIPHER;
	session_finish(session, SESSION_END_TLS_FAILED);
}

void session_handshake_done_recv(struct session *session, int res)
{
	if (res > 0) {
		session->shake.end += (uint32_t)res;
		session->bytes_in += (uint32_t)res;
		count_add(COUNTER_BYTES_RECEIVED, res);
		session_guard_received(session, (size_t)res);
	} else if (res == 0) {
		session->eof = true;
	} else {
		session->recv_error = res;
	}
}

/* The record layer is told about what came; its answer goes to `wire`. */
static enum session_step handshake_feed(struct session *session)
{
	struct span in = buf_span(&session->shake);
	enum tls_step step;

	if (!session_wire_large(session)) {
		session_kill(session, SESSION_END_MEMORY);
		return SESSION_STEP_AGAIN;
	}
	step = tls_conn_handshake(session->tls, &in, &session->wire);
	buf_clear(&session->shake);
	switch (step) {
	case TLS_STEP_MORE:
		return SESSION_STEP_AGAIN;
	case TLS_STEP_DONE:
		session->tls_up = true;
		session_guard_shaken(session, true);
		count(COUNTER_TLS_HANDSHAKES);
		if (tls_conn_info(session->tls)->resumed)
			count(COUNTER_TLS_RESUMED);
		pool_put(&session->worker->large, session->shake.p);
		session->shake.p = NULL;
		session_stage_set(session, SESSION_STAGE_PLANT);
		return SESSION_STEP_AGAIN;
	case TLS_STEP_FAIL:
		handshake_failed(session);
		return SESSION_STEP_AGAIN;
	}
	return SESSION_STEP_WAIT;
}

enum session_step session_handshake_step(struct session *session)
{
	if (session->recv.armed)
		return SESSION_STEP_WAIT;
	if (session->tls == NULL && !handshake_open(session)) {
		session_kill(session, SESSION_END_MEMORY);
		return SESSION_STEP_AGAIN;
	}
	if (session->eof || session->recv_error != 0) {
		count(COUNTER_TLS_FAILED_CLOSED);
		session->tls_failed = "closed";
		session_kill(session, SESSION_END_TLS_FAILED);
		return SESSION_STEP_AGAIN;
	}
	if (buf_len(&session->shake) > 0)
		return handshake_feed(session);
	session_receive_exact(session, min_size(tls_conn_want(session->tls), TLS_RECORD_MAX));
	return SESSION_STEP_WAIT;
}

bool session_plant(struct session *session, unsigned wanted)
{
	int planted;

	planted = tls_conn_plant(session->tls, session->fd, wanted);
	if (planted < 0) {
		count(COUNTER_KTLS_FAILED);
		return false;
	}
	session->planted = (unsigned)planted;
	if (planted == 0)
		count(COUNTER_KTLS_FALLBACK);
	if (planted & TLS_KTLS_TX)
		count(COUNTER_KTLS_TX);
	if (planted & TLS_KTLS_RX)
		count(COUNTER_KTLS_RX);
	return true;
}

/* What was said in clear is forgotten, by XCLIENT, too: who connected is the peer again. */
static void upgraded(struct session *session)
{
	struct smtp_verdict verdict;
	char text[SESSION_GUARD_TEXT];

	smtp_upgraded(&session->smtp);
	if (!network_end_equal(&session->own, &session->peer) &&
		!session_guard_become(session, &session->own, !session->way.behind, &verdict, text))
		session_kill(session, SESSION_END_FENCE);
}

enum session_step session_plant_step(struct session *session)
{
	unsigned wanted = 0;

	if (session->worker->facts.config->tls.ktls == KTLS_MODE_ALWAYS)
		wanted = tls_conn_ktls_wanted(session->tls);
	ASSERT(!session->recv.armed && session->held == NULL);
	if (wanted != 0 && !session_flushed(session))
		return SESSION_STEP_WAIT;
	if (wanted != 0 && !session_plant(session, wanted)) {
		session_kill(session, SESSION_END_TLS_RECORD);
		return SESSION_STEP_AGAIN;
	}
	session->recv_stop = false;
	session_stage_set(session, SESSION_STAGE_SMTP);
	if (session->listener->tls != LISTENER_TLS_IMPLICIT)
		upgraded(session);
	else if (session_out_ready(session))
		smtp_greet(&session->smtp, &session->out);
	else
		session_kill(session, SESSION_END_MEMORY);
	return SESSION_STEP_AGAIN;
}
