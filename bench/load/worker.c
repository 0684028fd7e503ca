/* SPDX-License-Identifier: MIT */
/*
 * worker.c -- when to begin: closed loop, open loop, idle sessions; the loop and its clocks.
 *
 * Closed loop: a slot that is free takes the next message at once. Open loop: messages fall due by
 * the schedule and wait, uncounted but not forgotten, until a slot is free; their latency counts
 * from the due time. After the end of the run those still waiting get the time of one timeout.
 *
 * Slots are given messages only between two batches of events, so an event never meets a connection
 * that is younger than itself.
 */
#include "bench/load/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

uint64_t worker_clock(const struct worker *worker)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - worker->run->start_ns;
}

/* ---- who gets a message ---- */

static bool stopped(const struct worker *worker)
{
	return atomic_load_explicit(&worker->run->stop, memory_order_relaxed);
}

static bool is_open_loop(const struct worker *worker)
{
	return worker->rate > 0;
}

/* The run's next number, unless all are given out. */
static bool claim(struct worker *worker, struct conn *conn)
{
	const struct options *options = worker->options;
	uint64_t limit = options->idle ? options->idle : options->count;
	uint64_t i = atomic_fetch_add_explicit(&worker->run->claimed, 1, memory_order_relaxed);

	if (limit && i >= limit) {
		worker->exhausted = true;
		return false;
	}
	conn->message.number = options->number_from + i;
	conn->has_message = true;
	return true;
}

static void schedule_next(struct worker *worker)
{
	worker->due_ns = arrival_next(&worker->arrival);
}

static bool give(struct worker *worker, struct conn *conn)
{
	uint64_t now = worker_clock(worker);

	if (worker->exhausted)
		return false;
	if (stopped(worker) ||
		now >= worker->end_ns + (is_open_loop(worker) ? worker->timeout_ns : 0)) {
		worker->exhausted = true;
		return false;
	}
	if (is_open_loop(worker)) {
		if (worker->due_ns >= worker->end_ns)
			worker->exhausted = true;
		if (worker->exhausted || worker->due_ns > now || !claim(worker, conn))
			return false;
		conn->due_ns = worker->due_ns;
		schedule_next(worker);
	} else {
		if (!claim(worker, conn))
			return false;
		conn->due_ns = now;
	}
	conn->begun_ns = now;
	return true;
}

bool worker_next(struct worker *worker, struct conn *conn, bool *more)
{
	bool given = give(worker, conn);

	*more = !given && !worker->exhausted && is_open_loop(worker);
	return given;
}

/* How many slots may be at work now. */
static uint32_t slots_allowed(const struct worker *worker)
{
	const struct options *options = worker->options;
	uint32_t all = worker->conns_n;

	if (options->idle)
		all = (options->concurrency + options->threads - 1) / options->threads;
	if (worker->ramp_ns == 0 || is_open_loop(worker) || worker->now_ns >= worker->ramp_ns)
		return all;
	return (uint32_t)((double)all * (double)worker->now_ns / (double)worker->ramp_ns) + 1;
}

static void begin(struct worker *worker)
{
	uint32_t allowed = slots_allowed(worker);

	while (!worker->exhausted && !list_empty(&worker->ready)) {
		struct conn *conn = container_of(worker->ready.prev, struct conn, node);

		if (!give(worker, conn))
			break;
		dialog_message(conn);
		conn_flush(conn);
	}
	while (!worker->exhausted && !list_empty(&worker->free) && worker->working < allowed) {
		struct conn *conn = container_of(worker->free.next, struct conn, node);

		if (!give(worker, conn))
			break;
		conn_start(conn);
	}
	/* Nobody is free: the end must be noticed all the same. */
	if (stopped(worker))
		worker->exhausted = true;
}

/* What was due and never begun, at the end of an open loop. */
static void count_unserved(struct worker *worker)
{
	const struct options *options = worker->options;

	if (!is_open_loop(worker) || stopped(worker))
		return;
	while (worker->due_ns < worker->end_ns && worker->due_ns <= worker->now_ns) {
		uint64_t i = atomic_fetch_add(&worker->run->claimed, 1);

		if (options->count && i >= options->count)
			return;
		stat_add(&worker->stats.failed[FAIL_UNSERVED], 1);
		schedule_next(worker);
	}
}

static void finish(struct worker *worker)
{
	bool release = atomic_load_explicit(&worker->run->release, memory_order_relaxed);

	worker->exhausted |= release;
	if (!worker->exhausted)
		return;
	while (!list_empty(&worker->ready)) {
		struct conn *conn = container_of(worker->ready.next, struct conn, node);

		dialog_quit(conn);
		conn_flush(conn);
	}
	while (release && !list_empty(&worker->held)) {
		struct conn *conn = container_of(worker->held.next, struct conn, node);

		worker->working++;
		stat_move(&worker->stats.held, -1);
		stat_add(&worker->stats.stood, 1);
		dialog_quit(conn);
		conn_flush(conn);
	}
}

/* ---- time ---- */

static void run_timers(struct worker *worker)
{
	while (!list_empty(&worker->active)) {
		struct conn *conn = container_of(worker->active.next, struct conn, node);

		if (worker->now_ns < conn->touched_ns + worker->timeout_ns)
			break;
		conn_timeout(conn);
	}
	while (!list_empty(&worker->pause)) {
		struct conn *conn = container_of(worker->pause.next, struct conn, node);

		if (!worker->exhausted && worker->now_ns < conn->touched_ns + PAUSE_NS)
			break;
		conn->stage = STAGE_FREE;
		conn_list(conn, &worker->free);
		worker->working--;
	}
}

