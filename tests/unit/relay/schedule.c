/* SPDX-License-Identifier: MIT */
/*
 * schedule.c -- entries through the whole relay to sinks on loopback: what becomes of each reply, of
 * destinations that are down, of limits; the end.
 */
#include "tests/unit/relay/whole.h"

#include <stdio.h>

#include "base/clock.h"
#include "tests/unit/relay/dns.h"

TestSuite(schedule, .timeout = WHOLE_LIMIT_S);

Test(schedule, one_message_to_one_destination_is_one_transaction)
{
	int64_t before = counter_sum(COUNTER_RELAY_DELIVERED);

	whole_prepare();
	whole_open();
	(void)whole_send("s@c.example", "u@a.example v@a.example");
	whole_until_empty();
	cr_expect(sink_seen(0).messages == 1);
	cr_expect(sink_seen(0).recipients == 2);
	cr_expect(sink_seen(1).connections == 0);
	cr_expect(counter_sum(COUNTER_RELAY_DELIVERED) == before + 2);
	whole_close();
}

Test(schedule, destinations_of_a_message_are_served_side_by_side)
{
	whole_prepare();
	whole_open();
	sink_block(0);
	(void)whole_send("s@c.example", "u@a.example v@b.example w@smtp.example x@box.example");
	whole_until_sink(1, 1);
	sink_go(0);
	whole_until_empty();
	cr_expect(sink_seen(0).messages == 2);
	whole_close();
}

Test(schedule, recipients_max_splits_a_message)
{
	whole_prepare();
	whole_routes[WHOLE_A].recipients_max = 2;
	whole_open();
	(void)whole_send(
		"s@c.example", "a@a.example b@a.example c@a.example d@a.example e@a.example");
	whole_until_empty();
	cr_expect(sink_seen(0).messages == 3);
	cr_expect(sink_seen(0).recipients == 5);
	whole_close();
}

Test(schedule, replies_of_one_transaction_part)
{
	uint64_t id;

	whole_prepare();
	whole_config.relay.retry_ms_min = whole_config.relay.retry_ms_max = 3600000;
	whole_open();
	id = whole_send("s@b.example", "u@a.example later@a.example never@a.example");
	whole_until_attempts(id, 3);
	cr_expect_str_eq(whole_fates(id), "DELIVERED PENDING BOUNCED");
	cr_expect(whole_entry(id)->attempts == 1, "one round, %u", whole_entry(id)->attempts);
	whole_until_sink(1, 1); /* the report, at the sender's */
	whole_until_state(id, RELAY_STATE_DEFERRED);
	cr_expect(whole_entry(id)->due_real_s > clock_real_us() / 1000000 + 2000);
	whole_close();
}

Test(schedule, deferred_recipients_are_tried_again)
{
	uint64_t id;

	whole_prepare();
	whole_open();
	id = whole_send("s@b.example", "later@a.example");
	whole_until_attempts(id, 3);
	cr_expect(whole_entry(id)->attempts >= 3);
	cr_expect_str_eq(whole_last(id), "450 4.2.0 busy");
	cr_expect(sink_seen(0).connections == 1);
	whole_close();
}

Test(schedule, an_old_message_expires_with_a_report)
{
	int64_t before = counter_sum(COUNTER_RELAY_EXPIRED);

	whole_prepare();
	whole_config.relay.expire_ms = 0;
	whole_open();
	(void)whole_send("s@b.example", "later@a.example");
	whole_until_empty();
	cr_expect(sink_seen(1).messages == 1);
	cr_expect(counter_sum(COUNTER_RELAY_EXPIRED) == before + 1);
	whole_close();
}

Test(schedule, the_sender_is_warned_once)
{
	uint64_t id;

	whole_prepare();
	whole_config.relay.warn_ms = 1;
	whole_open();
	id = whole_send("s@b.example", "later@a.example");
	whole_until_sink(1, 1);
	whole_until_attempts(id, 4);
	cr_expect(whole_entry(id)->recipients[0].warned);
	cr_expect(sink_seen(1).messages == 1);
	whole_close();
}

