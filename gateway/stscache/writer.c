/* SPDX-License-Identifier: MIT */
/*
 * writer.c -- the file of kept policies: read at the start, written by a thread after changes.
 *
 * Not sooner than SAVE_MS after the first change, and the longer the larger the file is
 * (SAVE_BYTES_PER_S), so that a large cache that changes all the time does not keep the disk busy. The
 * table is copied out in pieces, the mutex is held for one piece: the file is of no one instant, and
 * need not be, because domains have nothing to do with one another.
 */
#include "stscache/stscache-private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"

#define NEW_FILE         STSCACHE_FILE ".new"
#define DAMAGED_FILE     STSCACHE_FILE ".damaged"
#define SAVE_MS          5000
#define SAVE_BYTES_PER_S (1u << 20)
#define RETRY_MS         60000 /* after a write that failed */
#define PIECE            64    /* policies copied at a time */
#define OUT_BYTES        (4 * STS_POLICY_BYTES_MAX)

_Static_assert(OUT_BYTES > STS_POLICY_BYTES_MAX + STSCACHE_LINE_MAX + 1, "a record fits");

/* ---- reading ---- */

static uint64_t real_s(void)
{
	return clock_real_us() / 1000000;
}

/* False: the text is no policy, or memory is short. *news: the file should not stay as it is. */
static bool take(struct stscache *cache, const struct stscache_record *record, bool *news)
{
	uint64_t now = real_s();
	bool future = record->fetched_real_s > now;
	struct stscache_policy *policy;
	struct stscache_entry *entry;
	uint32_t line;

	if (stscache_policy_new(&policy, record->domain, record->id, record->text,
		    future ? now : record->fetched_real_s, &line) != STS_POLICY_OK ||
		policy == NULL)
		return false;
	if (policy->expires_real_s <= now) {
		stscache_policy_release(policy);
		return true;
	}
	entry = stscache_make(cache, record->domain);
	if (entry == NULL) {
		stscache_policy_release(policy);
		return false;
	}
	stscache_keep(cache, entry, policy);
	stscache_settle(cache, entry);
	*news = *news || future;
	return true;
}

static void set_aside(struct stscache *cache, const char *why)
{
	int dir = cache->settings.state_dir;
	struct event event;

	event_open(&event, COUNTER_STS_FILE_ERRORS, "sts_policies_damaged");
	event_str(&event, "file", STSCACHE_FILE);
	event_str(&event, "why", why);
	event_u64(&event, "kept", cache->facts.entries);
	event_str(&event, "set_aside",
		renameat(dir, STSCACHE_FILE, dir, DAMAGED_FILE) == 0 ? DAMAGED_FILE : "failed");
	event_close(&event);
	cache->writer.dirty = true;
}

static void load_text(struct stscache *cache, struct span text)
{
	struct stscache_reader reader = {.rest = text};
	struct stscache_record record;
	enum stscache_step step;
	bool news = false;

	while ((step = stscache_file_next(&reader, &record)) == STSCACHE_RECORD)
		if (!take(cache, &record, &news)) {
			step = STSCACHE_DAMAGED;
			reader.why = "a record is no policy";
			break;
		}
	cache->writer.dirty = news; /* keeping noted changes that the file knows */
	if (step == STSCACHE_DAMAGED)
		set_aside(cache, reader.why);
}

static int read_all(int fd, uint8_t *out, size_t n, size_t *got)
{
	*got = 0;
	while (*got < n) {
		ssize_t part = read(fd, out + *got, n - *got);

		if (part < 0 && errno == EINTR)
			continue;
		if (part < 0)
			return -errno;
		if (part == 0)
			break;
		*got += (size_t)part;
	}
	return 0;
}

static int load_from(struct stscache *cache, int fd, struct err *err)
{
	struct stat st;
	uint8_t *text;
	size_t got;
	int result;

	if (fstat(fd, &st) != 0)
		return err_set(err, STSCACHE_FILE ": cannot look at it: %s", strerror(errno));
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > STSCACHE_FILE_MAX) {
		set_aside(cache, "too large, or not a file");
		return 0;
	}
	text = malloc((size_t)st.st_size + 1);
	if (text == NULL)
		return err_set(err, STSCACHE_FILE ": out of memory");
	result = read_all(fd, text, (size_t)st.st_size, &got);
	if (result == 0)
		load_text(cache, span_of(text, got));
	free(text);
	if (result != 0)
		return err_set(err, STSCACHE_FILE ": cannot read: %s", strerror(-result));
	cache->writer.file_bytes = got;
	return 0;
}

