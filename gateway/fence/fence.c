/* SPDX-License-Identifier: MIT */
/*
 * fence.c -- the object: which of kernel and limiter does the work, its lists, its reload, its state.
 *
 * The limiter and the lists are there in both cases: handshakes, and clients behind a balancer, are
 * only seen by the gateway. What the lists say is mirrored into the kernel by fence_lists_on_change;
 * the configuration's networks and those of balancers are entries of origin CONFIG.
 *
 * A reload comes as one memfd: struct packed, then its entries. It is made by our own parent, and
 * still checked, since a wrong prefix would be a wrong shift.
 */
#include "fence/fence-private.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PACKED_MAGIC 0x66656e63 /* "fenc" */

struct packed {
	uint32_t magic;
	uint32_t n; /* struct fence_listed after it */
	struct fence_rules rules;
};

/* ---- networks of the configuration ---- */

struct nets {
	struct fence_listed *at;
	size_t n;
};

static int nets_add(struct nets *nets, const char *const *texts, size_t n, enum fence_action action,
	struct err *err)
{
	struct fence_listed *at;

	if (n == 0)
		return 0;
	if (nets->n + n > FENCE_NETS_MAX)
		return err_set(err, "fence: more than %u networks", FENCE_NETS_MAX);
	at = realloc(nets->at, (nets->n + n) * sizeof(*at));
	if (at == NULL)
		return err_set(err, "fence: out of memory");
	nets->at = at;
	for (size_t i = 0; i < n; i++) {
		struct fence_listed *listed = &at[nets->n];

		memset(listed, 0, sizeof(*listed));
		listed->entry.action = action;
		listed->entry.origin = FENCE_ORIGIN_CONFIG;
		if (!network_parse(texts[i], &listed->net))
			return err_set(err, "fence: \"%s\" is not a network", texts[i]);
		nets->n++;
	}
	return 0;
}

/* What is blocked stands last: it counts where a network is in both. */
static int nets_settings(struct nets *nets, const struct fence_settings *settings, struct err *err)
{
	if (nets_add(nets, settings->allow, settings->allow_n, FENCE_ACTION_ALLOW, err) != 0)
		return -1;
	return nets_add(nets, settings->block, settings->block_n, FENCE_ACTION_BLOCK, err);
}

/* Connections of balancers are not the clients': they are let in, and the clients are judged. */
static int balancers_keep(
	struct fence *fence, const struct listener_settings *listeners, size_t n, struct err *err)
{
	struct nets nets = {0};
	int res = 0;

	for (size_t i = 0; i < n && res == 0; i++)
		res = nets_add(
			&nets, listeners[i].proxy, listeners[i].proxy_n, FENCE_ACTION_ALLOW, err);
	fence->balancers = nets.at;
	fence->balancers_n = nets.n;
	return res;
}

/* Balancers first, then these. */
static int lists_use(
	struct fence *fence, const struct fence_listed *entries, size_t n, struct err *err)
{
	size_t all = fence->balancers_n + n;
	struct fence_listed *merged = calloc(all > 0 ? all : 1, sizeof(*merged));
	int res;

	if (merged == NULL)
		return err_set(err, "fence: out of memory");
	if (fence->balancers_n > 0)
		memcpy(merged, fence->balancers, fence->balancers_n * sizeof(*merged));
	if (n > 0)
		memcpy(merged + fence->balancers_n, entries, n * sizeof(*merged));
	res = fence_lists_config(fence->lists, merged, all);
	free(merged);
	if (res != 0)
		return err_set(err, "fence: the lists cannot be used: %s", strerror(-res));
	return 0;
}

/* ---- opening ---- */

static void mirror(void *ctx, const struct network *network, const struct fence_net *net)
{
	struct fence *fence = ctx;

	fence_kernel_net(fence->kernel, network, net);
}

/* An entry that finds no room here stays in the kernel; lists.c has counted it. */
static void operator_net(void *ctx, const struct network *network, const struct fence_net *net)
{
	struct fence *fence = ctx;

	(void)!fence_lists_put(fence->lists, network, net);
}

