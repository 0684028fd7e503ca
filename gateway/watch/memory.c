/* SPDX-License-Identifier: MIT */
/*
 * memory.c -- days and their names, senders: found, made, forgotten.
 *
 * Names come from peers, so the hash has a seed of its own a process.
 */
#include "watch/watch-private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/counter.h"

#define SECOND_US 1000000ull

uint32_t watch_today(void)
{
	return (uint32_t)(clock_real_us() / SECOND_US / WATCH_DAY_S);
}

void watch_name_clean(struct span name, char out[WATCH_NAME_MAX + 1])
{
	size_t n = min_size(name.n, WATCH_NAME_MAX);

	for (size_t i = 0; i < n; i++) {
		uint8_t c = name.p[i];

		if (c >= 'A' && c <= 'Z')
			c = (uint8_t)(c - 'A' + 'a');
		out[i] = (char)(c > ' ' && c <= '~' ? c : '?');
	}
	out[n] = '\0';
	if (n == 0)
		(void)snprintf(out, 2, "-");
}

/* FNV-1a from a seed that peers do not know. */
static uint64_t hash_of(const struct watch *watch, enum watch_kind kind, const char *name)
{
	uint64_t hash = (watch->seed ^ (uint64_t)kind) * 0x100000001b3ull;

	for (; *name != '\0'; name++)
		hash = (hash ^ (uint8_t)*name) * 0x100000001b3ull;
	return hash ^ hash >> 29;
}

/* ---- days ---- */

static void day_clear(struct watch_day *day)
{
	for (size_t i = 0; i < WATCH_DAY_BUCKETS; i++) {
		while (day->rows[i] != NULL) {
			struct watch_row *row = day->rows[i];

			day->rows[i] = row->next;
			free(row);
		}
	}
	*day = (struct watch_day){0};
}

struct watch_day *watch_day_find(struct watch *watch, uint32_t day)
{
	struct watch_day *slot = &watch->days[day % watch->settings->days];

	return slot->day == day && day != 0 ? slot : NULL;
}

struct watch_day *watch_day_get(struct watch *watch, uint32_t day)
{
	struct watch_day *slot = &watch->days[day % watch->settings->days];

	if (slot->day > day)
		return NULL; /* the clock went back, or the file is from another one */
	if (slot->day < day) {
		day_clear(slot);
		slot->day = day;
	}
	return slot;
}

static struct watch_row *row_find(
	const struct watch_day *day, uint64_t hash, enum watch_kind kind, const char *name)
{
	struct watch_row *row = day->rows[hash % WATCH_DAY_BUCKETS];

	while (row != NULL &&
		(row->hash != hash || row->kind != kind || strcmp(row->name, name) != 0))
		row = row->next;
	return row;
}

struct watch_row *watch_row_get(
	struct watch *watch, struct watch_day *day, enum watch_kind kind, const char *name)
{
	uint64_t hash = hash_of(watch, kind, name);
	struct watch_row *row = row_find(day, hash, kind, name);
	size_t n;

	if (row != NULL)
		return row;
	if (day->rows_n >= WATCH_ROWS_MAX && strcmp(name, WATCH_OTHERS) != 0) {
		count(COUNTER_WATCH_ROWS_FULL);
		return watch_row_get(watch, day, kind, WATCH_OTHERS);
	}
	n = strlen(name) + 1;
	row = calloc(1, sizeof(*row) + n);
	if (row == NULL)
		return NULL;
	row->hash = hash;
	row->kind = (uint8_t)kind;
	memcpy(row->name, name, n);
	row->next = day->rows[hash % WATCH_DAY_BUCKETS];
	day->rows[hash % WATCH_DAY_BUCKETS] = row;
	day->rows_n++;
	return row;
}

/* ---- senders ---- */

void watch_sender_drop(struct watch *watch, struct watch_sender *sender)
{
	struct watch_sender **at = &watch->senders[sender->hash & watch->senders_mask];

	while (*at != sender)
		at = &(*at)->next;
	*at = sender->next;
	list_remove(&sender->node);
	watch->senders_n--;
	free(sender);
}

struct watch_sender *watch_sender_get(
	struct watch *watch, enum watch_kind kind, const char *name, uint32_t today)
{
	uint64_t hash = hash_of(watch, kind, name);
	struct watch_sender **bucket = &watch->senders[hash & watch->senders_mask];
	struct watch_sender *sender = *bucket;
	size_t n = strlen(name) + 1;

	while (sender != NULL &&
		(sender->hash != hash || sender->kind != kind || strcmp(sender->name, name) != 0))
		sender = sender->next;
	if (sender != NULL) {
		list_remove(&sender->node);
		list_push_back(&watch->senders_seen, &sender->node);
		return sender;
	}
	if (watch->senders_n >= watch->settings->entries_max) {
		count(COUNTER_WATCH_EVICTED);
		watch_sender_drop(watch, watch_sender_of(watch->senders_seen.next));
	}
	sender = calloc(1, sizeof(*sender) + n);
	if (sender == NULL)
		return NULL;
	sender->hash = hash;
	sender->kind = (uint8_t)kind;
	sender->first_day = today;
	memcpy(sender->name, name, n);
	sender->next = *bucket;
	*bucket = sender;
	list_push_back(&watch->senders_seen, &sender->node);
	watch->senders_n++;
	return sender;
}

void watch_forget_all(struct watch *watch)
{
	for (uint32_t i = 0; i < watch->settings->days; i++)
		day_clear(&watch->days[i]);
	while (!list_empty(&watch->senders_seen))
		watch_sender_drop(watch, watch_sender_of(watch->senders_seen.next));
}
