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

struct accept;

/*
 * Accepts on a worker's listening sockets, fds[i] for config->listeners[i]. The descriptors stay
 * the caller's. A connection from one of a listener's `proxy` networks must begin with a PROXY
 * header and counts as the client that it names; what others send is never taken for one. When descriptors or memory run out, accepting pauses until a session ends, and
 * tries again every ACCEPT_PAUSE_MS.
 */
MUST_USE int accept_open(struct accept **out, const struct session_facts *facts,
	struct session_worker *sessions, struct web_worker *web, const int *fds, struct err *err);

/* Stops accepting for good: connections in the backlog are reset and new ones refused, whoever else
 * has the sockets open; those that wait for a PROXY header are closed. accept_stopped() tells when
 * it is done. */
void accept_stop(struct accept *accept);
bool accept_stopped(const struct accept *accept);
void accept_close(struct accept *accept); /* after it has stopped */

#define ACCEPT_PAUSE_MS 100
#define ACCEPT_BACKLOG  4096

#endif
