/* SPDX-License-Identifier: MIT */
/*
 * fence: the gateway's fence, seen from outside.
 *
 *   fence verify                 loads the programs with no more capabilities than they need and
 *                                says how far the verifier had to walk
 *   fence classes MODE [VERSION] a session of peer's with a running gateway, in one of its ways
 *                                (starttls, implicit, none): the class of the server's end in the map
 *                                at each stage, and which classes' octets the kernel counted between
 *
 *   fence left                   nothing of a fence is there: no link, no program, no map
 *
 * The server's socket is another process's, and socket storage is asked for by descriptor: root
 * takes a copy of it by pidfd_getfd(2), and the gateway's maps by their numbers.
 */
#include "bpf/abi.h"
#include "peer.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fence.skel.h"

#define PORT         2525
#define TLS_PORT     2465
#define SETTLE_MS    5000
#define PERIOD_MS    10
#define CPUS_MAX     64
#define STAGES       3
#define UID_NOBODY   65534
#define MESSAGE      "Subject: classes\r\n\r\none line\r\n"
#define CAPABILITIES (1ull << CAP_BPF | 1ull << CAP_NET_ADMIN)

static const char *const class_names[FENCE_CLASSES] = {"new", "plain", "handshake", "upgraded"};

static unsigned results, failures;

static void ok(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void ok(bool good, const char *format, ...)
{
	va_list args;

	results++;
	failures += !good;
	printf("%s %u - ", good ? "ok" : "not ok", results);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

static void sleep_ms(int ms)
{
	struct timespec time = {.tv_nsec = ms * 1000000L};

	nanosleep(&time, NULL);
}

/* ---- verify ---- */

static void drop_to(uint64_t capabilities)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted = (uint32_t)(capabilities >> 32 * i);
	if (prctl(PR_SET_KEEPCAPS, 1) < 0 ||
		syscall(SYS_setresuid, UID_NOBODY, UID_NOBODY, UID_NOBODY) < 0 ||
		syscall(SYS_capset, &head, data) < 0)
		peer_fail("capabilities: %m");
}

/* In a child, as what is given up does not come back: 0 or the errno of loading. */
static int loads_with(uint64_t capabilities)
{
	pid_t child = fork();
	int status = 0;

	if (child == 0) {
		struct fence_bpf *fence;

		libbpf_set_print(NULL);
		drop_to(capabilities);
		fence = fence_bpf__open();
		_exit(fence ? -fence_bpf__load(fence) : ENOMEM);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		peer_fail("a child: %m");
	return WEXITSTATUS(status);
}

static int verify(void)
{
	struct fence_bpf *fence;
	struct bpf_program *program;
	int error = loads_with(CAPABILITIES | 1ull << CAP_PERFMON);

	ok(error == 0, "the fence loads with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (%s)",
		strerror(error));
	drop_to(CAPABILITIES);
	fence = fence_bpf__open();
	if (!fence)
		peer_fail("fence.bpf.o: %m");
	error = fence_bpf__load(fence);
	ok(error == 0, "the fence loads with CAP_BPF and CAP_NET_ADMIN alone (%s)",
		strerror(-error));
	if (error)
		return 1;
	bpf_object__for_each_program(program, fence->obj)
	{
		struct bpf_prog_info info = {0};
		uint32_t length = sizeof info;
		int fd = bpf_program__fd(program);
		bool told = bpf_obj_get_info_by_fd(fd, &info, &length) == 0;

		ok(told && info.verified_insns > 0, "%s: %u instructions, the verifier walked %u",
			bpf_program__name(program), (unsigned)bpf_program__insn_cnt(program),
			info.verified_insns);
	}
	fence_bpf__destroy(fence);
	return 0;
}

/* ---- left ---- */

static bool has_program(uint32_t id)
{
	struct bpf_prog_info info = {0};
	uint32_t length = sizeof info;
	int fd = bpf_prog_get_fd_by_id(id);
	bool found = fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &length) == 0 &&
		     !strncmp(info.name, "fence_", 6);

	if (fd >= 0)
		close(fd);
	return found;
}

static bool has_map(uint32_t id)
{
	struct bpf_map_info info = {0};
	uint32_t length = sizeof info;
	int fd = bpf_map_get_fd_by_id(id);
	bool found = fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &length) == 0 &&
		     !strncmp(info.name, "fence_", 6);

	if (fd >= 0)
		close(fd);
	return found;
}

static unsigned how_many(int (*next)(uint32_t from, uint32_t *id), bool (*has)(uint32_t id))
{
	unsigned found = 0;
	uint32_t id = 0;

	while (next(id, &id) == 0)
		found += has(id);
	return found;
}

/* What is closed is freed a little later. */
static void left(void)
{
	unsigned programs = 1, maps = 1;

	for (int ms = 0; programs + maps > 0 && ms < SETTLE_MS; ms += PERIOD_MS) {
		programs = how_many(bpf_prog_get_next_id, has_program);
		maps = how_many(bpf_map_get_next_id, has_map);
		sleep_ms(PERIOD_MS);
	}
	ok(programs + maps == 0, "nothing of the fence is left: %u programs, %u maps", programs,
		maps);
}

