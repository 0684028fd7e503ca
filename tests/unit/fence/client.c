/* SPDX-License-Identifier: MIT */
/* Unit tests of fence/client.c: a connection's way, budget by budget; what leaving gives back. */
#include "harness.h"

#include <pthread.h>

#include "base/counter.h"

#define A "192.0.2.1"
#define B "192.0.2.2"

static enum fence_reason shake(struct fence *fence, struct fence_client *client)
{
	return fence_shake(fence, client, -1);
}

/* Connects, is refused nothing, leaves; with accepted mail. */
static void behave(struct fence *fence, const char *text)
{
	struct fence_client client;

	cr_assert_eq(enter(fence, &client, text), FENCE_PASS);
	fence_behaved(fence, &client);
	fence_leave(fence, &client);
}

static struct fence_totals totals_of(struct fence *fence)
{
	return *fence_limiter_totals(fence->limiter);
}

/* ---- entering ---- */

Test(fence_client, connections_by_rate)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client client;
	struct fence *fence;

	settings.connections.source = (struct fence_budget){2, 3};
	fence = fence_start(&settings);
	for (int i = 0; i < 3; i++) {
		cr_expect_eq(enter(fence, &client, A), FENCE_PASS, "%d", i);
		fence_leave(fence, &client);
	}
	cr_expect_eq(enter(fence, &client, A), FENCE_OVER_CONNECTIONS);
	cr_expect_not(client.entered);
	cr_expect_null(client.entry);
	cr_expect_eq(enter(fence, &client, B), FENCE_PASS, "another source");
	clock_pass(500);
	cr_expect_eq(enter(fence, &client, A), FENCE_PASS, "half a second later");
	cr_expect_eq(enter(fence, &client, A), FENCE_OVER_CONNECTIONS);
	cr_expect_eq(entry_of(fence, A).state.passed, 4);
	cr_expect_eq(entry_of(fence, A).state.refused, 2);
	cr_expect_eq(counted(fence, FENCE_NEW, FENCE_PASS), 5);
	cr_expect_eq(counted(fence, FENCE_NEW, FENCE_OVER_CONNECTIONS), 2);
	fence_end(fence);
}

Test(fence_client, connections_by_rate_of_all)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client client;
	struct fence *fence;

	settings.connections.all = (struct fence_budget){1, 2};
	fence = fence_start(&settings);
	behave(fence, "192.0.2.9");
	cr_expect_eq(enter(fence, &client, A), FENCE_PASS);
	cr_expect_eq(enter(fence, &client, B), FENCE_OVER_CONNECTIONS_ALL);
	/* strangers use up nothing of theirs */
	cr_expect_eq(enter(fence, &client, "192.0.2.9"), FENCE_PASS);
	cr_expect_eq(client.standing, FENCE_BEHAVED);
	fence_end(fence);
}

Test(fence_client, connections_at_a_time)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client clients[4];
	struct fence *fence;

	settings.connections_open = 2;
	settings.connections_open_all = 3;
	fence = fence_start(&settings);
	cr_expect_eq(enter(fence, &clients[0], A), FENCE_PASS);
	cr_expect_eq(enter(fence, &clients[1], A), FENCE_PASS);
	cr_expect_eq(enter(fence, &clients[2], A), FENCE_OVER_OPEN);
	cr_expect_eq(enter(fence, &clients[2], B), FENCE_PASS);
	cr_expect_eq(enter(fence, &clients[3], "192.0.2.3"), FENCE_OVER_OPEN_ALL);
	cr_expect_eq(totals_of(fence).gauge[FENCE_OPEN][FENCE_STRANGER], 3);
	fence_leave(fence, &clients[0]);
	fence_leave(fence, &clients[0]); /* at rest: nothing */
	cr_expect_eq(enter(fence, &clients[0], A), FENCE_PASS);
	for (int i = 0; i < 3; i++)
		fence_leave(fence, &clients[i]);
	cr_expect_eq(totals_of(fence).gauge[FENCE_OPEN][FENCE_STRANGER], 0);
	cr_expect_eq(entry_of(fence, A).state.gauge[FENCE_OPEN], 0);
	cr_expect_eq(entry_of(fence, A).holders, 0);
	fence_end(fence);
}

