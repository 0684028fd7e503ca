/* SPDX-License-Identifier: MIT */
/* case_run: walks the table of cases.c through one place that answers. */
#include "tests/bpf/cases.h"

#include <arpa/inet.h>
#include <string.h>

#include "tests/kernel/ktest.h"

void case_address(const char *text, uint8_t out[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	memcpy(out, mapped, sizeof(mapped));
	if (inet_pton(AF_INET, text, out + sizeof(mapped)) != 1)
		KT_MUST(inet_pton(AF_INET6, text, out) == 1);
}

struct fence_rules case_rules(const struct fence_case *test)
{
	struct fence_rules rules = test->rules;

	rules.abi = FENCE_ABI;
	rules.piece = 1;
	if (rules.bits_v4 == 0)
		rules.bits_v4 = 32;
	if (rules.bits_v6 == 0)
		rules.bits_v6 = 64;
	rules.hash_key[0] = 0x0123456789abcdef;
	rules.hash_key[1] = 0xfedcba9876543210;
	return rules;
}

void case_sum_of(const struct fence_source *source, uint64_t now, struct case_sum *out)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < FENCE_METERS; i++)
		if (source->tat[i] > now)
			out->taken[i] = (source->tat[i] - now + CASE_UNIT_NS / 2) / CASE_UNIT_NS;
	out->open = source->gauge[FENCE_OPEN];
	out->passed = source->passed;
	out->refused = source->refused;
	out->paused = source->paused;
	out->plain_bytes = source->plain_bytes;
	out->upgraded_bytes = source->upgraded_bytes;
}

/* Handshakes that are only on the way to another class are for all. */
static bool judges_handshakes(const struct fence_case *test)
{
	const struct fence_rules *rules = &test->rules;

	for (size_t i = 0; i < FENCE_STANDINGS; i++)
		if (rules->source[FENCE_HANDSHAKES][i].interval ||
			rules->all[FENCE_HANDSHAKES][i].interval ||
			rules->source_max[FENCE_SHAKING][i] || rules->all_max[FENCE_SHAKING][i])
			return true;
	return rules->strikes_max > 0;
}

bool case_fits(const struct fence_case *test, const struct case_place *place)
{
	return place->shakes || !judges_handshakes(test);
}

void case_run(
	const struct fence_case *test, const struct case_place *place, struct case_result *result)
{
	struct fence_rules rules = case_rules(test);
	uint8_t address[16], source[16];

	memset(result, 0, sizeof(*result));
	place->begin(test, &rules);
	for (size_t i = 0; i < CASE_STEPS_MAX && test->steps[i].kind != CASE_END; i++)
		result->got[i] = place->step(&test->steps[i]);
	case_address(test->steps[0].address, address);
	fence_source_of(&rules, address, source);
	place->end(source, &result->sum);
}

void case_run_all(const struct case_place *place)
{
	for (size_t i = 0; i < fence_cases_n; i++) {
		const struct fence_case *test = &fence_cases[i];
		struct case_result result;
		bool good = true;

		if (!case_fits(test, place))
			continue;
		case_run(test, place, &result);
		for (size_t j = 0; j < CASE_STEPS_MAX; j++)
			good &= test->steps[j].kind == CASE_END ||
				result.got[j] == test->steps[j].want;
		kt_ok(good, "%s: %s", place->name, test->name);
		for (size_t j = 0; j < CASE_STEPS_MAX && !good; j++)
			if (test->steps[j].kind != CASE_END && result.got[j] != test->steps[j].want)
				kt_diag("step %zu: reason %d, wanted %d", j, result.got[j],
					test->steps[j].want);
	}
}
