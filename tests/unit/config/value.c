/* SPDX-License-Identifier: MIT */
/* Unit tests of config/value.c and config/keys.c: single values, ranges, defaults. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "config/config-private.h"

#define X10  "0123456789"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10

static const struct config_key *key_of(const char *dotted)
{
	char section[32] = "";
	const char *dot = strchr(dotted, '.');

	if (dot)
		memcpy(section, dotted, (size_t)(dot - dotted));
	return config_key_find(section, dot ? dot + 1 : dotted);
}

struct number_case {
	const char *key;
	const char *text;
	uint64_t number;
};

Test(value, numbers)
{
	static const struct number_case cases[] = {
		{"workers", "0", 0},
		{"workers", "256", 256},
		{"workers", "010", 10},
		{"drain_seconds", "3600", 3600000},
		{"smtp.session_seconds", "604800", 604800000},
		{"smtp.message_bytes_max", "68719476736", 68719476736},
		{"seccomp", "true", 1},
		{"seccomp", "on", 1},
		{"seccomp", "no", 0},
		{"listener.tls", "implicit", LISTENER_TLS_IMPLICIT},
		{"tls.ktls", "off", KTLS_MODE_OFF},
		{"tls.version_min", "TLSv1.3", 0x0304},
		{"route.cutthrough", "yes", 1},
		{"route.callout", "false", 0},
		{"policy.callout_down", "defer", CALLOUT_DOWN_DEFER},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct config_key *key = key_of(cases[i].key);
		struct value value;
		struct err err = {""};

		cr_assert_not_null(key, "%s", cases[i].key);
		cr_expect_eq(value_read(key, "", cases[i].text, &value, &err), 0, "%s", err.text);
		cr_expect_eq(value.number, cases[i].number, "%s = %s", cases[i].key, cases[i].text);
	}
}

struct budget_case {
	const char *text;
	uint64_t rate;
	uint64_t burst;
};

Test(value, budgets)
{
	static const struct budget_case cases[] = {
		{"none", 0, 0},
		{"1/1", 1, 1},
		{"50/500", 50, 500},
		{"10/3", 10, 3},
		{"010/0000000000000000000000003", 10, 3},
		{"1/3600", 1, 3600},
		{"1000000000/3600000000000", 1000000000, 3600000000000},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct config_key *key = key_of("fence.connections");
		struct value value = {.budget = {77, 77}};
		struct err err = {""};

		cr_expect_eq(value_read(key, "", cases[i].text, &value, &err), 0, "%s", err.text);
		cr_expect_eq(value.budget.rate, cases[i].rate, "%s", cases[i].text);
		cr_expect_eq(value.budget.burst, cases[i].burst, "%s", cases[i].text);
	}
}

/* Each with the same message: it says all there is to say. */
Test(value, wrong_budgets)
{
	static const char *const cases[] = {"", "/", "50", "50/", "/500", "0/0", "0/1", "1/0",
		"50/500/", "50/500/5", "-1/5", "1/-5", "+1/5", " 50/500", "50 /500", "50/ 500",
		"0x1/5", "1.5/5", "None", "none/1", "1/none", "50:500", "50/180001", "1/3601",
		"1000000001/1", "1000000000/3600000000001",
		/* 2^64 + 1, and more digits than any number has */
		"18446744073709551617/1", "1/18446744073709551617", "1" X10 X10 X10 "/1"};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char wanted[256];
		struct value value;
		struct err err = {""};

		snprintf(wanted, sizeof(wanted),
			"fence.plain_bytes_all: \"%s\" is not none, nor a rate from 1 to 1000000000 "
			"and a burst from 1 to 3600 times as much, such as 50/500",
			cases[i]);
		cr_expect_eq(
			value_read(key_of("fence.plain_bytes_all"), "", cases[i], &value, &err), -1,
			"%s", cases[i]);
		cr_expect_str_eq(err.text, wanted);
	}
}

struct text_case {
	const char *key;
	const char *text;
	const char *out; /* NULL: none */
};

