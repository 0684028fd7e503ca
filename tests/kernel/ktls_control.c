/* SPDX-License-Identifier: MIT */
/*
 * ktls_control: control records. A plain recv answers EIO as often as it is called and loses
 * nothing; recvmsg with room for a cmsg fetches the record; types never mix; sendmsg sends one.
 * Proves kernel-notes/ktls-control-records.md.
 */
#include "ktest.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALERT_CLOSE_NOTIFY "\1\0"

static void send_sealed(int fd, const struct kt_cipher *cipher, struct kt_keys *keys, int type,
	const char *text, size_t length)
{
	uint8_t record[KT_RECORD_BYTES_MAX];
	size_t size = kt_seal(TLS_1_3_VERSION, cipher, keys, type, text, length, 0, record);

	kt_write_all(fd, record, size);
}

static void test_receive(void)
{
	const struct kt_cipher *cipher = &kt_ciphers[0];
	struct kt_keys rx, mine;
	char got[64];
	ssize_t n;
	int type;
	int fd[2];

	kt_keys_make(&rx, 50);
	mine = rx;
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, NULL, &rx);
	send_sealed(fd[0], cipher, &mine, KT_RECORD_DATA, "one", 3);
	send_sealed(fd[0], cipher, &mine, KT_RECORD_DATA, "two", 3);
	send_sealed(fd[0], cipher, &mine, KT_RECORD_ALERT, ALERT_CLOSE_NOTIFY, 2);
	send_sealed(fd[0], cipher, &mine, KT_RECORD_DATA, "three", 5);

	KT_MUST(recv(fd[1], got, 6, MSG_PEEK | MSG_WAITALL) == 6);
	n = kt_recv_typed(fd[1], &type, got, sizeof got, 0);
	kt_ok(n == 6 && !memcmp(got, "onetwo", 6),
		"data records coalesce and stop at a control record");
	kt_ok(type == KT_RECORD_DATA, "data comes with type 23");
	kt_errno(recv(fd[1], got, sizeof got, 0), EIO, "plain recv on a control record: EIO");
	kt_errno(recv(fd[1], got, sizeof got, 0), EIO, "and EIO again");
	n = kt_recv_typed(fd[1], &type, got, sizeof got, 0);
	kt_ok(n == 2 && type == KT_RECORD_ALERT && !memcmp(got, ALERT_CLOSE_NOTIFY, 2),
		"recvmsg with a cmsg fetches it: type 21, alone, whole");
	n = recv(fd[1], got, sizeof got, 0);
	kt_ok(n == 5 && !memcmp(got, "three", 5), "what follows is there");
	close(fd[0]);
	close(fd[1]);
}

static void test_send(uint16_t version, const char *name)
{
	const struct kt_cipher *cipher = &kt_ciphers[1];
	uint8_t record[KT_RECORD_BYTES_MAX];
	uint8_t plain[KT_RECORD_BYTES_MAX];
	struct kt_keys tx, mine;
	size_t length;
	int type = 0;
	int fd[2];

	kt_keys_make(&tx, 51);
	mine = tx;
	kt_half_pair(fd, version, cipher, &tx, NULL);
	kt_write_all(fd[1], "last words", 10);
	kt_errno(kt_send_control(fd[1], KT_RECORD_ALERT, ALERT_CLOSE_NOTIFY, 2), 0,
		"sendmsg with TLS_SET_RECORD_TYPE");
	length = kt_read_record(fd[0], record);
	kt_ok(kt_open(version, cipher, &mine, record, length, &type, plain) == 10 &&
			type == KT_RECORD_DATA,
		"%s: the data before it is a record of its own", name);
	length = kt_read_record(fd[0], record);
	kt_ok(kt_open(version, cipher, &mine, record, length, &type, plain) == 2 &&
			type == KT_RECORD_ALERT && !memcmp(plain, ALERT_CLOSE_NOTIFY, 2),
		"%s: the alert leaves as a record of type 21", name);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	kt_need_ktls();
	test_receive();
	test_send(TLS_1_2_VERSION, "TLS 1.2");
	test_send(TLS_1_3_VERSION, "TLS 1.3");
	return kt_done();
}
