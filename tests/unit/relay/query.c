/* SPDX-License-Identifier: MIT */
/* query.c -- the operator's view and hand: filters by table, the rest on a whole relay. */
#include "tests/unit/relay/whole.h"

#include <stdio.h>

TestSuite(query, .timeout = WHOLE_LIMIT_S);

static struct smtp_address address_of(const char *text)
{
	struct smtp_address address = {.text = span_str(text)};
	const char *at = strrchr(text, '@');

	if (at != NULL)
		address.domain = span_str(at + 1);
	return address;
}

Test(query, addresses_match)
{
	static const struct {
		const char *pattern, *address;
		bool match;
	} rows[] = {
		{"", "u@a.example", true},
		{"", "", true},
		{"<>", "", true},
		{"<>", "u@a.example", false},
		{"u@a.example", "U@A.Example", true},
		{"u@a.example", "uu@a.example", false},
		{"u@a.example", "", false},
		{"@a.example", "u@A.EXAMPLE", true},
		{"@a.example", "u@b.a.example", false},
		{"@a.example", "postmaster", false},
		{"postmaster", "Postmaster", true},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct smtp_address address = address_of(rows[i].address);

		cr_expect(relay_filter_address(rows[i].pattern, &address) == rows[i].match,
			"row %zu", i);
	}
}

Test(query, ages_match)
{
	static const struct {
		uint64_t older, younger, age;
		bool match;
	} rows[] = {
		{0, 0, 0, true},
		{0, 0, 100, true},
		{10, 0, 9, false},
		{10, 0, 10, true},
		{0, 10, 10, false},
		{0, 10, 9, true},
		{5, 10, 7, true},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct relay_filter filter = {
			.older_s = rows[i].older, .younger_s = rows[i].younger};

		cr_expect(relay_filter_age(&filter, rows[i].age) == rows[i].match, "row %zu", i);
	}
}

static struct relay_answer ask(struct relay_query query)
{
	struct relay_answer answer;

	relay_query(whole, &query, &answer);
	return answer;
}

static uint64_t matched(struct relay_query query)
{
	struct relay_answer answer = ask(query);
	uint64_t n = answer.matched;

	relay_answer_free(&answer);
	return n;
}

/* Nothing is tried again by itself. */
static void open_slow(void)
{
	whole_prepare();
	whole_config.relay.retry_ms_min = whole_config.relay.retry_ms_max = 3600000;
	whole_open();
}

static uint64_t send_deferred(const char *sender, const char *recipients)
{
	uint64_t id = whole_send(sender, recipients);

	whole_until_attempts(id, 1);
	whole_until_state(id, RELAY_STATE_DEFERRED);
	return id;
}

Test(query, lists_what_matches)
{
	uint64_t a, b;

	open_slow();
	a = send_deferred("s@c.example", "later@a.example u@a.example");
	b = send_deferred("t@c.example", "later@b.example later@a.example");
	cr_expect(matched((struct relay_query){.limit = 10}) == 2);
	cr_expect(matched((struct relay_query){.limit = 10, .filter = {.id = b}}) == 1);
	cr_expect(matched((struct relay_query){.limit = 10, .filter = {.sender = "T@c.example"}}) ==
		  1);
	cr_expect(matched((struct relay_query){
			  .limit = 10, .filter = {.recipient = "@a.example"}}) == 2);
	cr_expect(matched((struct relay_query){
			  .limit = 10, .filter = {.recipient = "u@a.example"}}) == 0,
		"not pending any more");
	cr_expect(
		matched((struct relay_query){.limit = 10, .filter = {.domain = "b.example"}}) == 1);
	cr_expect(matched((struct relay_query){
			  .limit = 10, .filter = {.destination = "route:b"}}) == 1);
	cr_expect(matched((struct relay_query){
			  .limit = 10, .filter = {.states = 1u << RELAY_STATE_HELD}}) == 0);
	cr_expect(matched((struct relay_query){.limit = 10, .after = a}) == 1);
	whole_close();
}

Test(query, pages)
{
	struct relay_answer answer;
	uint64_t ids[3];
	uint64_t after = 0;

	open_slow();
	for (int i = 0; i < 3; i++)
		ids[i] = send_deferred("s@c.example", "later@a.example");
	for (int i = 0; i < 3; i++) {
		answer = ask((struct relay_query){.limit = 1, .after = after});
		cr_assert(answer.items_n == 1);
		cr_expect(answer.items[0].id == ids[i]);
		cr_expect(answer.more == (i < 2));
		after = answer.last;
		relay_answer_free(&answer);
	}
	whole_close();
}

