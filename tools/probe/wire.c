/* SPDX-License-Identifier: MIT */
/*
 * wire.c -- one connection: connect, send, receive, handshake, all before one deadline.
 *
 * The socket does not block; poll() waits, never past the deadline. What was received in clear and
 * not taken stays in `in`: whoever starts the handshake decides what it means. A peer that sends
 * more than PROBE_REPLY_MAX octets without a reply's end among them is given up.
 */
#include "tools/probe/probe-private.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

void wire_init(struct wire *wire, uint64_t deadline_ms)
{
	wire->fd = -1;
	wire->ssl = NULL;
	wire->deadline_ms = deadline_ms;
	wire->why[0] = '\0';
	wire->not_tls = false;
	buf_init(&wire->in, wire->storage, sizeof(wire->storage));
}

static int failed(struct wire *wire, int error)
{
	const char *text = error == -ETIMEDOUT ? "the time is up"
			   : error == -EPIPE   ? "the connection was closed"
			   : error == -ENOBUFS ? "too many octets without a reply among them"
					       : strerror(-error);

	snprintf(wire->why, sizeof(wire->why), "%s", text);
	return error;
}

static int wait_for(struct wire *wire, short events)
{
	struct pollfd fd = {.fd = wire->fd, .events = events};

	for (;;) {
		uint64_t now = clock_ms();
		int n;

		if (now >= wire->deadline_ms)
			return failed(wire, -ETIMEDOUT);
		n = poll(&fd, 1, (int)(wire->deadline_ms - now));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return failed(wire, -errno);
	}
}

int wire_connect(struct wire *wire, const struct sockaddr_storage *address)
{
	socklen_t n = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
						     : sizeof(struct sockaddr_in);
	int error = 0, rc;
	socklen_t error_n = sizeof(error);

	wire->fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (wire->fd < 0)
		return failed(wire, -errno);
	if (connect(wire->fd, (const struct sockaddr *)address, n) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return failed(wire, -errno);
	rc = wait_for(wire, POLLOUT);
	if (rc != 0)
		return rc;
	if (getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &error, &error_n) != 0)
		error = errno;
	return error == 0 ? 0 : failed(wire, -error);
}

/* Why TLS failed, from OpenSSL's queue. */
static int tls_failed(struct wire *wire, int error)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	if (error == SSL_ERROR_ZERO_RETURN)
		return failed(wire, -EPIPE);
	if (reason == NULL && error == SSL_ERROR_SYSCALL && errno != 0)
		return failed(wire, -errno);
	if (reason == NULL || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return failed(wire, -EPIPE);
	if (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER ||
		ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST) {
		reason = "what the peer sends is not TLS";
		wire->not_tls = true;
	}
	probe_clean(wire->why, sizeof(wire->why), span_str(reason));
	return -EPROTO;
}

/* What an operation of OpenSSL that gave `rc` wants: 0 to try again, or the error. */
static int tls_step(struct wire *wire, int rc)
{
	int error = SSL_get_error(wire->ssl, rc);

	if (error == SSL_ERROR_WANT_READ)
		return wait_for(wire, POLLIN);
	if (error == SSL_ERROR_WANT_WRITE)
		return wait_for(wire, POLLOUT);
	return tls_failed(wire, error);
}

static void tls_forget(void)
{
	ERR_clear_error();
	errno = 0;
}

int wire_send(struct wire *wire, struct span octets)
{
	while (octets.n > 0) {
		ssize_t n;
		int rc;

		if (wire->ssl != NULL) {
			tls_forget();
			n = SSL_write(wire->ssl, octets.p, (int)octets.n);
			rc = n > 0 ? 0 : tls_step(wire, (int)n);
		} else {
			n = send(wire->fd, octets.p, octets.n, MSG_NOSIGNAL);
			rc = n > 0             ? 0
			     : errno == EAGAIN ? wait_for(wire, POLLOUT)
					       : failed(wire, -errno);
		}
		if (rc != 0)
			return rc;
		if (n > 0)
			span_take(&octets, (size_t)n);
	}
	return 0;
}

int wire_read(struct wire *wire)
{
	struct buf *in = &wire->in;

	if (in->start > 0) {
		memmove(in->p, in->p + in->start, buf_len(in));
		in->end -= in->start;
		in->start = 0;
	}
	if (buf_room(in) == 0)
		return failed(wire, -ENOBUFS);
	for (;;) {
		ssize_t n;
		int rc;

		if (wire->ssl != NULL) {
			tls_forget();
			n = SSL_read(wire->ssl, in->p + in->end, (int)buf_room(in));
			rc = n > 0 ? 0 : tls_step(wire, (int)n);
		} else {
			n = recv(wire->fd, in->p + in->end, buf_room(in), 0);
			rc = n > 0             ? 0
			     : n == 0          ? failed(wire, -EPIPE)
			     : errno == EAGAIN ? wait_for(wire, POLLIN)
					       : failed(wire, -errno);
		}
		if (rc != 0)
			return rc;
		if (n > 0) {
			in->end += (uint32_t)n;
			return 0;
		}
	}
}

int wire_handshake(struct wire *wire, SSL *ssl)
{
	wire->ssl = ssl;
	buf_clear(&wire->in);
	if (SSL_set_fd(ssl, wire->fd) != 1)
		return tls_failed(wire, SSL_ERROR_SSL);
	for (;;) {
		int rc;

		tls_forget();
		rc = SSL_connect(ssl);
		if (rc == 1)
			return 0;
		rc = tls_step(wire, rc);
		if (rc != 0)
			return rc;
	}
}

void wire_close(struct wire *wire)
{
	if (wire->ssl != NULL) {
		tls_forget();
		if (SSL_is_init_finished(wire->ssl))
			(void)!SSL_shutdown(wire->ssl);
		SSL_free(wire->ssl);
		ERR_clear_error();
	}
	if (wire->fd >= 0)
		close(wire->fd);
	wire->ssl = NULL;
	wire->fd = -1;
}
