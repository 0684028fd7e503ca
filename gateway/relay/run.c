/* SPDX-License-Identifier: MIT */
/*
 * run.c -- one transaction for some recipients of a message: from the line to its outcomes.
 *
 * A run opens the message's body, is given to the link that was chosen for it, or to a Maildir, and
 * ends in relay_run_settle(). Each run opens the body for itself: for a message in the log that is a
 * pin, for one in a file of its own an open. While the body is being opened the link is kept for
 * the run; should it close meanwhile, the run goes to the head of the line with its body open.
 *
 * A link that had served before and dies, or says 421, at the first word to it was closed by the
 * next hop while it was idle: the run is given to another link, once, and nobody is blamed. Not so
 * after the final dot: then a second try may deliver twice, and waits its time.
 */
#include "relay/schedule-private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static size_t aligned(size_t n)
{
	return (n + 15) & ~(size_t)15;
}

size_t relay_run_bytes(uint32_t recipients_max)
{
	return aligned(sizeof(struct relay_run)) +
	       aligned(recipients_max * sizeof(struct relay_job_recipient)) +
	       aligned(recipients_max * sizeof(struct relay_dsn_recipient)) +
	       aligned(recipients_max) + recipients_max * sizeof(struct relay_outcome);
}

static void arrays_place(struct relay_run *run, uint32_t recipients_max)
{
	char *at = (char *)run + aligned(sizeof(*run));

	run->recipients = (struct relay_job_recipient *)at;
	at += aligned(recipients_max * sizeof(*run->recipients));
	run->dsn = (struct relay_dsn_recipient *)at;
	at += aligned(recipients_max * sizeof(*run->dsn));
	run->group_of = (uint8_t *)at;
	at += aligned(recipients_max);
	run->outcomes = (struct relay_outcome *)at;
}

static uint32_t recipients_take(struct relay_run *run, struct relay_trip *trip, uint32_t max)
{
	struct spool_entry *entry = trip->entry;
	uint32_t n = 0;

	while (n < max && trip->left_n > 0) {
		uint32_t i = trip->next++;

		ASSERT(i < entry->recipients_n);
		if (entry->recipients[i].relay != trip)
			continue;
		run->recipients[n] = (struct relay_job_recipient){
			.smtp = &entry->recipients[i].smtp,
			.index = i,
			.outcome = &run->outcomes[n],
		};
		trip->left_n--;
		n++;
	}
	return n;
}

struct relay_run *relay_run_new(struct relay_trip *trip)
{
	const struct route_settings *route = trip->destination->route;
	struct relay_schedule *schedule = trip->destination->schedule;
	struct spool_entry *entry = trip->entry;
	uint32_t max = schedule->run_recipients_max;
	struct relay_run *run = pool_get(&schedule->pools.runs);

	if (run == NULL) {
		count(COUNTER_RELAY_RUNS_FULL);
		return NULL;
	}
	*run = (struct relay_run){.schedule = schedule, .trip = trip};
	arrays_place(run, max);
	list_init(&run->job.node);
	run->job.envelope = &entry->envelope;
	run->job.recipients = run->recipients;
	if (route != NULL && route->recipients_max < max)
		max = route->recipients_max;
	run->job.recipients_n = recipients_take(run, trip, max);
	ASSERT(run->job.recipients_n > 0);
	if (trip->left_n == 0) {
		if (trip->reason == RELAY_REASON_NONE)
			trip->destination->trips_n--;
		list_remove(&trip->node);
	}
	trip->runs_n++;
	entry->relay_jobs += RELAY_ENTRY_RUN;
	relay_entry_show(schedule, entry);
	return run;
}

static void body_close(struct relay_run *run)
{
	if (run->opening || run->open)
		spool_body_close(&run->access);
	run->opening = false;
	run->open = false;
}

void relay_run_free(struct relay_run *run)
{
	struct relay_schedule *schedule = run->schedule;
	struct relay_trip *trip = run->trip;
	struct spool_entry *entry = trip->entry;

	body_close(run);
	for (uint32_t i = 0; i < run->job.recipients_n; i++)
		entry->recipients[run->recipients[i].index].relay = &schedule->loose;
	pool_put(&schedule->pools.runs, run);
	trip->runs_n--;
	entry->relay_jobs -= RELAY_ENTRY_RUN;
	relay_trip_over(trip);
	relay_entry_settle(schedule, entry);
}

