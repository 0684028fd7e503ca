/* SPDX-License-Identifier: MIT */
/* content.c -- messages: exact in size, sound in form, and what mark.c makes of them. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "bench/lib/mark.h"
#include "bench/load/content.h"
#include "bench/load/options.h"

#define SIZE_TESTED_MAX 5000

static struct content content;
static struct message message;
static EVP_MD_CTX *hash;
static uint8_t flat[SIZE_TESTED_MAX];

static void open_content(void)
{
	struct options options = {.size = SIZE_TESTED_MAX,
		.verify = true,
		.helo = "h.example",
		.from = "f@example.net",
		.to = "u%@example.org",
		.recipients = 2,
		.mailboxes = 3};
	struct err err;

	cr_assert(content_open(&content, &options, &err) == 0);
	hash = EVP_MD_CTX_new();
	cr_assert(hash != NULL);
}

static void close_content(void)
{
	content_close(&content);
	EVP_MD_CTX_free(hash);
}

TestSuite(content, .init = open_content, .fini = close_content);

static size_t flatten(uint32_t from, uint32_t to)
{
	struct iovec pieces[CONTENT_PIECES];
	unsigned n = content_slice(&message, from, to, pieces);
	size_t at = 0;

	for (unsigned i = 0; i < n; i++) {
		cr_assert(at + pieces[i].iov_len <= sizeof(flat));
		memcpy(flat + at, pieces[i].iov_base, pieces[i].iov_len);
		at += pieces[i].iov_len;
	}
	return at;
}

/* No bare CR or LF, no line that begins with a dot, no line over 998. */
static void expect_sound(size_t n)
{
	size_t line = 0;

	cr_assert(n >= 2 && flat[n - 2] == '\r' && flat[n - 1] == '\n');
	for (size_t i = 0; i < n; i++) {
		cr_assert(line > 0 || flat[i] != '.', "dot at %zu of %zu", i, n);
		cr_assert(flat[i] != '\n' || (i > 0 && flat[i - 1] == '\r'), "LF at %zu", i);
		cr_assert(flat[i] != '\r' || flat[i + 1] == '\n', "CR at %zu", i);
		line = flat[i] == '\n' ? 0 : line + 1;
		cr_assert(line < 998);
	}
}

static enum mark_verdict judge(size_t n, size_t cut, uint64_t *number)
{
	struct span all = span_of(flat, n);
	struct mark mark;

	mark_begin(&mark, hash);
	while (all.n > 0)
		mark_take(&mark, span_take(&all, cut));
	*number = mark.number;
	return mark_end(&mark);
}

Test(content, every_size_is_exact_sound_and_verifies)
{
	uint64_t number;

	for (uint32_t size = CONTENT_SIZE_MIN; size < CONTENT_SIZE_MIN + 200; size++) {
		content_message(&content, &message, size * 7ull, size, hash);
		cr_assert(flatten(0, size) == size, "size %u", size);
		expect_sound(size);
		cr_assert(judge(size, 1 + size % 50, &number) == MARK_GOOD, "size %u", size);
		cr_assert(number == size * 7ull);
	}
}

Test(content, slices_make_up_the_whole)
{
	uint8_t whole[SIZE_TESTED_MAX];

	content_message(&content, &message, 5, SIZE_TESTED_MAX, hash);
	cr_assert(flatten(0, SIZE_TESTED_MAX) == SIZE_TESTED_MAX);
	memcpy(whole, flat, sizeof(whole));
	for (uint32_t from = 0; from < SIZE_TESTED_MAX; from += 333) {
		uint32_t to = from + 333 < SIZE_TESTED_MAX ? from + 333 : SIZE_TESTED_MAX;

		cr_assert(flatten(from, to) == to - from);
		cr_assert(memcmp(flat, whole + from, to - from) == 0, "from %u", from);
	}
}

Test(content, any_changed_octet_of_the_body_is_found)
{
	uint64_t number;

	content_message(&content, &message, 5, 2000, hash);
	for (size_t at = content.head_n; at < 2000; at += 37) {
		cr_assert(flatten(0, 2000) == 2000);
		flat[at] ^= 1;
		cr_assert(judge(2000, 4096, &number) == MARK_CORRUPT, "octet %zu", at);
	}
	cr_assert(flatten(0, 2000) == 2000);
	cr_expect(judge(1998, 4096, &number) == MARK_CORRUPT);
}

Test(content, bodies_of_equal_size_differ)
{
	uint8_t first[2000];

	content_message(&content, &message, 1, 2000, hash);
	cr_assert(flatten(0, 2000) == 2000);
	memcpy(first, flat, sizeof(first));
	content_message(&content, &message, 2, 2000, hash);
	cr_assert(flatten(0, 2000) == 2000);
	cr_expect(
		memcmp(first + content.head_n, flat + content.head_n, 2000 - content.head_n) != 0);
}

Test(content, marks_that_are_missing_double_or_broken)
{
	static const struct {
		const char *text;
		enum mark_verdict verdict;
	} cases[] = {
		{"Subject: x\r\n\r\nbody\r\n", MARK_NONE},
		{"X-Postern-Number: 0000000000000042\r\n\r\nbody\r\n", MARK_GOOD},
		{"Subject: x\r\n\r\nX-Postern-Number: 0000000000000042\r\n", MARK_NONE},
		{"X-Postern-Number: 42\r\n\r\n", MARK_CORRUPT},
		{"X-Postern-Number: 00000000000000x2\r\n\r\n", MARK_CORRUPT},
		{"X-Postern-Number: 0000000000000042\r\nX-Postern-Number: 0000000000000043\r\n\r\n",
			MARK_CORRUPT},
		{"X-Postern-Digest: 00\r\n\r\n", MARK_CORRUPT},
	};
	uint64_t number;

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		memcpy(flat, cases[i].text, strlen(cases[i].text));
		for (size_t cut = 1; cut < 60; cut++)
			cr_assert(judge(strlen(cases[i].text), cut, &number) == cases[i].verdict,
				"case %zu, cut %zu", i, cut);
	}
}

Test(content, recipients_go_round)
{
	struct span lines = content_rcpt(&content, 2, 2);

	cr_expect(span_equal(
		lines, span_str("RCPT TO:<u2@example.org>\r\nRCPT TO:<u0@example.org>\r\n")));
}
