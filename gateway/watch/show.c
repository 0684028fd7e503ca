/* SPDX-License-Identifier: MIT */
/*
 * show.c -- the watch for people and scripts: what the control socket answers, and a day's report.
 *
 * The report has the members of RFC 8460 4.4; what is ours besides begins with "x-". A receiver knows
 * no policy that a sender applied, so there is one entry a domain of ours for mail that came ("no-
 * policy-found", sessions are messages), and one a host name for handshakes.
 */
#include "watch/watch-private.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/network.h"

#define LIST_DEFAULT 100

/* json_pack() may fail for lack of memory alone; what could not be made is left out of an array. */
static json_t *failures_of(const uint64_t failures[WATCH_FAILURES])
{
	json_t *out = json_object();

	for (size_t i = 0; i < WATCH_FAILURES; i++) {
		if (failures[i] > 0)
			(void)json_object_set_new(
				out, watch_failure_words[i], json_integer((json_int_t)failures[i]));
	}
	return out;
}

static json_t *day_text(uint32_t day)
{
	char text[CLOCK_DAY_TEXT];

	if (day == 0)
		return json_null();
	clock_day_text(day, text);
	return json_string(text);
}

static bool is_for_all(const struct watch_question *question)
{
	return question->domain == NULL || question->domain[0] == '\0';
}

static bool is_asked(const struct watch_question *question, const char *name)
{
	return is_for_all(question) || strcmp(question->domain, name) == 0;
}

static bool is_row_asked(const struct watch_question *question, const struct watch_row *row)
{
	return is_asked(question, row->name) ||
	       (row->kind == WATCH_KIND_HOST && question->is_host != NULL &&
		       question->is_host(question->ctx, row->name));
}

/* ---- days, and names summed over them ---- */

struct sum {
	const struct watch_row *row; /* a day's, for its kind and name */
	uint64_t messages[WATCH_WAYS];
	uint64_t handshakes;
	uint64_t failures[WATCH_FAILURES];
	uint8_t peers[WATCH_FAILURES][WATCH_ADDRESS]; /* the last one each */
};

struct found {
	const struct watch_row *row;
	uint32_t day;
};

static int name_compare(const struct watch_row *left, const struct watch_row *right)
{
	return left->kind != right->kind ? left->kind - right->kind
					 : strcmp(left->name, right->name);
}

static int found_compare(const void *a, const void *b)
{
	const struct found *left = a, *right = b;
	int order = name_compare(left->row, right->row);

	return order != 0 ? order : (left->day > right->day) - (left->day < right->day);
}

/* All rows of the days from `first` on that are asked for, by kind, name and day; NULL: none. */
static struct found *rows_of(
	struct watch *watch, uint32_t first, const struct watch_question *question, size_t *n)
{
	struct found *rows = NULL;
	size_t max = 0;

	*n = 0;
	for (uint32_t i = 0; i < watch->settings->days; i++)
		max += watch->days[i].day >= first ? watch->days[i].rows_n : 0;
	if (max > 0)
		rows = calloc(max, sizeof(*rows));
	for (uint32_t i = 0; rows != NULL && i < watch->settings->days; i++) {
		if (watch->days[i].day < first)
			continue;
		for (size_t k = 0; k < WATCH_DAY_BUCKETS; k++) {
			for (const struct watch_row *row = watch->days[i].rows[k]; row != NULL;
				row = row->next) {
				if (is_row_asked(question, row))
					rows[(*n)++] = (struct found){row, watch->days[i].day};
			}
		}
	}
	if (rows != NULL)
		qsort(rows, *n, sizeof(*rows), found_compare);
	return rows;
}

/* Days come in their order: the last peer is the newest day's. */
static void sum_add(struct sum *sum, const struct watch_row *row)
{
	sum->row = row;
	sum->handshakes += row->handshakes;
	for (size_t k = 0; k < WATCH_WAYS; k++)
		sum->messages[k] += row->messages[k];
	for (size_t k = 0; k < WATCH_FAILURES; k++) {
		sum->failures[k] += row->failures[k];
		if (row->failures[k] > 0)
			memcpy(sum->peers[k], row->peers[k], WATCH_ADDRESS);
	}
}

