/* SPDX-License-Identifier: MIT */
/*
 * routes_file.c -- fuzz target: any octets as a routes file, then as a domain to look up.
 *
 * Shows: the parser neither crashes nor leaks; what it refuses has a message "FILE:LINE: ..." of
 * plain text with a line of the file; after what it takes every domain gets a route that the
 * configuration has, its own ones still theirs.
 */
#include <stdlib.h>

#include "relay/route-private.h"
#include "tests/fuzz/message.h"

#define PATH "routes"

static const char *const first_domains[] = {"a.example", ".b.example"};
static const char *const rest_domains[] = {"*"};
static const struct route_settings list[] = {
	{.title = "a", .domains = first_domains, .domains_n = 2},
	{.title = "b"},
	{.title = "rest", .domains = rest_domains, .domains_n = 1},
};
static const struct relay_settings settings = {
	.routes = list, .routes_n = COUNT_OF(list), .hostname = "mx.a.example"};

static void check_routes(const struct relay_routes *routes, const uint8_t *data, size_t n)
{
	const struct route_settings *route = relay_route(routes, span_of(data, n));

	ASSERT(route >= list && route < list + COUNT_OF(list));
	ASSERT(relay_route(routes, span_str("A.example")) == &list[0]);
	ASSERT(relay_route(routes, span_str("no.such")) != NULL);
	ASSERT(relay_route(routes, span_str("")) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct relay_routes *routes = NULL;
	char *text = malloc(n + 1);
	struct err err = {""};

	memcpy(text, data, n);
	if (relay_routes_parse(&routes, &settings, PATH, text, n, &err) != 0) {
		check_message(&err, PATH, span_of(data, n));
		routes = NULL;
		ASSERT(relay_routes_open(&routes, &settings, &err) == 0);
	}
	check_routes(routes, data, n);
	relay_routes_release(routes);
	return 0;
}
