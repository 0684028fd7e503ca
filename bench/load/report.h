/* SPDX-License-Identifier: MIT */
/* report.h -- what came out, as text, JSON or CSV; and the progress line while it runs. */
#ifndef POSTERN_BENCH_LOAD_REPORT_H
#define POSTERN_BENCH_LOAD_REPORT_H

#include <stdio.h>

#include "bench/load/options.h"
#include "bench/load/stats.h"

/* seconds: from the start to the end of the last worker. */
MUST_USE int report_write(
	FILE *file, const struct options *options, struct stats *stats, double seconds);

/* One line that overwrites itself. With --idle, accepted is the number of sessions that stand. */
void report_progress(FILE *file, const struct options *options, uint64_t accepted, uint64_t failed,
	int64_t open, double seconds, double per_second);
void report_progress_end(FILE *file);

#endif
