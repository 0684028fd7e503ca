/* SPDX-License-Identifier: MIT */
/*
 * answer.c -- facts and counters as the JSON that the control socket answers with.
 *
 * A leaf: takes plain data, gives a json_t. The names of the keys are an interface that scripts
 * use (posternctl --json, posternctl(8)): add, never rename. Times are seconds since 1970, shares
 * are between 0 and 1, and null where there is nothing to divide by.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counter.h"
#include "control/control-private.h"

json_t *control_json_text(const char *text)
{
	json_t *value;
	char *clean;
	size_t n = 0;

	if (text == NULL)
		return json_null();
	value = json_string(text);
	if (value != NULL)
		return value;
	clean = malloc(strlen(text) * 4 + 1);
	if (clean == NULL)
		return NULL;
	for (const char *p = text; *p != '\0'; p++) {
		static const char digits[] = "0123456789abcdef";
		uint8_t c = (uint8_t)*p;

		if (c < 0x80) {
			clean[n++] = *p;
			continue;
		}
		clean[n++] = '\\';
		clean[n++] = 'x';
		clean[n++] = digits[c >> 4];
		clean[n++] = digits[c & 15];
	}
	value = json_stringn(clean, n);
	free(clean);
	return value;
}

json_t *control_answer_text(bool ok, const char *text)
{
	return json_pack("{s:b, s:o}", "ok", ok, ok ? "text" : "error", control_json_text(text));
}

static json_int_t number(enum counter counter)
{
	return (json_int_t)counter_sum(counter);
}

/* All rows of the metric that the counter belongs to. */
static json_int_t number_of_metric(enum counter counter)
{
	json_int_t sum = 0;

	for (int i = 0; i < COUNTER_COUNT; i++)
		if (strcmp(counter_infos[i].metric, counter_infos[counter].metric) == 0)
			sum += number((enum counter)i);
	return sum;
}

/* Rounded to four digits, so that JSON shows 0.25 and not 0.25000000000000006. */
static json_t *share(enum counter part, enum counter whole)
{
	json_int_t of = number(whole);

	if (of <= 0)
		return json_null();
	return json_real((double)(number(part) * 10000 / of) / 10000);
}

static json_t *counters_json(void)
{
	return json_pack(
		"{s:{s:I,s:I,s:I}, s:{s:I,s:I,s:I,s:I,s:I}, s:{s:I,s:I}, s:{s:I,s:I,s:I,s:o},"
		" s:{s:I,s:I,s:I,s:o,s:o}, s:{s:I,s:I}}",
		"sessions", "active", number(COUNTER_SESSIONS_ACTIVE), "total",
		number(COUNTER_SESSIONS), "refused",
		number_of_metric(COUNTER_SESSIONS_REFUSED_TOTAL), "messages", "accepted",
		number(COUNTER_MESSAGES_ACCEPTED), "refused", number(COUNTER_MESSAGES_REFUSED),
		"failed", number(COUNTER_MESSAGES_FAILED), "aborted",
		number(COUNTER_MESSAGES_ABORTED), "bytes", number(COUNTER_MESSAGE_BYTES), "bytes",
		"received", number(COUNTER_BYTES_RECEIVED), "sent", number(COUNTER_BYTES_SENT),
		"tls", "handshakes", number(COUNTER_TLS_HANDSHAKES), "resumed",
		number(COUNTER_TLS_RESUMED), "failed", number_of_metric(COUNTER_TLS_FAILED_OTHER),
		"share_of_sessions", share(COUNTER_TLS_HANDSHAKES, COUNTER_SESSIONS), "ktls", "tx",
		number(COUNTER_KTLS_TX), "rx", number(COUNTER_KTLS_RX), "fallback",
		number(COUNTER_KTLS_FALLBACK), "tx_share_of_tls",
		share(COUNTER_KTLS_TX, COUNTER_TLS_HANDSHAKES), "rx_share_of_tls",
		share(COUNTER_KTLS_RX, COUNTER_TLS_HANDSHAKES), "reloads", "ok",
		number(COUNTER_RELOADS), "failed", number(COUNTER_RELOADS_FAILED));
}

