/* SPDX-License-Identifier: MIT */
/*
 * spool-private.h -- what the worker's side of spool/ shares: the spool, a message being filled,
 * the log of a shard with its batch, its notes, its segments and its copies.
 *
 * Places where a test build may fail or die (base/fault.h), each passed with the step's result:
 *
 *	spool.segment.open	a new segment was created
 *	spool.segment.header	its header was written
 *	spool.segment.reuse	a spare got the name of a segment
 *	spool.segment.unlink	a segment that nobody needs was removed
 *	spool.batch.write	a batch was written
 *	spool.batch.sync	... and synced
 *	spool.committed		a batch is durable, nobody was told yet
 *	spool.large.open	a large file was created
 *	spool.large.write	octets went there from memory
 *	spool.large.sync	it was synced
 *	spool.large.dirsync	... and its name
 *	spool.attempt.write	an attempt is about to be noted for the log
 *	spool.finish		a finished message is about to be noted
 *	spool.rewrite		copies of an old segment's messages are about to join a batch
 */
#ifndef POSTERN_SPOOL_PRIVATE_H
#define POSTERN_SPOOL_PRIVATE_H

#include "base/pool.h"
#include "spool/spool.h"
#include "spool/store-private.h"

#define SPOOL_FILLING_MAX 100000 /* messages under way, a worker; sessions_max binds first */
#define SPOOL_RUN_BLOCKS  8      /* a streaming message holds twice as many at most */
#define SPOOL_RUN_BLOCKS_MANY                                                                      \
	64 /* or so many, where most of the memory is free: each write costs something */
#define SPOOL_WRITE_IOV     64           /* blocks of one write to a large file */
#define SPOOL_AHEAD_BYTES   (512u << 10) /* of a large file, written out before its sync */
#define SPOOL_BATCH_IOV     1024         /* the kernel's limit for one write */
#define SPOOL_FRAME_BYTES   (1u << 20) /* headers and metas of a batch; one message may have more */
#define SPOOL_NOTES_BYTES   (8u << 20) /* attempts waiting to be written */
#define SPOOL_NOTES_SOON    (256u << 10) /* so many do not wait for their time */
#define SPOOL_COPIES_MAX    64           /* messages moved at a time */
#define SPOOL_COPY_BYTES    (1u << 20)   /* of them; one message may have more */
#define SPOOL_SEGMENTS_FEW  4            /* so many are never too many */
#define SPOOL_SEGMENTS_MANY 64           /* so many, and twice what is live would fill, are */
#define SPOOL_SPARES        2            /* emptied segments kept for another life */
#define SPOOL_SPARE_PART    2            /* of segment_bytes that one must hold for that */
#define SPOOL_PAGES_AFTER   (1u << 20)   /* octets until it is worth to fill a segment with zeros */
#define SPOOL_PAGES_BYTES                                                                          \
	(4u << 20) /* of a commit past the page cache; longer ones go through it */
#define SPOOL_HEADER_PAGES (2 * SPOOL_PAGE) /* a header, and the page behind it */
#define SPOOL_PAUSE_MS     1000 /* between two looks at the store, and after a failure */
#define SPOOL_REPLY_MAX    600  /* text of a next hop's final reply */

/* ---- message.c ---- */

/* What the one op of a message is doing, in the order of a message's life. */
enum spool_state {
	SPOOL_STATE_IDLE,       /* nothing under way: being filled */
	SPOOL_STATE_OPEN,       /* creating large/ID */
	SPOOL_STATE_WRITE,      /* blocks to the file */
	SPOOL_STATE_POLL,       /* splice: waiting for octets at the socket */
	SPOOL_STATE_PAUSE,      /* splice: a timer instead of a poll that does not wait */
	SPOOL_STATE_SPLICE_IN,  /* socket to pipe */
	SPOOL_STATE_SPLICE_OUT, /* pipe to file */
	SPOOL_STATE_CUT,        /* relay/ tries to deliver: no op */
	SPOOL_STATE_SYNC,       /* fdatasync of the file */
	SPOOL_STATE_DIR_SYNC,   /* fsync of large/ */
	SPOOL_STATE_LOG,        /* waits for a batch, or is in it: no op */
	SPOOL_STATE_UNLINK,     /* the file is not wanted */
	SPOOL_STATE_CLOSE,      /* closing the file: the last step */
	SPOOL_STATE_COUNT
};

struct spool_block {
	struct spool_block *next;
	uint8_t *bytes; /* SPOOL_BLOCK_BYTES of whole pages */
};

