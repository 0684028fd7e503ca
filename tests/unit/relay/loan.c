/* SPDX-License-Identifier: MIT */
/*
 * loan.c -- large files that went past the page cache, read back past it into the spool's memory: at
 * the edges of what is read at a time, read short, refused, broken; and where it is not done. The
 * spool is its memory alone.
 */
#include "tests/unit/relay/bodies.h"
#include "tests/unit/relay/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "spool/spool-private.h"

#define BLOCK     SPOOL_BLOCK_BYTES
#define READ      ((size_t)SPOOL_LOAN_BLOCKS * BLOCK) /* at a time */
#define LINE      64
#define BEHIND    "what is behind the message\r\n"
#define ALL_LOANS (4 * SPOOL_LOAN_BLOCKS) /* blocks that make one loan, and no second one */

static struct spool lender;

static void lender_open(void)
{
	pool_open(&lender.blocks, sizeof(struct spool_block), ALL_LOANS);
	pool_open_pages(&lender.pages, BLOCK, ALL_LOANS);
	list_init(&lender.kept);
}

static void lender_close(void)
{
	pool_close(&lender.blocks);
	pool_close(&lender.pages);
}

TestSuite(loan, .init = lender_open, .fini = lender_close, .timeout = DIAL_LIMIT_S);

/* Numbered lines; what is left behind the last of them is its end. */
static uint8_t *text_of(size_t n)
{
	uint8_t *p = malloc(n);

	cr_assert(p != NULL && n >= 2 * LINE);
	memset(p, 'x', n);
	for (size_t at = 0; at + 2 * LINE <= n; at += LINE) {
		char number[LINE];

		memcpy(p + at, number, (size_t)snprintf(number, sizeof(number), "%zu ", at / LINE));
		memcpy(p + at + LINE - 2, "\r\n", 2);
	}
	memcpy(p + n - 2, "\r\n", 2);
	return p;
}