static uint64_t wait_ns(const struct worker *worker)
{
	uint64_t until = worker->now_ns + WORKER_TICK_NS;

	if (!list_empty(&worker->active)) {
		uint64_t at = container_of(worker->active.next, struct conn, node)->touched_ns +
			      worker->timeout_ns;

		until = at < until ? at : until;
	}
	if (!list_empty(&worker->pause)) {
		uint64_t at =
			container_of(worker->pause.next, struct conn, node)->touched_ns + PAUSE_NS;

		until = at < until ? at : until;
	}
	/* What is overdue already waits for a slot, not for the clock. */
	if (!worker->exhausted && worker->due_ns < until && worker->due_ns > worker->now_ns)
		until = worker->due_ns;
	if (!worker->exhausted && worker->ramp_ns > worker->now_ns)
		until = worker->now_ns + 1000000 < until ? worker->now_ns + 1000000 : until;
	return until > worker->now_ns ? until - worker->now_ns : 0;
}

static void wait_and_handle(struct worker *worker)
{
	struct epoll_event events[EVENTS_MAX];
	uint64_t ns = wait_ns(worker);
	const struct timespec timeout = {
		.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
	int n = epoll_pwait2(worker->epoll, events, EVENTS_MAX, &timeout, NULL);

	ASSERT(n >= 0 || errno == EINTR);
	worker->now_ns = worker_clock(worker);
	for (int i = 0; i < n; i++) {
		struct conn *conn = events[i].data.ptr;

		if (conn->wire.fd >= 0)
			conn_event(conn, events[i].events);
	}
}

void worker_run(struct worker *worker)
{
	(void)prctl(PR_SET_TIMERSLACK, 1000ul); /* ns */
	worker->now_ns = worker_clock(worker);
	if (is_open_loop(worker))
		schedule_next(worker);
	for (;;) {
		begin(worker);
		finish(worker);
		run_timers(worker);
		if (worker->exhausted && worker->working == 0 && list_empty(&worker->held))
			break;
		wait_and_handle(worker);
	}
	count_unserved(worker);
}

/* ---- opening and closing ---- */

/* OpenSSL hands over a session that can be resumed, and its reference. */
static int session_new(SSL *ssl, SSL_SESSION *session)
{
	struct conn *conn = SSL_get_app_data(ssl);

	SSL_SESSION_free(conn->session);
	conn->session = session;
	return 1;
}

static uint32_t share(uint32_t all, unsigned index, uint32_t threads)
{
	return all / threads + (index < all % threads);
}

static void conns_init(struct worker *worker)
{
	list_init(&worker->free);
	list_init(&worker->active);
	list_init(&worker->ready);
	list_init(&worker->pause);
	list_init(&worker->held);
	for (uint32_t i = 0; i < worker->conns_n; i++) {
		struct conn *conn = &worker->conns[i];

		conn->worker = worker;
		conn->wire.fd = -1;
		list_init(&conn->node);
		list_push_back(&worker->free, &conn->node);
	}
}

static void worker_times(struct worker *worker)
{
	const struct options *options = worker->options;

	worker->end_ns = options->seconds > 0 ? (uint64_t)(options->seconds * 1e9) : UINT64_MAX / 2;
	if (options->idle)
		worker->end_ns = UINT64_MAX / 2;
	worker->ramp_ns = (uint64_t)(options->ramp_seconds * 1e9);
	worker->timeout_ns = (uint64_t)(options->timeout_seconds * 1e9);
	worker->due_ns = UINT64_MAX;
	worker->rate = options->rate / options->threads;
	if (worker->rate > 0)
		arrival_init(&worker->arrival, options->arrivals, worker->rate,
			options->ramp_seconds, (double)worker->index / options->threads,
			options->seed * 1000003 + worker->index);
}

int worker_open(struct worker *worker, struct run *run, unsigned index, struct err *err)
{
	const struct options *options = run->options;
	const struct content *content = run->content;

	memset(worker, 0, sizeof(*worker));
	worker->run = run;
	worker->options = options;
	worker->content = content;
	worker->index = index;
	worker->source = index % (options->sources ? options->sources : 1);
	worker->mailbox = (uint32_t)((uint64_t)options->mailboxes * index / options->threads);
	stats_init(&worker->stats);
	worker_times(worker);
	sizes_init(&worker->sizes, options->size, content->size_min, content->size_max,
		options->seed * 7919 + index);
	worker->conns_n = share(
		options->idle ? options->idle : options->concurrency, index, options->threads);
	worker->conns = calloc(worker->conns_n + 1, sizeof(*worker->conns));
	worker->hash = EVP_MD_CTX_new();
	worker->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!worker->conns || !worker->hash || worker->epoll < 0)
		return err_set(err, "not enough memory or descriptors: %s", strerror(errno));
	conns_init(worker);
	if (run->context && options->resume)
		SSL_CTX_sess_set_new_cb(run->context, session_new);
	return 0;
}

void worker_close(struct worker *worker)
{
	for (uint32_t i = 0; i < worker->conns_n; i++)
		SSL_SESSION_free(worker->conns[i].session);
	free(worker->conns);
	EVP_MD_CTX_free(worker->hash);
	close(worker->epoll);
}
