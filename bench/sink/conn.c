/* SPDX-License-Identifier: MIT */
/*
 * conn.c -- one connection of the sink: receiving, sending, TLS, pauses, the end.
 *
 * conn_work drives everything: it takes commands and message octets off the input as long as
 * nothing holds it up (a pause, a full output, too little input), then reads again. A closed
 * connection stays in sink->dead until the batch of events is through.
 */
#include "bench/sink/sink.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"

static bool is_closed(const struct conn *conn)
{
	return conn->wire.fd < 0;
}

/* ---- ending ---- */

void conn_close(struct conn *conn)
{
	struct sink *sink = conn->sink;

	if (conn->octets > 0 || conn->mode == MODE_DATA || conn->mode == MODE_CHUNK)
		sink->counts.aborted++;
	body_drop(conn);
	wire_close(&conn->wire);
	sink->open--;
	list_remove(&conn->pause);
	list_remove(&conn->node);
	list_push_back(&sink->dead, &conn->node);
}

void conn_free(struct conn *conn)
{
	struct sink *sink = conn->sink;

	list_remove(&conn->node);
	EVP_MD_CTX_free(conn->hash);
	free(conn->envelope);
	pool_put(&sink->pool, conn);
}

/* ---- sending ---- */

void conn_say(struct conn *conn, const char *fmt, ...)
{
	char text[OUT_ROOM];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ASSERT(n > 0 && (size_t)n < sizeof(text));
	ASSERT(buf_put(&conn->out, span_of(text, (size_t)n)));
}

static void compact(struct buf *buf)
{
	struct span live = buf_span(buf);

	if (buf->start == 0)
		return;
	memmove(buf->p, live.p, live.n);
	buf->start = 0;
	buf->end = (uint32_t)live.n;
}

bool conn_flush(struct conn *conn)
{
	while (buf_len(&conn->out) > 0) {
		struct span out = buf_span(&conn->out);
		const struct iovec iov = {(void *)(uintptr_t)out.p, out.n};
		ssize_t n = wire_send(&conn->wire, &iov, 1);

		if (n == -EAGAIN) {
			compact(&conn->out);
			return true;
		}
		if (n <= 0) {
			conn_close(conn);
			return false;
		}
		buf_drop(&conn->out, (size_t)n);
	}
	if (conn->mode == MODE_CLOSING) {
		conn_close(conn);
		return false;
	}
	return true;
}

/* ---- pauses ---- */

void conn_pause(struct conn *conn, uint32_t ms)
{
	struct list *after = conn->sink->pauses.prev;

	ASSERT(list_empty(&conn->pause));
	/* No shorter than it says: `now_ms` may be of a while ago, and both are cut to milliseconds. */
	conn->due_ms = clock_ms() + ms + 1;
	/* Equal delays, the usual case, find their place at once. */
	while (after != &conn->sink->pauses &&
		container_of(after, struct conn, pause)->due_ms > conn->due_ms)
		after = after->prev;
	conn->pause.prev = after;
	conn->pause.next = after->next;
	after->next->prev = &conn->pause;
	after->next = &conn->pause;
}

/* ---- receiving ---- */

/* One line off the input. False: none is whole (or the connection was closed). */
static bool take_line(struct conn *conn)
{
	struct span in = buf_span(&conn->in);
	const uint8_t *feed = in.n ? memchr(in.p, '\n', in.n) : NULL;
	size_t n = feed ? (size_t)(feed - in.p) + 1 : in.n;

	if (n > LINE_MAX_OCTETS) {
		conn->sink->counts.bad_commands++;
		conn_say(conn, "500 5.5.2 Line too long\r\n");
		conn->mode = MODE_CLOSING;
		return false;
	}
	if (!feed)
		return false;
	smtp_line(conn, span_of(in.p, n >= 2 && feed[-1] == '\r' ? n - 2 : n - 1));
	/* STARTTLS and BDAT leave the buffer to others: the line is dropped by what it was. */
	buf_drop(&conn->in, n);
	return true;
}

/* Everything that the input allows. False: more input is wanted, or nothing may be done now. */
static bool step(struct conn *conn)
{
	if (conn->due_ms || buf_room(&conn->out) < OUT_ROOM)
		return false;
	switch (conn->mode) {
	case MODE_COMMAND:
		return take_line(conn);
	case MODE_DATA:
		return body_data(conn);
	case MODE_CHUNK:
		return body_chunk(conn);
	case MODE_REPLIES:
		smtp_replies(conn);
		return true;
	default:
		return false;
	}
}

/* How much is read at once at so many octets a second. */
static size_t slice(uint32_t rate)
{
	return (size_t)((uint64_t)rate * SLOW_MS / 1000) + 1;
}

uint32_t conn_slow_ms(uint32_t rate, size_t n)
{
	return (uint32_t)((uint64_t)n * 1000 / rate) + 1;
}

