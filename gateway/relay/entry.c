/* SPDX-License-Identifier: MIT */
/*
 * entry.c -- a message of the queue as the relay sees it: its state, its time, its end.
 *
 * The states are those of enum relay_entry_state: active with a run; held; ready in `fresh` or in
 * line where at least one destination is up; else deferred. The gauges follow at every change but
 * one: when a destination goes down or comes up, the sweep brings them up to date.
 *
 * One timer serves all loose recipients of an entry. One that is set is not moved away: recipients
 * that join later may be tried sooner than their own back-off says. A round of tries, from one
 * firing to the next, counts as one attempt, however many transactions it took.
 *
 * The operator's delete and bounce wait for runs under way: what these deliver is delivered. Hold
 * takes effect at once for everything that is not under way.
 */
#include "relay/schedule-private.h"

#include "base/clock.h"

static const enum counter gauges[RELAY_STATE_COUNT] = {
	[RELAY_STATE_ACTIVE] = COUNTER_QUEUE_ACTIVE,
	[RELAY_STATE_READY] = COUNTER_QUEUE_READY,
	[RELAY_STATE_DEFERRED] = COUNTER_QUEUE_DEFERRED,
	[RELAY_STATE_HELD] = COUNTER_QUEUE_HELD,
};

static uint64_t real_ms(void)
{
	return clock_real_us() / 1000;
}

static struct relay_schedule *schedule_of(const struct spool_entry *entry)
{
	return relay_trip_of(&entry->recipients[0])->destination->schedule;
}

/* ---- state ---- */

enum relay_wish relay_entry_wish(const struct spool_entry *entry)
{
	const struct smtp_envelope *envelope = &entry->envelope;

	if (envelope->requiretls && envelope->reverse_path.text.n > 0)
		return RELAY_WISH_REQUIRETLS;
	return envelope->tls_optional ? RELAY_WISH_TLS_OPTIONAL : RELAY_WISH_NONE;
}

uint64_t relay_entry_age_ms(const struct spool_entry *entry)
{
	uint64_t now_us = clock_real_us();

	return now_us > entry->arrived_real_us ? (now_us - entry->arrived_real_us) / 1000 : 0;
}

enum relay_entry_state relay_entry_state(const struct spool_entry *entry)
{
	if (relay_entry_runs(entry) > 0)
		return RELAY_STATE_ACTIVE;
	if (entry->held)
		return RELAY_STATE_HELD;
	for (uint32_t i = 0; i < entry->recipients_n && relay_entry_trips(entry) > 0; i++) {
		const struct relay_trip *trip = relay_trip_of(&entry->recipients[i]);

		if (trip->entry != NULL && !trip->destination->down)
			return RELAY_STATE_READY;
	}
	if (relay_entry_trips(entry) > 0 || entry->due.deadline_ms != 0)
		return RELAY_STATE_DEFERRED;
	return RELAY_STATE_READY;
}

static void gauge_add(struct relay_schedule *schedule, uint32_t state, int64_t n)
{
	schedule->gauges[state] += n;
	count_add(gauges[state], n);
}

static void hide(struct relay_schedule *schedule, struct spool_entry *entry)
{
	if ((entry->relay_jobs & RELAY_ENTRY_SHOWN) == 0)
		return;
	gauge_add(schedule, entry->relay_jobs >> RELAY_ENTRY_STATE & 3, -1);
	entry->relay_jobs &= ~(RELAY_ENTRY_SHOWN | 3u << RELAY_ENTRY_STATE);
}

void relay_entries_hide(struct relay_schedule *schedule)
{
	for (uint32_t state = 0; state < RELAY_STATE_COUNT; state++)
		gauge_add(schedule, state, -schedule->gauges[state]);
}

void relay_entry_show(struct relay_schedule *schedule, struct spool_entry *entry)
{
	uint32_t state = relay_entry_state(entry);

	if ((entry->relay_jobs & RELAY_ENTRY_SHOWN) != 0 &&
		(entry->relay_jobs >> RELAY_ENTRY_STATE & 3) == state)
		return;
	hide(schedule, entry);
	entry->relay_jobs |= RELAY_ENTRY_SHOWN | state << RELAY_ENTRY_STATE;
	gauge_add(schedule, state, 1);
}

/* ---- time ---- */

void relay_entry_forget(struct relay_schedule *schedule, struct spool_entry *entry)
{
	wheel_clear(relay_schedule_wheel(schedule), &entry->due);
	list_remove(&entry->relay_node);
}

void relay_entry_now(struct relay_schedule *schedule, struct spool_entry *entry)
{
	if (entry->held)
		return;
	relay_entry_forget(schedule, entry);
	entry->relay_jobs &= ~(RELAY_ENTRY_COUNTED | RELAY_ENTRY_AGAIN);
	list_push_back(&schedule->fresh, &entry->relay_node);
	relay_schedule_kick(schedule);
}

static void due_fire(struct wheel_timer *timer)
{
	struct spool_entry *entry = container_of(timer, struct spool_entry, due);
	struct relay_schedule *schedule = schedule_of(entry);

	relay_entry_now(schedule, entry);
	relay_entry_show(schedule, entry);
}

