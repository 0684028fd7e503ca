/* SPDX-License-Identifier: MIT */
/*
 * dsn_text.c -- the text of a report (RFC 3464 in the multipart/report of RFC 6522; RFC 6533 where
 * addresses or headers are UTF-8), piece by piece into a buffer, so that a report about a thousand
 * recipients takes no more memory than one about one.
 *
 * What a next hop said is printed as ASCII without controls, "?" for the rest: it can neither forge
 * a field nor a part. Addresses and xtext were checked when they came in. Lines stay far below 998
 * octets: the longest word is an address or a reply.
 *
 * A next hop is named by its host alone: paths of sockets and Maildirs are nobody else's affair.
 */
#include "relay/dsn-private.h"

#include <inttypes.h>
#include <stdio.h>

#include "smtp/smtp.h"

#define FOLD_COLUMN 76

/* By kind. The human part's first words, what stands in the header and in Action:. */
static const struct words {
	const char *subject, *action, *opening;
} words[] = {
	[RELAY_DSN_FAILED] = {"Undelivered mail: returned to sender", "failed",
		"Your message could not be delivered to the recipients below, and it will not\r\n"
		"be tried again.\r\n"},
	[RELAY_DSN_DELAYED] = {"Delayed mail: still being tried", "delayed",
		"Your message has not been delivered yet to the recipients below. You need not\r\n"
		"send it again: it is still being tried.\r\n"},
	[RELAY_DSN_DELIVERED] = {"Mail delivered", "delivered",
		"As you asked to be told: your message was delivered to the recipients below.\r\n"},
	[RELAY_DSN_RELAYED] = {"Mail passed on", "relayed",
		"As you asked to be told: your message was passed on to the mail system of the\r\n"
		"recipients below. It may be that you hear no more of it.\r\n"},
};

#define PUTS(out, text)                                                                            \
	do {                                                                                       \
		if (!buf_puts((out), (text)))                                                      \
			ASSERT(!"RELAY_DSN_PIECE_MAX holds every piece");                          \
	} while (0)
#define PUTF(out, ...)                                                                             \
	do {                                                                                       \
		if (!buf_printf((out), __VA_ARGS__))                                               \
			ASSERT(!"RELAY_DSN_PIECE_MAX holds every piece");                          \
	} while (0)

static void put_span(struct buf *out, struct span text)
{
	if (!buf_put(out, text))
		ASSERT(!"RELAY_DSN_PIECE_MAX holds every piece");
}

/* <postmaster> has no domain: it is ours. */
static void put_address(
	const struct relay_dsn_report *report, const struct smtp_address *address, struct buf *out)
{
	put_span(out, address->text);
	if (address->domain.n == 0)
		PUTF(out, "@%s", report->hostname);
}

static void put_date(struct buf *out, const char *field, uint64_t real_s)
{
	PUTF(out, "%s: ", field);
	if (!smtp_date_write(out, real_s * 1000000))
		PUTS(out, "Thu, 01 Jan 1970 00:00:00 +0000");
	PUTS(out, "\r\n");
}

/* Printable ASCII; a blank where a line grows too long is folded, and of several only one is kept, so
 * that no line is blank: that would end the fields. `column` is where the line stands. */
static void put_folded(struct buf *out, const char *text, size_t column)
{
	while (*text != '\0') {
		size_t word_n = strcspn(text + 1, " ") + 1;

		if (text[0] == ' ' && word_n == 1) {
			text++;
			continue;
		}
		if (text[0] == ' ' && column + word_n > FOLD_COLUMN) {
			PUTS(out, "\r\n   ");
			column = 3;
		}
		for (size_t i = 0; i < word_n; i++) {
			char c = text[i];

			put_span(out, c >= ' ' && c <= '~' ? span_of(&c, 1) : span_str("?"));
		}
		text += word_n;
		column += word_n;
	}
	PUTS(out, "\r\n");
}

