/* SPDX-License-Identifier: MIT */
/* dialog.c -- tests: where replies end, what is offered, what has leaked, in seven protocols. */
#include "tools/probe/probe-private.h"

#include <criterion/criterion.h>

#define STARTTLS_XML "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

Test(dialog, commands)
{
	static const struct dialog_names names = {"mx.example.org", "me.example.net"};
	static const struct {
		enum probe_protocol protocol;
		enum dialog_step step;
		const char *wanted;
	} rows[] = {
		{PROBE_SMTP, DIALOG_GREETING, ""},
		{PROBE_SMTP, DIALOG_LIST, "EHLO me.example.net\r\n"},
		{PROBE_SMTP, DIALOG_UPGRADE, "STARTTLS\r\n"},
		{PROBE_IMAP, DIALOG_UPGRADE, "b STARTTLS\r\n"},
		{PROBE_POP3, DIALOG_UPGRADE, "STLS\r\n"},
		{PROBE_NNTP, DIALOG_UPGRADE, "STARTTLS\r\n"},
		{PROBE_FTP, DIALOG_UPGRADE, "AUTH TLS\r\n"},
		{PROBE_XMPP, DIALOG_UPGRADE, STARTTLS_XML},
		{PROBE_XMPP, DIALOG_LIST,
			"<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
			"xmlns:stream='http://etherx.jabber.org/streams' to='mx.example.org' "
			"version='1.0'>"},
	};
	uint8_t octets[1024], tiny[4];
	struct buf out;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		buf_init(&out, octets, sizeof(octets));
		cr_assert(dialog_command_put(rows[i].protocol, rows[i].step, &names, &out));
		cr_expect(
			span_equal(buf_span(&out), span_str(rows[i].wanted)), "%s", rows[i].wanted);
	}
	buf_init(&out, tiny, sizeof(tiny));
	cr_assert_not(dialog_command_put(PROBE_SMTP, DIALOG_LIST, &names, &out));
}

Test(dialog, ports)
{
	static const uint16_t ports[] = {25, 143, 110, 5222, 389, 119, 21};
	static const uint16_t tls_ports[] = {465, 993, 995, 5223, 636, 563, 990};
	enum probe_protocol protocol;

	for (size_t i = 0; i < PROBE_PROTOCOLS; i++) {
		cr_expect_eq(probe_protocol_port((enum probe_protocol)i, false), ports[i]);
		cr_expect_eq(probe_protocol_port((enum probe_protocol)i, true), tls_ports[i]);
		cr_assert(probe_protocol_read(
			probe_protocol_text((enum probe_protocol)i), &protocol));
		cr_expect_eq(protocol, i);
	}
	cr_expect_not(probe_protocol_read("SMTP", &protocol));
}

#define NEVER SIZE_MAX /* not of this protocol */

static const struct {
	enum probe_protocol protocol;
	enum dialog_step step;
	const char *octets;
	size_t end;
	bool good;
} replies[] = {
	{PROBE_SMTP, DIALOG_GREETING, "220 hi", 0, false},
	{PROBE_SMTP, DIALOG_GREETING, "220 hi\r\n", 8, true},
	{PROBE_SMTP, DIALOG_GREETING, "220\n", 4, true},
	{PROBE_SMTP, DIALOG_GREETING, "220 hi\r\n250 more", 8, true},
	{PROBE_SMTP, DIALOG_GREETING, "554 no\r\n", 8, false},
	{PROBE_SMTP, DIALOG_GREETING, "22\r\n", NEVER, false},
	{PROBE_SMTP, DIALOG_GREETING, "SSH-2.0-x\r\n", NEVER, false},
	{PROBE_SMTP, DIALOG_GREETING, "\r\n220 hi\r\n", NEVER, false},
	{PROBE_SMTP, DIALOG_LIST, "250-a\r\n250-b\r\n", 0, false},
	{PROBE_SMTP, DIALOG_LIST, "250-a\r\n250 b\r\n", 14, true},
	{PROBE_SMTP, DIALOG_LIST, "250-a\r\n251 b\r\n250 c\r\n", 21, true},
	{PROBE_FTP, DIALOG_LIST, "211-a\r\n AUTH TLS\r\n211 End\r\n", 27, true},
	{PROBE_IMAP, DIALOG_GREETING, "* OK hi\r\n", 9, true},
	{PROBE_IMAP, DIALOG_GREETING, "* BYE\r\n", 7, false},
	{PROBE_IMAP, DIALOG_LIST, "* CAPABILITY X\r\n", 0, false},
	{PROBE_IMAP, DIALOG_LIST, "* CAPABILITY X\r\na OK\r\n", 22, true},
	{PROBE_IMAP, DIALOG_LIST, "a BAD\r\n", 7, false},
	{PROBE_IMAP, DIALOG_UPGRADE, "a OK\r\nb NO\r\n", 12, false},
	{PROBE_POP3, DIALOG_LIST, "+OK\r\nSTLS\r\n", 0, false},
	{PROBE_POP3, DIALOG_LIST, "+OK\r\nSTLS\r\n.\r\n", 14, true},
	{PROBE_POP3, DIALOG_LIST, "-ERR\r\n", 6, false},
	{PROBE_POP3, DIALOG_UPGRADE, "+OK\r\nmore", 5, true},
	{PROBE_NNTP, DIALOG_LIST, "101 list\r\nVERSION 2\r\n.\r\n", 24, true},
	{PROBE_NNTP, DIALOG_LIST, "500 what\r\n", 10, false},
	{PROBE_NNTP, DIALOG_GREETING, "201 hi\r\n", 8, true},
	{PROBE_XMPP, DIALOG_LIST, "<stream:stream><stream:features>", 0, false},
	{PROBE_XMPP, DIALOG_LIST, "<s><stream:features></stream:features>", 38, true},
	{PROBE_XMPP, DIALOG_LIST, "<s><stream:features/>", 21, true},
	{PROBE_XMPP, DIALOG_LIST, "<s><stream:error/></stream:stream>", 34, false},
	{PROBE_XMPP, DIALOG_LIST, "220 hi\r\n", NEVER, false},
	{PROBE_XMPP, DIALOG_UPGRADE, "<proceed xmlns='x'", 0, false},
	{PROBE_XMPP, DIALOG_UPGRADE, "<proceed xmlns='x'/>more", 20, true},
	{PROBE_XMPP, DIALOG_UPGRADE, "<proceed>", 0, false},
	{PROBE_XMPP, DIALOG_UPGRADE, "<proceed></proceed>", 19, true},
	{PROBE_XMPP, DIALOG_UPGRADE, "<failure/></stream:stream>", 10, false},
};