Test(schedule, a_report_that_cannot_be_delivered_is_dropped)
{
	int64_t before = counter_sum(COUNTER_RELAY_DOUBLE_BOUNCES);

	whole_prepare();
	whole_open();
	(void)whole_send("", "never@a.example");
	whole_until_empty();
	cr_expect(counter_sum(COUNTER_RELAY_DOUBLE_BOUNCES) == before + 1);
	whole_close();
}

Test(schedule, no_route_defers)
{
	uint64_t id;

	whole_prepare();
	whole_open();
	id = whole_send("s@b.example", "u@nowhere.example v@a.example");
	whole_until_attempts(id, 2);
	cr_expect_str_eq(whole_fates(id), "PENDING DELIVERED");
	whole_until_attempts(id, 3);
	cr_expect(strstr(whole_last(id), "no route") != NULL, "%s", whole_last(id));
	whole_close();
}

Test(schedule, an_address_literal_is_its_own_mx)
{
	whole_prepare();
	/* Nothing to be looked up, but an mx route has a resolver. */
	whole_config.relay.resolvers = (const char *const[]){"127.0.0.1"};
	whole_config.relay.resolvers_n = 1;
	whole_open();
	(void)whole_send("s@b.example", "u@[127.0.0.1]");
	whole_until_empty();
	cr_expect(sink_seen(0).messages == 1);
	whole_close();
}

/* ---- connections ---- */

Test(schedule, connections_are_kept_and_limited)
{
	whole_prepare();
	whole_routes[WHOLE_A].connections_max = 2;
	whole_open();
	sink_block(0);
	for (int i = 0; i < 8; i++)
		(void)whole_send("s@c.example", "u@a.example");
	while (sink_seen(0).blocked < 1)
		whole_for_ms(2);
	sink_go(0);
	whole_until_empty();
	cr_expect(sink_seen(0).messages == 8);
	cr_expect(sink_seen(0).open_max <= 2);
	cr_expect(sink_seen(0).connections <= 2);
	whole_close();
}

Test(schedule, a_connection_ends_after_messages_max)
{
	whole_prepare();
	whole_routes[WHOLE_A].messages_max = 2;
	whole_routes[WHOLE_A].connections_max = 1;
	whole_open();
	for (int i = 0; i < 6; i++)
		(void)whole_send("s@c.example", "u@a.example");
	whole_until_empty();
	cr_expect(sink_seen(0).connections == 3);
	whole_close();
	cr_expect(sink_seen(0).quits >= 2);
}

Test(schedule, an_idle_connection_is_let_go)
{
	whole_prepare();
	whole_routes[WHOLE_A].idle_ms = 1;
	whole_open();
	(void)whole_send("s@c.example", "u@a.example");
	whole_until_empty();
	while (sink_seen(0).quits == 0)
		whole_for_ms(2);
	cr_expect(sink_seen(0).open == 0);
	whole_close();
}

Test(schedule, the_worker_s_connections_are_shared)
{
	whole_prepare();
	whole_config.relay.connections_max = 1;
	whole_open();
	for (int i = 0; i < 4; i++) {
		(void)whole_send("s@c.example", "u@a.example");
		(void)whole_send("s@c.example", "u@b.example");
	}
	whole_until_empty();
	cr_expect(sink_seen(0).messages == 4);
	cr_expect(sink_seen(1).messages == 4);
	whole_close();
}

Test(schedule, a_connection_that_died_idle_costs_nothing)
{
	int64_t deferred = counter_sum(COUNTER_RELAY_DEFERRED);

	whole_prepare();
	whole_open();
	sink_tired(0, 1);
	(void)whole_send("s@c.example", "u@a.example");
	whole_until_empty();
	(void)whole_send("s@c.example", "v@a.example");
	whole_until_empty();
	cr_expect(sink_seen(0).connections == 2);
	cr_expect(counter_sum(COUNTER_RELAY_DEFERRED) == deferred);
	whole_close();
}

