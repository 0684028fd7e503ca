/* SPDX-License-Identifier: MIT */
/*
 * maildir.c -- jobs into Maildirs: content, recipients, names of mailboxes, what a crash leaves, and
 * each step failing once. Real directories, a real ring; no spool.
 */
#include "relay/relay-private.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/counter.h"
#include "tests/lib/unit.h"

#define HEAD           "Return-Path: <s@example.net>\r\n"
#define HOSTNAME       "mx.example.org"
#define RECIPIENTS_MAX 8
#define TEST_LIMIT_S   60
#define ID             0x1a2b3c4d5eull

static struct config config;
static struct ring *ring;
static struct relay relay;
static char root[64];
static const char *maildirs[1] = {root};
static int root_fd;
static unsigned fds_before;

/* ---- rig ---- */

static void *patterns[32]; /* given back by rig_close() */
static size_t patterns_n;

static void rig_open(bool durable)
{
	const struct ring_settings ring_settings = {64, 8, 4, 4};
	struct err err = {0};

	if (root[0] == '\0') {
		snprintf(root, sizeof(root), "/tmp/postern-maildir-XXXXXX");
		cr_assert(mkdtemp(root) != NULL);
	}
	memset(&config, 0, sizeof(config));
	config.smtp.hostname = HOSTNAME;
	config.spool.durable = durable;
	config.relay.maildirs = maildirs;
	config.relay.maildirs_n = 1;
	cr_assert(ring_open(&ring, &ring_settings, &err) == 0, "%s", err.text);
	root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(root_fd >= 0);
	memset(&relay, 0, sizeof(relay));
	relay.facts =
		(struct relay_facts){.config = &config, .ring = ring, .maildir_fds = &root_fd};
	relay.settings = &config.relay;
	cr_assert(relay_maildirs_open(&relay, &err) == 0);
	fds_before = unit_fds_n();
}

static void rig_close(void)
{
	cr_expect(relay_maildirs_idle(&relay));
	cr_expect(
		unit_fds_n() == fds_before, "%u descriptors, %u before", unit_fds_n(), fds_before);
	relay_maildirs_close(&relay);
	ring_close(ring);
	close(root_fd);
	while (patterns_n > 0)
		free(patterns[--patterns_n]);
	(void)unit_remove_tree(root);
}

static void open_durable(void)
{
	rig_open(true);
}

static void open_fast(void)
{
	rig_open(false);
}

static void stop(void *ctx)
{
	ring_stop(ctx);
}

static void turn(void)
{
	ring_run(ring, stop, ring);
}

/* ---- jobs ---- */

struct mail {
	struct relay_job job;
	struct smtp_envelope envelope;
	struct smtp_recipient smtp[RECIPIENTS_MAX];
	struct relay_job_recipient recipients[RECIPIENTS_MAX];
	struct relay_outcome outcomes[RECIPIENTS_MAX];
	struct spool_body body;
	struct iovec iov[8];
	uint64_t id;
	unsigned done_n;
};

static void on_done(struct relay_job *job)
{
	container_of(job, struct mail, job)->done_n++;
}

static struct smtp_address address_of(struct span text)
{
	struct smtp_address address = {.text = text, .local = text};
	const uint8_t *at = memrchr(text.p, '@', text.n);

	if (at != NULL) {
		address.local.n = (size_t)(at - text.p);
		address.domain = span_of(at + 1, text.n - address.local.n - 1);
	}
	return address;
}

static uint64_t next_id = ID;

