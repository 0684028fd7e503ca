/* SPDX-License-Identifier: MIT */
/*
 * schedule.c -- the turn of the upper half, its limits, its beginning and end.
 *
 * At the end of every turn of the loop: entries are sent on their way, swept lines looked through,
 * what needs no next hop settled, touched destinations served; then links are opened, one for each
 * destination that wants one, round robin, while the worker has fewer than connections_max. When it
 * has that many and somebody wants, the link that has been idle for the longest is let go.
 *
 * Costs: a message pays a few list operations, one trip, one run. Nothing here is searched but the
 * hash table of destinations. What is not finished within a turn's bounds makes the next turn come
 * at once (relay_schedule_kick).
 *
 * Rejected: a queue of jobs made in advance (a million messages would be a million jobs); a timer
 * for every message that waits at a destination that is down (its line waits for one timer).
 */
#include "relay/schedule-private.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"

uint64_t relay_schedule_now(const struct relay_schedule *schedule)
{
	return ring_now_ms(schedule->relay->facts.ring);
}

struct wheel *relay_schedule_wheel(const struct relay_schedule *schedule)
{
	return ring_wheel(schedule->relay->facts.ring);
}

static void kicked(struct op *op, int res, uint32_t flags)
{
	(void)op;
	(void)res;
	(void)flags;
}

void relay_schedule_kick(struct relay_schedule *schedule)
{
	if (!schedule->kick.armed && !schedule->in_turn)
		ring_soon(schedule->relay->facts.ring, &schedule->kick);
}

/* ---- opening and closing ---- */

static uint32_t recipients_max(const struct relay_settings *settings)
{
	uint32_t max = 1;

	for (size_t i = 0; i < settings->routes_n; i++)
		if (settings->routes[i].recipients_max > max)
			max = settings->routes[i].recipients_max;
	return max < RELAY_RUN_RECIPIENTS_MAX ? max : RELAY_RUN_RECIPIENTS_MAX;
}

static void pools_open(struct relay_schedule *schedule)
{
	const struct relay_settings *settings = schedule->relay->settings;
	uint32_t links = settings->connections_max;
	uint32_t runs = links < RELAY_RUNS_MAX - RELAY_RUNS_EXTRA ? links + RELAY_RUNS_EXTRA
								  : RELAY_RUNS_MAX;

	schedule->run_recipients_max = recipients_max(settings);
	pool_open(&schedule->pools.destinations, sizeof(struct relay_destination),
		RELAY_DESTINATIONS_MAX);
	pool_open(&schedule->pools.trips, sizeof(struct relay_trip), RELAY_TRIPS_MAX);
	pool_open(&schedule->pools.runs, relay_run_bytes(schedule->run_recipients_max), runs);
	pool_open(&schedule->pools.links, sizeof(struct relay_link), links);
	pool_open(&schedule->pools.dials, relay_dial_bytes(), links);
	pool_open(&schedule->pools.directs, sizeof(struct relay_direct), links);
}

int relay_schedule_open(struct relay *relay, struct err *err)
{
	struct relay_schedule *schedule = calloc(1, sizeof(*schedule));

	if (schedule == NULL)
		return err_set(err, "no memory for the relay");
	schedule->relay = relay;
	relay->schedule = schedule;
	for (size_t i = 0; i < RELAY_DESTINATION_HASH; i++)
		list_init(&schedule->table[i]);
	list_init(&schedule->unused);
	list_init(&schedule->dirty);
	list_init(&schedule->wanting);
	list_init(&schedule->starved);
	list_init(&schedule->sweeping);
	list_init(&schedule->fresh);
	list_init(&schedule->deferred);
	list_init(&schedule->doomed);
	list_init(&schedule->stopped);
	list_init(&schedule->unreported);
	wheel_timer_init(&schedule->report_timer, wheel_fire_nothing);
	list_init(&schedule->links);
	list_init(&schedule->idle);
	schedule->kick.done = kicked;
	if (getrandom(&schedule->random, sizeof(schedule->random), 0) < 0)
		schedule->random = clock_real_us();
	schedule->random |= 1; /* xorshift stands still at 0 */
	relay_destination_init(&schedule->nowhere, schedule, NULL, "none");
	schedule->loose.destination = &schedule->nowhere;
	list_init(&schedule->loose.node);
	pools_open(schedule);
	return 0;
}

void relay_schedule_start(struct relay *relay)
{
	spool_start(relay->facts.spool);
	relay_schedule_kick(relay->schedule);
}

static void trips_put(struct relay_schedule *schedule, struct list *trips)
{
	while (!list_empty(trips))
		pool_put(&schedule->pools.trips,
			container_of(list_pop_front(trips), struct relay_trip, node));
}

