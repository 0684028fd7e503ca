/* SPDX-License-Identifier: MIT */
/* fence-private.h -- what the files of fence/ share. */
#ifndef POSTERN_FENCE_PRIVATE_H
#define POSTERN_FENCE_PRIVATE_H

#include "base/clock.h"
#include "bpf/rules.h"
#include "fence/fence.h"

#define FENCE_WHY_MAX   ERR_TEXT_MAX
#define FENCE_HOOKS_MAX 640 /* 16 interfaces */

struct fence_limiter;
struct fence_lists;
struct fence_kernel;
struct fence_refusals;

struct fence {
	enum fence_running running;
	struct fence_rules rules;      /* replaced at a reload, word by word, while workers read */
	struct fence_settings fixed;   /* of the start; its lists and names are not kept */
	struct fence_limiter *limiter; /* NULL: off */
	struct fence_lists *lists;     /* NULL: off */
	struct fence_kernel *kernel;   /* NULL: not running there */
	char why[FENCE_WHY_MAX];
	struct fence_sample samples[FENCE_SAMPLES_KEPT]; /* a ring, the control thread's */
	uint32_t samples_n;                              /* ever */
	struct fence_refusals *refusals;                 /* NULL: off */
	uint32_t refused;               /* the gateway's own, for sampling; atomic */
	struct fence_listed *balancers; /* networks of listeners' `proxy`: always allowed */
	size_t balancers_n;
	/* Where the last top of each order ended, in the kernel's table and in the gateway's. */
	struct fence_place {
		uint32_t kernel, gateway;
	} top_from[FENCE_ORDERS];
};

/* CLOCK_MONOTONIC, by way of clock.h's seam: to the millisecond, which is fine enough for budgets. */
static inline uint64_t fence_now_ns(void)
{
	return clock_ms() * 1000000;
}

/* ---- rules.c ---- */

/* hash_key is random and stays what it was when `old` is not NULL. */
void fence_rules_make(struct fence_rules *out, const struct fence_settings *settings,
	const struct fence_rules *old);
/* A rate in units a second and a burst in units; rate 0: no limit. */
struct fence_rate fence_rate_make(uint64_t rate, uint64_t burst);
/* The way back, for people to read. */
uint64_t fence_rate_units(const struct fence_rate *rate);
uint64_t fence_rate_burst(const struct fence_rate *rate);
/* Bits of a source's network, of 128. */
static inline uint8_t fence_source_bits(
	const struct fence_rules *rules, const uint8_t address[NETWORK_BYTES])
{
	return fence_is_v4(address) ? (uint8_t)(96 + rules->bits_v4) : rules->bits_v6;
}
/* The budget's names as the configuration has them: "connections", "handshakes_open" ... */
const char *fence_meter_word(enum fence_meter meter);
const char *fence_gauge_word(enum fence_gauge gauge);

/* ---- limiter.c: the gateway's own sources; safe for all threads at once ---- */

MUST_USE int fence_limiter_open(struct fence_limiter **out, uint32_t sources_max, struct err *err);
void fence_limiter_close(struct fence_limiter *limiter);

/* The source's entry, made if it is not there (the longest unused one without a holder goes where
 * its part of the table is full); NULL: every entry there is held. +1 holder. */
struct fence_entry *fence_limiter_hold(
	struct fence_limiter *limiter, const uint8_t source[NETWORK_BYTES], uint64_t now_ns);
void fence_limiter_release(struct fence_limiter *limiter, struct fence_entry *entry);

struct fence_entry {
	struct fence_source state; /* by atomic operations only (bpf/rules.h) */
	uint8_t source[NETWORK_BYTES];
	/* atomic */
	uint64_t behaved_until_ns;
	uint64_t penalty_until_ns;
	uint64_t told_ns; /* when the kernel was last told that it behaved */
	uint64_t strike_ns;
	uint32_t strikes; /* gone when none came for penalty_ns */
	/* the table's */
	uint32_t holders;
	uint32_t next;
	uint32_t older, newer;
	uint32_t order; /* which of the stripe's lists it is in */
};