static void mail_init(struct mail *mail, const char *addresses, struct span body)
{
	uint32_t n = 0;

	memset(mail, 0, sizeof(*mail));
	mail->id = next_id++;
	mail->envelope.reverse_path = address_of(span_str("s@example.net"));
	list_init(&mail->envelope.recipients);
	while (*addresses != '\0') {
		size_t length = strcspn(addresses, " ");

		cr_assert(n < RECIPIENTS_MAX);
		mail->smtp[n].address = address_of(span_of(addresses, length));
		mail->outcomes[n].result = RELAY_RESULT_NEVER;
		mail->recipients[n] = (struct relay_job_recipient){
			.smtp = &mail->smtp[n], .index = n, .outcome = &mail->outcomes[n]};
		addresses += length + (addresses[length] == ' ');
		n++;
	}
	mail->iov[0] = (struct iovec){(void *)(uintptr_t)body.p, body.n};
	mail->body =
		(struct spool_body){.fd = -1, .n = body.n, .iov = mail->iov, .iov_n = body.n > 0};
	mail->job = (struct relay_job){.envelope = &mail->envelope,
		.recipients = mail->recipients,
		.recipients_n = n,
		.body = &mail->body,
		.done = on_done};
}

static void mail_start(struct mail *mail)
{
	cr_assert(relay_maildir_give(&relay, root_fd, mail->id, &mail->job));
	cr_assert(mail->done_n == 0, "called back from inside the call");
}

static void mail_give(struct mail *mail)
{
	mail->done_n = 0;
	mail_start(mail);
	while (mail->done_n == 0)
		turn();
	cr_assert(mail->done_n == 1);
}

static void expect_done(const struct mail *mail, uint32_t i)
{
	const struct relay_outcome *outcome = &mail->outcomes[i];

	cr_expect(outcome->result == RELAY_RESULT_DONE, "%u: %s", i, outcome->text);
	cr_expect(outcome->code == 250);
	cr_expect_str_eq(outcome->enhanced, "2.0.0");
	cr_expect_str_eq(outcome->text, "delivered to Maildir");
}

static void expect_all_done(const struct mail *mail)
{
	for (uint32_t i = 0; i < mail->job.recipients_n; i++)
		expect_done(mail, i);
}

static void expect_later(const struct mail *mail, uint32_t i, int error)
{
	const struct relay_outcome *outcome = &mail->outcomes[i];
	bool space = error == ENOSPC;

	cr_expect(outcome->result == RELAY_RESULT_LATER, "%u: %d", i, (int)outcome->result);
	cr_expect(outcome->code == (space ? 452 : 451));
	cr_expect_str_eq(outcome->enhanced, space ? "4.3.1" : "4.3.0");
	cr_expect(strstr(outcome->text, strerror(error)) != NULL, "%u: %s", i, outcome->text);
}

/* ---- octets and files ---- */

static struct span pattern(size_t n)
{
	uint8_t *p = malloc(n);

	cr_assert(p != NULL && patterns_n < COUNT_OF(patterns));
	patterns[patterns_n++] = p;
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 31 + i / 251 + i / 65537);
	return span_of(p, n);
}

