/* SPDX-License-Identifier: MIT */
/* clock.h -- the two clocks, behind a seam so that tests can set the time; days of UTC. */
#ifndef POSTERN_BASE_CLOCK_H
#define POSTERN_BASE_CLOCK_H

#include "base/base.h"

/* CLOCK_MONOTONIC in milliseconds: for deadlines and durations. */
uint64_t clock_ms(void);

/* CLOCK_REALTIME in microseconds since 1970: for names and headers. */
uint64_t clock_real_us(void);

/* Days since 1970, as "2026-11-21". */
#define CLOCK_DAY_S    86400
#define CLOCK_DAY_TEXT 16 /* octets, the NUL included */
void clock_day_text(uint32_t day, char text[CLOCK_DAY_TEXT]);
/* False: it is not written so, is no day, or is before 1970-01-02: 0 stays free for "none". */
MUST_USE bool clock_day_parse(const char *text, uint32_t *day);

/* Tests only: from now on the clocks answer *ms and *real_us; NULL gives the kernel's back. */
void clock_set_for_test(const uint64_t *ms, const uint64_t *real_us);

#endif
