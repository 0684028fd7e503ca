/* SPDX-License-Identifier: MIT */
/* Unit tests of fence/look.c: top, explain, the operator's hand. */
#include "harness.h"

#include <stdlib.h>

#include "base/counter.h"
#include "base/event.h"

#define A "192.0.2.1"

/* ---- top ---- */

/* Sources n with n refusals, 2n octets, and one connection if n is odd. */
static void fill(struct fence *fence, uint32_t sources)
{
	for (uint32_t i = 0; i < sources; i++) {
		uint32_t n = i * 37 % sources; /* in no order */
		struct address address = address_number(n);
		struct fence_entry *entry =
			fence_limiter_hold(fence->limiter, address.octets, fence_now_ns());

		cr_assert_not_null(entry);
		entry->state.refused = n;
		entry->state.plain_bytes = n;
		entry->state.upgraded_bytes = n;
		entry->state.gauge[FENCE_OPEN] = n % 2;
		if (n == 99)
			entry->behaved_until_ns = fence_now_ns() + 1;
		if (n == 98)
			entry->penalty_until_ns = fence_now_ns() + 5000;
		fence_limiter_release(fence->limiter, entry);
	}
}

Test(fence_look, top_has_those_with_most_first)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_seen out[200];
	bool part;
	char text[NETWORK_TEXT_MAX];
	struct fence *fence;

	settings.sources_max = 128;
	fence = fence_start(&settings);
	cr_expect_eq(fence_top(fence, FENCE_ORDER_REFUSED, out, 10, &part), 0);
	fill(fence, 100);
	cr_assert_eq(fence_top(fence, FENCE_ORDER_REFUSED, out, 7, &part), 7);
	for (uint32_t i = 0; i < 7; i++)
		cr_expect_eq(out[i].state.refused, 99 - i);
	cr_expect_str_eq(network_text(&out[0].source, text), "10.0.0.99");
	cr_expect_eq(out[0].standing, FENCE_BEHAVED);
	cr_expect_eq(out[1].standing, FENCE_STRANGER);
	cr_expect_eq(out[1].penalty_ns, 5000);
	cr_expect_eq(out[2].penalty_ns, 0);
	cr_assert_eq(fence_top(fence, FENCE_ORDER_BYTES, out, 200, &part), 100);
	for (uint32_t i = 0; i < 100; i++)
		cr_expect_eq(out[i].state.plain_bytes, 99 - i);
	cr_assert_eq(fence_top(fence, FENCE_ORDER_OPEN, out, 60, &part), 60);
	for (uint32_t i = 0; i < 60; i++)
		cr_expect_eq(out[i].state.gauge[FENCE_OPEN], i < 50);
	cr_expect_eq(fence_top(fence, FENCE_ORDER_OPEN, out, 1, &part), 1);
	cr_expect_eq(fence_top(fence, FENCE_ORDER_OPEN, out, 0, &part), 0);
	cr_expect_not(part);
	fence_end(fence);
}

/* Of a table that is too large for one answer, each answer shows another part. */
Test(fence_look, top_looks_at_a_part)
{
	struct fence_settings settings = fence_settings_free();
	uint32_t most[2], sources = FENCE_TOP_ENTRIES + 1000;
	struct fence_seen out;
	struct fence *fence;
	bool part;

	settings.sources_max = 2 * sources;
	fence = fence_start(&settings);
	fill(fence, FENCE_TOP_ENTRIES);
	cr_assert_eq(fence_top(fence, FENCE_ORDER_REFUSED, &out, 1, &part), 1);
	cr_expect(!part && out.state.refused == FENCE_TOP_ENTRIES - 1, "all that fit");
	fill(fence, sources);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(fence_top(fence, FENCE_ORDER_REFUSED, &out, 1, &part), 1);
		cr_expect(part, "%d", i);
		most[i] = (uint32_t)out.state.refused;
		cr_assert_eq(fence_top(fence, FENCE_ORDER_OPEN, &out, 1, &part), 1);
		cr_expect(part && out.state.gauge[FENCE_OPEN] == 1, "each order by itself");
	}
	cr_expect(most[0] != most[1], "another part");
	cr_expect(most[0] == sources - 1 || most[1] == sources - 1, "none left out");
	cr_assert_eq(fence_top(fence, FENCE_ORDER_REFUSED, &out, 1, &part), 1);
	cr_expect(part && out.state.refused == most[0], "from the beginning again");
	fence_end(fence);
}

