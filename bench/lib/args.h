/* SPDX-License-Identifier: MIT */
/*
 * args.h -- command lines by a table: each option's name, letter, kind, place and limits.
 *
 * A tool has one table and one struct that it is read into; --help and --version are every tool's.
 * What must fit together, and the operands, are the tool's own business afterwards: args_read leaves
 * the index of the first operand in getopt's optind.
 *
 * A value is taken whole or not at all: a wrong one is named with its option, and nothing runs.
 */
#ifndef POSTERN_BENCH_ARGS_H
#define POSTERN_BENCH_ARGS_H

#include "base/base.h"

#define ARGS_MAX 64 /* options of a tool */

enum args_kind {
	ARGS_FLAG,   /* bool */
	ARGS_U32,    /* .min to .max, suffixes k, M, G */
	ARGS_U64,    /* the same */
	ARGS_REAL,   /* double, .low to .high */
	ARGS_TEXT,   /* const char *; .good, if there is one, must like it */
	ARGS_WORD,   /* enum: the index in .words */
	ARGS_SWITCH, /* .take without a value */
	ARGS_MAYBE,  /* .take with a value or NULL: -bVALUE, --bdat=VALUE */
	ARGS_OWN,    /* .take with a value */
};

struct args_option {
	const char *name;
	char letter; /* 0: none */
	enum args_kind kind;
	size_t at; /* offset in the tool's struct */
	uint64_t min;
	uint64_t max;
	double low;
	double high;
	const char *const *words; /* ends with NULL */
	bool (*good)(const char *value);
	/* False: no good value; err may say why. */
	bool (*take)(void *out, const char *value, struct err *err);
};

struct args {
	const char *program;
	const char *version;
	const char *usage;
	const struct args_option *options;
	unsigned n;
};

enum args_step { ARGS_RUN, ARGS_DONE, ARGS_WRONG };

/* Reads into *out, which has the defaults. ARGS_DONE: help or version was printed. ARGS_WRONG: said
 * so on stderr. */
MUST_USE enum args_step args_read(const struct args *args, void *out, int argc, char **argv);

/* "postern-load: why" on stderr, or why (NULL: was said) and where help is; ARGS_WRONG. */
enum args_step args_wrong(const struct args *args, const struct err *err);
enum args_step args_usage(const struct args *args, const char *why);

#endif
