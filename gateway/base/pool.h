/* SPDX-License-Identifier: MIT */
/*
 * pool.h -- objects of one size, recycled through a free list, at most `max` of them alive.
 *
 * Memory is mapped in slabs as the high-water mark rises and kept until pool_close: the data path
 * never calls malloc. One thread only. Under AddressSanitizer free objects are poisoned.
 */
#ifndef POSTERN_BASE_POOL_H
#define POSTERN_BASE_POOL_H

#include "base/base.h"

struct pool_slab;

struct pool {
	void *free;
	struct pool_slab *slabs;
	bool pages;            /* objects begin at POOL_PAGE_BYTES */
	uint32_t object_bytes; /* rounded up to 16 */
	uint32_t live;
	uint32_t made;
	uint32_t max;
};

void pool_open(struct pool *pool, size_t object_bytes, uint32_t max);

/* The same for whole pages of memory, as disks take them by themselves; in huge pages where there are
 * enough of them, which cost less to hand to a device. */
#define POOL_PAGE_BYTES 4096
void pool_open_pages(struct pool *pool, size_t object_bytes, uint32_t max);

/* NULL when `max` objects are alive or memory is short; contents are undefined. */
MUST_USE void *pool_get(struct pool *pool);
void pool_put(struct pool *pool, void *object);

/* All objects must have been put back. */
void pool_close(struct pool *pool);

#endif
