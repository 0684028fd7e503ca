/* SPDX-License-Identifier: MIT */
/*
 * wire.c -- a connection's octets: one receive, one send at a time, TLS between.
 *
 *	plaintext	`out` is sent in place while more is appended behind
 *	TLS		`out` is encrypted into `wire`; what TLS itself says goes there too
 *	kTLS TX		as plaintext; receiving stays in user space
 *
 * A body may go from file to pipe to socket by splice. Splices run on io-wq threads, so one that
 * waited for a slow next hop would hold a thread: the socket is polled first, and is O_NONBLOCK for
 * as long as the splice lasts. Meanwhile no receive is started, as it would not wait either; one
 * that was started before goes on waiting.
 *
 * A send that fails ends nothing: the next hop may have said why before it closed, so replies are
 * read to the end first.
 *
 * Keys go to the kernel behind the handshake, when everything is flushed and no receive is armed
 * (kernel-notes/ktls-setup.md). No message is dearer by it (kernel-notes/ktls-break-even.md).
 */
#include "relay/trust-private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

static void io_done(struct op *op, int res, uint32_t flags);
static void recv_done(struct op *op, int res, uint32_t flags);
static void send_done(struct op *op, int res, uint32_t flags);
static void cancel_done(struct op *op, int res, uint32_t flags);

