/* SPDX-License-Identifier: MIT */
/*
 * span.h -- borrowed bytes. A span never owns; it is valid as long as what it points into.
 */
#ifndef POSTERN_BASE_SPAN_H
#define POSTERN_BASE_SPAN_H

#include <string.h>
#include <strings.h>
#include <sys/uio.h>

#include "base/base.h"

struct span {
	const uint8_t *p;
	size_t n;
};

static inline struct span span_of(const void *p, size_t n)
{
	return (struct span){.p = p, .n = n};
}

static inline struct span span_str(const char *text)
{
	return span_of(text, strlen(text));
}

/* Takes up to n bytes off the front of *span and returns them. */
static inline struct span span_take(struct span *span, size_t n)
{
	struct span head = span_of(span->p, min_size(n, span->n));

	if (head.n > 0)
		span->p += head.n;
	span->n -= head.n;
	return head;
}

static inline bool span_equal(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Takes n octets off the pieces from iov[at] on, which have as many; the first that has some left. */
static inline uint32_t span_iov_drop(struct iovec *iov, uint32_t at, size_t n)
{
	while (n > 0) {
		size_t part = min_size(n, iov[at].iov_len);

		iov[at].iov_base = (uint8_t *)iov[at].iov_base + part;
		iov[at].iov_len -= part;
		n -= part;
		at += iov[at].iov_len == 0;
	}
	return at;
}

/* ASCII case-insensitive comparison with a C string. */
static inline bool span_is_nocase(struct span span, const char *text)
{
	return strlen(text) == span.n && strncasecmp((const char *)span.p, text, span.n) == 0;
}

#endif
