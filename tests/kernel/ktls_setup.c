/* SPDX-License-Identifier: MIT */
/*
 * ktls_setup: in which order kernel TLS may be set up, and how each wrong step is answered.
 * Proves kernel-notes/ktls-setup.md.
 */
#include "ktest.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void test_unconnected(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	KT_MUST(fd >= 0);
	kt_errno(kt_ulp(fd), ENOTCONN, "ULP on a socket that is not connected: ENOTCONN");
	close(fd);
}

static void test_closed_by_peer(void)
{
	int fd[2];
	char byte;

	kt_tcp_pair(fd);
	close(fd[0]);
	KT_MUST(read(fd[1], &byte, 1) == 0);
	kt_errno(kt_ulp(fd[1]), ENOTCONN, "ULP after the peer's FIN: ENOTCONN");
	close(fd[1]);
}

static void test_order(void)
{
	const struct kt_cipher *gcm = &kt_ciphers[0];
	const struct kt_cipher *chacha = &kt_ciphers[2];
	struct kt_keys keys;
	int on = 1;
	int fd[2];

	kt_keys_make(&keys, 3);
	kt_tcp_pair(fd);
	kt_errno(kt_plant(fd[0], TLS_TX, TLS_1_3_VERSION, gcm, &keys), ENOPROTOOPT,
		"keys without the ULP: ENOPROTOOPT");
	kt_errno(kt_ulp(fd[0]), 0, "ULP on a connected socket");
	kt_errno(kt_ulp(fd[0]), EEXIST, "ULP a second time: EEXIST");
	kt_errno(setsockopt(fd[0], SOL_TLS, TLS_RX_EXPECT_NO_PAD, &on, sizeof on), EINVAL,
		"TLS_RX_EXPECT_NO_PAD before the RX keys: EINVAL");
	kt_errno(kt_plant(fd[0], TLS_RX, TLS_1_3_VERSION, gcm, &keys), 0, "RX keys first");
	kt_errno(kt_plant(fd[0], TLS_TX, TLS_1_3_VERSION, chacha, &keys), EINVAL,
		"the other direction with another cipher: EINVAL");
	kt_errno(kt_plant(fd[0], TLS_TX, TLS_1_3_VERSION, gcm, &keys), 0, "then TX keys");
	kt_errno(setsockopt(fd[0], SOL_TLS, TLS_RX_EXPECT_NO_PAD, &on, sizeof on), 0,
		"TLS_RX_EXPECT_NO_PAD after them");
	kt_errno(kt_ulp(fd[1]), 0, "ULP on the other end");
	kt_errno(kt_plant(fd[1], TLS_TX, TLS_1_3_VERSION, gcm, &keys), 0, "TX keys first");
	kt_errno(kt_plant(fd[1], TLS_RX, TLS_1_3_VERSION, gcm, &keys), 0, "then RX keys");
	close(fd[0]);
	close(fd[1]);
}

/* The ULP alone changes nothing: a fall-back to user space stays possible until keys are set. */
static void test_ulp_alone_is_plain(void)
{
	char got[6] = "";
	int fd[2];

	kt_tcp_pair(fd);
	KT_MUST(kt_ulp(fd[1]) == 0);
	kt_write_all(fd[0], "there", 5);
	kt_ok(recv(fd[1], got, 5, MSG_WAITALL) == 5 && !memcmp(got, "there", 5),
		"with the ULP and no keys bytes arrive as they are");
	kt_write_all(fd[1], "backs", 5);
	kt_ok(recv(fd[0], got, 5, MSG_WAITALL) == 5 && !memcmp(got, "backs", 5),
		"and leave as they are");
	close(fd[0]);
	close(fd[1]);
}

/* One direction in the kernel, the other in user space: a mixed mode that works. */
static void test_one_direction(void)
{
	const struct kt_cipher *cipher = &kt_ciphers[0];
	uint8_t record[KT_RECORD_BYTES_MAX];
	uint8_t plain[KT_RECORD_BYTES_MAX];
	struct kt_keys tx;
	struct kt_keys mine;
	size_t length;
	int type = 0;
	int fd[2];

	kt_keys_make(&tx, 9);
	mine = tx;
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, &tx, NULL);
	kt_write_all(fd[1], "sealed by the kernel", 20);
	length = kt_read_record(fd[0], record);
	kt_ok(kt_open(TLS_1_3_VERSION, cipher, &mine, record, length, &type, plain) == 20 &&
			!memcmp(plain, "sealed by the kernel", 20),
		"TX only: what is sent is a record");
	kt_write_all(fd[0], "raw", 3);
	kt_ok(recv(fd[1], plain, 3, MSG_WAITALL) == 3 && !memcmp(plain, "raw", 3),
		"TX only: what is received is raw");
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	kt_need_ktls();
	test_unconnected();
	test_closed_by_peer();
	test_order();
	test_ulp_alone_is_plain();
	test_one_direction();
	return kt_done();
}
