/* SPDX-License-Identifier: MIT */
/*
 * fill-private.h -- what fill.c, routes.c, fence.c and sts.c share: the struct config that grows, and what it owns.
 */
#ifndef POSTERN_CONFIG_FILL_PRIVATE_H
#define POSTERN_CONFIG_FILL_PRIVATE_H

#include <confuse.h>

#include "config/config-private.h"

#define SEGMENT_STREAMS_MIN 4 /* streams a segment has room for: few seams, little waste */

struct block {
	struct block *next;
	max_align_t bytes[];
};

/* A struct config and what it owns. */
struct store {
	struct config config;
	struct block *blocks;
	struct config_places *places;
};

struct fill {
	struct store *store;
	cfg_t *root;
	const struct config_source *source;
	struct err *err;
};

/* Memory that lives as long as the struct config; NULL and a message when it is short. */
MUST_USE void *fill_alloc(struct fill *fill, size_t n);
MUST_USE char *fill_text(struct fill *fill, const char *text);

/* -1 and "FILE:LINE: ..." with the line where `sec` ends; NULL: the file's last one. */
int PRINTF_LIKE(3, 4) fill_fail(struct fill *fill, const cfg_t *sec, const char *fmt, ...);

/* All keys of one section, defaults included, into the struct at base. */
MUST_USE int fill_section(struct fill *fill, const char *section, cfg_t *sec, void *base);
MUST_USE int fill_title(struct fill *fill, cfg_t *sec);

/* A route's next hops into the array that `key` names. */
MUST_USE int fill_next_hops(
	struct fill *fill, const struct config_key *key, cfg_opt_t *opt, uint8_t *base);

/* The routes and the checks between them, relay_domains and the Maildirs. */
MUST_USE int fill_routes(struct fill *fill);

/* What the fence's section leaves open, and the checks of it and of all lists of networks. The
 * listeners are filled already. */
MUST_USE int fill_fence(struct fill *fill);

/* The policies to publish and what belongs to them: listeners, required TLS, reports. The listeners
 * and routes are filled already. */
MUST_USE int fill_sts(struct fill *fill);

#endif
