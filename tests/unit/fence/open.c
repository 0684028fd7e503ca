/* SPDX-License-Identifier: MIT */
/*
 * open.c -- who does the work in each mode, what it says where it is not the kernel, and what comes
 * of balancers, lists and pins.
 */
#include "tests/unit/fence/kernel_box.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <string.h>
#include <unistd.h>

TestSuite(fence_open, .timeout = BOX_LIMIT_S);
TestSuite(fence_open_kernel, .init = box_open, .fini = box_close, .timeout = BOX_LIMIT_S);

static const char *const allow[] = {"192.0.2.0/24", "2001:db8::/32"};
static const char *const block[] = {"192.0.2.128/25"};
static const char *const proxy[] = {"198.51.100.0/24", "192.0.2.128/25"};

static struct fence_settings settings_of(enum fence_mode mode)
{
	struct fence_settings settings = box_settings();

	settings.mode = mode;
	settings.allow = allow;
	settings.allow_n = COUNT_OF(allow);
	settings.block = block;
	settings.block_n = COUNT_OF(block);
	return settings;
}

static int open_fence(
	struct fence **out, const struct fence_settings *settings, int fd, struct err *err)
{
	struct listener_settings listener = {.title = "smtp",
		.tls = LISTENER_TLS_STARTTLS,
		.proxy = proxy,
		.proxy_n = COUNT_OF(proxy)};

	*out = NULL;
	return fence_open(out, settings, &listener, fd >= 0, &fd, 1, err);
}

static struct fence *opened(const struct fence_settings *settings, int fd)
{
	struct fence *fence;
	struct err err = {""};

	cr_assert(open_fence(&fence, settings, fd, &err) == 0, "%s", err.text);
	return fence;
}

static enum fence_action listed(struct fence *fence, const char *address)
{
	struct network network = box_network(address);

	return fence_lists_match(fence->lists, network.address, 1);
}

static uint8_t listed_kernel(struct fence *fence, const char *address)
{
	struct network network = box_network(address);
	struct fence_net_key key = {.bits = 128};
	struct fence_net net = {0};

	memcpy(key.address, network.address, sizeof(key.address));
	if (bpf_map_lookup_elem(fence->kernel->maps[KERNEL_MAP_NETS], &key, &net) != 0)
		return 0;
	return net.action;
}

/* ---- without the kernel ---- */

Test(fence_open, off_is_nothing)
{
	struct fence_settings settings = settings_of(FENCE_MODE_OFF);
	struct fence *fence = opened(&settings, -1);
	struct fence_status status;
	struct fence_counts counts;

	fence_status(fence, &status);
	cr_expect(status.running == FENCE_RUNNING_OFF && status.pin == NULL);
	cr_expect_str_eq(status.why, "");
	cr_expect_str_eq(status.hooks, "");
	fence_counts(fence, &counts);
	cr_expect(fence_fd(fence) == -1);
	fence_turn(fence);
	fence_child(fence);
	fence_close(fence);
	fence_close(NULL);
	fence_forget(NULL);
	fence_child(NULL);
}

Test(fence_open, user_is_lists_and_limiter)
{
	struct fence_settings settings = settings_of(FENCE_MODE_USER);
	static const char *const nowhere[] = {"fence9"};
	struct fence_status status;
	struct fence *fence;

	settings.interfaces = nowhere; /* not asked for */
	settings.interfaces_n = 1;
	fence = opened(&settings, 0);
	fence_status(fence, &status);
	cr_expect(status.running == FENCE_RUNNING_USER && status.pin == NULL);
	cr_expect_str_eq(status.why, "");
	cr_expect(status.nets == 4, "%u of the settings, one of balancers", (unsigned)status.nets);
	cr_expect(status.sources_max == 1024 && status.rules == &fence->rules);
	cr_expect(listed(fence, "192.0.2.1") == FENCE_ACTION_ALLOW);
	cr_expect(listed(fence, "2001:db8::1") == FENCE_ACTION_ALLOW);
	cr_expect(listed(fence, "198.51.100.7") == FENCE_ACTION_ALLOW, "a balancer");
	cr_expect(listed(fence, "192.0.2.200") == FENCE_ACTION_BLOCK, "blocked stands above");
	cr_expect(listed(fence, "203.0.113.1") == 0);
	cr_expect_null(fence->fixed.allow);
	fence_forget(fence);
}

