/* SPDX-License-Identifier: MIT */
/*
 * fetch.h -- the only user of libcurl: HTTPS requests to other people's servers, on a thread.
 *
 * Job: GET of a small text (MTA-STS policies, RFC 8461 3.3) and POST of a small body (TLS reports,
 * RFC 8460 5.4), each with a verified certificate, without redirects, cookies, proxies or other
 * protocols, within bounds of size and time.
 * Non-goals: DNS (callers bring the host's addresses, so that names come from one resolver), caches,
 * retries, what the answer means.
 * Invariants: at most FETCH_JOBS_MAX requests are under way; a request's done comes exactly once, on
 * the fetch thread, never from inside fetch_start(); the answer's octets are the callee's for the
 * length of that call. Nothing of a request outlives its end.
 * The thread must be started before the process's seccomp filters are: it makes sockets and opens
 * certificate stores. It runs without a filter of its own, as the process's unprivileged user.
 * Rejected: connections or TLS sessions kept for the next request. Policy hosts are asked once a day,
 * and what is kept could carry one request's verified name over to another's.
 */
#ifndef POSTERN_FETCH_FETCH_H
#define POSTERN_FETCH_FETCH_H

#include <sys/socket.h>

#include "base/base.h"
#include "base/span.h"

#define FETCH_JOBS_MAX       32    /* under way at a time */
#define FETCH_WAITING_MAX    1024  /* behind them; more are refused */
#define FETCH_BODY_MAX       65536 /* octets of an answer, RFC 8461 3.3 */
#define FETCH_HEAD_MAX       32768 /* octets of its status and header lines */
#define FETCH_POST_MAX       (4u << 20)
#define FETCH_POSTS_MAX      (16u << 20) /* octets of all that wait or are under way */
#define FETCH_MS_MAX         60000       /* RFC 8461 3.3: a minute is suggested */
#define FETCH_CONNECT_MS_MAX 20000       /* of them for TCP and TLS, all addresses */
#define FETCH_PATH_MAX       2048
#define FETCH_ADDRESSES_MAX  16
#define FETCH_WHY_MAX        200

struct fetch;

enum fetch_result {
	FETCH_OK,          /* an HTTP answer, whatever its status */
	FETCH_CONNECT,     /* no connection, or it was lost */
	FETCH_CERTIFICATE, /* refused: chain, name or dates */
	FETCH_TLS,         /* no handshake for another reason */
	FETCH_TIMEOUT,
	FETCH_LARGE,   /* above FETCH_BODY_MAX: cut off */
	FETCH_HTTP,    /* not HTTP, or a head above FETCH_HEAD_MAX */
	FETCH_STOPPED, /* fetch_close() */
	FETCH_LOCAL,   /* memory, libcurl's own trouble */
	FETCH_RESULTS
};

/* "connect", "certificate" ... for logs and reports. */
const char *fetch_result_text(enum fetch_result result);

struct fetch_answer {
	enum fetch_result result;
	uint16_t status;          /* OK: of HTTP, 200 to 599; redirects are not followed */
	struct span content_type; /* as sent; empty: none */
	struct span body;
	char why[FETCH_WHY_MAX]; /* printable; for logs: what failed */
};

struct fetch_request {
	const char
		*host; /* a DNS name; SNI, Host: and what the certificate must be for (RFC 6125) */
	uint16_t port; /* 443 */
	const char *path; /* begins with a slash; may have a query */
	/*
	 * Of the host; ports are ignored, those above FETCH_ADDRESSES_MAX too. Each family's are
	 * tried in order, the other family's begin soon after the first's (RFC 8305).
	 */
	const struct sockaddr_storage *addresses;
	size_t addresses_n;
	uint32_t ms_max;          /* 0: FETCH_MS_MAX */
	struct span post;         /* its octets are copied; .p NULL: GET */
	const char *content_type; /* of post; with `encoding` "gzip" or NULL */
	const char *encoding;
	void (*done)(void *ctx, const struct fetch_answer *answer);
	void *ctx;
};

/* ca_file: PEM; NULL: the system's store. Starts the thread. -1 and err. */
MUST_USE int fetch_open(struct fetch **out, const char *ca_file, struct err *err);
/*
 * From any thread. Everything is copied. False, and done never comes: too many wait, memory is short,
 * fetch_close() has begun, or there is no asking for this: host or path would not fit into a URL as
 * they are, no address, a post above FETCH_POST_MAX.
 */
MUST_USE bool fetch_start(struct fetch *fetch, const struct fetch_request *request);
/* Ends what is under way with STOPPED, joins the thread. NULL is fine. */
void fetch_close(struct fetch *fetch);

#endif
