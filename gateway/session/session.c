/* SPDX-License-Identifier: MIT */
/*
 * session.c -- the walk: stages, beginning and end of a session.
 *
 * session_step() is the only driver. Completions store what they brought and call it; it runs the
 * stage's function until that answers WAIT, then flushes, arms a receive and sets the timer. So
 * replies of one batch of input leave in one send, and no completion handler decides anything.
 *
 * A session is freed when its stage is END, none of its operations is armed and the spool owes it
 * no callback.
 */
#include "session/session-private.h"

#include <unistd.h>

#define STAGE(stage) (1u << SESSION_STAGE_##stage)

static const uint32_t stage_from[SESSION_STAGE_COUNT] = {
	[SESSION_STAGE_EARLY] = 0,
	[SESSION_STAGE_SMTP] = STAGE(EARLY) | STAGE(PLANT),
	[SESSION_STAGE_UPGRADE] = STAGE(SMTP),
	[SESSION_STAGE_HANDSHAKE] = STAGE(EARLY) | STAGE(UPGRADE),
	[SESSION_STAGE_PLANT] = STAGE(HANDSHAKE),
	[SESSION_STAGE_LAST] = STAGE(EARLY) | STAGE(SMTP) | STAGE(UPGRADE) | STAGE(HANDSHAKE),
	[SESSION_STAGE_LINGER] = STAGE(LAST),
	[SESSION_STAGE_END] = STAGE(EARLY) | STAGE(SMTP) | STAGE(UPGRADE) | STAGE(HANDSHAKE) |
			      STAGE(PLANT) | STAGE(LAST) | STAGE(LINGER),
};

void session_stage_set(struct session *session, enum session_stage stage)
{
	ASSERT(stage_from[stage] & 1u << session->stage);
	session->stage = stage;
	session->stage_ms = session_now(session);
	if (stage > SESSION_STAGE_SMTP)
		session->pause_until_ms = 0;
}

uint64_t session_now(const struct session *session)
{
	return ring_now_ms(session->worker->facts.ring);
}

/* ---- the end ---- */

void session_finish(struct session *session, enum session_end end)
{
	if (session->stage >= SESSION_STAGE_LAST)
		return;
	if (session->end == SESSION_END_NONE)
		session->end = end;
	if (session->stage == SESSION_STAGE_PLANT) {
		session_kill(session, end);
		return;
	}
	session_guard_shaken(session, false);
	session_question_drop(session);
	session_message_drop(session);
	session_stage_set(session, SESSION_STAGE_LAST);
}

void session_kill(struct session *session, enum session_end end)
{
	if (session->stage == SESSION_STAGE_END)
		return;
	if (session->end == SESSION_END_NONE)
		session->end = end;
	session_guard_shaken(session, false);
	session_question_drop(session);
	session_message_drop(session);
	session_stage_set(session, SESSION_STAGE_END);
}

/* The last reply, then close_notify, then our side shut; the peer's close is waited for unless it
 * said QUIT or we have nothing that a reset could destroy. */
static enum session_step last_step(struct session *session)
{
	bool linger = session->end != SESSION_END_QUIT && !session->eof;

	session_input_drop(session); /* nothing that still comes is looked at */
	if (session->wait != SESSION_WAIT_NONE)
		return SESSION_STEP_WAIT;
	if (!session_flushed(session))
		return SESSION_STEP_WAIT;
	if (!linger || session->recv_error != 0) {
		session_kill(session, session->end);
		return SESSION_STEP_AGAIN;
	}
	shutdown(session->fd, SHUT_WR);
	session->recv_stop = false;
	session->linger_bytes = session->bytes_in + SESSION_LINGER_BYTES;
	session_stage_set(session, SESSION_STAGE_LINGER);
	return SESSION_STEP_AGAIN;
}

static enum session_step linger_step(struct session *session)
{
	session_input_drop(session);
	if (session->eof || session->recv_error != 0 || session->bytes_in > session->linger_bytes) {
		session_kill(session, session->end);
		return SESSION_STEP_AGAIN;
	}
	return SESSION_STEP_WAIT;
}

