/* SPDX-License-Identifier: MIT */
/* param.c -- parameters of MAIL and RCPT: what each reads, what is refused, and the envelope. */
#include <criterion/criterion.h>

#include "smtp/smtp-private.h"
#include "tests/unit/smtp/play.h"

#define X10  "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10

static struct driver driver;

/* The last token of the log after "EHLO, lead, line". */
static void expect(const char *hello, const char *lead, const char *line, const char *code)
{
	const char *log;
	const char *last;

	driver_init(&driver);
	driver_open(&driver, SMTP_TLS_NONE);
	driver_feed_str(&driver, hello);
	driver_feed_str(&driver, lead);
	driver_feed_str(&driver, line);
	driver_feed_str(&driver, "\r\n");
	log = driver_log(&driver);
	last = strrchr(log, ' ');
	cr_assert_str_eq(last == NULL ? log : last + 1, code, "%s: %s", line, log);
	driver_close(&driver);
}

Test(smtp_param, mail)
{
	static const struct {
		const char *params;
		const char *code;
	} rows[] = {
		{"", "250/2.1.0"},
		{" SIZE=0", "250/2.1.0"},
		{" SIZE=1000", "250/2.1.0"},
		{" size=00000000000000001000", "250/2.1.0"},
		{" SIZE=1001", "552/5.3.4"},
		{" SIZE=18446744073709551615", "552/5.3.4"},
		{" SIZE=18446744073709551616", "552/5.3.4"},
		{" SIZE=99999999999999999999", "552/5.3.4"},
		{" SIZE=000000000000000000001", "501/5.5.4"},
		{" SIZE=x", "501/5.5.4"},
		{" SIZE=-1", "501/5.5.4"},
		{" SIZE=1k", "501/5.5.4"},
		{" SIZE=", "501/5.5.4"},
		{" SIZE", "501/5.5.4"},
		{" BODY=7BIT", "250/2.1.0"},
		{" BODY=8bitmime", "250/2.1.0"},
		{" BODY=BINARYMIME", "250/2.1.0"},
		{" BODY=9BIT", "501/5.5.4"},
		{" BODY", "501/5.5.4"},
		{" SMTPUTF8", "250/2.1.0"},
		{" SMTPUTF8=yes", "501/5.5.4"},
		{" REQUIRETLS", "530/5.7.10"},
		{" RET=FULL", "250/2.1.0"},
		{" RET=hdrs", "250/2.1.0"},
		{" RET=NONE", "501/5.5.4"},
		{" ENVID=a+20b", "250/2.1.0"},
		{" ENVID=" X100, "250/2.1.0"},
		{" ENVID=" X100 "x", "501/5.5.4"},
		{" ENVID=a+2", "501/5.5.4"},
		{" ENVID=a+0D+0A", "501/5.5.4"},
		{" ENVID=a+2b", "501/5.5.4"},
		{" ENVID=a=b", "501/5.5.4"},
		{" ENVID=\xc3\xa9", "501/5.5.4"},
		{" SIZE=1 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=x", "250/2.1.0"},
		{" SIZE=1 SIZE=1", "501/5.5.4"},
		{" size=1 BODY=7BIT SIZE=1", "501/5.5.4"},
		{" SMTPUTF8 SMTPUTF8", "501/5.5.4"},
		{" AUTH=<>", "555/5.5.4"},
		{" NOTIFY=NEVER", "555/5.5.4"},
		{" X-NEW", "555/5.5.4"},
		{" -X", "501/5.5.4"},
		{" X_Y", "501/5.5.4"},
		{" =1", "501/5.5.4"},
		{"  SIZE=1", "501/5.5.4"},
		{" SIZE=1  BODY=7BIT", "501/5.5.4"},
		{" X=\xff", "501/5.5.4"},
		{" X=a\tb", "501/5.5.4"},
		{" X=a\x7f", "501/5.5.4"},
	};
	char line[512];

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		snprintf(line, sizeof(line), "MAIL FROM:<a@b>%s", rows[i].params);
		expect(HELLO, "", line, rows[i].code);
	}
}

