/* SPDX-License-Identifier: MIT */
/*
 * input.c -- octets from the socket to plaintext: receives, held buffers, decryption, control
 * records.
 *
 * Where the record layer is decides how octets come:
 *
 *	plaintext		multishot recv, provided buffers; a long message by DATA by single
 *				receives into wide buffers
 *	TLS in user space	the same; a record is decrypted into a buffer of its own, or where
 *				the spool wants it. A long message comes by single receives into
 *				wide buffers, or is handed over to the kernel (handover.c)
 *	kTLS			multishot recvmsg, provided buffers, each with its record type; a
 *				long message by single ones into wide buffers, some records each
 *	handshake		one exact receive at a time (tls_conn_want), so that nothing that
 *				belongs to a later record leaves the kernel
 *
 * Buffers are held in order while the dialogue waits for something; at SESSION_HELD_MAX receiving
 * is cancelled and taken up again when they are used up. That is the backpressure; it is the same
 * when the fence has reading paused (guard.c).
 */
#include "session/session-private.h"

#include <errno.h>

#include "base/counter.h"

#define KEPT_ID UINT16_MAX /* no provided buffer has it */

_Static_assert(sizeof(struct ring_buffer) + RING_BUFFER_BYTES <= SESSION_LARGE_BYTES,
	"a provided buffer's octets fit a large one behind their head");

static void recv_done(struct op *op, int res, uint32_t flags);
static void hold(struct session *session, struct ring_buffer *buffer);
static void receive_ended(struct session *session, int res);
static void cancel_done(struct op *op, int res, uint32_t flags);

void session_input_init(struct session *session)
{
	session->recv.done = recv_done;
	session->cancel.done = cancel_done;
	session->held_tail = &session->held;
}

static struct ring *ring_of(const struct session *session)
{
	return session->worker->facts.ring;
}

/* ---- receiving ---- */

static bool receive_wanted(struct session *session)
{
	if (session->recv.armed || session->recv_stop || session->eof || session->recv_error != 0)
		return false;
	if (session->expired_n > 0 && session->held != NULL) /* the KeyUpdate is among them */
		return false;
	if (session->held_n >= SESSION_HELD_MAX || session->wait == SESSION_WAIT_SPLICE)
		return false;
	if (session_guard_paused(session))
		return false;
	return session->stage == SESSION_STAGE_EARLY || session->stage == SESSION_STAGE_SMTP ||
	       session->stage == SESSION_STAGE_LINGER;
}

/* Octets that the message has, as far as is known by now: what came, with what is left of the chunk, or
 * what MAIL announced. */
static uint64_t message_known(const struct smtp *smtp)
{
	uint64_t n = smtp->body_bytes + smtp->chunk_left;

	return n > smtp->envelope.size ? n : smtp->envelope.size;
}

bool session_wide_wanted(const struct session *session)
{
	const struct smtp *smtp = &session->smtp;

	if (session->wide_off || session->message == NULL || session->wait == SESSION_WAIT_COMMIT)
		return false;
	if (session->tls == NULL) /* by DATA; long chunks are for splice */
		return smtp_in_body(smtp) && smtp->chunk_left == 0 &&
		       message_known(smtp) >= SESSION_WIDE_MIN;
	if (session->planted & TLS_KTLS_RX && (session->worker->facts.kernel->rx_spins_on_partial ||
						      session_splice_wanted(session)))
		return false;
	return message_known(smtp) >= SESSION_WIDE_MIN;
}

void session_receive(struct session *session)
{
	bool records = session->planted & TLS_KTLS_RX;
	bool wide = session_wide_wanted(session);

	if (!receive_wanted(session) || (wide && session->held != NULL))
		return;
	session->recv_multi = true;
	session->recv_wide = wide;
	if (wide && records)
		ring_recvmsg_wide(
			ring_of(session), &session->recv, session->fd, &session->recv_record);
	else if (wide)
		ring_recv_wide(ring_of(session), &session->recv, session->fd,
			session_handover_want(session));
	else if (records)
		ring_recvmsg_multi(
			ring_of(session), &session->recv, session->fd, &session->worker->recv_msg);
	else
		ring_recv_multi(ring_of(session), &session->recv, session->fd);
}

void session_receive_exact(struct session *session, size_t n)
{
	ASSERT(!session->recv.armed && buf_room(&session->shake) >= n);
	session->recv_multi = false;
	ring_recv(ring_of(session), &session->recv, session->fd,
		session->shake.p + session->shake.end, n);
}

static void receive_cancel(struct session *session)
{
	if (session->recv.armed && !session->cancel.armed)
		ring_cancel(ring_of(session), &session->cancel, &session->recv);
}

