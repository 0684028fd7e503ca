/* SPDX-License-Identifier: MIT */
/*
 * route-private.h -- what route.c and route_file.c share: the table from domains to routes.
 */
#ifndef POSTERN_RELAY_ROUTE_PRIVATE_H
#define POSTERN_RELAY_ROUTE_PRIVATE_H

#include "base/holders.h"
#include "relay/relay.h"

#define ROUTES_FILE_MAX    (64u << 20) /* octets */
#define ROUTES_DOMAINS_MAX 1000000     /* of the file */

/* Open addressing; at most half of the slots are taken, nothing is ever removed. */
struct route_slot {
	const char *key; /* NULL: free */
	const struct route_settings *route;
	uint32_t tag;
	uint32_t line; /* of the file; 0: the configuration's */
};

struct route_table {
	struct route_slot *slots;
	uint64_t mask;
	uint64_t seed;
};

/* Room for n keys. -ENOMEM. */
MUST_USE int route_table_open(struct route_table *table, uint64_t n);
void route_table_close(struct route_table *table);

/* Adds a key, which the caller keeps; the slot that held it already, or NULL. */
MUST_USE const struct route_slot *route_table_add(struct route_table *table, const char *key,
	const struct route_settings *route, uint32_t line);

/* NULL: not there. The key must not hold a NUL. */
MUST_USE const struct route_slot *route_table_find(
	const struct route_table *table, struct span key);

struct relay_routes {
	struct holders holders;
	const struct relay_settings *settings;
	struct route_table domains;
	bool has_below; /* some key begins with a dot */
	char *text;     /* the file's, where its keys stand; NULL: none */
};

/* Routes of the configuration alone, with room for `more` domains. -ENOMEM. */
MUST_USE int route_table_of(
	struct relay_routes **out, const struct relay_settings *settings, uint64_t more);

/*
 * As relay_routes_open, with the routes file in memory: n octets and room for one more, which from
 * now on belong to the routes (free()), on failure too. `path` is for messages.
 */
MUST_USE int relay_routes_parse(struct relay_routes **out, const struct relay_settings *settings,
	const char *path, char *text, size_t n, struct err *err);

#endif
