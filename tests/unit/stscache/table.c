/* SPDX-License-Identifier: MIT */
/* The table against a plain model: names in order, the heaps' tops the smallest. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#define NAMES 300
#define STEPS 20000

TestSuite(table, .timeout = 120);

static void check(const struct stscache_table *table, struct stscache_entry *const *model)
{
	size_t n = 0;

	for (unsigned i = 0; i < NAMES; i++)
		n += model[i] != NULL;
	cr_assert_eq(table->n, n);
	for (size_t i = 1; i < table->n; i++)
		cr_assert(strcmp(table->sorted[i - 1]->domain, table->sorted[i]->domain) < 0);
	for (unsigned which = 0; which < STSCACHE_HEAPS; which++)
		for (size_t i = 0; i < table->heap_n[which]; i++) {
			const struct stscache_entry *entry = table->heaps[which][i];

			cr_assert_eq(entry->place[which], i);
			cr_assert(table->heaps[which][(i - (i > 0)) / 2]->key_ms[which] <=
				  entry->key_ms[which]);
		}
}

Test(table, agrees_with_a_model)
{
	struct stscache_table table = {0};
	struct stscache_entry *model[NAMES] = {0};
	unsigned seed = 1;
	char name[32];

	for (int step = 0; step < STEPS; step++) {
		unsigned i = (unsigned)rand_r(&seed) % NAMES;
		enum stscache_heap which = (enum stscache_heap)(rand_r(&seed) % STSCACHE_HEAPS);

		snprintf(name, sizeof(name), "d%u.example", i);
		cr_assert(stscache_table_find(&table, name) == model[i]);
		if (model[i] == NULL) {
			model[i] = stscache_table_add(&table, name);
		} else if (rand_r(&seed) % 4 == 0) {
			stscache_table_remove(&table, model[i]);
			model[i] = NULL;
		} else if (rand_r(&seed) % 4 == 0) {
			stscache_heap_drop(&table, which, model[i]);
		} else {
			stscache_heap_set(&table, which, model[i], (uint64_t)rand_r(&seed) % 100);
		}
		if (step % 50 == 0)
			check(&table, model);
	}
	while (table.n > 0)
		stscache_table_remove(&table, table.sorted[table.n / 2]);
	cr_assert(stscache_heap_first(&table, STSCACHE_HEAP_DUE) == NULL);
	stscache_table_free(&table);
}