Test(dialog, replies)
{
	for (size_t i = 0; i < COUNT_OF(replies); i++) {
		struct span octets = span_str(replies[i].octets);
		size_t end = dialog_reply_end(replies[i].protocol, replies[i].step, octets);

		cr_expect_eq(end, replies[i].end, "%s: %zu", replies[i].octets, end);
		if (end > 0 && end != NEVER)
			cr_expect_eq(dialog_reply_good(replies[i].protocol, replies[i].step,
					     span_of(octets.p, end)),
				replies[i].good, "%s", replies[i].octets);
	}
}

/* What is whole at its end is not whole before, octet by octet: so nothing behind it is taken. */
Test(dialog, replies_in_pieces)
{
	for (size_t i = 0; i < COUNT_OF(replies); i++) {
		struct span octets = span_str(replies[i].octets);

		if (replies[i].end == 0 || replies[i].end == NEVER)
			continue;
		for (size_t n = 0; n < replies[i].end; n++) {
			uint8_t *exact = malloc(n + 1);

			memcpy(exact, octets.p, n);
			cr_expect_eq(dialog_reply_end(replies[i].protocol, replies[i].step,
					     span_of(exact, n)),
				0, "%s at %zu", replies[i].octets, n);
			free(exact);
		}
	}
}

Test(dialog, ldap_replies)
{
	static const uint8_t answers[][14] = {
		{0x30, 12, 2, 1, 1, 0x78, 7, 10, 1, 0, 4, 0, 4, 0},  /* the go-ahead */
		{0x30, 12, 2, 1, 1, 0x78, 7, 10, 1, 52, 4, 0, 4, 0}, /* unavailable */
		{0x30, 12, 2, 1, 7, 0x78, 7, 10, 1, 0, 4, 0, 4, 0},  /* to another message */
	};
	static const bool good[] = {true, false, false};
	char text[64];

	for (size_t i = 0; i < COUNT_OF(answers); i++) {
		struct span reply = span_of(answers[i], sizeof(answers[i]));

		cr_expect_eq(dialog_reply_end(PROBE_LDAP, DIALOG_UPGRADE, reply), reply.n);
		cr_expect_eq(dialog_reply_good(PROBE_LDAP, DIALOG_UPGRADE, reply), good[i]);
	}
	dialog_reply_text(PROBE_LDAP, span_of(answers[1], sizeof(answers[1])), text, sizeof(text));
	cr_expect_str_eq(text, "resultCode 52 ");
}

