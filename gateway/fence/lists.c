/* SPDX-License-Identifier: MIT */
/*
 * lists.c -- networks that are allowed or blocked, until a time or for good.
 *
 * The longest prefix decides; one that has expired is as if it were not there, also before
 * fence_lists_expire() took it away. A network may have two entries, the configuration's and an
 * operator's: the operator's decides while it lasts.
 *
 * A look-up probes a hash table once for each prefix length in use, longest first: at most 129
 * probes, usually two or three, and with empty lists it is one load. Readers are workers at accept;
 * the one writer is the control thread, which tells `on_change` after it has let go of the lock.
 *
 * Entries lie in an array without holes, so that they can be copied out from an index on; the last
 * one moves to where one was taken away. They are gone through for what has expired only when
 * something may have: `soonest_ns` is at or before the first end of any.
 *
 * Rejected: a trie (nodes by pointer for what is a handful of lengths); handing out entries by
 * reference (they move).
 */
#include "fence/fence-private.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/counter.h"

#define BITS_MAX    128
#define HEADS       FENCE_NETS_MAX /* a power of two */
#define ORIGINS_MAX FENCE_ORIGIN_OPERATOR

struct node {
	struct network network;
	struct fence_net net;
	uint32_t next;       /* index plus one */
	uint32_t generation; /* of the configuration */
};

struct fence_lists {
	pthread_rwlock_t lock;
	uint32_t n; /* atomic for readers without the lock */
	uint32_t operators_n;
	uint32_t generation;
	uint64_t soonest_ns;            /* 0: nothing ends */
	uint32_t lengths[BITS_MAX + 1]; /* entries of so many bits */
	uint64_t present[BITS_MAX / 64 + 1];
	fence_lists_changed *changed;
	void *ctx;
	uint32_t heads[HEADS]; /* index plus one */
	struct node nodes[FENCE_NETS_MAX];
};

int fence_lists_open(struct fence_lists **out, struct err *err)
{
	struct fence_lists *lists = calloc(1, sizeof(*lists)); /* memory comes as it is used */
	pthread_rwlockattr_t attr;

	if (lists == NULL)
		return err_set(err, "fence: out of memory");
	pthread_rwlockattr_init(&attr);
	/* Accepting never pauses long enough to let a writer in otherwise. */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&lists->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	*out = lists;
	return 0;
}

void fence_lists_close(struct fence_lists *lists)
{
	if (lists == NULL)
		return;
	pthread_rwlock_destroy(&lists->lock);
	free(lists);
}

void fence_lists_on_change(struct fence_lists *lists, fence_lists_changed *changed, void *ctx)
{
	lists->changed = changed;
	lists->ctx = ctx;
}

size_t fence_lists_count(const struct fence_lists *lists)
{
	return __atomic_load_n(&lists->n, __ATOMIC_RELAXED);
}

/* ---- the table ---- */

static void prefix_of(
	const uint8_t address[NETWORK_BYTES], unsigned bits, uint8_t prefix[NETWORK_BYTES])
{
	memset(prefix, 0, NETWORK_BYTES);
	memcpy(prefix, address, bits / 8);
	if (bits % 8 != 0)
		prefix[bits / 8] = address[bits / 8] & (uint8_t)(0xff00u >> bits % 8);
}

/* No key: how long chains are is up to whoever writes the lists, not to who is looked up. */
static uint32_t head_of(const uint8_t prefix[NETWORK_BYTES], unsigned bits)
{
	uint64_t word[2];

	memcpy(word, prefix, sizeof(word));
	return (uint32_t)fence_mix(fence_mix(word[0] + bits) ^ word[1]) & (HEADS - 1);
}

static bool is_network(const struct node *node, const uint8_t prefix[NETWORK_BYTES], unsigned bits)
{
	return node->network.bits == bits &&
	       memcmp(node->network.address, prefix, NETWORK_BYTES) == 0;
}

/* Where the chain points to the entry, or its end. */
static uint32_t *find(
	struct fence_lists *lists, const struct network *network, enum fence_origin origin)
{
	uint32_t *at = &lists->heads[head_of(network->address, network->bits)];

	while (*at != 0) {
		struct node *node = &lists->nodes[*at - 1];

		if (is_network(node, network->address, network->bits) && node->net.origin == origin)
			break;
		at = &node->next;
	}
	return at;
}

static bool lasts(const struct fence_net *net, uint64_t now_ns)
{
	return net->until_ns == 0 || net->until_ns > now_ns;
}

