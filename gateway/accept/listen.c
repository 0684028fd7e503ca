/* SPDX-License-Identifier: MIT */
/* listen.c -- listening sockets. */
#include "accept/accept.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <time.h>
#include <unistd.h>

#define FREE_PAUSE_MS 20
#define FREE_TRIES    100 /* 2 s in all */

static socklen_t address_of(
	const struct listener_settings *listener, struct sockaddr_storage *address)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET, listener->address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(listener->port);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, listener->address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(listener->port);
		return sizeof(*v6);
	}
	return 0;
}

/* TCP_NODELAY is inherited by accepted sockets; IPv6 sockets take no IPv4 (a listener each). */
static int listen_one(const struct sockaddr_storage *address, socklen_t n)
{
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;
	int error;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0 &&
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0 &&
		(address->ss_family != AF_INET6 ||
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) == 0) &&
		bind(fd, (const struct sockaddr *)address, n) == 0 &&
		listen(fd, ACCEPT_BACKLOG) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

/* SO_REUSEPORT would let a second gateway of the same user bind beside us: asks without it first.
 */
static int probe_free(const struct sockaddr_storage *address, socklen_t n)
{
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;
	int error = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (address->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)address, n) != 0)
		error = -errno;
	close(fd);
	return error;
}

/* A gateway that was killed leaves its child to end a moment later: waits for that. */
static int wait_free(const struct sockaddr_storage *address, socklen_t n)
{
	const struct timespec pause = {.tv_nsec = FREE_PAUSE_MS * 1000000L};
	int error = probe_free(address, n);

	for (unsigned i = 0; i < FREE_TRIES && error == -EADDRINUSE; i++) {
		nanosleep(&pause, NULL);
		error = probe_free(address, n);
	}
	return error;
}

int accept_listen(
	const struct listener_settings *listener, int *fds, uint32_t workers, struct err *err)
{
	struct sockaddr_storage address;
	socklen_t n = address_of(listener, &address);
	int error;

	if (n == 0)
		return err_set(err, "listener \"%s\": \"%s\" is not a numeric address",
			listener->title, listener->address);
	error = wait_free(&address, n);
	for (uint32_t i = 0; i < workers && error == 0; i++) {
		fds[i] = listen_one(&address, n);
		if (fds[i] >= 0)
			continue;
		error = fds[i];
		while (i-- > 0)
			close(fds[i]);
		break;
	}
	if (error == 0)
		return 0;
	return err_set(err, "listener \"%s\": cannot listen on %s port %u: %s%s", listener->title,
		listener->address, listener->port, strerror(-error),
		error == -EACCES ? " (ports below 1024 need root or CAP_NET_BIND_SERVICE)" : "");
}
