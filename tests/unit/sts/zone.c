/* SPDX-License-Identifier: MIT */
/* zone.c -- tests: lines for a zone file, to the letter. */
#include "sts/sts.h"

#include <criterion/criterion.h>

#define Y50 "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"

Test(zone, txt)
{
	static const struct {
		const char *section;
		const char *text;
		const char *line;
	} rows[] = {
		{"8461 3.1", "v=STSv1; id=a;", "_mta-sts.a.example. IN TXT \"v=STSv1; id=a;\""},
		{"1035 5.1", "", "_mta-sts.a.example. IN TXT \"\""},
		{"1035 5.1", "a\"b\\c", "_mta-sts.a.example. IN TXT \"a\\\"b\\\\c\""},
		{"1035 5.1", "a\nb\x7f\xc3\xa4",
			"_mta-sts.a.example. IN TXT \"a\\010b\\127\\195\\164\""},
		{"1035 3.3", Y50 Y50 Y50 Y50 Y50 "12345",
			"_mta-sts.a.example. IN TXT \"" Y50 Y50 Y50 Y50 Y50 "12345\""},
		{"1035 3.3", Y50 Y50 Y50 Y50 Y50 "123456",
			"_mta-sts.a.example. IN TXT \"" Y50 Y50 Y50 Y50 Y50 "12345\" \"6\""},
	};
	uint8_t storage[512];

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct buf out;

		buf_init(&out, storage, sizeof(storage));
		cr_expect(
			sts_zone_txt(STS_RECORD_PREFIX, "a.example", span_str(rows[i].text), &out));
		cr_expect(span_equal(buf_span(&out), span_str(rows[i].line)), "row %zu, RFC %s", i,
			rows[i].section);
		buf_init(&out, storage, strlen(rows[i].line) - 1);
		cr_expect(!sts_zone_txt(
			STS_RECORD_PREFIX, "a.example", span_str(rows[i].text), &out));
	}
}

/* RFC 6698 2.2, RFC 7672 2.2.3. */
Test(zone, tlsa)
{
	static const uint8_t digest[32] = {0x01, 0x23, 0xab, 0xcd, [31] = 0xff};
	static const struct sts_certificate certificate = {
		.spki_sha256 = {.p = digest, .n = sizeof(digest)}};
	static const char line[] = "_25._tcp.mx.a.example. IN TLSA 3 1 1 0123abcd"
				   "000000000000000000000000000000000000000000000000000000ff";
	uint8_t storage[STS_TLSA_LINE_MAX];
	struct sts_tlsa tlsa =
		sts_tlsa_of(&certificate, STS_DANE_EE, STS_SELECT_SPKI, STS_MATCH_SHA256);
	struct buf out;

	buf_init(&out, storage, sizeof(storage));
	cr_expect(sts_zone_tlsa(STS_TLSA_PREFIX, "mx.a.example", &tlsa, &out));
	cr_expect(span_equal(buf_span(&out), span_str(line)), "%.*s", (int)buf_len(&out), storage);
	buf_init(&out, storage, sizeof(line) - 1);
	cr_expect(!sts_zone_tlsa(STS_TLSA_PREFIX, "mx.a.example", &tlsa, &out));
}

Test(zone, longest_tlsa_line_has_room)
{
	static const uint8_t digest[64] = {0xff};
	static const struct sts_certificate certificate = {
		.der_sha512 = {.p = digest, .n = sizeof(digest)}};
	uint8_t storage[STS_TLSA_LINE_MAX];
	char name[STS_NAME_MAX + 1];
	struct sts_tlsa tlsa =
		sts_tlsa_of(&certificate, STS_DANE_TA, STS_SELECT_CERT, STS_MATCH_SHA512);
	struct buf out;

	memset(name, 'a', STS_NAME_MAX);
	name[STS_NAME_MAX] = '\0';
	buf_init(&out, storage, sizeof(storage));
	cr_expect(sts_zone_tlsa(STS_TLSA_PREFIX, name, &tlsa, &out));
}