void relay_run_cancel(struct relay_run *run)
{
	ASSERT(!run->given);
	list_remove(&run->job.node);
	relay_run_free(run);
}

/* ---- outcomes ---- */

void relay_outcome_make(struct relay_outcome *outcome, enum relay_result result,
	const char *enhanced, const char *text)
{
	*outcome = (struct relay_outcome){.result = result};
	text_copy(outcome->enhanced, sizeof(outcome->enhanced), enhanced);
	text_copy(outcome->text, sizeof(outcome->text), text);
}

void relay_outcome_text(const struct relay_outcome *outcome, char *text, size_t n)
{
	struct buf out;
	bool fits = true;

	buf_init(&out, text, n - 1);
	if (outcome->code > 0)
		fits = buf_put_u64(&out, outcome->code, 3) && buf_puts(&out, " ");
	if (outcome->enhanced[0] != '\0')
		fits = fits && buf_puts(&out, outcome->enhanced) && buf_puts(&out, " ");
	if (fits)
		text_copy(text + buf_len(&out), n - buf_len(&out), outcome->text);
	else
		text[buf_len(&out)] = '\0';
}

void relay_run_judge(
	struct relay_run *run, const char *next_hop, const struct relay_outcome *outcome)
{
	for (uint32_t i = 0; i < run->job.recipients_n; i++)
		run->outcomes[i] = *outcome;
	text_copy(run->job.next_hop, sizeof(run->job.next_hop), next_hop);
	run->job.ended_ms = relay_schedule_now(run->schedule);
	relay_run_settle(run);
}

/* ---- giving ---- */

static struct relay_hop *hop_of(const struct relay_run *run)
{
	return &run->trip->destination->hops[run->hop];
}

/* To the head of the line. */
static void wait_again(struct relay_run *run)
{
	struct relay_destination *destination = run->trip->destination;

	run->link = NULL;
	list_push_back(&destination->runs, &run->job.node);
	destination->runs_n++;
	relay_destination_touch(destination);
}

static void local_end(struct relay_run *run)
{
	run->local = false;
	hop_of(run)->links_n--;
	relay_destination_touch(run->trip->destination);
}

/* The link closed at the first word to it, after it had served others. */
static bool dead_link(const struct relay_run *run)
{
	const struct relay_job *job = &run->job;

	if (!job->connection_failed || !run->reused || run->again || job->sent_dot ||
		run->schedule->relay->draining)
		return false;
	for (uint32_t i = 0; i < job->recipients_n; i++) {
		const struct relay_outcome *outcome = &run->outcomes[i];

		if (outcome->result != RELAY_RESULT_LATER ||
			(outcome->code != 0 && outcome->code != 421))
			return false;
	}
	return true;
}

bool relay_job_heard(const struct relay_job *job)
{
	for (uint32_t i = 0; i < job->recipients_n; i++)
		if (job->recipients[i].outcome->code != 0 ||
			job->recipients[i].outcome->result == RELAY_RESULT_DONE)
			return true;
	return false;
}

/* Some recipients may have been answered before it failed (LMTP). What waits for the next hop is told
 * of the failure, so it must not be given their 250. */
void relay_job_failure(const struct relay_job *job, struct relay_outcome *outcome)
{
	relay_outcome_make(outcome, RELAY_RESULT_LATER, "4.4.2", "the connection was lost");
	for (uint32_t i = job->recipients_n; i-- > 0;) {
		const struct relay_outcome *one = job->recipients[i].outcome;

		if (one->result != RELAY_RESULT_LATER || (one->code != 0 && one->code != 421))
			continue;
		*outcome = *one;
		return;
	}
}

