/* SPDX-License-Identifier: MIT */
/*
 * spool.c -- one worker's spool: opening, closing, ids, and whether the store is fit for more mail.
 *
 * The worker writes new messages to the shard that bears its number. Shards that an earlier run
 * with more workers left are adopted: shard n by worker n mod workers, which delivers what is in
 * them and removes them segment by segment; nothing new goes there but what is said about their
 * messages.
 *
 * The store is known by descriptors. If its directory is moved, mail follows it; if it is removed,
 * that shows within a second by the head's missing name, new mail is refused with 451, and it takes
 * a restart to make a new one. A file system that was full, read-only or failing is tried again
 * every second and taken back by itself.
 */
#include "spool/spool-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/event.h"

#define ID_WORKER_SHIFT 8   /* an id is time in us, then the worker */
#define DISK_BLOCK      512 /* unit of st_blocks */
#define BLOCKS_MIN      2   /* a worker's share of the memory: with less no message could begin */

/* ---- opening ---- */

/* Segments and items as the recovery left them: counted anew, items into the queue. */
static void shard_take(struct spool *spool, struct spool_log *log)
{
	struct spool_shard *shard = log->shard;
	struct list items;

	shard->log = log;
	spool_make_look(log);
	shard->live_bytes = 0;
	shard->items_n = 0;
	for (struct list *node = shard->segments.next; node != &shard->segments;
		node = node->next) {
		struct spool_segment *segment = container_of(node, struct spool_segment, node);
		struct stat st;

		list_init(&segment->items);
		segment->live = 0;
		segment->live_bytes = 0;
		segment->gone = false;
		segment->room = segment->bytes;
		if (fstat(segment->fd, &st) == 0)
			segment->room = (uint64_t)st.st_blocks * DISK_BLOCK;
		log->room += segment->room;
		count(COUNTER_SPOOL_SEGMENTS);
	}
	count_add(COUNTER_SPOOL_BYTES, (int64_t)log->room);
	list_init(&items);
	list_splice_back(&items, &shard->items);
	while (!list_empty(&items)) {
		struct list *node = list_pop_front(&items);
		struct spool_item *item =
			spool_item_of(container_of(node, struct spool_entry, node));
		struct spool_segment *segment = item->segment;

		item->shard = shard;
		item->segment = NULL;
		spool_segment_hold(item, segment, item->offset);
		spool_queue_add(spool, item);
		if (spool->id_last < item->entry.id >> ID_WORKER_SHIFT)
			spool->id_last = item->entry.id >> ID_WORKER_SHIFT;
	}
}

static int log_add(struct spool *spool, struct spool_shard *shard)
{
	struct spool_log *log = calloc(1, sizeof(*log));

	if (log == NULL)
		return -ENOMEM;
	spool_log_init(log, spool, shard);
	log->own = spool->logs_n == 0;
	spool->logs[spool->logs_n++] = log;
	shard_take(spool, log);
	return 0;
}

static int logs_open(struct spool *spool, uint32_t workers)
{
	struct store *store = spool->store;
	struct spool_shard *own;
	int res = store_shard_open(store, spool->worker, &own);

	if (res != 0)
		return res;
	if (faccessat(own->dir, ".", W_OK | X_OK, AT_EACCESS) != 0)
		return -errno;
	spool->logs = calloc(store->shards_n, sizeof(spool->logs[0]));
	res = spool->logs == NULL ? -ENOMEM : log_add(spool, own);
	for (uint32_t n = spool->worker + workers; n < store->shards_n && res == 0; n += workers)
		if (store->shards[n] != NULL)
			res = log_add(spool, store->shards[n]);
	return res;
}

