/* SPDX-License-Identifier: MIT */
/* arrival.c -- the schedule: rate, order, ramp, seeds, spread of the gaps. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <math.h>

#include "bench/lib/arrival.h"

#define SECOND UINT64_C(1000000000)

/* How many are due in [from, to) seconds. */
static unsigned due_between(struct arrival arrival, double from, double to)
{
	unsigned n = 0;

	for (;;) {
		double at = (double)arrival_next(&arrival) / 1e9;

		if (at >= to)
			return n;
		n += at >= from;
	}
}

Test(arrival, constant_is_evenly_spaced_from_the_start)
{
	struct arrival arrival;

	arrival_init(&arrival, ARRIVAL_CONSTANT, 1000, 0, 0, 1);
	for (uint64_t i = 0; i < 5000; i++) {
		uint64_t at = arrival_next(&arrival);

		cr_assert(at + 2 >= i * SECOND / 1000 && at <= i * SECOND / 1000 + 2, "%lu",
			(unsigned long)i);
	}
}

Test(arrival, phases_interleave)
{
	struct arrival first, second;

	arrival_init(&first, ARRIVAL_CONSTANT, 10, 0, 0, 1);
	arrival_init(&second, ARRIVAL_CONSTANT, 10, 0, 0.5, 1);
	cr_expect(arrival_next(&first) == 0);
	cr_expect(arrival_next(&second) == SECOND / 20);
	cr_expect(arrival_next(&first) == SECOND / 10);
}

Test(arrival, poisson_keeps_the_rate_and_the_order)
{
	struct arrival arrival, again;
	uint64_t last = 0;

	arrival_init(&arrival, ARRIVAL_POISSON, 500, 0, 0, 42);
	again = arrival;
	for (unsigned i = 0; i < 50000; i++) {
		uint64_t at = arrival_next(&again);

		cr_assert(at >= last);
		last = at;
	}
	/* 50,000 at 500 a second: 100 s, standard deviation 0.45 s. */
	cr_expect(fabs((double)last / 1e9 - 100) < 2.2, "%g", (double)last / 1e9);
}

/* Gaps of a Poisson process: mean equals standard deviation; constant ones would have none. */
Test(arrival, poisson_gaps_are_exponential)
{
	struct arrival arrival;
	double sum = 0, squares = 0, last = 0;
	const unsigned n = 20000;

	arrival_init(&arrival, ARRIVAL_POISSON, 1000, 0, 0, 9);
	for (unsigned i = 0; i < n; i++) {
		double at = (double)arrival_next(&arrival) / 1e6;

		sum += at - last;
		squares += (at - last) * (at - last);
		last = at;
	}
	cr_expect(fabs(sum / n - 1) < 0.05);
	cr_expect(fabs(sqrt(squares / n - sum / n * sum / n) - 1) < 0.05);
}

Test(arrival, a_ramp_rises_linearly_and_then_the_rate_is_full)
{
	struct arrival arrival;

	arrival_init(&arrival, ARRIVAL_CONSTANT, 1000, 4, 0, 1);
	/* The integral of the rate: t * t / (2 * ramp) * rate. */
	cr_expect(fabs((double)due_between(arrival, 0, 1) - 125) <= 2);
	cr_expect(fabs((double)due_between(arrival, 0, 2) - 500) <= 2);
	cr_expect(fabs((double)due_between(arrival, 3, 4) - 875) <= 2);
	cr_expect(fabs((double)due_between(arrival, 4, 5) - 1000) <= 2);
	cr_expect(fabs((double)due_between(arrival, 9, 10) - 1000) <= 2);
}

Test(arrival, equal_seeds_give_equal_schedules)
{
	struct arrival a, b, c;
	unsigned same = 0;

	arrival_init(&a, ARRIVAL_POISSON, 100, 0, 0, 5);
	arrival_init(&b, ARRIVAL_POISSON, 100, 0, 0, 5);
	arrival_init(&c, ARRIVAL_POISSON, 100, 0, 0, 6);
	for (unsigned i = 0; i < 100; i++) {
		uint64_t at = arrival_next(&a);

		cr_assert(at == arrival_next(&b));
		same += at == arrival_next(&c);
	}
	cr_expect(same < 3);
}