Test(fence_open, a_network_that_is_none)
{
	static const char *const wrong[] = {"192.0.2.0/24", "192.0.2.0/33"};
	struct fence_settings settings = settings_of(FENCE_MODE_USER);
	struct err err = {""};
	struct fence *fence;

	settings.block = wrong;
	settings.block_n = COUNT_OF(wrong);
	cr_expect(open_fence(&fence, &settings, 0, &err) == -1);
	cr_expect(strstr(err.text, "192.0.2.0/33") != NULL, "%s", err.text);
}

Test(fence_open, penalties_and_good_conduct_are_counted)
{
	struct fence_settings settings = settings_of(FENCE_MODE_USER);
	struct fence *fence = opened(&settings, -1);
	const uint8_t sources[2][NETWORK_BYTES] = {{1}, {2}};
	struct fence_entry *entries[2];
	struct fence_status status;
	uint64_t now = fence_now_ns();

	for (int i = 0; i < 2; i++)
		entries[i] = fence_limiter_hold(fence->limiter, sources[i], now);
	entries[0]->behaved_until_ns = now + 1000 * FENCE_NS;
	entries[1]->behaved_until_ns = 1;
	entries[1]->penalty_until_ns = now + 1000 * FENCE_NS;
	fence_limiter_totals(fence->limiter)->gauge[FENCE_SHAKING][FENCE_BEHAVED] = 5;
	fence_status(fence, &status);
	fence_sizes(fence, &status);
	cr_expect(status.sources_user == 2 && status.sources_kernel == 0);
	cr_expect(status.behaved == 1 && status.penalties == 1);
	cr_expect(status.totals.gauge[FENCE_SHAKING][FENCE_BEHAVED] == 5);
	for (int i = 0; i < 2; i++)
		fence_limiter_release(fence->limiter, entries[i]);
	fence_close(fence);
}

/* ---- as nobody ---- */

static int open_as_nobody(void *ctx)
{
	struct fence_settings settings = settings_of(*(const enum fence_mode *)ctx);
	struct fence_status status;
	struct fence *fence;
	struct err err = {""};

	if (geteuid() == 0 && box_become_nobody(0) != 0)
		return 1;
	if (open_fence(&fence, &settings, -1, &err) != 0)
		return strstr(err.text, "mode = kernel is not possible: no CAP_BPF") != NULL ? 10
											     : 2;
	fence_status(fence, &status);
	if (status.running != FENCE_RUNNING_USER || strstr(status.why, "grant CAP_BPF") == NULL)
		return 3;
	if (listed(fence, "192.0.2.1") != FENCE_ACTION_ALLOW || fence_fd(fence) != -1)
		return 4;
	fence_close(fence);
	return 11;
}

Test(fence_open, auto_falls_back_and_says_why)
{
	enum fence_mode mode = FENCE_MODE_AUTO;

	cr_expect_eq(box_child(open_as_nobody, &mode), 11);
}

Test(fence_open, kernel_does_not_fall_back)
{
	enum fence_mode mode = FENCE_MODE_KERNEL;

	cr_expect_eq(box_child(open_as_nobody, &mode), 10);
}

Test(fence_open, an_interface_that_is_not_there_is_said_in_both_modes)
{
	static const enum fence_mode modes[] = {FENCE_MODE_AUTO, FENCE_MODE_KERNEL};
	static const char *const nowhere[] = {"lo", "fence9"};

	for (size_t i = 0; i < COUNT_OF(modes); i++) {
		struct fence_settings settings = settings_of(modes[i]);
		struct err err = {""};
		struct fence *fence;

		settings.interfaces = nowhere;
		settings.interfaces_n = COUNT_OF(nowhere);
		cr_expect(open_fence(&fence, &settings, -1, &err) == -1);
		cr_expect(strstr(err.text, "no interface \"fence9\"") != NULL, "%s", err.text);
	}
}

