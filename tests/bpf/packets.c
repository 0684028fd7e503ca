/* SPDX-License-Identifier: MIT */
/*
 * packets: the XDP program over frames of every shape, by BPF_PROG_TEST_RUN: what it finds, what it
 * leaves alone, and that nothing cut short or senseless gets further than it should.
 *
 * The sender of most frames is on the block list: a SYN that is understood is dropped, so passing
 * shows that it was not. One from elsewhere is taken from its source's limit of SYNs.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bpf/frames.h"
#include "tests/bpf/rig.h"

#define BLOCKED4       "192.0.2.1"
#define BLOCKED6       "2001:db8:1::1"
#define RANDOM_FRAMES  30000
#define CHANGED_FRAMES 30000
#define ETHERNET_BYTES 14

static const struct fence_rules rules = {.abi = FENCE_ABI,
	.bits_v4 = 32,
	.bits_v6 = 64,
	.source[FENCE_CONNECTIONS][FENCE_STRANGER] = CASE_BUDGET(1000)};

static void prepare(void)
{
	rig_reset(&rules);
	rig_listener(NULL, FRAME_PORT);
	rig_net("192.0.2.0", 24, FENCE_ACTION_BLOCK, 0);
	rig_net("2001:db8:1::", 48, FENCE_ACTION_BLOCK, 0);
}

/* What is said about a frame: the verdict, and all that is counted. FENCE_REASONS: nothing. */
static bool said(const struct frame *frame, bool passes, int reason)
{
	struct rig_counts before, after;
	bool passed, good = true;

	rig_counts(&before);
	passed = frame_passes(frame);
	rig_counts(&after);
	for (int i = 0; i < FENCE_CLASSES * FENCE_REASONS; i++) {
		uint64_t more = (&after.of[0][0])[i].packets - (&before.of[0][0])[i].packets;

		bool wanted = reason < FENCE_REASONS && i == reason;

		good &= more == wanted;
		if (more > 0 && !wanted)
			kt_diag("class %d reason %d was counted", i / FENCE_REASONS,
				i % FENCE_REASONS);
	}
	if (reason < FENCE_REASONS)
		good &= after.of[0][reason].bytes - before.of[0][reason].bytes <= frame->n;
	return good && passed == passes;
}

struct shape {
	const char *name;
	struct frame_spec spec;
	bool passes;
	int reason;
	bool taken;
};

#define DROPPED  false, FENCE_BLOCKED, false
#define SILENT   true, FENCE_REASONS, false
#define TAKEN    true, FENCE_REASONS, true
#define FRAGMENT true, FENCE_SAW_FRAGMENT, false
#define DEEP     true, FENCE_SAW_MALFORMED, false

