/* SPDX-License-Identifier: MIT */
/* meta.c -- envelopes and attempts as octets and back; what is cut short or makes no sense. */
#include "image.h"

#include <stdlib.h>

static uint8_t meta[8192];

static const char *text_of(struct span span)
{
	static char texts[8][512];
	static unsigned next;
	char *text = texts[next++ % COUNT_OF(texts)];

	memcpy(text, span.p, min_size(span.n, 511));
	text[min_size(span.n, 511)] = '\0';
	return text;
}

static struct spool_record record_of(struct span bytes)
{
	return (struct spool_record){
		.type = SPOOL_RECORD_MESSAGE, .id = 5, .meta_n = (uint32_t)bytes.n};
}

static struct span envelope_write(struct image_envelope *envelope, const uint8_t *fates)
{
	uint64_t n = spool_meta_bytes(&envelope->envelope);

	cr_assert(n <= sizeof(meta));
	memset(meta, 0xee, sizeof(meta));
	spool_meta_write(meta, &envelope->envelope, fates, NULL);
	cr_assert_eq(meta[n], 0xee, "no more than it said");
	return span_of(meta, n);
}

static struct spool_item *item_read(struct span bytes)
{
	struct spool_record record = record_of(bytes);
	struct spool_item *item;

	cr_assert_eq(spool_meta_read(&item, &record, bytes), 0);
	return item;
}

static struct image_envelope rich;
static const uint8_t rich_fates[] = {SPOOL_FATE_DELIVERED, SPOOL_FATE_PENDING, SPOOL_FATE_BOUNCED};

static void rich_make(void)
{
	image_envelope(&rich, "s@example.net", "a@example.org b@example.org postmaster");
	rich.envelope.body = SMTP_BODY_BINARYMIME;
	rich.envelope.ret = SMTP_RET_HDRS;
	rich.envelope.smtputf8 = true;
	rich.envelope.requiretls = true;
	rich.envelope.size = 0x123456789a;
	rich.envelope.envid = span_str("QQ314159");
	rich.recipients[1].notify = SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY;
	rich.recipients[1].orcpt = span_str("rfc822;b+2B@example.org");
}

static void rich_check(const struct spool_entry *entry)
{
	const struct smtp_envelope *envelope = &entry->envelope;
	const struct list *node = envelope->recipients.next;

	cr_assert_eq(envelope->body, SMTP_BODY_BINARYMIME);
	cr_assert_eq(envelope->ret, SMTP_RET_HDRS);
	cr_assert(envelope->smtputf8);
	cr_assert(envelope->requiretls);
	cr_assert_eq(envelope->size, 0x123456789a);
	cr_assert_str_eq(text_of(envelope->envid), "QQ314159");
	cr_assert_str_eq(text_of(envelope->reverse_path.text), "s@example.net");
	cr_assert_eq(envelope->recipients_n, 3);
	cr_assert_eq(entry->recipients_n, 3);
	cr_assert_eq(entry->pending_n, 1);
	for (size_t i = 0; i < 3; i++, node = node->next) {
		const struct spool_recipient *recipient = &entry->recipients[i];

		cr_assert_eq(node, &recipient->smtp.node, "the envelope lists the array");
		cr_assert(
			span_equal(recipient->smtp.address.text, rich.recipients[i].address.text));
		cr_assert(span_equal(recipient->smtp.orcpt, rich.recipients[i].orcpt));
		cr_assert_eq(recipient->smtp.notify, rich.recipients[i].notify);
		cr_assert_eq(recipient->fate, rich_fates[i]);
		cr_assert_null(recipient->relay);
	}
	cr_assert_eq(node, &envelope->recipients);
}

Test(meta, envelope_there_and_back)
{
	struct spool_item *item;
	struct span bytes;

	rich_make();
	bytes = envelope_write(&rich, rich_fates);
	item = item_read(bytes);
	memset(meta, 0, sizeof(meta)); /* the item stands on its own */
	rich_check(&item->entry);
	spool_item_free(item);
}

