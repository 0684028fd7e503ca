/* SPDX-License-Identifier: MIT */
/* Unit tests of policy/counts.c: limits, what counts as one address, threads. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "policy/counts-private.h"

static struct sockaddr_storage peer_of(const char *text)
{
	struct sockaddr_storage peer = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&peer;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&peer;

	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(4711);
		return peer;
	}
	cr_assert_eq(inet_pton(AF_INET6, text, &v6->sin6_addr), 1, "%s", text);
	v6->sin6_family = AF_INET6;
	return peer;
}

static struct counts *open_counts(uint32_t sessions_max, uint32_t per_address_max)
{
	struct counts *counts = NULL;

	cr_assert_eq(counts_open(&counts, sessions_max, per_address_max), 0);
	return counts;
}

static enum policy_door enter(struct counts *counts, const char *text)
{
	struct sockaddr_storage peer = peer_of(text);
	struct network_end end = network_end_of(&peer);

	return counts_enter(counts, end.address);
}

static void leave(struct counts *counts, const char *text)
{
	struct sockaddr_storage peer = peer_of(text);
	struct network_end end = network_end_of(&peer);

	counts_leave(counts, end.address);
}

Test(counts, limit_of_an_address)
{
	struct counts *counts = open_counts(10, 2);

	cr_expect_eq(enter(counts, "192.0.2.1"), POLICY_DOOR_OPEN);
	cr_expect_eq(enter(counts, "192.0.2.1"), POLICY_DOOR_OPEN);
	cr_expect_eq(enter(counts, "192.0.2.1"), POLICY_DOOR_ADDRESS_FULL);
	cr_expect_eq(enter(counts, "192.0.2.2"), POLICY_DOOR_OPEN);
	leave(counts, "192.0.2.1");
	cr_expect_eq(enter(counts, "192.0.2.1"), POLICY_DOOR_OPEN);
	cr_expect_eq(enter(counts, "192.0.2.1"), POLICY_DOOR_ADDRESS_FULL);
	counts_close(counts);
}

/* A refusal takes no place, neither in the total nor of an address. */
Test(counts, limit_of_all)
{
	struct counts *counts = open_counts(3, 2);

	for (int i = 0; i < 100; i++) {
		cr_assert_eq(enter(counts, "192.0.2.1"), POLICY_DOOR_OPEN);
		cr_assert_eq(enter(counts, "192.0.2.1"), POLICY_DOOR_OPEN);
		cr_assert_eq(enter(counts, "192.0.2.1"), POLICY_DOOR_ADDRESS_FULL);
		cr_assert_eq(enter(counts, "192.0.2.2"), POLICY_DOOR_OPEN);
		cr_assert_eq(enter(counts, "192.0.2.3"), POLICY_DOOR_FULL);
		cr_assert_eq(enter(counts, "192.0.2.1"), POLICY_DOOR_FULL);
		leave(counts, "192.0.2.1");
		cr_assert_eq(enter(counts, "192.0.2.3"), POLICY_DOOR_OPEN);
		leave(counts, "192.0.2.1");
		leave(counts, "192.0.2.2");
		leave(counts, "192.0.2.3");
	}
	counts_close(counts);
}

struct pair_case {
	const char *a;
	const char *b;
	bool same;
};

Test(counts, what_counts_as_one_address)
{
	static const struct pair_case cases[] = {
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "::192.0.2.1", false},
		{"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
		{"2001:db8::1", "2001:db8::2", true},
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"::1", "::2", true},
		{"::1", "127.0.0.1", false},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct counts *counts = open_counts(10, 1);

		cr_expect_eq(enter(counts, cases[i].a), POLICY_DOOR_OPEN);
		cr_expect_eq(enter(counts, cases[i].b) == POLICY_DOOR_ADDRESS_FULL, cases[i].same,
			"%s %s", cases[i].a, cases[i].b);
		counts_close(counts);
	}
}

/* As many addresses as there are entries, again and again in another order: none is lost. */
Test(counts, entries_are_reused)
{
	enum { PEERS = 1000 };
	struct counts *counts = open_counts(PEERS, 1);
	char text[32];

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < PEERS; i++) {
			snprintf(text, sizeof(text), "10.%d.%d.1", i / 250, i % 250);
			cr_assert_eq(enter(counts, text), POLICY_DOOR_OPEN);
		}
		cr_assert_eq(enter(counts, "192.0.2.1"), POLICY_DOOR_FULL);
		for (int i = 0; i < PEERS; i++) {
			int k = (i * 7 + round) % PEERS;

			snprintf(text, sizeof(text), "10.%d.%d.1", k / 250, k % 250);
			leave(counts, text);
		}
	}
	counts_close(counts);
}

#define THREADS      4
#define THREAD_TURNS 20000
#define SHARED_MAX   3

struct crowd {
	struct counts *counts;
	int inside; /* sessions of the shared address, as seen from outside the counts */
	int inside_max;
	int entered;
};

static void *shove(void *arg)
{
	struct crowd *crowd = arg;
	struct sockaddr_storage peer = peer_of("192.0.2.1");
	struct network_end end = network_end_of(&peer);

	for (int i = 0; i < THREAD_TURNS; i++) {
		int inside, seen;

		if (counts_enter(crowd->counts, end.address) != POLICY_DOOR_OPEN)
			continue;
		inside = __atomic_add_fetch(&crowd->inside, 1, __ATOMIC_SEQ_CST);
		seen = __atomic_load_n(&crowd->inside_max, __ATOMIC_SEQ_CST);
		while (inside > seen && !__atomic_compare_exchange_n(&crowd->inside_max, &seen,
						inside, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			;
		__atomic_add_fetch(&crowd->entered, 1, __ATOMIC_SEQ_CST);
		__atomic_sub_fetch(&crowd->inside, 1, __ATOMIC_SEQ_CST);
		counts_leave(crowd->counts, end.address);
	}
	return NULL;
}

/* Many threads at one address: never more inside than the limit, and at the end none. */
Test(counts, threads)
{
	struct crowd crowd = {.counts = open_counts(SHARED_MAX + 1, SHARED_MAX)};
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, shove, &crowd), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_expect_leq(crowd.inside_max, SHARED_MAX);
	cr_expect_gt(crowd.entered, 0);
	for (int i = 0; i < SHARED_MAX; i++)
		cr_expect_eq(enter(crowd.counts, "192.0.2.1"), POLICY_DOOR_OPEN);
	cr_expect_eq(enter(crowd.counts, "192.0.2.1"), POLICY_DOOR_ADDRESS_FULL);
	cr_expect_eq(enter(crowd.counts, "192.0.2.2"), POLICY_DOOR_OPEN);
	cr_expect_eq(enter(crowd.counts, "192.0.2.3"), POLICY_DOOR_FULL);
	counts_close(crowd.counts);
}
