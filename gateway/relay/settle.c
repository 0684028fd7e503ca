/* SPDX-License-Identifier: MIT */
/*
 * settle.c -- what a run's outcomes mean: delivered, later, told to the sender, returned.
 *
 *	outcome		age		class		report		then
 *	DONE		any		delivered	after, if asked	DELIVERED
 *	LATER		young		later		none		due again after a back-off
 *	LATER		warn_ms		warn		before		the same, marked as warned
 *	LATER		expire_ms	failed		before		BOUNCED
 *	NEVER		any		failed		before		BOUNCED
 *
 * A recipient is given up only once its report is durable; while there is no room for one the run
 * waits, and if it cannot be written the recipient is tried again, next hop and all, also where the
 * operator asked for the bounce. A delivery is recorded first and reported then: what a crash may cost is
 * a report of success, not a second delivery. Returned mail from <> is dropped and logged.
 *
 * Recipients with the same class and reply share one attempt record and one log line; from
 * RELAY_REPLIES_MAX different ones on, further ones join another of their class. All failed
 * recipients of a run share one report.
 */
#include "relay/schedule-private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/histogram.h"

static const struct {
	const char *result;
	enum counter counter;
	enum spool_fate fate;
} classes[RELAY_CLASS_COUNT] = {
	[RELAY_CLASS_DELIVERED] = {"delivered", COUNTER_RELAY_DELIVERED, SPOOL_FATE_DELIVERED},
	[RELAY_CLASS_LATER] = {"deferred", COUNTER_RELAY_DEFERRED, SPOOL_FATE_PENDING},
	[RELAY_CLASS_WARN] = {"deferred", COUNTER_RELAY_DEFERRED, SPOOL_FATE_PENDING},
	[RELAY_CLASS_FAILED] = {"bounced", COUNTER_RELAY_BOUNCED, SPOOL_FATE_BOUNCED},
};

/* The reports of a run, in this order. */
static const enum relay_class reported[] = {
	RELAY_CLASS_FAILED, RELAY_CLASS_WARN, RELAY_CLASS_DELIVERED};

static struct spool_entry *entry_of(const struct relay_run *run)
{
	return run->trip->entry;
}

/* ---- classes and groups ---- */

static void expire(struct relay_outcome *outcome)
{
	char last[SPOOL_TEXT_MAX];

	relay_outcome_text(outcome, last, sizeof(last));
	/* A security policy of ours or the domain's stays the reason (RFC 3463 3.8). */
	if (outcome->code != 0 || strncmp(outcome->enhanced, "4.7.", 4) != 0)
		(void)snprintf(outcome->enhanced, sizeof(outcome->enhanced), "4.4.7");
	outcome->result = RELAY_RESULT_NEVER;
	outcome->code = 0;
	(void)snprintf(outcome->text, sizeof(outcome->text),
		"message expired, the last answer was: %.400s", last);
	count(COUNTER_RELAY_EXPIRED);
}

static enum relay_class classify(
	const struct relay_run *run, uint32_t i, uint64_t age, struct relay_outcome *outcome)
{
	const struct relay_settings *settings = run->schedule->relay->settings;
	const struct spool_entry *entry = entry_of(run);
	const struct spool_recipient *recipient = &entry->recipients[run->recipients[i].index];

	if (outcome->result == RELAY_RESULT_DONE)
		return RELAY_CLASS_DELIVERED;
	if (outcome->result == RELAY_RESULT_NEVER)
		return RELAY_CLASS_FAILED;
	if (entry->held || entry->relay_jobs & (RELAY_ENTRY_DELETE | RELAY_ENTRY_BOUNCE))
		return RELAY_CLASS_LATER; /* the operator decides */
	if (age >= settings->expire_ms) {
		expire(outcome);
		return RELAY_CLASS_FAILED;
	}
	if (settings->warn_ms > 0 && age >= settings->warn_ms && !recipient->warned &&
		entry->envelope.reverse_path.text.n > 0 &&
		relay_dsn_due(entry, recipient, RELAY_DSN_DELAYED))
		return RELAY_CLASS_WARN;
	return RELAY_CLASS_LATER;
}

static bool same(const struct relay_outcome *a, const struct relay_outcome *b)
{
	return a->code == b->code && strcmp(a->enhanced, b->enhanced) == 0 &&
	       strcmp(a->text, b->text) == 0;
}

static uint8_t group_for(struct relay_run *run, enum relay_class class, uint32_t i)
{
	uint32_t joined = UINT32_MAX;
	struct relay_group *group;

	for (uint32_t g = 0; g < run->groups_n; g++) {
		group = &run->groups[g];
		if (group->class != class)
			continue;
		if (same(&run->outcomes[group->first], &run->outcomes[i])) {
			group->n++;
			return (uint8_t)g;
		}
		joined = g;
	}
	if (run->groups_n >= RELAY_REPLIES_MAX && joined != UINT32_MAX) {
		run->groups[joined].n++;
		return (uint8_t)joined;
	}
	group = &run->groups[run->groups_n];
	*group = (struct relay_group){.class = (uint8_t) class, .first = i, .n = 1};
	return (uint8_t)run->groups_n++;
}

