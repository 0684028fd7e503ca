/* SPDX-License-Identifier: MIT */
/* dsn.c -- reports: when one is due, what they say, and what of the original comes with them. */
#include "relay/dsn-private.h"

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#define RECIPIENTS_MAX    4
#define ARRIVED_S         1893456000 /* Tue, 01 Jan 2030 */
#define NOW_S             (ARRIVED_S + 3600)
#define EXPIRES_S         (ARRIVED_S + 432000)
#define BOUNDARY          0x0123456789abcdefull
#define TEXT_MAX          262144
#define RECIPIENTS_MANY_N 1000

static struct smtp_address address_of(const char *text)
{
	const char *at = strrchr(text, '@');
	struct smtp_address address = {.text = span_str(text), .local = span_str(text)};

	if (at != NULL) {
		address.local.n = (size_t)(at - text);
		address.domain = span_str(at + 1);
	}
	for (size_t i = 0; i < address.text.n; i++)
		address.utf8 = address.utf8 || address.text.p[i] >= 0x80;
	return address;
}

/* A report about one recipient, to be varied. */
struct sample {
	struct relay_dsn_report report;
	struct smtp_envelope envelope;
	struct spool_recipient recipients[RECIPIENTS_MAX];
	struct relay_outcome outcomes[RECIPIENTS_MAX];
	struct relay_dsn_recipient of[RECIPIENTS_MAX];
};

static void sample_add(struct sample *sample, const char *address, const struct relay_outcome *what)
{
	uint32_t i = sample->report.recipients_n++;

	cr_assert(i < RECIPIENTS_MAX);
	sample->recipients[i].smtp.address = address_of(address);
	sample->outcomes[i] = *what;
	sample->of[i] = (struct relay_dsn_recipient){.recipient = &sample->recipients[i],
		.outcome = &sample->outcomes[i],
		.next_hop = "smtp:mx.example.net:25 [192.0.2.1]"};
}

static const struct relay_outcome unknown = {
	RELAY_RESULT_NEVER, 550, "5.1.1", "No such user here", false};

static void sample_make(struct sample *sample, enum relay_dsn_kind kind)
{
	memset(sample, 0, sizeof(*sample));
	sample->report = (struct relay_dsn_report){.kind = kind,
		.hostname = "mx.example.org",
		.id = "1A2B",
		.original_id = "0A0B",
		.boundary = BOUNDARY,
		.now_s = NOW_S,
		.arrived_s = ARRIVED_S,
		.expires_s = EXPIRES_S,
		.envelope = &sample->envelope,
		.recipients = sample->of};
	sample->envelope.reverse_path = address_of("alice@example.org");
	list_init(&sample->envelope.recipients);
}

static char text[TEXT_MAX];

/* All of it, with `original` where the third part's octets belong. Each piece must fit
 * RELAY_DSN_PIECE_MAX, and each line the protocol. */
static const char *compose(struct sample *sample, const char *original)
{
	struct relay_dsn_text writing = {0};
	size_t n = 0;

	sample->report.international = relay_dsn_international(&sample->report);
	while (writing.piece != RELAY_DSN_END) {
		bool third = writing.piece == RELAY_DSN_ORIGINAL;
		static char piece[RELAY_DSN_PIECE_MAX];
		struct buf out;

		buf_init(&out, piece, sizeof(piece));
		relay_dsn_text_write(&writing, &sample->report, &out);
		cr_assert(n + buf_len(&out) + strlen(original) < sizeof(text));
		memcpy(text + n, piece, buf_len(&out));
		n += buf_len(&out);
		if (third) {
			memcpy(text + n, original, strlen(original));
			n += strlen(original);
		}
	}
	text[n] = '\0';
	cr_assert(strlen(text) == n);
	for (const char *line = text; *line != '\0';) {
		size_t line_n = strcspn(line, "\r\n");

		cr_assert(line_n <= RELAY_DSN_LINE_MAX);
		cr_assert(strncmp(line + line_n, "\r\n", 2) == 0, "a bare CR or LF, or no end");
		line += line_n + 2;
	}
	return text;
}

static void has(const char *part)
{
	cr_assert(strstr(text, part) != NULL, "%s\n---- is not in\n%s", part, text);
}

