/* SPDX-License-Identifier: MIT */
/*
 * dialog.c -- the SMTP stage: each event of smtp/ is put to policy/ or spool/ and answered.
 *
 * One event a step. Four things make it wait: the spool has no room (WAIT_SPOOL), a message is
 * being committed (WAIT_COMMIT: the 250 is given only in committed()), octets are being spliced
 * (WAIT_SPLICE), a next hop is asked about a recipient (WAIT_POLICY). Meanwhile input is held, see
 * input.c.
 */
#include "session/session-private.h"

#include <errno.h>

#include "base/clock.h"
#include "base/counter.h"

static const struct smtp_verdict accept_verdict = {.kind = SMTP_VERDICT_ACCEPT};
static const struct smtp_verdict no_space_verdict = {
	SMTP_VERDICT_REFUSE, 452, "4.3.1", "Insufficient system storage, try again later"};
static const struct smtp_verdict io_error_verdict = {
	SMTP_VERDICT_REFUSE, 451, "4.3.0", "Local error in processing, try again later"};
static const struct smtp_verdict shutdown_verdict = {
	SMTP_VERDICT_CLOSE, 421, "4.3.2", "Service shutting down, try again later"};

static const struct smtp_verdict *error_verdict(int error)
{
	bool space = error == -ENOSPC || error == -EDQUOT || error == -ENOMEM;

	return space ? &no_space_verdict : &io_error_verdict;
}

/* ---- the message ---- */

static void message_drop(struct session *session, const char *result, unsigned reply)
{
	if (session->message == NULL || session->wait == SESSION_WAIT_COMMIT)
		return;
	if (!spool_abort(session->message))
		session->wait = SESSION_WAIT_NONE;
	session->message = NULL;
	session->rest = (struct span){0};
	session_report_message(session, result, reply);
}

void session_message_drop(struct session *session)
{
	message_drop(session, "aborted", 0);
}

static bool trace_write(struct session *session, struct buf *head)
{
	const struct tls_info *tls = session->tls ? tls_conn_info(session->tls) : NULL;
	struct smtp_trace trace = {
		.hostname = session->worker->facts.config->smtp.hostname,
		.helo = session->smtp.helo,
		.peer_address = session->peer_address,
		.esmtp = smtp_esmtp(&session->smtp),
		.smtputf8 = session->smtp.envelope.smtputf8,
		.tls_version = tls ? tls->version : NULL,
		.tls_cipher = tls ? tls->cipher : NULL,
		.tls_group = tls ? tls->group : NULL,
		.queue_id = session->queue_id,
		.envelope = &session->smtp.envelope,
		.real_us = clock_real_us(),
	};

	return smtp_trace_write(head, &trace);
}

static const struct smtp_verdict *message_begin(struct session *session)
{
	struct spool *spool = session->worker->facts.spool;
	uint8_t storage[SMTP_TRACE_MAX];
	struct buf head;

	ASSERT(session->message == NULL);
	session_limits_body(session);
	session->spool_error = 0;
	session->splice_off = false;
	session->wide_off = false;
	buf_init(&head, storage, sizeof(storage));
	session->queue_number = spool_id(spool);
	spool_id_text(session->queue_number, session->queue_id);
	if (!trace_write(session, &head))
		return &io_error_verdict;
	session->message = spool_begin(spool, &session->owner, &session->smtp.envelope,
		session->queue_number, buf_span(&head));
	if (session->message == NULL) {
		count(COUNTER_SPOOL_NO_SPACE);
		return &no_space_verdict;
	}
	return &accept_verdict;
}

/* The message cannot be stored: its octets are taken and forgotten until its end is answered. */
static void message_fail(struct session *session)
{
	session->spool_error = spool_error(session->message);
	message_drop(session, "failed", error_verdict(session->spool_error)->code);
}

/* Gives `rest` to the spool. */
static enum session_step body_step(struct session *session)
{
	if (session->message == NULL) {
		session->rest = (struct span){0};
		return SESSION_STEP_AGAIN;
	}
	switch (spool_append(session->message, &session->rest)) {
	case SPOOL_STEP_OK:
		return SESSION_STEP_AGAIN;
	case SPOOL_STEP_WAIT:
		session->wait = SESSION_WAIT_SPOOL;
		return SESSION_STEP_WAIT;
	case SPOOL_STEP_FAIL:
		message_fail(session);
		return SESSION_STEP_AGAIN;
	}
	return SESSION_STEP_WAIT;
}

static enum session_step message_end(struct session *session)
{
	if (session->message == NULL) {
		smtp_answer(&session->smtp, error_verdict(session->spool_error), &session->out);
		return SESSION_STEP_AGAIN;
	}
	session->wait = SESSION_WAIT_COMMIT;
	spool_commit(session->message);
	return SESSION_STEP_WAIT;
}

