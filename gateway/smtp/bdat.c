/* SPDX-License-Identifier: MIT */
/*
 * bdat.c -- BDAT (RFC 3030): octets by count, verbatim.
 *
 * No octet of a chunk is looked at behind the header section, so that a chunk may bypass us
 * (smtp_chunk_moved()). A chunk that cannot be taken is discarded whole and replied to at its end
 * (RFC 3030 4.2), and fails the transaction, so that no message is ever stored with a chunk
 * missing. A refused LAST chunk ends the transaction, as nothing of the message can follow.
 * A BDAT whose count cannot be read has no octets that could be discarded: 501, and the
 * transaction fails too.
 */
#include "smtp/smtp-private.h"

#include <inttypes.h>

struct bdat_arg {
	uint64_t octets;
	bool last;
};

/* chunk-size [SP "LAST"] (RFC 3030 2) */
static bool bdat_read(struct span arg, struct bdat_arg *read)
{
	bool digits = false;

	*read = (struct bdat_arg){0};
	while (arg.n > 0 && arg.p[0] >= '0' && arg.p[0] <= '9') {
		uint64_t digit = (uint64_t)span_take(&arg, 1).p[0] - '0';

		if (read->octets > (UINT64_MAX - digit) / 10)
			return false;
		read->octets = read->octets * 10 + digit;
		digits = true;
	}
	read->last = span_is_nocase(arg, " LAST");
	return digits && (arg.n == 0 || read->last);
}

/* Order, then size: why the chunk cannot be taken. */
static enum smtp_reply bdat_check(const struct smtp *smtp, const struct bdat_arg *read)
{
	uint64_t room = smtp->settings->message_bytes_max;

	if (smtp->state == SMTP_STATE_BDAT)
		room -= smtp->body_bytes;
	else if (smtp->state != SMTP_STATE_RCPT)
		return smtp_order_reply(smtp, SMTP_REPLY_ORDER_RCPT);
	return read->octets > room ? SMTP_REPLY_SIZE : SMTP_REPLY_NONE;
}

/* The chunk's octets will be thrown away, then smtp->late said. */
static void discard_begin(struct smtp *smtp)
{
	if (smtp->state == SMTP_STATE_START || smtp->state == SMTP_STATE_READY)
		smtp->discard_to = smtp->state;
	else
		smtp->discard_to = smtp->chunk_last ? SMTP_STATE_READY : SMTP_STATE_FAILED;
	smtp_state_set(smtp, SMTP_STATE_DISCARD);
}

static bool syntax_refused(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;

	smtp_reply(smtp, turn->out, SMTP_REPLY_BDAT_SYNTAX);
	if (smtp->state != SMTP_STATE_START && smtp->state != SMTP_STATE_READY)
		smtp_state_set(smtp, SMTP_STATE_FAILED);
	return smtp_message_abort(turn);
}

bool smtp_bdat_run(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;
	struct bdat_arg read;
	enum smtp_reply refusal;

	if (!bdat_read(turn->arg, &read))
		return syntax_refused(turn);
	smtp->chunk_left = read.octets;
	smtp->chunk_bytes = read.octets;
	smtp->chunk_last = read.last;
	smtp->chunk_told = false;
	refusal = bdat_check(smtp, &read);
	if (refusal != SMTP_REPLY_NONE) {
		smtp->late = *smtp_reply_row(refusal);
		discard_begin(smtp);
		return smtp->message_open && smtp_message_spoil(turn, refusal);
	}
	if (smtp->state == SMTP_STATE_BDAT) {
		smtp_state_set(smtp, SMTP_STATE_CHUNK);
		return false;
	}
	smtp_state_set(smtp, SMTP_STATE_ASK_BDAT);
	turn->event->bdat = true;
	return smtp_tell(turn, SMTP_EVENT_BEGIN);
}

/* The verdict's texts must outlive the call: they are said behind the discarded chunk. */
static void late_keep(struct smtp *smtp, const struct smtp_verdict *verdict)
{
	const char *texts[2] = {verdict->enhanced, verdict->text};

	smtp->late = *verdict;
	for (size_t i = 0; i < COUNT_OF(texts); i++) {
		if (texts[i] == NULL)
			continue;
		texts[i] = (const char *)arena_copy(
			&smtp->arena, span_of(texts[i], strlen(texts[i]) + 1))
				   .p;
		if (texts[i] == NULL) {
			smtp->late = *smtp_reply_row(SMTP_REPLY_MEMORY);
			smtp->late.kind = verdict->kind;
			return;
		}
	}
	smtp->late.enhanced = texts[0];
	smtp->late.text = texts[1];
}

void smtp_bdat_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out)
{
	(void)out; /* nothing is said before the chunk's end */
	if (verdict->kind != SMTP_VERDICT_ACCEPT) {
		late_keep(smtp, verdict);
		discard_begin(smtp);
		return;
	}
	smtp_message_open(smtp);
	smtp_state_set(smtp, SMTP_STATE_CHUNK);
}

static bool chunk_end(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;

	if (smtp->chunk_last)
		return smtp_message_end(turn);
	smtp_reply_printf(
		smtp, turn->out, "250 2.0.0 %" PRIu64 " octets received\r\n", smtp->chunk_bytes);
	smtp_state_set(smtp, SMTP_STATE_BDAT);
	return false;
}

static struct span chunk_take(struct smtp *smtp, struct span *in)
{
	struct span octets = {0};

	if (in->n > 0)
		octets = span_take(in, smtp->chunk_left < in->n ? (size_t)smtp->chunk_left : in->n);
	smtp->chunk_left -= octets.n;
	return octets;
}

bool smtp_bdat_step(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;
	enum smtp_reply refusal;
	struct span octets;

	if (smtp->chunk_left == 0)
		return chunk_end(turn);
	if (!smtp->chunk_told) {
		smtp->chunk_told = true;
		turn->event->chunk = smtp->chunk_left;
		return smtp_tell(turn, SMTP_EVENT_CHUNK);
	}
	octets = chunk_take(smtp, turn->in);
	if (octets.n == 0)
		return smtp_tell(turn, SMTP_EVENT_MORE);
	refusal = smtp_message_take(smtp, octets);
	if (refusal != SMTP_REPLY_NONE) {
		discard_begin(smtp);
		return smtp_message_spoil(turn, refusal);
	}
	turn->event->body = octets;
	turn->event->checked = false;
	return smtp_tell(turn, SMTP_EVENT_BODY);
}

bool smtp_bdat_discard_step(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;

	(void)chunk_take(smtp, turn->in);
	if (smtp->chunk_left > 0)
		return smtp_tell(turn, SMTP_EVENT_MORE);
	smtp_reply_verdict(smtp, turn->out, &smtp->late, SMTP_REPLY_MEMORY);
	if (smtp->discard_to == SMTP_STATE_READY)
		smtp_transaction_end(smtp, SMTP_STATE_READY);
	else
		smtp_state_set(smtp, smtp->discard_to);
	return false;
}

void smtp_chunk_moved(struct smtp *smtp, uint64_t n)
{
	ASSERT(smtp->state == SMTP_STATE_CHUNK && smtp->chunk_told);
	ASSERT(n <= smtp->chunk_left && (n == 0 || smtp->header_over));
	smtp->chunk_left -= n;
	smtp->body_bytes += n;
}