struct fence_totals *fence_limiter_totals(struct fence_limiter *limiter);
void fence_limiter_count(struct fence_limiter *limiter, enum fence_class class,
	enum fence_reason reason, uint64_t bytes);
void fence_limiter_counts(
	const struct fence_limiter *limiter, struct fence_count out[FENCE_CLASSES][FENCE_REASONS]);
/* Visits copies of n_max entries at most, of those from *from on; holds a stripe's lock only while it
 * copies one. False: there are more, and *from is the next. True: it is 0 again. */
bool fence_limiter_some(struct fence_limiter *limiter, uint32_t *from, uint64_t n_max,
	void (*visit)(void *ctx, const struct fence_entry *entry), void *ctx);
bool fence_limiter_find(struct fence_limiter *limiter, const uint8_t source[NETWORK_BYTES],
	struct fence_entry *out);
uint64_t fence_limiter_sources(const struct fence_limiter *limiter);
/* Takes a penalty and strikes away. False: there was no penalty. */
bool fence_limiter_forgive(
	struct fence_limiter *limiter, const uint8_t source[NETWORK_BYTES], uint64_t now_ns);
/* A refusal for the control thread to see; thrown away where it does not keep up. */
void fence_limiter_sample(struct fence_limiter *limiter, const struct fence_sample *sample);
/* Takes at most n of them, oldest first. */
size_t fence_limiter_samples(struct fence_limiter *limiter, struct fence_sample *out, size_t n);
uint64_t fence_limiter_samples_dropped(struct fence_limiter *limiter);

/* ---- refusals.c ---- */

#define REFUSALS_TOLD_S 60 /* a source gets a line at most once in so long */

MUST_USE int fence_refusals_open(struct fence_refusals **out, struct err *err);
void fence_refusals_close(struct fence_refusals *refusals);
/* Was the source (fence_hash() of it) not told of for REFUSALS_TOLD_S? From now on it was. Any
 * thread. */
MUST_USE bool fence_refusals_first(struct fence_refusals *refusals, uint64_t hash, uint64_t now_ns);
/* Its next refusal is a first one again. */
void fence_refusals_forget(struct fence_refusals *refusals, uint64_t hash);
/* A first refusal, for fence_turn() to tell of. Any thread. */
void fence_refusals_put(struct fence_refusals *refusals, const struct fence_sample *refusal);

/* ---- client.c ---- */

/* For how long the board says to read no more of a client's, in ms; 0: read on. */
uint32_t fence_board_pause(
	const struct fence_board *board, const struct fence_client *client, uint64_t now_ns);

/* ---- lists.c ---- */

MUST_USE int fence_lists_open(struct fence_lists **out, struct err *err);
void fence_lists_close(struct fence_lists *lists);
/* What the longest prefix that has not expired says; 0: nothing. Any thread. */
enum fence_action fence_lists_match(
	struct fence_lists *lists, const uint8_t address[NETWORK_BYTES], uint64_t now_ns);
/* The entry that decides, with its network. False: none. */
bool fence_lists_find(struct fence_lists *lists, const uint8_t address[NETWORK_BYTES],
	uint64_t now_ns, struct fence_listed *out);
/* `on_change` is told what the kernel is to know of a network now (net.action 0: nothing). */
typedef void fence_lists_changed(
	void *ctx, const struct network *network, const struct fence_net *net);
void fence_lists_on_change(struct fence_lists *lists, fence_lists_changed *changed, void *ctx);
MUST_USE int fence_lists_put(
	struct fence_lists *lists, const struct network *network, const struct fence_net *net);
/* All of the operator's, and `on_change` is not told: the kernel's are not ours to judge. */
void fence_lists_forget(struct fence_lists *lists);
/* The operator's. */
bool fence_lists_drop(struct fence_lists *lists, const struct network *network);
/* All entries of the configuration are these from now on; the operator's stay. */
MUST_USE int fence_lists_config(
	struct fence_lists *lists, const struct fence_listed *entries, size_t n);
