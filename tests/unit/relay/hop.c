/* SPDX-License-Identifier: MIT */
/* hop.c -- back-off, states and choice of next hops: pure functions, tables. */
#include <criterion/criterion.h>

#include "relay/schedule-private.h"

#define NOW 1000000u

static const struct next_hop_settings smtp = {.kind = NEXT_HOP_SMTP, .weight = 1};
static const struct next_hop_settings heavy = {.kind = NEXT_HOP_SMTP, .weight = 3};
static const struct next_hop_settings maildir = {.kind = NEXT_HOP_MAILDIR, .weight = 1};

Test(hop, back_off_doubles_up_to_its_limit)
{
	static const struct {
		uint64_t min, max;
		uint32_t n;
		uint64_t plain;
	} rows[] = {
		{1000, 3600000, 0, 1000},
		{1000, 3600000, 1, 2000},
		{1000, 3600000, 5, 32000},
		{1000, 3600000, 12, 3600000},
		{1000, 3600000, UINT32_MAX, 3600000},
		{300000, 200000, 0, 200000},
	};
	uint64_t random = 42;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		uint64_t low = UINT64_MAX, high = 0;

		for (int k = 0; k < 1000; k++) {
			uint64_t ms =
				relay_backoff_ms(rows[i].min, rows[i].max, rows[i].n, &random);

			low = ms < low ? ms : low;
			high = ms > high ? ms : high;
		}
		cr_expect(low >= rows[i].plain * 80 / 100, "row %zu: %lu", i, low);
		cr_expect(low < rows[i].plain * 85 / 100, "row %zu: %lu", i, low);
		cr_expect(high <= rows[i].plain * 120 / 100, "row %zu: %lu", i, high);
		cr_expect(high > rows[i].plain * 115 / 100, "row %zu: %lu", i, high);
	}
}

Test(hop, cut_off_too_often_without_an_answer_between)
{
	struct relay_hop hop = {.settings = &smtp};

	cr_expect(!relay_hop_cut_off(&hop) && !relay_hop_cut_off(&hop));
	relay_hop_good(&hop);
	cr_expect(!relay_hop_cut_off(&hop) && !relay_hop_cut_off(&hop));
	cr_expect(relay_hop_cut_off(&hop), "the third in a row");
	cr_expect(relay_hop_cut_off(&hop), "and each one after it");
}

Test(hop, states)
{
	static const struct {
		uint32_t failures, links;
		uint64_t retry_ms;
		enum relay_hop_state state;
	} rows[] = {
		{0, 0, 0, RELAY_HOP_UP},
		{0, 3, 0, RELAY_HOP_UP},
		{1, 0, NOW + 1, RELAY_HOP_DOWN},
		{1, 0, NOW, RELAY_HOP_TRIAL},
		{7, 1, NOW, RELAY_HOP_TRYING},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct relay_hop hop = {.settings = &smtp,
			.failures = rows[i].failures,
			.links_n = rows[i].links,
			.retry_ms = rows[i].retry_ms};

		cr_expect(relay_hop_state(&hop, NOW) == rows[i].state, "row %zu", i);
	}
}

Test(hop, a_failure_beside_links_that_stand_is_a_pause)
{
	struct relay_hop hop = {.settings = &smtp, .links_n = 2, .opening_n = 1};
	uint64_t random = 1;

	cr_expect(!relay_hop_failed(&hop, 300000, 3600000, NOW, &random));
	cr_expect(relay_hop_state(&hop, NOW) == RELAY_HOP_UP);
	cr_expect(!relay_hop_may_open(&hop, 10, NOW));
	hop.opening_n = 0;
	cr_expect(!relay_hop_may_open(&hop, 10, NOW + RELAY_HOP_FULL_MS - 1));
	cr_expect(relay_hop_may_open(&hop, 10, NOW + RELAY_HOP_FULL_MS));
}

