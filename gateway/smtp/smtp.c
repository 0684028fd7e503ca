/* SPDX-License-Identifier: MIT */
/*
 * smtp.c -- the machine: states and their legal transitions, the step, the answers, the beginning
 * and the end of sessions and transactions.
 *
 * Not its job: syntax (line.c, path.c, param.c), what a command means (a file each), octets of
 * messages (body.c, message.c).
 * Invariants: the state changes in smtp_state_set() alone; a step runs with SMTP_REPLY_MAX octets
 * of room for each command; an ASK state is left by smtp_answer() alone; a transaction that has
 * ended stays readable for the coordinator until the next step (`forget`).
 * Rejected: one state machine for the session and one for the transaction beside it. Nearly every
 * question ("may MAIL come now?") needed both.
 */
#include "smtp/smtp-private.h"

#include <stdio.h>

#include "base/counter.h"

#define LINE_POOL_SPARE        16
#define ARENA_POOL_PER_SESSION 4 /* on average; one session may hold SMTP_ARENA_CHUNKS_MAX */

struct state_row {
	const char *name;
	uint32_t next; /* a bit each */
};

#define BIT(state) (1u << SMTP_STATE_##state)
/* What RSET, HELO, EHLO and a refused BDAT may lead to from any command state. */
#define LEAVE (BIT(READY) | BIT(DISCARD) | BIT(FAILED))

static const struct state_row state_rows[SMTP_STATE_COUNT] = {
	[SMTP_STATE_START] = {"start", BIT(READY) | BIT(DISCARD) | BIT(ASK_XCLIENT)},
	[SMTP_STATE_READY] = {"ready", LEAVE | BIT(ASK_MAIL) | BIT(ASK_TLS) | BIT(ASK_XCLIENT)},
	[SMTP_STATE_ASK_MAIL] = {"ask-mail", BIT(MAIL) | BIT(READY)},
	[SMTP_STATE_MAIL] = {"mail", LEAVE | BIT(ASK_RCPT)},
	[SMTP_STATE_ASK_RCPT] = {"ask-rcpt", BIT(MAIL) | BIT(RCPT)},
	[SMTP_STATE_RCPT] = {"rcpt", LEAVE | BIT(ASK_RCPT) | BIT(ASK_DATA) | BIT(ASK_BDAT)},
	[SMTP_STATE_ASK_DATA] = {"ask-data", BIT(DATA) | BIT(RCPT)},
	[SMTP_STATE_DATA] = {"data", BIT(ASK_END) | BIT(READY)},
	[SMTP_STATE_ASK_BDAT] = {"ask-bdat", BIT(CHUNK) | BIT(DISCARD)},
	[SMTP_STATE_CHUNK] = {"chunk", BIT(BDAT) | BIT(ASK_END) | BIT(DISCARD)},
	[SMTP_STATE_BDAT] = {"bdat", LEAVE | BIT(CHUNK)},
	[SMTP_STATE_DISCARD] = {"discard", BIT(START) | BIT(READY) | BIT(FAILED)},
	[SMTP_STATE_FAILED] = {"failed", LEAVE},
	[SMTP_STATE_ASK_END] = {"ask-end", BIT(READY)},
	[SMTP_STATE_ASK_TLS] = {"ask-tls", BIT(TLS) | BIT(READY)},
	[SMTP_STATE_TLS] = {"tls", BIT(START)},
	[SMTP_STATE_ASK_XCLIENT] = {"ask-xclient", BIT(START)},
};

void smtp_state_set(struct smtp *smtp, enum smtp_state state)
{
	char step[64];

	ASSERT(state < SMTP_STATE_COUNT);
	if ((state_rows[smtp->state].next & (1u << state)) == 0) {
		snprintf(step, sizeof(step), "smtp state %s -> %s", state_rows[smtp->state].name,
			state_rows[state].name);
		assert_failed(step, __FILE__, __LINE__);
	}
	smtp->state = (uint8_t)state;
}

/* ---- sessions and transactions ---- */

void smtp_pools_open(struct smtp_pools *pools, uint32_t sessions_max)
{
	uint64_t arenas = (uint64_t)sessions_max * ARENA_POOL_PER_SESSION + SMTP_ARENA_CHUNKS_MAX;

	pool_open(&pools->lines, SMTP_LINE_MAX, sessions_max + LINE_POOL_SPARE);
	pool_open(&pools->names, SMTP_HELO_MAX, sessions_max);
	pool_open(&pools->arenas, SMTP_ARENA_CHUNK_BYTES,
		arenas > UINT32_MAX ? UINT32_MAX : (uint32_t)arenas);
}

void smtp_pools_close(struct smtp_pools *pools)
{
	pool_close(&pools->lines);
	pool_close(&pools->names);
	pool_close(&pools->arenas);
}

static void transaction_forget(struct smtp *smtp)
{
	arena_reset(&smtp->arena);
	smtp->envelope = (struct smtp_envelope){0};
	list_init(&smtp->envelope.recipients);
	smtp->asks = NULL;
	smtp->says = NULL;
	smtp->client.name = (struct span){0};
	smtp->late = (struct smtp_verdict){0};
	smtp->body_bytes = 0;
	smtp->chunk_left = 0;
	smtp->spoil_code = 0;
	smtp->forget = false;
}

