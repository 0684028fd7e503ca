/* SPDX-License-Identifier: MIT */
/* session-private.h -- what session/'s files share. */
#ifndef POSTERN_SESSION_PRIVATE_H
#define POSTERN_SESSION_PRIVATE_H

#include "base/event.h"
#include "base/pool.h"
#include "session/session.h"
#include "smtp/smtp.h"
#include "spool/spool.h"

#define SESSION_OUT_BYTES   4096                      /* replies waiting to be sent */
#define SESSION_SMALL_BYTES (SESSION_OUT_BYTES + 512) /* the same as TLS records */
#define SESSION_LARGE_BYTES (TLS_RECORD_MAX + 512)    /* a record, a flight, a record's plaintext */
#define SESSION_HELD_MAX    4            /* provided buffers held before receiving is paused */
#define SESSION_SPLICE_MIN  (256 * 1024) /* octets left of a BDAT chunk that are worth a pipe */
#define SESSION_STRAIGHT_MIN                                                                       \
	(2 * TLS_PLAIN_MAX)              /* octets left of a chunk to decrypt into the spool */
#define SESSION_WIDE_MIN     (64 * 1024) /* octets of a message that are worth wide buffers */
#define SESSION_LINGER_MS    2000        /* after the last reply, for the peer's close */
#define SESSION_LINGER_BYTES (1024 * 1024)
#define SESSION_EXPIRED_MAX  8
#define SESSION_REFUSED_MAX  64 /* being told 421 at a time, in one worker; more are just closed */
#define SESSION_PEER_MAX     48 /* an address as text, with its NUL */

/* The walk. Only forward but for SMTP <-> HANDSHAKE (STARTTLS). */
enum session_stage {
	SESSION_STAGE_EARLY,     /* accepted; the banner is held back */
	SESSION_STAGE_SMTP,      /* the dialogue */
	SESSION_STAGE_UPGRADE,   /* 220 to STARTTLS: flushing, receive being stopped */
	SESSION_STAGE_HANDSHAKE, /* TLS handshake */
	SESSION_STAGE_PLANT,     /* handshake done: flushing, then keys to the kernel */
	SESSION_STAGE_LAST,      /* flushing the last reply and close_notify */
	SESSION_STAGE_LINGER,    /* our side is shut: waiting for the peer's */
	SESSION_STAGE_END,       /* cancelling, waiting for every operation, closing */
	SESSION_STAGE_COUNT
};

/* What a stage answers to session_step(). */
enum session_step {
	SESSION_STEP_AGAIN, /* moved on: step once more */
	SESSION_STEP_WAIT,  /* a completion or the timer will step again */
};

/* Why a session ended, as the log says it. */
enum session_end {
	SESSION_END_NONE,
	SESSION_END_QUIT,
	SESSION_END_EOF,
	SESSION_END_ERRORS,
	SESSION_END_HTTP,
	SESSION_END_CLIENT_HELLO,
	SESSION_END_POLICY,
	SESSION_END_MESSAGES,
	SESSION_END_REFUSED,
	SESSION_END_FENCE,
	SESSION_END_EARLY_TALKER,
	SESSION_END_INJECTION,
	SESSION_END_TLS_FAILED,
	SESSION_END_TLS_RECORD,
	SESSION_END_TLS_TRUNCATED,
	SESSION_END_KEYUPDATE,
	SESSION_END_TIMEOUT_COMMAND,
	SESSION_END_TIMEOUT_DATA,
	SESSION_END_TIMEOUT_SESSION,
	SESSION_END_TIMEOUT_HANDSHAKE,
	SESSION_END_TOO_SLOW,
	SESSION_END_IO,
	SESSION_END_MEMORY,
	SESSION_END_SHUTDOWN,
	SESSION_END_COUNT
};

/* What the dialogue waits for before it may take more input. */
enum session_wait {
	SESSION_WAIT_NONE,
	SESSION_WAIT_SPOOL,  /* room in the message: spool's ready() */
	SESSION_WAIT_COMMIT, /* the 250: spool's committed() */
	SESSION_WAIT_SPLICE, /* a round of spool_splice() */
	SESSION_WAIT_POLICY, /* a next hop's word about a recipient */
};

struct session_worker {
	struct session_facts facts;
	struct tls_context *tls;
	struct pool sessions;
	struct pool small;
	struct pool large;
	struct smtp_pools smtp;
	struct msghdr recv_msg; /* of every receive by recvmsg: it is only read */
	struct list live;       /* of session.node */
	uint32_t refused;       /* of them, those that were not let in */
	uint64_t id_last;
	bool draining;
	void (*on_end)(void *ctx);
	void *on_end_ctx;
};

