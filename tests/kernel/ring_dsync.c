/* SPDX-License-Identifier: MIT */
/*
 * ring_dsync: a write with RWF_DSYNC is on disk when it completes, one that is short or fails says so
 * itself; with O_DIRECT over octets that were written before it needs no io-wq thread, and whoever
 * reads the file by the page cache sees it.
 * Proves kernel-notes/ring-dsync.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define WAIT_MS     10000
#define ROUNDS      50
#define BLOCK       4096
#define BLOCKS      64
#define TMPFS_MAGIC 0x01021994

#ifndef __NR_cachestat
#define __NR_cachestat 451
#endif

static struct kring kr;

static int write_sync(int fd, const struct iovec *iov, unsigned n, off_t offset, int flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&kr.ring);
	struct io_uring_cqe cqe = {0};

	io_uring_prep_writev2(sqe, fd, iov, n, (uint64_t)offset, flags);
	KT_MUST(io_uring_submit(&kr.ring) == 1);
	cqe.res = kr_wait(&kr, WAIT_MS, &cqe);
	return cqe.res;
}

/* Pages of the file that are not on disk yet; -1: this kernel does not say. */
static int64_t unwritten(int fd)
{
	uint64_t range[2] = {0, 0};
	uint64_t pages[5] = {0}; /* cached, dirty, being written, evicted, recently evicted */

	if (syscall(__NR_cachestat, fd, range, pages, 0) != 0)
		return -1;
	return (int64_t)(pages[1] + pages[2]);
}

static bool on_tmpfs(int fd)
{
	struct statfs st;

	return fstatfs(fd, &st) == 0 && st.f_type == TMPFS_MAGIC;
}

static void on_disk(int fd)
{
	struct iovec iov[2] = {{(char[]){"abcd"}, 4}, {(char[]){"efgh"}, 4}};
	bool whole = true, synced = true, plain = false;

	for (int i = 0; i < ROUNDS; i++) {
		whole = whole && write_sync(fd, iov, 2, 8L * i, RWF_DSYNC) == 8;
		synced = synced && unwritten(fd) <= 0;
		whole = whole && write_sync(fd, iov, 2, 8L * i, 0) == 8;
		plain = plain || unwritten(fd) > 0;
	}
	kt_ok(whole, "%d writes of two pieces with RWF_DSYNC", ROUNDS);
	if (unwritten(fd) < 0 || on_tmpfs(fd))
		kt_diag("not shown: no cachestat(2), or /tmp is no disk");
	else
		kt_ok(synced && plain, "no page was left to be written, as without it there was");
}

static void short_and_failed(int fd)
{
	struct iovec iov = {(char[]){"abcdefgh"}, 8};
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct rlimit limit, small;
	int res;

	KT_MUST(full >= 0);
	res = write_sync(full, &iov, 1, 0, RWF_DSYNC);
	kt_ok(res == -ENOSPC, "a write that fails is told by its own error (%d)", res);
	close(full);
	signal(SIGXFSZ, SIG_IGN);
	KT_MUST(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	KT_MUST(ftruncate(fd, 0) == 0);
	small = (struct rlimit){8L * ROUNDS + 6, limit.rlim_max};
	KT_MUST(setrlimit(RLIMIT_FSIZE, &small) == 0);
	res = write_sync(fd, &iov, 1, 8L * ROUNDS, RWF_DSYNC);
	KT_MUST(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	kt_ok(res == 6, "a short one by what it wrote (%d)", res);
}

/* Writes by `direct` what is compared with what is read by `fd`, whose pages are cached. */
static bool seen(int fd, int direct, uint8_t *out, uint8_t *in, int round)
{
	struct iovec iov = {out, 2 * BLOCK};
	off_t at = (off_t)(round % (BLOCKS - 1)) * BLOCK;

	KT_MUST(pread(fd, in, 2 * BLOCK, at) == 2 * BLOCK);
	memset(out, 'a' + round % 26, 2 * BLOCK);
	if (write_sync(direct, &iov, 1, at, RWF_DSYNC) != 2 * BLOCK)
		return false;
	KT_MUST(pread(fd, in, 2 * BLOCK, at) == 2 * BLOCK);
	return memcmp(in, out, 2 * BLOCK) == 0;
}

/* The first to write by the ring: io-wq threads stay once they are there. */
static void direct(int fd, const char *path)
{
	static _Alignas(BLOCK) uint8_t out[2 * BLOCK];
	static uint8_t in[2 * BLOCK];
	struct iovec iov = {out, sizeof(out)};
	int other = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	bool good = true;

	if (other < 0 || on_tmpfs(fd)) {
		kt_diag("not shown: no O_DIRECT in /tmp, or it is no disk");
		return;
	}
	for (int i = 0; i < BLOCKS; i += 2)
		KT_MUST(pwrite(fd, out, sizeof(out), (off_t)i * BLOCK) == sizeof(out));
	KT_MUST(fsync(fd) == 0);
	KT_MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	for (int i = 0; i < BLOCKS; i += 2)
		good = good &&
		       write_sync(other, &iov, 1, (off_t)i * BLOCK, RWF_DSYNC) == sizeof(out);
	kt_ok(good && kt_iowq_workers() == 0, "O_DIRECT over written octets: %d io-wq threads",
		kt_iowq_workers());
	for (int i = 0; i < 2 * BLOCKS; i++)
		good = good && seen(fd, other, out, in, i);
	kt_ok(good, "what O_DIRECT wrote is read by the page cache, which had older octets");
	close(other);
}

int main(void)
{
	char path[] = "/tmp/ring-dsync-XXXXXX";
	int fd;

	kr_open(&kr, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 8, 4096);
	fd = mkstemp(path);
	KT_MUST(fd >= 0);
	direct(fd, path);
	on_disk(fd);
	short_and_failed(fd);
	KT_MUST(unlink(path) == 0);
	close(fd);
	kr_close(&kr);
	return kt_done();
}
