/* SPDX-License-Identifier: MIT */
/*
 * recover.c -- builds the queue from what is on disk: shard by shard, segment by segment, in the
 * order of SEQ.
 *
 * What the records say is replay.c's; here are files and folders. At the end large files are held
 * against the messages that name them (large.c).
 *
 * The tail of a shard's newest batch was never acknowledged and is cut off. A file may have been made
 * for the next batch already, so the tail may also stand before segments without records. All other
 * damage is set aside (aside.c). What cannot be set aside stops the start: the segment that holds it
 * would go sooner or later.
 *
 * Non-goals: writing records. Old segments are never appended to again.
 */
#include "spool/recover-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"

#define NUMBERS_STEP 64

/* Numbers that a directory's names hold. */
struct numbers {
	uint64_t *list;
	size_t n, room;
};

static int numbers_add(struct numbers *numbers, uint64_t number)
{
	if (numbers->n == numbers->room) {
		size_t room = numbers->room * 2 + NUMBERS_STEP;
		uint64_t *list = realloc(numbers->list, room * sizeof(*list));

		if (list == NULL)
			return -ENOMEM;
		numbers->list = list;
		numbers->room = room;
	}
	numbers->list[numbers->n++] = number;
	return 0;
}

static int number_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int fail(struct recovery *recovery, const char *what, int error)
{
	return err_set(recovery->err, "spool: %s in %s: %s", what,
		recovery->store->settings->directory, strerror(-error));
}

/* "SEQ.seg" of the segment in its shard, for a sentence. */
int recovery_fail_segment(
	const struct recovery *recovery, uint64_t seq, const char *what, int error)
{
	char shard[STORE_NAME_MAX], segment[STORE_NAME_MAX];

	store_shard_name(recovery->shard->number, shard);
	store_segment_name(seq, segment);
	return err_set(recovery->err, "spool: cannot %s %s/%s/%s: %s%s", what,
		recovery->store->settings->directory, shard, segment, strerror(-error),
		error == -EMFILE ? ": raise the limit of open files" : "");
}

/* ---- segments ---- */

/* 1: nothing but zeros, or too short for a header: a crash came while it was being made. */
static int segment_is_blank(int fd)
{
	uint8_t piece[4096];
	struct stat st;
	ssize_t n = 1;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (st.st_size < SPOOL_SEGMENT_HEADER)
		return 1;
	for (off_t at = 0; n > 0; at += n) {
		n = pread(fd, piece, sizeof(piece), at);
		if (n < 0)
			return -errno;
		for (ssize_t i = 0; i < n; i++)
			if (piece[i] != 0)
				return 0;
	}
	return 1;
}

/* A segment that cannot be read as one: removed when it is blank, else set aside as a whole. */
static int segment_refuse(struct recovery *recovery, const char *why)
{
	struct spool_segment *segment = recovery->segment;
	struct store_damage damage = replay_damage_of(recovery, 0, 0, 0, why);
	char name[STORE_NAME_MAX];
	struct stat st;
	int blank = segment_is_blank(segment->fd);

	if (blank < 0 || fstat(segment->fd, &st) != 0)
		return recovery_fail_segment(
			recovery, segment->seq, "read", blank < 0 ? blank : -errno);
	store_segment_name(segment->seq, name);
	if (blank == 1) {
		event_text(EVENT_NO_COUNT, "spool_blank_removed", "segment", name);
		if (unlinkat(recovery->shard->dir, name, 0) != 0 ||
			fsync(recovery->shard->dir) != 0)
			return recovery_fail_segment(recovery, segment->seq, "remove", -errno);
		return 0;
	}
	damage.n = (uint64_t)st.st_size;
	recovery->found->aside++;
	blank = store_aside_segment(recovery->store, &damage, recovery->shard->dir);
	if (blank < 0)
		return recovery_fail_segment(recovery, segment->seq, "set aside", blank);
	return 0;
}

static int fail_newer(struct recovery *recovery, uint64_t seq, uint32_t version)
{
	char shard[STORE_NAME_MAX], segment[STORE_NAME_MAX];

	store_shard_name(recovery->shard->number, shard);
	store_segment_name(seq, segment);
	return err_set(recovery->err,
		"spool: %s/%s/%s has format %u, this postern reads up to %u: run the newer "
		"version or move the file away",
		recovery->store->settings->directory, shard, segment, (unsigned)version,
		(unsigned)SPOOL_FORMAT_VERSION);
}

static void segment_keep(struct recovery *recovery, uint64_t end, uint64_t batch)
{
	struct spool_segment *segment = recovery->segment;
	struct spool_shard *shard = recovery->shard;
	struct stat st;

	segment->bytes = end;
	shard->bytes += end;
	if (shard->batch_next <= batch)
		shard->batch_next = batch + 1;
	shard->segments_n++;
	recovery->found->segments++;
	/* Zeros behind the end are room that was kept for records; none will come any more. */
	if (fstat(segment->fd, &st) == 0 && (uint64_t)st.st_size > end)
		(void)!ftruncate(segment->fd, (off_t)end);
}

/* 1: a header that fits its file's name, 0: the segment was refused and is gone, -1. */
static int segment_check(struct recovery *recovery)
{
	struct spool_segment *segment = recovery->segment;
	uint8_t bytes[SPOOL_SEGMENT_HEADER];
	struct spool_segment_header header;
	ssize_t n = pread(segment->fd, bytes, sizeof(bytes), 0);
	int error;

	if (n < 0)
		return recovery_fail_segment(recovery, segment->seq, "read", -errno);
	error = spool_segment_header_read(span_of(bytes, (size_t)n), &header);
	if (error == -ENOTSUP)
		return fail_newer(recovery, segment->seq, header.version);
	if (error == -EINVAL)
		return segment_refuse(recovery, "it does not begin like a segment");
	if (error != 0)
		return segment_refuse(recovery, "the checksum of the segment's header is wrong");
	if (header.seq != segment->seq || header.shard != recovery->shard->number)
		return segment_refuse(
			recovery, "its header was written for a file of another name");
	segment->salt = header.salt;
	segment->page = header.page;
	return 1;
}

