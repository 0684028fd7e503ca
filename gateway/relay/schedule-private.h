/* SPDX-License-Identifier: MIT */
/*
 * schedule-private.h -- what the upper half of relay/ shares: who waits for whom.
 *
 *	entry		a message of the spool; its timer `due` runs while recipients wait for a time
 *	trip		a message's recipients at one destination: waits in the destination's line
 *	run		a transaction for some recipients of a trip, from the line to its report
 *	destination	route, and domain where the route asks DNS for MX, apart for messages with
 *			REQUIRETLS; has hops and a line
 *	hop		one next hop of a destination: its health and its idle links
 *	link		a connection to a hop, or one that is being opened (then it has a dial)
 *	direct		a job that does not come from the spool: cut.c's, callout.c's
 *
 * A pending recipient has a trip or is loose: recipient->relay names the trip, or schedule->loose.
 * Loose ones of an entry that is not held wait for the entry's timer or in the list `fresh`. What a
 * turn's events change is done at the end of the turn by relay_schedule_turn(), so that no handler
 * calls deep.
 */
#ifndef POSTERN_RELAY_SCHEDULE_PRIVATE_H
#define POSTERN_RELAY_SCHEDULE_PRIVATE_H

#include "relay/relay-private.h"

#define RELAY_DESTINATIONS_MAX   4096 /* a worker; unused ones are forgotten, oldest first */
#define RELAY_DESTINATION_HASH   1024
#define RELAY_TRIPS_MAX          (1u << 20) /* 48 octets each; more entries wait */
#define RELAY_RUNS_EXTRA         64         /* runs beyond connections: Maildirs, reports */
#define RELAY_RUNS_MAX           4000       /* counted in 12 bits of relay_jobs */
#define RELAY_RUN_RECIPIENTS_MAX 1000       /* caps recipients_max */
#define RELAY_REPLIES_MAX        4          /* different replies of a run told apart */
#define RELAY_ADMIT_TURN_MAX     1000       /* entries sent on their way in a turn */
#define RELAY_SWEEP_TURN_MAX     500        /* waiting trips looked at in a turn */
#define RELAY_DIAL_TRIES_MAX     5          /* addresses tried for one link */
#define RELAY_CROWDED_MS         10000      /* wait when there is no room for a destination */
#define RELAY_LONG_LINE_MS       60000      /* wait when a destination's line is long enough */
#define RELAY_HOP_RETRY_MS_MIN   1000       /* first back-off of a hop */
#define RELAY_HOP_FULL_MS        1000       /* pause when a hop refuses further connections */
#define RELAY_HOP_CUT_OFFS       3          /* links lost in mid-message that count as a failure */
#define RELAY_YIELD_JOBS         8 /* after so many a link is given up for another destination */
#define RELAY_JITTER_PERCENT     20
#define RELAY_REPORT_WAIT_MS     100 /* until room for a report is asked for again at the latest */

struct relay_schedule;
struct relay_destination;
struct relay_trip;
struct relay_run;
struct relay_link;
struct relay_dial;
struct relay_direct;

/* ---- hop.c: pure ---- */

struct relay_hop {
	const struct next_hop_settings *settings;
	uint32_t failures;  /* in a row */
	uint32_t cut_offs;  /* links lost in mid-message since a message was last answered */
	uint64_t retry_ms;  /* in back-off until then */
	uint64_t failed_ms; /* the last time */
	uint64_t full_ms;   /* opens no further link until then */
	uint32_t links_n;   /* opening ones included; of a Maildir: deliveries under way */
	uint32_t opening_n;
	struct list idle; /* links that wait for work; the newest last */
};

enum relay_hop_state {
	RELAY_HOP_UP,
	RELAY_HOP_TRIAL,  /* the back-off is over: one link may find out */
	RELAY_HOP_TRYING, /* that link is under way */
	RELAY_HOP_DOWN
};

/* A link was lost in mid-message. True: that was once too often, the hop has failed. */
MUST_USE bool relay_hop_cut_off(struct relay_hop *hop);
enum relay_hop_state relay_hop_state(const struct relay_hop *hop, uint64_t now_ms);
/* A link could not be had or was lost. Answers true if that counts as the hop's being down: not
 * when other links to it stand, then it is only asked for no more of them for a moment. */
bool relay_hop_failed(
	struct relay_hop *hop, uint64_t min_ms, uint64_t max_ms, uint64_t now_ms, uint64_t *random);