Test(value, texts)
{
	static const struct text_case cases[] = {
		{"hostname", "MX.Example.ORG", "mx.example.org"},
		{"hostname", "localhost", "localhost"},
		{"user", "postern", "postern"},
		{"user", "", NULL},
		{"group", "_mail.x-1", "_mail.x-1"},
		{"listener.address", "127.0.0.1", "127.0.0.1"},
		{"listener.address", "::", "::"},
		{"listener.address", "2001:db8::1", "2001:db8::1"},
		{"certificate.names", "*.Example.org", "*.example.org"},
		{"certificate.names", "MX.example.org", "mx.example.org"},
		{"certificate.chain", "cert.pem", "etc/cert.pem"},
		{"certificate.chain", "/a b/\xc3\xa4.pem", "/a b/\xc3\xa4.pem"},
		{"tls.ticket_keys", "", NULL},
		{"policy.recipients", "", NULL},
		{"policy.relay_domains", "Ex\xc3\xa4mple.ORG", "ex\xc3\xa4mple.org"},
		{"control_socket", "postern.sock", "etc/postern.sock"},
		{"route.domains", "*", "*"},
		{"route.domains", "Example.org", "example.org"},
		{"route.domains", ".Sub.\xc3\xa4.example", ".sub.\xc3\xa4.example"},
		{"relay.resolvers", "127.0.0.1", "127.0.0.1"},
		{"relay.resolvers", "::1@65535", "::1@65535"},
		{"relay.routes", "", NULL},
		{"fence.allow", "192.0.2.0/24", "192.0.2.0/24"},
		{"fence.block", "0.0.0.0/0", "0.0.0.0/0"},
		{"listener.proxy", "2001:DB8::1", "2001:DB8::1"},
		{"smtp.xclient", "::/0", "::/0"},
		{"fence.interfaces", "eth0.12@x", "eth0.12@x"},
		{"fence.interfaces", "0123456789abcde", "0123456789abcde"},
		{"fence.pin", "", NULL},
		{"fence.pin", "/sys/fs/bpf/postern", "/sys/fs/bpf/postern"},
		{"fence.pin", "bpf", "etc/bpf"},
		{"route.next_hops", "mx", ""},
		{"route.next_hops", "maildir:mail weight=2", "etc/mail"},
		{"route.next_hops", "lmtp:unix:/run/lmtp", "/run/lmtp"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct value value;
		struct err err = {""};
		int rc = value_read(key_of(cases[i].key), "etc/", cases[i].text, &value, &err);

		cr_expect_eq(rc, 0, "%s", err.text);
		cr_expect_eq(value.none, cases[i].out == NULL, "%s", cases[i].text);
		if (cases[i].out)
			cr_expect_str_eq(value.text, cases[i].out);
	}
}

struct wrong_case {
	const char *key;
	const char *text;
	const char *message;
};

#define NOT_A_NETWORK                                                                              \
	" is not a network or address such as 192.0.2.0/24, without bits behind its prefix"
#define NOT_AN_INTERFACE " is not the name of a network interface"

Test(value, wrong)
{
	static const struct wrong_case cases[] = {
		{"workers", "", "workers: \"\" is not a whole number from 0 to 256"},
		{"workers", "257", "workers: \"257\" is not a whole number from 0 to 256"},
		{"workers", "-1", "workers: \"-1\" is not a whole number from 0 to 256"},
		{"workers", "0x10", "workers: \"0x10\" is not a whole number from 0 to 256"},
		{"workers", "1.5", "workers: \"1.5\" is not a whole number from 0 to 256"},
		{"workers", " 1", "workers: \" 1\" is not a whole number from 0 to 256"},
		{"listener.port", "0",
			"listener.port: \"0\" is not a whole number from 1 to 65535"},
		{"listener.port", "65536",
			"listener.port: \"65536\" is not a whole number from 1 to 65535"},
		/* 2^64 + 25 and 2^64: neither wraps */
		{"listener.port", "18446744073709551641",
			"listener.port: \"18446744073709551641\" is not a whole number from 1 to "
			"65535"},
		{"workers", "18446744073709551616",
			"workers: \"18446744073709551616\" is not a whole number from 0 to 256"},
		{"smtp.message_bytes_max", "50M",
			"smtp.message_bytes_max: \"50M\" is not a whole number from 1 to "
			"68719476736"},
		{"seccomp", "maybe", "seccomp: \"maybe\" is not true or false"},
		{"seccomp", "1", "seccomp: \"1\" is not true or false"},
		{"listener.tls", "STARTTLS",
			"listener.tls: \"STARTTLS\" is not one of starttls, implicit, none"},
		{"tls.ktls", "", "tls.ktls: \"\" is not one of auto, always, off"},
		{"tls.version_min", "TLSv1.1",
			"tls.version_min: \"TLSv1.1\" is not one of TLSv1.2, TLSv1.3"},
		{"hostname", "mx_1.example.org",
			"hostname: \"mx_1.example.org\" is not a host name such as mx.example.org"},
		{"hostname", "127.0.0.1",
			"hostname: \"127.0.0.1\" is not a host name such as mx.example.org"},
		{"hostname", "a\r\nX: b",
			"hostname: \"a??X: b\" is not a host name such as mx.example.org"},
		{"user", "-x", "user: \"-x\" is not the name of an account"},
		{"user", "a:b", "user: \"a:b\" is not the name of an account"},
		{"listener.address", "localhost",
			"listener.address: \"localhost\" is not a numeric IPv4 or IPv6 address such "
			"as 192.0.2.1"},
		{"listener.address", "[::1]",
			"listener.address: \"[::1]\" is not a numeric IPv4 or IPv6 address such as "
			"192.0.2.1"},
		{"listener.address", "1.2.3",
			"listener.address: \"1.2.3\" is not a numeric IPv4 or IPv6 address such as "
			"192.0.2.1"},
		{"certificate.names", "*.*.org",
			"certificate.names: \"*.*.org\" is not a host name such as mx.example.org or "
			"*.example.org"},
		{"certificate.names", "*",
			"certificate.names: \"*\" is not a host name such as mx.example.org or "
			"*.example.org"},
		{"certificate.chain", "",
			"certificate.chain: \"\" is not a path of at most 4095 octets of text"},
		{"certificate.chain", "a\nb",
			"certificate.chain: \"a?b\" is not a path of at most 4095 octets of text"},
		{"certificate.chain", "\xff",
			"certificate.chain: \"?\" is not a path of at most 4095 octets of text"},
		{"policy.relay_domains", "a@example.org",
			"policy.relay_domains: \"a@example.org\" is not a mail domain such as "
			"example.org"},
		{"route.domains", "*.example.org",
			"route.domains: \"*.example.org\" is not a mail domain such as "
			"example.org, .example.org for all below it, or *"},
		{"route.domains", ".",
			"route.domains: \".\" is not a mail domain such as example.org, "
			".example.org for all below it, or *"},
		{"relay.resolvers", "localhost",
			"relay.resolvers: \"localhost\" is not a numeric address such as 192.0.2.1 "
			"or 192.0.2.1@53"},
		{"relay.resolvers", "127.0.0.1@0",
			"relay.resolvers: \"127.0.0.1@0\" is not a numeric address such as "
			"192.0.2.1 or 192.0.2.1@53"},
		{"relay.resolvers", "127.0.0.1@",
			"relay.resolvers: \"127.0.0.1@\" is not a numeric address such as "
			"192.0.2.1 or 192.0.2.1@53"},
		{"fence.allow", "192.0.2.1/24", "fence.allow: \"192.0.2.1/24\"" NOT_A_NETWORK},
		{"fence.block", "192.0.2.0/33", "fence.block: \"192.0.2.0/33\"" NOT_A_NETWORK},
		{"smtp.xclient", "", "smtp.xclient: \"\"" NOT_A_NETWORK},
		{"listener.proxy", "mx.example.org",
			"listener.proxy: \"mx.example.org\"" NOT_A_NETWORK},
		{"fence.interfaces", "", "fence.interfaces: \"\"" NOT_AN_INTERFACE},
		{"fence.interfaces", "..", "fence.interfaces: \"..\"" NOT_AN_INTERFACE},
		{"fence.interfaces", "a/b", "fence.interfaces: \"a/b\"" NOT_AN_INTERFACE},
		{"fence.interfaces", "a b", "fence.interfaces: \"a b\"" NOT_AN_INTERFACE},
		{"fence.interfaces", "\xc3\xa4", "fence.interfaces: \"??\"" NOT_AN_INTERFACE},
		{"fence.interfaces", "0123456789abcdef",
			"fence.interfaces: \"0123456789abcdef\"" NOT_AN_INTERFACE},
		{"route.next_hops", "lmtp:unix:" X100 "/",
			"route.next_hops: \"lmtp:unix:" X10 X10 X10 X10 X10
			"...\": the socket's path is not text of at most 107 octets, its folder "
			"included"},
		{"route.next_hops", "maildir:a\x01",
			"route.next_hops: \"maildir:a?\": the path is not text of at most 4095 "
			"octets"},
		{"control_socket", X100 "/12",
			"control_socket: \"" X10 X10 X10 X10 X10 X10
			"...\" is not a path of at most "
			"107 octets of text, its folder included"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct value value;
		struct err err = {""};
		const struct config_key *key = key_of(cases[i].key);

		cr_assert_not_null(key, "%s", cases[i].key);
		cr_expect_eq(value_read(key, "folder/", cases[i].text, &value, &err), -1, "%s = %s",
			cases[i].key, cases[i].text);
		cr_expect_str_eq(err.text, cases[i].message);
	}
}

/* A socket's path may have 107 octets with its folder, and an absolute one needs no folder. */
Test(value, socket_path_limit)
{
	const struct config_key *key = key_of("control_socket");
	struct value value;
	struct err err;

	cr_expect_eq(value_read(key, "1234567", X100, &value, &err), 0);
	cr_expect_eq(value_read(key, "12345678", X100, &value, &err), -1);
	cr_expect_eq(value_read(key, "12345678", "/" X100, &value, &err), 0);
}

Test(value, path_limit)
{
	const struct config_key *key = key_of("spool.directory");
	char text[CONFIG_PATH_MAX + 2];
	struct value value;
	struct err err;

	memset(text, 'a', sizeof(text));
	text[CONFIG_PATH_MAX] = '\0';
	cr_expect_eq(value_read(key, "", text, &value, &err), 0);
	cr_expect_eq(value_read(key, "b", text, &value, &err), -1);
	text[CONFIG_PATH_MAX] = 'a';
	text[CONFIG_PATH_MAX + 1] = '\0';
	cr_expect_eq(value_read(key, "", text, &value, &err), -1);
}

/* The table: defaults are good values, a key stands once, limits let their own ends in. */
Test(value, table)
{
	for (size_t i = 0; i < config_keys_n; i++) {
		const struct config_key *key = &config_keys[i];
		struct value value;
		struct err err = {""};
		char text[32];

		cr_expect_eq(config_key_find(key->section, key->name), key, "%s twice", key->name);
		cr_expect_not(key->fallback && key->example, "%s", key->name);
		if (key->fallback && key->list_max == 0) /* lists: config.c's defaults */
			cr_expect_eq(value_read(key, "", key->fallback, &value, &err), 0, "%s",
				err.text);
		if (key->kind != VALUE_NUMBER)
			continue;
		snprintf(text, sizeof(text), "%llu", (unsigned long long)key->min);
		cr_expect_eq(value_read(key, "", text, &value, &err), 0, "%s", err.text);
		snprintf(text, sizeof(text), "%llu", (unsigned long long)key->max);
		cr_expect_eq(value_read(key, "", text, &value, &err), 0, "%s", err.text);
		cr_expect_eq(value.number, key->max * key->scale);
		cr_expect(key->width == 8 || value.number >> (8 * key->width) == 0,
			"%s does not fit its member", key->name);
		snprintf(text, sizeof(text), "%llu", (unsigned long long)key->max + 1);
		cr_expect_eq(value_read(key, "", text, &value, &err), -1, "%s", key->name);
	}
}
