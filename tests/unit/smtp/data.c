/* SPDX-License-Identifier: MIT */
/* data.c -- DATA and what spoils it; sizes and hops, which BDAT shares. */
#include <stdlib.h>

#include <criterion/criterion.h>

#include "tests/unit/smtp/play.h"

#define DATA_L OPEN_L " BEGIN(data) 354"

Test(smtp_data, end)
{
	static const struct play plays[] = {
		{"empty", 0, OPEN "DATA\r\n.\r\n" QUIT, 0, DATA_L " END() 250/2.0.0 " QUIT_L},
		{"one empty line", 0, OPEN "DATA\r\n\r\n.\r\n", 0, DATA_L " END(\\r\\n) 250/2.0.0"},
		{"not ended", 0, OPEN "DATA\r\nx\r\n.\r", 0, DATA_L},
		{"a lone dot is stuffed", 0, OPEN "DATA\r\n..\r\n.\r\n", 0,
			DATA_L " END(.\\r\\n) 250/2.0.0"},
	};

	play_all(plays, COUNT_OF(plays));
}

/* Behind a header, where octets may be decoded in the message's own memory. */
Test(smtp_data, behind_the_header)
{
	static const struct play plays[] = {
		{"dots", 0, OPEN "DATA\r\n\r\n..a\r\n.b\r\n...\r\nc.\r\n.\r\n" QUIT, 0,
			DATA_L " END(\\r\\n.a\\r\\nb\\r\\n..\\r\\nc.\\r\\n) 250/2.0.0 " QUIT_L},
		{"a dot at the end", 0, OPEN "DATA\r\n\r\na\r\n..\r\n.\r\nNOOP\r\n", 0,
			DATA_L " END(\\r\\na\\r\\n.\\r\\n) 250/2.0.0 250/2.0.0"},
		{"newlines mended among dots", PLAY_NORMALIZE,
			OPEN "DATA\r\n\r\n..a\nb\r..\r\n..c\r\n.\r.\r\n.\n.\r\n\r\n.\r\n", 0,
			DATA_L
			" END(\\r\\n.a\\r\\nb\\r\\n..\\r\\n.c\\r\\n\\r\\n.\\r\\n\\r\\n.\\r\\n"
			"\\r\\n) 250/2.0.0"},
		{"a newline refused", 0, OPEN "DATA\r\n\r\n..a\nb\r\n.\r\nNOOP\r\n", 0,
			DATA_L " SPOIL(554) 554/5.6.0 250/2.0.0"},
		{"8-bit refused", 0, OPEN "DATA\r\n\r\n..a\xe9\r\n.\r\nNOOP\r\n", 0,
			DATA_L " SPOIL(554) 554/5.6.1 250/2.0.0"},
		{"8-bit", PLAY_8BIT, OPEN "DATA\r\n\r\n..a\xe9\r\n.\r\nNOOP\r\n", 0,
			DATA_L " END(\\r\\n.a\\xe9\\r\\n) 250/2.0.0 250/2.0.0"},
	};

	play_all(plays, COUNT_OF(plays));
}

/* After a spoiled message the session goes on where the message truly ended. */
Test(smtp_data, spoiled)
{
	static const struct play plays[] = {
		{"LF.LF", 0, OPEN "DATA\r\nx\n.\nQUIT\r\n.\r\nNOOP\r\n", 0,
			DATA_L " SPOIL(554) 554/5.6.0 250/2.0.0"},
		{"LF.CRLF", 0, OPEN "DATA\r\nx\n.\r\nQUIT\r\n.\r\nNOOP\r\n", 0,
			DATA_L " SPOIL(554) 554/5.6.0 250/2.0.0"},
		{"CRLF.LF", 0, OPEN "DATA\r\nx\r\n.\nQUIT\r\n.\r\nNOOP\r\n", 0,
			DATA_L " SPOIL(554) 554/5.6.0 250/2.0.0"},
		{"CR.CR", 0, OPEN "DATA\r\nx\r.\rQUIT\r\n.\r\nNOOP\r\n", 0,
			DATA_L " SPOIL(554) 554/5.6.0 250/2.0.0"},
		{"CR.CRLF", 0, OPEN "DATA\r\nx\r.\r\nQUIT\r\n.\r\nNOOP\r\n", 0,
			DATA_L " SPOIL(554) 554/5.6.0 250/2.0.0"},
		{"CRLF.CR", 0, OPEN "DATA\r\nx\r\n.\rQUIT\r\n.\r\nNOOP\r\n", 0,
			DATA_L " SPOIL(554) 554/5.6.0 250/2.0.0"},
		{"NUL", 0, OPEN "DATA\r\na\0b\r\n.\r\nNOOP\r\n",
			sizeof(OPEN "DATA\r\na\0b\r\n.\r\nNOOP\r\n") - 1,
			DATA_L " SPOIL(554) 554/5.6.0 250/2.0.0"},
		{"8-bit", 0, OPEN "DATA\r\na\xe9\r\n.\r\nNOOP\r\n", 0,
			DATA_L " SPOIL(554) 554/5.6.1 250/2.0.0"},
		{"the first fault counts", 0, OPEN "DATA\r\na\xe9\nb\n\r\n.\r\nNOOP\r\n", 0,
			DATA_L " SPOIL(554) 554/5.6.1 250/2.0.0"},
		{"dots do not end early when spoiled", 0,
			OPEN "DATA\r\n\xe9\n.\n.\r\n..\r\nQUIT\r\n.\r\nNOOP\r\n", 0,
			DATA_L " SPOIL(554) 554/5.6.1 250/2.0.0"},
		{"and the next message is clean", 0,
			OPEN "DATA\r\n\xe9\r\n.\r\n" MAIL RCPT "DATA\r\nx\r\n.\r\n", 0,
			DATA_L " SPOIL(554) 554/5.6.1 " MAIL_L " " RCPT_L
			       " BEGIN(data) 354 END(x\\r\\n) 250/2.0.0"},
		{"too many errors", PLAY_ERRORS, OPEN "X\r\nX\r\nDATA\r\n\n\r\n.\r\n", 0,
			OPEN_L
			" 500/5.5.2 500/5.5.2 BEGIN(data) 354 SPOIL(554) 554/5.6.0 421/4.7.0 "
			"CLOSE(errors)"},
	};

	play_all(plays, COUNT_OF(plays));
}

