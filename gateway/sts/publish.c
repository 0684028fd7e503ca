/* SPDX-License-Identifier: MIT */
/*
 * publish.c -- a policy of ours: may it be published, its text, and whom it would shut out.
 *
 * Invariant: sts_policy_read() of what is written here gives the same policy back.
 */
#include "sts/sts-private.h"

#define KEYS_OCTETS_MAX 128 /* of a text: all that is not an mx line, and more than that */

static bool ends_in_digits(struct span name)
{
	size_t n = name.n;

	while (n > 0 && sts_is_digit(name.p[n - 1]))
		n--;
	return n == 0 || (n < name.n && name.p[n - 1] == '.');
}

enum sts_policy_error sts_policy_check(const struct sts_policy *policy)
{
	size_t octets = KEYS_OCTETS_MAX;

	if (policy->mode >= STS_MODES)
		return STS_POLICY_MODE;
	if (policy->max_age_s > STS_MAX_AGE_S_MAX)
		return STS_POLICY_MAX_AGE_LARGE;
	if (policy->mx_n == 0 && policy->mode != STS_MODE_NONE)
		return STS_POLICY_NO_MX;
	if (policy->mx_n > STS_MX_MAX)
		return STS_POLICY_MX_MANY;
	for (uint32_t i = 0; i < policy->mx_n; i++) {
		if (!sts_mx_valid(policy->mx[i]) || ends_in_digits(policy->mx[i]))
			return STS_POLICY_MX;
		octets += strlen("mx: \r\n") + policy->mx[i].n;
	}
	return octets > STS_POLICY_BYTES_MAX ? STS_POLICY_LARGE : STS_POLICY_OK;
}

bool sts_policy_write(const struct sts_policy *policy, struct buf *out)
{
	ASSERT(sts_policy_check(policy) == STS_POLICY_OK);
	if (!buf_puts(out, "version: STSv1\r\nmode: ") ||
		!buf_puts(out, sts_mode_text(policy->mode)) || !buf_puts(out, "\r\n"))
		return false;
	for (uint32_t i = 0; i < policy->mx_n; i++)
		if (!buf_puts(out, "mx: ") || !buf_put(out, policy->mx[i]) ||
			!buf_puts(out, "\r\n"))
			return false;
	return buf_printf(out, "max_age: %u\r\n", policy->max_age_s);
}

size_t sts_policy_refused(
	const struct sts_policy *policy, const char *const *hosts, size_t n, bool *refused)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		refused[i] = !sts_policy_has_mx(policy, span_str(hosts[i]));
		count += refused[i];
	}
	return count;
}

size_t sts_policy_idle(
	const struct sts_policy *policy, const char *const *hosts, size_t n, bool *idle)
{
	size_t count = 0;

	for (uint32_t i = 0; i < policy->mx_n; i++) {
		idle[i] = true;
		for (size_t k = 0; k < n && idle[i]; k++)
			idle[i] = !sts_mx_match(policy->mx[i], span_str(hosts[k]));
		count += idle[i];
	}
	return count;
}
