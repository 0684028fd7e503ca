/* SPDX-License-Identifier: MIT */
/*
 * fault.h -- named places where a test build can be made to die or to see an I/O error.
 *
 * Only a build with -DPOSTERN_FAULTS has them (make SAN=faults); elsewhere fault() is its argument.
 * The environment says what happens: POSTERN_FAULT="NAME:COUNT:WHAT[,...]": at the COUNTth passage
 * of the place NAME (counted over all threads, from 1; 0: every one) WHAT is `kill` (SIGKILL to the
 * process itself), or an errno's name (EIO, ENOSPC), which fault() then answers, negative, in place
 * of `res`. A value that cannot be read ends the program at its start.
 */
#ifndef POSTERN_BASE_FAULT_H
#define POSTERN_BASE_FAULT_H

#include "base/base.h"

#ifdef POSTERN_FAULTS
int fault(const char *name, int res);

#define FAULT_RULES_MAX 32
#define FAULT_NAME_MAX  48

struct fault_rule {
	char name[FAULT_NAME_MAX];
	uint64_t at;     /* which passage; 0: every one */
	int error;       /* negative errno; 0: kill */
	uint64_t passed; /* atomic */
};

struct fault_plan {
	struct fault_rule rules[FAULT_RULES_MAX];
	size_t n;
};

/* The two halves of fault(), for tests. -1 and err. */
MUST_USE int fault_plan_read(struct fault_plan *plan, const char *text, struct err *err);
/* Counts a passage. NULL: nothing happens; else the rule whose turn it is. */
const struct fault_rule *fault_plan_pass(struct fault_plan *plan, const char *name);
#else
static inline int fault(const char *name, int res)
{
	(void)name;
	return res;
}
#endif

#endif
