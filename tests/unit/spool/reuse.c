/* SPDX-License-Identifier: MIT */
/*
 * reuse.c -- segments that are written in pages, past the page cache: new ones filled with zeros, and
 * emptied ones that get another life. What they hold is found again by a recovery; what an earlier
 * life left is not.
 *
 * The spool is in /tmp, whose file system must know O_DIRECT: elsewhere these tests fail, as the
 * ways that they are about are not there.
 */
#include "tests/unit/spool/harness.h"

#include <stdio.h>

#define SEGMENT_BYTES (256u << 10)

static void open_small(void)
{
	settings.segment_bytes = SEGMENT_BYTES;
	settings.stream_bytes = 32u << 10;
	harness_open();
}

TestSuite(spool_reuse, .init = open_small, .fini = harness_close, .timeout = TEST_LIMIT_S);

static struct spool_log *own(void)
{
	return spool->logs[0];
}

static unsigned spares_of(unsigned shard)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SPOOL_SPARES; i++) {
		char path[64];

		snprintf(path, sizeof(path), "%03u/%u.spare", shard, i);
		n += access(below_root(path), F_OK) == 0;
	}
	return n;
}

static unsigned spares_n(void)
{
	return spares_of(0);
}

static void send_and_finish(unsigned mails, size_t n)
{
	for (unsigned i = 0; i < mails; i++) {
		finish(mail_send("a@x.org", pattern(i, n)));
		reading.arrived_n = 0;
	}
}

static void until_reused(void)
{
	for (unsigned i = 0; counter_sum(COUNTER_SPOOL_REUSED) == 0; i++) {
		send_and_finish(1, 20000);
		cr_assert(i < 1000, "no segment is reused: does /tmp know O_DIRECT?");
	}
	while (own()->head->page == 0)
		send_and_finish(1, 20000);
}

static void until_spared(unsigned shard)
{
	while (spares_of(shard) == 0) {
		send_and_finish(1, 20000);
		turns_until_idle();
	}
}

/* Some in an old file, of one commit and of several; then the gateway starts again. */
static void kept_over_a_restart(unsigned mails)
{
	struct span bodies[16];

	cr_assert(mails <= COUNT_OF(bodies) && own()->head->page == SPOOL_PAGE);
	reading.arrived_n = 0;
	for (unsigned i = 0; i < mails; i++) {
		bodies[i] = pattern(100 + i, 3 + i * 2777);
		mail_send("a@x.org b@x.org", bodies[i]);
	}
	attempt(reading.arrived[0], 1, SPOOL_FATE_DELIVERED, "250 ok");
	turns_until_idle();
	harness_reopen(0, 1);
	cr_expect(found.aside == 0 && found.cut == 0, "%zu %zu", (size_t)found.aside,
		(size_t)found.cut);
	cr_assert(spool_entries(spool) == mails, "%u", spool_entries(spool));
	for (unsigned i = 0; i < mails; i++)
		entry_holds(reading.arrived[i], bodies[i]);
	cr_expect(reading.arrived[0]->pending_n == 1);
}

Test(spool_reuse, a_second_life)
{
	until_reused();
	cr_expect(counter_sum(COUNTER_SPOOL_DIRECT) > 0);
	kept_over_a_restart(16);
}

Test(spool_reuse, a_commit_of_many)
{
	struct mail mails[20];

	until_reused();
	reading.arrived_n = 0;
	for (unsigned i = 0; i < COUNT_OF(mails); i++) {
		mail_begin(&mails[i], "a@x.org");
		mail_append(&mails[i], pattern(i, i * 321));
		spool_commit(mails[i].message);
	}
	while (mails[COUNT_OF(mails) - 1].committed_n == 0)
		turn();
	turns_until_idle();
	harness_reopen(0, 1);
	cr_assert(spool_entries(spool) == COUNT_OF(mails) && found.aside == 0 && found.cut == 0);
	for (unsigned i = 0; i < COUNT_OF(mails); i++)
		entry_holds(spool_find(spool, mails[i].id), pattern(i, i * 321));
}

/* Many lives, each with another salt; what is live at the end is all that is found. */
Test(spool_reuse, many_lives)
{
	unsigned before;

	until_reused();
	send_and_finish(300, 9000);
	before = (unsigned)counter_sum(COUNTER_SPOOL_REUSED);
	cr_expect(before > 5, "%u", before);
	while (own()->head->page == 0)
		send_and_finish(1, 9000);
	kept_over_a_restart(5);
}

/* A busy log does not wait for its first segment to come back. */
Test(spool_reuse, a_new_one_is_filled)
{
	settings.segment_bytes = 4u << 20;
	harness_reopen(0, 1);
	cr_expect(counter_sum(COUNTER_SPOOL_DIRECT) == 0);
	send_and_finish(20, 20000);
	turns_until_idle();
	cr_expect(own()->next == NULL && own()->head->page == 0, "a little is no reason");
	send_and_finish(40, 30000);
	turns_until_idle();
	send_and_finish(1, 100);
	cr_expect(own()->head->page == SPOOL_PAGE);
	cr_expect(counter_sum(COUNTER_SPOOL_REUSED) == 0);
	cr_expect(counter_sum(COUNTER_SPOOL_DIRECT) > 0);
	kept_over_a_restart(10);
}

