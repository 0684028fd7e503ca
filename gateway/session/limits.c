/* SPDX-License-Identifier: MIT */
/*
 * limits.c -- the time limits of a session (RFC 5321 4.5.3.2), with one timer.
 *
 * The timer is set for the nearest limit. A limit that moves away does not move the timer: it
 * fires, finds nothing due and is set again, so octets that arrive cost no timer work.
 *
 * A slow client cannot live on single octets: the command limit runs from the last whole command, a
 * message must arrive at rate_bytes_min on average over each window (counted in clear: a record of
 * one octet is one octet), the session has a limit of its own.
 */
#include "session/session-private.h"

#include "base/counter.h"

#define LAST_MS 30000 /* for a peer to take our last reply */

struct limit {
	uint64_t at_ms; /* 0: none */
	enum session_end end;
	enum counter counter;
};

#define LIMITS_MAX 4

static const struct session_settings *settings_of(const struct session *session)
{
	return &session->worker->facts.config->session;
}

/* The limits of the dialogue: while the disk or a next hop is at work only they are waited for. */
static size_t dialog_limits(const struct session *session, struct limit limits[LIMITS_MAX])
{
	const struct session_settings *settings = settings_of(session);
	size_t n = 0;

	if (session->wait == SESSION_WAIT_COMMIT || session->wait == SESSION_WAIT_SPOOL ||
		session->wait == SESSION_WAIT_POLICY)
		return 0;
	limits[n++] = (struct limit){session->started_ms + settings->session_ms_max,
		SESSION_END_TIMEOUT_SESSION, COUNTER_TIMEOUT_SESSION};
	if (session->pause_until_ms > session_now(session)) { /* our pause, not the client's */
		limits[n++] =
			(struct limit){session->pause_until_ms, SESSION_END_NONE, COUNTER_COUNT};
		return n;
	}
	if (!smtp_in_body(&session->smtp)) {
		limits[n++] = (struct limit){session->stage_ms + settings->command_ms_max,
			SESSION_END_TIMEOUT_COMMAND, COUNTER_TIMEOUT_COMMAND};
		return n;
	}
	limits[n++] = (struct limit){session->active_ms + settings->data_ms_max,
		SESSION_END_TIMEOUT_DATA, COUNTER_TIMEOUT_DATA};
	if (settings->rate_bytes_min > 0)
		limits[n++] = (struct limit){session->window_ms + settings->rate_window_ms,
			SESSION_END_TOO_SLOW, COUNTER_TIMEOUT_SLOW};
	return n;
}

static size_t limits_of(const struct session *session, struct limit limits[LIMITS_MAX])
{
	const struct config *config = session->worker->facts.config;

	switch (session->stage) {
	case SESSION_STAGE_EARLY:
		limits[0] = (struct limit){
			session->started_ms + (config->session.banner_delay_ms > 0
							      ? config->session.banner_delay_ms
							      : 1),
			SESSION_END_NONE, COUNTER_COUNT};
		return 1;
	case SESSION_STAGE_SMTP:
		return dialog_limits(session, limits);
	case SESSION_STAGE_UPGRADE:
	case SESSION_STAGE_HANDSHAKE:
	case SESSION_STAGE_PLANT:
		limits[0] = (struct limit){session->stage_ms + config->tls.handshake_ms_max,
			SESSION_END_TIMEOUT_HANDSHAKE, COUNTER_TLS_FAILED_TIMEOUT};
		return 1;
	case SESSION_STAGE_LAST:
		limits[0] =
			(struct limit){session->stage_ms + LAST_MS, SESSION_END_IO, COUNTER_COUNT};
		return 1;
	case SESSION_STAGE_LINGER:
		limits[0] = (struct limit){
			session->stage_ms + SESSION_LINGER_MS, SESSION_END_NONE, COUNTER_COUNT};
		return 1;
	default:
		return 0;
	}
}

void session_limits_body(struct session *session)
{
	session->active_ms = session_now(session);
	session->window_ms = session->active_ms;
	session->window_taken = session->taken;
}

static uint64_t moved(uint64_t at_ms, uint64_t ms, uint64_t now_ms)
{
	return at_ms + ms < now_ms ? at_ms + ms : now_ms;
}

void session_limits_move(struct session *session, uint64_t ms)
{
	uint64_t now = session_now(session);

	session->stage_ms = moved(session->stage_ms, ms, now);
	session->active_ms = moved(session->active_ms, ms, now);
	session->window_ms = moved(session->window_ms, ms, now);
}

void session_limits_update(struct session *session)
{
	struct wheel *wheel = ring_wheel(session->worker->facts.ring);
	struct limit limits[LIMITS_MAX];
	size_t n = limits_of(session, limits);
	uint64_t at = UINT64_MAX;

	for (size_t i = 0; i < n; i++)
		at = limits[i].at_ms < at ? limits[i].at_ms : at;
	if (at == UINT64_MAX) {
		wheel_clear(wheel, &session->timer);
		return;
	}
	if (session->timer.deadline_ms == 0 || at < session->timer.deadline_ms)
		wheel_set(wheel, &session->timer, at);
}

/* The window is over: a new one if enough came in it. */
static bool fast_enough(struct session *session)
{
	const struct session_settings *settings = settings_of(session);
	uint64_t least = (uint64_t)settings->rate_bytes_min * settings->rate_window_ms / 1000;

	if (session->taken - session->window_taken < least)
		return false;
	session->window_ms = session_now(session);
	session->window_taken = session->taken;
	return true;
}

static void time_out(struct session *session, const struct limit *limit)
{
	static const struct smtp_verdict verdict = {
		SMTP_VERDICT_CLOSE, 421, "4.4.2", "Timeout, closing connection"};

	count(limit->counter);
	if (session->stage != SESSION_STAGE_SMTP || !session_out_ready(session) ||
		buf_room(&session->out) < SMTP_REPLY_MAX) {
		session_kill(session, limit->end);
		return;
	}
	smtp_reply_final(&session->smtp, &session->out, &verdict);
	session_finish(session, limit->end);
}

static void timer_fire(struct wheel_timer *timer)
{
	struct session *session = container_of(timer, struct session, timer);
	uint64_t now = session_now(session);
	struct limit limits[LIMITS_MAX];
	size_t n;

	(void)session_guard_paused(session); /* a pause that is over moves the limits */
	n = limits_of(session, limits);
	for (size_t i = 0; i < n; i++) {
		if (limits[i].at_ms > now)
			continue;
		if (session->stage == SESSION_STAGE_LAST || session->stage == SESSION_STAGE_LINGER)
			session_kill(session, limits[i].end);
		else if (limits[i].counter == COUNTER_TIMEOUT_SLOW && fast_enough(session))
			continue;
		else if (limits[i].counter != COUNTER_COUNT)
			time_out(session, &limits[i]);
		break;
	}
	session_step(session);
}

void session_limits_init(struct session *session)
{
	wheel_timer_init(&session->timer, timer_fire);
	session->started_ms = session_now(session);
	session->stage_ms = session->started_ms;
	session->active_ms = session->started_ms;
}
