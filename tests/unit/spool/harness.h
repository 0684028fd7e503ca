/* SPDX-License-Identifier: MIT */
/*
 * harness.h -- what the tests of a worker's spool share: a store in a directory of its own, a spool
 * on a real ring, a reader that keeps a list of what arrived, and mails, owners that write down what
 * they were told.
 *
 * turn() is one turn of the loop, so that a test can stand between two steps of a message. Nothing
 * here sleeps: what never comes ends in the test's time limit.
 */
#ifndef POSTERN_TESTS_SPOOL_HARNESS_H
#define POSTERN_TESTS_SPOOL_HARNESS_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/counter.h"
#include "spool/spool-private.h"

#define TEST_LIMIT_S        120 /* one for all: Criterion leaks where limits differ */
#define MAIL_RECIPIENTS_MAX 8
#define ARRIVED_MAX         40000
#define HEAD                "Received: from a by b\r\n"

struct mail {
	struct spool_owner owner;
	struct spool_message *message;
	struct smtp_envelope envelope;
	struct smtp_recipient recipients[MAIL_RECIPIENTS_MAX];
	uint64_t id;
	unsigned ready_n;
	unsigned committed_n;
	unsigned spliced_n;
	int committed; /* result */
	int spliced;
	struct smtp_verdict verdict; /* of a cut; code 0: none */
	char text[64];               /* its text */
};

/* What the queue's reader was told. */
struct reading {
	struct spool_reader reader;
	struct spool_entry *arrived[ARRIVED_MAX];
	unsigned arrived_n;
	bool cuts; /* the answer to cut() */
	struct spool_cut *cut;
};

extern struct ring *ring;
extern struct spool *spool;
extern struct store *store;
extern struct reading reading;
extern char root[64];                  /* the store's directory */
extern struct spool_settings settings; /* may be changed before harness_open() */

void harness_open(void);
/* Checks that no message, no block and no descriptor is left. */
void harness_close(void);
/* Ends spool and store and starts them again from the disk, as if for `workers` workers. */
void harness_reopen(uint32_t worker, uint32_t workers);
extern struct store_found found; /* of the last recovery */

/* Prepares a mail to `addresses`, separated by spaces. */
void mail_init(struct mail *mail, const char *addresses);
/* The same and begins it with HEAD. */
void mail_begin(struct mail *mail, const char *addresses);
/* Appends all of it, waiting where told to. */
void mail_append(struct mail *mail, struct span bytes);
/* Commits and waits; the result. */
int mail_commit(struct mail *mail);
/* All of that with `body`; the entry. */
struct spool_entry *mail_send(const char *addresses, struct span body);
/* Starts a round of splice and waits for it; its result. */
int mail_splice(struct mail *mail, int fd, uint64_t n);

/* Reports a try that settles recipients [0, n) as `fate`. */
void attempt(struct spool_entry *entry, uint32_t n, uint8_t fate, const char *text);
/* Delivers to all and ends the entry. */
void finish(struct spool_entry *entry);

void turn(void);
void turns_until(const struct mail *mail, enum spool_state state);
/* Until every operation of the spool is over. */
void turns_until_idle(void);
/* The loop's clock stands still at what clock_ms() says and is moved by hand. */
void clock_stop(void);
void clock_move(uint64_t ms); /* and the loop turns */

/* The n-th octet of every long text. */
uint8_t pattern_octet(uint64_t n);
/* n octets of it from `from`, in memory that is never given back. */
struct span pattern(uint64_t from, size_t n);

/* Regular files below root/path. */
unsigned files_n(const char *path);
/* Octets that all of root takes on disk. */
uint64_t disk_bytes(void);
/* The entry's octets are HEAD, then `body`. */
void entry_holds(const struct spool_entry *entry, struct span body);
/* Writes root/path into a static buffer. */
const char *below_root(const char *path);
/* Where a segment's octets go in this file no process has memory: EIO. */
#define BAD_DISK "/proc/self/mem"
/* What the own shard's log writes to is replaced by another file, e.g. /dev/full. */
void head_becomes(const char *path);
void segment_becomes(const struct spool_segment *segment, const char *path);

#endif
