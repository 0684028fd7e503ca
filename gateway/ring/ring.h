/* SPDX-License-Identifier: MIT */
/*
 * ring.h -- io_uring for one worker: operations, provided buffers, cancellation, timers, the loop.
 *
 * The only user of liburing. One thread owns a ring (SINGLE_ISSUER, DEFER_TASKRUN where offered);
 * nothing here is locked, ring_wake() excepted.
 *
 * An operation is a struct op inside the object that owns it. Starting it hands it to the kernel:
 * op->armed is true from then until its last completion (no IORING_CQE_F_MORE) has been delivered.
 * The owner lives on while any of its ops is armed. Completions are reaped in batches first and run
 * later: a handler may start, cancel and free what it likes, its own object included once nothing
 * of it is armed, since the last completion of an op is delivered after op->armed fell.
 *
 * Submission is batched: starting an op only fills an SQE; the loop submits once a turn, when it
 * waits. A full submission queue is submitted early and counted, never an error to the caller.
 * So whatever an op points to (bytes, paths, addresses) must stay valid while it is armed.
 *
 * Handlers get res = the completion's result (>= 0 or -errno), as the kernel gives it.
 */
#ifndef POSTERN_RING_RING_H
#define POSTERN_RING_RING_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "base/list.h"
#include "base/span.h"
#include "base/wheel.h"

struct op;
struct ring;

typedef void op_done_fn(struct op *op, int res, uint32_t flags);

struct op {
	op_done_fn *done;
	bool armed;
	/* The ring's own; zero at first. */
	bool selects;     /* takes provided buffers, and waits for one */
	bool wide;        /* takes a wide one, and does not wait */
	bool parked;      /* its -ENOBUFS is held back until a buffer is free */
	struct list node; /* among the parked ones, or those that complete soon */
};

struct ring_time {
	int64_t s;
	long long ns;
};

/* Flags given to op_done_fn. */
#define RING_MORE             (1u << 0) /* multishot: further completions will come */
#define RING_BUFFER           (1u << 1) /* a provided buffer came along: ring_buffer_of(flags) */
#define RING_BUFFER_ID(flags) ((uint16_t)((flags) >> 16))

/* One provided buffer: payload space for a full TLS record's plaintext plus recvmsg header and
 * cmsg. */
#define RING_BUFFER_BYTES (16384 + 128)
/* One of those for bodies that come by the megabyte: fewer receives, and fewer words to the sender
 * that there is room again. */
#define RING_WIDE_BYTES   (128 * 1024)
#define RING_WIDE_BUFFERS 8
#define RING_LAZY_MS      1
#define RING_CMSG_BYTES   24 /* CMSG_SPACE(1): the record type */
/* What multishot recvmsg keeps for control messages, in front of the payload. More than those need: with
 * it the payload's room is one full record. Were it any more, the kernel would begin the next record
 * where that is there, and what does not fit it opens in memory of its own and copies. */
#define RING_CONTROL_BYTES 112

struct ring_settings {
	uint32_t entries;        /* SQ entries; CQ is four times that */
	uint32_t buffers;        /* provided buffers, a power of two up to 32768 */
	uint32_t iowq_bounded;   /* io-wq threads for files; 0: the kernel's choice */
	uint32_t iowq_unbounded; /* io-wq threads for sockets */
};

struct ring_features {
	bool single_issuer;
	bool defer_taskrun;
	bool multishot_accept;
	bool multishot_recv;
	bool multishot_recvmsg;
	bool buffer_ring;
	bool splice;
};

/*
 * Probes once, on a throw-away ring. -1 and one sentence in err when io_uring cannot be used: names
 * the sysctl kernel.io_uring_disabled (EPERM with the sysctl set), a seccomp filter (EPERM or
 * ENOSYS without), the missing feature and the kernel (6.1) that has it, or the limit of locked memory.
 *
 * Where the kernel has no memory for a ring (kernel-notes/ring-memory.md), this and ring_open() try
 * again for up to five seconds, asleep in between, and log `event=ring_waits` once.
 */
MUST_USE int ring_probe(struct ring_features *features, struct err *err);

