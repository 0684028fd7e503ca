/* SPDX-License-Identifier: MIT */
/*
 * posternctl-sts-show.c -- what the gateway remembers of TLS with others, as tables for a person.
 *
 * The keys are made in gateway/sts_kept_json.c, gateway/watch/show.c and, within a report, by RFC 8460 4.4. A report is a tree;
 * tables are made of flat rows, so rows are made first. What a policy says is somebody else's.
 */
#include "tools/posternctl.h"

#include <string.h>

#define PATTERNS_SHOWN 2 /* of a policy in a line: a name may have 253 octets */

static const char *text_of(const json_t *row, const char *key, char *out, size_t n)
{
	const json_t *value = json_object_get(row, key);

	if (json_is_integer(value))
		snprintf(out, n, "%lld", (long long)json_integer_value(value));
	else
		snprintf(out, n, "%s", show_string_of(row, key));
	return out;
}

/* ---- report ---- */

static void policy_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {"domain", "policy", "good", "bad", "state"};

	(void)text_of(row, keys[column], out, n);
}

static void failure_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {"domain", "policy", "result-type",
		"failed-session-count", "receiving-mx-hostname", "receiving-ip",
		"failure-reason-code"};

	(void)text_of(row, keys[column], out, n);
}

static const struct show_table policy_table = {
	{"DOMAIN", "POLICY", "SUCCEEDED", "FAILED", "REPORT", NULL}, policy_cell,
	1u << 2 | 1u << 3};
static const struct show_table failure_table = {
	{"DOMAIN", "POLICY", "RESULT", "SESSIONS", "MX", "ADDRESS", "REASON", NULL}, failure_cell,
	1u << 3};

/* One of a report's policies into a row, and its failures into one each. */
static void policy_flatten(const json_t *report, const json_t *one, json_t *rows, json_t *failures)
{
	const json_t *policy = json_object_get(one, "policy");
	const json_t *summary = json_object_get(one, "summary");
	const json_t *details = json_object_get(one, "failure-details");
	const char *domain = show_string_of(policy, "policy-domain");
	const char *type = show_string_of(policy, "policy-type");

	json_array_append_new(
		rows, json_pack("{s:s, s:s, s:I, s:I, s:s}", "domain", domain, "policy", type,
			      "good", show_number_of(summary, "total-successful-session-count"),
			      "bad", show_number_of(summary, "total-failure-session-count"),
			      "state", show_string_of(report, "x-state")));
	for (size_t i = 0; i < json_array_size(details); i++) {
		json_t *row = json_pack("{s:s, s:s}", "domain", domain, "policy", type);

		json_object_update(row, json_array_get(details, i));
		json_array_append_new(failures, row);
	}
}

void show_report(const json_t *sts)
{
	const json_t *reports = json_object_get(sts, "reports");
	json_t *rows = json_array(), *failures = json_array();

	for (size_t i = 0; i < json_array_size(reports); i++) {
		const json_t *report = json_array_get(reports, i);
		const json_t *policies = json_object_get(report, "policies");

		for (size_t k = 0; k < json_array_size(policies); k++)
			policy_flatten(report, json_array_get(policies, k), rows, failures);
	}
	show_clean(stdout, show_string_of(sts, "day"));
	printf(" (UTC): TLS sessions with %zu domain%s", json_array_size(reports),
		json_array_size(reports) == 1 ? "" : "s");
	puts(json_is_string(json_object_get(sts, "from"))
			? ""
			: "; no reports are sent, for \"from\" of section tlsrpt is not set");
	show_table(&policy_table, rows);
	show_table(&failure_table, failures);
	json_decref(rows);
	json_decref(failures);
}

/* ---- policies ---- */

static void patterns_format(char *out, size_t n, const json_t *mx)
{
	size_t used = 0, all = json_array_size(mx);
	size_t shown = all < PATTERNS_SHOWN ? all : PATTERNS_SHOWN;

	snprintf(out, n, "-");
	for (size_t i = 0; i < shown && used < n; i++) {
		const char *pattern = json_string_value(json_array_get(mx, i));

		used += (size_t)snprintf(out + used, n - used, "%s%s", i > 0 ? " " : "",
			pattern != NULL ? pattern : "-");
	}
	if (all > shown && used < n)
		snprintf(out + used, n - used, " and %zu more", all - shown);
}

static void kept_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {"domain", "mode", "id"};

	if (column < 3)
		(void)text_of(row, keys[column], out, n);
	else if (column == 3)
		show_date_format(out, n, show_number_of(row, "fetched_seconds"));
	else if (column == 4)
		show_span_format(out, n, show_number_of(row, "left_seconds"));
	else
		patterns_format(out, n, json_object_get(row, "mx"));
}

static const struct show_table kept_table = {
	{"DOMAIN", "MODE", "ID", "FETCHED", "LEFT", "MX", NULL}, kept_cell, 0};

/* The text of a single one, as it came, but for what a terminal would obey. */
static void text_put(const char *text)
{
	putchar('\n');
	for (; *text != '\0'; text += strcspn(text, "\r\n"), text += strspn(text, "\r\n")) {
		char line[SHOW_CELL_MAX];

		snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, "\r\n"), text);
		fputs("  ", stdout);
		show_clean(stdout, line);
		putchar('\n');
	}
}

