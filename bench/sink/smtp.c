/* SPDX-License-Identifier: MIT */
/*
 * smtp.c -- the sink's side of SMTP (RFC 5321) and LMTP (RFC 2033).
 *
 * It is a sink: order of commands and the forms it needs are checked, addresses are not looked at,
 * parameters only for SIZE. Every reply that a fault may replace passes smtp_fault.
 */
#include "bench/sink/sink.h"

#include <stdlib.h>

struct command {
	const char *word;
	void (*run)(struct conn *conn, struct span rest);
};

static bool offers(const struct conn *conn, enum offer offer)
{
	const struct sink_options *options = conn->sink->options;

	if (offer == OFFER_STARTTLS && (options->tls != SINK_TLS_STARTTLS || conn->wire.ssl))
		return false;
	return !(options->without & 1u << offer);
}

static void transaction_forget(struct conn *conn)
{
	body_drop(conn);
	conn->mail = false;
	conn->chunking = false;
	conn->rcpts = 0;
	conn->envelope_n = 0;
}

static void bad_command(struct conn *conn, const char *reply)
{
	conn->sink->counts.bad_commands++;
	conn_say(conn, "%s\r\n", reply);
}

/* ---- faults ---- */

bool smtp_fault(struct conn *conn, enum fault_point point)
{
	struct fault_verdict verdict = fault_ask(&conn->sink->options->faults, point);

	if (verdict.delay_ms) {
		/* What was answered before does not wait. */
		if (!conn_flush(conn))
			return false;
		conn_pause(conn, verdict.delay_ms);
	}
	if (verdict.action == FAULT_NONE)
		return true;
	conn->sink->counts.injected++;
	switch (verdict.action) {
	case FAULT_CODE:
		conn_say(conn, "%u %u.3.0 Injected\r\n", verdict.code, verdict.code / 100);
		break;
	case FAULT_GARBAGE:
		conn_say(conn, "\x01\xff*** no reply ***\r\n");
		break;
	case FAULT_CLOSE:
		conn->mode = MODE_CLOSING;
		break;
	default:
		ASSERT(verdict.action == FAULT_HANG);
		conn->mode = MODE_HANG;
	}
	return false;
}

void smtp_greet(struct conn *conn)
{
	if (smtp_fault(conn, FAULT_BANNER))
		conn_say(conn, "220 %s %s postern-sink\r\n", conn->sink->options->name,
			conn->sink->options->lmtp ? "LMTP" : "ESMTP");
}

/* ---- commands ---- */

static void run_ehlo(struct conn *conn, struct span rest)
{
	enum offer last = OFFER_COUNT;

	(void)rest;
	transaction_forget(conn);
	if (!smtp_fault(conn, FAULT_EHLO))
		return;
	conn->greeted = true;
	for (unsigned i = 0; i < OFFER_COUNT; i++)
		if (offers(conn, (enum offer)i))
			last = (enum offer)i;
	conn_say(conn, "250%c%s\r\n", last == OFFER_COUNT ? ' ' : '-', conn->sink->options->name);
	for (unsigned i = 0; i < OFFER_COUNT; i++) {
		char mark = i == last ? ' ' : '-';

		if (!offers(conn, (enum offer)i))
			continue;
		if (i == OFFER_SIZE)
			conn_say(conn, "250%cSIZE %llu\r\n", mark,
				(unsigned long long)conn->sink->options->message_max);
		else
			conn_say(conn, "250%c%s\r\n", mark, offer_words[i]);
	}
}

static void run_helo(struct conn *conn, struct span rest)
{
	(void)rest;
	transaction_forget(conn);
	if (!smtp_fault(conn, FAULT_EHLO))
		return;
	conn->greeted = true;
	conn_say(conn, "250 %s\r\n", conn->sink->options->name);
}

static void run_starttls(struct conn *conn, struct span rest)
{
	if (!offers(conn, OFFER_STARTTLS)) {
		bad_command(conn, "502 5.5.1 Not offered");
		return;
	}
	if (rest.n > 0) {
		bad_command(conn, "501 5.5.4 No parameters");
		return;
	}
	transaction_forget(conn);
	if (!smtp_fault(conn, FAULT_STARTTLS))
		return;
	conn->greeted = false;
	conn->mode = MODE_HANDSHAKE;
	conn_say(conn, "220 2.0.0 Go ahead\r\n");
}

