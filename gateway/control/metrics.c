/* SPDX-License-Identifier: MIT */
/*
 * metrics.c -- counters, histograms, the queue, the fence and a few facts as Prometheus text exposition
 * (format 0.0.4).
 *
 * HELP and TYPE once a metric, its rows together, as counter_table.h has them. Facts that alerts
 * are made of come along: the version, the start, the end of each certificate. The size is bounded
 * by the tables, by CONTROL_TALLIES_MAX and by the number of certificates; control.c refuses what is
 * over its limit.
 *
 * A histogram always prints all of its buckets: ones that appear later would make sums over several
 * gateways wrong.
 *
 * The fence's counts are by who decided, class and reason, and begin with their first decision: of
 * the 176 rows that could be, a gateway sees some twenty. No address becomes a label.
 *
 * Rejected: OpenMetrics (its `_total` and `# EOF` rules buy nothing here).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/histogram.h"
#include "control/control-private.h"

static void head_print(FILE *out, const char *metric, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", metric, help, metric, type);
}

/* A label's value: UTF-8, with backslash, quote and LF escaped. */
static void label_print(FILE *out, const char *text)
{
	json_t *clean = control_json_text(text ? text : "");
	const char *p = clean ? json_string_value(clean) : "";

	for (; *p != '\0'; p++) {
		if (*p == '\n')
			fputs("\\n", out);
		else if (*p == '"' || *p == '\\')
			fprintf(out, "\\%c", *p);
		else
			fputc(*p, out);
	}
	json_decref(clean);
}

static void counters_print(FILE *out)
{
	const char *metric = "";

	for (int i = 0; i < COUNTER_COUNT; i++) {
		const struct counter_info *info = &counter_infos[i];
		bool gauge = info->type == COUNTER_TYPE_gauge;
		bool labels = info->labels[0] != '\0';

		if (strcmp(metric, info->metric) != 0)
			head_print(out, info->metric, gauge ? "gauge" : "counter", info->help);
		metric = info->metric;
		fprintf(out, "%s%s%s%s %" PRId64 "\n", metric, labels ? "{" : "", info->labels,
			labels ? "}" : "", counter_sum((enum counter)i));
	}
}

/* ---- histograms ---- */

static void histogram_print(FILE *out, const struct histogram_info *info, enum histogram histogram)
{
	struct histogram_sum sum;
	uint64_t below = 0;

	histogram_sum(histogram, &sum);
	head_print(out, info->metric, "histogram", info->help);
	for (int i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
		below += sum.buckets[i];
		fprintf(out, "%s_bucket{le=\"%.10g\"} %" PRIu64 "\n", info->metric,
			(double)(1ull << i) * info->scale, below);
	}
	fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", info->metric, sum.count);
	if (info->scale == 1)
		fprintf(out, "%s_sum %" PRIu64 "\n", info->metric, sum.sum);
	else
		fprintf(out, "%s_sum %.6f\n", info->metric, (double)sum.sum * info->scale);
	fprintf(out, "%s_count %" PRIu64 "\n", info->metric, sum.count);
}

static void histograms_print(FILE *out)
{
	for (int i = 0; i < HISTOGRAM_COUNT; i++)
		histogram_print(out, &histogram_infos[i], (enum histogram)i);
}

/* ---- the queue ---- */

static void destination_print(FILE *out, const char *name, const json_t *tally)
{
	for (int i = 0; i < CONTROL_QUEUE_STATES; i++) {
		const char *state = control_queue_state_words[i];

		fputs("postern_queue_destination_messages{destination=\"", out);
		label_print(out, name);
		fprintf(out, "\",state=\"%s\"} %" JSON_INTEGER_FORMAT "\n", state,
			json_integer_value(json_object_get(tally, state)));
	}
}

static void destinations_print(FILE *out, const json_t *queue)
{
	const json_t *list = json_object_get(queue, "destinations");
	const json_t *other = json_object_get(queue, "other");

	if (json_array_size(list) == 0)
		return;
	head_print(out, "postern_queue_destination_messages", "gauge",
		"Messages in the queue by destination; one for several destinations counts at each.");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *tally = json_array_get(list, i);

		destination_print(
			out, json_string_value(json_object_get(tally, "destination")), tally);
	}
	if (json_is_object(other))
		destination_print(out, "(other)", other);
}

