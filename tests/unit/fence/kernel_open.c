/* SPDX-License-Identifier: MIT */
/*
 * kernel_open.c -- loading, attaching and detaching in the real kernel: what is there afterwards is
 * asked of the kernel, by the numbers of our own links and programs.
 */
#include "tests/unit/fence/kernel_box.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(fence_kernel_open, .init = box_open, .fini = box_close, .timeout = BOX_LIMIT_S);

#define CAP(name) (1ull << (name))

/* Numbers of all that one fence has in the kernel. */
struct numbers {
	uint32_t links[KERNEL_LINKS_MAX], programs[KERNEL_LINKS_MAX];
	uint32_t maps[KERNEL_MAPS];
	size_t links_n;
};

static struct numbers numbers_of(const struct fence_kernel *kernel)
{
	struct numbers numbers = {.links_n = kernel->links_n};

	for (size_t i = 0; i < kernel->links_n; i++) {
		numbers.links[i] = box_link_id(kernel->links[i].fd);
		numbers.programs[i] = box_link_program(kernel->links[i].fd);
	}
	for (size_t i = 0; i < KERNEL_MAPS; i++)
		numbers.maps[i] = box_map_id(kernel->maps[i]);
	return numbers;
}

static void expect_there(const struct numbers *numbers)
{
	for (size_t i = 0; i < numbers->links_n; i++)
		cr_expect(box_link_lives(numbers->links[i]) &&
			  box_program_lives(numbers->programs[i]));
}

/* Whoever holds a link keeps its program, too; but it is nowhere. */
static void expect_detached(const struct numbers *numbers)
{
	for (size_t i = 0; i < numbers->links_n; i++) {
		struct bpf_link_info info = {0};
		uint32_t n = sizeof(info);
		int fd = bpf_link_get_fd_by_id(numbers->links[i]);

		cr_assert(fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &n) == 0);
		cr_expect(info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == 0);
		close(fd);
	}
}

static void expect_gone(const struct numbers *numbers)
{
	for (size_t i = 0; i < numbers->links_n; i++)
		cr_expect(box_gone(box_link_lives, numbers->links[i]) &&
				  box_gone(box_program_lives, numbers->programs[i]),
			"link %zu", i);
	for (size_t i = 0; i < KERNEL_MAPS; i++)
		cr_expect(box_gone(box_map_lives, numbers->maps[i]), "%s", kernel_maps[i].name);
}

Test(fence_kernel_open, attaches_and_leaves_nothing)
{
	struct fence_settings settings = box_settings();
	int listener = box_listen(AF_INET);
	struct fence_kernel *kernel;
	struct fence_rules rules;
	struct numbers numbers;
	struct err err = {""};

	cr_assert(box_kernel_open(&kernel, &settings, &rules, listener, &err) == 0, "%s", err.text);
	cr_expect_str_eq(fence_kernel_hooks(kernel), "cgroup_skb sockops");
	cr_expect_null(fence_kernel_pin(kernel));
	numbers = numbers_of(kernel);
	cr_assert(numbers.links_n == 2);
	expect_there(&numbers);
	fence_kernel_close(kernel, true);
	expect_gone(&numbers);
	close(listener);
}

/* ---- who has descriptors, and dies ---- */

static int open_and_die(void *ctx)
{
	const int *to_test = ctx;
	struct fence_settings settings = box_settings();
	struct fence_kernel *kernel;
	struct fence_rules rules;
	struct numbers numbers;
	struct err err;

	if (box_kernel_open(&kernel, &settings, &rules, -1, &err) != 0)
		return 1;
	numbers = numbers_of(kernel);
	if (write(*to_test, &numbers, sizeof(numbers)) != sizeof(numbers))
		return 2;
	kill(getpid(), SIGKILL);
	return 3;
}

Test(fence_kernel_open, nothing_stays_after_a_kill)
{
	struct numbers numbers;
	int ends[2];

	cr_assert(pipe(ends) == 0);
	cr_assert(box_child(open_and_die, &ends[1]) == 100 + SIGKILL);
	cr_assert(read(ends[0], &numbers, sizeof(numbers)) == sizeof(numbers));
	expect_gone(&numbers);
}

/* A child holds everything, as after a fork, and sees the parent detach. */
static void holder(int ends[2])
{
	pid_t child = fork();
	char byte;

	cr_assert(child >= 0);
	if (child != 0)
		return;
	close(ends[1]);
	(void)!read(ends[0], &byte, 1);
	_exit(0);
}