/* What is wrong: mail in clear, handshakes that failed. */
static uint64_t sum_wrong(const struct sum *sum)
{
	uint64_t wrong = sum->messages[WATCH_CLEAR];

	for (size_t k = 0; k < WATCH_FAILURES; k++)
		wrong += sum->failures[k];
	return wrong;
}

static int number_compare(uint64_t left, uint64_t right)
{
	return (left < right) - (left > right); /* the larger first */
}

static int sum_compare(const void *a, const void *b)
{
	const struct sum *left = a, *right = b;
	int order = number_compare(sum_wrong(left), sum_wrong(right));

	if (order == 0)
		order = number_compare(left->handshakes + left->messages[WATCH_TLS],
			right->handshakes + right->messages[WATCH_TLS]);
	return order != 0 ? order : name_compare(left->row, right->row);
}

static void address_text(const uint8_t peer[WATCH_ADDRESS], char text[NETWORK_TEXT_MAX])
{
	struct network network = {.bits = 128};

	memcpy(network.address, peer, WATCH_ADDRESS);
	(void)network_text(&network, text);
}

/* Who failed last, by reason. */
static json_t *peers_of(const struct sum *sum)
{
	json_t *out = json_object();
	char text[NETWORK_TEXT_MAX];

	for (size_t i = 0; i < WATCH_FAILURES; i++) {
		if (sum->failures[i] == 0)
			continue;
		address_text(sum->peers[i], text);
		(void)json_object_set_new(out, watch_failure_words[i], json_string(text));
	}
	return out;
}

static json_t *sum_json(const struct sum *sum)
{
	if (sum->row->kind == WATCH_KIND_DOMAIN)
		return json_pack("{s:s, s:I, s:I}", "domain", sum->row->name, "tls",
			(json_int_t)sum->messages[WATCH_TLS], "clear",
			(json_int_t)sum->messages[WATCH_CLEAR]);
	return json_pack("{s:s, s:I, s:o, s:o}", "host", sum->row->name, "handshakes",
		(json_int_t)sum->handshakes, "failures", failures_of(sum->failures), "last_peers",
		peers_of(sum));
}

/* Those of one kind, the worst first. */
static void sums_show(const struct sum *sums, size_t n, enum watch_kind kind, uint32_t limit,
	const char *name, json_t *out)
{
	char total_name[32];
	json_t *list = json_array();
	size_t total = 0;

	for (size_t i = 0; i < n; i++) {
		if (sums[i].row->kind == kind && total++ < limit)
			(void)json_array_append_new(list, sum_json(&sums[i]));
	}
	(void)snprintf(total_name, sizeof(total_name), "%s_total", name);
	(void)json_object_set_new(out, name, list);
	(void)json_object_set_new(out, total_name, json_integer((json_int_t)total));
}

static void names_show(struct watch *watch, uint32_t first, const struct watch_question *question,
	uint32_t limit, json_t *out)
{
	size_t rows_n, n = 0;
	struct found *rows = rows_of(watch, first, question, &rows_n);
	struct sum *sums = calloc(rows_n + 1, sizeof(*sums));

	for (size_t i = 0; sums != NULL && i < rows_n; i++) {
		if (i > 0 && name_compare(rows[i - 1].row, rows[i].row) != 0)
			n++;
		sum_add(&sums[n], rows[i].row);
	}
	n += rows_n > 0;
	if (sums == NULL)
		n = 0;
	else
		qsort(sums, n, sizeof(*sums), sum_compare);
	free(rows);
	sums_show(sums, n, WATCH_KIND_DOMAIN, limit, "domains", out);
	sums_show(sums, n, WATCH_KIND_HOST, limit, "hosts", out);
	free(sums);
}

/* A day's sums of the rows that are asked for. */
static struct sum day_sum(const struct watch_day *day, const struct watch_question *question)
{
	struct sum sum = {0};