static void on_ready(struct spool_owner *owner)
{
	struct session *session = container_of(owner, struct session, owner);

	ASSERT(session->wait == SESSION_WAIT_SPOOL);
	session->wait = SESSION_WAIT_NONE;
	session_limits_body(session); /* the disk's time is not the client's */
	session_step(session);
}

/* What the log calls the end of a message: ours in the queue, or the next hop's word. */
static const char *result_of(int res, const struct smtp_verdict *word)
{
	if (res != 0)
		return "failed";
	if (word == NULL)
		return "queued";
	return word->kind == SMTP_VERDICT_ACCEPT ? "delivered" : "refused";
}

static void on_committed(struct spool_owner *owner, int res, const struct smtp_verdict *word)
{
	struct session *session = container_of(owner, struct session, owner);
	struct smtp_verdict verdict = res == 0 ? accept_verdict : *error_verdict(res);
	static const char queued[] = "queued as ";
	char text[sizeof(queued) + SPOOL_ID_MAX];

	ASSERT(session->wait == SESSION_WAIT_COMMIT);
	session->wait = SESSION_WAIT_NONE;
	session->message = NULL;
	if (word != NULL) {
		verdict = *word;
	} else if (res == 0) {
		memcpy(text, queued, sizeof(queued));
		text_copy(text + sizeof(queued) - 1, SPOOL_ID_MAX, session->queue_id);
		verdict.code = 250;
		verdict.enhanced = "2.0.0";
		verdict.text = text;
	}
	if (res == 0 && verdict.kind == SMTP_VERDICT_ACCEPT) {
		count_add(COUNTER_MESSAGE_BYTES, (int64_t)session->smtp.body_bytes);
		session_guard_accepted(session);
		session_watch_message(session);
	}
	session_report_message(session, result_of(res, word),
		session->stage == SESSION_STAGE_SMTP ? verdict.code : 0);
	if (session->stage == SESSION_STAGE_SMTP) {
		if (session_out_ready(session))
			smtp_answer(&session->smtp, &verdict, &session->out);
		else
			session_kill(session, SESSION_END_MEMORY);
	}
	session->stage_ms = session_now(session);
	session_step(session);
}

/* ---- splice ---- */

/* May the kernel move it? Out of its TLS records that takes more instructions than reading does
 * (kernel-notes/ktls-break-even.md): only where the kernel is to do all that it can. */
static bool splice_pays(const struct session *session)
{
	if (session->tls == NULL)
		return true;
	return session->planted & TLS_KTLS_RX &&
	       session->worker->facts.config->tls.ktls == KTLS_MODE_ALWAYS;
}

/* Is enough left of a BDAT chunk to go around user space? */
bool session_splice_wanted(const struct session *session)
{
	return splice_pays(session) && session->message != NULL && !session->splice_off &&
	       session->smtp.chunk_left >= SESSION_SPLICE_MIN;
}

/* With nothing of it in our hands? The header section is always read here, for message.c looks into
 * it. */
static bool splice_due(struct session *session)
{
	return session_splice_wanted(session) && session->smtp.header_over &&
	       session->held == NULL && session->in.n == 0 && !session->eof &&
	       session->recv_error == 0 && spool_error(session->message) == 0 &&
	       !session_guard_paused(session);
}

static enum session_step splice_step(struct session *session)
{
	session_input_done(session);
	if (!splice_due(session)) {
		session->recv_stop = false;
		return SESSION_STEP_AGAIN;
	}
	if (!session_receive_stopped(session))
		return SESSION_STEP_WAIT;
	session->wait = SESSION_WAIT_SPLICE;
	spool_splice(session->message, session->fd, session->smtp.chunk_left);
	return SESSION_STEP_WAIT;
}

static void on_spliced(struct spool_owner *owner, int res)
{
	struct session *session = container_of(owner, struct session, owner);

	ASSERT(session->wait == SESSION_WAIT_SPLICE);
	session->wait = SESSION_WAIT_NONE;
	if (res > 0 && session->stage == SESSION_STAGE_SMTP) {
		smtp_chunk_moved(&session->smtp, (uint64_t)res);
		session->bytes_in += (uint32_t)res;
		session->taken += (uint32_t)res;
		count_add(COUNTER_BYTES_RECEIVED, res);
		session->active_ms = session_now(session);
		session_guard_received(session, (size_t)res);
	} else if (res == 0) {
		session->eof = true;
	} else if (res == -EINVAL || res == -EAGAIN) {
		session->splice_off = true; /* a control record, or the message failed */
	} else if (res != -ECANCELED) {     /* that one: the session ended meanwhile */
		session->recv_error = res;
	}
	session_step(session);
}

void session_dialog_init(struct session *session)
{
	session->owner = (struct spool_owner){
		.ready = on_ready,
		.committed = on_committed,
		.spliced = on_spliced,
	};
}

