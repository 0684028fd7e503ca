/* SPDX-License-Identifier: MIT */
/*
 * spool.c -- one worker's spool: opening, memory budget, queue ids.
 *
 * The root directory is held open from the start: if it is moved, mail follows it; if it is
 * removed, every message fails with 451 and nothing is written elsewhere.
 */
#include "spool/spool-private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counter.h"

#define ID_WORKER_SHIFT 8 /* an id is time in us, then the worker */

int spool_open(struct spool **out, const struct spool_settings *settings, int root_fd,
	const char *hostname, struct ring *ring, uint32_t worker, uint32_t workers, struct err *err)
{
	uint64_t blocks = settings->memory_bytes_max / workers / SPOOL_BLOCK_BYTES;
	struct spool *spool;
	int root;

	ASSERT(worker < workers && workers <= 1u << ID_WORKER_SHIFT);
	root = fcntl(root_fd, F_DUPFD_CLOEXEC, 0);
	if (root < 0)
		return err_set(err, "delivery: maildir %s: %s", settings->maildir, strerror(errno));
	if (faccessat(root, ".", W_OK | X_OK, AT_EACCESS) != 0) {
		err_set(err, "delivery: user %u may not write to maildir %s: %s",
			(unsigned)geteuid(), settings->maildir, strerror(errno));
		close(root);
		return -1;
	}
	spool = calloc(1, sizeof(*spool));
	if (spool == NULL) {
		close(root);
		return err_set(err, "delivery: out of memory");
	}
	spool->ring = ring;
	spool->hostname = hostname;
	spool->durable = settings->durable;
	spool->root = root;
	spool->worker = worker;
	pool_open(&spool->messages, sizeof(struct spool_message), SPOOL_MESSAGES_MAX);
	pool_open(&spool->blocks, sizeof(struct spool_block),
		blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks);
	*out = spool;
	return 0;
}

void spool_close(struct spool *spool)
{
	pool_close(&spool->messages);
	pool_close(&spool->blocks);
	close(spool->root);
	free(spool);
}

bool spool_idle(const struct spool *spool)
{
	return spool->messages.live == 0;
}

void spool_id(struct spool *spool, char id[SPOOL_ID_MAX])
{
	uint64_t now = clock_real_us();

	spool->id_last = now > spool->id_last ? now : spool->id_last + 1;
	snprintf(id, SPOOL_ID_MAX, "%" PRIX64 "%02X", spool->id_last, spool->worker);
}
