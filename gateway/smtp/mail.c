/* SPDX-License-Identifier: MIT */
/*
 * mail.c -- MAIL (RFC 5321 4.1.1.2) with SIZE (RFC 1870), BODY (RFC 6152, 3030), SMTPUTF8
 * (RFC 6531), RET and ENVID (RFC 3461).
 *
 * The line is read into an envelope whose spans point into the line; only when all of it is right
 * are they copied to the arena and the coordinator is asked. A refused MAIL leaves nothing behind.
 */
#include "smtp/smtp-private.h"

#define ENVID_MAX       100 /* RFC 3461 4.4 */
#define SIZE_DIGITS_MAX 20  /* RFC 1870 3 */

static enum smtp_reply size_take(struct smtp *smtp, void *target, struct span value)
{
	struct smtp_envelope *envelope = target;
	uint64_t size = 0;
	bool over = false;

	if (value.n > SIZE_DIGITS_MAX)
		return SMTP_REPLY_PARAM_VALUE;
	for (size_t i = 0; i < value.n; i++) {
		uint64_t digit = (uint64_t)value.p[i] - '0';

		if (value.p[i] < '0' || value.p[i] > '9')
			return SMTP_REPLY_PARAM_VALUE;
		over |= size > (UINT64_MAX - digit) / 10;
		size = size * 10 + digit;
	}
	if (over || size > smtp->settings->message_bytes_max)
		return SMTP_REPLY_SIZE;
	envelope->size = size;
	return SMTP_REPLY_NONE;
}

static enum smtp_reply body_take(struct smtp *smtp, void *target, struct span value)
{
	static const char *const names[] = {
		[SMTP_BODY_7BIT] = "7BIT",
		[SMTP_BODY_8BITMIME] = "8BITMIME",
		[SMTP_BODY_BINARYMIME] = "BINARYMIME",
	};
	struct smtp_envelope *envelope = target;

	(void)smtp;
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		if (span_is_nocase(value, names[i])) {
			envelope->body = (enum smtp_body)i;
			return SMTP_REPLY_NONE;
		}
	}
	return SMTP_REPLY_PARAM_VALUE;
}

static enum smtp_reply smtputf8_take(struct smtp *smtp, void *target, struct span value)
{
	struct smtp_envelope *envelope = target;

	(void)smtp;
	(void)value;
	envelope->smtputf8 = true;
	return SMTP_REPLY_NONE;
}

/* RFC 8689 2: means something only where the client came by TLS. */
static enum smtp_reply requiretls_take(struct smtp *smtp, void *target, struct span value)
{
	struct smtp_envelope *envelope = target;

	(void)value;
	if (smtp->tls != SMTP_TLS_ACTIVE)
		return SMTP_REPLY_TLS_NEEDED;
	envelope->requiretls = true;
	return SMTP_REPLY_NONE;
}

static enum smtp_reply ret_take(struct smtp *smtp, void *target, struct span value)
{
	struct smtp_envelope *envelope = target;

	(void)smtp;
	if (span_is_nocase(value, "FULL"))
		envelope->ret = SMTP_RET_FULL;
	else if (span_is_nocase(value, "HDRS"))
		envelope->ret = SMTP_RET_HDRS;
	else
		return SMTP_REPLY_PARAM_VALUE;
	return SMTP_REPLY_NONE;
}

static enum smtp_reply envid_take(struct smtp *smtp, void *target, struct span value)
{
	struct smtp_envelope *envelope = target;

	(void)smtp;
	if (value.n > ENVID_MAX || !smtp_xtext_valid(value))
		return SMTP_REPLY_PARAM_VALUE;
	envelope->envid = value;
	return SMTP_REPLY_NONE;
}

static const struct smtp_param params[] = {
	{"SIZE", SMTP_PARAM_VALUE, size_take},
	{"BODY", SMTP_PARAM_VALUE, body_take},
	{"SMTPUTF8", SMTP_PARAM_BARE, smtputf8_take},
	{"REQUIRETLS", SMTP_PARAM_BARE, requiretls_take},
	{"RET", SMTP_PARAM_VALUE, ret_take},
	{"ENVID", SMTP_PARAM_VALUE, envid_take},
};

static enum smtp_reply mail_read(struct smtp *smtp, struct span arg, struct smtp_envelope *envelope)
{
	enum smtp_reply refusal;

	if (!span_is_nocase(span_take(&arg, 5), "FROM:"))
		return SMTP_REPLY_MAIL_SYNTAX;
	if (arg.n == 0 || arg.p[0] != '<')
		return SMTP_REPLY_MAIL_SYNTAX;
	if (!smtp_path_take(&arg, true, &envelope->reverse_path))
		return SMTP_REPLY_MAIL_ADDRESS;
	refusal = smtp_params_read(smtp, arg, params, COUNT_OF(params), envelope);
	if (refusal != SMTP_REPLY_NONE)
		return refusal;
	if (envelope->reverse_path.utf8 && !envelope->smtputf8)
		return SMTP_REPLY_ADDRESS_UTF8;
	return SMTP_REPLY_NONE;
}

/* Copies what was read; the envelope becomes the transaction's. */
static bool envelope_keep(struct smtp *smtp, const struct smtp_envelope *read)
{
	struct smtp_envelope *envelope = &smtp->envelope;

	*envelope = *read;
	list_init(&envelope->recipients);
	envelope->reverse_path = smtp_address_copy(&smtp->arena, &read->reverse_path);
	envelope->envid = arena_copy(&smtp->arena, read->envid);
	return envelope->reverse_path.text.p != NULL && envelope->envid.p != NULL;
}

bool smtp_mail_run(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;
	struct smtp_envelope read = {0};
	enum smtp_reply refusal = mail_read(smtp, turn->arg, &read);

	if (refusal == SMTP_REPLY_NONE && smtp->messages >= smtp->settings->messages_max) {
		smtp_reply(smtp, turn->out, SMTP_REPLY_MESSAGES_MAX);
		smtp_closing_set(smtp, SMTP_CLOSE_MESSAGES);
		return false;
	}
	if (refusal == SMTP_REPLY_NONE && !envelope_keep(smtp, &read)) {
		refusal = SMTP_REPLY_MEMORY;
		smtp_transaction_end(smtp, SMTP_STATE_READY);
	}
	if (refusal != SMTP_REPLY_NONE) {
		smtp_reply(smtp, turn->out, refusal);
		return false;
	}
	smtp_state_set(smtp, SMTP_STATE_ASK_MAIL);
	return smtp_tell(turn, SMTP_EVENT_MAIL);
}

void smtp_mail_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out)
{
	smtp_reply_verdict(smtp, out, verdict, SMTP_REPLY_MAIL);
	if (verdict->kind == SMTP_VERDICT_ACCEPT)
		smtp_state_set(smtp, SMTP_STATE_MAIL);
	else
		smtp_transaction_end(smtp, SMTP_STATE_READY);
}
