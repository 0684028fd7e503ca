/* SPDX-License-Identifier: MIT */
/*
 * meta.c -- the meta part of a record: an envelope, or what an attempt changed, as octets and back.
 *
 * An item keeps the octets of its meta behind itself and its spans point into them: the same few
 * lines read a record from disk and take over an envelope at its commit, which so go through one
 * parser. Lengths are checked against the octets that are there before anything is allocated; what is
 * inside of strings is not judged, as what was accepted must come back.
 *
 * Fates only move from PENDING to a final one. Non-goals: where records lie (scan.c, recover.c).
 */
#include "spool/store-private.h"

#include <errno.h>
#include <stdlib.h>

#define MESSAGE_FIXED   16 /* of a message's meta, before its strings */
#define RECIPIENT_FIXED 4
#define ATTEMPT_FIXED   8
#define CHANGE_BYTES    8
#define STRING_HEAD     2
#define RECIPIENT_MIN   (RECIPIENT_FIXED + 2 * STRING_HEAD)

enum { ATTEMPT_HELD = 1, ATTEMPT_COUNTS = 2 };

/* ---- writing ---- */

static uint8_t *put(uint8_t *out, uint64_t value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		*out++ = (uint8_t)(value >> (8 * i));
	return out;
}

static uint8_t *put_string(uint8_t *out, struct span text)
{
	ASSERT(text.n <= UINT16_MAX); /* command lines are far shorter */
	out = put(out, text.n, STRING_HEAD);
	if (text.n > 0)
		memcpy(out, text.p, text.n);
	return out + text.n;
}

static const struct smtp_recipient *recipient_of(const struct list *node)
{
	return container_of(node, const struct smtp_recipient, node);
}

uint64_t spool_meta_bytes(const struct smtp_envelope *envelope)
{
	uint64_t n =
		MESSAGE_FIXED + 2 * STRING_HEAD + envelope->reverse_path.text.n + envelope->envid.n;

	for (const struct list *node = envelope->recipients.next; node != &envelope->recipients;
		node = node->next)
		n += RECIPIENT_MIN + recipient_of(node)->address.text.n +
		     recipient_of(node)->orcpt.n;
	return n;
}

enum { META_TLS_ANY, META_TLS_REQUIRED, META_TLS_OPTIONAL };

static uint8_t tls_of(const struct smtp_envelope *envelope)
{
	if (envelope->requiretls)
		return META_TLS_REQUIRED;
	return envelope->tls_optional ? META_TLS_OPTIONAL : META_TLS_ANY;
}

void spool_meta_write(uint8_t *out, const struct smtp_envelope *envelope, const uint8_t *fates,
	const bool *warned)
{
	uint32_t i = 0;

	out = put(out, envelope->body, 1);
	out = put(out, envelope->ret, 1);
	out = put(out, envelope->smtputf8, 1);
	out = put(out, tls_of(envelope), 1);
	out = put(out, envelope->recipients_n, 4);
	out = put(out, envelope->size, 8);
	out = put_string(out, envelope->reverse_path.text);
	out = put_string(out, envelope->envid);
	for (const struct list *node = envelope->recipients.next; node != &envelope->recipients;
		node = node->next, i++) {
		out = put(out, fates == NULL ? (uint8_t)SPOOL_FATE_PENDING : fates[i], 1);
		out = put(out, recipient_of(node)->notify, 1);
		out = put(out, warned != NULL && warned[i], 1);
		out = put(out, 0, 1);
		out = put_string(out, recipient_of(node)->address.text);
		out = put_string(out, recipient_of(node)->orcpt);
	}
	ASSERT(i == envelope->recipients_n);
}

/* ---- reading ---- */

/* What is left of the octets; once something was missing, everything is. */
struct reader {
	struct span rest;
	bool bad;
};

static uint64_t get(struct reader *reader, size_t n)
{
	struct span bytes = span_take(&reader->rest, n);
	uint64_t value = 0;

	if (bytes.n < n)
		reader->bad = true;
	for (size_t i = bytes.n; i-- > 0;)
		value = value << 8 | bytes.p[i];
	return value;
}

/* An octet that must not be above `max`. */
static uint8_t get_upto(struct reader *reader, uint8_t max)
{
	uint64_t value = get(reader, 1);

	if (value > max)
		reader->bad = true;
	return (uint8_t)value;
}

