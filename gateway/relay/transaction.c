/* SPDX-License-Identifier: MIT */
/*
 * transaction.c -- a job on an open connection: commands out, replies in, and whose is whose.
 *
 * The commands of a job are numbered: 0 is MAIL, 1 to n the RCPTs, n + 1 DATA. `sent` and `heard` count
 * along, so that replies need no queue. With PIPELINING (RFC 2920) as many go out as the buffer
 * holds, the rest follows while replies come; without it, one at a time.
 *
 * BDAT (RFC 3030) is used wherever it is offered: the octets go as they are, the file may be
 * spliced, and no 354 is waited for. It is sent once a recipient was accepted, as a chunk cannot be
 * taken back. DATA is pipelined behind the RCPTs, which saves a round trip for each message; if all
 * recipients are refused and DATA is answered 354 all the same, a lone dot ends it (RFC 2920 3.1).
 * An LMTP server must not do that (RFC 2033 4.2) and is left.
 *
 * What the next hop cannot take is refused here, before MAIL: a message over its SIZE, 8-bit
 * octets without 8BITMIME (no conversion, RFC 6152 3), binary ones without BINARYMIME, an envelope
 * that needs SMTPUTF8.
 *
 * 452 to RCPT, and 552 where it means the same (RFC 5321 4.5.3.1.10), are a later try like any 4xx.
 */
#include "relay/client-private.h"

#include <stdio.h>

/* ---- outcomes ---- */

void relay_outcome_set(struct relay_outcome *outcome, enum relay_result result, uint16_t code,
	const char *enhanced, const char *fmt, ...)
{
	va_list ap;

	outcome->result = result;
	outcome->local = false;
	outcome->code = code;
	snprintf(outcome->enhanced, sizeof(outcome->enhanced), "%s", enhanced);
	va_start(ap, fmt);
	vsnprintf(outcome->text, sizeof(outcome->text), fmt, ap);
	va_end(ap);
}

void relay_outcome_of_reply(struct relay_outcome *outcome, const struct relay_reply *reply)
{
	enum relay_result result = RELAY_RESULT_LATER;

	if (reply->code / 100 == 2)
		result = RELAY_RESULT_DONE;
	else if (reply->code / 100 == 5)
		result = RELAY_RESULT_NEVER;
	outcome->result = result;
	outcome->local = false;
	outcome->code = reply->code;
	text_copy(outcome->enhanced, sizeof(outcome->enhanced), reply->enhanced);
	text_copy(outcome->text, sizeof(outcome->text), reply->text_storage);
}

void relay_transaction_settle(struct relay_client *client, const struct relay_outcome *outcome)
{
	struct relay_job *job = client->job;

	for (uint32_t i = 0; i < job->recipients_n; i++) {
		if (job->recipients[i].state == RECIPIENT_SETTLED)
			continue;
		job->recipients[i].state = RECIPIENT_SETTLED;
		*job->recipients[i].outcome = *outcome;
	}
}

static void settle_by_reply(struct relay_client *client)
{
	struct relay_outcome outcome;

	relay_outcome_of_reply(&outcome, &client->reply);
	relay_transaction_settle(client, &outcome);
}

/* ---- the beginning ---- */

static void refuse(
	struct relay_client *client, uint16_t code, const char *enhanced, const char *text)
{
	struct relay_outcome outcome;

	relay_outcome_set(&outcome, RELAY_RESULT_NEVER, code, enhanced, "%s", text);
	outcome.local = true;
	relay_transaction_settle(client, &outcome);
	client->job->sender_refused = true; /* says nothing of the recipients either */
	relay_client_job_done(client);
}

static bool refused(struct relay_client *client)
{
	const struct relay_job *job = client->job;
	const unsigned binary = CLIENT_CAN_BINARYMIME | CLIENT_CAN_CHUNKING;

	if (job->envelope->smtputf8 && !(client->can & CLIENT_CAN_SMTPUTF8))
		refuse(client, 553, "5.6.7",
			"the envelope needs SMTPUTF8, which the next hop does not offer");
	else if (job->body == NULL)
		return false;
	else if (client->size_max > 0 && job->body->n > client->size_max)
		refuse(client, 552, "5.3.4", "the message is larger than the next hop takes");
	else if (job->envelope->body == SMTP_BODY_BINARYMIME && (client->can & binary) != binary)
		refuse(client, 554, "5.6.3",
			"the message is binary, and the next hop does not offer BINARYMIME");
	else
		return false;
	return true;
}

void relay_transaction_scanned(struct relay_client *client, bool has_8bit)
{
	if (has_8bit)
		refuse(client, 554, "5.6.3",
			"the message has 8-bit octets, the next hop does not offer 8BITMIME, and "
			"messages are not converted");
	else
		relay_client_stage_set(client, CLIENT_STAGE_ENVELOPE);
}