Test(smtp_param, rcpt)
{
	static const struct {
		const char *params;
		const char *code;
	} rows[] = {
		{" NOTIFY=NEVER", "250/2.1.5"},
		{" NOTIFY=success,Failure,DELAY", "250/2.1.5"},
		{" NOTIFY=DELAY", "250/2.1.5"},
		{" NOTIFY=NEVER,DELAY", "501/5.5.4"},
		{" NOTIFY=DELAY,NEVER", "501/5.5.4"},
		{" NOTIFY=DELAY,DELAY", "501/5.5.4"},
		{" NOTIFY=NEVER,NEVER", "501/5.5.4"},
		{" NOTIFY=DELAY,", "501/5.5.4"},
		{" NOTIFY=,DELAY", "501/5.5.4"},
		{" NOTIFY=ALWAYS", "501/5.5.4"},
		{" NOTIFY", "501/5.5.4"},
		{" ORCPT=rfc822;a@b", "250/2.1.5"},
		{" ORCPT=rfc822;a+2Bb@c+3Dd", "250/2.1.5"},
		{" ORCPT=x-type;anything", "250/2.1.5"},
		{" ORCPT=utf-8;\\x{E9}@b", "250/2.1.5"},
		{" ORCPT=utf-8;a\\x{10FFFF}", "250/2.1.5"},
		{" ORCPT=utf-8;\\x{}", "501/5.5.4"},
		{" ORCPT=utf-8;\\x{e9}", "501/5.5.4"},
		{" ORCPT=utf-8;\\x{1234567}", "501/5.5.4"},
		{" ORCPT=utf-8;\\x{E9", "501/5.5.4"},
		{" ORCPT=utf-8;\\", "501/5.5.4"},
		{" ORCPT=utf-8;a+2B", "501/5.5.4"},
		{" ORCPT=utf-8;\xc3\xa9", "501/5.5.4"},
		{" ORCPT=rfc822;\xc3\xa9", "501/5.5.4"},
		{" ORCPT=rfc822", "501/5.5.4"},
		{" ORCPT=rfc822;", "501/5.5.4"},
		{" ORCPT=;a@b", "501/5.5.4"},
		{" ORCPT=rfc@822;a@b", "501/5.5.4"},
		{" ORCPT=rfc822;a+0Ab", "501/5.5.4"},
		{" ORCPT=rfc822;a+7F", "501/5.5.4"},
		{" ORCPT=rfc822;" X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 "xxx",
			"250/2.1.5"},
		{" ORCPT=rfc822;" X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 "xxxx",
			"501/5.5.4"},
		{" NOTIFY=NEVER ORCPT=rfc822;a@b", "250/2.1.5"},
		{" NOTIFY=NEVER NOTIFY=NEVER", "501/5.5.4"},
		{" SIZE=1", "555/5.5.4"},
	};
	char line[1024];

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		snprintf(line, sizeof(line), "RCPT TO:<c@d>%s", rows[i].params);
		expect(HELLO, MAIL, line, rows[i].code);
	}
}

Test(smtp_param, utf8)
{
	expect(HELLO, "", "MAIL FROM:<\xc3\xa9@b>", "553/5.6.7");
	expect(HELLO, "", "MAIL FROM:<\xc3\xa9@b> SMTPUTF8", "250/2.1.0");
	expect(HELLO, "", "MAIL FROM:<\xe9@b> SMTPUTF8", "501/5.1.7");
	expect(HELLO, MAIL, "RCPT TO:<\xc3\xa9@b>", "553/5.6.7");
	expect(HELLO, "MAIL FROM:<a@b> SMTPUTF8\r\n", "RCPT TO:<\xc3\xa9@b>", "250/2.1.5");
	expect(HELLO, "MAIL FROM:<a@b> SMTPUTF8\r\n", "RCPT TO:<a@b\xc3>", "501/5.1.3");
	expect(HELLO, "MAIL FROM:<a@b> SMTPUTF8\r\n", "RCPT TO:<a@b> ORCPT=utf-8;\xc3\xa9",
		"250/2.1.5");
}

