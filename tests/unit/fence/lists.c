/* SPDX-License-Identifier: MIT */
/* Unit tests of fence/lists.c: which entry decides, expiry, the two origins, limits, the mirror. */
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/counter.h"

enum { NOTHING = 0, ALLOW = FENCE_ACTION_ALLOW, BLOCK = FENCE_ACTION_BLOCK };
enum { CONFIG = FENCE_ORIGIN_CONFIG, OPERATOR = FENCE_ORIGIN_OPERATOR };

static struct fence_lists *open_lists(void)
{
	struct fence_lists *lists = NULL;
	struct err err;

	cr_assert_eq(fence_lists_open(&lists, &err), 0, "%s", err.text);
	return lists;
}

static struct fence_net net_of(int action, int origin, uint64_t until_ns)
{
	return (struct fence_net){
		.action = (uint8_t)action, .origin = (uint8_t)origin, .until_ns = until_ns};
}

static void put(
	struct fence_lists *lists, const char *text, int action, int origin, uint64_t until_ns)
{
	struct network network = network_of_text(text);
	struct fence_net net = net_of(action, origin, until_ns);

	cr_assert_eq(fence_lists_put(lists, &network, &net), 0, "%s", text);
}

static bool drop(struct fence_lists *lists, const char *text)
{
	struct network network = network_of_text(text);

	return fence_lists_drop(lists, &network);
}

static int match(struct fence_lists *lists, const char *text, uint64_t now_ns)
{
	return (int)fence_lists_match(lists, address_of(text).octets, now_ns);
}

Test(fence_lists, the_longest_prefix_decides)
{
	static const struct {
		const char *address;
		int action;
	} cases[] = {
		{"192.0.2.1", BLOCK},
		{"192.0.2.200", ALLOW},
		{"192.0.2.201", BLOCK},
		{"192.0.3.1", NOTHING},
		{"10.1.2.3", ALLOW},
		{"10.128.0.1", BLOCK},
		{"2001:db8::1", ALLOW},
		{"2001:db8:1::1", BLOCK},
		{"2001:db9::1", NOTHING},
		{"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", ALLOW},
	};
	struct fence_lists *lists = open_lists();

	for (size_t i = 0; i < COUNT_OF(cases); i++)
		cr_expect_eq(match(lists, cases[i].address, 1), NOTHING, "empty");
	put(lists, "192.0.2.0/24", BLOCK, CONFIG, 0);
	put(lists, "192.0.2.200", ALLOW, CONFIG, 0);
	put(lists, "10.0.0.0/8", ALLOW, CONFIG, 0);
	put(lists, "10.128.0.0/9", BLOCK, CONFIG, 0);
	put(lists, "2001:db8::/32", ALLOW, CONFIG, 0);
	put(lists, "2001:db8:1::/48", BLOCK, CONFIG, 0);
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		cr_expect_eq(
			match(lists, cases[i].address, 1), cases[i].action, "%s", cases[i].address);
	put(lists, "0.0.0.0/0", BLOCK, CONFIG, 0);
	cr_expect_eq(match(lists, "192.0.3.1", 1), BLOCK);
	cr_expect_eq(match(lists, "192.0.2.200", 1), ALLOW);
	cr_expect_eq(match(lists, "2001:db9::1", 1), NOTHING);
	put(lists, "::/0", ALLOW, CONFIG, 0);
	cr_expect_eq(match(lists, "2001:db9::1", 1), ALLOW);
	fence_lists_close(lists);
}

