/* SPDX-License-Identifier: MIT */
/* pool.c -- see pool.h. A slab is one mmap of about 256 KiB, headed by a link to the one before;
 * one of pages is a huge page (2 MiB), the last one of a pool less. */
#include "base/pool.h"

#include <sys/mman.h>

#include "base/poison.h"

#define POOL_SLAB_BYTES      (256 * 1024)
#define POOL_HUGE_SLAB_BYTES (2 * 1024 * 1024) /* of pages; aligned to it, too */
#define POOL_HEADER_BYTES    64

struct pool_slab {
	struct pool_slab *next;
	size_t bytes;
};

void pool_open(struct pool *pool, size_t object_bytes, uint32_t max)
{
	ASSERT(object_bytes > 0 && object_bytes <= UINT32_MAX - 16);
	*pool = (struct pool){
		.object_bytes = (uint32_t)((object_bytes + 15) & ~(size_t)15),
		.max = max,
	};
}

void pool_open_pages(struct pool *pool, size_t object_bytes, uint32_t max)
{
	ASSERT(object_bytes % POOL_PAGE_BYTES == 0 && object_bytes < POOL_HUGE_SLAB_BYTES);
	pool_open(pool, object_bytes, max);
	pool->pages = true;
}

static size_t header_bytes(const struct pool *pool)
{
	return pool->pages ? POOL_PAGE_BYTES : POOL_HEADER_BYTES;
}

static uint32_t slab_objects(const struct pool *pool)
{
	size_t bytes = pool->pages ? POOL_HUGE_SLAB_BYTES : POOL_SLAB_BYTES;
	uint32_t n = (uint32_t)(bytes - header_bytes(pool)) / pool->object_bytes;

	if (pool->pages && n > pool->max - pool->made)
		n = pool->max - pool->made;
	return n == 0 ? 1 : n;
}

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* A huge page where it fills one: mapped with as much again, of which what is not aligned goes. */
static void *map_pages(size_t bytes)
{
	const size_t huge = POOL_HUGE_SLAB_BYTES;
	uint8_t *p = map(bytes <= huge / 2 ? bytes : 2 * huge);
	size_t before;

	if (p == NULL || bytes <= huge / 2)
		return p;
	before = (huge - (uintptr_t)p % huge) % huge;
	if (before > 0)
		munmap(p, before);
	munmap(p + before + bytes, 2 * huge - before - bytes);
	(void)madvise(p + before, bytes, MADV_HUGEPAGE);
	return p + before;
}

static bool pool_grow(struct pool *pool)
{
	uint32_t n = slab_objects(pool);
	size_t bytes = header_bytes(pool) + (size_t)n * pool->object_bytes;
	struct pool_slab *slab;

	if (pool->pages && bytes > POOL_HUGE_SLAB_BYTES / 2)
		bytes = POOL_HUGE_SLAB_BYTES;
	slab = pool->pages ? map_pages(bytes) : map(bytes);
	if (slab == NULL)
		return false;
	slab->next = pool->slabs;
	slab->bytes = bytes;
	pool->slabs = slab;
	for (uint32_t i = n; i-- > 0;) {
		void **object = (void **)((char *)slab + header_bytes(pool) +
					  (size_t)i * pool->object_bytes);

		*object = pool->free;
		pool->free = object;
		POISON(object, pool->object_bytes);
	}
	pool->made += n;
	return true;
}

void *pool_get(struct pool *pool)
{
	void *object;

	if (pool->live >= pool->max)
		return NULL;
	if (pool->free == NULL && !pool_grow(pool))
		return NULL;
	object = pool->free;
	UNPOISON(object, pool->object_bytes);
	pool->free = *(void **)object;
	pool->live++;
	return object;
}

void pool_put(struct pool *pool, void *object)
{
	ASSERT(object != NULL && pool->live > 0);
	*(void **)object = pool->free;
	pool->free = object;
	pool->live--;
	POISON(object, pool->object_bytes);
}

void pool_close(struct pool *pool)
{
	ASSERT(pool->live == 0);
	while (pool->slabs != NULL) {
		struct pool_slab *slab = pool->slabs;
		size_t bytes = slab->bytes;

		pool->slabs = slab->next;
		UNPOISON(slab, bytes);
		munmap(slab, bytes);
	}
	pool->free = NULL;
}