/* clang-format off */
static const struct shape shapes[] = {
	{"IPv4", {.from = BLOCKED4, .flags = FRAME_SYN}, DROPPED},
	{"IPv6", {.from = BLOCKED6, .flags = FRAME_SYN}, DROPPED},
	{"IPv4, one VLAN tag", {.from = BLOCKED4, .flags = FRAME_SYN, .tags = 1}, DROPPED},
	{"IPv6, one VLAN tag", {.from = BLOCKED6, .flags = FRAME_SYN, .tags = 1}, DROPPED},
	{"IPv4, two VLAN tags", {.from = BLOCKED4, .flags = FRAME_SYN, .tags = 2}, DROPPED},
	{"IPv4, 802.1ad and a VLAN tag", {.from = BLOCKED4, .flags = FRAME_SYN, .tags = 2, .tag_type = 0x88a8}, DROPPED},
	{"IPv6, 802.1ad and a VLAN tag", {.from = BLOCKED6, .flags = FRAME_SYN, .tags = 2, .tag_type = 0x88a8}, DROPPED},
	{"three VLAN tags are more than we follow", {.from = BLOCKED4, .flags = FRAME_SYN, .tags = 3}, SILENT},
	{"ARP", {.from = BLOCKED4, .flags = FRAME_SYN, .type = 0x0806}, SILENT},
	{"ARP in a VLAN", {.from = BLOCKED4, .flags = FRAME_SYN, .tags = 1, .type = 0x0806}, SILENT},
	{"UDP", {.from = BLOCKED4, .protocol = IPPROTO_UDP}, SILENT},
	{"UDP, IPv6", {.from = BLOCKED6, .protocol = IPPROTO_UDP}, SILENT},
	{"ICMPv6", {.from = BLOCKED6, .protocol = IPPROTO_ICMPV6}, SILENT},
	{"another port", {.from = BLOCKED4, .flags = FRAME_SYN, .port = 25}, SILENT},
	{"another port, IPv6", {.from = BLOCKED6, .flags = FRAME_SYN, .port = 25}, SILENT},

	{"4 octets of IPv4 options", {.from = BLOCKED4, .flags = FRAME_SYN, .options = 4}, DROPPED},
	{"40 octets of IPv4 options", {.from = BLOCKED4, .flags = FRAME_SYN, .options = 40}, DROPPED},
	{"IPv4 options in two VLANs", {.from = BLOCKED4, .flags = FRAME_SYN, .options = 12, .tags = 2}, DROPPED},

	{"hop-by-hop options", {.from = BLOCKED6, .flags = FRAME_SYN, .extensions = {{0, 16}}}, DROPPED},
	{"destination options", {.from = BLOCKED6, .flags = FRAME_SYN, .extensions = {{60, 8}}}, DROPPED},
	{"a routing header", {.from = BLOCKED6, .flags = FRAME_SYN, .extensions = {{43, 24}}}, DROPPED},
	{"an authentication header", {.from = BLOCKED6, .flags = FRAME_SYN, .extensions = {{51, 24}}}, DROPPED},
	{"an atomic fragment", {.from = BLOCKED6, .flags = FRAME_SYN, .extensions = {{44, 8}}}, DROPPED},
	{"six extension headers", {.from = BLOCKED6, .flags = FRAME_SYN,
		.extensions = {{0, 8}, {60, 16}, {43, 24}, {44, 8}, {51, 16}, {60, 8}}}, DROPPED},
	{"seven extension headers", {.from = BLOCKED6, .flags = FRAME_SYN,
		.extensions = {{0, 8}, {60, 8}, {60, 8}, {60, 8}, {60, 8}, {60, 8}, {60, 8}}}, DEEP},
	{"ten extension headers", {.from = BLOCKED6, .flags = FRAME_SYN,
		.extensions = {{0, 8}, {60, 8}, {60, 8}, {60, 8}, {60, 8}, {60, 8}, {60, 8}, {60, 8}, {60, 8}, {60, 8}}}, DEEP},
	{"longest extension headers", {.from = BLOCKED6, .flags = FRAME_SYN, .extensions = {{60, 1024}}}, DROPPED},
	{"extension headers in two VLANs", {.from = BLOCKED6, .flags = FRAME_SYN, .tags = 2,
		.extensions = {{0, 8}, {60, 8}}}, DROPPED},
	{"UDP behind extension headers", {.from = BLOCKED6, .protocol = IPPROTO_UDP, .extensions = {{0, 8}}}, SILENT},
	{"nothing behind extension headers", {.from = BLOCKED6, .protocol = IPPROTO_NONE, .extensions = {{60, 8}}}, SILENT},
	{"ESP", {.from = BLOCKED6, .protocol = IPPROTO_ESP}, SILENT},

	{"a first IPv4 fragment with the TCP header", {.from = BLOCKED4, .flags = FRAME_SYN, .more = true, .payload = 4}, DROPPED},
	{"a later IPv4 fragment", {.from = BLOCKED4, .flags = FRAME_SYN, .fragment = 8, .more = true}, FRAGMENT},
	{"the last IPv4 fragment", {.from = BLOCKED4, .flags = FRAME_SYN, .fragment = 65528}, FRAGMENT},
	{"a later IPv4 fragment of UDP", {.from = BLOCKED4, .fragment = 8, .protocol = IPPROTO_UDP}, SILENT},
	{"a first IPv6 fragment with the TCP header", {.from = BLOCKED6, .flags = FRAME_SYN, .more = true,
		.extensions = {{44, 8}}, .payload = 4}, DROPPED},
	{"a later IPv6 fragment", {.from = BLOCKED6, .flags = FRAME_SYN, .fragment = 8, .more = true,
		.extensions = {{0, 8}, {44, 8}}}, FRAGMENT},
	{"the last IPv6 fragment", {.from = BLOCKED6, .flags = FRAME_SYN, .fragment = 8, .extensions = {{44, 8}}}, FRAGMENT},

	{"ACK from a blocked network", {.from = BLOCKED4, .flags = FRAME_ACK, .payload = 100}, SILENT},
	{"RST from a blocked network", {.from = BLOCKED6, .flags = FRAME_RST}, SILENT},
	{"SYN and ACK from a blocked network", {.from = BLOCKED4, .flags = FRAME_SYN | FRAME_ACK}, SILENT},
	{"SYN and RST from a blocked network", {.from = BLOCKED4, .flags = FRAME_SYN | FRAME_RST}, SILENT},
	{"SYN and FIN from a blocked network", {.from = BLOCKED6, .flags = FRAME_SYN | FRAME_FIN}, DROPPED},
	{"all flags from a blocked network", {.from = BLOCKED4, .flags = 0xff}, SILENT},
	{"all flags but ACK and RST", {.from = BLOCKED4, .flags = 0xff & ~(FRAME_ACK | FRAME_RST)}, DROPPED},
	{"SYN from elsewhere", {.from = "198.51.100.1", .flags = FRAME_SYN}, TAKEN},
	{"SYN from elsewhere, IPv6", {.from = "2001:db8:2::1", .flags = FRAME_SYN}, TAKEN},
	{"SYN with octets", {.from = "198.51.100.1", .flags = FRAME_SYN, .payload = 600}, TAKEN},
	{"SYN and FIN are judged as a SYN", {.from = "198.51.100.1", .flags = FRAME_SYN | FRAME_FIN}, TAKEN},
	{"a first fragment from elsewhere", {.from = "198.51.100.1", .flags = FRAME_SYN, .more = true, .payload = 4}, TAKEN},
	{"ACK from elsewhere is not counted", {.from = "198.51.100.1", .flags = FRAME_ACK, .payload = 100}, SILENT},
	{"SYN and ACK from elsewhere", {.from = "198.51.100.1", .flags = FRAME_SYN | FRAME_ACK}, SILENT},
	{"no flags", {.from = "198.51.100.1"}, SILENT},
};
/* clang-format on */

