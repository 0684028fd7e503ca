/* SPDX-License-Identifier: MIT */
/*
 * Unit tests of relay/resolve.c against a DNS server on loopback: real libunbound, real ring. Time
 * limits are reached by moving the clock.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counter.h"
#include "relay/resolve-private.h"
#include "tests/unit/relay/dns.h"

static struct ring *ring;
static struct relay_resolver *resolver;
static uint64_t now_ms;

/* A lookup and what came of it. */
struct trial {
	struct relay_lookup lookup;
	unsigned calls;
	int res;
	const char *then; /* a host to look up from inside done */
};

static void trial_done(struct relay_lookup *lookup, int res)
{
	struct trial *trial = container_of(lookup, struct trial, lookup);

	trial->calls++;
	trial->res = res;
	if (trial->then) {
		relay_resolve_host(resolver, lookup, trial->then);
		trial->then = NULL;
	}
	ring_stop(ring);
}

static void open_all(void)
{
	const struct ring_settings ring_settings = {
		.entries = 64, .buffers = 4, .iowq_bounded = 2, .iowq_unbounded = 2};
	const char *address[] = {dns_open()};
	const struct relay_settings settings = {.resolvers = address, .resolvers_n = 1};
	struct err err = {""};

	now_ms = clock_ms();
	cr_assert_eq(ring_open(&ring, &ring_settings, &err), 0, "%s", err.text);
	cr_assert_eq(relay_resolver_open(&resolver, &settings, ring, &err), 0, "%s", err.text);
	cr_assert(relay_resolver_idle(resolver));
}

static void stop_when_idle(void *ctx)
{
	(void)ctx;
	if (relay_resolver_idle(resolver))
		ring_stop(ring);
}

static void close_all(void)
{
	clock_set_for_test(NULL, NULL);
	if (!relay_resolver_idle(resolver))
		ring_run(ring, stop_when_idle, NULL);
	relay_resolver_close(resolver);
	ring_close(ring);
	dns_close();
}

TestSuite(resolve, .init = open_all, .fini = close_all, .timeout = 60);

static void wait_for(struct trial *trial, unsigned calls)
{
	while (trial->calls < calls)
		ring_run(ring, NULL, NULL);
}

static int ask_mx(struct trial *trial, const char *domain)
{
	*trial = (struct trial){.lookup.done = trial_done};
	relay_resolve_mx(resolver, &trial->lookup, domain);
	cr_assert_eq(trial->calls, 0, "told from inside");
	wait_for(trial, 1);
	return trial->res;
}

static int ask_host(struct trial *trial, const char *host)
{
	*trial = (struct trial){.lookup.done = trial_done};
	relay_resolve_host(resolver, &trial->lookup, host);
	cr_assert_eq(trial->calls, 0, "told from inside");
	wait_for(trial, 1);
	return trial->res;
}

/* The records of the last answer, printable. */
static char records[512];

static void records_done(struct relay_lookup *lookup, int res)
{
	struct trial *trial = container_of(lookup, struct trial, lookup);
	size_t n = 0;

	records[0] = '\0';
	for (uint32_t i = 0; i < lookup->records_n; i++) {
		struct span one = lookup->records[i];

		n += (size_t)snprintf(records + n, sizeof(records) - n, "%s", i > 0 ? " | " : "");
		for (size_t j = 0; j < one.n; j++)
			n += (size_t)snprintf(records + n, sizeof(records) - n,
				one.p[j] < ' ' ? "\\%u" : "%c", one.p[j]);
	}
	trial_done(lookup, res);
	(void)trial;
}

typedef void resolve_fn(
	struct relay_resolver *asked, struct relay_lookup *lookup, const char *name);

static int ask_records(struct trial *trial, resolve_fn *resolve, const char *name)
{
	*trial = (struct trial){.lookup.done = records_done};
	resolve(resolver, &trial->lookup, name);
	cr_assert_eq(trial->calls, 0, "told from inside");
	wait_for(trial, 1);
	cr_expect(!trial->lookup.secure && !trial->lookup.bogus && trial->lookup.result == NULL);
	return trial->res;
}

/* "name/preference ..." */
static const char *hosts_of(const struct trial *trial)
{
	static char text[1024];
	size_t n = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < trial->lookup.hosts_n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s/%u", i ? " " : "",
			trial->lookup.hosts[i].name, trial->lookup.hosts[i].preference);
	return text;
}

