/* SPDX-License-Identifier: MIT */
/*
 * trust_ask.c -- a domain's MTA-STS policy (RFC 8461 3): the TXT record and the policy host's addresses
 * by the worker's resolver, the rest by stscache/, which knows the rules and fetches.
 *
 *	TXT -> stscache_ask() -> [addresses of mta-sts.DOMAIN -> stscache_fetch() ->] answered
 *
 * Who asks is told from the loop, never from inside. A name that is too long for DNS has no record.
 *
 * Invariant: what another thread says only sets a mark and wakes the ring; the worker's next turn
 * looks at the mark.
 */
#include "relay/relay-private.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEP_NONE, STEP_TXT, STEP_ADDRESSES, STEP_ANSWER };

struct relay_policies {
	struct ring *ring;
	struct stscache_client *client;
	atomic_bool due;
};

static void finish(struct relay_sts *sts)
{
	sts->step = STEP_NONE;
	sts->done(sts);
}

static void answered(struct stscache_question *question)
{
	finish(container_of(question, struct relay_sts, question));
}

static void addresses_done(struct relay_lookup *lookup, int res)
{
	struct relay_sts *sts = container_of(lookup, struct relay_sts, lookup);

	sts->step = STEP_ANSWER;
	stscache_fetch(sts->relay->policies->client, &sts->question, lookup->addresses,
		res == 0 ? lookup->addresses_n : 0);
}

static void addresses_ask(struct relay_sts *sts)
{
	char host[RELAY_HOST_MAX + 16];

	(void)snprintf(host, sizeof(host), "%s%s", STS_POLICY_HOST_PREFIX, sts->domain);
	sts->step = STEP_ADDRESSES;
	sts->lookup.done = addresses_done;
	relay_resolve_host(sts->relay->resolver, &sts->lookup, host);
}

static void txt_done(struct relay_lookup *lookup, int res)
{
	struct relay_sts *sts = container_of(lookup, struct relay_sts, lookup);
	struct stscache_client *client = sts->relay->policies->client;
	enum stscache_txt txt = res == -EAGAIN ? STSCACHE_TXT_FAILED : STSCACHE_TXT_ABSENT;
	struct sts_record record = {0};
	enum stscache_reply reply;

	if (res == 0 &&
		sts_record_read(lookup->records, lookup->records_n, &record) == STS_RECORD_OK)
		txt = STSCACHE_TXT_ID;
	sts->step = STEP_ANSWER;
	reply = sts->refresh ? stscache_refresh(client, &sts->question, sts->domain, txt, &record)
			     : stscache_ask(client, &sts->question, sts->domain, txt, &record);
	if (reply == STSCACHE_NOW)
		finish(sts);
	else if (reply == STSCACHE_ADDRESS)
		addresses_ask(sts);
}

void relay_sts_ask(struct relay *relay, struct relay_sts *sts, const char *domain, bool refresh)
{
	char name[RELAY_HOST_MAX + 16];

	ASSERT(sts->step == STEP_NONE && relay->policies != NULL && relay->resolver != NULL);
	sts->relay = relay;
	sts->refresh = refresh;
	sts->question = (struct stscache_question){.answered = answered};
	list_init(&sts->question.node);
	(void)snprintf(sts->domain, sizeof(sts->domain), "%s", domain);
	(void)snprintf(name, sizeof(name), "%s%s", STS_RECORD_PREFIX, domain);
	sts->step = STEP_TXT;
	sts->lookup.done = txt_done;
	relay_resolve_txt(relay->resolver, &sts->lookup, name);
}

void relay_sts_cancel(struct relay_sts *sts)
{
	if (sts->step == STEP_TXT || sts->step == STEP_ADDRESSES)
		relay_resolve_cancel(sts->relay->resolver, &sts->lookup);
	if (sts->step == STEP_ADDRESSES || sts->step == STEP_ANSWER)
		stscache_forget(sts->relay->policies->client, &sts->question);
	sts->step = STEP_NONE;
}

/* ---- the worker's end of the cache ---- */

/* On any thread. */
static void wake(void *ctx)
{
	struct relay_policies *policies = ctx;

	atomic_store_explicit(&policies->due, true, memory_order_release);
	ring_wake(policies->ring);
}

void relay_policies_turn(struct relay *relay)
{
	struct relay_policies *policies = relay->policies;

	if (policies != NULL &&
		atomic_exchange_explicit(&policies->due, false, memory_order_acquire))
		stscache_turn(policies->client);
}

int relay_policies_open(struct relay *relay, struct err *err)
{
	struct relay_policies *policies;

	if (relay->facts.stscache == NULL || relay->resolver == NULL)
		return 0;
	policies = calloc(1, sizeof(*policies));
	if (policies == NULL)
		return err_set(err, "relay: out of memory");
	policies->ring = relay->facts.ring;
	if (stscache_client_open(&policies->client, relay->facts.stscache, wake, policies, err) !=
		0) {
		free(policies);
		return -1;
	}
	relay->policies = policies;
	return 0;
}

void relay_policies_close(struct relay *relay)
{
	if (relay->policies == NULL)
		return;
	stscache_client_close(relay->policies->client);
	free(relay->policies);
	relay->policies = NULL;
}
