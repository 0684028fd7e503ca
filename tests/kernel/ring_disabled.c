/* SPDX-License-Identifier: MIT */
/*
 * ring_disabled: the sysctl kernel.io_uring_disabled = 2 makes io_uring_setup answer EPERM.
 * It is the whole machine's setting, so this runs in a test machine only (POSTERN_VM set).
 * Proves kernel-notes/ring-disabled.md.
 */
#include "kring.h"
#include "ktest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SYSCTL "/proc/sys/kernel/io_uring_disabled"

static void set(int value)
{
	FILE *file = fopen(SYSCTL, "w");

	KT_MUST(file != NULL);
	fprintf(file, "%d\n", value);
	KT_MUST(fclose(file) == 0);
}

int main(void)
{
	struct io_uring ring;
	FILE *file = fopen(SYSCTL, "r");
	int result;

	if (!file)
		kt_unsupported("no " SYSCTL);
	fclose(file);
	if (!getenv("POSTERN_VM"))
		kt_unsupported("not in a test machine");
	set(2);
	result = io_uring_queue_init(8, &ring, 0);
	set(0);
	kt_ok(result == -EPERM, "kernel.io_uring_disabled = 2: EPERM");
	result = io_uring_queue_init(8, &ring, 0);
	kt_ok(result == 0, "0: io_uring is there");
	if (result == 0)
		io_uring_queue_exit(&ring);
	return kt_done();
}
