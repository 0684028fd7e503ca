/* SPDX-License-Identifier: MIT */
/*
 * room.c -- memory of a message's own for octets that are about to be made: what is decrypted into it
 * needs no copy on its way to the file.
 *
 * Only for messages that have a file, and while there is memory for everybody: else spool_append()
 * is the way, which knows about waiting. A block that nothing came for goes back at once, so that a
 * sender that stops keeps no more than it did.
 */
#include "spool/spool-private.h"

static size_t rest_of(const struct spool_run *run)
{
	return run->n > 0 ? SPOOL_BLOCK_BYTES - run->tail : 0;
}

bool spool_room(struct spool_message *message, struct iovec room[SPOOL_ROOM_PIECES])
{
	struct spool_run *run = &message->filling;
	struct spool *spool = message->spool;

	ASSERT(!message->committing && message->splice_want == 0 && message->spare.n == 0);
	if (!message->large || message->error != 0 || message->waiting || spool_memory_short(spool))
		return false;
	if (spool_run_full(message) && message->state == SPOOL_STATE_IDLE)
		spool_flush_start(message);
	if (spool_run_full(message) || !spool_run_grow(spool, &message->spare))
		return false;
	room[0] = (struct iovec){
		rest_of(run) > 0 ? run->last->bytes + run->tail : NULL, rest_of(run)};
	room[1] = (struct iovec){message->spare.first->bytes, SPOOL_BLOCK_BYTES};
	return true;
}

static void fill(struct spool_message *message, size_t n)
{
	struct spool_run *run = &message->filling;

	spool_octets_look(&message->octets, span_of(run->last->bytes + run->tail, n));
	run->tail += (uint32_t)n;
	message->size += n;
}

void spool_filled(struct spool_message *message, size_t n)
{
	struct spool_run *run = &message->filling;
	size_t first = min_size(n, rest_of(run));

	ASSERT(message->spare.n == 1 && n - first <= SPOOL_BLOCK_BYTES);
	if (first > 0)
		fill(message, first);
	if (n > first) {
		spool_run_append(run, &message->spare);
		fill(message, n - first);
	}
	spool_blocks_release(message->spool, &message->spare);
}
