/* SPDX-License-Identifier: MIT */
/* commit.c -- messages that are stored: alone, in company, over several segments, streaming. */
#include "tests/unit/spool/harness.h"

#include "base/histogram.h"

TestSuite(spool_commit, .init = harness_open, .fini = harness_close, .timeout = TEST_LIMIT_S);

Test(spool_commit, a_lone_message_is_one_record_and_one_sync)
{
	struct span body = span_str("Subject: x\r\n\r\nhello\r\n");
	struct spool_entry *entry;
	int64_t syncs;

	turns_until_idle(); /* the segment is made */
	syncs = counter_sum(COUNTER_SPOOL_SYNCS);
	entry = mail_send("alice@example.org", body);
	cr_expect(counter_sum(COUNTER_SPOOL_SYNCS) - syncs == 1);
	cr_expect(reading.arrived_n == 1 && reading.arrived[0] == entry);
	cr_expect(entry->recipients_n == 1 && entry->pending_n == 1 && entry->attempts == 0);
	cr_expect(!entry->large && !entry->has_8bit && !entry->has_bare && !entry->held);
	cr_expect(
		span_equal(entry->recipients[0].smtp.address.text, span_str("alice@example.org")));
	cr_expect(span_equal(entry->envelope.reverse_path.text, span_str("s@example.net")));
	entry_holds(entry, body);
	cr_expect(spool_entries(spool) == 1);
}

Test(spool_commit, before_the_first_segment_is_there)
{
	entry_holds(mail_send("alice@example.org", span_str("")), span_str(""));
}

Test(spool_commit, nothing_is_called_back_from_inside_a_call)
{
	struct mail mail;

	mail_begin(&mail, "alice@example.org");
	spool_commit(mail.message);
	cr_expect(mail.committed_n == 0);
	spool_turn(spool);
	cr_expect(mail.committed_n == 0);
	while (mail.committed_n == 0)
		turn();
}

Test(spool_commit, what_is_complete_in_one_turn_shares_a_sync)
{
	enum { MAILS = 50 };
	static struct mail mails[MAILS];
	struct histogram_sum before, after;
	int64_t syncs, batches;

	turns_until_idle();
	histogram_sum(HISTOGRAM_SPOOL_BATCH, &before);
	syncs = counter_sum(COUNTER_SPOOL_SYNCS);
	batches = counter_sum(COUNTER_SPOOL_BATCHES);
	for (unsigned i = 0; i < MAILS; i++) {
		mail_begin(&mails[i], "a@example.org b@example.org");
		mail_append(&mails[i], pattern(i, 100 + i * 700));
		spool_commit(mails[i].message);
	}
	while (mails[MAILS - 1].committed_n == 0)
		turn();
	for (unsigned i = 0; i < MAILS; i++) {
		cr_expect(mails[i].committed_n == 1 && mails[i].committed == 0);
		entry_holds(spool_find(spool, mails[i].id), pattern(i, 100 + i * 700));
	}
	cr_expect(counter_sum(COUNTER_SPOOL_SYNCS) - syncs == 1);
	cr_expect(counter_sum(COUNTER_SPOOL_BATCHES) - batches == 1);
	histogram_sum(HISTOGRAM_SPOOL_BATCH, &after);
	cr_expect(after.count - before.count == 1 && after.sum - before.sum == MAILS);
}

/* More than one write can point at goes in several batches. */
Test(spool_commit, more_blocks_than_a_write_takes)
{
	enum { MAILS = 300 };
	static struct mail mails[MAILS];
	struct span body = pattern(5, 4 * SPOOL_BLOCK_BYTES);
	int64_t batches = counter_sum(COUNTER_SPOOL_BATCHES);

	for (unsigned i = 0; i < MAILS; i++) {
		mail_begin(&mails[i], "a@example.org");
		mail_append(&mails[i], body);
		spool_commit(mails[i].message);
	}
	while (mails[MAILS - 1].committed_n == 0)
		turn();
	for (unsigned i = 0; i < MAILS; i++)
		entry_holds(spool_find(spool, mails[i].id), body);
	cr_expect(counter_sum(COUNTER_SPOOL_BATCHES) - batches < 20);
}

Test(spool_commit, what_completes_during_a_sync_waits_for_the_next)
{
	struct mail first, second, third;
	int64_t batches;

	turns_until_idle();
	batches = counter_sum(COUNTER_SPOOL_BATCHES);
	mail_begin(&first, "a@example.org");
	spool_commit(first.message);
	spool_turn(spool); /* its batch is on its way */
	mail_begin(&second, "a@example.org");
	mail_begin(&third, "a@example.org");
	spool_commit(second.message);
	spool_commit(third.message);
	while (third.committed_n == 0)
		turn();
	cr_expect(first.committed == 0 && second.committed_n == 1 && third.committed == 0);
	cr_expect(counter_sum(COUNTER_SPOOL_BATCHES) - batches == 2);
}

Test(spool_commit, a_record_never_spans_segments)
{
	struct span body = pattern(0, 200000);

	settings.segment_bytes = 500000;
	harness_reopen(0, 1);
	for (unsigned i = 0; i < 9; i++)
		mail_send("a@example.org", body);
	for (unsigned i = 0; i < 9; i++)
		entry_holds(reading.arrived[i], body);
	cr_expect(spool->logs[0]->shard->segments_n >= 5);
	harness_reopen(0, 1);
	cr_expect(found.messages == 9 && found.aside == 0 && found.cut == 0);
}