/* Every length alone, and all of them at once: the bitmap has no hole. */
Test(fence_lists, every_length)
{
	struct fence_lists *all = open_lists();
	struct address address = address_of("8:8:8:8:8:8:8:8");

	memset(address.octets, 0xff, NETWORK_BYTES);
	for (int bits = 0; bits <= 128; bits++) {
		struct fence_lists *one = open_lists();
		struct fence_net net = net_of(BLOCK, CONFIG, 0);
		struct network network = {.bits = (uint8_t)bits};
		struct address other = address;
		struct fence_listed found;

		for (int i = 0; i < bits; i++)
			network.address[i / 8] |= (uint8_t)(0x80 >> i % 8);
		cr_assert_eq(fence_lists_put(one, &network, &net), 0, "/%d", bits);
		cr_assert_eq(fence_lists_put(all, &network, &net), 0, "/%d", bits);
		cr_expect_eq(fence_lists_match(one, address.octets, 1), BLOCK, "/%d", bits);
		cr_assert(fence_lists_find(all, address.octets, 1, &found));
		cr_expect_eq(found.net.bits, bits);
		if (bits > 0) {
			other.octets[(bits - 1) / 8] ^= (uint8_t)(0x80 >> (bits - 1) % 8);
			cr_expect_eq(fence_lists_match(one, other.octets, 1), 0, "/%d", bits);
			cr_assert(fence_lists_find(all, other.octets, 1, &found));
			cr_expect_eq(found.net.bits, bits - 1);
		}
		fence_lists_close(one);
	}
	fence_lists_close(all);
}

Test(fence_lists, what_has_expired_gives_way_to_the_next_shorter)
{
	struct fence_lists *lists = open_lists();

	put(lists, "10.0.0.0/8", BLOCK, CONFIG, 0);
	put(lists, "10.1.0.0/16", ALLOW, OPERATOR, 100);
	put(lists, "10.1.2.0/24", BLOCK, OPERATOR, 50);
	cr_expect_eq(match(lists, "10.1.2.3", 49), BLOCK);
	cr_expect_eq(match(lists, "10.1.2.3", 50), ALLOW);
	cr_expect_eq(match(lists, "10.1.2.3", 99), ALLOW);
	cr_expect_eq(match(lists, "10.1.2.3", 100), BLOCK);
	cr_expect_eq(fence_lists_count(lists), 3);
	fence_lists_expire(lists, 99);
	cr_expect_eq(fence_lists_count(lists), 2);
	fence_lists_expire(lists, 100);
	cr_expect_eq(fence_lists_count(lists), 1);
	cr_expect_eq(match(lists, "10.1.2.3", 100), BLOCK);
	fence_lists_close(lists);
}

Test(fence_lists, the_operator_overrules_the_configuration)
{
	struct fence_lists *lists = open_lists();
	struct fence_listed found;

	put(lists, "10.0.0.0/8", BLOCK, CONFIG, 0);
	put(lists, "10.0.0.0/8", ALLOW, OPERATOR, 100);
	cr_expect_eq(match(lists, "10.1.1.1", 99), ALLOW);
	cr_expect_eq(match(lists, "10.1.1.1", 100), BLOCK);
	put(lists, "10.0.0.0/8", ALLOW, OPERATOR, 0);
	cr_expect_eq(match(lists, "10.1.1.1", 100), ALLOW, "put again, for good");
	cr_assert(fence_lists_find(lists, address_of("10.1.1.1").octets, 1, &found));
	cr_expect_eq(found.entry.origin, OPERATOR);
	cr_expect_eq(fence_lists_count(lists), 2);
	cr_expect(drop(lists, "10.0.0.0/8"));
	cr_expect_eq(match(lists, "10.1.1.1", 100), BLOCK);
	cr_expect_not(drop(lists, "10.0.0.0/8"), "the configuration's is not an operator's");
	cr_expect_not(drop(lists, "10.0.0.0/9"));
	fence_lists_close(lists);
}

