/* SPDX-License-Identifier: MIT */
/*
 * crew.c -- which workers take new connections: as few as keep up.
 *
 * What comes together costs less: messages that one worker has in a turn share a write and its sync,
 * a wake-up, a call into the kernel. Spread over all workers, each would do all of that for its own few.
 * So the crew, the workers 0 to size - 1, begins as worker 0 alone. Its sizes are all workers, half of
 * them, a quarter and so on, so that each has as many sockets as the others, nearly. When half of those
 * with the most sockets are full it takes the next larger size, and the next smaller one when that would have
 * done for a while; for longer, if it has had to grow again at once before. Whoever leaves it serves
 * the sessions it has to their end.
 *
 * The kernel spreads connections evenly over the listening sockets of all workers (SO_REUSEPORT).
 * Those of workers outside the crew are served by workers inside, so that a whole crew is what there was
 * without it: a socket each. A socket changes hands by crew_release(): the one that has it cancels its
 * accept first, and only when that has ended does the next one claim it. Two accepts on one socket would
 * not do: the kernel wakes the first alone, which may be the one that is being cancelled.
 *
 * Decisions are made on the workers' threads, each as it looks at itself. A worker of a crew that could be
 * smaller is woken every second, so that it does: one that cannot is never taken for idle.
 *
 * Non-goals: no session changes its worker, so those that a worker has may keep it full while others
 * are not; `messages_max` of section smtp ends them in time. CPU time that other processes take is not
 * seen: a worker that is given half a CPU and would like more is half full. A worker that hangs keeps its
 * sockets.
 *
 * Rejected: one listening socket for all (io_uring's multishot accepts queue up on it, and the first of
 * them gets everything); a reuseport program (needs CAP_BPF, and a second way without it).
 */
#include "accept/accept.h"
#include "accept/accept-private.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/counter.h"

#define NOBODY -1

struct member {
	struct ring *ring; /* NULL: not here */
	uint64_t looked_ms;
	uint64_t cpu_ns; /* the thread's, when it looked */
	uint64_t turns;  /* the ring's, then */
	uint32_t share;  /* of a CPU, in thousandths */
	bool full;
};

struct crew {
	pthread_mutex_t lock; /* members, and every change of size */
	uint32_t workers;
	bool fixed; /* all, always */
	_Atomic uint32_t size;
	uint64_t spare_since_ms; /* the next smaller size would have done; 0: no */
	uint64_t spare_ms;       /* for so long it must */
	uint64_t shrunk_ms;
	uint64_t turn_ms;     /* the control thread's */
	_Atomic int *holders; /* [socket]: a worker, or NOBODY */
	struct member members[];
};

static uint64_t thread_cpu_ns(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) != 0)
		return 0;
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

struct crew *crew_open(uint32_t workers, uint32_t listeners, bool all)
{
	struct crew *crew = calloc(1, sizeof(*crew) + workers * sizeof(crew->members[0]));
	size_t sockets = (size_t)workers * listeners;

	ASSERT(workers > 0);
	if (crew == NULL)
		return NULL;
	crew->holders = calloc(sockets > 0 ? sockets : 1, sizeof(crew->holders[0]));
	if (crew->holders == NULL) {
		free(crew);
		return NULL;
	}
	for (size_t i = 0; i < sockets; i++)
		atomic_init(&crew->holders[i], NOBODY);
	pthread_mutex_init(&crew->lock, NULL);
	crew->workers = workers;
	crew->fixed = all || workers == 1;
	crew->spare_ms = CREW_SPARE_MS;
	atomic_init(&crew->size, all ? workers : 1);
	count_add(COUNTER_ACCEPT_WORKERS, atomic_load(&crew->size));
	return crew;
}

void crew_close(struct crew *crew)
{
	if (crew == NULL)
		return;
	count_add(COUNTER_ACCEPT_WORKERS, -(int64_t)atomic_load(&crew->size));
	pthread_mutex_destroy(&crew->lock);
	free(crew->holders);
	free(crew);
}