static int interfaces_check(const struct fence_settings *settings, struct err *err)
{
	for (size_t i = 0; i < settings->interfaces_n; i++)
		if (if_nametoindex(settings->interfaces[i]) == 0)
			return err_set(err, "fence: there is no interface \"%s\"",
				settings->interfaces[i]);
	return 0;
}

static int user_open(struct fence *fence, const struct fence_settings *settings,
	const struct listener_settings *listeners, size_t listeners_n, struct err *err)
{
	if (fence_limiter_open(&fence->limiter, settings->sources_max, err) != 0 ||
		fence_lists_open(&fence->lists, err) != 0 ||
		fence_refusals_open(&fence->refusals, err) != 0)
		return -1;
	return balancers_keep(fence, listeners, listeners_n, err);
}

/* The kernel's part, or the reason why there is none. -1: there has to be one. */
static int kernel_decided(struct fence *fence, enum fence_mode mode, int opened, struct err *err)
{
	struct err why;

	if (opened == 0) {
		fence->running = FENCE_RUNNING_KERNEL;
		fence_kernel_nets_each(fence->kernel, operator_net, fence);
		fence_lists_on_change(fence->lists, mirror, fence);
		return 0;
	}
	fence->kernel = NULL;
	if (mode == FENCE_MODE_KERNEL) {
		why = *err;
		return err_set(err, "fence: mode = kernel is not possible: %s", why.text);
	}
	snprintf(fence->why, sizeof(fence->why), "%s", err->text);
	return 0;
}

static struct fence *fence_new(const struct fence_settings *settings)
{
	struct fence *fence = calloc(1, sizeof(*fence));

	if (fence == NULL)
		return NULL;
	fence->running = FENCE_RUNNING_USER;
	fence->fixed = *settings;
	fence->fixed.interfaces = NULL;
	fence->fixed.interfaces_n = 0;
	fence->fixed.pin = NULL;
	fence->fixed.allow = NULL;
	fence->fixed.allow_n = 0;
	fence->fixed.block = NULL;
	fence->fixed.block_n = 0;
	fence_rules_make(&fence->rules, settings, NULL);
	return fence;
}

static int config_use(struct fence *fence, const struct fence_settings *settings, struct err *err)
{
	struct nets nets = {0};
	int res = nets_settings(&nets, settings, err);

	if (res == 0)
		res = lists_use(fence, nets.at, nets.n, err);
	free(nets.at);
	return res;
}

int fence_open(struct fence **out, const struct fence_settings *settings,
	const struct listener_settings *listeners, size_t listeners_n, const int *listen_fds,
	size_t per_listener, struct err *err)
{
	struct fence *fence = fence_new(settings);
	bool kernel = settings->mode == FENCE_MODE_AUTO || settings->mode == FENCE_MODE_KERNEL;
	int opened;

	if (fence == NULL)
		return err_set(err, "fence: out of memory");
	if (settings->mode == FENCE_MODE_OFF) {
		fence->running = FENCE_RUNNING_OFF;
		*out = fence;
		return 0;
	}
	if (user_open(fence, settings, listeners, listeners_n, err) != 0)
		goto fail;
	if (kernel) {
		if (interfaces_check(settings, err) != 0)
			goto fail;
		opened = fence_kernel_open(&fence->kernel, settings, &fence->rules, listeners,
			listeners_n, listen_fds, per_listener, err);
		if (kernel_decided(fence, settings->mode, opened, err) != 0)
			goto fail;
	}
	if (config_use(fence, settings, err) != 0)
		goto fail;
	*out = fence;
	return 0;
fail:
	fence_close(fence);
	return -1;
}

bool fence_syncookies_off(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[2];
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text));
	close(fd);
	return n > 0 && text[0] == '0' && (n == 1 || text[1] == '\n');
}

/* ---- the end ---- */

static void fence_free(struct fence *fence, bool detach)
{
	if (fence->kernel != NULL)
		fence_kernel_close(fence->kernel, detach);
	if (fence->lists != NULL)
		fence_lists_close(fence->lists);
	if (fence->limiter != NULL)
		fence_limiter_close(fence->limiter);
	fence_refusals_close(fence->refusals);
	free(fence->balancers);
	free(fence);
}

