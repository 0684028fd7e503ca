/* SPDX-License-Identifier: MIT */
/* Unit tests of config/fence.c: the fence's section as a whole, and the other lists of networks. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/network.h"

#define P "etc/p.conf:"
#define BASE                                                                                       \
	"hostname = a.example\n"                                                                   \
	"policy { relay_domains = { b.example } }\n"                                               \
	"route r { domains = { \"*\" } next_hops = { mx } }\n"
#define LISTEN "listener l { address = \"::1\" port = 25 tls = none }\n"

static void expect_budgets(const char *name, const struct fence_budgets *budgets, uint64_t rate,
	uint64_t burst, uint64_t all_rate, uint64_t all_burst)
{
	cr_expect_eq(budgets->source.rate, rate, "%s", name);
	cr_expect_eq(budgets->source.burst, burst, "%s", name);
	cr_expect_eq(budgets->all.rate, all_rate, "%s_all", name);
	cr_expect_eq(budgets->all.burst, all_burst, "%s_all", name);
}

static void expect_texts(
	const char *name, const char *const *list, size_t n, const char *const *wanted)
{
	size_t i = 0;

	for (; i < n && wanted[i]; i++)
		cr_expect_str_eq(list[i], wanted[i], "%s", name);
	cr_expect_eq(i, n, "%s has more", name);
	cr_expect_null(wanted[i], "%s lacks %s", name, wanted[i]);
}

#define TEXTS(...) ((const char *const[]){__VA_ARGS__ NULL})

/* With the section left out, and with an empty one. */
Test(fence, defaults)
{
	static const char *const texts[] = {BASE LISTEN, BASE LISTEN "fence { }"};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct config *config = parse_good(texts[i]);
		const struct fence_settings *fence = &config->fence;

		cr_expect_eq(fence->mode, FENCE_MODE_AUTO);
		cr_expect_eq(fence->interfaces_n, 0);
		cr_expect_null(fence->pin);
		cr_expect_eq(fence->prefix_v4, 32);
		cr_expect_eq(fence->prefix_v6, 64);
		cr_expect_eq(fence->sources_max, 65536);
		expect_budgets("connections", &fence->connections, 50, 500, 2000, 10000);
		expect_budgets("plain_bytes", &fence->plain_bytes, 1048576, 67108864, 134217728,
			1073741824);
		expect_budgets(
			"plain_packets", &fence->plain_packets, 2000, 100000, 200000, 2000000);
		expect_budgets("handshakes", &fence->handshakes, 20, 200, 500, 2000);
		expect_budgets("upgraded_bytes", &fence->upgraded_bytes, 16777216, 268435456,
			536870912, 4294967296);
		cr_expect_eq(fence->connections_open, 100);
		cr_expect_eq(fence->connections_open_all, 8000);
		cr_expect_eq(fence->handshakes_open, 20);
		cr_expect_eq(fence->handshakes_open_all, 1000);
		cr_expect_eq(fence->behaved_factor, 10);
		cr_expect_eq(fence->behaved_ms, 86400000);
		cr_expect_eq(fence->strikes_max, 20);
		cr_expect_eq(fence->penalty_ms, 60000);
		cr_expect_eq(fence->sample, 100);
		expect_texts(
			"allow", fence->allow, fence->allow_n, TEXTS("127.0.0.0/8", "::1/128", ));
		cr_expect_eq(fence->block_n, 0);
		cr_expect_eq(config->listeners[0].proxy_n, 0);
		cr_expect_eq(config->smtp.xclient_n, 0);
		config_close(config);
	}
}