Test(fence_client, a_source_is_a_prefix)
{
	static const struct {
		const char *one, *other;
		bool same;
	} cases[] = {
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"192.0.2.1", "192.0.2.254", true},
		{"192.0.2.1", "192.0.3.1", false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct fence_settings settings = fence_settings_free();
		struct fence_client one, other;
		struct fence *fence;

		settings.prefix_v4 = 24;
		settings.connections_open = 1;
		fence = fence_start(&settings);
		cr_expect_eq(enter(fence, &one, cases[i].one), FENCE_PASS);
		cr_expect_eq(enter(fence, &other, cases[i].other),
			cases[i].same ? FENCE_OVER_OPEN : FENCE_PASS, "%s %s", cases[i].one,
			cases[i].other);
		fence_end(fence);
	}
}

Test(fence_client, lists_come_first)
{
	static const char *const allow[] = {"192.0.2.0/24"};
	static const char *const block[] = {"198.51.100.0/24"};
	struct fence_settings settings = fence_settings_free();
	struct fence_client client;
	struct fence *fence;

	settings.connections.source = (struct fence_budget){1, 1};
	settings.plain_bytes.source = (struct fence_budget){1, 1};
	settings.handshakes.source = (struct fence_budget){1, 1};
	settings.strikes_max = 1;
	settings.allow = allow;
	settings.allow_n = 1;
	settings.block = block;
	settings.block_n = 1;
	fence = fence_start(&settings);
	for (int i = 0; i < 3; i++) {
		cr_expect_eq(enter(fence, &client, A), FENCE_ALLOWED);
		cr_expect(client.entered && client.exempt);
		cr_expect_eq(fence_received(fence, &client, 1000000, fence_now_ns()), 0);
		cr_expect_eq(shake(fence, &client), FENCE_ALLOWED);
		cr_expect(client.shaking);
		fence_shaken(fence, &client, -1, i == 0);
		cr_expect_not(client.shaking);
		cr_expect_eq(client.class, i == 0 ? FENCE_UPGRADED : FENCE_HANDSHAKE);
		fence_behaved(fence, &client);
		fence_leave(fence, &client);
		cr_expect_not(client.entered);
	}
	cr_expect_eq(enter(fence, &client, "198.51.100.7"), FENCE_BLOCKED);
	cr_expect_not(client.entered);
	cr_expect_eq(fence_limiter_sources(fence->limiter), 0, "neither costs an entry");
	cr_expect_eq(totals_of(fence).gauge[FENCE_OPEN][0], 0);
	cr_expect_eq(totals_of(fence).gauge[FENCE_SHAKING][0], 0);
	cr_expect_eq(counted(fence, FENCE_NEW, FENCE_ALLOWED), 3);
	cr_expect_eq(counted(fence, FENCE_NEW, FENCE_BLOCKED), 1);
	cr_expect_eq(counted(fence, FENCE_HANDSHAKE, FENCE_ALLOWED), 3);
	fence_end(fence);
}

Test(fence_client, off_means_off)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client client;
	struct fence *fence;

	settings.mode = FENCE_MODE_OFF;
	settings.connections.source = (struct fence_budget){1, 1};
	fence = fence_start(&settings);
	for (int i = 0; i < 3; i++) {
		cr_expect_eq(enter(fence, &client, A), FENCE_PASS);
		cr_expect(client.exempt);
		cr_expect_eq(fence_received(fence, &client, 1000000, fence_now_ns()), 0);
		cr_expect_eq(shake(fence, &client), FENCE_PASS);
		fence_shaken(fence, &client, -1, true);
		fence_behaved(fence, &client);
		fence_leave(fence, &client);
	}
	fence_turn(fence);
	fence_end(fence);
}

