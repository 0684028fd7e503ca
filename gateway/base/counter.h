/* SPDX-License-Identifier: MIT */
/*
 * counter.h -- the counters of counter_table.h, one set a thread, summed when somebody asks.
 *
 * The only global state of the program. Each thread writes its own set without locks or shared
 * cache lines; readers see each value whole (64-bit relaxed atomics) but no instant of all.
 */
#ifndef POSTERN_BASE_COUNTER_H
#define POSTERN_BASE_COUNTER_H

#include "base/base.h"

#define COUNTER_THREADS_MAX 260 /* workers (at most 256), the control thread, spares */

enum counter {
#define COUNTER(name, type, metric, labels, help) COUNTER_##name,
#include "base/counter_table.h"
#undef COUNTER
	COUNTER_COUNT
};

enum counter_type { COUNTER_TYPE_counter, COUNTER_TYPE_gauge };

struct counter_info {
	enum counter_type type;
	const char *metric;
	const char *labels; /* Prometheus form, without braces; "" if none */
	const char *help;   /* "" in rows after a metric's first */
};

extern const struct counter_info counter_infos[COUNTER_COUNT];

/* Adds n to this thread's set; gauges take negative n. */
void count_add(enum counter counter, int64_t n);

static inline void count(enum counter counter)
{
	count_add(counter, 1);
}

/* What this thread has added. */
int64_t counter_own(enum counter counter);

/* The sum over all threads, those that ended included. */
int64_t counter_sum(enum counter counter);

#endif