Test(hop, a_failure_of_the_only_link_begins_with_a_second)
{
	struct relay_hop hop = {.settings = &smtp};
	uint64_t random = 1;
	uint64_t first;

	cr_expect(relay_hop_failed(&hop, 300000, 3600000, NOW, &random));
	first = hop.retry_ms - NOW;
	cr_expect(first >= 800 && first <= 1200, "%lu", first);
	cr_expect(relay_hop_failed(&hop, 300000, 3600000, NOW, &random));
	cr_expect(hop.retry_ms - NOW >= 1600 && hop.retry_ms - NOW <= 2400);
	relay_hop_good(&hop);
	cr_expect(relay_hop_state(&hop, NOW) == RELAY_HOP_UP);
	cr_expect(relay_hop_failed(&hop, 300000, 3600000, NOW, &random));
	cr_expect(hop.retry_ms - NOW <= 1200, "forgotten");
	hop = (struct relay_hop){.settings = &smtp};
	cr_expect(relay_hop_failed(&hop, 10, 3600000, NOW, &random));
	cr_expect(hop.retry_ms - NOW <= 12, "retry_ms_min is shorter");
	hop = (struct relay_hop){.settings = &maildir, .links_n = 3};
	cr_expect(relay_hop_failed(&hop, 300000, 3600000, NOW, &random), "no links to stand");
}

Test(hop, opening_starts_slowly)
{
	static const struct {
		uint32_t links, opening, max;
		bool may;
	} rows[] = {
		{0, 0, 4, true},
		{1, 1, 4, false}, /* the first one is not there yet */
		{1, 0, 4, true},
		{2, 1, 4, false},
		{3, 1, 4, true}, /* two stand */
		{4, 0, 4, false},
		{4, 2, 9, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct relay_hop hop = {
			.settings = &smtp, .links_n = rows[i].links, .opening_n = rows[i].opening};

		cr_expect(relay_hop_may_open(&hop, rows[i].max, NOW) == rows[i].may, "row %zu", i);
	}
}

Test(hop, fail_over_keeps_the_order)
{
	struct relay_hop hops[3] = {{.settings = &smtp, .failures = 1, .retry_ms = NOW + 1},
		{.settings = &heavy}, {.settings = &heavy}};
	uint8_t order[SETTINGS_NEXT_HOPS_MAX];
	uint64_t random = 1;

	relay_hops_order(hops, 3, ROUTE_CHOOSE_FAILOVER, NOW, &random, order);
	cr_expect(order[0] == 0 && order[1] == 1 && order[2] == 2);
}

Test(hop, weights_hold_among_those_that_are_up)
{
	struct relay_hop hops[3] = {{.settings = &smtp},
		{.settings = &heavy, .failures = 1, .retry_ms = NOW + 1}, {.settings = &heavy}};
	uint8_t order[SETTINGS_NEXT_HOPS_MAX];
	unsigned first[3] = {0};
	uint64_t random = 7;

	for (int i = 0; i < 4000; i++) {
		relay_hops_order(hops, 3, ROUTE_CHOOSE_WEIGHT, NOW, &random, order);
		cr_assert(order[0] < 3 && order[1] < 3 && order[2] < 3);
		cr_assert(order[0] != order[1] && order[1] != order[2] && order[0] != order[2]);
		first[order[0]]++;
	}
	cr_expect(first[1] == 0);
	cr_expect(first[0] > 800 && first[0] < 1200, "%u of 4000", first[0]);
}

Test(hop, of_those_on_trial_the_one_that_failed_first)
{
	struct relay_hop hops[3] = {{.settings = &heavy, .failures = 1, .failed_ms = 30},
		{.settings = &smtp, .failures = 9, .failed_ms = 10},
		{.settings = &smtp, .failures = 1, .failed_ms = 5, .retry_ms = NOW + 1}};
	uint8_t order[SETTINGS_NEXT_HOPS_MAX];
	uint64_t random = 1;

	relay_hops_order(hops, 3, ROUTE_CHOOSE_WEIGHT, NOW, &random, order);
	cr_expect(order[0] == 1);
}

Test(hop, waits_for_the_first_that_may_be_tried)
{
	struct relay_hop hops[2] = {{.settings = &smtp, .failures = 1, .retry_ms = NOW + 500},
		{.settings = &smtp, .failures = 1, .retry_ms = NOW + 200}};

	cr_expect(relay_hops_wait(hops, 2, NOW) == 200);
	cr_expect(relay_hops_wait(hops, 2, NOW + 200) == 0);
	hops[1] = (struct relay_hop){.settings = &smtp, .full_ms = NOW + 50};
	cr_expect(relay_hops_wait(hops, 2, NOW) == 50);
	hops[1] = (struct relay_hop){.settings = &smtp};
	cr_expect(relay_hops_wait(hops, 2, NOW) == 0);
}
