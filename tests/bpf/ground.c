/* SPDX-License-Identifier: MIT */
/* ground: see ground.h. */
#include "tests/bpf/ground.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/kernel/ktest.h"

#define REMOVE_TRIES 100
#define LOOPBACK     1 /* the first interface of every namespace */

static char folder[512];
static int folder_fd = -1;

/* ---- the namespace ---- */

static void loopback_up(void)
{
	struct ifreq request = {.ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	KT_MUST(fd >= 0);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "lo");
	KT_MUST(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
	close(fd);
}

struct route_request {
	struct nlmsghdr head;
	struct rtmsg route;
	char attributes[64];
};

static void attribute(
	struct route_request *request, unsigned short type, const void *data, size_t n)
{
	struct rtattr *at =
		(struct rtattr *)((char *)request + NLMSG_ALIGN(request->head.nlmsg_len));

	at->rta_type = type;
	at->rta_len = (unsigned short)RTA_LENGTH(n);
	memcpy(RTA_DATA(at), data, n);
	request->head.nlmsg_len =
		(uint32_t)(NLMSG_ALIGN(request->head.nlmsg_len) + RTA_ALIGN(at->rta_len));
}

/* Every address of the network is ours from now on. */
static void make_local(int family, const char *network, unsigned char bits)
{
	struct route_request request = {
		.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
			.nlmsg_type = RTM_NEWROUTE,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK},
		.route = {.rtm_family = (unsigned char)family,
			.rtm_dst_len = bits,
			.rtm_table = RT_TABLE_LOCAL,
			.rtm_protocol = RTPROT_STATIC,
			.rtm_scope = RT_SCOPE_HOST,
			.rtm_type = RTN_LOCAL},
	};
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[256];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	unsigned char address[16];
	uint32_t index = LOOPBACK;

	KT_MUST(fd >= 0 && inet_pton(family, network, address) == 1);
	attribute(&request, RTA_DST, address, family == AF_INET ? 4 : 16);
	attribute(&request, RTA_OIF, &index, sizeof(index));
	KT_MUST(send(fd, &request, request.head.nlmsg_len, 0) == (ssize_t)request.head.nlmsg_len);
	KT_MUST(recv(fd, &answer, sizeof(answer), 0) >=
		(ssize_t)NLMSG_LENGTH(sizeof(answer.error)));
	KT_MUST(answer.head.nlmsg_type == NLMSG_ERROR);
	errno = -answer.error.error;
	KT_MUST(answer.error.error == 0);
	close(fd);
}

static void enter_namespace(void)
{
	if (unshare(CLONE_NEWNET) != 0)
		kt_unsupported("no network namespace can be made");
	loopback_up();
	make_local(AF_INET, "192.0.2.0", 24);
	make_local(AF_INET, "198.51.100.0", 24);
	make_local(AF_INET, "203.0.113.0", 24);
	make_local(AF_INET6, "2001:db8::", 32);
}

/* ---- the cgroup ---- */

/* Where cgroup v2 is mounted; false: nowhere. */
static bool find_mount(char *out, size_t room)
{
	FILE *file = fopen("/proc/self/mountinfo", "r");
	char line[1024], at[256];
	bool found = false;

	KT_MUST(file != NULL);
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, " - cgroup2 ") &&
			sscanf(line, "%*s %*s %*s %*s %255s", at) == 1 &&
			snprintf(out, room, "%s", at) < (int)room;
	fclose(file);
	return found;
}

static void make_cgroup(void)
{
	char mount[256];

	if (!find_mount(mount, sizeof(mount)))
		kt_unsupported("cgroup v2 is not mounted");
	snprintf(folder, sizeof(folder), "%s/postern-test-%d", mount, (int)getpid());
	if (mkdir(folder, 0755) != 0) {
		char why[640];

		snprintf(
			why, sizeof(why), "no cgroup can be made: %s: %s", folder, strerror(errno));
		kt_unsupported(why);
	}
}

void ground_move(bool inside)
{
	int fd = openat(
		folder_fd, inside ? "cgroup.procs" : "../cgroup.procs", O_WRONLY | O_CLOEXEC);

	KT_MUST(fd >= 0 && write(fd, "0", 1) == 1);
	close(fd);
}

static void enter_cgroup(void)
{
	folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	KT_MUST(folder_fd >= 0);
	ground_move(true);
}

/* A dead child leaves its cgroup a moment later than it is seen to be dead. */
static void remove_cgroup(void)
{
	const struct timespec moment = {0, 20000000};

	for (int i = 0; i < REMOVE_TRIES && rmdir(folder) != 0 && errno == EBUSY; i++)
		nanosleep(&moment, NULL);
}

int ground_cgroup(void)
{
	return folder_fd;
}

/* ---- parent and child ---- */

static int child(int (*test)(void), const sigset_t *mask)
{
	sigprocmask(SIG_SETMASK, mask, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	enter_cgroup();
	enter_namespace();
	return test();
}

/* Waits for the child, and ends it when we are to end. */
static int wait_for(pid_t pid, const sigset_t *signals)
{
	int status, number;

	while (waitpid(pid, &status, WNOHANG) == 0)
		if (sigwait(signals, &number) == 0 && number != SIGCHLD)
			kill(pid, SIGKILL);
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	kt_diag("ended by signal %d", WTERMSIG(status));
	return 2;
}

int ground_run(int (*test)(void))
{
	sigset_t signals, mask;
	pid_t pid;
	int status;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, &mask);
	make_cgroup();
	pid = fork();
	if (pid == 0)
		exit(child(test, &mask));
	status = pid > 0 ? wait_for(pid, &signals) : 2;
	remove_cgroup();
	return status;
}
