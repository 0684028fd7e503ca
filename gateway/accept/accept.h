/* SPDX-License-Identifier: MIT */
/*
 * accept.h -- listeners and admission: opens the sockets, takes connections, hands them to
 * session/, or to web/ where the listener speaks HTTPS. Reads the PROXY headers of trusted balancers.
 */
#ifndef POSTERN_ACCEPT_ACCEPT_H
#define POSTERN_ACCEPT_ACCEPT_H

#include "session/session.h"
#include "web/web.h"

/*
 * Binds and listens, one socket a worker (SO_REUSEPORT, so that the kernel spreads connections):
 * fds[i] for worker i. To be called with the privilege that the port needs. -1 and err on failure.
 */
MUST_USE int accept_listen(
	const struct listener_settings *listener, int *fds, uint32_t workers, struct err *err);

/* ---- crew.c: which workers take new connections ---- */

struct crew;

/* `all`: every worker, always; else as few as keep up. NULL: no memory. */
MUST_USE struct crew *crew_open(uint32_t workers, uint32_t listeners, bool all);
void crew_close(struct crew *crew); /* NULL too; every accept is closed */
uint32_t crew_size(const struct crew *crew);
void crew_turn(struct crew *crew); /* now and then, on the control thread */

/* ---- accept.c ---- */

struct accept;

/*
 * Accepts on the listening sockets that are the worker's to serve, of all: fds[listener * workers +
 * worker]. The descriptors stay the caller's, the crew is shared. A connection from one of a listener's `proxy` networks must begin with a PROXY
 * header and counts as the client that it names; what others send is never taken for one. When descriptors or memory run out, accepting pauses until a session ends, and
 * tries again every ACCEPT_PAUSE_MS.
 */
MUST_USE int accept_open(struct accept **out, const struct session_facts *facts,
	struct session_worker *sessions, struct web_worker *web, struct crew *crew, const int *fds,
	struct err *err);

/* After a wake: serves the sockets that are the worker's now, lets go the others. */
void accept_sit(struct accept *accept);
/* Once a turn: is it time for accept_look()? */
MUST_USE bool accept_due(struct accept *accept);
/* How busy this worker is, for the crew; `crowded`: it is better left alone, however little it does. */
void accept_look(struct accept *accept, bool crowded);

/* Stops accepting for good: connections in the backlog are reset and new ones refused, whoever else
 * has the sockets open; those that wait for a PROXY header are closed. accept_stopped() tells when
 * it is done. */
void accept_stop(struct accept *accept);
bool accept_stopped(const struct accept *accept);
void accept_close(struct accept *accept); /* after it has stopped */

#define ACCEPT_PAUSE_MS 100
#define ACCEPT_BACKLOG  4096

#endif
