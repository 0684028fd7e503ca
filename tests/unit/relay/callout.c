/* SPDX-License-Identifier: MIT */
/*
 * callout.c -- which reply means what, what is remembered and for how long, who waits for whom. The
 * source is taken in whole with the scheduler and the clock replaced: a job is answered by hand.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#define relay_schedule_direct      callout_test_direct
#define relay_schedule_direct_stop callout_test_stop
#define relay_route                callout_test_route
#define relay_callout              callout_test_policy
#define relay_callouts_open        callout_test_open
#define relay_callouts_idle        callout_test_idle
#define relay_callouts_drain       callout_test_drain
#define relay_callouts_close       callout_test_close
#define ring_now_ms                callout_test_now_ms
#include "gateway/relay/callout.c"

#define JOBS_MAX 2048

static struct config config;
static struct route_settings routes[2];
static struct relay relay;
static struct policy_callout *policy;
static struct relay_job *jobs[JOBS_MAX];
static unsigned jobs_n, stopped_n;
static bool no_connection;
static uint64_t now_ms;

bool relay_schedule_direct(struct relay *of, const struct route_settings *route, struct span domain,
	struct relay_job *job)
{
	cr_assert_eq(of, &relay);
	cr_assert(route->callout);
	cr_assert_gt(domain.n, 0);
	if (no_connection)
		return false;
	cr_assert_lt(jobs_n, JOBS_MAX);
	jobs[jobs_n++] = job;
	return true;
}

void relay_schedule_direct_stop(struct relay *of, struct relay_job *job)
{
	(void)of;
	(void)job;
	stopped_n++;
}

/* "a.example" by the first route, "b.example" by the second, "plain.example" by none with callout. */
const struct route_settings *relay_route(const struct relay_routes *of, struct span domain)
{
	static const struct route_settings plain = {.title = "plain"};

	(void)of;
	if (span_is_nocase(domain, "a.example"))
		return &routes[0];
	if (span_is_nocase(domain, "b.example"))
		return &routes[1];
	return span_is_nocase(domain, "plain.example") ? &plain : NULL;
}

uint64_t ring_now_ms(const struct ring *ring)
{
	(void)ring;
	return now_ms;
}

static void setup(void)
{
	struct err err;

	now_ms = 1000000;
	routes[0] = routes[1] = (struct route_settings){.callout = true};
	config.policy = (struct policy_settings){.callout_positive_ms = 60000,
		.callout_negative_ms = 30000,
		.callout_ms_max = 5000,
		.callout_rate_max = 10};
	config.relay = (struct relay_settings){.routes = routes, .routes_n = 2};
	relay = (struct relay){.facts = {.config = &config}, .settings = &config.relay};
	cr_assert_eq(relay_callouts_open(&relay, &err), 0);
	policy = relay_callout(&relay);
	cr_assert_not_null(policy);
}

static void teardown(void)
{
	relay_callouts_close(&relay);
}

TestSuite(callout, .init = setup, .fini = teardown);

struct asker {
	struct policy_question question;
	enum policy_callout_answer answer;
	unsigned answers_n;
	void (*then)(struct asker *asker);
};

static void on_answered(struct policy_question *question, enum policy_callout_answer answer)
{
	struct asker *asker = container_of(question, struct asker, question);

	asker->answer = answer;
	asker->answers_n++;
	if (asker->then != NULL)
		asker->then(asker);
}

static struct smtp_address address_of(const char *text)
{
	const char *at = strrchr(text, '@');

	return (struct smtp_address){.text = span_str(text),
		.local = span_of(text, at ? (size_t)(at - text) : strlen(text)),
		.domain = at ? span_str(at + 1) : span_of(NULL, 0)};
}

/* True: the answer is in asker->answer at once. */
static bool ask_of(struct asker *asker, const char *text)
{
	struct smtp_address address = address_of(text);
	struct smtp_envelope envelope = {0};
	bool at_once;

	*asker = (struct asker){.question = {.answered = on_answered}, .then = asker->then};
	at_once = policy->ask(policy, &asker->question, &envelope, &address, &asker->answer);
	cr_assert_eq(asker->answers_n, 0, "answered() from inside ask()");
	return at_once;
}

