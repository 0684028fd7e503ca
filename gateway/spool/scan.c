/* SPDX-License-Identifier: MIT */
/*
 * scan.c -- reads a segment from end to end and tells sound records from damage.
 *
 * One pass in pieces of SCAN_WINDOW, so that the disk is read in order and bodies never stand in
 * memory as a whole. After damage it goes on at the next multiple of 8 where a record header with a
 * good checksum stands; headers are salted, so a message cannot hold one. A record whose header is
 * sound and whose payload is not is passed over by its length.
 *
 * In a segment that is written in pages what an earlier life left stands behind the end; no record of
 * it is sound, as the salt is another one.
 *
 * Damage behind the last sound record is held back until the end of the file: only then is it known
 * whether it is the tail that a crash tore off or an older batch that has gone bad.
 *
 * Non-goals: what is done about it (recover.c, the inspector); the contents of meta (meta.c).
 * Rejected: mmap(2); a file that shrinks or a bad sector would then be a signal and not an error.
 */
#include "spool/store-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"

#define SCAN_WINDOW (1u << 20)
#define RECORD_STEP 8

/* Octets that are not sound, not reported yet. */
struct damage {
	uint64_t offset;
	uint64_t n;
	uint64_t id;
	uint64_t batch; /* of its header; without one that of the last header before it */
};

struct scan {
	int fd;
	const struct spool_scan_visit *visit;
	uint64_t size; /* of the file */
	uint32_t salt;
	uint32_t page;
	uint64_t batch;     /* of the last sound header */
	uint64_t batch_max; /* of all of them */
	uint8_t *window;    /* SCAN_WINDOW octets */
	uint64_t window_at; /* where in the file they are from */
	size_t window_n;    /* how many there are */
	uint8_t *meta;      /* of the record at hand */
	size_t meta_room;
	struct damage *held; /* behind the last sound record */
	size_t held_n, held_room;
};

/* ---- reading ---- */

static int read_at(struct scan *scan, uint64_t offset)
{
	scan->window_at = offset;
	scan->window_n = 0;
	while (scan->window_n < SCAN_WINDOW && offset + scan->window_n < scan->size) {
		size_t room = min_size(
			SCAN_WINDOW - scan->window_n, scan->size - offset - scan->window_n);
		ssize_t n = pread(scan->fd, scan->window + scan->window_n, room,
			(off_t)(offset + scan->window_n));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			scan->size = offset + scan->window_n; /* it has shrunk */
		scan->window_n += (size_t)n;
	}
	return 0;
}

/* *out: octets at `offset`; at least `least` (no more than a window) unless the file ends before. */
static int look(struct scan *scan, uint64_t offset, size_t least, struct span *out)
{
	uint64_t end = scan->window_at + scan->window_n;
	uint64_t wanted = offset + least < scan->size ? offset + least : scan->size;
	int error = 0;

	if (offset < scan->window_at || wanted > end || offset >= end)
		error = read_at(scan, offset);
	*out = span_of(scan->window, scan->window_n);
	(void)span_take(out, (size_t)(offset - scan->window_at));
	return error;
}

/* Checksum of n octets, which lie within the file; a copy of them to `copy` unless NULL. */
static int sum(struct scan *scan, uint64_t offset, uint64_t n, uint8_t *copy, uint32_t *crc)
{
	while (n > 0) {
		struct span piece;
		int error = look(scan, offset, 1, &piece);

		if (error != 0)
			return error;
		if (piece.n == 0)
			return -EIO;
		piece.n = min_size(piece.n, n);
		*crc = crc32c(*crc, piece);
		if (copy != NULL) {
			memcpy(copy, piece.p, piece.n);
			copy += piece.n;
		}
		offset += piece.n;
		n -= piece.n;
	}
	return 0;
}

/* ---- damage ---- */

static int hold(struct scan *scan, const struct damage *damage)
{
	if (scan->held_n == scan->held_room) {
		size_t room = scan->held_room == 0 ? 16 : scan->held_room * 2;
		struct damage *held = realloc(scan->held, room * sizeof(*held));

		if (held == NULL)
			return -ENOMEM;
		scan->held = held;
		scan->held_room = room;
	}
	scan->held[scan->held_n++] = *damage;
	return 0;
}

