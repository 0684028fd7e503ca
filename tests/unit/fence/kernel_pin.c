/* SPDX-License-Identifier: MIT */
/*
 * kernel_pin.c -- what is pinned outlives the gateway: state and programs are there for the next
 * one, which takes over what fits, and says what does not.
 */
#include "tests/unit/fence/kernel_box.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(fence_kernel_pin, .init = box_open, .fini = box_close, .timeout = BOX_LIMIT_S);

static const uint8_t somebody[NETWORK_BYTES] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 1};

static struct fence_settings pinned(void)
{
	struct fence_settings settings = box_settings();

	settings.pin = BOX_PIN;
	return settings;
}

/* Opens with these settings; asserts that it can. */
static struct fence_kernel *opened(const struct fence_settings *settings, struct fence_rules *rules)
{
	struct fence_kernel *kernel = NULL;
	struct err err = {""};

	cr_assert(box_kernel_open(&kernel, settings, rules, -1, &err) == 0, "%s", err.text);
	return kernel;
}

static size_t files_n(const char *folder)
{
	DIR *dir = opendir(folder);
	size_t n = 0;

	if (dir == NULL)
		return 0;
	for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static void source_put(struct fence_kernel *kernel, const struct fence_source *state)
{
	cr_assert(bpf_map_update_elem(kernel->maps[KERNEL_MAP_SOURCES], somebody, state, BPF_ANY) ==
		  0);
}

static void totals_put(struct fence_kernel *kernel, const struct fence_totals *totals)
{
	uint32_t zero = 0;

	cr_assert(
		bpf_map_update_elem(kernel->maps[KERNEL_MAP_TOTALS], &zero, totals, BPF_ANY) == 0);
}

/* A source and totals that have met a lot, and operators' and the configuration's networks. */
static void state_put(struct fence_kernel *kernel)
{
	static const struct fence_source state = {
		.tat = {1, 2, 3, 4, 5}, .gauge = {6, 7}, .refused = 8};
	static const struct fence_totals totals = {
		.tat = {{1, 2}}, .gauge = {{[FENCE_STRANGER] = 6}}};
	struct fence_net net = {.action = FENCE_ACTION_BLOCK, .origin = FENCE_ORIGIN_OPERATOR};
	struct network network = box_network("198.51.100.0/24");

	source_put(kernel, &state);
	totals_put(kernel, &totals);
	fence_kernel_net(kernel, &network, &net);
	network = box_network("203.0.113.0/24");
	net.origin = FENCE_ORIGIN_CONFIG;
	fence_kernel_net(kernel, &network, &net);
	fence_kernel_behaved(kernel, somebody, UINT64_MAX);
}

static struct fence_source source_get(struct fence_kernel *kernel, bool *there)
{
	struct fence_source state;
	uint64_t behaved, penalty;

	*there = fence_kernel_source(kernel, somebody, &state, &behaved, &penalty);
	return state;
}

static bool behaved(struct fence_kernel *kernel)
{
	struct fence_source state;
	uint64_t until, penalty;

	fence_kernel_source(kernel, somebody, &state, &until, &penalty);
	return until == UINT64_MAX;
}

static void net_count(void *ctx, const struct network *network, const struct fence_net *net)
{
	char text[NETWORK_TEXT_MAX];
	unsigned *n = ctx;

	cr_expect_str_eq(network_text(network, text), "198.51.100.0/24");
	cr_expect(net->action == FENCE_ACTION_BLOCK && net->origin == FENCE_ORIGIN_OPERATOR);
	(*n)++;
}

static unsigned operators_nets(struct fence_kernel *kernel)
{
	unsigned n = 0;

	fence_kernel_nets_each(kernel, net_count, &n);
	return n;
}

static size_t all_nets(struct fence_kernel *kernel)
{
	struct fence_net_key key;
	size_t n = 0;

	while (bpf_map_get_next_key(kernel->maps[KERNEL_MAP_NETS], n > 0 ? &key : NULL, &key) == 0)
		n++;
	return n;
}

Test(fence_kernel_pin, everything_stays_and_is_taken_over)
{
	struct fence_settings settings = pinned();
	struct fence_rules rules, again;
	struct fence_kernel *kernel;
	struct fence_source state;
	uint32_t links[2], program, classes;
	bool there;

	box_bpffs();
	kernel = opened(&settings, &rules);
	cr_expect_str_eq(fence_kernel_pin(kernel), BOX_PIN);
	state_put(kernel);
	for (size_t i = 0; i < 2; i++)
		links[i] = box_link_id(kernel->links[i].fd);
	program = box_link_program(kernel->links[0].fd);
	classes = box_map_id(kernel->maps[KERNEL_MAP_CLASSES]);
	fence_kernel_close(kernel, false);
	cr_expect(
		box_link_lives(links[0]) && box_link_lives(links[1]) && box_program_lives(program));

	kernel = opened(&settings, &again);
	for (size_t i = 0; i < 2; i++)
		cr_expect(box_link_id(kernel->links[i].fd) == links[i]);
	cr_expect(box_link_program(kernel->links[0].fd) != program, "the new one");
	cr_expect(box_gone(box_program_lives, program));
	cr_expect(box_gone(box_map_lives, classes), "made anew each time");
	cr_expect_arr_eq(rules.hash_key, again.hash_key, sizeof(rules.hash_key));
	state = source_get(kernel, &there);
	cr_expect(there && state.tat[2] == 3 && state.refused == 8);
	cr_expect(state.gauge[FENCE_OPEN] == 6 && state.gauge[FENCE_SHAKING] == 7);
	cr_expect(fence_kernel_totals(kernel)->gauge[FENCE_OPEN][FENCE_STRANGER] == 6);
	cr_expect(behaved(kernel));
	cr_expect(operators_nets(kernel) == 1);
	cr_expect(all_nets(kernel) == 1, "the configuration's of before are gone");

	fence_kernel_close(kernel, true);
	cr_expect(access(BOX_PIN, F_OK) != 0, "the folder, too");
	for (size_t i = 0; i < 2; i++)
		cr_expect(box_gone(box_link_lives, links[i]));
}

static int open_and_die(void *ctx)
{
	struct fence_settings settings = pinned();
	struct fence_rules rules;
	struct fence_kernel *kernel = opened(&settings, &rules);

	(void)ctx;
	state_put(kernel);
	kill(getpid(), SIGKILL);
	return 1;
}

Test(fence_kernel_pin, stays_after_a_kill)
{
	struct fence_settings settings = pinned();
	struct fence_kernel *kernel;
	struct fence_rules rules;
	bool there;

	box_bpffs();
	cr_assert(box_child(open_and_die, NULL) == 100 + SIGKILL);
	kernel = opened(&settings, &rules);
	cr_expect(source_get(kernel, &there).gauge[FENCE_OPEN] == 6 && there);
	fence_kernel_close(kernel, true);
}

/* ---- what is counted down by nobody ---- */

static void links_lose(const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), BOX_PIN "/%s", name);
	fd = bpf_obj_get(path);
	cr_assert(fd >= 0 && bpf_link_detach(fd) == 0 && unlink(path) == 0);
	close(fd);
}