static void answer_job(struct relay_job *job, enum relay_result result, uint16_t code)
{
	job->started_ms = now_ms;
	*job->recipients[0].outcome = (struct relay_outcome){.result = result, .code = code};
	job->done(job);
}

static const struct {
	const char *name;
	enum relay_result result;
	uint16_t code;
	bool connection_failed, sender_refused, never_given;
	enum policy_callout_answer answer;
	enum counter counter;
	uint64_t ms; /* how long it is remembered */
} outcomes[] = {
	{"250", RELAY_RESULT_DONE, 250, false, false, false, POLICY_CALLOUT_YES,
		COUNTER_CALLOUT_YES, 60000},
	{"251", RELAY_RESULT_DONE, 251, false, false, false, POLICY_CALLOUT_YES,
		COUNTER_CALLOUT_YES, 60000},
	{"550", RELAY_RESULT_NEVER, 550, false, false, false, POLICY_CALLOUT_NO, COUNTER_CALLOUT_NO,
		30000},
	{"599", RELAY_RESULT_NEVER, 599, false, false, false, POLICY_CALLOUT_NO, COUNTER_CALLOUT_NO,
		30000},
	{"450", RELAY_RESULT_LATER, 450, false, false, false, POLICY_CALLOUT_DOWN,
		COUNTER_CALLOUT_DOWN, 2000},
	{"no reply", RELAY_RESULT_LATER, 0, false, false, false, POLICY_CALLOUT_DOWN,
		COUNTER_CALLOUT_DOWN, 2000},
	{"no such next hop", RELAY_RESULT_NEVER, 0, false, false, false, POLICY_CALLOUT_DOWN,
		COUNTER_CALLOUT_DOWN, 2000},
	{"554 greeting", RELAY_RESULT_NEVER, 554, true, false, false, POLICY_CALLOUT_DOWN,
		COUNTER_CALLOUT_DOWN, 2000},
	{"MAIL refused", RELAY_RESULT_NEVER, 550, false, true, false, POLICY_CALLOUT_DOWN,
		COUNTER_CALLOUT_DOWN, 2000},
	{"never given", RELAY_RESULT_NEVER, 554, false, false, true, POLICY_CALLOUT_DOWN,
		COUNTER_CALLOUT_DOWN, 2000},
};

Test(callout, answers_and_how_long_they_are_remembered)
{
	for (size_t i = 0; i < COUNT_OF(outcomes); i++) {
		struct asker asker = {0}, later = {0};
		char text[32];
		int64_t before = counter_sum(outcomes[i].counter);
		struct relay_job *job;

		snprintf(text, sizeof(text), "user%zu@a.example", i);
		cr_assert_not(ask_of(&asker, text), "%s", outcomes[i].name);
		job = jobs[jobs_n - 1];
		job->started_ms = outcomes[i].never_given ? 0 : now_ms;
		job->connection_failed = outcomes[i].connection_failed;
		job->sender_refused = outcomes[i].sender_refused;
		*job->recipients[0].outcome = (struct relay_outcome){
			.result = outcomes[i].result, .code = outcomes[i].code};
		job->done(job);
		cr_expect_eq(asker.answers_n, 1);
		cr_expect_eq(asker.answer, outcomes[i].answer, "%s", outcomes[i].name);
		cr_expect_eq(counter_sum(outcomes[i].counter), before + 1, "%s", outcomes[i].name);
		cr_expect(relay_callouts_idle(&relay));

		now_ms += outcomes[i].ms - 1;
		cr_expect(ask_of(&later, text), "%s: asked again too soon", outcomes[i].name);
		cr_expect_eq(later.answer, outcomes[i].answer, "%s", outcomes[i].name);
		now_ms++;
		cr_expect_not(ask_of(&later, text), "%s: remembered too long", outcomes[i].name);
		policy->forget(policy, &later.question);
		answer_job(jobs[jobs_n - 1], RELAY_RESULT_DONE, 250);
	}
	cr_expect_eq(counter_sum(COUNTER_CALLOUT_CACHED), COUNT_OF(outcomes));
}

