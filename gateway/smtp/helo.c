/* SPDX-License-Identifier: MIT */
/*
 * helo.c -- HELO and EHLO (RFC 5321 4.1.1.1): the client's name, and what we offer.
 *
 * The name is taken as it comes if it is one word of printable ASCII: real clients send bare host
 * names, names with underscores and worse, and it proves nothing in any case. trace.c makes it fit
 * for a header.
 * Behind a trusted peer that said HELO= by XCLIENT the name stays that one (xclient.c).
 * Either command ends the transaction (4.1.4), also in the middle of a message by BDAT.
 */
#include "smtp/smtp-private.h"

#include <inttypes.h>

#define LIMIT_MAX 999999 /* RFC 9422 4: six digits */

bool smtp_name_valid(struct span name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] > '~')
			return false;
	return name.n > 0 && name.n <= SMTP_HELO_MAX;
}

static void long_drop(struct smtp *smtp)
{
	if (smtp->helo_long != NULL)
		pool_put(&smtp->pools->names, smtp->helo_long);
	smtp->helo_long = NULL;
}

void smtp_helo_set(struct smtp *smtp, struct span name)
{
	uint8_t *room = smtp->helo_short;

	ASSERT(name.n <= SMTP_HELO_MAX);
	if (name.n > SMTP_HELO_SHORT) {
		if (smtp->helo_long == NULL)
			smtp->helo_long = pool_get(&smtp->pools->names);
		if (smtp->helo_long != NULL)
			room = smtp->helo_long;
		else
			name.n = SMTP_HELO_SHORT;
	}
	if (name.n > 0)
		memmove(room, name.p, name.n); /* it may be the same */
	smtp->helo = span_of(room, name.n);
	if (room == smtp->helo_short)
		long_drop(smtp);
}

void smtp_helo_forget(struct smtp *smtp)
{
	smtp->helo = (struct span){0};
	wipe(smtp->helo_short, sizeof(smtp->helo_short));
	if (smtp->helo_long != NULL)
		wipe(smtp->helo_long, SMTP_HELO_MAX);
	long_drop(smtp);
}

/* Takes the name; false after a 501. */
static bool name_take(struct smtp_turn *turn, bool esmtp)
{
	struct smtp *smtp = turn->smtp;
	struct span name = turn->arg;

	while (name.n > 0 && name.p[0] == ' ')
		(void)span_take(&name, 1);
	if (!smtp_name_valid(name)) {
		smtp_reply(smtp, turn->out, SMTP_REPLY_HELO_SYNTAX);
		return false;
	}
	if ((smtp->client.given & SMTP_XCLIENT_HELO) == 0)
		smtp_helo_set(smtp, name);
	smtp->esmtp = esmtp;
	smtp_transaction_end(smtp, SMTP_STATE_READY);
	return true;
}

bool smtp_helo_run(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;

	if (!name_take(turn, false))
		return false;
	smtp_reply_printf(smtp, turn->out, "250 %s\r\n", smtp->settings->hostname);
	return smtp_message_abort(turn);
}

bool smtp_ehlo_run(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;
	const struct smtp_settings *settings = smtp->settings;

	if (!name_take(turn, true))
		return false;
	smtp_reply_printf(smtp, turn->out,
		"250-%s\r\n"
		"250-PIPELINING\r\n"
		"250-SIZE %" PRIu64 "\r\n"
		"%s%s%s"
		"250-ENHANCEDSTATUSCODES\r\n"
		"250-8BITMIME\r\n"
		"250-SMTPUTF8\r\n"
		"250-CHUNKING\r\n"
		"250-BINARYMIME\r\n"
		"250-DSN\r\n"
		"250 LIMITS RCPTMAX=%zu MAILMAX=%zu\r\n",
		settings->hostname, settings->message_bytes_max,
		smtp->tls == SMTP_TLS_OFFERED ? "250-STARTTLS\r\n" : "",
		smtp->tls == SMTP_TLS_ACTIVE ? "250-REQUIRETLS\r\n" : "",
		smtp->xclient ? "250-" SMTP_XCLIENT_KEYWORDS "\r\n" : "",
		min_size(settings->recipients_max, LIMIT_MAX),
		min_size(settings->messages_max, LIMIT_MAX));
	return smtp_message_abort(turn);
}
