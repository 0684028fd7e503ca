/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * maps.h -- the maps of abi.h, and three that concern nobody else. Sizes that depend on the
 * configuration (fence_sources) are set by the gateway before it loads.
 */
#ifndef POSTERN_BPF_MAPS_H
#define POSTERN_BPF_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"

#define FENCE_SYNS_MAX 65536

struct fence_key {
	__u8 address[16];
};

/* The gateway writes, the programs read. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fence_rules);
} fence_rules SEC(".maps");

/* By source; who was quiet for longest goes when it is full. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct fence_key);
	__type(value, struct fence_source);
} fence_sources SEC(".maps");

/* The budgets behind those of the sources. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fence_totals);
} fence_totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FENCE_CLASSES *FENCE_REASONS);
	__type(key, __u32);
	__type(value, struct fence_count);
} fence_counts SEC(".maps");

/* A socket's class: whoever has none is not ours. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct fence_mark);
} fence_classes SEC(".maps");

/* What the programs remember of a connection. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct fence_session);
} fence_sessions SEC(".maps");

/* Whom to read no more from for a while. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fence_board);
} fence_board SEC(".maps");

/* Allowed and blocked networks. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, FENCE_NETS_MAX);
	__type(key, struct fence_net_key);
	__type(value, struct fence_net);
} fence_nets SEC(".maps");

/* Sources that behaved: until when. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FENCE_BEHAVED_MAX);
	__type(key, struct fence_key);
	__type(value, __u64);
} fence_behaved SEC(".maps");

/* Sources that are shut out: until when. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FENCE_PENALTIES_MAX);
	__type(key, struct fence_key);
	__type(value, __u64);
} fence_penalties SEC(".maps");

/* SYNs by source: a GCRA word; who is in it has come before. What is forged fills this map and no other. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FENCE_SYNS_MAX);
	__type(key, struct fence_key);
	__type(value, __u64);
} fence_syns SEC(".maps");

/* Addresses and ports of ours, for XDP. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FENCE_LISTENERS_MAX);
	__type(key, struct fence_listener);
	__type(value, __u32);
} fence_listeners SEC(".maps");

/* Interfaces where XDP judges, by index. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FENCE_INTERFACES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} fence_interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, FENCE_SAMPLES_BYTES);
} fence_samples SEC(".maps");

/* Refusals of this CPU: which of them are put into fence_samples. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} fence_refusals SEC(".maps");

/* Stands in for a source for which there is no room: always fresh, so that the budget behind it
 * decides. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fence_source);
} fence_spare SEC(".maps");

#endif
