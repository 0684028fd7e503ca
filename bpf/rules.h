/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * rules.h -- the fence's decisions, once, for the kernel's programs and for the gateway's limiter.
 *
 * Everything works on what it is given: rules, a source, totals, a time. Nothing is locked. A
 * limiter is GCRA: one word, the theoretical arrival time (tat), moved on by compare-and-swap; a
 * conforming unit finds tat at most `burst` ahead of now. After FENCE_TRIES lost races a unit that is
 * asked for counts as over its budget, and one that is charged is added without a look: nothing spins.
 *
 * A source's own budget is asked first, then the one behind it. A connection is looked at before it
 * is charged: in the kernel the SYN is looked at, which proves nothing about who sent it, and what is
 * established costs. What is refused costs nobody anything. Of a handshake, what the second budget
 * refuses has cost the source its unit, which is right for a flood and cheap for everybody else.
 */
#ifndef POSTERN_BPF_RULES_H
#define POSTERN_BPF_RULES_H

#include "bpf/abi.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/*
 * The kernel shall ask for CAP_BPF and CAP_NET_ADMIN only. Without CAP_PERFMON its verifier also
 * follows what a CPU may speculate, and so for the programs
 *	- loops are unrolled: speculation does not stop at a counter's end; and they are functions of
 *	  their own, looked at once (with any arguments, NULL too) rather than for each way that leads
 *	  to a call;
 *	- one of two neighbours is chosen by a branch: a pointer plus a number in a register would need
 *	  a mask, and from then on no two ways count as the same;
 *	- what may be NULL is tested once: speculation does not believe a test that was made before;
 *	- what is put on the stack is put there in whole words, and not by a helper that is told a length
 *	  it cannot know (6.1 takes a number there for a pointer put aside).
 */
#ifdef __bpf__
#define FENCE_FUNCTION __attribute__((weak, noinline)) /* weak: nothing is guessed about it */
#define FENCE_LOOP     _Pragma("unroll")
#define FENCE_AT(pair, second)                                                                     \
	({                                                                                         \
		__typeof__(&(pair)[0]) at_ = (pair);                                               \
		barrier_var(at_);                                                                  \
		if ((second)&1) {                                                                  \
			at_++;                                                                     \
			barrier_var(at_);                                                          \
		}                                                                                  \
		at_;                                                                               \
	})
#else
#define FENCE_FUNCTION static __always_inline
#define FENCE_LOOP
#define FENCE_AT(pair, second) (&(pair)[(second)&1])
#endif

#define FENCE_TRIES        8
#define FENCE_NS           1000000000ull
#define FENCE_SYNS_FACTOR  8               /* SYNs for each connection of a budget */
#define FENCE_PAUSE_NS_MAX (10 * FENCE_NS) /* a source is never further in debt than that */

/* ---- GCRA ---- */

static __always_inline __u64 fence_cost(const struct fence_rate *rate, __u64 units)
{
	return units * rate->interval >> FENCE_RATE_SHIFT;
}

static __always_inline __u64 fence_later(__u64 a, __u64 b)
{
	return a > b ? a : b;
}

enum fence_try { FENCE_REFUSED, FENCE_TAKEN, FENCE_LOST };

static __always_inline enum fence_try fence_take_once(
	__u64 *tat, __u64 cost, __u64 limit, __u64 now)
{
	__u64 old = *(volatile __u64 *)tat;
	__u64 to = fence_later(old, now) + cost;

	if (to > limit) {
		/* Debt of a burst that was greater, before a reload. */
		if (old > limit)
			__sync_val_compare_and_swap(tat, old, limit);
		return FENCE_REFUSED;
	}
	return __sync_val_compare_and_swap(tat, old, to) == old ? FENCE_TAKEN : FENCE_LOST;
}

/* After the first try was lost, which is seldom. */
FENCE_FUNCTION int fence_take_again(__u64 *tat, __u64 cost, __u64 limit, __u64 now)
{
	if (!tat)
		return 0;
	FENCE_LOOP
	for (int i = 1; i < FENCE_TRIES; i++) {
		enum fence_try result = fence_take_once(tat, cost, limit, now);

		if (result != FENCE_LOST)
			return result == FENCE_TAKEN;
	}
	return 0;
}

/* Takes units if the budget has them. */
static __always_inline int fence_take(
	__u64 *tat, const struct fence_rate *rate, __u64 units, __u64 now)
{
	__u64 cost = fence_cost(rate, units), limit = now + rate->burst;
	enum fence_try result;

	if (rate->interval == 0)
		return 1;
	result = fence_take_once(tat, cost, limit, now);
	if (result != FENCE_LOST)
		return result == FENCE_TAKEN;
	return fence_take_again(tat, cost, limit, now);
}

