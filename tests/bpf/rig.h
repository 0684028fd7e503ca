/* SPDX-License-Identifier: MIT */
/*
 * rig: the fence's programs, loaded for tests by libbpf alone; their maps to set and to look at.
 * One at a time, in a struct of its own; nothing is attached or pinned here.
 *
 * Set-up that has to work on any kernel where bpf(2) is permitted asserts; a verifier that refuses
 * is a failed test with its log.
 */
#ifndef POSTERN_TESTS_BPF_RIG_H
#define POSTERN_TESTS_BPF_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fence.skel.h"
#include "tests/bpf/cases.h"
#include "tests/kernel/ktest.h"

#define RIG_COUNTS (FENCE_CLASSES * FENCE_REASONS)

struct rig {
	struct fence_bpf *skel;
	int cpus;
};

struct rig_counts {
	struct fence_count of[FENCE_CLASSES][FENCE_REASONS];
};

extern struct rig rig;

/* Ends with 77 where bpf(2) is not permitted or not there. */
void rig_open(void);
/* The same without a TAP result: false where the verifier refuses. */
bool rig_load(void);
void rig_close(void);
/* The programs' sizes and what the verifier went through, as diagnostics. */
void rig_print_sizes(void);
/* Run by bpf(2) with one packet. The program's return value. */
uint32_t rig_run(const struct bpf_program *program, const void *data, size_t n);

/* Empties all maps but the socket storages, then puts the rules in. */
void rig_reset(const struct fence_rules *rules);
void rig_rules(const struct fence_rules *rules);
void rig_case(const struct fence_case *test, const struct fence_rules *rules);
void rig_net(const char *address, unsigned bits, enum fence_action action, uint64_t until_ns);
void rig_behaved(const uint8_t source[16], uint64_t until_ns);
void rig_penalty(const uint8_t source[16], uint64_t until_ns);
/* address NULL: any. */
void rig_listener(const char *address, uint16_t port);
void rig_interface(uint32_t index, bool judged);
/* A socket's class; with FENCE_CLASSES: none. */
void rig_mark(int fd, enum fence_class class);

/* The programs' clock. */
uint64_t rig_now_ns(void);
void rig_counts(struct rig_counts *out);
/* The one count of `class` that grew since `before`; FENCE_REASONS: none did; -1: several. Signals
 * are not looked at. */
int rig_reason_since(const struct rig_counts *before, enum fence_class class);
uint64_t rig_packets_since(
	const struct rig_counts *before, enum fence_class class, enum fence_reason reason);
uint64_t rig_bytes_since(
	const struct rig_counts *before, enum fence_class class, enum fence_reason reason);
bool rig_source(const uint8_t source[16], struct fence_source *out);
void rig_source_put(const uint8_t source[16], const struct fence_source *state);
/* GCRA's word for its SYNs; 0: none were taken. */
uint64_t rig_syns(const uint8_t source[16]);
/* Is it allowed by the lists? */
bool rig_allowed(const uint8_t address[16]);
void rig_totals(struct fence_totals *out);
void rig_totals_put(const struct fence_totals *totals);
struct fence_board *rig_board(void);
void rig_board_unmap(struct fence_board *board);
/* Samples that wait, at most n of them. */
size_t rig_samples(struct fence_sample *out, size_t n);

#endif
