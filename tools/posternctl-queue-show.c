/* SPDX-License-Identifier: MIT */
/*
 * posternctl-queue-show.c -- the queue for a person: who waits, since when, for what.
 *
 * The keys are made in gateway/queue.c. Addresses, replies and headers are strangers' texts: all of
 * them go through show_clean(). Long ones are cut in tables, `queue show` and --json have them
 * whole.
 */
#include <string.h>

#include "base/clock.h"
#include "tools/posternctl.h"

#define ADDRESS_MAX 60 /* characters in a table */
#define REPLY_MAX   70

static json_int_t now_s(void)
{
	return (json_int_t)(clock_real_us() / 1000000);
}

/* "42s", "12m", "3h12m", "2d4h" */
static void age_format(char *out, size_t n, json_int_t seconds)
{
	long long s = seconds > 0 ? seconds : 0;

	if (s >= 86400)
		snprintf(out, n, "%lldd%lldh", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		snprintf(out, n, "%lldh%02lldm", s / 3600, s / 60 % 60);
	else if (s >= 60)
		snprintf(out, n, "%lldm%02llds", s / 60, s % 60);
	else
		snprintf(out, n, "%llds", s);
}

static void since_format(char *out, size_t n, const json_t *row, const char *key)
{
	json_int_t then = show_number_of(row, key);

	if (then == 0)
		snprintf(out, n, "-");
	else
		age_format(out, n, now_s() - then);
}

/* When something is due: "in 3m", "now". */
static void until_format(char *out, size_t n, const json_t *row, const char *key)
{
	json_int_t left = show_number_of(row, key) - now_s();
	char age[32];

	age_format(age, sizeof(age), left);
	if (left > 0)
		snprintf(out, n, "in %s", age);
	else
		snprintf(out, n, "now");
}

/* "532", "14.2k", "3.0M" */
static void size_format(char *out, size_t n, json_int_t octets)
{
	static const char units[] = "kMGT";
	double value = (double)octets / 1024;
	size_t unit = 0;

	if (octets < 1024) {
		snprintf(out, n, "%lld", (long long)octets);
		return;
	}
	for (; value >= 1000 && unit + 1 < sizeof(units) - 1; unit++)
		value /= 1024;
	snprintf(out, n, "%.1f%c", value, units[unit]);
}

/* At most `max` characters, the last three of them dots when something was cut. */
static void cut_format(char *out, size_t n, const char *text, size_t max)
{
	size_t end = 0, chars = 0;

	for (size_t i = 0; text[i] != '\0'; i++) {
		if (((unsigned char)text[i] & 0xc0) == 0x80)
			continue;
		if (chars == max - 3)
			end = i;
		chars++;
	}
	if (chars > max)
		snprintf(out, n, "%.*s...", (int)end, text);
	else
		snprintf(out, n, "%s", text);
}

static void sender_format(char *out, size_t n, const json_t *row, size_t max)
{
	const char *sender = show_string_of(row, "sender");

	cut_format(out, n, sender[0] != '\0' ? sender : "<>", max);
}

/* ---- list ---- */

static void recipients_format(char *out, size_t n, const json_t *row)
{
	const json_t *first = json_array_get(json_object_get(row, "recipients"), 0);
	json_int_t more = show_number_of(row, "recipients_total") - 1;
	char address[SHOW_CELL_MAX];

	cut_format(address, sizeof(address), show_string_of(first, "address"), ADDRESS_MAX);
	if (more > 0)
		snprintf(out, n, "%s +%lld", address, (long long)more);
	else
		snprintf(out, n, "%s", address);
}

static void due_format(char *out, size_t n, const json_t *row)
{
	if (strcmp(show_string_of(row, "state"), "deferred") == 0)
		until_format(out, n, row, "due_seconds");
	else
		snprintf(out, n, "-");
}

enum {
	LIST_ID,
	LIST_STATE,
	LIST_AGE,
	LIST_SIZE,
	LIST_TRIES,
	LIST_NEXT,
	LIST_SENDER,
	LIST_RECIPIENTS,
	LIST_LAST
};

static void message_cell(const json_t *row, int column, char *out, size_t n)
{
	switch (column) {
	case LIST_ID:
		snprintf(out, n, "%s", show_string_of(row, "id"));
		return;
	case LIST_STATE:
		snprintf(out, n, "%s", show_string_of(row, "state"));
		return;
	case LIST_AGE:
		since_format(out, n, row, "arrived_seconds");
		return;
	case LIST_SIZE:
		size_format(out, n, show_number_of(row, "size"));
		return;
	case LIST_TRIES:
		snprintf(out, n, "%lld", (long long)show_number_of(row, "attempts"));
		return;
	case LIST_NEXT:
		due_format(out, n, row);
		return;
	case LIST_SENDER:
		sender_format(out, n, row, ADDRESS_MAX);
		return;
	case LIST_RECIPIENTS:
		recipients_format(out, n, row);
		return;
	default:
		cut_format(out, n, show_string_of(row, "last"), REPLY_MAX);
	}
}

static const struct show_table message_table = {
	{"ID", "STATE", "AGE", "SIZE", "TRIES", "NEXT", "SENDER", "RECIPIENTS", "LAST", NULL},
	message_cell, 1u << LIST_AGE | 1u << LIST_SIZE | 1u << LIST_TRIES};

void show_messages(const json_t *messages, bool more)
{
	size_t n = json_array_size(messages);

	show_table(&message_table, messages);
	printf("\n  %zu message%s%s\n", n, n == 1 ? "" : "s",
		more ? "; there are more (--limit, or queue count)" : "");
}

/* ---- count ---- */

enum {
	TALLY_NAME,
	TALLY_ACTIVE,
	TALLY_READY,
	TALLY_DEFERRED,
	TALLY_HELD,
	TALLY_RECIPIENTS,
	TALLY_OLDEST,
	TALLY_DOWN,
	TALLY_LAST
};

static void tally_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {[TALLY_ACTIVE] = "active",
		[TALLY_READY] = "ready",
		[TALLY_DEFERRED] = "deferred",
		[TALLY_HELD] = "held",
		[TALLY_RECIPIENTS] = "recipients"};

	switch (column) {
	case TALLY_NAME:
		cut_format(out, n, show_string_of(row, "destination"), ADDRESS_MAX);
		return;
	case TALLY_OLDEST:
		since_format(out, n, row, "oldest_seconds");
		return;
	case TALLY_DOWN:
		snprintf(out, n, "-");
		if (json_is_true(json_object_get(row, "down")))
			until_format(out, n, row, "due_seconds");
		return;
	case TALLY_LAST:
		cut_format(out, n, show_string_of(row, "last"), REPLY_MAX);
		return;
	default:
		snprintf(out, n, "%lld", (long long)show_number_of(row, keys[column]));
	}
}

