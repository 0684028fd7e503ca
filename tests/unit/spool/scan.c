/* SPDX-License-Identifier: MIT */
/* scan.c -- what a reader of a segment is told: records in order, damage, and whether it is the
 * torn tail. Every test's segment is a file in memory. */
#include "image.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEEN_MAX 4096

static struct image image;
static struct spool_segment_header header;
static uint64_t end, batch;
static char seen[SEEN_MAX]; /* "R1@64 D100+40#2 T..." */
static int stop_after;

static void say(const char *text)
{
	size_t n = strlen(seen);

	snprintf(seen + n, sizeof(seen) - n, "%s%s", n > 0 ? " " : "", text);
}

static bool on_record(
	void *ctx, const struct spool_record *record, struct span meta, uint64_t offset)
{
	static const char types[] = "?MAF";
	char text[64];

	cr_assert_eq(ctx, &image);
	cr_assert_eq(meta.n, record->meta_n);
	snprintf(text, sizeof(text), "%c%llu@%llu", types[record->type],
		(unsigned long long)record->id, (unsigned long long)offset);
	say(text);
	return --stop_after != 0;
}

static void on_damage(void *ctx, uint64_t offset, uint64_t n, uint64_t id, bool tail)
{
	char text[96];

	cr_assert_eq(ctx, &image);
	snprintf(text, sizeof(text), "%s%llu+%llu#%llu", tail ? "tail" : "bad",
		(unsigned long long)offset, (unsigned long long)n, (unsigned long long)id);
	say(text);
}

static int scan_octets(struct span bytes)
{
	struct spool_scan_visit visit = {&image, on_record, on_damage};
	int fd = memfd_create("segment", MFD_CLOEXEC);
	int res;

	cr_assert(fd >= 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n);
	seen[0] = '\0';
	res = spool_scan(fd, &visit, &header, &end, &batch);
	close(fd);
	return res;
}

static void expect(const char *what)
{
	cr_assert_eq(scan_octets(span_of(image.bytes, image.n)), 0);
	cr_assert_str_eq(seen, what);
}

static size_t message(uint64_t batch_n, uint64_t id)
{
	struct image_message m = {.batch = batch_n,
		.id = id,
		.from = "s@x",
		.to = "r@x",
		.body = "Subject: test\r\n\r\nHello you!\r\n"};

	return image_message(&image, &m);
}

/* Octets of each message made above, the last of them padding. */
#define M 128

Test(scan, nothing_but_a_header)
{
	image_begin(&image, 3, 9);
	expect("");
	cr_assert_eq(header.shard, 3);
	cr_assert_eq(header.seq, 9);
	cr_assert_eq(header.salt, IMAGE_SALT);
	cr_assert_eq(end, 64);
	cr_assert_eq(batch, 0);
}

Test(scan, records_in_order)
{
	struct spool_attempt attempt = {.next_hop = "h", .text = "t"};

	image_begin(&image, 0, 1);
	cr_assert_eq(message(1, 11), 64);
	cr_assert_eq(image.n, 64 + M, "the tests below count on it");
	image_attempt(&image, 2, 11, &attempt);
	image_finished(&image, 3, 11);
	expect("M11@64 A11@192 F11@272");
	cr_assert_eq(end, image.n);
	cr_assert_eq(batch, 3);
	image.n += 1000; /* room that was kept */
	expect("M11@64 A11@192 F11@272");
	cr_assert_eq(end, image.n - 1000);
	stop_after = 2;
	expect("M11@64 A11@192");
	cr_assert_eq(end, 272);
}

/* Three batches of two messages each; `at`: which octet is turned. */
static const struct {
	const char *what;
	size_t at[3];
	const char *sees;
} rows[] = {
	{"a body of an old batch", {64 + 120}, "bad64+128#1 M2@192 M3@320 M4@448 M5@576 M6@704"},
	{"a header of an old batch", {64 + 20}, "bad64+128#0 M2@192 M3@320 M4@448 M5@576 M6@704"},
	{"two headers side by side", {64 + 20, 192 + 20},
		"bad64+256#0 M3@320 M4@448 M5@576 M6@704"},
	{"two bodies side by side", {64 + 120, 192 + 120},
		"bad64+128#1 bad192+128#2 M3@320 M4@448 M5@576 M6@704"},
	{"the last body", {704 + 120}, "M1@64 M2@192 M3@320 M4@448 M5@576 tail704+128#6"},
	{"the last header", {704}, "M1@64 M2@192 M3@320 M4@448 M5@576 tail704+128#0"},
	{"the newest batch before a sound record", {576 + 120},
		"M1@64 M2@192 M3@320 M4@448 bad576+128#5 M6@704"},
	{"the whole newest batch", {576 + 120, 704 + 120},
		"M1@64 M2@192 M3@320 M4@448 tail576+128#5 tail704+128#6"},
	{"the newest batch, first header", {576, 704 + 120},
		"M1@64 M2@192 M3@320 M4@448 bad576+128#0 tail704+128#6"},
	{"the newest batch, last header", {576 + 120, 704},
		"M1@64 M2@192 M3@320 M4@448 tail576+128#5 tail704+128#0"},
	{"the newest batch, both headers", {576, 704}, "M1@64 M2@192 M3@320 M4@448 tail576+256#0"},
	{"the end of the batch before it, too", {448 + 120, 576 + 120, 704 + 120},
		"M1@64 M2@192 M3@320 bad448+128#4 tail576+128#5 tail704+128#6"},
};

