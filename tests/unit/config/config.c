/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of config/config.c and config/fill.c: whole files, every member, every message with
 * its line. After each refused file a good one is read, for libconfuse's lexer is global.
 */
#include "harness.h"

#include <criterion/redirect.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITISED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITISED
#endif
#endif

#define HOST    "hostname = \"mx.example.org\"\n"
#define POLICY  "policy { relay_domains = { \"example.org\" } }\n"
#define PLAIN   "listener \"smtp\" { address = \"127.0.0.1\" port = 25 tls = \"none\" }\n"
#define LISTEN  "listener \"smtp\" { address = \"127.0.0.1\" port = 25 }\n"
#define CERT    "certificate \"default\" { chain = \"c.pem\" key = \"k.pem\" }\n"
#define ROUTE   "route \"default\" { domains = { \"*\" } next_hops = { \"maildir:mail\" } }\n"
#define MINIMAL HOST LISTEN CERT POLICY ROUTE

Test(config, defaults)
{
	struct config *config = parse_good(MINIMAL);

	cr_expect_null(config->main.user);
	cr_expect_null(config->main.group);
	cr_expect_eq(config->main.workers, 0);
	cr_expect_str_eq(config->main.control_socket, "etc/postern.sock");
	cr_expect_eq(config->main.drain_ms, 30000);
	cr_expect(config->main.seccomp);
	cr_expect_eq(config->listeners[0].tls, LISTENER_TLS_STARTTLS);
	cr_expect_eq(config->tls.ktls, KTLS_MODE_AUTO);
	cr_expect_eq(config->tls.version_min, 0x0303);
	cr_expect_str_eq(config->tls.ticket_keys, "etc/tickets.key");
	cr_expect_eq(config->tls.ticket_rotate_seconds, 86400);
	cr_expect_not(config->tls.client_certificate_request);
	cr_expect_eq(config->tls.handshake_ms_max, 30000);
	cr_expect_eq(config->smtp.message_bytes_max, 52428800);
	cr_expect_eq(config->smtp.recipients_max, 100);
	cr_expect_eq(config->smtp.errors_max, 20);
	cr_expect_eq(config->smtp.messages_max, 1000);
	cr_expect_eq(config->smtp.hops_max, 50);
	cr_expect_not(config->smtp.bare_newline_normalize);
	cr_expect_not(config->smtp.undeclared_8bit_accept);
	cr_expect_not(config->session.early_talker_reject);
	cr_expect_eq(config->session.banner_delay_ms, 0);
	cr_expect_eq(config->session.command_ms_max, 300000);
	cr_expect_eq(config->session.data_ms_max, 180000);
	cr_expect_eq(config->session.session_ms_max, 3600000);
	cr_expect_eq(config->session.rate_bytes_min, 100);
	cr_expect_eq(config->session.rate_window_ms, 60000);
	cr_expect_null(config->policy.recipients);
	cr_expect_eq(config->policy.sessions_max, 10000);
	cr_expect_eq(config->policy.sessions_per_address_max, 100);
	cr_expect_null(config->policy.recipients_lmdb);
	cr_expect_eq(config->policy.callout_positive_ms, 3600000);
	cr_expect_eq(config->policy.callout_negative_ms, 300000);
	cr_expect_eq(config->policy.callout_ms_max, 10000);
	cr_expect_eq(config->policy.callout_rate_max, 100);
	cr_expect_eq(config->policy.callout_down, CALLOUT_DOWN_ACCEPT);
	cr_expect_not(config->log.syslog);
	config_close(config);
}

