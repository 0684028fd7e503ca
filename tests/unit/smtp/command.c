/* SPDX-License-Identifier: MIT */
/* command.c -- dialogues: every command in its order, out of it, and cut anywhere (play.h). */
#include <criterion/criterion.h>

#include "tests/unit/smtp/play.h"

Test(smtp_command, ordinary)
{
	static const struct play plays[] = {
		{"HELO", 0, "HELO c\r\n" MAIL RCPT "DATA\r\nhi\r\n.\r\n" QUIT, 0,
			"250 " MAIL_L " " RCPT_L
			" BEGIN(data) 354 END(hi\\r\\n) 250/2.0.0 " QUIT_L},
		{"any case", 0,
			"ehlo c\r\nMaIl fRoM:<a@b>\r\nrcpt to:<c@d>\r\ndata\r\n.\r\nquit\r\n", 0,
			OPEN_L " BEGIN(data) 354 END() 250/2.0.0 " QUIT_L},
		{"blanks at the end", 0,
			"EHLO c \t\r\nMAIL FROM:<a@b> \r\nRCPT TO:<c@d>\t\r\nDATA  \r\n.\r\n"
			"RSET \r\nNOOP \r\nQUIT \r\n",
			0, OPEN_L " BEGIN(data) 354 END() 250/2.0.0 250/2.0.0 250/2.0.0 " QUIT_L},
		{"two messages", 0, OPEN "DATA\r\n1\r\n.\r\n" MAIL RCPT "DATA\r\n2\r\n.\r\n", 0,
			OPEN_L " BEGIN(data) 354 END(1\\r\\n) 250/2.0.0 " MAIL_L " " RCPT_L
			       " BEGIN(data) 354 END(2\\r\\n) 250/2.0.0"},
		{"small commands", 0,
			"NOOP\r\nNOOP with words\r\nHELP\r\nHELP MAIL\r\nVRFY a@b\r\nEXPN list\r\n"
			"RSET\r\n" QUIT,
			0,
			"250/2.0.0 250/2.0.0 214/2.0.0 214/2.0.0 252/2.0.0 502/5.5.1 250/2.0.0 " QUIT_L},
		{"nothing behind QUIT", 0, HELLO "QUIT\r\nNOOP\r\n", 0, "250 " QUIT_L},
		{"null reverse-path, postmaster", 0,
			HELLO "MAIL FROM:<>\r\nRCPT TO:<PostMaster>\r\n", 0,
			"250 MAIL() 250/2.1.0 RCPT(PostMaster) 250/2.1.5"},
		{"source route", 0, HELLO MAIL "RCPT TO:<@x.org,@y.org:c@d>\r\n", 0,
			"250 " MAIL_L " " RCPT_L},
		{"dots and lines that look like commands", 0,
			OPEN "DATA\r\n..\r\nQUIT\r\n..x\r\n. \r\n.\r\n" QUIT, 0,
			OPEN_L
			" BEGIN(data) 354 END(.\\r\\nQUIT\\r\\n.x\\r\\n \\r\\n) 250/2.0.0 " QUIT_L},
	};

	play_all(plays, COUNT_OF(plays));
}

