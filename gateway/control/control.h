/* SPDX-License-Identifier: MIT */
/*
 * control.h -- the operator's unix socket: status, metrics, queue, fence, reload, stop.
 *
 * A small server object driven by its owner's poll(2) loop, on one thread. A client sends one line
 * of at most CONTROL_REQUEST_MAX octets, a word ("status") or JSON ({"command": "status"}), and
 * gets one line of JSON, {"ok": true, ...} or {"ok": false, "error": "..."}, then end of file. What
 * is about the queue goes to the owner and is answered when the owner has the answer; what is about
 * the fence, or about TLS policies, is answered by the owner at once.
 *
 * Non-goals: no configuration over the socket, no sessions of several requests, no user names;
 * whoever may open the socket (mode 0660) may use all of it.
 *
 * Invariants: no call here blocks, whatever a client does; clients, request, answer and time are
 * bounded by the limits below. All of it is read-only but for reload, stop and what changes the
 * queue or the fence's lists, which the owner does. A change to the queue names an id, a filter, or says "all": a request that
 * lost its filter on the way changes nothing.
 *
 * Rejected: HTTP (a parser for four words), a thread (the owner has a poll loop anyway), io_uring
 * (a ring of its own for one request a minute).
 */
#ifndef POSTERN_CONTROL_CONTROL_H
#define POSTERN_CONTROL_CONTROL_H

#include <poll.h>

#include "base/base.h"
#include "base/network.h"

#define CONTROL_CLIENTS_MAX    16
#define CONTROL_POLLFDS_MAX    (CONTROL_CLIENTS_MAX + 1)
#define CONTROL_REQUEST_MAX    4096          /* octets, the line end included */
#define CONTROL_ANSWER_MAX     (1024 * 1024) /* octets; a longer one becomes an error */
#define CONTROL_CLIENT_MS_MAX  10000         /* to send the request, and again to take the answer */
#define CONTROL_RELOAD_MS_MAX  25000         /* from asking for a reload to its answer */
#define CONTROL_QUEUE_MS_MAX   25000         /* from a question about the queue to its answer */
#define CONTROL_METRICS_MS_MAX 5000 /* likewise for metrics, which then come without the queue */
#define CONTROL_NAMES_MAX      8    /* names of one certificate shown; all are counted */
#define CONTROL_TALLIES_MAX    100  /* destinations that metrics name; the rest is summed */
#define CONTROL_PAGE_MAX       100  /* messages in one answer */
#define CONTROL_SOURCES_MAX    1000 /* of the fence, in one answer */
#define CONTROL_NETWORKS_MAX   4000 /* of the fence's lists, in one answer */

struct control_listener {
	const char *title;
	const char *address; /* numeric */
	uint16_t port;
	const char *tls; /* "starttls", "implicit", "none", "https" */
};

struct control_certificate {
	const char *title;
	const char *key_type; /* "ECDSA P-256", "RSA 2048"; NULL: not known */
	const char *const *names;
	size_t names_n;      /* 0: the default certificate */
	int64_t not_after_s; /* seconds since 1970; 0: not known */
};

/* Facts for status and metrics; everything may be left zero when it is not known. */
struct control_status {
	const char *version;
	const char *hostname;
	const char *config;    /* the configuration file's path */
	const char *kernel;    /* release, as uname -r */
	const char *ring;      /* io_uring features in use, separated by spaces */
	const char *ktls_mode; /* "auto", "always", "off" */
	const char *ktls_tx;   /* "yes", or "no: why" */
	const char *ktls_rx;
	const char *ktls_rekey;
	const char *reload_error;  /* of the last reload; NULL: it went well or there was none */
	uint64_t reloaded_real_us; /* the last reload that went well; 0: none */
	uint64_t started_real_us;
	int pid; /* of the process that a signal should go to */
	uint32_t workers;
	bool draining;
	const struct control_listener *listeners;
	size_t listeners_n;
	const struct control_certificate *certificates;
	size_t certificates_n;
};

/* ---- the queue ---- */

