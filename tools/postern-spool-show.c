/* SPDX-License-Identifier: MIT */
/*
 * postern-spool-show.c -- prints what was read: for people with everything foreign escaped, or as
 * JSON.
 *
 * In text an octet other than printable ASCII stands as \xHH, and so do blanks and backslashes where
 * a word is expected: nothing that a sender wrote can move a cursor or forge a column. In JSON a text
 * that is not UTF-8 is given in that form, too.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/postern-spool.h"

#define HEADER_MAX       (64 * 1024) /* of a message's header section that is shown */
#define RECIPIENTS_SHOWN 3           /* in a line of the list */
#define TEXT_MAX         2048        /* a text as it is printed; longer ones are cut */

static const char *const state_names[] = {"due", "deferred", "held", "done", "no-file"};
static const char *const fate_names[] = {"pending", "delivered", "bounced", "deleted"};
static const char *const body_names[] = {"7BIT", "8BITMIME", "BINARYMIME"};
static const char *const ret_names[] = {"-", "FULL", "HDRS"};

/* ---- texts ---- */

/* Escaped, as far as there is room. */
static void escape(struct span text, char *out, size_t room)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (size_t i = 0; i < text.n && n + 5 <= room; i++) {
		uint8_t c = text.p[i];

		if (c > ' ' && c < 0x7f && c != '\\') {
			out[n++] = (char)c;
			continue;
		}
		out[n++] = '\\';
		out[n++] = 'x';
		out[n++] = digits[c >> 4];
		out[n++] = digits[c & 0xf];
	}
	out[n] = '\0';
}

static const char *word(struct span text, char out[TEXT_MAX])
{
	escape(text, out, TEXT_MAX);
	return out;
}

/* A sentence: blanks stay. */
static void put_sentence(const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= ' ' && c < 0x7f && c != '\\')
			putchar(c);
		else
			printf("\\x%02x", c);
	}
}

static json_t *json_text(struct span text)
{
	json_t *value = json_stringn((const char *)text.p, text.n);
	char *escaped = value == NULL ? malloc(text.n * 4 + 1) : NULL;

	if (escaped != NULL) {
		escape(text, escaped, text.n * 4 + 1);
		value = json_string(escaped);
	}
	free(escaped);
	return value;
}

static json_t *json_u64(uint64_t n)
{
	return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
}

static json_t *json_id(uint64_t id)
{
	char text[SPOOL_ID_MAX];

	spool_id_text(id, text);
	return id == 0 ? json_null() : json_string(text);
}

