/* SPDX-License-Identifier: MIT */
/*
 * file.c -- the watch's memory as a file of lines:
 *
 *	postern-watch 1 SINCE REPORTED
 *	day DAY HANDSHAKES CLEAR TLS DOWNGRADES FAILURES...
 *	row DAY KIND NAME HANDSHAKES CLEAR TLS FAILURES...		(KIND: d, h)
 *	sender KIND NAME FIRST CLEAR_DAY TLS_DAY DOWNGRADE_DAY CLEAR TLS DOWNGRADES	(KIND: d, n)
 *	end LINES
 *
 * Days are counted from 1970, failures stand in the order of enum watch_failure; senders in none, they
 * are sorted by when they were seen once all are read. A file without its end, or with a line that is none, is damaged as a whole: it
 * was written to the side, synced and renamed, so it is never half ours.
 *
 * The last peer of a failure is not kept: it is for the day's report, and that is an example.
 */
#include "watch/watch-private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/replace.h"

#define SLICE     512 /* buckets written under one lock */
#define LINE_MAX_ 1024

/* ---- write ---- */

struct writer {
	FILE *file;
	uint64_t lines;
};

static void put_failures(struct writer *writer, const uint64_t failures[WATCH_FAILURES])
{
	for (size_t i = 0; i < WATCH_FAILURES; i++)
		fprintf(writer->file, " %" PRIu64, failures[i]);
	putc('\n', writer->file);
	writer->lines++;
}

static void put_day(struct writer *writer, const struct watch_day *day)
{
	fprintf(writer->file, "day %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, day->day,
		day->handshakes, day->messages[WATCH_CLEAR], day->messages[WATCH_TLS],
		day->downgrades);
	put_failures(writer, day->failures);
	for (size_t i = 0; i < WATCH_DAY_BUCKETS; i++) {
		for (const struct watch_row *row = day->rows[i]; row != NULL; row = row->next) {
			fprintf(writer->file, "row %u %c %s %" PRIu64 " %" PRIu64 " %" PRIu64,
				day->day, row->kind, row->name, row->handshakes,
				row->messages[WATCH_CLEAR], row->messages[WATCH_TLS]);
			put_failures(writer, row->failures);
		}
	}
}

static void put_sender(struct writer *writer, const struct watch_sender *sender)
{
	fprintf(writer->file, "sender %c %s %u %u %u %u %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
		sender->kind, sender->name, sender->first_day, sender->days[WATCH_CLEAR],
		sender->days[WATCH_TLS], sender->downgrade_day, sender->messages[WATCH_CLEAR],
		sender->messages[WATCH_TLS], sender->downgrades);
	writer->lines++;
}

/* The stream writes to memory, so that no lock is held over I/O. */
static void put_all(struct writer *writer, struct watch *watch)
{
	pthread_mutex_lock(&watch->lock);
	fprintf(writer->file, "postern-watch 1 %u %u\n", watch->since_day, watch->reported_day);
	pthread_mutex_unlock(&watch->lock);
	for (uint32_t i = 0; i < watch->settings->days; i++) {
		pthread_mutex_lock(&watch->lock);
		if (watch->days[i].day != 0)
			put_day(writer, &watch->days[i]);
		pthread_mutex_unlock(&watch->lock);
	}
	for (uint32_t i = 0; i <= watch->senders_mask; i += SLICE) {
		pthread_mutex_lock(&watch->lock);
		for (uint32_t k = i; k < i + SLICE && k <= watch->senders_mask; k++) {
			for (struct watch_sender *one = watch->senders[k]; one != NULL;
				one = one->next)
				put_sender(writer, one);
		}
		pthread_mutex_unlock(&watch->lock);
	}
	fprintf(writer->file, "end %" PRIu64 "\n", writer->lines);
}

int watch_file_write(struct watch *watch)
{
	char *bytes = NULL;
	size_t n = 0;
	struct writer writer = {.file = open_memstream(&bytes, &n)};
	int res = -ENOMEM;

	if (writer.file == NULL)
		return res;
	put_all(&writer, watch);
	if (fclose(writer.file) == 0)
		res = replace_file(watch->dir, WATCH_FILE, WATCH_FILE_NEW, span_of(bytes, n));
	free(bytes);
	return res;
}

/* ---- read ---- */

/* Takes a blank and a number off *at. */
static bool take(char **at, uint64_t max, uint64_t *out)
{
	char *end;

	if (**at != ' ' || (*at)[1] < '0' || (*at)[1] > '9')
		return false;
	errno = 0;
	*out = strtoull(*at + 1, &end, 10);
	*at = end;
	return errno == 0 && *out <= max;
}

static bool take_many(char **at, uint64_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!take(at, UINT64_MAX, &out[i]))
			return false;
	}
	return true;
}

static bool take_day(char **at, uint32_t *out)
{
	uint64_t value;

	if (!take(at, UINT32_MAX, &value))
		return false;
	*out = (uint32_t)value;
	return true;
}

/* Takes " K NAME": the kind, and the name as it was written. */
static bool take_name(char **at, const char *kinds, enum watch_kind *kind, char **name)
{
	char *start = *at + 3, *end;

	if ((*at)[0] != ' ' || (*at)[1] == '\0' || strchr(kinds, (*at)[1]) == NULL ||
		(*at)[2] != ' ')
		return false;
	end = strchr(start, ' ');
	if (end == NULL || end == start || end - start > WATCH_NAME_MAX)
		return false;
	*kind = (enum watch_kind)(*at)[1];
	*name = start;
	*at = end;
	return true;
}

