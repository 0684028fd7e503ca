/* SPDX-License-Identifier: MIT */
/* accept-private.h -- what the files of accept/ share: PROXY headers, who waits for one, the crew. */
#ifndef POSTERN_ACCEPT_PRIVATE_H
#define POSTERN_ACCEPT_PRIVATE_H

#include <sys/socket.h>

#include "base/list.h"
#include "base/pool.h"
#include "base/span.h"
#include "ring/ring.h"

struct crew;

/* ---- proxy.c ---- */

#define PROXY_V1_MAX     107 /* a line with its CRLF */
#define PROXY_HEADER_MAX 536 /* of either version: what every path carries in one segment */

enum proxy_step {
	PROXY_STEP_MORE,  /* a beginning: `sure` more octets belong to it for certain */
	PROXY_STEP_DONE,  /* source and destination stand */
	PROXY_STEP_LOCAL, /* a header that names no client: the connection's own addresses count */
	PROXY_STEP_BAD,   /* no header, whatever follows; `fault` says why */
};

enum proxy_fault {
	PROXY_FAULT_NONE,
	PROXY_FAULT_SYNTAX,
	PROXY_FAULT_LENGTH, /* over PROXY_V1_MAX or PROXY_HEADER_MAX */
	PROXY_FAULT_CHECKSUM,
};

struct proxy_header {
	unsigned version; /* 1 or 2 */
	uint32_t n;       /* DONE, LOCAL: its octets; what is behind them is the client's */
	uint32_t sure;    /* MORE: 0 when its end cannot be told before it is seen */
	enum proxy_fault fault;
	struct sockaddr_storage source; /* AF_INET or AF_INET6 */
	struct sockaddr_storage destination;
};

/*
 * Reads the PROXY header (proxy-protocol.txt of HAProxy, version 1 and 2) that `in` begins with.
 * What it says depends on the header's octets alone, never on those behind it.
 */
MUST_USE enum proxy_step proxy_parse(struct span in, struct proxy_header *header);

/* ---- crew.c ---- */

/* A worker is full that is at work nearly all the time, or that whoever comes waits for so long. */
#define CREW_FULL_SHARE   970   /* of a CPU, in thousandths */
#define CREW_FULL_TURN_US 2000  /* CPU time of a turn of the ring, in the mean... */
#define CREW_BUSY_SHARE   500   /* ...of a worker that is busy at all */
#define CREW_LOOK_MS      200   /* between two looks of a worker at itself */
#define CREW_RECENT_MS    600   /* a look that counts */
#define CREW_SPARE_SHARE  900   /* a smaller size would do: each would be at this at most */
#define CREW_SPARE_MS     1000  /* for so long, */
#define CREW_SPARE_MS_MAX 60000 /* or twice as long each time that it grows again... */
#define CREW_HASTY_MS     5000  /* ...within this */
#define CREW_TURN_MS      1000  /* between two wakes of a crew that could be smaller */

/* A worker takes part from join to leave. Sockets are numbered listener * workers + worker. */
void crew_join(struct crew *crew, uint32_t worker, struct ring *ring);
void crew_leave(struct crew *crew, uint32_t worker); /* it accepts nothing any more */

/* Is the socket this worker's to serve? Any moment may change it; then the worker is woken. */
bool crew_wants(const struct crew *crew, uint32_t worker, uint32_t socket);
/* True: nobody had it, and it is the worker's until crew_release(), after its last accept there. */
MUST_USE bool crew_claim(struct crew *crew, uint32_t worker, uint32_t socket);
void crew_release(struct crew *crew, uint32_t worker, uint32_t socket);

/* accept_due(), accept_look(): on the worker's thread. */
MUST_USE bool crew_due(const struct crew *crew, uint32_t worker, uint64_t now_ms);
void crew_look(struct crew *crew, uint32_t worker, uint64_t now_ms, bool crowded);
/* The part of crew_look() that does not measure, but decides. */
void crew_measured(struct crew *crew, uint32_t worker, uint64_t now_ms, uint32_t share, bool full);

/* ---- waiting.c ---- */

#define PROXY_WAITING_MAX 1024 /* connections that wait for a header, for each worker there is */
#define PROXY_FDS_PART    4    /* and all together at most this part of the descriptors there are */
#define PROXY_ENDING_MAX  256  /* besides, those whose receive is being cancelled */
#define PROXY_MS_MAX      5000 /* for a header to come; covers a SYN's or segment's second try */

/* A connection may go on: `peer` is who it counts as, `via` the balancer that its header came from;
 * NULL: the header names nobody, the peer is the balancer. The descriptor is the callee's. */
typedef void waiting_admit_fn(
	void *ctx, int fd, const struct sockaddr_storage *peer, const struct sockaddr_storage *via);

/* Connections of trusted networks, until the last octet of their header. Embedded in its owner. */
struct waiting_room {
	struct ring *ring;
	waiting_admit_fn *admit;
	struct pool pool;
	struct list live; /* of struct waiting, oldest first */
	uint32_t n;       /* of them, those that are not ending */
	uint32_t n_max;   /* of these */
	uint32_t all_max; /* all workers' rooms together */
	uint32_t ms_max;
	bool stopping;
};

/* all_max: how many may wait, at least 1; all of them here until waiting_share() says otherwise. */
void waiting_open(struct waiting_room *room, struct ring *ring, waiting_admit_fn *admit,
	uint32_t all_max, uint32_t ms_max);
/* So many workers take connections now: n_max is this one's part, at least 1. */
void waiting_share(struct waiting_room *room, uint32_t workers);
/*
 * Takes over a connection; `ctx` and `title` (the listener's, for the log) live as long as the room.
 * Later, never from in here, admit(ctx, ...) is called or the connection is closed. Where n_max wait
 * already the oldest of them is closed, counted; where more do, the oldest two. False:
 * PROXY_ENDING_MAX is reached, too, counted; the caller keeps the descriptor.
 */
MUST_USE bool waiting_start(struct waiting_room *room, void *ctx, const char *title, int fd,
	const struct sockaddr_storage *peer);
/* Closes all that wait; waiting_stopped() tells when it is done. Nothing may be started after. */
void waiting_stop(struct waiting_room *room);
bool waiting_stopped(const struct waiting_room *room);
void waiting_close(struct waiting_room *room); /* after it has stopped */

#endif