static void expect_idle(struct fence_kernel *kernel)
{
	bool there;
	struct fence_source state = source_get(kernel, &there);

	cr_expect(there && state.tat[0] == 1 && state.refused == 8, "the rest stays");
	cr_expect(state.gauge[FENCE_OPEN] == 0 && state.gauge[FENCE_SHAKING] == 0);
	cr_expect(fence_kernel_totals(kernel)->gauge[FENCE_OPEN][FENCE_STRANGER] == 0);
}

Test(fence_kernel_pin, gauges_are_forgotten_where_the_links_were_absent)
{
	static const char *const names[] = {"link_sockops", "link_ingress"};
	struct fence_settings settings = pinned();

	box_bpffs();
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		struct fence_rules rules;
		struct fence_kernel *kernel = opened(&settings, &rules);

		state_put(kernel);
		fence_kernel_close(kernel, false);
		links_lose(names[i]);
		kernel = opened(&settings, &rules);
		expect_idle(kernel);
		fence_kernel_close(kernel, true);
	}
}

static uint64_t open_all(const struct fence_kernel *kernel)
{
	return __atomic_load_n(
		&fence_kernel_totals(kernel)->gauge[FENCE_OPEN][FENCE_STRANGER], __ATOMIC_RELAXED);
}

/* The last segments of a connection may take a moment. */
static bool open_becomes(const struct fence_kernel *kernel, uint64_t n)
{
	for (int i = 0; i < 1000 && open_all(kernel) != n; i++)
		usleep(1000);
	return open_all(kernel) == n;
}

