/* SPDX-License-Identifier: MIT */
/* args.c -- values of every kind are taken whole, or refused. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <getopt.h>
#include <string.h>

#include "bench/lib/args.h"

#define WORDS_MAX 6

enum colour { RED, GREEN };

struct target {
	bool flag;
	uint32_t small;
	uint64_t big;
	double real;
	const char *text;
	enum colour colour;
	int switched;
	int taken;
};

static bool take(void *out, const char *value, struct err *err)
{
	struct target *target = out;

	target->taken += value ? (int)strlen(value) : 100;
	(void)err;
	return !value || strcmp(value, "bad") != 0;
}

static bool flip(void *out, const char *value, struct err *err)
{
	(void)err;
	((struct target *)out)->switched++;
	return value == NULL;
}

static bool good(const char *value)
{
	return *value == 'g';
}

static const char *const colours[] = {"red", "green", NULL};

#define AT(member) .at = offsetof(struct target, member)

static const struct args_option table[] = {
	{"flag", 'f', ARGS_FLAG, AT(flag)},
	{"small", 's', ARGS_U32, AT(small), .min = 2, .max = 2048},
	{"big", 0, ARGS_U64, AT(big), .min = 1, .max = UINT64_MAX},
	{"real", 'r', ARGS_REAL, AT(real), .low = 0.5, .high = 1.5},
	{"text", 0, ARGS_TEXT, AT(text), .good = good},
	{"colour", 'c', ARGS_WORD, AT(colour), .words = colours},
	{"switch", 0, ARGS_SWITCH, .take = flip},
	{"maybe", 'm', ARGS_MAYBE, .take = take},
	{"own", 'o', ARGS_OWN, .take = take},
};

static const struct args args = {"tool", "0", "help\n", table, COUNT_OF(table)};

/* The words up to the first NULL; where the operands begin in *first. */
static enum args_step run(struct target *out, const char *const *words, int *first)
{
	char *argv[WORDS_MAX + 2] = {(char *)(uintptr_t) "tool"};
	enum args_step step;
	int argc = 1;

	for (; words[argc - 1]; argc++)
		argv[argc] = (char *)(uintptr_t)words[argc - 1];
	*out = (struct target){.small = 7};
	optind = 0; /* glibc: begin anew */
	step = args_read(&args, out, argc, argv);
	*first = optind;
	return step;
}

Test(args, every_kind)
{
	static const char *const longs[] = {
		"--flag", "--small=1k", "--big", "18446744073709551615", "--real=0.5", NULL};
	static const char *const shorts[] = {"-fs2", "-c", "green", "-m", "-oxy", "operand", NULL};
	static const char *const others[] = {
		"--text", "good", "--switch", "--maybe=abc", "--switch", NULL};
	struct target out;
	int first;

	cr_assert(run(&out, longs, &first) == ARGS_RUN);
	cr_expect(out.flag && out.small == 1024 && out.big == UINT64_MAX && out.real == 0.5);
	cr_assert(run(&out, shorts, &first) == ARGS_RUN);
	cr_expect(out.flag && out.small == 2 && out.colour == GREEN && out.taken == 102);
	cr_expect(first == 6, "operands begin at %d", first);
	cr_assert(run(&out, others, &first) == ARGS_RUN);
	cr_expect(out.flag == false && out.small == 7 && out.switched == 2 && out.taken == 3);
	cr_expect(strcmp(out.text, "good") == 0);
}

Test(args, wrong_ones_are_refused)
{
	static const char *const cases[][WORDS_MAX] = {
		{"--small", "1"},
		{"--small", "2049"},
		{"--small"},
		{"-s"},
		{"--big", "18446744073709551616"},
		{"--real", "1.6"},
		{"--text", "bad"},
		{"--colour", "blue"},
		{"--colour", ""},
		{"--flag=yes"},
		{"--switch=on"},
		{"--maybe=bad"},
		{"--own", "bad"},
		{"--unknown"},
		{"-x"},
	};
	struct target out;
	int first;

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		cr_expect(run(&out, cases[i], &first) == ARGS_WRONG, "%s %s", cases[i][0],
			cases[i][1] ? cases[i][1] : "");
}

Test(args, help_and_version_end_the_reading)
{
	static const char *const cases[][WORDS_MAX] = {
		{"-h"}, {"--help"}, {"-V"}, {"--version"}, {"-f", "-h", "--unknown"}};
	struct target out;
	int first;

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		cr_expect(run(&out, cases[i], &first) == ARGS_DONE, "%s", cases[i][0]);
}
