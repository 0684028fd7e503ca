/* SPDX-License-Identifier: MIT */
/*
 * memory.c -- what becomes of a ring for which the kernel has no memory just now.
 *
 * Some kernels count rings as locked memory of their user, over all processes, and give back what an
 * ended process had a moment after that process is gone (kernel-notes/ring-memory.md). So a
 * gateway that is started again at once can meet its predecessor's rings. It waits for them with
 * growing pauses, says so once, and gives up when the time is over: a limit that is too small stays
 * too small.
 *
 * Only set-up waits here: nothing else runs on that thread yet. Not its job: requests for which a
 * ring that runs finds no memory (ring.c).
 */
#include "ring/ring-private.h"

#include <stdio.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/event.h"

#define WAIT_MS_MAX  5000
#define PAUSE_MS_MIN 10
#define PAUSE_MS_MAX 500

static void say(const char *call, int error)
{
	struct event event;

	event_open(&event, COUNTER_RING_MEMORY_WAITS, "ring_waits");
	event_str(&event, "call", call);
	event_str(&event, "error", strerror(error));
	event_u64(&event, "wait_ms_max", WAIT_MS_MAX);
	event_close(&event);
}

bool ring_memory_again(struct ring_patience *patience, const char *call, int ret)
{
	uint64_t now = clock_ms();
	struct timespec ts = {0};

	if (ret != -ENOMEM && ret != -EAGAIN)
		return false;
	if (patience->pause_ms == 0) {
		patience->until_ms = now + WAIT_MS_MAX;
		patience->pause_ms = PAUSE_MS_MIN;
		say(call, -ret);
	}
	if (now >= patience->until_ms)
		return false;
	ts.tv_nsec = patience->pause_ms * 1000000L;
	nanosleep(&ts, NULL);
	patience->pause_ms *= 2;
	if (patience->pause_ms > PAUSE_MS_MAX)
		patience->pause_ms = PAUSE_MS_MAX;
	return true;
}

int ring_memory_short(struct err *err, const char *call, int error)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return err_set(err,
			"io_uring cannot be used: %s: %s: a memory cgroup is full or the machine "
			"is out of memory",
			call, strerror(error));
	return err_set(err,
		"io_uring cannot be used: %s: %s: some kernels count rings as locked memory of the "
		"user, over all its processes, and RLIMIT_MEMLOCK is %llu KiB: raise it "
		"(LimitMEMLOCK=infinity for a service of systemd, --ulimit memlock=-1 for a "
		"container), or run fewer workers or gateways under this user; or else a memory "
		"cgroup is full",
		call, strerror(error), (unsigned long long)limit.rlim_cur / 1024);
}
