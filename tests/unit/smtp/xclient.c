/* SPDX-License-Identifier: MIT */
/* xclient.c -- XCLIENT: who may, when, what it says, and what stays of it. */
#include <criterion/criterion.h>

#include "smtp/smtp-private.h"
#include "tests/unit/smtp/play.h"

static struct driver driver;

static void start(bool trusted, enum smtp_tls_offer tls)
{
	driver_init(&driver);
	driver.trusted = trusted;
	driver_open(&driver, tls);
}

#define ADDR "XCLIENT ADDR=192.0.2.7\r\n"
#define SAY(attributes, said)                                                                      \
	{                                                                                          \
		attributes, PLAY_TRUSTED, "XCLIENT " attributes "\r\n", 0, "XCLIENT(" said ") 220" \
	}
#define REFUSED(attributes)                                                                        \
	{                                                                                          \
		attributes, PLAY_TRUSTED, "XCLIENT " attributes "\r\n", 0, "501/5.5.4"             \
	}

Test(smtp_xclient, attributes)
{
	static const struct play plays[] = {
		SAY("ADDR=192.0.2.7", "ADDR=192.0.2.7"),
		SAY("ADDR=IPV6:2001:db8::7", "ADDR=2001:db8::7"),
		SAY("addr=ipv6:::ffff:192.0.2.7", "ADDR=192.0.2.7"),
		SAY("ADDR=[UNAVAILABLE]", "ADDR=?"),
		SAY("PORT=0", "PORT=0"),
		SAY("PORT=65535", "PORT=65535"),
		SAY("PORT=[unavailable]", "PORT=?"),
		SAY("NAME=client_1.example.", "NAME=client_1.example."),
		SAY("NAME=[TEMPUNAVAIL]", "NAME=?"),
		SAY("NAME=[Unavailable]", "NAME=?"),
		SAY("PROTO=smtp", "PROTO=SMTP"),
		SAY("PROTO=ESMTP", "PROTO=ESMTP"),
		SAY("HELO=[192.0.2.7]", "HELO=[192.0.2.7]"),
		SAY("HELO=[UNAVAILABLE]", "HELO=?"),
		SAY("HELO=a+2Bb+3Dc", "HELO=a+b=c"),
		SAY("HELO=+5BUNAVAILABLE+5D", "HELO=?"),
		SAY("DESTADDR=192.0.2.25 DESTPORT=25", "DESTADDR=192.0.2.25,DESTPORT=25"),
		{"LOGIN is not used", PLAY_TRUSTED, "XCLIENT LOGIN=a+C3+A9\r\n", 0,
			"XCLIENT() 220"},
		SAY("NAME=c.example ADDR=192.0.2.7 PORT=4711 PROTO=SMTP HELO=h LOGIN=l "
		    "DESTADDR=192.0.2.25 DESTPORT=25",
			"NAME=c.example,ADDR=192.0.2.7,PORT=4711,PROTO=SMTP,HELO=h,"
			"DESTADDR=192.0.2.25,DESTPORT=25"),
		{"verb and names in any case", PLAY_TRUSTED, "xclient Addr=192.0.2.7\r\n", 0,
			"XCLIENT(ADDR=192.0.2.7) 220"},
	};

	play_all(plays, COUNT_OF(plays));
}

Test(smtp_xclient, refusals)
{
	static const struct play plays[] = {
		REFUSED(""),
		REFUSED("ADDR"),
		REFUSED("ADDR="),
		REFUSED(" ADDR=192.0.2.7"),
		REFUSED("ADDR=192.0.2.7  PORT=1"),
		REFUSED("ADDR=192.0.2.7 ADDR=192.0.2.8"),
		REFUSED("ADDRESS=192.0.2.7"),
		REFUSED("SESSION=1"),
		REFUSED("ADDR=192.0.2"),
		REFUSED("ADDR=192.0.2.07"),
		REFUSED("ADDR=192.0.2.256"),
		REFUSED("ADDR=192.0.2.7+00"),
		REFUSED("ADDR=[192.0.2.7]"),
		REFUSED("ADDR=2001:db8::7"),
		REFUSED("ADDR=IPV6:"),
		REFUSED("ADDR=IPV6:192.0.2.7"),
		REFUSED("ADDR=IPV6:2001:db8::7%eth0"),
		REFUSED("ADDR=IPV6:2001:db8:0:0:0:0:0:0:7"),
		REFUSED("ADDR=[TEMPUNAVAIL]"),
		REFUSED("PORT=65536"),
		REFUSED("PORT=00"),
		REFUSED("PORT=-1"),
		REFUSED("PORT=+31"
			"x"),
		REFUSED("PORT=111111"),
		REFUSED("PROTO=LMTP"),
		REFUSED("HELO=a+20b"),
		REFUSED("HELO=a+0D+0Ab"),
		REFUSED("HELO=a+2"),
		REFUSED("HELO=a+zz"),
		REFUSED("HELO=a=b"),
		REFUSED("NAME=a+E9b"),
		REFUSED("ADDR=192.0.2.7 PORT=x"),
		{"unknown to strangers", PLAY_USUAL, ADDR, 0, "550/5.7.0"},
		{"strangers are not told of syntax", PLAY_USUAL, "XCLIENT X\r\n", 0, "550/5.7.0"},
		{"closed", PLAY_TRUSTED, "XCLIENT NAME=closed\r\nNOOP\r\n", 0,
			"XCLIENT(NAME=closed) 421/4.3.2 CLOSE(policy)"},
	};

	play_all(plays, COUNT_OF(plays));
}

