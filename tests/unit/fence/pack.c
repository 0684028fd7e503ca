/* SPDX-License-Identifier: MIT */
/* pack.c -- new settings on their way from the parent to the child, whole or damaged. */
#include "tests/unit/fence/kernel_box.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(fence_pack, .timeout = BOX_LIMIT_S);
TestSuite(fence_pack_kernel, .init = box_open, .fini = box_close, .timeout = BOX_LIMIT_S);

static const char *const allow[] = {"192.0.2.0/24"};
static const char *const block[] = {"198.51.100.0/24", "2001:db8::/32"};
static const char *const proxy[] = {"203.0.113.0/24"};

static struct fence_settings before(enum fence_mode mode)
{
	struct fence_settings settings = box_settings();

	settings.mode = mode;
	settings.connections_open = 5;
	settings.allow = allow;
	settings.allow_n = COUNT_OF(allow);
	return settings;
}

static struct fence_settings after(void)
{
	struct fence_settings settings = box_settings();

	settings.connections_open = 50;
	settings.connections.source = (struct fence_budget){10, 20};
	settings.prefix_v4 = 24; /* not to be changed by a reload */
	settings.block = block;
	settings.block_n = COUNT_OF(block);
	return settings;
}

static struct fence *opened(enum fence_mode mode)
{
	struct listener_settings listener = {
		.title = "smtp", .proxy = proxy, .proxy_n = COUNT_OF(proxy)};
	struct fence_settings settings = before(mode);
	struct err err = {""};
	struct fence *fence;

	cr_assert(fence_open(&fence, &settings, &listener, 1, NULL, 0, &err) == 0, "%s", err.text);
	return fence;
}

static enum fence_action listed(struct fence *fence, const char *address)
{
	struct network network = box_network(address);

	return fence_lists_match(fence->lists, network.address, 1);
}

static int packed(void)
{
	struct fence_settings settings = after();
	int fd = fence_pack(&settings);

	cr_assert(fd >= 0, "%s", strerror(-fd));
	return fd;
}

Test(fence_pack, taken_into_use)
{
	struct fence *fence = opened(FENCE_MODE_USER);
	struct network operators = box_network("192.0.2.7");
	struct fence_rules old = fence->rules;
	struct err err = {""};
	int fd = packed();

	cr_assert(fence_list_put(fence, &operators, FENCE_ACTION_BLOCK, 0) == 0);
	cr_expect(fence->rules.source_max[FENCE_OPEN][FENCE_STRANGER] == 5);
	for (int i = 0; i < 2; i++) { /* the same again changes nothing */
		cr_assert(fence_use(fence, fd, &err) == 0, "%s", err.text);
		cr_expect(fence->rules.source_max[FENCE_OPEN][FENCE_STRANGER] == 50);
		cr_expect(fence->rules.source[FENCE_CONNECTIONS][0].interval != 0);
		cr_expect(fence->rules.bits_v4 == 32, "as at the start");
		cr_expect_arr_eq(fence->rules.hash_key, old.hash_key, sizeof(old.hash_key));
		cr_expect(listed(fence, "192.0.2.1") == 0, "allowed no more");
		cr_expect(listed(fence, "198.51.100.1") == FENCE_ACTION_BLOCK);
		cr_expect(listed(fence, "2001:db8::1") == FENCE_ACTION_BLOCK);
		cr_expect(listed(fence, "203.0.113.1") == FENCE_ACTION_ALLOW, "the balancer");
		cr_expect(listed(fence, "192.0.2.7") == FENCE_ACTION_BLOCK, "the operator's");
	}
	close(fd);
	fence_close(fence);
}

Test(fence_pack, nothing_in_the_lists)
{
	struct fence_settings settings = box_settings();
	struct fence *fence = opened(FENCE_MODE_USER);
	struct err err = {""};
	int fd = fence_pack(&settings);

	cr_assert(fd >= 0 && fence_use(fence, fd, &err) == 0, "%s", err.text);
	cr_expect(fence_lists_count(fence->lists) == 1, "the balancer");
	close(fd);
	fence_close(fence);
}

Test(fence_pack, a_fence_that_is_off_stays_off)
{
	struct fence *fence = opened(FENCE_MODE_OFF);
	struct err err = {""};
	int fd = packed();

	cr_expect(fence_use(fence, fd, &err) == 0);
	cr_expect(fence->running == FENCE_RUNNING_OFF && fence->lists == NULL);
	close(fd);
	fence_close(fence);
}

