/* SPDX-License-Identifier: MIT */
/*
 * accept.c -- multishot accept on the sockets that crew.c has this worker serve, and the door: limits of
 * policy/.
 *
 * Whoever connects is admitted as its own peer address; where that is in the listener's `proxy`, its
 * PROXY header is waited for first (waiting.c) and tells who it is. Both ways end in admit(). What
 * policy/ limits are sessions; connections for web/ pass the fence and web/'s own limit.
 *
 * Out of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM) the kernel ends the multishot; the
 * port stays paused until a session ends or the pause is over, so nothing spins and the backlog
 * waits in the kernel.
 */
#include "accept/accept.h"
#include "accept/accept-private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/event.h"
#include "base/network.h"

#define REFUSAL_TEXT_MAX 160

struct port {
	struct accept *accept;
	const struct listener_settings *listener;
	struct network *proxy; /* listener->proxy, read once */
	struct waiting_room waiting;
	bool waits; /* it is open */
};

/* A listening socket, of any worker. */
struct seat {
	struct port *port;
	struct op op;
	struct op cancel;
	int fd;
	uint32_t socket; /* its number in the crew */
	bool held;       /* ours: crew_claim() */
};

struct accept {
	struct session_facts facts;
	struct session_worker *sessions;
	struct web_worker *web;
	struct wheel_timer pause;
	struct crew *crew;
	bool stopping;
	bool paused;
	size_t ports_n;
	struct port *ports;
	size_t seats_n;
	struct seat seats[];
};

/* Serves the socket if it is this worker's to serve, lets it go if not. */
static void seat_settle(struct seat *seat)
{
	struct accept *accept = seat->port->accept;
	struct crew *crew = accept->crew;
	uint32_t worker = accept->facts.worker;

	if (accept->stopping)
		return;
	if (!seat->held) {
		seat->held = crew_claim(crew, worker, seat->socket);
		if (!seat->held)
			return;
	}
	if (!crew_wants(crew, worker, seat->socket)) {
		if (!seat->op.armed) {
			seat->held = false;
			crew_release(crew, worker, seat->socket);
		} else if (!seat->cancel.armed) {
			ring_cancel(accept->facts.ring, &seat->cancel, &seat->op);
		}
	} else if (!seat->op.armed && !accept->paused) {
		ring_accept(accept->facts.ring, &seat->op, seat->fd);
	}
}

void accept_sit(struct accept *accept)
{
	for (size_t i = 0; i < accept->seats_n; i++)
		seat_settle(&accept->seats[i]);
}

bool accept_due(struct accept *accept)
{
	return crew_due(accept->crew, accept->facts.worker, ring_now_ms(accept->facts.ring));
}

void accept_look(struct accept *accept, bool crowded)
{
	crew_look(accept->crew, accept->facts.worker, ring_now_ms(accept->facts.ring), crowded);
}

static void resume(struct accept *accept)
{
	accept->paused = false;
	wheel_clear(ring_wheel(accept->facts.ring), &accept->pause);
	accept_sit(accept);
}

static void pause_over(struct wheel_timer *timer)
{
	resume(container_of(timer, struct accept, pause));
}

static void session_ended(void *ctx)
{
	struct accept *accept = ctx;

	if (accept->paused)
		resume(accept);
}

static void pause_start(struct accept *accept, int error)
{
	if (accept->paused || accept->stopping)
		return;
	accept->paused = true;
	event_text(COUNTER_ACCEPT_PAUSES, "accept_paused", "error", strerror(error));
	wheel_set(ring_wheel(accept->facts.ring), &accept->pause,
		ring_now_ms(accept->facts.ring) + ACCEPT_PAUSE_MS);
}

static bool is_web(const struct port *port)
{
	return port->listener->protocol == LISTENER_HTTPS;
}

/* Who is blocked is not spoken to; who is over a budget is told so, as far as there is room. */
static bool fence_lets_in(struct port *port, struct fence_client *client, int fd,
	const struct network_end *peer, const struct session_way *way)
{
	struct accept *accept = port->accept;
	bool implicit = port->listener->tls == LISTENER_TLS_IMPLICIT;
	char text[REFUSAL_TEXT_MAX];
	struct smtp_verdict verdict = {SMTP_VERDICT_CLOSE, 421, "4.7.0", text};
	enum fence_reason reason;

	reason = fence_enter(accept->facts.fence, client, peer->address, !way->behind,
		implicit ? FENCE_HANDSHAKE : FENCE_PLAIN);
	if (fence_reason_verdict(reason) != FENCE_VERDICT_REFUSE)
		return true;
	count(COUNTER_SESSIONS_REFUSED_FENCE);
	snprintf(text, sizeof(text), "%s, try again later", fence_reason_text(reason));
	if (reason == FENCE_BLOCKED || reason == FENCE_PENALTY || is_web(port) ||
		!session_refuse(accept->sessions, fd, port->listener, peer, way, &verdict, true))
		close(fd);
	return false;
}

