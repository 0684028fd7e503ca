/* SPDX-License-Identifier: MIT */
/*
 * data.c -- DATA (RFC 5321 4.1.1.4): asks, says 354, turns the decoder's findings into events.
 *
 * Octets that a client pipelined behind DATA are message data, whether or not it waited for the
 * 354. When the coordinator refuses, no data follows (the client has seen no 354) and the
 * transaction stands; a client that sent its data anyway finds it taken for commands, which is
 * what RFC 2920 3.1 tells it not to risk.
 *
 * Where a coordinator has octets in memory that the message can keep, they are decoded there
 * (smtp_data_place()); whatever is special about them is left to the step.
 */
#include "smtp/smtp-private.h"

#include "base/counter.h"

bool smtp_data_run(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;

	if (smtp->envelope.body == SMTP_BODY_BINARYMIME) {
		smtp_reply(smtp, turn->out, SMTP_REPLY_ORDER_BINARY);
		return false;
	}
	smtp_state_set(smtp, SMTP_STATE_ASK_DATA);
	turn->event->bdat = false;
	return smtp_tell(turn, SMTP_EVENT_BEGIN);
}

void smtp_data_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out)
{
	const struct smtp_settings *settings = smtp->settings;
	const struct smtp_envelope *envelope = &smtp->envelope;
	bool may_8bit = envelope->body != SMTP_BODY_7BIT || envelope->smtputf8 ||
			settings->undeclared_8bit_accept;

	if (verdict->kind != SMTP_VERDICT_ACCEPT) {
		smtp_reply_verdict(smtp, out, verdict, SMTP_REPLY_DATA);
		smtp_state_set(smtp, SMTP_STATE_RCPT);
		return;
	}
	smtp_reply(smtp, out, SMTP_REPLY_DATA);
	smtp_message_open(smtp);
	smtp_decoder_init(
		&smtp->decoder, !settings->bare_newline_normalize, !may_8bit, !smtp->line_lf);
	smtp_state_set(smtp, SMTP_STATE_DATA);
}

static bool data_end(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;

	if (!smtp->decoder.discard) {
		if (smtp->decoder.normalized)
			count(COUNTER_SMTP_BARE_NEWLINE);
		return smtp_message_end(turn);
	}
	smtp_reply_verdict(smtp, turn->out, &smtp->late, SMTP_REPLY_MEMORY);
	smtp_transaction_end(smtp, SMTP_STATE_READY);
	return false;
}

static bool data_spoil(struct smtp_turn *turn, enum smtp_reply reply)
{
	turn->smtp->decoder.discard = true;
	return smtp_message_spoil(turn, reply);
}

bool smtp_data_step(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;
	enum smtp_reply refusal;
	struct span run;

	switch (smtp_decode(&smtp->decoder, turn->in, &run)) {
	case SMTP_DECODE_MORE:
		return smtp_tell(turn, SMTP_EVENT_MORE);
	case SMTP_DECODE_RUN:
		refusal = smtp_message_take(smtp, run);
		if (refusal != SMTP_REPLY_NONE)
			return data_spoil(turn, refusal);
		turn->event->body = run;
		turn->event->checked = true;
		turn->event->has_8bit = smtp->decoder.has_8bit;
		return smtp_tell(turn, SMTP_EVENT_BODY);
	case SMTP_DECODE_END:
		return data_end(turn);
	case SMTP_DECODE_NEWLINE:
		count(COUNTER_SMTP_BARE_NEWLINE);
		return data_spoil(turn, SMTP_REPLY_NEWLINE);
	case SMTP_DECODE_NUL:
		return data_spoil(turn, SMTP_REPLY_NUL);
	case SMTP_DECODE_8BIT:
		return data_spoil(turn, SMTP_REPLY_8BIT);
	}
	return false;
}

bool smtp_data_placeable(const struct smtp *smtp)
{
	return smtp->state == SMTP_STATE_DATA && smtp->message_open && smtp->header_over;
}

/* The next run, if it is of the input and accepted; else nothing happened, and smtp_step() comes to
 * the same octet. With all input taken *run is empty. */
static bool run_place(struct smtp *smtp, struct span *in, struct span *run)
{
	struct smtp_decoder before = smtp->decoder;
	struct span left = *in;
	enum smtp_decode told = smtp_decode(&smtp->decoder, &left, run);

	if (told == SMTP_DECODE_MORE)
		*run = (struct span){0};
	else if (told != SMTP_DECODE_RUN || run->p + run->n != left.p ||
		 smtp_message_take(smtp, *run) != SMTP_REPLY_NONE) {
		smtp->decoder = before;
		return false;
	}
	*in = left;
	return true;
}

struct smtp_placed smtp_data_place(struct smtp *smtp, uint8_t *p, size_t n)
{
	struct smtp_placed placed = {0};
	struct span in = span_of(p, n);
	struct span run;

	ASSERT(smtp_data_placeable(smtp));
	while (in.n > 0 && run_place(smtp, &in, &run)) {
		if (run.n > 0 && run.p != p + placed.content)
			memmove(p + placed.content, run.p, run.n);
		placed.content += run.n;
	}
	placed.taken = n - in.n;
	placed.has_8bit = smtp->decoder.has_8bit;
	return placed;
}