/* Scans recovery->segment. 1: it belongs to the shard, 0: it is gone, -1. */
static int segment_read(struct recovery *recovery)
{
	struct spool_scan_visit visit = {recovery, replay_record, replay_damage};
	struct spool_segment *segment = recovery->segment;
	struct spool_segment_header header;
	uint64_t end, batch;
	int res = segment_check(recovery);

	if (res != 1)
		return res;
	/* In the list before it is read: from then on items may stand in it. */
	list_push_back(&recovery->shard->segments, &segment->node);
	res = spool_scan(segment->fd, &visit, &header, &end, &batch);
	if (res != 0)
		return recovery_fail_segment(recovery, segment->seq, "read", res);
	if (recovery->error != 0)
		return recovery_fail_segment(recovery, segment->seq, "take over", recovery->error);
	segment_keep(recovery, end, batch);
	return 1;
}

static int segment_take(struct recovery *recovery, uint64_t seq)
{
	char name[STORE_NAME_MAX];
	struct spool_segment *segment = calloc(1, sizeof(*segment));
	int res;

	if (segment == NULL)
		return recovery_fail_segment(recovery, seq, "take over", -ENOMEM);
	list_init(&segment->node);
	segment->seq = seq;
	segment->direct = -1;
	store_segment_name(seq, name);
	segment->fd =
		openat(recovery->shard->dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	recovery->segment = segment;
	res = segment->fd < 0 ? recovery_fail_segment(recovery, seq, "open", -errno)
			      : segment_read(recovery);
	if (res == 1 || !list_empty(&segment->node))
		return res == 1 ? 0 : -1;
	store_segment_free(segment);
	return res;
}

/* ---- shards ---- */

static int segment_name_take(void *ctx, const char *name)
{
	uint64_t seq;

	return store_segment_parse(name, &seq) ? numbers_add(ctx, seq) : 0;
}

static int shard_read(struct recovery *recovery)
{
	struct spool_shard *shard = recovery->shard;
	struct numbers seqs = {.n = 0};
	uint64_t seq_max;
	int error = store_names(shard->dir, segment_name_take, &seqs);
	int res = error != 0 ? fail(recovery, "reading a shard", error) : 0;

	if (seqs.n > 0)
		qsort(seqs.list, seqs.n, sizeof(*seqs.list), number_order);
	for (size_t i = 0; i < seqs.n && res == 0; i++)
		res = segment_take(recovery, seqs.list[i]);
	if (res == 0)
		res = replay_tail_cut(recovery);
	if (res == 0 && replay_end(recovery) != 0)
		res = fail(recovery, "recovering", -ENOMEM);
	if (res == 0) {
		error = store_aside_seq_max(recovery->store, shard->number, &seq_max);
		if (error != 0)
			res = fail(recovery, "reading aside", error);
		if (seqs.n > 0 && seq_max < seqs.list[seqs.n - 1])
			seq_max = seqs.list[seqs.n - 1];
		shard->seq_next = seq_max + 1;
		if (shard->batch_next == 0)
			shard->batch_next = 1;
	}
	free(seqs.list);
	return res;
}

static int shard_name_take(void *ctx, const char *name)
{
	uint32_t number;

	return store_shard_parse(name, &number) ? numbers_add(ctx, number) : 0;
}

/* Opens those that are there, and one for each worker. */
static int shards_open(struct recovery *recovery)
{
	struct numbers found = {.n = 0};
	struct spool_shard *shard;
	int error = store_names(recovery->store->dir, shard_name_take, &found);

	for (uint32_t i = 0; i < recovery->store->workers && error == 0; i++)
		error = numbers_add(&found, i);
	for (size_t i = 0; i < found.n && error == 0; i++)
		error = store_shard_open(recovery->store, (uint32_t)found.list[i], &shard);
	free(found.list);
	return error == 0 ? 0 : fail(recovery, "opening the shards", error);
}

static void sum_up(struct recovery *recovery)
{
	struct store *store = recovery->store;

	for (uint32_t i = 0; i < store->shards_n; i++) {
		struct spool_shard *shard = store->shards[i];

		if (shard == NULL)
			continue;
		recovery->found->messages += shard->items_n;
		for (struct list *node = shard->items.next; node != &shard->items;
			node = node->next)
			recovery->found->bytes +=
				container_of(node, struct spool_entry, node)->size;
	}
}

int store_recover(struct store *store, uint32_t workers, struct store_found *found, struct err *err)
{
	struct recovery recovery = {.store = store,
		.found = found,
		.err = err,
		.progress_ms = clock_ms() + RECOVER_PROGRESS_MS};
	int res;

	ASSERT(workers <= STORE_SHARDS_MAX);
	memset(found, 0, sizeof(*found));
	store_forget(store);
	store->workers = workers;
	res = shards_open(&recovery);
	for (uint32_t i = 0; i < store->shards_n && res == 0; i++) {
		recovery.shard = store->shards[i];
		if (recovery.shard != NULL)
			res = shard_read(&recovery);
	}
	if (res == 0)
		res = store_large_check(store, found, err);
	replay_clear(&recovery);
	if (res != 0)
		store_forget(store);
	else
		sum_up(&recovery);
	return res;
}
