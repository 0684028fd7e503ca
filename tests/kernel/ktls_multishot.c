/* SPDX-License-Identifier: MIT */
/*
 * ktls_multishot: multishot recvmsg with provided buffers and room for a cmsg is the way to read a
 * kTLS socket: data and control records arrive in order, each with its type, the request stays
 * armed, and the end is an empty completion. A multishot plain recv dies at a control record.
 * Proves kernel-notes/ktls-multishot-recvmsg.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS    10000
#define RING_FLAGS (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

static const struct kt_cipher *const cipher = &kt_ciphers[0];

static void send_sealed(int fd, struct kt_keys *keys, int type, const void *data, size_t length)
{
	uint8_t record[KT_RECORD_BYTES_MAX];

	kt_write_all(
		fd, record, kt_seal(TLS_1_3_VERSION, cipher, keys, type, data, length, 0, record));
}

static void test_recvmsg(void)
{
	static uint8_t big[16384];
	struct kr_record record;
	struct kt_keys mine;
	struct kring kr;
	size_t sum = 0;
	int fd[2];

	kt_keys_make(&mine, 70);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, NULL, &mine);
	kr_open(&kr, RING_FLAGS, 8, 20480);
	kt_ok(KR_HEAD_BYTES == 16 + 24, "16 + 24 bytes stand before the payload");
	kr_arm_recvmsg(&kr, fd[1], 1);

	send_sealed(fd[0], &mine, KT_RECORD_DATA, "EHLO there\r\n", 12);
	KT_MUST(kr_wait_record(&kr, WAIT_MS, &record));
	kt_ok(record.type == KT_RECORD_DATA && record.length == 12 && record.more &&
			!memcmp(record.data, "EHLO there\r\n", 12),
		"data: type 23, the bytes, F_MORE");

	memset(big, 'x', sizeof big);
	send_sealed(fd[0], &mine, KT_RECORD_DATA, big, sizeof big);
	do {
		KT_MUST(kr_wait_record(&kr, WAIT_MS, &record) && record.result > 0);
		sum += record.length;
	} while (sum < sizeof big);
	kt_ok(sum == sizeof big && record.more, "a record of 16384 bytes arrives whole");

	send_sealed(fd[0], &mine, KT_RECORD_HANDSHAKE, "\x04\0\0\0", 4);
	KT_MUST(kr_wait_record(&kr, WAIT_MS, &record));
	kt_ok(record.type == KT_RECORD_HANDSHAKE && record.length == 4 && record.more,
		"a handshake record: type 22, F_MORE");

	send_sealed(fd[0], &mine, KT_RECORD_ALERT, "\1\0", 2);
	KT_MUST(kr_wait_record(&kr, WAIT_MS, &record));
	kt_ok(record.type == KT_RECORD_ALERT && record.length == 2 &&
			!memcmp(record.data, "\1\0", 2),
		"close_notify: type 21");
	if (record.more) {
		close(fd[0]);
		KT_MUST(kr_wait_record(&kr, WAIT_MS, &record));
		kt_ok(record.length == 0 && record.type != KT_RECORD_DATA && !record.more,
			"then FIN: an empty completion without F_MORE");
		kt_diag("the end: result %d", record.result);
	} else {
		kt_ok(false, "the request stays armed after close_notify");
		close(fd[0]);
	}
	kr_close(&kr);
	close(fd[1]);
}

static void test_plain_recv(void)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe = {0};
	struct kt_keys mine;
	struct kring kr;
	int fd[2];

	kt_keys_make(&mine, 71);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, NULL, &mine);
	kr_open(&kr, RING_FLAGS, 8, 20480);
	sqe = io_uring_get_sqe(&kr.ring);
	io_uring_prep_recv_multishot(sqe, fd[1], NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = KR_GROUP;
	KT_MUST(io_uring_submit(&kr.ring) == 1);
	send_sealed(fd[0], &mine, KT_RECORD_ALERT, "\1\0", 2);
	kt_ok(kr_wait(&kr, WAIT_MS, &cqe) == -EIO && !(cqe.flags & IORING_CQE_F_MORE),
		"multishot plain recv ends with EIO at a control record");
	kr_arm_recvmsg(&kr, fd[1], 2);
	{
		struct kr_record record;

		KT_MUST(kr_wait_record(&kr, WAIT_MS, &record));
		kt_ok(record.type == KT_RECORD_ALERT && record.length == 2,
			"a recvmsg after it fetches the record");
	}
	kr_close(&kr);
	close(fd[0]);
	close(fd[1]);
}

static void test_bad_tag(void)
{
	uint8_t bytes[KT_RECORD_BYTES_MAX];
	struct io_uring_cqe cqe = {0};
	struct kt_keys mine;
	struct kring kr;
	size_t length;
	int fd[2];

	kt_keys_make(&mine, 72);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, NULL, &mine);
	kr_open(&kr, RING_FLAGS, 8, 20480);
	kr_arm_recvmsg(&kr, fd[1], 1);
	length = kt_seal(TLS_1_3_VERSION, cipher, &mine, KT_RECORD_DATA, "spoilt", 6, 0, bytes);
	bytes[length - 1] ^= 0x80;
	kt_write_all(fd[0], bytes, length);
	kt_ok(kr_wait(&kr, WAIT_MS, &cqe) == -EBADMSG && !(cqe.flags & IORING_CQE_F_MORE),
		"a wrong tag: EBADMSG without F_MORE");
	kr_close(&kr);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	kt_need_ktls();
	test_recvmsg();
	test_plain_recv();
	test_bad_tag();
	return kt_done();
}
