/* SPDX-License-Identifier: MIT */
/* driver.c -- see driver.h. */
#include "tests/unit/smtp/driver.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdlib.h>

#define SESSIONS_MAX 4

void driver_init(struct driver *driver)
{
	*driver = (struct driver){
		.settings = {.hostname = "mx.example.org",
			.message_bytes_max = 1000,
			.recipients_max = 3,
			.errors_max = 20,
			.messages_max = 5,
			.hops_max = 3},
		.out_cap = DRIVER_OUT_BYTES,
	};
}

void driver_open(struct driver *driver, enum smtp_tls_offer tls)
{
	smtp_pools_open(&driver->pools, SESSIONS_MAX);
	smtp_open(&driver->smtp, &driver->settings, &driver->pools, tls);
	driver->smtp.xclient = driver->trusted;
	driver->log = open_memstream(&driver->text, &driver->text_n);
	driver->content = open_memstream(&driver->body, &driver->body_n);
	ASSERT(driver->log != NULL && driver->content != NULL);
}

void driver_close(struct driver *driver)
{
	smtp_close(&driver->smtp);
	ASSERT(driver->pools.lines.live == 0 && driver->pools.arenas.live == 0 &&
		driver->pools.names.live == 0);
	smtp_pools_close(&driver->pools);
	fclose(driver->log);
	fclose(driver->content);
	free(driver->text);
	free(driver->body);
}

const char *driver_log(struct driver *driver)
{
	fflush(driver->log);
	return driver->text;
}

static void token(struct driver *driver, const char *name)
{
	fflush(driver->log);
	fprintf(driver->log, "%s%s", driver->text_n > 0 ? " " : "", name);
}

static void put_escaped(FILE *file, struct span text)
{
	for (size_t i = 0; i < text.n; i++) {
		uint8_t c = text.p[i];

		if (c == '\r')
			fputs("\\r", file);
		else if (c == '\n')
			fputs("\\n", file);
		else if (c < ' ' || c > '~' || c == '\\')
			fprintf(file, "\\x%02x", c);
		else
			fputc(c, file);
	}
}

/* ---- replies ---- */

static void reply_check(struct span line)
{
	ASSERT(line.n >= 6 && line.n <= 512);
	ASSERT(isdigit(line.p[0]) && isdigit(line.p[1]) && isdigit(line.p[2]));
	ASSERT(line.p[3] == ' ' || line.p[3] == '-');
	ASSERT(memchr(line.p, '\r', line.n) == line.p + line.n - 2);
	for (size_t i = 0; i < line.n - 2; i++)
		ASSERT(line.p[i] >= ' ' && line.p[i] <= '~');
}

static void reply_log(struct driver *driver, struct span line)
{
	char name[32];
	size_t n = 0;

	reply_check(line);
	if (line.p[3] == '-')
		return;
	if (line.n > 10 && line.p[4] == line.p[0] && line.p[5] == '.')
		while (n < 8 && line.p[4 + n] != ' ')
			n++;
	snprintf(name, sizeof(name), "%.3s%s%.*s", (const char *)line.p, n > 0 ? "/" : "", (int)n,
		(const char *)line.p + 4);
	token(driver, name);
}

static void replies_drain(struct driver *driver, struct buf *out)
{
	struct span text = buf_span(out);
	size_t n = min_size(text.n, sizeof(driver->replies) - 1 - driver->replies_n);

	memcpy(driver->replies + driver->replies_n, text.p, n);
	driver->replies_n += n;
	while (text.n > 0) {
		const uint8_t *lf = memchr(text.p, '\n', text.n);

		ASSERT(lf != NULL);
		reply_log(driver, span_take(&text, (size_t)(lf - text.p) + 1));
	}
	buf_clear(out);
}

/* ---- answers ---- */

static bool local_is(const struct smtp_address *address, const char *name)
{
	return span_is_nocase(address->local, name);
}

static struct smtp_verdict scripted(struct driver *driver)
{
	static const struct smtp_verdict verdicts[] = {
		{SMTP_VERDICT_REFUSE, 550, "5.7.1", "no"},
		{SMTP_VERDICT_REFUSE, 451, "4.3.0", "not now"},
		{SMTP_VERDICT_CLOSE, 421, "4.3.2", "closing"},
	};
	uint8_t octet = driver->answers.p[driver->asked++ % driver->answers.n];