/* Would fence_take() take a unit now? Takes nothing, but cuts debt that no charge could have made: of
 * a burst that was greater, before a reload. */
static __always_inline int fence_has(__u64 *tat, const struct fence_rate *rate, __u64 now)
{
	__u64 old = *(volatile __u64 *)tat, limit = now + rate->burst;

	if (rate->interval == 0)
		return 1;
	if (old > limit + FENCE_PAUSE_NS_MAX)
		__sync_val_compare_and_swap(tat, old, limit + FENCE_PAUSE_NS_MAX);
	return fence_later(old, now) + fence_cost(rate, 1) <= limit;
}

/* Returns the new tat; 0: lost. */
static __always_inline __u64 fence_charge_once(__u64 *tat, __u64 cost, __u64 limit, __u64 now)
{
	__u64 old = *(volatile __u64 *)tat;
	__u64 to = fence_later(old, now) + cost;

	if (to > limit + FENCE_PAUSE_NS_MAX)
		to = limit + FENCE_PAUSE_NS_MAX;
	return __sync_val_compare_and_swap(tat, old, to) == old ? to : 0;
}

FENCE_FUNCTION __u64 fence_charge_again(__u64 *tat, __u64 cost, __u64 limit, __u64 now)
{
	if (!tat)
		return 0;
	FENCE_LOOP
	for (int i = 1; i < FENCE_TRIES; i++) {
		__u64 to = fence_charge_once(tat, cost, limit, now);

		if (to != 0)
			return to;
	}
	return __sync_fetch_and_add(tat, cost) + cost;
}

/* Takes units whether the budget has them or not. Returns for how many ns it is overdrawn. */
static __always_inline __u64 fence_charge(
	__u64 *tat, const struct fence_rate *rate, __u64 units, __u64 now)
{
	__u64 cost = fence_cost(rate, units), limit = now + rate->burst, to;

	if (rate->interval == 0)
		return 0;
	to = fence_charge_once(tat, cost, limit, now);
	if (to == 0)
		to = fence_charge_again(tat, cost, limit, now);
	return to > limit ? to - limit : 0;
}

/* How many units are left now; ~0: no limit. For people to read: divides, so not for the kernel. */
static inline __u64 fence_left(__u64 tat, const struct fence_rate *rate, __u64 now)
{
	__u64 from = tat > now ? tat : now;

	if (rate->interval == 0)
		return ~0ull;
	if (from >= now + rate->burst)
		return 0;
	return ((now + rate->burst - from) << FENCE_RATE_SHIFT) / rate->interval;
}

/* ---- gauges ---- */

static __always_inline int fence_full(__u64 n, __u32 max)
{
	return max != 0 && n >= max;
}

/* gauge[FENCE_OPEN] in the word of both. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FENCE_OPEN_ONE 1ull
#else
#define FENCE_OPEN_ONE (1ull << 32)
#endif
#define FENCE_OPEN_MASK (0xffffffffull * FENCE_OPEN_ONE)

/* A source that was pushed out of its table comes back at 0 while its connections live on. */
static __always_inline void fence_open_drop(struct fence_source *source)
{
	__u64 *pair =
		(__u64 *)source->gauge; /* both: the programs have no swap of less than 64 bits */

	FENCE_LOOP
	for (int i = 0; i < FENCE_TRIES; i++) {
		__u64 old = *(volatile __u64 *)pair;

		if ((old & FENCE_OPEN_MASK) == 0 ||
			__sync_val_compare_and_swap(pair, old, old - FENCE_OPEN_ONE) == old)
			return;
	}
	__sync_fetch_and_add(
		&source->gauge[FENCE_OPEN], -1); /* so many at a time: it is not at 0 */
}

/* ---- decisions ---- */

/* Is there room for a connection more? Two functions that only look. */
static __always_inline enum fence_reason fence_look_source(
	const struct fence_rules *rules, struct fence_source *source, __u32 standing, __u64 now)
{
	if (fence_full(
		    source->gauge[FENCE_OPEN], *FENCE_AT(rules->source_max[FENCE_OPEN], standing)))
		return FENCE_OVER_OPEN;
	if (!fence_has(&source->tat[FENCE_CONNECTIONS],
		    FENCE_AT(rules->source[FENCE_CONNECTIONS], standing), now))
		return FENCE_OVER_CONNECTIONS;
	return FENCE_PASS;
}