static const char *addresses_of(const struct trial *trial)
{
	static char text[1024];
	size_t n = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < trial->lookup.addresses_n; i++) {
		const struct sockaddr_storage *one = &trial->lookup.addresses[i];
		const void *octets =
			one->ss_family == AF_INET
				? (const void *)&((const struct sockaddr_in *)one)->sin_addr
				: &((const struct sockaddr_in6 *)one)->sin6_addr;
		char address[INET6_ADDRSTRLEN];

		inet_ntop(one->ss_family, octets, address, sizeof(address));
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "", address);
	}
	return text;
}

struct answer_case {
	const char *name;
	int res;
	const char *answer;
};

Test(resolve, mx)
{
	static const struct answer_case cases[] = {
		{"plain.example.org", 0, "plain.example.org/0"},
		{"text.example.org", 0, "text.example.org/0"},
		{"no-such.example.org", -ENOENT, ""},
		{"odd.example.org", -ENOENT, ""},
		{"nearly.example.org", 0, "mx1.example.org/9"},
		{"null.example.org", 0, ""},
		{"fails.example.org", -EAGAIN, ""},
		{"localhost", 0, "localhost/0"},
		{"[192.0.2.1]", 0, "[192.0.2.1]/0"},
		{"a..b", -ENOENT, ""},
		{"", -ENOENT, ""},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct trial trial;

		cr_expect_eq(ask_mx(&trial, cases[i].name), cases[i].res, "%s: %d", cases[i].name,
			trial.res);
		cr_expect_str_eq(hosts_of(&trial), cases[i].answer, "%s: %s", cases[i].name,
			hosts_of(&trial));
		cr_expect_eq(trial.lookup.null_mx, strcmp(cases[i].name, "null.example.org") == 0);
	}
}

/* Equal preferences come in both orders, by the alias too; the bad name is left out. */
Test(resolve, mx_order)
{
	bool seen[2] = {false, false};

	for (int i = 0; i < 200 && !(seen[0] && seen[1]); i++) {
		struct trial trial;
		const char *hosts;

		cr_assert_eq(ask_mx(&trial, i % 2 ? "alias.example.org" : "Example.org"), 0, "%d",
			trial.res);
		hosts = hosts_of(&trial);
		if (strcmp(hosts, "mx1.example.org/10 mx2.example.org/10 "
				  "backup.example.org/20") == 0)
			seen[0] = true;
		else if (strcmp(hosts, "mx2.example.org/10 mx1.example.org/10 "
				       "backup.example.org/20") == 0)
			seen[1] = true;
		else
			cr_assert_fail("%s", hosts);
	}
	cr_expect(seen[0] && seen[1]);
}

Test(resolve, hosts)
{
#define MX1 "2001:db8::1 192.0.2.1 2001:db8::2 192.0.2.2 192.0.2.3"
	static const struct answer_case cases[] = {
		{"plain.example.org", 0, "192.0.2.9"},
		{"mail.test", 0, "192.0.2.10"},
		{"no-such.example.org", -ENOENT, ""},
		{"text.example.org", -ENOENT, ""},
		{"fails.example.org", -EAGAIN, ""},
		{"localhost", 0, "127.0.0.1 ::1"},
		{"a.LOCALHOST", 0, "127.0.0.1 ::1"},
		{"192.0.2.44", 0, "192.0.2.44"},
		{"2001:db8::44", 0, "2001:db8::44"},
		{"[2001:db8::44]", 0, "2001:db8::44"},
		{"[IPv6:2001:db8::45]", 0, "2001:db8::45"},
		{"", -ENOENT, ""},
	};
	struct trial trial;

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		cr_expect_eq(ask_host(&trial, cases[i].name), cases[i].res, "%s: %d", cases[i].name,
			trial.res);
		cr_expect_str_eq(addresses_of(&trial), cases[i].answer, "%s: %s", cases[i].name,
			addresses_of(&trial));
	}
	/* the server's order within a family is anybody's */
	for (int i = 0; i < 2; i++) {
		cr_expect_eq(ask_host(&trial, i ? "www.example.org" : "mx1.example.org"), 0);
		cr_assert_eq(trial.lookup.addresses_n, 5, "%s", addresses_of(&trial));
		cr_expect_eq(trial.lookup.addresses[0].ss_family, AF_INET6);
		cr_expect_eq(trial.lookup.addresses[1].ss_family, AF_INET);
		cr_expect_eq(trial.lookup.addresses[2].ss_family, AF_INET6);
		cr_expect_eq(trial.lookup.addresses[3].ss_family, AF_INET);
		cr_expect_eq(trial.lookup.addresses[4].ss_family, AF_INET);
	}
}

