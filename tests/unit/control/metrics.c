/* SPDX-License-Identifier: MIT */
/*
 * metrics.c -- the text exposition, read back by a strict reader of its own: names, types, labels,
 * one HELP and TYPE a metric before its samples, samples of a metric together, none twice.
 */
#include <criterion/criterion.h>

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/histogram.h"
#include "control/control-private.h"

#define METRICS_MAX 200
#define SAMPLES_MAX 1200
#define NAME_MAX_   128

struct reader {
	regex_t head, sample;
	char metrics[METRICS_MAX][NAME_MAX_]; /* in order of HELP */
	char types[METRICS_MAX][16];
	size_t metrics_n;
	char samples[SAMPLES_MAX][2 * NAME_MAX_]; /* name and labels */
	double values[SAMPLES_MAX];
	size_t samples_n;
	bool typed; /* TYPE came after the last HELP */
};

static void reader_open(struct reader *reader)
{
	static const char *const head = "^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$";
	static const char *const sample =
		"^(([a-zA-Z_:][a-zA-Z0-9_:]*)"
		"(\\{[a-zA-Z_][a-zA-Z0-9_]*=\"([^\"\\]|\\\\[\"n\\])*\""
		"(,[a-zA-Z_][a-zA-Z0-9_]*=\"([^\"\\]|\\\\[\"n\\])*\")*\\})?)"
		" (-?[0-9]+(\\.[0-9]+)?)$";

	memset(reader, 0, sizeof(*reader));
	cr_assert_eq(regcomp(&reader->head, head, REG_EXTENDED), 0);
	cr_assert_eq(regcomp(&reader->sample, sample, REG_EXTENDED), 0);
}

static void copy(char *out, size_t n, const char *line, const regmatch_t *match)
{
	int length = (int)(match->rm_eo - match->rm_so);

	cr_assert_lt((size_t)length, n);
	snprintf(out, n, "%.*s", length, line + match->rm_so);
}

static void head_read(struct reader *reader, const char *line)
{
	regmatch_t m[4];
	char word[8], name[NAME_MAX_], rest[512];

	cr_assert_eq(regexec(&reader->head, line, 4, m, 0), 0, "not HELP or TYPE: %s", line);
	copy(word, sizeof(word), line, &m[1]);
	copy(name, sizeof(name), line, &m[2]);
	copy(rest, sizeof(rest), line, &m[3]);
	if (strcmp(word, "HELP") == 0) {
		for (size_t i = 0; i < reader->metrics_n; i++)
			cr_assert_str_neq(reader->metrics[i], name, "second HELP: %s", line);
		cr_assert_lt(reader->metrics_n, METRICS_MAX);
		strcpy(reader->metrics[reader->metrics_n++], name);
		reader->typed = false;
		cr_assert_null(strchr(rest, '\\'), "escapes are not expected: %s", line);
		return;
	}
	cr_assert_gt(reader->metrics_n, 0);
	cr_assert_str_eq(reader->metrics[reader->metrics_n - 1], name, "TYPE not after HELP");
	cr_assert_not(reader->typed, "second TYPE: %s", line);
	reader->typed = true;
	cr_assert(strcmp(rest, "counter") == 0 || strcmp(rest, "gauge") == 0 ||
			  strcmp(rest, "histogram") == 0,
		"%s", line);
	strcpy(reader->types[reader->metrics_n - 1], rest);
}

/* A histogram's samples have names of their own. */
static bool name_fits(const struct reader *reader, const char *name)
{
	static const char *const ends[] = {"_bucket", "_sum", "_count"};
	const char *metric = reader->metrics[reader->metrics_n - 1];
	size_t n = strlen(metric);

	if (strcmp(reader->types[reader->metrics_n - 1], "histogram") != 0)
		return strcmp(metric, name) == 0;
	for (size_t i = 0; i < COUNT_OF(ends); i++)
		if (strncmp(name, metric, n) == 0 && strcmp(name + n, ends[i]) == 0)
			return true;
	return false;
}

static void sample_read(struct reader *reader, const char *line)
{
	regmatch_t m[9];
	char name[NAME_MAX_], value[64];
	size_t i = reader->samples_n;

	cr_assert_eq(regexec(&reader->sample, line, 9, m, 0), 0, "no sample: %s", line);
	cr_assert_lt(i, SAMPLES_MAX);
	copy(reader->samples[i], sizeof(reader->samples[i]), line, &m[1]);
	copy(name, sizeof(name), line, &m[2]);
	copy(value, sizeof(value), line, &m[7]);
	cr_assert(reader->typed, "sample before TYPE: %s", line);
	cr_assert(name_fits(reader, name), "out of place: %s", line);
	for (size_t k = 0; k < i; k++)
		cr_assert_str_neq(reader->samples[k], reader->samples[i], "twice: %s", line);
	reader->values[i] = atof(value);
	reader->samples_n++;
}

