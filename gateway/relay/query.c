/* SPDX-License-Identifier: MIT */
/*
 * query.c -- the operator's view of a worker's queue: lists, one message in full, counts.
 *
 * A question walks the queue in the order of ids, at most RELAY_SCAN_MAX entries, and says where to
 * go on; the asker merges pages and workers. An answer is copied out, so that another thread may
 * write it down: this is the one place of the relay that allocates while mail flows, as much as the
 * question's limit asks for. When memory is short the answer ends there, with `more`.
 *
 * Destinations are those the recipients wait for now, else those the routes name now.
 */
#include "relay/query-private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

const char *const relay_state_names[RELAY_STATE_COUNT] = {
	[RELAY_STATE_ACTIVE] = "active",
	[RELAY_STATE_READY] = "ready",
	[RELAY_STATE_DEFERRED] = "deferred",
	[RELAY_STATE_HELD] = "held",
};

/* A question under way. */
struct asking {
	struct relay *relay;
	const struct relay_query *query;
	struct relay_answer *answer;
	uint32_t items_room;
	uint32_t tallies_room;
	uint32_t *index;     /* of tallies by name: number + 1; a power of two of places */
	uint64_t *tally_ids; /* the entry that was counted last there */
	bool short_of_memory;
};

static void copy_span(char *to, size_t n, struct span from)
{
	(void)snprintf(to, n, "%.*s", (int)min_size(from.n, n), (const char *)from.p);
}

static void copy_address(char *to, size_t n, const struct smtp_address *address)
{
	if (address->text.n == 0)
		(void)snprintf(to, n, "<>");
	else
		copy_span(to, n, address->text);
}

/* ---- times ---- */

static uint64_t destination_due_s(const struct relay_destination *destination)
{
	uint64_t wait_ms =
		relay_destination_due_ms(destination) - relay_schedule_now(destination->schedule);

	return destination->down ? clock_real_us() / 1000000 + wait_ms / 1000 : 0;
}

/* When something will be tried next; 0: at once, or not at all. */
static uint64_t entry_due_s(const struct spool_entry *entry)
{
	uint64_t due = entry->due.deadline_ms != 0 ? entry->due_real_s : UINT64_MAX;

	if (relay_entry_state(entry) != RELAY_STATE_DEFERRED)
		return 0;
	for (uint32_t i = 0; i < entry->recipients_n && relay_entry_trips(entry) > 0; i++) {
		const struct relay_trip *trip = relay_trip_of(&entry->recipients[i]);

		if (trip->entry != NULL && destination_due_s(trip->destination) < due)
			due = destination_due_s(trip->destination);
	}
	return due == UINT64_MAX ? 0 : due;
}

/* ---- lists ---- */

/* Room for another element at the end of an array that doubles; false: no memory. */
static bool grow(void **array, uint32_t *room, uint32_t n, size_t bytes)
{
	uint32_t more = *room == 0 ? 16 : *room * 2;
	void *larger;

	if (n < *room)
		return true;
	larger = realloc(*array, more * bytes);
	if (larger == NULL)
		return false;
	*array = larger;
	*room = more;
	return true;
}

static bool item_recipients(
	struct relay *relay, struct relay_item *item, const struct spool_entry *entry, bool all)
{
	uint32_t max = all || entry->recipients_n < RELAY_SHOWN_MAX ? entry->recipients_n
								    : RELAY_SHOWN_MAX;

	item->recipients = calloc(max, sizeof(item->recipients[0]));
	if (item->recipients == NULL)
		return false;
	/* A list shows what is still to be done, and the rest where there is room for it. */
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < entry->recipients_n && item->shown_n < max; i++) {
			const struct spool_recipient *from = &entry->recipients[i];
			struct relay_item_recipient *to = &item->recipients[item->shown_n];

			if (!all && (from->fate == SPOOL_FATE_PENDING) != (pass == 0))
				continue;
			copy_span(to->address, sizeof(to->address), from->smtp.address.text);
			relay_recipient_destination(relay, entry, from, to->destination);
			to->fate = from->fate;
			item->shown_n++;
		}
	}
	return true;
}

