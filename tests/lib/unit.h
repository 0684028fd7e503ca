/* SPDX-License-Identifier: MIT */
/*
 * unit.h -- what unit tests of several rooms need: descriptors counted, folders removed.
 */
#ifndef POSTERN_TESTS_LIB_UNIT_H
#define POSTERN_TESTS_LIB_UNIT_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>

#define UNIT_WALK_FDS_MAX 16

/* Descriptors of this process, the one that counts included. */
static inline unsigned unit_fds_n(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	cr_assert(dir != NULL);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

static inline int unit_remove_one(
	const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

/* The folder and all below it. -1: something stayed. */
static inline int unit_remove_tree(const char *path)
{
	return nftw(path, unit_remove_one, UNIT_WALK_FDS_MAX, FTW_DEPTH | FTW_PHYS);
}

#endif
