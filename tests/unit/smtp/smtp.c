/* SPDX-License-Identifier: MIT */
/* smtp.c -- the machine: greeting, EHLO's list, STARTTLS, the last reply, FULL, memory given back.
 */
#include <signal.h>

#include <criterion/criterion.h>

#include "smtp/smtp-private.h"
#include "tests/unit/smtp/play.h"

static struct driver driver;

static void start(enum smtp_tls_offer tls)
{
	driver_init(&driver);
	driver_open(&driver, tls);
}

Test(smtp_smtp, greeting)
{
	struct buf out;

	start(SMTP_TLS_NONE);
	buf_init(&out, driver.out_bytes, DRIVER_OUT_BYTES);
	smtp_greet(&driver.smtp, &out);
	cr_assert(span_equal(buf_span(&out), span_str("220 mx.example.org ESMTP Postern\r\n")));
	driver_close(&driver);
}

#define LIST(starttls)                                                                             \
	"250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 1000\r\n" starttls                       \
	"250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n"              \
	"250-BINARYMIME\r\n250-DSN\r\n250 LIMITS RCPTMAX=3 MAILMAX=5\r\n"

Test(smtp_smtp, ehlo_list)
{
	static const struct {
		enum smtp_tls_offer tls;
		const char *text;
	} rows[] = {
		{SMTP_TLS_NONE, LIST("")},
		{SMTP_TLS_OFFERED, LIST("250-STARTTLS\r\n")},
		{SMTP_TLS_ACTIVE, LIST("250-REQUIRETLS\r\n")},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		start(rows[i].tls);
		driver_feed_str(&driver, HELLO);
		cr_assert_str_eq(driver.replies, rows[i].text);
		driver_close(&driver);
	}
	start(SMTP_TLS_OFFERED);
	driver_feed_str(&driver, "HELO c\r\n");
	cr_assert_str_eq(driver.replies, "250 mx.example.org\r\n");
	driver_close(&driver);
}

/* The longest host name and numbers leave room in SMTP_REPLY_MAX. */
Test(smtp_smtp, ehlo_longest)
{
	static char host[256];

	memset(host, 'm', 255);
	driver_init(&driver);
	driver.settings = (struct smtp_settings){.hostname = host,
		.message_bytes_max = UINT64_MAX,
		.recipients_max = UINT32_MAX,
		.errors_max = 20,
		.messages_max = UINT32_MAX,
		.hops_max = 50};
	driver.out_cap = SMTP_REPLY_MAX;
	driver_open(&driver, SMTP_TLS_OFFERED);
	driver_feed_str(&driver, HELLO);
	cr_assert(strstr(driver.replies, "250 LIMITS RCPTMAX=999999 MAILMAX=999999\r\n") != NULL);
	driver_close(&driver);
}

Test(smtp_smtp, starttls)
{
	static const struct play plays[] = {
		{"offered", 0, HELLO "STARTTLS\r\n", 0, "250 220/2.0.0 STARTTLS"},
		{"with an argument", 0, HELLO "STARTTLS now\r\n", 0, "250 501/5.5.4"},
		{"in a transaction", 0, HELLO MAIL "STARTTLS\r\n" RCPT "STARTTLS\r\n", 0,
			"250 " MAIL_L " 503/5.5.1 " RCPT_L " 503/5.5.1"},
		{"not offered", PLAY_NO_TLS, HELLO "STARTTLS\r\n", 0, "250 502/5.5.1"},
		{"already active", PLAY_TLS, HELLO "STARTTLS\r\n", 0, "250 503/5.5.1"},
		{"what is behind it is not looked at", 0, HELLO "STARTTLS\r\nMAIL FROM:<a@b>\r\n",
			0, "250 220/2.0.0 STARTTLS"},
	};

	play_all(plays, COUNT_OF(plays));
	start(SMTP_TLS_OFFERED);
	driver_feed_str(&driver, HELLO "STARTTLS\r\nN");
	cr_assert(driver.injected);
	driver_close(&driver);
}

Test(smtp_smtp, starttls_refused)
{
	static const struct smtp_verdict later = {
		SMTP_VERDICT_REFUSE, 454, "4.7.0", "TLS not available now"};
	static const struct smtp_verdict away = {SMTP_VERDICT_CLOSE, 421, "4.7.0", "Too many"};

	start(SMTP_TLS_OFFERED);
	driver.starttls = &later;
	driver_feed_str(&driver, HELLO "STARTTLS\r\n" MAIL);
	cr_assert_str_eq(driver_log(&driver), "250 454/4.7.0 " MAIL_L);
	driver_close(&driver);
	start(SMTP_TLS_OFFERED);
	driver.starttls = &away;
	driver_feed_str(&driver, HELLO "STARTTLS\r\n" MAIL);
	cr_assert_str_eq(driver_log(&driver), "250 421/4.7.0 CLOSE(policy)");
	driver_close(&driver);
}

