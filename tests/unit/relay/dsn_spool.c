/* SPDX-License-Identifier: MIT */
/*
 * dsn_spool.c -- a report's way into a real spool: its envelope, its octets, what of the original
 * comes with it, and what happens when something cannot be had.
 */
#include "relay/schedule-private.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/counter.h"
#include "tests/lib/unit.h"

#define TEST_LIMIT_S   60
#define RECIPIENTS_MAX 1000
#define REPORTS_MAX    16

static struct config config;
static struct ring *ring;
static struct store *store;
static struct spool *spool;
static struct spool_reader reader;
static struct spool_entry *arrived; /* the newest */
static unsigned arrived_n;
static struct relay relay;
static char root[64];

/* ---- rig ---- */

static void on_arrived(struct spool_reader *from, struct spool_entry *entry)
{
	(void)from;
	arrived = entry;
	arrived_n++;
}

static void rig_open(void)
{
	const struct ring_settings ring_settings = {64, 8, 4, 4};
	struct store_found found;
	struct err err = {0};

	snprintf(root, sizeof(root), "/tmp/postern-dsn-XXXXXX");
	cr_assert(mkdtemp(root) != NULL);
	memset(&config, 0, sizeof(config));
	config.smtp.hostname = "mx.example.org";
	config.spool = (struct spool_settings){.directory = root,
		.durable = true,
		.memory_bytes_max = 64u << 20,
		.stream_bytes = 256u << 10,
		.segment_bytes = 4u << 20,
		.messages_max = 10000};
	config.relay.bounce_body = true;
	config.relay.expire_ms = 432000000;
	cr_assert(ring_open(&ring, &ring_settings, &err) == 0, "%s", err.text);
	cr_assert(store_open(&store, &config.spool, false, 0, 0, &err) == 0, "%s", err.text);
	cr_assert(store_recover(store, 1, &found, &err) == 0, "%s", err.text);
	cr_assert(spool_open(&spool, &config.spool, store, ring, 0, 1, &err) == 0, "%s", err.text);
	reader = (struct spool_reader){.arrived = on_arrived};
	spool_read(spool, &reader);
	spool_start(spool);
	memset(&relay, 0, sizeof(relay));
	relay.facts = (struct relay_facts){.config = &config, .ring = ring, .spool = spool};
	relay.settings = &config.relay;
	cr_assert(relay_dsns_open(&relay, &err) == 0);
}

static void before_wait(void *ctx)
{
	spool_turn(spool);
	ring_stop(ctx);
}

static void turn(void)
{
	spool_turn(spool);
	ring_run(ring, before_wait, ring);
}

static void rig_close(void)
{
	cr_expect(relay_dsns_idle(&relay));
	relay_dsns_close(&relay);
	spool_turn(spool);
	while (!spool_idle(spool))
		turn();
	spool_close(spool);
	store_close(store);
	ring_close(ring);
	(void)unit_remove_tree(root);
}

static struct smtp_address address_of(const char *text)
{
	const char *at = strrchr(text, '@');

	return (struct smtp_address){.text = span_str(text),
		.local = span_of(text, (size_t)(at - text)),
		.domain = span_str(at + 1)};
}

/* ---- originals ---- */

static struct {
	struct spool_owner owner;
	struct smtp_envelope envelope;
	struct smtp_recipient recipients[RECIPIENTS_MAX];
	unsigned ready_n, committed_n;
	int res;
} original;

static void on_ready(struct spool_owner *owner)
{
	(void)owner;
	original.ready_n++;
}

static void on_committed(struct spool_owner *owner, int res, const struct smtp_verdict *verdict)
{
	(void)owner;
	(void)verdict;
	original.committed_n++;
	original.res = res;
}

static void original_init(uint32_t recipients_n)
{
	memset(&original, 0, sizeof(original));
	original.owner.ready = on_ready;
	original.owner.committed = on_committed;
	original.envelope.reverse_path = address_of("alice@example.com");
	list_init(&original.envelope.recipients);
	for (uint32_t i = 0; i < recipients_n; i++) {
		original.recipients[i].address = address_of("bob@example.net");
		list_push_back(&original.envelope.recipients, &original.recipients[i].node);
	}
	original.envelope.recipients_n = recipients_n;
}

static struct spool_entry *original_store(struct span body)
{
	struct spool_message *message = spool_begin(
		spool, &original.owner, &original.envelope, spool_id(spool), span_str(""));

