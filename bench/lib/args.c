/* SPDX-License-Identifier: MIT */
/* args.c -- see args.h. The table is turned into getopt's two; long options are found by index. */
#include "bench/lib/args.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "bench/lib/number.h"

#define LONG_FIRST  256 /* what getopt returns for the first option without a letter */
#define SHORT_BYTES (3 * ARGS_MAX + sizeof("Vh"))

struct tables {
	struct option longs[ARGS_MAX + 3];
	char shorts[SHORT_BYTES];
};

static int needs(enum args_kind kind)
{
	switch (kind) {
	case ARGS_FLAG:
	case ARGS_SWITCH:
		return no_argument;
	case ARGS_MAYBE:
		return optional_argument;
	default:
		return required_argument;
	}
}

static void tables_make(const struct args *args, struct tables *tables)
{
	static const struct option always[] = {
		{"version", no_argument, NULL, 'V'}, {"help", no_argument, NULL, 'h'}, {0}};
	static const char *const colons[] = {"", ":", "::"};
	size_t at = 0;

	ASSERT(args->n <= ARGS_MAX);
	for (unsigned i = 0; i < args->n; i++) {
		const struct args_option *one = &args->options[i];
		int need = needs(one->kind);

		tables->longs[i] = (struct option){
			one->name, need, NULL, one->letter ? one->letter : LONG_FIRST + (int)i};
		if (one->letter)
			at += (size_t)snprintf(tables->shorts + at, SHORT_BYTES - at, "%c%s",
				one->letter, colons[need]);
	}
	memcpy(tables->longs + args->n, always, sizeof(always));
	(void)snprintf(tables->shorts + at, SHORT_BYTES - at, "Vh");
}

static const struct args_option *option_of(const struct args *args, int code)
{
	if (code >= LONG_FIRST)
		return &args->options[code - LONG_FIRST];
	for (unsigned i = 0; i < args->n; i++)
		if (args->options[i].letter == code)
			return &args->options[i];
	return NULL;
}

static bool word_of(const char *value, const char *const *words, unsigned *out)
{
	for (unsigned i = 0; words[i]; i++) {
		if (strcmp(value, words[i]) == 0) {
			*out = i;
			return true;
		}
	}
	return false;
}

static bool take(const struct args_option *one, void *out, const char *value, struct err *err)
{
	void *place = (char *)out + one->at;

	switch (one->kind) {
	case ARGS_FLAG:
		return *(bool *)place = true;
	case ARGS_U32:
		return number_u32(value, (uint32_t)one->min, (uint32_t)one->max, place);
	case ARGS_U64:
		return number_u64(value, one->min, one->max, place);
	case ARGS_REAL:
		return number_double(value, one->low, one->high, place);
	case ARGS_TEXT:
		*(const char **)place = value;
		return !one->good || one->good(value);
	case ARGS_WORD:
		return word_of(value, one->words, place);
	default:
		return one->take(out, value, err);
	}
}

enum args_step args_wrong(const struct args *args, const struct err *err)
{
	(void)fprintf(stderr, "%s: %s\n", args->program, err->text);
	return ARGS_WRONG;
}

enum args_step args_usage(const struct args *args, const char *why)
{
	if (why)
		(void)fprintf(stderr, "%s: %s\n", args->program, why);
	(void)fprintf(stderr, "%s: --help shows the options\n", args->program);
	return ARGS_WRONG;
}

static enum args_step say(const char *first, const char *second)
{
	return printf("%s%s", first, second) < 0 || fflush(stdout) != 0 ? ARGS_WRONG : ARGS_DONE;
}

enum args_step args_read(const struct args *args, void *out, int argc, char **argv)
{
	struct tables tables = {0};
	int code;

	tables_make(args, &tables);
	while ((code = getopt_long(argc, argv, tables.shorts, tables.longs, NULL)) != -1) {
		const struct args_option *one = option_of(args, code);
		struct err why = {"not a value for this option"}, err;

		if (code == 'h')
			return say(args->usage, "");
		if (code == 'V')
			return printf("%s ", args->program) < 0 ? ARGS_WRONG
								: say(args->version, "\n");
		if (!one) /* getopt has said which */
			return args_usage(args, NULL);
		if (!take(one, out, optarg, &why)) {
			err_set(&err, "--%s %s: %s", one->name, optarg ? optarg : "", why.text);
			return args_usage(args, err.text);
		}
	}
	return ARGS_RUN;
}