void show_policies(const json_t *sts)
{
	const json_t *policies = json_object_get(sts, "policies");
	const json_t *text = json_object_get(json_array_get(policies, 0), "policy");

	printf("%lld kept: %lld enforce, %lld testing; since the start %lld fetches, %lld failures, "
	       "%lld dropped to make room\n",
		(long long)show_number_of(sts, "kept"), (long long)show_number_of(sts, "enforce"),
		(long long)show_number_of(sts, "testing"),
		(long long)show_number_of(sts, "fetches"),
		(long long)show_number_of(sts, "failures"),
		(long long)show_number_of(sts, "evicted"));
	show_table(&kept_table, policies);
	if (json_is_string(text))
		text_put(json_string_value(text));
}

/* ---- watch ---- */

/* "certificate 3, version 1", with who was the last where that is known; and their sum. */
static json_int_t failures_format(char *out, size_t n, const json_t *row)
{
	const json_t *failures = json_object_get(row, "failures");
	const json_t *peers = json_object_get(row, "last_peers");
	json_int_t sum = 0;
	size_t used = 0;
	const char *reason;
	json_t *value;

	snprintf(out, n, "-");
	json_object_foreach((json_t *)failures, reason, value)
	{
		const char *peer = json_string_value(json_object_get(peers, reason));

		if (used < n)
			used += (size_t)snprintf(out + used, n - used, "%s%s %lld%s%s%s",
				used > 0 ? ", " : "", reason, (long long)json_integer_value(value),
				peer != NULL ? " (" : "", peer != NULL ? peer : "",
				peer != NULL ? ")" : "");
		sum += json_integer_value(value);
	}
	return sum;
}

/* A row's columns by their keys; "failures" is their sum, "why" what they are. */
static void watch_cell(const char *const *keys, const json_t *row, int column, char *out, size_t n)
{
	char why[SHOW_CELL_MAX];

	if (strcmp(keys[column], "failures") == 0)
		snprintf(out, n, "%lld", (long long)failures_format(why, sizeof(why), row));
	else if (strcmp(keys[column], "reasons") == 0)
		(void)failures_format(out, n, row);
	else
		(void)text_of(row, keys[column], out, n);
}

static void day_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {
		"day", "tls", "clear", "downgrades", "handshakes", "failures", "reasons"};

	watch_cell(keys, row, column, out, n);
}

static void recipient_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {"domain", "tls", "clear"};

	watch_cell(keys, row, column, out, n);
}

static void host_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {"host", "handshakes", "failures", "reasons"};

	watch_cell(keys, row, column, out, n);
}

static void sender_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {
		"sender", "first", "last_tls", "last_clear", "tls", "clear", "downgrades"};

	watch_cell(keys, row, column, out, n);
}

static void advice_cell(const json_t *row, int column, char *out, size_t n)
{
	static const char *const keys[] = {"domain", "mode", "calm_days", "advice", "why"};

	watch_cell(keys, row, column, out, n);
}

static const struct {
	const char *key, *total;
	const char *more; /* what is left out where the list is bounded */
	struct show_table table;
} watch_tables[] = {
	{"days", NULL, NULL,
		{{"DAY", "TLS", "CLEAR", "DOWNGRADED", "HANDSHAKES", "FAILED", "BY REASON", NULL},
			day_cell, 0x3e}},
	{"domains", "domains_total", "domains of recipients",
		{{"MAIL TO", "TLS", "CLEAR", NULL}, recipient_cell, 0x6}},
	{"hosts", "hosts_total", "names",
		{{"NAME ASKED FOR", "HANDSHAKES", "FAILED", "BY REASON (LAST)", NULL}, host_cell,
			0x6}},
	{"downgraded", "downgraded_total", "such senders",
		{{"USED TLS BEFORE", "FIRST", "LAST TLS", "LAST CLEAR", "TLS", "CLEAR", "DAYS",
			 NULL},
			sender_cell, 0x70}},
	{"clear", "clear_total", "such senders",
		{{"NEVER USED TLS", "FIRST", "LAST TLS", "LAST CLEAR", "TLS", "CLEAR", "DAYS",
			 NULL},
			sender_cell, 0x70}},
	{"policies", "policies_total", "policies",
		{{"OUR POLICY", "MODE", "CALM DAYS", "ADVICE", "WHY", NULL}, advice_cell, 0x4}},
};

void show_watch(const json_t *sts)
{
	fputs("watched since ", stdout);
	show_clean(stdout, show_string_of(sts, "since"));
	printf("; %lld senders are remembered\n", (long long)show_number_of(sts, "senders"));
	for (size_t i = 0; i < COUNT_OF(watch_tables); i++) {
		const json_t *list = json_object_get(sts, watch_tables[i].key);
		json_int_t more = 0;

		show_table(&watch_tables[i].table, list);
		if (watch_tables[i].total != NULL)
			more = show_number_of(sts, watch_tables[i].total) -
			       (json_int_t)json_array_size(list);
		if (more > 0)
			printf("  and %lld more %s\n", (long long)more, watch_tables[i].more);
	}
}