	if (octet % 8 >= COUNT_OF(verdicts))
		return (struct smtp_verdict){.kind = SMTP_VERDICT_ACCEPT};
	return verdicts[octet % 8];
}

static struct smtp_verdict xclient_answer(const struct smtp_xclient *says)
{
	if (span_is_nocase(says->name, "closed"))
		return (struct smtp_verdict){SMTP_VERDICT_CLOSE, 421, "4.3.2", "closing"};
	return (struct smtp_verdict){.kind = SMTP_VERDICT_ACCEPT};
}

static struct smtp_verdict answer(struct driver *driver, const struct smtp_event *event)
{
	static const struct {
		enum smtp_event_kind kind;
		const char *local;
		struct smtp_verdict verdict;
	} rows[] = {
		{SMTP_EVENT_MAIL, "refused", {SMTP_VERDICT_REFUSE, 550, "5.7.1", "no"}},
		{SMTP_EVENT_MAIL, "later", {SMTP_VERDICT_REFUSE, 451, "4.7.1", "not now"}},
		{SMTP_EVENT_MAIL, "closed", {SMTP_VERDICT_CLOSE, 421, "4.3.2", "closing"}},
		{SMTP_EVENT_RCPT, "unknown", {SMTP_VERDICT_REFUSE, 550, "5.1.1", "unknown"}},
		{SMTP_EVENT_RCPT, "busy", {SMTP_VERDICT_REFUSE, 450, "4.2.1", "busy"}},
		{SMTP_EVENT_RCPT, "closed", {SMTP_VERDICT_CLOSE, 421, "4.3.2", "closing"}},
		{SMTP_EVENT_BEGIN, "full", {SMTP_VERDICT_REFUSE, 452, "4.3.1", "full"}},
		{SMTP_EVENT_END, "broken", {SMTP_VERDICT_REFUSE, 451, "4.3.0", "broken"}},
		{SMTP_EVENT_END, "spam", {SMTP_VERDICT_REFUSE, 554, "5.7.1", "spam"}},
	};
	const struct smtp_address *address = event->kind == SMTP_EVENT_RCPT
						     ? &event->recipient->address
						     : &driver->smtp.envelope.reverse_path;

	if (driver->answers.n > 0)
		return scripted(driver);
	if (event->kind == SMTP_EVENT_XCLIENT)
		return xclient_answer(event->xclient);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		if (rows[i].kind == event->kind && local_is(address, rows[i].local))
			return rows[i].verdict;
	return (struct smtp_verdict){.text = event->kind == SMTP_EVENT_END ? "queued as 1" : NULL};
}

/* ---- events ---- */

static void content_reset(struct driver *driver)
{
	fclose(driver->content);
	free(driver->body);
	driver->content = open_memstream(&driver->body, &driver->body_n);
	ASSERT(driver->content != NULL);
	fflush(driver->content); /* sets body and body_n */
}

static void content_add(struct driver *driver, struct span octets)
{
	ASSERT(driver->in_message && octets.n > 0);
	fwrite(octets.p, 1, octets.n, driver->content);
	fflush(driver->content);
	ASSERT(driver->smtp.body_bytes == driver->body_n);
	ASSERT(driver->body_n <= driver->settings.message_bytes_max);
}

/* What was said of the octets of DATA is so. */
static void content_check(struct driver *driver)
{
	bool has_8bit = false;

	for (size_t i = 0; i < driver->body_n; i++) {
		uint8_t before = i > 0 ? (uint8_t)driver->body[i - 1] : 0;
		uint8_t c = (uint8_t)driver->body[i];

		ASSERT(!driver->data || (before == '\r') == (c == '\n'));
		has_8bit = has_8bit || c >= 0x80;
	}
	ASSERT(!driver->data || driver->has_8bit == has_8bit);
}

static void message_over(struct driver *driver)
{
	ASSERT(driver->in_message);
	ASSERT(!smtp_in_message(&driver->smtp));
	driver->in_message = false;
}

static void address_log(struct driver *driver, const char *name, const struct smtp_address *address)
{
	token(driver, name);
	fputc('(', driver->log);
	put_escaped(driver->log, address->text);
	fputc(')', driver->log);
}