/* "+HH" of xtext (RFC 3461 4) back into its octet; it was found valid and printable. */
static void put_xtext(struct buf *out, struct span xtext)
{
	static const char digits[] = "0123456789ABCDEF";

	while (xtext.n > 0) {
		struct span one = span_take(&xtext, 1);
		uint8_t c = one.p[0];

		if (c == '+' && xtext.n >= 2) {
			struct span hex = span_take(&xtext, 2);
			const char *high = memchr(digits, hex.p[0], 16);
			const char *low = memchr(digits, hex.p[1], 16);

			c = high != NULL && low != NULL
				    ? (uint8_t)((high - digits) << 4 | (low - digits))
				    : '?';
			if (c < ' ' || c > '~')
				c = '?';
		}
		put_span(out, span_of(&c, 1));
	}
}

static bool has_utf8(struct span text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] >= 0x80)
			return true;
	return false;
}

bool relay_dsn_international(const struct relay_dsn_report *report)
{
	const struct smtp_envelope *envelope = report->envelope;

	if (!envelope->smtputf8)
		return false;
	if (report->has_8bit || envelope->reverse_path.utf8)
		return true;
	for (uint32_t i = 0; i < report->recipients_n; i++) {
		const struct smtp_recipient *smtp = &report->recipients[i].recipient->smtp;

		if (smtp->address.utf8 || has_utf8(smtp->orcpt))
			return true;
	}
	return false;
}

/* The host of "smtp:mx.example.org:25 [192.0.2.1]" and "lmtp:[2001:db8::1]:24"; empty: none. */
static struct span remote_host(const char *next_hop)
{
	struct span host;
	const uint8_t *end;

	if (next_hop == NULL ||
		(strncmp(next_hop, "smtp:", 5) != 0 && strncmp(next_hop, "lmtp:", 5) != 0) ||
		strncmp(next_hop, "lmtp:unix:", 10) == 0)
		return span_of("", 0);
	host = span_of(next_hop + 5, strcspn(next_hop + 5, " "));
	if (host.n > 0 && host.p[0] == '[')
		end = memchr(host.p, ']', host.n);
	else
		end = memrchr(host.p, ':', host.n);
	if (end != NULL)
		host.n = (size_t)(end - host.p) + (end[0] == ']');
	for (size_t i = 0; i < host.n; i++)
		if (host.p[i] <= ' ' || host.p[i] > '~')
			return span_of("", 0);
	return host;
}

static bool is_maildir(const struct relay_dsn_recipient *recipient)
{
	return recipient->next_hop != NULL && strncmp(recipient->next_hop, "maildir:", 8) == 0;
}

/* "550 5.1.1 No such user", or only the text where there was no reply. */
static const char *reply_text(const struct relay_outcome *outcome, char text[RELAY_REPLY_MAX + 32])
{
	if (outcome->code == 0)
		snprintf(text, RELAY_REPLY_MAX + 32, "%s", outcome->text);
	else
		snprintf(text, RELAY_REPLY_MAX + 32, "%u %s%s%s", outcome->code, outcome->enhanced,
			outcome->enhanced[0] != '\0' ? " " : "", outcome->text);
	return text;
}

/* The class must be that of the action (RFC 3464 2.3.4): what was tried in vain until its time was up
 * has failed in the end, 4.4.7 becomes 5.4.7. */
static void put_status(
	enum relay_dsn_kind kind, const struct relay_outcome *outcome, struct buf *out)
{
	static const char class_of[] = {
		[RELAY_DSN_FAILED] = '5',
		[RELAY_DSN_DELAYED] = '4',
		[RELAY_DSN_DELIVERED] = '2',
		[RELAY_DSN_RELAYED] = '2',
	};
	bool expired = kind == RELAY_DSN_FAILED && outcome->result == RELAY_RESULT_LATER;

	PUTF(out, "Status: %c%s\r\n", class_of[kind],
		outcome->enhanced[0] != '\0' && outcome->enhanced[1] == '.'
			? outcome->enhanced + 1
			: (expired ? ".4.7" : ".0.0"));
}

