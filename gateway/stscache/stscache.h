/* SPDX-License-Identifier: MIT */
/*
 * stscache.h -- other domains' MTA-STS policies: fetched, kept, refreshed (RFC 8461 3, 5.1, 10.2).
 *
 * Job: for a domain and what its _mta-sts TXT record said, the policy to obey now: the kept one while
 * its id stands and its max_age lasts, else a fetched one. Kept in a file, so that a restart forgets
 * no policy (an attacker who can block DNS or HTTPS must not win by our restart). One object for all
 * workers.
 * Non-goals: DNS. The worker that asks looks up the TXT record and, when told to, the addresses of
 * the policy's host, by relay/'s resolver.
 *
 * The rules (RFC 8461):
 *	TXT has an id that is the kept policy's, not expired   the kept policy (3.3)
 *	TXT has another id, or nothing is kept                 fetch; it fails: the kept one if not expired
 *	no TXT record, or DNS fails, or it is malformed        the kept one if not expired (3.1, 5.1), else none
 *	fetched policy of mode none                            kept too; means none (8.3: ends a policy)
 *	a failed fetch                                         not tried again for STSCACHE_AGAIN_MS (5 min,
 *	                                                       3.3), but for another id
 *	expired                                                forgotten
 * max_age counts from the fetch that brought the policy or found it unchanged by a refresh, in real time
 * and in monotonic time at once: what is over first ends it, so that a clock that jumps back does not
 * prolong it. A policy read from the file that claims to come from the future counts as fetched now.
 *
 * Invariants: a mutex guards all of it and is never held over I/O; at most entries_max domains and
 * STSCACHE_BYTES_MAX octets are kept, then the one that would expire first goes (counted). A fetch for
 * a domain is made once at a time; who asks meanwhile waits for it. `answered` comes on the asker's
 * thread by its stscache_turn(), never from inside stscache_ask().
 * The file is written by a thread of the cache's own, a few seconds after a change, as a new file that
 * is synced and then renamed; one that cannot be written is tried again and the cache goes on without.
 * Rejected: a log that is appended to. Losing the last seconds costs a fetch; a log would need a
 * recovery of its own. One struct sts_policy a domain in full: its patterns alone take 4 KiB.
 */
#ifndef POSTERN_STSCACHE_STSCACHE_H
#define POSTERN_STSCACHE_STSCACHE_H

#include <sys/socket.h>

#include "base/holders.h"
#include "base/list.h"
#include "fetch/fetch.h"
#include "sts/sts.h"

#define STSCACHE_ENTRIES_MAX 100000
#define STSCACHE_AGAIN_MS    300000       /* after a failed fetch, RFC 8461 3.3 */
#define STSCACHE_REFRESH_S   86400        /* between refreshes of a policy, RFC 8461 10.2 */
#define STSCACHE_DUE_MS      3600000      /* between two stscache_due() of a domain */
#define STSCACHE_BYTES_MAX   (256u << 20) /* of the policies, in memory and in the file */
#define STSCACHE_WHY_MAX     200

struct stscache;

/* A policy as it is obeyed; counted, unchanging, any thread. */
struct stscache_policy {
	struct holders holders; /* policy.c's own, as the next */
	uint32_t bytes;
	uint64_t expires_ms; /* monotonic; the cache's own */
	uint64_t fetched_real_s;
	uint64_t expires_real_s;
	struct span text; /* the body as fetched; for reports (RFC 8460 4.4 policy-string) */
	char domain[STS_NAME_MAX + 1];
	char id[STS_ID_MAX + 1];
	/*
	 * Last, for only mx_n of its patterns are there: look at it in place, do not copy it. Its
	 * spans point into text.
	 */
	struct sts_policy policy;
};
struct stscache_policy *stscache_policy_hold(struct stscache_policy *policy);
void stscache_policy_release(struct stscache_policy *policy); /* NULL is fine */

/* What an asker hears. */
enum stscache_outcome {
	STSCACHE_NONE,   /* no policy: MTA-STS does not apply */
	STSCACHE_POLICY, /* .policy is to be obeyed (mode testing or enforce) */
};

/* Why there was no (new) policy; for TLSRPT (RFC 8460 4.3.2.2) and logs. */
enum stscache_trouble {
	STSCACHE_FINE,
	STSCACHE_FETCH_ERROR, /* sts-policy-fetch-error: DNS, connection, status, media type */
	STSCACHE_WEBPKI,      /* sts-webpki-invalid */
	STSCACHE_INVALID,     /* sts-policy-invalid */
};

