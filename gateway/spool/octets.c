/* SPDX-License-Identifier: MIT */
/*
 * octets.c -- looks at a message's octets as they come: is one above 0x7f, is a CR or LF alone?
 *
 * Eight octets at a time where none of them is a CR or LF, which is most of a text.
 */
#include "spool/spool-private.h"

#define ONES  0x0101010101010101ull
#define HIGHS 0x8080808080808080ull

/* Not zero when one of the eight octets of `word` is `octet`. */
static uint64_t word_has(uint64_t word, uint8_t octet)
{
	uint64_t zeros = word ^ (ONES * octet);

	return (zeros - ONES) & ~zeros & HIGHS;
}

static void look_octets(struct spool_octets *octets, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		octets->has_8bit = octets->has_8bit || p[i] >= 0x80;
		octets->has_bare = octets->has_bare || octets->after_cr != (p[i] == '\n');
		octets->after_cr = p[i] == '\r';
	}
}

void spool_octets_look(struct spool_octets *octets, struct span bytes)
{
	uint64_t high = 0;

	if (octets->has_8bit && octets->has_bare)
		return;
	while (bytes.n >= sizeof(uint64_t)) {
		struct span part = span_take(&bytes, sizeof(uint64_t));
		uint64_t word;

		memcpy(&word, part.p, sizeof(word));
		high |= word;
		if (octets->after_cr || (word_has(word, '\r') | word_has(word, '\n')) != 0)
			look_octets(octets, part.p, part.n);
	}
	look_octets(octets, bytes.p, bytes.n);
	octets->has_8bit = octets->has_8bit || (high & HIGHS) != 0;
}

void spool_octets_end(struct spool_octets *octets)
{
	octets->has_bare = octets->has_bare || octets->after_cr;
	octets->after_cr = false;
}
