/* SPDX-License-Identifier: MIT */
/* spool-private.h -- what spool/'s files share: the spool, a message and its steps. */
#ifndef POSTERN_SPOOL_PRIVATE_H
#define POSTERN_SPOOL_PRIVATE_H

#include "base/pool.h"
#include "spool/spool.h"

#define SPOOL_MESSAGES_MAX 100000 /* a worker; sessions_max binds first */
#define SPOOL_NAME_MAX     128
#define SPOOL_BOX_MAX      512 /* "domain/local": 255 + 1 + 3 x 64 and to spare */
#define SPOOL_PATH_MAX     (SPOOL_BOX_MAX + SPOOL_NAME_MAX + 8)

/* What the one op of a message is doing, in the order of a message's life. */
enum spool_state {
	SPOOL_STATE_IDLE,       /* nothing under way: being filled */
	SPOOL_STATE_OPEN,       /* creating tmp/NAME */
	SPOOL_STATE_WRITE,      /* blocks to the file */
	SPOOL_STATE_POLL,       /* splice: waiting for octets at the socket */
	SPOOL_STATE_PAUSE,      /* splice: a timer instead of a poll that does not wait */
	SPOOL_STATE_SPLICE_IN,  /* socket to pipe */
	SPOOL_STATE_SPLICE_OUT, /* pipe to file */
	SPOOL_STATE_SYNC,       /* fdatasync of the file */
	SPOOL_STATE_LINK,       /* tmp/NAME to a further recipient's new/NAME */
	SPOOL_STATE_RENAME,     /* tmp/NAME to the first recipient's new/NAME */
	SPOOL_STATE_DIR_OPEN,   /* opening a directory to sync it */
	SPOOL_STATE_DIR_SYNC,
	SPOOL_STATE_DIR_CLOSE,
	SPOOL_STATE_MAKE,   /* making a mailbox's directories, one by one */
	SPOOL_STATE_UNLINK, /* rolling back */
	SPOOL_STATE_CLOSE,  /* closing the file: the last step */
	SPOOL_STATE_COUNT
};

struct spool_block {
	uint8_t bytes[SPOOL_BLOCK_BYTES];
};

/* Blocks in order; the last one is filled to `tail`. */
struct spool_run {
	struct spool_block *blocks[SPOOL_BLOCKS_MAX];
	uint32_t n;
	uint32_t tail;
};

struct spool_message {
	struct spool *spool;
	struct spool_owner *owner; /* NULL once aborted */
	const struct smtp_envelope *envelope;
	struct op op;
	struct op cancel;
	struct wheel_timer pause;
	enum spool_state state;
	struct spool_run filling;
	struct spool_run writing;
	struct iovec iov[SPOOL_BLOCKS_MAX];
	uint64_t written; /* octets in the file, or given to it */
	uint64_t write_left;
	int fd;     /* tmp/NAME; -1 */
	int dir_fd; /* directory being synced; -1 */
	int error;
	bool aborted;    /* given up, but a splice round is under way: owner waits for its end */
	bool waiting;    /* owner wants ready() */
	bool committing; /* spool_commit() was called */
	bool renamed;    /* tmp/NAME is no more */
	bool made;       /* this recipient's directories were just made: ENOENT is final */
	bool making;     /* a mailbox is being made for the current recipient */
	uint8_t make_step;
	enum spool_state after_make;
	/* recipients, the first one last: its rename ends tmp/ */
	const struct smtp_recipient *first;
	const struct smtp_recipient *current;
	bool undo_first; /* rolling back has reached the first recipient */
	/* splice */
	int splice_fd;
	int pipe[2];
	uint32_t splice_want;
	uint32_t splice_got;
	uint32_t splice_left; /* in the pipe */
	char name[SPOOL_NAME_MAX];
	char box[SPOOL_BOX_MAX];       /* current recipient's mailbox, "domain/local" */
	char tmp_path[SPOOL_PATH_MAX]; /* of the first recipient */
	char path[SPOOL_PATH_MAX];     /* what the op works on */
};

struct spool {
	struct ring *ring;
	const char *hostname;
	bool durable;
	int root; /* the Maildir tree's directory */
	uint32_t worker;
	uint64_t id_last;
	struct pool messages;
	struct pool blocks;
};

/* message.c: sets state; asserts that the step is legal. */
void spool_state_set(struct spool_message *message, enum spool_state state);
/* Goes on after whatever ended: flush, commit, roll back or nothing. */
void spool_proceed(struct spool_message *message);
void spool_fail(struct spool_message *message, int error);
void spool_blocks_release(struct spool *spool, struct spool_run *run);

/* The message's last operation: closes the file (or nothing), then message_end(). */
void spool_close_start(struct spool_message *message);

/* maildir.c: the mailbox of a recipient below root, and the steps of commit and rolling back. */
void spool_box_path(
	const struct spool *spool, const struct smtp_address *address, char box[SPOOL_BOX_MAX]);
void spool_file_open(struct spool_message *message);
void spool_commit_start(struct spool_message *message);
void spool_rollback(struct spool_message *message);
/* Handles the completions of maildir.c's states. */
void spool_maildir_done(struct spool_message *message, int res);

/* splice.c */
void spool_splice_go(struct spool_message *message);
void spool_splice_done(struct spool_message *message, int res);
void spool_splice_report(struct spool_message *message, int res);
void spool_splice_end(struct spool_message *message);

#endif
