/* SPDX-License-Identifier: MIT */
/*
 * fence.h -- limits before the cost: tells plaintext from upgraded sessions and bounds both, by
 * source and in all.
 *
 * One fence a gateway. Where the kernel lets us (CAP_BPF, CAP_NET_ADMIN, a cgroup v2), the programs
 * of bpf/ refuse SYNs and meter octets, and this room loads them, writes their rules and lists and
 * reads their counts. Where it does not, or for clients that came through a balancer, the limiter of
 * this room applies the same rules (bpf/rules.h) to its own table. Handshakes are metered here in
 * both cases: only the gateway knows that one begins.
 *
 *	fence.c      the object: modes, opening and closing, counts
 *	rules.c      settings -> struct fence_rules
 *	client.c     what workers ask: a connection's way from accept to its end
 *	limiter.c    sources of the gateway's own table
 *	lists.c      allowed and blocked networks, with expiry; kept here, mirrored into the kernel
 *	kernel.c     libbpf: load, attach, pin, detach; maps by descriptor
 *	look.c       top sources, explain, the operator's entries
 *	refusals.c   who is refused: first refusals and samples, for the log
 *	words.c      reasons, classes and hooks in words
 *
 * Life: the parent opens it with privilege, before it forks; the child works with the maps'
 * descriptors, needing none. Threads: what the section "on a worker" has may be called from any of
 * them at once; the rest belongs to one thread at a time (the parent's before the fork, then the
 * control thread).
 */
#ifndef POSTERN_FENCE_FENCE_H
#define POSTERN_FENCE_FENCE_H

#include <sys/socket.h>

#include "base/network.h"
#include "bpf/abi.h"
#include "config/settings.h"

struct fence;

/* ---- the parent ---- */

/*
 * Loads, attaches and fills the kernel's part, or decides for the limiter. listen_fds are
 * listening sockets, [listener * per_listener + i]. -1 and err: mode = kernel where that cannot be,
 * an interface that is not there, memory is short. Otherwise fence_why() tells what is missing.
 */
MUST_USE int fence_open(struct fence **out, const struct fence_settings *settings,
	const struct listener_settings *listeners, size_t listeners_n, const int *listen_fds,
	size_t per_listener, struct err *err);
/* Detaches and removes everything, or leaves it where settings->pin says so. NULL is fine. */
void fence_close(struct fence *fence);
/*
 * In a child of the opener, before its threads start: lets go of the descriptors by which programs
 * can be detached, and takes over from the kernel what another child had put there: operators'
 * entries, who behaved, penalties. The map descriptors stay. NULL is fine.
 */
void fence_child(struct fence *fence);
/* In a child of the opener: gives up memory and descriptors, detaches nothing. NULL is fine. */
void fence_forget(struct fence *fence);

/*
 * Are SYN cookies switched off (net.ipv4.tcp_syncookies = 0, of the network namespace we are in)? Then
 * SYNs from addresses that nobody has fill the queues of listening sockets, each from a source within
 * its budget. `path` is the sysctl's file; one that cannot be read is no answer: false.
 */
#define FENCE_SYNCOOKIES "/proc/sys/net/ipv4/tcp_syncookies"
MUST_USE bool fence_syncookies_off(const char *path);

/* ---- a reload ---- */

/*
 * New settings, packed for a trip to the child: rules and lists without pointers. A memfd (the
 * caller's to close) or -errno. mode, interfaces, pin, prefixes and sources_max are as at the start.
 */
MUST_USE int fence_pack(const struct fence_settings *settings);
/* The child: takes what fence_pack() made into use, in the kernel and here. What operators added to
 * the lists stays. -1 and err. */
MUST_USE int fence_use(struct fence *fence, int memfd, struct err *err);

/* ---- on a worker ---- */

/* What the fence knows of one connection; its owner's memory, at rest while `entered` is false. */
struct fence_client {
	bool entered;
	bool kernel;  /* the kernel meters its octets and counts it as open */
	bool exempt;  /* allowed by a list, or the fence is off */
	bool shaking; /* from fence_shake() to fence_shaken(); in the gauge SHAKING unless exempt */
	uint8_t class; /* enum fence_class */
	uint8_t standing;
	uint16_t tag;
	uint32_t place; /* on the board */
	uint8_t address[NETWORK_BYTES];
	uint8_t source[NETWORK_BYTES];
	struct fence_entry *entry; /* limiter.c's, held until fence_leave() */
};