static void destination_close(
	struct relay_schedule *schedule, struct relay_destination *destination)
{
	wheel_clear(relay_schedule_wheel(schedule), &destination->retry);
	trips_put(schedule, &destination->trips);
	trips_put(schedule, &destination->unswept);
	list_remove(&destination->hash);
	pool_put(&schedule->pools.destinations, destination);
}

void relay_schedule_close(struct relay *relay)
{
	struct relay_schedule *schedule = relay->schedule;

	ASSERT(relay_schedule_idle(relay));
	while (!list_empty(&schedule->deferred))
		relay_entry_forget(schedule,
			container_of(schedule->deferred.next, struct spool_entry, relay_node));
	wheel_clear(relay_schedule_wheel(schedule), &schedule->report_timer);
	trips_put(schedule, &schedule->doomed);
	for (size_t i = 0; i < RELAY_DESTINATION_HASH; i++)
		while (!list_empty(&schedule->table[i]))
			destination_close(schedule, container_of(schedule->table[i].next,
							    struct relay_destination, hash));
	relay_entries_hide(schedule);
	pool_close(&schedule->pools.directs);
	pool_close(&schedule->pools.dials);
	pool_close(&schedule->pools.links);
	pool_close(&schedule->pools.runs);
	pool_close(&schedule->pools.trips);
	pool_close(&schedule->pools.destinations);
	free(schedule);
	relay->schedule = NULL;
}

/* ---- the turn ---- */

static void serve_touched(struct relay_schedule *schedule)
{
	struct list dirty;

	list_init(&dirty);
	if (schedule->pools.runs.live < schedule->pools.runs.max) {
		while (!list_empty(&schedule->starved))
			relay_destination_touch(container_of(list_pop_front(&schedule->starved),
				struct relay_destination, starved));
	}
	list_splice_back(&dirty, &schedule->dirty);
	while (!list_empty(&dirty))
		relay_destination_serve(
			container_of(list_pop_front(&dirty), struct relay_destination, dirty));
}

static void links_open(struct relay_schedule *schedule)
{
	uint32_t max = schedule->relay->settings->connections_max;

	while (!list_empty(&schedule->wanting) && schedule->links_n < max) {
		struct relay_destination *destination = container_of(
			list_pop_front(&schedule->wanting), struct relay_destination, wanting);

		if (relay_destination_open(destination))
			list_push_back(&schedule->wanting, &destination->wanting);
	}
	if (!list_empty(&schedule->wanting) && !list_empty(&schedule->idle) &&
		schedule->links_n - schedule->closing_n >= max) {
		count(COUNTER_RELAY_CONNECTIONS_FULL);
		relay_link_quit(container_of(schedule->idle.next, struct relay_link, old));
	}
}

void relay_schedule_turn(struct relay *relay)
{
	struct relay_schedule *schedule = relay->schedule;
	bool left = false;

	relay_directs_turn(schedule);
	if (relay->draining) {
		relay_runs_unreported(schedule);
		return;
	}
	schedule->in_turn = true;
	relay_runs_report(schedule);
	left |= relay_entries_admit(schedule);
	left |= relay_trips_sweep(schedule);
	left |= relay_trips_settle(schedule);
	serve_touched(schedule);
	links_open(schedule);
	schedule->in_turn = false;
	if (left || (!list_empty(&schedule->fresh) && !schedule->trips_full) ||
		!list_empty(&schedule->dirty) || !list_empty(&schedule->stopped))
		relay_schedule_kick(schedule);
}

/* All that are known, by a call. */
static void each_destination(
	struct relay_schedule *schedule, void (*call)(struct relay_destination *destination))
{
	for (size_t i = 0; i < RELAY_DESTINATION_HASH; i++) {
		struct list *head = &schedule->table[i];

		for (struct list *node = head->next; node != head; node = node->next)
			call(container_of(node, struct relay_destination, hash));
	}
}

void relay_schedule_rerouted(struct relay *relay)
{
	each_destination(relay->schedule, relay_destination_sweep);
	relay_schedule_kick(relay->schedule);
}

/* ---- the end ---- */

void relay_schedule_drain(struct relay *relay)
{
	struct relay_schedule *schedule = relay->schedule;
	struct list *node = schedule->links.next;

	relay_directs_stop(schedule);
	while (node != &schedule->links) {
		struct relay_link *link = container_of(node, struct relay_link, all);

		node = node->next;
		relay_link_end(link);
	}
	each_destination(schedule, relay_destination_drain);
	relay_schedule_kick(schedule);
}

bool relay_schedule_idle(const struct relay *relay)
{
	const struct relay_schedule *schedule = relay->schedule;

	return schedule->links_n == 0 && schedule->pools.runs.live == 0 &&
	       schedule->pools.directs.live == 0 && !schedule->kick.armed;
}
