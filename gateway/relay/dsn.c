/* SPDX-License-Identifier: MIT */
/*
 * dsn.c -- reports to senders (RFC 3461, RFC 3464): whether one is due, and its way into the spool
 * as a message of our own, from <> to the reverse-path.
 *
 * The text is dsn_text.c's, the copy of the original dsn_copy.c's; here one report at a time feeds
 * them to the spool: never more than one thing under way (an append that waits, a read, the commit).
 *
 * What comes with a report: the whole message when it failed, the sender asked for it (RET=FULL),
 * the operator allows it (bounce_body) and it is neither large nor binary; else its header. When the
 * original cannot be read the report goes without: it says what matters. A message with REQUIRETLS is
 * never returned whole, and its report has REQUIRETLS, too; it goes without it where it has to, as
 * nobody could be told otherwise (RFC 8689 5).
 *
 * A report of ours that cannot be delivered is never answered by another one: its reverse-path is
 * null, and NOTIFY=NEVER says so to next hops.
 */
#include "relay/dsn-private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/counter.h"

#define REPORTS_MAX   16 /* a worker */
#define FULL_MAX      (1u << 20)
#define HEADER_MAX    (256u * 1024)
#define READ_BYTES    16384
#define OUT_BYTES     32768
#define ADDRESS_BYTES 512

struct report {
	struct list node;
	struct relay *relay;
	struct spool_entry *entry;
	struct spool_owner owner;
	struct spool_message *message;
	struct spool_access access;
	struct op op; /* a read, or a turn's rest before going on */
	bool reading;
	bool waiting; /* for the spool's ready() */
	bool opened;  /* access is to be closed */
	bool tried;   /* to open the original */
	bool copying;
	uint64_t left; /* octets of the original still to be read */
	uint64_t at;
	struct span raw;     /* read, not copied yet */
	struct span pending; /* written, not taken by the spool yet */
	struct relay_dsn_report says;
	struct relay_dsn_text text;
	struct relay_dsn_copy copy;
	struct smtp_envelope envelope; /* of the report */
	struct smtp_recipient recipient;
	void (*done)(void *ctx, int res);
	void *ctx;
	char id[SPOOL_ID_MAX];
	char original_id[SPOOL_ID_MAX];
	uint8_t address[ADDRESS_BYTES];
	uint8_t in_bytes[READ_BYTES];
	uint8_t out_bytes[OUT_BYTES];
};

struct relay_dsns {
	struct pool pool;
	struct list reports;
};

static const struct kind {
	const char *name;
	enum counter counter;
	uint8_t notify;
	bool unasked; /* told without NOTIFY */
} kinds[] = {
	[RELAY_DSN_FAILED] = {"failed", COUNTER_RELAY_DSN_FAILED, SMTP_NOTIFY_FAILURE, true},
	[RELAY_DSN_DELAYED] = {"delayed", COUNTER_RELAY_DSN_DELAYED, SMTP_NOTIFY_DELAY, true},
	[RELAY_DSN_DELIVERED] = {"delivered", COUNTER_RELAY_DSN_DELIVERED, SMTP_NOTIFY_SUCCESS,
		false},
	[RELAY_DSN_RELAYED] = {"relayed", COUNTER_RELAY_DSN_RELAYED, SMTP_NOTIFY_SUCCESS, false},
};

bool relay_dsn_due(const struct spool_entry *entry, const struct spool_recipient *recipient,
	enum relay_dsn_kind kind)
{
	uint8_t notify = recipient->smtp.notify;

	if (entry->envelope.reverse_path.text.n == 0)
		return false;
	return notify == 0 ? kinds[kind].unasked : (notify & kinds[kind].notify) != 0;
}

/* ---- the end ---- */

static void original_close(struct report *report)
{
	if (report->opened)
		spool_body_close(&report->access);
	report->opened = false;
}

static void end(struct report *report, int res)
{
	void (*done)(void *ctx, int res) = report->done;
	void *ctx = report->ctx;

	ASSERT(!report->op.armed && !report->opened);
	if (res != 0)
		count(COUNTER_RELAY_DSN_ERRORS);
	list_remove(&report->node);
	pool_put(&report->relay->dsns->pool, report);
	done(ctx, res);
}

static void fail(struct report *report)
{
	int error = spool_error(report->message);

	original_close(report);
	if (spool_abort(report->message))
		ASSERT(!"nothing is spliced");
	end(report, error != 0 ? error : -EIO);
}

