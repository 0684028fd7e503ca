/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * judge.h -- what the programs share: rules and sources at hand, counting, and the verdict on a SYN and
 * on the ACK that ends its handshake.
 *
 * The decisions themselves are rules.h's. The order here is lists, penalties, standing, the
 * source's budgets, those behind them; what refuses first costs least.
 *
 * A SYN proves nothing about who sent it. So it is only looked at, against what is known of its source
 * and of all, and costs nothing but a unit of a wide limit of SYNs, kept in a map of its own. The ACK is
 * looked at again: as many others may have been on the way, and with SYN cookies it may be all that
 * there is. What is established then is charged (fence.bpf.c). Between the look at an ACK and the charge
 * there are as many connections as there are CPUs, no more; they are overdrawn and paid for later.
 *
 * Who forges an address uses up its limit of SYNs, and nothing else of it. Only the list of allowed
 * networks protects from that.
 *
 * Who forges a new address each time meets no source's limit. So the first SYNs of sources that nobody
 * knows have one together. Beyond it such a source is remembered and let in when it comes again, as
 * every client does within a second or so; who never sends twice is never answered. A flood costs
 * strangers that second, as long as the map of SYNs holds those of a second; sources that have
 * connections it costs nothing. Rejected: one limit for all SYNs of strangers, which any flood would
 * use up.
 */
#ifndef POSTERN_BPF_JUDGE_H
#define POSTERN_BPF_JUDGE_H

#include "bpf/maps.h"
#include "bpf/rules.h"

/* What a listening socket receives, as far as judging goes. */
struct fence_syn {
	__u8 from[16];
	__u16 port; /* the listener's; 0: not known */
	__u8 hook;
	__u32 bytes;
};

/* To the tick, which is fine enough for budgets and a good deal cheaper than the clock itself. */
static __always_inline __u64 fence_now(void)
{
	return bpf_ktime_get_coarse_ns();
}

/* NULL: nothing was set, or by another version: everything passes. */
static __always_inline const struct fence_rules *fence_rules_now(void)
{
	__u32 zero = 0;
	const struct fence_rules *rules = bpf_map_lookup_elem(&fence_rules, &zero);

	return rules && rules->abi == FENCE_ABI ? rules : NULL;
}

static __always_inline struct fence_totals *fence_totals_now(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&fence_totals, &zero);
}

static __always_inline void fence_count_all(__u32 class, __u32 reason, __u64 packets, __u64 bytes)
{
	__u32 key = class * FENCE_REASONS + reason;
	struct fence_count *count = bpf_map_lookup_elem(&fence_counts, &key);

	if (!count)
		return;
	count->packets += packets;
	count->bytes += bytes;
}

static __always_inline void fence_count(__u32 class, __u32 reason, __u64 bytes)
{
	fence_count_all(class, reason, 1, bytes);
}

/* A new source, or the spare one where there is no room. Seldom, so a function of its own. What it
 * returns was tested here or is tested by the caller, never both: speculation does not believe the
 * first test and would read from NULL after the second. */
static __noinline struct fence_source *fence_source_make(struct fence_key *key)
{
	struct fence_source fresh = {}, *source;
	__u32 zero = 0;

	bpf_map_update_elem(&fence_sources, key, &fresh, BPF_NOEXIST);
	source = bpf_map_lookup_elem(&fence_sources, key);
	if (source)
		return source;
	bpf_map_update_elem(&fence_spare, &zero, &fresh, BPF_ANY);
	return bpf_map_lookup_elem(&fence_spare, &zero);
}

static __always_inline struct fence_source *fence_source_at(struct fence_key *key)
{
	struct fence_source *source = bpf_map_lookup_elem(&fence_sources, key);

	return source ? source : fence_source_make(key);
}

static __always_inline int fence_runs(const __u64 *until, __u64 now)
{
	return until && *until > now;
}

static __always_inline __u32 fence_standing_of(const struct fence_key *source, __u64 now)
{
	const __u64 *until = bpf_map_lookup_elem(&fence_behaved, source);

	return fence_runs(until, now) ? FENCE_BEHAVED : FENCE_STRANGER;
}

/* A key of the lists, put together in whole words: 6.1 takes no half of one where the other half was. */
union fence_net_words {
	struct {
		__u32 before;
		struct fence_net_key key;
	};
	__u64 words[3];
};

/* What the lists say about an address: FENCE_PASS: nothing. */
static __always_inline enum fence_reason fence_listed(const __u8 address[16], __u64 now)
{
	union fence_net_words whole;
	const struct fence_net *net;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	whole.words[0] = 128ull << 32;
#else
	whole.words[0] = 128;
#endif
	__builtin_memcpy(&whole.words[1], address, 16);
	net = bpf_map_lookup_elem(&fence_nets, &whole.key);
	if (!net || (net->until_ns && net->until_ns <= now))
		return FENCE_PASS;
	return net->action == FENCE_ACTION_ALLOW ? FENCE_ALLOWED : FENCE_BLOCKED;
}

/* Lists, then penalties. */
static __always_inline enum fence_reason fence_shut_out(
	const __u8 address[16], const struct fence_key *source, __u64 now)
{
	enum fence_reason listed = fence_listed(address, now);
	const __u64 *until;

	if (listed != FENCE_PASS)
		return listed;
	until = bpf_map_lookup_elem(&fence_penalties, source);
	return fence_runs(until, now) ? FENCE_PENALTY : FENCE_PASS;
}

