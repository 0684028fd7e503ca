/* SPDX-License-Identifier: MIT */
/*
 * make.c -- the next segment of a log, made while the head is still being filled.
 *
 * Three ways, each ends with the header and the name synced:
 *
 *	plain	created, its whole length allocated: a commit never waits for the file system to find
 *		space, and its sync writes no new length
 *	filled	the same, and filled with zeros past the page cache: its commits go there in pages,
 *		and as every extent was written before, none of them waits for the journal
 *	again	a spare, a segment that was emptied, gets a new header, then a new name: all extents
 *		were written in its earlier life
 *
 * The first of a log is plain, as filling one takes a while; so are those of a log that grows, as each
 * would be written twice. (kernel-notes/ring-dsync.md)
 *
 * A spare is known by its name alone. One that a restart left is used as it is; one that nobody will
 * use, or whose space is wanted, is removed.
 *
 * Rejected: a setting. Where the file system knows no O_DIRECT, or not with such pages, all segments
 * are plain.
 */
#include "spool/spool-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/event.h"
#include "base/fault.h"

#define SALT_STEP 0x9e3779b1u

_Alignas(SPOOL_PAGE) uint8_t spool_zeros[SPOOL_ZEROS_BYTES];

/* ---- which way ---- */

bool spool_make_direct(const struct spool_log *log)
{
	return log->own && log->spool->settings->durable && !log->no_direct;
}

void spool_make_spare_name(unsigned spare, char name[STORE_NAME_MAX])
{
	(void)snprintf(name, STORE_NAME_MAX, "%u.spare", spare);
}

static int spare_with(const struct spool_log *log, bool there)
{
	for (int i = 0; i < SPOOL_SPARES; i++)
		if (log->spares[i] == there)
			return i;
	return -1;
}

int spool_make_spare_room(const struct spool_log *log)
{
	return spare_with(log, false);
}

static bool pages_wanted(const struct spool_log *log)
{
	return spool_make_direct(log) &&
	       (spare_with(log, true) >= 0 ||
		       (log->written >= SPOOL_PAGES_AFTER &&
			       log->shard->segments_n <= SPOOL_SEGMENTS_FEW));
}

/* Memory for commits, and behind it for a header. */
static bool pages_alloc(struct spool_log *log)
{
	if (log->batch.pages == NULL)
		log->batch.pages =
			aligned_alloc(SPOOL_PAGE, SPOOL_PAGES_BYTES + SPOOL_HEADER_PAGES);
	return log->batch.pages != NULL;
}

/* ---- the ends ---- */

static void make_drop(struct spool_log *log)
{
	store_segment_free(log->make.segment);
	log->make.segment = NULL;
	log->make.step = SPOOL_MAKE_NONE;
}

static void make_failed(struct spool_log *log, int error)
{
	struct event event;

	make_drop(log);
	event_open(&event, EVENT_NO_COUNT, "spool_segment_failed");
	event_u64(&event, "shard", log->shard->number);
	event_str(&event, "file", log->make.name);
	event_str(&event, "error", strerror(-error));
	event_close(&event);
	spool_log_pause(log);
}

static void undone(struct spool_log *log)
{
	if (log->make.again) {
		make_drop(log);
		spool_make_start(log);
	} else {
		make_failed(log, log->make.error);
	}
}

/* Nothing of it is to stay. With error 0 another way is tried. */
static void make_undo(struct spool_log *log, int error)
{
	struct spool_make *make = &log->make;

	make->again = error == 0;
	if (make->spare >= 0)
		log->spares[make->spare] = false;
	if (error != 0)
		make->error = error;
	if (make->segment->fd >= 0) {
		make->step = SPOOL_MAKE_UNDO;
		ring_unlinkat(log->spool->ring, &make->op, log->shard->dir, make->name);
	} else {
		undone(log);
	}
}

/* A file system may open with O_DIRECT and then refuse to write. */
static void make_write_failed(struct spool_log *log, int res)
{
	if (res == -EINVAL && log->make.segment->page != 0) {
		log->no_direct = true;
		res = 0;
	} else if (res >= 0) {
		res = -EIO;
	}
	make_undo(log, res);
}

static void make_ready(struct spool_log *log)
{
	struct spool_segment *segment = log->make.segment;
	uint64_t room = segment->room;

	log->make.segment = NULL;
	log->make.step = SPOOL_MAKE_NONE;
	log->make.error = 0;
	list_push_back(&log->shard->segments, &segment->node);
	log->shard->segments_n++;
	log->shard->bytes += segment->bytes;
	log->next = segment;
	segment->room = 0;
	spool_segment_grow(log, segment, room);
	count(COUNTER_SPOOL_SEGMENTS);
	if (log->make.spare >= 0)
		count(COUNTER_SPOOL_REUSED);
}

/* ---- the steps ---- */

static void make_allocate(struct spool_log *log)
{
	struct spool_make *make = &log->make;

	make->step = SPOOL_MAKE_ALLOCATE;
	ring_fallocate(log->spool->ring, &make->op, make->segment->fd, 0, 0, make->segment->room);
}