static const struct show_table tally_table = {
	{"DESTINATION", "ACTIVE", "READY", "DEFERRED", "HELD", "RECIPIENTS", "OLDEST", "DOWN, NEXT",
		"LAST", NULL},
	tally_cell,
	1u << TALLY_ACTIVE | 1u << TALLY_READY | 1u << TALLY_DEFERRED | 1u << TALLY_HELD |
		1u << TALLY_RECIPIENTS | 1u << TALLY_OLDEST};

void show_tallies(const json_t *queue)
{
	const json_t *states = json_object_get(queue, "states");
	const json_t *other = json_object_get(queue, "other");
	json_t *rows = json_array();
	json_int_t n = show_number_of(queue, "matched");
	char age[32];

	since_format(age, sizeof(age), queue, "oldest_seconds");
	printf("%lld message%s: %lld active, %lld ready, %lld deferred, %lld held; oldest %s\n",
		(long long)n, n == 1 ? "" : "s", (long long)show_number_of(states, "active"),
		(long long)show_number_of(states, "ready"),
		(long long)show_number_of(states, "deferred"),
		(long long)show_number_of(states, "held"), age);
	json_array_extend(rows, json_object_get(queue, "destinations"));
	if (json_is_object(other)) {
		json_t *row = json_copy((json_t *)other);
		char name[48];

		snprintf(name, sizeof(name), "(%lld others)",
			(long long)show_number_of(queue, "other_destinations"));
		json_object_set_new(row, "destination", json_string(name));
		json_array_append_new(rows, row);
	}
	show_table(&tally_table, rows);
	json_decref(rows);
}

