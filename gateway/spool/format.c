/* SPDX-License-Identifier: MIT */
/*
 * format.c -- the two headers of a segment, octet by octet as format.h lists them; and queue ids as
 * text, since file names hold them.
 *
 * Reading is strict: what the format does not name is refused, so that an octet that changed on disk
 * is found by the checksum or not at all. Not its job: what follows a header (scan.c, meta.c).
 */
#include "spool/format.h"

#include <errno.h>

#include "base/crc32c.h"
#include "spool/spool.h"

static const uint8_t segment_magic[8] = {'P', 'S', 'T', 'N', 'S', 'E', 'G', '1'};
static const uint8_t record_magic[4] = {'P', 'S', 'T', 'R'};

enum { /* places in the segment header */
	SEGMENT_VERSION = 8,
	SEGMENT_SHARD = 12,
	SEGMENT_SEQ = 16,
	SEGMENT_CREATED = 24,
	SEGMENT_SALT = 32,
	SEGMENT_PAGE = 36,
	SEGMENT_ZERO = 40,
	SEGMENT_CRC = 60
};

enum { /* and in a record's */
	RECORD_TYPE = 4,
	RECORD_FLAGS = 5,
	RECORD_ZERO = 6,
	RECORD_BATCH = 8,
	RECORD_ID = 16,
	RECORD_REAL = 24,
	RECORD_BODY_N = 32,
	RECORD_META_N = 40,
	RECORD_ATTEMPTS = 44,
	RECORD_DUE = 48,
	RECORD_PAYLOAD_CRC = 56,
	RECORD_CRC = 60
};

static void put(uint8_t *out, uint64_t value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *p, size_t n)
{
	uint64_t value = 0;

	for (size_t i = n; i-- > 0;)
		value = value << 8 | p[i];
	return value;
}

static bool is_zero(struct span bytes)
{
	for (size_t i = 0; i < bytes.n; i++)
		if (bytes.p[i] != 0)
			return false;
	return true;
}

/* ---- segment header ---- */

void spool_segment_header_write(
	uint8_t out[SPOOL_SEGMENT_HEADER], const struct spool_segment_header *header)
{
	memset(out, 0, SPOOL_SEGMENT_HEADER);
	memcpy(out, segment_magic, sizeof(segment_magic));
	put(out + SEGMENT_VERSION, header->version, 4);
	put(out + SEGMENT_SHARD, header->shard, 4);
	put(out + SEGMENT_SEQ, header->seq, 8);
	put(out + SEGMENT_CREATED, header->created_s, 8);
	put(out + SEGMENT_SALT, header->salt, 4);
	put(out + SEGMENT_PAGE, header->page, 4);
	put(out + SEGMENT_CRC, crc32c(0, span_of(out, SEGMENT_CRC)), 4);
}

int spool_segment_header_read(struct span bytes, struct spool_segment_header *out)
{
	const uint8_t *p = bytes.p;

	memset(out, 0, sizeof(*out));
	if (bytes.n < SPOOL_SEGMENT_HEADER || memcmp(p, segment_magic, sizeof(segment_magic)) != 0)
		return -EINVAL;
	if (get(p + SEGMENT_CRC, 4) != crc32c(0, span_of(p, SEGMENT_CRC)))
		return -EBADMSG;
	out->version = (uint32_t)get(p + SEGMENT_VERSION, 4);
	if (out->version > SPOOL_FORMAT_VERSION)
		return -ENOTSUP;
	out->shard = (uint32_t)get(p + SEGMENT_SHARD, 4);
	out->seq = get(p + SEGMENT_SEQ, 8);
	out->created_s = get(p + SEGMENT_CREATED, 8);
	out->salt = (uint32_t)get(p + SEGMENT_SALT, 4);
	out->page = (uint32_t)get(p + SEGMENT_PAGE, 4);
	if (out->page != 0 && (out->version < 4 || out->page != SPOOL_PAGE))
		return -EBADMSG;
	if (out->version == 0 || !is_zero(span_of(p + SEGMENT_ZERO, SEGMENT_CRC - SEGMENT_ZERO)))
		return -EBADMSG;
	return 0;
}

uint64_t spool_segment_begin(uint32_t page)
{
	return page != 0 ? page : SPOOL_SEGMENT_HEADER;
}

/* ---- record header ---- */