/* MAIL FROM:<>, one recipient, no body, within the time limit. */
Test(callout, what_is_asked)
{
	struct asker asker = {0};
	const struct relay_job *job;

	cr_assert_not(ask_of(&asker, "User@A.Example"));
	job = jobs[0];
	cr_expect_null(job->body);
	cr_expect_eq(job->ms_max, 5000);
	cr_expect_eq(job->recipients_n, 1);
	cr_expect_eq(job->envelope->reverse_path.text.n, 0);
	cr_expect_eq(job->envelope->recipients_n, 1);
	cr_expect(span_equal(job->recipients[0].smtp->address.text, span_str("User@a.example")));
	cr_expect(span_equal(job->recipients[0].smtp->address.local, span_str("User")));
	cr_expect(span_equal(job->recipients[0].smtp->address.domain, span_str("a.example")));
	answer_job(jobs[0], RELAY_RESULT_DONE, 250);
}

static const struct {
	const char *address;
	bool same;
} likes[] = {
	{"User@A.EXAMPLE", true},
	{"user@a.example", false},
	{"User@b.example", false},
	{"User1@a.example", false},
	{"Use@a.example", false},
};

Test(callout, which_addresses_are_one)
{
	struct asker asker = {0};

	cr_assert_not(ask_of(&asker, "User@a.example"));
	answer_job(jobs[0], RELAY_RESULT_DONE, 250);
	for (size_t i = 0; i < COUNT_OF(likes); i++) {
		bool at_once = ask_of(&asker, likes[i].address);

		cr_expect_eq(at_once, likes[i].same, "%s", likes[i].address);
		if (!at_once)
			answer_job(jobs[jobs_n - 1], RELAY_RESULT_LATER, 0);
	}
}

Test(callout, one_question_for_all_who_ask_meanwhile)
{
	struct asker askers[5] = {0};

	for (size_t i = 0; i < COUNT_OF(askers); i++)
		cr_assert_not(ask_of(&askers[i], "user@a.example"));
	cr_expect_eq(jobs_n, 1);
	policy->forget(policy, &askers[2].question);
	policy->forget(policy, &askers[2].question); /* twice does no harm */
	answer_job(jobs[0], RELAY_RESULT_NEVER, 550);
	for (size_t i = 0; i < COUNT_OF(askers); i++) {
		cr_expect_eq(askers[i].answers_n, i != 2);
		if (i != 2)
			cr_expect_eq(askers[i].answer, POLICY_CALLOUT_NO);
	}
	policy->forget(policy, &askers[0].question); /* answered already */
}

/* Nobody waits any more: the answer is remembered all the same. */
Test(callout, forgotten_by_all)
{
	struct asker asker = {0};

	cr_assert_not(ask_of(&asker, "user@a.example"));
	policy->forget(policy, &asker.question);
	answer_job(jobs[0], RELAY_RESULT_NEVER, 550);
	cr_expect_eq(asker.answers_n, 0);
	cr_expect(ask_of(&asker, "user@a.example"));
	cr_expect_eq(asker.answer, POLICY_CALLOUT_NO);
}

static struct asker second, third;

static void asks_on(struct asker *asker)
{
	(void)asker;
	cr_expect(ask_of(&third, "user@a.example"), "known by now");
	cr_expect_not(ask_of(&third, "next@a.example"));
	policy->forget(policy, &second.question);
}

/* Who is answered asks the next question and makes another one go, from inside answered(). */
Test(callout, asking_and_forgetting_while_being_answered)
{
	struct asker first = {.then = asks_on};

	cr_assert_not(ask_of(&first, "user@a.example"));
	cr_assert_not(ask_of(&second, "user@a.example"));
	answer_job(jobs[0], RELAY_RESULT_DONE, 250);
	cr_expect_eq(first.answers_n, 1);
	cr_expect_eq(second.answers_n, 0);
	answer_job(jobs[1], RELAY_RESULT_DONE, 250);
	cr_expect_eq(third.answers_n, 1);
	cr_expect(relay_callouts_idle(&relay));
}

