/* SPDX-License-Identifier: MIT */
/*
 * kernel_maps.c -- the maps by descriptor, in the real kernel; also from a process that has no
 * capability, is nobody, and may call nothing but what the gateway's sandbox allows.
 */
#include "tests/unit/fence/kernel_box.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/counter.h"

static struct fence_kernel *kernel;
static struct fence_rules rules;
static int listener;

static void open_one(void)
{
	struct fence_settings settings = box_settings();
	struct err err = {""};

	box_open();
	settings.sources_max = 8192;
	listener = box_listen(AF_INET);
	cr_assert(box_kernel_open(&kernel, &settings, &rules, listener, &err) == 0, "%s", err.text);
}

static void close_one(void)
{
	if (kernel != NULL)
		fence_kernel_close(kernel, true);
	box_close();
}

TestSuite(fence_kernel_maps, .init = open_one, .fini = close_one, .timeout = BOX_LIMIT_S);

static void source_n(uint8_t source[NETWORK_BYTES], uint32_t n)
{
	memset(source, 0, NETWORK_BYTES);
	source[0] = 0x20;
	memcpy(source + 4, &n, sizeof(n));
}

static void source_put(uint32_t n, const struct fence_source *state)
{
	uint8_t source[NETWORK_BYTES];

	source_n(source, n);
	cr_assert(
		bpf_map_update_elem(kernel->maps[KERNEL_MAP_SOURCES], source, state, BPF_ANY) == 0);
}

Test(fence_kernel_maps, rules_as_they_were_given)
{
	struct fence_rules got;
	uint32_t zero = 0;
	int fd = kernel->maps[KERNEL_MAP_RULES];

	cr_assert(bpf_map_lookup_elem(fd, &zero, &got) == 0);
	cr_expect_arr_eq(&got, &rules, sizeof(got), "since the opening");
	rules.source_max[0][0] = 77;
	fence_kernel_rules(kernel, &rules);
	cr_assert(bpf_map_lookup_elem(fd, &zero, &got) == 0);
	cr_expect_arr_eq(&got, &rules, sizeof(got));
}

Test(fence_kernel_maps, behaved_and_penalties)
{
	struct fence_source state;
	uint8_t source[NETWORK_BYTES];
	uint64_t behaved, penalty;
	struct fence_status status = {0};

	source_n(source, 1);
	cr_expect(!fence_kernel_source(kernel, source, &state, &behaved, &penalty));
	cr_expect(behaved == 0 && penalty == 0 && state.seen_ns == 0);
	fence_kernel_behaved(kernel, source, UINT64_MAX);
	fence_kernel_penalty(kernel, source, UINT64_MAX - 1);
	cr_expect(!fence_kernel_source(kernel, source, &state, &behaved, &penalty));
	cr_expect(behaved == UINT64_MAX && penalty == UINT64_MAX - 1);
	source_n(source, 2);
	fence_kernel_penalty(kernel, source, 1); /* over since the boot */
	fence_kernel_sizes(kernel, &status);
	cr_expect(status.behaved == 1 && status.penalties == 1);
	source_n(source, 1);
	fence_kernel_behaved(kernel, source, 0);
	fence_kernel_behaved(kernel, source, 0); /* once more does no harm */
	fence_kernel_penalty(kernel, source, 0);
	(void)!fence_kernel_source(kernel, source, &state, &behaved, &penalty);
	cr_expect(behaved == 0 && penalty == 0);
	cr_expect(counter_sum(COUNTER_FENCE_KERNEL_ERRORS) == 0);
}