void spool_record_write(uint8_t out[SPOOL_RECORD_HEADER], const struct spool_record *record)
{
	memset(out, 0, SPOOL_RECORD_HEADER);
	memcpy(out, record_magic, sizeof(record_magic));
	out[RECORD_TYPE] = record->type;
	out[RECORD_FLAGS] = record->flags;
	put(out + RECORD_BATCH, record->batch, 8);
	put(out + RECORD_ID, record->id, 8);
	put(out + RECORD_REAL, record->real_s, 8);
	put(out + RECORD_BODY_N, record->body_n, 8);
	put(out + RECORD_META_N, record->meta_n, 4);
	put(out + RECORD_ATTEMPTS, record->attempts, 4);
	put(out + RECORD_DUE, record->due_s, 8);
	put(out + RECORD_PAYLOAD_CRC, record->payload_crc, 4);
	put(out + RECORD_CRC, crc32c(record->salt, span_of(out, RECORD_CRC)), 4);
}

/* What the types allow. */
static bool record_is_sane(const struct spool_record *record)
{
	const unsigned flags = SPOOL_FLAG_LARGE | SPOOL_FLAG_8BIT | SPOOL_FLAG_BARE |
			       SPOOL_FLAG_COPY | SPOOL_FLAG_HELD;

	if (record->meta_n > SPOOL_META_MAX || record->body_n > SPOOL_BODY_MAX)
		return false;
	switch (record->type) {
	case SPOOL_RECORD_MESSAGE:
		return (record->flags & ~flags) == 0;
	case SPOOL_RECORD_ATTEMPT:
		return record->flags == 0 && record->body_n == 0;
	case SPOOL_RECORD_FINISHED:
		return record->flags == 0 && record->body_n == 0 && record->meta_n == 0;
	default:
		return false;
	}
}

int spool_record_read(struct span bytes, uint32_t salt, struct spool_record *out)
{
	const uint8_t *p = bytes.p;

	memset(out, 0, sizeof(*out));
	if (bytes.n < SPOOL_RECORD_HEADER)
		return is_zero(bytes) ? -ENODATA : -EBADMSG;
	if (memcmp(p, record_magic, sizeof(record_magic)) != 0)
		return is_zero(span_of(p, SPOOL_RECORD_HEADER)) ? -ENODATA : -EBADMSG;
	if (get(p + RECORD_CRC, 4) != crc32c(salt, span_of(p, RECORD_CRC)))
		return -EBADMSG;
	*out = (struct spool_record){
		.type = p[RECORD_TYPE],
		.flags = p[RECORD_FLAGS],
		.batch = get(p + RECORD_BATCH, 8),
		.id = get(p + RECORD_ID, 8),
		.real_s = get(p + RECORD_REAL, 8),
		.body_n = get(p + RECORD_BODY_N, 8),
		.meta_n = (uint32_t)get(p + RECORD_META_N, 4),
		.attempts = (uint32_t)get(p + RECORD_ATTEMPTS, 4),
		.due_s = get(p + RECORD_DUE, 8),
		.payload_crc = (uint32_t)get(p + RECORD_PAYLOAD_CRC, 4),
		.salt = salt,
	};
	if (!is_zero(span_of(p + RECORD_ZERO, RECORD_BATCH - RECORD_ZERO)) || !record_is_sane(out))
		return -EBADMSG;
	return 0;
}

uint64_t spool_record_bytes(const struct spool_record *record)
{
	uint64_t body_n = record->flags & SPOOL_FLAG_LARGE ? 0 : record->body_n;

	return (SPOOL_RECORD_HEADER + (uint64_t)record->meta_n + body_n + 7) & ~(uint64_t)7;
}

/* ---- queue ids ---- */

void spool_id_text(uint64_t id, char text[SPOOL_ID_MAX])
{
	static const char digits[] = "0123456789ABCDEF";

	for (int i = 0; i < 16; i++)
		text[i] = digits[(id >> (60 - 4 * i)) & 0xf];
	text[16] = '\0';
}

bool spool_id_parse(const char *text, uint64_t *id)
{
	uint64_t value = 0;
	size_t n = 0;

	for (; text[n] != '\0'; n++) {
		char c = text[n];
		unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
				 : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
				 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
							: 16;

		if (digit > 15 || n == 16)
			return false;
		value = value << 4 | digit;
	}
	*id = value;
	return n > 0;
}
