/* SPDX-License-Identifier: MIT */
/*
 * posternctl-sts.c -- the sts commands: what is published, and what is remembered of TLS with others.
 *
 * `records` prints lines for a zone file on stdout, notes as comments, so that the whole can be piped
 * into a file. More domains than one answer holds are asked for piece by piece.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tools/posternctl.h"

#define DAYS_MAX    400
#define ENTRIES_MAX 1000000 /* of all pieces; more is no answer of a gateway */

static int records_run(const struct options *options);
static int report_run(const struct options *options);
static int policies_run(const struct options *options);
static int watch_run(const struct options *options);

enum { TAKES_DAY = 1, TAKES_DAYS = 2, TAKES_LIMIT = 4, TAKES_PROBE = 8 }; /* options */

static const struct action {
	const char *word;
	int words_max; /* after the word */
	unsigned takes;
	int (*run)(const struct options *options);
} actions[] = {
	{"records", 1, 0, records_run},
	{"report", 1, TAKES_DAY, report_run},
	{"policies", 1, 0, policies_run},
	{"watch", 1, TAKES_DAYS | TAKES_LIMIT, watch_run},
	{"check", 1, TAKES_PROBE, check_run},
};

/* ---- options ---- */

bool sts_option(struct options *options, const char *name, const char *value)
{
	char *end;
	unsigned long n;
	uint32_t day;

	if (strcmp(name, "day") == 0) {
		options->day = value;
		return clock_day_parse(value, &day);
	}
	n = strtoul(value, &end, 10);
	options->days = (uint32_t)n;
	return value[0] >= '0' && value[0] <= '9' && *end == '\0' && n >= 1 && n <= DAYS_MAX;
}

const char *sts_option_form(const char *name)
{
	return strcmp(name, "day") == 0 ? "a day as 2026-11-21" : "a number of days, 1 to 400";
}

/* ---- asking ---- */

/* The request for a piece: what the command line says, and where to go on. */
static json_t *piece_request(const struct options *options, const json_t *next)
{
	json_t *request = json_object();

	if (options->words_n > 2)
		json_object_set_new(request, "domain", json_string(options->words[2]));
	if (options->day != NULL)
		json_object_set_new(request, "day", json_string(options->day));
	if (next != NULL)
		json_object_set_new(
			request, json_is_integer(next) ? "from" : "after", json_deep_copy(next));
	return request;
}

static const json_t *next_of(const json_t *piece)
{
	const json_t *next = json_object_get(piece, "next");

	return json_is_integer(next) || json_is_string(next) ? next : NULL;
}

int sts_pieces_ask(const struct options *options, const char *action, const char *key, json_t *all,
	json_t **last)
{
	json_t *piece = NULL;
	size_t got;
	int result;

	do {
		json_t *request = piece_request(options, next_of(piece));

		got = json_array_size(all);
		json_decref(piece);
		result = ask_part(options, "sts", action, request, &piece);
		json_array_extend(all, json_object_get(piece, key));
		/* A piece with nothing in it, but with a next one, would go on for ever. */
	} while (result == EXIT_OK && next_of(piece) != NULL && json_array_size(all) > got &&
		 got < ENTRIES_MAX);
	*last = piece;
	return result;
}

int sts_nothing(const struct options *options, const char *why)
{
	fputs("posternctl: ", stderr);
	show_clean(stderr, options->words_n > 2 ? options->words[2] : "sts");
	fprintf(stderr, ": %s\n", why);
	return EXIT_NOTHING;
}

/* ---- records ---- */

/* A line as it is, under its reason; what is no line for a zone would end there. */
static void records_put(const json_t *records)
{
	for (size_t i = 0; i < json_array_size(records); i++) {
		const json_t *record = json_array_get(records, i);

		fputs("; ", stdout);
		show_clean(stdout, show_string_of(record, "why"));
		putchar('\n');
		show_clean(stdout, show_string_of(record, "zone"));
		putchar('\n');
	}
}

static void domain_put(const json_t *domain)
{
	fputs("; ", stdout);
	show_clean(stdout, show_string_of(domain, "domain"));
	printf(": mode %s, max_age %lld seconds\n", show_string_of(domain, "mode"),
		(long long)show_number_of(domain, "max_age_seconds"));
	records_put(json_object_get(domain, "records"));
	putchar('\n');
}

static void host_put(const json_t *host)
{
	const json_t *records = json_object_get(host, "records");

	if (json_array_size(records) == 0)
		return;
	fputs("; ", stdout);
	show_clean(stdout, show_string_of(host, "hostname"));
	puts(": for DANE, in zones that are signed with DNSSEC only; one of 3 1 1 or 2 1 1 is enough,\n"
	     "; and those of the next certificate are to be there before it is in use");
	records_put(records);
}