/* What a large table's size costs is bounded, and said to be a part. */
Test(fence_kernel_maps, sizes_are_counted_up_to_a_limit)
{
	struct fence_status status = {0};
	uint8_t source[NETWORK_BYTES];

	for (uint32_t i = 0; i < FENCE_SIZES_MAX / 2; i++) {
		source_n(source, i);
		fence_kernel_behaved(kernel, source, UINT64_MAX);
	}
	fence_kernel_sizes(kernel, &status);
	cr_expect(status.behaved == FENCE_SIZES_MAX / 2 && !status.behaved_partial);
	for (uint32_t i = 0; i < FENCE_SIZES_MAX + 8192; i++) {
		source_n(source, i);
		fence_kernel_behaved(kernel, source, UINT64_MAX);
	}
	fence_kernel_sizes(kernel, &status);
	cr_expect(status.behaved_partial && status.behaved >= FENCE_SIZES_MAX &&
			  status.behaved <= FENCE_SIZES_MAX + 1024,
		"%llu", (unsigned long long)status.behaved);
	cr_expect(!status.penalties_partial && !status.sources_partial);
}

Test(fence_kernel_maps, a_source_is_forgotten_in_every_table)
{
	struct fence_source state = {.passed = 7};
	uint8_t source[NETWORK_BYTES], other[NETWORK_BYTES];
	uint64_t behaved, penalty;

	source_n(source, 1);
	source_n(other, 2);
	fence_kernel_behaved(kernel, source, UINT64_MAX);
	fence_kernel_penalty(kernel, source, UINT64_MAX);
	fence_kernel_penalty(kernel, other, UINT64_MAX);
	cr_assert(bpf_map_update_elem(kernel->maps[KERNEL_MAP_SOURCES], source, &state, BPF_ANY) ==
		  0);
	fence_kernel_forget(kernel, source);
	cr_expect(!fence_kernel_source(kernel, source, &state, &behaved, &penalty));
	cr_expect(behaved == 0 && penalty == 0);
	fence_kernel_forget(kernel, source); /* once more does no harm */
	(void)!fence_kernel_source(kernel, other, &state, &behaved, &penalty);
	cr_expect(penalty == UINT64_MAX, "another's");
	cr_expect(counter_sum(COUNTER_FENCE_KERNEL_ERRORS) == 0);
}

static uint8_t action_at(const char *address)
{
	struct network network = box_network(address);
	struct fence_net_key key = {.bits = 128};
	struct fence_net net = {0};

	memcpy(key.address, network.address, sizeof(key.address));
	if (bpf_map_lookup_elem(kernel->maps[KERNEL_MAP_NETS], &key, &net) != 0)
		return 0;
	return net.action;
}

Test(fence_kernel_maps, nets_by_the_longest_prefix)
{
	struct fence_net allow = {.action = FENCE_ACTION_ALLOW, .origin = FENCE_ORIGIN_CONFIG};
	struct fence_net block = {.action = FENCE_ACTION_BLOCK, .origin = FENCE_ORIGIN_OPERATOR};
	struct fence_net none = {0};
	struct network wide = box_network("192.0.2.0/24");
	struct network narrow = box_network("192.0.2.128/25");
	struct network v6 = box_network("2001:db8::/32");

	fence_kernel_net(kernel, &wide, &block);
	fence_kernel_net(kernel, &narrow, &allow);
	fence_kernel_net(kernel, &v6, &block);
	cr_expect(action_at("192.0.2.1") == FENCE_ACTION_BLOCK);
	cr_expect(action_at("192.0.2.200") == FENCE_ACTION_ALLOW);
	cr_expect(action_at("2001:db8:1::1") == FENCE_ACTION_BLOCK);
	cr_expect(action_at("2001:db9::1") == 0);
	fence_kernel_net(kernel, &narrow, &none);
	fence_kernel_net(kernel, &narrow, &none);
	cr_expect(action_at("192.0.2.200") == FENCE_ACTION_BLOCK);
	cr_expect(counter_sum(COUNTER_FENCE_KERNEL_ERRORS) == 0);
}

static void net_seen(void *ctx, const struct network *network, const struct fence_net *net)
{
	char text[NETWORK_TEXT_MAX];

	cr_expect(net->action == FENCE_ACTION_BLOCK);
	cr_expect_str_eq(network_text(network, text), "0.0.0.0/0");
	/* What is visited may be taken away. */
	fence_kernel_net(kernel, network, &(struct fence_net){0});
	(*(unsigned *)ctx)++;
}

