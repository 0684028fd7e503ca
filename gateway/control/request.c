/* SPDX-License-Identifier: MIT */
/*
 * request.c -- what a client of the control socket may say: a word, or JSON that carries the word.
 *
 * The word is for a person with a terminal and socat, the JSON for programs, and for the keys of
 * queue. Unknown keys are errors: a misspelt one must not be done without. Whether an id is one is
 * not judged here; that a change to the queue says what it is about, is.
 */
#include "control/control-private.h"

const char *const control_command_words[CONTROL_COMMAND_COUNT] = {
	[CONTROL_COMMAND_STATUS] = "status",
	[CONTROL_COMMAND_METRICS] = "metrics",
	[CONTROL_COMMAND_RELOAD] = "reload",
	[CONTROL_COMMAND_STOP] = "stop",
	[CONTROL_COMMAND_QUEUE] = "queue",
};

const char *const control_queue_action_words[CONTROL_QUEUE_ACTIONS] = {
	[CONTROL_QUEUE_LIST] = "list",
	[CONTROL_QUEUE_TALLY] = "count",
	[CONTROL_QUEUE_SHOW] = "show",
	[CONTROL_QUEUE_RETRY] = "retry",
	[CONTROL_QUEUE_HOLD] = "hold",
	[CONTROL_QUEUE_RELEASE] = "release",
	[CONTROL_QUEUE_DELETE] = "delete",
	[CONTROL_QUEUE_BOUNCE] = "bounce",
	[CONTROL_QUEUE_FLUSH] = "flush",
};

const char *const control_queue_state_words[CONTROL_QUEUE_STATES] = {
	[CONTROL_QUEUE_ACTIVE] = "active",
	[CONTROL_QUEUE_READY] = "ready",
	[CONTROL_QUEUE_DEFERRED] = "deferred",
	[CONTROL_QUEUE_HELD] = "held",
};

#define SECONDS_MAX (100ll * 365 * 86400)

static int word_index(struct span word, const char *const *words, int n)
{
	for (int i = 0; i < n; i++)
		if (span_equal(word, span_str(words[i])))
			return i;
	return -1;
}

static int word_find(struct span word, struct control_request *request, struct err *err)
{
	int i = word_index(word, control_command_words, CONTROL_COMMAND_COUNT);

	if (i < 0)
		return err_set(
			err, "unknown command; there are: status, metrics, reload, stop, queue");
	request->command = (enum control_command)i;
	return 0;
}

/* ---- the keys of queue ---- */

enum key_kind { KEY_ACTION, KEY_TEXT, KEY_SECONDS, KEY_STATES, KEY_LIMIT, KEY_ALL };

#define REQUEST_AT(member)   offsetof(struct control_queue_request, member)
#define REQUEST_ROOM(member) sizeof(((struct control_queue_request *)0)->member)

static const struct key {
	const char *word;
	enum key_kind kind;
	size_t at;
	size_t room; /* KEY_TEXT: the NUL included */
} keys[] = {
	{"action", KEY_ACTION, 0, 0},
	{"id", KEY_TEXT, REQUEST_AT(id), REQUEST_ROOM(id)},
	{"after", KEY_TEXT, REQUEST_AT(after), REQUEST_ROOM(after)},
	{"sender", KEY_TEXT, REQUEST_AT(sender), REQUEST_ROOM(sender)},
	{"recipient", KEY_TEXT, REQUEST_AT(recipient), REQUEST_ROOM(recipient)},
	{"domain", KEY_TEXT, REQUEST_AT(domain), REQUEST_ROOM(domain)},
	{"destination", KEY_TEXT, REQUEST_AT(destination), REQUEST_ROOM(destination)},
	{"states", KEY_STATES, 0, 0},
	{"older_seconds", KEY_SECONDS, REQUEST_AT(older_s), 0},
	{"younger_seconds", KEY_SECONDS, REQUEST_AT(younger_s), 0},
	{"limit", KEY_LIMIT, 0, 0},
	{"all", KEY_ALL, 0, 0},
};

static struct span string_span(const json_t *value)
{
	return span_of(json_string_value(value), json_string_length(value));
}

static bool action_read(struct control_queue_request *queue, const json_t *value)
{
	int i = json_is_string(value) ? word_index(string_span(value), control_queue_action_words,
						CONTROL_QUEUE_ACTIONS)
				      : -1;

	queue->action = i < 0 ? CONTROL_QUEUE_LIST : (enum control_queue_action)i;
	return i >= 0;
}

static bool states_read(struct control_queue_request *queue, const json_t *value)
{
	for (size_t i = 0; i < json_array_size(value); i++) {
		const json_t *word = json_array_get(value, i);
		int state = json_is_string(word)
				    ? word_index(string_span(word), control_queue_state_words,
					      CONTROL_QUEUE_STATES)
				    : -1;

		if (state < 0)
			return false;
		queue->states |= 1u << state;
	}
	return queue->states != 0;
}

