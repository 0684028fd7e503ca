/* SPDX-License-Identifier: MIT */
/*
 * output.c -- replies to the socket: one send at a time, as much as there is.
 *
 * `out` collects replies; in plaintext and under kTLS TX it is sent in place while more is appended
 * behind. With TLS in user space it is encrypted into `wire`. Control records go by sendmsg with
 * their type. Buffers are held only while there is something in them.
 */
#include "session/session-private.h"

#include <errno.h>
#include <linux/tls.h>

#include "base/counter.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

static void send_done(struct op *op, int res, uint32_t flags);

void session_output_init(struct session *session)
{
	session->send.done = send_done;
}

static struct ring *ring_of(const struct session *session)
{
	return session->worker->facts.ring;
}

static bool kernel_tx(const struct session *session)
{
	return session->planted & TLS_KTLS_TX;
}

bool session_out_ready(struct session *session)
{
	void *storage;

	if (session->out.p != NULL)
		return true;
	storage = pool_get(&session->worker->small);
	if (storage == NULL)
		return false;
	buf_init(&session->out, storage, SESSION_OUT_BYTES);
	return true;
}

static bool wire_ready(struct session *session, bool large)
{
	struct pool *pool = large ? &session->worker->large : &session->worker->small;
	void *storage;

	if (session->wire.p != NULL)
		return !large || session->wire_large;
	storage = pool_get(pool);
	if (storage == NULL)
		return false;
	session->wire_large = large;
	buf_init(&session->wire, storage, large ? SESSION_LARGE_BYTES : SESSION_SMALL_BYTES);
	return true;
}

bool session_wire_large(struct session *session)
{
	return wire_ready(session, true);
}

bool session_wire_put(struct session *session, struct span bytes)
{
	return wire_ready(session, false) && buf_put(&session->wire, bytes);
}

static void out_drop(struct session *session)
{
	if (session->out.p != NULL)
		pool_put(&session->worker->small, session->out.p);
	session->out = (struct buf){0};
}

static void wire_drop(struct session *session)
{
	struct session_worker *worker = session->worker;

	if (session->wire.p != NULL)
		pool_put(session->wire_large ? &worker->large : &worker->small, session->wire.p);
	session->wire = (struct buf){0};
}

void session_output_drop(struct session *session)
{
	ASSERT(!session->send.armed);
	out_drop(session);
	wire_drop(session);
	session->control_due = false;
}

/* A control record with its type (kernel-notes/ktls-control-records.md). */
static void send_control(struct session *session)
{
	struct cmsghdr *cmsg;

	session->send_iov = (struct iovec){session->control.bytes, session->control.n};
	session->send_msg = (struct msghdr){
		.msg_iov = &session->send_iov,
		.msg_iovlen = 1,
		.msg_control = session->send_cmsg,
		.msg_controllen = CMSG_SPACE(1),
	};
	cmsg = CMSG_FIRSTHDR(&session->send_msg);
	cmsg->cmsg_level = SOL_TLS;
	cmsg->cmsg_type = TLS_SET_RECORD_TYPE;
	cmsg->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(cmsg) = session->control.type;
	session->sending_control = true;
	ring_sendmsg(ring_of(session), &session->send, session->fd, &session->send_msg);
}

/* Replies of the dialogue, and flights of a handshake, are waited for by the peer alone; not so where
 * there is more to be answered and room for it wanted. */
static bool peer_is_next(const struct session *session)
{
	if (session->stage == SESSION_STAGE_SMTP)
		return session->in.n == 0 && session->held == NULL;
	return session->stage == SESSION_STAGE_HANDSHAKE;
}

static void send_bytes(struct session *session, const struct buf *from)
{
	struct ring *ring = ring_of(session);

	if (peer_is_next(session))
		ring_send_lazy(ring, &session->send, session->fd, buf_span(from));
	else
		ring_send(ring, &session->send, session->fd, buf_span(from));
}

static void send_wire(struct session *session)
{
	session->sending_wire = true;
	send_bytes(session, &session->wire);
}

/* Encrypts what is in `out`; it always fits, as wire has room for all of it in records. */
static bool encrypt(struct session *session)
{
	struct span plain = buf_span(&session->out);

	if (!wire_ready(session, false))
		return false;
	if (tls_conn_write(session->tls, &plain, &session->wire) != TLS_IO_OK || plain.n > 0)
		return false;
	out_drop(session);
	return true;
}

/* At the very end: close_notify, in the kernel's records or in ours. */
static bool queue_notify(struct session *session)
{
	if (session->stage != SESSION_STAGE_LAST || session->notify_done || !session->tls_up)
		return false;
	session->notify_done = true;
	if (kernel_tx(session)) {
		session->control = tls_close_notify();
		session->control_due = true;
		session->control_rekey = false;
		return true;
	}
	if (!wire_ready(session, false))
		return false;
	tls_conn_shutdown(session->tls, &session->wire);
	return buf_len(&session->wire) > 0;
}

void session_flush(struct session *session)
{
	if (session->send.armed || session->stage == SESSION_STAGE_END)
		return;
	do {
		if (buf_len(&session->wire) > 0) {
			send_wire(session);
			return;
		}
		if (session->control_due) {
			send_control(session);
			return;
		}
		if (buf_len(&session->out) == 0)
			continue;
		if (session->tls == NULL || kernel_tx(session)) {
			send_bytes(session, &session->out);
			return;
		}
		if (!encrypt(session)) {
			session_kill(session, SESSION_END_MEMORY);
			return;
		}
	} while (buf_len(&session->wire) > 0 || queue_notify(session));
	out_drop(session);
	wire_drop(session);
}

bool session_flushed(const struct session *session)
{
	bool notify_due =
		session->stage == SESSION_STAGE_LAST && session->tls_up && !session->notify_done;

	return !session->send.armed && buf_len(&session->out) == 0 &&
	       buf_len(&session->wire) == 0 && !session->control_due && !notify_due;
}

static void control_sent(struct session *session, int res)
{
	session->sending_control = false;
	session->control_due = false;
	if (res != session->control.n)
		session_kill(session, SESSION_END_IO);
	else if (session->control_rekey && tls_conn_control_sent(session->tls, session->fd) != 0)
		session_kill(session, SESSION_END_KEYUPDATE);
	session->control_rekey = false;
}

static void send_done(struct op *op, int res, uint32_t flags)
{
	struct session *session = container_of(op, struct session, send);

	(void)flags;
	if (res > 0) {
		session->bytes_out += (uint32_t)res;
		count_add(COUNTER_BYTES_SENT, res);
	}
	if (session->sending_control) {
		control_sent(session, res);
	} else if (res > 0) {
		buf_drop(session->sending_wire ? &session->wire : &session->out, (size_t)res);
	} else {
		session_kill(session, SESSION_END_IO);
	}
	session->sending_wire = false;
	session_flush(session);
	session_step(session);
}
