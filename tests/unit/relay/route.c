/* SPDX-License-Identifier: MIT */
/* Unit tests of relay/route.c and relay/route_file.c: which route a domain takes, what a routes
 * file may hold. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/route-private.h"

static const char *const exact[] = {"example.org", "mx.example.org", "\xc3\xa4.example"};
static const char *const below[] = {".example.org", ".b.example"};
static const char *const deeper[] = {".a.b.example", "a.b.example"};
static const char *const rest[] = {"*"};

static const struct route_settings routes_list[] = {
	{.title = "exact", .domains = exact, .domains_n = COUNT_OF(exact)},
	{.title = "below", .domains = below, .domains_n = COUNT_OF(below)},
	{.title = "deeper", .domains = deeper, .domains_n = COUNT_OF(deeper)},
	{.title = "rest", .domains = rest, .domains_n = COUNT_OF(rest)},
	{.title = "spare"},
};

static const struct relay_settings all = {
	.routes = routes_list, .routes_n = COUNT_OF(routes_list), .hostname = "mx.example.org"};
static const struct relay_settings without_rest = {
	.routes = routes_list, .routes_n = 3, .hostname = "mx.other.example"};

static const char *title_of(const struct relay_routes *routes, struct span domain)
{
	const struct route_settings *route = relay_route(routes, domain);

	return route ? route->title : "none";
}

#define X10  "0123456789"
#define X50  X10 X10 X10 X10 X10
#define LONG X50 "." X50 "." X50 "." X50 "."

struct way {
	const char *domain;
	const char *all;
	const char *without_rest;
};

Test(route, domains)
{
	static const struct way ways[] = {
		{"example.org", "exact", "exact"},
		{"EXAMPLE.Org", "exact", "exact"},
		{"mx.example.org", "exact", "exact"},
		{"\xc3\xa4.example", "exact", "exact"},
		{"www.example.org", "below", "below"},
		{"a.b.c.example.org", "below", "below"},
		{"xexample.org", "rest", "none"},
		{"org", "rest", "none"},
		{"example.org.uk", "rest", "none"},
		{"b.example", "rest", "none"},
		{"x.b.example", "below", "below"},
		{"a.b.example", "deeper", "deeper"},
		{"x.a.b.example", "deeper", "deeper"},
		{"y.x.A.b.example", "deeper", "deeper"},
		{"xa.b.example", "below", "below"},
		{".example.org", "rest", "none"},
		{"*", "rest", "none"},
		{"[192.0.2.1]", "rest", "none"},
		{"..", "rest", "none"},
		{"example.org.", "rest", "none"},
		/* <postmaster>: our host name's, else the first */
		{"", "exact", "exact"},
		{LONG X10 X10 X10 "012345678.b.example", "below", "below"},
		{LONG X10 X10 X10 X10 ".b.example", "rest", "none"},
	};
	struct relay_routes *routes[2];
	struct err err;

	cr_assert_eq(relay_routes_open(&routes[0], &all, &err), 0);
	cr_assert_eq(relay_routes_open(&routes[1], &without_rest, &err), 0);
	for (size_t i = 0; i < COUNT_OF(ways); i++) {
		struct span domain = span_str(ways[i].domain);

		cr_expect_str_eq(title_of(routes[0], domain), ways[i].all, "%s", ways[i].domain);
		cr_expect_str_eq(
			title_of(routes[1], domain), ways[i].without_rest, "%s", ways[i].domain);
	}
	cr_expect_str_eq(title_of(routes[1], span_of("example.org\0", 12)), "none");
	relay_routes_release(routes[0]);
	relay_routes_release(routes[1]);
}

static int parse(struct relay_routes **out, const struct relay_settings *settings, const char *text,
	struct err *err)
{
	size_t n = strlen(text);
	char *copy = malloc(n + 1);

	memcpy(copy, text, n);
	return relay_routes_parse(out, settings, "routes", copy, n, err);
}

Test(route_file, adds_domains)
{
	static const char text[] = "# comment\n\n"
				   "New.example spare\n"
				   "\t .below.example\t rest # comment\r\n"
				   "\xc3\xb6.example  exact\n"
				   "* spare";
	static const struct {
		const char *domain;
		const char *title;
	} ways[] = {{"new.example", "spare"}, {"NEW.example", "spare"}, {"x.new.example", "spare"},
		{"a.b.below.example", "rest"}, {"\xc3\xb6.example", "exact"},
		{"example.org", "exact"}, {"else.test", "spare"}, {"", "exact"}};
	struct relay_routes *routes = NULL;
	struct relay_settings settings = all;
	struct route_settings list[COUNT_OF(routes_list)];
	struct err err = {""};

	cr_expect_eq(parse(&routes, &settings, text, &err), -1, "rest has \"*\"");
	cr_assert_str_eq(err.text, "routes:6: domain \"*\" stands in the configuration's route "
				   "\"rest\" too: leave one of them out");
	memcpy(list, routes_list, sizeof(list));
	list[3].domains_n = 0;
	settings.routes = list;
	cr_assert_eq(parse(&routes, &settings, text, &err), 0, "%s", err.text);
	for (size_t i = 0; i < COUNT_OF(ways); i++)
		cr_expect_str_eq(title_of(routes, span_str(ways[i].domain)), ways[i].title, "%s",
			ways[i].domain);
	relay_routes_release(routes);
}

