/* SPDX-License-Identifier: MIT */
/*
 * host.h -- HOST:PORT texts, and which addresses the load tools may touch.
 *
 * A load tool aimed at somebody else is a weapon. So an address is allowed only if it is loopback
 * (127/8, ::1), or if this process is in a private test namespace and the address is from a range
 * for private or documentation use. A namespace counts as private when none of its interfaces is
 * hardware (all are lo, veth, dummy, bridge, tun) and it has no default route.
 * The operator's word (--i-own-this-host) lifts the rule; nothing else does.
 *
 * Only numeric addresses and "localhost": no name server is asked, so none can redirect.
 */
#ifndef POSTERN_BENCH_HOST_H
#define POSTERN_BENCH_HOST_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/base.h"

#define HOST_TEXT_MAX 72

struct host {
	socklen_t n;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
};

/* "127.0.0.1:25", "[::1]:25", "localhost:25"; port 0 only where port_zero. */
MUST_USE int host_parse(struct host *host, const char *text, bool port_zero, struct err *err);
/* Without a port. */
MUST_USE int host_parse_address(struct host *host, const char *text, struct err *err);

/* May this program touch the address? -1 and the reason when not. */
MUST_USE int host_allowed(const struct host *host, bool own_this_host, struct err *err);
MUST_USE bool host_is_loopback(const struct host *host);
MUST_USE bool host_is_private(const struct host *host); /* range for private or documentation use */

/* The address i after this one, the same port. */
struct host host_plus(const struct host *host, uint32_t i);

uint16_t host_port(const struct host *host);
/* "127.0.0.1:25" into text[HOST_TEXT_MAX]. */
const char *host_text(const struct host *host, char *text);

#endif
