/* SPDX-License-Identifier: MIT */
/*
 * resolve-private.h -- what resolve.c asks of resolve_answer.c: names and record data, sans-IO; and of
 * resolve_context.c: libunbound, ready to be asked.
 */
#ifndef POSTERN_RELAY_RESOLVE_PRIVATE_H
#define POSTERN_RELAY_RESOLVE_PRIVATE_H

#include <netinet/in.h>

#include "relay/relay-private.h"

#define RESOLVE_MX_SEEN_MAX 128 /* MX records of an answer that are looked at */

/* The address that a text is: numeric, an address literal ("[192.0.2.1]", "[IPv6:2001:db8::1]"). */
MUST_USE bool resolve_numeric(const char *text, struct sockaddr_storage *out);

/* True for "localhost" and names below it (RFC 6761 6.3). */
MUST_USE bool resolve_is_local(const char *name);

/*
 * Reads the data of a DNS answer's MX records into lookup->hosts, best first, equal ones in an
 * order that `random` decides, and lookup->null_mx. Names that no host can have are left out: 0, or
 * -ENOENT when nothing is left.
 */
MUST_USE int resolve_mx_read(struct relay_lookup *lookup, const struct span *records, size_t n,
	const uint32_t random[RESOLVE_MX_SEEN_MAX]);

/* The address of an A (4 octets) or AAAA record (16); false: neither. */
MUST_USE bool resolve_address_read(struct span record, struct sockaddr_storage *out);

/* Puts two lists into lookup->addresses by turns, the first one's first. */
void resolve_interleave(struct relay_lookup *lookup, const struct sockaddr_storage *first,
	size_t first_n, const struct sockaddr_storage *second, size_t second_n);

/* ---- resolve_context.c ---- */

struct ub_ctx;

/* Everything about libunbound, its thread included. -1 and err. */
MUST_USE int resolve_context_open(
	struct ub_ctx **out, const struct relay_settings *settings, struct err *err);

#endif
