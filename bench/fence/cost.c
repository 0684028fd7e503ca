/* SPDX-License-Identifier: MIT */
/*
 * cost [REPEAT]: ns a packet of each of the fence's programs, as JSON on stdout. As root.
 *
 * Two ways of measuring, told apart by `how`:
 *	test_run	BPF_PROG_TEST_RUN, the same frame REPEAT times (default 1000000): everything is
 *			in the cache, nothing of the network is in the figure
 *	run_time	the kernel's own clock around each run (BPF_ENABLE_STATS) while real packets come
 *			over loopback: caches as they are, and the clock's own cost in each figure. The row
 *			"not ours" shows what that is, nearly
 *
 * The programs at a cgroup need a socket with storage, which a test run has not; so all that
 * concerns sessions is measured the second way. Clients' sockets are outside of the cgroup, so only
 * what reaches the server is counted. Octets are charged in pieces: a segment's figure has its part of
 * that in it.
 *
 * Exit codes: 0, 77 where bpf(2) or a cgroup is not to be had, 2.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bpf/frames.h"
#include "tests/bpf/ground.h"
#include "tests/bpf/rig.h"
#include "tests/bpf/sockets.h"

#define REPEAT_DEFAULT 1000000
#define REPEAT_MAX     100000000
#define SEGMENTS       20000
#define SEGMENT_BYTES  1000
#define CONNECTIONS    500
#define NEW_SOURCES    20000
#define STRANGER4      "198.51.100.1"
#define STRANGER6      "2001:db8:2::1"
#define UNKNOWN4       "198.51.100.2"
#define BLOCKED4       "192.0.2.1"
#define PENALIZED4     "198.51.100.9"
#define ROOMY          1000000000ull /* units a second: limited, and never over it */

static uint32_t repeat = REPEAT_DEFAULT;
static bool first_row = true;

static void row(const char *program, const char *packet, const char *how, uint64_t runs, double ns)
{
	printf("%s\n    {\"program\": \"%s\", \"packet\": \"%s\", \"how\": \"%s\", "
	       "\"runs\": %llu, \"ns\": %.1f}",
		first_row ? "" : ",", program, packet, how, (unsigned long long)runs, ns);
	first_row = false;
}

/* All budgets are there, as in a real configuration, and hold everything. */
static struct fence_rules roomy(void)
{
	struct fence_rules rules = {.abi = FENCE_ABI, .bits_v4 = 32, .bits_v6 = 64};

	for (int i = 0; i < FENCE_METERS; i++)
		for (int j = 0; j < FENCE_STANDINGS; j++) {
			rules.source[i][j].interval = (FENCE_NS << FENCE_RATE_SHIFT) / ROOMY;
			rules.source[i][j].burst = 3600 * FENCE_NS;
			rules.all[i][j] = rules.source[i][j];
		}
	for (int i = 0; i < FENCE_GAUGES; i++)
		for (int j = 0; j < FENCE_STANDINGS; j++)
			rules.source_max[i][j] = rules.all_max[i][j] = 1000000;
	return rules;
}

/* STRANGER4 was here before: what it has used up is looked at. */
static void prepare(const struct fence_rules *rules)
{
	const struct fence_source known = {0};
	uint8_t address[16];

	rig_reset(rules);
	rig_listener("127.0.0.1", FRAME_PORT);
	rig_listener("::1", FRAME_PORT);
	rig_net("192.0.2.0", 24, FENCE_ACTION_BLOCK, 0);
	rig_net("203.0.113.0", 24, FENCE_ACTION_ALLOW, 0);
	case_address(PENALIZED4, address);
	rig_penalty(address, rig_now_ns() + 3600 * FENCE_NS);
	case_address(STRANGER4, address);
	rig_source_put(address, &known);
}

/* ---- by test runs ---- */

static void test_run(const struct bpf_program *program, const char *packet,
	const struct frame_spec *spec, bool ethernet)
{
	struct frame frame;

	frame_make(&frame, spec);
	size_t skip = ethernet ? 0 : frame.ip;
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame.data + skip,
		.data_size_in = (uint32_t)(frame.n - skip), .repeat = (int)repeat);

	KT_MUST(bpf_prog_test_run_opts(bpf_program__fd(program), &run) == 0);
	row(bpf_program__name(program), packet, "test_run", repeat, run.duration);
}

static void xdp(const char *packet, const struct frame_spec *spec)
{
	test_run(rig.skel->progs.fence_xdp, packet, spec, true);
}

