/* SPDX-License-Identifier: MIT */
/*
 * octets.c -- looks at a message's octets as they come: is one above 0x7f, is a CR or LF alone? Those
 * of DATA were looked at by its decoder.
 *
 * 64 octets at a time become three masks, a bit an octet: those above 0x7f, the CRs, the LFs. No CR
 * or LF is alone when the LFs are the CRs moved up by one. So a line's end costs no more than
 * another octet. Processors with AVX2 have the masks in half the steps. Where there is no such
 * instruction, eight octets at a time have to be free of both.
 */
#include "spool/spool-private.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

static bool narrow; /* tests only */

static void look_octets(struct spool_octets *octets, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		octets->has_8bit = octets->has_8bit || p[i] >= 0x80;
		octets->has_bare = octets->has_bare || octets->after_cr != (p[i] == '\n');
		octets->after_cr = p[i] == '\r';
	}
}

#ifdef __SSE2__

#define STRIDE 64

static void masks_look(struct spool_octets *octets, bool high, uint64_t crs, uint64_t lfs)
{
	octets->has_8bit |= high;
	octets->has_bare |= lfs != (crs << 1 | octets->after_cr);
	octets->after_cr = crs >> (STRIDE - 1);
}

static void look_stride(struct spool_octets *octets, const uint8_t *p)
{
	const __m128i cr = _mm_set1_epi8('\r');
	const __m128i lf = _mm_set1_epi8('\n');
	uint64_t crs = 0;
	uint64_t lfs = 0;
	int highs = 0;

	for (unsigned i = 0; i < STRIDE; i += sizeof(__m128i)) {
		__m128i part = _mm_loadu_si128((const __m128i *)(const void *)(p + i));

		highs |= _mm_movemask_epi8(part);
		crs |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(part, cr)) << i;
		lfs |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(part, lf)) << i;
	}
	masks_look(octets, highs != 0, crs, lfs);
}

__attribute__((target("avx2"))) static uint64_t mask_of(__m256i low, __m256i high)
{
	return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high)
							     << 32;
}

/* All whole strides. */
__attribute__((target("avx2"))) static void look_wide(
	struct spool_octets *octets, struct span *bytes)
{
	const __m256i cr = _mm256_set1_epi8('\r');
	const __m256i lf = _mm256_set1_epi8('\n');

	while (bytes->n >= STRIDE) {
		const __m256i *p = (const __m256i *)(const void *)span_take(bytes, STRIDE).p;
		__m256i a = _mm256_loadu_si256(p);
		__m256i b = _mm256_loadu_si256(p + 1);

		masks_look(octets, _mm256_movemask_epi8(_mm256_or_si256(a, b)) != 0,
			mask_of(_mm256_cmpeq_epi8(a, cr), _mm256_cmpeq_epi8(b, cr)),
			mask_of(_mm256_cmpeq_epi8(a, lf), _mm256_cmpeq_epi8(b, lf)));
	}
}

#define HAS_WIDE __builtin_cpu_supports("avx2")

#else

#define HAS_WIDE false

#define STRIDE sizeof(uint64_t)
#define ONES   0x0101010101010101ull
#define HIGHS  0x8080808080808080ull

/* Not zero when one of the eight octets of `word` is `octet`. */
static uint64_t word_has(uint64_t word, uint8_t octet)
{
	uint64_t zeros = word ^ (ONES * octet);

	return (zeros - ONES) & ~zeros & HIGHS;
}

static void look_stride(struct spool_octets *octets, const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	octets->has_8bit |= (word & HIGHS) != 0;
	if (octets->after_cr || (word_has(word, '\r') | word_has(word, '\n')) != 0)
		look_octets(octets, p, STRIDE);
}

static void look_wide(struct spool_octets *octets, struct span *bytes)
{
	(void)octets;
	(void)bytes;
}

#endif

void spool_octets_look(struct spool_octets *octets, struct span bytes)
{
	if (octets->checked || (octets->has_8bit && octets->has_bare))
		return;
	if (HAS_WIDE && !narrow)
		look_wide(octets, &bytes);
	while (bytes.n >= STRIDE)
		look_stride(octets, span_take(&bytes, STRIDE).p);
	look_octets(octets, bytes.p, bytes.n);
}

void spool_octets_narrow_for_test(bool on)
{
	narrow = on;
}

void spool_octets_end(struct spool_octets *octets)
{
	octets->has_bare = octets->has_bare || octets->after_cr;
	octets->after_cr = false;
}
