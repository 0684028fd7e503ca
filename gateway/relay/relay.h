/* SPDX-License-Identifier: MIT */
/*
 * relay.h -- takes messages out of the spool and delivers them: Maildir, LMTP, SMTP, MX.
 *
 * One relay a worker, on the worker's ring and spool. What it does for a message:
 *
 *	route.c         domain -> route
 *	schedule.c      the turn, limits over all destinations, beginning and end
 *	destination.c   a route, or a route's domain: a line of work, hops, who serves whom
 *	hop.c           a next hop's health: fail-over, weights, back-off, slow start
 *	entry.c trip.c  a message and its recipients at one destination, until they are served
 *	run.c settle.c  one transaction: body, outcomes, reports, attempts, retries, expiry
 *	link.c dial.c   connections kept, connections opened: names, MX, addresses
 *	trust.c         what a domain's DANE or MTA-STS asks for of a connection to its MX
 *	trust_ask.c     a domain's MTA-STS policy: TXT, cache, addresses, fetch
 *	trust_note.c    what came of it: log, counters, TLS reports
 *	direct.c        jobs that do not come from the spool
 *	client.c        one outbound connection: connect, TLS, EHLO, transactions, RSET, idle, QUIT
 *	hello.c transaction.c ending.c wire.c   its EHLO, its transactions, how it ends, its octets
 *	reply.c         the reply parser, sans-IO
 *	body.c          a message's octets to a connection: BDAT by splice or DATA, dot-stuffed
 *	maildir.c       a message into Maildirs
 *	resolve.c       MX, A, AAAA, TXT, TLSA by libunbound on the ring
 *	dsn.c           RFC 3464 reports, written into the spool as messages of our own
 *	callout.c       asks a next hop about a recipient, for policy/
 *	cut.c           delivers a message before it is spooled
 *	tls_report.c    refreshes policies, sends TLS reports: one worker's
 *	query.c         the operator's view and hand, with filter.c and operate.c
 */
#ifndef POSTERN_RELAY_RELAY_H
#define POSTERN_RELAY_RELAY_H

#include "config/settings.h"
#include "policy/policy.h"
#include "ring/ring.h"
#include "spool/spool.h"
#include "stscache/stscache.h"
#include "tls/tls.h"
#include "tlsrpt/tlsrpt.h"

struct relay;
struct relay_routes;

/*
 * The routes of the configuration and of the routes file, shared by all workers; counted. A reload
 * makes a new one. -1 and err ("FILE:LINE: ...").
 */
MUST_USE int relay_routes_open(
	struct relay_routes **out, const struct relay_settings *settings, struct err *err);
struct relay_routes *relay_routes_hold(struct relay_routes *routes); /* +1, any thread */
void relay_routes_release(struct relay_routes *routes);
/* The route for a domain (any case; empty: <postmaster>, routed as `hostname`'s); NULL: none. */
const struct route_settings *relay_route(const struct relay_routes *routes, struct span domain);

/* All pointers outlive the relay. */
struct relay_facts {
	const struct config *config;
	const struct tls_kernel *kernel;
	struct tls_client *const *tls; /* one for each of settings->routes, in their order; NULL
					  entries where tls = none; with CAs where tls = policy */
	struct ring *ring;
	struct spool *spool;
	const int *maildir_fds; /* one for each of settings->maildirs */
	/* For routes with tls = policy; each may be NULL, then that part is not done. */
	struct stscache *stscache;
	struct tlsrpt *tlsrpt;
	struct fetch *fetch; /* for reports by POST */
	uint32_t worker;     /* 0: refreshes policies and sends reports */
};

/* On the worker's thread, before its seccomp filter. Holds `routes`. Becomes the spool's reader;
 * relay_start() calls spool_start() and begins. */
MUST_USE int relay_open(struct relay **out, const struct relay_facts *facts,
	struct relay_routes *routes, struct err *err);
void relay_start(struct relay *relay);
void relay_close(struct relay *relay); /* when idle */

/* From now on new jobs go by these routes; takes over the caller's count. */
void relay_use(struct relay *relay, struct relay_routes *routes);