/* The one that is armed fills small buffers: it ends, and the next one is as it should be. */
static void receive_widen(struct session *session)
{
	if (!session->recv_wide && session_wide_wanted(session))
		receive_cancel(session);
}

bool session_receive_stopped(struct session *session)
{
	session->recv_stop = true;
	receive_cancel(session);
	return !session->recv.armed && !session->cancel.armed;
}

static void cancel_done(struct op *op, int res, uint32_t flags)
{
	struct session *session = container_of(op, struct session, cancel);

	(void)res;
	(void)flags;
	session_step(session);
}

/* Octets that came before the greeting left. The receive is submitted before the send, so octets
 * that were there already are seen first. */
static void early_check(struct session *session)
{
	if (session->bytes_out > 0 || session->early_talker || session->tls != NULL ||
		session->stage > SESSION_STAGE_SMTP)
		return;
	session->early_talker = true;
	count(COUNTER_EARLY_TALKER);
}

static void hold(struct session *session, struct ring_buffer *buffer)
{
	early_check(session);
	session->expired_n = 0;
	buffer->next = NULL;
	*session->held_tail = buffer;
	session->held_tail = &buffer->next;
	session->held_n++;
	session->bytes_in += buffer->bytes.n;
	count_add(COUNTER_BYTES_RECEIVED, (int64_t)buffer->bytes.n);
	session->active_ms = session_now(session);
	session_guard_received(session, buffer->bytes.n);
	if (session->held_n >= SESSION_HELD_MAX || session->pause_until_ms != 0)
		receive_cancel(session);
}

static bool record_parse(struct session *session, struct ring_buffer *buffer)
{
	return session->recv_wide ? ring_record_parse(&session->recv_record, buffer)
				  : ring_msg_parse(&session->worker->recv_msg, buffer);
}

/* A buffer came. Under kTLS the record type is told; an empty payload is end of stream. */
static void buffer_came(struct session *session, struct ring_buffer *buffer)
{
	struct ring *ring = ring_of(session);

	buffer->type = 23;
	if (session->planted & TLS_KTLS_RX && !record_parse(session, buffer)) {
		session->recv_error = -EBADMSG;
		ring_buffer_release(ring, buffer);
		return;
	}
	if (buffer->bytes.n == 0) {
		if (buffer->type == 23)
			session->eof = true;
		ring_buffer_release(ring, buffer);
		return;
	}
	hold(session, buffer);
}

/*
 * A receive ended with -errno. Some mean nothing by themselves and it is armed again: cancelled by
 * us; no provided buffer free (ring/ says so only once there is one again); EKEYEXPIRED, where a
 * KeyUpdate came just before and is answered, but not for ever.
 */
static void receive_ended(struct session *session, int res)
{
	if (res == -ENOBUFS && session->recv_wide)
		session->wide_off = true;
	if (res == -ECANCELED || res == -ENOBUFS || res == -EINTR || res == -EAGAIN)
		return;
	if (res == -EKEYEXPIRED && session->expired_n++ < SESSION_EXPIRED_MAX)
		return;
	session->recv_error = res;
}

static void recv_done(struct op *op, int res, uint32_t flags)
{
	struct session *session = container_of(op, struct session, recv);

	if (!session->recv_multi) {
		session_handshake_done_recv(session, res);
		session_step(session);
		return;
	}
	if (flags & RING_BUFFER)
		buffer_came(session, ring_buffer_of(ring_of(session), flags, res < 0 ? 0 : res));
	else if (res == 0)
		session->eof = true;
	else if (res < 0)
		receive_ended(session, res);
	session_step(session);
}

/* ---- taking ---- */

static bool is_kept(const struct ring_buffer *buffer)
{
	return buffer->id == KEPT_ID;
}

/* A copy of what `from` still holds, `in` included where that points into it. NULL: no memory, or
 * the rest of a wide buffer. */
static struct ring_buffer *keep(struct session *session, const struct ring_buffer *from)
{
	bool holds_in = from == session->held && session->plain.p == NULL && session->in.n > 0;
	struct ring_buffer *kept = NULL;
	struct span bytes = from->bytes;
	uint8_t *p;

