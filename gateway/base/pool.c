/* SPDX-License-Identifier: MIT */
/* pool.c -- see pool.h. A slab is one mmap of about 256 KiB, headed by a link to the one before. */
#include "base/pool.h"

#include <sys/mman.h>

#include "base/poison.h"

#define POOL_SLAB_BYTES   (256 * 1024)
#define POOL_HEADER_BYTES 64

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

static uint32_t slab_objects(const struct pool *pool)
{
	uint32_t n = (POOL_SLAB_BYTES - POOL_HEADER_BYTES) / pool->object_bytes;

	return n == 0 ? 1 : n;
}

static bool pool_grow(struct pool *pool)
{
	uint32_t n = slab_objects(pool);
	size_t bytes = POOL_HEADER_BYTES + (size_t)n * pool->object_bytes;
	struct pool_slab *slab;

	slab = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (slab == MAP_FAILED)
		return false;
	slab->next = pool->slabs;
	slab->bytes = bytes;
	pool->slabs = slab;
	for (uint32_t i = n; i-- > 0;) {
		void **object = (void **)((char *)slab + POOL_HEADER_BYTES +
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
