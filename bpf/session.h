/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * session.h -- established connections: what is remembered of one, and the metering of what it
 * sends. Nothing is dropped here: a word on the board tells the gateway whom to read no more from,
 * and TCP's window does the rest.
 *
 * A segment is what the TCP layer receives as one, after the interface's or GRO's joining: that is
 * what costs. Segments are gathered in the session and charged in pieces (abi.h): to look up the source
 * and its budgets for each of them would cost as much as receiving it does. So a pause comes late by a
 * piece, and a source by a piece of each of its connections.
 */
#ifndef POSTERN_BPF_SESSION_H
#define POSTERN_BPF_SESSION_H

#include "bpf/judge.h"

/* What is remembered of a connection, made from its peer's address where it is not there yet; it is
 * in no gauge then. */
static __always_inline struct fence_session *fence_session_make(
	struct bpf_sock *sk, const struct fence_rules *rules, const __u8 address[16])
{
	__u64 now = fence_now(), hash;
	int exempt = fence_listed(address, now) == FENCE_ALLOWED;
	__u8 piece = rules->piece ? rules->piece : FENCE_PIECE_SEGMENTS;
	struct fence_session *session;
	struct fence_key source;
	__u32 standing;

	fence_source_of(rules, address, source.address);
	hash = fence_hash(rules, source.address);
	standing = fence_standing_of(&source, now);
	session = bpf_sk_storage_get(&fence_sessions, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!session || session->piece)
		return session;
	__builtin_memcpy(session->source, source.address, sizeof(session->source));
	session->board = fence_board_place(hash);
	session->tag = fence_board_tag(hash);
	session->standing = standing;
	session->exempt = exempt;
	session->class = FENCE_PLAIN;
	session->piece = piece; /* last: now it is whole */
	return session;
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

static __always_inline enum fence_reason fence_meter_piece(const struct fence_rules *rules,
	const struct fence_session *session, __u32 class, __u32 bytes, __u32 segments)
{
	struct fence_totals *totals = fence_totals_now();
	struct fence_source *source;
	struct fence_pause pause;
	__u64 now = fence_now();
	struct fence_key key;
	__u32 lane;

	__builtin_memcpy(key.address, session->source, sizeof(key.address));
	source = fence_source_at(&key);
	if (!source || !totals)
		return FENCE_PASS;
	source->seen_ns = now;
	if (class == FENCE_UPGRADED) {
		lane = FENCE_LANE_UPGRADED;
		__sync_fetch_and_add(&source->upgraded_bytes, bytes);
		pause = fence_meter_upgraded(rules, source, totals, session->standing, bytes, now);
	} else {
		lane = FENCE_LANE_PLAIN;
		__sync_fetch_and_add(&source->plain_bytes, bytes);
		pause = fence_meter_plain(
			rules, source, totals, session->standing, bytes, segments, now);
	}
	if (pause.reason != FENCE_PASS) {
		__sync_fetch_and_add(&source->paused, segments);
		fence_pause_tell(session, &pause, lane, now);
	}
	return pause.reason;
}

/* Charges what is gathered. Whoever takes it, it is taken once. */
FENCE_FUNCTION int fence_settle(struct fence_session *session)
{
	__u32 segments, bytes, reason, class;
	__u64 gathered;
	const struct fence_rules *rules;

	if (!session)
		return 0;
	rules = fence_rules_now();
	if (!rules) /* tested before anything else, or speculation loses sight of what it is */
		return 0;
	class = session->class & (FENCE_CLASSES - 1);
	gathered = __sync_lock_test_and_set(&session->gathered, 0ull);
	segments = gathered >> FENCE_GATHERED_BITS;
	bytes = gathered & ((1ull << FENCE_GATHERED_BITS) - 1);
	if (segments == 0)
		return 0;
	if (session->exempt)
		reason = FENCE_ALLOWED;
	else
		reason = fence_meter_piece(rules, session, class, bytes, segments);
	fence_count_all(class, reason, segments, bytes);
	return 0;
}

/* A segment with octets came in. */
static __always_inline void fence_gather(struct fence_session *session, __u32 class, __u32 bytes)
{
	__u64 one = (1ull << FENCE_GATHERED_BITS) + bytes, sum;

	if (session->class != class) {
		fence_settle(session);
		session->class = class;
	}
	sum = __sync_fetch_and_add(&session->gathered, one) + one;
	if (sum >> FENCE_GATHERED_BITS >= session->piece ||
		(sum & ((1ull << FENCE_GATHERED_BITS) - 1)) >= FENCE_PIECE_BYTES)
		fence_settle(session);
}

/* ---- signals: what a segment looks like ---- */

#define FENCE_LOOKS_MAX      4 /* a look costs as much as the metering: only at the first ones */
#define FENCE_HELLO_BYTES    6
#define FENCE_TEXT_BYTES     8   /* of the beginning */
#define FENCE_TEXT_BYTES_MAX 512 /* RFC 5321 4.5.3.1.4: a command line */

/* A segment, as far as looking at it goes. */
struct fence_segment {
	__u32 class;
	__u32 at; /* its octets begin here in the packet */
	__u32 bytes;
	int first; /* the first of them; -1: not known */
};

/* A TLS record of type handshake that begins with a ClientHello (RFC 8446 5.1, 4). */
FENCE_FUNCTION int fence_is_hello(struct __sk_buff *skb, __u32 at, __u32 n)
{
	__u8 head[FENCE_HELLO_BYTES];

	if (n < sizeof(head) || bpf_skb_load_bytes(skb, at, head, sizeof(head)) != 0)
		return 0;
	return head[0] == 22 && head[1] == 3 && head[5] == 1;
}

/* Are the first n octets printable? n: a constant, at most FENCE_TEXT_BYTES. */
static __always_inline int fence_is_printable(struct __sk_buff *skb, __u32 at, __u32 n)
{
	__u8 head[FENCE_TEXT_BYTES];

	if (bpf_skb_load_bytes(skb, at, head, n) != 0)
		return 0;
#pragma unroll
	for (__u32 i = 0; i < n; i++)
		if (head[i] < ' ' || head[i] > '~')
			return 0;
	return 1;
}

/* A line of text: begins with printable octets and ends with CRLF. A short line is looked at in
 * parts that overlap: so every look has a length that the verifier knows. */
FENCE_FUNCTION int fence_is_text(struct __sk_buff *skb, __u32 at, __u32 n)
{
	__u8 tail[2];
	int text;

	if (n < 1 + sizeof(tail) || n > FENCE_TEXT_BYTES_MAX)
		return 0;
	n -= sizeof(tail);
	if (n >= FENCE_TEXT_BYTES)
		text = fence_is_printable(skb, at, FENCE_TEXT_BYTES);
	else if (n >= FENCE_TEXT_BYTES / 2)
		text = fence_is_printable(skb, at, FENCE_TEXT_BYTES / 2) &&
		       fence_is_printable(skb, at + n - FENCE_TEXT_BYTES / 2, FENCE_TEXT_BYTES / 2);
	else
		text = fence_is_printable(skb, at, 1) && fence_is_printable(skb, at + n / 2, 1) &&
		       fence_is_printable(skb, at + n - 1, 1);
	return text && bpf_skb_load_bytes(skb, at + n, tail, sizeof(tail)) == 0 &&
	       tail[0] == '\r' && tail[1] == '\n';
}

/* The first octet, where it is known, spares most of the looks. */
static __always_inline void fence_signals(
	struct __sk_buff *skb, struct fence_session *session, const struct fence_segment *segment)
{
	int first = segment->first;

	if (segment->class == FENCE_PLAIN && session->looks < FENCE_LOOKS_MAX) {
		session->looks++;
		if ((first < 0 || first == 22) && fence_is_hello(skb, segment->at, segment->bytes))
			fence_count(FENCE_PLAIN, FENCE_SAW_CLIENT_HELLO, segment->bytes);
	}
	if (segment->class == FENCE_UPGRADED && (first < 0 || (first >= ' ' && first <= '~')) &&
		fence_is_text(skb, segment->at, segment->bytes))
		fence_count(FENCE_UPGRADED, FENCE_SAW_PLAIN_AFTER_TLS, segment->bytes);
}

#endif