/* Reports what was held. At the end of the file it is the tail unless a newer header was seen. */
static void release(struct scan *scan, bool at_end)
{
	for (size_t i = 0; i < scan->held_n; i++) {
		const struct damage *damage = &scan->held[i];

		scan->visit->damage(scan->visit->ctx, damage->offset, damage->n, damage->id,
			at_end && damage->batch == scan->batch_max);
	}
	scan->held_n = 0;
}

/* ---- looking for the next record ---- */

struct search {
	uint64_t at;       /* where a sound header stands, or the end of the file */
	uint64_t zeros_at; /* from there to `at` is nothing but zeros */
	bool found;
};

/* From `offset` on, at multiples of RECORD_STEP. */
static int search(struct scan *scan, uint64_t offset, struct search *out)
{
	struct spool_record record;
	struct span bytes;
	uint64_t word;

	*out = (struct search){.at = offset, .zeros_at = offset};
	while (out->at < scan->size) {
		int error = look(scan, out->at, SPOOL_RECORD_HEADER, &bytes);

		if (error != 0)
			return error;
		for (; bytes.n >= SPOOL_RECORD_HEADER; out->at += RECORD_STEP) {
			memcpy(&word, bytes.p, sizeof(word));
			if (word != 0) {
				out->found = spool_record_read(bytes, scan->salt, &record) == 0;
				if (out->found)
					return 0;
				out->zeros_at = out->at + RECORD_STEP;
			}
			(void)span_take(&bytes, RECORD_STEP);
		}
		if (out->at + bytes.n < scan->size)
			continue;
		for (size_t i = 0; i < bytes.n; i++) /* too short for a header */
			if (bytes.p[i] != 0)
				out->zeros_at = min_size(
					out->at + (i / RECORD_STEP + 1) * RECORD_STEP, scan->size);
		out->at += bytes.n;
	}
	return 0;
}

/* A commit ends somewhere in a page: the next one, if any, begins on a page. *out: where its first
 * word that is not zero stands, or the page it begins on, or the end of the file. */
static int pass_padding(struct scan *scan, uint64_t offset, uint64_t *out)
{
	uint64_t page = (offset + scan->page - 1) / scan->page * scan->page;
	struct span bytes;
	uint64_t word = 0;

	for (*out = offset; *out < page && *out < scan->size && word == 0; *out += RECORD_STEP) {
		int error = look(scan, *out, RECORD_STEP, &bytes);

		if (error != 0)
			return error;
		memcpy(&word, bytes.p, min_size(bytes.n, sizeof(word)));
	}
	if (word != 0)
		*out -= RECORD_STEP;
	return 0;
}

/* 1: zeros stand where a commit would begin, as behind the last one; or -errno. */
static int is_end(struct scan *scan, uint64_t offset)
{
	struct spool_record record;
	struct span bytes;
	int error = look(scan, offset, SPOOL_RECORD_HEADER, &bytes);

	if (error != 0)
		return error;
	return spool_record_read(bytes, scan->salt, &record) == -ENODATA;
}

/* skip() in a segment that is written in pages: zeros where a commit would begin are the end, if no
 * record of this life follows; what else follows is of an earlier one. */
static int skip_pages(
	struct scan *scan, const struct search *found, uint64_t offset, uint64_t *next)
{
	struct damage damage = {.batch = scan->batch};
	int error = pass_padding(scan, offset, &damage.offset);

	if (error == 0 && !found->found && damage.offset % scan->page == 0)
		error = is_end(scan, damage.offset);
	if (error != 0)
		return error < 0 ? error : 0;
	*next = found->found ? found->at : scan->size;
	damage.n = *next - damage.offset;
	if (damage.n > 0)
		error = hold(scan, &damage);
	return error != 0 ? error : 1;
}