Test(config, defaults_of_spool_and_relay)
{
	struct config *config = parse_good(MINIMAL);
	const struct relay_settings *relay = &config->relay;

	cr_expect_str_eq(config->spool.directory, "etc/spool");
	cr_expect(config->spool.durable);
	cr_expect_eq(config->spool.memory_bytes_max, 67108864);
	cr_expect_eq(config->spool.stream_bytes, 262144);
	cr_expect_eq(config->spool.segment_bytes, 67108864);
	cr_expect_eq(config->spool.free_bytes_min, 67108864);
	cr_expect_eq(config->spool.commit_wait_us, 200);
	cr_expect_eq(config->spool.messages_max, 1000000);
	cr_expect_null(relay->routes_file);
	cr_expect_eq(relay->resolvers_n, 0);
	cr_expect_str_eq(relay->hostname, "mx.example.org");
	cr_expect_null(relay->ehlo);
	cr_expect_eq(relay->retry_ms_min, 300000);
	cr_expect_eq(relay->retry_ms_max, 14400000);
	cr_expect_eq(relay->expire_ms, 432000000);
	cr_expect_eq(relay->warn_ms, 0);
	cr_expect_eq(relay->connect_ms_max, 30000);
	cr_expect_eq(relay->reply_ms_max, 300000);
	cr_expect_eq(relay->final_ms_max, 600000);
	cr_expect_eq(relay->cutthrough_ms_max, 10000);
	cr_expect_eq(relay->connections_max, 500);
	cr_expect_eq(relay->ktls, KTLS_MODE_AUTO);
	cr_expect(relay->bounce_body);
	config_close(config);
}

static const char everything[] =
	"hostname = MX.example.ORG\n"
	"user = \"postern\" group = mail workers = 3 workers_all = yes control_socket = \"/run/p.sock\"\n"
	"drain_seconds = 1 seccomp = false\n"
	"listener a { address = \"192.0.2.1\" port = 2525 tls = \"none\" }\n"
	"listener b { address = \"::1\" port = 465 tls = \"implicit\" }\n"
	"certificate default { chain = \"c.pem\" key = \"/k.pem\" }\n"
	"certificate rsa { chain = \"r.pem\" key = \"r.key\" names = { A.example, \"*.B.example\" } }\n"
	"tls { ktls = always version_min = \"TLSv1.3\" ticket_keys = \"\" client_certificate = request\n"
	"  ticket_rotate_seconds = 60 handshake_seconds = 2 }\n"
	"smtp { message_bytes_max = 1000 recipients_max = 2 errors_max = 4 bare_newline = normalize\n"
	"  early_talker = reject banner_delay_ms = 6 undeclared_8bit = accept hops_max = 7\n"
	"  command_seconds = 8 data_seconds = 9 session_seconds = 10 rate_bytes_min = 11\n"
	"  rate_window_seconds = 12 messages_max = 13 }\n"
	"policy { relay_domains = { \"Example.ORG\", two.example } recipients = \"r\"\n"
	"  sessions_max = 14 sessions_per_address_max = 15 }\n"
	"policy { callout_positive_seconds = 0 callout_negative_seconds = 21 callout_seconds = 22\n"
	"  callout_rate_max = 23 callout_down = defer }\n"
	"spool { directory = \"/s\" durability = none memory_bytes_max = 65536 stream_bytes = 4096\n"
	"  segment_bytes = 65536 free_bytes_min = 0 commit_wait_us = 0 messages_max = 24 }\n"
	"route a { domains = { Example.org, \".Two.example\" } choose = weight tls = verify\n"
	"  next_hops = { \"smtp:MX.example.org:2525 weight=3\", \"lmtp:[::1]:24\" }\n"
	"  tls_name = Store.example.org ca_file = \"ca.pem\" cutthrough = yes callout = on\n"
	"  connections_max = 31 connection_messages_max = 32 idle_seconds = 0 recipients_max = 33 }\n"
	"route b { domains = { \"*\" } next_hops = { mx } tls = require }\n"
	"relay { routes = \"routes\" resolvers = { \"127.0.0.1@5353\", \"::1\" } ehlo = Out.example.org\n"
	"  retry_seconds_min = 1 retry_seconds_max = 2 expire_seconds = 4 warn_seconds = 3\n"
	"  connect_seconds = 5 reply_seconds = 6 final_seconds = 7 cutthrough_seconds = 8\n"
	"  connections_max = 9 ktls = off bounce_body = no }\n"
	"log { to = syslog }\n";

