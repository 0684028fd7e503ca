/* SPDX-License-Identifier: MIT */
/* fault.c -- see fault.h. */
#include "bench/sink/fault.h"

#include <stdio.h>
#include <string.h>

#include "bench/lib/number.h"

static const char *const point_names[FAULT_POINTS] = {
	"banner", "ehlo", "starttls", "mail", "rcpt", "data", "body", "dot"};

static bool parse_point(struct fault_rule *rule, const char *word)
{
	for (unsigned i = 0; i < FAULT_POINTS; i++) {
		if (strcmp(word, point_names[i]) == 0) {
			rule->point = (enum fault_point)i;
			return true;
		}
	}
	return false;
}

static bool parse_action(struct fault_rule *rule, const char *word)
{
	static const struct {
		const char *word;
		enum fault_action action;
	} words[] = {{"close", FAULT_CLOSE}, {"hang", FAULT_HANG}, {"garbage", FAULT_GARBAGE}};
	uint32_t code;

	for (size_t i = 0; i < COUNT_OF(words); i++) {
		if (strcmp(word, words[i].word) == 0) {
			rule->action = words[i].action;
			return true;
		}
	}
	if (strncmp(word, "delay=", 6) == 0) {
		rule->action = FAULT_DELAY;
		return number_u32(word + 6, 1, FAULT_MS_MAX, &rule->delay_ms);
	}
	if (strncmp(word, "slow=", 5) == 0) {
		rule->action = FAULT_SLOW;
		return rule->point == FAULT_BODY &&
		       number_u32(word + 5, FAULT_RATE_MIN, FAULT_RATE_MAX, &rule->rate);
	}
	if (!number_u32(word, 400, 599, &code))
		return false;
	rule->action = FAULT_CODE;
	rule->code = (uint16_t)code;
	/* In the middle of a message nothing can be answered. */
	return rule->point != FAULT_BODY;
}

static bool parse_often(struct fault_rule *rule, char *word)
{
	size_t n = strlen(word);
	double percent;

	if (n > 1 && word[n - 1] == '%') {
		word[n - 1] = '\0';
		if (!number_double(word, 0, 100, &percent))
			return false;
		rule->every = 0;
		rule->share = percent / 100;
		return true;
	}
	return number_u64(word, 1, UINT64_MAX, &rule->every);
}

int fault_parse(struct faults *faults, const char *text, struct err *err)
{
	struct fault_rule rule = {.every = 1};
	char copy[FAULT_TEXT_MAX];
	char *action, *often;

	if (faults->n == FAULT_RULES_MAX)
		return err_set(err, "at most %u faults", FAULT_RULES_MAX);
	if (strlen(text) >= sizeof(copy))
		return err_set(err, "%s: too long for a fault", text);
	memcpy(copy, text, strlen(text) + 1);
	memcpy(rule.text, text, strlen(text) + 1);
	action = strchr(copy, ':');
	if (!action)
		return err_set(err, "%s: POINT:ACTION[:HOW OFTEN] is wanted", text);
	*action++ = '\0';
	often = strchr(action, ':');
	if (often)
		*often++ = '\0';
	if (!parse_point(&rule, copy) || !parse_action(&rule, action) ||
		(often && !parse_often(&rule, often)))
		return err_set(err, "%s: not a fault, see postern-sink(1)", text);
	faults->rules[faults->n++] = rule;
	return 0;
}

/* A rule that is due. False: another one came first. */
static bool strike(const struct fault_rule *rule, struct fault_verdict *verdict)
{
	switch (rule->action) {
	case FAULT_DELAY:
		verdict->delay_ms += rule->delay_ms;
		return true;
	case FAULT_SLOW:
		if (verdict->rate == 0 || rule->rate < verdict->rate)
			verdict->rate = rule->rate;
		return true;
	default:
		if (verdict->action != FAULT_NONE)
			return false;
		verdict->action = rule->action;
		verdict->code = rule->code;
		return true;
	}
}

struct fault_verdict fault_ask(struct faults *faults, enum fault_point point)
{
	struct fault_verdict verdict = {0};

	for (unsigned i = 0; i < faults->n; i++) {
		struct fault_rule *rule = &faults->rules[i];
		bool due;

		if (rule->point != point)
			continue;
		rule->seen++;
		due = rule->every ? rule->seen % rule->every == 0
				  : rng_unit(&faults->rng) < rule->share;
		rule->hits += due && strike(rule, &verdict);
	}
	return verdict;
}
