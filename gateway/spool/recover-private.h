/* SPDX-License-Identifier: MIT */
/* recover-private.h -- a recovery under way: recover.c goes through files, replay.c through records. */
#ifndef POSTERN_RECOVER_PRIVATE_H
#define POSTERN_RECOVER_PRIVATE_H

#include "spool/store-private.h"

#define RECOVER_PROGRESS_MS 5000

struct recovery {
	struct store *store;
	struct store_found *found;
	struct err *err;
	struct spool_shard *shard;
	struct spool_segment *segment;
	int error; /* of a visit: -ENOMEM, or what setting aside met */
	/* items of the shard, by id; chained by their `left` */
	struct spool_item **table;
	size_t table_n; /* a power of two */
	/* the newest batch's torn tail, as long as no newer record is seen */
	struct spool_segment *tail_segment;
	struct store_damage *tails;
	size_t tails_n, tails_room;
	/* progress */
	uint64_t progress_ms;
	uint64_t records;
	uint64_t octets;
};

/* "cannot WHAT SHARD/SEGMENT: why". -1. */
int recovery_fail_segment(
	const struct recovery *recovery, uint64_t seq, const char *what, int error);

/* For spool_scan(), with the recovery as ctx: its shard and segment are set. */
bool replay_record(void *ctx, const struct spool_record *record, struct span meta, uint64_t offset);
void replay_damage(void *ctx, uint64_t offset, uint64_t n, uint64_t id, bool tail);
/* Damage in the segment at hand. */
struct store_damage replay_damage_of(
	const struct recovery *recovery, uint64_t offset, uint64_t n, uint64_t id, const char *why);

/* After a shard's last segment: cuts the torn tail off, if there is one. 0, or -1 and err. */
MUST_USE int replay_tail_cut(struct recovery *recovery);
/* Moves the items to the shard's list, by id. 0 or -ENOMEM. */
MUST_USE int replay_end(struct recovery *recovery);
/* Frees what a recovery that failed leaves. */
void replay_clear(struct recovery *recovery);

#endif