Test(resolve, asks_from_inside_done)
{
	struct trial trial = {.lookup.done = trial_done, .then = "plain.example.org"};

	relay_resolve_mx(resolver, &trial.lookup, "plain.example.org");
	wait_for(&trial, 2);
	cr_expect_eq(trial.res, 0);
	cr_expect_str_eq(addresses_of(&trial), "192.0.2.9");
}

Test(resolve, answers_are_remembered)
{
	struct trial trial;
	unsigned before;

	ask_host(&trial, "plain.example.org");
	before = dns_questions();
	ask_host(&trial, "plain.example.org");
	cr_expect_eq(trial.res, 0);
	cr_expect_eq(dns_questions(), before);
}

/* One turn of the loop with the clock as it stands. */
static void turn(void)
{
	struct trial trial = {.lookup.done = trial_done};

	relay_resolve_host(resolver, &trial.lookup, "192.0.2.1");
	wait_for(&trial, 1);
}

static void move_clock(uint64_t ms)
{
	now_ms += ms;
	turn();
	turn();
}

Test(resolve, time_limit)
{
	struct trial mx = {.lookup.done = trial_done}, host = {.lookup.done = trial_done};
	int64_t before = counter_sum(COUNTER_DNS_TIMEOUTS);

	clock_set_for_test(&now_ms, NULL);
	turn();
	relay_resolve_mx(resolver, &mx.lookup, "silent.example.org");
	relay_resolve_host(resolver, &host.lookup, "silent.example.org");
	move_clock(19900);
	cr_expect_eq(mx.calls + host.calls, 0);
	cr_expect_not(relay_resolver_idle(resolver));
	move_clock(200);
	cr_expect_eq(mx.calls, 1);
	cr_expect_eq(mx.res, -EAGAIN);
	cr_expect_eq(host.calls, 1);
	cr_expect_eq(host.res, -EAGAIN);
	cr_expect_eq(counter_sum(COUNTER_DNS_TIMEOUTS), before + 2);
}

/* AAAA is never answered: two seconds after A came, A is the answer. */
Test(resolve, the_other_family_is_not_waited_for)
{
	struct trial trial = {.lookup.done = trial_done};

	clock_set_for_test(&now_ms, NULL);
	turn();
	relay_resolve_host(resolver, &trial.lookup, "half.example.org");
	while (trial.calls == 0 && trial.lookup.addresses_n == 0) {
		/* the A record's arrival shows only in the timer: let real time pass, then the
		 * clock's */
		struct trial other = {.lookup.done = trial_done};

		relay_resolve_host(resolver, &other.lookup, "no-such-2.example.org");
		wait_for(&other, 1);
		move_clock(2100);
		cr_assert_lt(now_ms, clock_ms() + 19000);
	}
	cr_assert_eq(trial.calls, 1);
	cr_expect_eq(trial.res, 0);
	cr_expect_str_eq(addresses_of(&trial), "192.0.2.7");
}

Test(resolve, cancel)
{
	struct trial trials[4];

	for (size_t i = 0; i < COUNT_OF(trials); i++)
		trials[i] = (struct trial){.lookup.done = trial_done};
	relay_resolve_mx(resolver, &trials[0].lookup, "silent.example.org");
	relay_resolve_host(resolver, &trials[1].lookup, "plain.example.org");
	relay_resolve_host(resolver, &trials[2].lookup, "192.0.2.1");
	relay_resolve_host(resolver, &trials[3].lookup, "mx1.example.org");
	for (size_t i = 0; i < 3; i++)
		relay_resolve_cancel(resolver, &trials[i].lookup);
	wait_for(&trials[3], 1);
	cr_expect_eq(trials[3].res, 0);
	if (!relay_resolver_idle(resolver))
		ring_run(ring, stop_when_idle, NULL);
	for (size_t i = 0; i < 3; i++)
		cr_expect_eq(trials[i].calls, 0);
	/* and once more, idle, then asked again */
	relay_resolve_cancel(resolver, &trials[0].lookup);
	cr_expect(relay_resolver_idle(resolver));
	cr_expect_eq(ask_host(&trials[0], "plain.example.org"), 0);
}

