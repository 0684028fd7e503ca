/* SPDX-License-Identifier: MIT */
/*
 * posternctl-sts.c -- the sts commands: TLS policies, what is published and what belongs to it.
 *
 * `records` prints lines for a zone file on stdout, notes as comments, so that the whole can be piped
 * into a file. More domains than one answer holds are asked for piece by piece.
 */
#include <stdlib.h>
#include <string.h>

#include "tools/posternctl.h"

#define DOMAINS_MAX 1000000 /* of all pieces; more is no answer of a gateway */

static int records_run(const struct options *options);

static const struct action {
	const char *word;
	int words_max; /* after the word */
	int (*run)(const struct options *options);
} actions[] = {
	{"records", 1, records_run},
};

/* ---- asking ---- */

/* Takes the request, but for its command. EXIT_OK and the answer's part, a new reference, or the
 * complaint's code. */
static int sts_ask(const struct options *options, const char *action, json_t *request, json_t **sts)
{
	json_t *answer = NULL;
	char *line;
	int result;

	*sts = NULL;
	json_object_set_new(request, "command", json_string("sts"));
	json_object_set_new(request, "action", json_string(action));
	line = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	if (line == NULL)
		return complain(options, EXIT_FAILED, "sts", "memory is short");
	result = ask_for(options, line, "sts", &answer);
	free(line);
	if (result == EXIT_OK)
		*sts = json_incref(json_object_get(answer, "sts"));
	json_decref(answer);
	return result;
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

/* All domains of all pieces, and the host once. */
static int records_collect(const struct options *options, json_t *all, json_t **host)
{
	const char *domain = options->words_n > 2 ? options->words[2] : NULL;
	json_t *piece = NULL, *next = NULL;
	size_t got;
	int result;

	do {
		json_t *request = json_object();

		if (domain != NULL)
			json_object_set_new(request, "domain", json_string(domain));
		if (json_is_integer(next))
			json_object_set(request, "from", next);
		got = json_array_size(all);
		json_decref(piece);
		result = sts_ask(options, "records", request, &piece);
		json_array_extend(all, json_object_get(piece, "domains"));
		next = json_object_get(piece, "next");
		/* A piece without a domain, but with a next one, would go on for ever. */
	} while (result == EXIT_OK && json_is_integer(next) && json_array_size(all) > got &&
		 got < DOMAINS_MAX);
	*host = json_incref(json_object_get(piece, "host"));
	json_decref(piece);
	return result;
}

static int records_run(const struct options *options)
{
	json_t *domains = json_array(), *host = NULL, *root;
	int result = records_collect(options, domains, &host);

	root = json_pack("{s:O, s:O?}", "domains", domains, "host", host);
	if (result == EXIT_OK && json_array_size(domains) == 0) {
		result = EXIT_NOTHING;
		fputs("posternctl: ", stderr);
		show_clean(stderr, options->words_n > 2 ? options->words[2] : "sts");
		fputs(": no policy is published; section sts of postern.conf(5) makes one\n",
			stderr);
	}
	if (options->json && (result == EXIT_OK || result == EXIT_NOTHING)) {
		json_put(root);
	} else if (result == EXIT_OK) {
		for (size_t i = 0; i < json_array_size(domains); i++)
			domain_put(json_array_get(domains, i));
		host_put(host);
	}
	json_decref(root);
	json_decref(domains);
	json_decref(host);
	return result;
}

/* ---- the command ---- */

int sts_run(struct options *options)
{
	const char *word = options->words_n > 1 ? options->words[1] : "records";

	for (size_t i = 0; i < COUNT_OF(actions); i++) {
		if (strcmp(actions[i].word, word) != 0)
			continue;
		if (options->words_n - 2 > actions[i].words_max)
			return usage_wrong(
				"not understood: ", options->words[2 + actions[i].words_max]);
		return actions[i].run(options);
	}
	return usage_wrong("there is no command sts ", word);
}
