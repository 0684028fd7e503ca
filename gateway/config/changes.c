/* SPDX-License-Identifier: MIT */
/*
 * changes.c -- which keys of a configuration that was read again only a restart takes into use.
 *
 * By the table of keys, so that no key can be left out: whatever is not among those that a reload
 * takes (`taken`) needs a restart. What the gateway runs with is what it was started with, but for
 * these, so each reload is compared with the start, not with the reload before. Sections with a title
 * are compared by it.
 *
 * Values are compared, not texts: a default that is written out is no change. Files that a key names
 * are not looked at, only their names.
 */
#include <stdio.h>

#include "base/buf.h"
#include "config/config-private.h"

struct taken {
	const char *section, *name; /* name NULL: all of it, and which there are */
};

static const struct taken taken[] = {
	{"sts", NULL},
	{"certificate", "next_chain"},
	{"certificate", "tlsa"},
};
/* Of the fence all but these. */
static const char *const fence_fixed[] = {
	"mode", "interfaces", "pin", "prefix_v4", "prefix_v6", "sources_max"};

bool config_key_taken(const struct config_key *key)
{
	for (size_t i = 0; i < COUNT_OF(taken); i++)
		if (strcmp(taken[i].section, key->section) == 0 &&
			(taken[i].name == NULL || strcmp(taken[i].name, key->name) == 0))
			return true;
	if (strcmp(key->section, "fence") != 0)
		return false;
	for (size_t i = 0; i < COUNT_OF(fence_fixed); i++)
		if (strcmp(fence_fixed[i], key->name) == 0)
			return false;
	return true;
}

/* ---- one value ---- */

static bool same_text(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

static bool same_hops(
	const struct next_hop_settings *a, const struct next_hop_settings *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!same_text(a[i].text, b[i].text) || a[i].weight != b[i].weight)
			return false;
	return true;
}

static bool same_list(const struct config_key *key, const uint8_t *a, const uint8_t *b)
{
	size_t n = *(const size_t *)(const void *)(a + key->offset_n);
	const char *const *list_a, *const *list_b;

	if (n != *(const size_t *)(const void *)(b + key->offset_n))
		return false;
	if (key->kind == VALUE_NEXT_HOP)
		return same_hops((const struct next_hop_settings *)(const void *)(a + key->offset),
			(const struct next_hop_settings *)(const void *)(b + key->offset), n);
	list_a = *(const char *const *const *)(const void *)(a + key->offset);
	list_b = *(const char *const *const *)(const void *)(b + key->offset);
	for (size_t i = 0; i < n; i++)
		if (!same_text(list_a[i], list_b[i]))
			return false;
	return true;
}

static bool same(const struct config_key *key, const uint8_t *a, const uint8_t *b)
{
	if (key->list_max > 0)
		return same_list(key, a, b);
	if (key->kind <= VALUE_BUDGET)
		return memcmp(a + key->offset, b + key->offset, key->width) == 0;
	return same_text(*(const char *const *)(const void *)(a + key->offset),
		*(const char *const *)(const void *)(b + key->offset));
}

/* ---- sections ---- */

/* Sections with a title: an array of structs whose first member it is. */
struct titled {
	const uint8_t *at;
	size_t n, bytes;
};

static struct titled titled_of(const struct config *config, const char *section)
{
	if (strcmp(section, "listener") == 0)
		return (struct titled){(const uint8_t *)config->listeners, config->listeners_n,
			sizeof(config->listeners[0])};
	if (strcmp(section, "certificate") == 0)
		return (struct titled){(const uint8_t *)config->tls.certificates,
			config->tls.certificates_n, sizeof(config->tls.certificates[0])};
	if (strcmp(section, "route") == 0)
		return (struct titled){(const uint8_t *)config->relay.routes,
			config->relay.routes_n, sizeof(config->relay.routes[0])};
	ASSERT(strcmp(section, "sts") == 0);
	return (struct titled){0};
}

static const char *title_at(const struct titled *list, size_t i)
{
	return *(const char *const *)(const void *)(list->at + i * list->bytes);
}

static const uint8_t *titled_find(const struct titled *list, const char *title)
{
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(title_at(list, i), title) == 0)
			return list->at + i * list->bytes;
	return NULL;
}

/* ---- the names ---- */

struct names {
	struct buf text;
	size_t n;
	bool cut;
};

static void name_add(struct names *names, const char *section, const char *title, const char *name)
{
	char text[2 * CONFIG_TITLE_MAX + 64];

	snprintf(text, sizeof(text), "%s%s%s%s%s", section, *section && title ? "." : "",
		title ? title : "", name && *section ? "." : "", name ? name : "");
	names->n++;
	names->cut = names->cut || buf_room(&names->text) < strlen(text) + 2 + sizeof(", and more");
	if (!names->cut)
		(void)!buf_printf(&names->text, "%s%s", names->n > 1 ? ", " : "", text);
}

static void keys_compare(struct names *names, const char *section, const char *title,
	const void *before, const void *now)
{
	for (size_t i = 0; i < config_keys_n; i++) {
		const struct config_key *key = &config_keys[i];

		if (strcmp(key->section, section) == 0 && !config_key_taken(key) &&
			!same(key, before, now))
			name_add(names, section, title, key->name);
	}
}

/* Those of `a` that `b` has not. */
static void titles_missing(
	struct names *names, const char *section, const struct titled *a, const struct titled *b)
{
	for (size_t i = 0; i < a->n; i++)
		if (titled_find(b, title_at(a, i)) == NULL)
			name_add(names, section, title_at(a, i), NULL);
}

/* Which is first may decide. */
static bool same_order(const struct titled *a, const struct titled *b)
{
	for (size_t i = 0; i < a->n && a->n == b->n; i++)
		if (titled_find(b, title_at(a, i)) != NULL &&
			strcmp(title_at(a, i), title_at(b, i)) != 0)
			return false;
	return true;
}

static void titled_compare(struct names *names, const char *section, const struct config *before,
	const struct config *now)
{
	struct titled old = titled_of(before, section), fresh = titled_of(now, section);

	titles_missing(names, section, &old, &fresh);
	titles_missing(names, section, &fresh, &old);
	if (!same_order(&old, &fresh))
		name_add(names, section, "(order)", NULL);
	for (size_t i = 0; i < old.n; i++) {
		const uint8_t *other = titled_find(&fresh, title_at(&old, i));

		if (other != NULL)
			keys_compare(
				names, section, title_at(&old, i), old.at + i * old.bytes, other);
	}
}

static bool is_titled(const char *section)
{
	static const char *const names[] = {"listener", "certificate", "route", "sts"};

	for (size_t i = 0; i < COUNT_OF(names); i++)
		if (strcmp(names[i], section) == 0)
			return true;
	return false;
}

size_t config_restart_keys(
	const struct config *before, const struct config *now, char *out, size_t cap)
{
	struct names names = {0};

	buf_init(&names.text, out, cap - 1);
	for (size_t i = 0; i < config_keys_n; i++) {
		const char *section = config_keys[i].section;

		if (i > 0 && strcmp(section, config_keys[i - 1].section) == 0)
			continue; /* rows of a section stand together */
		if (is_titled(section))
			titled_compare(&names, section, before, now);
		else
			keys_compare(&names, section, NULL, before, now);
	}
	if (names.cut)
		(void)!buf_puts(&names.text, ", and more");
	out[buf_len(&names.text)] = '\0';
	return names.n;
}