	for (size_t k = 0; k < WATCH_DAY_BUCKETS; k++) {
		for (const struct watch_row *row = day->rows[k]; row != NULL; row = row->next) {
			if (is_row_asked(question, row))
				sum_add(&sum, row);
		}
	}
	return sum;
}

static json_t *day_json(const struct watch_day *day, const struct watch_question *question)
{
	struct sum sum = {.handshakes = day->handshakes};
	json_t *object;

	memcpy(sum.messages, day->messages, sizeof(sum.messages));
	memcpy(sum.failures, day->failures, sizeof(sum.failures));
	if (!is_for_all(question))
		sum = day_sum(day, question);
	object = json_pack("{s:o, s:I, s:I, s:I, s:o}", "day", day_text(day->day), "tls",
		(json_int_t)sum.messages[WATCH_TLS], "clear", (json_int_t)sum.messages[WATCH_CLEAR],
		"handshakes", (json_int_t)sum.handshakes, "failures", failures_of(sum.failures));
	if (is_for_all(question))
		(void)json_object_set_new(
			object, "downgrades", json_integer((json_int_t)day->downgrades));
	return object;
}

static void days_show(
	struct watch *watch, uint32_t first, const struct watch_question *question, json_t *out)
{
	json_t *list = json_array();

	for (uint32_t number = watch_today(); number >= first && number > 0; number--) {
		const struct watch_day *day = watch_day_find(watch, number);

		if (day != NULL)
			(void)json_array_append_new(list, day_json(day, question));
	}
	(void)json_object_set_new(out, "days", list);
}

/* ---- senders ---- */

static json_t *sender_of(const struct watch_sender *sender)
{
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:I}", "sender", sender->name, "kind",
		sender->kind == WATCH_KIND_DOMAIN ? "domain" : "network", "first",
		day_text(sender->first_day), "last_tls", day_text(sender->days[WATCH_TLS]),
		"last_clear", day_text(sender->days[WATCH_CLEAR]), "tls",
		(json_int_t)sender->messages[WATCH_TLS], "clear",
		(json_int_t)sender->messages[WATCH_CLEAR], "downgrades",
		(json_int_t)sender->downgrades);
}

/* The last ones seen first. Downgraded: TLS before, and not since it last came in clear. */
static void senders_show(struct watch *watch, uint32_t first, const struct watch_question *question,
	uint32_t limit, json_t *out)
{
	json_t *downgraded = json_array(), *clear = json_array();
	uint64_t downgraded_n = 0, clear_n = 0;

	for (const struct list *node = watch->senders_seen.prev; node != &watch->senders_seen;
		node = node->prev) {
		const struct watch_sender *sender = watch_sender_of(node);

		if (sender->days[WATCH_CLEAR] < first || !is_asked(question, sender->name))
			continue;
		if (sender->downgrade_day >= first && sender->downgrade_day > 0) {
			if (downgraded_n++ < limit)
				(void)json_array_append_new(downgraded, sender_of(sender));
		} else if (sender->days[WATCH_TLS] == 0 && clear_n++ < limit) {
			(void)json_array_append_new(clear, sender_of(sender));
		}
	}
	(void)json_object_set_new(out, "downgraded", downgraded);
	(void)json_object_set_new(out, "downgraded_total", json_integer((json_int_t)downgraded_n));
	(void)json_object_set_new(out, "clear", clear);
	(void)json_object_set_new(out, "clear_total", json_integer((json_int_t)clear_n));
}

json_t *watch_show(struct watch *watch, const struct watch_question *question)
{
	uint32_t limit = question->limit > 0 ? question->limit : LIST_DEFAULT;
	json_t *out = json_object();
	uint32_t today = watch_today(), days;

	if (out == NULL)
		return NULL;
	days = question->days > 0 ? question->days : watch->settings->days;
	days = days < watch->settings->days ? days : watch->settings->days;
	pthread_mutex_lock(&watch->lock);
	(void)json_object_set_new(out, "since", day_text(watch->since_day));
	(void)json_object_set_new(out, "senders", json_integer(watch->senders_n));
	days_show(watch, today - days + 1, question, out);
	names_show(watch, today - days + 1, question, limit, out);
	senders_show(watch, today - days + 1, question, limit, out);
	pthread_mutex_unlock(&watch->lock);
	return out;
}

