/* SPDX-License-Identifier: MIT */
/*
 * large.c -- holds the files in large/ against the messages whose octets they are.
 *
 * A message without its file, or with one of another size, cannot be delivered: its record and what
 * there is of the file are set aside. Where all its recipients are done already, it was finished but
 * for the record that says so, and goes quietly. A file that no message names was never acknowledged
 * or is finished, and is removed; but where records were damaged it may belong to one of them, and is
 * set aside. Names that are not queue ids are nobody's business here.
 */
#include "spool/store-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct check {
	struct store *store;
	struct store_found *found;
	uint64_t *ids; /* of messages with a file, ascending */
	size_t n;
	bool removed; /* some file was */
};

static int set_aside(struct check *check, struct spool_item *item, const char *why, bool has_file)
{
	struct store_damage damage = {item->shard->number, item->segment->seq, item->offset,
		item->record_bytes, item->entry.id, why};
	int error = store_aside_octets(check->store, &damage, item->segment->fd);

	check->found->aside++;
	if (error == 0 && has_file)
		error = store_aside_large(check->store, item->entry.id, why);
	store_item_drop(item);
	return error;
}

/* 0 or -errno; the item may be gone then. */
static int item_check(struct check *check, struct spool_item *item)
{
	char name[SPOOL_ID_MAX], why[128];
	bool finished = item->entry.pending_n == 0;
	struct stat st;

	spool_id_text(item->entry.id, name);
	if (fstatat(check->store->large, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		if (errno != ENOENT)
			return -errno;
		if (!finished)
			return set_aside(check, item, "its large file is missing", false);
		store_item_drop(item);
		return 0;
	}
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size == item->entry.size) {
		check->ids[check->n++] = item->entry.id;
		return 0;
	}
	(void)snprintf(why, sizeof(why), "its large file has %llu octets, the record says %llu",
		(unsigned long long)st.st_size, (unsigned long long)item->entry.size);
	return set_aside(check, item, why, true);
}

static int shard_check(struct check *check, struct spool_shard *shard)
{
	struct list *next;
	int error = 0;

	for (struct list *node = shard->items.next; node != &shard->items && error == 0;
		node = next) {
		struct spool_entry *entry = container_of(node, struct spool_entry, node);

		next = node->next;
		if (entry->large)
			error = item_check(check, container_of(entry, struct spool_item, entry));
	}
	return error;
}

static int id_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int orphan_look(void *ctx, const char *name)
{
	struct check *check = ctx;
	char again[SPOOL_ID_MAX];
	uint64_t id;

	if (!spool_id_parse(name, &id))
		return 0;
	spool_id_text(id, again);
	if (strcmp(name, again) != 0)
		return 0;
	if (check->n > 0 && bsearch(&id, check->ids, check->n, sizeof(id), id_order) != NULL)
		return 0;
	check->found->orphans++;
	if (check->found->aside > 0)
		return store_aside_large(check->store, id,
			"no sound record names this large file, and some records are damaged");
	check->removed = true;
	return unlinkat(check->store->large, name, 0) != 0 ? -errno : 0;
}

int store_large_check(struct store *store, struct store_found *found, struct err *err)
{
	struct check check = {.store = store, .found = found};
	size_t items_n = 1;
	int error = 0;

	for (uint32_t i = 0; i < store->shards_n; i++)
		items_n += store->shards[i] != NULL ? store->shards[i]->items_n : 0;
	check.ids = calloc(items_n, sizeof(*check.ids));
	if (check.ids == NULL)
		error = -ENOMEM;
	for (uint32_t i = 0; i < store->shards_n && error == 0; i++)
		if (store->shards[i] != NULL)
			error = shard_check(&check, store->shards[i]);
	if (error == 0) {
		qsort(check.ids, check.n, sizeof(*check.ids), id_order);
		error = store_names(store->large, orphan_look, &check);
	}
	if (error == 0 && check.removed && fsync(store->large) != 0)
		error = -errno;
	free(check.ids);
	if (error == 0)
		return 0;
	return err_set(err, "spool: cannot clear up %s/large: %s", store->settings->directory,
		strerror(-error));
}
