/* SPDX-License-Identifier: MIT */
/*
 * spool.h -- keeps messages: durable before they are answered, until every recipient is done.
 *
 * A store is a directory that one gateway holds (store.h). Each worker has a spool on its own ring,
 * with shards of the store: append-only logs of segments (format.h says what stands in them). New
 * messages go to the worker's own shard; a shard that an earlier run with more workers left is
 * emptied by the worker that adopted it. session/ fills messages in, relay/ takes them out; the
 * two meet nowhere else.
 *
 * The states of one message on disk:
 *
 *	state		log				large file (over stream_bytes)	answer
 *	filling		nothing				none, or partial		-
 *	written		record, not synced		whole, synced, named		-
 *	committed	record, synced			whole				250
 *	cut through	nothing, or an attempt		none, or removed		the next hop's
 *	queued		+ attempts			whole				-
 *	finished	+ "finished"			removed				-
 *	failed		nothing that is valid		removed				451 / 452
 *
 * Group commit: what is complete when the log is free goes out in one synced write; what
 * completes meanwhile waits for the next. A commit that would hold one message waits up to
 * commit_wait_us, but only while others are being filled in. After a failed write or sync nothing
 * of the batch is acknowledged, and its segment is never written to again.
 *
 * A crash after the sync and before the 250 reached the client leaves a message that the client
 * sends again; one after a next hop's 250 and before the attempt is on disk leaves a recipient that
 * is delivered to again: at-least-once. The second window is SPOOL_ATTEMPT_MS_MAX and a commit
 * long, as attempts are written with the next commit and wait no longer than that for one.
 *
 * Octets are held in blocks of SPOOL_BLOCK_BYTES up to stream_bytes a message; a longer one streams
 * to a file of its own. A spool holds at most its share of memory_bytes_max; from half of that on,
 * messages stream as they come.
 *
 * All callbacks come from ring completions, never from inside a call of the owner's.
 */
#ifndef POSTERN_SPOOL_SPOOL_H
#define POSTERN_SPOOL_SPOOL_H

#include "config/settings.h"
#include "ring/ring.h"
#include "smtp/envelope.h"
#include "spool/store.h"

#define SPOOL_BLOCK_BYTES    16384
#define SPOOL_ID_MAX         24         /* queue id as text, with its NUL */
#define SPOOL_SPLICE_MAX     (1u << 20) /* octets a round of spool_splice() */
#define SPOOL_ATTEMPT_MS_MAX 100
#define SPOOL_ATTEMPTS_MAX   8   /* kept of a message: the newest */
#define SPOOL_TEXT_MAX       512 /* of an attempt's reply, with its NUL; longer ones are cut */
#define SPOOL_HOP_MAX        280 /* of an attempt's next hop, with its NUL */

struct spool;
struct spool_message;

/* ======== filling: session/, and relay/ for the messages that it writes itself ======== */

/* What the owner of a message wants to hear. */
struct spool_owner {
	/* After SPOOL_STEP_WAIT: append again (or commit; the error, if any, shows there). */
	void (*ready)(struct spool_owner *owner);
	/* After spool_commit: 0 = durable in the queue; -errno = nowhere. With `verdict` (res 0)
	 * the message was cut through and this is the next hop's word: to be answered as it is,
	 * valid during the call. The message is gone. */
	void (*committed)(struct spool_owner *owner, int res, const struct smtp_verdict *verdict);
	/* After spool_splice: octets taken from the socket (> 0), 0 = end of stream, -EINVAL = a
	 * TLS control record is next, -EAGAIN = none, as the message failed or no pipe can be had:
	 * go on with spool_append, which says which; other -errno = the socket failed. */
	void (*spliced)(struct spool_owner *owner, int res);
};

/*
 * The worker's spool, on its thread; `store` must have been recovered (store_recover). -1 and err.
 */
MUST_USE int spool_open(struct spool **out, const struct spool_settings *settings,
	struct store *store, struct ring *ring, uint32_t worker, uint32_t workers, struct err *err);
void spool_close(struct spool *spool); /* no message may be left, spool_idle() must hold */
/* No message under way and nothing waits to be written: attempts reported before are on disk. */
bool spool_idle(const struct spool *spool);
/* Half of this worker's share of the memory is in use, or its shard cannot be written: another's may do
 * better. */
bool spool_crowded(const struct spool *spool);

/* At the end of every turn of the loop (ring_run's before_wait): starts the commits that are due. */
void spool_turn(struct spool *spool);

/* May a new message begin? 0; -ENOSPC: below free_bytes_min or messages_max (452 4.3.1); other
 * -errno: the store fails (451 4.3.0). Costs nothing: looked at once a second and after errors. */
