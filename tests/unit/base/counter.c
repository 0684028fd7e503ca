/* SPDX-License-Identifier: MIT */
/* counter.c -- counting from many threads, and the table's own rules. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <string.h>

#include "base/counter.h"

#define THREADS 8
#define ROUNDS  100000

static void *count_much(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < ROUNDS; i++) {
		count(COUNTER_SESSIONS);
		count_add(COUNTER_SESSIONS_ACTIVE, 3);
		count_add(COUNTER_SESSIONS_ACTIVE, -2);
	}
	return NULL;
}

Test(counter, sums_over_threads_that_ended_and_are_read_meanwhile)
{
	pthread_t threads[THREADS];
	int64_t last = 0;

	for (unsigned i = 0; i < THREADS; i++)
		cr_assert(pthread_create(&threads[i], NULL, count_much, NULL) == 0);
	for (unsigned i = 0; i < 1000; i++) {
		int64_t now = counter_sum(COUNTER_SESSIONS);

		cr_assert(now >= last && now <= (int64_t)THREADS * ROUNDS, "only rises");
		last = now;
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	count(COUNTER_SESSIONS);
	cr_assert(eq(i64, counter_sum(COUNTER_SESSIONS), (int64_t)THREADS * ROUNDS + 1));
	cr_assert(eq(i64, counter_sum(COUNTER_SESSIONS_ACTIVE), (int64_t)THREADS * ROUNDS));
	cr_assert(eq(i64, counter_sum(COUNTER_RELOADS), 0));
}

static bool begins_a_metric(size_t i)
{
	return i == 0 || strcmp(counter_infos[i].metric, counter_infos[i - 1].metric) != 0;
}

Test(counter, table_keeps_its_rules)
{
	for (size_t i = 0; i < COUNTER_COUNT; i++) {
		const struct counter_info *info = &counter_infos[i];
		size_t n = strlen(info->metric);
		bool total = n > 6 && strcmp(info->metric + n - 6, "_total") == 0;

		cr_assert(strncmp(info->metric, "postern_", 8) == 0, "%s", info->metric);
		cr_assert(total == (info->type == COUNTER_TYPE_counter), "%s", info->metric);
		cr_assert(begins_a_metric(i) == (info->help[0] != '\0'), "%s: help", info->metric);
		for (size_t j = 0; j < i; j++) {
			if (strcmp(counter_infos[j].metric, info->metric) != 0)
				continue;
			cr_assert(not(begins_a_metric(i)), "%s stands apart", info->metric);
			cr_assert(counter_infos[j].type == info->type, "%s", info->metric);
			cr_assert(strcmp(counter_infos[j].labels, info->labels) != 0,
				"%s{%s} twice", info->metric, info->labels);
		}
	}
}
