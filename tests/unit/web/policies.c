/* SPDX-License-Identifier: MIT */
/* policies.c -- the table: what is served, ids, what is refused, a block that was damaged on its way. */
#include <stdlib.h>

#include "harness.h"

static const char *const mx[] = {"mx.example.org", "*.example.net"};
static const char *const reports[] = {"mailto:tls@example.org", "https://r.example/"};

static struct sts_settings full(const char *domain)
{
	return (struct sts_settings){.domain = domain,
		.mode = STS_MODE_TESTING,
		.max_age_s = 86400,
		.mx = mx,
		.mx_n = 2,
		.reports = reports,
		.reports_n = 2};
}

Test(policies, what_is_published)
{
	struct sts_settings sts[] = {full("a.example"), full("b.example")};
	struct web_policies *policies;
	const struct web_policy *policy;

	sts[1].id = "own1";
	sts[1].reports_n = 0;
	policies = policies_of(sts, 2);
	cr_assert_eq(web_policies_n(policies), 2);
	policy = web_policies_find(policies, "a.example");
	cr_assert_eq(policy, web_policies_at(policies, 0));
	cr_expect_str_eq(policy->domain, "a.example");
	cr_expect_eq(policy->mode, STS_MODE_TESTING);
	cr_expect_eq(policy->max_age_s, 86400);
	cr_expect(span_equal(
		policy->text, span_str("version: STSv1\r\nmode: testing\r\nmx: mx.example.org\r\n"
				       "mx: *.example.net\r\nmax_age: 86400\r\n")));
	cr_assert_eq(policy->reports_n, 2);
	cr_expect_str_eq(policy->reports[1], reports[1]);
	cr_expect(sts_id_valid(span_str(policy->id)));
	policy = web_policies_find(policies, "b.example");
	cr_expect_str_eq(policy->id, "own1");
	cr_expect_eq(policy->reports_n, 0);
	cr_expect_null(web_policies_find(policies, "c.example"));
	cr_expect_null(web_policies_find(policies, ""));
	web_policies_release(policies);
}

/* The same text has the same id, whatever else is there; another text another one. */
Test(policies, ids_follow_the_text)
{
	struct sts_settings one[] = {full("a.example")};
	struct sts_settings two[] = {full("a.example"), full("b.example")};
	struct web_policies *left = policies_of(one, 1);
	struct web_policies *right = policies_of(two, 2);

	cr_expect_str_eq(web_policies_at(left, 0)->id, web_policies_at(right, 0)->id);
	web_policies_release(right);
	two[0].max_age_s++;
	right = policies_of(two, 2);
	cr_expect_str_neq(web_policies_at(left, 0)->id, web_policies_at(right, 0)->id);
	web_policies_release(right);
	web_policies_release(left);
}

static const char *const numeric[] = {"good.example", "10.0.0.1"};
static const char *const ftp[] = {"ftp://x/"};

static const struct {
	struct sts_settings sts;
	const char *error;
} refused[] = {
	{{.domain = "a.example", .mode = STS_MODE_ENFORCE, .max_age_s = 1}, "sts \"a.example\": "},
	{{.domain = "a.example",
		 .max_age_s = 1,
		 .mode = STS_MODE_ENFORCE,
		 .mx = numeric,
		 .mx_n = 2},
		"sts \"a.example\": mx: \"10.0.0.1\""},
	{{.domain = "a.example", .max_age_s = 1, .mx = mx, .mx_n = 1, .id = "a-b"},
		"id: \"a-b\" is not 1 to 32 letters and digits"},
	{{.domain = "a.example",
		 .max_age_s = 1,
		 .mx = mx,
		 .mx_n = 1,
		 .reports = ftp,
		 .reports_n = 1},
		"reports: \"ftp://x/\" is not"},
};

Test(policies, refused)
{
	for (size_t i = 0; i < COUNT_OF(refused); i++) {
		struct err err = {""};
		uint8_t *block;
		size_t n;

		cr_expect_eq(web_policies_pack(&refused[i].sts, 1, &block, &n, &err), -1, "%zu", i);
		cr_expect(strstr(err.text, refused[i].error) != NULL, "%zu: %s", i, err.text);
		cr_expect_null(block);
	}
}

/* Cut anywhere, or with any octet changed, it is refused or is a table like any. */
Test(policies, a_damaged_block)
{
	struct sts_settings sts[] = {full("a.example"), full("b.example")};
	struct web_policies *policies;
	struct err err = {""};
	uint8_t *block, *copy;
	size_t n;

	cr_assert_eq(web_policies_pack(sts, 2, &block, &n, &err), 0);
	copy = malloc(n);
	for (size_t cut = 0; cut < n; cut++)
		cr_expect_eq(
			web_policies_open(&policies, span_of(block, cut), &err), -1, "%zu", cut);
	for (size_t i = 0; i < n; i++) {
		memcpy(copy, block, n);
		copy[i] ^= 0xff;
		if (web_policies_open(&policies, span_of(copy, n), &err) != 0)
			continue;
		for (size_t k = 0; k < web_policies_n(policies); k++)
			(void)strlen(web_policies_at(policies, k)->id);
		web_policies_release(policies);
	}
	free(copy);
	free(block);
}