Test(fence_kernel_open, detached_while_a_child_has_the_descriptors)
{
	struct fence_settings settings = box_settings();
	struct fence_kernel *kernel;
	struct fence_rules rules;
	struct numbers numbers;
	struct err err = {""};
	int ends[2];

	cr_assert(pipe(ends) == 0);
	cr_assert(box_kernel_open(&kernel, &settings, &rules, -1, &err) == 0, "%s", err.text);
	numbers = numbers_of(kernel);
	holder(ends);
	fence_kernel_close(kernel, true);
	expect_detached(&numbers);
	cr_expect(box_map_lives(numbers.maps[KERNEL_MAP_RULES]), "the child still has them");
	close(ends[1]);
	expect_gone(&numbers);
}

static int give_up_all_but_maps(void *ctx)
{
	struct fence_kernel *kernel = ctx;

	fence_kernel_child(kernel);
	fence_kernel_close(kernel, false);
	return 0;
}

Test(fence_kernel_open, a_child_that_ends_detaches_nothing)
{
	struct fence_settings settings = box_settings();
	struct fence_kernel *kernel;
	struct fence_rules rules;
	struct numbers numbers;
	struct err err = {""};

	cr_assert(box_kernel_open(&kernel, &settings, &rules, -1, &err) == 0, "%s", err.text);
	numbers = numbers_of(kernel);
	cr_assert(box_child(give_up_all_but_maps, kernel) == 0);
	expect_there(&numbers);
	fence_kernel_close(kernel, true);
	expect_gone(&numbers);
}

/* ---- privileges ---- */

struct attempt {
	struct err err;
	int res;
};

/* Opens as nobody; tells by the pipe what came of it. */
struct trial {
	uint64_t capabilities;
	int deny; /* errno for bpf(2); 0: none */
	int pipe;
};

static int open_with(void *ctx)
{
	const struct trial *trial = ctx;
	static const char *const names[] = {"lo"};
	struct fence_settings settings = box_settings();
	int listener = box_listen(AF_INET);
	struct attempt attempt = {0};
	struct fence_kernel *kernel;
	struct fence_rules rules;

	settings.interfaces = names; /* all three programs */
	settings.interfaces_n = 1;
	if (trial->deny != 0) {
		scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

		if (seccomp_rule_add(
			    filter, SCMP_ACT_ERRNO((uint16_t)trial->deny), SCMP_SYS(bpf), 0) != 0 ||
			seccomp_load(filter) != 0)
			return 1;
		seccomp_release(filter);
	} else if (box_become_nobody(trial->capabilities) != 0) {
		return 2;
	}
	attempt.res = box_kernel_open(&kernel, &settings, &rules, listener, &attempt.err);
	if (attempt.res == 0)
		fence_kernel_close(kernel, true);
	return write(trial->pipe, &attempt, sizeof(attempt)) == sizeof(attempt) ? 0 : 3;
}

static struct attempt try_with(struct trial trial)
{
	struct attempt attempt = {0};
	int ends[2];

	cr_assert(pipe(ends) == 0);
	trial.pipe = ends[1];
	cr_assert(box_child(open_with, &trial) == 0);
	cr_assert(read(ends[0], &attempt, sizeof(attempt)) == sizeof(attempt));
	close(ends[0]);
	close(ends[1]);
	return attempt;
}

Test(fence_kernel_open, two_capabilities_are_enough)
{
	struct attempt attempt =
		try_with((struct trial){.capabilities = CAP(CAP_BPF) | CAP(CAP_NET_ADMIN)});

	cr_expect(attempt.res == 0, "%s", attempt.err.text);
}

/* With it the verifier believes that no program is out for what speculation reads. */
Test(fence_kernel_open, cap_perfmon_does_no_harm)
{
	struct attempt attempt = try_with((struct trial){
		.capabilities = CAP(CAP_BPF) | CAP(CAP_NET_ADMIN) | CAP(CAP_PERFMON)});

	cr_expect(attempt.res == 0, "%s", attempt.err.text);
}

