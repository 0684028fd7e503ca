/* SPDX-License-Identifier: MIT */
/*
 * ring_setup: how a ring's features are found out and what SINGLE_ISSUER and DEFER_TASKRUN demand.
 * Proves kernel-notes/ring-setup.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEFER (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

static int init(unsigned flags)
{
	struct io_uring ring;
	int result = io_uring_queue_init(8, &ring, flags);

	if (result == 0)
		io_uring_queue_exit(&ring);
	return result;
}

static void *submit_elsewhere(void *arg)
{
	struct io_uring *ring = arg;
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_nop(sqe);
	return (void *)(intptr_t)io_uring_submit(ring);
}

static void test_single_issuer(void)
{
	struct io_uring ring;
	struct io_uring_cqe *cqe;
	pthread_t thread;
	void *result;

	KT_MUST(io_uring_queue_init(8, &ring, DEFER) == 0);
	KT_MUST(pthread_create(&thread, NULL, submit_elsewhere, &ring) == 0);
	KT_MUST(pthread_join(thread, &result) == 0);
	kt_ok((intptr_t)result == -EEXIST, "SINGLE_ISSUER: another thread's submission: EEXIST");
	kt_ok(io_uring_submit(&ring) == 1 && io_uring_wait_cqe(&ring, &cqe) == 0,
		"SINGLE_ISSUER: the thread that made the ring may submit");
	io_uring_queue_exit(&ring);
}

/* The worker's way: made disabled by one thread, enabled and from then on owned by another. */
static void *enable_and_submit(void *arg)
{
	struct io_uring *ring = arg;
	struct io_uring_sqe *sqe;

	/* liburing 2.3 declares io_uring_enable_rings and does not export it. */
	if (syscall(__NR_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) !=
		0)
		return (void *)(intptr_t)-1;
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_nop(sqe);
	return (void *)(intptr_t)io_uring_submit(ring);
}

static void test_disabled(void)
{
	struct io_uring ring;
	pthread_t thread;
	void *result;

	KT_MUST(io_uring_queue_init(8, &ring, DEFER | IORING_SETUP_R_DISABLED) == 0);
	KT_MUST(pthread_create(&thread, NULL, enable_and_submit, &ring) == 0);
	KT_MUST(pthread_join(thread, &result) == 0);
	kt_ok((intptr_t)result == 1, "R_DISABLED: the thread that enables the ring owns it");
	io_uring_queue_exit(&ring);
}

/* With DEFER_TASKRUN completions appear when asked for, so peeking alone must ask the kernel. */
static void test_deferred(void)
{
	struct io_uring_cqe *cqe;
	struct kring kr;
	unsigned long queued;
	int fd[2];

	kr_open(&kr, DEFER, 8, 4096);
	kt_tcp_pair(fd);
	kr_arm_recvmsg(&kr, fd[1], 1);
	kt_write_all(fd[0], "x", 1);
	KT_MUST(recv(fd[1], &(char){0}, 1, MSG_PEEK) == 1);
	queued = io_uring_cq_ready(&kr.ring);
	kt_ok(queued == 0, "DEFER_TASKRUN: no completion appears by itself");
	kt_ok(io_uring_get_events(&kr.ring) >= 0 && io_uring_peek_cqe(&kr.ring, &cqe) == 0,
		"DEFER_TASKRUN: it does once the kernel is entered with GETEVENTS");
	kr_close(&kr);
}

static void test_probe(void)
{
	static const struct {
		int op;
		const char *name;
	} ops[] = {
		{IORING_OP_ACCEPT, "ACCEPT"},
		{IORING_OP_RECVMSG, "RECVMSG"},
		{IORING_OP_SENDMSG, "SENDMSG"},
		{IORING_OP_SEND, "SEND"},
		{IORING_OP_RECV, "RECV"},
		{IORING_OP_SPLICE, "SPLICE"},
		{IORING_OP_CLOSE, "CLOSE"},
		{IORING_OP_SHUTDOWN, "SHUTDOWN"},
		{IORING_OP_POLL_ADD, "POLL_ADD"},
		{IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
		{IORING_OP_FSYNC, "FSYNC"},
		{IORING_OP_TIMEOUT, "TIMEOUT"},
	};
	struct io_uring_probe *probe = io_uring_get_probe();

	KT_MUST(probe != NULL);
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
		kt_ok(io_uring_opcode_supported(probe, ops[i].op), "probe lists %s", ops[i].name);
	kt_ok(!io_uring_opcode_supported(probe, 250), "probe does not list what does not exist");
	io_uring_free_probe(probe);
}

int main(void)
{
	int result = init(0);

	if (result == -ENOSYS || result == -EPERM)
		kt_unsupported("io_uring is not to be had");
	kt_ok(init(DEFER) == 0, "SINGLE_ISSUER and DEFER_TASKRUN");
	kt_ok(init(IORING_SETUP_COOP_TASKRUN) == 0, "COOP_TASKRUN");
	kt_ok(init(IORING_SETUP_DEFER_TASKRUN) == -EINVAL, "DEFER_TASKRUN alone: EINVAL");
	kt_ok(init(1u << 31) == -EINVAL,
		"a flag that the kernel does not know: EINVAL, so trying probes");
	test_single_issuer();
	test_disabled();
	test_deferred();
	test_probe();
	return kt_done();
}
