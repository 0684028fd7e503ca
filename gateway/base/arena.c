/* SPDX-License-Identifier: MIT */
/* arena.c -- see arena.h. */
#include "base/arena.h"

struct arena_chunk {
	struct arena_chunk *next;
	uint64_t memory[];
};

void arena_init(struct arena *arena, struct pool *chunks, uint32_t chunks_max)
{
	*arena = (struct arena){.chunks = chunks, .chunks_max = chunks_max};
}

static bool arena_grow(struct arena *arena)
{
	struct arena_chunk *chunk;

	if (arena->held >= arena->chunks_max)
		return false;
	chunk = pool_get(arena->chunks);
	if (chunk == NULL)
		return false;
	chunk->next = arena->head;
	arena->head = chunk;
	arena->used = 0;
	arena->held++;
	return true;
}

void *arena_alloc(struct arena *arena, size_t n)
{
	size_t cap = arena->chunks->object_bytes - sizeof(struct arena_chunk);
	void *p;

	if (n > cap)
		return NULL;
	n = n == 0 ? 8 : (n + 7) & ~(size_t)7;
	if (n > cap)
		return NULL;
	if ((arena->head == NULL || n > cap - arena->used) && !arena_grow(arena))
		return NULL;
	p = (char *)arena->head->memory + arena->used;
	arena->used += (uint32_t)n;
	return p;
}

struct span arena_copy(struct arena *arena, struct span bytes)
{
	void *p = arena_alloc(arena, bytes.n);

	if (p == NULL)
		return (struct span){0};
	if (bytes.n > 0)
		memcpy(p, bytes.p, bytes.n);
	return span_of(p, bytes.n);
}

void arena_reset(struct arena *arena)
{
	while (arena->head != NULL) {
		struct arena_chunk *chunk = arena->head;

		arena->head = chunk->next;
		pool_put(arena->chunks, chunk);
	}
	arena->used = 0;
	arena->held = 0;
}
