/* SPDX-License-Identifier: MIT */
/*
 * histogram.h -- distributions of histogram_table.h, one set a thread, summed when somebody asks.
 *
 * Buckets are powers of two of the unit: bucket i counts values up to 2^i; the last one the rest.
 * Same threads and same rules as counter.h.
 */
#ifndef POSTERN_BASE_HISTOGRAM_H
#define POSTERN_BASE_HISTOGRAM_H

#include "base/base.h"

#define HISTOGRAM_BUCKETS 32

enum histogram {
#define HISTOGRAM(name, metric, scale, help) HISTOGRAM_##name,
#include "base/histogram_table.h"
#undef HISTOGRAM
	HISTOGRAM_COUNT
};

struct histogram_info {
	const char *metric;
	double scale; /* of one unit, as the metric is given: 1e-6 for microseconds in seconds */
	const char *help;
};

struct histogram_sum {
	uint64_t buckets[HISTOGRAM_BUCKETS];
	uint64_t count;
	uint64_t sum; /* of the values */
};

extern const struct histogram_info histogram_infos[HISTOGRAM_COUNT];

void histogram_add(enum histogram histogram, uint64_t value);
void histogram_sum(enum histogram histogram, struct histogram_sum *out);

#endif