Test(resolve, lookups_are_bounded)
{
	enum { MANY = 1025 };
	static struct trial trials[MANY];
	int64_t before = counter_sum(COUNTER_DNS_FULL);

	for (size_t i = 0; i < MANY; i++) {
		trials[i] = (struct trial){.lookup.done = trial_done};
		relay_resolve_mx(resolver, &trials[i].lookup, "silent.example.org");
	}
	wait_for(&trials[MANY - 1], 1);
	cr_expect_eq(trials[MANY - 1].res, -EAGAIN);
	cr_expect_eq(counter_sum(COUNTER_DNS_FULL), before + 1);
	for (size_t i = 0; i < MANY - 1; i++) {
		cr_expect_eq(trials[i].calls, 0);
		relay_resolve_cancel(resolver, &trials[i].lookup);
	}
}

/* ---- behind a filter like a worker's ---- */

static const int forbidden[] = {SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(connect),
	SCMP_SYS(bind), SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(clone), SCMP_SYS(clone3),
	SCMP_SYS(fork), SCMP_SYS(pipe), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(select),
	SCMP_SYS(pselect6), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(ioctl)};

static void *filtered(void *arg)
{
	scmp_filter_ctx filter;
	struct trial trial;
	struct err err;

	open_all();
	filter = seccomp_init(SCMP_ACT_ALLOW);
	for (size_t i = 0; i < COUNT_OF(forbidden); i++)
		cr_assert_eq(seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, forbidden[i], 0), 0);
	cr_assert_eq(seccomp_load(filter), 0);
	seccomp_release(filter);
	cr_expect_eq(ask_mx(&trial, "nearly.example.org"), 0);
	cr_expect_eq(ask_host(&trial, "mx1.example.org"), 0);
	cr_expect_eq(trial.lookup.addresses_n, 5);
	(void)err;
	close_all();
	return arg;
}

/* The thread that asks may neither open sockets nor start threads: libunbound's did it before. */
Test(resolve_filtered, works, .timeout = 60)
{
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, filtered, NULL), 0);
	pthread_join(thread, NULL);
}

Test(resolve_open, takes_the_systems_servers)
{
	const struct ring_settings ring_settings = {
		.entries = 8, .buffers = 4, .iowq_bounded = 2, .iowq_unbounded = 2};
	const struct relay_settings settings = {0};
	struct err err = {""};

	cr_assert_eq(ring_open(&ring, &ring_settings, &err), 0, "%s", err.text);
	cr_assert_eq(relay_resolver_open(&resolver, &settings, ring, &err), 0, "%s", err.text);
	relay_resolver_close(resolver);
	relay_resolver_close(NULL);
	ring_close(ring);
}

Test(resolve_open, says_which_resolver_is_wrong)
{
	const char *address[] = {"resolver.example.org"};
	const struct relay_settings settings = {.resolvers = address, .resolvers_n = 1};
	struct err err = {""};

	cr_expect_eq(relay_resolver_open(&resolver, &settings, NULL, &err), -1);
	cr_expect(strncmp(err.text, "relay: resolver resolver.example.org: ",
			  strlen("relay: resolver resolver.example.org: ")) == 0,
		"%s", err.text);
}

/* ---- TXT, TLSA, CNAME ---- */

Test(resolve, records_as_they_are)
{
	struct trial trial;

	cr_expect_eq(ask_records(&trial, relay_resolve_txt, "_mta-sts.example.org"), 0);
	cr_expect(strstr(records, "\\14v=STSv1; id=1;") != NULL &&
			  strstr(records, "\\11v=spf1 -all") != NULL,
		"%s", records);
	cr_expect_eq(trial.lookup.records_n, 2);
	cr_expect_eq(ask_records(&trial, relay_resolve_tlsa, "_25._tcp.mx1.example.org"), 0);
	cr_expect_str_eq(records, "\\3\\1\\1abc");
	cr_expect_eq(ask_records(&trial, relay_resolve_txt, "_mta-sts.alias.example.org"), 0,
		"an alias is followed");
	cr_expect_eq(trial.lookup.records_n, 2);
}