/* A real connection that ends while no gateway runs, or after the links were away. */
Test(fence_kernel_pin, connections_of_the_gateway_before_us)
{
	static const bool links_stay[] = {true, false};
	struct fence_settings settings = pinned();
	int listener = box_listen(AF_INET);

	box_bpffs();
	for (size_t i = 0; i < COUNT_OF(links_stay); i++) {
		struct fence_kernel *kernel;
		struct fence_rules rules;
		struct err err = {""};
		struct box_pair first, second;

		cr_assert(box_kernel_open(&kernel, &settings, &rules, listener, &err) == 0, "%s",
			err.text);
		first = box_connect(listener);
		second = box_connect(listener);
		cr_expect(open_becomes(kernel, 2));
		fence_kernel_close(kernel, false);
		if (!links_stay[i])
			links_lose("link_sockops");
		close(first.client);
		close(first.server);
		kernel = opened(&settings, &rules);
		cr_expect(open_becomes(kernel, links_stay[i] ? 1 : 0));
		close(second.client);
		close(second.server);
		cr_expect(open_becomes(kernel, 0), "and never below");
		fence_kernel_close(kernel, true);
	}
	close(listener);
}

/* As a service manager does it: the old cgroup has gone, the new one is another. */
Test(fence_kernel_pin, another_cgroup)
{
	static const bool stays[] = {true, false};
	struct fence_settings settings = pinned();

	box_bpffs();
	for (size_t i = 0; i < COUNT_OF(stays); i++) {
		struct fence_rules rules;
		struct fence_kernel *kernel;
		uint32_t link;

		box_cgroup_enter("first");
		kernel = opened(&settings, &rules);
		state_put(kernel);
		link = box_link_id(kernel->links[0].fd);
		fence_kernel_close(kernel, false);
		if (stays[i])
			box_cgroup_enter("second");
		else
			box_cgroup_leave("first");
		kernel = opened(&settings, &rules);
		cr_expect(box_link_id(kernel->links[0].fd) != link);
		cr_expect(box_gone(box_link_lives, link), "nothing stays at the old one");
		expect_idle(kernel);
		fence_kernel_close(kernel, true);
		if (stays[i]) {
			box_cgroup_leave("second");
			box_cgroup_leave("first");
		}
	}
}

/* ---- what does not fit ---- */

Test(fence_kernel_pin, other_sizes_and_prefixes_cost_what_they_concern)
{
	static const struct {
		uint32_t sources_max, prefix_v4;
		bool source, behaved;
	} cases[] = {
		{2048, 32, false, true},
		{1024, 24, false, false},
		{1024, 32, true, true},
	};

	box_bpffs();
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct fence_settings settings = pinned();
		struct fence_rules rules;
		struct fence_kernel *kernel = opened(&settings, &rules);
		uint32_t link = box_link_id(kernel->links[0].fd);
		uint32_t sources = box_map_id(kernel->maps[KERNEL_MAP_SOURCES]);
		bool there;

		state_put(kernel);
		fence_kernel_close(kernel, false);
		settings.sources_max = cases[i].sources_max;
		settings.prefix_v4 = cases[i].prefix_v4;
		kernel = opened(&settings, &rules);
		(void)source_get(kernel, &there);
		cr_expect(there == cases[i].source && behaved(kernel) == cases[i].behaved,
			"case %zu", i);
		cr_expect(operators_nets(kernel) == 1);
		cr_expect(box_link_id(kernel->links[0].fd) == link, "without a moment between");
		if (!cases[i].source) {
			cr_expect(box_gone(box_map_lives, sources), "the old map");
			cr_expect(fence_kernel_totals(kernel)->gauge[FENCE_OPEN][FENCE_STRANGER] ==
				  0);
		}
		/* and the third one finds the second one's */
		sources = box_map_id(kernel->maps[KERNEL_MAP_SOURCES]);
		fence_kernel_close(kernel, false);
		kernel = opened(&settings, &rules);
		cr_expect(box_map_id(kernel->maps[KERNEL_MAP_SOURCES]) == sources);
		fence_kernel_close(kernel, true);
	}
}

