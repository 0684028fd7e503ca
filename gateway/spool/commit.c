/* SPDX-License-Identifier: MIT */
/*
 * commit.c -- group commit: what waits for a shard's log goes there in one write, synced.
 *
 * One batch at a time. While it is on its way, others collect; so the slower the disk, the more
 * messages share a sync, and nobody has to guess how long to wait. Only a batch that would hold one
 * message waits a moment (commit_wait_us), and only while others are being filled in.
 *
 * The write is one operation that ends once it is on disk. A short one is continued. When it fails,
 * nobody of the batch is acknowledged and the segment is left: after a failed sync the kernel calls
 * the pages clean, so asking again would prove nothing. What may have reached the disk is punched out
 * if the disk still lets us, so that a message that was answered 451 does not come back at the next
 * start; where that fails too, it may.
 *
 * After a failure new messages are refused for a second (spool_ready); those that are there already
 * try the next segment at once.
 */
#include "spool/spool-private.h"

#include <errno.h>
#include <linux/falloc.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/event.h"
#include "base/fault.h"
#include "base/histogram.h"

/* ---- pauses ---- */

void spool_log_pause(struct spool_log *log)
{
	struct ring *ring = log->spool->ring;

	log->pause_ms = ring_now_ms(ring) + SPOOL_PAUSE_MS;
	wheel_set(ring_wheel(ring), &log->pause_timer, log->pause_ms);
}

bool spool_log_paused(const struct spool_log *log)
{
	return ring_now_ms(log->spool->ring) < log->pause_ms;
}

static void notes_fire(struct wheel_timer *timer)
{
	container_of(timer, struct spool_log, notes_timer)->notes_due = true;
}

/* ---- the batch ---- */

static void batch_write(struct spool_log *log)
{
	struct spool_batch *batch = &log->batch;
	struct ring *ring = log->spool->ring;
	const struct iovec *iov = batch->iov + batch->iov_at;
	unsigned n = batch->iov_n - batch->iov_at;
	uint64_t offset = batch->offset + batch->done;
	int fd = batch->direct ? log->head->direct : log->head->fd;

	if (log->spool->settings->durable)
		ring_writev_sync(ring, &batch->op, fd, iov, n, offset);
	else
		ring_writev(ring, &batch->op, fd, iov, n, offset);
}

static void batch_advance(struct spool_batch *batch, size_t n)
{
	batch->done += n;
	batch->iov_at = span_iov_drop(batch->iov, batch->iov_at, n);
}

static void commit_count(const struct spool_batch *batch)
{
	uint64_t now_us = clock_real_us();

	count(COUNTER_SPOOL_BATCHES);
	if (batch->direct)
		count(COUNTER_SPOOL_DIRECT);
	if (batch->messages_n == 0)
		return;
	count_add(COUNTER_SPOOL_BATCH_MESSAGES, batch->messages_n);
	histogram_add(HISTOGRAM_SPOOL_BATCH, batch->messages_n);
	for (const struct list *node = batch->messages.next; node != &batch->messages;
		node = node->next) {
		const struct spool_message *message =
			container_of(node, const struct spool_message, node);
		uint64_t from_us = message->commit_us;

		histogram_add(HISTOGRAM_SPOOL_COMMIT_US, now_us > from_us ? now_us - from_us : 0);
	}
}

/* Durable. The log is free again before anybody is told. */
static void batch_committed(struct spool_log *log)
{
	struct spool_batch *batch = &log->batch;
	struct list messages;

	(void)fault("spool.committed", 0);
	log->error = 0;
	commit_count(batch);
	spool_segment_written(log, batch->bytes);
	if (batch->notes)
		spool_notes_written(log);
	if (batch->copies)
		spool_copies_written(log, true);
	list_init(&messages);
	list_splice_back(&messages, &batch->messages);
	batch->step = SPOOL_BATCH_NONE;
	for (struct list *node = messages.next; node != &messages; node = node->next) {
		struct spool_item *item = container_of(node, struct spool_message, node)->item;

		item->shard = log->shard;
		spool_segment_hold(item, log->head, item->offset);
	}
	while (!list_empty(&messages))
		spool_message_committed(
			container_of(list_pop_front(&messages), struct spool_message, node));
}

static void messages_fail(struct list *messages, int error)
{
	struct list failed;

	list_init(&failed);
	list_splice_back(&failed, messages);
	while (!list_empty(&failed))
		spool_message_failed(
			container_of(list_pop_front(&failed), struct spool_message, node), error);
}

static void waiting_fail(struct spool_log *log, int error)
{
	log->waiting_n = 0;
	messages_fail(&log->waiting, error);
}

/* Everything was tried; notes stay for the next batch. */
static void batch_lost(struct spool_log *log)
{
	struct spool_batch *batch = &log->batch;

	spool_segment_retire(log);
	if (batch->copies)
		spool_copies_written(log, false);
	batch->step = SPOOL_BATCH_NONE;
	spool_log_pause(log);
	messages_fail(&batch->messages, batch->error);
}

