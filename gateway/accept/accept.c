/* SPDX-License-Identifier: MIT */
/*
 * accept.c -- multishot accept on each listener of a worker, and the door: limits of policy/.
 *
 * Out of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM) the kernel ends the multishot; the
 * port stays paused until a session ends or the pause is over, so nothing spins and the backlog
 * waits in the kernel.
 */
#include "accept/accept.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/event.h"

struct port {
	struct accept *accept;
	const struct listener_settings *listener;
	struct op op;
	struct op cancel;
	int fd;
};

struct accept {
	struct session_facts facts;
	struct session_worker *sessions;
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

/* A connection: through the door to its session, or 421, or away. */
static void admit(struct port *port, int fd)
{
	struct accept *accept = port->accept;
	struct policy *policy = accept->facts.policy;
	struct sockaddr_storage peer = {0};
	socklen_t n = sizeof(peer);
	enum policy_door door;

	if (getpeername(fd, (struct sockaddr *)&peer, &n) != 0) { /* gone already */
		close(fd);
		return;
	}
	door = policy_enter(policy, &peer);
	if (door == POLICY_DOOR_OPEN) {
		if (session_start(accept->sessions, fd, port->listener, &peer))
			return;
		policy_leave(policy, &peer);
		count(COUNTER_SESSIONS_REFUSED_MEMORY);
		close(fd);
		return;
	}
	count(door == POLICY_DOOR_FULL ? COUNTER_SESSIONS_REFUSED_TOTAL
				       : COUNTER_SESSIONS_REFUSED_ADDRESS);
	if (!session_refuse(accept->sessions, fd, port->listener, &peer, policy_door_verdict(door)))
		close(fd);
}

static void accept_done(struct op *op, int res, uint32_t flags)
{
	struct port *port = container_of(op, struct port, op);

	if (res >= 0) {
		if (port->accept->stopping)
			close(res);
		else
			admit(port, res);
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
	wheel_timer_init(&accept->pause, pause_over);
	session_worker_on_end(sessions, session_ended, accept);
	for (size_t i = 0; i < n; i++) {
		accept->ports[i] = (struct port){
			.accept = accept,
			.listener = &facts->config->listeners[i],
			.op.done = accept_done,
			.cancel.done = cancel_done,
			.fd = fds[i],
		};
		port_arm(&accept->ports[i]);
	}
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
}

bool accept_stopped(const struct accept *accept)
{
	for (size_t i = 0; i < accept->ports_n; i++)
		if (accept->ports[i].op.armed || accept->ports[i].cancel.armed)
			return false;
	return accept->stopping;
}

void accept_close(struct accept *accept)
{
	ASSERT(accept_stopped(accept));
	session_worker_on_end(accept->sessions, NULL, NULL);
	free(accept);
}
