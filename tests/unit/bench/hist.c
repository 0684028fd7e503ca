/* SPDX-License-Identifier: MIT */
/* hist.c -- quantiles against exact ones, bucket bounds, merging. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "bench/lib/hist.h"
#include "bench/lib/rng.h"

static struct hist hist, other;

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

Test(hist, every_bucket_holds_its_top_and_the_next_begins_behind_it)
{
	for (uint32_t i = 0; i + 1 < HIST_BUCKETS; i++) {
		uint64_t top = hist_bucket_top(i);

		cr_assert(hist_bucket(top) == i, "bucket %u", i);
		cr_assert(hist_bucket(top + 1) == i + 1, "bucket %u", i);
	}
}

Test(hist, quantiles_are_within_one_in_128_of_exact_ones)
{
	static const double shares[] = {0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1};
	static uint64_t values[20000];
	struct rng rng = {.state = 7};

	hist_init(&hist);
	for (size_t i = 0; i < COUNT_OF(values); i++) {
		values[i] = rng_u64(&rng) >> (24 + rng_u64(&rng) % 36);
		hist_record(&hist, values[i]);
	}
	qsort(values, COUNT_OF(values), sizeof(values[0]), compare);
	for (size_t i = 0; i < COUNT_OF(shares); i++) {
		double rank = shares[i] * COUNT_OF(values);
		uint64_t exact = values[(size_t)(rank + 0.999999) - 1];
		uint64_t got = hist_quantile(&hist, shares[i]);

		cr_expect(got >= exact && got - exact <= exact / 128, "share %g: %lu for %lu",
			shares[i], (unsigned long)got, (unsigned long)exact);
	}
}

Test(hist, an_empty_one_answers_zero)
{
	hist_init(&hist);
	cr_expect(hist_quantile(&hist, 0.5) == 0);
	cr_expect(hist_mean(&hist) == 0);
}

Test(hist, extremes_mean_and_what_is_too_long_are_kept)
{
	hist_init(&hist);
	hist_record(&hist, 0);
	hist_record(&hist, UINT64_C(1) << 50);
	cr_expect(hist.min == 0);
	cr_expect(hist.max == UINT64_C(1) << 50);
	cr_expect(hist_quantile(&hist, 0.5) == 0);
	cr_expect(hist_quantile(&hist, 1) == UINT64_C(1) << 50);
	cr_expect(hist_mean(&hist) == (double)(UINT64_C(1) << 49));
}

Test(hist, a_quantile_is_never_above_the_largest_value)
{
	hist_init(&hist);
	hist_record(&hist, 1000001);
	cr_expect(hist_quantile(&hist, 0.5) == 1000001);
}

Test(hist, merging_is_recording_all_in_one)
{
	static struct hist all;
	struct rng rng = {.state = 3};

	hist_init(&hist);
	hist_init(&other);
	hist_init(&all);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t value = rng_u64(&rng) >> 40;

		hist_record(i % 3 ? &hist : &other, value);
		hist_record(&all, value);
	}
	hist_merge(&hist, &other);
	cr_expect(memcmp(&hist, &all, sizeof(all)) == 0);
}
