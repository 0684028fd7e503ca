/* SPDX-License-Identifier: MIT */
/*
 * aside.c -- keeps what a recovery could not use, for a person to look at.
 *
 *	aside/NNN-SEQ-OFFSET	damaged octets of a segment, or (OFFSET 0) the segment as a whole
 *	aside/ID.large		a large file that no sound record names, or not with this size
 *	aside/....why		text: what was wrong; there once the other is complete
 *
 * Each piece is one event `spool_damage` with file, offset and queue id, at every recovery that meets
 * it again: the damage stands in its segment until that goes. Nobody reads or removes aside/ but
 * people; SEQs found there are not used again, so that names do not come twice.
 */
#include "spool/store-private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/event.h"

#define ASIDE_NAME_MAX 64 /* without .why */
#define WHY_NAME_MAX   80
#define COPY_BYTES     65536

static void announce(const char *file, const struct store_damage *damage, const char *name)
{
	char id[SPOOL_ID_MAX];
	struct event event;

	spool_id_text(damage->id, id);
	event_open(&event, COUNTER_SPOOL_DAMAGE, "spool_damage");
	event_str(&event, "file", file);
	event_u64(&event, "offset", damage->offset);
	event_u64(&event, "octets", damage->n);
	event_str(&event, "queue_id", damage->id != 0 ? id : "-");
	event_str(&event, "why", damage->why);
	event_str(&event, "aside", name);
	event_close(&event);
}

/* ---- files ---- */

static int write_all(int fd, struct span bytes)
{
	while (bytes.n > 0) {
		ssize_t n = write(fd, bytes.p, bytes.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		(void)span_take(&bytes, (size_t)n);
	}
	return 0;
}

static int copy_octets(int to, int from, uint64_t offset, uint64_t n)
{
	static const uint64_t piece_max = COPY_BYTES;
	uint8_t piece[COPY_BYTES];
	int error = 0;

	while (n > 0 && error == 0) {
		ssize_t got = pread(from, piece, min_size(n, piece_max), (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		error = write_all(to, span_of(piece, (size_t)got));
		offset += (uint64_t)got;
		n -= (uint64_t)got;
	}
	return error;
}

static int file_make(const struct store *store, const char *name)
{
	int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
	int fd = openat(store->aside, name, flags, 0600);

	return fd < 0 ? -errno : fd;
}

/* Ends a file that was written: synced and closed; the first error. */
static int file_end(int fd, int error)
{
	if (error == 0 && fsync(fd) != 0)
		error = -errno;
	close(fd);
	return error;
}

static void why_name(char out[WHY_NAME_MAX], const char *name)
{
	(void)snprintf(out, WHY_NAME_MAX, "%.*s.why", ASIDE_NAME_MAX, name);
}

/* Writes NAME.why and makes both names durable. */
static int why_write(const struct store *store, const char *name, const char *file,
	const struct store_damage *damage)
{
	char path[WHY_NAME_MAX], id[SPOOL_ID_MAX], text[1024];
	int fd, n;

	spool_id_text(damage->id, id);
	n = snprintf(text, sizeof(text), "file %s\noffset %llu\noctets %llu\nqueue id %s\n%s\n",
		file, (unsigned long long)damage->offset, (unsigned long long)damage->n,
		damage->id != 0 ? id : "unknown", damage->why);
	why_name(path, name);
	fd = file_make(store, path);
	if (fd < 0)
		return fd;
	n = file_end(fd, write_all(fd, span_of(text, min_size((size_t)n, sizeof(text) - 1))));
	if (n == 0 && fsync(store->aside) != 0)
		return -errno;
	return n;
}

static void segment_path(const struct store_damage *damage, char out[2 * STORE_NAME_MAX])
{
	char shard[STORE_NAME_MAX], segment[STORE_NAME_MAX];

	store_shard_name(damage->shard, shard);
	store_segment_name(damage->seq, segment);
	(void)snprintf(out, 2 * STORE_NAME_MAX, "%s/%s", shard, segment);
}

static void aside_name(const struct store_damage *damage, char out[ASIDE_NAME_MAX])
{
	char shard[STORE_NAME_MAX], seq[SPOOL_ID_MAX];

	store_shard_name(damage->shard, shard);
	spool_id_text(damage->seq, seq);
	(void)snprintf(
		out, ASIDE_NAME_MAX, "%s-%s-%llu", shard, seq, (unsigned long long)damage->offset);
}

/* ---- setting aside ---- */

int store_aside_octets(const struct store *store, const struct store_damage *damage, int fd)
{
	char file[2 * STORE_NAME_MAX], name[ASIDE_NAME_MAX], why[WHY_NAME_MAX];
	int to, error;

	segment_path(damage, file);
	aside_name(damage, name);
	why_name(why, name);
	announce(file, damage, name);
	if (faccessat(store->aside, why, F_OK, 0) == 0)
		return 0;
	to = file_make(store, name);
	if (to < 0)
		return to;
	error = file_end(to, copy_octets(to, fd, damage->offset, damage->n));
	return error != 0 ? error : why_write(store, name, file, damage);
}

int store_aside_segment(const struct store *store, const struct store_damage *damage, int shard_dir)
{
	char file[2 * STORE_NAME_MAX], name[ASIDE_NAME_MAX], segment[STORE_NAME_MAX];

	segment_path(damage, file);
	aside_name(damage, name);
	store_segment_name(damage->seq, segment);
	announce(file, damage, name);
	if (renameat(shard_dir, segment, store->aside, name) != 0 || fsync(shard_dir) != 0)
		return -errno;
	return why_write(store, name, file, damage);
}

int store_aside_large(const struct store *store, uint64_t id, const char *why)
{
	struct store_damage damage = {.id = id, .why = why};
	char name[SPOOL_ID_MAX], file[ASIDE_NAME_MAX], to[ASIDE_NAME_MAX];

	spool_id_text(id, name);
	(void)snprintf(file, sizeof(file), "large/%s", name);
	(void)snprintf(to, sizeof(to), "%s.large", name);
	announce(file, &damage, to);
	if (renameat(store->large, name, store->aside, to) != 0 || fsync(store->large) != 0)
		return -errno;
	return why_write(store, to, file, &damage);
}

/* ---- names ---- */

int store_names(int dir, int (*each)(void *ctx, const char *name), void *ctx)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int res = 0;

	if (stream == NULL) {
		res = -errno;
		if (fd >= 0)
			close(fd);
		return res;
	}
	while (res == 0) {
		errno = 0;
		entry = readdir(stream);
		if (entry == NULL) {
			res = -errno;
			break;
		}
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			res = each(ctx, entry->d_name);
	}
	closedir(stream);
	return res;
}

struct seq_search {
	char shard[STORE_NAME_MAX];
	uint64_t seq;
};

static int seq_look(void *ctx, const char *name)
{
	struct seq_search *search = ctx;
	char digits[SPOOL_ID_MAX];
	uint64_t seq;

	if (strncmp(name, search->shard, 3) != 0 || name[3] != '-' || strlen(name) < 4 + 16)
		return 0;
	memcpy(digits, name + 4, 16);
	digits[16] = '\0';
	if (spool_id_parse(digits, &seq) && seq > search->seq)
		search->seq = seq;
	return 0;
}

int store_aside_seq_max(const struct store *store, uint32_t shard, uint64_t *seq)
{
	struct seq_search search = {.seq = 0};
	int error;

	store_shard_name(shard, search.shard);
	error = store_names(store->aside, seq_look, &search);
	*seq = search.seq;
	return error;
}
