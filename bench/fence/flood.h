/* SPDX-License-Identifier: MIT */
/*
 * flood.h -- the attacker of bench/fence/run: bounded bad traffic inside a network namespace.
 *
 *	flood.c     the command line, the guard, the report
 *	syn.c       SYNs as raw frames: nothing is kept of a connection
 *	talk.c      real connections: left open, left unfinished, kept busy
 *
 * One thread, cheap on purpose: what it takes is not there for the server that it attacks, so a run
 * is compared to one with the same flood at a dead address.
 */
#ifndef POSTERN_BENCH_FENCE_FLOOD_H
#define POSTERN_BENCH_FENCE_FLOOD_H

#include <net/if.h>
#include <signal.h>

#include "bench/lib/host.h"

enum flood_kind {
	FLOOD_SYN,      /* raw SYNs */
	FLOOD_CONNECT,  /* connect, wait for the banner, hold, reset */
	FLOOD_STARTTLS, /* as far as 220 to STARTTLS, perhaps a ClientHello, and nothing more */
	FLOOD_TRICKLE,  /* EHLO, then a line or an octet every so often */
	FLOOD_KINDS
};

#define FLOOD_RATE_MAX    200000u
#define FLOOD_SECONDS_MAX 120u
#define FLOOD_COUNT_MAX   20000000u
#define FLOOD_OPEN_MAX    50000u

struct flood {
	enum flood_kind kind;
	struct host target;
	struct host source; /* the first; n 0: the kernel's choice */
	uint32_t sources;
	bool nets;      /* the next source is the next /64, not the next address */
	uint32_t rate;  /* attempts a second */
	uint64_t count; /* attempts in all */
	double seconds;
	uint32_t open; /* connections at a time */
	uint32_t hold_ms;
	uint32_t every_ms;
	uint32_t answer_ms; /* how long to wait for a connection, a reply */
	bool hello;
	bool octet;
	char device[IF_NAMESIZE];
	uint8_t mac[6];
};

struct flood_counts {
	uint64_t attempts;
	uint64_t send_errors;
	/* talk */
	uint64_t connected;
	uint64_t banners;
	uint64_t refused_421;
	uint64_t starttls_refused; /* another no to STARTTLS */
	uint64_t unfinished;       /* handshakes that were left at their beginning */
	uint64_t flights;          /* answers to a ClientHello */
	uint64_t closed;           /* by the server, without a word */
	uint64_t reset;
	uint64_t timed_out; /* never connected */
	uint64_t silent;    /* connected, no reply in time */
	uint64_t lines;     /* that were trickled */
	uint64_t replies;
	uint64_t open_most;
	uint64_t octets_in;
	uint64_t octets_out;
	/* syn */
	uint64_t syn_acks;
	uint64_t resets;
};

extern volatile sig_atomic_t flood_stop;

uint64_t flood_now_ns(void);
/* The i-th attempt's source. */
struct host flood_source(const struct flood *flood, uint64_t i);
/* How many attempts are due, at most `most`. */
uint64_t flood_due(const struct flood *flood, uint64_t started_ns, uint64_t now_ns, uint64_t done,
	uint64_t most);
/* Time is up, or all `count` attempts are done. */
bool flood_over(const struct flood *flood, uint64_t started_ns, uint64_t now_ns, uint64_t done);

MUST_USE int syn_flood(const struct flood *flood, struct flood_counts *counts, struct err *err);
MUST_USE int talk_flood(const struct flood *flood, struct flood_counts *counts, struct err *err);

#endif
