/* SPDX-License-Identifier: MIT */
/* rig: see rig.h. */
#include "tests/bpf/rig.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define FD(map) bpf_map__fd(rig.skel->maps.map)

struct rig rig;

static int print_as_diagnostics(enum libbpf_print_level level, const char *format, va_list args)
{
	char text[4096];

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(text, sizeof(text), format, args);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		kt_diag("%s", line);
	return 0;
}

/* Before any program of ours is judged: may this process load one at all? */
static void need_bpf(void)
{
	const struct bpf_insn pass[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "probe", "GPL", pass, 2, NULL);
	char why[128];

	if (fd >= 0) {
		close(fd);
		return;
	}
	snprintf(why, sizeof(why), "bpf(2) loads no XDP program: %s", strerror(errno));
	kt_unsupported(why);
}

bool rig_load(void)
{
	libbpf_set_print(print_as_diagnostics);
	need_bpf();
	rig.skel = fence_bpf__open_and_load();
	rig.cpus = libbpf_num_possible_cpus();
	KT_MUST(rig.cpus > 0);
	return rig.skel != NULL;
}

void rig_open(void)
{
	bool loaded = rig_load();

	kt_ok(loaded, "the verifier takes the programs");
	KT_MUST(loaded);
}

void rig_close(void)
{
	fence_bpf__destroy(rig.skel);
	memset(&rig, 0, sizeof(rig));
}

void rig_print_sizes(void)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, rig.skel->obj)
	{
		struct bpf_prog_info info = {0};
		uint32_t n = sizeof(info);

		KT_MUST(bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &n) == 0);
		kt_diag("%s: %u instructions verified, %u long (%u octets of machine code)",
			bpf_program__name(program), info.verified_insns, info.xlated_prog_len / 8,
			info.jited_prog_len);
	}
}

uint32_t rig_run(const struct bpf_program *program, const void *data, size_t n)
{
	LIBBPF_OPTS(
		bpf_test_run_opts, run, .data_in = data, .data_size_in = (uint32_t)n, .repeat = 1);

	KT_MUST(bpf_prog_test_run_opts(bpf_program__fd(program), &run) == 0);
	return run.retval;
}

/* ---- setting ---- */

static void empty(int map)
{
	char key[64];

	while (bpf_map_get_next_key(map, NULL, key) == 0)
		KT_MUST(bpf_map_delete_elem(map, key) == 0);
}

static void zero_counts(void)
{
	struct fence_count *zeros = calloc((size_t)rig.cpus, sizeof(*zeros));

	KT_MUST(zeros != NULL);
	for (uint32_t key = 0; key < RIG_COUNTS; key++)
		KT_MUST(bpf_map_update_elem(FD(fence_counts), &key, zeros, BPF_ANY) == 0);
	free(zeros);
}

static void zero_refusals(void)
{
	uint64_t *zeros = calloc((size_t)rig.cpus, sizeof(*zeros));
	uint32_t key = 0;

	KT_MUST(zeros != NULL);
	KT_MUST(bpf_map_update_elem(FD(fence_refusals), &key, zeros, BPF_ANY) == 0);
	free(zeros);
}

void rig_reset(const struct fence_rules *rules)
{
	const struct fence_totals totals = {0};
	struct fence_board *board = rig_board();
	struct fence_sample sample;

	empty(FD(fence_sources));
	empty(FD(fence_syns));
	empty(FD(fence_nets));
	empty(FD(fence_behaved));
	empty(FD(fence_penalties));
	empty(FD(fence_listeners));
	empty(FD(fence_interfaces));
	rig_totals_put(&totals);
	zero_counts();
	zero_refusals();
	memset(board, 0, sizeof(*board));
	rig_board_unmap(board);
	while (rig_samples(&sample, 1) > 0)
		;
	rig_rules(rules);
}