void relay_transaction_begin(struct relay_client *client)
{
	const struct spool_body *body = client->job->body;

	client->sent = client->heard = client->accepted = client->final_i = 0;
	client->mail_refused = false;
	if (refused(client))
		return;
	if (client->rset_due) {
		client->rset_due = false;
		client->rset_owed = buf_puts(&client->out, "RSET\r\n");
	}
	client->body = (struct relay_client_body){.from = body};
	if (body != NULL && body->has_8bit && !(client->can & CLIENT_CAN_8BITMIME))
		relay_client_stage_set(client, CLIENT_STAGE_SCAN);
	else
		relay_client_stage_set(client, CLIENT_STAGE_ENVELOPE);
}

/* ---- commands ---- */

static bool put_span(struct buf *out, const char *before, struct span text)
{
	return buf_puts(out, before) && buf_put(out, text);
}

static const char *body_word(const struct relay_client *client)
{
	const struct relay_job *job = client->job;

	if (job->body == NULL || !(client->can & CLIENT_CAN_8BITMIME))
		return "";
	if (job->envelope->body == SMTP_BODY_BINARYMIME)
		return " BODY=BINARYMIME";
	if (job->envelope->body == SMTP_BODY_8BITMIME || job->body->has_8bit)
		return " BODY=8BITMIME";
	return "";
}

static bool write_mail(struct relay_client *client)
{
	const struct smtp_envelope *envelope = client->job->envelope;
	const struct spool_body *body = client->job->body;
	struct buf *out = &client->out;
	bool ok = put_span(out, "MAIL FROM:<", envelope->reverse_path.text) && buf_puts(out, ">");

	if (body != NULL && client->can & CLIENT_CAN_SIZE)
		ok = ok && buf_puts(out, " SIZE=") && buf_put_u64(out, body->n, 1);
	ok = ok && buf_puts(out, body_word(client));
	if (envelope->smtputf8)
		ok = ok && buf_puts(out, " SMTPUTF8");
	if (envelope->requiretls && client->tls_up && client->can & CLIENT_CAN_REQUIRETLS)
		ok = ok && buf_puts(out, " REQUIRETLS");
	if (client->can & CLIENT_CAN_DSN && envelope->ret != SMTP_RET_NONE)
		ok = ok &&
		     buf_puts(out, envelope->ret == SMTP_RET_FULL ? " RET=FULL" : " RET=HDRS");
	if (client->can & CLIENT_CAN_DSN && envelope->envid.n > 0)
		ok = ok && put_span(out, " ENVID=", envelope->envid);
	return ok && buf_puts(out, "\r\n");
}

static bool write_notify(struct buf *out, uint8_t notify)
{
	static const struct {
		uint8_t bit;
		const char *word;
	} words[] = {
		{SMTP_NOTIFY_NEVER, "NEVER"},
		{SMTP_NOTIFY_SUCCESS, "SUCCESS"},
		{SMTP_NOTIFY_FAILURE, "FAILURE"},
		{SMTP_NOTIFY_DELAY, "DELAY"},
	};
	const char *before = " NOTIFY=";
	bool ok = true;

	for (size_t i = 0; i < COUNT_OF(words); i++) {
		if (!(notify & words[i].bit))
			continue;
		ok = ok && buf_puts(out, before) && buf_puts(out, words[i].word);
		before = ",";
	}
	return ok;
}

static bool write_rcpt(struct relay_client *client, const struct smtp_recipient *recipient)
{
	struct buf *out = &client->out;
	bool ok = put_span(out, "RCPT TO:<", recipient->address.text) && buf_puts(out, ">");

	if (client->can & CLIENT_CAN_DSN) {
		ok = ok && write_notify(out, recipient->notify);
		if (recipient->orcpt.n > 0)
			ok = ok && put_span(out, " ORCPT=", recipient->orcpt);
	}
	return ok && buf_puts(out, "\r\n");
}

static bool by_data(const struct relay_client *client)
{
	return client->job->body != NULL && !(client->can & CLIENT_CAN_CHUNKING);
}

/* May the next command go out now? */
static bool may_say(const struct relay_client *client)
{
	uint32_t n = client->job->recipients_n;
	bool pipelining = client->can & CLIENT_CAN_PIPELINING;

	if (!pipelining && (client->sent > client->heard || client->rset_owed))
		return false;
	if (client->mail_refused || buf_room(&client->out) < RELAY_COMMAND_MAX)
		return false;
	if (client->sent <= n)
		return true;
	return client->sent == n + 1 && by_data(client) &&
	       (client->heard <= n || client->accepted > 0);
}

void relay_transaction_write(struct relay_client *client)
{
	const struct relay_job *job = client->job;

	while (may_say(client)) {
		uint32_t i = client->sent++;
		bool ok;

		if (i == 0)
			ok = write_mail(client);
		else if (i <= job->recipients_n)
			ok = write_rcpt(client, job->recipients[i - 1].smtp);
		else
			ok = buf_puts(&client->out, "DATA\r\n");
		if (!ok) {
			relay_client_end(client, CLIENT_END_LOCAL, "a command is too long");
			return;
		}
	}
}

/* ---- replies to commands ---- */

static void garbage(struct relay_client *client)
{
	relay_client_end(client, CLIENT_END_GARBAGE, "unexpected reply %u %s", client->reply.code,
		client->reply.text_storage);
}