Test(config, everything_set_top_and_lists)
{
	struct config *config = parse_good(everything);

	cr_expect_str_eq(config->main.user, "postern");
	cr_expect_str_eq(config->main.group, "mail");
	cr_expect_eq(config->main.workers, 3);
	cr_expect(config->main.workers_all);
	cr_expect_str_eq(config->main.control_socket, "/run/p.sock");
	cr_expect_eq(config->main.drain_ms, 1000);
	cr_expect_not(config->main.seccomp);
	cr_assert_eq(config->listeners_n, 2);
	cr_expect_str_eq(config->listeners[0].title, "a");
	cr_expect_str_eq(config->listeners[0].address, "192.0.2.1");
	cr_expect_eq(config->listeners[0].port, 2525);
	cr_expect_eq(config->listeners[0].tls, LISTENER_TLS_NONE);
	cr_expect_str_eq(config->listeners[1].address, "::1");
	cr_expect_eq(config->listeners[1].tls, LISTENER_TLS_IMPLICIT);
	cr_assert_eq(config->tls.certificates_n, 2);
	cr_expect_eq(config->tls.certificates[0].names_n, 0);
	cr_expect_str_eq(config->tls.certificates[0].chain, "etc/c.pem");
	cr_expect_str_eq(config->tls.certificates[0].key, "/k.pem");
	cr_expect_str_eq(config->tls.certificates[1].title, "rsa");
	cr_assert_eq(config->tls.certificates[1].names_n, 2);
	cr_expect_str_eq(config->tls.certificates[1].names[0], "a.example");
	cr_expect_str_eq(config->tls.certificates[1].names[1], "*.b.example");
	config_close(config);
}

Test(config, everything_set_sections)
{
	struct config *config = parse_good(everything);

	cr_expect_eq(config->tls.ktls, KTLS_MODE_ALWAYS);
	cr_expect_eq(config->tls.version_min, 0x0304);
	cr_expect_null(config->tls.ticket_keys);
	cr_expect_eq(config->tls.ticket_rotate_seconds, 60);
	cr_expect(config->tls.client_certificate_request);
	cr_expect_eq(config->tls.handshake_ms_max, 2000);
	cr_expect_str_eq(config->smtp.hostname, "mx.example.org");
	cr_expect_eq(config->smtp.message_bytes_max, 1000);
	cr_expect_eq(config->smtp.recipients_max, 2);
	cr_expect_eq(config->smtp.errors_max, 4);
	cr_expect(config->smtp.bare_newline_normalize);
	cr_expect(config->session.early_talker_reject);
	cr_expect_eq(config->session.banner_delay_ms, 6);
	cr_expect(config->smtp.undeclared_8bit_accept);
	cr_expect_eq(config->smtp.hops_max, 7);
	cr_expect_eq(config->session.command_ms_max, 8000);
	cr_expect_eq(config->session.data_ms_max, 9000);
	cr_expect_eq(config->session.session_ms_max, 10000);
	cr_expect_eq(config->session.rate_bytes_min, 11);
	cr_expect_eq(config->session.rate_window_ms, 12000);
	cr_expect_eq(config->smtp.messages_max, 13);
	cr_assert_eq(config->policy.relay_domains_n, 2);
	cr_expect_str_eq(config->policy.relay_domains[0], "example.org");
	cr_expect_str_eq(config->policy.relay_domains[1], "two.example");
	cr_expect_str_eq(config->policy.recipients, "etc/r");
	cr_expect_eq(config->policy.sessions_max, 14);
	cr_expect_eq(config->policy.sessions_per_address_max, 15);
	cr_expect_eq(config->policy.callout_positive_ms, 0);
	cr_expect_eq(config->policy.callout_negative_ms, 21000);
	cr_expect_eq(config->policy.callout_ms_max, 22000);
	cr_expect_eq(config->policy.callout_rate_max, 23);
	cr_expect_eq(config->policy.callout_down, CALLOUT_DOWN_DEFER);
	cr_expect_str_eq(config->spool.directory, "/s");
	cr_expect_not(config->spool.durable);
	cr_expect_eq(config->spool.memory_bytes_max, 65536);
	cr_expect_eq(config->spool.stream_bytes, 4096);
	cr_expect_eq(config->spool.segment_bytes, 65536);
	cr_expect_eq(config->spool.free_bytes_min, 0);
	cr_expect_eq(config->spool.commit_wait_us, 0);
	cr_expect_eq(config->spool.messages_max, 24);
	cr_expect(config->log.syslog);
	config_close(config);
}

