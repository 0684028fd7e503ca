/* SPDX-License-Identifier: MIT */
/*
 * routes.c -- fills in the routes and checks them: next hops that cannot stand together, settings
 * that mean nothing for them, domains that stand twice or nowhere.
 *
 * With a routes file any domain may have its route there, so only what this file says twice is an
 * error then; whether the routes file covers the rest shows when mail comes.
 *
 * Rejected: Maildirs beside other next hops. Fail-over or weights would scatter a mailbox.
 */
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "config/fill-private.h"
#include "config/name.h"

static const char *text_of(struct fill *fill, struct span span)
{
	char *text = fill_alloc(fill, span.n + 1);

	if (!text)
		return NULL;
	memcpy(text, span.p, span.n);
	text[span.n] = '\0';
	return text;
}

/* The value passed value_read() before. */
static int fill_next_hop(struct fill *fill, const struct config_key *key, const char *text,
	struct next_hop_settings *out)
{
	struct value value;
	struct hop_parts hop;
	int rc = value_read(key, fill->source->folder, text, &value, fill->err);

	ASSERT(rc == 0);
	rc = hop_read(text, &hop, fill->err);
	ASSERT(rc == 0);
	*out = (struct next_hop_settings){.kind = hop.kind, .port = hop.port, .weight = hop.weight};
	out->text = text_of(fill, hop.title);
	if (!out->text)
		return -1;
	if (hop.host.n > 0) {
		char *host = (char *)(uintptr_t)text_of(fill, hop.host);

		if (!host)
			return -1;
		name_lower(host, hop.host.n);
		out->host = host;
	}
	if (*value.text) {
		out->path = fill_text(fill, value.text);
		if (!out->path)
			return -1;
	}
	return 0;
}

int fill_next_hops(struct fill *fill, const struct config_key *key, cfg_opt_t *opt, uint8_t *base)
{
	struct next_hop_settings *array = (struct next_hop_settings *)(void *)(base + key->offset);
	size_t n = cfg_opt_size(opt);

	ASSERT(n <= SETTINGS_NEXT_HOPS_MAX);
	for (size_t i = 0; i < n; i++) {
		if (fill_next_hop(fill, key, cfg_opt_getnstr(opt, (unsigned)i), &array[i]) != 0)
			return -1;
	}
	*(size_t *)(void *)(base + key->offset_n) = n;
	return 0;
}

/* Of several next hops; the weight of one alone says nothing either way. */
static bool has_weights(const struct route_settings *route)
{
	for (size_t i = 0; i < route->next_hops_n && route->next_hops_n > 1; i++) {
		if (route->next_hops[i].weight != 1)
			return true;
	}
	return false;
}

static int check_hops(struct fill *fill, cfg_t *sec, const struct route_settings *route)
{
	for (size_t i = 0; i < route->next_hops_n; i++) {
		const struct next_hop_settings *hop = &route->next_hops[i];
		bool asks = hop->kind != NEXT_HOP_MAILDIR && hop->kind != NEXT_HOP_MX;
		char shown[CONFIG_SHOWN_MAX + 4];

		value_shown(hop->text, shown);
		if (hop->kind == NEXT_HOP_MAILDIR && route->next_hops_n > 1)
			return fill_fail(fill, sec,
				"route \"%s\": \"%s\" stands beside other next hops: give it a route "
				"of its own",
				route->title, shown);
		if (!asks && (route->cutthrough || route->callout))
			return fill_fail(fill, sec,
				"route \"%s\": %s needs lmtp: or smtp: next hops, and \"%s\" is none: "
				"write %s = no",
				route->title, route->cutthrough ? "cutthrough" : "callout", shown,
				route->cutthrough ? "cutthrough" : "callout");
		if (hop->kind == NEXT_HOP_LMTP_UNIX && route->tls == ROUTE_TLS_VERIFY &&
			!route->tls_name)
			return fill_fail(fill, sec,
				"route \"%s\": \"%s\" has no name to verify: write tls_name = "
				"\"mail.example.org\"",
				route->title, shown);
		if (hop->kind != NEXT_HOP_MX && route->tls == ROUTE_TLS_POLICY)
			return fill_fail(fill, sec,
				"route \"%s\": tls = policy is for mx, and \"%s\" is none: write "
				"tls = \"verify\" or \"may\"",
				route->title, shown);
	}
	return 0;
}

static int check_route(struct fill *fill, cfg_t *sec, const struct route_settings *route)
{
	if (route->ca_file && route->tls != ROUTE_TLS_VERIFY && route->tls != ROUTE_TLS_POLICY)
		return fill_fail(fill, sec,
			"route \"%s\": ca_file is used by tls = verify and tls = policy only: "
			"write tls = \"verify\"",
			route->title);
	if (route->tls_name && route->tls == ROUTE_TLS_POLICY)
		return fill_fail(fill, sec,
			"route \"%s\": tls_name is set with tls = policy, where the names are the "
			"MXes': leave one of them out",
			route->title);
	if (route->tls_name && route->tls == ROUTE_TLS_NONE)
		return fill_fail(fill, sec,
			"route \"%s\": tls_name is set with tls = none: leave one of them out",
			route->title);
	if (route->choose != ROUTE_CHOOSE_WEIGHT && has_weights(route))
		return fill_fail(fill, sec,
			"route \"%s\": weights are used by choose = weight only: write choose = "
			"\"weight\"",
			route->title);
	if (route->domains_n == 0 && !fill->store->config.relay.routes_file)
		return fill_fail(fill, sec,
			"route \"%s\": domains is missing: write domains = { \"*\" }",
			route->title);
	return check_hops(fill, sec, route);
}

