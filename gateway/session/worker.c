/* SPDX-License-Identifier: MIT */
/* worker.c -- what a worker's sessions share: pools, the TLS context for new ones; draining.
 */
#include "session/session-private.h"

#include <stdlib.h>

#define LARGE_MAX 65536 /* handshakes and decryptions under way in one worker */

int session_worker_open(struct session_worker **out, const struct session_facts *facts,
	struct tls_context *tls, struct err *err)
{
	const struct config *config = facts->config;
	uint32_t sessions = config->policy.sessions_max + SESSION_REFUSED_MAX;
	struct session_worker *worker = calloc(1, sizeof(*worker));

	if (worker == NULL)
		return err_set(err, "out of memory");
	worker->facts = *facts;
	worker->tls = tls != NULL ? tls_context_hold(tls) : NULL;
	pool_open(&worker->sessions, sizeof(struct session), sessions);
	pool_open(&worker->small, SESSION_SMALL_BYTES, sessions * 2);
	pool_open(&worker->large, SESSION_LARGE_BYTES, LARGE_MAX);
	smtp_pools_open(&worker->smtp, sessions);
	ring_msg_init(&worker->recv_msg);
	list_init(&worker->live);
	*out = worker;
	return 0;
}

void session_worker_close(struct session_worker *worker)
{
	ASSERT(list_empty(&worker->live));
	if (worker->tls != NULL)
		tls_context_release(worker->tls);
	pool_close(&worker->sessions);
	pool_close(&worker->small);
	pool_close(&worker->large);
	smtp_pools_close(&worker->smtp);
	free(worker);
}

void session_worker_tls(struct session_worker *worker, struct tls_context *tls)
{
	if (worker->tls != NULL)
		tls_context_release(worker->tls);
	worker->tls = tls;
}

void session_worker_on_end(struct session_worker *worker, void (*on_end)(void *ctx), void *ctx)
{
	worker->on_end = on_end;
	worker->on_end_ctx = ctx;
}

/* Visits each session that lives now once, though the visit may free it. */
static void for_each(struct session_worker *worker, void (*visit)(struct session *session))
{
	struct list seen;

	list_init(&seen);
	while (!list_empty(&worker->live)) {
		struct list *node = list_pop_front(&worker->live);

		list_push_back(&seen, node);
		visit(container_of(node, struct session, node));
	}
	list_splice_back(&worker->live, &seen);
}

static void drain_one(struct session *session)
{
	if (session->stage != SESSION_STAGE_SMTP && session->stage < SESSION_STAGE_LAST)
		session_kill(session, SESSION_END_SHUTDOWN);
	session_step(session);
}

void session_worker_drain(struct session_worker *worker)
{
	worker->draining = true;
	for_each(worker, drain_one);
}

static void abort_one(struct session *session)
{
	session_kill(session, SESSION_END_SHUTDOWN);
	session_step(session);
}

void session_worker_abort(struct session_worker *worker)
{
	worker->draining = true;
	for_each(worker, abort_one);
}

bool session_worker_idle(const struct session_worker *worker)
{
	return list_empty(&worker->live);
}
