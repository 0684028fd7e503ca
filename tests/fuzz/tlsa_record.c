/* SPDX-License-Identifier: MIT */
/*
 * tlsa_record.c -- fuzz target: any octets as the data of TLSA records, each behind two octets with
 * its length.
 *
 * Shows: the readers keep within the records; every record is kept, unusable, weaker or dropped,
 * and the verdict follows from that; each record that is kept matches a certificate with its
 * octets, at the depth of its usage only, and none whose last octet differs; its line for a zone
 * file is written or has no room.
 */
#include <stdlib.h>

#include "sts/sts.h"

#define RECORDS_MAX 256
#define LINE_MAX    65536

/* A certificate with these octets wherever the record looks, and nowhere else. */
static struct sts_certificate certificate_of(const struct sts_tlsa *tlsa, struct span data)
{
	struct sts_certificate certificate = {0};
	struct span *const places[][3] = {
		{&certificate.der, &certificate.der_sha256, &certificate.der_sha512},
		{&certificate.spki, &certificate.spki_sha256, &certificate.spki_sha512},
	};

	*places[tlsa->selector][tlsa->matching] = data;
	return certificate;
}

static bool same(const struct sts_tlsa *a, const struct sts_tlsa *b)
{
	return a->usage == b->usage && a->selector == b->selector && a->matching == b->matching &&
	       span_equal(a->data, b->data);
}

static void check_matches(const struct sts_tlsa_set *set, const struct sts_tlsa *tlsa)
{
	uint8_t *other = malloc(tlsa->data.n);
	struct sts_certificate chain[2] = {{0}};
	struct sts_certificate certificate = certificate_of(tlsa, tlsa->data);
	struct sts_tlsa made =
		sts_tlsa_of(&certificate, tlsa->usage, tlsa->selector, tlsa->matching);
	size_t depth = tlsa->usage == STS_DANE_EE ? 0 : 1, found_depth = 9;
	const struct sts_tlsa *found;

	ASSERT(same(&made, tlsa));
	chain[depth] = certificate;
	found = sts_tlsa_match_chain(set, chain, COUNT_OF(chain), &found_depth);
	ASSERT(found != NULL && found_depth == depth && same(found, tlsa));
	found = sts_tlsa_match(set, &certificate, 1 - depth);
	ASSERT(found == NULL || found->usage != tlsa->usage);
	memcpy(other, tlsa->data.p, tlsa->data.n);
	other[tlsa->data.n - 1] ^= 1;
	certificate = certificate_of(tlsa, span_of(other, tlsa->data.n));
	found = sts_tlsa_match(set, &certificate, depth);
	ASSERT(found == NULL || !same(found, tlsa));
	free(other);
}

static void check_set(const struct span *records, size_t n)
{
	static struct sts_tlsa_set set;
	enum sts_tlsa_verdict verdict = sts_tlsa_set_read(records, n, &set);

	ASSERT(set.n + set.unusable_n + set.weaker_n + set.dropped_n == n);
	ASSERT(set.n <= STS_TLSA_MAX);
	ASSERT((verdict == STS_TLSA_ABSENT) == (n == 0));
	ASSERT((verdict == STS_TLSA_AUTHENTICATE) == (set.n > 0));
	ASSERT((verdict == STS_TLSA_ENCRYPT) == (n > 0 && set.unusable_n == n));
	for (uint32_t i = 0; i < set.n; i++) {
		ASSERT(set.records[i].usage == STS_DANE_TA || set.records[i].usage == STS_DANE_EE);
		check_matches(&set, &set.records[i]);
	}
}

static void check_line(struct span record)
{
	static char storage[LINE_MAX];
	struct sts_tlsa tlsa;
	enum sts_tlsa_use use = sts_tlsa_read(record, &tlsa);
	struct buf out;

	ASSERT(*sts_tlsa_use_text(use) != '\0');
	ASSERT(use == STS_TLSA_SHORT || tlsa.data.n == record.n - 3);
	buf_init(&out, storage, sizeof(storage));
	if (sts_zone_tlsa(STS_TLSA_PREFIX, "mx.example", &tlsa, &out))
		ASSERT(buf_len(&out) > 2 * tlsa.data.n);
	else
		ASSERT(2 * tlsa.data.n + STS_TLSA_LINE_MAX > LINE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct span rest = span_of(data, n), records[RECORDS_MAX];
	size_t records_n = 0;

	while (rest.n >= 2 && records_n < RECORDS_MAX) {
		struct span length = span_take(&rest, 2);
		struct span record = span_take(&rest, (size_t)length.p[0] << 8 | length.p[1]);

		records[records_n++] = record;
		check_line(record);
	}
	check_set(records, records_n);
	return 0;
}