Test(fence_kernel_open, says_which_capability_is_missing)
{
	static const struct {
		uint64_t capabilities;
		const char *words;
	} cases[] = {
		{0, "no CAP_BPF and CAP_NET_ADMIN: grant"},
		{CAP(CAP_BPF), "no CAP_NET_ADMIN: grant"},
		{CAP(CAP_NET_ADMIN), "no CAP_BPF: grant"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct attempt attempt =
			try_with((struct trial){.capabilities = cases[i].capabilities});

		cr_expect(attempt.res == -1 && strstr(attempt.err.text, cases[i].words) != NULL,
			"%s", attempt.err.text);
		cr_expect_not_null(strstr(attempt.err.text, "AmbientCapabilities="));
	}
}

Test(fence_kernel_open, says_that_bpf_is_missing_or_forbidden)
{
	struct attempt none = try_with((struct trial){.deny = ENOSYS});
	struct attempt forbidden = try_with((struct trial){.deny = EPERM});

	cr_expect(
		none.res == -1 && strstr(none.err.text, "no bpf(2)") != NULL, "%s", none.err.text);
	cr_expect(forbidden.res == -1 && strstr(forbidden.err.text, "container") != NULL, "%s",
		forbidden.err.text);
}

/* ---- interfaces ---- */

Test(fence_kernel_open, xdp_by_the_driver_and_by_the_stack)
{
	static const char *const names[] = {"fence0.25", "lo"};
	struct fence_settings settings = box_settings();
	struct fence_kernel *kernel;
	struct fence_rules rules;
	struct numbers numbers;
	struct err err = {""};

	box_run("ip link add fence0.25 type veth peer name fence1 && ip link set fence0.25 up && "
		"ip link set fence1 up");
	settings.interfaces = names;
	settings.interfaces_n = COUNT_OF(names);
	cr_assert(box_kernel_open(&kernel, &settings, &rules, -1, &err) == 0, "%s", err.text);
	cr_expect_str_eq(fence_kernel_hooks(kernel),
		"cgroup_skb sockops xdp:fence0.25 (native) xdp:lo (generic)");
	numbers = numbers_of(kernel);
	cr_expect(numbers.links_n == 4);
	expect_there(&numbers);
	fence_kernel_close(kernel, true);
	expect_gone(&numbers);
}

Test(fence_kernel_open, interfaces_in_the_map)
{
	static const char *const names[] = {"lo", "lo"};
	struct fence_settings settings = box_settings();
	struct fence_kernel *kernel;
	struct fence_rules rules;
	struct err err = {""};
	uint32_t index = 1, other = 2, value = 0;

	settings.interfaces = names;
	settings.interfaces_n = COUNT_OF(names);
	cr_assert(box_kernel_open(&kernel, &settings, &rules, -1, &err) == 0, "%s", err.text);
	cr_expect(kernel->links_n == 3, "the same name twice is one");
	cr_expect(bpf_map_lookup_elem(kernel->maps[KERNEL_MAP_INTERFACES], &index, &value) == 0 &&
		  value == 1);
	cr_expect(bpf_map_lookup_elem(kernel->maps[KERNEL_MAP_INTERFACES], &other, &value) != 0);
	fence_kernel_close(kernel, true);
}

Test(fence_kernel_open, an_interface_that_is_not_there_or_taken)
{
	const char *name = "fence9";
	struct fence_settings settings = box_settings();
	struct fence_kernel *kernel, *second;
	struct fence_rules rules;
	struct err err = {""};

	settings.interfaces = &name;
	settings.interfaces_n = 1;
	cr_expect(box_kernel_open(&kernel, &settings, &rules, -1, &err) == -1);
	cr_expect(strstr(err.text, "no interface fence9") != NULL, "%s", err.text);
	name = "lo";
	cr_assert(box_kernel_open(&kernel, &settings, &rules, -1, &err) == 0, "%s", err.text);
	cr_expect(box_kernel_open(&second, &settings, &rules, -1, &err) == -1);
	cr_expect(strstr(err.text, "xdp_lo") != NULL && strstr(err.text, "another program") != NULL,
		"%s", err.text);
	fence_kernel_close(kernel, true);
}

/* ---- the gateway's sockets ---- */

static int class_of(const struct fence_kernel *kernel, int fd)
{
	struct fence_mark mark;

	if (bpf_map_lookup_elem(kernel->maps[KERNEL_MAP_CLASSES], &fd, &mark) != 0)
		return -1;
	return (int)mark.class;
}

Test(fence_kernel_open, listening_sockets_are_marked_and_connections_inherit)
{
	struct listener_settings listeners[] = {
		{.title = "smtp", .tls = LISTENER_TLS_STARTTLS},
		{.title = "smtps", .tls = LISTENER_TLS_IMPLICIT},
	};
	int fds[] = {box_listen(AF_INET), box_listen(AF_INET6), box_listen(AF_INET),
		box_listen(AF_INET6)};
	struct fence_settings settings = box_settings();
	struct fence_kernel *kernel;
	struct fence_rules rules;
	struct err err = {""};

	fence_rules_make(&rules, &settings, NULL);
	cr_assert(fence_kernel_open(&kernel, &settings, &rules, listeners, 2, fds, 2, &err) == 0,
		"%s", err.text);
	for (size_t i = 0; i < COUNT_OF(fds); i++) {
		int class = i < 2 ? FENCE_PLAIN : FENCE_HANDSHAKE;
		struct box_pair pair = box_connect(fds[i]);

		cr_expect(class_of(kernel, fds[i]) == class);
		cr_expect(class_of(kernel, pair.server) == class);
		cr_expect(class_of(kernel, pair.client) == -1);
		cr_expect(fence_kernel_mark(kernel, pair.server, FENCE_UPGRADED) == 0);
		cr_expect(class_of(kernel, pair.server) == FENCE_UPGRADED);
		close(pair.client);
		close(pair.server);
	}
	cr_expect(fence_kernel_mark(kernel, -1, FENCE_PLAIN) == -EBADF);
	fence_kernel_close(kernel, true);
}

Test(fence_kernel_open, listeners_as_xdp_sees_them)
{
	struct fence_settings settings = box_settings();
	int listener = box_listen(AF_INET);
	struct fence_listener key = {.address = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};
	struct fence_kernel *kernel;
	struct fence_rules rules;
	struct err err = {""};
	uint32_t value;

	cr_assert(box_kernel_open(&kernel, &settings, &rules, listener, &err) == 0, "%s", err.text);
	key.port = box_port(listener);
	cr_expect(bpf_map_lookup_elem(kernel->maps[KERNEL_MAP_LISTENERS], &key, &value) == 0);
	key.port++;
	cr_expect(bpf_map_lookup_elem(kernel->maps[KERNEL_MAP_LISTENERS], &key, &value) != 0);
	fence_kernel_close(kernel, true);
}

static bool listens(const struct fence_kernel *kernel, const char *address, uint16_t port)
{
	struct fence_listener key = {.port = port};
	uint32_t value;

	if (address != NULL)
		memcpy(key.address, box_network(address).address, sizeof(key.address));
	return bpf_map_lookup_elem(kernel->maps[KERNEL_MAP_LISTENERS], &key, &value) == 0;
}

/* What goes to another host's address by way of this one is not ours. */
Test(fence_kernel_open, any_address_is_each_that_is_here)
{
	static const struct {
		int family;
		bool only, v4, v6;
	} cases[] = {
		{AF_INET, false, true, false},
		{AF_INET6, true, false, true},
		{AF_INET6, false, true, true},
	};

	box_run("ip addr add 192.0.2.25/24 dev lo && ip addr add 2001:db8::25/64 dev lo nodad");
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct fence_settings settings = box_settings();
		struct fence_kernel *kernel;
		struct fence_rules rules;
		struct err err = {""};
		uint16_t port;
		int only = cases[i].only;
		int fd = socket(cases[i].family, SOCK_STREAM, 0);

		cr_assert(fd >= 0);
		if (cases[i].family == AF_INET6)
			cr_assert(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) ==
				  0);
		cr_assert(listen(fd, 1) == 0); /* binds to any address and port */
		cr_assert(
			box_kernel_open(&kernel, &settings, &rules, fd, &err) == 0, "%s", err.text);
		port = box_port(fd);
		cr_expect(listens(kernel, "127.0.0.1", port) == cases[i].v4, "%zu", i);
		cr_expect(listens(kernel, "192.0.2.25", port) == cases[i].v4, "%zu", i);
		cr_expect(listens(kernel, "::1", port) == cases[i].v6, "%zu", i);
		cr_expect(listens(kernel, "2001:db8::25", port) == cases[i].v6, "%zu", i);
		cr_expect_not(listens(kernel, "192.0.2.26", port));
		cr_expect_not(listens(kernel, NULL, port));
		fence_kernel_close(kernel, true);
		close(fd);
	}
}

