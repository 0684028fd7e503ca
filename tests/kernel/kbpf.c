/* SPDX-License-Identifier: MIT */
/* kbpf: a place to test in, and the programs of bpf/hooks.bpf.c. Interfaces are in kbpf_net.c. */
#include "kbpf.h"
#include "ktest.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hooks.skel.h"

#define LINE_BYTES     4096
#define UID_NOBODY     65534
#define REMOVE_TRIES   200
#define REMOVE_WAIT_MS 10

static char cgroup_path[PATH_MAX];
static char bpffs_path[] = "/tmp/postern-bpffs-XXXXXX";
static int cgroup_fd = -1;
static int outside_fd = -1;

void kb_sleep_ms(int ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	nanosleep(&time, NULL);
}

void kb_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	KT_MUST(fd >= 0);
	KT_MUST(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* Where cgroup2 is mounted: the fifth word of the line of mountinfo whose type is cgroup2. */
static bool cgroup_mount(char *out, size_t room)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[LINE_BYTES];
	bool found = false;

	KT_MUST(file != NULL);
	while (!found && fgets(line, sizeof line, file)) {
		char path[LINE_BYTES];

		found = strstr(line, " - cgroup2 ") &&
			sscanf(line, "%*s %*s %*s %*s %4095s", path) == 1 &&
			(size_t)snprintf(out, room, "%s", path) < room;
	}
	fclose(file);
	return found;
}

static void make_cgroup(void)
{
	char mount_path[PATH_MAX - 64];

	if (!cgroup_mount(mount_path, sizeof mount_path))
		kt_unsupported("no cgroup2 is mounted");
	outside_fd = open(mount_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(cgroup_path, sizeof cgroup_path, "%s/postern-test-%d", mount_path, getpid());
	if (mkdir(cgroup_path, 0755) < 0)
		kt_unsupported("no cgroup may be made");
	cgroup_fd = open(cgroup_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	KT_MUST(outside_fd >= 0 && cgroup_fd >= 0);
}

static void remove_cgroup(void)
{
	int fd;

	if (cgroup_fd < 0)
		return;
	fd = openat(cgroup_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) != 1)
		fprintf(stderr, "# %s: cgroup.kill: %s\n", cgroup_path, strerror(errno));
	if (fd >= 0)
		close(fd);
	for (int i = 0; i < REMOVE_TRIES && rmdir(cgroup_path) < 0 && errno == EBUSY; i++)
		kb_sleep_ms(REMOVE_WAIT_MS);
}

/* Waits for the child, or for being asked to end; never comes back. */
static void watch(pid_t child)
{
	sigset_t set;
	int status = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	while (waitpid(child, &status, WNOHANG) == 0)
		if (sigwaitinfo(&set, NULL) != SIGCHLD)
			kill(child, SIGKILL);
	remove_cgroup();
	rmdir(bpffs_path);
	if (WIFSIGNALED(status))
		printf("Bail out! signal %d\n", WTERMSIG(status));
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : 2);
}

void kb_enter_cgroup(int cgroup)
{
	int fd = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);

	KT_MUST(fd >= 0);
	KT_MUST(write(fd, "0", 1) == 1);
	close(fd);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	if (getenv("KB_VERBOSE"))
		return vfprintf(stderr, format, args);
	(void)level;
	return 0;
}

void kb_begin(unsigned needs)
{
	sigset_t set, old;
	pid_t child;

	libbpf_set_print(quiet);
	if (geteuid() != 0)
		kt_unsupported("needs root");
	if (needs & KB_CGROUP)
		make_cgroup();
	if (needs & KB_BPFFS)
		KT_MUST(mkdtemp(bpffs_path) != NULL);
	sigfillset(&set);
	KT_MUST(sigprocmask(SIG_BLOCK, &set, &old) == 0);
	child = fork();
	KT_MUST(child >= 0);
	if (child > 0)
		watch(child);
	KT_MUST(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
	KT_MUST(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
	signal(SIGPIPE, SIG_IGN);
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		kt_unsupported("no namespaces may be made");
	KT_MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	/* sysfs and /proc/net show the namespace of whoever mounted or reads them: the latter does. */
	kb_up("lo");
	if (cgroup_fd >= 0)
		kb_enter_cgroup(cgroup_fd);
	if ((needs & KB_BPFFS) && mount("bpf", bpffs_path, "bpf", 0, NULL) < 0)
		kt_unsupported("no bpffs may be mounted");
}

int kb_cgroup(void)
{
	return cgroup_fd;
}

int kb_cgroup_outside(void)
{
	return outside_fd;
}

const char *kb_bpffs(void)
{
	return bpffs_path;
}

void kb_loaded(int error, const char *what)
{
	if (error == -EPERM)
		kt_unsupported("BPF programs may not be loaded");
	if (error)
		kt_diag("%s: %s", what, strerror(-error));
	KT_MUST(error == 0);
}

struct hooks_bpf *kb_load(void)
{
	struct hooks_bpf *hooks = hooks_bpf__open();

	KT_MUST(hooks != NULL);
	kb_loaded(hooks_bpf__load(hooks), "hooks.bpf.c");
	return hooks;
}

struct bpf_link *kb_attach(struct bpf_program *program)
{
	struct bpf_link *link = bpf_program__attach_cgroup(program, cgroup_fd);

	if (!link && errno == EPERM)
		kt_unsupported("BPF programs may not be attached");
	KT_MUST(link != NULL);
	return link;
}

unsigned kb_events(const struct hooks_bpf *hooks)
{
	return __atomic_load_n(&hooks->bss->events_n, __ATOMIC_ACQUIRE);
}

void kb_forget(struct hooks_bpf *hooks)
{
	memset(hooks->bss->events, 0, sizeof hooks->bss->events);
	__atomic_store_n(&hooks->bss->events_n, 0, __ATOMIC_RELEASE);
}

bool kb_await(const struct hooks_bpf *hooks, unsigned n)
{
	uint64_t end = kt_now_ms() + KB_WAIT_MS;

	while (kb_events(hooks) < n && kt_now_ms() < end)
		kb_sleep_ms(1);
	return kb_events(hooks) >= n;
}

unsigned kb_count(const struct hooks_bpf *hooks, enum kb_hook hook, uint32_t flags)
{
	unsigned n = kb_events(hooks);
	unsigned found = 0;

	for (unsigned i = 0; i < n && i < KB_EVENTS_MAX; i++) {
		const struct kb_event *event = &hooks->bss->events[i];

		found += (hook == 0 || event->hook == hook) && (event->flags & flags) == flags;
	}
	return found;
}

void kb_show(const struct hooks_bpf *hooks)
{
	unsigned n = kb_events(hooks);

	for (unsigned i = 0; i < n && i < KB_EVENTS_MAX; i++) {
		const struct kb_event *event = &hooks->bss->events[i];

		kt_diag("hook %u state %u flags %02x length %u mark %d cookie %llu", event->hook,
			event->state, event->flags, event->length, (int)event->mark,
			(unsigned long long)event->cookie);
	}
}

void kb_drop_to(uint64_t capabilities)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted = (uint32_t)(capabilities >> 32 * i);
	KT_MUST(prctl(PR_SET_KEEPCAPS, 1) == 0);
	KT_MUST(syscall(SYS_setresuid, UID_NOBODY, UID_NOBODY, UID_NOBODY) == 0);
	KT_MUST(syscall(SYS_capset, &head, data) == 0);
}