/* The entry of exactly this network that decides; NULL: none. */
static const struct node *deciding(struct fence_lists *lists, const uint8_t prefix[NETWORK_BYTES],
	unsigned bits, uint64_t now_ns)
{
	const struct node *found = NULL;

	for (uint32_t at = lists->heads[head_of(prefix, bits)]; at != 0;) {
		const struct node *node = &lists->nodes[at - 1];

		if (is_network(node, prefix, bits) && lasts(&node->net, now_ns) &&
			(found == NULL || node->net.origin > found->net.origin))
			found = node;
		at = node->next;
	}
	return found;
}

static void lengths_add(struct fence_lists *lists, unsigned bits, int n)
{
	lists->lengths[bits] += (uint32_t)n;
	if (lists->lengths[bits] != 0)
		lists->present[bits / 64] |= 1ull << bits % 64;
	else
		lists->present[bits / 64] &= ~(1ull << bits % 64);
}

/* The greatest length in use below `below`; -1: none. */
static int length_below(const struct fence_lists *lists, int below)
{
	for (int word = (below - 1) / 64; below > 0 && word >= 0; word--) {
		uint64_t present = lists->present[word];

		if (word == (below - 1) / 64 && below % 64 != 0)
			present &= (1ull << below % 64) - 1;
		if (present != 0)
			return word * 64 + 63 - __builtin_clzll(present);
	}
	return -1;
}

/* ---- looking ---- */

bool fence_lists_find(struct fence_lists *lists, const uint8_t address[NETWORK_BYTES],
	uint64_t now_ns, struct fence_listed *out)
{
	const struct node *found = NULL;
	int bits = BITS_MAX + 1;

	if (fence_lists_count(lists) == 0)
		return false;
	pthread_rwlock_rdlock(&lists->lock);
	while (found == NULL && (bits = length_below(lists, bits)) >= 0) {
		uint8_t prefix[NETWORK_BYTES];

		prefix_of(address, (unsigned)bits, prefix);
		found = deciding(lists, prefix, (unsigned)bits, now_ns);
	}
	if (found != NULL)
		*out = (struct fence_listed){found->network, found->net};
	pthread_rwlock_unlock(&lists->lock);
	return found != NULL;
}

enum fence_action fence_lists_match(
	struct fence_lists *lists, const uint8_t address[NETWORK_BYTES], uint64_t now_ns)
{
	struct fence_listed found;

	if (!fence_lists_find(lists, address, now_ns, &found))
		return 0;
	return (enum fence_action)found.entry.action;
}

size_t fence_lists_copy(struct fence_lists *lists, size_t from, struct fence_listed *out, size_t n)
{
	size_t copied = 0;

	pthread_rwlock_rdlock(&lists->lock);
	for (; copied < n && from + copied < lists->n; copied++) {
		const struct node *node = &lists->nodes[from + copied];

		out[copied] = (struct fence_listed){node->network, node->net};
	}
	pthread_rwlock_unlock(&lists->lock);
	return copied;
}

/* ---- changing: the one writer ---- */

static void tell(struct fence_lists *lists, const struct network *network)
{
	struct fence_net net = {0};
	const struct node *node;

	if (lists->changed == NULL)
		return;
	node = deciding(lists, network->address, network->bits, 0);
	if (node != NULL)
		net = node->net;
	lists->changed(lists->ctx, network, &net);
}

static bool valid(const struct network *network, const struct fence_net *net)
{
	uint8_t prefix[NETWORK_BYTES];

	if (network->bits > BITS_MAX || net->origin == 0 || net->origin > ORIGINS_MAX ||
		(net->action != FENCE_ACTION_ALLOW && net->action != FENCE_ACTION_BLOCK))
		return false;
	prefix_of(network->address, network->bits, prefix);
	return memcmp(prefix, network->address, NETWORK_BYTES) == 0;
}

static int put(
	struct fence_lists *lists, const struct network *network, const struct fence_net *net)
{
	uint32_t *at = find(lists, network, (enum fence_origin)net->origin);
	struct node *node;

