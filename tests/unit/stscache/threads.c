/* SPDX-License-Identifier: MIT */
/*
 * Several workers, a fetch thread and an onlooker at once, in a cache that is too small: every
 * question is answered once or forgotten, and nothing is left. Meant to be run under a sanitizer, too.
 */
#include "rig.h"

#include <stdlib.h>

#include <criterion/criterion.h>

#define WORKERS   4
#define SLOTS     8
#define QUESTIONS 3000
#define DOMAINS   40
#define ENTRIES   25
#define QUEUE_MAX 1024

TestSuite(threads, .timeout = 120);

static struct stscache *cache;

/* In place of fetch/: a thread that answers what is in its queue. */
static struct {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct fetch_request queue[QUEUE_MAX];
	size_t n;
	bool stop;
} fake = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static bool fake_start(struct fetch *fetch, const struct fetch_request *request)
{
	bool taken;

	(void)fetch;
	pthread_mutex_lock(&fake.mutex);
	taken = fake.n < QUEUE_MAX;
	if (taken)
		fake.queue[fake.n++] = *request;
	pthread_cond_signal(&fake.cond);
	pthread_mutex_unlock(&fake.mutex);
	return taken;
}

static void *fake_main(void *ctx)
{
	unsigned seed = 77;

	(void)ctx;
	for (;;) {
		struct fetch_answer answer = {.content_type = span_str("text/plain"),
			.body = span_str(ENFORCE),
			.status = 200};
		struct fetch_request request;

		pthread_mutex_lock(&fake.mutex);
		while (fake.n == 0 && !fake.stop)
			pthread_cond_wait(&fake.cond, &fake.mutex);
		if (fake.n == 0) {
			pthread_mutex_unlock(&fake.mutex);
			return NULL;
		}
		request = fake.queue[--fake.n];
		pthread_mutex_unlock(&fake.mutex);
		if (rand_r(&seed) % 4 == 0)
			answer.result = FETCH_CONNECT;
		else if (rand_r(&seed) % 8 == 0)
			answer.body = span_str(POLICY("testing", "0"));
		request.done(request.ctx, &answer);
	}
}

struct worker {
	pthread_t thread;
	struct stscache_client *client;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool woken;
	unsigned seed;
	unsigned asked, now, answered, forgotten;
	struct slot {
		struct stscache_question q; /* first */
		struct worker *worker;
		bool busy;
	} slots[SLOTS];
};

static void wake(void *ctx)
{
	struct worker *worker = ctx;

	pthread_mutex_lock(&worker->mutex);
	worker->woken = true;
	pthread_cond_signal(&worker->cond);
	pthread_mutex_unlock(&worker->mutex);
}

static void answered(struct stscache_question *question)
{
	struct slot *slot = (struct slot *)question;

	ASSERT(slot->busy);
	ASSERT((question->outcome == STSCACHE_POLICY) == (question->policy != NULL));
	ASSERT(question->policy == NULL || question->policy->policy.mx_n == 1);
	stscache_policy_release(question->policy);
	slot->busy = false;
	slot->worker->answered++;
}

static void forget(struct worker *worker, struct slot *slot)
{
	stscache_forget(worker->client, &slot->q);
	slot->busy = false;
	worker->forgotten++;
}

static void ask(struct worker *worker, struct slot *slot)
{
	struct sockaddr_storage address = {.ss_family = AF_INET};
	struct sts_record record = {.id = "a"};
	char domain[] = "dXX.example";
	unsigned which = (unsigned)rand_r(&worker->seed) % DOMAINS;
	enum stscache_reply reply;

	domain[1] = (char)('a' + which / 10);
	domain[2] = (char)('0' + which % 10);
	record.id[0] = (char)('a' + rand_r(&worker->seed) % 3);
	slot->q.answered = answered;
	slot->worker = worker;
	worker->asked++;
	reply = rand_r(&worker->seed) % 8 == 0
			? stscache_refresh(
				  worker->client, &slot->q, domain, STSCACHE_TXT_ID, &record)
			: stscache_ask(worker->client, &slot->q, domain,
				  rand_r(&worker->seed) % 10 == 0 ? STSCACHE_TXT_FAILED
								  : STSCACHE_TXT_ID,
				  &record);
	slot->busy = reply != STSCACHE_NOW;
	if (reply == STSCACHE_NOW) {
		stscache_policy_release(slot->q.policy);
		worker->now++;
	} else if (rand_r(&worker->seed) % 10 == 0) {
		forget(worker, slot);
	} else if (reply == STSCACHE_ADDRESS) {
		stscache_fetch(worker->client, &slot->q, &address, rand_r(&worker->seed) % 10 != 0);
	}
}

