/* SPDX-License-Identifier: MIT */
/*
 * trip.c -- messages on their way: from the spool to the lines of destinations, and what happens to
 * them there.
 *
 * relay_entries_admit() looks up the routes of an entry's loose recipients, so that a reload counts
 * from the next try on, and puts one trip a destination in line. The sweep walks a destination's
 * line after something changed for all who wait: it takes out what is routed elsewhere now, what
 * is old enough to be returned or to warn its sender, and writes a record where one is due. What
 * needs no next hop to be settled stands in `doomed`. All three do a bounded piece a turn.
 *
 * A recipient without a route is deferred like one whose next hop says 4xx: routes come by reload.
 */
#include "relay/schedule-private.h"

#include <stdio.h>

#include "base/clock.h"

/* ---- trips ---- */

/* Out of the line, if it stands there. */
static void leave_line(struct relay_trip *trip)
{
	if (!list_empty(&trip->node) && trip->reason == RELAY_REASON_NONE)
		trip->destination->trips_n--;
	list_remove(&trip->node);
}

void relay_trip_over(struct relay_trip *trip)
{
	if (trip->left_n > 0 || trip->runs_n > 0)
		return;
	ASSERT(list_empty(&trip->node));
	trip->entry->relay_jobs -= RELAY_ENTRY_TRIP;
	relay_destination_drop(trip->destination);
	pool_put(&trip->destination->schedule->pools.trips, trip);
}

static void trip_loosen(struct relay_trip *trip)
{
	struct spool_entry *entry = trip->entry;
	struct relay_schedule *schedule = trip->destination->schedule;

	leave_line(trip);
	for (uint32_t i = trip->next; i < entry->recipients_n && trip->left_n > 0; i++) {
		if (entry->recipients[i].relay != trip)
			continue;
		entry->recipients[i].relay = &schedule->loose;
		trip->left_n--;
	}
	trip->left_n = 0;
	relay_trip_over(trip);
}

static struct relay_trip *trip_new(struct relay_schedule *schedule, struct spool_entry *entry,
	struct relay_destination *destination)
{
	struct relay_trip *trip;

	if (relay_entry_trips(entry) == RELAY_ENTRY_N_MAX)
		return NULL;
	trip = pool_get(&schedule->pools.trips);
	if (trip == NULL)
		return NULL;
	*trip = (struct relay_trip){.entry = entry, .destination = destination, .next = UINT32_MAX};
	list_init(&trip->node);
	entry->relay_jobs += RELAY_ENTRY_TRIP;
	relay_destination_use(destination);
	return trip;
}

static void trip_add(struct relay_trip *trip, uint32_t index)
{
	trip->entry->recipients[index].relay = trip;
	if (index < trip->next)
		trip->next = index;
	trip->left_n++;
}

static void doom(struct relay_trip *trip, enum relay_reason reason)
{
	leave_line(trip);
	trip->reason = reason;
	list_push_back(&trip->destination->schedule->doomed, &trip->node);
}

void relay_entry_loosen(struct spool_entry *entry)
{
	for (uint32_t i = 0; i < entry->recipients_n && relay_entry_trips(entry) > 0; i++) {
		struct relay_trip *trip = relay_trip_of(&entry->recipients[i]);

		if (trip->entry != NULL && i >= trip->next && trip->left_n > 0)
			trip_loosen(trip);
	}
}

/* ---- admission ---- */

/* A destination has no more trips in line than are left for all others: one that is dead takes half
 * of them, two take a third each. */
static bool line_long(
	const struct relay_schedule *schedule, const struct relay_destination *destination)
{
	const struct pool *trips = &schedule->pools.trips;

	return destination->trips_n > 0 && destination->trips_n >= trips->max - trips->live;
}

/* The trip for one loose recipient; NULL: no room, stop. *wait_ms: its destination finds no room, or
 * has no more for now. */
static struct relay_trip *trip_for(struct relay_schedule *schedule, struct spool_entry *entry,
	uint32_t index, uint64_t stamp, uint64_t *wait_ms)
{
	struct span domain = entry->recipients[index].smtp.address.domain;
	const struct route_settings *route = relay_route(schedule->relay->routes, domain);
	struct relay_destination *destination = &schedule->nowhere;
	struct relay_trip *trip;

	if (route != NULL)
		destination =
			relay_destination_get(schedule, route, domain, relay_entry_wish(entry));
	*wait_ms = destination == NULL ? RELAY_CROWDED_MS : 0;
	if (destination == NULL)
		return NULL;
	if (destination->stamp == stamp)
		return destination->newest;
	if (line_long(schedule, destination)) {
		*wait_ms = RELAY_LONG_LINE_MS;
		return NULL;
	}
	trip = trip_new(schedule, entry, destination);
	if (trip == NULL)
		return NULL;
	destination->stamp = stamp;
	destination->newest = trip;
	if (route == NULL) {
		doom(trip, RELAY_REASON_NO_ROUTE);
		return trip;
	}
	list_push_back(&destination->trips, &trip->node);
	destination->trips_n++;
	relay_destination_touch(destination);
	return trip;
}

