/* SPDX-License-Identifier: MIT */
/*
 * ring_cancel: how a multishot recvmsg ends when it is cancelled, and that closing the descriptor
 * does not end it. Bytes that arrive after the last completion stay in the socket: this is what the
 * hand-over at STARTTLS stands on.
 * Proves kernel-notes/ring-cancel.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS    10000
#define TAG_RECV   1
#define TAG_CANCEL 2
#define FLAGS      (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

static void cancel(struct kring *kr, uint64_t tag)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&kr->ring);

	io_uring_prep_cancel64(sqe, tag, 0);
	io_uring_sqe_set_data64(sqe, TAG_CANCEL);
	KT_MUST(io_uring_submit(&kr->ring) == 1);
}

static void test_cancel(void)
{
	struct io_uring_cqe cqe = {0};
	struct kring kr;
	char got[8];
	bool ended = false;
	bool answered = false;
	int fd[2];

	kr_open(&kr, FLAGS, 8, 4096);
	kt_tcp_pair(fd);
	kr_arm_recvmsg(&kr, fd[1], TAG_RECV);
	cancel(&kr, TAG_RECV);
	for (int i = 0; i < 2; i++) {
		int result = kr_wait(&kr, WAIT_MS, &cqe);

		if (cqe.user_data == TAG_RECV)
			ended = result == -ECANCELED && !(cqe.flags & IORING_CQE_F_MORE);
		else
			answered = result == 0;
		kt_diag("completion %d: %s %d", i + 1,
			cqe.user_data == TAG_RECV ? "recvmsg" : "cancel", result);
	}
	kt_ok(ended, "the request's last completion: ECANCELED without F_MORE");
	kt_ok(answered, "the cancellation's own completion: 0");
	kt_write_all(fd[0], "later", 5);
	kt_ok(recv(fd[1], got, 5, MSG_WAITALL) == 5 && !memcmp(got, "later", 5),
		"what arrives after it stays in the socket");
	kt_ok(kr_wait(&kr, 50, &cqe) == -ETIME, "and no further completion comes");
	cancel(&kr, TAG_RECV);
	kt_ok(kr_wait(&kr, WAIT_MS, &cqe) == -ENOENT, "cancelling what is not there: ENOENT");
	kr_close(&kr);
	close(fd[0]);
	close(fd[1]);
}

/* Bytes that are there before the cancellation come first or stay: they are never dropped. */
static void test_race(void)
{
	struct io_uring_cqe cqe = {0};
	struct kring kr;
	size_t taken = 0;
	char got[8];
	bool ended = false;
	int fd[2];

	kr_open(&kr, FLAGS, 8, 4096);
	kt_tcp_pair(fd);
	kr_arm_recvmsg(&kr, fd[1], TAG_RECV);
	kt_write_all(fd[0], "early", 5);
	cancel(&kr, TAG_RECV);
	for (int i = 0; i < 3 && !ended; i++) {
		int result = kr_wait(&kr, WAIT_MS, &cqe);

		if (cqe.user_data != TAG_RECV)
			continue;
		if (result > 0)
			taken += (size_t)result - KR_HEAD_BYTES;
		ended = !(cqe.flags & IORING_CQE_F_MORE);
	}
	kt_diag("%zu of 5 bytes came with the request", taken);
	KT_MUST(taken == 0 || taken == 5);
	kt_ok(ended && (taken == 5 || recv(fd[1], got, 5, MSG_WAITALL) == 5),
		"bytes that race with the cancellation are delivered once");
	kr_close(&kr);
	close(fd[0]);
	close(fd[1]);
}

static void test_close_and_shutdown(void)
{
	struct io_uring_cqe cqe = {0};
	struct kring kr;
	int copy;
	int fd[2];

	kr_open(&kr, FLAGS, 8, 4096);
	kt_tcp_pair(fd);
	copy = dup(fd[1]);
	kr_arm_recvmsg(&kr, fd[1], TAG_RECV);
	close(fd[1]);
	kt_ok(kr_wait(&kr, 50, &cqe) == -ETIME, "close() does not end an armed request");
	kt_write_all(fd[0], "still", 5);
	kt_ok(kr_wait(&kr, WAIT_MS, &cqe) > 0 && cqe.flags & IORING_CQE_F_MORE,
		"it goes on receiving");
	shutdown(copy, SHUT_RDWR);
	kt_ok(kr_wait(&kr, WAIT_MS, &cqe) >= 0 && !(cqe.flags & IORING_CQE_F_MORE),
		"shutdown() ends it");
	close(copy);
	close(fd[0]);
	kr_close(&kr);
}

static void test_sync_cancel(void)
{
	struct io_uring_sync_cancel_reg reg = {.addr = TAG_RECV, .fd = -1};
	struct io_uring_cqe cqe = {0};
	struct kring kr;
	int fd[2];

	reg.timeout.tv_sec = -1;
	reg.timeout.tv_nsec = -1;
	kr_open(&kr, FLAGS, 8, 4096);
	kt_tcp_pair(fd);
	kr_arm_recvmsg(&kr, fd[1], TAG_RECV);
	kt_ok(io_uring_register_sync_cancel(&kr.ring, &reg) == 0, "synchronous cancellation: 0");
	kt_ok(kr_wait(&kr, WAIT_MS, &cqe) == -ECANCELED,
		"the last completion still has to be reaped");
	kr_close(&kr);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	test_cancel();
	test_race();
	test_close_and_shutdown();
	test_sync_cancel();
	return kt_done();
}
