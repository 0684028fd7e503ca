/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * fence.bpf.c -- the fence in the kernel: refuses SYNs, meters what sessions send, and counts.
 *
 *	fence_ingress	at the cgroup: SYNs that reach a listening socket of ours, segments of our
 *			connections
 *	fence_sockops	at the cgroup: connections of ours that come and go
 *	fence_xdp	at an interface: SYNs, before anything is spent on them
 *
 * A socket is ours when it has a class (map fence_classes): the gateway gives it to its listening
 * sockets, connections inherit it, and only the gateway changes it. Everybody else's traffic passes
 * at the first look.
 *
 * A SYN is looked at, at the interface and at the cgroup; so is the ACK that ends the handshake. What
 * is established is charged. So the second look at a SYN costs nobody anything, and it does not matter
 * what reaches the cgroup around XDP (fragments, more VLAN tags than we follow).
 *
 * Never here: dropping a segment of a connection that was let in, promoting a session, a lock.
 *
 * No kernel type is touched, so there is nothing to relocate: __sk_buff, bpf_sock, bpf_sock_ops and
 * xdp_md are the same everywhere.
 *
 * Not done: judging at tc (XDP's generic mode reaches every interface that tc does); telling the
 * cgroup by a mark which SYN XDP has taken from the limit of SYNs (XDP cannot mark a packet): the
 * interface has to do. Below a VLAN or a bridge a SYN is taken twice, and that limit is half as wide.
 */
#include "bpf/parse.h"
#include "bpf/session.h"

#define FENCE_AF_INET 2 /* no header for it is made for BPF */

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* ---- the cgroup's ingress ---- */

static __always_inline int taken_by_xdp(struct __sk_buff *skb)
{
	__u32 index = skb->ingress_ifindex;

	return bpf_map_lookup_elem(&fence_interfaces, &index) != NULL;
}

static __always_inline struct fence_packet packet_of(struct __sk_buff *skb)
{
	return (struct fence_packet){.data = (void *)(long)skb->data,
		.end = (void *)(long)skb->data_end,
		.total = skb->len,
		.ctx = skb};
}

/* For a listening socket: a SYN, or the ACK that ends the handshake. */
FENCE_FUNCTION int on_listener(struct __sk_buff *skb)
{
	struct fence_packet packet = packet_of(skb);
	struct fence_spot spot = {};
	enum fence_parsed parsed = fence_parse_ip(&packet, &spot);
	struct fence_syn syn;
	__u8 to[16];

	/* TCP found its header, we do not: nobody sends that in good faith. */
	if (parsed == FENCE_PARSED_DEEP) {
		fence_count(FENCE_NEW, FENCE_SAW_MALFORMED, packet.total);
		return 0;
	}
	if (parsed != FENCE_PARSED_TCP || spot.resets)
		return 1;
	/* No listening socket has use for a SYN with ACK; but at a request's number it makes a
	 * connection that is never established, and so would never be counted. */
	if (spot.answers)
		return 0;
	syn.hook = FENCE_HOOK_CGROUP;
	syn.bytes = packet.total;
	syn.port = spot.port;
	if (!fence_addresses(&packet, syn.from, to))
		return 1;
	if (!spot.opens)
		return fence_judge_ack(&syn);
	return fence_judge_syn(&syn, !taken_by_xdp(skb));
}

/* A connection that was there before the programs were, or that brings data before it is established.
 * It is in no gauge; the latter comes into them when it is. */
static __noinline void adopt(
	struct __sk_buff *skb, struct bpf_sock *sk, const struct fence_rules *rules)
{
	struct fence_packet packet = packet_of(skb);
	__u8 from[16], to[16];

	if (fence_addresses(&packet, from, to))
		fence_session_make(sk, rules, from);
}

static __always_inline int on_session(
	struct __sk_buff *skb, struct bpf_sock *sk, struct fence_segment *segment)
{
	const struct fence_rules *rules;
	struct fence_session *session = bpf_sk_storage_get(&fence_sessions, sk, NULL, 0);

	if (!session) {
		rules = fence_rules_now();
		if (!rules)
			return 1;
		adopt(skb, sk, rules);
		session = bpf_sk_storage_get(&fence_sessions, sk, NULL, 0);
	}
	if (!session)
		return 1;
	fence_signals(skb, session, segment);
	fence_gather(session, segment->class, segment->bytes);
	return 1;
}

/* Where a segment's octets begin. */
FENCE_FUNCTION __u32 octets_parsed(struct __sk_buff *skb)
{
	struct fence_packet packet = packet_of(skb);
	struct fence_spot spot = {};

	/* TCP found its header; where we do not, all of the segment counts. */
	return fence_parse_ip(&packet, &spot) == FENCE_PARSED_TCP ? spot.octets : 0;
}

/* The same at fixed places, for nearly every packet; of what TCP has taken for its own. */
static __always_inline __u32 octets_at(struct __sk_buff *skb, struct fence_segment *segment)
{
	const __u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const __u32 usual = sizeof(struct tcphdr) + 12; /* with timestamps */
	__u32 v4 = sizeof(struct iphdr), v6 = sizeof(struct ipv6hdr), at;

	if (data + v4 + sizeof(struct tcphdr) <= end && data[0] == 0x45 &&
		data[offsetof(struct iphdr, protocol)] == IPPROTO_TCP) {
		at = v4 + (data[v4 + 12] >> 4) * 4;
		if (at == v4 + usual && data + v4 + usual + 1 <= end)
			segment->first = data[v4 + usual];
		return at;
	}
	if (data + v6 + sizeof(struct tcphdr) <= end && data[0] >> 4 == 6 &&
		data[offsetof(struct ipv6hdr, nexthdr)] == IPPROTO_TCP) {
		at = v6 + (data[v6 + 12] >> 4) * 4;
		if (at == v6 + usual && data + v6 + usual + 1 <= end)
			segment->first = data[v6 + usual];
		return at;
	}
	return octets_parsed(skb);
}

/* The kernel runs this for full sockets only, the IP header at skb->data. Most of what comes has no
 * octets: it goes first. */
SEC("cgroup_skb/ingress")
int fence_ingress(struct __sk_buff *skb)
{
	struct fence_segment segment = {.first = -1};
	struct bpf_sock *sk = skb->sk;
	const struct fence_mark *mark;
	int listens;

	if (!sk)
		return 1;
	listens = sk->state == BPF_TCP_LISTEN;
	if (!listens) {
		segment.at = octets_at(skb, &segment);
		if (skb->len <= segment.at)
			return 1;
		segment.bytes = skb->len - segment.at;
	}
	mark = bpf_sk_storage_get(&fence_classes, sk, NULL, 0);
	if (!mark)
		return 1;
	if (listens)
		return on_listener(skb) ? 1 : 0; /* the verifier knows no function's result */
	segment.class = mark->class & (FENCE_CLASSES - 1);
	return on_session(skb, sk, &segment);
}

/* ---- connections come and go ---- */

/* The context is read word by word: the verifier takes nothing longer. */
static __always_inline void peer_of(struct bpf_sock_ops *ops, __u8 address[16])
{
	volatile __u32 *v6 = ops->remote_ip6;
	__u32 words[4];

	if (ops->family == FENCE_AF_INET) {
		fence_map_v4(address, ops->remote_ip4);
		return;
	}
	words[0] = v6[0];
	words[1] = v6[1];
	words[2] = v6[2];
	words[3] = v6[3];
	__builtin_memcpy(address, words, sizeof(words));
}

/* Octets that the ACK which ended the handshake brought: no other segment will be seen with them.
 * skb_data is at its TCP header. */
static __always_inline __u32 first_octets(struct bpf_sock_ops *ops)
{
	const struct tcphdr *tcp = ops->skb_data;
	__u32 n = ops->skb_len, header;

	if ((const void *)(tcp + 1) > ops->skb_data_end)
		return 0;
	header = tcp->doff * 4;
	return n > header ? n - header : 0;
}

/* Its address was not forged: here a connection costs. */
static __noinline void charge_connection(const struct fence_session *session)
{
	const struct fence_rules *rules = fence_rules_now();
	struct fence_totals *totals;
	struct fence_source *source;
	__u64 now = fence_now();
	struct fence_key key;

	if (!rules) /* tested before anything else, or speculation loses sight of what it is */
		return;
	totals = fence_totals_now();
	if (!totals)
		return;
	__builtin_memcpy(key.address, session->source, sizeof(key.address));
	source = fence_source_at(&key);
	if (!source)
		return;
	fence_charge_connection(rules, source, totals, session->standing, now);
	fence_source_touch(source, FENCE_PASS, now);
}

static __always_inline void on_established(
	struct bpf_sock_ops *ops, struct bpf_sock *sk, __u32 class)
{
	const struct fence_rules *rules = fence_rules_now();
	struct fence_session *session;
	__u8 address[16];
	__u32 octets;

	if (!rules)
		return;
	peer_of(ops, address);
	/* It may be there: adopted a moment ago, by data that came before the connection was whole. */
	session = fence_session_make(sk, rules, address);
	if (!session || session->counted)
		return;
	fence_count(FENCE_NEW, session->exempt ? FENCE_ALLOWED : FENCE_PASS, 0);
	if (!session->exempt) {
		session->counted = 1;
		charge_connection(session);
	}
	octets = first_octets(ops);
	if (octets)
		fence_gather(session, class & (FENCE_CLASSES - 1), octets);
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void on_closed(struct bpf_sock *sk)
{
	struct fence_session *session = bpf_sk_storage_get(&fence_sessions, sk, NULL, 0);
	struct fence_totals *totals;
	struct fence_source *source;
	struct fence_key key;

	if (!session)
		return;
	if (session->gathered)
		fence_settle(session);
	totals = fence_totals_now();
	if (!session->counted || !totals)
		return;
	session->counted = 0;
	__builtin_memcpy(key.address, session->source, sizeof(key.address));
	source = bpf_map_lookup_elem(&fence_sources, &key);
	if (source)
		fence_open_drop(source);
	__sync_fetch_and_add(FENCE_AT(totals->gauge[FENCE_OPEN], session->standing), -1);
}

SEC("sockops")
int fence_sockops(struct bpf_sock_ops *ops)
{
	const struct fence_mark *mark;
	struct bpf_sock *sk;

	switch (ops->op) {
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		sk = ops->sk;
		if (!sk)
			break;
		mark = bpf_sk_storage_get(&fence_classes, sk, NULL, 0);
		if (mark)
			on_established(ops, sk, mark->class);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		sk = ops->sk;
		if (sk && ops->args[1] == BPF_TCP_CLOSE)
			on_closed(sk);
		break;
	}
	return 1;
}

/* ---- an interface ---- */

static __always_inline int is_ours(const __u8 address[16], __u16 port)
{
	struct fence_listener key = {.port = port}, any = {.port = port};

	__builtin_memcpy(key.address, address, sizeof(key.address));
	return bpf_map_lookup_elem(&fence_listeners, &key) ||
	       bpf_map_lookup_elem(&fence_listeners, &any);
}

static __always_inline int on_packet(
	const struct fence_packet *packet, struct fence_spot *spot, int tiny)
{
	struct fence_syn syn;
	__be16 ports[4]; /* a first fragment has eight octets at least: both are in it */
	__u8 to[16];

	if (!tiny && (!spot->opens || spot->resets)) /* who was let in stays in */
		return 1;
	if (!fence_addresses(packet, syn.from, to))
		return 1;
	syn.hook = FENCE_HOOK_XDP;
	syn.bytes = packet->total;
	syn.port = spot->port;
	if (tiny) {
		if (fence_read(packet, spot->tcp, ports, sizeof(ports)) != 0)
			return 1;
		syn.port = bpf_ntohs(ports[1]);
	}
	if (!is_ours(to, syn.port))
		return 1;
	if (tiny)
		fence_count(FENCE_NEW, FENCE_SAW_FRAGMENT, syn.bytes);
	return fence_judge_syn(&syn, 1);
}

static __always_inline int on_ip(const struct fence_packet *packet)
{
	struct fence_spot spot = {};
	enum fence_parsed parsed = fence_parse_ip(packet, &spot);

	switch (parsed) {
	case FENCE_PARSED_TCP:
	case FENCE_PARSED_TINY:
		return on_packet(packet, &spot, parsed == FENCE_PARSED_TINY);
	case FENCE_PARSED_FRAGMENT:
		fence_count(FENCE_NEW, FENCE_SAW_FRAGMENT, packet->total);
		return 1;
	case FENCE_PARSED_DEEP:
	case FENCE_PARSED_MALFORMED:
		fence_count(FENCE_NEW, FENCE_SAW_MALFORMED, packet->total);
		return 1;
	case FENCE_PARSED_OTHER:
		return 1;
	}
	return 1;
}

static __noinline int on_frame(struct xdp_md *ctx)
{
	struct fence_packet packet = {.data = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
		.total = bpf_xdp_get_buff_len(ctx),
		.ctx = ctx,
		.xdp = 1};
	int at = fence_parse_ethernet(&packet);

	if (at == 0)
		return XDP_PASS;
	if (at < 0) {
		fence_count(FENCE_NEW, FENCE_SAW_MALFORMED, packet.total);
		return XDP_PASS;
	}
	packet.at = at;
	packet.total -= at;
	return on_ip(&packet) ? XDP_PASS : XDP_DROP;
}

/* TCP without a SYN, at fixed places, or no TCP: nearly every frame. */
static __always_inline int no_syn(const void *data, const void *end)
{
	const struct ethhdr *ethernet = data;
	const struct iphdr *v4 = (const void *)(ethernet + 1);
	const struct ipv6hdr *v6 = (const void *)(ethernet + 1);
	const struct tcphdr *tcp;
	__u32 syn;

	if ((const void *)(v4 + 1) + sizeof(*tcp) > end)
		return 0;
	if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
		tcp = (const void *)(v4 + 1);
		syn = tcp->syn;
		barrier_var(syn); /* or one load for both versions, from a pointer plus a number */
		return v4->protocol != IPPROTO_TCP ||
		       (*(const __u8 *)v4 == 0x45 && !syn &&
			       !(v4->frag_off & bpf_htons(FENCE_IP_OFFSET | FENCE_IP_MORE)));
	}
	if ((const void *)(v6 + 1) + sizeof(*tcp) > end)
		return 0;
	tcp = (const void *)(v6 + 1);
	syn = tcp->syn;
	barrier_var(syn);
	return ethernet->h_proto == bpf_htons(ETH_P_IPV6) && v6->version == 6 &&
	       v6->nexthdr == IPPROTO_TCP && !syn;
}

/* Frames of several buffers, too: the headers are in the first. */
SEC("xdp.frags")
int fence_xdp(struct xdp_md *ctx)
{
	if (no_syn((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		return XDP_PASS;
	return on_frame(ctx);
}
