/* SPDX-License-Identifier: MIT */
/*
 * message.c -- what DATA and BDAT have in common: a message's beginning, its accounts, its end.
 *
 * Job: counts octets against message_bytes_max and Received: lines of the header against hops_max
 * (RFC 5321 6.3); sees "TLS-Required: No" (RFC 8689 3), which counts for nothing where REQUIRETLS was
 * said; keeps that a message has exactly one end (END, SPOIL or ABORT).
 * Invariant: which refusal a message gets is decided by the octet that comes first, not by how
 * the input was cut.
 */
#include "smtp/smtp-private.h"

#define TLS_NAME  "tls-required:"
#define TLS_VALUE "no"

enum { FIELD_HOP, FIELD_TLS };

/* They differ in their first letter. Blanks around the value do not count; a folded line is another
 * field. */
static const char *const fields[] = {[FIELD_HOP] = "received:", [FIELD_TLS] = TLS_NAME TLS_VALUE};

/* header_place: octets of the field matched since the line's start, or one of these. */
enum {
	TLS_BEFORE = sizeof(TLS_NAME) - 1,
	TLS_BEHIND = sizeof(TLS_NAME TLS_VALUE) - 1,
	HEADER_CR,   /* a CR began the line: perhaps the empty one */
	HEADER_REST, /* some other field, or matched already */
};

void smtp_message_open(struct smtp *smtp)
{
	smtp->message_open = true;
	smtp->body_bytes = 0;
	smtp->spoil_code = 0;
	smtp->hops = 0;
	smtp->header_place = 0;
	smtp->header_over = false;
}

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* May this octet stand here without a meaning? */
static bool is_filler(const struct smtp *smtp, uint8_t c)
{
	uint8_t place = smtp->header_place;

	if (smtp->header_field != FIELD_TLS || (place != TLS_BEFORE && place != TLS_BEHIND))
		return false;
	return c == ' ' || c == '\t' || (c == '\r' && place == TLS_BEHIND);
}

static void line_end(struct smtp *smtp)
{
	uint8_t place = smtp->header_place;

	smtp->header_over = place == 0 || place == HEADER_CR;
	if (smtp->header_field == FIELD_TLS && place == TLS_BEHIND)
		smtp->envelope.tls_optional = !smtp->envelope.requiretls;
	smtp->header_place = 0;
}

/* One octet of a field's beginning. */
static void header_octet(struct smtp *smtp, uint8_t c)
{
	uint8_t place = smtp->header_place;

	if (c == '\n') {
		line_end(smtp);
		return;
	}
	if (place == 0) {
		smtp->header_field = lower(c) == fields[FIELD_TLS][0] ? FIELD_TLS : FIELD_HOP;
		if (c == '\r') {
			smtp->header_place = HEADER_CR;
			return;
		}
	} else if (is_filler(smtp, c)) {
		return;
	}
	if (place == HEADER_CR || lower(c) != (uint8_t)fields[smtp->header_field][place]) {
		smtp->header_place = HEADER_REST;
		return;
	}
	smtp->header_place++;
	if (smtp->header_field == FIELD_HOP && fields[FIELD_HOP][smtp->header_place] == '\0') {
		smtp->header_place = HEADER_REST;
		smtp->hops++;
	}
}

/* Reads the header up to the empty line; false when there are too many Received:. */
static bool header_read(struct smtp *smtp, struct span octets)
{
	while (octets.n > 0 && !smtp->header_over) {
		if (smtp->header_place == HEADER_REST) {
			const uint8_t *lf = memchr(octets.p, '\n', octets.n);

			if (lf == NULL)
				return true;
			(void)span_take(&octets, (size_t)(lf - octets.p) + 1);
			smtp->header_place = 0;
			continue;
		}
		header_octet(smtp, span_take(&octets, 1).p[0]);
		if (smtp->hops > smtp->settings->hops_max)
			return false;
	}
	return true;
}

enum smtp_reply smtp_message_take(struct smtp *smtp, struct span octets)
{
	uint64_t room = smtp->settings->message_bytes_max - smtp->body_bytes;
	struct span fits = span_of(octets.p, octets.n > room ? (size_t)room : octets.n);

	if (!smtp->header_over && !header_read(smtp, fits))
		return SMTP_REPLY_HOPS;
	if (fits.n < octets.n)
		return SMTP_REPLY_SIZE;
	smtp->body_bytes += octets.n;
	return SMTP_REPLY_NONE;
}

bool smtp_message_spoil(struct smtp_turn *turn, enum smtp_reply reply)
{
	struct smtp *smtp = turn->smtp;

	ASSERT(smtp->message_open);
	smtp->message_open = false;
	smtp->late = *smtp_reply_row(reply);
	smtp->late.kind = SMTP_VERDICT_REFUSE;
	smtp->spoil_code = smtp->late.code;
	return smtp_tell(turn, SMTP_EVENT_SPOIL);
}

bool smtp_message_abort(struct smtp_turn *turn)
{
	if (!turn->smtp->message_open)
		return false;
	turn->smtp->message_open = false;
	return smtp_tell(turn, SMTP_EVENT_ABORT);
}

bool smtp_message_end(struct smtp_turn *turn)
{
	ASSERT(turn->smtp->message_open);
	turn->smtp->message_open = false;
	smtp_state_set(turn->smtp, SMTP_STATE_ASK_END);
	return smtp_tell(turn, SMTP_EVENT_END);
}

void smtp_message_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out)
{
	if (verdict->kind == SMTP_VERDICT_ACCEPT)
		smtp->messages++;
	smtp_reply_verdict(smtp, out, verdict, SMTP_REPLY_OK);
	smtp_transaction_end(smtp, SMTP_STATE_READY);
}
