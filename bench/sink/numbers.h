/* SPDX-License-Identifier: MIT */
/*
 * numbers.h -- which numbered messages came: once, twice, never. One bit a number.
 */
#ifndef POSTERN_BENCH_SINK_NUMBERS_H
#define POSTERN_BENCH_SINK_NUMBERS_H

#include "base/base.h"

#define NUMBERS_MAX (1ull << 28) /* numbers from the first on; 32 MiB of bits */

struct numbers {
	uint64_t first; /* the lowest that is expected */
	uint8_t *bits;
	uint64_t room;
	uint64_t distinct;
	uint64_t duplicates;
	uint64_t outside; /* below first, or too far above it */
	uint64_t highest; /* valid when distinct > 0 */
};

void numbers_open(struct numbers *numbers, uint64_t first);
void numbers_close(struct numbers *numbers);
void numbers_add(struct numbers *numbers, uint64_t number);

/* Numbers up to the highest that came which did not come. */
uint64_t numbers_missing(const struct numbers *numbers);

#endif