/* The value of SIZE=, 0 when there is none. */
static uint64_t size_parameter(struct span rest)
{
	for (size_t i = 0; i + 6 < rest.n; i++) {
		uint64_t value = 0;

		if (rest.p[i] != ' ' || strncasecmp((const char *)rest.p + i + 1, "SIZE=", 5) != 0)
			continue;
		for (size_t at = i + 6; at < rest.n && rest.p[at] >= '0' && rest.p[at] <= '9' &&
					value < UINT64_MAX / 100;
			at++)
			value = value * 10 + (rest.p[at] - '0');
		return value;
	}
	return 0;
}

/* With --store the envelope is kept as it was said. False: it has become too long. */
static bool envelope_add(struct conn *conn, const char *word, struct span rest)
{
	size_t word_n = strlen(word);

	if (conn->sink->folder < 0)
		return true;
	if (!conn->envelope)
		conn->envelope = malloc(ENVELOPE_BYTES);
	if (!conn->envelope || conn->envelope_n + word_n + rest.n + 1 > ENVELOPE_BYTES)
		return false;
	memcpy(conn->envelope + conn->envelope_n, word, word_n);
	memcpy(conn->envelope + conn->envelope_n + word_n, rest.p, rest.n);
	conn->envelope_n += (uint32_t)(word_n + rest.n);
	conn->envelope[conn->envelope_n++] = '\n';
	return true;
}

static bool begins(struct span rest, const char *text)
{
	size_t n = strlen(text);

	return rest.n > n && strncasecmp((const char *)rest.p, text, n) == 0;
}

static void run_mail(struct conn *conn, struct span rest)
{
	if (!conn->greeted || conn->mail)
		bad_command(conn, "503 5.5.1 Not now");
	else if (!begins(rest, "FROM:<"))
		bad_command(conn, "501 5.5.4 MAIL FROM:<address>");
	else if (size_parameter(rest) > conn->sink->options->message_max)
		bad_command(conn, "552 5.3.4 Too large");
	else if (smtp_fault(conn, FAULT_MAIL)) {
		conn->envelope_n = 0;
		(void)envelope_add(conn, "MAIL ", rest);
		conn->mail = true;
		conn_say(conn, "250 2.1.0 Ok\r\n");
	}
}

static void run_rcpt(struct conn *conn, struct span rest)
{
	if (!conn->mail || conn->chunking)
		bad_command(conn, "503 5.5.1 Not now");
	else if (!begins(rest, "TO:<"))
		bad_command(conn, "501 5.5.4 RCPT TO:<address>");
	else if (conn->rcpts == RCPTS_MAX || !envelope_add(conn, "RCPT ", rest))
		bad_command(conn, "452 4.5.3 Too many recipients");
	else if (smtp_fault(conn, FAULT_RCPT)) {
		conn->rcpts++;
		conn_say(conn, "250 2.1.5 Ok\r\n");
	}
}

/* The fault in the body is drawn before it comes, and acted upon by body.c. */
static void message_begin(struct conn *conn)
{
	struct fault_verdict verdict = fault_ask(&conn->sink->options->faults, FAULT_BODY);

	conn->body_fault = verdict.action;
	body_begin(conn);
	conn->rate = verdict.rate;
	/* What of it was read with its command has taken its time, too. */
	if (verdict.rate)
		verdict.delay_ms += conn_slow_ms(verdict.rate, buf_len(&conn->in));
	if (verdict.delay_ms)
		conn_pause(conn, verdict.delay_ms);
}

static void run_data(struct conn *conn, struct span rest)
{
	(void)rest;
	if (!conn->mail || conn->chunking)
		bad_command(conn, "503 5.5.1 Not now");
	else if (conn->rcpts == 0)
		bad_command(conn, "554 5.5.1 No valid recipients");
	else if (smtp_fault(conn, FAULT_DATA)) {
		conn_say(conn, "354 Go ahead\r\n");
		if (conn->due_ms) {
			/* Delayed: the body cannot have begun; its own delay would be a second one. */
			conn->body_fault = FAULT_NONE;
			body_begin(conn);
		} else {
			message_begin(conn);
		}
		conn->mode = MODE_DATA;
	}
}