MUST_USE int spool_ready(struct spool *spool);

/* A fresh queue id: unique on this host; and as text (upper-case hexadecimal). */
uint64_t spool_id(struct spool *spool);
void spool_id_text(uint64_t id, char text[SPOOL_ID_MAX]);
MUST_USE bool spool_id_parse(const char *text, uint64_t *id);

/*
 * Begins a message whose first octets are `head`. The envelope is borrowed until `committed` or
 * spool_abort. NULL: no memory within the budget (answer 452 4.3.1).
 */
MUST_USE struct spool_message *spool_begin(struct spool *spool, struct spool_owner *owner,
	const struct smtp_envelope *envelope, uint64_t id, struct span head);

enum spool_step {
	SPOOL_STEP_OK,   /* all taken */
	SPOOL_STEP_WAIT, /* some may be left in *bytes: stop feeding until ready() */
	SPOOL_STEP_FAIL, /* the message cannot be stored; spool_error() says why */
};

MUST_USE enum spool_step spool_append(struct spool_message *message, struct span *bytes);
/* What is appended from now on was looked at where it comes from, and is not looked at here: no CR or
 * LF stands alone in it, and no octet above 0x7f but where a call says so before the commit. */
void spool_checked(struct spool_message *message, bool has_8bit);
int spool_error(const struct spool_message *message); /* 0 or -errno */

/*
 * Memory of the message's for what comes next, to be filled in order: the first piece may be empty,
 * the second has SPOOL_BLOCK_BYTES. spool_filled() says how much of it was, and nothing else may be
 * called before that. False: none now, spool_append() is the way.
 */
#define SPOOL_ROOM_PIECES 2
MUST_USE bool spool_room(struct spool_message *message, struct iovec room[SPOOL_ROOM_PIECES]);
void spool_filled(struct spool_message *message, size_t n);

/* The message is whole: cut through or made durable; then committed(). */
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

/* ======== the queue: relay/ ======== */

/* What became of one recipient. Only PENDING ones are tried again; the others are final. */
enum spool_fate {
	SPOOL_FATE_PENDING,
	SPOOL_FATE_DELIVERED, /* 2xx, or in the Maildir */
	SPOOL_FATE_BOUNCED,   /* given up; a DSN was written where one was due */
	SPOOL_FATE_DELETED,   /* by the operator: no DSN */
};

struct spool_recipient {
	struct smtp_recipient smtp; /* in entry->envelope.recipients */
	uint8_t fate;               /* enum spool_fate; changed by spool_attempt() only */
	bool warned;                /* a delay DSN was sent; by spool_attempt() only */
	void *relay;                /* relay/'s own; NULL at first */
};

/* One try of some recipients at one next hop; also what the operator did ("operator" as hop). */
struct spool_attempt_record {
	uint64_t real_s;
	uint32_t recipients_n;        /* that it was about */
	char next_hop[SPOOL_HOP_MAX]; /* "smtp:mx.example.org:25 [192.0.2.1]" */
	char text[SPOOL_TEXT_MAX];    /* "250 2.0.0 ok", or what went wrong */
};

/*
 * A message in the queue. relay/ reads all of it, writes only the members said to be its own, and
 * changes fates and times by spool_attempt() alone. Lives until spool_finish().
 */
struct spool_entry {
	struct list node; /* spool's: all entries, oldest id first */
	uint64_t id;
	uint64_t arrived_real_us; /* when it went to the log; whole seconds after a restart */
	uint64_t size;            /* octets of the message as it stands in the spool */
	bool large;               /* in a file of its own */
	bool uncached;            /* ... which went past the page cache just now */
	bool has_8bit; /* octets >= 0x80 in it (by what was seen; spliced parts count as 8-bit) */
	bool has_bare; /* a bare CR or LF in it, or spliced parts, which nobody looked at */
	bool held;     /* by the operator */
	uint32_t attempts;             /* so far */
	uint64_t due_real_s;           /* not tried before; 0: at once */
	struct smtp_envelope envelope; /* its spans live in the entry; recipients are the array's */
	struct spool_recipient *recipients;
	uint32_t recipients_n;
	uint32_t pending_n; /* recipients with SPOOL_FATE_PENDING */

	/* relay/'s own: zero at first, timer initialised to nothing */
	struct wheel_timer due;
	struct list relay_node;
	uint32_t relay_jobs;
};

/* A message at its commit, for cutting through. */
struct spool_body {
	int fd; /* -1: in memory, else octets [offset, offset + n) of this file */
	uint64_t offset;
	uint64_t n;
	const struct iovec *iov; /* when in memory */
	unsigned iov_n;
	bool uncached; /* nothing of the file is in the page cache: see spool_loan_take() */
	bool has_8bit, has_bare; /* as in spool_entry */
};