static void run_done(struct relay_job *job)
{
	struct relay_run *run = container_of(job, struct relay_run, job);
	struct relay_destination *destination = run->trip->destination;
	struct relay_link *link = run->link;
	bool failed = job->connection_failed ||
		      (job->cut_off && relay_hop_cut_off(&destination->hops[run->hop]));

	run->given = false;
	run->link = NULL;
	if (link != NULL)
		relay_link_job_over(link, failed);
	if (run->local)
		local_end(run);
	if (dead_link(run)) {
		run->again = true;
		wait_again(run);
		return;
	}
	count(COUNTER_RELAY_ATTEMPTS);
	if (failed) {
		struct relay_outcome why;

		relay_job_failure(job, &why);
		relay_destination_failed(destination, run->hop, job->next_hop, &why);
	} else if (relay_job_heard(job)) {
		relay_destination_good(destination, run->hop);
	}
	relay_run_settle(run);
}

static void prepare(struct relay_run *run)
{
	struct relay_job *job = &run->job;

	for (uint32_t i = 0; i < job->recipients_n; i++)
		relay_outcome_make(&run->outcomes[i], RELAY_RESULT_LATER, "4.4.2", "no reply");
	job->body = &run->access.body;
	job->sent_dot = false;
	job->connection_failed = false;
	job->cut_off = false;
	job->dsn_passed = false;
	job->tls_version = NULL;
	job->ktls = "none";
	job->trust = NULL;
	job->started_ms = relay_schedule_now(run->schedule);
	job->ended_ms = 0;
	job->done = run_done;
	text_copy(job->next_hop, sizeof(job->next_hop), hop_of(run)->settings->text);
}

static void give(struct relay_run *run)
{
	struct relay *relay = run->schedule->relay;

	prepare(run);
	if (run->local) {
		int root = relay->facts.maildir_fds[hop_of(run)->settings->maildir];

		run->given = true;
		if (relay_maildir_give(relay, root, run->trip->entry->id, &run->job))
			return;
		run->given = false;
		hop_of(run)->full_ms = relay_schedule_now(run->schedule) + RELAY_HOP_FULL_MS;
		local_end(run);
		wait_again(run);
		return;
	}
	if (run->link == NULL || relay_client_state(run->link->client) != RELAY_CLIENT_READY) {
		if (run->link != NULL)
			relay_link_release(run->link);
		wait_again(run);
		return;
	}
	run->reused = relay_client_jobs(run->link->client) > 0;
	run->given = true;
	relay_client_give(run->link->client, &run->job);
}

static void not_opened(struct relay_run *run, int res)
{
	struct relay_outcome outcome;
	char text[128];

	if (run->link != NULL)
		relay_link_release(run->link);
	run->link = NULL;
	if (run->local)
		local_end(run);
	(void)snprintf(
		text, sizeof(text), "the spooled message cannot be read: %s", strerror(-res));
	event_text(COUNTER_RELAY_BODY_ERRORS, "relay_body_error", "error", strerror(-res));
	relay_outcome_make(&outcome, RELAY_RESULT_LATER, "4.3.0", text);
	relay_run_judge(run, "spool", &outcome);
}

static void opened(struct spool_access *access, int res)
{
	struct relay_run *run = container_of(access, struct relay_run, access);
	bool link_lost = !run->local && run->link == NULL;

	run->opening = false;
	if (res < 0) {
		not_opened(run, res);
		return;
	}
	run->open = true;
	if (run->schedule->relay->draining) {
		if (run->link != NULL)
			relay_link_release(run->link);
		run->link = NULL;
		if (run->local)
			local_end(run);
		relay_run_cancel(run);
		return;
	}
	if (link_lost)
		wait_again(run);
	else
		give(run);
}

void relay_run_start(struct relay_run *run, struct relay_link *link, uint8_t hop)
{
	run->link = link;
	run->hop = hop;
	if (link != NULL) {
		link->run = run;
	} else {
		run->local = true;
		hop_of(run)->links_n++;
	}
	if (run->open) {
		give(run);
		return;
	}
	run->opening = true;
	run->access.opened = opened;
	spool_body_open(run->schedule->relay->facts.spool, run->trip->entry, &run->access);
}

void relay_run_unlink(struct relay_run *run)
{
	ASSERT(!run->given);
	run->link = NULL; /* opened() puts it in line again */
}