int stscache_load(struct stscache *cache, struct err *err)
{
	int fd = openat(cache->settings.state_dir, STSCACHE_FILE,
		O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int result;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_set(err, STSCACHE_FILE ": cannot open: %s", strerror(errno));
	result = load_from(cache, fd, err);
	close(fd);
	return result;
}

/* ---- writing ---- */

static int write_all(int fd, struct buf *out, uint64_t *bytes)
{
	while (buf_len(out) > 0) {
		ssize_t n = write(fd, out->p + out->start, buf_len(out));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		*bytes += (uint64_t)n;
		buf_drop(out, (size_t)n);
	}
	return 0;
}

static int write_policy(
	int fd, const struct stscache_policy *policy, struct buf *out, uint64_t *bytes)
{
	struct stscache_record record = {
		.fetched_real_s = policy->fetched_real_s, .text = policy->text};
	int result = 0;

	memcpy(record.domain, policy->domain, sizeof(record.domain));
	memcpy(record.id, policy->id, sizeof(record.id));
	if (buf_room(out) < policy->text.n + STSCACHE_LINE_MAX + 1)
		result = write_all(fd, out, bytes);
	if (result == 0 && !stscache_file_record(&record, out))
		ASSERT(!"room for a record");
	return result;
}

static int write_policies(struct stscache *cache, int fd, struct buf *out, uint64_t *bytes)
{
	struct stscache_policy *piece[PIECE];
	char after[STS_NAME_MAX + 1] = "";
	uint64_t records = 0;
	int result = 0;
	size_t n;

	if (!stscache_file_head(out))
		return -ENOBUFS;
	while (result == 0 && (n = stscache_list(cache, after, piece, PIECE)) > 0) {
		memcpy(after, piece[n - 1]->domain, sizeof(after));
		records += n;
		for (size_t i = 0; i < n; i++) {
			if (result == 0)
				result = write_policy(fd, piece[i], out, bytes);
			stscache_policy_release(piece[i]);
		}
	}
	if (result == 0)
		result = write_all(fd, out, bytes);
	if (result == 0 && !stscache_file_end(records, out))
		result = -ENOBUFS;
	return result != 0 ? result : write_all(fd, out, bytes);
}

static int write_file(struct stscache *cache, int fd, uint64_t *bytes)
{
	uint8_t *storage = malloc(OUT_BYTES);
	struct buf out;
	int result;

	if (storage == NULL)
		return -ENOMEM;
	buf_init(&out, storage, OUT_BYTES);
	result = write_policies(cache, fd, &out, bytes);
	free(storage);
	return result == 0 && fsync(fd) != 0 ? -errno : result;
}

int stscache_save(struct stscache *cache)
{
	int dir = cache->settings.state_dir;
	uint64_t bytes = 0;
	int result;
	int fd = openat(dir, NEW_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	result = write_file(cache, fd, &bytes);
	if (close(fd) != 0 && result == 0)
		result = -errno;
	if (result == 0 && renameat(dir, NEW_FILE, dir, STSCACHE_FILE) != 0)
		result = -errno;
	if (result != 0)
		unlinkat(dir, NEW_FILE, 0);
	else if (fsync(dir) != 0)
		result = -errno;
	cache->writer.file_bytes = bytes;
	return result;
}

/* ---- the thread ---- */

void stscache_writer_note(struct stscache *cache)
{
	if (!cache->writer.dirty && cache->writer.started)
		pthread_cond_signal(&cache->writer.cond);
	cache->writer.dirty = true;
}

/* Under the mutex. True: there is something to write; false: closing, and nothing is. */
static bool wait_for_work(struct stscache *cache, uint64_t wait_ms)
{
	struct stscache_writer *writer = &cache->writer;
	struct timespec until;
	int result = 0;

	while (!writer->dirty && !writer->closing)
		pthread_cond_wait(&writer->cond, &cache->mutex);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(wait_ms / 1000);
	while (!writer->closing && result == 0)
		result = pthread_cond_clockwait(
			&writer->cond, &cache->mutex, CLOCK_MONOTONIC, &until);
	return writer->dirty;
}

static void *writer_main(void *ctx)
{
	struct stscache *cache = ctx;
	uint64_t wait_ms = SAVE_MS;
	bool closing = false;
	int result;

	while (!closing) {
		pthread_mutex_lock(&cache->mutex);
		if (!wait_for_work(cache, wait_ms)) {
			pthread_mutex_unlock(&cache->mutex);
			break;
		}
		closing = cache->writer.closing;
		cache->writer.dirty = false;
		pthread_mutex_unlock(&cache->mutex);
		result = stscache_save(cache);
		wait_ms = SAVE_MS + cache->writer.file_bytes * 1000 / SAVE_BYTES_PER_S;
		if (result == 0)
			continue;
		event_text(COUNTER_STS_FILE_ERRORS, "sts_policies_not_written", "why",
			strerror(-result));
		wait_ms = RETRY_MS;
		pthread_mutex_lock(&cache->mutex);
		cache->writer.dirty = true;
		pthread_mutex_unlock(&cache->mutex);
	}
	return NULL;
}

int stscache_writer_start(struct stscache *cache, struct err *err)
{
	sigset_t all, before;
	int result;

	pthread_cond_init(&cache->writer.cond, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&cache->writer.thread, NULL, writer_main, cache);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result != 0) {
		pthread_cond_destroy(&cache->writer.cond);
		return err_set(err, "cannot start a thread: %s", strerror(result));
	}
	pthread_mutex_lock(&cache->mutex);
	cache->writer.started = true;
	pthread_mutex_unlock(&cache->mutex);
	pthread_setname_np(cache->writer.thread, "sts-policies");
	return 0;
}

void stscache_writer_stop(struct stscache *cache)
{
	if (!cache->writer.started)
		return;
	pthread_mutex_lock(&cache->mutex);
	cache->writer.closing = true;
	pthread_cond_signal(&cache->writer.cond);
	pthread_mutex_unlock(&cache->mutex);
	pthread_join(cache->writer.thread, NULL);
	pthread_cond_destroy(&cache->writer.cond);
	cache->writer.started = false;
}
