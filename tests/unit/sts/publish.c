/* SPDX-License-Identifier: MIT */
/* publish.c -- tests: policies of ours, their text, and the MXes that they shut out. */
#include "sts/sts.h"

#include <criterion/criterion.h>

#define MX_ROWS_MAX 3
#define A63         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void policy_set(struct sts_policy *policy, enum sts_mode mode, uint32_t max_age_s,
	const char *const mx[MX_ROWS_MAX])
{
	*policy = (struct sts_policy){.mode = mode, .max_age_s = max_age_s};
	for (size_t i = 0; i < MX_ROWS_MAX && mx[i] != NULL; i++)
		policy->mx[policy->mx_n++] = span_str(mx[i]);
}

Test(publish, check)
{
	static const struct {
		const char *section;
		enum sts_mode mode;
		uint32_t max_age_s;
		const char *mx[MX_ROWS_MAX];
		enum sts_policy_error error;
	} rows[] = {
		{"8461 3.2", STS_MODE_ENFORCE, 604800, {"mx.a.example", "*.b.example"},
			STS_POLICY_OK},
		{"8461 3.2", STS_MODE_TESTING, 0, {"mx"}, STS_POLICY_OK},
		{"8461 3.2", STS_MODE_NONE, 31557600, {NULL}, STS_POLICY_OK},
		{"8461 3.2", STS_MODE_NONE, 31557601, {NULL}, STS_POLICY_MAX_AGE_LARGE},
		{"8461 3.2", STS_MODES, 1, {"a.b"}, STS_POLICY_MODE},
		{"8461 3.2", STS_MODE_ENFORCE, 1, {NULL}, STS_POLICY_NO_MX},
		{"8461 3.2", STS_MODE_TESTING, 1, {NULL}, STS_POLICY_NO_MX},
		{"8461 3.2", STS_MODE_ENFORCE, 1, {"a.b", "*"}, STS_POLICY_MX},
		{"8461 3.2", STS_MODE_ENFORCE, 1, {"a.b."}, STS_POLICY_MX},
		{"8461 3.2", STS_MODE_ENFORCE, 1, {"a.b\r\nmode: none"}, STS_POLICY_MX},
		{"1123 2.1", STS_MODE_ENFORCE, 1, {"192.0.2.1"}, STS_POLICY_MX},
		{"1123 2.1", STS_MODE_ENFORCE, 1, {"*.0.2.1"}, STS_POLICY_MX},
		{"1123 2.1", STS_MODE_ENFORCE, 1, {"25"}, STS_POLICY_MX},
		{"1123 2.1", STS_MODE_ENFORCE, 1, {"1.mx25"}, STS_POLICY_OK},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		static struct sts_policy policy;
		enum sts_policy_error error;

		policy_set(&policy, rows[i].mode, rows[i].max_age_s, rows[i].mx);
		error = sts_policy_check(&policy);
		cr_expect_eq(error, rows[i].error, "row %zu, RFC %s: %s", i, rows[i].section,
			sts_policy_error_text(error));
	}
}

static void write_and_read(const struct sts_policy *policy, struct buf *out)
{
	static struct sts_policy again;
	uint32_t line;

	buf_clear(out);
	cr_assert(sts_policy_write(policy, out));
	cr_assert_eq(sts_policy_read(buf_span(out), &again, &line), STS_POLICY_OK);
	cr_expect_eq(again.mode, policy->mode);
	cr_expect_eq(again.max_age_s, policy->max_age_s);
	cr_expect_eq(again.repeated_n + again.unknown_n, 0);
	cr_assert_eq(again.mx_n, policy->mx_n);
	for (uint32_t i = 0; i < policy->mx_n; i++)
		cr_expect(span_equal(again.mx[i], policy->mx[i]));
}

