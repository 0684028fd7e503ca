/* SPDX-License-Identifier: MIT */
/*
 * destination.c -- where messages go: a line of waiting work, hops, and who serves whom.
 *
 * A destination is a route; where a route's next hop is `mx`, a route and a domain. Its name is
 * what the operator sees: "route:TITLE" or "mx:DOMAIN". Messages with REQUIRETLS for the same domain
 * have a destination of their own, "mx-requiretls:DOMAIN": a connection that will do for others will
 * not do for them, and what is final for them is not for others. So have those with "TLS-Required:
 * No" where the route goes by policy, "mx-tls-optional:DOMAIN": theirs will not do for others. Next
 * hops that the operator wrote down are inside, and one destination is for all. Work waits in one line: directs first, then
 * runs that lost their link, then trips in the order of their coming. Whenever something changed
 * (work came, a link became idle, a back-off ended) the destination is touched and served at the
 * end of the turn: idle links get work; if more waits than links are being opened for, the
 * destination joins `wanting`, from which schedule.c opens links one at a time, round robin.
 *
 * A destination whose hops are all in back-off is down: work stays in line, untried and uncounted.
 * Messages in it get a record of why (relay_destination_sweep) when they come to a destination that
 * is down for long, and once a back-off step of retry_ms_min or more: not by the short ones, so that
 * a restart of the store leaves no traces in a million messages. What ends the back-off, a link that
 * works, moves the whole line at once.
 *
 * Destinations nobody uses keep the health of their hops until the room is needed for others.
 */
#include "relay/schedule-private.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static bool by_domain(const struct route_settings *route)
{
	for (size_t i = 0; i < route->next_hops_n; i++)
		if (route->next_hops[i].kind == NEXT_HOP_MX)
			return true;
	return false;
}

/* What the route makes of a wish. */
static enum relay_wish wish_by(const struct route_settings *route, enum relay_wish wish)
{
	if (!by_domain(route) ||
		(wish == RELAY_WISH_TLS_OPTIONAL && route->tls != ROUTE_TLS_POLICY))
		return RELAY_WISH_NONE;
	return wish;
}

void relay_destination_name(const struct relay *relay, const struct route_settings *route,
	struct span domain, enum relay_wish wish, char name[300])
{
	static const char *const kinds[] = {
		[RELAY_WISH_NONE] = "mx",
		[RELAY_WISH_REQUIRETLS] = "mx-requiretls",
		[RELAY_WISH_TLS_OPTIONAL] = "mx-tls-optional",
	};
	int n;

	if (!by_domain(route)) {
		(void)snprintf(name, 300, "route:%s", route->title);
		return;
	}
	if (domain.n == 0)
		domain = span_str(relay->facts.config->smtp.hostname);
	n = snprintf(name, 300, "%s:%.*s", kinds[wish_by(route, wish)],
		(int)min_size(domain.n, 255), (const char *)domain.p);
	for (int i = 0; i < n; i++)
		name[i] = (char)tolower((unsigned char)name[i]);
}

static struct list *bucket(struct relay_schedule *schedule, const char *name)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *name != '\0'; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619u;
	return &schedule->table[hash % RELAY_DESTINATION_HASH];
}

struct relay_destination *relay_destination_find(
	struct relay_schedule *schedule, const struct route_settings *route, const char *name)
{
	struct list *head = bucket(schedule, name);

	for (struct list *node = head->next; node != head; node = node->next) {
		struct relay_destination *destination =
			container_of(node, struct relay_destination, hash);

		if ((route == NULL || destination->route == route) &&
			strcmp(destination->name, name) == 0)
			return destination;
	}
	return NULL;
}

static void retry_fire(struct wheel_timer *timer)
{
	relay_destination_touch(container_of(timer, struct relay_destination, retry));
}