Test(fence_lists, each_goes_at_its_time)
{
	struct fence_lists *lists = open_lists();

	put(lists, "10.3.0.0/16", BLOCK, OPERATOR, 300);
	put(lists, "10.1.0.0/16", BLOCK, OPERATOR, 100);
	put(lists, "10.2.0.0/16", BLOCK, OPERATOR, 200);
	put(lists, "10.0.0.0/8", BLOCK, CONFIG, 0);
	put(lists, "10.1.0.0/16", BLOCK, OPERATOR, 250); /* longer, after all */
	fence_lists_expire(lists, 100);
	cr_expect_eq(fence_lists_count(lists), 4);
	fence_lists_expire(lists, 200);
	cr_expect_eq(fence_lists_count(lists), 3);
	put(lists, "10.3.0.0/16", BLOCK, OPERATOR, 220); /* shorter */
	fence_lists_expire(lists, 220);
	cr_expect_eq(fence_lists_count(lists), 2);
	cr_expect_eq(match(lists, "10.1.2.3", 220), BLOCK);
	fence_lists_expire(lists, 250);
	cr_expect_eq(fence_lists_count(lists), 1);
	fence_lists_expire(lists, UINT64_MAX);
	cr_expect_eq(fence_lists_count(lists), 1, "the configuration's");
	fence_lists_close(lists);
}

static struct fence_listed listed_of(const char *text, int action)
{
	return (struct fence_listed){network_of_text(text), net_of(action, CONFIG, 0)};
}

Test(fence_lists, a_reload_replaces_the_configurations)
{
	struct fence_lists *lists = open_lists();
	struct fence_listed first[] = {listed_of("10.0.0.0/8", ALLOW),
		listed_of("192.0.2.0/24", BLOCK), listed_of("2001:db8::/32", BLOCK)};
	struct fence_listed second[] = {listed_of("2001:db8::/32", ALLOW),
		listed_of("198.51.100.0/24", ALLOW), listed_of("198.51.100.0/24", BLOCK)};

	put(lists, "203.0.113.0/24", BLOCK, OPERATOR, 0);
	put(lists, "10.0.0.0/8", BLOCK, OPERATOR, 0);
	cr_assert_eq(fence_lists_config(lists, first, COUNT_OF(first)), 0);
	cr_expect_eq(fence_lists_count(lists), 5);
	cr_expect_eq(match(lists, "192.0.2.1", 1), BLOCK);
	cr_expect_eq(match(lists, "10.1.1.1", 1), BLOCK);
	cr_assert_eq(fence_lists_config(lists, second, COUNT_OF(second)), 0);
	cr_expect_eq(fence_lists_count(lists), 4);
	cr_expect_eq(match(lists, "192.0.2.1", 1), NOTHING);
	cr_expect_eq(match(lists, "2001:db8::1", 1), ALLOW);
	cr_expect_eq(match(lists, "198.51.100.1", 1), BLOCK, "of two the later one");
	cr_expect_eq(match(lists, "203.0.113.1", 1), BLOCK);
	cr_expect_eq(match(lists, "10.1.1.1", 1), BLOCK);
	cr_assert_eq(fence_lists_config(lists, NULL, 0), 0);
	cr_expect_eq(fence_lists_count(lists), 2);
	fence_lists_close(lists);
}

Test(fence_lists, senseless_entries_are_refused)
{
	struct fence_lists *lists = open_lists();
	struct network network = network_of_text("10.0.0.0/8");
	struct fence_net net = net_of(3, OPERATOR, 0);

	cr_expect_eq(fence_lists_put(lists, &network, &net), -EINVAL);
	net = net_of(BLOCK, 0, 0);
	cr_expect_eq(fence_lists_put(lists, &network, &net), -EINVAL);
	net = net_of(BLOCK, OPERATOR, 0);
	network.address[15] = 1;
	cr_expect_eq(fence_lists_put(lists, &network, &net), -EINVAL);
	network.bits = 129;
	cr_expect_eq(fence_lists_put(lists, &network, &net), -EINVAL);
	cr_expect_not(fence_lists_drop(lists, &network));
	cr_expect_eq(fence_lists_count(lists), 0);
	fence_lists_close(lists);
}

static struct network network_number(uint32_t n)
{
	struct network network = {.bits = 128};

	memcpy(network.address, address_number(n).octets, NETWORK_BYTES);
	return network;
}

