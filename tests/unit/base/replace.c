/* SPDX-License-Identifier: MIT */
/* Unit tests of replace.h: the new octets are there, or the old ones, and nothing beside them. */
#include "base/replace.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/unit.h"

static char path[64];
static int dir = -1;

static void setup(void)
{
	(void)snprintf(path, sizeof(path), "/tmp/postern-replace-XXXXXX");
	cr_assert_not_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY);
}

static void teardown(void)
{
	close(dir);
	cr_assert_eq(unit_remove_tree(path), 0);
}

TestSuite(replace, .init = setup, .fini = teardown);

static void expect(const char *name, const char *text)
{
	char got[64] = "";
	int fd = openat(dir, name, O_RDONLY);

	cr_assert_geq(fd, 0);
	cr_expect_geq(read(fd, got, sizeof(got) - 1), 0);
	cr_expect_str_eq(got, text);
	close(fd);
}

Test(replace, old_goes_new_comes)
{
	struct stat st;

	cr_expect_eq(replace_file(dir, "a", "a.new", span_str("one")), 0);
	expect("a", "one");
	cr_expect_eq(replace_file(dir, "a", "a.new", span_str("")), 0);
	expect("a", "");
	cr_expect_eq(replace_file(dir, "a", "a.new", span_str("three")), 0);
	expect("a", "three");
	cr_expect_eq(faccessat(dir, "a.new", F_OK, 0), -1);
	cr_assert_eq(fstatat(dir, "a", &st, 0), 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
}

Test(replace, a_failure_leaves_the_old)
{
	cr_assert_eq(replace_file(dir, "a", "a.new", span_str("one")), 0);
	cr_assert_eq(mkdirat(dir, "b", 0700), 0);
	cr_assert_eq(mkdirat(dir, "b/c", 0700), 0);
	cr_expect_eq(replace_file(dir, "b", "b.new", span_str("two")), -EISDIR);
	cr_expect_eq(faccessat(dir, "b.new", F_OK, 0), -1, "nothing is left beside it");
	cr_assert_eq(symlinkat("a", dir, "a.new"), 0);
	cr_expect_eq(replace_file(dir, "x", "a.new", span_str("two")), -ELOOP);
	expect("a", "one");
	cr_expect_eq(replace_file(-1, "a", "a.new", span_str("two")), -EBADF);
}

/* What fits is written, what does not is an error: no half of a file gets the name. */
Test(replace, a_full_disk_is_told)
{
	const struct rlimit two = {2, 2};

	cr_assert_eq(replace_file(dir, "a", "a.new", span_str("one")), 0);
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &two), 0);
	cr_expect_eq(replace_file(dir, "a", "a.new", span_str("three")), -EFBIG);
	expect("a", "one");
	cr_expect_eq(faccessat(dir, "a.new", F_OK, 0), -1);
}
