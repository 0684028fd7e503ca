/* SPDX-License-Identifier: MIT */
/*
 * reply.c -- every reply of the room as a row: code, enhanced status code (RFC 3463), text.
 *
 * Job: appends replies, counts errors, says 421 when there were too many. The coordinator's
 * verdicts come through here too, so that one place decides what an error is: any 5xx.
 * Invariant: a reply line is at most REPLY_LINE_MAX octets (RFC 5321 4.5.3.1.5), so an error and
 * the 421 behind it fit SMTP_REPLY_MAX.
 * Rejected: the 421 at the command after the last error. It keeps a session open that is only
 * there to guess.
 */
#include "smtp/smtp-private.h"

#include <stdio.h>

#include "base/counter.h"

#define REPLY_LINE_MAX 512
#define REPLY_TEXT_MAX 480 /* a verdict's text; longer ones are cut */

/* clang-format off */
static const struct smtp_verdict replies[SMTP_REPLY_COUNT] = {
	[SMTP_REPLY_OK] = {.code = 250, .enhanced = "2.0.0", .text = "Ok"},
	[SMTP_REPLY_HELP] = {.code = 214, .enhanced = "2.0.0", .text =
		"RFC 5321: HELO EHLO MAIL RCPT DATA BDAT RSET NOOP HELP VRFY STARTTLS QUIT"},
	[SMTP_REPLY_VRFY] = {.code = 252, .enhanced = "2.0.0", .text =
		"Cannot verify, but will take a message for it and try"},
	[SMTP_REPLY_QUIT] = {.code = 221, .enhanced = "2.0.0", .text = "Bye"},
	[SMTP_REPLY_TLS] = {.code = 220, .enhanced = "2.0.0", .text = "Ready to start TLS"},
	[SMTP_REPLY_DATA] = {.code = 354, .text = "End data with <CR><LF>.<CR><LF>"},
	[SMTP_REPLY_MAIL] = {.code = 250, .enhanced = "2.1.0", .text = "Sender ok"},
	[SMTP_REPLY_RCPT] = {.code = 250, .enhanced = "2.1.5", .text = "Recipient ok"},
	[SMTP_REPLY_UNKNOWN] = {.code = 500, .enhanced = "5.5.2", .text =
		"Command not recognized"},
	[SMTP_REPLY_EXPN] = {.code = 502, .enhanced = "5.5.1", .text =
		"EXPN is not implemented"},
	[SMTP_REPLY_LINE_LONG] = {.code = 500, .enhanced = "5.5.2", .text = "Line too long"},
	[SMTP_REPLY_LINE_NEWLINE] = {.code = 500, .enhanced = "5.5.2", .text =
		"Bare <CR> or <LF>: lines end with <CR><LF>"},
	[SMTP_REPLY_LINE_NUL] = {.code = 500, .enhanced = "5.5.2", .text = "NUL in a command"},
	[SMTP_REPLY_LINE_MEMORY] = {.code = 421, .enhanced = "4.3.0", .text =
		"Out of memory, closing"},
	[SMTP_REPLY_ARGUMENT_NONE] = {.code = 501, .enhanced = "5.5.4", .text =
		"The command takes no argument"},
	[SMTP_REPLY_ARGUMENT_MISSING] = {.code = 501, .enhanced = "5.5.4", .text =
		"The command needs an argument"},
	[SMTP_REPLY_HELO_SYNTAX] = {.code = 501, .enhanced = "5.5.4", .text =
		"Need a host name or an address literal"},
	[SMTP_REPLY_MAIL_SYNTAX] = {.code = 501, .enhanced = "5.5.2", .text =
		"Syntax: MAIL FROM:<address> [parameters]"},
	[SMTP_REPLY_RCPT_SYNTAX] = {.code = 501, .enhanced = "5.5.2", .text =
		"Syntax: RCPT TO:<address> [parameters]"},
	[SMTP_REPLY_BDAT_SYNTAX] = {.code = 501, .enhanced = "5.5.4", .text =
		"Syntax: BDAT octets [LAST]"},
	[SMTP_REPLY_MAIL_ADDRESS] = {.code = 501, .enhanced = "5.1.7", .text =
		"Bad sender address syntax"},
	[SMTP_REPLY_RCPT_ADDRESS] = {.code = 501, .enhanced = "5.1.3", .text =
		"Bad recipient address syntax"},
	[SMTP_REPLY_ADDRESS_UTF8] = {.code = 553, .enhanced = "5.6.7", .text =
		"A non-ASCII address needs SMTPUTF8"},
	[SMTP_REPLY_PARAM_SYNTAX] = {.code = 501, .enhanced = "5.5.4", .text =
		"Bad parameter syntax"},
	[SMTP_REPLY_PARAM_VALUE] = {.code = 501, .enhanced = "5.5.4", .text =
		"Bad parameter value"},
	[SMTP_REPLY_PARAM_TWICE] = {.code = 501, .enhanced = "5.5.4", .text =
		"Parameter given twice"},
	[SMTP_REPLY_PARAM_UNKNOWN] = {.code = 555, .enhanced = "5.5.4", .text =
		"Parameter not recognized"},
	[SMTP_REPLY_PARAM_HELO] = {.code = 555, .enhanced = "5.5.4", .text =
		"Parameters need EHLO"},
	[SMTP_REPLY_ORDER_HELO] = {.code = 503, .enhanced = "5.5.1", .text =
		"Say EHLO or HELO first"},
	[SMTP_REPLY_ORDER_MAIL] = {.code = 503, .enhanced = "5.5.1", .text = "Need MAIL first"},
	[SMTP_REPLY_ORDER_NESTED] = {.code = 503, .enhanced = "5.5.1", .text =
		"A transaction is under way"},
	[SMTP_REPLY_ORDER_RCPT] = {.code = 503, .enhanced = "5.5.1", .text =
		"No valid recipients"},
	[SMTP_REPLY_ORDER_TLS] = {.code = 503, .enhanced = "5.5.1", .text =
		"Not during a transaction"},
	[SMTP_REPLY_ORDER_BDAT] = {.code = 503, .enhanced = "5.5.1", .text =
		"A message by BDAT is under way"},
	[SMTP_REPLY_ORDER_FAILED] = {.code = 503, .enhanced = "5.5.1", .text =
		"The transaction has failed, need RSET"},
	[SMTP_REPLY_ORDER_BINARY] = {.code = 503, .enhanced = "5.5.1", .text =
		"BODY=BINARYMIME needs BDAT"},
	[SMTP_REPLY_TLS_NOT_OFFERED] = {.code = 502, .enhanced = "5.5.1", .text =
		"STARTTLS is not offered"},
	[SMTP_REPLY_TLS_ACTIVE] = {.code = 503, .enhanced = "5.5.1", .text =
		"TLS is already active"},
	[SMTP_REPLY_TLS_NEEDED] = {.code = 530, .enhanced = "5.7.10", .text =
		"REQUIRETLS needs TLS, say STARTTLS first"},
	[SMTP_REPLY_XCLIENT_DENIED] = {.code = 550, .enhanced = "5.7.0", .text =
		"Not authorized to say XCLIENT"},
	[SMTP_REPLY_XCLIENT_ATTRIBUTE] = {.code = 501, .enhanced = "5.5.4", .text =
		"Attribute not recognized"},
	[SMTP_REPLY_RECIPIENTS_MAX] = {.code = 452, .enhanced = "4.5.3", .text =
		"Too many recipients"},
	[SMTP_REPLY_MESSAGES_MAX] = {.code = 421, .enhanced = "4.7.0", .text =
		"Too many messages in this session, closing"},
	[SMTP_REPLY_ERRORS_MAX] = {.code = 421, .enhanced = "4.7.0", .text =
		"Too many errors, closing"},
	[SMTP_REPLY_MEMORY] = {.code = 451, .enhanced = "4.3.0", .text = "Out of memory"},
	[SMTP_REPLY_SIZE] = {.code = 552, .enhanced = "5.3.4", .text =
		"Message size exceeds the limit"},
	[SMTP_REPLY_NEWLINE] = {.code = 554, .enhanced = "5.6.0", .text =
		"Bare newline: lone <CR> or <LF> in the message"},
	[SMTP_REPLY_NUL] = {.code = 554, .enhanced = "5.6.0", .text = "NUL in the message"},
	[SMTP_REPLY_8BIT] = {.code = 554, .enhanced = "5.6.1", .text =
		"8-bit octets need BODY=8BITMIME"},
	[SMTP_REPLY_HOPS] = {.code = 554, .enhanced = "5.4.6", .text =
		"Too many hops, this message loops"},
};
/* clang-format on */