Test(smtp_data, allowed)
{
	static const struct play plays[] = {
		{"8BITMIME", 0,
			HELLO "MAIL FROM:<a@b> BODY=8BITMIME\r\n" RCPT "DATA\r\n\xe9\r\n.\r\n", 0,
			DATA_L " END(\\xe9\\r\\n) 250/2.0.0"},
		{"SMTPUTF8", 0, HELLO "MAIL FROM:<a@b> SMTPUTF8\r\n" RCPT "DATA\r\n\xe9\r\n.\r\n",
			0, DATA_L " END(\\xe9\\r\\n) 250/2.0.0"},
		{"undeclared, by configuration", PLAY_8BIT, OPEN "DATA\r\n\xe9\r\n.\r\n", 0,
			DATA_L " END(\\xe9\\r\\n) 250/2.0.0"},
		{"normalize", PLAY_NORMALIZE, OPEN "DATA\r\na\n.\nb\r.\rc\n.\r\n.\r\n" QUIT, 0,
			DATA_L
			" END(a\\r\\n.\\r\\nb\\r\\n.\\r\\nc\\r\\n.\\r\\n) 250/2.0.0 " QUIT_L},
		{"normalize: DATA with a bare LF", PLAY_NORMALIZE, OPEN "DATA\n.\r\n.\r\n" QUIT, 0,
			DATA_L " END(.\\r\\n) 250/2.0.0 " QUIT_L},
		{"normalize does not allow NUL", PLAY_NORMALIZE, OPEN "DATA\r\n\0\r\n.\r\n",
			sizeof(OPEN "DATA\r\n\0\r\n.\r\n") - 1, DATA_L " SPOIL(554) 554/5.6.0"},
		{"BINARYMIME needs BDAT", 0,
			HELLO "MAIL FROM:<a@b> BODY=BINARYMIME\r\n" RCPT "DATA\r\n"
			      "BDAT 3 LAST\r\n\r\n\xe9",
			0, OPEN_L " 503/5.5.1 BEGIN(bdat) CHUNK(3) END(\\r\\n\\xe9) 250/2.0.0"},
	};

	play_all(plays, COUNT_OF(plays));
}

Test(smtp_data, hops)
{
#define HOP "Received: x\r\n"
	static const struct play plays[] = {
		{"three are allowed", 0,
			OPEN "DATA\r\n" HOP "rEcEiVeD:y\r\n z\r\n" HOP "\r\n" HOP ".\r\n", 0,
			DATA_L
			" END(Received: x\\r\\nrEcEiVeD:y\\r\\n z\\r\\nReceived: x\\r\\n\\r\\n"
			"Received: x\\r\\n) 250/2.0.0"},
		{"four loop", 0, OPEN "DATA\r\n" HOP HOP HOP HOP "\r\nx\r\n.\r\n", 0,
			DATA_L " SPOIL(554) 554/5.4.6"},
		{"folded and others are none", 0,
			OPEN "DATA\r\n" HOP HOP HOP " Received: x\r\nReceived-SPF: x\r\nX: \r\n"
			     "Receive\r\n\r\n.\r\n",
			0,
			DATA_L
			" END(Received: x\\r\\nReceived: x\\r\\nReceived: x\\r\\n Received: x\\r\\n"
			"Received-SPF: x\\r\\nX: \\r\\nReceive\\r\\n\\r\\n) 250/2.0.0"},
		{"by BDAT, over chunks", 0,
			OPEN "BDAT 30\r\n" HOP HOP "ReceBDAT 30 LAST\r\nived: x\r\n" HOP
			     "12345678" MAIL,
			0,
			OPEN_L
			" BEGIN(bdat) CHUNK(30) 250/2.0.0 CHUNK(30) SPOIL(554) 554/5.4.6 " MAIL_L},
		{"a header that began with an empty line", 0,
			OPEN "DATA\r\n\r\n" HOP HOP HOP HOP ".\r\n", 0,
			DATA_L " END(\\r\\nReceived: x\\r\\nReceived: x\\r\\nReceived: x\\r\\n"
			       "Received: x\\r\\n) 250/2.0.0"},
	};

	play_all(plays, COUNT_OF(plays));
}

