/* SPDX-License-Identifier: MIT */
/*
 * conn.c -- one connection: opening, TLS, sending, receiving, failing, ending.
 *
 * The socket is registered once, edge-triggered, for both directions: one epoll_ctl a connection, and
 * one more for each further part of a long message.
 * Whoever ends a connection (conn_fail, conn_close) leaves stage FREE or PAUSE behind, and callers
 * up the stack stop when they see the descriptor gone.
 */
#include "bench/load/worker.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

void conn_list(struct conn *conn, struct list *list)
{
	list_remove(&conn->node);
	list_push_back(list, &conn->node);
	conn->touched_ns = conn->worker->now_ns;
}

/* ---- ending ---- */

void conn_message_failed(struct conn *conn, enum fail why)
{
	struct stats *stats = &conn->worker->stats;

	if (!conn->has_message)
		return;
	conn->has_message = false;
	stat_add(&stats->failed[why], 1);
	stat_add(&stats->failed_at[conn->stage], 1);
}

void conn_close(struct conn *conn)
{
	struct worker *worker = conn->worker;
	bool pause = conn->messages == 0 && conn->stage < STAGE_READY;

	ASSERT(conn->wire.fd >= 0 && !conn->has_message);
	stat_add(&worker->stats.bytes_in, conn->wire.bytes_in);
	stat_add(&worker->stats.bytes_out, conn->wire.bytes_out);
	stat_move(&worker->stats.open, -1);
	if (conn->stage == STAGE_IDLE) {
		stat_move(&worker->stats.held, -1);
		worker->working++;
	}
	wire_close(&conn->wire);
	conn->out_n = 0;
	conn->out_at = 0;
	conn->stage = pause ? STAGE_PAUSE : STAGE_FREE;
	conn_list(conn, pause ? &worker->pause : &worker->free);
	worker->working -= !pause;
}

void conn_fail(struct conn *conn, enum fail why)
{
	struct stats *stats = &conn->worker->stats;

	if (conn->stage == STAGE_IDLE)
		stat_add(&stats->lost, 1);
	else if (!conn->has_message && !conn->refused && conn->stage != STAGE_QUIT)
		stat_add(&stats->dropped, 1);
	conn_message_failed(conn, why);
	conn_close(conn);
}

void conn_timeout(struct conn *conn)
{
	conn_fail(conn, FAIL_TIMEOUT);
}

/* ---- opening ---- */

static int bind_source(struct worker *worker, int fd)
{
	const struct options *options = worker->options;
	struct host source;
	int one = 1;

	if (!options->source.n)
		return 0;
	source = host_plus(&options->source, worker->source);
	worker->source = (worker->source + options->threads) % options->sources;
	/* The port is chosen at connect: a 4-tuple must be free, not a port. */
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	return bind(fd, &source.any, source.n);
}

static int watch(struct conn *conn, int fd, int how)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = conn}};

	return epoll_ctl(conn->worker->epoll, how, fd, &event);
}

static int open_socket(struct conn *conn)
{
	struct worker *worker = conn->worker;
	const struct host *target = &worker->options->target;
	int fd = socket(target->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind_source(worker, fd) < 0 ||
		(connect(fd, &target->any, target->n) < 0 && errno != EINPROGRESS) ||
		watch(conn, fd, EPOLL_CTL_ADD) < 0) {
		int error = errno;

		close(fd);
		return -error;
	}
	return fd;
}

void conn_start(struct conn *conn)
{
	struct worker *worker = conn->worker;
	int fd;

	ASSERT(conn->stage == STAGE_FREE && conn->has_message);
	worker->working++;
	conn->messages = 0;
	conn->refused = false;
	conn->quit_sent = false;
	conn->offers = 0;
	conn->opened_ns = conn->begun_ns;
	reply_init(&conn->reply);
	stat_add(&worker->stats.connections, 1);
	conn->stage = STAGE_CONNECT;
	fd = open_socket(conn);
	if (fd < 0) {
		conn_message_failed(conn, FAIL_CONNECT);
		conn->stage = STAGE_PAUSE;
		conn_list(conn, &worker->pause);
		return;
	}
	wire_open(&conn->wire, fd);
	conn->wire.empty = true; /* until the first event */
	stat_move(&worker->stats.open, 1);
	conn_list(conn, &worker->active);
}

/* ---- TLS ---- */

static const char *group_name(SSL *ssl)
{
	int group = (int)SSL_get_negotiated_group(ssl);
	const char *name = group ? SSL_group_to_name(ssl, group) : NULL;

	return name ? name : "none";
}

static void count_handshake(struct stats *stats, SSL *ssl)
{
	const struct stats_tls some = {
		.version = SSL_get_version(ssl),
		.cipher = SSL_get_cipher_name(ssl),
		.group = group_name(ssl),
		.n = 1,
	};

	stat_add(&stats->handshakes, 1);
	if (SSL_session_reused(ssl))
		stat_add(&stats->resumed, 1);
	stats_tls_add(stats, &some);
}

static void handshake_go_on(struct conn *conn)
{
	int done = wire_handshake(&conn->wire);

	if (done == 0)
		return;
	if (done < 0) {
		conn_fail(conn, FAIL_TLS);
		return;
	}
	count_handshake(&conn->worker->stats, conn->wire.ssl);
	if (conn->worker->options->handshakes)
		conn->stage = STAGE_CLOSE;
	else if (conn->worker->options->tls == TLS_IMPLICIT)
		dialog_enter(conn, STAGE_BANNER);
	else
		dialog_enter(conn, STAGE_EHLO);
}