void relay_wire_init(struct relay_client *client)
{
	client->fd = -1;
	client->pipe[0] = -1;
	client->pipe[1] = -1;
	client->io.done = io_done;
	client->recv.done = recv_done;
	client->send.done = send_done;
	client->file.done = relay_body_file_done;
	client->cancel.done = cancel_done;
	client->loan.first = NULL;
	buf_init(&client->out, client->out_storage, sizeof(client->out_storage));
	buf_init(&client->wire, client->wire_storage, sizeof(client->wire_storage));
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void relay_wire_close(struct relay_client *client)
{
	ASSERT(relay_wire_idle(client));
	tls_conn_close(client->tls);
	client->tls = NULL;
	client->tls_up = client->tls_pending = client->ktls_tx = client->notify_due = false;
	client->sending_wire = client->sending_control = client->polling = client->splicing = false;
	client->eof = false;
	client->recv_error = client->send_error = 0;
	client->in = client->plain = (struct span){0};
	client->piped = 0;
	client->sending_vec = false;
	client->vec_i = client->vec_n = 0;
	relay_body_release(client);
	buf_clear(&client->out);
	buf_clear(&client->wire);
	close_fd(&client->fd);
	close_fd(&client->pipe[0]);
	close_fd(&client->pipe[1]);
}

bool relay_wire_idle(const struct relay_client *client)
{
	return !client->io.armed && !client->recv.armed && !client->send.armed &&
	       !client->file.armed && !client->cancel.armed && !client->turn.armed;
}

/* ---- connecting ---- */

void relay_wire_socket(struct relay_client *client)
{
	ring_socket(relay_client_ring(client), &client->io, client->target.address.ss_family,
		SOCK_STREAM, 0);
}

static void socket_came(struct relay_client *client, int fd)
{
	const struct relay_target *target = &client->target;
	int on = 1;

	client->fd = fd;
	if (client->stage != CLIENT_STAGE_SOCKET)
		return;
	/* Commands and bodies are written in flights; a Unix socket refuses this and needs it not. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	relay_client_stage_set(client, CLIENT_STAGE_CONNECT);
	ring_connect(relay_client_ring(client), &client->io, fd,
		(const struct sockaddr *)&target->address, target->address_n);
}

static void io_done(struct op *op, int res, uint32_t flags)
{
	struct relay_client *client = container_of(op, struct relay_client, io);

	(void)flags;
	if (client->fd < 0 && res >= 0)
		socket_came(client, res);
	else if (client->stage == CLIENT_STAGE_SOCKET)
		relay_client_end(client, CLIENT_END_LOCAL, "socket: %s", strerror(-res));
	else if (client->stage == CLIENT_STAGE_CONNECT && res < 0)
		relay_client_end(client, CLIENT_END_CONNECT, "connect: %s", strerror(-res));
	else if (client->stage == CLIENT_STAGE_CONNECT)
		relay_client_stage_set(client, CLIENT_STAGE_GREETING);
	relay_client_turn(client);
}

void relay_wire_stop(struct relay_client *client)
{
	struct ring *ring = relay_client_ring(client);

	if (client->fd < 0)
		return;
	shutdown(client->fd, SHUT_RDWR);
	if (client->io.armed && !client->cancel.armed)
		ring_cancel(ring, &client->cancel, &client->io);
}

static void cancel_done(struct op *op, int res, uint32_t flags)
{
	(void)res;
	(void)flags;
	relay_client_turn(container_of(op, struct relay_client, cancel));
}

/* ---- receiving ---- */

void relay_wire_receive(struct relay_client *client)
{
	size_t n = sizeof(client->in_storage);

	if (client->stage < CLIENT_STAGE_GREETING || client->stage >= CLIENT_STAGE_LAST ||
		client->stage == CLIENT_STAGE_PLANT)
		return;
	if (client->recv.armed || client->eof || client->recv_error != 0 || client->splicing)
		return;
	if (client->in.n > 0 || client->plain.n > 0 || client->tls_pending)
		return;
	if (client->tls != NULL)
		n = min_size(n, tls_conn_want(client->tls));
	ring_recv(relay_client_ring(client), &client->recv, client->fd, client->in_storage, n);
}

static void recv_done(struct op *op, int res, uint32_t flags)
{
	struct relay_client *client = container_of(op, struct relay_client, recv);

	(void)flags;
	if (res > 0)
		client->in = span_of(client->in_storage, (size_t)res);
	else if (res == 0)
		client->eof = true;
	else if (res != -ECANCELED && res != -EINTR && res != -EAGAIN)
		client->recv_error = res;
	relay_client_turn(client);
}

/* Decrypts into `plain`; false: nothing came of it. */
static bool decrypt(struct relay_client *client)
{
	/* What TLS answers needs room; when a send has made some, it goes on. */
	while (buf_room(&client->wire) >= RELAY_WIRE_SPARE) {
		size_t n = 0;

		switch (tls_conn_read(client->tls, &client->in, client->plain_storage,
			sizeof(client->plain_storage), &n, &client->wire)) {
		case TLS_IO_OK:
			client->tls_pending = true;
			client->plain = span_of(client->plain_storage, n);
			if (n > 0)
				return true;
			break;
		case TLS_IO_MORE:
			client->tls_pending = false;
			client->in = (struct span){0};
			return false;
		case TLS_IO_EOF:
			client->tls_pending = false;
			client->in = (struct span){0};
			client->eof = true;
			return false;
		case TLS_IO_REFUSED:
		case TLS_IO_FAIL:
			relay_client_end(client, CLIENT_END_TLS, "TLS: %s",
				tls_conn_failure_text(client->tls));
			return false;
		}
	}
	return false;
}

bool relay_wire_input(struct relay_client *client)
{
	if (client->plain.n > 0)
		return true;
	if (client->in.n == 0 && !client->tls_pending)
		return false;
	if (client->tls_up)
		return decrypt(client);
	client->plain = client->in;
	client->in = (struct span){0};
	return true;
}

/* ---- sending ---- */

bool relay_wire_flushed(const struct relay_client *client)
{
	return !client->send.armed && buf_len(&client->out) == 0 && buf_len(&client->wire) == 0 &&
	       client->vec_i == client->vec_n && client->piped == 0 && !client->notify_due;
}

/* Encrypts what fits, but for the part of `wire` that decrypt() counts on. */
static bool encrypt(struct relay_client *client)
{
	struct span plain = buf_span(&client->out);
	struct buf view = client->wire;
	enum tls_io io;

	view.cap -= RELAY_WIRE_SPARE;
	io = tls_conn_write(client->tls, &plain, &view);
	client->wire.end = view.end;
	buf_drop(&client->out, buf_len(&client->out) - plain.n);
	if (io == TLS_IO_OK && buf_len(&client->wire) > 0)
		return true;
	relay_client_end(client, CLIENT_END_LOCAL, "TLS: %s", tls_conn_failure_text(client->tls));
	return false;
}

/* The close_notify record, with its type (kernel-notes/ktls-control-records.md). */
static void send_control(struct relay_client *client)
{
	struct cmsghdr *cmsg;

	client->control = tls_close_notify();
	client->control_iov = (struct iovec){client->control.bytes, client->control.n};
	client->control_msg = (struct msghdr){
		.msg_iov = &client->control_iov,
		.msg_iovlen = 1,
		.msg_control = client->control_cmsg,
		.msg_controllen = CMSG_SPACE(1),
	};
	cmsg = CMSG_FIRSTHDR(&client->control_msg);
	cmsg->cmsg_level = SOL_TLS;
	cmsg->cmsg_type = TLS_SET_RECORD_TYPE;
	cmsg->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(cmsg) = client->control.type;
	client->sending_control = true;
	ring_sendmsg(relay_client_ring(client), &client->send, client->fd, &client->control_msg);
}

void relay_wire_notify(struct relay_client *client)
{
	if (client->ktls_tx)
		client->notify_due = true;
	else if (client->tls_up)
		tls_conn_shutdown(client->tls, &client->wire);
}

/* A command and the octets behind it leave together where these are being read just now. */
static bool more_comes(const struct relay_client *client)
{
	const struct relay_client_body *body = &client->body;

	return client->stage == CLIENT_STAGE_BODY && client->file.armed && !body->splice &&
	       !body->vector && buf_len(&client->out) < RELAY_IO_BYTES / 2;
}

/* Is the next hop to speak next? Not while there are commands or octets that had no room. */
static bool peer_is_next(const struct relay_client *client)
{
	switch (client->stage) {
	case CLIENT_STAGE_GREETING:
	case CLIENT_STAGE_EHLO:
	case CLIENT_STAGE_HELO:
	case CLIENT_STAGE_STARTTLS:
	case CLIENT_STAGE_HANDSHAKE:
	case CLIENT_STAGE_QUIT:
		return true;
	case CLIENT_STAGE_ENVELOPE:
		return client->sent > client->job->recipients_n;
	case CLIENT_STAGE_BODY:
		return client->body.ended && client->vec_i == client->vec_n && client->piped == 0;
	default:
		return false;
	}
}

static void send_bytes(struct relay_client *client, const struct buf *from)
{
	struct ring *ring = relay_client_ring(client);

	if (peer_is_next(client))
		ring_send_lazy(ring, &client->send, client->fd, buf_span(from));
	else
		ring_send(ring, &client->send, client->fd, buf_span(from));
}

/* A socket of TLS takes the octets by `wire` only: there `vec` is taken piece by piece. */
static void send_vec(struct relay_client *client)
{
	client->vec_msg = (struct msghdr){.msg_iov = client->vec + client->vec_i,
		.msg_iovlen = min_size(client->vec_n - client->vec_i, RELAY_VEC_SEND)};
	client->sending_vec = true;
	ring_sendmsg(relay_client_ring(client), &client->send, client->fd, &client->vec_msg);
}

static void vec_sent(struct relay_client *client, size_t n)
{
	client->sending_vec = false;
	client->vec_i = span_iov_drop(client->vec, client->vec_i, n);
}

struct span relay_wire_vec_take(struct relay_client *client)
{
	const struct iovec *piece = &client->vec[client->vec_i++];

	return span_of(piece->iov_base, piece->iov_len);
}

void relay_wire_flush(struct relay_client *client)
{
	struct ring *ring = relay_client_ring(client);

	if (client->send.armed || client->send_error != 0 || client->fd < 0 ||
		client->stage <= CLIENT_STAGE_CONNECT || client->stage == CLIENT_STAGE_END)
		return;
	if (buf_len(&client->wire) == 0 && buf_len(&client->out) > 0 && client->tls_up &&
		!client->ktls_tx && !more_comes(client) && !encrypt(client))
		return;
	client->sending_wire = buf_len(&client->wire) > 0;
	if (client->sending_wire) {
		send_bytes(client, &client->wire);
	} else if (buf_len(&client->out) > 0) {
		if (!more_comes(client))
			send_bytes(client, &client->out);
	} else if (client->body.vector && client->vec_i < client->vec_n) {
		send_vec(client);
	} else if (client->notify_due) {
		send_control(client);
	} else if (client->piped > 0) {
		client->polling = true;
		ring_poll(ring, &client->send, client->fd, POLLOUT);
	}
}

/* ---- splicing to the socket ---- */

bool relay_wire_pipe(struct relay_client *client)
{
	if (client->pipe[0] >= 0)
		return true;
	if (pipe2(client->pipe, O_CLOEXEC) != 0)
		return false;
	(void)fcntl(client->pipe[1], F_SETPIPE_SZ, RELAY_PIPE_BYTES); /* granted or not */
	return true;
}

static void nonblocking_set(const struct relay_client *client, bool on)
{
	int flags = fcntl(client->fd, F_GETFL);

	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	(void)fcntl(client->fd, F_SETFL, flags);
}

static void poll_done(struct relay_client *client, int res)
{
	client->polling = false;
	if (res < 0) {
		client->send_error = res;
		return;
	}
	if (client->stage == CLIENT_STAGE_END)
		return;
	client->splicing = true;
	nonblocking_set(client, true);
	ring_splice(relay_client_ring(client), &client->send, client->pipe[0], -1, client->fd, -1,
		client->piped, 0);
}

static void splice_done(struct relay_client *client, int res)
{
	client->splicing = false;
	nonblocking_set(client, false);
	if (res > 0) {
		client->piped -= (uint32_t)res;
		count_add(COUNTER_RELAY_SPLICE_BYTES, res);
		count_add(COUNTER_RELAY_BYTES_SENT, res);
		relay_client_touch(client);
	} else if (res != -EAGAIN && res != -EINTR) { /* else it is polled again */
		client->send_error = res == 0 ? -EIO : res;
	}
}

static void sent(struct relay_client *client, int res)
{
	if (res <= 0) {
		client->send_error = res == 0 ? -EIO : res;
		return;
	}
	count_add(COUNTER_RELAY_BYTES_SENT, res);
	if (client->sending_vec)
		vec_sent(client, (size_t)res);
	else if (client->sending_control)
		client->notify_due = false;
	else
		buf_drop(client->sending_wire ? &client->wire : &client->out, (size_t)res);
	if (client->stage == CLIENT_STAGE_BODY)
		relay_client_touch(client);
}

static void send_done(struct op *op, int res, uint32_t flags)
{
	struct relay_client *client = container_of(op, struct relay_client, send);

	(void)flags;
	if (client->polling)
		poll_done(client, res);
	else if (client->splicing)
		splice_done(client, res);
	else
		sent(client, res);
	relay_client_turn(client);
}

/* ---- TLS ---- */

static bool handshake_open(struct relay_client *client)
{
	client->tls = relay_trust_conn(client);
	if (client->tls != NULL)
		return true;
	client->plain_only = true; /* our trouble, not one that plaintext is the answer to */
	relay_client_end(client, CLIENT_END_TLS,
		"TLS: out of memory, or no name that a certificate could be verified for");
	return false;
}

static void handshake_failed(struct relay_client *client)
{
	const struct relay_trust *trust = client->target.trust;
	enum tls_verdict verdict = tls_conn_verdict(client->tls);
	bool final = trust != NULL && trust->requiretls && verdict > TLS_VERDICT_GOOD;
	bool named = trust != NULL && relay_trust_tls(&client->target) != ROUTE_TLS_MAY;
	char name[RELAY_REPLY_MAX];

	relay_trust_note_handshake(client, false);
	relay_client_leave(client, final ? CLIENT_END_REQUIRETLS : CLIENT_END_TLS,
		"%.300s%sTLS handshake failed: %s", named ? relay_trust_name(trust, name) : "",
		named ? ": " : "", tls_conn_failure_text(client->tls));
}

void relay_wire_handshake(struct relay_client *client)
{
	bool first = client->tls == NULL;

	if (first && !handshake_open(client))
		return;
	if ((!first && client->in.n == 0) || buf_len(&client->wire) > 0 || client->send.armed)
		return;
	switch (tls_conn_handshake(client->tls, &client->in, &client->wire)) {
	case TLS_STEP_MORE:
		client->in = (struct span){0};
		return;
	case TLS_STEP_DONE:
		client->tls_up = true;
		client->tls_pending = true; /* something may have come with the last record */
		count(COUNTER_RELAY_TLS);
		relay_trust_note_handshake(client, true);
		if (tls_conn_ktls_wanted(client->tls) & TLS_KTLS_TX)
			relay_client_stage_set(client, CLIENT_STAGE_PLANT);
		else
			relay_hello_begin(client);
		return;
	case TLS_STEP_FAIL:
		handshake_failed(client);
		return;
	}
}

static void plant_now(struct relay_client *client)
{
	int planted;

	if (!(tls_conn_ktls_wanted(client->tls) & TLS_KTLS_TX))
		return;
	planted = tls_conn_plant(client->tls, client->fd, TLS_KTLS_TX);
	if (planted < 0) {
		count(COUNTER_RELAY_KTLS_FAILED);
		relay_client_end(client, CLIENT_END_TLS, "kTLS: %s", strerror(-planted));
		return;
	}
	client->ktls_tx = planted & TLS_KTLS_TX;
	count(client->ktls_tx ? COUNTER_RELAY_KTLS : COUNTER_RELAY_KTLS_FALLBACK);
}

void relay_wire_plant(struct relay_client *client)
{
	if (client->recv.armed) {
		if (!client->cancel.armed)
			ring_cancel(relay_client_ring(client), &client->cancel, &client->recv);
		return;
	}
	if (!relay_wire_flushed(client) || client->cancel.armed)
		return;
	plant_now(client);
	if (client->stage == CLIENT_STAGE_PLANT)
		relay_hello_begin(client);
}
