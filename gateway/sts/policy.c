/* SPDX-License-Identifier: MIT */
/*
 * policy.c -- reads a policy's body (RFC 8461 3.2).
 *
 * The grammar: lines that end with LF or CRLF, the last one's end may be missing; each is a key, a
 * colon, blanks, a value, blanks. Every line must be that, known or not, first of its key or not.
 * Then: unknown keys are skipped; of keys but mx the first line counts, whatever the later say;
 * version, mode and max_age must be there, and mx unless the mode is none. Their order is free.
 */
#include "sts/sts-private.h"

#define MAX_AGE_DIGITS_MAX 10

static const char *const modes[STS_MODES] = {
	[STS_MODE_NONE] = "none",
	[STS_MODE_TESTING] = "testing",
	[STS_MODE_ENFORCE] = "enforce",
};

static const char *const errors[STS_POLICY_ERRORS] = {
	[STS_POLICY_OK] = "the policy is valid",
	[STS_POLICY_EMPTY] = "the policy is empty",
	[STS_POLICY_LARGE] = "the policy is larger than 65536 octets",
	[STS_POLICY_LINE] = "the line is not \"key: value\"",
	[STS_POLICY_KEY] = "the key is not 1 to 32 letters, digits, '_', '-', '.', no sign first",
	[STS_POLICY_VALUE] = "the value is empty, has a control character or is not UTF-8",
	[STS_POLICY_VERSION] = "the version is not STSv1",
	[STS_POLICY_MODE] = "the mode is not enforce, testing or none",
	[STS_POLICY_MAX_AGE] = "max_age is not a number of 1 to 10 digits",
	[STS_POLICY_MAX_AGE_LARGE] = "max_age is above 31557600 seconds, a year",
	[STS_POLICY_MX] = "the mx is neither a host's name nor \"*.\" and a domain",
	[STS_POLICY_MX_MANY] = "the policy has more than 256 mx lines",
	[STS_POLICY_NO_VERSION] = "the policy has no version",
	[STS_POLICY_NO_MODE] = "the policy has no mode",
	[STS_POLICY_NO_MAX_AGE] = "the policy has no max_age",
	[STS_POLICY_NO_MX] = "the policy has no mx, and its mode is not none",
};

const char *sts_mode_text(enum sts_mode mode)
{
	ASSERT(mode < STS_MODES);
	return modes[mode];
}

bool sts_mode_read(struct span text, enum sts_mode *mode)
{
	for (enum sts_mode i = 0; i < STS_MODES; i++) {
		if (sts_is(text, modes[i])) {
			*mode = i;
			return true;
		}
	}
	return false;
}

const char *sts_policy_error_text(enum sts_policy_error error)
{
	ASSERT(error < STS_POLICY_ERRORS);
	return errors[error];
}

bool sts_media_type_valid(struct span content_type)
{
	bool parameters;
	struct span type = sts_take_to(&content_type, ';', &parameters);

	return sts_same_nocase(sts_trim(type), span_str(STS_POLICY_MEDIA_TYPE));
}

static enum sts_policy_error version_read(struct span value, struct sts_policy *policy)
{
	(void)policy;
	return sts_is(value, "STSv1") ? STS_POLICY_OK : STS_POLICY_VERSION;
}

static enum sts_policy_error mode_read(struct span value, struct sts_policy *policy)
{
	return sts_mode_read(value, &policy->mode) ? STS_POLICY_OK : STS_POLICY_MODE;
}

static enum sts_policy_error max_age_read(struct span value, struct sts_policy *policy)
{
	uint64_t seconds = 0;

	if (value.n > MAX_AGE_DIGITS_MAX)
		return STS_POLICY_MAX_AGE;
	for (size_t i = 0; i < value.n; i++) {
		if (!sts_is_digit(value.p[i]))
			return STS_POLICY_MAX_AGE;
		seconds = seconds * 10 + (value.p[i] - '0');
	}
	if (seconds > STS_MAX_AGE_S_MAX)
		return STS_POLICY_MAX_AGE_LARGE;
	policy->max_age_s = (uint32_t)seconds;
	return STS_POLICY_OK;
}

static enum sts_policy_error mx_read(struct span value, struct sts_policy *policy)
{
	if (!sts_mx_valid(value))
		return STS_POLICY_MX;
	if (policy->mx_n == STS_MX_MAX)
		return STS_POLICY_MX_MANY;
	policy->mx[policy->mx_n++] = value;
	return STS_POLICY_OK;
}

static const struct field {
	const char *key;
	enum sts_policy_error (*read)(struct span value, struct sts_policy *policy);
	enum sts_policy_error missing;
	bool repeats;
} fields[] = {
	{"version", version_read, STS_POLICY_NO_VERSION, false},
	{"mode", mode_read, STS_POLICY_NO_MODE, false},
	{"max_age", max_age_read, STS_POLICY_NO_MAX_AGE, false},
	{"mx", mx_read, STS_POLICY_NO_MX, true},
};

static struct span line_take(struct span *rest)
{
	bool ended;
	struct span line = sts_take_to(rest, '\n', &ended);

	if (ended && line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

/* `seen` has a bit a field. */
static enum sts_policy_error line_read(struct span line, struct sts_policy *policy, unsigned *seen)
{
	bool colon;
	struct span key = sts_take_to(&line, ':', &colon);
	struct span value = sts_trim(line);

	if (!colon)
		return STS_POLICY_LINE;
	if (!sts_key_valid(key))
		return STS_POLICY_KEY;
	if (!sts_policy_value_valid(value))
		return STS_POLICY_VALUE;
	for (size_t i = 0; i < COUNT_OF(fields); i++) {
		bool again = (*seen & 1u << i) != 0;

		if (!sts_is(key, fields[i].key))
			continue;
		*seen |= 1u << i;
		if (!again || fields[i].repeats)
			return fields[i].read(value, policy);
		policy->repeated_n++;
		return STS_POLICY_OK;
	}
	policy->unknown_n++;
	return STS_POLICY_OK;
}

static enum sts_policy_error missing(unsigned seen, enum sts_mode mode)
{
	for (size_t i = 0; i < COUNT_OF(fields); i++) {
		bool needed = !fields[i].repeats || mode != STS_MODE_NONE;

		if (needed && !(seen & 1u << i))
			return fields[i].missing;
	}
	return STS_POLICY_OK;
}

static enum sts_policy_error body_read(struct span rest, struct sts_policy *policy, uint32_t *line)
{
	enum sts_policy_error error = STS_POLICY_OK;
	unsigned seen = 0;

	if (rest.n == 0)
		return STS_POLICY_EMPTY;
	if (rest.n > STS_POLICY_BYTES_MAX)
		return STS_POLICY_LARGE;
	while (rest.n > 0) {
		++*line;
		error = line_read(line_take(&rest), policy, &seen);
		if (error != STS_POLICY_OK)
			return error;
	}
	*line = 0;
	return missing(seen, policy->mode);
}

enum sts_policy_error sts_policy_read(struct span body, struct sts_policy *policy, uint32_t *line)
{
	enum sts_policy_error error;

	memset(policy, 0, sizeof(*policy));
	*line = 0;
	error = body_read(body, policy, line);
	if (error != STS_POLICY_OK)
		memset(policy, 0, sizeof(*policy));
	return error;
}