/* Not empty: an empty filter would match everything, and was hardly meant to. */
static bool text_read(char *out, size_t room, const json_t *value)
{
	size_t n = json_string_length(value);

	if (!json_is_string(value) || n == 0 || n >= room)
		return false;
	memcpy(out, json_string_value(value), n + 1);
	return true;
}

static bool number_read(uint64_t *out, const json_t *value, json_int_t max)
{
	json_int_t n = json_integer_value(value);

	if (!json_is_integer(value) || n < 1 || n > max)
		return false;
	*out = (uint64_t)n;
	return true;
}

static bool key_read(
	struct control_queue_request *queue, const struct key *key, const json_t *value)
{
	char *at = (char *)queue + key->at;
	uint64_t number = 0;
	bool ok = false;

	switch (key->kind) {
	case KEY_ACTION:
		return action_read(queue, value);
	case KEY_TEXT:
		return text_read(at, key->room, value);
	case KEY_SECONDS:
		ok = number_read(&number, value, SECONDS_MAX);
		memcpy(at, &number, sizeof(number));
		return ok;
	case KEY_STATES:
		return states_read(queue, value);
	case KEY_LIMIT:
		ok = number_read(&number, value, UINT32_MAX);
		queue->limit = (uint32_t)number;
		return ok;
	case KEY_ALL:
		queue->all = json_is_true(value);
		return json_is_boolean(value);
	}
	return false;
}

static const struct key *key_find(const char *word)
{
	for (size_t i = 0; i < COUNT_OF(keys); i++)
		if (strcmp(keys[i].word, word) == 0)
			return &keys[i];
	return NULL;
}

/* Does the request say what it is about, and nothing that contradicts it? */
static int queue_check(const struct control_queue_request *queue, struct err *err)
{
	bool id = queue->id[0] != '\0';
	bool filter = queue->sender[0] != '\0' || queue->recipient[0] != '\0' ||
		      queue->domain[0] != '\0' || queue->states != 0 || queue->older_s != 0 ||
		      queue->younger_s != 0;
	bool destination = queue->destination[0] != '\0';

	if (queue->action == CONTROL_QUEUE_FLUSH) {
		if (!destination || id || filter || queue->all)
			return err_set(err, "flush needs \"destination\" and takes nothing else");
		return 0;
	}
	if (queue->action == CONTROL_QUEUE_SHOW && (!id || filter || destination || queue->all))
		return err_set(err, "show needs \"id\" and takes nothing else");
	if (id + (filter || destination) + queue->all > 1)
		return err_set(err, "\"id\", a filter and \"all\" exclude one another");
	if (queue->action >= CONTROL_QUEUE_RETRY && !id && !filter && !destination && !queue->all)
		return err_set(err, "%s needs \"id\", a filter or \"all\"",
			control_queue_action_words[queue->action]);
	return 0;
}

static int queue_read(json_t *root, struct control_queue_request *queue, struct err *err)
{
	const char *word;
	json_t *value;

	json_object_foreach(root, word, value)
	{
		const struct key *key = key_find(word);

		if (key == NULL && strcmp(word, "command") != 0)
			return err_set(err, "the request has a key that queue does not know");
		if (key != NULL && !key_read(queue, key, value))
			return err_set(err, "the value of \"%s\" cannot be used", key->word);
	}
	return queue_check(queue, err);
}

/* ---- the request ---- */

static int object_read(json_t *root, struct control_request *request, struct err *err)
{
	const json_t *word = json_object_get(root, "command");

	if (!json_is_string(word))
		return err_set(err, "the request needs \"command\" with a string");
	if (word_find(string_span(word), request, err) < 0)
		return -1;
	if (request->command == CONTROL_COMMAND_QUEUE)
		return queue_read(root, &request->queue, err);
	if (json_object_size(root) != 1)
		return err_set(err, "the request has keys other than \"command\"");
	return 0;
}

static int json_read(struct span line, struct control_request *request, struct err *err)
{
	json_error_t error;
	json_t *root = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, &error);
	int result;

	if (root == NULL)
		return err_set(err, "the request is not JSON");
	result = object_read(root, request, err);
	json_decref(root);
	return result;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

int control_request_parse(struct span line, struct control_request *request, struct err *err)
{
	*request = (struct control_request){.command = CONTROL_COMMAND_COUNT};
	while (line.n > 0 && is_blank(line.p[0]))
		span_take(&line, 1);
	while (line.n > 0 && is_blank(line.p[line.n - 1]))
		line.n--;
	if (line.n == 0)
		return err_set(err, "the request is empty");
	if (line.p[0] == '{')
		return json_read(line, request, err);
	return word_find(line, request, err);
}
