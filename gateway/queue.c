/* SPDX-License-Identifier: MIT */
/*
 * queue.c -- the control socket's questions about the queue, put to every worker's relay.
 *
 * The queue is spread over the workers, each with its own part on its own thread. A question from
 * control/ becomes a relay query, goes to all workers at once by worker_call(), and is answered
 * when the last of them has: lists merged by id, numbers summed. A worker looks at a bounded number
 * of messages a time and says where it stopped; it is then asked again from there, so that it goes
 * on serving mail in between.
 *
 * A list is cut at CONTROL_PAGE_MAX messages and at what fits an answer; its "next" is where the
 * following page begins. Destinations are cut at the request's limit, the smallest are summed as
 * "other". The message's header section is read here (queue_json.c) from the store's files, since
 * only this thread may open files and wait for them.
 *
 * Invariants: all of it runs on the control thread but for part_run(). A question's memory stays
 * until each of its calls is done, also when its client has gone.
 *
 * Non-goals: no snapshot. Messages come and go while the workers are asked one after the other; a
 * page is true for each message at the moment when its worker looked.
 */
#include "queue-private.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)CONTROL_QUEUE_ACTIVE == (int)RELAY_STATE_ACTIVE &&
		       (int)CONTROL_QUEUE_READY == (int)RELAY_STATE_READY &&
		       (int)CONTROL_QUEUE_DEFERRED == (int)RELAY_STATE_DEFERRED &&
		       (int)CONTROL_QUEUE_HELD == (int)RELAY_STATE_HELD &&
		       (int)CONTROL_QUEUE_STATES == (int)RELAY_STATE_COUNT,
	"the states have one order");

static const enum relay_query_kind kinds[CONTROL_QUEUE_ACTIONS] = {
	[CONTROL_QUEUE_LIST] = RELAY_QUERY_LIST,
	[CONTROL_QUEUE_TALLY] = RELAY_QUERY_COUNT,
	[CONTROL_QUEUE_SHOW] = RELAY_QUERY_SHOW,
	[CONTROL_QUEUE_RETRY] = RELAY_QUERY_RETRY,
	[CONTROL_QUEUE_HOLD] = RELAY_QUERY_HOLD,
	[CONTROL_QUEUE_RELEASE] = RELAY_QUERY_RELEASE,
	[CONTROL_QUEUE_DELETE] = RELAY_QUERY_DELETE,
	[CONTROL_QUEUE_BOUNCE] = RELAY_QUERY_BOUNCE,
	[CONTROL_QUEUE_FLUSH] = RELAY_QUERY_FLUSH,
};

/* ---- merging ---- */

static bool page_full(const struct queue_question *question)
{
	return question->messages_n == question->limit;
}

static uint64_t page_last(const struct queue_question *question)
{
	return question->messages[question->messages_n - 1].id;
}

/* Keeps the `limit` lowest ids of all workers. */
static void item_merge(
	const struct queue *queue, struct queue_question *question, const struct relay_item *item)
{
	struct queue_message *messages = question->messages;
	uint32_t i = question->messages_n;

	if (page_full(question)) {
		question->more = true;
		if (item->id > page_last(question))
			return;
		i--;
		json_decref(messages[i].json);
	} else {
		question->messages_n++;
	}
	for (; i > 0 && messages[i - 1].id > item->id; i--)
		messages[i] = messages[i - 1];
	messages[i] = (struct queue_message){item->id, queue_message_json(queue, question, item)};
	if (messages[i].json == NULL)
		question->error = "memory is short";
}

/* The tally of that destination, made if need be; NULL: none can be had. */
static struct relay_tally *tally_place(struct queue_question *question, const char *destination)
{
	json_t *known = json_object_get(question->index, destination);
	uint32_t cap = question->tallies_cap;
	struct relay_tally *tally;

	if (known != NULL)
		return &question->tallies[json_integer_value(known)];
	if (question->tallies_n == cap) {
		cap = cap == 0 ? 64 : cap * 2;
		tally = cap > 2 * QUEUE_DESTINATIONS_MAX
				? NULL
				: realloc(question->tallies, cap * sizeof(*tally));
		if (tally == NULL)
			return NULL;
		question->tallies = tally;
		question->tallies_cap = cap;
	}
	if (question->tallies_n == QUEUE_DESTINATIONS_MAX ||
		json_object_set_new_nocheck(
			question->index, destination, json_integer(question->tallies_n)) < 0)
		return NULL;
	tally = &question->tallies[question->tallies_n++];
	*tally = (struct relay_tally){0};
	memcpy(tally->destination, destination, strlen(destination) + 1);
	return tally;
}

static void tally_merge(struct queue_question *question, const struct relay_tally *from)
{
	struct relay_tally *to = tally_place(question, from->destination);

	if (to == NULL) {
		to = &question->other;
		question->other_n++;
	}
	queue_tally_add(to, from);
}

static void queue_merge(const struct queue *queue, struct queue_question *question,
	const struct relay_answer *answer)
{
	question->matched += answer->matched;
	for (int i = 0; i < RELAY_STATE_COUNT; i++)
		question->states[i] += answer->states[i];
	for (uint32_t i = 0; i < answer->items_n; i++)
		item_merge(queue, question, &answer->items[i]);
	for (uint32_t i = 0; i < answer->tallies_n; i++)
		tally_merge(question, &answer->tallies[i]);
}

/* ---- asking ---- */
static void question_free(struct queue_question *question)
{
	for (uint32_t i = 0; i < question->messages_n; i++)
		json_decref(question->messages[i].json);
	json_decref(question->index);
	free(question->tallies);
	free(question->parts);
	*question = (struct queue_question){0};
}

