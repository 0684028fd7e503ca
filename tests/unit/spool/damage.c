/* SPDX-License-Identifier: MIT */
/* damage.c -- recovery of what a crash or a disk did to segments and large files: cut, set aside,
 * said; never lost in silence, never delivered altered. */
#include "image.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_1 "000/0000000000000001.seg"
#define SEGMENT_2 "000/0000000000000002.seg"

static struct store *store;
static struct store_found found;
static struct image image;
static struct err err;

static void setup(void)
{
	image_store_make();
	image_log_catch();
	cr_assert_eq(store_open(&store, &image_settings, false, 0, 0, &err), 0, "%s", err.text);
}

static void teardown(void)
{
	store_close(store);
	image_store_remove();
}

TestSuite(damage, .init = setup, .fini = teardown, .timeout = IMAGE_LIMIT_S);

static void recover(void)
{
	err.text[0] = '\0';
	image_log_catch();
	cr_assert_eq(store_recover(store, 1, &found, &err), 0, "%s", err.text);
}

static void logged(const char *line)
{
	cr_assert(strstr(image_log(), line) != NULL, "'%s' is not in\n%s", line, image_log());
}

static const char *const bodies[] = {"", "Subject: one\r\n", "Subject: two\r\n", "Subject: 3\r\n"};
static const char *const texts[] = {"", "one@example.org", "two@example.org", "3@example.org"};

static size_t message(uint64_t batch, uint64_t id)
{
	struct image_message m = {.batch = batch,
		.id = id,
		.from = "sender@example.net",
		.to = texts[id],
		.body = bodies[id]};

	return image_message(&image, &m);
}

/* Which of the messages 1 to 3 are in the queue, as bits; each of them as it was written. */
static unsigned queue(void)
{
	struct list *items = &store->shards[0]->items;
	unsigned seen = 0;

	for (struct list *node = items->next; node != items; node = node->next) {
		struct spool_item *item = container_of(node, struct spool_item, entry.node);
		const struct spool_entry *entry = &item->entry;
		char body[64] = "";

		cr_assert(entry->id >= 1 && entry->id <= 3);
		cr_assert(span_equal(
			entry->envelope.reverse_path.text, span_str("sender@example.net")));
		cr_assert_eq(entry->recipients_n, 1);
		cr_assert(span_equal(
			entry->recipients[0].smtp.address.text, span_str(texts[entry->id])));
		cr_assert_eq(entry->arrived_real_us, 1700000001000000);
		cr_assert_eq(entry->size, strlen(bodies[entry->id]));
		cr_assert_eq(pread(item->segment->fd, body, entry->size,
				     (off_t)(item->offset + 64 + item->meta_n)),
			(ssize_t)entry->size);
		cr_assert_str_eq(body, bodies[entry->id]);
		seen |= 1u << entry->id;
	}
	return seen;
}

/* Batch 1 holds 1 and 2, batch 2 holds 3. */
static size_t two_batches(void)
{
	image_begin(&image, 0, 1);
	message(1, 1);
	message(1, 2);
	return message(2, 3);
}

Test(damage, cut_at_every_octet)
{
	size_t second = two_batches();
	size_t whole = image.n;

	for (size_t n = SPOOL_SEGMENT_HEADER; n <= whole; n++) {
		unsigned seen;

		image_write(SEGMENT_1, span_of(image.bytes, n));
		recover();
		seen = queue();
		cr_assert(n < second || (seen & 6) == 6, "cut at %zu: the first batch is gone", n);
		cr_assert_eq(found.aside, 0, "cut at %zu", n);
		cr_assert(found.cut <= 1 && (n != whole || seen == 14), "cut at %zu", n);
		recover();
		cr_assert_eq(queue(), seen, "cut at %zu", n);
		cr_assert_eq(found.cut, 0, "cut at %zu: what was cut is gone", n);
	}
	cr_assert_eq(image_files("aside"), 0);
}

/* Each octet in turn is changed; a sound segment stands behind, so that nothing is a tail. */
static void flip(bool newer_behind)
{
	struct image next;
	size_t padding = 0;

	image_begin(&next, 0, 2);
	image_finished(&next, 3, 77);
	two_batches();
	for (size_t i = 0; i < image.n; i++) {
		unsigned seen;

		image_write(SEGMENT_2, span_str("")); /* blank: removed */
		if (newer_behind)
			image_save(&next, SEGMENT_2);
		image.bytes[i] ^= 0x04;
		image_save(&image, SEGMENT_1);
		image.bytes[i] ^= 0x04;
		if (i == 8) /* the version: newer, but its checksum does not say so */
			cr_assert_eq(image.bytes[8], 1);
		recover();
		seen = queue();
		padding += seen == 14;
		cr_assert(seen == 14 || found.aside + found.cut > 0, "octet %zu", i);
		cr_assert(!newer_behind || found.cut == 0, "octet %zu", i);
		cr_assert(seen == 14 || i < 64 || __builtin_popcount(seen) == 2, "octet %zu: %x", i,
			seen);
	}
	cr_assert(padding < 3 * 8, "%zu octets may change and nothing is said", padding);
	cr_assert(image_files("aside") > 0);
}