#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static bool taken(const char *from)
{
	uint8_t address[16], source[16];

	case_address(from, address);
	fence_source_of(&rules, address, source);
	return rig_syns(source) != 0;
}

static void test_shapes(void)
{
	for (size_t i = 0; i < SHAPES; i++) {
		struct frame frame;

		frame_make(&frame, &shapes[i].spec);
		prepare();
		kt_ok(said(&frame, shapes[i].passes, shapes[i].reason) &&
				taken(shapes[i].spec.from) == shapes[i].taken,
			"%s", shapes[i].name);
	}
}

/* What is to be said of an understood frame of which only the first n octets came. */
static int cut_reason(const struct frame *frame, size_t n)
{
	return n >= frame->tcp + 20 ? FENCE_BLOCKED : FENCE_SAW_MALFORMED;
}

/* Cut after every octet; with the length of the whole (said to be longer than it is) and with one
 * that fits. */
static void test_cut(void)
{
	for (size_t i = 0; i < SHAPES; i++) {
		unsigned good = 0, all = 0;
		struct frame whole;

		if (shapes[i].reason != FENCE_BLOCKED || shapes[i].spec.more)
			continue;
		prepare();
		frame_make(&whole, &shapes[i].spec);
		for (size_t n = ETHERNET_BYTES; n < whole.n; n++, all += 2) {
			struct frame cut = whole;

			cut.n = n;
			good += said(&cut, true, FENCE_SAW_MALFORMED);
			if (n >= whole.ip + 6)
				frame_set_length(&cut, n - whole.ip);
			good += said(&cut, n < whole.tcp + 20, cut_reason(&whole, n));
		}
		kt_ok(good == all, "%s, cut after each of its octets", shapes[i].name);
		if (good != all)
			kt_diag("%u of %u right", good, all);
	}
}

