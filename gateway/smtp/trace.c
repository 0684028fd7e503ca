/* SPDX-License-Identifier: MIT */
/*
 * trace.c -- Return-Path: and Received: (RFC 5321 4.4) with the protocol names of RFC 3848 and
 * RFC 6531 4.3.
 *
 *	Received: from HELO ([192.0.2.1])
 *		by HOSTNAME (Postern) with ESMTPS
 *		(TLSv1.3 TLS_AES_256_GCM_SHA384 X25519)
 *		id QUEUE-ID
 *		for <c@d>; Tue, 01 Jan 2030 00:00:00 +0000
 *
 * What the client called itself need not be a domain: then every octet that could end a token of
 * the header (RFC 5322 3.2.3) is written as "?".
 * Return-Path: is written apart from it, at final delivery only (RFC 5321 4.4): a message that is
 * passed on must not have one.
 * Rejected: a "for" clause with several recipients; it would tell each about the others.
 */
#include "smtp/smtp-private.h"

#include <ctype.h>
#include <time.h>

static bool token_octet(uint8_t c)
{
	return c < 0x80 && c != '\0' && (isalnum(c) || strchr("!#$%&'*+-./=?^_`{|}~", c) != NULL);
}

static bool put_from(struct buf *out, const struct smtp_trace *trace)
{
	bool v6 = strchr(trace->peer_address, ':') != NULL;
	struct span helo = trace->helo.n > 0 ? trace->helo : span_str("unknown");
	bool fits = buf_puts(out, "Received: from ");

	if (smtp_literal_valid(helo))
		fits = fits && buf_put(out, helo);
	else
		for (size_t i = 0; i < helo.n && fits; i++)
			fits = buf_put(out,
				token_octet(helo.p[i]) ? span_of(helo.p + i, 1) : span_str("?"));
	return fits && buf_printf(out, " ([%s%s])\r\n", v6 ? "IPv6:" : "", trace->peer_address);
}

/* RFC 3848; without EHLO there is only SMTP. */
static const char *protocol(const struct smtp_trace *trace)
{
	static const char *const names[2][2] = {{"ESMTP", "ESMTPS"}, {"UTF8SMTP", "UTF8SMTPS"}};

	if (!trace->esmtp)
		return "SMTP";
	return names[trace->smtputf8][trace->tls_version != NULL];
}

static bool put_by(struct buf *out, const struct smtp_trace *trace)
{
	bool group = trace->tls_group != NULL;

	if (!buf_printf(out, "\tby %s (Postern) with %s\r\n", trace->hostname, protocol(trace)))
		return false;
	if (trace->tls_version != NULL &&
		!buf_printf(out, "\t(%s %s%s%s)\r\n", trace->tls_version, trace->tls_cipher,
			group ? " " : "", group ? trace->tls_group : ""))
		return false;
	return buf_printf(out, "\tid %s", trace->queue_id);
}

static bool put_for(struct buf *out, const struct smtp_envelope *envelope)
{
	const struct smtp_recipient *only;

	if (envelope->recipients_n != 1)
		return true;
	only = container_of(envelope->recipients.next, struct smtp_recipient, node);
	return buf_puts(out, "\r\n\tfor <") && buf_put(out, only->address.text) &&
	       buf_puts(out, ">");
}

/* Without strftime: the locale must not matter. */
bool smtp_date_write(struct buf *out, uint64_t real_us)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t seconds = (time_t)(real_us / 1000000);
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL)
		return false;
	return buf_printf(out, "%.3s, %02d %.3s %04d %02d:%02d:%02d +0000", days + 3 * tm.tm_wday,
		tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
		tm.tm_sec);
}

bool smtp_trace_write(struct buf *out, const struct smtp_trace *trace)
{
	return put_from(out, trace) && put_by(out, trace) && put_for(out, trace->envelope) &&
	       buf_puts(out, "; ") && smtp_date_write(out, trace->real_us) && buf_puts(out, "\r\n");
}

bool smtp_return_path_write(struct buf *out, const struct smtp_address *reverse_path)
{
	return buf_puts(out, "Return-Path: <") && buf_put(out, reverse_path->text) &&
	       buf_puts(out, ">\r\n");
}