/* On disk, and not in the page cache. The file goes on behind the message. */
static int file_of(const uint8_t *p, size_t n)
{
	char path[] = "/var/tmp/postern-loan-XXXXXX";
	int fd = mkstemp(path);

	cr_assert(fd >= 0 && unlink(path) == 0);
	cr_assert(pwrite(fd, p, n, 0) == (ssize_t)n);
	cr_assert(pwrite(fd, BEHIND, strlen(BEHIND), (off_t)n) == (ssize_t)strlen(BEHIND));
	cr_assert(fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
	return fd;
}

/* Pages of it that the page cache has. */
static size_t cached_pages(int fd, size_t n)
{
	size_t pages = (n + SPOOL_PAGE - 1) / SPOOL_PAGE;
	unsigned char *in = malloc(pages);
	void *p = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
	size_t cached = 0;

	cr_assert(in != NULL && p != MAP_FAILED && mincore(p, n, in) == 0);
	for (size_t i = 0; i < pages; i++)
		cached += in[i] & 1;
	munmap(p, n);
	free(in);
	return cached;
}

static void body_of(struct letter *letter, int fd, size_t n)
{
	letter_init(letter, 1);
	letter_file(letter, fd, 0, n);
	letter->body.uncached = true;
}

/* A connection with that script; the letter is given to it. */
static void give(struct letter *letter, const char *const *script)
{
	closed_n = 0;
	dial_prepare(script, false, false);
	relay.facts.spool = &lender;
	dial();
	relay_client_give(client, &letter->job);
}

/* What was lent is back, and the file is as it was. */
static void is_returned(const char *row, int fd)
{
	cr_expect(lender.blocks.live == 0 && lender.pages.live == 0, "%s: %u blocks are lent", row,
		lender.blocks.live);
	cr_expect(
		(fcntl(fd, F_GETFL) & O_DIRECT) == 0, "%s: it still goes past the page cache", row);
}

static void is_heard(const char *row, bool bdat, const uint8_t *p, size_t n)
{
	size_t heard_n;
	const uint8_t *heard = peer_heard(&heard_n);

	if (!bdat) {
		cr_assert(heard_n >= 3 && memcmp(heard + heard_n - 3, ".\r\n", 3) == 0, "%s", row);
		heard_n -= 3;
	}
	cr_expect(span_equal(span_of(heard, heard_n), span_of(p, n)), "%s: %zu octets of %zu", row,
		heard_n, n);
}

/* ---- whole messages ---- */

static const size_t lengths[] = {RELAY_SPLICE_MIN, RELAY_SPLICE_MIN + 1, 17 * BLOCK - 1, 17 * BLOCK,
	READ - 1, READ, READ + 1, READ + 5 * BLOCK, 2 * READ, 2 * READ + 3 * BLOCK + 7};

static void whole(size_t n, bool bdat)
{
	char row[64], command[32], octets[32];
	const char *by_bdat[] = {BDAT, command, octets, "> 250 ok", QUIT, NULL};
	const char *by_data[] = {DATA, "data", "> 250 ok", QUIT, NULL};
	int64_t spliced = counter_sum(COUNTER_RELAY_SPLICE_BYTES);
	uint8_t *p = text_of(n);
	int fd = file_of(p, n);
	size_t cached = cached_pages(fd, n);
	struct letter letter;

	snprintf(row, sizeof(row), "%zu by %s", n, bdat ? "BDAT" : "DATA");
	snprintf(command, sizeof(command), "< BDAT %zu LAST", n);
	snprintf(octets, sizeof(octets), "octets %zu", n);
	body_of(&letter, fd, n);
	give(&letter, bdat ? by_bdat : by_data);
	dial_until_stage(CLIENT_STAGE_BODY);
	cr_expect(client->loan.first != NULL && lender.blocks.live == SPOOL_LOAN_BLOCKS, "%s", row);
	cr_expect(client->body.vector == bdat && !client->body.splice, "%s", row);
	letter_wait(&letter);
	cr_expect(letter.outcomes[0].result == RELAY_RESULT_DONE && letter.job.sent_dot, "%s: %s",
		row, letter.outcomes[0].text);
	is_returned(row, fd);
	relay_client_quit(client);
	dial_close();
	is_heard(row, bdat, p, n);
	cr_expect(counter_sum(COUNTER_RELAY_SPLICE_BYTES) == spliced, "%s", row);
	cr_expect(cached_pages(fd, n) <= cached, "%s: %zu pages cached, %zu before", row,
		cached_pages(fd, n), cached);
	close(fd);
	free(p);
}

Test(loan, arrives_octet_by_octet_past_the_page_cache)
{
	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		whole(lengths[i], true);
		whole(lengths[i], false);
	}
	cr_expect(counter_sum(COUNTER_RELAY_CACHED_FILE) == 0);
	cr_expect(counter_sum(COUNTER_RELAY_CACHED_MEMORY) == 0);
}

/* ---- reads that do not bring what was asked for ---- */

static struct {
	unsigned at; /* the read that ends as said; the first is 1 */
	int res;     /* -EINVAL: so do all behind it that go past the page cache */
	unsigned n;  /* so far */
} fake;

static void read_done(struct op *op, int res, uint32_t flags)
{
	const struct relay_client *which = container_of(op, struct relay_client, file);
	bool direct = fcntl(which->body.from->fd, F_GETFL) & O_DIRECT;
	bool refused = fake.res == -EINVAL && fake.n >= fake.at && direct;

	fake.n++;
	relay_body_file_done(op, fake.n == fake.at || refused ? fake.res : res, flags);
}

#define OCTETS 2500000 /* three reads */

static const struct {
	const char *name;
	unsigned at;
	int res;
	bool done;
	int refused; /* times */
} read_rows[] = {
	{"all as it should be", 0, 0, true, 0},
	{"refused", 1, -EINVAL, true, 1},
	{"refused in the midst", 2, -EINVAL, true, 1},
	{"refused at the end", 3, -EINVAL, true, 1},
	{"some blocks", 1, 3 * BLOCK, true, 0},
	{"one block, later", 2, BLOCK, true, 0},
	{"a part of a block", 1, 5 * BLOCK + 4711, true, 0},
	{"a page", 2, SPOOL_PAGE, true, 0},
	{"an octet", 2, 1, true, 0},
	{"interrupted", 1, -EINTR, true, 0},
	{"to be tried again", 2, -EAGAIN, true, 0},
	{"broken", 1, -EIO, false, 0},
	{"broken in the midst", 2, -EIO, false, 0},
	{"too short", 3, 0, false, 0},
};