/* Blocks in order; the first one is read from `skip`, the last one filled to `tail`. */
struct spool_run {
	struct spool_block *first;
	struct spool_block *last;
	uint32_t n;
	uint32_t skip;
	uint32_t tail;
};

struct spool_octets {
	bool has_8bit;
	bool has_bare;
	bool after_cr;
	bool checked; /* by the owner: not looked at */
};

/* block.c */
void spool_blocks_release(struct spool *spool, struct spool_run *run);
/* One block more, empty. False: there is none to be had. */
MUST_USE bool spool_run_grow(struct spool *spool, struct spool_run *run);
/* Puts the blocks of `more` behind; the last one of the run is full, or there is none. */
void spool_run_append(struct spool_run *run, struct spool_run *more);
/* How many of them are full. */
uint32_t spool_run_whole(const struct spool_run *run);
/* A last block that is not full becomes `part`, unless it is all there is. */
void spool_run_split(struct spool_run *run, struct spool_run *part);
/* Forgets the first n octets, which were written. */
void spool_run_drop(struct spool *spool, struct spool_run *run, size_t n);
/* Where the octets of a run are: run->n pieces. */
void spool_blocks_iov(const struct spool_run *run, struct iovec *out);
/* Half of the memory is taken: what there is goes to the files as it comes, so that senders that
 * stop in mid-message do not keep the rest from everybody. */
bool spool_memory_short(const struct spool *spool);
bool spool_loans(const struct spool *spool); /* is the memory large enough for any? */
/* How long a run may become before it has to be written. */
uint32_t spool_run_blocks_max(const struct spool *spool);

/* octets.c */
void spool_octets_look(struct spool_octets *octets, struct span bytes);
void spool_octets_narrow_for_test(bool on); /* without AVX2, even where it is there */
void spool_octets_end(struct spool_octets *octets);

struct spool_cutting;

struct spool_message {
	struct spool *spool;
	struct spool_owner *owner; /* NULL once aborted */
	const struct smtp_envelope *envelope;
	uint64_t id;
	struct list node; /* in the log's `waiting` or its batch */
	struct op op;
	struct op cancel;
	struct wheel_timer pause;
	enum spool_state state;
	struct spool_run filling;
	struct spool_run writing;
	struct spool_run spare; /* room.c: a block on offer */
	struct iovec iov[SPOOL_WRITE_IOV];
	struct spool_octets octets;
	uint64_t size;    /* octets taken so far, spliced ones too */
	uint64_t written; /* octets in the file, or given to it */
	uint64_t ahead;   /* of these: those whose way to the disk was begun before the sync */
	int fd;           /* large/ID; -1 */
	int error;
	bool large;      /* goes to a file of its own */
	bool direct;     /* past the page cache, as yet */
	bool uncached;   /* some of it went there so */
	bool aborted;    /* given up, but a splice round is under way: owner waits for its end */
	bool waiting;    /* owner wants ready() */
	bool committing; /* spool_commit() was called */
	bool asked;      /* relay/ was asked whether it cuts through */
	bool synced;     /* the file and its name */
	uint64_t commit_us;
	struct spool_cutting *cutting;
	struct spool_item *item; /* while in the log */
	/* splice */
	int splice_fd;
	int pipe[2];
	uint32_t splice_want;
	uint32_t splice_got;
	uint32_t splice_left; /* in the pipe */
	char name[SPOOL_ID_MAX];
};

/* Sets state; asserts that the step is legal. */
void spool_state_set(struct spool_message *message, enum spool_state state);
/* Goes on after whatever ended: flush, commit, roll back or nothing. */
void spool_proceed(struct spool_message *message);
void spool_fail(struct spool_message *message, int error);
/* The record is durable: tells the owner, frees the message, brings its item to the queue. */
void spool_message_committed(struct spool_message *message);
/* It is not: the message goes, then the owner is told. */
void spool_message_failed(struct spool_message *message, int error);
void spool_file_open(struct spool_message *message);
/* A streaming message holds no more than this while it is being written. */
bool spool_run_full(const struct spool_message *message);
/* What is filled goes to the file, which is created first if need be. */
void spool_flush_start(struct spool_message *message);

/* direct.c */
/* The file is new. */
void spool_direct_begin(struct spool_message *message);
/* From now on through the page cache. */
void spool_direct_end(struct spool_message *message);
/* How many blocks of `writing` go to the file the same way, by one write. */
uint32_t spool_direct_piece(struct spool_message *message);
/* The file system took the flag, but not the write: it is to be tried again. */
MUST_USE bool spool_direct_refused(struct spool_message *message, int res);

