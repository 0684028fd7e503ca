/* SPDX-License-Identifier: MIT */
/* recover.c -- a queue built from segments: what later records change, copies, workers that come
 * and go. What is damaged: damage.c. */
#include "image.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct store *store;
static struct store_found found;
static struct image image;
static struct err err;

static void setup(void)
{
	image_store_make();
	cr_assert_eq(store_open(&store, &image_settings, false, 0, 0, &err), 0, "%s", err.text);
}

static void teardown(void)
{
	store_close(store);
	image_store_remove();
}

TestSuite(recover, .init = setup, .fini = teardown, .timeout = IMAGE_LIMIT_S);

static void recover(uint32_t workers)
{
	err.text[0] = '\0';
	cr_assert_eq(store_recover(store, workers, &found, &err), 0, "%s", err.text);
}

static struct spool_item *item_of(uint32_t shard, uint64_t id)
{
	struct list *items = &store->shards[shard]->items;

	for (struct list *node = items->next; node != items; node = node->next) {
		struct spool_item *item = container_of(node, struct spool_item, entry.node);

		if (item->entry.id == id)
			return item;
	}
	return NULL;
}

static struct spool_segment *segment_of(uint32_t shard, unsigned n)
{
	struct list *node = store->shards[shard]->segments.next;

	while (n-- > 0)
		node = node->next;
	return container_of(node, struct spool_segment, node);
}

static size_t message(uint64_t batch, uint64_t id, const char *to)
{
	struct image_message m = {
		.batch = batch, .id = id, .from = "s@x", .to = to, .body = "Subject: t\r\n"};

	return image_message(&image, &m);
}

static const struct spool_fate_change first_done = {0, SPOOL_FATE_DELIVERED, false};
static const struct spool_attempt tried = {
	.next_hop = "smtp:mx.example.org:25",
	.text = "250 2.0.0 ok",
	.changes = &first_done,
	.changes_n = 1,
	.due_real_s = 1700000300,
	.counts = true,
};

Test(recover, an_empty_store)
{
	recover(2);
	cr_assert_eq(found.messages + found.segments + found.cut + found.aside + found.orphans, 0);
	cr_assert_eq(store->workers, 2);
	cr_assert_eq(store->shards_n, 2);
	for (uint32_t i = 0; i < 2; i++) {
		cr_assert_eq(store->shards[i]->seq_next, 1);
		cr_assert_eq(store->shards[i]->batch_next, 1);
	}
}

Test(recover, the_queue_by_id)
{
	static const uint64_t ids[] = {7, 3, 9, 1, 5};
	uint64_t live = 0, last = 0;
	struct spool_shard *shard;

	image_begin(&image, 0, 4);
	for (size_t i = 0; i < COUNT_OF(ids); i++)
		message(i + 1, ids[i], "a@x");
	image_finished(&image, 6, 9);
	image_attempt(&image, 7, 1000, &tried); /* of one that is gone */
	image_finished(&image, 7, 1000);
	image_save(&image, "000/0000000000000004.seg");
	recover(1);
	shard = store->shards[0];
	cr_assert_eq(found.messages, 4);
	cr_assert_eq(found.bytes, 4 * 12);
	cr_assert_eq(found.segments, 1);
	cr_assert_eq(shard->items_n, 4);
	cr_assert_eq(shard->seq_next, 5);
	cr_assert_eq(shard->batch_next, 8);
	cr_assert_eq(shard->bytes, image.n);
	cr_assert_eq(shard->segments_n, 1);
	for (struct list *node = shard->items.next; node != &shard->items; node = node->next) {
		struct spool_item *item = container_of(node, struct spool_item, entry.node);

		cr_assert(item->entry.id > last);
		last = item->entry.id;
		live += item->record_bytes;
		cr_assert_eq(item->shard, shard);
		cr_assert_eq(item->segment, segment_of(0, 0));
		cr_assert(item->left == NULL && item->right == NULL);
	}
	cr_assert_null(item_of(0, 9));
	cr_assert_eq(shard->live_bytes, live);
	cr_assert_eq(segment_of(0, 0)->live_bytes, live);
	cr_assert_eq(segment_of(0, 0)->live, 4);
	cr_assert_eq(segment_of(0, 0)->seq, 4);
	cr_assert_eq(segment_of(0, 0)->bytes, image.n);
	cr_assert_eq(segment_of(0, 0)->salt, IMAGE_SALT);
}

/* The body of an item is where the item says, through the descriptor that is kept. */
Test(recover, bodies_are_found_through_the_segment)
{
	struct spool_item *item;
	char body[16] = "";

	image_begin(&image, 0, 1);
	message(1, 1, "a@x");
	message(1, 2, "b@x c@x");
	image_save(&image, "000/0000000000000001.seg");
	recover(1);
	item = item_of(0, 2);
	cr_assert_eq(pread(item->segment->fd, body, item->entry.size,
			     (off_t)(item->offset + SPOOL_RECORD_HEADER + item->meta_n)),
		12);
	cr_assert_str_eq(body, "Subject: t\r\n");
}

