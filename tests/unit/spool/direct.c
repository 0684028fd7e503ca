/* SPDX-License-Identifier: MIT */
/*
 * direct.c -- large files past the page cache: what goes there and what does not, what is found after
 * a restart, and file systems and disks that refuse.
 */
#include <signal.h>
#include <sys/resource.h>

#include "tests/unit/spool/harness.h"

#define BLOCK SPOOL_BLOCK_BYTES

TestSuite(spool_direct, .init = harness_open, .fini = harness_close, .timeout = TEST_LIMIT_S);

static int64_t direct_bytes(void)
{
	return counter_sum(COUNTER_SPOOL_LARGE_DIRECT_BYTES);
}

/* Octets of a message, its head included, and what of them whole blocks take. */
static const size_t lengths[] = {20 * BLOCK, 20 * BLOCK + 1, 21 * BLOCK - 1, 17 * BLOCK,
	200 * BLOCK + 4096, 64 * BLOCK, 65 * BLOCK + 7};

Test(spool_direct, whole_blocks_go_there_and_the_rest_does_not)
{
	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		struct span body = pattern(i, lengths[i] - strlen(HEAD));
		int64_t before = direct_bytes();
		struct spool_entry *entry = mail_send("a@example.org", body);

		cr_expect(entry->large && entry->uncached && entry->size == lengths[i]);
		cr_expect(direct_bytes() - before == (int64_t)(lengths[i] / BLOCK * BLOCK),
			"%zu: %lld", lengths[i], (long long)(direct_bytes() - before));
		entry_holds(entry, body);
	}
	harness_reopen(0, 1);
	cr_assert(found.messages == COUNT_OF(lengths) && found.aside == 0 && found.orphans == 0);
	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		cr_expect(!reading.arrived[i]->uncached, "nobody knows after a restart");
		entry_holds(reading.arrived[i], pattern(i, lengths[i] - strlen(HEAD)));
	}
}

Test(spool_direct, not_where_nothing_is_synced)
{
	settings.durable = false;
	cr_expect(!mail_send("a@example.org", pattern(0, 40 * BLOCK))->uncached);
	cr_expect(direct_bytes() == 0);
	settings.durable = true;
}

/* What is not a block goes by the page cache when there is nothing else, and so does all behind it. */
Test(spool_direct, a_broken_block_ends_it)
{
	struct span body = pattern(0, 150 * BLOCK);
	struct span left = body;
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	mail_append(&mail, span_take(&left, 70 * BLOCK));
	for (bool direct = true; mail.message->filling.n > 0; direct = false) {
		turns_until(&mail, SPOOL_STATE_IDLE);
		cr_expect(mail.message->direct || !direct);
		spool_flush_start(mail.message);
	}
	turns_until(&mail, SPOOL_STATE_IDLE);
	cr_expect(!mail.message->direct && mail.message->written % BLOCK != 0);
	mail_append(&mail, left);
	cr_expect(mail_commit(&mail) == 0);
	cr_expect(reading.arrived[0]->uncached && direct_bytes() == 70 * BLOCK);
	entry_holds(reading.arrived[0], body);
}

Test(spool_direct, a_file_that_does_not_take_the_flag)
{
	struct spool_message message = {.spool = spool, .fd = open("/dev/null", O_WRONLY)};
	struct span body = pattern(0, 40 * BLOCK);

	cr_assert(message.fd >= 0);
	spool_direct_begin(&message);
	close(message.fd);
	cr_expect(!message.direct && spool->no_direct);
	entry_holds(mail_send("a@example.org", body), body);
	cr_expect(direct_bytes() == 0, "it is not asked again");
}

/* The limit cuts a write in the midst of a page, which is refused as such; then it takes its part. */
Test(spool_direct, a_write_that_is_refused_is_tried_the_other_way)
{
	const struct rlimit limit = {20 * BLOCK + 100, RLIM_INFINITY};
	struct mail mail;

	signal(SIGXFSZ, SIG_IGN);
	cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	mail_begin(&mail, "a@example.org");
	mail_append(&mail, pattern(0, 40 * BLOCK));
	cr_expect(mail_commit(&mail) == -EFBIG);
	cr_expect(spool->no_direct && files_n("large") == 0);
}

