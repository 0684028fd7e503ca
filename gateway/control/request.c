/* SPDX-License-Identifier: MIT */
/*
 * request.c -- what a client of the control socket may say: a word, or JSON that carries the word.
 *
 * The word is for a person with a terminal and socat, the JSON for programs, and for the keys of
 * queue, fence and sts. Unknown keys are errors: a misspelt one must not be done without. Whether an id
 * is one is not judged here; that a change says what it is about, is.
 */
#include "base/clock.h"
#include "control/control-private.h"

const char *const control_command_words[CONTROL_COMMAND_COUNT] = {
	[CONTROL_COMMAND_STATUS] = "status",
	[CONTROL_COMMAND_METRICS] = "metrics",
	[CONTROL_COMMAND_RELOAD] = "reload",
	[CONTROL_COMMAND_STOP] = "stop",
	[CONTROL_COMMAND_QUEUE] = "queue",
	[CONTROL_COMMAND_FENCE] = "fence",
	[CONTROL_COMMAND_STS] = "sts",
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

const char *const control_fence_action_words[CONTROL_FENCE_ACTIONS] = {
	[CONTROL_FENCE_STATUS] = "status",
	[CONTROL_FENCE_TOP] = "top",
	[CONTROL_FENCE_LIST] = "list",
	[CONTROL_FENCE_EXPLAIN] = "explain",
	[CONTROL_FENCE_SAMPLES] = "samples",
	[CONTROL_FENCE_ALLOW] = "allow",
	[CONTROL_FENCE_BLOCK] = "block",
	[CONTROL_FENCE_UNBLOCK] = "unblock",
	[CONTROL_FENCE_FORGET] = "forget",
};

const char *const control_fence_order_words[CONTROL_FENCE_ORDERS] = {
	[CONTROL_FENCE_REFUSED] = "refused",
	[CONTROL_FENCE_OPEN] = "open",
	[CONTROL_FENCE_BYTES] = "bytes",
	[CONTROL_FENCE_CONNECTIONS] = "connections",
	[CONTROL_FENCE_HANDSHAKES] = "handshakes",
	[CONTROL_FENCE_PENALTY] = "penalty",
};

const char *const control_sts_action_words[CONTROL_STS_ACTIONS] = {
	[CONTROL_STS_RECORDS] = "records",
	[CONTROL_STS_REPORT] = "report",
	[CONTROL_STS_POLICIES] = "policies",
	[CONTROL_STS_WATCH] = "watch",
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
		return err_set(err,
			"unknown command; there are: status, metrics, reload, stop, queue, fence, sts");
	request->command = (enum control_command)i;
	return 0;
}

/* ---- keys ---- */

enum key_kind {
	KEY_WORD, /* one of a list: an enum */
	KEY_TEXT, /* not empty: an empty filter would match everything, and was hardly meant to */
	KEY_SECONDS, /* uint64_t */
	KEY_STATES,  /* words: a mask of the queue's states */
	KEY_NUMBER,  /* uint32_t, from 1 */
	KEY_BOOL,
	KEY_DAY, /* uint32_t, from "2026-11-21" */
	KEY_NETWORK,
	KEY_ADDRESS /* the same, but one address */
};

struct key {
	const char *word;
	enum key_kind kind;
	size_t at;
	size_t room; /* KEY_TEXT: octets, the NUL included; KEY_WORD: how many there are */
	const char *const *words;
};

_Static_assert(sizeof(enum control_queue_action) == sizeof(unsigned) &&
		       sizeof(enum control_fence_action) == sizeof(unsigned) &&
		       sizeof(enum control_fence_order) == sizeof(unsigned) &&
		       sizeof(enum control_sts_action) == sizeof(unsigned),
	"key_read() writes them as unsigned");

static struct span string_span(const json_t *value)
{
	return span_of(json_string_value(value), json_string_length(value));
}

static bool word_read(unsigned *out, const struct key *key, const json_t *value)
{
	int i = json_is_string(value) ? word_index(string_span(value), key->words, (int)key->room)
				      : -1;

	*out = i < 0 ? 0 : (unsigned)i;
	return i >= 0;
}

static bool states_read(unsigned *states, const json_t *value)
{
	for (size_t i = 0; i < json_array_size(value); i++) {
		const json_t *word = json_array_get(value, i);
		int state = json_is_string(word)
				    ? word_index(string_span(word), control_queue_state_words,
					      CONTROL_QUEUE_STATES)
				    : -1;

		if (state < 0)
			return false;
		*states |= 1u << state;
	}
	return *states != 0;
}

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

static bool network_read(struct network *out, bool address, const json_t *value)
{
	return json_is_string(value) && network_parse(json_string_value(value), out) &&
	       (!address || (out->bits == 128 && strchr(json_string_value(value), '/') == NULL));
}

static bool key_read(void *request, const struct key *key, const json_t *value)
{
	void *at = (char *)request + key->at;
	uint64_t number = 0;
	bool ok = false;

	switch (key->kind) {
	case KEY_WORD:
		return word_read(at, key, value);
	case KEY_TEXT:
		return text_read(at, key->room, value);
	case KEY_SECONDS:
		return number_read(at, value, SECONDS_MAX);
	case KEY_STATES:
		return states_read(at, value);
	case KEY_NUMBER:
		ok = number_read(&number, value, UINT32_MAX);
		*(uint32_t *)at = (uint32_t)number;
		return ok;
	case KEY_DAY:
		return json_is_string(value) && clock_day_parse(json_string_value(value), at);
	case KEY_BOOL:
		*(bool *)at = json_is_true(value);
		return json_is_boolean(value);
	case KEY_NETWORK:
	case KEY_ADDRESS:
		return network_read(at, key->kind == KEY_ADDRESS, value);
	}
	return false;
}

/* All keys but "command" into the request; *given: those that were there, a bit each. */
static int keys_read(json_t *root, const struct key *keys, size_t keys_n, void *request,
	unsigned *given, struct err *err)
{
	const char *word;
	json_t *value;

	*given = 0;
	json_object_foreach(root, word, value)
	{
		size_t i = 0;

		while (i < keys_n && strcmp(keys[i].word, word) != 0)
			i++;
		if (i == keys_n && strcmp(word, "command") != 0)
			return err_set(err, "the request has a key that its command does not know");
		if (i < keys_n && !key_read(request, &keys[i], value))
			return err_set(err, "the value of \"%s\" cannot be used", keys[i].word);
		if (i < keys_n)
			*given |= 1u << i;
	}
	return 0;
}

/* What an action needs and what it takes besides, a bit each: a key without effect was meant for
 * another. Key 0 is "action". */
struct key_rule {
	unsigned needs;
	unsigned takes;
};

static int keys_check(const struct key *keys, size_t keys_n, unsigned given,
	const struct key_rule *rule, const char *action, struct err *err)
{
	unsigned takes = rule->takes | rule->needs | 1u;

	for (unsigned i = 0; i < keys_n; i++) {
		if (rule->needs & ~given & 1u << i)
			return err_set(err, "%s needs \"%s\"", action, keys[i].word);
		if (given & ~takes & 1u << i)
			return err_set(err, "%s does not take \"%s\"", action, keys[i].word);
	}
	return 0;
}

/* ---- queue ---- */

#define QUEUE_AT(member)   offsetof(struct control_queue_request, member)
#define QUEUE_TEXT(member) QUEUE_AT(member), sizeof(((struct control_queue_request *)0)->member)

static const struct key queue_keys[] = {
	{"action", KEY_WORD, QUEUE_AT(action), CONTROL_QUEUE_ACTIONS, control_queue_action_words},
	{"id", KEY_TEXT, QUEUE_TEXT(id), NULL},
	{"after", KEY_TEXT, QUEUE_TEXT(after), NULL},
	{"sender", KEY_TEXT, QUEUE_TEXT(sender), NULL},
	{"recipient", KEY_TEXT, QUEUE_TEXT(recipient), NULL},
	{"domain", KEY_TEXT, QUEUE_TEXT(domain), NULL},
	{"destination", KEY_TEXT, QUEUE_TEXT(destination), NULL},
	{"states", KEY_STATES, QUEUE_AT(states), 0, NULL},
	{"older_seconds", KEY_SECONDS, QUEUE_AT(older_s), 0, NULL},
	{"younger_seconds", KEY_SECONDS, QUEUE_AT(younger_s), 0, NULL},
	{"limit", KEY_NUMBER, QUEUE_AT(limit), 0, NULL},
	{"all", KEY_BOOL, QUEUE_AT(all), 0, NULL},
};

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
	unsigned given;

	if (keys_read(root, queue_keys, COUNT_OF(queue_keys), queue, &given, err) < 0)
		return -1;
	return queue_check(queue, err);
}

