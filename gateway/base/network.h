/* SPDX-License-Identifier: MIT */
/*
 * network.h -- IP addresses and networks as 16 octets: IPv6, or IPv4 mapped (::ffff:a.b.c.d, RFC
 * 4291 2.5.5.2), so that a peer is the same whichever socket it came to.
 */
#ifndef POSTERN_BASE_NETWORK_H
#define POSTERN_BASE_NETWORK_H

#include <sys/socket.h>

#include "base/span.h"

#define NETWORK_BYTES    16
#define NETWORK_TEXT_MAX 64 /* "ADDRESS/BITS" with its NUL */

struct network {
	uint8_t address[NETWORK_BYTES]; /* bits after the prefix are zero */
	uint8_t bits;                   /* of 128: an IPv4 /24 is 96 + 24 */
};

/* One end of a connection, in a fraction of a sockaddr_storage's room. */
struct network_end {
	uint8_t address[NETWORK_BYTES];
	uint16_t port;
};

/* "192.0.2.0/24", "2001:db8::/32", or one address. False: not one, or bits after the prefix. */
MUST_USE bool network_parse(const char *text, struct network *out);
/* As it would be written; one address without "/BITS". Returns text. */
const char *network_text(const struct network *network, char text[NETWORK_TEXT_MAX]);
bool network_has(const struct network *network, const uint8_t address[NETWORK_BYTES]);

/* Is the address in one of the networks, each as network_parse() takes it? (Others match nothing.) */
bool network_list_has(const char *const *texts, size_t n, const uint8_t address[NETWORK_BYTES]);

/* Of AF_INET or AF_INET6; other families: all zero. */
void network_address(const struct sockaddr_storage *from, uint8_t address[NETWORK_BYTES]);
/* The same with the port. */
struct network_end network_end_of(const struct sockaddr_storage *from);
bool network_end_equal(const struct network_end *a, const struct network_end *b);
/* The address alone, as network_text(). Returns text. */
const char *network_end_text(const struct network_end *end, char text[NETWORK_TEXT_MAX]);
/* The reverse: AF_INET for mapped ones. The whole of *out is written. */
void network_socket(
	const uint8_t address[NETWORK_BYTES], uint16_t port, struct sockaddr_storage *out);

#endif
