/* SPDX-License-Identifier: MIT */
/*
 * sts_watch_json.c -- the control socket's question about the watch: who used TLS with us and who did not,
 * and what that means for the policies that we publish.
 *
 * The advice is a word for scripts and a sentence for people. It only ever advises: a gateway that changed
 * a published policy by itself would be wrong about mail that it does not see (senders that obey a policy
 * and cannot reach us at all). Lists are bounded and their totals told; what matters most is first.
 */
#include "gateway.h"

#include <jansson.h>
#include <stdio.h>

#include "base/clock.h"
#include "control/control.h"
#include "watch/watch.h"

enum advice {
	ADVICE_NOTHING,
	ADVICE_WAIT,    /* testing: not yet */
	ADVICE_ENFORCE, /* testing: enforce can be set */
	ADVICE_REPAIR,  /* enforce: senders fail */
	ADVICES
};
static const char *const advice_words[ADVICES] = {"nothing", "wait", "enforce", "repair"};

static bool is_mx(void *ctx, const char *host)
{
	return sts_policy_has_mx(ctx, span_str(host));
}

/* "certificate 3, version 1 on 2026-11-21" */
static void break_text(const struct watch_break *last, char *out, size_t n)
{
	size_t used = 0;
	char day[CLOCK_DAY_TEXT];

	clock_day_text(last->day, day);
	for (int i = 0; i < WATCH_FAILURES && used < n; i++) {
		if (last->failures[i] > 0)
			used += (size_t)snprintf(out + used, n - used, "%s%s %llu",
				used > 0 ? ", " : "", watch_failure_words[i],
				(unsigned long long)last->failures[i]);
	}
	if (used < n)
		(void)snprintf(out + used, n - used, " on %s", day);
}

static enum advice testing_advice(const struct watch_settings *watch, uint32_t calm,
	const struct watch_break *last, char *why, size_t n)
{
	char broke[128];

	if (calm >= watch->enforce_days) {
		(void)snprintf(why, n,
			"no handshake failed for %u days: mode enforce can be set; you decide",
			calm);
		return ADVICE_ENFORCE;
	}
	if (last->day != 0) {
		break_text(last, broke, sizeof(broke));
		(void)snprintf(why, n, "handshakes failed: %s; %u of %u days without are over",
			broke, calm, watch->enforce_days);
	} else if (watch->days <= watch->enforce_days) {
		(void)snprintf(why, n,
			"the watch keeps %u days, which is too short to see %u of them without a "
			"failure",
			watch->days, watch->enforce_days);
	} else {
		(void)snprintf(why, n, "%u of %u days without a failed handshake are over", calm,
			watch->enforce_days);
	}
	return ADVICE_WAIT;
}

static enum advice enforce_advice(
	const struct watch_settings *watch, const struct watch_break *last, char *why, size_t n)
{
	uint32_t today = (uint32_t)(clock_real_us() / 1000000 / CLOCK_DAY_S);
	char broke[128];

	if (last->day == 0 || last->day + watch->enforce_days < today) {
		(void)snprintf(why, n, "no handshake failed of late");
		return ADVICE_NOTHING;
	}
	break_text(last, broke, sizeof(broke));
	(void)snprintf(why, n,
		"handshakes failed: %s; senders that obey the policy delay such mail: find out why, or "
		"go back to testing",
		broke);
	return ADVICE_REPAIR;
}

static json_t *advice_json(
	const struct config *config, const struct state *state, const struct web_policy *policy)
{
	struct sts_policy read = {0};
	struct watch_break last = {0};
	enum advice advice = ADVICE_NOTHING;
	char why[256] = "senders are told that there is no policy";
	uint32_t line, calm = 0;

	if (sts_policy_read(policy->text, &read, &line) == STS_POLICY_OK)
		calm = watch_calm_days(state->watch, is_mx, &read, &last);
	if (policy->mode == STS_MODE_TESTING)
		advice = testing_advice(&config->watch, calm, &last, why, sizeof(why));
	else if (policy->mode == STS_MODE_ENFORCE)
		advice = enforce_advice(&config->watch, &last, why, sizeof(why));
	return json_pack("{s:s, s:s, s:I, s:I, s:s, s:s}", "domain", policy->domain, "mode",
		sts_mode_text(policy->mode), "calm_days", (json_int_t)calm, "enforce_days",
		(json_int_t)config->watch.enforce_days, "advice", advice_words[advice], "why", why);
}

static void advices_add(
	const struct sts_facts *facts, const char *domain, size_t limit, json_t *sts)
{
	const struct web_policies *policies = facts->published->policies;
	const struct web_policy *one =
		domain[0] != '\0' ? web_policies_find(policies, domain) : NULL;
	size_t n = domain[0] != '\0' ? one != NULL : web_policies_n(policies);
	json_t *list = json_array();

	for (size_t i = 0; i < n && i < limit; i++)
		json_array_append_new(
			list, advice_json(facts->config, facts->state,
				      one != NULL ? one : web_policies_at(policies, i)));
	json_object_set_new(sts, "policies", list);
	json_object_set_new(sts, "policies_total", json_integer((json_int_t)n));
}

json_t *sts_watch_json(const struct sts_facts *facts, const struct control_sts_request *request)
{
	const struct web_policy *policy =
		web_policies_find(facts->published->policies, request->domain);
	uint32_t limit = request->limit > 0 ? request->limit : CONTROL_STS_WATCH_DEFAULT;
	struct watch_question question = {.days = request->days, .domain = request->domain};
	struct sts_policy read;
	uint32_t line;
	json_t *sts;

	if (facts->state->watch == NULL)
		return json_pack("{s:b, s:[], s:[]}", "on", 0, "days", "policies");
	question.limit = limit < CONTROL_STS_WATCH_MAX ? limit : CONTROL_STS_WATCH_MAX;
	if (policy != NULL && sts_policy_read(policy->text, &read, &line) == STS_POLICY_OK) {
		question.is_host = is_mx;
		question.ctx = &read;
	}
	sts = watch_show(facts->state->watch, &question);
	if (sts == NULL)
		return NULL;
	json_object_set_new(sts, "on", json_true());
	advices_add(facts, request->domain, question.limit, sts);
	return sts;
}
