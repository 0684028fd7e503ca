/* SPDX-License-Identifier: MIT */
/*
 * cputime.c -- what each of some happenings costs a process: `cputime PID LOG WORD COUNT`.
 *
 * Says `ready` once the process has come to rest, then watches its log: whenever a line with WORD has
 * been written and the process rests again, the CPU time since the last rest is printed, in ns. All its
 * threads count, those that have ended and those that io_uring runs for it, too. Under QEMU's -icount
 * shift=0 one ns is one instruction, which is what this is for.
 *
 * Each happening must have come to rest before the next one begins, or there are two figures in one:
 * that ends with 1. The log is looked at again and again, as a watch on it would cost the process
 * that writes it something.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS     (5 * 1000 * 1000)
#define REST_LOOKS  2    /* nothing spent for so long: at rest */
#define LOOKS_MAX   4000 /* for one happening: 20 s */
#define READ_OCTETS 65536

struct watch {
	clockid_t clock;
	int log;
	const char *word;
	char text[READ_OCTETS + 1]; /* what of the log is not a whole line yet */
	size_t text_n;
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "cputime: %s\n", what);
	exit(1);
}

static void look_later(void)
{
	const struct timespec wait = {.tv_nsec = LOOK_NS};

	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, NULL);
}

static long long spent(const struct watch *watch)
{
	struct timespec spent;

	if (clock_gettime(watch->clock, &spent) != 0)
		fail(strerror(errno));
	return (long long)spent.tv_sec * 1000000000 + spent.tv_nsec;
}

/* The CPU time of the process once it rests. */
static long long rest(const struct watch *watch)
{
	long long last = spent(watch);
	int still = 0;

	for (int i = 0; still < REST_LOOKS; i++) {
		long long now;

		if (i == LOOKS_MAX)
			fail("it does not come to rest");
		look_later();
		now = spent(watch);
		still = now == last ? still + 1 : 0;
		last = now;
	}
	return last;
}

/* How many new lines of the log have the word. */
static int lines_new(struct watch *watch)
{
	ssize_t n = read(watch->log, watch->text + watch->text_n, READ_OCTETS - watch->text_n);
	char *line = watch->text;
	int found = 0;

	if (n < 0)
		fail(strerror(errno));
	watch->text_n += (size_t)n;
	watch->text[watch->text_n] = '\0';
	for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		*end = '\0';
		found += strstr(line, watch->word) != NULL;
	}
	watch->text_n -= (size_t)(line - watch->text);
	memmove(watch->text, line, watch->text_n);
	if (watch->text_n == READ_OCTETS)
		fail("a line of the log is too long");
	return found;
}

static void happening(struct watch *watch, long long *last)
{
	long long now;
	int found = 0;

	for (int i = 0; found == 0; i++) {
		if (i == LOOKS_MAX)
			fail("it did not happen");
		look_later();
		found = lines_new(watch);
	}
	now = rest(watch);
	if (found + lines_new(watch) > 1)
		fail("one happening followed the other too soon");
	printf("%lld\n", now - *last);
	*last = now;
}

int main(int argc, char **argv)
{
	static struct watch watch;
	long count = argc == 5 ? strtol(argv[4], NULL, 10) : 0;
	long pid = argc == 5 ? strtol(argv[1], NULL, 10) : 0;
	long long last;
	int error;

	if (pid <= 0 || count <= 0) {
		fprintf(stderr, "usage: cputime PID LOG WORD COUNT\n");
		return 2;
	}
	error = clock_getcpuclockid((pid_t)pid, &watch.clock);
	if (error != 0)
		fail(strerror(error));
	watch.word = argv[3];
	watch.log = open(argv[2], O_RDONLY | O_CLOEXEC);
	last = rest(&watch);
	if (watch.log < 0 || lseek(watch.log, 0, SEEK_END) < 0)
		fail(strerror(errno));
	printf("ready\n");
	fflush(stdout);
	for (long i = 0; i < count; i++)
		happening(&watch, &last);
	return 0;
}
