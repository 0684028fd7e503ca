/* SPDX-License-Identifier: MIT */
/*
 * sessions: the programs at a cgroup, over real connections: verdicts on SYNs, metering, classes,
 * gauges, the board, XDP at an interface besides; and that nobody else's sockets are touched.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bpf/frames.h"
#include "tests/bpf/ground.h"
#include "tests/bpf/rig.h"
#include "tests/bpf/sockets.h"

#define A4         "192.0.2.1"
#define A6         "2001:db8:1:1::1"
#define LOOPBACK   1
#define BULK_BYTES (1 << 20)

static const struct fence_rules no_limits = {
	.abi = FENCE_ABI, .bits_v4 = 32, .bits_v6 = 64, .piece = 1, .hash_key = {11, 22}};

static struct fence_source source_of(const char *text)
{
	uint8_t address[16], source[16];
	struct fence_source state;

	case_address(text, address);
	fence_source_of(&no_limits, address, source);
	rig_source(source, &state);
	return state;
}

static bool is_known(const char *text)
{
	return source_of(text).seen_ns != 0;
}

static uint64_t open_in_all(void)
{
	struct fence_totals totals;

	rig_totals(&totals);
	return totals.gauge[FENCE_OPEN][FENCE_STRANGER] + totals.gauge[FENCE_OPEN][FENCE_BEHAVED];
}

static bool has_session(int fd, struct fence_session *out)
{
	return bpf_map_lookup_elem(bpf_map__fd(rig.skel->maps.fence_sessions), &fd, out) == 0;
}

static bool nothing_counted_since(const struct rig_counts *before)
{
	struct rig_counts now;

	rig_counts(&now);
	return memcmp(&now, before, sizeof(now)) == 0;
}

/* ---- whose sockets ---- */

static void test_others(void)
{
	struct rig_counts before;
	struct fence_session session;
	struct pair pair;

	rig_reset(&no_limits);
	rig_net("0.0.0.0", 0, FENCE_ACTION_BLOCK, 0);
	rig_counts(&before);
	sockets_listen(AF_INET6);
	pair = sockets_connect(sockets_client(A4), NULL);
	KT_MUST(send(pair.client, "octets", 6, 0) == 6);
	kt_ok(nothing_counted_since(&before) && !has_session(pair.server, &session) &&
			!is_known(A4) && open_in_all() == 0,
		"a socket without a class is nobody's business");
	sockets_shut(&pair);
	kt_ok(open_in_all() == 0, "nor is its end");
	rig_mark(sockets_listener(), FENCE_PLAIN);
}

static void test_settings(void)
{
	struct fence_rules none = no_limits;
	struct rig_counts before;
	struct pair pair;

	rig_reset(&no_limits);
	rig_net("0.0.0.0", 0, FENCE_ACTION_BLOCK, 0);
	none.abi = 0;
	rig_rules(&none);
	rig_counts(&before);
	pair = sockets_connect(sockets_client(A4), NULL);
	KT_MUST(send(pair.client, "octets", 6, 0) == 6);
	kt_ok(nothing_counted_since(&before), "without settings everything passes");
	rig_rules(&no_limits);
	kt_ok(sockets_send(&pair, "octets", 6, FENCE_PLAIN) == FENCE_PASS && open_in_all() == 0,
		"a connection from before the settings is metered after them");
	sockets_shut(&pair);
	kt_ok(open_in_all() == 0, "it was in no gauge, and none is lowered for it");
}

