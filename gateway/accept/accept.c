/* SPDX-License-Identifier: MIT */
/*
 * accept.c -- multishot accept on each listener of a worker, and the door: limits of policy/.
 *
 * Whoever connects is admitted as its own peer address; where that is in the listener's `proxy`, its
 * PROXY header is waited for first (waiting.c) and tells who it is. Both ways end in admit().
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
#include <unistd.h>

#include "base/counter.h"
#include "base/event.h"
#include "base/network.h"

#define REFUSAL_TEXT_MAX 160

struct port {
	struct accept *accept;
	const struct listener_settings *listener;
	struct network *proxy; /* listener->proxy, read once */
	struct op op;
	struct op cancel;
	int fd;
};

struct accept {
	struct session_facts facts;
	struct session_worker *sessions;
	struct waiting_room waiting;
	struct wheel_timer pause;
	bool stopping;
	bool paused;
	size_t ports_n;
	struct port ports[];
};

static void port_arm(struct port *port)
{
	if (!port->accept->stopping && !port->op.armed)
		ring_accept(port->accept->facts.ring, &port->op, port->fd);
}

static void resume(struct accept *accept)
{
	accept->paused = false;
	wheel_clear(ring_wheel(accept->facts.ring), &accept->pause);
	for (size_t i = 0; i < accept->ports_n; i++)
		port_arm(&accept->ports[i]);
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

/* Who is blocked is not spoken to; who is over a budget is told so, as far as there is room. */
static bool fence_lets_in(struct port *port, struct fence_client *client, int fd,
	const struct sockaddr_storage *peer, bool direct)
{
	struct accept *accept = port->accept;
	bool implicit = port->listener->tls == LISTENER_TLS_IMPLICIT;
	uint8_t address[NETWORK_BYTES];
	char text[REFUSAL_TEXT_MAX];
	struct smtp_verdict verdict = {SMTP_VERDICT_CLOSE, 421, "4.7.0", text};
	enum fence_reason reason;

	network_address(peer, address);
	reason = fence_enter(accept->facts.fence, client, address, direct,
		implicit ? FENCE_HANDSHAKE : FENCE_PLAIN);
	if (fence_reason_verdict(reason) != FENCE_VERDICT_REFUSE)
		return true;
	count(COUNTER_SESSIONS_REFUSED_FENCE);
	snprintf(text, sizeof(text), "%s, try again later", fence_reason_text(reason));
	if (reason == FENCE_BLOCKED || reason == FENCE_PENALTY ||
		!session_refuse(accept->sessions, fd, port->listener, peer, &verdict, true))
		close(fd);
	return false;
}

/*
 * A connection: through the door to its session, or 421, or away. `peer` is who it counts as;
 * `direct`: who connected, not who a balancer says is behind it.
 */
static void admit(struct port *port, int fd, const struct sockaddr_storage *peer, bool direct)
{
	struct accept *accept = port->accept;
	struct policy *policy = accept->facts.policy;
	struct fence *fence = accept->facts.fence;
	struct fence_client client = {0};
	enum policy_door door;

	if (!fence_lets_in(port, &client, fd, peer, direct))
		return;
	door = policy_enter(policy, peer);
	if (door == POLICY_DOOR_OPEN) {
		if (session_start(accept->sessions, fd, port->listener, peer, &client, direct))
			return;
		policy_leave(policy, peer);
		fence_leave(fence, &client);
		count(COUNTER_SESSIONS_REFUSED_MEMORY);
		close(fd);
		return;
	}
	fence_leave(fence, &client);
	count(door == POLICY_DOOR_FULL ? COUNTER_SESSIONS_REFUSED_TOTAL
				       : COUNTER_SESSIONS_REFUSED_ADDRESS);
	if (!session_refuse(
		    accept->sessions, fd, port->listener, peer, policy_door_verdict(door), false))
		close(fd);
}

static void header_came(void *ctx, int fd, const struct sockaddr_storage *peer, bool direct)
{
	admit(ctx, fd, peer, direct);
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
		admit(port, fd, &peer, true);
		return;
	}
	/* Where no kernel drops its SYN: nobody comes in behind a balancer that is blocked. */
	network_address(&peer, address);
	if (fence_blocked(accept->facts.fence, address)) {
		count(COUNTER_SESSIONS_REFUSED_FENCE);
		close(fd);
	} else if (!waiting_start(&accept->waiting, port, port->listener->title, fd, &peer)) {
		close(fd);
	}
}

