/* SPDX-License-Identifier: MIT */
/*
 * stscache.c -- the cache as its askers see it: open, ask, forget, answers by turns; see stscache.h.
 *
 * What a question goes through: asked, then either answered at once, or leader of a flight (entry set,
 * in no list), or waiting (in a flight's list), then answered (in its client's list), then turning.
 * Only the client's own thread asks, turns and forgets; flights end on the fetch thread too.
 */
#include "stscache/stscache-private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

static void destroy(struct stscache *cache)
{
	stscache_empty(cache);
	stscache_table_free(&cache->table);
	pthread_mutex_destroy(&cache->mutex);
	free(cache);
}

int stscache_open(struct stscache **out, const struct stscache_settings *settings, struct err *err)
{
	struct stscache *cache = calloc(1, sizeof(*cache));

	*out = NULL;
	if (cache == NULL)
		return err_set(err, "out of memory");
	cache->settings = *settings;
	if (cache->settings.entries_max == 0)
		cache->settings.entries_max = STSCACHE_ENTRIES_MAX;
	pthread_mutex_init(&cache->mutex, NULL);
	if (settings->state_dir >= 0 &&
		(stscache_load(cache, err) != 0 || stscache_writer_start(cache, err) != 0)) {
		destroy(cache);
		return -1;
	}
	*out = cache;
	return 0;
}

void stscache_close(struct stscache *cache)
{
	if (cache == NULL)
		return;
	ASSERT(cache->clients_n == 0);
	stscache_writer_stop(cache);
	destroy(cache);
}

int stscache_client_open(struct stscache_client **out, struct stscache *cache,
	void (*wake)(void *ctx), void *ctx, struct err *err)
{
	struct stscache_client *client = calloc(1, sizeof(*client));

	*out = client;
	if (client == NULL)
		return err_set(err, "out of memory");
	client->cache = cache;
	client->wake = wake;
	client->ctx = ctx;
	list_init(&client->answered);
	list_init(&client->turning);
	pthread_mutex_lock(&cache->mutex);
	cache->clients_n++;
	pthread_mutex_unlock(&cache->mutex);
	return 0;
}

void stscache_client_close(struct stscache_client *client)
{
	if (client == NULL)
		return;
	pthread_mutex_lock(&client->cache->mutex);
	ASSERT(list_empty(&client->answered) && list_empty(&client->turning));
	client->cache->clients_n--;
	pthread_mutex_unlock(&client->cache->mutex);
	free(client);
}

static struct stscache_question *take_answered(struct stscache_client *client)
{
	struct stscache_question *question = NULL;

	pthread_mutex_lock(&client->cache->mutex);
	if (!list_empty(&client->turning)) {
		question = container_of(
			list_pop_front(&client->turning), struct stscache_question, node);
		question->pending = false;
	}
	pthread_mutex_unlock(&client->cache->mutex);
	return question;
}

/* What is answered by the callees' own questions waits for the next turn. */
void stscache_turn(struct stscache_client *client)
{
	struct stscache_question *question;

	pthread_mutex_lock(&client->cache->mutex);
	list_splice_back(&client->turning, &client->answered);
	pthread_mutex_unlock(&client->cache->mutex);
	while ((question = take_answered(client)) != NULL)
		question->answered(question);
}

void stscache_answer(struct stscache_question *question, struct stscache_policy *policy,
	const struct stscache_failure *failure)
{
	bool obeyed = policy != NULL && policy->policy.mode != STS_MODE_NONE;

	question->outcome = obeyed ? STSCACHE_POLICY : STSCACHE_NONE;
	question->policy = obeyed ? stscache_policy_hold(policy) : NULL;
	question->trouble = failure != NULL ? failure->trouble : STSCACHE_FINE;
	snprintf(question->why, sizeof(question->why), "%s", failure != NULL ? failure->why : "");
}

static struct stscache_policy *live_of(const struct stscache_entry *entry)
{
	return entry != NULL && stscache_policy_live(entry->policy) ? entry->policy : NULL;
}

/* The failure that forbids another try for this id now. */
static const struct stscache_failure *hold_of(const struct stscache_entry *entry, const char *id)
{
	const struct stscache_failure *failure = entry != NULL ? entry->failure : NULL;

	if (failure == NULL || failure->again_ms <= clock_ms() || strcmp(failure->id, id) != 0)
		return NULL;
	return failure;
}

/* The question leads a flight, or is answered for lack of room. */
static enum stscache_reply lead(struct stscache *cache, struct stscache_question *question,
	struct stscache_entry *entry, const char *domain, const char *id)
{
	static const struct stscache_failure full = {
		.trouble = STSCACHE_FETCH_ERROR, .why = "no room for another domain's policy"};

	if (entry == NULL)
		entry = stscache_make(cache, domain);
	if (entry != NULL)
		entry->flight = stscache_flight_new(cache, entry, id);
	if (entry == NULL || entry->flight == NULL) {
		count(COUNTER_STS_FULL);
		stscache_answer(question, live_of(entry), &full);
		if (entry != NULL)
			stscache_settle(cache, entry);
		return STSCACHE_NOW;
	}
	question->entry = entry;
	question->pending = true;
	stscache_settle(cache, entry);
	return STSCACHE_ADDRESS;
}