static void reader_read(struct reader *reader, const struct control_status *status,
	const json_t *queue, const json_t *fence)
{
	char *text, *save = NULL;
	size_t n;

	reader_open(reader);
	cr_assert_eq(control_metrics_text(status, queue, fence, &text, &n), 0);
	cr_assert_eq(strlen(text), n);
	cr_assert_eq(text[n - 1], '\n', "the last line needs its end");
	cr_assert_null(strstr(text, "\n\n"), "empty line");
	for (char *line = strtok_r(text, "\n", &save); line != NULL;
		line = strtok_r(NULL, "\n", &save)) {
		if (line[0] == '#')
			head_read(reader, line);
		else
			sample_read(reader, line);
	}
	free(text);
}

static void reader_run(struct reader *reader, const struct control_status *status)
{
	reader_read(reader, status, NULL, NULL);
}

static void reader_close(struct reader *reader)
{
	regfree(&reader->head);
	regfree(&reader->sample);
}

static double value_of(const struct reader *reader, const char *sample)
{
	for (size_t i = 0; i < reader->samples_n; i++)
		if (strcmp(reader->samples[i], sample) == 0)
			return reader->values[i];
	cr_assert_fail("no sample %s", sample);
	return 0;
}

static struct reader reader;

Test(control_metrics, every_counter_with_its_value)
{
	struct control_status status = {0};
	char sample[2 * NAME_MAX_];

	for (int i = 0; i < COUNTER_COUNT; i++)
		count_add((enum counter)i, 1000 + i);
	reader_run(&reader, &status);
	for (int i = 0; i < COUNTER_COUNT; i++) {
		const struct counter_info *info = &counter_infos[i];
		bool labels = info->labels[0] != '\0';

		snprintf(sample, sizeof(sample), labels ? "%s{%s}" : "%s%s", info->metric,
			info->labels);
		cr_expect_eq(value_of(&reader, sample), 1000 + i, "%s", sample);
	}
	reader_close(&reader);
}

Test(control_metrics, names_follow_the_conventions)
{
	struct control_status status = {0};

	reader_run(&reader, &status);
	for (size_t i = 0; i < reader.metrics_n; i++) {
		const char *name = reader.metrics[i];
		bool total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;

		cr_expect_eq(strncmp(name, "postern_", 8), 0, "%s", name);
		cr_expect_eq(total, strcmp(reader.types[i], "counter") == 0, "%s", name);
	}
	reader_close(&reader);
}

Test(control_metrics, negative_gauge)
{
	struct control_status status = {0};

	count_add(COUNTER_SESSIONS_ACTIVE, -1);
	reader_run(&reader, &status);
	cr_expect_eq(value_of(&reader, "postern_sessions_active"), -1);
	reader_close(&reader);
}

Test(control_metrics, facts)
{
	static const struct control_certificate certificates[] = {
		{"default", NULL, NULL, 0, 1800000000}, {"odd \" \\ \n \xff", NULL, NULL, 0, 7}};
	struct control_status status = {.version = "1.0-\"x\"",
		.started_real_us = 1700000000012345,
		.workers = 3,
		.draining = true,
		.certificates = certificates,
		.certificates_n = 2};

	reader_run(&reader, &status);
	cr_expect_eq(value_of(&reader, "postern_info{version=\"1.0-\\\"x\\\"\"}"), 1);
	cr_expect_float_eq(value_of(&reader, "postern_start_time_seconds"), 1700000000.012, 1e-6);
	cr_expect_eq(value_of(&reader, "postern_workers"), 3);
	cr_expect_eq(value_of(&reader, "postern_draining"), 1);
	cr_expect_eq(
		value_of(&reader, "postern_certificate_not_after_seconds{certificate=\"default\"}"),
		1800000000);
	cr_expect_eq(value_of(&reader, "postern_certificate_not_after_seconds"
				       "{certificate=\"odd \\\" \\\\ \\n \\\\xff\"}"),
		7);
	reader_close(&reader);
}

/* The answer carries the same numbers a second time, as an object. */
Test(control_metrics, answer_has_text_and_values)
{
	static const struct control_certificate odd = {"a b \" \\ \n", NULL, NULL, 0, 7};
	struct control_status status = {
		.started_real_us = 1700000000012345, .certificates = &odd, .certificates_n = 1};
	json_t *root;
	const json_t *values;

	count_add(COUNTER_WRONG_PROTOCOL_HTTP, 5);
	reader_run(&reader, &status);
	root = control_answer_metrics(&status, NULL, NULL);
	values = json_object_get(root, "values");
	cr_assert_eq(json_object_size(values), reader.samples_n);
	for (size_t i = 0; i < reader.samples_n; i++)
		cr_expect_float_eq(json_number_value(json_object_get(values, reader.samples[i])),
			reader.values[i], 1e-6, "%s", reader.samples[i]);
	cr_expect_eq(json_integer_value(json_object_get(
			     values, "postern_wrong_protocol_total{kind=\"http\"}")),
		5);
	cr_expect_not_null(strstr(json_string_value(json_object_get(root, "text")),
		"\npostern_wrong_protocol_total{kind=\"http\"} 5\n"));
	json_decref(root);
	reader_close(&reader);
}