Test(smtp_smtp, upgraded_forgets)
{
	start(SMTP_TLS_OFFERED);
	driver.upgrade = true;
	driver_feed_str(&driver, "EHLO before\r\n");
	cr_assert(span_equal(driver.smtp.helo, span_str("before")));
	driver_feed_str(&driver, "STARTTLS\r\n");
	cr_assert_not(driver.injected);
	cr_assert_eq(driver.smtp.helo.n, 0);
	cr_assert_not(driver.smtp.esmtp);
	cr_assert_eq(driver.smtp.state, SMTP_STATE_START);
	for (size_t i = 0; i < sizeof(driver.smtp.helo_short); i++)
		cr_assert_eq(driver.smtp.helo_short[i], '\0');
	driver_feed_str(&driver, MAIL "EHLO after\r\nSTARTTLS\r\n" MAIL);
	cr_assert_str_eq(
		driver_log(&driver), "250 220/2.0.0 STARTTLS 503/5.5.1 250 503/5.5.1 " MAIL_L);
	cr_assert(strstr(strstr(driver.replies, "220 2.0.0"), "STARTTLS\r\n250-") == NULL,
		"not offered again");
	cr_assert(span_equal(driver.smtp.helo, span_str("after")));
	driver_close(&driver);
}

static void helo_of(size_t n)
{
	static char name[SMTP_HELO_MAX + 1];
	static char line[SMTP_HELO_MAX + 16];

	memset(name, 'a' + (int)(n % 26), n);
	name[n] = '\0';
	snprintf(line, sizeof(line), "EHLO %s\r\n", name);
	driver_feed_str(&driver, line);
	name[n > SMTP_HELO_SHORT && driver.pools.names.max == 0 ? SMTP_HELO_SHORT : n] = '\0';
	cr_assert(span_equal(driver.smtp.helo, span_str(name)), "%zu octets", n);
}

/* Room beside the session is taken for long names only, and only while there is one. */
Test(smtp_smtp, helo_lengths)
{
	static const size_t rows[] = {1, SMTP_HELO_SHORT, SMTP_HELO_SHORT + 1, SMTP_HELO_MAX,
		SMTP_HELO_SHORT + 1, SMTP_HELO_SHORT, SMTP_HELO_MAX};

	start(SMTP_TLS_OFFERED);
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		helo_of(rows[i]);
		cr_assert_eq(driver.pools.names.live, rows[i] > SMTP_HELO_SHORT);
	}
	driver.upgrade = true;
	driver_feed_str(&driver, "STARTTLS\r\n");
	cr_assert_eq(driver.pools.names.live, 0);
	helo_of(SMTP_HELO_MAX);
	driver_close(&driver);
}

Test(smtp_smtp, helo_without_memory)
{
	start(SMTP_TLS_NONE);
	driver.pools.names.max = 0;
	helo_of(SMTP_HELO_SHORT);
	helo_of(SMTP_HELO_MAX);
	driver_close(&driver);
}

Test(smtp_smtp, public_members)
{
	start(SMTP_TLS_NONE);
	driver_feed_str(
		&driver, "BOGUS\r\nEHLO client\r\n" MAIL RCPT "RCPT TO:<e@f>\r\nDATA\r\nxy");
	cr_assert(span_equal(driver.smtp.helo, span_str("client")));
	cr_assert(driver.smtp.esmtp);
	cr_assert(smtp_in_body(&driver.smtp) && smtp_in_message(&driver.smtp));
	cr_assert_eq(driver.smtp.body_bytes, 2);
	cr_assert_not(driver.smtp.header_over);
	driver_feed_str(&driver, "\r\n\r\n");
	cr_assert(driver.smtp.header_over);
	driver_feed_str(&driver, ".\r\nHELO again\r\n");
	cr_assert_not(smtp_in_body(&driver.smtp) || smtp_in_message(&driver.smtp));
	cr_assert_not(driver.smtp.esmtp);
	cr_assert_eq(driver.smtp.errors, 1);
	cr_assert_eq(driver.smtp.messages, 1);
	cr_assert_eq(driver.smtp.recipients_seen, 2);
	driver_feed_str(&driver, MAIL RCPT "DATA\r\n\n");
	cr_assert(smtp_in_body(&driver.smtp), "spoiled octets are a body");
	cr_assert_not(smtp_in_message(&driver.smtp), "but no message");
	cr_assert_eq(driver.smtp.spoil_code, 554);
	driver_close(&driver);
}

