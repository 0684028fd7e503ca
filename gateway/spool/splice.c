/* SPDX-License-Identifier: MIT */
/*
 * splice.c -- octets from a socket to the message's file through a pipe, never through user space.
 * Nobody looks at them, so they count as 8-bit and as holding bare CRs and LFs.
 *
 * One round: wait until the socket is readable (an armed poll costs no thread), splice what is
 * there into the pipe without waiting, splice the pipe into the file. Under kTLS the kernel
 * decrypts on the way and stops at a control record with EINVAL.
 *
 * Linux 6.1 calls a kTLS socket readable while only part of a record is there: splice then says
 * EAGAIN at once, again and again. After an EAGAIN the next poll waits PAUSE_MS, so nothing spins.
 *
 * Rejected: splicing without poll. Splices from sockets always run on io-wq threads and would hold
 * one for as long as a slow client likes.
 */
#include "spool/spool-private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/fault.h"

#define PAUSE_MS 20

static void poll_start(struct spool_message *message)
{
	spool_state_set(message, SPOOL_STATE_POLL);
	ring_poll(message->spool->ring, &message->op, message->splice_fd, POLLIN);
}

void spool_splice(struct spool_message *message, int fd, uint64_t n)
{
	ASSERT(n > 0 && message->splice_want == 0 && !message->committing);
	ASSERT(!message->waiting && message->error == 0);
	message->large = true;
	message->octets = (struct spool_octets){.has_8bit = true, .has_bare = true};
	message->splice_fd = fd;
	message->splice_want = (uint32_t)(n < SPOOL_SPLICE_MAX ? n : SPOOL_SPLICE_MAX);
	if (message->state == SPOOL_STATE_IDLE)
		spool_proceed(message);
}

/* The pipe is made at the first round; its size is the kernel's to grant. */
static bool pipe_open(struct spool_message *message)
{
	if (message->pipe[0] >= 0)
		return true;
	if (pipe2(message->pipe, O_CLOEXEC) != 0)
		return false;
	(void)fcntl(message->pipe[1], F_SETPIPE_SZ, SPOOL_SPLICE_MAX);
	return true;
}

void spool_splice_end(struct spool_message *message)
{
	for (size_t i = 0; i < COUNT_OF(message->pipe); i++)
		if (message->pipe[i] >= 0)
			close(message->pipe[i]);
}

void spool_splice_report(struct spool_message *message, int res)
{
	message->splice_want = 0;
	message->owner->spliced(message->owner, res);
}

void spool_splice_go(struct spool_message *message)
{
	spool_direct_end(message);
	if (message->fd < 0)
		spool_file_open(message);
	else
		poll_start(message);
}

/* Back to idle: reports to the owner; a message given up meanwhile then goes its way. */
static void round_end(struct spool_message *message, int res)
{
	struct spool_owner *owner = message->owner;

	spool_state_set(message, SPOOL_STATE_IDLE);
	if (!message->aborted) {
		spool_splice_report(message, res);
		return;
	}
	message->owner = NULL;
	message->splice_want = 0;
	spool_proceed(message);
	owner->spliced(owner, -ECANCELED);
}

static void pause_over(struct wheel_timer *timer)
{
	struct spool_message *message = container_of(timer, struct spool_message, pause);

	if (message->aborted)
		round_end(message, -ECANCELED);
	else
		poll_start(message);
}

static void out_start(struct spool_message *message)
{
	spool_state_set(message, SPOOL_STATE_SPLICE_OUT);
	ring_splice(message->spool->ring, &message->op, message->pipe[0], -1, message->fd,
		(int64_t)message->written, message->splice_left, 0);
}

static void out_done(struct spool_message *message, int res)
{
	res = fault("spool.large.write", res);
	if (res <= 0) { /* the pipe's rest is lost: so is the message */
		spool_fail(message, res == 0 ? -EIO : res);
		round_end(message, (int)message->splice_got);
		return;
	}
	message->written += (uint32_t)res;
	message->size += (uint32_t)res;
	message->splice_left -= (uint32_t)res;
	count_add(COUNTER_SPLICE_BYTES, res);
	spool_file_ahead(message);
	if (message->splice_left > 0)
		out_start(message);
	else
		round_end(message, (int)message->splice_got);
}

static void in_done(struct spool_message *message, int res)
{
	if (res == -EAGAIN && !message->aborted) {
		spool_state_set(message, SPOOL_STATE_PAUSE);
		message->pause.fire = pause_over;
		wheel_set(ring_wheel(message->spool->ring), &message->pause,
			ring_now_ms(message->spool->ring) + PAUSE_MS);
		return;
	}
	if (res <= 0) {
		round_end(message, res);
		return;
	}
	message->splice_got = (uint32_t)res;
	message->splice_left = (uint32_t)res;
	out_start(message);
}

static void poll_done(struct spool_message *message, int res)
{
	if (res < 0 || message->aborted) {
		round_end(message, res < 0 ? res : -ECANCELED);
		return;
	}
	if (!pipe_open(message)) { /* no descriptor left: nothing was taken, copying still works */
		round_end(message, -EAGAIN);
		return;
	}
	spool_state_set(message, SPOOL_STATE_SPLICE_IN);
	ring_splice(message->spool->ring, &message->op, message->splice_fd, -1, message->pipe[1],
		-1, message->splice_want, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
}

void spool_splice_done(struct spool_message *message, int res)
{
	if (message->state == SPOOL_STATE_POLL)
		poll_done(message, res);
	else if (message->state == SPOOL_STATE_SPLICE_IN)
		in_done(message, res);
	else
		out_done(message, res);
}
