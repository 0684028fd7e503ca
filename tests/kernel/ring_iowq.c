/* SPDX-License-Identifier: MIT */
/*
 * ring_iowq: a splice always runs on an io-wq worker, and io_uring_register_iowq_max_workers bounds
 * how many there are, so that slow senders of BDAT bodies cannot make threads without end.
 * Proves kernel-notes/ring-iowq.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <unistd.h>

#define WAIT_MS     10000
#define SPLICES     12
#define WORKERS_MAX 3

int main(void)
{
	unsigned limits[2] = {WORKERS_MAX, WORKERS_MAX};
	struct io_uring_cqe cqe = {0};
	struct kring kr;
	uint64_t until;
	int from[SPLICES][2];
	int to[2];
	int workers = 0;
	int done = 0;

	KT_MUST(pipe(to) == 0);
	kr_open(&kr, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 8, 4096);
	kt_ok(io_uring_register_iowq_max_workers(&kr.ring, limits) == 0,
		"io_uring_register_iowq_max_workers");
	for (int i = 0; i < SPLICES; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&kr.ring);

		KT_MUST(pipe(from[i]) == 0);
		io_uring_prep_splice(sqe, from[i][0], -1, to[1], -1, 1, 0);
	}
	KT_MUST(io_uring_submit(&kr.ring) == SPLICES);
	until = kt_now_ms() + 500;
	while (kt_now_ms() < until) {
		int now = kt_iowq_workers();

		workers = now > workers ? now : workers;
		KT_MUST(kr_wait(&kr, 20, &cqe) == -ETIME);
	}
	kt_diag("%d splices that wait: %d workers", SPLICES, workers);
	kt_ok(workers >= 1, "a splice that has to wait sits on an io-wq worker");
	kt_ok(workers <= WORKERS_MAX, "and no more than the limit of them are made");
	for (int i = 0; i < SPLICES; i++)
		kt_write_all(from[i][1], "x", 1);
	while (done < SPLICES && kr_wait(&kr, WAIT_MS, &cqe) == 1)
		done++;
	kt_ok(done == SPLICES, "all of them complete in the end");
	kr_close(&kr);
	return kt_done();
}