static void log_report(const struct report *report, enum counter counter, const char *name)
{
	struct event event;

	event_open(&event, counter, name);
	event_str(&event, "id", report->id);
	event_str(&event, "about", report->original_id);
	event_str(&event, "kind", kinds[report->says.kind].name);
	event_span(&event, "to", report->recipient.address.text);
	event_u64(&event, "recipients", report->says.recipients_n);
	event_close(&event);
}

static void committed(struct spool_owner *owner, int res, const struct smtp_verdict *verdict)
{
	struct report *report = container_of(owner, struct report, owner);

	if (res == 0)
		log_report(report, kinds[report->says.kind].counter, "dsn");
	if (res == 0 && verdict != NULL && verdict->code >= 500)
		log_report(report, EVENT_NO_COUNT, "dsn_refused");
	end(report, res);
}

/* ---- going on ---- */

static void go(struct report *report);

static void op_done(struct op *op, int res, uint32_t flags)
{
	struct report *report = container_of(op, struct report, op);

	(void)flags;
	if (report->reading && res > 0) {
		report->raw = span_of(report->in_bytes, (size_t)res);
		report->at += (uint64_t)res;
		report->left -= (uint64_t)res;
	} else if (report->reading) {
		log_report(report, EVENT_NO_COUNT, "dsn_original_cut");
		report->left = 0;
	}
	report->reading = false;
	go(report);
}

/* What comes next may end the report, so it does not happen inside the spool's callback. */
static void resume(struct report *report)
{
	ring_soon(report->relay->facts.ring, &report->op);
}

static void ready(struct spool_owner *owner)
{
	struct report *report = container_of(owner, struct report, owner);

	if (!report->waiting)
		return;
	report->waiting = false;
	resume(report);
}

static void original_opened(struct spool_access *access, int res)
{
	struct report *report = container_of(access, struct report, access);

	report->opened = res >= 0;
	if (res < 0) {
		log_report(report, EVENT_NO_COUNT, "dsn_original_missing");
		report->text.piece = RELAY_DSN_CLOSE;
	} else {
		report->at = access->body.offset;
		report->left = access->body.n;
		if (!report->says.full && report->left > HEADER_MAX)
			report->left = HEADER_MAX;
	}
	resume(report);
}

/* More of the original into `out`. False: it is being read. */
static bool copy_more(struct report *report, struct buf *out)
{
	struct relay_dsn_copy *copy = &report->copy;

	if (report->raw.n > 0 && !copy->ended) {
		relay_dsn_copy_feed(copy, &report->raw, out);
		return true;
	}
	if (report->left > 0 && !copy->ended) {
		size_t n = report->left < READ_BYTES ? (size_t)report->left : READ_BYTES;

		report->reading = true;
		ring_read(report->relay->facts.ring, &report->op, report->access.body.fd,
			report->in_bytes, n, report->at);
		return false;
	}
	relay_dsn_copy_end(copy, out);
	report->copying = false;
	original_close(report);
	return true;
}

/* Writes what is next into pending. False: something is under way that will go on. */
static bool produce(struct report *report)
{
	struct relay_dsn_text *text = &report->text;
	struct buf out;
	bool good = true;

	buf_init(&out, report->out_bytes, OUT_BYTES);
	if (report->copying) {
		good = copy_more(report, &out);
	} else if (text->piece == RELAY_DSN_ORIGINAL && !report->tried) {
		report->tried = true;
		report->access.opened = original_opened;
		report->access.in_file = true;
		spool_body_open(report->relay->facts.spool, report->entry, &report->access);
		return false;
	} else if (text->piece == RELAY_DSN_END) {
		spool_commit(report->message);
		return false;
	} else {
		report->copying = text->piece == RELAY_DSN_ORIGINAL;
		do
			relay_dsn_text_write(text, &report->says, &out);
		while (text->piece < RELAY_DSN_ORIGINAL && buf_room(&out) >= RELAY_DSN_PIECE_MAX);
	}
	report->pending = buf_span(&out);
	return good;
}

static void go(struct report *report)
{
	do {
		enum spool_step step = SPOOL_STEP_OK;

		if (report->pending.n > 0)
			step = spool_append(report->message, &report->pending);
		if (step == SPOOL_STEP_FAIL) {
			fail(report);
			return;
		}
		if (step == SPOOL_STEP_WAIT) {
			report->waiting = true;
			return;
		}
	} while (produce(report));
}

/* ---- the beginning ---- */