void relay_destination_init(struct relay_destination *destination, struct relay_schedule *schedule,
	const struct route_settings *route, const char *name)
{
	*destination = (struct relay_destination){.schedule = schedule, .route = route};
	list_init(&destination->hash);
	list_init(&destination->unused);
	list_init(&destination->dirty);
	list_init(&destination->wanting);
	list_init(&destination->starved);
	list_init(&destination->sweeping);
	list_init(&destination->trips);
	list_init(&destination->unswept);
	list_init(&destination->runs);
	list_init(&destination->directs);
	wheel_timer_init(&destination->retry, retry_fire);
	(void)snprintf(destination->name, sizeof(destination->name), "%s", name);
	if (route == NULL)
		return;
	if (by_domain(route))
		destination->domain = strchr(destination->name, ':') + 1;
	destination->hops_n = (uint8_t)route->next_hops_n;
	for (uint8_t i = 0; i < destination->hops_n; i++) {
		destination->hops[i].settings = &route->next_hops[i];
		list_init(&destination->hops[i].idle);
	}
}

/* Forgets the destination that nobody has used for the longest. */
static bool forget_one(struct relay_schedule *schedule)
{
	struct relay_destination *destination;

	if (list_empty(&schedule->unused))
		return false;
	destination =
		container_of(list_pop_front(&schedule->unused), struct relay_destination, unused);
	wheel_clear(relay_schedule_wheel(schedule), &destination->retry);
	list_remove(&destination->hash);
	list_remove(&destination->dirty);
	list_remove(&destination->wanting);
	list_remove(&destination->starved);
	list_remove(&destination->sweeping);
	pool_put(&schedule->pools.destinations, destination);
	return true;
}

struct relay_destination *relay_destination_get(struct relay_schedule *schedule,
	const struct route_settings *route, struct span domain, enum relay_wish wish)
{
	struct relay_destination *destination;
	char name[sizeof(destination->name)];

	relay_destination_name(schedule->relay, route, domain, wish, name);
	destination = relay_destination_find(schedule, route, name);
	if (destination != NULL)
		return destination;
	destination = pool_get(&schedule->pools.destinations);
	if (destination == NULL && forget_one(schedule))
		destination = pool_get(&schedule->pools.destinations);
	if (destination == NULL) {
		count(COUNTER_RELAY_DESTINATIONS_FULL);
		return NULL;
	}
	relay_destination_init(destination, schedule, route, name);
	destination->wish = wish_by(route, wish);
	list_push_back(bucket(schedule, name), &destination->hash);
	list_push_back(&schedule->unused, &destination->unused);
	return destination;
}

void relay_destination_use(struct relay_destination *destination)
{
	if (destination->users++ == 0)
		list_remove(&destination->unused);
}

void relay_destination_drop(struct relay_destination *destination)
{
	struct relay_schedule *schedule = destination->schedule;

	ASSERT(destination->users > 0);
	if (--destination->users > 0)
		return;
	wheel_clear(relay_schedule_wheel(schedule), &destination->retry);
	if (destination != &schedule->nowhere)
		list_push_back(&schedule->unused, &destination->unused);
}

void relay_destination_touch(struct relay_destination *destination)
{
	if (list_empty(&destination->dirty))
		list_push_back(&destination->schedule->dirty, &destination->dirty);
}

/* ---- serving ---- */

static uint32_t waiting(const struct relay_destination *destination)
{
	return destination->directs_n + destination->runs_n + destination->trips_n;
}

/* The head of the line becomes a run. NULL: no run is free. */
static struct relay_run *next_run(struct relay_destination *destination)
{
	struct relay_schedule *schedule = destination->schedule;
	struct list *line = &destination->trips;
	struct relay_run *run;

	if (destination->runs_n > 0) {
		destination->runs_n--;
		return container_of(list_pop_front(&destination->runs), struct relay_run, job.node);
	}
	if (list_empty(line))
		line = &destination->unswept;
	ASSERT(!list_empty(line));
	run = relay_run_new(container_of(line->next, struct relay_trip, node));
	if (run == NULL && list_empty(&destination->starved))
		list_push_back(&schedule->starved, &destination->starved);
	return run;
}