Test(meta, tls_there_and_back)
{
	static const struct {
		bool requiretls, tls_optional, reads_optional;
	} rows[] = {{false, false, false}, {true, false, false}, {false, true, true},
		{true, true, false}}; /* REQUIRETLS goes first */

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct spool_item *item;

		rich_make();
		rich.envelope.requiretls = rows[i].requiretls;
		rich.envelope.tls_optional = rows[i].tls_optional;
		item = item_read(envelope_write(&rich, rich_fates));
		cr_expect_eq(item->entry.envelope.requiretls, rows[i].requiretls);
		cr_expect_eq(item->entry.envelope.tls_optional, rows[i].reads_optional);
		spool_item_free(item);
	}
}

Test(meta, a_new_item_is_as_one_read)
{
	struct spool_record record = {.type = SPOOL_RECORD_MESSAGE,
		.flags = SPOOL_FLAG_8BIT | SPOOL_FLAG_BARE,
		.id = 77,
		.real_s = 1700000000,
		.body_n = 1234,
		.attempts = 2,
		.due_s = 1700000100};
	struct spool_item *item;

	rich_make();
	record.meta_n = (uint32_t)spool_meta_bytes(&rich.envelope);
	item = spool_item_new(&record, &rich.envelope, rich_fates);
	cr_assert_not_null(item);
	rich_check(&item->entry);
	cr_assert_eq(item->meta_n, record.meta_n);
	cr_assert_eq(item->record_bytes, spool_record_bytes(&record));
	cr_assert_eq(item->entry.id, 77);
	cr_assert_eq(item->entry.arrived_real_us, 1700000000000000);
	cr_assert_eq(item->entry.size, 1234);
	cr_assert_eq(item->entry.attempts, 2);
	cr_assert_eq(item->entry.due_real_s, 1700000100);
	cr_assert(item->entry.has_8bit && item->entry.has_bare);
	cr_assert(!item->entry.large && !item->entry.held);
	spool_item_free(item);
}

/* The item's copy of an envelope gives the same octets again: what a copy to the head writes. */
Test(meta, what_was_read_is_written_alike)
{
	struct spool_item *item;
	uint8_t again[sizeof(meta)];
	bool warned[] = {true, false, true};
	struct span bytes;

	rich_make();
	spool_meta_write(meta, &rich.envelope, rich_fates, warned);
	bytes = span_of(meta, spool_meta_bytes(&rich.envelope));
	item = item_read(bytes);
	for (size_t i = 0; i < 3; i++)
		cr_assert_eq(item->entry.recipients[i].warned, warned[i]);
	cr_assert_eq(spool_meta_bytes(&item->entry.envelope), bytes.n);
	spool_meta_write(again, &item->entry.envelope, rich_fates, warned);
	cr_assert_arr_eq(again, meta, bytes.n);
	spool_item_free(item);
}

Test(meta, addresses_are_taken_apart)
{
	static const struct {
		const char *text, *local, *domain;
		bool utf8;
	} rows[] = {
		{"", "", "", false},
		{"a@example.org", "a", "example.org", false},
		{"postmaster", "postmaster", "", false},
		{"\"a@b\"@example.org", "\"a@b\"", "example.org", false},
		{"\"a\\\"@b\"@[192.0.2.1]", "\"a\\\"@b\"", "[192.0.2.1]", false},
		{"x@[Tag:a@b]", "x", "[Tag:a@b]", false},
		{"\"", "\"", "", false},
		{"\"\\", "\"\\", "", false},
		{"d\xc3\xb6ner@example.org", "d\xc3\xb6ner", "example.org", true},
		{"a@d\xc3\xb6ner.example", "a", "d\xc3\xb6ner.example", true},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct image_envelope envelope;
		struct smtp_address *address;
		struct spool_item *item;

		image_envelope(&envelope, rows[i].text, "x");
		item = item_read(envelope_write(&envelope, NULL));
		address = &item->entry.envelope.reverse_path;
		cr_assert_str_eq(text_of(address->local), rows[i].local, "%s", rows[i].text);
		cr_assert_str_eq(text_of(address->domain), rows[i].domain, "%s", rows[i].text);
		cr_assert_eq(address->utf8, rows[i].utf8, "%s", rows[i].text);
		spool_item_free(item);
	}
}

/* Exact memory, so that AddressSanitizer sees a step too far. */
static int read_exact(struct span bytes, struct spool_item **item)
{
	struct spool_record record = record_of(bytes);
	uint8_t *copy = malloc(bytes.n > 0 ? bytes.n : 1);
	int res;

	if (bytes.n > 0)
		memcpy(copy, bytes.p, bytes.n);
	res = spool_meta_read(item, &record, span_of(copy, bytes.n));
	free(copy);
	return res;
}