void crew_join(struct crew *crew, uint32_t worker, struct ring *ring)
{
	pthread_mutex_lock(&crew->lock);
	crew->members[worker].ring = ring;
	crew->members[worker].looked_ms = ring_now_ms(ring);
	crew->members[worker].cpu_ns = thread_cpu_ns();
	crew->members[worker].turns = ring_turns(ring);
	pthread_mutex_unlock(&crew->lock);
}

void crew_leave(struct crew *crew, uint32_t worker)
{
	pthread_mutex_lock(&crew->lock);
	crew->members[worker].ring = NULL;
	pthread_mutex_unlock(&crew->lock);
}

uint32_t crew_size(const struct crew *crew)
{
	return atomic_load(&crew->size);
}

/* ---- sockets ---- */

static uint32_t server_of(const struct crew *crew, uint32_t socket)
{
	uint32_t own = socket % crew->workers;
	uint32_t size = atomic_load(&crew->size);

	return own < size ? own : own % size;
}

bool crew_wants(const struct crew *crew, uint32_t worker, uint32_t socket)
{
	return server_of(crew, socket) == worker;
}

bool crew_claim(struct crew *crew, uint32_t worker, uint32_t socket)
{
	int nobody = NOBODY;

	return crew_wants(crew, worker, socket) &&
	       atomic_compare_exchange_strong(&crew->holders[socket], &nobody, (int)worker);
}

static void wake_locked(struct crew *crew, uint32_t worker)
{
	if (crew->members[worker].ring != NULL)
		ring_wake(crew->members[worker].ring);
}

/* The size is read after the socket is nobody's, and whoever changes it wakes all whose sockets change:
 * one of the two wakes the right one. */
void crew_release(struct crew *crew, uint32_t worker, uint32_t socket)
{
	ASSERT(atomic_load(&crew->holders[socket]) == (int)worker);
	atomic_store(&crew->holders[socket], NOBODY);
	pthread_mutex_lock(&crew->lock);
	wake_locked(crew, server_of(crew, socket));
	pthread_mutex_unlock(&crew->lock);
}

/* ---- size ---- */

static uint32_t smaller(const struct crew *crew, uint32_t size)
{
	uint32_t next = crew->workers;

	while (next >= size && next > 1)
		next = (next + 1) / 2;
	return next;
}

static uint32_t larger(const struct crew *crew, uint32_t size)
{
	uint32_t next = crew->workers;

	while ((next + 1) / 2 > size)
		next = (next + 1) / 2;
	return next;
}

static void resize_locked(struct crew *crew, uint32_t size)
{
	uint32_t before = atomic_exchange(&crew->size, size);
	uint32_t most = size > before ? size : before;

	count_add(COUNTER_ACCEPT_WORKERS, (int64_t)size - before);
	count(COUNTER_ACCEPT_CREW_CHANGES);
	crew->spare_since_ms = 0;
	for (uint32_t i = 0; i < most; i++)
		wake_locked(crew, i);
}

static void grow_locked(struct crew *crew, uint32_t size, uint64_t now_ms)
{
	bool hasty = crew->shrunk_ms > 0 && now_ms < crew->shrunk_ms + CREW_HASTY_MS;

	crew->spare_ms = hasty ? crew->spare_ms * 2 : CREW_SPARE_MS;
	if (crew->spare_ms > CREW_SPARE_MS_MAX)
		crew->spare_ms = CREW_SPARE_MS_MAX;
	for (uint32_t i = 0; i < crew->workers; i++)
		crew->members[i].full = false; /* that was before */
	resize_locked(crew, larger(crew, size));
}

/* Those that did not look lately had nothing to do. */
static bool recent(const struct member *member, uint64_t now_ms)
{
	return member->looked_ms + CREW_RECENT_MS >= now_ms;
}