void relay_hop_good(struct relay_hop *hop);
/* May another link be opened, by the route's limit, slow start, health? */
bool relay_hop_may_open(const struct relay_hop *hop, uint32_t links_max, uint64_t now_ms);

/* The order in which hops are to be asked for the next piece of work. */
void relay_hops_order(const struct relay_hop *hops, size_t n, enum route_choose choose,
	uint64_t now_ms, uint64_t *random, uint8_t order[SETTINGS_NEXT_HOPS_MAX]);
/* When one of them may be tried again: 0: now, or a link is under way. */
uint64_t relay_hops_wait(const struct relay_hop *hops, size_t n, uint64_t now_ms);

/* min_ms doubled n times, at most max_ms, then RELAY_JITTER_PERCENT more or less. */
uint64_t relay_backoff_ms(uint64_t min_ms, uint64_t max_ms, uint32_t n, uint64_t *random);

/* ---- destination.c ---- */

/* What messages want of the MX's TLS (RFC 8689), whatever its domain asks for. */
enum relay_wish {
	RELAY_WISH_NONE,
	RELAY_WISH_REQUIRETLS,   /* authenticated, or not at all */
	RELAY_WISH_TLS_OPTIONAL, /* "TLS-Required: No": policies do not count */
};

struct relay_destination {
	struct relay_schedule *schedule;
	const struct route_settings *route;
	struct list hash;
	struct list unused;
	struct list dirty;    /* in schedule->dirty: to be served this turn */
	struct list wanting;  /* in schedule->wanting */
	struct list starved;  /* in schedule->starved */
	struct list sweeping; /* in schedule->sweeping */
	struct list trips;    /* the line */
	struct list unswept;  /* the part of it that the sweep has not seen */
	struct list runs;     /* that lost their link before they were given: first in the line */
	struct list directs;  /* before everything */
	uint32_t trips_n;     /* both lists */
	uint32_t runs_n;
	uint32_t directs_n;
	uint32_t users; /* trips, links, directs that exist */
	uint64_t stamp; /* of the admission that made `newest` */
	struct relay_trip *newest;
	uint32_t links_n, opening_n;
	struct wheel_timer retry;
	bool down;         /* every hop is in back-off or on trial */
	bool sweep_record; /* the sweep records why they wait */
	uint8_t asked;     /* hop + 1 that is to have a link, however little waits; 0: none */
	struct relay_outcome last; /* of the last failed link */
	struct relay_outcome doom; /* why trips with RELAY_REASON_DOOMED cannot be delivered */
	char last_hop[SPOOL_HOP_MAX];
	char name[300];
	const char *domain;   /* in name; NULL: not by domain */
	enum relay_wish wish; /* of the messages that go here */
	uint8_t hops_n;
	struct relay_hop hops[SETTINGS_NEXT_HOPS_MAX];
};

/* The name of the destination for a domain by a route, as the operator sees it. */
void relay_destination_name(const struct relay *relay, const struct route_settings *route,
	struct span domain, enum relay_wish wish, char name[300]);
/* Finds or makes it. NULL: too many are in use. */
struct relay_destination *relay_destination_get(struct relay_schedule *schedule,
	const struct route_settings *route, struct span domain, enum relay_wish wish);
struct relay_destination *relay_destination_find(
	struct relay_schedule *schedule, const struct route_settings *route, const char *name);
void relay_destination_init(struct relay_destination *destination, struct relay_schedule *schedule,
	const struct route_settings *route, const char *name);
void relay_destination_use(struct relay_destination *destination);   /* +1 user */
void relay_destination_drop(struct relay_destination *destination);  /* -1 */
void relay_destination_touch(struct relay_destination *destination); /* serve it this turn */
/* Gives waiting work to idle links, and says which links are wanted. */
void relay_destination_serve(struct relay_destination *destination);
/* Opens one wanted link. True: it wants another one. */
bool relay_destination_open(struct relay_destination *destination);
/* What a link or run says of its hop. */
void relay_destination_failed(struct relay_destination *destination, uint8_t hop,
	const char *next_hop, const struct relay_outcome *outcome);
void relay_destination_good(struct relay_destination *destination, uint8_t hop);
/* The whole destination cannot be delivered to: what waits is returned. */
void relay_destination_doom(
	struct relay_destination *destination, const struct relay_outcome *outcome);
