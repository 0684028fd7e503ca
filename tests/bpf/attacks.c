/* SPDX-License-Identifier: MIT */
/*
 * attacks: what somebody tries who writes his own packets: flags that make half a connection, SYNs
 * ahead of their ACKs, SYN cookies used again, addresses that are not his. Nothing of it brings in
 * more than a budget has, is served without being counted, or costs somebody else.
 *
 * He sits at the far end of a TUN device, and 10.9.0.0/24 and fd09::/64 are his; no TCP of ours
 * answers for him.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bpf/frames.h"
#include "tests/bpf/ground.h"
#include "tests/bpf/rig.h"
#include "tests/bpf/sockets.h"

#define US4        "10.9.0.1"
#define US6        "fd09::1"
#define BAD4       "10.9.0.66"
#define GOOD4      "10.9.0.77"
#define BAD6       "fd09::66"
#define SEQ        1000
#define WAIT_MS    1000
#define SILENCE_MS 30
#define FLAGS_ALL  64
#define MANY       40

static const struct fence_rules no_limits = {
	.abi = FENCE_ABI, .bits_v4 = 32, .bits_v6 = 64, .piece = 1, .hash_key = {11, 22}};

static int tun = -1;

/* ---- the device ---- */

struct in6_request {
	struct in6_addr address;
	uint32_t bits;
	int index;
};

static void set_addresses(const char *name)
{
	struct ifreq request = {0};
	struct sockaddr_in *at = (struct sockaddr_in *)&request.ifr_addr;
	struct in6_request v6 = {.bits = 64, .index = (int)if_nametoindex(name)};
	int fd4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int fd6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	KT_MUST(fd4 >= 0 && fd6 >= 0 && v6.index > 0);
	memcpy(request.ifr_name, name, strlen(name) + 1);
	at->sin_family = AF_INET;
	KT_MUST(inet_pton(AF_INET, US4, &at->sin_addr) == 1);
	KT_MUST(ioctl(fd4, SIOCSIFADDR, &request) == 0);
	KT_MUST(inet_pton(AF_INET, "255.255.255.0", &at->sin_addr) == 1);
	KT_MUST(ioctl(fd4, SIOCSIFNETMASK, &request) == 0);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	KT_MUST(ioctl(fd4, SIOCSIFFLAGS, &request) == 0);
	KT_MUST(inet_pton(AF_INET6, US6, &v6.address) == 1);
	KT_MUST(ioctl(fd6, SIOCSIFADDR, &v6) == 0);
	close(fd4);
	close(fd6);
}

static void open_tun(void)
{
	struct ifreq request = {.ifr_name = "tun0", .ifr_flags = IFF_TUN | IFF_NO_PI};

	tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tun < 0 || ioctl(tun, TUNSETIFF, &request) != 0)
		kt_unsupported("no TUN device");
	set_addresses(request.ifr_name);
}

static void set_sysctl(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	KT_MUST(fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value));
	close(fd);
}

/* ---- his packets ---- */

static struct frame_spec from(const char *address, unsigned port, uint8_t flags)
{
	return (struct frame_spec){.from = address,
		.to = strchr(address, ':') ? US6 : US4,
		.port = sockets_port(),
		.from_port = (uint16_t)port,
		.flags = flags,
		.seq = SEQ};
}