Test(damage, every_octet_changed_in_the_last_segment)
{
	flip(false);
}

Test(damage, every_octet_changed_before_newer_ones)
{
	flip(true);
}

Test(damage, a_torn_tail_is_cut_and_said)
{
	size_t second = two_batches();
	struct stat st;

	image.bytes[image.n - 10] ^= 1;
	image_write(SEGMENT_1, span_of(image.bytes, image.n + 4000));
	recover();
	cr_assert_eq(found.cut, 1);
	cr_assert_eq(queue(), 6);
	cr_assert_eq(store->shards[0]->batch_next, 3);
	cr_assert_eq(store->shards[0]->bytes, second);
	cr_assert(stat(image_dir, &st) == 0 && image_read(SEGMENT_1).n == second);
	logged("event=spool_cut file=" SEGMENT_1 " offset=");
	logged("queue_id=0000000000000003");
}

/* The next segment is made while this one is being filled. */
Test(damage, a_tail_before_a_segment_without_records_is_one)
{
	two_batches();
	image.bytes[image.n - 10] ^= 1;
	image_save(&image, SEGMENT_1);
	image_begin(&image, 0, 2);
	image_write(SEGMENT_2, span_of(image.bytes, 4096));
	recover();
	cr_assert_eq(found.cut, 1);
	cr_assert_eq(found.aside, 0);
	cr_assert_eq(found.segments, 2);
	cr_assert_eq(queue(), 6);
}

Test(damage, a_tail_before_newer_records_is_damage)
{
	size_t second = two_batches();
	struct span octets, whole = span_of(image.bytes, image.n);
	char name[64];

	image.bytes[image.n - 10] ^= 1;
	image_save(&image, SEGMENT_1);
	octets = span_of(image_read(SEGMENT_1).p + second, whole.n - second);
	image_begin(&image, 0, 2);
	image_finished(&image, 3, 77);
	image_save(&image, SEGMENT_2);
	recover();
	cr_assert_eq(found.cut, 0);
	cr_assert_eq(found.aside, 1);
	cr_assert_eq(queue(), 6);
	snprintf(name, sizeof(name), "aside/000-0000000000000001-%zu", second);
	cr_assert(span_equal(image_read(name), octets), "the octets as they were");
	snprintf(name, sizeof(name), "aside/000-0000000000000001-%zu.why", second);
	cr_assert_not_null(strstr((const char *)image_read(name).p, "queue id 0000000000000003\n"));
	snprintf(name, sizeof(name), "event=spool_damage file=" SEGMENT_1 " offset=%zu", second);
	logged(name);
	logged("queue_id=0000000000000003");
}

/* It is met again at each start: said again, kept once. */
Test(damage, what_was_set_aside_stays_as_it_is)
{
	static const char name[] = "aside/000-0000000000000001-64";

	two_batches();
	image.bytes[70] ^= 1;
	image_save(&image, SEGMENT_1);
	recover();
	cr_assert_eq(found.aside, 1);
	cr_assert_eq(image_files("aside"), 2);
	image_write(name, span_str("looked at"));
	recover();
	cr_assert_eq(found.aside, 1);
	cr_assert(span_equal(image_read(name), span_str("looked at")));
	logged("event=spool_damage file=" SEGMENT_1 " offset=64");
	logged("queue_id=-");
}

Test(damage, a_sound_checksum_over_nonsense)
{
	struct spool_record record = {.type = SPOOL_RECORD_MESSAGE, .batch = 1, .id = 3};
	struct spool_attempt attempt = {.next_hop = "", .text = ""};
	struct spool_fate_change change = {1, SPOOL_FATE_DELIVERED, false};

	image_begin(&image, 0, 1);
	image_record(&image, &record, span_str("what is this?"), span_str("body"));
	message(1, 1);
	attempt.changes = &change;
	attempt.changes_n = 1;
	image_attempt(&image, 2, 1, &attempt); /* of a recipient that it does not have */
	image_save(&image, SEGMENT_1);
	recover();
	cr_assert_eq(found.aside, 2);
	cr_assert_eq(queue(), 2);
	logged("queue_id=0000000000000003");
	logged("queue_id=0000000000000001");
}