/* END: the envelope stays until the next step, the verdict's text is the reply's. */
Test(smtp_smtp, end_answer)
{
	static const struct smtp_verdict queued = {.text = "queued as 77"};
	static const char text[] = OPEN "DATA\r\nx\r\n.\r\n";
	struct span in = span_str(text);
	struct smtp_event event;
	struct buf out;

	start(SMTP_TLS_NONE);
	buf_init(&out, driver.out_bytes, DRIVER_OUT_BYTES);
	for (int i = 0; i < 4; i++) {
		event = smtp_step(&driver.smtp, &in, &out);
		if (event.kind != SMTP_EVENT_BODY)
			smtp_answer(&driver.smtp, &(struct smtp_verdict){0}, &out);
	}
	event = smtp_step(&driver.smtp, &in, &out);
	cr_assert_eq(event.kind, SMTP_EVENT_END);
	buf_clear(&out);
	smtp_answer(&driver.smtp, &queued, &out);
	cr_assert(span_equal(buf_span(&out), span_str("250 2.0.0 queued as 77\r\n")));
	cr_assert_eq(driver.smtp.envelope.recipients_n, 1);
	cr_assert(span_equal(driver.smtp.envelope.reverse_path.text, span_str("a@b")));
	cr_assert_eq(driver.smtp.body_bytes, 3);
	event = smtp_step(&driver.smtp, &in, &out);
	cr_assert_eq(event.kind, SMTP_EVENT_MORE);
	cr_assert_eq(driver.smtp.envelope.recipients_n, 0);
	cr_assert_eq(driver.pools.arenas.live, 0);
	driver_close(&driver);
}

Test(smtp_smtp, full)
{
	struct span in = span_str("NOOP\r\nNOOP\r\n");
	struct smtp_event event;
	struct buf out;

	start(SMTP_TLS_NONE);
	buf_init(&out, driver.out_bytes, SMTP_REPLY_MAX);
	event = smtp_step(&driver.smtp, &in, &out);
	cr_assert_eq(event.kind, SMTP_EVENT_FULL);
	cr_assert_eq(in.n, 6, "the second command was not taken");
	buf_clear(&out);
	event = smtp_step(&driver.smtp, &in, &out);
	cr_assert_eq(in.n, 0);
	cr_assert_eq(buf_len(&out), strlen("250 2.0.0 Ok\r\n"));
	driver_close(&driver);
}

Test(smtp_smtp, final_reply)
{
	static const struct smtp_verdict timeout = {SMTP_VERDICT_CLOSE, 421, "4.4.2", "Too slow"};
	struct span in = span_str("NOOP\r\n");
	struct smtp_event event;
	struct buf out;

	start(SMTP_TLS_NONE);
	driver_feed_str(&driver, OPEN "BDAT 1\r\nx");
	buf_init(&out, driver.out_bytes, DRIVER_OUT_BYTES);
	smtp_reply_final(&driver.smtp, &out, &timeout);
	cr_assert(span_equal(buf_span(&out), span_str("421 4.4.2 Too slow\r\n")));
	smtp_reply_final(&driver.smtp, &out, &timeout);
	cr_assert(span_equal(buf_span(&out), span_str("421 4.4.2 Too slow\r\n")), "only once");
	event = smtp_step(&driver.smtp, &in, &out);
	cr_assert_eq(event.kind, SMTP_EVENT_ABORT);
	for (int i = 0; i < 2; i++) {
		event = smtp_step(&driver.smtp, &in, &out);
		cr_assert_eq(event.kind, SMTP_EVENT_CLOSE);
		cr_assert_eq(event.reason, SMTP_CLOSE_POLICY);
	}
	cr_assert_eq(in.n, 6, "nothing was taken");
	buf_init(&out, driver.out_bytes, 10);
	driver_close(&driver);
	start(SMTP_TLS_NONE);
	smtp_reply_final(&driver.smtp, &out, &timeout);
	cr_assert_eq(buf_len(&out), 0, "no room, no reply");
	driver_close(&driver);
}

