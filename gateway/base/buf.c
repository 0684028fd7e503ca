/* SPDX-License-Identifier: MIT */
/* buf.c -- see buf.h. */
#include "base/buf.h"

#include <stdio.h>

bool buf_put(struct buf *buf, struct span bytes)
{
	if (bytes.n > buf_room(buf))
		return false;
	if (bytes.n > 0)
		memcpy(buf->p + buf->end, bytes.p, bytes.n);
	buf->end += (uint32_t)bytes.n;
	return true;
}

bool buf_puts(struct buf *buf, const char *text)
{
	return buf_put(buf, span_str(text));
}

bool buf_put_u64(struct buf *buf, uint64_t value, unsigned digits_min)
{
	char digits[20];
	size_t at = sizeof(digits);

	ASSERT(digits_min <= sizeof(digits));
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0 || sizeof(digits) - at < digits_min);
	return buf_put(buf, span_of(digits + at, sizeof(digits) - at));
}

bool buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf((char *)buf->p + buf->end, buf_room(buf), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= buf_room(buf))
		return false;
	buf->end += (uint32_t)n;
	return true;
}