void relay_destination_retry(struct relay_destination *destination); /* its back-off is over */
void relay_destination_drain(struct relay_destination *destination); /* nothing is started */
void relay_destination_sweep(struct relay_destination *destination); /* begin to */
/* clock_ms() when a link will be tried next, now if it may be. */
uint64_t relay_destination_due_ms(const struct relay_destination *destination);
/* It is down for so long that what waits gets a record of it. */
bool relay_destination_long(const struct relay_destination *destination);

/* ---- entry.c, trip.c ---- */

enum relay_reason {
	RELAY_REASON_NONE,
	RELAY_REASON_NO_ROUTE,
	RELAY_REASON_OPERATOR, /* bounced by hand */
	RELAY_REASON_DOOMED,   /* destination->doom says why */
	RELAY_REASON_OVERDUE, /* destination->last says why; old enough for a bounce or a warning */
};

struct relay_trip {
	struct list node; /* in the destination's line or in schedule->doomed; else alone */
	struct spool_entry *entry;
	struct relay_destination *destination;
	uint32_t next;   /* recipients below this index are taken */
	uint32_t left_n; /* recipients that are not */
	uint16_t runs_n;
	uint8_t reason; /* enum relay_reason */
};

/* entry->relay_jobs: how many trips and runs there are of it, and what has been said of it. */
#define RELAY_ENTRY_RUN     1u
#define RELAY_ENTRY_TRIP    (1u << 12)
#define RELAY_ENTRY_N_MAX   4095u
#define RELAY_ENTRY_COUNTED (1u << 24) /* this round of tries was counted */
#define RELAY_ENTRY_DELETE  (1u << 25) /* when its runs are over */
#define RELAY_ENTRY_BOUNCE  (1u << 26)
#define RELAY_ENTRY_AGAIN   (1u << 27) /* at once */
#define RELAY_ENTRY_SHOWN   (1u << 28) /* counted in the gauges, in the state of the next bits */
#define RELAY_ENTRY_STATE   29         /* first of two bits: enum relay_entry_state */

static inline uint32_t relay_entry_runs(const struct spool_entry *entry)
{
	return entry->relay_jobs & RELAY_ENTRY_N_MAX;
}

static inline uint32_t relay_entry_trips(const struct spool_entry *entry)
{
	return entry->relay_jobs >> 12 & RELAY_ENTRY_N_MAX;
}

static inline struct relay_trip *relay_trip_of(const struct spool_recipient *recipient)
{
	return recipient->relay;
}

/* Pending and without a trip. */
static inline bool relay_recipient_loose(const struct spool_recipient *recipient)
{
	return recipient->fate == SPOOL_FATE_PENDING && relay_trip_of(recipient)->entry == NULL;
}

/* Reports do without REQUIRETLS where they have to (RFC 8689 5). */
enum relay_wish relay_entry_wish(const struct spool_entry *entry);
/* Since it went to the log. */
uint64_t relay_entry_age_ms(const struct spool_entry *entry);
enum relay_entry_state relay_entry_state(const struct spool_entry *entry);
/* Brings the gauges up to date. */
void relay_entry_show(struct relay_schedule *schedule, struct spool_entry *entry);
void relay_entries_hide(struct relay_schedule *schedule); /* all of them, at the end */
void relay_entry_arrived(struct spool_reader *reader, struct spool_entry *entry);
/* Loose recipients are to be tried in so many milliseconds, unless that is sooner already. Answers
 * the time for spool_attempt(). */
uint64_t relay_entry_defer(
	struct relay_schedule *schedule, struct spool_entry *entry, uint64_t delay_ms);
void relay_entry_now(struct relay_schedule *schedule, struct spool_entry *entry);
/* After anything ended: finishes it, does what the operator asked for, or sees that loose
 * recipients have a time. The entry may be gone afterwards. */
void relay_entry_settle(struct relay_schedule *schedule, struct spool_entry *entry);
/* Takes its waiting trips apart: their recipients are loose again. */
void relay_entry_loosen(struct spool_entry *entry);
/* Clears its timer and its place in a list. */
void relay_entry_forget(struct relay_schedule *schedule, struct spool_entry *entry);
/* Sends entries in `fresh` on their way. True: some are left. */
bool relay_entries_admit(struct relay_schedule *schedule);
/* All pending loose recipients are returned to the sender by the operator's hand. False: no room. */
MUST_USE bool relay_entry_bounce(struct relay_schedule *schedule, struct spool_entry *entry);
void relay_entry_delete(struct relay_schedule *schedule, struct spool_entry *entry);
/* Changes nothing but the record, the hold and the time. */
void relay_entry_note(struct relay_schedule *schedule, struct spool_entry *entry, const char *text,
	bool held, uint64_t due_real_s);