static void has_not(const char *part)
{
	cr_assert(strstr(text, part) == NULL, "%s\n---- is in\n%s", part, text);
}

/* ---- when ---- */

Test(dsn, due)
{
	enum {
		F = 1 << RELAY_DSN_FAILED,
		L = 1 << RELAY_DSN_DELAYED,
		D = 1 << RELAY_DSN_DELIVERED,
		R = 1 << RELAY_DSN_RELAYED
	};
	static const struct {
		uint8_t notify;
		int kinds;
	} rows[] = {
		{0, F | L},
		{SMTP_NOTIFY_NEVER, 0},
		{SMTP_NOTIFY_FAILURE, F},
		{SMTP_NOTIFY_DELAY, L},
		{SMTP_NOTIFY_SUCCESS, D | R},
		{SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE, D | R | F},
		{SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY, D | R | F | L},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		for (int kind = RELAY_DSN_FAILED; kind <= RELAY_DSN_RELAYED; kind++) {
			struct spool_entry entry = {
				.envelope.reverse_path = address_of("a@example.org")};
			struct spool_recipient recipient = {.smtp.notify = rows[i].notify};

			cr_assert_eq(relay_dsn_due(&entry, &recipient, (enum relay_dsn_kind)kind),
				(rows[i].kinds & 1 << kind) != 0, "notify %u, kind %d",
				rows[i].notify, kind);
			entry.envelope.reverse_path = (struct smtp_address){0};
			cr_assert(!relay_dsn_due(&entry, &recipient, (enum relay_dsn_kind)kind),
				"never to the null reverse-path");
		}
	}
}

/* ---- what ---- */

/* What we refuse ourselves is not put into the next hop's mouth. */
Test(dsn, our_own_verdict)
{
	struct relay_outcome own = unknown;
	struct sample sample;

	own.local = true;
	sample_make(&sample, RELAY_DSN_FAILED);
	sample_add(&sample, "bob@example.net", &own);
	compose(&sample, "Subject: hello\r\n");
	has_not("said");
	has("Diagnostic-Code: x-postern; 550 5.1.1");
}

Test(dsn, a_failure_in_full)
{
	static const char wanted[] =
		"From: Mail Delivery System <MAILER-DAEMON@mx.example.org>\r\n"
		"To: <alice@example.org>\r\n"
		"Subject: Undelivered mail: returned to sender\r\n"
		"Date: Tue, 01 Jan 2030 01:00:00 +0000\r\n"
		"Message-ID: <1A2B@mx.example.org>\r\n"
		"Auto-Submitted: auto-replied\r\n"
		"MIME-Version: 1.0\r\n"
		"Content-Type: multipart/report; report-type=delivery-status;\r\n"
		"\tboundary=\"=_0123456789abcdef\"\r\n"
		"\r\n"
		"This is a report in MIME format (RFC 3464).\r\n"
		"\r\n"
		"--=_0123456789abcdef\r\n"
		"Content-Description: Notification\r\n"
		"Content-Type: text/plain; charset=us-ascii\r\n"
		"\r\n"
		"This is the mail system at mx.example.org.\r\n"
		"\r\n"
		"Your message could not be delivered to the recipients below, and it will not\r\n"
		"be tried again.\r\n"
		"If you need help, send this report to your postmaster.\r\n"
		"\r\n"
		"<bob@example.net>:\r\n"
		"    mx.example.net said: 550 5.1.1 No such user here\r\n"
		"\r\n"
		"--=_0123456789abcdef\r\n"
		"Content-Description: Delivery report\r\n"
		"Content-Type: message/delivery-status\r\n"
		"\r\n"
		"Reporting-MTA: dns; mx.example.org\r\n"
		"X-Postern-Queue-Id: 0A0B\r\n"
		"Arrival-Date: Tue, 01 Jan 2030 00:00:00 +0000\r\n"
		"\r\n"
		"Final-Recipient: rfc822; bob@example.net\r\n"
		"Action: failed\r\n"
		"Status: 5.1.1\r\n"
		"Remote-MTA: dns; mx.example.net\r\n"
		"Diagnostic-Code: smtp; 550 5.1.1 No such user here\r\n"
		"Last-Attempt-Date: Tue, 01 Jan 2030 01:00:00 +0000\r\n"
		"\r\n"
		"--=_0123456789abcdef\r\n"
		"Content-Description: Header of the message\r\n"
		"Content-Type: text/rfc822-headers\r\n"
		"\r\n"
		"Subject: hello\r\n"
		"\r\n"
		"--=_0123456789abcdef--\r\n";
	struct sample sample;

	sample_make(&sample, RELAY_DSN_FAILED);
	sample_add(&sample, "bob@example.net", &unknown);
	compose(&sample, "Subject: hello\r\n");
	cr_assert_str_eq(text, wanted);
}

