/* SPDX-License-Identifier: MIT */
/*
 * queue.c -- the messages of the queue, by id; and the large files of those that ended.
 *
 * A list in the order of ids, and a treap over the same items: ids come almost in order, but a
 * message whose sender took an hour belongs an hour back, and a page of the operator's list begins
 * behind an id that may be gone. The treap's priorities are a mix of the ids, so that nobody's
 * clock makes it lean.
 *
 * A large file goes once the record that its message is finished is on disk: a record must never
 * name a file that we removed.
 */
#include "spool/spool-private.h"

#include <errno.h>

#include "base/counter.h"
#include "base/event.h"

/* splitmix64's finish: every bit of the id counts. */
static uint64_t priority(const struct spool_item *item)
{
	uint64_t x = item->entry.id;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* Items below id to *low, the others to *high. */
static void split(
	struct spool_item *tree, uint64_t id, struct spool_item **low, struct spool_item **high)
{
	while (tree != NULL) {
		if (tree->entry.id < id) {
			*low = tree;
			low = &tree->right;
			tree = tree->right;
		} else {
			*high = tree;
			high = &tree->left;
			tree = tree->left;
		}
	}
	*low = NULL;
	*high = NULL;
}

/* All of low is below all of high. */
static struct spool_item *merge(struct spool_item *low, struct spool_item *high)
{
	struct spool_item *root = NULL;
	struct spool_item **at = &root;

	while (low != NULL && high != NULL) {
		if (priority(low) > priority(high)) {
			*at = low;
			at = &low->right;
			low = low->right;
		} else {
			*at = high;
			at = &high->left;
			high = high->left;
		}
	}
	*at = low != NULL ? low : high;
	return root;
}

static struct spool_item **place_of(struct spool_item **at, uint64_t id)
{
	while (*at != NULL && (*at)->entry.id != id)
		at = id < (*at)->entry.id ? &(*at)->left : &(*at)->right;
	return at;
}

struct spool_entry *spool_find(struct spool *spool, uint64_t id)
{
	struct spool_item *item = *place_of(&spool->root, id);

	return item != NULL ? &item->entry : NULL;
}

struct spool_entry *spool_after(struct spool *spool, uint64_t id)
{
	struct spool_item *item = spool->root;
	struct spool_item *after = NULL;

	while (item != NULL) {
		if (item->entry.id > id) {
			after = item;
			item = item->left;
		} else {
			item = item->right;
		}
	}
	return after != NULL ? &after->entry : NULL;
}

uint32_t spool_entries(const struct spool *spool)
{
	return spool->entries_n;
}

void spool_queue_add(struct spool *spool, struct spool_item *item)
{
	struct spool_entry *after = spool_after(spool, item->entry.id);
	struct spool_item **at = &spool->root;

	while (*at != NULL && priority(*at) >= priority(item))
		at = item->entry.id < (*at)->entry.id ? &(*at)->left : &(*at)->right;
	split(*at, item->entry.id, &item->left, &item->right);
	*at = item;
	list_push_back(after != NULL ? &after->node : &spool->entries, &item->entry.node);
	spool->entries_n++;
	atomic_fetch_add_explicit(&spool->store->messages, 1, memory_order_relaxed);
	item->shard->items_n++;
	count(COUNTER_SPOOL_MESSAGES);
}

void spool_queue_remove(struct spool *spool, struct spool_item *item)
{
	struct spool_item **at = place_of(&spool->root, item->entry.id);

	ASSERT(*at == item);
	spool_kept_forget(spool, item);
	*at = merge(item->left, item->right);
	list_remove(&item->entry.node);
	spool->entries_n--;
	atomic_fetch_sub_explicit(&spool->store->messages, 1, memory_order_relaxed);
	item->shard->items_n--;
	count_add(COUNTER_SPOOL_MESSAGES, -1);
}

/* ---- the reader ---- */

void spool_read(struct spool *spool, struct spool_reader *reader)
{
	spool->reader = reader;
}

void spool_start(struct spool *spool)
{
	struct spool_entry *entry = spool_after(spool, 0);

	for (; entry != NULL && spool->reader != NULL;) {
		uint64_t id = entry->id;

		spool->reader->arrived(spool->reader, entry);
		entry = spool_after(spool, id);
	}
}

uint32_t spool_attempts(
	const struct spool_entry *entry, struct spool_attempt_record out[SPOOL_ATTEMPTS_MAX])
{
	const struct spool_attempt_kept *kept = spool_item_of(entry)->tries;
	uint32_t n = 0;

	for (; kept != NULL && n < SPOOL_ATTEMPTS_MAX; kept = kept->next)
		out[n++] = kept->record;
	return n;
}

/* ---- large files of finished messages ---- */

static struct spool_item *gone_first(struct spool *spool)
{
	return container_of(spool->gone.next, struct spool_item, entry.node);
}

static void gone_go(struct spool *spool)
{
	if (spool->gone_op.armed || list_empty(&spool->gone))
		return;
	spool_id_text(gone_first(spool)->entry.id, spool->gone_name);
	ring_unlinkat(spool->ring, &spool->gone_op, spool->store->large, spool->gone_name);
}

/* A file that stays is named by no record: the next start removes it. */
static void gone_done(struct op *op, int res, uint32_t flags)
{
	struct spool *spool = container_of(op, struct spool, gone_op);
	struct spool_item *item = gone_first(spool);

	(void)flags;
	if (res < 0 && res != -ENOENT)
		event_text(EVENT_NO_COUNT, "spool_unlink_failed", "file", spool->gone_name);
	list_remove(&item->entry.node);
	spool_item_free(item);
	gone_go(spool);
}

void spool_queue_gone(struct spool *spool, struct list *items)
{
	list_splice_back(&spool->gone, items);
	gone_go(spool);
}

void spool_queue_init(struct spool *spool)
{
	list_init(&spool->entries);
	list_init(&spool->gone);
	spool->gone_op.done = gone_done;
}