static const char everything[] = BASE
	"listener l { address = \"::1\" port = 25 tls = none proxy = { 192.0.2.0/24, ::1 } }\n"
	"smtp { xclient = { \"10.0.0.1\" } }\n"
	"fence { mode = kernel interfaces = { eth0, \"br-lan\" } pin = \"bpf\"\n"
	"  prefix_v4 = 24 prefix_v6 = 48 sources_max = 1024\n"
	"  connections = 1/2 connections_all = 3/4 plain_bytes = \"5/6\" plain_bytes_all = none\n"
	"  plain_packets = none plain_packets_all = \"none\" handshakes = 7/8\n"
	"  handshakes_all = 9/10 upgraded_bytes = 11/12 upgraded_bytes_all = 13/14\n"
	"  connections_open = 15 connections_open_all = 16 handshakes_open = 17\n"
	"  handshakes_open_all = 18 behaved_factor = 19 behaved_seconds = 20 strikes_max = 0\n"
	"  penalty_seconds = 21 sample = 0 }\n"
	"fence { allow = { 10.0.0.0/8 } block = { 2001:db8::/32, 10.1.0.0/16 } }\n";

Test(fence, everything_set)
{
	struct config *config = parse_good(everything);
	const struct fence_settings *fence = &config->fence;

	cr_expect_eq(fence->mode, FENCE_MODE_KERNEL);
	expect_texts(
		"interfaces", fence->interfaces, fence->interfaces_n, TEXTS("eth0", "br-lan", ));
	cr_expect_str_eq(fence->pin, "etc/bpf");
	cr_expect_eq(fence->prefix_v4, 24);
	cr_expect_eq(fence->prefix_v6, 48);
	cr_expect_eq(fence->sources_max, 1024);
	expect_budgets("connections", &fence->connections, 1, 2, 3, 4);
	expect_budgets("plain_bytes", &fence->plain_bytes, 5, 6, 0, 0);
	expect_budgets("plain_packets", &fence->plain_packets, 0, 0, 0, 0);
	expect_budgets("handshakes", &fence->handshakes, 7, 8, 9, 10);
	expect_budgets("upgraded_bytes", &fence->upgraded_bytes, 11, 12, 13, 14);
	cr_expect_eq(fence->connections_open, 15);
	cr_expect_eq(fence->connections_open_all, 16);
	cr_expect_eq(fence->handshakes_open, 17);
	cr_expect_eq(fence->handshakes_open_all, 18);
	cr_expect_eq(fence->behaved_factor, 19);
	cr_expect_eq(fence->behaved_ms, 20000);
	cr_expect_eq(fence->strikes_max, 0);
	cr_expect_eq(fence->penalty_ms, 21000);
	cr_expect_eq(fence->sample, 0);
	expect_texts("allow", fence->allow, fence->allow_n, TEXTS("10.0.0.0/8", ));
	expect_texts(
		"block", fence->block, fence->block_n, TEXTS("2001:db8::/32", "10.1.0.0/16", ));
	expect_texts("proxy", config->listeners[0].proxy, config->listeners[0].proxy_n,
		TEXTS("192.0.2.0/24", "::1", ));
	expect_texts("xclient", config->smtp.xclient, config->smtp.xclient_n, TEXTS("10.0.0.1", ));
	config_close(config);
}

/* A list with a default is emptied, replaced or added to. */
Test(fence, allow)
{
	static const struct {
		const char *text;
		const char *const allow[4];
	} cases[] = {
		{"fence { allow = { } }", {NULL}},
		{"fence { allow = {} }\nfence { allow += { 10.0.0.1 } }", {"10.0.0.1"}},
		{"fence { allow = ::/0 }", {"::/0"}},
		{"fence { allow += { 10.0.0.0/8 } }", {"127.0.0.0/8", "::1/128", "10.0.0.0/8"}},
		{"fence { allow += 10.0.0.0/8 }", {"127.0.0.0/8", "::1/128", "10.0.0.0/8"}},
		{"fence { allow += { } }", {"127.0.0.0/8", "::1/128"}},
		{"fence { block = { 10.0.0.0/8 } }", {"127.0.0.0/8", "::1/128"}},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char text[512];
		struct config *config;

		snprintf(text, sizeof(text), "%s%s", BASE LISTEN, cases[i].text);
		config = parse_good(text);
		expect_texts(
			cases[i].text, config->fence.allow, config->fence.allow_n, cases[i].allow);
		config_close(config);
	}
}