Test(dsn, kinds)
{
	static const struct {
		enum relay_dsn_kind kind;
		struct relay_outcome outcome;
		const char *parts[4];
	} rows[] = {
		{RELAY_DSN_FAILED, {RELAY_RESULT_LATER, 451, "4.2.1", "Come back", false},
			{"Action: failed\r\nStatus: 5.2.1\r\n",
				"Diagnostic-Code: smtp; 451 4.2.1 Come back\r\n",
				"until the time was up", "Subject: Undelivered"}},
		{RELAY_DSN_FAILED, {RELAY_RESULT_LATER, 0, "", "connection refused", false},
			{"Status: 5.4.7\r\n", "Diagnostic-Code: x-postern; connection refused\r\n",
				"    connection refused\r\n", "until the time was up"}},
		{RELAY_DSN_FAILED, {RELAY_RESULT_NEVER, 0, "4.4.7", "message expired", false},
			{"Status: 5.4.7\r\n", "Diagnostic-Code: x-postern; message expired\r\n"}},
		{RELAY_DSN_FAILED, {RELAY_RESULT_NEVER, 554, "", "No", false},
			{"Status: 5.0.0\r\n", "Diagnostic-Code: smtp; 554 No\r\n"}},
		{RELAY_DSN_DELAYED, {RELAY_RESULT_LATER, 450, "4.2.0", "Busy", false},
			{"Action: delayed\r\nStatus: 4.2.0\r\n",
				"Will-Retry-Until: Sun, 06 Jan 2030 00:00:00 +0000\r\n",
				"before: Sun, 06 Jan 2030", "Subject: Delayed"}},
		{RELAY_DSN_DELAYED, {RELAY_RESULT_LATER, 0, "", "no answer", false},
			{"Status: 4.0.0\r\n"}},
		{RELAY_DSN_DELIVERED, {RELAY_RESULT_DONE, 250, "2.1.5", "Kept", false},
			{"Action: delivered\r\nStatus: 2.1.5\r\n", "Subject: Mail delivered"}},
		{RELAY_DSN_RELAYED, {RELAY_RESULT_DONE, 250, "", "Ok", false},
			{"Action: relayed\r\nStatus: 2.0.0\r\n", "Subject: Mail passed on"}},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sample sample;

		sample_make(&sample, rows[i].kind);
		sample_add(&sample, "bob@example.net", &rows[i].outcome);
		compose(&sample, "");
		for (size_t k = 0; k < 4 && rows[i].parts[k] != NULL; k++)
			has(rows[i].parts[k]);
		if (rows[i].kind != RELAY_DSN_DELAYED)
			has_not("Will-Retry-Until");
	}
}

Test(dsn, what_the_sender_gave_comes_back_decoded)
{
	struct sample sample;

	sample_make(&sample, RELAY_DSN_FAILED);
	sample.envelope.envid = span_str("QQ+2B31+3Dx");
	sample_add(&sample, "bob@example.net", &unknown);
	sample_add(&sample, "postmaster", &unknown);
	sample.recipients[0].smtp.orcpt = span_str("rfc822;Bob+2Btag@example.com");
	sample.recipients[1].smtp.orcpt = span_str("x400;/C+3DDE/");
	compose(&sample, "");
	has("Original-Envelope-Id: QQ+31=x\r\n");
	has("Original-Recipient: rfc822; Bob+tag@example.com\r\nFinal-Recipient: rfc822; bob@ex");
	has("Original-Recipient: x400; /C=DE/\r\nFinal-Recipient: rfc822; "
	    "postmaster@mx.example.org\r\n");
	has("<postmaster@mx.example.org>:\r\n");
}

