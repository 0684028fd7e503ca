/* SPDX-License-Identifier: MIT */
/*
 * stretch.c -- walks over those octets of DATA that are content just as they stand, many at a time.
 *
 * Each octet is looked at together with the one before it. It is wrong when it is an LF and that one
 * no CR, or the other way round; when it is a dot behind an LF; when it is a NUL; when it is the first
 * above 0x7f. So a line's end costs no more than another octet. The walk ends with the first octet
 * that is wrong; as all before it is in order, the octet before says in which place that is.
 * Invariant: the octets passed, and the place behind them, are those that the decoder's machine
 * (body.c) would have come to alone.
 * Rejected: masks of CRs, LFs, dots, NULs, a bit an octet, as spool/octets.c has them: making five
 * takes longer than all else. To walk from anywhere in a line: where every line begins with a dot,
 * what is thrown away of each stride is more than the machine has to do.
 */
#include "smtp/smtp-private.h"

static enum smtp_stretch_by limit = SMTP_STRETCH_AVX2; /* tests only */

void smtp_stretch_limit_for_test(enum smtp_stretch_by most)
{
	limit = most;
}

#ifdef __SSE2__

#include <immintrin.h>

static unsigned wrong_sse2(const uint8_t *p, __m128i highs)
{
	__m128i here = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i before = _mm_loadu_si128((const __m128i *)(const void *)(p - 1));
	__m128i ends = _mm_xor_si128(_mm_cmpeq_epi8(here, _mm_set1_epi8('\n')),
		_mm_cmpeq_epi8(before, _mm_set1_epi8('\r')));
	__m128i dots = _mm_and_si128(_mm_cmpeq_epi8(here, _mm_set1_epi8('.')),
		_mm_cmpeq_epi8(before, _mm_set1_epi8('\n')));
	__m128i octets =
		_mm_or_si128(_mm_cmpeq_epi8(here, _mm_setzero_si128()), _mm_and_si128(here, highs));

	return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(ends, dots), octets));
}

static size_t walk_sse2(const uint8_t *p, size_t n, bool stop_8bit)
{
	const __m128i highs = _mm_set1_epi8(stop_8bit ? -1 : 0);

	for (size_t i = 0; i + sizeof(highs) <= n; i += sizeof(highs)) {
		unsigned wrong = wrong_sse2(p + i, highs);

		if (wrong != 0)
			return i + (size_t)__builtin_ctz(wrong);
	}
	return n - n % sizeof(highs);
}

#define AVX2 __attribute__((target("avx2")))

/* The highest bit of each octet counts. */
AVX2 static __m256i wrong_avx2(const uint8_t *p, __m256i highs)
{
	__m256i here = _mm256_loadu_si256((const __m256i *)(const void *)p);
	__m256i before = _mm256_loadu_si256((const __m256i *)(const void *)(p - 1));
	__m256i ends = _mm256_xor_si256(_mm256_cmpeq_epi8(here, _mm256_set1_epi8('\n')),
		_mm256_cmpeq_epi8(before, _mm256_set1_epi8('\r')));
	__m256i dots = _mm256_and_si256(_mm256_cmpeq_epi8(here, _mm256_set1_epi8('.')),
		_mm256_cmpeq_epi8(before, _mm256_set1_epi8('\n')));
	__m256i octets = _mm256_or_si256(
		_mm256_cmpeq_epi8(here, _mm256_setzero_si256()), _mm256_and_si256(here, highs));

	return _mm256_or_si256(_mm256_or_si256(ends, dots), octets);
}

AVX2 static size_t walk_avx2(const uint8_t *p, size_t n, bool stop_8bit)
{
	const __m256i highs = _mm256_set1_epi8(stop_8bit ? -1 : 0);
	const size_t half = sizeof(highs);

	for (size_t i = 0; i + 2 * half <= n; i += 2 * half) {
		__m256i low = wrong_avx2(p + i, highs);
		__m256i high = wrong_avx2(p + i + half, highs);
		uint64_t wrong;

		if (_mm256_movemask_epi8(_mm256_or_si256(low, high)) == 0)
			continue;
		wrong = (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << half;
		wrong |= (uint32_t)_mm256_movemask_epi8(low);
		return i + (size_t)__builtin_ctzll(wrong);
	}
	return n - n % (2 * half);
}

size_t smtp_stretch(struct smtp_decoder *decoder, const uint8_t *p, size_t n)
{
	bool stop_8bit = !decoder->has_8bit;
	size_t passed;

	ASSERT(decoder->place == SMTP_PLACE_START);
	if (limit == SMTP_STRETCH_NONE)
		return 0;
	if (limit == SMTP_STRETCH_AVX2 && __builtin_cpu_supports("avx2"))
		passed = walk_avx2(p, n, stop_8bit);
	else
		passed = walk_sse2(p, n, stop_8bit);
	if (passed > 0 && p[passed - 1] == '\r')
		decoder->place = SMTP_PLACE_CR;
	else if (passed > 0 && p[passed - 1] != '\n')
		decoder->place = SMTP_PLACE_LINE;
	return passed;
}

#else

size_t smtp_stretch(struct smtp_decoder *decoder, const uint8_t *p, size_t n)
{
	(void)decoder;
	(void)p;
	(void)n;
	return 0;
}

#endif
