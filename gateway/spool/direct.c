/* SPDX-License-Identifier: MIT */
/*
 * direct.c -- large files past the page cache: the disk takes the blocks from where they are.
 *
 * Through the page cache every octet is copied, its page found, filled, written back, and thrown away
 * when the message is finished, which is most of what storing a large message costs
 * (bench/PROFILE.md has figures).
 *
 * The file's own descriptor is switched by its O_DIRECT flag. Whole blocks go to the disk as long as
 * they stand one behind the other in the file; what does not end with a block, at the message's end
 * or because memory is short, or comes by splice, goes through the page cache, and so does all that
 * follows. A file system that does not know it says so at the first file, and is not asked again.
 *
 * Nothing that is promised rests on this: file and name are synced as ever. Whoever reads the file
 * soon finds nothing of it in the page cache (spool_body.uncached).
 *
 * Rejected: to fill up the last page and cut the file to its length: one more operation that may
 * fail, for a page; files used again as segments are: messages are of all lengths.
 */
#include "spool/spool-private.h"

#include <errno.h>
#include <fcntl.h>

bool spool_direct_set(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return false;
	return fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

void spool_direct_begin(struct spool_message *message)
{
	struct spool *spool = message->spool;

	/* Who reads it back wants a loan: without any it would come from the disk bit by bit. */
	if (!spool->settings->durable || spool->no_direct || !spool_loans(spool))
		return;
	message->direct = spool_direct_set(message->fd, true);
	spool->no_direct = !message->direct;
}

void spool_direct_end(struct spool_message *message)
{
	if (!message->direct)
		return;
	if (!spool_direct_set(message->fd, false))
		ASSERT(!"a flag that could be set can be taken back");
	message->direct = false;
	message->ahead = message->written;
}

uint32_t spool_direct_piece(struct spool_message *message)
{
	const struct spool_run *run = &message->writing;

	if (message->direct && (run->skip % SPOOL_PAGE != 0 || message->written % SPOOL_PAGE != 0 ||
				       spool_run_whole(run) == 0))
		spool_direct_end(message);
	return message->direct ? spool_run_whole(run) : run->n;
}

bool spool_direct_refused(struct spool_message *message, int res)
{
	if (!message->direct || res != -EINVAL)
		return false;
	message->spool->no_direct = true;
	spool_direct_end(message);
	return true;
}
