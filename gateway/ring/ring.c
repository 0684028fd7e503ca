/* SPDX-License-Identifier: MIT */
/*
 * ring.c -- set-up, the loop, delivery of completions, waking.
 *
 * A turn: publish released buffers; enter the kernel once, which submits, and sleeps until a
 * completion, the wheel's next tick or a wake; copy all completions out of the CQ; run them; end
 * what is parked; run the timers; then rounds of what is to be done soon and of before_wait.
 * Nothing polls: a turn that finds nothing to do sleeps in the kernel.
 *
 * A receive that found no buffer completes with -ENOBUFS. Delivered at once, its owner would start
 * it again at once, and so on as fast as the CPU goes while others hold the buffers. So that
 * completion is parked until a buffer is free, and as many are let go in a turn as buffers are.
 *
 * io_uring_enter is called here by hand, not by io_uring_submit_and_wait_timeout(), which may enter
 * twice (and sleep twice) a call; each call is counted.
 *
 * Rejected: running handlers straight from the CQ (a handler that starts many ops could have the
 * queue overwritten under it); one timeout op a session.
 */
#include "ring/ring-private.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/event.h"

#define ROUNDS_MAX        8 /* in a turn: enough for a step's own steps, too few to keep others out */
#define SUBMIT_RETRY_MS   1
#define SUBMIT_RETRIES    10000 /* ten seconds without kernel memory for one request: give up */
#define INT_FLAG_REG_RING 1     /* liburing's int_flags: the ring's fd is registered */

/* ---- entering the kernel ---- */

_Noreturn static void enter_failed(int error)
{
	event_text(EVENT_NO_COUNT, "ring_failed", "error", strerror(error));
	assert_failed("io_uring_enter", __FILE__, __LINE__);
}

/* Shows the kernel the filled SQEs; how many it has yet to take. */
static unsigned sq_flush(struct ring *ring)
{
	struct io_uring_sq *sq = &ring->uring.sq;

	if (sq->sqe_head != sq->sqe_tail) {
		sq->sqe_head = sq->sqe_tail;
		io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
	}
	return sq->sqe_tail - io_uring_smp_load_acquire(sq->khead);
}

static void memory_pause(void)
{
	const struct timespec ts = {.tv_nsec = SUBMIT_RETRY_MS * 1000000L};

	nanosleep(&ts, NULL);
}

/* Submits without waiting, so that the SQ has room again. */
static void submit_early(struct ring *ring)
{
	count(COUNTER_RING_SQ_FULL);
	ring_buffers_publish(ring);
	for (unsigned i = 0; i < SUBMIT_RETRIES && sq_flush(ring) > 0; i++) {
		int ret;

		count(COUNTER_RING_ENTERS);
		ret = io_uring_enter((unsigned)ring->uring.enter_ring_fd, sq_flush(ring), 0,
			ring->enter_flags, NULL);
		if (ret == -EAGAIN)
			memory_pause();
		else if (ret < 0 && ret != -EINTR)
			enter_failed(-ret);
	}
}

static void arm(struct ring *ring, struct op *op)
{
	ASSERT(!op->armed && op->done != NULL);
	op->armed = true;
	op->selects = false;
	op->wide = false;
	op->parked = false;
	ring->armed++;
}

struct io_uring_sqe *ring_op_arm(struct ring *ring, struct op *op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	if (sqe == NULL) {
		submit_early(ring);
		sqe = io_uring_get_sqe(&ring->uring);
		ASSERT(sqe != NULL);
	}
	io_uring_sqe_set_data(sqe, op);
	arm(ring, op);
	return sqe;
}

void ring_soon(struct ring *ring, struct op *op)
{
	arm(ring, op);
	list_push_back(&ring->soon, &op->node);
}

/*
 * Submits and, if `wait`, waits for a completion, for wait_ms at most (-1: for ever). GETEVENTS
 * always: with DEFER_TASKRUN only that makes the kernel post completions, and it is what brings
 * those back that overflowed the CQ.
 *
 * Lazy sends are waited for on top of that one. Where one of them does not end at once, somebody
 * else's completion is taken for it, which the short wait makes good.
 */
