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
	return fits && buf_puts(out, v6 ? " ([IPv6:" : " ([") &&
	       buf_puts(out, trace->peer_address) && buf_puts(out, "])\r\n");
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
	bool fits = buf_puts(out, "\tby ") && buf_puts(out, trace->hostname) &&
		    buf_puts(out, " (Postern) with ") && buf_puts(out, protocol(trace)) &&
		    buf_puts(out, "\r\n");

	if (trace->tls_version != NULL)
		fits = fits && buf_puts(out, "\t(") && buf_puts(out, trace->tls_version) &&
		       buf_puts(out, " ") && buf_puts(out, trace->tls_cipher) &&
		       buf_puts(out, group ? " " : "") &&
		       buf_puts(out, group ? trace->tls_group : "") && buf_puts(out, ")\r\n");
	return fits && buf_puts(out, "\tid ") && buf_puts(out, trace->queue_id);
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

static bool put_part(struct buf *out, const char *before, int number)
{
	return buf_puts(out, before) && buf_put_u64(out, (uint64_t)number, 2);
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
	return buf_put(out, span_of(days + 3 * (size_t)tm.tm_wday, 3)) &&
	       put_part(out, ", ", tm.tm_mday) && buf_puts(out, " ") &&
	       buf_put(out, span_of(months + 3 * (size_t)tm.tm_mon, 3)) &&
	       put_part(out, " ", tm.tm_year + 1900) && put_part(out, " ", tm.tm_hour) &&
	       put_part(out, ":", tm.tm_min) && put_part(out, ":", tm.tm_sec) &&
	       buf_puts(out, " +0000");
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
