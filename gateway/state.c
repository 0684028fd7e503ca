/* SPDX-License-Identifier: MIT */
/*
 * state.c -- what the child remembers over a restart, in the folder state_directory: the watch over
 * senders. All workers share it; the control thread writes it to disk about once a minute and at
 * the end. What was seen since the last writing is lost with a crash; it is no mail.
 */
#include "gateway.h"

#include "base/clock.h"
#include "watch/watch.h"

#define SAVE_MS 60000

int state_open(struct state *state, const struct child_facts *facts, struct err *err)
{
	const struct config *config = facts->config;

	state->save_at_ms = clock_ms() + SAVE_MS;
	if (config->watch.on &&
		watch_open(&state->watch, &config->watch, facts->state_fd, err) != 0)
		return -1;
	return 0;
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
}

void state_close(struct state *state)
{
	watch_close(state->watch);
}
