/* SPDX-License-Identifier: MIT */
/*
 * callout.c -- asks a next hop whether it takes mail for a recipient: MAIL, RCPT, RSET.
 *
 *	RCPT answered		answer	remembered
 *	2xx			YES	callout_positive_ms
 *	5xx			NO	callout_negative_ms
 *	4xx			DOWN	CALLOUT_DOWN_MS
 *	no answer in time	DOWN	CALLOUT_DOWN_MS
 *	MAIL refused		DOWN	CALLOUT_DOWN_MS
 *	no connection		DOWN	CALLOUT_DOWN_MS, if it was tried
 *
 * Questions go by the connections, limits and health of the deliveries to that route. An address is
 * asked about once at a time: who wants to know it meanwhile waits for the same answer. It comes to
 * an end without them, too: a client that does not wait leaves a remembered answer.
 *
 * The question's sender is <>. An answer then depends on the recipient alone and may be remembered
 * for all senders, and no address of ours or of the client's is put to the test. A next hop that
 * refuses MAIL FROM:<> cannot be asked; one that refuses <> to some recipients is wrong about
 * them (RFC 5321 4.5.5), and its route wants callout = no.
 *
 * Non-goals: VRFY (seldom offered, seldom true), asking about whole domains, an answer for
 * <postmaster> (policy/ does not ask).
 */
#include "relay/callout-private.h"
#include "relay/relay-private.h"

#include <stdlib.h>

#define CALLOUT_QUESTIONS_MAX 1024 /* under way at a time */
#define CALLOUT_BUCKETS       256  /* a power of two */
#define CALLOUT_DOWN_MS       2000

/* An address that a next hop is being asked about. */
struct callout {
	struct list node; /* in relay_callouts.buckets */
	struct relay_callouts *callouts;
	struct callout_key key;
	struct list waiters; /* of policy_question.node */
	struct smtp_envelope envelope;
	struct smtp_recipient recipient;
	struct relay_job_recipient job_recipient;
	struct relay_outcome outcome;
	struct relay_job job;
};

struct relay_callouts {
	struct policy_callout policy;
	struct relay *relay;
	struct callout_cache cache;
	struct callout_rate *rates; /* of the routes */
	struct pool pool;
	struct list buckets[CALLOUT_BUCKETS];
};

static uint64_t now_of(const struct relay_callouts *callouts)
{
	return ring_now_ms(callouts->relay->facts.ring);
}

static const struct policy_settings *settings_of(const struct relay_callouts *callouts)
{
	return &callouts->relay->facts.config->policy;
}

static struct list *bucket_of(struct relay_callouts *callouts, const struct callout_key *key)
{
	return &callouts->buckets[key->hash & (CALLOUT_BUCKETS - 1)];
}

static struct callout *callout_find(struct relay_callouts *callouts, const struct callout_key *key)
{
	struct list *bucket = bucket_of(callouts, key);

	for (struct list *node = bucket->next; node != bucket; node = node->next) {
		struct callout *callout = container_of(node, struct callout, node);

		if (callout_key_same(&callout->key, key))
			return callout;
	}
	return NULL;
}

/* ---- the end of a question ---- */

static void waiters_tell(struct list *waiters, enum policy_callout_answer answer)
{
	while (!list_empty(waiters)) {
		struct policy_question *question =
			container_of(list_pop_front(waiters), struct policy_question, node);

		question->pending = false;
		question->answered(question, answer);
	}
}

static void remember(struct callout *callout, enum policy_callout_answer answer)
{
	static const enum counter counters[] = {[POLICY_CALLOUT_YES] = COUNTER_CALLOUT_YES,
		[POLICY_CALLOUT_NO] = COUNTER_CALLOUT_NO,
		[POLICY_CALLOUT_DOWN] = COUNTER_CALLOUT_DOWN};
	struct relay_callouts *callouts = callout->callouts;
	uint64_t ttl_ms = CALLOUT_DOWN_MS;

	if (answer == POLICY_CALLOUT_YES)
		ttl_ms = settings_of(callouts)->callout_positive_ms;
	else if (answer == POLICY_CALLOUT_NO)
		ttl_ms = settings_of(callouts)->callout_negative_ms;
	count(counters[answer]);
	callout_cache_put(&callouts->cache, &callout->key, answer, now_of(callouts), ttl_ms);
}

/* Only what was said to RCPT is about the recipient. */
static enum policy_callout_answer answer_of(const struct relay_job *job)
{
	const struct relay_outcome *outcome = job->recipients[0].outcome;

	if (job->connection_failed || job->sender_refused || job->started_ms == 0)
		return POLICY_CALLOUT_DOWN;
	if (outcome->result == RELAY_RESULT_DONE)
		return POLICY_CALLOUT_YES;
	if (outcome->result == RELAY_RESULT_NEVER && outcome->code >= 500)
		return POLICY_CALLOUT_NO;
	return POLICY_CALLOUT_DOWN;
}

static void job_done(struct relay_job *job)
{
	struct callout *callout = container_of(job, struct callout, job);
	struct relay_callouts *callouts = callout->callouts;
	enum policy_callout_answer answer = answer_of(job);
	struct list waiters;

	remember(callout, answer);
	list_remove(&callout->node);
	list_init(&waiters);
	list_splice_back(&waiters, &callout->waiters);
	pool_put(&callouts->pool, callout);
	waiters_tell(&waiters, answer);
}

/* ---- asking ---- */

static void callout_fill(
	struct callout *callout, const struct callout_key *key, const struct smtp_address *address)
{
	struct smtp_address *own = &callout->recipient.address;