/* Records why a message that has just come waits at a destination that is down for long. */
static void trip_record(struct relay_schedule *schedule, const struct relay_trip *trip)
{
	const struct relay_destination *destination = trip->destination;
	uint64_t now_ms = relay_schedule_now(schedule);
	char text[SPOOL_TEXT_MAX];
	struct spool_attempt attempt = {
		.next_hop = destination->last_hop,
		.text = text,
		.changes = schedule->changes,
		.held = trip->entry->held,
	};

	relay_outcome_text(&destination->last, text, sizeof(text));
	for (uint32_t i = trip->next;
		i < trip->entry->recipients_n && attempt.changes_n < RELAY_RUN_RECIPIENTS_MAX;
		i++) {
		const struct spool_recipient *recipient = &trip->entry->recipients[i];

		if (recipient->relay == trip)
			schedule->changes[attempt.changes_n++] = (struct spool_fate_change){
				.recipient = i,
				.fate = SPOOL_FATE_PENDING,
				.warned = recipient->warned,
			};
	}
	attempt.due_real_s =
		clock_real_us() / 1000000 + (relay_destination_due_ms(destination) - now_ms) / 1000;
	if (trip->entry->due.deadline_ms != 0 && trip->entry->due_real_s < attempt.due_real_s)
		attempt.due_real_s = trip->entry->due_real_s;
	spool_attempt(schedule->relay->facts.spool, trip->entry, &attempt);
}

/* False: no trips are left, the entry waits on. */
static bool admit(struct relay_schedule *schedule, struct spool_entry *entry)
{
	uint64_t stamp = ++schedule->stamp;
	uint64_t crowded_ms = 0;

	for (uint32_t i = 0; i < entry->recipients_n; i++) {
		struct relay_trip *trip;
		uint64_t wait_ms;

		if (!relay_recipient_loose(&entry->recipients[i]))
			continue;
		trip = trip_for(schedule, entry, i, stamp, &wait_ms);
		if (trip == NULL && wait_ms == 0)
			return false;
		if (trip == NULL) {
			if (crowded_ms == 0 || wait_ms < crowded_ms)
				crowded_ms = wait_ms;
			continue;
		}
		trip_add(trip, i);
	}
	list_remove(&entry->relay_node);
	if (crowded_ms > 0)
		(void)relay_entry_defer(schedule, entry,
			relay_backoff_ms(crowded_ms, crowded_ms, 0, &schedule->random));
	return true;
}

/* Once all of an entry's trips are whole. */
static void admitted(struct relay_schedule *schedule, struct spool_entry *entry)
{
	for (uint32_t i = 0; i < entry->recipients_n; i++) {
		struct relay_trip *trip = relay_trip_of(&entry->recipients[i]);

		if (trip->entry == NULL || trip->next != i || !trip->destination->down)
			continue;
		if (trip->destination->stamp == schedule->stamp &&
			trip->reason == RELAY_REASON_NONE &&
			relay_destination_long(trip->destination))
			trip_record(schedule, trip);
	}
	relay_entry_show(schedule, entry);
}

bool relay_entries_admit(struct relay_schedule *schedule)
{
	schedule->trips_full = false;
	for (uint32_t n = 0; n < RELAY_ADMIT_TURN_MAX; n++) {
		struct spool_entry *entry;

		if (list_empty(&schedule->fresh))
			return false;
		entry = container_of(schedule->fresh.next, struct spool_entry, relay_node);
		if (!admit(schedule, entry)) {
			count(COUNTER_RELAY_TRIPS_FULL);
			schedule->trips_full = true;
			/* More than an entry may have at once: the rest when these are over. */
			if (relay_entry_trips(entry) > 0)
				list_remove(&entry->relay_node);
			return false; /* whatever ends a trip makes a turn */
		}
		if (entry->pending_n == 0)
			relay_entry_settle(schedule, entry);
		else
			admitted(schedule, entry);
	}
	return true;
}

/* ---- the sweep ---- */

