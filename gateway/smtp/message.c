/* SPDX-License-Identifier: MIT */
/*
 * message.c -- what DATA and BDAT have in common: a message's beginning, its accounts, its end.
 *
 * Job: counts octets against message_bytes_max and Received: lines of the header against hops_max
 * (RFC 5321 6.3); keeps that a message has exactly one end (END, SPOIL or ABORT).
 * Invariant: which refusal a message gets is decided by the octet that comes first, not by how
 * the input was cut.
 */
#include "smtp/smtp-private.h"

static const char hop_name[] = "received:";

/* header_place: octets of hop_name matched since the line's start, or one of these. */
enum {
	HEADER_CR = sizeof(hop_name), /* a CR began the line: perhaps the empty one */
	HEADER_REST,                  /* some other field, or matched already */
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

/* One octet of a field's beginning. */
static void header_octet(struct smtp *smtp, uint8_t c)
{
	uint8_t place = smtp->header_place;

	if (c == '\n') {
		smtp->header_over = place == 0 || place == HEADER_CR;
		smtp->header_place = 0;
	} else if (place == 0 && c == '\r') {
		smtp->header_place = HEADER_CR;
	} else if (place != HEADER_CR && lower(c) == (uint8_t)hop_name[place]) {
		smtp->header_place++;
		if (hop_name[smtp->header_place] == '\0') {
			smtp->header_place = HEADER_REST;
			smtp->hops++;
		}
	} else {
		smtp->header_place = HEADER_REST;
	}
}

/* Counts Received: up to the empty line; false when there are too many. */
static bool hops_count(struct smtp *smtp, struct span octets)
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

	if (!smtp->header_over && !hops_count(smtp, fits))
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
