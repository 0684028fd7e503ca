/* SPDX-License-Identifier: MIT */
/* kmaps: the programs of bpf/maps.bpf.c. */
#include "kmaps.h"
#include "kbpf.h"
#include "ktest.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "maps.skel.h"

/* More than an Ethernet header, as BPF_PROG_TEST_RUN asks for. */
#define PACKET_BYTES 64

struct maps_bpf *km_begin(void)
{
	struct maps_bpf *maps;

	kb_begin(0);
	maps = maps_bpf__open();
	KT_MUST(maps != NULL);
	kb_loaded(maps_bpf__load(maps), "maps.bpf.c");
	return maps;
}

unsigned km_run(const struct bpf_program *program, uint32_t mark, unsigned times)
{
	struct __sk_buff context = {.mark = mark};
	uint8_t packet[PACKET_BYTES] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof packet,
		.ctx_in = &context, .ctx_size_in = sizeof context, .repeat = (int)times);

	KT_MUST(bpf_prog_test_run_opts(bpf_program__fd(program), &options) == 0);
	return options.retval;
}