Test(scan, damage)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		image_begin(&image, 0, 1);
		for (uint64_t id = 1; id <= 6; id++)
			message((id + 1) / 2, id);
		for (size_t k = 0; k < 3 && rows[i].at[k] != 0; k++)
			image.bytes[rows[i].at[k]] ^= 0x10;
		cr_assert_eq(scan_octets(span_of(image.bytes, image.n)), 0);
		cr_assert_str_eq(seen, rows[i].sees, "%s: %s", rows[i].what, seen);
		cr_assert_eq(batch, rows[i].at[1] == 704 && rows[i].at[0] == 576 ? 2 : 3, "%s",
			rows[i].what);
		image.n += 100; /* zeros behind it change nothing */
		cr_assert_eq(scan_octets(span_of(image.bytes, image.n)), 0);
		cr_assert_str_eq(seen, rows[i].sees, "%s, zeros: %s", rows[i].what, seen);
	}
}

Test(scan, zeros_are_the_end_only_at_the_end)
{
	image_begin(&image, 0, 1);
	for (uint64_t id = 1; id <= 3; id++)
		message(id, id);
	memset(image.bytes + 192, 0, M);
	expect("M1@64 bad192+128#0 M3@320");
	memset(image.bytes + 320, 0, M);
	expect("M1@64");
	cr_assert_eq(end, 192);
	image.bytes[400] = 1; /* not at a multiple of 8 from where a record could be */
	expect("M1@64 tail192+216#0");
	cr_assert_eq(end, 408);
}

/* What an earlier life of the file left: records with another salt, without gaps, to 64 KiB. */
static void leave_old(void)
{
	size_t n = image.n;

	image.salt = ~IMAGE_SALT;
	for (uint64_t id = 900; image.n < 65536; id++)
		message(1, id);
	memset(image.bytes + n - n % 8, 0, n % 8);
	image.salt = IMAGE_SALT;
	image.n = 65536;
}

/* Three commits of two messages each, a page of zeros, then what is old. `at`: which octets are
 * turned; `zero`: which page never reached the disk; `old`: which was not written over. */
static const struct {
	const char *what;
	size_t at[3];
	size_t zero;
	size_t old;
	const char *sees;
} page_rows[] = {
	{"nothing wrong", {0}, 0, 0, "M1@4096 M2@4224 M3@8192 M4@8320 M5@12288 M6@12416"},
	{"the last header", {12416}, 0, 0,
		"M1@4096 M2@4224 M3@8192 M4@8320 M5@12288 tail12416+53120#0"},
	{"the last body", {12416 + 120}, 0, 0,
		"M1@4096 M2@4224 M3@8192 M4@8320 M5@12288 tail12416+128#6"},
	{"the newest commit, both headers", {12288, 12416}, 0, 0,
		"M1@4096 M2@4224 M3@8192 M4@8320 tail12288+53248#0"},
	{"the newest commit, both bodies", {12288 + 120, 12416 + 120}, 0, 0,
		"M1@4096 M2@4224 M3@8192 M4@8320 tail12288+128#5 tail12416+128#6"},
	{"the newest commit before a sound record", {12288}, 0, 0,
		"M1@4096 M2@4224 M3@8192 M4@8320 bad12288+128#0 M6@12416"},
	{"a header of an old commit", {8192}, 0, 0,
		"M1@4096 M2@4224 bad8192+128#0 M4@8320 M5@12288 M6@12416"},
	{"the last header of an old commit", {8320}, 0, 0,
		"M1@4096 M2@4224 M3@8192 bad8320+3968#0 M5@12288 M6@12416"},
	{"an old commit as zeros", {0}, 8192, 0,
		"M1@4096 M2@4224 bad8192+4096#0 M5@12288 M6@12416"},
	{"the newest commit as zeros", {0}, 12288, 0, "M1@4096 M2@4224 M3@8192 M4@8320"},
	{"all commits as zeros but the last", {12288}, 4096, 0,
		"bad4096+4096#0 M3@8192 M4@8320 bad12288+128#0 M6@12416"},
	{"an old commit that was never written", {0}, 0, 8192,
		"M1@4096 M2@4224 bad8192+4096#0 M5@12288 M6@12416"},
	{"the newest commit that was never written", {0}, 0, 12288,
		"M1@4096 M2@4224 M3@8192 M4@8320 tail12288+53248#0"},
	{"an octet in the padding", {8448 + 100}, 0, 0,
		"M1@4096 M2@4224 M3@8192 M4@8320 bad8544+3744#0 M5@12288 M6@12416"},
};

