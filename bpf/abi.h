/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * abi.h -- the one contract between the fence's programs in the kernel and the gateway: classes,
 * meters, reasons, and the layout of every map.
 *
 * Included by clang for the BPF target and by the gateway; so only fixed-width types, no pointers,
 * no padding that is not named, and every size asserted at the end. Whoever changes a layout raises
 * FENCE_ABI: pinned maps of another number are not taken over.
 *
 * Addresses are 16 octets everywhere, IPv4 mapped (::ffff:a.b.c.d). A source is an address cut to
 * the prefix of its family (fence_rules.bits_v4, bits_v6). Times are CLOCK_MONOTONIC nanoseconds,
 * which is bpf_ktime_get_ns().
 */
#ifndef POSTERN_BPF_ABI_H
#define POSTERN_BPF_ABI_H

#include <linux/bpf.h>
#include <linux/types.h>

#define FENCE_ABI 3

/* What a session is. Only the gateway promotes (socket storage `fence_classes`, by descriptor); NEW
 * is what a listening socket receives: from the SYN to the connection's being established. What passes
 * there is counted when it is established, with no octets. */
enum fence_class { FENCE_NEW, FENCE_PLAIN, FENCE_HANDSHAKE, FENCE_UPGRADED, FENCE_CLASSES };

/* What is limited by rate, each with a burst (GCRA). */
enum fence_meter {
	FENCE_CONNECTIONS,   /* new connections */
	FENCE_PLAIN_BYTES,   /* octets of plaintext sessions (class PLAIN and HANDSHAKE) */
	FENCE_PLAIN_PACKETS, /* their segments with octets */
	FENCE_HANDSHAKES,    /* TLS handshakes begun */
	FENCE_UPGRADED_BYTES,
	FENCE_METERS
};

/* What is limited in number at a time. */
enum fence_gauge {
	FENCE_OPEN,    /* connections */
	FENCE_SHAKING, /* handshakes that are not finished */
	FENCE_GAUGES
};

/* Which of two sets of budgets a source has. The totals are kept apart, too: strangers, however
 * many, cannot use up what is there for those that behaved. */
enum fence_standing { FENCE_STRANGER, FENCE_BEHAVED, FENCE_STANDINGS };

/* Why a verdict. The first of each pair is the source's own budget, _ALL the one behind it. */
enum fence_reason {
	FENCE_PASS,
	FENCE_ALLOWED, /* by the allow list: nothing is counted against it */
	FENCE_BLOCKED,
	FENCE_PENALTY, /* too many strikes: blocked for a while */
	FENCE_OVER_CONNECTIONS,
	FENCE_OVER_CONNECTIONS_ALL,
	FENCE_OVER_OPEN,
	FENCE_OVER_OPEN_ALL,
	FENCE_OVER_PLAIN_BYTES,
	FENCE_OVER_PLAIN_BYTES_ALL,
	FENCE_OVER_PLAIN_PACKETS,
	FENCE_OVER_PLAIN_PACKETS_ALL,
	FENCE_OVER_HANDSHAKES,
	FENCE_OVER_HANDSHAKES_ALL,
	FENCE_OVER_SHAKING,
	FENCE_OVER_SHAKING_ALL,
	FENCE_OVER_UPGRADED_BYTES,
	FENCE_OVER_UPGRADED_BYTES_ALL,
	/* signals: seen, counted, never a verdict */
	FENCE_SAW_CLIENT_HELLO,    /* a ClientHello in a session that is PLAIN */
	FENCE_SAW_PLAIN_AFTER_TLS, /* a segment that is text in a session that is UPGRADED */
	FENCE_SAW_FRAGMENT, /* not the first: passed; the first without a TCP header: as a SYN */
	FENCE_SAW_MALFORMED, /* cut short or senseless: passed, the kernel throws it away. Behind more
				headers than we follow: kept from listening sockets */
	FENCE_REASONS
};

