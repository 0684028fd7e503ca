/* SPDX-License-Identifier: MIT */
/*
 * tlsrpt-private.h -- what is counted, and who may touch it: all of it under tlsrpt->lock.
 *
 *	day > domain > policy > failure
 *
 * Strings are cleaned before they come in here: printable ASCII, cut, so that they can stand in a line
 * of the file and in JSON. Several of them are kept one behind the other, each with its NUL: such a
 * block is compared as a whole.
 */
#ifndef POSTERN_TLSRPT_PRIVATE_H
#define POSTERN_TLSRPT_PRIVATE_H

#include <pthread.h>
#include <stdio.h>

#include "tls/sign.h"
#include "tlsrpt/tlsrpt.h"

#define TLSRPT_DAY_S        86400
#define TLSRPT_SPREAD_S     14400 /* a day's reports go within so many seconds */
#define TLSRPT_BUCKETS      1024
#define TLSRPT_FILE         "tlsrpt"
#define TLSRPT_FILE_NEW     "tlsrpt.new"
#define TLSRPT_FILE_DAMAGED "tlsrpt.damaged"

/* Strings of a failure, in their order. */
enum tlsrpt_word {
	TLSRPT_WORD_SENDING_IP,
	TLSRPT_WORD_MX,
	TLSRPT_WORD_RECEIVING_IP,
	TLSRPT_WORD_REASON,
	TLSRPT_WORDS
};

#define TLSRPT_BLOCK_MAX ((TLSRPT_STRINGS_MAX + TLSRPT_MX_MAX) * (TLSRPT_TEXT_MAX + 1))

/* Strings, each with its NUL. */
struct tlsrpt_block {
	uint32_t n;
	char text[TLSRPT_BLOCK_MAX];
};

struct tlsrpt_failure {
	struct tlsrpt_failure *next;
	uint64_t sessions;
	enum tlsrpt_result result;
	uint32_t text_n;
	char text[]; /* TLSRPT_WORDS strings */
};

/* A policy as it was applied. */
struct tlsrpt_row {
	struct tlsrpt_row *next;
	uint64_t successes;
	struct tlsrpt_failure *failures;
	uint32_t failures_n;
	enum tlsrpt_policy policy;
	uint32_t strings_n;
	uint32_t mx_n;
	uint32_t text_n;
	char text[]; /* strings_n + mx_n strings */
};

enum tlsrpt_state { TLSRPT_OPEN, TLSRPT_SENT, TLSRPT_NOT_SENT, TLSRPT_STATES };

struct tlsrpt_domain {
	struct tlsrpt_domain *next; /* in its bucket */
	uint64_t hash;
	struct tlsrpt_row *rows;
	uint32_t rows_n;
	enum tlsrpt_state state;
	char name[];
};

struct tlsrpt_day {
	uint32_t day; /* since 1970; 0: not used */
	uint32_t domains_n;
	uint32_t due_at; /* in no bucket before it a domain is open */
	size_t bytes;
	struct tlsrpt_domain *buckets[TLSRPT_BUCKETS];
};

struct tlsrpt {
	const struct tlsrpt_settings *settings;
	const char *hostname;
	const char *submitter;    /* the domain that reports come from */
	struct tls_sign_key *key; /* NULL: not signed */
	int dir;                  /* -1: nothing is kept */
	pthread_mutex_t lock;
	uint64_t seed;
	bool changed;
	struct tlsrpt_day days[TLSRPT_DAYS]; /* by day modulo */
};

/* ---- table.c ---- */

uint32_t tlsrpt_today(void);
/* Lower case, NUL; false: not a domain that can be reported to. */
MUST_USE bool tlsrpt_name_clean(struct span name, char out[STS_NAME_MAX + 1]);
/* Appends a string, cleaned and cut. */
void tlsrpt_block_add(struct tlsrpt_block *block, struct span text);
/* The next string of a block. */
static inline const char *tlsrpt_text_next(const char *text)
{
	return text + strlen(text) + 1;
}

/* The day's counts, NULL if none are kept. */
struct tlsrpt_day *tlsrpt_day_find(struct tlsrpt *tlsrpt, uint32_t day);
/* The same, made where it is missing (an older day goes for it); NULL: not one of those kept. */
struct tlsrpt_day *tlsrpt_day_get(struct tlsrpt *tlsrpt, uint32_t day);
struct tlsrpt_domain *tlsrpt_domain_find(
	const struct tlsrpt *tlsrpt, const struct tlsrpt_day *day, const char *name);
/* These make what is missing. NULL: a limit, which is counted, or memory is short. */
struct tlsrpt_domain *tlsrpt_domain_get(
	struct tlsrpt *tlsrpt, struct tlsrpt_day *day, const char *name);
struct tlsrpt_row *tlsrpt_row_get(struct tlsrpt_day *day, struct tlsrpt_domain *domain,
	enum tlsrpt_policy policy, uint32_t strings_n, uint32_t mx_n,
	const struct tlsrpt_block *block);
/* At a limit the row of the result without its strings. */
struct tlsrpt_failure *tlsrpt_failure_get(struct tlsrpt_day *day, struct tlsrpt_row *row,
	enum tlsrpt_result result, const struct tlsrpt_block *block);
void tlsrpt_forget_all(struct tlsrpt *tlsrpt);

/* ---- file.c ---- */

extern const char *const tlsrpt_policy_words[]; /* by enum tlsrpt_policy, as in reports */

/* Adds what the file says. False: it is damaged; what was read until then is to be forgotten. */
MUST_USE bool tlsrpt_file_parse(struct tlsrpt *tlsrpt, struct span text);
/* -EBADMSG: damaged; -ENOENT: there is none. */
MUST_USE int tlsrpt_file_read(struct tlsrpt *tlsrpt);
/* The file's octets, allocated; takes the lock itself, for a slice at a time. 0 or -ENOMEM. */
MUST_USE int tlsrpt_file_text(struct tlsrpt *tlsrpt, char **text, size_t *n);
/* 0 or -errno. */
MUST_USE int tlsrpt_file_write(struct tlsrpt *tlsrpt);

/* ---- mail.c ---- */

/* RFC 4648 4, in lines of so many octets (a multiple of 4), `fold` before each but the first. */
void tlsrpt_base64(FILE *out, struct span bytes, size_t line, const char *fold);

/* ---- dkim.c ---- */

/*
 * Writes the DKIM-Signature field of a message, its CRLF included. head: the message's fields with
 * their line ends, without the empty line; body: what follows that. 0 or -ENOMEM.
 */
MUST_USE int tlsrpt_dkim_write(FILE *out, const struct tls_sign_key *key, const char *domain,
	const char *selector, uint64_t now_s, struct span head, struct span body);

/* What is signed of them (RFC 6376 3.4.2, 3.4.4); *canon is allocated, free(). */
MUST_USE int tlsrpt_dkim_body(struct span body, char **canon, size_t *n);
MUST_USE int tlsrpt_dkim_head(struct span head, struct span signature, char **canon, size_t *n);

#endif
