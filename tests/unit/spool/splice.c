/* SPDX-License-Identifier: MIT */
/*
 * splice.c -- octets from a TCP socket to the file. Plaintext only: the same with keys in the
 * kernel is shown in tests/vm.
 */
#include "tests/unit/spool/harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/counter.h"

static int near; /* what is spliced from */
static int far;  /* what the test writes to */

static void sockets_open(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(listener >= 0 && bind(listener, (struct sockaddr *)&address, n) == 0);
	cr_assert(listen(listener, 1) == 0);
	cr_assert(getsockname(listener, (struct sockaddr *)&address, &n) == 0);
	far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(far >= 0 && connect(far, (struct sockaddr *)&address, n) == 0);
	near = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	cr_assert(near >= 0);
	close(listener);
}

static void open_all(void)
{
	sockets_open();
	harness_open();
}

TestSuite(spool_splice, .init = open_all, .fini = harness_close, .timeout = TEST_LIMIT_S);

static void send_all(struct span bytes)
{
	while (bytes.n > 0) {
		ssize_t n = send(far, bytes.p, bytes.n, MSG_NOSIGNAL);

		cr_assert(n > 0, "%s", strerror(errno));
		(void)span_take(&bytes, (size_t)n);
	}
}

Test(spool_splice, moves_what_is_there_and_no_more_than_asked)
{
	struct mail mail;
	char left[4];

	mail_begin(&mail, "a@example.org");
	send_all(pattern(0, 1003));
	cr_expect(mail_splice(&mail, near, 1000) == 1000, "%d", mail.spliced);
	cr_expect(recv(near, left, sizeof(left), 0) == 3, "the rest stays in the socket");
	cr_expect(mail_commit(&mail) == 0);
	entry_holds(reading.arrived[0], pattern(0, 1000));
}

Test(spool_splice, what_was_appended_comes_first_and_what_follows_last)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	mail_append(&mail, pattern(0, 20000));
	send_all(pattern(20000, 500));
	cr_expect(mail_splice(&mail, near, 500) == 500);
	mail_append(&mail, pattern(20500, 30000));
	send_all(pattern(50500, 7));
	cr_expect(mail_splice(&mail, near, 7) == 7);
	cr_expect(mail_commit(&mail) == 0);
	entry_holds(reading.arrived[0], pattern(0, 50507));
}

struct writer {
	pthread_t thread;
	struct span bytes;
	size_t step; /* octets a write */
	bool yields;
};

static void *writer_main(void *arg)
{
	struct writer *writer = arg;
	struct span bytes = writer->bytes;

	while (bytes.n > 0) {
		send_all(span_take(&bytes, writer->step));
		if (writer->yields)
			sched_yield();
	}
	return NULL;
}

static void splice_from_writer(size_t n, size_t step, bool yields)
{
	int64_t counted = counter_sum(COUNTER_SPLICE_BYTES);
	struct writer writer = {.bytes = pattern(0, n), .step = step, .yields = yields};
	size_t moved = 0;
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	cr_assert(pthread_create(&writer.thread, NULL, writer_main, &writer) == 0);
	while (moved < n) {
		int res = mail_splice(&mail, near, n - moved);

		cr_assert(res > 0 && res <= (int)SPOOL_SPLICE_MAX, "%d", res);
		moved += (size_t)res;
	}
	pthread_join(writer.thread, NULL);
	cr_expect(moved == n);
	cr_expect(mail_commit(&mail) == 0);
	entry_holds(reading.arrived[0], writer.bytes);
	cr_expect(counter_sum(COUNTER_SPLICE_BYTES) - counted == (int64_t)n);
}

Test(spool_splice, several_megabytes_are_identical)
{
	splice_from_writer(6 * SPOOL_SPLICE_MAX + 12345, 65536, false);
}

Test(spool_splice, a_slow_writer_of_small_pieces)
{
	splice_from_writer(100000, 97, true);
}