/* No record at `offset`. Answers 1 to go on at *next, 0 at the end of the segment, or -errno. */
static int skip(struct scan *scan, uint64_t offset, uint64_t *next)
{
	struct damage damage = {.offset = offset, .batch = scan->batch};
	struct search found;
	int error = search(scan, offset, &found);

	if (error != 0)
		return error;
	if (scan->page != 0)
		return skip_pages(scan, &found, offset, next);
	*next = found.found ? found.at : found.zeros_at;
	if (*next == offset)
		return 0;
	damage.n = *next - offset;
	error = hold(scan, &damage);
	return error != 0 ? error : 1;
}

/* ---- records ---- */

static int meta_make_room(struct scan *scan, size_t n)
{
	uint8_t *meta;

	if (n <= scan->meta_room)
		return 0;
	meta = realloc(scan->meta, n);
	if (meta == NULL)
		return -ENOMEM;
	scan->meta = meta;
	scan->meta_room = n;
	return 0;
}

/* 1: the payload is there and sound, 0: it is not, or -errno. */
static int payload_check(struct scan *scan, const struct spool_record *record, uint64_t offset)
{
	uint64_t body_n = record->flags & SPOOL_FLAG_LARGE ? 0 : record->body_n;
	uint64_t at = offset + SPOOL_RECORD_HEADER;
	uint32_t crc = 0;
	int error;

	if (body_n + record->meta_n > scan->size - at)
		return 0;
	error = meta_make_room(scan, record->meta_n);
	if (error == 0)
		error = sum(scan, at, record->meta_n, scan->meta, &crc);
	if (error == 0)
		error = sum(scan, at + record->meta_n, body_n, NULL, &crc);
	if (error != 0)
		return error;
	return crc == record->payload_crc;
}

/* A header is sound. As skip(). */
static int take(
	struct scan *scan, const struct spool_record *record, uint64_t offset, uint64_t *next)
{
	struct damage damage = {.offset = offset, .id = record->id, .batch = record->batch};
	int sound = payload_check(scan, record, offset);

	if (sound < 0)
		return sound;
	scan->batch = record->batch;
	if (scan->batch_max < record->batch)
		scan->batch_max = record->batch;
	*next = offset + spool_record_bytes(record);
	if (*next > scan->size)
		*next = scan->size;
	damage.n = *next - offset;
	if (!sound) {
		int error = hold(scan, &damage);

		return error != 0 ? error : 1;
	}
	release(scan, false);
	return scan->visit->record(
		scan->visit->ctx, record, span_of(scan->meta, record->meta_n), offset);
}

/* As skip(). */
static int step(struct scan *scan, uint64_t offset, uint64_t *next)
{
	struct spool_record record;
	struct span bytes;
	int error = look(scan, offset, SPOOL_RECORD_HEADER, &bytes);

	if (error != 0)
		return error;
	if (spool_record_read(bytes, scan->salt, &record) != 0)
		return skip(scan, offset, next);
	return take(scan, &record, offset, next);
}

static int scan_all(struct scan *scan, struct spool_segment_header *header, uint64_t *end)
{
	struct span bytes;
	int more = look(scan, 0, SPOOL_SEGMENT_HEADER, &bytes);

	if (more == 0)
		more = spool_segment_header_read(bytes, header);
	if (more != 0)
		return more;
	scan->salt = header->salt;
	scan->page = header->page;
	*end = spool_segment_begin(header->page);
	for (more = 1; more > 0 && *end < scan->size;)
		more = step(scan, *end, end);
	if (more < 0)
		return more;
	release(scan, true);
	return 0;
}

int spool_scan(int fd, const struct spool_scan_visit *visit, struct spool_segment_header *header,
	uint64_t *end, uint64_t *batch)
{
	struct scan scan = {.fd = fd, .visit = visit};
	struct stat st;
	int error;

	memset(header, 0, sizeof(*header));
	*end = *batch = 0;
	if (fstat(fd, &st) != 0)
		return -errno;
	scan.size = (uint64_t)st.st_size;
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	scan.window = malloc(SCAN_WINDOW);
	if (scan.window == NULL)
		return -ENOMEM;
	error = scan_all(&scan, header, end);
	*batch = scan.batch_max;
	free(scan.window);
	free(scan.meta);
	free(scan.held);
	return error;
}