/* ---- classes ---- */

/* The gateway's map of that name: the youngest, as an old one may not be freed yet. */
static int map_named(const char *name)
{
	uint32_t id = 0;
	int found = -1;

	while (bpf_map_get_next_id(id, &id) == 0) {
		struct bpf_map_info info = {0};
		uint32_t length = sizeof info;
		int fd = bpf_map_get_fd_by_id(id);

		if (fd < 0)
			continue;
		if (bpf_obj_get_info_by_fd(fd, &info, &length) == 0 &&
			!strncmp(info.name, name, sizeof info.name - 1)) {
			if (found >= 0)
				close(found);
			found = fd;
		} else {
			close(fd);
		}
	}
	if (found < 0)
		peer_fail("no map %s: is the fence in the kernel?", name);
	return found;
}

static uint16_t port_of(const struct sockaddr_in *address, int error)
{
	return error < 0 || address->sin_family != AF_INET ? 0 : ntohs(address->sin_port);
}

/* Is this the server's end of the connection whose client has `port`? */
static bool is_other_end(int fd, uint16_t port)
{
	struct sockaddr_in here = {0}, there = {0};
	socklen_t here_length = sizeof here, there_length = sizeof there;
	uint16_t own = port_of(&here, getsockname(fd, (struct sockaddr *)&here, &here_length));

	return (own == PORT || own == TLS_PORT) &&
	       port_of(&there, getpeername(fd, (struct sockaddr *)&there, &there_length)) == port;
}

/* A copy of that socket out of this process, or -1. */
static int take_from(int pid, uint16_t port)
{
	char path[64];
	struct dirent *entry;
	int found = -1;
	int pidfd;
	DIR *folder;

	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	folder = opendir(path);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	while (folder && pidfd >= 0 && found < 0 && (entry = readdir(folder))) {
		int fd;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)strtol(entry->d_name, NULL, 10), 0);
		if (fd >= 0 && is_other_end(fd, port))
			found = fd;
		else if (fd >= 0)
			close(fd);
	}
	if (folder)
		closedir(folder);
	if (pidfd >= 0)
		close(pidfd);
	return found;
}

static int take_server(const struct dialog *dialog)
{
	struct sockaddr_in address = {0};
	socklen_t length = sizeof address;
	struct dirent *entry;
	int found = -1;
	uint16_t port;
	DIR *folder = opendir("/proc");

	port = port_of(&address, getsockname(dialog->fd, (struct sockaddr *)&address, &length));
	while (folder && port && found < 0 && (entry = readdir(folder)))
		if (isdigit((unsigned char)entry->d_name[0]) &&
			strtol(entry->d_name, NULL, 10) != getpid())
			found = take_from((int)strtol(entry->d_name, NULL, 10), port);
	if (folder)
		closedir(folder);
	if (found < 0)
		peer_fail("no process has the server's end of port %u", port);
	return found;
}

static int classes_map, counts_map, totals_map, sessions_map;
static long rx_before, tx_before;

/* Segments of that class that were seen for that reason, of all CPUs. */
static uint64_t count(enum fence_class class, enum fence_reason reason)
{
	struct fence_count values[CPUS_MAX] = {{0}};
	uint32_t key = class * FENCE_REASONS + reason;
	uint64_t sum = 0;

	if (libbpf_num_possible_cpus() > CPUS_MAX ||
		bpf_map_lookup_elem(counts_map, &key, values) < 0)
		peer_fail("fence_counts: %m");
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += values[i].packets;
	return sum;
}

/* What has passed of each class: what is counted, and what this session has gathered for that. */
static void count_all(int server, uint64_t out[FENCE_CLASSES])
{
	struct fence_session session;

	if (bpf_map_lookup_elem(sessions_map, &server, &session) < 0)
		peer_fail("no session in the socket's storage: %m");
	for (unsigned i = 0; i < FENCE_CLASSES; i++)
		out[i] = count(i, FENCE_PASS);
	if (session.class < FENCE_CLASSES)
		out[session.class] += session.gathered >> FENCE_GATHERED_BITS;
}

static uint64_t open_now(void)
{
	struct fence_totals totals;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(totals_map, &zero, &totals) < 0)
		peer_fail("fence_totals: %m");
	return totals.gauge[FENCE_OPEN][FENCE_STRANGER] + totals.gauge[FENCE_OPEN][FENCE_BEHAVED];
}

static uint64_t counted[STAGES + 1][FENCE_CLASSES];

