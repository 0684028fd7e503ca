/* SPDX-License-Identifier: MIT */
/*
 * report.c -- see report.h. Times are milliseconds in text, microseconds in JSON and CSV.
 *
 * The keys of the JSON and the columns of the CSV are kept from version to version; new ones may be
 * added at the end.
 */
#include "bench/load/report.h"

#include <inttypes.h>

#include "bench/lib/usage.h"

static const struct quantile {
	const char *name;
	double q;
} quantiles[] = {
	{"p50", 0.50},
	{"p75", 0.75},
	{"p90", 0.90},
	{"p95", 0.95},
	{"p99", 0.99},
	{"p99_9", 0.999},
};

struct figures {
	double seconds;
	double measured_seconds; /* after the ramp, to the last answer */
	double per_second;
	double octets_per_second;
	double first_tenth; /* messages a second in the first and last tenth of whole seconds */
	double last_tenth;
	struct usage usage; /* of this program, from its start */
};

static double tenth(const struct stats *stats, unsigned from, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = from; i < from + n; i++)
		sum += stats->seconds[i];
	return n ? (double)sum / n : 0;
}

static struct figures figures_of(
	const struct options *options, const struct stats *stats, double seconds)
{
	struct figures f = {.seconds = seconds};
	unsigned first = (unsigned)options->ramp_seconds + (options->ramp_seconds > 0);
	unsigned whole = (unsigned)(stats->last_ns / 1000000000u), n;

	usage_get(&f.usage);
	f.measured_seconds = (double)stats->last_ns / 1e9 - options->ramp_seconds;
	if (f.measured_seconds > 0) {
		f.per_second = (double)stats->measured / f.measured_seconds;
		f.octets_per_second = (double)stats->measured_octets / f.measured_seconds;
	} else {
		f.measured_seconds = 0;
	}
	if (whole > STATS_SECONDS_MAX - 1)
		whole = STATS_SECONDS_MAX - 1;
	if (whole > first) {
		n = (whole - first + 9) / 10;
		f.first_tenth = tenth(stats, first, n);
		f.last_tenth = tenth(stats, whole - n, n);
	}
	return f;
}

/* ---- text ---- */

static void text_hist(FILE *file, const char *name, const struct hist *hist)
{
	if (hist->n == 0)
		return;
	(void)fprintf(file, "%-10s mean %.3f", name, hist_mean(hist) / 1e6);
	for (size_t i = 0; i < COUNT_OF(quantiles); i++)
		(void)fprintf(file, "  %s %.3f", quantiles[i].name,
			(double)hist_quantile(hist, quantiles[i].q) / 1e6);
	(void)fprintf(file, "  max %.3f ms\n", (double)hist->max / 1e6);
}

static void text_failures(FILE *file, struct stats *stats)
{
	const char *before = " (";

	(void)fprintf(file, "failed     %" PRIu64, stats_failed(stats));
	for (unsigned i = 0; i < FAIL_COUNT; i++) {
		if (!stats->failed[i])
			continue;
		(void)fprintf(file, "%s%s %" PRIu64, before, fail_names[i], stats->failed[i]);
		before = ", ";
	}
	(void)fprintf(file, "%s\n", before[0] == ',' ? ")" : "");
}

static void text_write(
	FILE *file, const struct options *options, struct stats *stats, const struct figures *f)
{
	if (options->idle)
		(void)fprintf(file,
			"sessions   %" PRIu64 " opened, %" PRIu64 " stood to the end, %" PRIu64
			" lost while held\n",
			stats->sessions, stats->stood, stats->lost);
	else
		(void)fprintf(file, "accepted   %" PRIu64 " messages, %.1f a second, %.3f MB/s\n",
			stats->accepted, f->per_second, f->octets_per_second / 1e6);
	text_failures(file, stats);
	(void)fprintf(file,
		"took       %.3f s, %" PRIu64 " connections, %" PRIu64 " TLS handshakes, %" PRIu64
		" resumed\n",
		f->seconds, stats->connections, stats->handshakes, stats->resumed);
	for (unsigned i = 0; i < STATS_TLS_MAX && stats->tls[i].version; i++)
		(void)fprintf(file, "tls        %s %s, %s: %" PRIu64 "\n", stats->tls[i].version,
			stats->tls[i].cipher, stats->tls[i].group, stats->tls[i].n);
	(void)fprintf(file, "own cpu    %.3f s user, %.3f s system\n", f->usage.user_seconds,
		f->usage.system_seconds);
	text_hist(file, "latency", &stats->latency);
	if (options->rate > 0)
		text_hist(file, "service", &stats->service);
	text_hist(file, "setup", &stats->setup);
}