static const struct {
	const char *address;
	enum policy_callout_answer answer;
} not_asked[] = {
	{"user@plain.example", POLICY_CALLOUT_NONE},
	{"user@nowhere.example", POLICY_CALLOUT_NONE},
	{"postmaster", POLICY_CALLOUT_NONE},
};

Test(callout, nothing_to_ask)
{
	struct asker asker = {0};

	for (size_t i = 0; i < COUNT_OF(not_asked); i++) {
		cr_expect(ask_of(&asker, not_asked[i].address));
		cr_expect_eq(asker.answer, not_asked[i].answer, "%s", not_asked[i].address);
	}
	cr_expect_eq(jobs_n, 0);
}

Test(callout, no_connection_to_be_had)
{
	struct asker asker = {0};

	no_connection = true;
	cr_expect(ask_of(&asker, "user@a.example"));
	cr_expect_eq(asker.answer, POLICY_CALLOUT_DOWN);
	cr_expect_eq(counter_sum(COUNTER_CALLOUT_DOWN), 1);
	cr_expect(relay_callouts_idle(&relay));
	no_connection = false;
	cr_expect_not(ask_of(&asker, "user@a.example"), "it was not tried: nothing to remember");
	answer_job(jobs[0], RELAY_RESULT_DONE, 250);
}

Test(callout, rate_of_each_route)
{
	struct asker askers[24] = {0};
	char text[32];
	unsigned asked = 0;

	for (size_t i = 0; i < 12; i++) {
		snprintf(text, sizeof(text), "user%zu@a.example", i);
		asked += !ask_of(&askers[i], text);
	}
	cr_expect_eq(asked, 10);
	cr_expect_eq(askers[11].answer, POLICY_CALLOUT_DOWN);
	cr_expect_eq(counter_sum(COUNTER_CALLOUT_LIMIT_RATE), 2);
	cr_expect_not(ask_of(&askers[12], "user@b.example"), "the other route has its own");
	cr_expect_not(ask_of(&askers[13], "user3@a.example"), "waits: costs no question");
	now_ms += 1000;
	cr_expect_not(ask_of(&askers[14], "user11@a.example"), "the next second");
	for (unsigned i = 0; i < jobs_n; i++)
		answer_job(jobs[i], RELAY_RESULT_DONE, 250);
}

Test(callout, too_many_questions)
{
	static struct asker askers[CALLOUT_QUESTIONS_MAX + 1];
	char text[32];

	config.policy.callout_rate_max = 100000;
	for (size_t i = 0; i < COUNT_OF(askers); i++) {
		snprintf(text, sizeof(text), "user%zu@a.example", i);
		cr_assert_eq(ask_of(&askers[i], text), i == CALLOUT_QUESTIONS_MAX, "%zu", i);
	}
	cr_expect_eq(askers[CALLOUT_QUESTIONS_MAX].answer, POLICY_CALLOUT_DOWN);
	cr_expect_eq(counter_sum(COUNTER_CALLOUT_LIMIT_QUESTIONS), 1);
	relay_callouts_drain(&relay);
	cr_expect_eq(stopped_n, CALLOUT_QUESTIONS_MAX);
	for (unsigned i = 0; i < jobs_n; i++)
		answer_job(jobs[i], RELAY_RESULT_LATER, 0);
	cr_expect(relay_callouts_idle(&relay));
}

Test(callout, addresses_that_are_too_long)
{
	struct asker asker = {0};
	char text[CALLOUT_ADDRESS_MAX + 2];

	memset(text, 'x', sizeof(text));
	snprintf(text + sizeof(text) - 11, 11, "@a.example");
	cr_expect(ask_of(&asker, text), "too long to be asked about");
	cr_expect_eq(asker.answer, POLICY_CALLOUT_DOWN);
	for (int i = 0; i < 2; i++) { /* one octet less: asked, but not remembered */
		cr_expect_not(ask_of(&asker, text + 1));
		answer_job(jobs[i], RELAY_RESULT_DONE, 250);
		cr_expect_eq(asker.answer, POLICY_CALLOUT_YES);
	}
}

