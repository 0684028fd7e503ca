/* SPDX-License-Identifier: MIT */
/* queue.c -- entries: their order, attempts, their end, and all of it again after a restart. */
#include "tests/unit/spool/harness.h"

TestSuite(spool_queue, .init = harness_open, .fini = harness_close, .timeout = TEST_LIMIT_S);

Test(spool_queue, in_the_order_of_ids_however_they_come)
{
	enum { MAILS = 200 };
	static struct mail mails[MAILS];
	uint64_t id = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < MAILS; i++)
		mail_begin(&mails[i], "a@example.org");
	for (unsigned i = 0; i < MAILS; i++) { /* 0, 77, 154, 31 ... */
		unsigned which = i * 77 % MAILS;

		spool_commit(mails[which].message);
		if (i % 7 == 0)
			turn();
	}
	turns_until_idle();
	for (struct spool_entry *entry; (entry = spool_after(spool, id)) != NULL; n++) {
		cr_assert(entry->id == mails[n].id && spool_find(spool, entry->id) == entry);
		id = entry->id;
	}
	cr_expect(n == MAILS && spool_entries(spool) == MAILS);
	cr_expect(spool_find(spool, mails[3].id + 1) == NULL);
	finish(spool_find(spool, mails[10].id));
	cr_expect(spool_find(spool, mails[10].id) == NULL);
	cr_expect(spool_after(spool, mails[10].id)->id == mails[11].id);
	cr_expect(spool_after(spool, mails[9].id)->id == mails[11].id);
	n = 0;
	for (struct list *node = spool->entries.next; node != &spool->entries; node = node->next)
		n++;
	cr_expect(n == MAILS - 1);
}

Test(spool_queue, attempts_change_what_they_say)
{
	struct spool_entry *entry = mail_send("a@x.org b@x.org c@x.org", span_str("x"));
	struct spool_attempt_record tries[SPOOL_ATTEMPTS_MAX];

	attempt(entry, 2, SPOOL_FATE_DELIVERED, "250 ok");
	cr_expect(entry->attempts == 1 && entry->pending_n == 1 && entry->due_real_s == 4711);
	cr_expect(entry->recipients[0].fate == SPOOL_FATE_DELIVERED);
	cr_expect(entry->recipients[2].fate == SPOOL_FATE_PENDING);
	attempt(entry, 3, SPOOL_FATE_BOUNCED, "550 no");
	cr_expect(entry->recipients[0].fate == SPOOL_FATE_DELIVERED, "final fates stay");
	cr_expect(entry->recipients[2].fate == SPOOL_FATE_BOUNCED && entry->pending_n == 0);
	cr_expect(spool_attempts(entry, tries) == 2);
	cr_expect(strcmp(tries[0].text, "250 ok") == 0 && tries[0].recipients_n == 2);
	cr_expect(strcmp(tries[1].text, "550 no") == 0 && tries[1].recipients_n == 3);
}

Test(spool_queue, a_restart_finds_everything_as_it_was)
{
	struct spool_attempt_record tries[SPOOL_ATTEMPTS_MAX];
	const struct spool_attempt hold = {
		.next_hop = "operator", .text = "hold", .due_real_s = 99, .held = true};
	struct spool_entry *entries[4];

	for (unsigned i = 0; i < 4; i++)
		entries[i] = mail_send("a@x.org b@x.org", pattern(i, 1000 + i));
	attempt(entries[0], 1, SPOOL_FATE_DELIVERED, "250 first");
	attempt(entries[0], 2, SPOOL_FATE_PENDING, "450 second");
	finish(entries[1]);
	spool_attempt(spool, entries[2], &hold);
	harness_reopen(0, 1);
	cr_assert(found.messages == 3 && found.aside == 0 && found.cut == 0);
	cr_assert(reading.arrived_n == 3);
	entries[0] = reading.arrived[0];
	cr_expect(entries[0]->attempts == 2 && entries[0]->pending_n == 1);
	cr_expect(entries[0]->recipients[0].fate == SPOOL_FATE_DELIVERED);
	cr_expect(entries[0]->due_real_s == 4711);
	cr_assert(spool_attempts(entries[0], tries) == 2);
	cr_expect(strcmp(tries[1].text, "450 second") == 0 && tries[1].recipients_n == 2);
	entry_holds(entries[0], pattern(0, 1000));
	cr_expect(reading.arrived[1]->held && reading.arrived[1]->attempts == 0);
	cr_expect(reading.arrived[1]->due_real_s == 99);
	entry_holds(reading.arrived[1], pattern(2, 1002));
	cr_expect(reading.arrived[2]->pending_n == 2 && !reading.arrived[2]->held);
	entry_holds(reading.arrived[2], pattern(3, 1003));
	cr_expect(spool_id(spool) > reading.arrived[2]->id);
}

