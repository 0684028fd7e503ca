/* SPDX-License-Identifier: MIT */
/*
 * ring_memory: whose memory a ring is. Some kernels count it as locked memory of the user, over all
 * its processes; CAP_IPC_LOCK exempts; an ended process's share comes back a moment later. On others
 * RLIMIT_MEMLOCK has no say, which is then what is shown.
 * Proves kernel-notes/ring-memory.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Nobody else's, so their count is nil. */
#define USER         64101
#define OTHER        64102
#define TRIED        64200
#define ENTRIES      64
#define HOLDER_RINGS 8
#define WAIT_MS      5000
#define LIMIT_NONE   RLIM_INFINITY

/* In the child: becomes `user` under that limit; makes `rings` rings. The first error, or 0. */
static int rings_make(uid_t user, rlim_t limit, int rings)
{
	const struct rlimit limits = {limit, limit};
	struct io_uring ring;
	int result = 0;

	if (setrlimit(RLIMIT_MEMLOCK, &limits) != 0 && errno != EPERM)
		return -errno;
	if (user != 0 && (setgid(user) != 0 || setuid(user) != 0))
		return -errno;
	for (int i = 0; i < rings && result == 0; i++)
		result = io_uring_queue_init(ENTRIES, &ring, 0);
	return result;
}

/* A process that makes the rings and holds them until it is killed. Its pid; *result as above. */
static pid_t holder_start(uid_t user, rlim_t limit, int rings, int *result)
{
	int tube[2];
	pid_t pid;

	KT_MUST(pipe(tube) == 0);
	pid = fork();
	KT_MUST(pid >= 0);
	if (pid == 0) {
		int got = rings_make(user, limit, rings);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write(tube[1], &got, sizeof(got)) == (ssize_t)sizeof(got))
			pause();
		_exit(0);
	}
	close(tube[1]);
	KT_MUST(read(tube[0], result, sizeof(*result)) == (ssize_t)sizeof(*result));
	close(tube[0]);
	return pid;
}

static void holder_end(pid_t pid)
{
	KT_MUST(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

/* One ring in a process of its own that ends at once. */
static int one(uid_t user, rlim_t limit)
{
	int result;

	holder_end(holder_start(user, limit, 1, &result));
	return result;
}

/* The least KiB under which a user with nothing else may have a ring; a new user for each try. */
static rlim_t ring_kib(void)
{
	for (rlim_t kib = 4; kib <= 256; kib += 4)
		if (one(TRIED + (uid_t)kib, kib * 1024) == 0)
			return kib;
	return 0;
}

static void test_counted(void)
{
	rlim_t limit = ring_kib() * 1024 * HOLDER_RINGS;
	uint64_t ended;
	uint64_t back;
	int result;
	pid_t pid;

	KT_MUST(limit > 0);
	kt_diag("a ring of %d entries: %llu KiB", ENTRIES,
		(unsigned long long)limit / 1024 / HOLDER_RINGS);
	ended = kt_now_ms(); /* an earlier run of this program, perhaps */
	while ((pid = holder_start(USER, limit, HOLDER_RINGS, &result)) > 0 && result == -ENOMEM &&
		kt_now_ms() - ended < WAIT_MS)
		holder_end(pid);
	kt_ok(result == 0, "rings as many as the limit holds");
	result = one(USER, limit);
	kt_ok(result == -ENOMEM, "one more, of another process of the same user: ENOMEM (got %d)",
		result);
	kt_ok(one(OTHER, limit) == 0, "another user's count is another");
	kt_ok(one(USER, LIMIT_NONE) == 0,
		"a process without a limit is not refused for the others");
	kt_ok(one(0, 0) == 0, "CAP_IPC_LOCK: not counted, whatever the limit");
	ended = kt_now_ms();
	holder_end(pid);
	do {
		result = one(USER, limit);
		back = kt_now_ms() - ended;
	} while (result == -ENOMEM && back < WAIT_MS);
	kt_ok(result == 0, "the memory of a killed process comes back without anybody's doing");
	kt_diag("after %llu ms", (unsigned long long)back);
}

int main(void)
{
	int result = one(0, LIMIT_NONE);

	if (result == -ENOSYS || result == -EPERM)
		kt_unsupported("io_uring is not to be had");
	if (geteuid() != 0)
		kt_unsupported("needs root, to be users of its own");
	KT_MUST(result == 0);
	result = one(USER, 0);
	kt_ok(result == 0 || result == -ENOMEM,
		"with no locked memory allowed a ring is made or refused with ENOMEM (got %d)",
		result);
	if (result == 0)
		kt_diag("this kernel does not count rings as locked memory");
	else
		test_counted();
	return kt_done();
}
