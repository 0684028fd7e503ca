/* SPDX-License-Identifier: MIT */
/* Unit tests of config/changes.c: which changes of a configuration a reload leaves to a restart. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config-private.h"

#define HOST    "hostname = \"mx.example.org\"\n"
#define POLICY  "policy { relay_domains = { \"example.org\" } }\n"
#define LISTEN  "listener \"smtp\" { address = \"127.0.0.1\" port = 25 }\n"
#define CERT    "certificate \"default\" { chain = \"c.pem\" key = \"k.pem\" }\n"
#define ROUTE   "route \"default\" { domains = { \"*\" } next_hops = { \"maildir:mail\" } }\n"
#define MINIMAL HOST LISTEN CERT POLICY ROUTE

static struct config *parse(const char *text)
{
	struct config *config = NULL;
	char *copy = strdup(text);
	struct err err = {""};

	cr_assert_eq(config_parse(&config, "etc/p.conf", copy, strlen(copy), &err), 0, "%s: %s",
		text, err.text);
	free(copy);
	return config;
}

static void expect(const char *before, const char *now, const char *keys, size_t n)
{
	struct config *a = parse(before), *b = parse(now);
	char text[CONFIG_RESTART_KEYS_MAX];

	cr_expect_eq(config_restart_keys(a, b, text, sizeof(text)), n, "%s\n%s", now, text);
	cr_expect_str_eq(text, keys, "%s", now);
	config_close(a);
	config_close(b);
}

/* Values, not texts; and what a reload takes. */
Test(config_changes, nothing_to_tell)
{
	static const char *const same[] = {
		MINIMAL,
		"# a comment\n" CERT POLICY ROUTE LISTEN HOST,
		MINIMAL "workers = 0 seccomp = yes\n",
		MINIMAL "tls { ktls = auto }\nsmtp { xclient = {} }\nfence { mode = auto }\n",
		MINIMAL "fence { connections = 1/2 connections_open_all = 3 allow = {} sample = 7\n"
			" block = { 192.0.2.0/24 } behaved_factor = 2 strikes_max = 1 }\n",
	};

	for (size_t i = 0; i < COUNT_OF(same); i++)
		expect(MINIMAL, same[i], "", 0);
}

Test(config_changes, each_kind_of_value)
{
	static const struct {
		const char *text, *keys;
	} cases[] = {
		{"workers = 3\n", "workers"},
		{"user = \"mail\"\n", "user"},
		{"control_socket = \"other.sock\"\n", "control_socket"},
		{"seccomp = no\n", "seccomp"},
		{"tls { version_min = \"TLSv1.3\" }\n", "tls.version_min"},
		{"tls { ticket_keys = \"\" }\n", "tls.ticket_keys"},
		{"spool { directory = \"/var/spool/other\" }\n", "spool.directory"},
		{"smtp { xclient = { 192.0.2.1 } errors_max = 3 }\n",
			"smtp.errors_max, smtp.xclient"},
		{"relay { resolvers = { \"192.0.2.53\" } }\n", "relay.resolvers"},
		{"log { to = syslog }\n", "log.to"},
		{"fence { mode = kernel pin = \"/sys/fs/bpf/x\" prefix_v4 = 24 prefix_v6 = 48\n"
		 " sources_max = 5000 interfaces = { \"lo\" } connections = 1/1 }\n",
			"fence.mode, fence.interfaces, fence.pin, fence.prefix_v4, "
			"fence.prefix_v6, fence.sources_max"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char text[1024];
		size_t n = 1;

		for (const char *c = cases[i].keys; *c; c++)
			n += *c == ',';
		snprintf(text, sizeof(text), MINIMAL "%s", cases[i].text);
		expect(MINIMAL, text, cases[i].keys, n);
		expect(text, MINIMAL, cases[i].keys, n);
		expect(text, text, "", 0);
	}
}

Test(config_changes, sections_with_titles)
{
	static const char two[] = MINIMAL
		"listener \"smtps\" { address = \"127.0.0.1\" port = 465 tls = \"implicit\" }\n"
		"certificate \"b\" { chain = \"d.pem\" key = \"l.pem\" names = { \"b.example.org\" } }\n";

	expect(MINIMAL, two, "listener.smtps, certificate.b", 2);
	expect(two, MINIMAL, "listener.smtps, certificate.b", 2);
	expect(MINIMAL,
		HOST CERT POLICY ROUTE
		"listener \"smtp\" { address = \"127.0.0.1\" port = 26 proxy = { 192.0.2.1 } }\n",
		"listener.smtp.port, listener.smtp.proxy", 2);
	expect(MINIMAL,
		HOST LISTEN POLICY ROUTE
		"certificate \"default\" { chain = \"x.pem\" key = \"k.pem\" }\n",
		"certificate.default.chain", 1);
	expect(MINIMAL,
		HOST LISTEN CERT POLICY
		"route \"default\" { domains = { \"*\" } next_hops = { \"lmtp:127.0.0.1:24\" } }\n",
		"route.default.next_hops", 1);
	expect(MINIMAL,
		HOST LISTEN CERT POLICY
		"route \"other\" { domains = { \"*\" } next_hops = { \"maildir:mail\" } }\n",
		"route.default, route.other", 2);
	expect(two,
		HOST POLICY ROUTE CERT
		"certificate \"b\" { chain = \"d.pem\" key = \"l.pem\" names = { \"b.example.org\" } }\n"
		"listener \"smtps\" { address = \"127.0.0.1\" port = 465 tls = \"implicit\" }\n" LISTEN,
		"listener.(order)", 1);
}

Test(config_changes, more_than_there_is_room_for)
{
	struct config *a = parse(MINIMAL);
	struct config *b = parse(MINIMAL "workers = 3 drain_seconds = 1 seccomp = no\n");
	char text[40];

	cr_expect_eq(config_restart_keys(a, b, text, sizeof(text)), 3);
	cr_expect_str_eq(text, "workers, drain_seconds, and more");
	cr_expect_eq(config_restart_keys(a, b, text, 12), 3);
	cr_expect_str_eq(text, ", and more");
	config_close(a);
	config_close(b);
}

/* A section that is new to this file is one that it would misread. */
Test(config_changes, every_key_is_compared_in_both_directions)
{
	struct config *a = parse(MINIMAL);
	char text[CONFIG_RESTART_KEYS_MAX];
	size_t taken = 0;

	cr_expect_eq(config_restart_keys(a, a, text, sizeof(text)), 0);
	for (size_t i = 0; i < config_keys_n; i++)
		taken += config_key_taken(&config_keys[i]);
	cr_expect_geq(taken, 20);
	cr_expect_lt(taken, config_keys_n / 2);
	config_close(a);
}
