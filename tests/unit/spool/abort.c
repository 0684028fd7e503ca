/* SPDX-License-Identifier: MIT */
/* abort.c -- a message is given up at each stage: nothing of it stays and nobody is called back. */
#include "tests/unit/spool/harness.h"

#include <stdlib.h>

TestSuite(spool_abort, .init = harness_open, .fini = harness_close, .timeout = TEST_LIMIT_S);

static void give_up(struct mail *mail)
{
	unsigned ready = mail->ready_n;

	cr_expect(!spool_abort(mail->message), "no splice is under way");
	turns_until_idle();
	cr_expect(mail->ready_n == ready && mail->committed_n == 0 && mail->spliced_n == 0);
	cr_expect(files_n("large") == 0 && spool_entries(spool) == 0);
}

/* Begins a message that is just now opening its file, and has more than may wait for that. */
static void begin_open(struct mail *mail)
{
	struct span left = pattern(0, 6 * settings.stream_bytes);

	mail_begin(mail, "a@example.org");
	cr_assert(spool_append(mail->message, &left) == SPOOL_STEP_WAIT);
	cr_assert(mail->message->state == SPOOL_STATE_OPEN);
}

Test(spool_abort, idle_without_a_file)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	give_up(&mail);
}

Test(spool_abort, idle_with_a_file)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	mail_append(&mail, pattern(0, 3 * settings.stream_bytes));
	turns_until(&mail, SPOOL_STATE_IDLE);
	cr_assert(files_n("large") == 1);
	give_up(&mail);
}

Test(spool_abort, each_state_while_filling)
{
	static const enum spool_state states[] = {SPOOL_STATE_OPEN, SPOOL_STATE_WRITE};

	for (size_t i = 0; i < COUNT_OF(states); i++) {
		struct mail mail;

		begin_open(&mail);
		turns_until(&mail, states[i]);
		give_up(&mail);
	}
}

Test(spool_abort, the_envelope_may_go_at_once)
{
	struct mail *mail = malloc(sizeof(*mail));

	cr_assert(mail != NULL);
	begin_open(mail);
	cr_expect(!spool_abort(mail->message));
	memset(mail, 0xa5, sizeof(*mail));
	turns_until_idle();
	free(mail);
	cr_expect(files_n("large") == 0);
}

Test(spool_abort, after_a_failure)
{
	struct mail mail;

	cr_assert(rmdir(below_root("large")) == 0);
	begin_open(&mail);
	while (mail.ready_n == 0)
		turn();
	cr_expect(spool_error(mail.message) == -ENOENT);
	give_up(&mail);
}

Test(spool_abort, others_go_on)
{
	struct mail given_up;

	begin_open(&given_up);
	mail_send("a@example.org", span_str("x"));
	cr_expect(!spool_abort(given_up.message));
	turns_until_idle();
	cr_expect(spool_entries(spool) == 1);
	entry_holds(reading.arrived[0], span_str("x"));
}