/* ---- JSON ---- */

static void json_hist(FILE *file, const char *name, const struct hist *hist, bool buckets)
{
	const char *comma = "";

	(void)fprintf(file, ",\n  \"%s\": {\"count\": %" PRIu64 ", \"mean\": %.3f, \"min\": %.3f",
		name, hist->n, hist_mean(hist) / 1e3, hist->n ? (double)hist->min / 1e3 : 0);
	for (size_t i = 0; i < COUNT_OF(quantiles); i++)
		(void)fprintf(file, ", \"%s\": %.3f", quantiles[i].name,
			(double)hist_quantile(hist, quantiles[i].q) / 1e3);
	(void)fprintf(file, ", \"max\": %.3f", (double)hist->max / 1e3);
	if (buckets) {
		(void)fprintf(file, ", \"buckets\": [");
		for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
			if (!hist->buckets[i])
				continue;
			(void)fprintf(file, "%s[%.3f, %" PRIu64 "]", comma,
				(double)hist_bucket_top(i) / 1e3, hist->buckets[i]);
			comma = ", ";
		}
		(void)fprintf(file, "]");
	}
	(void)fprintf(file, "}");
}

static void json_failures(FILE *file, struct stats *stats)
{
	const char *comma = "";

	(void)fprintf(file, ",\n  \"failures\": {");
	for (unsigned i = 0; i < FAIL_COUNT; i++)
		(void)fprintf(
			file, "%s\"%s\": %" PRIu64, i ? ", " : "", fail_names[i], stats->failed[i]);
	(void)fprintf(file, "},\n  \"failed_at\": {");
	for (unsigned i = 0; i < STAGE_COUNT; i++) {
		if (!stats->failed_at[i])
			continue;
		(void)fprintf(
			file, "%s\"%s\": %" PRIu64, comma, stage_names[i], stats->failed_at[i]);
		comma = ", ";
	}
	(void)fprintf(file, "}");
}

static void json_more(FILE *file, const struct stats *stats, const struct usage *usage)
{
	(void)fprintf(file, ",\n  \"tls\": [");
	for (unsigned i = 0; i < STATS_TLS_MAX && stats->tls[i].version; i++)
		(void)fprintf(file,
			"%s{\"version\": \"%s\", \"cipher\": \"%s\", \"group\": \"%s\", "
			"\"handshakes\": %" PRIu64 "}",
			i ? ", " : "", stats->tls[i].version, stats->tls[i].cipher,
			stats->tls[i].group, stats->tls[i].n);
	(void)fprintf(file,
		"],\n  \"cpu_user_seconds\": %.6f, \"cpu_system_seconds\": %.6f, "
		"\"memory_peak_octets\": %" PRIu64 ", \"stood\": %" PRIu64,
		usage->user_seconds, usage->system_seconds, usage->memory_peak_octets,
		stats->stood);
}

static void json_course(FILE *file, const struct stats *stats)
{
	unsigned n = (unsigned)(stats->last_ns / 1000000000u) + 1;

	if (n > STATS_SECONDS_MAX)
		n = STATS_SECONDS_MAX;
	(void)fprintf(file, ",\n  \"per_second\": [");
	for (unsigned i = 0; i < n; i++)
		(void)fprintf(file, "%s%u", i ? ", " : "", stats->seconds[i]);
	(void)fprintf(file, "]\n}\n");
}

