/* SPDX-License-Identifier: MIT */
/*
 * cut.c -- cutting through: before a message is made durable relay/ may deliver it, and the next
 * hop's word becomes the answer.
 *
 * relay/ gets the octets where they are: in memory, or in the large file once the rest of them was
 * written there. Nothing is synced before the answer, and nothing stays after a verdict.
 */
#include "spool/spool-private.h"

#include <stdio.h>
#include <stdlib.h>

static void body_describe(struct spool_cutting *cutting, const struct spool_message *message)
{
	struct spool_body *body = &cutting->cut.body;
	struct spool_octets octets = message->octets;

	spool_octets_end(&octets);
	*body = (struct spool_body){.fd = message->large ? message->fd : -1,
		.n = message->size,
		.uncached = message->uncached,
		.has_8bit = octets.has_8bit,
		.has_bare = octets.has_bare};
	if (message->large)
		return;
	spool_blocks_iov(&message->filling, cutting->iov);
	body->iov = cutting->iov;
	body->iov_n = message->filling.n;
}

bool spool_cut_ask(struct spool_message *message)
{
	struct spool_reader *reader = message->spool->reader;
	uint32_t blocks = message->large ? 0 : message->filling.n;
	struct spool_cutting *cutting;

	if (reader == NULL || reader->cut == NULL)
		return false;
	cutting = calloc(1,
		sizeof(*cutting) + blocks * sizeof(struct iovec) + message->envelope->recipients_n);
	if (cutting == NULL)
		return false;
	spool_direct_end(message);
	cutting->message = message;
	cutting->cut.id = message->id;
	cutting->cut.envelope = message->envelope;
	cutting->cut.fates = (uint8_t *)&cutting->iov[blocks];
	body_describe(cutting, message);
	if (!reader->cut(reader, &cutting->cut)) {
		free(cutting);
		return false;
	}
	message->cutting = cutting;
	return true;
}

const uint8_t *spool_cut_fates(const struct spool_message *message)
{
	return message->cutting != NULL ? message->cutting->cut.fates : NULL;
}

void spool_cut_free(struct spool_cutting *cutting)
{
	free(cutting);
}

void spool_cut_done(struct spool *spool, struct spool_cut *cut, const struct smtp_verdict *verdict)
{
	struct spool_cutting *cutting = container_of(cut, struct spool_cutting, cut);
	struct spool_message *message = cutting->message;

	ASSERT(message->spool == spool && message->state == SPOOL_STATE_CUT);
	if (verdict != NULL) {
		cutting->answered = true;
		cutting->verdict = *verdict;
		if (verdict->enhanced != NULL) {
			snprintf(cutting->enhanced, sizeof(cutting->enhanced), "%s",
				verdict->enhanced);
			cutting->verdict.enhanced = cutting->enhanced;
		}
		if (verdict->text != NULL) {
			snprintf(cutting->text, sizeof(cutting->text), "%s", verdict->text);
			cutting->verdict.text = cutting->text;
		}
	}
	spool_state_set(message, SPOOL_STATE_IDLE);
	spool_proceed(message);
}
