/* SPDX-License-Identifier: MIT */
/* listen.c -- whose place a new control socket may take, and who may open it. */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/control.h"

static char folder[32];
static char path[64];

static void folder_make(void)
{
	snprintf(folder, sizeof(folder), "/tmp/control.XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/sock", folder);
}

static void folder_remove(void)
{
	unlink(path);
	rmdir(folder);
}

TestSuite(control_listen, .init = folder_make, .fini = folder_remove);

static int listen_ok(void)
{
	struct err err = {""};
	int fd = control_listen(path, &err);

	cr_assert_geq(fd, 0, "%s", err.text);
	return fd;
}

static void listen_fails(const char *part)
{
	struct err err = {""};

	cr_assert_eq(control_listen(path, &err), -1);
	cr_assert_not_null(strstr(err.text, part), "\"%s\" is not in: %s", part, err.text);
}

static int connect_to(const char *to)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int result;

	memcpy(address.sun_path, to, strlen(to) + 1);
	result = connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : fd;
	if (result < 0)
		close(fd);
	return result;
}

Test(control_listen, mode_whatever_the_umask)
{
	static const mode_t umasks[] = {0, 022, 077, 0777};
	struct stat st;

	for (size_t i = 0; i < COUNT_OF(umasks); i++) {
		mode_t old = umask(umasks[i]);
		int fd = listen_ok();

		umask(old);
		cr_expect_eq(stat(path, &st), 0);
		cr_expect_eq(st.st_mode & 07777, 0660, "umask %03o: %04o", (unsigned)umasks[i],
			(unsigned)st.st_mode & 07777u);
		cr_expect(fcntl(fd, F_GETFL) & O_NONBLOCK);
		cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		close(fd); /* and so the next one finds a stale socket */
	}
}

Test(control_listen, stale_is_replaced)
{
	int fd;

	close(listen_ok());
	cr_assert_eq(connect_to(path), -ECONNREFUSED);
	fd = listen_ok();
	cr_assert_geq(connect_to(path), 0);
	close(fd);
}

Test(control_listen, live_one_stays)
{
	int fd = listen_ok();

	listen_fails("another postern answers at /tmp/control.");
	cr_assert_geq(connect_to(path), 0, "the live socket was touched");
	close(fd);
}

/* One that is alive but does not get round to accepting says EAGAIN, not ECONNREFUSED. */
Test(control_listen, live_one_with_full_backlog_stays)
{
	struct stat before, after;
	int fd = listen_ok();
	int clients = 0;

	cr_assert_eq(listen(fd, 1), 0);
	while (connect_to(path) >= 0 && clients < 100)
		clients++;
	cr_assert_lt(clients, 100);
	cr_assert_eq(stat(path, &before), 0);
	listen_fails("another postern answers at");
	cr_assert_eq(stat(path, &after), 0);
	cr_assert_eq(before.st_ino, after.st_ino);
	close(fd);
}

Test(control_listen, other_files_stay)
{
	struct stat st;
	int fd = open(path, O_CREAT | O_WRONLY, 0600);

	close(fd);
	listen_fails("is no socket");
	cr_assert_eq(stat(path, &st), 0);
	unlink(path);
	cr_assert_eq(mkdir(path, 0700), 0);
	listen_fails("is no socket");
	rmdir(path);
	cr_assert_eq(symlink("/tmp/control-nowhere", path), 0);
	listen_fails("is no socket");
}

Test(control_listen, paths_that_cannot_be)
{
	struct err err = {""};
	char longer[200];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	cr_expect_eq(control_listen(longer, &err), -1);
	cr_expect_not_null(strstr(err.text, "at most 107 octets"), "%s", err.text);
	longer[108] = '\0';
	cr_expect_eq(control_listen(longer, &err), -1);
	cr_expect_eq(control_listen("", &err), -1);
	cr_expect_not_null(strstr(err.text, "needs a path"), "%s", err.text);
	cr_expect_eq(control_listen("/tmp/control-nowhere/sock", &err), -1);
	cr_expect_not_null(strstr(err.text, "/tmp/control-nowhere: "), "%s", err.text);
}

Test(control_listen, relative_path_of_full_length)
{
	struct err err = {""};
	char name[108];
	int fd;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	cr_assert_eq(chdir(folder), 0);
	fd = control_listen(name, &err);
	cr_assert_geq(fd, 0, "%s", err.text);
	close(fd);
	unlink(name);
	cr_assert_eq(chdir("/"), 0);
}

/* Who holds the folder's lock delays a start by the bounded time, and never for ever. */
Test(control_listen, locked_folder)
{
	int lock = open(folder, O_RDONLY | O_DIRECTORY);

	cr_assert_eq(flock(lock, LOCK_EX), 0);
	listen_fails("cannot lock the folder");
	close(lock);
	close(listen_ok());
}

#define RACERS 8

/* Tries once `gate` is at its end, says how it went, and lives until it is killed. */
static void race(int gate, int result)
{
	struct err err;
	char byte;

	if (read(gate, &byte, 1) != 0)
		_exit(1);
	byte = control_listen(path, &err) >= 0 ? 'y' : 'n';
	if (write(result, &byte, 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* Of many that start at once on a stale socket exactly one gets it. */
Test(control_listen, race_of_many)
{
	int gate[2], result[2], winners = 0;
	pid_t racers[RACERS];
	char byte;

	close(listen_ok());
	cr_assert_eq(pipe(gate), 0);
	cr_assert_eq(pipe(result), 0);
	for (int i = 0; i < RACERS; i++) {
		racers[i] = fork();
		if (racers[i] == 0) {
			close(gate[1]);
			race(gate[0], result[1]);
		}
	}
	close(gate[1]);
	close(result[1]);
	for (int i = 0; i < RACERS; i++) {
		cr_expect_eq(read(result[0], &byte, 1), 1);
		winners += byte == 'y';
	}
	for (int i = 0; i < RACERS; i++) {
		kill(racers[i], SIGKILL);
		waitpid(racers[i], NULL, 0);
	}
	cr_expect_eq(winners, 1, "%d have the socket", winners);
}
