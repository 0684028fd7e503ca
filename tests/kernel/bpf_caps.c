/* SPDX-License-Identifier: MIT */
/*
 * bpf_caps: which capability each step of loading, attaching and using needs.
 * Proves kernel-notes/bpf-capabilities.md.
 */
#include "kbpf.h"
#include "ktest.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hooks.skel.h"

#define BIT(n) (1ull << (n))

static struct hooks_bpf *hooks;
static uint32_t marks_id;
static int listener;

/* r0 = 1; exit */
static const struct bpf_insn nothing[] = {
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
	{.code = BPF_JMP | BPF_EXIT},
};

/* r2 = data; r3 = its end; at least one octet: r2 += that & 15, and back with r0 = 2 (XDP_PASS) */
static const struct bpf_insn computed[] = {
	{.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_1, .off = 0},
	{.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_3, .src_reg = BPF_REG_1, .off = 4},
	{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 2},
	{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_4, .src_reg = BPF_REG_2},
	{.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_4, .imm = 1},
	{.code = BPF_JMP | BPF_JGT | BPF_X, .dst_reg = BPF_REG_4, .src_reg = BPF_REG_3, .off = 3},
	{.code = BPF_LDX | BPF_MEM | BPF_B, .dst_reg = BPF_REG_5, .src_reg = BPF_REG_2},
	{.code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = BPF_REG_5, .imm = 15},
	{.code = BPF_ALU64 | BPF_ADD | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_5},
	{.code = BPF_JMP | BPF_EXIT},
};

static int load_of(enum bpf_prog_type type, enum bpf_attach_type attach,
	const struct bpf_insn *program, size_t n)
{
	LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = attach);

	return bpf_prog_load(type, "test", "GPL", program, n, &options);
}

static int load(enum bpf_prog_type type, enum bpf_attach_type attach)
{
	return load_of(type, attach, nothing, sizeof nothing / sizeof *nothing);
}

static int map_array(void)
{
	return bpf_map_create(BPF_MAP_TYPE_ARRAY, "test", 4, 8, 4, NULL);
}

static int map_lru(void)
{
	return bpf_map_create(BPF_MAP_TYPE_LRU_HASH, "test", 4, 8, 4, NULL);
}

static int map_trie(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);

	return bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "test", 20, 8, 4, &options);
}

static int map_ring(void)
{
	return bpf_map_create(BPF_MAP_TYPE_RINGBUF, "test", 0, 0, 4096, NULL);
}

static int load_ingress(void)
{
	return load(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS);
}

static int load_sockops(void)
{
	return load(BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS);
}

static int load_xdp(void)
{
	return load(BPF_PROG_TYPE_XDP, BPF_XDP);
}

static int load_computed(void)
{
	return load_of(BPF_PROG_TYPE_XDP, BPF_XDP, computed, sizeof computed / sizeof *computed);
}

static int load_object(void)
{
	struct hooks_bpf *another = hooks_bpf__open();
	int error = another ? hooks_bpf__load(another) : -ENOMEM;

	errno = -error;
	return error < 0 ? -1 : 0;
}

static int attach_ingress(void)
{
	return bpf_link_create(
		bpf_program__fd(hooks->progs.ingress), kb_cgroup(), BPF_CGROUP_INET_INGRESS, NULL);
}

static int attach_sockops(void)
{
	return bpf_link_create(
		bpf_program__fd(hooks->progs.states), kb_cgroup(), BPF_CGROUP_SOCK_OPS, NULL);
}

static int attach_xdp(void)
{
	return bpf_link_create(
		bpf_program__fd(hooks->progs.early), (int)if_nametoindex("lo"), BPF_XDP, NULL);
}

static int map_update(void)
{
	uint32_t zero = 0;
	static struct hooks_bpf__bss bss;

	return bpf_map_update_elem(bpf_map__fd(hooks->maps.bss), &zero, &bss, 0);
}

static int map_map(void)
{
	void *mapped = mmap(
		NULL, sizeof *hooks->bss, PROT_READ, MAP_SHARED, bpf_map__fd(hooks->maps.bss), 0);

	return mapped == MAP_FAILED ? -1 : 0;
}

static int storage_update(void)
{
	struct kb_mark mark = {1, 1};

	return bpf_map_update_elem(bpf_map__fd(hooks->maps.marks), &listener, &mark, 0);
}

static int map_by_id(void)
{
	return bpf_map_get_fd_by_id(marks_id);
}

static int pin_elsewhere(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/for-all/%d", kb_bpffs(), getpid());
	return bpf_obj_pin(bpf_map__fd(hooks->maps.marks), path);
}

static int pin_here(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%d", kb_bpffs(), getpid());
	return bpf_obj_pin(bpf_map__fd(hooks->maps.marks), path);
}

static int get_pinned(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/marks", kb_bpffs());
	return bpf_obj_get(path);
}

static int get_given(void)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/given", kb_bpffs());
	return bpf_obj_get(path);
}

enum { NONE, BPF, NET_ADMIN, BOTH, PERFMON, SETS };

/* Not the same on all kernels; refused on all, but not with the same errno. */
#define VARIES  -1
#define REFUSED -2

