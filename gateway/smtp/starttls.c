/* SPDX-License-Identifier: MIT */
/*
 * starttls.c -- STARTTLS (RFC 3207).
 *
 * The coordinator is asked first, for a handshake is dear; what it refuses leaves the session as it was,
 * or ends it. After the 220 no octet of the plaintext side is ever looked at again: the state TLS has no step,
 * the coordinator asks smtp_pipelined() and then closes or shakes hands. HELO and all else that
 * the client said is forgotten in smtp_upgraded() (RFC 3207 4.2).
 * Rejected: STARTTLS inside a transaction, which would only be forgotten anyway: 503.
 */
#include "smtp/smtp-private.h"

bool smtp_starttls_run(struct smtp_turn *turn)
{
	struct smtp *smtp = turn->smtp;

	if (smtp->tls != SMTP_TLS_OFFERED) {
		smtp_reply(smtp, turn->out,
			smtp->tls == SMTP_TLS_ACTIVE ? SMTP_REPLY_TLS_ACTIVE
						     : SMTP_REPLY_TLS_NOT_OFFERED);
		return false;
	}
	smtp_state_set(smtp, SMTP_STATE_ASK_TLS);
	return smtp_tell(turn, SMTP_EVENT_STARTTLS);
}

void smtp_starttls_answer(struct smtp *smtp, const struct smtp_verdict *verdict, struct buf *out)
{
	smtp_reply_verdict(smtp, out, verdict, SMTP_REPLY_TLS);
	smtp_state_set(
		smtp, verdict->kind == SMTP_VERDICT_ACCEPT ? SMTP_STATE_TLS : SMTP_STATE_READY);
}
