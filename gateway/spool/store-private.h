/* SPDX-License-Identifier: MIT */
/*
 * store-private.h -- what recovery builds and a worker's spool then works on: shards, segments,
 * items. And the way between an envelope and its record.
 */
#ifndef POSTERN_STORE_PRIVATE_H
#define POSTERN_STORE_PRIVATE_H

#include <stdatomic.h>

#include "spool/format.h"
#include "spool/spool.h"
#include "spool/store.h"

#define STORE_SHARDS_MAX 1000 /* NNN */
#define STORE_NAME_MAX   32   /* "0123456789ABCDEF.seg" and what is around it */

struct store {
	const struct spool_settings *settings;
	int dir;   /* DIR */
	int large; /* DIR/large */
	int aside; /* DIR/aside */
	int lock;
	struct spool_shard **shards; /* [number], STORE_SHARDS_MAX; NULL where there is none */
	uint32_t shards_n;           /* highest number + 1 */
	uint32_t workers;            /* of the recovery */
	_Atomic uint64_t messages;   /* in the queues of all workers */
};

/* One file of the log. */
struct spool_segment {
	struct list node; /* in shard->segments, oldest first */
	uint64_t seq;
	uint32_t salt;  /* of its header, for the CRC of records */
	uint32_t page;  /* of its header: SPOOL_PAGE or 0 */
	int fd;         /* read and write; open as long as the segment stands */
	uint64_t bytes; /* used, header included */
	uint64_t live_bytes;
	uint32_t live; /* items whose record stands here */
	uint32_t pins; /* bodies being read */
	bool dead;     /* a write or sync failed: nothing more is written here */
	/* the worker's, set up by spool_open() */
	struct list items; /* of spool_item.mates: the live ones */
	uint64_t room;     /* octets it takes on disk */
	int direct;        /* the head's: O_DIRECT; -1 */
	bool gone;         /* unlinked, and kept open for a body that is being read */
};

struct spool_shard {
	uint32_t number;
	int dir; /* DIR/NNN; -1: not made yet */
	struct list segments;
	uint32_t segments_n;
	uint64_t seq_next;
	uint64_t batch_next;
	uint64_t bytes;      /* of all segments */
	uint64_t live_bytes; /* of live records */
	struct list items;   /* of spool_item.entry.node as recovery leaves them: by id */
	uint32_t items_n;
	void *log; /* the worker's: how it writes here */
};

struct spool_attempt_kept {
	struct spool_attempt_kept *next; /* oldest first */
	struct spool_attempt_record record;
};

/* A message: one allocation with recipients and text behind it (malloc: one a message, freed on
 * another thread's behalf after recovery; a pool belongs to one thread). */
struct spool_item {
	struct spool_entry entry;
	struct spool_shard *shard;
	struct spool_segment *segment; /* where its record is; NULL: not written yet */
	uint64_t offset;               /* of the record */
	uint32_t meta_n;
	uint64_t record_bytes;
	struct list mates;       /* in segment->items */
	struct spool_item *left; /* queue.c's treap */
	struct spool_item *right;
	bool copying; /* on its way to the head (copy.c) */
	struct spool_attempt_kept *tries;
	uint32_t tries_n;
	uint32_t accesses;       /* spool_access open or opening */
	struct spool_kept *kept; /* its octets, still in memory; NULL: on disk only */
};

/* ---- format.c: also spool_id_text() and spool_id_parse() of spool.h, which need no ring ---- */

/* ---- meta.c ---- */

/* Octets of the meta part of a message with this envelope. */
uint64_t spool_meta_bytes(const struct smtp_envelope *envelope);
/* Writes it; fates and warned may be NULL (all PENDING, none). out has spool_meta_bytes() room. */
void spool_meta_write(uint8_t *out, const struct smtp_envelope *envelope, const uint8_t *fates,
	const bool *warned);
/* Makes an item of a message record's meta; entry filled but for times, size and flags, which the
 * record header gives (done here too). 0, -EBADMSG or -ENOMEM. */
MUST_USE int spool_meta_read(
	struct spool_item **out, const struct spool_record *record, struct span meta);
/* The same from an envelope at commit. NULL: no memory. */
MUST_USE struct spool_item *spool_item_new(const struct spool_record *record,
	const struct smtp_envelope *envelope, const uint8_t *fates);