/* False: nothing could be given. */
static bool give_link(struct relay_destination *destination, struct relay_link *link, uint8_t hop)
{
	struct relay_run *run;

	if (destination->directs_n > 0) {
		destination->directs_n--;
		relay_direct_give(container_of(list_pop_front(&destination->directs),
					  struct relay_direct, node),
			link);
		return true;
	}
	run = next_run(destination);
	if (run == NULL) {
		relay_link_release(link);
		return false;
	}
	relay_run_start(run, link, hop);
	return true;
}

static bool give_maildir(struct relay_destination *destination, uint8_t hop, uint64_t now_ms)
{
	const struct relay_hop *maildir = &destination->hops[hop];
	struct relay_run *run;

	if (maildir->links_n >= destination->route->connections_max || now_ms < maildir->full_ms ||
		destination->directs_n == waiting(destination))
		return false;
	run = next_run(destination);
	if (run == NULL)
		return false;
	relay_run_start(run, NULL, hop);
	return true;
}

/* Messages wait, and no run is free: it is served again when one is. */
static bool starved(struct relay_destination *destination)
{
	struct relay_schedule *schedule = destination->schedule;

	if (destination->directs_n > 0 || destination->runs_n > 0 || destination->trips_n == 0 ||
		schedule->pools.runs.live < schedule->pools.runs.max)
		return false;
	count(COUNTER_RELAY_RUNS_FULL);
	if (list_empty(&destination->starved))
		list_push_back(&schedule->starved, &destination->starved);
	return true;
}

/* One piece of work to whoever is to have it and can take it now. */
static bool serve_one(struct relay_destination *destination, uint64_t now_ms)
{
	const struct route_settings *route = destination->route;
	uint8_t order[SETTINGS_NEXT_HOPS_MAX];

	relay_hops_order(destination->hops, destination->hops_n, route->choose, now_ms,
		&destination->schedule->random, order);
	for (uint8_t i = 0; i < destination->hops_n; i++) {
		uint8_t at = order[i];
		struct relay_hop *hop = &destination->hops[at];
		enum relay_hop_state state = relay_hop_state(hop, now_ms);
		struct relay_link *link;

		if (state == RELAY_HOP_DOWN)
			continue;
		if (hop->settings->kind == NEXT_HOP_MAILDIR) {
			if (state != RELAY_HOP_TRYING && give_maildir(destination, at, now_ms))
				return true;
		} else {
			/* Links of a lower rank that could serve do not keep a hop from its trial,
			 * nor, by weight, from its first link. */
			if (state == RELAY_HOP_TRIAL || (i == 0 && hop->links_n == 0))
				destination->asked = (uint8_t)(at + 1);
			link = relay_link_take(hop);
			if (link != NULL)
				return give_link(destination, link, at);
		}
		if (state == RELAY_HOP_UP && route->choose == ROUTE_CHOOSE_FAILOVER)
			break; /* the others are for when this one is down */
	}
	return false;
}

static bool wants(struct relay_destination *destination, uint64_t now_ms, uint8_t *out)
{
	const struct route_settings *route = destination->route;
	uint8_t order[SETTINGS_NEXT_HOPS_MAX];

	if (destination->asked > 0) {
		const struct relay_hop *hop = &destination->hops[destination->asked - 1];

		*out = (uint8_t)(destination->asked - 1);
		destination->asked = 0;
		if (hop->links_n == 0 && relay_hop_may_open(hop, route->connections_max, now_ms))
			return true;
	}
	if (waiting(destination) <= destination->opening_n)
		return false;
	relay_hops_order(destination->hops, destination->hops_n, route->choose, now_ms,
		&destination->schedule->random, order);
	for (uint8_t i = 0; i < destination->hops_n; i++) {
		const struct relay_hop *hop = &destination->hops[order[i]];

		*out = order[i];
		if (relay_hop_may_open(hop, route->connections_max, now_ms))
			return true;
		if (relay_hop_state(hop, now_ms) == RELAY_HOP_UP &&
			route->choose == ROUTE_CHOOSE_FAILOVER)
			break;
	}
	return false;
}

