/* SPDX-License-Identifier: MIT */
/* histogram.c -- which bucket a value falls into, and that threads lose none. */
#include <criterion/criterion.h>

#include <pthread.h>

#include "base/histogram.h"

static const struct {
	uint64_t value;
	unsigned bucket;
} rows[] = {
	{0, 0},
	{1, 0},
	{2, 1},
	{3, 2},
	{4, 2},
	{5, 3},
	{1023, 10},
	{1024, 10},
	{1025, 11},
	{1ull << 30, 30},
	{(1ull << 30) + 1, 31},
	{1ull << 31, 31},
	{(1ull << 31) + 1, 31},
	{UINT64_MAX, 31},
};

Test(histogram, bucket_of_a_value)
{
	struct histogram_sum before, after;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		histogram_sum(HISTOGRAM_SPOOL_BATCH, &before);
		histogram_add(HISTOGRAM_SPOOL_BATCH, rows[i].value);
		histogram_sum(HISTOGRAM_SPOOL_BATCH, &after);
		for (unsigned k = 0; k < HISTOGRAM_BUCKETS; k++)
			cr_expect_eq(after.buckets[k] - before.buckets[k], k == rows[i].bucket,
				"%llu in bucket %u", (unsigned long long)rows[i].value, k);
		cr_expect_eq(after.count - before.count, 1);
		cr_expect_eq(after.sum - before.sum, rows[i].value);
	}
}

Test(histogram, empty_at_first)
{
	struct histogram_sum sum;

	for (int i = 0; i < HISTOGRAM_COUNT; i++) {
		histogram_sum((enum histogram)i, &sum);
		cr_expect_eq(sum.count, 0);
		cr_expect_eq(sum.sum, 0);
	}
}

Test(histogram, infos)
{
	for (int i = 0; i < HISTOGRAM_COUNT; i++) {
		cr_expect_eq(strncmp(histogram_infos[i].metric, "postern_", 8), 0);
		cr_expect_gt(histogram_infos[i].scale, 0);
		cr_expect_neq(histogram_infos[i].help[0], '\0');
	}
}

#define THREADS 4
#define VALUES  10000

static void *add_many(void *arg)
{
	(void)arg;
	for (uint64_t i = 1; i <= VALUES; i++)
		histogram_add(HISTOGRAM_SPOOL_COMMIT_US, i);
	return NULL;
}

Test(histogram, sum_over_threads_that_ended)
{
	pthread_t threads[THREADS];
	struct histogram_sum sum;

	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, add_many, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	histogram_sum(HISTOGRAM_SPOOL_COMMIT_US, &sum);
	cr_expect_eq(sum.count, THREADS * VALUES);
	cr_expect_eq(sum.sum, (uint64_t)THREADS * VALUES * (VALUES + 1) / 2);
	cr_expect_eq(sum.buckets[0], THREADS);
	cr_expect_eq(sum.buckets[13], THREADS * (8192 - 4096));
	histogram_sum(HISTOGRAM_SPOOL_BATCH, &sum);
	cr_expect_eq(sum.count, 0, "another histogram's");
}