/* No room for the source: the budgets of all decide, and nothing is left moved. */
Test(fence_client, a_full_table_falls_to_the_budget_of_all)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client clients[6];
	struct fence *fence;

	settings.sources_max = 2;
	settings.connections_open = 1;
	settings.connections_open_all = 4;
	settings.handshakes_open_all = 1;
	settings.plain_bytes = (struct fence_budgets){{1000, 500}, {1000, 1000}};
	fence = fence_start(&settings);
	cr_expect_eq(enter(fence, &clients[0], "192.0.2.1"), FENCE_PASS);
	cr_expect_eq(enter(fence, &clients[1], "192.0.2.2"), FENCE_PASS);
	for (int i = 2; i < 4; i++) {
		cr_expect_eq(enter(fence, &clients[i], "192.0.2.3"), FENCE_PASS, "%d", i);
		cr_expect_null(clients[i].entry);
	}
	cr_expect_eq(enter(fence, &clients[4], "192.0.2.3"), FENCE_OVER_OPEN_ALL);
	cr_expect_eq(shake(fence, &clients[2]), FENCE_PASS);
	cr_expect_eq(shake(fence, &clients[3]), FENCE_OVER_SHAKING_ALL);
	cr_expect_eq(fence_received(fence, &clients[3], 1500, fence_now_ns()), 1000,
		"the source's own budget, met for the first time");
	fence_behaved(fence, &clients[3]);
	for (int i = 0; i < 4; i++)
		fence_leave(fence, &clients[i]);
	cr_expect_eq(totals_of(fence).gauge[FENCE_OPEN][FENCE_STRANGER], 0);
	cr_expect_eq(totals_of(fence).gauge[FENCE_SHAKING][FENCE_STRANGER], 0);
	fence_end(fence);
}

/* ---- handshakes ---- */

Test(fence_client, handshakes_by_rate_and_number)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client clients[3];
	struct fence *fence;

	settings.handshakes.source = (struct fence_budget){1, 3};
	settings.handshakes_open = 2;
	fence = fence_start(&settings);
	for (int i = 0; i < 3; i++)
		cr_expect_eq(enter(fence, &clients[i], A), FENCE_PASS);
	cr_expect_eq(shake(fence, &clients[0]), FENCE_PASS);
	cr_expect_eq(clients[0].class, FENCE_HANDSHAKE);
	cr_expect_eq(shake(fence, &clients[1]), FENCE_PASS);
	cr_expect_eq(shake(fence, &clients[2]), FENCE_OVER_SHAKING);
	cr_expect_eq(clients[2].class, FENCE_PLAIN);
	cr_expect_not(clients[2].shaking);
	fence_shaken(fence, &clients[0], -1, true);
	cr_expect_eq(clients[0].class, FENCE_UPGRADED);
	cr_expect_eq(shake(fence, &clients[2]), FENCE_PASS);
	fence_shaken(fence, &clients[2], -1, true);
	fence_leave(fence, &clients[0]);
	cr_expect_eq(enter(fence, &clients[0], A), FENCE_PASS);
	cr_expect_eq(shake(fence, &clients[0]), FENCE_OVER_HANDSHAKES);
	fence_leave(fence, &clients[1]); /* in the middle of its handshake */
	cr_expect_eq(entry_of(fence, A).state.gauge[FENCE_SHAKING], 0);
	cr_expect_eq(totals_of(fence).gauge[FENCE_SHAKING][FENCE_STRANGER], 0);
	cr_expect_eq(entry_of(fence, A).state.refused, 2);
	cr_expect_eq(counted(fence, FENCE_HANDSHAKE, FENCE_PASS), 3);
	cr_expect_eq(counted(fence, FENCE_HANDSHAKE, FENCE_OVER_SHAKING), 1);
	cr_expect_eq(counted(fence, FENCE_HANDSHAKE, FENCE_OVER_HANDSHAKES), 1);
	fence_end(fence);
}

/* Connects, begins a handshake and goes. */
static enum fence_reason unfinished(struct fence *fence, const char *text)
{
	struct fence_client client;
	enum fence_reason reason = enter(fence, &client, text);

	if (reason != FENCE_PASS)
		return reason;
	reason = shake(fence, &client);
	fence_leave(fence, &client);
	return reason;
}

