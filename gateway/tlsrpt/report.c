/* SPDX-License-Identifier: MIT */
/*
 * report.c -- a domain's day as RFC 8460 4.4 writes it, its file name (5.1), and gzip.
 *
 * A string or a member that is not known is left out, never empty. "mx-host" is an array, as the text
 * and the erratum have it; the example of the RFC shows a string. The report's id is a digest of who
 * reports, about whom and which day: made twice, after a restart, it is still the same report.
 */
#include "tlsrpt/tlsrpt-private.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/clock.h"
#include "tls/tls.h"

#define GZIP_WINDOW_BITS (15 + 16) /* zlib's way to say gzip */
#define ID_OCTETS        8

/* ---- JSON ---- */

static void set(json_t *object, const char *name, json_t *value)
{
	(void)json_object_set_new(object, name, value);
}

static void set_text(json_t *object, const char *name, const char *text)
{
	if (*text != '\0')
		set(object, name, json_string(text));
}

/* So many strings of a block, which is moved behind them. */
static json_t *strings_json(const char **text, uint32_t n)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < n; i++, *text = tlsrpt_text_next(*text))
		(void)json_array_append_new(array, json_string(*text));
	return array;
}

static json_t *policy_json(const struct tlsrpt_row *row, const char *domain)
{
	json_t *policy = json_object();
	const char *text = row->text;

	set_text(policy, "policy-type", tlsrpt_policy_words[row->policy]);
	if (row->strings_n > 0)
		set(policy, "policy-string", strings_json(&text, row->strings_n));
	set_text(policy, "policy-domain", domain);
	if (row->mx_n > 0)
		set(policy, "mx-host", strings_json(&text, row->mx_n));
	return policy;
}

static json_t *failure_json(const struct tlsrpt_failure *failure)
{
	static const char *const names[TLSRPT_WORDS] = {
		[TLSRPT_WORD_SENDING_IP] = "sending-mta-ip",
		[TLSRPT_WORD_MX] = "receiving-mx-hostname",
		[TLSRPT_WORD_RECEIVING_IP] = "receiving-ip",
		[TLSRPT_WORD_REASON] = "failure-reason-code",
	};
	json_t *object = json_object();
	const char *text = failure->text;

	set_text(object, "result-type", tlsrpt_result_text(failure->result));
	for (int i = 0; i < TLSRPT_WORDS; i++, text = tlsrpt_text_next(text))
		set_text(object, names[i], text);
	set(object, "failed-session-count", json_integer((json_int_t)failure->sessions));
	return object;
}

static json_t *row_json(const struct tlsrpt_row *row, const char *domain)
{
	json_t *object = json_object(), *summary = json_object(), *details = json_array();
	uint64_t failed = 0;

	for (const struct tlsrpt_failure *one = row->failures; one != NULL; one = one->next) {
		failed += one->sessions;
		(void)json_array_append_new(details, failure_json(one));
	}
	set(object, "policy", policy_json(row, domain));
	set(summary, "total-successful-session-count", json_integer((json_int_t)row->successes));
	set(summary, "total-failure-session-count", json_integer((json_int_t)failed));
	set(object, "summary", summary);
	if (failed > 0)
		set(object, "failure-details", details);
	else
		json_decref(details);
	return object;
}

static json_t *range_json(uint32_t day)
{
	json_t *range = json_object();
	char text[CLOCK_DAY_TEXT];

	clock_day_text(day, text);
	set(range, "start-datetime", json_sprintf("%sT00:00:00Z", text));
	set(range, "end-datetime", json_sprintf("%sT23:59:59Z", text));
	return range;
}