/* Every rules->sample-th refusal of a CPU goes into the ring buffer; a full one loses it. */
static __always_inline void fence_sample(
	const struct fence_rules *rules, const struct fence_syn *syn, __u32 reason, __u64 now)
{
	__u32 zero = 0, *n = bpf_map_lookup_elem(&fence_refusals, &zero);
	struct fence_sample *sample;

	if (!n || rules->sample == 0 || ++*n < rules->sample)
		return;
	*n = 0;
	sample = bpf_ringbuf_reserve(&fence_samples, sizeof(*sample), 0);
	if (!sample)
		return;
	__builtin_memset(sample, 0, sizeof(*sample));
	sample->at_ns = now;
	__builtin_memcpy(sample->address, syn->from, sizeof(sample->address));
	sample->port = syn->port;
	sample->class = FENCE_NEW;
	sample->reason = reason;
	sample->hook = syn->hook;
	bpf_ringbuf_submit(sample, 0);
}

static __always_inline void fence_source_touch(
	struct fence_source *source, enum fence_reason reason, __u64 now)
{
	__u64 *count = &source->refused;

	barrier_var(count);
	if (reason == FENCE_PASS) { /* a branch, as FENCE_AT() */
		count = &source->passed;
		barrier_var(count);
	}
	source->seen_ns = now;
	__sync_fetch_and_add(count, 1);
}

/* The first SYN of a source: all such together have a limit. */
static __noinline int fence_take_first(const struct fence_rules *rules, __u32 standing, __u64 now)
{
	struct fence_totals *totals = fence_totals_now();
	struct fence_rate rate;

	if (!totals)
		return 1;
	rate = fence_syns_rate(FENCE_AT(rules->all[FENCE_CONNECTIONS], standing));
	return fence_take(FENCE_AT(totals->syns, standing), &rate, 1, now);
}

/* One SYN of a source's. `known`: it has had a connection. */
static __always_inline enum fence_reason fence_take_syn(const struct fence_rules *rules,
	struct fence_key *key, __u32 standing, int known, __u64 now)
{
	struct fence_rate rate =
		fence_syns_rate(FENCE_AT(rules->source[FENCE_CONNECTIONS], standing));
	__u64 first = now + fence_cost(&rate, 1);
	__u64 *tat = bpf_map_lookup_elem(&fence_syns, key);

	if (tat)
		return fence_take(tat, &rate, 1, now) ? FENCE_PASS : FENCE_OVER_CONNECTIONS;
	bpf_map_update_elem(&fence_syns, key, &first, BPF_NOEXIST);
	if (known || fence_take_first(rules, standing, now))
		return FENCE_PASS;
	return FENCE_OVER_CONNECTIONS_ALL;
}

/* A refusal goes into the source's record where there is one. It is looked up anew: speculation does
 * not believe a test that was made before. */
static __noinline int fence_source_tell(struct fence_key *key, __u32 reason, __u64 now)
{
	struct fence_source *source = bpf_map_lookup_elem(&fence_sources, key);

	if (source)
		fence_source_touch(source, reason, now);
	return 0;
}

/* Is there room for a connection more, and for a SYN where it `takes` one? Whose source is not known
 * yet has used up nothing of its own. */
static __always_inline enum fence_reason fence_judge_room(const struct fence_rules *rules,
	struct fence_key *key, __u32 standing, int takes, __u64 now)
{
	struct fence_source *source = bpf_map_lookup_elem(&fence_sources, key);
	enum fence_reason reason = FENCE_PASS;
	struct fence_totals *totals;
	int known = 0;

	if (source) {
		known = 1;
		reason = fence_look_source(rules, source, standing, now);
	}
	if (reason == FENCE_PASS) {
		totals = fence_totals_now();
		if (totals)
			reason = fence_look_all(rules, totals, standing, now);
	}
	if (reason == FENCE_PASS && takes)
		reason = fence_take_syn(rules, key, standing, known, now);
	if (reason != FENCE_PASS && known)
		fence_source_tell(key, reason, now);
	return reason;
}

static __always_inline int fence_refuse(
	const struct fence_rules *rules, const struct fence_syn *syn, __u32 reason, __u64 now)
{
	fence_count(FENCE_NEW, reason, syn->bytes);
	fence_sample(rules, syn, reason, now);
	return 0;
}

/* The ACK that ends a handshake. Lists and penalties were asked when the SYN came, and the gateway
 * asks them again. */
static __always_inline int fence_judge_ack(const struct fence_syn *ack)
{
	const struct fence_rules *rules = fence_rules_now();
	enum fence_reason reason;
	__u64 now = fence_now();
	struct fence_key key;

	if (!rules)
		return 1;
	fence_source_of(rules, ack->from, key.address);
	if (fence_listed(ack->from, now) == FENCE_ALLOWED)
		return 1;
	reason = fence_judge_room(rules, &key, fence_standing_of(&key, now), 0, now);
	return reason == FENCE_PASS ? 1 : fence_refuse(rules, ack, reason, now);
}

/* May it come in? `takes`: nobody has taken it from the limit of SYNs yet. What passes is counted when
 * it is established. */
static __always_inline int fence_judge_syn(const struct fence_syn *syn, int takes)
{
	const struct fence_rules *rules = fence_rules_now();
	__u64 now = fence_now();
	struct fence_key source;
	enum fence_reason reason;

	if (!rules)
		return 1;
	fence_source_of(rules, syn->from, source.address);
	reason = fence_shut_out(syn->from, &source, now);
	if (reason == FENCE_PASS)
		reason = fence_judge_room(
			rules, &source, fence_standing_of(&source, now), takes, now);
	else if (reason == FENCE_PENALTY)
		fence_source_tell(&source, reason, now);
	if (reason == FENCE_PASS || reason == FENCE_ALLOWED)
		return 1;
	return fence_refuse(rules, syn, reason, now);
}

#endif
