/* SPDX-License-Identifier: MIT */
/*
 * ring_splice_out: splice from a pipe to a socket. With O_NONBLOCK on the socket it moves what fits and
 * then answers EAGAIN instead of waiting; a receive that was armed before the flag was set goes on
 * waiting; a socket whose peer is gone gives EPIPE, and no SIGPIPE reaches the process.
 * Proves kernel-notes/ring-splice-out.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS    10000
#define QUIET_MS   200
#define PIPE_BYTES 65536
#define ROUNDS_MAX 1000

static struct kring kr;
static volatile sig_atomic_t sigpipes;

static void on_sigpipe(int number)
{
	(void)number;
	sigpipes++;
}

static void nonblocking(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	KT_MUST(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == 0);
}

static int splice_out(int pipe_fd, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&kr.ring);
	struct io_uring_cqe cqe = {0};

	io_uring_prep_splice(sqe, pipe_fd, -1, fd, -1, PIPE_BYTES, 0);
	sqe->user_data = 1;
	KT_MUST(io_uring_submit(&kr.ring) == 1);
	kr_wait(&kr, WAIT_MS, &cqe);
	return cqe.user_data == 1 ? cqe.res : -ETIME;
}

/* Fills the pipe, then the socket until it takes no more; the last answer. */
static int until_full(const int tube[2], int fd, long *moved)
{
	static char octets[PIPE_BYTES];
	int res = 0;

	for (int i = 0; i < ROUNDS_MAX; i++) {
		nonblocking(tube[1], 1);
		while (write(tube[1], octets, sizeof(octets)) > 0)
			;
		res = splice_out(tube[0], fd);
		if (res <= 0)
			return res;
		*moved += res;
	}
	return res;
}

int main(void)
{
	struct sigaction action = {.sa_handler = on_sigpipe};
	struct io_uring_cqe cqe = {0};
	struct io_uring_sqe *sqe;
	char got[16];
	int pair[2], tube[2];
	long moved = 0;
	int res;

	sigaction(SIGPIPE, &action, NULL);
	kr_open(&kr, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 8, 4096);
	KT_MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	KT_MUST(pipe(tube) == 0);

	sqe = io_uring_get_sqe(&kr.ring);
	io_uring_prep_recv(sqe, pair[0], got, sizeof(got), 0);
	sqe->user_data = 2;
	KT_MUST(io_uring_submit(&kr.ring) == 1);
	nonblocking(pair[0], 1);
	res = until_full(tube, pair[0], &moved);
	kt_ok(res == -EAGAIN && moved > 0, "a full socket answers EAGAIN after %ld octets (%d)",
		moved, res);
	kt_ok(kr_wait(&kr, QUIET_MS, &cqe) == -ETIME,
		"the receive armed before O_NONBLOCK still waits");
	KT_MUST(write(pair[1], "hello", 5) == 5);
	res = kr_wait(&kr, WAIT_MS, &cqe);
	kt_ok(res == 5 && cqe.user_data == 2, "... and takes what then comes (%d)", res);

	close(pair[1]);
	res = splice_out(tube[0], pair[0]);
	kt_ok(res == -EPIPE, "a socket whose peer is gone: EPIPE (%d)", res);
	kt_ok(sigpipes == 0, "no SIGPIPE came");
	close(pair[0]);
	close(tube[0]);
	close(tube[1]);
	kr_close(&kr);
	return kt_done();
}
