/* SPDX-License-Identifier: MIT */
/*
 * fault.c -- see fault.h. Empty but in a test build.
 *
 * The plan is read before main(), so that a slip in it is found before any thread runs; afterwards
 * only its counters change, by atomic additions. Each rule counts for itself: two rules of one name
 * see every passage both, and the first whose turn it is decides.
 */
#include "base/fault.h"

#ifdef POSTERN_FAULTS

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ERRNO_MAX 133 /* EHWPOISON, the last of Linux */

static struct fault_plan plan_of_process;

/* Negative, or 0 when there is no such name. */
static int errno_of(const char *name)
{
	for (int i = 1; i <= ERRNO_MAX; i++) {
		const char *known = strerrorname_np(i);

		if (known != NULL && strcmp(known, name) == 0)
			return -i;
	}
	return 0;
}

/* "NAME:COUNT:WHAT", which is taken apart in place. */
static int rule_read(struct fault_rule *rule, char *text, struct err *err)
{
	char *count = strchr(text, ':');
	char *what = count != NULL ? strchr(count + 1, ':') : NULL;
	char *end;

	if (what == NULL)
		return err_set(err, "'%s' is not NAME:COUNT:WHAT", text);
	*count++ = '\0';
	*what++ = '\0';
	if (text[0] == '\0' || strlen(text) >= FAULT_NAME_MAX)
		return err_set(err, "'%s' is no name of a place", text);
	memcpy(rule->name, text, strlen(text) + 1);
	errno = 0;
	rule->at = strtoull(count, &end, 10);
	if (count[0] < '0' || count[0] > '9' || *end != '\0' || errno != 0)
		return err_set(err, "'%s' is no count", count);
	rule->error = errno_of(what);
	if (rule->error == 0 && strcmp(what, "kill") != 0)
		return err_set(err, "'%s' is neither kill nor the name of an errno", what);
	rule->passed = 0;
	return 0;
}

int fault_plan_read(struct fault_plan *plan, const char *text, struct err *err)
{
	char *copy = strdup(text);
	char *rest = copy;
	int res = copy == NULL ? err_set(err, "out of memory") : 0;

	plan->n = 0;
	while (rest != NULL && res == 0) {
		char *rule = strsep(&rest, ",");

		if (plan->n == FAULT_RULES_MAX)
			res = err_set(err, "more than %d rules", FAULT_RULES_MAX);
		else
			res = rule_read(&plan->rules[plan->n++], rule, err);
	}
	if (res != 0)
		plan->n = 0;
	free(copy);
	return res;
}

const struct fault_rule *fault_plan_pass(struct fault_plan *plan, const char *name)
{
	const struct fault_rule *due = NULL;

	for (size_t i = 0; i < plan->n; i++) {
		struct fault_rule *rule = &plan->rules[i];
		uint64_t passed;

		if (strcmp(rule->name, name) != 0)
			continue;
		passed = __atomic_add_fetch(&rule->passed, 1, __ATOMIC_RELAXED);
		if (due == NULL && (rule->at == 0 || rule->at == passed))
			due = rule;
	}
	return due;
}

__attribute__((constructor)) static void plan_make(void)
{
	const char *text = getenv("POSTERN_FAULT");
	struct err err;

	if (text == NULL || fault_plan_read(&plan_of_process, text, &err) == 0)
		return;
	fprintf(stderr, "postern: POSTERN_FAULT: %s\n", err.text);
	abort();
}

int fault(const char *name, int res)
{
	const struct fault_rule *rule = fault_plan_pass(&plan_of_process, name);

	if (rule == NULL)
		return res;
	if (rule->error == 0)
		raise(SIGKILL);
	return rule->error;
}

#endif