struct stscache_question {
	/* set by stscache before answered */
	enum stscache_outcome outcome;
	enum stscache_trouble trouble; /* beside a kept policy, too */
	char why[STSCACHE_WHY_MAX];
	struct stscache_policy *policy; /* the asker's count; NULL: none */
	/* set by the asker */
	void (*answered)(struct stscache_question *question);
	/* stscache's own; all zero before the first question */
	struct list node;
	struct stscache_client *client;
	struct stscache_entry *entry; /* that the question leads: between ADDRESS and fetch */
	bool pending;
};

/* What the TXT record said. */
enum stscache_txt {
	STSCACHE_TXT_ID,     /* record: sts_record_read() was OK */
	STSCACHE_TXT_ABSENT, /* NXDOMAIN, no data, no record of the version, several, malformed */
	STSCACHE_TXT_FAILED, /* no answer */
};

struct stscache_settings {
	/*
	 * Where the file "sts-policies" is; opened for reading (it is synced), stays the caller's; -1:
	 * nothing is kept over a restart.
	 */
	int state_dir;
	uint32_t entries_max; /* 0: STSCACHE_ENTRIES_MAX */
	struct fetch *fetch;
	/* Tests: is called in place of fetch_start(); NULL: not. */
	bool (*start)(struct fetch *fetch, const struct fetch_request *request);
};

/* Reads the file; a damaged one is set aside with an event. -1 and err. Before seccomp. */
MUST_USE int stscache_open(
	struct stscache **out, const struct stscache_settings *settings, struct err *err);
/* After fetch_close() and all clients. Writes the file. NULL is fine. */
void stscache_close(struct stscache *cache);

/*
 * A worker's end: wake(ctx) is called from any thread when answers wait for stscache_turn(). It is
 * called under the cache's mutex: it may write to an eventfd, and must not call the cache.
 */
struct stscache_client;
MUST_USE int stscache_client_open(struct stscache_client **out, struct stscache *cache,
	void (*wake)(void *ctx), void *ctx, struct err *err);
void stscache_client_close(struct stscache_client *client); /* no question may be pending */
void stscache_turn(struct stscache_client *client); /* calls answered of what has been answered */

enum stscache_reply {
	STSCACHE_NOW,     /* question's outcome stands; answered does not come */
	STSCACHE_ADDRESS, /* a fetch is due: look up the addresses of mta-sts.DOMAIN, then
			     stscache_fetch() */
	STSCACHE_LATER,   /* somebody else's fetch is under way: answered comes */
};

/*
 * Step one. `domain`: lower case, no final dot; a name that could not have a policy host has no policy.
 * `record`: for TXT_ID, else NULL is fine.
 */
MUST_USE enum stscache_reply stscache_ask(struct stscache_client *client,
	struct stscache_question *question, const char *domain, enum stscache_txt txt,
	const struct sts_record *record);
/*
 * Step two, after STSCACHE_ADDRESS, always: n addresses of the policy's host, 0: it has none or DNS
 * failed. answered comes.
 */
void stscache_fetch(struct stscache_client *client, struct stscache_question *question,
	const struct sockaddr_storage *addresses, size_t n);
/*
 * answered does not come any more, and a policy that it would have brought is released; also between
 * the two steps: who waits for that fetch is answered as if it had failed. Nothing happens to a
 * question that is not pending.
 */
void stscache_forget(struct stscache_client *client, struct stscache_question *question);

/*
 * A domain whose kept policy should be refreshed although no mail is there: a day after its fetch
 * (RFC 8461 10.2 suggests that), or at half of its age if that is sooner, not asked for within the
 * hour; policies of mode none just expire. The caller asks with stscache_refresh(), looks at nothing,
 * releases the policy. False: none is due.
 */
MUST_USE bool stscache_due(struct stscache *cache, char domain[STS_NAME_MAX + 1]);
/* As stscache_ask(), but fetches even if the id is the same, and never answers NOW with a fetch due. */
MUST_USE enum stscache_reply stscache_refresh(struct stscache_client *client,
	struct stscache_question *question, const char *domain, enum stscache_txt txt,
	const struct sts_record *record);

/* ---- for posternctl sts policies and metrics ---- */

struct stscache_facts {
	uint64_t entries;           /* policies kept, those of mode none too */
	uint64_t enforce, testing;  /* of them */
	uint64_t fetches, failures; /* failures: of the fetches, and hosts without an address */
	uint64_t evicted;
};
void stscache_facts(struct stscache *cache, struct stscache_facts *out);
/* The kept policies in the order of their names behind `after` ("": from the first), each held;
 * returns how many; 0: there are no more. */
size_t stscache_list(
	struct stscache *cache, const char *after, struct stscache_policy **out, size_t max);
/* A domain's kept policy, held; NULL: there is none. */
struct stscache_policy *stscache_kept(struct stscache *cache, const char *domain);
/* For how many seconds it is still to be obeyed. */
uint64_t stscache_policy_left_s(const struct stscache_policy *policy);

#endif
