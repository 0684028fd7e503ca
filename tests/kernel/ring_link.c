/* SPDX-License-Identifier: MIT */
/*
 * ring_link: a write and an fsync linked by IOSQE_IO_LINK are done in this order; a write that fails
 * or is short ends the chain, and the fsync completes with ECANCELED without having run.
 * Proves kernel-notes/ring-link-short.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define WAIT_MS 10000
#define ROUNDS  200

static struct kring kr;

/* Both completions of one chain: results by user data, 0 the write, 1 the fsync; and their order. */
static void chain(int fd, struct iovec *iov, unsigned n, off_t offset, int results[2], int order[2])
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&kr.ring);

	io_uring_prep_writev(sqe, fd, iov, n, (uint64_t)offset);
	sqe->flags |= IOSQE_IO_LINK;
	sqe->user_data = 0;
	sqe = io_uring_get_sqe(&kr.ring);
	io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	sqe->user_data = 1;
	KT_MUST(io_uring_submit(&kr.ring) == 2);
	for (int i = 0; i < 2; i++) {
		struct io_uring_cqe cqe = {0};

		kr_wait(&kr, WAIT_MS, &cqe);
		order[i] = (int)cqe.user_data;
		results[cqe.user_data] = cqe.res;
	}
}

int main(void)
{
	char path[] = "/tmp/ring-link-XXXXXX";
	struct iovec iov[2] = {{(char[]){"abcd"}, 4}, {(char[]){"efgh"}, 4}};
	struct rlimit limit;
	int results[2], order[2];
	bool in_order = true;
	int full;
	int fd;

	kr_open(&kr, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 8, 4096);
	fd = mkstemp(path);
	KT_MUST(fd >= 0);
	KT_MUST(unlink(path) == 0);
	for (int i = 0; i < ROUNDS; i++) {
		chain(fd, iov, 2, 8L * i, results, order);
		in_order = in_order && results[0] == 8 && results[1] == 0 && order[0] == 0;
	}
	kt_ok(in_order, "%d times the write completed first, then the fsync", ROUNDS);

	full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	KT_MUST(full >= 0);
	chain(full, iov, 2, 0, results, order);
	kt_ok(results[0] == -ENOSPC && results[1] == -ECANCELED,
		"after a failed write the fsync is cancelled (%d, %d)", results[0], results[1]);
	close(full);

	signal(SIGXFSZ, SIG_IGN);
	KT_MUST(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	limit.rlim_cur = 8L * ROUNDS + 6;
	KT_MUST(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	chain(fd, iov, 2, 8L * ROUNDS, results, order);
	kt_ok(results[0] == 6 && results[1] == -ECANCELED,
		"after a short write the fsync is cancelled (%d, %d)", results[0], results[1]);
	close(fd);
	kr_close(&kr);
	return kt_done();
}
