/* SPDX-License-Identifier: MIT */
/* queue-private.h -- what queue.c and queue_json.c share: one question and what it came to. */
#ifndef POSTERN_QUEUE_PRIVATE_H
#define POSTERN_QUEUE_PRIVATE_H

#include "gateway.h"

#include <jansson.h>

#include "control/control.h"
#include "spool/spool.h"

#define QUEUE_QUESTIONS_MAX    CONTROL_CLIENTS_MAX
#define QUEUE_DESTINATIONS_MAX 100000 /* told apart in one question; the rest is "other" */
#define QUEUE_HEADER_MAX       65536  /* octets of a header section that are shown */
#define QUEUE_MESSAGES_BYTES   (CONTROL_ANSWER_MAX - 65536) /* JSON of a page */
#define QUEUE_RECIPIENTS_BYTES (CONTROL_ANSWER_MAX / 2)     /* JSON of one message's */

struct queue_question;

/* What one worker is asked. */
struct queue_part {
	struct worker_call call;
	bool running;
	struct queue_question *question;
	struct relay_query query;
	struct relay_answer answer;
};

struct queue_message {
	uint64_t id;
	json_t *json;
};

struct queue_question {
	bool used;
	const char *error; /* NULL: all went well so far */
	uint64_t token;
	enum control_queue_action action;
	uint32_t limit;
	struct queue_part *parts;
	uint32_t parts_n;
	uint32_t running;
	/* what the answers came to */
	uint64_t matched;
	uint64_t states[RELAY_STATE_COUNT];
	struct queue_message messages[CONTROL_PAGE_MAX]; /* by id */
	uint32_t messages_n;
	bool more;
	struct relay_tally *tallies;
	uint32_t tallies_n;
	uint32_t tallies_cap;
	struct relay_tally other;
	uint32_t other_n;
	json_t *index; /* destination -> place in tallies */
};

struct queue {
	struct queue_facts facts;
	struct queue_question questions[QUEUE_QUESTIONS_MAX];
};

/* A new reference; NULL: memory is short. With the header section for CONTROL_QUEUE_SHOW. */
MUST_USE json_t *queue_message_json(const struct queue *queue,
	const struct queue_question *question, const struct relay_item *item);
/* The whole answer. */
MUST_USE json_t *queue_json(struct queue_question *question);
void queue_tally_add(struct relay_tally *to, const struct relay_tally *from);

#endif
