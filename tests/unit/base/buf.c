/* SPDX-License-Identifier: MIT */
/* buf.c -- owned bytes: everything or nothing, up to the last octet and not beyond. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>

#include "base/buf.h"

#define CAP 8

struct guarded {
	uint8_t storage[CAP];
	uint8_t guard;
};

static struct guarded guarded;
static struct buf buf;

static void buf_open(void)
{
	guarded.guard = 0xa5;
	buf_init(&buf, guarded.storage, CAP);
}

static void buf_close(void)
{
	cr_assert(eq(u8, guarded.guard, 0xa5), "written beyond the end");
}

TestSuite(buf, .init = buf_open, .fini = buf_close);

Test(buf, put_fits_to_the_last_octet)
{
	cr_assert(buf_puts(&buf, "abcde"));
	cr_assert(buf_puts(&buf, "fgh"));
	cr_assert(eq(sz, buf_room(&buf), 0));
	cr_assert(span_equal(buf_span(&buf), span_str("abcdefgh")));
	cr_assert(buf_put(&buf, span_str("")), "nothing always fits");
}

Test(buf, put_is_all_or_nothing)
{
	cr_assert(buf_puts(&buf, "abcde"));
	cr_assert(not(buf_puts(&buf, "fghi")));
	cr_assert(span_equal(buf_span(&buf), span_str("abcde")));
	cr_assert(not(buf_put(&buf, span_of("x", SIZE_MAX))));
	cr_assert(span_equal(buf_span(&buf), span_str("abcde")));
}

Test(buf, put_takes_an_empty_span_without_memory)
{
	cr_assert(buf_put(&buf, (struct span){0}));
	cr_assert(eq(sz, buf_len(&buf), 0));
}

Test(buf, printf_needs_room_for_its_nul)
{
	cr_assert(buf_printf(&buf, "%d-%s", 12, "abc"));
	cr_assert(span_equal(buf_span(&buf), span_str("12-abc")));
	cr_assert(not(buf_printf(&buf, "xy")));
	cr_assert(not(buf_printf(&buf, "%d", 1234567)));
	cr_assert(span_equal(buf_span(&buf), span_str("12-abc")));
	cr_assert(buf_printf(&buf, "z"));
	cr_assert(buf_puts(&buf, "."));
	cr_assert(not(buf_printf(&buf, "%s", "")), "not even the NUL fits");
	cr_assert(span_equal(buf_span(&buf), span_str("12-abcz.")));
}

Test(buf, dropping_all_makes_the_whole_room_free_again)
{
	cr_assert(buf_puts(&buf, "abcdefgh"));
	buf_drop(&buf, 3);
	cr_assert(span_equal(buf_span(&buf), span_str("defgh")));
	cr_assert(eq(sz, buf_room(&buf), 0));
	buf_drop(&buf, 5);
	cr_assert(eq(sz, buf_room(&buf), CAP));
	buf_drop(&buf, 0);
}

Test(buf, dropping_more_than_there_is, .signal = SIGABRT)
{
	cr_assert(buf_puts(&buf, "abc"));
	buf_drop(&buf, 4);
}

Test(buf, numbers_in_decimal_with_so_many_digits)
{
	static const struct {
		uint64_t value;
		unsigned digits_min;
		const char *text; /* NULL: no room */
	} rows[] = {
		{0, 1, "0"},
		{0, 0, "0"},
		{7, 2, "07"},
		{250, 3, "250"},
		{250, 2, "250"},
		{2026, 2, "2026"},
		{12345678, 1, "12345678"},
		{123456789, 1, NULL},
		{1, 9, NULL},
	};
	uint8_t storage[20];
	struct buf large;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		buf_clear(&buf);
		cr_assert(buf_put_u64(&buf, rows[i].value, rows[i].digits_min) ==
				  (rows[i].text != NULL),
			"row %zu", i);
		cr_assert(span_equal(buf_span(&buf), span_str(rows[i].text ? rows[i].text : "")),
			"row %zu", i);
	}
	buf_init(&large, storage, sizeof(storage));
	cr_assert(buf_put_u64(&large, UINT64_MAX, 1));
	cr_assert(span_equal(buf_span(&large), span_str("18446744073709551615")));
}