/* ---- fence ---- */

#define FENCE_AT(member) offsetof(struct control_fence_request, member)

enum fence_key {
	FENCE_ACTION,
	FENCE_BY,
	FENCE_NETWORK,
	FENCE_ADDRESS,
	FENCE_FOR,
	FENCE_FROM,
	FENCE_LIMIT
};

static const struct key fence_keys[] = {
	[FENCE_ACTION] = {"action", KEY_WORD, FENCE_AT(action), CONTROL_FENCE_ACTIONS,
		control_fence_action_words},
	[FENCE_BY] = {"order", KEY_WORD, FENCE_AT(order), CONTROL_FENCE_ORDERS,
		control_fence_order_words},
	[FENCE_NETWORK] = {"network", KEY_NETWORK, FENCE_AT(network), 0, NULL},
	[FENCE_ADDRESS] = {"address", KEY_ADDRESS, FENCE_AT(network), 0, NULL},
	[FENCE_FOR] = {"seconds", KEY_SECONDS, FENCE_AT(seconds), 0, NULL},
	[FENCE_FROM] = {"from", KEY_NUMBER, FENCE_AT(from), 0, NULL},
	[FENCE_LIMIT] = {"limit", KEY_NUMBER, FENCE_AT(limit), 0, NULL},
};