Test(fence_kernel_pin, another_version_is_not_taken_over)
{
	struct fence_settings settings = pinned();
	struct fence_rules rules, other;
	struct fence_kernel *kernel;
	bool there;

	box_bpffs();
	kernel = opened(&settings, &rules);
	state_put(kernel);
	other = rules;
	other.abi = FENCE_ABI + 1;
	fence_kernel_rules(kernel, &other);
	fence_kernel_close(kernel, false);
	kernel = opened(&settings, &rules);
	(void)source_get(kernel, &there);
	cr_expect(!there && operators_nets(kernel) == 0 && !behaved(kernel));
	cr_expect(rules.hash_key[0] != other.hash_key[0]);
	fence_kernel_close(kernel, true);
}

/* ---- folders ---- */

Test(fence_kernel_pin, not_a_bpf_file_system)
{
	struct fence_settings settings = box_settings();
	char folder[] = "/tmp/postern-fence-XXXXXX";
	char made[64];
	struct fence_kernel *kernel;
	struct fence_rules rules;
	struct err err = {""};

	cr_assert_not_null(mkdtemp(folder));
	snprintf(made, sizeof(made), "%s/pin", folder);
	settings.pin = made;
	cr_expect(box_kernel_open(&kernel, &settings, &rules, -1, &err) == -1);
	cr_expect(strstr(err.text, made) != NULL && strstr(err.text, "mount -t bpf") != NULL, "%s",
		err.text);
	cr_expect(rmdir(folder) == 0, "no folder is left in it");
	cr_expect(box_kernel_open(&kernel, &settings, &rules, -1, &err) == -1);
	cr_expect(strstr(err.text, strerror(ENOENT)) != NULL, "%s", err.text);
}

Test(fence_kernel_pin, a_start_that_fails_leaves_the_state_and_no_program)
{
	const char *name = "fence9";
	struct fence_settings settings = pinned();
	struct fence_kernel *kernel;
	struct fence_rules rules;
	struct err err = {""};
	uint32_t link;
	bool there;

	box_bpffs();
	kernel = opened(&settings, &rules);
	state_put(kernel);
	link = box_link_id(kernel->links[0].fd);
	fence_kernel_close(kernel, false);
	settings.interfaces = &name;
	settings.interfaces_n = 1;
	cr_expect(box_kernel_open(&kernel, &settings, &rules, -1, &err) == -1);
	cr_expect(box_gone(box_link_lives, link));
	settings.interfaces_n = 0;
	kernel = opened(&settings, &rules);
	(void)source_get(kernel, &there);
	cr_expect(there && operators_nets(kernel) == 1);
	fence_kernel_close(kernel, true);
}

Test(fence_kernel_pin, interfaces_come_and_go)
{
	static const char *const names[] = {"fence0.25", "lo"};
	struct fence_settings settings = pinned();
	struct fence_rules rules;
	struct fence_kernel *kernel;
	size_t maps_n;
	uint32_t first, second;

	box_bpffs();
	box_run("ip link add fence0.25 type veth peer name fence1 && ip link set fence0.25 up && "
		"ip link set fence1 up");
	kernel = opened(&settings, &rules);
	maps_n = files_n(BOX_PIN) - 2;
	fence_kernel_close(kernel, false);
	settings.interfaces = names;
	settings.interfaces_n = 2;
	kernel = opened(&settings, &rules);
	cr_expect(files_n(BOX_PIN) == maps_n + 4);
	first = box_link_id(kernel->links[0].fd);
	second = box_link_id(kernel->links[1].fd);
	fence_kernel_close(kernel, false);

	settings.interfaces_n = 1;
	kernel = opened(&settings, &rules);
	cr_expect(box_link_id(kernel->links[0].fd) == first);
	cr_expect(box_gone(box_link_lives, second), "no more configured");
	cr_expect(files_n(BOX_PIN) == maps_n + 3);
	fence_kernel_close(kernel, false);

	/* An interface of the same name that is another one. */
	box_run("ip link del fence0.25 && ip link add fence0.25 type veth peer name fence1 && ip "
		"link set fence0.25 up && ip link set fence1 up");
	kernel = opened(&settings, &rules);
	cr_expect(box_link_id(kernel->links[0].fd) != first);
	cr_expect_str_eq(fence_kernel_hooks(kernel), "cgroup_skb sockops xdp:fence0.25 (native)");
	fence_kernel_close(kernel, true);
	cr_expect(access(BOX_PIN, F_OK) != 0);
}