Test(smtp_param, only_with_ehlo)
{
	expect("HELO c\r\n", "", "MAIL FROM:<a@b> SIZE=1", "555/5.5.4");
	expect("HELO c\r\n", MAIL, "RCPT TO:<a@b> NOTIFY=NEVER", "555/5.5.4");
	expect("HELO c\r\n", MAIL, "RCPT TO:<a@b>", "250/2.1.5");
}

Test(smtp_param, envelope)
{
	const struct smtp_envelope *envelope = &driver.smtp.envelope;
	const struct smtp_recipient *recipient;

	driver_init(&driver);
	driver_open(&driver, SMTP_TLS_NONE);
	driver_feed_str(&driver, HELLO
		"MAIL FROM:<\"a b\"@[1.2.3.4]> SIZE=77 BODY=BINARYMIME SMTPUTF8 RET=HDRS ENVID=e+2B\r\n"
		"RCPT TO:<@r:c@d> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@y\r\n"
		"RCPT TO:<unknown@d>\r\nRCPT TO:<Postmaster>\r\n");
	cr_assert(span_equal(envelope->reverse_path.text, span_str("\"a b\"@[1.2.3.4]")));
	cr_assert(span_equal(envelope->reverse_path.local, span_str("\"a b\"")));
	cr_assert(span_equal(envelope->reverse_path.domain, span_str("[1.2.3.4]")));
	cr_assert_eq(envelope->size, 77);
	cr_assert_eq(envelope->body, SMTP_BODY_BINARYMIME);
	cr_assert(envelope->smtputf8);
	cr_assert_eq(envelope->ret, SMTP_RET_HDRS);
	cr_assert(span_equal(envelope->envid, span_str("e+2B")));
	cr_assert_eq(envelope->recipients_n, 2);
	recipient = container_of(envelope->recipients.next, struct smtp_recipient, node);
	cr_assert(span_equal(recipient->address.text, span_str("c@d")));
	cr_assert_eq(recipient->notify, SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY);
	cr_assert(span_equal(recipient->orcpt, span_str("rfc822;x@y")));
	recipient = container_of(recipient->node.next, struct smtp_recipient, node);
	cr_assert(span_equal(recipient->address.text, span_str("Postmaster")));
	cr_assert_eq(recipient->address.domain.n, 0);
	cr_assert_eq(recipient->notify, 0);
	cr_assert_eq(recipient->node.next, &envelope->recipients);
	driver_feed_str(&driver, "RSET\r\n");
	cr_assert_eq(driver.pools.arenas.live, 0, "the transaction's memory is given back");
	cr_assert_eq(envelope->recipients_n, 0);
	cr_assert(list_empty(&envelope->recipients));
	cr_assert_not(envelope->smtputf8);
	driver_close(&driver);
}

/* Without memory there is a 451, and the session goes on. */
Test(smtp_param, memory)
{
	void *held[8192];
	size_t n = 0;

	driver_init(&driver);
	driver_open(&driver, SMTP_TLS_NONE);
	driver_feed_str(&driver, HELLO);
	while (n < COUNT_OF(held) && (held[n] = pool_get(&driver.pools.arenas)) != NULL)
		n++;
	cr_assert_lt(n, COUNT_OF(held));
	driver_feed_str(&driver, MAIL);
	pool_put(&driver.pools.arenas, held[--n]);
	driver_feed_str(&driver, MAIL);
	cr_assert(arena_alloc(&driver.smtp.arena, 4000) != NULL);
	driver_feed_str(&driver, RCPT "NOOP\r\n");
	cr_assert_str_eq(driver_log(&driver), "250 451/4.3.0 " MAIL_L " 451/4.3.0 250/2.0.0");
	driver_feed_str(&driver, "RSET\r\n");
	while (n > 0)
		pool_put(&driver.pools.arenas, held[--n]);
	driver_close(&driver);
}