static void queue_print(FILE *out, const json_t *queue)
{
	json_int_t oldest = json_integer_value(json_object_get(queue, "oldest_seconds"));
	json_int_t now = (json_int_t)(clock_real_us() / 1000000);

	if (!json_is_array(json_object_get(queue, "destinations")))
		return;
	head_print(out, "postern_queue_oldest_seconds", "gauge",
		"Age of the oldest message in the queue; 0 if it is empty.");
	fprintf(out, "postern_queue_oldest_seconds %" JSON_INTEGER_FORMAT "\n",
		oldest > 0 && oldest < now ? now - oldest : 0);
	destinations_print(out, queue);
}

/* ---- the fence ---- */

static json_int_t number_at(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void labels_print(FILE *out, const json_t *row, const char *const *keys, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		fprintf(out, "%s%s=\"", i > 0 ? "," : "{", keys[i]);
		label_print(out, json_string_value(json_object_get(row, keys[i])));
		fputc('"', out);
	}
	fputc('}', out);
}

static void fence_counts_print(FILE *out, const json_t *fence)
{
	static const struct {
		const char *metric;
		const char *key;
		const char *help;
	} metrics[] = {
		{"postern_fence_verdicts_total", "packets",
			"Decisions of the fence: SYNs, segments or receives, connections, handshakes."},
		{"postern_fence_bytes_total", "bytes", "Octets that came with them."},
	};
	static const char *const labels[] = {"where", "class", "verdict", "reason"};
	const json_t *rows = json_object_get(fence, "counts");

	for (size_t m = 0; m < COUNT_OF(metrics); m++) {
		bool headed = false;

		for (size_t i = 0; i < json_array_size(rows); i++) {
			const json_t *row = json_array_get(rows, i);

			if (number_at(row, metrics[m].key) == 0)
				continue;
			if (!headed)
				head_print(out, metrics[m].metric, "counter", metrics[m].help);
			headed = true;
			fputs(metrics[m].metric, out);
			labels_print(out, row, labels, COUNT_OF(labels));
			fprintf(out, " %" JSON_INTEGER_FORMAT "\n", number_at(row, metrics[m].key));
		}
	}
}

/* `now` or `max` of the rows that are about this gauge. */
static void fence_gauge_print(FILE *out, const json_t *fence, const char *gauge, const char *key,
	const char *metric, const char *help)
{
	static const char *const labels[] = {"standing"};
	const json_t *rows = json_object_get(fence, "gauges");
	bool headed = false;

	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		const char *name = json_string_value(json_object_get(row, "gauge"));

		if (name == NULL || strcmp(name, gauge) != 0)
			continue;
		if (!headed)
			head_print(out, metric, "gauge", help);
		headed = true;
		fputs(metric, out);
		labels_print(out, row, labels, COUNT_OF(labels));
		fprintf(out, " %" JSON_INTEGER_FORMAT "\n", number_at(row, key));
	}
}

static void fence_running_print(FILE *out, const json_t *fence)
{
	static const char *const modes[] = {"kernel", "user", "off"};
	const char *running = json_string_value(json_object_get(fence, "running"));

	head_print(
		out, "postern_fence_running", "gauge", "1 for where the fence runs, otherwise 0.");
	for (size_t i = 0; i < COUNT_OF(modes); i++)
		fprintf(out, "postern_fence_running{mode=\"%s\"} %d\n", modes[i],
			running != NULL && strcmp(running, modes[i]) == 0);
}

