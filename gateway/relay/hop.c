/* SPDX-License-Identifier: MIT */
/*
 * hop.c -- the health of next hops, how long to leave one alone, which one to ask next. No I/O.
 *
 * A hop is up until a link to it fails while no other link stands. Then it is left alone for
 * RELAY_HOP_RETRY_MS_MIN (or retry_ms_min if that is shorter), doubled by every further failure up
 * to retry_ms_max, each with jitter: a mail store that restarts costs a second or two, one that is
 * gone for a day is asked every retry_ms_max. When the time is over one link is a trial; the hop is
 * up again once a transaction on it got an answer, or it stands and nobody has work for it.
 *
 * A link that is lost in mid-message may be that message's fault. RELAY_HOP_CUT_OFFS of them with no
 * answer to any message between them count as a failure, so that a hop which dies at every DATA is
 * left for another.
 *
 * A failure while other links stand says that the next hop wants no more of them: none is opened
 * for RELAY_HOP_FULL_MS, and the hop stays up. Slow start: a hop has at most as many links being
 * opened as it has open ones, and at least one.
 *
 * Not here: which destination may open a link (schedule.c), what happens to the messages meanwhile
 * (trip.c). Rejected: sharing health among destinations with the same host; a host that refuses one
 * domain's mail would take the others down.
 */
#include "relay/schedule-private.h"

static uint64_t next_random(uint64_t *state)
{
	/* xorshift64: spreads load and retries, guards nothing. */
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x;
}

uint64_t relay_backoff_ms(uint64_t min_ms, uint64_t max_ms, uint32_t n, uint64_t *random)
{
	uint64_t ms = min_ms;
	uint64_t jitter;

	for (uint32_t i = 0; i < n && ms < max_ms; i++)
		ms *= 2;
	if (ms > max_ms)
		ms = max_ms;
	jitter = ms * RELAY_JITTER_PERCENT / 100;
	return ms - jitter + next_random(random) % (2 * jitter + 1);
}

static uint32_t standing(const struct relay_hop *hop)
{
	return hop->settings->kind == NEXT_HOP_MAILDIR ? 0 : hop->links_n - hop->opening_n;
}

enum relay_hop_state relay_hop_state(const struct relay_hop *hop, uint64_t now_ms)
{
	if (hop->failures == 0)
		return RELAY_HOP_UP;
	if (hop->links_n > 0)
		return RELAY_HOP_TRYING;
	return now_ms >= hop->retry_ms ? RELAY_HOP_TRIAL : RELAY_HOP_DOWN;
}

bool relay_hop_failed(
	struct relay_hop *hop, uint64_t min_ms, uint64_t max_ms, uint64_t now_ms, uint64_t *random)
{
	hop->failed_ms = now_ms;
	if (standing(hop) > 0) {
		hop->full_ms = now_ms + RELAY_HOP_FULL_MS;
		return false;
	}
	if (min_ms > RELAY_HOP_RETRY_MS_MIN)
		min_ms = RELAY_HOP_RETRY_MS_MIN;
	hop->retry_ms = now_ms + relay_backoff_ms(min_ms, max_ms, hop->failures, random);
	if (hop->failures < UINT32_MAX)
		hop->failures++;
	return true;
}

bool relay_hop_cut_off(struct relay_hop *hop)
{
	if (hop->cut_offs < RELAY_HOP_CUT_OFFS)
		hop->cut_offs++;
	return hop->cut_offs == RELAY_HOP_CUT_OFFS;
}

void relay_hop_good(struct relay_hop *hop)
{
	hop->cut_offs = 0;
	hop->failures = 0;
	hop->retry_ms = 0;
}

bool relay_hop_may_open(const struct relay_hop *hop, uint32_t links_max, uint64_t now_ms)
{
	uint32_t open = standing(hop);

	if (hop->settings->kind == NEXT_HOP_MAILDIR || hop->links_n >= links_max)
		return false;
	switch (relay_hop_state(hop, now_ms)) {
	case RELAY_HOP_UP:
		return now_ms >= hop->full_ms && hop->opening_n < (open == 0 ? 1 : open);
	case RELAY_HOP_TRIAL:
		return true;
	case RELAY_HOP_TRYING:
	case RELAY_HOP_DOWN:
		break;
	}
	return false;
}

/* One of the hops in `state`, by chance and weight; n if there is none. */
static size_t by_weight(const struct relay_hop *hops, size_t n, enum relay_hop_state state,
	uint64_t now_ms, uint64_t *random)
{
	uint64_t total = 0;
	uint64_t at;

	for (size_t i = 0; i < n; i++)
		if (relay_hop_state(&hops[i], now_ms) == state)
			total += hops[i].settings->weight;
	if (total == 0)
		return n;
	at = next_random(random) % total;
	for (size_t i = 0; i < n; i++) {
		if (relay_hop_state(&hops[i], now_ms) != state)
			continue;
		if (at < hops[i].settings->weight)
			return i;
		at -= hops[i].settings->weight;
	}
	return n;
}

/* Of those whose back-off is over, the one that failed the longest ago; n if there is none. */
static size_t longest_ago(const struct relay_hop *hops, size_t n, uint64_t now_ms)
{
	size_t best = n;

	for (size_t i = 0; i < n; i++)
		if (relay_hop_state(&hops[i], now_ms) == RELAY_HOP_TRIAL &&
			(best == n || hops[i].failed_ms < hops[best].failed_ms))
			best = i;
	return best;
}

void relay_hops_order(const struct relay_hop *hops, size_t n, enum route_choose choose,
	uint64_t now_ms, uint64_t *random, uint8_t order[SETTINGS_NEXT_HOPS_MAX])
{
	size_t first = n;
	size_t at = 0;

	if (choose == ROUTE_CHOOSE_WEIGHT && n > 1) {
		first = by_weight(hops, n, RELAY_HOP_UP, now_ms, random);
		if (first == n)
			first = longest_ago(hops, n, now_ms);
	}
	if (first < n)
		order[at++] = (uint8_t)first;
	for (size_t i = 0; i < n; i++)
		if (i != first)
			order[at++] = (uint8_t)i;
}

uint64_t relay_hops_wait(const struct relay_hop *hops, size_t n, uint64_t now_ms)
{
	uint64_t wait = UINT64_MAX;

	for (size_t i = 0; i < n; i++) {
		uint64_t until = 0;
		enum relay_hop_state state = relay_hop_state(&hops[i], now_ms);

		if (state == RELAY_HOP_DOWN)
			until = hops[i].retry_ms;
		else if (state == RELAY_HOP_UP)
			until = hops[i].full_ms;
		if (until <= now_ms)
			return 0;
		if (until - now_ms < wait)
			wait = until - now_ms;
	}
	return wait;
}
