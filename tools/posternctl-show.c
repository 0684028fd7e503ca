/* SPDX-License-Identifier: MIT */
/*
 * posternctl-show.c -- the gateway's answers as tables for a person.
 *
 * The keys are made in gateway/control/answer.c. A key that is missing prints as "-" or 0, so that
 * an older or newer gateway can be asked, too. Control characters never reach the terminal: titles
 * and errors come from files that others may write.
 */
#include "tools/posternctl.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"

void show_clean(FILE *out, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;

		fputc(*p < 0x20 || *p == 0x7f || c1 ? '?' : *p, out);
		p += c1;
	}
}

static void text_put(const char *text)
{
	show_clean(stdout, text);
}

const char *show_string_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

json_int_t show_number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

void show_line(const char *title, const char *text)
{
	printf("  %-14s ", title);
	text_put(text);
	putchar('\n');
}

void show_span_format(char *out, size_t n, json_int_t seconds)
{
	long long s = seconds;

	if (s >= 86400)
		snprintf(out, n, "%lld d %lld h", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		snprintf(out, n, "%lld h %lld min", s / 3600, s / 60 % 60);
	else if (s >= 60)
		snprintf(out, n, "%lld min %lld s", s / 60, s % 60);
	else
		snprintf(out, n, "%lld s", s);
}

void show_date_format(char *out, size_t n, json_int_t seconds)
{
	time_t when = (time_t)seconds;
	struct tm tm;

	if (gmtime_r(&when, &tm) == NULL || strftime(out, n, "%Y-%m-%d %H:%M UTC", &tm) == 0)
		snprintf(out, n, "-");
}

/* To the second, for what happens often. */
void show_time_format(char *out, size_t n, json_int_t seconds)
{
	time_t when = (time_t)seconds;
	struct tm tm;

	if (gmtime_r(&when, &tm) == NULL || strftime(out, n, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		snprintf(out, n, "-");
}

void show_octets_format(char *out, size_t n, json_int_t octets)
{
	static const char *const units[] = {"octets", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double value = (double)octets;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		value /= 1024;
		unit++;
	}
	snprintf(out, n, "%.*f %s", unit > 0, value, units[unit]);
}

static void share_format(char *out, size_t n, const json_t *share)
{
	if (json_is_number(share))
		snprintf(out, n, "%.1f %%", json_number_value(share) * 100);
	else
		snprintf(out, n, "-");
}

static void listener_cell(const json_t *row, int column, char *out, size_t n)
{
	const char *address = show_string_of(row, "address");
	bool six = strchr(address, ':') != NULL;

	if (column == 0)
		snprintf(out, n, "%s", show_string_of(row, "title"));
	else if (column == 1)
		snprintf(out, n, "%s%s%s:%lld", six ? "[" : "", address, six ? "]" : "",
			(long long)show_number_of(row, "port"));
	else
		snprintf(out, n, "%s", show_string_of(row, "tls"));
}

static void expiry_format(char *out, size_t n, const json_t *row)
{
	json_int_t end = show_number_of(row, "not_after_seconds");
	json_int_t left = end - (json_int_t)(clock_real_us() / 1000000);
	char date[32], distance[32];

	if (end == 0) {
		snprintf(out, n, "-");
		return;
	}
	show_date_format(date, sizeof(date), end);
	show_span_format(distance, sizeof(distance), left < 0 ? -left : left);
	snprintf(out, n, left < 0 ? "%s, EXPIRED %s ago" : "%s, in %s", date, distance);
}

static void names_format(char *out, size_t n, const json_t *row)
{
	const json_t *names = json_object_get(row, "names");
	size_t shown = json_array_size(names);
	json_int_t total = show_number_of(row, "names_total");
	size_t used = 0;

	snprintf(out, n, "(default)");
	for (size_t i = 0; i < shown && used < n; i++) {
		const char *name = json_string_value(json_array_get(names, i));

		used += (size_t)snprintf(
			out + used, n - used, "%s%s", i > 0 ? " " : "", name ? name : "-");
	}
	if (used < n && total > (json_int_t)shown)
		snprintf(out + used, n - used, " and %lld more",
			(long long)(total - (json_int_t)shown));
}

static void certificate_cell(const json_t *row, int column, char *out, size_t n)
{
	if (column == 0)
		snprintf(out, n, "%s", show_string_of(row, "title"));
	else if (column == 1)
		snprintf(out, n, "%s", show_string_of(row, "key_type"));
	else if (column == 2)
		expiry_format(out, n, row);
	else
		names_format(out, n, row);
}

static const struct show_table listener_table = {
	{"LISTENER", "ADDRESS", "TLS", NULL}, listener_cell, 0};
static const struct show_table certificate_table = {
	{"CERTIFICATE", "KEY", "VALID UNTIL", "NAMES", NULL}, certificate_cell, 0};

/* In characters: what is no continuation octet of UTF-8. */
static int width_of(const char *text)
{
	int n = 0;

	for (; *text != '\0'; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void table_row_put(
	const struct show_table *table, const json_t *row, const int widths[SHOW_COLUMNS_MAX])
{
	char cell[SHOW_CELL_MAX];

	for (int i = 0; table->heads[i] != NULL; i++) {
		bool right = table->right >> i & 1;
		int pad;

		snprintf(cell, sizeof(cell), "%s", table->heads[i]);
		if (row != NULL)
			table->cell(row, i, cell, sizeof(cell));
		pad = widths[i] - width_of(cell);
		printf("  %*s", right ? pad : 0, "");
		text_put(cell);
		if (!right && table->heads[i + 1] != NULL)
			printf("%*s", pad, "");
	}
	putchar('\n');
}

void show_table(const struct show_table *table, const json_t *rows)
{
	int widths[SHOW_COLUMNS_MAX] = {0};
	char cell[SHOW_CELL_MAX];

	if (json_array_size(rows) == 0)
		return;
	for (int i = 0; table->heads[i] != NULL; i++) {
		widths[i] = width_of(table->heads[i]);
		for (size_t k = 0; k < json_array_size(rows); k++) {
			table->cell(json_array_get(rows, k), i, cell, sizeof(cell));
			if (width_of(cell) > widths[i])
				widths[i] = width_of(cell);
		}
	}
	putchar('\n');
	table_row_put(table, NULL, widths);
	for (size_t k = 0; k < json_array_size(rows); k++)
		table_row_put(table, json_array_get(rows, k), widths);
}

static void counters_put(const json_t *counters)
{
	const json_t *sessions = json_object_get(counters, "sessions");
	const json_t *messages = json_object_get(counters, "messages");
	const json_t *bytes = json_object_get(counters, "bytes");
	const json_t *tls = json_object_get(counters, "tls");
	const json_t *ktls = json_object_get(counters, "ktls");
	char a[32], b[32];

	printf("\n  %-14s %lld open, %lld in all, %lld refused at the door\n", "sessions",
		(long long)show_number_of(sessions, "active"),
		(long long)show_number_of(sessions, "total"),
		(long long)show_number_of(sessions, "refused"));
	show_octets_format(a, sizeof(a), show_number_of(messages, "bytes"));
	printf("  %-14s %lld accepted (%s), %lld refused, %lld failed, %lld aborted\n", "messages",
		(long long)show_number_of(messages, "accepted"), a,
		(long long)show_number_of(messages, "refused"),
		(long long)show_number_of(messages, "failed"),
		(long long)show_number_of(messages, "aborted"));
	show_octets_format(a, sizeof(a), show_number_of(bytes, "received"));
	show_octets_format(b, sizeof(b), show_number_of(bytes, "sent"));
	printf("  %-14s %s received, %s sent\n", "traffic", a, b);
	share_format(a, sizeof(a), json_object_get(tls, "share_of_sessions"));
	printf("  %-14s %lld handshakes (%s of sessions), %lld resumed, %lld failed\n", "TLS",
		(long long)show_number_of(tls, "handshakes"), a,
		(long long)show_number_of(tls, "resumed"),
		(long long)show_number_of(tls, "failed"));
	share_format(a, sizeof(a), json_object_get(ktls, "tx_share_of_tls"));
	share_format(b, sizeof(b), json_object_get(ktls, "rx_share_of_tls"));
	printf("  %-14s %lld sending (%s), %lld receiving (%s), %lld kept in user space\n", "kTLS",
		(long long)show_number_of(ktls, "tx"), a, (long long)show_number_of(ktls, "rx"), b,
		(long long)show_number_of(ktls, "fallback"));
}

/* Where the fence runs, and why not in the kernel. */
static void fence_put(const json_t *fence)
{
	bool off = strcmp(show_string_of(fence, "running"), "off") == 0;
	const char *why = json_string_value(json_object_get(fence, "why"));
	const char *hooks = json_string_value(json_object_get(fence, "hooks"));
	char text[SHOW_CELL_MAX];

	if (!json_is_object(fence))
		return;
	snprintf(text, sizeof(text), "%s%s%s%s%s",
		show_fence_running(show_string_of(fence, "running")), hooks != NULL ? ": " : "",
		hooks != NULL ? hooks : "", why != NULL && !off ? "; " : "",
		why != NULL && !off ? why : "");
	show_line("fence", text);
}

static void facts_put(const json_t *status)
{
	const json_t *ktls = json_object_get(status, "ktls");
	const json_t *reloaded = json_object_get(status, "reloaded_seconds");
	char text[SHOW_CELL_MAX];

	show_line("configuration", show_string_of(status, "config"));
	show_line("kernel", show_string_of(status, "kernel"));
	show_line("io_uring", show_string_of(status, "ring"));
	snprintf(text, sizeof(text), "mode %s; sending: %s; receiving: %s; re-key: %s",
		show_string_of(ktls, "mode"), show_string_of(ktls, "tx"),
		show_string_of(ktls, "rx"), show_string_of(ktls, "rekey"));
	show_line("kTLS", text);
	fence_put(json_object_get(status, "fence"));
	if (json_is_integer(reloaded))
		show_date_format(text, sizeof(text), json_integer_value(reloaded));
	else
		snprintf(text, sizeof(text), "never");
	show_line("reloaded", text);
	if (json_is_string(json_object_get(status, "reload_error")))
		show_line("RELOAD FAILED", show_string_of(status, "reload_error"));
}

void show_status(const json_t *answer)
{
	const json_t *status = json_object_get(answer, "status");
	const json_t *uptime = json_object_get(status, "uptime_seconds");
	char head[SHOW_CELL_MAX];
	char up[32] = "-";

	if (json_is_integer(uptime))
		show_span_format(up, sizeof(up), json_integer_value(uptime));
	snprintf(head, sizeof(head), "postern %s on %s: %s, up %s, pid %lld, %lld worker%s",
		show_string_of(status, "version"), show_string_of(status, "hostname"),
		show_string_of(status, "state"), up, (long long)show_number_of(status, "pid"),
		(long long)show_number_of(status, "workers"),
		show_number_of(status, "workers") == 1 ? "" : "s");
	text_put(head);
	printf("\n\n");
	facts_put(status);
	show_table(&listener_table, json_object_get(status, "listeners"));
	show_table(&certificate_table, json_object_get(status, "certificates"));
	counters_put(json_object_get(status, "counters"));
}

void show_metrics(const json_t *answer)
{
	const json_t *text = json_object_get(answer, "text");

	if (json_is_string(text))
		fwrite(json_string_value(text), 1, json_string_length(text), stdout);
}

void show_text(const json_t *answer)
{
	text_put(show_string_of(answer, "text"));
	putchar('\n');
}