static bool chunk_parse(struct span rest, uint64_t *n, bool *last)
{
	size_t i = 0;

	*n = 0;
	for (; i < rest.n && rest.p[i] >= '0' && rest.p[i] <= '9'; i++) {
		if (*n > UINT64_MAX / 100)
			return false;
		*n = *n * 10 + (rest.p[i] - '0');
	}
	*last = span_is_nocase(span_of(rest.p + i, rest.n - i), " LAST");
	return i > 0 && (*last || i == rest.n);
}

static void run_bdat(struct conn *conn, struct span rest)
{
	bool good = conn->mail && conn->rcpts > 0;

	if (!chunk_parse(rest, &conn->chunk_left, &conn->chunk_last)) {
		bad_command(conn, "501 5.5.4 BDAT size [LAST]");
		conn->mode = MODE_CLOSING; /* what follows cannot be told from commands */
		return;
	}
	conn->mode = MODE_CHUNK;
	if (!conn->chunking && good) {
		conn->chunking = true;
		message_begin(conn);
	}
}

static void run_rset(struct conn *conn, struct span rest)
{
	(void)rest;
	transaction_forget(conn);
	conn_say(conn, "250 2.0.0 Ok\r\n");
}

static void run_noop(struct conn *conn, struct span rest)
{
	(void)rest;
	conn_say(conn, "250 2.0.0 Ok\r\n");
}

static void run_vrfy(struct conn *conn, struct span rest)
{
	(void)rest;
	conn_say(conn, "252 2.1.5 Send and see\r\n");
}

static void run_quit(struct conn *conn, struct span rest)
{
	(void)rest;
	transaction_forget(conn);
	conn_say(conn, "221 2.0.0 Bye\r\n");
	conn->mode = MODE_CLOSING;
}

static const struct command commands[] = {
	{"MAIL", run_mail},
	{"RCPT", run_rcpt},
	{"DATA", run_data},
	{"BDAT", run_bdat},
	{"EHLO", run_ehlo},
	{"HELO", run_helo},
	{"LHLO", run_ehlo},
	{"STARTTLS", run_starttls},
	{"RSET", run_rset},
	{"NOOP", run_noop},
	{"QUIT", run_quit},
	{"VRFY", run_vrfy},
};

void smtp_line(struct conn *conn, struct span line)
{
	const uint8_t *blank = line.n ? memchr(line.p, ' ', line.n) : NULL;
	struct span rest = line;
	struct span word = span_take(&rest, blank ? (size_t)(blank - line.p) : line.n);
	bool lmtp = conn->sink->options->lmtp;

	if (blank)
		(void)span_take(&rest, 1);
	for (size_t i = 0; i < COUNT_OF(commands); i++) {
		if (!span_is_nocase(word, commands[i].word))
			continue;
		if (lmtp ? commands[i].run == run_helo || strcmp(commands[i].word, "EHLO") == 0
			 : strcmp(commands[i].word, "LHLO") == 0)
			break;
		commands[i].run(conn, rest);
		return;
	}
	bad_command(conn, "500 5.5.1 Unknown command");
}

/* ---- the end of a message ---- */

static void message_done(struct conn *conn)
{
	if (conn->good > 0)
		body_accept(conn);
	else
		conn->sink->counts.refused_messages++;
	transaction_forget(conn);
	conn->mode = conn->mode == MODE_REPLIES ? MODE_COMMAND : conn->mode;
}

/* One reply, to the message or (LMTP) to one recipient. */
static void final_reply(struct conn *conn)
{
	conn->replied++;
	if (conn->too_large)
		conn_say(conn, "552 5.3.4 Too large\r\n");
	else if (conn->broken)
		conn_say(conn, "451 4.3.0 Not stored\r\n");
	else if (smtp_fault(conn, FAULT_DOT)) {
		conn->good++;
		conn_say(conn, "250 2.0.0 Ok\r\n");
	}
}

void smtp_replies(struct conn *conn)
{
	uint32_t want = conn->sink->options->lmtp ? conn->rcpts : 1;

	while (conn->mode == MODE_REPLIES && conn->replied < want && !conn->due_ms &&
		conn->wire.fd >= 0 && buf_room(&conn->out) >= OUT_ROOM)
		final_reply(conn);
	if (conn->wire.fd < 0)
		return;
	if (conn->replied == want || conn->mode != MODE_REPLIES)
		message_done(conn);
}

void smtp_message_end(struct conn *conn)
{
	conn->mode = MODE_REPLIES;
	conn->replied = 0;
	conn->good = 0;
	smtp_replies(conn);
}