Test(smtp_smtp, close_in_the_middle)
{
	static const char *const inputs[] = {
		"NO", OPEN "DATA\r\nx", OPEN "BDAT 5\r\nx", HELLO MAIL, "x\ny", "BDAT 9\r\nx"};

	for (size_t i = 0; i < COUNT_OF(inputs); i++) {
		start(SMTP_TLS_NONE);
		driver_feed_str(&driver, inputs[i]);
		driver_close(&driver); /* asserts that the pools are whole */
	}
}

Test(smtp_smtp, chunk_moved)
{
	struct span in = span_str(OPEN "BDAT 20 LAST\r\nA: b\r\n\r\n");
	struct smtp_event event;
	struct buf out;

	start(SMTP_TLS_NONE);
	buf_init(&out, driver.out_bytes, DRIVER_OUT_BYTES);
	do {
		event = smtp_step(&driver.smtp, &in, &out);
		if (event.kind == SMTP_EVENT_MAIL || event.kind == SMTP_EVENT_RCPT ||
			event.kind == SMTP_EVENT_BEGIN)
			smtp_answer(&driver.smtp, &(struct smtp_verdict){0}, &out);
	} while (event.kind != SMTP_EVENT_MORE);
	cr_assert(driver.smtp.header_over);
	cr_assert_eq(driver.smtp.chunk_left, 12);
	smtp_chunk_moved(&driver.smtp, 5);
	smtp_chunk_moved(&driver.smtp, 7);
	cr_assert_eq(driver.smtp.body_bytes, 20);
	event = smtp_step(&driver.smtp, &in, &out);
	cr_assert_eq(event.kind, SMTP_EVENT_END);
	driver_close(&driver);
}

Test(smtp_smtp, replies)
{
	for (int i = SMTP_REPLY_NONE + 1; i < SMTP_REPLY_COUNT; i++) {
		const struct smtp_verdict *row = smtp_reply_row((enum smtp_reply)i);

		cr_assert(row->code >= 200 && row->code < 600 && row->text != NULL, "row %d", i);
		cr_assert_leq(strlen(row->text), 100);
		if (row->code / 100 == 3)
			cr_assert_null(row->enhanced);
		else
			cr_assert(row->enhanced[0] == '0' + row->code / 100 &&
					  row->enhanced[1] == '.',
				"row %d", i);
	}
}

/* A coordinator's text that is too long is cut: an error and a 421 fit SMTP_REPLY_MAX. */
Test(smtp_smtp, long_verdict)
{
	static char text[2000];
	struct smtp_verdict verdict = {SMTP_VERDICT_REFUSE, 550, "5.7.1", text};
	struct span in = span_str(HELLO MAIL);
	struct smtp_event event;
	struct buf out;

	memset(text, 'x', sizeof(text) - 1);
	driver_init(&driver);
	driver.settings.errors_max = 1;
	driver_open(&driver, SMTP_TLS_NONE);
	buf_init(&out, driver.out_bytes, DRIVER_OUT_BYTES);
	event = smtp_step(&driver.smtp, &in, &out);
	cr_assert_eq(event.kind, SMTP_EVENT_MAIL);
	buf_init(&out, driver.out_bytes, SMTP_REPLY_MAX);
	smtp_answer(&driver.smtp, &verdict, &out);
	cr_assert(memmem(driver.out_bytes, buf_len(&out), "\r\n421 4.7.0", 11) != NULL);
	cr_assert_leq(
		(size_t)((uint8_t *)memchr(driver.out_bytes, '\n', 600) - driver.out_bytes), 511);
	event = smtp_step(&driver.smtp, &in, &out);
	cr_assert_eq(event.kind, SMTP_EVENT_CLOSE);
	driver_close(&driver);
}

Test(smtp_smtp, illegal_transition, .signal = SIGABRT)
{
	start(SMTP_TLS_NONE);
	smtp_state_set(&driver.smtp, SMTP_STATE_DATA);
}

Test(smtp_smtp, answer_without_question, .signal = SIGABRT)
{
	struct buf out;

	start(SMTP_TLS_NONE);
	buf_init(&out, driver.out_bytes, DRIVER_OUT_BYTES);
	smtp_answer(&driver.smtp, &(struct smtp_verdict){0}, &out);
}

Test(smtp_smtp, step_after_starttls, .signal = SIGABRT)
{
	struct span in = span_str("NOOP\r\n");
	struct smtp_event event;
	struct buf out;

	start(SMTP_TLS_OFFERED);
	driver_feed_str(&driver, HELLO "STARTTLS\r\n");
	buf_init(&out, driver.out_bytes, DRIVER_OUT_BYTES);
	event = smtp_step(&driver.smtp, &in, &out);
	cr_assert_neq(event.kind, SMTP_EVENT_MAIL);
}
