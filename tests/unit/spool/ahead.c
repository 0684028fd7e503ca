/* SPDX-License-Identifier: MIT */
/* ahead.c -- large messages are on their way to the disk before they are synced. */
#include "tests/unit/spool/harness.h"

#define BODY_BYTES (4u << 20)

static void open_cached(void)
{
	harness_open();
	spool->no_direct = true;
}

TestSuite(spool_ahead, .init = open_cached, .fini = harness_close, .timeout = TEST_LIMIT_S);

Test(spool_ahead, most_of_a_large_message_was_begun_with_before_its_end)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	mail_append(&mail, pattern(0, BODY_BYTES));
	while (spool->ahead.armed || mail.message->state != SPOOL_STATE_IDLE)
		turn();
	cr_expect(mail.message->ahead >= SPOOL_AHEAD_BYTES, "%llu",
		(unsigned long long)mail.message->ahead);
	cr_expect(mail.message->ahead <= mail.message->written);
	cr_assert(mail_commit(&mail) == 0);
	entry_holds(reading.arrived[0], pattern(0, BODY_BYTES));
}

Test(spool_ahead, a_short_one_is_left_to_its_sync)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	mail_append(&mail, pattern(0, settings.stream_bytes + 1));
	while (mail.message->state != SPOOL_STATE_IDLE)
		turn();
	cr_expect(mail.message->ahead == 0);
	cr_assert(mail_commit(&mail) == 0);
}

Test(spool_ahead, nothing_is_where_nothing_is_synced)
{
	struct mail mail;

	settings.durable = false;
	mail_begin(&mail, "a@example.org");
	mail_append(&mail, pattern(0, BODY_BYTES));
	cr_expect(mail.message->ahead == 0);
	cr_expect(!spool->ahead.armed);
	cr_assert(mail_commit(&mail) == 0);
	settings.durable = true;
}

Test(spool_ahead, it_may_outlive_its_message)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	mail_append(&mail, pattern(0, BODY_BYTES));
	cr_assert(mail_commit(&mail) == 0);
	/* As if the kernel took its time: the spool is not idle while the operation is under way. */
	ring_write_out(ring, &spool->ahead, spool->logs[0]->head->fd, 0, 4096);
	cr_expect(!spool_idle(spool));
	turns_until_idle();
	cr_expect(!spool->ahead.armed);
}