Test(fence_kernel_maps, visits_only_what_operators_put_and_what_lasts)
{
	struct fence_net net = {.action = FENCE_ACTION_BLOCK, .origin = FENCE_ORIGIN_OPERATOR};
	struct network network = box_network("0.0.0.0/0");
	unsigned n = 0;

	fence_kernel_nets_each(kernel, net_seen, &n);
	cr_expect(n == 0);
	fence_kernel_net(kernel, &network, &net);
	network = box_network("192.0.2.0/24");
	net.until_ns = 1;
	fence_kernel_net(kernel, &network, &net);
	network = box_network("::/0");
	net.until_ns = 0;
	net.origin = FENCE_ORIGIN_CONFIG;
	fence_kernel_net(kernel, &network, &net);
	fence_kernel_nets_each(kernel, net_seen, &n);
	cr_expect(n == 1);
	fence_kernel_nets_each(kernel, net_seen, &n);
	cr_expect(n == 1);
}

/* ---- sources ---- */

#define SOURCES 3000 /* several batches */

static void source_seen(
	void *ctx, const uint8_t source[NETWORK_BYTES], const struct fence_source *state)
{
	uint8_t *seen = ctx;
	uint32_t n;

	memcpy(&n, source + 4, sizeof(n));
	cr_assert(n < SOURCES && state->passed == n + 1);
	seen[n]++;
}

Test(fence_kernel_maps, every_source_once)
{
	static uint8_t seen[SOURCES];
	struct fence_status status = {0};
	uint8_t source[NETWORK_BYTES];
	struct fence_source state;
	uint64_t behaved, penalty;
	uint32_t from = 0;

	cr_expect(fence_kernel_sources_some(kernel, &from, 1, source_seen, seen));
	for (uint32_t i = 0; i < SOURCES; i++)
		source_put(i, &(struct fence_source){.passed = i + 1});
	cr_expect(fence_kernel_sources_some(kernel, &from, UINT64_MAX, source_seen, seen));
	for (uint32_t i = 0; i < SOURCES; i++)
		cr_expect(seen[i] == 1, "%u", i);
	fence_kernel_sizes(kernel, &status);
	cr_expect(status.sources_kernel == SOURCES);
	source_n(source, 17);
	cr_expect(fence_kernel_source(kernel, source, &state, &behaved, &penalty));
	cr_expect(state.passed == 18);
}

Test(fence_kernel_maps, gauges_are_reset_and_nothing_else)
{
	struct fence_source state;
	uint8_t source[NETWORK_BYTES];
	uint64_t behaved, penalty;

	for (uint32_t i = 0; i < SOURCES; i++)
		source_put(i, &(struct fence_source){.gauge = {1, 2}, .tat = {9}, .refused = 4});
	kernel_maps_gauges_reset(kernel);
	for (uint32_t i = 0; i < SOURCES; i++) {
		source_n(source, i);
		cr_assert(fence_kernel_source(kernel, source, &state, &behaved, &penalty));
		cr_assert(state.gauge[0] == 0 && state.gauge[1] == 0 && state.tat[0] == 9 &&
			  state.refused == 4);
	}
}

/* ---- mapped memory, counts, samples ---- */

Test(fence_kernel_maps, totals_and_board_without_a_call)
{
	static struct fence_board board;
	struct fence_totals totals = {.gauge = {{1, 2}, {3, 4}}};
	uint32_t zero = 0;

	board.source[FENCE_LANE_UPGRADED][FENCE_BOARD_PLACES - 1] = 0x1234;
	cr_assert(
		bpf_map_update_elem(kernel->maps[KERNEL_MAP_TOTALS], &zero, &totals, BPF_ANY) == 0);
	cr_assert(bpf_map_update_elem(kernel->maps[KERNEL_MAP_BOARD], &zero, &board, BPF_ANY) == 0);
	cr_expect_arr_eq(fence_kernel_totals(kernel), &totals, sizeof(totals));
	cr_expect_arr_eq(fence_kernel_board(kernel), &board, sizeof(board));
}

