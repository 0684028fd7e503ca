/* SPDX-License-Identifier: MIT */
/* clock.c -- days of UTC as text, and back. */
#include <criterion/criterion.h>

#include "base/clock.h"

static const struct {
	const char *text;
	uint32_t day; /* 0: it is none */
} rows[] = {
	{"1970-01-02", 1},
	{"2024-02-29", 19782},
	{"2026-11-21", 20778},
	{"9999-12-31", 2932896},
	{"1970-01-01", 0},
	{"1969-12-31", 0},
	{"2023-02-29", 0},
	{"2026-11-31", 0},
	{"2026-13-01", 0},
	{"2026-00-10", 0},
	{"2026-1-2", 0},
	{"2026-11-21 ", 0},
	{" 2026-11-21", 0},
	{"2026-11-211", 0},
	{"2026-11", 0},
	{"+026-11-21", 0},
	{"20261121", 0},
	{"today", 0},
	{"", 0},
};

Test(clock, days)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char text[CLOCK_DAY_TEXT];
		uint32_t day = 0;

		cr_expect_eq(
			clock_day_parse(rows[i].text, &day), rows[i].day != 0, "%s", rows[i].text);
		if (rows[i].day == 0)
			continue;
		cr_expect_eq(day, rows[i].day, "%s: %u", rows[i].text, day);
		clock_day_text(rows[i].day, text);
		cr_expect_str_eq(text, rows[i].text);
	}
}

Test(clock, every_day_of_four_hundred_years_comes_back)
{
	for (uint32_t day = 1; day < 400 * 366; day++) {
		char text[CLOCK_DAY_TEXT];
		uint32_t again = 0;

		clock_day_text(day, text);
		cr_assert(clock_day_parse(text, &again), "%s", text);
		cr_assert_eq(again, day, "%s", text);
	}
}