static void accept_done(struct op *op, int res, uint32_t flags)
{
	struct port *port = container_of(op, struct port, op);

	if (res >= 0) {
		if (port->accept->stopping)
			close(res);
		else
			accepted(port, res);
	} else if (res == -EMFILE || res == -ENFILE || res == -ENOBUFS || res == -ENOMEM) {
		pause_start(port->accept, -res);
	} else if (res != -ECANCELED && res != -ECONNABORTED && res != -EINTR && res != -EAGAIN) {
		pause_start(port->accept, -res);
	}
	if (!(flags & RING_MORE) && !port->accept->paused)
		port_arm(port);
}

static void cancel_done(struct op *op, int res, uint32_t flags)
{
	(void)op;
	(void)res;
	(void)flags;
}

static int port_open(struct accept *accept, struct port *port,
	const struct listener_settings *listener, int fd, struct err *err)
{
	*port = (struct port){
		.accept = accept,
		.listener = listener,
		.op.done = accept_done,
		.cancel.done = cancel_done,
		.fd = fd,
	};
	if (listener->proxy_n == 0)
		return 0;
	port->proxy = calloc(listener->proxy_n, sizeof(port->proxy[0]));
	if (port->proxy == NULL)
		return err_set(err, "out of memory");
	for (size_t i = 0; i < listener->proxy_n; i++)
		if (!network_parse(listener->proxy[i], &port->proxy[i]))
			return err_set(err, "listener \"%s\": \"%s\" is not a network",
				listener->title, listener->proxy[i]);
	return 0;
}

static void accept_free(struct accept *accept)
{
	for (size_t i = 0; i < accept->ports_n; i++)
		free(accept->ports[i].proxy);
	free(accept);
}

int accept_open(struct accept **out, const struct session_facts *facts,
	struct session_worker *sessions, const int *fds, struct err *err)
{
	size_t n = facts->config->listeners_n;
	struct accept *accept = calloc(1, sizeof(*accept) + n * sizeof(accept->ports[0]));

	if (accept == NULL)
		return err_set(err, "out of memory");
	accept->facts = *facts;
	accept->sessions = sessions;
	accept->ports_n = n;
	for (size_t i = 0; i < n; i++) {
		if (port_open(accept, &accept->ports[i], &facts->config->listeners[i], fds[i],
			    err) == 0)
			continue;
		accept_free(accept);
		return -1;
	}
	waiting_open(&accept->waiting, facts->ring, header_came, PROXY_MS_MAX);
	wheel_timer_init(&accept->pause, pause_over);
	session_worker_on_end(sessions, session_ended, accept);
	for (size_t i = 0; i < n; i++)
		port_arm(&accept->ports[i]);
	*out = accept;
	return 0;
}

void accept_stop(struct accept *accept)
{
	if (accept->stopping)
		return;
	accept->stopping = true;
	wheel_clear(ring_wheel(accept->facts.ring), &accept->pause);
	for (size_t i = 0; i < accept->ports_n; i++) {
		if (accept->ports[i].op.armed)
			ring_cancel(
				accept->facts.ring, &accept->ports[i].cancel, &accept->ports[i].op);
		/* The parent holds it open, too: without this clients would be left waiting. */
		shutdown(accept->ports[i].fd, SHUT_RDWR);
	}
	waiting_stop(&accept->waiting);
}

bool accept_stopped(const struct accept *accept)
{
	for (size_t i = 0; i < accept->ports_n; i++)
		if (accept->ports[i].op.armed || accept->ports[i].cancel.armed)
			return false;
	return accept->stopping && waiting_stopped(&accept->waiting);
}

void accept_close(struct accept *accept)
{
	ASSERT(accept_stopped(accept));
	session_worker_on_end(accept->sessions, NULL, NULL);
	waiting_close(&accept->waiting);
	accept_free(accept);
}