void fence_lists_expire(struct fence_lists *lists, uint64_t now_ns);
size_t fence_lists_copy(struct fence_lists *lists, size_t from, struct fence_listed *out, size_t n);
size_t fence_lists_count(const struct fence_lists *lists);

/* ---- kernel.c: the programs and their maps ---- */

/*
 * Loads and attaches; the maps are empty but for rules and listeners, or, where pinned ones of this
 * FENCE_ABI and these sizes were found, as they were. -1: not possible, and err says what is
 * missing and how to grant it, in one line.
 */
MUST_USE int fence_kernel_open(struct fence_kernel **out, const struct fence_settings *settings,
	struct fence_rules *rules, const struct listener_settings *listeners, size_t listeners_n,
	const int *listen_fds, size_t per_listener, struct err *err);
/* With `detach`, nothing of it runs afterwards, and no pin stays. */
void fence_kernel_close(struct fence_kernel *kernel, bool detach);
/* In the child: gives up what only the parent is to have, the descriptors of what is attached. */
void fence_kernel_child(struct fence_kernel *kernel);
const char *fence_kernel_pin(const struct fence_kernel *kernel); /* NULL: not pinned */
const char *fence_kernel_hooks(const struct fence_kernel *kernel);

void fence_kernel_rules(struct fence_kernel *kernel, const struct fence_rules *rules);
/* Socket storage; any thread. 0 or -errno. */
int fence_kernel_mark(struct fence_kernel *kernel, int fd, enum fence_class class);
/* until_ns 0: forget. Any thread. */
void fence_kernel_behaved(
	struct fence_kernel *kernel, const uint8_t source[NETWORK_BYTES], uint64_t until_ns);
void fence_kernel_penalty(
	struct fence_kernel *kernel, const uint8_t source[NETWORK_BYTES], uint64_t until_ns);
/* All that is known of it there; its connections that are open are not counted any more. */
void fence_kernel_forget(struct fence_kernel *kernel, const uint8_t source[NETWORK_BYTES]);
/* net->action 0: takes it away. */
void fence_kernel_net(
	struct fence_kernel *kernel, const struct network *network, const struct fence_net *net);
/* What operators had put into a pinned list. */
void fence_kernel_nets_each(struct fence_kernel *kernel,
	void (*visit)(void *ctx, const struct network *network, const struct fence_net *net),
	void *ctx);
/* Mapped memory, read by any thread; the programs write. */
const struct fence_board *fence_kernel_board(const struct fence_kernel *kernel);
const struct fence_totals *fence_kernel_totals(const struct fence_kernel *kernel);

bool fence_kernel_source(struct fence_kernel *kernel, const uint8_t source[NETWORK_BYTES],
	struct fence_source *state, uint64_t *behaved_until_ns, uint64_t *penalty_until_ns);
/* As fence_limiter_some(), but for a batch more. */
bool fence_kernel_sources_some(struct fence_kernel *kernel, uint32_t *from, uint64_t n_max,
	void (*visit)(
		void *ctx, const uint8_t source[NETWORK_BYTES], const struct fence_source *state),
	void *ctx);
bool fence_kernel_penalties_some(struct fence_kernel *kernel, uint32_t *from, uint64_t n_max,
	void (*visit)(
		void *ctx, const uint8_t source[NETWORK_BYTES], uint64_t until_ns, bool penalty),
	void *ctx);
/* Who is remembered there, as having behaved or under a penalty, for a gateway that has just begun. */
void fence_kernel_standings_each(struct fence_kernel *kernel,
	void (*visit)(
		void *ctx, const uint8_t source[NETWORK_BYTES], uint64_t until_ns, bool penalty),
	void *ctx);
/* sources_kernel, behaved, penalties. */
void fence_kernel_sizes(struct fence_kernel *kernel, struct fence_status *out);
void fence_kernel_counts(
	struct fence_kernel *kernel, struct fence_count out[FENCE_CLASSES][FENCE_REASONS]);

int fence_kernel_samples_fd(const struct fence_kernel *kernel);
/* At most n of them; returns how many there were. */
size_t fence_kernel_samples(struct fence_kernel *kernel, struct fence_sample *out, size_t n);

#endif
