/* SPDX-License-Identifier: MIT */
/*
 * message.c -- one message: its blocks, its one operation at a time, and what comes next.
 *
 * Two runs of blocks: one is filled by the owner while the other is being written. A message that
 * ends within one run is written by a single write; a longer one streams, and the owner waits when
 * both runs are full. There is never more than one operation under way, so a message needs one op,
 * and "what next" is decided in one place, spool_proceed().
 */
#include "spool/spool-private.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/event.h"

/* From which states a state may be entered: bit = enum spool_state. */
#define FROM(state) (1u << SPOOL_STATE_##state)

static const uint32_t state_from[SPOOL_STATE_COUNT] = {
	[SPOOL_STATE_IDLE] = FROM(OPEN) | FROM(WRITE) | FROM(SPLICE_IN) | FROM(SPLICE_OUT) |
			     FROM(POLL) | FROM(PAUSE) | FROM(SYNC) | FROM(LINK) | FROM(RENAME) |
			     FROM(DIR_OPEN) | FROM(DIR_CLOSE) | FROM(MAKE) | FROM(UNLINK),
	[SPOOL_STATE_OPEN] = FROM(IDLE) | FROM(MAKE) | FROM(DIR_CLOSE),
	[SPOOL_STATE_WRITE] = FROM(IDLE) | FROM(WRITE),
	[SPOOL_STATE_POLL] = FROM(IDLE) | FROM(PAUSE),
	[SPOOL_STATE_PAUSE] = FROM(SPLICE_IN),
	[SPOOL_STATE_SPLICE_IN] = FROM(POLL),
	[SPOOL_STATE_SPLICE_OUT] = FROM(SPLICE_IN) | FROM(SPLICE_OUT),
	[SPOOL_STATE_SYNC] = FROM(IDLE),
	[SPOOL_STATE_LINK] = FROM(IDLE) | FROM(SYNC) | FROM(LINK) | FROM(DIR_CLOSE) | FROM(MAKE),
	[SPOOL_STATE_RENAME] = FROM(IDLE) | FROM(SYNC) | FROM(LINK) | FROM(DIR_CLOSE),
	[SPOOL_STATE_DIR_OPEN] = FROM(LINK) | FROM(RENAME) | FROM(MAKE) | FROM(DIR_CLOSE),
	[SPOOL_STATE_DIR_SYNC] = FROM(DIR_OPEN),
	[SPOOL_STATE_DIR_CLOSE] = FROM(DIR_SYNC),
	[SPOOL_STATE_MAKE] = FROM(OPEN) | FROM(LINK) | FROM(MAKE) | FROM(DIR_CLOSE),
	[SPOOL_STATE_UNLINK] = FROM(IDLE) | FROM(UNLINK),
	[SPOOL_STATE_CLOSE] = FROM(IDLE),
};

void spool_state_set(struct spool_message *message, enum spool_state state)
{
	ASSERT(state_from[state] & 1u << message->state);
	message->state = state;
}

void spool_blocks_release(struct spool *spool, struct spool_run *run)
{
	for (uint32_t i = 0; i < run->n; i++)
		pool_put(&spool->blocks, run->blocks[i]);
	count_add(COUNTER_SPOOL_MEMORY_BYTES, -(int64_t)run->n * SPOOL_BLOCK_BYTES);
	run->n = 0;
	run->tail = 0;
}

void spool_fail(struct spool_message *message, int error)
{
	struct event event;

	ASSERT(error < 0);
	if (message->error != 0)
		return;
	message->error = error;
	event_open(&event, EVENT_NO_COUNT, "spool_error");
	event_str(&event, "file", message->name);
	event_str(&event, "path", message->path);
	event_str(&event, "error", strerror(-error));
	event_close(&event);
}

static void message_free(struct spool_message *message)
{
	struct spool *spool = message->spool;

	wheel_clear(ring_wheel(spool->ring), &message->pause);
	spool_blocks_release(spool, &message->filling);
	spool_blocks_release(spool, &message->writing);
	spool_splice_end(message);
	pool_put(&spool->messages, message);
}

/* The last step is done: tells the owner, who still waits only if it asked for a commit. */
static void message_end(struct spool_message *message)
{
	struct spool_owner *owner = message->committing ? message->owner : NULL;
	int error = message->error;

	if (error == -ENOSPC || error == -EDQUOT || error == -ENOMEM)
		count(COUNTER_SPOOL_NO_SPACE);
	else if (error != 0)
		count(COUNTER_SPOOL_IO_ERROR);
	message_free(message);
	if (owner != NULL)
		owner->committed(owner, error);
}