Test(recover, attempts_change_what_is_known)
{
	const struct spool_fate_change bounce[] = {
		{0, SPOOL_FATE_BOUNCED, false}, {1, SPOOL_FATE_PENDING, true}};
	struct spool_attempt second = tried;
	struct spool_item *item;

	second.changes = bounce;
	second.changes_n = 2;
	second.due_real_s = 1700000900;
	second.held = true;
	second.text = "450 4.2.0 later";
	image_begin(&image, 0, 1);
	message(1, 1, "a@x b@x c@x");
	image_attempt(&image, 2, 1, &tried);
	image_attempt(&image, 3, 1, &second);
	image_save(&image, "000/0000000000000001.seg");
	recover(1);
	item = item_of(0, 1);
	cr_assert_eq(item->entry.pending_n, 2);
	cr_assert_eq(item->entry.recipients[0].fate, SPOOL_FATE_DELIVERED);
	cr_assert(item->entry.recipients[1].warned && item->entry.held);
	cr_assert_eq(item->entry.due_real_s, 1700000900);
	cr_assert_eq(item->entry.attempts, 2);
	cr_assert_eq(item->tries_n, 2);
	cr_assert_str_eq(item->tries->next->record.text, "450 4.2.0 later");
}

/* A copy with its attempts in a later segment, as copy.c writes it; the old segment is free. */
Test(recover, copies_take_the_place_of_the_older_record)
{
	const uint8_t none[] = {SPOOL_FATE_PENDING, SPOOL_FATE_PENDING, SPOOL_FATE_DELETED};
	struct image_message copy = {.batch = 3,
		.id = 1,
		.flags = SPOOL_FLAG_COPY | SPOOL_FLAG_HELD,
		.from = "s@x",
		.to = "a@x b@x c@x",
		.body = "Subject: t\r\n",
		.fates = none};
	struct spool_attempt kept = tried;
	struct spool_item *item;
	size_t at;

	kept.counts = false;
	kept.changes_n = 0;
	kept.held = true;
	image_begin(&image, 0, 1);
	message(1, 1, "a@x b@x c@x");
	image_attempt(&image, 2, 1, &tried);
	image_save(&image, "000/0000000000000001.seg");
	image_begin(&image, 0, 2);
	at = image_message(&image, &copy);
	image_attempt(&image, 3, 1, &kept);
	image_save(&image, "000/0000000000000002.seg");
	recover(1);
	item = item_of(0, 1);
	cr_assert_eq(found.messages, 1);
	cr_assert_eq(item->segment, segment_of(0, 1));
	cr_assert_eq(item->offset, at);
	cr_assert_eq(item->entry.recipients[0].fate, SPOOL_FATE_DELIVERED, "final fates stay");
	cr_assert_eq(item->entry.recipients[2].fate, SPOOL_FATE_DELETED);
	cr_assert_eq(item->entry.pending_n, 1);
	cr_assert(item->entry.held);
	cr_assert_eq(item->tries_n, 1);
	cr_assert_eq(segment_of(0, 0)->live, 0);
	cr_assert_eq(segment_of(0, 0)->live_bytes, 0);
	cr_assert_eq(segment_of(0, 1)->live, 1);
	cr_assert_eq(store->shards[0]->live_bytes, item->record_bytes);
}

Test(recover, finished_ends_a_copy_too)
{
	struct image_message copy = {.batch = 2,
		.id = 1,
		.flags = SPOOL_FLAG_COPY,
		.from = "s@x",
		.to = "a@x",
		.body = "b"};

	image_begin(&image, 0, 1);
	message(1, 1, "a@x");
	image_save(&image, "000/0000000000000001.seg");
	image_begin(&image, 0, 2);
	image_message(&image, &copy);
	image_finished(&image, 3, 1);
	image_save(&image, "000/0000000000000002.seg");
	recover(1);
	cr_assert_eq(found.messages, 0);
	cr_assert_eq(segment_of(0, 0)->live + segment_of(0, 1)->live, 0);
	cr_assert_eq(store->shards[0]->live_bytes, 0);
}

/* Segments are read in the order of SEQ, not of the directory. */
Test(recover, many_segments_and_many_messages)
{
	char path[64];

	for (uint64_t seq = 40; seq > 0; seq--) {
		image_begin(&image, 0, seq);
		for (uint64_t i = 0; i < 100; i++)
			message(seq * 100 + i, seq * 1000 + i, "a@x");
		if (seq > 1)
			image_finished(&image, seq * 100 + 99, (seq - 1) * 1000);
		snprintf(path, sizeof(path), "000/%016llX.seg", (unsigned long long)seq);
		image_save(&image, path);
	}
	recover(1);
	cr_assert_eq(found.segments, 40);
	cr_assert_eq(found.messages, 40 * 100 - 39);
	cr_assert_eq(store->shards[0]->batch_next, 4100);
	for (unsigned i = 0; i < 40; i++) {
		cr_assert_eq(segment_of(0, i)->seq, i + 1);
		cr_assert_eq(segment_of(0, i)->live, i == 39 ? 100 : 99);
	}
	cr_assert_not_null(item_of(0, 40000));
	cr_assert_null(item_of(0, 39000));
}

