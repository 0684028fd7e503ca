/* SPDX-License-Identifier: MIT */
/* access.c -- a message's octets stay readable as long as somebody reads them. */
#include "tests/unit/spool/harness.h"

#include <stdlib.h>

static void open_small(void)
{
	settings.segment_bytes = 64u << 10;
	settings.stream_bytes = 16u << 10;
	harness_open();
}

TestSuite(spool_access, .init = open_small, .fini = harness_close, .timeout = TEST_LIMIT_S);

struct reads {
	struct spool_access access;
	unsigned opened_n;
	int opened;
};

static void on_opened(struct spool_access *access, int res)
{
	struct reads *reads = container_of(access, struct reads, access);

	reads->opened_n++;
	reads->opened = res;
}

static void reads_begin(struct reads *reads, struct spool_entry *entry)
{
	*reads = (struct reads){.access.opened = on_opened, .access.in_file = true};
	spool_body_open(spool, entry, &reads->access);
	cr_expect(reads->opened_n == 0, "called back from inside the call");
}

static void reads_wait(struct reads *reads)
{
	while (reads->opened_n == 0)
		turn();
	cr_assert(reads->opened == 0 && reads->opened_n == 1);
}

static void body_is(const struct spool_body *body, struct span want)
{
	size_t n = strlen(HEAD) + want.n;
	uint8_t *p = malloc(n);

	cr_assert(p != NULL && body->fd >= 0 && body->n == n);
	cr_assert(pread(body->fd, p, n, (off_t)body->offset) == (ssize_t)n);
	cr_expect(span_equal(span_of(p + strlen(HEAD), want.n), want));
	free(p);
}

static void memory_begin(struct reads *reads, struct spool_entry *entry)
{
	*reads = (struct reads){.access.opened = on_opened};
	spool_body_open(spool, entry, &reads->access);
	reads_wait(reads);
}

static void memory_is(const struct spool_body *body, struct span want)
{
	size_t at = 0, n = strlen(HEAD) + want.n;
	uint8_t *p = malloc(n);

	cr_assert(p != NULL && body->fd == -1 && body->n == n);
	for (unsigned i = 0; i < body->iov_n; i++) {
		cr_assert(at + body->iov[i].iov_len <= n);
		memcpy(p + at, body->iov[i].iov_base, body->iov[i].iov_len);
		at += body->iov[i].iov_len;
	}
	cr_expect(at == n && span_equal(span_of(p + strlen(HEAD), want.n), want));
	free(p);
}

/* What was committed a moment ago is read from memory, once; two who read at a time share it. */
Test(spool_access, from_memory_then_from_the_log)
{
	const size_t sizes[] = {0, 100, SPOOL_BLOCK_BYTES - 100};

	settings.stream_bytes = 64u << 10;
	for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
		struct span body = pattern(i, sizes[i]);
		struct spool_entry *entry = mail_send("a@x.org", body);
		struct reads a, b, c;

		memory_begin(&a, entry);
		memory_begin(&b, entry);
		memory_is(&a.access.body, body);
		spool_body_close(&a.access);
		cr_expect(spool->blocks.live == 1 && spool->kept_blocks == 1);
		memory_is(&b.access.body, body);
		spool_body_close(&b.access);
		cr_expect(spool->blocks.live == 0 && spool->kept_blocks == 0);
		c = (struct reads){.access.opened = on_opened};
		spool_body_open(spool, entry, &c.access);
		reads_wait(&c);
		body_is(&c.access.body, body);
		spool_body_close(&c.access);
		finish(entry);
	}
}

Test(spool_access, of_several_blocks)
{
	struct span body = pattern(0, 2 * SPOOL_BLOCK_BYTES + 77);
	struct spool_entry *entry;
	struct reads reads;

	settings.stream_bytes = 64u << 10;
	entry = mail_send("a@x.org", body);
	memory_begin(&reads, entry);
	memory_is(&reads.access.body, body);
	spool_body_close(&reads.access);
	finish(entry);
}

/* Nobody comes to read: the oldest go first, and no more than a quarter of the memory is kept. */
Test(spool_access, what_nobody_reads_is_let_go)
{
	struct span body = pattern(0, 100);
	struct reads first, last;
	uint32_t most;

	settings.memory_bytes_max = 64 * SPOOL_BLOCK_BYTES;
	harness_reopen(0, 1);
	most = spool->blocks.max / 4;
	for (uint32_t i = 0; i < most + 5; i++) {
		mail_send("a@x.org", body);
		cr_expect(spool->kept_blocks <= most);
	}
	cr_expect(spool->kept_blocks == most);
	reads_begin(&first, reading.arrived[0]);
	reads_wait(&first);
	body_is(&first.access.body, body);
	spool_body_close(&first.access);
	memory_begin(&last, reading.arrived[most + 4]);
	memory_is(&last.access.body, body);
	spool_body_close(&last.access);
}

