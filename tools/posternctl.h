/* SPDX-License-Identifier: MIT */
/*
 * posternctl.h -- what the files of posternctl share:
 *
 *	posternctl.c             the command line, the exchange with the gateway, exit codes
 *	posternctl-show.c        tables; status, metrics
 *	posternctl-queue.c       the queue commands: what is asked, in how many pieces, after which question
 *	posternctl-queue-show.c  their answers for a person
 *	posternctl-fence.c       the fence commands: what is asked, and what is not done unforced
 *	posternctl-fence-show.c  their answers for a person
 *	posternctl-sts.c         the sts commands: what is asked, and zone file lines
 */
#ifndef POSTERN_TOOLS_POSTERNCTL_H
#define POSTERN_TOOLS_POSTERNCTL_H

#include <stdio.h>

#include <jansson.h>

#include "base/base.h"
#include "tools/probe/probe.h"

extern const char postern_version[]; /* gateway/version.c */

enum exit_code {
	EXIT_OK,
	EXIT_FAILED,
	EXIT_USAGE,
	EXIT_UNREACHED,
	EXIT_NOTHING,
	EXIT_OBJECTION, /* sts check: mail comes, less protected than it could be */
	EXIT_REFUSAL    /* sts check: some sender does not deliver */
};

struct options {
	const char *socket;
	const char *config;
	const char *path; /* of the socket, once it is known */
	bool json;
	uint64_t ms_max;
	char **words; /* the command and what follows it */
	int words_n;
	/* queue */
	json_t *filter; /* an object of request keys */
	uint32_t limit; /* 0: not given */
	bool all;
	bool yes;
	/* fence */
	uint64_t for_s; /* 0: not given */
	const char *by; /* NULL: not given */
	bool force;
	/* sts */
	const char *day; /* NULL: not given */
	uint32_t days;   /* 0: not given */
	struct probe_settings probe;
	bool probe_given; /* any of it */
};

/* ---- posternctl.c ---- */

/* Sends the request, a line without its end. 0 and an object with a boolean "ok" (a new reference),
 * or -errno. */
MUST_USE int ask(const struct options *options, const char *request, json_t **answer);
/* The same; EXIT_OK and an answer whose "ok" is true and that has `key`, or says what is wrong. */
MUST_USE int ask_for(
	const struct options *options, const char *request, const char *key, json_t **answer);

/*
 * The same for a command with an action. Takes the request, to which both are added. EXIT_OK and the
 * answer's part of the command's name, a new reference, or the complaint's code.
 */
MUST_USE int ask_part(const struct options *options, const char *command, const char *action,
	json_t *request, json_t **part);

/* Says it on stderr and, with --json, on stdout in the gateway's own form. Returns `code`. */
int complain(
	const struct options *options, enum exit_code code, const char *where, const char *why);
int usage_wrong(const char *what, const char *which);
/* For --json. */
void json_put(const json_t *json);

/* ---- posternctl-queue.c ---- */

/* Takes one of queue's options into options->filter. False: the value is wrong. */
MUST_USE bool queue_option(struct options *options, const char *name, const char *value);
/* What it takes, for a person. */
const char *queue_option_form(const char *name);
int queue_run(struct options *options);
/* "90s", "10m", "2h", "1d12h" */
MUST_USE bool time_parse(const char *text, uint64_t *seconds);

/* ---- posternctl-fence.c ---- */

/* Takes one of fence's options. False: the value is wrong. */
MUST_USE bool fence_option(struct options *options, const char *name, const char *value);
/* What it takes, for a person. */
const char *fence_option_form(const char *name);
int fence_run(struct options *options);

/* ---- posternctl-sts.c ---- */

/* Takes one of sts' options. False: the value is wrong. */
MUST_USE bool sts_option(struct options *options, const char *name, const char *value);
/* What it takes, for a person. */
const char *sts_option_form(const char *name);
int sts_run(struct options *options);
/* Appends what all pieces of the answer have at `key`; *last: the last piece, a new reference or NULL.
 * EXIT_OK, or the complaint's code. */
MUST_USE int sts_pieces_ask(const struct options *options, const char *action, const char *key,
	json_t *all, json_t **last);
/* EXIT_NOTHING, and why there is nothing. */
int sts_nothing(const struct options *options, const char *why);

/* ---- posternctl-check.c ---- */

/* Takes one of check's options. False: the value is wrong. */
MUST_USE bool check_option(struct options *options, const char *name, const char *value);
const char *check_option_form(const char *name);
int check_run(const struct options *options);

/* ---- posternctl-show.c ---- */

/* Text from elsewhere: control characters (C0, DEL, C1) become '?'. */
void show_clean(FILE *out, const char *text);

/* The string at `key`, borrowed; "-" if there is none. */
const char *show_string_of(const json_t *object, const char *key);
json_int_t show_number_of(const json_t *object, const char *key);
void show_date_format(char *out, size_t n, json_int_t seconds);
void show_time_format(char *out, size_t n, json_int_t seconds);
void show_octets_format(char *out, size_t n, json_int_t octets); /* "1.5 MiB" */
void show_span_format(char *out, size_t n, json_int_t seconds);  /* "3 h 12 min" */
void show_line(const char *title, const char *text);             /* below a head */

#define SHOW_COLUMNS_MAX 12
#define SHOW_CELL_MAX    600

struct show_table {
	const char *heads[SHOW_COLUMNS_MAX]; /* NULL ends */
	void (*cell)(const json_t *row, int column, char *out, size_t n);
	unsigned right; /* columns whose text stands at their right side, a bit each */
};

/* An empty line and the rows below their heads; nothing at all without rows. */
void show_table(const struct show_table *table, const json_t *rows);

/* Print one command's answer ("ok" was checked) on stdout. */
void show_status(const json_t *answer);
void show_metrics(const json_t *answer);
void show_text(const json_t *answer);

/* ---- posternctl-queue-show.c ---- */

void show_messages(const json_t *messages, bool more);
void show_message(const json_t *message);
void show_tallies(const json_t *queue);

/* ---- posternctl-fence-show.c ---- */

/* A word's meaning for a person: "in the kernel". */
const char *show_fence_running(const char *running);
void show_fence(const json_t *fence);
void show_sources(const json_t *fence);
void show_networks(const json_t *networks);
void show_explained(const json_t *fence);
void show_forgotten(const json_t *fence);
void show_samples(const json_t *fence);

/* ---- posternctl-sts-show.c ---- */

void show_report(const json_t *sts);
void show_policies(const json_t *sts);
void show_watch(const json_t *sts);

#endif
