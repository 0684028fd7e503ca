/* SPDX-License-Identifier: MIT */
/*
 * sts_policy.c -- fuzz target: any octets as the body of an MTA-STS policy.
 *
 * Shows: sts_policy_read keeps within the body and its bounds; what it takes has what RFC 8461 3.2
 * requires, goes on being valid with an unknown line behind it, in CRLF lines too, and can be
 * written and read again; what it refuses has a reason, a line of the body, and leaves nothing.
 */
#include <stdlib.h>

#include "sts/sts.h"

static void check_mx(const struct sts_policy *policy, struct span body)
{
	ASSERT(policy->mx_n <= STS_MX_MAX);
	ASSERT(policy->mx_n > 0 || policy->mode == STS_MODE_NONE);
	for (uint32_t i = 0; i < policy->mx_n; i++) {
		struct span mx = policy->mx[i];
		uint8_t host[2 + STS_NAME_MAX];

		ASSERT(mx.p >= body.p && mx.p + mx.n <= body.p + body.n);
		ASSERT(sts_mx_valid(mx) && mx.n <= sizeof(host));
		memcpy(host, mx.p, mx.n);
		if (host[0] == '*')
			host[0] = 'a';
		ASSERT(sts_policy_has_mx(policy, span_of(host, mx.n)));
		ASSERT(mx.p[0] != '*' || !sts_mx_match(mx, span_of(host + 2, mx.n - 2)));
	}
}

static void check_same(const struct sts_policy *a, const struct sts_policy *b)
{
	ASSERT(a->mode == b->mode && a->max_age_s == b->max_age_s && a->mx_n == b->mx_n);
	for (uint32_t i = 0; i < a->mx_n; i++)
		ASSERT(span_equal(a->mx[i], b->mx[i]));
}

static void check_longer(const struct sts_policy *policy, struct span body)
{
	static const char line[] = "x.y-z_0: \xc3\xa4 b";
	char *text = malloc(2 * body.n + sizeof(line) + 1);
	struct sts_policy again;
	uint32_t at;
	size_t n = 0;

	for (size_t i = 0; i < body.n; i++) {
		if (body.p[i] == '\n' && (i == 0 || body.p[i - 1] != '\r'))
			text[n++] = '\r';
		text[n++] = (char)body.p[i];
	}
	if (text[n - 1] != '\n')
		text[n++] = '\n';
	memcpy(text + n, line, sizeof(line) - 1);
	n += sizeof(line) - 1;
	if (n <= STS_POLICY_BYTES_MAX) {
		ASSERT(sts_policy_read(span_of(text, n), &again, &at) == STS_POLICY_OK);
		ASSERT(again.unknown_n == policy->unknown_n + 1);
		ASSERT(again.repeated_n == policy->repeated_n);
		check_same(policy, &again);
	}
	free(text);
}

static void check_written(const struct sts_policy *policy)
{
	enum sts_policy_error error = sts_policy_check(policy);
	struct sts_policy again;
	struct buf out;
	uint32_t line;
	void *storage;

	ASSERT(error == STS_POLICY_OK || error == STS_POLICY_MX || error == STS_POLICY_LARGE);
	if (error != STS_POLICY_OK)
		return;
	storage = malloc(STS_POLICY_BYTES_MAX);
	buf_init(&out, storage, STS_POLICY_BYTES_MAX);
	ASSERT(sts_policy_write(policy, &out));
	ASSERT(sts_policy_read(buf_span(&out), &again, &line) == STS_POLICY_OK);
	ASSERT(again.repeated_n == 0 && again.unknown_n == 0);
	check_same(policy, &again);
	free(storage);
}

static void check_refused(const struct sts_policy *policy, uint32_t line, struct span body)
{
	static const struct sts_policy none;
	uint32_t lines = 1;

	ASSERT(memcmp(policy, &none, sizeof(none)) == 0);
	for (size_t i = 0; i < body.n; i++)
		lines += body.p[i] == '\n';
	ASSERT(line <= lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t *copy = malloc(n > 0 ? n : 1); /* no NUL behind it: an over-read shows */
	struct span body = span_of(copy, n);
	struct sts_policy policy;
	enum sts_policy_error error;
	uint32_t line;

	memcpy(copy, data, n);
	error = sts_policy_read(body, &policy, &line);
	ASSERT(*sts_policy_error_text(error) != '\0');
	if (error == STS_POLICY_OK) {
		ASSERT(line == 0 && policy.mode < STS_MODES);
		ASSERT(policy.max_age_s <= STS_MAX_AGE_S_MAX && n <= STS_POLICY_BYTES_MAX);
		check_mx(&policy, body);
		check_longer(&policy, body);
		check_written(&policy);
	} else {
		check_refused(&policy, line, body);
	}
	(void)!sts_media_type_valid(body);
	free(copy);
	return 0;
}