void rig_rules(const struct fence_rules *rules)
{
	uint32_t key = 0;

	KT_MUST(bpf_map_update_elem(FD(fence_rules), &key, rules, BPF_ANY) == 0);
}

void rig_case(const struct fence_case *test, const struct fence_rules *rules)
{
	uint64_t live = rig_now_ns() + 3600 * FENCE_NS, over = rig_now_ns() - FENCE_NS;
	uint8_t address[16], source[16];

	rig_reset(rules);
	for (size_t i = 0; i < CASE_NETS_MAX && test->nets[i].address; i++)
		rig_net(test->nets[i].address, test->nets[i].bits, test->nets[i].action,
			test->nets[i].expired ? over
			: i % 2 == 0          ? 0
					      : live);
	for (size_t i = 0; i < CASE_CONDUCTS_MAX && test->behaved[i].address; i++) {
		case_address(test->behaved[i].address, address);
		fence_source_of(rules, address, source);
		rig_behaved(source, test->behaved[i].expired ? over : live);
	}
	for (size_t i = 0; i < CASE_CONDUCTS_MAX && test->penalties[i].address; i++) {
		case_address(test->penalties[i].address, address);
		fence_source_of(rules, address, source);
		rig_penalty(source, test->penalties[i].expired ? over : live);
		rig_source_put(source, &(struct fence_source){0}); /* it was there before */
	}
}

void rig_net(const char *address, unsigned bits, enum fence_action action, uint64_t until_ns)
{
	struct fence_net net = {.action = (uint8_t)action, .until_ns = until_ns};
	struct fence_net_key key = {.bits = bits};

	net.origin = FENCE_ORIGIN_CONFIG;
	case_address(address, key.address);
	if (fence_is_v4(key.address))
		key.bits += 96;
	KT_MUST(bpf_map_update_elem(FD(fence_nets), &key, &net, BPF_ANY) == 0);
}

void rig_behaved(const uint8_t source[16], uint64_t until_ns)
{
	KT_MUST(bpf_map_update_elem(FD(fence_behaved), source, &until_ns, BPF_ANY) == 0);
}

void rig_penalty(const uint8_t source[16], uint64_t until_ns)
{
	KT_MUST(bpf_map_update_elem(FD(fence_penalties), source, &until_ns, BPF_ANY) == 0);
}

void rig_listener(const char *address, uint16_t port)
{
	struct fence_listener key = {.port = port};
	uint32_t one = 1;

	if (address)
		case_address(address, key.address);
	KT_MUST(bpf_map_update_elem(FD(fence_listeners), &key, &one, BPF_ANY) == 0);
}

void rig_interface(uint32_t index, bool judged)
{
	uint32_t one = 1;

	if (judged)
		KT_MUST(bpf_map_update_elem(FD(fence_interfaces), &index, &one, BPF_ANY) == 0);
	else
		KT_MUST(bpf_map_delete_elem(FD(fence_interfaces), &index) == 0);
}

void rig_mark(int fd, enum fence_class class)
{
	struct fence_mark mark = {.class = class};

	if (class == FENCE_CLASSES)
		KT_MUST(bpf_map_delete_elem(FD(fence_classes), &fd) == 0);
	else
		KT_MUST(bpf_map_update_elem(FD(fence_classes), &fd, &mark, BPF_F_LOCK) == 0);
}

/* ---- looking ---- */

uint64_t rig_now_ns(void)
{
	struct timespec now;

	KT_MUST(clock_gettime(CLOCK_MONOTONIC_COARSE, &now) == 0);
	return (uint64_t)now.tv_sec * FENCE_NS + (uint64_t)now.tv_nsec;
}