/* What is done. REFUSE: a SYN, or the ACK that ends its handshake, is dropped, a connection or a STARTTLS
 * is answered 421. PAUSE: the
 * segment passes, the gateway stops reading for a while. */
enum fence_verdict { FENCE_VERDICT_PASS, FENCE_VERDICT_REFUSE, FENCE_VERDICT_PAUSE };

/* Who gave it. */
enum fence_hook { FENCE_HOOK_CGROUP, FENCE_HOOK_XDP, FENCE_HOOK_USER, FENCE_HOOKS };

/* ---- rules: map fence_rules, array of one ---- */

/* A rate for GCRA. No limit: interval 0. See fence_rate_make(). */
struct fence_rate {
	__u64 interval; /* 1/1024 ns a unit */
	__u64 burst;    /* ns: how far ahead of the rate a source may be */
};

#define FENCE_RATE_SHIFT 10

struct fence_rules {
	__u32 abi;
	__u8 bits_v4; /* of a source's prefix: 1 to 32 */
	__u8 bits_v6; /* 1 to 128 */
	__u8 piece;   /* segments of a session that are charged at once; 0: FENCE_PIECE_SEGMENTS */
	__u8 pad;
	__u32 sample;      /* every sample-th refusal is put into the ring buffer; 0: none */
	__u32 strikes_max; /* then a penalty; 0: never */
	__u64 penalty_ns;
	__u64 behaved_ns; /* how long good conduct is remembered */
	__u64 hash_key[2];
	struct fence_rate source[FENCE_METERS][FENCE_STANDINGS];
	struct fence_rate all[FENCE_METERS][FENCE_STANDINGS];
	__u32 source_max[FENCE_GAUGES][FENCE_STANDINGS]; /* 0: no limit */
	__u32 all_max[FENCE_GAUGES][FENCE_STANDINGS];
};

/* ---- state ---- */

/* Map fence_sources, LRU hash by source; and the gateway's own table. */
struct fence_source {
	__u64 tat[FENCE_METERS]; /* GCRA's theoretical arrival time; 0: never met */
	__u32 gauge[FENCE_GAUGES];
	__u64 seen_ns;
	__u64 passed;  /* connections */
	__u64 refused; /* SYNs, connections, handshakes */
	__u64 paused;  /* segments or receives over a budget */
	__u64 plain_bytes;
	__u64 upgraded_bytes;
};

/* Map fence_totals, array of one, BPF_F_MMAPABLE; and the gateway's own. */
struct fence_totals {
	__u64 tat[FENCE_METERS][FENCE_STANDINGS];
	__u64 gauge[FENCE_GAUGES][FENCE_STANDINGS];
	__u64 syns
		[FENCE_STANDINGS]; /* GCRA, of SYNs whose sources nobody knows; the kernel's only */
};

/* Map fence_counts, per-CPU array, by class * FENCE_REASONS + reason. What sessions send is counted as it
 * is charged, in pieces. */
struct fence_count {
	__u64 packets;
	__u64 bytes;
};

/* Map fence_classes, socket storage. On a listening socket with BPF_F_CLONE: what its connections
 * begin as. Written by the gateway only. */
struct fence_mark {
	__u32 class;               /* enum fence_class */
	struct bpf_spin_lock lock; /* by which the kernel writes in place: or it makes a new one */
};

/* Map fence_sessions, socket storage of connections: the programs' own. */
struct fence_session {
	__u8 source[16];
	__u32 board; /* place on the board */
	__u16 tag;   /* on the board */
	__u8 standing;
	__u8 exempt;  /* allowed by the list: not metered */
	__u8 counted; /* it is in the gauge OPEN: of the source and of the totals */
	__u8 looks;   /* at how many plaintext segments was looked for a ClientHello */
	__u8 piece;   /* of the rules */
	__u8 class;   /* of what is gathered */
	__u32 pad;
	__u64 gathered; /* and not yet charged: octets, and above FENCE_GATHERED_BITS segments */
};

