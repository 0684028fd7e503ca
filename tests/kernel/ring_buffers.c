/* SPDX-License-Identifier: MIT */
/*
 * ring_buffers: running out of provided buffers ends a multishot receive with ENOBUFS and without
 * F_MORE; the bytes stay in the socket and arrive once buffers are back and the request is armed.
 * Proves kernel-notes/ring-buffers.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 10000
#define BUFFERS 2
#define PAYLOAD 100

int main(void)
{
	struct io_uring_cqe cqe = {0};
	struct kring kr;
	uint8_t sent[10 * PAYLOAD];
	uint8_t got[10 * PAYLOAD];
	struct kr_record one;
	unsigned held[BUFFERS];
	size_t sum = 0;
	int fd[2];

	kr_open(&kr, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, BUFFERS,
		KR_HEAD_BYTES + PAYLOAD);
	kt_tcp_pair(fd);
	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (uint8_t)(i * 7);
	kr_arm_recvmsg(&kr, fd[1], 1);
	kt_write_all(fd[0], sent, sizeof sent);
	for (int i = 0; i < BUFFERS; i++) {
		int result = kr_wait(&kr, WAIT_MS, &cqe);

		KT_MUST(result == KR_HEAD_BYTES + PAYLOAD);
		held[i] = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
		memcpy(got + sum, kr.memory + (size_t)held[i] * kr.bytes + KR_HEAD_BYTES, PAYLOAD);
		sum += PAYLOAD;
	}
	kt_ok(cqe.flags & IORING_CQE_F_MORE, "the last buffer's completion still has F_MORE");
	kt_ok(kr_wait(&kr, WAIT_MS, &cqe) == -ENOBUFS && !(cqe.flags & IORING_CQE_F_MORE),
		"then ENOBUFS, and the request has ended");
	for (int i = 0; i < BUFFERS; i++)
		kr_give_back(&kr, held[i]);
	kr_arm_recvmsg(&kr, fd[1], 2);
	for (int i = 0; i < 64 && sum < sizeof sent; i++) {
		if (!kr_wait_record(&kr, WAIT_MS, &one))
			break;
		if (one.result == -ENOBUFS) {
			kr_arm_recvmsg(&kr, fd[1], 3);
			continue;
		}
		if (one.result <= 0)
			break;
		memcpy(got + sum, one.data, one.length);
		sum += one.length;
	}
	kt_ok(sum == sizeof sent && !memcmp(sent, got, sizeof sent),
		"with buffers back and armed again nothing is missing");
	kr_close(&kr);
	close(fd[0]);
	close(fd[1]);
	return kt_done();
}