/* ---- events ---- */

static void answer_mail(struct session *session)
{
	struct smtp_verdict verdict = policy_mail(session->worker->facts.policy,
		&session->smtp.envelope, session->smtp.tls == SMTP_TLS_ACTIVE);
	int error = spool_ready(session->worker->facts.spool);

	if (verdict.kind == SMTP_VERDICT_ACCEPT && error != 0) {
		verdict = *error_verdict(error);
		count(error_verdict(error) == &no_space_verdict ? COUNTER_SPOOL_NO_SPACE
								: COUNTER_SPOOL_IO_ERROR);
	}
	smtp_answer(&session->smtp, &verdict, &session->out);
}

static void rcpt_verdict(struct session *session, const struct smtp_verdict *verdict)
{
	count(verdict->kind == SMTP_VERDICT_ACCEPT ? COUNTER_RECIPIENTS_ACCEPTED
						   : COUNTER_RECIPIENTS_REFUSED);
	smtp_answer(&session->smtp, verdict, &session->out);
}

static void on_answered(struct policy_question *question, enum policy_callout_answer answer)
{
	struct session *session = container_of(question, struct session, question);
	struct smtp_verdict verdict = policy_callout_verdict(session->worker->facts.policy, answer);

	ASSERT(session->wait == SESSION_WAIT_POLICY && session->stage == SESSION_STAGE_SMTP);
	session->wait = SESSION_WAIT_NONE;
	if (session_out_ready(session))
		rcpt_verdict(session, &verdict);
	else
		session_kill(session, SESSION_END_MEMORY);
	session->stage_ms = session_now(session); /* the next hop's time is not the client's */
	session_step(session);
}

void session_question_drop(struct session *session)
{
	struct policy_callout *callout = session->worker->facts.callout;

	if (session->wait != SESSION_WAIT_POLICY)
		return;
	callout->forget(callout, &session->question);
	session->wait = SESSION_WAIT_NONE;
}

static enum session_step answer_rcpt(
	struct session *session, const struct smtp_recipient *recipient)
{
	const struct session_facts *facts = &session->worker->facts;
	const struct smtp_envelope *envelope = &session->smtp.envelope;
	struct smtp_verdict verdict = policy_rcpt(
		facts->policy, envelope, recipient, session->smtp.tls == SMTP_TLS_ACTIVE);
	enum policy_callout_answer answer;

	if (verdict.kind == SMTP_VERDICT_ACCEPT && facts->callout != NULL &&
		policy_callout_due(facts->policy, recipient)) {
		session->question.answered = on_answered;
		if (!facts->callout->ask(facts->callout, &session->question, envelope,
			    &recipient->address, &answer)) {
			session->wait = SESSION_WAIT_POLICY;
			return SESSION_STEP_WAIT;
		}
		verdict = policy_callout_verdict(facts->policy, answer);
	}
	rcpt_verdict(session, &verdict);
	return SESSION_STEP_AGAIN;
}

static void starttls(struct session *session)
{
	struct smtp_verdict verdict = accept_verdict;
	char text[SESSION_GUARD_TEXT];
	bool may = session_guard_shake(session, &verdict, text);

	smtp_answer(&session->smtp, &verdict, &session->out);
	if (!may)
		return;
	count(COUNTER_TLS_STARTTLS);
	session_stage_set(session, SESSION_STAGE_UPGRADE);
	/* What follows the command in the same octets stays in `in`: upgrade sees it and closes. */
	session_input_done(session);
}

/* The trusted peer's client becomes ours: limits and logs are about it from now on. */
static void xclient(struct session *session, const struct smtp_xclient *says)
{
	struct smtp_verdict verdict = accept_verdict;
	char text[SESSION_GUARD_TEXT];
	struct network_end peer = session->own;
	bool known = (says->known & SMTP_XCLIENT_ADDR) != 0;

	if (known) {
		memcpy(peer.address, says->address, NETWORK_BYTES);
		peer.port = says->known & SMTP_XCLIENT_PORT ? says->port : 0;
	}
	(void)session_guard_become(session, &peer, !known && !session->way.behind, &verdict, text);
	smtp_answer(&session->smtp, &verdict, &session->out);
}

static void close_event(struct session *session, enum smtp_close_reason reason)
{
	static const enum session_end ends[] = {
		[SMTP_CLOSE_QUIT] = SESSION_END_QUIT,
		[SMTP_CLOSE_ERRORS] = SESSION_END_ERRORS,
		[SMTP_CLOSE_HTTP] = SESSION_END_HTTP,
		[SMTP_CLOSE_TLS] = SESSION_END_CLIENT_HELLO,
		[SMTP_CLOSE_POLICY] = SESSION_END_POLICY,
		[SMTP_CLOSE_MESSAGES] = SESSION_END_MESSAGES,
		[SMTP_CLOSE_MEMORY] = SESSION_END_MEMORY,
	};

	if (reason == SMTP_CLOSE_HTTP || reason == SMTP_CLOSE_TLS)
		session_kill(session, ends[reason]);
	else
		session_finish(session, ends[reason]);
}