Test(schedule, a_hop_that_wants_no_more_connections_stays_up)
{
	int64_t failures = counter_sum(COUNTER_RELAY_HOP_FAILURES);

	whole_prepare();
	whole_open();
	sink_places(0, 1);
	sink_block(0);
	for (int i = 0; i < 6; i++)
		(void)whole_send("s@c.example", "u@a.example");
	while (sink_seen(0).blocked < 1 || sink_seen(0).connections < 2)
		whole_for_ms(2);
	sink_go(0);
	whole_until_empty();
	cr_expect(sink_seen(0).messages == 6);
	cr_expect(counter_sum(COUNTER_RELAY_HOP_FAILURES) == failures);
	whole_close();
}

/* ---- down ---- */

Test(schedule, messages_wait_for_a_destination_that_is_down)
{
	uint64_t first;

	whole_prepare();
	whole_open();
	sink_stop(0);
	first = whole_send("s@c.example", "u@a.example");
	for (int i = 0; i < 4; i++)
		(void)whole_send("s@c.example", "u@a.example");
	whole_until_attempts(first, 2);
	cr_expect(whole_entry(first)->attempts == 0, "nothing was tried, %u",
		whole_entry(first)->attempts);
	cr_expect(strstr(whole_last(first), "4.4.1") != NULL, "%s", whole_last(first));
	cr_expect(relay_entry_state(whole_entry(first)) == RELAY_STATE_DEFERRED);
	cr_expect(counter_sum(COUNTER_QUEUE_DEFERRED) == 5);
	sink_start(0);
	whole_until_empty();
	cr_expect(sink_seen(0).messages == 5);
	whole_close();
}

Test(schedule, a_short_outage_leaves_no_record)
{
	uint64_t id;

	whole_prepare();
	whole_config.relay.retry_ms_min = 60000;
	whole_config.relay.retry_ms_max = 60000;
	whole_open();
	sink_stop(0);
	id = whole_send("s@c.example", "u@a.example");
	whole_until_state(id, RELAY_STATE_DEFERRED);
	cr_expect_str_eq(whole_last(id), "");
	sink_start(0);
	whole_until_empty();
	whole_close();
}

Test(schedule, what_waits_at_a_dead_destination_expires)
{
	whole_prepare();
	whole_config.relay.expire_ms = 0;
	whole_open();
	sink_stop(0);
	(void)whole_send("s@b.example", "u@a.example");
	whole_until_empty();
	cr_expect(sink_seen(1).messages == 1);
	whole_close();
}

Test(schedule, fail_over_and_back)
{
	whole_prepare();
	whole_open();
	sink_stop(0);
	(void)whole_send("s@c.example", "u@ab.example");
	whole_until_empty();
	cr_expect(sink_seen(1).messages == 1);
	sink_start(0);
	/* Each message gives the first hop the chance of a trial. */
	for (unsigned i = 0; sink_seen(0).messages == 0; i++) {
		cr_assert(i < 1000);
		(void)whole_send("s@c.example", "u@ab.example");
		whole_until_empty();
		whole_for_ms(20);
	}
	while (sink_seen(1).open > 0) /* not needed any more */
		whole_for_ms(2);
	whole_close();
}

Test(schedule, unavailable_at_first_is_down)
{
	whole_prepare();
	whole_open();
	sink_unavailable(0, 1);
	(void)whole_send("s@c.example", "u@a.example");
	whole_until_empty();
	cr_expect(sink_seen(0).messages == 1);
	cr_expect(sink_seen(0).connections == 2);
	whole_close();
}

Test(schedule, a_refusing_store_does_not_empty_the_queue_into_bounces)
{
	uint64_t id;

	whole_prepare();
	sink_greeting(0, "554 5.7.1 go away");
	whole_open();
	id = whole_send("s@b.example", "u@a.example");
	whole_until_attempts(id, 1);
	cr_expect_str_eq(whole_fates(id), "PENDING");
	sink_greeting(0, "220 welcome");
	whole_until_empty();
	cr_expect(sink_seen(1).messages == 0);
	whole_close();
}

Test(schedule, an_mx_that_refuses_everybody_is_final)
{
	whole_prepare();
	whole_config.relay.resolvers = (const char *const[]){"127.0.0.1"};
	whole_config.relay.resolvers_n = 1;
	sink_greeting(0, "554 5.7.1 go away");
	whole_open();
	(void)whole_send("s@b.example", "u@[127.0.0.1]");
	whole_until_empty();
	cr_expect(sink_seen(1).messages == 1);
	whole_close();
}

