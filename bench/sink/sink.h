/* SPDX-License-Identifier: MIT */
/*
 * sink.h -- the sink's parts: one thread, one epoll loop.
 *
 *	main.c     listening, signals, the loop, time
 *	conn.c     one connection: receiving, sending, TLS, pauses
 *	smtp.c     commands and their replies, SMTP and LMTP
 *	body.c     the message: dots, chunks, check marks, storing
 *	report.c   the summary
 *
 * Invariant: input is read only while the output has room and no fault holds the connection, so
 * that a client which does not read stops itself.
 */
#ifndef POSTERN_BENCH_SINK_H
#define POSTERN_BENCH_SINK_H

#include <stdio.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/pool.h"
#include "bench/lib/mark.h"
#include "bench/lib/wire.h"
#include "bench/sink/numbers.h"
#include "bench/sink/options.h"

#define IN_BYTES        16384
#define OUT_BYTES       8192
#define OUT_ROOM        512 /* free before another command is looked at */
#define SLOW_MS         50  /* between two reads of a message that is read slowly */
#define LINE_MAX_OCTETS 4096
#define RCPTS_MAX       1000
#define ENVELOPE_BYTES  16384

/* What an epoll event is about; first member of each such struct. */
enum source { SOURCE_LISTENER, SOURCE_SIGNAL, SOURCE_CONN };

enum conn_mode {
	MODE_COMMAND,
	MODE_DATA,
	MODE_CHUNK,
	MODE_REPLIES, /* LMTP: replies to the recipients are being written */
	MODE_HANDSHAKE,
	MODE_HANG,   /* a fault: silent for good */
	MODE_CLOSING /* close once all is sent */
};

struct sink;

struct conn {
	enum source source;
	enum conn_mode mode;
	struct sink *sink;
	struct list node;  /* sink->conns, longest silent first */
	struct list pause; /* sink->pauses, by due_ms */
	struct wire wire;
	uint64_t touched_ms;
	uint64_t due_ms; /* paused until then; 0: not */
	struct buf in;
	struct buf out;

	bool greeted;
	bool mail;
	bool chunking;   /* BDAT has begun */
	bool chunk_last; /* of the current chunk */
	bool too_large;
	bool broken;     /* could not be stored */
	bool line_start; /* DATA: the next octet begins a line */
	bool after_cr;
	enum fault_action body_fault;
	uint32_t rate; /* octets a second that are read of this message; 0: all */
	uint32_t rcpts;
	uint32_t replied; /* to the message; with LMTP, to so many recipients */
	uint32_t good;    /* ... of them with 250 */
	uint64_t chunk_left;
	uint64_t octets;
	struct mark mark;
	EVP_MD_CTX *hash; /* made at the first message, with --verify */
	int file;
	uint64_t file_number;
	uint32_t envelope_n;
	char *envelope; /* with --store */

	uint8_t in_bytes[IN_BYTES];
	uint8_t out_bytes[OUT_BYTES];
};

struct counts {
	uint64_t connections;
	uint64_t refused; /* over --connections-max */
	uint64_t handshakes;
	uint64_t resumed;
	uint64_t tls_failed;
	uint64_t messages;
	uint64_t recipients; /* of accepted messages; with LMTP, those answered 250 */
	uint64_t octets;
	uint64_t injected; /* replies and closes by faults */
	uint64_t refused_messages;
	uint64_t aborted; /* connections that ended within a message */
	uint64_t bad_commands;
	uint64_t timeouts;
	uint64_t good; /* numbered messages whose digest is right */
	uint64_t corrupt;
	uint64_t unnumbered;
	uint64_t store_failed;
};

struct sink {
	struct sink_options *options;
	SSL_CTX *context;
	int epoll;
	int folder; /* --store */
	bool stop;
	uint32_t open;
	uint64_t now_ms;
	uint64_t stored;
	struct pool pool;
	struct list conns;
	struct list pauses;
	struct list dead; /* to be freed after the batch of events */
	struct counts counts;
	struct numbers numbers;
};

/* ---- conn.c ---- */

void conn_open(struct sink *sink, int fd);
void conn_event(struct conn *conn, uint32_t events);
void conn_close(struct conn *conn);
void conn_resume(struct conn *conn); /* its pause is over */
void conn_pause(struct conn *conn, uint32_t ms);
/* How long n octets take at so many a second. */
uint32_t conn_slow_ms(uint32_t rate, size_t n);
void conn_free(struct conn *conn);

/* Appends to the output; there is room by the invariant. */
void conn_say(struct conn *conn, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Writes what is waiting. False: the connection is gone. */
MUST_USE bool conn_flush(struct conn *conn);

/* ---- smtp.c ---- */

void smtp_greet(struct conn *conn);
void smtp_line(struct conn *conn, struct span line); /* without its CRLF */
void smtp_message_end(struct conn *conn);            /* the whole message is here */
void smtp_replies(struct conn *conn);                /* LMTP: as many as there is room for */
/* The fault of this point, if any, is done. False: the normal answer is not to be given. */
MUST_USE bool smtp_fault(struct conn *conn, enum fault_point point);

/* ---- body.c ---- */

void body_begin(struct conn *conn);
/* Takes octets off the input; false: nothing more can be taken now. */
MUST_USE bool body_data(struct conn *conn);
MUST_USE bool body_chunk(struct conn *conn);
void body_accept(struct conn *conn); /* answered 250: counts, checks, keeps */
void body_drop(struct conn *conn);   /* refused or aborted */

/* ---- report.c ---- */

MUST_USE int report_write(struct sink *sink, FILE *file);
MUST_USE int report_state(struct sink *sink); /* into --state, whole or not at all */
MUST_USE bool report_faultless(const struct sink *sink);

#endif
