/* SPDX-License-Identifier: MIT */
/*
 * failure.c -- writes, syncs and whole directories fail: nobody is told otherwise, and it goes on.
 *
 * /dev/full and BAD_DISK stand in for a bad disk under the head. That a sync fails behind a write that
 * went well is for tests/crash/faults.
 */
#include "tests/unit/spool/harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static void open_ready(void)
{
	harness_open();
	turns_until_idle();
	mail_send("first@x.org", span_str("first"));
}

TestSuite(spool_failure, .init = open_ready, .fini = harness_close, .timeout = TEST_LIMIT_S);

static void batch_fails(const char *disk, int error)
{
	enum { MAILS = 5 };
	struct mail mails[MAILS], next;
	struct spool_segment *head = spool->logs[0]->head;

	head_becomes(disk);
	for (unsigned i = 0; i < MAILS; i++) {
		mail_begin(&mails[i], "a@x.org");
		spool_commit(mails[i].message);
	}
	while (mails[MAILS - 1].committed_n == 0)
		turn();
	for (unsigned i = 0; i < MAILS; i++)
		cr_expect(mails[i].committed_n == 1 && mails[i].committed == error, "%d",
			mails[i].committed);
	cr_expect(counter_sum(COUNTER_SPOOL_FAILED_BATCHES) == 1);
	cr_expect(reading.arrived_n == 1 && spool_entries(spool) == 1);
	cr_expect(head->dead && spool->logs[0]->head != head);
	cr_expect(spool_ready(spool) == error, "for a second nobody is asked for more");
	mail_begin(&next, "a@x.org");
	cr_expect(mail_commit(&next) == 0, "the next batch has a segment of its own");
	cr_expect(spool_item_of(spool_find(spool, next.id))->segment != head);
	harness_reopen(0, 1);
	cr_expect(found.messages == 2 && found.aside == 0, "%zu", (size_t)found.messages);
}

Test(spool_failure, a_write_fails)
{
	batch_fails("/dev/full", -ENOSPC);
	cr_expect(counter_sum(COUNTER_SPOOL_NO_SPACE) == 5);
}

Test(spool_failure, the_disk_fails)
{
	batch_fails(BAD_DISK, -EIO);
	cr_expect(counter_sum(COUNTER_SPOOL_IO_ERROR) == 5);
}

Test(spool_failure, after_a_second_new_mail_is_welcome)
{
	struct mail mail;

	clock_stop();
	head_becomes(BAD_DISK);
	mail_begin(&mail, "a@x.org");
	cr_expect(mail_commit(&mail) == -EIO);
	cr_expect(spool_ready(spool) == -EIO);
	spool_turn(spool);
	cr_expect(counter_sum(COUNTER_SPOOL_FAILING) == 1);
	while (spool->logs[0]->next == NULL)
		turn();
	clock_move(SPOOL_PAUSE_MS);
	cr_expect(spool_ready(spool) == 0);
	cr_expect(counter_sum(COUNTER_SPOOL_FAILING) == 0);
}

/* A limit on the size of files cuts the write short, then refuses the rest. What did reach the file
 * is punched out, so that it does not come back. */
Test(spool_failure, half_a_batch_is_written)
{
	struct spool_segment *head = spool->logs[0]->head;
	const struct rlimit limit = {head->bytes + 10000, RLIM_INFINITY};
	const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
	struct mail mails[3];
	uint8_t octets[20000];

	clock_stop();
	signal(SIGXFSZ, SIG_IGN);
	cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	for (unsigned i = 0; i < 3; i++) {
		mail_begin(&mails[i], "a@x.org");
		mail_append(&mails[i], pattern(0, 7000));
		spool_commit(mails[i].message);
	}
	while (mails[2].committed_n == 0)
		turn();
	for (unsigned i = 0; i < 3; i++)
		cr_expect(mails[i].committed == -EFBIG, "%d", mails[i].committed);
	cr_assert(setrlimit(RLIMIT_FSIZE, &none) == 0);
	cr_assert(pread(head->fd, octets, sizeof(octets), (off_t)head->bytes) == sizeof(octets));
	for (size_t i = 0; i < sizeof(octets); i++)
		cr_assert(octets[i] == 0, "octet %zu", i);
	clock_move(SPOOL_PAUSE_MS);
	harness_reopen(0, 1);
	cr_expect(found.messages == 1 && found.aside == 0 && found.cut == 0);
}