/*
 * A connection from `address` was accepted: may it stay? FENCE_PASS or FENCE_ALLOWED: yes, and
 * fence_leave() is to follow. `direct`: the connection's own peer, which the kernel judged already
 * where it has programs; else the client behind a balancer (PROXY, XCLIENT). `class` is what it
 * begins as: PLAIN, or HANDSHAKE where the listener is implicit TLS.
 */
MUST_USE enum fence_reason fence_enter(struct fence *fence, struct fence_client *client,
	const uint8_t address[NETWORK_BYTES], bool direct, enum fence_class class);
void fence_leave(struct fence *fence, struct fence_client *client);
/* Is the address on the list of those that are blocked? For who is no client: a balancer before its
 * PROXY header. Counted as a refusal if so. */
MUST_USE bool fence_blocked(struct fence *fence, const uint8_t address[NETWORK_BYTES]);

/*
 * A handshake is about to begin: FENCE_PASS or FENCE_ALLOWED: it may, the session is of class
 * HANDSHAKE, fence_shaken() is to follow. Otherwise nothing is changed but a strike.
 */
MUST_USE enum fence_reason fence_shake(struct fence *fence, struct fence_client *client, int fd);
/* It is over. Completed: class UPGRADED. Not: a strike. */
void fence_shaken(struct fence *fence, struct fence_client *client, int fd, bool completed);
/* It is over, not completed, and that was our doing: no strike. */
void fence_unshaken(struct fence *fence, struct fence_client *client);

/* Octets were received. Returns for how many ms no more are to be read; 0: read on. Also says so
 * again later (with bytes 0) while the pause lasts. now_ns: CLOCK_MONOTONIC. */
uint32_t fence_received(
	struct fence *fence, struct fence_client *client, size_t bytes, uint64_t now_ns);

/* It completed a TLS session in which mail was accepted: its strikes are forgiven, and it is
 * remembered. */
void fence_behaved(struct fence *fence, struct fence_client *client);
/* Mail was accepted from it in clear: its strikes are forgiven, no more. */
void fence_forgive(struct fence *fence, struct fence_client *client);

/* "connection rate of your network", for the text of a 421; static. */
const char *fence_reason_text(enum fence_reason reason);
/* "over_connections", for logs, JSON and labels; static. */
const char *fence_reason_word(enum fence_reason reason);
const char *fence_class_word(enum fence_class class);
const char *fence_hook_word(enum fence_hook hook);
enum fence_verdict fence_reason_verdict(enum fence_reason reason);

/* ---- the operator's view and hand ---- */

enum fence_running { FENCE_RUNNING_KERNEL, FENCE_RUNNING_USER, FENCE_RUNNING_OFF };

struct fence_status {
	enum fence_running running;
	const char *why;   /* not in the kernel: what is missing and how to grant it; "" */
	const char *hooks; /* "cgroup_skb sockops xdp:eth0 (native)" */
	const char *pin;   /* NULL: not pinned */
	uint32_t sources_max;
	uint64_t sources_kernel; /* entries now; by fence_sizes() */
	uint64_t sources_user;
	uint64_t nets;      /* entries of the lists */
	uint64_t behaved;   /* sources remembered; by fence_sizes() */
	uint64_t penalties; /* running; by fence_sizes() */
	bool sources_partial, behaved_partial, penalties_partial; /* there are at least so many */
	uint64_t samples_dropped;
	struct fence_totals totals; /* kernel's and the gateway's gauges together; tat: the later */
	const struct fence_rules *rules;
};
void fence_status(struct fence *fence, struct fence_status *out);
/* Fills what it takes a walk through the tables to know, and only that. No walk goes past
 * FENCE_SIZES_MAX entries and a batch: what is counted then is a part, and marked so. */
#define FENCE_SIZES_MAX 32768
void fence_sizes(struct fence *fence, struct fence_status *out);

