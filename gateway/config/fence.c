/* SPDX-License-Identifier: MIT */
/*
 * fence.c -- checks the fence's section: budgets that cannot stand behind each other, settings that
 * mean nothing in their mode, networks that stand twice; and the other lists of networks.
 *
 * The limits of open connections follow policy's sessions_max where the file does not say them: a
 * small gateway needs no section of its own for them to make sense.
 *
 * A network inside of another is no mistake: the longest prefix decides.
 */
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/network.h"
#include "config/fill-private.h"

#define CONNECTIONS_OPEN 100

static bool is_written(cfg_t *sec, const char *name)
{
	return cfg_opt_size(cfg_getopt(sec, name)) > 0;
}

/* Strangers leave a fifth of the house to those that behaved. */
static void fill_open(struct fill *fill, cfg_t *sec)
{
	struct fence_settings *fence = &fill->store->config.fence;
	uint32_t house = fill->store->config.policy.sessions_max;

	if (!is_written(sec, "connections_open_all"))
		fence->connections_open_all = house > 1 ? house - (house + 4) / 5 : 1;
	if (!is_written(sec, "connections_open")) {
		fence->connections_open = CONNECTIONS_OPEN;
		if (fence->connections_open_all > 0 &&
			fence->connections_open > fence->connections_open_all)
			fence->connections_open = fence->connections_open_all;
	}
}

/* 0: no limit. */
static bool is_above(uint64_t one, uint64_t all)
{
	return all > 0 && (one == 0 || one > all);
}

static int check_budgets(struct fill *fill, cfg_t *sec)
{
	const struct fence_settings *fence = &fill->store->config.fence;
	const struct {
		const char *name;
		const struct fence_budgets *budgets;
	} rows[] = {
		{"connections", &fence->connections},
		{"plain_bytes", &fence->plain_bytes},
		{"plain_packets", &fence->plain_packets},
		{"handshakes", &fence->handshakes},
		{"upgraded_bytes", &fence->upgraded_bytes},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const struct fence_budget *one = &rows[i].budgets->source;
		const struct fence_budget *all = &rows[i].budgets->all;

		if (is_above(one->rate, all->rate) || is_above(one->burst, all->burst))
			return fill_fail(fill, sec,
				"fence: %s is above %s_all, which all sources share: write %s = "
				"\"%llu/%llu\" or less",
				rows[i].name, rows[i].name, rows[i].name,
				(unsigned long long)all->rate, (unsigned long long)all->burst);
	}
	return 0;
}

static int check_open(struct fill *fill, cfg_t *sec)
{
	const struct fence_settings *fence = &fill->store->config.fence;
	uint32_t house = fill->store->config.policy.sessions_max;

	if (is_above(fence->connections_open, fence->connections_open_all))
		return fill_fail(fill, sec,
			"fence: connections_open is above connections_open_all, which all sources "
			"share, or no limit (0): write connections_open = 1 to %u",
			fence->connections_open_all);
	if (is_above(fence->handshakes_open, fence->handshakes_open_all))
		return fill_fail(fill, sec,
			"fence: handshakes_open is above handshakes_open_all, which all sources "
			"share, or no limit (0): write handshakes_open = 1 to %u",
			fence->handshakes_open_all);
	if (fence->connections_open_all > house)
		return fill_fail(fill, sec,
			"fence: connections_open_all is above sessions_max of section policy, so "
			"strangers could take every session: write connections_open_all = %u or "
			"less",
			house);
	return 0;
}

static int check_mode(struct fill *fill, cfg_t *sec)
{
	const struct fence_settings *fence = &fill->store->config.fence;
	const char *word = fence->mode == FENCE_MODE_OFF ? "off" : "user";
	const char *name = fence->interfaces_n > 0 ? "interfaces" : "pin";

	if (fence->mode == FENCE_MODE_AUTO || fence->mode == FENCE_MODE_KERNEL)
		return 0;
	if (fence->interfaces_n == 0 && !fence->pin)
		return 0;
	return fill_fail(fill, sec,
		"fence: %s is the kernel's, and mode = %s has nothing there: leave %s out, or "
		"write mode = \"auto\"",
		name, word, name);
}

