/* SPDX-License-Identifier: MIT */
/*
 * rcpt.c -- RCPT (RFC 5321 4.1.1.3) with NOTIFY and ORCPT (RFC 3461, RFC 6533).
 *
 * The recipient is read first and copied to the arena only when all of it is right; it joins the
 * envelope when the coordinator accepts. What a refused one took of the arena is given back with
 * the transaction: errors_max bounds it.
 */
#include "smtp/smtp-private.h"

#define ORCPT_MAX       500 /* RFC 3461 4.2 */
#define UNICHAR_HEX_MAX 6   /* RFC 6533 3: U+10FFFF */

/* NOTIFY=NEVER, or a list of the others, each once at most. */
static enum smtp_reply notify_take(struct smtp *smtp, void *target, struct span value)
{
	static const struct {
		const char *name;
		uint8_t bit;
	} words[] = {
		{"NEVER", SMTP_NOTIFY_NEVER},
		{"SUCCESS", SMTP_NOTIFY_SUCCESS},
		{"FAILURE", SMTP_NOTIFY_FAILURE},
		{"DELAY", SMTP_NOTIFY_DELAY},
	};
	struct smtp_recipient *recipient = target;
	bool more = true;

	(void)smtp;
	while (more) {
		const uint8_t *comma = value.n == 0 ? NULL : memchr(value.p, ',', value.n);
		struct span word =
			span_take(&value, comma == NULL ? value.n : (size_t)(comma - value.p));
		uint8_t bit = 0;

		more = span_take(&value, 1).n > 0;
		for (size_t i = 0; i < COUNT_OF(words); i++)
			if (span_is_nocase(word, words[i].name))
				bit = words[i].bit;
		if (bit == 0 || (recipient->notify & bit) != 0)
			return SMTP_REPLY_PARAM_VALUE;
		recipient->notify |= bit;
	}
	if ((recipient->notify & SMTP_NOTIFY_NEVER) != 0 && recipient->notify != SMTP_NOTIFY_NEVER)
		return SMTP_REPLY_PARAM_VALUE;
	return SMTP_REPLY_NONE;
}

/* atom of RFC 3461 4.2; IANA's address types are letters, digits and hyphens. */
static bool address_type_valid(struct span type)
{
	for (size_t i = 0; i < type.n; i++) {
		uint8_t c = type.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    c == '-'))
			return false;
	}
	return type.n > 0;
}

/* EmbeddedUnicodeChar = "\x{" 1*6HEXDIG "}", its backslash already taken. */
static bool unichar_take(struct span *text)
{
	size_t n = 0;

	if (text->n < 2 || memcmp(text->p, "x{", 2) != 0)
		return false;
	(void)span_take(text, 2);
	while (n < text->n && ((text->p[n] >= '0' && text->p[n] <= '9') ||
				      (text->p[n] >= 'A' && text->p[n] <= 'F')))
		n++;
	(void)span_take(text, n);
	return n > 0 && n <= UNICHAR_HEX_MAX && span_take(text, 1).n == 1 && text->p[-1] == '}';
}

/* utf-8-addr-xtext, or utf-8-addr-unitext where the transaction has SMTPUTF8 (RFC 6533 3). */
static bool utf8_address_valid(struct span text, bool smtputf8)
{
	while (text.n > 0) {
		uint8_t c = span_take(&text, 1).p[0];

		if (c == '+' || c == '=' || (c >= 0x80 && !smtputf8))
			return false;
		if (c == '\\' && !unichar_take(&text))
			return false;
	}
	return true; /* param.c saw to blanks, controls and the form of UTF-8 */
}

static enum smtp_reply orcpt_take(struct smtp *smtp, void *target, struct span value)
{
	struct smtp_recipient *recipient = target;
	const uint8_t *semicolon = memchr(value.p, ';', value.n);
	struct span address = value;
	struct span type;
	bool valid;

	if (semicolon == NULL || value.n > ORCPT_MAX)
		return SMTP_REPLY_PARAM_VALUE;
	type = span_take(&address, (size_t)(semicolon - value.p));
	(void)span_take(&address, 1);
	if (span_is_nocase(type, "utf-8"))
		valid = utf8_address_valid(address, smtp->envelope.smtputf8);
	else
		valid = address_type_valid(type) && smtp_xtext_valid(address);
	if (!valid || address.n == 0)
		return SMTP_REPLY_PARAM_VALUE;
	recipient->orcpt = value;
	return SMTP_REPLY_NONE;
}

static const struct smtp_param params[] = {
	{"NOTIFY", SMTP_PARAM_VALUE, notify_take},
	{"ORCPT", SMTP_PARAM_VALUE, orcpt_take},
};

static enum smtp_reply rcpt_read(
	struct smtp *smtp, struct span arg, struct smtp_recipient *recipient)
{
	enum smtp_reply refusal;

	if (!span_is_nocase(span_take(&arg, 3), "TO:"))
		return SMTP_REPLY_RCPT_SYNTAX;
	if (arg.n == 0 || arg.p[0] != '<')
		return SMTP_REPLY_RCPT_SYNTAX;
	if (!smtp_path_take(&arg, false, &recipient->address))
		return SMTP_REPLY_RCPT_ADDRESS;
	refusal = smtp_params_read(smtp, arg, params, COUNT_OF(params), recipient);
	if (refusal != SMTP_REPLY_NONE)
		return refusal;
	if (recipient->address.utf8 && !smtp->envelope.smtputf8)
		return SMTP_REPLY_ADDRESS_UTF8;
	if (smtp->envelope.recipients_n >= smtp->settings->recipients_max)
		return SMTP_REPLY_RECIPIENTS_MAX;
	return SMTP_REPLY_NONE;
}

/* A copy in the arena; NULL when memory is short. */
static struct smtp_recipient *recipient_keep(struct smtp *smtp, const struct smtp_recipient *read)
{
	struct smtp_recipient *recipient = arena_alloc(&smtp->arena, sizeof(*recipient));

	if (recipient == NULL)
		return NULL;
	*recipient = *read;
	list_init(&recipient->node);
	recipient->address = smtp_address_copy(&smtp->arena, &read->address);
	recipient->orcpt = arena_copy(&smtp->arena, read->orcpt);
	return recipient->address.text.p != NULL && recipient->orcpt.p != NULL ? recipient : NULL;
}

bool smtp_rcpt_run(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;
	struct smtp_recipient read = {0};
	enum smtp_reply refusal = rcpt_read(smtp, turn->arg, &read);

	if (refusal == SMTP_REPLY_NONE) {
		smtp->asks = recipient_keep(smtp, &read);
		if (smtp->asks == NULL)
			refusal = SMTP_REPLY_MEMORY;
	}
	if (refusal != SMTP_REPLY_NONE) {
		smtp_reply(smtp, turn->out, refusal);
		return false;
	}
	smtp_state_set(smtp, SMTP_STATE_ASK_RCPT);
	turn->event->recipient = smtp->asks;
	return smtp_tell(turn, SMTP_EVENT_RCPT);
}

void smtp_rcpt_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out)
{
	struct smtp_envelope *envelope = &smtp->envelope;

	smtp_reply_verdict(smtp, out, verdict, SMTP_REPLY_RCPT);
	if (verdict->kind == SMTP_VERDICT_ACCEPT) {
		list_push_back(&envelope->recipients, &smtp->asks->node);
		envelope->recipients_n++;
		smtp->recipients_seen++;
	}
	smtp->asks = NULL;
	smtp_state_set(smtp, envelope->recipients_n > 0 ? SMTP_STATE_RCPT : SMTP_STATE_MAIL);
}
