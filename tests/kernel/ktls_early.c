/* SPDX-License-Identifier: MIT */
/*
 * ktls_early: bytes that wait in the kernel when the RX keys are set, a whole record or part of
 * one, are opened as if they had come later. A client may pipeline EHLO behind its Finished. Bytes
 * that were taken out are gone: the record layer is then out of step. Proves
 * kernel-notes/ktls-early-records.md.
 */
#include "ktest.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct kt_cipher *const cipher = &kt_ciphers[0];
static uint8_t record[KT_RECORD_BYTES_MAX];

static void wait_queued(int fd, size_t bytes)
{
	uint8_t peek[KT_RECORD_BYTES_MAX];

	KT_MUST(recv(fd, peek, bytes, MSG_PEEK | MSG_WAITALL) == (ssize_t)bytes);
}

static void test_queued(size_t first_bytes, const char *what)
{
	struct kt_keys mine, rx;
	char got[64];
	size_t length;
	size_t first;
	int fd[2];

	kt_keys_make(&rx, 140);
	mine = rx;
	kt_tcp_pair(fd);
	length =
		kt_seal(TLS_1_3_VERSION, cipher, &mine, KT_RECORD_DATA, "EHLO a\r\n", 8, 0, record);
	length += kt_seal(
		TLS_1_3_VERSION, cipher, &mine, KT_RECORD_DATA, "NOOP\r\n", 6, 0, record + length);
	first = first_bytes ? first_bytes : length;
	kt_write_all(fd[0], record, first);
	wait_queued(fd[1], first);
	KT_MUST(kt_ulp(fd[1]) == 0 && kt_plant(fd[1], TLS_RX, TLS_1_3_VERSION, cipher, &rx) == 0);
	kt_write_all(fd[0], record + first, length - first);
	kt_ok(recv(fd[1], got, 14, MSG_WAITALL) == 14 && !memcmp(got, "EHLO a\r\nNOOP\r\n", 14),
		"queued before the RX keys, %s: opened", what);
	close(fd[0]);
	close(fd[1]);
}

static void test_over_read(void)
{
	struct kt_keys mine, rx;
	char got[64];
	size_t length;
	int fd[2];

	kt_keys_make(&rx, 141);
	mine = rx;
	kt_tcp_pair(fd);
	length =
		kt_seal(TLS_1_3_VERSION, cipher, &mine, KT_RECORD_DATA, "EHLO a\r\n", 8, 0, record);
	kt_write_all(fd[0], record, length);
	kt_read_all(fd[1], got, 7);
	KT_MUST(kt_ulp(fd[1]) == 0 && kt_plant(fd[1], TLS_RX, TLS_1_3_VERSION, cipher, &rx) == 0);
	kt_ok(recv(fd[1], got, sizeof got, 0) < 0 &&
			(errno == EMSGSIZE || errno == EINVAL || errno == EBADMSG),
		"bytes taken out before the RX keys cannot be missed: the next read fails");
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	kt_need_ktls();
	test_queued(0, "two whole records");
	test_queued(3, "part of a header");
	test_queued(20, "half a record");
	test_queued(5 + 8 + 1 + 16 + 9, "a record and a half");
	test_over_read();
	return kt_done();
}
