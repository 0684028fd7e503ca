/* SPDX-License-Identifier: MIT */
/*
 * probe_dialog.c -- fuzz: what servers say to postern-probe, in each protocol and at each step.
 *
 * The first octet chooses the protocol and the step, the rest is the server's. What is a whole reply is
 * none without its last octet, whatever is behind it changes nothing, and all text is printable.
 */
#include "tools/probe/probe-private.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_printable(const char *text)
{
	for (; *text != '\0'; text++)
		ASSERT(*text >= ' ' && *text <= '~');
}

static void check_reply(enum probe_protocol protocol, enum dialog_step step, struct span octets)
{
	size_t end = dialog_reply_end(protocol, step, octets);
	char text[PROBE_TEXT_MAX];
	struct span reply;

	if (end == 0 || end == SIZE_MAX)
		return;
	ASSERT(end <= octets.n);
	reply = span_of(octets.p, end);
	ASSERT(dialog_reply_end(protocol, step, reply) == end);
	ASSERT(dialog_reply_end(protocol, step, span_of(octets.p, end - 1)) == 0);
	(void)dialog_reply_good(protocol, step, reply);
	(void)dialog_reply_offers(protocol, reply);
	(void)dialog_reply_disguised(protocol, reply);
	dialog_reply_text(protocol, reply, text, sizeof(text));
	check_printable(text);
	dialog_keywords(reply, text, sizeof(text));
	check_printable(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct ber_message message;
	struct span octets;
	enum probe_protocol protocol;
	enum dialog_step step;

	if (n == 0)
		return 0;
	protocol = (enum probe_protocol)(data[0] % PROBE_PROTOCOLS);
	step = (enum dialog_step)(data[0] / PROBE_PROTOCOLS % DIALOG_STEPS);
	octets = span_of(data + 1, n - 1);
	if (dialog_replies(protocol, step))
		check_reply(protocol, step, octets);
	(void)dialog_leaked(protocol, octets);
	if (ber_message_read(octets, &message))
		ASSERT(message.said.n <= octets.n);
	return 0;
}