static void admit_web(
	struct port *port, int fd, const struct sockaddr_storage *peer, struct fence_client *client)
{
	if (web_start(port->accept->web, fd, port->listener, peer, client))
		return;
	fence_leave(port->accept->facts.fence, client);
	count(COUNTER_SESSIONS_REFUSED_MEMORY);
	close(fd);
}

/*
 * A connection: through the door to its session, or 421, or away. `from` is who it counts as. What a
 * balancer does for itself (its checks, mostly) counts against no budget of an address: the fence has
 * balancers among those it allows, and to policy/ it is nobody's.
 */
static void admit(struct port *port, int fd, const struct sockaddr_storage *from,
	const struct session_way *way)
{
	struct accept *accept = port->accept;
	struct policy *policy = accept->facts.policy;
	struct fence *fence = accept->facts.fence;
	struct network_end peer = network_end_of(from);
	const uint8_t *counted = way->local ? NULL : peer.address;
	struct fence_client client = {0};
	enum policy_door door;

	if (!fence_lets_in(port, &client, fd, &peer, way))
		return;
	if (is_web(port)) {
		admit_web(port, fd, from, &client);
		return;
	}
	door = policy_enter(policy, counted);
	if (door == POLICY_DOOR_OPEN) {
		if (session_start(accept->sessions, fd, port->listener, &peer, &client, way))
			return;
		policy_leave(policy, counted);
		fence_leave(fence, &client);
		count(COUNTER_SESSIONS_REFUSED_MEMORY);
		close(fd);
		return;
	}
	fence_leave(fence, &client);
	count(door == POLICY_DOOR_FULL ? COUNTER_SESSIONS_REFUSED_TOTAL
				       : COUNTER_SESSIONS_REFUSED_ADDRESS);
	if (!session_refuse(accept->sessions, fd, port->listener, &peer, way,
		    policy_door_verdict(door), false))
		close(fd);
}

static void header_came(
	void *ctx, int fd, const struct sockaddr_storage *peer, const struct sockaddr_storage *via)
{
	struct session_way way = {.behind = via != NULL, .local = via == NULL};

	if (via != NULL)
		way.via = network_end_of(via);
	admit(ctx, fd, peer, &way);
}

static bool header_due(const struct port *port, const struct sockaddr_storage *peer)
{
	uint8_t address[NETWORK_BYTES];

	network_address(peer, address);
	for (size_t i = 0; i < port->listener->proxy_n; i++)
		if (network_has(&port->proxy[i], address))
			return true;
	return false;
}

static void accepted(struct port *port, int fd)
{
	struct accept *accept = port->accept;
	struct sockaddr_storage peer = {0};
	uint8_t address[NETWORK_BYTES];
	socklen_t n = sizeof(peer);

	if (getpeername(fd, (struct sockaddr *)&peer, &n) != 0) { /* gone already */
		close(fd);
		return;
	}
	if (!header_due(port, &peer)) {
		admit(port, fd, &peer, &(struct session_way){0});
		return;
	}
	/* Where no kernel drops its SYN: nobody comes in behind a balancer that is blocked. */
	network_address(&peer, address);
	waiting_share(&port->waiting, crew_size(accept->crew));
	if (fence_blocked(accept->facts.fence, address)) {
		count(COUNTER_SESSIONS_REFUSED_FENCE);
		close(fd);
	} else if (!waiting_start(&port->waiting, port, port->listener->title, fd, &peer)) {
		close(fd);
	}
}

static void accept_done(struct op *op, int res, uint32_t flags)
{
	struct seat *seat = container_of(op, struct seat, op);
	struct port *port = seat->port;

	if (res >= 0) {
		if (port->accept->stopping)
			close(res);
		else
			accepted(port, res);
	} else if (res == -EINVAL) {
		return; /* it listens no more: the gateway ends, and this worker is told next */
	} else if (res != -ECANCELED && res != -ECONNABORTED && res != -EINTR && res != -EAGAIN) {
		pause_start(port->accept, -res);
	}
	if (!(flags & RING_MORE))
		seat_settle(seat);
}

static void cancel_done(struct op *op, int res, uint32_t flags)
{
	(void)res;
	(void)flags;
	seat_settle(container_of(op, struct seat, cancel));
}

/*
 * How many may wait for their header at a listener, all workers together. Each is a descriptor and has
 * done nothing yet: a quarter of what there are, shared by the listeners, leaves the rest to sessions,
 * whoever of a trusted network connects and says nothing.
 */