void spool_close_start(struct spool_message *message)
{
	struct ring *ring = message->spool->ring;

	spool_state_set(message, SPOOL_STATE_CLOSE);
	if (message->fd >= 0)
		ring_close_fd(ring, &message->op, message->fd);
	else
		ring_nop(ring, &message->op);
}

/* The filled run goes to the file. */
static void flush_start(struct spool_message *message)
{
	if (message->fd < 0) {
		spool_file_open(message);
		return;
	}
	message->writing = message->filling;
	message->filling = (struct spool_run){0};
	message->write_left =
		(uint64_t)(message->writing.n - 1) * SPOOL_BLOCK_BYTES + message->writing.tail;
	for (uint32_t i = 0; i < message->writing.n; i++)
		message->iov[i] = (struct iovec){
			.iov_base = message->writing.blocks[i]->bytes,
			.iov_len = i + 1 < message->writing.n ? SPOOL_BLOCK_BYTES
							      : message->writing.tail,
		};
	spool_state_set(message, SPOOL_STATE_WRITE);
	ring_writev(message->spool->ring, &message->op, message->fd, message->iov,
		message->writing.n, message->written);
}

static void tell_ready(struct spool_message *message)
{
	if (!message->waiting || message->owner == NULL)
		return;
	message->waiting = false;
	message->owner->ready(message->owner);
}

static bool run_full(const struct spool_run *run)
{
	return run->n == SPOOL_BLOCKS_MAX && run->tail == SPOOL_BLOCK_BYTES;
}

/*
 * Half of the memory is taken: what there is goes to the files as it comes, so that senders that
 * stop in mid-message do not keep the rest from everybody.
 */
static bool memory_short(const struct spool *spool)
{
	return spool->blocks.live > spool->blocks.max / 2;
}

/*
 * Called in state IDLE with nothing armed. In this order: an aborted or failed message that nobody
 * fills any more rolls back; a splice in wait starts once memory is written; a commit writes what
 * is left and goes on to sync and link; a full run, or what there is when memory is short, is
 * written; else the owner is asked for more.
 */
void spool_proceed(struct spool_message *message)
{
	bool left = message->filling.n > 0;

	ASSERT(message->state == SPOOL_STATE_IDLE && !message->op.armed);
	if (message->cancel.armed)
		return;
	if (message->error != 0)
		spool_blocks_release(message->spool, &message->filling);
	if (message->owner == NULL || (message->error != 0 && message->committing)) {
		spool_rollback(message);
		return;
	}
	if (message->error == 0 && left && (message->committing || message->splice_want > 0)) {
		flush_start(message);
		return;
	}
	if (message->splice_want > 0) {
		if (message->error == 0)
			spool_splice_go(message);
		else
			spool_splice_report(message, -EAGAIN);
		return;
	}
	if (message->committing) {
		spool_commit_start(message);
		return;
	}
	if (message->error == 0 && left &&
		(run_full(&message->filling) || message->waiting || memory_short(message->spool)))
		flush_start(message);
	tell_ready(message);
}

static void write_done(struct spool_message *message, int res)
{
	uint32_t i = 0;

	if (res <= 0) {
		spool_fail(message, res == 0 ? -EIO : res);
	} else {
		message->written += (uint32_t)res;
		message->write_left -= (uint32_t)res;
	}
	if (message->error != 0 || message->write_left == 0) {
		spool_blocks_release(message->spool, &message->writing);
		spool_state_set(message, SPOOL_STATE_IDLE);
		spool_proceed(message);
		return;
	}
	for (size_t n = (size_t)res; n > 0; i++) { /* a short write: the rest again */
		size_t part = min_size(n, message->iov[i].iov_len);

		message->iov[i].iov_base = (char *)message->iov[i].iov_base + part;
		message->iov[i].iov_len -= part;
		n -= part;
	}
	ring_writev(message->spool->ring, &message->op, message->fd, message->iov,
		message->writing.n, message->written);
}

static void message_op_done(struct op *op, int res, uint32_t flags)
{
	struct spool_message *message = container_of(op, struct spool_message, op);

	(void)flags;
	switch (message->state) {
	case SPOOL_STATE_WRITE:
		write_done(message, res);
		return;
	case SPOOL_STATE_POLL:
	case SPOOL_STATE_SPLICE_IN:
	case SPOOL_STATE_SPLICE_OUT:
		spool_splice_done(message, res);
		return;
	case SPOOL_STATE_CLOSE:
		message_end(message);
		return;
	default:
		spool_maildir_done(message, res);
		return;
	}
}