/* ---- in the kernel ---- */

Test(fence_open_kernel, runs_there_and_mirrors_the_lists)
{
	static const enum fence_mode modes[] = {FENCE_MODE_AUTO, FENCE_MODE_KERNEL};

	for (size_t i = 0; i < COUNT_OF(modes); i++) {
		struct fence_settings settings = settings_of(modes[i]);
		struct network network = box_network("203.0.113.0/24");
		int listener = box_listen(AF_INET);
		struct fence *fence = opened(&settings, listener);
		struct fence_status status;

		fence_status(fence, &status);
		cr_expect(status.running == FENCE_RUNNING_KERNEL);
		cr_expect_str_eq(status.why, "");
		cr_expect_str_eq(status.hooks, "cgroup_skb sockops");
		cr_expect(fence_fd(fence) >= 0);
		cr_expect(listed_kernel(fence, "192.0.2.1") == FENCE_ACTION_ALLOW);
		cr_expect(listed_kernel(fence, "192.0.2.200") == FENCE_ACTION_BLOCK);
		cr_expect(listed_kernel(fence, "198.51.100.1") == FENCE_ACTION_ALLOW);
		cr_expect(listed_kernel(fence, "203.0.113.1") == 0);
		cr_assert(fence_list_put(fence, &network, FENCE_ACTION_BLOCK, 0) == 0);
		cr_expect(listed_kernel(fence, "203.0.113.1") == FENCE_ACTION_BLOCK);
		cr_expect(fence_list_drop(fence, &network));
		cr_expect(listed_kernel(fence, "203.0.113.1") == 0);
		fence_close(fence);
		close(listener);
	}
}

Test(fence_open_kernel, gauges_and_times_of_both)
{
	struct fence_settings settings = settings_of(FENCE_MODE_KERNEL);
	struct fence *fence = opened(&settings, -1);
	struct fence_totals *user = fence_limiter_totals(fence->limiter);
	struct fence_totals kernel = {
		.tat = {{7, 2}}, .gauge = {[FENCE_OPEN] = {[FENCE_STRANGER] = 3}}};
	struct fence_status status;
	uint32_t zero = 0;

	cr_assert(bpf_map_update_elem(
			  fence->kernel->maps[KERNEL_MAP_TOTALS], &zero, &kernel, BPF_ANY) == 0);
	user->tat[0][0] = 5;
	user->tat[0][1] = 9;
	user->gauge[FENCE_OPEN][FENCE_STRANGER] = 4;
	fence_kernel_behaved(fence->kernel, (const uint8_t[NETWORK_BYTES]){1}, UINT64_MAX);
	fence_status(fence, &status);
	cr_expect(status.totals.tat[0][0] == 7 && status.totals.tat[0][1] == 9);
	cr_expect(status.totals.gauge[FENCE_OPEN][FENCE_STRANGER] == 7);
	cr_expect(status.behaved == 0, "not asked");
	fence_sizes(fence, &status);
	cr_expect(status.behaved == 1);
	fence_close(fence);
}

Test(fence_open_kernel, counts_by_who_decided)
{
	struct fence_settings settings = settings_of(FENCE_MODE_KERNEL);
	int listener = box_listen(AF_INET);
	struct fence *fence = opened(&settings, listener);
	struct box_pair pair = box_connect(listener);
	struct fence_counts counts;

	fence_limiter_count(fence->limiter, FENCE_HANDSHAKE, FENCE_OVER_SHAKING, 3);
	fence_counts(fence, &counts);
	cr_expect(counts.by[1][FENCE_HANDSHAKE][FENCE_OVER_SHAKING].packets == 1);
	cr_expect(counts.by[0][FENCE_HANDSHAKE][FENCE_OVER_SHAKING].packets == 0);
	cr_expect(counts.by[0][FENCE_NEW][FENCE_PASS].packets == 1, "the SYN");
	close(pair.client);
	close(pair.server);
	fence_close(fence);
}

