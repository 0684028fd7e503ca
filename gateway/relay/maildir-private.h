/* SPDX-License-Identifier: MIT */
/*
 * maildir-private.h -- what maildir.c (a message's file and its names) and maildir_box.c (mailboxes:
 * their names, their making, the syncing of directories) share: a delivery and its steps.
 */
#ifndef POSTERN_RELAY_MAILDIR_PRIVATE_H
#define POSTERN_RELAY_MAILDIR_PRIVATE_H

#include "relay/relay-private.h"

#define RELAY_DELIVERY_BYTES (256u * 1024)
#define RELAY_NAME_MAX       128
#define RELAY_PATH_MAX       (RELAY_BOX_MAX + RELAY_NAME_MAX + 8)

enum relay_delivery_state {
	RELAY_DELIVERY_NEW,
	RELAY_DELIVERY_OPEN, /* creating tmp/NAME */
	RELAY_DELIVERY_MAKE, /* making a mailbox's directories, one by one */
	RELAY_DELIVERY_READ,
	RELAY_DELIVERY_WRITE,
	RELAY_DELIVERY_SYNC, /* fdatasync of the file */
	RELAY_DELIVERY_LINK,
	RELAY_DELIVERY_RENAME,
	RELAY_DELIVERY_DIR_OPEN, /* opening a directory to sync it */
	RELAY_DELIVERY_DIR_SYNC,
	RELAY_DELIVERY_DIR_CLOSE,
	RELAY_DELIVERY_UNLINK, /* tmp/NAME: a leftover before the open, or our own after a failure */
	RELAY_DELIVERY_CLOSE,
	RELAY_DELIVERY_END, /* nothing to close: one turn, so that done never comes from a call */
	RELAY_DELIVERY_COUNT
};

struct relay_delivery {
	struct list node;
	struct relay *relay;
	struct relay_job *job;
	int root;
	struct op op;
	enum relay_delivery_state state;
	int fd;         /* tmp/NAME; -1 */
	int dir_fd;     /* being synced */
	int error;      /* of a directory's sync */
	uint32_t first; /* recipient whose tmp/ holds the file; while opening: the one tried */
	uint32_t current;
	bool waits;    /* for another job of the same message to end */
	bool replaced; /* a leftover in tmp/ was removed */
	bool made;     /* this recipient's directories were just made: ENOENT is final */
	bool making;
	bool renamed;
	uint8_t make_step;
	enum relay_delivery_state after_make;
	uint32_t iov_at; /* of the body: the next octets */
	size_t iov_offset;
	uint64_t taken;   /* octets of the body */
	uint64_t written; /* octets in the file */
	size_t held;      /* octets in bytes, from `given` on not written yet */
	size_t given;
	char name[RELAY_NAME_MAX];
	char box[RELAY_BOX_MAX]; /* current recipient's */
	char tmp_path[RELAY_PATH_MAX];
	char path[RELAY_PATH_MAX]; /* what the op works on */
	uint8_t bytes[RELAY_DELIVERY_BYTES];
};

/* Asserts that the step is legal. */
void relay_delivery_state_set(struct relay_delivery *delivery, enum relay_delivery_state state);

static inline struct ring *relay_delivery_ring(const struct relay_delivery *delivery)
{
	return delivery->relay->facts.ring;
}

static inline bool relay_delivery_durable(const struct relay_delivery *delivery)
{
	return delivery->relay->facts.config->spool.durable;
}

/* ---- maildir_box.c ---- */

/* Makes the mailbox delivery->box; then relay_delivery_made(). */
void relay_box_make(struct relay_delivery *delivery);
/* Syncs the directory delivery->path; then relay_delivery_synced(). */
void relay_box_sync(struct relay_delivery *delivery);
/* A completion of one of MAKE, DIR_OPEN, DIR_SYNC, DIR_CLOSE. */
void relay_box_done(struct relay_delivery *delivery, int res);

/* ---- maildir.c ---- */

void relay_delivery_made(struct relay_delivery *delivery, int error);
void relay_delivery_synced(struct relay_delivery *delivery, int error);

#endif
