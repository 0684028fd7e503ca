/* SPDX-License-Identifier: MIT */
/*
 * smtp.h -- the server's side of an SMTP session (RFC 5321), bytes in, events and reply bytes out.
 *
 * Sans-IO: it neither reads nor writes sockets, knows no time and no disk. The coordinator feeds
 * plaintext octets to smtp_step() and does what the event says. Where an event asks a question
 * (`answer` below), the coordinator must call smtp_answer() before the next smtp_step(); replies
 * are appended to the output buffer in command order, so PIPELINING (RFC 2920) needs no queue.
 *
 *	event	 answer	meaning
 *	MORE	 -	all input taken, nothing to do
 *	FULL	 -	the output has less than SMTP_REPLY_MAX free: send, then step again
 *	MAIL	 yes	envelope.reverse_path and parameters stand; accept?
 *	RCPT	 yes	*recipient asks to be added; accept?
 *	BEGIN	 yes	a message is about to start (DATA, or the first BDAT; `bdat` says which):
 *			make room. Accepting leads to 354 for DATA, to CHUNK for BDAT; what is
 *			refused for BDAT is replied after the chunk's octets were discarded
 *	CHUNK	 -	a BDAT chunk of `chunk` octets begins (none comes for "BDAT 0")
 *	BODY	 -	`body` holds message octets (dots unstuffed, CRLF kept). Those of DATA are
 *			`checked`: what stands alone or above 0x7f is known
 *	SPOIL	 -	the message will be refused (spoil_code) whatever follows: by its
 *			octets or by a chunk that cannot be taken: drop it
 *	END	 yes	the message is whole: commit it; accept = 250, with the verdict's text
 *			when given ("queued as ID")
 *	ABORT	 -	the message ended early (RSET, EHLO, QUIT ...): drop it
 *	STARTTLS yes	a handshake? Accepting appends 220 and nothing may follow: flush, then shake
 *			hands; smtp_pipelined() tells whether octets followed the command
 *	XCLIENT	 yes	a trusted peer says who is behind it (*xclient). Accepting greets again, the
 *			session starts over and members `client` and `helo` are that client's; what
 *			is refused is to be refused by SMTP_VERDICT_CLOSE
 *	CLOSE	 -	flush, then close; `reason` says why. Comes again if stepped again
 *
 * A message that was accepted at BEGIN ends with exactly one of END, SPOIL, ABORT, or with the
 * connection (smtp_in_message()); after SPOIL its remaining octets are discarded in silence and
 * the reply follows at their end, without any further event. The envelope and body_bytes stay
 * readable until the step after END's answer or ABORT.
 *
 * BODY spans borrow from the input of the same smtp_step() call or are static. Input may be cut
 * anywhere: an unfinished command line (at most SMTP_LINE_MAX octets) is kept in a buffer of
 * the line pool that is held only while there is one, so an idle session holds none.
 *
 * Line ends. A command line ends with CRLF and nothing else; only CRLF.CRLF ends DATA. With
 * bare_newline = reject a bare LF in a command is answered 500 at once (a client that never sends
 * CR is not met with silence) and all up to the next CRLF is thrown away, so that nothing behind
 * a bare LF is ever taken for a command; in DATA it spoils the message. With normalize a bare LF
 * ends a command line, and in DATA a bare CR or LF becomes CRLF of the content, but a dot beside
 * such a newline is content: it neither ends DATA nor is it unstuffed.
 *
 * Errors. Every 5xx reply counts towards errors_max; when it is reached, the error's reply is
 * followed by 421 4.7.0 and CLOSE. A refused BDAT (RFC 3030 4.2) leaves the transaction failed:
 * until RSET, HELO, EHLO or a LAST chunk, chunks are discarded with 503.
 */
#ifndef POSTERN_SMTP_SMTP_H
#define POSTERN_SMTP_SMTP_H

#include "base/arena.h"
#include "base/buf.h"
#include "config/settings.h"
#include "smtp/envelope.h"

/* A command line with its CRLF: above RFC 5321's 512, as parameters add to it (RFC 3461, 6531). */
#define SMTP_LINE_MAX   2048
#define SMTP_REPLY_MAX  1024 /* the longest reply, EHLO's included, and a 421 behind it */
#define SMTP_HELO_MAX   255
#define SMTP_HELO_SHORT 64 /* nearly every name; longer ones are kept apart from the session */

#define SMTP_ARENA_CHUNK_BYTES 4096
#define SMTP_ARENA_CHUNKS_MAX  1024 /* a session: far above recipients_max of full length */

enum smtp_event_kind {
	SMTP_EVENT_MORE,
	SMTP_EVENT_FULL,
	SMTP_EVENT_MAIL,
	SMTP_EVENT_RCPT,
	SMTP_EVENT_BEGIN,
	SMTP_EVENT_CHUNK,
	SMTP_EVENT_BODY,
	SMTP_EVENT_SPOIL,
	SMTP_EVENT_END,
	SMTP_EVENT_ABORT,
	SMTP_EVENT_STARTTLS,
	SMTP_EVENT_XCLIENT,
	SMTP_EVENT_CLOSE,
};