Test(scan, pages)
{
	for (size_t i = 0; i < COUNT_OF(page_rows); i++) {
		image_begin_pages(&image, 0, 1);
		for (uint64_t id = 1; id <= 6; id++) {
			message((id + 1) / 2, id);
			if (id % 2 == 0)
				image_page(&image);
		}
		image.n += SPOOL_PAGE;
		leave_old();
		for (size_t k = 0; k < 3 && page_rows[i].at[k] != 0; k++)
			image.bytes[page_rows[i].at[k]] ^= 0x10;
		if (page_rows[i].zero != 0)
			memset(image.bytes + page_rows[i].zero, 0, SPOOL_PAGE);
		if (page_rows[i].old != 0)
			memcpy(image.bytes + page_rows[i].old, image.bytes + 24576, SPOOL_PAGE);
		cr_assert_eq(scan_octets(span_of(image.bytes, image.n)), 0);
		cr_expect_str_eq(seen, page_rows[i].sees, "%s: %s", page_rows[i].what, seen);
	}
}

/* A new file has zeros behind its commits, or nothing. */
Test(scan, pages_of_a_first_life)
{
	image_begin_pages(&image, 0, 1);
	expect("");
	image.n = 65536;
	expect("");
	cr_assert_eq(end, 4096);
	image.n = 4096;
	leave_old();
	expect("tail4096+61440#0"); /* the page behind the header is missing */
	memset(image.bytes + 4096, 0, SPOOL_PAGE);
	expect("");
	image_begin_pages(&image, 0, 1);
	message(1, 1);
	expect("M1@4096");
	cr_assert_eq(end, 4224);
	image_page(&image);
	expect("M1@4096");
	image.n += 3 * SPOOL_PAGE;
	expect("M1@4096");
	cr_assert_eq(end, 4224);
	cr_assert_eq(batch, 1);
}

/* Whatever remains of two commits, the first is there once it is whole, and nothing is damage. */
Test(scan, pages_cut_anywhere)
{
	image_begin_pages(&image, 0, 1);
	message(1, 1);
	image_page(&image);
	message(2, 2);
	image_page(&image);
	for (size_t n = 64; n <= image.n; n++) {
		cr_assert_eq(scan_octets(span_of(image.bytes, n)), 0);
		cr_assert_eq(
			strstr(seen, "M1@4096") != NULL, n >= 4096 + M - 1, "%zu: %s", n, seen);
		cr_assert_eq(
			strstr(seen, "M2@8192") != NULL, n >= 8192 + M - 1, "%zu: %s", n, seen);
		cr_assert_null(strstr(seen, "bad"), "cut at %zu: %s", n, seen);
	}
}

/* A page of the write that never reached the disk, in the middle of a batch. */
Test(scan, a_hole_in_a_long_body)
{
	static char body[3 << 16];
	struct image_message m = {.batch = 2, .id = 2, .from = "s@x", .to = "r@x", .body = body};

	memset(body, 'b', sizeof(body) - 1);
	image_begin(&image, 0, 1);
	message(1, 1);
	image_message(&image, &m);
	memset(image.bytes + 8192, 0, 4096);
	cr_assert_eq(scan_octets(span_of(image.bytes, image.n)), 0);
	cr_assert(strncmp(seen, "M1@64 tail192+", 14) == 0, "%s", seen);
}

/* What a message holds is not a record, wherever the reader comes from. */
Test(scan, a_record_inside_of_a_message)
{
	static const char trap[] = "Subject: x\r\n";
	struct image inner;
	struct spool_record record = {.type = SPOOL_RECORD_MESSAGE, .batch = 1, .id = 1};
	uint8_t body[1024];
	size_t n;

	image_begin(&inner, 0, 1);
	inner.salt = 0; /* who writes it does not know the salt */
	image_finished(&inner, 99, 77);
	memset(body, ' ', sizeof(body));
	for (n = 0; n + 64 <= sizeof(body); n += 72) /* at each place once */
		memcpy(body + n, inner.bytes + 64, 64);
	image_begin(&image, 0, 1);
	record.body_n = sizeof(body);
	image_record(&image, &record, span_str(trap), span_of(body, sizeof(body)));
	message(2, 2);
	image.bytes[64 + 20] ^= 1;
	cr_assert_eq(scan_octets(span_of(image.bytes, image.n)), 0);
	cr_assert(strstr(seen, "F77") == NULL, "%s", seen);
	cr_assert(strncmp(seen, "bad64+", 6) == 0 && strstr(seen, " M2@") != NULL, "%s", seen);
	/* with the salt it would be taken for one: that is what the salt is for */
	image_begin(&inner, 0, 1);
	image_finished(&inner, 99, 77);
	memcpy(image.bytes + 64 + 80, inner.bytes + 64, 64);
	cr_assert_eq(scan_octets(span_of(image.bytes, image.n)), 0);
	cr_assert(strstr(seen, "F77") != NULL, "%s", seen);
}