Test(control_metrics, histogram)
{
	static const struct {
		const char *sample;
		double value;
	} rows[] = {
		{"postern_spool_batch_messages_bucket{le=\"1\"}", 2},
		{"postern_spool_batch_messages_bucket{le=\"2\"}", 2},
		{"postern_spool_batch_messages_bucket{le=\"4\"}", 3},
		{"postern_spool_batch_messages_bucket{le=\"+Inf\"}", 3},
		{"postern_spool_batch_messages_sum", 5},
		{"postern_spool_batch_messages_count", 3},
		{"postern_spool_commit_seconds_bucket{le=\"0.000512\"}", 0},
		{"postern_spool_commit_seconds_bucket{le=\"0.001024\"}", 1},
		{"postern_spool_commit_seconds_bucket{le=\"1.048576\"}", 1},
		{"postern_spool_commit_seconds_bucket{le=\"+Inf\"}", 2},
		{"postern_spool_commit_seconds_sum", 10000.000001},
		{"postern_spool_commit_seconds_count", 2},
		{"postern_relay_delivery_seconds_bucket{le=\"+Inf\"}", 0},
		{"postern_relay_delivery_seconds_sum", 0},
		{"postern_relay_delivery_seconds_count", 0},
	};
	struct control_status status = {0};
	size_t delivery_n = 0;

	histogram_add(HISTOGRAM_SPOOL_BATCH, 1);
	histogram_add(HISTOGRAM_SPOOL_BATCH, 1);
	histogram_add(HISTOGRAM_SPOOL_BATCH, 3);
	histogram_add(HISTOGRAM_SPOOL_COMMIT_US, 1000);
	histogram_add(HISTOGRAM_SPOOL_COMMIT_US, 9999999001); /* over all buckets */
	reader_run(&reader, &status);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_float_eq(value_of(&reader, rows[i].sample), rows[i].value, 1e-7, "%s",
			rows[i].sample);
	for (size_t i = 0; i < reader.samples_n; i++)
		delivery_n += strncmp(reader.samples[i], "postern_relay_delivery_seconds", 30) == 0;
	cr_expect_eq(delivery_n, HISTOGRAM_BUCKETS + 2, "an empty histogram has all its buckets");
	reader_close(&reader);
}

static const uint64_t queue_now_us = 1700000000000000;

Test(control_metrics, queue)
{
	static const struct {
		const char *sample;
		double value;
	} rows[] = {
		{"postern_queue_oldest_seconds", 77},
		{"postern_queue_destination_messages{destination=\"lmtp:a\\\"b\",state=\"ready\"}",
			2},
		{"postern_queue_destination_messages{destination=\"lmtp:a\\\"b\",state=\"held\"}",
			0},
		{"postern_queue_destination_messages{destination=\"(other)\",state=\"deferred\"}",
			3},
	};
	struct control_status status = {0};
	json_t *queue = json_pack("{s:i, s:{s:i,s:i,s:i,s:i}, s:I, s:[{s:s,s:i}], s:{s:i}}",
		"matched", 6, "states", "active", 1, "ready", 2, "deferred", 3, "held", 0,
		"oldest_seconds", (json_int_t)1699999923, "destinations", "destination",
		"lmtp:a\"b", "ready", 2, "other", "deferred", 3);

	cr_assert_not_null(queue);
	clock_set_for_test(NULL, &queue_now_us);
	reader_read(&reader, &status, queue, NULL);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(
			value_of(&reader, rows[i].sample), rows[i].value, "%s", rows[i].sample);
	clock_set_for_test(NULL, NULL);
	json_decref(queue);
	reader_close(&reader);
}

Test(control_metrics, queue_that_is_empty_or_says_nothing)
{
	struct control_status status = {0};
	json_t *empty = json_pack("{s:i, s:{s:i}, s:n, s:[], s:n}", "matched", 0, "states",
		"active", 0, "oldest_seconds", "destinations", "other");
	json_t *strange = json_pack("{s:i}", "matched", 0);

	reader_read(&reader, &status, empty, NULL);
	cr_expect_eq(value_of(&reader, "postern_queue_oldest_seconds"), 0);
	reader_close(&reader);
	reader_read(&reader, &status, strange, NULL);
	for (size_t i = 0; i < reader.samples_n; i++)
		cr_expect_null(strstr(reader.samples[i], "queue_oldest"), "%s", reader.samples[i]);
	reader_close(&reader);
	json_decref(empty);
	json_decref(strange);
}

