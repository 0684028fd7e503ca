/* SPDX-License-Identifier: MIT */
/*
 * ktls_splice: kTLS -> pipe -> file by splice(2), the way of a BDAT body: the bytes are those that
 * were sealed, a control record stops it with EINVAL and is still there for recvmsg afterwards, a
 * length that ends inside a record leaves the rest to be read. io_uring's splice does the same.
 * Proves kernel-notes/ktls-splice.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_BYTES (3 * 1024 * 1024 + 4321)
#define WAIT_MS    20000

static const struct kt_cipher *const cipher = &kt_ciphers[0];
static uint8_t *body;
static uint8_t *again;

struct sender {
	int fd;
	struct kt_keys keys;
	uint16_t version;
};

/* Seals the body in records of odd sizes, then close_notify. */
static void *send_body(void *arg)
{
	struct sender *sender = arg;
	uint8_t record[KT_RECORD_BYTES_MAX];
	size_t at = 0;
	size_t step = 1;

	while (at < BODY_BYTES) {
		size_t length = BODY_BYTES - at < step ? BODY_BYTES - at : step;

		kt_write_all(sender->fd, record,
			kt_seal(sender->version, cipher, &sender->keys, KT_RECORD_DATA, body + at,
				length, 0, record));
		at += length;
		step = step * 5 % 16384 + 1;
	}
	kt_write_all(sender->fd, record,
		kt_seal(sender->version, cipher, &sender->keys, KT_RECORD_ALERT, "\1\0", 2, 0,
			record));
	return NULL;
}

static ssize_t splice_plain(struct kring *kr, int from, int to, size_t length, unsigned flags)
{
	(void)kr;
	return splice(from, NULL, to, NULL, length, flags);
}

static ssize_t splice_ring(struct kring *kr, int from, int to, size_t length, unsigned flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&kr->ring);
	struct io_uring_cqe cqe = {0};
	int result;

	io_uring_prep_splice(sqe, from, -1, to, -1, (unsigned)length, flags);
	KT_MUST(io_uring_submit(&kr->ring) == 1);
	result = kr_wait(kr, WAIT_MS, &cqe);
	errno = result < 0 ? -result : 0;
	return result < 0 ? -1 : result;
}

static void test_body(uint16_t version, const char *name,
	ssize_t (*move)(struct kring *, int, int, size_t, unsigned))
{
	struct sender sender = {.version = version};
	struct kt_keys rx;
	struct kring kr;
	pthread_t thread;
	FILE *file = tmpfile();
	size_t sum = 0;
	uint8_t alert[16];
	int type;
	int pipes[2];
	int fd[2];

	KT_MUST(file != NULL && pipe(pipes) == 0);
	kr_open(&kr, 0, 8, 4096);
	kt_keys_make(&rx, 100);
	sender.keys = rx;
	kt_half_pair(fd, version, cipher, NULL, &rx);
	sender.fd = fd[0];
	KT_MUST(pthread_create(&thread, NULL, send_body, &sender) == 0);
	while (sum < BODY_BYTES) {
		ssize_t in = move(&kr, fd[1], pipes[1], BODY_BYTES - sum, SPLICE_F_MOVE);

		if (in <= 0)
			break;
		sum += (size_t)in;
		while (in > 0) {
			ssize_t out = move(&kr, pipes[0], fileno(file), (size_t)in, SPLICE_F_MOVE);

			KT_MUST(out > 0);
			in -= out;
		}
	}
	KT_MUST(pthread_join(thread, NULL) == 0);
	KT_MUST(pread(fileno(file), again, BODY_BYTES, 0) == (ssize_t)sum || sum < BODY_BYTES);
	kt_ok(sum == BODY_BYTES && !memcmp(body, again, BODY_BYTES), "%s: %d bytes, identical",
		name, BODY_BYTES);
	kt_errno(move(&kr, fd[1], pipes[1], 4096, 0), EINVAL, "splice on a control record: EINVAL");
	kt_ok(kt_recv_typed(fd[1], &type, alert, sizeof alert, 0) == 2 && type == KT_RECORD_ALERT,
		"%s: the control record is there afterwards", name);
	kr_close(&kr);
	fclose(file);
	close(pipes[0]);
	close(pipes[1]);
	close(fd[0]);
	close(fd[1]);
}

