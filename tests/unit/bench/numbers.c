/* SPDX-License-Identifier: MIT */
/* numbers.c -- once, twice, never, outside. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "bench/sink/numbers.h"

Test(numbers, duplicates_gaps_and_outsiders_are_told_apart)
{
	struct numbers numbers;

	numbers_open(&numbers, 100, 0);
	cr_expect(numbers_missing(&numbers) == 0);
	for (uint64_t i = 100; i < 200000; i += 2)
		numbers_add(&numbers, i);
	numbers_add(&numbers, 102);
	numbers_add(&numbers, 99);
	numbers_add(&numbers, 100 + NUMBERS_MAX);
	cr_expect(numbers.distinct == 99950);
	cr_expect(numbers.duplicates == 1);
	cr_expect(numbers.outside == 2);
	cr_expect(numbers.highest == 199998);
	cr_expect(numbers_missing(&numbers) == 99949);
	for (uint64_t i = 199999; i > 100; i -= 2)
		numbers_add(&numbers, i);
	cr_expect(numbers_missing(&numbers) == 0);
	numbers_close(&numbers);
}

Test(numbers, what_is_expected_is_missed_from_the_first_to_the_last)
{
	struct numbers numbers;

	numbers_open(&numbers, 5, 10);
	cr_expect(numbers_missing(&numbers) == 10);
	numbers_add(&numbers, 5);
	numbers_add(&numbers, 7);
	cr_expect(numbers_missing(&numbers) == 8);
	for (uint64_t i = 5; i < 15; i++)
		numbers_add(&numbers, i);
	cr_expect(numbers_missing(&numbers) == 0);
	numbers_add(&numbers, 16);
	cr_expect(numbers_missing(&numbers) == 1);
	numbers_close(&numbers);
}
