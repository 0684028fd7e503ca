/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * parse.h -- from a frame or an IP packet to its TCP header, without trusting an octet of it.
 *
 * Finds, judges nothing. IPv4 with options, IPv6 with extension headers (FENCE_EXTENSIONS_MAX of
 * them), up to two VLAN tags. A first fragment whose TCP header is not whole is told apart
 * (FENCE_PARSED_TINY): nobody sends such a thing in good faith (RFC 1858), and its SYN would be seen
 * only after it was put together, behind XDP. So is a chain of more headers than we follow.
 *
 * What stands at a fixed place is read directly, what the packet itself says where by a helper: so the
 * verifier asks for no CAP_PERFMON.
 */
#ifndef POSTERN_BPF_PARSE_H
#define POSTERN_BPF_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FENCE_VLAN_TAGS_MAX  2
#define FENCE_EXTENSIONS_MAX 6
/* Further in no TCP header is looked for: an Ethernet frame's length. */
#define FENCE_HEADERS_MAX 1500

#define FENCE_IP_OFFSET  0x1fff
#define FENCE_IP_MORE    0x2000
#define FENCE_IP6_OFFSET 0xfff8
#define FENCE_IP6_MORE   0x0001

enum fence_parsed {
	FENCE_PARSED_TCP,
	FENCE_PARSED_TINY,      /* first fragment: ports, but not the whole TCP header */
	FENCE_PARSED_DEEP,      /* more extension headers than we follow */
	FENCE_PARSED_FRAGMENT,  /* not the first */
	FENCE_PARSED_MALFORMED, /* cut short or senseless */
	FENCE_PARSED_OTHER,     /* not TCP, not IP */
};

/* An IP packet. */
struct fence_packet {
	const void *data, *end; /* what can be seen of it directly */
	__u32 total;            /* octets of it */
	void *ctx;              /* of the program */
	__u32 at;               /* it begins there in ctx */
	int xdp;                /* ctx is XDP's, else a __sk_buff */
};

struct fence_spot {
	__u32 tcp; /* offset of the TCP header in the IP packet; TCP and TINY */
	__u32 end; /* of the IP packet, by its own word */
	/* TCP only */
	__u32 octets; /* offset of what it carries */
	__u16 port;   /* where it goes, host order */
	int opens;    /* SYN and no ACK */
	int answers;  /* SYN and ACK */
	int resets;   /* RST */
};

/* Of an extension header (RFC 8200 4): its first two octets. */
struct fence_extension {
	__u8 next;
	__u8 length;
};

