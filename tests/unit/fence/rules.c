/* SPDX-License-Identifier: MIT */
/* Unit tests of fence/rules.c and words.c: numbers from settings and back, words. */
#include "harness.h"

/* A burst of n has room for n at once and not for one more; then for as many as the rate says. */
Test(fence_rules, a_rate_and_its_burst_hold)
{
	static const struct {
		uint64_t rate, burst;
	} cases[] = {{1, 1}, {3, 1}, {7, 5}, {10, 20}, {999, 1000}, {1000000, 3000}};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct fence_rate rate = fence_rate_make(cases[i].rate, cases[i].burst);
		uint64_t now = 5 * SECOND_NS;
		__u64 tat = 0;
		uint64_t taken = 0;

		for (uint64_t n = 0; n < cases[i].burst; n++)
			cr_assert(fence_take(&tat, &rate, 1, now), "case %zu, unit %lu", i, n);
		cr_assert_not(fence_take(&tat, &rate, 1, now), "case %zu", i);
		for (int ms = 1; ms <= 10000; ms++)
			while (fence_take(&tat, &rate, 1, now + (uint64_t)ms * 1000000))
				taken++;
		/* to a thousandth, or one: an interval is a whole number of 1/1024 ns */
		cr_expect_geq(
			(taken + 1) * 1000, 10 * cases[i].rate * 999, "case %zu: %lu", i, taken);
		cr_expect_leq(taken * 1000, 10 * cases[i].rate * 1001, "case %zu: %lu", i, taken);
	}
}

Test(fence_rules, rates_come_back_as_they_were_written)
{
	static const uint64_t rates[] = {1, 2, 3, 7, 10, 33, 128, 999, 1000, 4096, 65536, 100000,
		1000000, 1500000, 10485760, 12582912, 20000000, 83886080, 150000000, 300000000,
		1000000000};

	for (size_t i = 0; i < COUNT_OF(rates); i++) {
		struct fence_rate rate = fence_rate_make(rates[i], rates[i] * 3);

		cr_expect_eq(fence_rate_units(&rate), rates[i], "%lu -> %lu", rates[i],
			fence_rate_units(&rate));
		cr_expect_eq(fence_rate_burst(&rate), rates[i] * 3, "%lu -> %lu", rates[i] * 3,
			fence_rate_burst(&rate));
	}
}

Test(fence_rules, extremes_neither_overflow_nor_close_the_door)
{
	struct fence_rate none = fence_rate_make(0, 5);
	struct fence_rate bare = fence_rate_make(10, 0);
	struct fence_rate huge = fence_rate_make(1, UINT64_MAX);
	__u64 tat = 0;

	cr_expect_eq(none.interval, 0);
	cr_expect_eq(fence_rate_units(&none), 0);
	cr_expect(fence_take(&tat, &bare, 1, SECOND_NS), "a burst of none lets one through");
	cr_expect_not(fence_take(&tat, &bare, 1, SECOND_NS));
	cr_expect_lt(huge.burst, UINT64_MAX >> FENCE_RATE_SHIFT);
	cr_expect_gt(fence_left(0, &huge, SECOND_NS), 1000000);
}

Test(fence_rules, settings_become_rules)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_rules rules, again;

	settings.connections = (struct fence_budgets){{10, 20}, {1000, 2000}};
	settings.handshakes = (struct fence_budgets){{5, 5}, {0, 0}};
	settings.connections_open = 7;
	settings.connections_open_all = 700;
	settings.handshakes_open = UINT32_MAX;
	settings.behaved_factor = 4;
	settings.sample = 9;
	settings.strikes_max = 3;
	settings.penalty_ms = 1500;
	settings.behaved_ms = UINT64_MAX;
	fence_rules_make(&rules, &settings, NULL);
	cr_expect_eq(rules.abi, FENCE_ABI);
	cr_expect_eq(rules.bits_v4, 32);
	cr_expect_eq(rules.bits_v6, 64);
	cr_expect_eq(rules.sample, 9);
	cr_expect_eq(rules.strikes_max, 3);
	cr_expect_eq(rules.penalty_ns, 1500000000);
	cr_expect_lt(rules.behaved_ns, 1ull << 63);
	cr_expect_eq(fence_rate_units(&rules.source[FENCE_CONNECTIONS][FENCE_STRANGER]), 10);
	cr_expect_eq(fence_rate_units(&rules.source[FENCE_CONNECTIONS][FENCE_BEHAVED]), 40);
	cr_expect_eq(fence_rate_burst(&rules.source[FENCE_CONNECTIONS][FENCE_BEHAVED]), 80);
	cr_expect_eq(fence_rate_units(&rules.all[FENCE_CONNECTIONS][FENCE_STRANGER]), 1000);
	cr_expect_eq(fence_rate_units(&rules.all[FENCE_CONNECTIONS][FENCE_BEHAVED]), 4000);
	cr_expect_eq(rules.all[FENCE_HANDSHAKES][FENCE_STRANGER].interval, 0);
	cr_expect_eq(rules.source[FENCE_PLAIN_BYTES][FENCE_STRANGER].interval, 0);
	cr_expect_eq(rules.source_max[FENCE_OPEN][FENCE_STRANGER], 7);
	cr_expect_eq(rules.source_max[FENCE_OPEN][FENCE_BEHAVED], 28);
	cr_expect_eq(rules.all_max[FENCE_OPEN][FENCE_BEHAVED], 700);
	cr_expect_eq(rules.source_max[FENCE_SHAKING][FENCE_BEHAVED], UINT32_MAX);
	cr_expect_eq(rules.all_max[FENCE_SHAKING][FENCE_STRANGER], 0);
	fence_rules_make(&again, &settings, &rules);
	cr_expect_arr_eq(again.hash_key, rules.hash_key, sizeof(rules.hash_key));
	fence_rules_make(&again, &settings, NULL);
	cr_expect_arr_neq(again.hash_key, rules.hash_key, sizeof(rules.hash_key));
}