/* Whatever remains of two batches, the first is there once it is whole. */
Test(scan, cut_anywhere)
{
	image_begin(&image, 0, 1);
	message(1, 1);
	message(1, 2);
	message(2, 3);
	for (size_t n = 0; n <= image.n; n++) {
		int res = scan_octets(span_of(image.bytes, n));

		if (n < 64) {
			cr_assert_eq(res, -EINVAL);
			cr_assert_str_eq(seen, "");
			continue;
		}
		cr_assert_eq(res, 0);
		cr_assert_eq(
			strstr(seen, "M1@64") != NULL, n >= 192 - 1, "cut at %zu: %s", n, seen);
		cr_assert_eq(
			strstr(seen, "M2@192") != NULL, n >= 320 - 1, "cut at %zu: %s", n, seen);
		cr_assert_eq(
			strstr(seen, "M3@320") != NULL, n >= 448 - 1, "cut at %zu: %s", n, seen);
		cr_assert_null(strstr(seen, "bad"), "cut at %zu: %s", n, seen);
		cr_assert_eq(strstr(seen, "tail") != NULL,
			(n > 64 && n < 191) || (n > 192 && n < 319) || (n > 320 && n < 447),
			"cut at %zu: %s", n, seen);
	}
}

Test(scan, headers_that_are_not)
{
	struct spool_segment_header newer = {.version = SPOOL_FORMAT_VERSION + 1};

	image_begin(&image, 0, 1);
	image.bytes[0] ^= 1;
	cr_assert_eq(scan_octets(span_of(image.bytes, image.n)), -EINVAL);
	image.bytes[0] ^= 1;
	image.bytes[20] ^= 1;
	cr_assert_eq(scan_octets(span_of(image.bytes, image.n)), -EBADMSG);
	spool_segment_header_write(image.bytes, &newer);
	cr_assert_eq(scan_octets(span_of(image.bytes, image.n)), -ENOTSUP);
	cr_assert_eq(header.version, SPOOL_FORMAT_VERSION + 1);
}

Test(scan, what_cannot_be_read)
{
	struct spool_scan_visit visit = {&image, on_record, on_damage};
	int fds[2];

	cr_assert_eq(spool_scan(-1, &visit, &header, &end, &batch), -EBADF);
	cr_assert_eq(pipe(fds), 0);
	cr_assert_eq(spool_scan(fds[0], &visit, &header, &end, &batch), -EINVAL, "no file");
	close(fds[0]);
	close(fds[1]);
}

/* Longer than the reader's window: records across its edge, damage found again behind it. */
Test(scan, a_long_segment)
{
	enum { MESSAGES = 40 };
	static struct image part;
	static char body[100001];
	struct spool_scan_visit visit = {&image, on_record, on_damage};
	int fd = memfd_create("long", MFD_CLOEXEC);
	uint64_t at = SPOOL_SEGMENT_HEADER, broken = 0;
	unsigned records = 0;

	memset(body, 'b', sizeof(body) - 1);
	image_begin(&part, 0, 1);
	cr_assert_eq(write(fd, part.bytes, 64), 64);
	for (uint64_t id = 1; id <= MESSAGES; id++) {
		struct image_message m = {
			.batch = id, .id = id, .from = "s@x", .to = "r@x", .body = body};

		image_begin(&part, 0, 1);
		body[sizeof(body) - 1 - id] = '\0'; /* each one octet shorter */
		image_message(&part, &m);
		if (id == 12) { /* its header: the search goes on through a body of b's */
			part.bytes[64] = 0;
			broken = at;
		}
		cr_assert_eq(write(fd, part.bytes + 64, part.n - 64), (ssize_t)(part.n - 64));
		at += part.n - 64;
	}
	seen[0] = '\0';
	cr_assert_eq(spool_scan(fd, &visit, &header, &end, &batch), 0);
	for (const char *p = seen; (p = strchr(p, 'M')) != NULL; p++)
		records++;
	cr_assert_eq(records, MESSAGES - 1);
	snprintf((char *)part.bytes, 32, "bad%llu+", (unsigned long long)broken);
	cr_assert_not_null(strstr(seen, (char *)part.bytes), "%s", seen);
	cr_assert_eq(end, at);
	close(fd);
}