static void measure_xdp(void)
{
	struct fence_rules rules = roomy(), tight = roomy(), tight_all = roomy();
	const struct fence_rate none = {1ull << 50, 0};

	tight.source[FENCE_CONNECTIONS][FENCE_STRANGER] = none;
	tight_all.all[FENCE_CONNECTIONS][FENCE_STRANGER] = none;
	prepare(&rules);
	xdp("SYN passed", &(struct frame_spec){.from = STRANGER4, .flags = FRAME_SYN});
	xdp("SYN passed, IPv6", &(struct frame_spec){.from = STRANGER6, .flags = FRAME_SYN});
	xdp("SYN passed, two VLAN tags",
		&(struct frame_spec){.from = STRANGER4, .flags = FRAME_SYN, .tags = 2});
	xdp("SYN of an allowed network",
		&(struct frame_spec){.from = "203.0.113.1", .flags = FRAME_SYN});
	xdp("SYN blocked", &(struct frame_spec){.from = BLOCKED4, .flags = FRAME_SYN});
	xdp("SYN under a penalty", &(struct frame_spec){.from = PENALIZED4, .flags = FRAME_SYN});
	xdp("ACK", &(struct frame_spec){.from = STRANGER4, .flags = FRAME_ACK});
	xdp("data", &(struct frame_spec){.from = STRANGER4, .flags = FRAME_ACK, .payload = 1000});
	xdp("SYN of another port",
		&(struct frame_spec){.from = STRANGER4, .flags = FRAME_SYN, .port = 25});
	xdp("UDP", &(struct frame_spec){.from = STRANGER4, .protocol = IPPROTO_UDP});
	rig_rules(&tight);
	xdp("SYN refused by its source's budget",
		&(struct frame_spec){.from = STRANGER4, .flags = FRAME_SYN});
	xdp("SYN refused by the limit of SYNs",
		&(struct frame_spec){.from = UNKNOWN4, .flags = FRAME_SYN});
	rig_rules(&tight_all);
	xdp("SYN refused by the budget behind it",
		&(struct frame_spec){.from = STRANGER4, .flags = FRAME_SYN});
	test_run(rig.skel->progs.fence_ingress, "not ours",
		&(struct frame_spec){.from = STRANGER4, .flags = FRAME_ACK, .payload = 1000},
		false);
}

/* ---- by the kernel's clock ---- */

struct time_of {
	const struct bpf_program *program;
	uint64_t runs, ns;
};

static struct time_of time_now(const struct bpf_program *program)
{
	struct bpf_prog_info info = {0};
	uint32_t n = sizeof(info);

	KT_MUST(bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &n) == 0);
	return (struct time_of){program, info.run_cnt, info.run_time_ns};
}

/* per: 0: a run. Otherwise the time of all runs is divided by so many events. */
static void row_since(const struct time_of *before, const char *what, uint64_t per)
{
	struct time_of now = time_now(before->program);
	uint64_t runs = now.runs - before->runs, by = per ? per : runs;

	row(bpf_program__name(before->program), what, "run_time", runs,
		by ? (double)(now.ns - before->ns) / (double)by : 0);
}

static void new_sources(const struct fence_rules *rules, bool pass, const char *what)
{
	const struct fence_totals used_up = {.syns = {UINT64_MAX / 2}};
	struct time_of before;
	struct frame frame;

	prepare(rules);
	if (!pass)
		rig_totals_put(&used_up);
	frame_make(&frame, &(struct frame_spec){.from = STRANGER6, .flags = FRAME_SYN});
	before = time_now(rig.skel->progs.fence_xdp);
	for (uint32_t i = 0; i < NEW_SOURCES; i++) {
		memcpy(frame.data + frame.ip + 8 + 4, &i, sizeof(i));
		KT_MUST(frame_passes(&frame) == pass);
	}
	row_since(&before, what, 0);
}

static void measure_new_sources(void)
{
	struct fence_rules rules = roomy();
	const struct fence_rate slow = {1ull << 50, 1ull << 40};

	new_sources(&rules, true, "SYN passed, each of a new source");
	rules.all[FENCE_CONNECTIONS][FENCE_STRANGER] = slow;
	new_sources(&rules, false, "SYN refused, each of a new source");
}

/* Changing the cgroup takes the kernel long: so sockets are made many at a time. */
static void make_clients(const char *from, int *clients, int n)
{
	ground_move(false);
	for (int i = 0; i < n; i++)
		clients[i] = sockets_client(from);
	ground_move(true);
}

static struct pair connect_from_outside(const char *from)
{
	int client;

	make_clients(from, &client, 1);
	return sockets_connect(client, NULL);
}

static void drain(int fd, size_t n)
{
	char sink[65536];

	while (n > 0) {
		ssize_t got = recv(fd, sink, n < sizeof(sink) ? n : sizeof(sink), 0);

		if (got > 0)
			n -= (size_t)got;
		else
			KT_MUST(got < 0 && errno == EAGAIN &&
				poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 5000) == 1);
	}
}

