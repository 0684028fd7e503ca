/* SPDX-License-Identifier: MIT */
/* web-private.h -- what the files of web/ share; for them and their tests only. */
#ifndef POSTERN_WEB_PRIVATE_H
#define POSTERN_WEB_PRIVATE_H

#include "base/pool.h"
#include "http/http.h"
#include "web/web.h"

#define WEB_WIRE_BYTES   (TLS_RECORD_MAX + 512) /* a flight, or a record */
#define WEB_ANSWER_BYTES (HTTP_ANSWER_MAX + 64) /* a head and the text of an error */
#define WEB_LINGER_MS    2000
#define WEB_LINGER_BYTES 65536
#define WEB_PEER_MAX     72

/* The walk. One operation at a time: what is read is answered before more is read. */
enum web_stage {
	WEB_STAGE_HANDSHAKE,
	WEB_STAGE_REQUEST, /* until a head is whole */
	WEB_STAGE_ANSWER,
	WEB_STAGE_LAST,   /* the last octets, close_notify among them */
	WEB_STAGE_LINGER, /* our side is shut: waiting for the peer's */
	WEB_STAGE_END,    /* waiting for every operation */
	WEB_STAGE_COUNT
};

/* Why it ended, as the log says it. */
enum web_end {
	WEB_END_NONE,
	WEB_END_CLOSED,   /* by the client */
	WEB_END_DONE,     /* by the client's wish, Connection: close */
	WEB_END_REQUESTS, /* WEB_REQUESTS_MAX */
	WEB_END_REFUSED,  /* a request that nothing can follow */
	WEB_END_IDLE,
	WEB_END_TIMEOUT_HANDSHAKE,
	WEB_END_TIMEOUT_REQUEST,
	WEB_END_TIMEOUT_ANSWER,
	WEB_END_TLS_FAILED,
	WEB_END_TLS_RECORD,
	WEB_END_FENCE,
	WEB_END_FULL, /* made room for another */
	WEB_END_IO,
	WEB_END_MEMORY,
	WEB_END_SHUTDOWN,
	WEB_END_COUNT
};

enum web_step { WEB_STEP_AGAIN, WEB_STEP_WAIT };

struct web_worker {
	struct web_facts facts;
	struct tls_context *tls;
	struct web_policies *policies;
	struct pool conns;
	struct list live; /* of conn.node, the oldest first */
	uint32_t n;       /* of them, those that are not ending */
	bool draining;
	void (*on_end)(void *ctx);
	void *on_end_ctx;
};

struct web_conn {
	struct web_worker *worker;
	struct list node;
	const struct listener_settings *listener;
	int fd;
	enum web_stage stage;
	enum web_end end;
	bool stepping;
	bool eof;
	bool late; /* the request's time is over; it is told so when the receive has ended */
	bool tls_up;
	bool tls_failed;
	bool notify_done; /* close_notify was queued */
	bool sending;     /* `op` is a send */
	bool shut;        /* both sides, so that `op` ends */
	int io_error;
	struct op op;
	struct op cancel;

	struct fence_client client;
	uint64_t pause_until_ms; /* nothing is read until then; 0 */

	struct tls_conn *tls;
	struct buf in;   /* records as they came */
	struct buf head; /* plaintext: the request under way, and what follows it */
	struct buf wire; /* to be sent */

	/* the request and its answer */
	struct http_scan scan;
	uint64_t request_ms;          /* when its first octet came; 0: it has not */
	struct buf answer;            /* head, or head and a short text */
	struct span body;             /* of `holding`, what was not sealed yet */
	struct web_policies *holding; /* NULL: no body */
	bool keep_alive;

	struct wheel_timer timer;
	uint64_t started_ms;
	uint64_t stage_ms;
	uint64_t linger_bytes;

	/* for the log */
	uint64_t bytes_in;
	uint64_t bytes_out;
	uint32_t requests;
	uint32_t served;  /* answered 200 */
	uint32_t refused; /* otherwise */
	enum http_code last;
	char peer[WEB_PEER_MAX];

	uint8_t in_bytes[WEB_WIRE_BYTES];
	uint8_t head_bytes[HTTP_HEAD_MAX + 1]; /* the octet that is too many, too */
	uint8_t wire_bytes[WEB_WIRE_BYTES];
	uint8_t answer_bytes[WEB_ANSWER_BYTES];
};

/* ---- conn.c ---- */

void web_step(struct web_conn *conn);
void web_stage_set(struct web_conn *conn, enum web_stage stage);
/* The last octets still go; the first reason stands. */
void web_finish(struct web_conn *conn, enum web_end end);
void web_kill(struct web_conn *conn, enum web_end end);
uint64_t web_now(const struct web_conn *conn);

/* ---- input.c ---- */

/* Sends what is in `wire`. */
void web_send(struct web_conn *conn);
/* Asks for records, as many as TLS wants; not where the fence has reading paused. */
void web_receive(struct web_conn *conn);
/* Until a receive has ended; it is cancelled. */
void web_receive_stop(struct web_conn *conn);
void web_input_init(struct web_conn *conn);
enum web_step web_handshake_step(struct web_conn *conn);

/* ---- answer.c ---- */

enum web_step web_request_step(struct web_conn *conn);
enum web_step web_answer_step(struct web_conn *conn);

/* ---- limits.c ---- */

void web_limits_init(struct web_conn *conn);
void web_limits_update(struct web_conn *conn);

/* ---- report.c ---- */

void web_report(const struct web_conn *conn);
void web_count(enum http_code code);

#endif
