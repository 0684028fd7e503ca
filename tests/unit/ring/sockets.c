/* SPDX-License-Identifier: MIT */
/* sockets.c -- each socket op once, multishot accept with its ends, cancellation. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>

#include "tests/unit/ring/harness.h"

static void sockets_open(void)
{
	harness_open(16, 8);
}

TestSuite(sockets, .init = sockets_open, .fini = harness_close, .timeout = TEST_LIMIT_S);

static int listen_on(struct sockaddr_in *address)
{
	socklen_t n = sizeof(*address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*address = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	cr_assert(bind(fd, (struct sockaddr *)address, sizeof(*address)) == 0);
	cr_assert(listen(fd, 16) == 0);
	cr_assert(getsockname(fd, (struct sockaddr *)address, &n) == 0);
	return fd;
}

static int connect_to(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(fd >= 0);
	cr_assert(connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0);
	return fd;
}

Test(sockets, accept_goes_on_and_gives_cloexec_blocking_descriptors)
{
	struct sockaddr_in address;
	int listener = listen_on(&address);
	struct step accept;

	step_init(&accept);
	ring_accept(ring, &accept.op, listener);
	for (unsigned i = 1; i <= 5; i++) {
		int client = connect_to(&address);

		step_wait_calls(&accept, i);
		cr_assert(ge(int, accept.res, 0));
		cr_assert(accept.flags & RING_MORE);
		cr_assert(accept.was_armed);
		cr_assert(fcntl(accept.res, F_GETFD) & FD_CLOEXEC);
		cr_assert(not(fcntl(accept.res, F_GETFL) & O_NONBLOCK));
		close(accept.res);
		close(client);
	}
	cr_assert(eq(int, step_cancel(&accept), -ECANCELED));
	cr_assert(not(accept.flags & RING_MORE));
	cr_assert(not(accept.was_armed));
	close(listener);
}

Test(sockets, accept_without_descriptors_ends_with_emfile_and_the_connection_waits)
{
	struct sockaddr_in address;
	int listener = listen_on(&address);
	int client = connect_to(&address);
	struct rlimit limit;
	struct rlimit none;
	struct step accept;

	step_init(&accept);
	cr_assert(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	none = limit;
	none.rlim_cur = 0;
	cr_assert(setrlimit(RLIMIT_NOFILE, &none) == 0);
	ring_accept(ring, &accept.op, listener);
	step_wait_calls(&accept, 1);
	cr_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	cr_assert(eq(int, accept.res, -EMFILE));
	cr_assert(not(accept.op.armed));
	ring_accept(ring, &accept.op, listener);
	step_wait_calls(&accept, 2);
	cr_assert(ge(int, accept.res, 0), "the connection was still in the queue");
	close(accept.res);
	step_cancel(&accept);
	close(client);
	close(listener);
}

Test(sockets, connect_send_recv_shutdown)
{
	struct sockaddr_in address;
	int listener = listen_on(&address);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct step step;
	char got[8];
	int server;

	step_init(&step);
	ring_connect(ring, &step.op, client, (struct sockaddr *)&address, sizeof(address));
	cr_assert(eq(int, step_wait(&step), 0));
	server = accept(listener, NULL, NULL);
	ring_send(ring, &step.op, client, span_str("hello"));
	cr_assert(eq(int, step_wait(&step), 5));
	ring_recv(ring, &step.op, server, got, sizeof(got));
	cr_assert(eq(int, step_wait(&step), 5));
	cr_assert(memcmp(got, "hello", 5) == 0);
	ring_shutdown(ring, &step.op, client, SHUT_WR);
	cr_assert(eq(int, step_wait(&step), 0));
	ring_recv(ring, &step.op, server, got, sizeof(got));
	cr_assert(eq(int, step_wait(&step), 0));
	close(server);
	close(client);
	close(listener);
}

Test(sockets, a_peek_waits_and_takes_nothing)
{
	struct step step;
	char got[8];
	int pair[2];

	pair_open(pair);
	step_init(&step);
	ring_peek(ring, &step.op, pair[0], got, sizeof(got));
	run_for_ms(20);
	cr_assert(step.op.armed);
	put(pair[1], "hello");
	cr_assert(eq(int, step_wait(&step), 5));
	ring_peek(ring, &step.op, pair[0], got, 2);
	cr_assert(eq(int, step_wait(&step), 2));
	memset(got, 0, sizeof(got));
	ring_recv(ring, &step.op, pair[0], got, sizeof(got));
	cr_assert(eq(int, step_wait(&step), 5));
	cr_assert(memcmp(got, "hello", 5) == 0);
	close(pair[1]);
	ring_peek(ring, &step.op, pair[0], got, sizeof(got));
	cr_assert(eq(int, step_wait(&step), 0));
	close(pair[0]);
}

Test(sockets, a_socket_made_by_the_ring_connects)
{
	struct sockaddr_in address;
	int listener = listen_on(&address);
	struct step step;
	int fd;

	step_init(&step);
	ring_socket(ring, &step.op, AF_INET, SOCK_STREAM, 0);
	fd = step_wait(&step);
	cr_assert(ge(int, fd, 0));
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	ring_connect(ring, &step.op, fd, (struct sockaddr *)&address, sizeof(address));
	cr_assert(eq(int, step_wait(&step), 0));
	ring_socket(ring, &step.op, 250, SOCK_STREAM, 0);
	cr_assert(eq(int, step_wait(&step), -EAFNOSUPPORT));
	close(fd);
	close(listener);
}

Test(sockets, connecting_to_a_closed_port_is_refused)
{
	struct sockaddr_in address;
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct step step;

	close(listen_on(&address));
	step_init(&step);
	ring_connect(ring, &step.op, client, (struct sockaddr *)&address, sizeof(address));
	cr_assert(eq(int, step_wait(&step), -ECONNREFUSED));
	close(client);
}

Test(sockets, sendmsg_gathers)
{
	struct iovec iov[2] = {{.iov_base = (char[]){"ab"}, .iov_len = 2},
		{.iov_base = (char[]){"cd"}, .iov_len = 2}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	struct step step;
	char got[8];
	int pair[2];

	pair_open(pair);
	step_init(&step);
	ring_sendmsg(ring, &step.op, pair[0], &msg);
	cr_assert(eq(int, step_wait(&step), 4));
	cr_assert(read(pair[1], got, sizeof(got)) == 4 && memcmp(got, "abcd", 4) == 0);
	close(pair[0]);
	close(pair[1]);
}

Test(sockets, sending_to_a_gone_peer_is_epipe_and_no_signal)
{
	struct msghdr msg = {.msg_iov = &(struct iovec){(char[]){"x"}, 1}, .msg_iovlen = 1};
	struct step step;
	int pair[2];

	pair_open(pair);
	close(pair[1]);
	step_init(&step);
	ring_send(ring, &step.op, pair[0], span_str("x"));
	cr_assert(eq(int, step_wait(&step), -EPIPE));
	ring_sendmsg(ring, &step.op, pair[0], &msg);
	cr_assert(eq(int, step_wait(&step), -EPIPE));
	close(pair[0]);
}

Test(sockets, a_send_that_does_not_fit_goes_on_when_the_peer_reads)
{
	static char much[1 << 20];
	static char got[1 << 16];
	struct step send;
	struct step recv;
	int received = 0;
	int pair[2];

	pair_open(pair);
	step_init(&send);
	step_init(&recv);
	ring_send(ring, &send.op, pair[0], span_of(much, sizeof(much)));
	run_for_ms(20);
	do {
		ring_recv(ring, &recv.op, pair[1], got, sizeof(got));
		cr_assert(gt(int, step_wait(&recv), 0));
		received += recv.res;
	} while (send.op.armed || received < send.res);
	cr_assert(eq(int, received, send.res));
	close(pair[0]);
	close(pair[1]);
}

Test(sockets, poll_tells_when_there_is_something_to_read)
{
	struct step step;
	int pair[2];

	pair_open(pair);
	step_init(&step);
	ring_poll(ring, &step.op, pair[0], POLLIN);
	run_for_ms(20);
	cr_assert(step.op.armed);
	put(pair[1], "x");
	cr_assert(step_wait(&step) & POLLIN);
	close(pair[0]);
	close(pair[1]);
}

Test(sockets, a_cancelled_recv_ends_with_its_own_last_completion)
{
	struct step step;
	char byte;
	int pair[2];

	pair_open(pair);
	step_init(&step);
	ring_recv(ring, &step.op, pair[0], &byte, 1);
	run_for_ms(20); /* the kernel has it */
	cr_assert(eq(int, step_cancel(&step), -ECANCELED));
	cr_assert(eq(uint, step.calls, 1));
	ring_recv(ring, &step.op, pair[0], &byte, 1); /* it can be used again */
	put(pair[1], "x");
	cr_assert(eq(int, step_wait(&step), 1));
	close(pair[0]);
	close(pair[1]);
}

Test(sockets, cancelling_what_already_ended_is_no_error)
{
	struct step target;
	struct step cancel;

	step_init(&target);
	step_init(&cancel);
	ring_soon(ring, &target.op);
	cr_assert(eq(int, step_wait(&target), 0));
	ring_cancel(ring, &cancel.op, &target.op);
	cr_assert(eq(int, step_wait(&cancel), -ENOENT));
	cr_assert(eq(uint, target.calls, 1));
}
