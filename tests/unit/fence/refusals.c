/* SPDX-License-Identifier: MIT */
/* Unit tests of fence/refusals.c: a source's first refusal, samples, and how many lines of either. */
#include "harness.h"

#include <stdlib.h>

#include "base/counter.h"
#include "base/event.h"

#define A       "192.0.2.1"
#define SAMPLE  "event=fence_sample"
#define REFUSED "event=fence_refused"

/* ---- samples ---- */

/* How many lines of this event fence_turn() logs; all of them in text. */
static size_t turn_lines(struct fence *fence, const char *event, char *text, size_t max)
{
	struct event_sink *sink = calloc(1, sizeof(*sink));
	struct span lines;
	size_t n = 0;

	cr_assert_not_null(sink);
	event_sink_init(sink);
	event_sink_use(sink);
	fence_turn(fence);
	event_sink_use(NULL);
	lines = event_sink_take(sink);
	cr_assert_lt(lines.n, max);
	if (lines.n > 0)
		memcpy(text, lines.p, lines.n);
	text[lines.n] = '\0';
	for (const char *at = strstr(text, event); at != NULL; at = strstr(at + 1, event))
		n++;
	free(sink);
	return n;
}

Test(fence_refusals, every_nth_refusal_is_a_sample_and_a_line)
{
	struct fence_settings settings = fence_settings_free();
	struct network net = network_of_text("2001:db8::/32");
	struct fence_sample out[FENCE_SAMPLES_KEPT];
	struct fence_client client;
	char text[8192];
	struct fence *fence;

	settings.sample = 3;
	fence = fence_start(&settings);
	cr_assert_eq(fence_list_put(fence, &net, FENCE_ACTION_BLOCK, 0), 0);
	for (int i = 0; i < 7; i++)
		cr_assert_eq(enter(fence, &client, "2001:db8::5"), FENCE_BLOCKED);
	cr_expect_eq(fence_samples(fence, out, COUNT_OF(out)), 0, "not before the turn");
	cr_expect_eq(turn_lines(fence, SAMPLE, text, sizeof(text)), 2);
	cr_expect_not_null(strstr(text, "event=fence_sample class=new reason=blocked hook=user "
					"source=2001:db8::5 port=0"),
		"%s", text);
	cr_assert_eq(fence_samples(fence, out, COUNT_OF(out)), 2);
	cr_expect_eq(out[0].at_ns, fence_now_ns());
	cr_expect_eq(out[0].hook, FENCE_HOOK_USER);
	cr_expect_arr_eq(out[0].address, address_of("2001:db8::5").octets, NETWORK_BYTES);
	cr_expect_eq(turn_lines(fence, SAMPLE, text, sizeof(text)), 0);
	fence_end(fence);
}

Test(fence_refusals, lines_a_second_are_bounded_samples_are_kept)
{
	struct fence_settings settings = fence_settings_free();
	int64_t full = counter_sum(COUNTER_FENCE_FULL_LOG);
	struct network net = network_of_text("10.0.0.0/8");
	struct fence_sample out[FENCE_SAMPLES_KEPT];
	struct fence_client client;
	char text[8192];
	struct fence *fence;

	settings.sample = 1;
	fence = fence_start(&settings);
	cr_assert_eq(fence_list_put(fence, &net, FENCE_ACTION_BLOCK, 0), 0);
	for (uint32_t i = 0; i < 100; i++) {
		struct address address = address_number(i);

		cr_assert_eq(fence_enter(fence, &client, address.octets, true, FENCE_PLAIN),
			FENCE_BLOCKED);
		if (i == 49)
			cr_expect_eq(turn_lines(fence, SAMPLE, text, sizeof(text)),
				FENCE_SAMPLES_A_TURN);
	}
	cr_expect_eq(turn_lines(fence, SAMPLE, text, sizeof(text)), 0);
	cr_expect_eq(counter_sum(COUNTER_FENCE_FULL_LOG), full + 200 - 2 * FENCE_SAMPLES_A_TURN,
		"samples, and first refusals");
	cr_assert_eq(fence_samples(fence, out, COUNT_OF(out)), FENCE_SAMPLES_KEPT);
	for (uint32_t i = 0; i < FENCE_SAMPLES_KEPT; i++)
		cr_expect_eq(out[i].address[15], 99 - i, "newest first");
	cr_expect_eq(fence_samples(fence, out, 5), 5);
	clock_pass(1000);
	cr_assert_eq(enter(fence, &client, "10.0.0.1"), FENCE_BLOCKED);
	cr_expect_eq(turn_lines(fence, SAMPLE, text, sizeof(text)), 1);
	fence_end(fence);
}

Test(fence_refusals, no_samples_where_none_are_wanted)
{
	struct fence_settings settings = fence_settings_free();
	struct network net = network_of_text("10.0.0.0/8");
	struct fence_client client;
	char text[8192];
	struct fence *fence = fence_start(&settings);

	cr_assert_eq(fence_list_put(fence, &net, FENCE_ACTION_BLOCK, 0), 0);
	for (int i = 0; i < 10; i++)
		cr_assert_eq(enter(fence, &client, "10.0.0.1"), FENCE_BLOCKED);
	cr_expect_eq(turn_lines(fence, SAMPLE, text, sizeof(text)), 0);
	fence_end(fence);
}