void relay_trip_over(struct relay_trip *trip); /* frees it if nothing is left of it */
/* Settles trips that no connection is needed for. True: some are left. */
bool relay_trips_settle(struct relay_schedule *schedule);
/* Looks at waiting trips: routed elsewhere now, overdue, in need of a record? True: some left. */
bool relay_trips_sweep(struct relay_schedule *schedule);

/* ---- run.c, settle.c ---- */

enum relay_class {
	RELAY_CLASS_DELIVERED,
	RELAY_CLASS_LATER,
	RELAY_CLASS_WARN, /* later, and the sender is told */
	RELAY_CLASS_FAILED,
	RELAY_CLASS_COUNT
};

struct relay_group {
	uint8_t class; /* enum relay_class */
	uint8_t applied;
	uint32_t first; /* its first recipient in the run */
	uint32_t n;
};

struct relay_run {
	struct relay_job job; /* job.node: in destination->runs */
	struct relay_schedule *schedule;
	struct relay_trip *trip;
	struct relay_link *link; /* NULL: none yet, or not needed */
	struct spool_access access;
	bool opening; /* `opened` is to come */
	bool open;
	bool given;
	bool reused;  /* the link had served others before */
	bool again;   /* was given to a link that turned out to be dead */
	bool local;   /* into a Maildir: hop->links_n counts it */
	bool untried; /* no next hop was asked */
	uint8_t hop;
	uint8_t report;    /* the report being written, see settle.c */
	uint32_t report_n; /* recipients it is about */
	uint32_t groups_n;
	struct relay_group groups[RELAY_REPLIES_MAX + RELAY_CLASS_COUNT];
	/* of recipients_max each, behind the struct */
	struct relay_job_recipient *recipients;
	struct relay_dsn_recipient *dsn;
	uint8_t *group_of;
	struct relay_outcome *outcomes;
};

size_t relay_run_bytes(uint32_t recipients_max);
/* Takes recipients of a trip, which leaves the line when all are taken. NULL: no memory now. */
struct relay_run *relay_run_new(struct relay_trip *trip);
/* To a link that is idle; or to a Maildir. */
void relay_run_start(struct relay_run *run, struct relay_link *link, uint8_t hop);
void relay_run_unlink(struct relay_run *run); /* its link is gone before it was given */
void relay_run_cancel(struct relay_run *run); /* not given yet: as if it had never been */
/* Nobody is asked: the same outcome for all. Then it is settled. */
void relay_run_judge(
	struct relay_run *run, const char *next_hop, const struct relay_outcome *outcome);
void relay_run_free(struct relay_run *run);
/* All outcomes are there: reports, attempts, back-off; then the run is over. */
void relay_run_settle(struct relay_run *run);
/* Those that wait for room for a report try again; or, at the end, do without. */
void relay_runs_report(struct relay_schedule *schedule);
void relay_runs_unreported(struct relay_schedule *schedule);
/* "451 4.3.0 text". */
void relay_outcome_text(const struct relay_outcome *outcome, char *text, size_t n);
void relay_outcome_make(struct relay_outcome *outcome, enum relay_result result,
	const char *enhanced, const char *text);
/* Why its connection failed: the outcome of those it left without a word of their own. */
void relay_job_failure(const struct relay_job *job, struct relay_outcome *outcome);
/* The next hop said something about this message. */
bool relay_job_heard(const struct relay_job *job);

/* ---- link.c, dial.c ---- */

enum relay_link_state {
	RELAY_LINK_OPENING,
	RELAY_LINK_IDLE,
	RELAY_LINK_BUSY, /* with a run or direct, from its choice until the client is ready again */
	RELAY_LINK_CLOSING
};

struct relay_link {
	struct relay_client_owner owner;
	struct list all;  /* in schedule->links */
	struct list idle; /* in hop->idle */
	struct list old;  /* in schedule->idle */
	struct relay_destination *destination;
	uint8_t hop;
	enum relay_link_state state;
	struct relay_client *client; /* NULL while names are looked up */
	struct relay_run *run;
	struct relay_direct *direct;
	struct relay_dial *dial;  /* until it is ready for the first time */
	uint64_t trusted_ms;      /* when a policy was last asked about it; 0: none is */
	bool lost;                /* failed under a job: the hop does not count it any more */
	struct wheel_timer timer; /* idle: then it is let go */
};

