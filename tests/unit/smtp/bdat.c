/* SPDX-License-Identifier: MIT */
/* bdat.c -- BDAT: counts, order, chunks that are refused and discarded. */
#include <stdlib.h>

#include <criterion/criterion.h>

#include "tests/unit/smtp/play.h"

#define BDAT_L OPEN_L " BEGIN(bdat)"

Test(smtp_bdat, ordinary)
{
	static const struct play plays[] = {
		{"one chunk", 0, OPEN "BDAT 5 LAST\r\nhello" QUIT, 0,
			BDAT_L " CHUNK(5) END(hello) 250/2.0.0 " QUIT_L},
		{"any case", 0, OPEN "bdat 5 last\r\nhello", 0,
			BDAT_L " CHUNK(5) END(hello) 250/2.0.0"},
		{"three chunks", 0, OPEN "BDAT 2\r\nabBDAT 2\r\ncdBDAT 1 LAST\r\ne", 0,
			BDAT_L
			" CHUNK(2) 250/2.0.0 CHUNK(2) 250/2.0.0 CHUNK(1) END(abcde) 250/2.0.0"},
		{"an empty last chunk", 0, OPEN "BDAT 2\r\nabBDAT 0 LAST\r\n", 0,
			BDAT_L " CHUNK(2) 250/2.0.0 END(ab) 250/2.0.0"},
		{"empty chunks", 0, OPEN "BDAT 0\r\nBDAT 0\r\nBDAT 0 LAST\r\n" QUIT, 0,
			BDAT_L " 250/2.0.0 250/2.0.0 END() 250/2.0.0 " QUIT_L},
		{"octets are taken as they are", 0,
			OPEN "BDAT 19 LAST\r\n.\r\n\r\n.\r\n\n.\n\r.\r\xff\x00z" QUIT,
			sizeof(OPEN "BDAT 19 LAST\r\n.\r\n\r\n.\r\n\n.\n\r.\r\xff\x00z" QUIT) - 1,
			BDAT_L
			" CHUNK(19) END(.\\r\\n\\r\\n.\\r\\n\\n.\\n\\r.\\r\\xff\\x00zQU) 250/2.0.0 "
			"500/5.5.2"},
		{"small commands between chunks", 0,
			OPEN "BDAT 1\r\nxNOOP\r\nBOGUS\r\nBDAT 0 LAST\r\n", 0,
			BDAT_L " CHUNK(1) 250/2.0.0 250/2.0.0 500/5.5.2 END(x) 250/2.0.0"},
		{"a header that is none", 0, OPEN "BDAT 12 LAST\r\n\rx\r\rReceived", 0,
			BDAT_L " CHUNK(12) END(\\rx\\r\\rReceived) 250/2.0.0"},
		{"leading zeros", 0, OPEN "BDAT 0000000000000000000000001 LAST\r\nx", 0,
			BDAT_L " CHUNK(1) END(x) 250/2.0.0"},
	};

	play_all(plays, COUNT_OF(plays));
}

Test(smtp_bdat, aborted)
{
	static const struct play plays[] = {
		{"RSET", 0, OPEN "BDAT 1\r\nxRSET\r\n" MAIL, 0,
			BDAT_L " CHUNK(1) 250/2.0.0 250/2.0.0 ABORT " MAIL_L},
		{"EHLO", 0, OPEN "BDAT 1\r\nxEHLO c\r\n" MAIL, 0,
			BDAT_L " CHUNK(1) 250/2.0.0 250 ABORT " MAIL_L},
		{"QUIT", 0, OPEN "BDAT 1\r\nx" QUIT, 0,
			BDAT_L " CHUNK(1) 250/2.0.0 221/2.0.0 ABORT CLOSE(quit)"},
		{"a count that cannot be read", 0,
			OPEN "BDAT 1\r\nxBDAT y\r\nNOOP\r\nBDAT 1 LAST\r\nx" MAIL, 0,
			BDAT_L " CHUNK(1) 250/2.0.0 501/5.5.4 ABORT 250/2.0.0 503/5.5.1 " MAIL_L},
	};

	play_all(plays, COUNT_OF(plays));
}

