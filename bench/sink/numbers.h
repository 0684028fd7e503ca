/* SPDX-License-Identifier: MIT */
/*
 * numbers.h -- which numbered messages came: once, twice, never. One bit a number.
 *
 * Without a word about how many are expected, a number is missed only if a higher one came: the last
 * ones can get lost unseen.
 */
#ifndef POSTERN_BENCH_SINK_NUMBERS_H
#define POSTERN_BENCH_SINK_NUMBERS_H

#include "base/base.h"

#define NUMBERS_MAX (1ull << 28) /* numbers from the first on; 32 MiB of bits */

struct numbers {
	uint64_t first;    /* the lowest that is expected */
	uint64_t expected; /* so many from there on; 0: up to the highest that comes */
	uint8_t *bits;
	uint64_t room;
	uint64_t distinct;
	uint64_t duplicates;
	uint64_t outside; /* below first, or too far above it */
	uint64_t highest; /* valid when distinct > 0 */
};

void numbers_open(struct numbers *numbers, uint64_t first, uint64_t expected);
void numbers_close(struct numbers *numbers);
void numbers_add(struct numbers *numbers, uint64_t number);

/* Numbers that did not come: of those expected, and of those up to the highest that came. */
uint64_t numbers_missing(const struct numbers *numbers);

#endif
