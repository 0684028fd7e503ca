/* SPDX-License-Identifier: MIT */
/* Unit tests of policy/recipients.c: lines, look-ups, each message with its line, files. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/policy.h"
#include "policy/recipients-private.h"

static int parse_n(struct recipients **out, const char *text, size_t n, struct err *err)
{
	char *copy = malloc(n + 1);

	memcpy(copy, text, n);
	return recipients_parse(out, "r", copy, n, err);
}

static struct recipients *parse_good(const char *text)
{
	struct recipients *recipients = NULL;
	struct err err = {""};

	cr_assert_eq(parse_n(&recipients, text, strlen(text), &err), 0, "%s", err.text);
	return recipients;
}

static bool has(const struct recipients *recipients, const char *local, const char *domain)
{
	return recipients_has(recipients, span_str(local), span_str(domain));
}

struct look_up {
	const char *local;
	const char *domain;
	bool found;
};

Test(recipients, look_ups)
{
	static const char text[] = "# who gets mail\n"
				   "a@example.org\n"
				   "\t Some.Body@Example.ORG \t# capital\r\n"
				   "\n"
				   "   # indented\n"
				   "a#b@example.org # hash\n"
				   "\"quoted local\"@example.org\n"
				   "\"a@b # \\\"c\\\\\"@example.org\n"
				   "\"plain\"@example.org\n"
				   "@Any.example\n"
				   "\xc3\xa4\xc3\x84@ex\xc3\xa4mple.org\n"
				   "last@example.org";
	static const struct look_up cases[] = {
		{"a", "example.org", true},
		{"A", "EXAMPLE.org", true},
		{"\"a\"", "example.org", true},
		{"\"\\a\"", "example.org", true},
		{"b", "example.org", false},
		{"aa", "example.org", false},
		{"", "example.org", false},
		{"a", "example.or", false},
		{"a", "example.org.", false},
		{"a", "b.example.org", false},
		{"a", "", false},
		{"some.body", "example.org", true},
		{"a#b", "example.org", true},
		{"\"quoted local\"", "example.org", true},
		{"\"Quoted\\ Local\"", "example.org", true},
		{"\"quoted  local\"", "example.org", false},
		{"\"a@b # \\\"c\\\\\"", "example.org", true},
		{"plain", "example.org", true},
		{"whoever", "any.example", true},
		{"\"\"", "any.example", true},
		{"\"x@y\"", "ANY.example", true},
		{"x", "sub.any.example", false},
		{"\"x@any.example", "other.example", false},
		{"\xc3\xa4\xc3\x84", "ex\xc3\xa4mple.org", true},
		{"\xc3\xa4\xc3\xa4", "ex\xc3\xa4mple.org", false},
		{"last", "example.org", true},
		{"#", "example.org", false},
	};
	struct recipients *recipients = parse_good(text);

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		cr_expect_eq(has(recipients, cases[i].local, cases[i].domain), cases[i].found,
			"%s@%s", cases[i].local, cases[i].domain);
	cr_expect_not(recipients_has(recipients, span_of("a\0", 2), span_str("example.org")));
	cr_expect_not(recipients_has(recipients, span_of("a", 1), span_of("example.org\0", 12)));
	recipients_close(recipients);
}

Test(recipients, empty_files_list_nobody)
{
	static const char *const texts[] = {"", "\n", "#", "# a@example.org", "\n\n\r\n \t"};

	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		struct recipients *recipients = parse_good(texts[i]);

		cr_expect_not(has(recipients, "a", "example.org"));
		recipients_close(recipients);
	}
}

#define NO_LOCAL  "the local part is not one: quote it if need be"
#define NO_AT     "no \"@\" after the local part: write local@domain"
#define NO_DOMAIN "the domain is not one: write local@domain or @domain"
#define MORE      "something follows the address: write one a line"
#define NO_TEXT   "not UTF-8 text without control characters"

struct refuse_case {
	const char *text;
	const char *message;
};

Test(recipients, refuses)
{
	static const struct refuse_case cases[] = {
		{"a", "r:1: " NO_AT},
		{"a@b.example\n\n# c\nd\n", "r:4: " NO_AT},
		{"a b@example.org", "r:1: " NO_AT},
		{"a, b@example.org", "r:1: " NO_AT},
		{"a@", "r:1: " NO_DOMAIN},
		{"@", "r:1: " NO_DOMAIN},
		{"@ a", "r:1: " NO_DOMAIN},
		{"a@b@c.example", "r:1: " NO_DOMAIN},
		{"a@[192.0.2.1]", "r:1: " NO_DOMAIN},
		{"a@192.0.2.1", "r:1: " NO_DOMAIN},
		{"a@example.org.", "r:1: " NO_DOMAIN},
		{"a@example.org#b", "r:1: " NO_DOMAIN},
		{"a@example.org,b@example.org", "r:1: " NO_DOMAIN},
		{"a@example.org b@example.org", "r:1: " MORE},
		{"a@example.org\rb@example.org", "r:1: " MORE},
		{"<a@example.org>", "r:1: " NO_LOCAL},
		{".a@example.org", "r:1: " NO_LOCAL},
		{"a.@example.org", "r:1: " NO_LOCAL},
		{"a..b@example.org", "r:1: " NO_LOCAL},
		{"\"\"@example.org", "r:1: " NO_LOCAL},
		{"\"a@example.org", "r:1: " NO_LOCAL},
		{"\"a\\\"@example.org", "r:1: " NO_LOCAL},
		{"\"a\\", "r:1: " NO_LOCAL},
		{"\"a\tb\"@example.org", "r:1: " NO_LOCAL},
		{"\"a\"b@example.org", "r:1: " NO_AT},
		{"a@example.org\n\nb\x01@example.org\n", "r:3: " NO_TEXT},
		{"# \xe4\n", "r:1: " NO_TEXT},
		{"\xe4@example.org", "r:1: " NO_TEXT},
		{"a\x7f@example.org", "r:1: " NO_TEXT},
		{"\xef\xbb\xbf"
		 "a@example.org",
			"r:1: a byte order mark: save the file without one"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct recipients *recipients = NULL;
		struct err err = {""};

		cr_expect_eq(parse_n(&recipients, cases[i].text, strlen(cases[i].text), &err), -1,
			"%s", cases[i].text);
		cr_expect_str_eq(err.text, cases[i].message);
	}
}

Test(recipients, nul_is_refused)
{
	struct recipients *recipients = NULL;
	struct err err = {""};

	cr_expect_eq(parse_n(&recipients, "a@example.org\nb\0@example.org\n", 29, &err), -1);
	cr_expect_str_eq(err.text, "r:2: " NO_TEXT);
}

Test(recipients, length_of_an_address)
{
	struct recipients *recipients = NULL;
	struct err err = {""};
	char text[2 * RECIPIENTS_ADDRESS_MAX], local[RECIPIENTS_ADDRESS_MAX + 1];
	size_t n = RECIPIENTS_ADDRESS_MAX - strlen("@example.org");

	memset(local, 'a', sizeof(local));
	local[n] = '\0';
	snprintf(text, sizeof(text), "%s@example.org", local);
	recipients = parse_good(text);
	cr_expect(has(recipients, local, "example.org"));
	local[n] = 'a';
	local[n + 1] = '\0';
	cr_expect_not(has(recipients, local, "example.org"));
	recipients_close(recipients);
	snprintf(text, sizeof(text), "%s@example.or", local);
	recipients = parse_good(text);
	recipients_close(recipients);
	memmove(text + 1, text, RECIPIENTS_ADDRESS_MAX);
	text[0] = 'a';
	cr_expect_eq(parse_n(&recipients, text, RECIPIENTS_ADDRESS_MAX + 1, &err), -1);
	cr_expect_str_eq(err.text, "r:1: the address is longer than 320 octets");
}

/* Every octet a peer may send, as a local part: no crash, and only the listed one is found. */
Test(recipients, any_octet_may_be_asked)
{
	struct recipients *recipients = parse_good("a@example.org\n");

	for (int c = 0; c < 256; c++) {
		uint8_t local[1] = {(uint8_t)c};

		cr_expect_eq(recipients_has(recipients, span_of(local, 1), span_str("example.org")),
			c == 'a' || c == 'A', "octet %d", c);
	}
	recipients_close(recipients);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	cr_assert_not_null(file);
	fputs(text, file);
	cr_assert_eq(fclose(file), 0);
}

