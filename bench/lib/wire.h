/* SPDX-License-Identifier: MIT */
/*
 * wire.h -- one non-blocking socket, in plaintext or under OpenSSL, the same calls for both.
 *
 * For edge-triggered epoll: a receive that took less than it asked for has emptied the socket, and
 * the next one answers -EAGAIN without a system call until wire_event() tells of news. That saves
 * a call a reply; it is why OpenSSL reads through a BIO of ours.
 *
 * A wire must not move while TLS is on. Results: octets > 0, 0 at the end of the stream, -EAGAIN
 * (come back after an event), any other -errno; -EPROTO is a TLS fault.
 */
#ifndef POSTERN_BENCH_WIRE_H
#define POSTERN_BENCH_WIRE_H

#include <openssl/ssl.h>
#include <sys/uio.h>

#include "base/base.h"

#define WIRE_RECORD_BYTES 16384

struct wire {
	int fd; /* -1: closed */
	SSL *ssl;
	bool empty;        /* nothing to receive until the next event */
	bool hangup;       /* the peer has ended its side: receive until 0 */
	uint64_t bytes_in; /* as on the network, since the last wire_open */
	uint64_t bytes_out;
};

void wire_open(struct wire *wire, int fd);
void wire_close(struct wire *wire); /* with a close_notify under TLS; never blocks */
/* There is something to receive; hangup: epoll reported EPOLLRDHUP, EPOLLHUP or EPOLLERR. */
void wire_event(struct wire *wire, bool hangup);

/* Puts TLS on top; -ENOMEM. The handshake follows: 1 done, 0 not yet, -1 failed. */
MUST_USE int wire_tls(struct wire *wire, SSL_CTX *context, bool server);
MUST_USE int wire_handshake(struct wire *wire);

MUST_USE ssize_t wire_recv(struct wire *wire, void *p, size_t n);
/* May take less than all. After -EAGAIN the same octets must be given again, at any address. */
MUST_USE ssize_t wire_send(struct wire *wire, const struct iovec *iov, unsigned n);

#endif
