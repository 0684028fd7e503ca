/* SPDX-License-Identifier: MIT */
/* Unit tests of tlsrpt/file.c: a file that is damaged anywhere is set aside as a whole. */
#include "harness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define HEAD   "postern-tlsrpt 1\n"
#define DOMAIN "domain\t20000\tb.example\t0\n"
#define STS    "policy\tsts\t1\n"

TestSuite(file, .init = harness_setup, .fini = harness_teardown);

static void file_put(const char *text, size_t n)
{
	int fd = openat(dir, TLSRPT_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	cr_assert_eq(write(fd, text, n), (ssize_t)n);
	close(fd);
	(void)unlinkat(dir, TLSRPT_FILE_DAMAGED, 0);
}

static bool reads(const char *text, size_t n)
{
	bool good;

	tlsrpt_close(tlsrpt);
	file_put(text, n);
	harness_open("");
	good = faccessat(dir, TLSRPT_FILE_DAMAGED, F_OK, 0) != 0;
	if (!good) {
		for (size_t i = 0; i < TLSRPT_DAYS; i++)
			cr_expect_eq(tlsrpt->days[i].day, 0, "nothing of it is left");
	}
	return good;
}

Test(file, rows)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {
		{HEAD "end\t0\n", true},
		{HEAD DOMAIN "end\t1\n", true},
		{HEAD DOMAIN STS "end\t2\n", true},
		{HEAD DOMAIN STS "string\ta b\nmx\t*.b\nfailure\ttlsa-invalid\t1\t\t\t\t\nend\t5\n",
			true},
		{HEAD "domain\t1\told.example\t0\n" STS
		      "failure\ttlsa-invalid\t1\t\t\t\t\nend\t3\n",
			true},
		{"", false},
		{"postern-tlsrpt 2\nend\t0\n", false},
		{HEAD, false},
		{HEAD "end\t0", false},
		{HEAD "end\t1\n", false},
		{HEAD "end\t0\n\n", false},
		{HEAD "end\t0\t\n", false},
		{HEAD "\nend\t1\n", false},
		{HEAD "other\t1\nend\t1\n", false},
		{HEAD STS "end\t1\n", false},
		{HEAD DOMAIN "string\tx\nend\t2\n", false},
		{HEAD DOMAIN "failure\ttlsa-invalid\t1\t\t\t\t\nend\t2\n", false},
		{HEAD DOMAIN STS "mx\tx\nstring\tx\nend\t4\n", false},
		{HEAD DOMAIN STS "failure\ttlsa-invalid\t1\t\t\t\t\nmx\tx\nend\t4\n", false},
		{HEAD DOMAIN STS DOMAIN "failure\ttlsa-invalid\t1\t\t\t\t\nend\t4\n", false},
		{HEAD DOMAIN STS "failure\tsuccess\t1\t\t\t\t\nend\t3\n", false},
		{HEAD DOMAIN STS "failure\tother\t1\t\t\t\t\nend\t3\n", false},
		{HEAD DOMAIN STS "failure\ttlsa-invalid\t1\t\t\t\nend\t3\n", false},
		{HEAD DOMAIN STS "failure\ttlsa-invalid\t1\t\t\t\t\t\nend\t3\n", false},
		{HEAD DOMAIN STS "failure\ttlsa-invalid\t-1\t\t\t\t\nend\t3\n", false},
		{HEAD DOMAIN "policy\tother\t1\nend\t2\n", false},
		{HEAD DOMAIN "policy\tsts\t\nend\t2\n", false},
		{HEAD DOMAIN "policy\tsts\t99999999999999999999\nend\t2\n", false},
		{HEAD DOMAIN "policy\tsts\t1 \nend\t2\n", false},
		{HEAD "domain\t20000\tb.example\t3\nend\t1\n", false},
		{HEAD "domain\t20000\tb!example\t0\nend\t1\n", false},
		{HEAD "domain\t20000\tb.example\nend\t1\n", false},
		{HEAD "domain\t99999999999\tb.example\t0\nend\t1\n", false},
		{HEAD DOMAIN STS "string\ta\rb\nend\t3\n", false},
		{HEAD DOMAIN STS "string\t\xc3\xa9\nend\t3\n", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(reads(rows[i].text, strlen(rows[i].text)), rows[i].good, "row %zu", i);
	cr_expect_not(reads(HEAD "end\t0\n\0", strlen(HEAD) + 7));
}

/* However much of it is missing, and whichever bit is wrong, the gateway starts and counts. */
Test(file, cut_and_bent)
{
	char *text = NULL, *bent;
	size_t n = 0;

	count_one("b.example", TLSRPT_STS, TLSRPT_TLSA_INVALID);
	count_one("c.example", TLSRPT_NO_POLICY, TLSRPT_SUCCESS);
	cr_assert_eq(tlsrpt_file_text(tlsrpt, &text, &n), 0);
	bent = malloc(n);
	for (size_t i = 0; i < n; i++)
		cr_expect_not(reads(text, i), "%zu of %zu octets", i, n);
	for (size_t i = 0; i < n; i++) {
		memcpy(bent, text, n);
		bent[i] = (char)(bent[i] ^ 0x80);
		cr_expect_not(reads(bent, n), "octet %zu", i);
	}
	cr_expect(reads(text, n));
	free(bent);
	free(text);
}

Test(file, what_is_no_file)
{
	struct tlsrpt *other;
	struct err err;

	tlsrpt_close(tlsrpt);
	(void)unlinkat(dir, TLSRPT_FILE, 0);
	cr_assert_eq(mkdirat(dir, TLSRPT_FILE, 0700), 0);
	harness_open("");
	cr_expect_eq(faccessat(dir, TLSRPT_FILE_DAMAGED, F_OK, 0), 0);
	cr_assert_eq(symlinkat("x", dir, TLSRPT_FILE), 0);
	cr_expect_eq(tlsrpt_open(&other, &settings, "mx", span_of(NULL, 0), dir, &err), -1);
	cr_expect_str_eq(err.text,
		"tlsrpt: cannot read the file tlsrpt in state_directory: Too many levels of "
		"symbolic links");
	cr_assert_eq(unlinkat(dir, TLSRPT_FILE, 0), 0);
}

Test(file, written_only_when_something_changed)
{
	count_one("b.example", TLSRPT_STS, TLSRPT_SUCCESS);
	tlsrpt_save(tlsrpt);
	cr_assert_eq(unlinkat(dir, TLSRPT_FILE, 0), 0);
	tlsrpt_save(tlsrpt);
	cr_expect_neq(faccessat(dir, TLSRPT_FILE, F_OK, 0), 0);
	count_one("b.example", TLSRPT_STS, TLSRPT_SUCCESS);
	tlsrpt_save(tlsrpt);
	cr_expect_eq(faccessat(dir, TLSRPT_FILE, F_OK, 0), 0);
}

/* What could not be written is written the next time. */
Test(file, a_failure_is_made_up_for)
{
	cr_assert_eq(mkdirat(dir, TLSRPT_FILE_NEW, 0700), 0);
	count_one("b.example", TLSRPT_STS, TLSRPT_SUCCESS);
	tlsrpt_save(tlsrpt);
	cr_expect_neq(faccessat(dir, TLSRPT_FILE, F_OK, 0), 0);
	cr_assert_eq(unlinkat(dir, TLSRPT_FILE_NEW, AT_REMOVEDIR), 0);
	tlsrpt_save(tlsrpt);
	cr_expect_eq(faccessat(dir, TLSRPT_FILE, F_OK, 0), 0);
}