static void message_log(struct driver *driver, const struct smtp_event *event)
{
	char name[32];

	switch (event->kind) {
	case SMTP_EVENT_BEGIN:
		token(driver, event->bdat ? "BEGIN(bdat)" : "BEGIN(data)");
		content_reset(driver);
		driver->data = !event->bdat;
		driver->has_8bit = false;
		break;
	case SMTP_EVENT_CHUNK:
		ASSERT(driver->in_message && event->chunk == driver->smtp.chunk_left);
		snprintf(name, sizeof(name), "CHUNK(%llu)", (unsigned long long)event->chunk);
		token(driver, name);
		break;
	case SMTP_EVENT_BODY:
		content_add(driver, event->body);
		ASSERT(event->checked == driver->data);
		driver->has_8bit = event->checked && event->has_8bit;
		break;
	case SMTP_EVENT_SPOIL:
		snprintf(name, sizeof(name), "SPOIL(%u)", driver->smtp.spoil_code);
		token(driver, name);
		message_over(driver);
		break;
	case SMTP_EVENT_END:
		token(driver, driver->smtp.envelope.tls_optional ? "END-TLS-OPTIONAL(" : "END(");
		put_escaped(driver->log, span_of(driver->body, driver->body_n));
		fputc(')', driver->log);
		ASSERT(driver->smtp.body_bytes == driver->body_n);
		content_check(driver);
		message_over(driver);
		break;
	case SMTP_EVENT_ABORT:
		token(driver, "ABORT");
		message_over(driver);
		break;
	default:
		break;
	}
}

static struct span address_text(const uint8_t address[16], char text[INET6_ADDRSTRLEN])
{
	inet_ntop(AF_INET6, address, text, INET6_ADDRSTRLEN);
	return span_str(strncmp(text, "::ffff:", 7) == 0 ? text + 7 : text);
}

static struct span port_text(uint16_t port, char text[INET6_ADDRSTRLEN])
{
	return span_of(text, (size_t)snprintf(text, INET6_ADDRSTRLEN, "%u", port));
}

static void xclient_log(struct driver *driver, const struct smtp_xclient *says)
{
	char texts[4][INET6_ADDRSTRLEN];
	const struct {
		uint8_t bit;
		const char *name;
		struct span value;
	} rows[] = {
		{SMTP_XCLIENT_NAME, "NAME=", says->name},
		{SMTP_XCLIENT_ADDR, "ADDR=", address_text(says->address, texts[0])},
		{SMTP_XCLIENT_PORT, "PORT=", port_text(says->port, texts[1])},
		{SMTP_XCLIENT_PROTO, "PROTO=", span_str(says->esmtp ? "ESMTP" : "SMTP")},
		{SMTP_XCLIENT_HELO, "HELO=", says->helo},
		{SMTP_XCLIENT_DESTADDR, "DESTADDR=", address_text(says->destination, texts[2])},
		{SMTP_XCLIENT_DESTPORT, "DESTPORT=", port_text(says->destination_port, texts[3])},
	};
	const char *between = "(";

	ASSERT(driver->trusted && (says->known & ~says->given) == 0);
	ASSERT(says->helo.n <= SMTP_HELO_MAX && says->name.n <= SMTP_HELO_MAX);
	token(driver, "XCLIENT");
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		if ((says->given & rows[i].bit) == 0)
			continue;
		fprintf(driver->log, "%s%s", between, rows[i].name);
		put_escaped(driver->log,
			(says->known & rows[i].bit) != 0 ? rows[i].value : span_str("?"));
		between = ",";
	}
	fputs(*between == '(' ? "()" : ")", driver->log);
}

static void close_log(struct driver *driver, enum smtp_close_reason reason)
{
	static const char *const names[] = {
		[SMTP_CLOSE_QUIT] = "CLOSE(quit)",
		[SMTP_CLOSE_ERRORS] = "CLOSE(errors)",
		[SMTP_CLOSE_HTTP] = "CLOSE(http)",
		[SMTP_CLOSE_TLS] = "CLOSE(tls)",
		[SMTP_CLOSE_POLICY] = "CLOSE(policy)",
		[SMTP_CLOSE_MESSAGES] = "CLOSE(messages)",
		[SMTP_CLOSE_MEMORY] = "CLOSE(memory)",
	};

	ASSERT(!driver->in_message && reason < COUNT_OF(names));
	token(driver, names[reason]);
	driver->over = true;
}

