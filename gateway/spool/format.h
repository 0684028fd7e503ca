/* SPDX-License-Identifier: MIT */
/*
 * format.h -- what stands in a segment. Integers are little-endian; records begin at
 * multiples of 8 octets.
 *
 * A segment is SPOOL_SEGMENT_HEADER octets, then records, then zeros or the end of the file. One that
 * is written in pages, past the page cache, may have had another life before: its header fills a page,
 * each commit begins on a page and has a page of zeros behind it, which the next commit overwrites;
 * what stands behind that is left from before and means nothing (its salt is another).
 *
 *	segment header (64)
 *	at  n
 *	0   8	magic "PSTNSEG1"
 *	8   4	version of the format: 4. A reader refuses a greater one
 *	12  4	shard
 *	16  8	SEQ, as in the file's name
 *	24  8	created, seconds since 1970
 *	32  4	salt: random; what peers send cannot be made to look like a record
 *	36  4	octets of a page: 4096, or 0: not in pages
 *	40  20	zero
 *	60  4	CRC32C of octets 0 to 59
 *
 *	record header (64)
 *	0   4	magic "PSTR"
 *	4   1	type: 1 message, 2 attempt, 3 finished
 *	5   1	flags of a message: 1 large (body in large/ID), 2 has 8-bit octets, 4 has bare CR
 *		or LF, 8 is a copy (moved from an older segment), 16 held
 *	6   2	zero
 *	8   8	batch: rises by one with every commit of the shard
 *	16  8	queue id
 *	24  8	seconds since 1970: arrival of a message, time of an attempt
 *	32  8	octets of the body (message; not in the log when large), else 0
 *	40  4	octets of the meta part
 *	44  4	attempts so far
 *	48  8	due: not tried before, seconds since 1970
 *	56  4	CRC32C of what follows the header: meta and, unless large, body
 *	60  4	CRC32C of octets 0 to 59, going on from the segment's salt
 *	64	meta, body, zeros up to a multiple of 8
 *
 *	meta of a message: u8 body kind, u8 ret, u8 smtputf8, u8 TLS (1 REQUIRETLS,
 *	2 "TLS-Required: No"), u32 recipients, u64 SIZE=,
 *	then strings (u16 length, octets): reverse-path, ENVID; then for each recipient u8 fate,
 *	u8 NOTIFY, u8 warned, u8 zero, string address, string ORCPT
 *	meta of an attempt: u8 flags (1 held, 2 counts), u8 zero, u16 zero, u32 changes, for each
 *	u32 recipient, u8 fate, u8 warned, u16 zero; then strings: next hop, text
 *	meta of a finished: empty
 *
 * Later records about an id change what earlier ones said; a copy replaces what was known but for
 * fates that are final. Everything about a message stands in one shard, so that a shard's segments
 * can go oldest first: a segment goes when it is the oldest and no message in it is live.
 *
 * After a crash the tail of the newest batch may be torn. A bad record of an older batch is damage:
 * a batch is written only once the one before it was synced.
 *
 * A format with another number keeps the segment header's magic, version and CRC where they are, so
 * that a newer one is known from a damaged one. Version 1 had a zero for TLS, version 2 no 2, version 3
 * no pages: they are read as they are, and not written any more. What version 4 does not know (a type,
 * a flag, a non-zero octet that should be zero) is damage in it: whoever adds something raises the
 * version.
 */
#ifndef POSTERN_SPOOL_FORMAT_H
#define POSTERN_SPOOL_FORMAT_H

#include "base/span.h"
#include "smtp/envelope.h"

#define SPOOL_FORMAT_VERSION 4
#define SPOOL_SEGMENT_HEADER 64
#define SPOOL_RECORD_HEADER  64
#define SPOOL_PAGE           4096
#define SPOOL_META_MAX       (64u << 20) /* recipients_max of full length fit */
#define SPOOL_BODY_MAX       ((uint64_t)1 << 48)

enum spool_record_type {
	SPOOL_RECORD_MESSAGE = 1,
	SPOOL_RECORD_ATTEMPT = 2,
	SPOOL_RECORD_FINISHED = 3,
};

enum {
	SPOOL_FLAG_LARGE = 1,
	SPOOL_FLAG_8BIT = 2,
	SPOOL_FLAG_BARE = 4,
	SPOOL_FLAG_COPY = 8,
	SPOOL_FLAG_HELD = 16
};

struct spool_segment_header {
	uint32_t version;
	uint32_t shard;
	uint64_t seq;
	uint64_t created_s;
	uint32_t salt;
	uint32_t page; /* SPOOL_PAGE or 0 */
};

struct spool_record {
	uint8_t type;
	uint8_t flags;
	uint64_t batch;
	uint64_t id;
	uint64_t real_s;
	uint64_t body_n;
	uint32_t meta_n;
	uint32_t attempts;
	uint64_t due_s;
	uint32_t payload_crc;
	uint32_t salt; /* the segment's: not stored, part of the header's CRC */
};

void spool_segment_header_write(
	uint8_t out[SPOOL_SEGMENT_HEADER], const struct spool_segment_header *header);
/* 0; -EINVAL: not a segment; -EBADMSG: its checksum is wrong; -ENOTSUP: a newer version (in
 * out->version). */
MUST_USE int spool_segment_header_read(struct span bytes, struct spool_segment_header *out);

void spool_record_write(uint8_t out[SPOOL_RECORD_HEADER], const struct spool_record *record);
/* 0; -ENODATA: zeros, the end; -EBADMSG: damaged or not a record. Lengths are within reason after
 * 0, not yet within the file. `bytes` may be shorter than a header at the file's end only. */
MUST_USE int spool_record_read(struct span bytes, uint32_t salt, struct spool_record *out);

/* Where records begin behind such a header. */
uint64_t spool_segment_begin(uint32_t page);

/* Octets that a record takes in the log, padding included. */
uint64_t spool_record_bytes(const struct spool_record *record);

#endif
