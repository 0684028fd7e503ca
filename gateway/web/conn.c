/* SPDX-License-Identifier: MIT */
/*
 * conn.c -- the walk of a connection: stages, beginning and end.
 *
 * web_step() is the only driver. Completions and the timer store what they brought and call it; it sends
 * what there is to send, else runs the stage's function until that waits. There is one operation at a
 * time, so a client that does not take its answers is not read from either.
 *
 * Freed when the stage is END and nothing is armed.
 */
#include "web/web-private.h"

#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/network.h"

#define STAGE(stage) (1u << WEB_STAGE_##stage)

static const unsigned stage_from[WEB_STAGE_COUNT] = {
	[WEB_STAGE_HANDSHAKE] = 0,
	[WEB_STAGE_REQUEST] = STAGE(HANDSHAKE) | STAGE(ANSWER),
	[WEB_STAGE_ANSWER] = STAGE(REQUEST),
	[WEB_STAGE_LAST] = STAGE(HANDSHAKE) | STAGE(REQUEST) | STAGE(ANSWER),
	[WEB_STAGE_LINGER] = STAGE(LAST),
	[WEB_STAGE_END] =
		STAGE(HANDSHAKE) | STAGE(REQUEST) | STAGE(ANSWER) | STAGE(LAST) | STAGE(LINGER),
};

uint64_t web_now(const struct web_conn *conn)
{
	return ring_now_ms(conn->worker->facts.ring);
}

void web_stage_set(struct web_conn *conn, enum web_stage stage)
{
	ASSERT(stage_from[stage] & 1u << conn->stage);
	if (stage == WEB_STAGE_END && conn->stage != WEB_STAGE_END)
		conn->worker->n--;
	conn->stage = stage;
	conn->stage_ms = web_now(conn);
}

/* ---- the end ---- */

/* A handshake that was not completed is a strike, unless that was our doing, nothing came at all, or
 * the client merely speaks another TLS. */
static void shaking_end(struct web_conn *conn)
{
	struct fence *fence = conn->worker->facts.fence;
	enum tls_failure failure =
		conn->tls != NULL ? tls_conn_failure(conn->tls) : TLS_FAILURE_NONE;

	if (!conn->client.shaking)
		return;
	if (conn->bytes_in == 0 || conn->end == WEB_END_SHUTDOWN || conn->end == WEB_END_MEMORY ||
		conn->end == WEB_END_FULL || failure == TLS_FAILURE_VERSION ||
		failure == TLS_FAILURE_CIPHER)
		fence_unshaken(fence, &conn->client);
	else
		fence_shaken(fence, &conn->client, conn->fd, false);
}

void web_finish(struct web_conn *conn, enum web_end end)
{
	if (conn->stage >= WEB_STAGE_LAST)
		return;
	if (conn->end == WEB_END_NONE)
		conn->end = end;
	shaking_end(conn);
	web_stage_set(conn, WEB_STAGE_LAST);
}

void web_kill(struct web_conn *conn, enum web_end end)
{
	if (conn->stage == WEB_STAGE_END)
		return;
	if (conn->end == WEB_END_NONE)
		conn->end = end;
	shaking_end(conn);
	web_stage_set(conn, WEB_STAGE_END);
}

/* The wire is empty: close_notify, then our side is shut, and the peer's close is waited for, lest
 * octets that it still sends reset the connection under our answer. */
static enum web_step last_step(struct web_conn *conn)
{
	if (conn->tls_up && !conn->notify_done) {
		conn->notify_done = true;
		tls_conn_shutdown(conn->tls, &conn->wire);
		return WEB_STEP_AGAIN;
	}
	if (conn->eof || conn->io_error != 0) {
		web_kill(conn, conn->end);
		return WEB_STEP_AGAIN;
	}
	shutdown(conn->fd, SHUT_WR);
	conn->linger_bytes = conn->bytes_in + WEB_LINGER_BYTES;
	web_stage_set(conn, WEB_STAGE_LINGER);
	return WEB_STEP_AGAIN;
}

static enum web_step linger_step(struct web_conn *conn)
{
	buf_clear(&conn->in);
	if (conn->eof || conn->io_error != 0 || conn->bytes_in > conn->linger_bytes) {
		web_kill(conn, conn->end);
		return WEB_STEP_AGAIN;
	}
	web_receive(conn);
	return WEB_STEP_WAIT;
}

static void conn_free(struct web_conn *conn)
{
	struct web_worker *worker = conn->worker;

	web_report(conn);
	count_add(COUNTER_WEB_CONNECTIONS_ACTIVE, -1);
	wheel_clear(ring_wheel(worker->facts.ring), &conn->timer);
	if (conn->tls != NULL)
		tls_conn_close(conn->tls);
	web_policies_release(conn->holding);
	fence_leave(worker->facts.fence, &conn->client);
	close(conn->fd);
	list_remove(&conn->node);
	pool_put(&worker->conns, conn);
	if (worker->on_end != NULL)
		worker->on_end(worker->on_end_ctx);
}