Test(fence_client, unfinished_handshakes_end_in_a_penalty)
{
	struct fence_settings settings = fence_settings_free();
	int64_t penalties = counter_sum(COUNTER_FENCE_PENALTIES);
	struct fence_client client;
	struct fence *fence;

	settings.strikes_max = 3;
	settings.penalty_ms = 1000;
	fence = fence_start(&settings);
	cr_assert_eq(enter(fence, &client, A), FENCE_PASS);
	for (int i = 0; i < 3; i++)
		cr_expect_eq(unfinished(fence, A), FENCE_PASS, "%d", i);
	cr_expect_eq(unfinished(fence, A), FENCE_PENALTY);
	cr_expect_eq(shake(fence, &client), FENCE_PENALTY, "nor in a connection from before");
	cr_expect_eq(unfinished(fence, B), FENCE_PASS);
	cr_expect_eq(counter_sum(COUNTER_FENCE_PENALTIES), penalties + 1);
	clock_pass(999);
	cr_expect_eq(unfinished(fence, A), FENCE_PENALTY);
	clock_pass(1);
	cr_expect_eq(unfinished(fence, A), FENCE_PASS, "it is over, and counting begins anew");
	cr_expect_eq(entry_of(fence, A).strikes, 1);
	cr_expect_eq(counted(fence, FENCE_NEW, FENCE_PENALTY), 2);
	cr_expect_eq(counted(fence, FENCE_HANDSHAKE, FENCE_PENALTY), 1);
	fence_end(fence);
}

Test(fence_client, strikes_lapse)
{
	struct fence_settings settings = fence_settings_free();
	struct fence *fence;

	settings.strikes_max = 2;
	settings.penalty_ms = 1000;
	fence = fence_start(&settings);
	for (int i = 0; i < 5; i++) {
		cr_expect_eq(unfinished(fence, A), FENCE_PASS, "%d", i);
		clock_pass(1000);
	}
	cr_expect_eq(unfinished(fence, A), FENCE_PASS);
	clock_pass(999);
	cr_expect_eq(unfinished(fence, A), FENCE_PASS);
	cr_expect_eq(unfinished(fence, A), FENCE_PENALTY);
	fence_end(fence);
}

Test(fence_client, no_strikes_no_penalty)
{
	struct fence_settings settings = fence_settings_free();
	struct fence *fence;

	settings.strikes_max = 0;
	fence = fence_start(&settings);
	for (int i = 0; i < 50; i++)
		cr_expect_eq(unfinished(fence, A), FENCE_PASS, "%d", i);
	fence_end(fence);
}

/* Refused by its own budget: a strike. By the one of all: it did nothing. */
Test(fence_client, refusals_strike_whom_they_are_for)
{
	static const struct {
		struct fence_budgets handshakes;
		uint32_t open, open_all;
		enum fence_reason reason;
		bool strike;
	} cases[] = {
		{{{1, 1}, {0, 0}}, 0, 0, FENCE_OVER_HANDSHAKES, true},
		{{{0, 0}, {1, 1}}, 0, 0, FENCE_OVER_HANDSHAKES_ALL, false},
		{{{0, 0}, {0, 0}}, 1, 0, FENCE_OVER_SHAKING, true},
		{{{0, 0}, {0, 0}}, 0, 1, FENCE_OVER_SHAKING_ALL, false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct fence_settings settings = fence_settings_free();
		struct fence_client one, other;
		struct fence *fence;

		settings.handshakes = cases[i].handshakes;
		settings.handshakes_open = cases[i].open;
		settings.handshakes_open_all = cases[i].open_all;
		settings.strikes_max = 1;
		fence = fence_start(&settings);
		cr_assert_eq(enter(fence, &one, A), FENCE_PASS);
		cr_assert_eq(enter(fence, &other, A), FENCE_PASS);
		cr_assert_eq(shake(fence, &one), FENCE_PASS);
		cr_expect_eq(shake(fence, &other), cases[i].reason, "case %zu", i);
		fence_leave(fence, &other);
		cr_expect_eq(enter(fence, &other, A), cases[i].strike ? FENCE_PENALTY : FENCE_PASS,
			"case %zu", i);
		fence_end(fence);
	}
}

/* ---- good conduct ---- */

Test(fence_client, who_behaved_has_more)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client client;
	struct fence *fence;

	settings.connections.source = (struct fence_budget){1, 1};
	settings.behaved_factor = 4;
	settings.behaved_ms = 10000;
	fence = fence_start(&settings);
	cr_assert_eq(enter(fence, &client, A), FENCE_PASS);
	fence_behaved(fence, &client);
	cr_expect_eq(client.standing, FENCE_STRANGER, "this connection stays what it was");
	fence_leave(fence, &client);
	cr_expect_eq(totals_of(fence).gauge[FENCE_OPEN][FENCE_STRANGER], 0);
	cr_expect_eq(totals_of(fence).gauge[FENCE_OPEN][FENCE_BEHAVED], 0);
	clock_pass(1000);
	for (int i = 0; i < 4; i++) {
		cr_expect_eq(enter(fence, &client, A), FENCE_PASS, "%d", i);
		cr_expect_eq(client.standing, FENCE_BEHAVED);
		cr_expect_eq(totals_of(fence).gauge[FENCE_OPEN][FENCE_BEHAVED], 1);
		fence_leave(fence, &client);
	}
	cr_expect_eq(enter(fence, &client, A), FENCE_OVER_CONNECTIONS);
	clock_pass(9000);
	cr_expect_eq(enter(fence, &client, A), FENCE_PASS);
	cr_expect_eq(client.standing, FENCE_STRANGER, "forgotten after behaved_ms");
	cr_expect_eq(enter(fence, &client, A), FENCE_OVER_CONNECTIONS);
	fence_end(fence);
}

