/* SPDX-License-Identifier: MIT */
/*
 * direct.c -- jobs past the spool, for whoever has a client waiting: cut-through and callouts.
 *
 * They use the destinations' links and limits and go before everything else in line. A direct job is
 * refused at once when nothing could serve it soon: every hop in back-off, the worker's connections
 * used up, too many waiting already. Once taken it ends with done(), by the next hop's word or by
 * the first of: no link could be opened for it, its ms_max (the wait for a link included), the
 * asker's stop, the relay's drain. Where a hop's back-off is over it may be the trial: callouts may
 * be all the traffic there is.
 */
#include "relay/schedule-private.h"

#include <stdio.h>

static void give_up(
	struct relay_direct *direct, const struct relay_outcome *outcome, bool connection_failed)
{
	ASSERT(outcome->result != RELAY_RESULT_DONE);
	if (direct->stopped)
		return;
	list_remove(&direct->node);
	direct->stopped = true;
	direct->outcome = *outcome;
	direct->job->connection_failed = connection_failed;
	list_push_back(&direct->schedule->stopped, &direct->node);
	relay_schedule_kick(direct->schedule);
}

static void finish(struct relay_direct *direct)
{
	struct relay_schedule *schedule = direct->schedule;
	struct relay_job *job = direct->job;

	list_remove(&direct->node);
	wheel_clear(relay_schedule_wheel(schedule), &direct->timer);
	relay_destination_drop(direct->destination);
	job->done = direct->done;
	job->holder = NULL;
	pool_put(&schedule->pools.directs, direct);
	job->done(job);
}

static void outcomes_set(struct relay_job *job, const struct relay_outcome *outcome)
{
	for (uint32_t i = 0; i < job->recipients_n; i++)
		*job->recipients[i].outcome = *outcome;
}

static void wait_for_link(struct relay_direct *direct)
{
	struct relay_destination *destination = direct->destination;

	if (direct->deadline_ms > 0)
		wheel_set(relay_schedule_wheel(direct->schedule), &direct->timer,
			direct->deadline_ms);
	list_push_back(&destination->directs, &direct->node);
	destination->directs_n++;
	relay_destination_touch(destination);
	relay_schedule_kick(direct->schedule);
}

static void wait_no_more(struct relay_direct *direct)
{
	list_remove(&direct->node);
	direct->destination->directs_n--;
}

/* An idle link, a new one, or one that will be free soon. */
static bool place(struct relay_direct *direct)
{
	struct relay_destination *destination = direct->destination;
	struct relay_schedule *schedule = direct->schedule;
	const struct route_settings *route = destination->route;
	uint64_t now_ms = relay_schedule_now(schedule);
	uint8_t order[SETTINGS_NEXT_HOPS_MAX];

	relay_hops_order(destination->hops, destination->hops_n, route->choose, now_ms,
		&schedule->random, order);
	for (uint8_t i = 0; i < destination->hops_n; i++) {
		struct relay_hop *hop = &destination->hops[order[i]];
		enum relay_hop_state state = relay_hop_state(hop, now_ms);
		struct relay_link *link = relay_link_take(hop);

		if (link != NULL) {
			relay_direct_give(direct, link);
			return true;
		}
		if (hop->settings->kind == NEXT_HOP_MAILDIR)
			return false;
		if (relay_hop_may_open(hop, route->connections_max, now_ms) &&
			schedule->links_n < schedule->relay->settings->connections_max) {
			wait_for_link(direct);
			if (relay_link_open(destination, order[i]) != NULL)
				return true;
			wait_no_more(direct);
			return false;
		}
		if (state == RELAY_HOP_UP && hop->links_n > 0 &&
			destination->directs_n < route->connections_max) {
			wait_for_link(direct);
			return true;
		}
		if (state == RELAY_HOP_UP && route->choose == ROUTE_CHOOSE_FAILOVER)
			break;
	}
	return false;
}

static bool dead_link(const struct relay_direct *direct)
{
	const struct relay_job *job = direct->job;

	if (!job->connection_failed || !direct->reused || direct->again || job->sent_dot ||
		direct->stopped || direct->schedule->relay->draining)
		return false;
	for (uint32_t i = 0; i < job->recipients_n; i++) {
		const struct relay_outcome *outcome = job->recipients[i].outcome;

		if (outcome->result != RELAY_RESULT_LATER ||
			(outcome->code != 0 && outcome->code != 421))
			return false;
	}
	return true;
}

static void direct_done(struct relay_job *job)
{
	struct relay_direct *direct = job->holder;

	relay_link_job_over(direct->link, job->connection_failed);
	direct->link = NULL;
	if (dead_link(direct)) {
		direct->again = true;
		job->connection_failed = false;
		if (place(direct))
			return;
		job->connection_failed = true;
	} else if (job->connection_failed && !direct->stopped) {
		struct relay_outcome why;

		relay_job_failure(job, &why);
		relay_destination_failed(direct->destination, direct->hop, job->next_hop, &why);
	} else if (!job->connection_failed && relay_job_heard(job)) {
		relay_destination_good(direct->destination, direct->hop);
	}
	finish(direct);
}