/* While a queue grows its segments are plain: each would be written twice. */
Test(spool_reuse, a_growing_queue_is_not_filled_twice)
{
	for (unsigned i = 0; i < 400; i++)
		mail_send("a@x.org", pattern(i, 20000));
	cr_expect(own()->head->page == 0 && own()->shard->segments_n > SPOOL_SEGMENTS_FEW);
	harness_reopen(0, 1);
	cr_expect(spool_entries(spool) == 400 && found.aside == 0);
	for (unsigned i = 0; i < 400; i++)
		finish(reading.arrived[i]);
	turns_until_idle();
	cr_expect(spares_n() > 0, "what is emptied is kept");
}

Test(spool_reuse, a_record_longer_than_a_segment)
{
	static char addresses[60000];
	char *p = addresses;
	struct mail mail;

	until_reused();
	reading.arrived_n = 0;
	mail_init(&mail, "a@x.org");
	for (unsigned i = 0; i < MAIL_RECIPIENTS_MAX; i++)
		p += snprintf(p, sizeof(addresses) - (size_t)(p - addresses), "%07000u@x.org ", i);
	p[-1] = '\0';
	mail_begin(&mail, addresses);
	cr_expect(mail_commit(&mail) == 0);
	send_and_finish(10, 20000);
	turns_until_idle();
	harness_reopen(0, 1);
	cr_expect(spool_entries(spool) == 1 && found.aside == 0 && found.cut == 0);
}

Test(spool_reuse, a_restart_takes_the_spares)
{
	uint64_t reused;

	until_reused();
	until_spared(0);
	harness_reopen(0, 1);
	reused = (uint64_t)counter_sum(COUNTER_SPOOL_REUSED);
	send_and_finish(1, 100);
	cr_expect(own()->head->page == SPOOL_PAGE);
	cr_expect(counter_sum(COUNTER_SPOOL_REUSED) == (int64_t)reused + 1);
}

/* A spare that is no good is passed over: too short, or no file at all. */
Test(spool_reuse, spares_that_are_no_good)
{
	int fd;

	turns_until_idle();
	fd = open(below_root("000/0.spare"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(fd >= 0 && write(fd, "short", 5) == 5);
	close(fd);
	cr_assert(symlink("nowhere", below_root("000/1.spare")) == 0);
	harness_reopen(0, 1);
	send_and_finish(20, 20000);
	turns_until_idle();
	cr_expect(own()->make.error == 0);
	cr_expect(counter_sum(COUNTER_SPOOL_REUSED) <= 1);
	until_reused();
	kept_over_a_restart(3);
}

/* A head that was torn by a crash in its second life: what was not acknowledged is cut off. */
Test(spool_reuse, a_torn_tail)
{
	uint64_t at;
	char path[64];
	uint8_t octets[200];
	int fd;

	until_reused();
	reading.arrived_n = 0;
	mail_send("a@x.org", pattern(0, 1000));
	turns_until_idle();
	at = own()->head->bytes;
	snprintf(path, sizeof(path), "000/%016llX.seg", (unsigned long long)own()->head->seq);
	memset(octets, 'x', sizeof(octets));
	fd = open(below_root(path), O_WRONLY | O_CLOEXEC);
	cr_assert(fd >= 0 && pwrite(fd, octets, sizeof(octets), (off_t)at) == sizeof(octets));
	close(fd);
	harness_reopen(0, 1);
	cr_expect(found.cut == 1 && found.aside == 0 && spool_entries(spool) == 1);
	entry_holds(reading.arrived[0], pattern(0, 1000));
	harness_reopen(0, 1);
	cr_expect(found.cut == 0 && found.aside == 0 && spool_entries(spool) == 1);
}

/* Without durability there is no sync to spare, and spares are not wanted. */
Test(spool_reuse, not_without_durability)
{
	until_reused();
	until_spared(0);
	settings.durable = false;
	harness_reopen(0, 1);
	send_and_finish(60, 20000);
	turns_until_idle();
	cr_expect(
		spares_n() == 0 && own()->head->page == 0, "%u %u", spares_n(), own()->head->page);
}

/* Others need the space. */
Test(spool_reuse, spares_go_when_space_is_short)
{
	until_reused();
	until_spared(0);
	clock_stop();
	settings.free_bytes_min = UINT64_MAX;
	clock_move(SPOOL_PAUSE_MS);
	cr_expect(spool_ready(spool) == -ENOSPC);
	while (spares_n() > 0)
		turn();
	settings.free_bytes_min = 0;
	clock_move(SPOOL_PAUSE_MS);
	cr_expect(spool_ready(spool) == 0);
	send_and_finish(5, 1000);
}

/* A worker that is no more: whoever adopts its log removes the spares. */
Test(spool_reuse, of_an_adopted_log)
{
	harness_reopen(1, 2);
	until_reused();
	mail_send("a@x.org", span_str("stays"));
	until_spared(1);
	harness_reopen(0, 1);
	cr_expect(spool_entries(spool) == 1);
	while (spares_of(1) > 0)
		turn();
}
