/* SPDX-License-Identifier: MIT */
/* sizes.c -- see sizes.h. */
#include "bench/lib/sizes.h"

#include <math.h>

static const struct point {
	double share;
	double octets;
} mix[] = {
	{0.00, 900},
	{0.10, 2200},
	{0.25, 4500},
	{0.50, 12e3},
	{0.75, 40e3},
	{0.90, 95e3},
	{0.95, 220e3},
	{0.99, 1.8e6},
	{1.00, SIZES_MIX_MAX},
};

double sizes_mix_quantile(double q)
{
	size_t i = 1;

	while (i < COUNT_OF(mix) - 1 && q > mix[i].share)
		i++;
	return exp(log(mix[i - 1].octets) + (log(mix[i].octets) - log(mix[i - 1].octets)) *
						    (q - mix[i - 1].share) /
						    (mix[i].share - mix[i - 1].share));
}

void sizes_init(struct sizes *sizes, uint32_t fixed, uint32_t min, uint32_t max, uint64_t seed)
{
	ASSERT(min <= max && (fixed == 0 || (fixed >= min && fixed <= max)));
	*sizes = (struct sizes){.fixed = fixed, .min = min, .max = max, .rng = {.state = seed}};
}

uint32_t sizes_next(struct sizes *sizes)
{
	double octets;

	if (sizes->fixed)
		return sizes->fixed;
	octets = sizes_mix_quantile(rng_unit(&sizes->rng));
	if (octets <= sizes->min)
		return sizes->min;
	return octets >= sizes->max ? sizes->max : (uint32_t)octets;
}
