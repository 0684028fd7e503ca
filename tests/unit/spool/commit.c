/* SPDX-License-Identifier: MIT */
/* commit.c -- messages that are stored: content, recipients, names of mailboxes, streaming. */
#include "tests/unit/spool/harness.h"

#include <limits.h>
#include <stdio.h>

#include "base/counter.h"

static void open_usual(void)
{
	harness_open(BUDGET_USUAL, true);
}

TestSuite(spool_commit, .init = open_usual, .fini = harness_close, .timeout = TEST_LIMIT_S);

Test(spool_commit, small_message_is_one_file_in_new)
{
	int64_t syncs = counter_sum(COUNTER_SPOOL_SYNCS);
	struct mail mail;

	mail_begin(&mail, "alice@example.org");
	mail_append(&mail, span_str("Subject: x\r\n\r\nhello\r\n"));
	cr_expect(mail_commit(&mail) == 0);
	cr_expect(mail.committed_n == 1);
	box_holds("example.org/alice", span_str("Subject: x\r\n\r\nhello\r\n"));
	cr_expect(files_n() == 1, "tmp/ is not empty");
	cr_expect(counter_sum(COUNTER_SPOOL_SYNCS) - syncs >= 5,
		"file, new/, and the mailbox up to the root are synced");
}

Test(spool_commit, a_message_may_be_nothing_but_its_head)
{
	struct mail mail;

	mail_begin(&mail, "alice@example.org");
	cr_expect(mail_commit(&mail) == 0);
	box_holds("example.org/alice", span_str(""));
}

Test(spool_commit, nothing_is_called_back_from_inside_a_call)
{
	struct mail mail;

	mail_begin(&mail, "alice@example.org");
	spool_commit(mail.message);
	cr_expect(mail.committed_n == 0);
	while (mail.committed_n == 0)
		turn();
}

Test(spool_commit, recipients_share_one_file)
{
	struct mail mail;
	struct stat a;
	struct stat b;
	char path[PATH_MAX];

	mail_begin(&mail, "a@example.org b@example.org c@example.com");
	cr_expect(mail_commit(&mail) == 0);
	box_holds("example.org/a", span_str(""));
	box_holds("example.org/b", span_str(""));
	box_holds("example.com/c", span_str(""));
	cr_expect(files_n() == 3);
	snprintf(path, sizeof(path), "example.org/a/new/%s.mx.example.org", mail.id);
	cr_assert(stat(below_root(path), &a) == 0);
	snprintf(path, sizeof(path), "example.com/c/new/%s.mx.example.org", mail.id);
	cr_assert(stat(below_root(path), &b) == 0);
	cr_expect(a.st_ino == b.st_ino && a.st_nlink == 3);
}

Test(spool_commit, one_mailbox_named_twice_gets_one_copy)
{
	struct mail mail;

	mail_begin(
		&mail, "a@example.org b@example.org B@Example.ORG \"b\"@example.org b@example.org");
	cr_expect(mail_commit(&mail) == 0);
	box_holds("example.org/a", span_str(""));
	box_holds("example.org/b", span_str(""));
	cr_expect(files_n() == 2);
}

Test(spool_commit, the_first_mailbox_may_come_again)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org A@example.org b@example.org a@EXAMPLE.org");
	cr_expect(mail_commit(&mail) == 0);
	box_holds("example.org/a", span_str(""));
	box_holds("example.org/b", span_str(""));
	cr_expect(files_n() == 2);
}

Test(spool_commit, a_name_that_begins_like_another_is_another)
{
	struct mail mail;

	mail_begin(&mail, "ab@example.org a@example.org");
	cr_expect(mail_commit(&mail) == 0);
	box_holds("example.org/ab", span_str(""));
	box_holds("example.org/a", span_str(""));
}

