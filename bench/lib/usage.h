/* SPDX-License-Identifier: MIT */
/*
 * usage.h -- what the running program itself has cost so far: it shares the machine with the server
 * that is measured, so its own share belongs in every report.
 */
#ifndef POSTERN_BENCH_USAGE_H
#define POSTERN_BENCH_USAGE_H

#include "base/base.h"

struct usage {
	double user_seconds; /* all threads */
	double system_seconds;
	uint64_t memory_peak_octets; /* resident */
};

void usage_get(struct usage *usage);

#endif
