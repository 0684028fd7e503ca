/* SPDX-License-Identifier: MIT */
/*
 * failure.c -- each step fails once: the error comes back, no name of the message stays, and no
 * descriptor (harness_close).
 */
#include "tests/unit/spool/harness.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>

static void open_usual(void)
{
	harness_open(BUDGET_USUAL, true);
}

TestSuite(spool_failure, .init = open_usual, .fini = harness_close, .timeout = TEST_LIMIT_S);

static void file_put(const char *path)
{
	int fd = open(below_root(path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert(fd >= 0, "%s: %s", path, strerror(errno));
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

Test(spool_failure, root_removed)
{
	struct mail mail;

	cr_assert(rmdir(root) == 0);
	mail_begin(&mail, "a@example.org");
	cr_expect(mail_commit(&mail) == -ENOENT, "%d", mail.committed);
}

Test(spool_failure, file_in_place_of_the_domain)
{
	struct mail mail;

	file_put("example.org");
	mail_begin(&mail, "a@example.org");
	cr_expect(mail_commit(&mail) == -ENOTDIR, "%d", mail.committed);
	cr_expect(files_n() == 1);
}

Test(spool_failure, file_in_place_of_the_mailbox)
{
	struct mail mail;

	cr_assert(mkdir(below_root("example.org"), 0700) == 0);
	file_put("example.org/a");
	mail_begin(&mail, "a@example.org");
	cr_expect(mail_commit(&mail) == -ENOTDIR, "%d", mail.committed);
	cr_expect(files_n() == 1);
}

Test(spool_failure, the_error_of_an_open_shows_while_filling)
{
	struct span left = pattern(0, SPOOL_STREAM_BYTES + 1);
	struct mail mail;

	file_put("example.org");
	mail_begin(&mail, "a@example.org");
	cr_assert(spool_append(mail.message, &left) == SPOOL_STEP_WAIT);
	while (mail.ready_n == 0)
		turn();
	cr_expect(spool_append(mail.message, &left) == SPOOL_STEP_FAIL);
	cr_expect(spool_error(mail.message) == -ENOTDIR);
	cr_expect(!spool_abort(mail.message));
	turns_until_idle();
	cr_expect(mail.committed_n == 0, "an aborted message calls nobody back");
}

/* A limit on the size of files stands for a full disk: a write fails half-way. */
static void size_limit(rlim_t n)
{
	const struct rlimit limit = {n, RLIM_INFINITY};

	signal(SIGXFSZ, SIG_IGN);
	cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

Test(spool_failure, write_fails_at_commit)
{
	struct mail mail;

	size_limit(4000);
	mail_begin(&mail, "a@example.org b@example.org");
	mail_append(&mail, pattern(0, 10000));
	cr_expect(mail_commit(&mail) == -EFBIG, "%d", mail.committed);
	cr_expect(files_n() == 0);
}

Test(spool_failure, write_fails_while_streaming)
{
	struct span left = pattern(0, 8 * SPOOL_STREAM_BYTES);
	enum spool_step step = SPOOL_STEP_OK;
	struct mail mail;

	size_limit(2 * SPOOL_STREAM_BYTES + 100);
	mail_begin(&mail, "a@example.org");
	while (step != SPOOL_STEP_FAIL) {
		mail.ready_n = 0;
		step = spool_append(mail.message, &left);
		while (step == SPOOL_STEP_WAIT && mail.ready_n == 0)
			turn();
	}
	cr_expect(spool_error(mail.message) == -EFBIG);
	cr_expect(left.n > 0);
	cr_expect(mail_commit(&mail) == -EFBIG);
	cr_expect(files_n() == 0);
}

Test(spool_failure, second_recipient_cannot_be_made)
{
	struct mail mail;

	cr_assert(mkdir(below_root("example.org"), 0700) == 0);
	file_put("example.org/b");
	mail_begin(&mail, "a@example.org b@example.org c@example.org");
	cr_expect(mail_commit(&mail) == -ENOTDIR, "%d", mail.committed);
	cr_expect(files_n() == 1, "only the file that is in the way is left");
}

Test(spool_failure, third_link_fails_and_takes_the_second_back)
{
	struct mail mail;

	box_make("example.org/c");
	cr_assert(rmdir(below_root("example.org/c/new")) == 0);
	file_put("example.org/c/new");
	mail_begin(&mail, "a@example.org b@example.org c@example.org");
	cr_expect(mail_commit(&mail) == -ENOTDIR, "%d", mail.committed);
	cr_expect(files_n() == 1);
}

/* The last step fails when all other recipients have their name already. */
Test(spool_failure, rename_fails_and_takes_all_links_back)
{
	struct mail mail;

	box_make("example.org/a");
	cr_assert(rmdir(below_root("example.org/a/new")) == 0);
	file_put("example.org/a/new");
	mail_begin(&mail, "a@example.org b@example.org c@example.org a@example.org");
	cr_expect(mail_commit(&mail) == -ENOTDIR, "%d", mail.committed);
	cr_expect(files_n() == 1, "%u files are left", files_n());
}

/* The directory cannot be opened to be synced once the name stands in it. */
Test(spool_failure, sync_of_the_last_directory_fails_and_takes_all_back)
{
	struct rlimit limit;
	struct rlimit none;
	struct mail mail;

	box_make("example.org/a");
	box_make("example.org/b");
	mail_begin(&mail, "a@example.org b@example.org");
	spool_commit(mail.message);
	turns_until(&mail, SPOOL_STATE_RENAME);
	cr_assert(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	none = (struct rlimit){0, limit.rlim_max};
	cr_assert(setrlimit(RLIMIT_NOFILE, &none) == 0);
	while (mail.committed_n == 0)
		turn();
	cr_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	cr_expect(mail.committed == -EMFILE, "%d", mail.committed);
	cr_expect(files_n() == 0, "%u files are left", files_n());
}

Test(spool_failure, no_descriptor_for_the_file)
{
	struct rlimit limit;
	struct rlimit none;
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	cr_assert(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	none = (struct rlimit){0, limit.rlim_max};
	cr_assert(setrlimit(RLIMIT_NOFILE, &none) == 0);
	cr_expect(mail_commit(&mail) == -EMFILE, "%d", mail.committed);
	cr_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	mail_begin(&mail, "a@example.org");
	cr_expect(mail_commit(&mail) == 0, "and it is over when there are some again");
}

Test(spool_failure, one_failure_leaves_the_others_alone)
{
	struct mail good;
	struct mail bad;

	cr_assert(mkdir(below_root("example.org"), 0700) == 0);
	file_put("example.org/b");
	mail_begin(&good, "a@example.org");
	mail_begin(&bad, "b@example.org");
	spool_commit(bad.message);
	cr_expect(mail_commit(&good) == 0);
	while (bad.committed_n == 0)
		turn();
	cr_expect(bad.committed == -ENOTDIR);
	box_holds("example.org/a", span_str(""));
}

Test(spool_failure, a_full_disk_answers_no_space)
{
	struct mail mail;

	harness_close();
	root[0] = '\0';
	snprintf(root, sizeof(root), "/tmp/postern-spool-full-XXXXXX");
	cr_assert(mkdtemp(root) != NULL);
	if (mount("postern-test", root, "tmpfs", 0, "size=256k") != 0) {
		int error = errno;

		open_usual();
		cr_skip_test("a small file system cannot be mounted here: %s", strerror(error));
	}
	open_usual();
	mail_begin(&mail, "a@example.org b@example.org");
	for (unsigned i = 0; i < 4 && spool_error(mail.message) == 0; i++) {
		struct span left = pattern(0, SPOOL_STREAM_BYTES);

		mail.ready_n = 0;
		if (spool_append(mail.message, &left) == SPOOL_STEP_WAIT)
			while (mail.ready_n == 0)
				turn();
	}
	cr_expect(mail_commit(&mail) == -ENOSPC, "%d", mail.committed);
	cr_expect(files_n() == 0);
	mail_begin(&mail, "a@example.org");
	cr_expect(mail_commit(&mail) == 0, "there is room again");
	cr_assert(umount2(root, MNT_DETACH) == 0);
}
