/* SPDX-License-Identifier: MIT */
/*
 * client-private.h -- one outbound connection, shared by the files that make it up.
 *
 *	client.c	the life of a connection: opened, given jobs; its stages and times
 *	ending.c	why it ended, who is told
 *	wire.c		octets: receives, sends, splices, TLS records, the handshake
 *	hello.c		greeting, EHLO, STARTTLS: what the next hop can do
 *	transaction.c	a job: MAIL, RCPT, DATA or BDAT, and whose reply is whose
 *	body.c		the message's octets, sans-IO but for its reads
 *
 * Every completion handler notes what happened and calls relay_client_turn(), which reads replies,
 * writes commands, sends and receives as far as that goes. Nothing else calls the owner.
 */
#ifndef POSTERN_RELAY_CLIENT_PRIVATE_H
#define POSTERN_RELAY_CLIENT_PRIVATE_H

#include "relay/relay-private.h"

#define RELAY_IN_BYTES      8192 /* from the socket at a time */
#define RELAY_PLAIN_BYTES   4096 /* decrypted at a time */
#define RELAY_WIRE_SPARE    256  /* of the wire buffer, for what TLS itself says */
#define RELAY_WIRE_BYTES    (RELAY_IO_BYTES + 512 + RELAY_WIRE_SPARE)
#define RELAY_COMMAND_MAX   2048              /* octets of one command */
#define RELAY_QUIT_MS       5000              /* for the last words */
#define RELAY_SPLICE_MIN    (64u << 10)       /* octets; shorter bodies are copied */
#define RELAY_VEC_MAX       SPOOL_LOAN_BLOCKS /* pieces of a body at hand */
#define RELAY_VEC_PIECE     SPOOL_BLOCK_BYTES
#define RELAY_VEC_SEND      16 /* of them, sent by one call */
#define RELAY_PIPE_BYTES    (256u << 10)
#define RELAY_CLIENTS_SPARE 16 /* connections that are still ending while others begin */

enum client_stage {
	CLIENT_STAGE_SOCKET,
	CLIENT_STAGE_CONNECT,
	CLIENT_STAGE_GREETING,
	CLIENT_STAGE_EHLO,
	CLIENT_STAGE_HELO,
	CLIENT_STAGE_STARTTLS,
	CLIENT_STAGE_HANDSHAKE,
	CLIENT_STAGE_PLANT, /* waits until keys may go to the kernel */
	CLIENT_STAGE_IDLE,
	CLIENT_STAGE_SCAN, /* reads the message to see whether it is 7-bit */
	CLIENT_STAGE_ENVELOPE,
	CLIENT_STAGE_BODY,
	CLIENT_STAGE_FINAL,
	CLIENT_STAGE_VOID, /* the dot after a 354 that nobody wanted */
	CLIENT_STAGE_QUIT,
	CLIENT_STAGE_LAST, /* the last octets go out */
	CLIENT_STAGE_END,  /* waits for its operations, then is gone */
	CLIENT_STAGE_COUNT
};

enum client_end {
	CLIENT_END_NONE,
	CLIENT_END_QUIT,  /* in order */
	CLIENT_END_ABORT, /* by the owner */
	CLIENT_END_CONNECT,
	CLIENT_END_GREETING,
	CLIENT_END_TLS,
	CLIENT_END_REQUIRETLS, /* it cannot be had: final for such messages (RFC 8689 4.2.1) */
	CLIENT_END_EHLO,
	CLIENT_END_TIMEOUT,
	CLIENT_END_CLOSED,
	CLIENT_END_UNAVAILABLE, /* 421 */
	CLIENT_END_GARBAGE,
	CLIENT_END_REFUSED, /* in the midst of a body */
	CLIENT_END_LIMIT,   /* the job's ms_max */
	CLIENT_END_LOCAL,   /* our own trouble: memory, a file that cannot be read */
	CLIENT_END_COUNT
};

enum client_limit {
	CLIENT_LIMIT_NONE,
	CLIENT_LIMIT_CONNECT,
	CLIENT_LIMIT_REPLY,
	CLIENT_LIMIT_FINAL,
	CLIENT_LIMIT_QUIT
};

struct client_stage_info {
	const char *waits_for;
	enum client_limit limit;
	enum client_end lost; /* when the next hop closes, or says what cannot be understood */
	unsigned from;        /* mask of stages */
};

extern const struct client_stage_info client_stages[CLIENT_STAGE_COUNT];

