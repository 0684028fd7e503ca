/* SPDX-License-Identifier: MIT */
/*
 * command.c -- the command table, and the commands too small for a file of their own.
 *
 * Job: takes the verb off a line, checks by flags what all commands have in common (argument or
 * none, order), and runs the row's handler. BDAT checks its order itself: its octets must be
 * thrown away also when it comes at the wrong time.
 * Verbs are matched without regard to case (RFC 5321 2.4); blanks before the CRLF are tolerated
 * (4.1.1).
 */
#include "smtp/smtp-private.h"

enum {
	ARGUMENT_NONE = 1, /* must not have one */
	ARGUMENT_MUST = 2,
};

#define IN(state) (1u << SMTP_STATE_##state)
#define IN_ANY    UINT32_MAX

struct command_row {
	const char *verb;
	unsigned flags;
	uint32_t states;         /* where it may come */
	enum smtp_reply between; /* refused in a transaction because ... */
	bool (*run)(struct smtp_turn *turn);
};

static bool rset_run(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;

	if (smtp->state != SMTP_STATE_START)
		smtp_transaction_end(smtp, SMTP_STATE_READY);
	smtp_reply(smtp, turn->out, SMTP_REPLY_OK);
	return smtp_message_abort(turn);
}

static bool noop_run(struct smtp_turn *turn)
{
	smtp_reply(turn->smtp, turn->out, SMTP_REPLY_OK);
	return false;
}

static bool help_run(struct smtp_turn *turn)
{
	smtp_reply(turn->smtp, turn->out, SMTP_REPLY_HELP);
	return false;
}

static bool vrfy_run(struct smtp_turn *turn)
{
	smtp_reply(turn->smtp, turn->out, SMTP_REPLY_VRFY);
	return false;
}

static bool expn_run(struct smtp_turn *turn)
{
	smtp_reply(turn->smtp, turn->out, SMTP_REPLY_EXPN);
	return false;
}

static bool quit_run(struct smtp_turn *turn)
{
	smtp_reply(turn->smtp, turn->out, SMTP_REPLY_QUIT);
	smtp_closing_set(turn->smtp, SMTP_CLOSE_QUIT);
	return false;
}

/* clang-format off */
static const struct command_row rows[] = {
	{"EHLO", ARGUMENT_MUST, IN_ANY, SMTP_REPLY_NONE, smtp_ehlo_run},
	{"HELO", ARGUMENT_MUST, IN_ANY, SMTP_REPLY_NONE, smtp_helo_run},
	{"MAIL", 0, IN(READY), SMTP_REPLY_ORDER_NESTED, smtp_mail_run},
	{"RCPT", 0, IN(MAIL) | IN(RCPT), SMTP_REPLY_NONE, smtp_rcpt_run},
	{"DATA", ARGUMENT_NONE, IN(RCPT), SMTP_REPLY_ORDER_RCPT, smtp_data_run},
	{"BDAT", 0, IN_ANY, SMTP_REPLY_NONE, smtp_bdat_run},
	{"RSET", ARGUMENT_NONE, IN_ANY, SMTP_REPLY_NONE, rset_run},
	{"NOOP", 0, IN_ANY, SMTP_REPLY_NONE, noop_run},
	{"HELP", 0, IN_ANY, SMTP_REPLY_NONE, help_run},
	{"VRFY", ARGUMENT_MUST, IN_ANY, SMTP_REPLY_NONE, vrfy_run},
	{"EXPN", ARGUMENT_MUST, IN_ANY, SMTP_REPLY_NONE, expn_run},
	{"QUIT", ARGUMENT_NONE, IN_ANY, SMTP_REPLY_NONE, quit_run},
	{"STARTTLS", ARGUMENT_NONE, IN(READY), SMTP_REPLY_ORDER_TLS, smtp_starttls_run},
	{"XCLIENT", ARGUMENT_MUST, IN(START) | IN(READY), SMTP_REPLY_ORDER_NESTED,
		smtp_xclient_run},
};

/* What a command that came too early or too late is told. */
static const enum smtp_reply order_replies[SMTP_STATE_COUNT] = {
	[SMTP_STATE_START] = SMTP_REPLY_ORDER_HELO,
	[SMTP_STATE_READY] = SMTP_REPLY_ORDER_MAIL,
	[SMTP_STATE_MAIL] = SMTP_REPLY_NONE, /* the row's `between` */
	[SMTP_STATE_RCPT] = SMTP_REPLY_NONE,
	[SMTP_STATE_BDAT] = SMTP_REPLY_ORDER_BDAT,
	[SMTP_STATE_FAILED] = SMTP_REPLY_ORDER_FAILED,
};
/* clang-format on */

enum smtp_reply smtp_order_reply(const struct smtp *smtp, enum smtp_reply between)
{
	enum smtp_reply reply = order_replies[smtp->state];

	return reply != SMTP_REPLY_NONE ? reply : between;
}

static const struct command_row *command_find(struct span verb)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (span_is_nocase(verb, rows[i].verb))
			return &rows[i];
	return NULL;
}

/* The check that all commands share. */
static enum smtp_reply command_check(const struct smtp_turn *turn, const struct command_row *row)
{
	if (row == NULL)
		return SMTP_REPLY_UNKNOWN;
	if ((row->flags & ARGUMENT_NONE) != 0 && turn->arg.n > 0)
		return SMTP_REPLY_ARGUMENT_NONE;
	if ((row->flags & ARGUMENT_MUST) != 0 && turn->arg.n == 0)
		return SMTP_REPLY_ARGUMENT_MISSING;
	if ((row->states & (1u << turn->smtp->state)) == 0)
		return smtp_order_reply(turn->smtp, row->between);
	return SMTP_REPLY_NONE;
}

bool smtp_command_run(struct smtp_turn *turn)
{
	struct span *line = &turn->line;
	const struct command_row *row;
	const uint8_t *space;
	enum smtp_reply refusal;
	struct span verb;

	while (line->n > 0 && (line->p[line->n - 1] == ' ' || line->p[line->n - 1] == '\t'))
		line->n--;
	space = line->n == 0 ? NULL : memchr(line->p, ' ', line->n);
	turn->arg = *line;
	verb = span_take(&turn->arg, space == NULL ? line->n : (size_t)(space - line->p));
	(void)span_take(&turn->arg, 1);
	row = command_find(verb);
	refusal = command_check(turn, row);
	if (refusal == SMTP_REPLY_NONE)
		return row->run(turn);
	smtp_reply(turn->smtp, turn->out, refusal);
	return false;
}
