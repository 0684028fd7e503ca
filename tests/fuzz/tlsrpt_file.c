/* SPDX-License-Identifier: MIT */
/*
 * tlsrpt_file.c -- the file of counts for TLS reports as a disk or a hand may have left it. What is
 * accepted is within the limits, can be written, and reads the same again.
 */
#include <jansson.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tlsrpt/tlsrpt-private.h"

#define DAY 20000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct tlsrpt_settings settings = {.from = "tlsrpt@a.example"};
static const uint64_t now_us = (DAY * 86400ull + 40000) * 1000000;

static struct tlsrpt *open_empty(void)
{
	struct tlsrpt *tlsrpt;
	struct err err;

	ASSERT(tlsrpt_open(&tlsrpt, &settings, "mx.a.example", span_of(NULL, 0), -1, &err) == 0);
	return tlsrpt;
}

static void check_row(const struct tlsrpt_row *row)
{
	uint32_t detailed = 0, all = 0;

	ASSERT(row->strings_n <= TLSRPT_STRINGS_MAX && row->mx_n <= TLSRPT_MX_MAX);
	for (const struct tlsrpt_failure *one = row->failures; one != NULL; one = one->next) {
		all++;
		detailed += one->text_n > TLSRPT_WORDS;
		ASSERT(one->text[one->text_n - 1] == '\0' && one->result != TLSRPT_SUCCESS);
	}
	ASSERT(detailed == row->failures_n && detailed <= TLSRPT_FAILURES_MAX);
	ASSERT(all <= TLSRPT_FAILURES_MAX + TLSRPT_RESULTS);
}

static void check_all(const struct tlsrpt *tlsrpt)
{
	for (size_t i = 0; i < TLSRPT_DAYS; i++) {
		const struct tlsrpt_day *day = &tlsrpt->days[i];

		ASSERT(day->bytes <= TLSRPT_BYTES_MAX && day->domains_n <= TLSRPT_DOMAINS_MAX);
		for (size_t k = 0; k < TLSRPT_BUCKETS; k++) {
			for (const struct tlsrpt_domain *domain = day->buckets[k]; domain != NULL;
				domain = domain->next) {
				ASSERT(domain->rows_n <= TLSRPT_POLICIES_MAX + TLSRPT_TLSA);
				for (const struct tlsrpt_row *row = domain->rows; row != NULL;
					row = row->next)
					check_row(row);
			}
		}
	}
}

/* Reports of the day, as text; the caller's to free. */
static char *shown(struct tlsrpt *tlsrpt, uint32_t day)
{
	const struct tlsrpt_question question = {day, NULL, NULL, SIZE_MAX};
	json_t *array = tlsrpt_show(tlsrpt, &question);
	char *text = json_dumps(array, JSON_COMPACT);

	json_decref(array);
	ASSERT(text != NULL);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tlsrpt *tlsrpt, *again;
	char *written = NULL, *one, *two;
	size_t n = 0;

	clock_set_for_test(NULL, &now_us);
	tlsrpt = open_empty();
	if (tlsrpt_file_parse(tlsrpt, span_of(data, size))) {
		check_all(tlsrpt);
		again = open_empty();
		ASSERT(tlsrpt_file_text(tlsrpt, &written, &n) == 0);
		ASSERT(tlsrpt_file_parse(again, span_of(written, n)));
		for (uint64_t day = DAY - TLSRPT_DAYS + 1; day <= DAY; day++) {
			one = shown(tlsrpt, day);
			two = shown(again, day);
			ASSERT(strcmp(one, two) == 0);
			free(one);
			free(two);
		}
		free(written);
		tlsrpt_close(again);
	}
	tlsrpt_close(tlsrpt);
	return 0;
}