static int records_run(const struct options *options)
{
	json_t *domains = json_array(), *last = NULL, *host, *root;
	int result = sts_pieces_ask(options, "records", "domains", domains, &last);

	host = json_object_get(last, "host");
	root = json_pack("{s:O, s:O?}", "domains", domains, "host", host);
	if (result == EXIT_OK && json_array_size(domains) == 0)
		result = sts_nothing(options,
			"no policy is published; section sts of postern.conf(5) "
			"makes one");
	if (options->json && (result == EXIT_OK || result == EXIT_NOTHING)) {
		json_put(root);
	} else if (result == EXIT_OK) {
		for (size_t i = 0; i < json_array_size(domains); i++)
			domain_put(json_array_get(domains, i));
		host_put(host);
	}
	json_decref(root);
	json_decref(domains);
	json_decref(last);
	return result;
}

/* ---- report, policies ---- */

/* The last piece with all that came before it. */
static json_t *pieces_root(json_t *last, const char *key, json_t *all)
{
	json_t *root = json_copy(last);

	json_object_del(root, "next");
	json_object_set(root, key, all);
	return root;
}

/* What is remembered of others: all pieces, printed by `show`, or why there is none. */
static int kept_run(const struct options *options, const char *key, void (*show)(const json_t *sts),
	const char *off, const char *none)
{
	json_t *all = json_array(), *last = NULL, *root;
	int result = sts_pieces_ask(options, options->words[1], key, all, &last);

	root = pieces_root(last, key, all);
	if (result == EXIT_OK && !json_is_true(json_object_get(last, "on")))
		result = sts_nothing(options, off);
	else if (result == EXIT_OK && json_array_size(all) == 0)
		result = sts_nothing(options, none);
	if (options->json && (result == EXIT_OK || result == EXIT_NOTHING))
		json_put(root);
	else if (result == EXIT_OK)
		show(root);
	json_decref(root);
	json_decref(all);
	json_decref(last);
	return result;
}

static int report_run(const struct options *options)
{
	return kept_run(options, "reports", show_report,
		"no route has tls = policy, so nothing is counted",
		"nothing was counted on this day; today and the two days before it are kept");
}

static int policies_run(const struct options *options)
{
	return kept_run(options, "policies", show_policies,
		"no route has tls = policy, or relay.sts is off, so policies are not asked for",
		"no policy is kept; it is fetched when there is mail for a domain that has one");
}

/* ---- watch ---- */

/* One answer is all of it: its lists are bounded. */
static int watch_run(const struct options *options)
{
	json_t *request = piece_request(options, NULL), *sts = NULL;
	int result;

	if (options->days != 0)
		json_object_set_new(request, "days", json_integer(options->days));
	if (options->limit != 0)
		json_object_set_new(request, "limit", json_integer(options->limit));
	result = ask_part(options, "sts", "watch", request, &sts);
	if (result == EXIT_OK && !json_is_true(json_object_get(sts, "on")))
		result = sts_nothing(options, "the watch is off; section watch of postern.conf(5)");
	if (options->json && (result == EXIT_OK || result == EXIT_NOTHING))
		json_put(sts);
	else if (result == EXIT_OK)
		show_watch(sts);
	json_decref(sts);
	return result;
}

/* ---- the command ---- */

/* A name that JSON cannot carry would be left out of the request, and all domains be meant. */
static bool domain_valid(const struct options *options)
{
	json_t *text = options->words_n > 2 ? json_string(options->words[2]) : json_null();
	bool valid = text != NULL && json_string_length(text) <= STS_NAME_MAX &&
		     (!json_is_string(text) || json_string_length(text) > 0);

	json_decref(text);
	return valid;
}

int sts_run(struct options *options)
{
	const char *word = options->words_n > 1 ? options->words[1] : "records";

	for (size_t i = 0; i < COUNT_OF(actions); i++) {
		if (strcmp(actions[i].word, word) != 0)
			continue;
		if (options->words_n - 2 > actions[i].words_max)
			return usage_wrong(
				"not understood: ", options->words[2 + actions[i].words_max]);
		if (options->day != NULL && !(actions[i].takes & TAKES_DAY))
			return usage_wrong("--day does not go with sts ", word);
		if (options->days != 0 && !(actions[i].takes & TAKES_DAYS))
			return usage_wrong("--days does not go with sts ", word);
		if (options->limit != 0 && !(actions[i].takes & TAKES_LIMIT))
			return usage_wrong("--limit does not go with sts ", word);
		if (options->probe_given && !(actions[i].takes & TAKES_PROBE))
			return usage_wrong("options of check do not go with sts ", word);
		if (!domain_valid(options))
			return usage_wrong("not a domain: ", options->words[2]);
		return actions[i].run(options);
	}
	return usage_wrong("there is no command sts ", word);
}