Test(smtp_xclient, order)
{
	static const struct play plays[] = {
		{"after EHLO, which is forgotten", PLAY_TRUSTED, HELLO ADDR MAIL HELLO MAIL, 0,
			"250 XCLIENT(ADDR=192.0.2.7) 220 503/5.5.1 250 " MAIL_L},
		{"in a transaction", PLAY_TRUSTED, HELLO MAIL ADDR RCPT ADDR "RSET\r\n" ADDR, 0,
			"250 " MAIL_L " 503/5.5.1 " RCPT_L " 503/5.5.1 250/2.0.0 "
			"XCLIENT(ADDR=192.0.2.7) 220"},
		{"between two chunks", PLAY_TRUSTED, OPEN "BDAT 1\r\nx" ADDR "BDAT 0 LAST\r\n", 0,
			OPEN_L " BEGIN(bdat) CHUNK(1) 250/2.0.0 503/5.5.1 END(x) 250/2.0.0"},
		{"after a message", PLAY_TRUSTED, OPEN "DATA\r\nx\r\n.\r\n" ADDR HELLO MAIL, 0,
			OPEN_L " BEGIN(data) 354 END(x\\r\\n) 250/2.0.0 "
			       "XCLIENT(ADDR=192.0.2.7) 220 250 " MAIL_L},
		{"several add up", PLAY_TRUSTED,
			"XCLIENT HELO=h PORT=1\r\nXCLIENT NAME=n ADDR=192.0.2.7\r\n"
			"XCLIENT PORT=[UNAVAILABLE]\r\n",
			0,
			"XCLIENT(PORT=1,HELO=h) 220 XCLIENT(NAME=n,ADDR=192.0.2.7,PORT=1,HELO=h) "
			"220 XCLIENT(NAME=,ADDR=192.0.2.7,PORT=?,HELO=h) 220"},
		{"another address is another client", PLAY_TRUSTED,
			"XCLIENT ADDR=192.0.2.7 PORT=1 PROTO=SMTP HELO=h DESTPORT=25\r\n"
			"XCLIENT ADDR=192.0.2.8\r\nXCLIENT PORT=2\r\n"
			"XCLIENT HELO=i ADDR=[UNAVAILABLE]\r\n" ADDR,
			0,
			"XCLIENT(ADDR=192.0.2.7,PORT=1,PROTO=SMTP,HELO=h,DESTPORT=25) 220 "
			"XCLIENT(ADDR=192.0.2.8) 220 XCLIENT(ADDR=192.0.2.8,PORT=2) 220 "
			"XCLIENT(ADDR=?,HELO=i) 220 XCLIENT(ADDR=192.0.2.7) 220"},
		{"the same address again is the same client", PLAY_TRUSTED,
			"XCLIENT ADDR=192.0.2.7 PORT=1 HELO=h\r\n"
			"XCLIENT ADDR=IPV6:::ffff:192.0.2.7 PROTO=SMTP\r\n",
			0,
			"XCLIENT(ADDR=192.0.2.7,PORT=1,HELO=h) 220 "
			"XCLIENT(ADDR=192.0.2.7,PORT=1,PROTO=SMTP,HELO=h) 220"},
		{"a refused one says nothing", PLAY_TRUSTED,
			"XCLIENT PORT=1 HELO=h PROTO=x\r\n" ADDR, 0,
			"501/5.5.4 XCLIENT(ADDR=192.0.2.7) 220"},
		{"STARTTLS is offered still", PLAY_TRUSTED, ADDR HELLO "STARTTLS\r\n", 0,
			"XCLIENT(ADDR=192.0.2.7) 220 250 220/2.0.0 STARTTLS"},
	};

	play_all(plays, COUNT_OF(plays));
}

Test(smtp_xclient, announced_to_the_trusted_only)
{
	start(true, SMTP_TLS_NONE);
	driver_feed_str(&driver, HELLO);
	cr_assert(strstr(driver.replies,
		"\r\n250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n"));
	driver_close(&driver);
	start(false, SMTP_TLS_NONE);
	driver_feed_str(&driver, HELLO);
	cr_assert_null(strstr(driver.replies, "XCLIENT"));
	driver_close(&driver);
}