Test(schedule, an_mx_that_takes_mail_but_no_further_connection_is_not_final)
{
	uint64_t id;

	whole_prepare();
	whole_config.relay.resolvers = (const char *const[]){"127.0.0.1"};
	whole_config.relay.resolvers_n = 1;
	whole_open();
	sink_block(0);
	(void)whole_send("s@b.example", "u@[127.0.0.1]");
	while (sink_seen(0).blocked < 1)
		whole_for_ms(2);
	sink_greeting(0, "554 5.7.1 one at a time");
	id = whole_send("s@b.example", "v@[127.0.0.1]");
	while (sink_seen(0).connections < 2)
		whole_for_ms(2);
	whole_for_ms(50);
	cr_assert(whole_entry(id) != NULL);
	cr_expect_str_eq(whole_fates(id), "PENDING");
	sink_go(0);
	whole_until_empty();
	cr_expect(sink_seen(0).messages == 2);
	cr_expect(sink_seen(1).messages == 0, "no report");
	whole_close();
}

/* The reply that the sender of one message to `domain` is told of. */
static void expect_final(const char *domain, const char *hostname)
{
	int64_t bounced = counter_sum(COUNTER_RELAY_BOUNCED);
	const char *resolver;
	char address[64];

	whole_prepare();
	resolver = dns_open();
	whole_config.relay.resolvers = &resolver;
	whole_config.relay.resolvers_n = 1;
	whole_config.smtp.hostname = hostname;
	whole_open();
	(void)snprintf(address, sizeof(address), "u@%s", domain);
	(void)whole_send("s@b.example", address);
	whole_until_empty();
	cr_expect(sink_seen(0).connections == 0);
	cr_expect(sink_seen(1).messages == 1);
	cr_expect(counter_sum(COUNTER_RELAY_BOUNCED) == bounced + 1);
	whole_close();
	dns_close();
}

Test(schedule, what_dns_says_is_final)
{
	expect_final("null.example.org", "mx.example.org");
	expect_final("gone.example.org", "mx.example.org");
	expect_final("example.org", "mx1.example.org"); /* ourselves, and an equal one */
}

Test(schedule, a_reload_moves_what_waits)
{
	whole_prepare();
	whole_open();
	sink_stop(0);
	(void)whole_send("s@c.example", "u@a.example");
	(void)whole_send("s@c.example", "u@a.example");
	while (counter_sum(COUNTER_QUEUE_DEFERRED) < 2)
		whole_turn();
	whole_route_move(WHOLE_A, WHOLE_B);
	whole_until_empty();
	cr_expect(sink_seen(1).messages == 2);
	whole_close();
}

Test(schedule, weights_use_every_hop)
{
	whole_prepare();
	whole_routes[WHOLE_AB].choose = ROUTE_CHOOSE_WEIGHT;
	whole_open();
	/* One message at a time would do with one connection. */
	for (unsigned i = 0; sink_seen(0).messages < 10 || sink_seen(1).messages < 10; i++) {
		cr_assert(i < 2000);
		(void)whole_send("s@c.example", "u@ab.example");
		whole_until_empty();
	}
	sink_stop(0);
	for (int i = 0; i < 10; i++)
		(void)whole_send("s@c.example", "u@ab.example");
	whole_until_empty();
	whole_close();
}

Test(schedule, success_is_reported_where_asked_for)
{
	whole_prepare();
	whole_open();
	whole_notify = SMTP_NOTIFY_SUCCESS;
	(void)whole_send("s@b.example", "u@a.example");
	(void)whole_send("s@b.example", "u@smtp.example never@a.example");
	whole_notify = 0;
	whole_until_empty();
	cr_expect(counter_sum(COUNTER_RELAY_DSN_DELIVERED) == 1);
	cr_expect(counter_sum(COUNTER_RELAY_DSN_RELAYED) == 1);
	cr_expect(counter_sum(COUNTER_RELAY_DSN_FAILED) == 0);
	cr_expect(sink_seen(1).messages == 2);
	whole_close();
}