/* What is left of a chunk, or comes of DATA, goes from TLS to the spool without passing through here. */
static bool straight(struct session *session, enum session_input *input)
{
	size_t n = 0;

	if (session->message != NULL && smtp_data_placeable(&session->smtp))
		return session_input_placed(session, input);
	if (session->message == NULL || session->smtp.chunk_left < SESSION_STRAIGHT_MIN ||
		!session->smtp.header_over || !session_input_straight(session, &n, input))
		return false;
	smtp_chunk_moved(&session->smtp, n);
	return true;
}

/* No event without more input: gets some, or hands the chunk to splice. */
static enum session_step more(struct session *session)
{
	enum session_input input;

	session_input_done(session);
	if (session->recv_stop || splice_due(session))
		return splice_step(session);
	if (!straight(session, &input))
		input = session_input_next(session);
	switch (input) {
	case SESSION_INPUT_READY:
		return SESSION_STEP_AGAIN;
	case SESSION_INPUT_NONE:
		return session_handover(session) ? SESSION_STEP_WAIT : SESSION_STEP_AGAIN;
	case SESSION_INPUT_EOF:
		break;
	}
	if (session->end == SESSION_END_TLS_RECORD || session->end == SESSION_END_IO)
		session_kill(session, session->end);
	else
		session_finish(session, session->end);
	return SESSION_STEP_AGAIN;
}

static enum session_step event_step(struct session *session, const struct smtp_event *event)
{
	switch (event->kind) {
	case SMTP_EVENT_MORE:
		return more(session);
	case SMTP_EVENT_FULL:
		session_flush(session);
		return buf_len(&session->out) == 0 ? SESSION_STEP_AGAIN : SESSION_STEP_WAIT;
	case SMTP_EVENT_MAIL:
		answer_mail(session);
		return SESSION_STEP_AGAIN;
	case SMTP_EVENT_RCPT:
		return answer_rcpt(session, event->recipient);
	case SMTP_EVENT_BEGIN:
		smtp_answer(&session->smtp, message_begin(session), &session->out);
		return SESSION_STEP_AGAIN;
	case SMTP_EVENT_CHUNK:
		session->splice_off = false;
		session->wide_off = false;
		return SESSION_STEP_AGAIN;
	case SMTP_EVENT_BODY:
		session->rest = event->body;
		if (event->checked && session->message != NULL)
			spool_checked(session->message, event->has_8bit);
		return body_step(session);
	case SMTP_EVENT_SPOIL:
		message_drop(session, "refused", session->smtp.spoil_code);
		return SESSION_STEP_AGAIN;
	case SMTP_EVENT_END:
		return message_end(session);
	case SMTP_EVENT_ABORT:
		session_message_drop(session);
		return SESSION_STEP_AGAIN;
	case SMTP_EVENT_STARTTLS:
		starttls(session);
		return SESSION_STEP_AGAIN;
	case SMTP_EVENT_XCLIENT:
		xclient(session, event->xclient);
		return SESSION_STEP_AGAIN;
	case SMTP_EVENT_CLOSE:
		close_event(session, event->reason);
		return SESSION_STEP_AGAIN;
	}
	return SESSION_STEP_WAIT;
}

enum session_step session_dialog_step(struct session *session)
{
	struct smtp_event event;
	uint32_t replied;
	bool in_body;

	if (session->wait != SESSION_WAIT_NONE)
		return SESSION_STEP_WAIT;
	if (session->rest.n > 0)
		return body_step(session);
	if (!session_out_ready(session)) {
		session_kill(session, SESSION_END_MEMORY);
		return SESSION_STEP_AGAIN;
	}
	if (session->worker->draining && !smtp_in_message(&session->smtp) &&
		buf_room(&session->out) >= SMTP_REPLY_MAX) {
		smtp_reply_final(&session->smtp, &session->out, &shutdown_verdict);
		session_finish(session, SESSION_END_SHUTDOWN);
		return SESSION_STEP_AGAIN;
	}
	in_body = smtp_in_body(&session->smtp);
	replied = session->out.end;
	event = smtp_step(&session->smtp, &session->in, &session->out);
	if (event.kind == SMTP_EVENT_CHUNK || in_body != smtp_in_body(&session->smtp))
		session_limits_body(session);
	if (session->out.end != replied ||
		(event.kind != SMTP_EVENT_MORE && event.kind != SMTP_EVENT_BODY &&
			event.kind != SMTP_EVENT_FULL))
		session->stage_ms = session_now(session);
	return event_step(session, &event);
}
