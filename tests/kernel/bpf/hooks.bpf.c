/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * hooks: the three hooks that the fence stands on, each writing down what it sees of one port's
 * incoming segments, and dropping SYNs when told to. Not the fence: no limits, no parsing beyond
 * plain Ethernet, IPv4 and IPv6.
 */
#include "hooks.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define IP_PROTOCOL_TCP 6

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Set and read by the test, in mapped memory. */
__u32 port;          /* host order; nothing else is looked at */
__u32 ingress_drops; /* so many SYNs are dropped yet at the cgroup */
__u32 xdp_drops;
__u32 events_n;
struct kb_event events[KB_EVENTS_MAX];

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct kb_mark);
} marks SEC(".maps");

/* The same without BPF_F_CLONE. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct kb_mark);
} own SEC(".maps");

static __always_inline void note(const struct kb_event *event)
{
	__u32 at = __sync_fetch_and_add(&events_n, 1);

	if (at < KB_EVENTS_MAX)
		events[at] = *event;
}

static __always_inline int drop_one(__u32 *drops)
{
	if (*drops == 0)
		return 0;
	__sync_fetch_and_sub(drops, 1);
	return 1;
}

SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff *skb)
{
	struct kb_event event = {.hook = KB_INGRESS, .mark = KB_NO_MARK};
	struct bpf_sock *sk = skb->sk;
	__u8 first, octets[14];
	struct kb_mark *mark;
	__u32 ip = 40;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, 0, &first, 1) < 0)
			return 1;
		ip = (first & 15) * 4;
	}
	if (bpf_skb_load_bytes(skb, ip, octets, sizeof octets) < 0)
		return 1;
	if ((__u32)(octets[2] << 8 | octets[3]) != port)
		return 1;
	event.flags = octets[13];
	event.length = skb->len - ip - (octets[12] >> 4) * 4;
	sk = sk ? bpf_sk_fullsock(sk) : 0;
	if (sk) {
		event.state = sk->state;
		event.cookie = bpf_get_socket_cookie(skb);
		mark = bpf_sk_storage_get(&marks, sk, 0, 0);
		if (mark)
			event.mark = mark->class;
	}
	note(&event);
	if ((event.flags & (KB_TCP_SYN | KB_TCP_ACK)) == KB_TCP_SYN && drop_one(&ingress_drops))
		return 0;
	return 1;
}

SEC("sockops")
int states(struct bpf_sock_ops *ops)
{
	struct kb_event event = {.hook = KB_SOCKOPS, .mark = KB_NO_MARK};
	struct bpf_sock *sk = ops->sk;
	struct kb_mark *mark;

	if (ops->local_port != port)
		return 1;
	event.flags = ops->op;
	event.state = ops->state;
	if (ops->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) {
		bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_STATE_CB_FLAG);
	} else if (ops->op == BPF_SOCK_OPS_STATE_CB) {
		event.length = ops->args[0];
		event.state = ops->args[1];
	} else {
		return 1;
	}
	event.cookie = bpf_get_socket_cookie(ops);
	mark = sk ? bpf_sk_storage_get(&marks, sk, 0, 0) : 0;
	if (mark)
		event.mark = mark->class;
	note(&event);
	return 1;
}

SEC("xdp")
int early(struct xdp_md *ctx)
{
	struct kb_event event = {.hook = KB_XDP, .mark = KB_NO_MARK};
	__u8 *data = (__u8 *)(long)ctx->data;
	__u8 *end = (__u8 *)(long)ctx->data_end;
	__u8 *tcp = data + 14 + 20;

	/* Ethernet, IPv4 without options, TCP. */
	if (tcp + 14 > end || data[12] != 8 || data[13] != 0 || data[14] != 0x45 ||
		data[14 + 9] != IP_PROTOCOL_TCP)
		return XDP_PASS;
	if ((__u32)(tcp[2] << 8 | tcp[3]) != port)
		return XDP_PASS;
	event.flags = tcp[13];
	note(&event);
	if ((event.flags & (KB_TCP_SYN | KB_TCP_ACK)) == KB_TCP_SYN && drop_one(&xdp_drops))
		return XDP_DROP;
	return XDP_PASS;
}