const struct smtp_verdict *smtp_reply_row(enum smtp_reply reply)
{
	ASSERT(reply > SMTP_REPLY_NONE && reply < SMTP_REPLY_COUNT);
	return &replies[reply];
}

/* Room was checked at the start of the turn. After smtp_reply_final() nothing is said. */
static void reply_line(
	struct smtp *smtp, struct buf *out, unsigned code, const char *enhanced, const char *text)
{
	bool whole;

	if (smtp->closing)
		return;
	whole = buf_put_u64(out, code, 3) && buf_puts(out, " ");
	if (enhanced != NULL)
		whole = whole && buf_puts(out, enhanced) && buf_puts(out, " ");
	whole = whole && buf_put(out, span_of(text, strnlen(text, REPLY_TEXT_MAX))) &&
		buf_puts(out, "\r\n");
	ASSERT(whole);
}

static void reply_row(struct smtp *smtp, struct buf *out, enum smtp_reply reply)
{
	const struct smtp_verdict *row = smtp_reply_row(reply);

	reply_line(smtp, out, row->code, row->enhanced, row->text);
}

static void error_count(struct smtp *smtp, struct buf *out)
{
	if (smtp->closing)
		return;
	smtp->errors++;
	count(COUNTER_SMTP_ERRORS);
	if (smtp->errors < smtp->settings->errors_max)
		return;
	count(COUNTER_SMTP_TOO_MANY_ERRORS);
	reply_row(smtp, out, SMTP_REPLY_ERRORS_MAX);
	smtp_closing_set(smtp, SMTP_CLOSE_ERRORS);
}

