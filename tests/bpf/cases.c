/* SPDX-License-Identifier: MIT */
/* cases: the table. See cases.h; case_run.c walks it. */
#include "tests/bpf/cases.h"

#define S  FENCE_STRANGER
#define B  FENCE_BEHAVED
#define A4 "192.0.2.1"
#define B4 "192.0.2.2"
#define C4 "198.51.100.1"
#define D4 "203.0.113.1"
#define A6 "2001:db8:1:1::1"
#define B6 "2001:db8:1:1::2"
#define C6 "2001:db8:1:2::1"
#define D6 "2001:db8:2:1::1"

#define ALLOW FENCE_ACTION_ALLOW
#define BLOCK FENCE_ACTION_BLOCK

/* ---- steps ---- */

#define CONNECT(n, from, why)                                                                      \
	{                                                                                          \
		.kind = CASE_CONNECT, .client = n, .address = from, .want = FENCE_##why            \
	}
#define SEND(n, octets, why)                                                                       \
	{                                                                                          \
		.kind = CASE_SEND, .client = n, .bytes = octets, .want = FENCE_##why               \
	}
#define SHAKE(n, why)                                                                              \
	{                                                                                          \
		.kind = CASE_SHAKE, .client = n, .want = FENCE_##why                               \
	}
#define CLOSE(n)                                                                                   \
	{                                                                                          \
		.kind = CASE_CLOSE, .client = n                                                    \
	}
#define SHAKEN(n)                                                                                  \
	{                                                                                          \
		.kind = CASE_SHAKEN, .client = n                                                   \
	}
#define BROKEN(n)                                                                                  \
	{                                                                                          \
		.kind = CASE_BROKEN, .client = n                                                   \
	}