static const char *below_root(const char *path)
{
	static char full[2 * PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", root, path);
	return full;
}

static unsigned files;

static int file_count(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path;
	(void)ftw;
	files += type == FTW_F && S_ISREG(st->st_mode);
	return 0;
}

static unsigned files_n(void)
{
	files = 0;
	(void)nftw(root, file_count, UNIT_WALK_FDS_MAX, FTW_PHYS);
	return files;
}

static const char *name_of(const struct mail *mail, const char *box, const char *leaf)
{
	static char path[PATH_MAX];
	char id[SPOOL_ID_MAX];

	spool_id_text(mail->id, id);
	snprintf(path, sizeof(path), "%s/%s/%s.%s", box, leaf, id, HOSTNAME);
	return below_root(path);
}

/* This message stands in the mailbox's new/ and nothing in its tmp/. */
static void box_holds(const struct mail *mail, const char *box, struct span body)
{
	const char *path = name_of(mail, box, "new");
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *p;

	cr_assert(fd >= 0 && fstat(fd, &st) == 0, "%s: %s", path, strerror(errno));
	cr_expect((st.st_mode & 07777) == 0600, "mode %o", st.st_mode & 07777);
	cr_assert((size_t)st.st_size == strlen(HEAD) + body.n, "%s: %zu octets", path,
		(size_t)st.st_size);
	p = malloc((size_t)st.st_size);
	cr_assert(p != NULL && pread(fd, p, (size_t)st.st_size, 0) == st.st_size);
	close(fd);
	cr_expect(memcmp(p, HEAD, strlen(HEAD)) == 0, "another head");
	cr_expect(span_equal(span_of(p + strlen(HEAD), body.n), body), "another body");
	free(p);
	cr_assert(stat(below_root(box), &st) == 0);
	cr_expect((st.st_mode & 07777) == 0700, "mailbox of mode %o", st.st_mode & 07777);
	cr_expect(access(name_of(mail, box, "tmp"), F_OK) != 0);
}

static void file_put(const char *full, const char *content)
{
	int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert(fd >= 0, "%s: %s", full, strerror(errno));
	cr_assert(write(fd, content, strlen(content)) == (ssize_t)strlen(content));
	close(fd);
}

static void box_make(const char *box)
{
	static const char *const leaves[] = {"", "/tmp", "/new", "/cur"};
	char path[128];

	snprintf(path, sizeof(path), "%.*s", (int)strcspn(box, "/"), box);
	cr_assert(mkdir(below_root(path), 0700) == 0 || errno == EEXIST);
	for (size_t i = 0; i < COUNT_OF(leaves); i++) {
		snprintf(path, sizeof(path), "%s%s", box, leaves[i]);
		cr_assert(mkdir(below_root(path), 0700) == 0 || errno == EEXIST);
	}
}

static struct mail mail, other;
static const struct span none;

/* ---- what is delivered ---- */

TestSuite(maildir, .init = open_durable, .fini = rig_close, .timeout = TEST_LIMIT_S);

Test(maildir, small_message_is_one_file_in_new)
{
	int64_t syncs = counter_sum(COUNTER_RELAY_MAILDIR_SYNCS);
	char hop[SPOOL_HOP_MAX];

	mail_init(&mail, "alice@example.org", span_str("Subject: x\r\n\r\nhello\r\n"));
	mail_give(&mail);
	expect_all_done(&mail);
	box_holds(&mail, "example.org/alice", span_str("Subject: x\r\n\r\nhello\r\n"));
	cr_expect(files_n() == 1);
	cr_expect(counter_sum(COUNTER_RELAY_MAILDIR_SYNCS) - syncs == 5,
		"file, new/, and the mailbox up to the root are synced");
	snprintf(hop, sizeof(hop), "maildir:%s", root);
	cr_expect_str_eq(mail.job.next_hop, hop);
	cr_expect(mail.job.ended_ms >= mail.job.started_ms && mail.job.started_ms > 0);
}

Test(maildir, an_empty_body_and_the_null_reverse_path)
{
	char got[32];
	int fd;

	mail_init(&mail, "alice@example.org", none);
	mail.envelope.reverse_path = (struct smtp_address){0};
	mail_give(&mail);
	expect_all_done(&mail);
	fd = open(name_of(&mail, "example.org/alice", "new"), O_RDONLY | O_CLOEXEC);
	cr_assert(read(fd, got, sizeof(got)) == 17);
	cr_expect(memcmp(got, "Return-Path: <>\r\n", 17) == 0);
	close(fd);
}

/* From memory in pieces and from a file at an offset, around the size of the buffer. */
Test(maildir, bodies_of_all_sizes_from_both_sources)
{
	static const size_t sizes[] = {
		1, 1000, 262144 - 30, 262144 - 29, 262144, 262145, 600000, 3 * 1024 * 1024 + 7};
	struct span all = pattern(3 * 1024 * 1024 + 7);
	char path[] = "/tmp/postern-body-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	cr_assert(fd >= 0 && unlink(path) == 0);
	cr_assert(pwrite(fd, all.p, all.n, 777) == (ssize_t)all.n);
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		struct span body = span_of(all.p, sizes[i]);
		size_t third = body.n / 3;

		mail_init(&mail, "memory@example.org", body);
		mail.iov[0] = (struct iovec){(void *)(uintptr_t)body.p, third};
		mail.iov[1] = (struct iovec){(void *)(uintptr_t)(body.p + third), 0};
		mail.iov[2] = (struct iovec){(void *)(uintptr_t)(body.p + third), body.n - third};
		mail.body.iov_n = 3;
		mail_give(&mail);
		expect_all_done(&mail);
		box_holds(&mail, "example.org/memory", body);
		mail_init(&mail, "file@example.org", body);
		mail.body = (struct spool_body){.fd = fd, .offset = 777, .n = body.n};
		mail_give(&mail);
		expect_all_done(&mail);
		box_holds(&mail, "example.org/file", body);
	}
	close(fd);
}

