/* SPDX-License-Identifier: MIT */
/* clock.h -- the two clocks, behind a seam so that tests can set the time. */
#ifndef POSTERN_BASE_CLOCK_H
#define POSTERN_BASE_CLOCK_H

#include "base/base.h"

/* CLOCK_MONOTONIC in milliseconds: for deadlines and durations. */
uint64_t clock_ms(void);

/* CLOCK_REALTIME in microseconds since 1970: for names and headers. */
uint64_t clock_real_us(void);

/* Tests only: from now on the clocks answer *ms and *real_us; NULL gives the kernel's back. */
void clock_set_for_test(const uint64_t *ms, const uint64_t *real_us);

#endif