static const struct {
	const char *name;
	uint64_t bits;
} sets[SETS] = {
	{"none", 0},
	{"CAP_BPF", BIT(CAP_BPF)},
	{"CAP_NET_ADMIN", BIT(CAP_NET_ADMIN)},
	{"CAP_BPF and CAP_NET_ADMIN", BIT(CAP_BPF) | BIT(CAP_NET_ADMIN)},
	{"these and CAP_PERFMON", BIT(CAP_BPF) | BIT(CAP_NET_ADMIN) | BIT(CAP_PERFMON)},
};

static const struct {
	const char *name;
	int (*run)(void);
	int want[SETS]; /* errno */
} steps[] = {
	{"make an array", map_array, {EPERM, 0, EPERM, 0, 0}},
	{"make an LRU hash", map_lru, {EPERM, 0, EPERM, 0, 0}},
	{"make an LPM trie", map_trie, {EPERM, 0, EPERM, 0, 0}},
	{"make a ring buffer", map_ring, {EPERM, 0, EPERM, 0, 0}},
	{"load a cgroup_skb program", load_ingress, {EPERM, 0, EPERM, 0, 0}},
	{"load a sockops program", load_sockops, {EPERM, EPERM, EPERM, 0, 0}},
	{"load an XDP program", load_xdp, {EPERM, EPERM, EPERM, 0, 0}},
	{"load one that adds to a packet's pointer", load_computed,
		{EPERM, EPERM, EPERM, EACCES, 0}},
	{"load all with socket storage and BTF", load_object, {EPERM, REFUSED, EPERM, VARIES, 0}},
	{"attach cgroup_skb", attach_ingress, {EPERM, EPERM, 0, 0, 0}},
	{"attach sockops", attach_sockops, {0, 0, 0, 0, 0}},
	{"attach XDP", attach_xdp, {0, 0, 0, 0, 0}},
	{"write a map by descriptor", map_update, {0, 0, 0, 0, 0}},
	{"map a map by descriptor", map_map, {0, 0, 0, 0, 0}},
	{"write socket storage by descriptor", storage_update, {0, 0, 0, 0, 0}},
	{"open a map by number", map_by_id, {EPERM, EPERM, EPERM, EPERM, EPERM}},
	{"pin in a folder of root's", pin_here, {EACCES, EACCES, EACCES, EACCES, EACCES}},
	{"pin in a folder of everybody's", pin_elsewhere, {0, 0, 0, 0, 0}},
	{"open root's pin", get_pinned, {EACCES, EACCES, EACCES, EACCES, EACCES}},
	{"open a pin that was given to it", get_given, {0, 0, 0, 0, 0}},
};

/* The errno of one step, done by nobody with these capabilities. */
static int try(size_t step, size_t set)
{
	pid_t child = fork();
	int status;

	KT_MUST(child >= 0);
	if (child == 0) {
		kb_drop_to(sets[set].bits);
		_exit(steps[step].run() < 0 ? errno : 0);
	}
	KT_MUST(waitpid(child, &status, 0) == child && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static const char *said(size_t step, size_t set)
{
	int want = steps[step].want[set];

	return want == VARIES ? "varies" : want ? "no" : "yes";
}

static void set_up(void)
{
	struct bpf_map_info info = {0};
	uint32_t length = sizeof info;
	char path[PATH_MAX];
	uint16_t port;
	int marks;

	hooks = kb_load();
	marks = bpf_map__fd(hooks->maps.marks);
	KT_MUST(bpf_obj_get_info_by_fd(marks, &info, &length) == 0);
	marks_id = info.id;
	listener = kb_listener(4, &port);
	KT_MUST(chmod(kb_bpffs(), 0755) == 0);
	snprintf(path, sizeof path, "%s/for-all", kb_bpffs());
	KT_MUST(mkdir(path, 0777) == 0 && chmod(path, 0777) == 0);
	snprintf(path, sizeof path, "%s/marks", kb_bpffs());
	KT_MUST(bpf_obj_pin(marks, path) == 0);
	snprintf(path, sizeof path, "%s/given", kb_bpffs());
	KT_MUST(bpf_obj_pin(marks, path) == 0 && chown(path, 65534, 65534) == 0);
}

int main(void)
{
	FILE *file = fopen("/proc/sys/kernel/unprivileged_bpf_disabled", "re");
	int value = 0;

	if (file && fscanf(file, "%d", &value) != 1)
		value = 0;
	if (file)
		fclose(file);
	kb_begin(KB_CGROUP | KB_BPFFS);
	if (value == 0 && getenv("POSTERN_VM"))
		kb_write_file("/proc/sys/kernel/unprivileged_bpf_disabled", "2");
	else if (value == 0)
		kt_unsupported("everybody may use BPF here");
	set_up();
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		bool good = true;

		for (size_t set = 0; set < SETS; set++) {
			int got = try(i, set);

			if (got == steps[i].want[set])
				continue;
			good = good && (steps[i].want[set] == VARIES ||
					       (steps[i].want[set] == REFUSED && got != 0));
			kt_diag("%s with %s: %s", steps[i].name, sets[set].name, strerror(got));
		}
		kt_ok(good,
			"%s: none %s, CAP_BPF %s, CAP_NET_ADMIN %s, both %s, CAP_PERFMON too %s",
			steps[i].name, said(i, NONE), said(i, BPF), said(i, NET_ADMIN),
			said(i, BOTH), said(i, PERFMON));
	}
	hooks_bpf__destroy(hooks);
	return kt_done();
}
