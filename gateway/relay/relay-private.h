/* SPDX-License-Identifier: MIT */
/*
 * relay-private.h -- what relay/'s files share. The lower half (reply, body, client, resolve) knows
 * connections and one job at a time; the upper half (route, hop, schedule, dsn, callout, cut, query)
 * knows messages and destinations. They meet in struct relay_job and struct relay_client's calls.
 */
#ifndef POSTERN_RELAY_PRIVATE_H
#define POSTERN_RELAY_PRIVATE_H

#include "base/event.h"
#include "base/pool.h"
#include "relay/relay.h"

#define RELAY_REPLY_MAX       512   /* octets of a reply's text that are kept, with the NUL */
#define RELAY_REPLY_LINES_MAX 128   /* of one reply; more end the connection */
#define RELAY_REPLY_LINE_MAX  2048  /* octets */
#define RELAY_ADDRESSES_MAX   16    /* of one host that are tried */
#define RELAY_MX_MAX          16    /* MX hosts that are tried (RFC 5321 5.1) */
#define RELAY_IO_BYTES        16384 /* a connection's buffers: in, out, plaintext */

/* ---- where to: one host to connect to (client.c's view of a next hop) ---- */

struct relay_target {
	const struct route_settings *route;
	const struct next_hop_settings *hop;
	struct tls_client *tls;    /* NULL: none */
	struct relay_trust *trust; /* MX by policy: how it has to be known; else NULL. The
				      target's holder has a count of it */
	char host[256];            /* for logs, SNI and verification: MX name, or the hop's host */
	struct sockaddr_storage address;
	socklen_t address_n;
	bool lmtp;
};

/* ---- one job for a connection: a transaction for some recipients of one message ---- */

enum relay_result {
	RELAY_RESULT_DONE,  /* 2xx */
	RELAY_RESULT_LATER, /* 4xx, or the connection failed: try again */
	RELAY_RESULT_NEVER, /* 5xx: bounce */
};

struct relay_outcome {
	enum relay_result result;
	uint16_t code;              /* of the reply; 0: no reply (text says why) */
	char enhanced[12];          /* "5.1.1"; "" if the reply had none */
	char text[RELAY_REPLY_MAX]; /* the reply without code and enhanced code, lines joined */
	bool local;                 /* our own verdict: the next hop did not say so */
};

struct relay_job_recipient {
	struct smtp_recipient *smtp;   /* address, ORCPT, NOTIFY */
	uint32_t index;                /* in the entry or the cut's envelope */
	struct relay_outcome *outcome; /* of this recipient; set before done */
	uint8_t state;                 /* client.c's own */
};

struct relay_job;
typedef void relay_job_done_fn(struct relay_job *job);

struct relay_job {
	struct list node; /* the holder's */
	const struct smtp_envelope *envelope;
	struct relay_job_recipient *recipients;
	uint32_t recipients_n;
	const struct spool_body *body; /* NULL: a question only (callout): MAIL, RCPT, RSET */
	uint32_t ms_max;               /* for all of it; 0: by the settings' times */
	bool sent_dot; /* set by the client: the last octet was given to the socket, so a lost reply
			    may mean a delivered message */
	bool connection_failed; /* set by the client: not this message's fault (no connection, no
				   greeting, TLS failed, 421): the hop's health should know */
	bool sender_refused; /* set by the client: it was MAIL that was refused, so the outcomes say
				nothing of the recipients */
	bool cut_off; /* set by the client: the connection was lost after MAIL was answered, which may
			 be this message's fault or the hop's */
	char next_hop[SPOOL_HOP_MAX]; /* set by the client: "smtp:mx.example.org:25 [192.0.2.1]" */
	const char *tls_version;      /* set by the client: "TLSv1.3", or NULL */
	const char *ktls;             /* "tx" or "none" */
	const char *trust;            /* set by the client: relay_trust_words[] */
	bool dsn_passed;              /* set by the client: the next hop offered DSN and reports
					 successes itself (RFC 3461 5.2.1) */
	void *holder;                 /* schedule.c's own while it has the job */
	uint64_t started_ms, ended_ms;
	relay_job_done_fn *done; /* from a completion, never from inside relay_client_give() */
};