/* n connections let in; n % 3 handshakes unfinished; n % 10 strikes; a penalty for every tenth. */
static void fill_conduct(struct fence *fence, uint32_t sources)
{
	for (uint32_t n = 0; n < sources; n++) {
		struct fence_entry *entry = fence_limiter_hold(
			fence->limiter, address_number(n).octets, fence_now_ns());

		cr_assert_not_null(entry);
		entry->state.passed = n;
		entry->state.gauge[FENCE_SHAKING] = n % 3;
		entry->strikes = n % 10;
		entry->strike_ns = n == 29 ? 1 : fence_now_ns(); /* long ago: lapsed */
		if (n % 10 == 0)
			entry->penalty_until_ns = fence_now_ns() + n * SECOND_NS;
		fence_limiter_release(fence->limiter, entry);
	}
}

Test(fence_look, top_by_conduct)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_seen out[100];
	struct fence *fence;
	bool part;

	fence = fence_start(&settings);
	fill_conduct(fence, 30);
	cr_assert_eq(fence_top(fence, FENCE_ORDER_CONNECTIONS, out, 100, &part), 30);
	for (uint32_t i = 0; i < 30; i++)
		cr_expect_eq(out[i].state.passed, 29 - i);
	/* 30 but for 0 and 30's like: n % 3 == 0 and no strikes */
	cr_assert_eq(fence_top(fence, FENCE_ORDER_HANDSHAKES, out, 100, &part), 29);
	cr_expect_eq(out[0].state.gauge[FENCE_SHAKING], 2);
	cr_expect_eq(out[0].strikes, 8);
	cr_expect_eq(out[28].state.gauge[FENCE_SHAKING], 0);
	for (uint32_t i = 1; i < 29; i++)
		cr_expect(
			out[i - 1].state.gauge[FENCE_SHAKING] > out[i].state.gauge[FENCE_SHAKING] ||
				(out[i - 1].state.gauge[FENCE_SHAKING] ==
						out[i].state.gauge[FENCE_SHAKING] &&
					out[i - 1].strikes >= out[i].strikes),
			"%u", i);
	cr_assert_eq(fence_top(fence, FENCE_ORDER_PENALTY, out, 100, &part), 2, "those under one");
	cr_expect_eq(out[0].penalty_ns, 20 * SECOND_NS);
	cr_expect_eq(out[1].penalty_ns, 10 * SECOND_NS);
	fence_end(fence);
}

/* ---- explain ---- */

static struct fence_explained explain(struct fence *fence, const char *text)
{
	struct fence_explained explained;

	fence_explain(fence, address_of(text).octets, &explained);
	return explained;
}

static const struct fence_left *left_of(const struct fence_explained *explained, const char *budget)
{
	size_t i = 0;

	while (i < explained->lefts_n && strcmp(explained->lefts[i].budget, budget) != 0)
		i++;
	cr_assert_lt(i, explained->lefts_n, "%s", budget);
	return &explained->lefts[i];
}