static struct span get_string(struct reader *reader)
{
	size_t n = get(reader, STRING_HEAD);
	struct span text = span_take(&reader->rest, n);

	if (text.n < n)
		reader->bad = true;
	return text;
}

/* Octets of the Local-part: a quoted string may hold an @, an atom may not. */
static size_t local_octets(struct span text)
{
	size_t n = 0;

	if (text.n > 0 && text.p[0] == '"')
		for (n = 1; n < text.n && text.p[n] != '"'; n++)
			if (text.p[n] == '\\')
				n++;
	while (n < text.n && text.p[n] != '@')
		n++;
	return min_size(n, text.n);
}

static struct smtp_address address_of(struct span text)
{
	struct smtp_address address = {.text = text, .local = text};

	address.domain = text;
	address.local = span_take(&address.domain, local_octets(text));
	(void)span_take(&address.domain, 1);
	for (size_t i = 0; i < text.n; i++)
		address.utf8 = address.utf8 || text.p[i] >= 0x80;
	return address;
}

static void read_recipient(
	struct reader *reader, struct spool_entry *entry, struct spool_recipient *recipient)
{
	recipient->fate = get_upto(reader, SPOOL_FATE_DELETED);
	recipient->smtp.notify = get_upto(reader, 15);
	recipient->warned = get_upto(reader, 1) != 0;
	(void)get_upto(reader, 0);
	recipient->smtp.address = address_of(get_string(reader));
	recipient->smtp.orcpt = get_string(reader);
	list_push_back(&entry->envelope.recipients, &recipient->smtp.node);
	entry->pending_n += recipient->fate == SPOOL_FATE_PENDING;
}

/* Fills the entry of spans into `meta`, which must live as long. */
static int read_envelope(struct spool_entry *entry, struct span meta)
{
	struct smtp_envelope *envelope = &entry->envelope;
	struct reader reader = {.rest = meta};
	uint8_t tls;

	envelope->body = (enum smtp_body)get_upto(&reader, SMTP_BODY_BINARYMIME);
	envelope->ret = (enum smtp_ret)get_upto(&reader, SMTP_RET_HDRS);
	envelope->smtputf8 = get_upto(&reader, 1) != 0;
	tls = get_upto(&reader, META_TLS_OPTIONAL);
	envelope->requiretls = tls == META_TLS_REQUIRED;
	envelope->tls_optional = tls == META_TLS_OPTIONAL;
	(void)get(&reader, 4); /* the recipients' number: the item was made for them */
	envelope->size = get(&reader, 8);
	envelope->reverse_path = address_of(get_string(&reader));
	envelope->envid = get_string(&reader);
	for (uint32_t i = 0; i < entry->recipients_n && !reader.bad; i++)
		read_recipient(&reader, entry, &entry->recipients[i]);
	return reader.bad || reader.rest.n > 0 ? -EBADMSG : 0;
}

/* ---- items ---- */

/* One allocation: item, recipients, meta. */
static struct spool_item *item_alloc(
	const struct spool_record *record, uint32_t recipients_n, size_t meta_n, uint8_t **meta)
{
	size_t recipients_bytes = recipients_n * sizeof(struct spool_recipient);
	struct spool_item *item = calloc(1, sizeof(*item) + recipients_bytes + meta_n);
	struct spool_entry *entry;

	if (item == NULL)
		return NULL;
	*meta = (uint8_t *)(item + 1) + recipients_bytes;
	item->meta_n = (uint32_t)meta_n;
	item->record_bytes = spool_record_bytes(record);
	entry = &item->entry;
	list_init(&item->mates);
	list_init(&entry->node);
	list_init(&entry->relay_node);
	wheel_timer_init(&entry->due, NULL);
	entry->id = record->id;
	entry->arrived_real_us = record->real_s * 1000000;
	entry->size = record->body_n;
	entry->large = record->flags & SPOOL_FLAG_LARGE;
	entry->has_8bit = record->flags & SPOOL_FLAG_8BIT;
	entry->has_bare = record->flags & SPOOL_FLAG_BARE;
	entry->held = record->flags & SPOOL_FLAG_HELD;
	entry->attempts = record->attempts;
	entry->due_real_s = record->due_s;
	list_init(&entry->envelope.recipients);
	entry->envelope.recipients_n = recipients_n;
	entry->recipients = (struct spool_recipient *)(item + 1);
	entry->recipients_n = recipients_n;
	return item;
}

