/* SPDX-License-Identifier: MIT */
/*
 * segment.c -- a shard's segments: made ahead, rolled over, removed oldest first.
 *
 * The next segment is made while the head is still being filled: created, its whole length
 * allocated, its header and its name synced. A commit so never waits for the file system to find
 * space, and fdatasync need not write a new length. A head that failed is left as it is; a record
 * that is longer than a segment gets an empty one for itself, which then grows.
 *
 * A segment goes when it is the oldest and no message in it is live. Its removal is synced before
 * that of the next one: a finished message must not come back because the segment that says so went
 * first. A body that is being read keeps the descriptor, not the name.
 */
#include "spool/spool-private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/event.h"
#include "base/fault.h"

static struct spool_segment *first_of(const struct spool_log *log)
{
	return container_of(log->shard->segments.next, struct spool_segment, node);
}

static void room_add(struct spool_log *log, struct spool_segment *segment, uint64_t n)
{
	segment->room += n;
	log->room += n;
	count_add(COUNTER_SPOOL_BYTES, (int64_t)n);
}

/* ---- live records ---- */

void spool_segment_hold(struct spool_item *item, struct spool_segment *segment, uint64_t offset)
{
	if (item->segment != NULL)
		spool_segment_release(item);
	item->segment = segment;
	item->offset = offset;
	segment->live++;
	segment->live_bytes += item->record_bytes;
	item->shard->live_bytes += item->record_bytes;
	list_push_back(&segment->items, &item->mates);
}

void spool_segment_release(struct spool_item *item)
{
	struct spool_segment *segment = item->segment;

	ASSERT(segment->live > 0);
	segment->live--;
	segment->live_bytes -= item->record_bytes;
	item->shard->live_bytes -= item->record_bytes;
	list_remove(&item->mates);
	item->segment = NULL;
}

static void free_unless_pinned(struct spool_segment *segment)
{
	if (!segment->gone || segment->pins > 0)
		return;
	if (segment->fd >= 0)
		close(segment->fd);
	free(segment);
}

void spool_segment_unpin(struct spool_segment *segment)
{
	ASSERT(segment->pins > 0);
	segment->pins--;
	free_unless_pinned(segment);
}

/* ---- making the next one ---- */

static void make_failed(struct spool_log *log, int error)
{
	struct spool_make *make = &log->make;
	struct event event;

	if (make->segment->fd >= 0)
		close(make->segment->fd);
	free(make->segment);
	make->segment = NULL;
	make->step = SPOOL_MAKE_NONE;
	event_open(&event, EVENT_NO_COUNT, "spool_segment_failed");
	event_u64(&event, "shard", log->shard->number);
	event_str(&event, "file", make->name);
	event_str(&event, "error", strerror(-error));
	event_close(&event);
	spool_log_pause(log);
}

static void make_undo(struct spool_log *log, int error)
{
	struct spool_make *make = &log->make;

	make->error = error;
	if (make->segment->fd < 0) {
		make_failed(log, error);
		return;
	}
	make->step = SPOOL_MAKE_UNDO;
	ring_unlinkat(log->spool->ring, &make->op, log->shard->dir, make->name);
}

static void make_ready(struct spool_log *log)
{
	struct spool_segment *segment = log->make.segment;

	log->make.segment = NULL;
	log->make.step = SPOOL_MAKE_NONE;
	log->make.error = 0;
	list_push_back(&log->shard->segments, &segment->node);
	log->shard->segments_n++;
	log->shard->bytes += segment->bytes;
	log->next = segment;
	room_add(log, segment, log->spool->settings->segment_bytes);
	count(COUNTER_SPOOL_SEGMENTS);
}

static void make_allocate(struct spool_log *log)
{
	struct spool_make *make = &log->make;

	make->step = SPOOL_MAKE_ALLOCATE;
	ring_fallocate(log->spool->ring, &make->op, make->segment->fd, 0, 0,
		log->spool->settings->segment_bytes);
}