/* Sums of all CPUs and threads, by who decided. */
struct fence_counts {
	struct fence_count by[2][FENCE_CLASSES][FENCE_REASONS]; /* [0]: kernel, [1]: gateway */
};
void fence_counts(struct fence *fence, struct fence_counts *out);

enum fence_order {
	FENCE_ORDER_REFUSED,
	FENCE_ORDER_OPEN,
	FENCE_ORDER_BYTES,
	FENCE_ORDER_CONNECTIONS, /* that were let in */
	FENCE_ORDER_HANDSHAKES,  /* unfinished now, then strikes; only who has one */
	FENCE_ORDER_PENALTY,     /* time left; only who has one */
	FENCE_ORDERS
};

struct fence_seen {
	struct network source;
	struct fence_source state; /* kernel's and the gateway's together */
	enum fence_standing standing;
	uint64_t penalty_ns; /* left; 0: none */
	uint32_t strikes;
};
/*
 * The n sources with most, first. Returns how many were written. The control thread waits for it, so a
 * call looks at no more of each table than FENCE_TOP_ENTRIES sources and a batch: enough for all of
 * them by default. *part: these were not all, and the next call of this order goes on behind them.
 */
#define FENCE_TOP_ENTRIES 65536
size_t fence_top(
	struct fence *fence, enum fence_order order, struct fence_seen *out, size_t n, bool *part);

/* One line of explain: a budget, what is left of it. */
struct fence_left {
	const char *budget; /* "connections", "handshakes_open" ... as in the configuration */
	bool gauge;
	uint64_t rate, burst;         /* rates; a gauge has its limit in burst; ~0: no limit */
	uint64_t left;                /* of the source's; ~0: no limit */
	uint64_t all_rate, all_burst; /* the budget behind it */
	uint64_t all_left;
	const char *where; /* "kernel", "gateway" */
};
#define FENCE_LEFTS_MAX (FENCE_METERS + FENCE_GAUGES)

struct fence_explained {
	struct network source; /* the prefix that the address counts as */
	enum fence_reason
		verdict; /* what a new connection would get now: nothing is taken for asking */
	enum fence_standing standing;
	uint64_t behaved_ns; /* left; 0 */
	uint64_t penalty_ns;
	uint32_t strikes;
	bool listed; /* by the networks below */
	struct network net;
	struct fence_net entry;
	bool seen;
	struct fence_source state;
	struct fence_left lefts[FENCE_LEFTS_MAX];
	size_t lefts_n;
};
void fence_explain(
	struct fence *fence, const uint8_t address[NETWORK_BYTES], struct fence_explained *out);

struct fence_listed {
	struct network net;
	struct fence_net entry;
};
/* Allows or blocks a network until then (until_ns 0: for good). An entry of the configuration is
 * overruled until it is taken away. -ENOSPC: FENCE_NETS_MAX. */
MUST_USE int fence_list_put(struct fence *fence, const struct network *net,
	enum fence_action action, uint64_t until_ns);
/* The operator's entry for exactly this network, and a penalty of the source that it is. False:
 * there was none. */
bool fence_list_drop(struct fence *fence, const struct network *net);
/*
 * The source that the address counts as is as if it had never come: budgets, counts, strikes, a
 * penalty, good standing. Entries of the lists stay. *before is what explain said of it. Connections
 * that are open: the gateway goes on counting its own, the kernel's are held against nobody. False:
 * nothing was known.
 */
MUST_USE bool fence_source_forget(
	struct fence *fence, const uint8_t address[NETWORK_BYTES], struct fence_explained *before);
/* Copies entries from the index on; returns how many. */
size_t fence_list(struct fence *fence, size_t from, struct fence_listed *out, size_t n);

/* ---- the control thread's turn ---- */

/* To poll for input, then fence_turn(). -1: none. */
int fence_fd(const struct fence *fence);
/* Reads samples and first refusals of a source in a minute (both into the log, at most
 * FENCE_SAMPLES_A_TURN lines a second of each), takes away what has expired. To be called at least
 * once a second. */
void fence_turn(struct fence *fence);
/* The last samples, newest first; returns how many. */
#define FENCE_SAMPLES_KEPT   64
#define FENCE_SAMPLES_A_TURN 10
size_t fence_samples(const struct fence *fence, struct fence_sample *out, size_t n);

#endif