struct spool_cut {
	uint64_t id;
	const struct smtp_envelope *envelope;
	struct spool_body body;
	void *relay; /* relay/'s own */
	/* Before `done` the outcome for some recipients may be settled: fates[i] for the i-th, all
	 * PENDING at first; the message is then queued with those fates (DELIVERED only). */
	uint8_t *fates;
};

/* What the queue's reader is told. */
struct spool_reader {
	/* A new entry: committed just now, or found at the start. */
	void (*arrived)(struct spool_reader *reader, struct spool_entry *entry);
	/* At spool_commit: true when relay/ tries to deliver now; spool_cut_done() then follows,
	 * once, never from inside this call. NULL: never cuts. */
	bool (*cut)(struct spool_reader *reader, struct spool_cut *cut);
};

/* Sets the reader; spool_start() then tells it of what the recovery found. */
void spool_read(struct spool *spool, struct spool_reader *reader);
void spool_start(struct spool *spool);

/* The end of a cut: a verdict to be the client's reply (2xx: delivered to all; 5xx: refused for
 * all), or NULL: keep the message as usual. The texts are copied. */
void spool_cut_done(struct spool *spool, struct spool_cut *cut, const struct smtp_verdict *verdict);

/* Entries in the order of their ids. */
struct spool_entry *spool_find(struct spool *spool, uint64_t id);  /* NULL: none */
struct spool_entry *spool_after(struct spool *spool, uint64_t id); /* the next greater id; NULL */
uint32_t spool_entries(const struct spool *spool);

struct spool_fate_change {
	uint32_t recipient; /* index */
	uint8_t fate;       /* PENDING: no change of fate */
	bool warned;
};

/* Reports a try: counts it, sets fates, the next time and hold; logs it durably soon (see the head).
 * An attempt that cannot be written is counted, and the recipient may be delivered to again after a
 * restart. */
struct spool_attempt {
	const char *next_hop; /* cut at the limits of spool_attempt_record */
	const char *text;
	const struct spool_fate_change *changes;
	uint32_t changes_n;
	uint64_t due_real_s;
	bool held;
	bool counts; /* raises entry->attempts: a real try, not the operator's hand */
};

void spool_attempt(
	struct spool *spool, struct spool_entry *entry, const struct spool_attempt *attempt);
/* Ends an entry that has no pending recipient and no open body; the entry is gone. */
void spool_finish(struct spool *spool, struct spool_entry *entry);

/* The newest attempts, oldest first; copies up to SPOOL_ATTEMPTS_MAX, returns how many. */
uint32_t spool_attempts(
	const struct spool_entry *entry, struct spool_attempt_record out[SPOOL_ATTEMPTS_MAX]);

/* Access to a message's octets. The handle is the caller's; its body is valid from `opened` with
 * res 0 until spool_body_close(). */
struct spool_access {
	struct spool_body body;
	bool in_file; /* set before opening: body.fd is not to be -1 */
	void (*opened)(struct spool_access *access, int res);
	/* the spool's own */
	struct op op; /* never armed: only its node is used */
	struct spool *spool;
	struct spool_entry *entry; /* NULL: closed */
	bool kept;
	void *pin;
};

void spool_body_open(struct spool *spool, struct spool_entry *entry, struct spool_access *access);
/* Also for an access whose `opened` has not come yet: then it never comes, and the handle may go at
 * once. One whose `opened` said res < 0 is closed already; closing it again does nothing. */
void spool_body_close(struct spool_access *access);

/*
 * Memory for reading a file that is `uncached` past the page cache, in large pieces: whole pages, of
 * the spool's own memory. All of it is given back by spool_loan_return(), while nothing reads into
 * it. False: there is none to spare; the file can be read like any other.
 */
#define SPOOL_LOAN_BLOCKS 64

struct spool_loan {
	struct iovec iov[SPOOL_LOAN_BLOCKS];
	struct spool_block *first; /* the spool's own; NULL: nothing was lent */
};

MUST_USE bool spool_loan_take(struct spool *spool, struct spool_loan *loan);
void spool_loan_return(struct spool *spool, struct spool_loan *loan);
/* Reads and writes of the file go past the page cache, or do not: offsets, lengths and memory are
 * then those of whole blocks, or pages of 4 KiB. False: the file system does not know it. */
MUST_USE bool spool_direct_set(int fd, bool on);

/* Where a message's octets are, for whoever reads them by other means: path below the store's
 * directory, offset. */
void spool_body_place(const struct spool_entry *entry, char *path, size_t path_n, uint64_t *offset);

#endif