struct patch {
	const char *name;
	bool v6;
	bool in_tcp; /* counted from the TCP header, not the IP header */
	unsigned at;
	uint8_t value;
	bool passes;
	int reason;
};

/* clang-format off */
static const struct patch patches[] = {
	{"IPv4 header of 16 octets", false, false, 0, 0x44, true, FENCE_SAW_MALFORMED},
	{"IPv4 header of no octets", false, false, 0, 0x40, true, FENCE_SAW_MALFORMED},
	{"IPv4 header longer than the packet", false, false, 0, 0x4f, true, FENCE_SAW_MALFORMED},
	{"IP version 5", false, false, 0, 0x55, true, FENCE_SAW_MALFORMED},
	{"IP version 0", true, false, 0, 0x00, true, FENCE_SAW_MALFORMED},
	{"IPv4 in a frame that says so, IPv6 by its version", false, false, 0, 0x60, true, FENCE_SAW_MALFORMED},
	{"IPv4 packet longer than the frame", false, false, 3, 41, true, FENCE_SAW_MALFORMED},
	{"IPv4 packet much longer than the frame", false, false, 2, 0xff, true, FENCE_SAW_MALFORMED},
	{"IPv4 packet that ends in its TCP header", false, false, 3, 39, true, FENCE_SAW_MALFORMED},
	{"IPv4 packet that ends in its IP header", false, false, 3, 19, true, FENCE_SAW_MALFORMED},
	{"IPv6 packet longer than the frame", true, false, 5, 21, true, FENCE_SAW_MALFORMED},
	{"IPv6 packet that ends in its TCP header", true, false, 5, 19, true, FENCE_SAW_MALFORMED},
	{"TCP header of 16 octets: the kernel's to refuse", false, true, 12, 0x40, false, FENCE_BLOCKED},
};
/* clang-format on */

static void test_lengths(void)
{
	const struct frame_spec v4 = {.from = BLOCKED4, .flags = FRAME_SYN};
	const struct frame_spec v6 = {.from = BLOCKED6, .flags = FRAME_SYN};
	struct frame frame;

	prepare();
	for (size_t i = 0; i < sizeof(patches) / sizeof(patches[0]); i++) {
		const struct patch *patch = &patches[i];

		frame_make(&frame, patch->v6 ? &v6 : &v4);
		frame.data[(patch->in_tcp ? frame.tcp : frame.ip) + patch->at] = patch->value;
		kt_ok(said(&frame, patch->passes, patch->reason), "%s", patch->name);
	}
	frame_make(&frame, &v4);
	frame.n += 6; /* Ethernet's padding */
	kt_ok(said(&frame, false, FENCE_BLOCKED), "padding behind an IPv4 packet");
	frame_make(&frame, &v6);
	frame.n += 6;
	kt_ok(said(&frame, false, FENCE_BLOCKED), "padding behind an IPv6 packet");
}

static void test_extension_lengths(void)
{
	struct frame_spec spec = {.from = BLOCKED6, .flags = FRAME_SYN, .extensions = {{60, 8}}};
	struct frame frame;
	bool good = true;

	prepare();
	for (unsigned length = 1; length < 256; length++) {
		frame_make(&frame, &spec);
		frame.data[frame.ip + 40 + 1] = (uint8_t)length;
		good &= said(&frame, true, FENCE_SAW_MALFORMED);
	}
	kt_ok(good, "extension headers that say they are longer than the packet");
	spec.extensions[0] = (struct frame_extension){44, 8};
	frame_make(&frame, &spec);
	frame.data[frame.ip + 40 + 1] = 0xff;
	kt_ok(said(&frame, false, FENCE_BLOCKED), "a fragment header has no length to believe");
}