Test(config, everything_set_routes)
{
	struct config *config = parse_good(everything);
	const struct route_settings *a = &config->relay.routes[0], *b = a + 1;

	cr_assert_eq(config->relay.routes_n, 2);
	cr_expect_str_eq(a->title, "a");
	cr_assert_eq(a->domains_n, 2);
	cr_expect_str_eq(a->domains[0], "example.org");
	cr_expect_str_eq(a->domains[1], ".two.example");
	cr_assert_eq(a->next_hops_n, 2);
	cr_expect_eq(a->next_hops[0].kind, NEXT_HOP_SMTP);
	cr_expect_str_eq(a->next_hops[0].text, "smtp:MX.example.org:2525");
	cr_expect_str_eq(a->next_hops[0].host, "mx.example.org");
	cr_expect_eq(a->next_hops[0].port, 2525);
	cr_expect_eq(a->next_hops[0].weight, 3);
	cr_expect_eq(a->next_hops[1].kind, NEXT_HOP_LMTP);
	cr_expect_str_eq(a->next_hops[1].host, "::1");
	cr_expect_eq(a->next_hops[1].weight, 1);
	cr_expect_eq(a->choose, ROUTE_CHOOSE_WEIGHT);
	cr_expect_eq(a->tls, ROUTE_TLS_VERIFY);
	cr_expect_str_eq(a->tls_name, "store.example.org");
	cr_expect_str_eq(a->ca_file, "etc/ca.pem");
	cr_expect(a->cutthrough);
	cr_expect(a->callout);
	cr_expect_eq(a->connections_max, 31);
	cr_expect_eq(a->messages_max, 32);
	cr_expect_eq(a->idle_ms, 0);
	cr_expect_eq(a->recipients_max, 33);
	cr_expect_str_eq(b->title, "b");
	cr_expect_str_eq(b->domains[0], "*");
	cr_expect_eq(b->next_hops[0].kind, NEXT_HOP_MX);
	cr_expect_eq(b->tls, ROUTE_TLS_REQUIRE);
	config_close(config);
}

Test(config, everything_set_relay)
{
	struct config *config = parse_good(everything);
	const struct relay_settings *relay = &config->relay;

	cr_expect_str_eq(relay->routes_file, "etc/routes");
	cr_assert_eq(relay->resolvers_n, 2);
	cr_expect_str_eq(relay->resolvers[0], "127.0.0.1@5353");
	cr_expect_str_eq(relay->resolvers[1], "::1");
	cr_expect_str_eq(relay->ehlo, "out.example.org");
	cr_expect_eq(relay->maildirs_n, 0);
	cr_expect_eq(relay->retry_ms_min, 1000);
	cr_expect_eq(relay->retry_ms_max, 2000);
	cr_expect_eq(relay->expire_ms, 4000);
	cr_expect_eq(relay->warn_ms, 3000);
	cr_expect_eq(relay->connect_ms_max, 5000);
	cr_expect_eq(relay->reply_ms_max, 6000);
	cr_expect_eq(relay->final_ms_max, 7000);
	cr_expect_eq(relay->cutthrough_ms_max, 8000);
	cr_expect_eq(relay->connections_max, 9);
	cr_expect_eq(relay->ktls, KTLS_MODE_OFF);
	cr_expect_not(relay->bounce_body);
	config_close(config);
}

