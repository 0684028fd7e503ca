/* SPDX-License-Identifier: MIT */
/*
 * base.h -- the few words every room speaks: fixed-size types, ASSERT, must-use, container_of, err.
 *
 * Errors come in three kinds. An operating error is returned as -errno (or a text in struct err at
 * start-up), a peer's error is a reply and a counter, a programmer's error is an ASSERT, which is
 * always compiled in.
 */
#ifndef POSTERN_BASE_BASE_H
#define POSTERN_BASE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE            __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, a) __attribute__((format(printf, fmt, a)))
#define COUNT_OF(array)     (sizeof(array) / sizeof((array)[0]))

/* The struct of type `type` whose member `member` is at `ptr`. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Prints the place to stderr and aborts. */
_Noreturn void assert_failed(const char *what, const char *file, int line);

#define ASSERT(cond) ((cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__))

#define ERR_TEXT_MAX 512

/* A start-up error for a person to read: one sentence that says what to do. */
struct err {
	char text[ERR_TEXT_MAX];
};

/* Writes the text, cut at ERR_TEXT_MAX - 1. Returns -1, so that `return err_set(...)` reads well.
 */
int err_set(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Copies what of a text fits into `room` octets with its NUL. */
void text_copy(char *to, size_t room, const char *from);

/* Wipes memory in a way the compiler may not leave out. */
void wipe(void *p, size_t n);

static inline size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

#endif
