/* SPDX-License-Identifier: MIT */
/*
 * tlsa.c -- TLSA records: read, judged for mail, matched (RFC 6698 2.1, RFC 7671 4 to 9, RFC 7672
 * 2.2, 3.1).
 *
 * Unusable is what we do not know or what is broken; a set of such records only still says that the
 * MX has TLS. So a digest of a wrong length must be told apart from one that does not match: the
 * first asks for encryption alone, the second stops the mail. For full data the same question is
 * whether it can be a certificate or a key: one DER SEQUENCE, no more and no less. Whether it is
 * one is not asked; then nothing matches it, and mail waits.
 */
#include "sts/sts-private.h"

#define SHA256_OCTETS 32
#define SHA512_OCTETS 64
#define DER_SEQUENCE  0x30

static const char *const uses[STS_TLSA_USES] = {
	[STS_TLSA_USABLE] = "the record can be used",
	[STS_TLSA_SHORT] = "the record is too short",
	[STS_TLSA_PKIX] = "usages 0 and 1 are not for mail",
	[STS_TLSA_USAGE] = "the certificate usage is not known",
	[STS_TLSA_SELECTOR] = "the selector is not known",
	[STS_TLSA_MATCHING] = "the matching type is not known",
	[STS_TLSA_LENGTH] = "the data has not the digest's length",
	[STS_TLSA_DER] = "the data is neither a certificate nor a public key",
};

const char *sts_tlsa_use_text(enum sts_tlsa_use use)
{
	ASSERT(use < STS_TLSA_USES);
	return uses[use];
}

/* One SEQUENCE in DER that is all of the data (X.690 8.1.3, 10.1). */
static bool der_sequence(struct span data)
{
	size_t octets, length = 0;

	if (data.n < 2 || data.p[0] != DER_SEQUENCE)
		return false;
	octets = data.p[1] < 0x80 ? 0 : data.p[1] & 0x7fu;
	if (data.p[1] < 0x80)
		return data.n == 2 + (size_t)data.p[1];
	if (octets == 0 || octets > 3 || data.n < 2 + octets || data.p[2] == 0)
		return false;
	for (size_t i = 0; i < octets; i++)
		length = length << 8 | data.p[2 + i];
	return length >= 0x80 && data.n == 2 + octets + length;
}

enum sts_tlsa_use sts_tlsa_read(struct span record, struct sts_tlsa *out)
{
	*out = (struct sts_tlsa){0};
	if (record.n < 4)
		return STS_TLSA_SHORT;
	out->usage = record.p[0];
	out->selector = record.p[1];
	out->matching = record.p[2];
	out->data = span_of(record.p + 3, record.n - 3);
	if (out->usage == STS_PKIX_TA || out->usage == STS_PKIX_EE)
		return STS_TLSA_PKIX;
	if (out->usage > STS_DANE_EE)
		return STS_TLSA_USAGE;
	if (out->selector > STS_SELECT_SPKI)
		return STS_TLSA_SELECTOR;
	switch (out->matching) {
	case STS_MATCH_FULL:
		return der_sequence(out->data) ? STS_TLSA_USABLE : STS_TLSA_DER;
	case STS_MATCH_SHA256:
		return out->data.n == SHA256_OCTETS ? STS_TLSA_USABLE : STS_TLSA_LENGTH;
	case STS_MATCH_SHA512:
		return out->data.n == SHA512_OCTETS ? STS_TLSA_USABLE : STS_TLSA_LENGTH;
	default:
		return STS_TLSA_MATCHING;
	}
}

static bool has_stronger(const struct sts_tlsa_set *set, const struct sts_tlsa *tlsa)
{
	if (tlsa->matching != STS_MATCH_SHA256)
		return false;
	for (uint32_t i = 0; i < set->n; i++) {
		const struct sts_tlsa *other = &set->records[i];

		if (other->usage == tlsa->usage && other->selector == tlsa->selector &&
			other->matching == STS_MATCH_SHA512)
			return true;
	}
	return false;
}

/* Of the same usage and selector, SHA-512 beside SHA-256 is what counts (RFC 7671 9). */
static void weaker_drop(struct sts_tlsa_set *set)
{
	struct sts_tlsa kept[STS_TLSA_MAX];
	uint32_t n = 0;

	for (uint32_t i = 0; i < set->n; i++)
		if (!has_stronger(set, &set->records[i]))
			kept[n++] = set->records[i];
	set->weaker_n = set->n - n;
	memcpy(set->records, kept, n * sizeof(*kept));
	set->n = n;
}

enum sts_tlsa_verdict sts_tlsa_set_read(
	const struct span *records, size_t n, struct sts_tlsa_set *set)
{
	memset(set, 0, sizeof(*set));
	for (size_t i = 0; i < n; i++) {
		struct sts_tlsa tlsa;

		if (sts_tlsa_read(records[i], &tlsa) != STS_TLSA_USABLE)
			set->unusable_n++;
		else if (set->n == STS_TLSA_MAX)
			set->dropped_n++;
		else
			set->records[set->n++] = tlsa;
	}
	weaker_drop(set);
	if (n == 0)
		return STS_TLSA_ABSENT;
	return set->n > 0 ? STS_TLSA_AUTHENTICATE : STS_TLSA_ENCRYPT;
}

/* The octets of a certificate that a record with these numbers is about. */
static struct span selected(
	const struct sts_certificate *certificate, uint8_t selector, uint8_t matching)
{
	const struct span *const all[][3] = {
		[STS_SELECT_CERT] = {&certificate->der, &certificate->der_sha256,
			&certificate->der_sha512},
		[STS_SELECT_SPKI] = {&certificate->spki, &certificate->spki_sha256,
			&certificate->spki_sha512},
	};

	ASSERT(selector <= STS_SELECT_SPKI && matching <= STS_MATCH_SHA512);
	return *all[selector][matching];
}

const struct sts_tlsa *sts_tlsa_match(
	const struct sts_tlsa_set *set, const struct sts_certificate *certificate, size_t depth)
{
	uint8_t usage = depth == 0 ? STS_DANE_EE : STS_DANE_TA;

	for (uint32_t i = 0; i < set->n; i++) {
		const struct sts_tlsa *tlsa = &set->records[i];

		if (tlsa->usage == usage &&
			span_equal(
				tlsa->data, selected(certificate, tlsa->selector, tlsa->matching)))
			return tlsa;
	}
	return NULL;
}

const struct sts_tlsa *sts_tlsa_match_chain(const struct sts_tlsa_set *set,
	const struct sts_certificate *chain, size_t n, size_t *depth)
{
	for (size_t i = 0; i < n; i++) {
		const struct sts_tlsa *tlsa = sts_tlsa_match(set, &chain[i], i);

		if (tlsa != NULL) {
			*depth = i;
			return tlsa;
		}
	}
	return NULL;
}

struct sts_tlsa sts_tlsa_of(const struct sts_certificate *certificate, enum sts_tlsa_usage usage,
	enum sts_tlsa_selector selector, enum sts_tlsa_matching matching)
{
	return (struct sts_tlsa){
		.usage = (uint8_t)usage,
		.selector = (uint8_t)selector,
		.matching = (uint8_t)matching,
		.data = selected(certificate, (uint8_t)selector, (uint8_t)matching),
	};
}
