/* SPDX-License-Identifier: MIT */
/*
 * input.c -- the socket and the handshake: records in, records out.
 *
 * During the handshake exactly what TLS wants is received, so that nothing lies behind it.
 */
#include "web/web-private.h"

#include <errno.h>

#include "base/counter.h"

#define MS_NS 1000000ull

static void op_done(struct op *op, int res, uint32_t flags);
static void cancel_done(struct op *op, int res, uint32_t flags);

void web_input_init(struct web_conn *conn)
{
	conn->op.done = op_done;
	conn->cancel.done = cancel_done;
	buf_init(&conn->in, conn->in_bytes, sizeof(conn->in_bytes));
	buf_init(&conn->head, conn->head_bytes, sizeof(conn->head_bytes));
	buf_init(&conn->wire, conn->wire_bytes, sizeof(conn->wire_bytes));
}

void web_send(struct web_conn *conn)
{
	conn->sending = true;
	ring_send(conn->worker->facts.ring, &conn->op, conn->fd, buf_span(&conn->wire));
}

/* Octets over a budget stay in the kernel for so long. */
static void metered(struct web_conn *conn, size_t n)
{
	uint32_t ms =
		fence_received(conn->worker->facts.fence, &conn->client, n, web_now(conn) * MS_NS);

	conn->pause_until_ms = ms > 0 ? web_now(conn) + ms : 0;
}

static bool paused(struct web_conn *conn)
{
	if (conn->pause_until_ms == 0)
		return false;
	if (web_now(conn) >= conn->pause_until_ms)
		metered(conn, 0);
	return conn->pause_until_ms != 0;
}

void web_receive(struct web_conn *conn)
{
	size_t n = buf_room(&conn->in);

	ASSERT(!conn->op.armed && buf_len(&conn->in) == 0);
	if (conn->stage == WEB_STAGE_REQUEST && paused(conn))
		return;
	if (conn->stage == WEB_STAGE_HANDSHAKE)
		n = min_size(n, tls_conn_want(conn->tls));
	conn->sending = false;
	ring_recv(conn->worker->facts.ring, &conn->op, conn->fd, conn->in_bytes, n);
}

void web_receive_stop(struct web_conn *conn)
{
	if (conn->op.armed && !conn->sending && !conn->cancel.armed)
		ring_cancel(conn->worker->facts.ring, &conn->cancel, &conn->op);
}

static void sent(struct web_conn *conn, int res)
{
	if (res <= 0) {
		web_kill(conn, WEB_END_IO);
		return;
	}
	conn->bytes_out += (uint32_t)res;
	buf_drop(&conn->wire, (size_t)res);
}

static void received(struct web_conn *conn, int res)
{
	if (res > 0) {
		conn->in.end = (uint32_t)res;
		conn->bytes_in += (uint32_t)res;
		metered(conn, (size_t)res);
	} else if (res == 0) {
		conn->eof = true;
	} else if (res != -ECANCELED && res != -EINTR && res != -EAGAIN) {
		conn->io_error = res;
	}
}

static void op_done(struct op *op, int res, uint32_t flags)
{
	struct web_conn *conn = container_of(op, struct web_conn, op);

	(void)flags;
	if (conn->sending)
		sent(conn, res);
	else
		received(conn, res);
	web_step(conn);
}

static void cancel_done(struct op *op, int res, uint32_t flags)
{
	(void)res;
	(void)flags;
	web_step(container_of(op, struct web_conn, cancel));
}

/* ---- the handshake ---- */

static enum web_step handshake_end(struct web_conn *conn, bool completed)
{
	conn->tls_up = completed;
	conn->tls_failed = !completed;
	count(completed ? COUNTER_WEB_HANDSHAKES : COUNTER_WEB_HANDSHAKES_FAILED);
	if (completed) {
		fence_shaken(conn->worker->facts.fence, &conn->client, conn->fd, true);
		web_stage_set(conn, WEB_STAGE_REQUEST);
	} else {
		web_finish(conn, WEB_END_TLS_FAILED);
	}
	return WEB_STEP_AGAIN;
}

static enum web_step handshake_feed(struct web_conn *conn)
{
	struct span in = buf_span(&conn->in);
	enum tls_step step = tls_conn_handshake(conn->tls, &in, &conn->wire);

	buf_clear(&conn->in);
	if (step == TLS_STEP_MORE)
		return WEB_STEP_AGAIN;
	return handshake_end(conn, step == TLS_STEP_DONE);
}

enum web_step web_handshake_step(struct web_conn *conn)
{
	if (conn->tls == NULL)
		conn->tls = tls_conn_open(conn->worker->tls, NULL, KTLS_MODE_OFF);
	if (conn->tls == NULL) {
		web_kill(conn, WEB_END_MEMORY);
		return WEB_STEP_AGAIN;
	}
	if (conn->eof || conn->io_error != 0)
		return handshake_end(conn, false);
	if (buf_len(&conn->in) > 0)
		return handshake_feed(conn);
	web_receive(conn);
	return WEB_STEP_WAIT;
}
