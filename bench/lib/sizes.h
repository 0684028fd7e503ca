/* SPDX-License-Identifier: MIT */
/*
 * sizes.h -- how large the next message is: always the same, or drawn from a mail-like mix.
 *
 * The mix is a table of quantiles with log-linear interpolation: most mail is a few kilobytes, half
 * of all octets are in the largest percent. It is made up after the shape that mail logs usually
 * show, not taken from one site's log; what counts is that it is written down and repeatable.
 */
#ifndef POSTERN_BENCH_SIZES_H
#define POSTERN_BENCH_SIZES_H

#include "base/base.h"
#include "bench/lib/rng.h"

struct sizes {
	uint32_t fixed; /* octets; 0: the mix */
	uint32_t min;
	uint32_t max; /* draws are cut to min..max */
	struct rng rng;
};

#define SIZES_MIX_MAX (10u << 20) /* the largest message of the mix, octets */

void sizes_init(struct sizes *sizes, uint32_t fixed, uint32_t min, uint32_t max, uint64_t seed);
uint32_t sizes_next(struct sizes *sizes);

/* The mix's size at share q (0..1) of all messages. */
double sizes_mix_quantile(double q);

#endif
