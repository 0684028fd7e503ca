/* SPDX-License-Identifier: MIT */
/*
 * The manual page against the table of keys: each key has its entry in its section, with its
 * default, its range or its words. Runs from the top folder, as all suites do.
 */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "config/config-private.h"

#define MANUAL "gateway/man/postern.conf.5"

/* The file's text; the caller's to free. */
static char *read_manual(void)
{
	FILE *file = fopen(MANUAL, "r");
	char *text = NULL;
	size_t cap = 0;

	cr_assert_not_null(file, "cannot open " MANUAL);
	cr_assert_gt(getdelim(&text, &cap, '\0', file), 0);
	fclose(file);
	return text;
}

/* What stands between `from` and the next of `to`, the caller's to free; NULL: there is no `from`.
 */
static char *between(const char *text, const char *from, const char *const *to, size_t to_n)
{
	const char *start = text ? strstr(text, from) : NULL;
	const char *end = start ? start + strlen(start) : NULL;

	if (!start)
		return NULL;
	for (size_t i = 0; i < to_n; i++) {
		const char *here = strstr(start + strlen(from), to[i]);

		if (here && here < end)
			end = here;
	}
	return strndup(start, (size_t)(end - start));
}

static char *section_of(const char *text, const struct config_key *key)
{
	static const char *const ends[] = {"\n.Ss ", "\n.Sh "};
	char from[64];

	snprintf(from, sizeof(from), "\n.Ss %s%s", *key->section ? "Section " : "Top level",
		key->section);
	return between(text, from, ends, COUNT_OF(ends));
}

static char *entry_of(const char *section, const struct config_key *key)
{
	static const char *const ends[] = {"\n.It Ic ", "\n.El"};
	char from[64], *entry;

	snprintf(from, sizeof(from), "\n.It Ic %s No =", key->name);
	entry = between(section, from, ends, COUNT_OF(ends));
	/* a sentence may be cut anywhere */
	for (char *c = entry; c && *c; c++)
		*c = (char)(*c == '\n' ? ' ' : *c);
	return entry;
}

/* "Default: " and the value, as it is or marked up, as a word of its own. */
static bool has_default(const char *entry, const char *value)
{
	static const char *const marks[] = {"", ".Cm ", ".Qq ", ".Ql "};
	const char *at = strstr(entry, "Default: ");

	for (size_t i = 0; at && i < COUNT_OF(marks); i++) {
		const char *word = at + strlen("Default: ");
		size_t n = strlen(marks[i]);

		if (strncmp(word, marks[i], n) == 0 &&
			strncmp(word + n, value, strlen(value)) == 0 &&
			!isalnum((unsigned char)word[n + strlen(value)]))
			return true;
	}
	return false;
}

static void check_default(const char *entry, const struct config_key *key)
{
	if (key->example)
		cr_expect_not_null(strstr(entry, "Required."), "%s: required", key->name);
	else if (key->fallback)
		cr_expect(has_default(entry, key->fallback), "%s: default %s", key->name,
			key->fallback);
	else
		cr_expect_not_null(strstr(entry, "Default:"), "%s: default", key->name);
}

static void check_entry(const char *entry, const struct config_key *key)
{
	char wanted[64];

	check_default(entry, key);
	if (key->kind == VALUE_NUMBER) {
		snprintf(wanted, sizeof(wanted), "%llu to %llu", (unsigned long long)key->min,
			(unsigned long long)key->max);
		cr_expect_not_null(strstr(entry, wanted), "%s: %s", key->name, wanted);
	}
	for (size_t i = 0; key->kind == VALUE_CHOICE && key->choices[i].text; i++)
		cr_expect_not_null(strstr(entry, key->choices[i].text), "%s: %s", key->name,
			key->choices[i].text);
	if (key->list_max > 0) {
		snprintf(wanted, sizeof(wanted), "at most %zu", key->list_max);
		cr_expect_not_null(strstr(entry, wanted), "%s: %s", key->name, wanted);
	}
}

Test(manual, every_key_is_described)
{
	char *text = read_manual();

	for (size_t i = 0; i < config_keys_n; i++) {
		char *section = section_of(text, &config_keys[i]);
		char *entry = entry_of(section, &config_keys[i]);

		cr_expect_not_null(entry, "%s.%s", config_keys[i].section, config_keys[i].name);
		if (entry)
			check_entry(entry, &config_keys[i]);
		free(entry);
		free(section);
	}
	free(text);
}

/* The range of a budget stands once, at the front of the section. */
Test(manual, budgets_have_their_range)
{
	char *text = read_manual();
	char *section = section_of(text, config_key_find("fence", "connections"));
	char wanted[96];

	snprintf(wanted, sizeof(wanted), "\nThe rate is 1 to %d, the burst 1 to %d times the rate;",
		CONFIG_RATE_MAX, CONFIG_BURST_SECONDS_MAX);
	cr_assert_not_null(section);
	cr_expect_not_null(strstr(section, wanted), "%s", wanted);
	free(section);
	free(text);
}

/* And nothing else is. */
Test(manual, every_entry_is_a_key)
{
	char *text = read_manual();
	size_t entries = 0;

	for (const char *at = text; (at = strstr(at, "\n.It Ic ")) != NULL; at++)
		entries++;
	cr_expect_eq(entries, config_keys_n);
	free(text);
}
