/* SPDX-License-Identifier: MIT */
/*
 * policies.c -- the table of published policies: made once, read by all.
 *
 * It is made by the privileged parent, which reads the configuration, and handed to the child as one
 * block. In memory it is the same block, with an index of pointers into it.
 *
 * Layout, numbers in network order, 32 bits: "PWP1", number of policies, number of report URIs in all;
 * for each policy: domain, id, mode, max_age, text, number of its URIs, URIs. Byte strings are preceded
 * by their length, which counts the NUL that ends each of them; the text has none.
 */
#include "web/web-private.h"

#include <stdlib.h>

#include "base/holders.h"

#define MAGIC 0x50575031u /* "PWP1" */

struct web_policies {
	struct holders holders;
	struct web_policy *policies; /* sorted by domain */
	size_t n;
	const char **reports; /* of all, those of a policy side by side */
	uint8_t *block;
};

/* ---- making ---- */

struct writer {
	uint8_t *p; /* NULL: only counting */
	size_t n;
};

static void put(struct writer *writer, struct span bytes)
{
	if (writer->p != NULL && bytes.n > 0)
		memcpy(writer->p + writer->n, bytes.p, bytes.n);
	writer->n += bytes.n;
}

static void put_u32(struct writer *writer, size_t value)
{
	uint8_t octets[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
		(uint8_t)value};

	put(writer, span_of(octets, sizeof(octets)));
}

static void put_bytes(struct writer *writer, struct span bytes)
{
	put_u32(writer, bytes.n);
	put(writer, bytes);
}

static void put_text(struct writer *writer, const char *text)
{
	put_bytes(writer, span_of(text, strlen(text) + 1));
}

static void policy_of(const struct sts_settings *sts, struct sts_policy *policy)
{
	*policy = (struct sts_policy){
		.mode = (enum sts_mode)sts->mode,
		.max_age_s = sts->max_age_s,
		.mx_n = (uint32_t)sts->mx_n,
	};
	for (size_t i = 0; i < sts->mx_n && i < STS_MX_MAX; i++)
		policy->mx[i] = span_str(sts->mx[i]);
}

/* Could it be published? What is wrong with which value. */
static int settings_check(
	const struct sts_settings *sts, const struct sts_policy *policy, struct err *err)
{
	enum sts_policy_error error = sts_policy_check(policy);
	enum sts_rua_kind kind;

	for (uint32_t i = 0; error == STS_POLICY_MX && i < policy->mx_n; i++) {
		struct sts_policy one = {
			.mode = policy->mode, .max_age_s = 1, .mx_n = 1, .mx = {policy->mx[i]}};

		if (sts_policy_check(&one) == STS_POLICY_MX)
			return err_set(err, "sts \"%s\": mx: \"%s\": %s", sts->domain, sts->mx[i],
				sts_policy_error_text(error));
	}
	if (error != STS_POLICY_OK)
		return err_set(err, "sts \"%s\": %s", sts->domain, sts_policy_error_text(error));
	if (sts->id != NULL && !sts_id_valid(span_str(sts->id)))
		return err_set(err, "sts \"%s\": id: \"%s\" is not 1 to %d letters and digits",
			sts->domain, sts->id, STS_ID_MAX);
	for (size_t i = 0; i < sts->reports_n; i++)
		if (!sts_rua_valid(span_str(sts->reports[i]), &kind))
			return err_set(err,
				"sts \"%s\": reports: \"%s\" is not a mailto: or https: URI that "
				"senders can use",
				sts->domain, sts->reports[i]);
	return 0;
}

/* `text` has room for any policy. */
static int put_policy(
	struct writer *writer, const struct sts_settings *sts, struct buf *text, struct err *err)
{
	struct sts_policy policy;
	uint8_t digest[32];
	char id[STS_ID_MAX + 1];

	policy_of(sts, &policy);
	if (settings_check(sts, &policy, err) != 0)
		return -1;
	buf_clear(text);
	if (!sts_policy_write(&policy, text))
		return err_set(err, "sts \"%s\": the policy is too long", sts->domain);
	tls_sha256(buf_span(text), digest);
	sts_id_make(span_of(digest, sizeof(digest)), id);
	put_text(writer, sts->domain);
	put_text(writer, sts->id != NULL ? sts->id : id);
	put_u32(writer, policy.mode);
	put_u32(writer, policy.max_age_s);
	put_bytes(writer, buf_span(text));
	put_u32(writer, sts->reports_n);
	for (size_t i = 0; i < sts->reports_n; i++)
		put_text(writer, sts->reports[i]);
	return 0;
}

static int put_all(struct writer *writer, const struct sts_settings *sts, size_t sts_n,
	struct buf *text, struct err *err)
{
	size_t reports_n = 0;

	for (size_t i = 0; i < sts_n; i++)
		reports_n += sts[i].reports_n;
	put_u32(writer, MAGIC);
	put_u32(writer, sts_n);
	put_u32(writer, reports_n);
	for (size_t i = 0; i < sts_n; i++)
		if (put_policy(writer, &sts[i], text, err) != 0)
			return -1;
	return writer->n <= WEB_POLICIES_BYTES_MAX
		       ? 0
		       : err_set(err, "sts: all policies together are over %u MiB",
				 WEB_POLICIES_BYTES_MAX >> 20);
}

