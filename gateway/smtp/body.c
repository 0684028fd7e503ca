/* SPDX-License-Identifier: MIT */
/*
 * body.c -- the decoder of DATA (RFC 5321 4.1.1.4, 4.5.2): finds the end, unstuffs dots, and finds
 * what must not be there.
 *
 * Octets pass through as spans of the input; a run is broken only at a stuffed dot, a newline to
 * be normalised, an octet to be refused, the end, or the cut. One pass: from the start of a line in
 * a run of some length smtp_stretch() walks on over whole strides, line ends included, up to the
 * first octet that is special. All else is the machine's below, and everything where there are no
 * such instructions; scan_plain() helps it over ordinary octets, eight at a time.
 * Invariants: only CRLF.CRLF ends the data; a dot is taken off only behind a true CRLF (or at the
 * very start); no octet is held back over a cut but the CR in CRLF.CR, and that one is known.
 * Rejected: memchr for LF, then for CR, then a pass for NUL and 8-bit: three passes, and a call a
 * line each. Unstuffing dots behind bare newlines: there the two sides never agreed on stuffing,
 * so they are left as they are.
 */
#include <endian.h>

#include "smtp/smtp-private.h"

#define ONES        0x0101010101010101u
#define HIGH_BITS   0x8080808080808080u
#define PLAIN_FIRST 0x0e /* below are NUL, LF and CR, but also TAB, VT, FF */

/* A run of so many octets may be a long one. Where every other line is short and begins with a dot,
 * runs are not, and walks would be thrown away. */
#define STRETCH_FROM 64

/*
 * Octets from p that are surely ordinary. The octet behind them is below PLAIN_FIRST, or >= 0x80
 * where `high` is HIGH_BITS (0: those are ordinary). (x - n) & ~x has the high bit of an octet
 * below n set; a borrow may mark octets above the first such one, never below it.
 */
static size_t scan_plain(const uint8_t *p, size_t n, uint64_t high)
{
	size_t i = 0;

	for (; i + sizeof(uint64_t) <= n; i += sizeof(uint64_t)) {
		uint64_t x;
		uint64_t marks;

		memcpy(&x, p + i, sizeof(x));
		x = le64toh(x);
		marks = ((x - ONES * PLAIN_FIRST) & ~x & HIGH_BITS) | (x & high);
		if (marks != 0)
			return i + (size_t)__builtin_ctzll(marks) / 8;
	}
	while (i < n && p[i] >= PLAIN_FIRST && (p[i] < 0x80 || high == 0))
		i++;
	return i;
}

void smtp_decoder_init(
	struct smtp_decoder *decoder, bool refuse_newline, bool refuse_8bit, bool line_start)
{
	*decoder = (struct smtp_decoder){
		.place = line_start ? SMTP_PLACE_START : SMTP_PLACE_LINE,
		.refuse_newline = refuse_newline,
		.refuse_8bit = refuse_8bit,
	};
}

/* Octets at the start of the input that are content just as they stand. The first one above 0x7f stops
 * whoever walks over them, and so is noticed; behind it, where they may stand at all, none does. */
static size_t run_length(struct smtp_decoder *decoder, struct span in)
{
	bool refuse_8bit = decoder->refuse_8bit && !decoder->discard;
	size_t stretch;
	size_t i = 0;
	uint8_t c;

	while (i < in.n) {
		switch ((enum smtp_place)decoder->place) {
		case SMTP_PLACE_LINE:
			i += scan_plain(in.p + i, in.n - i, decoder->has_8bit ? 0 : HIGH_BITS);
			if (i == in.n)
				return i;
			c = in.p[i];
			if (c == '\n' || (c == '\0' && !decoder->discard) ||
				(c >= 0x80 && refuse_8bit))
				return i;
			if (c == '\r')
				decoder->place = SMTP_PLACE_CR;
			else if (c >= 0x80)
				decoder->has_8bit = true;
			i++;
			break;
		case SMTP_PLACE_CR:
			if (in.p[i] != '\n')
				return i;
			i++;
			decoder->place = SMTP_PLACE_START;
			break;
		case SMTP_PLACE_START:
			if (in.p[i] == '.')
				return i;
			stretch = i >= STRETCH_FROM ? smtp_stretch(decoder, in.p + i, in.n - i) : 0;
			if (stretch == 0)
				decoder->place = SMTP_PLACE_LINE;
			i += stretch;
			break;
		case SMTP_PLACE_DOT:
		case SMTP_PLACE_DOT_CR:
			return i;
		}
	}
	return i;
}

/* A newline that is no CRLF; `text` completes or replaces it. False: nothing to tell. */
static bool newline_bare(
	struct smtp_decoder *decoder, const char *text, struct span *run, enum smtp_decode *told)
{
	if (!decoder->discard && decoder->refuse_newline) {
		*told = SMTP_DECODE_NEWLINE;
		return true;
	}
	decoder->place = SMTP_PLACE_LINE;
	decoder->normalized = true;
	*run = span_str(text);
	*told = SMTP_DECODE_RUN;
	return !decoder->discard;
}

/* The octet that run_length() stopped at. False: taken care of, go on. */
static bool octet_special(
	struct smtp_decoder *decoder, struct span *in, struct span *run, enum smtp_decode *told)
{
	uint8_t c = in->p[0];

	switch ((enum smtp_place)decoder->place) {
	case SMTP_PLACE_START: /* a dot */
		(void)span_take(in, 1);
		decoder->place = SMTP_PLACE_DOT;
		return false;
	case SMTP_PLACE_DOT:
		if (c == '\r')
			(void)span_take(in, 1);
		decoder->place = c == '\r' ? SMTP_PLACE_DOT_CR : SMTP_PLACE_LINE;
		return false;
	case SMTP_PLACE_DOT_CR:
		if (c != '\n')
			return newline_bare(decoder, "\r\n", run, told);
		(void)span_take(in, 1);
		decoder->place = SMTP_PLACE_START;
		*told = SMTP_DECODE_END;
		return true;
	case SMTP_PLACE_CR:
		return newline_bare(decoder, "\n", run, told);
	case SMTP_PLACE_LINE:
		break;
	}
	if (c != '\n') {
		*told = c == '\0' ? SMTP_DECODE_NUL : SMTP_DECODE_8BIT;
		return true;
	}
	if (decoder->discard || !decoder->refuse_newline)
		(void)span_take(in, 1);
	return newline_bare(decoder, "\r\n", run, told);
}

enum smtp_decode smtp_decode(struct smtp_decoder *decoder, struct span *in, struct span *run)
{
	enum smtp_decode told;

	/* Each turn takes input or moves to another place. */
	while (in->n > 0) {
		*run = span_take(in, run_length(decoder, *in));
		if (run->n > 0 && !decoder->discard)
			return SMTP_DECODE_RUN;
		if (in->n > 0 && octet_special(decoder, in, run, &told))
			return told;
	}
	return SMTP_DECODE_MORE;
}
