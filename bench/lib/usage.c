/* SPDX-License-Identifier: MIT */
/* usage.c -- see usage.h. */
#include "bench/lib/usage.h"

#include <sys/resource.h>

static double seconds(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void usage_get(struct usage *usage)
{
	struct rusage self = {0};

	(void)getrusage(RUSAGE_SELF, &self);
	*usage = (struct usage){.user_seconds = seconds(self.ru_utime),
		.system_seconds = seconds(self.ru_stime),
		.memory_peak_octets = (uint64_t)self.ru_maxrss * 1024};
}