Test(spool_failure, attempts_of_a_failed_batch_are_written_with_the_next)
{
	struct spool_entry *entry = reading.arrived[0];
	struct mail mail;

	clock_stop();
	attempt(entry, 1, SPOOL_FATE_PENDING, "450 once");
	head_becomes(BAD_DISK);
	mail_begin(&mail, "a@x.org");
	cr_expect(mail_commit(&mail) == -EIO);
	attempt(entry, 1, SPOOL_FATE_PENDING, "450 twice");
	cr_expect(spool_idle(spool) || !spool_log_paused(spool->logs[0]) ||
		  spool->logs[0]->make.step != SPOOL_MAKE_NONE);
	mail_send("b@x.org", span_str("y"));
	clock_move(SPOOL_PAUSE_MS);
	harness_reopen(0, 1);
	cr_assert(spool_entries(spool) == 2);
	cr_expect(reading.arrived[0]->attempts == 2);
}

/* Segments in which nothing ever succeeded go at once, also behind one that must stay. */
Test(spool_failure, segments_of_failed_batches_do_not_pile_up)
{
	const struct spool_log *log = spool->logs[0];
	struct mail mail;

	clock_stop();
	for (unsigned i = 0; i < 8; i++) {
		segment_becomes(log->head != NULL ? log->head : log->next, BAD_DISK);
		mail_begin(&mail, "a@x.org");
		cr_assert(mail_commit(&mail) == -EIO, "%d", mail.committed);
		clock_move(SPOOL_PAUSE_MS);
		turns_until_idle();
	}
	cr_expect(log->shard->segments_n <= 3 && files_n("000") <= 3, "%u segments",
		log->shard->segments_n);
	mail_send("b@x.org", span_str("y"));
	harness_reopen(0, 1);
	cr_expect(found.messages == 2 && found.aside == 0);
}

/* ---- segments cannot be made ---- */

/* The names of the next n segments, relative to root: made into directories, or removed. */
static void names_block(uint64_t first, unsigned n, bool block)
{
	for (unsigned i = 0; i < n; i++) {
		char name[STORE_NAME_MAX];
		char path[64];

		store_segment_name(first + i, name);
		snprintf(path, sizeof(path), "000/%s", name);
		cr_assert((block ? mkdir(below_root(path), 0700) : rmdir(below_root(path))) == 0);
	}
}

/* Three tries fail, a second apart, without anybody asking. */
static void tried_until_it_works(uint64_t first)
{
	cr_expect(spool_ready(spool) == -EEXIST);
	spool_turn(spool);
	cr_expect(counter_sum(COUNTER_SPOOL_FAILING) == 1);
	for (unsigned i = 0; i < 3; i++) {
		cr_expect(spool_ready(spool) == -EEXIST);
		clock_move(SPOOL_PAUSE_MS);
		turns_until_idle();
	}
	cr_expect(spool_ready(spool) == 0);
	mail_send("a@x.org", span_str("x"));
	cr_expect(counter_sum(COUNTER_SPOOL_FAILING) == 0);
	names_block(first, 3, false);
}

Test(spool_failure, no_segment_to_be_had_then_one)
{
	uint64_t first = spool->logs[0]->shard->seq_next;
	struct mail mail;

	clock_stop();
	names_block(first, 3, true);
	head_becomes(BAD_DISK);
	mail_begin(&mail, "a@x.org");
	cr_expect(mail_commit(&mail) == -EIO);
	mail_begin(&mail, "a@x.org");
	cr_expect(mail_commit(&mail) == -EEXIST, "%d", mail.committed);
	tried_until_it_works(first);
}

/* The head is not half full, but a message is too long for the rest of it. */
Test(spool_failure, no_next_segment_to_be_had_then_one)
{
	struct mail mail;
	uint64_t first;

	settings.segment_bytes = 64u << 10;
	harness_reopen(0, 1);
	mail_send("a@x.org", pattern(0, 25000));
	cr_assert(spool->logs[0]->next == NULL);
	first = spool->logs[0]->shard->seq_next;
	clock_stop();
	names_block(first, 3, true);
	mail_begin(&mail, "a@x.org");
	mail_append(&mail, pattern(0, 50000));
	cr_expect(mail_commit(&mail) == -EEXIST, "%d", mail.committed);
	tried_until_it_works(first);
}