	if (bytes.n <= SESSION_LARGE_BYTES - sizeof(*kept))
		kept = pool_get(&session->worker->large);
	if (kept == NULL)
		return NULL;
	p = (uint8_t *)(kept + 1);
	ASSERT(!holds_in || bytes.n == 0); /* `in` is all of a buffer or what TLS made of it */
	if (holds_in)
		bytes = session->in;
	if (bytes.n > 0)
		memcpy(p, bytes.p, bytes.n);
	*kept = (struct ring_buffer){.next = from->next, .id = KEPT_ID, .type = from->type};
	kept->bytes = span_of(p, holds_in ? 0 : bytes.n);
	if (holds_in)
		session->in = span_of(p, bytes.n);
	return kept;
}

void session_input_keep(struct session *session)
{
	struct ring_buffer **link = &session->held;

	while (*link != NULL) {
		struct ring_buffer *buffer = *link;
		struct ring_buffer *kept = is_kept(buffer) ? buffer : keep(session, buffer);

		if (kept == NULL)
			return; /* held as it is, then */
		*link = kept;
		link = &kept->next;
		if (kept != buffer)
			ring_buffer_release(ring_of(session), buffer);
	}
	session->held_tail = link;
}

void session_input_done(struct session *session)
{
	struct ring_buffer *buffer = session->held;

	if (session->in.n > 0 || session->rest.n > 0)
		return;
	session->in = (struct span){0};
	if (session->plain.p != NULL) {
		pool_put(&session->worker->large, session->plain.p);
		session->plain.p = NULL;
	}
	if (buffer == NULL || buffer->bytes.n > 0 || session->plain_left)
		return;
	session->held = buffer->next;
	if (session->held == NULL)
		session->held_tail = &session->held;
	session->held_n--;
	if (is_kept(buffer))
		pool_put(&session->worker->large, buffer);
	else
		ring_buffer_release(ring_of(session), buffer);
}

void session_input_drop(struct session *session)
{
	session->in = (struct span){0};
	session->rest = (struct span){0};
	session->plain_left = false;
	session_input_done(session);
	while (session->held != NULL) {
		session->held->bytes.n = 0;
		session_input_done(session);
	}
}

static enum session_input input_fail(
	struct session *session, enum session_end end, enum counter counter)
{
	count(counter);
	session->end = session->end == SESSION_END_NONE ? end : session->end;
	return SESSION_INPUT_EOF;
}

/* Nothing is held any more and the socket has ended or failed. */
static enum session_input input_ended(struct session *session)
{
	if (session->recv_error == -EBADMSG || session->recv_error == -EMSGSIZE ||
		(session->recv_error == -EINVAL && session->planted & TLS_KTLS_RX))
		return input_fail(session, SESSION_END_TLS_RECORD, COUNTER_TLS_RECORD_ERROR);
	if (session->tls != NULL)
		return input_fail(session, SESSION_END_TLS_TRUNCATED, COUNTER_TLS_TRUNCATED);
	session->end = session->recv_error != 0 ? SESSION_END_IO : SESSION_END_EOF;
	return SESSION_INPUT_EOF;
}

/* The oldest held buffer is a control record under kTLS. */
static enum session_input control_record(struct session *session)
{
	struct ring_buffer *buffer = session->held;
	enum tls_control answer;

	answer = tls_conn_control(
		session->tls, session->fd, buffer->type, buffer->bytes, &session->control);
	buffer->bytes.n = 0;
	session_input_done(session);
	switch (answer) {
	case TLS_CONTROL_IGNORE:
		return SESSION_INPUT_READY;
	case TLS_CONTROL_REPLY:
		session->control_due = true;
		session->control_rekey = true;
		session_flush(session);
		return SESSION_INPUT_READY;
	case TLS_CONTROL_REFUSED:
		session->end = SESSION_END_KEYUPDATE;
		return SESSION_INPUT_EOF;
	case TLS_CONTROL_EOF:
		session->eof = true;
		session->end = SESSION_END_EOF;
		return SESSION_INPUT_EOF;
	case TLS_CONTROL_FAIL:
		break;
	}
	session->end = SESSION_END_TLS_RECORD;
	return SESSION_INPUT_EOF;
}

/* Decrypts up to cap octets from the oldest held buffer; what TLS itself answers goes out as it is. */
static enum session_input decrypt_to(struct session *session, uint8_t *plain, size_t cap, size_t *n)
{
	uint8_t answer_storage[256];
	struct buf answer;
	enum tls_io io;