Test(damage, blank_segments_go)
{
	static const uint8_t zeros[5000];
	static const size_t sizes[] = {0, 1, 63, 64, 5000};

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		two_batches();
		image_save(&image, SEGMENT_1);
		image_write(SEGMENT_2, span_of(zeros, sizes[i]));
		recover();
		cr_assert_eq(queue(), 14);
		cr_assert(!image_exists(SEGMENT_2), "%zu octets", sizes[i]);
		cr_assert_eq(found.aside, 0);
		cr_assert_eq(store->shards[0]->seq_next, 3, "its number is not used again");
	}
	two_batches();
	image_write(SEGMENT_2, span_of(image.bytes, 40));
	recover();
	cr_assert(!image_exists(SEGMENT_2), "a part of a header");
}

Test(damage, segments_that_are_none)
{
	static const struct {
		const char *what;
		size_t at;
		const char *says;
	} rows[] = {
		{"magic", 0, "it does not begin like a segment"},
		{"checksum", 60, "the checksum of the segment's header is wrong"},
		{"name", SIZE_MAX, "its header was written for a file of another name"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct span before;

		two_batches();
		image_save(&image, SEGMENT_1);
		image_begin(&image, 0, rows[i].at == SIZE_MAX ? 3 : 2);
		message(3, 1);
		if (rows[i].at != SIZE_MAX)
			image.bytes[rows[i].at] ^= 1;
		image_save(&image, SEGMENT_2);
		before = image_read(SEGMENT_2);
		recover();
		cr_assert_eq(found.aside, 1, "%s", rows[i].what);
		cr_assert_eq(found.segments, 1, "%s", rows[i].what);
		cr_assert_eq(queue(), 14, "%s", rows[i].what);
		cr_assert(!image_exists(SEGMENT_2), "%s", rows[i].what);
		cr_assert(span_equal(image_read("aside/000-0000000000000002-0"), before));
		logged(rows[i].says);
	}
}

Test(damage, names_in_aside_are_not_used_again)
{
	image_write("aside/000-00000000000000FF-64", span_str("x"));
	image_write("aside/001-0000000000000FFF-64", span_str("x"));
	image_write("aside/000-xyz", span_str("x"));
	recover();
	cr_assert_eq(store->shards[0]->seq_next, 0x100);
}

Test(damage, what_cannot_be_set_aside_stops_the_start)
{
	char path[128];

	two_batches();
	image.bytes[70] ^= 1;
	image_save(&image, SEGMENT_1);
	snprintf(path, sizeof(path), "%s/aside", image_dir);
	cr_assert_eq(rmdir(path), 0);
	cr_assert_eq(store_recover(store, 1, &found, &err), -1);
	cr_assert(strncmp(err.text, "spool: cannot take over ", 24) == 0, "%s", err.text);
}

/* ---- large files ---- */

static void large_message(uint64_t id, uint64_t n, const uint8_t *fates)
{
	struct image_message m = {.batch = 1,
		.id = id,
		.flags = SPOOL_FLAG_LARGE,
		.from = "s@x",
		.to = "a@x",
		.large_n = n,
		.fates = fates};

	image_message(&image, &m);
}

Test(damage, large_files_missing_or_short)
{
	static const uint8_t done = SPOOL_FATE_DELIVERED;

	image_begin(&image, 0, 1);
	message(1, 1);
	large_message(0xa, 5, NULL);
	large_message(0xb, 5, NULL);
	large_message(0xc, 5, &done);
	image_save(&image, SEGMENT_1);
	image_write("large/000000000000000B", span_str("123"));
	recover();
	cr_assert_eq(queue(), 2);
	cr_assert_eq(found.messages, 1);
	cr_assert_eq(found.aside, 2, "the one that was delivered is not missed");
	cr_assert_eq(store->shards[0]->items_n, 1);
	cr_assert(span_equal(image_read("aside/000000000000000B.large"), span_str("123")));
	cr_assert_eq(image_files("large"), 0);
	logged("queue_id=000000000000000A why=\"its large file is missing\"");
	logged("why=\"its large file has 3 octets, the record says 5\"");
}

/* Its record may be the damaged one. */
Test(damage, orphans_are_kept_where_records_are_damaged)
{
	two_batches();
	image.bytes[70] ^= 1;
	image_save(&image, SEGMENT_1);
	image_write("large/000000000000000A", span_str("12345"));
	recover();
	cr_assert_eq(found.orphans, 1);
	cr_assert(span_equal(image_read("aside/000000000000000A.large"), span_str("12345")));
	cr_assert(image_exists("aside/000000000000000A.large.why"));
	cr_assert_eq(image_files("large"), 0);
}