/* ---- first refusals ---- */

static struct fence *fence_one_a_second(struct fence_settings *settings)
{
	settings->connections.source = (struct fence_budget){1, 1};
	return fence_start(settings);
}

Test(fence_refusals, the_first_in_a_minute_has_a_line_without_any_sampling)
{
	struct fence_settings settings = fence_settings_free();
	struct fence_explained before;
	struct fence_client client;
	char text[8192];
	struct fence *fence = fence_one_a_second(&settings);

	cr_assert_eq(enter(fence, &client, "2001:db8::7"), FENCE_PASS);
	cr_expect_eq(turn_lines(fence, REFUSED, text, sizeof(text)), 0);
	for (int i = 0; i < 50; i++)
		cr_assert_eq(enter(fence, &client, "2001:db8::8"), FENCE_OVER_CONNECTIONS);
	cr_expect_eq(turn_lines(fence, REFUSED, text, sizeof(text)), 1);
	cr_expect_not_null(strstr(text, "event=fence_refused source=2001:db8::/64 "
					"reason=over_connections class=new hook=user "
					"address=2001:db8::8\n"),
		"%s", text);
	for (int i = 0; i < 59; i++) {
		clock_pass(1000);
		if (enter(fence, &client, "2001:db8::8") == FENCE_PASS)
			cr_assert_eq(enter(fence, &client, "2001:db8::8"), FENCE_OVER_CONNECTIONS);
		cr_expect_eq(turn_lines(fence, REFUSED, text, sizeof(text)), 0, "%d", i);
	}
	clock_pass(1000);
	cr_assert_eq(enter(fence, &client, "2001:db8::8"), FENCE_PASS);
	cr_assert_eq(enter(fence, &client, "2001:db8::8"), FENCE_OVER_CONNECTIONS);
	cr_expect_eq(turn_lines(fence, REFUSED, text, sizeof(text)), 1, "a minute later");
	cr_assert(fence_source_forget(fence, address_of("2001:db8::8").octets, &before));
	cr_assert_eq(enter(fence, &client, "2001:db8::8"), FENCE_PASS);
	cr_assert_eq(enter(fence, &client, "2001:db8::8"), FENCE_OVER_CONNECTIONS);
	cr_expect_eq(turn_lines(fence, REFUSED, text, sizeof(text)), 1, "forgotten");
	fence_end(fence);
}

/* Handshakes, and who is blocked, who has no entry anywhere. */
Test(fence_refusals, of_every_kind)
{
	struct fence_settings settings = fence_settings_free();
	struct network net = network_of_text("10.0.0.0/8");
	struct fence_client client;
	char text[8192];
	struct fence *fence;

	settings.handshakes.source = (struct fence_budget){1, 1};
	fence = fence_start(&settings);
	cr_assert_eq(enter(fence, &client, A), FENCE_PASS);
	cr_assert_eq(fence_shake(fence, &client, -1), FENCE_PASS);
	fence_shaken(fence, &client, -1, true);
	cr_assert_eq(fence_shake(fence, &client, -1), FENCE_OVER_HANDSHAKES);
	cr_assert_eq(fence_list_put(fence, &net, FENCE_ACTION_BLOCK, 0), 0);
	cr_assert_eq(enter(fence, &client, "10.0.0.1"), FENCE_BLOCKED);
	cr_assert(fence_blocked(fence, address_of("10.0.0.1").octets));
	cr_assert(fence_blocked(fence, address_of("10.0.0.2").octets));
	cr_expect_eq(turn_lines(fence, REFUSED, text, sizeof(text)), 3);
	cr_expect_not_null(strstr(text, "source=192.0.2.1 reason=over_handshakes class=handshake"),
		"%s", text);
	cr_expect_not_null(strstr(text, "source=10.0.0.2 reason=blocked class=new"), "%s", text);
	fence_end(fence);
}

/* A flood from everywhere: what is kept and what is written is bounded, and what is lost counted. */
Test(fence_refusals, a_flood_of_sources_is_bounded)
{
	struct fence_settings settings = fence_settings_free();
	int64_t full = counter_sum(COUNTER_FENCE_FULL_REFUSALS);
	int64_t lines = counter_sum(COUNTER_FENCE_FULL_LOG);
	struct network net = network_of_text("10.0.0.0/8");
	struct fence_client client;
	char text[8192];
	struct fence *fence = fence_start(&settings);

	cr_assert_eq(fence_list_put(fence, &net, FENCE_ACTION_BLOCK, 0), 0);
	for (uint32_t i = 0; i < 100; i++)
		cr_assert_eq(
			fence_enter(fence, &client, address_number(i).octets, true, FENCE_PLAIN),
			FENCE_BLOCKED);
	cr_expect_eq(turn_lines(fence, REFUSED, text, sizeof(text)), FENCE_SAMPLES_A_TURN);
	cr_expect_eq(counter_sum(COUNTER_FENCE_FULL_REFUSALS), full + 100 - 64);
	cr_expect_eq(counter_sum(COUNTER_FENCE_FULL_LOG), lines + 64 - FENCE_SAMPLES_A_TURN);
	cr_expect_eq(turn_lines(fence, REFUSED, text, sizeof(text)), 0);
	fence_end(fence);
}
