/* SPDX-License-Identifier: MIT */
/*
 * pieces: a session's octets are charged several segments at a time: when enough segments or octets
 * have come, when its class changes, and at its end; none twice, none never.
 */
#include <string.h>
#include <sys/socket.h>

#include "tests/bpf/ground.h"
#include "tests/bpf/rig.h"
#include "tests/bpf/sockets.h"

#define A4 "192.0.2.1"
#define B4 "192.0.2.2"

static const struct fence_rules wide = {
	.abi = FENCE_ABI, .bits_v4 = 32, .bits_v6 = 64, .hash_key = {11, 22}};

static struct fence_source source_of(const char *text)
{
	struct fence_source state;
	uint8_t address[16];

	case_address(text, address);
	rig_source(address, &state);
	return state;
}

static bool counted(const struct rig_counts *before, enum fence_class class,
	enum fence_reason reason, uint64_t packets, uint64_t bytes)
{
	return rig_packets_since(before, class, reason) == packets &&
	       rig_bytes_since(before, class, reason) == bytes;
}

/* One segment, which the server has received when this returns. */
static void push(const struct pair *pair, size_t n)
{
	static char octets[60000];
	size_t got = 0;

	KT_MUST(send(pair->client, octets, n, MSG_NOSIGNAL) == (ssize_t)n);
	while (got < n) {
		ssize_t more = recv(pair->server, octets, sizeof(octets), 0);

		KT_MUST(more > 0 || sockets_wait(pair->server));
		got += more > 0 ? (size_t)more : 0;
	}
}

static struct pair begin(const struct fence_rules *rules, struct rig_counts *before)
{
	enum fence_reason reason;
	struct pair pair;

	rig_reset(rules);
	pair = sockets_connect(sockets_client(A4), &reason);
	KT_MUST(reason == FENCE_PASS || reason == FENCE_ALLOWED);
	rig_counts(before);
	return pair;
}

static void test_segments(void)
{
	struct rig_counts before;
	struct pair pair = begin(&wide, &before);

	for (int i = 0; i < FENCE_PIECE_SEGMENTS - 1; i++)
		push(&pair, 10);
	kt_ok(counted(&before, FENCE_PLAIN, FENCE_PASS, 0, 0) && source_of(A4).plain_bytes == 0,
		"a few segments are not charged yet");
	push(&pair, 10);
	kt_ok(counted(&before, FENCE_PLAIN, FENCE_PASS, FENCE_PIECE_SEGMENTS,
		      10 * FENCE_PIECE_SEGMENTS) &&
			source_of(A4).plain_bytes == 10 * FENCE_PIECE_SEGMENTS,
		"one more, and all of them are");
	push(&pair, 10);
	sockets_shut(&pair);
	kt_ok(counted(&before, FENCE_PLAIN, FENCE_PASS, FENCE_PIECE_SEGMENTS + 1,
		      10 * FENCE_PIECE_SEGMENTS + 10) &&
			source_of(A4).plain_bytes == 10 * FENCE_PIECE_SEGMENTS + 10,
		"the rest is charged at the end");
}

static void test_octets(void)
{
	struct rig_counts before;
	struct pair pair = begin(&wide, &before);

	push(&pair, FENCE_PIECE_BYTES - 1);
	kt_ok(counted(&before, FENCE_PLAIN, FENCE_PASS, 0, 0), "an octet less than a piece");
	push(&pair, 1);
	kt_ok(counted(&before, FENCE_PLAIN, FENCE_PASS, 2, FENCE_PIECE_BYTES), "a piece");
	push(&pair, 50000);
	kt_ok(rig_bytes_since(&before, FENCE_PLAIN, FENCE_PASS) > FENCE_PIECE_BYTES,
		"what is longer than a piece is charged at once");
	sockets_shut(&pair);
	kt_ok(source_of(A4).plain_bytes == FENCE_PIECE_BYTES + 50000 &&
			rig_bytes_since(&before, FENCE_PLAIN, FENCE_PASS) ==
				FENCE_PIECE_BYTES + 50000,
		"nothing is charged twice");
}

static void test_classes(void)
{
	struct rig_counts before;
	struct pair pair = begin(&wide, &before);

	push(&pair, 5);
	rig_mark(pair.server, FENCE_HANDSHAKE);
	kt_ok(counted(&before, FENCE_PLAIN, FENCE_PASS, 0, 0),
		"a new class by itself charges nothing");
	push(&pair, 6);
	kt_ok(counted(&before, FENCE_PLAIN, FENCE_PASS, 1, 5) &&
			counted(&before, FENCE_HANDSHAKE, FENCE_PASS, 0, 0),
		"the first segment of a class charges what was of the one before");
	rig_mark(pair.server, FENCE_UPGRADED);
	push(&pair, 7);
	push(&pair, 8);
	sockets_shut(&pair);
	kt_ok(counted(&before, FENCE_PLAIN, FENCE_PASS, 1, 5) &&
			counted(&before, FENCE_HANDSHAKE, FENCE_PASS, 1, 6) &&
			counted(&before, FENCE_UPGRADED, FENCE_PASS, 2, 15) &&
			source_of(A4).plain_bytes == 11 && source_of(A4).upgraded_bytes == 15,
		"each octet is charged as what it was");
}

static void test_budget(void)
{
	struct fence_rules rules = wide;
	struct rig_counts before;
	struct pair pair, other;
	enum fence_reason reason;

	rules.piece = 3;
	rules.source[FENCE_PLAIN_BYTES][FENCE_STRANGER] = (struct fence_rate)CASE_BUDGET(25);
	pair = begin(&rules, &before);
	for (int i = 0; i < 3; i++)
		push(&pair, 10);
	kt_ok(counted(&before, FENCE_PLAIN, FENCE_OVER_PLAIN_BYTES, 3, 30) &&
			source_of(A4).paused == 3,
		"a piece over the budget is over it as a whole");
	other = sockets_connect(sockets_client(B4), &reason);
	push(&other, 30);
	sockets_shut(&other);
	kt_ok(source_of(B4).paused == 1, "who leaves with a debt has it");
	sockets_shut(&pair);
}

static void test_allowed(void)
{
	struct rig_counts before;
	enum fence_reason reason;
	struct pair pair;

	rig_reset(&wide);
	rig_net(A4, 32, FENCE_ACTION_ALLOW, 0);
	pair = sockets_connect(sockets_client(A4), &reason);
	rig_counts(&before);
	push(&pair, 20);
	push(&pair, 20);
	sockets_shut(&pair);
	kt_ok(counted(&before, FENCE_PLAIN, FENCE_ALLOWED, 2, 40) && source_of(A4).seen_ns == 0,
		"an allowed network's octets are counted, and charged to nobody");
}

static int test(void)
{
	rig_open();
	sockets_open();
	test_segments();
	test_octets();
	test_classes();
	test_budget();
	test_allowed();
	sockets_close();
	rig_close();
	return kt_done();
}

int main(void)
{
	return ground_run(test);
}
