/* SPDX-License-Identifier: MIT */
/*
 * arena.h -- memory of one owner, given back all at once; chunks come from a pool.
 *
 * Bounded: an arena never holds more than chunks_max chunks, so a peer cannot grow it. An empty
 * arena holds nothing.
 */
#ifndef POSTERN_BASE_ARENA_H
#define POSTERN_BASE_ARENA_H

#include "base/pool.h"
#include "base/span.h"

struct arena_chunk;

struct arena {
	struct pool *chunks; /* object size = chunk size */
	struct arena_chunk *head;
	uint32_t used; /* bytes of head in use */
	uint32_t held;
	uint32_t chunks_max;
};

void arena_init(struct arena *arena, struct pool *chunks, uint32_t chunks_max);

/* Memory aligned to 8; NULL when n is more than a chunk holds or the limit is reached. */
MUST_USE void *arena_alloc(struct arena *arena, size_t n);

/* Copies the bytes; .p is NULL on failure (an empty span is copied as a non-NULL pointer). */
MUST_USE struct span arena_copy(struct arena *arena, struct span bytes);

void arena_reset(struct arena *arena);

#endif
