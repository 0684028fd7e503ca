/* SPDX-License-Identifier: MIT */
/*
 * stats.h -- what a worker counts, the sum over workers, and the ways of failing.
 *
 * One writer each; the main thread reads the counters while they grow (progress line), so they are
 * relaxed atomics. Histograms are read after the worker has ended.
 */
#ifndef POSTERN_BENCH_LOAD_STATS_H
#define POSTERN_BENCH_LOAD_STATS_H

#include <stdatomic.h>

#include "bench/lib/hist.h"

#define STATS_SECONDS_MAX 7200 /* of the course; later seconds count in the last slot */
#define STATS_TLS_MAX     8    /* kinds of handshakes; further ones are not told apart */

/* How a message (with --idle: a session) failed. */
enum fail {
	FAIL_CONNECT, /* refused, reset or unreachable before the banner was begun */
	FAIL_TLS,     /* handshake, or a fault of the record layer */
	FAIL_REPLY_4XX,
	FAIL_REPLY_5XX,
	FAIL_PROTOCOL, /* not SMTP, an unexpected 2xx or 3xx, an extension not offered */
	FAIL_TIMEOUT,
	FAIL_CLOSED,   /* the server closed or reset the connection */
	FAIL_UNSERVED, /* open loop: due, but no connection became free in time */
	FAIL_COUNT
};

extern const char *const fail_names[FAIL_COUNT];

enum stage {
	STAGE_FREE,
	STAGE_CONNECT,
	STAGE_BANNER,
	STAGE_EHLO,
	STAGE_STARTTLS,
	STAGE_HANDSHAKE,
	STAGE_READY, /* between messages, waiting for one that is due */
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA,
	STAGE_BODY, /* the message is on its way: its last reply is awaited */
	STAGE_CHUNK,
	STAGE_RSET,
	STAGE_QUIT,
	STAGE_CLOSE, /* --handshakes: the server is to close */
	STAGE_IDLE,  /* held open */
	STAGE_PAUSE, /* after a failed connection */
	STAGE_COUNT
};

extern const char *const stage_names[STAGE_COUNT];

/* Handshakes with the same outcome. The names are OpenSSL's and live as long as its context. */
struct stats_tls {
	const char *version;
	const char *cipher;
	const char *group; /* key exchange */
	uint64_t n;
};

struct stats {
	_Atomic uint64_t accepted;
	_Atomic uint64_t octets; /* of accepted messages */
	_Atomic uint64_t failed[FAIL_COUNT];
	_Atomic uint64_t failed_at[STAGE_COUNT];
	_Atomic uint64_t connections; /* begun */
	_Atomic uint64_t sessions;    /* that came as far as EHLO's answer */
	_Atomic uint64_t handshakes;
	_Atomic uint64_t resumed;
	_Atomic uint64_t dropped; /* closed by the server between messages: nobody's failure */
	_Atomic uint64_t lost;    /* --idle: sessions closed while they were held */
	_Atomic uint64_t stood;   /* --idle: sessions still open when all were let go */
	_Atomic int64_t held;     /* --idle: open now */
	_Atomic int64_t open;     /* connections now */
	_Atomic uint64_t bytes_in;
	_Atomic uint64_t bytes_out;

	/* After the ramp only. */
	uint64_t measured;
	uint64_t measured_octets;
	uint64_t last_ns;    /* when the last message was answered, since the start */
	struct hist latency; /* from when the message was due */
	struct hist service; /* from when work on it began; the same in closed loop */
	struct hist setup;   /* from connect to EHLO's (last) answer */
	uint32_t seconds[STATS_SECONDS_MAX]; /* accepted in each second */
	struct stats_tls tls[STATS_TLS_MAX]; /* the first free one has no version */
};

static inline void stat_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

static inline void stat_move(_Atomic int64_t *gauge, int64_t n)
{
	atomic_store_explicit(
		gauge, atomic_load_explicit(gauge, memory_order_relaxed) + n, memory_order_relaxed);
}

void stats_init(struct stats *stats);
/* Counts handshakes with these names. */
void stats_tls_add(struct stats *stats, const struct stats_tls *some);
void stats_merge(struct stats *to, struct stats *from);
uint64_t stats_failed(struct stats *stats);

#endif