static void submit_and_wait(struct ring *ring, bool wait, int64_t wait_ms)
{
	struct io_uring_getevents_arg arg = {.sigmask_sz = _NSIG / 8};
	unsigned min_complete = wait ? 1 + ring->lazy : 0;
	struct __kernel_timespec ts;
	int ret;

	if (ring->lazy > 0 && (wait_ms < 0 || wait_ms > RING_LAZY_MS))
		wait_ms = RING_LAZY_MS;
	ring->lazy = 0;
	ts = (struct __kernel_timespec){
		.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
	if (wait_ms >= 0)
		arg.ts = (uintptr_t)&ts;
	ring_buffers_publish(ring);
	count(COUNTER_RING_ENTERS);
	ret = io_uring_enter2((unsigned)ring->uring.enter_ring_fd, sq_flush(ring), min_complete,
		ring->enter_flags | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, (sigset_t *)&arg,
		sizeof(arg));
	if (ret >= 0)
		return;
	switch (-ret) {
	case ETIME: /* a timer is due */
	case EINTR: /* a signal: the turn goes on, the next one waits again */
	case EBUSY: /* overflowed completions do not fit: reaping makes room */
		return;
	case EAGAIN: /* no kernel memory for the requests: they stay queued */
		memory_pause();
		return;
	default:
		enter_failed(-ret);
	}
}

/* ---- completions ---- */

static uint32_t flags_of(uint32_t cqe_flags)
{
	uint32_t flags = 0;

	if (cqe_flags & IORING_CQE_F_MORE)
		flags |= RING_MORE;
	if (cqe_flags & IORING_CQE_F_BUFFER)
		flags |= RING_BUFFER | (cqe_flags >> IORING_CQE_BUFFER_SHIFT << 16);
	return flags;
}

static uint32_t reap(struct ring *ring)
{
	struct io_uring_cqe *cqe;
	uint32_t n = 0;
	unsigned head;

	io_uring_for_each_cqe(&ring->uring, head, cqe)
	{
		struct completion *completion = &ring->batch[n];

		if (n == ring->batch_max)
			break;
		completion->op = io_uring_cqe_get_data(cqe);
		completion->res = cqe->res;
		completion->flags = flags_of(cqe->flags);
		if (completion->flags & RING_BUFFER)
			ring_buffers_taken(ring, RING_BUFFER_ID(completion->flags));
		n++;
	}
	io_uring_cq_advance(&ring->uring, n);
	return n;
}

static void deliver(struct ring *ring, struct op *op, int res, uint32_t flags)
{
	ASSERT(op->armed);
	if (!(flags & RING_MORE)) {
		op->armed = false;
		op->parked = false;
		ring->armed--;
	}
	op->done(op, res, flags);
}

static void run(struct ring *ring, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct op *op = ring->batch[i].op;
		int res = ring->batch[i].res;
		uint32_t flags = ring->batch[i].flags;

		if (op->selects && res == -ENOBUFS && !(flags & RING_MORE)) {
			count(COUNTER_RING_NOBUFS);
			if (ring->buffers.free == 0) {
				op->parked = true;
				list_push_back(&ring->parked, &op->node);
				continue;
			}
		} else if (op->wide && res == -ENOBUFS) {
			count(COUNTER_RING_WIDE_NOBUFS);
		}
		deliver(ring, op, res, flags);
	}
}

/* Is there something to do without the kernel's word? */
static bool ready(const struct ring *ring)
{
	return !list_empty(&ring->soon) || !list_empty(&ring->cancelled) ||
	       (!list_empty(&ring->parked) && ring->buffers.free > 0);
}

/* A receive that is let go need not take a buffer: while some are left, the next turn goes on. */
static void parked_run(struct ring *ring)
{
	uint32_t n = ring->buffers.free;
	struct list cancelled;

	list_init(&cancelled);
	list_splice_back(&cancelled, &ring->cancelled);
	while (!list_empty(&cancelled)) {
		struct op *op = container_of(list_pop_front(&cancelled), struct op, node);

		deliver(ring, op, -ECANCELED, 0);
	}
	for (; n > 0 && !list_empty(&ring->parked); n--) {
		struct op *op = container_of(list_pop_front(&ring->parked), struct op, node);

		deliver(ring, op, -ENOBUFS, 0);
	}
}

/* ---- the loop ---- */

/* What is asked for meanwhile comes in the next round. */
static void soon_run(struct ring *ring)
{
	struct list soon;

	list_init(&soon);
	list_splice_back(&soon, &ring->soon);
	while (!list_empty(&soon))
		deliver(ring, container_of(list_pop_front(&soon), struct op, node), 0, 0);
}

static void rounds_run(struct ring *ring, void (*before_wait)(void *ctx), void *ctx)
{
	for (unsigned i = 0; i < ROUNDS_MAX; i++) {
		soon_run(ring);
		if (before_wait != NULL)
			before_wait(ctx);
		if (ring->stopping || list_empty(&ring->soon))
			return;
	}
}

void ring_run(struct ring *ring, void (*before_wait)(void *ctx), void *ctx)
{
	ring->stopping = false;
	while (!ring->stopping) {
		int64_t wait_ms = wheel_wait_ms(&ring->wheel, clock_ms());

		submit_and_wait(ring, wait_ms != 0 && !ready(ring), wait_ms);
		ring->now_ms = clock_ms();
		ring->turns++;
		run(ring, reap(ring));
		parked_run(ring);
		wheel_run(&ring->wheel, ring->now_ms);
		rounds_run(ring, before_wait, ctx);
	}
}

void ring_stop(struct ring *ring)
{
	ring->stopping = true;
}

