/* SPDX-License-Identifier: MIT */
/*
 * batch.c -- lays out a batch: as many messages as the head and one write take, then the notes, then
 * the copies.
 *
 * Notes and copies that do not fit wait for a fresh head and go into that in any case, however many
 * messages wait: they would else wait for a quiet moment that may never come.
 *
 * First what goes in is chosen and counted, then the frame (headers, metas, padding) is given its
 * size, and only then is anything pointed at. Bodies are written from the blocks that they were
 * received into; past the page cache all is copied to one place first, as O_DIRECT wants it.
 */
#include "spool/spool-private.h"

#include <errno.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/fault.h"

#define PAD_BYTES 8
#define IOV_SPARE (2 * SPOOL_COPIES_MAX + 5) /* for notes, copies and the last paddings */

/* What was chosen so far. */
struct plan {
	uint64_t room;
	bool fresh; /* nothing stands in the head: it grows for what is longer than a segment */
	uint64_t bytes;
	size_t frame;
	uint32_t iov;
};

static bool plan_takes(const struct plan *plan, uint64_t n)
{
	return plan->bytes + n <= plan->room;
}

static void plan_messages(struct spool_log *log, struct plan *plan)
{
	struct spool_batch *batch = &log->batch;

	while (!list_empty(&log->waiting)) {
		struct spool_message *message =
			container_of(log->waiting.next, struct spool_message, node);
		size_t frame = SPOOL_RECORD_HEADER + message->item->meta_n + PAD_BYTES;
		uint32_t iov = 1 + message->filling.n;
		bool first = batch->messages_n == 0;

		if (!plan_takes(plan, message->item->record_bytes) ||
			plan->iov + iov > SPOOL_BATCH_IOV - IOV_SPARE ||
			(!first && plan->frame + frame > SPOOL_FRAME_BYTES))
			return;
		plan->bytes += message->item->record_bytes;
		plan->frame += frame;
		plan->iov += iov;
		list_remove(&message->node);
		list_push_back(&batch->messages, &message->node);
		batch->messages_n++;
		log->waiting_n--;
	}
}

static void plan_notes(struct spool_log *log, struct plan *plan)
{
	size_t n = spool_notes_take(log);

	if (n == 0 || (!plan->fresh && !plan_takes(plan, n)))
		return;
	log->batch.notes = true;
	plan->bytes += n;
}

static void plan_copies(struct spool_log *log, struct plan *plan)
{
	size_t attempts;
	uint64_t n;

	if (log->copies.step != SPOOL_COPY_READY)
		return;
	attempts = spool_copies_attempts_bytes(log);
	n = spool_copies_bytes(log) + attempts;
	if ((!plan->fresh && !plan_takes(plan, n)) || fault("spool.rewrite", 0) != 0)
		return;
	log->batch.copies = true;
	plan->bytes += n;
	plan->frame += attempts;
}

/* ---- pointing at it ---- */

/* The octets next in the batch; what continues the octets before shares their iovec. */
static void add(struct spool_batch *batch, const void *p, size_t n)
{
	struct iovec *last = batch->iov_n > 0 ? &batch->iov[batch->iov_n - 1] : NULL;

	batch->bytes += n;
	if (n == 0)
		return;
	if (last != NULL && (const uint8_t *)last->iov_base + last->iov_len == (const uint8_t *)p) {
		last->iov_len += n;
		return;
	}
	ASSERT(batch->iov_n < SPOOL_BATCH_IOV);
	batch->iov[batch->iov_n++] = (struct iovec){.iov_base = (void *)p, .iov_len = n};
}

static void add_message(struct spool_log *log, struct spool_message *message)
{
	struct spool_batch *batch = &log->batch;
	struct spool_item *item = message->item;
	uint8_t *p = batch->frame + batch->frame_n;
	const struct spool_run *run = &message->filling;
	struct spool_record record;
	uint64_t begin = batch->bytes;
	size_t pad;

	spool_item_record(item, &record);
	record.batch = batch->number;
	record.salt = log->head->salt;
	item->offset = batch->offset + begin;
	spool_meta_write(
		p + SPOOL_RECORD_HEADER, message->envelope, spool_cut_fates(message), NULL);
	record.payload_crc = crc32c(0, span_of(p + SPOOL_RECORD_HEADER, item->meta_n));
	add(batch, p, SPOOL_RECORD_HEADER + item->meta_n);
	for (struct spool_block *block = run->first; block != NULL; block = block->next) {
		size_t n = block == run->last ? run->tail : SPOOL_BLOCK_BYTES;

		record.payload_crc = crc32c(record.payload_crc, span_of(block->bytes, n));
		add(batch, block->bytes, n);
	}
	spool_record_write(p, &record);
	batch->frame_n += SPOOL_RECORD_HEADER + item->meta_n;
	pad = (size_t)(begin + item->record_bytes - batch->bytes);
	ASSERT(pad < PAD_BYTES);
	memset(batch->frame + batch->frame_n, 0, pad);
	add(batch, batch->frame + batch->frame_n, pad);
	batch->frame_n += pad;
}

