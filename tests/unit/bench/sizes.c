/* SPDX-License-Identifier: MIT */
/* sizes.c -- fixed sizes, the mix's shape, cuts, seeds. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "bench/lib/sizes.h"

Test(sizes, a_fixed_size_is_always_the_same)
{
	struct sizes sizes;

	sizes_init(&sizes, 4096, 768, 1 << 20, 1);
	for (unsigned i = 0; i < 100; i++)
		cr_assert(sizes_next(&sizes) == 4096);
}

Test(sizes, quantiles_of_the_mix_rise_and_meet_its_table)
{
	double last = 0;

	for (double q = 0; q <= 1; q += 0.001) {
		cr_assert(sizes_mix_quantile(q) >= last, "at %g", q);
		last = sizes_mix_quantile(q);
	}
	cr_expect(sizes_mix_quantile(0.5) > 11999 && sizes_mix_quantile(0.5) < 12001);
	cr_expect(sizes_mix_quantile(1) < SIZES_MIX_MAX + 1.0);
}

Test(sizes, draws_follow_the_mix)
{
	static const double shares[] = {0.1, 0.5, 0.9, 0.99};
	const unsigned n = 100000;
	struct sizes sizes;
	unsigned below[COUNT_OF(shares)] = {0};
	double sum = 0;

	sizes_init(&sizes, 0, 1, SIZES_MIX_MAX, 11);
	for (unsigned i = 0; i < n; i++) {
		uint32_t size = sizes_next(&sizes);

		sum += size;
		for (size_t k = 0; k < COUNT_OF(shares); k++)
			below[k] += size <= sizes_mix_quantile(shares[k]);
	}
	for (size_t k = 0; k < COUNT_OF(shares); k++)
		cr_expect(below[k] > (shares[k] - 0.006) * n && below[k] < (shares[k] + 0.006) * n,
			"share %g: %u of %u", shares[k], below[k], n);
	/* The manual page says 105 KB. */
	cr_expect(sum / n > 95e3 && sum / n < 115e3, "mean %g", sum / n);
}

Test(sizes, draws_are_cut)
{
	struct sizes sizes;
	unsigned low = 0, high = 0;

	sizes_init(&sizes, 0, 4000, 20000, 2);
	for (unsigned i = 0; i < 10000; i++) {
		uint32_t size = sizes_next(&sizes);

		cr_assert(size >= 4000 && size <= 20000);
		low += size == 4000;
		high += size == 20000;
	}
	cr_expect(low > 1000 && high > 2000);
}
