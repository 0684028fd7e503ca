/* SPDX-License-Identifier: MIT */
/* policy.c -- tests: policies' bodies, good, odd and hostile. */
#include "sts/sts.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define MX_ROWS_MAX 3
#define V           "version: STSv1\n"
#define K32         "a2345678901234567890123456789012"

/* S("a\0b"): the octets of a literal, NULs too. */
#define S(literal)                                                                                 \
	{                                                                                          \
		.p = (const uint8_t *)(literal), .n = sizeof(literal) - 1                          \
	}

Test(policy, valid)
{
	static const struct {
		const char *section;
		struct span body;
		enum sts_mode mode;
		uint32_t max_age_s;
		const char *mx[MX_ROWS_MAX];
		uint32_t repeated_n;
		uint32_t unknown_n;
	} rows[] = {
		{"8461 3.2",
			S("version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\n"
			  "mx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n"),
			STS_MODE_ENFORCE, 604800,
			{"mail.example.com", "*.example.net", "backupmx.example.com"}, 0, 0},
		/* line ends: LF, CRLF, both, none at the end */
		{"8461 3.2", S(V "mode: testing\nmx: a.b\nmax_age: 1\n"), STS_MODE_TESTING, 1,
			{"a.b"}, 0, 0},
		{"8461 3.2", S(V "mode: testing\r\nmx: a.b\nmax_age: 1\r\n"), STS_MODE_TESTING, 1,
			{"a.b"}, 0, 0},
		{"8461 3.2", S(V "mode: testing\nmx: a.b\nmax_age: 1"), STS_MODE_TESTING, 1,
			{"a.b"}, 0, 0},
		/* blanks behind the colon and the value */
		{"8461 3.2", S("version:STSv1\nmode:\t enforce \t\nmx:a.b\t\r\nmax_age:  1 \n"),
			STS_MODE_ENFORCE, 1, {"a.b"}, 0, 0},
		/* any order */
		{"8461 3.2", S("max_age: 1\nmx: a.b\nmode: enforce\nmx: c.d\nversion: STSv1"),
			STS_MODE_ENFORCE, 1, {"a.b", "c.d"}, 0, 0},
		/* mode none needs no mx, and may have some */
		{"8461 3.2", S(V "mode: none\nmax_age: 86400\n"), STS_MODE_NONE, 86400, {NULL}, 0,
			0},
		{"8461 8.3", S(V "mode: none\nmx: a.b\nmax_age: 86400\n"), STS_MODE_NONE, 86400,
			{"a.b"}, 0, 0},
		/* max_age */
		{"8461 3.2", S(V "mode: none\nmax_age: 0\n"), STS_MODE_NONE, 0, {NULL}, 0, 0},
		{"8461 3.2", S(V "mode: none\nmax_age: 31557600\n"), STS_MODE_NONE, 31557600,
			{NULL}, 0, 0},
		{"8461 3.2", S(V "mode: none\nmax_age: 0031557600\n"), STS_MODE_NONE, 31557600,
			{NULL}, 0, 0},
		{"8461 3.2", S(V "mode: none\nmax_age: 0000000000\n"), STS_MODE_NONE, 0, {NULL}, 0,
			0},
		/* the first of a key counts, whatever the later say */
		{"8461 3.2", S(V "mode: enforce\nmode: none\nmx: a.b\nmax_age: 1\nmax_age: 2\n"),
			STS_MODE_ENFORCE, 1, {"a.b"}, 2, 0},
		{"8461 3.2", S(V "version: STSv2\nmode: none\nmode: x\nmax_age: 1\nmax_age: y\n"),
			STS_MODE_NONE, 1, {NULL}, 3, 0},
		{"8461 3.2", S(V "mode: enforce\nmx: a.b\nmx: a.b\nmax_age: 1\n"), STS_MODE_ENFORCE,
			1, {"a.b", "a.b"}, 0, 0},
		/* unknown keys */
		{"8461 3.2",
			S("x: 1\nx: 2\n" V "mode: none\nmax_age: 1\n" K32 ": \xc3\xa4 b=c;d:e"),
			STS_MODE_NONE, 1, {NULL}, 0, 3},
		{"8461 3.2", S(V "Mode: enforce\nmode: none\nMX: *\nmax-age: x\nmax_age: 1\n"),
			STS_MODE_NONE, 1, {NULL}, 0, 3},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sts_policy policy;
		uint32_t line, wanted = 0;
		enum sts_policy_error error = sts_policy_read(rows[i].body, &policy, &line);

		cr_expect_eq(error, STS_POLICY_OK, "row %zu, RFC %s: line %u, %s", i,
			rows[i].section, line, sts_policy_error_text(error));
		cr_expect_eq(line, 0, "row %zu", i);
		cr_expect_eq(policy.mode, rows[i].mode, "row %zu", i);
		cr_expect_eq(policy.max_age_s, rows[i].max_age_s, "row %zu", i);
		cr_expect_eq(policy.repeated_n, rows[i].repeated_n, "row %zu", i);
		cr_expect_eq(policy.unknown_n, rows[i].unknown_n, "row %zu", i);
		while (wanted < MX_ROWS_MAX && rows[i].mx[wanted] != NULL)
			wanted++;
		cr_expect_eq(policy.mx_n, wanted, "row %zu", i);
		for (uint32_t k = 0; k < wanted && k < policy.mx_n; k++)
			cr_expect(span_equal(policy.mx[k], span_str(rows[i].mx[k])), "row %zu", i);
	}
}

