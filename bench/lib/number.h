/* SPDX-License-Identifier: MIT */
/* number.h -- numbers of command lines: whole texts only, within limits, with k, M and G. */
#ifndef POSTERN_BENCH_NUMBER_H
#define POSTERN_BENCH_NUMBER_H

#include "base/base.h"

/* Decimal, with an optional suffix: k, M, G are 2^10, 2^20, 2^30. */
MUST_USE bool number_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out);
MUST_USE bool number_u32(const char *text, uint32_t min, uint32_t max, uint32_t *out);
/* Fractions, no suffix. */
MUST_USE bool number_double(const char *text, double min, double max, double *out);

#endif
