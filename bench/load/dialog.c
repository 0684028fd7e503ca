/* SPDX-License-Identifier: MIT */
/*
 * dialog.c -- the client's side of SMTP: what a reply means at each stage and what is said next.
 *
 * A message is accepted when the server took it for every recipient. In a pipelined group all replies
 * are awaited even if the first says no; the message then counts as failed at that first no.
 *
 * Non-goals: being a good mail client (no 4xx retries, no MX, no HELO after a refused EHLO).
 */
#include "bench/load/worker.h"

#include <stdio.h>

#define OFFER_STARTTLS   1u
#define OFFER_PIPELINING 2u
#define OFFER_CHUNKING   4u

static const char dot[] = ".\r\n", data_command[] = "DATA\r\n", quit_command[] = "QUIT\r\n",
		  rset_command[] = "RSET\r\n", starttls_command[] = "STARTTLS\r\n";

#define SAY(conn, text) conn_say(conn, text, sizeof(text) - 1)

static void reply_banner(struct conn *conn);
static void reply_ehlo(struct conn *conn);
static void reply_starttls(struct conn *conn);
static void reply_mail(struct conn *conn);
static void reply_rcpt(struct conn *conn);
static void reply_data(struct conn *conn);
static void reply_body(struct conn *conn);
static void reply_chunk(struct conn *conn);
static void reply_rset(struct conn *conn);
static void reply_quit(struct conn *conn);

/* What a stage waits for; the other stages expect no reply at all. */
static const struct stage_row {
	uint16_t want; /* the code that goes on */
	void (*good)(struct conn *conn);
} stages[STAGE_COUNT] = {
	[STAGE_BANNER] = {220, reply_banner},
	[STAGE_EHLO] = {250, reply_ehlo},
	[STAGE_STARTTLS] = {220, reply_starttls},
	[STAGE_MAIL] = {250, reply_mail},
	[STAGE_RCPT] = {250, reply_rcpt},
	[STAGE_DATA] = {354, reply_data},
	[STAGE_BODY] = {250, reply_body},
	[STAGE_CHUNK] = {250, reply_chunk},
	[STAGE_RSET] = {250, reply_rset},
	[STAGE_QUIT] = {221, reply_quit},
};

void dialog_quit(struct conn *conn)
{
	conn->stage = STAGE_QUIT;
	conn_list(conn, &conn->worker->active);
	if (!conn->quit_sent)
		SAY(conn, quit_command);
	conn->quit_sent = true;
}

void dialog_enter(struct conn *conn, enum stage stage)
{
	conn->stage = stage;
	if (stage == STAGE_EHLO) {
		conn->offers = 0;
		conn_say(conn, conn->worker->content->ehlo, strlen(conn->worker->content->ehlo));
	}
}

/* ---- messages ---- */

static void say_pieces(struct conn *conn, uint32_t from, uint32_t to)
{
	struct iovec pieces[CONTENT_PIECES];
	unsigned n = content_slice(&conn->message, from, to, pieces);

	for (unsigned i = 0; i < n; i++)
		conn_say(conn, pieces[i].iov_base, pieces[i].iov_len);
}

static bool is_last_message(const struct conn *conn)
{
	return conn->messages + 1 == conn->worker->options->per_connection;
}

/* The next BDAT and its octets; only when everything before was sent (conn->command is free). */
static void say_chunk(struct conn *conn)
{
	const struct options *options = conn->worker->options;
	uint32_t size = conn->message.size, from = conn->chunk_from;
	uint32_t n = options->chunk ? (uint32_t)min_size(options->chunk, size - from) : size;
	bool last = from + n == size;
	int text_n = snprintf(
		conn->command, sizeof(conn->command), "BDAT %u%s\r\n", n, last ? " LAST" : "");

	conn_say(conn, conn->command, (size_t)text_n);
	say_pieces(conn, from, from + n);
	conn->chunk_from += n;
	if (last && options->pipeline && is_last_message(conn)) {
		SAY(conn, quit_command);
		conn->quit_sent = true;
	}
}

static void say_recipients(struct conn *conn)
{
	struct worker *worker = conn->worker;
	const struct options *options = worker->options;
	uint32_t n = options->pipeline ? options->recipients : 1;
	struct span lines = content_rcpt(worker->content, worker->mailbox, n);

	conn_say(conn, lines.p, lines.n);
	worker->mailbox = (worker->mailbox + n) % options->mailboxes;
}

