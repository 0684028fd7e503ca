/* SPDX-License-Identifier: MIT */
/*
 * queue_json.c -- messages and sums of the queue as the JSON that control/ sends.
 *
 * The names of the keys are an interface that scripts use (posternctl --json): add, never rename.
 * Times are seconds since 1970. What would not fit an answer is left out at a boundary that the
 * answer names: a page ends early, recipients are fewer than "recipients_total", destinations go
 * into "other".
 */
#include "queue-private.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a message ---- */

static json_t *seconds_json(uint64_t real_s)
{
	return real_s != 0 ? json_integer((json_int_t)real_s) : json_null();
}

static json_t *id_json(uint64_t id)
{
	char text[SPOOL_ID_MAX];

	spool_id_text(id, text);
	return json_string(text);
}

static json_t *recipients_json(const struct relay_item *item)
{
	static const char *const fates[] = {[SPOOL_FATE_PENDING] = "pending",
		[SPOOL_FATE_DELIVERED] = "delivered",
		[SPOOL_FATE_BOUNCED] = "bounced",
		[SPOOL_FATE_DELETED] = "deleted"};
	json_t *list = json_array();
	size_t bytes = 0;

	for (uint32_t i = 0; i < item->shown_n && bytes < QUEUE_RECIPIENTS_BYTES; i++) {
		const struct relay_item_recipient *one = &item->recipients[i];
		json_t *json = json_pack("{s:o, s:o, s:s}", "address",
			control_json_text(one->address), "destination",
			one->destination[0] != '\0' ? control_json_text(one->destination)
						    : json_null(),
			"fate", one->fate < COUNT_OF(fates) ? fates[one->fate] : "?");

		bytes += json_dumpb(json, NULL, 0, 0);
		json_array_append_new(list, json);
	}
	return list;
}

static json_t *item_json(const struct relay_item *item)
{
	return json_pack("{s:o, s:s, s:o, s:o, s:I, s:i, s:o, s:i, s:o, s:o}", "id",
		id_json(item->id), "state", control_queue_state_words[item->state],
		"arrived_seconds", seconds_json(item->arrived_real_s), "due_seconds",
		seconds_json(item->due_real_s), "size", (json_int_t)item->size, "attempts",
		(int)item->attempts, "sender", control_json_text(item->sender), "recipients_total",
		(int)item->recipients_n, "recipients", recipients_json(item), "last",
		control_json_text(item->last));
}

/* Octets of the header section, with its empty line left out; 0 if there is none yet in p[0..n). */
static size_t header_end(const char *p, size_t n)
{
	for (size_t i = 0; i + 1 < n; i++) {
		if (p[i] != '\n')
			continue;
		if (p[i + 1] == '\n')
			return i + 1;
		if (p[i + 1] == '\r' && i + 2 < n && p[i + 2] == '\n')
			return i + 1;
	}
	return 0;
}