Test(smtp_xclient, the_reply_is_the_greeting)
{
	start(true, SMTP_TLS_NONE);
	driver_feed_str(&driver, ADDR);
	cr_assert_str_eq(driver.replies, "220 mx.example.org ESMTP Postern\r\n");
	driver_close(&driver);
}

static void helo_is(const char *name, bool esmtp)
{
	cr_assert(span_equal(driver.smtp.helo, span_str(name)), "HELO is \"%.*s\", not \"%s\"",
		(int)driver.smtp.helo.n, (const char *)driver.smtp.helo.p, name);
	cr_assert_eq(smtp_esmtp(&driver.smtp), esmtp, "with HELO %s", name);
}

/* HELO and PROTO are the client's, whatever its proxy says to us. */
Test(smtp_xclient, helo_and_proto_stand)
{
	start(true, SMTP_TLS_NONE);
	driver_feed_str(&driver, HELLO);
	helo_is("c", true);
	driver_feed_str(&driver, ADDR);
	helo_is("", false);
	driver_feed_str(&driver, HELLO);
	helo_is("c", true);
	driver_feed_str(&driver, "XCLIENT HELO=client PROTO=SMTP\r\n");
	helo_is("client", false);
	driver_feed_str(&driver, "EHLO proxy\r\n");
	helo_is("client", false);
	driver_feed_str(&driver, "MAIL FROM:<a@b> SIZE=1\r\nRSET\r\n"); /* ESMTP all the same */
	driver_feed_str(&driver, "XCLIENT HELO=[UNAVAILABLE] PROTO=ESMTP\r\nHELO proxy\r\n");
	helo_is("", true);
	driver_feed_str(&driver, "MAIL FROM:<a@b> SIZE=1\r\n");
	driver_feed_str(&driver, "XCLIENT PROTO=[UNAVAILABLE]\r\n");
	helo_is("", false);
	cr_assert_str_eq(strstr(driver_log(&driver), "MAIL"),
		MAIL_L " 250/2.0.0 XCLIENT(ADDR=192.0.2.7,PROTO=ESMTP,HELO=?) 220 250 555/5.5.4 "
		       "XCLIENT(ADDR=192.0.2.7,PROTO=?,HELO=?) 220");
	driver_close(&driver);
}

Test(smtp_xclient, longest_helo)
{
	static char line[SMTP_LINE_MAX];
	static char name[SMTP_HELO_MAX + 2];

	for (size_t n = SMTP_HELO_MAX; n <= SMTP_HELO_MAX + 1; n++) {
		memset(name, 'h', n);
		snprintf(line, sizeof(line), "XCLIENT HELO=%s\r\n", name);
		start(true, SMTP_TLS_NONE);
		driver_feed_str(&driver, line);
		cr_assert_eq(driver.smtp.helo.n, n == SMTP_HELO_MAX ? n : 0);
		driver_close(&driver);
	}
}

/* What came in clear is not believed after the handshake (RFC 3207 4.2); who may say it stands. */
Test(smtp_xclient, starttls_forgets)
{
	start(true, SMTP_TLS_OFFERED);
	driver.upgrade = true;
	driver_feed_str(&driver, "XCLIENT ADDR=192.0.2.7 HELO=client PROTO=SMTP\r\n" HELLO);
	driver_feed_str(&driver, "STARTTLS\r\n");
	helo_is("", false);
	cr_assert_eq(driver.smtp.client.given, 0);
	driver_feed_str(&driver, HELLO "XCLIENT PORT=1\r\n");
	cr_assert_str_eq(
		strstr(driver_log(&driver), "STARTTLS"), "STARTTLS 250 XCLIENT(PORT=1) 220");
	driver_close(&driver);
}

/* Errors count, and a proxy that goes on too long is shown the door like anybody. */
Test(smtp_xclient, errors_count)
{
	driver_init(&driver);
	driver.settings.errors_max = 2;
	driver_open(&driver, SMTP_TLS_NONE);
	driver_feed_str(&driver, ADDR ADDR);
	cr_assert_str_eq(driver_log(&driver), "550/5.7.0 550/5.7.0 421/4.7.0 CLOSE(errors)");
	driver_close(&driver);
}

/* What a command says lies in the arena, and that goes back whether it was taken or refused. */
Test(smtp_xclient, memory_is_given_back)
{
	start(true, SMTP_TLS_NONE);
	driver_feed_str(&driver, "XCLIENT NAME=n HELO=h\r\n");
	cr_assert_eq(driver.pools.arenas.live, 0);
	driver_feed_str(&driver, "XCLIENT NAME=n HELO=+\r\n");
	cr_assert_eq(driver.pools.arenas.live, 0);
	driver.pools.arenas.max = 0;
	driver_feed_str(&driver, "XCLIENT NAME=n\r\n");
	cr_assert_str_eq(strstr(driver_log(&driver), "501"), "501/5.5.4 451/4.3.0");
	driver_close(&driver);
}