void dialog_message(struct conn *conn)
{
	struct worker *worker = conn->worker;
	const struct options *options = worker->options;

	content_message(worker->content, &conn->message, conn->message.number,
		sizes_next(&worker->sizes), worker->hash);
	conn->refused = false;
	conn->recipient = false;
	conn->rcpt_left = options->recipients;
	conn->chunk_from = 0;
	conn->chunks_left =
		options->chunk ? (conn->message.size + options->chunk - 1) / options->chunk : 1;
	conn->stage = STAGE_MAIL;
	conn_list(conn, &worker->active);
	conn_say(conn, worker->content->mail, strlen(worker->content->mail));
	if (!options->pipeline)
		return;
	say_recipients(conn);
	if (options->bdat)
		say_chunk(conn);
	else
		SAY(conn, data_command);
}

/* Pipelined chunks follow each other as the socket takes them. */
void dialog_drained(struct conn *conn)
{
	const struct options *options = conn->worker->options;

	if (conn->stage >= STAGE_MAIL && conn->stage <= STAGE_CHUNK && options->bdat &&
		options->pipeline && conn->chunk_from < conn->message.size)
		say_chunk(conn);
}

/* After a message, however it went. */
static void next_message(struct conn *conn)
{
	const struct options *options = conn->worker->options;
	bool more = false;

	conn->messages++;
	conn->refused = false;
	if (conn->quit_sent || conn->messages == options->per_connection) {
		dialog_quit(conn);
		return;
	}
	if (worker_next(conn->worker, conn, &more)) {
		dialog_message(conn);
		return;
	}
	if (!more) {
		dialog_quit(conn);
		return;
	}
	conn->stage = STAGE_READY;
	conn_list(conn, &conn->worker->ready);
}

static void message_accepted(struct conn *conn)
{
	struct worker *worker = conn->worker;
	struct stats *stats = &worker->stats;
	uint64_t now = worker_clock(worker);
	uint64_t second = now / 1000000000u;

	conn->has_message = false;
	stat_add(&stats->accepted, 1);
	stat_add(&stats->octets, conn->message.size);
	stats->last_ns = now;
	stats->seconds[second < STATS_SECONDS_MAX ? second : STATS_SECONDS_MAX - 1]++;
	if (now < worker->ramp_ns)
		return;
	stats->measured++;
	stats->measured_octets += conn->message.size;
	hist_record(&stats->latency, now - conn->due_ns);
	hist_record(&stats->service, now - conn->begun_ns);
}

void dialog_shaken(struct conn *conn)
{
	conn->message.size = 0;
	message_accepted(conn);
	conn_close(conn);
}

/* ---- replies that say yes ---- */

static void session_ready(struct conn *conn)
{
	struct worker *worker = conn->worker;

	stat_add(&worker->stats.sessions, 1);
	hist_record(&worker->stats.setup, worker_clock(worker) - conn->opened_ns);
	if (worker->options->idle) {
		conn->has_message = false;
		conn->stage = STAGE_IDLE;
		conn_list(conn, &worker->held);
		worker->working--;
		stat_move(&worker->stats.held, 1);
		return;
	}
	dialog_message(conn);
}

static void reply_banner(struct conn *conn)
{
	dialog_enter(conn, STAGE_EHLO);
}

static void reply_ehlo(struct conn *conn)
{
	const struct options *options = conn->worker->options;
	bool starttls = options->tls == TLS_STARTTLS && !conn->wire.ssl;
	unsigned want = starttls ? OFFER_STARTTLS
				 : (options->pipeline ? OFFER_PIPELINING : 0) |
					   (options->bdat ? OFFER_CHUNKING : 0);

	dialog_line(conn);
	if ((conn->offers & want) != want && !(options->idle && !starttls)) {
		conn_fail(conn, FAIL_PROTOCOL);
		return;
	}
	if (!starttls) {
		session_ready(conn);
		return;
	}
	SAY(conn, starttls_command);
	conn->stage = STAGE_STARTTLS;
}

static void reply_starttls(struct conn *conn)
{
	ASSERT(conn->out_n == 0);
	conn_tls(conn);
}

