/* SPDX-License-Identifier: MIT */
/* control-private.h -- what the files of control/ share; for them and their tests only. */
#ifndef POSTERN_CONTROL_CONTROL_PRIVATE_H
#define POSTERN_CONTROL_CONTROL_PRIVATE_H

#include <jansson.h>

#include "base/span.h"
#include "control/control.h"

enum control_command {
	CONTROL_COMMAND_STATUS,
	CONTROL_COMMAND_METRICS,
	CONTROL_COMMAND_RELOAD,
	CONTROL_COMMAND_STOP,
	CONTROL_COMMAND_QUEUE,
	CONTROL_COMMAND_FENCE,
	CONTROL_COMMAND_STS,
	CONTROL_COMMAND_COUNT
};

extern const char *const control_command_words[CONTROL_COMMAND_COUNT];

struct control_request {
	enum control_command command;
	struct control_queue_request queue; /* CONTROL_COMMAND_QUEUE */
	struct control_fence_request fence; /* CONTROL_COMMAND_FENCE */
	struct control_sts_request sts;     /* CONTROL_COMMAND_STS */
};

/*
 * Reads one request line without its LF. -1 and err, a sentence for the client, when it is neither
 * a known word nor an object with "command" and, for queue, fence and sts, keys that make sense
 * together.
 */
MUST_USE int control_request_parse(
	struct span line, struct control_request *request, struct err *err);

/*
 * The answers. New references; NULL: memory is short. `queue` is the object of a tally's answer,
 * `fence` that of the fence's status; NULL: not known.
 */
MUST_USE json_t *control_answer_status(const struct control_status *status, const json_t *fence);
MUST_USE json_t *control_answer_metrics(
	const struct control_status *status, const json_t *queue, const json_t *fence);
MUST_USE json_t *control_answer_text(bool ok, const char *text);

/* The Prometheus text exposition of all counters and histograms, of the queue, the fence and the
 * facts worth watching. *text is the caller's to free; -1: memory is short. */
MUST_USE int control_metrics_text(const struct control_status *status, const json_t *queue,
	const json_t *fence, char **text, size_t *n);

#endif