/* ---- a day's report ---- */

/* What RFC 8460 4.3 calls it, nearest. */
static const char *const result_types[WATCH_FAILURES] = {
	[WATCH_VERSION] = "validation-failure",
	[WATCH_CIPHER] = "validation-failure",
	[WATCH_CERTIFICATE] = "certificate-not-trusted",
	[WATCH_ALERT] = "validation-failure",
	[WATCH_SNI] = "certificate-host-mismatch",
	[WATCH_TIMEOUT] = "validation-failure",
	[WATCH_CLOSED] = "validation-failure",
	[WATCH_OTHER] = "validation-failure",
};

static json_t *details_of(const struct watch_row *row, uint64_t *failed)
{
	json_t *list = json_array();
	char peer[NETWORK_TEXT_MAX];

	for (size_t i = 0; i < WATCH_FAILURES; i++) {
		if (row->failures[i] == 0)
			continue;
		*failed += row->failures[i];
		address_text(row->peers[i], peer);
		(void)json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:I, s:s}", "result-type", result_types[i],
				      "sending-mta-ip", peer, "receiving-mx-hostname", row->name,
				      "failed-session-count", (json_int_t)row->failures[i],
				      "failure-reason-code", watch_failure_words[i]));
	}
	return list;
}

/* Mail in clear is a session that failed to have TLS. */
static json_t *clear_of(const struct watch_row *row)
{
	json_t *list = json_array();

	if (row->messages[WATCH_CLEAR] > 0)
		(void)json_array_append_new(list,
			json_pack("{s:s, s:I, s:s}", "result-type", "starttls-not-supported",
				"failed-session-count", (json_int_t)row->messages[WATCH_CLEAR],
				"failure-reason-code", "the sender did not use STARTTLS"));
	return list;
}

static json_t *policy_of(const struct watch_row *row)
{
	bool domain = row->kind == WATCH_KIND_DOMAIN;
	uint64_t good = domain ? row->messages[WATCH_TLS] : row->handshakes, failed = 0;
	json_t *details = domain ? clear_of(row) : details_of(row, &failed);

	if (domain)
		failed = row->messages[WATCH_CLEAR];
	return json_pack("{s:{s:s, s:s}, s:{s:I, s:I}, s:o, s:s}", "policy", "policy-type",
		"no-policy-found", "policy-domain", row->name, "summary",
		"total-successful-session-count", (json_int_t)good, "total-failure-session-count",
		(json_int_t)failed, "failure-details", details, "x-counts",
		domain ? "messages" : "handshakes");
}

json_t *watch_report(
	struct watch *watch, uint32_t day, const char *organization, const char *contact)
{
	json_t *policies, *report = NULL;
	const struct watch_day *found;
	char text[CLOCK_DAY_TEXT], from[40], to[40];

	policies = json_array();
	clock_day_text(day, text);
	(void)snprintf(from, sizeof(from), "%sT00:00:00Z", text);
	(void)snprintf(to, sizeof(to), "%sT23:59:59Z", text);
	pthread_mutex_lock(&watch->lock);
	found = watch_day_find(watch, day);
	for (size_t i = 0; found != NULL && i < WATCH_DAY_BUCKETS; i++) {
		for (const struct watch_row *row = found->rows[i]; row != NULL; row = row->next)
			(void)json_array_append_new(policies, policy_of(row));
	}
	if (found != NULL)
		report = json_pack("{s:s, s:{s:s, s:s}, s:s, s:s, s:s, s:I, s:O}",
			"organization-name", organization, "date-range", "start-datetime", from,
			"end-datetime", to, "contact-info", contact, "report-id", text, "x-side",
			"receiver", "x-downgrades", (json_int_t)found->downgrades, "policies",
			policies);
	pthread_mutex_unlock(&watch->lock);
	json_decref(policies);
	return report;
}
