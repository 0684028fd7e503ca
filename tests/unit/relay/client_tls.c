/* SPDX-License-Identifier: MIT */
/*
 * client_tls.c -- STARTTLS with next hops: what each route.tls does with those that have it, refuse
 * it, strip it, break it or inject; the record layer's change to the kernel. The server is OpenSSL's.
 */
#include "tests/unit/relay/dial.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define EHLO_TLS                                                                                   \
	"accept", "> 220 mx", "< EHLO me.example.net", "> 250-mx", "> 250-PIPELINING",             \
		"> 250 STARTTLS"
#define EHLO_CLEAR "accept", "> 220 mx", "< EHLO me.example.net", "> 250-mx", "> 250 PIPELINING"
#define AGAIN      "< EHLO me.example.net", "> 250-mx", "> 250 PIPELINING"
#define UPGRADE    "< STARTTLS", "quiet", "> 220 go", "tls", AGAIN
#define LETTER                                                                                     \
	"< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "< DATA", "> 250 ok", "> 250 ok", "> 354 go",     \
		"data", "> 250 ok"
#define QUIT "< QUIT", "> 221 bye", "eof"

enum { LATER, CLEAR, TLS };

static const struct {
	const char *name;
	enum route_tls tls;
	const char *tls_name; /* route.tls_name */
	int result;
	const char *text; /* part of the outcome's */
	const char *script[40];
} rows[] = {
	{"none, offered", ROUTE_TLS_NONE, NULL, CLEAR, "", {EHLO_TLS, LETTER, QUIT}},
	{"may, offered", ROUTE_TLS_MAY, NULL, TLS, "", {EHLO_TLS, UPGRADE, LETTER, QUIT}},
	{"may, not offered", ROUTE_TLS_MAY, NULL, CLEAR, "", {EHLO_CLEAR, LETTER, QUIT}},
	{"may, 454", ROUTE_TLS_MAY, NULL, CLEAR, "",
		{EHLO_TLS, "< STARTTLS", "> 454 not now", LETTER, QUIT}},
	{"may, broken handshake", ROUTE_TLS_MAY, NULL, CLEAR, "",
		{EHLO_TLS, "< STARTTLS", "> 220 go", "skip", ">> this is no TLS at all, is it?",
			"gone", "close", EHLO_TLS, LETTER, QUIT}},
	{"may, closed in the handshake", ROUTE_TLS_MAY, NULL, CLEAR, "",
		{EHLO_TLS, "< STARTTLS", "> 220 go", "close", EHLO_TLS, LETTER, QUIT}},
	{"may, closed twice", ROUTE_TLS_MAY, NULL, LATER, "closed",
		{EHLO_TLS, "< STARTTLS", "> 220 go", "close", "accept", "close"}},
	{"may, injected", ROUTE_TLS_MAY, NULL, LATER, "injected",
		{EHLO_TLS, "< STARTTLS", ">> 220 go\r\n250 hi\r\n", "gone"}},
	{"require, offered", ROUTE_TLS_REQUIRE, NULL, TLS, "", {EHLO_TLS, UPGRADE, LETTER, QUIT}},
	{"require, stripped", ROUTE_TLS_REQUIRE, NULL, LATER, "does not offer STARTTLS",
		{EHLO_CLEAR, "eof"}},
	{"require, no EHLO", ROUTE_TLS_REQUIRE, NULL, LATER, "does not offer STARTTLS",
		{"accept", "> 220 mx", "< EHLO me.example.net", "> 500 what",
			"< HELO me.example.net", "> 250 mx", "eof"}},
	{"require, refused", ROUTE_TLS_REQUIRE, NULL, LATER, "refuses STARTTLS",
		{EHLO_TLS, "< STARTTLS", "> 502 no", "eof"}},
	{"require, broken", ROUTE_TLS_REQUIRE, NULL, LATER, "TLS handshake failed",
		{EHLO_TLS, "< STARTTLS", "> 220 go", "skip", ">> this is no TLS at all, is it?",
			"gone"}},
	{"require, injected", ROUTE_TLS_REQUIRE, NULL, LATER, "injected",
		{EHLO_TLS, "< STARTTLS", ">> 220 go\r\nx", "gone"}},
	{"require, a name that does not match", ROUTE_TLS_REQUIRE, "other.example.org", TLS, "",
		{EHLO_TLS, UPGRADE, LETTER, QUIT}},
	{"verify", ROUTE_TLS_VERIFY, NULL, TLS, "", {EHLO_TLS, UPGRADE, LETTER, QUIT}},
	{"verify, another name", ROUTE_TLS_VERIFY, "other.example.org", LATER,
		"TLS handshake failed", {EHLO_TLS, "< STARTTLS", "> 220 go", "tls fails", "gone"}},
	{"lost under TLS", ROUTE_TLS_REQUIRE, NULL, LATER, "closed",
		{EHLO_TLS, UPGRADE, "< MAIL FROM:<a@b>", "close"}},
};