/* Call on the thread that will run it. */
MUST_USE int ring_open(struct ring **out, const struct ring_settings *settings, struct err *err);
void ring_close(struct ring *ring); /* no op may be armed */

/*
 * Turns until ring_stop(): submit and wait (for a completion, a timer, a wake), reap, run, timers,
 * then a round: what ring_soon() asked for, and before_wait(ctx), which may start ops (log writing,
 * group commit). Rounds follow each other while they ask for more, a few times at most.
 */
void ring_run(struct ring *ring, void (*before_wait)(void *ctx), void *ctx);
void ring_stop(struct ring *ring); /* from a handler */

/* From any thread: makes the loop call on_wake(ctx) soon. */
void ring_on_wake(struct ring *ring, void (*on_wake)(void *ctx), void *ctx);
void ring_wake(struct ring *ring);

uint64_t ring_now_ms(const struct ring *ring); /* clock_ms() at this turn's start */
uint64_t ring_turns(const struct ring *ring);  /* of ring_run(), since it was opened */
struct wheel *ring_wheel(struct ring *ring);
const struct ring_features *ring_features(const struct ring *ring);

/* ---- sockets ---- */

/* Multishot; res = new fd (CLOEXEC; not non-blocking). Ends on error: the owner starts it again. */
void ring_accept(struct ring *ring, struct op *op, int fd);

/* Multishot receive into provided buffers. Each completion with RING_BUFFER owns one buffer, to be
 * given back by ring_buffer_release(). res 0: end of stream. -ENOBUFS: none was free; start again.
 * That completion is held back until a buffer is free again (or the op is cancelled), so starting
 * again at once does not spin, however long the holders keep their buffers. */
void ring_recv_multi(struct ring *ring, struct op *op, int fd);

/* One receive of up to n octets into a wide buffer, taken when octets are there. -ENOBUFS comes at once:
 * others have them, and ring_recv_multi() is the way for now. */
void ring_recv_wide(struct ring *ring, struct op *op, int fd, size_t n);

/* ring_recv_multi() by recvmsg with room for a control message: under kTLS tells the record type.
 * See ring_msg_parse(). `msg` must stay valid while the op is armed; ring_msg_init() prepares it.
 * End of stream: no RING_MORE, res = the bare header and a buffer with an empty payload (6.1
 * and 6.18 do so), or res 0 without a buffer.
 */
void ring_recvmsg_multi(struct ring *ring, struct op *op, int fd, struct msghdr *msg);
void ring_msg_init(struct msghdr *msg);

/* ring_recv_wide() by recvmsg, for kTLS: records that are there, of one type, one behind the other. What
 * that type is ring_record_parse() tells. `record` must stay where it is while the op is armed. Not on
 * kernels that call half a record readable (kernel-notes/ktls-partial-records.md). */
struct ring_record {
	struct msghdr msg;
	_Alignas(struct cmsghdr) uint8_t control[RING_CMSG_BYTES];
};

void ring_recvmsg_wide(struct ring *ring, struct op *op, int fd, struct ring_record *record);

/* One receive of up to n octets into p. */
void ring_recv(struct ring *ring, struct op *op, int fd, void *p, size_t n);
/* The same, but the octets stay in the socket: the next receive gets them again. */
void ring_peek(struct ring *ring, struct op *op, int fd, void *p, size_t n);
void ring_send(struct ring *ring, struct op *op, int fd,
	struct span bytes); /* MSG_NOSIGNAL; may be short */
/* The same where nothing waits for the end of it but the buffer: that is told with whatever happens
 * next, and after RING_LAZY_MS at the latest. A send usually ends as it is submitted, so without this
 * the loop would go round once for each reply, before anybody could have answered it. */
void ring_send_lazy(struct ring *ring, struct op *op, int fd, struct span bytes);
/* `msg` and what it points to must stay valid while the op is armed. */
void ring_sendmsg(struct ring *ring, struct op *op, int fd, const struct msghdr *msg);
void ring_connect(
	struct ring *ring, struct op *op, int fd, const struct sockaddr *address, socklen_t n);
void ring_shutdown(struct ring *ring, struct op *op, int fd, int how);
/* res = a new socket (CLOEXEC), made without a system call of ours. */
void ring_socket(struct ring *ring, struct op *op, int domain, int type, int protocol);

