/* SPDX-License-Identifier: MIT */
/*
 * kernel_box.c -- a test process in namespaces and a cgroup of its own.
 *
 * Namespaces end with their processes; a cgroup is a folder that somebody has to remove, also after
 * a test that crashed: a keeper waits outside for the end of the test, and removes it.
 */
#include "tests/unit/fence/kernel_box.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
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

#define NOBODY   65534
#define WAIT_MS  1000
#define PAUSE_NS 2000000

static struct {
	char outside[PATH_MAX]; /* the cgroup that we came from */
	char inside[PATH_MAX];
	int keeper_pipe;
	pid_t keeper;
} box;

static int cgroup_join(const char *folder)
{
	char path[PATH_MAX + 16];
	int fd;
	int res;

	snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	res = write(fd, "0", 1) == 1 ? 0 : -errno;
	close(fd);
	return res;
}

static void pause_shortly(void)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};

	nanosleep(&pause, NULL);
}

/* A cgroup goes once its processes are reaped. */
static void folder_remove(const char *folder)
{
	for (int ms = 0; ms < WAIT_MS && rmdir(folder) != 0 && errno == EBUSY; ms += 2)
		pause_shortly();
}

static void keeper_start(void)
{
	int ends[2];
	char byte;

	cr_assert(pipe2(ends, O_CLOEXEC) == 0);
	box.keeper = fork();
	cr_assert(box.keeper >= 0);
	if (box.keeper == 0) {
		if (ends[0] != 3)
			dup2(ends[0], 3);
		close_range(4, ~0u, 0);
		while (read(3, &byte, 1) < 0 && errno == EINTR)
			;
		folder_remove(box.inside);
		_exit(0);
	}
	close(ends[0]);
	box.keeper_pipe = ends[1];
}

static const char *cgroup_make(void)
{
	char mounts[1 << 16];
	char cgroups[4096];
	struct err err;
	ssize_t n;
	int fd;

	fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	n = read(fd, mounts, sizeof(mounts) - 1);
	mounts[n > 0 ? n : 0] = '\0';
	close(fd);
	fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	n = read(fd, cgroups, sizeof(cgroups) - 1);
	cgroups[n > 0 ? n : 0] = '\0';
	close(fd);
	if (kernel_cgroup_find(mounts, cgroups, box.outside, &err) != 0)
		return "there is no cgroup v2";
	if (snprintf(box.inside, sizeof(box.inside), "%s/postern-test-%d", box.outside,
		    (int)getpid()) >= PATH_MAX)
		return "the cgroup's name is too long";
	return mkdir(box.inside, 0755) == 0 ? NULL : "no cgroup can be made";
}

static const char *bpf_missing(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "probe", 20, 8, 1, &opts);

	if (fd < 0)
		return "bpf(2) is not permitted";
	close(fd);
	return NULL;
}

void box_open(void)
{
	const char *missing = bpf_missing();

	if (missing == NULL)
		missing = cgroup_make();
	if (missing != NULL)
		cr_skip_test("%s: run as root", missing);
	keeper_start();
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) {
		box_close();
		cr_skip_test("no namespaces here: run as root");
	}
	cr_assert(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	cr_assert(cgroup_join(box.inside) == 0);
	box_run("ip link set lo up");
}

void box_close(void)
{
	if (box.keeper <= 0)
		return;
	(void)!cgroup_join(box.outside);
	close(box.keeper_pipe);
	waitpid(box.keeper, NULL, 0);
	box.keeper = 0;
}

void box_bpffs(void)
{
	cr_assert(mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL) == 0, "%s", strerror(errno));
}

static int run_shell(void *ctx)
{
	execl("/bin/sh", "sh", "-c", (const char *)ctx, (char *)NULL);
	return 99;
}

void box_run(const char *command)
{
	cr_assert(box_child(run_shell, (void *)(uintptr_t)command) == 0, "%s", command);
}

static void inner(char path[PATH_MAX], const char *name)
{
	cr_assert(snprintf(path, PATH_MAX, "%s/%s", box.inside, name) < PATH_MAX);
}

void box_cgroup_enter(const char *name)
{
	char path[PATH_MAX];

	inner(path, name);
	cr_assert(mkdir(path, 0755) == 0);
	cr_assert(cgroup_join(path) == 0);
}

void box_cgroup_leave(const char *name)
{
	char path[PATH_MAX];

	inner(path, name);
	cr_assert(cgroup_join(box.inside) == 0);
	folder_remove(path);
	cr_assert(access(path, F_OK) != 0);
}

/* ---- children ---- */

