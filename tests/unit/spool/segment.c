/* SPDX-License-Identifier: MIT */
/* segment.c -- segments go when nothing in them is live, and disk use stays within its bounds. */
#include "tests/unit/spool/harness.h"

#include <stdio.h>

#define SEGMENT_BYTES (256u << 10)

static void open_small(void)
{
	settings.segment_bytes = SEGMENT_BYTES;
	harness_open();
}

TestSuite(spool_segment, .init = open_small, .fini = harness_close, .timeout = TEST_LIMIT_S);

static unsigned segments_n(void)
{
	unsigned n = files_n("000");

	for (unsigned i = 0; i < SPOOL_SPARES; i++)
		n -= spool->logs[0]->spares[i];
	cr_assert(n == spool->logs[0]->shard->segments_n);
	return n;
}

Test(spool_segment, the_next_one_is_made_ahead)
{
	turns_until_idle();
	cr_expect(segments_n() == 1);
	for (unsigned i = 0; segments_n() < 2; i++) {
		mail_send("a@x.org", pattern(0, 10000));
		turns_until_idle();
		cr_assert(i < SEGMENT_BYTES / 10000);
	}
	cr_expect(spool->logs[0]->next != NULL);
	cr_expect(spool->logs[0]->head->bytes > SEGMENT_BYTES / 2);
}

Test(spool_segment, finished_ones_go_oldest_first)
{
	struct spool_entry *entries[36];
	unsigned before;

	for (unsigned i = 0; i < COUNT_OF(entries); i++)
		entries[i] = mail_send("a@x.org", pattern(0, 20000));
	turns_until_idle();
	before = segments_n();
	cr_assert(before == 4, "%u", before);
	for (unsigned i = COUNT_OF(entries) - 1; i > 0; i--)
		finish(entries[i]);
	turns_until_idle();
	cr_expect(segments_n() == before, "the oldest is held by its first message");
	finish(entries[0]);
	turns_until_idle();
	cr_expect(segments_n() <= 2, "%u", segments_n());
	harness_reopen(0, 1);
	cr_expect(spool_entries(spool) == 0);
	turns_until_idle();
	cr_expect(segments_n() == 1, "only the new head: %u", segments_n());
}

/* One message that nobody takes, and a stream of others. */
Test(spool_segment, disk_use_is_bounded_though_one_message_stays)
{
	enum { ROUNDS = 200, MAILS = 100 };
	static struct mail mails[MAILS];
	struct spool_entry *straggler = mail_send("stay@x.org", span_str("I stay"));
	uint64_t id = straggler->id;
	uint64_t disk_max = 0;

	for (unsigned i = 0; i < 3; i++)
		attempt(straggler, 1, SPOOL_FATE_PENDING, "450 not now");
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < MAILS; i++) {
			mail_begin(&mails[i], "a@x.org");
			mail_append(&mails[i], span_str("a small message\r\n"));
			spool_commit(mails[i].message);
		}
		while (mails[MAILS - 1].committed_n == 0)
			turn();
		for (unsigned i = 0; i < MAILS; i++)
			finish(spool_find(spool, mails[i].id));
		reading.arrived_n = 0;
		if (disk_max < disk_bytes())
			disk_max = disk_bytes();
	}
	turns_until_idle();
	cr_expect(disk_max < 8 * SEGMENT_BYTES, "%zu", (size_t)disk_max);
	cr_expect(counter_sum(COUNTER_SPOOL_COPIES) > 0);
	cr_expect(counter_sum(COUNTER_SPOOL_COPIES) < 20, "one message is not copied for nothing");
	cr_expect(spool_find(spool, id) == straggler && straggler->attempts == 3);
	entry_holds(straggler, span_str("I stay"));
	harness_reopen(0, 1);
	cr_assert(spool_entries(spool) == 1 && found.aside == 0 && found.cut == 0);
	cr_expect(reading.arrived[0]->id == id && reading.arrived[0]->attempts == 3);
	entry_holds(reading.arrived[0], span_str("I stay"));
}

/* Restarts leave a segment each: they do not pile up behind a message that stays. */
Test(spool_segment, restarts_do_not_pile_up)
{
	mail_send("stay@x.org", span_str("I stay"));
	for (unsigned i = 0; i < 20; i++) {
		mail_send("a@x.org", span_str("x"));
		finish(reading.arrived[reading.arrived_n - 1]);
		harness_reopen(0, 1);
	}
	turns_until_idle();
	cr_expect(spool_entries(spool) == 1);
	cr_expect(disk_bytes() < 8 * SEGMENT_BYTES, "%zu", (size_t)disk_bytes());
}

Test(spool_segment, a_file_in_the_way_is_passed_over)
{
	char name[STORE_NAME_MAX];
	char path[64];
	int fd;

	turns_until_idle();
	store_segment_name(spool->logs[0]->shard->seq_next, name);
	snprintf(path, sizeof(path), "000/%s", name);
	fd = open(below_root(path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(fd >= 0);
	close(fd);
	for (unsigned i = 0; i < 40; i++) {
		struct mail mail;

		mail_begin(&mail, "a@x.org");
		mail_append(&mail, pattern(0, 20000));
		(void)mail_commit(&mail);
		if (mail.committed != 0)
			cr_expect(mail.committed == -EEXIST);
	}
	while (spool->logs[0]->make.error != 0)
		turn();
	mail_send("a@x.org", span_str("x"));
	cr_expect(unlink(below_root(path)) == 0, "it is still there");
}
