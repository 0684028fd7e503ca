/* SPDX-License-Identifier: MIT */
/* cut.c -- relay/ may deliver a message before it is stored: its word is the answer, or there is
 * none. */
#include "tests/unit/spool/harness.h"

#include <stdlib.h>

static void open_cutting(void)
{
	harness_open();
	turns_until_idle();
	reading.cuts = true;
}

TestSuite(spool_cut, .init = open_cutting, .fini = harness_close, .timeout = TEST_LIMIT_S);

static const struct smtp_verdict yes = {SMTP_VERDICT_ACCEPT, 250, "2.0.0", "queued as 7"};
static const struct smtp_verdict no = {SMTP_VERDICT_REFUSE, 550, "5.1.1", "no such user"};

static void body_is(const struct spool_body *body, struct span want)
{
	size_t n = strlen(HEAD) + want.n;
	uint8_t *p = malloc(n);
	size_t at = 0;

	cr_assert(p != NULL && body->n == n);
	if (body->fd >= 0)
		cr_assert(pread(body->fd, p, n, (off_t)body->offset) == (ssize_t)n);
	for (unsigned i = 0; body->fd < 0 && i < body->iov_n; i++) {
		cr_assert(at + body->iov[i].iov_len <= n);
		memcpy(p + at, body->iov[i].iov_base, body->iov[i].iov_len);
		at += body->iov[i].iov_len;
	}
	cr_expect(body->fd >= 0 || at == n);
	cr_expect(span_equal(span_of(p + strlen(HEAD), want.n), want));
	free(p);
}

/* Commits and waits for the question. */
static void asked(struct mail *mail, struct span body)
{
	mail_begin(mail, "a@x.org b@x.org");
	mail_append(mail, body);
	reading.cut = NULL;
	spool_commit(mail->message);
	while (reading.cut == NULL)
		turn();
	cr_assert(reading.cut->id == mail->id && reading.cut->envelope == &mail->envelope);
	body_is(&reading.cut->body, body);
	cr_expect(mail->committed_n == 0);
}

static void answered(struct mail *mail, const struct smtp_verdict *verdict)
{
	spool_cut_done(spool, reading.cut, verdict);
	cr_expect(mail->committed_n == 0, "called back from inside the call");
	while (mail->committed_n == 0)
		turn();
}

Test(spool_cut, the_next_hop_takes_it)
{
	static const size_t sizes[] = {0, 10, 100000, 600000};

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		struct mail mail;

		asked(&mail, pattern(0, sizes[i]));
		cr_expect((reading.cut->body.fd >= 0) == (sizes[i] > settings.stream_bytes));
		answered(&mail, &yes);
		cr_expect(mail.committed == 0 && mail.verdict.code == 250);
		cr_expect(strcmp(mail.text, "2.0.0 queued as 7") == 0);
		cr_expect(spool_entries(spool) == 0 && reading.arrived_n == 0);
		cr_expect(files_n("large") == 0);
	}
	harness_reopen(0, 1);
	cr_expect(found.messages == 0 && found.orphans == 0);
}

Test(spool_cut, the_next_hop_refuses_it)
{
	struct mail mail;

	asked(&mail, span_str("x"));
	answered(&mail, &no);
	cr_expect(mail.committed == 0 && mail.verdict.code == 550);
	cr_expect(mail.verdict.kind == SMTP_VERDICT_REFUSE);
	cr_expect(spool_entries(spool) == 0);
}

Test(spool_cut, no_word_so_it_is_stored)
{
	struct span small = pattern(0, 1000), large = pattern(1, 600000);
	struct mail mails[2];

	asked(&mails[0], small);
	answered(&mails[0], NULL);
	asked(&mails[1], large);
	answered(&mails[1], NULL);
	for (unsigned i = 0; i < 2; i++)
		cr_expect(mails[i].committed == 0 && mails[i].verdict.code == 0);
	cr_expect(spool_entries(spool) == 2 && reading.arrived[0]->pending_n == 2);
	entry_holds(reading.arrived[0], small);
	entry_holds(reading.arrived[1], large);
}

Test(spool_cut, what_was_delivered_is_not_delivered_again)
{
	struct mail mail;

	asked(&mail, span_str("x"));
	reading.cut->fates[1] = SPOOL_FATE_DELIVERED;
	answered(&mail, NULL);
	for (unsigned again = 0; again < 2; again++) {
		struct spool_entry *entry = spool_find(spool, mail.id);

		cr_assert(entry != NULL && entry->pending_n == 1);
		cr_expect(entry->recipients[0].fate == SPOOL_FATE_PENDING);
		cr_expect(entry->recipients[1].fate == SPOOL_FATE_DELIVERED);
		harness_reopen(0, 1);
	}
}

Test(spool_cut, relay_declines)
{
	reading.cuts = false;
	mail_send("a@x.org", span_str("x"));
	cr_expect(spool_entries(spool) == 1);
}

Test(spool_cut, a_message_that_failed_is_not_offered)
{
	struct span left = pattern(0, 6 * settings.stream_bytes);
	struct mail mail;

	cr_assert(rmdir(below_root("large")) == 0);
	mail_begin(&mail, "a@x.org");
	cr_expect(spool_append(mail.message, &left) == SPOOL_STEP_WAIT);
	reading.cut = NULL;
	cr_expect(mail_commit(&mail) == -ENOENT);
	cr_expect(reading.cut == NULL);
}
