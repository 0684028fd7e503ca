/* SPDX-License-Identifier: MIT */
/*
 * guard.c -- what a session asks of the fence and tells it.
 *
 * Octets over a budget are never thrown away: they stay in the kernel while reading is paused, and
 * TCP tells the sender. The time of a pause is not the client's: its limits move on by as much, and
 * by no more, so nobody gains time by being over a budget. Only the dialogue is paused: what comes in
 * a handshake, or after our last reply, is metered, and has limits that nothing moves.
 * A handshake that may not begin is answered 421, not 454: a sender that is told "TLS not available"
 * would go on in clear.
 */
#include "session/session-private.h"

#include <stdio.h>

#include "base/counter.h"

#define MS_NS 1000000ull

static struct fence *fence_of(const struct session *session)
{
	return session->worker->facts.fence;
}

static void refuse(struct session *session, enum fence_reason reason, struct smtp_verdict *verdict,
	char text[SESSION_GUARD_TEXT])
{
	snprintf(text, SESSION_GUARD_TEXT, "%s, try again later", fence_reason_text(reason));
	*verdict = (struct smtp_verdict){SMTP_VERDICT_CLOSE, 421, "4.7.0", text};
	session->end = session->end == SESSION_END_NONE ? SESSION_END_FENCE : session->end;
}

bool session_guard_shake(
	struct session *session, struct smtp_verdict *verdict, char text[SESSION_GUARD_TEXT])
{
	enum fence_reason reason = fence_shake(fence_of(session), &session->client, session->fd);

	if (fence_reason_verdict(reason) != FENCE_VERDICT_REFUSE)
		return true;
	refuse(session, reason, verdict, text);
	return false;
}

/*
 * No strike: ended by us; a look at the port of implicit TLS without an octet, as monitors do; and a
 * hello of a sender that has no version or suite in common with us, as old ones, which cost us next to
 * nothing: no key was used for it. How many of these there may be is a budget's to say.
 */
static bool harmless(const struct session *session)
{
	return session->end == SESSION_END_SHUTDOWN || session->end == SESSION_END_MEMORY ||
	       session->bytes_in == 0 || session->disagreed;
}

void session_guard_shaken(struct session *session, bool completed)
{
	if (!session->client.shaking)
		return;
	if (!completed && harmless(session))
		fence_unshaken(fence_of(session), &session->client);
	else
		fence_shaken(fence_of(session), &session->client, session->fd, completed);
}

static void pause_for(struct session *session, uint32_t ms)
{
	if (ms == 0 || session->stage > SESSION_STAGE_SMTP)
		return;
	if (session->pause_until_ms == 0) {
		count(COUNTER_SESSIONS_PAUSED);
		session->paused_ms = session_now(session);
	}
	session->pause_until_ms = session_now(session) + ms;
}

void session_guard_received(struct session *session, size_t n)
{
	uint64_t now_ns = session_now(session) * MS_NS;

	if (!session->client.entered) /* it is being told 421 */
		return;
	pause_for(session, fence_received(fence_of(session), &session->client, n, now_ns));
}

bool session_guard_paused(struct session *session)
{
	if (session->pause_until_ms == 0)
		return false;
	if (session_now(session) < session->pause_until_ms)
		return true;
	session_guard_received(session, 0); /* goes on where a budget is overdrawn still */
	if (session_now(session) < session->pause_until_ms)
		return true;
	session->pause_until_ms = 0;
	session_limits_move(session, session_now(session) - session->paused_ms);
	return false;
}

void session_guard_accepted(struct session *session)
{
	if (!session->tls_up) {
		fence_forgive(fence_of(session), &session->client);
		return;
	}
	if (session->behaved)
		return;
	session->behaved = true;
	fence_behaved(fence_of(session), &session->client);
}

/* Whom policy/ counts: not a balancer that speaks for itself, or its checks could shut themselves out. */
static const uint8_t *counted_as(const struct session *session)
{
	return session->local ? NULL : session->peer.address;
}

void session_guard_door_leave(struct session *session)
{
	policy_leave(session->worker->facts.policy, counted_as(session));
}

/*
 * Who it was leaves first, so that the last place is enough; who is refused is nobody's any more and
 * counts among those that are told 421. One that only has another port is the same.
 */
bool session_guard_become(struct session *session, const struct network_end *peer, bool direct,
	struct smtp_verdict *verdict, char text[SESSION_GUARD_TEXT])
{
	struct policy *policy = session->worker->facts.policy;
	enum fence_reason reason;
	enum policy_door door;

	if (memcmp(session->peer.address, peer->address, NETWORK_BYTES) == 0) {
		session_peer_set(session, peer);
		return true;
	}
	if (session->pause_until_ms != 0) { /* it was about the other one */
		session_limits_move(session, session_now(session) - session->paused_ms);
		session->pause_until_ms = 0;
	}
	session_guard_leave(session);
	session_guard_door_leave(session);
	session->admitted = false;
	session->local = direct && session->way.local;
	session->worker->refused++;
	session->behaved = false;
	session_peer_set(session, peer);
	reason = fence_enter(
		fence_of(session), &session->client, peer->address, direct, FENCE_PLAIN);
	if (fence_reason_verdict(reason) == FENCE_VERDICT_REFUSE) {
		count(COUNTER_SESSIONS_REFUSED_FENCE);
		refuse(session, reason, verdict, text);
		return false;
	}
	door = policy_enter(policy, counted_as(session));
	if (door != POLICY_DOOR_OPEN) {
		count(door == POLICY_DOOR_FULL ? COUNTER_SESSIONS_REFUSED_TOTAL
					       : COUNTER_SESSIONS_REFUSED_ADDRESS);
		session_guard_leave(session);
		session->end =
			session->end == SESSION_END_NONE ? SESSION_END_REFUSED : session->end;
		*verdict = *policy_door_verdict(door);
		return false;
	}
	if (session->tls_up)
		session->client.class = FENCE_UPGRADED;
	session->admitted = true;
	session->worker->refused--;
	return true;
}

void session_guard_leave(struct session *session)
{
	session_guard_shaken(session, false);
	if (session->client.entered)
		fence_leave(fence_of(session), &session->client);
}