/* What EHLO offered. */
enum {
	CLIENT_CAN_PIPELINING = 1 << 0,
	CLIENT_CAN_SIZE = 1 << 1,
	CLIENT_CAN_8BITMIME = 1 << 2,
	CLIENT_CAN_CHUNKING = 1 << 3,
	CLIENT_CAN_BINARYMIME = 1 << 4,
	CLIENT_CAN_SMTPUTF8 = 1 << 5,
	CLIENT_CAN_DSN = 1 << 6,
	CLIENT_CAN_STARTTLS = 1 << 7,
	CLIENT_CAN_ENHANCED = 1 << 8,
	CLIENT_CAN_REQUIRETLS = 1 << 9,
};

/* relay_job_recipient.state */
enum { RECIPIENT_PENDING, RECIPIENT_ACCEPTED, RECIPIENT_SETTLED };

/* ---- body.c ---- */

/* Makes a message fit for DATA (RFC 5321 4.5.2): every CR, LF or CRLF becomes CRLF, a dot at a
 * line's start two. */
struct relay_stuffer {
	bool line_inside; /* octets stand in this line */
	bool cr;          /* the last octet was a CR; an LF behind it says nothing more */
};

/* Takes octets off *in for as long as two are free in out. */
void relay_stuff(struct relay_stuffer *stuffer, struct span *in, struct buf *out);
/* The end of the line that stands open, then the dot. False: fewer than 5 octets are free. */
MUST_USE bool relay_stuff_end(struct relay_stuffer *stuffer, struct buf *out);

struct relay_client_body {
	const struct spool_body *from;
	bool bdat;
	bool splice;
	bool vector; /* sent from where it lies: memory, or what was read into the loan */
	bool ended;  /* all of it is in `out` or `vec`, or on its way through the pipe */
	uint64_t at; /* octets taken from the file or the vector */
	unsigned iov_i;
	struct span chunk; /* taken, not yet in `out` */
	struct relay_stuffer stuffer;
};

/* ---- a connection ---- */

struct relay_clients {
	struct pool pool;
	struct list all;
};

struct relay_client {
	struct list node;
	struct relay *relay;
	struct relay_client_owner *owner;
	struct relay_target target;
	char next_hop[SPOOL_HOP_MAX];
	enum client_stage stage;
	bool opened;
	uint32_t jobs;

	/* the end */
	enum client_end end;
	struct relay_outcome why;
	bool plain_only; /* TLS failed before and the route may do without */
	bool noted;      /* what became of TLS has been said (trust_note.c) */

	/* times */
	struct wheel_timer timer;
	uint64_t step_ms; /* by when the next hop must have done something; 0: no limit */

	/* octets */
	int fd;
	int pipe[2];
	struct op io;   /* socket, connect */
	struct op recv; /* into in_storage */
	struct op send; /* of wire or out, or splice to the socket, or its poll */
	struct op file; /* read, or splice to the pipe */
	struct op cancel;
	struct op turn; /* a turn that nothing else would bring */
	bool sending_wire, sending_control, sending_vec, polling, splicing;
	bool eof;
	int recv_error, send_error;
	struct span in;    /* from the socket */
	struct span plain; /* decrypted */
	struct buf out;    /* to be said */
	struct buf wire;   /* the same in TLS records */
	uint32_t piped;    /* octets in the pipe */
	uint32_t vec_i;    /* the first piece of `vec` with octets that nobody took */
	uint32_t vec_n;
	struct msghdr vec_msg;

	/* TLS */
	struct tls_conn *tls;
	bool tls_up;
	bool tls_pending; /* OpenSSL holds plaintext */
	bool ktls_tx;
	bool notify_due; /* close_notify, under kTLS */
	struct tls_control_record control;
	struct msghdr control_msg;
	struct iovec control_iov;
	_Alignas(struct cmsghdr) uint8_t control_cmsg[CMSG_SPACE(1)];

	/* the dialogue */
	struct relay_reply reply;
	bool reply_held; /* a reply came while the body's end was on its way */
	unsigned can;
	uint64_t size_max; /* of SIZE; 0: not said */
	bool rset_due;     /* a transaction may be open */
	bool rset_owed;    /* RSET's reply */

	/* the job */
	struct relay_job *job;
	uint32_t sent;  /* commands: MAIL, each RCPT, DATA */
	uint32_t heard; /* replies to them */
	uint32_t accepted;
	uint32_t final_i; /* LMTP: the next recipient to be answered */
	bool mail_refused;
	struct relay_client_body body;

	/* Not wiped when taken from the pool. */
	struct spool_loan loan;
	struct iovec vec[RELAY_VEC_MAX];
	uint8_t in_storage[RELAY_IN_BYTES];
	uint8_t plain_storage[RELAY_PLAIN_BYTES];
	uint8_t out_storage[RELAY_IO_BYTES];
	uint8_t wire_storage[RELAY_WIRE_BYTES];
	uint8_t file_storage[RELAY_IO_BYTES];
};

