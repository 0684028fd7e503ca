/* SPDX-License-Identifier: MIT */
/*
 * session.h -- one inbound connection from accept to close, and the worker's share of all of them.
 *
 * The one coordinator: it sees ring, tls, smtp, policy, fence and spool, which do not see each other. A
 * session is a straight walk (received octets, TLS, SMTP, policy, spool, reply octets), driven by
 * completions of operations that it owns and by one timer.
 */
#ifndef POSTERN_SESSION_SESSION_H
#define POSTERN_SESSION_SESSION_H

#include "base/network.h"
#include "config/settings.h"
#include "fence/fence.h"
#include "policy/policy.h"
#include "ring/ring.h"
#include "tls/tls.h"
#include "watch/watch.h"

struct session_worker;

/* What a worker's sessions share. All pointers outlive the worker. */
struct session_facts {
	const struct config *config;
	struct policy *policy;
	struct fence *fence;
	const struct tls_kernel *kernel;
	struct ring *ring;
	uint32_t worker;                /* its number, part of session ids */
	uint32_t workers;               /* how many there are */
	struct spool *spool;            /* of this worker */
	struct watch *watch;            /* NULL: nobody watches */
	struct policy_callout *callout; /* NULL: no next hop is ever asked */
};

/* `tls` may be NULL when no listener speaks TLS; the worker holds its own count. */
MUST_USE int session_worker_open(struct session_worker **out, const struct session_facts *facts,
	struct tls_context *tls, struct err *err);
void session_worker_close(struct session_worker *worker); /* no session may be left */

/* New sessions use `tls` from now on; takes over the caller's count. */
void session_worker_tls(struct session_worker *worker, struct tls_context *tls);

/* Sessions without a message under way get 421 now, the others after it. */
void session_worker_drain(struct session_worker *worker);

/* Ends every session without another word. */
void session_worker_abort(struct session_worker *worker);

/* No session left. */
bool session_worker_idle(const struct session_worker *worker);

/* Called when a session ended: its descriptor is free again. */
void session_worker_on_end(struct session_worker *worker, void (*on_end)(void *ctx), void *ctx);

/* How a connection came. */
struct session_way {
	bool behind; /* through a balancer, whose PROXY header names the peer */
	bool local; /* the balancer's own: its PROXY header names nobody; entered policy/ as nobody */
	struct network_end via; /* behind: the balancer */
};

/*
 * Takes over a connected socket that policy_enter() and fence_enter() let in; policy_leave() and
 * fence_leave() are called at its end; *client and *way are copied. False when memory is short: the
 * caller keeps the socket and what it entered.
 */
MUST_USE bool session_start(struct session_worker *worker, int fd,
	const struct listener_settings *listener, const struct network_end *peer,
	const struct fence_client *client, const struct session_way *way);

/* The same for a connection that is answered 421 and closed; it was not let in. False, too, when
 * many are being answered so: they must not take the room of those that are let in. `quiet`: without
 * a line in the log, for whom the fence refuses, as that has its samples and counts. */
MUST_USE bool session_refuse(struct session_worker *worker, int fd,
	const struct listener_settings *listener, const struct network_end *peer,
	const struct session_way *way, const struct smtp_verdict *verdict, bool quiet);

#endif