Test(dsn, hosts_are_told_and_paths_are_not)
{
	static const struct {
		const char *next_hop, *host;
	} rows[] = {
		{"smtp:mx.example.net:25 [192.0.2.1]", "mx.example.net"},
		{"lmtp:store.example.net:24", "store.example.net"},
		{"lmtp:[2001:db8::1]:24 [2001:db8::1]", "[2001:db8::1]"},
		{"smtp:192.0.2.1:25", "192.0.2.1"},
		{"lmtp:unix:/run/secret.sock", NULL},
		{"maildir:/srv/secret", NULL},
		{"mx", NULL},
		{"", NULL},
		{NULL, NULL},
		{"smtp:a\r\nb:25", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char field[128];
		struct sample sample;

		sample_make(&sample, RELAY_DSN_FAILED);
		sample_add(&sample, "bob@example.net", &unknown);
		sample.of[0].next_hop = rows[i].next_hop;
		compose(&sample, "");
		has_not("secret");
		if (rows[i].host == NULL) {
			has_not("Remote-MTA");
			has_not("said");
			continue;
		}
		snprintf(field, sizeof(field), "Remote-MTA: dns; %s\r\n", rows[i].host);
		has(field);
		snprintf(field, sizeof(field), "    %s said: 550", rows[i].host);
		has(field);
	}
}

/* A next hop's words must not become fields, parts or lines. */
Test(dsn, replies_cannot_forge_anything)
{
	struct relay_outcome outcome = {RELAY_RESULT_NEVER, 550, "5.1.1",
		"a\r\nFinal-Recipient: x\r\n\r\n--=_0123456789abcdef\r\n\xc3\xa9\x1b[1m\x7f",
		false};
	struct sample sample;

	sample_make(&sample, RELAY_DSN_FAILED);
	sample_add(&sample, "bob@example.net", &outcome);
	compose(&sample, "");
	has("550 5.1.1 a??Final-Recipient:\r\n    x???"
	    "?--=_0123456789abcdef?????[1m?\r\n");
	has_not("\nFinal-Recipient: x");
	has_not("\n--=_0123456789abcdef??");
	for (const char *c = text; *c != '\0'; c++)
		cr_assert((*c >= ' ' && *c <= '~') || strchr("\r\n\t", *c) != NULL);
}

Test(dsn, long_replies_are_folded)
{
	struct relay_outcome outcome = {RELAY_RESULT_NEVER, 550, "5.7.1", "", false};
	struct sample sample;
	size_t longest = 0;

	for (size_t i = 0; i + 1 < sizeof(outcome.text); i++)
		outcome.text[i] = i % 9 == 8 ? ' ' : 'w';
	sample_make(&sample, RELAY_DSN_FAILED);
	sample_add(&sample, "bob@example.net", &outcome);
	compose(&sample, "");
	for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1)
		if (strcspn(line, "\r\n") > longest)
			longest = strcspn(line, "\r\n");
	cr_assert_leq(longest, 80);
	has("\r\n    wwww");
	/* without a blank it stays whole, and is still far below the limit */
	memset(outcome.text, 'w', sizeof(outcome.text) - 1);
	sample_make(&sample, RELAY_DSN_FAILED);
	sample_add(&sample, "bob@example.net", &outcome);
	compose(&sample, "");
	has(outcome.text);
}

Test(dsn, blanks_in_replies_make_no_blank_line)
{
	struct relay_outcome outcome = {RELAY_RESULT_NEVER, 550, "5.1.1", "", false};
	struct sample sample;

	memset(outcome.text, ' ', sizeof(outcome.text) - 1);
	memcpy(outcome.text, "a  b", 4);
	memcpy(outcome.text + 300, "c", 1);
	sample_make(&sample, RELAY_DSN_FAILED);
	sample_add(&sample, "bob@example.net", &outcome);
	compose(&sample, "");
	has("Diagnostic-Code: smtp; 550 5.1.1 a b c\r\nLast-Attempt-Date");
}

