/* SPDX-License-Identifier: MIT */
/*
 * kept.c -- the octets of messages that were committed a moment ago, for whoever reads them next.
 *
 * Nearly every message is relayed as soon as it is in the queue. Its blocks are still there then, and
 * reading them back from the log would be a read for nothing; a log that is written past the page
 * cache would even be read from the disk. So the blocks stay until the first reading is over, at most
 * a quarter of the spool's memory in all: the oldest go first, and all go before a new message is
 * refused a block.
 *
 * Not the truth: that is on disk. What is not kept, or is wanted in a file, is read from there.
 */
#include "spool/spool-private.h"

#include <stdlib.h>

#define KEPT_PART 4 /* of the blocks */

static void kept_drop(struct spool *spool, struct spool_kept *kept)
{
	kept->item->kept = NULL;
	list_remove(&kept->node);
	spool->kept_blocks -= kept->run.n;
	spool_blocks_release(spool, &kept->run);
	free(kept);
}

bool spool_kept_yield(struct spool *spool)
{
	for (struct list *node = spool->kept.next; node != &spool->kept; node = node->next) {
		struct spool_kept *kept = container_of(node, struct spool_kept, node);

		if (kept->readers > 0)
			continue;
		kept_drop(spool, kept);
		return true;
	}
	return false;
}

void spool_kept_take(struct spool_item *item, struct spool *spool, struct spool_run *run)
{
	struct spool_kept *kept;

	if (run->n == 0 || run->n > spool->blocks.max / KEPT_PART)
		return;
	kept = malloc(sizeof(*kept) + run->n * sizeof(kept->iov[0]));
	if (kept == NULL)
		return;
	kept->item = item;
	kept->readers = 0;
	kept->run = *run;
	spool_blocks_iov(run, kept->iov);
	*run = (struct spool_run){0};
	item->kept = kept;
	list_push_back(&spool->kept, &kept->node);
	spool->kept_blocks += kept->run.n;
	while (spool->kept_blocks > spool->blocks.max / KEPT_PART && spool_kept_yield(spool))
		continue;
}

bool spool_kept_open(struct spool_item *item, struct spool_body *body)
{
	struct spool_kept *kept = item->kept;

	if (kept == NULL)
		return false;
	kept->readers++;
	body->fd = -1;
	body->iov = kept->iov;
	body->iov_n = kept->run.n;
	return true;
}

void spool_kept_close(struct spool *spool, struct spool_item *item)
{
	ASSERT(item->kept->readers > 0);
	item->kept->readers--;
	if (item->kept->readers == 0)
		kept_drop(spool, item->kept);
}

void spool_kept_forget(struct spool *spool, struct spool_item *item)
{
	if (item->kept == NULL)
		return;
	ASSERT(item->kept->readers == 0);
	kept_drop(spool, item->kept);
}