void smtp_transaction_end(struct smtp *smtp, enum smtp_state state)
{
	smtp_state_set(smtp, state);
	smtp->forget = true;
}

void smtp_open(struct smtp *smtp, const struct smtp_settings *settings, struct smtp_pools *pools,
	enum smtp_tls_offer tls)
{
	*smtp = (struct smtp){
		.settings = settings,
		.pools = pools,
		.state = SMTP_STATE_START,
		.tls = (uint8_t)tls,
	};
	arena_init(&smtp->arena, &pools->arenas, SMTP_ARENA_CHUNKS_MAX);
	transaction_forget(smtp);
}

void smtp_close(struct smtp *smtp)
{
	smtp_line_release(smtp);
	transaction_forget(smtp);
	smtp_helo_forget(smtp);
	smtp->message_open = false;
	smtp_closing_set(smtp, SMTP_CLOSE_POLICY);
}

void smtp_greet(struct smtp *smtp, struct buf *out)
{
	smtp_reply_printf(smtp, out, "220 %s ESMTP Postern\r\n", smtp->settings->hostname);
}

bool smtp_pipelined(const struct smtp *smtp, struct span rest)
{
	ASSERT(smtp->state == SMTP_STATE_TLS);
	return rest.n > 0 || buf_len(&smtp->line) > 0;
}

void smtp_upgraded(struct smtp *smtp)
{
	ASSERT(smtp->state == SMTP_STATE_TLS);
	ASSERT(smtp->line.p == NULL && !smtp->message_open && !smtp->line_skip);
	transaction_forget(smtp);
	smtp->client = (struct smtp_xclient){0};
	smtp_helo_forget(smtp);
	smtp->esmtp = false;
	smtp->tls = SMTP_TLS_ACTIVE;
	smtp_state_set(smtp, SMTP_STATE_START);
}

bool smtp_in_body(const struct smtp *smtp)
{
	return smtp->state == SMTP_STATE_DATA || smtp->state == SMTP_STATE_CHUNK ||
	       smtp->state == SMTP_STATE_DISCARD;
}

bool smtp_in_message(const struct smtp *smtp)
{
	return smtp->message_open;
}

/* ---- the step ---- */

void smtp_closing_set(struct smtp *smtp, enum smtp_close_reason reason)
{
	if (smtp->closing)
		return;
	smtp->closing = true;
	smtp->close_reason = (uint8_t)reason;
}

bool smtp_tell(struct smtp_turn *turn, enum smtp_event_kind kind)
{
	turn->event->kind = kind;
	return true;
}

/* What is open is dropped first, so that every message has its end. */
static bool closing_tell(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;

	smtp_line_release(smtp);
	if (smtp->message_open) {
		smtp->message_open = false;
		return smtp_tell(turn, SMTP_EVENT_ABORT);
	}
	turn->event->reason = smtp->close_reason;
	return smtp_tell(turn, SMTP_EVENT_CLOSE);
}

typedef bool step_fn(struct smtp_turn *turn);

static step_fn *const steps[SMTP_STATE_COUNT] = {
	[SMTP_STATE_START] = smtp_line_step,
	[SMTP_STATE_READY] = smtp_line_step,
	[SMTP_STATE_MAIL] = smtp_line_step,
	[SMTP_STATE_RCPT] = smtp_line_step,
	[SMTP_STATE_BDAT] = smtp_line_step,
	[SMTP_STATE_FAILED] = smtp_line_step,
	[SMTP_STATE_DATA] = smtp_data_step,
	[SMTP_STATE_CHUNK] = smtp_bdat_step,
	[SMTP_STATE_DISCARD] = smtp_bdat_discard_step,
};

struct smtp_event smtp_step(struct smtp *smtp, struct span *in, struct buf *out)
{
	struct smtp_event event = {.kind = SMTP_EVENT_MORE};
	struct smtp_turn turn = {.smtp = smtp, .in = in, .out = out, .event = &event};
	bool told = false;

	/* Every turn takes input or changes the state, and ends at the latest with the input. */
	while (!told) {
		if (smtp->forget)
			transaction_forget(smtp);
		if (smtp->closing) {
			told = closing_tell(&turn);
		} else if (buf_room(out) < SMTP_REPLY_MAX) {
			told = smtp_tell(&turn, SMTP_EVENT_FULL);
		} else {
			ASSERT(steps[smtp->state] != NULL);
			told = steps[smtp->state](&turn);
		}
	}
	return event;
}

/* ---- answers ---- */

typedef void answer_fn(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out);

static answer_fn *const answers[SMTP_STATE_COUNT] = {
	[SMTP_STATE_ASK_MAIL] = smtp_mail_answer,
	[SMTP_STATE_ASK_RCPT] = smtp_rcpt_answer,
	[SMTP_STATE_ASK_DATA] = smtp_data_answer,
	[SMTP_STATE_ASK_BDAT] = smtp_bdat_answer,
	[SMTP_STATE_ASK_END] = smtp_message_answer,
	[SMTP_STATE_ASK_TLS] = smtp_starttls_answer,
	[SMTP_STATE_ASK_XCLIENT] = smtp_xclient_answer,
};

void smtp_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out)
{
	ASSERT(answers[smtp->state] != NULL);
	ASSERT(verdict->kind == SMTP_VERDICT_ACCEPT || verdict->code >= 400);
	answers[smtp->state](smtp, verdict, out);
}
