/* SPDX-License-Identifier: MIT */
/* fault.c -- plans as they are written, and whose turn it is. The source is compiled in here, since
 * a usual build has none of it. */
#ifndef POSTERN_FAULTS
#define POSTERN_FAULTS
#include "base/fault.c"
#endif

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"

static struct fault_plan plan_read(const char *text)
{
	struct fault_plan plan;
	struct err err = {""};

	cr_assert_eq(fault_plan_read(&plan, text, &err), 0, "%s: %s", text, err.text);
	return plan;
}

Test(fault, plans_that_are_refused)
{
	static const struct {
		const char *text;
		const char *says;
	} wrong[] = {
		{"", "NAME:COUNT:WHAT"},
		{"a", "NAME:COUNT:WHAT"},
		{"a:1", "NAME:COUNT:WHAT"},
		{"a:1:EIO,", "NAME:COUNT:WHAT"},
		{":1:EIO", "no name"},
		{"0123456789012345678901234567890123456789012345678901:1:EIO", "no name"},
		{"a::EIO", "no count"},
		{"a:-1:EIO", "no count"},
		{"a: 1:EIO", "no count"},
		{"a:1x:EIO", "no count"},
		{"a:99999999999999999999:EIO", "no count"},
		{"a:1:", "neither kill nor"},
		{"a:1:eio", "neither kill nor"},
		{"a:1:ENOSUCH", "neither kill nor"},
		{"a:1:EIO:x", "neither kill nor"},
	};
	char many[40 * FAULT_RULES_MAX] = "a:1:EIO";
	struct fault_plan plan;
	struct err err;

	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		cr_assert_eq(fault_plan_read(&plan, wrong[i].text, &err), -1, "%s", wrong[i].text);
		cr_assert(
			strstr(err.text, wrong[i].says) != NULL, "%s: %s", wrong[i].text, err.text);
		cr_assert_eq(plan.n, 0);
	}
	for (size_t i = 0, n = strlen(many); i < FAULT_RULES_MAX; i++)
		n += (size_t)snprintf(many + n, sizeof(many) - n, ",a:1:EIO");
	cr_assert_eq(fault_plan_read(&plan, many, &err), -1);
	cr_assert(strstr(err.text, "more than") != NULL, "%s", err.text);
}

Test(fault, the_nth_passage_and_no_other)
{
	struct fault_plan plan =
		plan_read("spool.write:3:ENOSPC,spool.sync:0:EIO,spool.sync:2:kill");

	cr_assert_eq(plan.n, 3);
	for (int i = 1; i <= 5; i++) {
		const struct fault_rule *rule = fault_plan_pass(&plan, "spool.write");

		cr_assert_eq(rule != NULL, i == 3, "passage %d", i);
		cr_assert(rule == NULL || rule->error == -ENOSPC);
		rule = fault_plan_pass(&plan, "spool.sync"); /* the first rule decides */
		cr_assert(rule != NULL && rule->error == -EIO, "passage %d", i);
		cr_assert_null(fault_plan_pass(&plan, "spool"), "a name is not a prefix");
	}
	cr_assert_eq(plan.rules[2].passed, 5, "it was counted all the same");
}

#define THREADS  4
#define PASSAGES 20000

static struct fault_plan shared;
static unsigned fired;

static void *pass_often(void *arg)
{
	for (int i = 0; i < PASSAGES; i++)
		if (fault_plan_pass(&shared, "x") != NULL)
			__atomic_add_fetch(&fired, 1, __ATOMIC_RELAXED);
	return arg;
}

Test(fault, counted_over_all_threads)
{
	pthread_t threads[THREADS];

	shared = plan_read("x:70000:EIO");
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, pass_often, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_join(threads[i], NULL), 0);
	cr_assert_eq(shared.rules[0].passed, THREADS * PASSAGES);
	cr_assert_eq(fired, 1);
}

#ifdef ERRNO_MAX /* the source is in here */

Test(fault, what_a_process_sees)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct err err;
		bool right = fault("a", 7) == 7; /* no plan */

		right = right && fault_plan_read(&plan_of_process, "a:2:EIO,b:1:kill", &err) == 0;
		right = right && fault("a", 7) == 7 && fault("a", 7) == -EIO && fault("a", 0) == 0;
		if (right)
			(void)fault("b", 0);
		_exit(1);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %#x", status);
}

static int plan_make_in_a_child(const char *text)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		(void)!freopen("/dev/null", "w", stderr);
		setenv("POSTERN_FAULT", text, 1);
		plan_make();
		_exit(0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	return status;
}

Test(fault, a_wrong_plan_ends_the_start)
{
	int status = plan_make_in_a_child("a:1:EIO");

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
	status = plan_make_in_a_child("a:1:WRONG");
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %#x", status);
}

#endif