static __always_inline enum fence_reason fence_look_all(
	const struct fence_rules *rules, struct fence_totals *totals, __u32 standing, __u64 now)
{
	if (fence_full(*FENCE_AT(totals->gauge[FENCE_OPEN], standing),
		    *FENCE_AT(rules->all_max[FENCE_OPEN], standing)))
		return FENCE_OVER_OPEN_ALL;
	if (!fence_has(FENCE_AT(totals->tat[FENCE_CONNECTIONS], standing),
		    FENCE_AT(rules->all[FENCE_CONNECTIONS], standing), now))
		return FENCE_OVER_CONNECTIONS_ALL;
	return FENCE_PASS;
}

/* A new connection, which is charged if it may come in. The gauges are looked at, not moved. */
static __always_inline enum fence_reason fence_judge_connection(const struct fence_rules *rules,
	struct fence_source *source, struct fence_totals *totals, __u32 standing, __u64 now)
{
	enum fence_reason reason = fence_look_source(rules, source, standing, now);

	if (reason == FENCE_PASS)
		reason = fence_look_all(rules, totals, standing, now);
	if (reason != FENCE_PASS)
		return reason;
	if (!fence_take(&source->tat[FENCE_CONNECTIONS],
		    FENCE_AT(rules->source[FENCE_CONNECTIONS], standing), 1, now))
		return FENCE_OVER_CONNECTIONS;
	if (!fence_take(FENCE_AT(totals->tat[FENCE_CONNECTIONS], standing),
		    FENCE_AT(rules->all[FENCE_CONNECTIONS], standing), 1, now))
		return FENCE_OVER_CONNECTIONS_ALL;
	return FENCE_PASS;
}

/* One that is there: charged whether the budgets have it or not, and in the gauges. */
static __always_inline void fence_charge_connection(const struct fence_rules *rules,
	struct fence_source *source, struct fence_totals *totals, __u32 standing, __u64 now)
{
	fence_charge(&source->tat[FENCE_CONNECTIONS],
		FENCE_AT(rules->source[FENCE_CONNECTIONS], standing), 1, now);
	fence_charge(FENCE_AT(totals->tat[FENCE_CONNECTIONS], standing),
		FENCE_AT(rules->all[FENCE_CONNECTIONS], standing), 1, now);
	__sync_fetch_and_add(&source->gauge[FENCE_OPEN], 1);
	__sync_fetch_and_add(FENCE_AT(totals->gauge[FENCE_OPEN], standing), 1);
}

/* What may be sent in SYNs, by what may be had in connections: by a source, by all. */
static __always_inline struct fence_rate fence_syns_rate(const struct fence_rate *connections)
{
	struct fence_rate rate = *connections;

	rate.interval = (rate.interval + FENCE_SYNS_FACTOR - 1) / FENCE_SYNS_FACTOR;
	return rate;
}

/* A handshake that is about to begin. The gauges are looked at, not moved. */
static __always_inline enum fence_reason fence_judge_handshake(const struct fence_rules *rules,
	struct fence_source *source, struct fence_totals *totals, __u32 standing, __u64 now)
{
	if (fence_full(source->gauge[FENCE_SHAKING],
		    *FENCE_AT(rules->source_max[FENCE_SHAKING], standing)))
		return FENCE_OVER_SHAKING;
	if (fence_full(*FENCE_AT(totals->gauge[FENCE_SHAKING], standing),
		    *FENCE_AT(rules->all_max[FENCE_SHAKING], standing)))
		return FENCE_OVER_SHAKING_ALL;
	if (!fence_take(&source->tat[FENCE_HANDSHAKES],
		    FENCE_AT(rules->source[FENCE_HANDSHAKES], standing), 1, now))
		return FENCE_OVER_HANDSHAKES;
	if (!fence_take(FENCE_AT(totals->tat[FENCE_HANDSHAKES], standing),
		    FENCE_AT(rules->all[FENCE_HANDSHAKES], standing), 1, now))
		return FENCE_OVER_HANDSHAKES_ALL;
	return FENCE_PASS;
}

/* What is to be paused and for how long: a source, or everybody of its standing. */
struct fence_pause {
	__u64 source_ns;
	__u64 all_ns;
	enum fence_reason reason; /* the first that was overdrawn */
};

