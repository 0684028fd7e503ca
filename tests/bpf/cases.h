/* SPDX-License-Identifier: MIT */
/*
 * cases: one table of what the fence is asked and has to answer, for every place that answers: the
 * program at the cgroup (sockets.c), the one at an interface (frames.c) and the gateway's own
 * limiter (limiter.c).
 *
 * Budgets refill so slowly (CASE_UNIT_NS a unit) that no test depends on how fast it runs.
 */
#ifndef POSTERN_TESTS_BPF_CASES_H
#define POSTERN_TESTS_BPF_CASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/rules.h"

#define CASE_UNIT_NS      (100 * FENCE_NS)
#define CASE_NETS_MAX     4
#define CASE_CONDUCTS_MAX 2
#define CASE_STEPS_MAX    20
#define CASE_CLIENTS_MAX  8

/* A budget of n units that hardly refills. */
#define CASE_BUDGET(n)                                                                             \
	{                                                                                          \
		CASE_UNIT_NS << FENCE_RATE_SHIFT, (n)*CASE_UNIT_NS                                 \
	}

enum case_kind {
	CASE_END,
	CASE_CONNECT, /* client, from address */
	CASE_SEND,    /* client, octets in one segment */
	CASE_CLOSE,   /* client */
	CASE_SHAKE,   /* client begins a handshake: judged by the limiter only */
	CASE_SHAKEN,  /* it is complete */
	CASE_BROKEN,  /* it was given up */
};

struct case_step {
	enum case_kind kind;
	unsigned client;
	const char *address; /* CONNECT */
	uint32_t bytes;      /* SEND */
	enum fence_reason want;
};

struct case_net {
	const char *address;
	unsigned bits; /* as written: of 32 or of 128 */
	enum fence_action action;
	bool expired;
};

struct case_conduct {
	const char *address;
	bool expired;
};

struct fence_case {
	const char *name;
	struct fence_rules rules; /* budgets; prefixes 0: 32 and 64. See case_rules() */
	struct case_net nets[CASE_NETS_MAX];
	struct case_conduct behaved[CASE_CONDUCTS_MAX];
	struct case_conduct penalties[CASE_CONDUCTS_MAX];
	struct case_step steps[CASE_STEPS_MAX];
};

extern const struct fence_case fence_cases[];
extern const size_t fence_cases_n;

/* What is left of one source after a case: whatever place it went to, this has to be the same. */
struct case_sum {
	uint64_t taken[FENCE_METERS]; /* units ahead of the rate */
	uint32_t open;
	uint64_t passed, refused, paused, plain_bytes, upgraded_bytes;
};

/* One place that answers. */
struct case_place {
	const char *name;
	bool shakes; /* SHAKE is answered */
	void (*begin)(const struct fence_case *test, const struct fence_rules *rules);
	/* For what it does not answer: step->want. */
	enum fence_reason (*step)(const struct case_step *step);
	/* Of the first step's source; then everything of the case goes away. */
	void (*end)(const uint8_t source[16], struct case_sum *sum);
};

struct case_result {
	enum fence_reason got[CASE_STEPS_MAX];
	struct case_sum sum;
};

/* The rules of a case, whole. */
struct fence_rules case_rules(const struct fence_case *test);
/* "192.0.2.1" or "2001:db8::1" as 16 octets. */
void case_address(const char *text, uint8_t out[16]);
void case_sum_of(const struct fence_source *source, uint64_t now, struct case_sum *out);
/* Is it a case for this place at all: one without handshakes, or one that judges them? */
bool case_fits(const struct fence_case *test, const struct case_place *place);
void case_run(
	const struct fence_case *test, const struct case_place *place, struct case_result *result);
/* Runs all cases that fit, a TAP result each. */
void case_run_all(const struct case_place *place);

#endif