static void test_adopted(void)
{
	struct fence_session session;
	struct fence_rules rules = no_limits;
	struct pair pair;

	rules.source[FENCE_PLAIN_BYTES][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(10);
	rig_reset(&rules);
	sockets_listen(AF_INET6);
	pair = sockets_connect(sockets_client(A6), NULL);
	KT_MUST(!has_session(pair.server, &session));
	rig_mark(pair.server, FENCE_PLAIN);
	kt_ok(sockets_send(&pair, "0123456789", 10, FENCE_PLAIN) == FENCE_PASS &&
			sockets_send(&pair, "0", 1, FENCE_PLAIN) == FENCE_OVER_PLAIN_BYTES,
		"a connection that is given a class later is metered from then on");
	kt_ok(has_session(pair.server, &session) && session.counted == 0 && open_in_all() == 0,
		"it is in no gauge");
	sockets_shut(&pair);
	kt_ok(open_in_all() == 0, "and takes nothing from one at its end");
	rig_mark(sockets_listener(), FENCE_PLAIN);
}

/* ---- what is remembered ---- */

static void test_session(void)
{
	struct fence_session session;
	uint8_t address[16], source[16];
	enum fence_reason reason;
	struct pair pair;
	uint64_t hash;

	rig_reset(&no_limits);
	case_address(A6, address);
	fence_source_of(&no_limits, address, source);
	rig_behaved(source, rig_now_ns() + 3600 * FENCE_NS);
	hash = fence_hash(&no_limits, source);
	pair = sockets_connect(sockets_client(A6), &reason);
	kt_ok(has_session(pair.server, &session) && memcmp(session.source, source, 16) == 0 &&
			session.board == fence_board_place(hash) &&
			session.tag == fence_board_tag(hash) && session.standing == FENCE_BEHAVED &&
			session.exempt == 0 && session.counted == 1,
		"what is remembered of a connection");
	sockets_shut(&pair);
	rig_net(A6, 128, FENCE_ACTION_ALLOW, 0);
	pair = sockets_connect(sockets_client(A6), &reason);
	kt_ok(has_session(pair.server, &session) && session.exempt == 1 && session.counted == 0,
		"of one from an allowed network");
	sockets_shut(&pair);
}

static void test_v4_listener(void)
{
	struct fence_session session;
	enum fence_reason reason;
	uint8_t address[16];
	struct pair pair;

	rig_reset(&no_limits);
	sockets_listen(AF_INET);
	rig_mark(sockets_listener(), FENCE_PLAIN);
	case_address(A4, address);
	pair = sockets_connect(sockets_client(A4), &reason);
	kt_ok(reason == FENCE_PASS && has_session(pair.server, &session) &&
			memcmp(session.source, address, 16) == 0 && source_of(A4).passed == 1 &&
			source_of(A4).gauge[FENCE_OPEN] == 1,
		"an IPv4 listener's connections are of the same sources");
	sockets_shut(&pair);
	sockets_listen(AF_INET6);
	rig_mark(sockets_listener(), FENCE_PLAIN);
}

/* ---- gauges ---- */

static bool wait_closed(uint64_t left)
{
	for (int ms = 0; ms < SOCKETS_WAIT_MS_MAX && open_in_all() != left; ms++)
		poll(NULL, 0, 1);
	return open_in_all() == left;
}

static void test_gauges(void)
{
	struct pair pairs[3];
	enum fence_reason reason;
	uint8_t address[16];
	char octet;

	rig_reset(&no_limits);
	for (int i = 0; i < 3; i++)
		pairs[i] = sockets_connect(sockets_client(A4), &reason);
	kt_ok(source_of(A4).gauge[FENCE_OPEN] == 3 && open_in_all() == 3, "three are open");
	sockets_shut(&pairs[0]);
	kt_ok(source_of(A4).gauge[FENCE_OPEN] == 2 && open_in_all() == 2, "one is reset");
	close(pairs[1].client);
	KT_MUST(poll(&(struct pollfd){.fd = pairs[1].server, .events = POLLIN}, 1,
			SOCKETS_WAIT_MS_MAX) == 1);
	KT_MUST(recv(pairs[1].server, &octet, 1, 0) == 0);
	kt_ok(open_in_all() == 2, "while its end is not answered it counts");
	close(pairs[1].server);
	kt_ok(wait_closed(1) && source_of(A4).gauge[FENCE_OPEN] == 1, "one is closed by both");
	case_address(A4, address);
	KT_MUST(bpf_map_delete_elem(bpf_map__fd(rig.skel->maps.fence_sources), address) == 0);
	sockets_shut(&pairs[2]);
	kt_ok(open_in_all() == 0 && source_of(A4).gauge[FENCE_OPEN] == 0,
		"one whose source was forgotten meanwhile");
}

static void test_forgotten_source(void)
{
	struct fence_rules rules = no_limits;
	enum fence_reason reason;
	uint8_t address[16];
	struct pair pair;
	bool first;

	rules.all[FENCE_PLAIN_BYTES][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(10);
	rules.source[FENCE_PLAIN_BYTES][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(5);
	rig_reset(&rules);
	case_address(A4, address);
	pair = sockets_connect(sockets_client(A4), &reason);
	first = sockets_send(&pair, "01234", 5, FENCE_PLAIN) == FENCE_PASS;
	KT_MUST(bpf_map_delete_elem(bpf_map__fd(rig.skel->maps.fence_sources), address) == 0);
	kt_ok(first && sockets_send(&pair, "01234", 5, FENCE_PLAIN) == FENCE_PASS &&
			source_of(A4).plain_bytes == 5,
		"a source that was pushed out begins anew");
	KT_MUST(bpf_map_delete_elem(bpf_map__fd(rig.skel->maps.fence_sources), address) == 0);
	kt_ok(sockets_send(&pair, "0", 1, FENCE_PLAIN) == FENCE_OVER_PLAIN_BYTES_ALL,
		"but the budget behind it remembers");
	sockets_shut(&pair);
}

/* ---- metering ---- */

static void test_empty_segments(void)
{
	struct rig_counts before;
	enum fence_reason reason;
	struct pair pair;
	char octets[100];

	rig_reset(&no_limits);
	pair = sockets_connect(sockets_client(A4), &reason);
	rig_counts(&before);
	/* The client acknowledges what the server sends, then ends. */
	for (int i = 0; i < 10; i++) {
		KT_MUST(send(pair.server, octets, sizeof(octets), MSG_NOSIGNAL) > 0);
		KT_MUST(poll(&(struct pollfd){.fd = pair.client, .events = POLLIN}, 1,
				SOCKETS_WAIT_MS_MAX) == 1);
		KT_MUST(recv(pair.client, octets, sizeof(octets), 0) == sizeof(octets));
	}
	shutdown(pair.client, SHUT_WR);
	KT_MUST(poll(&(struct pollfd){.fd = pair.server, .events = POLLIN}, 1,
			SOCKETS_WAIT_MS_MAX) == 1);
	kt_ok(nothing_counted_since(&before), "segments without octets are not counted");
	sockets_shut(&pair);
}

static void test_bulk(const char *from)
{
	static char octets[BULK_BYTES];
	struct rig_counts before;
	enum fence_reason reason;
	struct pair pair;
	size_t sent = 0, taken = 0;
	uint64_t counted;

	rig_reset(&no_limits);
	pair = sockets_connect(sockets_client(from), &reason);
	rig_mark(pair.server, FENCE_UPGRADED);
	rig_counts(&before);
	while (taken < sizeof(octets)) {
		static char sink[65536];
		ssize_t n = sent < sizeof(octets) ? send(pair.client, octets + sent,
							    sizeof(octets) - sent, MSG_NOSIGNAL)
						  : 0;

		sent += n > 0 ? (size_t)n : 0;
		n = recv(pair.server, sink, sizeof(sink), 0);
		taken += n > 0 ? (size_t)n : 0;
		if (n < 0)
			poll(&(struct pollfd){.fd = pair.server, .events = POLLIN}, 1, 100);
	}
	/* A segment that was sent twice came in twice. */
	counted = rig_bytes_since(&before, FENCE_UPGRADED, FENCE_PASS);
	kt_ok(counted >= sizeof(octets) && counted < 2 * sizeof(octets) &&
			source_of(from).upgraded_bytes == counted &&
			source_of(from).plain_bytes == 0,
		"a mebibyte in large segments is counted, %s", from);
	sockets_shut(&pair);
}

static bool about(uint64_t word, uint16_t tag, uint64_t now)
{
	uint64_t until = fence_board_until(word, tag);

	return until > now && until <= now + FENCE_PAUSE_NS_MAX + FENCE_NS;
}

static void test_board(enum fence_lane lane)
{
	enum fence_class class = lane == FENCE_LANE_PLAIN ? FENCE_PLAIN : FENCE_UPGRADED;
	uint32_t meter = lane == FENCE_LANE_PLAIN ? FENCE_PLAIN_BYTES : FENCE_UPGRADED_BYTES;
	const char *name = lane == FENCE_LANE_PLAIN ? "plain" : "upgraded";
	struct fence_board *board = rig_board();
	struct fence_board before;
	struct fence_rules rules = no_limits;
	struct fence_session session;
	enum fence_reason reason;
	struct pair pair;
	uint64_t now;

	rules.source[meter][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(5);
	rules.all[meter][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(10);
	rig_reset(&rules);
	before = *board;
	pair = sockets_connect(sockets_client(A4), &reason);
	rig_mark(pair.server, class);
	KT_MUST(sockets_send(&pair, "01234", 5, class) == FENCE_PASS);
	kt_ok(memcmp(&before, board, sizeof(before)) == 0,
		"within the budget nothing is on the board, %s", name);
	now = rig_now_ns();
	KT_MUST(sockets_send(&pair, "01234", 5, class) != FENCE_PASS);
	KT_MUST(has_session(pair.server, &session));
	kt_ok(about(board->source[lane][session.board], session.tag, now) &&
			board->all[lane][FENCE_STRANGER] == 0 && source_of(A4).paused == 1,
		"over its budget a source is on the board, %s", name);
	KT_MUST(sockets_send(&pair, "0", 1, class) != FENCE_PASS);
	kt_ok(about(board->all[lane][FENCE_STRANGER], 0, now) &&
			board->all[lane][FENCE_BEHAVED] == 0 && source_of(A4).paused == 2,
		"over the budget behind it everybody is, %s", name);
	board->source[lane][session.board] = 0;
	board->all[lane][FENCE_STRANGER] = 0;
	kt_ok(memcmp(&before, board, sizeof(before)) == 0, "and nothing else is, %s", name);
	sockets_shut(&pair);
	rig_board_unmap(board);
}

/* ---- headers on the way ---- */

static void test_header(const char *from, int level, int option, const void *value, socklen_t n)
{
	enum fence_reason reason, sent = FENCE_REASONS;
	int client = sockets_client(from);
	struct pair pair;

	rig_reset(&no_limits);
	KT_MUST(setsockopt(client, level, option, value, n) == 0);
	pair = sockets_connect(client, &reason);
	if (pair.server >= 0)
		sent = sockets_send(&pair, "octets", 6, FENCE_PLAIN);
	kt_ok(reason == FENCE_PASS && sent == FENCE_PASS && source_of(from).plain_bytes == 6,
		"a connection with option %d of level %d on each packet", option, level);
	sockets_shut(&pair);
}

static void test_headers(void)
{
	const uint8_t padding[8] = {0, 0, 1, 4}; /* more of it and the kernel throws it away */
	const uint8_t nothing[8] = {1, 1, 1, 1, 1, 1, 1, 0};

	test_header(A4, IPPROTO_IP, IP_OPTIONS, nothing, sizeof(nothing));
	test_header(A6, IPPROTO_IPV6, IPV6_DSTOPTS, padding, sizeof(padding));
	test_header(A6, IPPROTO_IPV6, IPV6_HOPOPTS, padding, sizeof(padding));
}

/* ---- interfaces ---- */

/* SYNs of a source that were taken from its limit, in a budget of connections of CASE_BUDGET(). */
static unsigned syns_of(const char *text)
{
	uint8_t address[16], source[16];
	uint64_t tat, now = rig_now_ns(), each = CASE_UNIT_NS / FENCE_SYNS_FACTOR;

	case_address(text, address);
	fence_source_of(&no_limits, address, source);
	tat = rig_syns(source);
	return tat > now ? (unsigned)((tat - now + each / 2) / each) : 0;
}

static void test_interface(void)
{
	struct fence_rules rules = no_limits;
	enum fence_reason reason;
	struct pair pair;

	rules.source[FENCE_CONNECTIONS][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(9);
	rig_reset(&rules);
	pair = sockets_connect(sockets_client(A4), &reason);
	kt_ok(reason == FENCE_PASS && syns_of(A4) == 1, "a SYN is taken at the cgroup");
	sockets_shut(&pair);
	rig_interface(LOOPBACK, true);
	pair = sockets_connect(sockets_client(A4), &reason);
	kt_ok(reason == FENCE_PASS && syns_of(A4) == 1,
		"where XDP takes it, the program at the cgroup does not");
	kt_ok(open_in_all() == 1, "but it counts what is open");
	sockets_shut(&pair);
	rig_net("0.0.0.0", 0, FENCE_ACTION_BLOCK, 0);
	pair = sockets_connect(sockets_client(A4), &reason);
	kt_ok(reason == FENCE_BLOCKED, "and looks at it");
}

/* Puts the IP packet of a frame on the loopback interface as it is. */
static void inject(const struct frame_spec *spec)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
	int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	struct frame frame;

	KT_MUST(fd >= 0);
	frame_make(&frame, spec);
	KT_MUST(sendto(fd, frame.data + frame.ip, frame.n - frame.ip, 0, (struct sockaddr *)&to,
			sizeof(to)) > 0);
	close(fd);
}

static bool wait_blocked(const struct rig_counts *before, uint64_t n)
{
	for (int ms = 0;
		ms < SOCKETS_WAIT_MS_MAX && rig_packets_since(before, FENCE_NEW, FENCE_BLOCKED) < n;
		ms++)
		poll(NULL, 0, 1);
	return rig_packets_since(before, FENCE_NEW, FENCE_BLOCKED) == n;
}

/* Packets come one after the other: when the second is counted, the first was not. */
static void test_not_a_syn(void)
{
	struct frame_spec spec = {
		.from = A6, .flags = FRAME_SYN | FRAME_ACK, .port = sockets_port()};
	struct rig_counts before;

	rig_reset(&no_limits);
	rig_net(A6, 128, FENCE_ACTION_BLOCK, 0);
	rig_counts(&before);
	inject(&spec);
	spec.flags = FRAME_ACK;
	inject(&spec);
	spec.flags = FRAME_SYN;
	inject(&spec);
	kt_ok(wait_blocked(&before, 1), "what is no SYN is not judged as one");
}

/* What the kernel's TCP can read and we cannot: nothing of it reaches a listening socket. */
static void test_deep(void)
{
	struct frame_spec spec = {.from = A6,
		.flags = FRAME_SYN,
		.port = sockets_port(),
		.extensions = {{60, 8}, {60, 8}, {60, 8}, {60, 8}, {60, 8}, {60, 8}, {60, 8}}};
	struct rig_counts before;
	int ms;

	rig_reset(&no_limits);
	rig_interface(LOOPBACK, true);
	rig_counts(&before);
	inject(&spec);
	spec.flags = FRAME_SYN | FRAME_ACK;
	inject(&spec);
	for (ms = 0; ms < SOCKETS_WAIT_MS_MAX &&
		     rig_packets_since(&before, FENCE_NEW, FENCE_SAW_MALFORMED) < 2;
		ms++)
		poll(NULL, 0, 1);
	kt_ok(ms < SOCKETS_WAIT_MS_MAX, "what is behind more headers than we follow is counted");
}

static void test_xdp(void)
{
	struct bpf_link *link = bpf_program__attach_xdp(rig.skel->progs.fence_xdp, LOOPBACK);
	struct fence_rules rules = no_limits;
	struct fence_sample samples[8];
	enum fence_reason reason;
	struct rig_counts before;
	struct pair pair;
	size_t n;

	if (!link) {
		kt_diag("no XDP on the loopback interface: %s", strerror(errno));
		return;
	}
	rules.source[FENCE_CONNECTIONS][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(1);
	rules.sample = 1;
	rig_reset(&rules);
	rig_listener(NULL, sockets_port());
	rig_interface(LOOPBACK, true);
	rig_counts(&before);
	pair = sockets_connect(sockets_client(A6), &reason);
	kt_ok(reason == FENCE_PASS && sockets_send(&pair, "octets", 6, FENCE_PLAIN) == FENCE_PASS &&
			rig_packets_since(&before, FENCE_NEW, FENCE_PASS) == 1 && syns_of(A6) == 1,
		"an interface with XDP: a SYN is taken once, and octets are metered");
	sockets_shut(&pair);
	sockets_connect(sockets_client(A6), &reason);
	n = rig_samples(samples, 8);
	kt_ok(reason == FENCE_OVER_CONNECTIONS && n == 1 && samples[0].hook == FENCE_HOOK_XDP &&
			samples[0].port == sockets_port(),
		"an interface with XDP: the SYN is refused there");
	bpf_link__destroy(link);
}

static void test_samples(void)
{
	struct fence_rules rules = no_limits;
	struct fence_sample samples[8];
	enum fence_reason reason;
	uint8_t address[16];
	size_t n;

	rules.sample = 1;
	rig_reset(&rules);
	rig_net(A6, 128, FENCE_ACTION_BLOCK, 0);
	sockets_connect(sockets_client(A6), &reason);
	n = rig_samples(samples, 8);
	case_address(A6, address);
	kt_ok(reason == FENCE_BLOCKED && n == 1 && samples[0].hook == FENCE_HOOK_CGROUP &&
			samples[0].reason == FENCE_BLOCKED && samples[0].port == sockets_port() &&
			memcmp(samples[0].address, address, 16) == 0,
		"a refusal at the cgroup as a sample");
}

static int test(void)
{
	rig_open();
	rig_print_sizes();
	sockets_open();
	case_run_all(&place_cgroup);
	test_others();
	test_settings();
	test_adopted();
	test_session();
	test_v4_listener();
	test_gauges();
	test_forgotten_source();
	test_empty_segments();
	test_bulk(A4);
	test_bulk(A6);
	test_board(FENCE_LANE_PLAIN);
	test_board(FENCE_LANE_UPGRADED);
	test_headers();
	test_interface();
	test_not_a_syn();
	test_deep();
	test_xdp();
	test_samples();
	sockets_close();
	rig_close();
	return kt_done();
}

int main(void)
{
	return ground_run(test);
}
