/* SPDX-License-Identifier: MIT */
/*
 * harness.h -- what the tests of spool/ share: a spool on a real ring in a directory of its own,
 * and mails, owners that write down what they were told.
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

#include "spool/spool-private.h"

#define TEST_LIMIT_S        30
#define MAIL_RECIPIENTS_MAX 8
#define BUDGET_USUAL        (64u << 20)
#define HEAD                "Return-Path: <s@example.net>\r\n"

struct mail {
	struct spool_owner owner;
	struct spool_message *message;
	struct smtp_envelope envelope;
	struct smtp_recipient recipients[MAIL_RECIPIENTS_MAX];
	char id[SPOOL_ID_MAX];
	unsigned ready_n;
	unsigned committed_n;
	unsigned spliced_n;
	int committed; /* result */
	int spliced;
};

extern struct ring *ring;
extern struct spool *spool;
extern char root[64]; /* the Maildir tree */

void harness_open(uint64_t memory_bytes_max, bool durable);
/* Checks that no message, no block and no descriptor is left. */
void harness_close(void);

/* Prepares a mail to `addresses`, separated by spaces. */
void mail_init(struct mail *mail, const char *addresses);
/* The same and begins it with HEAD. */
void mail_begin(struct mail *mail, const char *addresses);
/* Appends all of it, waiting where told to. */
void mail_append(struct mail *mail, struct span bytes);
/* Commits and waits; the result. */
int mail_commit(struct mail *mail);
/* Starts a round of splice and waits for it; its result. */
int mail_splice(struct mail *mail, int fd, uint64_t n);

void turn(void);
void turns_until(const struct mail *mail, enum spool_state state);
/* Until every operation of the spool is over. */
void turns_until_idle(void);

/* The n-th octet of every long text. */
uint8_t pattern_octet(uint64_t n);
/* n octets of it from `from`, in memory that is never given back. */
struct span pattern(uint64_t from, size_t n);

/* Regular files below root. */
unsigned files_n(void);
/* The one message of a mailbox, "domain/local": HEAD, then `body`; mode 0600. */
void box_holds(const char *box, struct span body);
/* Writes root/path into a static buffer. */
const char *below_root(const char *path);

#endif
