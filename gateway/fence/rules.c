/* SPDX-License-Identifier: MIT */
/*
 * rules.c -- the settings as the numbers that bpf/rules.h works with.
 *
 * A rate becomes the time that a unit takes, in 1/1024 ns, and a burst the time that so many units
 * take; so a decision needs no division, which the kernel's programs could not afford.
 *
 * behaved_factor multiplies the rates of a source that behaved and the rates behind them, so that
 * what strangers may do in all can be set far below what the usual senders need. How many may be
 * there at a time is not multiplied in all: that is memory, which nobody's conduct raises.
 *
 * What does not fit is cut: a burst at FENCE_BURST_NS_MAX, so that no sum of times overflows.
 */
#include "fence/fence-private.h"

#include <sys/random.h>

#define FENCE_BURST_NS_MAX (1ull << 50) /* 13 days; << FENCE_RATE_SHIFT still fits into 64 bits */
#define FENCE_SPAN_NS_MAX  (1ull << 62) /* added to a time it is still one */
#define MS_NS              1000000ull

static const char *const meter_words[FENCE_METERS] = {
	[FENCE_CONNECTIONS] = "connections",
	[FENCE_PLAIN_BYTES] = "plain_bytes",
	[FENCE_PLAIN_PACKETS] = "plain_packets",
	[FENCE_HANDSHAKES] = "handshakes",
	[FENCE_UPGRADED_BYTES] = "upgraded_bytes",
};

static const char *const gauge_words[FENCE_GAUGES] = {
	[FENCE_OPEN] = "connections_open",
	[FENCE_SHAKING] = "handshakes_open",
};

const char *fence_meter_word(enum fence_meter meter)
{
	ASSERT(meter < FENCE_METERS);
	return meter_words[meter];
}

const char *fence_gauge_word(enum fence_gauge gauge)
{
	ASSERT(gauge < FENCE_GAUGES);
	return gauge_words[gauge];
}

/* ---- rates ---- */

static uint64_t times(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

struct fence_rate fence_rate_make(uint64_t rate, uint64_t burst)
{
	struct fence_rate made = {0};
	unsigned __int128 ns;

	if (rate == 0)
		return made;
	made.interval = (FENCE_NS << FENCE_RATE_SHIFT) / rate;
	/* Rounded up, so that a burst of n units has room for n of them; never for none at all. */
	ns = (unsigned __int128)(burst > 0 ? burst : 1) * made.interval;
	ns = (ns + (1u << FENCE_RATE_SHIFT) - 1) >> FENCE_RATE_SHIFT;
	made.burst = ns < FENCE_BURST_NS_MAX ? (uint64_t)ns : FENCE_BURST_NS_MAX;
	return made;
}

/* The greatest multiple of a power of `base`, of the greatest there is, in (above, most]. */
static uint64_t roundest(uint64_t above, uint64_t most, uint64_t base, uint64_t *step)
{
	uint64_t found = most;

	*step = 1;
	for (uint64_t power = base; most / power * power > above; power *= base) {
		found = most / power * power;
		*step = power;
	}
	return found;
}

/* Several rates have one interval: the roundest of them is the one that somebody wrote. */
uint64_t fence_rate_units(const struct fence_rate *rate)
{
	uint64_t above = (FENCE_NS << FENCE_RATE_SHIFT) / (rate->interval + 1);
	uint64_t most, ten, two, step_ten, step_two;

	if (rate->interval == 0)
		return 0;
	most = (FENCE_NS << FENCE_RATE_SHIFT) / rate->interval;
	ten = roundest(above, most, 10, &step_ten);
	two = roundest(above, most, 2, &step_two);
	return step_two > step_ten ? two : ten;
}

uint64_t fence_rate_burst(const struct fence_rate *rate)
{
	return rate->interval == 0 ? 0 : (rate->burst << FENCE_RATE_SHIFT) / rate->interval;
}

/* ---- all of them ---- */

static uint64_t span_ns(uint64_t ms)
{
	uint64_t ns = times(ms, MS_NS);

	return ns < FENCE_SPAN_NS_MAX ? ns : FENCE_SPAN_NS_MAX;
}

/* So few octets come whole or, before the kernel has gathered any, after a wait. */
static void key_make(__u64 key[2])
{
	ssize_t n = getrandom(key, 2 * sizeof(key[0]), 0);

	ASSERT(n == 2 * (ssize_t)sizeof(key[0]));
}

static void meter_make(struct fence_rules *out, enum fence_meter meter,
	const struct fence_budgets *budgets, uint64_t factor)
{
	const struct fence_budget *source = &budgets->source;
	const struct fence_budget *all = &budgets->all;

	out->source[meter][FENCE_STRANGER] = fence_rate_make(source->rate, source->burst);
	out->source[meter][FENCE_BEHAVED] =
		fence_rate_make(times(source->rate, factor), times(source->burst, factor));
	out->all[meter][FENCE_STRANGER] = fence_rate_make(all->rate, all->burst);
	out->all[meter][FENCE_BEHAVED] =
		fence_rate_make(times(all->rate, factor), times(all->burst, factor));
}

static void gauge_make(struct fence_rules *out, enum fence_gauge gauge, uint32_t source,
	uint32_t all, uint64_t factor)
{
	uint64_t behaved = times(source, factor);

	out->source_max[gauge][FENCE_STRANGER] = source;
	out->source_max[gauge][FENCE_BEHAVED] =
		behaved < UINT32_MAX ? (uint32_t)behaved : UINT32_MAX;
	out->all_max[gauge][FENCE_STRANGER] = all;
	out->all_max[gauge][FENCE_BEHAVED] = all;
}

void fence_rules_make(struct fence_rules *out, const struct fence_settings *settings,
	const struct fence_rules *old)
{
	uint64_t factor = settings->behaved_factor > 0 ? settings->behaved_factor : 1;
	struct fence_rules made = {
		.abi = FENCE_ABI,
		.bits_v4 = (uint8_t)settings->prefix_v4,
		.bits_v6 = (uint8_t)settings->prefix_v6,
		.sample = settings->sample,
		.strikes_max = settings->strikes_max,
		.penalty_ns = span_ns(settings->penalty_ms),
		.behaved_ns = span_ns(settings->behaved_ms),
	};

	ASSERT(settings->prefix_v4 >= 1 && settings->prefix_v4 <= 32);
	ASSERT(settings->prefix_v6 >= 1 && settings->prefix_v6 <= 128);
	if (old != NULL)
		memcpy(made.hash_key, old->hash_key, sizeof(made.hash_key));
	else
		key_make(made.hash_key);
	meter_make(&made, FENCE_CONNECTIONS, &settings->connections, factor);
	meter_make(&made, FENCE_PLAIN_BYTES, &settings->plain_bytes, factor);
	meter_make(&made, FENCE_PLAIN_PACKETS, &settings->plain_packets, factor);
	meter_make(&made, FENCE_HANDSHAKES, &settings->handshakes, factor);
	meter_make(&made, FENCE_UPGRADED_BYTES, &settings->upgraded_bytes, factor);
	gauge_make(&made, FENCE_OPEN, settings->connections_open, settings->connections_open_all,
		factor);
	gauge_make(&made, FENCE_SHAKING, settings->handshakes_open, settings->handshakes_open_all,
		factor);
	*out = made;
}