Test(smtp_command, syntax)
{
	static const struct play plays[] = {
		{"unknown", 0, "BOGUS\r\n\r\n \r\nMAILX\r\nMAIL\tFROM:<a@b>\r\n", 0,
			"500/5.5.2 500/5.5.2 500/5.5.2 500/5.5.2 500/5.5.2"},
		{"HELO", 0,
			"HELO\r\nEHLO\r\nEHLO  \r\nEHLO a b\r\nEHLO a\x01\r\nEHLO \xc3\xa9\r\n"
			"EHLO  odd_name!\r\nHELO [IPv6:::1]\r\n",
			0, "501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 250 250"},
		{"arguments", 0,
			"EHLO c\r\nRSET x\r\nQUIT now\r\nVRFY\r\nEXPN\r\nSTARTTLS x\r\n"
			"DATA x\r\n",
			0, "250 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4"},
		{"MAIL", 0,
			HELLO "MAIL\r\nMAIL FROM\r\nMAIL FROM:\r\nMAIL FROM: <a@b>\r\n"
			      "MAIL FROM:a@b\r\nMAIL  FROM:<a@b>\r\nMAIL TO:<a@b>\r\n"
			      "MAIL FROM:<a@b\r\nMAIL FROM:<a b@c>\r\nMAIL FROM:<postmaster>\r\n"
			      "MAIL FROM:<a@b>SIZE=1\r\nMAIL FROM:<a@b>x\r\n",
			0,
			"250 501/5.5.2 501/5.5.2 501/5.5.2 501/5.5.2 501/5.5.2 501/5.5.2 501/5.5.2 "
			"501/5.1.7 501/5.1.7 501/5.1.7 501/5.5.4 501/5.5.4"},
		{"RCPT", 0,
			HELLO MAIL "RCPT\r\nRCPT TO:\r\nRCPT TO: <a@b>\r\nRCPT TO:a@b\r\n"
				   "RCPT TO:<>\r\nRCPT TO:<a>\r\nRCPT TO:<a@b>x\r\n",
			0,
			"250 " MAIL_L
			" 501/5.5.2 501/5.5.2 501/5.5.2 501/5.5.2 501/5.1.3 501/5.1.3 "
			"501/5.5.4"},
	};

	play_all(plays, COUNT_OF(plays));
}

Test(smtp_command, order)
{
	static const struct play plays[] = {
		{"before HELO", 0,
			"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSTARTTLS\r\nRSET\r\n" MAIL, 0,
			"503/5.5.1 503/5.5.1 503/5.5.1 503/5.5.1 250/2.0.0 503/5.5.1"},
		{"before MAIL", 0, HELLO "RCPT TO:<c@d>\r\nDATA\r\n", 0, "250 503/5.5.1 503/5.5.1"},
		{"before RCPT", 0, HELLO MAIL "DATA\r\n" RCPT, 0,
			"250 " MAIL_L " 503/5.5.1 " RCPT_L},
		{"MAIL twice", 0, HELLO MAIL MAIL RCPT MAIL, 0,
			"250 " MAIL_L " 503/5.5.1 " RCPT_L " 503/5.5.1"},
		{"RSET", 0, OPEN "RSET\r\nRCPT TO:<c@d>\r\n" MAIL, 0,
			OPEN_L " 250/2.0.0 503/5.5.1 " MAIL_L},
		{"EHLO is RSET", 0, OPEN "EHLO c\r\nDATA\r\n" MAIL, 0,
			OPEN_L " 250 503/5.5.1 " MAIL_L},
		{"a bad EHLO is not", 0, OPEN "EHLO\r\nDATA\r\n.\r\n", 0,
			OPEN_L " 501/5.5.4 BEGIN(data) 354 END() 250/2.0.0"},
		{"the transaction ends with the message", 0, OPEN "DATA\r\n.\r\nDATA\r\n", 0,
			OPEN_L " BEGIN(data) 354 END() 250/2.0.0 503/5.5.1"},
	};

	play_all(plays, COUNT_OF(plays));
}