static const struct tls_kernel kernel = {.tx = true};

static struct tls_client *tls_open(bool verify)
{
	struct tls_client *tls;
	struct err err = {0};

	cr_assert(tls_client_open(&tls, peer_certificate_file(), verify, &kernel, KTLS_MODE_ALWAYS,
			  &err) == 0,
		"%s", err.text);
	return tls;
}

static void row_play(size_t i)
{
	struct letter letter;
	const uint8_t *heard;
	bool up = rows[i].result == TLS;
	size_t n;

	closed_n = 0;
	dial_prepare(rows[i].script, false, false);
	target.tls = tls_open(rows[i].tls == ROUTE_TLS_VERIFY);
	route.tls = rows[i].tls;
	route.tls_name = rows[i].tls_name;
	dial();
	letter_init(&letter, 1);
	relay_client_give(client, &letter.job);
	letter_wait(&letter);
	cr_expect(letter.outcomes[0].result ==
			  (rows[i].result == LATER ? RELAY_RESULT_LATER : RELAY_RESULT_DONE),
		"%s: %s", rows[i].name, letter.outcomes[0].text);
	cr_expect(strstr(letter.outcomes[0].text, rows[i].text) != NULL, "%s: %s", rows[i].name,
		letter.outcomes[0].text);
	cr_expect(rows[i].result == LATER || (letter.job.tls_version != NULL) == up, "%s",
		rows[i].name);
	cr_expect(letter.job.connection_failed == (rows[i].result == LATER), "%s", rows[i].name);
	if (client != NULL && relay_client_state(client) == RELAY_CLIENT_READY)
		relay_client_quit(client);
	dial_close();
	heard = peer_heard(&n);
	cr_expect(rows[i].result == LATER ||
			  span_equal(span_of(heard, n), span_str(LETTER_TEXT ".\r\n")),
		"%s: heard %.*s", rows[i].name, (int)n, (const char *)heard);
	tls_client_release(target.tls);
}

Test(client_tls, routes_and_next_hops, .timeout = DIAL_LIMIT_S)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		row_play(i);
	cr_expect(counter_sum(COUNTER_RELAY_TLS_PLAINTEXT) == 3);
	cr_expect(counter_sum(COUNTER_RELAY_TLS_NOT_OFFERED) == 3);
}

Test(client_tls, without_a_tls_client_nothing_goes_in_clear, .timeout = DIAL_LIMIT_S)
{
	static const char *const script[] = {EHLO_TLS, "eof", NULL};

	dial_prepare(script, false, false);
	target.tls = NULL;
	route.tls = ROUTE_TLS_VERIFY;
	dial();
	dial_close();
	cr_expect(closed.result == RELAY_RESULT_LATER);
}

Test(client_tls, handshake_that_never_ends, .timeout = DIAL_LIMIT_S)
{
	static const char *const script[] = {EHLO_TLS, "< STARTTLS", "> 220 go", "gone", NULL};

	dial_prepare(script, false, false);
	target.tls = tls_open(false);
	route.tls = ROUTE_TLS_REQUIRE;
	dial();
	dial_until_stage(CLIENT_STAGE_STARTTLS);
	config.relay.reply_ms_max = 100; /* of the next step */
	dial_close();
	cr_expect(closed.result == RELAY_RESULT_LATER && strcmp(closed.enhanced, "4.7.5") == 0);
	tls_client_release(target.tls);
}

/* ---- bodies, and the kernel ---- */

#define LARGE   1000003
#define SMALL   32767
#define FROM_MB "< MAIL FROM:<a@b>", "< RCPT TO:<r0@b>", "> 250 ok", "> 250 ok"
#define CHUNKS  "< EHLO me.example.net", "> 250-mx", "> 250-PIPELINING", "> 250 CHUNKING"
#define BEGIN   EHLO_TLS, "< STARTTLS", "> 220 go", "tls", CHUNKS

/* The kernel takes keys and goes on sending what it is given, in clear. */
static int keys_taken(int fd, int level, int name, const void *value, unsigned n)
{
	(void)fd;
	(void)level;
	(void)name;
	(void)value;
	(void)n;
	return 0;
}

