/* SPDX-License-Identifier: MIT */
/*
 * limits.c -- what the process may have of the kernel: as much as it can get, and a word where that is
 * less than the configuration allows its clients.
 *
 * Not its job: what happens at a limit. Without descriptors accepting pauses (accept/), without memory
 * for a ring its start waits (ring/memory.c).
 */
#include "gateway.h"

#include <sys/resource.h>

#include "base/event.h"

#define FILES_BESIDES 64 /* a worker: ring, spool, listeners, resolver */

/* A session is a descriptor, and so is a connection to a next hop. */
static void files_look(const struct config *config, uint32_t workers)
{
	uint64_t wanted = config->policy.sessions_max +
			  (uint64_t)workers * (config->relay.connections_max + FILES_BESIDES);
	struct rlimit limit;
	struct event event;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	event_open(&event, EVENT_NO_COUNT, "few_descriptors");
	event_u64(&event, "limit", limit.rlim_cur);
	event_u64(&event, "wanted", wanted);
	event_str(&event, "advice",
		"raise the hard limit of open files (RLIMIT_NOFILE) or lower sessions_max");
	event_close(&event);
}

/*
 * Each ring is memory that some kernels count as locked for the user of the child, over all its
 * processes (kernel-notes/ring-memory.md): some 150 KiB a worker, of 8 MiB by default. Root may lift
 * that limit where it has CAP_SYS_RESOURCE, which containers often lack; then it stays, and a ring that
 * does not fit says so.
 */
void limits_raise(const struct config *config, uint32_t workers, bool privileged)
{
	static const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
	static const int limits[] = {RLIMIT_NOFILE, RLIMIT_MEMLOCK};
	struct rlimit limit;

	if (privileged)
		(void)setrlimit(RLIMIT_MEMLOCK, &none);
	for (size_t i = 0; i < COUNT_OF(limits); i++) {
		if (getrlimit(limits[i], &limit) != 0)
			continue;
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(limits[i], &limit);
	}
	files_look(config, workers);
}