/* An operation that a peer keeps waiting ends when both sides are shut. */
static void end_step(struct web_conn *conn)
{
	if (!conn->op.armed && !conn->cancel.armed) {
		conn_free(conn);
		return;
	}
	if (!conn->shut)
		shutdown(conn->fd, SHUT_RDWR);
	conn->shut = true;
	web_limits_update(conn);
}

/* ---- the walk ---- */

static enum web_step end_stage_step(struct web_conn *conn)
{
	(void)conn;
	return WEB_STEP_WAIT;
}

static enum web_step (*const stage_steps[WEB_STAGE_COUNT])(struct web_conn *conn) = {
	[WEB_STAGE_HANDSHAKE] = web_handshake_step,
	[WEB_STAGE_REQUEST] = web_request_step,
	[WEB_STAGE_ANSWER] = web_answer_step,
	[WEB_STAGE_LAST] = last_step,
	[WEB_STAGE_LINGER] = linger_step,
	[WEB_STAGE_END] = end_stage_step,
};

/* What there is to send goes first. */
static enum web_step one_step(struct web_conn *conn)
{
	if (conn->op.armed || conn->cancel.armed)
		return WEB_STEP_WAIT;
	if (conn->stage != WEB_STAGE_END && buf_len(&conn->wire) > 0) {
		web_send(conn);
		return WEB_STEP_WAIT;
	}
	return stage_steps[conn->stage](conn);
}

void web_step(struct web_conn *conn)
{
	if (conn->stepping)
		return;
	conn->stepping = true;
	while (one_step(conn) == WEB_STEP_AGAIN)
		;
	conn->stepping = false;
	if (conn->stage == WEB_STAGE_END)
		end_step(conn);
	else
		web_limits_update(conn);
}

/* ---- the beginning ---- */

static void peer_text(const struct sockaddr_storage *peer, char text[WEB_PEER_MAX])
{
	struct network network = {.bits = 128};
	char address[NETWORK_TEXT_MAX];
	in_port_t port = ((const struct sockaddr_in *)peer)->sin_port; /* the same in both */

	network_address(peer, network.address);
	network_text(&network, address);
	snprintf(text, WEB_PEER_MAX, strchr(address, ':') != NULL ? "[%s]:%u" : "%s:%u", address,
		ntohs(port));
}

/* Among those that wait for their client; one that is being answered goes only if all are. */
static void oldest_end(struct web_worker *worker)
{
	struct web_conn *oldest = NULL;

	for (struct list *node = worker->live.next; node != &worker->live; node = node->next) {
		struct web_conn *conn = container_of(node, struct web_conn, node);

		if (conn->stage == WEB_STAGE_END)
			continue;
		if (oldest == NULL)
			oldest = conn;
		if (conn->stage != WEB_STAGE_ANSWER) {
			oldest = conn;
			break;
		}
	}
	ASSERT(oldest != NULL);
	count(COUNTER_WEB_LIMIT_CONNECTIONS);
	web_kill(oldest, WEB_END_FULL);
	web_step(oldest);
}

static struct web_conn *conn_new(struct web_worker *worker, int fd,
	const struct listener_settings *listener, const struct sockaddr_storage *peer)
{
	struct web_conn *conn = pool_get(&worker->conns);

	if (conn == NULL)
		return NULL;
	memset(conn, 0, offsetof(struct web_conn, in_bytes));
	conn->worker = worker;
	conn->fd = fd;
	conn->listener = listener;
	peer_text(peer, conn->peer);
	web_input_init(conn);
	web_limits_init(conn);
	buf_init(&conn->answer, conn->answer_bytes, sizeof(conn->answer_bytes));
	list_push_back(&worker->live, &conn->node);
	worker->n++;
	count(COUNTER_WEB_CONNECTIONS);
	count(COUNTER_WEB_CONNECTIONS_ACTIVE);
	return conn;
}

bool web_start(struct web_worker *worker, int fd, const struct listener_settings *listener,
	const struct sockaddr_storage *peer, const struct fence_client *client)
{
	struct web_conn *conn;
	enum fence_reason reason;

	if (worker->n >= WEB_CONNECTIONS_MAX)
		oldest_end(worker);
	conn = conn_new(worker, fd, listener, peer);
	if (conn == NULL)
		return false;
	conn->client = *client;
	reason = fence_shake(worker->facts.fence, &conn->client, fd);
	if (fence_reason_verdict(reason) == FENCE_VERDICT_REFUSE)
		web_kill(conn, WEB_END_FENCE);
	else if (worker->draining || worker->tls == NULL)
		web_kill(conn, WEB_END_SHUTDOWN);
	web_step(conn);
	return true;
}
