/* SPDX-License-Identifier: MIT */
/*
 * scan.c -- one pass over the configuration's text before libconfuse sees it.
 *
 * Job: make libconfuse 3.3 safe and exact. Its lexer counts a comment as three lines, passes over
 * characters it does not know, replaces ${NAME} by the environment's and cuts strings at an escaped
 * NUL; its parser takes a section that the file's end leaves open, and names with '|' or '=' in
 * quotes reach into other sections. So comments are blanked here and the rest is refused, each with
 * its line. A string ends on its line, so that a forgotten quote is found where it is missing.
 *
 * Non-goals: grammar, keys and values. Whatever leaves this pass consists of words, strings closed
 * on their line, and { } = += , only.
 *
 * Rejected: a parser of our own (libconfuse does lists, titles and nesting well); doing without
 * this pass (no message would name the right line).
 */
#include "config/config-private.h"

#include "config/name.h"

#define SCAN_DEPTH_MAX 8 /* a good file needs two: a list in a section */

struct scan {
	const char *path;
	char *p;
	size_t n;
	size_t at;
	int line;
	bool after_string; /* the token before was a quoted string */
	int depth;
	int opened[SCAN_DEPTH_MAX]; /* the lines of braces not closed yet */
	struct err *err;
};

static int scan_fail(struct scan *scan, const char *what)
{
	return err_set(scan->err, "%s:%d: %s", scan->path, scan->line, what);
}

static bool at_text(const struct scan *scan, const char *text)
{
	size_t n = strlen(text);

	return scan->n - scan->at >= n && memcmp(scan->p + scan->at, text, n) == 0;
}

static void blank_line(struct scan *scan)
{
	while (scan->at < scan->n && scan->p[scan->at] != '\n')
		scan->p[scan->at++] = ' ';
}

static int blank_block(struct scan *scan)
{
	int line = scan->line;

	scan->p[scan->at++] = ' ';
	scan->p[scan->at++] = ' ';
	while (scan->at < scan->n && !at_text(scan, "*/")) {
		if (scan->p[scan->at] == '\n')
			scan->line++;
		else
			scan->p[scan->at] = ' ';
		scan->at++;
	}
	if (scan->at == scan->n) {
		scan->line = line;
		return scan_fail(scan, "this comment is never closed: write */ at its end");
	}
	scan->p[scan->at++] = ' ';
	scan->p[scan->at++] = ' ';
	return 0;
}

static bool hex_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* An escape that stands for a number: \1 to \377 or \x1 to \xff. `at` is behind the backslash. */
static int take_numeric_escape(struct scan *scan)
{
	bool hex = scan->p[scan->at] == 'x';
	size_t digits = 0, digits_max = hex ? 2 : 3;
	unsigned number = 0;

	scan->at += hex;
	while (scan->at < scan->n && hex_digit(scan->p[scan->at]) && digits < digits_max) {
		char c = scan->p[scan->at];

		if (!hex && (c < '0' || c > '9'))
			break;
		number = number * (hex ? 16 : 8) +
			 (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
		if (!hex && c > '7')
			return scan_fail(scan, "an octal escape has digits from 0 to 7 only");
		scan->at++;
		digits++;
	}
	if (!hex && scan->at < scan->n && scan->p[scan->at] >= '0' && scan->p[scan->at] <= '9')
		return scan_fail(scan, "an octal escape has at most three digits");
	if (digits > 0 && (number == 0 || number > 0xff))
		return scan_fail(scan, "an escape stands for an octet from 1 to 255");
	return 0;
}

static int take_escape(struct scan *scan)
{
	scan->at++;
	if (scan->at == scan->n || scan->p[scan->at] == '\n')
		return scan_fail(scan, "this string is not closed on its line");
	if (scan->p[scan->at] == 'x' || (scan->p[scan->at] >= '0' && scan->p[scan->at] <= '9'))
		return take_numeric_escape(scan);
	scan->at++;
	return 0;
}

/* A string with its quotes. Escapes are libconfuse's: all in "", \' and \\ in ''. */
static int take_string(struct scan *scan)
{
	char quote = scan->p[scan->at++];
	size_t start = scan->at;

	while (scan->at < scan->n && scan->p[scan->at] != quote && scan->p[scan->at] != '\n') {
		if (quote == '"' && at_text(scan, "${"))
			return scan_fail(scan,
				"${...} is not replaced here: write \\${ for these characters");
		if (scan->p[scan->at] != '\\') {
			scan->at++;
		} else if (quote == '"') {
			if (take_escape(scan) != 0)
				return -1;
		} else {
			scan->at += scan->n - scan->at > 1 && scan->p[scan->at + 1] != '\n' ? 2 : 1;
		}
	}
	if (scan->at == scan->n || scan->p[scan->at] != quote)
		return scan_fail(scan, "this string is not closed on its line");
	if (!name_text_valid(span_of(scan->p + start, scan->at - start)))
		return scan_fail(
			scan, "a string holds UTF-8 text only, without tabs or control characters");
	scan->at++;
	scan->after_string = true;
	return 0;
}

static bool word_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c != '\0' && strchr("._:/@~%-", c) != NULL);
}

