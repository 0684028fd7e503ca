/* SPDX-License-Identifier: MIT */
/*
 * link.c -- connections as the scheduler holds them: being opened, idle, busy, closing.
 *
 * A link becomes idle when its client is ready and goes to the work that waits at the end of the
 * same turn. It is let go after idle_ms without work, after messages_max jobs, when a hop of higher
 * rank is up again (fail-over), when another destination's turn has come for one of the worker's
 * connections_max, when its domain's policy was asked for too long ago, and when the relay drains. Work goes to the newest idle link, so that a
 * pool that is larger than the load shrinks.
 *
 * A client may be closing while its link is idle here, as it saw the peer go: a link is asked for
 * its client's state before it is used, and `closed` cleans up.
 */
#include "relay/schedule-private.h"
#include "relay/trust-private.h"

static struct relay_schedule *schedule_of(const struct relay_link *link)
{
	return link->destination->schedule;
}

static struct relay_hop *hop_of(const struct relay_link *link)
{
	return &link->destination->hops[link->hop];
}

static void idle_leave(struct relay_link *link)
{
	list_remove(&link->idle);
	list_remove(&link->old);
	wheel_clear(relay_schedule_wheel(schedule_of(link)), &link->timer);
}

static void closing(struct relay_link *link)
{
	if (link->state == RELAY_LINK_CLOSING)
		return;
	idle_leave(link);
	link->state = RELAY_LINK_CLOSING;
	schedule_of(link)->closing_n++;
}

void relay_link_quit(struct relay_link *link)
{
	closing(link);
	if (relay_client_state(link->client) == RELAY_CLIENT_READY)
		relay_client_quit(link->client);
}

static void idle_fire(struct wheel_timer *timer)
{
	relay_link_quit(container_of(timer, struct relay_link, timer));
}

static void idle_set(struct relay_link *link)
{
	struct relay_schedule *schedule = schedule_of(link);

	link->state = RELAY_LINK_IDLE;
	list_push_back(&hop_of(link)->idle, &link->idle);
	list_push_back(&schedule->idle, &link->old);
	wheel_set(relay_schedule_wheel(schedule), &link->timer,
		relay_schedule_now(schedule) + link->destination->route->idle_ms);
	relay_destination_touch(link->destination);
	relay_schedule_kick(schedule);
}

/* What its domain asks for may be another thing by now. */
static bool outdated(const struct relay_link *link)
{
	return link->trusted_ms != 0 &&
	       relay_schedule_now(schedule_of(link)) >= link->trusted_ms + RELAY_TRUST_MS_MAX;
}

struct relay_link *relay_link_take(struct relay_hop *hop)
{
	while (!list_empty(&hop->idle)) {
		struct relay_link *link = container_of(hop->idle.prev, struct relay_link, idle);

		if (relay_client_state(link->client) != RELAY_CLIENT_READY) {
			closing(link);
			continue;
		}
		if (outdated(link)) {
			relay_link_quit(link);
			continue;
		}
		idle_leave(link);
		link->state = RELAY_LINK_BUSY;
		return link;
	}
	return NULL;
}

void relay_link_release(struct relay_link *link)
{
	link->run = NULL;
	link->direct = NULL;
	if (relay_client_state(link->client) != RELAY_CLIENT_READY)
		closing(link);
	else if (schedule_of(link)->relay->draining)
		relay_link_quit(link);
	else
		idle_set(link);
}

void relay_link_job_over(struct relay_link *link, bool connection_failed)
{
	link->run = NULL;
	link->direct = NULL;
	if (!connection_failed || link->lost)
		return;
	link->lost = true;
	hop_of(link)->links_n--;
}

/* A hop of higher rank is up. */
static bool superseded(const struct relay_link *link)
{
	const struct relay_destination *destination = link->destination;

	if (destination->route->choose != ROUTE_CHOOSE_FAILOVER)
		return false;
	for (uint8_t i = 0; i < link->hop; i++)
		if (destination->hops[i].failures == 0)
			return true;
	return false;
}

/* The worker has all the links it may have, another destination has fewer of them, and this one has
 * been worth its opening. */