/* A section may be opened twice and a list added to. */
Test(config, sections_and_lists_grow)
{
	struct config *config = parse_good(MINIMAL
		"smtp { errors_max = 3 }\nsmtp { hops_max = 4 }\n"
		"policy { relay_domains += { \"b.example\" } relay_domains += c.example }\n");

	cr_expect_eq(config->smtp.errors_max, 3);
	cr_expect_eq(config->smtp.hops_max, 4);
	cr_assert_eq(config->policy.relay_domains_n, 3);
	cr_expect_str_eq(config->policy.relay_domains[2], "c.example");
	config_close(config);
}

Test(config, no_certificate_is_needed_without_tls)
{
	struct config *config = parse_good(HOST PLAIN POLICY ROUTE);

	cr_expect_eq(config->tls.certificates_n, 0);
	config_close(config);
}

struct refuse_case {
	const char *text;
	const char *message;
};

#define P "etc/p.conf:"
#define NO_CERTIFICATE                                                                             \
	"no certificate for listener \"smtp\": write certificate \"default\" { chain = "           \
	"\"cert.pem\" key = \"key.pem\" }, without names"

static const struct refuse_case refuse_cases[] = {
	/* the scanner's and the syntax */
	{HOST "workers = \"2\n", P "2: this string is not closed on its line"},
	{"workers =", P "1: premature end of file"},
	{"# c\n/* d\n */ workers\n\n", P "4: premature end of file"},
	{"policy { relay_domains = { a.example, } }\n}\n", P "2: this brace closes nothing"},
	{"policy { relay_domains = }", P "1: unexpected token '}'"},
	{HOST "\nworkers 2\n", P "3: missing equal sign after option 'workers'"},
	{"workers = { }\n", P "1: unexpected token '{'"},
	{"listener {\n}\n", P "1: missing title for section 'listener'"},
	{"listener a b {\n}\n", P "1: missing opening brace for section 'listener'"},
	{"smtp = 3\n", P "1: missing opening brace for section 'smtp'"},
	{"workers += 3\n", P "1: attempt to append to non-list option 'workers'"},
	{"policy { relay_domains = { a.example b.example } }", P "1: unexpected token 'b.example'"},
	{"\n\"\" {\n}\n", P "2: syntax error"},
	{"workers \"\\n\\x80\" = 2", P "1: a key is written without quotes"},
	{"policy { relay_domains = { a.example \"\\nx\\x80\" } }", P "1: unexpected token '?x?'"},
	/* keys */
	{"# c\n\nfoo = 1\n", P "3: unknown key or section \"foo\""},
	{"\nfoo \"x\" { }\n", P "2: unknown key or section \"foo\""},
	{"smtp {\n\tHops_max = 3\n}\n", P "2: unknown key \"Hops_max\" in section smtp"},
	{"listener a {\n listener b { } }\n", P "2: unknown key \"listener\" in section listener"},
	{"smtp { workers = 1 }", P "1: unknown key \"workers\" in section smtp"},
	{"errors_max = 1", P "1: unknown key or section \"errors_max\""},
	{"workers = 1\nworkers = 1\n", P "2: workers is set a second time"},
	{"smtp { hops_max = 3 }\n\nsmtp { hops_max = 3 }", P "3: hops_max is set a second time"},
	{"listener a { port = 3\n port = 4 }", P "2: port is set a second time"},
	{POLICY POLICY, P "2: relay_domains is set a second time"},
	{"listener a { }\nlistener b { }\n\nlistener a {\n}\n",
		P "4: another section of this kind has the title \"a\""},
	/* values, with the line they stand in */
	{"# c\n# c\nworkers = x\n", P "3: workers: \"x\" is not a whole number from 0 to 256"},
	{"/*\n\n*/ workers = /* \n */\n\n 257",
		P "6: workers: \"257\" is not a whole number from 0 to 256"},
	{"smtp {\n\thops_max = 3 // x\n\terrors_max = 0\n}",
		P "3: smtp.errors_max: \"0\" is not a whole number from 1 to 10000"},
	{"policy {\n relay_domains = {\n a.example,\n \"b\\001.example\" } }",
		P "4: policy.relay_domains: \"b?.example\" is not a mail domain such as "
		  "example.org"},
	{"tls { ktls = \"maybe\" }", P "1: tls.ktls: \"maybe\" is not one of auto, always, off"},
	{"spool { directory = \"a\\nb\" }",
		P "1: spool.directory: \"a?b\" is not a path of at most 4095 octets of text"},
	/* what is missing, at a section's closing brace or the last line */
	{"", P "1: hostname is missing: write hostname = \"mx.example.org\""},
	{LISTEN CERT POLICY, P "3: hostname is missing: write hostname = \"mx.example.org\""},
	{HOST LISTEN CERT "policy {\n}\nsmtp { }\n",
		P "5: policy: relay_domains is missing: write relay_domains = { \"example.org\" }"},
	{HOST LISTEN CERT "policy { relay_domains = { } }\n",
		P "4: policy: relay_domains is missing: write relay_domains = { \"example.org\" }"},
	{HOST POLICY CERT,
		P "3: no listener: write listener \"smtp\" { address = \"127.0.0.1\" port = 25 }"},
	{HOST POLICY CERT "listener \"a\" {\n\tport = 25\n}\n\n",
		P "6: listener \"a\": address is missing: write address = \"127.0.0.1\""},
	{HOST POLICY CERT "listener \"a\" {\n address = \"::1\" }",
		P "5: listener \"a\": port is missing: write port = 25"},
	{HOST POLICY LISTEN, P "3: " NO_CERTIFICATE},
	{HOST POLICY PLAIN "certificate a {\n chain = \"c\"\n}",
		P "6: certificate \"a\": key is missing: write key = \"key.pem\""},
	{HOST POLICY PLAIN "certificate a { key = \"k\" }",
		P "4: certificate \"a\": chain is missing: write chain = \"cert.pem\""},
	{HOST POLICY LISTEN "certificate a { chain = c key = k names = { a.example } }",
		P "4: " NO_CERTIFICATE},
	/* what does not go together */
	{MINIMAL "group = mail", P "6: group is set without user: write user = \"postern\""},
	{HOST POLICY CERT LISTEN "listener b {\n address = \"127.0.0.1\" port = 25 tls = none\n}\n",
		P "7: listener \"b\": same address and port as listener \"smtp\""},
	{HOST POLICY CERT "listener a { address = \"::1\" port = 25 }\n"
			  "listener b { address = \"0::1\" port = 25 }\n",
		P "5: listener \"b\": same address and port as listener \"a\""},
	{HOST POLICY CERT "listener \"a b\" { address = \"::1\" port = 25 }\n", P
		"4: listener: the title \"a b\" is not 1 to 64 letters, digits, dots, \"_\" or \"-\""},
	{HOST POLICY LISTEN "certificate \"\" { chain = c key = k }", P
		"4: certificate: the title \"\" is not 1 to 64 letters, digits, dots, \"_\" or \"-\""},
};

