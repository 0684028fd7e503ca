/* SPDX-License-Identifier: MIT */
/*
 * worker.c -- one thread, one ring, its listeners, sessions, spool and relay; nothing shared but
 * what is read-only.
 *
 * The control thread speaks to a worker through atomic fields, a list of calls and a wake; the
 * worker answers by its state, by the calls' and by the control thread's eventfd.
 *
 * Draining goes from the door inwards: accepting stops, sessions end, the relay ends what it has
 * begun, the spool writes what it was told; what is still queued waits on disk for the next start.
 *
 * Log lines are collected during a turn and written by one operation of the ring before it waits, to
 * a pipe in pieces of whole lines of at most PIPE_BUF octets, so that lines of two workers do not mix.
 * A write to a file costs a thread of io-wq each time, so there lines wait up to LOG_FILE_MS for more.
 */
#include "gateway.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accept/accept.h"
#include "base/event.h"
#include "session/session.h"
#include "spool/spool.h"
#include "web/web.h"

#define LOG_FILE_MS         16  /* between two writes to a file */
#define CROWDED_READY       256 /* messages that could go if there were a connection */
#define RING_ENTRIES        1024
#define RING_BUFFERS        256 /* 4 MiB a worker */
#define RING_IOWQ_BOUNDED   32  /* file operations at a time */
#define RING_IOWQ_UNBOUNDED 16

struct worker {
	struct worker_facts facts;
	pthread_t thread;
	_Atomic int state; /* enum worker_state */
	_Atomic(struct tls_context *) tls_next;
	_Atomic(struct relay_routes *) routes_next;
	_Atomic(struct web_policies *) policies_next;
	atomic_bool drain;
	atomic_bool abort;
	pthread_mutex_t wake_lock;  /* ring_for_wake */
	struct ring *ring_for_wake; /* NULL before the ring is open and once it closes */
	struct worker_call *calls;  /* posted, newest first; under wake_lock */
	struct err err;

	/* the thread's own */
	struct ring *ring;
	struct spool *spool;
	struct relay *relay;
	struct session_worker *sessions;
	struct web_worker *web;
	struct accept *accept;
	struct tls_context *tls_first;
	struct relay_routes *routes_first;
	struct event_sink sink;
	struct op log;
	struct op log_cancel;
	struct wheel_timer log_timer;
	uint64_t log_ms;      /* the last write began */
	struct span log_left; /* of the sink's half that is being written */
	int64_t limits_reached;
	bool relay_drained;
	bool aborted;
};

static void tell(struct worker *worker, enum worker_state state)
{
	uint64_t one = 1;

	atomic_store(&worker->state, (int)state);
	(void)!write(worker->facts.wake_fd, &one, sizeof(one));
}

/* ---- log ---- */

static void log_write(struct worker *worker)
{
	ring_write(worker->ring, &worker->log, STDERR_FILENO, event_piece(worker->log_left),
		(uint64_t)-1);
}

static void log_done(struct op *op, int res, uint32_t flags)
{
	struct worker *worker = container_of(op, struct worker, log);

	(void)flags;
	if (res > 0)
		span_take(&worker->log_left, (size_t)res);
	if (res > 0 && worker->log_left.n > 0) {
		log_write(worker);
		return;
	}
	if (worker->log_left.n > 0)
		count(COUNTER_LOG_DROPPED);
	worker->log_left = (struct span){0};
	event_sink_taken(&worker->sink);
}

static bool log_waits(struct worker *worker)
{
	size_t n = event_sink_bytes(&worker->sink);
	uint64_t due_ms = worker->log_ms + LOG_FILE_MS;

	if (!event_to_file() || n >= EVENT_SINK_BYTES / 2 || ring_now_ms(worker->ring) >= due_ms)
		return false;
	if (n > 0 && worker->log_timer.deadline_ms == 0)
		wheel_set(ring_wheel(worker->ring), &worker->log_timer, due_ms);
	return true;
}

