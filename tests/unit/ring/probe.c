/* SPDX-License-Identifier: MIT */
/*
 * probe.c -- what the probe says where io_uring works, and the one sentence where it does not.
 *
 * A child process forbids itself the call by a seccomp filter and sends the sentence home through a
 * pipe. The sysctl is machine-wide, so it is not touched: in a mount namespace of the child, a file
 * of ours lies over the one in /proc.
 */
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "tests/unit/ring/harness.h"

#define DISABLED_FILE "/proc/sys/kernel/io_uring_disabled"
#define CHILD_OK      0
#define CHILD_CANNOT  77

TestSuite(probe, .timeout = TEST_LIMIT_S);

struct refusal {
	const char *name;
	const char *sysctl; /* content of the file, or NULL: as it is */
	int call;
	int error;
	const char *must_say[3];
};

/* In the child. Answers what it exits with. */
static int refusal_play(const struct refusal *refusal, int out)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	struct ring_features features;
	struct err err = {.text = ""};

	if (refusal->sysctl != NULL) {
		char name[] = "/tmp/ring-probe-XXXXXX";
		int fd = mkstemp(name);
		int ret;

		if (fd < 0 || unshare(CLONE_NEWNS) < 0)
			return CHILD_CANNOT;
		dprintf(fd, "%s\n", refusal->sysctl);
		ret = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
		if (ret == 0)
			ret = mount(name, DISABLED_FILE, NULL, MS_BIND, NULL);
		unlink(name);
		if (ret < 0)
			return CHILD_CANNOT;
	}
	if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(refusal->error), refusal->call, 0) < 0 ||
		seccomp_load(filter) < 0)
		return 1;
	if (ring_probe(&features, &err) != -1)
		return 2;
	return write(out, err.text, strlen(err.text)) > 0 ? CHILD_OK : 3;
}

/* False: this place does not let the child play. */
static bool refusal_says(const struct refusal *refusal, char *text, size_t n)
{
	int tube[2];
	int status;
	ssize_t got;
	pid_t pid;

	cr_assert(pipe2(tube, O_CLOEXEC) == 0);
	pid = fork();
	cr_assert(pid >= 0);
	if (pid == 0)
		_exit(refusal_play(refusal, tube[1]));
	close(tube[1]);
	got = read(tube[0], text, n - 1);
	cr_assert(got >= 0);
	text[got] = '\0';
	close(tube[0]);
	cr_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	status = WEXITSTATUS(status);
	if (status == CHILD_CANNOT)
		return false;
	cr_assert(status == CHILD_OK, "%s: %d", refusal->name, status);
	return true;
}

static void refusal_check(const struct refusal *refusal)
{
	char text[ERR_TEXT_MAX];

	if (!refusal_says(refusal, text, sizeof(text)))
		cr_skip_test("no mount namespace here");
	for (size_t i = 0; i < COUNT_OF(refusal->must_say) && refusal->must_say[i]; i++)
		cr_assert(strstr(text, refusal->must_say[i]) != NULL, "%s: \"%s\" lacks \"%s\"",
			refusal->name, text, refusal->must_say[i]);
	cr_assert(strchr(text, '\n') == NULL, "one line");
}

Test(probe, this_kernel_has_what_is_needed)
{
	struct ring_features features;
	struct err err = {.text = ""};

	cr_assert(ring_probe(&features, &err) == 0, "%s", err.text);
	cr_assert(features.buffer_ring);
	cr_assert(features.multishot_accept);
	cr_assert(features.multishot_recv);
	cr_assert(features.multishot_recvmsg);
	cr_assert(features.splice);
	cr_assert(features.single_issuer || !features.defer_taskrun);
}

Test(probe, it_leaves_no_descriptor_open)
{
	struct ring_features features;
	struct err err;
	int before = dup(STDIN_FILENO);
	int after;

	close(before);
	for (unsigned i = 0; i < 10; i++)
		cr_assert(ring_probe(&features, &err) == 0);
	after = dup(STDIN_FILENO);
	close(after);
	cr_assert(eq(int, before, after));
}

Test(probe, a_seccomp_filter_is_named)
{
	static const struct refusal refusals[] = {
		{"setup EPERM", NULL, SCMP_SYS(io_uring_setup), EPERM,
			{"seccomp", "io_uring_setup"}},
		{"setup ENOSYS", NULL, SCMP_SYS(io_uring_setup), ENOSYS, {"seccomp"}},
		{"register EPERM", NULL, SCMP_SYS(io_uring_register), EPERM, {"seccomp"}},
		{"enter EPERM", NULL, SCMP_SYS(io_uring_enter), EPERM, {"seccomp"}},
	};

	for (size_t i = 0; i < COUNT_OF(refusals); i++)
		refusal_check(&refusals[i]);
}

Test(probe, the_sysctl_is_named)
{
	static const struct refusal refusals[] = {
		{"disabled", "2", SCMP_SYS(io_uring_setup), EPERM,
			{"sysctl kernel.io_uring_disabled=0", "disabled"}},
		{"for a group only", "1", SCMP_SYS(io_uring_setup), EPERM,
			{"sysctl kernel.io_uring_disabled=0", "kernel.io_uring_group"}},
	};

	for (size_t i = 0; i < COUNT_OF(refusals); i++)
		refusal_check(&refusals[i]);
}

Test(probe, other_errors_are_told_as_they_are)
{
	static const struct refusal refusal = {"no descriptor", NULL, SCMP_SYS(io_uring_setup),
		EMFILE, {"io_uring_setup", "open files"}};

	refusal_check(&refusal);
}

Test(probe, ring_open_says_the_same)
{
	const struct ring_settings settings = {.entries = 8, .buffers = 8};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	struct ring *none = (struct ring *)&settings;
	struct err err = {.text = ""};

	cr_assert(
		seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(io_uring_setup), 0) == 0);
	cr_assert(seccomp_load(filter) == 0);
	cr_assert(eq(int, ring_open(&none, &settings, &err), -1));
	cr_assert(none == NULL);
	cr_assert(strstr(err.text, "seccomp") != NULL, "%s", err.text);
}