struct session {
	struct session_worker *worker;
	struct list node;
	const struct listener_settings *listener;
	struct network_end peer; /* whom the session is about */
	struct network_end own;  /* who connected, or was behind a PROXY header */
	struct session_way way;  /* not behind: `own` connected, the kernel may meter it */
	bool local;              /* it is about the balancer now: nobody's to policy/ */
	int fd;
	enum session_stage stage;
	enum session_end end;
	enum session_wait wait;
	bool admitted; /* policy_enter() was called */
	bool quiet;    /* no line in the log */
	bool stepping; /* session_step() is on the stack */

	/* the fence */
	struct fence_client client;
	uint64_t pause_until_ms; /* nothing is read until then; 0: not paused */
	uint64_t paused_ms;      /* since when */
	bool behaved;            /* told */

	/* input */
	struct op recv;
	struct op cancel;
	struct ring_record recv_record;
	bool recv_stop;  /* no receive wanted: being cancelled or not to be armed */
	bool recv_multi; /* the armed receive fills provided buffers */
	bool recv_wide;  /* ... a wide one; recv_record is with it, under kTLS */
	bool wide_off;   /* there was none: not for the rest of this chunk, or message */
	bool eof;
	bool early_talker;
	uint8_t expired_n; /* receives in a row that ended for want of a new key */
	int recv_error;
	struct ring_buffer *held; /* received, not yet taken, oldest first */
	struct ring_buffer **held_tail;
	uint32_t held_n;
	struct span in;   /* plaintext being taken: of `plain` or of the oldest held buffer */
	struct buf plain; /* decrypted octets (large pool); .p NULL when none */
	bool plain_left;  /* TLS filled its room: it may hold more of what the oldest buffer gave */
	struct span rest; /* message octets that the spool had no room for, inside `in`'s backing */

	/* output */
	struct op send;
	struct buf out;  /* replies (small pool); .p NULL when none. Sent in place or encrypted to
			    wire */
	struct buf wire; /* ciphertext (small pool), a handshake flight (large pool) */
	bool wire_large;
	bool sending_wire;
	bool sending_control;
	bool notify_done; /* close_notify was queued, or is not due */
	struct tls_control_record control;
	bool control_due;   /* `control` waits to be sent */
	bool control_rekey; /* it is a KeyUpdate: re-key after it */
	struct msghdr send_msg;
	struct iovec send_iov;
	_Alignas(struct cmsghdr) uint8_t send_cmsg[RING_CMSG_BYTES];

	/* TLS */
	struct tls_conn *tls;
	struct buf shake;       /* handshake input (large pool) */
	unsigned planted;       /* TLS_KTLS_* */
	bool tls_up;            /* the handshake is complete */
	bool disagreed;         /* it failed, for want of a version or suite in common */
	const char *tls_failed; /* it failed: why, in a word; NULL */

	/* the message */
	struct smtp smtp;
	struct spool_message *message;
	struct spool_owner owner;
	struct policy_question question; /* while WAIT_POLICY */
	int spool_error;                 /* why the message was given up; 0 */
	bool splice_off;                 /* not for the rest of this chunk */
	uint64_t queue_number;
	char queue_id[SPOOL_ID_MAX]; /* the same as text */

	/* time */
	struct wheel_timer timer;
	uint64_t started_ms;
	uint64_t stage_ms;  /* when the stage was entered, or the last command was answered */
	uint64_t active_ms; /* when octets last came in */
	uint64_t window_ms; /* rate: start of the window */
	uint64_t window_taken;
	uint64_t taken;        /* octets in clear: what records add is no progress of a message */
	uint64_t linger_bytes; /* bytes_in at which lingering ends */

	/* for the log */
	uint64_t id;
	uint64_t bytes_in;
	uint64_t bytes_out;
	char peer_address[SESSION_PEER_MAX];
};

/* ---- session.c ---- */

/* Walks on until every stage waits. Safe to call from any completion; not nested. */
void session_step(struct session *session);
/* The only place that writes session->stage: asserts that the step is legal. */
void session_stage_set(struct session *session, enum session_stage stage);
/* Ends the session: LAST when something can still be said, else END. The first reason stands. */
void session_finish(struct session *session, enum session_end end);
void session_kill(struct session *session, enum session_end end);
uint64_t session_now(const struct session *session);
void session_peer_set(struct session *session, const struct network_end *peer);