/* kept.c: the octets of a committed message, for its first reading */
struct spool_kept {
	struct list node; /* in spool->kept, oldest first */
	struct spool_item *item;
	struct spool_run run;
	uint32_t readers;
	struct iovec iov[];
};

/* Takes the blocks out of the run; leaves them there where they cannot be kept. */
void spool_kept_take(struct spool_item *item, struct spool *spool, struct spool_run *run);
/* Fills body's place in memory. False: none, read the file. */
MUST_USE bool spool_kept_open(struct spool_item *item, struct spool_body *body);
/* The last reader's end frees the blocks. */
void spool_kept_close(struct spool *spool, struct spool_item *item);
/* Nobody reads; the item goes. */
void spool_kept_forget(struct spool *spool, struct spool_item *item);
/* Frees some blocks for somebody who needs one. False: there were none. */
MUST_USE bool spool_kept_yield(struct spool *spool);

/* ahead.c */
void spool_ahead_init(struct spool *spool);
/* After octets came to the large file: begins to write them out, when there are enough. */
void spool_file_ahead(struct spool_message *message);

/* splice.c */
void spool_splice_go(struct spool_message *message);
void spool_splice_done(struct spool_message *message, int res);
void spool_splice_report(struct spool_message *message, int res);
void spool_splice_end(struct spool_message *message);

/* cut.c: what relay/ is asked at a commit, and its answer. One allocation with the rest behind. */
struct spool_cutting {
	struct spool_cut cut;
	struct spool_message *message;
	bool answered; /* `verdict` is the end of the message */
	struct smtp_verdict verdict;
	char enhanced[16];
	char text[SPOOL_REPLY_MAX];
	struct iovec iov[];
};

/* True: relay/ tries, and spool_cut_done() will follow. */
MUST_USE bool spool_cut_ask(struct spool_message *message);
/* The fates that were settled meanwhile; NULL: none. */
const uint8_t *spool_cut_fates(const struct spool_message *message);
void spool_cut_free(struct spool_cutting *cutting); /* NULL too */

/* ---- the log of a shard ---- */

/* Serialized attempts and ends; `gone`: items whose large file goes once these are on disk. */
struct spool_notes {
	uint8_t *p;
	size_t n;
	size_t cap;
	uint32_t salt; /* that their headers were last written with */
	struct list gone;
};

enum spool_batch_step { SPOOL_BATCH_NONE, SPOOL_BATCH_WRITE, SPOOL_BATCH_ERASE, SPOOL_BATCH_FLUSH };

/* What is being written: messages, then notes, then copies. */
struct spool_batch {
	enum spool_batch_step step;
	struct op op;
	int error;
	struct list messages;
	uint32_t messages_n;
	bool notes;
	bool copies;
	uint64_t number;
	uint64_t offset; /* in the head */
	uint64_t bytes;
	uint64_t done;
	uint8_t *frame; /* headers, metas, padding */
	size_t frame_n;
	size_t frame_cap;
	uint32_t iov_n;
	uint32_t iov_at;
	struct iovec iov[SPOOL_BATCH_IOV];
	uint64_t length; /* octets to write: with the page behind it */
	bool direct;     /* past the page cache */
	uint8_t *pages;  /* SPOOL_PAGES_BYTES, aligned: for O_DIRECT; NULL: none yet */
};

/* A segment being made ahead. */
enum spool_make_step {
	SPOOL_MAKE_NONE,
	SPOOL_MAKE_OPEN,
	SPOOL_MAKE_OPEN_DIRECT,
	SPOOL_MAKE_ALLOCATE, /* a new one */
	SPOOL_MAKE_FORGET,   /* a spare: what the page cache has of it */
	SPOOL_MAKE_FILL,     /* a new one that is written in pages: zeros */
	SPOOL_MAKE_HEADER,
	SPOOL_MAKE_SYNC,
	SPOOL_MAKE_RENAME, /* a spare */
	SPOOL_MAKE_DIR_SYNC,
	SPOOL_MAKE_UNDO,
	SPOOL_MAKE_DISCARD, /* a spare that is not wanted */
};