static void check_refused(const struct refuse_case *one)
{
	struct config *config = NULL;
	struct err err = {""};

	cr_expect_eq(parse(&config, one->text, &err), -1, "%s", one->text);
	cr_expect_str_eq(err.text, one->message);
	config_close(parse_good(MINIMAL));
}

/* Nothing of it on stderr: only the message that is returned. */
Test(config, refuses, .init = cr_redirect_stderr)
{
	for (size_t i = 0; i < COUNT_OF(refuse_cases); i++)
		check_refused(&refuse_cases[i]);
	fflush(stderr);
	cr_expect_stderr_eq_str("");
}

/* `times` sections or values that differ in a number. */
static char *repeat(const char *head, const char *fmt, int times, const char *tail)
{
	size_t cap = strlen(head) + (strlen(fmt) + 32) * (size_t)times + strlen(tail) + 1;
	char *text = malloc(cap), *at = text;

	at += sprintf(at, "%s", head);
	for (int i = 1; i <= times; i++) {
		at += snprintf(at, cap - (size_t)(at - text), fmt, i);
	}
	sprintf(at, "%s", tail);
	return text;
}

static void expect_bound(
	const char *head, const char *fmt, int max, const char *tail, const char *message)
{
	char *good = repeat(head, fmt, max, tail), *bad = repeat(head, fmt, max + 1, tail);
	struct config *config = NULL;
	struct err err = {""};

	config_close(parse_good(good));
	cr_expect_eq(parse(&config, bad, &err), -1);
	cr_expect_str_eq(err.text, message);
	free(good);
	free(bad);
}

