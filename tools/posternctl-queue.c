/* SPDX-License-Identifier: MIT */
/*
 * posternctl-queue.c -- the queue commands: what they take, what is asked of the gateway.
 *
 * A list longer than one answer is asked for page by page; ids that are named are asked for one by
 * one. What deletes or bounces by filter is counted first and asked about on the terminal: the
 * number may have changed when the answer comes, the filter has not.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/posternctl.h"

#define LIMIT       100 /* messages in a list when nothing is said */
#define LIMIT_MAX   100000
#define PAGE_MAX    100 /* messages that are asked for at a time */
#define SECONDS_MAX (10ull * 365 * 86400)

enum words { WORDS_NONE, WORDS_ID, WORDS_DESTINATION, WORDS_CHANGE };

static const struct action {
	const char *word;
	enum words words;
	bool filter; /* takes one, or --all */
	bool limit;
	const char *done;     /* "N messages ..." */
	const char *question; /* asked before; NULL: none */
} actions[] = {
	{"list", WORDS_NONE, true, true, NULL, NULL},
	{"count", WORDS_NONE, true, true, NULL, NULL},
	{"show", WORDS_ID, false, false, NULL, NULL},
	{"retry", WORDS_CHANGE, true, false, "tried again now", NULL},
	{"hold", WORDS_CHANGE, true, false, "held", NULL},
	{"release", WORDS_CHANGE, true, false, "released", NULL},
	{"delete", WORDS_CHANGE, true, false, "deleted", "delete, without telling the senders,"},
	{"bounce", WORDS_CHANGE, true, false, "bounced", "bounce to their senders"},
	{"flush", WORDS_DESTINATION, false, false, "tried again now", NULL},
};

/* ---- options ---- */

bool time_parse(const char *text, uint64_t *seconds)
{
	static const char units[] = "smhd";
	static const uint64_t sizes[] = {1, 60, 3600, 86400};

	*seconds = 0;
	do {
		char *end;
		unsigned long long n = strtoull(text, &end, 10);
		const char *unit = *end != '\0' ? strchr(units, *end) : NULL;

		if (text[0] < '0' || text[0] > '9' || unit == NULL || n > SECONDS_MAX)
			return false;
		*seconds += n * sizes[unit - units];
		text = end + 1;
	} while (*text != '\0');
	return *seconds > 0 && *seconds <= SECONDS_MAX;
}

static bool state_option(json_t *filter, const char *value)
{
	static const char *const words[] = {"active", "ready", "deferred", "held"};
	json_t *states = json_object_get(filter, "states");
	bool known = false;

	for (size_t i = 0; i < COUNT_OF(words); i++)
		known = known || strcmp(words[i], value) == 0;
	if (!known)
		return false;
	if (states == NULL) {
		states = json_array();
		json_object_set_new(filter, "states", states);
	}
	return json_array_append_new(states, json_string(value)) == 0;
}

/* What the option takes, as a person is told. */
const char *queue_option_form(const char *name)
{
	if (strcmp(name, "limit") == 0)
		return "a number, 1 to 100000";
	if (strcmp(name, "state") == 0)
		return "active, ready, deferred or held";
	if (strcmp(name, "older-than") == 0 || strcmp(name, "younger-than") == 0)
		return "numbers with s, m, h or d, as 90s or 1d12h";
	return "a text in UTF-8";
}

bool queue_option(struct options *options, const char *name, const char *value)
{
	json_t *filter = options->filter;
	uint64_t seconds;
	char *end;

	if (strcmp(name, "limit") == 0) {
		unsigned long n = strtoul(value, &end, 10);

		options->limit = (uint32_t)n;
		return value[0] >= '0' && value[0] <= '9' && *end == '\0' && n >= 1 &&
		       n <= LIMIT_MAX;
	}
	if (strcmp(name, "state") == 0)
		return state_option(filter, value);
	if (strcmp(name, "older-than") == 0 || strcmp(name, "younger-than") == 0) {
		if (!time_parse(value, &seconds))
			return false;
		return json_object_set_new(filter,
			       name[0] == 'o' ? "older_seconds" : "younger_seconds",
			       json_integer((json_int_t)seconds)) == 0;
	}
	/* json_string() takes UTF-8 only, as the gateway does */
	return value[0] != '\0' && json_object_set_new(filter, name, json_string(value)) == 0;
}

/* ---- asking ---- */

/* The filter and what else the request needs; `key` may be NULL. A new reference. */
static json_t *request_make(
	const struct options *options, const char *action, const char *key, const char *value)
{
	json_t *request = json_copy(options->filter);

	json_object_set_new(request, "command", json_string("queue"));
	json_object_set_new(request, "action", json_string(action));
	if (key != NULL && json_object_set_new(request, key, json_string(value)) != 0) {
		json_decref(request);
		return NULL;
	}
	return request;
}

