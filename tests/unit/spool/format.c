/* SPDX-License-Identifier: MIT */
/* format.c -- the two headers: there and back, octet by octet, and what is refused. */
#include "image.h"

#include "base/crc32c.h"

static const struct spool_segment_header segment = {
	4, 7, 0x0123456789abcdef, 1700000000, 0xfeedbeef, SPOOL_PAGE};

static const struct spool_record records[] = {
	{SPOOL_RECORD_MESSAGE, SPOOL_FLAG_8BIT | SPOOL_FLAG_HELD, 1, 0xfedcba9876543210, 1, 100, 50,
		3, 1800000000, 0x12345678, 9},
	{SPOOL_RECORD_MESSAGE, SPOOL_FLAG_LARGE | SPOOL_FLAG_COPY | SPOOL_FLAG_BARE, UINT64_MAX, 1,
		UINT64_MAX, SPOOL_BODY_MAX, SPOOL_META_MAX, UINT32_MAX, UINT64_MAX, UINT32_MAX, 9},
	{SPOOL_RECORD_ATTEMPT, 0, 2, 3, 4, 0, 5, 6, 7, 8, 9},
	{SPOOL_RECORD_FINISHED, 0, 2, 3, 4, 0, 0, 6, 7, 8, 9},
};

Test(format, segment_header_there_and_back)
{
	uint8_t bytes[SPOOL_SEGMENT_HEADER];
	struct spool_segment_header read;

	spool_segment_header_write(bytes, &segment);
	cr_assert_eq(spool_segment_header_read(span_of(bytes, sizeof(bytes)), &read), 0);
	cr_assert_eq(read.version, segment.version);
	cr_assert_eq(read.shard, segment.shard);
	cr_assert_eq(read.seq, segment.seq);
	cr_assert_eq(read.created_s, segment.created_s);
	cr_assert_eq(read.salt, segment.salt);
	cr_assert_eq(read.page, segment.page);
}

/* As the table in format.h has it: who changes a place here changes the format. */
Test(format, segment_header_is_laid_out_as_written)
{
	static const uint8_t head[] = "PSTNSEG1\4\0\0\0\7\0\0\0\xef\xcd\xab\x89\x67\x45\x23\x01"
				      "\0\xf1\x53\x65\0\0\0\0\xef\xbe\xed\xfe\0\x10\0\0";
	uint8_t bytes[SPOOL_SEGMENT_HEADER];

	spool_segment_header_write(bytes, &segment);
	cr_assert_arr_eq(bytes, head, 40);
	for (size_t i = 40; i < 60; i++)
		cr_assert_eq(bytes[i], 0);
	cr_assert_eq(bytes[60] | bytes[61] << 8 | bytes[62] << 16 | (uint32_t)bytes[63] << 24,
		crc32c(0, span_of(bytes, 60)));
}

Test(format, segment_header_refused)
{
	uint8_t bytes[SPOOL_SEGMENT_HEADER];
	struct spool_segment_header read, newer = segment;

	for (size_t i = 0; i < sizeof(bytes) * 8; i++) {
		spool_segment_header_write(bytes, &segment);
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		cr_assert_eq(spool_segment_header_read(span_of(bytes, sizeof(bytes)), &read),
			i < 64 ? -EINVAL : -EBADMSG, "bit %zu", i);
	}
	spool_segment_header_write(bytes, &segment);
	for (size_t n = 0; n < sizeof(bytes); n++)
		cr_assert_eq(spool_segment_header_read(span_of(bytes, n), &read), -EINVAL);
	newer.version = SPOOL_FORMAT_VERSION + 1;
	spool_segment_header_write(bytes, &newer);
	cr_assert_eq(spool_segment_header_read(span_of(bytes, sizeof(bytes)), &read), -ENOTSUP);
	cr_assert_eq(read.version, SPOOL_FORMAT_VERSION + 1);
	newer.version = 3;
	spool_segment_header_write(bytes, &newer);
	cr_assert_eq(spool_segment_header_read(span_of(bytes, sizeof(bytes)), &read), -EBADMSG,
		"an older one had no pages");
	newer.version = 4;
	newer.page = 2 * SPOOL_PAGE;
	spool_segment_header_write(bytes, &newer);
	cr_assert_eq(spool_segment_header_read(span_of(bytes, sizeof(bytes)), &read), -EBADMSG,
		"nor has any other pages");
	newer.page = 0;
	newer.version = 1;
	spool_segment_header_write(bytes, &newer);
	cr_assert_eq(
		spool_segment_header_read(span_of(bytes, sizeof(bytes)), &read), 0, "an older one");
	newer.version = 0;
	spool_segment_header_write(bytes, &newer);
	cr_assert_eq(spool_segment_header_read(span_of(bytes, sizeof(bytes)), &read), -EBADMSG);
}