static int keys_refused(int fd, int level, int name, const void *value, unsigned n)
{
	(void)fd;
	(void)level;
	(void)name;
	(void)value;
	(void)n;
	errno = ENOENT;
	return -1;
}

static const struct {
	const char *name;
	enum ktls_mode mode;
	tls_setsockopt_fn *kernel;
	size_t n;
	bool planted;
	bool spliced;
	const char *script[32];
} body_rows[] = {
	{"off", KTLS_MODE_OFF, keys_taken, LARGE, false, false,
		{BEGIN, FROM_MB, "< BDAT 1000003 LAST", "octets 1000003", "> 250 ok", QUIT}},
	{"auto", KTLS_MODE_AUTO, keys_taken, LARGE, false, false,
		{BEGIN, FROM_MB, "< BDAT 1000003 LAST", "octets 1000003", "> 250 ok", QUIT}},
	{"always, bulk", KTLS_MODE_ALWAYS, keys_taken, LARGE, true, true,
		{EHLO_TLS, "< STARTTLS", "> 220 go", "tls", "in clear", CHUNKS, FROM_MB,
			"< BDAT 1000003 LAST", "octets 1000003", "> 250 ok", "< QUIT", "> 221 bye",
			"gone"}},
	{"always, not taken", KTLS_MODE_ALWAYS, keys_refused, LARGE, false, false,
		{BEGIN, FROM_MB, "< BDAT 1000003 LAST", "octets 1000003", "> 250 ok", QUIT}},
	{"always, small", KTLS_MODE_ALWAYS, keys_taken, SMALL, true, false,
		{EHLO_TLS, "< STARTTLS", "> 220 go", "tls", "in clear", CHUNKS, FROM_MB,
			"< BDAT 32767 LAST", "octets 32767", "> 250 ok", "< QUIT", "> 221 bye",
			"gone"}},
};

static uint8_t *text_of(size_t n)
{
	uint8_t *p = malloc(n);

	cr_assert(p != NULL);
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 31 + i / 251 + i / 65537);
	return p;
}

static void body_row(size_t i)
{
	char path[] = "/tmp/postern-tls-XXXXXX";
	int fd = mkstemp(path);
	size_t n = body_rows[i].n;
	uint8_t *p = text_of(n);
	struct letter letter;
	const uint8_t *heard;
	size_t heard_n;
	int64_t spliced = counter_sum(COUNTER_RELAY_SPLICE_BYTES);

	closed_n = 0;
	cr_assert(fd >= 0 && unlink(path) == 0 && write(fd, p, n) == (ssize_t)n);
	dial_prepare(body_rows[i].script, false, false);
	tls_setsockopt_for_test(body_rows[i].kernel);
	relay.facts.kernel = &kernel;
	config.relay.ktls = body_rows[i].mode;
	target.tls = tls_open(false);
	route.tls = ROUTE_TLS_REQUIRE;
	dial();
	letter_init(&letter, 1);
	letter_file(&letter, fd, 0, n);
	relay_client_give(client, &letter.job);
	letter_wait(&letter);
	cr_expect(letter.outcomes[0].result == RELAY_RESULT_DONE, "%s: %s", body_rows[i].name,
		letter.outcomes[0].text);
	cr_expect(strcmp(letter.job.ktls, body_rows[i].planted ? "tx" : "none") == 0, "%s",
		body_rows[i].name);
	if (client != NULL)
		relay_client_quit(client);
	dial_close();
	heard = peer_heard(&heard_n);
	cr_expect(span_equal(span_of(heard, heard_n), span_of(p, n)), "%s: %zu octets",
		body_rows[i].name, heard_n);
	spliced = counter_sum(COUNTER_RELAY_SPLICE_BYTES) - spliced;
	cr_expect(spliced == (body_rows[i].spliced ? (int64_t)n : 0), "%s", body_rows[i].name);
	tls_client_release(target.tls);
	close(fd);
	free(p);
}

Test(client_tls, bodies_in_either_record_layer, .timeout = DIAL_LIMIT_S)
{
	for (size_t i = 0; i < COUNT_OF(body_rows); i++)
		body_row(i);
	cr_expect(counter_sum(COUNTER_RELAY_KTLS) == 2);
	cr_expect(counter_sum(COUNTER_RELAY_KTLS_FALLBACK) == 1);
	tls_setsockopt_for_test(NULL);
}