	cr_assert(message != NULL);
	while (body.n > 0) {
		unsigned ready = original.ready_n;
		enum spool_step step = spool_append(message, &body);

		cr_assert(step != SPOOL_STEP_FAIL);
		while (step == SPOOL_STEP_WAIT && original.ready_n == ready)
			turn();
	}
	spool_commit(message);
	while (original.committed_n == 0)
		turn();
	cr_assert(original.res == 0);
	return arrived;
}

/* ---- reports ---- */

static const struct relay_outcome unknown = {
	RELAY_RESULT_NEVER, 550, "5.1.1", "No such user here", false};
static struct relay_dsn_recipient about[RECIPIENTS_MAX];

struct result {
	unsigned n;
	int res;
};

static void on_done(void *ctx, int res)
{
	struct result *result = ctx;

	result->n++;
	result->res = res;
}

static bool report_begin(struct spool_entry *entry, enum relay_dsn_kind kind, struct result *result)
{
	*result = (struct result){0};
	for (uint32_t i = 0; i < entry->recipients_n; i++)
		about[i] = (struct relay_dsn_recipient){
			&entry->recipients[i], &unknown, "smtp:mx.example.net:25"};
	return relay_dsn_write(&relay, entry, kind, about, entry->recipients_n, on_done, result);
}

static int report_write(struct spool_entry *entry, enum relay_dsn_kind kind)
{
	struct result result;

	cr_assert(report_begin(entry, kind, &result));
	cr_assert(result.n == 0, "called back from inside the call");
	while (result.n == 0)
		turn();
	cr_assert(result.n == 1);
	return result.res;
}

static int opened_res;
static unsigned opened_n;

static void on_opened(struct spool_access *access, int res)
{
	(void)access;
	opened_res = res;
	opened_n++;
}

/* The octets of the newest entry, with a NUL. */
static char *newest_text(void)
{
	static char *text;
	struct spool_access access = {.opened = on_opened, .in_file = true};

	free(text);
	text = calloc(1, arrived->size + 1);
	opened_n = 0;
	spool_body_open(spool, arrived, &access);
	while (opened_n == 0)
		turn();
	cr_assert(opened_res == 0);
	cr_assert(access.body.n == arrived->size);
	cr_assert(pread(access.body.fd, text, arrived->size, (off_t)access.body.offset) ==
		  (ssize_t)arrived->size);
	spool_body_close(&access);
	return text;
}

static void has(const char *text, const char *part)
{
	cr_assert(strstr(text, part) != NULL, "%s\n---- is not in\n%.4000s", part, text);
}

static void has_not(const char *text, const char *part)
{
	cr_assert(strstr(text, part) == NULL, "%s\n---- is in\n%.4000s", part, text);
}

static char *large_text(size_t n, const char *head)
{
	char *text = malloc(n + 1);
	size_t at = strlen(head);

	cr_assert(text != NULL && at < n);
	memcpy(text, head, at);
	for (; at < n; at++)
		text[at] = "0123456789abcdef\r\n"[(at - strlen(head)) % 18];
	text[n] = '\0';
	return text;
}

TestSuite(dsn_spool, .init = rig_open, .fini = rig_close, .timeout = TEST_LIMIT_S);

Test(dsn_spool, a_report_is_a_message_of_our_own)
{
	const struct smtp_recipient *to;
	int64_t before = counter_sum(COUNTER_RELAY_DSN_FAILED);
	const char *text;

	original_init(2);
	original_store(span_str("Subject: hello\r\nX: y\r\n\r\nthe body\r\n"));
	cr_assert(report_write(arrived, RELAY_DSN_FAILED) == 0);
	cr_assert(arrived_n == 2);
	cr_assert(arrived->envelope.reverse_path.text.n == 0);
	cr_assert(arrived->recipients_n == 1);
	to = &arrived->recipients[0].smtp;
	cr_assert(span_equal(to->address.text, span_str("alice@example.com")));
	cr_assert(span_equal(to->address.local, span_str("alice")));
	cr_assert(span_equal(to->address.domain, span_str("example.com")));
	cr_assert(to->notify == SMTP_NOTIFY_NEVER);
	cr_assert(arrived->envelope.body == SMTP_BODY_7BIT && !arrived->envelope.smtputf8);
	cr_assert(!arrived->has_8bit && !arrived->has_bare);
	cr_assert(!relay_dsn_due(arrived, &arrived->recipients[0], RELAY_DSN_FAILED),
		"it is never reported about");
	text = newest_text();
	cr_assert(strncmp(text, "From: ", 6) == 0);
	has(text, "\r\nTo: <alice@example.com>\r\n");
	has(text, "<bob@example.net>:\r\n    mx.example.net said: 550 5.1.1 No such user here\r\n");
	has(text, "Content-Type: text/rfc822-headers\r\n\r\nSubject: hello\r\nX: y\r\n\r\n--=_");
	has_not(text, "the body");
	cr_assert(strcmp(text + strlen(text) - 4, "--\r\n") == 0);
	cr_assert(counter_sum(COUNTER_RELAY_DSN_FAILED) == before + 1);
}

