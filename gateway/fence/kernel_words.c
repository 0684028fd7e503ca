/* SPDX-License-Identifier: MIT */
/*
 * kernel_words.c -- why a program or a map was refused, in the kernel's words.
 *
 * libbpf has one printer for the whole process and no context for it: hence this file's static
 * struct, written only while the parent's one thread opens a fence. Nothing is printed. Of a
 * verifier's log, which may be megabytes, the line before the statistics is kept: there it says what
 * it does not like. Of all else the last message is kept that says more than "failed to load".
 */
#include "fence/kernel-private.h"

#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"

#define WORDS_MAX 200

static struct {
	bool refused;
	char text[WORDS_MAX];
} words;

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* A line without libbpf's name in front, and without what ends it. */
static void keep(const char *line, size_t n)
{
	static const char prefix[] = "libbpf: ";

	if (n >= sizeof(prefix) - 1 && starts(line, prefix)) {
		line += sizeof(prefix) - 1;
		n -= sizeof(prefix) - 1;
	}
	while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == ' '))
		n--;
	snprintf(words.text, sizeof(words.text), "%.*s", (int)min_size(n, WORDS_MAX), line);
}

/* The last line that is neither a frame around the log nor statistics. */
static void verifier_take(const char *log)
{
	const char *best = NULL;
	size_t best_n = 0;

	for (const char *line = log; *line != '\0';) {
		size_t n = strcspn(line, "\n");

		if (n > 0 && !starts(line, "processed ") && !starts(line, "verification time") &&
			!starts(line, "stack depth") && !starts(line, "-- END")) {
			best = line;
			best_n = n;
		}
		line += n + (line[n] == '\n');
	}
	if (best == NULL)
		return;
	words.refused = true;
	keep(best, best_n);
}

void kernel_words_take(const char *text)
{
	static const char begin[] = "-- BEGIN PROG LOAD LOG --";
	const char *log = strstr(text, begin);

	if (words.refused)
		return;
	if (log != NULL)
		verifier_take(log + sizeof(begin) - 1);
	else if (strstr(text, "failed to load") == NULL && strstr(text, "-- END") == NULL)
		keep(text, strlen(text));
}

static int print(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char *text;

	if (level != LIBBPF_WARN)
		return 0;
	if (vasprintf(&text, fmt, args) < 0)
		return 0;
	kernel_words_take(text);
	free(text);
	return 0;
}

void kernel_words_begin(void)
{
	words.refused = false;
	words.text[0] = '\0';
	libbpf_set_print(print);
}

const char *kernel_words(void)
{
	return words.text;
}

bool kernel_words_refused(void)
{
	return words.refused;
}