/* Takes the request. EXIT_OK and the answer's part, a new reference, or the complaint's code. */
static int queue_ask(const struct options *options, json_t *request, json_t **queue)
{
	char *line = request != NULL ? json_dumps(request, JSON_COMPACT) : NULL;
	json_t *answer = NULL;
	int result;

	json_decref(request);
	*queue = NULL;
	if (line == NULL)
		return complain(options, EXIT_USAGE, "queue", "an argument is not UTF-8");
	result = ask_for(options, line, "queue", &answer);
	free(line);
	if (result == EXIT_OK)
		*queue = json_incref(json_object_get(answer, "queue"));
	json_decref(answer);
	return result;
}

/* ---- looking ---- */

static bool is_filtered(const struct options *options)
{
	return json_object_size(options->filter) > 0;
}

static int list_put(const struct options *options, json_t *messages, const json_t *next)
{
	bool more = json_is_string(next);
	json_t *root;

	if (options->json) {
		root = json_pack("{s:O, s:O}", "messages", messages, "next", next);
		json_put(root);
		json_decref(root);
	} else if (json_array_size(messages) > 0) {
		show_messages(messages, more);
	} else {
		puts(is_filtered(options) ? "nothing in the queue matches" : "the queue is empty");
	}
	return json_array_size(messages) == 0 && is_filtered(options) ? EXIT_NOTHING : EXIT_OK;
}

static int list_run(const struct options *options)
{
	size_t limit = options->limit != 0 ? options->limit : LIMIT, got;
	json_t *messages = json_array(), *next = json_null(), *page = NULL;
	int result = EXIT_OK;

	do {
		json_t *request = request_make(options, "list",
			json_is_string(next) ? "after" : NULL, json_string_value(next));

		got = json_array_size(messages);
		json_object_set_new(request, "limit",
			json_integer((json_int_t)min_size(limit - got, PAGE_MAX)));
		json_decref(page);
		result = queue_ask(options, request, &page);
		json_array_extend(messages, json_object_get(page, "messages"));
		next = json_object_get(page, "next");
		/* A page without a message, but with a next one, would go on for ever. */
	} while (result == EXIT_OK && json_is_string(next) && json_array_size(messages) > got &&
		 json_array_size(messages) < limit);
	if (result == EXIT_OK)
		result = list_put(options, messages, next != NULL ? next : json_null());
	json_decref(page);
	json_decref(messages);
	return result;
}

static int count_run(const struct options *options)
{
	json_t *request = request_make(options, "count", NULL, NULL), *queue;
	int result;

	if (options->limit != 0)
		json_object_set_new(request, "limit", json_integer(options->limit));
	result = queue_ask(options, request, &queue);
	if (result != EXIT_OK)
		return result;
	if (options->json)
		json_put(queue);
	else
		show_tallies(queue);
	if (is_filtered(options) && show_number_of(queue, "matched") == 0)
		result = EXIT_NOTHING;
	json_decref(queue);
	return result;
}

static int show_run(const struct options *options, const char *id)
{
	json_t *queue;
	int result = queue_ask(options, request_make(options, "show", "id", id), &queue);

	if (result != EXIT_OK)
		return result;
	if (json_is_null(queue))
		result = complain(options, EXIT_NOTHING, id, "not in the queue");
	else if (options->json)
		json_put(queue);
	else
		show_message(queue);
	json_decref(queue);
	return result;
}

/* ---- changing ---- */

static int change_put(const struct options *options, const struct action *action, json_int_t n)
{
	json_t *root;

	if (options->json) {
		root = json_pack("{s:b, s:I}", "ok", 1, "matched", n);
		json_put(root);
		json_decref(root);
	} else {
		printf("%lld message%s %s\n", (long long)n, n == 1 ? "" : "s", action->done);
	}
	return n > 0 ? EXIT_OK : EXIT_NOTHING;
}

/* EXIT_OK: the operator wants it. */
static int confirm(const struct options *options, const struct action *action)
{
	json_t *queue;
	char line[16] = "";
	json_int_t n;
	int result;

	if (options->yes || action->question == NULL)
		return EXIT_OK;
	if (!isatty(STDIN_FILENO))
		return complain(options, EXIT_USAGE, action->word,
			"without a terminal to ask on, this needs --yes");
	result = queue_ask(options, request_make(options, "count", NULL, NULL), &queue);
	if (result != EXIT_OK)
		return result;
	n = show_number_of(queue, "matched");
	json_decref(queue);
	if (n == 0)
		return complain(
			options, EXIT_NOTHING, action->word, "nothing in the queue matches");
	fprintf(stderr, "%s %lld message%s? [y/N] ", action->question, (long long)n,
		n == 1 ? "" : "s");
	if (fgets(line, sizeof(line), stdin) == NULL || (line[0] != 'y' && line[0] != 'Y'))
		return complain(options, EXIT_FAILED, action->word, "nothing was changed");
	return EXIT_OK;
}