enum smtp_close_reason {
	SMTP_CLOSE_QUIT,
	SMTP_CLOSE_ERRORS,   /* errors_max reached, 421 sent */
	SMTP_CLOSE_HTTP,     /* the client speaks HTTP: no reply at all */
	SMTP_CLOSE_TLS,      /* a ClientHello on a plaintext port: no reply at all */
	SMTP_CLOSE_POLICY,   /* SMTP_VERDICT_CLOSE */
	SMTP_CLOSE_MESSAGES, /* messages_max reached, 421 sent */
	SMTP_CLOSE_MEMORY,   /* no buffer for an unfinished line, 421 sent */
};

/* Attributes of XCLIENT that count here, a mask. */
enum {
	SMTP_XCLIENT_NAME = 1,
	SMTP_XCLIENT_ADDR = 2,
	SMTP_XCLIENT_PORT = 4,
	SMTP_XCLIENT_PROTO = 8,
	SMTP_XCLIENT_HELO = 16,
	SMTP_XCLIENT_DESTADDR = 32,
	SMTP_XCLIENT_DESTPORT = 64
};

/* What a trusted peer said of its client, all XCLIENT commands since the start or STARTTLS together;
 * `name` of the last one that gave it, until the step after its answer. */
struct smtp_xclient {
	uint8_t given;       /* by any of them */
	uint8_t known;       /* of these, those that were not [UNAVAILABLE] */
	bool esmtp;          /* PROTO */
	uint8_t address[16]; /* IPv6, or IPv4 mapped (base/network.h) */
	uint16_t port;
	uint8_t destination[16];
	uint16_t destination_port;
	struct span helo; /* printable ASCII without spaces */
	struct span name; /* the same */
};

struct smtp_event {
	enum smtp_event_kind kind;
	union {
		struct { /* BODY */
			struct span body;
			bool checked;  /* this one's and those before: no CR or LF alone */
			bool has_8bit; /* checked, and an octet >= 0x80 was in one of them */
		};
		struct smtp_recipient *recipient; /* RCPT */
		uint64_t chunk;                   /* CHUNK */
		bool bdat;                        /* BEGIN */
		enum smtp_close_reason reason;    /* CLOSE */
		/* XCLIENT */
		const struct smtp_xclient *xclient;
	};
};

/* What the connection is, for EHLO's list and for replies. */
enum smtp_tls_offer {
	SMTP_TLS_NONE,    /* STARTTLS not offered */
	SMTP_TLS_OFFERED, /* offered, not done */
	SMTP_TLS_ACTIVE,  /* under TLS */
};

/* Shared by a worker's sessions. */
struct smtp_pools {
	struct pool lines;  /* objects of SMTP_LINE_MAX */
	struct pool arenas; /* objects of SMTP_ARENA_CHUNK_BYTES */
	struct pool names;  /* objects of SMTP_HELO_MAX */
};

/* The DATA decoder's state (body.c). */
struct smtp_decoder {
	uint8_t place;       /* enum smtp_place */
	bool refuse_newline; /* a bare CR or LF spoils; otherwise it becomes CRLF */
	bool refuse_8bit;
	bool discard;    /* the message is spoiled: only look for its end */
	bool normalized; /* a bare newline was made CRLF */
	bool has_8bit;   /* an octet >= 0x80 has passed */
};

/* Embedded in the session; all members but those marked public are smtp/'s own. */
struct smtp {
	const struct smtp_settings *settings;
	struct smtp_pools *pools;
	struct buf line;               /* unfinished command line; .p NULL when none */
	struct arena arena;            /* transaction */
	struct smtp_envelope envelope; /* public, read-only: see the head */
	struct span
		helo; /* public: name as given, points to helo_short or helo_long; empty before HELO */
	uint64_t body_bytes;      /* public: octets of the message so far, as BODY or moved */
	uint64_t chunk_left;      /* public: octets of the BDAT chunk still to come */
	uint64_t chunk_bytes;     /* of the chunk, for its reply */
	uint32_t errors;          /* public: 5xx replies so far */
	uint32_t messages;        /* public: messages answered 250 */
	uint32_t recipients_seen; /* public: accepted in the session */
	uint32_t hops;            /* Received: lines seen in this message's header */
	uint16_t spoil_code;      /* public: reply the spoiled message will get; 0: none */
	uint8_t state;            /* enum smtp_state */
	uint8_t discard_to;       /* enum smtp_state after a discarded chunk */
	uint8_t tls;              /* public: enum smtp_tls_offer */
	uint8_t close_reason;     /* enum smtp_close_reason, once closing */
	uint8_t header_field;     /* which of message.c's fields the line may be */
	uint8_t header_place;     /* matching it at a line's start */
	bool esmtp;               /* public: EHLO was said */
	bool xclient;             /* public: the peer may say XCLIENT; set after smtp_open() */
	bool header_over;         /* public: the message's header section has ended */
	bool talked;              /* the first octets were looked at */
	bool line_skip;           /* discarding the rest of a refused line */
	bool line_skip_cr;        /* ... whose last octet was CR */
	bool line_lf;             /* the command line ended with a bare LF (normalize) */
	bool message_open;        /* between BEGIN's acceptance and END, SPOIL or ABORT */
	bool chunk_last;
	bool chunk_told; /* CHUNK was returned */
	bool forget;     /* the transaction ends with the next step */
	bool closing;
	struct smtp_decoder decoder;
	/* public, read-only: what XCLIENT said and was accepted */
	struct smtp_xclient client;
	struct smtp_xclient *says; /* what a pending one says, in the arena */