int spool_meta_read(struct spool_item **out, const struct spool_record *record, struct span meta)
{
	struct reader reader = {.rest = meta};
	uint64_t recipients_n;
	struct spool_item *item;
	uint8_t *copy;

	*out = NULL;
	(void)get(&reader, 4);
	recipients_n = get(&reader, 4);
	if (record->type != SPOOL_RECORD_MESSAGE || meta.n != record->meta_n ||
		meta.n < MESSAGE_FIXED || recipients_n > meta.n / RECIPIENT_MIN)
		return -EBADMSG;
	item = item_alloc(record, (uint32_t)recipients_n, meta.n, &copy);
	if (item == NULL)
		return -ENOMEM;
	memcpy(copy, meta.p, meta.n);
	if (read_envelope(&item->entry, span_of(copy, meta.n)) != 0) {
		spool_item_free(item);
		return -EBADMSG;
	}
	*out = item;
	return 0;
}

void spool_item_record(const struct spool_item *item, struct spool_record *record)
{
	const struct spool_entry *entry = &item->entry;

	*record = (struct spool_record){
		.type = SPOOL_RECORD_MESSAGE,
		.flags = (uint8_t)((entry->large ? SPOOL_FLAG_LARGE : 0) |
				   (entry->has_8bit ? SPOOL_FLAG_8BIT : 0) |
				   (entry->has_bare ? SPOOL_FLAG_BARE : 0) |
				   (entry->held ? SPOOL_FLAG_HELD : 0)),
		.id = entry->id,
		.real_s = entry->arrived_real_us / 1000000,
		.body_n = entry->size,
		.meta_n = item->meta_n,
		.attempts = entry->attempts,
		.due_s = entry->due_real_s,
	};
}

struct spool_item *spool_item_new(const struct spool_record *record,
	const struct smtp_envelope *envelope, const uint8_t *fates)
{
	size_t meta_n = spool_meta_bytes(envelope);
	struct spool_item *item;
	uint8_t *meta;

	item = item_alloc(record, envelope->recipients_n, meta_n, &meta);
	if (item == NULL)
		return NULL;
	spool_meta_write(meta, envelope, fates, NULL);
	ASSERT(read_envelope(&item->entry, span_of(meta, meta_n)) == 0);
	return item;
}

void spool_item_free(struct spool_item *item)
{
	while (item != NULL && item->tries != NULL) {
		struct spool_attempt_kept *kept = item->tries;

		item->tries = kept->next;
		free(kept);
	}
	free(item);
}

/* ---- attempts ---- */

static struct span text_cut(const char *text, size_t room)
{
	return span_of(text, min_size(strlen(text), room - 1));
}

uint64_t spool_attempt_meta_bytes(const struct spool_attempt *attempt)
{
	return ATTEMPT_FIXED + (uint64_t)attempt->changes_n * CHANGE_BYTES + 2 * STRING_HEAD +
	       text_cut(attempt->next_hop, SPOOL_HOP_MAX).n +
	       text_cut(attempt->text, SPOOL_TEXT_MAX).n;
}

void spool_attempt_meta_write(uint8_t *out, const struct spool_attempt *attempt)
{
	unsigned flags =
		(attempt->held ? ATTEMPT_HELD : 0u) | (attempt->counts ? ATTEMPT_COUNTS : 0u);

	out = put(out, flags, 4);
	out = put(out, attempt->changes_n, 4);
	for (uint32_t i = 0; i < attempt->changes_n; i++) {
		const struct spool_fate_change *change = &attempt->changes[i];

		out = put(out, change->recipient, 4);
		out = put(out, change->fate, 1);
		out = put(out, change->warned, 1);
		out = put(out, 0, 2);
	}
	out = put_string(out, text_cut(attempt->next_hop, SPOOL_HOP_MAX));
	put_string(out, text_cut(attempt->text, SPOOL_TEXT_MAX));
}

/* Final fates stay; a warning that was sent stays sent. */
static void apply_change(struct spool_item *item, const struct spool_fate_change *change)
{
	struct spool_recipient *recipient = &item->entry.recipients[change->recipient];

	recipient->warned = recipient->warned || change->warned;
	if (recipient->fate != SPOOL_FATE_PENDING || change->fate == SPOOL_FATE_PENDING)
		return;
	recipient->fate = change->fate;
	item->entry.pending_n--;
}