void spool_item_free(struct spool_item *item);
/* The record that says of a message what its item says; batch, salt and checksum are the writer's. */
void spool_item_record(const struct spool_item *item, struct spool_record *record);

uint64_t spool_attempt_meta_bytes(const struct spool_attempt *attempt);
void spool_attempt_meta_write(uint8_t *out, const struct spool_attempt *attempt);
/* Applies an attempt to an item: fates (final ones stay), times, held, the kept records. Used when
 * it is reported and when it is read again. */
void spool_attempt_apply(
	struct spool_item *item, const struct spool_attempt *attempt, uint64_t real_s);
/* Reads one and applies it. 0 or -EBADMSG. */
MUST_USE int spool_attempt_meta_read(
	struct spool_item *item, const struct spool_record *record, struct span meta);

/* ---- store.c ---- */

/* Closes and frees; touches nothing on disk. */
void store_segment_free(struct spool_segment *segment);
void store_segment_name(uint64_t seq, char name[STORE_NAME_MAX]);
void store_shard_name(uint32_t number, char name[STORE_NAME_MAX]);
/* The other way; false: not such a name. */
MUST_USE bool store_segment_parse(const char *name, uint64_t *seq);
MUST_USE bool store_shard_parse(const char *name, uint32_t *number);
/* Makes or opens DIR/NNN and syncs DIR. 0 or -errno; for recovery, which opens one for each worker,
 * and for spool_open(). One that is open already is answered as it is. */
MUST_USE int store_shard_open(struct store *store, uint32_t number, struct spool_shard **out);
/* Forgets all shards, segments and items: closes and frees, touches nothing on disk. */
void store_forget(struct store *store);

/* ---- aside.c: keeps what the recovery could not use, and says so in the log ---- */

struct store_damage {
	uint32_t shard;
	uint64_t seq;
	uint64_t offset;
	uint64_t n;
	uint64_t id; /* 0: not known */
	const char *why;
};

/* Copies the octets from `fd` to aside/NNN-SEQ-OFFSET, unless an earlier recovery did. These return
 * 0 or -errno. */
MUST_USE int store_aside_octets(
	const struct store *store, const struct store_damage *damage, int fd);
/* Moves a whole segment there. */
MUST_USE int store_aside_segment(
	const struct store *store, const struct store_damage *damage, int shard_dir);
/* Moves large/ID to aside/ID.large. */
MUST_USE int store_aside_large(const struct store *store, uint64_t id, const char *why);
/* The highest SEQ of a shard that stands in aside/: never used again. 0: none. */
MUST_USE int store_aside_seq_max(const struct store *store, uint32_t shard, uint64_t *seq);

/* Calls `each` with the names in a directory, "." and ".." left out, until it answers non-zero,
 * which is then the result. 0 or -errno. */
MUST_USE int store_names(int dir, int (*each)(void *ctx, const char *name), void *ctx);

/* ---- recover.c, large.c ---- */

/* Forgets an item that is not in the queue after all. */
void store_item_drop(struct spool_item *item);
/* Holds large/ against the messages that name files there. -1 and err. */
MUST_USE int store_large_check(struct store *store, struct store_found *found, struct err *err);

/* ---- scan.c: reads one segment, for recovery and for the inspector ---- */

struct spool_scan_visit {
	void *ctx;
	/* A sound record; meta is in memory, the body at offset + SPOOL_RECORD_HEADER + meta_n.
	 * False: stop. */
	bool (*record)(
		void *ctx, const struct spool_record *record, struct span meta, uint64_t offset);
	/* Octets [offset, offset + n) are not sound; id: of the record if its header was, else 0.
	 * tail: no sound record follows, and they may well be of the newest batch, which a crash
	 * interrupted; false also when in doubt. Zeros after the last such octet do not count.
	 * Called in the order of offsets, with records between. */
	void (*damage)(void *ctx, uint64_t offset, uint64_t n, uint64_t id, bool tail);
};

/*
 * Reads all of fd, verifying every checksum. 0, -ENOMEM, or an error of spool_segment_header_read()
 * (nothing was visited then; -ENOTSUP: header->version is set) or of read(2). *end: behind the last
 * record or damaged octet; *batch: the newest of a sound record header, 0 when there is none.
 */
MUST_USE int spool_scan(int fd, const struct spool_scan_visit *visit,
	struct spool_segment_header *header, uint64_t *end, uint64_t *batch);

#endif
