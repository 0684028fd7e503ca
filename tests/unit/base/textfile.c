/* SPDX-License-Identifier: MIT */
/* Unit tests of base/textfile.h: what is read and what is refused, lines, words and blanks. */
#include "base/textfile.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/postern-textfile-XXXXXX";
static char path[64];

static void make_folder(void)
{
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/file", folder);
}

static void remove_folder(void)
{
	unlink(path);
	cr_expect_eq(rmdir(folder), 0);
}

TestSuite(textfile, .init = make_folder, .fini = remove_folder);

static void write_text(const char *text)
{
	FILE *file = fopen(path, "w");

	cr_assert_not_null(file);
	fputs(text, file);
	cr_assert_eq(fclose(file), 0);
}

static void expect_read(const char *wanted)
{
	struct err err = {""};
	char *text = NULL;
	size_t n = 77;

	write_text(wanted);
	cr_assert_eq(textfile_read(path, strlen(wanted), &text, &n, &err), 0, "%s", err.text);
	cr_expect_eq(n, strlen(wanted));
	text[n] = '\0'; /* the octet more */
	cr_expect_str_eq(text, wanted);
	free(text);
}

Test(textfile, reads_all_of_it)
{
	expect_read("");
	expect_read("a");
	expect_read("one\ntwo\r\n");
}

static void expect_refused(uint64_t bytes_max, const char *what)
{
	char wanted[160];
	struct err err = {""};
	char *text;
	size_t n;

	snprintf(wanted, sizeof(wanted), "%s:1: %s", path, what);
	cr_expect_eq(textfile_read(path, bytes_max, &text, &n, &err), -1);
	cr_expect_str_eq(err.text, wanted, "%s", err.text);
}

Test(textfile, refuses)
{
	char missing[64];

	snprintf(missing, sizeof(missing), "cannot be opened: %s", strerror(ENOENT));
	expect_refused(9, missing);
	write_text("0123456789");
	expect_refused(9, "larger than 9 octets");
	unlink(path);
	cr_assert_eq(mkdir(path, 0700), 0);
	expect_refused(9, "not a regular file");
	rmdir(path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	expect_refused(9, "not a regular file");
}

/* Files of the kernel say that they have no octets, and have some. */
Test(textfile, a_file_that_grew)
{
	struct err err = {""};
	char *text;
	size_t n;

	cr_expect_eq(textfile_read("/proc/self/status", 9, &text, &n, &err), -1);
	cr_expect_str_eq(err.text, "/proc/self/status:1: changed while it was read: write a new "
				   "file and rename it");
}

Test(textfile, lines)
{
	struct span rest = span_str("one\n\n\tthree \r\nlast");
	static const char *const wanted[] = {"one", "", "\tthree \r", "last"};

	cr_expect_eq(textfile_lines(rest), COUNT_OF(wanted));
	for (size_t i = 0; i < COUNT_OF(wanted); i++) {
		cr_expect_gt(rest.n, 0);
		cr_expect(span_equal(textfile_take_line(&rest), span_str(wanted[i])), "%zu", i);
	}
	cr_expect_eq(rest.n, 0);
	cr_expect_eq(textfile_take_line(&rest).n, 0);
	cr_expect_eq(textfile_lines(rest), 1);
}

Test(textfile, words)
{
	struct span line = span_str(" \t\rone two\tthree\r");
	static const char *const wanted[] = {"one", "two", "three", ""};

	for (size_t i = 0; i < COUNT_OF(wanted); i++) {
		textfile_skip_blanks(&line);
		cr_expect(span_equal(textfile_take_word(&line), span_str(wanted[i])), "%zu", i);
	}
	cr_expect_eq(line.n, 0);
	cr_expect_not(textfile_blank('\n'));
	cr_expect_not(textfile_blank('\0'));
}
