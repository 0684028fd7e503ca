/* SPDX-License-Identifier: MIT */
/* trim.c -- tests: when a rush of sessions is over. The program's own files are in no test's link, so the
 * source is taken in whole. */
#include <criterion/criterion.h>

#include "gateway/trim.c"

Test(trim, due)
{
	static const struct {
		const char *title;
		uint64_t now_ms;
		uint64_t sessions;
		bool due;
	} rows[] = {
		{"nothing yet", 0, 0, false},
		{"few", 1, 999, false},
		{"all of the few are gone", 2, 0, false},
		{"many", 3, 4000, false},
		{"more than a quarter left", 4, 1001, false},
		{"a quarter left", 5, 1000, true},
		{"once is enough", 6, 1000, false},
		{"and the rest is no new rush by itself", 70000, 251, false},
		{"but a rush, too, when it goes", 70001, 250, true},
		{"many again, gone again: too early", 70002, 9000, false},
		{"still too early", 130000, 0, false},
		{"late enough", 130001, 0, true},
		{"nothing more to give", 200000, 0, false},
	};
	struct trim trim = {0};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(trim_due(&trim, rows[i].sessions, rows[i].now_ms), rows[i].due, "%s",
			rows[i].title);
}

Test(trim, counts)
{
	struct trim trim = {.most = TRIM_SESSIONS};
	int64_t before = counter_sum(COUNTER_MEMORY_TRIMS);

	trim_turn(&trim);
	trim_turn(&trim);
	cr_expect_eq(counter_sum(COUNTER_MEMORY_TRIMS) - before, 1);
}
