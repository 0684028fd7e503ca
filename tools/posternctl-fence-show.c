/* SPDX-License-Identifier: MIT */
/*
 * posternctl-fence-show.c -- the fence for a person: where it runs, whom it refuses, what is left.
 *
 * The keys are made in gateway/fence_json.c. Rates and amounts of octets carry their units, other
 * numbers are what the budget counts. A limit that is not there is "-".
 */
#include <string.h>

#include "base/clock.h"
#include "tools/posternctl.h"

const char *show_fence_running(const char *running)
{
	static const struct {
		const char *word;
		const char *text;
	} rows[] = {{"kernel", "in the kernel"}, {"user", "in the gateway only"}, {"off", "off"}};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (strcmp(rows[i].word, running) == 0)
			return rows[i].text;
	return running;
}

static bool is_octets(const char *budget)
{
	return strstr(budget, "bytes") != NULL;
}

static void amount_format(char *out, size_t n, const json_t *value, bool octets)
{
	if (!json_is_integer(value))
		snprintf(out, n, "-");
	else if (octets)
		show_octets_format(out, n, json_integer_value(value));
	else
		snprintf(out, n, "%lld", (long long)json_integer_value(value));
}

/* The amount at `key` of a row that is about a budget. */
static void budget_format(char *out, size_t n, const json_t *row, const char *key)
{
	bool rate = strcmp(key, "rate") == 0 || strcmp(key, "all_rate") == 0;
	const json_t *value = json_object_get(row, key);
	char amount[64];

	amount_format(amount, sizeof(amount), value, is_octets(show_string_of(row, "budget")));
	snprintf(out, n, "%s%s", amount, rate && json_is_integer(value) ? "/s" : "");
}

/* "12 s", or "-" for null. */
static void left_format(char *out, size_t n, const json_t *row, const char *key)
{
	const json_t *value = json_object_get(row, key);

	if (json_is_integer(value))
		show_span_format(out, n, json_integer_value(value));
	else
		snprintf(out, n, "-");
}

static void ago_format(char *out, size_t n, const json_t *row, const char *key)
{
	json_int_t ago = (json_int_t)(clock_real_us() / 1000000) - show_number_of(row, key);

	if (json_is_integer(json_object_get(row, key)))
		show_span_format(out, n, ago > 0 ? ago : 0);
	else
		snprintf(out, n, "-");
}

/* ---- status ---- */

enum {
	BUDGET_NAME,
	BUDGET_RATE,
	BUDGET_BURST,
	BUDGET_ALL_RATE,
	BUDGET_ALL_BURST,
	BUDGET_ALL_LEFT,
	BUDGET_BEHAVED_LEFT,
	BUDGET_WHERE,
	BUDGET_COLUMNS
};

static void budget_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[BUDGET_COLUMNS] = {"budget", "rate", "burst", "all_rate",
		"all_burst", "all_left", "behaved_left", "where"};

	if (column == BUDGET_NAME || column == BUDGET_WHERE)
		snprintf(out, n, "%s", show_string_of(row, keys[column]));
	else
		budget_format(out, n, row, keys[column]);
}

static void gauge_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {"gauge", "standing", "source_max", "now", "max"};

	if (column <= 1)
		snprintf(out, n, "%s", show_string_of(row, keys[column]));
	else
		amount_format(out, n, json_object_get(row, keys[column]), false);
}

enum { COUNT_WHERE, COUNT_CLASS, COUNT_VERDICT, COUNT_REASON, COUNT_PACKETS, COUNT_BYTES };

static void count_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {
		"where", "class", "verdict", "reason", "packets", "bytes"};

	if (column <= COUNT_REASON)
		snprintf(out, n, "%s", show_string_of(row, keys[column]));
	else
		amount_format(out, n, json_object_get(row, keys[column]), column == COUNT_BYTES);
}

static const struct show_table budget_table = {{"BUDGET", "RATE", "BURST", "ALL RATE", "ALL BURST",
						       "ALL LEFT", "BEHAVED LEFT", "WHERE", NULL},
	budget_cell, 0x7e};
static const struct show_table gauge_table = {
	{"AT A TIME", "STANDING", "A SOURCE", "ALL NOW", "ALL", NULL}, gauge_cell, 0x1c};
static const struct show_table count_table = {
	{"WHERE", "CLASS", "VERDICT", "REASON", "COUNT", "OCTETS", NULL}, count_cell,
	1u << COUNT_PACKETS | 1u << COUNT_BYTES};

/* Only a part of a large table is counted. */
static const char *at_least(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key)) ? "at least " : "";
}