Test(fence_look, explain_takes_nothing)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_explained explained;
	const struct fence_left *left;
	struct fence_client client;
	char text[NETWORK_TEXT_MAX];
	struct fence *fence;

	settings.connections = (struct fence_budgets){{1, 3}, {50, 100}};
	settings.connections_open = 5;
	settings.handshakes = (struct fence_budgets){{2, 4}, {0, 0}};
	settings.handshakes_open_all = 9;
	fence = fence_start(&settings);
	explained = explain(fence, "2001:db8::1");
	cr_expect_str_eq(network_text(&explained.source, text), "2001:db8::/64");
	cr_expect_not(explained.seen);
	cr_expect_eq(fence_limiter_sources(fence->limiter), 0);
	cr_assert_eq(enter(fence, &client, A), FENCE_PASS);
	cr_assert_eq(fence_shake(fence, &client, -1), FENCE_PASS);
	for (int i = 0; i < 10; i++)
		explained = explain(fence, A);
	cr_expect(explained.seen);
	cr_expect_eq(explained.verdict, FENCE_PASS);
	cr_expect_eq(explained.lefts_n, FENCE_LEFTS_MAX);
	left = left_of(&explained, "connections");
	cr_expect_not(left->gauge);
	cr_expect_eq(left->rate, 1);
	cr_expect_eq(left->burst, 3);
	cr_expect_eq(left->left, 2);
	cr_expect_eq(left->all_rate, 50);
	cr_expect_eq(left->all_burst, 100);
	cr_expect_eq(left->all_left, 99);
	cr_expect_str_eq(left->where, "gateway");
	left = left_of(&explained, "handshakes");
	cr_expect_eq(left->left, 3);
	cr_expect_eq(left->all_left, UINT64_MAX);
	left = left_of(&explained, "plain_bytes");
	cr_expect_eq(left->rate, UINT64_MAX);
	cr_expect_eq(left->left, UINT64_MAX);
	left = left_of(&explained, "connections_open");
	cr_expect(left->gauge);
	cr_expect_eq(left->burst, 5);
	cr_expect_eq(left->left, 4);
	cr_expect_eq(left->all_left, UINT64_MAX);
	left = left_of(&explained, "handshakes_open");
	cr_expect_eq(left->burst, UINT64_MAX);
	cr_expect_eq(left->all_burst, 9);
	cr_expect_eq(left->all_left, 8);
	fence_end(fence);
}

/* Explain's verdict is what entering then gets; all that there are come up. */
Test(fence_look, explain_says_what_would_be)
{
	static const char *const block[] = {"198.51.100.0/24"};
	static const char *const allow[] = {"203.0.113.0/24"};
	static const char *const addresses[] = {
		A, "198.51.100.1", "203.0.113.1", "192.0.2.7", "192.0.2.8"};
	static const enum fence_reason reasons[] = {FENCE_PASS, FENCE_ALLOWED, FENCE_BLOCKED,
		FENCE_PENALTY, FENCE_OVER_CONNECTIONS, FENCE_OVER_CONNECTIONS_ALL, FENCE_OVER_OPEN,
		FENCE_OVER_OPEN_ALL};
	struct fence_settings settings = fence_settings_free();
	struct fence_client kept[8] = {{0}};
	unsigned seen[FENCE_REASONS] = {0};
	struct fence *fence;

	settings.connections = (struct fence_budgets){{1, 4}, {3, 10}};
	settings.connections_open = 2;
	settings.connections_open_all = 3;
	settings.strikes_max = 1;
	settings.penalty_ms = 2000;
	settings.block = block;
	settings.block_n = 1;
	settings.allow = allow;
	settings.allow_n = 1;
	fence = fence_start(&settings);
	for (unsigned i = 0; i < 400; i++) {
		const char *address = addresses[i * 7 % 11 % COUNT_OF(addresses)];
		struct fence_client *client = &kept[i % COUNT_OF(kept)];
		enum fence_reason said;

		fence_leave(fence, client);
		said = explain(fence, address).verdict;
		cr_assert_eq(enter(fence, client, address), said, "%s, step %u", address, i);
		seen[said]++;
		if (i % 3 == 0 && said == FENCE_PASS)
			fence_leave(fence, client);
		if (i % 16 == 10 && client->entered)
			(void)!fence_shake(fence, client, -1); /* left unfinished */
		if (i % 20 == 19)
			clock_pass(i * 10);
	}
	for (size_t i = 0; i < COUNT_OF(reasons); i++)
		cr_expect_gt(seen[reasons[i]], 0, "%s", fence_reason_word(reasons[i]));
	fence_end(fence);
}

