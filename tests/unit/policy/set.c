/* SPDX-License-Identifier: MIT */
/* Unit tests of policy/set.c: a set against what was put in. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/set-private.h"

#define MEMBERS 5000

Test(set, empty)
{
	struct set set;

	cr_assert_eq(set_open(&set, "", 0), 0);
	cr_expect_not(set_has(&set, span_str("")));
	cr_expect_not(set_has(&set, span_str("a")));
	set_close(&set);
}

/* All that was added is found, and of each also neither a prefix nor a longer text. */
Test(set, many)
{
	char *text = calloc(MEMBERS, 8);
	struct set set;

	cr_assert_eq(set_open(&set, text, MEMBERS), 0);
	for (uint64_t i = 0; i < MEMBERS; i++) {
		sprintf(text + i * 8, "%07llu", (unsigned long long)i);
		set_add(&set, i * 8, 7);
	}
	cr_expect_eq(set.members, MEMBERS);
	for (uint64_t i = 0; i < MEMBERS; i++) {
		char member[16];

		sprintf(member, "%07llux", (unsigned long long)i);
		cr_expect(set_has(&set, span_of(member, 7)), "%s", member);
		cr_expect_not(set_has(&set, span_of(member, 6)), "%s", member);
		cr_expect_not(set_has(&set, span_of(member, 8)), "%s", member);
	}
	set_close(&set);
	free(text);
}

Test(set, adding_twice_is_as_once)
{
	char text[] = "a\0a\0";
	struct set set;

	cr_assert_eq(set_open(&set, text, 2), 0);
	set_add(&set, 0, 1);
	set_add(&set, 2, 1);
	cr_expect_eq(set.members, 1);
	cr_expect(set_has(&set, span_str("a")));
	set_close(&set);
}

/* The last member ends where its allocation ends: ASan sees any octet read behind it. */
Test(set, nothing_is_read_behind_the_text)
{
	char *text = strdup("a");
	struct set set;

	cr_assert_eq(set_open(&set, text, 1), 0);
	set_add(&set, 0, 1);
	for (int i = 0; i < 1000; i++) {
		char member[16];
		int n = sprintf(member, "a%d", i);

		cr_expect_not(set_has(&set, span_of(member, (size_t)n)));
	}
	set_close(&set);
	free(text);
}