static bool item_fill(
	struct relay *relay, struct relay_item *item, const struct spool_entry *entry, bool all)
{
	*item = (struct relay_item){
		.id = entry->id,
		.arrived_real_s = entry->arrived_real_us / 1000000,
		.due_real_s = entry_due_s(entry),
		.size = entry->size,
		.attempts = entry->attempts,
		.state = relay_entry_state(entry),
		.recipients_n = entry->recipients_n,
	};
	copy_address(item->sender, sizeof(item->sender), &entry->envelope.reverse_path);
	item->tries_n = spool_attempts(entry, item->tries);
	if (item->tries_n > 0)
		(void)snprintf(
			item->last, sizeof(item->last), "%s", item->tries[item->tries_n - 1].text);
	if (all) {
		copy_span(item->envid, sizeof(item->envid), entry->envelope.envid);
		spool_body_place(entry, item->path, sizeof(item->path), &item->offset);
	} else {
		item->tries_n = 0;
	}
	return item_recipients(relay, item, entry, all);
}

static void item_add(struct asking *asking, const struct spool_entry *entry)
{
	struct relay_answer *answer = asking->answer;
	void *items = answer->items;

	if (!grow(&items, &asking->items_room, answer->items_n, sizeof(answer->items[0]))) {
		asking->short_of_memory = true;
		return;
	}
	answer->items = items;
	if (item_fill(asking->relay, &answer->items[answer->items_n], entry,
		    asking->query->kind == RELAY_QUERY_SHOW))
		answer->items_n++;
	else
		asking->short_of_memory = true;
}

/* ---- counts ---- */

#define INDEX_N (2 * RELAY_TALLIES_MAX) /* a power of two */

static uint32_t *tally_place(struct asking *asking, const char *name)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (const char *at = name; *at != '\0'; at++)
		hash = (hash ^ (uint8_t)*at) * 16777619u;
	for (;; hash++) {
		uint32_t *place = &asking->index[hash % INDEX_N];

		if (*place == 0 ||
			strcmp(asking->answer->tallies[*place - 1].destination, name) == 0)
			return place;
	}
}

static void tally_describe(struct asking *asking, struct relay_tally *tally)
{
	const struct relay_destination *destination =
		relay_destination_find(asking->relay->schedule, NULL, tally->destination);

	if (destination == NULL)
		return;
	tally->down = destination->down;
	tally->due_real_s = destination_due_s(destination);
	relay_outcome_text(&destination->last, tally->last, sizeof(tally->last));
}

/* The tally of a destination; NULL: no memory. */
static struct relay_tally *tally_get(struct asking *asking, const char *name)
{
	struct relay_answer *answer = asking->answer;
	uint32_t *place = tally_place(asking, name);
	void *tallies = answer->tallies;

	if (*place == 0 && answer->tallies_n == RELAY_TALLIES_MAX - 1) {
		name = "(others)";
		place = tally_place(asking, name);
	}
	if (*place != 0)
		return &answer->tallies[*place - 1];
	if (!grow(&tallies, &asking->tallies_room, answer->tallies_n, sizeof(answer->tallies[0])))
		return NULL;
	answer->tallies = tallies;
	*place = ++answer->tallies_n;
	tallies = &answer->tallies[*place - 1];
	memset(tallies, 0, sizeof(answer->tallies[0]));
	(void)snprintf(answer->tallies[*place - 1].destination,
		sizeof(answer->tallies[0].destination), "%s", name);
	tally_describe(asking, tallies);
	return tallies;
}

static void tally_add(struct asking *asking, const struct spool_entry *entry)
{
	enum relay_entry_state state = relay_entry_state(entry);
	char name[sizeof(asking->answer->tallies[0].destination)];

	asking->answer->states[state]++;
	for (uint32_t i = 0; i < entry->recipients_n; i++) {
		uint64_t arrived_real_s = entry->arrived_real_us / 1000000;
		struct relay_tally *tally;
		uint64_t *last_id;

		if (entry->recipients[i].fate != SPOOL_FATE_PENDING)
			continue;
		relay_recipient_destination(asking->relay, entry, &entry->recipients[i], name);
		tally = tally_get(asking, name);
		if (tally == NULL) {
			asking->short_of_memory = true;
			return;
		}
		last_id = &asking->tally_ids[tally - asking->answer->tallies];
		tally->recipients++;
		if (*last_id == entry->id)
			continue;
		*last_id = entry->id;
		tally->messages[state]++;
		if (tally->oldest_real_s == 0 || arrived_real_s < tally->oldest_real_s)
			tally->oldest_real_s = arrived_real_s;
	}
}