static void message_cancel_done(struct op *op, int res, uint32_t flags)
{
	struct spool_message *message = container_of(op, struct spool_message, cancel);

	(void)res;
	(void)flags;
	if (message->state == SPOOL_STATE_IDLE && !message->op.armed)
		spool_proceed(message);
}

struct spool_message *spool_begin(struct spool *spool, struct spool_owner *owner,
	const struct smtp_envelope *envelope, const char *id, struct span head)
{
	struct spool_message *message = pool_get(&spool->messages);
	enum spool_step step;

	if (message == NULL)
		return NULL;
	memset(message, 0, sizeof(*message));
	message->spool = spool;
	message->owner = owner;
	message->envelope = envelope;
	message->op.done = message_op_done;
	message->cancel.done = message_cancel_done;
	wheel_timer_init(&message->pause, NULL);
	message->fd = -1;
	message->dir_fd = -1;
	message->pipe[0] = -1;
	message->pipe[1] = -1;
	ASSERT(!list_empty(&envelope->recipients));
	message->first = container_of(envelope->recipients.next, struct smtp_recipient, node);
	snprintf(message->name, sizeof(message->name), "%s.%.64s", id, spool->hostname);
	spool_box_path(spool, &message->first->address, message->box);
	snprintf(message->tmp_path, SPOOL_PATH_MAX, "%s/tmp/%s", message->box, message->name);
	step = spool_append(message, &head);
	if (step != SPOOL_STEP_OK) {
		message_free(message);
		return NULL;
	}
	return message;
}

static bool run_grow(struct spool *spool, struct spool_run *run)
{
	struct spool_block *block = pool_get(&spool->blocks);

	if (block == NULL)
		return false;
	run->blocks[run->n++] = block;
	run->tail = 0;
	count_add(COUNTER_SPOOL_MEMORY_BYTES, SPOOL_BLOCK_BYTES);
	return true;
}

enum spool_step spool_append(struct spool_message *message, struct span *bytes)
{
	struct spool_run *run = &message->filling;

	ASSERT(!message->committing && message->splice_want == 0);
	while (bytes->n > 0 && message->error == 0) {
		struct span part;

		if (run_full(run)) {
			if (message->state != SPOOL_STATE_IDLE) {
				message->waiting = true;
				return SPOOL_STEP_WAIT;
			}
			flush_start(message);
			if (run_full(run))
				continue; /* the file is being opened first */
		}
		if ((run->n == 0 || run->tail == SPOOL_BLOCK_BYTES) &&
			!run_grow(message->spool, run)) {
			if (run->n == 0 && message->writing.n == 0)
				spool_fail(message, -ENOMEM);
			else if (message->state == SPOOL_STATE_IDLE)
				flush_start(message);
			message->waiting = message->error == 0;
			break;
		}
		part = span_take(bytes, SPOOL_BLOCK_BYTES - run->tail);
		memcpy(run->blocks[run->n - 1]->bytes + run->tail, part.p, part.n);
		run->tail += (uint32_t)part.n;
	}
	if (message->error != 0)
		return SPOOL_STEP_FAIL;
	if (message->state == SPOOL_STATE_IDLE && run->n > 0 && memory_short(message->spool))
		flush_start(message);
	return message->waiting ? SPOOL_STEP_WAIT : SPOOL_STEP_OK;
}

int spool_error(const struct spool_message *message)
{
	return message->error;
}

void spool_commit(struct spool_message *message)
{
	ASSERT(!message->committing && message->owner != NULL);
	message->committing = true;
	message->waiting = false;
	if (message->state == SPOOL_STATE_IDLE)
		spool_proceed(message);
}

bool spool_abort(struct spool_message *message)
{
	ASSERT(!message->committing && !message->aborted);
	message->waiting = false;
	switch (message->state) {
	case SPOOL_STATE_POLL:
		ring_cancel(message->spool->ring, &message->cancel, &message->op);
		/* fall through */
	case SPOOL_STATE_PAUSE:
	case SPOOL_STATE_SPLICE_IN:
	case SPOOL_STATE_SPLICE_OUT:
		message->aborted = true;
		return true;
	default:
		message->splice_want = 0;
		message->owner = NULL;
		if (message->state == SPOOL_STATE_IDLE)
			spool_proceed(message);
		return false;
	}
}