static bool yields(const struct relay_link *link)
{
	const struct relay_schedule *schedule = schedule_of(link);
	const struct relay_destination *first;
	uint32_t jobs = relay_client_jobs(link->client);

	if (jobs == 0 || jobs % RELAY_YIELD_JOBS != 0 || list_empty(&schedule->wanting))
		return false;
	if (schedule->links_n - schedule->closing_n < schedule->relay->settings->connections_max)
		return false;
	first = container_of(schedule->wanting.next, struct relay_destination, wanting);
	return first != link->destination && first->links_n < link->destination->links_n;
}

static void opened(struct relay_link *link)
{
	struct relay_destination *destination = link->destination;

	relay_dial_free(link);
	hop_of(link)->opening_n--;
	destination->opening_n--;
	if (destination->directs_n + destination->runs_n + destination->trips_n == 0)
		relay_destination_good(destination, link->hop);
}

static void link_ready(struct relay_client_owner *owner, struct relay_client *client)
{
	struct relay_link *link = container_of(owner, struct relay_link, owner);

	ASSERT(link->run == NULL && link->direct == NULL);
	link->client = client;
	if (link->dial != NULL)
		opened(link);
	if (schedule_of(link)->relay->draining || link->lost || link->state == RELAY_LINK_CLOSING ||
		superseded(link) || yields(link) || outdated(link) ||
		relay_client_jobs(client) >= link->destination->route->messages_max)
		relay_link_quit(link);
	else
		idle_set(link);
	relay_destination_touch(link->destination);
}

static void link_free(struct relay_link *link)
{
	struct relay_destination *destination = link->destination;
	struct relay_schedule *schedule = destination->schedule;

	idle_leave(link);
	list_remove(&link->all);
	if (link->dial != NULL) {
		relay_dial_free(link);
		hop_of(link)->opening_n--;
		destination->opening_n--;
	}
	if (!link->lost)
		hop_of(link)->links_n--;
	destination->links_n--;
	schedule->links_n--;
	if (link->state == RELAY_LINK_CLOSING)
		schedule->closing_n--;
	pool_put(&schedule->pools.links, link);
	relay_destination_touch(destination);
	relay_destination_drop(destination);
}

static void link_closed(struct relay_client_owner *owner, struct relay_client *client,
	const struct relay_outcome *outcome)
{
	struct relay_link *link = container_of(owner, struct relay_link, owner);

	(void)client;
	link->client = NULL;
	if (link->dial != NULL) {
		relay_dial_closed(link, outcome);
		return;
	}
	if (link->run != NULL)
		relay_run_unlink(link->run);
	link_free(link);
}

void relay_link_failed(
	struct relay_link *link, const char *next_hop, const struct relay_outcome *outcome)
{
	struct relay_destination *destination = link->destination;
	uint8_t hop = link->hop;

	link_free(link);
	if (!destination->schedule->relay->draining) {
		/* Not final where other links stand: the next hop takes mail, but not more of us. */
		if (outcome->result == RELAY_RESULT_NEVER && destination->hops_n == 1 &&
			destination->hops[hop].links_n == destination->hops[hop].opening_n)
			relay_destination_doom(destination, outcome);
		else
			relay_destination_failed(destination, hop, next_hop, outcome);
	}
	relay_directs_failed(destination, outcome);
}

struct relay_link *relay_link_open(struct relay_destination *destination, uint8_t hop)
{
	struct relay_schedule *schedule = destination->schedule;
	struct relay_link *link = pool_get(&schedule->pools.links);

	if (link == NULL)
		return NULL;
	*link = (struct relay_link){
		.owner = {.ready = link_ready, .closed = link_closed},
		.destination = destination,
		.hop = hop,
	};
	if (!relay_dial_new(link)) {
		pool_put(&schedule->pools.links, link);
		return NULL;
	}
	list_init(&link->idle);
	list_init(&link->old);
	list_init(&link->all);
	wheel_timer_init(&link->timer, idle_fire);
	list_push_back(&schedule->links, &link->all);
	relay_destination_use(destination);
	schedule->links_n++;
	destination->links_n++;
	destination->opening_n++;
	destination->hops[hop].links_n++;
	destination->hops[hop].opening_n++;
	relay_dial_start(link);
	return link;
}

void relay_link_end(struct relay_link *link)
{
	if (link->dial != NULL)
		relay_dial_cancel(link);
	else if (link->state == RELAY_LINK_IDLE)
		relay_link_quit(link);
}