static void json_write(
	FILE *file, const struct options *options, struct stats *stats, const struct figures *f)
{
	(void)fprintf(file,
		"{\n  \"accepted\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"octets\": %" PRIu64
		",\n  \"seconds\": %.6f, \"measured\": %" PRIu64 ", \"measured_seconds\": %.6f,\n"
		"  \"messages_per_second\": %.3f, \"octets_per_second\": %.1f,\n"
		"  \"first_tenth_per_second\": %.3f, \"last_tenth_per_second\": %.3f,\n"
		"  \"connections\": %" PRIu64 ", \"sessions\": %" PRIu64
		", \"handshakes\": %" PRIu64 ", \"resumed\": %" PRIu64 ",\n  \"dropped\": %" PRIu64
		", \"lost\": %" PRIu64 ", \"network_octets_in\": %" PRIu64
		", \"network_octets_out\": %" PRIu64,
		stats->accepted, stats_failed(stats), stats->octets, f->seconds, stats->measured,
		f->measured_seconds, f->per_second, f->octets_per_second, f->first_tenth,
		f->last_tenth, stats->connections, stats->sessions, stats->handshakes,
		stats->resumed, stats->dropped, stats->lost, stats->bytes_in, stats->bytes_out);
	json_failures(file, stats);
	json_hist(file, "latency_us", &stats->latency, options->buckets);
	json_hist(file, "service_us", &stats->service, options->buckets);
	json_hist(file, "setup_us", &stats->setup, options->buckets);
	json_more(file, stats, &f->usage);
	json_course(file, stats);
}

/* ---- CSV ---- */

static void csv_write(FILE *file, struct stats *stats, const struct figures *f)
{
	static const char *const hists[] = {"latency", "service", "setup"};
	const struct hist *all[] = {&stats->latency, &stats->service, &stats->setup};

	(void)fprintf(file, "accepted,failed,seconds,messages_per_second,octets_per_second,"
			    "connections,handshakes,resumed");
	for (unsigned i = 0; i < FAIL_COUNT; i++)
		(void)fprintf(file, ",%s", fail_names[i]);
	for (unsigned h = 0; h < COUNT_OF(hists); h++) {
		for (size_t i = 0; i < COUNT_OF(quantiles); i++)
			(void)fprintf(file, ",%s_%s_us", hists[h], quantiles[i].name);
		(void)fprintf(file, ",%s_max_us", hists[h]);
	}
	(void)fprintf(file, ",cpu_user_seconds,cpu_system_seconds");
	(void)fprintf(file,
		"\n%" PRIu64 ",%" PRIu64 ",%.6f,%.3f,%.1f,%" PRIu64 ",%" PRIu64 ",%" PRIu64,
		stats->accepted, stats_failed(stats), f->seconds, f->per_second,
		f->octets_per_second, stats->connections, stats->handshakes, stats->resumed);
	for (unsigned i = 0; i < FAIL_COUNT; i++)
		(void)fprintf(file, ",%" PRIu64, stats->failed[i]);
	for (unsigned h = 0; h < COUNT_OF(hists); h++) {
		for (size_t i = 0; i < COUNT_OF(quantiles); i++)
			(void)fprintf(
				file, ",%.3f", (double)hist_quantile(all[h], quantiles[i].q) / 1e3);
		(void)fprintf(file, ",%.3f", (double)all[h]->max / 1e3);
	}
	(void)fprintf(file, ",%.6f,%.6f\n", f->usage.user_seconds, f->usage.system_seconds);
}

/* ---- all ---- */

int report_write(FILE *file, const struct options *options, struct stats *stats, double seconds)
{
	struct figures f = figures_of(options, stats, seconds);

	if (options->format == FORMAT_TEXT)
		text_write(file, options, stats, &f);
	else if (options->format == FORMAT_JSON)
		json_write(file, options, stats, &f);
	else
		csv_write(file, stats, &f);
	return fflush(file) == 0 && !ferror(file) ? 0 : -1;
}

void report_progress(FILE *file, const struct options *options, uint64_t accepted, uint64_t failed,
	int64_t open, double seconds, double per_second)
{
	if (options->idle) {
		(void)fprintf(file,
			"\r%6.0f s  %" PRIu64 " of %u sessions open  %.0f/s  %" PRIu64
			" failed\033[K",
			seconds, accepted, options->idle, per_second, failed);
		(void)fflush(file);
		return;
	}
	(void)fprintf(file,
		"\r%6.0f s  %" PRIu64 " accepted  %.0f/s  %" PRIu64 " failed  %" PRId64
		" connections\033[K",
		seconds, accepted, per_second, failed, open);
	(void)fflush(file);
}

void report_progress_end(FILE *file)
{
	(void)fprintf(file, "\r\033[K");
	(void)fflush(file);
}