static void add_copies(struct spool_log *log)
{
	const struct spool_copies *copies = &log->copies;
	struct spool_batch *batch = &log->batch;
	size_t attempts = spool_copies_attempts_bytes(log);
	uint8_t *p = batch->frame + batch->frame_n;

	spool_copies_stamp(log, batch->offset + batch->bytes, p);
	for (uint32_t i = 0; i < copies->items_n; i++)
		if (copies->items[i].item != NULL)
			add(batch, copies->p + copies->items[i].at,
				(size_t)copies->items[i].item->record_bytes);
	add(batch, p, attempts);
	batch->frame_n += attempts;
}

/* One piece of memory, as O_DIRECT wants it. */
static void gather(struct spool_batch *batch)
{
	uint8_t *p = batch->pages;

	for (uint32_t i = 0; i < batch->iov_n; i++) {
		memcpy(p, batch->iov[i].iov_base, batch->iov[i].iov_len);
		p += batch->iov[i].iov_len;
	}
	batch->iov[0] = (struct iovec){.iov_base = batch->pages, .iov_len = batch->length};
	batch->iov_n = 1;
}

/* Where the head is written in pages: fills the last one and adds one of zeros, which the next batch
 * overwrites (format.h). */
static void paginate(struct spool_log *log)
{
	const struct spool_segment *head = log->head;
	struct spool_batch *batch = &log->batch;
	size_t pad;

	batch->direct = false;
	batch->length = batch->bytes;
	if (head->page == 0)
		return;
	pad = (size_t)(-batch->bytes % SPOOL_PAGE);
	batch->length = batch->bytes + pad + SPOOL_PAGE;
	ASSERT(batch->iov_n < SPOOL_BATCH_IOV);
	batch->iov[batch->iov_n++] =
		(struct iovec){.iov_base = spool_zeros, .iov_len = pad + SPOOL_PAGE};
	batch->bytes += pad;
	batch->direct = head->direct >= 0 && batch->length <= SPOOL_PAGES_BYTES;
	if (batch->direct)
		gather(batch);
}

static bool frame_room(struct spool_batch *batch, size_t n)
{
	uint8_t *p;

	if (n <= batch->frame_cap)
		return true;
	p = realloc(batch->frame, n);
	if (p == NULL)
		return false;
	batch->frame = p;
	batch->frame_cap = n;
	return true;
}

/* Back to where it was taken from, in order. */
static void unplan(struct spool_log *log)
{
	list_splice_back(&log->batch.messages, &log->waiting);
	list_splice_back(&log->waiting, &log->batch.messages);
	log->waiting_n += log->batch.messages_n;
}

uint64_t spool_batch_need(struct spool_log *log)
{
	size_t notes;

	if (!list_empty(&log->waiting))
		return container_of(log->waiting.next, struct spool_message, node)
			->item->record_bytes;
	notes = spool_notes_take(log);
	if (notes > 0)
		return notes;
	if (log->copies.step == SPOOL_COPY_READY)
		return spool_copies_bytes(log) + spool_copies_attempts_bytes(log);
	return 0;
}

int spool_batch_fill(struct spool_log *log)
{
	struct spool_batch *batch = &log->batch;
	const struct spool_segment *head = log->head;
	struct plan plan = {.room = spool_segment_left(head)};

	plan.fresh = spool_segment_fresh(head);
	if (head->page != 0)
		plan.room = min_size(plan.room, SPOOL_PAGES_BYTES - SPOOL_HEADER_PAGES);
	if (plan.fresh && plan.room < spool_batch_need(log))
		plan.room = spool_batch_need(log);
	batch->messages_n = 0;
	batch->notes = false;
	batch->copies = false;
	plan_messages(log, &plan);
	plan_notes(log, &plan);
	plan_copies(log, &plan);
	if (plan.bytes == 0)
		return -EAGAIN;
	if (!frame_room(batch, plan.frame)) {
		unplan(log);
		return -ENOMEM;
	}
	batch->number = log->shard->batch_next++;
	batch->offset = head->bytes;
	batch->bytes = 0;
	batch->done = 0;
	batch->frame_n = 0;
	batch->iov_n = 0;
	batch->iov_at = 0;
	for (struct list *node = batch->messages.next; node != &batch->messages; node = node->next)
		add_message(log, container_of(node, struct spool_message, node));
	if (batch->notes) {
		spool_notes_stamp(&log->writing, batch->number, head->salt);
		add(batch, log->writing.p, log->writing.n);
	}
	if (batch->copies)
		add_copies(log);
	ASSERT(batch->bytes == plan.bytes && batch->frame_n <= batch->frame_cap);
	paginate(log);
	return 0;
}
