/* SPDX-License-Identifier: MIT */
/* fault.c -- the sink's rules: parsed, refused, and striking as often as they say. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "bench/sink/fault.h"

Test(fault, good_and_bad_rules)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{"rcpt:450", true},
		{"dot:delay=20:5%", true},
		{"body:close:3", true},
		{"banner:hang", true},
		{"mail:garbage:0.5%", true},
		{"mail:garbage:100%", true},
		{"rcpt", false},
		{"", false},
		{"nowhere:450", false},
		{"rcpt:399", false},
		{"rcpt:600", false},
		{"rcpt:450:0", false},
		{"rcpt:450:-1", false},
		{"rcpt:450:101%", false},
		{"rcpt:450:%", false},
		{"rcpt:450:2:3", false},
		{"rcpt:delay=", false},
		{"rcpt:delay=0", false},
		{"body:450", false},
		{"rcpt:450x", false},
		{"starttls:454", true},
		{"body:slow=64k:2", true},
		{"body:slow=15", false},
		{"dot:slow=64k", false},
		{"rcpt:450:1000000000000000000000000000000000000000000000", false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct faults faults = {0};
		struct err err;

		bool good = fault_parse(&faults, cases[i].text, &err) == 0;

		cr_expect(good == cases[i].good, "%s", cases[i].text);
		cr_expect(faults.n == cases[i].good);
	}
}

static struct faults with(const char *first, const char *second)
{
	struct faults faults = {.rng = {.state = 1}};
	struct err err;

	cr_assert(fault_parse(&faults, first, &err) == 0);
	if (second)
		cr_assert(fault_parse(&faults, second, &err) == 0);
	return faults;
}

Test(fault, every_nth_time_at_its_point_only)
{
	struct faults faults = with("rcpt:451:3", NULL);

	for (unsigned i = 1; i <= 30; i++) {
		struct fault_verdict verdict = fault_ask(&faults, FAULT_RCPT);

		cr_assert(fault_ask(&faults, FAULT_MAIL).action == FAULT_NONE);
		cr_assert(verdict.action == (i % 3 ? FAULT_NONE : FAULT_CODE));
		cr_assert(i % 3 || verdict.code == 451);
	}
	cr_expect(faults.rules[0].seen == 30 && faults.rules[0].hits == 10);
}

Test(fault, probability)
{
	struct faults faults = with("dot:550:10%", NULL);

	for (unsigned i = 0; i < 10000; i++)
		(void)!fault_ask(&faults, FAULT_DOT).code;
	cr_expect(faults.rules[0].hits > 880 && faults.rules[0].hits < 1120);
}

Test(fault, the_first_action_wins_and_delays_add_up)
{
	struct faults faults = with("dot:delay=20", "dot:delay=5:2");
	struct fault_verdict verdict;

	cr_expect(fault_ask(&faults, FAULT_DOT).delay_ms == 20);
	cr_expect(fault_ask(&faults, FAULT_DOT).delay_ms == 25);
	faults = with("dot:450", "dot:close");
	verdict = fault_ask(&faults, FAULT_DOT);
	cr_expect(verdict.action == FAULT_CODE && verdict.code == 450);
	cr_expect(faults.rules[1].seen == 1 && faults.rules[1].hits == 0);
	faults = with("body:slow=2000", "body:slow=1000:2");
	cr_expect(fault_ask(&faults, FAULT_BODY).rate == 2000);
	verdict = fault_ask(&faults, FAULT_BODY);
	cr_expect(verdict.rate == 1000 && verdict.action == FAULT_NONE);
}