static enum stscache_reply ask(struct stscache *cache, struct stscache_question *question,
	const char *domain, const char *id, bool refresh)
{
	struct stscache_entry *entry = stscache_table_find(&cache->table, domain);
	struct stscache_policy *policy = live_of(entry);
	const struct stscache_failure *hold;

	if (id == NULL || (!refresh && policy != NULL && strcmp(policy->id, id) == 0)) {
		stscache_answer(question, policy, NULL);
		return STSCACHE_NOW;
	}
	if (entry != NULL && entry->flight != NULL) {
		list_push_back(&entry->flight->waiting, &question->node);
		question->pending = true;
		return STSCACHE_LATER;
	}
	hold = hold_of(entry, id);
	if (hold != NULL) {
		stscache_answer(question, policy, hold);
		return STSCACHE_NOW;
	}
	return lead(cache, question, entry, domain, id);
}

static enum stscache_reply ask_locked(struct stscache_client *client,
	struct stscache_question *question, const char *domain, const char *id, bool refresh)
{
	struct stscache *cache = client->cache;
	enum stscache_reply reply;

	list_init(&question->node);
	question->client = client;
	question->entry = NULL;
	question->pending = false;
	stscache_answer(question, NULL, NULL);
	if (!stscache_domain_valid(span_str(domain)))
		return STSCACHE_NOW;
	pthread_mutex_lock(&cache->mutex);
	stscache_sweep(cache);
	reply = ask(cache, question, domain, id, refresh);
	pthread_mutex_unlock(&cache->mutex);
	return reply;
}

enum stscache_reply stscache_ask(struct stscache_client *client, struct stscache_question *question,
	const char *domain, enum stscache_txt txt, const struct sts_record *record)
{
	return ask_locked(
		client, question, domain, txt == STSCACHE_TXT_ID ? record->id : NULL, false);
}

enum stscache_reply stscache_refresh(struct stscache_client *client,
	struct stscache_question *question, const char *domain, enum stscache_txt txt,
	const struct sts_record *record)
{
	return ask_locked(
		client, question, domain, txt == STSCACHE_TXT_ID ? record->id : NULL, true);
}

void stscache_forget(struct stscache_client *client, struct stscache_question *question)
{
	struct stscache *cache = client->cache;

	pthread_mutex_lock(&cache->mutex);
	if (question->pending) {
		list_remove(&question->node);
		if (question->entry != NULL)
			stscache_flight_give_up(question->entry->flight);
		question->entry = NULL;
		stscache_policy_release(question->policy);
		question->policy = NULL;
		question->pending = false;
	}
	pthread_mutex_unlock(&cache->mutex);
}

bool stscache_due(struct stscache *cache, char domain[STS_NAME_MAX + 1])
{
	uint64_t now = clock_ms();
	struct stscache_entry *entry;
	bool found = false;

	pthread_mutex_lock(&cache->mutex);
	stscache_sweep(cache);
	while (!found && (entry = stscache_heap_first(&cache->table, STSCACHE_HEAP_DUE)) != NULL &&
		entry->key_ms[STSCACHE_HEAP_DUE] <= now) {
		stscache_heap_set(&cache->table, STSCACHE_HEAP_DUE, entry, now + STSCACHE_DUE_MS);
		found = entry->flight == NULL && stscache_policy_live(entry->policy);
		if (found)
			memcpy(domain, entry->domain, strlen(entry->domain) + 1);
	}
	pthread_mutex_unlock(&cache->mutex);
	return found;
}

void stscache_facts(struct stscache *cache, struct stscache_facts *out)
{
	pthread_mutex_lock(&cache->mutex);
	stscache_sweep(cache);
	*out = cache->facts;
	pthread_mutex_unlock(&cache->mutex);
}

size_t stscache_list(
	struct stscache *cache, const char *after, struct stscache_policy **out, size_t max)
{
	size_t n = 0;

	pthread_mutex_lock(&cache->mutex);
	for (size_t i = stscache_table_after(&cache->table, after); n < max && i < cache->table.n;
		i++)
		if (stscache_policy_live(cache->table.sorted[i]->policy))
			out[n++] = stscache_policy_hold(cache->table.sorted[i]->policy);
	pthread_mutex_unlock(&cache->mutex);
	return n;
}

struct stscache_policy *stscache_kept(struct stscache *cache, const char *domain)
{
	const struct stscache_entry *entry;
	struct stscache_policy *policy = NULL;

	pthread_mutex_lock(&cache->mutex);
	entry = stscache_table_find(&cache->table, domain);
	if (entry != NULL && stscache_policy_live(entry->policy))
		policy = stscache_policy_hold(entry->policy);
	pthread_mutex_unlock(&cache->mutex);
	return policy;
}