void relay_destination_serve(struct relay_destination *destination)
{
	struct relay_schedule *schedule = destination->schedule;
	uint64_t now_ms = relay_schedule_now(schedule);
	bool hungry = false;
	uint64_t wait_ms;
	uint8_t hop;

	/* Bounded: every piece of work given takes a link or a place at a Maildir. */
	while (waiting(destination) > 0 && !(hungry = starved(destination)) &&
		serve_one(destination, now_ms))
		;
	if (hungry)
		return;
	if (waiting(destination) == 0 && destination->asked == 0)
		return;
	if (wants(destination, now_ms, &hop)) {
		destination->asked = (uint8_t)(hop + 1);
		if (list_empty(&destination->wanting))
			list_push_back(&schedule->wanting, &destination->wanting);
		return;
	}
	wait_ms = relay_hops_wait(destination->hops, destination->hops_n, now_ms);
	if (waiting(destination) > 0 && destination->opening_n == 0 && wait_ms > 0)
		wheel_set(relay_schedule_wheel(schedule), &destination->retry, now_ms + wait_ms);
}

bool relay_destination_open(struct relay_destination *destination)
{
	uint64_t now_ms = relay_schedule_now(destination->schedule);
	uint8_t hop;

	if (!wants(destination, now_ms, &hop))
		return false;
	if (relay_link_open(destination, hop) == NULL) {
		destination->hops[hop].full_ms = now_ms + RELAY_HOP_FULL_MS;
		wheel_set(relay_schedule_wheel(destination->schedule), &destination->retry,
			now_ms + RELAY_HOP_FULL_MS);
		return false;
	}
	if (!wants(destination, now_ms, &hop))
		return false;
	destination->asked = (uint8_t)(hop + 1);
	return true;
}

/* ---- health ---- */

static void report(const struct relay_destination *destination, const char *name,
	const struct relay_hop *hop, enum counter counter)
{
	char text[SPOOL_TEXT_MAX];
	struct event event;

	event_open(&event, counter, name);
	event_str(&event, "destination", destination->name);
	event_str(&event, "next_hop", hop->settings->text);
	if (hop->failures > 0) {
		uint64_t now_ms = relay_schedule_now(destination->schedule);

		relay_outcome_text(&destination->last, text, sizeof(text));
		event_str(&event, "at", destination->last_hop);
		event_str(&event, "reason", text);
		event_u64(&event, "failures", hop->failures);
		event_u64(&event, "retry_ms", hop->retry_ms > now_ms ? hop->retry_ms - now_ms : 0);
	}
	event_u64(&event, "waiting", waiting(destination));
	event_close(&event);
}

static bool all_down(const struct relay_destination *destination)
{
	for (uint8_t i = 0; i < destination->hops_n; i++)
		if (destination->hops[i].failures == 0)
			return false;
	return true;
}

void relay_destination_failed(struct relay_destination *destination, uint8_t at,
	const char *next_hop, const struct relay_outcome *outcome)
{
	struct relay_schedule *schedule = destination->schedule;
	const struct relay_settings *settings = schedule->relay->settings;
	uint64_t now_ms = relay_schedule_now(schedule);
	struct relay_hop *hop = &destination->hops[at];
	bool was_down = destination->down;

	destination->last = *outcome;
	(void)snprintf(destination->last_hop, sizeof(destination->last_hop), "%s", next_hop);
	relay_destination_touch(destination);
	if (!relay_hop_failed(
		    hop, settings->retry_ms_min, settings->retry_ms_max, now_ms, &schedule->random))
		return;
	report(destination, "next_hop_failed", hop, COUNTER_RELAY_HOP_FAILURES);
	if (!all_down(destination))
		return;
	destination->down = true;
	relay_destination_drain(destination);
	relay_directs_failed(destination, outcome);
	if (relay_destination_long(destination)) {
		destination->sweep_record = true;
		relay_destination_sweep(destination);
	} else if (!was_down) {
		destination->sweep_record = false;
		relay_destination_sweep(destination);
	}
}