static struct slot *free_slot(struct worker *worker)
{
	for (int i = 0; i < SLOTS; i++)
		if (!worker->slots[i].busy)
			return &worker->slots[i];
	return NULL;
}

static bool is_busy(const struct worker *worker)
{
	for (int i = 0; i < SLOTS; i++)
		if (worker->slots[i].busy)
			return true;
	return false;
}

static void wait_and_turn(struct worker *worker)
{
	pthread_mutex_lock(&worker->mutex);
	while (!worker->woken)
		pthread_cond_wait(&worker->cond, &worker->mutex);
	worker->woken = false;
	pthread_mutex_unlock(&worker->mutex);
	stscache_turn(worker->client);
}

static void *worker_main(void *ctx)
{
	struct worker *worker = ctx;
	struct slot *slot;

	while (worker->asked < QUESTIONS) {
		slot = free_slot(worker);
		if (slot == NULL)
			wait_and_turn(worker);
		else
			ask(worker, slot);
		slot = &worker->slots[rand_r(&worker->seed) % SLOTS];
		if (slot->busy && rand_r(&worker->seed) % 20 == 0)
			forget(worker, slot);
	}
	while (is_busy(worker))
		wait_and_turn(worker);
	return NULL;
}

static void look_on(void)
{
	struct stscache_policy *list[8];
	struct stscache_facts facts;
	char domain[STS_NAME_MAX + 1];
	size_t n;

	for (int i = 0; i < 500; i++) {
		stscache_facts(cache, &facts);
		ASSERT(facts.entries <= ENTRIES && facts.enforce <= facts.entries);
		n = stscache_list(cache, "db5.example", list, 8);
		for (size_t k = 0; k < n; k++) {
			ASSERT(strcmp(list[k]->domain, "db5.example") > 0);
			stscache_policy_release(list[k]);
		}
		(void)!stscache_due(cache, domain);
		if (i % 100 == 0)
			ASSERT(stscache_save(cache) == 0);
	}
}

void threads_run(int state_dir);
void threads_run(int state_dir)
{
	const struct stscache_settings settings = {
		.state_dir = state_dir, .entries_max = ENTRIES, .start = fake_start};
	static struct worker workers[WORKERS];
	pthread_t fetcher;
	struct err err;

	ASSERT(stscache_open(&cache, &settings, &err) == 0);
	ASSERT(pthread_create(&fetcher, NULL, fake_main, NULL) == 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		struct worker *worker = &workers[i];

		worker->seed = i + 1;
		pthread_mutex_init(&worker->mutex, NULL);
		pthread_cond_init(&worker->cond, NULL);
		ASSERT(stscache_client_open(&worker->client, cache, wake, worker, &err) == 0);
		ASSERT(pthread_create(&worker->thread, NULL, worker_main, worker) == 0);
	}
	look_on();
	for (int i = 0; i < WORKERS; i++) {
		struct worker *worker = &workers[i];

		pthread_join(worker->thread, NULL);
		stscache_client_close(worker->client);
		ASSERT(worker->now + worker->answered + worker->forgotten == QUESTIONS);
		ASSERT(worker->now > 0 && worker->answered > 0 && worker->forgotten > 0);
	}
	pthread_mutex_lock(&fake.mutex);
	fake.stop = true;
	pthread_cond_signal(&fake.cond);
	pthread_mutex_unlock(&fake.mutex);
	pthread_join(fetcher, NULL);
	stscache_close(cache);
}

Test(threads, every_question_is_answered_once)
{
	threads_run(rig_dir());
}