static void make_header(struct spool_log *log)
{
	struct spool_make *make = &log->make;
	struct spool_segment_header header = {
		.version = SPOOL_FORMAT_VERSION,
		.shard = log->shard->number,
		.seq = make->segment->seq,
		.created_s = clock_real_us() / 1000000,
		.salt = make->segment->salt,
	};

	spool_segment_header_write(make->header, &header);
	make->step = SPOOL_MAKE_HEADER;
	ring_write(log->spool->ring, &make->op, make->segment->fd,
		span_of(make->header, sizeof(make->header)), 0);
}

static void make_step(struct spool_log *log, int res)
{
	struct spool_make *make = &log->make;
	struct ring *ring = log->spool->ring;

	switch (make->step) {
	case SPOOL_MAKE_OPEN:
		make->segment->fd = res;
		res = fault("spool.segment.open", res);
		if (res < 0)
			make_undo(log, res);
		else
			make_allocate(log);
		return;
	case SPOOL_MAKE_ALLOCATE:
		if (res < 0 && res != -EOPNOTSUPP)
			make_undo(log, res);
		else
			make_header(log);
		return;
	case SPOOL_MAKE_HEADER:
		res = fault("spool.segment.header", res);
		if (res != SPOOL_SEGMENT_HEADER) {
			make_undo(log, res < 0 ? res : -EIO);
		} else if (log->spool->settings->durable) {
			make->step = SPOOL_MAKE_SYNC;
			ring_fsync(ring, &make->op, make->segment->fd, false);
		} else {
			make_ready(log);
		}
		return;
	case SPOOL_MAKE_SYNC:
		count(COUNTER_SPOOL_SYNCS);
		if (res < 0) {
			make_undo(log, res);
			return;
		}
		make->step = SPOOL_MAKE_DIR_SYNC;
		ring_fsync(ring, &make->op, log->shard->dir, false);
		return;
	case SPOOL_MAKE_DIR_SYNC:
		count(COUNTER_SPOOL_SYNCS);
		if (res < 0)
			make_undo(log, res);
		else
			make_ready(log);
		return;
	case SPOOL_MAKE_UNDO:
		make_failed(log, make->error);
		return;
	case SPOOL_MAKE_NONE:
		break;
	}
	ASSERT(!"a completion of no known step");
}

static void make_done(struct op *op, int res, uint32_t flags)
{
	(void)flags;
	make_step(container_of(op, struct spool_log, make.op), res);
}

