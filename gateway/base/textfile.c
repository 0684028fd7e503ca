/* SPDX-License-Identifier: MIT */
/* textfile.c -- see textfile.h. */
#include "base/textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads up to max octets. Octets read, or -errno. */
static int64_t read_up_to(int fd, char *text, size_t max)
{
	size_t n = 0;

	while (n < max) {
		ssize_t got = read(fd, text + n, max - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	return (int64_t)n;
}

/* Opened without blocking: a FIFO's other end may never come. */
static int open_file(const char *path, uint64_t bytes_max, size_t *size, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return err_set(err, "%s:1: cannot be opened: %s", path, strerror(errno));
	if (fstat(fd, &st) != 0)
		err_set(err, "%s:1: cannot be read: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		err_set(err, "%s:1: not a regular file", path);
	else if ((uint64_t)st.st_size > bytes_max)
		err_set(err, "%s:1: larger than %llu octets", path, (unsigned long long)bytes_max);
	else {
		*size = (size_t)st.st_size;
		return fd;
	}
	close(fd);
	return -1;
}

int textfile_read(const char *path, uint64_t bytes_max, char **text, size_t *n, struct err *err)
{
	size_t size = 0;
	int fd = open_file(path, bytes_max, &size, err);
	int64_t got;

	if (fd < 0)
		return -1;
	*n = size;
	*text = malloc(size + 1);
	got = *text ? read_up_to(fd, *text, size + 1) : -ENOMEM;
	close(fd);
	if (got == (int64_t)size)
		return 0;
	free(*text);
	*text = NULL;
	if (got < 0)
		return err_set(err, "%s:1: cannot be read: %s", path, strerror((int)-got));
	return err_set(
		err, "%s:1: changed while it was read: write a new file and rename it", path);
}

uint64_t textfile_lines(struct span text)
{
	uint64_t lines = 1;

	for (size_t i = 0; i < text.n; i++)
		lines += text.p[i] == '\n';
	return lines;
}

struct span textfile_take_line(struct span *rest)
{
	const uint8_t *end = rest->n > 0 ? memchr(rest->p, '\n', rest->n) : NULL;
	struct span line = span_take(rest, end ? (size_t)(end - rest->p) : rest->n);

	span_take(rest, 1);
	return line;
}

struct span textfile_take_word(struct span *line)
{
	size_t n = 0;

	while (n < line->n && !textfile_blank(line->p[n]))
		n++;
	return span_take(line, n);
}
