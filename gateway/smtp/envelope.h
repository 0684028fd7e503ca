/* SPDX-License-Identifier: MIT */
/*
 * envelope.h -- what a transaction says about its message (RFC 5321 2.3.1): reverse-path,
 * recipients and their parameters; and the verdict that policy answers about it.
 *
 * All spans point into the transaction's arena and end with it.
 */
#ifndef POSTERN_SMTP_ENVELOPE_H
#define POSTERN_SMTP_ENVELOPE_H

#include "base/list.h"
#include "base/span.h"

/* A Mailbox as written (RFC 5321 4.1.2), source route removed. */
struct smtp_address {
	struct span text;   /* local@domain, as the client wrote it; empty: the null reverse-path */
	struct span local;  /* part of text; quotes kept as written */
	struct span domain; /* part of text; empty for <postmaster>; address literals keep their
			       brackets */
	bool utf8;          /* holds octets >= 0x80 (RFC 6531) */
};

enum smtp_body { SMTP_BODY_7BIT, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };

/* NOTIFY (RFC 3461 4.1), a mask; 0: not given. */
enum {
	SMTP_NOTIFY_NEVER = 1,
	SMTP_NOTIFY_SUCCESS = 2,
	SMTP_NOTIFY_FAILURE = 4,
	SMTP_NOTIFY_DELAY = 8
};

struct smtp_recipient {
	struct list node; /* in smtp_envelope.recipients */
	struct smtp_address address;
	struct span orcpt; /* "rfc822;...", xtext kept as written; empty: not given */
	uint8_t notify;
};

struct smtp_envelope {
	struct smtp_address reverse_path;
	struct list recipients; /* of smtp_recipient, accepted ones in order */
	uint32_t recipients_n;
	uint64_t size; /* SIZE= (RFC 1870); 0: not given */
	enum smtp_body body;
	enum smtp_ret ret;
	struct span envid; /* xtext as written; empty: not given */
	bool smtputf8;
	bool requiretls;   /* RFC 8689 2: only over TLS that is verified, all the way */
	bool tls_optional; /* "TLS-Required: No" (RFC 8689 3), once the header section has ended */
};

enum smtp_verdict_kind {
	SMTP_VERDICT_ACCEPT,
	SMTP_VERDICT_REFUSE, /* reply with code, the session goes on */
	SMTP_VERDICT_CLOSE,  /* reply with code, then close (421) */
};

/* An answer about a command. On ACCEPT code 0 means the command's usual reply; else the texts of
 * the reply line "CODE ENHANCED text". Static or longer-lived than the reply call. */
struct smtp_verdict {
	enum smtp_verdict_kind kind;
	uint16_t code;
	const char *enhanced; /* "5.7.1" */
	const char *text;     /* one line, no CRLF */
};

#endif