enum control_queue_action {
	CONTROL_QUEUE_LIST,
	CONTROL_QUEUE_TALLY, /* "count" */
	CONTROL_QUEUE_SHOW,
	CONTROL_QUEUE_RETRY, /* from here on the queue is changed */
	CONTROL_QUEUE_HOLD,
	CONTROL_QUEUE_RELEASE,
	CONTROL_QUEUE_DELETE,
	CONTROL_QUEUE_BOUNCE,
	CONTROL_QUEUE_FLUSH,
	CONTROL_QUEUE_ACTIONS
};

/* Where a message stands; the same words as relay/'s. */
enum control_queue_state {
	CONTROL_QUEUE_ACTIVE,
	CONTROL_QUEUE_READY,
	CONTROL_QUEUE_DEFERRED,
	CONTROL_QUEUE_HELD,
	CONTROL_QUEUE_STATES
};

extern const char *const control_queue_action_words[CONTROL_QUEUE_ACTIONS];
extern const char *const control_queue_state_words[CONTROL_QUEUE_STATES];

/* Empty strings and zeros match everything. */
struct control_queue_request {
	enum control_queue_action action;
	char id[32];    /* as the operator wrote it; the owner says whether it is one */
	char after[32]; /* ids above this one: an answer's "next" */
	char sender[320];
	char recipient[320];
	char domain[256];
	char destination[300];
	unsigned states; /* mask of 1 << enum control_queue_state; 0: all */
	uint64_t older_s, younger_s;
	uint32_t limit; /* LIST: messages, TALLY: destinations; 0: as many as fit an answer */
	bool all;       /* a change to all, without a filter */
};

/* ---- the fence ---- */

enum control_fence_action {
	CONTROL_FENCE_STATUS,
	CONTROL_FENCE_TOP,
	CONTROL_FENCE_LIST,
	CONTROL_FENCE_EXPLAIN,
	CONTROL_FENCE_SAMPLES,
	CONTROL_FENCE_ALLOW, /* from here on something is changed */
	CONTROL_FENCE_BLOCK,
	CONTROL_FENCE_UNBLOCK,
	CONTROL_FENCE_FORGET,
	CONTROL_FENCE_ACTIONS
};

/* What TOP puts first; the same words as fence/'s. */
enum control_fence_order {
	CONTROL_FENCE_REFUSED,
	CONTROL_FENCE_OPEN,
	CONTROL_FENCE_BYTES,
	CONTROL_FENCE_CONNECTIONS,
	CONTROL_FENCE_HANDSHAKES,
	CONTROL_FENCE_PENALTY,
	CONTROL_FENCE_ORDERS
};

extern const char *const control_fence_action_words[CONTROL_FENCE_ACTIONS];
extern const char *const control_fence_order_words[CONTROL_FENCE_ORDERS];

struct control_fence_request {
	enum control_fence_action action;
	enum control_fence_order order; /* TOP */
	struct network network;         /* ALLOW, BLOCK, UNBLOCK; EXPLAIN, FORGET: one address */
	uint64_t seconds;               /* ALLOW, BLOCK: for so long; 0: for good */
	uint32_t from;                  /* LIST: the index to begin at, an answer's "next" */
	uint32_t limit;                 /* TOP, LIST, SAMPLES; 0: as many as fit an answer */
};

/* ---- TLS policies ---- */

#define CONTROL_STS_DOMAINS_MAX   100 /* in one answer */
#define CONTROL_STS_REPORTS_MAX   32  /* in one answer: they may be long */
#define CONTROL_STS_POLICIES_MAX  100 /* in one answer */
#define CONTROL_STS_WATCH_DEFAULT 20  /* of each of its lists */
#define CONTROL_STS_WATCH_MAX     300

enum control_sts_action {
	CONTROL_STS_RECORDS,  /* what is published, and the DNS records that go with it */
	CONTROL_STS_REPORT,   /* what came of TLS with other domains, a day: RFC 8460 */
	CONTROL_STS_POLICIES, /* other domains' policies that are kept */
	CONTROL_STS_WATCH,    /* senders, and what that means for our policies */
	CONTROL_STS_ACTIONS
};

extern const char *const control_sts_action_words[CONTROL_STS_ACTIONS];

