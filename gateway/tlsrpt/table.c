/* SPDX-License-Identifier: MIT */
/*
 * table.c -- days, domains, policies and failures: found, made, forgotten.
 *
 * Names come from peers, so the hash has a seed of its own a process. The bucket that a domain falls
 * into is also what spreads the reports over time (tlsrpt.c).
 *
 * A day's memory is bounded as a whole, too: limits a domain alone would add up to gigabytes where
 * somebody owns many domains and changes their policies all the time.
 */
#include "tlsrpt/tlsrpt-private.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/counter.h"

#define SECOND_US 1000000ull

uint32_t tlsrpt_today(void)
{
	return (uint32_t)(clock_real_us() / SECOND_US / TLSRPT_DAY_S);
}

/* ---- strings ---- */

bool tlsrpt_name_clean(struct span name, char out[STS_NAME_MAX + 1])
{
	if (name.n > STS_NAME_MAX || !sts_mx_valid(name) || name.p[0] == '*')
		return false;
	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = name.p[i];

		out[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
	}
	out[name.n] = '\0';
	return true;
}

void tlsrpt_block_add(struct tlsrpt_block *block, struct span text)
{
	size_t n = min_size(text.n, TLSRPT_TEXT_MAX);

	ASSERT(block->n + n + 1 <= sizeof(block->text));
	for (size_t i = 0; i < n; i++) {
		uint8_t c = text.p[i];

		block->text[block->n++] = (char)(c >= ' ' && c <= '~' ? c : '?');
	}
	block->text[block->n++] = '\0';
}

/* FNV-1a from a seed that peers do not know. */
static uint64_t hash_of(const struct tlsrpt *tlsrpt, const char *name)
{
	uint64_t hash = tlsrpt->seed * 0x100000001b3ull;

	for (; *name != '\0'; name++)
		hash = (hash ^ (uint8_t)*name) * 0x100000001b3ull;
	return hash ^ hash >> 29;
}

/* ---- forgetting ---- */

static void row_free(struct tlsrpt_row *row)
{
	while (row->failures != NULL) {
		struct tlsrpt_failure *failure = row->failures;

		row->failures = failure->next;
		free(failure);
	}
	free(row);
}

static void domain_free(struct tlsrpt_domain *domain)
{
	while (domain->rows != NULL) {
		struct tlsrpt_row *row = domain->rows;

		domain->rows = row->next;
		row_free(row);
	}
	free(domain);
}

/* Returns how many domains nobody was told about. */
static uint64_t day_clear(struct tlsrpt_day *day)
{
	uint64_t open = 0;

	for (size_t i = 0; i < TLSRPT_BUCKETS; i++) {
		while (day->buckets[i] != NULL) {
			struct tlsrpt_domain *domain = day->buckets[i];

			open += domain->state == TLSRPT_OPEN;
			day->buckets[i] = domain->next;
			domain_free(domain);
		}
	}
	memset(day, 0, sizeof(*day));
	return open;
}

void tlsrpt_forget_all(struct tlsrpt *tlsrpt)
{
	for (size_t i = 0; i < TLSRPT_DAYS; i++)
		(void)day_clear(&tlsrpt->days[i]);
}

/* ---- days ---- */

struct tlsrpt_day *tlsrpt_day_find(struct tlsrpt *tlsrpt, uint32_t day)
{
	struct tlsrpt_day *slot = &tlsrpt->days[day % TLSRPT_DAYS];

	return slot->day == day && day != 0 ? slot : NULL;
}

struct tlsrpt_day *tlsrpt_day_get(struct tlsrpt *tlsrpt, uint32_t day)
{
	struct tlsrpt_day *slot = &tlsrpt->days[day % TLSRPT_DAYS];
	uint32_t today = tlsrpt_today();
	uint64_t open;

	if (day == 0 || day > today || today - day >= TLSRPT_DAYS)
		return NULL;
	if (slot->day == day)
		return slot;
	open = day_clear(slot); /* an old day's, or one from before the clock was set back */
	if (tlsrpt_from(tlsrpt) != NULL)
		count_add(COUNTER_TLSRPT_LOST, open);
	slot->day = day;
	return slot;
}

/* ---- domains ---- */