/* ---- client.c: a connection. It takes one job at a time ---- */

struct relay_client;

enum relay_client_state {
	RELAY_CLIENT_OPENING, /* connect, greeting, TLS, EHLO: a job may already be given */
	RELAY_CLIENT_READY,   /* idle: give it a job or let it go */
	RELAY_CLIENT_BUSY,
	RELAY_CLIENT_CLOSING, /* takes no job; `closed` will come */
};

/* What the holder of a connection hears. */
struct relay_client_owner {
	/* Became READY (after opening without a job, or after a job's done). */
	void (*ready)(struct relay_client_owner *owner, struct relay_client *client);
	/* The connection is gone and freed after this call. Without a job given it says why in
	 * `outcome`: LATER, or NEVER for a 554 or 521 greeting; DONE when it ended in order (QUIT, or
	 * the peer closed it while idle), which says nothing against the hop. With a job, that was
	 * done before. */
	void (*closed)(struct relay_client_owner *owner, struct relay_client *client,
		const struct relay_outcome *outcome);
	void *relay; /* the holder's own */
};

/* Opens a connection. NULL: no memory. The target is copied. */
MUST_USE struct relay_client *relay_client_open(
	struct relay *relay, struct relay_client_owner *owner, const struct relay_target *target);
enum relay_client_state relay_client_state(const struct relay_client *client);
/* In state OPENING or READY. The job, its recipients and body stay until done. */
void relay_client_give(struct relay_client *client, struct relay_job *job);
void relay_client_quit(struct relay_client *client); /* READY: QUIT, then closed */
void relay_client_abort(
	struct relay_client *client); /* any state: a job is done with LATER first */
uint32_t relay_client_jobs(const struct relay_client *client); /* so far */

/* ---- reply.c ---- */

struct relay_reply {
	uint16_t code; /* 200 to 599; 0: not complete */
	bool malformed;
	uint8_t state;
	bool last; /* this line has no '-' */
	uint16_t line_code;
	uint32_t lines;  /* complete ones */
	uint32_t line_n; /* octets of this line so far */
	struct buf line; /* text of this line, cut */
	struct buf text; /* of all lines, joined by a space, into text_storage; NUL behind it */
	char enhanced[12];
	char text_storage[RELAY_REPLY_MAX];
	char line_storage[RELAY_REPLY_MAX];
};

void relay_reply_reset(struct relay_reply *reply);
enum relay_reply_step { RELAY_REPLY_MORE, RELAY_REPLY_LINE, RELAY_REPLY_WHOLE, RELAY_REPLY_BAD };
/* Takes octets off *in up to the end of one line or reply (RFC 5321 4.2.1). LINE: a further line
 * follows and *line is this one's text (for EHLO's list), valid until the next call; WHOLE: likewise,
 * and the reply is complete; relay_reply_reset() before the next. Bare LF ends are taken (be
 * liberal), other junk is BAD. What is not printable ASCII in a text becomes '?'. */
MUST_USE enum relay_reply_step relay_reply_feed(
	struct relay_reply *reply, struct span *in, struct span *line);

/* ---- maildir.c ---- */

/* Delivers a job into the Maildirs below root_fd, Return-Path: first; then job->done. The steps are
 * those of the table at the file's head, durable as settings->spool.durable says. False, and no done:
 * too many are under way. A second job of a message waits for the first one's end. Sets next_hop
 * and the times. Outcomes are DONE (250) or LATER (451, 452), never NEVER. */
MUST_USE bool relay_maildir_give(
	struct relay *relay, int root_fd, uint64_t id, struct relay_job *job);

#define RELAY_BOX_MAX 512 /* "domain/local": 255 + 1 + 3 x 64 and to spare */

/* The mailbox of an address below a Maildir root; hostname is the domain of <postmaster>. */
void relay_maildir_box(
	const char *hostname, const struct smtp_address *address, char box[RELAY_BOX_MAX]);

/* ---- resolve.c ---- */

#define RELAY_RECORDS_MAX 64 /* of a TXT or TLSA answer that are looked at */
#define RELAY_HOST_MAX    256
#define RELAY_WHY_MAX     160

