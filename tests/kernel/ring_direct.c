/* SPDX-License-Identifier: MIT */
/*
 * ring_direct: O_DIRECT set and taken back on an open file, octet for octet: whole blocks past the
 * page cache, a tail through it, and the whole read past it again while the tail is not on disk yet.
 * Proves kernel-notes/ring-direct.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define WAIT_MS 10000
#define BLOCK   16384
#define BLOCKS  5
#define TAIL    777
#define ALL     (BLOCKS * BLOCK + TAIL)

static struct kring kr;
static _Alignas(4096) uint8_t out[(BLOCKS + 1) * BLOCK];
static _Alignas(4096) uint8_t in[(BLOCKS + 1) * BLOCK];

static bool set(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	return fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

static int transfer(bool writes, int fd, uint8_t *p, size_t n, uint64_t offset)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&kr.ring);
	struct io_uring_cqe cqe = {0};
	struct iovec iov[BLOCKS + 1];
	unsigned count = 0;

	for (; n > 0; count++) {
		size_t part = n < BLOCK ? n : BLOCK;

		iov[count] = (struct iovec){p, part};
		p += part;
		n -= part;
	}
	if (writes)
		io_uring_prep_writev(sqe, fd, iov, count, offset);
	else
		io_uring_prep_readv(sqe, fd, iov, count, offset);
	KT_MUST(io_uring_submit(&kr.ring) == 1);
	(void)kr_wait(&kr, WAIT_MS, &cqe);
	return cqe.res;
}

static void to_and_fro(int fd)
{
	int head = transfer(true, fd, out, (size_t)BLOCKS * BLOCK, 0);
	int tail, got;

	KT_MUST(set(fd, false));
	tail = transfer(true, fd, out + (size_t)BLOCKS * BLOCK, TAIL, (uint64_t)BLOCKS * BLOCK);
	kt_ok(head == BLOCKS * BLOCK && tail == TAIL,
		"blocks past the page cache, a tail through it, by one descriptor (%d, %d)", head,
		tail);
	KT_MUST(set(fd, true));
	got = transfer(false, fd, in, sizeof(in), 0);
	kt_ok(got == ALL && memcmp(in, out, ALL) == 0,
		"read past it at once: all octets, the tail too, and no more (%d)", got);
	KT_MUST(set(fd, false));
	memset(in, 0, sizeof(in));
	kt_ok(transfer(false, fd, in, ALL, 0) == ALL && memcmp(in, out, ALL) == 0,
		"read through it: the same");
}

static void crooked(int fd)
{
	int res;

	KT_MUST(set(fd, true));
	res = transfer(true, fd, out, TAIL, 0);
	if (res == TAIL)
		kt_diag("this file system takes any length with O_DIRECT");
	kt_ok(res == -EINVAL || res == TAIL,
		"a piece of a block: refused whole, or taken whole (%d)", res);
	KT_MUST(set(fd, false));
	kt_ok(transfer(true, fd, out, TAIL, 0) == TAIL, "taken without the flag");
}

int main(void)
{
	char path[] = "/tmp/ring-direct-XXXXXX";
	int fd = mkstemp(path);

	KT_MUST(fd >= 0 && unlink(path) == 0);
	if (!set(fd, true)) {
		kt_errno(-1, EINVAL, "a file system without O_DIRECT says so at the flag");
		close(fd);
		return kt_done();
	}
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 + i / 251);
	kr_open(&kr, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 8, 4096);
	to_and_fro(fd);
	crooked(fd);
	close(fd);
	kr_close(&kr);
	return kt_done();
}