/* clang-format off */
const struct fence_case fence_cases[] = {
	{
		.name = "no limits: everything passes",
		.steps = {CONNECT(0, A4, PASS), SEND(0, 30000, PASS), CONNECT(1, A6, PASS), SEND(1, 30000, PASS),
			CONNECT(2, A4, PASS), CLOSE(0), CLOSE(1), CONNECT(3, A4, PASS)},
	},

	/* -- new connections -- */
	{
		.name = "a source's connections",
		.rules.source[FENCE_CONNECTIONS][S] = CASE_BUDGET(2),
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, A4, PASS), CONNECT(2, A4, OVER_CONNECTIONS),
			CONNECT(3, A4, OVER_CONNECTIONS), CONNECT(4, B4, PASS)},
	},
	{
		.name = "a source's connections, IPv6",
		.rules.source[FENCE_CONNECTIONS][S] = CASE_BUDGET(2),
		.steps = {CONNECT(0, A6, PASS), CONNECT(1, A6, PASS), CONNECT(2, A6, OVER_CONNECTIONS),
			CONNECT(3, C6, PASS), CONNECT(4, A4, PASS)},
	},
	{
		.name = "closing gives no connection back",
		.rules.source[FENCE_CONNECTIONS][S] = CASE_BUDGET(1),
		.steps = {CONNECT(0, A4, PASS), CLOSE(0), CONNECT(1, A4, OVER_CONNECTIONS)},
	},
	{
		.name = "all strangers' connections",
		.rules.all[FENCE_CONNECTIONS][S] = CASE_BUDGET(3),
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, B4, PASS), CONNECT(2, A6, PASS),
			CONNECT(3, C4, OVER_CONNECTIONS_ALL), CONNECT(4, D6, OVER_CONNECTIONS_ALL)},
	},
	{
		.name = "a source's budget is asked before the one behind it",
		.rules.source[FENCE_CONNECTIONS][S] = CASE_BUDGET(1),
		.rules.all[FENCE_CONNECTIONS][S] = CASE_BUDGET(2),
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, A4, OVER_CONNECTIONS),
			CONNECT(2, A4, OVER_CONNECTIONS), CONNECT(3, B4, PASS),
			CONNECT(4, C4, OVER_CONNECTIONS_ALL), CONNECT(5, C4, OVER_CONNECTIONS_ALL)},
	},
	{
		.name = "who behaved has a budget of its own",
		.rules.source[FENCE_CONNECTIONS] = {CASE_BUDGET(1), CASE_BUDGET(3)},
		.behaved = {{A4}},
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, A4, PASS), CONNECT(2, A4, PASS),
			CONNECT(3, A4, OVER_CONNECTIONS), CONNECT(4, B4, PASS), CONNECT(5, B4, OVER_CONNECTIONS)},
	},
	{
		.name = "strangers cannot use up what is there for who behaved",
		.rules.all[FENCE_CONNECTIONS] = {CASE_BUDGET(1), CASE_BUDGET(2)},
		.behaved = {{A4}},
		.steps = {CONNECT(0, B4, PASS), CONNECT(1, C4, OVER_CONNECTIONS_ALL), CONNECT(2, A4, PASS),
			CONNECT(3, A4, PASS), CONNECT(4, A4, OVER_CONNECTIONS_ALL)},
	},
	{
		.name = "good conduct is forgotten",
		.rules.source[FENCE_CONNECTIONS] = {CASE_BUDGET(1), CASE_BUDGET(3)},
		.behaved = {{A4, .expired = true}},
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, A4, OVER_CONNECTIONS)},
	},

	/* -- at a time -- */
	{
		.name = "a source's open connections",
		.rules.source_max[FENCE_OPEN][S] = 2,
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, A4, PASS), CONNECT(2, A4, OVER_OPEN),
			CONNECT(3, B4, PASS), CLOSE(0), CONNECT(4, A4, PASS), CONNECT(5, A4, OVER_OPEN)},
	},
	{
		.name = "a source's open connections, IPv6",
		.rules.source_max[FENCE_OPEN][S] = 1,
		.steps = {CONNECT(0, A6, PASS), CONNECT(1, B6, OVER_OPEN), CLOSE(0), CONNECT(2, B6, PASS)},
	},
	{
		.name = "all strangers' open connections",
		.rules.all_max[FENCE_OPEN] = {2, 1},
		.behaved = {{A4}},
		.steps = {CONNECT(0, B4, PASS), CONNECT(1, C4, PASS), CONNECT(2, D4, OVER_OPEN_ALL),
			CONNECT(3, A4, PASS), CONNECT(4, A4, OVER_OPEN_ALL), CLOSE(0), CONNECT(5, D4, PASS)},
	},
	{
		.name = "open connections of who behaved",
		.rules.source_max[FENCE_OPEN] = {1, 2},
		.behaved = {{A4}},
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, A4, PASS), CONNECT(2, A4, OVER_OPEN)},
	},
	{
		.name = "what is full takes nothing from a rate",
		.rules.source_max[FENCE_OPEN][S] = 1,
		.rules.source[FENCE_CONNECTIONS][S] = CASE_BUDGET(2),
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, A4, OVER_OPEN), CONNECT(2, A4, OVER_OPEN),
			CLOSE(0), CONNECT(3, A4, PASS), CLOSE(3), CONNECT(4, A4, OVER_CONNECTIONS)},
	},

	/* -- prefixes -- */
	{
		.name = "addresses of an IPv4 /24 are one source",
		.rules = {.bits_v4 = 24, .source[FENCE_CONNECTIONS][S] = CASE_BUDGET(2)},
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, B4, PASS), CONNECT(2, "192.0.2.200", OVER_CONNECTIONS),
			CONNECT(3, C4, PASS)},
	},
	{
		.name = "addresses of an IPv6 /64 are one source",
		.rules.source[FENCE_CONNECTIONS][S] = CASE_BUDGET(2),
		.steps = {CONNECT(0, A6, PASS), CONNECT(1, B6, PASS), CONNECT(2, "2001:db8:1:1:ffff::9", OVER_CONNECTIONS),
			CONNECT(3, C6, PASS)},
	},
	{
		.name = "an IPv6 /48 as a source",
		.rules = {.bits_v6 = 48, .source[FENCE_CONNECTIONS][S] = CASE_BUDGET(2)},
		.steps = {CONNECT(0, A6, PASS), CONNECT(1, C6, PASS), CONNECT(2, B6, OVER_CONNECTIONS), CONNECT(3, D6, PASS)},
	},
	{
		.name = "one IPv6 address as a source",
		.rules = {.bits_v6 = 128, .source[FENCE_CONNECTIONS][S] = CASE_BUDGET(1)},
		.steps = {CONNECT(0, A6, PASS), CONNECT(1, B6, PASS), CONNECT(2, A6, OVER_CONNECTIONS)},
	},

	/* -- lists -- */
	{
		.name = "an allowed network is not limited, and takes nothing from others",
		.rules = {
			.source[FENCE_CONNECTIONS][S] = CASE_BUDGET(1),
			.all[FENCE_CONNECTIONS][S] = CASE_BUDGET(1),
			.source[FENCE_PLAIN_BYTES][S] = CASE_BUDGET(10),
			.all[FENCE_PLAIN_BYTES][S] = CASE_BUDGET(100),
			.source_max[FENCE_OPEN][S] = 1,
			.all_max[FENCE_OPEN][S] = 1,
		},
		.nets = {{"192.0.2.0", 24, ALLOW}},
		.steps = {CONNECT(0, A4, ALLOWED), CONNECT(1, A4, ALLOWED), CONNECT(2, B4, ALLOWED),
			SEND(0, 5000, ALLOWED), CONNECT(3, C4, PASS), SEND(3, 10, PASS), CLOSE(0), CLOSE(1)},
	},
	{
		.name = "a blocked network",
		.nets = {{"192.0.2.0", 24, BLOCK}},
		.steps = {CONNECT(0, A4, BLOCKED), CONNECT(1, B4, BLOCKED), CONNECT(2, C4, PASS), CONNECT(3, A6, PASS)},
	},
	{
		.name = "a blocked IPv6 network",
		.nets = {{"2001:db8:1::", 48, BLOCK}},
		.steps = {CONNECT(0, A6, BLOCKED), CONNECT(1, C6, BLOCKED), CONNECT(2, D6, PASS), CONNECT(3, A4, PASS)},
	},
	{
		.name = "one blocked address",
		.nets = {{A4, 32, BLOCK}, {A6, 128, BLOCK}},
		.steps = {CONNECT(0, A4, BLOCKED), CONNECT(1, B4, PASS), CONNECT(2, A6, BLOCKED), CONNECT(3, B6, PASS)},
	},
	{
		.name = "all of IPv4 is blocked, and none of IPv6",
		.nets = {{"0.0.0.0", 0, BLOCK}},
		.steps = {CONNECT(0, A4, BLOCKED), CONNECT(1, D4, BLOCKED), CONNECT(2, A6, PASS)},
	},
	{
		.name = "the longest prefix decides: allowed inside blocked",
		.nets = {{"192.0.2.0", 24, BLOCK}, {A4, 32, ALLOW}, {"2001:db8::", 32, BLOCK}, {"2001:db8:1:1::", 64, ALLOW}},
		.steps = {CONNECT(0, A4, ALLOWED), CONNECT(1, B4, BLOCKED), CONNECT(2, A6, ALLOWED), CONNECT(3, C6, BLOCKED)},
	},
	{
		.name = "the longest prefix decides: blocked inside allowed",
		.nets = {{"192.0.2.0", 24, ALLOW}, {"192.0.2.0", 31, BLOCK}, {"2001:db8:1::", 48, ALLOW}, {C6, 128, BLOCK}},
		.steps = {CONNECT(0, A4, BLOCKED), CONNECT(1, B4, ALLOWED), CONNECT(2, A6, ALLOWED), CONNECT(3, C6, BLOCKED)},
	},
	{
		.name = "an expired entry says nothing",
		.rules.source[FENCE_CONNECTIONS][S] = CASE_BUDGET(1),
		.nets = {{A4, 32, BLOCK, .expired = true}, {B4, 32, ALLOW, .expired = true}},
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, B4, PASS), CONNECT(2, B4, OVER_CONNECTIONS)},
	},

	/* -- penalties -- */
	{
		.name = "a penalty shuts its source out",
		.penalties = {{A4}, {A6}},
		.steps = {CONNECT(0, A4, PENALTY), CONNECT(1, B4, PASS), CONNECT(2, B6, PENALTY), CONNECT(3, C6, PASS)},
	},
	{
		.name = "a penalty is over",
		.penalties = {{A4, .expired = true}},
		.steps = {CONNECT(0, A4, PASS)},
	},
	{
		.name = "a penalty of a /24",
		.rules.bits_v4 = 24,
		.penalties = {{A4}},
		.steps = {CONNECT(0, B4, PENALTY), CONNECT(1, C4, PASS)},
	},
	{
		.name = "the lists come before penalties, penalties before good conduct",
		.nets = {{A4, 32, ALLOW}},
		.penalties = {{A4}, {B4}},
		.behaved = {{B4}},
		.steps = {CONNECT(0, A4, ALLOWED), CONNECT(1, B4, PENALTY)},
	},

	/* -- octets -- */
	{
		.name = "a source's plaintext octets",
		.rules.source[FENCE_PLAIN_BYTES][S] = CASE_BUDGET(1000),
		.steps = {CONNECT(0, A4, PASS), SEND(0, 600, PASS), SEND(0, 400, PASS), SEND(0, 1, OVER_PLAIN_BYTES),
			SEND(0, 1, OVER_PLAIN_BYTES), CONNECT(1, B4, PASS), SEND(1, 1000, PASS)},
	},
	{
		.name = "a source's plaintext octets, IPv6",
		.rules.source[FENCE_PLAIN_BYTES][S] = CASE_BUDGET(1000),
		.steps = {CONNECT(0, A6, PASS), SEND(0, 999, PASS), SEND(0, 2, OVER_PLAIN_BYTES)},
	},
	{
		.name = "connections of a source share its octets",
		.rules.source[FENCE_PLAIN_BYTES][S] = CASE_BUDGET(1000),
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, A4, PASS), SEND(0, 600, PASS), SEND(1, 600, OVER_PLAIN_BYTES),
			SEND(0, 1, OVER_PLAIN_BYTES)},
	},
	{
		.name = "all plaintext octets",
		.rules.all[FENCE_PLAIN_BYTES] = {CASE_BUDGET(1000), CASE_BUDGET(100)},
		.behaved = {{C4}},
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, B4, PASS), CONNECT(2, C4, PASS), SEND(0, 1000, PASS),
			SEND(1, 1, OVER_PLAIN_BYTES_ALL), SEND(2, 100, PASS), SEND(2, 1, OVER_PLAIN_BYTES_ALL)},
	},
	{
		.name = "a source's plaintext segments",
		.rules.source[FENCE_PLAIN_PACKETS][S] = CASE_BUDGET(3),
		.steps = {CONNECT(0, A4, PASS), SEND(0, 1, PASS), SEND(0, 1000, PASS), SEND(0, 1, PASS),
			SEND(0, 1, OVER_PLAIN_PACKETS), CONNECT(1, B4, PASS), SEND(1, 1, PASS)},
	},
	{
		.name = "all plaintext segments",
		.rules.all[FENCE_PLAIN_PACKETS][S] = CASE_BUDGET(2),
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, A6, PASS), SEND(0, 1, PASS), SEND(1, 1, PASS),
			SEND(0, 1, OVER_PLAIN_PACKETS_ALL)},
	},
	{
		.name = "octets are named before segments, a source's before all",
		.rules = {
			.source[FENCE_PLAIN_BYTES][S] = CASE_BUDGET(10),
			.all[FENCE_PLAIN_BYTES][S] = CASE_BUDGET(10),
			.source[FENCE_PLAIN_PACKETS][S] = CASE_BUDGET(1),
			.all[FENCE_PLAIN_PACKETS][S] = CASE_BUDGET(1),
		},
		.steps = {CONNECT(0, A4, PASS), SEND(0, 1, PASS), SEND(0, 1, OVER_PLAIN_PACKETS),
			SEND(0, 100, OVER_PLAIN_BYTES)},
	},
	{
		.name = "plaintext octets of who behaved",
		.rules.source[FENCE_PLAIN_BYTES] = {CASE_BUDGET(10), CASE_BUDGET(1000)},
		.behaved = {{A4}},
		.steps = {CONNECT(0, A4, PASS), SEND(0, 1000, PASS), SEND(0, 1, OVER_PLAIN_BYTES), CONNECT(1, B4, PASS),
			SEND(1, 11, OVER_PLAIN_BYTES)},
	},
	{
		.name = "a session that shakes hands counts as plaintext",
		.rules.source[FENCE_PLAIN_BYTES][S] = CASE_BUDGET(1000),
		.steps = {CONNECT(0, A4, PASS), SHAKE(0, PASS), SEND(0, 1000, PASS), SEND(0, 1, OVER_PLAIN_BYTES)},
	},
	{
		.name = "upgraded octets have a budget of their own",
		.rules = {
			.source[FENCE_PLAIN_BYTES][S] = CASE_BUDGET(100),
			.source[FENCE_PLAIN_PACKETS][S] = CASE_BUDGET(2),
			.source[FENCE_UPGRADED_BYTES][S] = CASE_BUDGET(1000),
		},
		.steps = {CONNECT(0, A4, PASS), SEND(0, 200, OVER_PLAIN_BYTES), SHAKE(0, PASS), SHAKEN(0),
			SEND(0, 400, PASS), SEND(0, 600, PASS), SEND(0, 1, OVER_UPGRADED_BYTES),
			CONNECT(1, B4, PASS), SHAKE(1, PASS), SHAKEN(1), SEND(1, 1000, PASS)},
	},
	{
		.name = "all upgraded octets",
		.rules.all[FENCE_UPGRADED_BYTES] = {CASE_BUDGET(1000), CASE_BUDGET(1000)},
		.behaved = {{C4}},
		.steps = {CONNECT(0, A4, PASS), SHAKE(0, PASS), SHAKEN(0), CONNECT(1, A6, PASS), SHAKE(1, PASS), SHAKEN(1),
			SEND(0, 500, PASS), SEND(1, 600, OVER_UPGRADED_BYTES_ALL), CONNECT(2, C4, PASS), SHAKE(2, PASS),
			SHAKEN(2), SEND(2, 1000, PASS)},
	},

	/* -- handshakes -- */
	{
		.name = "a source's handshakes",
		.rules.source[FENCE_HANDSHAKES][S] = CASE_BUDGET(2),
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, A4, PASS), CONNECT(2, A4, PASS), CONNECT(3, B4, PASS),
			SHAKE(0, PASS), SHAKEN(0), SHAKE(1, PASS), SHAKEN(1), SHAKE(2, OVER_HANDSHAKES), SHAKE(3, PASS)},
	},
	{
		.name = "all handshakes",
		.rules.all[FENCE_HANDSHAKES] = {CASE_BUDGET(1), CASE_BUDGET(1)},
		.behaved = {{C4}},
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, B4, PASS), CONNECT(2, C4, PASS), SHAKE(0, PASS), SHAKEN(0),
			SHAKE(1, OVER_HANDSHAKES_ALL), SHAKE(2, PASS)},
	},
	{
		.name = "a source's unfinished handshakes",
		.rules.source_max[FENCE_SHAKING][S] = 1,
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, A4, PASS), CONNECT(2, B4, PASS), SHAKE(0, PASS),
			SHAKE(1, OVER_SHAKING), SHAKE(2, PASS), SHAKEN(0), SHAKE(1, PASS), BROKEN(1)},
	},
	{
		.name = "all unfinished handshakes",
		.rules.all_max[FENCE_SHAKING][S] = 1,
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, B4, PASS), SHAKE(0, PASS), SHAKE(1, OVER_SHAKING_ALL),
			CLOSE(0), SHAKE(1, PASS)},
	},
	{
		.name = "strikes make a penalty",
		.rules = {.strikes_max = 2, .penalty_ns = 3600 * FENCE_NS, .source[FENCE_HANDSHAKES][S] = CASE_BUDGET(1)},
		.steps = {CONNECT(0, A4, PASS), CONNECT(1, A4, PASS), SHAKE(0, PASS), BROKEN(0), SHAKE(1, OVER_HANDSHAKES),
			CONNECT(2, A4, PENALTY), CONNECT(3, B4, PASS)},
	},
	{
		.name = "an allowed network's handshakes are not limited",
		.rules = {
			.source[FENCE_HANDSHAKES][S] = CASE_BUDGET(1),
			.all[FENCE_HANDSHAKES][S] = CASE_BUDGET(1),
			.source_max[FENCE_SHAKING][S] = 1,
			.strikes_max = 1,
			.penalty_ns = 3600 * FENCE_NS,
		},
		.nets = {{A4, 32, ALLOW}},
		.steps = {CONNECT(0, A4, ALLOWED), CONNECT(1, A4, ALLOWED), SHAKE(0, ALLOWED), SHAKE(1, ALLOWED),
			BROKEN(0), BROKEN(1), CONNECT(2, A4, ALLOWED), CONNECT(3, B4, PASS), SHAKE(3, PASS)},
	},
};
/* clang-format on */

const size_t fence_cases_n = sizeof(fence_cases) / sizeof(fence_cases[0]);
