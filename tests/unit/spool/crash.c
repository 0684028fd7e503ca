/* SPDX-License-Identifier: MIT */
/*
 * crash.c -- what a SIGKILL at any moment would leave: the store's files are copied between two turns
 * and recovered. Every message that was acknowledged and not ended is there, octet by octet; nothing
 * is there that was never begun, or that failed; nothing looks damaged.
 */
#include "tests/unit/spool/harness.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>

#define MAILS  600
#define COPIES 60
#define LAG    100 /* a message ends so many later */

static void open_small(void)
{
	settings.segment_bytes = 64u << 10;
	settings.stream_bytes = 16u << 10;
	harness_open();
}

TestSuite(spool_crash, .init = open_small, .fini = harness_close, .timeout = TEST_LIMIT_S);

static struct mail mails[MAILS];
static bool ended[MAILS];
static struct span bodies[MAILS];

static void file_copy(int from_dir, int to_dir, const char *name)
{
	int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
	int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ssize_t n;

	cr_assert(to >= 0);
	if (from < 0) { /* it went a moment ago */
		cr_assert(unlinkat(to_dir, name, 0) == 0);
		close(to);
		return;
	}
	do {
		n = sendfile(to, from, NULL, 1 << 20);
	} while (n > 0);
	cr_assert(n == 0);
	close(from);
	close(to);
}

static void directory_copy(int from_top, int to_top, const char *name)
{
	int from, to;
	const struct dirent *entry;
	DIR *dir;

	(void)mkdirat(to_top, name, 0700);
	from = openat(from_top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	to = openat(to_top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(from >= 0 && to >= 0);
	dir = fdopendir(from);
	cr_assert(dir != NULL);
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			file_copy(from, to, entry->d_name);
	closedir(dir);
	close(to);
}

static struct spool_entry *entry_of(struct store *copy, uint64_t id)
{
	struct spool_shard *shard = copy->shards[0];

	for (struct list *node = shard->items.next; node != &shard->items; node = node->next)
		if (container_of(node, struct spool_entry, node)->id == id)
			return container_of(node, struct spool_entry, node);
	return NULL;
}

static void octets_are(const struct store *copy, const struct spool_entry *entry, struct span body)
{
	size_t n = strlen(HEAD) + body.n;
	uint8_t *p = malloc(n);
	uint64_t offset;
	char path[64];
	int fd;

	spool_body_place(entry, path, sizeof(path), &offset);
	fd = openat(copy->dir, path, O_RDONLY | O_CLOEXEC);
	cr_assert(fd >= 0 && p != NULL && entry->size == n);
	cr_assert(pread(fd, p, n, (off_t)offset) == (ssize_t)n);
	cr_expect(span_equal(span_of(p + strlen(HEAD), body.n), body));
	close(fd);
	free(p);
}

/* Copies the store as it stands and recovers the copy. `begun`: mails so far. */
static void crash(unsigned begun)
{
	char path[] = "/tmp/postern-crash-XXXXXX";
	struct spool_settings there = settings;
	struct store_found seen;
	struct err err = {0};
	struct store *copy;
	unsigned known = 0;
	char command[64];
	int to;

	cr_assert(mkdtemp(path) != NULL);
	to = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(to >= 0);
	directory_copy(store->dir, to, "large"); /* first: records name files that are there */
	directory_copy(store->dir, to, "000");
	close(to);
	there.directory = path;
	cr_assert(store_open(&copy, &there, false, 0, 0, &err) == 0, "%s", err.text);
	cr_assert(store_recover(copy, 1, &seen, &err) == 0, "%s", err.text);
	cr_expect(seen.aside == 0, "%zu set aside", (size_t)seen.aside);
	for (unsigned i = 0; i < begun; i++) {
		const struct spool_entry *entry = entry_of(copy, mails[i].id);
		bool acknowledged = mails[i].committed_n == 1 && mails[i].committed == 0;

		cr_expect(!acknowledged || ended[i] || entry != NULL, "message %u is lost", i);
		cr_expect(entry == NULL || mails[i].committed == 0, "message %u failed", i);
		known += entry != NULL;
		if (entry != NULL)
			octets_are(copy, entry, bodies[i]);
	}
	cr_expect(seen.messages == known, "a message that nobody sent");
	store_close(copy);
	snprintf(command, sizeof(command), "rm -rf %s", path);
	cr_assert(system(command) == 0);
}

/* One message is complete, an older one is tried, another ends. */
static void step(unsigned i)
{
	struct spool_entry *entry;

	bodies[i] = pattern(i, i % 23 == 0 ? 40000 : 100 + i * 91 % 9000);
	mail_begin(&mails[i], "a@x.org b@x.org");
	mail_append(&mails[i], bodies[i]);
	spool_commit(mails[i].message);
	if (i % 4 != 0)
		turn();
	entry = spool_find(spool, mails[i * 7 % (i + 1)].id);
	if (entry != NULL)
		attempt(entry, 1, SPOOL_FATE_PENDING, "450 later");
	for (unsigned n = 0; i >= LAG && n < 2; n++) {
		unsigned which = i - LAG + n * LAG / 2;

		entry = which % 6 != 0 ? spool_find(spool, mails[which].id) : NULL;
		if (entry == NULL)
			continue;
		ended[which] = true;
		finish(entry);
	}
}

Test(spool_crash, at_any_moment)
{
	for (unsigned i = 0; i < MAILS; i++) {
		step(i);
		if (i % (MAILS / COPIES) == 0)
			crash(i + 1);
	}
	turns_until_idle();
	crash(MAILS);
	cr_expect(counter_sum(COUNTER_SPOOL_REUSED) > 0);
	cr_expect(counter_sum(COUNTER_SPOOL_DIRECT) > 0);
	cr_expect(counter_sum(COUNTER_SPOOL_COPIES) > 0, "room %zu live %zu entries %u",
		(size_t)spool->logs[0]->room, (size_t)spool->logs[0]->shard->live_bytes,
		spool_entries(spool));
}

Test(spool_crash, with_failures_between)
{
	struct spool_log *log = spool->logs[0];

	for (unsigned i = 0; i < MAILS; i++) {
		if (i % 20 != 19) {
			step(i);
			continue;
		}
		while (log->head == NULL || log->batch.step != SPOOL_BATCH_NONE)
			turn();
		head_becomes(BAD_DISK);
		step(i);
		while (mails[i].committed_n == 0)
			turn();
		crash(i + 1);
	}
	cr_expect(counter_sum(COUNTER_SPOOL_FAILED_BATCHES) > 5, "%zu",
		(size_t)counter_sum(COUNTER_SPOOL_FAILED_BATCHES));
	turns_until_idle();
	crash(MAILS);
}