/* NULL: no memory. The limits are the caller's to look at. */
struct relay_link *relay_link_open(struct relay_destination *destination, uint8_t hop);
/* The newest idle link of a hop whose client takes a job; NULL. It is BUSY then. */
struct relay_link *relay_link_take(struct relay_hop *hop);
void relay_link_release(struct relay_link *link); /* not used after all */
/* Its job is done; ready or closed will follow. */
void relay_link_job_over(struct relay_link *link, bool connection_failed);
void relay_link_quit(struct relay_link *link); /* IDLE */
void relay_link_end(struct relay_link *link);  /* drain: as soon as it can be */
/* dial.c: finds addresses and tries them in turn. On failure it calls relay_link_failed(), which may
 * be from inside the start. */
void relay_dial_start(struct relay_link *link);
/* An object for it; false: no memory. */
MUST_USE bool relay_dial_new(struct relay_link *link);
size_t relay_dial_bytes(void);
void relay_dial_closed(struct relay_link *link, const struct relay_outcome *outcome);
void relay_dial_cancel(struct relay_link *link); /* gives up; the link is freed or will be */
void relay_dial_free(struct relay_link *link);
void relay_link_failed(
	struct relay_link *link, const char *next_hop, const struct relay_outcome *outcome);

/* ---- direct.c ---- */

struct relay_direct {
	struct list node; /* in destination->directs, or in schedule->stopped */
	struct relay_schedule *schedule;
	struct relay_destination *destination;
	struct relay_link *link;
	struct relay_job *job;
	relay_job_done_fn *done; /* the asker's */
	struct wheel_timer timer;
	uint64_t deadline_ms; /* 0: none */
	uint8_t hop;
	bool reused; /* the link had served others before */
	bool again;  /* was given to a link that turned out to be dead */
	bool stopped;
	struct relay_outcome outcome; /* once stopped */
};

void relay_direct_give(struct relay_direct *direct, struct relay_link *link);
/* After a link failed: those that no other link is under way for. */
void relay_directs_failed(
	struct relay_destination *destination, const struct relay_outcome *outcome);
void relay_directs_stop(struct relay_schedule *schedule); /* all that wait for a link */
void relay_directs_turn(struct relay_schedule *schedule); /* tells those that were stopped */

/* ---- schedule.c ---- */

struct relay_schedule {
	struct relay *relay;
	struct {
		struct pool destinations, trips, runs, links, dials, directs;
	} pools;
	struct list table[RELAY_DESTINATION_HASH];
	struct list unused;     /* destinations without users, the longest so first */
	struct list dirty;      /* destinations */
	struct list wanting;    /* destinations that wait for their turn to open a link */
	struct list starved;    /* destinations that wait for a run */
	struct list sweeping;   /* destinations */
	struct list fresh;      /* entries */
	struct list deferred;   /* entries whose timer runs */
	struct list doomed;     /* trips */
	struct list stopped;    /* directs */
	struct list unreported; /* runs that wait for room for a report */
	struct wheel_timer report_timer;
	struct list links;
	struct list idle; /* links, the longest so first */
	uint32_t links_n, closing_n;
	uint32_t run_recipients_max;
	uint64_t random;
	uint64_t stamp;  /* of the admission under way */
	struct op kick;  /* makes the loop turn when something was left undone */
	bool trips_full; /* the last admission stopped for want of one: `fresh` waits for an end */
	bool in_turn;    /* relay_schedule_turn() is on the stack: no kick is needed */
	int64_t gauges[RELAY_STATE_COUNT];
	struct relay_destination nowhere; /* of trips that need no next hop */
	struct relay_trip loose;          /* stands for none; of no entry, to nowhere */
	struct spool_fate_change changes[RELAY_RUN_RECIPIENTS_MAX];
};

uint64_t relay_schedule_now(const struct relay_schedule *schedule);
struct wheel *relay_schedule_wheel(const struct relay_schedule *schedule);
void relay_schedule_kick(struct relay_schedule *schedule);
/* Routes have changed: what waits in line is looked through. */
void relay_schedule_rerouted(struct relay *relay);

#endif