	callout->key = *key;
	*own = (struct smtp_address){.text = span_of(callout->key.text, key->n),
		.local = span_of(callout->key.text, address->local.n),
		.domain =
			span_of(callout->key.text + key->n - address->domain.n, address->domain.n),
		.utf8 = address->utf8};
	list_init(&callout->recipient.node);
	callout->envelope.smtputf8 = address->utf8;
	callout->envelope.recipients_n = 1;
	list_init(&callout->envelope.recipients);
	list_push_back(&callout->envelope.recipients, &callout->recipient.node);
	callout->job_recipient = (struct relay_job_recipient){
		.smtp = &callout->recipient, .outcome = &callout->outcome};
	callout->job = (struct relay_job){.envelope = &callout->envelope,
		.recipients = &callout->job_recipient,
		.recipients_n = 1,
		.ms_max = settings_of(callout->callouts)->callout_ms_max,
		.done = job_done};
	list_init(&callout->job.node);
}

/* NULL: nobody can be asked now. */
static struct callout *callout_begin(struct relay_callouts *callouts,
	const struct route_settings *route, const struct callout_key *key,
	const struct smtp_address *address)
{
	struct relay *relay = callouts->relay;
	struct callout *callout;

	if (!callout_rate_take(&callouts->rates[key->route],
		    settings_of(callouts)->callout_rate_max, now_of(callouts))) {
		count(COUNTER_CALLOUT_LIMIT_RATE);
		return NULL;
	}
	callout = pool_get(&callouts->pool);
	if (callout == NULL) {
		count(COUNTER_CALLOUT_LIMIT_QUESTIONS);
		return NULL;
	}
	*callout = (struct callout){.callouts = callouts};
	callout_fill(callout, key, address);
	if (!relay_schedule_direct(
		    relay, route, callout->recipient.address.domain, &callout->job)) {
		count(COUNTER_CALLOUT_DOWN);
		pool_put(&callouts->pool, callout);
		return NULL;
	}
	list_init(&callout->waiters);
	list_push_back(bucket_of(callouts, key), &callout->node);
	return callout;
}

static bool ask(struct policy_callout *policy, struct policy_question *question,
	const struct smtp_envelope *envelope, const struct smtp_address *address,
	enum policy_callout_answer *answer)
{
	struct relay_callouts *callouts = container_of(policy, struct relay_callouts, policy);
	const struct relay *relay = callouts->relay;
	const struct route_settings *route = relay_route(relay->routes, address->domain);
	struct callout_key key;
	struct callout *callout;

	(void)envelope;
	*answer = POLICY_CALLOUT_NONE;
	if (route == NULL || !route->callout)
		return true;
	*answer = POLICY_CALLOUT_DOWN;
	if (relay->draining || !callout_key_set(&callouts->cache, &key,
				       (uint16_t)(route - relay->settings->routes), address))
		return true;
	if (callout_cache_find(&callouts->cache, &key, now_of(callouts), answer)) {
		count(COUNTER_CALLOUT_CACHED);
		return true;
	}
	callout = callout_find(callouts, &key);
	if (callout == NULL)
		callout = callout_begin(callouts, route, &key, address);
	if (callout == NULL)
		return true;
	question->pending = true;
	list_push_back(&callout->waiters, &question->node);
	return false;
}

static void forget(struct policy_callout *policy, struct policy_question *question)
{
	(void)policy;
	if (!question->pending)
		return;
	question->pending = false;
	list_remove(&question->node);
}

struct policy_callout *relay_callout(struct relay *relay)
{
	return relay->callouts != NULL ? &relay->callouts->policy : NULL;
}

/* ---- beginning and end ---- */

int relay_callouts_open(struct relay *relay, struct err *err)
{
	const struct relay_settings *settings = relay->settings;
	struct relay_callouts *callouts;
	bool wanted = false;

	relay->callouts = NULL;
	for (size_t i = 0; i < settings->routes_n; i++)
		wanted = wanted || settings->routes[i].callout;
	if (!wanted)
		return 0;
	callouts = calloc(1, sizeof(*callouts));
	if (callouts == NULL)
		return err_set(err, "out of memory");
	callouts->rates = calloc(settings->routes_n, sizeof(*callouts->rates));
	if (callouts->rates == NULL || callout_cache_open(&callouts->cache) != 0) {
		free(callouts->rates);
		free(callouts);
		return err_set(err, "out of memory");
	}
	callouts->relay = relay;
	callouts->policy = (struct policy_callout){.ask = ask, .forget = forget};
	pool_open(&callouts->pool, sizeof(struct callout), CALLOUT_QUESTIONS_MAX);
	for (size_t i = 0; i < CALLOUT_BUCKETS; i++)
		list_init(&callouts->buckets[i]);
	relay->callouts = callouts;
	return 0;
}

bool relay_callouts_idle(const struct relay *relay)
{
	return relay->callouts == NULL || relay->callouts->pool.live == 0;
}

void relay_callouts_drain(struct relay *relay)
{
	struct relay_callouts *callouts = relay->callouts;

	for (size_t i = 0; callouts != NULL && i < CALLOUT_BUCKETS; i++) {
		struct list *bucket = &callouts->buckets[i];

		for (struct list *node = bucket->next, *next; node != bucket; node = next) {
			next = node->next;
			relay_schedule_direct_stop(
				relay, &container_of(node, struct callout, node)->job);
		}
	}
}

void relay_callouts_close(struct relay *relay)
{
	struct relay_callouts *callouts = relay->callouts;

	if (callouts == NULL)
		return;
	ASSERT(relay_callouts_idle(relay));
	pool_close(&callouts->pool);
	callout_cache_close(&callouts->cache);
	free(callouts->rates);
	free(callouts);
	relay->callouts = NULL;
}