static bool read_day(struct watch *watch, char *at)
{
	struct watch_day *day, unused;
	uint32_t number;

	if (!take_day(&at, &number) || number == 0)
		return false;
	day = watch_day_get(watch, number);
	if (day == NULL) /* fewer days are kept now */
		day = &unused;
	return take(&at, UINT64_MAX, &day->handshakes) &&
	       take_many(&at, day->messages, WATCH_WAYS) &&
	       take(&at, UINT64_MAX, &day->downgrades) &&
	       take_many(&at, day->failures, WATCH_FAILURES) && *at == '\0';
}

static bool read_row(struct watch *watch, char *at)
{
	struct watch_row got = {0}, *row;
	struct watch_day *day;
	enum watch_kind kind;
	uint32_t number;
	char *name, *end;

	if (!take_day(&at, &number) || !take_name(&at, "dh", &kind, &name))
		return false;
	end = at;
	if (!take(&at, UINT64_MAX, &got.handshakes) || !take_many(&at, got.messages, WATCH_WAYS) ||
		!take_many(&at, got.failures, WATCH_FAILURES) || *at != '\0')
		return false;
	*end = '\0';
	day = watch_day_find(watch, number);
	row = day == NULL ? NULL : watch_row_get(watch, day, kind, name);
	if (row == NULL)
		return true;
	row->handshakes = got.handshakes;
	memcpy(row->messages, got.messages, sizeof(row->messages));
	memcpy(row->failures, got.failures, sizeof(row->failures));
	return true;
}

static bool read_sender(struct watch *watch, char *at)
{
	struct watch_sender got = {0}, *sender;
	enum watch_kind kind;
	char *name, *end;

	if (!take_name(&at, "dn", &kind, &name))
		return false;
	end = at;
	if (!take_day(&at, &got.first_day) || !take_day(&at, &got.days[WATCH_CLEAR]) ||
		!take_day(&at, &got.days[WATCH_TLS]) || !take_day(&at, &got.downgrade_day) ||
		!take_many(&at, got.messages, WATCH_WAYS) ||
		!take(&at, UINT64_MAX, &got.downgrades) || *at != '\0')
		return false;
	*end = '\0';
	sender = watch_sender_get(watch, kind, name, got.first_day);
	if (sender == NULL)
		return true;
	sender->first_day = got.first_day;
	memcpy(sender->days, got.days, sizeof(sender->days));
	sender->downgrade_day = got.downgrade_day;
	memcpy(sender->messages, got.messages, sizeof(sender->messages));
	sender->downgrades = got.downgrades;
	return true;
}

/* What follows the word, NULL: another line. */
static char *after(char *line, const char *word)
{
	size_t n = strlen(word);

	return strncmp(line, word, n) == 0 ? line + n : NULL;
}

static bool read_line(struct watch *watch, char *line)
{
	char *at;

	if ((at = after(line, "day")) != NULL)
		return read_day(watch, at);
	if ((at = after(line, "row")) != NULL)
		return read_row(watch, at);
	if ((at = after(line, "sender")) != NULL)
		return read_sender(watch, at);
	return false;
}

static bool read_lines(struct watch *watch, FILE *file)
{
	char line[LINE_MAX_], *at;
	uint64_t lines = 0, told;

	if (fgets(line, sizeof(line), file) == NULL)
		return false;
	line[strcspn(line, "\n")] = '\0';
	at = after(line, "postern-watch 1");
	if (at == NULL || !take_day(&at, &watch->since_day) || !take_day(&at, &watch->reported_day))
		return false;
	while (fgets(line, sizeof(line), file) != NULL) {
		size_t n = strlen(line);

		if (n == 0 || line[n - 1] != '\n')
			return false;
		line[n - 1] = '\0';
		at = after(line, "end");
		if (at != NULL)
			return take(&at, UINT64_MAX, &told) && told == lines && *at == '\0';
		if (!read_line(watch, line))
			return false;
		lines++;
	}
	return false;
}

static int seen_compare(const void *a, const void *b)
{
	uint32_t left = watch_sender_seen(*(struct watch_sender *const *)a);
	uint32_t right = watch_sender_seen(*(struct watch_sender *const *)b);

	return left < right ? -1 : left > right;
}

static bool sort_seen(struct watch *watch)
{
	size_t n = 0;
	struct watch_sender **all = calloc(watch->senders_n + 1u, sizeof(struct watch_sender *));

	if (all == NULL)
		return false;
	while (!list_empty(&watch->senders_seen))
		all[n++] = watch_sender_of(list_pop_front(&watch->senders_seen));
	qsort(all, n, sizeof(struct watch_sender *), seen_compare);
	for (size_t i = 0; i < n; i++)
		list_push_back(&watch->senders_seen, &all[i]->node);
	free(all);
	return true;
}

int watch_file_read(struct watch *watch)
{
	int fd = openat(watch->dir, WATCH_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	bool good;

	if (fd < 0)
		return -errno;
	if (file == NULL) {
		close(fd);
		return -ENOMEM;
	}
	good = read_lines(watch, file);
	fclose(file);
	if (!good)
		return -EBADMSG;
	return sort_seen(watch) ? 0 : -ENOMEM;
}
