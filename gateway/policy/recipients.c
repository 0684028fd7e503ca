/* SPDX-License-Identifier: MIT */
/*
 * recipients.c -- reads the recipients file and answers who is in it.
 *
 * Job: one buffer with the file, in which each address is rewritten in place to the form it is
 * compared in (never longer than what was written) and ended with a NUL; one set over it. A million
 * addresses cost their text and 16 octets each, and load in about half a second.
 *
 * Grammar of a line: blanks, then nothing, a comment ("#"), local@domain or @domain; after an
 * address blanks and a comment. Local parts are dot-strings or quoted strings (RFC 5321 4.1.2),
 * with UTF-8 (RFC 6531).
 *
 * Non-goals: aliases, several addresses a line, address literals; lists that change by the second
 * or do not fit memory (lmdb.c is for those).
 */
#include "policy/recipients-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/name.h"
#include "policy/policy.h"
#include "policy/set-private.h"

struct recipients {
	char *text;
	struct set set;
};

struct parser {
	const char *path;
	struct recipients *recipients;
	unsigned long long line;
	struct err *err;
};

static int parser_fail(const struct parser *parser, const char *what)
{
	return err_set(parser->err, "%s:%llu: %s", parser->path, parser->line, what);
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

/* atext (RFC 5322 3.2.3) or an octet of UTF-8. */
static bool atom_char(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c >= 0x80 || (c != 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Octets of the quoted string at the front, 0 if it is not closed or holds what may not be. An
 * empty one would take the form of "@domain", and nobody has such a mailbox. */
static size_t quoted_length(struct span line)
{
	for (size_t i = 1; i < line.n; i++) {
		if (line.p[i] == '"')
			return i > 1 ? i + 1 : 0;
		if (line.p[i] == '\\')
			i++;
		if (i < line.n && (line.p[i] < NAME_CONTROL_END || line.p[i] == NAME_DELETE))
			return 0;
	}
	return 0;
}

/* Octets of the dot-string at the front, 0 if there is none. */
static size_t dot_string_length(struct span line)
{
	size_t n = 0;

	while (n < line.n && (atom_char(line.p[n]) || line.p[n] == '.')) {
		if (line.p[n] == '.' && (n == 0 || line.p[n - 1] == '.'))
			return 0;
		n++;
	}
	return n > 0 && line.p[n - 1] == '.' ? 0 : n;
}

static size_t domain_length(struct span line)
{
	size_t n = 0;

	while (n < line.n && !blank(line.p[n]))
		n++;
	return n;
}

int recipients_local(char out[RECIPIENTS_ADDRESS_MAX], struct span local)
{
	bool quoted = local.n >= 2 && local.p[0] == '"' && local.p[local.n - 1] == '"';
	size_t n = 0;

	if (quoted)
		local = span_of(local.p + 1, local.n - 2);
	for (size_t i = 0; i < local.n; i++) {
		if (quoted && local.p[i] == '\\' && i + 1 < local.n)
			i++;
		if (n == RECIPIENTS_ADDRESS_MAX || local.p[i] < NAME_CONTROL_END ||
			local.p[i] == NAME_DELETE)
			return -1;
		out[n++] = (char)local.p[i];
	}
	name_lower(out, n);
	return (int)n;
}

int recipients_form(char out[RECIPIENTS_ADDRESS_MAX], struct span local, struct span domain)
{
	int n = recipients_local(out, local);

	if (n < 0 || (size_t)n + 1 + domain.n > RECIPIENTS_ADDRESS_MAX)
		return -1;
	if (memchr(domain.p, '\0', domain.n))
		return -1;
	out[n] = '@';
	memcpy(out + n + 1, domain.p, domain.n);
	name_lower(out + n + 1, domain.n);
	return n + 1 + (int)domain.n;
}

/* `rest` starts with an address, which is added in place. */
static int take_address(struct parser *parser, struct span rest)
{
	struct recipients *recipients = parser->recipients;
	char *start = recipients->text + (rest.p - (const uint8_t *)recipients->text);
	char form[RECIPIENTS_ADDRESS_MAX];
	struct span local = span_of(rest.p, 0), domain;
	int n;

	if (rest.p[0] != '@') {
		local = span_take(
			&rest, rest.p[0] == '"' ? quoted_length(rest) : dot_string_length(rest));
		if (local.n == 0)
			return parser_fail(
				parser, "the local part is not one: quote it if need be");
	}
	if (rest.n == 0 || rest.p[0] != '@')
		return parser_fail(parser, "no \"@\" after the local part: write local@domain");
	span_take(&rest, 1);
	domain = span_take(&rest, domain_length(rest));
	if (!name_domain_valid(domain))
		return parser_fail(parser, "the domain is not one: write local@domain or @domain");
	skip_blanks(&rest);
	if (rest.n > 0 && rest.p[0] != '#')
		return parser_fail(parser, "something follows the address: write one a line");
	n = recipients_form(form, local, domain);
	if (n < 0)
		return parser_fail(parser, "the address is longer than 320 octets");
	memcpy(start, form, (size_t)n);
	start[n] = '\0';
	set_add(&recipients->set, (uint64_t)(start - recipients->text), (size_t)n);
	return 0;
}

static int take_line(struct parser *parser, struct span line)
{
	skip_blanks(&line);
	if (line.n == 0 || line.p[0] == '#')
		return 0;
	if (line.n >= 3 && memcmp(line.p, "\xef\xbb\xbf", 3) == 0)
		return parser_fail(parser, "a byte order mark: save the file without one");
	return take_address(parser, line);
}

/* A line's text: UTF-8, no control characters but blanks. */
static bool line_valid(struct span line)
{
	while (line.n > 0) {
		size_t n = 0;

		while (n < line.n && !blank(line.p[n]))
			n++;
		if (!name_text_valid(span_take(&line, n)))
			return false;
		skip_blanks(&line);
	}
	return true;
}

static int take_lines(struct parser *parser, size_t n)
{
	struct span rest = span_of(parser->recipients->text, n);

	while (rest.n > 0) {
		const uint8_t *end = memchr(rest.p, '\n', rest.n);
		struct span line = span_take(&rest, end ? (size_t)(end - rest.p) : rest.n);

		parser->line++;
		if (!line_valid(line))
			return parser_fail(parser, "not UTF-8 text without control characters");
		if (take_line(parser, line) != 0)
			return -1;
		span_take(&rest, 1);
	}
	return 0;
}

static uint64_t count_lines(struct span text)
{
	uint64_t lines = 1;

	for (size_t i = 0; i < text.n; i++)
		lines += text.p[i] == '\n';
	return lines;
}

int recipients_parse(
	struct recipients **out, const char *path, char *text, size_t n, struct err *err)
{
	struct recipients *recipients = calloc(1, sizeof(*recipients));
	struct parser parser = {.path = path, .recipients = recipients, .err = err};
	int rc;

	ASSERT(n <= POLICY_RECIPIENTS_FILE_MAX);
	if (!recipients) {
		free(text);
		return err_set(err, "%s:1: %s", path, strerror(ENOMEM));
	}
	recipients->text = text;
	rc = set_open(&recipients->set, text, count_lines(span_of(text, n)));
	if (rc != 0)
		err_set(err, "%s:1: %s", path, strerror(-rc));
	else
		rc = take_lines(&parser, n);
	if (rc != 0) {
		recipients_close(recipients);
		return -1;
	}
	*out = recipients;
	return 0;
}

void recipients_close(struct recipients *recipients)
{
	if (!recipients)
		return;
	set_close(&recipients->set);
	free(recipients->text);
	free(recipients);
}

bool recipients_has(const struct recipients *recipients, struct span local, struct span domain)
{
	char form[RECIPIENTS_ADDRESS_MAX];
	int n = recipients_form(form, local, domain);

	if (n < 0)
		return false;
	return set_has(&recipients->set, span_of(form, (size_t)n)) ||
	       set_has(&recipients->set, span_of(form + n - domain.n - 1, domain.n + 1));
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
	else if ((uint64_t)st.st_size > POLICY_RECIPIENTS_FILE_MAX)
		err_set(err, "%s:1: larger than %llu octets", path, POLICY_RECIPIENTS_FILE_MAX);
	else {
		*size = (size_t)st.st_size;
		return fd;
	}
	close(fd);
	return -1;
}

int recipients_open(struct recipients **out, const char *path, struct err *err)
{
	size_t size = 0;
	int fd = open_file(path, &size, err);
	char *text;
	int64_t n;

	if (fd < 0)
		return -1;
	text = malloc(size + 1);
	n = text ? read_up_to(fd, text, size + 1) : -ENOMEM;
	close(fd);
	if (n == (int64_t)size)
		return recipients_parse(out, path, text, size, err);
	free(text);
	if (n < 0)
		return err_set(err, "%s:1: cannot be read: %s", path, strerror((int)-n));
	return err_set(
		err, "%s:1: changed while it was read: write a new file and rename it", path);
}