/* So many octets more of a day, zeroed. NULL: a limit, or memory is short. */
static void *day_alloc(struct tlsrpt_day *day, size_t n)
{
	void *p = day->bytes + n <= TLSRPT_BYTES_MAX ? calloc(1, n) : NULL;

	if (p != NULL)
		day->bytes += n;
	return p;
}

static struct tlsrpt_domain *find(const struct tlsrpt_day *day, uint64_t hash, const char *name)
{
	struct tlsrpt_domain *domain = day->buckets[hash % TLSRPT_BUCKETS];

	while (domain != NULL && (domain->hash != hash || strcmp(domain->name, name) != 0))
		domain = domain->next;
	return domain;
}

struct tlsrpt_domain *tlsrpt_domain_find(
	const struct tlsrpt *tlsrpt, const struct tlsrpt_day *day, const char *name)
{
	return find(day, hash_of(tlsrpt, name), name);
}

struct tlsrpt_domain *tlsrpt_domain_get(
	struct tlsrpt *tlsrpt, struct tlsrpt_day *day, const char *name)
{
	uint64_t hash = hash_of(tlsrpt, name);
	uint32_t bucket = (uint32_t)(hash % TLSRPT_BUCKETS);
	struct tlsrpt_domain *domain = find(day, hash, name);
	size_t n = strlen(name) + 1;

	if (domain != NULL)
		return domain;
	if (day->domains_n < TLSRPT_DOMAINS_MAX)
		domain = day_alloc(day, sizeof(*domain) + n);
	if (domain == NULL) {
		count(COUNTER_TLSRPT_LIMIT_DOMAINS);
		return NULL;
	}
	domain->hash = hash;
	memcpy(domain->name, name, n);
	domain->next = day->buckets[bucket];
	day->buckets[bucket] = domain;
	day->domains_n++;
	if (bucket < day->due_at)
		day->due_at = bucket;
	return domain;
}

/* ---- policies ---- */

struct tlsrpt_row *tlsrpt_row_get(struct tlsrpt_day *day, struct tlsrpt_domain *domain,
	enum tlsrpt_policy policy, uint32_t strings_n, uint32_t mx_n,
	const struct tlsrpt_block *block)
{
	struct tlsrpt_row **at = &domain->rows, *row, *last = NULL;

	for (; (row = *at) != NULL; at = &row->next) {
		if (row->policy != policy)
			continue;
		last = row;
		if (row->strings_n == strings_n && row->mx_n == mx_n && row->text_n == block->n &&
			memcmp(row->text, block->text, block->n) == 0)
			return row;
	}
	/* A type that is not there yet always gets its row. */
	if (last == NULL || domain->rows_n < TLSRPT_POLICIES_MAX)
		row = day_alloc(day, sizeof(*row) + block->n);
	if (row == NULL) {
		count(COUNTER_TLSRPT_LIMIT_POLICIES);
		return last;
	}
	row->policy = policy;
	row->strings_n = strings_n;
	row->mx_n = mx_n;
	row->text_n = block->n;
	memcpy(row->text, block->text, block->n);
	*at = row;
	domain->rows_n++;
	return row;
}

/* ---- failures ---- */

struct tlsrpt_failure *tlsrpt_failure_get(struct tlsrpt_day *day, struct tlsrpt_row *row,
	enum tlsrpt_result result, const struct tlsrpt_block *block)
{
	static const struct tlsrpt_block bare = {.n = TLSRPT_WORDS};
	bool is_bare = block->n == bare.n; /* all strings are empty */
	struct tlsrpt_failure **at = &row->failures, *failure;

	for (; (failure = *at) != NULL; at = &failure->next) {
		if (failure->result == result && failure->text_n == block->n &&
			memcmp(failure->text, block->text, block->n) == 0)
			return failure;
	}
	if (is_bare) /* one a result type at most: above the limits */
		failure = calloc(1, sizeof(*failure) + block->n);
	else if (row->failures_n < TLSRPT_FAILURES_MAX)
		failure = day_alloc(day, sizeof(*failure) + block->n);
	if (failure == NULL) {
		count(COUNTER_TLSRPT_LIMIT_FAILURES);
		return is_bare ? NULL : tlsrpt_failure_get(day, row, result, &bare);
	}
	failure->result = result;
	failure->text_n = block->n;
	memcpy(failure->text, block->text, block->n);
	*at = failure;
	row->failures_n += !is_bare;
	return failure;
}
