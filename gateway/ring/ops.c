/* SPDX-License-Identifier: MIT */
/*
 * ops.c -- one short function an operation: arm the op, fill its SQE. And the layout of what
 * multishot recvmsg leaves in a buffer.
 *
 * Flags that every use needs are set here and nowhere else: MSG_NOSIGNAL on sends, CLOEXEC on new
 * descriptors. Not here: SEND_ZC and MSG_WAITALL on sends, which sockets under kTLS refuse.
 */
#include "ring/ring-private.h"

#include <limits.h>

#define SOL_TLS_LEVEL          282 /* SOL_TLS, not in this libc's headers */
#define TLS_RECORD_TYPE_CMSG   2   /* TLS_GET_RECORD_TYPE */
#define TLS_RECORD_TYPE_NORMAL 23  /* application data comes without a control message */
#define TLS_RECORD_PLAIN       16384

static unsigned len_of(size_t n)
{
	return (unsigned)min_size(n, INT_MAX);
}

/* ---- sockets ---- */

void ring_accept(struct ring *ring, struct op *op, int fd)
{
	io_uring_prep_multishot_accept(ring_op_arm(ring, op), fd, NULL, NULL, SOCK_CLOEXEC);
}

static void select_buffers(struct op *op, struct io_uring_sqe *sqe)
{
	op->selects = true;
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = RING_BUFFER_GROUP;
}

static void select_wide(struct op *op, struct io_uring_sqe *sqe)
{
	op->wide = true;
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = RING_WIDE_GROUP;
}

void ring_recv_wide(struct ring *ring, struct op *op, int fd, size_t n)
{
	struct io_uring_sqe *sqe = ring_op_arm(ring, op);

	io_uring_prep_recv(sqe, fd, NULL, min_size(n, RING_WIDE_BYTES), 0);
	select_wide(op, sqe);
}

/* Without an iovec the kernel takes all of the buffer. It writes to msg how much of `control` it used. */
void ring_recvmsg_wide(struct ring *ring, struct op *op, int fd, struct ring_record *record)
{
	struct io_uring_sqe *sqe = ring_op_arm(ring, op);

	record->msg = (struct msghdr){
		.msg_control = record->control, .msg_controllen = sizeof(record->control)};
	io_uring_prep_recvmsg(sqe, fd, &record->msg, 0);
	select_wide(op, sqe);
}

void ring_recv_multi(struct ring *ring, struct op *op, int fd)
{
	struct io_uring_sqe *sqe = ring_op_arm(ring, op);

	io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
	select_buffers(op, sqe);
}

void ring_recvmsg_multi(struct ring *ring, struct op *op, int fd, struct msghdr *msg)
{
	struct io_uring_sqe *sqe = ring_op_arm(ring, op);

	io_uring_prep_recvmsg_multishot(sqe, fd, msg, 0);
	select_buffers(op, sqe);
}

void ring_recv(struct ring *ring, struct op *op, int fd, void *p, size_t n)
{
	io_uring_prep_recv(ring_op_arm(ring, op), fd, p, len_of(n), 0);
}

void ring_peek(struct ring *ring, struct op *op, int fd, void *p, size_t n)
{
	io_uring_prep_recv(ring_op_arm(ring, op), fd, p, len_of(n), MSG_PEEK);
}

void ring_send(struct ring *ring, struct op *op, int fd, struct span bytes)
{
	io_uring_prep_send(ring_op_arm(ring, op), fd, bytes.p, len_of(bytes.n), MSG_NOSIGNAL);
}

void ring_send_lazy(struct ring *ring, struct op *op, int fd, struct span bytes)
{
	ring_send(ring, op, fd, bytes);
	ring->lazy++;
}

void ring_sendmsg(struct ring *ring, struct op *op, int fd, const struct msghdr *msg)
{
	io_uring_prep_sendmsg(ring_op_arm(ring, op), fd, msg, MSG_NOSIGNAL);
}

