/* SPDX-License-Identifier: MIT */
/*
 * tlsrpt.c -- takes counts, keeps them, says when a domain is due.
 *
 * A domain is due at a moment of its own in the four hours behind its day: buckets of the hash table
 * are due one after the other, so that due_at, which only moves on, finds the next one without looking
 * at all of them again. The hash has another seed after a restart; then a domain is due at another
 * moment of these hours, and still once.
 */
#include "tlsrpt/tlsrpt-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/event.h"

#define SECOND_US 1000000ull

static const char *const result_words[TLSRPT_RESULTS] = {
	[TLSRPT_SUCCESS] = "success",
	[TLSRPT_STARTTLS_NOT_SUPPORTED] = "starttls-not-supported",
	[TLSRPT_CERTIFICATE_HOST_MISMATCH] = "certificate-host-mismatch",
	[TLSRPT_CERTIFICATE_EXPIRED] = "certificate-expired",
	[TLSRPT_CERTIFICATE_NOT_TRUSTED] = "certificate-not-trusted",
	[TLSRPT_VALIDATION_FAILURE] = "validation-failure",
	[TLSRPT_TLSA_INVALID] = "tlsa-invalid",
	[TLSRPT_DNSSEC_INVALID] = "dnssec-invalid",
	[TLSRPT_DANE_REQUIRED] = "dane-required",
	[TLSRPT_STS_POLICY_FETCH_ERROR] = "sts-policy-fetch-error",
	[TLSRPT_STS_POLICY_INVALID] = "sts-policy-invalid",
	[TLSRPT_STS_WEBPKI_INVALID] = "sts-webpki-invalid",
};

const char *tlsrpt_result_text(enum tlsrpt_result result)
{
	return result_words[result];
}

/* ---- open, close ---- */

static int load(struct tlsrpt *tlsrpt)
{
	int res = tlsrpt->dir < 0 ? -ENOENT : tlsrpt_file_read(tlsrpt);

	if (res == 0 || res == -ENOENT)
		return 0;
	tlsrpt_forget_all(tlsrpt);
	if (res != -EBADMSG)
		return res;
	(void)renameat(tlsrpt->dir, TLSRPT_FILE, tlsrpt->dir, TLSRPT_FILE_DAMAGED);
	event_text(EVENT_NO_COUNT, "tlsrpt_damaged", "set_aside", TLSRPT_FILE_DAMAGED);
	return 0;
}

static int key_open(struct tlsrpt *tlsrpt, struct span key, struct err *err)
{
	struct err why;

	if (key.n == 0 || tls_sign_key_open(&tlsrpt->key, key, &why) == 0)
		return 0;
	return err_set(err, "tlsrpt: dkim_key: %s", why.text);
}

int tlsrpt_open(struct tlsrpt **out, const struct tlsrpt_settings *settings, const char *hostname,
	struct span key, int state_dir, struct err *err)
{
	struct tlsrpt *tlsrpt = calloc(1, sizeof(*tlsrpt));
	const char *at = settings->from != NULL ? strrchr(settings->from, '@') : NULL;
	int res;

	if (tlsrpt == NULL || getrandom(&tlsrpt->seed, sizeof(tlsrpt->seed), 0) !=
				      (ssize_t)sizeof(tlsrpt->seed)) {
		free(tlsrpt);
		return err_set(err, "tlsrpt: out of memory");
	}
	tlsrpt->settings = settings;
	tlsrpt->hostname = hostname;
	tlsrpt->submitter = at != NULL ? at + 1 : hostname;
	tlsrpt->dir = state_dir;
	pthread_mutex_init(&tlsrpt->lock, NULL);
	if (key_open(tlsrpt, key, err) != 0)
		goto fail;
	res = load(tlsrpt);
	if (res != 0) {
		err_set(err, "tlsrpt: cannot read the file %s in state_directory: %s", TLSRPT_FILE,
			strerror(-res));
		goto fail;
	}
	*out = tlsrpt;
	return 0;
fail:
	tls_sign_key_close(tlsrpt->key);
	pthread_mutex_destroy(&tlsrpt->lock);
	free(tlsrpt);
	return -1;
}

void tlsrpt_save(struct tlsrpt *tlsrpt)
{
	bool due;
	int res;

	if (tlsrpt == NULL)
		return;
	pthread_mutex_lock(&tlsrpt->lock);
	due = tlsrpt->dir >= 0 && tlsrpt->changed;
	tlsrpt->changed = false;
	pthread_mutex_unlock(&tlsrpt->lock);
	res = due ? tlsrpt_file_write(tlsrpt) : 0;
	if (res == 0)
		return;
	pthread_mutex_lock(&tlsrpt->lock);
	tlsrpt->changed = true;
	pthread_mutex_unlock(&tlsrpt->lock);
	event_text(COUNTER_TLSRPT_ERRORS, "tlsrpt_not_saved", "error", strerror(-res));
}

void tlsrpt_close(struct tlsrpt *tlsrpt)
{
	if (tlsrpt == NULL)
		return;
	tlsrpt_save(tlsrpt);
	tlsrpt_forget_all(tlsrpt);
	tls_sign_key_close(tlsrpt->key);
	pthread_mutex_destroy(&tlsrpt->lock);
	free(tlsrpt);
}