/* OpenSSL never offers a session of TLS 1.3 twice. But not every server sends a new ticket when one
 * was used, and the old one is good still: a copy is offered. */
static void session_offer(struct conn *conn)
{
	SSL_SESSION *copy = conn->session ? SSL_SESSION_dup(conn->session) : NULL;

	if (copy)
		(void)SSL_set_session(conn->wire.ssl, copy);
	SSL_SESSION_free(copy);
}

void conn_tls(struct conn *conn)
{
	const struct options *options = conn->worker->options;

	if (wire_tls(&conn->wire, conn->worker->run->context, false) < 0) {
		conn_fail(conn, FAIL_TLS);
		return;
	}
	SSL_set_app_data(conn->wire.ssl, conn);
	if (options->sni)
		(void)SSL_set_tlsext_host_name(conn->wire.ssl, options->sni);
	session_offer(conn);
	conn->stage = STAGE_HANDSHAKE;
	handshake_go_on(conn);
}

/* ---- sending ---- */

void conn_say(struct conn *conn, const void *p, size_t n)
{
	if (n == 0)
		return;
	ASSERT(conn->out_n < CONN_OUT_MAX);
	conn->out[conn->out_n++] = (struct iovec){(void *)(uintptr_t)p, n};
}

static void out_drop(struct conn *conn, size_t n)
{
	conn->out_at = span_iov_drop(conn->out, conn->out_at, n);
	if (conn->out_at == conn->out_n) {
		conn->out_at = 0;
		conn->out_n = 0;
	}
}

/* A long message must not keep the thread from all others, whose latency would be charged to the
 * server: after its part, the connection asks for an event and comes again behind them. */
void conn_flush(struct conn *conn)
{
	size_t sent = 0;

	while (conn->out_n > 0 && sent < FLUSH_OCTETS) {
		ssize_t n = wire_send(
			&conn->wire, conn->out + conn->out_at, conn->out_n - conn->out_at);

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			conn_fail(conn, n == -EPROTO ? FAIL_TLS : FAIL_CLOSED);
			return;
		}
		sent += (size_t)n;
		out_drop(conn, (size_t)n);
		conn_list(conn, &conn->worker->active);
		if (conn->out_n == 0)
			dialog_drained(conn);
	}
	if (conn->out_n > 0 && watch(conn, conn->wire.fd, EPOLL_CTL_MOD) < 0)
		conn_fail(conn, FAIL_CLOSED);
}

/* ---- receiving ---- */

/* False: the connection is no more, or what is left must not be read as SMTP. */
static bool take_replies(struct conn *conn, struct span in)
{
	while (in.n > 0) {
		switch (reply_feed(&conn->reply, &in)) {
		case REPLY_MORE:
			break;
		case REPLY_LINE:
			dialog_line(conn);
			break;
		case REPLY_END:
			/* Nothing may follow the 220: it would be taken for part of TLS. */
			if (conn->stage == STAGE_STARTTLS && in.n > 0) {
				conn_fail(conn, FAIL_PROTOCOL);
				return false;
			}
			dialog_reply(conn);
			break;
		case REPLY_BAD:
			conn_fail(conn, FAIL_PROTOCOL);
			return false;
		}
		if (conn->wire.fd < 0 || conn->stage == STAGE_HANDSHAKE)
			return false;
	}
	return true;
}

static void receive(struct conn *conn)
{
	struct worker *worker = conn->worker;

	for (;;) {
		ssize_t n = wire_recv(&conn->wire, worker->scratch, sizeof(worker->scratch));

		if (n == -EAGAIN)
			break;
		if (n == 0 && conn->stage == STAGE_CLOSE) {
			dialog_shaken(conn);
			return;
		}
		if (n <= 0) {
			conn_fail(conn, n == -EPROTO ? FAIL_TLS : FAIL_CLOSED);
			return;
		}
		conn_list(conn, conn->stage == STAGE_IDLE    ? &worker->held
				: conn->stage == STAGE_READY ? &worker->ready
							     : &worker->active);
		if (!take_replies(conn, span_of(worker->scratch, (size_t)n)))
			break;
	}
	if (conn->wire.fd >= 0 && conn->stage != STAGE_HANDSHAKE)
		conn_flush(conn);
}

/* The socket is asked only where the event tells of an error. */
static bool refused(const struct conn *conn, uint32_t events)
{
	int error = 0;
	socklen_t n = sizeof(error);

	return events & (EPOLLERR | EPOLLHUP) &&
	       (getsockopt(conn->wire.fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 || error != 0);
}

void conn_event(struct conn *conn, uint32_t events)
{
	if (conn->stage == STAGE_CONNECT) {
		if (refused(conn, events)) {
			conn_fail(conn, FAIL_CONNECT);
			return;
		}
		if (!(events & EPOLLOUT))
			return;
		conn_list(conn, &conn->worker->active);
		conn->wire.empty = false;
		if (conn->worker->options->tls == TLS_IMPLICIT)
			conn_tls(conn);
		else
			dialog_enter(conn, STAGE_BANNER);
		if (conn->wire.fd < 0)
			return;
	}
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		wire_event(&conn->wire, events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
	if (conn->stage == STAGE_HANDSHAKE) {
		handshake_go_on(conn);
		if (conn->wire.fd < 0 || conn->stage == STAGE_HANDSHAKE)
			return;
	}
	if (events & EPOLLOUT && conn->out_n > 0)
		conn_flush(conn);
	if (conn->wire.fd >= 0)
		receive(conn);
}