static void log_flush(struct worker *worker)
{
	/* At the very end nothing waits for the reader of a pipe any more. */
	if (event_target_get() == EVENT_TARGET_SYSLOG || worker->aborted) {
		event_sink_flush(&worker->sink);
		return;
	}
	if (worker->log.armed || log_waits(worker))
		return;
	worker->log_left = event_sink_take(&worker->sink);
	if (worker->log_left.n == 0)
		return;
	worker->log_ms = ring_now_ms(worker->ring);
	log_write(worker);
}

static void ignore_done(struct op *op, int res, uint32_t flags)
{
	(void)op;
	(void)res;
	(void)flags;
}

/* ---- the turn ---- */

/* Sessions first, whose messages may be cut through; then the relay; then the spool. */
static bool drained(struct worker *worker)
{
	if (!accept_stopped(worker->accept) || !session_worker_idle(worker->sessions) ||
		!web_worker_idle(worker->web))
		return false;
	if (!worker->relay_drained) {
		worker->relay_drained = true;
		relay_drain(worker->relay);
	}
	return relay_idle(worker->relay) && spool_idle(worker->spool) && !worker->log.armed &&
	       !worker->log_cancel.armed;
}

/*
 * Is this worker better left alone, however little it does? So it is where mail waits for connections
 * to next hops, or another limit that each worker has for itself was reached since the last look.
 */
static bool crowded(struct worker *worker)
{
	static const enum counter limits[] = {COUNTER_SESSIONS_REFUSED_MEMORY,
		COUNTER_PROXY_FAILED_FULL, COUNTER_WEB_LIMIT_CONNECTIONS,
		COUNTER_RELAY_DESTINATIONS_FULL, COUNTER_RELAY_TRIPS_FULL, COUNTER_RELAY_RUNS_FULL,
		COUNTER_RELAY_CONNECTIONS_FULL, COUNTER_RELAY_DIRECTS_FULL, COUNTER_RELAY_DSN_FULL,
		COUNTER_CALLOUT_LIMIT_RATE, COUNTER_CALLOUT_LIMIT_QUESTIONS,
		COUNTER_CUTTHROUGH_FULL};
	int64_t before = worker->limits_reached;

	worker->limits_reached = 0;
	for (size_t i = 0; i < COUNT_OF(limits); i++)
		worker->limits_reached += counter_own(limits[i]);
	return worker->limits_reached != before ||
	       counter_own(COUNTER_QUEUE_READY) >= CROWDED_READY || spool_crowded(worker->spool);
}

static void before_wait(void *ctx)
{
	struct worker *worker = ctx;

	relay_turn(worker->relay);
	spool_turn(worker->spool);
	log_flush(worker);
	if (accept_due(worker->accept))
		accept_look(worker->accept, crowded(worker));
	if (atomic_load_explicit(&worker->drain, memory_order_relaxed) && drained(worker))
		ring_stop(worker->ring);
}

/* Does what the control thread asked for; it waits for each. */
static void calls_run(struct worker *worker)
{
	uint64_t one = 1;

	for (;;) {
		struct worker_call *call;

		pthread_mutex_lock(&worker->wake_lock);
		call = worker->calls;
		if (call != NULL)
			worker->calls = call->next;
		pthread_mutex_unlock(&worker->wake_lock);
		if (call == NULL)
			return;
		call->run(worker->relay, call);
		atomic_store(&call->done, true);
		(void)!write(worker->facts.wake_fd, &one, sizeof(one));
	}
}

static void on_wake(void *ctx)
{
	struct worker *worker = ctx;
	struct tls_context *tls = atomic_exchange(&worker->tls_next, NULL);
	struct relay_routes *routes = atomic_exchange(&worker->routes_next, NULL);
	struct web_policies *policies = atomic_exchange(&worker->policies_next, NULL);

	if (tls != NULL) {
		web_worker_tls(worker->web, tls_context_hold(tls));
		session_worker_tls(worker->sessions, tls);
	}
	if (policies != NULL)
		web_worker_policies(worker->web, policies);
	if (routes != NULL)
		relay_use(worker->relay, routes);
	calls_run(worker);
	accept_sit(worker->accept);
	if (atomic_load(&worker->drain)) {
		accept_stop(worker->accept);
		session_worker_drain(worker->sessions);
		web_worker_drain(worker->web);
	}
	if (atomic_load(&worker->abort) && !worker->aborted) {
		worker->aborted = true;
		session_worker_abort(worker->sessions);
		web_worker_abort(worker->web);
		relay_abort(worker->relay);
		if (worker->log.armed) /* whoever reads our log may have stopped doing so */
			ring_cancel(worker->ring, &worker->log_cancel, &worker->log);
	}
}