/* ---- applying ---- */

static void report_delivery(
	const struct relay_run *run, const struct relay_group *group, const char *text)
{
	const struct spool_entry *entry = entry_of(run);
	const struct relay_job *job = &run->job;
	uint64_t age = relay_entry_age_ms(entry);
	char id[SPOOL_ID_MAX];
	struct event event;

	spool_id_text(entry->id, id);
	event_open(&event, EVENT_NO_COUNT, "delivery");
	event_str(&event, "id", id);
	event_span(&event, "from", entry->envelope.reverse_path.text);
	event_span(&event, "to", run->recipients[group->first].smtp->address.text);
	event_u64(&event, "recipients", group->n);
	event_str(&event, "next_hop", job->next_hop);
	event_str(&event, "result", classes[group->class].result);
	event_str(&event, "reply", text);
	event_u64(&event, "attempts", entry->attempts);
	event_u64(&event, "delay_ms", age);
	if (job->started_ms > 0 && job->ended_ms >= job->started_ms)
		event_u64(&event, "took_ms", job->ended_ms - job->started_ms);
	event_str(&event, "tls", job->tls_version != NULL ? job->tls_version : "none");
	event_str(&event, "ktls", job->ktls != NULL ? job->ktls : "none");
	event_str(&event, "trust", job->trust != NULL ? job->trust : "none");
	event_close(&event);
	count_add(classes[group->class].counter, group->n);
	for (uint32_t i = 0; i < group->n && group->class == RELAY_CLASS_DELIVERED; i++)
		histogram_add(HISTOGRAM_RELAY_DELIVERY_MS, age);
}

static void report_double_bounce(
	const struct relay_run *run, const struct relay_group *group, const char *text)
{
	char id[SPOOL_ID_MAX];
	struct event event;

	spool_id_text(entry_of(run)->id, id);
	event_open(&event, COUNTER_RELAY_DOUBLE_BOUNCES, "double_bounce");
	event_str(&event, "id", id);
	event_span(&event, "to", run->recipients[group->first].smtp->address.text);
	event_u64(&event, "recipients", group->n);
	event_str(&event, "reply", text);
	event_close(&event);
}

static uint64_t back_off(const struct relay_run *run, const struct relay_group *group)
{
	const struct relay_settings *settings = run->schedule->relay->settings;
	bool cut_off = run->job.started_ms > 0 && run->outcomes[group->first].code == 0;
	uint64_t min_ms = settings->retry_ms_min;

	/* The connection went away under it, which may not be its fault: it may come back with the
	 * hop; but if it is what ends the connections, ever later. */
	if ((run->job.connection_failed || cut_off) && min_ms > RELAY_HOP_RETRY_MS_MIN)
		min_ms = RELAY_HOP_RETRY_MS_MIN;
	return relay_backoff_ms(
		min_ms, settings->retry_ms_max, entry_of(run)->attempts, &run->schedule->random);
}

/* Records what became of a group. */
static void apply(struct relay_run *run, struct relay_group *group, const char *text)
{
	struct relay_schedule *schedule = run->schedule;
	struct spool_entry *entry = entry_of(run);
	uint8_t at = (uint8_t)(group - run->groups);
	struct spool_attempt attempt = {
		.next_hop = run->job.next_hop,
		.text = text,
		.changes = schedule->changes,
		.due_real_s = entry->due_real_s,
		.held = entry->held,
		.counts = !run->untried && (entry->relay_jobs & RELAY_ENTRY_COUNTED) == 0,
	};

	for (uint32_t i = 0; i < run->job.recipients_n; i++) {
		uint32_t index = run->recipients[i].index;

		if (run->group_of[i] != at)
			continue;
		schedule->changes[attempt.changes_n++] = (struct spool_fate_change){
			.recipient = index,
			.fate = (uint8_t)classes[group->class].fate,
			.warned =
				entry->recipients[index].warned || group->class == RELAY_CLASS_WARN,
		};
	}
	if (classes[group->class].fate == SPOOL_FATE_PENDING)
		attempt.due_real_s = relay_entry_defer(schedule, entry, back_off(run, group));
	if (attempt.counts)
		entry->relay_jobs |= RELAY_ENTRY_COUNTED;
	group->applied = true;
	spool_attempt(schedule->relay->facts.spool, entry, &attempt);
	report_delivery(run, group, text);
	if (group->class == RELAY_CLASS_FAILED && entry->envelope.reverse_path.text.n == 0)
		report_double_bounce(run, group, text);
}

static void apply_plain(struct relay_run *run, struct relay_group *group)
{
	char text[SPOOL_TEXT_MAX];

	relay_outcome_text(&run->outcomes[group->first], text, sizeof(text));
	apply(run, group, text);
}