Test(route_file, refuses)
{
#define FORM "is not a mail domain such as example.org, .example.org for all below it, or *"
	static const struct {
		const char *text;
		const char *message;
	} cases[] = {
		{"a_b.example rest", "routes:1: \"a_b.example\" " FORM},
		{"\n# x\n*.example rest", "routes:3: \"*.example\" " FORM},
		{"..example rest", "routes:1: \"..example\" " FORM},
		{". rest", "routes:1: \".\" " FORM},
		{"a.example\x01 rest", "routes:1: \"a.example?\" " FORM},
		{"\xef\xbb\xbf"
		 "a.example rest",
			"routes:1: a byte order mark: save the file without one"},
		{"a.example", "routes:1: no route behind the domain: write DOMAIN TITLE"},
		{"a.example \t # rest", "routes:1: no route behind the domain: write DOMAIN TITLE"},
		{"a.example Rest", "routes:1: the configuration has no route \"Rest\""},
		{"a.example rest#x", "routes:1: the configuration has no route \"rest#x\""},
		{"a.example rest spare",
			"routes:1: something follows the title: write one domain a line"},
		{"a.example rest\nb.example rest\nA.example spare\n",
			"routes:3: domain \"a.example\" stands in line 1 too: leave one of them out"},
		{"Example.org spare", "routes:1: domain \"example.org\" stands in the "
				      "configuration's route \"exact\" too: leave one of them out"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct relay_routes *routes = NULL;
		struct err err = {""};

		cr_expect_eq(parse(&routes, &all, cases[i].text, &err), -1, "%s", cases[i].text);
		cr_expect_str_eq(err.text, cases[i].message, "%s", err.text);
	}
}

Test(route_file, domains_are_bounded)
{
	size_t cap = (size_t)(ROUTES_DOMAINS_MAX + 1) * 24, n = 0;
	char *text = malloc(cap), *copy = malloc(cap + 1);
	struct relay_routes *routes = NULL;
	struct err err = {""};

	for (int i = 0; i < ROUTES_DOMAINS_MAX; i++)
		n += (size_t)snprintf(text + n, cap - n, "d%d.test spare\n", i);
	memcpy(copy, text, n);
	cr_assert_eq(relay_routes_parse(&routes, &all, "routes", copy, n, &err), 0, "%s", err.text);
	cr_expect_str_eq(title_of(routes, span_str("d999999.test")), "spare");
	cr_expect_str_eq(title_of(routes, span_str("d1000000.test")), "rest");
	relay_routes_release(routes);
	n += (size_t)snprintf(text + n, cap - n, "one.test spare\n");
	cr_expect_eq(relay_routes_parse(&routes, &all, "routes", text, n, &err), -1);
	cr_expect_str_eq(err.text, "routes:1000001: more than 1000000 domains");
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	cr_assert_not_null(file);
	fputs(text, file);
	cr_assert_eq(fclose(file), 0);
}

static void expect_open_fails(const struct relay_settings *settings, const char *what)
{
	struct relay_routes *routes = NULL;
	struct err err = {""};
	char message[256];

	snprintf(message, sizeof(message), "%s:1: %s", settings->routes_file, what);
	cr_expect_eq(relay_routes_open(&routes, settings, &err), -1);
	cr_expect_str_eq(err.text, message, "%s", err.text);
}

Test(route_file, open_reads_a_file)
{
	char path[] = "/tmp/postern-routes-XXXXXX", what[128];
	struct relay_settings settings = all;
	struct relay_routes *routes = NULL;
	struct err err = {""};

	cr_assert_geq(close(mkstemp(path)), 0);
	settings.routes_file = path;
	write_file(path, "a.example spare\n");
	cr_assert_eq(relay_routes_open(&routes, &settings, &err), 0, "%s", err.text);
	cr_expect_str_eq(title_of(routes, span_str("a.example")), "spare");
	relay_routes_release(routes);
	write_file(path, "");
	cr_assert_eq(relay_routes_open(&routes, &settings, &err), 0, "%s", err.text);
	cr_expect_str_eq(title_of(routes, span_str("a.example")), "rest");
	relay_routes_release(routes);
	cr_assert_eq(truncate(path, ROUTES_FILE_MAX + 1), 0);
	expect_open_fails(&settings, "larger than 67108864 octets");
	cr_assert_eq(unlink(path), 0);
	snprintf(what, sizeof(what), "cannot be opened: %s", strerror(ENOENT));
	expect_open_fails(&settings, what);
	cr_assert_eq(mkfifo(path, 0600), 0);
	expect_open_fails(&settings, "not a regular file");
	unlink(path);
}

static void *hold_and_ask(void *arg)
{
	struct relay_routes *routes = arg;

	for (int i = 0; i < 10000; i++) {
		struct relay_routes *mine = relay_routes_hold(routes);

		if (strcmp(title_of(mine, span_str("www.example.org")), "below") != 0)
			return arg; /* wrong route */
		relay_routes_release(mine);
	}
	relay_routes_release(routes);
	return NULL;
}

/* Four threads and the opener hold; the last one frees (ASan and TSan look on). */
Test(route, holders)
{
	struct relay_routes *routes = NULL;
	pthread_t threads[4];
	struct err err;

	cr_assert_eq(relay_routes_open(&routes, &all, &err), 0);
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		cr_assert_eq(
			pthread_create(&threads[i], NULL, hold_and_ask, relay_routes_hold(routes)),
			0);
	relay_routes_release(routes);
	for (size_t i = 0; i < COUNT_OF(threads); i++) {
		void *wrong;

		pthread_join(threads[i], &wrong);
		cr_expect_null(wrong);
	}
	relay_routes_release(NULL);
}
