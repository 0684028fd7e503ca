/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * session.h -- established connections: what is remembered of one, and the metering of what it
 * sends. Nothing is dropped here: a word on the board tells the gateway whom to read no more from,
 * and TCP's window does the rest.
 *
 * A segment is what the TCP layer receives as one, after the interface's or GRO's joining: that is
 * what costs.
 */
#ifndef POSTERN_BPF_SESSION_H
#define POSTERN_BPF_SESSION_H

#include "bpf/judge.h"

/* A segment of a session, as far as metering goes. */
struct fence_segment {
	__u32 class;
	__u32 at; /* its octets begin here in the packet */
	__u32 bytes;
};

/* What is known of a connection from its peer's address; it is in no gauge. Every octet is written. */
static __always_inline void fence_session_fill(struct fence_session *session,
	const struct fence_rules *rules, const __u8 address[16], __u64 now)
{
	int exempt = fence_listed(address, now) == FENCE_ALLOWED;
	struct fence_key source;
	__u64 hash;

	fence_source_of(rules, address, source.address);
	hash = fence_hash(rules, source.address);
	__builtin_memcpy(session->source, source.address, sizeof(session->source));
	session->board = fence_board_place(hash);
	session->tag = fence_board_tag(hash);
	session->standing = fence_standing_of(&source, now);
	session->exempt = exempt;
	session->counted = 0;
	session->looks = 0;
	__builtin_memset(session->pad, 0, sizeof(session->pad));
}

/* ---- metering ---- */

/* Words that are 0 are not written. A function of its own: here alone a number is added to a pointer
 * (rules.h). */
FENCE_FUNCTION int fence_board_write(
	__u32 lane, __u32 place, __u64 source, __u32 standing, __u64 all)
{
	__u32 zero = 0;
	struct fence_board *board = bpf_map_lookup_elem(&fence_board, &zero);

	if (!board)
		return 0;
	lane &= FENCE_LANES - 1;
	place &= FENCE_BOARD_PLACES - 1;
	standing &= FENCE_STANDINGS - 1;
	if (source)
		*(volatile __u64 *)&board->source[lane][place] = source;
	if (all)
		*(volatile __u64 *)&board->all[lane][standing] = all;
	return 0;
}

static __always_inline void fence_pause_tell(
	const struct fence_session *session, const struct fence_pause *pause, __u32 lane, __u64 now)
{
	__u64 source = 0, all = 0;

	if (pause->source_ns)
		source = fence_board_word(session->tag, now + pause->source_ns);
	if (pause->all_ns)
		all = fence_board_word(0, now + pause->all_ns);
	fence_board_write(lane, session->board, source, session->standing, all);
}

static __always_inline enum fence_reason fence_meter_segment(const struct fence_rules *rules,
	const struct fence_session *session, const struct fence_segment *segment, __u64 now)
{
	struct fence_totals *totals = fence_totals_now();
	struct fence_source *source;
	struct fence_pause pause;
	struct fence_key key;
	__u32 lane;

	__builtin_memcpy(key.address, session->source, sizeof(key.address));
	source = fence_source_at(&key);
	if (!source || !totals)
		return FENCE_PASS;
	source->seen_ns = now;
	if (segment->class == FENCE_UPGRADED) {
		lane = FENCE_LANE_UPGRADED;
		__sync_fetch_and_add(&source->upgraded_bytes, segment->bytes);
		pause = fence_meter_upgraded(
			rules, source, totals, session->standing, segment->bytes, now);
	} else {
		lane = FENCE_LANE_PLAIN;
		__sync_fetch_and_add(&source->plain_bytes, segment->bytes);
		pause = fence_meter_plain(
			rules, source, totals, session->standing, segment->bytes, 1, now);
	}
	if (pause.reason != FENCE_PASS) {
		__sync_fetch_and_add(&source->paused, 1);
		fence_pause_tell(session, &pause, lane, now);
	}
	return pause.reason;
}

/* ---- signals: what a segment looks like ---- */

#define FENCE_LOOKS_MAX      4 /* a look costs as much as the metering: only at the first ones */
#define FENCE_HELLO_BYTES    6
#define FENCE_TEXT_BYTES     8   /* of the beginning */
#define FENCE_TEXT_BYTES_MAX 512 /* RFC 5321 4.5.3.1.4: a command line */

/* A TLS record of type handshake that begins with a ClientHello (RFC 8446 5.1, 4). */
static __always_inline int fence_is_hello(
	struct __sk_buff *skb, const struct fence_segment *segment)
{
	__u8 head[FENCE_HELLO_BYTES];

	if (segment->bytes < sizeof(head) ||
		bpf_skb_load_bytes(skb, segment->at, head, sizeof(head)) != 0)
		return 0;
	return head[0] == 22 && head[1] == 3 && head[5] == 1;
}

/* A line of text: begins with printable octets and ends with CRLF. */
static __always_inline int fence_is_text(struct __sk_buff *skb, const struct fence_segment *segment)
{
	__u8 head[FENCE_TEXT_BYTES], tail[2];
	__u32 n = segment->bytes, look;

	if (n < 1 + sizeof(tail) || n > FENCE_TEXT_BYTES_MAX)
		return 0;
	n -= sizeof(tail);
	look = n < sizeof(head) ? n : sizeof(head);
	barrier_var(look);
	look = ((look - 1) & (sizeof(head) - 1)) + 1; /* the same, in the verifier's words */
	__builtin_memset(head, ' ', sizeof(head));    /* what a short line leaves over */
	if (bpf_skb_load_bytes(skb, segment->at, head, look) != 0)
		return 0;
#pragma unroll
	for (int i = 0; i < FENCE_TEXT_BYTES; i++)
		if (head[i] < ' ' || head[i] > '~')
			return 0;
	return bpf_skb_load_bytes(skb, segment->at + n, tail, sizeof(tail)) == 0 &&
	       tail[0] == '\r' && tail[1] == '\n';
}

static __always_inline void fence_signals(
	struct __sk_buff *skb, struct fence_session *session, const struct fence_segment *segment)
{
	if (segment->class == FENCE_PLAIN && session->looks < FENCE_LOOKS_MAX) {
		session->looks++;
		if (fence_is_hello(skb, segment))
			fence_count(FENCE_PLAIN, FENCE_SAW_CLIENT_HELLO, segment->bytes);
	}
	if (segment->class == FENCE_UPGRADED && fence_is_text(skb, segment))
		fence_count(FENCE_UPGRADED, FENCE_SAW_PLAIN_AFTER_TLS, segment->bytes);
}

#endif