/* The report could not be written: not given up (or not warned) yet. */
static void apply_unreported(struct relay_run *run, struct relay_group *group)
{
	char last[SPOOL_TEXT_MAX];
	char text[SPOOL_TEXT_MAX];

	relay_outcome_text(&run->outcomes[group->first], last, sizeof(last));
	(void)snprintf(text, sizeof(text), "the report could not be written: %.450s", last);
	group->class = RELAY_CLASS_LATER;
	apply(run, group, text);
}

/* ---- reports ---- */

static enum relay_dsn_kind kind_of(const struct relay_run *run, enum relay_class class)
{
	const struct relay_destination *destination = run->trip->destination;
	enum next_hop_kind hop = NEXT_HOP_SMTP;

	if (class == RELAY_CLASS_FAILED)
		return RELAY_DSN_FAILED;
	if (class == RELAY_CLASS_WARN)
		return RELAY_DSN_DELAYED;
	if (destination->hops_n > 0)
		hop = destination->hops[run->hop].settings->kind;
	return hop == NEXT_HOP_SMTP || hop == NEXT_HOP_MX ? RELAY_DSN_RELAYED : RELAY_DSN_DELIVERED;
}

/* Gathers in run->dsn those of a class that a report is due for. */
static uint32_t gather(struct relay_run *run, enum relay_class class)
{
	const struct spool_entry *entry = entry_of(run);
	enum relay_dsn_kind kind = kind_of(run, class);
	uint32_t n = 0;

	if (entry->envelope.reverse_path.text.n == 0 ||
		(class == RELAY_CLASS_DELIVERED && run->job.dsn_passed)) /* theirs to report */
		return 0;
	for (uint32_t i = 0; i < run->job.recipients_n; i++) {
		const struct spool_recipient *recipient =
			&entry->recipients[run->recipients[i].index];

		if (run->groups[run->group_of[i]].class != class ||
			!relay_dsn_due(entry, recipient, kind))
			continue;
		run->dsn[n++] = (struct relay_dsn_recipient){
			.recipient = recipient,
			.outcome = &run->outcomes[i],
			.next_hop = run->job.next_hop,
		};
	}
	return n;
}

static void reports_next(struct relay_run *run);

static void report_over(struct relay_run *run, int res)
{
	enum relay_class class = reported[run->report++];

	if (res == 0 && class == RELAY_CLASS_FAILED && run->report_n > 0)
		count(COUNTER_RELAY_BOUNCES);
	if (res != 0)
		event_text(EVENT_NO_COUNT, "relay_report_failed", "error", strerror(-res));
	for (uint32_t g = 0; g < run->groups_n; g++) {
		struct relay_group *group = &run->groups[g];

		if (group->class != class || group->applied)
			continue;
		if (res == 0)
			apply_plain(run, group);
		else
			apply_unreported(run, group);
	}
}

static void report_done(void *ctx, int res)
{
	struct relay_run *run = ctx;

	report_over(run, res);
	reports_next(run);
}

static void reports_next(struct relay_run *run)
{
	struct relay_schedule *schedule = run->schedule;

	while (run->report < COUNT_OF(reported)) {
		enum relay_class class = reported[run->report];

		run->report_n = gather(run, class);
		if (run->report_n == 0) {
			report_over(run, 0);
			continue;
		}
		if (!relay_dsn_write(schedule->relay, entry_of(run), kind_of(run, class), run->dsn,
			    run->report_n, report_done, run)) {
			list_push_back(&schedule->unreported, &run->job.node);
			wheel_set(relay_schedule_wheel(schedule), &schedule->report_timer,
				relay_schedule_now(schedule) + RELAY_REPORT_WAIT_MS);
		}
		return;
	}
	relay_run_free(run);
}

void relay_runs_report(struct relay_schedule *schedule)
{
	struct list waiting;

	list_init(&waiting);
	list_splice_back(&waiting, &schedule->unreported);
	while (!list_empty(&waiting)) {
		struct relay_run *run =
			container_of(list_pop_front(&waiting), struct relay_run, job.node);

		reports_next(run);
		if (list_empty(&schedule->unreported))
			continue;
		list_splice_back(&schedule->unreported, &waiting);
		return; /* still no room */
	}
}

void relay_runs_unreported(struct relay_schedule *schedule)
{
	while (!list_empty(&schedule->unreported)) {
		struct relay_run *run = container_of(
			list_pop_front(&schedule->unreported), struct relay_run, job.node);

		report_done(run, -ECANCELED);
	}
}

void relay_run_settle(struct relay_run *run)
{
	uint64_t age = relay_entry_age_ms(entry_of(run));

	run->groups_n = 0;
	for (uint32_t i = 0; i < run->job.recipients_n; i++)
		run->group_of[i] = group_for(run, classify(run, i, age, &run->outcomes[i]), i);
	for (uint32_t g = 0; g < run->groups_n; g++)
		if (run->groups[g].class == RELAY_CLASS_DELIVERED ||
			run->groups[g].class == RELAY_CLASS_LATER)
			apply_plain(run, &run->groups[g]);
	run->report = 0;
	reports_next(run);
}