Test(spool_splice, waits_without_turning)
{
	struct mail mail;
	int64_t enters;

	mail_begin(&mail, "a@example.org");
	spool_splice(mail.message, near, 10);
	turns_until(&mail, SPOOL_STATE_POLL);
	enters = counter_sum(COUNTER_RING_ENTERS);
	send_all(pattern(0, 10));
	while (mail.spliced_n == 0)
		turn();
	cr_expect(counter_sum(COUNTER_RING_ENTERS) - enters < 10);
	cr_expect(mail_commit(&mail) == 0);
}

Test(spool_splice, end_of_stream_in_the_middle)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	send_all(pattern(0, 100));
	cr_assert(shutdown(far, SHUT_WR) == 0);
	cr_expect(mail_splice(&mail, near, 1000) == 100);
	cr_expect(mail_splice(&mail, near, 900) == 0);
	cr_expect(!spool_abort(mail.message));
	turns_until_idle();
	cr_expect(files_n("large") == 0);
}

Test(spool_splice, reset_by_the_peer)
{
	const struct linger linger = {1, 0};
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	spool_splice(mail.message, near, 1000);
	turns_until(&mail, SPOOL_STATE_POLL);
	cr_assert(setsockopt(far, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
	cr_assert(shutdown(far, SHUT_RD) == 0 && dup2(near, far) == far); /* closes far */
	while (mail.spliced_n == 0)
		turn();
	cr_expect(mail.spliced == -ECONNRESET, "%d", mail.spliced);
	cr_expect(!spool_abort(mail.message));
}

/* ---- giving up ---- */

/* A round is under way: spliced() comes once more, then the rest of the message goes. */
static void give_up(struct mail *mail)
{
	cr_expect(spool_abort(mail->message), "a round is under way");
	cr_expect(mail->spliced_n == 0, "called back from inside the call");
	while (mail->spliced_n == 0)
		turn();
	cr_expect(mail->spliced == -ECANCELED, "%d", mail->spliced);
	turns_until_idle();
	cr_expect(mail->spliced_n == 1 && mail->committed_n == 0 && mail->ready_n == 0);
	cr_expect(files_n("large") == 0);
}

Test(spool_splice, abort_while_waiting_for_octets)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	spool_splice(mail.message, near, 10);
	turns_until(&mail, SPOOL_STATE_POLL);
	give_up(&mail);
}

Test(spool_splice, abort_when_octets_have_just_come)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	spool_splice(mail.message, near, 10);
	turns_until(&mail, SPOOL_STATE_POLL);
	send_all(pattern(0, 10));
	give_up(&mail);
}

Test(spool_splice, abort_while_octets_go_in)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	send_all(pattern(0, 100));
	spool_splice(mail.message, near, 100);
	turns_until(&mail, SPOOL_STATE_SPLICE_IN);
	give_up(&mail);
}

Test(spool_splice, abort_while_octets_go_out)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	send_all(pattern(0, 100));
	spool_splice(mail.message, near, 100);
	turns_until(&mail, SPOOL_STATE_SPLICE_OUT);
	give_up(&mail);
}

/* The socket is readable, then not: what Linux 6.1 does under kTLS with half a record. (Plain TCP
 * looks at O_NONBLOCK alone.) */
static void pause_make(struct mail *mail)
{
	char taken[10];

	mail_begin(mail, "a@example.org");
	cr_assert(fcntl(near, F_SETFL, O_NONBLOCK) == 0);
	send_all(pattern(0, 10));
	spool_splice(mail->message, near, 100);
	turns_until(mail, SPOOL_STATE_SPLICE_IN);
	cr_assert(recv(near, taken, sizeof(taken), 0) == 10);
	turns_until(mail, SPOOL_STATE_PAUSE);
}

Test(spool_splice, a_pause_ends_and_the_round_goes_on)
{
	struct mail mail;

	pause_make(&mail);
	cr_expect(mail.spliced_n == 0);
	turns_until(&mail, SPOOL_STATE_POLL);
	send_all(pattern(0, 50));
	while (mail.spliced_n == 0)
		turn();
	cr_expect(mail.spliced == 50);
	cr_expect(mail_commit(&mail) == 0);
	entry_holds(reading.arrived[0], pattern(0, 50));
}

