/* SPDX-License-Identifier: MIT */
/*
 * ktls_send: what a sending direction takes. SEND_ZC is refused from the ULP on, MSG_WAITALL under
 * TLS_TX; plain io_uring send and sendmsg work; a control record goes by io_uring's sendmsg;
 * data held back by MSG_MORE is one record with what follows it.
 * Proves kernel-notes/ktls-send.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS    10000
#define BULK_BYTES (256 * 1024)

static const struct kt_cipher *const cipher = &kt_ciphers[0];
static uint8_t record[KT_RECORD_BYTES_MAX];
static uint8_t plain[KT_RECORD_BYTES_MAX];

static int run(struct kring *kr)
{
	struct io_uring_cqe cqe = {0};
	int result;

	KT_MUST(io_uring_submit(&kr->ring) == 1);
	result = kr_wait(kr, WAIT_MS, &cqe);
	if (cqe.flags & IORING_CQE_F_MORE)
		KT_MUST(kr_wait(kr, WAIT_MS, &cqe) != -ETIME);
	return result;
}

static void test_zero_copy(struct kring *kr)
{
	struct kt_keys tx;
	int fd[2];

	kt_keys_make(&tx, 130);
	kt_tcp_pair(fd);
	io_uring_prep_send_zc(io_uring_get_sqe(&kr->ring), fd[1], "zc", 2, 0, 0);
	kt_ok(run(kr) == 2, "SEND_ZC on a plain socket works");
	KT_MUST(kt_ulp(fd[1]) == 0);
	io_uring_prep_send_zc(io_uring_get_sqe(&kr->ring), fd[1], "zc", 2, 0, 0);
	kt_ok(run(kr) == -EOPNOTSUPP, "SEND_ZC with the ULP: EOPNOTSUPP");
	KT_MUST(kt_plant(fd[1], TLS_TX, TLS_1_3_VERSION, cipher, &tx) == 0);
	io_uring_prep_send_zc(io_uring_get_sqe(&kr->ring), fd[1], "zc", 2, 0, 0);
	kt_ok(run(kr) == -EOPNOTSUPP, "SEND_ZC with TX keys: EOPNOTSUPP");
	close(fd[0]);
	close(fd[1]);
}

static void test_ring_send(struct kring *kr)
{
	struct iovec piece = {.iov_base = (void *)(uintptr_t) "\1\0", .iov_len = 2};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(1)];
	} control = {0};
	struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
	struct kt_keys tx, mine;
	size_t length;
	int type = 0;
	int fd[2];

	kt_keys_make(&tx, 131);
	mine = tx;
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, &tx, NULL);
	io_uring_prep_send(io_uring_get_sqe(&kr->ring), fd[1], "250 ok\r\n", 8, MSG_WAITALL);
	kt_ok(run(kr) == -EOPNOTSUPP, "send with MSG_WAITALL: EOPNOTSUPP");
	io_uring_prep_send(io_uring_get_sqe(&kr->ring), fd[1], "250 ok\r\n", 8, MSG_NOSIGNAL);
	kt_ok(run(kr) == 8, "send with MSG_NOSIGNAL works");
	length = kt_read_record(fd[0], record);
	kt_ok(kt_open(TLS_1_3_VERSION, cipher, &mine, record, length, &type, plain) == 8 &&
			type == KT_RECORD_DATA && !memcmp(plain, "250 ok\r\n", 8),
		"and is one record");
	message.msg_control = &control;
	message.msg_controllen = sizeof control.room;
	control.head.cmsg_level = SOL_TLS;
	control.head.cmsg_type = TLS_SET_RECORD_TYPE;
	control.head.cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(&control.head) = KT_RECORD_ALERT;
	io_uring_prep_sendmsg(io_uring_get_sqe(&kr->ring), fd[1], &message, MSG_NOSIGNAL);
	kt_ok(run(kr) == 2, "sendmsg with TLS_SET_RECORD_TYPE works");
	length = kt_read_record(fd[0], record);
	kt_ok(kt_open(TLS_1_3_VERSION, cipher, &mine, record, length, &type, plain) == 2 &&
			type == KT_RECORD_ALERT,
		"and is a record of type 21");
	close(fd[0]);
	close(fd[1]);
}

static void test_more(void)
{
	struct kt_keys tx, mine;
	size_t length;
	int type = 0;
	int fd[2];

	kt_keys_make(&tx, 132);
	mine = tx;
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, &tx, NULL);
	KT_MUST(send(fd[1], "first ", 6, MSG_MORE) == 6);
	kt_errno(recv(fd[0], record, 1, MSG_DONTWAIT), EAGAIN, "with MSG_MORE nothing leaves yet");
	KT_MUST(send(fd[1], "second", 6, 0) == 6);
	length = kt_read_record(fd[0], record);
	kt_ok(kt_open(TLS_1_3_VERSION, cipher, &mine, record, length, &type, plain) == 12 &&
			!memcmp(plain, "first second", 12),
		"the next send makes one record of both");
	close(fd[0]);
	close(fd[1]);
}

/* A peer that does not read: send answers with less than asked, or waits; it never loses bytes. */
static void test_short_send(void)
{
	uint8_t *bulk = calloc(1, BULK_BYTES);
	struct kt_keys tx;
	ssize_t n = 0;
	ssize_t sum = 0;
	int small = 4096;
	int fd[2];

	KT_MUST(bulk != NULL);
	kt_keys_make(&tx, 133);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, &tx, NULL);
	KT_MUST(setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
	while (n >= 0 && sum < 64 * BULK_BYTES) {
		n = send(fd[1], bulk, BULK_BYTES, MSG_DONTWAIT | MSG_NOSIGNAL);
		sum += n > 0 ? n : 0;
	}
	kt_ok(n < 0 && errno == EAGAIN && sum % BULK_BYTES != 0,
		"a full socket: a short send, then EAGAIN");
	free(bulk);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	struct kring kr;

	kt_need_ktls();
	kr_open(&kr, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 8, 4096);
	test_zero_copy(&kr);
	test_ring_send(&kr);
	test_more();
	test_short_send();
	kr_close(&kr);
	return kt_done();
}