Test(query, shows_one_in_full)
{
	struct relay_answer answer;
	const struct relay_item *item;
	uint64_t id;

	open_slow();
	id = send_deferred("s@c.example", "later@a.example u@a.example");
	answer = ask((struct relay_query){.kind = RELAY_QUERY_SHOW, .filter = {.id = id}});
	cr_assert(answer.items_n == 1 && !answer.more);
	item = &answer.items[0];
	cr_expect_str_eq(item->sender, "s@c.example");
	cr_expect(item->state == RELAY_STATE_DEFERRED);
	cr_expect(item->attempts == 1);
	cr_expect(item->due_real_s >= item->arrived_real_s + 2000);
	cr_assert(item->shown_n == 2);
	cr_expect_str_eq(item->recipients[0].address, "later@a.example");
	cr_expect_str_eq(item->recipients[0].destination, "route:a");
	cr_expect(item->recipients[1].fate == SPOOL_FATE_DELIVERED);
	cr_expect(item->tries_n == 2);
	cr_expect(item->path[0] != '\0' && item->offset > 0);
	relay_answer_free(&answer);
	whole_close();
}

Test(query, counts_by_destination)
{
	struct relay_answer answer;

	open_slow();
	(void)send_deferred("s@c.example", "later1@a.example later2@a.example later@b.example");
	(void)send_deferred("s@c.example", "later@b.example");
	(void)send_deferred("s@c.example", "u@nowhere.example");
	answer = ask((struct relay_query){.kind = RELAY_QUERY_COUNT});
	cr_expect(answer.matched == 3 && answer.states[RELAY_STATE_DEFERRED] == 3);
	cr_assert(answer.tallies_n == 3);
	for (uint32_t i = 0; i < 3; i++) {
		const struct relay_tally *tally = &answer.tallies[i];
		bool a = strcmp(tally->destination, "route:a") == 0;
		bool b = strcmp(tally->destination, "route:b") == 0;

		cr_expect(a || b || strcmp(tally->destination, "none") == 0, "%s",
			tally->destination);
		cr_expect(tally->messages[RELAY_STATE_DEFERRED] == (b ? 2 : 1));
		cr_expect(tally->recipients == (a || b ? 2 : 1));
		cr_expect(tally->oldest_real_s > 0 && !tally->down);
	}
	relay_answer_free(&answer);
	whole_close();
}

Test(query, retry_is_now)
{
	uint64_t id;

	open_slow();
	id = send_deferred("s@c.example", "later@a.example");
	cr_expect(matched((struct relay_query){.kind = RELAY_QUERY_RETRY}) == 1);
	whole_until_attempts(id, 3); /* two tries and the operator's word */
	cr_expect(sink_seen(0).mails == 2);
	cr_expect(whole_entry(id)->attempts == 2);
	whole_close();
}

Test(query, hold_and_release)
{
	uint64_t id;

	open_slow();
	id = send_deferred("s@c.example", "later@a.example");
	cr_expect(matched((struct relay_query){.kind = RELAY_QUERY_RELEASE}) == 0);
	cr_expect(matched((struct relay_query){.kind = RELAY_QUERY_HOLD}) == 1);
	cr_expect(matched((struct relay_query){.kind = RELAY_QUERY_HOLD}) == 0, "is held");
	cr_expect(counter_sum(COUNTER_QUEUE_HELD) == 1);
	cr_expect(matched((struct relay_query){.kind = RELAY_QUERY_RETRY}) == 0, "is held");
	whole_restart();
	cr_expect(relay_entry_state(whole_entry(id)) == RELAY_STATE_HELD);
	cr_expect(matched((struct relay_query){.kind = RELAY_QUERY_RELEASE}) == 1);
	while (sink_seen(0).mails < 2)
		whole_for_ms(2);
	whole_until_state(id, RELAY_STATE_DEFERRED);
	whole_close();
}

Test(query, delete_is_without_a_report)
{
	open_slow();
	(void)send_deferred("s@b.example", "later@a.example");
	cr_expect(matched((struct relay_query){.kind = RELAY_QUERY_DELETE}) == 1);
	cr_expect(whole_queued() == 0);
	whole_for_ms(30);
	cr_expect(sink_seen(1).connections == 0);
	whole_close();
}

Test(query, bounce_is_with_one)
{
	open_slow();
	(void)send_deferred("s@b.example", "later@a.example u@a.example");
	cr_expect(matched((struct relay_query){.kind = RELAY_QUERY_BOUNCE}) == 1);
	whole_until_empty();
	cr_expect(sink_seen(1).messages == 1);
	whole_close();
}

Test(query, many_bounces_wait_for_room_for_their_reports)
{
	open_slow();
	for (int i = 0; i < 40; i++)
		(void)whole_send("s@b.example", "later@a.example");
	while (counter_sum(COUNTER_QUEUE_DEFERRED) < 40)
		whole_turn();
	cr_expect(matched((struct relay_query){.kind = RELAY_QUERY_BOUNCE}) == 40);
	whole_until_empty();
	cr_expect(sink_seen(1).messages == 40);
	whole_close();
}