static void numbers_put(const json_t *fence)
{
	const json_t *sources = json_object_get(fence, "sources");
	char text[SHOW_CELL_MAX];

	snprintf(text, sizeof(text), "%s%lld in the kernel, %lld in the gateway, at most %lld each",
		at_least(sources, "kernel_at_least"), (long long)show_number_of(sources, "kernel"),
		(long long)show_number_of(sources, "gateway"),
		(long long)show_number_of(sources, "max"));
	show_line("sources", text);
	snprintf(text, sizeof(text), "%s%lld behaved, %s%lld under a penalty",
		at_least(fence, "behaved_at_least"), (long long)show_number_of(fence, "behaved"),
		at_least(fence, "penalties_at_least"),
		(long long)show_number_of(fence, "penalties"));
	show_line("remembered", text);
	snprintf(text, sizeof(text), "%lld allowed or blocked, at most %lld",
		(long long)show_number_of(fence, "networks"),
		(long long)show_number_of(fence, "networks_max"));
	show_line("networks", text);
	if (show_number_of(fence, "samples_dropped") == 0)
		return;
	snprintf(text, sizeof(text), "%lld lost for want of room",
		(long long)show_number_of(fence, "samples_dropped"));
	show_line("samples", text);
}

void show_fence(const json_t *fence)
{
	printf("the fence is ");
	show_clean(stdout, show_fence_running(show_string_of(fence, "running")));
	printf("\n\n");
	if (json_is_string(json_object_get(fence, "why")))
		show_line("why", show_string_of(fence, "why"));
	if (json_is_string(json_object_get(fence, "hooks")))
		show_line("hooks", show_string_of(fence, "hooks"));
	if (json_is_string(json_object_get(fence, "pin")))
		show_line("pinned in", show_string_of(fence, "pin"));
	if (strcmp(show_string_of(fence, "running"), "off") == 0)
		return;
	numbers_put(fence);
	show_table(&budget_table, json_object_get(fence, "budgets"));
	show_table(&gauge_table, json_object_get(fence, "gauges"));
	show_table(&count_table, json_object_get(fence, "counts"));
}

/* ---- top ---- */

enum {
	SOURCE_NAME,
	SOURCE_STANDING,
	SOURCE_SEEN,
	SOURCE_OPEN,
	SOURCE_SHAKING,
	SOURCE_PASSED,
	SOURCE_REFUSED,
	SOURCE_PAUSED,
	SOURCE_OCTETS,
	SOURCE_STRIKES,
	SOURCE_PENALTY,
	SOURCE_COLUMNS
};

static void source_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[SOURCE_COLUMNS] = {"source", "standing", "seen_seconds",
		"open", "shaking", "passed", "refused", "paused", NULL, "strikes",
		"penalty_seconds"};

	if (column <= SOURCE_STANDING)
		snprintf(out, n, "%s", show_string_of(row, keys[column]));
	else if (column == SOURCE_SEEN)
		ago_format(out, n, row, keys[column]);
	else if (column == SOURCE_OCTETS)
		show_octets_format(out, n,
			show_number_of(row, "plain_bytes") + show_number_of(row, "upgraded_bytes"));
	else if (column == SOURCE_PENALTY)
		left_format(out, n, row, keys[column]);
	else
		amount_format(out, n, json_object_get(row, keys[column]), false);
}

static const struct show_table source_table = {
	{"SOURCE", "STANDING", "SEEN, AGO", "OPEN", "SHAKING", "PASSED", "REFUSED", "PAUSED",
		"OCTETS", "STRIKES", "PENALTY", NULL},
	source_cell, 0x7fc};

void show_sources(const json_t *fence)
{
	const json_t *sources = json_object_get(fence, "sources");

	if (json_array_size(sources) == 0)
		puts("no source was seen yet");
	show_table(&source_table, sources);
	if (json_is_true(json_object_get(fence, "part")))
		puts("\n  of a part of all sources; asked again, of the next part");
}

/* ---- list ---- */

static void network_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {"network", "action", "origin", "left_seconds"};

	if (column < 3)
		snprintf(out, n, "%s", show_string_of(row, keys[column]));
	else if (json_is_null(json_object_get(row, keys[column])))
		snprintf(out, n, "for good");
	else
		left_format(out, n, row, keys[column]);
}

static const struct show_table network_table = {
	{"NETWORK", "ACTION", "BY", "LEFT", NULL}, network_cell, 1u << 3};

void show_networks(const json_t *networks)
{
	size_t n = json_array_size(networks);

	if (n == 0)
		puts("no network is allowed or blocked");
	show_table(&network_table, networks);
	if (n > 0)
		printf("\n  %zu network%s\n", n, n == 1 ? "" : "s");
}

/* ---- explain ---- */

enum {
	LEFT_NAME,
	LEFT_RATE,
	LEFT_BURST,
	LEFT_LEFT,
	LEFT_ALL_RATE,
	LEFT_ALL_BURST,
	LEFT_ALL_LEFT,
	LEFT_WHERE,
	LEFT_COLUMNS
};

static void left_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[LEFT_COLUMNS] = {
		"budget", "rate", "burst", "left", "all_rate", "all_burst", "all_left", "where"};

	if (column == LEFT_NAME || column == LEFT_WHERE)
		snprintf(out, n, "%s", show_string_of(row, keys[column]));
	else
		budget_format(out, n, row, keys[column]);
}

static const struct show_table left_table = {
	{"BUDGET", "RATE", "BURST", "LEFT", "ALL RATE", "ALL BURST", "ALL LEFT", "WHERE", NULL},
	left_cell, 0x7e};