struct control_sts_request {
	enum control_sts_action action;
	char domain[256]; /* lower case; "": all */
	char after[256];  /* all: names behind this one, an answer's "next" */
	uint32_t from;    /* RECORDS, all: the index to begin at, likewise */
	uint32_t day;     /* since 1970; 0: today */
	uint32_t days;    /* WATCH: the newest so many; 0: all that are kept */
	uint32_t limit;   /* 0: as many as fit an answer */
};

struct json_t; /* jansson's json_t */

/* What the owner does when asked; called on the thread of control_run() and never in a nested
 * way, with `ctx` as first argument. */
struct control_hooks {
	void *ctx;
	/* Fills *out (zeroed before). What it points to is read before control_run() returns. */
	void (*status)(void *ctx, struct control_status *out);
	/* Starts a reload; control_reload_done() follows exactly once, from within or later. Not
	 * called again before that. */
	void (*reload)(void *ctx);
	/* Begins draining; may come again while it goes on. The client is answered after it. */
	void (*stop)(void *ctx);
	/* Looks at the queue or changes it; control_queue_done() follows exactly once, from within
	 * or later. The request is borrowed for the call. False: not possible now, and nothing
	 * follows. NULL: there is no queue. */
	bool (*queue)(void *ctx, const struct control_queue_request *request, uint64_t token);
	/*
	 * Looks at the fence or changes its lists, at once. *answer is a new reference that is
	 * taken over, {"ok": true, "fence": {...}} or {"ok": false, "error": "..."}; NULL: memory
	 * is short. False: not possible now. NULL: there is no fence. Asked for STATUS by status
	 * and metrics, too, which read "running", "why", "hooks" and the numbers of that answer.
	 */
	bool (*fence)(
		void *ctx, const struct control_fence_request *request, struct json_t **answer);
	/* About TLS policies, at once, {"ok": true, "sts": {...}}; otherwise as fence(). */
	bool (*sts)(void *ctx, const struct control_sts_request *request, struct json_t **answer);
};

struct control;

/*
 * Makes the listening socket at `path`, mode 0660, non-blocking, close-on-exec. A socket left by a
 * dead process is replaced; one that is answered, or a file that is no socket, is not touched.
 * Returns the descriptor, the caller's, or -1 and err.
 */
MUST_USE int control_listen(const char *path, struct err *err);

/*
 * Serves the clients of listen_fd, which must be non-blocking and stays the caller's. `hooks` is
 * copied. Opens no file afterwards: call it before a seccomp filter. -1 and err when memory is
 * short.
 */
MUST_USE int control_open(
	struct control **out, int listen_fd, const struct control_hooks *hooks, struct err *err);

/* Writes what to poll for; max must be at least CONTROL_POLLFDS_MAX. Returns how many. */
size_t control_pollfds(struct control *control, struct pollfd *fds, size_t max);

/* For poll(2): milliseconds until a time limit passes, 0: run now, -1: none. */
int control_timeout_ms(const struct control *control);

/* Serves what poll reported in the entries that control_pollfds wrote; also when it timed out. */
void control_run(struct control *control, const struct pollfd *fds, size_t n);

/* Answers those who asked for the reload that ended; nothing happens when nobody did (SIGHUP).
 * `text` says what was done or what is wrong; NULL: nothing to add. */
void control_reload_done(struct control *control, bool ok, const char *text);

/*
 * The answer to a question about the queue, a new reference that is taken over; NULL: memory is
 * short. {"ok": true, "queue": {...}} or {"ok": false, "error": "..."}. Nobody may be there to take
 * it any more. metrics reads "destinations", "other" and "oldest_seconds" of a tally.
 */
void control_queue_done(struct control *control, uint64_t token, struct json_t *answer);

/* For the owner's part of an answer: a JSON string of any bytes, what is not UTF-8 becomes \xHH;
 * NULL text becomes null. A new reference; NULL: memory is short. */
MUST_USE struct json_t *control_json_text(const char *text);

/* Tries once to send what is left, then closes all clients. listen_fd stays open. NULL is fine. */
void control_close(struct control *control);

#endif