static void read_row(size_t i, bool bdat, const uint8_t *p, int fd)
{
	static const char *const good_bdat[] = {
		BDAT, "< BDAT 2500000 LAST", "octets 2500000", "> 250 ok", QUIT, NULL};
	static const char *const good_data[] = {DATA, "data", "> 250 ok", QUIT, NULL};
	static const char *const bad_bdat[] = {BDAT, "< BDAT 2500000 LAST", "gone", NULL};
	static const char *const bad_data[] = {DATA, "gone", NULL};
	int64_t refused = counter_sum(COUNTER_RELAY_CACHED_FILE);
	bool done = read_rows[i].done;
	struct letter letter;
	char row[64];

	snprintf(row, sizeof(row), "%s, %s", read_rows[i].name, bdat ? "BDAT" : "DATA");
	fake.at = read_rows[i].at;
	fake.res = read_rows[i].res;
	fake.n = 0;
	body_of(&letter, fd, OCTETS);
	if (done)
		give(&letter, bdat ? good_bdat : good_data);
	else
		give(&letter, bdat ? bad_bdat : bad_data);
	client->file.done = read_done;
	letter_wait(&letter);
	cr_expect(strcmp(letter_outcomes(&letter), done ? "DONE 250" : "LATER 0 4.3.0") == 0,
		"%s: %s %s", row, letter_outcomes(&letter), letter.outcomes[0].text);
	cr_expect(letter.job.sent_dot == done && !letter.job.connection_failed, "%s", row);
	if (done)
		relay_client_quit(client);
	dial_close();
	is_returned(row, fd);
	if (done)
		is_heard(row, bdat, p, OCTETS);
	refused = counter_sum(COUNTER_RELAY_CACHED_FILE) - refused;
	cr_expect(
		refused == read_rows[i].refused, "%s: refused %lld times", row, (long long)refused);
	cr_expect(fake.n >= 3 || !done, "%s: %u reads", row, fake.n);
}

Test(loan, reads_that_end_otherwise)
{
	uint8_t *p = text_of(OCTETS);
	int fd = file_of(p, OCTETS);

	for (size_t i = 0; i < COUNT_OF(read_rows); i++) {
		read_row(i, true, p, fd);
		read_row(i, false, p, fd);
	}
	close(fd);
	free(p);
}

/* ---- next hops that end it in the midst ---- */

static const struct {
	const char *name;
	const char *outcomes;
	const char *script[24];
} midst_rows[] = {
	{"closed", "LATER 0 4.4.2", {BDAT, "< BDAT 2500000 LAST", "octets 20000", "close"}},
	{"reset", "LATER 0 4.4.2", {BDAT, "< BDAT 2500000 LAST", "octets 20000", "reset"}},
	{"refused", "NEVER 552", {BDAT, "< BDAT 2500000 LAST", "octets 20000", "> 552 no", "gone"}},
	{"DATA, closed", "LATER 0 4.4.2", {DATA, "octets 20000", "close"}},
};

Test(loan, is_returned_whatever_happens)
{
	uint8_t *p = text_of(OCTETS);
	int fd = file_of(p, OCTETS);

	for (size_t i = 0; i < COUNT_OF(midst_rows); i++) {
		struct letter letter;

		body_of(&letter, fd, OCTETS);
		give(&letter, midst_rows[i].script);
		letter_wait(&letter);
		cr_expect(strcmp(letter_outcomes(&letter), midst_rows[i].outcomes) == 0, "%s: %s",
			midst_rows[i].name, letter_outcomes(&letter));
		dial_close();
		is_returned(midst_rows[i].name, fd);
	}
	close(fd);
	free(p);
}

/* ---- where there is none ---- */