Test(spool_commit, mailbox_names)
{
	static const struct {
		const char *address;
		const char *box;
	} rows[] = {
		{"Alice.B@Example.ORG", "example.org/alice.b"},
		{"a+b=c_d-e@x.org", "x.org/a+b=c_d-e"},
		{".a.@x.org", "x.org/%2Ea."},
		{"..@x.org", "x.org/%2E."},
		{"../../etc/passwd@x.org", "x.org/%2E.%2F..%2Fetc%2Fpasswd"},
		{"\"a/b\"@x.org", "x.org/a%2Fb"},
		{"\"a b\"@x.org", "x.org/a%20b"},
		{"\"a\\\"b\\\\c\"@x.org", "x.org/a%22b%5Cc"},
		{"\"q\"@x.org", "x.org/q"},
		{"\"\"@x.org", "x.org/%00"},
		{"%2F@x.org", "x.org/%252f"},
		{"gr\xc3\xbcn@x.org", "x.org/gr%C3%BCn"},
		{"a@[192.0.2.1]", "[192.0.2.1]/a"},
		{"a@[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]/a"},
		{"postmaster", "mx.example.org/postmaster"},
		{"PostMaster", "mx.example.org/postmaster"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct mail mail;
		char box[SPOOL_BOX_MAX];

		mail_init(&mail, "x@x.org");
		mail.recipients[0].address.local = span_str(rows[i].address);
		mail.recipients[0].address.domain = (struct span){0};
		if (strrchr(rows[i].address, '@') != NULL) {
			const char *at = strrchr(rows[i].address, '@');

			mail.recipients[0].address.local.n = (size_t)(at - rows[i].address);
			mail.recipients[0].address.domain = span_str(at + 1);
		}
		spool_box_path(spool, &mail.recipients[0].address, box);
		cr_expect(strcmp(box, rows[i].box) == 0, "%s: %s", rows[i].address, box);
	}
}

Test(spool_commit, the_longest_address_fits)
{
	char text[64 + 1 + 255 + 1];
	char box[SPOOL_BOX_MAX];
	struct smtp_address address = {
		.local = span_of(text, 64), .domain = span_of(text + 65, 255)};
	struct mail mail;

	memset(text, 0xe9, sizeof(text));
	memset(text + 65, 'd', 255);
	mail_begin(&mail, "a@example.org");
	spool_box_path(spool, &address, box);
	cr_expect(strlen(box) == 255 + 1 + 3 * 64);
	mail.recipients[1].address = address;
	list_push_back(&mail.envelope.recipients, &mail.recipients[1].node);
	mail.envelope.recipients_n++;
	cr_expect(mail_commit(&mail) == 0);
	cr_expect(files_n() == 2);
}

Test(spool_commit, odd_addresses_get_mail)
{
	struct mail mail;

	mail_begin(&mail, "../x@example.org \"\"@example.org \"a/b\"@example.org");
	cr_expect(mail_commit(&mail) == 0);
	box_holds("example.org/%2E.%2Fx", span_str(""));
	box_holds("example.org/%00", span_str(""));
	box_holds("example.org/a%2Fb", span_str(""));
	cr_expect(files_n() == 3);
}

Test(spool_commit, second_message_finds_the_mailbox_made)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	cr_expect(mail_commit(&mail) == 0);
	mail_begin(&mail, "a@example.org");
	cr_expect(mail_commit(&mail) == 0);
	cr_expect(files_n() == 2);
}

Test(spool_commit, a_mailbox_half_made_is_completed)
{
	static const char *const dirs[] = {"", "/cur", "/new", "/tmp"};
	struct mail mail;

	cr_assert(mkdir(below_root("example.org"), 0700) == 0);
	for (size_t made = 0; made <= COUNT_OF(dirs); made++) {
		char path[64];
		char address[32];

		snprintf(address, sizeof(address), "box%zu@example.org", made);
		for (size_t i = 0; i < made; i++) {
			snprintf(path, sizeof(path), "example.org/box%zu%s", made, dirs[i]);
			cr_assert(mkdir(below_root(path), 0700) == 0);
		}
		mail_begin(&mail, address);
		cr_expect(
			mail_commit(&mail) == 0, "with %zu directories: %d", made, mail.committed);
	}
	cr_expect(files_n() == COUNT_OF(dirs) + 1);
}

/* What mail_init makes must not be taken for a mailbox that stands: tmp/ is made last. */
Test(spool_commit, tmp_is_the_last_directory_made)
{
	struct mail mail;
	struct stat st;

	mail_begin(&mail, "a@example.org");
	spool_commit(mail.message);
	while (mail.committed_n == 0) {
		turn();
		if (stat(below_root("example.org/a/tmp"), &st) == 0) {
			cr_expect(stat(below_root("example.org/a/new"), &st) == 0);
			cr_expect(stat(below_root("example.org/a/cur"), &st) == 0);
		}
	}
}

