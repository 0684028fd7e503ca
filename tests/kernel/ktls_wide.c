/* SPDX-License-Identifier: MIT */
/*
 * ktls_wide: one recvmsg with a large provided buffer and room for a cmsg takes the records that are
 * there, one behind the other, as long as they are of one type: a control record ends it and comes by
 * the next, alone. And a multishot recvmsg whose room is exactly one record takes one at a time.
 * Half a record: the request waits, with no thread of io-wq, on kernels that do not call such a
 * socket readable; on the others it is reported, not judged, and nothing of ours does it there.
 * Proves kernel-notes/ktls-wide.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS      10000
#define WATCH_MS     300
#define CPU_MS_MAX   (WATCH_MS / 4)
#define RING_FLAGS   (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
#define WIDE_BYTES   (128 * 1024)
#define RECORD_BYTES 16384
#define SOCKETS      8

static const struct kt_cipher *const cipher = &kt_ciphers[0];
static uint8_t body[WIDE_BYTES + RECORD_BYTES];

struct wide {
	struct msghdr msg;
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(1)];
};

static void arm(struct kring *kr, int fd, struct wide *wide)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&kr->ring);

	KT_MUST(sqe != NULL);
	wide->msg = (struct msghdr){
		.msg_control = wide->control, .msg_controllen = sizeof wide->control};
	io_uring_prep_recvmsg(sqe, fd, &wide->msg, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = KR_GROUP;
	KT_MUST(io_uring_submit(&kr->ring) == 1);
}

/* Its result; *type 0: none was told. The payload is compared with `want`, and the buffer given back. */
static int take(struct kring *kr, struct wide *wide, int *type, const uint8_t *want)
{
	struct cmsghdr *head = (struct cmsghdr *)wide->control;
	struct io_uring_cqe cqe = {0};
	int result = kr_wait(kr, WAIT_MS, &cqe);

	*type = 0;
	if (cqe.flags & IORING_CQE_F_BUFFER) {
		unsigned id = cqe.flags >> IORING_CQE_BUFFER_SHIFT;

		if (result > 0 && want)
			kt_ok(!memcmp(kr->memory + (size_t)id * kr->bytes, want, (size_t)result),
				"the octets are the right ones");
		kr_give_back(kr, id);
	}
	if (result >= 0 && wide->msg.msg_controllen >= CMSG_LEN(1) && head->cmsg_level == SOL_TLS &&
		head->cmsg_type == TLS_GET_RECORD_TYPE)
		*type = *CMSG_DATA(head);
	return result;
}

static void send_sealed(int fd, struct kt_keys *keys, int type, const void *data, size_t length)
{
	uint8_t record[KT_RECORD_BYTES_MAX];

	kt_write_all(
		fd, record, kt_seal(TLS_1_3_VERSION, cipher, keys, type, data, length, 0, record));
}

static void open_pair(int fd[2], struct kt_keys *keys, uint8_t seed)
{
	int on = 1;

	kt_keys_make(keys, seed);
	kt_half_pair(fd, TLS_1_3_VERSION, cipher, NULL, keys);
	setsockopt(fd[1], SOL_TLS, TLS_RX_EXPECT_NO_PAD, &on, sizeof on);
}

/* Until a whole record waits in the socket. */
static void wait_queued(int fd)
{
	struct pollfd entry = {.fd = fd, .events = POLLIN};

	KT_MUST(poll(&entry, 1, WAIT_MS) == 1);
}

static void test_several(void)
{
	struct kt_keys mine;
	struct wide wide;
	struct kring kr;
	int result;
	int type;
	int fd[2];

	open_pair(fd, &mine, 110);
	kr_open(&kr, RING_FLAGS, 2, WIDE_BYTES);
	for (size_t i = 0; i < 3; i++)
		send_sealed(fd[0], &mine, KT_RECORD_DATA, body + i * RECORD_BYTES, RECORD_BYTES);
	send_sealed(fd[0], &mine, KT_RECORD_HANDSHAKE, "\x04\0\0\0", 4);
	send_sealed(fd[0], &mine, KT_RECORD_DATA, "after", 5);
	wait_queued(fd[1]);
	arm(&kr, fd[1], &wide);
	result = take(&kr, &wide, &type, body);
	kt_ok(result == 3 * RECORD_BYTES && type == KT_RECORD_DATA,
		"three records of data at once, up to a control record (%d octets, type %d)",
		result, type);
	arm(&kr, fd[1], &wide);
	result = take(&kr, &wide, &type, (const uint8_t *)"\x04\0\0\0");
	kt_ok(result == 4 && type == KT_RECORD_HANDSHAKE, "that comes alone, with its type");
	arm(&kr, fd[1], &wide);
	result = take(&kr, &wide, &type, (const uint8_t *)"after");
	kt_ok(result == 5 && type == KT_RECORD_DATA, "and then data again");
	arm(&kr, fd[1], &wide);
	close(fd[0]);
	result = take(&kr, &wide, &type, NULL);
	kt_ok(result == 0 && type != KT_RECORD_ALERT, "the end: 0, and no type");
	kr_close(&kr);
	close(fd[1]);
}