static void timer_set(struct relay_schedule *schedule, struct spool_entry *entry, uint64_t delay_ms)
{
	list_remove(&entry->relay_node);
	list_push_back(&schedule->deferred, &entry->relay_node);
	wheel_set(relay_schedule_wheel(schedule), &entry->due,
		relay_schedule_now(schedule) + delay_ms);
}

uint64_t relay_entry_defer(
	struct relay_schedule *schedule, struct spool_entry *entry, uint64_t delay_ms)
{
	uint64_t now_ms = relay_schedule_now(schedule);
	bool fresh = !list_empty(&entry->relay_node) && entry->due.deadline_ms == 0;

	if (fresh || (entry->due.deadline_ms != 0 && entry->due.deadline_ms <= now_ms + delay_ms))
		return entry->due_real_s;
	if (!entry->held)
		timer_set(schedule, entry, delay_ms);
	return (real_ms() + delay_ms + 999) / 1000;
}

/* ---- the beginning ---- */

void relay_entry_arrived(struct spool_reader *reader, struct spool_entry *entry)
{
	struct relay *relay = container_of(reader, struct relay, reader);
	struct relay_schedule *schedule = relay->schedule;
	uint64_t now_ms = real_ms();

	for (uint32_t i = 0; i < entry->recipients_n; i++)
		entry->recipients[i].relay = &schedule->loose;
	entry->relay_jobs = 0;
	list_init(&entry->relay_node);
	wheel_timer_init(&entry->due, due_fire);
	ASSERT(entry->recipients_n > 0);
	if (entry->pending_n == 0) { /* died between its last delivery and its end */
		list_push_back(&schedule->fresh, &entry->relay_node);
		relay_schedule_kick(schedule);
	} else if (entry->due_real_s * 1000 <= now_ms)
		relay_entry_now(schedule, entry);
	else if (!entry->held)
		timer_set(schedule, entry, entry->due_real_s * 1000 - now_ms);
	relay_entry_show(schedule, entry);
}

/* ---- the end ---- */

static void finish(struct relay_schedule *schedule, struct spool_entry *entry)
{
	ASSERT(relay_entry_runs(entry) == 0 && relay_entry_trips(entry) == 0);
	relay_entry_forget(schedule, entry);
	hide(schedule, entry);
	spool_finish(schedule->relay->facts.spool, entry);
}

static bool any_loose(const struct spool_entry *entry)
{
	for (uint32_t i = 0; i < entry->recipients_n; i++)
		if (relay_recipient_loose(&entry->recipients[i]))
			return true;
	return false;
}

void relay_entry_settle(struct relay_schedule *schedule, struct spool_entry *entry)
{
	uint32_t asked = entry->relay_jobs & (RELAY_ENTRY_DELETE | RELAY_ENTRY_BOUNCE);

	if (relay_entry_runs(entry) > 0) {
		relay_entry_show(schedule, entry);
		return;
	}
	entry->relay_jobs &= ~(RELAY_ENTRY_DELETE | RELAY_ENTRY_BOUNCE);
	if (entry->pending_n == 0) {
		finish(schedule, entry);
		return;
	}
	if (asked & RELAY_ENTRY_DELETE) {
		relay_entry_delete(schedule, entry);
		return;
	}
	if (asked & RELAY_ENTRY_BOUNCE && relay_entry_bounce(schedule, entry))
		return;
	if (any_loose(entry) &&
		(list_empty(&entry->relay_node) || entry->relay_jobs & RELAY_ENTRY_AGAIN))
		relay_entry_now(schedule, entry);
	relay_entry_show(schedule, entry);
}

/* ---- the operator's hand ---- */

void relay_entry_note(struct relay_schedule *schedule, struct spool_entry *entry, const char *text,
	bool held, uint64_t due_real_s)
{
	const struct spool_attempt attempt = {
		.next_hop = "operator",
		.text = text,
		.due_real_s = due_real_s,
		.held = held,
	};

	spool_attempt(schedule->relay->facts.spool, entry, &attempt);
}

void relay_entry_delete(struct relay_schedule *schedule, struct spool_entry *entry)
{
	struct spool_attempt attempt = {
		.next_hop = "operator",
		.text = "deleted",
		.changes = schedule->changes,
		.due_real_s = entry->due_real_s,
		.held = entry->held,
	};

	relay_entry_loosen(entry);
	if (relay_entry_runs(entry) > 0) {
		entry->relay_jobs |= RELAY_ENTRY_DELETE;
		return;
	}
	for (uint32_t i = 0; i < entry->recipients_n; i++) {
		if (entry->recipients[i].fate != SPOOL_FATE_PENDING)
			continue;
		schedule->changes[attempt.changes_n++] = (struct spool_fate_change){
			.recipient = i,
			.fate = SPOOL_FATE_DELETED,
			.warned = entry->recipients[i].warned,
		};
		if (attempt.changes_n < RELAY_RUN_RECIPIENTS_MAX)
			continue;
		spool_attempt(schedule->relay->facts.spool, entry, &attempt);
		attempt.changes_n = 0;
	}
	if (attempt.changes_n > 0)
		spool_attempt(schedule->relay->facts.spool, entry, &attempt);
	finish(schedule, entry);
}