/* The disk is full, or broken, behind a file that was opened. */
Test(spool_direct, a_write_that_fails)
{
	static const struct {
		const char *file;
		int error;
	} rows[] = {{"/dev/full", -ENOSPC}, {BAD_DISK, -EIO}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		int fd = open(rows[i].file, O_WRONLY);
		struct mail mail;

		cr_assert(fd >= 0);
		mail_begin(&mail, "a@example.org");
		mail_append(&mail, pattern(0, 30 * BLOCK));
		while (mail.message->fd < 0 || mail.message->state != SPOOL_STATE_IDLE)
			turn();
		cr_assert(mail.message->direct && dup2(fd, mail.message->fd) >= 0);
		close(fd);
		cr_expect(mail_commit(&mail) == rows[i].error, "%s", rows[i].file);
		cr_expect(!spool->no_direct && files_n("large") == 0);
	}
}

/* ---- loans ---- */

static struct spool_loan loans[20];

Test(spool_direct, loans_leave_most_to_the_messages)
{
	size_t n = 0;

	while (spool_loan_take(spool, &loans[n]))
		n++;
	cr_expect(n > 0 && spool->blocks.live == n * SPOOL_LOAN_BLOCKS);
	cr_expect(spool->blocks.live <= spool->blocks.max / 4);
	for (size_t i = 0; i < SPOOL_LOAN_BLOCKS; i++) {
		cr_expect(loans[0].iov[i].iov_len == BLOCK);
		cr_expect((uintptr_t)loans[0].iov[i].iov_base % 4096 == 0);
		memset(loans[0].iov[i].iov_base, 1, BLOCK);
	}
	spool_loan_return(spool, &loans[0]);
	cr_expect(spool_loan_take(spool, &loans[0]), "what was given back is there again");
	for (size_t i = 0; i < n; i++)
		spool_loan_return(spool, &loans[i]);
	spool_loan_return(spool, &loans[0]); /* nothing was lent */
	cr_expect(spool->blocks.live == 0);
}

/* ---- room ---- */

/* Fills in what may be; the rest of `left` stays. */
static bool room_fill(struct spool_message *message, struct span *left, size_t most)
{
	struct iovec room[SPOOL_ROOM_PIECES];
	size_t n = 0;

	if (!spool_room(message, room))
		return false;
	most = min_size(most, left->n);
	for (size_t i = 0; i < SPOOL_ROOM_PIECES; i++) {
		struct span part = span_take(left, min_size(room[i].iov_len, most - n));

		if (part.n > 0)
			memcpy(room[i].iov_base, part.p, part.n);
		n += part.n;
	}
	spool_filled(message, n);
	return true;
}

Test(spool_direct, room_takes_what_a_file_wants)
{
	static const size_t steps[] = {16384, 1, 0, 16000, 20000, 5};
	struct span body = pattern(0, 300 * BLOCK + 9);
	struct span left = body;
	unsigned filled = 0;
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	cr_expect(!room_fill(mail.message, &left, 1), "it has no file yet");
	mail_append(&mail, span_take(&left, settings.stream_bytes + 100));
	for (unsigned i = 0; left.n > 0; i++) {
		if (room_fill(mail.message, &left, steps[i % COUNT_OF(steps)]))
			filled++;
		else
			mail_append(&mail, span_take(&left, min_size(left.n, 1000)));
		if (i % 50 == 0 && mail.message->op.armed)
			turn();
	}
	cr_expect(filled > 100, "%u", filled);
	cr_expect(mail_commit(&mail) == 0);
	cr_expect(direct_bytes() == (int64_t)((strlen(HEAD) + body.n) / BLOCK * BLOCK));
	entry_holds(reading.arrived[0], body);
}

Test(spool_direct, room_is_looked_at_like_the_rest)
{
	struct span bare = span_str("a\nb");
	struct mail mail;

	mail_begin(&mail, "a@example.org");
	mail_append(&mail, pattern(0, settings.stream_bytes + 100));
	mail.message->octets = (struct spool_octets){0};
	cr_assert(room_fill(mail.message, &bare, bare.n));
	cr_expect(mail.message->octets.has_bare && !mail.message->octets.has_8bit);
	bare = span_str("\xe9");
	cr_assert(room_fill(mail.message, &bare, bare.n));
	cr_expect(mail.message->octets.has_8bit);
	cr_expect(mail_commit(&mail) == 0);
}
