/* SPDX-License-Identifier: MIT */
/* hist.c -- see hist.h. */
#include "bench/lib/hist.h"

#include <math.h>
#include <string.h>

void hist_init(struct hist *hist)
{
	memset(hist, 0, sizeof(*hist));
	hist->min = UINT64_MAX;
}

uint32_t hist_bucket(uint64_t value)
{
	unsigned shift;

	if (value >= 1ull << HIST_VALUE_BITS)
		return HIST_BUCKETS - 1;
	if (value < HIST_SUB)
		return (uint32_t)value;
	shift = 63u - (unsigned)__builtin_clzll(value) - HIST_SUB_BITS;
	return (shift + 1) * HIST_SUB + (uint32_t)((value >> shift) - HIST_SUB);
}

uint64_t hist_bucket_top(uint32_t bucket)
{
	unsigned shift;

	ASSERT(bucket < HIST_BUCKETS);
	if (bucket < HIST_SUB)
		return bucket;
	shift = bucket / HIST_SUB - 1;
	return ((uint64_t)(bucket % HIST_SUB + HIST_SUB + 1) << shift) - 1;
}

void hist_record(struct hist *hist, uint64_t value)
{
	hist->n++;
	hist->sum += value;
	if (value < hist->min)
		hist->min = value;
	if (value > hist->max)
		hist->max = value;
	hist->buckets[hist_bucket(value)]++;
}

void hist_merge(struct hist *to, const struct hist *from)
{
	to->n += from->n;
	to->sum += from->sum;
	if (from->min < to->min)
		to->min = from->min;
	if (from->max > to->max)
		to->max = from->max;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++)
		to->buckets[i] += from->buckets[i];
}

uint64_t hist_quantile(const struct hist *hist, double q)
{
	uint64_t rank = (uint64_t)ceil(q * (double)hist->n);
	uint64_t seen = 0;

	if (hist->n == 0)
		return 0;
	if (rank < 1)
		rank = 1;
	for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
		seen += hist->buckets[i];
		if (seen >= rank) {
			uint64_t top = hist_bucket_top(i);

			/* The last bucket holds all that is longer: its top says nothing. */
			return top > hist->max || i == HIST_BUCKETS - 1 ? hist->max : top;
		}
	}
	return hist->max;
}

double hist_mean(const struct hist *hist)
{
	return hist->n ? (double)hist->sum / (double)hist->n : 0;
}
