/* SPDX-License-Identifier: MIT */
/* kmaps: the programs of bpf/maps.bpf.c, run by BPF_PROG_TEST_RUN. */
#ifndef POSTERN_TESTS_KMAPS_H
#define POSTERN_TESTS_KMAPS_H

#include "bpf/maps.h"

#include <stdint.h>

struct bpf_program;
struct maps_bpf;

/* kb_begin(0), then loaded. */
struct maps_bpf *km_begin(void);
/* Runs it so many times with this mark; what it returned last. */
unsigned km_run(const struct bpf_program *program, uint32_t mark, unsigned times);

#endif