void smtp_reply_verdict(struct smtp *smtp, struct buf *out, const struct smtp_verdict *verdict,
	enum smtp_reply usual)
{
	const struct smtp_verdict *row = smtp_reply_row(usual);
	unsigned code = verdict->code != 0 ? verdict->code : row->code;
	const char *enhanced =
		verdict->code != 0 || verdict->enhanced != NULL ? verdict->enhanced : row->enhanced;
	const char *text = verdict->text != NULL ? verdict->text : row->text;

	reply_line(smtp, out, code, enhanced, text);
	if (verdict->kind == SMTP_VERDICT_CLOSE)
		smtp_closing_set(smtp, SMTP_CLOSE_POLICY);
	else if (code >= 500)
		error_count(smtp, out);
}

void smtp_reply(struct smtp *smtp, struct buf *out, enum smtp_reply reply)
{
	smtp_reply_verdict(smtp, out, smtp_reply_row(reply), reply);
}

void smtp_reply_printf(struct smtp *smtp, struct buf *out, const char *fmt, ...)
{
	char text[SMTP_REPLY_MAX];
	va_list ap;
	bool whole;
	int n;

	if (smtp->closing)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ASSERT(n >= 0 && (size_t)n < sizeof(text));
	whole = buf_put(out, span_of(text, (size_t)n));
	ASSERT(whole);
}

void smtp_reply_final(struct smtp *smtp, struct buf *out, const struct smtp_verdict *verdict)
{
	if (!smtp->closing && buf_room(out) >= REPLY_LINE_MAX)
		reply_line(smtp, out, verdict->code, verdict->enhanced, verdict->text);
	smtp_closing_set(smtp, SMTP_CLOSE_POLICY);
}