Test(fence_client, strikes_of_who_behaved)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client one, other;
	struct fence *fence;

	settings.strikes_max = 2;
	settings.handshakes_open = 1;
	settings.behaved_factor = 1;
	fence = fence_start(&settings);
	cr_expect_eq(unfinished(fence, A), FENCE_PASS);
	cr_expect_eq(entry_of(fence, A).strikes, 1);
	behave(fence, A);
	cr_expect_eq(entry_of(fence, A).strikes, 0, "forgotten");
	for (int i = 0; i < 5; i++)
		cr_expect_eq(unfinished(fence, A), FENCE_PASS, "%d", i);
	cr_expect_eq(entry_of(fence, A).strikes, 0);
	cr_assert_eq(enter(fence, &one, A), FENCE_PASS);
	cr_assert_eq(enter(fence, &other, A), FENCE_PASS);
	cr_expect_eq(shake(fence, &one), FENCE_PASS);
	cr_expect_eq(shake(fence, &other), FENCE_OVER_SHAKING);
	cr_expect_eq(entry_of(fence, A).strikes, 1);
	cr_expect_eq(shake(fence, &other), FENCE_OVER_SHAKING);
	cr_expect_eq(shake(fence, &other), FENCE_PENALTY);
	fence_end(fence);
}

/* It is no stranger's way to good standing: budgets and memory stay as they were. */
Test(fence_client, mail_in_clear_forgives_strikes)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client client;
	struct fence *fence;

	settings.strikes_max = 3;
	settings.behaved_factor = 4;
	fence = fence_start(&settings);
	for (int i = 0; i < 6; i++) {
		cr_expect_eq(unfinished(fence, A), FENCE_PASS, "%d", i);
		cr_expect_eq(unfinished(fence, A), FENCE_PASS, "%d", i);
		cr_expect_eq(entry_of(fence, A).strikes, 2, "%d", i);
		cr_assert_eq(enter(fence, &client, A), FENCE_PASS);
		fence_forgive(fence, &client);
		fence_leave(fence, &client);
		cr_expect_eq(entry_of(fence, A).strikes, 0, "%d", i);
	}
	cr_expect_eq(entry_of(fence, A).behaved_until_ns, 0);
	cr_expect_eq(client.standing, FENCE_STRANGER);
	for (int i = 0; i < 3; i++)
		cr_expect_eq(unfinished(fence, A), FENCE_PASS, "%d", i);
	cr_expect_eq(unfinished(fence, A), FENCE_PENALTY);
	fence_end(fence);
}

/* ---- octets ---- */

