/* SPDX-License-Identifier: MIT */
/*
 * kernel_listeners.c -- the gateway's listening sockets as the programs know them: a class for each
 * (map fence_classes), and where they listen (map fence_listeners), which is how XDP tells our SYNs.
 *
 * A socket that listens on any address is written down with each address that this host has, so
 * that what a bridge or a router passes on to other hosts is left alone. An address that comes later is
 * not known there: its SYNs are judged at the cgroup, as all are. Where the addresses cannot be
 * had, or are more than there is room for, it is any address.
 */
#include "fence/kernel-private.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

/* Of a socket: so there is room for those of SETTINGS_LISTENERS_MAX listeners. */
#define ADDRESSES_MAX 64

static int put(struct fence_kernel *kernel, const struct fence_listener *key)
{
	uint32_t one = 1;

	return bpf_map_update_elem(kernel->maps[KERNEL_MAP_LISTENERS], key, &one, BPF_ANY);
}

static bool takes(int fd, int family, int of)
{
	int only = 0;
	socklen_t n = sizeof(only);

	if (of == family)
		return true;
	return family == AF_INET6 && of == AF_INET &&
	       getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &n) == 0 && only == 0;
}

static bool put_at(
	struct fence_kernel *kernel, const struct sockaddr *at, struct fence_listener *key)
{
	struct sockaddr_storage address = {0};
	bool v4 = at->sa_family == AF_INET;

	memcpy(&address, at, v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
	network_address(&address, key->address);
	return put(kernel, key) == 0;
}

/* Each address of ours that the socket listens on. False: not all of them. */
static bool put_each(struct fence_kernel *kernel, int fd, int family, struct fence_listener *key)
{
	struct ifaddrs *addresses;
	unsigned n = 0;
	bool all;

	if (getifaddrs(&addresses) != 0)
		return false;
	for (const struct ifaddrs *at = addresses; at != NULL; at = at->ifa_next)
		n += at->ifa_addr != NULL && takes(fd, family, at->ifa_addr->sa_family);
	all = n <= ADDRESSES_MAX;
	for (const struct ifaddrs *at = addresses; at != NULL && all; at = at->ifa_next)
		if (at->ifa_addr != NULL && takes(fd, family, at->ifa_addr->sa_family))
			all = put_at(kernel, at->ifa_addr, key);
	freeifaddrs(addresses);
	return all;
}

/* The kernel's word for where a socket listens; an address that is any is all zero. */
static int listener_put(struct fence_kernel *kernel, int fd, struct err *err)
{
	struct sockaddr_storage at = {0};
	socklen_t n = sizeof(at);
	struct fence_listener key = {0};
	bool any;

	if (getsockname(fd, (struct sockaddr *)&at, &n) != 0)
		return err_set(err, "getsockname: %s", strerror(errno));
	/* The port stands in one place in both families. */
	key.port = ntohs(((const struct sockaddr_in *)&at)->sin_port);
	if (at.ss_family == AF_INET)
		any = ((const struct sockaddr_in *)&at)->sin_addr.s_addr == htonl(INADDR_ANY);
	else
		any = IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&at)->sin6_addr);
	if (any && put_each(kernel, fd, at.ss_family, &key))
		return 0;
	memset(key.address, 0, sizeof(key.address));
	if (!any)
		network_address(&at, key.address);
	if (put(kernel, &key) != 0)
		return err_set(
			err, "%s: %s", kernel_maps[KERNEL_MAP_LISTENERS].name, strerror(errno));
	return 0;
}

int kernel_listeners_put(struct fence_kernel *kernel, const struct listener_settings *listeners,
	size_t listeners_n, const int *fds, size_t per_listener, struct err *err)
{
	for (size_t i = 0; i < listeners_n * per_listener; i++) {
		const struct listener_settings *listener = &listeners[i / per_listener];
		bool tls = listener->tls == LISTENER_TLS_IMPLICIT;
		int res = fence_kernel_mark(kernel, fds[i], tls ? FENCE_HANDSHAKE : FENCE_PLAIN);

		if (res != 0)
			return err_set(
				err, "cannot mark the listening sockets: %s", strerror(-res));
		if (listener_put(kernel, fds[i], err) != 0)
			return -1;
	}
	return 0;
}
