/* SPDX-License-Identifier: MIT */
/* tlsa.c -- tests: TLSA records, their use for mail, sets of them, and what they match. */
#include "sts/sts.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define DATA_MAX 600
#define RECORDS  4
#define SPAN(what)                                                                                 \
	{                                                                                          \
		.p = what, .n = sizeof(what)                                                       \
	}

/* Two certificates whose "digests" are told apart by their octets. */
static const uint8_t leaf_der[] = {0x30, 3, 1, 2, 3}, leaf_spki[] = {0x30, 2, 1, 2};
static const uint8_t ca_der[] = {0x30, 3, 7, 8, 9}, ca_spki[] = {0x30, 2, 7, 8};
static const uint8_t leaf_der256[32] = {1}, leaf_der512[64] = {2};
static const uint8_t leaf_spki256[32] = {3}, leaf_spki512[64] = {4};
static const uint8_t ca_der256[32] = {5}, ca_der512[64] = {6};
static const uint8_t ca_spki256[32] = {7}, ca_spki512[64] = {8};

static const struct sts_certificate chain[] = {
	{SPAN(leaf_der), SPAN(leaf_spki), SPAN(leaf_der256), SPAN(leaf_der512), SPAN(leaf_spki256),
		SPAN(leaf_spki512)},
	{SPAN(ca_der), SPAN(ca_spki), SPAN(ca_der256), SPAN(ca_der512), SPAN(ca_spki256),
		SPAN(ca_spki512)},
};

struct record {
	uint8_t octets[DATA_MAX];
	struct span span;
};

/* "3 1 1" and what a certificate has there; fill >= 0: an octet in place of it. */
static void record_set(
	struct record *record, const char *numbers, const struct sts_certificate *of, int fill)
{
	uint8_t usage = (uint8_t)(numbers[0] - '0'), selector = (uint8_t)(numbers[2] - '0');
	uint8_t matching = (uint8_t)(numbers[4] - '0');
	struct span data = sts_tlsa_of(of, usage, selector, matching).data;

	record->octets[0] = usage;
	record->octets[1] = selector;
	record->octets[2] = matching;
	memcpy(record->octets + 3, data.p, data.n);
	if (fill >= 0)
		memset(record->octets + 3 + 2, fill, data.n - 2);
	record->span = span_of(record->octets, 3 + data.n);
}

Test(tlsa, use)
{
	static const struct {
		const char *section;
		uint8_t numbers[3];
		uint16_t octets; /* of data */
		enum sts_tlsa_use use;
	} rows[] = {
		{"7672 3.1", {3, 1, 1}, 32, STS_TLSA_USABLE},
		{"7672 3.1", {3, 0, 2}, 64, STS_TLSA_USABLE},
		{"7672 3.1", {2, 0, 1}, 32, STS_TLSA_USABLE},
		{"7672 3.1", {2, 1, 2}, 64, STS_TLSA_USABLE},
		{"7672 3.1.3", {0, 0, 1}, 32, STS_TLSA_PKIX},
		{"7672 3.1.3", {1, 1, 1}, 32, STS_TLSA_PKIX},
		{"6698 2.1.1", {4, 1, 1}, 32, STS_TLSA_USAGE},
		{"7218 2.1", {255, 1, 1}, 32, STS_TLSA_USAGE},
		{"6698 2.1.2", {3, 2, 1}, 32, STS_TLSA_SELECTOR},
		{"7218 2.2", {3, 255, 1}, 32, STS_TLSA_SELECTOR},
		{"6698 2.1.3", {3, 1, 3}, 32, STS_TLSA_MATCHING},
		{"7218 2.3", {3, 1, 255}, 32, STS_TLSA_MATCHING},
		{"6698 4.1", {3, 1, 1}, 31, STS_TLSA_LENGTH},
		{"6698 4.1", {3, 1, 1}, 33, STS_TLSA_LENGTH},
		{"6698 4.1", {3, 1, 1}, 64, STS_TLSA_LENGTH},
		{"6698 4.1", {3, 1, 2}, 32, STS_TLSA_LENGTH},
		{"6698 4.1", {3, 1, 2}, 65, STS_TLSA_LENGTH},
		{"6698 4.1", {2, 1, 1}, 1, STS_TLSA_LENGTH},
		{"6698 2.1", {3, 1, 1}, 0, STS_TLSA_SHORT},
		{"6698 2.1", {3, 1, 0}, 0, STS_TLSA_SHORT},
		{"6698 4.1", {3, 0, 0}, 32, STS_TLSA_DER},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		uint8_t octets[3 + 80] = {0};
		struct sts_tlsa tlsa;
		enum sts_tlsa_use use;

		memcpy(octets, rows[i].numbers, 3);
		use = sts_tlsa_read(span_of(octets, 3 + (size_t)rows[i].octets), &tlsa);
		cr_expect_eq(use, rows[i].use, "row %zu, RFC %s: %s", i, rows[i].section,
			sts_tlsa_use_text(use));
		if (use == STS_TLSA_SHORT)
			continue;
		cr_expect_eq(tlsa.usage, rows[i].numbers[0]);
		cr_expect_eq(tlsa.selector, rows[i].numbers[1]);
		cr_expect_eq(tlsa.matching, rows[i].numbers[2]);
		cr_expect_eq(tlsa.data.p, octets + 3);
		cr_expect_eq(tlsa.data.n, rows[i].octets);
	}
}

