/* SPDX-License-Identifier: MIT */
/* worker.c -- what a worker's connections share: places, certificates and policies for new ones. */
#include "web/web-private.h"

#include <stdlib.h>

int web_worker_open(struct web_worker **out, const struct web_facts *facts, struct tls_context *tls,
	struct web_policies *policies, struct err *err)
{
	struct web_worker *worker = calloc(1, sizeof(*worker));

	if (worker == NULL)
		return err_set(err, "out of memory");
	worker->facts = *facts;
	worker->tls = tls != NULL ? tls_context_hold(tls) : NULL;
	worker->policies = web_policies_hold(policies);
	pool_open(&worker->conns, sizeof(struct web_conn), WEB_CONNECTIONS_MAX + WEB_ENDING_MAX);
	list_init(&worker->live);
	*out = worker;
	return 0;
}

void web_worker_close(struct web_worker *worker)
{
	ASSERT(list_empty(&worker->live));
	if (worker->tls != NULL)
		tls_context_release(worker->tls);
	web_policies_release(worker->policies);
	pool_close(&worker->conns);
	free(worker);
}

void web_worker_tls(struct web_worker *worker, struct tls_context *tls)
{
	if (worker->tls != NULL)
		tls_context_release(worker->tls);
	worker->tls = tls;
}

void web_worker_policies(struct web_worker *worker, struct web_policies *policies)
{
	web_policies_release(worker->policies);
	worker->policies = policies;
}

void web_worker_on_end(struct web_worker *worker, void (*on_end)(void *ctx), void *ctx)
{
	worker->on_end = on_end;
	worker->on_end_ctx = ctx;
}

/* Visits each connection that lives now once, though the visit may free it. */
static void for_each(struct web_worker *worker, void (*visit)(struct web_conn *conn))
{
	struct list seen;

	list_init(&seen);
	while (!list_empty(&worker->live)) {
		struct list *node = list_pop_front(&worker->live);

		list_push_back(&seen, node);
		visit(container_of(node, struct web_conn, node));
	}
	list_splice_back(&worker->live, &seen);
}

static void drain_one(struct web_conn *conn)
{
	if (conn->stage == WEB_STAGE_HANDSHAKE)
		web_kill(conn, WEB_END_SHUTDOWN);
	if (conn->stage == WEB_STAGE_REQUEST && conn->request_ms == 0) {
		web_receive_stop(conn);
		web_finish(conn, WEB_END_SHUTDOWN);
	}
	web_step(conn);
}

void web_worker_drain(struct web_worker *worker)
{
	worker->draining = true;
	for_each(worker, drain_one);
}

static void abort_one(struct web_conn *conn)
{
	web_kill(conn, WEB_END_SHUTDOWN);
	web_step(conn);
}

void web_worker_abort(struct web_worker *worker)
{
	worker->draining = true;
	for_each(worker, abort_one);
}

bool web_worker_idle(const struct web_worker *worker)
{
	return list_empty(&worker->live);
}