static void make_header(struct spool_log *log)
{
	struct spool_make *make = &log->make;
	struct spool_segment *segment = make->segment;
	struct ring *ring = log->spool->ring;
	struct spool_segment_header header = {
		.version = SPOOL_FORMAT_VERSION,
		.shard = log->shard->number,
		.seq = segment->seq,
		.created_s = clock_real_us() / 1000000,
		.salt = segment->salt,
		.page = segment->page,
	};

	make->step = SPOOL_MAKE_HEADER;
	make->iov = (struct iovec){.iov_base = make->header, .iov_len = SPOOL_SEGMENT_HEADER};
	if (segment->page != 0)
		make->iov = (struct iovec){.iov_base = log->batch.pages + SPOOL_PAGES_BYTES,
			.iov_len = SPOOL_HEADER_PAGES};
	memset(make->iov.iov_base, 0, make->iov.iov_len);
	spool_segment_header_write(make->iov.iov_base, &header);
	if (segment->page != 0)
		ring_writev_sync(ring, &make->op, segment->direct, &make->iov, 1, 0);
	else
		ring_writev(ring, &make->op, segment->fd, &make->iov, 1, 0);
}

static void make_fill(struct spool_log *log)
{
	struct spool_make *make = &log->make;
	size_t n = min_size(SPOOL_ZEROS_BYTES, make->segment->room - make->filled);

	if (n == 0) {
		make_header(log);
		return;
	}
	make->step = SPOOL_MAKE_FILL;
	ring_write(log->spool->ring, &make->op, make->segment->direct, span_of(spool_zeros, n),
		make->filled);
}

static void make_name_sync(struct spool_log *log)
{
	log->make.step = SPOOL_MAKE_DIR_SYNC;
	ring_fsync(log->spool->ring, &log->make.op, log->shard->dir, false);
}

static void opened(struct spool_log *log, int res)
{
	struct spool_make *make = &log->make;

	make->segment->fd = res;
	res = fault("spool.segment.open", res);
	if (res == -ENOENT && make->spare >= 0) {
		make_undo(log, 0);
	} else if (res < 0) {
		make_undo(log, res);
	} else if (make->pages) {
		make->step = SPOOL_MAKE_OPEN_DIRECT;
		ring_openat(log->spool->ring, &make->op, log->shard->dir, make->name,
			O_WRONLY | O_DIRECT | O_CLOEXEC, 0);
	} else {
		make_allocate(log);
	}
}

/* A spare is as long as it is; what is left of an earlier setting may be too short, or too long. */
static void opened_direct(struct spool_log *log, int res)
{
	struct spool_make *make = &log->make;
	struct spool_segment *segment = make->segment;
	uint64_t room = log->spool->settings->segment_bytes;
	struct stat st;

	if (res < 0)
		log->no_direct = true;
	if (res < 0 && make->spare >= 0) {
		make_undo(log, 0);
		return;
	}
	if (res < 0) {
		make_allocate(log);
		return;
	}
	segment->direct = res;
	segment->page = SPOOL_PAGE;
	segment->bytes = SPOOL_PAGE;
	segment->room = room / SPOOL_PAGE * SPOOL_PAGE;
	if (make->spare < 0) {
		make_allocate(log);
		return;
	}
	if (fstat(segment->fd, &st) != 0 || (uint64_t)st.st_size < room / SPOOL_SPARE_PART) {
		make_undo(log, 0);
		return;
	}
	if ((uint64_t)st.st_size < segment->room)
		segment->room = (uint64_t)st.st_size / SPOOL_PAGE * SPOOL_PAGE;
	make->step = SPOOL_MAKE_FORGET;
	ring_forget(log->spool->ring, &make->op, segment->fd);
}

static void header_written(struct spool_log *log, int res)
{
	struct spool_make *make = &log->make;
	struct ring *ring = log->spool->ring;

	res = fault("spool.segment.header", res);
	if (res < 0 || (size_t)res != make->iov.iov_len) {
		make_write_failed(log, res);
	} else if (make->spare >= 0) {
		make->step = SPOOL_MAKE_RENAME;
		ring_renameat(
			ring, &make->op, log->shard->dir, make->name, log->shard->dir, make->to);
	} else if (log->spool->settings->durable) {
		make->step = SPOOL_MAKE_SYNC;
		ring_fsync(ring, &make->op, make->segment->fd, false);
	} else {
		make_ready(log);
	}
}

static void renamed(struct spool_log *log, int res)
{
	struct spool_make *make = &log->make;

	if (res == 0) {
		log->spares[make->spare] = false;
		memcpy(make->name, make->to, sizeof(make->name));
	}
	res = fault("spool.segment.reuse", res);
	if (res < 0)
		make_undo(log, res);
	else
		make_name_sync(log);
}

