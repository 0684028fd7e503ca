/* SPDX-License-Identifier: MIT */
/*
 * worker.h -- one thread of load: an epoll loop over connections that each walk through SMTP.
 *
 *	worker.c   when to begin: closed loop, open loop, idle sessions; the loop and its clocks
 *	conn.c     one connection: socket, TLS, sending and receiving, failing and ending
 *	dialog.c   what the reply means and what to say next
 *
 * Workers share nothing but struct run. A connection is a slot that is used again and again; it is
 * always in exactly one list of its worker. Nothing is allocated for a message; OpenSSL
 * allocates for a connection.
 */
#ifndef POSTERN_BENCH_LOAD_WORKER_H
#define POSTERN_BENCH_LOAD_WORKER_H

#include <pthread.h>

#include "base/list.h"
#include "bench/lib/arrival.h"
#include "bench/lib/reply.h"
#include "bench/lib/sizes.h"
#include "bench/lib/wire.h"
#include "bench/load/content.h"
#include "bench/load/options.h"
#include "bench/load/stats.h"

#define CONN_OUT_MAX   8
#define SCRATCH_BYTES  65536
#define FLUSH_OCTETS   262144      /* of one connection before the others have their turn */
#define PAUSE_NS       50000000ull /* after a failed connection */
#define WORKER_TICK_NS 100000000ll /* how long a stop may go unnoticed */
#define EVENTS_MAX     256

/* What the workers of a run share. */
struct run {
	const struct options *options;
	const struct content *content;
	SSL_CTX *context;
	uint64_t start_ns;
	_Atomic uint64_t claimed; /* messages (sessions) given out; numbers follow from it */
	_Atomic bool stop;        /* begin nothing more */
	_Atomic bool release;     /* --idle: end the held sessions */
};

struct worker;

struct conn {
	struct wire wire;
	struct list node;
	struct worker *worker;
	SSL_SESSION *session; /* to resume */
	enum stage stage;
	bool has_message; /* one was given to this connection and is not yet accounted for */
	bool refused;     /* ... was, but replies to pipelined commands are outstanding */
	bool quit_sent;
	bool recipient;    /* at least one was accepted */
	uint8_t offers;    /* EHLO keywords */
	uint32_t messages; /* done on this connection */
	uint32_t rcpt_left;
	uint32_t chunks_left; /* replies to BDAT */
	uint32_t chunk_from;  /* octets of the message given to BDAT so far */
	uint64_t touched_ns;
	uint64_t opened_ns;
	uint64_t due_ns;
	uint64_t begun_ns;
	struct reply reply;
	unsigned out_at;
	unsigned out_n;
	struct iovec out[CONN_OUT_MAX];
	char command[40];
	struct message message;
};

struct worker {
	struct run *run;
	const struct options *options;
	const struct content *content;
	unsigned index;
	pthread_t thread;
	int epoll;
	bool exhausted; /* nothing more will be begun */
	uint32_t conns_n;
	uint32_t working; /* slots in neither free nor held */
	uint32_t mailbox; /* next */
	uint32_t source;  /* next */
	struct conn *conns;
	struct list free;
	struct list active; /* waiting for the server, longest first */
	struct list ready;  /* open, without a message */
	struct list pause;
	struct list held;
	uint64_t now_ns; /* since the start of the run */
	uint64_t end_ns;
	uint64_t ramp_ns;
	uint64_t timeout_ns;
	uint64_t due_ns; /* open loop: the next message; UINT64_MAX: none */
	double rate;
	struct arrival arrival;
	struct sizes sizes;
	EVP_MD_CTX *hash;
	struct stats stats;
	uint8_t scratch[SCRATCH_BYTES];
};

MUST_USE int worker_open(struct worker *worker, struct run *run, unsigned index, struct err *err);
void worker_run(struct worker *worker);
void worker_close(struct worker *worker);

/* Nanoseconds since the start of the run. */
uint64_t worker_clock(const struct worker *worker);

/* For a connection whose message is done: gives it the next one, if there is one that may begin
 * now. When not, *more says whether there may be one later. */
MUST_USE bool worker_next(struct worker *worker, struct conn *conn, bool *more);

/* ---- conn.c ---- */

void conn_start(struct conn *conn); /* a free slot that was given a message */
void conn_event(struct conn *conn, uint32_t events);
void conn_timeout(struct conn *conn);
/* Ends the connection; its message, if any, failed that way. */
void conn_fail(struct conn *conn, enum fail why);
void conn_close(struct conn *conn);
void conn_say(struct conn *conn, const void *p, size_t n); /* p must stay */
void conn_flush(struct conn *conn);
void conn_tls(struct conn *conn);
void conn_list(struct conn *conn, struct list *list); /* moves to the end of a list */

/* Counts the message as failed, the connection goes on. */
void conn_message_failed(struct conn *conn, enum fail why);

/* ---- dialog.c ---- */

void dialog_enter(struct conn *conn, enum stage stage);
void dialog_line(struct conn *conn);    /* a line of a reply, not the last */
void dialog_reply(struct conn *conn);   /* a whole reply */
void dialog_message(struct conn *conn); /* begins the message that the connection was given */
void dialog_drained(struct conn *conn); /* all was sent */
void dialog_quit(struct conn *conn);
void dialog_shaken(struct conn *conn); /* --handshakes: the server closed after the handshake */

#endif
