/* SPDX-License-Identifier: MIT */
/*
 * replay.c -- what the records of a shard say, one after the other: messages, copies, attempts,
 * ends; and damage between them.
 *
 * Items are found by id in a table and hang in the shard's list only when all was read. A torn tail
 * is held back until it is known whether newer records follow: then it is of an older batch and is
 * damage, else it is cut off.
 */
#include "spool/recover-private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"

#define TABLE_MIN 1024

/* ---- items by id ---- */

static struct spool_item **table_slot(struct recovery *recovery, uint64_t id)
{
	uint64_t mixed = id * 0x9e3779b97f4a7c15u;

	return &recovery->table[(mixed >> 32) & (recovery->table_n - 1)];
}

static int table_grow(struct recovery *recovery)
{
	struct spool_item **old = recovery->table;
	size_t old_n = recovery->table_n;
	size_t n = old_n == 0 ? TABLE_MIN : old_n * 2;

	recovery->table = calloc(n, sizeof(*recovery->table));
	if (recovery->table == NULL) {
		recovery->table = old;
		return -ENOMEM;
	}
	recovery->table_n = n;
	for (size_t i = 0; i < old_n; i++)
		while (old[i] != NULL) {
			struct spool_item *item = old[i];
			struct spool_item **slot = table_slot(recovery, item->entry.id);

			old[i] = item->left;
			item->left = *slot;
			*slot = item;
		}
	free(old);
	return 0;
}

/* Where the item with this id hangs, or would. */
static struct spool_item **table_find(struct recovery *recovery, uint64_t id)
{
	struct spool_item **slot = table_slot(recovery, id);

	while (*slot != NULL && (*slot)->entry.id != id)
		slot = &(*slot)->left;
	return slot;
}

static void item_place(struct recovery *recovery, struct spool_item *item, uint64_t offset)
{
	item->shard = recovery->shard;
	item->segment = recovery->segment;
	item->offset = offset;
	item->segment->live++;
	item->segment->live_bytes += item->record_bytes;
	item->shard->live_bytes += item->record_bytes;
	item->shard->items_n++;
}

void store_item_drop(struct spool_item *item)
{
	item->segment->live--;
	item->segment->live_bytes -= item->record_bytes;
	item->shard->live_bytes -= item->record_bytes;
	item->shard->items_n--;
	list_remove(&item->entry.node);
	spool_item_free(item);
}

/* Takes out of the table and off its segment. */
static void item_remove(struct spool_item **slot)
{
	struct spool_item *item = *slot;

	*slot = item->left;
	store_item_drop(item);
}

/* ---- damage ---- */

static void damaged(struct recovery *recovery, const struct spool_segment *segment,
	const struct store_damage *damage)
{
	int error = store_aside_octets(recovery->store, damage, segment->fd);

	recovery->found->aside++;
	if (error != 0 && recovery->error == 0)
		recovery->error = error;
}

/* The tail that was found is of an older batch after all: it is damage. */
static void tails_set_aside(struct recovery *recovery)
{
	for (size_t i = 0; i < recovery->tails_n; i++)
		damaged(recovery, recovery->tail_segment, &recovery->tails[i]);
	recovery->tails_n = 0;
}

/* Nothing newer came: from the first of it on the segment is cut. */
int replay_tail_cut(struct recovery *recovery)
{
	struct spool_segment *segment = recovery->tail_segment;
	char file[2 * STORE_NAME_MAX], id[SPOOL_ID_MAX];
	uint64_t offset;
	struct event event;

	if (recovery->tails_n == 0)
		return 0;
	offset = recovery->tails[0].offset;
	(void)snprintf(file, sizeof(file), "%03u/%016llX.seg", (unsigned)recovery->shard->number,
		(unsigned long long)segment->seq);
	spool_id_text(recovery->tails[0].id, id);
	event_open(&event, COUNTER_SPOOL_CUT, "spool_cut");
	event_str(&event, "file", file);
	event_u64(&event, "offset", offset);
	event_u64(&event, "octets", segment->bytes - offset);
	event_str(&event, "queue_id", recovery->tails[0].id != 0 ? id : "-");
	event_close(&event);
	if (ftruncate(segment->fd, (off_t)offset) != 0 || fsync(segment->fd) != 0)
		return recovery_fail_segment(
			recovery, segment->seq, "cut the torn tail of", -errno);
	recovery->shard->bytes -= segment->bytes - offset;
	segment->bytes = offset;
	recovery->found->cut++;
	recovery->tails_n = 0;
	return 0;
}

static void tail_keep(struct recovery *recovery, const struct store_damage *damage)
{
	if (recovery->tails_n == recovery->tails_room) {
		size_t room = recovery->tails_room * 2 + 16;
		struct store_damage *tails = realloc(recovery->tails, room * sizeof(*tails));

		if (tails == NULL) {
			recovery->error = -ENOMEM;
			return;
		}
		recovery->tails = tails;
		recovery->tails_room = room;
	}
	recovery->tail_segment = recovery->segment;
	recovery->tails[recovery->tails_n++] = *damage;
}

struct store_damage replay_damage_of(
	const struct recovery *recovery, uint64_t offset, uint64_t n, uint64_t id, const char *why)
{
	return (struct store_damage){
		recovery->shard->number, recovery->segment->seq, offset, n, id, why};
}