static void batch_failed(struct spool_log *log, int error)
{
	struct spool_batch *batch = &log->batch;
	struct event event;

	event_open(&event, COUNTER_SPOOL_FAILED_BATCHES, "spool_batch_failed");
	event_u64(&event, "shard", log->shard->number);
	event_u64(&event, "segment", log->head->seq);
	event_u64(&event, "offset", batch->offset);
	event_u64(&event, "messages", batch->messages_n);
	event_str(&event, "error", strerror(-error));
	event_close(&event);
	batch->error = error;
	log->error = error;
	batch->step = SPOOL_BATCH_ERASE;
	ring_fallocate(log->spool->ring, &batch->op, log->head->fd,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, batch->offset, batch->length);
}

/* A test build may let the write fail, or the sync behind it. */
static void batch_written(struct spool_log *log, int res)
{
	struct spool_batch *batch = &log->batch;

	res = fault("spool.batch.write", res);
	if (res > 0 && log->spool->settings->durable) {
		int synced = fault("spool.batch.sync", 0);

		count(COUNTER_SPOOL_SYNCS);
		if (synced < 0)
			res = synced;
	}
	if (res <= 0) {
		batch_failed(log, res == 0 ? -EIO : res);
		return;
	}
	batch_advance(batch, (size_t)res);
	if (batch->done < batch->length)
		batch_write(log);
	else
		batch_committed(log);
}

static void batch_done(struct op *op, int res, uint32_t flags)
{
	struct spool_log *log = container_of(op, struct spool_log, batch.op);

	(void)flags;
	switch (log->batch.step) {
	case SPOOL_BATCH_WRITE:
		batch_written(log, res);
		return;
	case SPOOL_BATCH_ERASE:
		if (log->spool->settings->durable) {
			log->batch.step = SPOOL_BATCH_FLUSH;
			ring_fsync(log->spool->ring, &log->batch.op, log->head->fd, true);
			return;
		}
		batch_lost(log);
		return;
	case SPOOL_BATCH_FLUSH:
		batch_lost(log);
		return;
	case SPOOL_BATCH_NONE:
		break;
	}
	ASSERT(!"a completion of no known step");
}

static void batch_start(struct spool_log *log)
{
	int res;

	if (log->own)
		spool_look(log->spool);
	if (!spool_segment_room(log, spool_batch_need(log))) {
		if (log->make.step == SPOOL_MAKE_NONE && log->make.error != 0)
			waiting_fail(log, log->make.error);
		return;
	}
	res = spool_batch_fill(log);
	if (res == -ENOMEM)
		waiting_fail(log, -ENOMEM);
	if (res != 0)
		return;
	log->waited = false;
	log->batch.step = SPOOL_BATCH_WRITE;
	batch_write(log);
}

/* ---- when ---- */

static void wait_done(struct op *op, int res, uint32_t flags)
{
	(void)res;
	(void)flags;
	container_of(op, struct spool_log, wait)->waited = true;
}

/* One message and nobody with it yet: others that are being filled in may join it. */
static bool waits_for_company(struct spool_log *log)
{
	const struct spool *spool = log->spool;
	uint32_t us = spool->settings->commit_wait_us;

	if (log->waiting_n != 1 || us == 0 || log->waited || spool->messages.live == spool->logged)
		return false;
	if (!log->wait.armed)
		ring_timeout(spool->ring, &log->wait, &log->wait_time, us);
	return true;
}

static bool batch_due(struct spool_log *log)
{
	bool others = log->notes_due || log->writing.n > 0 || log->copies.step == SPOOL_COPY_READY;

	if (log->batch.step != SPOOL_BATCH_NONE)
		return false;
	if (log->waiting_n == 0)
		return others && !spool_log_paused(log);
	return !waits_for_company(log);
}

void spool_log_turn(struct spool_log *log)
{
	spool_segment_collect(log);
	spool_make_prepare(log);
	spool_copies_go(log);
	if (batch_due(log))
		batch_start(log);
}

void spool_log_put(struct spool_log *log, struct spool_message *message)
{
	list_push_back(&log->waiting, &message->node);
	log->waiting_n++;
}

/* Notes that cannot be written now do not keep the worker from ending. */
bool spool_log_idle(const struct spool_log *log)
{
	size_t first = log->writing.n > 0 ? log->writing.n : log->noted.n;
	bool fails =
		log->error != 0 || (log->make.error != 0 && !spool_segment_head_takes(log, first));
	bool notes = log->noted.n > 0 || log->writing.n > 0;

	return log->waiting_n == 0 && log->batch.step == SPOOL_BATCH_NONE && !log->wait.armed &&
	       log->make.step == SPOOL_MAKE_NONE && log->drop.segment == NULL &&
	       log->copies.step != SPOOL_COPY_READ && (!notes || fails);
}

void spool_log_init(struct spool_log *log, struct spool *spool, struct spool_shard *shard)
{
	log->spool = spool;
	log->shard = shard;
	log->copies.stuck_seq = UINT64_MAX;
	list_init(&log->waiting);
	list_init(&log->batch.messages);
	list_init(&log->noted.gone);
	list_init(&log->writing.gone);
	log->batch.op.done = batch_done;
	log->wait.done = wait_done;
	wheel_timer_init(&log->notes_timer, notes_fire);
	wheel_timer_init(&log->pause_timer, wheel_fire_nothing);
}