static json_t *listeners_json(const struct control_status *status)
{
	json_t *list = json_array();

	for (size_t i = 0; i < status->listeners_n; i++) {
		const struct control_listener *one = &status->listeners[i];

		json_array_append_new(
			list, json_pack("{s:o,s:o,s:i,s:o}", "title", control_json_text(one->title),
				      "address", control_json_text(one->address), "port",
				      (int)one->port, "tls", control_json_text(one->tls)));
	}
	return list;
}

static json_t *certificates_json(const struct control_status *status)
{
	json_t *list = json_array();

	for (size_t i = 0; i < status->certificates_n; i++) {
		const struct control_certificate *one = &status->certificates[i];
		json_t *names = json_array();

		for (size_t k = 0; k < one->names_n && k < CONTROL_NAMES_MAX; k++)
			json_array_append_new(names, control_json_text(one->names[k]));
		json_array_append_new(list,
			json_pack("{s:o,s:o,s:o,s:I,s:o}", "title", control_json_text(one->title),
				"key_type", control_json_text(one->key_type), "names", names,
				"names_total", (json_int_t)one->names_n, "not_after_seconds",
				one->not_after_s ? json_integer(one->not_after_s) : json_null()));
	}
	return list;
}

static json_t *seconds_json(uint64_t real_us)
{
	return real_us ? json_integer((json_int_t)(real_us / 1000000)) : json_null();
}

/* One line's worth; the whole is what the command fence answers. */
static json_t *fence_json(const json_t *fence)
{
	static const char *const keys[] = {"running", "why", "hooks"};
	json_t *object;

	if (fence == NULL)
		return json_null();
	object = json_object();
	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		json_t *value = json_object_get(fence, keys[i]);

		json_object_set_new(
			object, keys[i], value != NULL ? json_incref(value) : json_null());
	}
	return object;
}

json_t *control_answer_status(const struct control_status *status, const json_t *fence)
{
	uint64_t now_us = clock_real_us();
	uint64_t start_us = status->started_real_us;
	bool known = start_us != 0 && start_us <= now_us;

	return json_pack("{s:b, s:{s:o,s:o,s:i,s:s,s:o,s:o,s:o,s:i,s:o,s:o,"
			 "s:{s:o,s:o,s:o,s:o}, s:o, s:o,s:o, s:o,s:o,s:o}}",
		"ok", 1, "status", "version", control_json_text(status->version), "hostname",
		control_json_text(status->hostname), "pid", status->pid, "state",
		status->draining ? "draining" : "serving", "started_seconds",
		seconds_json(start_us), "uptime_seconds",
		known ? seconds_json(now_us - start_us) : json_null(), "config",
		control_json_text(status->config), "workers", (int)status->workers, "kernel",
		control_json_text(status->kernel), "ring", control_json_text(status->ring), "ktls",
		"mode", control_json_text(status->ktls_mode), "tx",
		control_json_text(status->ktls_tx), "rx", control_json_text(status->ktls_rx),
		"rekey", control_json_text(status->ktls_rekey), "fence", fence_json(fence),
		"reloaded_seconds", seconds_json(status->reloaded_real_us), "reload_error",
		control_json_text(status->reload_error), "listeners", listeners_json(status),
		"certificates", certificates_json(status), "counters", counters_json());
}

/* "metric{labels}" -> value, for programs that do not want to parse the text. */
static json_t *values_json(char *text)
{
	json_t *values = json_object();
	char *save = NULL;

	for (char *line = strtok_r(text, "\n", &save); line != NULL;
		line = strtok_r(NULL, "\n", &save)) {
		char *space = strrchr(line, ' ');
		json_t *value;

		if (line[0] == '#' || space == NULL)
			continue;
		*space = '\0';
		value = strchr(space + 1, '.') ? json_real(atof(space + 1))
					       : json_integer(atoll(space + 1));
		if (json_object_set_new(values, line, value) < 0)
			break;
	}
	return values;
}

json_t *control_answer_metrics(
	const struct control_status *status, const json_t *queue, const json_t *fence)
{
	json_t *copy;
	char *text;
	size_t n;

	if (control_metrics_text(status, queue, fence, &text, &n) < 0)
		return NULL;
	copy = control_json_text(text);
	copy = json_pack("{s:b, s:o, s:o}", "ok", 1, "text", copy, "values", values_json(text));
	free(text);
	return copy;
}