/* Kept octets go before a new message finds no memory. */
Test(spool_access, what_is_kept_makes_room)
{
	struct mail mails[16];

	settings.memory_bytes_max = COUNT_OF(mails) * SPOOL_BLOCK_BYTES;
	harness_reopen(0, 1);
	for (uint32_t i = 0; i < 4; i++)
		mail_send("a@x.org", pattern(0, 100));
	cr_expect(spool->kept_blocks == 4);
	for (uint32_t i = 0; i < COUNT_OF(mails); i++)
		mail_begin(&mails[i], "a@x.org");
	for (uint32_t i = 0; i < COUNT_OF(mails); i++)
		cr_expect(mail_commit(&mails[i]) == 0);
}

Test(spool_access, small_and_large)
{
	struct span small = pattern(1, 5000), large = pattern(2, 50000);
	struct reads a, b, c;

	mail_send("a@x.org", small);
	mail_send("a@x.org", large);
	reads_begin(&a, reading.arrived[0]);
	reads_begin(&b, reading.arrived[1]);
	reads_begin(&c, reading.arrived[0]);
	reads_wait(&a);
	reads_wait(&b);
	reads_wait(&c);
	body_is(&a.access.body, small);
	body_is(&b.access.body, large);
	body_is(&c.access.body, small);
	cr_expect(a.access.body.has_8bit && b.access.body.has_bare);
	spool_body_close(&a.access);
	spool_body_close(&b.access);
	spool_body_close(&c.access);
}

/* The handle is the caller's: it may be gone the moment after closing. */
Test(spool_access, closed_before_it_is_open)
{
	for (unsigned large = 0; large < 2; large++) {
		struct spool_entry *entry = mail_send("a@x.org", pattern(0, 50000 * large));
		struct reads *reads = malloc(sizeof(*reads));
		struct reads second;

		cr_assert(reads != NULL);
		reads_begin(reads, entry);
		reads_begin(&second, entry);
		spool_body_close(&reads->access);
		memset(reads, 0xa5, sizeof(*reads));
		free(reads);
		reads_wait(&second);
		spool_body_close(&second.access);
		finish(entry);
	}
}

Test(spool_access, the_message_moves_meanwhile)
{
	struct span body = pattern(0, 9000);
	struct spool_entry *entry = mail_send("a@x.org", body);
	const struct spool_segment *was = spool_item_of(entry)->segment;
	struct reads reads;

	reads_begin(&reads, entry);
	reads_wait(&reads);
	for (unsigned i = 0; i < 100; i++)
		finish(mail_send("a@x.org", pattern(0, 9000)));
	turns_until_idle();
	cr_expect(spool_item_of(entry)->segment != was, "it was copied");
	cr_expect(was->gone, "and the old segment is removed");
	body_is(&reads.access.body, body);
	spool_body_close(&reads.access);
	entry_holds(entry, body);
}

static bool contains(const char *path, const char *part)
{
	return strstr(path, part) != NULL;
}

Test(spool_access, places_are_named)
{
	struct spool_entry *small = mail_send("a@x.org", span_str("x"));
	struct spool_entry *large = mail_send("a@x.org", pattern(0, 50000));
	uint64_t offset;
	char path[64];
	char id[SPOOL_ID_MAX];

	spool_body_place(small, path, sizeof(path), &offset);
	cr_expect(contains(path, "000/") && contains(path, ".seg") && offset > 64);
	spool_body_place(large, path, sizeof(path), &offset);
	spool_id_text(large->id, id);
	cr_expect(contains(path, "large/") && contains(path, id) && offset == 0);
}

Test(spool_access, a_large_file_that_is_missing)
{
	struct spool_entry *entry = mail_send("a@x.org", pattern(0, 50000));
	uint64_t offset;
	char path[64];
	struct reads reads;

	spool_body_place(entry, path, sizeof(path), &offset);
	cr_assert(unlink(below_root(path)) == 0);
	reads_begin(&reads, entry);
	while (reads.opened_n == 0)
		turn();
	cr_expect(reads.opened == -ENOENT);
	spool_body_close(&reads.access);
	finish(entry);
}
