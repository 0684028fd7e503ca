/* SPDX-License-Identifier: MIT */
/* mark.c -- see mark.h. */
#include "bench/lib/mark.h"

void mark_put_number(uint8_t *digits, uint64_t number)
{
	for (unsigned i = MARK_NUMBER_DIGITS; i-- > 0; number /= 10)
		digits[i] = (uint8_t)('0' + number % 10);
}

void mark_put_digest(uint8_t *digits, const uint8_t digest[MARK_DIGEST_BYTES])
{
	static const char hex[] = "0123456789abcdef";

	for (unsigned i = 0; i < MARK_DIGEST_BYTES; i++) {
		digits[2 * i] = (uint8_t)hex[digest[i] >> 4];
		digits[2 * i + 1] = (uint8_t)hex[digest[i] & 15];
	}
}

void mark_begin(struct mark *mark, EVP_MD_CTX *hash)
{
	*mark = (struct mark){.hash = hash};
	ASSERT(EVP_DigestInit_ex2(hash, EVP_sha256(), NULL) == 1);
}

/* The rest of the line when it is this field and nothing but n octets follow. */
static const uint8_t *field(struct mark *mark, const char *name, size_t n)
{
	size_t name_n = strlen(name);

	if (mark->line_n < name_n || memcmp(mark->line, name, name_n) != 0)
		return NULL;
	if (mark->line_n == name_n + n + 2)
		return mark->line + name_n;
	mark->broken = true;
	return NULL;
}

static void header_line(struct mark *mark)
{
	const uint8_t *number = field(mark, MARK_NUMBER_FIELD, MARK_NUMBER_DIGITS);
	const uint8_t *digest = field(mark, MARK_DIGEST_FIELD, MARK_DIGEST_DIGITS);

	if (number) {
		mark->broken |= mark->numbered;
		mark->numbered = true;
		mark->number = 0;
		for (unsigned i = 0; i < MARK_NUMBER_DIGITS; i++) {
			mark->broken |= number[i] < '0' || number[i] > '9';
			mark->number = mark->number * 10 + (number[i] - '0') % 10;
		}
	}
	if (digest) {
		mark->broken |= mark->digested;
		mark->digested = true;
		memcpy(mark->digest, digest, MARK_DIGEST_DIGITS);
	}
	if (mark->line_n == 2)
		mark->part = MARK_BODY;
}

void mark_take(struct mark *mark, struct span bytes)
{
	while (mark->part == MARK_HEADER && bytes.n > 0) {
		const uint8_t *feed = memchr(bytes.p, '\n', bytes.n);
		struct span line = span_take(&bytes, feed ? (size_t)(feed - bytes.p) + 1 : bytes.n);
		size_t room = sizeof(mark->line) - min_size(mark->line_n, sizeof(mark->line));

		memcpy(mark->line + sizeof(mark->line) - room, line.p, min_size(line.n, room));
		mark->line_n = (uint16_t)min_size(mark->line_n + line.n, sizeof(mark->line));
		if (feed) {
			header_line(mark);
			mark->line_n = 0;
		}
	}
	if (bytes.n > 0)
		ASSERT(EVP_DigestUpdate(mark->hash, bytes.p, bytes.n) == 1);
}

enum mark_verdict mark_end(struct mark *mark)
{
	uint8_t raw[MARK_DIGEST_BYTES], digits[MARK_DIGEST_DIGITS];

	if (!mark->numbered && !mark->digested && !mark->broken)
		return MARK_NONE;
	if (mark->broken || !mark->numbered)
		return MARK_CORRUPT;
	if (!mark->digested)
		return MARK_GOOD;
	ASSERT(EVP_DigestFinal_ex(mark->hash, raw, NULL) == 1);
	mark_put_digest(digits, raw);
	return memcmp(digits, mark->digest, sizeof(digits)) == 0 ? MARK_GOOD : MARK_CORRUPT;
}