struct spool_make {
	enum spool_make_step step;
	struct op op;
	struct spool_segment *segment;
	int error;                 /* of the last try; 0 once one succeeded */
	int spare;                 /* which one it is made of; -1: none */
	bool again;                /* another way, at once */
	uint64_t filled;           /* octets of zeros */
	char name[STORE_NAME_MAX]; /* as it is called now */
	char to[STORE_NAME_MAX];   /* and in the end */
	bool pages;                /* not plain */
	struct iovec iov;
	uint8_t header[SPOOL_SEGMENT_HEADER];
};

/* A segment being removed. */
struct spool_drop {
	struct op op;
	struct spool_segment *segment;
	bool unlinked;
	int spare; /* what it becomes; -1: nothing */
	char name[STORE_NAME_MAX];
	char to[STORE_NAME_MAX];
};

/* Live messages of the oldest segment on their way to the head. */
enum spool_copy_step { SPOOL_COPY_NONE, SPOOL_COPY_READ, SPOOL_COPY_READY, SPOOL_COPY_WRITE };

struct spool_copy {
	struct spool_log *log;
	struct spool_item *item; /* NULL: finished meanwhile, or damaged */
	struct op op;
	size_t at;       /* of its record in the copies' memory */
	size_t n;        /* octets of it */
	size_t read_n;   /* so far */
	uint64_t from;   /* where it is read */
	uint64_t offset; /* where the copy will stand */
};

struct spool_copies {
	enum spool_copy_step step;
	struct spool_segment *segment;
	uint64_t stuck_seq; /* a segment with a record that cannot be read: not tried again */
	uint8_t *p;
	size_t n;
	struct spool_copy items[SPOOL_COPIES_MAX];
	uint32_t items_n;
	uint32_t reads; /* under way */
	uint32_t recipients_max;
	uint8_t *fates; /* room for recipients_max, and for their changes */
	bool *warned;
	struct spool_fate_change *changes;
};

struct spool_log {
	struct spool *spool;
	struct spool_shard *shard;
	bool own;                   /* the worker's own shard: takes new messages */
	struct spool_segment *head; /* being written; NULL: none yet */
	struct spool_segment *next; /* ready to be the head */
	uint64_t room;              /* of all segments on disk */
	uint64_t written;           /* since the start, until it is enough for pages */
	bool no_direct;             /* the file system does not take it */
	bool spares[SPOOL_SPARES];  /* that may be there */
	struct list waiting;        /* messages */
	uint32_t waiting_n;
	struct spool_notes noted;   /* being filled */
	struct spool_notes writing; /* in a batch, or to be written again */
	bool notes_due;
	struct wheel_timer notes_timer;
	struct op wait; /* a lone commit waits for company */
	struct ring_time wait_time;
	bool waited;
	uint64_t pause_ms; /* what failed is not tried again before */
	struct wheel_timer pause_timer;
	int error; /* of the last batch */
	struct spool_batch batch;
	struct spool_make make;
	struct spool_drop drop;
	struct spool_copies copies;
};

/* commit.c */
void spool_log_init(struct spool_log *log, struct spool *spool, struct spool_shard *shard);
void spool_log_put(struct spool_log *log, struct spool_message *message);
void spool_log_turn(struct spool_log *log);
bool spool_log_idle(const struct spool_log *log);
/* Something failed: for a second nothing is tried again. */
void spool_log_pause(struct spool_log *log);
bool spool_log_paused(const struct spool_log *log);

/* batch.c */
/* Octets of what must go first; 0: nothing. */
uint64_t spool_batch_need(struct spool_log *log);
/* Lays out what fits into the head, which has room for the need. 0, -EAGAIN: nothing; -ENOMEM. */
MUST_USE int spool_batch_fill(struct spool_log *log);

/* make.c */
/* Read only, by all workers; aligned for O_DIRECT. */
#define SPOOL_ZEROS_BYTES (1u << 20)
extern uint8_t spool_zeros[SPOOL_ZEROS_BYTES];

/* Segments of this log may be written past the page cache. */
bool spool_make_direct(const struct spool_log *log);
/* Begins to make log->next, unless that is under way or failed a moment ago. */
void spool_make_start(struct spool_log *log);
/* What a spare is called; which one may be put there, -1: none. */
void spool_make_spare_name(unsigned spare, char name[STORE_NAME_MAX]);
int spool_make_spare_room(const struct spool_log *log);
/* Begins what is due: the next segment, or that a spare goes. */
void spool_make_prepare(struct spool_log *log);
/* Which spares there are. */
void spool_make_look(struct spool_log *log);

