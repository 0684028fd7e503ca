/* SPDX-License-Identifier: MIT */
/*
 * message.c -- one message being filled: its blocks, its one operation at a time, what comes next.
 *
 * A message of up to stream_bytes stays in memory and ends in the shard's log (commit.c). A longer
 * one, one that is spliced, and any while memory is short goes to large/ID as it comes: one run of
 * blocks is filled by the owner while the other is being written, and the owner waits when both are
 * full. Its file and name are synced before the log names it. There is never more than one
 * operation under way, so a message needs one op, and "what next" is decided in one place,
 * spool_proceed().
 *
 * Rejected: a file for every message, renamed when whole. That is two syncs a message, and a busy
 * disk does some hundreds of those a second.
 */
#include "spool/spool-private.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/event.h"
#include "base/fault.h"

/* From which states a state may be entered: bit = enum spool_state. */
#define FROM(state) (1u << SPOOL_STATE_##state)

static const uint32_t state_from[SPOOL_STATE_COUNT] = {
	[SPOOL_STATE_IDLE] = FROM(OPEN) | FROM(WRITE) | FROM(SPLICE_IN) | FROM(SPLICE_OUT) |
			     FROM(POLL) | FROM(PAUSE) | FROM(CUT) | FROM(SYNC) | FROM(DIR_SYNC) |
			     FROM(LOG) | FROM(UNLINK),
	[SPOOL_STATE_OPEN] = FROM(IDLE),
	[SPOOL_STATE_WRITE] = FROM(IDLE),
	[SPOOL_STATE_POLL] = FROM(IDLE) | FROM(PAUSE),
	[SPOOL_STATE_PAUSE] = FROM(SPLICE_IN),
	[SPOOL_STATE_SPLICE_IN] = FROM(POLL),
	[SPOOL_STATE_SPLICE_OUT] = FROM(SPLICE_IN) | FROM(SPLICE_OUT),
	[SPOOL_STATE_CUT] = FROM(IDLE),
	[SPOOL_STATE_SYNC] = FROM(IDLE),
	[SPOOL_STATE_DIR_SYNC] = FROM(SYNC),
	[SPOOL_STATE_LOG] = FROM(IDLE),
	[SPOOL_STATE_UNLINK] = FROM(IDLE),
	[SPOOL_STATE_CLOSE] = FROM(IDLE),
};

void spool_state_set(struct spool_message *message, enum spool_state state)
{
	ASSERT(state_from[state] & 1u << message->state);
	message->state = state;
}

/* ---- memory ---- */

bool spool_run_full(const struct spool_message *message)
{
	const struct spool_run *run = &message->filling;

	return message->large && spool_run_whole(run) >= spool_run_blocks_max(message->spool);
}

/* ---- the end ---- */

void spool_fail(struct spool_message *message, int error)
{
	struct event event;

	ASSERT(error < 0);
	if (message->error != 0)
		return;
	message->error = error;
	event_open(&event, EVENT_NO_COUNT, "spool_error");
	event_str(&event, "queue_id", message->name);
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
	struct spool_cutting *cutting = message->cutting;
	int error = message->error;

	if (error == -ENOSPC || error == -EDQUOT || error == -ENOMEM)
		count(COUNTER_SPOOL_NO_SPACE);
	else if (error != 0)
		count(COUNTER_SPOOL_IO_ERROR);
	message_free(message);
	if (owner != NULL)
		owner->committed(
			owner, error, error == 0 && cutting != NULL ? &cutting->verdict : NULL);
	spool_cut_free(cutting);
}

void spool_message_committed(struct spool_message *message)
{
	struct spool *spool = message->spool;
	struct spool_owner *owner = message->owner;
	struct spool_item *item = message->item;

	ASSERT(message->state == SPOOL_STATE_LOG);
	spool->logged--;
	if (message->fd >= 0)
		close(message->fd);
	spool_cut_free(message->cutting);
	item->entry.uncached = message->uncached;
	if (!message->large)
		spool_kept_take(item, spool, &message->filling);
	message_free(message);
	spool_queue_add(spool, item);
	owner->committed(owner, 0, NULL);
	if (spool->reader != NULL)
		spool->reader->arrived(spool->reader, &item->entry);
}