int web_policies_pack(const struct sts_settings *sts, size_t sts_n, uint8_t **block,
	size_t *block_n, struct err *err)
{
	uint8_t *storage = malloc(STS_POLICY_BYTES_MAX);
	struct writer writer = {0};
	struct buf text;
	int res;

	*block = NULL;
	if (storage == NULL)
		return err_set(err, "out of memory");
	buf_init(&text, storage, STS_POLICY_BYTES_MAX);
	res = put_all(&writer, sts, sts_n, &text, err);
	if (res == 0) {
		*block_n = writer.n;
		writer = (struct writer){.p = malloc(writer.n)};
		*block = writer.p;
		res = writer.p != NULL ? put_all(&writer, sts, sts_n, &text, err)
				       : err_set(err, "out of memory");
	}
	free(storage);
	return res;
}

/* ---- reading ---- */

static bool take_u32(struct span *in, size_t *value, size_t max)
{
	struct span octets = span_take(in, 4);

	if (octets.n != 4)
		return false;
	*value = (size_t)octets.p[0] << 24 | (size_t)octets.p[1] << 16 | (size_t)octets.p[2] << 8 |
		 octets.p[3];
	return *value <= max;
}

static bool take_bytes(struct span *in, struct span *bytes)
{
	size_t n;

	if (!take_u32(in, &n, in->n))
		return false;
	*bytes = span_take(in, n);
	return bytes->n == n;
}

static bool take_text(struct span *in, const char **text)
{
	struct span bytes;

	if (!take_bytes(in, &bytes) || bytes.n == 0 ||
		memchr(bytes.p, '\0', bytes.n) != bytes.p + bytes.n - 1)
		return false;
	*text = (const char *)bytes.p;
	return true;
}

static bool take_policy(
	struct span *in, struct web_policy *policy, const char **reports, size_t max)
{
	size_t mode, max_age, n;

	if (!take_text(in, &policy->domain) || !take_text(in, &policy->id) ||
		!take_u32(in, &mode, STS_MODES - 1) || !take_u32(in, &max_age, STS_MAX_AGE_S_MAX) ||
		!take_bytes(in, &policy->text) || !take_u32(in, &n, max))
		return false;
	policy->mode = (enum sts_mode)mode;
	policy->max_age_s = (uint32_t)max_age;
	policy->reports = reports;
	while (policy->reports_n < n)
		if (!take_text(in, &reports[policy->reports_n++]))
			return false;
	return true;
}

static bool take_all(struct web_policies *policies, struct span in)
{
	size_t magic, n, reports_n, used = 0;

	if (!take_u32(&in, &magic, UINT32_MAX) || magic != MAGIC ||
		!take_u32(&in, &n, SETTINGS_STS_MAX) || !take_u32(&in, &reports_n, in.n))
		return false;
	policies->policies = calloc(n + 1, sizeof(policies->policies[0]));
	policies->reports = calloc(reports_n + 1, sizeof(policies->reports[0]));
	if (policies->policies == NULL || policies->reports == NULL)
		return false;
	for (; policies->n < n; policies->n++) {
		struct web_policy *policy = &policies->policies[policies->n];

		if (!take_policy(&in, policy, policies->reports + used, reports_n - used) ||
			(policies->n > 0 && strcmp(policy[-1].domain, policy->domain) >= 0))
			return false;
		used += policy->reports_n;
	}
	return in.n == 0;
}

static void policies_free(struct web_policies *policies)
{
	free(policies->policies);
	free(policies->reports);
	free(policies->block);
	free(policies);
}

int web_policies_open(struct web_policies **out, struct span block, struct err *err)
{
	struct web_policies *policies = calloc(1, sizeof(*policies));

	*out = NULL;
	if (policies == NULL)
		return err_set(err, "out of memory");
	holders_init(&policies->holders);
	policies->block = malloc(block.n + 1);
	if (policies->block != NULL && block.n > 0)
		memcpy(policies->block, block.p, block.n);
	if (policies->block == NULL || !take_all(policies, span_of(policies->block, block.n))) {
		policies_free(policies);
		return err_set(err, "the block of policies is damaged");
	}
	*out = policies;
	return 0;
}

struct web_policies *web_policies_hold(struct web_policies *policies)
{
	holders_add(&policies->holders);
	return policies;
}

void web_policies_release(struct web_policies *policies)
{
	if (policies != NULL && holders_drop(&policies->holders))
		policies_free(policies);
}

size_t web_policies_n(const struct web_policies *policies)
{
	return policies->n;
}

const struct web_policy *web_policies_at(const struct web_policies *policies, size_t i)
{
	ASSERT(i < policies->n);
	return &policies->policies[i];
}

static int compare(const void *key, const void *entry)
{
	return strcmp(key, ((const struct web_policy *)entry)->domain);
}

const struct web_policy *web_policies_find(const struct web_policies *policies, const char *domain)
{
	return bsearch(
		domain, policies->policies, policies->n, sizeof(policies->policies[0]), compare);
}
