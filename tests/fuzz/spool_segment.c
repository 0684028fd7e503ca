/* SPDX-License-Identifier: MIT */
/*
 * spool_segment.c -- fuzz target: a segment as a disk, a crash or a stranger may have left it.
 *
 * The first octet is the mode. Even: the rest is the segment. Odd: some octets first say what is done
 * to the segment behind them (place, value), and its checksums are then set right, so that what lies
 * behind them is reached. Shows: the scan visits records and damage in order, without gaps or
 * overlaps, inside of the file; what it calls sound has a good checksum; meta and attempts are read
 * within bounds; an item that was read writes the octets that it was read from.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "spool/store-private.h"

#define SEGMENT_MAX   (1u << 20)
#define CHANGES_MAX   64
#define CHANGE_OCTETS 3

struct seen {
	struct span bytes;
	uint64_t at; /* all before it was visited, or is no part of a record */
	uint64_t records;
	uint32_t salt;
	bool page; /* written in pages */
	bool tail;
	struct spool_item *item; /* the last one */
};

static uint8_t segment[SEGMENT_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What was read is written alike. */
static void check_item(const struct spool_item *item, struct span meta)
{
	const struct spool_entry *entry = &item->entry;
	uint32_t n = entry->recipients_n;
	uint8_t *fates = calloc(n + 1u, 1);
	bool *warned = calloc(n + 1u, sizeof(*warned));
	uint8_t *again = malloc(meta.n);
	uint32_t pending = 0;

	for (uint32_t i = 0; i < n; i++) {
		fates[i] = entry->recipients[i].fate;
		warned[i] = entry->recipients[i].warned;
		pending += fates[i] == SPOOL_FATE_PENDING;
	}
	ASSERT(pending == entry->pending_n);
	ASSERT(spool_meta_bytes(&entry->envelope) == meta.n);
	spool_meta_write(again, &entry->envelope, fates, warned);
	ASSERT(memcmp(again, meta.p, meta.n) == 0);
	free(fates);
	free(warned);
	free(again);
}

static void take_message(struct seen *seen, const struct spool_record *record, struct span meta)
{
	struct spool_item *item;
	int res = spool_meta_read(&item, record, meta);

	ASSERT(res == 0 || (res == -EBADMSG && item == NULL));
	if (res != 0)
		return;
	check_item(item, meta);
	spool_item_free(seen->item);
	seen->item = item;
}

static bool on_record(
	void *ctx, const struct spool_record *record, struct span meta, uint64_t offset)
{
	struct seen *seen = ctx;
	struct span rest = seen->bytes;
	struct spool_record again;
	uint64_t payload = record->meta_n;

	ASSERT(!seen->tail && offset % 8 == 0);
	ASSERT(seen->page ? offset >= seen->at : offset == seen->at);
	(void)span_take(&rest, offset);
	ASSERT(spool_record_read(rest, seen->salt, &again) == 0);
	ASSERT(again.id == record->id && again.type == record->type);
	payload += record->flags & SPOOL_FLAG_LARGE ? 0 : record->body_n;
	ASSERT(SPOOL_RECORD_HEADER + payload <= rest.n);
	ASSERT(crc32c(0, span_of(rest.p + SPOOL_RECORD_HEADER, payload)) == record->payload_crc);
	ASSERT(span_equal(meta, span_of(rest.p + SPOOL_RECORD_HEADER, record->meta_n)));
	if (record->type == SPOOL_RECORD_MESSAGE)
		take_message(seen, record, meta);
	else if (record->type == SPOOL_RECORD_ATTEMPT && seen->item != NULL)
		(void)!spool_attempt_meta_read(seen->item, record, meta);
	seen->records++;
	seen->at = min_size(offset + spool_record_bytes(record), seen->bytes.n);
	return true;
}

static void on_damage(void *ctx, uint64_t offset, uint64_t n, uint64_t id, bool tail)
{
	struct seen *seen = ctx;

	ASSERT(n > 0 && n <= seen->bytes.n - offset);
	ASSERT(seen->page ? offset >= seen->at : offset == seen->at);
	ASSERT(id == 0 || n >= SPOOL_RECORD_HEADER);
	seen->tail = seen->tail || tail;
	seen->at = offset + n;
}

static void check_scan(struct span bytes)
{
	struct seen seen = {.bytes = bytes};
	struct spool_scan_visit visit = {&seen, on_record, on_damage};
	struct spool_segment_header header;
	uint64_t end, batch;
	int fd = memfd_create("segment", MFD_CLOEXEC);
	int res = spool_segment_header_read(bytes, &header);

	ASSERT(fd >= 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n);
	seen.salt = header.salt;
	seen.page = header.page != 0;
	seen.at = spool_segment_begin(header.page);
	ASSERT(spool_scan(fd, &visit, &header, &end, &batch) == res);
	close(fd);
	spool_item_free(seen.item);
	if (res != 0) {
		ASSERT(seen.records == 0 && !seen.tail);
		return;
	}
	ASSERT(end == seen.at);
	for (uint64_t i = end; i < bytes.n && !seen.page; i++)
		ASSERT(bytes.p[i] == 0);
}

/* Sets the checksums of a record right where its header looks like one; its length or 0. */
static size_t mend(uint8_t *p, size_t n, uint32_t salt)
{
	uint32_t meta_n, crc;
	uint64_t body_n, bytes;

	if (n < SPOOL_RECORD_HEADER || memcmp(p, "PSTR", 4) != 0)
		return 0;
	memcpy(&body_n, p + 32, sizeof(body_n));
	memcpy(&meta_n, p + 40, sizeof(meta_n));
	if (p[5] & SPOOL_FLAG_LARGE)
		body_n = 0;
	if (body_n > n || meta_n > n || body_n + meta_n + SPOOL_RECORD_HEADER > n)
		return 0;
	bytes = (SPOOL_RECORD_HEADER + meta_n + body_n + 7) & ~(uint64_t)7;
	crc = crc32c(0, span_of(p + SPOOL_RECORD_HEADER, meta_n + body_n));
	memcpy(p + 56, &crc, sizeof(crc));
	crc = crc32c(salt, span_of(p, 60));
	memcpy(p + 60, &crc, sizeof(crc));
	return min_size(bytes, n);
}

/* Changes: two octets of place, one of value; their number comes first. */
static struct span mutate(struct span data)
{
	struct span head = span_take(&data, 1);
	size_t changes_n = head.n > 0 ? head.p[0] % CHANGES_MAX : 0;
	struct span changes = span_take(&data, changes_n * CHANGE_OCTETS);
	size_t n = min_size(data.n, sizeof(segment));
	uint32_t salt, page, crc;

	if (n > 0)
		memcpy(segment, data.p, n);
	for (; changes.n >= CHANGE_OCTETS; (void)span_take(&changes, CHANGE_OCTETS)) {
		size_t place = changes.p[0] | (size_t)changes.p[1] << 8;

		if (place < n)
			segment[place] ^= changes.p[2];
	}
	if (n < SPOOL_SEGMENT_HEADER)
		return span_of(segment, n);
	crc = crc32c(0, span_of(segment, 60));
	memcpy(segment + 60, &crc, sizeof(crc));
	memcpy(&salt, segment + 32, sizeof(salt));
	memcpy(&page, segment + 36, sizeof(page));
	page = page == SPOOL_PAGE ? SPOOL_PAGE : 0;
	for (size_t at = spool_segment_begin(page), step = 1; step > 0 && at < n; at += step) {
		step = mend(segment + at, n - at, salt);
		if (step == 0 && page != 0)
			step = page - at % page;
	}
	return span_of(segment, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct span rest = span_of(data, n);
	struct span mode = span_take(&rest, 1);
	uint8_t *exact;

	if (mode.n == 0)
		return 0;
	if (mode.p[0] & 1)
		rest = mutate(rest);
	rest.n = min_size(rest.n, SEGMENT_MAX);
	exact = malloc(rest.n + 1); /* an over-read shows */
	if (rest.n > 0)
		memcpy(exact, rest.p, rest.n);
	check_scan(span_of(exact, rest.n));
	free(exact);
	return 0;
}