static inline struct ring *relay_client_ring(const struct relay_client *client)
{
	return client->relay->facts.ring;
}

static inline uint64_t relay_client_now(const struct relay_client *client)
{
	return ring_now_ms(relay_client_ring(client));
}

/* ---- client.c ---- */

void relay_client_stage_set(struct relay_client *client, enum client_stage stage);
/* The next hop did something: its time begins anew. */
void relay_client_touch(struct relay_client *client);
/* Reads, writes, sends, receives. The client may be gone after it: a handler's last word. */
void relay_client_turn(struct relay_client *client);
/* Asks for one, from where the owner must not be called. */
void relay_client_turn_soon(struct relay_client *client);
/* The dialogue is open: take the job that waits, or be ready for one. */
void relay_client_opened(struct relay_client *client);
/* Every recipient has its outcome. Tells the owner. */
void relay_client_job_done(struct relay_client *client);
/* What the job's log line needs. */
void relay_client_job_result(const struct relay_client *client, struct relay_job *job);

/* ---- ending.c ---- */

/* Ends the connection; text is for logs and for the recipients that have no outcome. */
void relay_client_end(struct relay_client *client, enum client_end end, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* The same because of a reply, which is the outcome. */
void relay_client_end_reply(struct relay_client *client, enum client_end end);
/* The same once what is in the buffers has gone out. */
void relay_client_leave(struct relay_client *client, enum client_end end, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
/* The next hop closed, or its octets cannot be understood: ends as it befits the stage; `how` is
 * CLOSED or GARBAGE, for a transaction. */
void relay_client_lost(struct relay_client *client, enum client_end how, const char *text);
/* Nothing is armed any more: settles, tells, frees (or tries again in plaintext). */
void relay_client_finish(struct relay_client *client);

/* ---- wire.c ---- */

void relay_wire_init(struct relay_client *client);
/* A connection's octets are forgotten, its descriptors closed; nothing is armed. */
void relay_wire_close(struct relay_client *client);
bool relay_wire_idle(const struct relay_client *client); /* nothing is armed */
void relay_wire_socket(struct relay_client *client);
void relay_wire_stop(struct relay_client *client); /* makes armed operations end */
void relay_wire_receive(struct relay_client *client);
void relay_wire_flush(struct relay_client *client);
bool relay_wire_flushed(const struct relay_client *client);
/* Plaintext octets in client->plain, decrypted if need be; false: none now. */
MUST_USE bool relay_wire_input(struct relay_client *client);
void relay_wire_handshake(struct relay_client *client); /* stage HANDSHAKE */
void relay_wire_plant(struct relay_client *client);     /* stage PLANT */
/* close_notify behind all else. */
void relay_wire_notify(struct relay_client *client);
MUST_USE bool relay_wire_pipe(struct relay_client *client); /* has or makes one */
/* The next of the pieces in `vec`, all of it. */
struct span relay_wire_vec_take(struct relay_client *client);

/* ---- hello.c ---- */

void relay_hello_line(struct relay_client *client, struct span line);
void relay_hello_reply(struct relay_client *client);
void relay_hello_begin(struct relay_client *client); /* EHLO or LHLO */

/* ---- transaction.c ---- */

void relay_transaction_begin(struct relay_client *client);
void relay_transaction_write(struct relay_client *client); /* stage ENVELOPE: what may be said */
void relay_transaction_reply(struct relay_client *client);
void relay_transaction_sent(struct relay_client *client); /* the last octet of the body has gone */
/* Stage BODY, and no more can be sent: the reply that came is all there will be. */
void relay_transaction_refused(struct relay_client *client);
/* The message was read through before MAIL, to a next hop without 8BITMIME. */
void relay_transaction_scanned(struct relay_client *client, bool has_8bit);
/* All recipients without an outcome get this one. */
void relay_transaction_settle(struct relay_client *client, const struct relay_outcome *outcome);
void relay_outcome_of_reply(struct relay_outcome *outcome, const struct relay_reply *reply);
void relay_outcome_set(struct relay_outcome *outcome, enum relay_result result, uint16_t code,
	const char *enhanced, const char *fmt, ...) PRINTF_LIKE(5, 6);

/* ---- body.c ---- */

void relay_body_begin(struct relay_client *client);
void relay_body_write(struct relay_client *client); /* stage BODY: as much as fits */
/* What reading the body took is given back; nothing reads any more. */
void relay_body_release(struct relay_client *client);
void relay_body_scan(struct relay_client *client); /* stage SCAN */
void relay_body_file_done(struct op *op, int res, uint32_t flags);

#endif