Test(spool_commit, a_record_longer_than_a_segment_gets_one_for_itself)
{
	struct span body = pattern(0, 200000);

	settings.segment_bytes = 65536;
	harness_reopen(0, 1);
	mail_send("a@example.org", span_str("small"));
	mail_send("a@example.org", body);
	mail_send("a@example.org", span_str("small"));
	harness_reopen(0, 1);
	cr_assert(found.messages == 3 && found.aside == 0);
	entry_holds(reading.arrived[0], span_str("small"));
	entry_holds(reading.arrived[1], body);
	entry_holds(reading.arrived[2], span_str("small"));
}

Test(spool_commit, without_durability_nothing_is_synced)
{
	int64_t syncs = counter_sum(COUNTER_SPOOL_SYNCS);

	harness_reopen(0, 1);
	settings.durable = false;
	syncs = counter_sum(COUNTER_SPOOL_SYNCS);
	harness_reopen(0, 1);
	mail_send("a@example.org", span_str("x"));
	mail_send("a@example.org", pattern(0, 2 * settings.stream_bytes));
	cr_expect(counter_sum(COUNTER_SPOOL_SYNCS) == syncs);
	harness_reopen(0, 1);
	cr_expect(found.messages == 2);
}

/* ---- a lone commit waits for company ---- */

static void open_waiting(void)
{
	settings.commit_wait_us = 200000;
	harness_open();
	turns_until_idle();
}

TestSuite(spool_wait, .init = open_waiting, .fini = harness_close, .timeout = TEST_LIMIT_S);

Test(spool_wait, nobody_is_coming_so_nothing_waits)
{
	mail_send("a@example.org", span_str("x"));
	cr_expect(!spool->logs[0]->wait.armed);
}

Test(spool_wait, one_that_is_being_filled_is_waited_for)
{
	int64_t batches = counter_sum(COUNTER_SPOOL_BATCHES);
	struct mail first, second;

	mail_begin(&first, "a@example.org");
	mail_begin(&second, "a@example.org");
	spool_commit(first.message);
	spool_turn(spool);
	cr_expect(spool->logs[0]->wait.armed && first.committed_n == 0);
	spool_commit(second.message);
	while (second.committed_n == 0)
		turn();
	cr_expect(first.committed_n == 1);
	cr_expect(counter_sum(COUNTER_SPOOL_BATCHES) - batches == 1);
}

Test(spool_wait, but_not_for_ever)
{
	struct mail first, second;

	mail_begin(&first, "a@example.org");
	mail_begin(&second, "a@example.org");
	cr_expect(mail_commit(&first) == 0);
	cr_expect(second.committed_n == 0);
	cr_expect(!spool_abort(second.message));
}

/* ---- large messages ---- */

#define LARGE_BYTES (5u * 1024 * 1024 + 123)

Test(spool_commit, a_large_message_streams_in_bounded_memory)
{
	struct span all = pattern(0, LARGE_BYTES);
	uint32_t most = settings.stream_bytes / SPOOL_BLOCK_BYTES + 2 * SPOOL_RUN_BLOCKS_MANY + 1;
	struct span left = all;
	uint32_t blocks_max = 0;
	unsigned waits = 0;
	struct mail mail;

	mail_begin(&mail, "a@example.org b@example.org");
	while (left.n > 0) {
		struct span part = span_take(&left, 70001);

		while (part.n > 0) {
			unsigned ready = mail.ready_n;
			enum spool_step step = spool_append(mail.message, &part);

			cr_assert(step != SPOOL_STEP_FAIL);
			if (spool->blocks.live > blocks_max)
				blocks_max = spool->blocks.live;
			for (; step == SPOOL_STEP_WAIT && mail.ready_n == ready; waits++)
				turn();
		}
	}
	cr_expect(waits > 0, "it never had to wait");
	cr_expect(blocks_max <= most, "%u", blocks_max);
	cr_expect(mail_commit(&mail) == 0);
	cr_expect(reading.arrived[0]->large);
	cr_expect(files_n("large") == 1);
	entry_holds(reading.arrived[0], all);
	harness_reopen(0, 1);
	cr_assert(found.messages == 1 && found.aside == 0 && found.orphans == 0);
	cr_expect(reading.arrived[0]->large && reading.arrived[0]->recipients_n == 2);
	entry_holds(reading.arrived[0], all);
	finish(reading.arrived[0]);
	turns_until_idle();
	cr_expect(files_n("large") == 0);
}

Test(spool_commit, commit_while_a_write_is_under_way)
{
	struct span all = pattern(0, 6 * settings.stream_bytes);
	struct span left = all;
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	cr_assert(spool_append(mail.message, &left) == SPOOL_STEP_WAIT);
	cr_assert(mail.message->state == SPOOL_STATE_OPEN);
	cr_expect(mail_commit(&mail) == 0);
	cr_expect(mail.ready_n == 0);
	entry_holds(reading.arrived[0], span_of(all.p, all.n - left.n));
}

Test(spool_commit, just_as_long_as_memory_allows)
{
	size_t head_n = strlen(HEAD);
	struct span all = pattern(0, settings.stream_bytes - head_n);

	cr_expect(!mail_send("a@example.org", all)->large);
	cr_expect(
		mail_send("a@example.org", pattern(0, settings.stream_bytes - head_n + 1))->large);
	entry_holds(reading.arrived[0], all);
}

/* ---- ids ---- */

Test(spool_commit, ids_rise_and_belong_to_the_worker)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < 1000; i++) {
		uint64_t id = spool_id(spool);

		cr_assert(id > last && (id & 0xff) == 0);
		last = id;
	}
}