Test(fence_client, octets_by_class)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client client;
	struct fence *fence;
	uint64_t now;

	settings.plain_bytes.source = (struct fence_budget){1000, 2000};
	settings.upgraded_bytes.source = (struct fence_budget){100000, 100000};
	fence = fence_start(&settings);
	now = fence_now_ns();
	cr_assert_eq(enter(fence, &client, A), FENCE_PASS);
	cr_expect_eq(fence_received(fence, &client, 2000, now), 0);
	cr_expect_eq(fence_received(fence, &client, 500, now), 500);
	cr_expect_eq(fence_received(fence, &client, 0, now + 200 * 1000000), 300);
	cr_expect_eq(fence_received(fence, &client, 0, now + 499999999), 1, "rounded up");
	cr_expect_eq(fence_received(fence, &client, 0, now + 500000000), 0);
	cr_expect_eq(shake(fence, &client), FENCE_PASS);
	cr_expect_gt(fence_received(fence, &client, 500, now), 0, "a handshake is plaintext");
	fence_shaken(fence, &client, -1, true);
	cr_expect_eq(fence_received(fence, &client, 100000, now), 0);
	cr_expect_eq(fence_received(fence, &client, 10000, now), 100);
	cr_expect_eq(entry_of(fence, A).state.plain_bytes, 3000);
	cr_expect_eq(entry_of(fence, A).state.upgraded_bytes, 110000);
	cr_expect_eq(entry_of(fence, A).state.paused, 3);
	cr_expect_eq(counted(fence, FENCE_PLAIN, FENCE_PASS), 1);
	cr_expect_eq(counted(fence, FENCE_PLAIN, FENCE_OVER_PLAIN_BYTES), 1);
	cr_expect_eq(counted(fence, FENCE_HANDSHAKE, FENCE_OVER_PLAIN_BYTES), 1);
	cr_expect_eq(counted(fence, FENCE_UPGRADED, FENCE_PASS), 1);
	cr_expect_eq(counted(fence, FENCE_UPGRADED, FENCE_OVER_UPGRADED_BYTES), 1);
	fence_end(fence);
}

/* Many small receives; several connections of a source share; the pause of all. */
Test(fence_client, octets_by_receive_and_of_all)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client one, two, other;
	struct fence *fence;
	uint64_t now;

	settings.plain_packets.source = (struct fence_budget){10, 4};
	settings.plain_bytes.all = (struct fence_budget){1000, 1000};
	fence = fence_start(&settings);
	now = fence_now_ns();
	cr_assert_eq(enter(fence, &one, A), FENCE_PASS);
	cr_assert_eq(enter(fence, &two, A), FENCE_PASS);
	cr_assert_eq(enter(fence, &other, B), FENCE_PASS);
	for (int i = 0; i < 4; i++)
		cr_expect_eq(fence_received(fence, i % 2 ? &one : &two, 1, now), 0, "%d", i);
	cr_expect_eq(fence_received(fence, &one, 1, now), 100);
	cr_expect_eq(fence_received(fence, &two, 0, now), 100);
	cr_expect_eq(fence_received(fence, &other, 1, now), 0);
	cr_expect_eq(fence_received(fence, &other, 1994, now), 1000);
	cr_expect_eq(fence_received(fence, &two, 0, now), 1000, "everybody of that standing waits");
	cr_expect_eq(counted(fence, FENCE_PLAIN, FENCE_OVER_PLAIN_PACKETS), 1);
	cr_expect_eq(counted(fence, FENCE_PLAIN, FENCE_OVER_PLAIN_BYTES_ALL), 1);
	fence_end(fence);
}

Test(fence_client, a_pause_is_bounded)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client client;
	struct fence *fence;

	settings.plain_bytes.source = (struct fence_budget){1, 1};
	fence = fence_start(&settings);
	cr_assert_eq(enter(fence, &client, A), FENCE_PASS);
	cr_expect_eq(fence_received(fence, &client, 1 << 20, fence_now_ns()), 10000);
	fence_end(fence);
}

/* ---- the board ---- */