Test(fence_pack, networks_that_are_none)
{
	static const char *const wrong[] = {"example.org"};
	struct fence_settings settings = after();

	settings.block = wrong;
	settings.block_n = 1;
	cr_expect(fence_pack(&settings) == -EINVAL);
}

/* Where struct packed and its entries have what. */
#define AT_MAGIC   0
#define AT_N       4
#define AT_ABI     8
#define AT_ENTRIES (8 + sizeof(struct fence_rules))
#define AT_BITS    (AT_ENTRIES + offsetof(struct fence_listed, net.bits))
#define AT_ADDRESS (AT_ENTRIES + offsetof(struct fence_listed, net.address) + 15)
#define AT_ACTION  (AT_ENTRIES + offsetof(struct fence_listed, entry.action))
#define AT_ORIGIN  (AT_ENTRIES + offsetof(struct fence_listed, entry.origin))

Test(fence_pack, damaged_ones_change_nothing)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} cases[] = {
		{AT_MAGIC, 0},
		{AT_N, 1},
		{AT_N, 3},
		{AT_N + 3, 0xff},
		{AT_ABI, FENCE_ABI + 1},
		{AT_BITS, 129},
		{AT_ADDRESS, 1}, /* behind the prefix */
		{AT_ACTION, 0},
		{AT_ACTION, 3},
		{AT_ORIGIN, FENCE_ORIGIN_OPERATOR},
	};
	struct fence *fence = opened(FENCE_MODE_USER);

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int fd = packed();
		struct err err = {""};

		cr_assert(pwrite(fd, &cases[i].byte, 1, (off_t)cases[i].at) == 1);
		cr_expect(fence_use(fence, fd, &err) == -1 && err.text[0] != '\0', "case %zu", i);
		cr_expect(fence->rules.source_max[FENCE_OPEN][FENCE_STRANGER] == 5);
		cr_expect(listed(fence, "192.0.2.1") == FENCE_ACTION_ALLOW);
		close(fd);
	}
	fence_close(fence);
}

Test(fence_pack, of_any_length)
{
	struct fence *fence = opened(FENCE_MODE_USER);
	struct stat stat;
	int whole = packed();

	cr_assert(fstat(whole, &stat) == 0);
	for (off_t n = 0; n < stat.st_size; n++) {
		struct err err = {""};

		cr_assert(ftruncate(whole, stat.st_size - 1 - n) == 0);
		cr_expect(fence_use(fence, whole, &err) == -1, "%ld cut off", (long)n + 1);
	}
	cr_expect(fence_use(fence, -1, &(struct err){""}) == -1);
	cr_expect(listed(fence, "192.0.2.1") == FENCE_ACTION_ALLOW);
	close(whole);
	fence_close(fence);
}

/* In a child that is nobody, as in the gateway; the parent looks into the kernel. */
static int use_as_nobody(void *ctx)
{
	struct fence *fence = ctx;
	int fd = packed();
	struct err err;

	fence_child(fence);
	if (box_become_nobody(0) != 0)
		return 1;
	return fence_use(fence, fd, &err) == 0 ? 0 : 2;
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

Test(fence_pack_kernel, changes_the_kernel_without_detaching)
{
	struct fence *fence = opened(FENCE_MODE_KERNEL);
	uint32_t link = box_link_id(fence->kernel->links[0].fd);
	uint32_t program = box_link_program(fence->kernel->links[0].fd);
	struct fence_rules rules;
	uint32_t zero = 0;

	cr_expect_eq(box_child(use_as_nobody, fence), 0);
	cr_assert(bpf_map_lookup_elem(fence->kernel->maps[KERNEL_MAP_RULES], &zero, &rules) == 0);
	cr_expect(rules.source_max[FENCE_OPEN][FENCE_STRANGER] == 50 && rules.bits_v4 == 32);
	cr_expect_arr_eq(rules.hash_key, fence->rules.hash_key, sizeof(rules.hash_key));
	cr_expect(listed_kernel(fence, "192.0.2.1") == 0);
	cr_expect(listed_kernel(fence, "198.51.100.1") == FENCE_ACTION_BLOCK);
	cr_expect(listed_kernel(fence, "203.0.113.1") == FENCE_ACTION_ALLOW);
	cr_expect(box_link_lives(link) && box_link_program(fence->kernel->links[0].fd) == program);
	fence_close(fence);
	cr_expect(box_gone(box_link_lives, link));
}