	struct smtp_verdict late;    /* reply at the end of what is being discarded */
	struct smtp_recipient *asks; /* the recipient of a pending RCPT */
	uint8_t *helo_long;          /* of the pool of names; NULL: not needed */
	uint8_t helo_short[SMTP_HELO_SHORT];
};

void smtp_pools_open(struct smtp_pools *pools, uint32_t sessions_max);
void smtp_pools_close(struct smtp_pools *pools);

void smtp_open(struct smtp *smtp, const struct smtp_settings *settings, struct smtp_pools *pools,
	enum smtp_tls_offer tls);
void smtp_close(struct smtp *smtp); /* gives back line, arena and name */

/* Appends the 220 greeting (RFC 5321 4.2). */
void smtp_greet(struct smtp *smtp, struct buf *out);

/*
 * Takes octets off *in and returns the next event. `out` must have SMTP_REPLY_MAX octets free or
 * FULL comes back. Call again until MORE (or FULL, CLOSE, STARTTLS).
 */
MUST_USE struct smtp_event smtp_step(struct smtp *smtp, struct span *in, struct buf *out);

/* Answers MAIL, RCPT, BEGIN, END, STARTTLS, XCLIENT. `out` as in smtp_step: the room checked there still stands. */
void smtp_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out);

/*
 * Between two steps inside a chunk: n of the chunk_left octets were moved past us, straight to the
 * message. Only once header_over is set, for the header is read in the octets seen here.
 */
void smtp_chunk_moved(struct smtp *smtp, uint64_t n);

/* Octets of DATA come that need not pass smtp_step(): the header is over, the message not spoiled. */
bool smtp_data_placeable(const struct smtp *smtp);

struct smtp_placed {
	size_t taken;   /* octets of the input; the others are for smtp_step() */
	size_t content; /* at p: as if told by BODY, and checked */
	bool has_8bit;  /* as of BODY */
};
/* Decodes octets of DATA where they are, while they are placeable and nothing but content and stuffed
 * dots. */
MUST_USE struct smtp_placed smtp_data_place(struct smtp *smtp, uint8_t *p, size_t n);

/* After STARTTLS: true when octets beyond the command are there, `rest` being the input not taken
 * (RFC 3207 6, injection). */
bool smtp_pipelined(const struct smtp *smtp, struct span rest);

/* After the handshake: forgets HELO, transaction and what XCLIENT said (RFC 3207 4.2); asserts that
 * no line is pending. */
void smtp_upgraded(struct smtp *smtp);

/* What the trace header says of the protocol: EHLO was said, by us to know or by XCLIENT's PROTO. */
bool smtp_esmtp(const struct smtp *smtp);

/* In the middle of DATA or a BDAT chunk, spoiled ones too? (For time limits.) */
bool smtp_in_body(const struct smtp *smtp);
/* Was a message accepted at BEGIN that has had none of END, SPOIL, ABORT? Drop it with the
 * connection. */
bool smtp_in_message(const struct smtp *smtp);

/*
 * Appends a reply outside of any command: 421 for time limits, shutdown and full house. Nothing is
 * appended after it, and steps answer CLOSE (reason POLICY). Dropped when `out` has no room.
 */
void smtp_reply_final(struct smtp *smtp, struct buf *out, const struct smtp_verdict *verdict);

/* ---- Received: and Return-Path: (RFC 5321 4.4, RFC 3848, RFC 6531 4.3) ---- */

struct smtp_trace {
	const char *hostname;
	struct span helo;
	const char *peer_address; /* numeric, e.g. "192.0.2.1" or "2001:db8::1" */
	bool esmtp;
	bool smtputf8;
	const char *tls_version; /* "TLSv1.3"; NULL: plaintext */
	const char *tls_cipher;
	const char *tls_group; /* may be NULL */
	const char *queue_id;
	const struct smtp_envelope
		*envelope; /* "for <addr>" only when there is exactly one recipient */
	uint64_t real_us;
};

#define SMTP_TRACE_MAX       2048 /* Received: */
#define SMTP_RETURN_PATH_MAX 320

/* Appends a folded "Received: ...CRLF"; false if `out` is too small. */
MUST_USE bool smtp_trace_write(struct buf *out, const struct smtp_trace *trace);

/* Appends "Tue, 01 Jan 2030 00:00:00 +0000" (RFC 5322 3.3); false if `out` is too small. */
MUST_USE bool smtp_date_write(struct buf *out, uint64_t real_us);

/* Appends "Return-Path: <...>CRLF", for final delivery; false if `out` is too small. */
MUST_USE bool smtp_return_path_write(struct buf *out, const struct smtp_address *reverse_path);

#endif