Test(policy, refused)
{
	static const struct {
		const char *section;
		struct span body;
		enum sts_policy_error error;
		uint32_t line;
	} rows[] = {
		{"8461 3.2", S(""), STS_POLICY_EMPTY, 0},
		/* lines */
		{"8461 3.2", S("\n"), STS_POLICY_LINE, 1},
		{"8461 3.2", S("\r\n"), STS_POLICY_LINE, 1},
		{"8461 3.2", S("\n" V "mode: none\nmax_age: 1\n"), STS_POLICY_LINE, 1},
		{"8461 3.2", S(V "\nmode: none\nmax_age: 1\n"), STS_POLICY_LINE, 2},
		{"8461 3.2", S(V "mode: none\nmax_age: 1\n\n"), STS_POLICY_LINE, 4},
		{"8461 3.2", S(V "mode: none\nmax_age: 1\n \n"), STS_POLICY_LINE, 4},
		{"8461 3.2", S(V "mode: none\nmax_age: 1\n\0"), STS_POLICY_LINE, 4},
		{"8461 3.2", S(V "mode none\nmax_age: 1\n"), STS_POLICY_LINE, 2},
		{"8461 3.2", S(V "# a comment\nmode: none\nmax_age: 1\n"), STS_POLICY_LINE, 2},
		{"8461 3.2", S("<html><body>Not found</body></html>"), STS_POLICY_LINE, 1},
		{"8461 3.2", S("{\"version\": \"STSv1\"}"), STS_POLICY_KEY, 1},
		{"8461 3.2", S("v=STSv1; id=a"), STS_POLICY_LINE, 1},
		/* a lone CR ends nothing */
		{"8461 3.2", S("version: STSv1\rmode: none\rmax_age: 1\r"), STS_POLICY_VALUE, 1},
		{"8461 3.2", S(V "mode: none\r\r\nmax_age: 1\n"), STS_POLICY_VALUE, 2},
		{"8461 3.2", S(V "mode: none\nmax_age: 1\r"), STS_POLICY_VALUE, 3},
		{"8461 3.2", S("version: STSv1\n\rmode: none\n\rmax_age: 1"), STS_POLICY_KEY, 2},
		{"8461 3.2", S("version: STSv1\x0bmode: none\n"), STS_POLICY_VALUE, 1},
		{"8461 3.2", S("version: STSv1\xe2\x80\xa8mode: none\n"), STS_POLICY_VERSION, 1},
		/* keys */
		{"8461 3.2", S("\xef\xbb\xbf" V "mode: none\nmax_age: 1\n"), STS_POLICY_KEY, 1},
		{"8461 3.2", S(" " V "mode: none\nmax_age: 1\n"), STS_POLICY_KEY, 1},
		{"8461 3.2", S(V "mode : none\nmax_age: 1\n"), STS_POLICY_KEY, 2},
		{"8461 3.2", S(V "\tmode: none\nmax_age: 1\n"), STS_POLICY_KEY, 2},
		{"8461 3.2", S(V "mode: none\nmax_age: 1\n: x\n"), STS_POLICY_KEY, 4},
		{"8461 3.2", S(V "mode: none\nmax_age: 1\n_x: y\n"), STS_POLICY_KEY, 4},
		{"8461 3.2", S(V "mode: none\nmax_age: 1\n" K32 "3: y\n"), STS_POLICY_KEY, 4},
		{"8461 3.2", S(V "mo\0de: none\nmax_age: 1\n"), STS_POLICY_KEY, 2},
		{"8461 3.2",
			S(V "m\xc3\xb6"
			    "de: none\nmax_age: 1\n"),
			STS_POLICY_KEY, 2},
		/* values */
		{"8461 3.2", S(V "mode:\nmax_age: 1\n"), STS_POLICY_VALUE, 2},
		{"8461 3.2", S(V "mode: none\nmax_age: 1\nx: \t \n"), STS_POLICY_VALUE, 4},
		{"8461 3.2", S(V "mode: none\nmax_age: 1\nx: a\tb\n"), STS_POLICY_VALUE, 4},
		{"8461 3.2", S(V "mode: none\nmax_age: 1\nx: a\0b\n"), STS_POLICY_VALUE, 4},
		{"8461 3.2", S(V "mode: none\0\nmax_age: 1\n"), STS_POLICY_VALUE, 2},
		{"8461 3.2", S(V "mode: none\nmax_age: 1\nx: \xff\n"), STS_POLICY_VALUE, 4},
		{"8461 3.2", S(V "mode: none\nmax_age: 1\nx: \xe4\n"), STS_POLICY_VALUE, 4},
		/* also in a line that is skipped */
		{"8461 3.2", S(V "mode: none\nmode: \x01\nmax_age: 1\n"), STS_POLICY_VALUE, 3},
		/* version */
		{"8461 3.2", S("version: STSv2\nmode: none\nmax_age: 1\n"), STS_POLICY_VERSION, 1},
		{"8461 3.2", S("version: STSv10\nmode: none\nmax_age: 1\n"), STS_POLICY_VERSION, 1},
		{"8461 3.2", S("version: stsv1\nmode: none\nmax_age: 1\n"), STS_POLICY_VERSION, 1},
		{"8461 3.2", S("version: STSv2\n" V "mode: none\nmax_age: 1\n"), STS_POLICY_VERSION,
			1},
		/* mode */
		{"8461 3.2", S(V "mode: report\nmax_age: 1\n"), STS_POLICY_MODE, 2},
		{"8461 3.2", S(V "mode: Enforce\nmx: a.b\nmax_age: 1\n"), STS_POLICY_MODE, 2},
		{"8461 3.2", S(V "mode: enforced\nmx: a.b\nmax_age: 1\n"), STS_POLICY_MODE, 2},
		{"8461 3.2", S(V "mode: none none\nmax_age: 1\n"), STS_POLICY_MODE, 2},
		{"8461 3.2", S(V "mode: x\nmode: none\nmax_age: 1\n"), STS_POLICY_MODE, 2},
		/* max_age */
		{"8461 3.2", S(V "mode: none\nmax_age: 31557601\n"), STS_POLICY_MAX_AGE_LARGE, 3},
		{"8461 3.2", S(V "mode: none\nmax_age: 4294967296\n"), STS_POLICY_MAX_AGE_LARGE, 3},
		{"8461 3.2", S(V "mode: none\nmax_age: 9999999999\n"), STS_POLICY_MAX_AGE_LARGE, 3},
		{"8461 3.2", S(V "mode: none\nmax_age: 00000000001\n"), STS_POLICY_MAX_AGE, 3},
		{"8461 3.2", S(V "mode: none\nmax_age: 18446744073709551617\n"), STS_POLICY_MAX_AGE,
			3},
		{"8461 3.2", S(V "mode: none\nmax_age: -1\n"), STS_POLICY_MAX_AGE, 3},
		{"8461 3.2", S(V "mode: none\nmax_age: +1\n"), STS_POLICY_MAX_AGE, 3},
		{"8461 3.2", S(V "mode: none\nmax_age: 1.0\n"), STS_POLICY_MAX_AGE, 3},
		{"8461 3.2", S(V "mode: none\nmax_age: 1e6\n"), STS_POLICY_MAX_AGE, 3},
		{"8461 3.2", S(V "mode: none\nmax_age: 0x10\n"), STS_POLICY_MAX_AGE, 3},
		{"8461 3.2", S(V "mode: none\nmax_age: 86 400\n"), STS_POLICY_MAX_AGE, 3},
		{"8461 3.2", S(V "mode: none\nmax_age: 7d\n"), STS_POLICY_MAX_AGE, 3},
		{"8461 3.2", S(V "mode: none\nmax_age: \xd9\xa1\n"), STS_POLICY_MAX_AGE, 3},
		{"8461 3.2", S(V "mode: none\nmax_age: x\nmax_age: 1\n"), STS_POLICY_MAX_AGE, 3},
		/* mx */
		{"8461 3.2", S(V "mode: enforce\nmx: .a.b\nmax_age: 1\n"), STS_POLICY_MX, 3},
		{"8461 3.2", S(V "mode: enforce\nmx: *\nmax_age: 1\n"), STS_POLICY_MX, 3},
		{"8461 3.2", S(V "mode: enforce\nmx: a.b c.d\nmax_age: 1\n"), STS_POLICY_MX, 3},
		{"8461 3.2", S(V "mode: enforce\nmx: a.b,c.d\nmax_age: 1\n"), STS_POLICY_MX, 3},
		{"8461 3.2", S(V "mode: enforce\nmx: a.b.\nmax_age: 1\n"), STS_POLICY_MX, 3},
		{"8461 3.2", S(V "mode: enforce\nmx: \xc3\xa4.b\nmax_age: 1\n"), STS_POLICY_MX, 3},
		{"8461 3.2", S(V "mode: enforce\nmx: a.b\nmx: *\nmax_age: 1\n"), STS_POLICY_MX, 4},
		{"8461 3.2", S(V "mode: none\nmx: *\nmax_age: 1\n"), STS_POLICY_MX, 3},
		/* what is missing */
		{"8461 3.2", S("mode: none\nmax_age: 1\n"), STS_POLICY_NO_VERSION, 0},
		{"8461 3.2", S(V "max_age: 1\nmx: a.b\n"), STS_POLICY_NO_MODE, 0},
		{"8461 3.2", S(V "mode: none\n"), STS_POLICY_NO_MAX_AGE, 0},
		{"8461 3.2", S(V "mode: enforce\nmax_age: 1\n"), STS_POLICY_NO_MX, 0},
		{"8461 3.2", S(V "mode: testing\nmax_age: 1\n"), STS_POLICY_NO_MX, 0},
		{"8461 3.2", S("Version: STSv1\nmode: none\nmax_age: 1\n"), STS_POLICY_NO_VERSION,
			0},
		{"8461 3.2", S(V "mode: none\nMax_Age: 1\n"), STS_POLICY_NO_MAX_AGE, 0},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sts_policy policy = {.mode = STS_MODE_ENFORCE, .mx_n = 1};
		uint32_t line = 99;
		enum sts_policy_error error = sts_policy_read(rows[i].body, &policy, &line);

		cr_expect_eq(error, rows[i].error, "row %zu, RFC %s: %s", i, rows[i].section,
			sts_policy_error_text(error));
		cr_expect_eq(line, rows[i].line, "row %zu: line %u", i, line);
		cr_expect_eq(policy.mode, STS_MODE_NONE);
		cr_expect_eq(policy.mx_n, 0);
		cr_expect_eq(policy.max_age_s, 0);
	}
}