static void done_with_reset(struct relay_client *client)
{
	client->rset_due = true;
	relay_client_job_done(client);
}

static void mail_reply(struct relay_client *client)
{
	if (client->reply.code / 100 == 2)
		return;
	client->mail_refused = true;
	client->job->sender_refused = true;
	settle_by_reply(client);
}

/* 552 says "too many recipients" in old servers, "mailbox full" in others, which then say so. */
static bool too_many(const struct relay_client *client)
{
	const struct relay_reply *reply = &client->reply;

	return reply->code == 552 && client->accepted > 0 &&
	       (reply->enhanced[0] == '\0' || strcmp(reply->enhanced, "5.5.3") == 0);
}

static void rcpt_reply(struct relay_client *client, struct relay_job_recipient *recipient)
{
	bool taken = client->reply.code / 100 == 2;

	if (recipient->state == RECIPIENT_SETTLED) /* MAIL was refused */
		return;
	if (taken && client->job->body != NULL) {
		recipient->state = RECIPIENT_ACCEPTED;
		client->accepted++;
		return;
	}
	recipient->state = RECIPIENT_SETTLED;
	relay_outcome_of_reply(recipient->outcome, &client->reply);
	if (too_many(client))
		recipient->outcome->result = RELAY_RESULT_LATER;
}

static void data_reply(struct relay_client *client)
{
	bool go = client->reply.code == 354;

	if (go && client->accepted > 0) {
		relay_body_begin(client);
	} else if (go && !client->target.lmtp) {
		relay_client_stage_set(client, CLIENT_STAGE_VOID);
		if (!buf_puts(&client->out, ".\r\n"))
			relay_client_end(client, CLIENT_END_LOCAL, "no room for a dot");
	} else if (client->reply.code / 100 >= 4) {
		settle_by_reply(client);
		done_with_reset(client);
	} else {
		garbage(client);
	}
}

static void envelope_reply(struct relay_client *client)
{
	struct relay_job *job = client->job;
	uint32_t i = client->heard;
	uint32_t n = job->recipients_n;

	if (client->heard == client->sent ||
		(i <= n && client->reply.code / 100 == 3)) { /* nobody asked, or not that */
		garbage(client);
		return;
	}
	client->heard++;
	if (i == n + 1) {
		data_reply(client);
		return;
	}
	if (i == 0)
		mail_reply(client);
	else
		rcpt_reply(client, &job->recipients[i - 1]);
	if (client->sent > client->heard)
		return;
	if (client->mail_refused || (client->heard == n + 1 && client->accepted == 0))
		done_with_reset(client);
	else if (client->heard == n + 1 && !by_data(client))
		relay_body_begin(client);
}

/* ---- replies to the message ---- */

void relay_transaction_refused(struct relay_client *client)
{
	client->reply_held = false;
	if (client->reply.code < 400) {
		relay_client_end(client, CLIENT_END_GARBAGE,
			"reply %u %s before the end of the message", client->reply.code,
			client->reply.text_storage);
		return;
	}
	settle_by_reply(client);
	relay_client_end(client, CLIENT_END_REFUSED, "refused before the end of the message");
}

/* While the last octets are on their way their reply may overtake the word that they are gone. */
static void body_reply(struct relay_client *client)
{
	if (client->body.ended && client->send_error == 0)
		client->reply_held = true;
	else
		relay_transaction_refused(client);
}

/* LMTP: a reply for each recipient that was accepted, in order (RFC 2033 4.2). False: more come. */
static bool final_one(struct relay_client *client)
{
	struct relay_job *job = client->job;

	while (job->recipients[client->final_i].state != RECIPIENT_ACCEPTED)
		client->final_i++;
	job->recipients[client->final_i].state = RECIPIENT_SETTLED;
	relay_outcome_of_reply(job->recipients[client->final_i].outcome, &client->reply);
	return --client->accepted == 0;
}

static void final_reply(struct relay_client *client)
{
	if (client->reply.code / 100 == 3) {
		garbage(client);
		return;
	}
	/* After a chunk that was refused the transaction is undefined (RFC 3030 2). */
	if (client->body.bdat && client->reply.code >= 400)
		client->rset_due = true;
	if (!client->target.lmtp)
		settle_by_reply(client);
	else if (!final_one(client))
		return;
	relay_client_job_done(client);
}

void relay_transaction_sent(struct relay_client *client)
{
	client->job->sent_dot = true;
	relay_client_stage_set(client, CLIENT_STAGE_FINAL);
	if (!client->reply_held)
		return;
	client->reply_held = false;
	final_reply(client);
	relay_reply_reset(&client->reply);
}

void relay_transaction_reply(struct relay_client *client)
{
	switch (client->stage) {
	case CLIENT_STAGE_ENVELOPE:
		envelope_reply(client);
		break;
	case CLIENT_STAGE_BODY:
		body_reply(client);
		break;
	case CLIENT_STAGE_FINAL:
		final_reply(client);
		break;
	default: /* VOID */
		done_with_reset(client);
		break;
	}
}
