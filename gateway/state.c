/* SPDX-License-Identifier: MIT */
/*
 * state.c -- what the child remembers over a restart, in the folder state_directory: the watch over
 * senders, other domains' policies, counts for TLS reports; and the thread that asks policy hosts. All
 * workers share it; the control thread writes it to disk about once a minute and at the end (policies
 * have a writer of their own). What was seen since the last writing is lost with a crash; it is no mail.
 */
#include "gateway.h"

#include "base/clock.h"
#include "fetch/fetch.h"
#include "stscache/stscache.h"
#include "tlsrpt/tlsrpt.h"
#include "watch/watch.h"

#define SAVE_MS 60000

static bool policies_wanted(const struct relay_settings *settings)
{
	for (size_t i = 0; i < settings->routes_n; i++)
		if (settings->routes[i].tls == ROUTE_TLS_POLICY)
			return true;
	return false;
}

/* For routes with tls = policy. */
static int policies_open(struct state *state, const struct child_facts *facts, struct err *err)
{
	const struct config *config = facts->config;
	struct stscache_settings settings = {.state_dir = facts->state_fd};

	if (fetch_open(&state->fetch, config->relay.sts_ca_file, err) != 0)
		return -1;
	settings.fetch = state->fetch;
	if (config->relay.sts && stscache_open(&state->stscache, &settings, err) != 0)
		return -1;
	return tlsrpt_open(&state->tlsrpt, &config->tlsrpt, config->smtp.hostname, facts->dkim_key,
		facts->state_fd, err);
}

int state_open(struct state *state, const struct child_facts *facts, struct err *err)
{
	const struct config *config = facts->config;

	state->save_at_ms = clock_ms() + SAVE_MS;
	if (config->watch.on &&
		watch_open(&state->watch, &config->watch, facts->state_fd, err) != 0)
		return -1;
	return policies_wanted(&config->relay) ? policies_open(state, facts, err) : 0;
}

void state_turn(struct state *state, const struct config *config)
{
	const char *contact = config->tlsrpt.contact;
	const char *organization = config->tlsrpt.organization;

	if (clock_ms() < state->save_at_ms)
		return;
	state->save_at_ms = clock_ms() + SAVE_MS;
	if (contact == NULL)
		contact = config->tlsrpt.from != NULL ? config->tlsrpt.from : "postmaster";
	watch_save(
		state->watch, organization != NULL ? organization : config->smtp.hostname, contact);
	tlsrpt_save(state->tlsrpt);
}

void state_close(struct state *state)
{
	fetch_close(state->fetch); /* first: its thread tells the cache */
	stscache_close(state->stscache);
	tlsrpt_close(state->tlsrpt);
	watch_close(state->watch);
}
