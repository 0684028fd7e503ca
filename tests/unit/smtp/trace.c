/* SPDX-License-Identifier: MIT */
/* trace.c -- Received: and Return-Path: in their forms. */
#include <stdlib.h>

#include <criterion/criterion.h>

#include "smtp/smtp.h"

#define NEW_YEAR_2030_US 1893456000000000

struct trace_case {
	const char *helo;
	const char *peer;
	bool esmtp;
	bool smtputf8;
	const char *version;
	const char *group;
	uint64_t real_us;
	const char *from;
	const char *recipients[2];
	const char *text;
};

static const struct trace_case cases[] = {
	{"client.example", "192.0.2.1", true, false, NULL, NULL, NEW_YEAR_2030_US, "a@b",
		{"c@d", NULL},
		"Received: from client.example ([192.0.2.1])\r\n"
		"\tby mx.example.org (Postern) with ESMTP\r\n"
		"\tid 1a2b\r\n"
		"\tfor <c@d>; Tue, 01 Jan 2030 00:00:00 +0000\r\n"},
	{"[192.0.2.1]", "2001:db8::1", true, false, "TLSv1.3", "X25519", 951782399999999, "",
		{"c@d", "e@f"},
		"Received: from [192.0.2.1] ([IPv6:2001:db8::1])\r\n"
		"\tby mx.example.org (Postern) with ESMTPS\r\n"
		"\t(TLSv1.3 TLS_AES_256_GCM_SHA384 X25519)\r\n"
		"\tid 1a2b; Mon, 28 Feb 2000 23:59:59 +0000\r\n"},
	{"c", "192.0.2.1", true, true, "TLSv1.2", NULL, 951782400000000, "a@b", {"c@d", NULL},
		"Received: from c ([192.0.2.1])\r\n"
		"\tby mx.example.org (Postern) with UTF8SMTPS\r\n"
		"\t(TLSv1.2 TLS_AES_256_GCM_SHA384)\r\n"
		"\tid 1a2b\r\n"
		"\tfor <c@d>; Tue, 29 Feb 2000 00:00:00 +0000\r\n"},
	{"c", "192.0.2.1", true, true, NULL, NULL, 0, "\xc3\xa9@b", {"\"x y\"@d", NULL},
		"Received: from c ([192.0.2.1])\r\n"
		"\tby mx.example.org (Postern) with UTF8SMTP\r\n"
		"\tid 1a2b\r\n"
		"\tfor <\"x y\"@d>; Thu, 01 Jan 1970 00:00:00 +0000\r\n"},
	{"c", "192.0.2.1", false, false, NULL, NULL, 0, "a@b", {"c@d", "e@f"},
		"Received: from c ([192.0.2.1])\r\n"
		"\tby mx.example.org (Postern) with SMTP\r\n"
		"\tid 1a2b; Thu, 01 Jan 1970 00:00:00 +0000\r\n"},
	/* What a client calls itself must not break the header. */
	{"a;b(c)<d>@\"e\"[f],:\\x_y", "192.0.2.1", true, false, NULL, NULL, 0, "a@b",
		{"c@d", "e@f"},
		"Received: from a?b?c??d???e??f????x_y ([192.0.2.1])\r\n"
		"\tby mx.example.org (Postern) with ESMTP\r\n"
		"\tid 1a2b; Thu, 01 Jan 1970 00:00:00 +0000\r\n"},
	{"[1.2.3.4)", "192.0.2.1", true, false, NULL, NULL, 0, "a@b", {"c@d", "e@f"},
		"Received: from ?1.2.3.4? ([192.0.2.1])\r\n"
		"\tby mx.example.org (Postern) with ESMTP\r\n"
		"\tid 1a2b; Thu, 01 Jan 1970 00:00:00 +0000\r\n"},
	{"", "192.0.2.1", false, false, NULL, NULL, 0, "a@b", {"c@d", "e@f"},
		"Received: from unknown ([192.0.2.1])\r\n"
		"\tby mx.example.org (Postern) with SMTP\r\n"
		"\tid 1a2b; Thu, 01 Jan 1970 00:00:00 +0000\r\n"},
};

struct written {
	struct smtp_envelope envelope;
	struct smtp_recipient recipients[2];
	struct smtp_trace trace;
};

