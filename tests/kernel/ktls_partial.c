/* SPDX-License-Identifier: MIT */
/*
 * ktls_partial: a record of which half has arrived. On 6.1 such a socket polls readable while recv
 * says EAGAIN, which makes a poll loop and a one-shot io_uring recv spin. The gateway reads by
 * multishot recvmsg: this shows that it neither uses CPU nor pins io-wq workers meanwhile, armed
 * before or after the half record, and that the record arrives once it is whole.
 * How poll() behaves is reported, not judged: nothing of ours polls these sockets.
 * Proves kernel-notes/ktls-partial-records.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS  10000
#define WATCH_MS 500
/* An idle process costs next to nothing; a spinning one costs the whole time. */
#define CPU_MS_MAX (WATCH_MS / 4)
#define SOCKETS    16

static const struct kt_cipher *const cipher = &kt_ciphers[0];
static uint8_t record[KT_RECORD_BYTES_MAX];

static void report_poll(void)
{
	struct kt_keys mine;
	struct pollfd entry = {.events = POLLIN};
	uint64_t until;
	unsigned wakeups = 0;
	size_t length;
	char byte;
	int fd[2];

	kt_keys_make(&mine, 80);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, NULL, &mine);
	length = kt_seal(TLS_1_3_VERSION, cipher, &mine, KT_RECORD_DATA, "half", 4, 0, record);
	kt_write_all(fd[0], record, length / 2);
	entry.fd = fd[1];
	until = kt_now_ms() + 200;
	while (kt_now_ms() < until && poll(&entry, 1, 200) > 0) {
		KT_MUST(recv(fd[1], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
		wakeups++;
	}
	kt_diag("poll() with half a record: %u wake-ups without data in 200 ms", wakeups);
	close(fd[0]);
	close(fd[1]);
}

/* Half a record on each of SOCKETS connections, one multishot recvmsg each. */
static void test_multishot(bool armed_before, const char *when)
{
	static uint8_t rest[SOCKETS][256];
	struct kt_keys mine[SOCKETS];
	struct io_uring_cqe cqe;
	struct kr_record got;
	struct kring kr;
	size_t length = 0;
	uint64_t cpu_ms;
	int fd[SOCKETS][2];
	int arrived = 0;
	int idle;

	kr_open(&kr, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 32, 20480);
	for (int i = 0; i < SOCKETS; i++) {
		kt_keys_make(&mine[i], (uint8_t)(90 + i));
		kt_half_pair(fd[i], TLS_1_3_VERSION, cipher, NULL, &mine[i]);
		if (armed_before)
			kr_arm_recvmsg(&kr, fd[i][1], (uint64_t)i);
	}
	for (int i = 0; i < SOCKETS; i++) {
		length = kt_seal(TLS_1_3_VERSION, cipher, &mine[i], KT_RECORD_DATA, "0123456789",
			10, 0, rest[i]);
		kt_write_all(fd[i][0], rest[i], 20);
		if (!armed_before)
			kr_arm_recvmsg(&kr, fd[i][1], (uint64_t)i);
	}
	cpu_ms = kt_cpu_ms();
	idle = kr_wait(&kr, WATCH_MS, &cqe);
	cpu_ms = kt_cpu_ms() - cpu_ms;
	kt_ok(idle == -ETIME, "%s: no completion while records are partial", when);
	kt_ok(cpu_ms < CPU_MS_MAX, "%s: no CPU used meanwhile", when);
	kt_ok(kt_iowq_workers() == 0, "%s: no io-wq worker pinned", when);
	kt_diag("%s: %d sockets, %d ms: %d ms of CPU, %d io-wq workers", when, SOCKETS, WATCH_MS,
		(int)cpu_ms, kt_iowq_workers());
	for (int i = 0; i < SOCKETS; i++)
		kt_write_all(fd[i][0], rest[i] + 20, length - 20);
	while (arrived < SOCKETS && kr_wait_record(&kr, WAIT_MS, &got)) {
		if (got.length != 10 || got.type != KT_RECORD_DATA || !got.more)
			break;
		arrived++;
	}
	kt_ok(arrived == SOCKETS, "%s: each record arrives when it is whole, F_MORE set", when);
	kr_close(&kr);
	for (int i = 0; i < SOCKETS; i++) {
		close(fd[i][0]);
		close(fd[i][1]);
	}
}

int main(void)
{
	kt_need_ktls();
	report_poll();
	test_multishot(true, "armed before the half record");
	test_multishot(false, "armed after the half record");
	return kt_done();
}
