/* SPDX-License-Identifier: MIT */
/*
 * recipients-private.h -- the recipients file in memory, and the form in which addresses are
 * compared: local part without its quotes, "@", domain; ASCII letters folded.
 */
#ifndef POSTERN_POLICY_RECIPIENTS_PRIVATE_H
#define POSTERN_POLICY_RECIPIENTS_PRIVATE_H

#include "base/span.h"

#define RECIPIENTS_ADDRESS_MAX 320 /* octets: 64 + "@" + 255 (RFC 5321 4.5.3.1) */

struct recipients;

/* Reads and indexes the file. -1 and err "FILE:LINE: ..." on failure. */
MUST_USE int recipients_open(struct recipients **out, const char *path, struct err *err);

/*
 * As recipients_open, from memory: n octets and room for one more, which from now on belong to
 * the recipients (free()), on failure too. `path` is for messages.
 */
MUST_USE int recipients_parse(
	struct recipients **out, const char *path, char *text, size_t n, struct err *err);

void recipients_close(struct recipients *recipients);

/* True if the address itself or any address at its domain is listed. `local` as SMTP wrote it. */
MUST_USE bool recipients_has(
	const struct recipients *recipients, struct span local, struct span domain);

/*
 * Writes a local part's content: outer quotes and quoted-pairs undone, ASCII letters folded.
 * Returns octets, or -1 if they are more than RECIPIENTS_ADDRESS_MAX or hold a control character.
 */
MUST_USE int recipients_local(char out[RECIPIENTS_ADDRESS_MAX], struct span local);

/* Writes the form in which addresses are compared and LMDB has its keys. Octets, or -1 as
 * recipients_local. */
MUST_USE int recipients_form(
	char out[RECIPIENTS_ADDRESS_MAX], struct span local, struct span domain);

#endif