	if (*at == 0 && lists->n == FENCE_NETS_MAX) {
		count(COUNTER_FENCE_FULL_NETS);
		return -ENOSPC;
	}
	pthread_rwlock_wrlock(&lists->lock);
	if (*at == 0) {
		lists->nodes[lists->n] = (struct node){.network = *network};
		lengths_add(lists, network->bits, 1);
		lists->operators_n += net->origin == FENCE_ORIGIN_OPERATOR;
		*at = lists->n + 1;
		__atomic_store_n(&lists->n, lists->n + 1, __ATOMIC_RELAXED);
	}
	if (net->until_ns != 0 && (lists->soonest_ns == 0 || net->until_ns < lists->soonest_ns))
		lists->soonest_ns = net->until_ns;
	node = &lists->nodes[*at - 1];
	node->net = *net;
	node->generation = lists->generation;
	pthread_rwlock_unlock(&lists->lock);
	return 0;
}

/* The last one takes its place. */
static void take(struct fence_lists *lists, uint32_t *at)
{
	uint32_t place = *at;
	struct node *node = &lists->nodes[place - 1];
	const struct node *last = &lists->nodes[lists->n - 1];

	pthread_rwlock_wrlock(&lists->lock);
	*at = node->next;
	lengths_add(lists, node->network.bits, -1);
	lists->operators_n -= node->net.origin == FENCE_ORIGIN_OPERATOR;
	if (node != last) {
		*find(lists, &last->network, (enum fence_origin)last->net.origin) = place;
		*node = *last;
	}
	__atomic_store_n(&lists->n, lists->n - 1, __ATOMIC_RELAXED);
	pthread_rwlock_unlock(&lists->lock);
}

static void drop(struct fence_lists *lists, uint32_t index)
{
	struct network network = lists->nodes[index].network;

	take(lists, find(lists, &network, (enum fence_origin)lists->nodes[index].net.origin));
	tell(lists, &network);
}

int fence_lists_put(
	struct fence_lists *lists, const struct network *network, const struct fence_net *net)
{
	int rc;

	if (!valid(network, net))
		return -EINVAL;
	rc = put(lists, network, net);
	if (rc == 0)
		tell(lists, network);
	return rc;
}

void fence_lists_forget(struct fence_lists *lists)
{
	for (uint32_t i = lists->n; i > 0; i--) {
		const struct node *node = &lists->nodes[i - 1];

		if (node->net.origin == FENCE_ORIGIN_OPERATOR)
			take(lists, find(lists, &node->network, FENCE_ORIGIN_OPERATOR));
	}
}

bool fence_lists_drop(struct fence_lists *lists, const struct network *network)
{
	uint32_t place;

	if (network->bits > BITS_MAX)
		return false;
	place = *find(lists, network, FENCE_ORIGIN_OPERATOR);
	if (place == 0)
		return false;
	drop(lists, place - 1);
	return true;
}

/* What stays is marked and never away; the rest goes before the new ones come, so there is room. */
int fence_lists_config(struct fence_lists *lists, const struct fence_listed *entries, size_t n)
{
	uint32_t generation = lists->generation + 1;

	if (n > FENCE_NETS_MAX - lists->operators_n) {
		count(COUNTER_FENCE_FULL_NETS);
		return -ENOSPC;
	}
	for (size_t i = 0; i < n; i++)
		if (!valid(&entries[i].net, &entries[i].entry) ||
			entries[i].entry.origin != FENCE_ORIGIN_CONFIG)
			return -EINVAL;
	lists->generation = generation;
	for (size_t i = 0; i < n; i++) {
		uint32_t place = *find(lists, &entries[i].net, FENCE_ORIGIN_CONFIG);

		if (place != 0)
			lists->nodes[place - 1].generation = generation;
	}
	for (uint32_t i = lists->n; i > 0; i--) {
		const struct node *node = &lists->nodes[i - 1];

		if (node->net.origin == FENCE_ORIGIN_CONFIG && node->generation != generation)
			drop(lists, i - 1);
	}
	for (size_t i = 0; i < n; i++) {
		int rc = fence_lists_put(lists, &entries[i].net, &entries[i].entry);

		ASSERT(rc == 0);
	}
	return 0;
}

void fence_lists_expire(struct fence_lists *lists, uint64_t now_ns)
{
	uint64_t soonest_ns = UINT64_MAX;

	if (lists->soonest_ns == 0 || lists->soonest_ns > now_ns)
		return;
	for (uint32_t i = lists->n; i > 0; i--) {
		uint64_t until_ns = lists->nodes[i - 1].net.until_ns;

		if (!lasts(&lists->nodes[i - 1].net, now_ns))
			drop(lists, i - 1);
		else if (until_ns != 0 && until_ns < soonest_ns)
			soonest_ns = until_ns;
	}
	lists->soonest_ns = soonest_ns == UINT64_MAX ? 0 : soonest_ns;
}