static void fence_sources_print(FILE *out, const json_t *fence)
{
	const json_t *sources = json_object_get(fence, "sources");

	head_print(
		out, "postern_fence_sources", "gauge", "Sources that have a budget of their own.");
	fprintf(out, "postern_fence_sources{where=\"kernel\"} %" JSON_INTEGER_FORMAT "\n",
		number_at(sources, "kernel"));
	fprintf(out, "postern_fence_sources{where=\"gateway\"} %" JSON_INTEGER_FORMAT "\n",
		number_at(sources, "gateway"));
	head_print(
		out, "postern_fence_sources_max", "gauge", "How many there can be, in each place.");
	fprintf(out, "postern_fence_sources_max %" JSON_INTEGER_FORMAT "\n",
		number_at(sources, "max"));
}

static void fence_print(FILE *out, const json_t *fence)
{
	static const struct {
		const char *metric;
		const char *key;
		const char *type;
		const char *help;
	} numbers[] = {
		{"postern_fence_networks", "networks", "gauge", "Allowed and blocked networks."},
		{"postern_fence_sources_behaved", "behaved", "gauge",
			"Sources whose good conduct is remembered."},
		{"postern_fence_sources_penalized", "penalties", "gauge",
			"Sources under a penalty."},
		{"postern_fence_samples_dropped_total", "samples_dropped", "counter",
			"Sampled refusals for which there was no room."},
	};

	if (!json_is_object(fence))
		return;
	fence_running_print(out, fence);
	fence_sources_print(out, fence);
	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		head_print(out, numbers[i].metric, numbers[i].type, numbers[i].help);
		fprintf(out, "%s %" JSON_INTEGER_FORMAT "\n", numbers[i].metric,
			number_at(fence, numbers[i].key));
	}
	fence_gauge_print(out, fence, "open", "now", "postern_fence_open",
		"Open connections that the fence counts.");
	fence_gauge_print(out, fence, "open", "max", "postern_fence_open_max",
		"How many there may be; 0: no limit.");
	fence_gauge_print(out, fence, "shaking", "now", "postern_fence_shaking",
		"TLS handshakes that are not finished.");
	fence_gauge_print(out, fence, "shaking", "max", "postern_fence_shaking_max",
		"How many there may be; 0: no limit.");
	fence_counts_print(out, fence);
}

/* ---- facts ---- */

static void facts_print(FILE *out, const struct control_status *status)
{
	uint64_t start_us = status->started_real_us;

	head_print(out, "postern_info", "gauge", "Always 1; the version is a label.");
	fputs("postern_info{version=\"", out);
	label_print(out, status->version);
	fputs("\"} 1\n", out);
	head_print(out, "postern_start_time_seconds", "gauge",
		"Start, seconds since 1970; 0 if not known.");
	fprintf(out, "postern_start_time_seconds %" PRIu64 ".%03" PRIu64 "\n", start_us / 1000000,
		start_us / 1000 % 1000);
	head_print(out, "postern_workers", "gauge", "Worker threads.");
	fprintf(out, "postern_workers %" PRIu32 "\n", status->workers);
	head_print(out, "postern_draining", "gauge", "1 while stopping, otherwise 0.");
	fprintf(out, "postern_draining %d\n", status->draining);
}

static void certificates_print(FILE *out, const struct control_status *status)
{
	const char *metric = "postern_certificate_not_after_seconds";

	if (status->certificates_n == 0)
		return;
	head_print(out, metric, "gauge",
		"When a certificate expires, seconds since 1970; 0 if not known.");
	for (size_t i = 0; i < status->certificates_n; i++) {
		const struct control_certificate *one = &status->certificates[i];

		fprintf(out, "%s{certificate=\"", metric);
		label_print(out, one->title);
		fprintf(out, "\"} %" PRId64 "\n", one->not_after_s);
	}
}

int control_metrics_text(const struct control_status *status, const json_t *queue,
	const json_t *fence, char **text, size_t *n)
{
	FILE *out;
	bool failed;

	*text = NULL;
	out = open_memstream(text, n);
	if (out == NULL)
		return -1;
	counters_print(out);
	histograms_print(out);
	queue_print(out, queue);
	fence_print(out, fence);
	facts_print(out, status);
	certificates_print(out, status);
	failed = ferror(out) != 0;
	failed = fclose(out) != 0 || failed;
	if (!failed)
		return 0;
	free(*text);
	*text = NULL;
	return -1;
}