Test(dialog, offers)
{
	static const struct {
		enum probe_protocol protocol;
		const char *reply;
		bool offered;
	} rows[] = {
		{PROBE_SMTP, "250-mx\r\n250-STARTTLS\r\n250 HELP\r\n", true},
		{PROBE_SMTP, "250-mx\r\n250 starttls\r\n", true},
		{PROBE_SMTP, "250 STARTTLS\r\n", false}, /* the host's name */
		{PROBE_SMTP, "250-STARTTLS\r\n250 HELP\r\n", false},
		{PROBE_SMTP, "250-mx\r\n250 STARTTLSX\r\n", false},
		{PROBE_SMTP, "250-mx\r\n250 X STARTTLS\r\n", false},
		{PROBE_SMTP, "250-mx\r\n250 XXXXXXXA\r\n", false},
		{PROBE_IMAP, "* CAPABILITY IMAP4rev1 STARTTLS X\r\na OK\r\n", true},
		{PROBE_IMAP, "* OK STARTTLS\r\na OK STARTTLS\r\n", false},
		{PROBE_IMAP, "* CAPABILITY XSTARTTLS\r\na OK\r\n", false},
		{PROBE_POP3, "+OK STLS\r\nUSER\r\n.\r\n", false},
		{PROBE_POP3, "+OK\r\nUSER\r\nstls\r\n.\r\n", true},
		{PROBE_NNTP, "101\r\nSTARTTLS\r\n.\r\n", true},
		{PROBE_FTP, "211-F\r\n AUTH TLS\r\n211 E\r\n", true},
		{PROBE_FTP, "211-F\r\n AUTH SSL;TLS-P;\r\n211 E\r\n", true},
		{PROBE_FTP, "211-F\r\n AUTH KERBEROS\r\n211 E\r\n", false},
		{PROBE_XMPP, "<stream:features><starttls xmlns='x'/></stream:features>", true},
		{PROBE_XMPP, "<stream:features/>", false},
		{PROBE_LDAP, "", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(dialog_reply_offers(rows[i].protocol, span_str(rows[i].reply)),
			rows[i].offered, "%s", rows[i].reply);
}

Test(dialog, disguised)
{
	cr_expect(
		dialog_reply_disguised(PROBE_SMTP, span_str("250-m\r\n250-XXXXXXXA\r\n250 X\r\n")));
	cr_expect(dialog_reply_disguised(PROBE_SMTP, span_str("250-m\r\n250 XXXXXXXX\r\n")));
	cr_expect_not(dialog_reply_disguised(PROBE_SMTP, span_str("250-m\r\n250 XCLIENT\r\n")));
	cr_expect_not(dialog_reply_disguised(PROBE_SMTP, span_str("250 XXXXXXXX\r\n")));
}

Test(dialog, leaked)
{
	static const struct {
		enum probe_protocol protocol;
		const char *octets;
		bool leaked;
	} rows[] = {
		{PROBE_SMTP, "", false},
		{PROBE_SMTP, "221 bye\r\n", false},
		{PROBE_SMTP, "250 ok\r\n", false}, /* perhaps all that it says to QUIT */
		{PROBE_SMTP, "250 ok\r\n221 bye\r\n", true},
		{PROBE_SMTP, "502 what\r\n221 bye\r\n", true},
		{PROBE_SMTP, "221-so\r\n221 bye\r\n", false},
		{PROBE_POP3, "+OK bye\r\n", false},
		{PROBE_POP3, "-ERR what\r\n+OK bye\r\n", true},
		{PROBE_NNTP, "111 20260101000000\r\n205 bye\r\n", true},
		{PROBE_FTP, "200 ok\r\n221 bye\r\n", true},
		{PROBE_IMAP, "* BYE\r\nq OK\r\n", false},
		{PROBE_IMAP, "i OK\r\n", true},
		{PROBE_IMAP, "* x i OK\r\nq OK\r\n", false},
		{PROBE_XMPP, "", false},
		{PROBE_XMPP, "<", true},
	};
	static const uint8_t to_4[] = {0x30, 12, 2, 1, 4, 0x65, 7, 10, 1, 0, 4, 0, 4, 0};
	uint8_t both[2 * sizeof(to_4)];

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		cr_expect_eq(dialog_leaked(rows[i].protocol, span_str(rows[i].octets)),
			rows[i].leaked, "%s", rows[i].octets);
	memcpy(both, to_4, sizeof(to_4));
	memcpy(both + sizeof(to_4), to_4, sizeof(to_4));
	cr_expect_not(dialog_leaked(PROBE_LDAP, span_of(both, sizeof(both))));
	both[sizeof(to_4) + 4] = 3;
	cr_expect(dialog_leaked(PROBE_LDAP, span_of(both, sizeof(both))));
}

Test(dialog, texts)
{
	char text[32];

	dialog_reply_text(PROBE_SMTP, span_str("220 \x1b[2J\xff hi\r\n"), text, sizeof(text));
	cr_expect_str_eq(text, "220 ?[2J? hi");
	dialog_keywords(span_str("250-mx\r\n250-SIZE 9\r\n250 A\x07\r\n"), text, sizeof(text));
	cr_expect_str_eq(text, "SIZE 9, A?");
	dialog_keywords(span_str("250 mx\r\n"), text, sizeof(text));
	cr_expect_str_eq(text, "");
}