/* Which reports bring the whole message. */
Test(dsn_spool, what_comes_with_it)
{
	static const struct {
		enum smtp_ret ret;
		enum relay_dsn_kind kind;
		bool bounce_body, binary, full;
		size_t n;
	} rows[] = {
		{SMTP_RET_FULL, RELAY_DSN_FAILED, true, false, true, 1000},
		{SMTP_RET_FULL, RELAY_DSN_FAILED, true, false, true, 1u << 20},
		{SMTP_RET_FULL, RELAY_DSN_FAILED, true, false, false, (1u << 20) + 1},
		{SMTP_RET_FULL, RELAY_DSN_FAILED, false, false, false, 1000},
		{SMTP_RET_FULL, RELAY_DSN_FAILED, true, true, false, 1000},
		{SMTP_RET_FULL, RELAY_DSN_DELAYED, true, false, false, 1000},
		{SMTP_RET_FULL, RELAY_DSN_DELIVERED, true, false, false, 1000},
		{SMTP_RET_HDRS, RELAY_DSN_FAILED, true, false, false, 1000},
		{SMTP_RET_NONE, RELAY_DSN_FAILED, true, false, false, 600000},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char *body = large_text(rows[i].n, "Subject: hello\r\n\r\n");
		const char *text;

		original_init(1);
		original.envelope.ret = rows[i].ret;
		original.envelope.body = rows[i].binary ? SMTP_BODY_BINARYMIME : SMTP_BODY_7BIT;
		config.relay.bounce_body = rows[i].bounce_body;
		original_store(span_str(body));
		cr_assert(report_write(arrived, rows[i].kind) == 0, "case %zu", i);
		text = newest_text();
		if (rows[i].full) {
			has(text, "Content-Type: message/rfc822\r\n\r\nSubject: hello\r\n\r\n0123");
			has(text, body);
		} else {
			has(text, "text/rfc822-headers\r\n\r\nSubject: hello\r\n\r\n--=_");
			has_not(text, "0123456789abcdef\r\n0123");
		}
		free(body);
	}
}

/* RFC 8689 5: as if RET=HDRS had been said; and it goes by REQUIRETLS itself. */
Test(dsn_spool, requiretls)
{
	const char *text;

	original_init(1);
	original.envelope.ret = SMTP_RET_FULL;
	original.envelope.requiretls = true;
	config.relay.bounce_body = true;
	original_store(span_str("Subject: hello\r\n\r\nsecret\r\n"));
	cr_assert(report_write(arrived, RELAY_DSN_FAILED) == 0);
	text = newest_text();
	has(text, "text/rfc822-headers\r\n\r\nSubject: hello\r\n");
	has_not(text, "secret");
	cr_expect(arrived->envelope.requiretls);
	cr_expect_eq(relay_entry_wish(arrived), RELAY_WISH_NONE, "but not at any price");
}

