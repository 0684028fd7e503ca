/* SPDX-License-Identifier: MIT */
/*
 * spool.h -- from a message's first octet to durable: collects, writes, syncs it, then says so.
 *
 * One spool a worker, on the worker's ring. Today every message goes straight into the recipients'
 * Maildirs before it is answered; the states of one message on disk:
 *
 *	state		tmp/ of 1st recipient	new/ of recipients	answer
 *	filling		none, or partial file	none			-
 *	written		whole file, synced	none			-
 *	linking		whole file		some			-
 *	committed	none			all, synced		250
 *	failed		none			none (rolled back)	451 / 452
 *
 * New mailboxes are synced up to the root; that a second message to one still being made is safe
 * relies on a file system that keeps directory operations in order (ext4, XFS, Btrfs).
 *
 * A crash before "committed" leaves at most a file in tmp/ (any Maildir reader removes old ones) or,
 * while linking, a whole message at some recipients which the client will send again:
 * at-least-once. With durability = none the two syncs are left out.
 *
 * Octets are held in blocks of SPOOL_BLOCK_BYTES up to SPOOL_STREAM_BYTES a message, then stream to
 * the file; a spool as a whole holds at most its share of memory_bytes_max, and from half of that
 * on nothing waits in memory for a block run to fill.
 *
 * All callbacks come from ring completions, never from inside a call of the owner's.
 */
#ifndef POSTERN_SPOOL_SPOOL_H
#define POSTERN_SPOOL_SPOOL_H

#include "config/settings.h"
#include "ring/ring.h"
#include "smtp/envelope.h"

#define SPOOL_BLOCK_BYTES 16384
#define SPOOL_BLOCKS_MAX                                                                           \
	16 /* a message's blocks in memory, filling or being written: 256 KiB each */
#define SPOOL_STREAM_BYTES ((uint64_t)SPOOL_BLOCK_BYTES * SPOOL_BLOCKS_MAX)
#define SPOOL_ID_MAX       24         /* queue id with its NUL */
#define SPOOL_SPLICE_MAX   (1u << 20) /* octets a round of spool_splice() */

struct spool;
struct spool_message;

/* What the owner of a message wants to hear. */
struct spool_owner {
	/* After SPOOL_STEP_WAIT: append again (or commit; the error, if any, shows there). */
	void (*ready)(struct spool_owner *owner);
	/* After spool_commit: 0 = durable at every recipient; -errno = nowhere. The message is
	 * gone. */
	void (*committed)(struct spool_owner *owner, int res);
	/* After spool_splice: octets taken from the socket (> 0), 0 = end of stream, -EINVAL = a
	 * TLS control record is next, -EAGAIN = none, as the message failed or no pipe can be had:
	 * go on with spool_append, which says which; other -errno = the socket failed. */
	void (*spliced)(struct spool_owner *owner, int res);
};

/*
 * root_fd: the open Maildir root, duplicated here, so that it may lie below folders that the
 * worker's user cannot enter. hostname names messages and takes mail for <postmaster>. -1 and err.
 */
MUST_USE int spool_open(struct spool **out, const struct spool_settings *settings, int root_fd,
	const char *hostname, struct ring *ring, uint32_t worker, uint32_t workers,
	struct err *err);
void spool_close(struct spool *spool); /* no message may be left */
bool spool_idle(const struct spool *spool);

/* A fresh queue id: unique on this host. */
void spool_id(struct spool *spool, char id[SPOOL_ID_MAX]);

/*
 * Begins a message whose first octets are `head`. The envelope is borrowed until `committed` or
 * spool_abort. NULL: no memory within the budget (answer 452 4.3.1).
 */
MUST_USE struct spool_message *spool_begin(struct spool *spool, struct spool_owner *owner,
	const struct smtp_envelope *envelope, const char *id, struct span head);

enum spool_step {
	SPOOL_STEP_OK,   /* all taken */
	SPOOL_STEP_WAIT, /* some may be left in *bytes: stop feeding until ready() */
	SPOOL_STEP_FAIL, /* the message cannot be stored; spool_error() says why */
};

MUST_USE enum spool_step spool_append(struct spool_message *message, struct span *bytes);
int spool_error(const struct spool_message *message); /* 0 or -errno */

/* Writes, syncs, links; then committed(). May be called while a write is under way. */
void spool_commit(struct spool_message *message);

/*
 * Gives the message up; not after spool_commit(). Answers true when a splice round is under way:
 * then spliced() still comes, once, and the socket must stay open until it does (a closed and
 * reused descriptor would be read from in its place). Otherwise no callback comes any more.
 */
MUST_USE bool spool_abort(struct spool_message *message);

/*
 * Moves 1 to n octets from the socket `fd` to the message's file without bringing them to user
 * space, waiting for them if need be; then spliced(). Nothing may be appended meanwhile, and no
 * other receive may be outstanding on fd. Octets that cannot be written are taken all the same and
 * the message fails. (kernel-notes/ktls-splice.md)
 */
void spool_splice(struct spool_message *message, int fd, uint64_t n);

#endif