static bool tallies_open(struct asking *asking)
{
	asking->index = calloc(INDEX_N, sizeof(asking->index[0]));
	asking->tally_ids = calloc(RELAY_TALLIES_MAX, sizeof(asking->tally_ids[0]));
	return asking->index != NULL && asking->tally_ids != NULL;
}

/* ---- the walk ---- */

static void entry_visit(struct asking *asking, struct spool_entry *entry)
{
	const struct relay_query *query = asking->query;

	asking->answer->scanned++;
	asking->answer->last = entry->id;
	if (entry->recipients[0].relay == NULL || /* not ours yet */
		!relay_filter_entry(asking->relay, &query->filter, entry))
		return;
	switch (query->kind) {
	case RELAY_QUERY_LIST:
	case RELAY_QUERY_SHOW:
		item_add(asking, entry);
		break;
	case RELAY_QUERY_COUNT:
		tally_add(asking, entry);
		break;
	case RELAY_QUERY_RETRY:
	case RELAY_QUERY_HOLD:
	case RELAY_QUERY_RELEASE:
	case RELAY_QUERY_DELETE:
	case RELAY_QUERY_BOUNCE:
	case RELAY_QUERY_FLUSH:
		if (!relay_entry_operate(asking->relay, entry, query->kind))
			return;
	}
	asking->answer->matched++;
}

static bool full(const struct asking *asking)
{
	const struct relay_answer *answer = asking->answer;
	uint32_t limit = RELAY_ITEMS_MAX;

	if (asking->query->kind == RELAY_QUERY_LIST && asking->query->limit < limit)
		limit = asking->query->limit;
	return answer->scanned >= RELAY_SCAN_MAX || asking->short_of_memory ||
	       (answer->items_n > 0 && answer->items_n >= limit);
}

static void walk(struct asking *asking)
{
	struct spool *spool = asking->relay->facts.spool;
	struct spool_entry *entry = spool_after(spool, asking->query->after);

	while (entry != NULL && !full(asking)) {
		uint64_t id = entry->id;

		entry_visit(asking, entry);
		entry = spool_after(spool, id);
	}
	asking->answer->more = entry != NULL;
}

static void flush_each(struct relay_destination *destination, const char *name)
{
	if (name[0] == '\0' || strcasecmp(destination->name, name) == 0)
		relay_destination_retry(destination);
}

static void flush(struct relay *relay, const char *name)
{
	struct relay_schedule *schedule = relay->schedule;

	for (size_t i = 0; i < RELAY_DESTINATION_HASH; i++) {
		struct list *head = &schedule->table[i];

		for (struct list *node = head->next; node != head; node = node->next)
			flush_each(container_of(node, struct relay_destination, hash), name);
	}
	relay_schedule_kick(schedule);
}

void relay_query(struct relay *relay, const struct relay_query *query, struct relay_answer *answer)
{
	struct asking asking = {.relay = relay, .query = query, .answer = answer};
	struct spool_entry *entry;

	*answer = (struct relay_answer){.last = query->after};
	if (query->kind == RELAY_QUERY_FLUSH && query->after == 0)
		flush(relay, query->filter.destination);
	if (query->kind == RELAY_QUERY_COUNT && !tallies_open(&asking)) {
		answer->more = true;
	} else if (query->filter.id != 0) {
		entry = spool_find(relay->facts.spool, query->filter.id);
		if (entry != NULL && entry->id > query->after)
			entry_visit(&asking, entry);
	} else {
		walk(&asking);
	}
	free(asking.index);
	free(asking.tally_ids);
}

void relay_answer_free(struct relay_answer *answer)
{
	for (uint32_t i = 0; i < answer->items_n; i++)
		free(answer->items[i].recipients);
	free(answer->items);
	free(answer->tallies);
	*answer = (struct relay_answer){0};
}
