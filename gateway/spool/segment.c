/* SPDX-License-Identifier: MIT */
/*
 * segment.c -- a shard's segments: rolled over, removed oldest first. make.c makes them.
 *
 * A head that failed is left as it is; a record that is longer than a segment gets an empty one for
 * itself, which then grows.
 *
 * A segment goes when it is the oldest and no message in it is live. Its removal is synced before
 * that of the next one: a finished message must not come back because the segment that says so went
 * first. A body that is being read keeps the descriptor, not the name. One that is worth it is not
 * unlinked but renamed to a spare, to be written anew.
 */
#include "spool/spool-private.h"

#include <errno.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/event.h"
#include "base/fault.h"

static struct spool_segment *first_of(const struct spool_log *log)
{
	return container_of(log->shard->segments.next, struct spool_segment, node);
}

void spool_segment_grow(struct spool_log *log, struct spool_segment *segment, uint64_t n)
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

void spool_segment_direct_close(struct spool_segment *segment)
{
	if (segment->direct >= 0)
		close(segment->direct);
	segment->direct = -1;
}

static void free_unless_pinned(struct spool_segment *segment)
{
	if (!segment->gone || segment->pins > 0)
		return;
	store_segment_free(segment);
}

void spool_segment_unpin(struct spool_segment *segment)
{
	ASSERT(segment->pins > 0);
	segment->pins--;
	free_unless_pinned(segment);
}

/* ---- the head ---- */

bool spool_segment_fresh(const struct spool_segment *segment)
{
	return segment->bytes == spool_segment_begin(segment->page);
}

uint64_t spool_segment_left(const struct spool_segment *segment)
{
	uint64_t around = 2ull * segment->page; /* padding, and the page behind a commit */

	return segment->bytes + around < segment->room ? segment->room - segment->bytes - around
						       : 0;
}

bool spool_segment_head_takes(const struct spool_log *log, uint64_t n)
{
	const struct spool_segment *head = log->head;

	return head != NULL && (spool_segment_fresh(head) || n <= spool_segment_left(head));
}

/* One that is written in pages is taken before the other is full: it is cheaper. */
bool spool_segment_room(struct spool_log *log, uint64_t n)
{
	bool better = log->next != NULL && log->next->page != 0 &&
		      (log->head == NULL || log->head->page == 0);

	if (!better && spool_segment_head_takes(log, n))
		return true;
	if (log->next == NULL) {
		spool_make_start(log);
		return false;
	}
	if (log->head != NULL)
		spool_segment_direct_close(log->head);
	log->head = log->next;
	log->next = NULL;
	return true;
}

void spool_segment_written(struct spool_log *log, uint64_t n)
{
	struct spool_segment *head = log->head;

	head->bytes += n;
	log->shard->bytes += n;
	log->written += n;
	if (head->bytes > head->room)
		spool_segment_grow(log, head, head->bytes - head->room);
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
	spool_segment_direct_close(head);
	if (!spool_segment_fresh(head))
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

/* Not worth a second life: too short, not to be relied on, being read, or space is short. */
static bool worth_sparing(const struct spool_log *log, const struct spool_segment *segment)
{
	const struct spool *spool = log->spool;

	return spool_make_direct(log) && spool->look_error == 0 && !segment->dead &&
	       segment->pins == 0 &&
	       segment->bytes >= spool->settings->segment_bytes / SPOOL_SPARE_PART;
}

/* The name is gone, then its going is synced. What cannot be removed is tried again. A spare may be
 * written to only from then on: after a crash its old name might else be back, with a new header. */
static void drop_done(struct op *op, int res, uint32_t flags)
{
	struct spool_log *log = container_of(op, struct spool_log, drop.op);

	(void)flags;
	if (log->drop.unlinked) {
		count(COUNTER_SPOOL_SYNCS);
		if (log->drop.spare >= 0)
			log->spares[log->drop.spare] = true;
		drop_end(log);
		return;
	}
	res = fault("spool.segment.unlink", res);
	if (res < 0 && res != -ENOENT) {
		event_text(EVENT_NO_COUNT, "spool_unlink_failed", "file", log->drop.name);
		log->drop.segment = NULL;
		spool_log_pause(log);
		return;
	}
	if (res < 0)
		log->drop.spare = -1;
	if (log->spool->settings->durable) {
		log->drop.unlinked = true;
		ring_fsync(log->spool->ring, &log->drop.op, log->shard->dir, false);
	} else {
		drop_end(log);
	}
}

static void drop_start(struct spool_log *log, struct spool_segment *segment)
{
	struct ring *ring = log->spool->ring;
	int dir = log->shard->dir;

	log->drop.op.done = drop_done;
	log->drop.segment = segment;
	log->drop.unlinked = false;
	log->drop.spare = worth_sparing(log, segment) ? spool_make_spare_room(log) : -1;
	/* Closed first, so that its pages are given back by the thread that unlinks, not by ours. */
	if (segment->pins == 0 && segment->fd >= 0) {
		close(segment->fd);
		segment->fd = -1;
	}
	store_segment_name(segment->seq, log->drop.name);
	if (log->drop.spare < 0) {
		ring_unlinkat(ring, &log->drop.op, dir, log->drop.name);
		return;
	}
	spool_make_spare_name((unsigned)log->drop.spare, log->drop.to);
	ring_renameat(ring, &log->drop.op, dir, log->drop.name, dir, log->drop.to);
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
	drop_start(log, first);
}
