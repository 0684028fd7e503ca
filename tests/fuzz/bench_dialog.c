/* SPDX-License-Identifier: MIT */
/*
 * bench_dialog.c -- what the load tools read of others: a server's replies, and messages with check
 * marks. However the octets are cut, the same must come of them.
 */
#include "bench/lib/mark.h"
#include "bench/lib/reply.h"

#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- replies ---- */

static void reply_same(const struct reply *a, const struct reply *b)
{
	ASSERT(a->code == b->code && a->lines == b->lines && a->text_n == b->text_n);
	ASSERT(a->text_n <= REPLY_TEXT_MAX && a->lines <= REPLY_LINES_MAX);
	ASSERT(memcmp(a->text, b->text, a->text_n) == 0);
}

static void replies(struct span in)
{
	struct reply whole, cut;
	enum reply_step step = REPLY_MORE;

	reply_init(&whole);
	reply_init(&cut);
	while (in.n > 0 && step != REPLY_BAD) {
		struct span taken = in;
		enum reply_step cut_step = REPLY_MORE;

		step = reply_feed(&whole, &in);
		taken.n -= in.n;
		ASSERT(taken.n > 0 && (step != REPLY_MORE || in.n == 0));
		while (taken.n > 0) {
			struct span octet = span_take(&taken, 1);

			ASSERT(cut_step == REPLY_MORE);
			cut_step = reply_feed(&cut, &octet);
		}
		ASSERT(step == cut_step);
		if (step != REPLY_LINE && step != REPLY_END)
			continue;
		ASSERT(whole.code >= 200 && whole.code <= 599);
		ASSERT(whole.last == (step == REPLY_END));
		reply_same(&whole, &cut);
		(void)!reply_keyword(&whole, "STARTTLS");
	}
}

/* ---- messages ---- */

static void marks(struct span in)
{
	static EVP_MD_CTX *hashes[2];
	struct mark whole, cut;
	enum mark_verdict verdict;

	for (unsigned i = 0; i < COUNT_OF(hashes); i++)
		if (!hashes[i])
			hashes[i] = EVP_MD_CTX_new();
	mark_begin(&whole, hashes[0]);
	mark_begin(&cut, hashes[1]);
	mark_take(&whole, in);
	while (in.n > 0)
		mark_take(&cut, span_take(&in, 1));
	verdict = mark_end(&whole);
	ASSERT(verdict == mark_end(&cut));
	ASSERT(whole.part == cut.part && whole.numbered == cut.numbered);
	ASSERT(whole.number == cut.number && whole.broken == cut.broken);
	ASSERT(verdict != MARK_GOOD || (whole.numbered && !whole.broken));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > INPUT_MAX)
		return -1;
	replies(span_of(data, size));
	marks(span_of(data, size));
	return 0;
}
