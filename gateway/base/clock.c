/* SPDX-License-Identifier: MIT */
/* clock.c -- see clock.h. */
#include "base/clock.h"

#include <time.h>

static const uint64_t *test_ms;
static const uint64_t *test_real_us;

uint64_t clock_ms(void)
{
	struct timespec ts;

	if (test_ms != NULL)
		return *test_ms;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t clock_real_us(void)
{
	struct timespec ts;

	if (test_real_us != NULL)
		return *test_real_us;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void clock_set_for_test(const uint64_t *ms, const uint64_t *real_us)
{
	test_ms = ms;
	test_real_us = real_us;
}
