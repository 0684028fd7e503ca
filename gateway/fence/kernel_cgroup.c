/* SPDX-License-Identifier: MIT */
/*
 * kernel_cgroup.c -- which folder is the cgroup v2 that this process is in.
 *
 * /proc/self/cgroup names it from the root of the hierarchy (or of our cgroup namespace), on the
 * line "0::PATH"; /proc/self/mountinfo says where which part of that hierarchy is mounted. A system
 * that still has controllers of version 1 has the mount besides (/sys/fs/cgroup/unified). Sockets
 * belong to the cgroup that their process was in when it made them: so ours.
 */
#include "fence/kernel-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROC_BYTES_MAX (1024 * 1024)
#define MOUNT_WORDS    64

/* Mount points have \040 for a space. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
			from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* What is left of the path below root; NULL: it is not below. */
static const char *below(const char *path, const char *root)
{
	size_t n = strlen(root);

	if (strcmp(root, "/") == 0)
		return path;
	if (strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return NULL;
	return path + n;
}

/* "36 35 98:0 ROOT POINT options [more ...] - TYPE source ..." */
static bool mount_line(char *line, const char *path, char out[PATH_MAX])
{
	char *words[MOUNT_WORDS];
	const char *rest;
	size_t n = 0;
	size_t dash;
	char *save;

	for (char *word = strtok_r(line, " ", &save); word != NULL && n < MOUNT_WORDS;
		word = strtok_r(NULL, " ", &save))
		words[n++] = word;
	for (dash = 6; dash < n && strcmp(words[dash], "-") != 0; dash++)
		;
	if (dash + 1 >= n || strcmp(words[dash + 1], "cgroup2") != 0)
		return false;
	unescape(words[3]);
	unescape(words[4]);
	rest = below(path, words[3]);
	if (rest == NULL)
		return false;
	n = (size_t)snprintf(out, PATH_MAX, "%s%s", words[4], rest);
	return n < PATH_MAX;
}

/* "0::PATH" */
static bool path_find(const char *cgroups, char out[PATH_MAX])
{
	for (const char *line = cgroups; *line != '\0';) {
		size_t n = strcspn(line, "\n");

		if (strncmp(line, "0::/", 4) == 0 && n - 3 < PATH_MAX) {
			snprintf(out, PATH_MAX, "%.*s", (int)(n - 3), line + 3);
			return true;
		}
		line += n + (line[n] == '\n');
	}
	return false;
}

int kernel_cgroup_find(const char *mounts, const char *cgroups, char out[PATH_MAX], struct err *err)
{
	char path[PATH_MAX];
	bool found = false;
	char *copy;
	char *save;

	if (!path_find(cgroups, path))
		return err_set(err, "this kernel has no cgroup v2 (CONFIG_CGROUPS)");
	copy = strdup(mounts);
	if (copy == NULL)
		return err_set(err, "out of memory");
	for (char *line = strtok_r(copy, "\n", &save); line != NULL && !found;
		line = strtok_r(NULL, "\n", &save))
		found = mount_line(line, path, out);
	free(copy);
	if (!found)
		return err_set(err,
			"no cgroup2 file system with our cgroup %s is mounted (mount -t cgroup2 "
			"none /sys/fs/cgroup)",
			path);
	return 0;
}

/* Files of /proc have no size. NULL: not read. */
static char *proc_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t got = -1;
	char *text;

	if (fd < 0)
		return NULL;
	text = malloc(PROC_BYTES_MAX + 1);
	while (text != NULL && n < PROC_BYTES_MAX &&
		(got = read(fd, text + n, PROC_BYTES_MAX - n)) > 0)
		n += (size_t)got;
	close(fd);
	if (text == NULL || got < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

int kernel_cgroup_open(struct err *err)
{
	char *mounts = proc_read("/proc/self/mountinfo");
	char *cgroups = proc_read("/proc/self/cgroup");
	char path[PATH_MAX];
	int fd = -1;

	if (mounts == NULL || cgroups == NULL)
		err_set(err, "cannot read /proc/self: no cgroup v2 is found");
	else if (kernel_cgroup_find(mounts, cgroups, path, err) == 0) {
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			err_set(err, "cannot open our cgroup %s: %s", path, strerror(errno));
	}
	free(mounts);
	free(cgroups);
	return fd;
}