/* ---- input.c ---- */
void session_input_init(struct session *session);
/* Arms a receive if one is wanted and none is armed. */
void session_receive(struct session *session);
/* Much of a message is to come, or has come and more will: in large pieces, one at a time. */
bool session_wide_wanted(const struct session *session);
/* Asks for the receive to end; true when none is armed any more. */
bool session_receive_stopped(struct session *session);
enum session_input {
	SESSION_INPUT_READY, /* session->in has octets */
	SESSION_INPUT_NONE,  /* wait */
	SESSION_INPUT_EOF,   /* the peer ended, properly or not: session->end is set */
};
MUST_USE enum session_input session_input_next(struct session *session);
/* The same into memory of the message's, for a chunk with SESSION_STRAIGHT_MIN or more to come.
 * *n: octets that came there. False: that is not to be had now. */
MUST_USE bool session_input_straight(struct session *session, size_t *n, enum session_input *input);
/* The same for octets of DATA that are placeable, decoded there; what is left is in `in`. */
MUST_USE bool session_input_placed(struct session *session, enum session_input *input);
/* Gives back what `in` was taken from, once it is used up. */
void session_input_done(struct session *session);
void session_input_drop(struct session *session); /* everything held */
/*
 * What waits for the peer (to take our replies, or for its greeting) moves to memory of our own:
 * the provided buffers are everybody's, and a peer that reads nothing must not keep them.
 */
void session_input_keep(struct session *session);
void session_receive_exact(struct session *session, size_t n); /* handshake: into `shake` */

/* ---- output.c ---- */
void session_output_init(struct session *session);
MUST_USE bool session_out_ready(struct session *session); /* `out` has a buffer */
void session_flush(
	struct session *session); /* starts sending what is there, if nothing is being sent */
bool session_flushed(const struct session *session);
void session_output_drop(struct session *session);
MUST_USE bool session_wire_put(
	struct session *session, struct span bytes);       /* ciphertext as it is */
MUST_USE bool session_wire_large(struct session *session); /* room for a flight */

/* ---- handover.c ---- */
/* Octets that a wide receive may take, so that the kernel can have what is behind them. */
size_t session_handover_want(const struct session *session);
/* Gives the kernel RX where it is to have it and can. False: the session was killed. */
MUST_USE bool session_handover(struct session *session);

/* ---- handshake.c ---- */
/* Keys to the kernel, where tls_conn_ktls_wanted() says so. False: the session is over. */
MUST_USE bool session_plant(struct session *session, unsigned wanted);
enum session_step session_upgrade_step(struct session *session);
enum session_step session_handshake_step(struct session *session);
enum session_step session_plant_step(struct session *session);
void session_handshake_done_recv(struct session *session, int res);

/* ---- guard.c ---- */
/* May a handshake begin? False: *verdict is the answer, `text` its backing. */
#define SESSION_GUARD_TEXT 160
MUST_USE bool session_guard_shake(
	struct session *session, struct smtp_verdict *verdict, char text[SESSION_GUARD_TEXT]);
void session_guard_shaken(struct session *session, bool completed);
/* Octets came; may pause the reading. */
void session_guard_received(struct session *session, size_t n);
/* No receive is to be armed now. A pause that is over is ended by asking. */
bool session_guard_paused(struct session *session);
void session_guard_accepted(struct session *session); /* a message was answered 250 */
void session_guard_leave(struct session *session);
/* What policy_enter() let in goes. */
void session_guard_door_leave(struct session *session);
/* The session is about another peer from now on, if that one is let in. False: as it was, and
 * *verdict says why. */
bool session_guard_become(struct session *session, const struct network_end *peer, bool direct,
	struct smtp_verdict *verdict, char text[SESSION_GUARD_TEXT]);

/* ---- dialog.c ---- */
void session_dialog_init(struct session *session);
/* Is what comes of the chunk for splice, once the header section is over and nothing of the chunk is in
 * our hands? */
MUST_USE bool session_splice_wanted(const struct session *session);
enum session_step session_dialog_step(struct session *session);
void session_message_drop(struct session *session);  /* aborted: not one octet of it is delivered */
void session_question_drop(struct session *session); /* nobody waits for the answer any more */

/* ---- limits.c ---- */
void session_limits_init(struct session *session);
void session_limits_update(struct session *session);
/* Octets of a message or a chunk begin, or come again after the disk had us wait. */
void session_limits_body(struct session *session);
/* So long nothing was read: the client's time begins so much later, and not in the future. */
void session_limits_move(struct session *session, uint64_t ms);

/* ---- report.c ---- */
/* ---- watched.c ---- */

void session_watch_end(const struct session *session);     /* before its report */
void session_watch_message(const struct session *session); /* it was accepted */

/* ---- report.c ---- */

void session_report(const struct session *session);
void session_report_message(const struct session *session, const char *result, unsigned reply);

#endif
