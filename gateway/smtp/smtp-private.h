/* SPDX-License-Identifier: MIT */
/*
 * smtp-private.h -- what the files of smtp/ share: the states, the replies, the handlers.
 *
 * A handler gets a turn and answers true when it filled turn->event for the coordinator, false
 * when the machine goes on by itself. Handlers check syntax, then order, then ask or proceed.
 * Every handler may append one reply; smtp_step() made sure of the room.
 */
#ifndef POSTERN_SMTP_PRIVATE_H
#define POSTERN_SMTP_PRIVATE_H

#include "smtp/smtp.h"

/*
 * One machine for session, transaction and message. ASK states wait for smtp_answer(). The
 * transitions that are legal stand in smtp.c.
 */
enum smtp_state {
	SMTP_STATE_START,       /* no HELO yet */
	SMTP_STATE_READY,       /* no transaction */
	SMTP_STATE_ASK_MAIL,    /* MAIL is with the coordinator */
	SMTP_STATE_MAIL,        /* transaction without recipients */
	SMTP_STATE_ASK_RCPT,    /* RCPT is with the coordinator */
	SMTP_STATE_RCPT,        /* transaction with recipients */
	SMTP_STATE_ASK_DATA,    /* BEGIN for DATA */
	SMTP_STATE_DATA,        /* octets of DATA, spoiled ones too */
	SMTP_STATE_ASK_BDAT,    /* BEGIN for the first BDAT */
	SMTP_STATE_CHUNK,       /* octets of a BDAT chunk */
	SMTP_STATE_BDAT,        /* between two chunks of a message */
	SMTP_STATE_DISCARD,     /* octets of a refused chunk */
	SMTP_STATE_FAILED,      /* a chunk was refused: only the transaction's end helps */
	SMTP_STATE_ASK_END,     /* END is with the coordinator */
	SMTP_STATE_ASK_TLS,     /* STARTTLS is with the coordinator */
	SMTP_STATE_TLS,         /* after STARTTLS, until smtp_upgraded() */
	SMTP_STATE_ASK_XCLIENT, /* XCLIENT is with the coordinator */
	SMTP_STATE_COUNT
};

enum smtp_reply {
	SMTP_REPLY_NONE, /* no error */
	SMTP_REPLY_OK,
	SMTP_REPLY_HELP,
	SMTP_REPLY_VRFY,
	SMTP_REPLY_QUIT,
	SMTP_REPLY_TLS,
	SMTP_REPLY_DATA,
	SMTP_REPLY_MAIL,
	SMTP_REPLY_RCPT,
	SMTP_REPLY_UNKNOWN,
	SMTP_REPLY_EXPN,
	SMTP_REPLY_LINE_LONG,
	SMTP_REPLY_LINE_NEWLINE,
	SMTP_REPLY_LINE_NUL,
	SMTP_REPLY_LINE_MEMORY,
	SMTP_REPLY_ARGUMENT_NONE,
	SMTP_REPLY_ARGUMENT_MISSING,
	SMTP_REPLY_HELO_SYNTAX,
	SMTP_REPLY_MAIL_SYNTAX,
	SMTP_REPLY_RCPT_SYNTAX,
	SMTP_REPLY_BDAT_SYNTAX,
	SMTP_REPLY_MAIL_ADDRESS,
	SMTP_REPLY_RCPT_ADDRESS,
	SMTP_REPLY_ADDRESS_UTF8,
	SMTP_REPLY_PARAM_SYNTAX,
	SMTP_REPLY_PARAM_VALUE,
	SMTP_REPLY_PARAM_TWICE,
	SMTP_REPLY_PARAM_UNKNOWN,
	SMTP_REPLY_PARAM_HELO,
	SMTP_REPLY_ORDER_HELO,
	SMTP_REPLY_ORDER_MAIL,
	SMTP_REPLY_ORDER_NESTED,
	SMTP_REPLY_ORDER_RCPT,
	SMTP_REPLY_ORDER_TLS,
	SMTP_REPLY_ORDER_BDAT,
	SMTP_REPLY_ORDER_FAILED,
	SMTP_REPLY_ORDER_BINARY,
	SMTP_REPLY_TLS_NOT_OFFERED,
	SMTP_REPLY_TLS_ACTIVE,
	SMTP_REPLY_TLS_NEEDED,
	SMTP_REPLY_XCLIENT_DENIED,
	SMTP_REPLY_XCLIENT_ATTRIBUTE,
	SMTP_REPLY_RECIPIENTS_MAX,
	SMTP_REPLY_MESSAGES_MAX,
	SMTP_REPLY_ERRORS_MAX,
	SMTP_REPLY_MEMORY,
	SMTP_REPLY_SIZE,
	SMTP_REPLY_NEWLINE,
	SMTP_REPLY_NUL,
	SMTP_REPLY_8BIT,
	SMTP_REPLY_HOPS,
	SMTP_REPLY_COUNT
};