/* A session's octets are charged in pieces: when as many segments or octets have come, when its class
 * changes, and at its end. */
#define FENCE_PIECE_SEGMENTS 8
#define FENCE_PIECE_BYTES    16384
#define FENCE_GATHERED_BITS  40

/*
 * Map fence_board, array of one, BPF_F_MMAPABLE: which sources are to be read no more for a while.
 * The programs write, the gateway looks before it reads on, with no system call. A word: 16 bits
 * tag, 48 bits time in us until which to pause. Two sources in one place: the later one's word
 * stands, and the tag tells whose it is.
 */
#define FENCE_BOARD_PLACES  16384 /* a power of two */
#define FENCE_BOARD_US_BITS 48

enum fence_lane { FENCE_LANE_PLAIN, FENCE_LANE_UPGRADED, FENCE_LANES };

struct fence_board {
	__u64 all[FENCE_LANES][FENCE_STANDINGS]; /* for everybody; no tag */
	__u64 source[FENCE_LANES][FENCE_BOARD_PLACES];
};

/* ---- lists ---- */

enum fence_action { FENCE_ACTION_ALLOW = 1, FENCE_ACTION_BLOCK = 2 };
enum fence_origin { FENCE_ORIGIN_CONFIG = 1, FENCE_ORIGIN_OPERATOR = 2 };

/* Map fence_nets, LPM trie: the longest prefix decides, unless it has expired. */
struct fence_net_key {
	__u32 bits; /* of 128: an IPv4 /24 is 96 + 24 */
	__u8 address[16];
};

struct fence_net {
	__u64 until_ns; /* 0: for good */
	__u8 action;
	__u8 origin;
	__u8 pad[6];
};

/* Maps fence_behaved and fence_penalties, LRU hashes by source: __u64 until when. Written by the
 * gateway only, so that a flood cannot push out who behaved. */
#define FENCE_NETS_MAX      65536
#define FENCE_BEHAVED_MAX   65536
#define FENCE_PENALTIES_MAX 65536

/* ---- what XDP needs ---- */

/* Map fence_listeners, hash: address (all zero: any) and port that belong to the gateway. What is for
 * another address is not ours, whoever passes it on. */
struct fence_listener {
	__u8 address[16];
	__u16 port; /* host order */
	__u16 pad;
};
#define FENCE_LISTENERS_MAX 2048

/* Map fence_interfaces, hash by ifindex: an XDP program takes the SYNs that come in there from their
 * sources' limit of SYNs, so the one at the cgroup does not do it again. Value: __u32, 1. */
#define FENCE_INTERFACES_MAX 16

/* ---- samples: map fence_samples, ring buffer ---- */

#define FENCE_SAMPLES_BYTES 65536

struct fence_sample {
	__u64 at_ns;
	__u8 address[16]; /* whole */
	__u16 port;       /* the listener's; 0: not known */
	__u8 class;
	__u8 reason;
	__u8 hook;
	__u8 pad[3];
};

#define FENCE_SIZE(type, n) _Static_assert(sizeof(struct type) == (n), #type)
FENCE_SIZE(fence_rate, 16);
FENCE_SIZE(fence_rules, 48 + 2 * 16 * FENCE_METERS * FENCE_STANDINGS + 2 * 4 * 4);
FENCE_SIZE(fence_source, 96);
FENCE_SIZE(fence_totals, 128);
FENCE_SIZE(fence_count, 16);
FENCE_SIZE(fence_mark, 8);
FENCE_SIZE(fence_session, 40);
FENCE_SIZE(fence_board, 8 * (4 + 2 * FENCE_BOARD_PLACES));
FENCE_SIZE(fence_net_key, 20);
FENCE_SIZE(fence_net, 16);
FENCE_SIZE(fence_listener, 20);
FENCE_SIZE(fence_sample, 32);

#endif
