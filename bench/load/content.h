/* SPDX-License-Identifier: MIT */
/*
 * content.h -- everything that is ever sent, made before the start; messages are three pieces of it.
 *
 * A message is a small head of its own (number and digest are written into a copy of a template),
 * a run of lines out of one text that all share, and a last line that makes the size exact. So a
 * message costs a few hundred octets of copying, whatever its size, and no allocation. Lines are 64
 * octets, never begin with a dot, and the text begins elsewhere for each number, so that bodies
 * of equal size differ.
 */
#ifndef POSTERN_BENCH_LOAD_CONTENT_H
#define POSTERN_BENCH_LOAD_CONTENT_H

#include <openssl/evp.h>
#include <sys/uio.h>

#include "base/span.h"

#define CONTENT_ADDRESS_MAX 100
#define CONTENT_HEAD_MAX    766
#define CONTENT_SIZE_MIN    (CONTENT_HEAD_MAX + 2)
#define CONTENT_PIECES      3

struct options;

struct content {
	uint8_t *text;
	uint32_t size_min;
	uint32_t size_max; /* octets of the largest message */
	uint32_t head_n;
	uint32_t id_at;     /* where in the head the number goes, */
	uint32_t number_at; /* twice, */
	uint32_t digest_at; /* and the digest; 0: not at all */
	uint8_t head[CONTENT_HEAD_MAX + 1];
	char ehlo[CONTENT_ADDRESS_MAX + 16];
	char mail[CONTENT_ADDRESS_MAX + 40];
	char *rcpt;        /* the RCPT lines of all mailboxes, the first ones again at the end */
	uint32_t *rcpt_at; /* mailboxes + recipients + 1 offsets */
};

struct message {
	uint64_t number;
	uint32_t size;
	uint8_t head[CONTENT_HEAD_MAX];
	struct iovec pieces[CONTENT_PIECES]; /* empty ones possible */
};

MUST_USE int content_open(struct content *content, const struct options *options, struct err *err);
void content_close(struct content *content);

/* size within size_min..size_max. hash: made by the caller, used when digests are wanted. */
void content_message(const struct content *content, struct message *message, uint64_t number,
	uint32_t size, EVP_MD_CTX *hash);

/* Octets [from, to) of the message as pieces; their number. */
unsigned content_slice(const struct message *message, uint32_t from, uint32_t to,
	struct iovec pieces[CONTENT_PIECES]);

/* n RCPT lines, beginning with this mailbox. */
struct span content_rcpt(const struct content *content, uint32_t mailbox, uint32_t n);

#endif