static size_t fill(char *text, size_t n, const char *start, const char *line, char last)
{
	size_t at = strlen(start), line_n = strlen(line);

	memcpy(text, start, at);
	while (at + line_n <= n) {
		memcpy(text + at, line, line_n);
		at += line_n;
	}
	if (last != '\0')
		while (at < n)
			text[at++] = last;
	return at;
}

/* RFC 8461 3.2, 3.3: as large as it may be, in all ways to be large. */
Test(policy, large)
{
	static const char start[] = V "mode: none\nmax_age: 1\n";
	static const struct {
		const char *line; /* again and again */
		char last;        /* up to the end */
		size_t octets;
		enum sts_policy_error error;
	} rows[] = {
		{"x: y\n", '\0', STS_POLICY_BYTES_MAX, STS_POLICY_OK},
		{"x: y\n", '\0', STS_POLICY_BYTES_MAX + 5, STS_POLICY_LARGE},
		{"mode: x\n", '\0', STS_POLICY_BYTES_MAX, STS_POLICY_OK},
		{"\n", '\0', STS_POLICY_BYTES_MAX, STS_POLICY_LINE},
		{":\n", '\0', STS_POLICY_BYTES_MAX, STS_POLICY_KEY},
		{"mx: a.b\n", '\0', STS_POLICY_BYTES_MAX, STS_POLICY_MX_MANY},
		{"x: y\n", 'z', 100, STS_POLICY_LINE},
		{"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
			'y', STS_POLICY_BYTES_MAX, STS_POLICY_OK},
	};
	char *text = malloc(STS_POLICY_BYTES_MAX + 5);

	cr_assert_not_null(text);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sts_policy policy;
		uint32_t line;
		size_t n = fill(text, rows[i].octets, start, rows[i].line, rows[i].last);

		if (rows[i].error == STS_POLICY_LARGE)
			cr_assert_gt(n, STS_POLICY_BYTES_MAX);
		cr_expect_eq(sts_policy_read(span_of(text, n), &policy, &line), rows[i].error,
			"row %zu", i);
	}
	/* one line with all the octets that there are */
	memset(text, 'x', STS_POLICY_BYTES_MAX);
	memcpy(text, V "mode: none\nmax_age: 1\nx:", sizeof(start) - 1 + 2);
	cr_expect_eq(sts_policy_read(span_of(text, STS_POLICY_BYTES_MAX), &(struct sts_policy){0},
			     &(uint32_t){0}),
		STS_POLICY_OK);
	free(text);
}

