/* SPDX-License-Identifier: MIT */
/* copy.c -- what is left of old segments moves to the head: nothing is lost and nothing comes twice. */
#include "tests/unit/spool/harness.h"

#define SEGMENT_BYTES (64u << 10)
#define MAILS         400

static void open_small(void)
{
	settings.segment_bytes = SEGMENT_BYTES;
	settings.stream_bytes = 16u << 10;
	harness_open();
}

TestSuite(spool_copy, .init = open_small, .fini = harness_close, .timeout = TEST_LIMIT_S);

static size_t body_n(unsigned i)
{
	return 500 + i * 37 % 5000;
}

/* Many messages, of which every eighth stays and has attempts. */
static unsigned scatter(uint64_t ids[MAILS])
{
	struct spool_entry *entries[MAILS];
	unsigned n = 0;

	for (unsigned i = 0; i < MAILS; i++) {
		entries[i] = mail_send("a@x.org b@x.org", pattern(i, body_n(i)));
		ids[i] = entries[i]->id;
		if (i % 8 == 0)
			attempt(entries[i], 1, SPOOL_FATE_DELIVERED, "250 one of two");
	}
	for (unsigned i = 0; i < MAILS; i++)
		if (i % 8 != 0)
			finish(entries[i]);
		else
			n++;
	return n;
}

static void all_there(const uint64_t ids[MAILS], unsigned tries)
{
	struct spool_attempt_record out[SPOOL_ATTEMPTS_MAX];

	for (unsigned i = 0; i < MAILS; i++) {
		struct spool_entry *entry = spool_find(spool, ids[i]);

		cr_assert((entry != NULL) == (i % 8 == 0), "message %u", i);
		if (entry == NULL)
			continue;
		cr_expect(entry->attempts == 1 && entry->pending_n == 1);
		cr_expect(entry->recipients[0].fate == SPOOL_FATE_DELIVERED);
		cr_assert(spool_attempts(entry, out) == tries, "%u tries",
			spool_attempts(entry, out));
		cr_expect(strcmp(out[0].text, "250 one of two") == 0 && out[0].recipients_n == 1);
		entry_holds(entry, pattern(i, body_n(i)));
	}
}

static uint64_t bound(void)
{
	const struct spool_shard *shard = spool->logs[0]->shard;
	uint64_t twice = 2 * shard->live_bytes + 2 * SEGMENT_BYTES;

	return twice > 4 * SEGMENT_BYTES ? twice : 4 * SEGMENT_BYTES;
}

Test(spool_copy, stragglers_move_and_the_log_shrinks)
{
	uint64_t ids[MAILS];
	unsigned n = scatter(ids);

	turns_until_idle();
	while (spool->logs[0]->room > bound())
		turn();
	turns_until_idle();
	cr_expect(counter_sum(COUNTER_SPOOL_COPIES) > 0);
	cr_expect(spool_entries(spool) == n);
	all_there(ids, 1);
	harness_reopen(0, 1);
	cr_expect(found.messages == n && found.aside == 0 && found.cut == 0);
	all_there(ids, 1);
}

/* A crash at any moment of it: what is on disk is read by another store meanwhile. */
Test(spool_copy, finished_while_they_move)
{
	uint64_t ids[MAILS];
	unsigned n = scatter(ids);
	unsigned finished = 0;

	for (unsigned i = 0; i < MAILS; i += 16) {
		struct spool_entry *entry = spool_find(spool, ids[i]);

		while (!spool_item_of(entry)->copying && spool->logs[0]->room > bound() &&
			i % 32 == 0)
			turn();
		finish(entry);
		finished++;
	}
	turns_until_idle();
	cr_expect(spool_entries(spool) == n - finished);
	harness_reopen(0, 1);
	cr_expect(
		found.messages == n - finished && found.aside == 0, "%zu", (size_t)found.messages);
	for (unsigned i = 0; i < MAILS; i++)
		cr_expect((spool_find(spool, ids[i]) != NULL) == (i % 16 == 8), "message %u", i);
}

Test(spool_copy, an_attempt_while_they_move_is_kept)
{
	uint64_t ids[MAILS];
	struct spool_attempt_record out[SPOOL_ATTEMPTS_MAX];
	struct spool_entry *entry = NULL;
	uint64_t id;
	unsigned i;

	(void)scatter(ids);
	for (i = 0; entry == NULL; turn())
		for (i = 0; i < MAILS && entry == NULL; i += 8)
			if (spool_item_of(spool_find(spool, ids[i]))->copying)
				entry = spool_find(spool, ids[i]);
	attempt(entry, 2, SPOOL_FATE_PENDING, "450 meanwhile");
	id = entry->id;
	turns_until_idle();
	harness_reopen(0, 1);
	entry = spool_find(spool, id);
	cr_assert(entry != NULL && entry->attempts == 2 && entry->pending_n == 1);
	cr_assert(spool_attempts(entry, out) >= 2);
	cr_expect(strcmp(out[spool_attempts(entry, out) - 1].text, "450 meanwhile") == 0);
}