/* False: nothing came, or the connection is gone. */
static bool receive(struct conn *conn)
{
	bool slow = conn->rate > 0 && (conn->mode == MODE_DATA || conn->mode == MODE_CHUNK);
	size_t room;
	ssize_t n;

	compact(&conn->in);
	room = buf_room(&conn->in);
	if (slow)
		room = min_size(room, slice(conn->rate));
	if (room == 0)
		return false;
	n = wire_recv(&conn->wire, conn->in.p + conn->in.end, room);
	if (n == -EAGAIN)
		return false;
	if (n <= 0) {
		conn_close(conn);
		return false;
	}
	conn->in.end += (uint32_t)n;
	conn->touched_ms = conn->sink->now_ms;
	list_remove(&conn->node);
	list_push_back(&conn->sink->conns, &conn->node);
	if (slow)
		conn_pause(conn, conn_slow_ms(conn->rate, (size_t)n));
	return true;
}

static bool handshake(struct conn *conn)
{
	struct counts *counts = &conn->sink->counts;
	int done = wire_handshake(&conn->wire);

	if (done == 0)
		return false;
	if (done < 0) {
		counts->tls_failed++;
		conn_close(conn);
		return false;
	}
	counts->handshakes++;
	counts->resumed += (uint64_t)SSL_session_reused(conn->wire.ssl);
	conn->mode = MODE_COMMAND;
	if (conn->sink->options->tls == SINK_TLS_IMPLICIT)
		smtp_greet(conn);
	return true;
}

/* The 220 to STARTTLS is out: now TLS. What came behind the command was no TLS. */
static bool upgrade(struct conn *conn)
{
	if (!conn_flush(conn))
		return false;
	if (buf_len(&conn->out) > 0)
		return false;
	if (buf_len(&conn->in) > 0 || wire_tls(&conn->wire, conn->sink->context, true) < 0) {
		conn->sink->counts.tls_failed++;
		conn_close(conn);
		return false;
	}
	return true;
}

static void conn_work(struct conn *conn)
{
	for (;;) {
		bool full;

		if (conn->mode == MODE_HANDSHAKE) {
			if ((!conn->wire.ssl && !upgrade(conn)) || !handshake(conn))
				return;
		}
		while (!is_closed(conn) && step(conn))
			;
		/* A paused connection's last reply waits with it. */
		if (is_closed(conn) || conn->due_ms)
			return;
		full = buf_room(&conn->out) < OUT_ROOM;
		if (!conn_flush(conn))
			return;
		if (buf_room(&conn->out) < OUT_ROOM)
			return;
		/* There may be input that waited for room, or for TLS. */
		if (full || conn->mode == MODE_HANDSHAKE)
			continue;
		if (conn->mode == MODE_HANG) /* only its end is of interest */
			buf_clear(&conn->in);
		if (!receive(conn))
			return;
	}
}

void conn_resume(struct conn *conn)
{
	conn->due_ms = 0;
	list_remove(&conn->pause);
	conn_work(conn);
}

void conn_event(struct conn *conn, uint32_t events)
{
	if (is_closed(conn))
		return;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		wire_event(&conn->wire, events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
	if (events & EPOLLERR)
		conn_close(conn);
	else if (!conn->due_ms)
		conn_work(conn);
}

/* ---- opening ---- */

static void refuse(struct sink *sink, int fd)
{
	static const char text[] = "421 4.3.2 Too many connections\r\n";

	sink->counts.refused++;
	(void)!write(fd, text, sizeof(text) - 1);
	close(fd);
}

void conn_open(struct sink *sink, int fd)
{
	struct conn *conn =
		sink->open < sink->options->connections_max ? pool_get(&sink->pool) : NULL;
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = conn}};
	int one = 1;

	if (!conn) {
		refuse(sink, fd);
		return;
	}
	/* All but the buffers, whose pages stay untouched until they are needed. */
	memset(conn, 0, offsetof(struct conn, in_bytes));
	conn->source = SOURCE_CONN;
	conn->sink = sink;
	conn->file = -1;
	conn->touched_ms = sink->now_ms;
	wire_open(&conn->wire, fd);
	list_init(&conn->node);
	list_init(&conn->pause);
	list_push_back(&sink->conns, &conn->node);
	buf_init(&conn->in, conn->in_bytes, sizeof(conn->in_bytes));
	buf_init(&conn->out, conn->out_bytes, sizeof(conn->out_bytes));
	sink->open++;
	sink->counts.connections++;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (epoll_ctl(sink->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		conn_close(conn);
		return;
	}
	if (sink->options->tls == SINK_TLS_IMPLICIT)
		conn->mode = MODE_HANDSHAKE;
	else
		smtp_greet(conn);
	conn_work(conn);
}