Test(callout, draining)
{
	struct asker asker = {0};

	relay.draining = true;
	cr_expect(ask_of(&asker, "user@a.example"));
	cr_expect_eq(asker.answer, POLICY_CALLOUT_DOWN);
}

Test(callout, without_a_route_that_asks)
{
	struct relay other = {.facts = {.config = &config}, .settings = &config.relay};
	struct err err;

	routes[0].callout = routes[1].callout = false;
	cr_assert_eq(relay_callouts_open(&other, &err), 0);
	cr_expect_null(relay_callout(&other));
	cr_expect(relay_callouts_idle(&other));
	relay_callouts_drain(&other);
	relay_callouts_close(&other);
}

/* ---- the cache ---- */

static struct callout_cache cache;

static bool known(const char *text, uint64_t at_ms, enum policy_callout_answer expected)
{
	struct smtp_address address = address_of(text);
	enum policy_callout_answer answer;
	struct callout_key key;

	cr_assert(callout_key_set(&cache, &key, 0, &address));
	if (!callout_cache_find(&cache, &key, at_ms, &answer))
		return false;
	cr_expect_eq(answer, expected, "%s", text);
	return true;
}

static void put(
	const char *text, enum policy_callout_answer answer, uint64_t at_ms, uint64_t ttl_ms)
{
	struct smtp_address address = address_of(text);
	struct callout_key key;

	cr_assert(callout_key_set(&cache, &key, 0, &address));
	callout_cache_put(&cache, &key, answer, at_ms, ttl_ms);
}

Test(callout_cache, put_and_find)
{
	cr_assert_eq(callout_cache_open(&cache), 0);
	cr_expect_not(known("a@x", 1000, POLICY_CALLOUT_YES));
	put("a@x", POLICY_CALLOUT_YES, 1000, 500);
	cr_expect(known("a@x", 1499, POLICY_CALLOUT_YES));
	cr_expect_not(known("a@x", 1500, POLICY_CALLOUT_YES));
	put("a@x", POLICY_CALLOUT_NO, 1400, 500); /* takes the old one's place */
	cr_expect(known("a@x", 1899, POLICY_CALLOUT_NO));
	put("b@x", POLICY_CALLOUT_NO, 1000, 0);
	cr_expect_not(known("b@x", 1000, POLICY_CALLOUT_NO), "0: not remembered");
	callout_cache_close(&cache);
}

/* Three times what it holds: never a wrong answer, the newest mostly there, the oldest gone. */
Test(callout_cache, more_than_it_holds)
{
	const unsigned n = 3 * CALLOUT_SETS * CALLOUT_WAYS, tail = 4096;
	unsigned old = 0, new = 0;
	char text[32];

	cr_assert_eq(callout_cache_open(&cache), 0);
	for (unsigned i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "user%u@x", i);
		put(text, i % 3 ? POLICY_CALLOUT_YES : POLICY_CALLOUT_NO, 1000 + i, 10000000);
	}
	for (unsigned i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "user%u@x", i);
		if (!known(text, 1000 + n, i % 3 ? POLICY_CALLOUT_YES : POLICY_CALLOUT_NO))
			continue;
		old += i < tail;
		new += i >= n - tail;
	}
	cr_expect_gt(new, tail * 95 / 100, "%u of the newest %u", new, tail);
	cr_expect_lt(old, tail * 5 / 100, "%u of the oldest %u", old, tail);
	callout_cache_close(&cache);
}

Test(callout_rate, counts_anew_each_second)
{
	struct callout_rate rate = {0};

	for (int s = 5; s < 8; s++)
		for (int i = 0; i < 4; i++)
			cr_expect_eq(callout_rate_take(&rate, 3, (uint64_t)s * 1000 + 100), i < 3);
	cr_expect_not(callout_rate_take(&rate, 0, 100000));
}