static __always_inline void fence_pause_add(
	struct fence_pause *pause, __u64 source_ns, __u64 all_ns, enum fence_reason reason)
{
	if (pause->reason == FENCE_PASS && source_ns > 0)
		pause->reason = reason;
	if (pause->reason == FENCE_PASS && all_ns > 0)
		pause->reason = reason + 1; /* the _ALL of the pair */
	if (source_ns > pause->source_ns)
		pause->source_ns = source_ns;
	if (all_ns > pause->all_ns)
		pause->all_ns = all_ns;
}

static __always_inline void fence_meter_add(const struct fence_rules *rules,
	struct fence_source *source, struct fence_totals *totals, __u32 standing, __u32 meter,
	__u64 units, __u64 now, enum fence_reason reason, struct fence_pause *pause)
{
	fence_pause_add(pause,
		fence_charge(
			&source->tat[meter], FENCE_AT(rules->source[meter], standing), units, now),
		fence_charge(FENCE_AT(totals->tat[meter], standing),
			FENCE_AT(rules->all[meter], standing), units, now),
		reason);
}

/* Octets came in, in `packets` segments (or receives, in the gateway). */
static __always_inline struct fence_pause fence_meter_plain(const struct fence_rules *rules,
	struct fence_source *source, struct fence_totals *totals, __u32 standing, __u64 bytes,
	__u64 packets, __u64 now)
{
	struct fence_pause pause = {0, 0, FENCE_PASS};

	fence_meter_add(rules, source, totals, standing, FENCE_PLAIN_BYTES, bytes, now,
		FENCE_OVER_PLAIN_BYTES, &pause);
	fence_meter_add(rules, source, totals, standing, FENCE_PLAIN_PACKETS, packets, now,
		FENCE_OVER_PLAIN_PACKETS, &pause);
	return pause;
}

static __always_inline struct fence_pause fence_meter_upgraded(const struct fence_rules *rules,
	struct fence_source *source, struct fence_totals *totals, __u32 standing, __u64 bytes,
	__u64 now)
{
	struct fence_pause pause = {0, 0, FENCE_PASS};

	fence_meter_add(rules, source, totals, standing, FENCE_UPGRADED_BYTES, bytes, now,
		FENCE_OVER_UPGRADED_BYTES, &pause);
	return pause;
}

/* ---- sources and the board ---- */

static __always_inline int fence_is_v4(const __u8 address[16])
{
	__u64 high, low;

	__builtin_memcpy(&high, address, 8);
	__builtin_memcpy(&low, address + 8, 8);
	return high == 0 && (low & __builtin_bswap64(0xffffffff00000000ull)) ==
				    __builtin_bswap64(0x0000ffff00000000ull);
}

/* An address cut to its source. */
static __always_inline void fence_source_of(
	const struct fence_rules *rules, const __u8 address[16], __u8 source[16])
{
	__u32 bits = fence_is_v4(address) ? 96 + rules->bits_v4 : rules->bits_v6;
	__u64 word[2];

	__builtin_memcpy(word, address, 16);
	if (bits < 64) {
		word[0] &= __builtin_bswap64(bits == 0 ? 0 : ~0ull << (64 - bits));
		word[1] = 0;
	} else if (bits < 128) {
		word[1] &= __builtin_bswap64(bits == 64 ? 0 : ~0ull << (128 - bits));
	}
	__builtin_memcpy(source, word, 16);
}

static __always_inline __u64 fence_mix(__u64 x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* Keyed, so that nobody can choose a source that falls on another's place. */
static __always_inline __u64 fence_hash(const struct fence_rules *rules, const __u8 source[16])
{
	__u64 word[2];

	__builtin_memcpy(word, source, 16);
	return fence_mix(fence_mix(word[0] ^ rules->hash_key[0]) + (word[1] ^ rules->hash_key[1]));
}

static __always_inline __u32 fence_board_place(__u64 hash)
{
	return (__u32)hash & (FENCE_BOARD_PLACES - 1);
}

static __always_inline __u16 fence_board_tag(__u64 hash)
{
	return (__u16)(hash >> 48);
}

static __always_inline __u64 fence_board_word(__u16 tag, __u64 until_ns)
{
	return (__u64)tag << FENCE_BOARD_US_BITS | until_ns / 1000;
}

/* Until when in ns; 0: the word is not about this tag. */
static __always_inline __u64 fence_board_until(__u64 word, __u16 tag)
{
	if (word >> FENCE_BOARD_US_BITS != tag)
		return 0;
	return (word & ((1ull << FENCE_BOARD_US_BITS) - 1)) * 1000;
}

#endif
