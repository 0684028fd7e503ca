/* SPDX-License-Identifier: MIT */
/*
 * copy.c -- moves the live messages of the oldest segment to the head, so that it can go.
 *
 * A message that nobody takes for days would keep every segment behind it. When the log takes more
 * than twice what is live in it (and more than a few segments), or is cut into very many segments, as
 * every start leaves one behind, the oldest segment's messages are
 * read, some at a time, and join the next batch as copies: the record as it was, with the fates as
 * they are now, and the kept attempts behind it. They come after the batch's notes, so what was
 * noted before is in them and what is noted later stands behind them. Until the batch is synced
 * the old record counts.
 *
 * A record that fails its checksum is not copied: that would make damage look sound. Its segment
 * then stays until the message is done with.
 */
#include "spool/spool-private.h"

#include <errno.h>
#include <stdlib.h>

#include "base/counter.h"
#include "base/crc32c.h"
#include "base/event.h"
#include "base/fault.h"

static void copies_clear(struct spool_copies *copies)
{
	for (uint32_t i = 0; i < copies->items_n; i++)
		if (copies->items[i].item != NULL)
			copies->items[i].item->copying = false;
	free(copies->p);
	free(copies->fates);
	free(copies->warned);
	free(copies->changes);
	copies->p = NULL;
	copies->fates = NULL;
	copies->warned = NULL;
	copies->changes = NULL;
	copies->items_n = 0;
	copies->n = 0;
	copies->recipients_max = 0;
	copies->step = SPOOL_COPY_NONE;
}

void spool_copies_free(struct spool_log *log)
{
	copies_clear(&log->copies);
}

/* The segment that should be emptied; NULL: none. */
static struct spool_segment *segment_due(const struct spool_log *log)
{
	const struct spool_shard *shard = log->shard;
	uint64_t segment = log->spool->settings->segment_bytes;
	uint64_t few = SPOOL_SEGMENTS_FEW * segment;
	uint64_t twice = 2 * shard->live_bytes + 2 * segment;
	bool large = log->room > (few > twice ? few : twice);
	bool many = shard->segments_n > SPOOL_SEGMENTS_MANY + twice / segment;
	struct spool_segment *first;

	if (list_empty(&shard->segments) || (!large && !many))
		return NULL;
	first = container_of(shard->segments.next, struct spool_segment, node);
	if (first->live == 0 || first == log->head || first == log->next ||
		first->seq == log->copies.stuck_seq)
		return NULL;
	return first;
}

static bool copies_alloc(struct spool_copies *copies)
{
	copies->p = malloc(copies->n);
	copies->fates = calloc(copies->recipients_max, sizeof(copies->fates[0]));
	copies->warned = calloc(copies->recipients_max, sizeof(copies->warned[0]));
	copies->changes = calloc(copies->recipients_max, sizeof(copies->changes[0]));
	return copies->p != NULL && copies->fates != NULL && copies->warned != NULL &&
	       copies->changes != NULL;
}

static void pick(struct spool_copies *copies, struct spool_segment *segment)
{
	struct list *node = segment->items.next;

	for (; node != &segment->items && copies->items_n < SPOOL_COPIES_MAX; node = node->next) {
		struct spool_item *item = container_of(node, struct spool_item, mates);

		if (copies->items_n > 0 && copies->n + item->record_bytes > SPOOL_COPY_BYTES)
			break;
		copies->items[copies->items_n++] = (struct spool_copy){
			.item = item,
			.at = copies->n,
			.n = (size_t)item->record_bytes,
			.from = item->offset,
		};
		copies->n += (size_t)item->record_bytes;
		item->copying = true;
		if (copies->recipients_max < item->entry.recipients_n)
			copies->recipients_max = item->entry.recipients_n;
	}
}

/* Damaged: stays where it is, and its segment with it. */
static void leave(struct spool_log *log, struct spool_copy *copy, const char *why)
{
	char id[SPOOL_ID_MAX];
	struct event event;

	spool_id_text(copy->item->entry.id, id);
	event_open(&event, EVENT_NO_COUNT, "spool_damaged");
	event_str(&event, "queue_id", id);
	event_u64(&event, "shard", log->shard->number);
	event_u64(&event, "segment", log->copies.segment->seq);
	event_u64(&event, "offset", copy->from);
	event_str(&event, "error", why);
	event_close(&event);
	copy->item->copying = false;
	copy->item = NULL;
	log->copies.stuck_seq = log->copies.segment->seq;
}