Test(config, counts_are_bounded)
{
	expect_bound(HOST POLICY CERT ROUTE, "listener l%1$d { address = \"::1\" port = %1$d }\n",
		SETTINGS_LISTENERS_MAX, "", P "37: more than 32 listeners");
	expect_bound(HOST POLICY LISTEN ROUTE, "certificate c%d { chain = c key = k }\n",
		SETTINGS_CERTIFICATES_MAX, "", P "261: more than 256 certificates");
	expect_bound(HOST POLICY LISTEN CERT ROUTE "certificate n { chain = c key = k names = {\n",
		"n%d.example,\n", SETTINGS_NAMES_MAX - 1, "last.example } }",
		P "71: names has more than 64 values");
#ifndef SANITISED /* libconfuse grows a list by one value: quadratic where realloc copies */
	expect_bound(HOST LISTEN CERT ROUTE "policy { relay_domains = {\n", "d%d.example,\n",
		SETTINGS_DOMAINS_MAX - 1, "last.example } }",
		P "100006: relay_domains has more than 100000 values");
#endif
}

Test(config, folder_of_the_file)
{
	static const struct {
		const char *path;
		const char *maildir;
		const char *spool;
	} cases[] = {{"p.conf", "mail", "spool"}, {"./p.conf", "./mail", "./spool"},
		{"/etc/p/p.conf", "/etc/p/mail", "/etc/p/spool"}, {"/p.conf", "/mail", "/spool"}};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct config *config = NULL;
		struct err err = {""};
		char text[] = MINIMAL;

		cr_assert_eq(config_parse(&config, cases[i].path, text, strlen(text), &err), 0);
		cr_expect_str_eq(config->relay.maildirs[0], cases[i].maildir);
		cr_expect_str_eq(config->relay.routes[0].next_hops[0].path, cases[i].maildir);
		cr_expect_str_eq(config->spool.directory, cases[i].spool);
		config_close(config);
	}
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	cr_assert_not_null(file);
	fputs(text, file);
	cr_assert_eq(fclose(file), 0);
}

Test(config, open_reads_a_file)
{
	char folder[] = "/tmp/postern-config-XXXXXX", path[64], maildir[64], message[128];
	struct config *config = NULL;
	struct err err = {""};

	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/p.conf", folder);
	snprintf(maildir, sizeof(maildir), "%s/mail", folder);
	write_file(path, MINIMAL);
	cr_assert_eq(config_open(&config, path, &err), 0, "%s", err.text);
	cr_expect_str_eq(config->relay.maildirs[0], maildir);
	config_close(config);

	write_file(path, HOST "\nworkers = -1\n");
	cr_expect_eq(config_open(&config, path, &err), -1);
	snprintf(message, sizeof(message),
		"%s:3: workers: \"-1\" is not a whole number from 0 to 256", path);
	cr_expect_str_eq(err.text, message);

	unlink(path);
	cr_expect_eq(config_open(&config, path, &err), -1);
	snprintf(message, sizeof(message), "%s:1: cannot be opened: %s", path, strerror(ENOENT));
	cr_expect_str_eq(err.text, message);

	cr_expect_eq(config_open(&config, folder, &err), -1);
	snprintf(message, sizeof(message), "%s:1: cannot be read: %s", folder, strerror(EISDIR));
	cr_expect_str_eq(err.text, message);

	write_file(path, "");
	cr_assert_eq(truncate(path, CONFIG_FILE_MAX + 1), 0);
	cr_expect_eq(config_open(&config, path, &err), -1);
	snprintf(message, sizeof(message), "%s:1: larger than %u octets", path, CONFIG_FILE_MAX);
	cr_expect_str_eq(err.text, message);
	unlink(path);
	rmdir(folder);
}

Test(config, close_takes_null)
{
	config_close(NULL);
}