/* All that can be had is lent already: the message is read and sent like any other. */
Test(loan, no_memory_to_spare)
{
	static const char *const scripts[][24] = {
		{BDAT, "< BDAT 2500000 LAST", "octets 2500000", "> 250 ok", QUIT, NULL},
		{DATA, "data", "> 250 ok", QUIT, NULL}};
	uint8_t *p = text_of(OCTETS);
	int fd = file_of(p, OCTETS);
	struct spool_loan other = {.first = NULL};

	cr_assert(spool_loan_take(&lender, &other));
	for (size_t i = 0; i < COUNT_OF(scripts); i++) {
		int64_t spliced = counter_sum(COUNTER_RELAY_SPLICE_BYTES);
		bool bdat = i == 0;
		struct letter letter;

		body_of(&letter, fd, OCTETS);
		give(&letter, scripts[i]);
		dial_until_stage(CLIENT_STAGE_BODY);
		cr_expect(client->loan.first == NULL && client->body.splice == bdat);
		letter_wait(&letter);
		cr_expect(strcmp(letter_outcomes(&letter), "DONE 250") == 0);
		relay_client_quit(client);
		dial_close();
		is_heard("no memory", bdat, p, OCTETS);
		spliced = counter_sum(COUNTER_RELAY_SPLICE_BYTES) - spliced;
		cr_expect(spliced == (bdat ? OCTETS : 0), "%lld spliced", (long long)spliced);
		cr_expect(counter_sum(COUNTER_RELAY_CACHED_MEMORY) == (int64_t)i + 1);
	}
	cr_expect(counter_sum(COUNTER_RELAY_CACHED_FILE) == 0);
	spool_loan_return(&lender, &other);
	is_returned("no memory", fd);
	close(fd);
	free(p);
}

/* A file that does not take the flag: /dev/zero has octets enough. */
Test(loan, a_file_that_does_not_go_past_the_page_cache)
{
	static const char *const script[] = {
		BDAT, "< BDAT 100000 LAST", "octets 100000", "> 250 ok", QUIT, NULL};
	static const uint8_t zeros[100000];
	int fd = open("/dev/zero", O_RDONLY);
	struct letter letter;

	cr_assert(fd >= 0);
	body_of(&letter, fd, sizeof(zeros));
	give(&letter, script);
	letter_wait(&letter);
	cr_expect(strcmp(letter_outcomes(&letter), "DONE 250") == 0, "%s", letter.outcomes[0].text);
	relay_client_quit(client);
	dial_close();
	is_heard("/dev/zero", true, zeros, sizeof(zeros));
	is_returned("/dev/zero", fd);
	cr_expect(counter_sum(COUNTER_RELAY_CACHED_FILE) == 1);
	cr_expect(counter_sum(COUNTER_RELAY_CACHED_MEMORY) == 0);
	close(fd);
}

/* What is cached, small, or not at its file's beginning is not asked about at all. */
Test(loan, is_not_for_these)
{
	static const struct {
		const char *name;
		size_t offset, n;
		bool uncached;
	} rows[] = {{"cached", 0, 100000, false}, {"in a log", BLOCK, 100000, true},
		{"small", 0, RELAY_SPLICE_MIN - 1, true}};
	uint8_t *p = text_of(10 * BLOCK);
	int fd = file_of(p, 10 * BLOCK);

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char command[32], octets[32];
		const char *script[] = {BDAT, command, octets, "> 250 ok", QUIT, NULL};
		struct letter letter;

		snprintf(command, sizeof(command), "< BDAT %zu LAST", rows[i].n);
		snprintf(octets, sizeof(octets), "octets %zu", rows[i].n);
		letter_init(&letter, 1);
		letter_file(&letter, fd, rows[i].offset, rows[i].n);
		letter.body.uncached = rows[i].uncached;
		give(&letter, script);
		dial_until_stage(CLIENT_STAGE_BODY);
		cr_expect(client->loan.first == NULL, "%s", rows[i].name);
		letter_wait(&letter);
		relay_client_quit(client);
		dial_close();
		is_heard(rows[i].name, true, p + rows[i].offset, rows[i].n);
	}
	cr_expect(counter_sum(COUNTER_RELAY_CACHED_FILE) == 0);
	cr_expect(counter_sum(COUNTER_RELAY_CACHED_MEMORY) == 0);
	close(fd);
	free(p);
}