bool relay_destination_long(const struct relay_destination *destination)
{
	uint64_t min_ms = destination->schedule->relay->settings->retry_ms_min;
	uint64_t due_ms = relay_destination_due_ms(destination);
	uint64_t now_ms = relay_schedule_now(destination->schedule);

	/* With the jitter taken off. */
	return due_ms >= now_ms + min_ms * (100 - RELAY_JITTER_PERCENT) / 100;
}

/* Links to hops that only stood in; busy ones go when they are ready. */
static void lower_let_go(struct relay_destination *destination, uint8_t at)
{
	for (uint8_t i = (uint8_t)(at + 1); i < destination->hops_n; i++) {
		struct list *idle = &destination->hops[i].idle;

		while (!list_empty(idle))
			relay_link_quit(container_of(idle->next, struct relay_link, idle));
	}
}

void relay_destination_good(struct relay_destination *destination, uint8_t at)
{
	struct relay_hop *hop = &destination->hops[at];

	bool was_up = hop->failures == 0;

	relay_hop_good(hop);
	if (was_up)
		return;
	report(destination, "next_hop_up", hop, EVENT_NO_COUNT);
	relay_destination_touch(destination);
	if (destination->route->choose == ROUTE_CHOOSE_FAILOVER)
		lower_let_go(destination, at);
	if (!destination->down)
		return;
	destination->down = false;
	destination->sweep_record = false;
	relay_destination_sweep(destination);
}

/* What failed is tried at once, and its back-off begins anew. */
void relay_destination_retry(struct relay_destination *destination)
{
	for (uint8_t i = 0; i < destination->hops_n; i++) {
		struct relay_hop *hop = &destination->hops[i];

		hop->retry_ms = 0;
		hop->full_ms = 0;
		if (hop->failures > 1)
			hop->failures = 1;
	}
	relay_destination_touch(destination);
}

uint64_t relay_destination_due_ms(const struct relay_destination *destination)
{
	uint64_t now_ms = relay_schedule_now(destination->schedule);

	return destination->down
		       ? now_ms + relay_hops_wait(destination->hops, destination->hops_n, now_ms)
		       : now_ms;
}

void relay_destination_doom(
	struct relay_destination *destination, const struct relay_outcome *outcome)
{
	struct list *doomed = &destination->schedule->doomed;
	struct list line;

	destination->doom = *outcome;
	destination->last = *outcome;
	list_init(&line);
	list_splice_back(&line, &destination->trips);
	list_splice_back(&line, &destination->unswept);
	destination->trips_n = 0;
	while (!list_empty(&line)) {
		struct list *node = list_pop_front(&line);

		container_of(node, struct relay_trip, node)->reason = RELAY_REASON_DOOMED;
		list_push_back(doomed, node);
	}
	while (destination->runs_n > 0) {
		struct list *node = list_pop_front(&destination->runs);

		destination->runs_n--;
		relay_run_judge(
			container_of(node, struct relay_run, job.node), destination->name, outcome);
	}
}

void relay_destination_drain(struct relay_destination *destination)
{
	while (destination->runs_n > 0) { /* loose again, their bodies closed */
		struct list *node = list_pop_front(&destination->runs);

		destination->runs_n--;
		relay_run_cancel(container_of(node, struct relay_run, job.node));
	}
}

void relay_destination_sweep(struct relay_destination *destination)
{
	struct relay_schedule *schedule = destination->schedule;

	list_splice_back(&destination->unswept, &destination->trips);
	if (!list_empty(&destination->unswept) && list_empty(&destination->sweeping))
		list_push_back(&schedule->sweeping, &destination->sweeping);
}