/* segment.c */
/* n octets more of the disk are the segment's. */
void spool_segment_grow(struct spool_log *log, struct spool_segment *segment, uint64_t n);
void spool_segment_direct_close(struct spool_segment *segment);
/* Nothing was written to it yet. */
bool spool_segment_fresh(const struct spool_segment *segment);
/* Octets of records that it still takes. */
uint64_t spool_segment_left(const struct spool_segment *segment);
/* The head has room for n octets as it is. */
bool spool_segment_head_takes(const struct spool_log *log, uint64_t n);
/* The head has room for n octets, or has become a segment that has. False: none yet, or none to be
 * had (make.error). */
MUST_USE bool spool_segment_room(struct spool_log *log, uint64_t n);
void spool_segment_collect(struct spool_log *log);
/* n octets more stand in the head. */
void spool_segment_written(struct spool_log *log, uint64_t n);
/* Nothing more is written to the head. */
void spool_segment_retire(struct spool_log *log);
/* The head has no name any more, nor has what was made ahead. */
void spool_segment_vanished(struct spool_log *log);
void spool_segment_unpin(struct spool_segment *segment);
/* The item's record is at `offset` of the segment; takes it off the one where it was. */
void spool_segment_hold(struct spool_item *item, struct spool_segment *segment, uint64_t offset);
void spool_segment_release(struct spool_item *item);

/* notes.c */
/* The notes to be written next, in log->writing. Returns their octets; 0: none. */
size_t spool_notes_take(struct spool_log *log);
/* Gives their headers the batch and the segment's salt. */
void spool_notes_stamp(struct spool_notes *notes, uint64_t batch, uint32_t salt);
void spool_notes_written(struct spool_log *log);

/* copy.c */
void spool_copies_go(struct spool_log *log);
void spool_copies_free(struct spool_log *log);
void spool_copies_forget(struct spool_log *log, const struct spool_item *item);
/* Octets of the kept attempts that go with the copies. */
size_t spool_copies_attempts_bytes(struct spool_log *log);
uint64_t spool_copies_bytes(const struct spool_log *log);
/* Writes the records anew, in place, and their attempts to `out`. The first copy will stand at
 * `offset` of the head. */
void spool_copies_stamp(struct spool_log *log, uint64_t offset, uint8_t *out);
void spool_copies_written(struct spool_log *log, bool durable);

/* ---- the worker's spool ---- */

struct spool {
	struct ring *ring;
	const struct spool_settings *settings;
	struct store *store;
	uint32_t worker;
	uint64_t id_last;
	struct pool messages;
	struct pool blocks;
	struct pool pages; /* of the blocks: as many */
	bool no_direct;    /* the file system does not take large files past the page cache */
	struct op ahead;   /* ahead.c: one large file at a time */
	uint32_t logged;   /* of messages: those whose filling is over */
	struct spool_reader *reader;
	struct spool_log **logs; /* the first one is the worker's own */
	uint32_t logs_n;
	/* the store's health, looked at once a second */
	uint64_t look_ms;
	struct wheel_timer look_timer;
	int look_error;
	bool failing; /* as the gauge says */
	/* queue.c: entries as a list and as a treap, both by id */
	struct list entries;
	uint32_t entries_n;
	struct spool_item *root;
	/* kept.c */
	struct list kept;
	uint32_t kept_blocks;
	/* large files to be removed, with the items they belonged to */
	struct list gone;
	struct op gone_op;
	char gone_name[SPOOL_ID_MAX];
	/* access.c: those who wait for opened(), in order */
	struct list accesses; /* of spool_access.op.node */
	struct op access_op;
	struct spool_access *access; /* whose large file is being opened; NULL: nobody's any more */
	bool access_opens;           /* access_op opens a file */
	char access_name[SPOOL_ID_MAX];
};

static inline struct spool_item *spool_item_of(const struct spool_entry *entry)
{
	return container_of(entry, struct spool_item, entry);
}

static inline struct spool_log *spool_log_of(const struct spool_item *item)
{
	return item->shard->log;
}

/* spool.c: looks at the store if a second has passed. */
void spool_look(struct spool *spool);

/* queue.c */
void spool_queue_init(struct spool *spool);
void spool_queue_add(struct spool *spool, struct spool_item *item);
void spool_queue_remove(struct spool *spool, struct spool_item *item);
/* Removes the large files of these items, then frees them. */
void spool_queue_gone(struct spool *spool, struct list *items);

/* access.c */
void spool_access_init(struct spool *spool);
bool spool_access_idle(const struct spool *spool);

#endif