void fence_close(struct fence *fence)
{
	if (fence != NULL)
		fence_free(fence, fence->kernel != NULL && fence_kernel_pin(fence->kernel) == NULL);
}

void fence_forget(struct fence *fence)
{
	if (fence != NULL)
		fence_free(fence, false);
}

static void standing_take(
	void *ctx, const uint8_t source[NETWORK_BYTES], uint64_t until_ns, bool penalty)
{
	struct fence *fence = ctx;
	uint64_t now_ns = fence_now_ns();
	struct fence_entry *entry;

	if (until_ns <= now_ns)
		return;
	entry = fence_limiter_hold(fence->limiter, source, now_ns);
	if (entry == NULL)
		return;
	*(penalty ? &entry->penalty_until_ns : &entry->behaved_until_ns) = until_ns;
	fence_limiter_release(fence->limiter, entry);
}

void fence_child(struct fence *fence)
{
	if (fence == NULL || fence->kernel == NULL)
		return;
	fence_kernel_child(fence->kernel);
	fence_lists_on_change(fence->lists, NULL, NULL); /* what comes from there it knows */
	fence_lists_forget(fence->lists); /* of the start: an operator may have taken some away */
	fence_kernel_nets_each(fence->kernel, operator_net, fence);
	fence_lists_on_change(fence->lists, mirror, fence);
	fence_kernel_standings_each(fence->kernel, standing_take, fence);
}

/* ---- a reload ---- */

static int write_all(int fd, const void *from, size_t n)
{
	const uint8_t *p = from;

	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0)
			return -errno;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