/* RFC 8461 3.2: the very octets. */
Test(publish, texts)
{
	static const struct {
		enum sts_mode mode;
		uint32_t max_age_s;
		const char *mx[MX_ROWS_MAX];
		const char *text;
	} rows[] = {
		{STS_MODE_ENFORCE, 604800, {"mx1.a.example", "*.b.example"},
			"version: STSv1\r\nmode: enforce\r\nmx: mx1.a.example\r\n"
			"mx: *.b.example\r\nmax_age: 604800\r\n"},
		{STS_MODE_TESTING, 86400, {"mx"},
			"version: STSv1\r\nmode: testing\r\nmx: mx\r\nmax_age: 86400\r\n"},
		{STS_MODE_NONE, 0, {NULL}, "version: STSv1\r\nmode: none\r\nmax_age: 0\r\n"},
	};
	static struct sts_policy policy;
	uint8_t storage[256];
	struct buf out;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		policy_set(&policy, rows[i].mode, rows[i].max_age_s, rows[i].mx);
		buf_init(&out, storage, sizeof(storage));
		write_and_read(&policy, &out);
		cr_expect(span_equal(buf_span(&out), span_str(rows[i].text)), "row %zu", i);
		for (size_t cap = 0; cap < strlen(rows[i].text); cap++) {
			buf_init(&out, storage, cap);
			cr_expect(!sts_policy_write(&policy, &out), "row %zu, %zu", i, cap);
		}
	}
}

Test(publish, largest)
{
	static const char name[] =
		A63 "." A63 "." A63 "."
		    "aaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbc";
	static uint8_t storage[STS_POLICY_BYTES_MAX];
	static struct sts_policy policy = {
		.mode = STS_MODE_ENFORCE, .max_age_s = STS_MAX_AGE_S_MAX};
	struct buf out;

	for (uint32_t i = 0; i < STS_MX_MAX; i++)
		policy.mx[i] = span_of(name, sizeof(name) - 1);
	for (policy.mx_n = STS_MX_MAX; sts_policy_check(&policy) == STS_POLICY_LARGE;)
		policy.mx_n--;
	cr_expect_eq(sizeof(name) - 1, STS_NAME_MAX);
	cr_expect_gt(policy.mx_n, 250);
	cr_assert_lt(policy.mx_n, STS_MX_MAX); /* too many octets come before too many names */
	buf_init(&out, storage, sizeof(storage));
	write_and_read(&policy, &out);
	policy.mx_n = STS_MX_MAX;
	for (uint32_t i = 0; i < STS_MX_MAX; i++)
		policy.mx[i] = span_str("mx.example");
	write_and_read(&policy, &out);
	policy.mx_n++;
	cr_expect_eq(sts_policy_check(&policy), STS_POLICY_MX_MANY);
}

/* RFC 8461 4.1 for a whole domain. */
Test(publish, who_is_shut_out)
{
	static const struct {
		const char *mx[MX_ROWS_MAX];
		const char *hosts[MX_ROWS_MAX];
		const char *refused; /* a letter a host, a letter a pattern: y or n */
		const char *idle;
	} rows[] = {
		{{"mx1.a.example", "mx2.a.example"}, {"mx1.a.example", "mx2.a.example"}, "nn",
			"nn"},
		{{"mx1.a.example"}, {"mx1.a.example", "mx2.a.example"}, "ny", "n"},
		{{"*.a.example"}, {"mx1.a.example.", "MX2.A.EXAMPLE", "a.example"}, "nny", "n"},
		{{"*.a.example", "b.example"}, {"mx.sub.a.example"}, "y", "yy"},
		{{"a.example", "b.example", "c.example"}, {"b.example"}, "n", "yny"},
		{{"a.example"}, {NULL}, "", "y"},
		{{NULL}, {"a.example"}, "y", ""},
	};
	static struct sts_policy policy;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		bool refused[MX_ROWS_MAX], idle[MX_ROWS_MAX];
		size_t hosts_n = strlen(rows[i].refused), count = 0;

		policy_set(&policy, STS_MODE_ENFORCE, 1, rows[i].mx);
		cr_assert_eq(policy.mx_n, strlen(rows[i].idle));
		for (size_t k = 0; k < hosts_n; k++)
			count += rows[i].refused[k] == 'y';
		cr_expect_eq(sts_policy_refused(&policy, rows[i].hosts, hosts_n, refused), count);
		for (size_t k = 0; k < hosts_n; k++)
			cr_expect_eq(refused[k], rows[i].refused[k] == 'y', "row %zu", i);
		count = 0;
		for (size_t k = 0; k < policy.mx_n; k++)
			count += rows[i].idle[k] == 'y';
		cr_expect_eq(sts_policy_idle(&policy, rows[i].hosts, hosts_n, idle), count);
		for (size_t k = 0; k < policy.mx_n; k++)
			cr_expect_eq(idle[k], rows[i].idle[k] == 'y', "row %zu", i);
	}
}