/* ---- the fence ---- */

static json_t *fence_json(void)
{
	json_t *fence = json_pack("{s:s, s:{s:i,s:i,s:i}, s:i, s:i, s:i, s:i}", "running", "kernel",
		"sources", "kernel", 12, "gateway", 3, "max", 65536, "networks", 5, "behaved", 6,
		"penalties", 7, "samples_dropped", 8);
	json_t *gauges = json_pack("[{s:s,s:s,s:i,s:i}, {s:s,s:s,s:i,s:n}, {s:s,s:s,s:i,s:i}]",
		"gauge", "open", "standing", "stranger", "now", 40, "max", 100, "gauge", "open",
		"standing", "behaved", "now", 41, "max", "gauge", "shaking", "standing", "stranger",
		"now", 42, "max", 50);
	json_t *counts =
		json_pack("[{s:s,s:s,s:s,s:s,s:I,s:i}, {s:s,s:s,s:s,s:s,s:i,s:i}]", "where",
			"kernel", "class", "new", "verdict", "refuse", "reason", "over_connections",
			"packets", (json_int_t)5000000000, "bytes", 0, "where", "gateway", "class",
			"plain", "verdict", "pass", "reason", "pass", "packets", 9, "bytes", 900);

	cr_assert_not_null(fence);
	json_object_set_new(fence, "gauges", gauges);
	json_object_set_new(fence, "counts", counts);
	return fence;
}

Test(control_metrics, fence)
{
	static const struct {
		const char *sample;
		double value;
	} rows[] = {
		{"postern_fence_running{mode=\"kernel\"}", 1},
		{"postern_fence_running{mode=\"user\"}", 0},
		{"postern_fence_running{mode=\"off\"}", 0},
		{"postern_fence_sources{where=\"kernel\"}", 12},
		{"postern_fence_sources{where=\"gateway\"}", 3},
		{"postern_fence_sources_max", 65536},
		{"postern_fence_networks", 5},
		{"postern_fence_sources_behaved", 6},
		{"postern_fence_sources_penalized", 7},
		{"postern_fence_samples_dropped_total", 8},
		{"postern_fence_open{standing=\"stranger\"}", 40},
		{"postern_fence_open{standing=\"behaved\"}", 41},
		{"postern_fence_open_max{standing=\"stranger\"}", 100},
		{"postern_fence_open_max{standing=\"behaved\"}", 0},
		{"postern_fence_shaking{standing=\"stranger\"}", 42},
		{"postern_fence_shaking_max{standing=\"stranger\"}", 50},
		{"postern_fence_verdicts_total{where=\"kernel\",class=\"new\",verdict=\"refuse\","
		 "reason=\"over_connections\"}",
			5000000000},
		{"postern_fence_verdicts_total{where=\"gateway\",class=\"plain\",verdict=\"pass\","
		 "reason=\"pass\"}",
			9},
		{"postern_fence_bytes_total{where=\"gateway\",class=\"plain\",verdict=\"pass\","
		 "reason=\"pass\"}",
			900},
	};
	struct control_status status = {0};
	json_t *fence = fence_json();
	size_t octets = 0;

	reader_read(&reader, &status, NULL, fence);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(
			value_of(&reader, rows[i].sample), rows[i].value, "%s", rows[i].sample);
	for (size_t i = 0; i < reader.samples_n; i++)
		octets += strncmp(reader.samples[i], "postern_fence_bytes_total", 25) == 0;
	cr_expect_eq(octets, 1, "a count of zero has no row");
	for (size_t i = 0; i < reader.metrics_n; i++) {
		const char *name = reader.metrics[i];
		bool total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;

		cr_expect_eq(total, strcmp(reader.types[i], "counter") == 0, "%s", name);
	}
	reader_close(&reader);
	json_decref(fence);
}

/* Nothing known, or nothing decided yet. */
Test(control_metrics, fence_that_says_little)
{
	struct control_status status = {0};
	json_t *off = json_pack("{s:s}", "running", "off");

	reader_read(&reader, &status, NULL, NULL);
	for (size_t i = 0; i < reader.samples_n; i++)
		cr_expect_null(strstr(reader.samples[i], "fence_running"), "%s", reader.samples[i]);
	reader_close(&reader);
	reader_read(&reader, &status, NULL, off);
	cr_expect_eq(value_of(&reader, "postern_fence_running{mode=\"off\"}"), 1);
	cr_expect_eq(value_of(&reader, "postern_fence_sources{where=\"kernel\"}"), 0);
	reader_close(&reader);
	json_decref(off);
}