static void session_free(struct session *session)
{
	struct session_worker *worker = session->worker;

	session_watch_end(session);
	if (!session->quiet)
		session_report(session);
	count_add(COUNTER_SESSIONS_ACTIVE, -1);
	wheel_clear(ring_wheel(worker->facts.ring), &session->timer);
	session_input_drop(session);
	session_output_drop(session);
	if (session->shake.p != NULL)
		pool_put(&worker->large, session->shake.p);
	if (session->tls != NULL)
		tls_conn_close(session->tls);
	smtp_close(&session->smtp);
	session_guard_leave(session);
	if (session->admitted)
		session_guard_door_leave(session);
	else
		worker->refused--;
	close(session->fd);
	list_remove(&session->node);
	wipe(&session->smtp, sizeof(session->smtp));
	pool_put(&worker->sessions, session);
	if (worker->on_end != NULL)
		worker->on_end(worker->on_end_ctx);
}

/* True when the session was freed. */
static bool end_step(struct session *session)
{
	bool stopped = session_receive_stopped(session);

	session_input_drop(session);
	if (session->send.armed) {
		/* A send that the peer does not take would keep us: cut the connection under it. */
		shutdown(session->fd, SHUT_RDWR);
		return false;
	}
	if (!stopped || session->cancel.armed || session->wait != SESSION_WAIT_NONE)
		return false;
	session_free(session);
	return true;
}

/* ---- the walk ---- */

/* The banner is due, or the handshake of an implicit TLS listener. */
static enum session_step early_step(struct session *session)
{
	const struct session_settings *settings = &session->worker->facts.config->session;
	uint32_t delay = settings->banner_delay_ms;

	if (session->listener->tls == LISTENER_TLS_IMPLICIT) {
		struct smtp_verdict verdict;
		char text[SESSION_GUARD_TEXT];

		if (session_guard_shake(
			    session, &verdict, text)) /* nothing can be said before TLS */
			session_stage_set(session, SESSION_STAGE_HANDSHAKE);
		else
			session_kill(session, SESSION_END_FENCE);
		return SESSION_STEP_AGAIN;
	}
	if (settings->early_talker_reject && delay == 0)
		delay = 1;
	session_receive(session);
	if (session->early_talker) {
		if (settings->early_talker_reject) {
			static const struct smtp_verdict early = {SMTP_VERDICT_CLOSE, 554, "5.5.0",
				"Protocol error: you spoke before the greeting"};

			if (session_out_ready(session))
				smtp_reply_final(&session->smtp, &session->out, &early);
			session_finish(session, SESSION_END_EARLY_TALKER);
			return SESSION_STEP_AGAIN;
		}
	} else if (session_now(session) < session->started_ms + delay && !session->eof) {
		return SESSION_STEP_WAIT;
	}
	if (!session_out_ready(session)) {
		session_kill(session, SESSION_END_MEMORY);
		return SESSION_STEP_AGAIN;
	}
	smtp_greet(&session->smtp, &session->out);
	session_stage_set(session, SESSION_STAGE_SMTP);
	return SESSION_STEP_AGAIN;
}

static enum session_step end_stage_step(struct session *session)
{
	(void)session;
	return SESSION_STEP_WAIT;
}

static enum session_step (*const stage_steps[SESSION_STAGE_COUNT])(struct session *session) = {
	[SESSION_STAGE_EARLY] = early_step,
	[SESSION_STAGE_SMTP] = session_dialog_step,
	[SESSION_STAGE_UPGRADE] = session_upgrade_step,
	[SESSION_STAGE_HANDSHAKE] = session_handshake_step,
	[SESSION_STAGE_PLANT] = session_plant_step,
	[SESSION_STAGE_LAST] = last_step,
	[SESSION_STAGE_LINGER] = linger_step,
	[SESSION_STAGE_END] = end_stage_step,
};