void spool_message_failed(struct spool_message *message, int error)
{
	message->spool->logged--;
	spool_item_free(message->item);
	message->item = NULL;
	spool_fail(message, error);
	spool_state_set(message, SPOOL_STATE_IDLE);
	spool_proceed(message);
}

/* Nothing of the message is to stay. */
static void file_drop(struct spool_message *message)
{
	struct ring *ring = message->spool->ring;

	if (message->fd >= 0) {
		spool_state_set(message, SPOOL_STATE_UNLINK);
		ring_unlinkat(ring, &message->op, message->spool->store->large, message->name);
		return;
	}
	spool_state_set(message, SPOOL_STATE_CLOSE);
	ring_soon(ring, &message->op);
}

/* A file that cannot be removed stays: no record names it, so the next start removes it. */
static void unlink_done(struct spool_message *message)
{
	spool_state_set(message, SPOOL_STATE_IDLE);
	spool_state_set(message, SPOOL_STATE_CLOSE);
	ring_close_fd(message->spool->ring, &message->op, message->fd);
}

/* ---- the large file ---- */

void spool_file_open(struct spool_message *message)
{
	message->large = true;
	spool_state_set(message, SPOOL_STATE_OPEN);
	ring_openat(message->spool->ring, &message->op, message->spool->store->large, message->name,
		O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

static void step_failed(struct spool_message *message, int error)
{
	spool_fail(message, error);
	spool_state_set(message, SPOOL_STATE_IDLE);
	spool_proceed(message);
}

static void open_done(struct spool_message *message, int res)
{
	if (res >= 0)
		message->fd = res;
	res = fault("spool.large.open", res);
	if (res < 0) {
		step_failed(message, res);
		return;
	}
	count(COUNTER_SPOOL_LARGE);
	spool_direct_begin(message);
	spool_state_set(message, SPOOL_STATE_IDLE);
	spool_proceed(message);
}

static void write_start(struct spool_message *message)
{
	const struct spool_run *run = &message->writing;
	uint32_t blocks = (uint32_t)min_size(spool_direct_piece(message), SPOOL_WRITE_IOV);
	struct spool_block *block = run->first;
	uint32_t n = 0;

	for (; n < blocks; block = block->next, n++) {
		uint32_t skip = n == 0 ? run->skip : 0;

		message->iov[n].iov_base = block->bytes + skip;
		message->iov[n].iov_len =
			(block == run->last ? run->tail : SPOOL_BLOCK_BYTES) - skip;
	}
	ring_writev(
		message->spool->ring, &message->op, message->fd, message->iov, n, message->written);
}

/* A block that is not full stays until there is nothing else: the file is written block by block. */
void spool_flush_start(struct spool_message *message)
{
	if (message->fd < 0) {
		spool_file_open(message);
		return;
	}
	message->writing = message->filling;
	message->filling = (struct spool_run){0};
	if (!message->committing && message->splice_want == 0)
		spool_run_split(&message->writing, &message->filling);
	spool_state_set(message, SPOOL_STATE_WRITE);
	write_start(message);
}

static void write_done(struct spool_message *message, int res)
{
	struct spool *spool = message->spool;

	res = fault("spool.large.write", res);
	if (spool_direct_refused(message, res)) {
		write_start(message);
		return;
	}
	if (res > 0 && message->direct) {
		message->uncached = true;
		count_add(COUNTER_SPOOL_LARGE_DIRECT_BYTES, res);
	}
	if (res <= 0) {
		spool_fail(message, res == 0 ? -EIO : res);
		spool_blocks_release(spool, &message->writing);
	} else {
		message->written += (uint32_t)res;
		spool_run_drop(spool, &message->writing, (size_t)res);
	}
	if (message->writing.n > 0) {
		write_start(message);
		return;
	}
	spool_file_ahead(message);
	spool_state_set(message, SPOOL_STATE_IDLE);
	spool_proceed(message);
}

static void sync_done(struct spool_message *message, int res)
{
	count(COUNTER_SPOOL_SYNCS);
	res = fault("spool.large.sync", res);
	if (res < 0) {
		step_failed(message, res);
		return;
	}
	spool_state_set(message, SPOOL_STATE_DIR_SYNC);
	ring_fsync(message->spool->ring, &message->op, message->spool->store->large, false);
}

static void dir_sync_done(struct spool_message *message, int res)
{
	count(COUNTER_SPOOL_SYNCS);
	res = fault("spool.large.dirsync", res);
	if (res < 0) {
		step_failed(message, res);
		return;
	}
	message->synced = true;
	spool_state_set(message, SPOOL_STATE_IDLE);
	spool_proceed(message);
}

/* ---- what next ---- */

/* The record's header but for what its batch adds. */
static void record_describe(struct spool_message *message, struct spool_record *record)
{
	spool_octets_end(&message->octets);
	*record = (struct spool_record){
		.type = SPOOL_RECORD_MESSAGE,
		.flags = (uint8_t)((message->large ? SPOOL_FLAG_LARGE : 0) |
				   (message->octets.has_8bit ? SPOOL_FLAG_8BIT : 0) |
				   (message->octets.has_bare ? SPOOL_FLAG_BARE : 0)),
		.id = message->id,
		.body_n = message->size,
	};
}

static void log_start(struct spool_message *message)
{
	struct spool *spool = message->spool;
	uint64_t meta_n = spool_meta_bytes(message->envelope);
	uint64_t now_us = clock_real_us();
	struct spool_record record;

	record_describe(message, &record);
	record.real_s = now_us / 1000000;
	record.meta_n = (uint32_t)meta_n;
	message->item = meta_n > SPOOL_META_MAX ? NULL
						: spool_item_new(&record, message->envelope,
							  spool_cut_fates(message));
	if (message->item == NULL) {
		spool_fail(message, -ENOMEM);
		file_drop(message);
		return;
	}
	message->item->entry.arrived_real_us = now_us;
	spool_state_set(message, SPOOL_STATE_LOG);
	spool->logged++;
	spool_log_put(spool->logs[0], message);
}

/* Whole, and with a file if it is large: cut through, synced, into the log. */
static void commit_step(struct spool_message *message)
{
	if (!message->asked) {
		message->asked = true;
		if (spool_cut_ask(message)) {
			spool_state_set(message, SPOOL_STATE_CUT);
			return;
		}
	}
	if (message->large && message->spool->settings->durable && !message->synced) {
		spool_state_set(message, SPOOL_STATE_SYNC);
		ring_fsync(message->spool->ring, &message->op, message->fd, true);
		return;
	}
	log_start(message);
}

static void tell_ready(struct spool_message *message)
{
	if (!message->waiting || message->owner == NULL)
		return;
	message->waiting = false;
	message->owner->ready(message->owner);
}

/*
 * Called in state IDLE with nothing armed. In this order: a message that is given up, has failed or
 * was cut through goes; one that must have a file gets what is left written before its commit or
 * its next splice; a full run, or what there is when memory is short, is written; else the owner is
 * asked for more.
 */
void spool_proceed(struct spool_message *message)
{
	bool over = message->cutting != NULL && message->cutting->answered;
	bool ends = message->committing && (message->error != 0 || over);
	bool left;

	ASSERT(message->state == SPOOL_STATE_IDLE && !message->op.armed);
	if (message->cancel.armed)
		return;
	if (message->error != 0)
		spool_blocks_release(message->spool, &message->filling);
	if (message->owner == NULL || ends) {
		file_drop(message);
		return;
	}
	left = message->filling.n > 0;
	if (left && message->large && (message->committing || message->splice_want > 0)) {
		spool_flush_start(message);
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
		commit_step(message);
		return;
	}
	if (left &&
		(spool_run_full(message) || message->waiting || spool_memory_short(message->spool)))
		spool_flush_start(message);
	tell_ready(message);
}

static void message_op_done(struct op *op, int res, uint32_t flags)
{
	struct spool_message *message = container_of(op, struct spool_message, op);

	(void)flags;
	switch (message->state) {
	case SPOOL_STATE_OPEN:
		open_done(message, res);
		return;
	case SPOOL_STATE_WRITE:
		write_done(message, res);
		return;
	case SPOOL_STATE_POLL:
	case SPOOL_STATE_SPLICE_IN:
	case SPOOL_STATE_SPLICE_OUT:
		spool_splice_done(message, res);
		return;
	case SPOOL_STATE_SYNC:
		sync_done(message, res);
		return;
	case SPOOL_STATE_DIR_SYNC:
		dir_sync_done(message, res);
		return;
	case SPOOL_STATE_UNLINK:
		unlink_done(message);
		return;
	case SPOOL_STATE_CLOSE:
		message_end(message);
		return;
	default:
		ASSERT(!"a completion of no known step");
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

/* ---- the owner's calls ---- */

struct spool_message *spool_begin(struct spool *spool, struct spool_owner *owner,
	const struct smtp_envelope *envelope, uint64_t id, struct span head)
{
	struct spool_message *message = pool_get(&spool->messages);

	if (message == NULL)
		return NULL;
	memset(message, 0, sizeof(*message));
	message->spool = spool;
	message->owner = owner;
	message->envelope = envelope;
	message->id = id;
	message->op.done = message_op_done;
	message->cancel.done = message_cancel_done;
	wheel_timer_init(&message->pause, NULL);
	list_init(&message->node);
	message->fd = -1;
	message->pipe[0] = -1;
	message->pipe[1] = -1;
	spool_id_text(id, message->name);
	if (spool_append(message, &head) == SPOOL_STEP_OK || head.n == 0)
		return message;
	/* The head did not fit into what memory there is. */
	message->owner = NULL;
	if (message->state == SPOOL_STATE_IDLE)
		message_free(message);
	return NULL;
}

/* Room for more octets in the run; false: none now, and message->waiting or ->error says it. */
static bool append_room(struct spool_message *message)
{
	struct spool_run *run = &message->filling;

	if (!message->large && message->size >= message->spool->settings->stream_bytes)
		spool_flush_start(message);
	if (spool_run_full(message) && message->state == SPOOL_STATE_IDLE)
		spool_flush_start(message);
	if (spool_run_full(message)) {
		message->waiting = true;
		return false;
	}
	if (run->n > 0 && run->tail < SPOOL_BLOCK_BYTES)
		return true;
	if (spool_run_grow(message->spool, run))
		return true;
	if (run->n == 0 && message->state != SPOOL_STATE_WRITE) {
		spool_fail(message, -ENOMEM);
		return false;
	}
	if (message->state == SPOOL_STATE_IDLE)
		spool_flush_start(message);
	message->waiting = true;
	return false;
}

enum spool_step spool_append(struct spool_message *message, struct span *bytes)
{
	ASSERT(!message->committing && message->splice_want == 0);
	while (bytes->n > 0 && message->error == 0 && append_room(message)) {
		struct spool_run *run = &message->filling;
		uint64_t stream = message->spool->settings->stream_bytes;
		size_t room = SPOOL_BLOCK_BYTES - run->tail;
		struct span part;

		if (!message->large)
			room = min_size(room, stream - message->size);
		part = span_take(bytes, room);
		spool_octets_look(&message->octets, part);
		memcpy(run->last->bytes + run->tail, part.p, part.n);
		run->tail += (uint32_t)part.n;
		message->size += part.n;
	}
	if (message->error != 0)
		return SPOOL_STEP_FAIL;
	if (message->state == SPOOL_STATE_IDLE && message->filling.n > 0 &&
		spool_memory_short(message->spool))
		spool_flush_start(message);
	return message->waiting ? SPOOL_STEP_WAIT : SPOOL_STEP_OK;
}

void spool_checked(struct spool_message *message, bool has_8bit)
{
	message->octets.checked = true;
	message->octets.has_8bit |= has_8bit;
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
	message->commit_us = clock_real_us();
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