static void id_write(
	const struct tlsrpt *tlsrpt, const char *domain, uint32_t day, char *out, size_t size)
{
	char named[2 * STS_NAME_MAX + 64], hex[2 * ID_OCTETS + 1];
	uint8_t digest[TLS_SIGN_DIGEST];
	int n = snprintf(named, sizeof(named), "%u %s %s", day, domain, tlsrpt->hostname);

	tls_sha256(span_of(named, min_size((size_t)n, sizeof(named) - 1)), digest);
	for (size_t i = 0; i < ID_OCTETS; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	(void)snprintf(out, size, "%u.%s@%s", day, hex, tlsrpt->submitter);
}

static json_t *domain_json(
	const struct tlsrpt *tlsrpt, const struct tlsrpt_domain *domain, uint32_t day)
{
	const struct tlsrpt_settings *settings = tlsrpt->settings;
	const char *contact = settings->contact != NULL ? settings->contact : settings->from;
	json_t *report = json_object(), *policies = json_array(), *name = NULL;
	char id[sizeof(((struct tlsrpt_report *)0)->report_id)];

	if (settings->organization != NULL)
		name = json_string(settings->organization); /* NULL: not UTF-8 */
	id_write(tlsrpt, domain->name, day, id, sizeof(id));
	for (const struct tlsrpt_row *row = domain->rows; row != NULL; row = row->next)
		(void)json_array_append_new(policies, row_json(row, domain->name));
	set(report, "organization-name", name != NULL ? name : json_string(tlsrpt->hostname));
	set(report, "date-range", range_json(day));
	set(report, "contact-info", json_string(contact != NULL ? contact : "postmaster"));
	set(report, "report-id", json_string(id));
	set(report, "policies", policies);
	return report;
}

/* ---- a report to send ---- */

static int gzip_write(struct span in, struct span *out)
{
	z_stream z = {0};
	uint8_t *p;
	size_t n;

	if (deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP_WINDOW_BITS, 8,
		    Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	n = deflateBound(&z, in.n);
	p = malloc(n);
	z.next_in = (z_const Bytef *)in.p;
	z.avail_in = (uInt)in.n;
	z.next_out = p;
	z.avail_out = (uInt)n;
	if (p == NULL || deflate(&z, Z_FINISH) != Z_STREAM_END) {
		(void)deflateEnd(&z);
		free(p);
		return -ENOMEM;
	}
	*out = span_of(p, n - z.avail_out);
	(void)deflateEnd(&z);
	return 0;
}

static json_t *make(struct tlsrpt *tlsrpt, const char *domain, uint32_t day)
{
	const struct tlsrpt_domain *found = NULL;
	struct tlsrpt_day *slot;
	json_t *report = NULL;

	pthread_mutex_lock(&tlsrpt->lock);
	slot = tlsrpt_day_find(tlsrpt, day);
	if (slot != NULL)
		found = tlsrpt_domain_find(tlsrpt, slot, domain);
	if (found != NULL && found->rows != NULL)
		report = domain_json(tlsrpt, found, day);
	pthread_mutex_unlock(&tlsrpt->lock);
	return report;
}

int tlsrpt_make(struct tlsrpt *tlsrpt, const char *domain, uint64_t day, struct tlsrpt_report *out)
{
	json_t *report = make(tlsrpt, domain, (uint32_t)day);
	char *text;

	memset(out, 0, sizeof(*out));
	if (report == NULL)
		return -ENOENT;
	text = json_dumps(report, JSON_COMPACT);
	json_decref(report);
	if (text == NULL)
		return -ENOMEM;
	out->json = span_str(text);
	id_write(tlsrpt, domain, (uint32_t)day, out->report_id, sizeof(out->report_id));
	(void)snprintf(out->file_name, sizeof(out->file_name), "%s!%s!%llu!%llu.json.gz",
		tlsrpt->submitter, domain, (unsigned long long)day * TLSRPT_DAY_S,
		(unsigned long long)(day + 1) * TLSRPT_DAY_S - 1);
	if (gzip_write(out->json, &out->gzip) == 0)
		return 0;
	tlsrpt_report_free(out);
	return -ENOMEM;
}

void tlsrpt_report_free(struct tlsrpt_report *report)
{
	free((void *)report->json.p);
	free((void *)report->gzip.p);
	report->json = report->gzip = span_of(NULL, 0);
}

/* ---- for people ---- */

static int name_compare(const void *a, const void *b)
{
	const struct tlsrpt_domain *left = *(const struct tlsrpt_domain *const *)a;
	const struct tlsrpt_domain *right = *(const struct tlsrpt_domain *const *)b;

	return strcmp(left->name, right->name);
}

/* Those of the day that are asked for, sorted. NULL: none, or memory is short. */
static const struct tlsrpt_domain **domains_of(
	const struct tlsrpt_day *day, const struct tlsrpt_question *question, size_t *n)
{
	const char *name = question->domain, *after = question->after;

	const struct tlsrpt_domain **all = calloc(day->domains_n + 1u, sizeof(*all));

	*n = 0;
	for (size_t i = 0; all != NULL && i < TLSRPT_BUCKETS; i++) {
		for (const struct tlsrpt_domain *domain = day->buckets[i]; domain != NULL;
			domain = domain->next) {
			if ((name == NULL || strcmp(domain->name, name) == 0) &&
				(after == NULL || strcmp(domain->name, after) > 0))
				all[(*n)++] = domain;
		}
	}
	if (all != NULL)
		qsort(all, *n, sizeof(*all), name_compare);
	return all;
}

static void day_show(const struct tlsrpt *tlsrpt, const struct tlsrpt_day *day,
	const struct tlsrpt_question *question, json_t *out)
{
	static const char *const states[TLSRPT_STATES] = {
		[TLSRPT_OPEN] = "open", [TLSRPT_SENT] = "sent", [TLSRPT_NOT_SENT] = "not-sent"};
	size_t n;
	const struct tlsrpt_domain **domains = domains_of(day, question, &n);

	for (size_t i = 0; i < n && i < question->limit; i++) {
		json_t *report = domain_json(tlsrpt, domains[i], day->day);

		set_text(report, "x-state", states[domains[i]->state]);
		(void)json_array_append_new(out, report);
	}
	free((void *)domains);
}

json_t *tlsrpt_show(struct tlsrpt *tlsrpt, const struct tlsrpt_question *question)
{
	json_t *out = json_array();
	struct tlsrpt_day *slot;

	pthread_mutex_lock(&tlsrpt->lock);
	slot = tlsrpt_day_find(tlsrpt, question->day != 0 ? question->day : tlsrpt_today());
	if (out != NULL && slot != NULL)
		day_show(tlsrpt, slot, question, out);
	pthread_mutex_unlock(&tlsrpt->lock);
	return out;
}
