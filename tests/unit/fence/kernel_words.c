/* SPDX-License-Identifier: MIT */
/* kernel_words.c -- of what libbpf prints, the part that an operator is told. */
#include <criterion/criterion.h>

#include "fence/kernel-private.h"

#define BEGIN "libbpf: prog 'fence_ingress': -- BEGIN PROG LOAD LOG --\n"
#define END   "-- END PROG LOAD LOG --\n"

static const struct {
	const char *said[4];
	const char *words;
	bool refused;
} cases[] = {
	{{"libbpf: map 'fence_sources': failed to create: Operation not permitted(-1)\n",
		 "libbpf: failed to load object 'fence_bpf'\n",
		 "libbpf: failed to load BPF skeleton 'fence_bpf': -1\n"},
		"map 'fence_sources': failed to create: Operation not permitted(-1)", false},
	{{"libbpf: prog 'fence_ingress': BPF program load failed: Permission denied\n",
		 BEGIN "func#0 @0\n0: R1=ctx(off=0,imm=0) R10=fp0\n"
		       "0: (61) r2 = *(u32 *)(r1 +76)\n"
		       "R2 invalid mem access 'scalar'\n"
		       "processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 "
		       "peak_states 0 mark_read 0\n" END,
		 "libbpf: failed to load object 'fence_bpf'\n"},
		"R2 invalid mem access 'scalar'", true},
	/* the statistics of newer kernels, of which some stand in front */
	{{BEGIN "back-edge from insn 5 to 3\nverification time 12 usec\nstack depth 8\n"
		"processed 9 insns (limit 1000000)\n" END},
		"back-edge from insn 5 to 3", true},
	/* nothing to tell */
	{{BEGIN END, "libbpf: failed to load object 'fence_bpf'\n"}, "", false},
	{{NULL}, "", false},
	/* what is said after a verifier's word does not hide it */
	{{BEGIN "invalid bpf_context access off=1 size=4\n" END, "libbpf: and more\n"},
		"invalid bpf_context access off=1 size=4", true},
};

Test(fence_kernel_words, the_line_that_says_it)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		kernel_words_begin();
		for (size_t j = 0; j < COUNT_OF(cases[i].said) && cases[i].said[j] != NULL; j++)
			kernel_words_take(cases[i].said[j]);
		cr_expect_str_eq(kernel_words(), cases[i].words, "case %zu", i);
		cr_expect(kernel_words_refused() == cases[i].refused, "case %zu", i);
	}
}

Test(fence_kernel_words, long_ones_are_cut)
{
	char text[4096];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	kernel_words_begin();
	kernel_words_take(text);
	cr_expect(strlen(kernel_words()) > 100 && strlen(kernel_words()) < 256);
}
