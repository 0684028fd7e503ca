/* SPDX-License-Identifier: MIT */
/*
 * sts_kept_json.c -- the control socket's questions about what state_directory remembers of TLS with
 * others: counts for reports, policies.
 *
 * What a configuration does without is told as "on": false, with nothing below it: no error, for a script
 * may ask any gateway. Lists come in pieces that fit an answer; "next" is the name to go on behind, and
 * what comes and goes meanwhile moves nothing else. The names of the keys are an interface that scripts
 * use (posternctl --json): add, never rename.
 */
#include "gateway.h"

#include <jansson.h>

#include "base/clock.h"
#include "control/control.h"
#include "stscache/stscache.h"
#include "tlsrpt/tlsrpt.h"

#define PIECE_OCTETS (CONTROL_ANSWER_MAX - 4096) /* of a list; the rest is for what is around it */

static const char *text_or_null(const char *text)
{
	return text[0] != '\0' ? text : NULL;
}

static size_t min_limit(uint32_t asked, size_t max)
{
	return asked > 0 ? min_size(asked, max) : max;
}

/* Takes what does not fit an answer off the list's end. True: something was. One entry stays. */
static bool list_cut(json_t *list)
{
	size_t octets = 0, n = json_array_size(list), i = 0;

	for (; i < n; i++) {
		octets += json_dumpb(json_array_get(list, i), NULL, 0, JSON_COMPACT) + 1;
		if (octets > PIECE_OCTETS && i > 0)
			break;
	}
	while (json_array_size(list) > i)
		(void)json_array_remove(list, json_array_size(list) - 1);
	return i < n;
}

/* ---- report ---- */

/* A report is one domain's; its policies name it. */
static json_t *domain_of(const json_t *report)
{
	const json_t *policies = json_object_get(report, "policies");
	const json_t *policy = json_object_get(json_array_get(policies, 0), "policy");

	return json_object_get(policy, "policy-domain");
}

json_t *sts_report_json(const struct sts_facts *facts, const struct control_sts_request *request)
{
	struct tlsrpt *tlsrpt = facts->state->tlsrpt;
	const struct tlsrpt_question question = {.day = request->day,
		.domain = text_or_null(request->domain),
		.after = text_or_null(request->after),
		.limit = min_limit(request->limit, CONTROL_STS_REPORTS_MAX)};
	json_t *reports = tlsrpt != NULL ? tlsrpt_show(tlsrpt, &question) : json_array();
	json_t *next = NULL;
	char day[CLOCK_DAY_TEXT];
	bool more;

	clock_day_text(request->day != 0 ? request->day
					 : (uint32_t)(clock_real_us() / 1000000 / CLOCK_DAY_S),
		day);
	more = json_array_size(reports) == question.limit;
	more = list_cut(reports) || more;
	if (more && question.domain == NULL)
		next = domain_of(json_array_get(reports, json_array_size(reports) - 1));
	return json_pack("{s:b, s:s, s:s?, s:O?, s:o}", "on", tlsrpt != NULL, "day", day, "from",
		tlsrpt != NULL ? tlsrpt_from(tlsrpt) : NULL, "next", next, "reports", reports);
}

/* ---- policies ---- */

static json_t *policy_json(const struct stscache_policy *policy)
{
	json_t *mx = json_array();

	for (uint32_t i = 0; i < policy->policy.mx_n; i++)
		json_array_append_new(mx,
			json_stringn((const char *)policy->policy.mx[i].p, policy->policy.mx[i].n));
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "domain", policy->domain, "mode",
		sts_mode_text(policy->policy.mode), "id", policy->id, "max_age_seconds",
		(json_int_t)policy->policy.max_age_s, "fetched_seconds",
		(json_int_t)policy->fetched_real_s, "left_seconds",
		(json_int_t)stscache_policy_left_s(policy), "mx", mx);
}

/* Up to `limit` of those behind `after`; how many there were. */
static size_t policies_list(
	struct stscache *cache, const char *after, size_t limit, json_t *policies)
{
	struct stscache_policy *held[CONTROL_STS_POLICIES_MAX];
	size_t n = stscache_list(cache, after, held, limit);

	for (size_t i = 0; i < n; i++) {
		json_array_append_new(policies, policy_json(held[i]));
		stscache_policy_release(held[i]);
	}
	return n;
}

/* The domain's own, with its text: a policy is UTF-8. */
static void policy_find(struct stscache *cache, const char *domain, json_t *policies)
{
	struct stscache_policy *policy = stscache_kept(cache, domain);
	json_t *object;

	if (policy == NULL)
		return;
	object = policy_json(policy);
	json_object_set_new(
		object, "policy", json_stringn((const char *)policy->text.p, policy->text.n));
	json_array_append_new(policies, object);
	stscache_policy_release(policy);
}

json_t *sts_policies_json(const struct sts_facts *facts, const struct control_sts_request *request)
{
	struct stscache *cache = facts->state->stscache;
	size_t limit = min_limit(request->limit, CONTROL_STS_POLICIES_MAX);
	struct stscache_facts sums = {0};
	json_t *policies = json_array(), *next = NULL;
	bool more = false;

	if (cache != NULL)
		stscache_facts(cache, &sums);
	if (cache != NULL && request->domain[0] != '\0')
		policy_find(cache, request->domain, policies);
	else if (cache != NULL)
		more = policies_list(cache, request->after, limit, policies) == limit;
	more = list_cut(policies) || more;
	if (more)
		next = json_object_get(
			json_array_get(policies, json_array_size(policies) - 1), "domain");
	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:O?, s:o}", "on", cache != NULL,
		"kept", (json_int_t)sums.entries, "enforce", (json_int_t)sums.enforce, "testing",
		(json_int_t)sums.testing, "fetches", (json_int_t)sums.fetches, "failures",
		(json_int_t)sums.failures, "evicted", (json_int_t)sums.evicted, "next", next,
		"policies", policies);
}