Test(smtp_bdat, refused)
{
	static const struct play plays[] = {
		{"before HELO", 0, "BDAT 6\r\nQUIT\r\n" HELLO, 0, "503/5.5.1 250"},
		{"before MAIL", 0, HELLO "BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\n" MAIL, 0,
			"250 503/5.5.1 503/5.5.1 " MAIL_L},
		{"before RCPT: the transaction has failed", 0,
			HELLO MAIL "BDAT 6\r\nQUIT\r\n" RCPT "BDAT 6 LAST\r\nQUIT\r\n" MAIL, 0,
			"250 " MAIL_L " 503/5.5.1 503/5.5.1 503/5.5.1 " MAIL_L},
		{"other commands behind BDAT", 0,
			OPEN "BDAT 1\r\nx" MAIL RCPT "DATA\r\nSTARTTLS\r\nBDAT 0 LAST\r\n", 0,
			BDAT_L " CHUNK(1) 250/2.0.0 503/5.5.1 503/5.5.1 503/5.5.1 503/5.5.1 END(x) "
			       "250/2.0.0"},
		{"syntax", 0,
			HELLO
			"BDAT\r\nBDAT x\r\nBDAT -1\r\nBDAT 1x\r\nBDAT 1 FIRST\r\n"
			"BDAT 1 LAST x\r\nBDAT  1\r\nBDAT 1  LAST\r\nBDAT LAST\r\nBDAT +1\r\n",
			0,
			"250 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 "
			"501/5.5.4 501/5.5.4 501/5.5.4"},
		{"counts beyond 64 bits", 0,
			HELLO
			"BDAT 18446744073709551616\r\nBDAT 99999999999999999999999999 LAST\r\n" QUIT,
			0, "250 501/5.5.4 501/5.5.4 " QUIT_L},
		{"the greatest count is discarded", 0,
			HELLO "BDAT 18446744073709551615\r\nQUIT\r\n", 0, "250"},
	};

	play_all(plays, COUNT_OF(plays));
}

/* message_bytes_max is 1000 here. */
Test(smtp_bdat, size)
{
	static char text[4096];
	struct play play = {"size", 0, text, 0, NULL};
	static const char sizes[][2][64] = {
		{"BDAT 1001 LAST\r\n", " 552/5.3.4 250/2.0.0"},
		{"BDAT 1001\r\n", " 552/5.3.4 250/2.0.0"},
	};

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		static char expected[256];
		int n = sprintf(text, "%s%s", OPEN, sizes[i][0]);

		memset(text + n, 'x', 1001);
		strcpy(text + n + 1001, "NOOP\r\n");
		snprintf(expected, sizeof(expected), "%s%s", OPEN_L, sizes[i][1]);
		play.log = expected;
		play_all(&play, 1);
	}
}

Test(smtp_bdat, size_over_chunks)
{
	static char text[4096];
	static const struct {
		int second;
		const char *log;
	} rows[] = {
		{500, BDAT_L " CHUNK(500) 250/2.0.0 CHUNK(500) END(x"},
		{501, BDAT_L " CHUNK(500) 250/2.0.0 SPOIL(552) 552/5.3.4 250/2.0.0"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int n = sprintf(text, "%sBDAT 500\r\n", OPEN);
		char *log;

		memset(text + n, 'x', 500);
		n += 500;
		n += sprintf(text + n, "BDAT %d LAST\r\n", rows[i].second);
		memset(text + n, 'x', (size_t)rows[i].second);
		strcpy(text + n + rows[i].second, "NOOP\r\n");
		for (size_t piece = 1; piece < 1100; piece += 83) {
			log = play_once(
				PLAY_USUAL, span_str(text), 0, piece, DRIVER_OUT_BYTES, false);
			cr_assert_eq(strncmp(log, rows[i].log, strlen(rows[i].log)), 0, "%s", log);
			free(log);
		}
	}
}
