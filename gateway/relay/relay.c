/* SPDX-License-Identifier: MIT */
/*
 * relay.c -- the relay of a worker: opens its parts in order, wires it to the spool, ends it.
 *
 * Nothing is decided here. The parts and what they do are listed in relay.h; the order is that of
 * use: the lower half first, then the schedule, then who uses the schedule.
 */
#include "relay/relay-private.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "relay/schedule-private.h"

static bool is_name(const char *host)
{
	struct in6_addr any;

	return inet_pton(AF_INET, host, &any) != 1 && inet_pton(AF_INET6, host, &any) != 1;
}

static bool needs_names(const struct relay_settings *settings)
{
	for (size_t i = 0; i < settings->routes_n; i++) {
		const struct route_settings *route = &settings->routes[i];

		for (size_t j = 0; j < route->next_hops_n; j++) {
			const struct next_hop_settings *hop = &route->next_hops[j];

			if (hop->kind == NEXT_HOP_MX || (hop->host != NULL && is_name(hop->host)))
				return true;
		}
	}
	return false;
}

static bool cuts(const struct relay_settings *settings)
{
	for (size_t i = 0; i < settings->routes_n; i++)
		if (settings->routes[i].cutthrough)
			return true;
	return false;
}

static int parts_open(struct relay *relay, struct err *err)
{
	if (needs_names(relay->settings) &&
		relay_resolver_open(&relay->resolver, relay->settings, relay->facts.ring, err) != 0)
		return -1;
	if (relay_policies_open(relay, err) != 0)
		goto no_policies;
	if (relay_clients_open(relay, err) != 0)
		goto no_clients;
	if (relay_maildirs_open(relay, err) != 0)
		goto no_maildirs;
	if (relay_dsns_open(relay, err) != 0)
		goto no_dsns;
	if (relay_schedule_open(relay, err) != 0)
		goto no_schedule;
	if (relay_callouts_open(relay, err) != 0)
		goto no_callouts;
	if (relay_cuts_open(relay, err) != 0)
		goto no_cuts;
	if (relay_reports_open(relay, err) != 0)
		goto no_reports;
	return 0;
no_reports:
	relay_cuts_close(relay);
no_cuts:
	relay_callouts_close(relay);
no_callouts:
	relay_schedule_close(relay);
no_schedule:
	relay_dsns_close(relay);
no_dsns:
	relay_maildirs_close(relay);
no_maildirs:
	relay_clients_close(relay);
no_clients:
	relay_policies_close(relay);
no_policies:
	if (relay->resolver != NULL)
		relay_resolver_close(relay->resolver);
	return -1;
}

int relay_open(struct relay **out, const struct relay_facts *facts, struct relay_routes *routes,
	struct err *err)
{
	struct relay *relay = calloc(1, sizeof(*relay));

	if (relay == NULL)
		return err_set(err, "no memory for the relay");
	relay->facts = *facts;
	relay->settings = &facts->config->relay;
	if (parts_open(relay, err) != 0) {
		free(relay);
		return -1;
	}
	relay->routes = relay_routes_hold(routes);
	relay->reader.arrived = relay_entry_arrived;
	relay->reader.cut = cuts(relay->settings) ? relay_cut : NULL;
	spool_read(facts->spool, &relay->reader);
	*out = relay;
	return 0;
}

void relay_start(struct relay *relay)
{
	relay_schedule_start(relay);
	relay_reports_start(relay);
}

void relay_use(struct relay *relay, struct relay_routes *routes)
{
	relay_routes_release(relay->routes);
	relay->routes = routes;
	relay_schedule_rerouted(relay);
}

void relay_turn(struct relay *relay)
{
	relay_policies_turn(relay);
	relay_reports_turn(relay);
	relay_schedule_turn(relay);
}

void relay_drain(struct relay *relay)
{
	if (relay->draining)
		return;
	relay->draining = true;
	relay_reports_drain(relay);
	relay_callouts_drain(relay);
	relay_schedule_drain(relay);
}

void relay_abort(struct relay *relay)
{
	relay_drain(relay);
	if (relay->aborted)
		return;
	relay->aborted = true;
	relay_clients_abort(relay);
}

bool relay_idle(const struct relay *relay)
{
	return relay_reports_idle(relay) && relay_cuts_idle(relay) && relay_callouts_idle(relay) &&
	       relay_schedule_idle(relay) && relay_dsns_idle(relay) && relay_maildirs_idle(relay) &&
	       relay_clients_idle(relay) &&
	       (relay->resolver == NULL || relay_resolver_idle(relay->resolver));
}

void relay_close(struct relay *relay)
{
	relay_reports_close(relay);
	relay_cuts_close(relay);
	relay_callouts_close(relay);
	relay_schedule_close(relay);
	relay_dsns_close(relay);
	relay_maildirs_close(relay);
	relay_clients_close(relay);
	relay_policies_close(relay);
	if (relay->resolver != NULL)
		relay_resolver_close(relay->resolver);
	relay_routes_release(relay->routes);
	free(relay);
}