/* What stays held is copied out of the ring's buffers, which are everybody's: a next hop may think
 * for minutes. Not so where the spool has octets of them (`rest`), for as long as the disk takes. */
static void input_keep(struct session *session)
{
	if (session->rest.n > 0)
		return;
	if (session->wait != SESSION_WAIT_NONE)
		session_input_done(session);
	session_input_keep(session);
}

void session_step(struct session *session)
{
	if (session->stepping)
		return;
	session->stepping = true;
	while (stage_steps[session->stage](session) == SESSION_STEP_AGAIN)
		;
	session->stepping = false;
	session_flush(session);
	if (session->stage == SESSION_STAGE_END) { /* flushing may have led here, too */
		if (!end_step(session))
			session_limits_update(session);
		return;
	}
	input_keep(session);
	session_receive(session);
	session_limits_update(session);
}

/* ---- the beginning ---- */

void session_peer_set(struct session *session, const struct network_end *peer)
{
	char text[NETWORK_TEXT_MAX];
	size_t n = strlen(network_end_text(peer, text));

	ASSERT(n < SESSION_PEER_MAX);
	session->peer = *peer;
	memcpy(session->peer_address, text, n + 1);
}

static bool xclient_trusted(const struct session *session)
{
	const struct smtp_settings *smtp = &session->worker->facts.config->smtp;

	return network_list_has(smtp->xclient, smtp->xclient_n, session->own.address);
}

static struct session *session_new(struct session_worker *worker, int fd,
	const struct listener_settings *listener, const struct network_end *peer,
	const struct session_way *way)
{
	const struct smtp_settings *smtp = &worker->facts.config->smtp;
	struct session *session = pool_get(&worker->sessions);
	static const enum smtp_tls_offer offers[] = {
		[LISTENER_TLS_STARTTLS] = SMTP_TLS_OFFERED,
		[LISTENER_TLS_IMPLICIT] = SMTP_TLS_ACTIVE,
		[LISTENER_TLS_NONE] = SMTP_TLS_NONE,
	};

	if (session == NULL)
		return NULL;
	memset(session, 0, sizeof(*session));
	session->worker = worker;
	session->fd = fd;
	session->listener = listener;
	session->own = *peer;
	session->way = *way;
	session->local = way->local;
	session->id = ++worker->id_last;
	session_peer_set(session, peer);
	session_input_init(session);
	session_output_init(session);
	smtp_open(&session->smtp, smtp, &worker->smtp, offers[listener->tls]);
	session->smtp.xclient = xclient_trusted(session);
	session_dialog_init(session);
	session_limits_init(session);
	list_push_back(&worker->live, &session->node);
	count(COUNTER_SESSIONS);
	count(COUNTER_SESSIONS_ACTIVE);
	return session;
}

bool session_start(struct session_worker *worker, int fd, const struct listener_settings *listener,
	const struct network_end *peer, const struct fence_client *client,
	const struct session_way *way)
{
	struct session *session = session_new(worker, fd, listener, peer, way);

	if (session == NULL)
		return false;
	session->admitted = true;
	session->client = *client;
	session_step(session);
	return true;
}

bool session_refuse(struct session_worker *worker, int fd, const struct listener_settings *listener,
	const struct network_end *peer, const struct session_way *way,
	const struct smtp_verdict *verdict, bool quiet)
{
	struct session *session;

	if (worker->refused >= SESSION_REFUSED_MAX)
		return false;
	session = session_new(worker, fd, listener, peer, way);
	if (session == NULL)
		return false;
	session->quiet = quiet;
	worker->refused++;
	if (listener->tls == LISTENER_TLS_IMPLICIT || !session_out_ready(session)) {
		session_kill(session, SESSION_END_REFUSED);
	} else {
		smtp_reply_final(&session->smtp, &session->out, verdict);
		session_finish(session, SESSION_END_REFUSED);
	}
	session_step(session);
	return true;
}