struct relay_host {
	char name[RELAY_HOST_MAX];
	uint16_t preference;
};

struct ub_result;

struct relay_lookup {
	/* res 0; -ENOENT: NXDOMAIN or no data (final); -EAGAIN: SERVFAIL, timeout, bogus (temporary).
	 * Called from the loop, never from inside relay_resolve_*. */
	void (*done)(struct relay_lookup *lookup, int res);
	struct relay_host hosts[RELAY_MX_MAX]; /* MX: best first, equal ones shuffled; null MX
						  (RFC 7505): hosts_n 0 with null_mx */
	uint32_t hosts_n;
	bool null_mx;
	struct sockaddr_storage addresses[RELAY_ADDRESSES_MAX]; /* of a host; port 0 */
	uint32_t addresses_n;
	/* The data of TXT and TLSA records, valid until `done` returns. */
	struct span records[RELAY_RECORDS_MAX];
	uint32_t records_n;
	/* DNSSEC proved what was found, or that there is nothing; of a host: all its addresses. Never
	 * of what needed no DNS. */
	bool secure;
	bool bogus; /* with -EAGAIN: DNSSEC proved it wrong; `why` says how */
	char why[RELAY_WHY_MAX];
	char canonical[RELAY_HOST_MAX]; /* of a host: where its CNAMEs lead; "": there are none */
	/* resolve.c's own */
	struct list node;
	struct lookup_state *state;
	struct ub_result *result;
	int res;
};

struct relay_resolver;
MUST_USE int relay_resolver_open(struct relay_resolver **out, const struct relay_settings *settings,
	struct ring *ring, struct err *err);
void relay_resolver_close(struct relay_resolver *resolver);
bool relay_resolver_idle(const struct relay_resolver *resolver);
/* MX of a domain; without MX records hosts[0] is the domain itself (RFC 5321 5.1). An address
 * literal ("[192.0.2.1]") is its own host. */
void relay_resolve_mx(
	struct relay_resolver *resolver, struct relay_lookup *lookup, const char *domain);
/* Addresses of a host, IPv6 and IPv4 interleaved; numeric ones answer without DNS. */
void relay_resolve_host(
	struct relay_resolver *resolver, struct relay_lookup *lookup, const char *host);
/* Records at a name, CNAMEs followed. */
void relay_resolve_txt(
	struct relay_resolver *resolver, struct relay_lookup *lookup, const char *name);
void relay_resolve_tlsa(
	struct relay_resolver *resolver, struct relay_lookup *lookup, const char *name);
/* Is there a CNAME at the name itself? res and `secure` say so, nothing else. */
void relay_resolve_cname(
	struct relay_resolver *resolver, struct relay_lookup *lookup, const char *name);
/* Not for one whose `done` has come. */
void relay_resolve_cancel(struct relay_resolver *resolver, struct relay_lookup *lookup);

/* ---- trust_ask.c ---- */

/* A question about a domain's MTA-STS policy. */
struct relay_sts {
	struct relay *relay;
	void (*done)(struct relay_sts *sts); /* never from inside relay_sts_ask() */
	/* With `done`: the outcome, and the policy, whose count is the asker's to release. */
	struct stscache_question question;
	/* trust_ask.c's own */
	struct relay_lookup lookup;
	uint8_t step;
	bool refresh;
	char domain[STS_NAME_MAX + 1];
};

/* There must be a resolver and a cache. */
void relay_sts_ask(struct relay *relay, struct relay_sts *sts, const char *domain, bool refresh);
void relay_sts_cancel(struct relay_sts *sts); /* nothing, if it is not under way */
MUST_USE int relay_policies_open(struct relay *relay, struct err *err);
void relay_policies_turn(struct relay *relay); /* tells what has been answered */
void relay_policies_close(struct relay *relay);

/* ---- tls_report.c ---- */

MUST_USE int relay_reports_open(struct relay *relay, struct err *err);
void relay_reports_start(struct relay *relay);
void relay_reports_turn(struct relay *relay);
void relay_reports_drain(struct relay *relay);
bool relay_reports_idle(const struct relay *relay);
void relay_reports_close(struct relay *relay);