static int change_filtered(const struct options *options, const struct action *action)
{
	int result = confirm(options, action);
	json_t *request, *queue;

	if (result != EXIT_OK)
		return result;
	request = request_make(options, action->word, NULL, NULL);
	if (options->all)
		json_object_set_new(request, "all", json_true());
	result = queue_ask(options, request, &queue);
	if (result == EXIT_OK)
		result = change_put(options, action, show_number_of(queue, "matched"));
	json_decref(queue);
	return result;
}

/* Every id is tried; those that are not there are named. */
static int change_named(const struct options *options, const struct action *action)
{
	json_int_t n = 0;
	bool missing = false;

	for (int i = 2; i < options->words_n; i++) {
		const char *id = options->words[i];
		json_t *queue;
		int result =
			queue_ask(options, request_make(options, action->word, "id", id), &queue);
		bool found = show_number_of(queue, "matched") > 0;

		json_decref(queue);
		if (result != EXIT_OK)
			return result;
		n += found;
		missing = missing || !found;
		if (!found)
			fprintf(stderr, "posternctl: %s: not in the queue\n", id);
	}
	(void)change_put(options, action, n);
	return missing ? EXIT_NOTHING : EXIT_OK;
}

static int flush_run(const struct options *options, const struct action *action)
{
	json_t *queue;
	int result = queue_ask(
		options, request_make(options, "flush", "destination", options->words[2]), &queue);

	if (result == EXIT_OK)
		result = change_put(options, action, show_number_of(queue, "matched"));
	json_decref(queue);
	return result;
}

/* ---- the command ---- */

static const struct action *action_find(const char *word)
{
	for (size_t i = 0; i < COUNT_OF(actions); i++)
		if (strcmp(actions[i].word, word) == 0)
			return &actions[i];
	return NULL;
}

/* As the gateway prints one; no message has the id 0. */
static bool is_id(const char *word)
{
	size_t n = strlen(word);

	return n >= 1 && n <= 16 && strspn(word, "0123456789ABCDEFabcdef") == n &&
	       strspn(word, "0") < n;
}

static int ids_check(const struct options *options)
{
	for (int i = 2; i < options->words_n; i++)
		if (!is_id(options->words[i]))
			return usage_wrong(
				"a queue id is 16 hexadecimal digits as list shows them, "
				"not ",
				options->words[i]);
	return EXIT_OK;
}

/* EXIT_OK: words and options make sense together. */
static int words_check(const struct options *options, const struct action *action)
{
	int words_n = options->words_n > 2 ? options->words_n - 2 : 0;
	bool change = action->words == WORDS_CHANGE;
	bool filtered = is_filtered(options);

	if (filtered && !action->filter)
		return usage_wrong("a filter does not go with ", action->word);
	if (options->limit != 0 && !action->limit)
		return usage_wrong("--limit does not go with ", action->word);
	if ((options->all || options->yes) && !change)
		return usage_wrong("--all and --yes do not go with ", action->word);
	if (action->words == WORDS_NONE && words_n > 0)
		return usage_wrong("not understood: ", options->words[2]);
	if (action->words == WORDS_ID && words_n != 1)
		return usage_wrong("one queue id is needed by ", action->word);
	if (action->words == WORDS_DESTINATION && words_n != 1)
		return usage_wrong("one destination is needed by ", action->word);
	if (change && (words_n > 0) + filtered + options->all != 1)
		return usage_wrong(
			"either queue ids, a filter or --all is needed by ", action->word);
	return change || action->words == WORDS_ID ? ids_check(options) : EXIT_OK;
}

int queue_run(struct options *options)
{
	const char *word = options->words_n > 1 ? options->words[1] : "list";
	const struct action *action = action_find(word);
	int result;

	if (action == NULL)
		return usage_wrong("there is no command queue ", word);
	result = words_check(options, action);
	if (result != EXIT_OK)
		return result;
	if (strcmp(word, "list") == 0)
		return list_run(options);
	if (strcmp(word, "count") == 0)
		return count_run(options);
	if (action->words == WORDS_ID)
		return show_run(options, options->words[2]);
	if (action->words == WORDS_DESTINATION)
		return flush_run(options, action);
	return options->words_n > 2 ? change_named(options, action)
				    : change_filtered(options, action);
}
