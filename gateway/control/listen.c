/* SPDX-License-Identifier: MIT */
/*
 * listen.c -- makes the control socket's file, and takes the place of a dead predecessor's.
 *
 * The socket also keeps two gateways from starting with one configuration: ports alone would not,
 * SO_REUSEPORT lets both bind. So a file is unlinked only when connect(2) said ECONNREFUSED, and
 * two that start at the same moment are kept apart by flock(2) on the folder. The lock is asked for
 * a bounded number of times: a stranger who holds it must not stop the start for ever.
 *
 * The mode is set before bind(2) makes the file, so that it is never wider than wanted.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "control/control.h"

#define LISTEN_MODE         0660
#define LISTEN_BACKLOG      32
#define LISTEN_LOCK_TRIES   100
#define LISTEN_LOCK_WAIT_MS 20

static int folder_lock(const char *path, struct err *err)
{
	const struct timespec wait = {.tv_nsec = LISTEN_LOCK_WAIT_MS * 1000000L};
	struct sockaddr_un copy;
	const char *folder;
	int fd;

	memcpy(copy.sun_path, path, strlen(path) + 1);
	folder = dirname(copy.sun_path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(
			err, "%s: the folder of the control socket: %s", folder, strerror(errno));
	for (int i = 0; i < LISTEN_LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return fd;
		if (errno != EWOULDBLOCK && errno != EINTR)
			break;
		(void)nanosleep(&wait, NULL);
	}
	err_set(err, "%s: cannot lock the folder of the control socket: %s", folder,
		strerror(errno));
	close(fd);
	return -1;
}

/* 0: nothing is there now. */
static int stale_remove(const struct sockaddr_un *address, struct err *err)
{
	const char *path = address->sun_path;
	struct stat st;
	int fd, error;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_set(err, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_set(err,
			"%s is there and is no socket: move it away or set control_socket", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, "socket: %s", strerror(errno));
	error = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno : 0;
	close(fd);
	if (error == 0 || error == EAGAIN) /* EAGAIN: alive, its backlog is full */
		return err_set(
			err, "another postern answers at %s: stop it or set control_socket", path);
	if (error != ECONNREFUSED)
		return err_set(err, "%s: %s", path, strerror(error));
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(
			err, "%s: cannot remove the stale socket: %s", path, strerror(errno));
	return 0;
}

static int socket_make(const struct sockaddr_un *address, struct err *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool bound = false;

	if (fd < 0)
		return err_set(err, "socket: %s", strerror(errno));
	if (fchmod(fd, LISTEN_MODE) < 0)
		goto fail;
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		goto fail;
	bound = true;
	if (chmod(address->sun_path, LISTEN_MODE) < 0) /* the umask took from it */
		goto fail;
	if (listen(fd, LISTEN_BACKLOG) < 0)
		goto fail;
	return fd;
fail:
	err_set(err, "%s: cannot make the control socket: %s", address->sun_path, strerror(errno));
	if (bound)
		(void)unlink(address->sun_path);
	close(fd);
	return -1;
}

int control_listen(const char *path, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int lock, fd = -1;

	if (path[0] == '\0')
		return err_set(err, "control_socket is empty: it needs a path");
	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(err, "%s: too long for a unix socket, at most %zu octets", path,
			sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	lock = folder_lock(path, err);
	if (lock < 0)
		return -1;
	if (stale_remove(&address, err) == 0)
		fd = socket_make(&address, err);
	close(lock);
	return fd;
}