void relay_direct_give(struct relay_direct *direct, struct relay_link *link)
{
	struct relay_job *job = direct->job;
	uint64_t now_ms = relay_schedule_now(direct->schedule);

	link->direct = direct;
	direct->link = link;
	direct->hop = link->hop;
	direct->reused = relay_client_jobs(link->client) > 0;
	wheel_clear(relay_schedule_wheel(direct->schedule), &direct->timer);
	if (direct->deadline_ms > 0)
		job->ms_max =
			direct->deadline_ms > now_ms ? (uint32_t)(direct->deadline_ms - now_ms) : 1;
	relay_client_give(link->client, job);
}

static void late(struct wheel_timer *timer)
{
	struct relay_direct *direct = container_of(timer, struct relay_direct, timer);
	struct relay_outcome outcome;

	if (direct->link != NULL || direct->stopped)
		return;
	wait_no_more(direct);
	relay_outcome_make(&outcome, RELAY_RESULT_LATER, "4.4.1", "no connection in time");
	give_up(direct, &outcome, true);
}

bool relay_schedule_direct(struct relay *relay, const struct route_settings *route,
	struct span domain, struct relay_job *job)
{
	struct relay_schedule *schedule = relay->schedule;
	struct relay_destination *destination;
	struct relay_direct *direct;

	if (relay->draining)
		return false;
	destination = relay_destination_get(schedule, route, domain, RELAY_WISH_NONE);
	if (destination == NULL)
		return false;
	direct = pool_get(&schedule->pools.directs);
	if (direct == NULL) {
		count(COUNTER_RELAY_DIRECTS_FULL);
		return false;
	}
	*direct = (struct relay_direct){
		.schedule = schedule,
		.destination = destination,
		.job = job,
		.done = job->done,
	};
	list_init(&direct->node);
	wheel_timer_init(&direct->timer, late);
	relay_destination_use(destination);
	job->holder = direct;
	job->done = direct_done;
	job->connection_failed = false;
	if (job->ms_max > 0)
		direct->deadline_ms = relay_schedule_now(schedule) + job->ms_max;
	if (place(direct))
		return true;
	wheel_clear(relay_schedule_wheel(schedule), &direct->timer);
	relay_destination_drop(destination);
	job->done = direct->done;
	job->holder = NULL;
	pool_put(&schedule->pools.directs, direct);
	return false;
}

void relay_schedule_direct_stop(struct relay *relay, struct relay_job *job)
{
	struct relay_direct *direct = job->holder;
	struct relay_outcome outcome;

	(void)relay;
	if (direct == NULL || direct->stopped)
		return;
	if (direct->link != NULL) {
		direct->stopped = true; /* its end says nothing about the hop */
		relay_client_abort(direct->link->client);
		return;
	}
	wait_no_more(direct);
	relay_outcome_make(&outcome, RELAY_RESULT_LATER, "4.4.1", "given up");
	give_up(direct, &outcome, false);
}

/* ---- what others make of them ---- */

static bool any_standing(const struct relay_destination *destination)
{
	for (uint8_t i = 0; i < destination->hops_n; i++)
		if (destination->hops[i].links_n > destination->hops[i].opening_n)
			return true;
	return false;
}

static struct relay_direct *last_of(struct relay_destination *destination)
{
	return container_of(destination->directs.prev, struct relay_direct, node);
}

void relay_directs_failed(
	struct relay_destination *destination, const struct relay_outcome *outcome)
{
	if (any_standing(destination))
		return;
	while (destination->directs_n > destination->opening_n) {
		struct relay_direct *direct = last_of(destination);

		wait_no_more(direct);
		give_up(direct, outcome, true);
	}
}

void relay_directs_stop(struct relay_schedule *schedule)
{
	struct relay_outcome outcome;

	relay_outcome_make(&outcome, RELAY_RESULT_LATER, "4.3.2", "the gateway is stopping");
	for (size_t i = 0; i < RELAY_DESTINATION_HASH; i++) {
		struct list *head = &schedule->table[i];

		for (struct list *node = head->next; node != head; node = node->next) {
			struct relay_destination *destination =
				container_of(node, struct relay_destination, hash);

			while (destination->directs_n > 0) {
				struct relay_direct *direct = last_of(destination);

				wait_no_more(direct);
				give_up(direct, &outcome, false);
			}
		}
	}
}

void relay_directs_turn(struct relay_schedule *schedule)
{
	struct list stopped;

	list_init(&stopped);
	list_splice_back(&stopped, &schedule->stopped);
	while (!list_empty(&stopped)) {
		struct relay_direct *direct =
			container_of(list_pop_front(&stopped), struct relay_direct, node);

		outcomes_set(direct->job, &direct->outcome);
		finish(direct);
	}
}