Test(dsn, the_longest_of_everything_fits)
{
	static char host[256], local[64 + 1 + 255 + 1], xtext[500 + 1];
	struct relay_outcome outcome = {RELAY_RESULT_NEVER, 550, "5.999.9999", "", false};
	struct sample sample;

	memset(host, 'h', 255);
	memset(local, 'l', sizeof(local) - 1);
	local[64] = '@';
	memset(xtext, 'x', 500);
	memcpy(xtext, "rfc822;", 7);
	memset(outcome.text, ' ', sizeof(outcome.text) - 1);
	sample_make(&sample, RELAY_DSN_DELAYED);
	sample.report.hostname = host;
	sample.report.has_8bit = true;
	sample.envelope.smtputf8 = true;
	sample.envelope.reverse_path = address_of(local);
	sample.envelope.envid = span_of(xtext, 100);
	sample_add(&sample, local, &outcome);
	sample.recipients[0].smtp.orcpt = span_str(xtext);
	compose(&sample, "");
}

Test(dsn, many_recipients_are_written_one_by_one)
{
	static struct spool_recipient recipients[RECIPIENTS_MANY_N];
	static struct relay_dsn_recipient of[RECIPIENTS_MANY_N];
	struct relay_dsn_text writing = {0};
	struct sample sample;
	unsigned pieces = 0;
	unsigned said = 0;

	sample_make(&sample, RELAY_DSN_FAILED);
	for (unsigned i = 0; i < RECIPIENTS_MANY_N; i++) {
		recipients[i].smtp.address = address_of("bob@example.net");
		of[i] = (struct relay_dsn_recipient){&recipients[i], &unknown, "mx"};
	}
	sample.report.recipients = of;
	sample.report.recipients_n = RECIPIENTS_MANY_N;
	for (; writing.piece != RELAY_DSN_END; pieces++) {
		char piece[RELAY_DSN_PIECE_MAX + 1];
		struct buf out;

		buf_init(&out, piece, RELAY_DSN_PIECE_MAX);
		relay_dsn_text_write(&writing, &sample.report, &out);
		piece[buf_len(&out)] = '\0';
		said += strstr(piece, "Final-Recipient:") != NULL;
	}
	cr_assert_eq(pieces, 2 * RECIPIENTS_MANY_N + 5);
	cr_assert_eq(said, RECIPIENTS_MANY_N);
}

Test(dsn, third_part_and_encodings)
{
	static const struct {
		bool full, has_8bit, smtputf8;
		const char *sender, *recipient, *orcpt;
		const char *parts[5];
	} rows[] = {
		{false, false, false, "a@b.org", "c@d.org", "",
			{"Content-Type: text/rfc822-headers\r\n\r\nX",
				"Content-Description: Header of the message"}},
		{true, false, false, "a@b.org", "c@d.org", "",
			{"Content-Type: message/rfc822\r\n\r\nX", "Content-Description: Message"}},
		{true, true, false, "a@b.org", "c@d.org", "",
			{"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nX",
				"abcdef\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
				"Content-Type: message/delivery-status\r\n\r\n",
				"charset=us-ascii\r\n\r\n"}},
		/* SMTPUTF8 was announced and not needed: the way back may lack it */
		{true, false, true, "a@b.org", "c@d.org", "",
			{"Content-Type: message/rfc822\r\n\r\nX",
				"Content-Type: message/delivery-status\r\n\r\n"}},
		{true, true, true, "a@b.org", "c@d.org", "",
			{"Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\nX",
				"Content-Type: message/global-delivery-status\r\n"
				"Content-Transfer-Encoding: 8bit\r\n\r\n",
				"charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
				"Final-Recipient: rfc822; c@d.org\r\n"}},
		{false, false, true, "a@b.org", "\xc3\xa9@d.org", "utf-8;\\x{E9}@d.org",
			{"Content-Type: message/global-headers\r\n\r\nX",
				"Final-Recipient: utf-8; \xc3\xa9@d.org\r\n",
				"<\xc3\xa9@d.org>:\r\n",
				"Original-Recipient: utf-8; \\x{E9}@d.org\r\n",
				"abcdef\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"}},
		{false, false, true, "\xc3\xa9@b.org", "c@d.org", "",
			{"To: <\xc3\xa9@b.org>\r\n", "message/global-delivery-status"}},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct sample sample;

		sample_make(&sample, RELAY_DSN_FAILED);
		sample.report.full = rows[i].full;
		sample.report.has_8bit = rows[i].has_8bit;
		sample.envelope.smtputf8 = rows[i].smtputf8;
		sample.envelope.reverse_path = address_of(rows[i].sender);
		sample_add(&sample, rows[i].recipient, &unknown);
		sample.recipients[0].smtp.orcpt = span_str(rows[i].orcpt);
		compose(&sample, "X\r\n");
		for (size_t k = 0; k < 5 && rows[i].parts[k] != NULL; k++)
			has(rows[i].parts[k]);
		if (!rows[i].has_8bit && !sample.report.international)
			has_not("8bit");
	}
}