void rig_counts(struct rig_counts *out)
{
	struct fence_count *each = calloc((size_t)rig.cpus, sizeof(*each));

	KT_MUST(each != NULL);
	memset(out, 0, sizeof(*out));
	for (uint32_t key = 0; key < RIG_COUNTS; key++) {
		struct fence_count *sum = &out->of[key / FENCE_REASONS][key % FENCE_REASONS];

		KT_MUST(bpf_map_lookup_elem(FD(fence_counts), &key, each) == 0);
		for (int i = 0; i < rig.cpus; i++) {
			sum->packets += each[i].packets;
			sum->bytes += each[i].bytes;
		}
	}
	free(each);
}

uint64_t rig_packets_since(
	const struct rig_counts *before, enum fence_class class, enum fence_reason reason)
{
	struct rig_counts now;

	rig_counts(&now);
	return now.of[class][reason].packets - before->of[class][reason].packets;
}

uint64_t rig_bytes_since(
	const struct rig_counts *before, enum fence_class class, enum fence_reason reason)
{
	struct rig_counts now;

	rig_counts(&now);
	return now.of[class][reason].bytes - before->of[class][reason].bytes;
}

int rig_reason_since(const struct rig_counts *before, enum fence_class class)
{
	struct rig_counts now;
	int found = FENCE_REASONS;

	rig_counts(&now);
	for (int i = 0; i < FENCE_SAW_CLIENT_HELLO; i++) {
		uint64_t more = now.of[class][i].packets - before->of[class][i].packets;

		if (more > 0)
			found = found == FENCE_REASONS && more == 1 ? i : -1;
	}
	return found;
}

bool rig_source(const uint8_t source[16], struct fence_source *out)
{
	memset(out, 0, sizeof(*out));
	return bpf_map_lookup_elem(FD(fence_sources), source, out) == 0;
}

void rig_source_put(const uint8_t source[16], const struct fence_source *state)
{
	KT_MUST(bpf_map_update_elem(FD(fence_sources), source, state, BPF_ANY) == 0);
}

uint64_t rig_syns(const uint8_t source[16])
{
	uint64_t tat = 0;

	(void)bpf_map_lookup_elem(FD(fence_syns), source, &tat);
	return tat;
}

bool rig_allowed(const uint8_t address[16])
{
	struct fence_net_key key = {.bits = 128};
	struct fence_net net;

	memcpy(key.address, address, sizeof(key.address));
	return bpf_map_lookup_elem(FD(fence_nets), &key, &net) == 0 &&
	       net.action == FENCE_ACTION_ALLOW &&
	       (net.until_ns == 0 || net.until_ns > rig_now_ns());
}

void rig_totals(struct fence_totals *out)
{
	uint32_t key = 0;

	KT_MUST(bpf_map_lookup_elem(FD(fence_totals), &key, out) == 0);
}

void rig_totals_put(const struct fence_totals *totals)
{
	uint32_t key = 0;

	KT_MUST(bpf_map_update_elem(FD(fence_totals), &key, totals, BPF_ANY) == 0);
}

static size_t board_bytes(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (sizeof(struct fence_board) + page - 1) / page * page;
}

struct fence_board *rig_board(void)
{
	void *at =
		mmap(NULL, board_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, FD(fence_board), 0);

	KT_MUST(at != MAP_FAILED);
	return at;
}

void rig_board_unmap(struct fence_board *board)
{
	munmap(board, board_bytes());
}

struct taking {
	struct fence_sample *out;
	size_t n, max;
};

static int take_sample(void *ctx, void *data, size_t bytes)
{
	struct taking *taking = ctx;

	KT_MUST(bytes == sizeof(struct fence_sample) && taking->n < taking->max);
	memcpy(&taking->out[taking->n++], data, bytes);
	return taking->n == taking->max ? -ENOSPC : 0; /* ends the round */
}

size_t rig_samples(struct fence_sample *out, size_t n)
{
	struct taking taking = {out, 0, n};
	struct ring_buffer *ring = ring_buffer__new(FD(fence_samples), take_sample, &taking, NULL);

	KT_MUST(ring != NULL);
	ring_buffer__consume(ring);
	ring_buffer__free(ring);
	return taking.n;
}