static void reply_mail(struct conn *conn)
{
	conn->stage = STAGE_RCPT;
	if (!conn->worker->options->pipeline)
		say_recipients(conn);
}

static void after_recipients(struct conn *conn)
{
	const struct options *options = conn->worker->options;

	conn->stage = options->bdat ? STAGE_CHUNK : STAGE_DATA;
	if (options->pipeline)
		return;
	if (options->bdat)
		say_chunk(conn);
	else
		SAY(conn, data_command);
}

static void reply_rcpt(struct conn *conn)
{
	conn->recipient = true;
	if (--conn->rcpt_left == 0)
		after_recipients(conn);
	else if (!conn->worker->options->pipeline)
		say_recipients(conn);
}

static void reply_data(struct conn *conn)
{
	conn->stage = STAGE_BODY;
	/* A server that wants a message after it refused all recipients gets an empty one. */
	if (conn->recipient)
		say_pieces(conn, 0, conn->message.size);
	SAY(conn, dot);
	if (conn->worker->options->pipeline && is_last_message(conn)) {
		SAY(conn, quit_command);
		conn->quit_sent = true;
	}
}

static void reply_body(struct conn *conn)
{
	if (conn->has_message)
		message_accepted(conn);
	next_message(conn);
}

static void reply_chunk(struct conn *conn)
{
	if (--conn->chunks_left == 0)
		reply_body(conn);
	else if (!conn->worker->options->pipeline)
		say_chunk(conn);
}

static void reply_rset(struct conn *conn)
{
	next_message(conn);
}

static void reply_quit(struct conn *conn)
{
	conn_close(conn);
}

/* ---- replies that say no ---- */

/* Other replies of the group are outstanding: go to where the next one belongs. */
static void refused_in_group(struct conn *conn)
{
	conn->refused = true;
	switch (conn->stage) {
	case STAGE_MAIL:
		conn->stage = STAGE_RCPT;
		return;
	case STAGE_RCPT:
		if (--conn->rcpt_left == 0)
			conn->stage = conn->worker->options->bdat ? STAGE_CHUNK : STAGE_DATA;
		return;
	case STAGE_CHUNK:
		if (--conn->chunks_left == 0)
			next_message(conn);
		return;
	default:
		ASSERT(!"a stage without outstanding replies");
	}
}

static void refused(struct conn *conn)
{
	const struct options *options = conn->worker->options;
	unsigned class = conn->reply.code / 100;
	enum fail why = class == 4 ? FAIL_REPLY_4XX : class == 5 ? FAIL_REPLY_5XX : FAIL_PROTOCOL;

	if (conn->stage < STAGE_MAIL || conn->stage >= STAGE_RSET || conn->reply.code == 421) {
		conn_fail(conn, why);
		return;
	}
	conn_message_failed(conn, why);
	if (options->pipeline && conn->stage <= STAGE_CHUNK && conn->stage != STAGE_DATA &&
		conn->stage != STAGE_BODY) {
		refused_in_group(conn);
	} else if (conn->stage == STAGE_BODY || conn->quit_sent) {
		next_message(conn);
	} else {
		conn->refused = true;
		conn->stage = STAGE_RSET;
		SAY(conn, rset_command);
	}
}

void dialog_line(struct conn *conn)
{
	static const struct {
		const char *word;
		uint8_t offer;
	} words[] = {
		{"STARTTLS", OFFER_STARTTLS},
		{"PIPELINING", OFFER_PIPELINING},
		{"CHUNKING", OFFER_CHUNKING},
	};

	if (conn->stage != STAGE_EHLO)
		return;
	for (size_t i = 0; i < COUNT_OF(words); i++)
		if (reply_keyword(&conn->reply, words[i].word))
			conn->offers |= words[i].offer;
}

void dialog_reply(struct conn *conn)
{
	const struct stage_row *row = &stages[conn->stage];

	if (!row->good) /* unasked: a server that says good-bye */
		conn_fail(conn, conn->reply.code / 100 == 4 ? FAIL_REPLY_4XX : FAIL_PROTOCOL);
	else if (conn->reply.code == row->want)
		row->good(conn);
	else if (conn->stage == STAGE_RCPT && conn->reply.code == 251)
		reply_rcpt(conn);
	else
		refused(conn);
}