Test(spool_splice, abort_in_a_pause)
{
	struct mail mail;

	pause_make(&mail);
	give_up(&mail);
}

/* Before the round touches the socket the message is as any other: no callback is owed. */
Test(spool_splice, abort_before_the_file_is_there)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	spool_splice(mail.message, near, 10);
	cr_assert(mail.message->state == SPOOL_STATE_OPEN);
	cr_expect(!spool_abort(mail.message));
	turns_until_idle();
	cr_expect(mail.spliced_n == 0 && files_n("large") == 0);
}

Test(spool_splice, abort_while_memory_is_written)
{
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	spool_splice(mail.message, near, 10);
	turns_until(&mail, SPOOL_STATE_WRITE);
	cr_expect(!spool_abort(mail.message));
	turns_until_idle();
	cr_expect(mail.spliced_n == 0 && files_n("large") == 0);
}

/* ---- failing ---- */

Test(spool_splice, a_file_that_cannot_be_made)
{
	struct mail mail;
	struct span one = span_str("x");

	cr_assert(rmdir(below_root("large")) == 0);
	mail_begin(&mail, "a@example.org");
	cr_expect(mail_splice(&mail, near, 10) == -EAGAIN);
	cr_expect(spool_append(mail.message, &one) == SPOOL_STEP_FAIL);
	cr_expect(spool_error(mail.message) == -ENOENT);
	cr_expect(mail_commit(&mail) == -ENOENT);
}

Test(spool_splice, octets_that_cannot_be_written_are_taken_and_the_message_fails)
{
	const struct rlimit limit = {200, RLIM_INFINITY};
	struct mail mail;

	turns_until_idle();
	signal(SIGXFSZ, SIG_IGN);
	cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	mail_begin(&mail, "a@example.org");
	send_all(pattern(0, 1000));
	cr_expect(mail_splice(&mail, near, 1000) == 1000, "%d", mail.spliced);
	cr_expect(spool_error(mail.message) == -EFBIG, "%d", spool_error(mail.message));
	cr_expect(mail_commit(&mail) == -EFBIG);
	cr_expect(files_n("large") == 0);
}

/* Without a pipe nothing is lost: the octets stay in the socket and can be appended. */
Test(spool_splice, no_descriptor_for_the_pipe)
{
	struct rlimit limit;
	struct rlimit none;
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	send_all(pattern(0, 100));
	spool_splice(mail.message, near, 100);
	turns_until(&mail, SPOOL_STATE_POLL);
	cr_assert(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	none = (struct rlimit){0, limit.rlim_max};
	cr_assert(setrlimit(RLIMIT_NOFILE, &none) == 0);
	while (mail.spliced_n == 0)
		turn();
	cr_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	cr_expect(mail.spliced == -EAGAIN && spool_error(mail.message) == 0);
	mail_append(&mail, pattern(0, 100));
	cr_expect(mail_commit(&mail) == 0);
	entry_holds(reading.arrived[0], pattern(0, 100));
}

/* Called while the file is there already and nothing is under way: still no callback from inside
 * the call, for the owner is in the middle of a step (mail_splice() asserts it). */
Test(spool_splice, no_descriptor_for_the_pipe_of_an_idle_message)
{
	struct rlimit limit;
	struct rlimit none;
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	mail_append(&mail, pattern(0, 2 * settings.stream_bytes));
	turns_until(&mail, SPOOL_STATE_IDLE);
	send_all(pattern(0, 100));
	cr_assert(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	none = (struct rlimit){0, limit.rlim_max};
	cr_assert(setrlimit(RLIMIT_NOFILE, &none) == 0);
	cr_expect(mail_splice(&mail, near, 100) == -EAGAIN);
	cr_expect(mail_splice(&mail, near, 100) == -EAGAIN, "and once more, now idle");
	cr_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	cr_expect(mail_splice(&mail, near, 100) == 100);
	cr_expect(mail_commit(&mail) == 0);
}
