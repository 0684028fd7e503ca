/* SPDX-License-Identifier: MIT */
/* base.c -- ASSERT, start-up errors, wiping, the clock's seam. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <string.h>

#include "base/base.h"
#include "base/clock.h"

Test(base, assert_aborts, .signal = SIGABRT)
{
	ASSERT(1 == 2);
}

Test(base, assert_is_an_expression_evaluated_once)
{
	int n = 0;

	ASSERT(++n == 1);
	cr_assert(eq(int, n, 1));
}

Test(base, err_set_returns_minus_one_and_cuts_long_text)
{
	char longer[2 * ERR_TEXT_MAX];
	struct err err;

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	cr_assert(eq(int, err_set(&err, "%s:%d", "file", 7), -1));
	cr_assert_str_eq(err.text, "file:7");
	cr_assert(eq(int, err_set(&err, "%s", longer), -1));
	cr_assert(eq(sz, strlen(err.text), ERR_TEXT_MAX - 1));
}

Test(base, wipe_leaves_zeros_and_touches_nothing_else)
{
	char secret[16] = "0123456789abcde";

	wipe(secret + 4, 8);
	cr_assert(memcmp(secret, "0123\0\0\0\0\0\0\0\0cde", 16) == 0);
}

Test(base, container_of_finds_the_owner)
{
	struct owner {
		char before;
		int member;
	} owner;
	struct owner *found = container_of(&owner.member, struct owner, member);

	cr_assert(found == &owner);
}

Test(clock, the_kernels_clocks_go_forward)
{
	uint64_t ms = clock_ms();
	uint64_t real = clock_real_us();

	cr_assert(clock_ms() >= ms);
	cr_assert(gt(u64, real, 1700000000000000u), "microseconds, not seconds");
}

Test(clock, a_test_sets_both_clocks_and_gives_them_back)
{
	uint64_t ms = 5;
	uint64_t real = 6;

	clock_set_for_test(&ms, &real);
	cr_assert(eq(u64, clock_ms(), 5));
	cr_assert(eq(u64, clock_real_us(), 6));
	ms = 7;
	cr_assert(eq(u64, clock_ms(), 7));
	clock_set_for_test(NULL, NULL);
	cr_assert(gt(u64, clock_real_us(), 1000));
}

Test(base, text_copy_cuts_what_does_not_fit)
{
	static const struct {
		const char *from;
		size_t room;
		const char *to;
	} rows[] = {
		{"", 1, ""}, {"a", 1, ""}, {"abc", 4, "abc"}, {"abcd", 4, "abc"}, {"ab", 8, "ab"}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char to[9] = "########";

		text_copy(to, rows[i].room, rows[i].from);
		cr_assert(strcmp(to, rows[i].to) == 0, "row %zu", i);
		cr_assert(to[rows[i].room] == '#' || rows[i].room == 8, "row %zu: beyond", i);
	}
}