const char *tlsrpt_from(const struct tlsrpt *tlsrpt)
{
	return tlsrpt->settings->from;
}

/* ---- counting ---- */

static uint32_t block_add_all(
	struct tlsrpt_block *block, const struct span *strings, size_t n, size_t max)
{
	n = min_size(n, max);
	for (size_t i = 0; i < n; i++)
		tlsrpt_block_add(block, strings[i]);
	return (uint32_t)n;
}

static void add(struct tlsrpt *tlsrpt, const char *name, const struct tlsrpt_note *note,
	struct tlsrpt_block *block)
{
	uint32_t strings_n = block_add_all(
		block, note->policy_strings, note->policy_strings_n, TLSRPT_STRINGS_MAX);
	uint32_t mx_n = block_add_all(block, note->mx_patterns, note->mx_patterns_n, TLSRPT_MX_MAX);
	struct tlsrpt_day *day = tlsrpt_day_get(tlsrpt, tlsrpt_today());
	struct tlsrpt_domain *domain = day != NULL ? tlsrpt_domain_get(tlsrpt, day, name) : NULL;
	struct tlsrpt_row *row = NULL;
	struct tlsrpt_failure *failure;

	if (domain != NULL)
		row = tlsrpt_row_get(day, domain, note->policy, strings_n, mx_n, block);
	if (row == NULL)
		return;
	tlsrpt->changed = true;
	count_add(note->result == TLSRPT_SUCCESS ? COUNTER_TLSRPT_SUCCEEDED : COUNTER_TLSRPT_FAILED,
		1);
	if (note->result == TLSRPT_SUCCESS) {
		row->successes++;
		return;
	}
	block->n = 0;
	tlsrpt_block_add(block, span_str(note->sending_ip));
	tlsrpt_block_add(block, span_str(note->receiving_mx));
	tlsrpt_block_add(block, span_str(note->receiving_ip));
	tlsrpt_block_add(block, span_str(note->reason));
	failure = tlsrpt_failure_get(day, row, note->result, block);
	if (failure != NULL)
		failure->sessions++;
}

void tlsrpt_count(struct tlsrpt *tlsrpt, const struct tlsrpt_note *note)
{
	char name[STS_NAME_MAX + 1];
	struct tlsrpt_block block;

	block.n = 0;
	if (tlsrpt == NULL || !tlsrpt_name_clean(span_str(note->domain), name))
		return;
	pthread_mutex_lock(&tlsrpt->lock);
	add(tlsrpt, name, note, &block);
	pthread_mutex_unlock(&tlsrpt->lock);
}

/* ---- who is due ---- */

static uint64_t bucket_due_s(const struct tlsrpt_day *day, uint32_t bucket)
{
	return (day->day + 1ull) * TLSRPT_DAY_S +
	       (uint64_t)bucket * TLSRPT_SPREAD_S / TLSRPT_BUCKETS;
}

static const struct tlsrpt_domain *day_due(struct tlsrpt_day *day, uint64_t now_s)
{
	for (; day->due_at < TLSRPT_BUCKETS && bucket_due_s(day, day->due_at) <= now_s;
		day->due_at++) {
		for (const struct tlsrpt_domain *domain = day->buckets[day->due_at]; domain != NULL;
			domain = domain->next) {
			if (domain->state == TLSRPT_OPEN && domain->rows != NULL)
				return domain;
		}
	}
	return NULL;
}

bool tlsrpt_due(struct tlsrpt *tlsrpt, char domain[STS_NAME_MAX + 1], uint64_t *day)
{
	const struct tlsrpt_domain *found = NULL;
	uint64_t now_s = clock_real_us() / SECOND_US;
	uint32_t today = tlsrpt_today();

	if (tlsrpt_from(tlsrpt) == NULL)
		return false;
	pthread_mutex_lock(&tlsrpt->lock);
	for (uint32_t back = TLSRPT_DAYS - 1; back > 0 && found == NULL; back--) {
		struct tlsrpt_day *slot =
			today > back ? tlsrpt_day_find(tlsrpt, today - back) : NULL;

		found = slot != NULL ? day_due(slot, now_s) : NULL;
		if (found == NULL)
			continue;
		*day = slot->day;
		memcpy(domain, found->name, strlen(found->name) + 1);
	}
	pthread_mutex_unlock(&tlsrpt->lock);
	return found != NULL;
}

void tlsrpt_done(struct tlsrpt *tlsrpt, const char *domain, uint64_t day, bool sent)
{
	struct tlsrpt_day *slot;
	struct tlsrpt_domain *found;

	pthread_mutex_lock(&tlsrpt->lock);
	slot = tlsrpt_day_find(tlsrpt, (uint32_t)day);
	found = slot != NULL ? tlsrpt_domain_find(tlsrpt, slot, domain) : NULL;
	if (found != NULL) {
		found->state = sent ? TLSRPT_SENT : TLSRPT_NOT_SENT;
		tlsrpt->changed = true;
	}
	pthread_mutex_unlock(&tlsrpt->lock);
}