Test(fence_lists, full)
{
	struct fence_lists *lists = open_lists();
	int64_t full = counter_sum(COUNTER_FENCE_FULL_NETS);
	struct fence_net net = net_of(BLOCK, OPERATOR, 0);
	struct fence_listed config[2] = {
		listed_of("192.0.2.0/24", BLOCK), listed_of("192.0.3.0/24", BLOCK)};
	struct network network;

	for (uint32_t n = 0; n < FENCE_NETS_MAX - 1; n++) {
		network = network_number(n);
		cr_assert_eq(fence_lists_put(lists, &network, &net), 0, "%u", n);
	}
	cr_expect_eq(fence_lists_config(lists, config, 2), -ENOSPC);
	cr_expect_eq(match(lists, "192.0.2.1", 1), NOTHING, "nothing was changed");
	cr_expect_eq(fence_lists_config(lists, config, 1), 0);
	network = network_number(FENCE_NETS_MAX);
	cr_expect_eq(fence_lists_put(lists, &network, &net), -ENOSPC);
	cr_expect_eq(counter_sum(COUNTER_FENCE_FULL_NETS), full + 2);
	network = network_number(5);
	cr_expect_eq(fence_lists_put(lists, &network, &net), 0, "one that is there needs no room");
	for (uint32_t n = 0; n < FENCE_NETS_MAX - 1; n++) {
		network = network_number(n);
		cr_assert_eq(fence_lists_match(lists, network.address, 1), BLOCK, "%u", n);
		cr_assert(fence_lists_drop(lists, &network), "%u", n);
		cr_assert_eq(fence_lists_match(lists, network.address, 1), 0, "%u", n);
	}
	cr_expect_eq(fence_lists_count(lists), 1);
	cr_expect_eq(match(lists, "192.0.2.1", 1), BLOCK);
	fence_lists_close(lists);
}

/* Room that an operator's entry had is there again. */
Test(fence_lists, full_of_the_configurations)
{
	struct fence_lists *lists = open_lists();
	struct fence_listed *config = calloc(FENCE_NETS_MAX, sizeof(*config));

	cr_assert_not_null(config);
	for (uint32_t n = 0; n < FENCE_NETS_MAX; n++)
		config[n] = (struct fence_listed){network_number(n), net_of(ALLOW, CONFIG, 0)};
	put(lists, "192.0.2.0/24", BLOCK, OPERATOR, 0);
	cr_expect_eq(fence_lists_config(lists, config, FENCE_NETS_MAX), -ENOSPC);
	cr_expect(drop(lists, "192.0.2.0/24"));
	cr_expect_eq(fence_lists_config(lists, config, FENCE_NETS_MAX), 0);
	cr_expect_eq(fence_lists_count(lists), FENCE_NETS_MAX);
	for (uint32_t n = 0; n < FENCE_NETS_MAX; n++)
		config[n].net = network_number(n + FENCE_NETS_MAX);
	cr_expect_eq(fence_lists_config(lists, config, FENCE_NETS_MAX), 0, "all of them others");
	cr_expect_eq(match(lists, "10.0.0.1", 1), NOTHING);
	cr_expect_eq(match(lists, "10.1.0.1", 1), ALLOW);
	free(config);
	fence_lists_close(lists);
}

Test(fence_lists, copied_out_in_parts)
{
	struct fence_lists *lists = open_lists();
	struct fence_listed out[4];
	bool seen[10] = {0};
	size_t from = 0, n;

	for (uint32_t i = 0; i < 10; i++) {
		struct network network = network_number(i);
		struct fence_net net = net_of(BLOCK, OPERATOR, i + 1);

		cr_assert_eq(fence_lists_put(lists, &network, &net), 0);
	}
	for (; (n = fence_lists_copy(lists, from, out, COUNT_OF(out))) > 0; from += n)
		for (size_t i = 0; i < n; i++) {
			cr_expect_eq(out[i].entry.until_ns, out[i].net.address[15] + 1u);
			seen[out[i].net.address[15]] = true;
		}
	cr_expect_eq(from, 10);
	for (size_t i = 0; i < 10; i++)
		cr_expect(seen[i], "%zu", i);
	fence_lists_close(lists);
}