/* BDAT pipelined with the next command in one record: the chunk's length stops splice inside it. */
static void test_inside_record(void)
{
	uint8_t record[KT_RECORD_BYTES_MAX];
	char got[32];
	struct kt_keys mine;
	int pipes[2];
	int fd[2];

	KT_MUST(pipe(pipes) == 0);
	kt_keys_make(&mine, 101);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, NULL, &mine);
	kt_write_all(fd[0], record,
		kt_seal(TLS_1_3_VERSION, cipher, &mine, KT_RECORD_DATA, "bodyQUIT\r\n", 10, 0,
			record));
	kt_ok(splice(fd[1], NULL, pipes[1], NULL, 4, 0) == 4 && read(pipes[0], got, 32) == 4 &&
			!memcmp(got, "body", 4),
		"splice takes the first 4 bytes of a record");
	kt_ok(recv(fd[1], got, sizeof got, 0) == 6 && !memcmp(got, "QUIT\r\n", 6),
		"recv gets the rest of it");
	close(pipes[0]);
	close(pipes[1]);
	close(fd[0]);
	close(fd[1]);
}

static void test_nonblocking(void)
{
	struct kt_keys mine;
	int pipes[2];
	int fd[2];

	KT_MUST(pipe(pipes) == 0);
	kt_keys_make(&mine, 102);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, NULL, &mine);
	kt_errno(splice(fd[1], NULL, pipes[1], NULL, 100, SPLICE_F_NONBLOCK), EAGAIN,
		"nothing there and SPLICE_F_NONBLOCK: EAGAIN");
	close(fd[0]);
	kt_ok(splice(fd[1], NULL, pipes[1], NULL, 100, 0) == 0, "after FIN: 0");
	close(pipes[0]);
	close(pipes[1]);
	close(fd[1]);
}

static bool readable(int fd)
{
	struct pollfd entry = {.fd = fd, .events = POLLIN};

	return poll(&entry, 1, WAIT_MS) == 1 && entry.revents & POLLIN;
}

/* A round of poll and splice without waiting: poll must name whatever splice would find. */
static void test_poll_rounds(void)
{
	uint8_t record[KT_RECORD_BYTES_MAX];
	struct kr_record one;
	struct kt_keys mine;
	struct kring kr;
	size_t length;
	int pipes[2];
	int fd[2];

	KT_MUST(pipe(pipes) == 0);
	kt_keys_make(&mine, 103);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, NULL, &mine);
	length = kt_seal(
		TLS_1_3_VERSION, cipher, &mine, KT_RECORD_DATA, "0123456789", 10, 0, record);
	kt_write_all(fd[0], record, length - 5);
	kt_errno(splice(fd[1], NULL, pipes[1], NULL, 100, SPLICE_F_NONBLOCK), EAGAIN,
		"half a record and SPLICE_F_NONBLOCK: EAGAIN");
	kt_write_all(fd[0], record + length - 5, 5);
	kt_ok(readable(fd[1]) && splice(fd[1], NULL, pipes[1], NULL, 4, SPLICE_F_NONBLOCK) == 4,
		"a whole record: poll says readable, splice takes a part");
	kt_ok(readable(fd[1]) && splice(fd[1], NULL, pipes[1], NULL, 3, SPLICE_F_NONBLOCK) == 3,
		"the rest of an opened record: poll says readable, splice takes more");
	kr_open(&kr, 0, 8, 4096);
	kr_arm_recvmsg(&kr, fd[1], 1);
	kt_ok(kr_wait_record(&kr, WAIT_MS, &one) && one.length == 3 && one.type == KT_RECORD_DATA &&
			!memcmp(one.data, "789", 3),
		"a multishot recvmsg armed then gets what is left, with its type");
	kr_close(&kr);
	kt_write_all(fd[0], record,
		kt_seal(TLS_1_3_VERSION, cipher, &mine, KT_RECORD_ALERT, "\1\0", 2, 0, record));
	kt_ok(readable(fd[1]), "a control record: poll says readable");
	kt_errno(splice(fd[1], NULL, pipes[1], NULL, 100, SPLICE_F_NONBLOCK), EINVAL,
		"and splice says EINVAL");
	close(pipes[0]);
	close(pipes[1]);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	kt_need_ktls();
	body = malloc(BODY_BYTES);
	again = calloc(1, BODY_BYTES);
	KT_MUST(body && again);
	for (size_t i = 0; i < BODY_BYTES; i++)
		body[i] = (uint8_t)(i * 2654435761u >> 24 ^ i);
	test_body(TLS_1_3_VERSION, "TLS 1.3, splice(2)", splice_plain);
	test_body(TLS_1_2_VERSION, "TLS 1.2, splice(2)", splice_plain);
	test_body(TLS_1_3_VERSION, "TLS 1.3, io_uring", splice_ring);
	test_inside_record();
	test_nonblocking();
	test_poll_rounds();
	free(body);
	free(again);
	return kt_done();
}