Test(smtp_command, verdicts)
{
	static const struct play plays[] = {
		{"MAIL refused", 0, HELLO "MAIL FROM:<refused@x>\r\nRCPT TO:<c@d>\r\n" MAIL, 0,
			"250 MAIL(refused@x) 550/5.7.1 503/5.5.1 " MAIL_L},
		{"MAIL closes", 0, HELLO "MAIL FROM:<closed@x>\r\n" MAIL, 0,
			"250 MAIL(closed@x) 421/4.3.2 CLOSE(policy)"},
		{"RCPT refused", 0,
			HELLO MAIL "RCPT TO:<unknown@x>\r\nDATA\r\n" RCPT
				   "RCPT TO:<busy@x>\r\nDATA\r\n.\r\n",
			0,
			"250 " MAIL_L " RCPT(unknown@x) 550/5.1.1 503/5.5.1 " RCPT_L
			" RCPT(busy@x) 450/4.2.1 BEGIN(data) 354 END() 250/2.0.0"},
		{"RCPT closes", 0, HELLO MAIL RCPT "RCPT TO:<closed@x>\r\nDATA\r\n", 0,
			OPEN_L " RCPT(closed@x) 421/4.3.2 CLOSE(policy)"},
		{"DATA refused", 0, HELLO "MAIL FROM:<full@x>\r\n" RCPT "DATA\r\nRSET\r\n" MAIL, 0,
			"250 MAIL(full@x) 250/2.1.0 " RCPT_L
			" BEGIN(data) 452/4.3.1 250/2.0.0 " MAIL_L},
		{"BDAT refused", 0,
			HELLO "MAIL FROM:<full@x>\r\n" RCPT "BDAT 6\r\nQUIT\r\nBDAT 2\r\nxxDATA\r\n"
			      "MAIL FROM:<a@b>\r\nRSET\r\n" MAIL,
			0,
			"250 MAIL(full@x) 250/2.1.0 " RCPT_L " BEGIN(bdat) 452/4.3.1 503/5.5.1 "
			"503/5.5.1 503/5.5.1 250/2.0.0 " MAIL_L},
		{"BDAT LAST refused", 0,
			HELLO "MAIL FROM:<full@x>\r\n" RCPT "BDAT 6 LAST\r\nQUIT\r\n" MAIL, 0,
			"250 MAIL(full@x) 250/2.1.0 " RCPT_L " BEGIN(bdat) 452/4.3.1 " MAIL_L},
		{"not stored", 0,
			HELLO "MAIL FROM:<broken@x>\r\n" RCPT
			      "DATA\r\nx\r\n.\r\nMAIL FROM:<spam@x>\r\n" RCPT
			      "BDAT 1 LAST\r\nx" MAIL,
			0,
			"250 MAIL(broken@x) 250/2.1.0 " RCPT_L
			" BEGIN(data) 354 END(x\\r\\n) 451/4.3.0 "
			"MAIL(spam@x) 250/2.1.0 " RCPT_L
			" BEGIN(bdat) CHUNK(1) END(x) 554/5.7.1 " MAIL_L},
	};

	play_all(plays, COUNT_OF(plays));
}

/* What is answered here must not depend on what the client pipelined behind it. */
Test(smtp_command, pipelining)
{
	static const struct play plays[] = {
		{"a group with refusals", 0,
			HELLO MAIL "RCPT TO:<unknown@x>\r\nRCPT TO:<bad\r\n" RCPT
				   "DATA\r\nx\r\n.\r\n" QUIT,
			0,
			"250 " MAIL_L " RCPT(unknown@x) 550/5.1.1 501/5.1.3 " RCPT_L
			" BEGIN(data) 354 END(x\\r\\n) 250/2.0.0 " QUIT_L},
		{"messages behind messages", 0,
			OPEN "BDAT 1\r\nxBDAT 0 LAST\r\n" MAIL RCPT "DATA\r\n.\r\n" MAIL RCPT
			     "BDAT 3 LAST\r\n.\r\n" QUIT,
			0,
			OPEN_L " BEGIN(bdat) CHUNK(1) 250/2.0.0 END(x) 250/2.0.0 " MAIL_L " " RCPT_L
			       " BEGIN(data) 354 END() 250/2.0.0 " MAIL_L " " RCPT_L
			       " BEGIN(bdat) CHUNK(3) END(.\\r\\n) 250/2.0.0 " QUIT_L},
	};

	play_all(plays, COUNT_OF(plays));
}