static int status_of_opened(void *ctx)
{
	const char *words = ctx;
	struct fence_settings settings = settings_of(FENCE_MODE_AUTO);
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	struct fence_status status;
	struct fence *fence;
	struct err err;

	if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(bpf), 0) != 0 ||
		seccomp_load(filter) != 0 || open_fence(&fence, &settings, -1, &err) != 0)
		return 1;
	fence_status(fence, &status);
	return status.running == FENCE_RUNNING_USER && strstr(status.why, words) != NULL ? 0 : 2;
}

Test(fence_open_kernel, a_kernel_without_bpf)
{
	char words[] = "no bpf(2)";

	cr_expect_eq(box_child(status_of_opened, words), 0);
}

/* ---- pinned ---- */

Test(fence_open_kernel, operators_entries_outlive_the_gateway)
{
	struct fence_settings settings = settings_of(FENCE_MODE_KERNEL);
	struct network network = box_network("203.0.113.0/24");
	struct network allowed = box_network("192.0.2.0/24");
	struct fence_status status;
	struct fence *fence;
	uint32_t link;

	box_bpffs();
	settings.pin = BOX_PIN;
	fence = opened(&settings, -1);
	fence_status(fence, &status);
	cr_expect_str_eq(status.pin, BOX_PIN);
	cr_assert(fence_list_put(fence, &network, FENCE_ACTION_BLOCK, 0) == 0);
	cr_assert(fence_list_put(fence, &allowed, FENCE_ACTION_BLOCK, 0) == 0);
	link = box_link_id(fence->kernel->links[0].fd);
	fence_close(fence);
	cr_expect(box_link_lives(link), "pinned");

	settings.allow_n = 1;
	fence = opened(&settings, -1);
	cr_expect(listed(fence, "203.0.113.1") == FENCE_ACTION_BLOCK);
	cr_expect(listed_kernel(fence, "203.0.113.1") == FENCE_ACTION_BLOCK);
	cr_expect(
		listed_kernel(fence, "192.0.2.1") == FENCE_ACTION_BLOCK, "the operator's decides");
	cr_expect(listed_kernel(fence, "2001:db8::1") == 0, "no more in the configuration");
	cr_expect(fence_list_drop(fence, &allowed));
	cr_expect(listed_kernel(fence, "192.0.2.1") == FENCE_ACTION_ALLOW);
	fence_kernel_close(fence->kernel, true);
	fence->kernel = NULL;
	fence_lists_on_change(fence->lists, NULL, NULL);
	fence_close(fence);
	cr_expect(box_gone(box_link_lives, link));
}

static int put_and_end(void *ctx)
{
	struct fence *fence = ctx;
	struct network network = box_network("203.0.113.0/24");
	int res;

	fence_child(fence);
	res = fence_list_put(fence, &network, FENCE_ACTION_BLOCK, 0);
	fence_forget(fence);
	return res == 0 ? 0 : 1;
}

/* The next child starts with what the parent has in memory. */
static int look_and_end(void *ctx)
{
	struct fence *fence = ctx;
	bool before = listed(fence, "203.0.113.1") == 0;

	fence_child(fence);
	return before && listed(fence, "203.0.113.1") == FENCE_ACTION_BLOCK ? 0 : 1;
}

Test(fence_open_kernel, operators_entries_outlive_the_child)
{
	struct fence_settings settings = settings_of(FENCE_MODE_KERNEL);
	struct fence *fence = opened(&settings, -1);
	uint32_t link = box_link_id(fence->kernel->links[0].fd);

	cr_expect_eq(box_child(put_and_end, fence), 0);
	cr_expect(box_link_lives(link), "the child's end detaches nothing");
	cr_expect_eq(box_child(look_and_end, fence), 0);
	fence_close(fence);
	cr_expect(box_gone(box_link_lives, link));
}

static int drop_and_end(void *ctx)
{
	struct fence *fence = ctx;
	struct network network = box_network("203.0.113.0/24");

	fence_child(fence);
	return fence_list_drop(fence, &network) ? 0 : 1;
}

