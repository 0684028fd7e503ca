/* SPDX-License-Identifier: MIT */
/* record.c -- tests: the _mta-sts record found, read and written. */
#include "sts/sts.h"

#include "tests/unit/sts/wire.h"

#define ID32 "0123456789abcdefghijABCDEFGHIJxy"

Test(record, read)
{
	static const struct {
		const char *section;
		const char *texts[WIRE_RECORDS];
		enum sts_record_error error;
		const char *id; /* of a good one */
	} rows[] = {
		{"8461 3.1", {"v=STSv1; id=20160831085700Z;"}, STS_RECORD_OK, "20160831085700Z"},
		{"8461 3.1", {"v=STSv1;id=a"}, STS_RECORD_OK, "a"},
		{"8461 3.1", {"v=STSv1; \t id=a  \t; \t "}, STS_RECORD_OK, "a"},
		{"8461 3.1", {"v=STSv1; id=" ID32}, STS_RECORD_OK, ID32},
		{"8461 3.1", {"v=STSv1; id=00"}, STS_RECORD_OK, "00"},
		/* other fields, in any order, are skipped */
		{"8461 3.1", {"v=STSv1; id=a; more=b; ext=2;"}, STS_RECORD_OK, "a"},
		{"8461 3.1", {"v=STSv1; more=b; id=a"}, STS_RECORD_OK, "a"},
		{"8461 3.1", {"v=STSv1; x.y-z_0=!\"#%~:,; id=a"}, STS_RECORD_OK, "a"},
		{"8461 3.2", {"v=STSv1; id=a; id=b"}, STS_RECORD_OK, "a"},
		{"8461 3.2", {"v=STSv1; id=a; id=not-an-id"}, STS_RECORD_OK, "a"},
		{"8461 3.2", {"v=STSv1; id=a; v=STSv2"}, STS_RECORD_OK, "a"},
		/* strings are joined as they are */
		{"8461 3.1", {"v=ST|Sv1; id=20|16"}, STS_RECORD_OK, "2016"},
		{"8461 3.1", {"v|=|S||TSv1;| id=20|16;|"}, STS_RECORD_OK, "2016"},
		{"8461 3.1", {"v=STSv1; id=20| 16"}, STS_RECORD_ID, NULL},
		/* records that are others' */
		{"8461 3.1", {NULL}, STS_RECORD_NONE, NULL},
		{"8461 3.1", {""}, STS_RECORD_NONE, NULL},
		{"8461 3.1", {"v=spf1 -all"}, STS_RECORD_NONE, NULL},
		{"8461 3.1", {"v=STSv1"}, STS_RECORD_NONE, NULL},
		{"8461 3.1", {"v=STSv1 "}, STS_RECORD_NONE, NULL},
		{"8461 3.1", {"v=STSv10; id=a"}, STS_RECORD_NONE, NULL},
		{"8461 3.1", {"v=STSv2; id=a"}, STS_RECORD_NONE, NULL},
		{"8461 3.1", {"v=stsv1; id=a"}, STS_RECORD_NONE, NULL},
		{"8461 3.1", {"V=STSv1; id=a"}, STS_RECORD_NONE, NULL},
		{"8461 3.1", {"v = STSv1; id=a"}, STS_RECORD_NONE, NULL},
		{"8461 3.1", {" v=STSv1; id=a"}, STS_RECORD_NONE, NULL},
		{"8461 3.1", {"id=a; v=STSv1;"}, STS_RECORD_NONE, NULL},
		{"8461 3.1", {"v=spf1 -all", "v=STSv1; id=a", "x", "v=STSv2; id=b"}, STS_RECORD_OK,
			"a"},
		{"8461 3.1", {"v=STSv1; id=a", "v=STSv1; id=b"}, STS_RECORD_SEVERAL, NULL},
		{"8461 3.1", {"v=STSv1; id=a", "x", "v=STSv1; id=a"}, STS_RECORD_SEVERAL, NULL},
		{"8461 3.1", {"v=STSv1; id=a", "v=STSv1; id=!"}, STS_RECORD_SEVERAL, NULL},
		/* broken ones */
		{"8461 3.1", {"v=STSv1;"}, STS_RECORD_NO_ID, NULL},
		{"8461 3.1", {"v=STSv1; "}, STS_RECORD_NO_ID, NULL},
		{"8461 3.1", {"v=STSv1; ext=1"}, STS_RECORD_NO_ID, NULL},
		{"8461 3.1", {"v=STSv1; ID=a"}, STS_RECORD_NO_ID, NULL},
		{"8461 3.1", {"v=STSv1; id=" ID32 "z"}, STS_RECORD_ID, NULL},
		{"8461 3.1", {"v=STSv1; id=2016-08-31"}, STS_RECORD_ID, NULL},
		{"8461 3.1", {"v=STSv1; id=\xc3\xa4"}, STS_RECORD_ID, NULL},
		{"8461 3.1", {"v=STSv1; id=a=b"}, STS_RECORD_ID, NULL},
		{"8461 3.2", {"v=STSv1; id=!; id=a"}, STS_RECORD_ID, NULL},
		{"8461 3.1", {"v=STSv1; id="}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1; id =a"}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1; id= a"}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1; id=a "}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1; id"}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1; =a; id=a"}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1;; id=a"}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1; id=a;;"}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1; id=a; ;"}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1; id=a; more="}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1; id=a; test=="}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1; id=a; x=a b"}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1; id=a; x=\xc3\xa4"}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1; id=a; 1%=a"}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1; id=a; " ID32 "z=a"}, STS_RECORD_FIELD, NULL},
		{"8461 3.1", {"v=STSv1, id=a"}, STS_RECORD_NONE, NULL},
		{"8461 3.1", {"v=STSv1; id=a, x=b"}, STS_RECORD_ID, NULL},
	};
	static struct wire wire;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sts_record record = {.id = "left"};
		enum sts_record_error error;

		wire_set(&wire, rows[i].texts);
		error = sts_record_read(wire.records, wire.n, &record);
		cr_expect_eq(error, rows[i].error, "row %zu, RFC %s: %s", i, rows[i].section,
			sts_record_error_text(error));
		cr_expect_str_eq(record.id, rows[i].id != NULL ? rows[i].id : "", "row %zu", i);
		cr_expect(!record.blank, "row %zu", i);
	}
}