/* NUL would end the text early, so it becomes '?'. */
static void keep_text(char *out, size_t room, struct span text)
{
	size_t n = min_size(text.n, room - 1);

	for (size_t i = 0; i < n; i++)
		out[i] = text.p[i] == '\0' ? '?' : (char)text.p[i];
	out[n] = '\0';
}

/* The oldest makes room for the newest. Without memory the attempt is not remembered. */
static void keep_attempt(struct spool_item *item, const struct spool_attempt_record *what,
	struct span next_hop, struct span text)
{
	struct spool_attempt_kept **last = &item->tries;
	struct spool_attempt_kept *kept;

	if (item->tries_n < SPOOL_ATTEMPTS_MAX) {
		kept = malloc(sizeof(*kept));
	} else {
		kept = item->tries;
		item->tries = kept->next;
		item->tries_n--;
	}
	if (kept == NULL)
		return;
	kept->record.real_s = what->real_s;
	kept->record.recipients_n = what->recipients_n;
	keep_text(kept->record.next_hop, SPOOL_HOP_MAX, next_hop);
	keep_text(kept->record.text, SPOOL_TEXT_MAX, text);
	kept->next = NULL;
	while (*last != NULL)
		last = &(*last)->next;
	*last = kept;
	item->tries_n++;
}

void spool_attempt_apply(
	struct spool_item *item, const struct spool_attempt *attempt, uint64_t real_s)
{
	struct spool_attempt_record what = {.real_s = real_s, .recipients_n = attempt->changes_n};

	for (uint32_t i = 0; i < attempt->changes_n; i++) {
		ASSERT(attempt->changes[i].recipient < item->entry.recipients_n);
		ASSERT(attempt->changes[i].fate <= SPOOL_FATE_DELETED);
		apply_change(item, &attempt->changes[i]);
	}
	item->entry.held = attempt->held;
	item->entry.due_real_s = attempt->due_real_s;
	item->entry.attempts += attempt->counts;
	keep_attempt(item, &what, text_cut(attempt->next_hop, SPOOL_HOP_MAX),
		text_cut(attempt->text, SPOOL_TEXT_MAX));
}

static struct spool_fate_change read_change(struct reader *reader)
{
	struct spool_fate_change change;

	change.recipient = (uint32_t)get(reader, 4);
	change.fate = get_upto(reader, SPOOL_FATE_DELETED);
	change.warned = get_upto(reader, 1) != 0;
	(void)get_upto(reader, 0);
	(void)get_upto(reader, 0);
	return change;
}

/* Looked at as a whole before any of it is applied. */
int spool_attempt_meta_read(
	struct spool_item *item, const struct spool_record *record, struct span meta)
{
	struct spool_attempt_record what = {.real_s = record->real_s};
	struct reader reader = {.rest = meta};
	struct spool_entry *entry = &item->entry;
	struct span next_hop, text;
	struct reader changes;
	uint64_t flags;

	flags = get(&reader, 4);
	what.recipients_n = (uint32_t)get(&reader, 4);
	if (record->type != SPOOL_RECORD_ATTEMPT || meta.n != record->meta_n ||
		(flags & ~(uint64_t)(ATTEMPT_HELD | ATTEMPT_COUNTS)) != 0)
		return -EBADMSG;
	changes = reader;
	for (uint32_t i = 0; i < what.recipients_n && !reader.bad; i++)
		if (read_change(&reader).recipient >= entry->recipients_n)
			reader.bad = true;
	next_hop = get_string(&reader);
	text = get_string(&reader);
	if (reader.bad || reader.rest.n > 0)
		return -EBADMSG;
	for (uint32_t i = 0; i < what.recipients_n; i++) {
		struct spool_fate_change change = read_change(&changes);

		apply_change(item, &change);
	}
	entry->held = flags & ATTEMPT_HELD;
	entry->due_real_s = record->due_s;
	/* The header has the sum, so that an attempt written behind a copy is not counted twice. */
	if (record->attempts == 0)
		entry->attempts += (flags & ATTEMPT_COUNTS) != 0;
	else if (entry->attempts < record->attempts)
		entry->attempts = record->attempts;
	keep_attempt(item, &what, next_hop, text);
	return 0;
}
