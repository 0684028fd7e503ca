/* SPDX-License-Identifier: MIT */
/* report.c -- the sink's summary: text for a person, JSON for scripts; keys are kept. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/lib/usage.h"
#include "bench/sink/sink.h"

#define PATH_BYTES 4096

static const struct row {
	const char *key;
	size_t at;
} rows[] = {
	{"connections", offsetof(struct counts, connections)},
	{"connections_refused", offsetof(struct counts, refused)},
	{"handshakes", offsetof(struct counts, handshakes)},
	{"resumed", offsetof(struct counts, resumed)},
	{"tls_failed", offsetof(struct counts, tls_failed)},
	{"messages", offsetof(struct counts, messages)},
	{"recipients", offsetof(struct counts, recipients)},
	{"octets", offsetof(struct counts, octets)},
	{"messages_refused", offsetof(struct counts, refused_messages)},
	{"messages_aborted", offsetof(struct counts, aborted)},
	{"injected", offsetof(struct counts, injected)},
	{"bad_commands", offsetof(struct counts, bad_commands)},
	{"timeouts", offsetof(struct counts, timeouts)},
	{"store_failed", offsetof(struct counts, store_failed)},
};

static uint64_t value(const struct counts *counts, const struct row *row)
{
	uint64_t n;

	memcpy(&n, (const char *)counts + row->at, sizeof(n));
	return n;
}

struct figure {
	const char *key;
	uint64_t n;
};

#define NUMBER_FIGURES 7

static void number_figures(const struct sink *sink, struct figure out[NUMBER_FIGURES])
{
	const struct numbers *numbers = &sink->numbers;

	out[0] = (struct figure){"good", sink->counts.good};
	out[1] = (struct figure){"corrupt", sink->counts.corrupt};
	out[2] = (struct figure){"unnumbered", sink->counts.unnumbered};
	out[3] = (struct figure){"duplicates", numbers->duplicates};
	out[4] = (struct figure){"missing", numbers_missing(numbers)};
	out[5] = (struct figure){"outside", numbers->outside};
	out[6] = (struct figure){"highest", numbers->highest};
}

bool report_faultless(const struct sink *sink)
{
	return sink->counts.corrupt == 0 && sink->counts.unnumbered == 0 &&
	       sink->numbers.duplicates == 0 && sink->numbers.outside == 0 &&
	       numbers_missing(&sink->numbers) == 0;
}

static void write_json(struct sink *sink, FILE *file)
{
	struct usage usage;
	struct figure figures[NUMBER_FIGURES];
	const struct faults *faults = &sink->options->faults;

	(void)fprintf(file, "{");
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		(void)fprintf(file, "%s\"%s\": %" PRIu64, i ? ", " : "", rows[i].key,
			value(&sink->counts, &rows[i]));
	(void)fprintf(file, ", \"open\": %u", sink->open);
	if (sink->options->verify) {
		number_figures(sink, figures);
		(void)fprintf(file, ", \"numbers\": {");
		for (unsigned i = 0; i < NUMBER_FIGURES; i++)
			(void)fprintf(file, "%s\"%s\": %" PRIu64, i ? ", " : "", figures[i].key,
				figures[i].n);
		(void)fprintf(file, "}");
	}
	usage_get(&usage);
	(void)fprintf(file, ", \"cpu_user_seconds\": %.6f, \"cpu_system_seconds\": %.6f",
		usage.user_seconds, usage.system_seconds);
	/* Rules were parsed: their texts need no escaping. */
	(void)fprintf(file, ", \"faults\": [");
	for (unsigned i = 0; i < faults->n; i++)
		(void)fprintf(file,
			"%s{\"rule\": \"%s\", \"seen\": %" PRIu64 ", \"hits\": %" PRIu64 "}",
			i ? ", " : "", faults->rules[i].text, faults->rules[i].seen,
			faults->rules[i].hits);
	(void)fprintf(file, "]}\n");
}

static void write_text(struct sink *sink, FILE *file)
{
	struct usage usage;
	struct figure figures[NUMBER_FIGURES];
	const struct faults *faults = &sink->options->faults;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		(void)fprintf(
			file, "%-20s %" PRIu64 "\n", rows[i].key, value(&sink->counts, &rows[i]));
	if (sink->options->verify) {
		number_figures(sink, figures);
		for (unsigned i = 0; i < NUMBER_FIGURES; i++)
			(void)fprintf(
				file, "numbers %-12s %" PRIu64 "\n", figures[i].key, figures[i].n);
	}
	usage_get(&usage);
	(void)fprintf(file, "own cpu              %.3f s user, %.3f s system\n", usage.user_seconds,
		usage.system_seconds);
	for (unsigned i = 0; i < faults->n; i++)
		(void)fprintf(file, "fault %s: %" PRIu64 " of %" PRIu64 "\n", faults->rules[i].text,
			faults->rules[i].hits, faults->rules[i].seen);
}

int report_write(struct sink *sink, FILE *file)
{
	if (sink->options->json)
		write_json(sink, file);
	else
		write_text(sink, file);
	return fflush(file) == 0 && !ferror(file) ? 0 : -1;
}

int report_state(struct sink *sink)
{
	char path[PATH_BYTES];
	int n = snprintf(path, sizeof(path), "%s.new", sink->options->state);
	FILE *file = n > 0 && (size_t)n < sizeof(path) ? fopen(path, "we") : NULL;
	int result;

	if (!file)
		return -1;
	result = report_write(sink, file);
	if (fclose(file) != 0 || result < 0)
		return -1;
	return rename(path, sink->options->state);
}