/* RFC 8461 3.1 says two things about a blank there (erratum 6285). */
Test(record, blank_before_the_semicolon)
{
	static const char *const texts[WIRE_RECORDS] = {"v=STSv1 \t; id=a;"};
	static struct wire wire;
	struct sts_record record;

	wire_set(&wire, texts);
	cr_expect_eq(sts_record_read(wire.records, wire.n, &record), STS_RECORD_OK);
	cr_expect_str_eq(record.id, "a");
	cr_expect(record.blank);
}

/* RFC 1035 3.3.14: strings behind their lengths. */
Test(record, broken_data)
{
	static const struct {
		struct span record;
		enum sts_record_error error;
	} rows[] = {
		{{(const uint8_t *)"", 0}, STS_RECORD_NONE},
		{{(const uint8_t *)"\0", 1}, STS_RECORD_NONE},
		{{(const uint8_t *)"\xff", 1}, STS_RECORD_NONE},
		{{(const uint8_t *)"\x0dv=STSv1; id=a", 14}, STS_RECORD_OK},
		{{(const uint8_t *)"\x0ev=STSv1; id=a", 14}, STS_RECORD_NONE},
		{{(const uint8_t *)"\x0cv=STSv1; id=a", 14}, STS_RECORD_NONE},
		{{(const uint8_t *)"\x0ev=STSv1; id=a\0", 15}, STS_RECORD_ID},
		{{(const uint8_t *)"\x10v=STSv1; x\0=b;id=a", 17}, STS_RECORD_FIELD},
		{{(const uint8_t *)"\x08v=STSv1\0", 9}, STS_RECORD_NONE},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sts_record record;

		cr_expect_eq(
			sts_record_read(&rows[i].record, 1, &record), rows[i].error, "row %zu", i);
	}
}

Test(record, lengths)
{
	static const struct {
		size_t octets;
		enum sts_record_error error;
	} rows[] = {
		{STS_TXT_MAX, STS_RECORD_OK},
		{STS_TXT_MAX + 1, STS_RECORD_LONG},
		{STS_TXT_MAX + 1000, STS_RECORD_LONG},
	};
	static const char start[] = "v=STSv1; id=a; x=";
	static struct wire wire;
	static uint8_t text[STS_TXT_MAX + 1000];

	memset(text, 'y', sizeof(text));
	memcpy(text, start, sizeof(start) - 1);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sts_record record;

		wire.n = 0;
		wire_add(&wire, span_of(text, rows[i].octets));
		cr_expect_eq(sts_record_read(wire.records, 1, &record), rows[i].error, "%zu",
			rows[i].octets);
	}
	/* a stranger's long record is no reason to miss ours */
	wire.n = 0;
	text[0] = 'w';
	wire_add(&wire, span_of(text, sizeof(text)));
	wire_add(&wire, span_str("v=STSv1; id=a"));
	cr_expect_eq(sts_record_read(wire.records, 2, &(struct sts_record){0}), STS_RECORD_OK);
}

Test(record, errors_have_sentences)
{
	for (enum sts_record_error i = 0; i < STS_RECORD_ERRORS; i++)
		cr_expect(sts_record_error_text(i) != NULL && *sts_record_error_text(i) != '\0');
}

Test(record, ids)
{
	static const struct {
		const char *id;
		bool valid;
	} rows[] = {
		{"a", true},
		{"20160831085700Z", true},
		{ID32, true},
		{ID32 "z", false},
		{"", false},
		{"a b", false},
		{"a-b", false},
		{"\xc3\xa4", false},
	};
	static const uint8_t digest[] = {0x00, 0x01, 0x0f, 0x10, 0x7f, 0x80, 0xff, 0xfe, 0xde, 0xad,
		0xbe, 0xef, 0x12, 0x34, 0x56, 0x78, 0x99, 0x99};
	char id[STS_ID_MAX + 1];

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(sts_id_valid(span_str(rows[i].id)), rows[i].valid, "%s", rows[i].id);
	sts_id_make(span_of(digest, sizeof(digest)), id);
	cr_expect_str_eq(id, "00010f107f80fffedeadbeef12345678");
	cr_expect(sts_id_valid(span_str(id)));
}

Test(record, written_and_read_again)
{
	static struct wire wire;
	uint8_t storage[64];
	struct sts_record record;
	struct buf out;

	buf_init(&out, storage, sizeof(storage));
	cr_assert(sts_record_write(span_str(ID32), &out));
	cr_expect(span_equal(buf_span(&out), span_str("v=STSv1; id=" ID32 ";")));
	wire_add(&wire, buf_span(&out));
	cr_expect_eq(sts_record_read(wire.records, 1, &record), STS_RECORD_OK);
	cr_expect_str_eq(record.id, ID32);
	buf_init(&out, storage, strlen("v=STSv1; id=" ID32));
	cr_expect(!sts_record_write(span_str(ID32), &out));
}