/* ---- large messages ---- */

#define LARGE_BYTES (5u * 1024 * 1024 + 123)

Test(spool_commit, large_message_streams_in_bounded_memory)
{
	struct span all = pattern(0, LARGE_BYTES);
	uint32_t blocks_max = 0;
	struct mail mail;
	unsigned waits = 0;
	struct span left = all;

	mail_begin(&mail, "a@example.org b@example.org");
	while (left.n > 0) {
		unsigned ready = mail.ready_n;
		struct span part = span_take(&left, 70001);

		while (part.n > 0) {
			enum spool_step step = spool_append(mail.message, &part);

			cr_assert(step != SPOOL_STEP_FAIL);
			if (spool->blocks.live > blocks_max)
				blocks_max = spool->blocks.live;
			for (; step == SPOOL_STEP_WAIT && mail.ready_n == ready; waits++)
				turn();
			ready = mail.ready_n;
		}
	}
	cr_expect(waits > 0, "it never had to wait");
	cr_expect(blocks_max <= 2 * SPOOL_BLOCKS_MAX);
	cr_expect(mail_commit(&mail) == 0);
	box_holds("example.org/a", all);
	box_holds("example.org/b", all);
}

Test(spool_commit, commit_while_a_write_is_under_way)
{
	struct span all = pattern(0, SPOOL_STREAM_BYTES + 5000);
	struct span left = all;
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	cr_assert(spool_append(mail.message, &left) == SPOOL_STEP_WAIT);
	turns_until(&mail, SPOOL_STATE_WRITE);
	cr_assert(spool_append(mail.message, &left) == SPOOL_STEP_OK && left.n == 0);
	cr_expect(mail.message->op.armed);
	cr_expect(mail_commit(&mail) == 0);
	box_holds("example.org/a", all);
}

Test(spool_commit, many_at_once)
{
	static struct mail mails[50];
	unsigned done = 0;

	for (unsigned i = 0; i < COUNT_OF(mails); i++) {
		static char addresses[COUNT_OF(mails)][64];

		snprintf(addresses[i], sizeof(addresses[i]), "u%u@example.org all@example.org", i);
		mail_begin(&mails[i], addresses[i]);
		mail_append(&mails[i], pattern(i, 1000 + i));
		spool_commit(mails[i].message);
	}
	while (done < COUNT_OF(mails)) {
		done = 0;
		turn();
		for (unsigned i = 0; i < COUNT_OF(mails); i++)
			done += mails[i].committed_n;
	}
	for (unsigned i = 0; i < COUNT_OF(mails); i++) {
		char box[64];

		cr_expect(mails[i].committed == 0, "%u: %d", i, mails[i].committed);
		snprintf(box, sizeof(box), "example.org/u%u", i);
		box_holds(box, pattern(i, 1000 + i));
	}
	cr_expect(files_n() == 2 * COUNT_OF(mails));
}

Test(spool_commit, ids_differ_and_rise)
{
	char a[SPOOL_ID_MAX];
	char b[SPOOL_ID_MAX];

	spool_id(spool, a);
	for (unsigned i = 0; i < 1000; i++) {
		spool_id(spool, b);
		cr_assert(strcmp(a, b) < 0);
		memcpy(a, b, sizeof(a));
	}
}

static void open_not_durable(void)
{
	harness_open(BUDGET_USUAL, false);
}

TestSuite(spool_fast, .init = open_not_durable, .fini = harness_close, .timeout = TEST_LIMIT_S);

Test(spool_fast, without_durability_nothing_is_synced)
{
	int64_t syncs = counter_sum(COUNTER_SPOOL_SYNCS);
	struct mail mail;

	mail_begin(&mail, "a@example.org b@example.com a@example.org");
	mail_append(&mail, pattern(0, 700000));
	cr_expect(mail_commit(&mail) == 0);
	box_holds("example.org/a", pattern(0, 700000));
	box_holds("example.com/b", pattern(0, 700000));
	cr_expect(files_n() == 2);
	cr_expect(counter_sum(COUNTER_SPOOL_SYNCS) == syncs);
}