/* How much of the message's beginning could be read; it may be gone since the worker looked. */
static size_t head_read(const struct queue *queue, const struct relay_item *item, char *out)
{
	size_t want = min_size(item->size, QUEUE_HEADER_MAX), got = 0;
	int fd = openat(queue->facts.store_dir, item->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	while (fd >= 0 && got < want) {
		ssize_t n = pread(fd, out + got, want - got, (off_t)(item->offset + got));

		if (n <= 0)
			break;
		got += (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	return got;
}

static json_t *header_json(const struct queue *queue, const struct relay_item *item)
{
	char *text = malloc(QUEUE_HEADER_MAX + 1);
	size_t n, end;
	json_t *json = NULL;

	if (text == NULL)
		return NULL;
	n = head_read(queue, item, text);
	end = header_end(text, n);
	n = end > 0 ? end : n;
	for (size_t i = 0; i < n; i++)
		if (text[i] == '\0')
			text[i] = '?';
	text[n] = '\0';
	json = n > 0 ? control_json_text(text) : json_null();
	free(text);
	return json;
}

static json_t *tries_json(const struct relay_item *item)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < item->tries_n; i++) {
		const struct spool_attempt_record *one = &item->tries[i];

		json_array_append_new(list,
			json_pack("{s:o, s:i, s:o, s:o}", "seconds", seconds_json(one->real_s),
				"recipients", (int)one->recipients_n, "next_hop",
				control_json_text(one->next_hop), "text",
				control_json_text(one->text)));
	}
	return list;
}

json_t *queue_message_json(const struct queue *queue, const struct queue_question *question,
	const struct relay_item *item)
{
	json_t *json = item_json(item);

	if (json == NULL || question->action != CONTROL_QUEUE_SHOW)
		return json;
	json_object_set_new(json, "envid",
		item->envid[0] != '\0' ? control_json_text(item->envid) : json_null());
	json_object_set_new(json, "tries", tries_json(item));
	json_object_set_new(json, "header", header_json(queue, item));
	return json;
}

/* ---- the answer ---- */

void queue_tally_add(struct relay_tally *to, const struct relay_tally *from)
{
	bool first = to->oldest_real_s == 0;

	for (int i = 0; i < RELAY_STATE_COUNT; i++)
		to->messages[i] += from->messages[i];
	to->recipients += from->recipients;
	if (first || (from->oldest_real_s != 0 && from->oldest_real_s < to->oldest_real_s))
		to->oldest_real_s = from->oldest_real_s;
	if (from->down && (to->due_real_s == 0 || from->due_real_s < to->due_real_s))
		to->due_real_s = from->due_real_s;
	if (to->last[0] == '\0' || from->down)
		memcpy(to->last, from->last, sizeof(to->last));
	to->down = to->down || from->down;
}

static json_t *messages_json(struct queue_question *question)
{
	json_t *list = json_array();
	size_t bytes = 0;
	uint32_t n = 0;

	for (; n < question->messages_n; n++) {
		bytes += json_dumpb(question->messages[n].json, NULL, 0, 0) + 2;
		if (n > 0 && bytes > QUEUE_MESSAGES_BYTES)
			break;
		json_array_append(list, question->messages[n].json);
	}
	if (n == 0 || (n == question->messages_n && !question->more))
		return json_pack("{s:o, s:n}", "messages", list, "next");
	return json_pack(
		"{s:o, s:o}", "messages", list, "next", id_json(question->messages[n - 1].id));
}

static json_t *states_json(const uint64_t states[RELAY_STATE_COUNT])
{
	json_t *object = json_object();

	for (int i = 0; i < RELAY_STATE_COUNT; i++)
		json_object_set_new(
			object, control_queue_state_words[i], json_integer((json_int_t)states[i]));
	return object;
}

static uint64_t tally_total(const struct relay_tally *tally)
{
	uint64_t total = 0;

	for (int i = 0; i < RELAY_STATE_COUNT; i++)
		total += tally->messages[i];
	return total;
}

/* The largest first, then by name. */
static int tally_compare(const void *a, const void *b)
{
	uint64_t n = tally_total(a), m = tally_total(b);

	if (n != m)
		return n > m ? -1 : 1;
	return strcmp(((const struct relay_tally *)a)->destination,
		((const struct relay_tally *)b)->destination);
}

static json_t *tally_json(const struct relay_tally *tally)
{
	json_t *object = states_json(tally->messages);

	json_object_set_new(object, "recipients", json_integer((json_int_t)tally->recipients));
	json_object_set_new(object, "oldest_seconds", seconds_json(tally->oldest_real_s));
	return object;
}

static json_t *destination_json(const struct relay_tally *tally)
{
	json_t *object = tally_json(tally);

	json_object_set_new(object, "destination", control_json_text(tally->destination));
	json_object_set_new(object, "down", json_boolean(tally->down));
	json_object_set_new(object, "due_seconds", seconds_json(tally->due_real_s));
	json_object_set_new(object, "last", control_json_text(tally->last));
	return object;
}

static json_t *tallies_json(struct queue_question *question)
{
	json_t *list = json_array(), *json;
	struct relay_tally *other = &question->other;
	uint64_t oldest = other->oldest_real_s;
	size_t bytes = 0;

	if (question->tallies_n > 0)
		qsort(question->tallies, question->tallies_n, sizeof(*question->tallies),
			tally_compare);
	for (uint32_t i = 0; i < question->tallies_n; i++) {
		const struct relay_tally *tally = &question->tallies[i];

		if (oldest == 0 || (tally->oldest_real_s != 0 && tally->oldest_real_s < oldest))
			oldest = tally->oldest_real_s;
		json = i < question->limit ? destination_json(tally) : NULL;
		bytes += json != NULL ? json_dumpb(json, NULL, 0, 0) + 2 : 0;
		if (json != NULL && bytes < QUEUE_MESSAGES_BYTES) {
			json_array_append_new(list, json);
			continue;
		}
		json_decref(json);
		queue_tally_add(other, tally);
		question->other_n++;
	}
	return json_pack("{s:I, s:o, s:o, s:o, s:o, s:i}", "matched", (json_int_t)question->matched,
		"states", states_json(question->states), "oldest_seconds", seconds_json(oldest),
		"destinations", list, "other",
		question->other_n > 0 ? tally_json(other) : json_null(), "other_destinations",
		(int)question->other_n);
}

json_t *queue_json(struct queue_question *question)
{
	json_t *body;

	if (question->error != NULL)
		return json_pack("{s:b, s:s}", "ok", 0, "error", question->error);
	if (question->action == CONTROL_QUEUE_LIST)
		body = messages_json(question);
	else if (question->action == CONTROL_QUEUE_SHOW)
		body = question->messages_n > 0 ? json_incref(question->messages[0].json)
						: json_null();
	else if (question->action == CONTROL_QUEUE_TALLY)
		body = tallies_json(question);
	else
		body = json_pack("{s:I}", "matched", (json_int_t)question->matched);
	return json_pack("{s:b, s:o}", "ok", 1, "queue", body);
}