static void verify(struct spool_log *log, struct spool_copy *copy)
{
	const struct spool_item *item = copy->item;
	const uint8_t *p = log->copies.p + copy->at;
	struct spool_record record;
	size_t payload;
	int res;

	if (item == NULL)
		return;
	res = spool_record_read(span_of(p, copy->n), log->copies.segment->salt, &record);
	payload = item->meta_n + (item->entry.large ? 0 : (size_t)item->entry.size);
	if (res != 0 || record.id != item->entry.id || record.meta_n != item->meta_n ||
		record.body_n != item->entry.size ||
		record.payload_crc != crc32c(0, span_of(p + SPOOL_RECORD_HEADER, payload)))
		leave(log, copy, "checksum");
}

/* All are read: they are for the next batch. */
static void read_end(struct spool_log *log)
{
	struct spool_copies *copies = &log->copies;
	struct spool_segment *segment = copies->segment;

	for (uint32_t i = 0; i < copies->items_n; i++)
		verify(log, &copies->items[i]);
	copies->segment = NULL;
	copies->step = SPOOL_COPY_READY;
	spool_segment_unpin(segment);
	if (spool_copies_bytes(log) == 0)
		copies_clear(copies);
}

static void read_start(struct spool_log *log, struct spool_copy *copy)
{
	log->copies.reads++;
	ring_read(log->spool->ring, &copy->op, log->copies.segment->fd,
		log->copies.p + copy->at + copy->read_n, copy->n - copy->read_n,
		copy->from + copy->read_n);
}

static void read_done(struct op *op, int res, uint32_t flags)
{
	struct spool_copy *copy = container_of(op, struct spool_copy, op);
	struct spool_log *log = copy->log;

	(void)flags;
	log->copies.reads--;
	if (res > 0)
		copy->read_n += (size_t)res;
	if (copy->item != NULL && res <= 0)
		leave(log, copy, res < 0 ? strerror(-res) : "end of file");
	else if (copy->item != NULL && copy->read_n < copy->n)
		read_start(log, copy);
	if (log->copies.reads == 0)
		read_end(log);
}

void spool_copies_go(struct spool_log *log)
{
	struct spool_copies *copies = &log->copies;
	struct spool_segment *segment;

	if (copies->step != SPOOL_COPY_NONE || spool_log_paused(log))
		return;
	segment = segment_due(log);
	if (segment == NULL)
		return;
	pick(copies, segment);
	if (!copies_alloc(copies)) {
		copies_clear(copies);
		spool_log_pause(log);
		return;
	}
	copies->step = SPOOL_COPY_READ;
	copies->segment = segment;
	segment->pins++;
	for (uint32_t i = 0; i < copies->items_n; i++) {
		copies->items[i].log = log;
		copies->items[i].op.done = read_done;
		read_start(log, &copies->items[i]);
	}
}

void spool_copies_forget(struct spool_log *log, const struct spool_item *item)
{
	struct spool_copies *copies = &log->copies;

	for (uint32_t i = 0; i < copies->items_n; i++)
		if (copies->items[i].item == item)
			copies->items[i].item = NULL;
	if (copies->step == SPOOL_COPY_READY && spool_copies_bytes(log) == 0)
		copies_clear(copies);
}

/* ---- in the batch ---- */

uint64_t spool_copies_bytes(const struct spool_log *log)
{
	const struct spool_copies *copies = &log->copies;
	uint64_t n = 0;

	for (uint32_t i = 0; i < copies->items_n; i++)
		if (copies->items[i].item != NULL)
			n += copies->items[i].item->record_bytes;
	return n;
}