static int nothing_listed(void *ctx)
{
	struct fence *fence = ctx;

	fence_child(fence);
	return listed(fence, "203.0.113.1") == 0 && listed_kernel(fence, "203.0.113.1") == 0 ? 0
											     : 1;
}

/* The parent found it pinned, at the start, and is not told when a child takes it away. */
Test(fence_open_kernel, an_operators_entry_that_was_taken_away_stays_away)
{
	struct fence_settings settings = settings_of(FENCE_MODE_KERNEL);
	struct network network = box_network("203.0.113.0/24");
	struct fence *fence = opened(&settings, -1);

	cr_assert_eq(fence_list_put(fence, &network, FENCE_ACTION_BLOCK, 0), 0);
	cr_expect_eq(box_child(drop_and_end, fence), 0);
	cr_expect_eq(box_child(nothing_listed, fence), 0);
	fence_close(fence);
}

static const uint8_t good[NETWORK_BYTES] = {
	[10] = 0xff, [11] = 0xff, [12] = 203, [14] = 113, [15] = 9};
static const uint8_t bad[NETWORK_BYTES] = {
	[10] = 0xff, [11] = 0xff, [12] = 203, [14] = 113, [15] = 8};

static int judge_and_end(void *ctx)
{
	struct fence *fence = ctx;

	fence_child(fence);
	fence_kernel_behaved(fence->kernel, good, fence_now_ns() + 60 * FENCE_NS);
	fence_kernel_penalty(fence->kernel, bad, fence_now_ns() + 60 * FENCE_NS);
	fence_forget(fence);
	return 0;
}

static int judged_and_end(void *ctx)
{
	struct fence *fence = ctx;
	struct fence_entry before, well, badly;
	bool none = !fence_limiter_find(fence->limiter, good, &before);
	bool both;

	fence_child(fence);
	both = fence_limiter_find(fence->limiter, good, &well) &&
	       fence_limiter_find(fence->limiter, bad, &badly);
	return none && both && well.behaved_until_ns > fence_now_ns() &&
			       badly.penalty_until_ns > fence_now_ns()
		       ? 0
		       : 1;
}

Test(fence_open_kernel, standing_outlives_the_child)
{
	struct fence_settings settings = settings_of(FENCE_MODE_KERNEL);
	struct fence *fence = opened(&settings, -1);

	cr_expect_eq(box_child(judge_and_end, fence), 0);
	cr_expect_eq(box_child(judged_and_end, fence), 0);
	fence_close(fence);
}

Test(fence_open_kernel, a_pin_outside_a_bpf_file_system)
{
	struct fence_settings settings = settings_of(FENCE_MODE_AUTO);
	struct fence_status status;
	struct fence *fence;
	struct err err = {""};

	settings.pin = "/tmp";
	fence = opened(&settings, -1);
	fence_status(fence, &status);
	cr_expect(status.running == FENCE_RUNNING_USER && status.pin == NULL);
	cr_expect(strstr(status.why, "mount -t bpf") != NULL, "%s", status.why);
	fence_close(fence);
	settings.mode = FENCE_MODE_KERNEL;
	cr_expect(open_fence(&fence, &settings, -1, &err) == -1);
	cr_expect(strstr(err.text, "mount -t bpf") != NULL, "%s", err.text);
}

/* ---- SYN cookies ---- */

Test(fence_open, syncookies_that_are_off)
{
	static const struct {
		const char *text;
		bool off;
	} cases[] = {{"0\n", true}, {"0", true}, {"1\n", false}, {"2\n", false}, {"01\n", false},
		{"", false}};
	char path[] = "/tmp/postern-syncookies-XXXXXX";
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		size_t n = strlen(cases[i].text);

		cr_assert_eq(ftruncate(fd, 0), 0);
		cr_assert_eq(pwrite(fd, cases[i].text, n, 0), (ssize_t)n);
		cr_expect_eq(fence_syncookies_off(path), cases[i].off, "case %zu", i);
	}
	close(fd);
	unlink(path);
	cr_expect_not(fence_syncookies_off(path), "not there");
}