Test(fence_look, explain_conduct)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_explained explained;
	struct fence_client client;
	struct fence *fence;

	settings.strikes_max = 2;
	settings.penalty_ms = 3000;
	settings.behaved_ms = 8000;
	fence = fence_start(&settings);
	cr_assert_eq(enter(fence, &client, A), FENCE_PASS);
	cr_assert_eq(fence_shake(fence, &client, -1), FENCE_PASS);
	fence_shaken(fence, &client, -1, false);
	cr_expect_eq(explain(fence, A).strikes, 1);
	clock_pass(3000);
	cr_expect_eq(explain(fence, A).strikes, 0, "lapsed");
	fence_behaved(fence, &client);
	explained = explain(fence, A);
	cr_expect_eq(explained.standing, FENCE_BEHAVED);
	cr_expect_eq(explained.behaved_ns, 8 * SECOND_NS);
	clock_pass(8000);
	cr_expect_eq(explain(fence, A).standing, FENCE_STRANGER);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(fence_shake(fence, &client, -1), FENCE_PASS);
		fence_shaken(fence, &client, -1, false);
	}
	explained = explain(fence, A);
	cr_expect_eq(explained.penalty_ns, 3 * SECOND_NS);
	cr_expect_eq(explained.verdict, FENCE_PENALTY);
	fence_end(fence);
}

Test(fence_look, off_has_nothing_to_show)
{
	struct fence_settings settings = fence_settings_free();
	struct network net = network_of_text("10.0.0.0/8");
	struct fence_explained explained;
	struct fence_listed listed;
	struct fence_seen seen;
	struct fence *fence;
	bool part;

	settings.mode = FENCE_MODE_OFF;
	fence = fence_start(&settings);
	explained = explain(fence, A);
	cr_expect_eq(explained.verdict, FENCE_PASS);
	cr_expect_eq(explained.lefts_n, 0);
	cr_expect_eq(fence_top(fence, FENCE_ORDER_OPEN, &seen, 1, &part), 0);
	cr_expect_eq(fence_list(fence, 0, &listed, 1), 0);
	cr_expect_lt(fence_list_put(fence, &net, FENCE_ACTION_BLOCK, 0), 0);
	cr_expect_not(fence_list_drop(fence, &net));
	cr_expect_eq(fence_fd(fence), -1);
	fence_end(fence);
}

/* ---- the operator's hand ---- */

Test(fence_look, block_and_unblock)
{
	struct fence_settings settings = fence_settings_free();
	struct network net = network_of_text("192.0.2.0/24");
	struct fence_explained explained;
	struct fence_listed listed[2];
	struct fence_client client;
	struct fence *fence = fence_start(&settings);

	cr_assert_eq(
		fence_list_put(fence, &net, FENCE_ACTION_BLOCK, fence_now_ns() + 2 * SECOND_NS), 0);
	cr_expect_eq(enter(fence, &client, A), FENCE_BLOCKED);
	explained = explain(fence, A);
	cr_expect(explained.listed);
	cr_expect_eq(explained.net.bits, 120);
	cr_expect_eq(explained.entry.origin, FENCE_ORIGIN_OPERATOR);
	cr_expect_eq(explained.verdict, FENCE_BLOCKED);
	cr_expect_eq(fence_list(fence, 0, listed, 2), 1);
	cr_expect_eq(listed[0].entry.action, FENCE_ACTION_BLOCK);
	clock_pass(2000);
	cr_expect_eq(enter(fence, &client, A), FENCE_PASS);
	fence_turn(fence);
	cr_expect_eq(fence_list(fence, 0, listed, 2), 0, "taken away in the turn");
	cr_assert_eq(fence_list_put(fence, &net, FENCE_ACTION_BLOCK, 0), 0);
	cr_expect_eq(enter(fence, &client, A), FENCE_BLOCKED);
	cr_expect(fence_list_drop(fence, &net));
	cr_expect_eq(enter(fence, &client, A), FENCE_PASS);
	cr_expect_not(fence_list_drop(fence, &net));
	fence_end(fence);
}

