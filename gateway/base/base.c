/* SPDX-License-Identifier: MIT */
/* base.c -- ASSERT's last words, start-up error texts, copying, wiping. */
#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void assert_failed(const char *what, const char *file, int line)
{
	fprintf(stderr, "event=assert file=%s line=%d what=\"%s\"\n", file, line, what);
	abort();
}

int err_set(struct err *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return -1;
}

void text_copy(char *to, size_t room, const char *from)
{
	size_t n;

	ASSERT(room > 0);
	n = strnlen(from, room - 1);
	memcpy(to, from, n);
	to[n] = '\0';
}

void wipe(void *p, size_t n)
{
	explicit_bzero(p, n);
}