static void expect_open_fails(const char *path, const char *what)
{
	struct recipients *recipients = NULL;
	struct err err = {""};
	char message[256];

	cr_expect_eq(recipients_open(&recipients, path, &err), -1);
	snprintf(message, sizeof(message), "%s:%s", path, what);
	cr_expect_str_eq(err.text, message);
}

Test(recipients, files)
{
	char folder[] = "/tmp/postern-recipients-XXXXXX", path[64], what[128];
	struct recipients *recipients = NULL;
	struct err err = {""};

	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/recipients", folder);
	snprintf(what, sizeof(what), "1: cannot be opened: %s", strerror(ENOENT));
	expect_open_fails(path, what);
	expect_open_fails(folder, "1: not a regular file");

	cr_assert_eq(mkfifo(path, 0600), 0);
	expect_open_fails(path, "1: not a regular file");
	unlink(path);

	write_file(path, "a@example.org\nb\n");
	expect_open_fails(path, "2: " NO_AT);

	write_file(path, "a@example.org\n");
	cr_assert_eq(recipients_open(&recipients, path, &err), 0, "%s", err.text);
	cr_expect(has(recipients, "a", "example.org"));
	recipients_close(recipients);

	cr_assert_eq(truncate(path, (off_t)POLICY_RECIPIENTS_FILE_MAX + 1), 0);
	expect_open_fails(path, "1: larger than 1073741824 octets");
	unlink(path);
	rmdir(folder);
}