/* A kept attempt as it would be reported again: it changes nothing and does not count. */
static struct spool_attempt attempt_of(struct spool_log *log, const struct spool_item *item,
	const struct spool_attempt_record *kept)
{
	const struct spool_entry *entry = &item->entry;
	uint32_t n = (uint32_t)min_size(kept->recipients_n, entry->recipients_n);

	for (uint32_t i = 0; i < n; i++)
		log->copies.changes[i] = (struct spool_fate_change){
			.recipient = i,
			.fate = SPOOL_FATE_PENDING,
			.warned = entry->recipients[i].warned,
		};
	return (struct spool_attempt){
		.next_hop = kept->next_hop,
		.text = kept->text,
		.changes = log->copies.changes,
		.changes_n = n,
		.due_real_s = entry->due_real_s,
		.held = entry->held,
	};
}

static struct spool_record attempt_record_of(const struct spool_item *item,
	const struct spool_attempt_record *kept, const struct spool_attempt *attempt)
{
	return (struct spool_record){
		.type = SPOOL_RECORD_ATTEMPT,
		.id = item->entry.id,
		.real_s = kept->real_s,
		.due_s = item->entry.due_real_s,
		.attempts = item->entry.attempts,
		.meta_n = (uint32_t)spool_attempt_meta_bytes(attempt),
	};
}

size_t spool_copies_attempts_bytes(struct spool_log *log)
{
	size_t n = 0;

	for (uint32_t i = 0; i < log->copies.items_n; i++) {
		const struct spool_item *item = log->copies.items[i].item;
		const struct spool_attempt_kept *kept = item != NULL ? item->tries : NULL;

		for (; kept != NULL; kept = kept->next) {
			struct spool_attempt attempt = attempt_of(log, item, &kept->record);
			struct spool_record record =
				attempt_record_of(item, &kept->record, &attempt);

			n += (size_t)spool_record_bytes(&record);
		}
	}
	return n;
}

static void stamp(struct spool_log *log, const struct spool_item *item, uint8_t *p)
{
	const struct spool_entry *entry = &item->entry;
	size_t body_n = entry->large ? 0 : (size_t)entry->size;
	struct spool_record record;

	spool_item_record(item, &record);
	record.flags |= SPOOL_FLAG_COPY;
	record.batch = log->batch.number;
	record.salt = log->head->salt;
	for (uint32_t i = 0; i < entry->recipients_n; i++) {
		log->copies.fates[i] = entry->recipients[i].fate;
		log->copies.warned[i] = entry->recipients[i].warned;
	}
	spool_meta_write(
		p + SPOOL_RECORD_HEADER, &entry->envelope, log->copies.fates, log->copies.warned);
	record.payload_crc = crc32c(0, span_of(p + SPOOL_RECORD_HEADER, record.meta_n + body_n));
	spool_record_write(p, &record);
}

static uint8_t *stamp_attempts(struct spool_log *log, const struct spool_item *item, uint8_t *out)
{
	const struct spool_attempt_kept *kept = item->tries;

	for (; kept != NULL; kept = kept->next) {
		struct spool_attempt attempt = attempt_of(log, item, &kept->record);
		struct spool_record record = attempt_record_of(item, &kept->record, &attempt);
		size_t n = (size_t)spool_record_bytes(&record);

		memset(out, 0, n);
		spool_attempt_meta_write(out + SPOOL_RECORD_HEADER, &attempt);
		record.batch = log->batch.number;
		record.salt = log->head->salt;
		record.payload_crc = crc32c(0, span_of(out + SPOOL_RECORD_HEADER, record.meta_n));
		spool_record_write(out, &record);
		out += n;
	}
	return out;
}

void spool_copies_stamp(struct spool_log *log, uint64_t offset, uint8_t *out)
{
	struct spool_copies *copies = &log->copies;

	for (uint32_t i = 0; i < copies->items_n; i++) {
		const struct spool_item *item = copies->items[i].item;

		if (item == NULL)
			continue;
		stamp(log, item, copies->p + copies->items[i].at);
		copies->items[i].offset = offset;
		offset += item->record_bytes;
		out = stamp_attempts(log, item, out);
	}
	copies->step = SPOOL_COPY_WRITE;
}

void spool_copies_written(struct spool_log *log, bool durable)
{
	struct spool_copies *copies = &log->copies;

	for (uint32_t i = 0; i < copies->items_n && durable; i++) {
		if (copies->items[i].item == NULL)
			continue;
		spool_segment_hold(copies->items[i].item, log->head, copies->items[i].offset);
		count(COUNTER_SPOOL_COPIES);
	}
	copies_clear(copies);
}
