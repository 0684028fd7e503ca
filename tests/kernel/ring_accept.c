/* SPDX-License-Identifier: MIT */
/*
 * ring_accept: one multishot accept takes connection after connection; running out of descriptors
 * ends it with EMFILE and loses nobody: who waits in the backlog is there when it is armed again.
 * The limit that counts is the one at the time of arming. Of two rings that accept at one socket the first
 * gets all.
 * Proves kernel-notes/ring-multishot-accept.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#define WAIT_MS  10000
#define CLIENTS  5
#define QUIET_MS 50

static void arm(struct kring *kr, int listener)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&kr->ring);

	io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
	KT_MUST(io_uring_submit(&kr->ring) == 1);
}

static void two_rings(
	struct kring *first, int listener, const struct sockaddr *address, socklen_t length)
{
	struct io_uring_cqe cqe = {0};
	struct kring second;
	bool all = true;

	kr_open(&second, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 8, 4096);
	arm(&second, listener); /* the first is armed already */
	for (int i = 0; i < CLIENTS; i++) {
		int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		KT_MUST(client >= 0 && connect(client, address, length) == 0);
		all = all && kr_wait(first, WAIT_MS, &cqe) >= 0;
	}
	kt_ok(all && kr_wait(&second, QUIET_MS, &cqe) == -ETIME,
		"of two rings the one that was armed first gets all connections");
	kr_close(&second);
}

int main(void)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof address;
	struct io_uring_cqe cqe = {0};
	struct rlimit old, tight;
	struct kring kr;
	uint16_t port;
	int listener = kt_listener(&port);
	int client[CLIENTS + 1];
	bool all = true;
	int spare;

	kr_open(&kr, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 8, 4096);
	KT_MUST(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
	for (int i = 0; i <= CLIENTS; i++) {
		client[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		KT_MUST(client[i] >= 0);
	}
	spare = dup(listener);
	KT_MUST(spare >= 0 && close(spare) == 0 && getrlimit(RLIMIT_NOFILE, &old) == 0);
	tight = old;
	tight.rlim_cur = (rlim_t)spare + CLIENTS;
	KT_MUST(setrlimit(RLIMIT_NOFILE, &tight) == 0);
	arm(&kr, listener);
	for (int i = 0; i < CLIENTS; i++) {
		KT_MUST(connect(client[i], (struct sockaddr *)&address, length) == 0);
		all = all && kr_wait(&kr, WAIT_MS, &cqe) >= 0 && cqe.flags & IORING_CQE_F_MORE;
	}
	kt_ok(all, "%d connections by one request, F_MORE each time", CLIENTS);
	KT_MUST(connect(client[CLIENTS], (struct sockaddr *)&address, length) == 0);
	kt_ok(kr_wait(&kr, WAIT_MS, &cqe) == -EMFILE && !(cqe.flags & IORING_CQE_F_MORE),
		"no descriptor left: EMFILE, and the request has ended");
	KT_MUST(setrlimit(RLIMIT_NOFILE, &old) == 0);
	arm(&kr, listener);
	kt_ok(kr_wait(&kr, WAIT_MS, &cqe) >= 0,
		"armed again: who waited in the backlog is accepted");
	two_rings(&kr, listener, (struct sockaddr *)&address, length);
	kr_close(&kr);
	return kt_done();
}
