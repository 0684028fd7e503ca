/* SPDX-License-Identifier: MIT */
/*
 * kernel.c -- finds out what the running kernel can, by doing it: a TCP connection over loopback,
 * the ULP, keys both ways, the options, other keys again, and half a record.
 *
 * No version is compared: distributors backport, and behaviour is what counts. The last probe is
 * for Linux 6.1, which reports a socket readable while only part of a record is there and then has
 * nothing to give (kernel-notes/ktls-partial-records.md): the far end sends half a record, and poll
 * must stay silent. On a sound kernel that costs PARTIAL_WAIT_MS, once, at the start.
 */
#include "tls/tls-private.h"

#include <errno.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TLS_RX_EXPECT_NO_PAD
#define TLS_RX_EXPECT_NO_PAD 4
#endif

#define CONNECT_WAIT_MS 1000
#define PARTIAL_WAIT_MS 30

struct pair {
	int listener;
	int near; /* gets the ULP */
	int far;
};

static void pair_close(struct pair *pair)
{
	if (pair->listener >= 0)
		close(pair->listener);
	if (pair->near >= 0)
		close(pair->near);
	if (pair->far >= 0)
		close(pair->far);
}

static int pair_connect(struct pair *pair, struct sockaddr *address, socklen_t n)
{
	struct pollfd waiting;
	int flags = SOCK_STREAM | SOCK_CLOEXEC;

	pair->listener = socket(address->sa_family, flags, 0);
	pair->far = socket(address->sa_family, flags | SOCK_NONBLOCK, 0);
	if (pair->listener < 0 || pair->far < 0 || bind(pair->listener, address, n) != 0 ||
		listen(pair->listener, 1) != 0 || getsockname(pair->listener, address, &n) != 0)
		return -errno;
	if (connect(pair->far, address, n) != 0 && errno != EINPROGRESS)
		return -errno;
	waiting = (struct pollfd){.fd = pair->listener, .events = POLLIN};
	if (poll(&waiting, 1, CONNECT_WAIT_MS) != 1)
		return -ETIMEDOUT;
	pair->near = accept4(pair->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	return pair->near >= 0 ? 0 : -errno;
}

static int pair_open(struct pair *pair)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int result;

	*pair = (struct pair){.listener = -1, .near = -1, .far = -1};
	result = pair_connect(pair, (struct sockaddr *)&v4, sizeof(v4));
	if (result == 0)
		return 0;
	pair_close(pair);
	*pair = (struct pair){.listener = -1, .near = -1, .far = -1};
	return pair_connect(pair, (struct sockaddr *)&v6, sizeof(v6));
}

/* Keys of no secrecy: nothing is ever sent under them. */
static int plant(const struct pair *pair, int direction, uint8_t fill)
{
	const struct tls_suite *suite = tls_suite_find(0x1301);
	const uint8_t nonce[TLS_NONCE_SIZE] = {0};
	struct tls_crypto crypto;
	struct tls_keys keys;

	memset(&keys, fill, sizeof(keys));
	tls_crypto_fill(&crypto, suite, &keys, nonce, 0);
	return tls_setsockopt(pair->near, SOL_TLS, direction, crypto.bytes, crypto.n);
}

static bool spins_on_partial(const struct pair *pair)
{
	static const uint8_t half[] = {23, 3, 3, 0, 64, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
	struct pollfd waiting = {.fd = pair->near, .events = POLLIN};
	uint8_t octet;

	if (send(pair->far, half, sizeof(half), MSG_NOSIGNAL) != (ssize_t)sizeof(half))
		return true;
	return poll(&waiting, 1, PARTIAL_WAIT_MS) == 1 &&
	       recv(pair->near, &octet, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void why_no_ulp(struct tls_kernel *kernel, int error)
{
	const char *text = strerror(-error);

	if (error == -ENOENT)
		text = "not there: load it with `modprobe tls`, or the kernel lacks CONFIG_TLS";
	else if (error == -ENOPROTOOPT)
		text = "TCP_ULP is unknown to this kernel";
	snprintf(kernel->why, sizeof(kernel->why), "TLS ULP: %s", text);
}

static void probe(struct tls_kernel *kernel, const struct pair *pair)
{
	int result = tls_ulp_attach(pair->near);
	int on = 1;

	if (result != 0) {
		why_no_ulp(kernel, result);
		return;
	}
	result = plant(pair, TLS_TX, 1);
	kernel->tx = result == 0;
	if (result != 0) {
		snprintf(kernel->why, sizeof(kernel->why), "TLS_TX with AES-128-GCM: %s",
			strerror(-result));
		return;
	}
	kernel->rx = plant(pair, TLS_RX, 2) == 0;
	if (!kernel->rx)
		return;
	kernel->no_pad =
		tls_setsockopt(pair->near, SOL_TLS, TLS_RX_EXPECT_NO_PAD, &on, sizeof(on)) == 0;
	kernel->rekey = plant(pair, TLS_TX, 3) == 0 && plant(pair, TLS_RX, 4) == 0;
	kernel->rx_spins_on_partial = spins_on_partial(pair);
}

void tls_kernel_probe(struct tls_kernel *kernel)
{
	struct pair pair;
	int result = pair_open(&pair);

	*kernel = (struct tls_kernel){0};
	if (result == 0)
		probe(kernel, &pair);
	else
		snprintf(kernel->why, sizeof(kernel->why), "no loopback connection to try on: %s",
			strerror(-result));
	pair_close(&pair);
}