/* Gives each Maildir its index among the different roots. */
static int collect_maildirs(struct fill *fill, cfg_t *sec, struct route_settings *route)
{
	struct relay_settings *relay = &fill->store->config.relay;
	const char **roots = (const char **)(uintptr_t)relay->maildirs;

	for (size_t i = 0; i < route->next_hops_n; i++) {
		struct next_hop_settings *hop = &route->next_hops[i];
		uint32_t at = 0;

		if (hop->kind != NEXT_HOP_MAILDIR)
			continue;
		while (at < relay->maildirs_n && strcmp(roots[at], hop->path) != 0)
			at++;
		if (at == SETTINGS_MAILDIRS_MAX)
			return fill_fail(fill, sec, "more than %d different Maildir roots",
				SETTINGS_MAILDIRS_MAX);
		if (at == relay->maildirs_n)
			roots[relay->maildirs_n++] = hop->path;
		hop->maildir = at;
	}
	return 0;
}

static int fill_route(struct fill *fill, cfg_t *sec, struct route_settings *route)
{
	memset(route, 0, sizeof(*route));
	if (fill_title(fill, sec) != 0 || fill_section(fill, "route", sec, route) != 0)
		return -1;
	route->title = fill_text(fill, sec->title);
	if (!route->title || check_route(fill, sec, route) != 0)
		return -1;
	return collect_maildirs(fill, sec, route);
}

struct domain_place {
	const char *domain;
	uint32_t route;
};

static int compare_places(const void *a, const void *b)
{
	const struct domain_place *left = a, *right = b;
	int order = strcmp(left->domain, right->domain);

	return order ? order : left->route < right->route ? -1 : left->route > right->route;
}

static int compare_domains(const void *key, const void *place)
{
	return strcmp(key, ((const struct domain_place *)place)->domain);
}

static bool has_place(const struct domain_place *places, size_t n, const char *domain)
{
	return bsearch(domain, places, n, sizeof(*places), compare_domains) != NULL;
}

static bool is_covered(const struct domain_place *places, size_t n, const char *domain)
{
	if (has_place(places, n, "*") || has_place(places, n, domain))
		return true;
	for (const char *dot = strchr(domain, '.'); dot; dot = strchr(dot + 1, '.')) {
		if (has_place(places, n, dot))
			return true;
	}
	return false;
}

static int check_places(struct fill *fill, const struct domain_place *places, size_t n)
{
	const struct config *config = &fill->store->config;
	char shown[CONFIG_SHOWN_MAX + 4];

	for (size_t i = 1; i < n; i++) {
		const struct route_settings *route = &config->relay.routes[places[i].route];

		if (strcmp(places[i - 1].domain, places[i].domain) == 0)
			return fill_fail(fill, cfg_getnsec(fill->root, "route", places[i].route),
				"route \"%s\": domain \"%s\" stands in route \"%s\" too: leave one of "
				"them out",
				route->title, value_shown(places[i].domain, shown),
				config->relay.routes[places[i - 1].route].title);
	}
	for (size_t i = 0; i < config->policy.relay_domains_n && !config->relay.routes_file; i++) {
		const char *domain = config->policy.relay_domains[i];

		if (!is_covered(places, n, domain))
			return fill_fail(fill, cfg_getsec(fill->root, "policy"),
				"policy: no route for relay domain \"%s\": write it or \"*\" in the "
				"domains of a route",
				value_shown(domain, shown));
	}
	return 0;
}

/* What domains are routed, sorted, so that 100,000 of them are looked up in no time. */
static int check_domains(struct fill *fill)
{
	const struct relay_settings *relay = &fill->store->config.relay;
	struct domain_place *places;
	size_t n = 0, at = 0;
	int rc;

	for (size_t i = 0; i < relay->routes_n; i++)
		n += relay->routes[i].domains_n;
	places = malloc((n + 1) * sizeof(*places));
	if (!places)
		return fill_fail(fill, NULL, "out of memory");
	for (size_t i = 0; i < relay->routes_n; i++) {
		for (size_t k = 0; k < relay->routes[i].domains_n; k++)
			places[at++] =
				(struct domain_place){relay->routes[i].domains[k], (uint32_t)i};
	}
	qsort(places, n, sizeof(*places), compare_places);
	rc = check_places(fill, places, n);
	free(places);
	return rc;
}

int fill_routes(struct fill *fill)
{
	struct relay_settings *relay = &fill->store->config.relay;
	size_t n = cfg_size(fill->root, "route");
	struct route_settings *array;

	if (n == 0)
		return fill_fail(fill, NULL,
			"no route: write route \"default\" { domains = { \"*\" } next_hops = { "
			"\"lmtp:127.0.0.1:24\" } }");
	if (n > SETTINGS_ROUTES_MAX)
		return fill_fail(fill, cfg_getnsec(fill->root, "route", SETTINGS_ROUTES_MAX),
			"more than %d routes", SETTINGS_ROUTES_MAX);
	array = fill_alloc(fill, n * sizeof(*array));
	relay->maildirs = fill_alloc(fill, SETTINGS_MAILDIRS_MAX * sizeof(*relay->maildirs));
	if (!array || !relay->maildirs)
		return -1;
	relay->routes = array;
	relay->routes_n = n;
	for (size_t i = 0; i < n; i++) {
		if (fill_route(fill, cfg_getnsec(fill->root, "route", (unsigned)i), &array[i]) != 0)
			return -1;
	}
	return check_domains(fill);
}