void ring_connect(
	struct ring *ring, struct op *op, int fd, const struct sockaddr *address, socklen_t n)
{
	io_uring_prep_connect(ring_op_arm(ring, op), fd, address, n);
}

void ring_shutdown(struct ring *ring, struct op *op, int fd, int how)
{
	io_uring_prep_shutdown(ring_op_arm(ring, op), fd, how);
}

void ring_socket(struct ring *ring, struct op *op, int domain, int type, int protocol)
{
	io_uring_prep_socket(ring_op_arm(ring, op), domain, type | SOCK_CLOEXEC, protocol, 0);
}

/* ---- what multishot recvmsg leaves: header, name, control, payload ---- */

void ring_msg_init(struct msghdr *msg)
{
	_Static_assert(
		sizeof(struct io_uring_recvmsg_out) + RING_CONTROL_BYTES + TLS_RECORD_PLAIN ==
			RING_BUFFER_BYTES,
		"a buffer takes one full record and no more");
	*msg = (struct msghdr){.msg_controllen = RING_CONTROL_BYTES};
}

/* Finds the record type in the control messages; false if they are malformed. */
static bool record_type_find(struct span control, uint8_t *type)
{
	while (control.n >= sizeof(struct cmsghdr)) {
		struct cmsghdr header;

		memcpy(&header, control.p, sizeof(header));
		if (header.cmsg_len < sizeof(header) || header.cmsg_len > control.n)
			return false;
		if (header.cmsg_level == SOL_TLS_LEVEL &&
			header.cmsg_type == TLS_RECORD_TYPE_CMSG) {
			if (header.cmsg_len < CMSG_LEN(1))
				return false;
			*type = control.p[CMSG_LEN(0)];
		}
		span_take(&control, CMSG_ALIGN(header.cmsg_len));
	}
	return control.n == 0;
}

bool ring_msg_parse(const struct msghdr *msg, struct ring_buffer *buffer)
{
	struct span rest = buffer->bytes;
	struct io_uring_recvmsg_out out;
	struct span control;

	if (rest.n < sizeof(out) + msg->msg_namelen + msg->msg_controllen)
		return false;
	memcpy(&out, rest.p, sizeof(out));
	span_take(&rest, sizeof(out) + msg->msg_namelen);
	control = span_take(&rest, msg->msg_controllen);
	if ((out.flags & (MSG_CTRUNC | MSG_TRUNC)) || out.controllen > control.n)
		return false;
	if (out.payloadlen > rest.n)
		return false;
	control.n = out.controllen;
	buffer->type = TLS_RECORD_TYPE_NORMAL;
	if (!record_type_find(control, &buffer->type))
		return false;
	buffer->bytes = span_of(rest.p, out.payloadlen);
	return true;
}

bool ring_record_parse(const struct ring_record *record, struct ring_buffer *buffer)
{
	const struct msghdr *msg = &record->msg;

	if ((msg->msg_flags & (MSG_CTRUNC | MSG_TRUNC)) ||
		msg->msg_controllen > sizeof(record->control))
		return false;
	buffer->type = TLS_RECORD_TYPE_NORMAL;
	return record_type_find(span_of(record->control, msg->msg_controllen), &buffer->type);
}

/* ---- files ---- */

void ring_openat(
	struct ring *ring, struct op *op, int dir, const char *path, int flags, mode_t mode)
{
	io_uring_prep_openat(ring_op_arm(ring, op), dir, path, flags | O_CLOEXEC, mode);
}

void ring_close_fd(struct ring *ring, struct op *op, int fd)
{
	io_uring_prep_close(ring_op_arm(ring, op), fd);
}

void ring_write(struct ring *ring, struct op *op, int fd, struct span bytes, uint64_t offset)
{
	io_uring_prep_write(ring_op_arm(ring, op), fd, bytes.p, len_of(bytes.n), offset);
}