Test(format, record_there_and_back)
{
	for (size_t i = 0; i < COUNT_OF(records); i++) {
		uint8_t bytes[SPOOL_RECORD_HEADER], again[SPOOL_RECORD_HEADER];
		struct spool_record read;

		spool_record_write(bytes, &records[i]);
		cr_assert_eq(spool_record_read(span_of(bytes, sizeof(bytes)), 9, &read), 0);
		cr_assert_eq(read.type, records[i].type);
		cr_assert_eq(read.flags, records[i].flags);
		cr_assert_eq(read.batch, records[i].batch);
		cr_assert_eq(read.id, records[i].id);
		cr_assert_eq(read.real_s, records[i].real_s);
		cr_assert_eq(read.body_n, records[i].body_n);
		cr_assert_eq(read.meta_n, records[i].meta_n);
		cr_assert_eq(read.attempts, records[i].attempts);
		cr_assert_eq(read.due_s, records[i].due_s);
		cr_assert_eq(read.payload_crc, records[i].payload_crc);
		spool_record_write(again, &read);
		cr_assert_arr_eq(again, bytes, sizeof(bytes));
		cr_assert_eq(spool_record_read(span_of(bytes, sizeof(bytes)), 8, &read), -EBADMSG,
			"with another segment's salt it is no record");
	}
}

Test(format, record_bits_turned_and_cut_short)
{
	uint8_t bytes[SPOOL_RECORD_HEADER];
	struct spool_record read;

	for (size_t i = 0; i < sizeof(bytes) * 8; i++) {
		spool_record_write(bytes, &records[0]);
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		cr_assert_eq(spool_record_read(span_of(bytes, sizeof(bytes)), 9, &read), -EBADMSG,
			"bit %zu", i);
	}
	spool_record_write(bytes, &records[0]);
	for (size_t n = 0; n < sizeof(bytes); n++)
		cr_assert_eq(spool_record_read(span_of(bytes, n), 9, &read),
			n == 0 ? -ENODATA : -EBADMSG);
	memset(bytes, 0, sizeof(bytes));
	for (size_t n = 0; n <= sizeof(bytes); n++)
		cr_assert_eq(spool_record_read(span_of(bytes, n), 9, &read), -ENODATA);
	bytes[63] = 1;
	cr_assert_eq(spool_record_read(span_of(bytes, sizeof(bytes)), 9, &read), -EBADMSG);
}

/* Sound checksums over what the format does not have. */
Test(format, record_of_no_known_kind)
{
	static const struct spool_record wrong[] = {
		{.type = 0, .id = 1},
		{.type = 4, .id = 1},
		{.type = SPOOL_RECORD_MESSAGE, .flags = 32},
		{.type = SPOOL_RECORD_MESSAGE, .meta_n = SPOOL_META_MAX + 1},
		{.type = SPOOL_RECORD_MESSAGE, .body_n = SPOOL_BODY_MAX + 1},
		{.type = SPOOL_RECORD_MESSAGE, .body_n = UINT64_MAX},
		{.type = SPOOL_RECORD_ATTEMPT, .flags = SPOOL_FLAG_HELD},
		{.type = SPOOL_RECORD_ATTEMPT, .body_n = 1},
		{.type = SPOOL_RECORD_FINISHED, .flags = SPOOL_FLAG_LARGE},
		{.type = SPOOL_RECORD_FINISHED, .body_n = 1},
		{.type = SPOOL_RECORD_FINISHED, .meta_n = 1},
	};
	uint8_t bytes[SPOOL_RECORD_HEADER];
	struct spool_record read;

	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		spool_record_write(bytes, &wrong[i]);
		cr_assert_eq(spool_record_read(span_of(bytes, sizeof(bytes)), 0, &read), -EBADMSG,
			"row %zu", i);
	}
}

Test(format, record_octets_in_the_log)
{
	static const struct {
		uint8_t flags;
		uint32_t meta_n;
		uint64_t body_n;
		uint64_t bytes;
	} rows[] = {
		{0, 0, 0, 64},
		{0, 1, 0, 72},
		{0, 8, 0, 72},
		{0, 7, 2, 80},
		{SPOOL_FLAG_LARGE, 8, 1000, 72},
		{0, SPOOL_META_MAX, SPOOL_BODY_MAX, 64 + SPOOL_META_MAX + SPOOL_BODY_MAX},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct spool_record record = {
			.flags = rows[i].flags, .meta_n = rows[i].meta_n, .body_n = rows[i].body_n};

		cr_assert_eq(spool_record_bytes(&record), rows[i].bytes, "row %zu", i);
	}
}

Test(format, queue_ids_as_text)
{
	static const struct {
		const char *text;
		bool good;
		uint64_t id;
	} rows[] = {
		{"0", true, 0},
		{"00000000000000FF", true, 255},
		{"ff", true, 255},
		{"FFFFFFFFFFFFFFFF", true, UINT64_MAX},
		{"", false, 0},
		{"1FFFFFFFFFFFFFFFF", false, 0},
		{"0x1", false, 0},
		{"G", false, 0},
		{" 1", false, 0},
	};
	char text[SPOOL_ID_MAX];
	uint64_t id;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		cr_assert_eq(spool_id_parse(rows[i].text, &id), rows[i].good, "%s", rows[i].text);
		cr_assert(!rows[i].good || id == rows[i].id, "%s", rows[i].text);
	}
	spool_id_text(0xfedcba9876543210, text);
	cr_assert_str_eq(text, "FEDCBA9876543210");
	spool_id_text(1, text);
	cr_assert_str_eq(text, "0000000000000001");
}
