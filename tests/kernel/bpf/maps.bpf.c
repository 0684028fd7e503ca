/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * maps: small programs for the kinds of maps that the fence stands on, each run by
 * BPF_PROG_TEST_RUN. What they are to do stands in global variables, in mapped memory.
 */
#include "maps.h"

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* ---- a limiter of one word, moved on by compare-and-swap ---- */

__u64 now;   /* stands still while a test counts */
__u64 burst; /* in the units of KB_GCRA_INTERVAL */
__u64 all_burst;
__u64 passed;
__u64 refused;
__u64 lost; /* races */
__u64 all_tat;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KB_LRU_MAX);
	__type(key, __u32);
	__type(value, __u64);
} sources SEC(".maps");

static __always_inline int take(__u64 *tat, __u64 ahead)
{
	for (int i = 0; i < KB_GCRA_TRIES; i++) {
		__u64 old = *(volatile __u64 *)tat;
		__u64 from = old > now ? old : now;

		if (from + KB_GCRA_INTERVAL > now + ahead)
			return 0;
		if (__sync_val_compare_and_swap(tat, old, from + KB_GCRA_INTERVAL) == old)
			return 1;
		__sync_fetch_and_add(&lost, 1);
	}
	return 0;
}

/* The source is skb->mark. */
SEC("cgroup_skb/ingress")
int gcra(struct __sk_buff *skb)
{
	__u32 key = skb->mark;
	__u64 zero = 0, *tat = bpf_map_lookup_elem(&sources, &key);

	if (!tat) {
		bpf_map_update_elem(&sources, &key, &zero, BPF_NOEXIST);
		tat = bpf_map_lookup_elem(&sources, &key);
	}
	if (tat && take(tat, burst) && (all_burst == 0 || take(&all_tat, all_burst))) {
		__sync_fetch_and_add(&passed, 1);
		return 1;
	}
	__sync_fetch_and_add(&refused, 1);
	return 0;
}

/* ---- mapped memory ---- */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, KB_BOARD_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} board SEC(".maps");

SEC("cgroup_skb/ingress")
int write_board(struct __sk_buff *skb)
{
	__u32 place = skb->mark;
	__u64 *word = bpf_map_lookup_elem(&board, &place);

	if (word)
		*(volatile __u64 *)word = now;
	return word != 0;
}

/* ---- prefixes ---- */

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, KB_NETS_MAX);
	__type(key, struct kb_net_key);
	__type(value, __u32);
} nets SEC(".maps");

struct kb_net_key asked;
__u32 answer; /* 0: no net */

SEC("cgroup_skb/ingress")
int match(struct __sk_buff *skb)
{
	struct kb_net_key key = asked;
	__u32 *found = bpf_map_lookup_elem(&nets, &key);

	answer = found ? *found : 0;
	return 1;
}

/* ---- ring buffer ---- */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, KB_RING_BYTES);
} samples SEC(".maps");

__u64 offered;
__u64 no_room;

SEC("cgroup_skb/ingress")
int sample(struct __sk_buff *skb)
{
	struct kb_sample *one = bpf_ringbuf_reserve(&samples, sizeof *one, 0);
	__u64 number = offered++;

	if (!one) {
		no_room++;
		return 0;
	}
	one->number = number;
	bpf_ringbuf_submit(one, 0);
	return 1;
}