Test(spool_copy, large_ones_move_by_their_record)
{
	struct span body = pattern(0, 100000);
	uint64_t id = mail_send("a@x.org", body)->id;

	cr_assert(spool_find(spool, id)->large);
	for (unsigned i = 0; i < 100; i++)
		finish(mail_send("a@x.org", pattern(0, 8000)));
	turns_until_idle();
	cr_expect(counter_sum(COUNTER_SPOOL_COPIES) > 0);
	entry_holds(spool_find(spool, id), body);
	harness_reopen(0, 1);
	cr_assert(spool_entries(spool) == 1 && found.orphans == 0);
	entry_holds(spool_find(spool, id), body);
}

/* A record that has gone bad is not made good by moving it. */
Test(spool_copy, a_damaged_record_stays_where_it_is)
{
	struct spool_entry *bad = mail_send("a@x.org", span_str("will be damaged"));
	const struct spool_item *item = spool_item_of(bad);
	struct spool_segment *segment = item->segment;

	cr_assert(
		pwrite(segment->fd, "X", 1, (off_t)(item->offset + item->record_bytes - 12)) == 1);
	for (unsigned i = 0; i < 100; i++)
		finish(mail_send("a@x.org", pattern(0, 8000)));
	turns_until_idle();
	cr_expect(item->segment == segment && !item->copying);
	cr_expect(counter_sum(COUNTER_SPOOL_COPIES) == 0);
	finish(bad);
	turns_until_idle();
	while (spool->logs[0]->shard->segments_n > 2)
		turn();
}

static void stop_only(void *ctx)
{
	ring_stop(ctx);
}

/* What is under way goes on, nothing new begins. */
static void half_a_turn(void)
{
	ring_run(ring, stop_only, ring);
}

/* A batch with copies fails: the old records count as before. */
Test(spool_copy, a_failed_batch_changes_nothing)
{
	const struct spool_log *log = spool->logs[0];
	uint64_t ids[MAILS];
	unsigned n = scatter(ids);

	while (log->copies.step != SPOOL_COPY_READ)
		turn();
	while (log->copies.step == SPOOL_COPY_READ || log->batch.step != SPOOL_BATCH_NONE)
		half_a_turn();
	while (counter_sum(COUNTER_SPOOL_FAILED_BATCHES) == 0) {
		if (log->head != NULL)
			segment_becomes(log->head, "/dev/full");
		if (log->next != NULL)
			segment_becomes(log->next, "/dev/full");
		spool_turn(spool);
		half_a_turn();
	}
	all_there(ids, 1);
	while (spool->logs[0]->room > bound())
		turn();
	turns_until_idle();
	harness_reopen(0, 1);
	cr_expect(found.messages == n && found.aside == 0);
	all_there(ids, 1);
}

/* More notes than a segment holds, and never a moment without a message that waits, too. */
Test(spool_copy, notes_longer_than_a_segment_do_not_wait_for_quiet)
{
	const struct spool_log *log = spool->logs[0];
	struct spool_entry *entry = mail_send("a@x.org", span_str("x"));
	struct span body = pattern(0, 3000);
	struct mail mails[2];
	char text[SPOOL_TEXT_MAX];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	while (log->noted.n <= SEGMENT_BYTES)
		attempt(entry, 1, SPOOL_FATE_PENDING, text);
	mail_begin(&mails[0], "a@x.org");
	spool_commit(mails[0].message);
	spool_turn(spool);
	for (unsigned i = 1; i < 60; i++) {
		struct mail *before = &mails[(i - 1) % 2], *mail = &mails[i % 2];

		mail_begin(mail, "a@x.org");
		mail_append(mail, body);
		spool_commit(mail->message);
		while (before->committed_n == 0)
			turn();
	}
	cr_expect(log->noted.n == 0 && log->writing.n == 0, "%zu octets of notes wait",
		log->noted.n + log->writing.n);
	turns_until_idle();
	harness_reopen(0, 1);
	cr_expect(spool_entries(spool) == 61 && found.aside == 0);
}

/* Each start leaves a segment; none is large, but every one is an open file. */
Test(spool_copy, many_starts_do_not_leave_many_segments)
{
	enum { STARTS = 100 };

	for (unsigned i = 0; i < STARTS; i++) {
		mail_send("a@x.org", pattern(i, body_n(i)));
		harness_reopen(0, 1);
	}
	mail_send("a@x.org", span_str("x"));
	turns_until_idle();
	cr_expect(spool->logs[0]->shard->segments_n <=
			  SPOOL_SEGMENTS_MANY + 2 +
				  2 * spool->logs[0]->shard->live_bytes / SEGMENT_BYTES,
		"%u segments", spool->logs[0]->shard->segments_n);
	harness_reopen(0, 1);
	cr_assert(spool_entries(spool) == STARTS + 1 && found.aside == 0);
	for (unsigned i = 0; i < STARTS; i++)
		entry_holds(reading.arrived[i], pattern(i, body_n(i)));
}