Test(meta, cut_anywhere_or_too_long)
{
	struct spool_item *item;
	struct span bytes;

	rich_make();
	bytes = envelope_write(&rich, NULL);
	for (size_t n = 0; n < bytes.n; n++) {
		cr_assert_eq(read_exact(span_of(meta, n), &item), -EBADMSG, "%zu octets", n);
		cr_assert_null(item);
	}
	cr_assert_eq(read_exact(span_of(meta, bytes.n + 1), &item), -EBADMSG);
}

Test(meta, values_that_make_no_sense)
{
	static const struct {
		const char *what;
		size_t at;
		uint8_t value;
	} rows[] = {
		{"body kind", 0, 3},
		{"ret", 1, 3},
		{"smtputf8", 2, 2},
		{"TLS", 3, 3},
		{"recipients: one fewer", 4, 2},
		{"recipients: one more", 4, 4},
		{"recipients: four thousand million", 7, 0xff},
		{"reverse-path longer than what is there", 17, 0xff},
		{"fate", 41, 4},
		{"NOTIFY", 42, 16},
		{"warned", 43, 2},
		{"zero of a recipient", 44, 1},
	};

	rich_make();
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct span bytes = envelope_write(&rich, NULL);
		struct spool_item *item;

		meta[rows[i].at] = rows[i].value;
		cr_assert_eq(read_exact(bytes, &item), -EBADMSG, "%s", rows[i].what);
	}
}

/* ---- attempts ---- */

static struct spool_item *pending_item(void)
{
	struct image_envelope envelope;

	image_envelope(&envelope, "s@example.net", "a@x b@x c@x");
	return item_read(envelope_write(&envelope, NULL));
}

static const struct spool_fate_change changes[] = {
	{0, SPOOL_FATE_DELIVERED, false},
	{2, SPOOL_FATE_PENDING, true},
};

static const struct spool_attempt attempt = {
	.next_hop = "smtp:mx.example.org:25 [192.0.2.1]",
	.text = "250 2.0.0 ok",
	.changes = changes,
	.changes_n = 2,
	.due_real_s = 1700009999,
	.held = true,
	.counts = true,
};

static struct span attempt_write(const struct spool_attempt *what)
{
	cr_assert(spool_attempt_meta_bytes(what) <= sizeof(meta));
	spool_attempt_meta_write(meta, what);
	return span_of(meta, spool_attempt_meta_bytes(what));
}

static struct spool_record attempt_record(struct span bytes)
{
	return (struct spool_record){.type = SPOOL_RECORD_ATTEMPT,
		.real_s = 1700000005,
		.due_s = 1700009999,
		.meta_n = (uint32_t)bytes.n};
}

static void attempt_check(const struct spool_item *item)
{
	const struct spool_entry *entry = &item->entry;
	const struct spool_attempt_kept *kept = item->tries;

	cr_assert_eq(entry->pending_n, 2);
	cr_assert_eq(entry->recipients[0].fate, SPOOL_FATE_DELIVERED);
	cr_assert_eq(entry->recipients[2].fate, SPOOL_FATE_PENDING);
	cr_assert(!entry->recipients[0].warned && entry->recipients[2].warned);
	cr_assert_eq(entry->attempts, 1);
	cr_assert_eq(entry->due_real_s, 1700009999);
	cr_assert(entry->held);
	cr_assert_eq(item->tries_n, 1);
	cr_assert(kept != NULL && kept->next == NULL);
	cr_assert_eq(kept->record.real_s, 1700000005);
	cr_assert_eq(kept->record.recipients_n, 2);
	cr_assert_str_eq(kept->record.next_hop, attempt.next_hop);
	cr_assert_str_eq(kept->record.text, attempt.text);
}

Test(meta, attempt_reported_and_read_are_the_same)
{
	struct spool_item *reported = pending_item(), *read = pending_item();
	struct span bytes = attempt_write(&attempt);
	struct spool_record record = attempt_record(bytes);

	spool_attempt_apply(reported, &attempt, 1700000005);
	attempt_check(reported);
	cr_assert_eq(spool_attempt_meta_read(read, &record, bytes), 0);
	attempt_check(read);
	spool_item_free(reported);
	spool_item_free(read);
}