/* What the limits of open connections are when the file says none or one of them. */
Test(fence, open_follows_the_house)
{
	static const struct {
		const char *text;
		uint32_t open, open_all;
	} cases[] = {
		{"policy { sessions_max = 1000000 }", 100, 800000},
		{"policy { sessions_max = 126 }", 100, 100},
		{"policy { sessions_max = 124 }", 99, 99},
		{"policy { sessions_max = 20 }", 16, 16},
		{"policy { sessions_max = 2 }", 1, 1},
		{"policy { sessions_max = 1 }", 1, 1},
		{"fence { connections_open_all = 50 }", 50, 50},
		{"fence { connections_open_all = 10000 }", 100, 10000},
		{"fence { connections_open_all = 0 }", 100, 0},
		{"fence { connections_open = 7000 }", 7000, 8000},
		{"fence { connections_open = 0 connections_open_all = 0 }", 0, 0},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char text[512];
		struct config *config;

		snprintf(text, sizeof(text), "%s%s", BASE LISTEN, cases[i].text);
		config = parse_good(text);
		cr_expect_eq(config->fence.connections_open, cases[i].open, "%s", cases[i].text);
		cr_expect_eq(
			config->fence.connections_open_all, cases[i].open_all, "%s", cases[i].text);
		config_close(config);
	}
}

#define ABOVE(name, limit)                                                                         \
	"fence: " name " is above " name "_all, which all sources share: write " name " = " limit  \
	" or less"
#define OPEN(name, limit)                                                                          \
	"fence: " name " is above " name                                                           \
	"_all, which all sources share, or no limit (0): write " name " = 1 to " limit

