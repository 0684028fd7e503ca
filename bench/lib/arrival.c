/* SPDX-License-Identifier: MIT */
/* arrival.c -- see arrival.h. */
#include "bench/lib/arrival.h"

#include <math.h>

void arrival_init(struct arrival *arrival, enum arrival_kind kind, double per_second,
	double ramp_seconds, double phase, uint64_t seed)
{
	ASSERT(per_second > 0 && ramp_seconds >= 0);
	*arrival = (struct arrival){
		.kind = kind,
		.per_ns = per_second / 1e9,
		.ramp_ns = ramp_seconds * 1e9,
		.rng = {.state = seed},
	};
	if (kind == ARRIVAL_CONSTANT)
		arrival->sum = phase - 1;
}

uint64_t arrival_next(struct arrival *arrival)
{
	double in_ramp = arrival->per_ns * arrival->ramp_ns / 2; /* arrivals until its end */

	if (arrival->kind == ARRIVAL_CONSTANT)
		arrival->sum += 1;
	else
		arrival->sum += -log1p(-rng_unit(&arrival->rng));
	if (arrival->sum < in_ramp)
		return (uint64_t)sqrt(2 * arrival->ramp_ns * arrival->sum / arrival->per_ns);
	return (uint64_t)(arrival->sum / arrival->per_ns + arrival->ramp_ns / 2);
}