/* ---- provided buffers ---- */

struct ring_buffer {
	struct ring_buffer *next; /* for the holder's use */
	struct span bytes;        /* for the holder's use: what is left to process */
	uint16_t id;
	uint8_t type; /* for the holder's use: record type */
};

/* The holder's record of buffer `id`, with .bytes = its first res octets. */
struct ring_buffer *ring_buffer_of(struct ring *ring, uint32_t flags, int res);
void ring_buffer_release(struct ring *ring, struct ring_buffer *buffer);

/* After a recvmsg_multi completion: narrows buffer->bytes to the payload and sets ->type to the
 * TLS record type (23 when no control message came). False: truncated control data or malformed. */
MUST_USE bool ring_msg_parse(const struct msghdr *msg, struct ring_buffer *buffer);
/* The same after ring_recvmsg_wide(), whose buffer holds nothing but the payload. */
MUST_USE bool ring_record_parse(const struct ring_record *record, struct ring_buffer *buffer);

/* ---- files (punted to io-wq by the kernel) ---- */

void ring_openat(
	struct ring *ring, struct op *op, int dir, const char *path, int flags, mode_t mode);
void ring_close_fd(struct ring *ring, struct op *op, int fd);
void ring_write(struct ring *ring, struct op *op, int fd, struct span bytes,
	uint64_t offset); /* may be short */
void ring_writev(struct ring *ring, struct op *op, int fd, const struct iovec *iov, unsigned n,
	uint64_t offset);
/* As ring_writev(), and what it answers is on disk as by fdatasync(2). Where that fails, the answer
 * is its error. (kernel-notes/ring-dsync.md) */
void ring_writev_sync(struct ring *ring, struct op *op, int fd, const struct iovec *iov, unsigned n,
	uint64_t offset);
void ring_read(struct ring *ring, struct op *op, int fd, void *p, size_t n, uint64_t offset);
void ring_readv(struct ring *ring, struct op *op, int fd, const struct iovec *iov, unsigned n,
	uint64_t offset);
void ring_fallocate(
	struct ring *ring, struct op *op, int fd, int mode, uint64_t offset, uint64_t n);
/* The page cache lets go of what it has of the file. */
void ring_forget(struct ring *ring, struct op *op, int fd);
void ring_fsync(struct ring *ring, struct op *op, int fd, bool data_only);
/* Begins to write out what is dirty of n octets from offset, and does not wait for it (see
 * sync_file_range(2)). It promises nothing: a later fsync has less to do, and tells of errors. */
void ring_write_out(struct ring *ring, struct op *op, int fd, uint64_t offset, uint32_t n);
void ring_mkdirat(struct ring *ring, struct op *op, int dir, const char *path, mode_t mode);
void ring_linkat(struct ring *ring, struct op *op, int from_dir, const char *from, int to_dir,
	const char *to);
void ring_renameat(struct ring *ring, struct op *op, int from_dir, const char *from, int to_dir,
	const char *to);
void ring_unlinkat(struct ring *ring, struct op *op, int dir, const char *path);
/* Moves up to n octets; one of the two is a pipe; offset -1 for pipes and sockets. `flags` as in
 * splice(2): SPLICE_F_NONBLOCK on a socket that ring_poll() found readable never pins a thread. */
void ring_splice(struct ring *ring, struct op *op, int in, int64_t in_offset, int out,
	int64_t out_offset, uint32_t n, unsigned flags);

/* One poll; res = the events that are ready. */
void ring_poll(struct ring *ring, struct op *op, int fd, short events);

/* Completes with -ETIME after `us` microseconds; *time is the caller's and must stay valid. */
void ring_timeout(struct ring *ring, struct op *op, struct ring_time *time, uint64_t us);

/* Completes with 0 once the handler that runs is back, in the same turn where that has rounds left:
 * a step that has nothing to ask of the kernel. */
void ring_soon(struct ring *ring, struct op *op);

/* ---- ending ---- */

/* Asks the kernel to cancel target. The target's own last completion (-ECANCELED or its result)
 * still comes and is what the owner waits for; `op` completes too. Neither is an error. */
void ring_cancel(struct ring *ring, struct op *op, struct op *target);

#endif
