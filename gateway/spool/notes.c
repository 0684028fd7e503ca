/* SPDX-License-Identifier: MIT */
/*
 * notes.c -- what relay/ reports about a message, on its way to the log.
 *
 * Attempts and ends are serialized at once into `noted` and written with the next batch, or by one
 * of their own after SPOOL_ATTEMPT_MS_MAX. Meanwhile `writing` holds what is in a batch; after a
 * failure it is written again, in front of what came later. The batch's number and the segment's
 * salt are put into the headers when the batch is laid out.
 *
 * Memory is bounded: what does not fit is counted and forgotten, which may cost a second delivery
 * after a restart and nothing else.
 */
#include "spool/spool-private.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/crc32c.h"
#include "base/fault.h"

#define NOTES_BYTES_MIN 16384

/* Room for n octets at the end; NULL: none to be had. */
static uint8_t *notes_grow(struct spool_notes *notes, size_t n)
{
	size_t cap = notes->cap == 0 ? NOTES_BYTES_MIN : notes->cap;
	uint8_t *p;

	if (notes->n + n > SPOOL_NOTES_BYTES)
		return NULL;
	while (cap < notes->n + n)
		cap *= 2;
	if (cap > notes->cap) {
		p = realloc(notes->p, cap);
		if (p == NULL)
			return NULL;
		notes->p = p;
		notes->cap = cap;
	}
	p = notes->p + notes->n;
	memset(p, 0, n);
	notes->n += n;
	return p;
}

/* A record's place with its header written; NULL: not noted. */
static uint8_t *note(struct spool_log *log, struct spool_record *record)
{
	struct wheel *wheel = ring_wheel(log->spool->ring);
	uint8_t *p = notes_grow(&log->noted, (size_t)spool_record_bytes(record));

	if (p == NULL) {
		count(COUNTER_SPOOL_NOTES_LOST);
		return NULL;
	}
	spool_record_write(p, record);
	if (log->noted.n >= SPOOL_NOTES_SOON)
		log->notes_due = true;
	if (log->notes_timer.deadline_ms == 0)
		wheel_set(wheel, &log->notes_timer,
			ring_now_ms(log->spool->ring) + SPOOL_ATTEMPT_MS_MAX);
	return p;
}

void spool_attempt(
	struct spool *spool, struct spool_entry *entry, const struct spool_attempt *attempt)
{
	struct spool_item *item = spool_item_of(entry);
	uint64_t real_s = clock_real_us() / 1000000;
	struct spool_record record = {
		.type = SPOOL_RECORD_ATTEMPT,
		.id = entry->id,
		.real_s = real_s,
		.due_s = attempt->due_real_s,
		.meta_n = (uint32_t)spool_attempt_meta_bytes(attempt),
	};
	uint8_t *p;

	(void)spool;
	count(COUNTER_SPOOL_ATTEMPTS);
	spool_attempt_apply(item, attempt, real_s);
	record.attempts = entry->attempts;
	if (fault("spool.attempt.write", 0) != 0) {
		count(COUNTER_SPOOL_NOTES_LOST);
		return;
	}
	p = note(spool_log_of(item), &record);
	if (p == NULL)
		return;
	spool_attempt_meta_write(p + SPOOL_RECORD_HEADER, attempt);
	record.payload_crc = crc32c(0, span_of(p + SPOOL_RECORD_HEADER, record.meta_n));
	spool_record_write(p, &record);
}

void spool_finish(struct spool *spool, struct spool_entry *entry)
{
	struct spool_item *item = spool_item_of(entry);
	struct spool_log *log = spool_log_of(item);
	struct spool_record record = {
		.type = SPOOL_RECORD_FINISHED,
		.id = entry->id,
		.real_s = clock_real_us() / 1000000,
	};
	bool noted;

	ASSERT(entry->pending_n == 0 && item->accesses == 0);
	noted = fault("spool.finish", 0) == 0 && note(log, &record) != NULL;
	spool_queue_remove(spool, item);
	spool_segment_release(item);
	if (item->copying)
		spool_copies_forget(log, item);
	if (entry->large && noted)
		list_push_back(&log->noted.gone, &entry->node);
	else
		spool_item_free(item);
}

/* ---- for the batch ---- */

/* What was noted is to be written; the buffer that was written is filled next. */
static void notes_swap(struct spool_log *log)
{
	struct spool_notes was = log->writing;

	log->writing.p = log->noted.p;
	log->writing.n = log->noted.n;
	log->writing.cap = log->noted.cap;
	log->writing.salt = 0;
	list_splice_back(&log->writing.gone, &log->noted.gone);
	log->noted.p = was.p;
	log->noted.n = 0;
	log->noted.cap = was.cap;
	log->notes_due = false;
	wheel_clear(ring_wheel(log->spool->ring), &log->notes_timer);
}

size_t spool_notes_take(struct spool_log *log)
{
	if (log->writing.n == 0 && log->noted.n > 0)
		notes_swap(log);
	return log->writing.n;
}

void spool_notes_stamp(struct spool_notes *notes, uint64_t batch, uint32_t salt)
{
	struct span rest = span_of(notes->p, notes->n);
	struct spool_record record;

	while (rest.n > 0) {
		uint8_t *p = notes->p + (notes->n - rest.n);

		int res = spool_record_read(rest, notes->salt, &record);

		ASSERT(res == 0);
		record.batch = batch;
		record.salt = salt;
		spool_record_write(p, &record);
		(void)span_take(&rest, (size_t)spool_record_bytes(&record));
	}
	notes->salt = salt;
}

void spool_notes_written(struct spool_log *log)
{
	log->writing.n = 0;
	spool_queue_gone(log->spool, &log->writing.gone);
}