/* 4 workers, then 1, then 3: no shard is forgotten, and each number is there for its worker. */
Test(recover, workers_come_and_go)
{
	static const uint32_t workers[] = {4, 1, 3};
	char path[64];

	for (uint32_t i = 0; i < 4; i++) {
		image_begin(&image, i, 1);
		message(1, i + 1, "a@x");
		snprintf(path, sizeof(path), "%03u/0000000000000001.seg", (unsigned)i);
		image_save(&image, path);
	}
	for (size_t i = 0; i < COUNT_OF(workers); i++) {
		recover(workers[i]);
		cr_assert_eq(found.messages, 4);
		cr_assert_eq(store->shards_n, 4);
		for (uint32_t k = 0; k < 4; k++)
			cr_assert_not_null(item_of(k, k + 1));
	}
	recover(6);
	cr_assert_eq(store->shards_n, 6);
	cr_assert_eq(store->shards[5]->number, 5);
}

Test(recover, room_behind_the_records_is_given_back)
{
	struct stat st;

	image_begin(&image, 0, 1);
	message(1, 1, "a@x");
	image_write("000/0000000000000001.seg", span_of(image.bytes, image.n + 5000));
	recover(1);
	cr_assert_eq(found.cut, 0);
	cr_assert_eq(fstat(segment_of(0, 0)->fd, &st), 0);
	cr_assert_eq(st.st_size, (off_t)image.n);
}

Test(recover, names_that_are_not_ours)
{
	image_begin(&image, 0, 1);
	message(1, 1, "a@x");
	image_save(&image, "000/0000000000000001.seg");
	image_write("000/0000000000000002.seg.bak", span_str("x"));
	image_write("1000/0000000000000001.seg", span_str("x"));
	image_write("large/README", span_str("x"));
	recover(1);
	cr_assert_eq(found.messages, 1);
	cr_assert_eq(found.aside + found.orphans, 0);
	cr_assert(image_exists("large/README") && image_exists("000/0000000000000002.seg.bak"));
}

Test(recover, a_newer_format_is_left_alone)
{
	struct spool_segment_header newer = {
		.version = SPOOL_FORMAT_VERSION + 1, .shard = 0, .seq = 2};
	char expected[256];
	struct span before;

	image_begin(&image, 0, 1);
	message(1, 1, "a@x");
	image_save(&image, "000/0000000000000001.seg");
	image_begin(&image, 0, 2);
	message(1, 1, "a@x");
	spool_segment_header_write(image.bytes, &newer);
	image_save(&image, "000/0000000000000002.seg");
	before = image_read("000/0000000000000002.seg");
	snprintf(expected, sizeof(expected),
		"spool: %s/000/0000000000000002.seg has format 5, this postern reads up to 4: "
		"run the newer version or move the file away",
		image_dir);
	cr_assert_eq(store_recover(store, 1, &found, &err), -1);
	cr_assert_str_eq(err.text, expected);
	cr_assert(span_equal(before, image_read("000/0000000000000002.seg")));
	cr_assert_eq(store->shards_n, 0, "nothing is left of the attempt");
}

/* ---- large messages ---- */

static void large_message(uint64_t batch, uint64_t id, uint64_t n)
{
	struct image_message m = {.batch = batch,
		.id = id,
		.flags = SPOOL_FLAG_LARGE,
		.from = "s@x",
		.to = "a@x",
		.large_n = n};

	image_message(&image, &m);
}

Test(recover, large_messages)
{
	image_begin(&image, 0, 1);
	large_message(1, 0xa, 5);
	large_message(1, 0xb, 0);
	large_message(1, 0xc, 4);
	image_finished(&image, 2, 0xc);
	image_save(&image, "000/0000000000000001.seg");
	image_write("large/000000000000000A", span_str("12345"));
	image_write("large/000000000000000B", span_str(""));
	image_write("large/000000000000000C", span_str("1234")); /* finished, not removed yet */
	image_write("large/000000000000000D", span_str("123"));  /* never committed */
	recover(1);
	cr_assert_eq(found.messages, 2);
	cr_assert_eq(found.bytes, 5);
	cr_assert_eq(found.orphans, 2);
	cr_assert_eq(found.aside, 0);
	cr_assert(item_of(0, 0xa)->entry.large && item_of(0, 0xa)->entry.size == 5);
	cr_assert_eq(image_files("large"), 2);
	cr_assert_eq(image_files("aside"), 0);
}