uint64_t ring_now_ms(const struct ring *ring)
{
	return ring->now_ms;
}

uint64_t ring_turns(const struct ring *ring)
{
	return ring->turns;
}

struct wheel *ring_wheel(struct ring *ring)
{
	return &ring->wheel;
}

const struct ring_features *ring_features(const struct ring *ring)
{
	return &ring->features;
}

/* ---- waking ---- */

static void wake_start(struct ring *ring)
{
	io_uring_prep_read(ring_op_arm(ring, &ring->wake_op), ring->wake_fd, &ring->wake_value,
		sizeof(ring->wake_value), 0);
}

static void wake_start_done(struct op *op, int res, uint32_t flags)
{
	struct ring *ring = container_of(op, struct ring, wake_op);

	(void)flags;
	if (ring->closing)
		return;
	ASSERT(res == (int)sizeof(ring->wake_value));
	wake_start(ring);
	if (ring->on_wake != NULL)
		ring->on_wake(ring->on_wake_ctx);
}

void ring_on_wake(struct ring *ring, void (*on_wake)(void *ctx), void *ctx)
{
	ring->on_wake = on_wake;
	ring->on_wake_ctx = ctx;
}

void ring_wake(struct ring *ring)
{
	const uint64_t one = 1;
	ssize_t n;

	do {
		n = write(ring->wake_fd, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);
	ASSERT(n == (ssize_t)sizeof(one));
}

/* ---- set-up ---- */

static void ring_free(struct ring *ring)
{
	if (ring->uring_open)
		io_uring_queue_exit(&ring->uring);
	ring_buffers_close(ring);
	if (ring->wake_fd >= 0)
		close(ring->wake_fd);
	free(ring->batch);
	free(ring);
}

static int iowq_limit(struct ring *ring, const struct ring_settings *settings, struct err *err)
{
	unsigned limits[2] = {settings->iowq_bounded, settings->iowq_unbounded};
	int ret = io_uring_register_iowq_max_workers(&ring->uring, limits);

	if (ret < 0)
		return err_set(err, "cannot limit io_uring's worker threads: %s", strerror(-ret));
	return 0;
}

static int ring_init(struct ring *ring, const struct ring_settings *settings, struct err *err)
{
	struct ring_patience patience = {0};

	if (ring_probe_patiently(&ring->features, &patience, err) < 0)
		return -1;
	if (ring_uring_open(&ring->uring, settings->entries, &ring->features, &patience, err) < 0)
		return -1;
	ring->uring_open = true;
	for (unsigned i = 0; i < ring->uring.sq.ring_entries; i++)
		ring->uring.sq.array[i] = i;
	/* A cheaper enter; without it all works the same. */
	if (io_uring_register_ring_fd(&ring->uring) == 1 &&
		(ring->uring.int_flags & INT_FLAG_REG_RING))
		ring->enter_flags = IORING_ENTER_REGISTERED_RING;
	if (iowq_limit(ring, settings, err) < 0)
		return -1;
	if (ring_buffers_open(ring, settings->buffers, &patience, err) < 0)
		return -1;
	ring->batch_max = ring->uring.cq.ring_entries;
	ring->batch = calloc(ring->batch_max, sizeof(ring->batch[0]));
	if (ring->batch == NULL)
		return err_set(err, "no memory for %u completions", ring->batch_max);
	/* Not non-blocking: io_uring would then answer -EAGAIN where it should wait. */
	ring->wake_fd = eventfd(0, EFD_CLOEXEC);
	if (ring->wake_fd < 0)
		return err_set(err, "eventfd: %s", strerror(errno));
	wake_start(ring);
	return 0;
}

int ring_open(struct ring **out, const struct ring_settings *settings, struct err *err)
{
	struct ring *ring = calloc(1, sizeof(*ring));

	*out = NULL;
	if (ring == NULL)
		return err_set(err, "no memory for a ring");
	ring->wake_fd = -1;
	ring->wake_op.done = wake_start_done;
	list_init(&ring->parked);
	list_init(&ring->cancelled);
	list_init(&ring->soon);
	ring->now_ms = clock_ms();
	wheel_init(&ring->wheel, ring->now_ms);
	if (ring_init(ring, settings, err) < 0) {
		ring_free(ring);
		return -1;
	}
	*out = ring;
	return 0;
}

static void cancel_done(struct op *op, int res, uint32_t flags)
{
	(void)op;
	(void)res;
	(void)flags;
}

void ring_close(struct ring *ring)
{
	struct op cancel = {.done = cancel_done};

	ASSERT(ring->armed == 1 && ring->wake_op.armed);
	ring->closing = true;
	ring_cancel(ring, &cancel, &ring->wake_op);
	while (ring->armed > 0) {
		submit_and_wait(ring, true, -1);
		run(ring, reap(ring));
	}
	io_uring_unregister_buf_ring(&ring->uring, RING_BUFFER_GROUP);
	ring_free(ring);
}
