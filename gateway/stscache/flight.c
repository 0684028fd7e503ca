/* SPDX-License-Identifier: MIT */
/*
 * flight.c -- a fetch of a domain's policy: begun by the first asker, judged, its waiters answered.
 *
 * A flight ends once, by land(): the answer of the policy's host, no address of it, no room with
 * fetch/, or a leader that went away. Judging (the parser) and the log line are done without the
 * mutex; only moving the outcome into the table and to the waiters is done with it.
 */
#include "stscache/stscache-private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/event.h"

#define HOST_MAX   (sizeof(STS_POLICY_HOST_PREFIX) + STS_NAME_MAX)
#define HTTPS_PORT 443
#define STATUS_OK  200

/* What came of a flight. */
struct verdict {
	struct stscache_policy *policy; /* NULL: it failed */
	enum stscache_trouble trouble;
	enum counter counter;
	bool hold; /* it is not tried again for a while */
	char why[STSCACHE_WHY_MAX];
};

/* By what fetch/ says. OK is judged further; STOPPED is nobody's fault. */
static const struct {
	enum stscache_trouble trouble;
	enum counter counter;
} fetch_verdicts[FETCH_RESULTS] = {
	[FETCH_OK] = {STSCACHE_FINE, COUNTER_STS_FETCH_OK},
	[FETCH_CONNECT] = {STSCACHE_FETCH_ERROR, COUNTER_STS_FETCH_CONNECT},
	[FETCH_CERTIFICATE] = {STSCACHE_WEBPKI, COUNTER_STS_FETCH_CERTIFICATE},
	[FETCH_TLS] = {STSCACHE_FETCH_ERROR, COUNTER_STS_FETCH_TLS},
	[FETCH_TIMEOUT] = {STSCACHE_FETCH_ERROR, COUNTER_STS_FETCH_TIMEOUT},
	[FETCH_LARGE] = {STSCACHE_FETCH_ERROR, COUNTER_STS_FETCH_LARGE},
	[FETCH_HTTP] = {STSCACHE_FETCH_ERROR, COUNTER_STS_FETCH_HTTP},
	[FETCH_STOPPED] = {STSCACHE_FETCH_ERROR, EVENT_NO_COUNT},
	[FETCH_LOCAL] = {STSCACHE_FETCH_ERROR, COUNTER_STS_FETCH_LOCAL},
};

struct stscache_flight *stscache_flight_new(
	struct stscache *cache, struct stscache_entry *entry, const char *id)
{
	struct stscache_flight *flight = calloc(1, sizeof(*flight));

	if (flight == NULL)
		return NULL;
	flight->cache = cache;
	flight->entry = entry;
	list_init(&flight->waiting);
	snprintf(flight->id, sizeof(flight->id), "%s", id);
	snprintf(flight->domain, sizeof(flight->domain), "%s", entry->domain);
	return flight;
}

static void answer_waiting(struct stscache_flight *flight, struct stscache_policy *policy,
	const struct stscache_failure *failure)
{
	while (!list_empty(&flight->waiting)) {
		struct stscache_question *question = container_of(
			list_pop_front(&flight->waiting), struct stscache_question, node);
		struct stscache_client *client = question->client;
		bool first = list_empty(&client->answered);

		stscache_answer(question, policy, failure);
		list_push_back(&client->answered, &question->node);
		if (first)
			client->wake(client->ctx);
	}
}

/* Under the mutex. The flight is the caller's to free; its entry may be gone. */
static void land(struct stscache_flight *flight, const struct verdict *verdict)
{
	struct stscache *cache = flight->cache;
	struct stscache_entry *entry = flight->entry;
	struct stscache_failure failure = {.trouble = verdict->trouble};
	bool kept;

	entry->flight = NULL;
	flight->entry = NULL;
	if (verdict->policy != NULL) {
		/* As it came, even if it is over at once (max_age: 0). */
		stscache_keep(cache, entry, verdict->policy);
		answer_waiting(flight, entry->policy, NULL);
	} else {
		snprintf(failure.why, sizeof(failure.why), "%s", verdict->why);
		if (verdict->hold)
			stscache_fail(cache, entry, flight->id, verdict->trouble, verdict->why);
		kept = stscache_policy_live(entry->policy);
		answer_waiting(flight, kept ? entry->policy : NULL, &failure);
	}
	stscache_settle(cache, entry);
}

void stscache_flight_give_up(struct stscache_flight *flight)
{
	const struct verdict verdict = {.trouble = STSCACHE_FETCH_ERROR,
		.why = "who looked for the policy host's address gave up"};

	land(flight, &verdict);
	free(flight);
}

/* ---- judging ---- */

static void judge_text(
	const struct stscache_flight *flight, struct span body, struct verdict *verdict)
{
	uint32_t line;
	enum sts_policy_error error = stscache_policy_new(&verdict->policy, flight->domain,
		flight->id, body, clock_real_us() / 1000000, &line);

	if (error != STS_POLICY_OK) {
		verdict->trouble = STSCACHE_INVALID;
		verdict->counter = COUNTER_STS_FETCH_INVALID;
		snprintf(verdict->why, sizeof(verdict->why), "line %u: %s", line,
			sts_policy_error_text(error));
	} else if (verdict->policy == NULL) {
		verdict->trouble = STSCACHE_FETCH_ERROR;
		verdict->counter = COUNTER_STS_FETCH_LOCAL;
		snprintf(verdict->why, sizeof(verdict->why), "memory is short");
	}
}

