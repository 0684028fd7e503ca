/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * fence.bpf.c -- the fence in the kernel: refuses SYNs, meters what sessions send, and counts.
 *
 *	fence_ingress	at the cgroup: SYNs that reach a listening socket of ours, segments of our
 *			connections
 *	fence_sockops	at the cgroup: connections of ours that come and go
 *	fence_xdp	at an interface: SYNs and shut-out networks, before anything is spent on them
 *
 * A socket is ours when it has a class (map fence_classes): the gateway gives it to its listening
 * sockets, connections inherit it, and only the gateway changes it. Everybody else's traffic passes
 * at the first look.
 *
 * Never here: dropping a segment of a connection that was let in (except where XDP shuts a network
 * out), promoting a session, a lock.
 *
 * No kernel type is touched, so there is nothing to relocate: __sk_buff, bpf_sock, bpf_sock_ops and
 * xdp_md are the same everywhere.
 *
 * Not done: judging at tc (XDP's generic mode reaches every interface that tc does); telling the
 * cgroup by a mark which SYN XDP has judged (XDP cannot mark a packet): the interface has to do, and
 * what XDP cannot read (a chain of many extension headers) is judged at the cgroup all the same.
 */
#include "bpf/parse.h"
#include "bpf/session.h"

#define FENCE_AF_INET 2 /* no header for it is made for BPF */

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* ---- the cgroup's ingress ---- */

static __always_inline int judged_by_xdp(struct __sk_buff *skb)
{
	__u32 index = skb->ingress_ifindex;

	return bpf_map_lookup_elem(&fence_interfaces, &index) != NULL;
}

/* For a listening socket: a SYN, or the ACK that ends the handshake. */
static __always_inline int on_listener(struct __sk_buff *skb)
{
	const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct fence_syn syn = {.hook = FENCE_HOOK_CGROUP, .bytes = skb->len};
	struct fence_spot spot;
	__u8 to[16];

	switch (fence_parse_ip(data, end, skb->len, &spot)) {
	case FENCE_PARSED_TCP: {
		const struct tcphdr *tcp = data + spot.tcp;

		if ((const void *)(tcp + 1) > end || !tcp->syn || tcp->ack)
			return 1;
		syn.port = bpf_ntohs(tcp->dest);
		if (judged_by_xdp(skb))
			return 1;
		break;
	}
	case FENCE_PARSED_DEEP: /* TCP found its header, we do not: it counts as a SYN */
		break;
	default:
		return 1;
	}
	if (!fence_addresses(data, end, syn.from, to))
		return 1;
	return fence_judge_syn(&syn);
}

/* Octets that a segment carries, and where. 0: none, or not to be found. */
static __always_inline __u32 find_octets(struct __sk_buff *skb, __u32 *at)
{
	const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct tcphdr *tcp;
	struct fence_spot spot;

	if (fence_parse_ip(data, end, skb->len, &spot) != FENCE_PARSED_TCP)
		return 0;
	tcp = data + spot.tcp;
	if ((const void *)(tcp + 1) > end)
		return 0;
	*at = spot.tcp + tcp->doff * 4;
	return skb->len > *at ? skb->len - *at : 0;
}

/* A connection that was there before the programs were. It is in no gauge. */
static __noinline struct fence_session *adopt(
	struct __sk_buff *skb, struct bpf_sock *sk, const struct fence_rules *rules)
{
	const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct fence_session session = {};
	__u8 from[16], to[16];

	if (!fence_addresses(data, end, from, to))
		return NULL;
	fence_session_fill(&session, rules, from, fence_now());
	return bpf_sk_storage_get(&fence_sessions, sk, &session, BPF_SK_STORAGE_GET_F_CREATE);
}

static __always_inline int on_session(struct __sk_buff *skb, struct bpf_sock *sk, __u32 class)
{
	struct fence_segment segment = {.class = class & (FENCE_CLASSES - 1)};
	const struct fence_rules *rules;
	struct fence_session *session;
	__u32 reason;

	segment.bytes = find_octets(skb, &segment.at);
	if (segment.bytes == 0)
		return 1;
	rules = fence_rules_now();
	if (!rules)
		return 1;
	session = bpf_sk_storage_get(&fence_sessions, sk, NULL, 0);
	if (!session)
		session = adopt(skb, sk, rules);
	if (!session)
		return 1;
	if (session->exempt)
		reason = FENCE_ALLOWED;
	else
		reason = fence_meter_segment(rules, session, &segment, fence_now());
	fence_count(segment.class, reason, segment.bytes);
	fence_signals(skb, session, &segment);
	return 1;
}

/* The kernel runs this for full sockets only, the IP header at skb->data. */
SEC("cgroup_skb/ingress")
int fence_ingress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	const struct fence_mark *mark;

	if (!sk)
		return 1;
	mark = bpf_sk_storage_get(&fence_classes, sk, NULL, 0);
	if (!mark)
		return 1;
	if (sk->state == BPF_TCP_LISTEN)
		return on_listener(skb);
	return on_session(skb, sk, mark->class);
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

static __always_inline void on_established(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	const struct fence_rules *rules = fence_rules_now();
	struct fence_totals *totals = fence_totals_now();
	struct fence_session session = {};
	struct fence_source *source;
	struct fence_key key;
	__u8 address[16];

	if (!rules || !totals)
		return;
	peer_of(ops, address);
	fence_session_fill(&session, rules, address, fence_now());
	session.counted = !session.exempt;
	if (!bpf_sk_storage_get(&fence_sessions, sk, &session, BPF_SK_STORAGE_GET_F_CREATE) ||
		!session.counted)
		return;
	__builtin_memcpy(key.address, session.source, sizeof(key.address));
	source = fence_source_at(&key);
	if (source)
		__sync_fetch_and_add(&source->gauge[FENCE_OPEN], 1);
	__sync_fetch_and_add(&totals->gauge[FENCE_OPEN][session.standing & 1], 1);
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void on_closed(struct bpf_sock *sk)
{
	struct fence_session *session = bpf_sk_storage_get(&fence_sessions, sk, NULL, 0);
	struct fence_totals *totals = fence_totals_now();
	struct fence_source *source;
	struct fence_key key;

	if (!session || !session->counted || !totals)
		return;
	session->counted = 0;
	__builtin_memcpy(key.address, session->source, sizeof(key.address));
	source = bpf_map_lookup_elem(&fence_sources, &key);
	if (source)
		fence_gauge_drop(&source->gauge[FENCE_OPEN]);
	__sync_fetch_and_add(&totals->gauge[FENCE_OPEN][session->standing & 1], -1);
}

SEC("sockops")
int fence_sockops(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk;

	switch (ops->op) {
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		sk = ops->sk;
		if (sk && bpf_sk_storage_get(&fence_classes, sk, NULL, 0))
			on_established(ops, sk);
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
	struct fence_listener key = {.port = port};

	if (bpf_map_lookup_elem(&fence_listeners, &key))
		return 1;
	__builtin_memcpy(key.address, address, sizeof(key.address));
	return bpf_map_lookup_elem(&fence_listeners, &key) != NULL;
}

/* Not a SYN: dropped where its network is shut out. */
static __always_inline int judge_other(const struct fence_syn *packet)
{
	const struct fence_rules *rules = fence_rules_now();
	__u64 now = fence_now();
	struct fence_key source;
	enum fence_reason reason;

	if (!rules)
		return 1;
	fence_source_of(rules, packet->from, source.address);
	reason = fence_shut_out(packet->from, &source, now);
	if (reason == FENCE_PASS || reason == FENCE_ALLOWED)
		return 1;
	fence_count(FENCE_NEW, reason, packet->bytes);
	return 0;
}

static __always_inline int on_packet(
	const void *data, const void *end, __u32 total, struct fence_spot *spot, int tiny)
{
	struct fence_syn syn = {.hook = FENCE_HOOK_XDP, .bytes = total};
	const struct tcphdr *tcp = data + spot->tcp;
	__u8 to[16];

	/* A first fragment has eight octets at least: the ports are in it. */
	if ((const void *)tcp + 8 > end || !fence_addresses(data, end, syn.from, to))
		return 1;
	syn.port = bpf_ntohs(tcp->dest);
	if (!is_ours(to, syn.port))
		return 1;
	if (tiny) {
		fence_count(FENCE_NEW, FENCE_SAW_FRAGMENT, total);
		return fence_judge_syn(&syn);
	}
	if ((const void *)(tcp + 1) > end)
		return 1;
	return tcp->syn && !tcp->ack ? fence_judge_syn(&syn) : judge_other(&syn);
}

static __always_inline int on_ip(const void *data, const void *end, __u32 total)
{
	struct fence_spot spot;
	enum fence_parsed parsed = fence_parse_ip(data, end, total, &spot);

	switch (parsed) {
	case FENCE_PARSED_TCP:
	case FENCE_PARSED_TINY:
		return on_packet(data, end, total, &spot, parsed == FENCE_PARSED_TINY);
	case FENCE_PARSED_FRAGMENT:
		fence_count(FENCE_NEW, FENCE_SAW_FRAGMENT, total);
		return 1;
	case FENCE_PARSED_DEEP:
	case FENCE_PARSED_MALFORMED:
		fence_count(FENCE_NEW, FENCE_SAW_MALFORMED, total);
		return 1;
	case FENCE_PARSED_OTHER:
		return 1;
	}
	return 1;
}

/* Frames of several buffers, too: the headers are in the first. */
SEC("xdp.frags")
int fence_xdp(struct xdp_md *ctx)
{
	const void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	int at = fence_parse_ethernet(data, end);
	__u32 total = bpf_xdp_get_buff_len(ctx);

	if (at == 0)
		return XDP_PASS;
	if (at < 0) {
		fence_count(FENCE_NEW, FENCE_SAW_MALFORMED, total);
		return XDP_PASS;
	}
	return on_ip(data + at, end, total - at) ? XDP_PASS : XDP_DROP;
}