void relay_turn(struct relay *relay);  /* at the end of every turn of the loop, before spool_turn */
void relay_drain(struct relay *relay); /* starts no new transaction; ends those under way */
void relay_abort(struct relay *relay); /* closes every connection now */
/* Draining is over: no connection, no delivery, no question under way. */
bool relay_idle(const struct relay *relay);

/* What policy/ asks about recipients whose domain is checked by callout. */
struct policy_callout *relay_callout(struct relay *relay);

/* ---- the operator's view and hand ---- */

enum relay_query_kind {
	RELAY_QUERY_LIST,
	RELAY_QUERY_SHOW,  /* by id */
	RELAY_QUERY_COUNT, /* by destination */
	/* the others change what they match */
	RELAY_QUERY_RETRY, /* now */
	RELAY_QUERY_HOLD,
	RELAY_QUERY_RELEASE,
	RELAY_QUERY_DELETE, /* without a DSN */
	RELAY_QUERY_BOUNCE, /* with one */
	RELAY_QUERY_FLUSH,  /* a destination: forget its back-off and try now */
};

enum relay_entry_state {
	RELAY_STATE_ACTIVE,   /* being delivered */
	RELAY_STATE_READY,    /* waits for a connection */
	RELAY_STATE_DEFERRED, /* waits for its time */
	RELAY_STATE_HELD,
	RELAY_STATE_COUNT
};
extern const char *const relay_state_names[RELAY_STATE_COUNT]; /* "active" ... */

/* Empty strings and zeros match everything. Addresses are compared whole, ASCII case apart;
 * "@domain" matches any address there. */
struct relay_filter {
	uint64_t id;
	char sender[320];            /* "<>": the null reverse-path */
	char recipient[320];         /* a pending one */
	char domain[256];            /* of a pending recipient */
	char destination[300];       /* as COUNT prints it */
	unsigned states;             /* mask of 1 << enum relay_entry_state; 0: all */
	uint64_t older_s, younger_s; /* age */
};

struct relay_query {
	enum relay_query_kind kind;
	struct relay_filter filter;
	uint64_t after; /* ids above this one */
	uint32_t limit; /* LIST: at most so many items */
};

struct relay_item_recipient {
	char address[320];
	char destination[300]; /* "": none yet */
	uint8_t fate;          /* enum spool_fate */
};

struct relay_item {
	uint64_t id;
	uint64_t arrived_real_s, due_real_s, size;
	uint32_t attempts;
	enum relay_entry_state state;
	char sender[320];
	uint32_t recipients_n; /* of the message */
	uint32_t shown_n;      /* LIST: at most 4; SHOW: all */
	struct relay_item_recipient *recipients;
	char last[SPOOL_TEXT_MAX]; /* of the newest attempt */
	/* SHOW only */
	char envid[128];
	char path[64]; /* below the store's directory: where the octets are */
	uint64_t offset;
	struct spool_attempt_record tries[SPOOL_ATTEMPTS_MAX];
	uint32_t tries_n;
};

struct relay_tally {
	char destination[300];
	uint64_t messages[RELAY_STATE_COUNT];
	uint64_t recipients;
	uint64_t oldest_real_s;
	bool down; /* in back-off */
	uint64_t due_real_s;
	char last[SPOOL_TEXT_MAX];
};

struct relay_answer {
	uint64_t matched; /* entries; all of them, beyond `limit` too unless `more` */
	uint64_t states[RELAY_STATE_COUNT]; /* COUNT: the matched ones; a message counts once here,
					       and in every destination's tally that it has */
	uint64_t scanned;
	bool more; /* ask again with after = last: RELAY_SCAN_MAX or limit was reached */
	uint64_t last;
	struct relay_item *items;
	uint32_t items_n;
	struct relay_tally *tallies;
	uint32_t tallies_n;
};

#define RELAY_SCAN_MAX 20000 /* entries a question looks at: a worker's turn stays short */

/* On the worker's thread. The answer is allocated; relay_answer_free() from any thread. */
void relay_query(struct relay *relay, const struct relay_query *query, struct relay_answer *answer);
void relay_answer_free(struct relay_answer *answer);

#endif