static const char *age(uint64_t from_s, uint64_t now_s, char out[24])
{
	uint64_t s = now_s > from_s ? now_s - from_s : 0;

	if (s < 60)
		(void)snprintf(out, 24, "%" PRIu64 "s", s);
	else if (s < 3600)
		(void)snprintf(out, 24, "%" PRIu64 "m", s / 60);
	else if (s < 86400)
		(void)snprintf(out, 24, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
	else
		(void)snprintf(out, 24, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
	return out;
}

static const char *date(uint64_t real_s, char out[40])
{
	time_t at = (time_t)real_s;
	struct tm tm;

	if (real_s > INT32_MAX * (uint64_t)100 || gmtime_r(&at, &tm) == NULL ||
		strftime(out, 40, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		(void)snprintf(out, 40, "%" PRIu64 " s", real_s);
	return out;
}

static const char *path_word(struct span text, char out[TEXT_MAX])
{
	return text.n == 0 ? "<>" : word(text, out);
}

/* Prints and frees. */
static void json_put(json_t *value, size_t flags)
{
	if (json_dumpf(value, stdout, flags | JSON_ENSURE_ASCII) != 0)
		fputs("null", stdout);
	json_decref(value);
}

/* ---- list ---- */

static void list_line(const struct view *view, const struct view_message *message)
{
	const struct spool_entry *entry = &message->item->entry;
	char id[SPOOL_ID_MAX], since[24], text[TEXT_MAX];
	uint32_t shown = 0;

	spool_id_text(entry->id, id);
	printf("%s %8s %10" PRIu64 " %-8s %s ->", id,
		age(entry->arrived_real_us / 1000000, view->now_s, since), entry->size,
		state_names[message->state], path_word(entry->envelope.reverse_path.text, text));
	for (uint32_t i = 0; i < entry->recipients_n && shown < RECIPIENTS_SHOWN; i++) {
		if (entry->recipients[i].fate != SPOOL_FATE_PENDING)
			continue;
		printf(" %s", path_word(entry->recipients[i].smtp.address.text, text));
		shown++;
	}
	if (entry->pending_n > shown)
		printf(" +%" PRIu32, entry->pending_n - shown);
	putchar('\n');
}

/* What list and show have in common. */
static json_t *json_message(const struct view *view, const struct view_message *message)
{
	const struct spool_entry *entry = &message->item->entry;
	uint64_t arrived = entry->arrived_real_us / 1000000;
	json_t *pending = json_array();

	for (uint32_t i = 0; i < entry->recipients_n; i++)
		if (entry->recipients[i].fate == SPOOL_FATE_PENDING)
			json_array_append_new(
				pending, json_text(entry->recipients[i].smtp.address.text));
	return json_pack("{s:o, s:o, s:o, s:o, s:s, s:o, s:o, s:I, s:I, s:o, s:b, s:i}", "id",
		json_id(entry->id), "arrived", json_u64(arrived), "age_seconds",
		json_u64(view->now_s > arrived ? view->now_s - arrived : 0), "size",
		json_u64(entry->size), "state", state_names[message->state], "sender",
		json_text(entry->envelope.reverse_path.text), "pending", pending, "recipients",
		(json_int_t)entry->recipients_n, "attempts", (json_int_t)entry->attempts, "due",
		json_u64(entry->due_real_s), "large", entry->large, "shard", (int)message->shard);
}

static void json_held(const struct view *view)
{
	if (view->held_by != 0)
		printf("\"held_by\": %ld, ", view->held_by);
	else
		printf("\"held_by\": null, ");
}

void show_list(const struct view *view, bool json)
{
	uint64_t bytes = 0;

	if (json) {
		putchar('{');
		json_held(view);
		printf("\"messages\": [");
	}
	for (size_t i = 0; i < view->messages_n; i++) {
		bytes += view->messages[i].item->entry.size;
		if (!json) {
			list_line(view, &view->messages[i]);
			continue;
		}
		fputs(i == 0 ? "\n" : ",\n", stdout);
		json_put(json_message(view, &view->messages[i]), JSON_COMPACT);
	}
	if (json)
		printf("\n]}\n");
	else
		printf("%zu messages, %" PRIu64 " octets\n", view->messages_n, bytes);
}

/* ---- one message ---- */

/* Up to and without the empty line; *cut when it is longer than HEADER_MAX. -errno. */
static ssize_t header_read(
	const struct view *view, const struct view_message *message, char *out, bool *cut)
{
	uint64_t offset;
	int fd = view_body(view, message, &offset);
	size_t n = min_size(message->item->entry.size, HEADER_MAX);
	size_t got = 0;
	const char *end;
	ssize_t part = 1;

	if (fd < 0)
		return fd;
	while (got < n && part > 0) {
		part = pread(fd, out + got, n - got, (off_t)(offset + got));
		if (part < 0) {
			part = -errno;
			close(fd);
			return part;
		}
		got += (size_t)part;
	}
	close(fd);
	end = memmem(out, got, "\r\n\r\n", 4);
	*cut = end == NULL && got < message->item->entry.size;
	return end != NULL ? end + 2 - out : (ssize_t)got;
}

static void put_header(const char *text, size_t n, bool cut)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\r' && i + 1 < n && text[i + 1] == '\n')
			continue;
		if (c == '\n' || c == '\t' || (c >= ' ' && c < 0x7f))
			putchar(c);
		else
			printf("\\x%02x", c);
	}
	if (n > 0 && text[n - 1] != '\n')
		putchar('\n');
	if (cut)
		printf("... (more than %d octets)\n", HEADER_MAX);
}

static void put_recipient(const struct spool_recipient *recipient)
{
	static const char *const notify_names[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
	char text[TEXT_MAX];

	printf("recipient   %s %s", path_word(recipient->smtp.address.text, text),
		fate_names[recipient->fate]);
	if (recipient->warned)
		printf(" warned");
	for (unsigned i = 0; i < 4; i++)
		if (recipient->smtp.notify & (1u << i))
			printf(" NOTIFY=%s", notify_names[i]);
	if (recipient->smtp.orcpt.n > 0)
		printf(" ORCPT=%s", word(recipient->smtp.orcpt, text));
	putchar('\n');
}

static void put_envelope(const struct view *view, const struct view_message *message)
{
	const struct spool_entry *entry = &message->item->entry;
	const struct smtp_envelope *envelope = &entry->envelope;
	char id[SPOOL_ID_MAX], text[TEXT_MAX], when[40], since[24];

	spool_id_text(entry->id, id);
	printf("id          %s\nstate       %s\n", id, state_names[message->state]);
	printf("arrived     %s (%s ago)\n", date(entry->arrived_real_us / 1000000, when),
		age(entry->arrived_real_us / 1000000, view->now_s, since));
	printf("size        %" PRIu64 "%s%s\n", entry->size, entry->has_8bit ? ", 8-bit" : "",
		entry->has_bare ? ", bare CR or LF" : "");
	if (entry->large)
		printf("place       large/%s, named by ", id);
	else
		printf("place       ");
	spool_id_text(message->seq, id);
	printf("%03u/%s.seg at %" PRIu64 "\n", (unsigned)message->shard, id, message->item->offset);
	printf("attempts    %" PRIu32 "\n", entry->attempts);
	if (entry->due_real_s != 0)
		printf("due         %s\n", date(entry->due_real_s, when));
	printf("sender      %s", path_word(envelope->reverse_path.text, text));
	printf(" BODY=%s", body_names[envelope->body]);
	if (envelope->smtputf8)
		printf(" SMTPUTF8");
	if (envelope->ret != SMTP_RET_NONE)
		printf(" RET=%s", ret_names[envelope->ret]);
	if (envelope->envid.n > 0)
		printf(" ENVID=%s", word(envelope->envid, text));
	if (envelope->size > 0)
		printf(" SIZE=%" PRIu64, envelope->size);
	putchar('\n');
	for (uint32_t i = 0; i < entry->recipients_n; i++)
		put_recipient(&entry->recipients[i]);
}

static void put_attempts(const struct spool_item *item)
{
	char when[40];

	for (const struct spool_attempt_kept *kept = item->tries; kept != NULL; kept = kept->next) {
		printf("attempt     %s ", date(kept->record.real_s, when));
		put_sentence(kept->record.next_hop);
		printf(" (%" PRIu32 "): ", kept->record.recipients_n);
		put_sentence(kept->record.text);
		putchar('\n');
	}
}

static json_t *json_attempts(const struct spool_item *item)
{
	json_t *attempts = json_array();

	for (const struct spool_attempt_kept *kept = item->tries; kept != NULL; kept = kept->next)
		json_array_append_new(attempts,
			json_pack("{s:o, s:I, s:o, s:o}", "time", json_u64(kept->record.real_s),
				"recipients", (json_int_t)kept->record.recipients_n, "next_hop",
				json_text(span_str(kept->record.next_hop)), "text",
				json_text(span_str(kept->record.text))));
	return attempts;
}

static json_t *json_recipients(const struct spool_entry *entry)
{
	json_t *recipients = json_array();

	for (uint32_t i = 0; i < entry->recipients_n; i++) {
		const struct spool_recipient *recipient = &entry->recipients[i];

		json_array_append_new(recipients,
			json_pack("{s:o, s:s, s:b, s:i, s:o}", "address",
				json_text(recipient->smtp.address.text), "fate",
				fate_names[recipient->fate], "warned", recipient->warned, "notify",
				(int)recipient->smtp.notify, "orcpt",
				json_text(recipient->smtp.orcpt)));
	}
	return recipients;
}

static json_t *json_whole(
	const struct view *view, const struct view_message *message, struct span header)
{
	const struct spool_entry *entry = &message->item->entry;
	const struct smtp_envelope *envelope = &entry->envelope;
	json_t *root = json_message(view, message);
	char seq[SPOOL_ID_MAX];

	spool_id_text(message->seq, seq);
	json_object_set_new(root, "segment", json_string(seq));
	json_object_set_new(root, "offset", json_u64(message->item->offset));
	json_object_set_new(root, "body", json_string(body_names[envelope->body]));
	json_object_set_new(root, "smtputf8", json_boolean(envelope->smtputf8));
	json_object_set_new(root, "ret", json_string(ret_names[envelope->ret]));
	json_object_set_new(root, "envid", json_text(envelope->envid));
	json_object_set_new(root, "size_announced", json_u64(envelope->size));
	json_object_set_new(root, "has_8bit", json_boolean(entry->has_8bit));
	json_object_set_new(root, "has_bare", json_boolean(entry->has_bare));
	json_object_set_new(root, "held", json_boolean(entry->held));
	json_object_set_new(root, "envelope", json_recipients(entry));
	json_object_set_new(root, "log", json_attempts(message->item));
	json_object_set_new(root, "header", json_text(header));
	return root;
}

int show_message(const struct view *view, const struct view_message *message, bool json)
{
	char *header = malloc(HEADER_MAX);
	bool cut = false;
	ssize_t n;

	if (header == NULL)
		return -ENOMEM;
	n = header_read(view, message, header, &cut);
	if (n < 0 && message->state != VIEW_STATE_NO_FILE && message->state != VIEW_STATE_DONE) {
		free(header);
		return (int)n;
	}
	if (n < 0)
		n = 0;
	if (json) {
		json_put(json_whole(view, message, span_of(header, (size_t)n)), JSON_INDENT(2));
		putchar('\n');
	} else {
		put_envelope(view, message);
		put_attempts(message->item);
		putchar('\n');
		put_header(header, (size_t)n, cut);
	}
	free(header);
	return 0;
}

int show_body(const struct view *view, const struct view_message *message)
{
	uint64_t offset, left = message->item->entry.size;
	int fd = view_body(view, message, &offset);
	static char piece[1 << 16];
	int error = fd < 0 ? fd : 0;

	while (left > 0 && error == 0) {
		ssize_t n = pread(fd, piece, min_size(left, sizeof(piece)), (off_t)offset);

		if (n <= 0) {
			error = n < 0 ? -errno : -EIO;
			break;
		}
		if (fwrite(piece, 1, (size_t)n, stdout) != (size_t)n)
			break; /* main() says so */
		offset += (uint64_t)n;
		left -= (uint64_t)n;
	}
	if (fd >= 0)
		close(fd);
	return error;
}

/* ---- verify ---- */

static void put_damage(const struct view_damage *damage)
{
	char id[SPOOL_ID_MAX];

	spool_id_text(damage->id, id);
	printf("%s:%" PRIu64 ": %s, %" PRIu64 " octets, id %s%s\n", damage->file, damage->offset,
		damage->what, damage->n, damage->id != 0 ? id : "unknown",
		damage->tail ? " (torn tail: the next start cuts it off)" : "");
}

static json_t *json_damages(const struct view *view)
{
	json_t *damages = json_array();

	for (size_t i = 0; i < view->damages_n; i++) {
		const struct view_damage *damage = &view->damages[i];

		json_array_append_new(damages,
			json_pack("{s:s, s:o, s:o, s:o, s:s, s:b}", "file", damage->file, "offset",
				json_u64(damage->offset), "octets", json_u64(damage->n), "id",
				json_id(damage->id), "what", damage->what, "tail", damage->tail));
	}
	return damages;
}

void show_verify(const struct view *view, bool json)
{
	const struct {
		const char *name;
		uint64_t n;
	} sums[] = {
		{"shards", view->shards},
		{"segments", view->segments},
		{"blank segments", view->blank},
		{"records", view->records},
		{"octets", view->octets},
		{"messages", view->messages_n},
		{"large files", view->large_files},
		{"orphans", view->orphans},
		{"damaged places", view->damages_n},
	};

	if (json) {
		json_t *root = json_pack("{s:o, s:b, s:o}", "held_by",
			view->held_by != 0 ? json_integer(view->held_by) : json_null(), "sound",
			view->damages_n == 0, "damage", json_damages(view));

		for (size_t i = 0; i < COUNT_OF(sums) - 1; i++) {
			char key[32];

			(void)snprintf(key, sizeof(key), "%s", sums[i].name);
			if (strchr(key, ' ') != NULL)
				*strchr(key, ' ') = '_';
			json_object_set_new(root, key, json_u64(sums[i].n));
		}
		json_put(root, JSON_INDENT(2));
		putchar('\n');
		return;
	}
	for (size_t i = 0; i < view->damages_n; i++)
		put_damage(&view->damages[i]);
	for (size_t i = 0; i < COUNT_OF(sums); i++)
		printf("%-15s %" PRIu64 "\n", sums[i].name, sums[i].n);
	puts(view->damages_n == 0 ? "sound" : "DAMAGED");
}