Test(meta, final_fates_stay)
{
	static const struct spool_fate_change other[] = {
		{0, SPOOL_FATE_BOUNCED, false}, {0, SPOOL_FATE_PENDING, false}};
	struct spool_attempt second = attempt;
	struct spool_item *item = pending_item();

	second.changes = other;
	spool_attempt_apply(item, &attempt, 1);
	spool_attempt_apply(item, &second, 2);
	cr_assert_eq(item->entry.recipients[0].fate, SPOOL_FATE_DELIVERED);
	cr_assert_eq(item->entry.pending_n, 2);
	cr_assert_eq(item->entry.attempts, 2);
	spool_item_free(item);
}

Test(meta, the_newest_attempts_are_kept)
{
	struct spool_item *item = pending_item();
	uint64_t expected = 5;

	for (uint64_t i = 1; i <= SPOOL_ATTEMPTS_MAX + 4; i++) {
		struct spool_attempt no = attempt;

		no.counts = i % 2 == 0;
		spool_attempt_apply(item, &no, i);
	}
	cr_assert_eq(item->tries_n, SPOOL_ATTEMPTS_MAX);
	cr_assert_eq(item->entry.attempts, (SPOOL_ATTEMPTS_MAX + 4) / 2);
	for (struct spool_attempt_kept *kept = item->tries; kept != NULL; kept = kept->next)
		cr_assert_eq(kept->record.real_s, expected++);
	cr_assert_eq(expected, SPOOL_ATTEMPTS_MAX + 5);
	spool_item_free(item);
}

/* The number in the header counts what lost records would have. */
Test(meta, attempts_of_the_header)
{
	struct spool_item *item = pending_item();
	struct span bytes = attempt_write(&attempt);
	struct spool_record record = attempt_record(bytes);

	record.attempts = 9;
	cr_assert_eq(spool_attempt_meta_read(item, &record, bytes), 0);
	cr_assert_eq(item->entry.attempts, 9);
	spool_item_free(item);
}

Test(meta, long_texts_are_cut)
{
	char hop[2 * SPOOL_HOP_MAX], text[2 * SPOOL_TEXT_MAX];
	struct spool_attempt wordy = {.next_hop = hop, .text = text};
	struct spool_item *item = pending_item();
	struct spool_record record;
	struct span bytes;

	memset(hop, 'h', sizeof(hop));
	memset(text, 't', sizeof(text));
	hop[sizeof(hop) - 1] = text[sizeof(text) - 1] = '\0';
	bytes = attempt_write(&wordy);
	record = attempt_record(bytes);
	cr_assert_eq(spool_attempt_meta_read(item, &record, bytes), 0);
	spool_attempt_apply(item, &wordy, 1);
	for (struct spool_attempt_kept *kept = item->tries; kept != NULL; kept = kept->next) {
		cr_assert_eq(strlen(kept->record.next_hop), SPOOL_HOP_MAX - 1);
		cr_assert_eq(strlen(kept->record.text), SPOOL_TEXT_MAX - 1);
	}
	spool_item_free(item);
}

Test(meta, bad_attempts_change_nothing)
{
	static const struct {
		const char *what;
		size_t at;
		uint8_t value;
	} rows[] = {
		{"flags", 0, 4},
		{"zero", 1, 1},
		{"changes", 4, 3},
		{"many changes", 7, 0xff},
		{"recipient", 16, 3},
		{"fate", 20, 4},
		{"warned", 21, 2},
		{"zero of a change", 22, 1},
		{"length of the next hop", 25, 0xff},
	};
	struct spool_item *item = pending_item();
	struct span bytes = attempt_write(&attempt);
	struct spool_record record = attempt_record(bytes);

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		bytes = attempt_write(&attempt);
		meta[rows[i].at] = rows[i].value;
		cr_assert_eq(spool_attempt_meta_read(item, &record, bytes), -EBADMSG, "%s",
			rows[i].what);
	}
	bytes = attempt_write(&attempt);
	for (size_t n = 0; n < bytes.n; n++) {
		record.meta_n = (uint32_t)n;
		cr_assert_eq(spool_attempt_meta_read(item, &record, span_of(meta, n)), -EBADMSG);
	}
	cr_assert_eq(item->entry.pending_n, 3);
	cr_assert_eq(item->entry.attempts, 0);
	cr_assert(!item->entry.held && item->tries_n == 0);
	spool_item_free(item);
}