int fence_pack(const struct fence_settings *settings)
{
	struct packed packed = {.magic = PACKED_MAGIC};
	struct nets nets = {0};
	struct err err;
	int res;
	int fd;

	if (nets_settings(&nets, settings, &err) != 0) {
		free(nets.at);
		return -EINVAL;
	}
	packed.n = (uint32_t)nets.n;
	fence_rules_make(&packed.rules, settings, NULL);
	fd = memfd_create("postern-fence", MFD_CLOEXEC);
	res = fd < 0 ? -errno : write_all(fd, &packed, sizeof(packed));
	if (res == 0)
		res = write_all(fd, nets.at, nets.n * sizeof(*nets.at));
	free(nets.at);
	if (res == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return res;
}

static bool listed_sound(const struct fence_listed *listed)
{
	return listed->net.bits <= 8 * NETWORK_BYTES &&
	       listed->entry.origin == FENCE_ORIGIN_CONFIG &&
	       (listed->entry.action == FENCE_ACTION_ALLOW ||
		       listed->entry.action == FENCE_ACTION_BLOCK);
}

/* Reads the rest behind *packed; NULL and err: it is not what fence_pack() makes. */
static struct fence_listed *unpack(int fd, struct packed *packed, struct err *err)
{
	struct fence_listed *entries;
	struct stat stat;
	size_t n;

	if (fstat(fd, &stat) != 0 || pread(fd, packed, sizeof(*packed), 0) != sizeof(*packed) ||
		packed->magic != PACKED_MAGIC || packed->rules.abi != FENCE_ABI ||
		packed->n > FENCE_NETS_MAX ||
		(uint64_t)stat.st_size != sizeof(*packed) + packed->n * sizeof(*entries)) {
		err_set(err, "fence: the new settings came damaged");
		return NULL;
	}
	n = packed->n * sizeof(*entries);
	entries = malloc(n > 0 ? n : 1);
	if (entries == NULL) {
		err_set(err, "fence: out of memory");
		return NULL;
	}
	if (pread(fd, entries, n, sizeof(*packed)) == (ssize_t)n) {
		size_t sound = 0;

		while (sound < packed->n && listed_sound(&entries[sound]))
			sound++;
		if (sound == packed->n)
			return entries;
	}
	free(entries);
	err_set(err, "fence: the new settings came damaged");
	return NULL;
}

/* Workers read while this writes: each word is whole. */
static void rules_replace(struct fence *fence, const struct fence_rules *rules)
{
	typedef uint64_t __attribute__((may_alias)) word;
	const word *from = (const word *)rules;
	word *to = (word *)&fence->rules;

	_Static_assert(sizeof(*rules) % sizeof(word) == 0, "whole words");
	for (size_t i = 0; i < sizeof(*rules) / sizeof(word); i++)
		__atomic_store_n(&to[i], from[i], __ATOMIC_RELAXED);
}

int fence_use(struct fence *fence, int memfd, struct err *err)
{
	struct packed packed;
	struct fence_listed *entries;
	int res;

	if (fence->running == FENCE_RUNNING_OFF)
		return 0;
	entries = unpack(memfd, &packed, err);
	if (entries == NULL)
		return -1;
	packed.rules.bits_v4 = fence->rules.bits_v4;
	packed.rules.bits_v6 = fence->rules.bits_v6;
	memcpy(packed.rules.hash_key, fence->rules.hash_key, sizeof(packed.rules.hash_key));
	res = lists_use(fence, entries, packed.n, err);
	free(entries);
	if (res != 0)
		return -1;
	rules_replace(fence, &packed.rules);
	if (fence->kernel != NULL)
		fence_kernel_rules(fence->kernel, &packed.rules);
	return 0;
}

/* ---- what it looks like ---- */

struct remembered {
	uint64_t now_ns;
	uint64_t behaved, penalties;
};

static void remembered_add(void *ctx, const struct fence_entry *entry)
{
	struct remembered *sum = ctx;

	sum->behaved += entry->behaved_until_ns > sum->now_ns;
	sum->penalties += entry->penalty_until_ns > sum->now_ns;
}

/* The kernel is told of each that behaved or has a penalty; without it only the limiter knows. */
void fence_sizes(struct fence *fence, struct fence_status *out)
{
	struct remembered sum = {.now_ns = fence_now_ns()};
	uint32_t from = 0;

	if (fence->running == FENCE_RUNNING_OFF)
		return;
	if (fence->kernel != NULL) {
		fence_kernel_sizes(fence->kernel, out);
		return;
	}
	out->behaved_partial = out->penalties_partial =
		!fence_limiter_some(fence->limiter, &from, FENCE_SIZES_MAX, remembered_add, &sum);
	out->behaved = sum.behaved;
	out->penalties = sum.penalties;
}

static void totals_add(struct fence_totals *sum, const struct fence_totals *totals)
{
	for (size_t i = 0; i < FENCE_METERS; i++)
		for (size_t j = 0; j < FENCE_STANDINGS; j++) {
			uint64_t tat = __atomic_load_n(&totals->tat[i][j], __ATOMIC_RELAXED);

			if (tat > sum->tat[i][j])
				sum->tat[i][j] = tat;
		}
	for (size_t i = 0; i < FENCE_GAUGES; i++)
		for (size_t j = 0; j < FENCE_STANDINGS; j++)
			sum->gauge[i][j] += __atomic_load_n(&totals->gauge[i][j], __ATOMIC_RELAXED);
}

void fence_status(struct fence *fence, struct fence_status *out)
{
	*out = (struct fence_status){
		.running = fence->running,
		.why = fence->why,
		.hooks = fence->kernel != NULL ? fence_kernel_hooks(fence->kernel) : "",
		.pin = fence->kernel != NULL ? fence_kernel_pin(fence->kernel) : NULL,
		.sources_max = fence->fixed.sources_max,
		.rules = &fence->rules,
	};
	if (fence->running == FENCE_RUNNING_OFF)
		return;
	out->sources_user = fence_limiter_sources(fence->limiter);
	out->nets = fence_lists_count(fence->lists);
	out->samples_dropped = fence_limiter_samples_dropped(fence->limiter);
	totals_add(&out->totals, fence_limiter_totals(fence->limiter));
	if (fence->kernel != NULL)
		totals_add(&out->totals, fence_kernel_totals(fence->kernel));
}