/* One segment at a time goes from one end to the other. */
static void measure_segments(
	const char *what, const char *from, enum fence_class class, bool from_server)
{
	const struct bpf_program *program = rig.skel->progs.fence_ingress;
	struct fence_rules rules = roomy();
	static char octets[SEGMENT_BYTES];
	struct time_of before;
	struct pair pair;

	prepare(&rules);
	rig_mark(sockets_listener(), FENCE_PLAIN);
	pair = connect_from_outside(from);
	rig_mark(pair.server, class);
	memset(octets, 0x17, sizeof(octets));
	before = time_now(program);
	for (int i = 0; i < SEGMENTS; i++) {
		int to = from_server ? pair.client : pair.server;
		int by = from_server ? pair.server : pair.client;

		KT_MUST(send(by, octets, sizeof(octets), MSG_NOSIGNAL) == sizeof(octets));
		drain(to, sizeof(octets));
	}
	row_since(&before, what, 0);
	sockets_shut(&pair);
}

static void measure_connections(void)
{
	struct time_of ingress = time_now(rig.skel->progs.fence_ingress);
	struct time_of sockops = time_now(rig.skel->progs.fence_sockops);
	struct fence_rules rules = roomy();
	int clients[CONNECTIONS];

	prepare(&rules);
	make_clients(STRANGER4, clients, CONNECTIONS);
	for (int i = 0; i < CONNECTIONS; i++) {
		struct pair pair = sockets_connect(clients[i], NULL);

		sockets_shut(&pair);
	}
	row_since(&ingress, "a connection: SYN, ACK and RST", CONNECTIONS);
	row_since(&sockops, "a connection: established and closed", CONNECTIONS);
}

static void measure_refused(const char *what, const char *from, const struct fence_rules *rules)
{
	struct time_of before;
	enum fence_reason reason;
	int clients[CONNECTIONS];

	prepare(rules);
	make_clients(from, clients, CONNECTIONS);
	before = time_now(rig.skel->progs.fence_ingress);
	for (int i = 0; i < CONNECTIONS; i++) {
		sockets_connect(clients[i], &reason);
		KT_MUST(reason != FENCE_PASS && reason != FENCE_ALLOWED);
	}
	row_since(&before, what, 0);
}

static void measure_sockets(void)
{
	struct fence_rules tight = roomy();

	tight.source[FENCE_CONNECTIONS][FENCE_STRANGER] = (struct fence_rate){1ull << 50, 0};
	measure_connections();
	measure_refused("SYN refused by its source's budget", STRANGER4, &tight);
	measure_refused("SYN blocked", BLOCKED4, &tight);
	measure_segments("ACK", STRANGER4, FENCE_PLAIN, true);
	measure_segments("plain data", STRANGER4, FENCE_PLAIN, false);
	measure_segments("plain data, IPv6", STRANGER6, FENCE_PLAIN, false);
	measure_segments("upgraded data", STRANGER4, FENCE_UPGRADED, false);
	measure_segments(
		"upgraded data of an allowed network", "203.0.113.1", FENCE_UPGRADED, false);
	sockets_listen(AF_INET6);
	/* The last one: its listening socket has no class, and its connections none. */
	struct time_of before = time_now(rig.skel->progs.fence_ingress);
	struct pair pair = connect_from_outside(STRANGER4);
	static char octets[SEGMENT_BYTES];

	for (int i = 0; i < SEGMENTS; i++) {
		KT_MUST(send(pair.client, octets, sizeof(octets), MSG_NOSIGNAL) > 0);
		drain(pair.server, sizeof(octets));
	}
	row_since(&before, "not ours", 0);
	sockets_shut(&pair);
}

static void print_sizes(void)
{
	struct bpf_program *program;
	const char *comma = "";

	printf("\n  ],\n  \"sizes\": [");
	bpf_object__for_each_program(program, rig.skel->obj)
	{
		struct bpf_prog_info info = {0};
		uint32_t n = sizeof(info);

		KT_MUST(bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &n) == 0);
		printf("%s\n    {\"program\": \"%s\", \"instructions\": %u, \"verified\": %u, "
		       "\"machine_bytes\": %u}",
			comma, bpf_program__name(program), info.xlated_prog_len / 8,
			info.verified_insns, info.jited_prog_len);
		comma = ",";
	}
	printf("\n  ]\n}\n");
}

static int measure(void)
{
	int stats;

	KT_MUST(rig_load());
	printf("{\n  \"cases\": [");
	measure_xdp();
	stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (stats >= 0) {
		measure_new_sources();
		sockets_open();
		measure_sockets();
		sockets_close();
		close(stats);
	}
	print_sizes();
	rig_close();
	return 0;
}

int main(int argc, char **argv)
{
	char *end = NULL;

	if (argc == 2)
		repeat = (uint32_t)strtoul(argv[1], &end, 10);
	if (argc > 2 || (end && *end != '\0') || repeat == 0 || repeat > REPEAT_MAX) {
		fprintf(stderr, "usage: cost [REPEAT]\n");
		return 2;
	}
	return ground_run(measure);
}
