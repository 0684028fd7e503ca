/* SPDX-License-Identifier: MIT */
/*
 * limits.c -- time: one timer a connection, for the nearest of its stage's limit, the limit of the whole,
 * and the end of a pause.
 *
 * A request's limit runs from its first octet to its last, whatever trickles in between, so a slow client
 * costs one place for so long and no longer. It is told 408; who never began one is closed without a word.
 */
#include "web/web-private.h"

#include "base/counter.h"

static uint64_t stage_deadline(const struct web_conn *conn)
{
	uint32_t handshake_ms = conn->worker->facts.config->tls.handshake_ms_max;

	switch (conn->stage) {
	case WEB_STAGE_HANDSHAKE:
		return conn->stage_ms + min_size(handshake_ms, WEB_HANDSHAKE_MS_MAX);
	case WEB_STAGE_REQUEST:
		return conn->request_ms != 0 ? conn->request_ms + WEB_HEAD_MS_MAX
					     : conn->stage_ms + WEB_IDLE_MS_MAX;
	case WEB_STAGE_ANSWER:
	case WEB_STAGE_LAST:
		return conn->stage_ms + WEB_ANSWER_MS_MAX;
	case WEB_STAGE_LINGER:
		return conn->stage_ms + WEB_LINGER_MS;
	default:
		return UINT64_MAX;
	}
}

static uint64_t deadline(const struct web_conn *conn)
{
	uint64_t whole = conn->started_ms + WEB_CONNECTION_MS_MAX;
	uint64_t stage = stage_deadline(conn);

	return stage < whole || conn->stage > WEB_STAGE_ANSWER ? stage : whole;
}

static void over(struct web_conn *conn)
{
	static const enum web_end ends[WEB_STAGE_COUNT] = {
		[WEB_STAGE_HANDSHAKE] = WEB_END_TIMEOUT_HANDSHAKE,
		[WEB_STAGE_REQUEST] = WEB_END_IDLE,
		[WEB_STAGE_ANSWER] = WEB_END_TIMEOUT_ANSWER,
		[WEB_STAGE_LAST] = WEB_END_TIMEOUT_ANSWER,
	};

	if (conn->stage < WEB_STAGE_LINGER && ends[conn->stage] != WEB_END_IDLE)
		count(COUNTER_WEB_LIMIT_TIME);
	if (conn->stage == WEB_STAGE_HANDSHAKE)
		count(COUNTER_WEB_HANDSHAKES_FAILED);
	if (conn->stage == WEB_STAGE_REQUEST && conn->request_ms != 0) {
		count(COUNTER_WEB_LIMIT_TIME);
		conn->late = true;
		web_receive_stop(conn);
	} else if (conn->stage == WEB_STAGE_REQUEST) {
		web_receive_stop(conn);
		web_finish(conn, WEB_END_IDLE);
	} else {
		web_kill(conn, ends[conn->stage]);
	}
}

static void timer_fire(struct wheel_timer *timer)
{
	struct web_conn *conn = container_of(timer, struct web_conn, timer);

	if (conn->late) { /* the receive is being cancelled */
		web_step(conn);
		return;
	}
	if (web_now(conn) >= deadline(conn))
		over(conn);
	web_step(conn);
}

void web_limits_init(struct web_conn *conn)
{
	conn->started_ms = web_now(conn);
	conn->stage_ms = conn->started_ms;
	wheel_timer_init(&conn->timer, timer_fire);
}

void web_limits_update(struct web_conn *conn)
{
	struct wheel *wheel = ring_wheel(conn->worker->facts.ring);
	uint64_t at = deadline(conn);

	if (conn->pause_until_ms != 0 && conn->pause_until_ms < at && !conn->op.armed)
		at = conn->pause_until_ms;
	if (at == UINT64_MAX)
		wheel_clear(wheel, &conn->timer);
	else if (conn->timer.deadline_ms != at)
		wheel_set(wheel, &conn->timer, at);
}
