/* SPDX-License-Identifier: MIT */
/* counter.c -- see counter.h. Sets are claimed at a thread's first count and never given back. */
#include "base/counter.h"

#include <stdatomic.h>

struct counter_set {
	_Alignas(64) _Atomic int64_t values[COUNTER_COUNT];
};

static struct counter_set sets[COUNTER_THREADS_MAX];
static atomic_uint sets_claimed;
static _Thread_local struct counter_set *mine;

const struct counter_info counter_infos[COUNTER_COUNT] = {
#define COUNTER(name, type, metric, labels, help)                                                  \
	[COUNTER_##name] = {COUNTER_TYPE_##type, metric, labels, help},
#include "base/counter_table.h"
#undef COUNTER
};

void count_add(enum counter counter, int64_t n)
{
	_Atomic int64_t *value;

	if (mine == NULL) {
		unsigned i = atomic_fetch_add(&sets_claimed, 1);

		ASSERT(i < COUNTER_THREADS_MAX);
		mine = &sets[i];
	}
	value = &mine->values[counter];
	atomic_store_explicit(
		value, atomic_load_explicit(value, memory_order_relaxed) + n, memory_order_relaxed);
}

int64_t counter_own(enum counter counter)
{
	return mine != NULL ? atomic_load_explicit(&mine->values[counter], memory_order_relaxed)
			    : 0;
}

int64_t counter_sum(enum counter counter)
{
	unsigned n = atomic_load(&sets_claimed);
	int64_t sum = 0;

	for (unsigned i = 0; i < n && i < COUNTER_THREADS_MAX; i++)
		sum += atomic_load_explicit(&sets[i].values[counter], memory_order_relaxed);
	return sum;
}
