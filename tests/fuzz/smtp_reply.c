/* SPDX-License-Identifier: MIT */
/*
 * smtp_reply.c -- what a next hop says, read as replies: whole and octet by octet must come to the
 * same, and what is kept must be fit for a log and a report.
 */
#include "relay/relay-private.h"

#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void kept_check(const struct relay_reply *reply)
{
	size_t n = strlen(reply->text_storage);

	ASSERT(n < RELAY_REPLY_MAX && n == buf_len(&reply->text));
	for (size_t i = 0; i < n; i++)
		ASSERT(reply->text_storage[i] >= ' ' && reply->text_storage[i] < 0x7f);
	ASSERT(reply->lines <= RELAY_REPLY_LINES_MAX);
	if (reply->enhanced[0] == '\0')
		return;
	ASSERT(strlen(reply->enhanced) < sizeof(reply->enhanced));
	ASSERT(reply->enhanced[0] == '0' + reply->code / 100);
	ASSERT(strspn(reply->enhanced, "0123456789.") == strlen(reply->enhanced));
}

/* One reply or a part of one; the same octets go into `twin` one by one. */
static enum relay_reply_step feed_both(
	struct relay_reply *reply, struct relay_reply *twin, struct span *in)
{
	struct span before = *in;
	enum relay_reply_step twin_step = RELAY_REPLY_MORE;
	struct span line, twin_line;
	enum relay_reply_step step = relay_reply_feed(reply, in, &line);

	before.n -= in->n;
	ASSERT(step == RELAY_REPLY_MORE ? in->n == 0 : before.n > 0);
	while (before.n > 0) {
		struct span one = span_take(&before, 1);

		ASSERT(twin_step == RELAY_REPLY_MORE);
		twin_step = relay_reply_feed(twin, &one, &twin_line);
	}
	ASSERT(step == twin_step && reply->lines == twin->lines);
	if (step != RELAY_REPLY_LINE && step != RELAY_REPLY_WHOLE)
		return step;
	ASSERT(reply->code >= 200 && reply->code <= 599 && reply->code == twin->code);
	ASSERT(span_equal(line, twin_line) && line.n < RELAY_REPLY_MAX);
	ASSERT(strcmp(reply->text_storage, twin->text_storage) == 0);
	ASSERT(strcmp(reply->enhanced, twin->enhanced) == 0);
	return step;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct relay_reply reply, twin;
	struct span in = span_of(data, size);

	if (size > INPUT_MAX)
		return -1;
	relay_reply_reset(&reply);
	relay_reply_reset(&twin);
	while (in.n > 0) {
		enum relay_reply_step step = feed_both(&reply, &twin, &in);

		kept_check(&reply);
		if (step == RELAY_REPLY_BAD)
			break;
		if (step != RELAY_REPLY_WHOLE)
			continue;
		relay_reply_reset(&reply);
		relay_reply_reset(&twin);
	}
	return 0;
}
