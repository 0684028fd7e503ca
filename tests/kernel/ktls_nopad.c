/* SPDX-License-Identifier: MIT */
/*
 * ktls_nopad: TLS_RX_EXPECT_NO_PAD is a guess about TLS 1.3 peers, not a rule: a padded record is
 * still opened, at the cost of a second decryption that tls_stat counts. TLS 1.2 has no such
 * option. Proves kernel-notes/ktls-no-pad.md.
 */
#include "ktest.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct kt_cipher *const cipher = &kt_ciphers[0];

static void exchange(int fd[2], struct kt_keys *mine, size_t pad, const char *what)
{
	uint8_t record[KT_RECORD_BYTES_MAX];
	char got[512]; /* the option counts where a record fits the reader's buffer */

	kt_write_all(fd[0], record,
		kt_seal(TLS_1_3_VERSION, cipher, mine, KT_RECORD_DATA, "NOOP\r\n", 6, pad, record));
	kt_ok(recv(fd[1], got, sizeof got, 0) == 6 && !memcmp(got, "NOOP\r\n", 6), "%s", what);
}

int main(void)
{
	struct kt_keys mine;
	long retry, violation;
	int on = 1;
	int fd[2];

	kt_need_ktls();
	kt_keys_make(&mine, 110);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, NULL, &mine);
	if (setsockopt(fd[1], SOL_TLS, TLS_RX_EXPECT_NO_PAD, &on, sizeof on) < 0)
		kt_unsupported("no TLS_RX_EXPECT_NO_PAD");
	kt_ok(true, "TLS 1.3: TLS_RX_EXPECT_NO_PAD after the RX keys");
	retry = kt_tls_stat("TlsDecryptRetry");
	violation = kt_tls_stat("TlsRxNoPadViolation");
	exchange(fd, &mine, 0, "a record without padding");
	kt_ok(kt_tls_stat("TlsRxNoPadViolation") == violation, "is no violation");
	exchange(fd, &mine, 100, "a padded record is opened all the same");
	kt_ok(kt_tls_stat("TlsRxNoPadViolation") == violation + 1, "TlsRxNoPadViolation counts it");
	kt_ok(kt_tls_stat("TlsDecryptRetry") == retry + 1, "TlsDecryptRetry counts it");
	exchange(fd, &mine, 0, "and the next one without");
	close(fd[0]);
	close(fd[1]);

	kt_half_pair(fd, TLS_1_2_VERSION, cipher, NULL, &mine);
	kt_errno(setsockopt(fd[1], SOL_TLS, TLS_RX_EXPECT_NO_PAD, &on, sizeof on), EINVAL,
		"TLS 1.2: EINVAL");
	close(fd[0]);
	close(fd[1]);
	return kt_done();
}
