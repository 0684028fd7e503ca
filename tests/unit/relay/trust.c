/* SPDX-License-Identifier: MIT */
/*
 * trust.c -- unit tests of routes with tls = policy where nobody asks for anything, of REQUIRETLS and
 * of how long a decision lives: a whole relay. What DANE and MTA-STS come to needs signed zones and a
 * policy host: tests/sts/table.
 */
#include "relay/trust-private.h"
#include "tests/unit/relay/dns.h"
#include "tests/unit/relay/whole.h"

#define LOCAL_MX "[127.0.0.1]"

static const char *const domains[] = {"local.example.org", LOCAL_MX};
static const char *resolvers[1];

static void prepare(enum route_tls tls)
{
	whole_prepare();
	resolvers[0] = dns_open();
	whole_config.relay.resolvers = resolvers;
	whole_config.relay.resolvers_n = 1;
	whole_config.relay.dane = whole_config.relay.sts = true;
	whole_routes[WHOLE_MX].domains = domains;
	whole_routes[WHOLE_MX].domains_n = COUNT_OF(domains);
	whole_routes[WHOLE_MX].tls = tls;
	whole_routes[WHOLE_MX].idle_ms = 3600000;
	whole_open();
}

static void finish(void)
{
	whole_requiretls = false;
	whole_close();
	dns_close();
}

Test(trust, without_a_policy_mail_goes, .timeout = WHOLE_LIMIT_S)
{
	int64_t before = counter_sum(COUNTER_RELAY_TRUST_NONE);

	prepare(ROUTE_TLS_POLICY);
	(void)whole_send("s@b.example", "u@local.example.org v@[127.0.0.1]");
	whole_until_empty();
	cr_expect_eq(sink_seen(0).messages, 2);
	cr_expect_eq(counter_sum(COUNTER_RELAY_TRUST_NONE), before + 1,
		"an address literal has no policy");
	finish();
}

/* As if what stands had been decided so long ago. */
static void decided_before(uint64_t ms)
{
	struct list *links = &whole->schedule->links;

	for (struct list *node = links->next; node != links; node = node->next) {
		struct relay_link *link = container_of(node, struct relay_link, all);

		if (link->trusted_ms != 0)
			link->trusted_ms -= ms;
	}
}

static void connections_of_three(enum route_tls tls, const unsigned connections[3])
{
	prepare(tls);
	for (unsigned i = 0; i < 3; i++) {
		(void)whole_send("s@b.example", "u@local.example.org");
		whole_until_empty();
		cr_expect_eq(sink_seen(0).messages, i + 1);
		cr_expect_eq(sink_seen(0).connections, connections[i], "message %u: %u", i,
			sink_seen(0).connections);
		decided_before(RELAY_TRUST_MS_MAX / 2);
	}
	finish();
}

Test(trust, a_decision_does_not_live_for_ever, .timeout = WHOLE_LIMIT_S)
{
	static const unsigned connections[] = {1, 1, 2};

	connections_of_three(ROUTE_TLS_POLICY, connections);
}

Test(trust, other_routes_decide_once, .timeout = WHOLE_LIMIT_S)
{
	static const unsigned connections[] = {1, 1, 1};

	connections_of_three(ROUTE_TLS_MAY, connections);
}

/* Nothing vouches for the MX: returned at once, the report to the sender's own next hop. */
static void returned(enum route_tls tls, const char *recipient)
{
	int64_t before = counter_sum(COUNTER_RELAY_BOUNCED);

	prepare(tls);
	whole_requiretls = true;
	(void)whole_send("s@b.example", recipient);
	whole_until_empty();
	cr_expect_eq(counter_sum(COUNTER_RELAY_BOUNCED), before + 1);
	cr_expect_eq(sink_seen(0).connections, 0);
	cr_expect_eq(sink_seen(1).messages, 1);
	finish();
}

Test(trust, requiretls_to_an_mx_that_nobody_vouches_for, .timeout = WHOLE_LIMIT_S)
{
	returned(ROUTE_TLS_POLICY, "u@local.example.org");
}

Test(trust, requiretls_by_a_route_without_policy, .timeout = WHOLE_LIMIT_S)
{
	returned(ROUTE_TLS_MAY, "u@local.example.org");
}

Test(trust, requiretls_to_an_address, .timeout = WHOLE_LIMIT_S)
{
	returned(ROUTE_TLS_POLICY, "u@[127.0.0.1]");
}

Test(trust, requiretls_inside_and_of_reports, .timeout = WHOLE_LIMIT_S)
{
	prepare(ROUTE_TLS_POLICY);
	whole_requiretls = true;
	(void)whole_send("s@b.example", "u@smtp.example v@a.example w@box.example");
	whole_until_empty();
	cr_expect_eq(sink_seen(0).messages, 2);
	(void)whole_send("", "u@local.example.org");
	whole_until_empty();
	cr_expect_eq(sink_seen(0).messages, 3, "a report goes all the same");
	finish();
}

/* Theirs only where there are policies that do not count. */
Test(trust, tls_optional_has_destinations_of_its_own, .timeout = WHOLE_LIMIT_S)
{
	static const struct {
		enum route_tls tls;
		const char *name;
	} rows[] = {
		{ROUTE_TLS_POLICY, "mx-tls-optional:local.example.org"},
		{ROUTE_TLS_REQUIRE, "mx:local.example.org"},
	};
	struct span domain = span_str("Local.example.org");
	char name[300];

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		prepare(rows[i].tls);
		relay_destination_name(whole, relay_route(whole->routes, domain), domain,
			RELAY_WISH_TLS_OPTIONAL, name);
		cr_expect_str_eq(name, rows[i].name);
		finish();
	}
}

/* What is final for REQUIRETLS says nothing to the others. */
Test(trust, requiretls_has_destinations_of_its_own, .timeout = WHOLE_LIMIT_S)
{
	const struct route_settings *route;
	char name[300];

	prepare(ROUTE_TLS_POLICY);
	route = relay_route(whole->routes, span_str("local.example.org"));
	relay_destination_name(
		whole, route, span_str("Local.example.org"), RELAY_WISH_REQUIRETLS, name);
	cr_expect_str_eq(name, "mx-requiretls:local.example.org");
	relay_destination_name(whole, route, span_str("Local.example.org"), RELAY_WISH_NONE, name);
	cr_expect_str_eq(name, "mx:local.example.org");
	relay_destination_name(whole, relay_route(whole->routes, span_str("a.example")),
		span_str("a.example"), RELAY_WISH_REQUIRETLS, name);
	cr_expect_str_eq(name, "route:a");
	(void)whole_send("s@b.example", "u@local.example.org");
	whole_requiretls = true;
	(void)whole_send("s@b.example", "v@local.example.org");
	whole_requiretls = false;
	(void)whole_send("s@b.example", "w@local.example.org");
	whole_until_empty();
	cr_expect_eq(sink_seen(0).messages, 2);
	cr_expect_eq(sink_seen(1).messages, 1, "a report");
	finish();
}
