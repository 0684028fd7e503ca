/* SPDX-License-Identifier: MIT */
/*
 * request.c -- what a client of the control socket may say: a word, or JSON that carries the word.
 *
 * The word is for a person with a terminal and socat, the JSON for programs, and for keys that
 * later commands will need. Unknown keys are errors: a misspelt one must not be done without.
 */
#include "control/control-private.h"

const char *const control_command_words[CONTROL_COMMAND_COUNT] = {
	[CONTROL_COMMAND_STATUS] = "status",
	[CONTROL_COMMAND_METRICS] = "metrics",
	[CONTROL_COMMAND_RELOAD] = "reload",
	[CONTROL_COMMAND_STOP] = "stop",
};

static int word_find(struct span word, enum control_command *command, struct err *err)
{
	for (int i = 0; i < CONTROL_COMMAND_COUNT; i++) {
		if (!span_equal(word, span_str(control_command_words[i])))
			continue;
		*command = (enum control_command)i;
		return 0;
	}
	return err_set(err, "unknown command; there are: status, metrics, reload, stop");
}

static int object_read(const json_t *root, enum control_command *command, struct err *err)
{
	const json_t *word = json_object_get(root, "command");

	if (!json_is_string(word))
		return err_set(err, "the request needs \"command\" with a string");
	if (json_object_size(root) != 1)
		return err_set(err, "the request has keys other than \"command\"");
	return word_find(span_of(json_string_value(word), json_string_length(word)), command, err);
}

static int json_read(struct span line, enum control_command *command, struct err *err)
{
	json_error_t error;
	json_t *root = json_loadb((const char *)line.p, line.n, JSON_REJECT_DUPLICATES, &error);
	int result;

	if (root == NULL)
		return err_set(err, "the request is not JSON");
	result = object_read(root, command, err);
	json_decref(root);
	return result;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

int control_request_parse(struct span line, enum control_command *command, struct err *err)
{
	while (line.n > 0 && is_blank(line.p[0]))
		span_take(&line, 1);
	while (line.n > 0 && is_blank(line.p[line.n - 1]))
		line.n--;
	if (line.n == 0)
		return err_set(err, "the request is empty");
	if (line.p[0] == '{')
		return json_read(line, command, err);
	return word_find(line, command, err);
}
