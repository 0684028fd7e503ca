/* SPDX-License-Identifier: MIT */
/*
 * route_file.c -- reads the routes file: lines "DOMAIN TITLE", which add domains to the routes of
 * the configuration.
 *
 * Grammar of a line: blanks, then nothing, a comment ("#"), or a domain, blanks, a title, blanks
 * and perhaps a comment. A domain is "example.org", ".example.org" or "*", ASCII letters folded.
 *
 * One buffer holds the file; domains are folded and ended with a NUL in place, and the table's keys
 * point there. A domain that stands twice is an error: the operator meant one of the two.
 *
 * Non-goals: routes themselves (they have settings and belong to postern.conf).
 */
#include "relay/route-private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/textfile.h"
#include "config/name.h"

#define SHOWN_MAX 60 /* octets of a wrong word that a message repeats */

struct parser {
	const char *path;
	struct relay_routes *routes;
	struct route_table titles;
	uint32_t line;
	uint32_t domains;
	struct err *err;
};

static int PRINTF_LIKE(2, 3) parser_fail(const struct parser *parser, const char *fmt, ...)
{
	struct err what;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what.text, sizeof(what.text), fmt, ap);
	va_end(ap);
	return err_set(parser->err, "%s:%u: %s", parser->path, parser->line, what.text);
}

/* A word for a message: cut, odd octets as '?'. */
static const char *shown(struct span word, char out[SHOWN_MAX + 4])
{
	size_t n = min_size(word.n, SHOWN_MAX);

	for (size_t i = 0; i < n; i++)
		out[i] = (char)(word.p[i] < ' ' || word.p[i] > '~' ? '?' : word.p[i]);
	memcpy(out + n, word.n > n ? "..." : "", word.n > n ? 4 : 1);
	return out;
}

static bool domain_valid(struct span word)
{
	if (span_equal(word, span_str("*")))
		return true;
	if (word.n > 0 && word.p[0] == '.')
		span_take(&word, 1);
	return name_domain_valid(word);
}

static int fail_twice(
	const struct parser *parser, struct span domain, const struct route_slot *slot)
{
	char text[SHOWN_MAX + 4];

	if (slot->line > 0)
		return parser_fail(parser,
			"domain \"%s\" stands in line %u too: leave one of them out",
			shown(domain, text), slot->line);
	return parser_fail(parser,
		"domain \"%s\" stands in the configuration's route \"%s\" too: leave one of them out",
		shown(domain, text), slot->route->title);
}

static int take_line(struct parser *parser, struct span line)
{
	struct relay_routes *routes = parser->routes;
	const struct route_slot *title, *before;
	char text[SHOWN_MAX + 4], *key;
	struct span domain, word;

	textfile_skip_blanks(&line);
	if (line.n == 0 || line.p[0] == '#')
		return 0;
	if (line.n >= 3 && memcmp(line.p, "\xef\xbb\xbf", 3) == 0)
		return parser_fail(parser, "a byte order mark: save the file without one");
	domain = textfile_take_word(&line);
	if (!domain_valid(domain))
		return parser_fail(parser,
			"\"%s\" is not a mail domain such as example.org, .example.org for all below it, "
			"or *",
			shown(domain, text));
	textfile_skip_blanks(&line);
	word = textfile_take_word(&line);
	if (word.n == 0 || word.p[0] == '#')
		return parser_fail(parser, "no route behind the domain: write DOMAIN TITLE");
	title = memchr(word.p, '\0', word.n) ? NULL : route_table_find(&parser->titles, word);
	if (!title)
		return parser_fail(
			parser, "the configuration has no route \"%s\"", shown(word, text));
	textfile_skip_blanks(&line);
	if (line.n > 0 && line.p[0] != '#')
		return parser_fail(parser, "something follows the title: write one domain a line");
	if (parser->domains++ == ROUTES_DOMAINS_MAX)
		return parser_fail(parser, "more than %d domains", ROUTES_DOMAINS_MAX);
	key = routes->text + (domain.p - (const uint8_t *)routes->text);
	name_lower(key, domain.n);
	key[domain.n] = '\0'; /* over the blank behind it */
	routes->has_below |= *key == '.';
	before = route_table_add(&routes->domains, key, title->route, parser->line);
	return before ? fail_twice(parser, domain, before) : 0;
}

static int take_lines(struct parser *parser, size_t n)
{
	struct span rest = span_of(parser->routes->text, n);

	while (rest.n > 0) {
		parser->line++;
		if (take_line(parser, textfile_take_line(&rest)) != 0)
			return -1;
	}
	return 0;
}

static int open_titles(struct route_table *titles, const struct relay_settings *settings)
{
	int rc = route_table_open(titles, settings->routes_n);

	for (size_t i = 0; rc == 0 && i < settings->routes_n; i++)
		(void)!route_table_add(titles, settings->routes[i].title, &settings->routes[i], 0);
	return rc;
}

int relay_routes_parse(struct relay_routes **out, const struct relay_settings *settings,
	const char *path, char *text, size_t n, struct err *err)
{
	struct parser parser = {.path = path, .err = err};
	uint64_t lines = textfile_lines(span_of(text, n));
	int rc;

	ASSERT(n <= ROUTES_FILE_MAX);
	/* one more than may be: it finds a slot before it is refused */
	rc = route_table_of(&parser.routes, settings,
		lines > ROUTES_DOMAINS_MAX ? ROUTES_DOMAINS_MAX + 1 : lines);
	if (rc != 0) {
		free(text);
		return err_set(err, "%s:1: %s", path, strerror(-rc));
	}
	parser.routes->text = text;
	rc = open_titles(&parser.titles, settings);
	if (rc != 0)
		err_set(err, "%s:1: %s", path, strerror(-rc));
	else
		rc = take_lines(&parser, n);
	route_table_close(&parser.titles);
	if (rc != 0) {
		relay_routes_release(parser.routes);
		return -1;
	}
	*out = parser.routes;
	return 0;
}

int relay_routes_open(
	struct relay_routes **out, const struct relay_settings *settings, struct err *err)
{
	const char *path = settings->routes_file;
	char *text;
	size_t n;

	if (!path) {
		if (route_table_of(out, settings, 0) != 0)
			return err_set(err, "the routes: %s", strerror(ENOMEM));
		return 0;
	}
	if (textfile_read(path, ROUTES_FILE_MAX, &text, &n, err) != 0)
		return -1;
	return relay_routes_parse(out, settings, path, text, n, err);
}