static void look(const struct dialog *dialog, enum peer_stage stage)
{
	static const enum fence_class want[STAGES] = {FENCE_PLAIN, FENCE_HANDSHAKE, FENCE_UPGRADED};
	static const char *const when[STAGES] = {
		"after EHLO", "after the 220 to STARTTLS", "after the handshake"};
	struct fence_mark mark = {.class = FENCE_CLASSES};
	int server = take_server(dialog);

	if (bpf_map_lookup_elem(classes_map, &server, &mark) < 0)
		peer_fail("no class in the socket's storage: %m");
	count_all(server, counted[stage]);
	close(server);
	ok(mark.class == want[stage], "%s its class in the map is %s (%s)", when[stage],
		class_names[want[stage]],
		mark.class < FENCE_CLASSES ? class_names[mark.class] : "none");
	if (stage == PEER_UNDER_TLS)
		ok(peer_tls_stat("TlsCurrTxSw") == tx_before + 1 &&
				peer_tls_stat("TlsCurrRxSw") == rx_before + 1,
			"and the kernel has the keys of both directions");
}

/* From one stage to the next only this class's count may have moved, and it has to. */
static void moved(unsigned from, unsigned to, enum fence_class class, const char *what)
{
	bool good = counted[to][class] > counted[from][class];

	for (unsigned i = FENCE_PLAIN; i < FENCE_CLASSES; i++)
		good = good && (i == class || counted[to][i] == counted[from][i]);
	ok(good, "%s is counted as %s, and as nothing else (%llu)", what, class_names[class],
		(unsigned long long)(counted[to][class] - counted[from][class]));
}

static void moves(enum peer_security security)
{
	if (security == PEER_STARTTLS) {
		moved(PEER_IN_CLEAR, PEER_MAY_SHAKE, FENCE_PLAIN, "STARTTLS");
		ok(counted[PEER_UNDER_TLS][FENCE_HANDSHAKE] >
					counted[PEER_MAY_SHAKE][FENCE_HANDSHAKE] &&
				counted[PEER_UNDER_TLS][FENCE_PLAIN] ==
					counted[PEER_MAY_SHAKE][FENCE_PLAIN],
			"the handshake is counted as handshake, not as plain");
	}
	if (security == PEER_NONE)
		moved(PEER_IN_CLEAR, STAGES, FENCE_PLAIN, "the mail");
	else
		moved(PEER_UNDER_TLS, STAGES, FENCE_UPGRADED, "the mail under TLS");
	ok(count(FENCE_PLAIN, FENCE_SAW_CLIENT_HELLO) == 0 &&
			count(FENCE_UPGRADED, FENCE_SAW_PLAIN_AFTER_TLS) == 0,
		"no ClientHello was seen in a plain session, no text in an upgraded one");
}

static int classes(enum peer_security security, const char *version)
{
	struct peer_settings settings = {.host = "127.0.0.1",
		.port = security == PEER_IMPLICIT ? TLS_PORT : PORT,
		.security = security,
		.version = version,
		.name = "fence.example.net",
		.from = "fence@example.net",
		.to = "fence@example.org",
		.look = look};
	SSL_CTX *context = peer_context(&settings);
	struct dialog *dialog;
	const char *why;
	uint64_t begun;
	int server;

	sessions_map = map_named("fence_sessions");
	classes_map = map_named("fence_classes");
	counts_map = map_named("fence_counts");
	totals_map = map_named("fence_totals");
	tx_before = peer_tls_stat("TlsCurrTxSw");
	rx_before = peer_tls_stat("TlsCurrRxSw");
	begun = count(FENCE_NEW, FENCE_PASS);
	dialog = peer_open(&settings, context);
	ok(count(FENCE_NEW, FENCE_PASS) == begun + 1, "its SYN was let in and counted");
	ok(open_now() == 1, "it is the one connection in the gauge");
	ok(peer_mail(dialog, &settings, (const uint8_t *)MESSAGE, strlen(MESSAGE)) == 250,
		"mail is taken");
	server = take_server(dialog);
	count_all(server, counted[STAGES]);
	close(server);
	moves(security);
	why = peer_quit(dialog);
	ok(why == NULL, "QUIT (%s)", why ? why : "221");
	peer_free(dialog);
	SSL_CTX_free(context);
	for (int ms = 0; open_now() > 0 && ms < SETTLE_MS; ms += PERIOD_MS)
		sleep_ms(PERIOD_MS);
	ok(open_now() == 0, "and the gauge is empty again");
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 2 ? argv[2] : "";
	const char *version = argc > 3 ? argv[3] : NULL;

	if (argc == 2 && !strcmp(argv[1], "verify"))
		verify();
	else if (argc == 2 && !strcmp(argv[1], "left"))
		left();
	else if (argc > 2 && !strcmp(argv[1], "classes"))
		classes(!strcmp(mode, "none")       ? PEER_NONE
			: !strcmp(mode, "implicit") ? PEER_IMPLICIT
						    : PEER_STARTTLS,
			version);
	else
		peer_fail("usage: fence verify | left | classes none|starttls|implicit [1.2|1.3]");
	printf("1..%u\n", results);
	return failures > 0;
}