static void judge(const struct stscache_flight *flight, const struct fetch_answer *answer,
	struct verdict *verdict)
{
	*verdict = (struct verdict){.trouble = fetch_verdicts[answer->result].trouble,
		.counter = fetch_verdicts[answer->result].counter,
		.hold = answer->result != FETCH_STOPPED};
	if (answer->result != FETCH_OK) {
		snprintf(verdict->why, sizeof(verdict->why), "%s", answer->why);
	} else if (answer->status != STATUS_OK) {
		verdict->trouble = STSCACHE_FETCH_ERROR;
		verdict->counter = COUNTER_STS_FETCH_STATUS;
		snprintf(verdict->why, sizeof(verdict->why), "HTTP status %u", answer->status);
	} else if (!sts_media_type_valid(answer->content_type)) {
		verdict->trouble = STSCACHE_FETCH_ERROR;
		verdict->counter = COUNTER_STS_FETCH_MEDIA_TYPE;
		snprintf(verdict->why, sizeof(verdict->why), "the media type is not text/plain");
	} else {
		judge_text(flight, answer->body, verdict);
	}
}

/* ---- the end ---- */

/* How a policy compares with the one that it replaces. */
static const char *change_text(
	const struct stscache_policy *before, const struct stscache_policy *policy)
{
	if (before == NULL)
		return "new";
	return span_equal(before->text, policy->text) ? "unchanged" : "changed";
}

static const char *trouble_text(enum stscache_trouble trouble)
{
	static const char *const texts[] = {
		[STSCACHE_FINE] = "ok",
		[STSCACHE_FETCH_ERROR] = "fetch_error",
		[STSCACHE_WEBPKI] = "webpki_invalid",
		[STSCACHE_INVALID] = "policy_invalid",
	};

	return texts[trouble];
}

/* `policy`: what is obeyed from now on, NULL: none. */
static void report(const struct stscache_flight *flight, const struct verdict *verdict,
	const struct stscache_policy *before, const struct stscache_policy *policy)
{
	struct event event;

	event_open(&event, verdict->counter, "sts_policy");
	event_str(&event, "domain", flight->domain);
	event_str(&event, "result",
		verdict->policy != NULL ? change_text(before, policy)
					: trouble_text(verdict->trouble));
	if (policy != NULL) {
		event_str(&event, "mode", sts_mode_text(policy->policy.mode));
		event_str(&event, "id", policy->id);
		event_u64(&event, "max_age", policy->policy.max_age_s);
	}
	if (verdict->policy == NULL) {
		event_str(&event, "wanted_id", flight->id);
		event_str(&event, "why", verdict->why);
	}
	event_close(&event);
}

static struct stscache_policy *hold_kept(const struct stscache_entry *entry)
{
	return stscache_policy_live(entry->policy) ? stscache_policy_hold(entry->policy) : NULL;
}

static void finish(struct stscache_flight *flight, struct verdict *verdict)
{
	struct stscache *cache = flight->cache;
	struct stscache_policy *before, *policy;

	pthread_mutex_lock(&cache->mutex);
	before = hold_kept(flight->entry);
	policy = verdict->policy != NULL ? verdict->policy : before;
	if (policy != NULL)
		stscache_policy_hold(policy);
	cache->facts.failures += verdict->policy == NULL && verdict->hold;
	land(flight, verdict);
	pthread_mutex_unlock(&cache->mutex);
	if (verdict->counter != EVENT_NO_COUNT)
		report(flight, verdict, before, policy);
	stscache_policy_release(before);
	stscache_policy_release(policy);
	free(flight);
}

/* On the fetch thread. */
static void fetch_done(void *ctx, const struct fetch_answer *answer)
{
	struct stscache_flight *flight = ctx;
	struct verdict verdict;

	judge(flight, answer, &verdict);
	finish(flight, &verdict);
}

static bool start(
	struct stscache_flight *flight, const struct sockaddr_storage *addresses, size_t n)
{
	const struct stscache_settings *settings = &flight->cache->settings;
	char host[HOST_MAX];
	const struct fetch_request request = {.host = host,
		.port = HTTPS_PORT,
		.path = STS_POLICY_PATH,
		.addresses = addresses,
		.addresses_n = n,
		.done = fetch_done,
		.ctx = flight};

	snprintf(host, sizeof(host), STS_POLICY_HOST_PREFIX "%s", flight->domain);
	return settings->start != NULL ? settings->start(settings->fetch, &request)
				       : fetch_start(settings->fetch, &request);
}

void stscache_fetch(struct stscache_client *client, struct stscache_question *question,
	const struct sockaddr_storage *addresses, size_t n)
{
	struct stscache *cache = client->cache;
	struct verdict none = {.trouble = STSCACHE_FETCH_ERROR,
		.counter = COUNTER_STS_FETCH_ADDRESS,
		.hold = true,
		.why = "no address of the policy host is known"};
	struct verdict refused = {.trouble = STSCACHE_FETCH_ERROR,
		.counter = COUNTER_STS_FETCH_LOCAL,
		.why = "the policy host could not be asked now"};
	struct stscache_flight *flight;

	pthread_mutex_lock(&cache->mutex);
	ASSERT(question->pending && question->entry != NULL);
	flight = question->entry->flight;
	question->entry = NULL;
	list_push_back(&flight->waiting, &question->node);
	cache->facts.fetches += n > 0;
	pthread_mutex_unlock(&cache->mutex);
	/* From here on the flight is the fetch thread's, if that takes it. */
	if (n == 0)
		finish(flight, &none);
	else if (!start(flight, addresses, n))
		finish(flight, &refused);
}