Test(dsn_spool, eight_bits_and_bare_newlines)
{
	const char *text;

	original_init(1);
	original.envelope.ret = SMTP_RET_FULL;
	original_store(span_str("Subject: gr\xc3\xbcn\n\nbody\rand\x80more\n"));
	cr_assert(report_write(arrived, RELAY_DSN_FAILED) == 0);
	text = newest_text();
	has(text, "\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
	has(text, "message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
		  "Subject: gr\xc3\xbcn\r\n\r\nbody\r\nand\x80more\r\n\r\n--=_");
	cr_assert(arrived->envelope.body == SMTP_BODY_8BITMIME && !arrived->envelope.smtputf8);
	cr_assert(arrived->has_8bit && !arrived->has_bare, "it can go by DATA");

	original_init(1);
	original.envelope.smtputf8 = true;
	original_store(span_str("Subject: gr\xc3\xbcn\r\n\r\nbody\r\n"));
	cr_assert(report_write(arrived, RELAY_DSN_FAILED) == 0);
	has(newest_text(), "message/global-headers\r\n");
	cr_assert(arrived->envelope.body == SMTP_BODY_8BITMIME && arrived->envelope.smtputf8);
}

Test(dsn_spool, a_header_without_end_is_cut)
{
	char *body = large_text(600000, "");

	original_init(1);
	original_store(span_str(body));
	cr_assert(report_write(arrived, RELAY_DSN_FAILED) == 0);
	cr_assert(arrived->size > 256 * 1024 && arrived->size < 256 * 1024 + 4096);
	has(newest_text(), "--\r\n");
	free(body);
}

Test(dsn_spool, many_recipients)
{
	const char *text;
	unsigned n = 0;

	original_init(RECIPIENTS_MAX);
	original_store(span_str("Subject: hello\r\n\r\n"));
	cr_assert(report_write(arrived, RELAY_DSN_FAILED) == 0);
	text = newest_text();
	for (const char *at = text; (at = strstr(at, "Final-Recipient:")) != NULL; at++)
		n++;
	cr_assert_eq(n, RECIPIENTS_MAX);
}

Test(dsn_spool, only_so_many_at_once)
{
	static struct result results[REPORTS_MAX + 1];
	struct spool_entry *entry;
	unsigned done = 0;

	original_init(1);
	entry = original_store(span_str("Subject: hello\r\n\r\n"));
	for (unsigned i = 0; i < REPORTS_MAX; i++)
		cr_assert(report_begin(entry, RELAY_DSN_DELAYED, &results[i]));
	cr_assert(!relay_dsns_idle(&relay));
	cr_assert(!report_begin(entry, RELAY_DSN_DELAYED, &results[REPORTS_MAX]));
	cr_assert(counter_sum(COUNTER_RELAY_DSN_FULL) == 1);
	while (done < REPORTS_MAX) {
		turn();
		done = 0;
		for (unsigned i = 0; i < REPORTS_MAX; i++)
			done += results[i].n;
	}
	for (unsigned i = 0; i < REPORTS_MAX; i++)
		cr_assert(results[i].res == 0);
	cr_assert(results[REPORTS_MAX].n == 0);
	cr_assert(report_write(entry, RELAY_DSN_DELAYED) == 0, "there is room again");
	cr_assert(arrived_n == 1 + REPORTS_MAX + 1);
}

Test(dsn_spool, without_the_original_it_goes_all_the_same)
{
	char *body = large_text(600000, "Subject: hello\r\n\r\n");
	struct spool_entry *entry;
	char path[64], full[192];
	uint64_t offset;
	const char *text;

	original_init(1);
	entry = original_store(span_str(body));
	cr_assert(entry->large);
	spool_body_place(entry, path, sizeof(path), &offset);
	snprintf(full, sizeof(full), "%s/%s", root, path);
	cr_assert(unlink(full) == 0);
	cr_assert(report_write(entry, RELAY_DSN_FAILED) == 0);
	text = newest_text();
	has(text, "Status: 5.1.1\r\n");
	has_not(text, "rfc822-headers");
	cr_assert(strcmp(text + strlen(text) - 4, "--\r\n") == 0);
	free(body);
}

/* A limit on the size of files stands for a full disk. */
Test(dsn_spool, a_report_that_cannot_be_stored_is_tried_again_later)
{
	const struct rlimit none = {1, RLIM_INFINITY};
	struct rlimit before;
	struct spool_entry *entry;

	original_init(1);
	entry = original_store(span_str("Subject: hello\r\n\r\n"));
	signal(SIGXFSZ, SIG_IGN);
	cr_assert(getrlimit(RLIMIT_FSIZE, &before) == 0);
	cr_assert(setrlimit(RLIMIT_FSIZE, &none) == 0);
	cr_assert(report_write(entry, RELAY_DSN_FAILED) < 0);
	cr_assert(counter_sum(COUNTER_RELAY_DSN_ERRORS) == 1);
	cr_assert(arrived_n == 1);
	cr_assert(setrlimit(RLIMIT_FSIZE, &before) == 0);
}
