/* SPDX-License-Identifier: MIT */
/* pool.c -- pools and the arenas on top of them: limits, alignment, reuse, giving back. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/poison.h"
#include "base/pool.h"

Test(pool, gives_out_max_distinct_aligned_objects_and_no_more)
{
	enum { MAX = 5000 };
	static uint8_t *objects[MAX];
	struct pool pool;

	pool_open(&pool, 100, MAX);
	for (unsigned i = 0; i < MAX; i++) {
		objects[i] = pool_get(&pool);
		cr_assert(objects[i] != NULL);
		cr_assert(eq(sz, (uintptr_t)objects[i] % 16, 0));
		memset(objects[i], (int)(i & 0xff), 100);
	}
	cr_assert(pool_get(&pool) == NULL);
	for (unsigned i = 0; i < MAX; i++) {
		cr_assert(objects[i][0] == (i & 0xff) && objects[i][99] == (i & 0xff),
			"object %u was overwritten", i);
		pool_put(&pool, objects[i]);
	}
	cr_assert(eq(u32, pool.live, 0));
	pool_close(&pool);
}

/* The last of a pool's slabs is no larger than what it has to give. */
Test(pool, objects_of_whole_pages)
{
	static const uint32_t maxima[] = {1, 3, 60, 127, 128, 300};
	static uint8_t *objects[300];

	for (size_t row = 0; row < COUNT_OF(maxima); row++) {
		struct pool pool;

		pool_open_pages(&pool, 4 * POOL_PAGE_BYTES, maxima[row]);
		for (uint32_t i = 0; i < maxima[row]; i++) {
			objects[i] = pool_get(&pool);
			cr_assert(objects[i] != NULL);
			cr_assert(eq(sz, (uintptr_t)objects[i] % POOL_PAGE_BYTES, 0));
			memset(objects[i], (int)(i & 0xff), 4 * POOL_PAGE_BYTES);
		}
		cr_assert(pool_get(&pool) == NULL);
		cr_assert(eq(u32, pool.made, maxima[row]));
		for (uint32_t i = 0; i < maxima[row]; i++) {
			cr_assert(objects[i][0] == (i & 0xff));
			cr_assert(objects[i][4 * POOL_PAGE_BYTES - 1] == (i & 0xff));
			pool_put(&pool, objects[i]);
		}
		pool_close(&pool);
	}
}

Test(pool, what_was_put_back_is_given_out_again_without_new_memory)
{
	struct pool pool;
	uint32_t made;

	pool_open(&pool, 64, 2);
	pool_put(&pool, pool_get(&pool));
	made = pool.made;
	for (unsigned i = 0; i < 100000; i++)
		pool_put(&pool, pool_get(&pool));
	cr_assert(eq(u32, pool.made, made));
	pool_close(&pool);
}

Test(pool, objects_larger_than_a_slab)
{
	const size_t bytes = 1 << 20;
	struct pool pool;
	char *a;
	char *b;

	pool_open(&pool, bytes, 2);
	a = pool_get(&pool);
	b = pool_get(&pool);
	memset(a, 1, bytes);
	memset(b, 2, bytes);
	cr_assert(a[0] == 1 && a[bytes - 1] == 1);
	pool_put(&pool, a);
	pool_put(&pool, b);
	pool_close(&pool);
}

Test(pool, closing_with_an_object_alive, .signal = SIGABRT)
{
	struct pool pool;

	pool_open(&pool, 16, 1);
	cr_assert(pool_get(&pool) != NULL);
	pool_close(&pool);
}

#ifdef POISON_ASAN
Test(pool, free_objects_are_poisoned)
{
	struct pool pool;
	char *object;

	pool_open(&pool, 48, 4);
	object = pool_get(&pool);
	cr_assert(not(__asan_address_is_poisoned(object)));
	cr_assert(__asan_address_is_poisoned(object + 48));
	pool_put(&pool, object);
	cr_assert(__asan_address_is_poisoned(object));
	cr_assert(__asan_address_is_poisoned(object + 47));
	pool_close(&pool);
	object = NULL;
}
#endif