static bool overdue(const struct relay_schedule *schedule, const struct relay_trip *trip)
{
	const struct relay_settings *settings = schedule->relay->settings;
	const struct spool_entry *entry = trip->entry;
	uint64_t age_ms = relay_entry_age_ms(entry);

	if (age_ms >= settings->expire_ms)
		return true;
	if (settings->warn_ms == 0 || age_ms < settings->warn_ms)
		return false;
	for (uint32_t i = trip->next; i < entry->recipients_n; i++) {
		const struct spool_recipient *recipient = &entry->recipients[i];

		if (recipient->relay == trip && !recipient->warned &&
			relay_dsn_due(entry, recipient, RELAY_DSN_DELAYED))
			return true;
	}
	return false;
}

static void sweep_one(struct relay_schedule *schedule, struct relay_trip *trip)
{
	struct relay_destination *destination = trip->destination;
	struct spool_entry *entry = trip->entry;
	struct span domain = entry->recipients[trip->next].smtp.address.domain;

	list_remove(&trip->node);
	list_push_back(&destination->trips, &trip->node);
	if (relay_route(schedule->relay->routes, domain) != destination->route) {
		trip_loosen(trip);
		relay_entry_settle(schedule, entry);
		return;
	}
	if (destination->down && overdue(schedule, trip)) {
		doom(trip, RELAY_REASON_OVERDUE);
		return;
	}
	if (destination->down && destination->sweep_record)
		trip_record(schedule, trip);
	relay_entry_show(schedule, entry);
}

bool relay_trips_sweep(struct relay_schedule *schedule)
{
	for (uint32_t n = 0; n < RELAY_SWEEP_TURN_MAX; n++) {
		struct relay_destination *destination;

		if (list_empty(&schedule->sweeping))
			return false;
		destination =
			container_of(schedule->sweeping.next, struct relay_destination, sweeping);
		if (list_empty(&destination->unswept)) {
			list_remove(&destination->sweeping);
			continue;
		}
		sweep_one(
			schedule, container_of(destination->unswept.next, struct relay_trip, node));
	}
	return true;
}

/* ---- what needs no next hop ---- */

static void judge(struct relay_run *run, const struct relay_trip *trip)
{
	const struct relay_destination *destination = trip->destination;
	struct relay_outcome outcome;

	switch ((enum relay_reason)trip->reason) {
	case RELAY_REASON_NO_ROUTE:
		relay_outcome_make(&outcome, RELAY_RESULT_LATER, "4.4.4",
			"no route for the recipient's domain");
		relay_run_judge(run, "none", &outcome);
		break;
	case RELAY_REASON_OPERATOR:
		relay_outcome_make(
			&outcome, RELAY_RESULT_NEVER, "5.7.0", "returned by the administrator");
		relay_run_judge(run, "operator", &outcome);
		break;
	case RELAY_REASON_DOOMED:
		outcome = destination->doom;
		relay_run_judge(run, destination->name, &outcome);
		break;
	case RELAY_REASON_OVERDUE:
		outcome = destination->last;
		outcome.result = RELAY_RESULT_LATER;
		run->untried = true;
		relay_run_judge(run, destination->last_hop, &outcome);
		break;
	case RELAY_REASON_NONE:
		ASSERT(!"a trip without a reason is doomed");
	}
}

bool relay_trips_settle(struct relay_schedule *schedule)
{
	for (uint32_t n = 0; n < RELAY_SWEEP_TURN_MAX; n++) {
		struct relay_trip *trip;
		struct relay_run *run;

		/* Each would hold a run until there is room for its report. */
		if (list_empty(&schedule->doomed) || !list_empty(&schedule->unreported))
			return false;
		trip = container_of(schedule->doomed.next, struct relay_trip, node);
		run = relay_run_new(trip);
		if (run == NULL)
			return false; /* a run that ends makes a turn */
		judge(run, trip);
	}
	return true;
}

bool relay_entry_bounce(struct relay_schedule *schedule, struct spool_entry *entry)
{
	struct relay_trip *trip;

	relay_entry_loosen(entry);
	if (relay_entry_runs(entry) > 0) {
		entry->relay_jobs |= RELAY_ENTRY_BOUNCE;
		return true;
	}
	trip = trip_new(schedule, entry, &schedule->nowhere);
	if (trip == NULL) {
		relay_entry_settle(schedule, entry);
		return false;
	}
	for (uint32_t i = 0; i < entry->recipients_n; i++)
		if (relay_recipient_loose(&entry->recipients[i]))
			trip_add(trip, i);
	relay_entry_forget(schedule, entry);
	doom(trip, RELAY_REASON_OPERATOR);
	relay_schedule_kick(schedule);
	return true;
}
