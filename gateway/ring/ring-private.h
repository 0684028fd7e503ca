/* SPDX-License-Identifier: MIT */
/*
 * ring-private.h -- what the files of ring/ share.
 *
 * probe.c makes a struct io_uring and says what the kernel offers; memory.c waits where it has no
 * memory for one; buffers.c owns the provided buffers; ops.c fills SQEs; ring.c has set-up, the loop
 * and delivery.
 */
#ifndef POSTERN_RING_RING_PRIVATE_H
#define POSTERN_RING_RING_PRIVATE_H

#include <liburing.h>

#include "ring/ring.h"

#define RING_BUFFER_GROUP 0
#define RING_WIDE_GROUP   1

struct completion {
	struct op *op;
	int32_t res;
	uint32_t flags; /* RING_* */
};

struct ring_buffers {
	struct io_uring_buf_ring *shared; /* with the kernel: one entry a free buffer */
	uint8_t *memory;                  /* count * bytes */
	struct ring_buffer *table;
	bool *held; /* a completion gave it out and nobody has given it back */
	uint32_t count;
	uint32_t bytes;       /* of each */
	uint32_t free;        /* not held: the kernel's and the unpublished ones */
	uint32_t unpublished; /* entered into `shared`, tail not yet advanced */
};

struct ring {
	struct io_uring uring;
	bool uring_open;
	bool stopping;
	bool closing;
	unsigned enter_flags;
	uint32_t armed; /* ops, the wake op included */
	uint32_t lazy;  /* lazy sends since the last wait: their ends are no reason to wake */
	uint64_t now_ms;
	uint64_t turns;

	struct ring_features features;
	struct ring_buffers buffers;
	struct ring_buffers wide;

	struct list parked;    /* ops whose -ENOBUFS is held back, oldest first */
	struct list cancelled; /* parked ops to be ended with -ECANCELED */
	struct list soon;      /* ops that complete with 0 in the next round */

	struct completion *batch;
	uint32_t batch_max; /* = CQ entries */

	struct op wake_op;
	int wake_fd;
	uint64_t wake_value;
	void (*on_wake)(void *ctx);
	void *on_wake_ctx;

	struct wheel wheel;
};

/* How long set-up has waited for memory and will. Zero at first; one for the whole of a set-up. */
struct ring_patience {
	uint64_t until_ms;
	uint32_t pause_ms;
};

/* memory.c: after `call` answered `ret` (-errno). True: there was no memory, a pause was made, the
 * call is to be tried again. */
MUST_USE bool ring_memory_again(struct ring_patience *patience, const char *call, int ret);
/* The sentence for the operator when it stays so. Returns -1. */
int ring_memory_short(struct err *err, const char *call, int error);

/* probe.c: as ring_probe(), within the caller's patience. */
MUST_USE int ring_probe_patiently(
	struct ring_features *features, struct ring_patience *patience, struct err *err);
/* A ring with the best flags the kernel takes; sets single_issuer and defer_taskrun. */
MUST_USE int ring_uring_open(struct io_uring *uring, uint32_t entries,
	struct ring_features *features, struct ring_patience *patience, struct err *err);

/* buffers.c */
MUST_USE int ring_buffers_open(
	struct ring *ring, uint32_t count, struct ring_patience *patience, struct err *err);
void ring_buffers_close(struct ring *ring);
/* A completion gave this one out. */
void ring_buffers_taken(struct ring *ring, uint16_t id);
/* Shows the kernel what was released since the last call. */
void ring_buffers_publish(struct ring *ring);

/* ring.c: an empty SQE that will complete `op`, which is armed from now on. */
struct io_uring_sqe *ring_op_arm(struct ring *ring, struct op *op);

#endif
