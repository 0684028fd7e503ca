/* SPDX-License-Identifier: MIT */
/*
 * kring: see its header. liburing 2.3 has no io_uring_setup_buf_ring, so the ring's memory is ours.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint8_t last_payload[1 << 17];

void kr_open(struct kring *kr, unsigned setup_flags, unsigned count, unsigned bytes)
{
	struct io_uring_buf_reg reg = {.ring_entries = count, .bgid = KR_GROUP};
	int result;

	memset(kr, 0, sizeof *kr);
	kr->count = count;
	kr->bytes = bytes;
	result = io_uring_queue_init(KR_ENTRIES, &kr->ring, setup_flags);
	if (result == -ENOSYS || result == -EPERM)
		kt_unsupported("io_uring is not to be had");
	KT_MUST(result == 0);
	KT_MUST(count <= KR_BUFFERS_MAX && bytes <= sizeof last_payload);
	KT_MUST(posix_memalign((void **)&kr->buffers, 4096, count * sizeof(struct io_uring_buf)) ==
		0);
	memset(kr->buffers, 0, count * sizeof(struct io_uring_buf));
	kr->memory = calloc(count, bytes);
	KT_MUST(kr->memory != NULL);
	reg.ring_addr = (uint64_t)(uintptr_t)kr->buffers;
	KT_MUST(io_uring_register_buf_ring(&kr->ring, &reg, 0) == 0);
	io_uring_buf_ring_init(kr->buffers);
	for (unsigned i = 0; i < count; i++)
		kr_give_back(kr, i);
}

void kr_close(struct kring *kr)
{
	io_uring_queue_exit(&kr->ring);
	free(kr->buffers);
	free(kr->memory);
}

void kr_give_back(struct kring *kr, unsigned id)
{
	io_uring_buf_ring_add(kr->buffers, kr->memory + (size_t)id * kr->bytes, kr->bytes,
		(unsigned short)id, io_uring_buf_ring_mask(kr->count), 0);
	io_uring_buf_ring_advance(kr->buffers, 1);
}

void kr_arm_recvmsg(struct kring *kr, int fd, uint64_t tag)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&kr->ring);

	KT_MUST(sqe != NULL);
	memset(&kr->message, 0, sizeof kr->message);
	kr->message.msg_controllen = CMSG_SPACE(1);
	io_uring_prep_recvmsg_multishot(sqe, fd, &kr->message, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = KR_GROUP;
	io_uring_sqe_set_data64(sqe, tag);
	KT_MUST(io_uring_submit(&kr->ring) == 1);
}

int kr_wait(struct kring *kr, int ms, struct io_uring_cqe *copy)
{
	struct __kernel_timespec limit = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000LL};
	struct io_uring_cqe *cqe;
	int result = io_uring_wait_cqe_timeout(&kr->ring, &cqe, &limit);

	if (result < 0)
		return result == -EINTR ? -ETIME : result;
	copy->user_data = cqe->user_data;
	copy->res = cqe->res;
	copy->flags = cqe->flags;
	io_uring_cqe_seen(&kr->ring, cqe);
	return copy->res;
}

bool kr_wait_record(struct kring *kr, int ms, struct kr_record *record)
{
	struct io_uring_recvmsg_out *out;
	struct io_uring_cqe cqe;
	struct cmsghdr *head;
	unsigned id;

	memset(record, 0, sizeof *record);
	if (kr_wait(kr, ms, &cqe) == -ETIME)
		return false;
	record->result = cqe.res;
	record->more = cqe.flags & IORING_CQE_F_MORE;
	record->data = last_payload;
	if (!(cqe.flags & IORING_CQE_F_BUFFER))
		return true;
	id = cqe.flags >> IORING_CQE_BUFFER_SHIFT;
	out = io_uring_recvmsg_validate(kr->memory + (size_t)id * kr->bytes, cqe.res, &kr->message);
	KT_MUST(out != NULL);
	head = io_uring_recvmsg_cmsg_firsthdr(out, &kr->message);
	if (head && head->cmsg_level == SOL_TLS && head->cmsg_type == TLS_GET_RECORD_TYPE)
		record->type = *CMSG_DATA(head);
	record->length = io_uring_recvmsg_payload_length(out, cqe.res, &kr->message);
	memcpy(last_payload, io_uring_recvmsg_payload(out, &kr->message), record->length);
	kr_give_back(kr, id);
	return true;
}
