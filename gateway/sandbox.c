/* SPDX-License-Identifier: MIT */
/*
 * sandbox.c -- what the child gives up: root, new privileges, most system calls.
 *
 * The seccomp lists are what the code calls, no more; a call that is not listed fails with EPERM
 * rather than killing the process, so that a libc that calls something new costs a feature and
 * not the mail. A sanitizer build needs its own calls and is not filtered.
 *
 * io_uring itself can open files and sockets past seccomp; what it may touch is bounded by the user
 * that the process runs as.
 */
#include "gateway.h"

#include <errno.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <pwd.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int worker_calls[] = {SCMP_SYS(brk), SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(close), SCMP_SYS(exit), SCMP_SYS(exit_group),
	SCMP_SYS(fcntl), SCMP_SYS(fstat), SCMP_SYS(fstatfs), SCMP_SYS(futex), SCMP_SYS(getpeername),
	SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(getrandom), SCMP_SYS(getsockname),
	SCMP_SYS(gettid), SCMP_SYS(gettimeofday), SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register), SCMP_SYS(madvise), SCMP_SYS(membarrier), SCMP_SYS(mmap),
	SCMP_SYS(mprotect), SCMP_SYS(mremap), SCMP_SYS(munmap), SCMP_SYS(newfstatat),
	SCMP_SYS(pipe2), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(read), SCMP_SYS(restart_syscall),
	SCMP_SYS(rseq), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sched_yield), SCMP_SYS(sendmsg), SCMP_SYS(sendto), SCMP_SYS(set_robust_list),
	SCMP_SYS(setsockopt), SCMP_SYS(shutdown), SCMP_SYS(sigaltstack), SCMP_SYS(tgkill),
	SCMP_SYS(time), SCMP_SYS(write), SCMP_SYS(writev)};

/* The control thread reads the recipients file, serves its socket, writes what is remembered, reconnects
 * to syslog. */
static const int control_calls[] = {SCMP_SYS(accept4), SCMP_SYS(connect), SCMP_SYS(geteuid),
	SCMP_SYS(fdatasync), SCMP_SYS(fsync), SCMP_SYS(ftruncate), SCMP_SYS(getsockname),
	SCMP_SYS(getsockopt), SCMP_SYS(lseek), SCMP_SYS(openat), SCMP_SYS(pread64),
	SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(renameat), SCMP_SYS(renameat2),
	SCMP_SYS(unlinkat), SCMP_SYS(mkdirat), SCMP_SYS(socket), SCMP_SYS(uname)};

/* bpf(2) is for the fence's maps, whose descriptors we have; it can load and attach nothing for us. */
static const int worker_bpf[] = {BPF_MAP_UPDATE_ELEM, BPF_MAP_DELETE_ELEM};
static const int control_bpf[] = {BPF_MAP_LOOKUP_ELEM, BPF_MAP_GET_NEXT_KEY, BPF_MAP_LOOKUP_BATCH};

static bool sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return true;
#else
	return false;
#endif
}

static int allow(scmp_filter_ctx filter, const int *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int res = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);

		if (res != 0)
			return res;
	}
	return 0;
}

static int allow_bpf(scmp_filter_ctx filter, const int *commands, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int res = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(bpf), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)commands[i]));

		if (res != 0)
			return res;
	}
	return 0;
}

static int filter_load(bool control, struct err *err)
{
	scmp_filter_ctx filter;
	int res;

	if (sanitized())
		return 0;
	filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (filter == NULL)
		return err_set(err, "seccomp: out of memory");
	res = allow(filter, worker_calls, COUNT_OF(worker_calls));
	if (res == 0)
		res = allow_bpf(filter, worker_bpf, COUNT_OF(worker_bpf));
	if (res == 0 && control)
		res = allow(filter, control_calls, COUNT_OF(control_calls));
	if (res == 0 && control)
		res = allow_bpf(filter, control_bpf, COUNT_OF(control_bpf));
	if (res == 0)
		res = seccomp_load(filter);
	seccomp_release(filter);
	if (res != 0)
		return err_set(err,
			"seccomp: %s (seccomp = false in the configuration leaves it out)",
			strerror(-res));
	return 0;
}

int sandbox_worker(struct err *err)
{
	return filter_load(false, err);
}

int sandbox_control(struct err *err)
{
	return filter_load(true, err);
}

int sandbox_user(struct sandbox_user *out, const struct main_settings *settings, struct err *err)
{
	const struct passwd *user;
	const struct group *group;

	if (settings->user == NULL)
		return err_set(
			err, "started as root: set `user` to the user that the gateway runs as");
	user = getpwnam(settings->user);
	if (user == NULL)
		return err_set(err, "user \"%s\" does not exist", settings->user);
	out->uid = user->pw_uid;
	out->gid = user->pw_gid;
	if (settings->group != NULL) {
		group = getgrnam(settings->group);
		if (group == NULL)
			return err_set(err, "group \"%s\" does not exist", settings->group);
		out->gid = group->gr_gid;
	}
	if (out->uid == 0)
		return err_set(
			err, "user \"%s\" is root: choose one without privileges", settings->user);
	return 0;
}

/* Those given to a parent that is not root (ports, the fence) end with it; those of root went with it. */
static int capabilities_drop(struct err *err)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 ||
		syscall(SYS_capset, &head, none) != 0)
		return err_set(err, "cannot give up capabilities: %s", strerror(errno));
	return 0;
}

static int become(const struct sandbox_user *user, struct err *err)
{
	if (setgroups(0, NULL) != 0 || setresgid(user->gid, user->gid, user->gid) != 0 ||
		setresuid(user->uid, user->uid, user->uid) != 0)
		return err_set(err, "cannot become user %u: %s", user->uid, strerror(errno));
	ASSERT(setuid(0) != 0);
	return 0;
}

int sandbox_drop(const struct sandbox_user *user, struct err *err)
{
	if ((user != NULL && become(user, err) != 0) || capabilities_drop(err) != 0)
		return -1;
	/* No core dump, no ptrace by others of that user: the process holds keys. */
	if (prctl(PR_SET_DUMPABLE, 0) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return err_set(err, "prctl: %s", strerror(errno));
	return 0;
}