/* One call of smtp_step(). */
struct smtp_turn {
	struct smtp *smtp;
	struct span *in;
	struct buf *out;
	struct smtp_event *event;
	struct span line; /* the command line, without its end and trailing blanks */
	struct span arg;  /* what follows the verb and one space */
};

/* ---- smtp.c ---- */

/* The one setter: asserts that the step is legal. */
void smtp_state_set(struct smtp *smtp, enum smtp_state state);
/* The transaction ends; it stays readable until the next step. */
void smtp_transaction_end(struct smtp *smtp, enum smtp_state state);
/* Answers an event; returns true. */
bool smtp_tell(struct smtp_turn *turn, enum smtp_event_kind kind);
/* The session ends after what was appended so far. The first reason stays. */
void smtp_closing_set(struct smtp *smtp, enum smtp_close_reason reason);

/* ---- reply.c ---- */

/* Appends a reply of the table; counts it when it is an error. */
void smtp_reply(struct smtp *smtp, struct buf *out, enum smtp_reply reply);
/* Appends "CODE ENHANCED text"; absent members of `verdict` are taken from `usual`. */
void smtp_reply_verdict(struct smtp *smtp, struct buf *out, const struct smtp_verdict *verdict,
	enum smtp_reply usual);
/* Appends ready text that is no error. */
void smtp_reply_printf(struct smtp *smtp, struct buf *out, const char *fmt, ...) PRINTF_LIKE(3, 4);
const struct smtp_verdict *smtp_reply_row(enum smtp_reply reply);

/* ---- line.c ---- */

/* The machine's step while commands come: splits a line off and runs it. */
bool smtp_line_step(struct smtp_turn *turn);
void smtp_line_release(struct smtp *smtp);

/* ---- command.c and one file a command ---- */

bool smtp_command_run(struct smtp_turn *turn);
/* The 503 for a command that does not fit the state; `between`: in a transaction. */
enum smtp_reply smtp_order_reply(const struct smtp *smtp, enum smtp_reply between);
bool smtp_helo_run(struct smtp_turn *turn);
bool smtp_ehlo_run(struct smtp_turn *turn);
bool smtp_mail_run(struct smtp_turn *turn);
void smtp_mail_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out);
bool smtp_rcpt_run(struct smtp_turn *turn);
void smtp_rcpt_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out);
bool smtp_data_run(struct smtp_turn *turn);
void smtp_data_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out);
bool smtp_data_step(struct smtp_turn *turn);
bool smtp_bdat_run(struct smtp_turn *turn);
void smtp_bdat_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out);
bool smtp_bdat_step(struct smtp_turn *turn);
bool smtp_bdat_discard_step(struct smtp_turn *turn);
bool smtp_starttls_run(struct smtp_turn *turn);
void smtp_starttls_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out);
bool smtp_xclient_run(struct smtp_turn *turn);
void smtp_xclient_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out);
/* What EHLO announces (RFC 5321 4.2.4), one keyword and its attributes. */
#define SMTP_XCLIENT_KEYWORDS "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
/* One word of printable ASCII, not too long: good for HELO's name. */
MUST_USE bool smtp_name_valid(struct span name);
/* HELO's name is this from now on, or where memory is short as much of it as fits. */
void smtp_helo_set(struct smtp *smtp, struct span name);
/* There is none any more. */
void smtp_helo_forget(struct smtp *smtp);

/* ---- message.c ---- */

/* A message begins; both commands that carry one call it. */
void smtp_message_open(struct smtp *smtp);
/* Counts octets that are about to be told as BODY; else the reply the message is refused with. */
MUST_USE enum smtp_reply smtp_message_take(struct smtp *smtp, struct span octets);
/* Refuses the message: tells SPOIL, keeps the reply for the end. Returns true. */
bool smtp_message_spoil(struct smtp_turn *turn, enum smtp_reply reply);
/* Tells ABORT if a message is open; false if none is. */
bool smtp_message_abort(struct smtp_turn *turn);
/* The message is whole. Returns true. */
bool smtp_message_end(struct smtp_turn *turn);
void smtp_message_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out);

/* ---- body.c ---- */