static void test_none_left(void)
{
	struct io_uring_cqe cqe = {0};
	struct kt_keys mine;
	struct wide wide;
	struct kring kr;
	int result;
	int type;
	int fd[2];

	open_pair(fd, &mine, 111);
	kr_open(&kr, RING_FLAGS, 1, WIDE_BYTES);
	send_sealed(fd[0], &mine, KT_RECORD_DATA, "first", 5);
	arm(&kr, fd[1], &wide);
	KT_MUST(kr_wait(&kr, WAIT_MS, &cqe) == 5);
	send_sealed(fd[0], &mine, KT_RECORD_DATA, "second", 6);
	wait_queued(fd[1]);
	arm(&kr, fd[1], &wide);
	result = take(&kr, &wide, &type, NULL);
	kt_ok(result == -ENOBUFS, "no buffer left: ENOBUFS (%d)", result);
	kr_give_back(&kr, cqe.flags >> IORING_CQE_BUFFER_SHIFT);
	arm(&kr, fd[1], &wide);
	result = take(&kr, &wide, &type, (const uint8_t *)"second");
	kt_ok(result == 6 && type == KT_RECORD_DATA, "and nothing is lost by it");
	kr_close(&kr);
	close(fd[0]);
	close(fd[1]);
}

static void test_bad_tag(void)
{
	uint8_t bytes[KT_RECORD_BYTES_MAX];
	struct kt_keys mine;
	struct wide wide;
	struct kring kr;
	size_t length;
	int result;
	int type;
	int fd[2];

	open_pair(fd, &mine, 112);
	kr_open(&kr, RING_FLAGS, 2, WIDE_BYTES);
	send_sealed(fd[0], &mine, KT_RECORD_DATA, "sound", 5);
	length = kt_seal(TLS_1_3_VERSION, cipher, &mine, KT_RECORD_DATA, "spoilt", 6, 0, bytes);
	bytes[length - 1] ^= 0x80;
	kt_write_all(fd[0], bytes, length);
	wait_queued(fd[1]);
	arm(&kr, fd[1], &wide);
	result = take(&kr, &wide, &type, (const uint8_t *)"sound");
	kt_ok(result == 5 && type == KT_RECORD_DATA, "what came before a spoilt record comes");
	arm(&kr, fd[1], &wide);
	result = take(&kr, &wide, &type, NULL);
	kt_ok(result == -EBADMSG, "and then EBADMSG (%d)", result);
	kr_close(&kr);
	close(fd[0]);
	close(fd[1]);
}

/* With room for one record and no more, whatever else waits is left alone. */
static void test_room_of_a_record(void)
{
	static uint8_t spare[KR_HEAD_BYTES];
	struct kr_record record;
	struct kt_keys mine;
	struct kring kr;
	bool whole = true;
	int fd[2];

	open_pair(fd, &mine, 113);
	kr_open(&kr, RING_FLAGS, 8, sizeof spare + RECORD_BYTES);
	for (size_t i = 0; i < 4; i++)
		send_sealed(fd[0], &mine, KT_RECORD_DATA, body + i * RECORD_BYTES, RECORD_BYTES);
	wait_queued(fd[1]);
	kr_arm_recvmsg(&kr, fd[1], 1);
	for (size_t i = 0; i < 4; i++) {
		KT_MUST(kr_wait_record(&kr, WAIT_MS, &record) && record.result > 0);
		whole = whole && record.length == RECORD_BYTES &&
			!memcmp(record.data, body + i * RECORD_BYTES, RECORD_BYTES);
	}
	kt_ok(whole, "multishot, room for one record: one whole record a buffer");
	kr_close(&kr);
	close(fd[0]);
	close(fd[1]);
}

/* Does poll() call a socket with half a record readable? */
static bool spins(int fd)
{
	struct pollfd entry = {.fd = fd, .events = POLLIN};

	return poll(&entry, 1, 100) > 0;
}

static void test_half(void)
{
	uint8_t rest[SOCKETS][256];
	struct kt_keys mine[SOCKETS];
	struct wide wide[SOCKETS];
	struct io_uring_cqe cqe;
	struct kring kr;
	size_t length = 0;
	uint64_t cpu_ms;
	int arrived = 0;
	int workers;
	int idle;
	bool unsound;
	int fd[SOCKETS][2];

	kr_open(&kr, RING_FLAGS, 16, WIDE_BYTES);
	for (int i = 0; i < SOCKETS; i++) {
		open_pair(fd[i], &mine[i], (uint8_t)(120 + i));
		length = kt_seal(TLS_1_3_VERSION, cipher, &mine[i], KT_RECORD_DATA, "0123456789",
			10, 0, rest[i]);
		arm(&kr, fd[i][1], &wide[i]);
		kt_write_all(fd[i][0], rest[i], 20);
	}
	unsound = spins(fd[0][1]);
	cpu_ms = kt_cpu_ms();
	idle = kr_wait(&kr, WATCH_MS, &cqe);
	cpu_ms = kt_cpu_ms() - cpu_ms;
	workers = kt_iowq_workers();
	kt_diag("half a record on %d sockets: %d ms of CPU in %d, %d io-wq workers", SOCKETS,
		(int)cpu_ms, WATCH_MS, workers);
	if (unsound)
		kt_diag("this kernel calls them readable: not judged");
	else
		kt_ok(idle == -ETIME && cpu_ms < CPU_MS_MAX && workers == 0,
			"half a record: no completion, no CPU, no io-wq worker");
	for (int i = 0; i < SOCKETS; i++)
		kt_write_all(fd[i][0], rest[i] + 20, length - 20);
	while (arrived < SOCKETS && kr_wait(&kr, WAIT_MS, &cqe) == 10)
		arrived++;
	kt_ok(arrived == SOCKETS, "each record arrives when it is whole");
	kr_close(&kr);
	for (int i = 0; i < SOCKETS; i++) {
		close(fd[i][0]);
		close(fd[i][1]);
	}
}

int main(void)
{
	kt_need_ktls();
	for (size_t i = 0; i < sizeof body; i++)
		body[i] = (uint8_t)(i * 31 >> 3);
	test_several();
	test_none_left();
	test_bad_tag();
	test_room_of_a_record();
	test_half();
	return kt_done();
}
