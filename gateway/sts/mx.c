/* SPDX-License-Identifier: MIT */
/*
 * mx.c -- patterns of MX names (RFC 8461 3.2) and the hosts that they allow (4.1).
 *
 * Non-goal: what stands in a certificate. RFC 8461 4.2 compares it with the host's name, which is
 * tls/'s to do.
 */
#include "sts/sts-private.h"

/* Takes "*." off the front. */
static bool wildcard_take(struct span *pattern)
{
	if (pattern->n < 2 || pattern->p[0] != '*' || pattern->p[1] != '.')
		return false;
	(void)span_take(pattern, 2);
	return true;
}

static struct span without_dot(struct span name)
{
	if (name.n > 0 && name.p[name.n - 1] == '.')
		name.n--;
	return name;
}

bool sts_mx_valid(struct span pattern)
{
	(void)wildcard_take(&pattern);
	return sts_domain_valid(pattern);
}

bool sts_mx_match(struct span pattern, struct span host)
{
	bool dot;

	pattern = without_dot(pattern);
	host = without_dot(host);
	if (wildcard_take(&pattern) && sts_take_to(&host, '.', &dot).n == 0)
		return false;
	return pattern.n > 0 && sts_same_nocase(pattern, host);
}

bool sts_policy_has_mx(const struct sts_policy *policy, struct span host)
{
	for (uint32_t i = 0; i < policy->mx_n; i++)
		if (sts_mx_match(policy->mx[i], host))
			return true;
	return false;
}
