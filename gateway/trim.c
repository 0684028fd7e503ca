/* SPDX-License-Identifier: MIT */
/*
 * trim.c -- gives memory back to the system when a rush of sessions is over.
 *
 * What OpenSSL has allocated for a session lies between what it has for others and for the worker, so
 * malloc keeps nearly all of it when they end: of 5,000 sessions' 85 MiB none went by itself, and 70
 * MiB in one trim that took 12 ms. A worker that allocates meanwhile waits that long, so this is done
 * only when a few of very many sessions are left, and at most once in TRIM_MS.
 *
 * Not its job: pools (base/pool.h), which keep what they have for the next rush: some 1.5 KiB a session.
 *
 * Rejected: a low M_TRIM_THRESHOLD, which looks at the top of a heap only; mallopt() for fewer arenas,
 * as workers then wait for each other all the time.
 */
#include "gateway.h"

#include <malloc.h>

#include "base/clock.h"
#include "base/counter.h"

#define TRIM_MS       60000
#define TRIM_SESSIONS 1000 /* fewer are no rush */
#define TRIM_PART     4    /* over: a quarter are left */

/* Is it over? */
static bool trim_due(struct trim *trim, uint64_t sessions, uint64_t now_ms)
{
	if (sessions > trim->most)
		trim->most = sessions;
	if (trim->most < TRIM_SESSIONS || sessions > trim->most / TRIM_PART ||
		now_ms < trim->next_ms)
		return false;
	trim->most = sessions;
	trim->next_ms = now_ms + TRIM_MS;
	return true;
}

void trim_turn(struct trim *trim)
{
	int64_t sessions = counter_sum(COUNTER_SESSIONS_ACTIVE);

	if (!trim_due(trim, sessions > 0 ? (uint64_t)sessions : 0, clock_ms()))
		return;
	(void)malloc_trim(0);
	count(COUNTER_MEMORY_TRIMS);
}
