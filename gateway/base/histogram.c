/* SPDX-License-Identifier: MIT */
/*
 * histogram.c -- see histogram.h. Sets are claimed at a thread's first value and never given back.
 *
 * How many values there were is not kept: it is the sum of the buckets, so that a reader who looks
 * while others write never sees a count that its buckets contradict. The sum of the values may be
 * one value ahead or behind.
 */
#include "base/histogram.h"

#include <stdatomic.h>

#include "base/counter.h"

struct histogram_cells {
	_Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
	_Atomic uint64_t sum;
};

struct histogram_set {
	_Alignas(64) struct histogram_cells cells[HISTOGRAM_COUNT];
};

static struct histogram_set sets[COUNTER_THREADS_MAX];
static atomic_uint sets_claimed;
static _Thread_local struct histogram_set *mine;

const struct histogram_info histogram_infos[HISTOGRAM_COUNT] = {
#define HISTOGRAM(name, metric, scale, help) [HISTOGRAM_##name] = {metric, scale, help},
#include "base/histogram_table.h"
#undef HISTOGRAM
};

/* The lowest i with value <= 2^i. */
static unsigned bucket_of(uint64_t value)
{
	unsigned i = value <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(value - 1);

	return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1;
}

static void cell_add(_Atomic uint64_t *cell, uint64_t n)
{
	atomic_store_explicit(
		cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}

void histogram_add(enum histogram histogram, uint64_t value)
{
	if (mine == NULL) {
		unsigned i = atomic_fetch_add(&sets_claimed, 1);

		ASSERT(i < COUNTER_THREADS_MAX);
		mine = &sets[i];
	}
	cell_add(&mine->cells[histogram].buckets[bucket_of(value)], 1);
	cell_add(&mine->cells[histogram].sum, value);
}

void histogram_sum(enum histogram histogram, struct histogram_sum *out)
{
	unsigned n = atomic_load(&sets_claimed);

	*out = (struct histogram_sum){0};
	for (unsigned i = 0; i < n && i < COUNTER_THREADS_MAX; i++) {
		struct histogram_cells *cells = &sets[i].cells[histogram];

		for (unsigned k = 0; k < HISTOGRAM_BUCKETS; k++)
			out->buckets[k] +=
				atomic_load_explicit(&cells->buckets[k], memory_order_relaxed);
		out->sum += atomic_load_explicit(&cells->sum, memory_order_relaxed);
	}
	for (unsigned k = 0; k < HISTOGRAM_BUCKETS; k++)
		out->count += out->buckets[k];
}