/* ---- arena ---- */

#define CHUNK_BYTES  256
#define CHUNK_USABLE (CHUNK_BYTES - 8)
#define CHUNKS_MAX   3

static struct pool chunks;
static struct arena arena;

static void arena_open(void)
{
	pool_open(&chunks, CHUNK_BYTES, 10);
	arena_init(&arena, &chunks, CHUNKS_MAX);
}

static void arena_close(void)
{
	arena_reset(&arena);
	cr_assert(eq(u32, chunks.live, 0));
	pool_close(&chunks);
}

TestSuite(arena, .init = arena_open, .fini = arena_close);

Test(arena, an_empty_arena_holds_nothing)
{
	cr_assert(eq(u32, chunks.live, 0));
	arena_reset(&arena);
	cr_assert(eq(u32, chunks.live, 0));
}

Test(arena, memory_is_aligned_and_does_not_overlap)
{
	uint8_t *p[CHUNKS_MAX * (CHUNK_USABLE / 16)];

	for (size_t i = 0; i < COUNT_OF(p); i++) {
		p[i] = arena_alloc(&arena, 9 + i % 8);
		if (p[i] == NULL)
			cr_fatal("allocation %zu of %zu", i, COUNT_OF(p));
		cr_assert(eq(sz, (uintptr_t)p[i] % 8, 0));
		memset(p[i], (int)i, 9 + i % 8);
	}
	for (size_t i = 0; i < COUNT_OF(p); i++)
		cr_assert(p[i][0] == (uint8_t)i && p[i][8 + i % 8] == (uint8_t)i);
	cr_assert(le(u32, chunks.live, CHUNKS_MAX));
}

Test(arena, sizes_at_the_edge)
{
	static const struct {
		size_t n;
		bool fits;
	} cases[] = {
		{0, true},
		{1, true},
		{CHUNK_USABLE - 1, true},
		{CHUNK_USABLE, true},
		{CHUNK_USABLE + 1, false},
		{SIZE_MAX - 6, false},
		{SIZE_MAX, false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint8_t *p = arena_alloc(&arena, cases[i].n);

		cr_assert(cases[i].fits == (p != NULL), "%zu", cases[i].n);
		if (p != NULL)
			memset(p, 0xff, cases[i].n);
		arena_reset(&arena);
	}
}

Test(arena, the_limit_holds_and_reset_lifts_it)
{
	for (unsigned turn = 0; turn < 2; turn++) {
		for (unsigned i = 0; i < CHUNKS_MAX; i++)
			cr_assert(arena_alloc(&arena, CHUNK_USABLE) != NULL);
		cr_assert(arena_alloc(&arena, 1) == NULL);
		cr_assert(eq(u32, chunks.live, CHUNKS_MAX));
		arena_reset(&arena);
		cr_assert(eq(u32, chunks.live, 0));
	}
}

Test(arena, an_empty_pool_is_no_memory)
{
	void *taken[10];

	for (unsigned i = 0; i < 10; i++)
		taken[i] = pool_get(&chunks);
	cr_assert(arena_alloc(&arena, 1) == NULL);
	pool_put(&chunks, taken[9]);
	cr_assert(arena_alloc(&arena, 1) != NULL);
	for (unsigned i = 0; i < 9; i++)
		pool_put(&chunks, taken[i]);
}

Test(arena, copies_are_copies_and_an_empty_one_is_not_failure)
{
	char text[] = "abc";
	struct span copy = arena_copy(&arena, span_str(text));
	struct span empty = arena_copy(&arena, (struct span){0});
	char big[CHUNK_USABLE + 1] = {0};

	text[0] = 'x';
	cr_assert(span_equal(copy, span_str("abc")));
	cr_assert(empty.p != NULL && empty.n == 0);
	cr_assert(arena_copy(&arena, span_of(big, sizeof(big))).p == NULL);
}