void replay_damage(void *ctx, uint64_t offset, uint64_t n, uint64_t id, bool tail)
{
	struct recovery *recovery = ctx;
	struct store_damage damage = replay_damage_of(recovery, offset, n, id,
		id != 0 ? "the checksum of this record's meta or body is wrong, or its end is missing"
			: "no sound record header stands here");

	if (recovery->tails_n > 0 && recovery->tail_segment != recovery->segment)
		tails_set_aside(recovery);
	if (tail)
		tail_keep(recovery, &damage);
	else
		damaged(recovery, recovery->segment, &damage);
}

/* ---- records ---- */

static void progress(struct recovery *recovery, uint64_t octets)
{
	uint64_t now = clock_ms();
	struct event event;

	recovery->records++;
	recovery->octets += octets;
	if (now < recovery->progress_ms)
		return;
	recovery->progress_ms = now + RECOVER_PROGRESS_MS;
	event_open(&event, EVENT_NO_COUNT, "recovering");
	event_u64(&event, "shard", recovery->shard->number);
	event_u64(&event, "segments", recovery->found->segments);
	event_u64(&event, "records", recovery->records);
	event_u64(&event, "bytes", recovery->octets);
	event_close(&event);
}

/* Fates that are final stay. The attempts that are kept are written again behind a copy. */
static void item_inherit(struct spool_item *item, const struct spool_item *old)
{
	struct spool_entry *entry = &item->entry;

	for (uint32_t i = 0; i < entry->recipients_n && i < old->entry.recipients_n; i++) {
		uint8_t fate = old->entry.recipients[i].fate;

		if (fate == SPOOL_FATE_PENDING)
			continue;
		entry->pending_n -= entry->recipients[i].fate == SPOOL_FATE_PENDING;
		entry->recipients[i].fate = fate;
	}
}

static int take_message(struct recovery *recovery, const struct spool_record *record,
	struct span meta, uint64_t offset)
{
	struct spool_item *item, **slot;
	int error = 0;

	if (recovery->shard->items_n >= recovery->table_n)
		error = table_grow(recovery);
	if (error == 0)
		error = spool_meta_read(&item, record, meta);
	if (error != 0)
		return error;
	slot = table_find(recovery, record->id);
	if (*slot != NULL) {
		item_inherit(item, *slot);
		item_remove(slot);
	}
	item_place(recovery, item, offset);
	item->left = *slot;
	*slot = item;
	return 0;
}

static int take_record(struct recovery *recovery, const struct spool_record *record,
	struct span meta, uint64_t offset)
{
	struct spool_item **slot;

	if (record->type == SPOOL_RECORD_MESSAGE)
		return take_message(recovery, record, meta, offset);
	slot = recovery->table_n > 0 ? table_find(recovery, record->id) : NULL;
	if (slot == NULL || *slot == NULL)
		return 0; /* finished before */
	if (record->type == SPOOL_RECORD_ATTEMPT)
		return spool_attempt_meta_read(*slot, record, meta);
	item_remove(slot);
	return 0;
}

bool replay_record(void *ctx, const struct spool_record *record, struct span meta, uint64_t offset)
{
	struct recovery *recovery = ctx;
	int error;

	if (recovery->tails_n > 0)
		tails_set_aside(recovery);
	progress(recovery, spool_record_bytes(record));
	error = take_record(recovery, record, meta, offset);
	if (error == -EBADMSG) {
		struct store_damage damage =
			replay_damage_of(recovery, offset, spool_record_bytes(record), record->id,
				"the checksum is good, but the meta part makes no sense");

		damaged(recovery, recovery->segment, &damage);
	} else if (error != 0 && recovery->error == 0) {
		recovery->error = error;
	}
	return recovery->error == 0;
}

/* ---- the end of a shard ---- */

static int item_order(const void *a, const void *b)
{
	const struct spool_item *const *x = a, *const *y = b;

	return ((*x)->entry.id > (*y)->entry.id) - ((*x)->entry.id < (*y)->entry.id);
}

/* Moves all items from the table to the shard's list, by id. */
int replay_end(struct recovery *recovery)
{
	struct spool_shard *shard = recovery->shard;
	struct spool_item **sorted = calloc((size_t)shard->items_n + 1, sizeof(*sorted));
	size_t n = 0;

	if (sorted == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < recovery->table_n; i++)
		for (struct spool_item *item = recovery->table[i]; item != NULL; item = item->left)
			sorted[n++] = item;
	ASSERT(n == shard->items_n);
	qsort(sorted, n, sizeof(*sorted), item_order);
	for (size_t i = 0; i < n; i++) {
		sorted[i]->left = NULL;
		list_push_back(&shard->items, &sorted[i]->entry.node);
	}
	free(sorted);
	free(recovery->table);
	recovery->table = NULL;
	recovery->table_n = 0;
	return 0;
}

/* Frees what the table still holds: nothing unless the recovery failed. */
void replay_clear(struct recovery *recovery)
{
	for (size_t i = 0; i < recovery->table_n; i++)
		while (recovery->table[i] != NULL)
			item_remove(&recovery->table[i]);
	free(recovery->table);
	free(recovery->tails);
}