int box_child(int (*run)(void *ctx), void *ctx)
{
	pid_t child = fork();
	int status;

	cr_assert(child >= 0);
	if (child == 0)
		_exit(run(ctx));
	cr_assert(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

int box_become_nobody(uint64_t capabilities)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0 || setgroups(0, NULL) != 0 ||
		setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0)
		return -errno;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].permitted = (uint32_t)(capabilities >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = data[i].permitted;
	}
	return syscall(SYS_capset, &head, data) == 0 ? 0 : -errno;
}

/* ---- the fence's surroundings ---- */

struct fence_settings box_settings(void)
{
	return (struct fence_settings){
		.mode = FENCE_MODE_KERNEL,
		.prefix_v4 = 32,
		.prefix_v6 = 64,
		.sources_max = 1024,
		.behaved_factor = 4,
		.behaved_ms = 60000,
		.penalty_ms = 60000,
	};
}

int box_listen(int family)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int res = family == AF_INET ? bind(fd, (struct sockaddr *)&v4, sizeof(v4))
				    : bind(fd, (struct sockaddr *)&v6, sizeof(v6));

	cr_assert(fd >= 0 && res == 0 && listen(fd, 64) == 0, "%s", strerror(errno));
	return fd;
}

uint16_t box_port(int fd)
{
	struct sockaddr_in6 at;
	socklen_t n = sizeof(at);

	cr_assert(getsockname(fd, (struct sockaddr *)&at, &n) == 0);
	return ntohs(at.sin6_port);
}

static int connect_to(int listener)
{
	struct sockaddr_storage at;
	socklen_t n = sizeof(at);
	struct pollfd poll_fd = {.events = POLLOUT};
	socklen_t error_n = sizeof(int);
	int error = 0;

	cr_assert(getsockname(listener, (struct sockaddr *)&at, &n) == 0);
	poll_fd.fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert(poll_fd.fd >= 0);
	if (connect(poll_fd.fd, (struct sockaddr *)&at, n) == 0)
		return poll_fd.fd;
	error = errno;
	if (error == EINPROGRESS) {
		error = poll(&poll_fd, 1, WAIT_MS / 5) == 1 ? 0 : ETIMEDOUT;
		if (error == 0)
			getsockopt(poll_fd.fd, SOL_SOCKET, SO_ERROR, &error, &error_n);
	}
	if (error == 0)
		return poll_fd.fd;
	close(poll_fd.fd);
	return -error;
}

struct box_pair box_connect(int listener)
{
	struct box_pair pair = {.client = connect_to(listener)};

	cr_assert(pair.client >= 0, "%s", strerror(-pair.client));
	pair.server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	cr_assert(pair.server >= 0);
	return pair;
}

int box_try(int listener)
{
	int fd = connect_to(listener);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* ---- numbers ---- */

static struct bpf_link_info link_info(int fd)
{
	struct bpf_link_info info = {0};
	uint32_t n = sizeof(info);

	cr_assert(bpf_obj_get_info_by_fd(fd, &info, &n) == 0);
	return info;
}

uint32_t box_link_id(int link_fd)
{
	return link_info(link_fd).id;
}

uint32_t box_link_program(int link_fd)
{
	return link_info(link_fd).prog_id;
}

uint32_t box_map_id(int map_fd)
{
	struct bpf_map_info info = {0};
	uint32_t n = sizeof(info);

	cr_assert(bpf_obj_get_info_by_fd(map_fd, &info, &n) == 0);
	return info.id;
}

static bool lives(int fd)
{
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

bool box_link_lives(uint32_t id)
{
	return lives(bpf_link_get_fd_by_id(id));
}

bool box_program_lives(uint32_t id)
{
	return lives(bpf_prog_get_fd_by_id(id));
}

bool box_map_lives(uint32_t id)
{
	return lives(bpf_map_get_fd_by_id(id));
}

bool box_gone(bool (*check)(uint32_t id), uint32_t id)
{
	for (int ms = 0; ms < WAIT_MS; ms += 2) {
		if (!check(id))
			return true;
		pause_shortly();
	}
	return false;
}

struct network box_network(const char *text)
{
	struct network network;

	cr_assert(network_parse(text, &network), "%s", text);
	return network;
}

int box_kernel_open(struct fence_kernel **out, const struct fence_settings *settings,
	struct fence_rules *rules, int listener, struct err *err)
{
	struct listener_settings smtp = {
		.title = "smtp", .address = "127.0.0.1", .tls = LISTENER_TLS_STARTTLS};

	fence_rules_make(rules, settings, NULL);
	return fence_kernel_open(out, settings, rules, &smtp, listener >= 0, &listener, 1, err);
}