Test(fence_look, unblocking_a_source_ends_its_penalty)
{
	static const struct {
		const char *client, *net;
		bool ends;
	} cases[] = {
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "192.0.2.0/24", false}, /* more than one source */
		{"2001:db8::1", "2001:db8::1", true},
		{"2001:db8::1", "2001:db8::/64", true},
		{"2001:db8::1", "2001:db8::/48", false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct fence_settings settings = fence_settings_free();
		struct network net = network_of_text(cases[i].net);
		struct fence_client client;
		struct fence *fence;

		settings.strikes_max = 1;
		fence = fence_start(&settings);
		cr_assert_eq(enter(fence, &client, cases[i].client), FENCE_PASS);
		cr_assert_eq(fence_shake(fence, &client, -1), FENCE_PASS);
		fence_leave(fence, &client);
		cr_assert_eq(enter(fence, &client, cases[i].client), FENCE_PENALTY);
		cr_expect_eq(fence_list_drop(fence, &net), cases[i].ends, "%s", cases[i].net);
		cr_expect_eq(enter(fence, &client, cases[i].client),
			cases[i].ends ? FENCE_PASS : FENCE_PENALTY, "%s", cases[i].net);
		fence_end(fence);
	}
}

static void standing_set(struct fence *fence, const char *text, uint64_t behaved_until_ns)
{
	struct fence_entry *entry =
		fence_limiter_hold(fence->limiter, address_of(text).octets, fence_now_ns());

	cr_assert_not_null(entry);
	entry->behaved_until_ns = behaved_until_ns;
	fence_limiter_release(fence->limiter, entry);
}

/* As if it had never come; what the lists say of it stays, and so do its open connections. */
Test(fence_look, a_source_is_forgotten)
{
	struct fence_settings settings = fence_settings_free();
	struct network net = network_of_text("192.0.2.0/24");
	struct fence_explained before;
	struct fence_client open, client;
	struct fence *fence;

	settings.strikes_max = 2;
	settings.connections.source = (struct fence_budget){1, 3};
	settings.connections_open = 10;
	fence = fence_start(&settings);
	cr_expect_not(fence_source_forget(fence, address_of(A).octets, &before));
	cr_assert_eq(enter(fence, &open, A), FENCE_PASS);
	cr_expect_eq(fence_received(fence, &open, 700, fence_now_ns()), 0);
	fence_behaved(fence, &open);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(enter(fence, &client, A), FENCE_PASS);
		cr_assert_eq(fence_shake(fence, &client, -1), FENCE_PASS);
		if (i == 0)
			standing_set(fence, A, 0);
		fence_leave(fence, &client);
	}
	standing_set(fence, A, fence_now_ns() + 5 * SECOND_NS);
	cr_expect_eq(enter(fence, &client, A), FENCE_PENALTY);
	cr_assert(fence_source_forget(fence, address_of(A).octets, &before));
	cr_expect_eq(before.penalty_ns, 60 * SECOND_NS);
	cr_expect_eq(before.behaved_ns, 5 * SECOND_NS);
	cr_expect_eq(before.state.passed, 3);
	cr_expect_eq(before.state.refused, 1);
	cr_expect_eq(before.state.plain_bytes, 700);
	cr_expect_eq(before.state.gauge[FENCE_OPEN], 1);
	cr_expect_eq(explain(fence, A).penalty_ns, 0);
	cr_expect_eq(explain(fence, A).standing, FENCE_STRANGER);
	cr_expect_eq(explain(fence, A).state.passed, 0);
	cr_expect_eq(explain(fence, A).state.gauge[FENCE_OPEN], 1, "it is there still");
	for (int i = 0; i < 3; i++) {
		cr_expect_eq(enter(fence, &client, A), FENCE_PASS, "all of the burst: %d", i);
		fence_leave(fence, &client);
	}
	fence_leave(fence, &open);
	cr_expect_eq(entry_of(fence, A).state.gauge[FENCE_OPEN], 0);
	cr_expect(fence_source_forget(fence, address_of(A).octets, &before));
	cr_expect_not(explain(fence, A).seen);
	cr_expect_not(fence_source_forget(fence, address_of(A).octets, &before), "twice");
	cr_assert_eq(fence_list_put(fence, &net, FENCE_ACTION_BLOCK, 0), 0);
	(void)!fence_source_forget(fence, address_of(A).octets, &before);
	cr_expect_eq(enter(fence, &client, A), FENCE_BLOCKED, "the list stays");
	fence_end(fence);
}
