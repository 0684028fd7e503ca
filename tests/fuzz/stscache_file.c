/* SPDX-License-Identifier: MIT */
/*
 * stscache_file.c -- the file of kept policies as a disk may have left it. Records that are read are
 * whole, ascend and stay in the input; writing them again gives the octets they were read from. Half of
 * the inputs get their checksums set right, so that more than the first record is reached.
 */
#include "stscache/stscache-private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sets a record's checksum right, where there is something like one. */
static void mend(uint8_t *line, size_t n)
{
	unsigned long long octets;
	const uint8_t *end = memchr(line, '\n', min_size(n, STSCACHE_LINE_MAX));
	char head[STSCACHE_LINE_MAX + 1];
	char digits[9];
	uint32_t crc;
	size_t at;

	if (end == NULL || end - line < 9 || memcmp(line, "policy ", 7) != 0)
		return;
	at = (size_t)(end - line) - 9;
	memcpy(head, line, at);
	head[at] = '\0';
	if (sscanf(head, "policy %*s %*s %*s %llu", &octets) != 1 ||
		octets > n - (size_t)(end + 1 - line))
		return;
	crc = crc32c(crc32c(0, span_of(line, at)), span_of(end + 1, octets));
	snprintf(digits, sizeof(digits), "%08x", crc);
	memcpy(line + at + 1, digits, 8);
}

static void mend_all(uint8_t *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (i == 0 || text[i - 1] == '\n')
			mend(text + i, n - i);
}

static void check(const struct stscache_record *record, struct span read)
{
	static uint8_t storage[STS_POLICY_BYTES_MAX + STSCACHE_LINE_MAX + 2];
	struct stscache_policy *policy;
	struct buf out;
	uint32_t line;

	ASSERT(stscache_domain_valid(span_str(record->domain)));
	ASSERT(sts_id_valid(span_str(record->id)));
	buf_init(&out, storage, sizeof(storage));
	ASSERT(stscache_file_record(record, &out));
	ASSERT(span_equal(buf_span(&out), read));
	if (stscache_policy_new(&policy, record->domain, record->id, record->text,
		    record->fetched_real_s, &line) != STS_POLICY_OK) {
		ASSERT(policy == NULL);
		return;
	}
	ASSERT(policy != NULL && span_equal(policy->text, record->text));
	for (uint32_t i = 0; i < policy->policy.mx_n; i++)
		ASSERT(sts_mx_valid(policy->policy.mx[i]) &&
			policy->policy.mx[i].p > policy->text.p);
	stscache_policy_release(policy);
}

static void read_all(struct span text)
{
	struct stscache_reader reader = {.rest = text};
	struct stscache_record record;
	char before[STS_NAME_MAX + 1] = "";
	struct span rest = text;
	enum stscache_step step;

	while ((step = stscache_file_next(&reader, &record)) == STSCACHE_RECORD) {
		if (rest.p == text.p)
			span_take(&rest, strlen("postern-sts-policies 1\n"));
		ASSERT(strcmp(before, record.domain) < 0);
		memcpy(before, record.domain, sizeof(before));
		check(&record, span_of(rest.p, (size_t)(reader.rest.p - rest.p)));
		rest = reader.rest;
	}
	ASSERT((step == STSCACHE_DAMAGED) == (reader.why != NULL));
	ASSERT(step != STSCACHE_END || reader.rest.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	if (size == 0)
		return 0;
	copy = malloc(size);
	ASSERT(copy != NULL);
	memcpy(copy, data, size);
	if (data[0] == 'p')
		read_all(span_of(copy, size));
	mend_all(copy, size);
	read_all(span_of(copy, size));
	free(copy);
	return 0;
}
