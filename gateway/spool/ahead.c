/* SPDX-License-Identifier: MIT */
/*
 * ahead.c -- sends what was written to a large file on its way to the disk while the rest of the
 * message is still coming; the sync at its end, for which the sender waits, else finds all of it to do.
 *
 * It promises nothing and nothing follows from it: what is durable, and what failed, the sync says.
 * So the spool has one operation for all messages, and while that is under way others are left to
 * their sync. Should the message be over by then and its descriptor another file's, the disk begins
 * with that one, which does no harm.
 *
 * For files that go through the page cache: what goes past it is on the disk already (direct.c).
 *
 * Rejected: a sync for each part (each commits the file system's journal).
 */
#include "spool/spool-private.h"

void spool_file_ahead(struct spool_message *message)
{
	struct spool *spool = message->spool;
	uint64_t n = message->written - message->ahead;

	if (message->direct || !spool->settings->durable || spool->ahead.armed ||
		n < SPOOL_AHEAD_BYTES)
		return;
	ring_write_out(spool->ring, &spool->ahead, message->fd, message->ahead,
		(uint32_t)min_size(n, UINT32_MAX));
	message->ahead = message->written;
}

static void ahead_done(struct op *op, int res, uint32_t flags)
{
	(void)op;
	(void)res;
	(void)flags;
}

void spool_ahead_init(struct spool *spool)
{
	spool->ahead.done = ahead_done;
}