static void trace_prepare(struct written *written, const struct trace_case *row)
{
	*written = (struct written){.trace = {
					    .hostname = "mx.example.org",
					    .helo = span_str(row->helo),
					    .peer_address = row->peer,
					    .esmtp = row->esmtp,
					    .smtputf8 = row->smtputf8,
					    .tls_version = row->version,
					    .tls_cipher = "TLS_AES_256_GCM_SHA384",
					    .tls_group = row->group,
					    .queue_id = "1a2b",
					    .real_us = row->real_us,
				    }};
	written->trace.envelope = &written->envelope;
	written->envelope.reverse_path.text = span_str(row->from);
	list_init(&written->envelope.recipients);
	for (size_t i = 0; i < 2 && row->recipients[i] != NULL; i++) {
		written->recipients[i].address.text = span_str(row->recipients[i]);
		list_push_back(&written->envelope.recipients, &written->recipients[i].node);
		written->envelope.recipients_n++;
	}
}

Test(smtp_trace, forms)
{
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct written written;
		char text[SMTP_TRACE_MAX];
		struct buf out;

		trace_prepare(&written, &cases[i]);
		buf_init(&out, text, sizeof(text));
		cr_assert(smtp_trace_write(&out, &written.trace));
		cr_assert(span_equal(buf_span(&out), span_str(cases[i].text)), "case %zu:\n%.*s", i,
			(int)buf_len(&out), text);
	}
}

/* Too small an output is false, and never written beyond. */
Test(smtp_trace, room)
{
	size_t n = strlen(cases[0].text);

	for (size_t cap = 0; cap <= n + 1; cap++) {
		struct written written;
		char *text = malloc(cap + 1);
		struct buf out;

		trace_prepare(&written, &cases[0]);
		text[cap] = 'x';
		buf_init(&out, text, cap);
		cr_assert_eq(smtp_trace_write(&out, &written.trace), cap >= n, "%zu octets", cap);
		cr_assert_eq(text[cap], 'x');
		free(text);
	}
}

/* The longest of everything fits SMTP_TRACE_MAX, in lines of at most 998 octets. */
Test(smtp_trace, longest)
{
	static char helo[SMTP_HELO_MAX + 1];
	static char host[256];
	static char address[255];
	char text[SMTP_TRACE_MAX];
	struct written written;
	struct trace_case row = cases[1];
	struct span rest;
	struct buf out;

	memset(helo, 'h', SMTP_HELO_MAX);
	memset(host, 'm', 255);
	memset(address, 'a', 254);
	row.helo = helo;
	row.from = address;
	row.recipients[0] = address;
	row.recipients[1] = NULL;
	row.peer = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff";
	trace_prepare(&written, &row);
	written.trace.hostname = host;
	buf_init(&out, text, sizeof(text));
	cr_assert(smtp_trace_write(&out, &written.trace));
	rest = buf_span(&out);
	while (rest.n > 0) {
		const uint8_t *lf = memchr(rest.p, '\n', rest.n);

		cr_assert(lf != NULL);
		cr_assert_leq(span_take(&rest, (size_t)(lf - rest.p) + 1).n, 998);
	}
}

Test(smtp_trace, return_path)
{
	static char longest[255];
	static const char *const rows[][2] = {
		{"", "Return-Path: <>\r\n"},
		{"a@b", "Return-Path: <a@b>\r\n"},
		{"\"x y\"@d", "Return-Path: <\"x y\"@d>\r\n"},
		{"\xc3\xa9@b", "Return-Path: <\xc3\xa9@b>\r\n"},
	};
	struct smtp_address address = {0};
	char text[SMTP_RETURN_PATH_MAX];
	struct buf out;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		address.text = span_str(rows[i][0]);
		buf_init(&out, text, sizeof(text));
		cr_assert(smtp_return_path_write(&out, &address));
		cr_assert(span_equal(buf_span(&out), span_str(rows[i][1])), "case %zu", i);
		buf_init(&out, text, strlen(rows[i][1]) - 1);
		cr_assert(!smtp_return_path_write(&out, &address));
	}
	memset(longest, 'a', 254);
	address.text = span_str(longest);
	buf_init(&out, text, sizeof(text));
	cr_assert(smtp_return_path_write(&out, &address), "the longest address fits");
}