Test(fence_kernel_pin, others_files_stay)
{
	struct fence_settings settings = pinned();
	struct fence_rules rules;
	struct fence_kernel *kernel;

	box_bpffs();
	cr_assert(mkdir(BOX_PIN, 0700) == 0 && mkdir(BOX_PIN "/theirs", 0700) == 0);
	kernel = opened(&settings, &rules);
	fence_kernel_close(kernel, true);
	cr_expect(access(BOX_PIN "/theirs", F_OK) == 0);
	cr_expect(files_n(BOX_PIN) == 1);
}

/* The first one's links would get the second one's programs, which do not know its sockets. */
Test(fence_kernel_pin, one_gateway_a_folder)
{
	struct fence_settings settings = pinned();
	struct fence_kernel *kernel, *second;
	struct fence_rules rules, again;
	struct err err = {""};
	uint32_t link, program;

	box_bpffs();
	kernel = opened(&settings, &rules);
	link = box_link_id(kernel->links[0].fd);
	program = box_link_program(kernel->links[0].fd);
	cr_expect(box_kernel_open(&second, &settings, &again, -1, &err) == -1);
	cr_expect(strstr(err.text, "another gateway") != NULL, "%s", err.text);
	cr_expect(box_link_lives(link) && box_link_program(kernel->links[0].fd) == program);
	fence_kernel_close(kernel, false);
	kernel = opened(&settings, &rules);
	fence_kernel_close(kernel, true);
}

/* Everybody may make a folder in the root of a bpf file system. */
Test(fence_kernel_pin, a_folder_of_somebody_else)
{
	static const struct {
		uid_t owner;
		mode_t mode;
		bool fits;
	} cases[] = {{65534, 0700, false}, {0, 0770, false}, {0, 0707, false}, {0, 0755, true}};
	struct fence_settings settings = pinned();

	box_bpffs();
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct fence_kernel *kernel;
		struct fence_rules rules;
		struct err err = {""};
		int res;

		cr_assert(mkdir(BOX_PIN, 0700) == 0 && chmod(BOX_PIN, cases[i].mode) == 0 &&
			  chown(BOX_PIN, cases[i].owner, 0) == 0);
		res = box_kernel_open(&kernel, &settings, &rules, -1, &err);
		cr_expect((res == 0) == cases[i].fits, "case %zu: %s", i, err.text);
		if (res == 0)
			fence_kernel_close(kernel, true);
		else
			cr_expect(files_n(BOX_PIN) == 0 && rmdir(BOX_PIN) == 0);
	}
}

/* Loopback is number 1 everywhere. */
Test(fence_kernel_pin, another_network_namespace)
{
	const char *name = "lo";
	struct fence_settings settings = pinned();
	LIBBPF_OPTS(bpf_xdp_query_opts, opts);
	struct fence_kernel *kernel;
	struct fence_rules rules;
	uint32_t link;
	int before;

	box_bpffs();
	settings.interfaces = &name;
	settings.interfaces_n = 1;
	kernel = opened(&settings, &rules);
	link = box_link_id(kernel->links[0].fd);
	fence_kernel_close(kernel, false);
	before = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	cr_assert(before >= 0 && unshare(CLONE_NEWNET) == 0);
	kernel = opened(&settings, &rules);
	cr_expect(box_link_id(kernel->links[0].fd) != link);
	cr_expect(box_gone(box_link_lives, link), "nothing stays at the old one");
	cr_expect(bpf_xdp_query(1, 0, &opts) == 0 &&
		  opts.prog_id == box_link_program(kernel->links[0].fd));
	fence_kernel_close(kernel, true);
	close(before);
}
