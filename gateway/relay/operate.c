/* SPDX-License-Identifier: MIT */
/*
 * operate.c -- the operator's hand on one message.
 *
 *	action	acts on			at once			with a run under way
 *	retry	what is not held	due now; a destination	tried again when the run is over
 *					that is down is tried
 *	hold	what is not held	nothing more is begun	the run goes on, then held
 *	release	what is held		due now
 *	delete	everything		gone, no report		the rest, when the run is over
 *	bounce	everything		returned to the sender	the rest, when the run is over
 *	flush	as retry
 *
 * A message that nobody waits for any more is on its way out and is left alone. What a run delivers
 * meanwhile is delivered. A running entry that is to be deleted or bounced counts as done; that it
 * was asked for is remembered in memory only: a crash before the run's end loses it.
 */
#include "relay/query-private.h"

/* Waiting recipients are tried now. */
static void try_now(struct relay_schedule *schedule, struct spool_entry *entry)
{
	bool loose = false;

	for (uint32_t i = 0; i < entry->recipients_n; i++) {
		struct relay_trip *trip = relay_trip_of(&entry->recipients[i]);

		loose |= relay_recipient_loose(&entry->recipients[i]);
		if (trip->entry != NULL && trip->destination->down)
			relay_destination_retry(trip->destination);
	}
	if (loose)
		relay_entry_now(schedule, entry);
	relay_schedule_kick(schedule);
}

static bool retry(struct relay_schedule *schedule, struct spool_entry *entry, const char *text)
{
	if (entry->held)
		return false;
	relay_entry_note(schedule, entry, text, false, 0);
	if (relay_entry_runs(entry) > 0)
		entry->relay_jobs |= RELAY_ENTRY_AGAIN;
	else
		try_now(schedule, entry);
	relay_entry_show(schedule, entry);
	return true;
}

static bool hold(struct relay_schedule *schedule, struct spool_entry *entry)
{
	if (entry->held)
		return false;
	relay_entry_note(schedule, entry, "held", true, entry->due_real_s);
	relay_entry_forget(schedule, entry);
	relay_entry_loosen(entry);
	relay_entry_show(schedule, entry);
	return true;
}

static bool release(struct relay_schedule *schedule, struct spool_entry *entry)
{
	if (!entry->held)
		return false;
	relay_entry_note(schedule, entry, "released", false, 0);
	relay_entry_settle(schedule, entry);
	return true;
}

bool relay_entry_operate(struct relay *relay, struct spool_entry *entry, enum relay_query_kind kind)
{
	struct relay_schedule *schedule = relay->schedule;

	if (entry->pending_n == 0)
		return false; /* it is about to go */
	switch (kind) {
	case RELAY_QUERY_RETRY:
		return retry(schedule, entry, "retry asked for");
	case RELAY_QUERY_FLUSH:
		return retry(schedule, entry, "flush asked for");
	case RELAY_QUERY_HOLD:
		return hold(schedule, entry);
	case RELAY_QUERY_RELEASE:
		return release(schedule, entry);
	case RELAY_QUERY_DELETE:
		relay_entry_delete(schedule, entry);
		return true;
	case RELAY_QUERY_BOUNCE:
		return relay_entry_bounce(schedule, entry);
	case RELAY_QUERY_LIST:
	case RELAY_QUERY_SHOW:
	case RELAY_QUERY_COUNT:
		break;
	}
	return false;
}