void ring_writev(struct ring *ring, struct op *op, int fd, const struct iovec *iov, unsigned n,
	uint64_t offset)
{
	io_uring_prep_writev(ring_op_arm(ring, op), fd, iov, n, offset);
}

void ring_fsync(struct ring *ring, struct op *op, int fd, bool data_only)
{
	io_uring_prep_fsync(ring_op_arm(ring, op), fd, data_only ? IORING_FSYNC_DATASYNC : 0);
}

void ring_write_out(struct ring *ring, struct op *op, int fd, uint64_t offset, uint32_t n)
{
	io_uring_prep_sync_file_range(ring_op_arm(ring, op), fd, n, offset, SYNC_FILE_RANGE_WRITE);
}

void ring_forget(struct ring *ring, struct op *op, int fd)
{
	io_uring_prep_fadvise(ring_op_arm(ring, op), fd, 0, 0, POSIX_FADV_DONTNEED);
}

void ring_writev_sync(struct ring *ring, struct op *op, int fd, const struct iovec *iov, unsigned n,
	uint64_t offset)
{
	io_uring_prep_writev2(ring_op_arm(ring, op), fd, iov, n, offset, RWF_DSYNC);
}

void ring_read(struct ring *ring, struct op *op, int fd, void *p, size_t n, uint64_t offset)
{
	io_uring_prep_read(ring_op_arm(ring, op), fd, p, len_of(n), offset);
}

void ring_readv(struct ring *ring, struct op *op, int fd, const struct iovec *iov, unsigned n,
	uint64_t offset)
{
	io_uring_prep_readv(ring_op_arm(ring, op), fd, iov, n, offset);
}

void ring_fallocate(struct ring *ring, struct op *op, int fd, int mode, uint64_t offset, uint64_t n)
{
	io_uring_prep_fallocate(ring_op_arm(ring, op), fd, mode, (off_t)offset, (off_t)n);
}

void ring_mkdirat(struct ring *ring, struct op *op, int dir, const char *path, mode_t mode)
{
	io_uring_prep_mkdirat(ring_op_arm(ring, op), dir, path, mode);
}

void ring_linkat(struct ring *ring, struct op *op, int from_dir, const char *from, int to_dir,
	const char *to)
{
	io_uring_prep_linkat(ring_op_arm(ring, op), from_dir, from, to_dir, to, 0);
}

void ring_renameat(struct ring *ring, struct op *op, int from_dir, const char *from, int to_dir,
	const char *to)
{
	io_uring_prep_renameat(ring_op_arm(ring, op), from_dir, from, to_dir, to, 0);
}

void ring_unlinkat(struct ring *ring, struct op *op, int dir, const char *path)
{
	io_uring_prep_unlinkat(ring_op_arm(ring, op), dir, path, 0);
}

void ring_splice(struct ring *ring, struct op *op, int in, int64_t in_offset, int out,
	int64_t out_offset, uint32_t n, unsigned flags)
{
	io_uring_prep_splice(ring_op_arm(ring, op), in, in_offset, out, out_offset, n, flags);
}

void ring_poll(struct ring *ring, struct op *op, int fd, short events)
{
	io_uring_prep_poll_add(ring_op_arm(ring, op), fd, (unsigned short)events);
}

void ring_timeout(struct ring *ring, struct op *op, struct ring_time *time, uint64_t us)
{
	_Static_assert(sizeof(*time) == sizeof(struct __kernel_timespec), "the kernel's own shape");
	*time = (struct ring_time){(int64_t)(us / 1000000), (long long)(us % 1000000) * 1000};
	io_uring_prep_timeout(ring_op_arm(ring, op), (struct __kernel_timespec *)time, 0, 0);
}

/* ---- ending ---- */

void ring_cancel(struct ring *ring, struct op *op, struct op *target)
{
	io_uring_prep_cancel(ring_op_arm(ring, op), target, 0);
	if (target->parked) {
		list_remove(&target->node);
		list_push_back(&ring->cancelled, &target->node);
	}
}
