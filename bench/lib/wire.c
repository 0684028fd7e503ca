/* SPDX-License-Identifier: MIT */
/* wire.c -- see wire.h. */
#include "bench/lib/wire.h"

#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static ssize_t socket_recv(struct wire *wire, void *p, size_t n)
{
	ssize_t got;

	if (wire->empty)
		return -EAGAIN;
	do
		got = recv(wire->fd, p, n, 0);
	while (got < 0 && errno == EINTR);
	if (got < 0) {
		wire->empty = errno == EAGAIN;
		return -errno;
	}
	wire->empty = got > 0 && (size_t)got < n && !wire->hangup;
	wire->bytes_in += (uint64_t)got;
	return got;
}

static ssize_t socket_send(struct wire *wire, const struct iovec *iov, unsigned n)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
	ssize_t sent;

	do
		sent = sendmsg(wire->fd, &msg, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	wire->bytes_out += (uint64_t)sent;
	return sent;
}

/* ---- OpenSSL's view of the socket ---- */

static int bio_read(BIO *bio, char *p, int n)
{
	ssize_t got = socket_recv(BIO_get_data(bio), p, (size_t)n);

	BIO_clear_retry_flags(bio);
	if (got == -EAGAIN)
		BIO_set_retry_read(bio);
	if (got < 0)
		errno = (int)-got;
	return got < 0 ? -1 : (int)got;
}

static int bio_write(BIO *bio, const char *p, int n)
{
	const struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = (size_t)n};
	ssize_t sent = socket_send(BIO_get_data(bio), &iov, 1);

	BIO_clear_retry_flags(bio);
	if (sent == -EAGAIN)
		BIO_set_retry_write(bio);
	if (sent < 0)
		errno = (int)-sent;
	return sent < 0 ? -1 : (int)sent;
}

static long bio_ctrl(BIO *bio, int command, long number, void *p)
{
	(void)bio;
	(void)number;
	(void)p;
	return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static void method_make(void)
{
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "wire");
	ASSERT(method);
	BIO_meth_set_read(method, bio_read);
	BIO_meth_set_write(method, bio_write);
	BIO_meth_set_ctrl(method, bio_ctrl);
	BIO_meth_set_create(method, bio_create);
}

/* ---- wires ---- */

void wire_open(struct wire *wire, int fd)
{
	*wire = (struct wire){.fd = fd};
}

void wire_close(struct wire *wire)
{
	if (wire->ssl) {
		if (SSL_is_init_finished(wire->ssl))
			(void)SSL_shutdown(wire->ssl);
		SSL_free(wire->ssl);
		ERR_clear_error();
		wire->ssl = NULL;
	}
	if (wire->fd >= 0)
		close(wire->fd);
	wire->fd = -1;
}

void wire_event(struct wire *wire, bool hangup)
{
	wire->empty = false;
	wire->hangup |= hangup;
}

int wire_tls(struct wire *wire, SSL_CTX *context, bool server)
{
	BIO *bio;

	(void)pthread_once(&method_once, method_make);
	ASSERT(!wire->ssl);
	wire->ssl = SSL_new(context);
	if (!wire->ssl)
		return -ENOMEM;
	bio = BIO_new(method);
	if (!bio) {
		SSL_free(wire->ssl);
		wire->ssl = NULL;
		return -ENOMEM;
	}
	BIO_set_data(bio, wire);
	SSL_set_bio(wire->ssl, bio, bio);
	if (server)
		SSL_set_accept_state(wire->ssl);
	else
		SSL_set_connect_state(wire->ssl);
	return 0;
}

/* What an OpenSSL call that gave no octets means. */
static ssize_t tls_result(struct wire *wire, int result)
{
	int saved = errno;
	int why = SSL_get_error(wire->ssl, result);

	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	ERR_clear_error();
	/* OpenSSL must not be asked to send an alert on a connection that is dead. */
	SSL_set_quiet_shutdown(wire->ssl, 1);
	if (why == SSL_ERROR_ZERO_RETURN)
		return 0;
	if (why == SSL_ERROR_SYSCALL)
		return saved > 0 ? -saved : -ECONNRESET;
	return -EPROTO;
}

int wire_handshake(struct wire *wire)
{
	int done;

	errno = 0;
	done = SSL_do_handshake(wire->ssl);
	if (done == 1)
		return 1;
	return tls_result(wire, done) == -EAGAIN ? 0 : -1;
}

ssize_t wire_recv(struct wire *wire, void *p, size_t n)
{
	int got;

	if (!wire->ssl)
		return socket_recv(wire, p, n);
	errno = 0;
	got = SSL_read(wire->ssl, p, (int)min_size(n, INT32_MAX));
	return got > 0 ? got : tls_result(wire, got);
}

ssize_t wire_send(struct wire *wire, const struct iovec *iov, unsigned n)
{
	uint8_t record[WIRE_RECORD_BYTES];
	const void *p = record;
	size_t used = 0;
	int sent;

	if (!wire->ssl)
		return socket_send(wire, iov, n);
	if (iov[0].iov_len >= sizeof(record)) {
		p = iov[0].iov_base;
		used = sizeof(record);
	}
	for (unsigned i = 0; i < n && used < sizeof(record); i++) {
		size_t part = min_size(iov[i].iov_len, sizeof(record) - used);

		memcpy(record + used, iov[i].iov_base, part);
		used += part;
	}
	ASSERT(used > 0);
	errno = 0;
	sent = SSL_write(wire->ssl, p, (int)used);
	return sent > 0 ? sent : tls_result(wire, sent);
}