static int check_interfaces(struct fill *fill, cfg_t *sec)
{
	const struct fence_settings *fence = &fill->store->config.fence;

	for (size_t i = 0; i < fence->interfaces_n; i++) {
		for (size_t k = 0; k < i; k++) {
			if (strcmp(fence->interfaces[i], fence->interfaces[k]) == 0)
				return fill_fail(fill, sec,
					"fence: interface \"%s\" stands twice: leave one out",
					fence->interfaces[i]);
		}
	}
	return 0;
}

/* A list of networks under its key's name. */
struct net_list {
	const char *name;
	const char *const *texts;
	size_t n;
};

struct net_place {
	struct network network;
	const char *list;
};

static int compare_places(const void *a, const void *b)
{
	const struct net_place *left = a, *right = b;
	int order = memcmp(left->network.address, right->network.address, NETWORK_BYTES);

	return order ? order : (int)left->network.bits - (int)right->network.bits;
}

/* The texts passed value_read() before. */
static size_t add_places(struct net_place *places, const struct net_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		bool good = network_parse(list->texts[i], &places[i].network);

		ASSERT(good);
		places[i].list = list->name;
	}
	return list->n;
}

static int check_places(
	struct fill *fill, cfg_t *sec, const char *label, const struct net_place *places, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		const struct net_place *one = &places[i - 1], *other = &places[i];
		char text[NETWORK_TEXT_MAX];

		if (compare_places(one, other) != 0)
			continue;
		network_text(&one->network, text);
		if (one->list == other->list)
			return fill_fail(fill, sec,
				"%s: network %s stands twice in %s: leave one of them out", label,
				text, one->list);
		return fill_fail(fill, sec,
			"%s: network %s stands in allow and in block: leave one of them out", label,
			text);
	}
	return 0;
}

/* One list, or two that exclude each other. Sorted, so that 10,000 networks take no time. */
static int check_networks(struct fill *fill, cfg_t *sec, const char *label,
	const struct net_list *lists, size_t lists_n)
{
	struct net_place *places;
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < lists_n; i++)
		n += lists[i].n;
	places = malloc((n + 1) * sizeof(*places));
	if (!places)
		return fill_fail(fill, NULL, "out of memory");
	n = 0;
	for (size_t i = 0; i < lists_n; i++)
		n += add_places(places + n, &lists[i]);
	qsort(places, n, sizeof(*places), compare_places);
	rc = check_places(fill, sec, label, places, n);
	free(places);
	return rc;
}

static int check_all_networks(struct fill *fill, cfg_t *sec)
{
	const struct config *config = &fill->store->config;
	const struct net_list xclient = {"xclient", config->smtp.xclient, config->smtp.xclient_n};
	const struct net_list lists[] = {
		{"allow", config->fence.allow, config->fence.allow_n},
		{"block", config->fence.block, config->fence.block_n},
	};

	if (check_networks(fill, sec, "fence", lists, COUNT_OF(lists)) != 0)
		return -1;
	for (size_t i = 0; i < config->listeners_n; i++) {
		const struct listener_settings *listener = &config->listeners[i];
		const struct net_list proxy = {"proxy", listener->proxy, listener->proxy_n};
		char label[CONFIG_TITLE_MAX + sizeof("listener \"\"")];

		snprintf(label, sizeof(label), "listener \"%s\"", listener->title);
		if (check_networks(fill, cfg_getnsec(fill->root, "listener", (unsigned)i), label,
			    &proxy, 1) != 0)
			return -1;
	}
	return check_networks(fill, cfg_getsec(fill->root, "smtp"), "smtp", &xclient, 1);
}

int fill_fence(struct fill *fill)
{
	cfg_t *sec = cfg_getsec(fill->root, "fence");

	fill_open(fill, sec);
	if (check_budgets(fill, sec) != 0 || check_open(fill, sec) != 0)
		return -1;
	if (check_mode(fill, sec) != 0 || check_interfaces(fill, sec) != 0)
		return -1;
	return check_all_networks(fill, sec);
}
