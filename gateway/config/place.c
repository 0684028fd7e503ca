/* SPDX-License-Identifier: MIT */
/*
 * place.c -- remembers which line of the configuration names which path.
 *
 * What is wrong with a certificate or a recipients file is found out by the room that reads it,
 * which knows its path but not the configuration. A path is found in the room's message by its
 * text, so no room has to carry line numbers about for an error that hardly ever comes.
 */
#include "config/config-private.h"

#include <stdio.h>
#include <stdlib.h>

struct config_places *config_places_open(const char *file)
{
	struct config_places *places = calloc(1, sizeof(*places));

	if (!places)
		return NULL;
	places->file = strdup(file);
	if (places->file)
		return places;
	free(places);
	return NULL;
}

void config_places_close(struct config_places *places)
{
	if (!places)
		return;
	for (size_t i = 0; i < places->n; i++)
		free(places->list[i].path);
	free(places->file);
	free(places);
}

void config_places_add(struct config_places *places, const char *path, int line)
{
	char *copy = places->n < CONFIG_PLACES_MAX ? strdup(path) : NULL;

	if (copy)
		places->list[places->n++] = (struct config_place){copy, line};
}

static bool ends_word(char c)
{
	return c == '\0' || strchr(" :;,\"'()", c) != NULL;
}

/* The path as a word of its own. */
static bool names(const char *text, const char *path)
{
	size_t n = strlen(path);

	for (const char *at = strstr(text, path); at; at = strstr(at + 1, path)) {
		if ((at == text || ends_word(at[-1])) && ends_word(at[n]))
			return true;
	}
	return false;
}

bool config_places_apply(const struct config_places *places, struct err *err)
{
	const struct config_place *best = NULL;
	struct err what = *err;

	for (size_t i = 0; i < places->n; i++) {
		const struct config_place *place = &places->list[i];

		if (names(what.text, place->path) &&
			(!best || strlen(place->path) > strlen(best->path)))
			best = place;
	}
	if (best)
		err_set(err, "%s:%d: %s", places->file, best->line, what.text);
	return best != NULL;
}
