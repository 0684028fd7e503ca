/* SPDX-License-Identifier: MIT */
/*
 * table.c -- the entries by name, and two heaps of them by time.
 *
 * By name: a sorted array. A look-up is 17 comparisons at the most entries there may be, a new one
 * moves at most 800 KB, the list for people comes for nothing; a hash would need sorting for that, a
 * tree would take more code than it saves time. The heaps say who expires first and whose refresh is
 * due; each entry knows its places. All arrays grow together, so that only adding can fail.
 */
#include "stscache/stscache-private.h"

#include <stdlib.h>

#define CAP_FIRST 64

size_t stscache_table_after(const struct stscache_table *table, const char *name)
{
	size_t low = 0;
	size_t high = table->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(table->sorted[middle]->domain, name) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct stscache_entry *stscache_table_find(const struct stscache_table *table, const char *domain)
{
	size_t i = stscache_table_after(table, domain);

	if (i == 0 || strcmp(table->sorted[i - 1]->domain, domain) != 0)
		return NULL;
	return table->sorted[i - 1];
}

static bool grow_one(struct stscache_entry ***array, size_t cap)
{
	struct stscache_entry **grown = realloc(*array, cap * sizeof(*grown));

	if (grown != NULL)
		*array = grown;
	return grown != NULL;
}

static bool grow(struct stscache_table *table)
{
	size_t cap = table->cap > 0 ? 2 * table->cap : CAP_FIRST;

	if (table->n < table->cap)
		return true;
	if (!grow_one(&table->sorted, cap))
		return false;
	for (unsigned which = 0; which < STSCACHE_HEAPS; which++)
		if (!grow_one(&table->heaps[which], cap))
			return false;
	table->cap = cap;
	return true;
}

struct stscache_entry *stscache_table_add(struct stscache_table *table, const char *domain)
{
	size_t at = stscache_table_after(table, domain);
	size_t n = strlen(domain);
	struct stscache_entry *entry;

	if (!grow(table))
		return NULL;
	entry = calloc(1, sizeof(*entry) + n + 1);
	if (entry == NULL)
		return NULL;
	memcpy(entry->domain, domain, n + 1);
	for (unsigned which = 0; which < STSCACHE_HEAPS; which++)
		entry->place[which] = STSCACHE_NO_PLACE;
	memmove(table->sorted + at + 1, table->sorted + at, (table->n - at) * sizeof(entry));
	table->sorted[at] = entry;
	table->n++;
	return entry;
}

void stscache_table_remove(struct stscache_table *table, struct stscache_entry *entry)
{
	size_t at = stscache_table_after(table, entry->domain) - 1;

	ASSERT(at < table->n && table->sorted[at] == entry);
	ASSERT(entry->policy == NULL && entry->failure == NULL && entry->flight == NULL);
	for (unsigned which = 0; which < STSCACHE_HEAPS; which++)
		stscache_heap_drop(table, which, entry);
	table->n--;
	memmove(table->sorted + at, table->sorted + at + 1, (table->n - at) * sizeof(entry));
	free(entry);
}

void stscache_table_free(struct stscache_table *table)
{
	ASSERT(table->n == 0);
	free(table->sorted);
	for (unsigned which = 0; which < STSCACHE_HEAPS; which++)
		free(table->heaps[which]);
	memset(table, 0, sizeof(*table));
}

/* ---- heaps ---- */

static void put(struct stscache_table *table, enum stscache_heap which, size_t place,
	struct stscache_entry *entry)
{
	table->heaps[which][place] = entry;
	entry->place[which] = place;
}

static void up(struct stscache_table *table, enum stscache_heap which, struct stscache_entry *entry)
{
	size_t place = entry->place[which];

	while (place > 0) {
		struct stscache_entry *above = table->heaps[which][(place - 1) / 2];

		if (above->key_ms[which] <= entry->key_ms[which])
			break;
		put(table, which, place, above);
		place = (place - 1) / 2;
	}
	put(table, which, place, entry);
}

static void down(
	struct stscache_table *table, enum stscache_heap which, struct stscache_entry *entry)
{
	struct stscache_entry **heap = table->heaps[which];
	size_t n = table->heap_n[which];
	size_t place = entry->place[which];

	for (;;) {
		size_t below = 2 * place + 1;

		if (below + 1 < n && heap[below + 1]->key_ms[which] < heap[below]->key_ms[which])
			below++;
		if (below >= n || heap[below]->key_ms[which] >= entry->key_ms[which])
			break;
		put(table, which, place, heap[below]);
		place = below;
	}
	put(table, which, place, entry);
}

void stscache_heap_set(struct stscache_table *table, enum stscache_heap which,
	struct stscache_entry *entry, uint64_t key_ms)
{
	if (entry->place[which] == STSCACHE_NO_PLACE) {
		ASSERT(table->heap_n[which] < table->cap);
		put(table, which, table->heap_n[which]++, entry);
	}
	entry->key_ms[which] = key_ms;
	up(table, which, entry);
	down(table, which, entry);
}

void stscache_heap_drop(
	struct stscache_table *table, enum stscache_heap which, struct stscache_entry *entry)
{
	size_t place = entry->place[which];
	struct stscache_entry *last;

	if (place == STSCACHE_NO_PLACE)
		return;
	entry->place[which] = STSCACHE_NO_PLACE;
	last = table->heaps[which][--table->heap_n[which]];
	if (last == entry)
		return;
	put(table, which, place, last);
	up(table, which, last);
	down(table, which, last);
}

struct stscache_entry *stscache_heap_first(
	const struct stscache_table *table, enum stscache_heap which)
{
	return table->heap_n[which] > 0 ? table->heaps[which][0] : NULL;
}
