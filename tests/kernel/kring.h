/* SPDX-License-Identifier: MIT */
/*
 * kring: an io_uring with one provided buffer ring, as small as the tests of this folder need it.
 * Asserts on what must work everywhere; what is under test goes through liburing directly.
 */
#ifndef POSTERN_TESTS_KRING_H
#define POSTERN_TESTS_KRING_H

#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define KR_GROUP       7
#define KR_ENTRIES     64
#define KR_BUFFERS_MAX 64
/* What a multishot recvmsg puts before the payload: io_uring_recvmsg_out and one cmsg of a byte. */
#define KR_HEAD_BYTES (sizeof(struct io_uring_recvmsg_out) + CMSG_SPACE(1))

struct kring {
	struct io_uring ring;
	struct io_uring_buf_ring *buffers;
	uint8_t *memory;
	unsigned count;
	unsigned bytes;
	struct msghdr message; /* read by the kernel when a multishot recvmsg is armed */
};

/* One received record, taken out of a completion of a multishot recvmsg. */
struct kr_record {
	int type; /* 0: the kernel gave no type */
	const uint8_t *data;
	unsigned length;
	bool more; /* the request is still armed */
	int result;
};

void kr_open(struct kring *kr, unsigned setup_flags, unsigned count, unsigned bytes);
void kr_close(struct kring *kr);
void kr_give_back(struct kring *kr, unsigned id);
void kr_arm_recvmsg(struct kring *kr, int fd, uint64_t tag);
/* Waits for one completion, at most `ms`; its result, or -ETIME. */
int kr_wait(struct kring *kr, int ms, struct io_uring_cqe *copy);
/* Waits for a completion of a multishot recvmsg, takes it apart and gives the buffer back after the
 * data was copied to memory of this ring; false on time-out. */
bool kr_wait_record(struct kring *kr, int ms, struct kr_record *record);

#endif
