/* SPDX-License-Identifier: MIT */
/*
 * policy.c -- a kept policy: one piece of memory with what was read, its patterns, and its text.
 *
 * Only as many patterns are allocated as there are: the struct in full would be 4 KiB a domain. The
 * text stands behind them, and the patterns' spans point into it.
 */
#include "stscache/stscache-private.h"

#include <stdlib.h>

#include "base/clock.h"

static void copy_name(char *out, size_t out_n, const char *name)
{
	size_t n = strlen(name);

	ASSERT(n < out_n);
	memcpy(out, name, n + 1);
}

enum sts_policy_error stscache_policy_new(struct stscache_policy **out, const char *domain,
	const char *id, struct span text, uint64_t fetched_real_s, uint32_t *line)
{
	struct sts_policy read;
	enum sts_policy_error error = sts_policy_read(text, &read, line);
	size_t read_n = offsetof(struct sts_policy, mx) + read.mx_n * sizeof(read.mx[0]);
	size_t at = offsetof(struct stscache_policy, policy) + read_n;
	struct stscache_policy *policy;
	uint8_t *copy;

	*out = NULL;
	if (error != STS_POLICY_OK)
		return error;
	policy = malloc(at + text.n);
	if (policy == NULL)
		return STS_POLICY_OK;
	copy = (uint8_t *)policy + at;
	memcpy(copy, text.p, text.n);
	memset(policy, 0, offsetof(struct stscache_policy, policy));
	memcpy((uint8_t *)policy + offsetof(struct stscache_policy, policy), &read, read_n);
	for (uint32_t i = 0; i < read.mx_n; i++)
		policy->policy.mx[i].p = copy + (read.mx[i].p - text.p);
	policy->text = span_of(copy, text.n);
	holders_init(&policy->holders);
	policy->bytes = (uint32_t)(at + text.n);
	policy->fetched_real_s = fetched_real_s;
	policy->expires_real_s = fetched_real_s + read.max_age_s;
	copy_name(policy->domain, sizeof(policy->domain), domain);
	copy_name(policy->id, sizeof(policy->id), id);
	*out = policy;
	return STS_POLICY_OK;
}

struct stscache_policy *stscache_policy_hold(struct stscache_policy *policy)
{
	holders_add(&policy->holders);
	return policy;
}

void stscache_policy_release(struct stscache_policy *policy)
{
	if (policy != NULL && holders_drop(&policy->holders))
		free(policy);
}

uint64_t stscache_policy_left_s(const struct stscache_policy *policy)
{
	uint64_t now_ms = clock_ms(), now_s = clock_real_us() / 1000000;
	uint64_t left_ms = policy->expires_ms > now_ms ? policy->expires_ms - now_ms : 0;
	uint64_t left_s = policy->expires_real_s > now_s ? policy->expires_real_s - now_s : 0;

	return left_ms / 1000 < left_s ? left_ms / 1000 : left_s;
}
