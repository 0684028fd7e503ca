/* SPDX-License-Identifier: MIT */
/*
 * line.c -- splits the input into command lines, wherever it is cut.
 *
 * Job: a line that lies whole in the input is used where it lies; the beginning of one that does
 * not is kept in a buffer of the line pool. Lines that are no commands (too long, NUL, bare CR or
 * LF) are answered here. Other protocols' clients are known by their first octets.
 * Not its job: what a command line says (command.c).
 * Invariants: under reject nothing between a bare LF and the next CRLF is ever run as a command;
 * the result does not depend on the cuts.
 * Rejected: waiting for the CRLF before a bare LF is answered. A client that ends lines with LF
 * alone would meet silence; so each bare LF gets its 500 at once, and errors_max ends the matter.
 */
#include "smtp/smtp-private.h"

#include "base/counter.h"

#define TLS_RECORD_HANDSHAKE 0x16
#define TLS_VERSION_MAJOR    0x03

void smtp_line_release(struct smtp *smtp)
{
	if (smtp->line.p != NULL)
		pool_put(&smtp->pools->lines, smtp->line.p);
	smtp->line = (struct buf){0};
}

/* ---- other protocols ---- */

static bool starts_with(struct span line, const char *text)
{
	size_t n = strlen(text);

	return line.n >= n && memcmp(line.p, text, n) == 0;
}

/* Methods are case-sensitive (RFC 9110 9.1), and none is an SMTP verb. */
static bool is_http(struct span line)
{
	static const char *const starts[] = {"GET ", "POST ", "PUT ", "HEAD ", "OPTIONS ",
		"CONNECT ", "DELETE ", "PATCH ", "TRACE ", "PRI * HTTP/2"};

	for (size_t i = 0; i < COUNT_OF(starts); i++)
		if (starts_with(line, starts[i]))
			return true;
	return false;
}

static bool http_refused(struct smtp *smtp, struct span line)
{
	if (!is_http(line))
		return false;
	count(COUNTER_WRONG_PROTOCOL_HTTP);
	smtp_closing_set(smtp, SMTP_CLOSE_HTTP);
	return true;
}

/* A ClientHello where SMTP should begin has no line end to wait for. */
static bool client_hello_refused(struct smtp *smtp, struct span in)
{
	size_t kept = buf_len(&smtp->line);
	uint8_t first;

	if (smtp->talked || kept + in.n == 0)
		return false;
	first = kept > 0 ? smtp->line.p[smtp->line.start] : in.p[0];
	if (first == TLS_RECORD_HANDSHAKE && smtp->tls != SMTP_TLS_ACTIVE) {
		if (kept + in.n < 2)
			return false; /* the next octet tells */
		if (in.p[1 - kept] == TLS_VERSION_MAJOR) {
			count(COUNTER_WRONG_PROTOCOL_TLS);
			smtp_closing_set(smtp, SMTP_CLOSE_TLS);
			return true;
		}
	}
	smtp->talked = true;
	return false;
}

/* ---- lines ---- */

static void skip_begin(struct smtp *smtp, bool after_cr)
{
	smtp->line_skip = true;
	smtp->line_skip_cr = after_cr;
}

static void newline_refused(struct smtp_turn *turn)
{
	count(COUNTER_SMTP_BARE_NEWLINE);
	smtp_reply(turn->smtp, turn->out, SMTP_REPLY_LINE_NEWLINE);
}

/* Throws away input up to the end of a refused line; false when the input ended before it. */
static bool skip_step(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;
	const uint8_t *lf = memchr(turn->in->p, '\n', turn->in->n);
	struct span gone =
		span_take(turn->in, lf == NULL ? turn->in->n : (size_t)(lf - turn->in->p) + 1);
	bool crlf;

	if (lf == NULL) {
		smtp->line_skip_cr = gone.p[gone.n - 1] == '\r';
		return false;
	}
	crlf = gone.n > 1 ? gone.p[gone.n - 2] == '\r' : smtp->line_skip_cr;
	smtp->line_skip_cr = false;
	if (crlf || smtp->settings->bare_newline_normalize)
		smtp->line_skip = false;
	else
		newline_refused(turn);
	return true;
}

/* Keeps the beginning of a line for the next step. */
static void line_keep(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;
	bool whole;

	if (smtp->line.p == NULL) {
		void *storage = pool_get(&smtp->pools->lines);

		if (storage == NULL) {
			smtp_reply(smtp, turn->out, SMTP_REPLY_LINE_MEMORY);
			smtp_closing_set(smtp, SMTP_CLOSE_MEMORY);
			return;
		}
		buf_init(&smtp->line, storage, SMTP_LINE_MAX);
	}
	whole = buf_put(&smtp->line, span_take(turn->in, turn->in->n));
	ASSERT(whole);
}

/* The input holds the rest of SMTP_LINE_MAX octets without a line end. */
static void line_too_long(struct smtp_turn *turn, struct span rest)
{
	struct smtp *smtp = turn->smtp;
	bool whole;

	if (smtp->line.p != NULL) {
		whole = buf_put(&smtp->line, rest);
		ASSERT(whole);
		rest = buf_span(&smtp->line);
	}
	if (!http_refused(smtp, rest)) {
		count(COUNTER_SMTP_LINE_TOO_LONG);
		smtp_reply(smtp, turn->out, SMTP_REPLY_LINE_LONG);
		skip_begin(smtp, rest.p[rest.n - 1] == '\r');
	}
	smtp_line_release(smtp);
}

/* A line with its LF: runs it, or says why not. */
static bool line_run(struct smtp_turn *turn, struct span line)
{
	struct smtp *smtp = turn->smtp;
	bool crlf = line.n > 1 && line.p[line.n - 2] == '\r';

	line.n -= crlf ? 2 : 1;
	if (http_refused(smtp, line))
		return false;
	if (!crlf && !smtp->settings->bare_newline_normalize) {
		newline_refused(turn);
		skip_begin(smtp, false);
		return false;
	}
	if (memchr(line.p, '\0', line.n) != NULL) {
		smtp_reply(smtp, turn->out, SMTP_REPLY_LINE_NUL);
		return false;
	}
	if (memchr(line.p, '\r', line.n) != NULL) {
		newline_refused(turn);
		return false;
	}
	smtp->line_lf = !crlf;
	turn->line = line;
	return smtp_command_run(turn);
}

bool smtp_line_step(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;
	struct span *in = turn->in;
	size_t kept = buf_len(&smtp->line);
	size_t window = min_size(in->n, SMTP_LINE_MAX - kept);
	const uint8_t *lf;
	struct span line;
	bool told;
	bool whole;

	if (client_hello_refused(smtp, *in))
		return false;
	if (in->n == 0)
		return smtp_tell(turn, SMTP_EVENT_MORE);
	if (smtp->line_skip)
		return skip_step(turn) ? false : smtp_tell(turn, SMTP_EVENT_MORE);
	lf = memchr(in->p, '\n', window);
	if (lf == NULL) {
		if (window == SMTP_LINE_MAX - kept)
			line_too_long(turn, span_take(in, window));
		else
			line_keep(turn);
		return false;
	}
	line = span_take(in, (size_t)(lf - in->p) + 1);
	if (kept > 0) {
		whole = buf_put(&smtp->line, line);
		ASSERT(whole);
		line = buf_span(&smtp->line);
	}
	told = line_run(turn, line);
	smtp_line_release(smtp);
	return told;
}
