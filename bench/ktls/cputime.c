/* SPDX-License-Identifier: MIT */
/*
 * cputime.c -- the CPU time of a process so far, in ns: `cputime PID`.
 *
 * All its threads count, those that have ended and those that io_uring runs for it, too. Under
 * QEMU's -icount shift=0 one ns is one instruction, which is what this is for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int main(int argc, char **argv)
{
	char *end = NULL;
	long pid = argc == 2 ? strtol(argv[1], &end, 10) : 0;
	struct timespec spent;
	clockid_t clock;
	int error;

	if (pid <= 0 || *end != '\0') {
		fprintf(stderr, "usage: cputime PID\n");
		return 2;
	}
	error = clock_getcpuclockid((pid_t)pid, &clock);
	if (error == 0 && clock_gettime(clock, &spent) != 0)
		error = errno;
	if (error != 0) {
		fprintf(stderr, "cputime: %s\n", strerror(error));
		return 1;
	}
	printf("%lld\n", (long long)spent.tv_sec * 1000000000 + spent.tv_nsec);
	return 0;
}
