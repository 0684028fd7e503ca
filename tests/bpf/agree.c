/* SPDX-License-Identifier: MIT */
/*
 * agree: the gateway's limiter and the programs in the kernel, side by side over the table of cases:
 * the same answer to each step, and the same left of the source afterwards.
 *
 * Without bpf(2) the limiter alone is tested, and the program ends as skipped.
 */
#include <string.h>

#include "tests/bpf/frames.h"
#include "tests/bpf/ground.h"
#include "tests/bpf/limiter.h"
#include "tests/bpf/rig.h"
#include "tests/bpf/sockets.h"

static void compare_steps(const struct fence_case *test, const struct case_place *place,
	const struct case_result *a, const struct case_result *b)
{
	bool same = true;

	for (size_t i = 0; i < CASE_STEPS_MAX; i++)
		same &= a->got[i] == b->got[i];
	kt_ok(same, "limiter and %s answer alike: %s", place->name, test->name);
	for (size_t i = 0; i < CASE_STEPS_MAX && !same; i++)
		if (a->got[i] != b->got[i])
			kt_diag("step %zu: limiter %d, %s %d", i, a->got[i], place->name,
				b->got[i]);
}

static void compare_sums(
	const struct fence_case *test, const struct case_sum *a, const struct case_sum *b)
{
	bool same = a->open == b->open && a->passed == b->passed && a->refused == b->refused &&
		    a->paused == b->paused && a->plain_bytes == b->plain_bytes &&
		    a->upgraded_bytes == b->upgraded_bytes &&
		    memcmp(a->taken, b->taken, sizeof(a->taken)) == 0;

	kt_ok(same, "limiter and cgroup keep the same books: %s", test->name);
	if (same)
		return;
	for (const struct case_sum *sum = a; sum; sum = sum == a ? b : NULL)
		kt_diag("%s: taken %llu %llu %llu %llu, open %u, passed %llu, refused %llu, "
			"paused %llu, plain %llu, upgraded %llu",
			sum == a ? "limiter" : "cgroup",
			(unsigned long long)sum->taken[FENCE_CONNECTIONS],
			(unsigned long long)sum->taken[FENCE_PLAIN_BYTES],
			(unsigned long long)sum->taken[FENCE_PLAIN_PACKETS],
			(unsigned long long)sum->taken[FENCE_UPGRADED_BYTES], sum->open,
			(unsigned long long)sum->passed, (unsigned long long)sum->refused,
			(unsigned long long)sum->paused, (unsigned long long)sum->plain_bytes,
			(unsigned long long)sum->upgraded_bytes);
}

/* Handshakes are judged by the gateway wherever the programs run: it alone knows that one begins. */
static void compare_all(void)
{
	for (size_t i = 0; i < fence_cases_n; i++) {
		const struct fence_case *test = &fence_cases[i];
		struct case_result limiter, cgroup, xdp;

		if (!case_fits(test, &place_cgroup))
			continue;
		case_run(test, &place_limiter, &limiter);
		case_run(test, &place_cgroup, &cgroup);
		case_run(test, &place_xdp, &xdp);
		compare_steps(test, &place_cgroup, &limiter, &cgroup);
		compare_steps(test, &place_xdp, &limiter, &xdp);
		compare_sums(test, &limiter.sum, &cgroup.sum);
	}
}

/* A table that leaves a verdict out would not be noticed otherwise. */
static void test_table(void)
{
	bool wanted[FENCE_REASONS] = {false};

	for (size_t i = 0; i < fence_cases_n; i++)
		for (size_t j = 0; j < CASE_STEPS_MAX; j++)
			wanted[fence_cases[i].steps[j].want] = true;
	for (int i = 0; i < FENCE_SAW_CLIENT_HELLO; i++)
		kt_ok(wanted[i], "the table has a case with reason %d", i);
}

static int test(void)
{
	rig_open();
	sockets_open();
	compare_all();
	sockets_close();
	rig_close();
	return kt_done();
}

int main(void)
{
	test_table();
	case_run_all(&place_limiter);
	return ground_run(test);
}