Test(policy, as_many_mx_as_there_may_be)
{
	static char storage[STS_POLICY_BYTES_MAX];
	static struct sts_policy policy;
	struct buf text;
	uint32_t line;

	buf_init(&text, storage, sizeof(storage));
	cr_assert(buf_puts(&text, V "mode: enforce\nmax_age: 1\n"));
	for (unsigned i = 0; i < STS_MX_MAX; i++)
		cr_assert(buf_printf(&text, "mx: mx%u.example\n", i));
	cr_expect_eq(sts_policy_read(buf_span(&text), &policy, &line), STS_POLICY_OK);
	cr_expect_eq(policy.mx_n, STS_MX_MAX);
	cr_expect(sts_policy_has_mx(&policy, span_str("MX255.example.")));
	cr_expect(!sts_policy_has_mx(&policy, span_str("mx256.example")));
	cr_assert(buf_puts(&text, "mx: one.more\n"));
	cr_expect_eq(sts_policy_read(buf_span(&text), &policy, &line), STS_POLICY_MX_MANY);
	cr_expect_eq(line, 3 + STS_MX_MAX + 1);
}

Test(policy, modes)
{
	for (enum sts_mode i = 0; i < STS_MODES; i++) {
		enum sts_mode mode = STS_MODES;

		cr_expect(sts_mode_read(span_str(sts_mode_text(i)), &mode));
		cr_expect_eq(mode, i);
	}
	cr_expect(!sts_mode_read(span_str("ENFORCE"), &(enum sts_mode){0}));
	cr_expect(!sts_mode_read(span_str(""), &(enum sts_mode){0}));
}

Test(policy, errors_have_sentences)
{
	for (enum sts_policy_error i = 0; i < STS_POLICY_ERRORS; i++)
		cr_expect(sts_policy_error_text(i) != NULL && *sts_policy_error_text(i) != '\0');
}

Test(policy, media_types)
{
	static const struct {
		const char *section;
		const char *type;
		bool valid;
	} rows[] = {
		{"8461 3.2", "text/plain", true},
		{"8461 3.2", "Text/Plain", true},
		{"9110 8.3.1", "text/plain; charset=utf-8", true},
		{"9110 8.3.1", "text/plain;charset=us-ascii", true},
		{"9110 8.3.1", "text/plain ; charset=us-ascii", true},
		{"9110 8.3.1", " text/plain\t", true},
		{"8461 3.2", "text/html", false},
		{"8461 3.2", "text/plainx", false},
		{"8461 3.2", "text/", false},
		{"8461 3.2", "application/octet-stream; x=text/plain", false},
		{"8461 3.2", "text/plain, text/html", false},
		{"8461 3.2", "", false},
		{"8461 3.2", ";", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(sts_media_type_valid(span_str(rows[i].type)), rows[i].valid,
			"\"%s\", RFC %s", rows[i].type, rows[i].section);
}
