/* SPDX-License-Identifier: MIT */
/*
 * hist.h -- counts of durations in log-linear buckets: any quantile later, within 1 in 128.
 *
 * Each power of two is cut into HIST_SUB equal buckets, so the error is relative (below 0.8 %) and
 * recording is two shifts and an add. The largest and smallest value and the sum are exact.
 * Fixed size, no allocation: a worker owns one, the report merges them.
 *
 * Rejected: keeping every sample (memory grows with the run), plain powers of two (too coarse).
 */
#ifndef POSTERN_BENCH_HIST_H
#define POSTERN_BENCH_HIST_H

#include "base/base.h"

#define HIST_SUB_BITS   7
#define HIST_SUB        (1u << HIST_SUB_BITS)
#define HIST_VALUE_BITS 42 /* 2^42 ns is 73 minutes; what is longer counts there */
#define HIST_BUCKETS    ((HIST_VALUE_BITS - HIST_SUB_BITS + 1) * HIST_SUB)

struct hist {
	uint64_t n;
	uint64_t sum;
	uint64_t min;
	uint64_t max;
	uint64_t buckets[HIST_BUCKETS];
};

void hist_init(struct hist *hist);
void hist_record(struct hist *hist, uint64_t value);
void hist_merge(struct hist *to, const struct hist *from);

/* The value below or at which the share q (0..1) of all lies: the bucket's upper end, never above
 * the largest recorded. 0 when empty. */
uint64_t hist_quantile(const struct hist *hist, double q);
double hist_mean(const struct hist *hist);

/* Bucket of a value, and the largest value that belongs to a bucket. */
uint32_t hist_bucket(uint64_t value);
uint64_t hist_bucket_top(uint32_t bucket);

#endif