/* First fragments with ports, without the flags: a SYN in hiding. */
static void test_tiny(void)
{
	const char *from[] = {"198.51.100.1", "2001:db8:2::1", BLOCKED4};

	for (size_t i = 0; i < 3; i++) {
		struct frame_spec spec = {.from = from[i], .flags = FRAME_ACK, .more = true};
		struct rig_counts before;
		struct frame frame;
		bool passes;

		if (i == 1)
			spec.extensions[0] = (struct frame_extension){44, 8};
		prepare();
		frame_make(&frame, &spec);
		frame.n = frame.tcp + 8;
		frame_set_length(&frame, frame.n - frame.ip);
		rig_counts(&before);
		passes = frame_passes(&frame);
		kt_ok(passes == (i < 2) && taken(from[i]) == (i < 2) &&
				rig_packets_since(&before, FENCE_NEW, FENCE_SAW_FRAGMENT) == 1 &&
				rig_packets_since(&before, FENCE_NEW, FENCE_BLOCKED) == (i == 2),
			"a first fragment without the flags counts as a SYN, %s", from[i]);
		frame.n = frame.tcp + 4;
		frame_set_length(&frame, frame.n - frame.ip);
		kt_ok(frame_passes(&frame), "a first fragment of four octets passes, %s", from[i]);
	}
}

/* ---- the limit of SYNs ---- */

static unsigned syns_passed(const char *from, unsigned n)
{
	const struct frame_spec spec = {.from = from, .flags = FRAME_SYN};
	struct frame frame;
	unsigned passed = 0;

	frame_make(&frame, &spec);
	for (unsigned i = 0; i < n; i++)
		passed += frame_passes(&frame);
	return passed;
}