/* The original's reverse-path, in memory of the report's own. */
static void address_copy(struct report *report, const struct smtp_address *from)
{
	struct smtp_address *to = &report->recipient.address;
	size_t n = from->text.n;

	ASSERT(n > 0 && n <= ADDRESS_BYTES);
	memcpy(report->address, from->text.p, n);
	to->text = span_of(report->address, n);
	to->local = span_of(report->address + (from->local.p - from->text.p), from->local.n);
	to->domain = from->domain;
	if (from->domain.n > 0)
		to->domain.p = report->address + (from->domain.p - from->text.p);
	to->utf8 = from->utf8;
}

static void envelope_make(struct report *report)
{
	const struct relay_dsn_report *says = &report->says;

	address_copy(report, &says->envelope->reverse_path);
	report->recipient.notify = SMTP_NOTIFY_NEVER;
	list_init(&report->envelope.recipients);
	list_push_back(&report->envelope.recipients, &report->recipient.node);
	report->envelope.recipients_n = 1;
	report->envelope.smtputf8 = says->international;
	report->envelope.requiretls = says->envelope->requiretls;
	report->envelope.body =
		says->has_8bit || says->international ? SMTP_BODY_8BITMIME : SMTP_BODY_7BIT;
}

static bool returns_all(
	const struct relay *relay, const struct spool_entry *entry, enum relay_dsn_kind kind)
{
	return kind == RELAY_DSN_FAILED && entry->envelope.ret == SMTP_RET_FULL &&
	       !entry->envelope.requiretls && relay->settings->bounce_body &&
	       entry->size <= FULL_MAX && entry->envelope.body != SMTP_BODY_BINARYMIME;
}

static void says_make(struct report *report, enum relay_dsn_kind kind,
	const struct relay_dsn_recipient *recipients, uint32_t n)
{
	const struct relay *relay = report->relay;
	const struct spool_entry *entry = report->entry;
	struct relay_dsn_report *says = &report->says;

	*says = (struct relay_dsn_report){
		.kind = kind,
		.hostname = relay->facts.config->smtp.hostname,
		.id = report->id,
		.original_id = report->original_id,
		.now_s = clock_real_us() / 1000000,
		.arrived_s = entry->arrived_real_us / 1000000,
		.expires_s = (entry->arrived_real_us / 1000 + relay->settings->expire_ms) / 1000,
		.envelope = &entry->envelope,
		.recipients = recipients,
		.recipients_n = n,
		.full = returns_all(relay, entry, kind),
		.has_8bit = entry->has_8bit,
	};
	says->international = relay_dsn_international(says);
	if (getrandom(&says->boundary, sizeof(says->boundary), 0) != sizeof(says->boundary))
		says->boundary = clock_real_us();
	report->copy.header_only = !says->full;
	report->copy.eight_bit = says->has_8bit;
}

bool relay_dsn_write(struct relay *relay, struct spool_entry *entry, enum relay_dsn_kind kind,
	const struct relay_dsn_recipient *recipients, uint32_t n, void (*done)(void *ctx, int res),
	void *ctx)
{
	struct report *report = pool_get(&relay->dsns->pool);
	uint64_t id;
	struct buf out;

	ASSERT(n > 0);
	if (report == NULL) {
		count(COUNTER_RELAY_DSN_FULL);
		return false;
	}
	memset(report, 0, offsetof(struct report, address));
	report->relay = relay;
	report->entry = entry;
	report->done = done;
	report->ctx = ctx;
	report->op.done = op_done;
	report->owner = (struct spool_owner){.ready = ready, .committed = committed};
	id = spool_id(relay->facts.spool);
	spool_id_text(id, report->id);
	spool_id_text(entry->id, report->original_id);
	says_make(report, kind, recipients, n);
	envelope_make(report);
	buf_init(&out, report->out_bytes, OUT_BYTES);
	relay_dsn_text_write(&report->text, &report->says, &out);
	report->message = spool_begin(
		relay->facts.spool, &report->owner, &report->envelope, id, buf_span(&out));
	if (report->message == NULL) {
		pool_put(&relay->dsns->pool, report);
		return false;
	}
	list_push_back(&relay->dsns->reports, &report->node);
	resume(report);
	return true;
}

int relay_dsns_open(struct relay *relay, struct err *err)
{
	relay->dsns = calloc(1, sizeof(*relay->dsns));
	if (relay->dsns == NULL)
		return err_set(err, "out of memory");
	pool_open(&relay->dsns->pool, sizeof(struct report), REPORTS_MAX);
	list_init(&relay->dsns->reports);
	return 0;
}

bool relay_dsns_idle(const struct relay *relay)
{
	return list_empty(&relay->dsns->reports);
}

void relay_dsns_close(struct relay *relay)
{
	if (relay->dsns == NULL)
		return;
	pool_close(&relay->dsns->pool);
	free(relay->dsns);
	relay->dsns = NULL;
}