static void verdict_put(const json_t *fence)
{
	bool pass = strcmp(show_string_of(fence, "verdict"), "pass") == 0;
	char text[SHOW_CELL_MAX];

	if (pass)
		snprintf(text, sizeof(text), "a new connection would pass (%s)",
			show_string_of(fence, "reason"));
	else
		snprintf(text, sizeof(text), "a new connection would be refused: %s (%s)",
			show_string_of(fence, "text"), show_string_of(fence, "reason"));
	show_line("now", text);
}

static void standing_put(const json_t *fence)
{
	char text[SHOW_CELL_MAX], left[32];

	left_format(left, sizeof(left), fence, "behaved_seconds");
	snprintf(text, sizeof(text), "%s%s%s", show_string_of(fence, "standing"),
		left[0] != '-' ? ", remembered for " : "", left[0] != '-' ? left : "");
	show_line("standing", text);
}

static void conduct_put(const json_t *fence)
{
	const json_t *max = json_object_get(fence, "strikes_max");
	char text[SHOW_CELL_MAX], left[32], limit[32];

	standing_put(fence);
	left_format(left, sizeof(left), fence, "penalty_seconds");
	amount_format(limit, sizeof(limit), max, false);
	snprintf(text, sizeof(text), "%s%s; %lld strikes of %s", left[0] != '-' ? left : "none",
		left[0] != '-' ? " left" : "", (long long)show_number_of(fence, "strikes"), limit);
	show_line("penalty", text);
}

static void listed_put(const json_t *listed)
{
	char text[SHOW_CELL_MAX], left[32];

	left_format(left, sizeof(left), listed, "left_seconds");
	if (json_is_object(listed))
		snprintf(text, sizeof(text), "%s %s, by the %s, %s%s",
			show_string_of(listed, "action"), show_string_of(listed, "network"),
			show_string_of(listed, "origin"), left[0] != '-' ? "for " : "for good",
			left[0] != '-' ? left : "");
	else
		snprintf(text, sizeof(text), "no");
	show_line("listed", text);
}

static void state_put(const json_t *state)
{
	char text[SHOW_CELL_MAX], ago[32], plain[32], upgraded[32];

	if (!json_is_object(state)) {
		show_line("seen", "not remembered");
		return;
	}
	ago_format(ago, sizeof(ago), state, "seen_seconds");
	show_octets_format(plain, sizeof(plain), show_number_of(state, "plain_bytes"));
	show_octets_format(upgraded, sizeof(upgraded), show_number_of(state, "upgraded_bytes"));
	snprintf(text, sizeof(text), "%s ago", ago);
	show_line("seen", text);
	snprintf(text, sizeof(text), "%lld open, %lld in a handshake, %lld passed, %lld refused",
		(long long)show_number_of(state, "open"),
		(long long)show_number_of(state, "shaking"),
		(long long)show_number_of(state, "passed"),
		(long long)show_number_of(state, "refused"));
	show_line("connections", text);
	snprintf(text, sizeof(text), "%s plain, %s upgraded, %lld times paused", plain, upgraded,
		(long long)show_number_of(state, "paused"));
	show_line("traffic", text);
}

void show_explained(const json_t *fence)
{
	show_clean(stdout, show_string_of(fence, "address"));
	printf(" counts as ");
	show_clean(stdout, show_string_of(fence, "source"));
	printf("\n\n");
	verdict_put(fence);
	conduct_put(fence);
	listed_put(json_object_get(fence, "listed"));
	state_put(json_object_get(fence, "state"));
	show_table(&left_table, json_object_get(fence, "budgets"));
}

/* What was known of a source and is no more, in the words of explain. */
void show_forgotten(const json_t *fence)
{
	const json_t *dropped = json_object_get(fence, "dropped");
	char text[SHOW_CELL_MAX], left[32];

	show_clean(stdout, show_string_of(fence, "source"));
	printf(" is forgotten; what was known of it:\n\n");
	left_format(left, sizeof(left), dropped, "penalty_seconds");
	snprintf(text, sizeof(text), "%s%s; %lld strikes", left[0] != '-' ? left : "none",
		left[0] != '-' ? " left" : "", (long long)show_number_of(dropped, "strikes"));
	standing_put(dropped);
	show_line("penalty", text);
	state_put(json_object_get(dropped, "state"));
}

/* ---- samples ---- */

static void sample_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {
		"at_seconds", "address", "port", "class", "verdict", "reason", "hook"};

	if (column == 0)
		show_time_format(out, n, show_number_of(row, keys[column]));
	else if (column == 2)
		amount_format(out, n, json_object_get(row, keys[column]), false);
	else
		snprintf(out, n, "%s", show_string_of(row, keys[column]));
}

static const struct show_table sample_table = {
	{"WHEN", "ADDRESS", "PORT", "CLASS", "VERDICT", "REASON", "HOOK", NULL}, sample_cell,
	1u << 2};

void show_samples(const json_t *fence)
{
	const json_t *samples = json_object_get(fence, "samples");

	if (json_array_size(samples) == 0)
		puts("nothing was refused, or nothing is sampled");
	show_table(&sample_table, samples);
}