Test(smtp_command, other_protocols)
{
	static const struct play plays[] = {
		{"GET", 0, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, "CLOSE(http)"},
		{"POST with commands in its body", 0,
			"POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO c\r\n" MAIL, 0, "CLOSE(http)"},
		{"bare LF", 0, "GET / HTTP/1.0\n\n", 0, "CLOSE(http)"},
		{"HTTP/2", 0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, "CLOSE(http)"},
		{"later, and in a transaction", 0, HELLO MAIL "CONNECT x:25 HTTP/1.1\r\n", 0,
			"250 " MAIL_L " CLOSE(http)"},
		{"between chunks", 0, OPEN "BDAT 1\r\nxPUT / HTTP/1.1\r\n", 0,
			OPEN_L " BEGIN(bdat) CHUNK(1) 250/2.0.0 ABORT CLOSE(http)"},
		{"no method", 0, "GETTING / HTTP/1.1\r\nget x\r\nPRI x\r\n", 0,
			"500/5.5.2 500/5.5.2 500/5.5.2"},
		{"ClientHello", 0, "\x16\x03\x01\x02\x00\x01\x00", 7, "CLOSE(tls)"},
		{"ClientHello without a line end", 0, "\x16\x03", 0, "CLOSE(tls)"},
		{"no ClientHello", 0, "\x16\x04\r\n\x16\x03\r\n", 0, "500/5.5.2 500/5.5.2"},
		{"under TLS", PLAY_TLS, "\x16\x03\r\n", 0, "500/5.5.2"},
		{"where STARTTLS is not offered", PLAY_NO_TLS, "\x16\x03\x03", 0, "CLOSE(tls)"},
	};

	play_all(plays, COUNT_OF(plays));
}

Test(smtp_command, limits)
{
	static const struct play plays[] = {
		{"errors_max", PLAY_ERRORS, "X\r\nX\r\nX\r\nX\r\n", 0,
			"500/5.5.2 500/5.5.2 500/5.5.2 421/4.7.0 CLOSE(errors)"},
		{"refused recipients are errors", PLAY_ERRORS,
			HELLO MAIL "RCPT TO:<unknown@x>\r\nRCPT TO:<unknown@y>\r\n"
				   "RCPT TO:<unknown@z>\r\n" QUIT,
			0,
			"250 " MAIL_L " RCPT(unknown@x) 550/5.1.1 RCPT(unknown@y) 550/5.1.1 "
			"RCPT(unknown@z) 550/5.1.1 421/4.7.0 CLOSE(errors)"},
		{"4xx are not", PLAY_ERRORS,
			HELLO MAIL "RCPT TO:<busy@x>\r\nRCPT TO:<busy@x>\r\nRCPT TO:<busy@x>\r\n"
				   "RCPT TO:<busy@x>\r\n",
			0,
			"250 " MAIL_L " RCPT(busy@x) 450/4.2.1 RCPT(busy@x) 450/4.2.1 "
			"RCPT(busy@x) 450/4.2.1 RCPT(busy@x) 450/4.2.1"},
		{"errors in a message by BDAT", PLAY_ERRORS, OPEN "BDAT 1\r\nxX\r\nX\r\nX\r\nX\r\n",
			0,
			OPEN_L
			" BEGIN(bdat) CHUNK(1) 250/2.0.0 500/5.5.2 500/5.5.2 500/5.5.2 421/4.7.0 "
			"ABORT CLOSE(errors)"},
		{"recipients_max", 0,
			OPEN "RCPT TO:<e@f>\r\nRCPT TO:<g@h>\r\nRCPT TO:<i@j>\r\nDATA\r\n.\r\n", 0,
			OPEN_L " RCPT(e@f) 250/2.1.5 RCPT(g@h) 250/2.1.5 452/4.5.3 BEGIN(data) 354 "
			       "END() 250/2.0.0"},
		{"messages_max", 0,
			HELLO MAIL RCPT "BDAT 0 LAST\r\n" MAIL RCPT "BDAT 0 LAST\r\n" MAIL RCPT
					"BDAT 0 LAST\r\n" MAIL RCPT "BDAT 0 LAST\r\n" MAIL RCPT
					"BDAT 0 LAST\r\n" MAIL,
			0,
			"250 " MAIL_L " " RCPT_L " BEGIN(bdat) END() 250/2.0.0 " MAIL_L " " RCPT_L
			" BEGIN(bdat) END() 250/2.0.0 " MAIL_L " " RCPT_L
			" BEGIN(bdat) END() 250/2.0.0 " MAIL_L " " RCPT_L
			" BEGIN(bdat) END() 250/2.0.0 " MAIL_L " " RCPT_L
			" BEGIN(bdat) END() 250/2.0.0 421/4.7.0 CLOSE(messages)"},
	};

	play_all(plays, COUNT_OF(plays));
}