static int take_equals(struct scan *scan, size_t n)
{
	if (scan->after_string)
		return scan_fail(scan, "a key is written without quotes");
	scan->at += n;
	return 0;
}

static int refuse_char(struct scan *scan)
{
	uint8_t c = (uint8_t)scan->p[scan->at];

	if (c <= ' ' || c >= NAME_DELETE)
		return err_set(scan->err,
			"%s:%d: octet 0x%02x may not stand here: put text in quotes", scan->path,
			scan->line, c);
	return err_set(scan->err, "%s:%d: \"%c\" may not stand here: put text in quotes",
		scan->path, scan->line, c);
}

static int take_brace(struct scan *scan)
{
	bool opens = scan->p[scan->at] == '{';

	if (opens && scan->depth == SCAN_DEPTH_MAX)
		return scan_fail(scan, "too many braces in each other");
	if (opens)
		scan->opened[scan->depth++] = scan->line;
	else if (scan->depth-- == 0)
		return scan_fail(scan, "this brace closes nothing");
	scan->at++;
	scan->after_string = false;
	return 0;
}

static int take_mark(struct scan *scan)
{
	switch (scan->p[scan->at]) {
	case '=':
		return take_equals(scan, 1);
	case '+':
		return at_text(scan, "+=") ? take_equals(scan, 2) : refuse_char(scan);
	case '{':
	case '}':
		return take_brace(scan);
	case ',':
		scan->at++;
		scan->after_string = false;
		return 0;
	default:
		return refuse_char(scan);
	}
}

static int take_token(struct scan *scan)
{
	char c = scan->p[scan->at];

	if (c == '\n' || c == ' ' || c == '\t') {
		scan->line += c == '\n';
		scan->at++;
		return 0;
	}
	if (at_text(scan, "\r\n")) {
		scan->p[scan->at++] = ' ';
		return 0;
	}
	if (c == '#' || at_text(scan, "//")) {
		blank_line(scan);
		return 0;
	}
	if (at_text(scan, "/*"))
		return blank_block(scan);
	if (c == '"' || c == '\'')
		return take_string(scan);
	if (!word_char(c))
		return take_mark(scan);
	while (scan->at < scan->n && word_char(scan->p[scan->at]))
		scan->at++;
	scan->after_string = false;
	return 0;
}

int config_scan(const char *path, char *text, size_t n, int *lines, struct err *err)
{
	struct scan scan = {.path = path, .p = text, .n = n, .line = 1, .err = err};

	while (scan.at < scan.n) {
		if (take_token(&scan) != 0)
			return -1;
	}
	if (scan.depth > 0) {
		scan.line = scan.opened[scan.depth - 1];
		return scan_fail(&scan, "this brace is never closed: write } at its end");
	}
	*lines = scan.n > 0 && scan.p[scan.n - 1] == '\n' ? scan.line - 1 : scan.line;
	return 0;
}