/* Of those that have one socket more than the others, if some have. */
static bool half_is_full(const struct crew *crew, uint32_t size, uint64_t now_ms)
{
	uint32_t most = crew->workers % size > 0 ? crew->workers % size : size;
	uint32_t full = 0;

	for (uint32_t i = 0; i < size; i++)
		full += crew->members[i].full && recent(&crew->members[i], now_ms);
	return full * 2 >= most;
}

/* A full worker is never spare, whatever it is full of. */
static bool fewer_would_do(const struct crew *crew, uint32_t size, uint64_t now_ms)
{
	uint32_t fewer = smaller(crew, size);
	uint32_t sockets = (crew->workers + fewer - 1) / fewer; /* of the one with the most */
	uint64_t sum = 0;

	for (uint32_t i = 0; i < crew->workers; i++) {
		const struct member *member = &crew->members[i];

		if (!recent(member, now_ms))
			continue;
		if (member->full)
			return false;
		sum += member->share;
	}
	return size > 1 && sum * sockets <= (uint64_t)crew->workers * CREW_SPARE_SHARE;
}

static bool all_looked_since(const struct crew *crew, uint32_t size, uint64_t since_ms)
{
	for (uint32_t i = 0; i < size; i++)
		if (crew->members[i].looked_ms < since_ms)
			return false;
	return true;
}

static void decide_locked(struct crew *crew, uint64_t now_ms)
{
	uint32_t size = atomic_load(&crew->size);

	if (size < crew->workers && half_is_full(crew, size, now_ms)) {
		grow_locked(crew, size, now_ms);
		return;
	}
	if (!fewer_would_do(crew, size, now_ms)) {
		crew->spare_since_ms = 0;
		return;
	}
	if (crew->spare_since_ms == 0)
		crew->spare_since_ms = now_ms;
	if (now_ms < crew->spare_since_ms + crew->spare_ms ||
		!all_looked_since(crew, size, crew->spare_since_ms))
		return;
	crew->shrunk_ms = now_ms;
	resize_locked(crew, smaller(crew, size));
}

void crew_measured(struct crew *crew, uint32_t worker, uint64_t now_ms, uint32_t share, bool full)
{
	struct member *member = &crew->members[worker];

	pthread_mutex_lock(&crew->lock);
	member->looked_ms = now_ms;
	member->share = share;
	member->full = full;
	if (worker < atomic_load(&crew->size))
		decide_locked(crew, now_ms);
	pthread_mutex_unlock(&crew->lock);
}

bool crew_due(const struct crew *crew, uint32_t worker, uint64_t now_ms)
{
	return !crew->fixed && now_ms >= crew->members[worker].looked_ms + CREW_LOOK_MS;
}

void crew_look(struct crew *crew, uint32_t worker, uint64_t now_ms, bool crowded)
{
	struct member *member = &crew->members[worker];
	uint64_t cpu_ns = thread_cpu_ns();
	uint64_t turns = ring_turns(member->ring);
	uint64_t spent_ns = cpu_ns - member->cpu_ns;
	uint64_t share = spent_ns / 1000 / (now_ms - member->looked_ms);
	uint64_t turn_ns = turns > member->turns ? spent_ns / (turns - member->turns) : 0;
	bool full = crowded || share >= CREW_FULL_SHARE ||
		    (share >= CREW_BUSY_SHARE && turn_ns >= CREW_FULL_TURN_US * 1000);

	member->cpu_ns = cpu_ns;
	member->turns = turns;
	crew_measured(crew, worker, now_ms, (uint32_t)(share < 1000 ? share : 1000), full);
}

void crew_turn(struct crew *crew)
{
	uint32_t size = atomic_load(&crew->size);
	uint64_t now_ms = clock_ms();

	if (crew->fixed || size == 1 || now_ms < crew->turn_ms)
		return;
	crew->turn_ms = now_ms + CREW_TURN_MS;
	pthread_mutex_lock(&crew->lock);
	for (uint32_t i = 0; i < size; i++)
		wake_locked(crew, i);
	pthread_mutex_unlock(&crew->lock);
}