Test(schedule, success_is_left_to_a_store_that_reports_it)
{
	whole_prepare();
	sink_offers(0, "DSN");
	whole_open();
	whole_notify = SMTP_NOTIFY_SUCCESS;
	(void)whole_send("s@b.example", "u@a.example");
	(void)whole_send("s@b.example", "u@smtp.example");
	whole_notify = 0;
	whole_until_empty();
	cr_expect(sink_seen(0).messages == 2);
	cr_expect(sink_seen(1).messages == 0);
	whole_close();
}

/* A line holds no more trips than are left for others. */
Test(schedule, a_long_line_leaves_trips_for_others)
{
	whole_prepare();
	whole_config.relay.retry_ms_min = whole_config.relay.retry_ms_max = 3600000;
	whole_open();
	whole->schedule->pools.trips.max = 8;
	sink_stop(0);
	for (int i = 0; i < 8; i++)
		(void)whole_send("s@c.example", "u@a.example");
	whole_for_ms(50);
	cr_expect(whole->schedule->pools.trips.live == 4, "%u", whole->schedule->pools.trips.live);
	(void)whole_send("s@c.example", "u@b.example");
	(void)whole_send("s@c.example", "u@b.example v@a.example");
	whole_until_sink(1, 2);
	whole_close();
}

Test(schedule, without_a_free_run_nothing_spins)
{
	struct pool *runs;
	void *taken[RELAY_RUNS_MAX];
	uint32_t n = 0;
	unsigned turns = 0;
	uint64_t end_ms;

	whole_prepare();
	whole_open();
	(void)whole_send("s@c.example", "u@a.example");
	whole_until_empty();
	cr_assert(sink_seen(0).open == 1);
	runs = &whole->schedule->pools.runs;
	while ((taken[n] = pool_get(runs)) != NULL)
		n++;
	(void)whole_send("s@c.example", "v@a.example");
	for (end_ms = clock_ms() + 200; clock_ms() < end_ms; turns++)
		whole_for_ms(10);
	cr_expect(counter_sum(COUNTER_RELAY_RUNS_FULL) < 30, "%lld in %u turns",
		(long long)counter_sum(COUNTER_RELAY_RUNS_FULL), turns);
	while (n > 0)
		pool_put(runs, taken[--n]);
	whole_until_empty();
	cr_expect(sink_seen(0).messages == 2);
	whole_close();
}

/* ---- the end and the beginning ---- */

Test(schedule, a_restart_goes_on_where_it_was)
{
	uint64_t id;

	whole_prepare();
	whole_open();
	id = whole_send("s@b.example", "u@a.example later@a.example");
	whole_until_attempts(id, 2);
	whole_restart();
	cr_expect_str_eq(whole_fates(id), "DELIVERED PENDING");
	whole_until_attempts(id, 3);
	cr_expect(sink_seen(0).messages == 1);
	whole_close();
}

Test(schedule, drain_finishes_what_runs_and_begins_nothing)
{
	uint64_t second;

	whole_prepare();
	whole_routes[WHOLE_A].connections_max = 1;
	whole_open();
	sink_block(0);
	(void)whole_send("s@c.example", "u@a.example");
	second = whole_send("s@c.example", "u@a.example");
	while (sink_seen(0).blocked < 1)
		whole_for_ms(2);
	relay_drain(whole);
	whole_for_ms(40);
	cr_expect(!relay_idle(whole));
	sink_go(0);
	while (!relay_idle(whole))
		whole_turn();
	cr_expect(sink_seen(0).messages == 1);
	cr_expect(whole_entry(second) != NULL);
	whole_close();
}

Test(schedule, abort_ends_what_runs)
{
	uint64_t id;

	whole_prepare();
	whole_open();
	sink_block(0);
	id = whole_send("s@c.example", "u@a.example");
	while (sink_seen(0).blocked < 1)
		whole_for_ms(2);
	relay_abort(whole);
	while (!relay_idle(whole))
		whole_turn();
	cr_expect_str_eq(whole_fates(id), "PENDING");
	whole_close();
}
