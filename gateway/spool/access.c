/* SPDX-License-Identifier: MIT */
/*
 * access.c -- reading a message's octets: where they are, kept there while they are read.
 *
 * Octets that are still in memory are read there (kept.c). In the log they are read from the
 * segment's own descriptor; a pin keeps that open when the message is moved or the segment goes
 * meanwhile. A large file is opened for each reader.
 *
 * The handle is the caller's and may go at any time, so no operation of ours is in it: those who
 * wait stand in a list (by the node of the op that they bring along), and the spool's one op serves
 * the list from the front.
 */
#include "spool/spool-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static struct spool_access *access_of(struct list *node)
{
	return container_of(node, struct spool_access, op.node);
}

/* Serves the first one: opens its file, or goes once around the loop. */
static void access_go(struct spool *spool)
{
	struct spool_access *first;

	if (spool->access_op.armed || list_empty(&spool->accesses))
		return;
	first = access_of(spool->accesses.next);
	if (!first->entry->large) {
		ring_soon(spool->ring, &spool->access_op);
		return;
	}
	list_remove(&first->op.node);
	spool->access = first;
	spool->access_opens = true;
	spool_id_text(first->entry->id, spool->access_name);
	ring_openat(spool->ring, &spool->access_op, spool->store->large, spool->access_name,
		O_RDONLY | O_CLOEXEC, 0);
}

/* Those at the front whose octets are in the log. */
static void serve_pinned(struct spool *spool)
{
	struct list ready;

	list_init(&ready);
	while (!list_empty(&spool->accesses) && !access_of(spool->accesses.next)->entry->large)
		list_push_back(&ready, list_pop_front(&spool->accesses));
	while (!list_empty(&ready)) {
		struct spool_access *access = access_of(list_pop_front(&ready));

		access->opened(access, 0);
	}
}

/* A failed access is over: closing it again does nothing. */
static void serve_opened(struct spool_access *access, int res)
{
	if (res < 0)
		spool_body_close(access);
	else
		access->body.fd = res;
	access->opened(access, res < 0 ? res : 0);
}

static void access_done(struct op *op, int res, uint32_t flags)
{
	struct spool *spool = container_of(op, struct spool, access_op);
	struct spool_access *access = spool->access;
	bool opens = spool->access_opens;

	(void)flags;
	spool->access = NULL;
	spool->access_opens = false;
	if (access != NULL)
		serve_opened(access, res);
	else if (opens && res >= 0)
		close(res); /* nobody's any more */
	serve_pinned(spool);
	access_go(spool);
}

void spool_body_open(struct spool *spool, struct spool_entry *entry, struct spool_access *access)
{
	struct spool_item *item = spool_item_of(entry);

	access->body = (struct spool_body){.fd = -1,
		.n = entry->size,
		.uncached = entry->uncached,
		.has_8bit = entry->has_8bit,
		.has_bare = entry->has_bare};
	access->op = (struct op){0};
	access->spool = spool;
	access->entry = entry;
	access->pin = NULL;
	access->kept = !access->in_file && spool_kept_open(item, &access->body);
	if (!entry->large && !access->kept) {
		access->pin = item->segment;
		item->segment->pins++;
		access->body.fd = item->segment->fd;
		access->body.offset = item->offset + SPOOL_RECORD_HEADER + item->meta_n;
	}
	item->accesses++;
	list_push_back(&spool->accesses, &access->op.node);
	access_go(spool);
}

void spool_body_close(struct spool_access *access)
{
	struct spool *spool = access->spool;

	struct spool_item *item;

	if (access->entry == NULL)
		return;
	item = spool_item_of(access->entry);
	ASSERT(item->accesses > 0);
	item->accesses--;
	if (access->kept)
		spool_kept_close(spool, item);
	access->kept = false;
	access->entry = NULL;
	if (spool->access == access)
		spool->access = NULL;
	else
		list_remove(&access->op.node);
	if (access->pin != NULL)
		spool_segment_unpin(access->pin);
	else if (access->body.fd >= 0)
		close(access->body.fd);
	access->body.fd = -1;
	access->pin = NULL;
}

void spool_body_place(const struct spool_entry *entry, char *path, size_t path_n, uint64_t *offset)
{
	const struct spool_item *item = spool_item_of(entry);
	char name[STORE_NAME_MAX];
	char shard[STORE_NAME_MAX];

	*offset = 0;
	if (entry->large) {
		spool_id_text(entry->id, name);
		snprintf(path, path_n, "large/%s", name);
		return;
	}
	store_shard_name(item->shard->number, shard);
	store_segment_name(item->segment->seq, name);
	snprintf(path, path_n, "%s/%s", shard, name);
	*offset = item->offset + SPOOL_RECORD_HEADER + item->meta_n;
}

void spool_access_init(struct spool *spool)
{
	list_init(&spool->accesses);
	spool->access_op.done = access_done;
}

bool spool_access_idle(const struct spool *spool)
{
	return list_empty(&spool->accesses) && !spool->access_op.armed;
}