Test(fence_kernel_open, more_addresses_than_there_is_room_for_are_any)
{
	struct fence_settings settings = box_settings();
	struct fence_kernel *kernel;
	struct fence_rules rules;
	struct err err = {""};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	box_run("for i in $(seq 1 64); do echo addr add 192.0.2.$i/32 dev lo; done | ip -batch -");
	cr_assert(fd >= 0 && listen(fd, 1) == 0);
	cr_assert(box_kernel_open(&kernel, &settings, &rules, fd, &err) == 0, "%s", err.text);
	cr_expect(listens(kernel, NULL, box_port(fd)));
	cr_expect_not(listens(kernel, "192.0.2.1", box_port(fd)));
	fence_kernel_close(kernel, true);
	close(fd);
}

Test(fence_kernel_open, sizes_from_the_settings)
{
	struct fence_settings settings = box_settings();
	struct bpf_map_info info = {0};
	uint32_t n = sizeof(info);
	struct fence_kernel *kernel;
	struct fence_rules rules;
	struct err err = {""};

	settings.sources_max = 5000;
	cr_assert(box_kernel_open(&kernel, &settings, &rules, -1, &err) == 0, "%s", err.text);
	cr_assert(bpf_obj_get_info_by_fd(kernel->maps[KERNEL_MAP_SOURCES], &info, &n) == 0);
	cr_expect(info.max_entries == 5000, "%u", info.max_entries);
	fence_kernel_close(kernel, true);
}