/* Octets taken from the input of one step. */
static void event_log(struct driver *driver, const struct smtp_event *event, struct span rest)
{
	switch (event->kind) {
	case SMTP_EVENT_XCLIENT:
		xclient_log(driver, event->xclient);
		break;
	case SMTP_EVENT_MAIL:
		address_log(driver, "MAIL", &driver->smtp.envelope.reverse_path);
		break;
	case SMTP_EVENT_RCPT:
		address_log(driver, "RCPT", &event->recipient->address);
		break;
	case SMTP_EVENT_STARTTLS:
		token(driver, "STARTTLS");
		driver->injected = smtp_pipelined(&driver->smtp, rest);
		driver->over = !driver->upgrade;
		if (driver->upgrade)
			smtp_upgraded(&driver->smtp);
		break;
	case SMTP_EVENT_CLOSE:
		close_log(driver, event->reason);
		break;
	default:
		message_log(driver, event);
		break;
	}
}

static bool asks(enum smtp_event_kind kind)
{
	return kind == SMTP_EVENT_MAIL || kind == SMTP_EVENT_RCPT || kind == SMTP_EVENT_BEGIN ||
	       kind == SMTP_EVENT_END || kind == SMTP_EVENT_XCLIENT;
}

/* As a coordinator that splices: once the header is over the rest of a chunk goes past the room. */
static void chunk_move(struct driver *driver, struct span *in)
{
	struct smtp *smtp = &driver->smtp;
	struct span octets;

	if (!driver->in_message || !smtp->header_over || smtp->chunk_left == 0 || in->n == 0)
		return;
	octets = span_take(in, min_size(in->n, smtp->chunk_left));
	smtp_chunk_moved(smtp, octets.n);
	content_add(driver, octets);
}

/* As a coordinator that decrypts into the message's own memory. */
static void data_place(struct driver *driver, struct span *in)
{
	struct smtp_placed placed;
	size_t n = in->n;
	uint8_t *copy;

	if (!driver->in_message || !smtp_data_placeable(&driver->smtp) || n == 0)
		return;
	copy = malloc(n);
	ASSERT(copy != NULL);
	memcpy(copy, in->p, n);
	placed = smtp_data_place(&driver->smtp, copy, n);
	ASSERT(placed.content <= placed.taken && placed.taken <= n);
	ASSERT(memcmp(copy + placed.taken, in->p + placed.taken, n - placed.taken) == 0);
	driver->has_8bit = placed.has_8bit;
	if (placed.content > 0)
		content_add(driver, span_of(copy, placed.content));
	(void)span_take(in, placed.taken);
	free(copy);
}

/* Asked before the rest of the event: what follows the 220 belongs to the handshake. */
static bool starttls_answer(struct driver *driver, struct buf *out)
{
	static const struct smtp_verdict accept = {.kind = SMTP_VERDICT_ACCEPT};
	const struct smtp_verdict *verdict = driver->starttls != NULL ? driver->starttls : &accept;

	smtp_answer(&driver->smtp, verdict, out);
	replies_drain(driver, out);
	return verdict->kind == SMTP_VERDICT_ACCEPT;
}

void driver_feed(struct driver *driver, struct span in)
{
	struct buf out;
	struct smtp_event event = {.kind = SMTP_EVENT_FULL};

	buf_init(&out, driver->out_bytes, driver->out_cap);
	while (!driver->over && event.kind != SMTP_EVENT_MORE) {
		if (driver->move)
			data_place(driver, &in);
		event = smtp_step(&driver->smtp, &in, &out);
		if (event.kind == SMTP_EVENT_BODY)
			ASSERT(smtp_in_body(&driver->smtp) && smtp_in_message(&driver->smtp));
		replies_drain(driver, &out);
		if (event.kind == SMTP_EVENT_STARTTLS && !starttls_answer(driver, &out))
			continue;
		event_log(driver, &event, in);
		if (asks(event.kind)) {
			struct smtp_verdict verdict = answer(driver, &event);

			smtp_answer(&driver->smtp, &verdict, &out);
			if (event.kind == SMTP_EVENT_BEGIN)
				driver->in_message = verdict.kind == SMTP_VERDICT_ACCEPT;
			replies_drain(driver, &out);
		}
		if (driver->move &&
			(event.kind == SMTP_EVENT_CHUNK || event.kind == SMTP_EVENT_BODY))
			chunk_move(driver, &in);
	}
	ASSERT(driver->over || in.n == 0);
}

void driver_feed_str(struct driver *driver, const char *text)
{
	driver_feed(driver, span_str(text));
}
