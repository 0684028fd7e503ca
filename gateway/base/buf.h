/* SPDX-License-Identifier: MIT */
/*
 * buf.h -- owned bytes of a fixed capacity, filled at the end and drained at the front.
 *
 * The storage usually comes from a pool; buf itself never allocates. Bytes [start, end) are live.
 * buf_put* are all-or-nothing and answer false when the bytes do not fit: whoever writes checks
 * the room first (buf_room) where a partial write would be wrong. buf_printf needs room for the
 * NUL that it writes behind the text, too.
 */
#ifndef POSTERN_BASE_BUF_H
#define POSTERN_BASE_BUF_H

#include "base/span.h"

struct buf {
	uint8_t *p;
	uint32_t start;
	uint32_t end;
	uint32_t cap;
};

static inline void buf_init(struct buf *buf, void *storage, size_t cap)
{
	*buf = (struct buf){.p = storage, .cap = (uint32_t)cap};
}

static inline size_t buf_len(const struct buf *buf)
{
	return buf->end - buf->start;
}

static inline size_t buf_room(const struct buf *buf)
{
	return buf->cap - buf->end;
}

static inline struct span buf_span(const struct buf *buf)
{
	return span_of(buf->p + buf->start, buf_len(buf));
}

static inline void buf_clear(struct buf *buf)
{
	buf->start = 0;
	buf->end = 0;
}

/* Forgets the first n live bytes. */
static inline void buf_drop(struct buf *buf, size_t n)
{
	ASSERT(n <= buf_len(buf));
	buf->start += (uint32_t)n;
	if (buf->start == buf->end)
		buf_clear(buf);
}

MUST_USE bool buf_put(struct buf *buf, struct span bytes);
MUST_USE bool buf_puts(struct buf *buf, const char *text);
/* Decimal, with zeros in front up to so many digits. */
MUST_USE bool buf_put_u64(struct buf *buf, uint64_t value, unsigned digits_min);
/* Not for the path of every message: parsing the format costs more than most of them hold. */
MUST_USE bool buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
