/* SPDX-License-Identifier: MIT */
/*
 * floor pass|drop DEVICE: an XDP program of two instructions at an interface, until SIGTERM or SIGINT.
 *
 * What a frame costs there although nobody looks at it: by `pass` what XDP itself adds to one that
 * goes on, by `drop` what one costs that is thrown away at once. No fence can be below that.
 * Prints `ready native` or `ready generic` when it is attached.
 *
 * Exit codes: 0, 77 where it cannot be attached, 2.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define EXIT_SKIP  77

static int program_load(int verdict)
{
	const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = verdict},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_XDP_HAS_FRAGS);

	return bpf_prog_load(
		BPF_PROG_TYPE_XDP, "floor", "MIT", code, sizeof(code) / sizeof(code[0]), &opts);
}

/* As the gateway does it: by the driver if it can, else by the stack. */
static int attach(int program, int device, const char **how)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	int link = bpf_link_create(program, device, BPF_XDP, &opts);

	*how = "native";
	if (link >= 0)
		return link;
	*how = "generic";
	opts.flags = XDP_FLAGS_SKB_MODE;
	return bpf_link_create(program, device, BPF_XDP, &opts);
}

int main(int argc, char **argv)
{
	const char *how = "";
	int program, device, number;
	sigset_t endings;

	if (argc != 3 || (strcmp(argv[1], "pass") != 0 && strcmp(argv[1], "drop") != 0)) {
		fprintf(stderr, "usage: floor pass|drop DEVICE\n");
		return EXIT_USAGE;
	}
	sigemptyset(&endings);
	sigaddset(&endings, SIGTERM);
	sigaddset(&endings, SIGINT);
	sigprocmask(SIG_BLOCK, &endings, NULL);
	device = (int)if_nametoindex(argv[2]);
	program = device > 0 ? program_load(argv[1][0] == 'd' ? XDP_DROP : XDP_PASS) : -ENODEV;
	if (program < 0 || attach(program, device, &how) < 0) {
		fprintf(stderr, "floor: %s: %s\n", argv[2], strerror(device > 0 ? errno : ENODEV));
		return EXIT_SKIP;
	}
	printf("ready %s\n", how);
	fflush(stdout);
	(void)sigwait(&endings, &number);
	return 0; /* the link goes with its descriptor */
}
