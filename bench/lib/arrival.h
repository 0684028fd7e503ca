/* SPDX-License-Identifier: MIT */
/*
 * arrival.h -- when messages are due in open loop: at a rate, whatever the server does.
 *
 * A process of unit rate (steps of 1, or of exponential length for Poisson arrivals) is bent onto
 * the clock by the inverse of the integrated rate, which rises linearly during the ramp. So there
 * is no drift, the count over a time is right, and equal seeds give equal schedules.
 *
 * Times are nanoseconds since the start of the run. The schedule is never thinned because nobody
 * is free to send: the due time is where latency counts from (no coordinated omission).
 */
#ifndef POSTERN_BENCH_ARRIVAL_H
#define POSTERN_BENCH_ARRIVAL_H

#include "base/base.h"
#include "bench/lib/rng.h"

enum arrival_kind { ARRIVAL_POISSON, ARRIVAL_CONSTANT };

struct arrival {
	enum arrival_kind kind;
	double per_ns;
	double ramp_ns;
	double sum; /* of the unit process */
	struct rng rng;
};

/* phase (0..1) shifts a constant schedule, so that several workers interleave. */
void arrival_init(struct arrival *arrival, enum arrival_kind kind, double per_second,
	double ramp_seconds, double phase, uint64_t seed);

/* The next due time; never before the last one. */
uint64_t arrival_next(struct arrival *arrival);

#endif
