/* SPDX-License-Identifier: MIT */
/* abort.c -- a message is given up at each stage: nothing of it stays and nobody is called back. */
#include "tests/unit/spool/harness.h"

#include <stdlib.h>

static void open_usual(void)
{
	harness_open(BUDGET_USUAL, true);
}

TestSuite(spool_abort, .init = open_usual, .fini = harness_close, .timeout = TEST_LIMIT_S);

static void give_up(struct mail *mail)
{
	unsigned ready = mail->ready_n;

	cr_expect(!spool_abort(mail->message), "no splice is under way");
	turns_until_idle();
	cr_expect(mail->ready_n == ready && mail->committed_n == 0 && mail->spliced_n == 0);
	cr_expect(files_n() == 0);
}

/* Begins a message that is just now opening its file. */
static void begin_open(struct mail *mail, const char *address)
{
	struct span left = pattern(0, 2 * SPOOL_STREAM_BYTES);

	mail_begin(mail, address);
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
	mail_append(&mail, pattern(0, 3 * SPOOL_STREAM_BYTES));
	turns_until(&mail, SPOOL_STATE_IDLE);
	cr_assert(files_n() == 1);
	give_up(&mail);
}

Test(spool_abort, each_state_while_filling)
{
	static const enum spool_state states[] = {SPOOL_STATE_OPEN, SPOOL_STATE_MAKE,
		SPOOL_STATE_DIR_OPEN, SPOOL_STATE_DIR_SYNC, SPOOL_STATE_DIR_CLOSE,
		SPOOL_STATE_WRITE};

	for (size_t i = 0; i < COUNT_OF(states); i++) {
		/* A mailbox of its own each, so that it must be made. */
		static const char *const addresses[] = {"a@example.org", "b@example.org",
			"c@example.org", "d@example.org", "e@example.org", "f@example.org"};
		struct mail mail;

		begin_open(&mail, addresses[i]);
		turns_until(&mail, states[i]);
		give_up(&mail);
	}
}

Test(spool_abort, the_envelope_may_go_at_once)
{
	struct mail *mail = malloc(sizeof(*mail));

	cr_assert(mail != NULL);
	begin_open(mail, "a@example.org");
	cr_expect(!spool_abort(mail->message));
	memset(mail, 0xa5, sizeof(*mail));
	turns_until_idle();
	free(mail);
	cr_expect(files_n() == 0);
}

Test(spool_abort, after_a_failure)
{
	struct mail mail;
	int fd = open(below_root("example.org"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert(fd >= 0);
	close(fd);
	begin_open(&mail, "a@example.org");
	while (mail.ready_n == 0)
		turn();
	cr_expect(spool_error(mail.message) == -ENOTDIR);
	cr_expect(!spool_abort(mail.message));
	turns_until_idle();
	cr_expect(files_n() == 1);
}

Test(spool_abort, others_go_on)
{
	struct mail given_up;
	struct mail other;

	begin_open(&given_up, "a@example.org");
	mail_begin(&other, "a@example.org");
	spool_commit(other.message);
	cr_expect(!spool_abort(given_up.message));
	while (other.committed_n == 0)
		turn();
	cr_expect(other.committed == 0);
	turns_until_idle();
	box_holds("example.org/a", span_str(""));
	cr_expect(files_n() == 1);
}