/* ---- the thread ---- */

static void wakeable_set(struct worker *worker, struct ring *ring)
{
	pthread_mutex_lock(&worker->wake_lock);
	worker->ring_for_wake = ring;
	pthread_mutex_unlock(&worker->wake_lock);
}

static int store_part_open(struct worker *worker, struct err *err)
{
	const struct child_facts *child = worker->facts.child;
	const struct config *config = child->config;
	struct relay_facts facts = {
		.config = config,
		.kernel = child->kernel,
		.tls = worker->facts.clients,
		.ring = worker->ring,
		.maildir_fds = child->maildir_fds,
		.stscache = worker->facts.state->stscache,
		.tlsrpt = worker->facts.state->tlsrpt,
		.fetch = worker->facts.state->fetch,
		.worker = worker->facts.index,
	};

	if (spool_open(&worker->spool, &config->spool, child->store, worker->ring,
		    worker->facts.index, child->workers, err) != 0)
		return -1;
	facts.spool = worker->spool;
	if (relay_open(&worker->relay, &facts, worker->routes_first, err) == 0)
		return 0;
	spool_close(worker->spool);
	return -1;
}

static int open_all(struct worker *worker)
{
	const struct child_facts *child = worker->facts.child;
	const struct config *config = child->config;
	struct ring_settings ring = {
		RING_ENTRIES, RING_BUFFERS, RING_IOWQ_BOUNDED, RING_IOWQ_UNBOUNDED};
	struct session_facts facts = {
		.config = config,
		.policy = worker->facts.policy,
		.fence = child->fence,
		.watch = worker->facts.state->watch,
		.kernel = child->kernel,
		.worker = worker->facts.index,
		.workers = child->workers,
	};
	struct web_facts web = {.config = config, .fence = child->fence};

	if (ring_open(&worker->ring, &ring, &worker->err) != 0)
		return -1;
	if (store_part_open(worker, &worker->err) != 0)
		goto no_store;
	facts.ring = worker->ring;
	web.ring = worker->ring;
	facts.spool = worker->spool;
	facts.callout = relay_callout(worker->relay);
	if (session_worker_open(&worker->sessions, &facts, worker->tls_first, &worker->err) != 0)
		goto no_sessions;
	if (web_worker_open(&worker->web, &web, worker->tls_first, worker->facts.policies,
		    &worker->err) != 0)
		goto no_web;
	if (accept_open(&worker->accept, &facts, worker->sessions, worker->web, worker->facts.crew,
		    child->listen_fds, &worker->err) != 0)
		goto no_accept;
	ring_on_wake(worker->ring, on_wake, worker);
	wakeable_set(worker, worker->ring);
	return 0;
no_accept:
	web_worker_close(worker->web);
no_web:
	session_worker_close(worker->sessions);
no_sessions:
	relay_close(worker->relay);
	spool_close(worker->spool);
no_store:
	ring_close(worker->ring);
	return -1;
}

static void close_all(struct worker *worker)
{
	wakeable_set(worker, NULL);
	calls_run(worker); /* whoever asked last is answered, too */
	wheel_clear(ring_wheel(worker->ring), &worker->log_timer);
	accept_close(worker->accept);
	web_worker_close(worker->web);
	session_worker_close(worker->sessions);
	relay_close(worker->relay);
	spool_close(worker->spool);
	ring_close(worker->ring);
	event_sink_flush(&worker->sink);
}

