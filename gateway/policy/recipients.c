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
#include <stdlib.h>

#include "base/textfile.h"
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
	domain = textfile_take_word(&rest);
	if (!name_domain_valid(domain))
		return parser_fail(parser, "the domain is not one: write local@domain or @domain");
	textfile_skip_blanks(&rest);
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
	textfile_skip_blanks(&line);
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
		if (!name_text_valid(textfile_take_word(&line)))
			return false;
		textfile_skip_blanks(&line);
	}
	return true;
}

static int take_lines(struct parser *parser, size_t n)
{
	struct span rest = span_of(parser->recipients->text, n);

	while (rest.n > 0) {
		struct span line = textfile_take_line(&rest);

		parser->line++;
		if (!line_valid(line))
			return parser_fail(parser, "not UTF-8 text without control characters");
		if (take_line(parser, line) != 0)
			return -1;
	}
	return 0;
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
	rc = set_open(&recipients->set, text, textfile_lines(span_of(text, n)));
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

int recipients_open(struct recipients **out, const char *path, struct err *err)
{
	char *text;
	size_t n;

	if (textfile_read(path, POLICY_RECIPIENTS_FILE_MAX, &text, &n, err) != 0)
		return -1;
	return recipients_parse(out, path, text, n, err);
}