Test(resolve, records_that_are_not_there)
{
	struct trial trial;
	char name[300];

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	cr_expect_eq(ask_records(&trial, relay_resolve_txt, "mx1.example.org"), -ENOENT);
	cr_expect_eq(ask_records(&trial, relay_resolve_tlsa, "no-such.example.org"), -ENOENT);
	cr_expect_eq(ask_records(&trial, relay_resolve_txt, "fails.example.org"), -EAGAIN);
	cr_expect_eq(ask_records(&trial, relay_resolve_txt, name), -ENOENT, "too long");
	cr_expect_eq(ask_records(&trial, relay_resolve_txt, ""), -ENOENT);
	cr_expect_eq(ask_records(&trial, relay_resolve_cname, "www.example.org"), 0);
	cr_expect_eq(ask_records(&trial, relay_resolve_cname, "mx1.example.org"), -ENOENT);
}

Test(resolve, canonical_names)
{
	struct trial trial;

	cr_expect_eq(ask_host(&trial, "www.example.org"), 0);
	cr_expect_str_eq(trial.lookup.canonical, "mx1.example.org");
	cr_expect_eq(ask_host(&trial, "MX1.example.org"), 0);
	cr_expect_str_eq(trial.lookup.canonical, "", "it is its own");
	cr_expect(!trial.lookup.secure);
	cr_expect_eq(ask_host(&trial, "192.0.2.1"), 0);
	cr_expect_str_eq(trial.lookup.canonical, "");
}

static void never(struct relay_lookup *lookup, int res)
{
	(void)lookup;
	(void)res;
	cr_assert(false, "it was cancelled");
}

static struct trial *pair;

/* The first of the pair to be told cancels the other, whichever that is. */
static void cancels(struct relay_lookup *lookup, int res)
{
	struct trial *other = lookup == &pair[0].lookup ? &pair[1] : &pair[0];

	trial_done(lookup, res);
	other->lookup.done = never;
	relay_resolve_cancel(resolver, &other->lookup);
}

/* Both may have their answers when the first is told; the other one's records are given back. */
Test(resolve, records_cancelled_once_they_are_there)
{
	struct trial trials[2];
	struct trial *told;
	struct trial *other;

	for (size_t i = 0; i < 2; i++)
		trials[i] = (struct trial){.lookup.done = cancels};
	pair = trials;
	relay_resolve_txt(resolver, &trials[0].lookup, "_mta-sts.example.org");
	relay_resolve_txt(resolver, &trials[1].lookup, "_mta-sts.example.org");
	while (trials[0].calls + trials[1].calls == 0)
		ring_run(ring, NULL, NULL);
	told = trials[0].calls ? &trials[0] : &trials[1];
	other = told == &trials[0] ? &trials[1] : &trials[0];
	cr_expect(other->lookup.result == NULL && other->calls == 0);
}

/* ---- the trust anchor ---- */

static int open_with(const char *anchor, enum route_tls tls)
{
	const struct route_settings route = {.tls = tls};
	const char *address[] = {"127.0.0.1@1"};
	const struct relay_settings settings = {.resolvers = address,
		.resolvers_n = 1,
		.routes = &route,
		.routes_n = 1,
		.trust_anchor = anchor};
	struct relay_resolver *other;
	struct err err = {""};
	int res = relay_resolver_open(&other, &settings, ring, &err);

	if (res == 0)
		relay_resolver_close(other);
	else
		cr_expect(strstr(err.text, "trust_anchor") != NULL, "%s", err.text);
	return res;
}

Test(resolve, trust_anchors)
{
	char path[] = "/tmp/postern-anchor-XXXXXX";
	int file = mkstemp(path);
	static const char damaged[] = ". IN DS this is none\n";

	cr_assert(file >= 0 && write(file, damaged, sizeof(damaged) - 1) > 0);
	cr_expect_eq(open_with(NULL, ROUTE_TLS_POLICY), 0);
	cr_expect_eq(open_with("/nonexistent/root.key", ROUTE_TLS_POLICY), 0,
		"a warning: nothing is secure");
	cr_expect_eq(open_with(path, ROUTE_TLS_MAY), 0, "nobody needs it");
	cr_expect_eq(open_with(path, ROUTE_TLS_POLICY), -1, "damaged");
	close(file);
	unlink(path);
}