static void make_start(struct spool_log *log)
{
	struct spool_make *make = &log->make;
	struct spool_segment *segment;

	if (make->step != SPOOL_MAKE_NONE || log->next != NULL ||
		(make->error != 0 && spool_log_paused(log)))
		return;
	segment = calloc(1, sizeof(*segment));
	if (segment == NULL) {
		make->error = -ENOMEM;
		spool_log_pause(log);
		return;
	}
	list_init(&segment->node);
	list_init(&segment->items);
	segment->fd = -1;
	segment->seq = log->shard->seq_next++;
	segment->bytes = SPOOL_SEGMENT_HEADER;
	/* Without entropy the salt is merely a poor one. */
	(void)!getrandom(&segment->salt, sizeof(segment->salt), GRND_NONBLOCK);
	make->segment = segment;
	make->op.done = make_done;
	make->step = SPOOL_MAKE_OPEN;
	store_segment_name(segment->seq, make->name);
	ring_openat(log->spool->ring, &make->op, log->shard->dir, make->name,
		O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

/* The worker's own shard always has somewhere to write; one that failed to make a segment goes on
 * trying, as nobody commits while it does not. */
static bool next_wanted(const struct spool_log *log)
{
	const struct spool_segment *head = log->head;

	if (head == NULL)
		return log->own;
	return head->bytes > head->room / 2 || (log->own && log->make.error != 0);
}

void spool_segment_prepare(struct spool_log *log)
{
	if (next_wanted(log))
		make_start(log);
}

/* ---- the head ---- */

bool spool_segment_head_takes(const struct spool_log *log, uint64_t n)
{
	const struct spool_segment *head = log->head;

	return head != NULL &&
	       (head->bytes == SPOOL_SEGMENT_HEADER || head->bytes + n <= head->room);
}

bool spool_segment_room(struct spool_log *log, uint64_t n)
{
	if (spool_segment_head_takes(log, n))
		return true;
	if (log->next == NULL) {
		make_start(log);
		return false;
	}
	log->head = log->next;
	log->next = NULL;
	return true;
}

void spool_segment_written(struct spool_log *log, uint64_t n)
{
	struct spool_segment *head = log->head;

	head->bytes += n;
	log->shard->bytes += n;
	if (head->bytes > head->room)
		room_add(log, head, head->bytes - head->room);
}

/* One that nothing was ever written to with success goes ahead of the oldest: it would else stay
 * behind it, and a disk that fails leaves one a second. */
void spool_segment_retire(struct spool_log *log)
{
	struct spool_segment *head = log->head;

	log->head = NULL;
	if (head == NULL)
		return;
	head->dead = true;
	if (head->bytes > SPOOL_SEGMENT_HEADER)
		return;
	list_remove(&head->node);
	list_push_back(log->shard->segments.next, &head->node);
}

void spool_segment_vanished(struct spool_log *log)
{
	spool_segment_retire(log);
	if (log->next != NULL)
		log->next->dead = true;
	log->next = NULL;
}

/* ---- removing the oldest ---- */

static void drop_end(struct spool_log *log)
{
	struct spool_segment *segment = log->drop.segment;

	log->drop.segment = NULL;
	list_remove(&segment->node);
	log->shard->segments_n--;
	log->shard->bytes -= segment->bytes;
	log->room -= segment->room;
	count_add(COUNTER_SPOOL_BYTES, -(int64_t)segment->room);
	count_add(COUNTER_SPOOL_SEGMENTS, -1);
	segment->gone = true;
	free_unless_pinned(segment);
}

/* The name is gone, then its going is synced. What cannot be removed is tried again. */
static void drop_done(struct op *op, int res, uint32_t flags)
{
	struct spool_log *log = container_of(op, struct spool_log, drop.op);

	(void)flags;
	if (log->drop.unlinked) {
		count(COUNTER_SPOOL_SYNCS);
		drop_end(log);
		return;
	}
	res = fault("spool.segment.unlink", res);
	if (res < 0 && res != -ENOENT) {
		event_text(EVENT_NO_COUNT, "spool_unlink_failed", "file", log->drop.name);
		log->drop.segment = NULL;
		spool_log_pause(log);
	} else if (log->spool->settings->durable) {
		log->drop.unlinked = true;
		ring_fsync(log->spool->ring, &log->drop.op, log->shard->dir, false);
	} else {
		drop_end(log);
	}
}

/* Nothing is left in a shard that takes no new messages, and nothing on its way there. */
static bool shard_is_empty(const struct spool_log *log)
{
	return !log->own && log->shard->items_n == 0 && log->noted.n == 0 && log->writing.n == 0 &&
	       log->batch.step == SPOOL_BATCH_NONE && log->make.step == SPOOL_MAKE_NONE &&
	       log->copies.step == SPOOL_COPY_NONE;
}

void spool_segment_collect(struct spool_log *log)
{
	struct spool_segment *first;

	if (log->drop.segment != NULL || list_empty(&log->shard->segments) || spool_log_paused(log))
		return;
	if (shard_is_empty(log)) {
		log->head = NULL;
		log->next = NULL;
	}
	first = first_of(log);
	if (first->live > 0 || first == log->head || first == log->next)
		return;
	/* Closed first, so that its pages are given back by the thread that unlinks, not by ours. */
	if (first->pins == 0 && first->fd >= 0) {
		close(first->fd);
		first->fd = -1;
	}
	log->drop.op.done = drop_done;
	log->drop.segment = first;
	log->drop.unlinked = false;
	store_segment_name(first->seq, log->drop.name);
	ring_unlinkat(log->spool->ring, &log->drop.op, log->shard->dir, log->drop.name);
}