static void *thread_main(void *arg)
{
	struct worker *worker = arg;
	char name[16];

	snprintf(name, sizeof(name), "worker-%u", worker->facts.index);
	pthread_setname_np(pthread_self(), name);
	if (open_all(worker) != 0) {
		tell(worker, WORKER_FAILED);
		return NULL;
	}
	if (worker->facts.child->config->main.seccomp && sandbox_worker(&worker->err) != 0) {
		tell(worker, WORKER_FAILED);
		return NULL;
	}
	event_sink_use(&worker->sink);
	tell(worker, WORKER_UP);
	relay_start(worker->relay);
	ring_run(worker->ring, before_wait, worker);
	close_all(worker);
	tell(worker, WORKER_DONE);
	return NULL;
}

/* ---- from the control thread ---- */

static void wake(struct worker *worker)
{
	pthread_mutex_lock(&worker->wake_lock);
	if (worker->ring_for_wake != NULL)
		ring_wake(worker->ring_for_wake);
	pthread_mutex_unlock(&worker->wake_lock);
}

int worker_start(struct worker **out, const struct worker_facts *facts, struct tls_context *tls,
	struct relay_routes *routes, struct err *err)
{
	struct worker *worker = calloc(1, sizeof(*worker));
	int res;

	if (worker == NULL)
		return err_set(err, "out of memory");
	worker->facts = *facts;
	worker->tls_first = tls;
	worker->routes_first = routes;
	worker->log.done = log_done;
	wheel_timer_init(&worker->log_timer, wheel_fire_nothing);
	worker->log_cancel.done = ignore_done;
	event_sink_init(&worker->sink);
	pthread_mutex_init(&worker->wake_lock, NULL);
	res = pthread_create(&worker->thread, NULL, thread_main, worker);
	if (res != 0) {
		free(worker);
		return err_set(err, "cannot start a worker thread: %s", strerror(res));
	}
	*out = worker;
	return 0;
}

enum worker_state worker_state(const struct worker *worker)
{
	return (enum worker_state)atomic_load(&worker->state);
}

const char *worker_error(const struct worker *worker)
{
	return worker->err.text;
}

void worker_tls(struct worker *worker, struct tls_context *tls)
{
	struct tls_context *before = atomic_exchange(&worker->tls_next, tls_context_hold(tls));

	if (before != NULL)
		tls_context_release(before);
	wake(worker);
}

void worker_routes(struct worker *worker, struct relay_routes *routes)
{
	struct relay_routes *before =
		atomic_exchange(&worker->routes_next, relay_routes_hold(routes));

	if (before != NULL)
		relay_routes_release(before);
	wake(worker);
}

void worker_policies(struct worker *worker, struct web_policies *policies)
{
	struct web_policies *before =
		atomic_exchange(&worker->policies_next, web_policies_hold(policies));

	web_policies_release(before);
	wake(worker);
}

bool worker_call(struct worker *worker, struct worker_call *call)
{
	bool posted;

	atomic_store(&call->done, false);
	pthread_mutex_lock(&worker->wake_lock);
	posted = worker->ring_for_wake != NULL;
	if (posted) {
		call->next = worker->calls;
		worker->calls = call;
		ring_wake(worker->ring_for_wake);
	}
	pthread_mutex_unlock(&worker->wake_lock);
	return posted;
}

void worker_drain(struct worker *worker)
{
	atomic_store(&worker->drain, true);
	wake(worker);
}

void worker_abort(struct worker *worker)
{
	atomic_store(&worker->drain, true);
	atomic_store(&worker->abort, true);
	wake(worker);
}

void worker_join(struct worker *worker)
{
	struct tls_context *tls = atomic_exchange(&worker->tls_next, NULL);
	struct relay_routes *routes = atomic_exchange(&worker->routes_next, NULL);
	struct web_policies *policies = atomic_exchange(&worker->policies_next, NULL);

	pthread_join(worker->thread, NULL);
	web_policies_release(policies);
	if (tls != NULL)
		tls_context_release(tls);
	if (routes != NULL)
		relay_routes_release(routes);
	pthread_mutex_destroy(&worker->wake_lock);
	free(worker);
}