Test(maildir, a_body_that_ends_early_is_an_error)
{
	char path[] = "/tmp/postern-body-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	cr_assert(fd >= 0 && unlink(path) == 0 && pwrite(fd, "short", 5, 0) == 5);
	mail_init(&mail, "a@example.org b@example.org", none);
	mail.body = (struct spool_body){.fd = fd, .n = 6};
	mail_give(&mail);
	expect_later(&mail, 0, EIO);
	expect_later(&mail, 1, EIO);
	cr_expect(files_n() == 0);
	close(fd);
}

Test(maildir, recipients_share_one_file)
{
	struct stat a;
	struct stat c;

	mail_init(&mail, "a@example.org b@example.org c@example.com", none);
	mail_give(&mail);
	expect_all_done(&mail);
	box_holds(&mail, "example.org/a", none);
	box_holds(&mail, "example.org/b", none);
	box_holds(&mail, "example.com/c", none);
	cr_expect(files_n() == 3);
	cr_assert(stat(name_of(&mail, "example.org/a", "new"), &a) == 0);
	cr_assert(stat(name_of(&mail, "example.com/c", "new"), &c) == 0);
	cr_expect(a.st_ino == c.st_ino && a.st_nlink == 3);
}

Test(maildir, one_mailbox_named_twice_gets_one_copy)
{
	static const char *const rows[] = {
		"a@example.org b@example.org B@Example.ORG \"b\"@example.org b@example.org",
		"a@example.org A@example.org b@example.org a@EXAMPLE.org",
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		mail_init(&mail, rows[i], none);
		mail_give(&mail);
		expect_all_done(&mail);
		box_holds(&mail, "example.org/a", none);
		box_holds(&mail, "example.org/b", none);
		cr_expect(files_n() == 2 * (i + 1));
	}
}

Test(maildir, a_name_that_begins_like_another_is_another)
{
	mail_init(&mail, "ab@example.org a@example.org", none);
	mail_give(&mail);
	box_holds(&mail, "example.org/ab", none);
	box_holds(&mail, "example.org/a", none);
}

Test(maildir, mailbox_names)
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
		struct smtp_address address = address_of(span_str(rows[i].address));
		char box[RELAY_BOX_MAX];

		relay_maildir_box(HOSTNAME, &address, box);
		cr_expect(strcmp(box, rows[i].box) == 0, "%s: %s", rows[i].address, box);
	}
}

Test(maildir, the_longest_address_fits)
{
	char text[64 + 1 + 255 + 1];
	char box[RELAY_BOX_MAX];
	struct smtp_address address = {
		.local = span_of(text, 64), .domain = span_of(text + 65, 255)};

	memset(text, 0xe9, sizeof(text));
	memset(text + 65, 'd', 255);
	relay_maildir_box(HOSTNAME, &address, box);
	cr_expect(strlen(box) == 255 + 1 + 3 * 64);
	mail_init(&mail, "a@example.org b@example.org", none);
	mail.smtp[1].address = address;
	mail_give(&mail);
	expect_all_done(&mail);
	cr_expect(files_n() == 2);
}

