/* SPDX-License-Identifier: MIT */
/*
 * ktls_end: how a receiving direction ends. A FIN without close_notify is a plain 0, even in the
 * middle of a record, so detecting truncation is the gateway's job; a bad tag is EBADMSG for good;
 * bad framing is EMSGSIZE or EINVAL; plaintext after the offload is fatal.
 * Proves kernel-notes/ktls-end-of-stream.md.
 */
#include "ktest.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint8_t record[KT_RECORD_BYTES_MAX];
static uint8_t got[KT_RECORD_BYTES_MAX];

static void make(int fd[2], struct kt_keys *mine)
{
	kt_keys_make(mine, 60);
	kt_half_pair(fd, TLS_1_3_VERSION, &kt_ciphers[0], mine, mine);
}

static size_t seal(struct kt_keys *mine, const char *text)
{
	return kt_seal(TLS_1_3_VERSION, &kt_ciphers[0], mine, KT_RECORD_DATA, text, strlen(text), 0,
		record);
}

static void test_fin(bool in_record)
{
	struct kt_keys mine;
	size_t length;
	int type;
	int fd[2];

	make(fd, &mine);
	kt_write_all(fd[0], record, seal(&mine, "whole"));
	if (in_record) {
		length = seal(&mine, "cut off in the middle");
		kt_write_all(fd[0], record, length - 7);
	}
	shutdown(fd[0], SHUT_WR);
	KT_MUST(recv(fd[1], got, 5, MSG_WAITALL) == 5);
	kt_ok(kt_recv_typed(fd[1], &type, got, sizeof got, 0) == 0,
		"FIN without close_notify %s: 0",
		in_record ? "inside a record" : "between records");
	kt_ok(type != KT_RECORD_ALERT, "and no control record was made up");
	close(fd[0]);
	close(fd[1]);
}

static void test_bad_tag(void)
{
	struct kt_keys mine;
	long errors = kt_tls_stat("TlsDecryptError");
	size_t length;
	int fd[2];

	make(fd, &mine);
	length = seal(&mine, "tampered with");
	record[length - 1] ^= 1;
	kt_write_all(fd[0], record, length);
	kt_errno(recv(fd[1], got, sizeof got, 0), EBADMSG, "a wrong tag: EBADMSG");
	kt_write_all(fd[0], record, seal(&mine, "a good one after it"));
	kt_errno(recv(fd[1], got, sizeof got, 0), EBADMSG, "and EBADMSG for good");
	kt_ok(kt_tls_stat("TlsDecryptError") > errors, "TlsDecryptError counts it");
	close(fd[0]);
	close(fd[1]);
}

static void test_framing(const char *what, const void *bytes, size_t length)
{
	struct kt_keys mine;
	ssize_t n;
	int fd[2];

	make(fd, &mine);
	kt_write_all(fd[0], bytes, length);
	n = recv(fd[1], got, sizeof got, 0);
	kt_ok(n < 0 && (errno == EMSGSIZE || errno == EINVAL || errno == EBADMSG),
		"%s: refused with EMSGSIZE, EINVAL or EBADMSG", what);
	kt_diag("%s: %s", what, n < 0 ? strerror(errno) : "accepted");
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	static const uint8_t too_long[64] = {23, 3, 3, 0x48, 0x01};
	static const uint8_t old_version[64] = {23, 3, 1, 0, 32};
	static const uint8_t cipher_spec[] = {20, 3, 3, 0, 1, 1};

	kt_need_ktls();
	test_fin(false);
	test_fin(true);
	test_bad_tag();
	test_framing("a record over the limit", too_long, sizeof too_long);
	test_framing("a record of another version", old_version, sizeof old_version);
	test_framing("plaintext", "QUIT\r\nQUIT\r\nQUIT\r\nQUIT\r\n", 24);
	test_framing("a ChangeCipherSpec", cipher_spec, sizeof cipher_spec);
	return kt_done();
}