/* What nobody answers is forged for all we know. */
static void test_syns(void)
{
	struct fence_rules two = rules;
	struct fence_totals totals, nothing = {0};
	struct fence_source state;
	struct rig_counts before;
	uint8_t source[16];

	two.source[FENCE_CONNECTIONS][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(2);
	two.source[FENCE_CONNECTIONS][FENCE_BEHAVED] = (struct fence_rate)CASE_BUDGET(3);
	two.all[FENCE_CONNECTIONS][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(2);
	rig_reset(&two);
	rig_listener(NULL, FRAME_PORT);
	rig_counts(&before);
	kt_ok(syns_passed("198.51.100.1", 20) == 2 * FENCE_SYNS_FACTOR &&
			rig_packets_since(&before, FENCE_NEW, FENCE_OVER_CONNECTIONS) ==
				20 - 2 * FENCE_SYNS_FACTOR &&
			rig_packets_since(&before, FENCE_NEW, FENCE_PASS) == 0,
		"a source's SYNs are eight for each connection");
	rig_totals(&totals);
	case_address("198.51.100.1", source);
	totals.syns[FENCE_STRANGER] = 0;
	kt_ok(memcmp(&totals, &nothing, sizeof(totals)) == 0 && !rig_source(source, &state),
		"SYNs take nothing from what all have, and make no record");
	kt_ok(syns_passed("198.51.100.2", 1) == 1, "nor from another source");
	case_address("198.51.100.3", source);
	rig_behaved(source, rig_now_ns() + 3600 * FENCE_NS);
	kt_ok(syns_passed("198.51.100.3", 30) == 3 * FENCE_SYNS_FACTOR,
		"who behaved may send more of them");
	rig_net("198.51.100.4", 32, FENCE_ACTION_ALLOW, 0);
	kt_ok(syns_passed("198.51.100.4", 30) == 30, "who is allowed may send any number");
	kt_ok(!taken("198.51.100.4"), "and none is counted");
}

/* Each from a new source, `n` of them. */
static unsigned first_passed(unsigned from, unsigned n)
{
	unsigned passed = 0;
	char address[48];

	for (unsigned i = from; i < from + n; i++) {
		snprintf(address, sizeof(address), "2001:db8:3:%x::1", i);
		passed += syns_passed(address, 1);
	}
	return passed;
}

/* Who forges a new address each time meets no source's limit. */
static void test_first_syns(void)
{
	struct fence_rules two = rules;
	struct fence_totals totals;
	struct rig_counts before;
	uint8_t source[16];

	two.all[FENCE_CONNECTIONS][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(2);
	rig_reset(&two);
	rig_listener(NULL, FRAME_PORT);
	rig_counts(&before);
	kt_ok(first_passed(0, 100) == 2 * FENCE_SYNS_FACTOR &&
			rig_packets_since(&before, FENCE_NEW, FENCE_OVER_CONNECTIONS_ALL) ==
				100 - 2 * FENCE_SYNS_FACTOR,
		"first SYNs of new sources are eight for each connection that all may have");
	kt_ok(first_passed(50, 50) == 50, "who comes again is let in");
	kt_ok(first_passed(100, 10) == 0, "who is new is not");
	rig_totals(&totals);
	kt_ok(totals.tat[FENCE_CONNECTIONS][FENCE_STRANGER] == 0, "connections were not charged");
	case_address("2001:db8:3:1000::", source);
	rig_behaved(source, rig_now_ns() + 3600 * FENCE_NS);
	kt_ok(first_passed(0x1000, 1) == 1, "who behaved is let in at once");
	case_address("2001:db8:3:1001::", source);
	rig_source_put(source, &(struct fence_source){.passed = 1});
	kt_ok(first_passed(0x1001, 1) == 1, "and who had a connection");
	two.all[FENCE_CONNECTIONS][FENCE_STRANGER] = (struct fence_rate){0};
	rig_reset(&two);
	rig_listener(NULL, FRAME_PORT);
	kt_ok(first_passed(0, 100) == 100, "without that budget all are");
}

static void test_listeners(void)
{
	struct frame_spec spec = {.from = BLOCKED4, .to = "203.0.113.9", .flags = FRAME_SYN};
	struct frame_spec spec6 = {.from = BLOCKED6, .to = "2001:db8:9::9", .flags = FRAME_SYN};
	struct frame frame;

	prepare();
	rig_reset(&rules);
	rig_net("0.0.0.0", 0, FENCE_ACTION_BLOCK, 0);
	rig_net("2001:db8:1::", 48, FENCE_ACTION_BLOCK, 0);
	frame_make(&frame, &spec);
	kt_ok(said(&frame, true, FENCE_REASONS), "no listener: everything passes");
	rig_listener("203.0.113.9", FRAME_PORT);
	rig_listener("2001:db8:9::9", 465);
	kt_ok(said(&frame, false, FENCE_BLOCKED), "a listener at one address");
	spec.to = "203.0.113.10";
	frame_make(&frame, &spec);
	kt_ok(said(&frame, true, FENCE_REASONS), "another address is not the listener's");
	frame_make(&frame, &spec6);
	kt_ok(said(&frame, true, FENCE_REASONS), "another port is not the listener's");
	spec6.port = 465;
	frame_make(&frame, &spec6);
	kt_ok(said(&frame, false, FENCE_BLOCKED), "a listener at one IPv6 address");
}

static void test_settings(void)
{
	const struct frame_spec spec = {.from = BLOCKED4, .flags = FRAME_SYN};
	const struct frame_spec ack = {.from = BLOCKED4, .flags = FRAME_ACK};
	struct fence_rules none = rules;
	struct frame frame, other;

	prepare();
	frame_make(&frame, &spec);
	frame_make(&other, &ack);
	none.abi = 0;
	rig_rules(&none);
	kt_ok(said(&frame, true, FENCE_REASONS) && said(&other, true, FENCE_REASONS),
		"without settings everything passes");
	none.abi = FENCE_ABI + 1;
	rig_rules(&none);
	kt_ok(said(&frame, true, FENCE_REASONS) && said(&other, true, FENCE_REASONS),
		"with another version's settings everything passes");
	rig_rules(&rules);
	kt_ok(said(&frame, false, FENCE_BLOCKED), "new settings are heard at once");
}

static void test_penalties(void)
{
	struct frame_spec spec = {.from = "198.51.100.1", .flags = FRAME_ACK, .payload = 10};
	uint8_t address[16];
	struct fence_source state;
	struct frame frame;

	prepare();
	case_address(spec.from, address);
	rig_penalty(address, rig_now_ns() + FENCE_NS * 3600);
	frame_make(&frame, &spec);
	kt_ok(said(&frame, true, FENCE_REASONS), "under a penalty what is open stays open");
	spec.flags = FRAME_SYN;
	frame_make(&frame, &spec);
	kt_ok(said(&frame, false, FENCE_PENALTY) && !rig_source(address, &state),
		"under a penalty a SYN is dropped, and makes no record");
	rig_source_put(address, &(struct fence_source){0});
	kt_ok(said(&frame, false, FENCE_PENALTY) && rig_source(address, &state) &&
			state.refused == 1 && state.passed == 0 && state.seen_ns > 0,
		"the SYN is told to the source's record where there is one");
	case_address(BLOCKED4, address);
	spec.from = BLOCKED4;
	frame_make(&frame, &spec);
	kt_ok(said(&frame, false, FENCE_BLOCKED) && !rig_source(address, &state),
		"who is blocked is given no record");
}

static void test_samples(void)
{
	struct frame_spec spec = {.from = BLOCKED4, .flags = FRAME_SYN, .payload = 3};
	struct fence_sample samples[8];
	struct fence_rules some = rules;
	uint8_t address[16];
	struct frame frame;
	size_t n;

	prepare();
	frame_make(&frame, &spec);
	for (int i = 0; i < 10; i++)
		KT_MUST(!frame_passes(&frame));
	kt_ok(rig_samples(samples, 8) == 0, "no samples are taken unasked");
	some.sample = 4;
	rig_rules(&some);
	for (int i = 0; i < 12; i++)
		KT_MUST(!frame_passes(&frame));
	n = rig_samples(samples, 8);
	/* Each CPU counts for itself. */
	kt_ok(n >= 1 && n <= 3, "every fourth refusal is a sample");
	case_address(BLOCKED4, address);
	kt_ok(n >= 1 && memcmp(samples[0].address, address, 16) == 0 &&
			samples[0].port == FRAME_PORT && samples[0].class == FENCE_NEW &&
			samples[0].reason == FENCE_BLOCKED && samples[0].hook == FENCE_HOOK_XDP &&
			samples[0].at_ns > 0 && samples[0].at_ns <= rig_now_ns(),
		"what a sample says");
	some.sample = 1;
	rig_rules(&some);
	for (int i = 0; i < 5000; i++)
		KT_MUST(!frame_passes(&frame));
	kt_ok(true, "a full ring buffer takes no more, and nothing comes of it");
}

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void test_random(void)
{
	uint32_t state = 2463534242u;
	struct frame frame;
	unsigned passed = 0;

	prepare();
	for (unsigned i = 0; i < RANDOM_FRAMES; i++) {
		frame.n = ETHERNET_BYTES + next_random(&state) % 120;
		for (size_t j = 0; j < frame.n; j++)
			frame.data[j] = (uint8_t)next_random(&state);
		if (i % 2 == 0) { /* else hardly one would be looked at */
			frame.data[12] = i % 4 == 0 ? 0x08 : 0x86;
			frame.data[13] = i % 4 == 0 ? 0x00 : 0xdd;
		}
		passed += frame_passes(&frame);
	}
	kt_ok(passed == RANDOM_FRAMES, "%d frames of random octets: all pass", RANDOM_FRAMES);
	for (unsigned i = 0; i < CHANGED_FRAMES; i++) {
		frame_make(&frame, &shapes[next_random(&state) % SHAPES].spec);
		for (unsigned j = next_random(&state) % 4 + 1; j > 0; j--)
			frame.data[12 + next_random(&state) % (frame.n - 12)] =
				(uint8_t)next_random(&state);
		frame.n -= next_random(&state) % 3 == 0 ? next_random(&state) % 20 : 0;
		frame_passes(&frame);
	}
	kt_ok(true, "%d frames with octets changed: each passes or is dropped", CHANGED_FRAMES);
}

int main(void)
{
	rig_open();
	rig_print_sizes();
	test_shapes();
	test_cut();
	test_lengths();
	test_extension_lengths();
	test_tiny();
	test_syns();
	test_first_syns();
	test_listeners();
	test_settings();
	test_penalties();
	test_samples();
	test_random();
	case_run_all(&place_xdp);
	rig_close();
	return kt_done();
}
