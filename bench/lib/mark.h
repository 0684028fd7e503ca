/* SPDX-License-Identifier: MIT */
/*
 * mark.h -- numbered messages: what the load tool writes and the sink, or a test, checks.
 *
 *	X-Postern-Number: 0000000000000042      decimal, counted from 0 (or --number-from)
 *	X-Postern-Digest: <64 hex digits>       SHA-256 of the body, octet for octet
 *
 * The body is what follows the empty line: dots unstuffed, line ends as sent (CRLF), without the
 * terminating dot. Both lines stand in the message's own header, so that trace lines put in front
 * on the way do not matter.
 */
#ifndef POSTERN_BENCH_MARK_H
#define POSTERN_BENCH_MARK_H

#include <openssl/evp.h>

#include "base/span.h"

#define MARK_NUMBER_FIELD  "X-Postern-Number: "
#define MARK_DIGEST_FIELD  "X-Postern-Digest: "
#define MARK_NUMBER_DIGITS 16
#define MARK_DIGEST_BYTES  32
#define MARK_DIGEST_DIGITS (2 * MARK_DIGEST_BYTES)

void mark_put_number(uint8_t *digits, uint64_t number);
void mark_put_digest(uint8_t *digits, const uint8_t digest[MARK_DIGEST_BYTES]);

/* Reads a stored message piece by piece. */
enum mark_part { MARK_HEADER, MARK_BODY };

struct mark {
	enum mark_part part;
	bool numbered;
	bool digested;
	bool broken; /* a field of ours that is not as it should be */
	uint16_t line_n;
	uint64_t number;
	uint8_t digest[MARK_DIGEST_DIGITS];
	uint8_t line[128]; /* the beginning of a header line */
	EVP_MD_CTX *hash;  /* the owner's, made once */
};

enum mark_verdict { MARK_NONE, MARK_GOOD, MARK_CORRUPT };

void mark_begin(struct mark *mark, EVP_MD_CTX *hash);
void mark_take(struct mark *mark, struct span bytes);
/* MARK_NONE: the message bears no number. MARK_CORRUPT without .numbered: not even that. */
MUST_USE enum mark_verdict mark_end(struct mark *mark);

#endif