Test(maildir, odd_addresses_get_mail)
{
	mail_init(&mail, "../x@example.org \"\"@example.org \"a/b\"@example.org", none);
	mail_give(&mail);
	box_holds(&mail, "example.org/%2E.%2Fx", none);
	box_holds(&mail, "example.org/%00", none);
	box_holds(&mail, "example.org/a%2Fb", none);
	cr_expect(files_n() == 3);
}

Test(maildir, a_mailbox_half_made_is_completed)
{
	static const char *const dirs[] = {"", "/cur", "/new", "/tmp"};

	cr_assert(mkdir(below_root("example.org"), 0700) == 0);
	for (size_t made = 0; made <= COUNT_OF(dirs); made++) {
		char path[64];
		char address[64];

		snprintf(address, sizeof(address), "first@example.org box%zu@example.org", made);
		for (size_t i = 0; i < made; i++) {
			snprintf(path, sizeof(path), "example.org/box%zu%s", made, dirs[i]);
			cr_assert(mkdir(below_root(path), 0700) == 0);
		}
		mail_init(
			&mail, made % 2 == 0 ? address : address + strcspn(address, " ") + 1, none);
		mail_give(&mail);
		expect_all_done(&mail);
	}
}

/* Whoever finds tmp/ must find a whole mailbox. */
Test(maildir, tmp_is_the_last_directory_made)
{
	struct stat st;

	mail_init(&mail, "a@example.org", none);
	mail_start(&mail);
	while (mail.done_n == 0) {
		turn();
		if (stat(below_root("example.org/a/tmp"), &st) == 0) {
			cr_expect(stat(below_root("example.org/a/new"), &st) == 0);
			cr_expect(stat(below_root("example.org/a/cur"), &st) == 0);
		}
	}
}

Test(maildir, many_at_once_up_to_a_bound)
{
	static struct mail mails[300];
	int64_t full = counter_sum(COUNTER_RELAY_MAILDIR_FULL);
	struct span body = pattern(5000);
	unsigned given = 0;
	unsigned done = 0;

	for (; given < COUNT_OF(mails); given++) {
		mail_init(&mails[given], "u@example.org all@example.org", body);
		if (!relay_maildir_give(&relay, root_fd, mails[given].id, &mails[given].job))
			break;
	}
	cr_expect(given == 256, "%u", given);
	cr_expect(counter_sum(COUNTER_RELAY_MAILDIR_FULL) == full + 1);
	cr_expect(!relay_maildirs_idle(&relay));
	while (done < given) {
		done = 0;
		turn();
		for (unsigned i = 0; i < given; i++)
			done += mails[i].done_n;
	}
	for (unsigned i = 0; i < given; i++) {
		expect_all_done(&mails[i]);
		box_holds(&mails[i], "example.org/u", body);
		box_holds(&mails[i], "example.org/all", body);
	}
	cr_expect(files_n() == 2 * given);
	mail_give(&mails[given]);
	expect_all_done(&mails[given]);
}

/* Two jobs of one message would share a name in tmp/: the second waits. */
Test(maildir, a_message_is_written_once_at_a_time)
{
	static struct mail third;

	mail_init(&mail, "a@example.org", none);
	mail_init(&other, "A@example.org b@example.org", none);
	mail_init(&third, "a@example.org c@example.org", none);
	other.id = third.id = mail.id;
	mail_start(&mail);
	mail_start(&other);
	mail_start(&third);
	while (third.done_n == 0) {
		turn();
		cr_assert(other.done_n <= mail.done_n && third.done_n <= other.done_n);
	}
	expect_all_done(&mail);
	expect_all_done(&other);
	expect_all_done(&third);
	cr_expect(files_n() == 3);
}