Test(fence, refuses)
{
	static const struct {
		const char *text; /* from line 5 on */
		const char *message;
	} cases[] = {
		{"fence {\n connections = 50 }",
			P "6: fence.connections: \"50\" is not none, nor a rate from 1 to "
			  "1000000000 and a burst from 1 to 3600 times as much, such as 50/500"},
		{"fence {\n allow = { ::1,\n 10.0.0.1/8 } }",
			P "7: fence.allow: \"10.0.0.1/8\" is not a network or address such as "
			  "192.0.2.0/24, without bits behind its prefix"},
		{"fence { sources_max = 1023 }", P "5: fence.sources_max: \"1023\" is not a whole "
						   "number from 1024 to 4194304"},
		{"fence { connections = 2001/500\n}",
			P "6: " ABOVE("connections", "\"2000/10000\"")},
		{"fence { connections = 50/10001 }",
			P "5: " ABOVE("connections", "\"2000/10000\"")},
		{"fence { connections = none }", P "5: " ABOVE("connections", "\"2000/10000\"")},
		{"fence { plain_bytes_all = 1/1 }", P "5: " ABOVE("plain_bytes", "\"1/1\"")},
		{"fence { plain_packets_all = 1/1 }", P "5: " ABOVE("plain_packets", "\"1/1\"")},
		{"fence { handshakes_all = 1/1 }", P "5: " ABOVE("handshakes", "\"1/1\"")},
		{"fence { upgraded_bytes_all = 1/1 }", P "5: " ABOVE("upgraded_bytes", "\"1/1\"")},
		{"fence { connections_open = 8001 }", P "5: " OPEN("connections_open", "8000")},
		{"fence { connections_open = 0 }", P "5: " OPEN("connections_open", "8000")},
		{"fence { handshakes_open = 1001 }", P "5: " OPEN("handshakes_open", "1000")},
		{"fence { connections_open_all = 10001 }",
			P "5: fence: connections_open_all is above sessions_max of section policy, "
			  "so strangers could take every session: write connections_open_all = "
			  "10000 or less"},
		{"policy { sessions_max = 5 }\nfence { connections_open_all = 6\n}",
			P "7: fence: connections_open_all is above sessions_max of section policy, "
			  "so strangers could take every session: write connections_open_all = 5 "
			  "or less"},
		{"fence { mode = user interfaces = { eth0 } }", P
			"5: fence: interfaces is the kernel's, and mode = user has nothing there: "
			"leave interfaces out, or write mode = \"auto\""},
		{"fence { mode = off pin = \"x\" }",
			P "5: fence: pin is the kernel's, and mode = off has nothing there: leave "
			  "pin out, or write mode = \"auto\""},
		{"fence { interfaces = { eth0, eth1, eth0 } }",
			P "5: fence: interface \"eth0\" stands twice: leave one out"},
		{"fence { block = { 10.0.0.0/8, ::/0, ::ffff:10.0.0.0/104 } }",
			P "5: fence: network 10.0.0.0/8 stands twice in block: leave one of them "
			  "out"},
		{"fence { allow += 127.0.0.0/8 }",
			P "5: fence: network 127.0.0.0/8 stands twice in allow: leave one of them "
			  "out"},
		{"fence {\n block = ::1\n}",
			P "7: fence: network ::1 stands in allow and in block: leave one of them "
			  "out"},
		{"listener m { address = \"::1\" port = 26 tls = none\nproxy = { ::, ::1, :: }\n}",
			P "7: listener \"m\": network :: stands twice in proxy: leave one of them "
			  "out"},
		{"smtp {\n xclient = { 10.0.0.1, 10.0.0.1/32 } }",
			P "6: smtp: network 10.0.0.1 stands twice in xclient: leave one of them "
			  "out"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char text[512];
		struct config *config = NULL;
		struct err err = {""};

		snprintf(text, sizeof(text), "%s%s", BASE LISTEN, cases[i].text);
		cr_expect_eq(parse(&config, text, &err), -1, "%s", cases[i].text);
		cr_expect_str_eq(err.text, cases[i].message, "%s", err.text);
	}
}

/* What is no mistake: a network in another one, of one list or of both, and equal budgets. */
Test(fence, takes)
{
	static const char *const cases[] = {
		"fence { allow = { 10.0.0.0/8, 10.0.0.0/9, 10.0.0.0 } block = { 10.0.0.0/10 } }",
		"fence { allow = { 10.0.0.0/8 } block = { 127.0.0.0/8, ::1 } }",
		"fence { connections = 2000/10000 connections_open = 8000 handshakes_open = 1000 }",
		"fence { connections = none connections_all = none }",
		"fence { mode = user } fence { interfaces = {} pin = \"\" }",
		"fence { mode = auto interfaces = { eth0 } pin = \"/sys/fs/bpf/postern\" }",
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char text[512];

		snprintf(text, sizeof(text), "%s%s", BASE LISTEN, cases[i]);
		config_close(parse_good(text));
	}
}

/* `n` different networks in a list. */
static char *networks(int n)
{
	const size_t cap = strlen(BASE LISTEN) + 64 + (size_t)n * 24;
	char *text = malloc(cap);
	size_t at = (size_t)snprintf(text, cap, "%sfence { block = {", BASE LISTEN);

	for (int i = 0; i < n; i++)
		at += (size_t)snprintf(
			text + at, cap - at, "%s10.%d.%d.0/24", i > 0 ? "," : "", i / 256, i % 256);
	snprintf(text + at, cap - at, "} }");
	return text;
}

Test(fence, networks_are_bounded)
{
	char *good = networks(SETTINGS_NETWORKS_MAX), *bad = networks(SETTINGS_NETWORKS_MAX + 1);
	struct config *config = parse_good(good);
	struct network network;
	struct err err = {""};

	cr_expect_eq(config->fence.block_n, SETTINGS_NETWORKS_MAX);
	for (size_t i = 0; i < config->fence.block_n; i++)
		cr_expect(network_parse(config->fence.block[i], &network));
	config_close(config);
	cr_expect_eq(parse(&config, bad, &err), -1);
	cr_expect_str_eq(err.text, P "5: block has more than 10000 values", "%s", err.text);
	free(good);
	free(bad);
}