enum smtp_decode {
	SMTP_DECODE_MORE,    /* all input taken */
	SMTP_DECODE_RUN,     /* *run is content; from the input, or static */
	SMTP_DECODE_END,     /* CRLF.CRLF was taken */
	SMTP_DECODE_NEWLINE, /* a bare CR or LF stands at the input's start (CR: just before it) */
	SMTP_DECODE_NUL,     /* a NUL stands there */
	SMTP_DECODE_8BIT,    /* an octet >= 0x80 stands there */
};

/* `line_start`: the DATA command ended with a true CRLF. */
void smtp_decoder_init(
	struct smtp_decoder *decoder, bool refuse_newline, bool refuse_8bit, bool line_start);
/*
 * Decodes the octets of DATA (RFC 5321 4.5.2), whatever the cuts. After NEWLINE, NUL or 8BIT the
 * caller sets decoder->discard: then no more than MORE and END come.
 */
MUST_USE enum smtp_decode smtp_decode(
	struct smtp_decoder *decoder, struct span *in, struct span *run);

/* ---- stretch.c ---- */

/* Where in a line the next octet of DATA stands. */
enum smtp_place {
	SMTP_PLACE_LINE,
	SMTP_PLACE_CR,     /* behind a CR, which was passed on */
	SMTP_PLACE_START,  /* behind a true CRLF, or at the very start */
	SMTP_PLACE_DOT,    /* behind a dot at a line's start, which was taken off */
	SMTP_PLACE_DOT_CR, /* and a CR, which was not passed on */
};

/*
 * Octets from p that are content just as they stand, by strides up to the first one that the decoder's
 * machine has to look at; may be fewer than there are, or 0. The place is START, the LF at p[-1] can
 * be read; it is moved behind them.
 */
MUST_USE size_t smtp_stretch(struct smtp_decoder *decoder, const uint8_t *p, size_t n);

enum smtp_stretch_by { SMTP_STRETCH_NONE, SMTP_STRETCH_SSE2, SMTP_STRETCH_AVX2 };
/* No better instructions than these, even where they are there. */
void smtp_stretch_limit_for_test(enum smtp_stretch_by most);

/* ---- path.c ---- */

/*
 * Takes "<...>" (RFC 5321 4.1.2, RFC 6531 3.3) off *rest; false on bad syntax. `null_allowed`:
 * "<>" is the null reverse-path; otherwise "<postmaster>" may stand without a domain. The spans
 * of *address point into *rest.
 */
MUST_USE bool smtp_path_take(struct span *rest, bool null_allowed, struct smtp_address *address);
/* Domain as of RFC 5321 4.1.2; octets >= 0x80 count as letters. */
MUST_USE bool smtp_domain_valid(struct span domain);
/* "[...]" as of RFC 5321 4.1.3. */
MUST_USE bool smtp_literal_valid(struct span literal);
/* UTF-8 as of RFC 3629: shortest form, no surrogates, at most U+10FFFF. */
MUST_USE bool smtp_utf8_valid(struct span text);
/* A copy in the arena; text.p is NULL on failure. */
MUST_USE struct smtp_address smtp_address_copy(
	struct arena *arena, const struct smtp_address *address);

/* ---- param.c ---- */

/* A keyword of MAIL or RCPT. `take` reads the value into `target`, a struct of its command. */
struct smtp_param {
	const char *keyword;
	enum { SMTP_PARAM_BARE, SMTP_PARAM_VALUE } form;
	enum smtp_reply (*take)(struct smtp *smtp, void *target, struct span value);
};

/* One parameter as written. */
struct smtp_param_text {
	struct span keyword;
	struct span value;
	bool has_value;
};

/* Takes SP esmtp-keyword ["=" esmtp-value] off *rest, which is not empty. */
MUST_USE bool smtp_param_take(struct span *rest, struct smtp_param_text *param);

#define SMTP_PARAMS_MAX 32 /* rows of a table: one bit each says "seen" */

/* Reads " KEY[=VALUE]"... to the end of the line; SMTP_REPLY_NONE or the error. */
MUST_USE enum smtp_reply smtp_params_read(struct smtp *smtp, struct span rest,
	const struct smtp_param *params, size_t params_n, void *target);
/* xtext (RFC 3461 4) that decodes to printable ASCII. */
MUST_USE bool smtp_xtext_valid(struct span text);
/* Decodes what is valid, in the arena; .p NULL when memory is short. */
MUST_USE struct span smtp_xtext_decode(struct arena *arena, struct span text);

#endif
