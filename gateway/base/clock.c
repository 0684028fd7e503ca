/* SPDX-License-Identifier: MIT */
/* clock.c -- see clock.h. */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
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

void clock_day_text(uint32_t day, char text[CLOCK_DAY_TEXT])
{
	time_t seconds = (time_t)day * CLOCK_DAY_S;
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL || strftime(text, CLOCK_DAY_TEXT, "%Y-%m-%d", &tm) == 0)
		(void)snprintf(text, CLOCK_DAY_TEXT, "-");
}

/* Written back it must be the same text: so 2026-02-30 is none, and neither is 2026-2-3. */
bool clock_day_parse(const char *text, uint32_t *day)
{
	struct tm tm = {0};
	char again[CLOCK_DAY_TEXT];
	time_t seconds;

	if (sscanf(text, "%4d-%2d-%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday) != 3)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	seconds = timegm(&tm);
	if (seconds < CLOCK_DAY_S)
		return false;
	*day = (uint32_t)(seconds / CLOCK_DAY_S);
	clock_day_text(*day, again);
	return strcmp(again, text) == 0;
}

void clock_set_for_test(const uint64_t *ms, const uint64_t *real_us)
{
	test_ms = ms;
	test_real_us = real_us;
}