	buf_init(&answer, answer_storage, sizeof(answer_storage));
	io = tls_conn_read(session->tls, &session->held->bytes, plain, cap, n, &answer);
	session->plain_left = *n == cap;
	if (buf_len(&answer) > 0 && !session_wire_put(session, buf_span(&answer)))
		return input_fail(session, SESSION_END_MEMORY, COUNTER_SESSIONS_REFUSED_MEMORY);
	switch (io) {
	case TLS_IO_OK:
	case TLS_IO_MORE:
		break;
	case TLS_IO_EOF:
		session->eof = true;
		session->end = SESSION_END_EOF;
		return SESSION_INPUT_EOF;
	case TLS_IO_REFUSED:
		session->end = SESSION_END_KEYUPDATE;
		return SESSION_INPUT_EOF;
	case TLS_IO_FAIL:
		return input_fail(session, SESSION_END_TLS_RECORD, COUNTER_TLS_RECORD_ERROR);
	}
	return SESSION_INPUT_READY;
}

static bool plain_ready(struct session *session)
{
	void *storage = session->plain.p == NULL ? pool_get(&session->worker->large) : NULL;

	if (storage != NULL)
		buf_init(&session->plain, storage, SESSION_LARGE_BYTES);
	return session->plain.p != NULL;
}

static enum session_input decrypt(struct session *session)
{
	enum session_input input;
	size_t n = 0;

	if (!plain_ready(session))
		return input_fail(session, SESSION_END_MEMORY, COUNTER_SESSIONS_REFUSED_MEMORY);
	input = decrypt_to(session, session->plain.p, TLS_PLAIN_MAX, &n);
	session->in = span_of(session->plain.p, n);
	session_input_done(session);
	return input;
}

/*
 * A piece that could not take all of its record leaves the rest with tls/, and no record is larger
 * than the last piece: so nothing is left there in the end.
 */
bool session_input_straight(struct session *session, size_t *n, enum session_input *input)
{
	struct iovec room[SPOOL_ROOM_PIECES];
	size_t total = 0;
	size_t part = 0;

	_Static_assert(SPOOL_BLOCK_BYTES >= TLS_PLAIN_MAX, "the last piece takes any record");
	if (session->held == NULL || session->in.n > 0 || session->tls == NULL ||
		session->planted & TLS_KTLS_RX || !spool_room(session->message, room))
		return false;
	*input = SESSION_INPUT_READY;
	for (size_t i = 0; i < COUNT_OF(room) && *input == SESSION_INPUT_READY; i++) {
		if (room[i].iov_len == 0)
			continue;
		*input = decrypt_to(session, room[i].iov_base, room[i].iov_len, &part);
		total += part;
		if (part < room[i].iov_len)
			break;
	}
	spool_filled(session->message, total);
	session->taken += total;
	receive_widen(session);
	*n = total;
	session_input_done(session);
	return true;
}

/* What is not placed moves out of the message's memory at once: a piece is no more than `plain` takes. */
static void place(struct session *session, uint8_t *piece, size_t n)
{
	struct smtp_placed placed = smtp_data_place(&session->smtp, piece, n);

	_Static_assert(SPOOL_BLOCK_BYTES <= SESSION_LARGE_BYTES, "what is left of a piece fits");
	session->in = span_of(session->plain.p, n - placed.taken);
	memcpy(session->plain.p, piece + placed.taken, session->in.n);
	spool_filled(session->message, placed.content);
	spool_checked(session->message, placed.has_8bit);
}

bool session_input_placed(struct session *session, enum session_input *input)
{
	struct iovec room[SPOOL_ROOM_PIECES];
	struct iovec *piece = room;
	size_t n = 0;

	if (session->held == NULL || session->in.n > 0 || session->tls == NULL ||
		session->planted & TLS_KTLS_RX || !plain_ready(session) ||
		!spool_room(session->message, room))
		return false;
	if (piece->iov_len == 0)
		piece++;
	*input = decrypt_to(session, piece->iov_base, piece->iov_len, &n);
	place(session, piece->iov_base, n);
	session->taken += n;
	receive_widen(session);
	session_input_done(session);
	return true;
}

enum session_input session_input_next(struct session *session)
{
	bool user_tls = session->tls != NULL && !(session->planted & TLS_KTLS_RX);

	while (session->in.n == 0) {
		enum session_input input = SESSION_INPUT_READY;

		session_input_done(session);
		if (session->control_due) /* a KeyUpdate is answered before we read on */
			return SESSION_INPUT_NONE;
		if (session->held == NULL)
			return (session->eof || session->recv_error != 0) && !session->recv.armed
				       ? input_ended(session)
				       : SESSION_INPUT_NONE;
		if (user_tls)
			input = decrypt(session);
		else if (session->held->type != 23)
			input = control_record(session);
		else
			session->in = span_take(&session->held->bytes, session->held->bytes.n);
		if (input != SESSION_INPUT_READY)
			return input;
		session->taken += session->in.n;
		receive_widen(session);
	}
	return SESSION_INPUT_READY;
}