/* ---- what the kernel is told ---- */

struct mirror {
	unsigned calls;
	uint8_t bits;
	struct fence_net net;
};

static void changed(void *ctx, const struct network *network, const struct fence_net *net)
{
	struct mirror *mirror = ctx;

	mirror->calls++;
	mirror->bits = network->bits;
	mirror->net = *net;
}

Test(fence_lists, the_kernel_is_told_what_decides)
{
	struct fence_lists *lists = open_lists();
	struct fence_listed config = listed_of("10.0.0.0/8", BLOCK);
	struct mirror mirror = {0};

	fence_lists_on_change(lists, changed, &mirror);
	cr_assert_eq(fence_lists_config(lists, &config, 1), 0);
	cr_expect_eq(mirror.calls, 1);
	cr_expect_eq(mirror.bits, 104);
	cr_expect_eq(mirror.net.action, BLOCK);
	put(lists, "10.0.0.0/8", ALLOW, OPERATOR, 100);
	cr_expect_eq(mirror.net.action, ALLOW);
	cr_expect_eq(mirror.net.until_ns, 100);
	cr_assert_eq(fence_lists_config(lists, &config, 1), 0);
	cr_expect_eq(mirror.net.action, ALLOW, "a reload does not undo the operator's");
	fence_lists_expire(lists, 100);
	cr_expect_eq(mirror.net.action, BLOCK, "the configuration's comes back");
	cr_expect_eq(mirror.net.origin, CONFIG);
	cr_assert_eq(fence_lists_config(lists, NULL, 0), 0);
	cr_expect_eq(mirror.net.action, NOTHING);
	mirror.calls = 0;
	fence_lists_expire(lists, 1000);
	cr_expect_eq(mirror.calls, 0);
	fence_lists_close(lists);
}

Test(fence_lists, forgotten_without_a_word)
{
	struct fence_lists *lists = open_lists();
	struct mirror mirror = {0};

	put(lists, "10.0.0.0/8", BLOCK, CONFIG, 0);
	put(lists, "10.0.0.0/8", ALLOW, OPERATOR, 0);
	put(lists, "10.1.0.0/16", ALLOW, OPERATOR, 100);
	fence_lists_on_change(lists, changed, &mirror);
	fence_lists_forget(lists);
	cr_expect_eq(mirror.calls, 0);
	cr_expect_eq(fence_lists_count(lists), 1);
	cr_expect_eq(match(lists, "10.1.2.3", 50), BLOCK, "the configuration's stays");
	cr_expect_not(drop(lists, "10.1.0.0/16"));
	fence_lists_close(lists);
}

/* ---- readers while the writer writes ---- */

struct reader {
	struct fence_lists *lists;
	bool stop; /* atomic */
	unsigned wrong;
};

static void *read_on(void *arg)
{
	struct reader *reader = arg;
	struct address always = address_of("192.0.2.1");

	while (!__atomic_load_n(&reader->stop, __ATOMIC_RELAXED))
		if (fence_lists_match(reader->lists, always.octets, 1) != FENCE_ACTION_BLOCK)
			reader->wrong++;
	return NULL;
}

Test(fence_lists, readers_see_whole_entries)
{
	struct reader reader = {.lists = open_lists()};
	struct fence_net net = net_of(ALLOW, OPERATOR, 0);
	pthread_t thread;

	put(reader.lists, "192.0.2.0/24", BLOCK, CONFIG, 0);
	cr_assert_eq(pthread_create(&thread, NULL, read_on, &reader), 0);
	for (uint32_t i = 0; i < 20000; i++) {
		struct network network = network_number(i % 50);

		if (i % 100 < 50)
			cr_assert_eq(fence_lists_put(reader.lists, &network, &net), 0);
		else
			cr_assert(fence_lists_drop(reader.lists, &network));
	}
	__atomic_store_n(&reader.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	cr_expect_eq(reader.wrong, 0);
	fence_lists_close(reader.lists);
}