Test(smtp_data, tls_required_no)
{
#define FIELD(text)                                                                                \
	{                                                                                          \
		text, 0, OPEN "DATA\r\n" text "\r\n\r\n.\r\n", 0, DATA_L " "
#define IS(text)                                                                                   \
	FIELD(text) "END-TLS-OPTIONAL(" text "\\r\\n\\r\\n) 250/2.0.0"                             \
	}
#define NOT(text)                                                                                  \
	FIELD(text) "END(" text "\\r\\n\\r\\n) 250/2.0.0"                                          \
	}
	static const struct play plays[] = {
		IS("TLS-Required: No"),
		IS("tls-required:nO  "),
		NOT("TLS-Required: Not"),
		NOT("TLS-Required: N o"),
		NOT("TLS-Required: No x"),
		NOT("TLS-Required: Yes"),
		NOT("TLS-Required:"),
		NOT("TLS-Required : No"),
		NOT("XTLS-Required: No"),
		NOT(" TLS-Required: No"),
		NOT("Received: No"),
		{"behind other fields", 0,
			OPEN "DATA\r\nTo: x\r\n" HOP "TLS-Required: No\r\nX: y\r\n\r\n.\r\n", 0,
			DATA_L
			" END-TLS-OPTIONAL(To: x\\r\\nReceived: x\\r\\nTLS-Required: No\\r\\n"
			"X: y\\r\\n\\r\\n) 250/2.0.0"},
		{"in the body", 0, OPEN "DATA\r\n\r\nTLS-Required: No\r\n.\r\n", 0,
			DATA_L " END(\\r\\nTLS-Required: No\\r\\n) 250/2.0.0"},
		{"by BDAT, over chunks", 0,
			OPEN "BDAT 15\r\nTLS-Required: NBDAT 5 LAST\r\no\r\n\r\n", 0,
			OPEN_L " BEGIN(bdat) CHUNK(15) 250/2.0.0 CHUNK(5)"
			       " END-TLS-OPTIONAL(TLS-Required: No\\r\\n\\r\\n) 250/2.0.0"},
		{"with REQUIRETLS it is ignored", PLAY_TLS,
			HELLO "MAIL FROM:<a@b> REQUIRETLS\r\n" RCPT
			      "DATA\r\nTLS-Required: No\r\n\r\n.\r\n",
			0, DATA_L " END(TLS-Required: No\\r\\n\\r\\n) 250/2.0.0"},
		{"of one message only", 0,
			OPEN "DATA\r\nTLS-Required: No\r\n\r\n.\r\n" MAIL RCPT "DATA\r\n\r\n.\r\n",
			0,
			DATA_L " END-TLS-OPTIONAL(TLS-Required: No\\r\\n\\r\\n) 250/2.0.0 " MAIL_L
			       " " RCPT_L " BEGIN(data) 354 END(\\r\\n) 250/2.0.0"},
	};

	play_all(plays, COUNT_OF(plays));
}

/* message_bytes_max is 1000 here: it may be reached and not passed. */
static void play_sizes(bool move)
{
	char text[4096];

	for (size_t n = 998; n <= 1002; n++) {
		struct span input;
		char *body;
		char *log;
		size_t cut;

		body = text + sprintf(text, "%sDATA\r\n", OPEN);
		memset(body, 'x', n - 2);
		if (move)
			memcpy(body, "\r\n", 2); /* no header: what follows may be moved */
		strcpy(body + n - 2, "\r\n.\r\nNOOP\r\n");
		input = span_str(text);
		for (cut = 1; cut <= input.n; cut += 31) {
			log = play_once(PLAY_USUAL, input, cut, 17, DRIVER_OUT_BYTES, move);
			if (n > 1000)
				cr_assert_str_eq(log, DATA_L " SPOIL(552) 552/5.3.4 250/2.0.0");
			else
				cr_assert(strstr(log, "x\\r\\n) 250/2.0.0 250/2.0.0") != NULL);
			free(log);
		}
	}
}

Test(smtp_data, size)
{
	play_sizes(false);
	play_sizes(true);
}

/* Octets that normalising adds count too. */
Test(smtp_data, size_normalized)
{
	char text[4096];
	char *body = text + sprintf(text, "%sDATA\r\n", OPEN);
	char *log;

	memset(body, '\n', 501);
	strcpy(body + 501, "\r\n.\r\n");
	log = play_once(PLAY_NORMALIZE, span_str(text), 0, 13, DRIVER_OUT_BYTES, false);
	cr_assert_str_eq(log, DATA_L " SPOIL(552) 552/5.3.4");
	free(log);
}