/* ---- show ---- */

static void line_put(const char *title, const char *text)
{
	printf("%-12s ", title);
	show_clean(stdout, text);
	putchar('\n');
}

static void recipient_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {"fate", "address", "destination"};

	snprintf(out, n, "%s", show_string_of(row, keys[column]));
}

static void try_cell(const json_t *row, int column, char *out, size_t n)
{
	if (column == 0)
		show_time_format(out, n, show_number_of(row, "seconds"));
	else if (column == 1)
		snprintf(out, n, "%lld", (long long)show_number_of(row, "recipients"));
	else
		snprintf(out, n, "%s", show_string_of(row, column == 2 ? "next_hop" : "text"));
}

static const struct show_table recipient_table = {
	{"FATE", "RECIPIENT", "DESTINATION", NULL}, recipient_cell, 0};
static const struct show_table try_table = {
	{"WHEN", "RECIPIENTS", "NEXT HOP", "RESULT", NULL}, try_cell, 1u << 1};

/* Line by line: the line ends are ours, everything else is cleaned. */
static void header_put(const char *text)
{
	char line[1100]; /* over the 998 octets that a line may have */

	while (*text != '\0') {
		size_t n = strcspn(text, "\n"), kept = min_size(n, sizeof(line) - 1);

		memcpy(line, text, kept);
		kept -= kept > 0 && line[kept - 1] == '\r';
		line[kept] = '\0';
		for (char *p = line; *p != '\0'; p++)
			if (*p == '\t')
				*p = ' ';
		printf("  ");
		show_clean(stdout, line);
		putchar('\n');
		text += n + (text[n] == '\n');
	}
}

void show_message(const json_t *message)
{
	const json_t *recipients = json_object_get(message, "recipients");
	const char *header = json_string_value(json_object_get(message, "header"));
	json_int_t total = show_number_of(message, "recipients_total");
	char text[SHOW_CELL_MAX], part[64], date[64];

	line_put("queue id", show_string_of(message, "id"));
	due_format(part, sizeof(part), message);
	snprintf(text, sizeof(text), "%s%s%s", show_string_of(message, "state"),
		part[0] == '-' ? "" : ", next try ", part[0] == '-' ? "" : part);
	line_put("state", text);
	show_time_format(date, sizeof(date), show_number_of(message, "arrived_seconds"));
	since_format(part, sizeof(part), message, "arrived_seconds");
	snprintf(text, sizeof(text), "%s, %s ago", date, part);
	line_put("arrived", text);
	size_format(text, sizeof(text), show_number_of(message, "size"));
	line_put("size", text);
	sender_format(text, sizeof(text), message, SHOW_CELL_MAX - 1);
	line_put("sender", text);
	if (json_is_string(json_object_get(message, "envid")))
		line_put("envelope id", show_string_of(message, "envid"));
	snprintf(text, sizeof(text), "%lld", (long long)show_number_of(message, "attempts"));
	line_put("tries", text);
	show_table(&recipient_table, recipients);
	if (total > (json_int_t)json_array_size(recipients))
		printf("  and %lld more\n",
			(long long)total - (long long)json_array_size(recipients));
	show_table(&try_table, json_object_get(message, "tries"));
	putchar('\n');
	header_put(header != NULL ? header : "(the header could not be read)");
}