/* ---- dsn.c ---- */

enum relay_dsn_kind { RELAY_DSN_FAILED, RELAY_DSN_DELAYED, RELAY_DSN_DELIVERED, RELAY_DSN_RELAYED };

struct relay_dsn_recipient {
	const struct spool_recipient *recipient;
	const struct relay_outcome *outcome;
	const char *next_hop; /* Remote-MTA and the human part */
};

/* Is the sender to be told of this (RFC 3461 4.1)? Never with a null reverse-path. */
bool relay_dsn_due(const struct spool_entry *entry, const struct spool_recipient *recipient,
	enum relay_dsn_kind kind);
/*
 * Writes a report about some recipients of an entry into the spool as a message of its own, from
 * <> to the reverse-path. Whom to tell is the caller's to decide by relay_dsn_due(). done(ctx, 0)
 * once it is durable, done(ctx, -errno) if not: then the caller tries again later. The entry, the
 * recipients, their outcomes and next hops are borrowed until done. False, and no done: too many
 * reports are under way, or no memory: try again later.
 */
MUST_USE bool relay_dsn_write(struct relay *relay, struct spool_entry *entry,
	enum relay_dsn_kind kind, const struct relay_dsn_recipient *recipients, uint32_t n,
	void (*done)(void *ctx, int res), void *ctx);

/* ---- shared by all of relay/ ---- */

struct relay {
	struct relay_facts facts;
	struct relay_routes *routes;
	struct relay_resolver *resolver; /* NULL: no route needs names */
	const struct relay_settings *settings;
	struct spool_reader reader;
	bool draining;
	bool aborted;
	/* the lower half's */
	struct relay_clients *clients;   /* client.c: pools, list of all */
	struct relay_maildirs *maildirs; /* maildir.c: the deliveries under way */
	struct relay_dsns *dsns;         /* dsn.c: reports being written */
	struct relay_policies *policies; /* trust_ask.c: this worker's end of the cache; or NULL */
	struct relay_reports *reports;   /* tls_report.c; NULL: another worker's */
	/* the upper half's */
	struct relay_schedule *schedule;
	struct relay_callouts *callouts;
	struct relay_cuts *cuts;
};

/* Each half opens its own part; relay.c calls these in order and the closes in reverse. */
MUST_USE int relay_clients_open(struct relay *relay, struct err *err);
void relay_clients_abort(struct relay *relay);
bool relay_clients_idle(const struct relay *relay); /* no connection at all */
void relay_clients_close(struct relay *relay);
MUST_USE int relay_maildirs_open(struct relay *relay, struct err *err);
bool relay_maildirs_idle(const struct relay *relay);
void relay_maildirs_close(struct relay *relay);
MUST_USE int relay_dsns_open(struct relay *relay, struct err *err);
bool relay_dsns_idle(const struct relay *relay);
void relay_dsns_close(struct relay *relay);
MUST_USE int relay_schedule_open(struct relay *relay, struct err *err);
void relay_schedule_start(struct relay *relay);
void relay_schedule_turn(struct relay *relay);
void relay_schedule_drain(struct relay *relay);
bool relay_schedule_idle(const struct relay *relay);
void relay_schedule_close(struct relay *relay);
MUST_USE int relay_callouts_open(struct relay *relay, struct err *err);
bool relay_callouts_idle(const struct relay *relay);
void relay_callouts_drain(struct relay *relay);
void relay_callouts_close(struct relay *relay);
MUST_USE int relay_cuts_open(struct relay *relay, struct err *err);
bool relay_cuts_idle(const struct relay *relay);
void relay_cuts_close(struct relay *relay);
/* reader.cut */
bool relay_cut(struct spool_reader *reader, struct spool_cut *cut);
/* schedule.c, for cut.c and callout.c: takes a job to the next hop of a route by the same pools and
 * limits, without the spool. False: no connection may be had now (done does not come). */
MUST_USE bool relay_schedule_direct(struct relay *relay, const struct route_settings *route,
	struct span domain, struct relay_job *job);
/* Gives it up: done comes soon with LATER. */
void relay_schedule_direct_stop(struct relay *relay, struct relay_job *job);

#endif
