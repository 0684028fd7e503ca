/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * judge.h -- what the programs share: rules and sources at hand, counting, and the verdict on a SYN and
 * on the ACK that ends its handshake.
 *
 * The decisions themselves are rules.h's. The order here is lists, penalties, standing, the
 * source's budget, the one behind it; what refuses first costs least.
 *
 * A SYN proves nothing about who sent it: who forges somebody's address can use up that source's
 * budget of new connections. Only the list of allowed networks protects from that.
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

static __always_inline void fence_count(__u32 class, __u32 reason, __u64 bytes)
{
	__u32 key = class * FENCE_REASONS + reason;
	struct fence_count *count = bpf_map_lookup_elem(&fence_counts, &key);

	if (!count)
		return;
	count->packets++;
	count->bytes += bytes;
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

/* What the lists say about an address: FENCE_PASS: nothing. */
static __always_inline enum fence_reason fence_listed(const __u8 address[16], __u64 now)
{
	struct fence_net_key key = {.bits = 128};
	const struct fence_net *net;

	__builtin_memcpy(key.address, address, sizeof(key.address));
	net = bpf_map_lookup_elem(&fence_nets, &key);
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

/* `reason` so far is PASS or PENALTY. Who is blocked does not get here: a record is made for neither
 * the network nor the flood from it. */
static __always_inline enum fence_reason fence_judge_source(
	const struct fence_rules *rules, struct fence_key *key, enum fence_reason reason, __u64 now)
{
	struct fence_totals *totals = fence_totals_now();
	struct fence_source *source = fence_source_at(key);

	if (!totals || !source)
		return reason;
	if (reason == FENCE_PASS)
		reason = fence_judge_connection(
			rules, source, totals, fence_standing_of(key, now), now);
	fence_source_touch(source, reason, now);
	return reason;
}

/* The ACK that ends a handshake: are there fewer open than may be? When its SYN was judged, as many
 * others may have been on the way, and with SYN cookies none was. Takes nothing, makes nothing. */
static __always_inline int fence_judge_ack(const struct fence_syn *ack)
{
	const struct fence_rules *rules = fence_rules_now();
	enum fence_reason reason = FENCE_PASS;
	const struct fence_totals *totals;
	const struct fence_source *source;
	__u64 now = fence_now();
	struct fence_key key;
	__u32 standing;

	if (!rules) /* tested before anything else, or speculation loses sight of what it is */
		return 1;
	totals = fence_totals_now();
	if (!totals)
		return 1;
	fence_source_of(rules, ack->from, key.address);
	if (fence_listed(ack->from, now) == FENCE_ALLOWED)
		return 1;
	standing = fence_standing_of(&key, now);
	source = bpf_map_lookup_elem(&fence_sources, &key);
	if (fence_over_open_all(rules, totals, standing))
		reason = FENCE_OVER_OPEN_ALL;
	if (source && fence_over_open(rules, source, standing))
		reason = FENCE_OVER_OPEN;
	if (reason == FENCE_PASS)
		return 1;
	fence_count(FENCE_NEW, reason, ack->bytes);
	fence_sample(rules, ack, reason, now);
	return 0;
}

/* May it come in? Counts, and takes from the budgets. */
static __always_inline int fence_judge_syn(const struct fence_syn *syn)
{
	const struct fence_rules *rules = fence_rules_now();
	__u64 now = fence_now();
	struct fence_key source;
	enum fence_reason reason;

	if (!rules)
		return 1;
	fence_source_of(rules, syn->from, source.address);
	reason = fence_shut_out(syn->from, &source, now);
	if (reason == FENCE_PASS || reason == FENCE_PENALTY)
		reason = fence_judge_source(rules, &source, reason, now);
	fence_count(FENCE_NEW, reason, syn->bytes);
	if (reason == FENCE_PASS || reason == FENCE_ALLOWED)
		return 1;
	fence_sample(rules, syn, reason, now);
	return 0;
}

#endif
