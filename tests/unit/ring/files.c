/* SPDX-License-Identifier: MIT */
/* files.c -- each file op once, with its usual error, in a folder of its own. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/unit/ring/harness.h"

static char folder[] = "/tmp/ring-test-XXXXXX";
static int dir;

static void files_open(void)
{
	harness_open(16, 8);
	cr_assert(mkdtemp(folder) != NULL);
	dir = open(folder, O_DIRECTORY | O_CLOEXEC);
	cr_assert(dir >= 0);
}

static void files_close(void)
{
	close(dir);
	cr_expect(rmdir(folder) == 0, "the test left something behind");
	harness_close();
}

TestSuite(files, .init = files_open, .fini = files_close, .timeout = TEST_LIMIT_S);

static int file_make(struct step *step, const char *name)
{
	ring_openat(ring, &step->op, dir, name, O_CREAT | O_EXCL | O_RDWR, 0600);
	return step_wait(step);
}

static int unlink_name(struct step *step, const char *name)
{
	ring_unlinkat(ring, &step->op, dir, name);
	return step_wait(step);
}

Test(files, open_write_sync_close)
{
	struct iovec iov[2] = {{(char[]){"cd"}, 2}, {(char[]){"ef"}, 2}};
	struct step step;
	char got[8];
	int fd;

	step_init(&step);
	fd = file_make(&step, "a");
	cr_assert(ge(int, fd, 0));
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	ring_write(ring, &step.op, fd, span_str("ab"), 0);
	cr_assert(eq(int, step_wait(&step), 2));
	ring_writev(ring, &step.op, fd, iov, 2, 2);
	cr_assert(eq(int, step_wait(&step), 4));
	ring_fsync(ring, &step.op, fd, false);
	cr_assert(eq(int, step_wait(&step), 0));
	ring_fsync(ring, &step.op, fd, true);
	cr_assert(eq(int, step_wait(&step), 0));
	cr_assert(pread(fd, got, sizeof(got), 0) == 6 && memcmp(got, "abcdef", 6) == 0);
	ring_close_fd(ring, &step.op, fd);
	cr_assert(eq(int, step_wait(&step), 0));
	cr_assert(fcntl(fd, F_GETFD) < 0);
	cr_assert(eq(int, file_make(&step, "a"), -EEXIST));
	cr_assert(eq(int, unlink_name(&step, "a"), 0));
	cr_assert(eq(int, unlink_name(&step, "a"), -ENOENT));
}

Test(files, a_folder_is_synced_too)
{
	struct step step;

	step_init(&step);
	ring_fsync(ring, &step.op, dir, false);
	cr_assert(eq(int, step_wait(&step), 0));
}

Test(files, mkdir_link_rename)
{
	struct stat st;
	struct step step;

	step_init(&step);
	close(file_make(&step, "a"));
	ring_mkdirat(ring, &step.op, dir, "sub", 0700);
	cr_assert(eq(int, step_wait(&step), 0));
	ring_mkdirat(ring, &step.op, dir, "sub", 0700);
	cr_assert(eq(int, step_wait(&step), -EEXIST));
	ring_linkat(ring, &step.op, dir, "a", dir, "sub/b");
	cr_assert(eq(int, step_wait(&step), 0));
	cr_assert(fstatat(dir, "sub/b", &st, 0) == 0 && st.st_nlink == 2);
	ring_linkat(ring, &step.op, dir, "a", dir, "sub/b");
	cr_assert(eq(int, step_wait(&step), -EEXIST));
	ring_renameat(ring, &step.op, dir, "sub/b", dir, "c");
	cr_assert(eq(int, step_wait(&step), 0));
	ring_renameat(ring, &step.op, dir, "sub/b", dir, "c");
	cr_assert(eq(int, step_wait(&step), -ENOENT));
	cr_assert(eq(int, unlink_name(&step, "a"), 0));
	cr_assert(eq(int, unlink_name(&step, "c"), 0));
	cr_assert(unlinkat(dir, "sub", AT_REMOVEDIR) == 0);
}

Test(files, splice_from_socket_through_a_pipe_into_a_file)
{
	struct step step;
	char got[16];
	int tube[2];
	int pair[2];
	int fd;

	pair_open(pair);
	cr_assert(pipe2(tube, O_CLOEXEC) == 0);
	step_init(&step);
	fd = file_make(&step, "body");
	cr_assert(pwrite(fd, "head ", 5, 0) == 5);
	put(pair[1], "spliced");
	ring_splice(ring, &step.op, pair[0], -1, tube[1], -1, 7, 0);
	cr_assert(eq(int, step_wait(&step), 7));
	ring_splice(ring, &step.op, tube[0], -1, fd, 5, 7, 0);
	cr_assert(eq(int, step_wait(&step), 7));
	cr_assert(pread(fd, got, sizeof(got), 0) == 12 && memcmp(got, "head spliced", 12) == 0);
	close(fd);
	close(tube[0]);
	close(tube[1]);
	close(pair[0]);
	close(pair[1]);
	cr_assert(eq(int, unlink_name(&step, "body"), 0));
}

Test(files, a_write_to_a_full_device_is_enospc)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct step step;

	cr_assert(fd >= 0);
	step_init(&step);
	ring_write(ring, &step.op, fd, span_str("x"), 0);
	cr_assert(eq(int, step_wait(&step), -ENOSPC));
	close(fd);
}

Test(files, read_and_fallocate)
{
	struct step step;
	char got[8] = "";
	int fd;

	step_init(&step);
	fd = file_make(&step, "room");
	ring_fallocate(ring, &step.op, fd, 0, 0, 4096);
	cr_assert(eq(int, step_wait(&step), 0));
	cr_assert(eq(long, (long)lseek(fd, 0, SEEK_END), 4096));
	cr_assert(pwrite(fd, "abc", 3, 100) == 3);
	ring_read(ring, &step.op, fd, got, 3, 100);
	cr_assert(eq(int, step_wait(&step), 3));
	cr_assert(strcmp(got, "abc") == 0);
	ring_read(ring, &step.op, fd, got, 3, 4096);
	cr_assert(eq(int, step_wait(&step), 0));
	close(fd);
	cr_assert(eq(int, unlink_name(&step, "room"), 0));
}

Test(files, what_is_dirty_is_written_out)
{
	struct step step;
	int fd;

	step_init(&step);
	fd = file_make(&step, "dirty");
	cr_assert(pwrite(fd, "abc", 3, 0) == 3);
	ring_write_out(ring, &step.op, fd, 0, 3);
	cr_assert(eq(int, step_wait(&step), 0));
	ring_write_out(ring, &step.op, -1, 0, 3);
	cr_assert(eq(int, step_wait(&step), -EBADF));
	close(fd);
	cr_assert(eq(int, unlink_name(&step, "dirty"), 0));
}

Test(files, a_synced_write_answers_as_a_write_does)
{
	struct iovec iov[2] = {{(char[]){"ab"}, 2}, {(char[]){"cd"}, 2}};
	struct rlimit limit, small;
	struct step write;
	char got[8];
	int fd;

	step_init(&write);
	fd = file_make(&write, "log");
	for (unsigned i = 0; i < 100; i++) {
		ring_writev_sync(ring, &write.op, fd, iov, 2, 4ull * i);
		cr_assert(eq(int, step_wait(&write), 4));
	}
	cr_assert(pread(fd, got, 4, 396) == 4 && memcmp(got, "abcd", 4) == 0);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	small = (struct rlimit){402, limit.rlim_max};
	setrlimit(RLIMIT_FSIZE, &small);
	ring_writev_sync(ring, &write.op, fd, iov, 2, 400);
	cr_expect(eq(int, step_wait(&write), 2));
	setrlimit(RLIMIT_FSIZE, &limit);
	close(fd);
	cr_assert(eq(int, unlink_name(&write, "log"), 0));

	fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	ring_writev_sync(ring, &write.op, fd, iov, 2, 0);
	cr_assert(eq(int, step_wait(&write), -ENOSPC));
	close(fd);
}

Test(files, hundreds_of_writes_at_once_all_land_where_they_should)
{
	static struct step steps[300];
	static uint8_t bytes[COUNT_OF(steps)];
	uint8_t got[COUNT_OF(steps)];
	struct step step;
	int fd;

	step_init(&step);
	fd = file_make(&step, "many");
	for (size_t i = 0; i < COUNT_OF(steps); i++) {
		bytes[i] = (uint8_t)i;
		step_init(&steps[i]);
		ring_write(ring, &steps[i].op, fd, span_of(&bytes[i], 1), i);
	}
	for (size_t i = 0; i < COUNT_OF(steps); i++)
		cr_assert(eq(int, step_wait(&steps[i]), 1));
	cr_assert(pread(fd, got, sizeof(got), 0) == sizeof(got));
	cr_assert(memcmp(got, bytes, sizeof(got)) == 0);
	close(fd);
	cr_assert(eq(int, unlink_name(&step, "many"), 0));
}