/* However many are returned, deliveries find a run. */
Test(query, many_bounces_leave_room_for_deliveries)
{
	int64_t full = counter_sum(COUNTER_RELAY_RUNS_FULL);

	open_slow();
	for (int i = 0; i < 200; i++)
		(void)whole_send("s@b.example", "later@a.example");
	while (counter_sum(COUNTER_QUEUE_DEFERRED) < 200)
		whole_turn();
	cr_expect(matched((struct relay_query){.kind = RELAY_QUERY_BOUNCE}) == 200);
	whole_until_empty();
	cr_expect(sink_seen(1).messages == 200);
	cr_expect(counter_sum(COUNTER_RELAY_RUNS_FULL) == full, "%lld",
		(long long)(counter_sum(COUNTER_RELAY_RUNS_FULL) - full));
	whole_close();
}

/* A crash came between a message's last delivery and its end; the operator comes before the relay. */
Test(query, what_is_delivered_already_is_not_returned)
{
	static const enum relay_query_kind kinds[] = {
		RELAY_QUERY_BOUNCE, RELAY_QUERY_DELETE, RELAY_QUERY_RETRY, RELAY_QUERY_HOLD};

	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		const struct spool_fate_change change = {0, SPOOL_FATE_DELIVERED, false};
		const struct spool_attempt attempt = {
			.next_hop = "x", .text = "250 ok", .changes = &change, .changes_n = 1};
		uint64_t id;

		open_slow();
		id = send_deferred("s@b.example", "later@a.example");
		spool_attempt(whole->facts.spool, whole_entry(id), &attempt);
		whole_restart();
		cr_assert(whole_entry(id) != NULL && whole_entry(id)->pending_n == 0);
		(void)matched((struct relay_query){.kind = kinds[i]});
		whole_until_empty();
		cr_expect(sink_seen(1).messages == 0);
		whole_close();
	}
}

/* What is asked for while a transaction runs happens when it is over. */
Test(query, a_running_message_is_changed_when_its_run_is_over)
{
	static const struct {
		enum relay_query_kind kind;
		unsigned reports;
	} rows[] = {{RELAY_QUERY_DELETE, 0}, {RELAY_QUERY_BOUNCE, 1}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		uint64_t id;

		open_slow();
		sink_block(0);
		id = whole_send("s@b.example", "u@a.example later@a.example");
		while (sink_seen(0).blocked < 1)
			whole_for_ms(2);
		cr_expect(relay_entry_state(whole_entry(id)) == RELAY_STATE_ACTIVE);
		cr_expect(matched((struct relay_query){.kind = rows[i].kind}) == 1);
		cr_expect_str_eq(whole_fates(id), "PENDING PENDING");
		sink_go(0);
		whole_until_empty();
		cr_expect(sink_seen(0).messages == 1);
		cr_expect(sink_seen(1).messages == rows[i].reports);
		whole_close();
	}
}

Test(query, hold_while_running)
{
	uint64_t id;

	open_slow();
	sink_block(0);
	id = whole_send("s@b.example", "u@a.example later@a.example");
	while (sink_seen(0).blocked < 1)
		whole_for_ms(2);
	cr_expect(matched((struct relay_query){.kind = RELAY_QUERY_HOLD}) == 1);
	sink_go(0);
	whole_until_state(id, RELAY_STATE_HELD);
	cr_expect_str_eq(whole_fates(id), "DELIVERED PENDING");
	whole_close();
}

Test(query, flush_tries_a_destination_that_is_down)
{
	struct relay_answer answer;
	uint64_t id;

	whole_prepare();
	whole_config.relay.retry_ms_min = 1000;
	whole_config.relay.retry_ms_max = 3600000;
	whole_open();
	sink_stop(0);
	id = whole_send("s@c.example", "u@a.example");
	whole_until_attempts(id, 1);
	answer = ask((struct relay_query){.kind = RELAY_QUERY_COUNT});
	cr_assert(answer.tallies_n == 1);
	cr_expect(answer.tallies[0].down);
	cr_expect(answer.tallies[0].last[0] != '\0');
	relay_answer_free(&answer);
	sink_start(0);
	cr_expect(matched((struct relay_query){
			  .kind = RELAY_QUERY_FLUSH, .filter = {.destination = "route:b"}}) == 0);
	cr_expect(matched((struct relay_query){
			  .kind = RELAY_QUERY_FLUSH, .filter = {.destination = "route:a"}}) == 1);
	whole_until_empty();
	cr_expect(sink_seen(0).messages == 1);
	whole_close();
}