static const struct key_rule fence_rules[CONTROL_FENCE_ACTIONS] = {
	[CONTROL_FENCE_STATUS] = {0, 0},
	[CONTROL_FENCE_TOP] = {0, 1u << FENCE_BY | 1u << FENCE_LIMIT},
	[CONTROL_FENCE_LIST] = {0, 1u << FENCE_FROM | 1u << FENCE_LIMIT},
	[CONTROL_FENCE_EXPLAIN] = {1u << FENCE_ADDRESS, 0},
	[CONTROL_FENCE_SAMPLES] = {0, 1u << FENCE_LIMIT},
	[CONTROL_FENCE_ALLOW] = {1u << FENCE_NETWORK, 1u << FENCE_FOR},
	[CONTROL_FENCE_BLOCK] = {1u << FENCE_NETWORK, 1u << FENCE_FOR},
	[CONTROL_FENCE_UNBLOCK] = {1u << FENCE_NETWORK, 0},
	[CONTROL_FENCE_FORGET] = {1u << FENCE_ADDRESS, 0},
};

static int fence_read(json_t *root, struct control_fence_request *fence, struct err *err)
{
	unsigned given;

	if (keys_read(root, fence_keys, COUNT_OF(fence_keys), fence, &given, err) < 0)
		return -1;
	return keys_check(fence_keys, COUNT_OF(fence_keys), given, &fence_rules[fence->action],
		control_fence_action_words[fence->action], err);
}

/* ---- sts ---- */

#define STS_AT(member)   offsetof(struct control_sts_request, member)
#define STS_TEXT(member) STS_AT(member), sizeof(((struct control_sts_request *)0)->member)

enum sts_key { STS_ACTION, STS_DOMAIN, STS_AFTER, STS_FROM, STS_DAY, STS_DAYS, STS_LIMIT };

static const struct key sts_keys[] = {
	[STS_ACTION] = {"action", KEY_WORD, STS_AT(action), CONTROL_STS_ACTIONS,
		control_sts_action_words},
	[STS_DOMAIN] = {"domain", KEY_TEXT, STS_TEXT(domain), NULL},
	[STS_AFTER] = {"after", KEY_TEXT, STS_TEXT(after), NULL},
	[STS_FROM] = {"from", KEY_NUMBER, STS_AT(from), 0, NULL},
	[STS_DAY] = {"day", KEY_DAY, STS_AT(day), 0, NULL},
	[STS_DAYS] = {"days", KEY_NUMBER, STS_AT(days), 0, NULL},
	[STS_LIMIT] = {"limit", KEY_NUMBER, STS_AT(limit), 0, NULL},
};

static const struct key_rule sts_rules[CONTROL_STS_ACTIONS] = {
	[CONTROL_STS_RECORDS] = {0, 1u << STS_DOMAIN | 1u << STS_FROM | 1u << STS_LIMIT},
	[CONTROL_STS_REPORT] = {0,
		1u << STS_DOMAIN | 1u << STS_AFTER | 1u << STS_DAY | 1u << STS_LIMIT},
	[CONTROL_STS_POLICIES] = {0, 1u << STS_DOMAIN | 1u << STS_AFTER | 1u << STS_LIMIT},
	[CONTROL_STS_WATCH] = {0, 1u << STS_DOMAIN | 1u << STS_DAYS | 1u << STS_LIMIT},
};

static int sts_read(json_t *root, struct control_sts_request *sts, struct err *err)
{
	unsigned given;

	if (keys_read(root, sts_keys, COUNT_OF(sts_keys), sts, &given, err) < 0)
		return -1;
	for (char *c = sts->domain; *c != '\0'; c++)
		*c = *c >= 'A' && *c <= 'Z' ? (char)(*c + ('a' - 'A')) : *c;
	if (sts->domain[0] != '\0' && (sts->from != 0 || sts->after[0] != '\0'))
		return err_set(err, "\"domain\" excludes \"from\" and \"after\"");
	return keys_check(sts_keys, COUNT_OF(sts_keys), given, &sts_rules[sts->action],
		control_sts_action_words[sts->action], err);
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
	if (request->command == CONTROL_COMMAND_FENCE)
		return fence_read(root, &request->fence, err);
	if (request->command == CONTROL_COMMAND_STS)
		return sts_read(root, &request->sts, err);
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