Test(fence_client, the_board)
{
	static struct fence_board board; /* large */
	struct fence_client client = {.place = 77, .tag = 0xbeef, .class = FENCE_PLAIN};
	uint64_t now = 5 * SECOND_NS;

	cr_expect_eq(fence_board_pause(&board, &client, now), 0);
	board.source[FENCE_LANE_PLAIN][77] = fence_board_word(0xbeef, now + 1500001000);
	cr_expect_eq(fence_board_pause(&board, &client, now), 1501);
	client.class = FENCE_HANDSHAKE;
	cr_expect_eq(fence_board_pause(&board, &client, now), 1501);
	client.class = FENCE_UPGRADED;
	cr_expect_eq(fence_board_pause(&board, &client, now), 0, "the other lane");
	client.class = FENCE_PLAIN;
	client.tag = 0xbee0;
	cr_expect_eq(fence_board_pause(&board, &client, now), 0, "another's word");
	board.all[FENCE_LANE_PLAIN][FENCE_STRANGER] = fence_board_word(0, now + 20000000);
	cr_expect_eq(fence_board_pause(&board, &client, now), 20);
	client.standing = FENCE_BEHAVED;
	cr_expect_eq(fence_board_pause(&board, &client, now), 0);
	client.tag = 0xbeef;
	cr_expect_eq(fence_board_pause(&board, &client, now + 2 * SECOND_NS), 0, "over");
	board.source[FENCE_LANE_PLAIN][77] = fence_board_word(0xbeef, now + 3600 * SECOND_NS);
	cr_expect_eq(fence_board_pause(&board, &client, now), 10000, "bounded");
}

/* Shut down, or short of memory: the gauge falls, and nobody is struck for it. */
Test(fence_client, a_handshake_that_we_give_up_is_no_strike)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client client;
	struct fence *fence;

	settings.strikes_max = 2;
	fence = fence_start(&settings);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(enter(fence, &client, A), FENCE_PASS, "%d", i);
		cr_assert_eq(shake(fence, &client), FENCE_PASS);
		fence_unshaken(fence, &client);
		fence_unshaken(fence, &client);
		cr_expect_not(client.shaking);
		cr_expect_eq(client.class, FENCE_HANDSHAKE);
		cr_expect_eq(totals_of(fence).gauge[FENCE_SHAKING][FENCE_STRANGER], 0);
		cr_expect_eq(entry_of(fence, A).state.gauge[FENCE_SHAKING], 0);
		fence_leave(fence, &client);
	}
	cr_expect_eq(entry_of(fence, A).strikes, 0);
	fence_end(fence);
}

/* ---- not entered ---- */

Test(fence_client, at_rest_nothing_is_asked)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_client client = {0};
	struct fence *fence = fence_start(&settings);

	cr_expect_eq(fence_received(fence, &client, 100, fence_now_ns()), 0);
	cr_expect_eq(shake(fence, &client), FENCE_PASS);
	cr_expect_not(client.shaking);
	fence_shaken(fence, &client, -1, false);
	fence_behaved(fence, &client);
	fence_forgive(fence, &client);
	fence_leave(fence, &client);
	fence_end(fence);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 5000 };

static void *sessions(void *arg)
{
	struct fence *fence = arg;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct address address = address_number(i % 11);
		struct fence_client client;

		if (fence_enter(fence, &client, address.octets, true, FENCE_PLAIN) != FENCE_PASS)
			continue;
		(void)fence_received(fence, &client, 100, fence_now_ns());
		if (fence_shake(fence, &client, -1) == FENCE_PASS && i % 3 != 0)
			fence_shaken(fence, &client, -1, i % 2 == 0);
		if (i % 5 == 0)
			fence_behaved(fence, &client);
		fence_leave(fence, &client);
	}
	return NULL;
}

Test(fence_client, threads_leave_every_gauge_at_nothing)
{
	struct fence_settings settings = fence_settings_free();
	pthread_t threads[THREADS];
	struct fence_totals totals;
	struct fence *fence;

	settings.sources_max = 8;
	settings.connections_open = 3;
	settings.connections_open_all = 6;
	settings.handshakes_open = 2;
	settings.strikes_max = 1000;
	settings.sample = 3;
	fence = fence_start(&settings);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, sessions, fence), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	totals = totals_of(fence);
	for (int standing = 0; standing < FENCE_STANDINGS; standing++) {
		cr_expect_eq(totals.gauge[FENCE_OPEN][standing], 0);
		cr_expect_eq(totals.gauge[FENCE_SHAKING][standing], 0);
	}
	fence_end(fence);
}