/* What was reported is on disk a moment later, without a further message. */
Test(spool_queue, attempts_are_written_by_themselves)
{
	struct spool_entry *entry = mail_send("a@x.org", span_str("x"));
	int64_t batches = counter_sum(COUNTER_SPOOL_BATCHES);

	attempt(entry, 1, SPOOL_FATE_PENDING, "450 later");
	cr_expect(!spool_idle(spool));
	turns_until_idle();
	cr_expect(counter_sum(COUNTER_SPOOL_BATCHES) - batches == 1);
}

Test(spool_queue, attempts_go_with_the_next_message)
{
	struct spool_entry *entry = mail_send("a@x.org", span_str("x"));
	int64_t syncs = counter_sum(COUNTER_SPOOL_SYNCS);

	attempt(entry, 1, SPOOL_FATE_PENDING, "450 later");
	mail_send("b@x.org", span_str("y"));
	cr_expect(spool_idle(spool));
	cr_expect(counter_sum(COUNTER_SPOOL_SYNCS) - syncs == 1);
}

/* Attempts of thousands of recipients, and thousands of attempts. */
Test(spool_queue, many_attempts_do_not_wait_for_their_time)
{
	struct spool_entry *entry = mail_send("a@x.org b@x.org", span_str("x"));
	char text[400];

	memset(text, 't', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	clock_stop(); /* no timer helps */
	for (unsigned i = 0; i < 2000; i++)
		attempt(entry, 2, SPOOL_FATE_PENDING, text);
	turns_until_idle();
	cr_expect(counter_sum(COUNTER_SPOOL_NOTES_LOST) == 0);
	clock_move(SPOOL_ATTEMPT_MS_MAX);
	harness_reopen(0, 1);
	cr_expect(reading.arrived[0]->attempts == 2000);
}

Test(spool_queue, more_notes_than_memory_takes_are_counted_and_forgotten)
{
	struct spool_entry *entry = mail_send("a@x.org", span_str("x"));
	char text[SPOOL_TEXT_MAX];

	memset(text, 't', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	for (unsigned i = 0; i < SPOOL_NOTES_BYTES / 512; i++)
		attempt(entry, 1, SPOOL_FATE_PENDING, text);
	cr_expect(counter_sum(COUNTER_SPOOL_NOTES_LOST) > 0);
	finish(entry);
	turns_until_idle();
}

/* ---- shards of an earlier run ---- */

Test(spool_queue, a_shard_without_a_worker_is_adopted_and_emptied)
{
	struct spool_entry *mine, *adopted;

	harness_reopen(1, 2); /* what is stored now stands in shard 1 */
	adopted = mail_send("a@x.org", span_str("adopted"));
	attempt(adopted, 1, SPOOL_FATE_PENDING, "450 one");
	harness_reopen(0, 1);
	cr_assert(spool_entries(spool) == 1);
	cr_expect(spool->logs_n == 2);
	adopted = reading.arrived[0];
	cr_expect(adopted->attempts == 1 && files_n("001") > 0);
	attempt(adopted, 1, SPOOL_FATE_PENDING, "450 two");
	mine = mail_send("b@x.org", span_str("mine"));
	harness_reopen(0, 1);
	cr_assert(spool_entries(spool) == 2);
	adopted = reading.arrived[0];
	mine = reading.arrived[1];
	cr_expect(adopted->attempts == 2);
	entry_holds(adopted, span_str("adopted"));
	entry_holds(mine, span_str("mine"));
	finish(adopted);
	turns_until_idle();

	cr_expect(files_n("001") == 0, "%u", files_n("001"));
	harness_reopen(0, 1);
	cr_expect(spool_entries(spool) == 1);
}