/* ---- the copy of the original ---- */

struct copy_case {
	const char *in;
	size_t in_n;
	bool header_only, eight_bit;
	const char *out;
};

#define CASE(in, header_only, eight_bit, out)                                                      \
	{                                                                                          \
		in, sizeof(in) - 1, header_only, eight_bit, out                                    \
	}

static const struct copy_case copies[] = {
	CASE("A: b\r\nC: d\r\n\r\nbody\r\n", true, false, "A: b\r\nC: d\r\n"),
	CASE("A: b\r\nC: d\r\n\r\nbody\r\n", false, false, "A: b\r\nC: d\r\n\r\nbody\r\n"),
	CASE("A: b\nC: d\n\nbody", true, false, "A: b\r\nC: d\r\n"),
	CASE("A: b\nC: d\n\nbody", false, false, "A: b\r\nC: d\r\n\r\nbody\r\n"),
	CASE("A\r\rB\rC", false, false, "A\r\n\r\nB\r\nC\r\n"),
	CASE("A\r\rB\rC", true, false, "A\r\n"),
	CASE("A\r", false, false, "A\r\n"),
	CASE("A\r\n\r", false, false, "A\r\n\r\n"),
	CASE("A", true, false, "A\r\n"),
	CASE("", true, false, ""),
	CASE("\r\nbody", true, false, ""),
	CASE("\r\nbody", false, false, "\r\nbody\r\n"),
	CASE("A\0B\xc3\xa9\r\n", false, false, "A?B??\r\n"),
	CASE("A\0B\xc3\xa9\r\n", false, true, "A?B\xc3\xa9\r\n"),
};

static size_t copy_run(const struct copy_case *row, size_t piece, size_t room, char *got)
{
	struct relay_dsn_copy copy = {.header_only = row->header_only, .eight_bit = row->eight_bit};
	struct span left = span_of(row->in, row->in_n);
	size_t n = 0;
	struct buf out;

	while (left.n > 0 && !copy.ended) {
		struct span in = span_of(left.p, min_size(piece, left.n));
		size_t before = in.n;

		buf_init(&out, got + n, room);
		relay_dsn_copy_feed(&copy, &in, &out);
		n += buf_len(&out);
		cr_assert(in.n < before, "it goes on");
		span_take(&left, before - in.n);
	}
	buf_init(&out, got + n, 4);
	relay_dsn_copy_end(&copy, &out);
	return n + buf_len(&out);
}

Test(dsn, copies_in_every_chunking)
{
	for (size_t i = 0; i < COUNT_OF(copies); i++)
		for (size_t piece = 1; piece < 40; piece++)
			for (size_t room = 6; room < 20; room++) {
				char got[256];
				size_t n = copy_run(&copies[i], piece, room, got);

				cr_assert(span_equal(span_of(got, n), span_str(copies[i].out)),
					"case %zu: %.*s", i, (int)n, got);
			}
}

Test(dsn, long_lines_of_the_original_are_broken)
{
	enum { LINE = 5000 };
	static char in[2 * LINE + 8], got[4 * LINE];
	struct copy_case row = {.in = in};
	unsigned breaks[2] = {0};
	size_t n;

	memset(in, 'h', LINE);
	memcpy(in + LINE, "\r\n\r\n", 4);
	memset(in + LINE + 4, 'b', LINE);
	row.in_n = 2 * LINE + 4;
	n = copy_run(&row, 1000, 1000, got);
	for (size_t at = 0; at < n;) {
		const char *end = memchr(got + at, '\r', n - at);
		size_t line = (size_t)(end - got) - at;

		cr_assert(end != NULL && line <= RELAY_DSN_LINE_MAX);
		if (got[at] == ' ')
			breaks[0]++;
		else if (at > LINE)
			breaks[1]++;
		at += line + 2;
	}
	cr_assert_eq(breaks[0], 5, "the header's lines go on with a blank");
	cr_assert_eq(breaks[1], 7, "an empty line, and six of the body");
}
