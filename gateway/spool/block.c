/* SPDX-License-Identifier: MIT */
/*
 * block.c -- the spool's memory for octets: blocks, runs of them, and loans to those who read.
 *
 * A block's octets fill whole pages, so that a disk can take them from where they are (direct.c);
 * what is said about it stands elsewhere. There are as many as memory_bytes_max allows, loans
 * included, and those that are only kept for a first reading (kept.c) go before anybody is refused.
 *
 * A loan is for reading a large file in large pieces. There is none once a quarter of the memory is
 * taken, so next hops that stand still cannot make it short for messages on their way in.
 */
#include "spool/spool-private.h"

#include "base/counter.h"

_Static_assert(SPOOL_BLOCK_BYTES % SPOOL_PAGE == 0, "blocks are whole pages");
_Static_assert(SPOOL_PAGE % POOL_PAGE_BYTES == 0, "and begin where one does");

static struct spool_block *block_get(struct spool *spool)
{
	struct spool_block *block = pool_get(&spool->blocks);

	if (block == NULL)
		return NULL;
	block->bytes = pool_get(&spool->pages);
	if (block->bytes == NULL) {
		pool_put(&spool->blocks, block);
		return NULL;
	}
	block->next = NULL;
	count_add(COUNTER_SPOOL_MEMORY_BYTES, SPOOL_BLOCK_BYTES);
	return block;
}

static void block_release(struct spool *spool, struct spool_run *run)
{
	struct spool_block *block = run->first;

	run->first = block->next;
	run->skip = 0;
	run->n--;
	pool_put(&spool->pages, block->bytes);
	pool_put(&spool->blocks, block);
	count_add(COUNTER_SPOOL_MEMORY_BYTES, -SPOOL_BLOCK_BYTES);
}

void spool_blocks_release(struct spool *spool, struct spool_run *run)
{
	while (run->n > 0)
		block_release(spool, run);
	*run = (struct spool_run){0};
}

void spool_run_append(struct spool_run *run, struct spool_run *more)
{
	if (run->n == 0)
		run->first = more->first;
	else
		run->last->next = more->first;
	run->last = more->last;
	run->n += more->n;
	run->tail = more->tail;
	*more = (struct spool_run){0};
}

bool spool_run_grow(struct spool *spool, struct spool_run *run)
{
	struct spool_run more = {.first = block_get(spool), .n = 1};

	while (more.first == NULL && spool_kept_yield(spool))
		more.first = block_get(spool);
	if (more.first == NULL)
		return false;
	more.last = more.first;
	spool_run_append(run, &more);
	return true;
}

uint32_t spool_run_whole(const struct spool_run *run)
{
	return run->n > 0 && run->tail < SPOOL_BLOCK_BYTES ? run->n - 1 : run->n;
}

void spool_run_split(struct spool_run *run, struct spool_run *part)
{
	struct spool_block *block = run->first;

	if (run->n <= 1 || run->tail == SPOOL_BLOCK_BYTES)
		return;
	while (block->next != run->last)
		block = block->next;
	*part = (struct spool_run){
		.first = run->last, .last = run->last, .n = 1, .tail = run->tail};
	block->next = NULL;
	run->last = block;
	run->n--;
	run->tail = SPOOL_BLOCK_BYTES;
}

void spool_run_drop(struct spool *spool, struct spool_run *run, size_t n)
{
	while (n > 0) {
		uint32_t end = run->n > 1 ? SPOOL_BLOCK_BYTES : run->tail;
		size_t part = min_size(n, end - run->skip);

		run->skip += (uint32_t)part;
		n -= part;
		if (run->skip == end)
			block_release(spool, run);
	}
}

void spool_blocks_iov(const struct spool_run *run, struct iovec *out)
{
	for (struct spool_block *block = run->first; block != NULL; block = block->next)
		*out++ = (struct iovec){
			.iov_base = block->bytes,
			.iov_len = block == run->last ? run->tail : SPOOL_BLOCK_BYTES,
		};
}

/* ---- how much of it is taken ---- */

static uint32_t taken(const struct spool *spool)
{
	return spool->blocks.live - spool->kept_blocks;
}

bool spool_memory_short(const struct spool *spool)
{
	return taken(spool) > spool->blocks.max / 2;
}

uint32_t spool_run_blocks_max(const struct spool *spool)
{
	return taken(spool) > spool->blocks.max / 4 ? SPOOL_RUN_BLOCKS : SPOOL_RUN_BLOCKS_MANY;
}

/* ---- loans ---- */

bool spool_loans(const struct spool *spool)
{
	return spool->blocks.max / 4 >= SPOOL_LOAN_BLOCKS;
}

bool spool_loan_take(struct spool *spool, struct spool_loan *loan)
{
	struct spool_run run = {0};

	ASSERT(loan->first == NULL);
	if (taken(spool) + SPOOL_LOAN_BLOCKS > spool->blocks.max / 4)
		return false;
	while (run.n < SPOOL_LOAN_BLOCKS && spool_run_grow(spool, &run))
		run.tail = SPOOL_BLOCK_BYTES;
	if (run.n < SPOOL_LOAN_BLOCKS) {
		spool_blocks_release(spool, &run);
		return false;
	}
	spool_blocks_iov(&run, loan->iov);
	loan->first = run.first;
	return true;
}

void spool_loan_return(struct spool *spool, struct spool_loan *loan)
{
	struct spool_run run = {.first = loan->first, .n = SPOOL_LOAN_BLOCKS};

	if (loan->first == NULL)
		return;
	loan->first = NULL;
	spool_blocks_release(spool, &run);
}
