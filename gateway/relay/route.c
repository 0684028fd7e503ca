/* SPDX-License-Identifier: MIT */
/*
 * route.c -- from a domain to its route: itself, the longest ".domain" above it, "*".
 *
 * One table holds all three kinds of keys, the configuration's and the routes file's, so that the
 * answer depends on the domain alone and not on where its route was written. Built once, then only
 * read, by any number of threads; the last holder frees it.
 *
 * Mail without a domain (<postmaster>) goes where mail for our own host name goes, and by the first
 * route when there is none: it was accepted, so it needs a way.
 *
 * Non-goals: whether a route is covered by relay_domains; the routes' contents (config/ checked
 * them). Rejected: a tree of labels (a few hash probes do it); a keyed hash as policy/ has (keys are
 * the operator's, a peer can only ask).
 */
#include "relay/route-private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "config/name.h"

#define TABLE_LOAD_SHARE 2 /* slots for each key, at least */

/* FNV-1a from a random start. */
static uint64_t hash(const struct route_table *table, struct span key)
{
	uint64_t value = 0xcbf29ce484222325ull ^ table->seed;

	for (size_t i = 0; i < key.n; i++)
		value = (value ^ key.p[i]) * 0x100000001b3ull;
	return value ^ value >> 32;
}

int route_table_open(struct route_table *table, uint64_t n)
{
	uint64_t slots = 8;

	*table = (struct route_table){0};
	while (slots < n * TABLE_LOAD_SHARE)
		slots *= 2;
	table->slots = calloc(slots, sizeof(*table->slots));
	if (!table->slots)
		return -ENOMEM;
	table->mask = slots - 1;
	(void)!getrandom(&table->seed, sizeof(table->seed), GRND_NONBLOCK);
	return 0;
}

void route_table_close(struct route_table *table)
{
	free(table->slots);
	*table = (struct route_table){0};
}

/* The slot that holds the key, or the free one where it would go. */
static struct route_slot *find(const struct route_table *table, struct span key, uint32_t *tag)
{
	uint64_t at = hash(table, key);

	*tag = (uint32_t)at;
	for (;; at++) {
		struct route_slot *slot = &table->slots[at & table->mask];

		if (!slot->key)
			return slot;
		/* strncmp stops at the key's NUL, so the octet behind is read only if there. */
		if (slot->tag == *tag && strncmp(slot->key, (const char *)key.p, key.n) == 0 &&
			slot->key[key.n] == '\0')
			return slot;
	}
}

const struct route_slot *route_table_add(struct route_table *table, const char *key,
	const struct route_settings *route, uint32_t line)
{
	uint32_t tag;
	struct route_slot *slot = find(table, span_str(key), &tag);

	if (slot->key)
		return slot;
	*slot = (struct route_slot){.key = key, .route = route, .tag = tag, .line = line};
	return NULL;
}

const struct route_slot *route_table_find(const struct route_table *table, struct span key)
{
	uint32_t tag;
	struct route_slot *slot = find(table, key, &tag);

	return slot->key ? slot : NULL;
}

int route_table_of(struct relay_routes **out, const struct relay_settings *settings, uint64_t more)
{
	struct relay_routes *routes = calloc(1, sizeof(*routes));
	uint64_t n = more;

	if (!routes)
		return -ENOMEM;
	holders_init(&routes->holders);
	routes->settings = settings;
	for (size_t i = 0; i < settings->routes_n; i++)
		n += settings->routes[i].domains_n;
	if (route_table_open(&routes->domains, n) != 0) {
		free(routes);
		return -ENOMEM;
	}
	for (size_t i = 0; i < settings->routes_n; i++) {
		const struct route_settings *route = &settings->routes[i];

		for (size_t k = 0; k < route->domains_n; k++) {
			/* config/ refuses a domain in two routes; without it the first one holds */
			(void)!route_table_add(&routes->domains, route->domains[k], route, 0);
			routes->has_below |= route->domains[k][0] == '.';
		}
	}
	*out = routes;
	return 0;
}

struct relay_routes *relay_routes_hold(struct relay_routes *routes)
{
	holders_add(&routes->holders);
	return routes;
}

void relay_routes_release(struct relay_routes *routes)
{
	if (!routes || !holders_drop(&routes->holders))
		return;
	route_table_close(&routes->domains);
	free(routes->text);
	free(routes);
}

/* The route of a lower-case domain; NULL: none. */
static const struct route_settings *route_of(const struct relay_routes *routes, struct span domain)
{
	const struct route_slot *slot = route_table_find(&routes->domains, domain);
	const uint8_t *dot = domain.p;

	while (!slot && routes->has_below && dot) {
		size_t left = domain.n - (size_t)(dot - domain.p);

		/* ".example.org" is below example.org only with a label before it */
		dot = left > 1 ? memchr(dot + 1, '.', left - 1) : NULL;
		if (dot)
			slot = route_table_find(&routes->domains,
				span_of(dot, domain.n - (size_t)(dot - domain.p)));
	}
	if (!slot)
		slot = route_table_find(&routes->domains, span_str("*"));
	return slot ? slot->route : NULL;
}

const struct route_settings *relay_route(const struct relay_routes *routes, struct span domain)
{
	const struct relay_settings *settings = routes->settings;
	const struct route_settings *route = NULL;
	char form[NAME_OCTETS_MAX];

	if (domain.n == 0) {
		if (settings->hostname)
			route = route_of(routes, span_str(settings->hostname));
		return route || settings->routes_n == 0 ? route : &settings->routes[0];
	}
	/* Longer than a domain can be, or not one at all: nobody's but "*". */
	if (domain.n > sizeof(form) || domain.p[0] == '.' || domain.p[0] == '*' ||
		memchr(domain.p, '\0', domain.n))
		return route_of(routes, span_str("*"));
	memcpy(form, domain.p, domain.n);
	name_lower(form, domain.n);
	return route_of(routes, span_of(form, domain.n));
}
