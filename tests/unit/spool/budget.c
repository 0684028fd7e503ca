/* SPDX-License-Identifier: MIT */
/* budget.c -- memory for message octets runs out: refusal, failure or waiting, never a stand-still.
 */
#include "tests/unit/spool/harness.h"

#define BLOCKS(n) ((uint64_t)(n)*SPOOL_BLOCK_BYTES)

static void open_three_blocks(void)
{
	settings.memory_bytes_max = BLOCKS(3);
	harness_open();
	turns_until_idle();
}

TestSuite(spool_budget, .init = open_three_blocks, .fini = harness_close, .timeout = TEST_LIMIT_S);

Test(spool_budget, no_message_begins_without_a_block)
{
	struct mail mails[3];
	struct mail late;

	for (unsigned i = 0; i < COUNT_OF(mails); i++)
		mail_begin(&mails[i], "a@example.org");
	mail_init(&late, "a@example.org");
	cr_expect(spool_begin(spool, &late.owner, &late.envelope, late.id, span_str(HEAD)) == NULL);
	cr_expect(mail_commit(&mails[0]) == 0);
	mail_begin(&late, "a@example.org");
	cr_expect(mail_commit(&late) == 0);
	cr_expect(!spool_abort(mails[1].message) && !spool_abort(mails[2].message));
	turns_until_idle();
	cr_expect(spool_entries(spool) == 2);
}

Test(spool_budget, a_message_larger_than_memory_streams)
{
	struct span all = pattern(0, BLOCKS(20) + 77);
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	mail_append(&mail, all);
	cr_expect(mail.ready_n > 0);
	cr_expect(mail_commit(&mail) == 0);
	entry_holds(reading.arrived[0], all);
}

/* Two that want more than there is in all, taking turns: both get through, or are told no. */
Test(spool_budget, two_share_what_is_there)
{
	struct span all = pattern(0, BLOCKS(10));
	struct mail mails[2];
	struct span left[2] = {all, all};
	bool waits[2] = {false, false};

	mail_begin(&mails[0], "a@example.org");
	mail_begin(&mails[1], "b@example.org");
	while (left[0].n > 0 || left[1].n > 0) {
		for (unsigned i = 0; i < 2; i++) {
			struct span part = span_of(left[i].p, min_size(left[i].n, 4096));
			size_t before = part.n;
			enum spool_step step;

			waits[i] = waits[i] && mails[i].ready_n == 0;
			if (waits[i] || part.n == 0)
				continue;
			mails[i].ready_n = 0;
			step = spool_append(mails[i].message, &part);
			cr_assert(step != SPOOL_STEP_FAIL, "a message that held a block failed");
			waits[i] = step == SPOOL_STEP_WAIT;
			(void)span_take(&left[i], before - part.n);
		}
		if ((waits[0] || left[0].n == 0) && (waits[1] || left[1].n == 0) &&
			(waits[0] || waits[1]))
			turn();
	}
	cr_expect(mail_commit(&mails[0]) == 0);
	cr_expect(mail_commit(&mails[1]) == 0);
	entry_holds(spool_find(spool, mails[0].id), all);
	entry_holds(spool_find(spool, mails[1].id), all);
}

/* What was written is given back, others take it all: the next octet finds nothing and nobody of
 * ours that could give some back. */
Test(spool_budget, nothing_left_for_a_message_that_holds_nothing_fails_it)
{
	struct span all = pattern(0, BLOCKS(4));
	struct mail others[3];
	struct span left = all;
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	cr_assert(spool_append(mail.message, &left) == SPOOL_STEP_WAIT);
	while (mail.ready_n == 0 || spool->blocks.live > 0)
		turn();
	for (unsigned i = 0; i < COUNT_OF(others); i++)
		mail_begin(&others[i], "b@example.org");
	cr_expect(spool_append(mail.message, &left) == SPOOL_STEP_FAIL);
	cr_expect(spool_error(mail.message) == -ENOMEM);
	cr_expect(mail_commit(&mail) == -ENOMEM);
	for (unsigned i = 0; i < COUNT_OF(others); i++)
		cr_expect(mail_commit(&others[i]) == 0);
	cr_expect(spool_entries(spool) == COUNT_OF(others));
}

/* Senders that stop in mid-message do not keep the memory from others. */
Test(spool_budget, stalled_messages_leave_room)
{
	static struct mail stalled[12];
	struct mail mail;

	for (unsigned i = 0; i < COUNT_OF(stalled); i++) {
		mail_begin(&stalled[i], "a@example.org");
		while (spool->blocks.live > 1)
			turn();
	}
	mail_begin(&mail, "b@example.org");
	mail_append(&mail, pattern(0, BLOCKS(5)));
	cr_expect(mail_commit(&mail) == 0);
	entry_holds(reading.arrived[0], pattern(0, BLOCKS(5)));
	for (unsigned i = 0; i < COUNT_OF(stalled); i++)
		cr_expect(mail_commit(&stalled[i]) == 0);
	cr_expect(spool_entries(spool) == COUNT_OF(stalled) + 1);
}

/* However many workers share however little, each takes mail. */
Test(spool_budget, a_share_is_never_nothing)
{
	harness_reopen(0, 8);
	(void)mail_send("a@example.org", pattern(0, 100000));
	(void)mail_send("b@example.org", span_str("x"));
	cr_expect(spool_entries(spool) == 2);
}