static void put(const struct frame_spec *spec)
{
	struct frame frame;

	frame_make(&frame, spec);
	KT_MUST(write(tun, frame.data + frame.ip, frame.n - frame.ip) ==
		(ssize_t)(frame.n - frame.ip));
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Is it a SYN with ACK to that port? Its number then. */
static bool is_answer(const uint8_t *packet, size_t n, unsigned port, uint32_t *seq)
{
	size_t tcp = packet[0] >> 4 == 4 ? (packet[0] & 15u) * 4 : 40;

	if (n < tcp + 20 || packet[packet[0] >> 4 == 4 ? 9 : 6] != IPPROTO_TCP ||
		(unsigned)(packet[tcp + 2] << 8 | packet[tcp + 3]) != port ||
		(packet[tcp + 13] & (FRAME_SYN | FRAME_ACK)) != (FRAME_SYN | FRAME_ACK))
		return false;
	*seq = get32(packet + tcp + 4);
	return true;
}

/* Waits for the answer to a SYN. */
static bool answered(unsigned port, uint32_t *seq, int ms)
{
	uint8_t packet[2048];

	while (poll(&(struct pollfd){.fd = tun, .events = POLLIN}, 1, ms) == 1) {
		ssize_t n = read(tun, packet, sizeof(packet));

		if (n > 0 && is_answer(packet, (size_t)n, port, seq))
			return true;
	}
	return false;
}

static bool syn(const char *address, unsigned port, uint32_t *seq)
{
	struct frame_spec spec = from(address, port, FRAME_SYN);

	put(&spec);
	return answered(port, seq, WAIT_MS);
}

static void ack(const char *address, unsigned port, uint32_t seq, unsigned octets)
{
	struct frame_spec spec = from(address, port, FRAME_ACK);

	spec.seq = SEQ + 1;
	spec.ack = seq + 1;
	spec.payload = octets;
	put(&spec);
}

/* ---- what came of it ---- */

/* Takes all connections that wait. */
static unsigned accepted(int *fds, unsigned max)
{
	unsigned n = 0;
	int fd;

	while (n < max && (fd = accept4(sockets_listener(), NULL, NULL, SOCK_CLOEXEC)) >= 0)
		fds[n++] = fd;
	return n;
}

static void close_all(const int *fds, unsigned n)
{
	const struct linger at_once = {.l_onoff = 1};

	for (unsigned i = 0; i < n; i++) {
		setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		close(fds[i]);
	}
}

static struct fence_source source_of(const char *text)
{
	uint8_t address[16], source[16];
	struct fence_source state;

	case_address(text, address);
	fence_source_of(&no_limits, address, source);
	rig_source(source, &state);
	return state;
}

static uint64_t open_in_all(void)
{
	struct fence_totals totals;

	rig_totals(&totals);
	return totals.gauge[FENCE_OPEN][FENCE_STRANGER];
}

/* ---- attacks ---- */

/* A SYN with ACK that has a request's numbers once made a connection that was in no gauge. */
static void test_half_a_connection(void)
{
	struct frame_spec spec = from(BAD4, 5000, FRAME_SYN | FRAME_ACK);
	unsigned n, open_before;
	int fds[MANY];
	uint32_t seq;

	rig_reset(&no_limits);
	KT_MUST(syn(BAD4, 5000, &seq));
	spec.ack = seq + 1;
	put(&spec);
	spec.seq = SEQ + 1;
	put(&spec);
	n = accepted(fds, MANY);
	kt_ok(n == 0 && open_in_all() == 0 && source_of(BAD4).passed == 0,
		"a SYN with ACK opens no connection");
	ack(BAD4, 5000, seq, 0);
	open_before = (unsigned)open_in_all();
	n = accepted(fds, MANY);
	kt_ok(n == 1 && open_before == 1 && source_of(BAD4).passed == 1,
		"the ACK that belongs to it does, and it is counted");
	close_all(fds, n);
	kt_ok(open_in_all() == 0, "once");
}

/* Every combination of six flags, with a request's numbers and without. */
static void test_odd_flags(void)
{
	unsigned n, open;
	int fds[FLAGS_ALL];
	uint32_t seq;

	rig_reset(&no_limits);
	for (unsigned flags = 0; flags < FLAGS_ALL; flags++) {
		struct frame_spec spec = from(BAD4, 6000 + flags, (uint8_t)flags);

		put(&spec);
		KT_MUST(syn(BAD4, 6100 + flags, &seq));
		spec.from_port = (uint16_t)(6100 + flags);
		spec.seq = SEQ + 1;
		spec.ack = seq + 1;
		put(&spec);
	}
	open = (unsigned)open_in_all();
	n = accepted(fds, FLAGS_ALL);
	kt_ok(n == open && n == source_of(BAD4).passed && n > 0,
		"whatever flags opened a connection, it is counted");
	close_all(fds, n);
	kt_ok(open_in_all() == 0 && source_of(BAD4).gauge[FENCE_OPEN] == 0,
		"and counted down when it is closed");
}

/* What is to get in of MANY SYNs whose ACKs come after all of them. */
static void many_ahead(const struct fence_rules *rules, unsigned want, const char *what)
{
	enum fence_reason over = rules->source_max[FENCE_OPEN][FENCE_STRANGER]
					 ? FENCE_OVER_OPEN
					 : FENCE_OVER_CONNECTIONS;
	struct rig_counts before;
	unsigned n, asked = 0;
	uint32_t seqs[MANY];
	int fds[MANY];

	rig_reset(rules);
	rig_counts(&before);
	while (asked < MANY / 2 && syn(BAD4, 7000 + asked, &seqs[asked]))
		asked++;
	for (unsigned i = 0; i < asked; i++)
		ack(BAD4, 7000 + i, seqs[i], 10);
	n = accepted(fds, MANY);
	kt_ok(asked == MANY / 2 && n == want && source_of(BAD4).passed == want &&
			open_in_all() == want && source_of(BAD4).plain_bytes == 10 * want &&
			rig_packets_since(&before, FENCE_NEW, FENCE_PASS) == want &&
			rig_packets_since(&before, FENCE_NEW, over) == asked - want,
		"SYNs ahead of their ACKs: %s", what);
	close_all(fds, n);
}

static void test_many_ahead(void)
{
	struct fence_rules open = no_limits, rate = no_limits;

	open.source_max[FENCE_OPEN][FENCE_STRANGER] = 3;
	rate.source[FENCE_CONNECTIONS][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(4);
	many_ahead(&open, 3, "no more than may be open");
	many_ahead(&rate, 4, "no more than its rate has");
}

/* One SYN, and its cookie again and again. */
static void test_cookies(void)
{
	struct fence_rules rules = no_limits;
	unsigned n = 0;
	uint32_t seq;
	int fd;

	rules.source[FENCE_CONNECTIONS][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(3);
	rig_reset(&rules);
	set_sysctl("/proc/sys/net/ipv4/tcp_syncookies", "2");
	KT_MUST(syn(BAD4, 8000, &seq));
	for (int i = 0; i < 10; i++) {
		ack(BAD4, 8000, seq, 0);
		if (accepted(&fd, 1) == 1) {
			n++;
			close_all(&fd, 1);
		}
	}
	kt_ok(n == 3 && source_of(BAD4).passed == 3 && open_in_all() == 0,
		"a SYN cookie brings in no more than its source's budget has");
	set_sysctl("/proc/sys/net/ipv4/tcp_syncookies", "1");
}

/* SYNs from a good sender's address, and SYNs from everywhere. */
static void test_forged(void)
{
	struct fence_rules rules = no_limits;
	struct fence_totals totals;
	unsigned got = 0, n;
	char address[32];
	uint32_t seq;
	int fds[MANY];

	rules.source[FENCE_CONNECTIONS][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(3);
	rules.all[FENCE_CONNECTIONS][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(3);
	rig_reset(&rules);
	for (unsigned i = 0; i < 2 * FENCE_SYNS_FACTOR; i++) {
		struct frame_spec spec = from(GOOD4, 9000 + i, FRAME_SYN);

		put(&spec);
	}
	for (unsigned i = 100; i < 200; i++) {
		struct frame_spec spec;

		snprintf(address, sizeof(address), "10.9.0.%u", i);
		spec = from(address, 9000 + i, FRAME_SYN);
		put(&spec);
	}
	rig_totals(&totals);
	kt_ok(totals.tat[FENCE_CONNECTIONS][FENCE_STRANGER] == 0 && source_of(GOOD4).seen_ns == 0,
		"forged SYNs take nothing from anybody");
	for (unsigned i = 0; i < 3; i++)
		if (syn(GOOD4, 9500 + i, &seq)) {
			ack(GOOD4, 9500 + i, seq, 0);
			got++;
		}
	n = accepted(fds, MANY);
	kt_ok(got == 3 && n == 3 && source_of(GOOD4).passed == 3,
		"after them a good sender has all of its budget");
	kt_ok(!syn(GOOD4, 9600, &seq), "and no more than that");
	close_all(fds, n);
}

/* ACKs, data and resets that belong to nothing. */
static void test_stray(void)
{
	struct rig_counts before, after;
	uint8_t flags[] = {FRAME_ACK, FRAME_ACK | FRAME_FIN, FRAME_RST, FRAME_RST | FRAME_ACK, 0};

	rig_reset(&no_limits);
	rig_counts(&before);
	for (unsigned i = 0; i < sizeof(flags); i++) {
		struct frame_spec spec = from(BAD4, 10000 + i, flags[i]);

		spec.payload = 100;
		put(&spec);
	}
	rig_counts(&after);
	kt_ok(memcmp(&before, &after, sizeof(before)) == 0 && source_of(BAD4).seen_ns == 0,
		"what belongs to nothing leaves no trace");
}

/* Behind as many headers as we follow, and behind one more. */
static void test_deep(void)
{
	struct frame_spec spec = from(BAD6, 11000, FRAME_SYN);
	struct rig_counts before;
	uint32_t seq;
	bool six, seven;

	rig_reset(&no_limits);
	rig_counts(&before);
	for (int i = 0; i < 6; i++)
		spec.extensions[i] = (struct frame_extension){IPPROTO_DSTOPTS, 8};
	put(&spec);
	six = answered(11000, &seq, WAIT_MS);
	spec.extensions[6] = spec.extensions[0];
	spec.from_port = 11001;
	put(&spec);
	seven = answered(11001, &seq, SILENCE_MS);
	if (!six)
		kt_diag("this kernel takes no SYN behind six extension headers");
	kt_ok(!seven && (!six || rig_packets_since(&before, FENCE_NEW, FENCE_SAW_MALFORMED) == 1),
		"a SYN behind seven extension headers is not answered");
}

static int test(void)
{
	rig_open();
	open_tun();
	sockets_open();
	KT_MUST(fcntl(sockets_listener(), F_SETFL, O_NONBLOCK) == 0);
	test_half_a_connection();
	test_odd_flags();
	test_many_ahead();
	test_cookies();
	test_forged();
	test_stray();
	test_deep();
	sockets_close();
	close(tun);
	rig_close();
	return kt_done();
}

int main(void)
{
	return ground_run(test);
}
