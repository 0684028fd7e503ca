/* SPDX-License-Identifier: MIT */
/* span.c -- borrowed bytes: taking from the front, comparing. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/span.h"

Test(span, take_never_takes_more_than_there_is)
{
	static const struct {
		size_t take;
		const char *head;
		const char *rest;
	} cases[] = {
		{0, "", "abc"},
		{1, "a", "bc"},
		{3, "abc", ""},
		{4, "abc", ""},
		{SIZE_MAX, "abc", ""},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct span span = span_str("abc");
		struct span head = span_take(&span, cases[i].take);

		cr_assert(span_equal(head, span_str(cases[i].head)), "case %zu", i);
		cr_assert(span_equal(span, span_str(cases[i].rest)), "case %zu", i);
	}
}

Test(span, an_empty_span_without_memory_may_be_taken_from_and_compared)
{
	struct span none = {0};
	struct span head = span_take(&none, 5);

	cr_assert(eq(sz, head.n, 0));
	cr_assert(span_equal(none, span_str("")));
	cr_assert(not(span_equal(none, span_str("a"))));
}

Test(span, comparison_without_case_is_ascii_and_of_the_whole)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *text;
		bool same;
	} cases[] = {
		{"EhLo", 4, "ehlo", true},
		{"EHLO", 4, "EHLOX", false},
		{"EHLOX", 5, "EHLO", false},
		{"", 0, "", true},
		{"A\0B", 3, "A", false},
		{"A\0", 2, "A", false},
		{"\xc4", 1, "\xe4", false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		cr_assert(span_is_nocase(span_of(cases[i].bytes, cases[i].n), cases[i].text) ==
				  cases[i].same,
			"case %zu", i);
}