/* The next segment cannot be made, the head still takes notes: stopping now loses none of them. */
Test(spool_failure, notes_are_written_while_the_head_takes_them)
{
	const struct spool_log *log;
	struct spool_entry *entry;
	uint64_t first;

	settings.segment_bytes = 64u << 10;
	harness_reopen(0, 1);
	entry = mail_send("a@x.org", pattern(0, 25000));
	log = spool->logs[0];
	cr_assert(log->next == NULL);
	first = log->shard->seq_next;
	names_block(first, 3, true);
	mail_send("a@x.org", pattern(0, 10000));
	while (log->make.error == 0)
		turn();
	finish(entry);
	turns_until_idle();
	cr_expect(log->noted.n == 0 && log->writing.n == 0, "%zu octets of notes would be lost",
		log->noted.n + log->writing.n);
	names_block(first, 3, false);
}

Test(spool_failure, a_directory_that_vanished_is_noticed)
{
	struct mail mail;
	char command[128];

	clock_stop();
	snprintf(command, sizeof(command), "rm -rf %s/000", root);
	cr_assert(system(command) == 0);
	clock_move(SPOOL_PAUSE_MS);

	mail_begin(&mail, "a@x.org");
	cr_expect(mail_commit(&mail) == -ENOENT, "%d", mail.committed);
	cr_expect(spool_ready(spool) == -ENOENT);
	finish(reading.arrived[0]);
	turns_until_idle();
	cr_expect(spool_entries(spool) == 0);
	clock_move(SPOOL_PAUSE_MS);
	spool_turn(spool);
	turns_until_idle();
	cr_expect(spool_ready(spool) == -ENOENT);
}

/* ---- large files ---- */

Test(spool_failure, the_large_file_cannot_be_made)
{
	struct span left = pattern(0, 6 * settings.stream_bytes);
	struct mail mail;

	cr_assert(rmdir(below_root("large")) == 0);
	mail_begin(&mail, "a@x.org");
	cr_assert(spool_append(mail.message, &left) == SPOOL_STEP_WAIT);
	while (mail.ready_n == 0)
		turn();
	cr_expect(spool_append(mail.message, &left) == SPOOL_STEP_FAIL);
	cr_expect(spool_error(mail.message) == -ENOENT);
	cr_expect(mail_commit(&mail) == -ENOENT);
}

Test(spool_failure, a_write_to_the_large_file_fails)
{
	struct span left = pattern(0, 8 * settings.stream_bytes);
	const struct rlimit limit = {settings.stream_bytes + 5000, RLIM_INFINITY};
	enum spool_step step = SPOOL_STEP_OK;
	struct mail mail;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	mail_begin(&mail, "a@x.org");
	while (step != SPOOL_STEP_FAIL) {
		mail.ready_n = 0;
		step = spool_append(mail.message, &left);
		while (step == SPOOL_STEP_WAIT && mail.ready_n == 0)
			turn();
	}
	cr_expect(spool_error(mail.message) == -EFBIG);
	cr_expect(mail_commit(&mail) == -EFBIG);
	cr_expect(files_n("large") == 0);
}

Test(spool_failure, a_large_file_of_a_failed_batch_goes)
{
	struct mail mail;

	mail_begin(&mail, "a@x.org");
	mail_append(&mail, pattern(0, 2 * settings.stream_bytes));
	head_becomes(BAD_DISK);
	cr_expect(mail_commit(&mail) == -EIO);
	turns_until_idle();
	cr_expect(files_n("large") == 0);
}

/* ---- limits ---- */

Test(spool_failure, space_below_the_mark)
{
	clock_stop();
	cr_expect(spool_ready(spool) == 0);
	settings.free_bytes_min = UINT64_MAX;
	cr_expect(spool_ready(spool) == 0, "not looked at yet");
	clock_move(SPOOL_PAUSE_MS);
	cr_expect(spool_ready(spool) == -ENOSPC);
	settings.free_bytes_min = 0;
	clock_move(SPOOL_PAUSE_MS);
	spool_turn(spool);
	cr_expect(spool_ready(spool) == 0);
}

Test(spool_failure, messages_max)
{
	struct mail mail;

	settings.messages_max = 2;
	harness_reopen(0, 1);
	cr_expect(spool_ready(spool) == 0);
	mail_begin(&mail, "a@x.org");
	cr_expect(spool_ready(spool) == -ENOSPC, "one is being filled");
	cr_expect(mail_commit(&mail) == 0);
	cr_expect(spool_ready(spool) == -ENOSPC);
	finish(reading.arrived[0]);
	cr_expect(spool_ready(spool) == 0);
}