struct fence_fragment {
	__u8 next;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

/* Copies from where only the packet itself says. 0: done. */
static __always_inline long fence_read(
	const struct fence_packet *packet, __u32 at, void *to, __u32 n)
{
	if (packet->xdp)
		return bpf_xdp_load_bytes(packet->ctx, packet->at + at, to, n);
	return bpf_skb_load_bytes(packet->ctx, packet->at + at, to, n);
}

static __always_inline enum fence_parsed fence_parse_tcp(
	const struct tcphdr *tcp, struct fence_spot *spot)
{
	spot->octets = spot->tcp + tcp->doff * 4;
	spot->port = bpf_ntohs(tcp->dest);
	spot->opens = tcp->syn && !tcp->ack;
	spot->answers = tcp->syn && tcp->ack;
	spot->resets = tcp->rst;
	return FENCE_PARSED_TCP;
}

/* Is there a whole TCP header at spot->tcp? (Its options are not looked at.) `usual`: where it is in
 * nearly every packet; a constant. */
static __always_inline enum fence_parsed fence_parse_end(
	const struct fence_packet *packet, struct fence_spot *spot, __u32 usual, int more)
{
	const struct tcphdr *tcp = packet->data + usual;
	struct tcphdr copy;

	if (spot->tcp + sizeof(*tcp) > spot->end)
		return more ? FENCE_PARSED_TINY : FENCE_PARSED_MALFORMED;
	if (spot->tcp == usual && (const void *)(tcp + 1) <= packet->end)
		return fence_parse_tcp(tcp, spot);
	if (fence_read(packet, spot->tcp, &copy, sizeof(copy)) == 0)
		return fence_parse_tcp(&copy, spot);
	return more ? FENCE_PARSED_TINY : FENCE_PARSED_MALFORMED;
}

static __always_inline enum fence_parsed fence_parse_v4(
	const struct fence_packet *packet, struct fence_spot *spot)
{
	const struct iphdr *ip = packet->data;
	__u32 total = packet->total, length, fragment;

	if ((const void *)(ip + 1) > packet->end || ip->ihl < 5)
		return FENCE_PARSED_MALFORMED;
	if (ip->protocol != IPPROTO_TCP)
		return FENCE_PARSED_OTHER;
	fragment = bpf_ntohs(ip->frag_off);
	if (fragment & FENCE_IP_OFFSET)
		return FENCE_PARSED_FRAGMENT;
	length = ip->tot_len ? bpf_ntohs(ip->tot_len) : total; /* 0: more than 64 KiB, after GRO */
	if (length > total)
		return FENCE_PARSED_MALFORMED;
	spot->tcp = ip->ihl * 4;
	spot->end = length;
	return fence_parse_end(packet, spot, sizeof(*ip), fragment & FENCE_IP_MORE);
}

/* One bit each: five comparisons would be five ways for the verifier. */
static __always_inline int fence_is_extension(__u8 next)
{
	const __u64 extensions = 1ull << IPPROTO_HOPOPTS | 1ull << IPPROTO_ROUTING |
				 1ull << IPPROTO_FRAGMENT | 1ull << IPPROTO_AH |
				 1ull << IPPROTO_DSTOPTS;

	return next < 64 && (extensions >> next & 1);
}

/* Of the extension header `next`, in octets. Not static: so the verifier looks at it once, and not
 * again for each way through the chain of headers. */
__noinline __u32 fence_extension_length(__u32 next, __u32 length);
__noinline __u32 fence_extension_length(__u32 next, __u32 length)
{
	length &= 0xff;
	if (next == IPPROTO_FRAGMENT)
		return sizeof(struct fence_fragment);
	if (next == IPPROTO_AH)
		return (length + 2u) * 4;
	return (length + 1u) * 8;
}

static __always_inline enum fence_parsed fence_parse_v6(
	const struct fence_packet *packet, struct fence_spot *spot)
{
	const struct ipv6hdr *ip = packet->data;
	__u32 total = packet->total, more = 0, at = sizeof(*ip);
	__u8 next;

	if ((const void *)(ip + 1) > packet->end)
		return FENCE_PARSED_MALFORMED;
	next = ip->nexthdr;
	spot->end = ip->payload_len ? sizeof(*ip) + bpf_ntohs(ip->payload_len) : total;
	if (spot->end > total)
		return FENCE_PARSED_MALFORMED;
#pragma unroll
	for (int i = 0; i < FENCE_EXTENSIONS_MAX; i++) {
		struct fence_fragment header;

		if (!fence_is_extension(next))
			break;
		if (at + sizeof(header) > spot->end ||
			fence_read(packet, at, &header, sizeof(header)) != 0)
			return FENCE_PARSED_MALFORMED;
		if (next == IPPROTO_FRAGMENT) {
			if (header.offset & bpf_htons(FENCE_IP6_OFFSET))
				return FENCE_PARSED_FRAGMENT;
			more |= header.offset & bpf_htons(FENCE_IP6_MORE);
		}
		at += fence_extension_length(next, header.reserved);
		next = header.next;
		if (at > FENCE_HEADERS_MAX)
			return FENCE_PARSED_DEEP;
	}
	if (fence_is_extension(next))
		return FENCE_PARSED_DEEP;
	if (next != IPPROTO_TCP)
		return FENCE_PARSED_OTHER;
	spot->tcp = at;
	return fence_parse_end(packet, spot, sizeof(*ip), more);
}

static __always_inline enum fence_parsed fence_parse_ip(
	const struct fence_packet *packet, struct fence_spot *spot)
{
	const __u8 *first = packet->data;

	if ((const void *)(first + 1) > packet->end)
		return FENCE_PARSED_MALFORMED;
	if (*first >> 4 == 4)
		return fence_parse_v4(packet, spot);
	if (*first >> 4 == 6)
		return fence_parse_v6(packet, spot);
	return FENCE_PARSED_MALFORMED;
}

struct fence_vlan {
	__be16 tag;
	__be16 next;
};

/* Length of the Ethernet header with its tags; 0: not IP; -1: cut short. packet->data goes on to
 * what follows it, step by step: the verifier takes no pointer into a packet plus a number in a
 * register. */
static __always_inline int fence_parse_ethernet(struct fence_packet *packet)
{
	const struct ethhdr *ethernet = packet->data;
	int at = sizeof(*ethernet);
	__be16 next;

	if ((const void *)(ethernet + 1) > packet->end)
		return -1;
	packet->data = ethernet + 1;
	next = ethernet->h_proto;
#pragma unroll
	for (int i = 0; i < FENCE_VLAN_TAGS_MAX; i++) {
		const struct fence_vlan *vlan = packet->data;

		if (next != bpf_htons(ETH_P_8021Q) && next != bpf_htons(ETH_P_8021AD))
			break;
		if ((const void *)(vlan + 1) > packet->end)
			return -1;
		next = vlan->next;
		at += sizeof(*vlan);
		packet->data = vlan + 1;
		barrier_var(packet->data);
	}
	return next == bpf_htons(ETH_P_IP) || next == bpf_htons(ETH_P_IPV6) ? at : 0;
}

/* ---- what lies there ---- */

/* 16 octets of an IPv4 address, mapped. */
static __always_inline void fence_map_v4(__u8 out[16], __u32 v4)
{
	__u32 words[4] = {0, 0, bpf_htonl(0xffff), v4};

	__builtin_memcpy(out, words, sizeof(words));
}

/* Source and destination of an IP packet that was parsed. 0: there are none. */
static __always_inline int fence_addresses(
	const struct fence_packet *packet, __u8 from[16], __u8 to[16])
{
	const struct iphdr *v4 = packet->data;
	const struct ipv6hdr *v6 = packet->data;

	if ((const void *)(v4 + 1) > packet->end)
		return 0;
	if (v4->version == 4) {
		__u32 source = v4->saddr, destination = v4->daddr;

		barrier_var(
			source); /* or one load for both versions, from a pointer plus a number */
		barrier_var(destination);
		fence_map_v4(from, source);
		fence_map_v4(to, destination);
		return 1;
	}
	if ((const void *)(v6 + 1) > packet->end)
		return 0;
	__builtin_memcpy(from, &v6->saddr, 16);
	__builtin_memcpy(to, &v6->daddr, 16);
	return 1;
}

#endif