/* ---- the pieces ---- */

static void put_boundary(const struct relay_dsn_report *report, struct buf *out, const char *tail)
{
	PUTF(out, "--=_%016" PRIx64 "%s\r\n", report->boundary, tail);
}

static void put_encoding(bool eight_bit, struct buf *out)
{
	if (eight_bit)
		PUTS(out, "Content-Transfer-Encoding: 8bit\r\n");
}

static void write_header(const struct relay_dsn_report *report, struct buf *out)
{
	PUTF(out, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\nTo: <", report->hostname);
	put_span(out, report->envelope->reverse_path.text);
	PUTF(out, ">\r\nSubject: %s\r\n", words[report->kind].subject);
	put_date(out, "Date", report->now_s);
	PUTF(out, "Message-ID: <%s@%s>\r\n", report->id, report->hostname);
	PUTS(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
	PUTF(out,
		"Content-Type: multipart/report; report-type=delivery-status;\r\n"
		"\tboundary=\"=_%016" PRIx64 "\"\r\n",
		report->boundary);
	put_encoding(report->has_8bit || report->international, out);
	PUTS(out, "\r\n");
}

static void write_human(const struct relay_dsn_report *report, struct buf *out)
{
	PUTS(out, "This is a report in MIME format (RFC 3464).\r\n\r\n");
	put_boundary(report, out, "");
	PUTF(out, "Content-Description: Notification\r\nContent-Type: text/plain; charset=%s\r\n",
		report->international ? "utf-8" : "us-ascii");
	put_encoding(report->international, out);
	PUTF(out, "\r\nThis is the mail system at %s.\r\n\r\n%s", report->hostname,
		words[report->kind].opening);
	if (report->kind == RELAY_DSN_DELAYED)
		put_date(out, "It will be given up if it cannot be delivered before",
			report->expires_s);
	if (report->kind == RELAY_DSN_FAILED)
		PUTS(out, "If you need help, send this report to your postmaster.\r\n");
	PUTS(out, "\r\n");
}

static void write_human_recipient(
	const struct relay_dsn_report *report, uint32_t i, struct buf *out)
{
	const struct relay_dsn_recipient *recipient = &report->recipients[i];
	struct span host = remote_host(recipient->next_hop);
	char text[RELAY_REPLY_MAX + 32];
	size_t before;

	PUTS(out, "<");
	put_address(report, &recipient->recipient->smtp.address, out);
	PUTS(out, ">:\r\n");
	before = buf_len(out);
	PUTS(out, "   ");
	if (host.n > 0 && recipient->outcome->code != 0 && !recipient->outcome->local) {
		PUTS(out, " ");
		put_span(out, host);
		PUTS(out, " said:");
	}
	PUTS(out, " ");
	put_folded(out, reply_text(recipient->outcome, text), buf_len(out) - before);
	if (report->kind == RELAY_DSN_FAILED && recipient->outcome->result == RELAY_RESULT_LATER)
		PUTS(out, "    It was tried again and again until the time was up.\r\n");
	PUTS(out, "\r\n");
}

static void write_status(const struct relay_dsn_report *report, struct buf *out)
{
	put_boundary(report, out, "");
	PUTF(out, "Content-Description: Delivery report\r\nContent-Type: message/%s\r\n",
		report->international ? "global-delivery-status" : "delivery-status");
	put_encoding(report->international, out);
	PUTF(out, "\r\nReporting-MTA: dns; %s\r\n", report->hostname);
	if (report->envelope->envid.n > 0) {
		PUTS(out, "Original-Envelope-Id: ");
		put_xtext(out, report->envelope->envid);
		PUTS(out, "\r\n");
	}
	PUTF(out, "X-Postern-Queue-Id: %s\r\n", report->original_id);
	put_date(out, "Arrival-Date", report->arrived_s);
}

/* "rfc822;a+2Bb@example.org": the type, then the address without its xtext; utf-8 has none. */
static void put_orcpt(struct buf *out, struct span orcpt)
{
	const uint8_t *semicolon = memchr(orcpt.p, ';', orcpt.n);
	struct span type;

	ASSERT(semicolon != NULL);
	type = span_take(&orcpt, (size_t)(semicolon - orcpt.p));
	(void)span_take(&orcpt, 1);
	PUTS(out, "Original-Recipient: ");
	put_span(out, type);
	PUTS(out, "; ");
	if (span_is_nocase(type, "utf-8"))
		put_span(out, orcpt);
	else
		put_xtext(out, orcpt);
	PUTS(out, "\r\n");
}

static void write_status_recipient(
	const struct relay_dsn_report *report, uint32_t i, struct buf *out)
{
	const struct relay_dsn_recipient *recipient = &report->recipients[i];
	const struct smtp_recipient *smtp = &recipient->recipient->smtp;
	const struct relay_outcome *outcome = recipient->outcome;
	struct span host = remote_host(recipient->next_hop);
	char text[RELAY_REPLY_MAX + 32];
	size_t before;

	PUTS(out, "\r\n");
	if (smtp->orcpt.n > 0)
		put_orcpt(out, smtp->orcpt);
	PUTF(out, "Final-Recipient: %s; ", smtp->address.utf8 ? "utf-8" : "rfc822");
	put_address(report, &smtp->address, out);
	PUTF(out, "\r\nAction: %s\r\n", words[report->kind].action);
	put_status(report->kind, outcome, out);
	if (host.n > 0) {
		PUTS(out, "Remote-MTA: dns; ");
		put_span(out, host);
		PUTS(out, "\r\n");
	}
	if (outcome->code != 0 || outcome->text[0] != '\0') {
		before = buf_len(out);
		PUTF(out, "Diagnostic-Code: %s; ",
			outcome->code != 0 && !outcome->local && !is_maildir(recipient)
				? "smtp"
				: "x-postern");
		put_folded(out, reply_text(outcome, text), buf_len(out) - before);
	}
	put_date(out, "Last-Attempt-Date", report->now_s);
	if (report->kind == RELAY_DSN_DELAYED)
		put_date(out, "Will-Retry-Until", report->expires_s);
}

static void write_original(const struct relay_dsn_report *report, struct buf *out)
{
	static const char *const types[2][2] = {
		{"text/rfc822-headers", "message/rfc822"},
		{"message/global-headers", "message/global"},
	};

	PUTS(out, "\r\n");
	put_boundary(report, out, "");
	PUTF(out, "Content-Description: %s\r\nContent-Type: %s\r\n",
		report->full ? "Message" : "Header of the message",
		types[report->international][report->full]);
	put_encoding(report->has_8bit, out);
	PUTS(out, "\r\n");
}

void relay_dsn_text_write(
	struct relay_dsn_text *text, const struct relay_dsn_report *report, struct buf *out)
{
	bool each = text->piece == RELAY_DSN_HUMAN_RECIPIENT ||
		    text->piece == RELAY_DSN_STATUS_RECIPIENT;

	switch (text->piece) {
	case RELAY_DSN_HEADER:
		write_header(report, out);
		break;
	case RELAY_DSN_HUMAN:
		write_human(report, out);
		break;
	case RELAY_DSN_HUMAN_RECIPIENT:
		write_human_recipient(report, text->recipient, out);
		break;
	case RELAY_DSN_STATUS:
		write_status(report, out);
		break;
	case RELAY_DSN_STATUS_RECIPIENT:
		write_status_recipient(report, text->recipient, out);
		break;
	case RELAY_DSN_ORIGINAL:
		write_original(report, out);
		break;
	case RELAY_DSN_CLOSE:
		PUTS(out, "\r\n");
		put_boundary(report, out, "--");
		break;
	case RELAY_DSN_END:
		ASSERT(!"it was written");
	}
	if (each && ++text->recipient < report->recipients_n)
		return;
	text->recipient = 0;
	text->piece++;
}
