/* SPDX-License-Identifier: MIT */
/*
 * bpf_mmap: an array with BPF_F_MMAPABLE is memory that both sides have: what a program writes is
 * read without a system call, by a process without capabilities, read-only if it maps it so.
 * Proves kernel-notes/bpf-mmapable.md.
 */
#include "kbpf.h"
#include "kmaps.h"
#include "ktest.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "maps.skel.h"

#define PLACE  700
#define BYTES  (KB_BOARD_WORDS * sizeof(uint64_t))
#define VALUE  0x1122334455667788ull
#define HIDDEN 0x99ull

/* Strict seccomp kills at any call but read, write and exit; here only exit is made. */
static void read_without_calls(const volatile uint64_t *board)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
		_exit(2);
	while (board[PLACE] != VALUE)
		;
	syscall(SYS_exit, 0);
}

int main(void)
{
	struct maps_bpf *maps = km_begin();
	int fd = bpf_map__fd(maps->maps.board);
	const volatile uint64_t *board;
	int status, again;
	uint32_t place = PLACE;
	uint64_t value = HIDDEN;
	pid_t child;

	board = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0);
	kt_ok(board != MAP_FAILED, "an array with BPF_F_MMAPABLE can be mapped");
	KT_MUST(board != MAP_FAILED);
	kt_ok(mmap(NULL, 2 * BYTES, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EINVAL,
		"not beyond its end: EINVAL");
	KT_MUST(bpf_map_update_elem(fd, &place, &value, 0) == 0);
	kt_ok(board[PLACE] == HIDDEN, "an update by descriptor is seen in the mapping");

	child = fork();
	KT_MUST(child >= 0);
	if (child == 0) {
		kb_drop_to(0);
		read_without_calls(board);
	}
	kb_sleep_ms(50);
	kt_ok(waitpid(child, &status, WNOHANG) == 0,
		"a child without capabilities, in strict seccomp, waits for the program's value");
	maps->bss->now = VALUE;
	km_run(maps->progs.write_board, PLACE, 1);
	alarm(30);
	KT_MUST(waitpid(child, &status, 0) == child);
	alarm(0);
	kt_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		"and sees it: through the mapping that it inherited, without a system call");
	kt_ok(board[PLACE] == VALUE && board[PLACE + 1] == 0 && board[PLACE - 1] == 0,
		"in its place, the neighbours are untouched");

	again = dup(fd);
	KT_MUST(again >= 0);
	maps_bpf__destroy(maps);
	close(again);
	kt_ok(board[PLACE] == VALUE, "the mapping keeps the map when every descriptor is closed");
	return kt_done();
}