static uint32_t u32_of(uint64_t n)
{
	return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

int spool_open(struct spool **out, const struct spool_settings *settings, struct store *store,
	struct ring *ring, uint32_t worker, uint32_t workers, struct err *err)
{
	struct spool *spool = calloc(1, sizeof(*spool));
	uint64_t blocks_max;
	int res;

	ASSERT(worker < workers && workers <= 1u << ID_WORKER_SHIFT);
	*out = NULL;
	if (spool == NULL)
		return err_set(err, "spool: out of memory");
	spool->ring = ring;
	spool->settings = settings;
	spool->store = store;
	spool->worker = worker;
	pool_open(&spool->messages, sizeof(struct spool_message), SPOOL_FILLING_MAX);
	blocks_max = settings->memory_bytes_max / workers / SPOOL_BLOCK_BYTES;
	blocks_max = blocks_max > BLOCKS_MIN ? blocks_max : BLOCKS_MIN;
	pool_open(&spool->blocks, sizeof(struct spool_block), u32_of(blocks_max));
	pool_open_pages(&spool->pages, SPOOL_BLOCK_BYTES, u32_of(blocks_max));
	list_init(&spool->kept);
	spool_queue_init(spool);
	spool_access_init(spool);
	spool_ahead_init(spool);
	wheel_timer_init(&spool->look_timer, wheel_fire_nothing);
	res = logs_open(spool, workers);
	if (res != 0) {
		spool_close(spool);
		return err_set(err, "spool: %s, shard %u: %s", settings->directory, worker,
			strerror(-res));
	}
	*out = spool;
	return 0;
}

/* ---- closing ---- */

/* 0, or why new mail cannot be taken. */
static int health(const struct spool *spool)
{
	const struct spool_log *log = spool->logs[0];

	if (log->make.error != 0)
		return log->make.error;
	if (log->error != 0 && spool_log_paused(log))
		return log->error;
	return spool->look_error;
}

static void kept_free(struct spool *spool)
{
	while (!list_empty(&spool->kept))
		spool_kept_forget(
			spool, container_of(spool->kept.next, struct spool_kept, node)->item);
}

static void items_free(struct list *items)
{
	while (!list_empty(items))
		spool_item_free(spool_item_of(
			container_of(list_pop_front(items), struct spool_entry, node)));
}

static void log_close(struct spool_log *log)
{
	struct wheel *wheel = ring_wheel(log->spool->ring);
	struct list *segments = &log->shard->segments;

	wheel_clear(wheel, &log->notes_timer);
	wheel_clear(wheel, &log->pause_timer);
	if (log->noted.n > 0 || log->writing.n > 0)
		event_text(COUNTER_SPOOL_NOTES_LOST, "spool_notes_lost", "error",
			strerror(-health(log->spool)));
	items_free(&log->noted.gone);
	items_free(&log->writing.gone);
	while (!list_empty(segments)) {
		struct spool_segment *segment =
			container_of(list_pop_front(segments), struct spool_segment, node);

		ASSERT(segment->pins == 0);
		store_segment_free(segment);
		count_add(COUNTER_SPOOL_SEGMENTS, -1);
	}
	count_add(COUNTER_SPOOL_BYTES, -(int64_t)log->room);
	log->shard->segments_n = 0;
	log->shard->items_n = 0;
	log->shard->bytes = 0;
	log->shard->live_bytes = 0;
	log->shard->log = NULL;
	free(log->noted.p);
	free(log->writing.p);
	free(log->batch.frame);
	free(log->batch.pages);
	free(log);
}

void spool_close(struct spool *spool)
{
	ASSERT(spool_idle(spool));
	wheel_clear(ring_wheel(spool->ring), &spool->look_timer);
	for (uint32_t i = 0; i < spool->logs_n; i++)
		spool_copies_free(spool->logs[i]);
	count_add(COUNTER_SPOOL_MESSAGES, -(int64_t)spool->entries_n);
	atomic_fetch_sub(&spool->store->messages, spool->entries_n);
	kept_free(spool);
	items_free(&spool->entries);
	for (uint32_t i = 0; i < spool->logs_n; i++)
		log_close(spool->logs[i]);
	if (spool->failing)
		count_add(COUNTER_SPOOL_FAILING, -1);
	free(spool->logs);
	pool_close(&spool->messages);
	pool_close(&spool->blocks);
	pool_close(&spool->pages);
	free(spool);
}

bool spool_idle(const struct spool *spool)
{
	for (uint32_t i = 0; i < spool->logs_n; i++)
		if (!spool_log_idle(spool->logs[i]))
			return false;
	return spool->messages.live == 0 && list_empty(&spool->gone) && !spool->ahead.armed &&
	       spool_access_idle(spool);
}

uint64_t spool_id(struct spool *spool)
{
	uint64_t now = clock_real_us();

	spool->id_last = now > spool->id_last ? now : spool->id_last + 1;
	return spool->id_last << ID_WORKER_SHIFT | spool->worker;
}

/* ---- health ---- */

/* Space and writability of the file system; what a filter of system calls forbids is not known. */
static int look_at_space(const struct spool *spool)
{
	struct statfs st;

	if (fstatfs(spool->logs[0]->shard->dir, &st) != 0)
		return errno == EPERM || errno == ENOSYS ? 0 : -errno;
	if (st.f_flags & ST_RDONLY)
		return -EROFS;
	if ((uint64_t)st.f_bavail * (uint64_t)st.f_bsize < spool->settings->free_bytes_min)
		return -ENOSPC;
	return 0;
}

/* Has the head, or what was made ahead, lost its name? Then what we write is lost, too. */
static void look_at_names(struct spool *spool)
{
	struct spool_log *log = spool->logs[0];
	const struct spool_segment *segment = log->head != NULL ? log->head : log->next;
	struct stat st;

	if (segment == NULL || log->batch.step != SPOOL_BATCH_NONE)
		return;
	if (fstat(segment->fd, &st) != 0 || st.st_nlink > 0)
		return;
	event_text(EVENT_NO_COUNT, "spool_vanished", "directory", spool->settings->directory);
	spool_segment_vanished(log);
}

void spool_look(struct spool *spool)
{
	uint64_t now_ms = ring_now_ms(spool->ring);
	int error = spool->look_error;

	if (now_ms < spool->look_ms)
		return;
	spool->look_ms = now_ms + SPOOL_PAUSE_MS;
	spool->look_error = look_at_space(spool);
	look_at_names(spool);
	if (spool->look_error != error)
		event_text(EVENT_NO_COUNT, "spool_state", "error",
			spool->look_error != 0 ? strerror(-spool->look_error) : "none");
}

int spool_ready(struct spool *spool)
{
	int error;

	spool_look(spool);
	error = health(spool);
	if (error == 0 && atomic_load_explicit(&spool->store->messages, memory_order_relaxed) +
					  spool->messages.live >=
				  spool->settings->messages_max)
		error = -ENOSPC;
	return error;
}

bool spool_crowded(const struct spool *spool)
{
	return spool_memory_short(spool) || health(spool) != 0;
}

/* ---- the turn ---- */

static void failing_update(struct spool *spool)
{
	int error = health(spool);
	bool failing = error != 0 && error != -ENOSPC && error != -EDQUOT;

	if (failing != spool->failing)
		count_add(COUNTER_SPOOL_FAILING, failing ? 1 : -1);
	spool->failing = failing;
}

void spool_turn(struct spool *spool)
{
	if (spool->look_error != 0)
		spool_look(spool);
	for (uint32_t i = 0; i < spool->logs_n; i++)
		spool_log_turn(spool->logs[i]);
	failing_update(spool);
	if (spool->look_error != 0 && spool->look_timer.deadline_ms == 0)
		wheel_set(ring_wheel(spool->ring), &spool->look_timer, spool->look_ms);
}