/* After one of the syncs. */
static void synced(struct spool_log *log, int res)
{
	count(COUNTER_SPOOL_SYNCS);
	if (res < 0)
		make_undo(log, res);
	else if (log->make.step == SPOOL_MAKE_SYNC)
		make_name_sync(log);
	else
		make_ready(log);
}

static void make_step(struct spool_log *log, int res)
{
	struct spool_make *make = &log->make;

	switch (make->step) {
	case SPOOL_MAKE_OPEN:
		opened(log, res);
		return;
	case SPOOL_MAKE_OPEN_DIRECT:
		opened_direct(log, res);
		return;
	case SPOOL_MAKE_ALLOCATE:
		if (res < 0 && res != -EOPNOTSUPP)
			make_undo(log, res);
		else if (make->segment->page != 0)
			make_fill(log);
		else
			make_header(log);
		return;
	case SPOOL_MAKE_FORGET: /* what stays cached costs time, no more */
		make_header(log);
		return;
	case SPOOL_MAKE_FILL:
		if (res <= 0) {
			make_write_failed(log, res);
			return;
		}
		make->filled += (uint32_t)res;
		make_fill(log);
		return;
	case SPOOL_MAKE_HEADER:
		header_written(log, res);
		return;
	case SPOOL_MAKE_RENAME:
		renamed(log, res);
		return;
	case SPOOL_MAKE_SYNC:
	case SPOOL_MAKE_DIR_SYNC:
		synced(log, res);
		return;
	case SPOOL_MAKE_UNDO:
		undone(log);
		return;
	case SPOOL_MAKE_DISCARD:
		make->step = SPOOL_MAKE_NONE;
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

/* ---- the beginning ---- */

/* Another one for every segment of the log, entropy or not: no record of an earlier life is sound. */
static uint32_t salt_of(uint64_t seq)
{
	uint32_t salt = 0;

	(void)!getrandom(&salt, sizeof(salt), GRND_NONBLOCK);
	return salt ^ (uint32_t)seq * SALT_STEP;
}

static struct spool_segment *segment_new(struct spool_log *log)
{
	struct spool_segment *segment = calloc(1, sizeof(*segment));

	if (segment == NULL)
		return NULL;
	list_init(&segment->node);
	list_init(&segment->items);
	segment->fd = -1;
	segment->direct = -1;
	segment->seq = log->shard->seq_next++;
	segment->bytes = SPOOL_SEGMENT_HEADER;
	segment->room = log->spool->settings->segment_bytes;
	segment->salt = salt_of(segment->seq);
	return segment;
}

void spool_make_start(struct spool_log *log)
{
	struct spool_make *make = &log->make;
	int flags = O_RDWR | O_CLOEXEC;

	if (make->step != SPOOL_MAKE_NONE || log->next != NULL ||
		(make->error != 0 && spool_log_paused(log)))
		return;
	make->segment = segment_new(log);
	if (make->segment == NULL) {
		make->error = -ENOMEM;
		spool_log_pause(log);
		return;
	}
	make->pages = pages_wanted(log) && pages_alloc(log);
	make->spare = make->pages ? spare_with(log, true) : -1;
	make->filled = 0;
	make->op.done = make_done;
	make->step = SPOOL_MAKE_OPEN;
	store_segment_name(make->segment->seq, make->to);
	memcpy(make->name, make->to, sizeof(make->name));
	if (make->spare >= 0)
		spool_make_spare_name((unsigned)make->spare, make->name);
	else
		flags |= O_CREAT | O_EXCL;
	ring_openat(log->spool->ring, &make->op, log->shard->dir, make->name, flags, 0600);
}

/* Spares that nobody will use, or whose space others need. */
static bool discard(struct spool_log *log)
{
	struct spool_make *make = &log->make;
	int spare = spare_with(log, true);

	if (spare < 0 || make->step != SPOOL_MAKE_NONE ||
		(spool_make_direct(log) && log->spool->look_error != -ENOSPC))
		return false;
	log->spares[spare] = false;
	make->op.done = make_done;
	make->step = SPOOL_MAKE_DISCARD;
	spool_make_spare_name((unsigned)spare, make->name);
	ring_unlinkat(log->spool->ring, &make->op, log->shard->dir, make->name);
	return true;
}

/* The worker's own shard always has somewhere to write; one that failed to make a segment goes on
 * trying, as nobody commits while it does not. */
static bool next_wanted(const struct spool_log *log)
{
	const struct spool_segment *head = log->head;

	if (head == NULL)
		return log->own;
	return head->bytes > head->room / 2 || (log->own && log->make.error != 0) ||
	       (head->page == 0 && pages_wanted(log));
}

void spool_make_prepare(struct spool_log *log)
{
	if (!discard(log) && next_wanted(log))
		spool_make_start(log);
}

void spool_make_look(struct spool_log *log)
{
	char name[STORE_NAME_MAX];
	struct stat st;

	for (unsigned i = 0; i < SPOOL_SPARES; i++) {
		spool_make_spare_name(i, name);
		log->spares[i] = fstatat(log->shard->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	}
}