static void part_run(struct relay *relay, struct worker_call *call)
{
	struct queue_part *part = container_of(call, struct queue_part, call);

	relay_query(relay, &part->query, &part->answer);
}

static void part_ask(struct queue *queue, struct queue_part *part)
{
	struct queue_question *question = part->question;
	size_t i = (size_t)(part - question->parts);

	part->answer = (struct relay_answer){0};
	part->running = worker_call(queue->facts.workers[i], &part->call);
	if (part->running)
		question->running++;
	else
		question->error = "the gateway is stopping: a worker does not answer any more";
}

/* Is there more to be had from a worker that said so? */
static bool part_goes_on(const struct queue_part *part)
{
	const struct queue_question *question = part->question;

	if (!part->answer.more || question->error != NULL)
		return false;
	if (part->answer.last <= part->query.after) /* it would never end */
		return false;
	return question->action != CONTROL_QUEUE_LIST || !page_full(question) ||
	       part->answer.last < page_last(question);
}

static void part_done(struct queue *queue, struct queue_part *part)
{
	struct queue_question *question = part->question;
	bool again;

	part->running = false;
	question->running--;
	queue_merge(queue, question, &part->answer);
	again = part_goes_on(part);
	if (part->answer.more && !again)
		question->more = true;
	part->query.after = part->answer.last;
	relay_answer_free(&part->answer);
	if (again)
		part_ask(queue, part);
}

static bool query_fill(struct relay_query *query, const struct control_queue_request *request)
{
	struct relay_filter *filter = &query->filter;

	_Static_assert(sizeof(filter->sender) == sizeof(request->sender) &&
			       sizeof(filter->recipient) == sizeof(request->recipient) &&
			       sizeof(filter->domain) == sizeof(request->domain) &&
			       sizeof(filter->destination) == sizeof(request->destination),
		"texts have the same room");
	*query = (struct relay_query){.kind = kinds[request->action]};
	/* 0 in a filter would be every message, and no message has it. */
	if (request->id[0] != '\0' &&
		(!spool_id_parse(request->id, &filter->id) || filter->id == 0))
		return false;
	if (request->after[0] != '\0' && !spool_id_parse(request->after, &query->after))
		return false;
	memcpy(filter->sender, request->sender, sizeof(filter->sender));
	memcpy(filter->recipient, request->recipient, sizeof(filter->recipient));
	memcpy(filter->domain, request->domain, sizeof(filter->domain));
	memcpy(filter->destination, request->destination, sizeof(filter->destination));
	filter->states = request->states;
	filter->older_s = request->older_s;
	filter->younger_s = request->younger_s;
	return true;
}

static uint32_t limit_of(const struct control_queue_request *request)
{
	uint32_t most =
		request->action == CONTROL_QUEUE_TALLY ? QUEUE_DESTINATIONS_MAX : CONTROL_PAGE_MAX;

	return request->limit == 0 || request->limit > most ? most : request->limit;
}

static void question_end(struct queue *queue, struct queue_question *question)
{
	uint64_t token = question->token;
	json_t *answer = queue_json(question);

	question_free(question);
	control_queue_done(queue->facts.control, token, answer);
}

bool queue_ask(struct queue *queue, const struct control_queue_request *request, uint64_t token)
{
	struct queue_question *question = NULL;
	struct relay_query query;

	for (size_t i = 0; i < QUEUE_QUESTIONS_MAX && question == NULL; i++)
		if (!queue->questions[i].used)
			question = &queue->questions[i];
	if (question == NULL)
		return false;
	*question = (struct queue_question){.used = true,
		.token = token,
		.action = request->action,
		.limit = limit_of(request),
		.parts_n = queue->facts.workers_n};
	if (!query_fill(&query, request)) {
		question->error = "that is no queue id";
		question_end(queue, question);
		return true;
	}
	query.limit = question->limit;
	question->index = json_object();
	question->parts = calloc(question->parts_n, sizeof(*question->parts));
	if (question->parts == NULL || question->index == NULL) {
		question_free(question);
		return false;
	}
	for (uint32_t i = 0; i < question->parts_n; i++) {
		struct queue_part *part = &question->parts[i];

		*part = (struct queue_part){.question = question, .query = query};
		part->call.run = part_run;
		part_ask(queue, part);
	}
	if (question->running == 0)
		question_end(queue, question);
	return true;
}

void queue_turn(struct queue *queue)
{
	for (size_t i = 0; i < QUEUE_QUESTIONS_MAX; i++) {
		struct queue_question *question = &queue->questions[i];

		if (!question->used)
			continue;
		for (uint32_t k = 0; k < question->parts_n; k++) {
			struct queue_part *part = &question->parts[k];

			if (part->running && atomic_load(&part->call.done))
				part_done(queue, part);
		}
		if (question->running == 0)
			question_end(queue, question);
	}
}

int queue_open(struct queue **out, const struct queue_facts *facts, struct err *err)
{
	struct queue *queue = calloc(1, sizeof(*queue));

	if (queue == NULL)
		return err_set(err, "out of memory");
	queue->facts = *facts;
	*out = queue;
	return 0;
}

void queue_close(struct queue *queue)
{
	if (queue == NULL)
		return;
	for (size_t i = 0; i < QUEUE_QUESTIONS_MAX; i++) {
		struct queue_question *question = &queue->questions[i];

		for (uint32_t k = 0; k < question->parts_n; k++) {
			ASSERT(!question->parts[k].running ||
				atomic_load(&question->parts[k].call.done));
			if (question->parts[k].running)
				relay_answer_free(&question->parts[k].answer);
		}
		question_free(question);
	}
	free(queue);
}
