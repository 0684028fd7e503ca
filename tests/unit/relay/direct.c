/* SPDX-License-Identifier: MIT */
/* direct.c -- jobs past the spool: taken or refused at once, and always ended, once. */
#include "tests/unit/relay/whole.h"

#include "base/clock.h"

TestSuite(direct, .timeout = WHOLE_LIMIT_S);

struct direct_job {
	struct relay_job job;
	struct relay_job_recipient recipient;
	struct relay_outcome outcome;
	struct smtp_recipient smtp;
	struct smtp_envelope envelope;
	unsigned done_n;
};

static void direct_done(struct relay_job *job)
{
	container_of(job, struct direct_job, job)->done_n++;
}

static void direct_init(struct direct_job *direct, const char *address)
{
	*direct = (struct direct_job){.job = {.done = direct_done, .recipients_n = 1}};
	list_init(&direct->envelope.recipients);
	direct->smtp.address.text = span_str(address);
	list_push_back(&direct->envelope.recipients, &direct->smtp.node);
	direct->envelope.recipients_n = 1;
	direct->recipient =
		(struct relay_job_recipient){.smtp = &direct->smtp, .outcome = &direct->outcome};
	direct->job.recipients = &direct->recipient;
	direct->job.envelope = &direct->envelope;
}

static bool direct_ask(struct direct_job *direct)
{
	return relay_schedule_direct(
		whole, &whole_routes[WHOLE_A], span_str("a.example"), &direct->job);
}

static void direct_wait(const struct direct_job *direct)
{
	while (direct->done_n == 0)
		whole_turn();
}

Test(direct, jobs_use_the_same_connections)
{
	struct direct_job one, two;

	whole_prepare();
	whole_open();
	direct_init(&one, "u@a.example");
	direct_init(&two, "never@a.example");
	cr_assert(direct_ask(&one));
	direct_wait(&one);
	cr_expect(one.outcome.result == RELAY_RESULT_DONE, "%s", one.outcome.text);
	cr_assert(direct_ask(&two));
	direct_wait(&two);
	cr_expect(two.outcome.code == 550);
	cr_expect(two.job.done == direct_done);
	(void)whole_send("s@c.example", "u@a.example");
	whole_until_empty();
	cr_expect(sink_seen(0).connections == 1);
	whole_close();
}

Test(direct, jobs_fail_at_once_when_the_hop_is_down)
{
	struct direct_job one, two;

	whole_prepare();
	whole_config.relay.retry_ms_min = whole_config.relay.retry_ms_max = 60000;
	whole_open();
	sink_stop(0);
	direct_init(&one, "u@a.example");
	direct_init(&two, "u@a.example");
	cr_assert(direct_ask(&one));
	cr_expect(one.done_n == 0, "never from inside");
	direct_wait(&one);
	cr_expect(one.outcome.result == RELAY_RESULT_LATER);
	cr_expect(one.job.connection_failed);
	cr_expect(!direct_ask(&two), "in back-off");
	whole_close();
	cr_expect(two.done_n == 0);
}

Test(direct, jobs_can_be_stopped)
{
	struct direct_job waiting, given;

	whole_prepare();
	whole_open();
	direct_init(&waiting, "u@a.example");
	cr_assert(direct_ask(&waiting));
	relay_schedule_direct_stop(whole, &waiting.job);
	cr_expect(waiting.done_n == 0, "never from inside");
	direct_wait(&waiting);
	cr_expect(waiting.outcome.result == RELAY_RESULT_LATER);
	(void)whole_send("s@c.example", "u@a.example");
	whole_until_empty();
	direct_init(&given, "u@a.example");
	cr_assert(direct_ask(&given));
	relay_schedule_direct_stop(whole, &given.job);
	direct_wait(&given);
	cr_expect(given.outcome.result == RELAY_RESULT_LATER);
	cr_expect(given.done_n == 1);
	whole_close();
	cr_expect(waiting.done_n == 1);
}

Test(direct, jobs_do_not_wait_forever)
{
	struct direct_job one;

	whole_prepare();
	whole_routes[WHOLE_A].connections_max = 1;
	whole_open();
	sink_block(0);
	(void)whole_send("s@c.example", "u@a.example");
	while (sink_seen(0).blocked < 1)
		whole_for_ms(2);
	direct_init(&one, "u@a.example");
	one.job.ms_max = 30;
	cr_assert(direct_ask(&one));
	direct_wait(&one);
	cr_expect(one.outcome.result == RELAY_RESULT_LATER);
	sink_go(0);
	whole_until_empty();
	whole_close();
}

/* What the next hop said to another message before it went is no answer to a job that waited. */
Test(direct, a_waiting_job_does_not_get_another_s_250)
{
	struct direct_job one;

	whole_prepare();
	whole_routes[WHOLE_A].connections_max = 1;
	whole_open();
	sink_block(0);
	sink_leaves(0, true);
	(void)whole_send("s@c.example", "u@a.example v@a.example");
	while (sink_seen(0).blocked < 1)
		whole_for_ms(2);
	direct_init(&one, "u@a.example");
	cr_assert(direct_ask(&one));
	sink_go(0);
	direct_wait(&one);
	cr_expect(one.outcome.result == RELAY_RESULT_LATER, "%s", one.outcome.text);
	cr_expect(one.outcome.code == 421, "%u", one.outcome.code);
	sink_leaves(0, false);
	whole_until_empty();
	whole_close();
}

Test(direct, a_job_that_waits_again_keeps_its_limit)
{
	struct direct_job one;
	uint64_t begun_ms;

	whole_prepare();
	whole_routes[WHOLE_A].connections_max = 1;
	whole_open();
	(void)whole_send("s@c.example", "u@a.example");
	whole_until_empty();
	sink_tired(0, 1);
	sink_greeting(0, "220-one moment"); /* and no more */
	direct_init(&one, "u@a.example");
	one.job.ms_max = 1000;
	begun_ms = clock_ms();
	cr_assert(direct_ask(&one));
	direct_wait(&one);
	cr_expect(sink_seen(0).connections == 2);
	cr_expect(one.outcome.result == RELAY_RESULT_LATER);
	cr_expect(clock_ms() - begun_ms < whole_config.relay.reply_ms_max / 2);
	relay_abort(whole);
	whole_close();
}

Test(direct, only_an_answer_makes_a_hop_good)
{
	const struct relay_destination *destination;
	struct direct_job one, two;

	whole_prepare();
	whole_open();
	sink_stop(0);
	direct_init(&one, "u@a.example");
	cr_assert(direct_ask(&one));
	direct_wait(&one);
	destination = relay_destination_find(whole->schedule, &whole_routes[WHOLE_A], "route:a");
	cr_assert(destination != NULL && destination->down);
	sink_start(0);
	whole_for_ms(100);
	direct_init(&two, "u@a.example");
	cr_assert(direct_ask(&two));
	while (two.job.started_ms == 0)
		whole_turn();
	relay_schedule_direct_stop(whole, &two.job);
	direct_wait(&two);
	cr_expect(destination->down, "nothing was heard from it");
	whole_close();
}
