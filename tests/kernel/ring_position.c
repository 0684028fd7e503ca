/* SPDX-License-Identifier: MIT */
/*
 * ring_position: io_uring writes at a file's own position (offset -1) do not hold the position's lock,
 * so that two threads overwrite each other's octets; with O_APPEND none is lost.
 * Proves kernel-notes/ring-file-position.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITES  3000
#define OCTETS  64
#define WAIT_MS 10000

static int fd;

static void *writer(void *arg)
{
	struct io_uring_cqe cqe = {0};
	char line[OCTETS];
	struct kring kr;

	(void)arg;
	memset(line, 'x', sizeof(line));
	kr_open(&kr, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 8, 4096);
	for (int i = 0; i < WRITES; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&kr.ring);

		io_uring_prep_write(sqe, fd, line, sizeof(line), (uint64_t)-1);
		KT_MUST(io_uring_submit(&kr.ring) == 1);
		KT_MUST(kr_wait(&kr, WAIT_MS, &cqe) == OCTETS);
	}
	kr_close(&kr);
	return NULL;
}

/* The file's size after two threads wrote WRITES lines each. */
static long written(int flags)
{
	char path[] = "/tmp/ring-position-XXXXXX";
	pthread_t threads[2];
	struct stat st;

	fd = mkstemp(path);
	KT_MUST(fd >= 0);
	KT_MUST(unlink(path) == 0);
	KT_MUST(fcntl(fd, F_SETFL, flags) == 0);
	for (int i = 0; i < 2; i++)
		KT_MUST(pthread_create(&threads[i], NULL, writer, NULL) == 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	KT_MUST(fstat(fd, &st) == 0);
	close(fd);
	return (long)st.st_size;
}

int main(void)
{
	long whole = 2L * WRITES * OCTETS;

	kt_diag("at the file's position: %ld of %ld octets are there", written(0), whole);
	kt_ok(written(O_APPEND) == whole, "with O_APPEND none is lost");
	return kt_done();
}
