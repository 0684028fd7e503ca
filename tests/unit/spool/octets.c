/* SPDX-License-Identifier: MIT */
/* octets.c -- what is seen of a message's octets, wherever they are cut. */
#include "tests/unit/spool/harness.h"

static const struct {
	const char *text;
	bool has_8bit;
	bool has_bare;
} rows[] = {
	{"", false, false},
	{"plain text without an end", false, false},
	{"a line\r\nanother line, a longer one\r\n\r\n", false, false},
	{"\r\n", false, false},
	{"\n", false, true},
	{"\r", false, true},
	{"a\r", false, true},
	{"a\rb", false, true},
	{"a\nb", false, true},
	{"a\r\n\nb", false, true},
	{"a\r\r\nb", false, true},
	{"a\n\rb", false, true},
	{"0123456\r\n89abcdef0123456789", false, false},
	{"01234567\r\n9abcdef0123456789", false, false},
	{"0123456789abcdef0123456789\xc3\xa4", true, false},
	{"\x80"
	 "23456789abcdef\r\n",
		true, false},
	{"0123456789abcdef\n\xff", true, true},
	{"\x0c\x0e\x8d\x8a", true, false},
};

static void look_cut(void)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct span all = span_str(rows[i].text);

		for (size_t cut = 0; cut <= all.n; cut++) {
			struct spool_octets octets = {0};
			struct span rest = all;

			spool_octets_look(&octets, span_take(&rest, cut));
			spool_octets_look(&octets, rest);
			spool_octets_end(&octets);
			cr_expect(octets.has_8bit == rows[i].has_8bit, "row %zu, cut %zu", i, cut);
			cr_expect(octets.has_bare == rows[i].has_bare, "row %zu, cut %zu", i, cut);
		}
	}
}

/* Each text at every place of a long one that is in order but for it, in one piece. */
static void look_in_much(void)
{
	enum { LINE = 17, LINES = 12, ALL = LINE * LINES };

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct span text = span_str(rows[i].text);

		for (size_t at = 0; at < ALL; at++) {
			struct spool_octets octets = {0};
			uint8_t much[ALL + 64];
			size_t n = 0;

			if (at % LINE == LINE - 1) /* between a CR and its LF */
				continue;
			for (size_t k = 0; k < ALL; k++) {
				if (k == at) {
					memcpy(much + n, text.p, text.n);
					n += text.n;
				}
				much[n++] = (uint8_t)("0123456789abcde\r\n"[k % LINE]);
			}
			spool_octets_look(&octets, span_of(much, n));
			spool_octets_end(&octets);
			cr_expect(octets.has_8bit == rows[i].has_8bit, "row %zu, at %zu", i, at);
			cr_expect(octets.has_bare == rows[i].has_bare, "row %zu, at %zu", i, at);
		}
	}
}

Test(spool_octets, wherever_they_are_cut)
{
	look_cut();
	spool_octets_narrow_for_test(true);
	look_cut();
}

Test(spool_octets, wherever_they_stand_in_much)
{
	look_in_much();
	spool_octets_narrow_for_test(true);
	look_in_much();
}

TestSuite(spool_flags, .init = harness_open, .fini = harness_close, .timeout = TEST_LIMIT_S);

Test(spool_flags, an_entry_has_them_and_keeps_them)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++)
		mail_send("a@example.org", span_str(rows[i].text));
	for (unsigned again = 0; again < 2; again++) {
		cr_assert(reading.arrived_n == COUNT_OF(rows));
		for (size_t i = 0; i < COUNT_OF(rows); i++) {
			cr_expect(reading.arrived[i]->has_8bit == rows[i].has_8bit, "row %zu", i);
			cr_expect(reading.arrived[i]->has_bare == rows[i].has_bare, "row %zu", i);
		}
		harness_reopen(0, 1);
	}
}

/* Who sends it has looked: that is believed, and so are the octets that came before. */
Test(spool_flags, of_what_was_checked_elsewhere_are_as_told)
{
	for (unsigned told = 0; told < 2; told++) {
		struct spool_entry *entry;
		struct mail mail;

		mail_begin(&mail, "a@example.org");
		spool_checked(mail.message, false);
		mail_append(&mail, span_str("not so \xc3\xa4\n\r"));
		spool_checked(mail.message, told);
		mail_append(&mail, span_str("a line\r\n"));
		cr_assert(mail_commit(&mail) == 0);
		entry = spool_find(spool, mail.id);
		cr_assert(entry != NULL);
		cr_expect(entry->has_8bit == told && !entry->has_bare);

		mail_begin(&mail, "a@example.org");
		mail_append(&mail, span_str("\xc3\xa4\n"));
		spool_checked(mail.message, false);
		mail_append(&mail, span_str("a line\r\n"));
		cr_assert(mail_commit(&mail) == 0);
		entry = spool_find(spool, mail.id);
		cr_assert(entry != NULL);
		cr_expect(entry->has_8bit && entry->has_bare, "the head is looked at");
	}
}