/* ---- what a crash leaves ---- */

Test(maildir, delivered_again_after_a_crash_is_delivered_once)
{
	struct span body = pattern(3000);

	mail_init(&mail, "a@example.org b@example.org c@example.org", body);
	mail_give(&mail);
	for (int round = 0; round < 3; round++) { /* all there, b missing, a missing */
		if (round == 1)
			cr_assert(unlink(name_of(&mail, "example.org/b", "new")) == 0);
		if (round == 2)
			cr_assert(unlink(name_of(&mail, "example.org/a", "new")) == 0);
		mail_give(&mail);
		expect_all_done(&mail);
		box_holds(&mail, "example.org/a", body);
		box_holds(&mail, "example.org/b", body);
		box_holds(&mail, "example.org/c", body);
		cr_expect(files_n() == 3, "round %d: %u files", round, files_n());
	}
}

Test(maildir, a_leftover_in_tmp_is_replaced)
{
	struct span body = pattern(3000);

	box_make("example.org/a");
	mail_init(&mail, "a@example.org b@example.org", body);
	file_put(name_of(&mail, "example.org/a", "tmp"), "torn, and longer than what will come?");
	mail_give(&mail);
	expect_all_done(&mail);
	box_holds(&mail, "example.org/a", body);
	box_holds(&mail, "example.org/b", body);
	cr_expect(files_n() == 2);
}

/* ---- failures: one recipient's trouble is not another's ---- */

Test(maildir, root_removed)
{
	cr_assert(rmdir(root) == 0);
	mail_init(&mail, "a@example.org b@example.org", none);
	mail_give(&mail);
	expect_later(&mail, 0, ENOENT);
	expect_later(&mail, 1, ENOENT);
}

Test(maildir, file_in_place_of_the_domain)
{
	file_put(below_root("example.org"), "");
	mail_init(&mail, "a@example.org", none);
	mail_give(&mail);
	expect_later(&mail, 0, ENOTDIR);
	cr_expect(files_n() == 1);
}

/* At each place in the list; the others have their mail, and later that one does too. */
Test(maildir, a_mailbox_that_cannot_be_made_is_alone_late)
{
	static const char *const rows[] = {
		"bad@example.org a@example.org b@example.org",
		"a@example.org bad@example.org b@example.org",
		"a@example.org b@example.org bad@example.org",
		"bad@example.org BAD@example.org b@example.org",
	};

	cr_assert(mkdir(below_root("example.org"), 0700) == 0);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		file_put(below_root("example.org/bad"), "");
		mail_init(&mail, rows[i], none);
		mail_give(&mail);
		for (uint32_t k = 0; k < 3; k++)
			if (strncasecmp((const char *)mail.smtp[k].address.text.p, "bad", 3) == 0)
				expect_later(&mail, k, ENOTDIR);
			else
				expect_done(&mail, k);
		box_holds(&mail, "example.org/b", none);
		cr_assert(unlink(below_root("example.org/bad")) == 0);
	}
	mail_give(&mail);
	expect_all_done(&mail);
	box_holds(&mail, "example.org/bad", none);
}

Test(maildir, a_new_that_is_no_directory_fails_link_and_rename_alone)
{
	static const char *const rows[] = {
		"bad@example.org b@example.org c@example.org",
		"a@example.org b@example.org bad@example.org BAD@example.org",
		"bad@example.org b@example.org BAD@example.org",
	};

	box_make("example.org/bad");
	cr_assert(rmdir(below_root("example.org/bad/new")) == 0);
	file_put(below_root("example.org/bad/new"), "");
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		mail_init(&mail, rows[i], none);
		mail_give(&mail);
		for (uint32_t k = 0; k < mail.job.recipients_n; k++)
			if (strncasecmp((const char *)mail.smtp[k].address.text.p, "bad", 3) == 0)
				expect_later(&mail, k, ENOTDIR);
			else
				expect_done(&mail, k);
		box_holds(&mail, "example.org/b", none);
		cr_expect(access(name_of(&mail, "example.org/bad", "tmp"), F_OK) != 0);
	}
}