Test(fence_words, everything_has_its_own_word)
{
	for (int i = 0; i < FENCE_REASONS; i++) {
		enum fence_reason reason = (enum fence_reason)i;

		cr_assert_not_null(fence_reason_word(reason), "%d", i);
		cr_assert_not_null(fence_reason_text(reason), "%d", i);
		cr_expect_leq(strlen(fence_reason_text(reason)), 80, "%d", i);
		for (int j = 0; j < i; j++)
			cr_expect_str_neq(
				fence_reason_word(reason), fence_reason_word((enum fence_reason)j));
	}
	cr_expect_str_eq(fence_reason_word(FENCE_OVER_OPEN_ALL), "over_open_all");
	cr_expect_str_eq(fence_reason_word(FENCE_REASONS), "unknown");
	cr_expect_str_eq(fence_class_word(FENCE_UPGRADED), "upgraded");
	cr_expect_str_eq(fence_class_word(FENCE_CLASSES), "unknown");
	cr_expect_str_eq(fence_hook_word(FENCE_HOOK_XDP), "xdp");
	cr_expect_str_eq(fence_meter_word(FENCE_PLAIN_PACKETS), "plain_packets");
	cr_expect_str_eq(fence_gauge_word(FENCE_SHAKING), "handshakes_open");
}

Test(fence_words, verdicts)
{
	static const enum fence_verdict verdicts[FENCE_REASONS] = {
		[FENCE_BLOCKED] = FENCE_VERDICT_REFUSE,
		[FENCE_PENALTY] = FENCE_VERDICT_REFUSE,
		[FENCE_OVER_CONNECTIONS] = FENCE_VERDICT_REFUSE,
		[FENCE_OVER_CONNECTIONS_ALL] = FENCE_VERDICT_REFUSE,
		[FENCE_OVER_OPEN] = FENCE_VERDICT_REFUSE,
		[FENCE_OVER_OPEN_ALL] = FENCE_VERDICT_REFUSE,
		[FENCE_OVER_PLAIN_BYTES] = FENCE_VERDICT_PAUSE,
		[FENCE_OVER_PLAIN_BYTES_ALL] = FENCE_VERDICT_PAUSE,
		[FENCE_OVER_PLAIN_PACKETS] = FENCE_VERDICT_PAUSE,
		[FENCE_OVER_PLAIN_PACKETS_ALL] = FENCE_VERDICT_PAUSE,
		[FENCE_OVER_HANDSHAKES] = FENCE_VERDICT_REFUSE,
		[FENCE_OVER_HANDSHAKES_ALL] = FENCE_VERDICT_REFUSE,
		[FENCE_OVER_SHAKING] = FENCE_VERDICT_REFUSE,
		[FENCE_OVER_SHAKING_ALL] = FENCE_VERDICT_REFUSE,
		[FENCE_OVER_UPGRADED_BYTES] = FENCE_VERDICT_PAUSE,
		[FENCE_OVER_UPGRADED_BYTES_ALL] = FENCE_VERDICT_PAUSE,
	};

	for (int i = 0; i < FENCE_REASONS; i++)
		cr_expect_eq(fence_reason_verdict((enum fence_reason)i), verdicts[i], "%s",
			fence_reason_word((enum fence_reason)i));
}

/* A reload to a smaller burst: what was used of the greater one is not waited for. */
Test(fence_rules, debt_of_a_greater_burst_is_cut)
{
	struct fence_rate before = fence_rate_make(1, 100), after = fence_rate_make(1, 2);
	__u64 now = 1000 * SECOND_NS, tat = 0;

	for (int i = 0; i < 100; i++)
		cr_expect(fence_take(&tat, &before, 1, now), "%d", i);
	cr_expect_not(fence_take(&tat, &before, 1, now));
	cr_expect_eq(tat, now + 100 * SECOND_NS, "a refusal takes nothing");
	cr_expect_not(fence_has(&tat, &before, now));
	cr_expect_eq(tat, now + 100 * SECOND_NS, "nor does a look");
	cr_expect_not(fence_has(&tat, &after, now));
	cr_expect_eq(tat, now + 2 * SECOND_NS + FENCE_PAUSE_NS_MAX, "as far as a charge goes");
	cr_expect_not(fence_take(&tat, &after, 1, now));
	cr_expect_eq(tat, now + 2 * SECOND_NS);
	cr_expect_not(fence_take(&tat, &after, 1, now + SECOND_NS - 1));
	cr_expect(fence_take(&tat, &after, 1, now + SECOND_NS));
	cr_expect_not(fence_take(&tat, &after, 1, now + SECOND_NS));
	cr_expect(fence_take(&tat, &before, 1, now + SECOND_NS), "and back");
}
