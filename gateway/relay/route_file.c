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
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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

static bool blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct span *line)
{
	while (line->n > 0 && blank(line->p[0]))
		span_take(line, 1);
}

static struct span take_word(struct span *line)
{
	size_t n = 0;

	while (n < line->n && !blank(line->p[n]))
		n++;
	return span_take(line, n);
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

	skip_blanks(&line);
	if (line.n == 0 || line.p[0] == '#')
		return 0;
	if (line.n >= 3 && memcmp(line.p, "\xef\xbb\xbf", 3) == 0)
		return parser_fail(parser, "a byte order mark: save the file without one");
	domain = take_word(&line);
	if (!domain_valid(domain))
		return parser_fail(parser,
			"\"%s\" is not a mail domain such as example.org, .example.org for all below it, "
			"or *",
			shown(domain, text));
	skip_blanks(&line);
	word = take_word(&line);
	if (word.n == 0 || word.p[0] == '#')
		return parser_fail(parser, "no route behind the domain: write DOMAIN TITLE");
	title = memchr(word.p, '\0', word.n) ? NULL : route_table_find(&parser->titles, word);
	if (!title)
		return parser_fail(
			parser, "the configuration has no route \"%s\"", shown(word, text));
	skip_blanks(&line);
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
		const uint8_t *end = memchr(rest.p, '\n', rest.n);
		struct span line = span_take(&rest, end ? (size_t)(end - rest.p) : rest.n);

		parser->line++;
		if (take_line(parser, line) != 0)
			return -1;
		span_take(&rest, 1);
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

static uint64_t count_lines(struct span text)
{
	uint64_t lines = 1;

	for (size_t i = 0; i < text.n; i++)
		lines += text.p[i] == '\n';
	return lines;
}

int relay_routes_parse(struct relay_routes **out, const struct relay_settings *settings,
	const char *path, char *text, size_t n, struct err *err)
{
	struct parser parser = {.path = path, .err = err};
	uint64_t lines = count_lines(span_of(text, n));
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

/* Reads up to max octets. Octets read, or -errno. */
static int64_t read_up_to(int fd, char *text, size_t max)
{
	size_t n = 0;

	while (n < max) {
		ssize_t got = read(fd, text + n, max - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	return (int64_t)n;
}

/* Opened without blocking, so that a FIFO in the file's place cannot stop a reload. */
static int open_file(const char *path, size_t *size, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return err_set(err, "%s:1: cannot be opened: %s", path, strerror(errno));
	if (fstat(fd, &st) != 0)
		err_set(err, "%s:1: cannot be read: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		err_set(err, "%s:1: not a regular file", path);
	else if ((uint64_t)st.st_size > ROUTES_FILE_MAX)
		err_set(err, "%s:1: larger than %u octets", path, ROUTES_FILE_MAX);
	else {
		*size = (size_t)st.st_size;
		return fd;
	}
	close(fd);
	return -1;
}

int relay_routes_open(
	struct relay_routes **out, const struct relay_settings *settings, struct err *err)
{
	const char *path = settings->routes_file;
	size_t size = 0;
	char *text;
	int64_t n;
	int fd;

	if (!path) {
		if (route_table_of(out, settings, 0) != 0)
			return err_set(err, "the routes: %s", strerror(ENOMEM));
		return 0;
	}
	fd = open_file(path, &size, err);
	if (fd < 0)
		return -1;
	text = malloc(size + 1);
	n = text ? read_up_to(fd, text, size + 1) : -ENOMEM;
	close(fd);
	if (n == (int64_t)size)
		return relay_routes_parse(out, settings, path, text, size, err);
	free(text);
	if (n < 0)
		return err_set(err, "%s:1: cannot be read: %s", path, strerror((int)-n));
	return err_set(
		err, "%s:1: changed while it was read: write a new file and rename it", path);
}