/* A limit on the size of files stands for a full disk: a write fails half-way. */
Test(maildir, a_write_that_fails_fails_for_all)
{
	const struct rlimit limit = {300000, RLIM_INFINITY};

	signal(SIGXFSZ, SIG_IGN);
	cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	mail_init(&mail, "a@example.org b@example.org", pattern(600000));
	mail_give(&mail);
	expect_later(&mail, 0, EFBIG);
	expect_later(&mail, 1, EFBIG);
	cr_expect(files_n() == 0);
}

/* Once the name stands its directory cannot be opened to be synced: nothing is said to be done,
 * and the next try finds it. */
Test(maildir, a_directory_that_is_not_synced_is_not_done)
{
	struct rlimit limit;
	struct rlimit few;

	box_make("example.org/a");
	box_make("example.org/b");
	mail_init(&mail, "a@example.org b@example.org", none);
	mail_start(&mail);
	while (access(name_of(&mail, "example.org/a", "tmp"), F_OK) != 0)
		turn();
	cr_assert(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	few = (struct rlimit){0, limit.rlim_max};
	cr_assert(setrlimit(RLIMIT_NOFILE, &few) == 0);
	while (mail.done_n == 0)
		turn();
	cr_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	expect_later(&mail, 0, EMFILE);
	expect_later(&mail, 1, EMFILE);
	mail_give(&mail);
	expect_all_done(&mail);
	cr_expect(files_n() == 2, "%u files", files_n());
}

Test(maildir, no_descriptor_for_the_file)
{
	struct rlimit limit;
	struct rlimit few;

	mail_init(&mail, "a@example.org b@example.org", none);
	cr_assert(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	few = (struct rlimit){0, limit.rlim_max};
	cr_assert(setrlimit(RLIMIT_NOFILE, &few) == 0);
	mail_give(&mail);
	cr_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	expect_later(&mail, 0, EMFILE);
	expect_later(&mail, 1, EMFILE);
	mail_give(&mail);
	expect_all_done(&mail);
}

Test(maildir, a_full_disk_answers_no_space)
{
	rig_close();
	snprintf(root, sizeof(root), "/tmp/postern-maildir-full-XXXXXX");
	cr_assert(mkdtemp(root) != NULL);
	if (mount("postern-test", root, "tmpfs", 0, "size=256k") != 0) {
		int error = errno;

		open_durable();
		cr_skip_test("a small file system cannot be mounted here: %s", strerror(error));
	}
	open_durable();
	mail_init(&mail, "a@example.org b@example.org", pattern(600000));
	mail_give(&mail);
	expect_later(&mail, 0, ENOSPC);
	expect_later(&mail, 1, ENOSPC);
	cr_expect(files_n() == 0);
	mail_init(&mail, "a@example.org", none);
	mail_give(&mail);
	expect_all_done(&mail);
	cr_assert(umount2(root, MNT_DETACH) == 0);
}

/* ---- durability = fast ---- */

TestSuite(maildir_fast, .init = open_fast, .fini = rig_close, .timeout = TEST_LIMIT_S);

Test(maildir_fast, without_durability_nothing_is_synced)
{
	int64_t syncs = counter_sum(COUNTER_RELAY_MAILDIR_SYNCS);
	struct span body = pattern(700000);

	mail_init(&mail, "a@example.org b@example.com a@example.org", body);
	mail_give(&mail);
	expect_all_done(&mail);
	box_holds(&mail, "example.org/a", body);
	box_holds(&mail, "example.com/b", body);
	cr_expect(files_n() == 2);
	cr_expect(counter_sum(COUNTER_RELAY_MAILDIR_SYNCS) == syncs);
}
