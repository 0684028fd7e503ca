/* SPDX-License-Identifier: MIT */
/*
 * reference.h -- DATA decoded the slow and obvious way, with the whole input in view: what the
 * decoder of body.c is compared with, by unit test and fuzzer.
 */
#ifndef POSTERN_TESTS_SMTP_REFERENCE_H
#define POSTERN_TESTS_SMTP_REFERENCE_H

#include "smtp/smtp-private.h"

struct reference {
	enum smtp_decode refusal; /* the first thing refused; MORE: nothing */
	bool ended;
	size_t taken;     /* octets up to and with CRLF.CRLF */
	uint8_t *content; /* room for 2 * input + 2 */
	size_t content_n; /* up to the refusal, or all */
};

void reference_decode(struct reference *reference, struct span input, bool refuse_newline,
	bool refuse_8bit, bool line_start);

#endif