Test(fence_kernel_maps, counts_of_all_cpus)
{
	struct fence_count out[FENCE_CLASSES][FENCE_REASONS];
	struct fence_count per_cpu[1024] = {{0}};
	uint32_t key = FENCE_PLAIN * FENCE_REASONS + FENCE_OVER_PLAIN_BYTES;

	cr_assert(kernel->cpus <= COUNT_OF(per_cpu));
	for (unsigned i = 0; i < kernel->cpus; i++)
		per_cpu[i] = (struct fence_count){.packets = i + 1, .bytes = 10 * (i + 1)};
	cr_assert(
		bpf_map_update_elem(kernel->maps[KERNEL_MAP_COUNTS], &key, per_cpu, BPF_ANY) == 0);
	fence_kernel_counts(kernel, out);
	cr_expect(out[FENCE_PLAIN][FENCE_OVER_PLAIN_BYTES].packets ==
		  kernel->cpus * (kernel->cpus + 1) / 2);
	cr_expect(out[FENCE_PLAIN][FENCE_OVER_PLAIN_BYTES].bytes ==
		  kernel->cpus * (kernel->cpus + 1) * 5);
	cr_expect(out[FENCE_UPGRADED][FENCE_BLOCKED].packets == 0);
}

static bool readable(void)
{
	struct pollfd fd = {.fd = fence_kernel_samples_fd(kernel), .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

/* Real ones: connections of a blocked network, each of which sends a SYN and perhaps more. */
Test(fence_kernel_maps, samples_by_the_piece)
{
	struct fence_net block = {.action = FENCE_ACTION_BLOCK, .origin = FENCE_ORIGIN_CONFIG};
	struct network network = box_network("127.0.0.0/8");
	struct fence_sample samples[64];
	size_t n = 0;
	size_t got;

	rules.sample = 1;
	fence_kernel_rules(kernel, &rules);
	cr_expect(box_try(listener) == 0 && !readable());
	fence_kernel_net(kernel, &network, &block);
	for (int i = 0; i < 3; i++)
		cr_expect(box_try(listener) == -ETIMEDOUT);
	cr_expect(fence_kernel_samples(kernel, samples, 0) == 0);
	while (readable() && n < COUNT_OF(samples)) {
		got = fence_kernel_samples(kernel, samples + n, n == 0 ? 1 : 2);
		cr_assert(got >= 1 && got <= 2);
		n += got;
	}
	cr_expect(n >= 3, "%zu", n);
	cr_expect(fence_kernel_samples(kernel, samples, 1) == 0);
	for (size_t i = 0; i < n; i++) {
		cr_expect(samples[i].reason == FENCE_BLOCKED && samples[i].class == FENCE_NEW);
		cr_expect(samples[i].hook == FENCE_HOOK_CGROUP &&
			  samples[i].port == box_port(listener));
		cr_expect(samples[i].address[12] == 127 && samples[i].address[15] == 1);
	}
}

/* ---- without privilege ---- */

/* No more than the gateway's sandbox has for its control thread; a sanitizer has calls of its own. */
static int filter(void)
{
#if defined(__SANITIZE_ADDRESS__)
	return 0;
#else
	static const int calls[] = {SCMP_SYS(brk), SCMP_SYS(clock_gettime), SCMP_SYS(close),
		SCMP_SYS(exit_group), SCMP_SYS(futex), SCMP_SYS(mmap), SCMP_SYS(munmap),
		SCMP_SYS(poll), SCMP_SYS(write)};
	static const uint64_t commands[] = {BPF_MAP_UPDATE_ELEM, BPF_MAP_DELETE_ELEM,
		BPF_MAP_LOOKUP_ELEM, BPF_MAP_GET_NEXT_KEY, BPF_MAP_LOOKUP_BATCH};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int res = 0;

	for (size_t i = 0; i < COUNT_OF(calls) && res == 0; i++)
		res = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, calls[i], 0);
	for (size_t i = 0; i < COUNT_OF(commands) && res == 0; i++)
		res = seccomp_rule_add(
			ctx, SCMP_ACT_ALLOW, SCMP_SYS(bpf), 1, SCMP_A0(SCMP_CMP_EQ, commands[i]));
	return res == 0 ? seccomp_load(ctx) : res;
#endif
}

static void count_one(
	void *ctx, const uint8_t source[NETWORK_BYTES], const struct fence_source *state)
{
	(void)source;
	(void)state;
	(*(unsigned *)ctx)++;
}

static void count_net(void *ctx, const struct network *network, const struct fence_net *net)
{
	(void)network;
	(void)net;
	(*(unsigned *)ctx)++;
}

/* Each number tells which step failed. */
static int everything(void *ctx)
{
	const struct box_pair *pair = ctx;
	struct fence_net block = {.action = FENCE_ACTION_BLOCK, .origin = FENCE_ORIGIN_OPERATOR};
	struct network network = box_network("192.0.2.0/24");
	struct fence_count counts[FENCE_CLASSES][FENCE_REASONS];
	struct fence_status status = {0};
	struct fence_sample sample;
	struct fence_source state;
	uint8_t source[NETWORK_BYTES];
	uint64_t behaved = 0, penalty = 0;
	unsigned sources = 0, nets = 0;
	uint32_t from = 0;

	source_n(source, 5);
	if (box_become_nobody(0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return 1;
	fence_kernel_child(kernel);
	if (filter() != 0)
		return 2;
	if (fence_kernel_mark(kernel, pair->server, FENCE_UPGRADED) != 0)
		return 3;
	fence_kernel_behaved(kernel, source, UINT64_MAX);
	fence_kernel_penalty(kernel, source, UINT64_MAX);
	fence_kernel_net(kernel, &network, &block);
	if (!fence_kernel_source(kernel, source, &state, &behaved, &penalty))
		return 4;
	if (behaved != UINT64_MAX || penalty != UINT64_MAX)
		return 5;
	fence_kernel_penalty(kernel, source, 0);
	fence_kernel_rules(kernel, &rules);
	fence_kernel_sources_some(kernel, &from, UINT64_MAX, count_one, &sources);
	if (sources == 0)
		return 6;
	fence_kernel_nets_each(kernel, count_net, &nets);
	if (nets != 1)
		return 7;
	fence_kernel_sizes(kernel, &status);
	if (status.sources_kernel != sources || status.behaved != 1 || status.penalties != 0)
		return 8;
	fence_kernel_counts(kernel, counts);
	(void)!fence_kernel_samples(kernel, &sample, 1);
	(void)readable();
	return counter_sum(COUNTER_FENCE_KERNEL_ERRORS) == 0 ? 0 : 9;
}

Test(fence_kernel_maps, nobody_can_work_with_descriptors)
{
	struct box_pair pair = box_connect(listener);
	struct fence_mark mark = {0};

	source_put(5, &(struct fence_source){.passed = 1});
	cr_expect_eq(box_child(everything, &pair), 0);
	cr_assert(bpf_map_lookup_elem(kernel->maps[KERNEL_MAP_CLASSES], &pair.server, &mark) == 0);
	cr_expect(mark.class == FENCE_UPGRADED);
}

static int load_as_nobody(void *ctx)
{
	struct err err;

	(void)ctx;
	return box_become_nobody(0) == 0 &&
	       box_kernel_open(&kernel, &(struct fence_settings){.prefix_v4 = 32, .prefix_v6 = 64},
		       &rules, -1, &err) != 0;
}

Test(fence_kernel_maps, but_nobody_cannot_load)
{
	cr_expect_eq(box_child(load_as_nobody, NULL), 1);
}

Test(fence_kernel_maps, what_the_kernel_does_not_take_is_counted)
{
	int fd = kernel->maps[KERNEL_MAP_BEHAVED];

	kernel->maps[KERNEL_MAP_BEHAVED] = -1;
	fence_kernel_behaved(kernel, (const uint8_t[NETWORK_BYTES]){1}, 1);
	kernel->maps[KERNEL_MAP_BEHAVED] = fd;
	cr_expect(counter_sum(COUNTER_FENCE_KERNEL_ERRORS) == 1);
}