Test(tlsa, cut_short)
{
	static const uint8_t octets[] = {3, 1, 1, 0};

	for (size_t n = 0; n < 4; n++) {
		struct sts_tlsa tlsa = {.usage = 9};

		cr_expect_eq(sts_tlsa_read(span_of(octets, n), &tlsa), STS_TLSA_SHORT);
		cr_expect_eq(tlsa.usage, 0);
		cr_expect_eq(tlsa.data.n, 0);
	}
}

/* X.690 8.1.3, 10.1: full data is one SEQUENCE. */
Test(tlsa, full_data)
{
	static const struct {
		uint8_t head[11];
		uint8_t head_n;
		uint32_t octets; /* with the head */
		bool usable;
	} rows[] = {
		{{0x30, 0}, 2, 2, true},
		{{0x30, 0x7f}, 2, 0x81, true},
		{{0x30, 0x81, 0x80}, 3, 0x83, true},
		{{0x30, 0x82, 0x01, 0x00}, 4, 0x104, true},
		{{0x30, 0x83, 0x01, 0x00, 0x00}, 5, 0x10005, true},
		{{0x30, 0x7f}, 2, 0x80, false},
		{{0x30, 0x7f}, 2, 0x82, false},
		{{0x30, 0x82, 0x01, 0x00}, 4, 0x103, false},
		{{0x30, 0x82, 0x01, 0x00}, 4, 0x105, false},
		{{0x30, 0x81, 0x7f}, 3, 0x82, false},       /* not the shortest */
		{{0x30, 0x82, 0x00, 0x80}, 4, 0x84, false}, /* not the shortest */
		{{0x30, 0x80}, 2, 2, false},                /* indefinite */
		{{0x30, 0x81}, 2, 2, false},
		{{0x30, 0x82, 0x01}, 3, 3, false},
		{{0x30, 0x84, 0xff, 0xff, 0xff}, 5, 100, false},
		{{0x30, 0xff, 0xff, 0xff, 0xff}, 5, 100, false},
		{{0x30, 0x89, 1, 0, 0, 0, 0, 0, 0, 1, 0}, 11, 0x10b, false}, /* 2^64 + 0x100 */
		{{0x31, 0}, 2, 2, false},
		{{0x30}, 1, 1, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sts_tlsa tlsa;
		size_t n = 3 + (size_t)rows[i].octets;
		uint8_t *octets = calloc(1, n); /* no more than that: an over-read shows */

		cr_assert_not_null(octets);
		octets[0] = STS_DANE_EE;
		memcpy(octets + 3, rows[i].head, rows[i].head_n);
		cr_expect_eq(sts_tlsa_read(span_of(octets, n), &tlsa),
			rows[i].usable ? STS_TLSA_USABLE : STS_TLSA_DER, "row %zu", i);
		free(octets);
	}
}

Test(tlsa, uses_have_sentences)
{
	for (enum sts_tlsa_use i = 0; i < STS_TLSA_USES; i++)
		cr_expect(sts_tlsa_use_text(i) != NULL && *sts_tlsa_use_text(i) != '\0');
}

enum matched { NOTHING, LEAF, CA };

static enum matched set_match(const struct sts_tlsa_set *set, size_t chain_n)
{
	size_t depth = 99;
	const struct sts_tlsa *tlsa = sts_tlsa_match_chain(set, chain, chain_n, &depth);

	cr_expect_eq(tlsa == NULL, depth == 99);
	if (tlsa == NULL)
		return NOTHING;
	cr_expect_eq(tlsa->usage, depth == 0 ? STS_DANE_EE : STS_DANE_TA);
	return depth == 0 ? LEAF : CA;
}

/*
 * A record is "U S M" and who it is of: l leaf, c CA, x none of them, b broken (an octet less).
 */
Test(tlsa, sets)
{
	static const struct {
		const char *section;
		const char *records[RECORDS];
		enum sts_tlsa_verdict verdict;
		enum matched matched;
		uint32_t n, unusable_n, weaker_n;
	} rows[] = {
		{"7672 2.2", {NULL}, STS_TLSA_ABSENT, NOTHING, 0, 0, 0},
		/* every selector and matching type, at both ends */
		{"6698 2.1", {"3 0 0 l"}, STS_TLSA_AUTHENTICATE, LEAF, 1, 0, 0},
		{"6698 2.1", {"3 0 1 l"}, STS_TLSA_AUTHENTICATE, LEAF, 1, 0, 0},
		{"6698 2.1", {"3 0 2 l"}, STS_TLSA_AUTHENTICATE, LEAF, 1, 0, 0},
		{"6698 2.1", {"3 1 0 l"}, STS_TLSA_AUTHENTICATE, LEAF, 1, 0, 0},
		{"6698 2.1", {"3 1 1 l"}, STS_TLSA_AUTHENTICATE, LEAF, 1, 0, 0},
		{"6698 2.1", {"3 1 2 l"}, STS_TLSA_AUTHENTICATE, LEAF, 1, 0, 0},
		{"6698 2.1", {"2 0 0 c"}, STS_TLSA_AUTHENTICATE, CA, 1, 0, 0},
		{"6698 2.1", {"2 0 1 c"}, STS_TLSA_AUTHENTICATE, CA, 1, 0, 0},
		{"6698 2.1", {"2 0 2 c"}, STS_TLSA_AUTHENTICATE, CA, 1, 0, 0},
		{"6698 2.1", {"2 1 0 c"}, STS_TLSA_AUTHENTICATE, CA, 1, 0, 0},
		{"6698 2.1", {"2 1 1 c"}, STS_TLSA_AUTHENTICATE, CA, 1, 0, 0},
		{"6698 2.1", {"2 1 2 c"}, STS_TLSA_AUTHENTICATE, CA, 1, 0, 0},
		/* a usage is about its place in the chain */
		{"7671 5.1", {"3 1 1 c"}, STS_TLSA_AUTHENTICATE, NOTHING, 1, 0, 0},
		{"7671 5.2", {"2 1 1 l"}, STS_TLSA_AUTHENTICATE, NOTHING, 1, 0, 0},
		/* no match is no match */
		{"7672 2.2", {"3 1 1 x"}, STS_TLSA_AUTHENTICATE, NOTHING, 1, 0, 0},
		{"7672 2.2", {"3 0 0 x"}, STS_TLSA_AUTHENTICATE, NOTHING, 1, 0, 0},
		{"7672 2.2", {"3 1 1 x", "3 1 1 l"}, STS_TLSA_AUTHENTICATE, LEAF, 2, 0, 0},
		{"7671 8.1", {"3 1 1 l", "2 1 1 c"}, STS_TLSA_AUTHENTICATE, LEAF, 2, 0, 0},
		{"7671 8.1", {"3 1 1 x", "2 1 1 c"}, STS_TLSA_AUTHENTICATE, CA, 2, 0, 0},
		/* unusable ones beside usable ones are as if they were not there */
		{"7672 2.2", {"0 0 1 l"}, STS_TLSA_ENCRYPT, NOTHING, 0, 1, 0},
		{"7672 3.1.3", {"0 0 1 c", "1 1 1 l"}, STS_TLSA_ENCRYPT, NOTHING, 0, 2, 0},
		{"7672 3.1.3", {"1 1 1 l", "3 1 1 x"}, STS_TLSA_AUTHENTICATE, NOTHING, 1, 1, 0},
		{"7672 2.2", {"3 1 1 b"}, STS_TLSA_ENCRYPT, NOTHING, 0, 1, 0},
		{"7672 2.2", {"3 1 2 b", "3 0 0 b"}, STS_TLSA_ENCRYPT, NOTHING, 0, 2, 0},
		{"7672 2.2", {"3 1 1 b", "3 1 1 l"}, STS_TLSA_AUTHENTICATE, LEAF, 1, 1, 0},
		/* the strongest digest of a usage and selector counts */
		{"7671 9", {"3 1 1 l", "3 1 2 l"}, STS_TLSA_AUTHENTICATE, LEAF, 1, 0, 1},
		{"7671 9", {"3 1 1 l", "3 1 2 x"}, STS_TLSA_AUTHENTICATE, NOTHING, 1, 0, 1},
		{"7671 9", {"3 1 2 x", "3 1 1 l", "3 1 1 x"}, STS_TLSA_AUTHENTICATE, NOTHING, 1, 0,
			2},
		{"7671 9", {"3 1 1 l", "3 0 2 x"}, STS_TLSA_AUTHENTICATE, LEAF, 2, 0, 0},
		{"7671 9", {"2 1 1 c", "3 1 2 x"}, STS_TLSA_AUTHENTICATE, CA, 2, 0, 0},
		{"7671 9", {"3 1 0 l", "3 1 1 x", "3 1 2 x"}, STS_TLSA_AUTHENTICATE, LEAF, 2, 0, 1},
		/* a broken stronger one is none */
		{"7671 9", {"3 1 1 l", "3 1 2 b"}, STS_TLSA_AUTHENTICATE, LEAF, 1, 1, 0},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		static struct record records[RECORDS];
		static struct sts_tlsa_set set;
		struct span spans[RECORDS];
		size_t n = 0;

		for (; n < RECORDS && rows[i].records[n] != NULL; n++) {
			const char *text = rows[i].records[n];

			record_set(&records[n], text, &chain[text[6] == 'c'],
				text[6] == 'x' ? 0xee : -1);
			spans[n] = records[n].span;
			spans[n].n -= text[6] == 'b';
		}
		cr_expect_eq(sts_tlsa_set_read(spans, n, &set), rows[i].verdict, "row %zu, RFC %s",
			i, rows[i].section);
		cr_expect_eq(set_match(&set, COUNT_OF(chain)), rows[i].matched, "row %zu, RFC %s",
			i, rows[i].section);
		cr_expect_eq(set.n, rows[i].n, "row %zu", i);
		cr_expect_eq(set.unusable_n, rows[i].unusable_n, "row %zu", i);
		cr_expect_eq(set.weaker_n, rows[i].weaker_n, "row %zu", i);
		cr_expect_eq(set.dropped_n, 0, "row %zu", i);
	}
}

Test(tlsa, chains)
{
	static const char *const numbers[] = {"3 1 1", "2 1 1"};
	static struct sts_tlsa_set leaf_set, ca_set;
	static struct record leaf, ca;
	static const struct sts_certificate bare;

	record_set(&leaf, numbers[0], &chain[0], -1);
	record_set(&ca, numbers[1], &chain[1], -1);
	cr_assert_eq(sts_tlsa_set_read(&leaf.span, 1, &leaf_set), STS_TLSA_AUTHENTICATE);
	cr_assert_eq(sts_tlsa_set_read(&ca.span, 1, &ca_set), STS_TLSA_AUTHENTICATE);
	cr_expect_eq(set_match(&leaf_set, 0), NOTHING);
	cr_expect_eq(set_match(&leaf_set, 1), LEAF);
	cr_expect_eq(set_match(&ca_set, 1), NOTHING); /* a CA that was not sent */
	cr_expect_null(sts_tlsa_match(&ca_set, &chain[1], 0));
	cr_expect_not_null(sts_tlsa_match(&ca_set, &chain[1], 1));
	cr_expect_not_null(sts_tlsa_match(&ca_set, &chain[1], 5));
	cr_expect_null(sts_tlsa_match(&leaf_set, &chain[0], 1));
	cr_expect_null(sts_tlsa_match(&leaf_set, &bare, 0)); /* nothing to compare with */
}

Test(tlsa, more_records_than_are_kept)
{
	static struct record record, mine;
	static struct span spans[STS_TLSA_MAX + 2];
	static struct sts_tlsa_set set;

	record_set(&record, "3 1 1", &chain[0], 0xee);
	record_set(&mine, "3 1 1", &chain[0], -1);
	for (size_t i = 0; i < COUNT_OF(spans); i++)
		spans[i] = record.span;
	spans[STS_TLSA_MAX - 1] = mine.span;
	cr_expect_eq(sts_tlsa_set_read(spans, COUNT_OF(spans), &set), STS_TLSA_AUTHENTICATE);
	cr_expect_eq(set.n, STS_TLSA_MAX);
	cr_expect_eq(set.dropped_n, 2);
	cr_expect_eq(set_match(&set, 1), LEAF);
	/* what is dropped cannot match, but asks for authentication */
	spans[STS_TLSA_MAX - 1] = record.span;
	spans[STS_TLSA_MAX] = mine.span;
	cr_expect_eq(sts_tlsa_set_read(spans, COUNT_OF(spans), &set), STS_TLSA_AUTHENTICATE);
	cr_expect_eq(set_match(&set, 1), NOTHING);
}
