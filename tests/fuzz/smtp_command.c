/* SPDX-License-Identifier: MIT */
/*
 * smtp_command.c -- one argument as HELO's, MAIL's, RCPT's and XCLIENT's, and what became of it.
 *
 * What was accepted must be what a spool, a log and a header can live with: lengths, no control
 * characters, valid UTF-8, an address that reads the same again, and a trace header in which the
 * name from HELO breaks nothing.
 */
#include <stdlib.h>

#include "smtp/smtp-private.h"
#include "tests/unit/smtp/driver.c"

#define ARGUMENT_MAX 1800

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void address_check(const struct smtp_address *address, bool null_allowed)
{
	char text[320];
	struct smtp_address again;
	struct span rest;
	int n;

	ASSERT(address->text.n <= 254 && address->local.n <= 64 && address->domain.n <= 255);
	ASSERT(smtp_utf8_valid(address->text));
	for (size_t i = 0; i < address->text.n; i++)
		ASSERT(address->text.p[i] >= ' ' && address->text.p[i] != 0x7f);
	n = snprintf(
		text, sizeof(text), "<%.*s>", (int)address->text.n, (const char *)address->text.p);
	rest = span_of(text, (size_t)n);
	ASSERT(smtp_path_take(&rest, null_allowed, &again) && rest.n == 0);
	ASSERT(span_equal(again.text, address->text) && again.utf8 == address->utf8);
	ASSERT(span_equal(again.local, address->local) &&
		span_equal(again.domain, address->domain));
}

/* One header field: whole lines of at most 998 octets, printable, the further ones folded. */
static void field_check(struct span rest)
{
	for (size_t lines = 0; rest.n > 0; lines++) {
		const uint8_t *lf = memchr(rest.p, '\n', rest.n);
		struct span line = span_take(&rest, (size_t)(lf - rest.p) + 1);

		ASSERT(line.n > 2 && line.p[line.n - 2] == '\r' && line.n <= 998);
		ASSERT(lines < 1 ? line.p[0] == 'R' : line.p[0] == '\t');
		for (size_t i = lines < 1 ? 0 : 1; i < line.n - 2; i++)
			ASSERT(line.p[i] >= ' ' && line.p[i] != 0x7f);
	}
}

static void trace_check(struct driver *driver)
{
	const struct smtp_trace trace = {
		.hostname = "mx.example.org",
		.helo = driver->smtp.helo,
		.peer_address = "2001:db8::1",
		.esmtp = smtp_esmtp(&driver->smtp),
		.smtputf8 = driver->smtp.envelope.smtputf8,
		.queue_id = "1",
		.envelope = &driver->smtp.envelope,
	};
	char text[SMTP_TRACE_MAX];
	struct buf out;

	buf_init(&out, text, sizeof(text));
	ASSERT(smtp_trace_write(&out, &trace));
	field_check(buf_span(&out));
	buf_init(&out, text, SMTP_RETURN_PATH_MAX);
	ASSERT(smtp_return_path_write(&out, &driver->smtp.envelope.reverse_path));
	field_check(buf_span(&out));
}

static void envelope_check(struct driver *driver)
{
	const struct smtp_envelope *envelope = &driver->smtp.envelope;

	if (driver->smtp.state != SMTP_STATE_MAIL && driver->smtp.state != SMTP_STATE_RCPT)
		return;
	address_check(&envelope->reverse_path, true);
	ASSERT(smtp_xtext_valid(envelope->envid) && envelope->envid.n <= 100);
	ASSERT(envelope->size <= driver->settings.message_bytes_max);
	ASSERT(envelope->smtputf8 || !envelope->reverse_path.utf8);
	for (struct list *node = envelope->recipients.next; node != &envelope->recipients;
		node = node->next) {
		const struct smtp_recipient *recipient =
			container_of(node, struct smtp_recipient, node);

		address_check(&recipient->address, false);
		ASSERT(envelope->smtputf8 || !recipient->address.utf8);
		ASSERT(recipient->orcpt.n <= 500 && smtp_utf8_valid(recipient->orcpt));
	}
	trace_check(driver);
}

static void play(const char *before, struct span argument)
{
	static struct driver driver;

	driver_init(&driver);
	driver.trusted = true;
	driver_open(&driver, SMTP_TLS_NONE);
	driver_feed_str(&driver, before);
	driver_feed(&driver, argument);
	driver_feed_str(&driver, "\r\n");
	if (driver.smtp.state == SMTP_STATE_START)
		driver_feed_str(&driver, "EHLO c\r\n");
	if (driver.smtp.state == SMTP_STATE_READY)
		driver_feed_str(&driver, "MAIL FROM:<>\r\nRCPT TO:<postmaster>\r\n");
	envelope_check(&driver);
	driver_close(&driver);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const befores[] = {
		"EHLO ",
		"EHLO c\r\nMAIL FROM:",
		"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:",
		"EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\nRCPT TO:",
		"HELO c\r\nMAIL FROM:",
		"XCLIENT ",
	};

	if (size > ARGUMENT_MAX || memchr(data, '\n', size) != NULL)
		return -1;
	for (size_t i = 0; i < COUNT_OF(befores); i++)
		play(befores[i], span_of(data, size));
	return 0;
}
