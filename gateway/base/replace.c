/* SPDX-License-Identifier: MIT */
/* replace.c -- see replace.h. */
#include "base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int write_all(int fd, struct span bytes)
{
	while (bytes.n > 0) {
		ssize_t done = write(fd, bytes.p, bytes.n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		span_take(&bytes, (size_t)done);
	}
	return fdatasync(fd) == 0 ? 0 : -errno;
}

int replace_file(int dir, const char *name, const char *side, struct span bytes)
{
	int fd = openat(dir, side, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int res;

	if (fd < 0)
		return -errno;
	res = write_all(fd, bytes);
	close(fd);
	if (res == 0 && renameat(dir, side, dir, name) != 0)
		res = -errno;
	if (res != 0)
		(void)unlinkat(dir, side, 0);
	return res;
}
