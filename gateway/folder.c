/* SPDX-License-Identifier: MIT */
/* folder.c -- folders that the parent makes for the child. */
#include "gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int folder_open(
	const struct sandbox_user *user, const char *what, const char *path, struct err *err)
{
	bool made = mkdir(path, 0700) == 0;
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (made ? O_NOFOLLOW : 0);
	int fd;

	if (!made && errno != EEXIST)
		return err_set(err, "%s: cannot make %s: %s", what, path, strerror(errno));
	fd = open(path, flags);
	if (fd < 0)
		return err_set(err, "%s: cannot open folder %s: %s", what, path, strerror(errno));
	if (made && user != NULL && fchown(fd, user->uid, user->gid) != 0) {
		close(fd);
		return err_set(
			err, "%s: cannot give %s to its user: %s", what, path, strerror(errno));
	}
	return fd;
}