static uint32_t waiting_max(const struct session_facts *facts)
{
	const struct config *config = facts->config;
	uint64_t most = (uint64_t)PROXY_WAITING_MAX * facts->workers;
	uint64_t share, listeners = 0;
	struct rlimit limit;

	for (size_t i = 0; i < config->listeners_n; i++)
		listeners += config->listeners[i].proxy_n > 0;
	if (listeners == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return (uint32_t)most;
	share = limit.rlim_cur / PROXY_FDS_PART / listeners;
	if (share > most)
		return (uint32_t)most;
	return share > 0 ? (uint32_t)share : 1;
}

static int port_open(struct accept *accept, struct port *port,
	const struct listener_settings *listener, struct err *err)
{
	*port = (struct port){.accept = accept, .listener = listener};
	if (listener->proxy_n == 0)
		return 0;
	port->proxy = calloc(listener->proxy_n, sizeof(port->proxy[0]));
	if (port->proxy == NULL)
		return err_set(err, "out of memory");
	for (size_t i = 0; i < listener->proxy_n; i++)
		if (!network_parse(listener->proxy[i], &port->proxy[i]))
			return err_set(err, "listener \"%s\": \"%s\" is not a network",
				listener->title, listener->proxy[i]);
	waiting_open(&port->waiting, accept->facts.ring, header_came, waiting_max(&accept->facts),
		PROXY_MS_MAX);
	port->waits = true;
	return 0;
}

static void accept_free(struct accept *accept)
{
	for (size_t i = 0; i < accept->ports_n; i++)
		free(accept->ports[i].proxy);
	free(accept->ports);
	free(accept);
}

static int ports_open(struct accept *accept, struct err *err)
{
	const struct config *config = accept->facts.config;

	accept->ports = calloc(config->listeners_n + 1, sizeof(accept->ports[0]));
	if (accept->ports == NULL)
		return err_set(err, "out of memory");
	for (; accept->ports_n < config->listeners_n; accept->ports_n++)
		if (port_open(accept, &accept->ports[accept->ports_n],
			    &config->listeners[accept->ports_n], err) != 0)
			return -1;
	return 0;
}

int accept_open(struct accept **out, const struct session_facts *facts,
	struct session_worker *sessions, struct web_worker *web, struct crew *crew, const int *fds,
	struct err *err)
{
	size_t n = facts->config->listeners_n * facts->workers;
	struct accept *accept = calloc(1, sizeof(*accept) + n * sizeof(accept->seats[0]));

	if (accept == NULL)
		return err_set(err, "out of memory");
	accept->facts = *facts;
	accept->sessions = sessions;
	accept->web = web;
	accept->crew = crew;
	if (ports_open(accept, err) != 0) {
		accept_free(accept);
		return -1;
	}
	for (; accept->seats_n < n; accept->seats_n++)
		accept->seats[accept->seats_n] = (struct seat){
			.port = &accept->ports[accept->seats_n / facts->workers],
			.op.done = accept_done,
			.cancel.done = cancel_done,
			.fd = fds[accept->seats_n],
			.socket = (uint32_t)accept->seats_n,
		};
	wheel_timer_init(&accept->pause, pause_over);
	session_worker_on_end(sessions, session_ended, accept);
	web_worker_on_end(web, session_ended, accept);
	crew_join(crew, facts->worker, facts->ring);
	accept_sit(accept);
	*out = accept;
	return 0;
}

void accept_stop(struct accept *accept)
{
	if (accept->stopping)
		return;
	accept->stopping = true;
	wheel_clear(ring_wheel(accept->facts.ring), &accept->pause);
	for (size_t i = 0; i < accept->seats_n; i++) {
		struct seat *seat = &accept->seats[i];

		if (seat->op.armed && !seat->cancel.armed)
			ring_cancel(accept->facts.ring, &seat->cancel, &seat->op);
		/* The parent holds it open, too: without this clients would be left waiting. */
		shutdown(seat->fd, SHUT_RDWR);
	}
	for (size_t i = 0; i < accept->ports_n; i++)
		if (accept->ports[i].waits)
			waiting_stop(&accept->ports[i].waiting);
}

bool accept_stopped(const struct accept *accept)
{
	for (size_t i = 0; i < accept->seats_n; i++)
		if (accept->seats[i].op.armed || accept->seats[i].cancel.armed)
			return false;
	for (size_t i = 0; i < accept->ports_n; i++)
		if (accept->ports[i].waits && !waiting_stopped(&accept->ports[i].waiting))
			return false;
	return accept->stopping;
}

void accept_close(struct accept *accept)
{
	ASSERT(accept_stopped(accept));
	crew_leave(accept->crew, accept->facts.worker);
	session_worker_on_end(accept->sessions, NULL, NULL);
	web_worker_on_end(accept->web, NULL, NULL);
	for (size_t i = 0; i < accept->ports_n; i++)
		if (accept->ports[i].waits)
			waiting_close(&accept->ports[i].waiting);
	accept_free(accept);
}
